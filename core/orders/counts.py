"""What a channel says of lines besides parcels and refunds: how many left, and what a cancellation put back there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from core.db import execute, fetch
from core.orders.effects import Edit
from core.orders.operations import OrderKey
from core.orders.rules import LinesTold
from core.ports import ChannelLine

COUNTED = "counted:"
"""What refs of shipments begin with that no parcel of the channel's stands for."""


def book(
    conn: Connection, shop_id: int, accepted: Mapping[str, OrderKey], told: Mapping[str, Sequence[LinesTold]]
) -> list[Edit]:
    """Book what the versions of some (accepted, locked) orders count; returns what their channel put back by itself.

    For when their parcels and lines are booked. Most orders of most channels say nothing of the kind.
    """
    lines = {accepted[ref].id: _merged(versions) for ref, versions in told.items() if ref in accepted}
    saying = {order_id: found for order_id, found in lines.items() if any(_says(line) for line in found.values())}
    if saying:
        _note(conn, shop_id, saying)
        _book_shipped(conn, shop_id, saying)
    # An older version that comes late may tell what was ordered before the order was cancelled.
    retold = {key.id for key in accepted.values() if key.edited}
    concerned = retold.union(saying)
    return _book_put_back(conn, shop_id, concerned) if concerned else []


def _says(line: ChannelLine) -> bool:
    return line.counted_units > 0 or bool(line.puts_back)


def _merged(versions: Sequence[LinesTold]) -> dict[str, ChannelLine]:
    """By ref the line with the most that any version says of it."""
    merged: dict[str, ChannelLine] = {}
    for version in versions:
        for ref, line in version.lines.items():
            other = merged.get(ref, line)
            counted = max(line.counted_units, other.counted_units)
            merged[ref] = replace(line, counted_units=counted, puts_back=bool(line.puts_back or other.puts_back))
    return merged


def _note(conn: Connection, shop_id: int, lines: Mapping[int, Mapping[str, ChannelLine]]) -> None:
    """Neither is ever taken back: goods do not come back by being counted, nor a cancellation by being told again."""
    rows = sorted(
        (order_id, ref, line.counted_units, bool(line.puts_back))
        for order_id, found in lines.items()
        for ref, line in found.items()
    )
    execute(
        conn,
        """
        update order_lines l set counted_units = greatest(l.counted_units, n.counted),
            puts_back = l.puts_back or n.puts_back
        from unnest(%(orders)b::int8[], %(refs)b::text[], %(counts)b::int8[], %(backs)b::bool[])
            as n (order_id, ref, counted, puts_back)
        where l.shop_id = %(shop)s and l.order_id = n.order_id and l.channel_ref = n.ref
            and (n.counted > l.counted_units or n.puts_back and not l.puts_back)
        """,
        shop=shop_id,
        orders=[order_id for order_id, _, _, _ in rows],
        refs=[ref for _, ref, _, _ in rows],
        counts=[counted for _, _, counted, _ in rows],
        backs=[puts_back for _, _, _, puts_back in rows],
    )


def _book_shipped(conn: Connection, shop_id: int, order_ids: Iterable[int]) -> None:
    """Have what a channel counts as gone, and tells no parcel of, in a shipment of its own.

    Facts are only added: when the count grows, or a parcel is told after all, that shipment is superseded by another.
    """
    execute(
        conn,
        """
        with line as materialized (
            select l.id, l.order_id, greatest(0, l.counted_units - coalesce(sum(fl.units) filter (
                    where f.is_shipped and not starts_with(f.channel_ref, %(counted)s)), 0))::int8 as missing,
                coalesce(sum(fl.units) filter (
                    where f.is_shipped and starts_with(f.channel_ref, %(counted)s)), 0)::int8 as booked
            from order_lines l
            left join fulfilment_lines fl on fl.shop_id = l.shop_id and fl.order_line_id = l.id
            left join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id
            where l.shop_id = %(shop)s and l.order_id = any(%(ids)b::int8[])
            group by l.id, l.order_id, l.counted_units
        ), wrong as (
            select order_id, sum(missing) as missing from line group by 1 having bool_or(missing <> booked)
        ), superseded as (
            update fulfilments f set is_shipped = false, status = 'superseded'
            from wrong where f.shop_id = %(shop)s and f.order_id = wrong.order_id and f.is_shipped
                and starts_with(f.channel_ref, %(counted)s)
        ), made as (
            insert into fulfilments (shop_id, order_id, channel_ref, status, is_shipped, fulfilled_at, version_at)
            select o.shop_id, o.id, %(counted)s || (select count(*) + 1 from fulfilments g
                where g.shop_id = o.shop_id and g.order_id = o.id and starts_with(g.channel_ref, %(counted)s)),
                'counted', true, o.version_at, o.version_at
            from wrong join orders o on o.shop_id = %(shop)s and o.id = wrong.order_id
            where wrong.missing > 0 order by o.id
            returning id, order_id
        )
        insert into fulfilment_lines (shop_id, fulfilment_id, order_line_id, units)
        select %(shop)s, made.id, line.id, line.missing
        from made join line on line.order_id = made.order_id and line.missing > 0
        order by 2, 3
        """,
        shop=shop_id,
        ids=sorted(order_ids),
        counted=COUNTED,
    )


def _book_put_back(conn: Connection, shop_id: int, order_ids: Iterable[int]) -> list[Edit]:
    """What cancelled orders hold no more and their channel has put back, less what is booked of that already.

    A function of sums, as what a line does to stock: whatever is told late, it ends in the same number.
    """
    rows = fetch(
        conn,
        """
        with wanted as (
            select l.id, l.listing_id, l.mapping, o.cancelled_at, l.put_back_units as booked,
                case when l.puts_back then greatest(0, l.units - coalesce(s.units, 0)) else 0 end as units
            from order_lines l
            join orders o on o.shop_id = l.shop_id and o.id = l.order_id and o.cancelled_at is not null
            left join lateral (
                select sum(fl.units) as units from fulfilment_lines fl
                join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
                where fl.shop_id = l.shop_id and fl.order_line_id = l.id
            ) s on true
            where l.shop_id = %(shop)s and l.order_id = any(%(ids)b::int8[])
        ), booked as (
            update order_lines l set put_back_units = wanted.units
            from wanted where l.shop_id = %(shop)s and l.id = wanted.id and wanted.units <> wanted.booked
            returning l.id
        )
        select wanted.listing_id, (wanted.units - wanted.booked)::int8 as units, wanted.cancelled_at as at
        from wanted join booked on booked.id = wanted.id
        where wanted.mapping = 'stocked' and wanted.listing_id is not null order by wanted.id
        """,
        shop=shop_id,
        ids=sorted(order_ids),
    )
    return [Edit(row["listing_id"], row["units"], row["at"]) for row in rows]
