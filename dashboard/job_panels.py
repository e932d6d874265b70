"""The evidence of the Jobs screen: lanes, queues, workers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from core.ports import BrokerReading, QueueReading
from dashboard import components, formats, job_words
from dashboard.job_words import KINDS, LaneView


def redis_is_away(what: str) -> None:
    """In place of what only the broker knows."""
    with st.container(border=True, key=f"card-unknown-{what}"):
        st.markdown(f"{formats.badge('unknown')} **Redis does not answer, so {what} cannot be shown**")
        st.caption(
            "Nothing is lost: events keep being recorded and what waits is in the database. "
            "Workers begin again by themselves when Redis is back."
        )


def draw_lanes(views: Sequence[LaneView]) -> None:
    """What waits, what comes and what is done, for each connection and kind of work that has any."""
    st.subheader("Lanes", anchor="lanes")
    if not views:
        components.empty("There are no lanes yet", "Each connected channel has three: messages, quantities, checks.")
        return
    shown = [view for view in views if view.row["waiting"] or any(view.arrivals) or any(view.drains)]
    if shown:
        heads = [("Lane", False), ("State", False), ("Waiting", True), ("Oldest", True), ("In a minute", True),
                 ("Done a minute", True), ("Time left", True), ("Last hour", False)]  # fmt: skip
        components.table(heads, [_lane_cells(view) for view in shown], "Lanes with work", dense=True)
    quiet = len(views) - len(shown)
    said = f"{formats.plural(quiet, 'lane')} had nothing to do for an hour. " if quiet else ""
    st.caption(
        f"{said}A minute is as it was lately. Quantities to write have no arrival: a thousand changes may be one write."
    )


def _lane_cells(view: LaneView) -> tuple[str, ...]:
    return (
        f"<b>{escape(view.row['connection'])}</b><br><span class='sy-meta'>{escape(KINDS[view.row['kind']])}</span>",
        components.pill(view.state),
        components.number(view.row["waiting"]),
        escape(formats.duration(view.oldest_seconds)) if view.row["waiting"] else formats.UNKNOWN,
        escape(formats.rate(view.arrived)),
        escape(formats.rate(view.drained)),
        _left(view),
        _flow(view),
    )


def _left(view: LaneView) -> str:
    if view.left is not None:
        return escape(formats.estimate(view.left))
    if view.row["waiting"] and view.state == "growing":
        return "grows"
    return formats.UNKNOWN


def _flow(view: LaneView) -> str:
    """Arrivals upward, what was done downward, on one scale: twelve steps of five minutes."""
    top = max((value for value in (*view.arrivals, *view.drains) if value), default=1.0)
    came = [None] * len(view.arrivals) if view.row["kind"] == "stock" else list(view.arrivals)
    name = f"{view.row['connection']}, {KINDS[view.row['kind']].lower()}"
    look = "danger" if job_words.is_late(view) else ""
    above = components.bars(came, f"{name}: arrivals per five minutes over an hour", look, small=True, full=top)
    below = components.bars(view.drains, f"{name}: done per five minutes over an hour", "done", small=True, full=top)
    return f'<div class="sy-flow">{above}<div class="sy-down">{below}</div></div>'


def draw_queues(broker: BrokerReading | None) -> None:
    """What waits in Redis, and whether anybody takes it."""
    st.subheader("Queues", anchor="queues")
    if broker is None:
        redis_is_away("queues")
        return
    heads = [("Queue", False), ("State", False), ("Waiting", True), ("Oldest", True), ("At work", True),
             ("Retry to come", True), ("Failed", True), ("Workers", True)]  # fmt: skip
    components.table(heads, [_queue_cells(queue, broker) for queue in broker.queues], "Queues in Redis", dense=True)
    st.caption("Most urgent first. A job is only a ring: what is to be done is in the lanes above.")


def _queue_cells(queue: QueueReading, broker: BrokerReading) -> tuple[str, ...]:
    serving = sum(queue.name in worker.queues for worker in broker.workers)
    oldest = (broker.at - queue.oldest_at).total_seconds() if queue.oldest_at else None
    return (
        f"<b>{escape(queue.name)}</b><br><span class='sy-meta'>{escape(', '.join(queue.jobs))}</span>",
        components.pill(job_words.queue_state(queue, broker.workers)),
        components.number(queue.waiting),
        escape(formats.duration(oldest)),
        components.number(queue.running),
        components.number(queue.retrying),
        components.number(queue.failed),
        components.number(serving),
    )


def draw_workers(broker: BrokerReading | None, zone: str) -> None:
    """Who is at work, and on what."""
    st.subheader("Workers", anchor="workers")
    if broker is None:
        redis_is_away("workers")
        return
    if not broker.workers:
        with st.container(border=True, key="card-danger-no-workers"):
            st.markdown(f"{formats.badge('danger')} **No worker is registered**")
            st.caption("What comes in is recorded and waits. Start them: “make up”, or the service worker.")
        return
    body = [
        (
            f"<b>{escape(', '.join(worker.queues))}</b><br><span class='sy-meta'>{escape(worker.name)}</span>",
            components.pill(job_words.worker_state(worker, broker.at)),
            escape(job_words.worker_word(worker, broker.at)),
            components.when(worker.heard_at, broker.at, zone),
            components.when(worker.started_at, broker.at, zone),
            components.number(worker.done),
            components.number(worker.failed),
        )
        for worker in sorted(broker.workers, key=lambda w: (_place(w.queues, broker), w.name))
    ]
    heads = [("Worker", False), ("State", False), ("At", False), ("Heard", False), ("Started", False), ("Done", True),
             ("Failed", True)]  # fmt: skip
    components.table(heads, body, "Workers", dense=True)


def _place(queues: Sequence[str], broker: BrokerReading) -> int:
    names = [queue.name for queue in broker.queues]
    return min((names.index(queue) for queue in queues if queue in names), default=len(names))
