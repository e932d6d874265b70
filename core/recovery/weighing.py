"""What hangs on failures: the orders and SKUs that they are about, and what those come to. Added up behind the scenes.

A message is read once, in sets, whether or not its body can be parsed. What a cause comes to is added up again when
something failed or was settled, so that a list of causes costs the same with ten failures and a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch
from core.ports import Mentions, OrderMention

READ_AT_ONCE = 1000

Reader = Callable[[str, str, bytes, str], Mentions]
"""(vendor, topic, body, currency) to what the body is about; never raises."""


def read_messages(conn: Connection, mentions: Reader, limit: int = READ_AT_ONCE) -> int:
    """Find out what parked messages are about that nobody has read for it yet; returns how many were read."""
    rows = fetch(
        conn,
        """
        select f.shop_id, f.source, f.item_id, m.connection_id, m.topic, m.body, m.triggered_at, c.vendor, s.currency
        from failures f
        join inbox_messages m on m.shop_id = f.shop_id and m.id = f.item_id
        join connections c on c.shop_id = m.shop_id and c.id = m.connection_id
        join shops s on s.shop_id = f.shop_id
        where f.state = 'open' and not f.is_weighed and f.source = 'message'
        order by f.shop_id, f.item_id limit %(limit)s for update of f skip locked
        """,
        limit=limit,
    )
    if rows:
        _write(conn, rows, [mentions(row["vendor"], row["topic"], bytes(row["body"]), row["currency"]) for row in rows])
    return len(rows)


def read_jobs(conn: Connection, limit: int = READ_AT_ONCE) -> int:
    """Likewise failed jobs, whose arguments may name orders; returns how many were read."""
    rows = fetch(
        conn,
        """
        select f.shop_id, f.source, f.item_id, c.id as connection_id,
            case when r.function = 'orders.read' and r.arguments ->> 'kind' = 'order' then r.arguments ->> 'refs' end
                as refs
        from failures f
        left join job_runs r on f.source = 'job' and r.id = f.item_id
        left join connections c on c.shop_id = f.shop_id and c.id::text = r.arguments ->> 'connection_id'
        where f.state = 'open' and not f.is_weighed and f.source <> 'message'
        order by f.shop_id, f.source, f.item_id limit %(limit)s for update of f skip locked
        """,
        limit=limit,
    )
    named = [Mentions(orders=tuple(map(OrderMention, filter(None, (row["refs"] or "").split(","))))) for row in rows]
    if rows:
        _write(conn, rows, named)
    return len(rows)


def mark_moot(conn: Connection) -> int:
    """Say of each parked order whether a later message has told as much; returns for how many that changed."""
    return execute(
        conn,
        """
        with told as (
            select f.shop_id, f.source, f.item_id, f.is_moot,
                bool_and(o.version_at is not null and o.version_at >= x.version_at) as is_told
            from failures f
            join failure_orders x on x.shop_id = f.shop_id and x.source = f.source and x.item_id = f.item_id
            left join orders o on o.shop_id = x.shop_id and o.connection_id = x.connection_id
                and o.channel_ref = x.order_ref
            where f.state = 'open' and f.source = 'message' and x.version_at is not null
            group by 1, 2, 3, 4
        )
        update failures f set is_moot = t.is_told from told t
        where f.shop_id = t.shop_id and f.source = t.source and f.item_id = t.item_id and t.is_told <> t.is_moot
        """,
    )


def add_up(conn: Connection, now: datetime) -> int:
    """Add up what hangs on each cause in which something failed or was settled; returns how many causes those are."""
    changed = fetch(
        conn,
        """
        select k.shop_id, k.id from failure_kinds k
        left join failure_standing n on n.shop_id = k.shop_id and n.kind_id = k.id
        where (n.items > 0 and k.source = 'job')
            or coalesce(n.items, 0) is distinct from k.weighed_items
            or (n.items > 0 and (
                select f.at from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open'
                order by f.at desc, f.item_id desc limit 1
            ) is distinct from k.weighed_last)
        order by 1, 2
        """,
    )
    for row in changed:
        execute(conn, _ADD_UP, shop=row["shop_id"], kind=row["id"], now=now)
    return len(changed)


# Steps ---------------------------------------------------------------------------------------------------------------


def _write(conn: Connection, rows: Sequence[RowMapping], found: Sequence[Mentions]) -> None:
    orders = [(row, order) for row, each in zip(rows, found, strict=True) for order in each.orders]
    execute(
        conn,
        """
        insert into failure_orders (shop_id, source, item_id, connection_id, order_ref, version_at, currency,
            total_minor)
        select shop_id, source, item_id, connection_id, order_ref, version_at, currency, total_minor
        from unnest(%(shops)b::int8[], %(sources)b::text[], %(items)b::int8[], %(connections)b::int8[],
            %(refs)b::text[], %(versions)b::timestamptz[], %(currencies)b::text[], %(totals)b::int8[])
            as x (shop_id, source, item_id, connection_id, order_ref, version_at, currency, total_minor)
        on conflict do nothing
        """,
        shops=[row["shop_id"] for row, _ in orders],
        sources=[row["source"] for row, _ in orders],
        items=[row["item_id"] for row, _ in orders],
        connections=[row["connection_id"] for row, _ in orders],
        refs=[order.ref for _, order in orders],
        versions=[order.version_at for _, order in orders],
        currencies=[order.currency for _, order in orders],
        totals=[order.total_minor for _, order in orders],
    )
    goods = [
        (row, kind, ref)
        for row, each in zip(rows, found, strict=True)
        for kind, refs in (("variant", each.variants), ("code", each.codes), ("item", each.items))
        for ref in refs
    ]
    # By what is sold, by what stock is kept of, by the seller's code: whichever the listing of that connection has.
    execute(
        conn,
        """
        insert into failure_skus (shop_id, source, item_id, sku_id)
        select distinct g.shop_id, 'message', g.item_id, l.sku_id
        from unnest(%(shops)b::int8[], %(items)b::int8[], %(connections)b::int8[], %(kinds)b::text[], %(refs)b::text[])
            as g (shop_id, item_id, connection_id, kind, ref)
        cross join lateral (
            select v.sku_id from listings v where g.kind = 'variant' and v.shop_id = g.shop_id
                and v.connection_id = g.connection_id and v.channel_ref = g.ref
            union
            select i.sku_id from listings i where g.kind = 'item' and i.shop_id = g.shop_id
                and i.connection_id = g.connection_id and i.inventory_ref = g.ref
            union
            select c.sku_id from listings c where g.kind = 'code' and c.shop_id = g.shop_id
                and c.connection_id = g.connection_id and c.channel_code = g.ref
        ) l
        where l.sku_id is not null
        on conflict do nothing
        """,
        shops=[row["shop_id"] for row, _, _ in goods],
        items=[row["item_id"] for row, _, _ in goods],
        connections=[row["connection_id"] for row, _, _ in goods],
        kinds=[kind for _, kind, _ in goods],
        refs=[ref for _, _, ref in goods],
    )
    execute(
        conn,
        """
        update failures f set is_weighed = true
        from unnest(%(shops)b::int8[], %(sources)b::text[], %(items)b::int8[]) as x (shop_id, source, item_id)
        where f.shop_id = x.shop_id and f.source = x.source and f.item_id = x.item_id
        """,
        shops=[row["shop_id"] for row in rows],
        sources=[row["source"] for row in rows],
        items=[row["item_id"] for row in rows],
    )


# Of pushes: the SKUs whose listings wait behind them; of confirmations: the orders of packages that the channel does
# not know. Money is each order once: as the messages tell it at most, else as it is known here.
_ADD_UP = """
    with mine as (
        select k.* from failure_kinds k where k.shop_id = %(shop)s and k.id = %(kind)s
    ), meant as (
        select f.source, f.item_id, f.at, f.is_weighed from failures f
        where f.shop_id = %(shop)s and f.kind_id = %(kind)s and f.state = 'open'
    ), counted as (
        select count(*) as items, max(at) as last_at, coalesce(bool_and(is_weighed), true) as is_read from meant
    ), named as (
        select x.connection_id, x.order_ref, max(x.currency) as currency, max(x.total_minor) as total_minor
        from meant f join failure_orders x on x.shop_id = %(shop)s and x.source = f.source and x.item_id = f.item_id
        group by 1, 2
        union
        select o.connection_id, o.channel_ref, o.currency, o.total_minor
        from mine k join orders o on o.shop_id = k.shop_id and o.connection_id = k.connection_id
        join shipment_confirmations s on s.shop_id = o.shop_id and s.order_id = o.id
            and s.revision is distinct from s.confirmed_revision
        where k.function = 'shipments.confirm' and exists (select from meant)
    ), worth as (
        select n.connection_id, n.order_ref, coalesce(n.currency, o.currency) as currency,
            coalesce(n.total_minor, o.total_minor) as total_minor
        from named n left join orders o on o.shop_id = %(shop)s and o.connection_id = n.connection_id
            and o.channel_ref = n.order_ref
    ), goods as (
        select x.sku_id from meant f
        join failure_skus x on x.shop_id = %(shop)s and x.source = f.source and x.item_id = f.item_id
        union
        select l.sku_id from mine k join listings l on l.shop_id = k.shop_id and l.connection_id = k.connection_id
        where k.function in ('stock.push', 'stock.feed', 'stock.check') and l.is_to_push and l.sku_id is not null
            and listing_differs(l.desired_units - l.short_units, l.published_units) and exists (select from meant)
    )
    update failure_kinds k set weighed_at = %(now)s,
        weighed_items = case when c.is_read then c.items else -1 end,
        weighed_last = c.last_at,
        skus = (select count(*) from goods),
        orders = (select count(*) from worth),
        money = coalesce((
            select jsonb_object_agg(currency, minor) from (
                select currency, sum(total_minor) as minor from worth
                where currency is not null and total_minor is not null group by 1
            ) m
        ), '{}')
    from counted c where k.shop_id = %(shop)s and k.id = %(kind)s
"""
