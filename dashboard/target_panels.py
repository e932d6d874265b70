"""How a Klaviyo account stands: by kind, full syncs, what is under way, and its quota. Panels that only read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import streamlit as st

from dashboard import (
    components,
    formats,
    people,
    schedule_queries,
    syncing,
    target_dialogs,
    target_words,
)
from dashboard.target_queries import Flow, Page
from dashboard.target_words import Kind, Row

Turn = Callable[[str, str | None], Callable[[], None]]

_SHARES = (
    ("in_step", "ok", "In step"),
    ("waiting", "unknown", "Waiting"),
    ("in_flight", "accent", "In flight"),
    ("removing", "bar", "To be removed"),
    ("held", "attention", "Held back"),
)


def draw_kinds(each: Mapping[str, Kind], total: Kind) -> None:
    """One bar of all, then a row for each kind."""
    components.html(_bar(total, large=True))
    heads = [("Kind", False), ("How far", False), *((words, True) for _, _, words in _SHARES), ("In all", True)]
    body = [
        (
            f"<b>{escape(target_words.PLURALS[kind])}</b>",
            _bar(stands),
            *(_quiet(getattr(stands, name)) for name, _, _ in _SHARES),
            components.number(stands.total),
        )
        for kind, stands in each.items()
    ]
    components.table(heads, body, "Entries by kind and state", dense=True)


def _quiet(number: int) -> str:
    return components.number(number) if number else '<span class="sy-muted">0</span>'


def _bar(stands: Kind, *, large: bool = False) -> str:
    """The states of a kind as shares of one bar; the large one says below what each is."""
    parts = [(look, words, getattr(stands, name)) for name, look, words in _SHARES if getattr(stands, name)]
    says = ", ".join(f"{words.lower()} {formats.count(number)}" for _, words, number in parts) or "nothing"
    drawn = "".join(f'<i class="sy-share-{look}" style="flex-grow:{number}"></i>' for look, _, number in parts)
    bar = f'<div class="sy-share{"" if large else " sy-thin"}" role="img" aria-label="{escape(says)}">{drawn}</div>'
    if not large:
        return bar
    legend = "".join(
        f'<span><i class="sy-share-{look}"></i>{escape(words)} <b>{formats.count(number)}</b></span>'
        for look, words, number in parts
    )
    return f'{bar}<div class="sy-legend">{legend}</div>'


# --- full syncs -------------------------------------------------------------------------------------------------------


def draw_full(viewer: people.Viewer, target: Row, runs: Sequence[Row], total: Kind) -> None:
    """The full sync that runs, with how far it is; else the last one and what it found; when the next is."""
    zone = viewer.shop.zone
    running = next((run for run in runs if run["is_open"]), None)
    done = next((run for run in runs if run["state"] == "done"), None)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="stack-full-sync"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown("**Full sync**: all that Klaviyo holds, read and compared")
            if running is not None:
                _draw_progress(viewer, running)
            components.html(f'<div class="sy-meta">{_last(viewer, done)}</div>')
            if running is None and runs and runs[0]["state"] in ("failed", "cancelled"):
                st.markdown(_ended_badly(runs[0], zone))
            components.html(f'<div class="sy-meta">Next by itself: {escape(_next(viewer))}</div>')
        with st.container(width="content"):
            label = "Sync all now…"
            if st.button(label, key="sync-all", icon=":material/sync:", disabled=running is not None,
                         help=None if running is None else "One is running: it does the same"):  # fmt: skip
                target_dialogs.sync_all(viewer, target, total)


def _draw_progress(viewer: people.Viewer, run: Row) -> None:
    total = run["total"] or 0
    st.progress(min(run["done"] / total, 1.0) if total else 0.0, text=syncing.progress_text(run))
    where = viewer.where(run=str(run["sync_run_id"]))
    said = escape(f"{run['requested_by']}: {run['reason']}")
    link = components.link("runs", f"Run {run['sync_run_id']}", where)
    components.html(f'<div class="sy-meta">Asked for by {said} · {link}</div>')
    if run["error"]:
        st.caption(f"Attempt {run['attempts']} ended: {formats.sentence(run['error'])} It is tried again by itself.")


def _last(viewer: people.Viewer, run: Row | None) -> str:
    if run is None:
        return "None was finished yet."
    when = components.when(run["ended_at"], run["as_of"], viewer.shop.zone)
    link = components.link("runs", f"Run {run['sync_run_id']}", viewer.where(run=str(run["sync_run_id"])))
    return f"Last: {when}. {escape(target_words.found_by(run))} {link}"


def _ended_badly(run: Row, zone: str) -> str:
    word = "was stopped" if run["state"] == "cancelled" else "failed"
    said = formats.sentence(run["error"])
    return f"{formats.badge(run['state'])} The newest {word} {formats.ago(run['ended_at'], run['as_of'], zone)}. {said}"


def _next(viewer: people.Viewer) -> str:
    found = schedule_queries.standing(viewer.shop.id, viewer.person.scope)
    row = next(row for row in found if row["name"] == target_words.FULL_SCHEDULE)
    return target_words.next_full(row, viewer.shop.zone)


# --- what is under way ------------------------------------------------------------------------------------------------


def draw_jobs(
    viewer: people.Viewer,
    page: Page,
    total: Kind,
    flow: Flow,
    by_quota: float | None,
    turn: Turn,
    *,
    is_later: bool,
    is_stopped: bool,
) -> None:
    """The queue in a sentence, then the jobs that have not ended."""
    st.subheader("Under way", anchor="under-way")
    left = target_words.seconds_left(total, flow)
    st.caption(formats.plain(target_words.queue(total, flow, left, by_quota, is_stopped=is_stopped)))
    if not page.rows and not is_later:
        return
    zone = viewer.shop.zone
    body = [
        (
            f"<b>{row['job_id']}</b>",
            escape(f"{target_words.VERBS[row['verb']]} {target_words.PLURALS[row['kind']].lower()}"),
            components.number(row["entries"]),
            _state(row),
            components.when(row["sent_at"] or row["planned_at"], row["as_of"], zone),
            escape(target_words.soon(row["next_poll_at"], row["as_of"])),
        )
        for row in page.rows
    ]
    heads = [
        ("Job", False),
        ("What", False),
        ("Entries", True),
        ("State", False),
        ("Since", False),
        ("Looked at", False),
    ]
    components.table(heads, body, "Jobs that have not ended, oldest first", dense=True)
    if page.more or is_later:
        on = turn("jobs", str(page.rows[-1]["job_id"])) if page.more else None
        components.pager("jobs", turn("jobs", None) if is_later else None, on, ("Oldest", "Later jobs"))


def _state(row: Row) -> str:
    look = "attention" if row["state"] == "lost" else "busy"
    why = f' <span class="sy-meta">{escape(formats.shortened(row["reason"], 80))}</span>' if row["reason"] else ""
    return f'<span class="sy-pill sy-pill-{look}">{escape(target_words.job_state(row))}</span>{why}'


# --- quota ------------------------------------------------------------------------------------------------------------


def draw_quota(viewer: people.Viewer, target: Row, rows: Sequence[Row]) -> None:
    """Each operation that was called within a day: how much of its minute is used."""
    st.subheader("Quota by operation", anchor="quota")
    if not rows:
        st.caption("Nothing was asked of it within a day.")
        return
    where = viewer.where(connection=str(target["connection_id"]))
    components.html(
        '<div class="sy-meta">Klaviyo counts the calls of each operation by the minute. '
        f"{components.link('connections', 'Who used it over the last hours', where, 'quota')}</div>"
    )
    zone = viewer.shop.zone
    heads = [("Operation", False), ("Last minute", False), ("Too early", True), ("Left when it last said", True),
             ("Last answer", False)]  # fmt: skip
    components.table(heads, [_operation(row, zone) for row in rows], "Quota by operation, busiest first", dense=True)


def _operation(row: Row, zone: str) -> tuple[str, ...]:
    limit = target_words.limit(row)
    share = 0 if limit is None else min(round(row["calls"] / limit[1] * 100), 100)
    of = "" if limit is None else f" of {formats.count(limit[1])}"
    left = formats.UNKNOWN if limit is None else f"{formats.count(limit[0])} of {formats.count(limit[1])}"
    return (
        f"<b>{escape(target_words.operation(row['operation']))}</b>",
        f'<span class="sy-meter sy-plain" aria-hidden="true"><i style="width:{share}%"></i></span>'
        f'<span class="sy-nowrap">{components.number(row["calls"])}{of}</span>',
        _quiet(row["throttled"]),
        escape(left),
        components.when(row["last_ok_at"], row["as_of"], zone),
    )
