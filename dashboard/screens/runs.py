"""What syncs run, how far are they, how did they end, and does each kind of each connection succeed?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.runs import kinds
from dashboard import components, formats, people, queries, run_page, run_queries, run_words
from dashboard.run_words import Health

_STATES = {"All": None, "Done": "done", "Failed": "failed", "Cancelled": "cancelled"}


def _number(name: str) -> int | None:
    return formats.number(st.query_params.get(name, ""))


def _go(**where: str | None) -> Callable[[], None]:
    """A callback that changes the address; None takes a name out of it."""

    def go() -> None:
        for name, value in where.items():
            st.query_params.pop(name, None)
            if value is not None:
                st.query_params[name] = value

    return go


# --- how it stands ----------------------------------------------------------------------------------------------------


@st.fragment(run_every="10s", key="runs-now")
def now() -> None:
    """The answer and the health of each kind, looked at every ten seconds."""
    viewer = people.viewer()
    with components.panel("health"):
        with st.skeleton(height=320):
            shop, scope = viewer.shop.id, viewer.person.scope
            found = run_words.collect(
                run_queries.health(shop, scope), run_queries.hours(shop, scope), run_queries.spans(shop, scope)
            )
            running = len(run_queries.open_runs(shop))
        as_of = found[0].row["as_of"] if found else queries.database_time()
        components.headline(*run_words.headline(found, running), as_of, viewer.shop.zone)
        draw_health(found, viewer)


def draw_health(found: Sequence[Health], viewer: people.Viewer) -> None:
    """One row for each connection and kind: last success, share, pace, and a day by the hour."""
    st.subheader("Sync health", anchor="health")
    if not found:
        components.empty("Nothing has run yet", "Connect a channel; its polls begin within a minute.")
        return
    heads = [("Sync", False), ("State", False), ("Last success", False), ("Succeeded, 24 h", True), ("7 days", True),
             ("Half within", True), ("95 % within", True), ("Turns, 24 h", False)]  # fmt: skip
    components.table(heads, [_health_cells(health, viewer) for health in found], "Sync health", dense=True)
    st.caption(
        "A turn is one look, also one that found nothing. Turns that were put off or switched off count as neither. "
        "Seconds are those of 24 hours, right to a tenth; of 7 days on hover."
    )


def _health_cells(health: Health, viewer: people.Viewer) -> tuple[str, ...]:
    row, day, week = health.row, health.day, health.week
    zone, name = viewer.shop.zone, f"{run_words.words_of(row['kind'])} of {row['connection']}"
    where = viewer.where(kind=row["kind"], connection=str(row["connection_id"]))
    empty = f"{formats.plural(row['empty_turns'], 'turn')} without news" if row["empty_turns"] else row["connection"]
    about = f"{row['connection']} · {empty}" if row["empty_turns"] else row["connection"]
    look = "danger" if health.state == "fails" else "attention" if health.state == "shaky" else ""
    return (
        f"<b>{components.link('runs', run_words.words_of(row['kind']), where)}</b>"
        f"<br><span class='sy-meta'>{escape(about)}</span>",
        _state(health, viewer),
        components.when(row["last_success_at"], row["as_of"], zone),
        escape(day.share()),
        escape(week.share()),
        _seconds(day, week, 0.5),
        _seconds(day, week, 0.95),
        components.bars(
            health.turns_by_hour, f"{name}: turns per hour over a day, {day.bad} of them failed", look, small=True
        ),
    )


def _state(health: Health, viewer: people.Viewer) -> str:
    pill = components.pill(health.state)
    row = health.row
    if health.state not in ("fails", "shaky") or row["last_run_id"] is None:
        return pill
    failed = row["failed_turns"] or health.day.bad
    words = f"{formats.plural(failed, 'time')}" + (" in a row" if row["failed_turns"] else " in a day")
    return f"{pill}<br>{components.link('runs', words, viewer.where(run=str(row['last_run_id'])))}"


def _seconds(day: run_words.Span, week: run_words.Span, share: float) -> str:
    shown, whole = (_spell(span.seconds(share)) for span in (day, week))
    return f'<span title="{escape(f"7 days: {whole}")}">{escape(shown)}</span>'


def _spell(seconds: float | None) -> str:
    return formats.milliseconds(None if seconds is None else round(seconds * 1000))


# --- what runs now ----------------------------------------------------------------------------------------------------


def draw_running(viewer: people.Viewer) -> None:
    """Runs that wait or run: while one is open they are looked at every second, else every few for one that begins."""
    if run_queries.open_runs(viewer.shop.id):
        st.subheader("Under way", anchor="running")
        _tick(viewer)
    else:
        st.session_state.pop("runs-shown", None)
        _await(viewer)


@st.fragment(run_every="5s", key="runs-awaited")
def _await(viewer: people.Viewer) -> None:
    """Runs that begin while the page is open, without drawing it anew under whoever reads or types."""
    with components.panel("running"):
        found = run_queries.open_runs(viewer.shop.id)
        if found:
            st.subheader("Under way", anchor="running")
        for run in found:
            run_page.draw_progress(run, viewer)


@st.fragment(run_every="1s", key="runs-ticking")
def _tick(viewer: people.Viewer) -> None:
    with components.panel("running"):
        found = run_queries.open_runs(viewer.shop.id)
        shown = [row["sync_run_id"] for row in found]
        known = st.session_state.get("runs-shown")
        st.session_state["runs-shown"] = shown
        if known is not None and set(known) - set(shown):
            # One has ended: the page is drawn once with its end, and ticks no more when it was the last.
            run_queries.forget()
            st.rerun()
        for run in found:
            run_page.draw_progress(run, viewer)


# --- what ran ---------------------------------------------------------------------------------------------------------


def draw_ended(viewer: people.Viewer) -> None:
    """Runs that ended, by page, with filters that stand in the address."""
    st.subheader("Ended", anchor="ended")
    chosen = _filters(viewer)
    before = _number("before")
    page = run_queries.ended(viewer.shop.id, viewer.person.scope, chosen, before)
    if not page.rows:
        components.empty(
            "No run ended so", "Turns that found nothing are counted in the health above and have no run of their own."
        )
    else:
        heads = [("Run", False), ("Sync", False), ("State", False), ("Ended", False), ("Took", True),
                 ("Counted", False), ("Asked for", False)]  # fmt: skip
        components.table(heads, [_ended_cells(row, viewer) for row in page.rows], "Runs that ended", dense=True)
    if before is not None or page.more:
        components.pager(
            "runs",
            _go(before=None) if before is not None else None,
            _go(before=str(page.rows[-1]["sync_run_id"])) if page.more else None,
            ("Newest", "Older"),
        )


def _filters(viewer: people.Viewer) -> run_queries.Filter:
    found = queries.connections(viewer.shop.id, viewer.person.scope)
    names = {str(row["connection_id"]): str(row["name"]) for row in found}
    words = {kind.name: kind.words for kind in kinds.KINDS}
    with st.container(horizontal=True, vertical_alignment="center", key="stack-run-filters"):
        state = st.segmented_control(
            "State", list(_STATES), key="state", default="All", required=True, bind="query-params",
            on_change=_go(before=None), label_visibility="collapsed",
        )  # fmt: skip
        _choice("connection", "Connection", "Every connection", names)
        _choice("kind", "Kind of sync", "Every kind", words)
    wanted, kind = _number("connection"), st.query_params.get("kind")
    return run_queries.Filter(wanted, kind if kind in words else None, _STATES.get(state or "All"))


def _choice(name: str, label: str, everything: str, words: dict[str, str]) -> None:
    """A choice whose place is the address: links of the page set it, too."""
    options = ["", *words]
    given = st.query_params.get(name, "")
    key = f"runs-{name}"
    st.session_state[key] = given if given in words else ""

    def choose() -> None:
        _go(before=None, **{name: st.session_state[key] or None})()

    st.selectbox(
        label, options, key=key, format_func=lambda one: words.get(one, everything), on_change=choose,
        label_visibility="collapsed", width=220,
    )  # fmt: skip


def _ended_cells(row: dict[str, Any], viewer: people.Viewer) -> tuple[str, ...]:
    number = str(row["sync_run_id"])
    said = row["error"] if row["state"] == "failed" else row["cancel_reason"] if row["state"] == "cancelled" else None
    counted = escape(formats.shortened(said, 120)) if said else escape(run_words.counted(row["counts"]))
    return (
        f"<b>{components.link('runs', number, viewer.where(run=number))}</b>",
        f"<span class='sy-nowrap'>{escape(run_words.words_of(row['kind']))}</span>"
        f"<br><span class='sy-meta'>{escape(row['connection'])}</span>",
        components.pill(row["state"]),
        components.when(row["ended_at"], row["as_of"], viewer.shop.zone),
        escape(formats.milliseconds(round(row["seconds"] * 1000)) if row["seconds"] < 60
               else formats.duration(row["seconds"])),
        f"<span class='sy-meta'>{counted}</span>",
        escape(run_words.asked(row)),
    )  # fmt: skip


def draw(viewer: people.Viewer) -> None:
    """One run, where the address names it; else the whole."""
    wanted = _number("run")
    if wanted is not None:
        st.button("All runs", key="all-runs", type="tertiary", icon=":material/arrow_back:", on_click=_go(run=None))
        with components.panel("run"):
            components.title(f"Sync run {wanted}")
            run_page.draw(viewer, wanted)
        return
    now()
    with components.panel("running"):
        draw_running(viewer)
    with components.panel("ended"):
        draw_ended(viewer)


draw(people.viewer())
