"""A SKU's promises: who holds how much of it, from where, until when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import streamlit as st

from dashboard import components, formats, people
from dashboard.history import PAGE, Page
from dashboard.queries import rows

Row = Mapping[str, Any]

HOLDERS = {
    "order_line": "Order",
    "checkout": "Checkout",
    "channel_order": "Order not yet placed",
    "vendor_order": "Purchase order",
    "remapped_line": "Order line, now another SKU’s",
}
_SHOWN = {"Held": "held", "All": "all"}


def read(shop_id: int, sku_id: int, only_held: bool, before: int | None) -> Page:
    """Promises older than `before` (an id), newest first."""
    found = rows(
        f"""
        select reservation_id, holder_kind, holder_ref, order_name, connection, line_code, location, units, held_units,
               state, expires_at, ended_at, created_at
        from sku_promises
        where shop_id = %(shop)s and sku_id = %(sku)s and (held_units > 0 or not %(held)s)
        and (%(before)s::bigint is null or reservation_id < %(before)s)
        order by reservation_id desc limit {PAGE + 1}
        """,
        shop=shop_id,
        sku=sku_id,
        held=only_held,
        before=before,
    )
    return Page(found[:PAGE], len(found) > PAGE)


def draw(viewer: people.Viewer, sku: Row) -> None:
    """What is held now, or everything that ever was, a page at a time."""
    chosen = st.segmented_control(
        "Promises shown",
        list(_SHOWN),
        key="promises",
        default="Held",
        required=True,
        bind="query-params",
        label_visibility="collapsed",
        on_change=_first_page,
    )
    only_held = _SHOWN[chosen or "Held"] == "held"
    page = read(viewer.shop.id, sku["sku_id"], only_held, _before())
    if not page.rows:
        components.empty(
            "Nothing is promised" if only_held else "Nothing was ever promised",
            "Orders, checkouts and purchase orders that hold some of it are listed here.",
        )
        return
    st.dataframe(
        as_table(page.rows, sku["code"], sku["as_of"], viewer.shop.zone),
        hide_index=True,
        key=f"promises-{chosen}-{_before()}",
        height="content",
        placeholder=formats.UNKNOWN,
        alt=f"{len(page.rows)} promises of {sku['code']}, newest first",
        column_config={
            "Units": st.column_config.NumberColumn(format="localized", width=70),
            "Held": st.column_config.NumberColumn(format="localized", width=70),
        },
    )
    _turn(page)


def as_table(found: list[dict[str, Any]], code: str, now: datetime, zone: str) -> dict[str, list[Any]]:
    """Rows as columns; a promise of a bundle's says which bundle was sold."""
    return {
        "Since": [formats.moment(row["created_at"], now, zone) for row in found],
        "For": [_holder(row) for row in found],
        "Channel": [row["connection"] for row in found],
        "Sold as": [row["line_code"] if row["line_code"] not in (None, code) else None for row in found],
        "From": [row["location"] for row in found],
        "Units": [row["units"] for row in found],
        "Held": [row["held_units"] for row in found],
        "State": [formats.state(row["state"]).word for row in found],
        "Until": [formats.moment(row["expires_at"], now, zone) if row["expires_at"] else None for row in found],
    }


def _holder(row: Row) -> str:
    return f"{HOLDERS[row['holder_kind']]} {row['order_name'] or row['holder_ref'] or ''}".strip()


def _first_page() -> None:
    st.query_params.pop("promises_before", None)


def _before() -> int | None:
    text = st.query_params.get("promises_before", "")
    return formats.number(text)


def _turn(page: Page) -> None:
    def older() -> None:
        st.query_params["promises_before"] = str(page.rows[-1]["reservation_id"])

    back = _first_page if _before() is not None else None
    if back is not None or page.more:
        components.pager("promises", back, older if page.more else None, ("Newest", "Older"))
