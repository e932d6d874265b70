"""Which SKUs differ, are short or scarce; and for one of them: why is this number so?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import components, formats, people, queries, sku_page

Row = Mapping[str, Any]

_STATES = ("short", "scarce", "enough", "unknown", "unstocked")
_COLOURS = {
    "danger": "red",
    "attention": "orange",
    "ok": "green",
    "unknown": "gray",
    "busy": "gray",
    "paused": "violet",
}
# What stands in the address is the word on the button, so the words are the options.
_FILTERS = {"All": "all", "Not in step": "not in step", "Short": "short", "Scarce": "scarce"}
_SORTS = {"By code": "code", "Least available first": "least available", "Most reserved first": "most reserved"}
_CHANNELS_MAX = 3


def leave_page() -> None:
    """A changed filter begins on the first page again."""
    for name in ("after", "before"):
        st.query_params.pop(name, None)


def clear() -> None:
    """Show all SKUs."""
    leave_page()
    st.session_state["show"], st.session_state["q"] = "All", ""


def draw_filters() -> tuple[str, str, str]:
    """Search, filter and order, each in the address."""
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
            "Code, title or barcode",
            type="search",
            key="q",
            bind="query-params",
            placeholder="Code, title or barcode",
            icon=":material/search:",
            on_change=leave_page,
            label_visibility="collapsed",
            width=260,
        )
        sort = st.selectbox(
            "Sort by",
            list(_SORTS),
            key="sort",
            bind="query-params",
            on_change=leave_page,
            label_visibility="collapsed",
            width=190,
        )
    return _FILTERS[show or "All"], _SORTS[sort or "By code"], (text or "").strip()


def position() -> tuple[tuple[int, str] | None, bool]:
    """The row that this page begins after (or ends before), from the address."""
    for name in ("after", "before"):
        number, mark, code = st.query_params.get(name, "").partition("~")
        if mark and code and number.lstrip("-").isdecimal():
            return (int(number), code), name == "before"
    return None, False


def turn(row: Row, way: str) -> Any:
    """A callback that goes to the page after or before `row`."""

    def go() -> None:
        leave_page()
        st.query_params[way] = f"{row['sort_number']}~{row['code']}"

    return go


def channel_cell(listings: Sequence[Row]) -> str:
    """What one channel shows of a SKU: 12, or 9 → 12 while it should show another number."""
    cells = []
    for row in listings:
        shown = formats.count(row["published"])
        if row["state"] == "off":
            cells.append(f"{shown} (off)")
        elif row["state"] in ("in_step", "paused"):
            cells.append(shown)
        elif row["state"] in ("refused", "doubtful"):
            cells.append(f"{shown} → {formats.count(row['desired'])} !")
        else:
            cells.append(f"{shown} → {formats.count(row['desired'])}")
    return ", ".join(cells) or formats.UNKNOWN


def as_table(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    """The page's rows as columns, a column for each channel."""
    columns: dict[str, list[Any]] = {
        "SKU": [row["code"] for row in rows],
        "Stock": [[formats.state(row["stock_state"]).word] for row in rows],
        "Available": [row["available"] for row in rows],
        "Title": [row["title"] for row in rows],
        "On hand": [row["on_hand"] for row in rows],
        "Reserved": [row["reserved"] for row in rows],
    }
    for name in names:
        columns[name] = [channel_cell([c for c in row["channels"] or () if c["connection"] == name]) for row in rows]
    return columns


def table_config(names: Sequence[str]) -> dict[str, Any]:
    """How each column is drawn."""
    config = st.column_config
    words = [formats.state(state) for state in _STATES]
    return {
        "SKU": config.TextColumn(pinned=True, width=120),
        "Title": config.TextColumn(width=240),
        "Stock": config.MultiselectColumn(
            options=[s.word for s in words], color=[_COLOURS[s.look] for s in words], width=90
        ),
        **{name: config.NumberColumn(format="localized", width=80) for name in ("Available", "On hand", "Reserved")},
        **{
            name: config.TextColumn(
                width=110, alignment="right", help="What it shows; → what it should show; ! refused or doubtful"
            )
            for name in names
        },
    }


def draw_table(viewer: people.Viewer, found: queries.SkuPage, mark: str) -> None:
    """One page of SKUs; choosing a row opens it."""
    codes = [row["code"] for row in found.rows]
    connections = queries.connections(viewer.shop.id, viewer.person.scope)
    names = [row["name"] for row in connections if row["listings"]][:_CHANNELS_MAX]
    key = f"skus-{mark}"

    def pick() -> None:
        chosen = st.session_state[key].selection.rows
        if chosen:
            st.query_params["sku"] = codes[chosen[0]]

    st.dataframe(
        as_table(found.rows, names),
        hide_index=True,
        key=key,
        column_config=table_config(names),
        height="content",
        on_select=pick,
        selection_mode="single-row",
        placeholder=formats.UNKNOWN,
        alt=f"{len(codes)} SKUs with their stock and what each channel shows",
    )


def draw_list(viewer: people.Viewer) -> None:
    """The list: filters outside, then one page."""
    components.title("SKUs", as_of="")
    components.html(
        '<div class="sy-muted">What we have of each, and what the channels show of it. Choose a row to see why.</div>'
    )
    show, sort, text = draw_filters()
    with components.panel("skus"):
        after, backwards = position()
        with st.skeleton(height=480):
            found = queries.sku_page(viewer.shop.id, viewer.person.scope, show, sort, text, after, backwards)
        if not found.rows:
            _draw_nothing(show, text)
            return
        draw_table(viewer, found, f"{show}-{sort}-{text}-{after}")
        first, last = found.rows[0], found.rows[-1]
        has_newer = after is not None and (not backwards or found.more)
        has_older = found.more or backwards
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            components.pager(
                "skus",
                turn(first, "before") if has_newer else None,
                turn(last, "after") if has_older else None,
                ("Previous", "Next"),
            )
            st.caption(
                f"{formats.plural(len(found.rows), 'SKU')} shown, {queries.PAGE} a page · scarce is 5 or less · "
                f"{formats.as_of(first['as_of'], viewer.shop.zone)}"
            )


def _draw_nothing(show: str, text: str) -> None:
    if show == "all" and not text:
        components.empty(
            "There are no SKUs yet", "They appear when a channel is connected and its catalogue has been read."
        )
        return
    looked = " · ".join(part for part in (show.capitalize(), f"“{text}”" if text else "") if part)
    components.empty("No SKU matches", looked)
    st.button("Show all", key="show-all", on_click=clear)


viewer = people.viewer()
wanted = st.query_params.get("sku")
if wanted:
    sku_page.draw(viewer, wanted)
else:
    draw_list(viewer)
