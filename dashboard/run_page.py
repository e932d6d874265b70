"""One sync run in full: how it stands or ended, its jobs, its calls, and what to look for in the logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from core.runs.queries import RUN_JOBS
from dashboard import call_words, components, formats, people, run_dialogs, run_queries, run_words

Row = Mapping[str, Any]


def draw(viewer: people.Viewer, run_id: int) -> None:
    """The run of that number; while it is open its progress is looked at each second, and nothing else moves."""
    run = run_queries.run(viewer.shop.id, run_id)
    jobs = run_queries.jobs(viewer.shop.id, run_id)
    if run is None and not jobs:
        components.empty(
            f"There is no sync run {run_id}", "Runs are kept for 90 days; look for it in the list, or in the address."
        )
        return
    zone = viewer.shop.zone
    components.places(
        partial(_draw_empty_turn, run_id, jobs, zone) if run is None else None,
        partial(watch, viewer, run_id) if run is not None and run["is_open"] else None,
        partial(_draw_ended, run, zone) if run is not None and not run["is_open"] else None,
    )
    draw_jobs(jobs, zone)
    connection = run["connection_id"] if run else formats.number(str(jobs[0]["arguments"].get("connection_id", "")))
    if connection is not None:
        draw_calls(run_queries.calls(viewer.shop.id, run_id, connection, jobs), jobs, viewer)
    draw_logs(run_id, jobs)


def _draw_empty_turn(run_id: int, jobs: Sequence[Row], zone: str) -> None:
    job = jobs[0]
    with st.container(border=True, key=f"card-unknown-turn-{run_id}"):
        came = run_words.BUSINESS.get(job["business"], ("", ""))[0].lower()
        is_over = job["ended_at"] is not None
        head = f"Turn {run_id} is over: {came or 'it did not finish'}" if is_over else f"Turn {run_id} is at work"
        st.markdown(f"{formats.badge('unknown', 'Counted only')} **{head}**")
        st.caption(
            f"{formats.exact(job['started_at'], zone)}. A turn that finds nothing is counted in the health of its "
            "connection and has no run of its own; its job and its calls are below."
        )


def watch(viewer: people.Viewer, run_id: int) -> None:
    """Progress of an open run, looked at every second until it ends; then the page is drawn once with its end."""

    @st.fragment(run_every="1s", key=f"watch-{run_id}")
    def tick() -> None:
        with components.panel(f"run-{run_id}"):
            run = run_queries.run(viewer.shop.id, run_id)
            if run is None or not run["is_open"]:
                run_queries.forget()
                st.rerun()
            else:
                draw_progress(run, viewer)

    tick()


def draw_progress(run: Row, viewer: people.Viewer) -> None:
    """Its step, its bar, its pace, who asked for it, and the button that stops it."""
    number = run["sync_run_id"]
    with components.card("busy", f"run-{number}"):
        with st.container(width="stretch", gap="xxsmall"):
            name = f"{run_words.words_of(run['kind'])} of {run['connection']}"
            stops = run["cancel_asked_at"] is not None
            shown = formats.badge("running", "Stopping") if stops else formats.badge(run["state"])
            where = viewer.where(run=str(number))
            link = components.link("runs", f"run {number}", where)
            st.markdown(f"{shown} **{formats.plain(name)}**")
            st.progress(run_words.share_done(run), text=run_words.progress(run))
            asked = f"{escape(run_words.asked(run))}: {escape(run['reason'])}"
            stopped = f" · {escape(run['cancel_asked_by'])} asked to stop it" if stops else ""
            components.html(f'<div class="sy-meta">{link} · {asked}{stopped}</div>')
            if run["error"]:
                st.caption(f"Attempt {run['attempts']} ended: {formats.sentence(run['error'])} It is tried again.")
        with st.container(width="content"):
            if st.button("Stop…", key=f"stop-{number}", icon=":material/stop_circle:", disabled=stops):
                run_dialogs.cancel(run)


def _draw_ended(run: Row, zone: str) -> None:
    number, state = run["sync_run_id"], run["state"]
    with components.card(state, f"run-{number}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"{formats.badge(state)} **{formats.plain(run_words.words_of(run['kind']))} of "
                f"{formats.plain(run['connection'])}**"
            )
            if state == "failed":
                st.markdown(formats.sentence(run["error"]))
            if state == "cancelled":
                st.markdown(
                    f"Stopped by {formats.plain(run['cancel_asked_by'])}: {formats.sentence(run['cancel_reason'])} "
                    "What it had read stays."
                )
            st.markdown(f"Counted: {formats.plain(run_words.counted(run['counts']))}.")
            st.caption(
                f"{formats.exact(run['started_at'] or run['requested_at'], zone)} · took "
                f"{formats.duration(run['seconds'])} · {formats.plural(run['attempts'], 'attempt')} · "
                f"{formats.plain(run_words.asked(run))}: {formats.plain(run['reason'])}"
                + (f" · does run {run['retry_of']} again" if run["retry_of"] else "")
            )
        if state in ("failed", "cancelled") and run["kind"] in RUN_JOBS:
            with st.container(width="content"):
                if st.button("Do it again…", key=f"retry-{number}", icon=":material/replay:", type="primary"):
                    run_dialogs.retry(run)


def business(name: str | None) -> str:
    """What came of a job, as HTML."""
    if name is None:
        return formats.UNKNOWN
    word, look = run_words.BUSINESS.get(name, (name, "unknown"))
    return f'<span class="sy-pill sy-pill-{look}">{escape(word)}</span>'


def draw_jobs(jobs: Sequence[Row], zone: str) -> None:
    """Each run of its job: whether it ran, and apart from that what came of it."""
    st.subheader("Jobs", anchor="jobs")
    if not jobs:
        components.empty("No job has taken it yet", "One begins as soon as a worker of its queue is free.")
        return
    heads = [("Job", False), ("It ran", False), ("What came of it", False), ("Started", False), ("Took", True),
             ("Attempt", True), ("Worker", False)]  # fmt: skip
    body = [
        (
            f"<b>{escape(job['function'])}</b><br><span class='sy-meta'>{escape(_arguments(job['arguments']))}</span>",
            components.pill(job["outcome"] or "running"),
            business(job["business"]),
            components.when(job["started_at"], job["as_of"], zone),
            escape(formats.milliseconds(None if job["seconds"] is None else round(job["seconds"] * 1000))),
            components.number(job["attempt"]),
            escape((job["worker"] or formats.UNKNOWN).partition("-")[0]),
        )
        for job in jobs
    ]
    components.table(heads, body, "Jobs of this run", dense=True)
    for job in jobs:
        if job["error"]:
            with st.expander(f"Why job {job['job_run_id']} failed", icon=":material/error:"):
                st.code(f"{job['error']}\n\n{job['traceback'] or ''}".strip(), language=None, wrap_lines=True)
        elif job["result"]:
            with st.expander(f"What job {job['job_run_id']} returned", icon=":material/data_object:"):
                st.code(json.dumps(job["result"], indent=1, ensure_ascii=False), language=None, wrap_lines=True)


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items() if value is not None) or "no arguments"


def draw_calls(page: run_queries.Page, jobs: Sequence[Row], viewer: people.Viewer) -> None:
    """The last calls that were made for it."""
    st.subheader("API calls", anchor="calls")
    if not page.rows:
        said = "None is on record yet: calls are written down in batches." if any(
            job["ended_at"] is None for job in jobs
        ) else "It asked nothing outside, or so long ago that the calls are forgotten."  # fmt: skip
        components.empty("No call", said)
        return
    heads = [("Operation", False), ("Outcome", False), ("Status", True), ("Took", True), ("Attempt", True),
             ("Called", False)]  # fmt: skip
    body = [
        (
            f"<b>{components.link('calls', row['operation'], viewer.where(call=str(row['call_id'])))}</b>"
            + (f"<br><span class='sy-meta'>{escape(call_words.error(row['error'], row['status']))}</span>"
               if row["outcome"] != "ok" else ""),
            components.pill(row["outcome"]),
            escape(str(row["status"] or formats.UNKNOWN)),
            escape(formats.milliseconds(row["elapsed_ms"])),
            components.number(row["attempt"]),
            f"<time>{escape(formats.clock(row['called_at'], viewer.shop.zone))}</time>",
        )
        for row in page.rows
    ]  # fmt: skip
    components.table(heads, body, "API calls of this run", dense=True)
    if page.more:
        st.caption(f"The last {run_queries.CALLS}. Earlier ones are among all calls of the connection.")


def draw_logs(run_id: int, jobs: Sequence[Row]) -> None:
    """What its lines are found by in the logs."""
    st.subheader("In the logs", anchor="logs")
    refs = [f'"job": "{job["job_ref"]}"' for job in jobs[:5]]
    st.code("\n".join([f'"sync_run": {run_id}', *refs]), language=None)
    st.caption("Every line that is logged for it carries these fields, one JSON object a line.")
