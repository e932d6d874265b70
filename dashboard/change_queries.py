"""Reads of orders and of the changes that channels have to follow. Split from `queries` by subject."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from dashboard.history import PAGE as LEGS_PAGE
from dashboard.history import Page
from dashboard.queries import one, rows

PAGE = 25
LINES_MAX = 200
"""Lines of an order that are shown; wholesale orders have more, and the rest is counted."""
EVENTS_MAX = 100

Key = tuple[datetime, int]
"""(when it was placed, order id): what a page begins after."""

_LEG = """
    change_id, kind, order_id, order_name, document_id, document_kind, undoes_id, recorded_at, connection_id,
    connection, guarantee_class, code, location, delta_units, deadline_at, state, reason, detail, stuck_at, ended_at,
    write_id, shown_units, seen_at, compensated_by
"""

# Orders with a leg that has not ended: few, however many orders there are.
_WITH_LEGS = """
    o.order_id in (select g.order_id from change_leg_list g
        where g.shop_id = %(shop)s and g.order_id is not null and g.state in ({states}))
"""
# What each choice of the screen means in SQL; nothing a reader types becomes SQL text.
_FILTERS = {
    "all": "true",
    "on its way": _WITH_LEGS.format(states="'open', 'stuck'"),
    "stuck": _WITH_LEGS.format(states="'stuck'"),
}


class Orders(NamedTuple):
    """One page, the newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


def orders(shop_id: int, show: str, text: str, after: Key | None) -> Orders:
    """Orders by when they were placed, older than `after`; `text` is a name, with or without #, or a channel's id."""
    found = rows(
        f"""
        select o.order_id, o.name, o.channel_ref, o.connection, o.placed_at, o.cancelled_at, o.currency, o.total_minor,
            o.lines, o.units, o.unmapped_lines, o.open_legs, o.stuck_legs, o.refused_legs, now() as as_of
        from order_list o
        where o.shop_id = %(shop)s and ({_FILTERS[show]})
            and (%(text)s::text = '' or o.name in (%(text)s, '#' || %(text)s) or o.channel_ref = %(text)s)
            and (%(at)s::timestamptz is null or (o.placed_at, o.order_id) < (%(at)s, %(order)s))
        order by o.placed_at desc, o.order_id desc limit {PAGE + 1}
        """,
        shop=shop_id,
        text=text,
        at=after[0] if after else None,
        order=after[1] if after else None,
    )
    return Orders(found[:PAGE], len(found) > PAGE)


def order(shop_id: int, order_id: int) -> dict[str, Any] | None:
    """One order's head."""
    return one(
        """
        select order_id, name, channel_ref, source_ref, connection, placed_at, version_at, recorded_at, cancelled_at,
            cancel_reason, financial_status, currency, total_minor, is_test, lines, units, unmapped_lines, open_legs,
            stuck_legs, refused_legs, now() as as_of
        from order_list where shop_id = %(shop)s and order_id = %(order)s
        """,
        shop=shop_id,
        order=order_id,
    )


def lines(shop_id: int, order_id: int) -> Sequence[dict[str, Any]]:
    """An order's lines, with what each holds and what became of it."""
    return rows(
        f"""
        select ordinal, sold_code, title, units, total_minor, mapping, mapping_reason, code, is_bundle, location,
            held_units, shipped_units, returned_units, lost_units
        from order_line_list where shop_id = %(shop)s and order_id = %(order)s order by ordinal limit {LINES_MAX}
        """,
        shop=shop_id,
        order=order_id,
    )


def packages(shop_id: int, order_id: int) -> Sequence[dict[str, Any]]:
    """Packages of an order that left, the newest first, and whether its channel knows of each."""
    return rows(
        f"""
        select package_ref, carrier, tracking_number, shipped_at, units, state, last_code, last_detail, confirmed_at
        from order_packages where shop_id = %(shop)s and order_id = %(order)s
        order by shipped_at desc, package_ref desc limit {EVENTS_MAX}
        """,
        shop=shop_id,
        order=order_id,
    )


def bookings(shop_id: int, order_id: int) -> Sequence[dict[str, Any]]:
    """What its lines moved, the newest first."""
    return rows(
        f"""
        select at, reason, code, location, delta_units, unavailable_delta_units, recorded_by
        from order_bookings where shop_id = %(shop)s and order_id = %(order)s
        order by at desc, movement_id desc limit {EVENTS_MAX}
        """,
        shop=shop_id,
        order=order_id,
    )


def changes_of_order(shop_id: int, order_id: int, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Changes that an order caused, the newest first, older than `before`, and whether there are more."""
    found = rows(
        f"""
        select change_id, kind, recorded_at, done_at, legs, open_legs, stuck_legs, refused_legs, compensated_legs,
            confirmed_legs
        from change_list where shop_id = %(shop)s and order_id = %(order)s
            and (%(before)s::bigint is null or change_id < %(before)s)
        order by change_id desc limit {LEGS_PAGE + 1}
        """,
        shop=shop_id,
        order=order_id,
        before=before,
    )
    return found[:LEGS_PAGE], len(found) > LEGS_PAGE


def legs_of_changes(shop_id: int, change_ids: Sequence[int]) -> Sequence[dict[str, Any]]:
    """The legs of some changes; those that are stuck first."""
    return rows(
        f"""
        select {_LEG}, now() as as_of from change_leg_list
        where shop_id = %(shop)s and change_id = any(%(ids)b::int8[])
        order by change_id desc, array_position(array['stuck', 'refused', 'open'], state), connection, code
        limit {LINES_MAX}
        """,
        shop=shop_id,
        ids=list(change_ids),
    )


def legs_of_sku(shop_id: int, sku_id: int, before: int | None) -> Page:
    """Legs of changes of a SKU's stock, the newest change first, older than the change `before`.

    A page ends with a whole change: all its legs of one SKU are few.
    """
    found = rows(
        f"""
        select {_LEG}, now() as as_of from change_leg_list
        where shop_id = %(shop)s and sku_id = %(sku)s and change_id in (
            select distinct change_id from change_leg_list
            where shop_id = %(shop)s and sku_id = %(sku)s and (%(before)s::bigint is null or change_id < %(before)s)
            order by change_id desc limit {LEGS_PAGE + 1})
        order by change_id desc, connection, location
        """,
        shop=shop_id,
        sku=sku_id,
        before=before,
    )
    ids = sorted({row["change_id"] for row in found}, reverse=True)
    kept = set(ids[:LEGS_PAGE])
    return Page([row for row in found if row["change_id"] in kept], len(ids) > LEGS_PAGE)
