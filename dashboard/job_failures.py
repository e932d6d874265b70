"""Failed jobs: a card for each cause, one cause's jobs with their tracebacks, and what became of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import streamlit as st

from core.errors import Retryable
from core.logs import mask
from core.runs.failures import Chosen
from dashboard import components, formats, job_actions, job_dialogs, job_words, jobs_queries, people
from dashboard.job_words import Row
from dashboard.jobs_queries import Page

RECENT_SECONDS = 300


def draw_causes(viewer: people.Viewer, page: Page, is_worst: bool) -> None:
    """A card for each open cause; `is_worst`: the first one's button is the page's primary one."""
    for place, row in enumerate(page.rows):
        _cause_card(viewer, row, is_worst and place == 0)


def _cause_card(viewer: people.Viewer, row: Row, is_worst: bool) -> None:
    key = formats.key(row["cause"], row["function"])
    with components.card(job_words.failure_state(row), f"cause-{key}"):
        with st.container(width="stretch", gap="xxsmall"):
            _cause_text(viewer, row)
        with st.container(width="content", horizontal=True, vertical_alignment="center"):
            components.open_here("See jobs", f"see-{key}", cause=row["cause"], function=row["function"])
            _cause_buttons(row, key, is_worst)


def _cause_text(viewer: people.Viewer, row: Row) -> None:
    kind = job_words.failure_kind(row["error"])
    st.markdown(
        f"{formats.badge(job_words.failure_state(row))} **{job_words.failure_headline(row['error'])}**"
        + (f" · {kind}" if kind else "")
    )
    works = [(formats.count(row["works"]), "pieces of work" if row["works"] != 1 else "piece of work")]
    _row((formats.count(row["jobs"]), "jobs" if row["jobs"] != 1 else "job"), *(works if row["jobs"] > 1 else []))
    zone = viewer.shop.zone
    st.caption(
        f"{job_words.about(row)} · first {formats.ago(row['since'], row['as_of'], zone)}, "
        f"last {formats.ago(row['last_at'], row['as_of'], zone)}"
    )


def _row(*figures: tuple[str, str]) -> None:
    shown = "".join(f"<span><b>{escape(number)}</b> {escape(name)}</span>" for number, name in figures)
    components.html(f'<div class="sy-row">{shown}</div>')


def _cause_buttons(row: Row, key: str, is_worst: bool) -> None:
    chosen = Chosen(cause=row["cause"], function=row["function"])
    about = f"**{job_words.failure_headline(row['error'])}** · {job_words.about(row)}"
    if st.button("Discard…", key=f"discard-cause-{key}"):
        job_dialogs.discard_jobs(chosen, about)
    if st.button(
        "Requeue…",
        key=f"requeue-cause-{key}",
        type="primary" if is_worst else "secondary",
        icon=":material/replay:",
    ):
        job_dialogs.requeue_jobs(chosen, about, _is_recent(row["last_at"], row))


def _is_recent(at: Any, row: Row) -> bool:
    return bool((row["as_of"] - at).total_seconds() < RECENT_SECONDS)


def draw_cause(viewer: people.Viewer, name: str, function: str, turn: Callable[[str, int | None], Any]) -> None:
    """One cause and its open jobs; `turn` makes the callback that goes to an older page."""
    row = jobs_queries.cause(viewer.shop.id, name, function)
    if row is None:
        components.title("Failed jobs", function)
        components.empty(
            "Nothing of this cause is open", "It was requeued, discarded, or a later run did the work. See the lists."
        )
        return
    components.title("Failed jobs", function, formats.as_of(row["as_of"], viewer.shop.zone))
    with components.card(job_words.failure_state(row), "cause"):
        with st.container(width="stretch", gap="xxsmall"):
            _cause_text(viewer, row)
        with st.container(width="content", horizontal=True):
            _cause_buttons(row, "all", is_worst=True)
    before = _number(st.query_params.get("before", ""))
    page = jobs_queries.failures_of(viewer.shop.id, name, function, before)
    states = _states(page)
    for job in page.rows:
        _draw_job(viewer, job, row["error"], states)
    if page.more or before is not None:
        last = page.rows[-1]["run_id"] if page.rows else None
        components.pager(
            "jobs",
            turn("before", None) if before is not None else None,
            turn("before", last) if page.more else None,
            ("Newest", "Older"),
        )


def _number(text: str) -> int | None:
    return formats.number(text)


def _states(page: Page) -> Mapping[str, str]:
    try:
        return job_actions.application().broker.states([row["job_ref"] for row in page.rows])
    except Retryable:
        return {}


def _draw_job(viewer: people.Viewer, row: Row, usual: str | None, states: Mapping[str, str]) -> None:
    """One failed job; its error only where it differs from the `usual` one of its cause."""
    run, zone = row["run_id"], viewer.shop.zone
    with st.container(border=True, key=f"job-{run}", gap="xsmall"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center",
                          key=f"job-head-{run}"):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                components.html(
                    f'<div class="sy-row">{components.pill(row["outcome"])}{_arguments(row["arguments"])}</div>'
                )
                if row["error"] != usual:
                    st.markdown(formats.sentence(mask(row["error"] or "It left no error")))
                st.caption(_job_meta(row, states.get(row["job_ref"]), zone))
            with st.container(width="content", horizontal=True):
                about = f"**{formats.plain(row['function'])}** · job {formats.plain(row['job_ref'])}"
                if st.button("Discard…", key=f"discard-job-{run}"):
                    job_dialogs.discard_jobs(Chosen(run_id=run), about)
                if st.button("Requeue…", key=f"requeue-job-{run}", icon=":material/replay:"):
                    job_dialogs.requeue_jobs(Chosen(run_id=run), about, _is_recent(row["started_at"], row))
        trace = st.expander("Traceback and runs", key=f"trace-{run}", on_change="rerun")
        if trace.open:
            with trace:
                _draw_trace(viewer, row)


def _arguments(arguments: Mapping[str, object]) -> str:
    """Ids by name as HTML, masked: what a job was called with."""
    return "".join(
        f"<span>{escape(name)} <b>{escape(mask(str(value)))}</b></span>" for name, value in arguments.items()
    ) or '<span class="sy-muted">no arguments</span>'  # fmt: skip


def _job_meta(row: Row, state: str | None, zone: str) -> str:
    took = formats.duration((row["ended_at"] - row["started_at"]).total_seconds()) if row["ended_at"] else None
    at, now = row["started_at"], row["as_of"]
    parts = [
        f"{formats.moment(at, now, zone)}, {formats.ago(at, now, zone)}",
        f"attempt {row['attempt']}",
        f"took {took}" if took else "",
        f"queue {formats.plain(row['queue'])}",
        f"job {formats.plain(row['job_ref'])}",
        "tried again by itself soon" if state == "scheduled" else "",
    ]
    return " · ".join(part for part in parts if part)


def _draw_trace(viewer: people.Viewer, row: Row) -> None:
    text = row["traceback"] or row["error"] or "It left neither a traceback nor an error."
    st.code(mask(text), language=None, wrap_lines=True)
    if row["traceback"] is None:
        st.caption("Killed and abandoned jobs leave no traceback.")
    found = jobs_queries.attempts(viewer.shop.id, row["job_ref"])
    body = [
        (
            components.when(run["started_at"], row["as_of"], viewer.shop.zone),
            components.pill(run["outcome"] or "running"),
            components.number(run["attempt"]),
            escape(run["worker"] or formats.UNKNOWN),
        )
        for run in found
    ]
    heads = [("Run", False), ("It ended", False), ("Attempt", True), ("Worker", False)]
    components.table(heads, body, "Runs of this job")


RESOLVED = {
    "requeued": (
        "Nothing has been requeued",
        "Failed jobs that somebody requeues are listed here with what came of it.",
    ),
    "discarded": ("No failed job has been discarded", "What somebody gives up is listed here, with who and why."),
    "superseded": ("No failure was made good by itself", "Failures that a later run made moot are listed here."),
}


def draw_resolved(
    viewer: people.Viewer, state: str, before: int | None, turn: Callable[[str, int | None], Any]
) -> None:
    """Failed jobs that were dealt with, newest first."""
    page = jobs_queries.resolved(viewer.shop.id, state, before)
    if not page.rows:
        components.empty(*RESOLVED[state])
        return
    zone = viewer.shop.zone
    body = [
        (
            components.when(row["started_at"], row["as_of"], zone),
            f"<b>{escape(row['function'])}</b><br><span class='sy-meta'>{escape(row['connection'] or '')}</span>",
            escape(mask(row["error"] or formats.UNKNOWN)),
            components.when(row["resolved_at"], row["as_of"], zone),
            f"{escape(row['resolved_by'])}<br><span class='sy-meta'>{escape(row['resolved_reason'])}</span>",
            components.pill(_came_of_it(row)),
        )
        for row in page.rows
    ]
    heads = [("Failed", False), ("Job", False), ("Why", False), ("Dealt with", False), ("By", False),
             ("What came of it", False)]  # fmt: skip
    components.table(heads, body, "Failed jobs that were dealt with")
    if page.more or before is not None:
        components.pager(
            f"resolved-{state}",
            turn("before", None) if before is not None else None,
            turn("before", page.rows[-1]["run_id"]) if page.more else None,
            ("Newest", "Older"),
        )


def _came_of_it(row: Row) -> str:
    if row["state"] != "requeued":
        return str(row["state"])
    return str(row["requeued_outcome"] or "queued")
