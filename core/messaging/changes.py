"""Changes that must reach several systems: one record each, and a leg for every system that has to follow.

Nothing is run from here. Whoever books a change writes it down in the same unit of work, after what listings should
show was set and while their rows are locked; pushes go by what differs, as ever; `core.messaging.chasing` looks later.
A leg is about levels, not about steps: it is confirmed when the channel has confirmed a number that was planned after
the change, whichever that is, since a newer number has the older changes in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from core.db import execute, fetch

OrderKind = Literal["order_booked", "order_cancelled", "order_refunded", "order_changed"]

DEADLINE = timedelta(minutes=5)
"""How long a channel that answers at once may take; a duration of the vendor's side, divided by its clock factor."""
LATE_DEADLINE = timedelta(minutes=30)
"""How long one may that applies later what it accepted."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What some causes did to what is available, as columns: for each a cause, a pool, and units more or fewer there.

    A booking has tens of thousands of them: they come from the database and go back to it as they are. `undone`: the
    cause takes nothing of the pool any more, as if it had never been.
    """

    sources: Sequence[int]
    sku_ids: Sequence[int]
    location_ids: Sequence[int]
    delta_units: Sequence[int]
    undone: Sequence[bool]

    def undone_pools(self) -> list[Pool]:
        """(cause, SKU, location) of those that are undone."""
        if not any(self.undone):
            return []
        rows = zip(self.sources, self.sku_ids, self.location_ids, self.undone, strict=True)
        return [(source, sku_id, location_id) for source, sku_id, location_id, is_undone in rows if is_undone]


Pool = tuple[int, int, int]
"""(cause, SKU, location)."""


def record_orders(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    kinds: Mapping[int, OrderKind],
    effects: Effects,
    now: datetime,
) -> None:
    """Write down what some (locked) orders of a connection changed that other systems must show.

    Their listings are locked and say already what they should show. `kinds`: what happened, by order. An order whose
    effect is undone ends the open legs of its older changes: nobody has to hear of them any more.
    """
    if not effects.sources:
        return
    undone = effects.undone_pools()
    older = _lock_older(conn, shop_id, "order_id", {source for source, _, _ in undone}) if undone else {}
    made = _insert(conn, shop_id, "order_id", kinds, effects, set(older), connection_id, now)
    if older:
        _compensate(conn, shop_id, undone, older, made, now)


def record_document(
    conn: Connection,
    shop_id: int,
    document_id: int,
    deltas: Mapping[tuple[int, int], int],
    now: datetime,
    undoes_id: int | None = None,
) -> None:
    """Write down what a document of the desk changed that channels must show; as `record_orders`.

    `deltas`: units by (SKU, location). `undoes_id`: the document it takes back, whose open legs end.
    """
    pools = sorted(pool for pool, delta in deltas.items() if delta)
    if not pools:
        return
    older = {} if undoes_id is None else _lock_older(conn, shop_id, "document_id", {undoes_id})
    effects = Effects(
        [document_id] * len(pools),
        [sku_id for sku_id, _ in pools],
        [location_id for _, location_id in pools],
        [deltas[pool] for pool in pools],
        [False] * len(pools),
    )
    forced = {document_id} if older else set[int]()
    made = _insert(conn, shop_id, "document_id", {document_id: "stock_document"}, effects, forced, None, now)
    if older and undoes_id is not None:
        undone = [(undoes_id, sku_id, location_id) for sku_id, location_id in pools]
        _compensate(conn, shop_id, undone, older, {undoes_id: made[document_id]}, now)


Source = Literal["order_id", "document_id"]
"""The column of what caused a change."""

# A listing that does not show what it should, or may yet show something else: what it changed by itself is unexplained,
# or a write is on its way.
_BEHIND = """
    l.publishing = 'on' and (listing_differs(l.desired_units - l.short_units, l.published_units) or l.unseen_units <> 0
        or exists(select from listing_writes w
            where w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null))
"""


def _insert(
    conn: Connection,
    shop_id: int,
    source: Source,
    kinds: Mapping[int, str],
    effects: Effects,
    forced: set[int],
    origin_id: int | None,
    now: datetime,
) -> dict[int, int]:
    """Insert changes and their legs; returns the change of each source that has one.

    A leg for every live connection of which a listing that takes from the pool is behind now. What an order was sold
    through follows by itself. Without a leg there is no change, but for those `forced`.
    """
    rows = fetch(
        conn,
        f"""
        with cause as materialized (
            select k.kind, e.source, e.sku_id, e.location_id, e.delta
            from unnest(%(sources)b::int8[], %(skus)b::int8[], %(places)b::int8[], %(deltas)b::int8[])
                as e (source, sku_id, location_id, delta)
            join unnest(%(named)b::int8[], %(kinds)b::text[]) as k (source, kind) on k.source = e.source
            where e.delta <> 0
        ), pool as materialized (
            select distinct sku_id, location_id from cause
        ), behind as materialized (
            select p.sku_id, p.location_id, l.connection_id, l.id as listing_id
            from pool p
            join listings l on l.shop_id = %(shop)s and l.sku_id = p.sku_id and l.location_id = p.location_id
            where {_BEHIND}
            union all
            select p.sku_id, p.location_id, l.connection_id, l.id
            from pool p
            join bundle_parts b on b.shop_id = %(shop)s and b.part_sku_id = p.sku_id
            join listings l on l.shop_id = %(shop)s and l.sku_id = b.bundle_sku_id and l.location_id = p.location_id
            where {_BEHIND}
        ), leg as materialized (
            select distinct c.source, b.connection_id, c.sku_id, c.location_id, c.delta
            from cause c join behind b on b.sku_id = c.sku_id and b.location_id = c.location_id
            where c.kind <> 'order_booked' or b.connection_id <> %(origin)s
                or not exists (select from order_lines i where i.shop_id = %(shop)s and i.order_id = c.source
                    and i.listing_id = b.listing_id)
        ), kept as (
            select g.*, %(now)s + case when n.guarantee_class = 'A' then %(deadline)s::interval
                    else %(late_deadline)s::interval end
                / coalesce((n.settings ->> 'clock_factor')::float8, 1) as deadline_at
            from leg g join connections n on n.shop_id = %(shop)s and n.id = g.connection_id
            where n.write_mode = 'live'
        ), made as (
            insert into changes (shop_id, kind, {source}, version_at, recorded_at, done_at)
            select %(shop)s, c.kind, c.source, {_VERSION[source]}, %(now)s, case when c.is_idle then %(now)s end
            from (
                select c.kind, c.source, k.source is null as is_idle
                from (select distinct kind, source from cause) c
                left join (select distinct source from kept) k on k.source = c.source
                where k.source is not null or c.source = any(%(forced)b::int8[])
            ) c order by c.source
            returning id, {source} as source
        ), newest as (
            select coalesce(max(id), 0) as id from listing_writes where shop_id = %(shop)s
        ), gone_out as (
            insert into change_legs (shop_id, change_id, connection_id, sku_id, location_id, delta_units,
                after_write_id, deadline_at)
            select %(shop)s, m.id, k.connection_id, k.sku_id, k.location_id, k.delta, newest.id, k.deadline_at
            from kept k join made m on m.source = k.source cross join newest
            order by 2, 3, 4, 5
        )
        select id, source from made
        """,
        shop=shop_id,
        now=now,
        origin=origin_id or 0,
        deadline=DEADLINE,
        late_deadline=LATE_DEADLINE,
        forced=sorted(forced),
        named=list(kinds),
        kinds=list(kinds.values()),
        sources=effects.sources,
        skus=effects.sku_ids,
        places=effects.location_ids,
        deltas=effects.delta_units,
    )
    return {row["source"]: row["id"] for row in rows}


_VERSION = {
    "order_id": "(select version_at from orders o where o.shop_id = %(shop)s and o.id = c.source)",
    "document_id": "null",
}


def _lock_older(conn: Connection, shop_id: int, source: Source, sources: set[int]) -> dict[int, list[int]]:
    """Changes of these sources that are not done, locked by id."""
    rows = fetch(
        conn,
        f"""
        select id, {source} as source from changes
        where shop_id = %(shop)s and {source} = any(%(sources)b::int8[]) and done_at is null
        order by id for no key update
        """,
        shop=shop_id,
        sources=sorted(sources),
    )
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row["source"], []).append(row["id"])
    return found


def _compensate(
    conn: Connection,
    shop_id: int,
    undone: Sequence[Pool],
    older: dict[int, list[int]],
    made: dict[int, int],
    now: datetime,
) -> None:
    """End the open legs of older (locked) changes whose effect on a pool was taken back; `made`: by which change."""
    pairs = [
        (change_id, sku_id, location_id, made[source])
        for source, sku_id, location_id in undone
        for change_id in older.get(source, ())
    ]
    execute(
        conn,
        """
        update change_legs g set state = 'compensated', reason = 'undone', detail = null, ended_at = %(now)s,
            compensated_by = n.by_id
        from unnest(%(changes)b::int8[], %(skus)b::int8[], %(places)b::int8[], %(by)b::int8[])
            as n (change_id, sku_id, location_id, by_id)
        where g.shop_id = %(shop)s and g.change_id = n.change_id and g.sku_id = n.sku_id
            and g.location_id = n.location_id and g.state in ('open', 'stuck')
        """,
        shop=shop_id,
        now=now,
        changes=[pair[0] for pair in pairs],
        skus=[pair[1] for pair in pairs],
        places=[pair[2] for pair in pairs],
        by=[pair[3] for pair in pairs],
    )
    close(conn, shop_id, {change_id for ids in older.values() for change_id in ids}, now)


def close(conn: Connection, shop_id: int, change_ids: set[int], now: datetime) -> int:
    """Say of (locked) changes that they are done where no leg is open any more; returns how many."""
    return execute(
        conn,
        """
        update changes c set done_at = greatest(%(now)s, c.recorded_at)
        where c.shop_id = %(shop)s and c.id = any(%(ids)b::int8[]) and c.done_at is null
            and not exists (select from change_legs g where g.shop_id = c.shop_id and g.change_id = c.id
                and g.state in ('open', 'stuck'))
        """,
        shop=shop_id,
        ids=sorted(change_ids),
        now=now,
    )
