"""Is the catalogue at Klaviyo what it is here; what is under way, and what fails and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from dashboard import (
    components,
    formats,
    people,
    target_failures,
    target_panels,
    target_queries,
    target_search,
    target_words,
)
from dashboard.target_words import Cause, Row


def turn(name: str, to: str | None) -> Callable[[], None]:
    """A callback that begins a list after a row, or at its beginning again."""

    def go() -> None:
        st.query_params.pop(name, None)
        if to is not None:
            st.query_params[name] = to

    return go


def position(name: str) -> int:
    """After which row a list begins; 0: at its beginning."""
    return formats.number(st.query_params.get(name, "")) or 0


# --- whose page it is -------------------------------------------------------------------------------------------------


def choose(targets: Sequence[Row]) -> Row:
    """The account that the address names, else the first; chosen by name where there are several."""
    named = formats.number(st.query_params.get("connection", ""))
    chosen = next((row for row in targets if row["connection_id"] == named), targets[0])
    if len(targets) == 1:
        return chosen
    names = {row["connection_id"]: row["name"] for row in targets}

    def go() -> None:
        for name in ("jobs", "cause", "after", "product", "entries"):
            st.query_params.pop(name, None)
        st.query_params["connection"] = str(st.session_state["target-picker"])

    st.selectbox(
        "Account", list(names), index=list(names).index(chosen["connection_id"]), format_func=names.__getitem__,
        key="target-picker", on_change=go, width=260,
    )  # fmt: skip
    return chosen


def draw_none(viewer: people.Viewer) -> None:
    """Nobody to tell: how to connect."""
    components.title("Klaviyo")
    components.empty(
        "Klaviyo is not connected",
        "Run “switchyard connect klaviyo” with a private key that may write the catalogue. It begins in shadow mode:"
        " this page then shows what would be told before anything is.",
    )


# --- the reading part -------------------------------------------------------------------------------------------------


def draw_standing(viewer: people.Viewer, target: Row) -> None:
    """The answer, what stands in the way, and each kind."""
    shop, scope, number = viewer.shop.id, viewer.person.scope, target["connection_id"]
    found = target_queries.standing(shop, scope, number)
    flow = target_queries.flow(shop, scope, number)
    kinds = target_words.kinds(found)
    total = target_words.whole(kinds.values())
    failing = target_words.causes(found)
    left = target_words.seconds_left(total, flow)
    by_quota = None
    quota = target_queries.quota(shop, scope, number)
    if total.on_their_way:
        by_quota = target_words.seconds_by_quota(flow, quota)
    said = target_words.answer(target, total, failing, left if left is not None else by_quota)
    components.headline(*said, found.as_of, viewer.shop.zone)
    draw_obstacle(viewer, target)
    if total.total:
        target_panels.draw_kinds(kinds, total)
    with components.panel("target-full"):
        target_panels.draw_full(viewer, target, target_queries.full_syncs(shop, scope, number), total)
    with components.panel("target-causes"):
        target_failures.draw_causes(viewer, target, failing)
    with components.panel("target-jobs"):
        after = position("jobs")
        page = target_queries.jobs(shop, scope, number, after)
        if total.total:
            target_panels.draw_jobs(
                viewer, page, total, flow, by_quota, turn,
                is_later=bool(after), is_stopped=target_words.stop(target) is not None,
            )  # fmt: skip
    with components.panel("target-quota"):
        if total.total or quota:
            target_panels.draw_quota(viewer, target, quota)


def draw_obstacle(viewer: people.Viewer, target: Row) -> None:
    """What holds writes, and the last thing that went wrong with the account as a whole."""
    where = viewer.where(connection=str(target["connection_id"]))
    if target_words.stop(target) is not None:
        look = "paused" if target["state"] == "paused" else "danger" if target["is_stopped"] else "attention"
        with components.card(look, "target-stopped"), st.container(width="stretch", gap="xxsmall"):
            st.markdown(formats.plain(target_words.stopped_by(target, viewer.shop.zone)))
            components.html(f'<div class="sy-next">{components.link("connections", "To its switches", where)}</div>')
    elif target["last_error"]:
        with components.card("attention", "target-problem"), st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**It last failed as a whole.** {formats.sentence(target['last_error'])}")
            when = components.when(target["last_error_at"], target["as_of"], viewer.shop.zone)
            link = components.link("calls", "Its calls", where)
            components.html(f'<div class="sy-next"><span class="sy-meta">{when}</span> · {link}</div>')


def is_syncing(viewer: people.Viewer, target: Row) -> bool:
    """Whether a full sync is open."""
    runs = target_queries.full_syncs(viewer.shop.id, viewer.person.scope, target["connection_id"])
    return any(run["is_open"] for run in runs)


def draw_now(viewer: people.Viewer, target: Row) -> None:
    """All that is only read: looked at every ten seconds, every second while a full sync runs."""
    was_syncing = is_syncing(viewer, target)

    @st.fragment(run_every="1s" if was_syncing else "10s", key="now")
    def now() -> None:
        with components.panel("target"):
            found = target_queries.targets(viewer.shop.id, viewer.person.scope)
            fresh = next((row for row in found if row["connection_id"] == target["connection_id"]), target)
            if was_syncing != is_syncing(viewer, fresh):
                # Its pace is another one from now on, which the page as a whole sets.
                target_queries.standing.clear()
                st.rerun()
            draw_standing(viewer, fresh)

    now()


# --- the page ---------------------------------------------------------------------------------------------------------


def draw_cause(viewer: people.Viewer, target: Row, code: str) -> None:
    """The entries of one cause."""
    shop, scope, number = viewer.shop.id, viewer.person.scope, target["connection_id"]
    st.button("All of Klaviyo", key="back", type="tertiary", icon=":material/arrow_back:", on_click=leave_cause)
    with components.panel("target-cause"):
        failing: Sequence[Cause] = target_words.causes(target_queries.standing(shop, scope, number))
        after = position("after")
        page = target_queries.failures(shop, scope, number, code, after)
        target_failures.draw_cause(viewer, target, failing, code, page, turn, bool(after))


def leave_cause() -> None:
    """Back to the whole."""
    for name in ("cause", "after"):
        st.query_params.pop(name, None)


def draw() -> None:
    """One cause, where the address names it; else the whole."""
    viewer = people.viewer()
    with components.panel("targets"):
        found = target_queries.targets(viewer.shop.id, viewer.person.scope)
        if not found:
            draw_none(viewer)
            return
        target = choose(found)
        # Whatever a person does but open a dialog begins the list of causes anew; a refresh comes by another way.
        if not components.is_dialog_waiting():
            target_failures.forget_order()
        code = st.query_params.get("cause")
        components.places(
            None if code else partial(draw_all, viewer, target),
            partial(draw_cause, viewer, target, code) if code else None,
        )


def draw_all(viewer: people.Viewer, target: Row) -> None:
    """How it stands, and each entry."""
    draw_now(viewer, target)
    target_search.draw(viewer, target, turn)


draw()
