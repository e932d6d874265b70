"""Writes: shipments and refunds of known orders, and what their lines do to stock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch
from core.inventory.exposure import WHOLE_SECOND
from core.inventory.operations import Followed, hold_compositions
from core.messaging.changes import Effects
from core.orders.operations import Channel
from core.orders.rules import Shown, follow
from core.ports import ChannelFulfilment, ChannelRefund


@dataclass(frozen=True, slots=True)
class Edit:
    """Units of a listing that an edit of an order took off its lines (negative: added to them), or a cancellation did.

    `at`: the order's version that told it, so it happened then or before.
    """

    listing_id: int
    units: int
    at: datetime


SUPERSEDED = "superseded:"
"""What refs of shipments begin with that are told with other contents since."""

LineIds = Mapping[tuple[int, str], int]
"""(order id, the channel's line id) -> our line id."""


def line_ids(conn: Connection, shop_id: int, order_ids: Iterable[int]) -> dict[tuple[int, str], int]:
    """Our ids of all lines of some orders."""
    rows = fetch(
        conn,
        """
        select order_id, channel_ref, id from order_lines
        where shop_id = %(shop)s and order_id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=sorted(set(order_ids)),
    )
    return {(row["order_id"], row["channel_ref"]): row["id"] for row in rows}


def book_fulfilments(
    conn: Connection, shop_id: int, fulfilments: Sequence[tuple[int, ChannelFulfilment]], lines: LineIds
) -> None:
    """Record shipments of (order id, fulfilment) whose lines are all known; a newer status replaces an older one.

    What is in one is never edited: told with other contents it is another shipment, and the one before is superseded.
    """
    ordered = sorted(fulfilments, key=lambda pair: (pair[0], pair[1].ref))
    units: Counter[tuple[int, str, int]] = Counter()
    for order_id, item in ordered:
        for line_ref, shipped in item.lines:
            units[order_id, item.ref, lines[order_id, line_ref]] += shipped
    contents = sorted((*key, shipped) for key, shipped in units.items() if shipped > 0)
    _supersede(conn, shop_id, ordered, contents)
    new = fetch(
        conn,
        """
        insert into fulfilments (shop_id, order_id, channel_ref, status, is_shipped, fulfilled_at, is_dated, version_at,
            tracking_company, tracking_numbers)
        select %(shop)s, order_id, ref, status, shipped, at, dated, version_at, company,
            string_to_array(numbers, E'\\n')
        from unnest(%(orders)b::int8[], %(refs)b::text[], %(statuses)b::text[], %(shipped)b::bool[],
            %(ats)b::timestamptz[], %(dated)b::bool[], %(versions)b::timestamptz[], %(companies)b::text[],
            %(numbers)b::text[])
            as n (order_id, ref, status, shipped, at, dated, version_at, company, numbers)
        on conflict (shop_id, order_id, channel_ref) do update set status = excluded.status,
            is_shipped = excluded.is_shipped, version_at = excluded.version_at,
            tracking_company = excluded.tracking_company, tracking_numbers = excluded.tracking_numbers
        where excluded.version_at > fulfilments.version_at
        returning id, order_id, channel_ref, (xmax = 0) as is_new
        """,
        shop=shop_id,
        orders=[order_id for order_id, _ in ordered],
        refs=[item.ref for _, item in ordered],
        statuses=[item.status for _, item in ordered],
        shipped=[item.is_shipped for _, item in ordered],
        ats=[item.fulfilled_at for _, item in ordered],
        dated=[item.is_dated for _, item in ordered],
        versions=[item.version_at for _, item in ordered],
        companies=[item.tracking_company for _, item in ordered],
        numbers=["\n".join(item.tracking_numbers) for _, item in ordered],
    )
    ids = {(row["order_id"], row["channel_ref"]): row["id"] for row in new if row["is_new"]}
    rows = sorted((ids[order_id, ref], line, n) for order_id, ref, line, n in contents if (order_id, ref) in ids)
    execute(
        conn,
        """
        insert into fulfilment_lines (shop_id, fulfilment_id, order_line_id, units)
        select %(shop)s, n.* from unnest(%(fulfilments)b::int8[], %(lines)b::int8[], %(units)b::int8[]) as n
        on conflict do nothing
        """,
        shop=shop_id,
        fulfilments=[fulfilment for fulfilment, _, _ in rows],
        lines=[line for _, line, _ in rows],
        units=[shipped for _, _, shipped in rows],
    )


def _supersede(
    conn: Connection,
    shop_id: int,
    fulfilments: Sequence[tuple[int, ChannelFulfilment]],
    contents: Sequence[tuple[int, str, int, int]],
) -> None:
    """End shipments that a newer version tells with other `contents` (order id, ref, our line id, units).

    One that does not say what is in it leaves them as they are. The ref is then free for what it is now.
    """
    execute(
        conn,
        """
        with told as (
            select * from unnest(%(orders)b::int8[], %(refs)b::text[], %(versions)b::timestamptz[])
                as n (order_id, ref, version_at)
        ), content as materialized (
            select order_id, ref, jsonb_object_agg(line_id, units) as lines
            from unnest(%(in_orders)b::int8[], %(in_refs)b::text[], %(lines)b::int8[], %(units)b::int8[])
                as n (order_id, ref, line_id, units)
            group by 1, 2
        ), other as (
            select f.id from told n
            join content c on c.order_id = n.order_id and c.ref = n.ref
            join fulfilments f on f.shop_id = %(shop)s and f.order_id = n.order_id and f.channel_ref = n.ref
                and f.version_at < n.version_at
            where c.lines is distinct from (select jsonb_object_agg(l.order_line_id, l.units) from fulfilment_lines l
                where l.shop_id = f.shop_id and l.fulfilment_id = f.id)
        )
        update fulfilments f set channel_ref = %(superseded)s || f.id || ':' || f.channel_ref, status = 'superseded',
            is_shipped = false
        from other where f.shop_id = %(shop)s and f.id = other.id
        """,
        shop=shop_id,
        superseded=SUPERSEDED,
        orders=[order_id for order_id, _ in fulfilments],
        refs=[item.ref for _, item in fulfilments],
        versions=[item.version_at for _, item in fulfilments],
        in_orders=[order_id for order_id, _, _, _ in contents],
        in_refs=[ref for _, ref, _, _ in contents],
        lines=[line_id for _, _, line_id, _ in contents],
        units=[units for _, _, _, units in contents],
    )


def book_refunds(
    conn: Connection, shop_id: int, refunds: Sequence[tuple[int, ChannelRefund]], lines: LineIds
) -> set[tuple[int, str]]:
    """Record refunds of (order id, refund) whose lines are all known, each once; returns those that were new."""
    ordered = sorted(refunds, key=lambda pair: (pair[0], pair[1].ref))
    new = fetch(
        conn,
        """
        insert into refunds (shop_id, order_id, channel_ref, refunded_at, channel_created_at, amount_minor, currency,
            shipping_minor, shipping_tax_minor)
        select %(shop)s, n.* from unnest(%(orders)b::int8[], %(refs)b::text[], %(ats)b::timestamptz[],
            %(created)b::timestamptz[], %(amounts)b::int8[], %(currencies)b::text[], %(shippings)b::int8[],
            %(shipping_taxes)b::int8[]) as n
        on conflict (shop_id, order_id, channel_ref) do nothing returning id, order_id, channel_ref
        """,
        shop=shop_id,
        orders=[order_id for order_id, _ in ordered],
        refs=[item.ref for _, item in ordered],
        ats=[item.refunded_at for _, item in ordered],
        created=[item.created_at for _, item in ordered],
        amounts=[item.amount_minor for _, item in ordered],
        currencies=[item.currency for _, item in ordered],
        shippings=[item.shipping_minor for _, item in ordered],
        shipping_taxes=[item.shipping_tax_minor for _, item in ordered],
    )
    ids = {(row["order_id"], row["channel_ref"]): row["id"] for row in new}
    rows = [
        (ids[order_id, item.ref], ordinal, lines[order_id, line.line_ref], line)
        for order_id, item in ordered
        if (order_id, item.ref) in ids
        for ordinal, line in enumerate(item.lines, start=1)
    ]
    execute(
        conn,
        """
        insert into refund_lines (shop_id, refund_id, ordinal, order_line_id, units, restock, subtotal_minor, tax_minor)
        select %(shop)s, n.* from unnest(%(refunds)b::int8[], %(ordinals)b::int4[], %(lines)b::int8[],
            %(units)b::int8[], %(restocks)b::text[], %(subtotals)b::int8[], %(taxes)b::int8[]) as n
        on conflict do nothing
        """,
        shop=shop_id,
        refunds=[refund for refund, _, _, _ in rows],
        ordinals=[ordinal for _, ordinal, _, _ in rows],
        lines=[line_id for _, _, line_id, _ in rows],
        units=[line.units for _, _, _, line in rows],
        restocks=[line.restock for _, _, _, line in rows],
        subtotals=[line.subtotal_minor for _, _, _, line in rows],
        taxes=[line.tax_minor for _, _, _, line in rows],
    )
    return set(ids)


def settle_stock(conn: Connection, channel: Channel, order_ids: Iterable[int], now: datetime) -> set[int]:
    """Bring stock in line with the facts of these (locked) orders; returns the SKUs that changed.

    For each stocked line the target is a pure function of sums (`rules.line_stock`, written as the SQL function of the
    same name), and the difference to what is booked becomes reservations and movements: one path for every event,
    whatever their number and order. All of it is one statement: nothing of the lines leaves the database.
    """
    return set(settle_effects(conn, channel, order_ids, now).sku_ids)


def settle_effects(conn: Connection, channel: Channel, order_ids: Iterable[int], now: datetime) -> Effects:
    """The same as `settle_stock`; returns what changed of each order, with what that did to what is available."""
    params = {"shop": channel.shop_id, "location": channel.location_id, "ids": sorted(set(order_ids))}
    if not params["ids"]:
        return Effects([], [], [], [], [])
    hold_compositions(conn, channel.shop_id)
    execute(conn, _MAKE_LEVELS, **params)
    return Effects(**fetch(conn, _SETTLE, **params, now=now)[0])


def lock_levels_of(
    conn: Connection,
    channel: Channel,
    order_ids: Iterable[int],
    channel_refs: Iterable[str],
    codes: Iterable[str],
) -> None:
    """Lock, in their order, the levels that some (locked) orders hold, and those of SKUs named by ref or by code."""
    hold_compositions(conn, channel.shop_id)
    fetch(
        conn,
        """
        with named as (
            select sku_id from listings
            where shop_id = %(shop)s and connection_id = %(connection)s and channel_ref = any(%(refs)b::text[])
            union
            select id from skus where shop_id = %(shop)s and code = any(%(codes)b::text[])
            union
            select r.sku_id from order_lines l
            cross join lateral (
                -- Each by its key, as when they are settled.
                select r.sku_id from reservations r where r.shop_id = l.shop_id and r.order_line_id = l.id offset 0
            ) r
            where l.shop_id = %(shop)s and l.order_id = any(%(orders)b::int8[])
        ), wanted as (
            select sku_id from named
            union
            select b.part_sku_id from named join bundle_parts b
                on b.shop_id = %(shop)s and b.bundle_sku_id = named.sku_id
        )
        select 1 from stock_levels k
        where k.shop_id = %(shop)s and k.sku_id = any(array(select sku_id from wanted where sku_id is not null))
        order by k.sku_id, k.location_id for update of k
        """,
        shop=channel.shop_id,
        connection=channel.connection_id,
        refs=sorted(set(channel_refs)),
        codes=sorted(set(codes)),
        orders=sorted(set(order_ids)),
    )


# What one unit of a line takes: what it took when it was first booked, else what its bundle is made of, else itself.
_PARTS = """
    left join lateral (
        -- Each by its key: for thousands of lines the planner would rather read all reservations there are.
        select * from reservations r where r.shop_id = %(shop)s and r.order_line_id = line.id offset 0
    ) r on true
    left join bundle_parts b on b.shop_id = %(shop)s and b.bundle_sku_id = line.sku_id and r.id is null
"""

# Levels that lines of these orders need and that nobody has made yet.
_MAKE_LEVELS = f"""
    insert into stock_levels (shop_id, sku_id, location_id)
    select distinct line.shop_id, coalesce(r.sku_id, b.part_sku_id, line.sku_id),
        coalesce(r.location_id, p.location_id, %(location)s)
    from order_lines line {_PARTS}
    left join listings p on p.shop_id = line.shop_id and p.id = line.listing_id
    left join stock_levels k on k.shop_id = line.shop_id
        and k.sku_id = coalesce(r.sku_id, b.part_sku_id, line.sku_id)
        and k.location_id = coalesce(r.location_id, p.location_id, %(location)s)
    where line.shop_id = %(shop)s and line.order_id = any(%(ids)b::int8[]) and line.mapping = 'stocked'
        and k.sku_id is null
    order by 2, 3
    on conflict (shop_id, sku_id, location_id) do nothing
"""

# Facts summed per line -> target -> what differs, part by part -> reservations, movements, levels. Levels are locked in
# their order.
_SETTLE = f"""
    with line as materialized (
        select l.id, l.order_id, l.units, l.opening_units, l.sku_id, l.promise_revision, o.cancelled_at,
            o.channel_created_at, p.location_id, b.opening_at, p.opening_at is null as is_elsewhere,
            was_cancelled_before(b.opening_at, o.channel_created_at, o.open_at, o.cancelled_at, o.is_cancel_dated)
                as is_cancelled_before,
            -- What left unseen after that number, and before the open orders were read, is taken off.
            case when had_ended(b.opening_at, o.channel_created_at, o.open_at) then c.open_orders_read_at end
                as ended_before_at
        from order_lines l
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        left join listings p on p.shop_id = l.shop_id and p.id = l.listing_id
        left join connections c on c.shop_id = p.shop_id and c.id = p.connection_id and p.baseline_at is not null
        -- Where our number came from elsewhere: whatever is younger than the connection was booked as it happened.
        cross join lateral (select coalesce(p.opening_at, least(p.baseline_at, c.open_orders_read_at))
            as opening_at) b
        where l.shop_id = %(shop)s and l.order_id = any(%(ids)b::int8[]) and l.mapping = 'stocked'
    ), shipped as (
        select fl.order_line_id, sum(fl.units)::int8 as units,
            sum(fl.units) filter (where f.fulfilled_at < line.opening_at
                or not f.is_dated and f.fulfilled_at > line.ended_before_at)::int8 as before_baseline
        from line join fulfilment_lines fl on fl.shop_id = %(shop)s and fl.order_line_id = line.id
        join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
        group by 1
    ), refunded as (
        select rl.order_line_id,
            sum(rl.units) filter (where rl.restock = 'cancel')::int8 as cancel,
            sum(rl.units) filter (where rl.restock = 'return')::int8 as came_back,
            sum(rl.units) filter (where rl.restock = 'legacy_restock')::int8 as legacy,
            sum(rl.units) filter (where rl.restock = 'no_restock')::int8 as no_restock,
            sum(rl.units) filter (where rl.restock <> 'no_restock'
                and date_trunc('second', f.channel_created_at) <= line.opening_at)::int8
                as before_baseline,
            sum(rl.units) filter (where rl.restock in ('cancel', 'legacy_restock')
                and date_trunc('second', f.channel_created_at) <= line.opening_at)::int8 as released_before_baseline
        from line join refund_lines rl on rl.shop_id = %(shop)s and rl.order_line_id = line.id
        join refunds f on f.shop_id = rl.shop_id and f.id = rl.refund_id
        group by 1
    ), desk as (
        select b.order_line_id, d.* from (
            select distinct lr.order_line_id
            from line join line_returns lr on lr.shop_id = %(shop)s and lr.order_line_id = line.id
        ) b cross join lateral desk_returns(%(shop)s, b.order_line_id) d
    ), changed as materialized (
        select line.id, line.order_id, line.sku_id as line_sku_id, line.units * e.each as units, e.sku_id, e.each,
            coalesce(r.location_id, line.location_id, %(location)s) as location_id,
            t.held * e.each as held, t.consumed * e.each as consumed, t.returned * e.each as returned,
            t.written_off * e.each as written_off, t.opening * e.each as opening,
            t.quarantined * e.each as quarantined, coalesce(d.units, 0) * e.each as taken_back,
            coalesce(d.recalled, 0) * e.each as recalled,
            coalesce(r.revision, line.promise_revision) + 1 as revision,
            coalesce(r.held_units, 0) as held_before, coalesce(r.consumed_units, 0) as consumed_before,
            coalesce(r.returned_units, 0) as returned_before, coalesce(r.written_off_units, 0) as written_off_before,
            coalesce(r.opening_units, 0) as opening_before, coalesce(r.quarantined_units, 0) as quarantined_before
        from line {_PARTS}
        left join shipped s on s.order_line_id = line.id
        left join refunded f on f.order_line_id = line.id
        left join desk d on d.order_line_id = line.id
        cross join lateral (select coalesce(r.sku_id, b.part_sku_id, line.sku_id) as sku_id,
            coalesce(r.units_each, b.units, 1) as each) e
        -- A number that came from elsewhere holds what was open when the channel was read: that does not come along.
        cross join lateral (select case when line.is_elsewhere and not line.is_cancelled_before
            then greatest(0, coalesce(line.opening_units, line.units)
                - coalesce(s.before_baseline, 0) - coalesce(f.released_before_baseline, 0))
            else 0 end as units) still_open
        cross join lateral line_stock(line.units, coalesce(s.units, 0), coalesce(f.cancel, 0),
            coalesce(f.came_back, 0), coalesce(f.legacy, 0), coalesce(f.no_restock, 0), line.cancelled_at is not null,
            coalesce(line.channel_created_at < line.opening_at, false),
            line.is_cancelled_before,
            coalesce(f.before_baseline, 0) + still_open.units,
            coalesce(d.units, 0), coalesce(d.quarantined, 0), coalesce(d.written_off, 0), coalesce(d.recalled, 0),
            coalesce(line.opening_units, line.units)) t
        where (r.units, r.held_units, r.consumed_units, r.returned_units, r.written_off_units, r.opening_units,
                r.quarantined_units, r.taken_back_units, r.recalled_units)
            is distinct from (line.units * e.each, t.held * e.each, t.consumed * e.each, t.returned * e.each,
                t.written_off * e.each, t.opening * e.each, t.quarantined * e.each, coalesce(d.units, 0) * e.each,
                coalesce(d.recalled, 0) * e.each)
    ), promised as (
        insert into reservations (shop_id, sku_id, location_id, order_line_id, units, units_each, held_units,
            consumed_units, returned_units, written_off_units, opening_units, quarantined_units, taken_back_units,
            recalled_units, revision, created_at)
        select %(shop)s, sku_id, location_id, id, units, each, held, consumed, returned, written_off, opening,
            quarantined, taken_back, recalled, revision, %(now)s
        from changed order by id, sku_id
        on conflict (shop_id, order_line_id, sku_id) do update set units = excluded.units,
            held_units = excluded.held_units, consumed_units = excluded.consumed_units,
            returned_units = excluded.returned_units, written_off_units = excluded.written_off_units,
            opening_units = excluded.opening_units, quarantined_units = excluded.quarantined_units,
            taken_back_units = excluded.taken_back_units, recalled_units = excluded.recalled_units,
            revision = excluded.revision
    ), moved as (
        insert into stock_movements (shop_id, sku_id, location_id, delta_units, unavailable_delta_units, reason,
            business_key, order_line_id, recorded_by, occurred_at, recorded_at)
        select %(shop)s, c.sku_id, c.location_id, m.delta, m.apart, m.reason, 'line:' || c.id
            || case when c.sku_id = c.line_sku_id then '' else '.' || c.sku_id end || ':' || c.revision || ':'
            || m.reason, c.id, 'intake', %(now)s, %(now)s
        from changed c cross join lateral (values
            ('receipt', c.opening - c.opening_before, 0),
            ('shipment', c.consumed_before - c.consumed, 0),
            ('customer_return', c.returned - c.returned_before, c.quarantined - c.quarantined_before),
            ('write_off', c.written_off_before - c.written_off, 0)) m (reason, delta, apart)
        where m.delta <> 0 or m.apart <> 0 order by c.id, c.sku_id
        on conflict (shop_id, business_key) do nothing
        returning sku_id, location_id, delta_units, unavailable_delta_units
    ), delta as (
        select sku_id, location_id, sum(hand) as hand, sum(held) as held, sum(apart) as apart from (
            select sku_id, location_id, delta_units as hand, 0 as held, unavailable_delta_units as apart from moved
            union all
            select sku_id, location_id, 0, held - held_before, 0 from changed
        ) each_one group by 1, 2
    ), locked as (
        select k.sku_id, k.location_id, d.hand, d.held, d.apart from delta d
        join stock_levels k on k.shop_id = %(shop)s and k.sku_id = d.sku_id and k.location_id = d.location_id
        order by 1, 2 for update of k
    ), levelled as (
        update stock_levels k set on_hand = k.on_hand + locked.hand, reserved = k.reserved + locked.held,
            unavailable = k.unavailable + locked.apart, is_placeholder = false
        from locked where k.shop_id = %(shop)s and k.sku_id = locked.sku_id and k.location_id = locked.location_id
    )
    select coalesce(array_agg(order_id), '{{}}') as sources, coalesce(array_agg(sku_id), '{{}}') as sku_ids,
        coalesce(array_agg(location_id), '{{}}') as location_ids, coalesce(array_agg(delta), '{{}}') as delta_units,
        coalesce(array_agg(is_undone), '{{}}') as undone
    from (
        select order_id, sku_id, location_id, sum(gives - gave)::int8 as delta,
            sum(gives) = 0 and sum(gives - gave) > 0 as is_undone
        from changed cross join lateral (select
            opening - consumed + returned - written_off - quarantined - held as gives,
            opening_before - consumed_before + returned_before - written_off_before - quarantined_before - held_before
                as gave) e
        group by 1, 2, 3
    ) effect
"""


def follow_channel(
    conn: Connection,
    channel: Channel,
    sold: Mapping[int, datetime],
    refunded: Mapping[tuple[int, str], datetime],
    edits: Sequence[Edit] = (),
) -> list[Followed]:
    """What we know (locked) listings to show after what the channel itself just did.

    `sold` maps newly booked orders to when the channel took their units off; `refunded` maps newly booked refunds
    (order id, ref) to when it put units back. What happened before our knowledge of a listing (`published_at`) is
    already in it and explains what we saw the channel do by itself (`unseen_units`). Without this, every sale would
    look like a difference to push. `inventory.operations.refresh_desired` writes it down.

    Exposure goes by the baseline instead: what was surely sold since is taken off what may still be sold unbooked, and
    what the channel perhaps put back by itself since is added. `edits` of orders count among both. An edit may be older
    than the version that told it: what was seen to be put back, or sold, is explained by it first.

    What is later than our knowledge, nearly all of it, is only added up, by the database; the rest is followed one by
    one as `rules.follow` says, oldest first.
    """
    rows = fetch(
        conn,
        """
        with done as (
            select l.listing_id, -l.units as delta, o.at
            from unnest(%(orders)b::int8[], %(ats)b::timestamptz[]) as o (id, at)
            join order_lines l on l.shop_id = %(shop)s and l.order_id = o.id
            where l.mapping = 'stocked'
            union all
            select l.listing_id, rl.units, n.at
            from unnest(%(refund_orders)b::int8[], %(refund_refs)b::text[], %(refund_ats)b::timestamptz[])
                as n (order_id, ref, at)
            join refunds f on f.shop_id = %(shop)s and f.order_id = n.order_id and f.channel_ref = n.ref
            join refund_lines rl on rl.shop_id = f.shop_id and rl.refund_id = f.id and rl.restock <> 'no_restock'
            join order_lines l on l.shop_id = rl.shop_id and l.id = rl.order_line_id
            where l.mapping = 'stocked'
            union all
            select g.id, g.units, case when l.unseen_units * sign(g.units) >= abs(g.units)
                then least(l.published_at, g.at) else g.at end
            from unnest(%(edited)b::int8[], %(edited_units)b::int8[], %(edited_ats)b::timestamptz[])
                as g (id, units, at)
            join listings l on l.shop_id = %(shop)s and l.id = g.id
        )
        select p.id, p.published_units, p.published_at, p.unseen_units, max(d.at) as latest_at,
            coalesce(sum(d.delta) filter (where d.at > p.published_at), 0)::int8 as later,
            array_agg(d.delta order by d.at, d.delta) filter (where d.at <= p.published_at) as earlier,
            array_agg(d.at order by d.at, d.delta) filter (where d.at <= p.published_at) as earlier_ats,
            coalesce(-sum(d.delta) filter (where d.delta < 0
                and (p.baseline_at is null or d.at >= p.baseline_at + c.clock_margin)), 0)::int8 as sold,
            coalesce(sum(d.delta) filter (where d.delta > 0
                and (p.baseline_at is null or d.at >= p.baseline_at - c.clock_margin)), 0)::int8 as restocked,
            coalesce(sum(abs(d.delta)) filter (where d.delta < 0 and d.at > p.published_at - %(second)s::interval
                    and d.at <= p.published_at + c.clock_margin
                or d.delta > 0 and d.at >= p.published_at - c.clock_margin and d.at <= p.published_at), 0)::int8
                as blurred
        from done d join listings p on p.shop_id = %(shop)s and p.id = d.listing_id
        join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
        where p.published_units is not null
        group by p.id, p.published_units, p.published_at, p.unseen_units order by p.id
        """,
        shop=channel.shop_id,
        orders=list(sold),
        ats=list(sold.values()),
        refund_orders=[order_id for order_id, _ in refunded],
        refund_refs=[ref for _, ref in refunded],
        refund_ats=list(refunded.values()),
        second=WHOLE_SECOND,
        edited=[edit.listing_id for edit in edits],
        edited_units=[edit.units for edit in edits],
        # Vendors stamp whole seconds; what we refine an order's version by is none of the edit's.
        edited_ats=[edit.at.replace(microsecond=0) for edit in edits],
    )
    return [_followed(row) for row in rows]


def exposure_of_lines(conn: Connection, shop_id: int, line_ids: Iterable[int]) -> list[Followed]:
    """What booking some lines late does to the exposure of their (locked) listings; what they show is known already.

    Their channel sold, and perhaps put back, all of it long ago: it only was not booked.
    """
    rows = fetch(
        conn,
        """
        with line as (
            select l.id, l.listing_id, l.units, o.channel_created_at as at, l.put_back_units, o.cancelled_at
            from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where l.shop_id = %(shop)s and l.id = any(%(ids)b::int8[]) and l.mapping = 'stocked'
        ), done as (
            select listing_id, -units as delta, at from line
            union all
            select listing_id, put_back_units, cancelled_at from line
            union all
            select line.listing_id, rl.units, f.channel_created_at
            from line join refund_lines rl on rl.shop_id = %(shop)s and rl.order_line_id = line.id
            join refunds f on f.shop_id = rl.shop_id and f.id = rl.refund_id
            where rl.restock <> 'no_restock'
        )
        select p.id, p.published_units, p.unseen_units, coalesce(-sum(d.delta) filter (where d.delta < 0), 0)::int8
            as sold, coalesce(sum(d.delta) filter (where d.delta > 0), 0)::int8 as restocked
        from done d join listings p on p.shop_id = %(shop)s and p.id = d.listing_id
        join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
        where p.published_units is not null and (p.baseline_at is null
            or d.at >= p.baseline_at + sign(-d.delta) * c.clock_margin)
        group by p.id, p.published_units, p.unseen_units order by p.id
        """,
        shop=shop_id,
        ids=sorted(set(line_ids)),
    )
    return [
        Followed(row["id"], row["published_units"], row["unseen_units"], None, row["sold"], row["restocked"])
        for row in rows
    ]


def _followed(row: RowMapping) -> Followed:
    """What one listing shows after everything its channel did, the early first."""
    shown = Shown(row["published_units"], row["published_at"], row["unseen_units"])
    for delta, at in zip(row["earlier"] or (), row["earlier_ats"] or (), strict=True):
        shown = follow(shown, delta, at)
    return Followed(
        row["id"],
        shown.published_units + row["later"],
        shown.unseen_units,
        row["latest_at"],
        sold_units=row["sold"],
        restocked_units=row["restocked"],
        blurred_units=row["blurred"],
    )
