"""Does the work get done? What failed or is parked, and what to do about it; what waits, who works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.errors import Retryable
from core.ports import BrokerReading
from dashboard import (
    components,
    formats,
    job_failures,
    job_panels,
    job_parked,
    job_words,
    jobs_queries,
    people,
    queries,
)
from dashboard.job_words import LaneView

_SHOW = {"Open": "open", "Requeued": "requeued", "Discarded": "discarded", "Done since": "superseded"}


def turn(name: str, after: Any) -> Any:
    """A callback that begins the page after a key, or at its beginning again."""

    def go() -> None:
        st.query_params.pop(name, None)
        if after is not None:
            st.query_params[name] = str(after)

    return go


def read_broker(viewer: people.Viewer) -> BrokerReading | None:
    """What only the broker knows; None while it does not answer, which is shown as such."""
    try:
        return jobs_queries.broker_reading(viewer.person.scope)
    except Retryable:
        return None


def read(viewer: people.Viewer) -> dict[str, Any]:
    """Everything this page shows, read before anything is drawn."""
    shop, scope = viewer.shop.id, viewer.person.scope
    minutes = jobs_queries.lane_minutes(shop, scope)
    lanes = jobs_queries.lanes(shop, scope)
    return {
        "totals": jobs_queries.totals(shop, scope),
        "causes": jobs_queries.causes(shop, scope, _position()),
        "parked": jobs_queries.parked_causes(shop, scope),
        "failed_by_hour": jobs_queries.failed_by_hour(shop, scope),
        "parked_by_hour": queries.parked_by_hour(shop, scope),
        "lanes": [job_words.lane(row, minutes.get((row["connection_id"], row["kind"]), ())) for row in lanes],
        "broker": read_broker(viewer),
    }


def _position() -> tuple[int, str, str] | None:
    jobs, _, rest = st.query_params.get("after", "").partition("~")
    cause, mark, function = rest.partition("~")
    number = formats.number(jobs)
    return (number, cause, function) if number is not None and mark else None


def draw_cards(facts: Mapping[str, Any]) -> None:
    """Four figures, each with its past and what it is made of."""
    totals, lanes, broker = facts["totals"], facts["lanes"], facts["broker"]
    with st.grid(4, min_column_width=160):
        _card(
            "failed",
            "Failed jobs",
            formats.count(totals["jobs"]),
            "Jobs that failed, and that neither a person nor a later run has made good.",
            components.bars(
                facts["failed_by_hour"], "Failed runs per hour over a day", "danger" if totals["jobs"] else ""
            ),
            _note("failed", _causes(totals["causes"]), "runs failed, 24 h"),
        )
        _card(
            "parked-messages",
            "Parked messages",
            formats.count(totals["messages"]),
            "Messages that could not be handled. None is lost: each is kept word for word.",
            components.bars(
                facts["parked_by_hour"],
                "Parked messages per hour of arrival over a day",
                "attention" if totals["messages"] else "",
            ),
            _note("failed", _causes(totals["parked_causes"]), "by arrival, 24 h"),
        )
        _waiting_card(lanes)
        _worker_card(broker)


def _card(name: str, label: str, value: str, about: str, picture: str, note: str) -> None:
    with st.container(border=True, key=f"metric-{name}", height="stretch"):
        st.metric(label, value, help=about)
        components.html(picture + note)


def _causes(number: int) -> str:
    return formats.plural(number, "cause") if number else "none open"


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


def draw_filter() -> str:
    """Open ones, or what became of the others; in the address."""
    shown = st.segmented_control(
        "Show", list(_SHOW), key="show", default="Open", required=True, bind="query-params", on_change=_first_page,
        label_visibility="collapsed",
    )  # fmt: skip
    return _SHOW[shown or "Open"]


def _first_page() -> None:
    for name in ("before", "message", "after"):
        st.query_params.pop(name, None)


def draw_open(viewer: people.Viewer, facts: Mapping[str, Any]) -> None:
    """What needs somebody: failed jobs by cause, then parked messages by cause."""
    page, rows = facts["causes"], facts["parked"]
    if not page.rows and not rows:
        components.empty("Nothing failed and nothing is parked", "This page looks again every 10 seconds.")
        return
    job_failures.draw_causes(viewer, page, is_worst=True)
    if page.more or _position() is not None:
        last = page.rows[-1] if page.rows else None
        onward = f"{last['jobs']}~{last['cause']}~{last['function']}" if last else None
        components.pager(
            "causes",
            turn("after", None) if _position() is not None else None,
            turn("after", onward) if page.more else None,
            ("Worst", "More causes"),
        )
    job_parked.draw_causes(viewer, rows, is_worst=not page.rows)


def _number(name: str) -> int | None:
    text = st.query_params.get(name, "")
    return formats.number(text)


def draw_dealt_with(viewer: people.Viewer, state: str) -> None:
    """What became of failed jobs and of parked messages."""
    if state == "discarded":
        st.markdown("**Failed jobs**")
    job_failures.draw_resolved(viewer, state, _number("before"), turn)
    if state == "discarded":
        st.markdown("**Messages**")
        job_parked.draw_discarded(viewer, _number("message"), turn)


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
        draw_cards(facts)
        st.subheader("Failed and parked", anchor="failed")
        state = draw_filter()
        if state == "open":
            draw_open(viewer, facts)
        else:
            draw_dealt_with(viewer, state)
        job_panels.draw_lanes(lanes)
        job_panels.draw_queues(broker)
        job_panels.draw_workers(broker, zone)


def draw() -> None:
    """One cause, where the address names it; else the whole."""
    viewer = people.viewer()
    cause, function = st.query_params.get("cause"), st.query_params.get("function")
    parked, connection = st.query_params.get("parked"), _number("connection")
    if cause and function:
        _back()
        with components.panel("cause"):
            job_failures.draw_cause(viewer, cause, function, turn)
    elif parked and connection is not None:
        _back()
        with components.panel("parked"):
            job_parked.draw_cause(viewer, connection, parked, turn)
    else:
        now()


def _back() -> None:
    def go() -> None:
        for name in ("cause", "function", "parked", "connection", "before"):
            st.query_params.pop(name, None)

    st.button("All jobs", key="all-jobs", type="tertiary", icon=":material/arrow_back:", on_click=go)


draw()
