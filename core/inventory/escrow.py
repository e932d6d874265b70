"""Sharing pools in Postgres: finds what hangs together, has the planner plan it, writes what listings should show.

What decides is read under locks, levels first and then listings by id, as everywhere. Bookings only note what they
would like listings to show, from what they hold locked; before a write is recorded the group is locked and planned anew
(`core.inventory.publishing.plan`), and the database refuses a raise that is not covered (`raises_are_covered`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.clock import utc_now
from core.db import execute, fetch, fetch_one
from core.inventory.locks import hold_compositions
from core.inventory.planner import (
    LINE_UNITS_MIN,
    Group,
    Pace,
    Pool,
    Seat,
    Target,
    is_scarce,
    plan_escrow,
    switch_line,
    unseen_units,
)
from core.inventory.rules import ListingRule, bundle_available, offer, short

PoolKey = tuple[int, int]
"""(SKU with stock of its own, location)."""

ALWAYS = 2**31 - 1
"""The line of a pool that is in escrow whatever there is."""

ANSWER_SECONDS = 30.0
"""How long while all channels answer: what is held back of plenty."""
EDIT_WAITS = timedelta(minutes=5)
"""How long others need not give up units for a number that somebody typed: it may yet turn out to be a restock."""
SILENT_SECONDS = 3600.0
"""How long such a silence may last: what is more than could be sold meanwhile stays shared."""
SILENT_AFTER = timedelta(minutes=3)
"""A channel whose orders were not read completely for so long, three polls, is not heard from."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One group as it was planned. `targets` only of the listings that we write."""

    pools: Mapping[PoolKey, RowMapping]
    is_escrow: bool
    targets: Mapping[int, Target]


def shared_pools(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> set[PoolKey]:
    """Pools of these SKUs, or of what bundles among them are made of, that are not simply shown to every channel."""
    rows = fetch(
        conn,
        """
        select k.sku_id, k.location_id from stock_levels k
        where k.shop_id = %(shop)s and k.sku_id = any(array(
            select unnest(%(skus)b::int8[]) union
            select part_sku_id from bundle_parts where shop_id = %(shop)s and bundle_sku_id = any(%(skus)b::int8[])))
            and (k.is_escrow or k.escrow_line_units is not null or exists(
                select from pool_takers t join listings l on l.shop_id = t.shop_id and l.id = t.listing_id
                where t.shop_id = k.shop_id and t.sku_id = k.sku_id and t.location_id = k.location_id
                    and l.mode <> 'pooled' and l.publishing = 'on'))
        """,
        shop=shop_id,
        skus=sorted(set(sku_ids)),
    )
    return {(row["sku_id"], row["location_id"]) for row in rows}


def closure(conn: Connection, shop_id: int, pools: Iterable[PoolKey]) -> set[PoolKey]:
    """These pools and all that hang together with them by bundles that are listed there."""
    ordered = sorted(set(pools))
    rows = fetch(
        conn,
        """
        with recursive member (sku_id, location_id) as (
            select * from unnest(%(skus)b::int8[], %(places)b::int8[])
            union
            select p.part_sku_id, m.location_id from member m
            join bundle_parts b on b.shop_id = %(shop)s and b.part_sku_id = m.sku_id
            join bundle_parts p on p.shop_id = b.shop_id and p.bundle_sku_id = b.bundle_sku_id
            where exists (select from listings l where l.shop_id = b.shop_id and l.sku_id = b.bundle_sku_id
                and l.location_id = m.location_id)
        )
        select sku_id, location_id from member
        """,
        shop=shop_id,
        skus=[sku for sku, _ in ordered],
        places=[place for _, place in ordered],
    )
    return {(row["sku_id"], row["location_id"]) for row in rows}


def lock(conn: Connection, shop_id: int, pools: Iterable[PoolKey]) -> set[PoolKey]:
    """Lock everything that hangs together with some pools: levels, then listings by id; returns the pools.

    What bundles are made of is held first. A pool that joins meanwhile cannot: compositions stay as they are.
    """
    hold_compositions(conn, shop_id)
    whole = closure(conn, shop_id, pools)
    ordered = sorted(whole)
    params = {"shop": shop_id, "skus": [sku for sku, _ in ordered], "places": [place for _, place in ordered]}
    fetch(
        conn,
        """
        select 1 from stock_levels k
        join unnest(%(skus)b::int8[], %(places)b::int8[]) as p (s, l) on k.sku_id = p.s and k.location_id = p.l
        where k.shop_id = %(shop)s order by k.sku_id, k.location_id for update of k
        """,
        **params,
    )
    fetch(
        conn,
        f"""
        select 1 from listings l where l.shop_id = %(shop)s and l.id = any(array({_TAKERS}))
        order by l.id for no key update
        """,
        **params,
    )
    return whole


# Listings that take from some pools: their own, and those of bundles.
_TAKERS = """
    select l.id from unnest(%(skus)b::int8[], %(places)b::int8[]) as p (s, place)
    join listings l on l.shop_id = %(shop)s and l.sku_id = p.s and l.location_id = p.place
    union
    select l.id from unnest(%(skus)b::int8[], %(places)b::int8[]) as p (s, place)
    join bundle_parts b on b.shop_id = %(shop)s and b.part_sku_id = p.s
    join listings l on l.shop_id = b.shop_id and l.sku_id = b.bundle_sku_id and l.location_id = p.place
"""


def exposed_units(conn: Connection, shop_id: int, pools: Collection[PoolKey]) -> dict[PoolKey, int]:
    """The most that channels may still sell of some pools unbooked, in units of the pool.

    Read after their levels were locked: nobody raises a number there meanwhile.
    """
    ordered = sorted(pools)
    rows = fetch(
        conn,
        """
        select sku_id, place as location_id, pool_exposed_units(%(shop)s, sku_id, place) as units
        from unnest(%(skus)b::int8[], %(places)b::int8[]) as p (sku_id, place)
        """,
        shop=shop_id,
        skus=[sku for sku, _ in ordered],
        places=[place for _, place in ordered],
    )
    return {(row["sku_id"], row["location_id"]): row["units"] for row in rows}


def note_wishes(
    conn: Connection,
    shop_id: int,
    sku_ids: Iterable[int],
    writable_skus: Collection[int],
    now: datetime | None = None,
) -> None:
    """Have the groups of these SKUs planned that are not simply pooled.

    It is noted on the (locked) listings of `writable_skus`. For bookings, which hold nothing but what they book: the
    rest of a group is read as it is committed. What comes of it rings the right bells; whoever writes plans again under
    locks.
    """
    pools = shared_pools(conn, shop_id, sku_ids)
    if pools:
        _plan_and_note(conn, shop_id, closure(conn, shop_id, pools), writable_skus, utc_now() if now is None else now)


def replan(conn: Connection, shop_id: int, pools: Iterable[PoolKey], now: datetime) -> list[Planned]:
    """Lock and plan the groups of some pools: note what their listings should show, and whether they are in escrow."""
    planned = _plan_and_note(conn, shop_id, lock(conn, shop_id, pools), None, now)
    changed = [
        (pool, group.is_escrow)
        for group in planned
        for pool, row in group.pools.items()
        if row["is_escrow"] != group.is_escrow
    ]
    execute(
        conn,
        """
        update stock_levels k set is_escrow = n.is_escrow, escrow_since = %(now)s
        from unnest(%(skus)b::int8[], %(places)b::int8[], %(states)b::bool[]) as n (sku_id, location_id, is_escrow)
        where k.shop_id = %(shop)s and k.sku_id = n.sku_id and k.location_id = n.location_id
        """,
        shop=shop_id,
        now=now,
        skus=[sku for (sku, _), _ in changed],
        places=[place for (_, place), _ in changed],
        states=[state for _, state in changed],
    )
    return planned


def follow_up(conn: Connection, shop_id: int, write_ids: Collection[int], now: datetime) -> bool:
    """Plan again what hangs together with some settled writes, where it is scarce; whether anything was.

    What one channel gave up, another gets now. In a unit of work of its own, after the one that settled them.
    """
    rows = fetch(
        conn,
        """
        select distinct l.sku_id from listing_writes w join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.id = any(%(ids)b::int8[]) and l.sku_id is not null
        """,
        shop=shop_id,
        ids=sorted(write_ids),
    )
    pools = shared_pools(conn, shop_id, [row["sku_id"] for row in rows])
    if pools:
        replan(conn, shop_id, pools, now)
    return bool(pools)


def _plan_and_note(
    conn: Connection, shop_id: int, pools: Collection[PoolKey], writable_skus: Collection[int] | None, now: datetime
) -> list[Planned]:
    levels = _levels(conn, shop_id, pools)
    rows = _seats(conn, shop_id, pools, now)
    planned = []
    notes: list[tuple[int, int, int]] = []
    for group_pools, group_rows in _apart(levels, rows):
        found = as_if_live = _plan(group_pools, group_rows)
        if any(row["is_in_shadow"] for row in group_rows):
            # What going live would come to: nobody else gives up units for it.
            as_if_live = _plan(group_pools, group_rows, as_if_live=True)
        planned.append(found)
        for row in group_rows:
            if row["publishing"] == "on" and (writable_skus is None or row["sku_id"] in writable_skus):
                notes.append(_note(row, as_if_live if row["is_in_shadow"] else found, group_pools))
    _write_notes(conn, shop_id, notes)
    return planned


def _note(row: RowMapping, planned: Planned, pools: Mapping[PoolKey, RowMapping]) -> tuple[int, int, int]:
    """(listing, desired, short): what the planner says it should show, or of the whole pool where that says nothing.

    A target is what to show now, what it did by itself included; `desired_units` is what that comes to once it is
    booked.
    """
    if row["id"] in planned.targets:
        return row["id"], planned.targets[row["id"]].units - row["unseen_units"], 0
    available = _available_of(row, pools)
    return row["id"], offer(available, _rule(row)), short(available)


def _write_notes(conn: Connection, shop_id: int, notes: Sequence[tuple[int, int, int]]) -> None:
    ordered = sorted(notes)
    execute(
        conn,
        """
        update listings l set desired_units = n.desired, short_units = n.short
        from unnest(%(ids)b::int8[], %(desired)b::int4[], %(shorts)b::int4[]) as n (id, desired, short)
        where l.shop_id = %(shop)s and l.id = n.id
            and (l.desired_units, l.short_units) is distinct from (n.desired, n.short)
        """,
        shop=shop_id,
        ids=[listing_id for listing_id, _, _ in ordered],
        desired=[desired for _, desired, _ in ordered],
        shorts=[units for _, _, units in ordered],
    )


# --- from rows to a group ---------------------------------------------------------------------------------------------


def _levels(conn: Connection, shop_id: int, pools: Collection[PoolKey]) -> dict[PoolKey, RowMapping]:
    ordered = sorted(pools)
    rows = fetch(
        conn,
        """
        select k.sku_id, k.location_id, k.available, k.is_escrow, k.escrow_line_units
        from stock_levels k
        join unnest(%(skus)b::int8[], %(places)b::int8[]) as p (s, l) on k.sku_id = p.s and k.location_id = p.l
        where k.shop_id = %(shop)s
        """,
        shop=shop_id,
        skus=[sku for sku, _ in ordered],
        places=[place for _, place in ordered],
    )
    return {(row["sku_id"], row["location_id"]): row for row in rows}


def _seats(conn: Connection, shop_id: int, pools: Collection[PoolKey], now: datetime) -> Sequence[RowMapping]:
    ordered = sorted(pools)
    return fetch(
        conn,
        f"""
        with c as materialized (
            -- Whether it may be written to is asked once for each connection, not for each listing.
            select *, may_write(shop_id, id) as may_write, write_mode = 'shadow' as is_in_shadow
            from connections where shop_id = %(shop)s
        )
        select l.id, l.sku_id, l.location_id, l.publishing, l.published_units, l.exposed_units,
            case when l.edited_units > 0 and exists(
                select from exposure_changes x where x.shop_id = l.shop_id and x.listing_id = l.id and x.cause = 'edit'
                    and x.changed_at > %(edited)s) then l.edited_units else 0 end as edited_units,
            l.unseen_units, l.safety_stock_units, l.share_percent, l.buffer_units, l.floor_units, l.cap_units,
            l.priority, l.is_offered, l.mode, l.switch_units, l.sales_per_hour, c.guarantee_class,
            c.reads_orders and c.watermark_at is not null as is_watched, c.may_write,
            c.is_in_shadow,
            c.doubt_seconds, place.kind = 'own' as is_pooled_place,
            coalesce(c.guarantee_class = 'A' and c.state = 'active' and c.watermark_at is not null
                and c.orders_polled_at < %(heard)s, false) as is_silent,
            w.id is not null as has_open, w.from_units as open_from, w.to_units as open_to,
            (select array_agg(array[p.part_sku_id, p.units::int8] order by p.part_sku_id) from bundle_parts p
                where p.shop_id = l.shop_id and p.bundle_sku_id = l.sku_id) as parts
        from listings l
        join c on c.id = l.connection_id
        join locations place on place.shop_id = l.shop_id and place.id = l.location_id
        left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
        where l.shop_id = %(shop)s and l.id = any(array({_TAKERS}))
        order by l.id
        """,
        shop=shop_id,
        heard=now - SILENT_AFTER,
        edited=now - EDIT_WAITS,
        skus=[sku for sku, _ in ordered],
        places=[place for _, place in ordered],
    )


def _takes(row: RowMapping) -> tuple[tuple[PoolKey, int], ...]:
    parts = row["parts"] or [(row["sku_id"], 1)]
    return tuple(((int(sku), row["location_id"]), int(units)) for sku, units in parts)


def _apart(
    levels: Mapping[PoolKey, RowMapping], rows: Sequence[RowMapping]
) -> list[tuple[dict[PoolKey, RowMapping], list[RowMapping]]]:
    """Split what was read into groups that share no pool."""
    parent: dict[PoolKey, PoolKey] = {pool: pool for pool in levels}

    def root(pool: PoolKey) -> PoolKey:
        while parent.setdefault(pool, pool) != pool:
            parent[pool] = pool = parent[parent[pool]]
        return pool

    for row in rows:
        first, *others = (pool for pool, _ in _takes(row))
        for other in others:
            parent[root(other)] = root(first)
    pools: dict[PoolKey, dict[PoolKey, RowMapping]] = {}
    members: dict[PoolKey, list[RowMapping]] = {}
    for pool, level in levels.items():
        pools.setdefault(root(pool), {})[pool] = level
    for row in rows:
        members.setdefault(root(_takes(row)[0][0]), []).append(row)
    return [(pools.get(key, {}), members.get(key, [])) for key in sorted(pools.keys() | members.keys())]


def _rule(row: RowMapping) -> ListingRule:
    return ListingRule(
        safety_stock_units=row["safety_stock_units"],
        share_percent=row["share_percent"],
        buffer_units=row["buffer_units"],
        floor_units=row["floor_units"],
        cap_units=row["cap_units"],
        priority=row["priority"],
        is_offered=row["is_offered"],
        mode=row["mode"],
        switch_units=row["switch_units"],
    )


def _available_of(row: RowMapping, pools: Mapping[PoolKey, RowMapping]) -> int:
    """What is available to a listing: of its SKU, or of the bundle it is. A pool without a level has nothing."""
    return bundle_available([(pools[pool]["available"] if pool in pools else 0, units) for pool, units in _takes(row)])


def _plan(pools: Mapping[PoolKey, RowMapping], rows: Sequence[RowMapping], *, as_if_live: bool = False) -> Planned:
    lines = [_line(pool, level, rows) for pool, level in pools.items()]
    in_escrow = any(
        line is not None and is_scarce(level["available"], line, was_scarce=level["is_escrow"])
        for line, level in zip(lines, pools.values(), strict=True)
    )
    if all(line is None for line in lines):
        return Planned(pools, False, {})
    # Not heard of for a while: what a channel sells is not seen then, and little is deep.
    if any(row["is_silent"] for row in rows):
        paces = [Pace(row["sales_per_hour"] or 0.0, SILENT_SECONDS) for row in rows if row["guarantee_class"] == "A"]
        in_escrow = in_escrow or any(level["available"] <= switch_line(None, paces) for level in pools.values())
    # What a channel sells whose orders are not read is never seen. While there is plenty it shows the pool; what it
    # could do to the others is a risk that is shown as such.
    seated = [row for row in rows if in_escrow or row["guarantee_class"] == "A" or row["is_watched"]]
    available: dict[Pool, int] = {
        pool: pools[pool]["available"] if pool in pools else 0 for row in rows for pool, _ in _takes(row)
    }
    # A rule that says escrow is meant to the letter; what has only become scarce may take its time.
    group = Group(
        available,
        [_seat(row, pools, is_deep=not in_escrow, as_if_live=as_if_live) for row in seated],
        is_lenient=ALWAYS not in lines,
        is_deep=not in_escrow,
    )
    return Planned(pools, in_escrow, plan_escrow(group))


def _line(pool: PoolKey, level: RowMapping, rows: Sequence[RowMapping]) -> int | None:
    """The line of a pool; where none is drawn yet, the most cautious that its listings' rules allow."""
    if level["escrow_line_units"] is not None:
        return level["escrow_line_units"]
    takers = [row for row in rows if row["publishing"] == "on" and pool in {taken for taken, _ in _takes(row)}]
    modes = {row["mode"] for row in takers if row["is_pooled_place"]}
    if "escrow" in modes:
        return ALWAYS
    return max([LINE_UNITS_MIN, *(row["switch_units"] or 0 for row in takers)]) if "adaptive" in modes else None


def _seat(row: RowMapping, pools: Mapping[PoolKey, RowMapping], *, is_deep: bool, as_if_live: bool) -> Seat:
    rate = max(row["sales_per_hour"] or 0.0, 0.01)
    pace = Pace(rate, row["doubt_seconds"] or ANSWER_SECONDS)
    return Seat(
        listing_id=row["id"],
        guarantee_class=row["guarantee_class"],
        takes=_takes(row),
        shown_units=row["published_units"],
        exposed_units=row["exposed_units"],
        most_units=offer(_available_of(row, pools), _rule(row)) if row["publishing"] == "on" else 0,
        rate=rate,
        priority=row["priority"],
        giving_back_units=_giving_back(row),
        edited_units=row["edited_units"],
        unseen_units=unseen_units(pace) if is_deep and row["publishing"] == "on" else 0,
        is_watched=row["is_watched"],
        is_writable=row["publishing"] == "on" and not row["has_open"],
        is_held=not (row["may_write"] or (as_if_live and row["is_in_shadow"])),
    )


def _giving_back(row: RowMapping) -> int:
    """What the open write takes off the channel once it is confirmed."""
    if not row["has_open"]:
        return 0
    before = row["open_from"] if row["open_from"] is not None else max(0, row["published_units"] or 0)
    return max(0, before - row["open_to"])


def pools_in_escrow(conn: Connection, shop_id: int, after: PoolKey, limit: int) -> list[PoolKey]:
    """Pools that are in escrow or should be, or are and should not, in their order, by page."""
    rows = fetch(
        conn,
        """
        select k.sku_id, k.location_id from stock_levels k
        where k.shop_id = %(shop)s and (k.is_escrow or is_scarce(k.available, k.escrow_line_units, false))
            and (k.sku_id, k.location_id) > (%(sku)s, %(place)s)
        order by 1, 2 limit %(limit)s
        """,
        shop=shop_id,
        sku=after[0],
        place=after[1],
        limit=limit,
    )
    return [(row["sku_id"], row["location_id"]) for row in rows]


def any_pool(conn: Connection, shop_id: int) -> PoolKey:
    """A pool of the shop to begin a round with, another each time; (0, 0) where there is none."""
    row = fetch_one(
        conn,
        """
        select k.sku_id, k.location_id from stock_levels k
        where k.shop_id = %(shop)s and k.sku_id >= (
            select floor(random() * max(sku_id)) from stock_levels where shop_id = %(shop)s)
        order by 1, 2 limit 1
        """,
        shop=shop_id,
    )
    return (0, 0) if row is None else (row["sku_id"], row["location_id"])
