"""One order: what was sold, what it did to stock, and which channels have followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.identity.rules import Identifier
from core.orders.packages import NEXT_STEP, SAYS
from dashboard import (
    change_queries,
    change_words,
    components,
    failure_items,
    formats,
    mapping_queries,
    mapping_words,
    order_money,
    people,
)

Row = Mapping[str, Any]

LIST = Path(__file__).parent / "screens" / "orders.py"


def draw(viewer: people.Viewer, number: str) -> None:
    """The page of one order."""
    st.page_link(LIST, label="All orders", icon=":material/arrow_back:", query_params=viewer.where())
    with components.panel("order"):
        found = change_queries.order(viewer.shop.id, int(number)) if number.isdecimal() and len(number) < 19 else None
        if found is None:
            components.empty("There is no such order", "Look for it by its name or by the channel’s number.")
            return
        lines = change_queries.lines(viewer.shop.id, found["order_id"])
        unmapped = mapping_queries.parked_of_order(viewer.shop.id, found["order_id"]) if found["unmapped_lines"] else {}
        packages = change_queries.packages(viewer.shop.id, found["order_id"])
        _draw_head(viewer, found)
        with components.panel("failures"):
            failure_items.draw_about_order(viewer, found["order_id"])
        st.subheader("Lines", anchor="lines")
        _draw_lines(viewer, found, lines, unmapped)
        if packages:
            st.subheader("Packages", anchor="packages")
            _draw_packages(found, packages, viewer.shop.zone)
    if found is not None:
        st.subheader("Money", anchor="money")
        with components.panel("money"):
            order_money.draw(viewer, found)
        _draw_past(viewer, found)


def _draw_head(viewer: people.Viewer, order: Row) -> None:
    zone = viewer.shop.zone
    components.title(order["name"], order["connection"], formats.as_of(order["as_of"], zone))
    st.markdown(f"{formats.badge(_state(order))} {_said(order, zone)}")
    components.figures(
        [
            (escape(formats.money(order["total_minor"], order["currency"])), "in all"),
            (components.number(order["lines"]), "line" if order["lines"] == 1 else "lines"),
            (components.number(order["units"]), "unit" if order["units"] == 1 else "units"),
        ],
        large=True,
    )
    number = f"The channel’s number is {formats.plain(order['channel_ref'])}"
    source = f", that of the system it came from {formats.plain(order['source_ref'])}" if order["source_ref"] else ""
    st.caption(f"{number}{source}. Booked here {formats.exact(order['recorded_at'], zone)}.")


def _state(order: Row) -> str:
    standing = change_words.standing(order)
    return "cancelled" if order["cancelled_at"] is not None and standing == "reached" else standing


def _said(order: Row, zone: str) -> str:
    now = order["as_of"]
    parts = [f"Placed {formats.ago(order['placed_at'], now, zone)}"]
    if order["financial_status"]:
        parts.append(f"payment: {formats.plain(order['financial_status'].replace('_', ' '))}")
    if order["cancelled_at"] is not None:
        why = f" ({formats.plain(order['cancel_reason'])})" if order["cancel_reason"] else ""
        parts.append(f"cancelled {formats.ago(order['cancelled_at'], now, zone)}{why}")
    if order["is_test"]:
        parts.append("a test order")
    unmapped = order["unmapped_lines"]
    held = f" {formats.plural(unmapped, 'line has', 'lines have')} no SKU and took no stock." if unmapped else ""
    return f"{', '.join(parts)}.{held}"


def _draw_lines(viewer: people.Viewer, order: Row, lines: Sequence[Row], unmapped: Mapping[int, Identifier]) -> None:
    if not lines:
        components.empty("It has no lines", "The channel told none.")
        return
    body = [
        (
            f'<span class="sy-code">{escape(row["code"] or row["sold_code"] or formats.UNKNOWN)}</span><br>'
            f'<span class="sy-meta">{escape(row["title"])}</span>',
            components.number(row["units"]),
            escape(formats.money(row["total_minor"], order["currency"])),
            escape(row["location"] or formats.UNKNOWN),
            escape(_became(row)) + _way_to_map(viewer, unmapped.get(row["ordinal"])),
        )
        for row in lines
    ]
    heads = [("SKU", False), ("Units", True), ("Total", True), ("From", False), ("Stock", False)]
    components.table(heads, body, "Lines of this order")
    if order["lines"] > len(lines):
        st.caption(f"The first {formats.count(len(lines))} of {formats.count(order['lines'])}.")


def _way_to_map(viewer: people.Viewer, one: Identifier | None) -> str:
    """A link to where it is said whose SKU a line is."""
    if one is None:
        return ""
    return f"<br>{components.link('mapping', 'Map it…', viewer.where(**mapping_words.address(one)))}"


def _became(row: Row) -> str:
    """What a line did to stock, in words."""
    if row["mapping"] == "unstocked":
        return "No stock by nature"
    if row["mapping"] == "unmapped":
        return f"No SKU: {row['mapping_reason']}"
    words = (
        (row["held_units"], "held"),
        (row["shipped_units"], "shipped"),
        (row["returned_units"], "came back"),
        (row["lost_units"], "lost"),
    )
    return ", ".join(f"{formats.count(units)} {word}" for units, word in words if units) or "nothing held"


def _draw_packages(order: Row, packages: Sequence[Row], zone: str) -> None:
    body = [
        (
            escape(row["package_ref"]),
            f"{escape(row['carrier'] or formats.UNKNOWN)}<br>"
            f'<span class="sy-code">{escape(row["tracking_number"] or formats.UNKNOWN)}</span>',
            components.number(row["units"]),
            components.when(row["shipped_at"], order["as_of"], zone),
            f"{components.pill(row['state'])} {escape(_known(row))}",
        )
        for row in packages
    ]
    heads = [("Package", False), ("Carrier", False), ("Units", True), ("Left", False), (order["connection"], False)]
    components.table(heads, body, "Packages of this order, and whether the channel knows them")
    if len(packages) == change_queries.EVENTS_MAX:
        st.caption(f"The newest {formats.count(len(packages))}.")


def _known(package: Row) -> str:
    """Why a channel does not know a package, and what to do; nothing where it does."""
    state = package["state"]
    if state not in SAYS:
        return ""
    said = ": ".join(part for part in (package["last_code"], package["last_detail"]) if part)
    return f"{SAYS[state].capitalize()}{f' ({said})' if said else ''}. {NEXT_STEP[state]}".replace("`", "")


def _draw_past(viewer: people.Viewer, order: Row) -> None:
    st.subheader("Where each change stands", anchor="changes")
    with components.panel("changes"):
        _draw_changes(viewer, order)
    st.subheader("Stock that moved", anchor="bookings")
    with components.panel("bookings"):
        _draw_bookings(viewer, order)


def _draw_changes(viewer: people.Viewer, order: Row) -> None:
    before = _before()
    found, more = change_queries.changes_of_order(viewer.shop.id, order["order_id"], before)
    if not found:
        components.empty(
            "Nothing had to reach another channel",
            "A change is on record when another channel has to show another number for it.",
        )
        return
    legs = change_queries.legs_of_changes(viewer.shop.id, [row["change_id"] for row in found])
    for row in found:
        _draw_change(viewer, row, [leg for leg in legs if leg["change_id"] == row["change_id"]], order)
    if before is not None or more:
        components.pager("changes", _newest if before is not None else None, _older(found) if more else None,
                         ("Newest", "Older"))  # fmt: skip


def _draw_change(viewer: people.Viewer, change: Row, legs: Sequence[Row], order: Row) -> None:
    at = components.when(change["recorded_at"], order["as_of"], viewer.shop.zone)
    state = "done" if change["done_at"] is not None and not change["refused_legs"] else change_words.standing(change)
    components.html(f"<div><b>{escape(change_words.kind(change))}</b> {at} {components.pill(state)}</div>")
    if not legs:
        st.caption("Taken back before any channel had been told: nothing had to follow.")
        return
    body = [change_words.leg_cells(row) for row in legs]
    components.table(change_words.LEG_HEADS, body, f"Channels that follow: {change_words.kind(change)}")
    if change["legs"] > len(legs):
        st.caption(f"{formats.count(len(legs))} of {formats.count(change['legs'])} shown.")


def _before() -> int | None:
    text = st.query_params.get("changes_before", "")
    return formats.number(text)


def _newest() -> None:
    st.query_params.pop("changes_before", None)


def _older(found: Sequence[Row]) -> Any:
    def go() -> None:
        st.query_params["changes_before"] = str(found[-1]["change_id"])

    return go


def _draw_bookings(viewer: people.Viewer, order: Row) -> None:
    found = change_queries.bookings(viewer.shop.id, order["order_id"])
    if not found:
        components.empty(
            "Nothing has moved yet", "Units are held until they are shipped; shipments and returns are here."
        )
        return
    body = [
        (
            components.when(row["at"], order["as_of"], viewer.shop.zone),
            escape(formats.movement(row["reason"])),
            f'<span class="sy-code">{escape(row["code"])}</span>',
            escape(formats.signed(row["delta_units"])),
            escape(row["location"]),
            escape(row["recorded_by"]),
        )
        for row in found
    ]
    heads = [("When", False), ("What", False), ("SKU", False), ("Change", True), ("Place", False), ("Said by", False)]
    components.table(heads, body, "Movements of this order")
    if len(found) == change_queries.EVENTS_MAX:
        st.caption(f"The newest {formats.count(len(found))}.")
