"""While a connection is in shadow mode: what going live would change, counted and listed, and the way to go live."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.inventory.comparison import Comparison, Difference, Verdict, position
from dashboard import comparison_queries, components, connection_dialogs, connection_words, formats, people
from dashboard.comparison_queries import WRITTEN, Key

Row = Mapping[str, Any]

# What stands in the address is the word on the button, so the words are the options.
_SHOWS: Mapping[str, tuple[Verdict, ...]] = {
    "All that differ": WRITTEN,
    "To zero": ("zeroed",),
    "Lowered": ("lowered",),
    "Raised": ("raised",),
    "Not written": ("refused", "unread", "waiting", "untracked", "unmapped", "gone"),
}
_BAR: tuple[tuple[Verdict, str], ...] = (
    ("equal", "ok"), ("zeroed", "danger"), ("lowered", "attention"), ("raised", "accent"),
)  # fmt: skip


def draw(viewer: people.Viewer, row: Row) -> None:
    """The comparison of one connection. Not refreshed by itself: somebody reads it line by line."""
    with components.panel("comparison"):
        with st.skeleton(height=320):
            found = comparison_queries.totals(viewer.shop.id, viewer.person.scope, row["connection_id"])
        st.subheader("If it went live now", anchor="comparison")
        with st.container(border=True, key="card-attention-comparison", gap="small"):
            _draw_head(viewer, row, found)
            _draw_missing(found)
            _draw_bar(found)
            if found.listings:
                _draw_list(viewer, row["connection_id"])
            st.caption("Counted within the last half minute; it is left as it is while somebody reads it.")


def _draw_head(viewer: people.Viewer, row: Row, found: Comparison) -> None:
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="stack-comparison-head"
    ):
        with st.container(width="stretch"):
            st.markdown(formats.plain(connection_words.comparison(found)))
        with st.container(width="content", horizontal=True):
            if st.button("Compare again", key="compare-again", icon=":material/refresh:"):
                comparison_queries.forget()
                st.rerun()
            if st.button(
                "Go live…", key="go-live", type="primary", icon=":material/rocket_launch:",
                disabled=not found.is_complete, help=None if found.is_complete else "First see what is missing below",
            ):  # fmt: skip
                connection_dialogs.go_live(viewer, row)


def _draw_missing(found: Comparison) -> None:
    """What has to be done before the comparison can be believed; and what was met on the way to it."""
    for missing in found.missing:
        st.markdown(f"{formats.badge('attention', 'Not yet known')} {formats.sentence(missing)}")
    noted = [
        (found.open_orders, "order that was open when it was connected", "orders that were open when it was connected"),
        (found.unmapped_lines, "order line without a SKU", "order lines without a SKU"),
        (found.parked, "message parked", "messages parked"),
        (found.duplicates, "listing of a SKU that has another one there", "listings of SKUs that have others there"),
    ]
    if any(number for number, *_ in noted):
        components.figures(
            [(components.number(number), one if number == 1 else many) for number, one, many in noted if number]
        )


def _draw_bar(found: Comparison) -> None:
    """Each verdict as a share of all listings, with its number below."""
    others = found.listings - sum(found.of(verdict).listings for verdict, _ in _BAR)
    parts = [(connection_words.COMPARED[verdict], look, found.of(verdict).listings) for verdict, look in _BAR]
    parts.append(("not written", "unknown", others))
    total = max(found.listings, 1)
    shares = "".join(
        f'<i class="sy-share-{look}" style="flex-grow:{number / total * 100:.2f}"></i>'
        for _, look, number in parts
        if number
    )
    said = ", ".join(f"{formats.count(number)} {words}" for words, _, number in parts if number)
    legend = "".join(
        f'<span><i class="sy-share-{look}"></i><b>{components.number(number)}</b> {escape(words)}</span>'
        for words, look, number in parts
    )
    components.html(
        f'<div class="sy-share" role="img" aria-label="{escape(said or "nothing to compare")}">{shares}</div>'
        f'<div class="sy-legend">{legend}</div>'
    )


# --- the list ---------------------------------------------------------------------------------------------------------


def _first_page() -> None:
    st.query_params.pop("from", None)


def _turn(last: Difference) -> Callable[[], None]:
    def go() -> None:
        units, listing = position(last)
        st.query_params["from"] = f"{units}~{listing}"

    return go


def _position() -> Key | None:
    units, _, listing = st.query_params.get("from", "").partition("~")
    if re.fullmatch("[0-9]{1,9}", units) and re.fullmatch("[0-9]{1,18}", listing):
        return int(units), int(listing)
    return None


def _draw_list(viewer: people.Viewer, connection_id: int) -> None:
    show = st.segmented_control(
        "Show", list(_SHOWS), key="differs", default="All that differ", required=True, bind="query-params",
        on_change=_first_page, label_visibility="collapsed",
    )  # fmt: skip
    after = _position()
    found = comparison_queries.page(
        viewer.shop.id, viewer.person.scope, connection_id, _SHOWS[show or "All that differ"], after
    )
    if not found.rows:
        st.caption("Nothing of that kind.")
    else:
        components.table(_HEADS, _body(viewer, found.rows), "What going live would change, biggest first", dense=True)
    if after is not None or found.more:
        components.pager(
            "comparison", _first_page if after else None, _turn(found.rows[-1]) if found.more else None,
            ("Biggest", "Smaller"),
        )  # fmt: skip


_HEADS = (
    ("SKU", False), ("Would be", False), ("Shows", True), ("Would show", True), ("Difference", True),
)  # fmt: skip


def _body(viewer: people.Viewer, rows: Sequence[Difference]) -> list[tuple[str, ...]]:
    return [
        (
            f"<b>{_code(viewer, row)}</b> <span class='sy-meta'>{escape(row.title)}</span>{_note(row)}",
            components.pill(row.verdict),
            components.number(row.shows_units),
            components.number(row.should_show_units),
            escape(formats.signed(row.difference_units)),
        )
        for row in rows
    ]


def _code(viewer: people.Viewer, row: Difference) -> str:
    if row.code is None:
        return escape(row.channel_code or row.channel_ref)
    return components.link("skus", row.code, viewer.where(sku=row.code))


def _note(row: Difference) -> str:
    """Why it is not written, and whether the SKU has another listing there."""
    notes = [row.reason or "", "the SKU has another listing there" if row.is_duplicate else ""]
    said = "; ".join(note for note in notes if note)
    return f'<div class="sy-meta">{escape(said)}</div>' if said else ""
