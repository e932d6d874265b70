"""Does the work get done? What waits, and who works; and how much failed, which has a page of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import Retryable
from core.ports import BrokerReading
from dashboard import (
    components,
    failure_queries,
    failure_words,
    formats,
    job_panels,
    job_words,
    jobs_queries,
    people,
    queries,
)
from dashboard.failure_queries import Filter, Hours
from dashboard.job_words import LaneView

FAILURES = Path(__file__).parent / "failures.py"


def read_broker(viewer: people.Viewer) -> BrokerReading | None:
    """What only the broker knows; None while it does not answer, which is shown as such."""
    try:
        return jobs_queries.broker_reading(viewer.person.scope)
    except Retryable:
        return None


def read(viewer: people.Viewer) -> dict[str, Any]:
    """Everything this page shows, read before anything is drawn."""
    shop, scope = viewer.shop.id, viewer.person.scope
    minutes, steps = jobs_queries.lane_minutes(shop, scope), jobs_queries.lane_steps(shop, scope)
    lanes = jobs_queries.lanes(shop, scope)
    return {
        "totals": failure_words.totals(list(failure_queries.standing(shop, scope, Filter()).groups.values())),
        "hours": failure_queries.by_hour(shop, scope),
        "lanes": [
            job_words.lane(row, minutes.get(key, ()), steps.get(key, ()))
            for row in lanes
            for key in [(row["connection_id"], row["kind"])]
        ],
        "broker": read_broker(viewer),
    }


def draw_cards(viewer: people.Viewer, facts: Mapping[str, Any]) -> None:
    """Three figures, each with its past and what it is made of."""
    with st.grid(3, min_column_width=160):
        _failure_card(viewer, facts["totals"], facts["hours"])
        _waiting_card(facts["lanes"])
        _worker_card(facts["broker"])


def _failure_card(viewer: people.Viewer, totals: Mapping[str, int], hours: Hours) -> None:
    causes = formats.plural(totals["groups"], "cause") if totals["groups"] else "All failures"
    _card(
        "failed",
        "Failures",
        formats.count(totals["items"]),
        "Jobs that failed, messages that are parked and notices that were given up, each on Failures.",
        components.bars(hours.failed, "Failures per hour over a day", "danger" if totals["items"] else ""),
        f'<div class="sy-note">{components.link("failures", causes, viewer.where())} · 24 h</div>',
    )


def _card(name: str, label: str, value: str, about: str, picture: str, note: str) -> None:
    with st.container(border=True, key=f"metric-{name}", height="stretch"):
        st.metric(label, value, help=about)
        components.html(picture + note)


def _note(anchor: str, words: str, rest: str) -> str:
    return f'<div class="sy-note"><a href="#{anchor}">{escape(words)}</a> · {escape(rest)}</div>'


def _waiting_card(lanes: Sequence[LaneView]) -> None:
    waiting = sum(view.row["waiting"] for view in lanes)
    oldest = max((view.oldest_seconds or 0 for view in lanes if view.row["waiting"]), default=None)
    steps = list(zip(*(view.arrivals for view in lanes if view.row["kind"] == "events"), strict=False))
    came = [None if any(v is None for v in step) else sum(v for v in step if v is not None) for step in steps]
    look = "danger" if any(job_words.is_late(view) for view in lanes) else ""
    _card(
        "waiting",
        "Work waiting",
        formats.count(waiting),
        "Messages to handle, quantities to write and writes to check, in all lanes.",
        components.bars(came or [None] * 12, "Messages that came per five minutes over an hour", look),
        _note("lanes", f"oldest {formats.duration(oldest)}" if oldest is not None else "nothing", "messages in, 1 h"),
    )


def _worker_card(broker: BrokerReading | None) -> None:
    if broker is None:
        bars: list[float | None] = [None] * 6
        shown, note = formats.UNKNOWN, "Redis does not answer"
    else:
        busy = sum(worker.job is not None for worker in broker.workers)
        shown = formats.count(len(broker.workers))
        bars = [sum(queue.name in worker.queues for worker in broker.workers) for queue in broker.queues]
        note = f"{busy} at work · by queue"
    _card(
        "workers",
        "Workers",
        shown,
        "Processes that take jobs; one queue each, so that a slow queue never starves a fast one.",
        components.bars(bars, "Workers by queue, most urgent first"),
        f'<div class="sy-note"><a href="#workers">Workers</a> · {escape(note)}</div>',
    )


@st.fragment(run_every="10s", key="now")
def now() -> None:
    """The reading part, drawn afresh every ten seconds; forms and dialogs are left alone."""
    viewer = people.viewer()
    with components.panel("jobs"):
        with st.skeleton(height=480):
            facts = read(viewer)
        lanes, broker, zone = facts["lanes"], facts["broker"], viewer.shop.zone
        as_of = lanes[0].row["as_of"] if lanes else queries.database_time()
        components.headline(*job_words.headline(facts["totals"], lanes, broker), as_of, zone)
        draw_cards(viewer, facts)
        job_panels.draw_lanes(lanes)
        job_panels.draw_queues(broker)
        job_panels.draw_workers(broker, zone)


def draw() -> None:
    """The whole; an address of a cause of failures, as it was once, leads to where failures are now."""
    if any(name in st.query_params for name in ("cause", "parked")):
        st.switch_page(FAILURES, query_params=st.query_params.to_dict())
    now()


draw()
