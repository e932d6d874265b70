"""What a channel says of lines besides parcels and refunds: how many left, and what a cancellation put back there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.db import execute, fetch
from core.orders import rules
from core.orders.effects import Edit
from core.orders.operations import OrderKey
from core.orders.rules import LinesTold
from core.ports import ChannelLine

COUNTED = "counted:"
"""What refs of shipments begin with that no parcel of the channel's stands for."""


def book(
    conn: Connection,
    shop_id: int,
    accepted: Mapping[str, OrderKey],
    told: Mapping[str, Sequence[LinesTold]],
    opened: Collection[str] = (),
) -> list[Edit]:
    """Book what the versions of some (accepted, locked) orders count; returns what their channel put back by itself.

    For when their parcels and lines are booked. Most orders of most channels say nothing of the kind. `opened`: refs of
    those that were told to be open still, which dates what ended them.
    """
    saying = {
        accepted[ref].id: versions
        for ref, versions in told.items()
        if ref in accepted and any(_says(line) for version in versions for line in version.lines.values())
    }
    if saying:
        _note(conn, shop_id, saying)
        _book_shipped(conn, shop_id, saying)
    # An older version that comes late may tell what was ordered before the order was cancelled.
    retold = {key.id for ref, key in accepted.items() if key.edited or (ref in opened and not key.is_new)}
    concerned = retold.union(saying)
    return _book_put_back(conn, shop_id, concerned) if concerned else []


def _says(line: ChannelLine) -> bool:
    return line.counted_units > 0 or bool(line.puts_back)


def _note(conn: Connection, shop_id: int, orders: Mapping[int, Sequence[LinesTold]]) -> None:
    """Neither is ever forgotten: each count with the version that told it, and what a cancellation puts back."""
    rows = sorted(
        (order_id, ref, version.version_at, line.counted_units, bool(line.puts_back))
        for order_id, versions in orders.items()
        for version in versions
        for ref, line in version.lines.items()
        if _says(line)
    )
    execute(
        conn,
        """
        with told as materialized (
            select l.id, n.at, n.counted, n.puts_back
            from unnest(%(orders)b::int8[], %(refs)b::text[], %(ats)b::timestamptz[], %(counts)b::int8[],
                %(backs)b::bool[]) as n (order_id, ref, at, counted, puts_back)
            join order_lines l on l.shop_id = %(shop)s and l.order_id = n.order_id and l.channel_ref = n.ref
        ), known as (
            select id, at, max(counted) as counted from (
                select id, at, counted from told where counted > 0
                union all
                select l.id, k.at, k.counted from order_lines l
                cross join lateral unnest(l.counted_ats, l.counts_told) as k (at, counted)
                where l.shop_id = %(shop)s and l.id = any(array(select id from told))
            ) each group by id, at
        ), noted as (
            select t.id, bool_or(t.puts_back) as puts_back,
                array(select k.at from known k where k.id = t.id order by k.at) as ats,
                array(select k.counted from known k where k.id = t.id order by k.at) as counts
            from told t group by t.id
        )
        update order_lines l set counted_ats = noted.ats, counts_told = noted.counts,
            puts_back = l.puts_back or noted.puts_back
        from noted where l.shop_id = %(shop)s and l.id = noted.id
            and (l.counted_ats, l.counts_told, l.puts_back)
                is distinct from (noted.ats, noted.counts, l.puts_back or noted.puts_back)
        """,
        shop=shop_id,
        orders=[order_id for order_id, _, _, _, _ in rows],
        refs=[ref for _, ref, _, _, _ in rows],
        ats=[at for _, _, at, _, _ in rows],
        counts=[counted for _, _, _, counted, _ in rows],
        backs=[puts_back for _, _, _, _, puts_back in rows],
    )


def _book_shipped(conn: Connection, shop_id: int, order_ids: Iterable[int]) -> None:
    """Have what a channel counts as gone, and tells no parcel of, in shipments of their own, one for each time.

    Facts are only added: when it comes to others, those before are superseded.
    """
    lines = _counting(conn, shop_id, order_ids)
    counted = {line["id"]: rules.counted(line["counts"], line["parcels"]) for line in lines}
    _count(conn, shop_id, lines, {line_id: count for line_id, (count, _) in counted.items()})
    wanted = {(line["order_id"], at, line["id"]): n for line in lines for at, n in counted[line["id"]][1]}
    booked = {(line["order_id"], at, line["id"]): n for line in lines for at, n in line["booked"]}

    def by_time(found: Mapping[tuple[int, datetime, int], int]) -> dict[tuple[int, datetime], dict[int, int]]:
        times: dict[tuple[int, datetime], dict[int, int]] = {}
        for (order_id, at, line_id), units in found.items():
            times.setdefault((order_id, at), {})[line_id] = units
        return times

    before, now = by_time(booked), by_time(wanted)
    _supersede(conn, shop_id, sorted(key for key, units in before.items() if now.get(key) != units))
    _add(conn, shop_id, {key: now[key] for key in sorted(now) if before.get(key) != now[key]})


def _counting(conn: Connection, shop_id: int, order_ids: Iterable[int]) -> list[dict[str, Any]]:
    """Lines of orders: `counts` told of them, units in `parcels`, what is `booked` by counts; each with its time."""
    rows = fetch(
        conn,
        """
        select l.id, l.order_id, l.counted_units, l.counted_ats, l.counts_told,
            array_agg(f.fulfilled_at order by f.id) filter (where not f.is_counted) as parcel_ats,
            array_agg(f.units order by f.id) filter (where not f.is_counted) as parcel_units,
            array_agg(f.fulfilled_at order by f.id) filter (where f.is_counted) as booked_ats,
            array_agg(f.units order by f.id) filter (where f.is_counted) as booked_units
        from order_lines l
        left join lateral (
            select f.id, f.fulfilled_at, fl.units, starts_with(f.channel_ref, %(counted)s) as is_counted
            from fulfilment_lines fl
            join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
            where fl.shop_id = l.shop_id and fl.order_line_id = l.id
        ) f on true
        where l.shop_id = %(shop)s and l.order_id = any(%(ids)b::int8[])
        group by l.shop_id, l.id order by l.id
        """,
        shop=shop_id,
        ids=sorted(order_ids),
        counted=COUNTED,
    )
    return [
        {
            **row,
            "counts": list(zip(row["counted_ats"], row["counts_told"], strict=True)),
            "parcels": list(zip(row["parcel_ats"] or (), row["parcel_units"] or (), strict=True)),
            "booked": list(zip(row["booked_ats"] or (), row["booked_units"] or (), strict=True)),
        }
        for row in rows
    ]


def _count(conn: Connection, shop_id: int, lines: Sequence[Mapping[str, Any]], counts: Mapping[int, int]) -> None:
    changed = sorted((line["id"], counts[line["id"]]) for line in lines if counts[line["id"]] != line["counted_units"])
    if changed:
        execute(
            conn,
            """
            update order_lines l set counted_units = n.counted
            from unnest(%(ids)b::int8[], %(counts)b::int8[]) as n (id, counted)
            where l.shop_id = %(shop)s and l.id = n.id
            """,
            shop=shop_id,
            ids=[line_id for line_id, _ in changed],
            counts=[count for _, count in changed],
        )


def _supersede(conn: Connection, shop_id: int, times: Sequence[tuple[int, datetime]]) -> None:
    if times:
        execute(
            conn,
            """
            update fulfilments f set is_shipped = false, status = 'superseded'
            from unnest(%(orders)b::int8[], %(ats)b::timestamptz[]) as n (order_id, at)
            where f.shop_id = %(shop)s and f.order_id = n.order_id and f.fulfilled_at = n.at and f.is_shipped
                and starts_with(f.channel_ref, %(counted)s)
            """,
            shop=shop_id,
            orders=[order_id for order_id, _ in times],
            ats=[at for _, at in times],
            counted=COUNTED,
        )


def _add(conn: Connection, shop_id: int, shipments: Mapping[tuple[int, datetime], Mapping[int, int]]) -> None:
    """`shipments`: units by line, by order and time."""
    if not shipments:
        return
    rows = [(order_id, at, line, n) for (order_id, at), lines in shipments.items() for line, n in lines.items()]
    execute(
        conn,
        """
        with line as materialized (
            select * from unnest(%(orders)b::int8[], %(ats)b::timestamptz[], %(lines)b::int8[], %(units)b::int8[])
                as n (order_id, at, line_id, units)
        ), made as (
            insert into fulfilments (shop_id, order_id, channel_ref, status, is_shipped, fulfilled_at, is_dated,
                version_at)
            select %(shop)s, n.order_id, %(counted)s || (row_number() over (partition by n.order_id order by n.at)
                    + (select count(*) from fulfilments g where g.shop_id = %(shop)s and g.order_id = n.order_id
                        and starts_with(g.channel_ref, %(counted)s))),
                'counted', true, n.at, false, n.at
            from (select distinct order_id, at from line) n order by n.order_id, n.at
            returning id, order_id, fulfilled_at
        )
        insert into fulfilment_lines (shop_id, fulfilment_id, order_line_id, units)
        select %(shop)s, made.id, line.line_id, line.units
        from made join line on line.order_id = made.order_id and line.at = made.fulfilled_at
        order by 2, 3
        """,
        shop=shop_id,
        counted=COUNTED,
        orders=[order_id for order_id, _, _, _ in rows],
        ats=[at for _, at, _, _ in rows],
        lines=[line for _, _, line, _ in rows],
        units=[units for _, _, _, units in rows],
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
                case when l.puts_back and not e.was_in_the_number then greatest(0, l.units - coalesce(s.units, 0))
                    else 0 end as units
            from order_lines l
            join orders o on o.shop_id = l.shop_id and o.id = l.order_id and o.cancelled_at is not null
            left join listings p on p.shop_id = l.shop_id and p.id = l.listing_id
            join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
            -- It says it was cancelled by a time after the number was taken over, and was before that. What was told
            -- until the open orders were read may really be younger: then rather too many are thought to be for sale.
            cross join lateral (select coalesce(p.opening_at, least(p.baseline_at, c.open_orders_read_at)) as at) b
            cross join lateral (select coalesce(date_trunc('second', o.cancelled_at) > b.at, false)
                and was_cancelled_before(b.at, o.channel_created_at, o.open_at, o.cancelled_at, o.is_cancel_dated)
                and coalesce(o.cancelled_at > coalesce(c.open_orders_read_at,
                    case when c.catalogue_read_at is not null then 'infinity'::timestamptz end), true)
                as was_in_the_number) e
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
