"""What broke, why, how far it reaches, and what a retry would do; requeued by one button."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import streamlit as st

from dashboard import (
    components,
    failure_cards,
    failure_dialogs,
    failure_group,
    failure_items,
    failure_progress,
    failure_queries,
    failure_words,
    formats,
    people,
    queries,
)
from dashboard.failure_queries import Filter, Hours, Position, Standing
from dashboard.failure_words import Row

_EVERY_SOURCE, _EVERY_CONNECTION = "All kinds", "All connections"
_KEPT = "failures-shown"


class Shown(NamedTuple):
    """The list as it was first drawn: a refresh brings new figures into it, and never another order. `known` is how
    much was open in each group then, by key."""

    view: object
    rows: Sequence[Row]
    still_open: frozenset[str]
    more: bool
    known: Mapping[str, int]


# --- the address ------------------------------------------------------------------------------------------------------


def first_page() -> None:
    """What is shown changes: begin at its first page."""
    for name in ("after", "before"):
        st.query_params.pop(name, None)


def turn(name: str, to: str | None) -> Callable[[], None]:
    """A callback that begins a list after a row, or at its beginning again."""

    def go() -> None:
        st.query_params.pop(name, None)
        if to is not None:
            st.query_params[name] = to

    return go


def position() -> Position | None:
    """Where the address begins the list of groups."""
    needed, _, rest = st.query_params.get("after", "").partition("~")
    items, mark, key = rest.partition("~")
    numbers = formats.number(needed), formats.number(items)
    return None if numbers[0] is None or numbers[1] is None or not mark else Position(numbers[0], numbers[1], key)


def clear() -> None:
    """Show everything again."""
    first_page()
    st.session_state.update({"source": _EVERY_SOURCE, "connection": _EVERY_CONNECTION, "q": ""})


# --- the top ----------------------------------------------------------------------------------------------------------


def draw_filters(viewer: people.Viewer) -> tuple[str, Filter]:
    """State, kind, connection and words, all of them in the address. Outside of what refreshes itself."""
    names = {row["name"]: row["connection_id"] for row in queries.connections(viewer.shop.id, viewer.person.scope)}
    with st.container(horizontal=True, vertical_alignment="center", key="failure-filters"):
        state = st.segmented_control(
            "State", list(failure_words.STATES), key="show", default="Open", required=True, bind="query-params",
            on_change=first_page, label_visibility="collapsed",
        )  # fmt: skip
        kinds = {_EVERY_SOURCE: None, **{names[0]: source for source, names in failure_words.SOURCES.items()}}
        kind = st.selectbox(
            "Kind", list(kinds), key="source", bind="query-params", on_change=first_page, width=130,
            label_visibility="collapsed",
        )  # fmt: skip
        connection = st.selectbox(
            "Connection", [_EVERY_CONNECTION, *names], key="connection", bind="query-params", on_change=first_page,
            width=190, label_visibility="collapsed",
        )  # fmt: skip
        text = st.text_input(
            "Search", type="search", key="q", bind="query-params", on_change=first_page, width=210,
            placeholder="Error, job or topic", icon=":material/search:", label_visibility="collapsed",
        )  # fmt: skip
    wanted = Filter(kinds.get(kind), names.get(connection), (text or "").strip())
    return failure_words.STATES[state or "Open"], wanted


def draw_metrics(viewer: people.Viewer, totals: Row, hours: Hours) -> None:
    """Four figures, each with its day and what it is made of."""
    with st.grid(4, min_column_width=160):
        _metric(
            "failures",
            "Failures",
            totals["items"],
            "Failed jobs, parked messages and unsent notices that nobody dealt with and no later run made good.",
            components.bars(hours.failed, "Failures per hour over a day", "danger" if totals["still_needed"] else ""),
            f'<a href="#by-cause-worst-first">{escape(formats.plural(totals["groups"], "cause"))}</a> · 24 h',
        )
        _metric(
            "needed",
            "Still needed",
            totals["still_needed"],
            "Work that no later run did. The rest is superseded: a requeue closes it and does nothing again.",
            _share(totals),
            f"{formats.count(totals['items'] - totals['still_needed'])} superseded",
        )
        _metric(
            "parked-messages",
            "Parked messages",
            totals["message"],
            "Messages that could not be handled. None is lost: each is kept word for word.",
            components.bars(
                hours.parked, "Parked messages per hour over a day", "attention" if totals["message"] else ""
            ),
            components.link("failures", "Show messages", viewer.where(source="Messages")) + " · 24 h",
        )
        _metric(
            "dealt-with",
            "Dealt with, 24 h",
            sum(hours.settled),
            "Failures that were requeued, or made good by a later run of the same work.",
            components.bars(hours.settled, "Failures dealt with per hour over a day", "done"),
            components.link("failures", "Show them", viewer.where(show="Requeued")),
        )


def _metric(name: str, label: str, value: int, about: str, picture: str, note: str) -> None:
    with st.container(border=True, key=f"metric-{name}", height="stretch"):
        st.metric(label, formats.count(value), help=about)
        components.html(f'{picture}<div class="sy-note">{note}</div>')


def _share(totals: Row) -> str:
    """What is still needed of all, as one bar."""
    needed, rest = totals["still_needed"], totals["items"] - totals["still_needed"]
    if not totals["items"]:
        return '<div class="sy-share sy-alone"></div>'
    parts = "".join(
        f'<i class="sy-share-{look}" style="flex-grow:{number}"></i>'
        for look, number in (("danger", needed), ("unknown", rest))
        if number
    )
    label = f"{formats.count(needed)} still needed, {formats.count(rest)} superseded"
    return f'<div class="sy-share sy-alone" role="img" aria-label="{escape(label)}">{parts}</div>'


# --- the list ---------------------------------------------------------------------------------------------------------


def read(viewer: people.Viewer, wanted: Filter) -> dict[str, Any]:
    """Everything that every list of this page has above it, read before anything is drawn."""
    shop, scope = viewer.shop.id, viewer.person.scope
    everything = failure_queries.standing(shop, scope, Filter())
    return {
        "totals": failure_words.totals(list(everything.groups.values())),
        "as_of": everything.as_of,
        "standing": everything if wanted == Filter() else failure_queries.standing(shop, scope, wanted),
        "hours": failure_queries.by_hour(shop, scope),
        "recoveries": failure_queries.recoveries(shop, scope),
    }


def shown(viewer: people.Viewer, wanted: Filter, after: Position | None, standing: Standing) -> Shown:
    """The list in the order in which it was first drawn, with the figures of now."""
    shop, scope = viewer.shop.id, viewer.person.scope
    view = (shop, wanted, after)
    kept: Shown | None = st.session_state.get(_KEPT)
    if kept is None or kept.view != view:
        page = failure_queries.groups(shop, scope, wanted, after)
        keys = frozenset(row["group_key"] for row in page.rows)
        kept = Shown(view, page.rows, keys, page.more, standing.items)
    else:
        fresh = failure_queries.groups_named(shop, scope, tuple(row["group_key"] for row in kept.rows))
        kept = kept._replace(rows=[fresh.get(row["group_key"], row) for row in kept.rows], still_open=frozenset(fresh))
    st.session_state[_KEPT] = kept
    return kept


def draw_news(kept: Shown, standing: Standing) -> None:
    """What failed since the list was drawn: said, and not moved in above what is being read."""
    new = failure_words.arrived(kept.known, standing.items)
    if not new:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="failure-news"):
        st.markdown(f"**{formats.plural(new, 'new failure')}** since this list was drawn.")
        st.button("Show", key="show-news", icon=":material/arrow_upward:", on_click=show_news)


def show_news() -> None:
    """Draw the list anew, from its beginning."""
    first_page()
    st.session_state.pop(_KEPT, None)
    failure_queries.forget()


def draw_open(viewer: people.Viewer, facts: Mapping[str, Any], wanted: Filter) -> None:
    """Open groups, worst first, with what came since and the way to the next page."""
    after = position()
    kept = shown(viewer, wanted, after, facts["standing"])
    draw_news(kept, facts["standing"])
    if not kept.rows:
        _draw_nothing(wanted, facts["totals"], after)
        return
    _draw_head(facts["totals"])
    failure_cards.draw_all(viewer, [(row, row["group_key"] in kept.still_open) for row in kept.rows])
    if kept.more or after is not None:
        last = kept.rows[-1]
        components.pager(
            "groups",
            turn("after", None) if after is not None else None,
            turn("after", f"{last['still_needed']}~{last['items']}~{last['group_key']}") if kept.more else None,
            ("Worst", "More causes"),
        )


def _draw_head(totals: Row) -> None:
    """What the list is, and the one act about all of it."""
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="failure-head"
    ):
        st.markdown("#### By cause, worst first", width="content")
        if totals["groups"] > 1 and st.button("Requeue all…", key="requeue-everything", type="tertiary",
                                              icon=":material/replay:"):  # fmt: skip
            failure_dialogs.requeue(failure_dialogs.everything())


def _draw_nothing(wanted: Filter, totals: Row, after: Position | None) -> None:
    if totals["items"] and (wanted != Filter() or after is not None):
        components.empty("Nothing that is open matches", f"{formats.plural(totals['items'], 'failure')} elsewhere.")
        st.button("Show all", key="show-all", on_click=clear)
        return
    components.empty(
        "Nothing failed and nothing is parked",
        "A channel that says no is not here: that is an outcome. This page looks again every 10 seconds.",
    )


def draw_dealt_with(viewer: people.Viewer, state: str, wanted: Filter) -> None:
    """What became of others: requeued, discarded, or made good by a later run."""
    before = failure_items.position(st.query_params.get("before", ""))
    page = failure_queries.dealt_with(viewer.shop.id, state, wanted, before)
    if page.rows:
        failure_items.draw_dealt_with(viewer, page, turn, before is not None)
    else:
        components.empty(*failure_words.NOTHING[state])


# --- the page ---------------------------------------------------------------------------------------------------------


def draw_all(viewer: people.Viewer) -> None:
    """The answer, the filters, the list. Filters stand outside of the part that refreshes itself, which leaves them
    alone and draws above and below them."""
    top = st.container(key="failures-top")
    state, wanted = draw_filters(viewer)
    is_moving = any(row["ended_at"] is None for row in failure_queries.recoveries(viewer.shop.id, viewer.person.scope))

    @st.fragment(run_every="2s" if is_moving else "10s", key="now")
    def now() -> None:
        with components.panel("failures"):
            with st.skeleton(height=480):
                facts = read(viewer, wanted)
            with top:
                components.headline(*failure_words.answer(facts["totals"]), facts["as_of"], viewer.shop.zone)
                draw_metrics(viewer, facts["totals"], facts["hours"])
            failure_progress.draw(viewer, facts["recoveries"])
            if state == "open":
                draw_open(viewer, facts, wanted)
            else:
                draw_dealt_with(viewer, state, wanted)

    now()


def draw_progress(viewer: people.Viewer) -> None:
    """How far recoveries are, read afresh while one moves: whoever requeues a cause sees it on that cause's page."""
    shop, scope = viewer.shop.id, viewer.person.scope
    is_moving = any(row["ended_at"] is None for row in failure_queries.recoveries(shop, scope))

    @st.fragment(run_every="2s" if is_moving else None, key="progress")
    def progress() -> None:
        failure_progress.draw(viewer, failure_queries.recoveries(shop, scope))

    progress()


def follow_old_address(viewer: people.Viewer) -> None:
    """Cards and bookmarks name a cause as runs and messages do: go to its group, or to the list of what is like it."""
    cause, function = st.query_params.get("cause"), st.query_params.get("function")
    parked, connection = st.query_params.get("parked"), formats.number(st.query_params.get("connection", ""))
    if cause and function:
        key = failure_queries.group_of_cause(viewer.shop.id, function, cause)
        st.query_params.from_dict(viewer.where(**({"group": key} if key else {"q": function})))
        st.rerun()
    elif parked and connection is not None:
        keys = failure_queries.groups_of_parked(viewer.shop.id, connection, parked)
        where = {"group": keys[0]} if len(keys) == 1 else {"source": "Messages", "q": parked}
        st.query_params.from_dict(viewer.where(**where))
        st.rerun()


def draw() -> None:
    """One group, where the address names it; else the whole."""
    viewer = people.viewer()
    with components.panel("address"):
        follow_old_address(viewer)
    # Whatever a person does but open a dialog begins the list anew; a refresh comes by another way.
    if not components.is_dialog_waiting():
        st.session_state.pop(_KEPT, None)
    if key := st.query_params.get("group"):
        _back()
        with components.panel("group"):
            draw_progress(viewer)
            failure_group.draw(viewer, key, turn)
    else:
        draw_all(viewer)


def _back() -> None:
    def go() -> None:
        for name in ("group", "before"):
            st.query_params.pop(name, None)

    st.button("All failures", key="all-failures", type="tertiary", icon=":material/arrow_back:", on_click=go)


draw()
