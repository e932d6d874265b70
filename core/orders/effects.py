"""Writes: shipments and refunds of known orders, and what their lines do to stock."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch
from core.inventory import operations as inventory
from core.inventory.operations import Movement
from core.inventory.rules import LineFacts, LineStock, line_stock
from core.orders.operations import Channel
from core.orders.rules import Shown, follow
from core.ports import ChannelFulfilment, ChannelRefund

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
    """Record shipments of (order id, fulfilment) whose lines are all known; a newer status replaces an older one."""
    ordered = sorted(fulfilments, key=lambda pair: (pair[0], pair[1].ref))
    new = fetch(
        conn,
        """
        insert into fulfilments (shop_id, order_id, channel_ref, status, is_shipped, fulfilled_at, version_at,
            tracking_company, tracking_numbers)
        select %(shop)s, order_id, ref, status, shipped, at, version_at, company, string_to_array(numbers, E'\\n')
        from unnest(%(orders)b::int8[], %(refs)b::text[], %(statuses)b::text[], %(shipped)b::bool[],
            %(ats)b::timestamptz[], %(versions)b::timestamptz[], %(companies)b::text[], %(numbers)b::text[])
            as n (order_id, ref, status, shipped, at, version_at, company, numbers)
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
        versions=[item.version_at for _, item in ordered],
        companies=[item.tracking_company for _, item in ordered],
        numbers=["\n".join(item.tracking_numbers) for _, item in ordered],
    )
    ids = {(row["order_id"], row["channel_ref"]): row["id"] for row in new if row["is_new"]}
    units: Counter[tuple[int, int]] = Counter()
    for order_id, item in ordered:
        if (order_id, item.ref) in ids:
            for line_ref, shipped in item.lines:
                units[ids[order_id, item.ref], lines[order_id, line_ref]] += shipped
    rows = sorted((key, shipped) for key, shipped in units.items() if shipped > 0)
    execute(
        conn,
        """
        insert into fulfilment_lines (shop_id, fulfilment_id, order_line_id, units)
        select %(shop)s, n.* from unnest(%(fulfilments)b::int8[], %(lines)b::int8[], %(units)b::int8[]) as n
        on conflict do nothing
        """,
        shop=shop_id,
        fulfilments=[fulfilment for (fulfilment, _), _ in rows],
        lines=[line for (_, line), _ in rows],
        units=[shipped for _, shipped in rows],
    )


def book_refunds(
    conn: Connection, shop_id: int, refunds: Sequence[tuple[int, ChannelRefund]], lines: LineIds
) -> set[tuple[int, str]]:
    """Record refunds of (order id, refund) whose lines are all known, each once; returns those that were new."""
    ordered = sorted(refunds, key=lambda pair: (pair[0], pair[1].ref))
    new = fetch(
        conn,
        """
        insert into refunds (shop_id, order_id, channel_ref, refunded_at, channel_created_at, amount_minor, currency)
        select %(shop)s, n.* from unnest(%(orders)b::int8[], %(refs)b::text[], %(ats)b::timestamptz[],
            %(created)b::timestamptz[], %(amounts)b::int8[], %(currencies)b::text[]) as n
        on conflict (shop_id, order_id, channel_ref) do nothing returning id, order_id, channel_ref
        """,
        shop=shop_id,
        orders=[order_id for order_id, _ in ordered],
        refs=[item.ref for _, item in ordered],
        ats=[item.refunded_at for _, item in ordered],
        created=[item.created_at for _, item in ordered],
        amounts=[item.amount_minor for _, item in ordered],
        currencies=[item.currency for _, item in ordered],
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
        insert into refund_lines (shop_id, refund_id, ordinal, order_line_id, units, restock, subtotal_minor)
        select %(shop)s, n.* from unnest(%(refunds)b::int8[], %(ordinals)b::int4[], %(lines)b::int8[],
            %(units)b::int8[], %(restocks)b::text[], %(subtotals)b::int8[]) as n
        on conflict do nothing
        """,
        shop=shop_id,
        refunds=[refund for refund, _, _, _ in rows],
        ordinals=[ordinal for _, ordinal, _, _ in rows],
        lines=[line_id for _, _, line_id, _ in rows],
        units=[line.units for _, _, _, line in rows],
        restocks=[line.restock for _, _, _, line in rows],
        subtotals=[line.subtotal_minor for _, _, _, line in rows],
    )
    return set(ids)


@dataclass(frozen=True, slots=True)
class _Change:
    """A line whose booked stock differs from what its facts ask for."""

    row: RowMapping
    target: LineStock

    @property
    def revision(self) -> int:
        return (self.row["revision"] or 0) + 1

    def movements(self, at: datetime) -> list[Movement]:
        row, target = self.row, self.target
        deltas = {
            "receipt": target.opening - (row["opening_units"] or 0),
            "shipment": (row["consumed_units"] or 0) - target.consumed,
            "customer_return": target.returned - (row["returned_units"] or 0),
            "write_off": (row["written_off_units"] or 0) - target.written_off,
        }
        return [
            Movement(
                sku_id=row["sku_id"],
                location_id=row["location_id"],
                delta_units=delta,
                reason=reason,
                business_key=f"line:{row['id']}:{self.revision}:{reason}",
                occurred_at=at,
                order_line_id=row["id"],
            )
            for reason, delta in deltas.items()
            if delta
        ]


def settle_stock(conn: Connection, channel: Channel, order_ids: Iterable[int], now: datetime) -> set[int]:
    """Bring stock in line with the facts of these (locked) orders; returns the SKUs that changed.

    For each stocked line the target is a pure function of sums, and the difference to what is booked becomes
    reservations and movements: one path for every event, whatever their number and order.
    """
    changes = []
    for row in _facts(conn, channel, order_ids):
        target = line_stock(_facts_of(row))
        booked = None if row["revision"] is None else _booked(row)
        if booked != target or row["reserved_units"] != row["units"]:
            changes.append(_Change(row, target))
    if not changes:
        return set()
    inventory.lock_levels(conn, channel.shop_id, ((c.row["sku_id"], c.row["location_id"]) for c in changes))
    _write_reservations(conn, channel.shop_id, changes, now)
    movements = [movement for change in changes for movement in change.movements(now)]
    inventory.move(conn, channel.shop_id, movements, "intake", now)
    held: defaultdict[tuple[int, int], int] = defaultdict(int)
    for change in changes:
        held[change.row["sku_id"], change.row["location_id"]] += change.target.held - (change.row["held_units"] or 0)
    inventory.reserve_delta(conn, channel.shop_id, held)
    return {change.row["sku_id"] for change in changes}


def _facts(conn: Connection, channel: Channel, order_ids: Iterable[int]) -> Sequence[RowMapping]:
    """Stocked lines of the orders with their facts summed and what is booked of them."""
    return fetch(
        conn,
        """
        with line as (
            select l.id, l.order_id, l.units, l.sku_id, l.listing_id, o.cancelled_at, o.channel_created_at
            from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where l.shop_id = %(shop)s and l.order_id = any(%(ids)b::int8[]) and l.mapping = 'stocked'
        ), shipped as (
            select fl.order_line_id, sum(fl.units) as units
            from line join fulfilment_lines fl on fl.shop_id = %(shop)s and fl.order_line_id = line.id
            join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
            group by 1
        ), refunded as (
            select rl.order_line_id,
                sum(rl.units) filter (where rl.restock = 'cancel') as cancel,
                sum(rl.units) filter (where rl.restock = 'return') as came_back,
                sum(rl.units) filter (where rl.restock = 'legacy_restock') as legacy,
                sum(rl.units) filter (where rl.restock = 'no_restock') as no_restock,
                sum(rl.units) filter (where rl.restock <> 'no_restock' and f.channel_created_at < p.baseline_at)
                    as before_baseline
            from line join refund_lines rl on rl.shop_id = %(shop)s and rl.order_line_id = line.id
            join refunds f on f.shop_id = rl.shop_id and f.id = rl.refund_id
            left join listings p on p.shop_id = rl.shop_id and p.id = line.listing_id
            group by 1
        )
        select line.id, line.units, line.sku_id, line.listing_id, line.cancelled_at is not null as is_cancelled,
            coalesce(line.cancelled_at < p.baseline_at, false) as is_cancelled_before_baseline,
            coalesce(r.location_id, p.location_id, %(location)s) as location_id,
            coalesce(line.channel_created_at < p.baseline_at, false) as is_before_baseline,
            coalesce(s.units, 0)::int8 as shipped, coalesce(f.cancel, 0)::int8 as cancel,
            coalesce(f.came_back, 0)::int8 as came_back, coalesce(f.legacy, 0)::int8 as legacy,
            coalesce(f.no_restock, 0)::int8 as no_restock, coalesce(f.before_baseline, 0)::int8 as before_baseline,
            r.units as reserved_units, r.held_units, r.consumed_units, r.returned_units, r.written_off_units,
            r.opening_units, r.revision
        from line
        left join reservations r on r.shop_id = %(shop)s and r.order_line_id = line.id
        left join listings p on p.shop_id = %(shop)s and p.id = line.listing_id
        left join shipped s on s.order_line_id = line.id
        left join refunded f on f.order_line_id = line.id
        order by line.id
        """,
        shop=channel.shop_id,
        location=channel.location_id,
        ids=sorted(set(order_ids)),
    )


def _facts_of(row: RowMapping) -> LineFacts:
    return LineFacts(
        ordered=row["units"],
        shipped=row["shipped"],
        refunded_cancel=row["cancel"],
        refunded_return=row["came_back"],
        refunded_legacy=row["legacy"],
        refunded_no_restock=row["no_restock"],
        is_cancelled=row["is_cancelled"],
        is_before_baseline=row["is_before_baseline"],
        is_cancelled_before_baseline=row["is_cancelled_before_baseline"],
        restocked_before_baseline=row["before_baseline"],
    )


def _booked(row: RowMapping) -> LineStock:
    return LineStock(
        held=row["held_units"],
        consumed=row["consumed_units"],
        returned=row["returned_units"],
        written_off=row["written_off_units"],
        opening=row["opening_units"],
    )


def _write_reservations(conn: Connection, shop_id: int, changes: Sequence[_Change], now: datetime) -> None:
    ordered = sorted(changes, key=lambda change: change.row["id"])
    execute(
        conn,
        """
        insert into reservations (shop_id, sku_id, location_id, order_line_id, units, held_units, consumed_units,
            returned_units, written_off_units, opening_units, revision, created_at)
        select %(shop)s, n.*, %(now)s from unnest(%(skus)b::int8[], %(places)b::int8[], %(lines)b::int8[],
            %(units)b::int8[], %(held)b::int8[], %(consumed)b::int8[], %(returned)b::int8[],
            %(lost)b::int8[], %(opening)b::int8[], %(revisions)b::int4[]) as n
        on conflict (shop_id, order_line_id) do update set units = excluded.units, held_units = excluded.held_units,
            consumed_units = excluded.consumed_units, returned_units = excluded.returned_units,
            written_off_units = excluded.written_off_units, opening_units = excluded.opening_units,
            revision = excluded.revision
        """,
        shop=shop_id,
        now=now,
        skus=[change.row["sku_id"] for change in ordered],
        places=[change.row["location_id"] for change in ordered],
        lines=[change.row["id"] for change in ordered],
        units=[change.row["units"] for change in ordered],
        held=[change.target.held for change in ordered],
        consumed=[change.target.consumed for change in ordered],
        returned=[change.target.returned for change in ordered],
        lost=[change.target.written_off for change in ordered],
        opening=[change.target.opening for change in ordered],
        revisions=[change.revision for change in ordered],
    )


def follow_channel(
    conn: Connection,
    channel: Channel,
    sold: Mapping[int, datetime],
    refunded: Mapping[tuple[int, str], datetime],
) -> None:
    """Let our knowledge of what listings show follow what the channel itself just did.

    `sold` maps newly booked orders to when the channel took their units off; `refunded` maps newly booked refunds
    (order id, ref) to when it put units back. What happened before our knowledge of a listing (`published_at`) is
    already in it and explains what we saw the channel do by itself (`unseen_units`). Without this, every sale would
    look like a difference to push.
    """
    rows = fetch(
        conn,
        """
        select l.listing_id, -l.units as delta, o.at
        from unnest(%(orders)b::int8[], %(ats)b::timestamptz[]) as o (id, at)
        join order_lines l on l.shop_id = %(shop)s and l.order_id = o.id
        where l.mapping = 'stocked' and l.listing_id is not null
        union all
        select l.listing_id, rl.units, n.at
        from unnest(%(refund_orders)b::int8[], %(refund_refs)b::text[], %(refund_ats)b::timestamptz[])
            as n (order_id, ref, at)
        join refunds f on f.shop_id = %(shop)s and f.order_id = n.order_id and f.channel_ref = n.ref
        join refund_lines rl on rl.shop_id = f.shop_id and rl.refund_id = f.id and rl.restock <> 'no_restock'
        join order_lines l on l.shop_id = rl.shop_id and l.id = rl.order_line_id
        where l.mapping = 'stocked' and l.listing_id is not null
        """,
        shop=channel.shop_id,
        orders=list(sold),
        ats=list(sold.values()),
        refund_orders=[order_id for order_id, _ in refunded],
        refund_refs=[ref for _, ref in refunded],
        refund_ats=list(refunded.values()),
    )
    if not rows:
        return
    known = _lock_shown(conn, channel.shop_id, {row["listing_id"] for row in rows})
    after = dict(known)
    for listing_id, at, delta in sorted((row["listing_id"], row["at"], row["delta"]) for row in rows):
        if listing_id in after:
            after[listing_id] = follow(after[listing_id], delta, at)
    latest: dict[int, datetime] = {}
    for row in rows:
        latest[row["listing_id"]] = max(row["at"], latest.get(row["listing_id"], row["at"]))
    changed = sorted(after)
    execute(
        conn,
        """
        update listings l set published_units = n.published, unseen_units = n.unseen,
            followed_at = greatest(l.followed_at, n.at)
        from unnest(%(ids)b::int8[], %(published)b::int4[], %(unseen)b::int4[], %(ats)b::timestamptz[])
            as n (id, published, unseen, at)
        where l.shop_id = %(shop)s and l.id = n.id
        """,
        shop=channel.shop_id,
        ids=changed,
        published=[after[listing_id].published_units for listing_id in changed],
        unseen=[after[listing_id].unseen_units for listing_id in changed],
        ats=[latest[listing_id] for listing_id in changed],
    )


def _lock_shown(conn: Connection, shop_id: int, listing_ids: Iterable[int]) -> dict[int, Shown]:
    """What these listings show, locked by id; those of which nothing is known are left out."""
    rows = fetch(
        conn,
        """
        select id, published_units, published_at, unseen_units from listings
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and published_units is not null
        order by id for update
        """,
        shop=shop_id,
        ids=sorted(listing_ids),
    )
    return {row["id"]: Shown(row["published_units"], row["published_at"], row["unseen_units"]) for row in rows}
