"""Ending the promises of order lines that turn out to be another SKU's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from core.db import execute, fetch
from core.messaging.changes import Effects

NOTE = "its line turned out to be another SKU's"


def release(conn: Connection, shop_id: int, new_skus: Mapping[int, int], now: datetime) -> Effects:
    """Make (locked) lines those of other SKUs, of which nothing is booked yet; returns what that gave back, and where.

    `new_skus`: the new SKU of each line; of the line nothing has left or come back. What it held is given back, and
    what came in with it goes. The promise stays on record, ended, and its revisions go on
    (`order_lines.promise_revision`): no movement of the line is taken for one that was booked before. Whoever settles
    the orders next makes the promise anew.
    """
    if not new_skus:
        return Effects([], [], [], [], [])
    params = {"shop": shop_id, "ids": list(new_skus), "skus": list(new_skus.values()), "now": now, "note": NOTE}
    rows = fetch(conn, _RELEASE, **params)
    execute(
        conn,
        """
        update order_lines l set sku_id = n.sku_id,
            mapping = case when s.is_stocked then 'stocked' else 'unstocked' end,
            promise_revision = greatest(l.promise_revision, coalesce((
                select max(substring(r.holder_ref from '[0-9]+$')::int) from reservations r
                where r.shop_id = l.shop_id and r.holder_kind = 'remapped_line'
                    and starts_with(r.holder_ref, 'line:' || l.id || ':')), 0))
        from unnest(%(ids)b::int8[], %(skus)b::int8[]) as n (id, sku_id)
        join skus s on s.shop_id = %(shop)s and s.id = n.sku_id
        where l.shop_id = %(shop)s and l.id = n.id
        """,
        **{name: params[name] for name in ("shop", "ids", "skus")},
    )
    return Effects(
        [row["order_id"] for row in rows],
        [row["sku_id"] for row in rows],
        [row["location_id"] for row in rows],
        [row["units"] for row in rows],
        [False] * len(rows),
    )


_RELEASE = """
    with held as materialized (
        select r.id, r.order_line_id, l.order_id, r.sku_id, r.location_id, r.held_units, r.opening_units, r.revision
        from reservations r join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        where r.shop_id = %(shop)s and r.order_line_id = any(%(ids)b::int8[])
    ), ended as (
        update reservations r set holder_kind = 'remapped_line', order_line_id = null, held_units = 0,
            ended_at = %(now)s, holder_ref = 'line:' || held.order_line_id || ':' || held.revision
        from held where r.shop_id = %(shop)s and r.id = held.id
    ), moved as (
        insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, order_line_id,
            note, recorded_by, occurred_at, recorded_at)
        select %(shop)s, sku_id, location_id, -opening_units, 'receipt',
            'remap:' || order_line_id || '.' || sku_id || ':' || revision, order_line_id, %(note)s, 'identity', %(now)s,
            %(now)s
        from held where opening_units <> 0 order by order_line_id, sku_id
    ), summed as (
        select sku_id, location_id, sum(held_units) as held, sum(opening_units) as opening from held group by 1, 2
    ), levelled as (
        update stock_levels k set reserved = k.reserved - s.held, on_hand = k.on_hand - s.opening
        from summed s where k.shop_id = %(shop)s and k.sku_id = s.sku_id and k.location_id = s.location_id
    )
    select order_id, sku_id, location_id, sum(held_units - opening_units)::int8 as units
    from held group by 1, 2, 3 having sum(held_units - opening_units) <> 0 order by 1, 2, 3
"""
