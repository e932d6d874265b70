"""Where is this order, and has every channel followed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from dashboard import change_queries, change_words, components, formats, order_page, people

Row = Mapping[str, Any]

# What stands in the address is the word on the button, so the words are the options.
_FILTERS = {"All": "all", "On its way": "on its way", "Stuck": "stuck"}
_STATES = ("stuck", "under_way", "refused", "reached", "cancelled")


def leave_page() -> None:
    """A changed filter begins on the first page again."""
    st.query_params.pop("after", None)


def clear() -> None:
    """Show all orders."""
    leave_page()
    st.session_state["show"], st.session_state["q"] = "All", ""


def draw_filters() -> tuple[str, str]:
    """Search and filter, each in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        show = st.segmented_control(
            "Show",
            list(_FILTERS),
            key="show",
            default="All",
            required=True,
            bind="query-params",
            on_change=leave_page,
            label_visibility="collapsed",
        )
        text = st.text_input(
            "Order name or the channel’s number",
            type="search",
            key="q",
            bind="query-params",
            placeholder="Order name or the channel’s number",
            icon=":material/search:",
            on_change=leave_page,
            label_visibility="collapsed",
            width=320,
        )
    return _FILTERS[show or "All"], (text or "").strip()


def position() -> change_queries.Key | None:
    """The order that this page begins after, from the address: moment~id."""
    moment, _, number = st.query_params.get("after", "").partition("~")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (at, int(number)) if number.isdecimal() and len(number) < 19 and at.tzinfo is not None else None


def turn(row: Row) -> Callable[[], None]:
    """A callback that goes to the page after `row`."""

    def go() -> None:
        st.query_params["after"] = f"{row['placed_at'].isoformat()}~{row['order_id']}"

    return go


def state_of(row: Row) -> str:
    """One word for where an order stands."""
    standing = change_words.standing(row)
    return "cancelled" if row["cancelled_at"] is not None and standing == "reached" else standing


def draw_table(viewer: people.Viewer, rows: Sequence[Row], mark: str) -> None:
    """One page of orders; choosing a row opens it."""
    zone, ids = viewer.shop.zone, [str(row["order_id"]) for row in rows]
    key = f"orders-{mark}"

    def pick() -> None:
        chosen = st.session_state[key].selection.rows
        if chosen:
            st.query_params["order"] = ids[chosen[0]]

    words = [formats.state(state) for state in _STATES]
    config = st.column_config
    st.dataframe(
        {
            "Order": [row["name"] for row in rows],
            "Channels": [[formats.state(state_of(row)).word] for row in rows],
            "Placed": [formats.moment(row["placed_at"], row["as_of"], zone) for row in rows],
            "Sold on": [row["connection"] for row in rows],
            "Units": [row["units"] for row in rows],
            "Total": [formats.money(row["total_minor"], row["currency"]) for row in rows],
            "No SKU": [row["unmapped_lines"] or None for row in rows],
        },
        hide_index=True,
        key=key,
        height="content",
        on_select=pick,
        selection_mode="single-row",
        placeholder=formats.UNKNOWN,
        alt=f"{len(rows)} orders, the newest first, and whether every channel has followed",
        column_config={
            "Order": config.TextColumn(pinned=True, width=120),
            "Channels": config.MultiselectColumn(
                options=[word.word for word in words],
                color=[word.colour for word in words],
                width=110,
                help="Whether every other channel shows what the order changed",
            ),
            "Units": config.NumberColumn(format="localized", width=70),
            "Total": config.TextColumn(width=110, alignment="right"),
            "No SKU": config.NumberColumn(width=80, help="Lines that could not be mapped and took no stock"),
        },
    )


def draw_list(viewer: people.Viewer) -> None:
    """The list: filters outside, then one page."""
    components.title("Orders")
    components.html(
        '<div class="sy-muted">The newest first, and whether every channel has followed. Choose a row to see why.</div>'
    )
    show, text = draw_filters()
    with components.panel("orders"):
        after = position()
        with st.skeleton(height=480):
            found = change_queries.orders(viewer.shop.id, show, text, after)
        if not found.rows:
            _draw_nothing(show, text)
            return
        draw_table(viewer, found.rows, f"{show}-{text}-{after}")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            components.pager(
                "orders",
                leave_page if after is not None else None,
                turn(found.rows[-1]) if found.more else None,
                ("Newest", "Older"),
            )
            st.caption(
                f"{formats.plural(len(found.rows), 'order')} shown, {change_queries.PAGE} a page · "
                f"{formats.as_of(found.rows[0]['as_of'], viewer.shop.zone)}"
            )


def _draw_nothing(show: str, text: str) -> None:
    if show == "all" and not text:
        components.empty("There are no orders yet", "They appear as channels report them, the newest first.")
        return
    if not text:
        components.empty("Every channel has followed", f"No order is {show}.")
    else:
        components.empty(
            "No order matches", f"“{text}” is compared exactly: a name such as #1042, or a channel’s number."
        )
    st.button("Show all", key="show-all", on_click=clear)


viewer = people.viewer()
wanted = st.query_params.get("order")
if wanted:
    order_page.draw(viewer, wanted)
else:
    draw_list(viewer)
