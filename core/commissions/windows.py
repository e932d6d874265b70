"""Writes: when the windows close in which buyers may return."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from core.commissions import queries
from core.db import execute, fetch


def refresh_windows(conn: Connection, shop_id: int, order_ids: Collection[int]) -> None:
    """Look again when the windows of some (locked) orders close: something that decides of it has changed."""
    rows = fetch(
        conn,
        """
        select order_id, days from commission_windows
        where shop_id = %(shop)s and order_id = any(%(ids)b::int8[]) and released_at is null order by 1, 2
        """,
        shop=shop_id,
        ids=sorted(order_ids),
    )
    note_windows(conn, shop_id, [(row["order_id"], row["days"]) for row in rows])


def note_windows(conn: Connection, shop_id: int, wanted: Sequence[tuple[int, int]]) -> None:
    """Note from when on what was earned of some (locked) orders is payable; `wanted`: each order, and days.

    A window goes on counting from what it counted from when it was noted. Goods have left when something was shipped
    and nothing of it is promised any more; an order without goods counts from when it was placed.
    """
    if not wanted:
        return
    execute(
        conn,
        _WINDOWS,
        shop=shop_id,
        orders=[order_id for order_id, _ in wanted],
        days=[days for _, days in wanted],
        window_from=queries.settings(conn, shop_id).window_from,
        unpaid=["pending", *queries.VOID],
    )


_WINDOWS = """
    with wanted as materialized (
        select o.id, n.days, o.placed_at, o.financial_status, o.ships_from_channel, f.last_at,
            coalesce(c.window_from, %(window_from)s) as window_from
        from unnest(%(orders)b::int8[], %(days)b::int4[]) as n (order_id, days)
        join orders o on o.shop_id = %(shop)s and o.id = n.order_id
        left join commission_windows c on c.shop_id = o.shop_id and c.order_id = o.id and c.days = n.days
        cross join lateral (
            select max(f.fulfilled_at) as last_at from fulfilments f
            where f.shop_id = o.shop_id and f.order_id = o.id and f.is_shipped
        ) f
    ), state as (
        select w.id, w.days, w.window_from,
            case when w.window_from = 'placed' then w.placed_at
                -- Only where something left is it worth asking for each line.
                when w.last_at is not null then case when not exists (
                    select from order_lines l join reservations r on r.shop_id = l.shop_id and r.order_line_id = l.id
                    where l.shop_id = %(shop)s and l.order_id = w.id and r.held_units > 0) then w.last_at end
                when w.ships_from_channel then null
                when not exists (select from order_lines l
                    where l.shop_id = %(shop)s and l.order_id = w.id and l.mapping <> 'unstocked') then w.placed_at
            end as starts_at,
            case when exists (select from payout_holds h
                    where h.shop_id = %(shop)s and h.order_id = w.id and h.lifted_at is null) then 'hold'
                when w.financial_status = any(%(unpaid)b::text[]) then 'payment' end as waits_for
        from wanted w
    )
    insert into commission_windows (shop_id, order_id, days, window_from, starts_at, closes_at, waits_for)
    select %(shop)s, id, days, window_from, starts_at,
        case when waits_for is null then starts_at + make_interval(days => days) end,
        case when waits_for is null and starts_at is null then 'shipment' else waits_for end
    from state order by id, days
    on conflict (shop_id, order_id, days) do update set starts_at = excluded.starts_at,
        closes_at = excluded.closes_at, waits_for = excluded.waits_for
    where commission_windows.released_at is null
        and (commission_windows.starts_at, commission_windows.closes_at, commission_windows.waits_for)
            is distinct from (excluded.starts_at, excluded.closes_at, excluded.waits_for)
"""
