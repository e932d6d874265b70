"""Writes to stock: levels, movements, desired quantities; receive, adjust, take back.

Rows are locked in one order everywhere: orders, then levels by SKU and location, then listings by id. Each operation
works on sets and is idempotent by business key: what was booked before changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.catalog.operations import lock_listings
from core.db import execute, fetch, scalar
from core.errors import BadInput
from core.inventory import escrow
from core.inventory.locks import hold_compositions
from core.inventory.queries import bundles_of


class UnknownSku(BadInput):
    """A code that names none of our SKUs."""

    def __init__(self, codes: Sequence[str]) -> None:
        shown = ", ".join(codes[:5]) + (f" and {len(codes) - 5} more" if len(codes) > 5 else "")
        super().__init__(f"no SKU has the code {shown}: codes are compared exactly, upper and lower case differ")


class BundleHasNoStock(BadInput):
    """Goods were to be booked under a bundle, where nobody would ever sell them."""

    def __init__(self, codes: Sequence[str]) -> None:
        shown = ", ".join(codes[:5]) + (f" and {len(codes) - 5} more" if len(codes) > 5 else "")
        super().__init__(f"{shown}: a bundle has no stock of its own, book what it is made of instead")


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of `on_hand`, or of what is kept apart of it; `business_key` names the fact: it is booked once."""

    sku_id: int
    location_id: int
    delta_units: int
    reason: str
    business_key: str
    occurred_at: datetime
    order_line_id: int | None = None
    note: str | None = None
    unavailable_delta_units: int = 0


def open_location(conn: Connection, shop_id: int, name: str, now: datetime) -> int:
    """The location of that name, made when it is not there yet; returns its id."""
    execute(
        conn,
        """
        insert into locations (shop_id, name, created_at) values (%(shop)s, %(name)s, %(now)s)
        on conflict (shop_id, name) do nothing
        """,
        shop=shop_id,
        name=name,
        now=now,
    )
    return scalar(
        conn, "select id from locations where shop_id = %(shop)s and name = %(name)s", shop=shop_id, name=name
    )


def lock_levels(conn: Connection, shop_id: int, pairs: Iterable[tuple[int, int]]) -> None:
    """Make and lock the levels of (sku_id, location_id) pairs, in the one global order.

    A level made here is a placeholder: what moves or is held there, or `settle_numbers`, makes its number ours.
    """
    ordered = sorted(set(pairs))
    hold_compositions(conn, shop_id)
    params = {"shop": shop_id, "skus": [sku for sku, _ in ordered], "locations": [place for _, place in ordered]}
    execute(
        conn,
        """
        insert into stock_levels (shop_id, sku_id, location_id, is_placeholder)
        select %(shop)s, s, l, true from unnest(%(skus)b::int8[], %(locations)b::int8[]) as p (s, l)
        on conflict (shop_id, sku_id, location_id) do nothing
        """,
        **params,
    )
    fetch(
        conn,
        """
        select 1 from stock_levels k
        join unnest(%(skus)b::int8[], %(locations)b::int8[]) as p (s, l) on k.sku_id = p.s and k.location_id = p.l
        where k.shop_id = %(shop)s order by k.sku_id, k.location_id for update of k
        """,
        **params,
    )


def settle_numbers(conn: Connection, shop_id: int, pairs: Iterable[tuple[int, int]]) -> None:
    """Say that the numbers of (locked) levels are ours, also where nothing moved because they are 0."""
    ordered = sorted(set(pairs))
    execute(
        conn,
        """
        update stock_levels k set is_placeholder = false
        from unnest(%(skus)b::int8[], %(locations)b::int8[]) as p (s, l)
        where k.shop_id = %(shop)s and k.sku_id = p.s and k.location_id = p.l and k.is_placeholder
        """,
        shop=shop_id,
        skus=[sku for sku, _ in ordered],
        locations=[place for _, place in ordered],
    )


def move(conn: Connection, shop_id: int, movements: Sequence[Movement], recorded_by: str, now: datetime) -> set[str]:
    """Book movements whose levels are locked; returns the business keys that were new.

    Raises BundleHasNoStock where goods would come to lie under a bundle.
    """
    ordered = sorted(movements, key=lambda movement: movement.business_key)
    rows = fetch(
        conn,
        """
        with booked as (
            insert into stock_movements (shop_id, sku_id, location_id, delta_units, unavailable_delta_units, reason,
                business_key, order_line_id, note, recorded_by, occurred_at, recorded_at)
            select %(shop)s, sku, place, delta, apart, reason, key, line, note, %(by)s, at, %(now)s
            from unnest(%(skus)b::int8[], %(places)b::int8[], %(deltas)b::int8[], %(aparts)b::int8[],
                %(reasons)b::text[], %(keys)b::text[], %(lines)b::int8[], %(notes)b::text[], %(ats)b::timestamptz[])
                as m (sku, place, delta, apart, reason, key, line, note, at)
            on conflict (shop_id, business_key) do nothing
            returning sku_id, location_id, delta_units, unavailable_delta_units, business_key
        ), summed as (
            update stock_levels k set on_hand = k.on_hand + b.delta, unavailable = k.unavailable + b.apart,
                is_placeholder = false
            from (select sku_id, location_id, sum(delta_units) as delta, sum(unavailable_delta_units) as apart
                from booked group by 1, 2) b
            where k.shop_id = %(shop)s and k.sku_id = b.sku_id and k.location_id = b.location_id
            returning 1
        )
        select b.business_key, case when b.delta_units > 0 and s.is_bundle then s.code end as bundle
        from booked b join skus s on s.shop_id = %(shop)s and s.id = b.sku_id
        where (select count(*) from summed) >= 0
        """,
        shop=shop_id,
        by=recorded_by,
        now=now,
        skus=[movement.sku_id for movement in ordered],
        places=[movement.location_id for movement in ordered],
        deltas=[movement.delta_units for movement in ordered],
        aparts=[movement.unavailable_delta_units for movement in ordered],
        reasons=[movement.reason for movement in ordered],
        keys=[movement.business_key for movement in ordered],
        lines=[movement.order_line_id for movement in ordered],
        notes=[movement.note for movement in ordered],
        ats=[movement.occurred_at for movement in ordered],
    )
    if bundles := sorted({row["bundle"] for row in rows if row["bundle"] is not None}):
        raise BundleHasNoStock(bundles)
    return {row["business_key"] for row in rows}


@dataclass(frozen=True, slots=True)
class Followed:
    """What a listing shows after what its channel did by itself, the latest of it at `at`.

    `sold_units` and `restocked_units` are what was booked of it since its baseline: what exposure moves by.
    `blurred_units`: by how much more `published_units` may be too low now (`exposure.is_blurred`). `at` None: nothing
    that it shows changed by it.
    """

    listing_id: int
    published_units: int
    unseen_units: int
    at: datetime | None
    sold_units: int = 0
    restocked_units: int = 0
    blurred_units: int = 0


def refresh_desired(
    conn: Connection,
    shop_id: int,
    sku_ids: Iterable[int],
    followed: Sequence[Followed] = (),
    *,
    now: datetime | None = None,
    are_locked: bool = False,
) -> None:
    """Set what the listings of these SKUs should show, from their levels as they are now, and what `followed` show.

    What `followed` sold and put back moves their exposure in the same statement (`exposure.sold`, then
    `exposure.restocked`), noted as of `now`. Where a pool is in escrow the planner says what its listings should show
    (`core.inventory.escrow`).

    Bundles that contain them are among those listings. Both at once: a listing that its channel sold from changes both,
    and is written once; as long as it stays in step, no index of the table has to be touched.

    The listings are locked (`are_locked`: by the caller, by `lock_listings`) before anything is read. A bundle's number
    depends on levels that this unit of work does not hold: whoever booked another part committed before that, or will
    refresh the listing after us. And so with rules: under an old rule a booking may change nothing, so that without a
    lock a re-plan beside it would count from the stock before it.
    The formulas are `rules.offer`, `rules.bundle_available` and `rules.short`, written as a set; property tests hold
    them together.
    """
    ordered = sorted(set(sku_ids))
    if not ordered and not followed:
        return
    bundles = bundles_of(conn, shop_id, ordered)
    if not are_locked:
        lock_listings(conn, shop_id, sku_ids=ordered)
    execute(
        conn,
        """
        with shown as (
            select * from unnest(%(ids)b::int8[], %(published)b::int4[], %(unseen)b::int4[], %(ats)b::timestamptz[],
                %(sold)b::int4[], %(restocked)b::int4[], %(blurred)b::int4[])
                as s (id, published, unseen, at, sold, restocked, blurred)
        ), touched as (
            select id, true as is_wanted from listings
            where shop_id = %(shop)s and sku_id = any(%(skus)b::int8[]) and publishing = 'on'
            union all
            select id, false from shown
        ), pool as (
            select l.id, t.is_wanted
                    and not (l.mode <> 'pooled'
                        or coalesce(b.is_shared, k.is_escrow or k.escrow_line_units is not null, false)) as is_wanted,
                coalesce(b.available, k.available, 0) as available
            from (select id, bool_or(is_wanted) as is_wanted from touched group by 1) t
            join listings l on l.shop_id = %(shop)s and l.id = t.id
            left join stock_levels k
                on k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = l.location_id
            left join lateral (
                select min(floor(coalesce(v.available, 0)::numeric / p.units))::int8 as available,
                    bool_or(v.is_escrow or v.escrow_line_units is not null) as is_shared
                from bundle_parts p left join stock_levels v
                    on v.shop_id = p.shop_id and v.sku_id = p.part_sku_id and v.location_id = l.location_id
                where p.shop_id = l.shop_id and p.bundle_sku_id = l.sku_id
            ) b on l.sku_id = any(%(bundles)b::int8[])
        ), wanted as (
            select l.id, a.is_wanted, o.units, greatest(0, -a.available) as short, s.published, s.unseen, s.at,
                s.sold, s.restocked, s.blurred, l.exposed_units as exposed,
                case when s.id is not null then greatest(0, l.exposed_units - s.sold) end as left_exposed
            from pool a join listings l on l.shop_id = %(shop)s and l.id = a.id
            left join shown s on s.id = l.id
            cross join lateral (select offer(a.available, l.safety_stock_units, l.share_percent, l.buffer_units,
                l.floor_units, l.cap_units, l.is_offered) as units) o
            where s.id is not null or a.is_wanted and (l.desired_units, l.short_units) is distinct from
                (o.units, greatest(0, -a.available))
            order by l.id for no key update of l
        ), noted as (
            insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units,
                changed_at)
            select %(shop)s, w.id, c.cause, c.asked, c.delta, c.exposed, coalesce(%(now)s, clock_timestamp())
            from wanted w cross join lateral (values
                ('sale', -w.sold, w.left_exposed - w.exposed, w.left_exposed),
                ('restock', w.restocked, w.restocked, w.left_exposed + w.restocked)) c (cause, asked, delta, exposed)
            where c.asked <> 0 order by w.id
        )
        update listings l set
            exposed_units = coalesce(wanted.left_exposed + wanted.restocked, l.exposed_units),
            edited_units = coalesce(least(l.edited_units, wanted.left_exposed), l.edited_units),
            desired_units = case when wanted.is_wanted then wanted.units else l.desired_units end,
            short_units = case when wanted.is_wanted then wanted.short else l.short_units end,
            published_units = coalesce(wanted.published, l.published_units),
            unseen_units = coalesce(wanted.unseen, l.unseen_units),
            blurred_units = l.blurred_units + coalesce(wanted.blurred, 0),
            followed_at = greatest(l.followed_at, wanted.at)
        from wanted where l.shop_id = %(shop)s and l.id = wanted.id
        """,
        shop=shop_id,
        skus=sorted({*ordered, *bundles}),
        bundles=bundles,
        ids=[item.listing_id for item in followed],
        published=[item.published_units for item in followed],
        unseen=[item.unseen_units for item in followed],
        ats=[item.at for item in followed],
        sold=[item.sold_units for item in followed],
        restocked=[item.restocked_units for item in followed],
        blurred=[item.blurred_units for item in followed],
        now=now,
    )
    escrow.note_wishes(conn, shop_id, ordered, {*ordered, *bundles}, now)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A signed change of a SKU's stock that a person or a file reports."""

    business_key: str
    code: str
    delta_units: int
    reason: str
    occurred_at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Booked:
    """What a stock act came to. `listing_ids` are those whose number became our stock, where it did."""

    new: int
    repeated: int
    without_stock: int
    listing_ids: tuple[int, ...] = ()


def adjust(
    conn: Connection,
    shop_id: int,
    location_id: int,
    adjustments: Sequence[Adjustment],
    actor: Actor,
    now: datetime,
) -> Booked:
    """Book adjustments, receipts or counts in one unit of work, each once by its business key.

    A SKU without stock moves nothing and is counted. Raises UnknownSku when a code is not ours, BundleHasNoStock when
    one is a bundle's (nothing is booked).
    """
    known = skus_by_code(conn, shop_id, {adjustment.code for adjustment in adjustments})
    wanted = [
        Movement(
            sku_id=known[item.code][0],
            location_id=location_id,
            delta_units=item.delta_units,
            reason=item.reason,
            business_key=item.business_key,
            occurred_at=item.occurred_at,
            note=item.note,
        )
        for item in adjustments
        if known[item.code][1] and item.delta_units
    ]
    lock_levels(conn, shop_id, ((movement.sku_id, movement.location_id) for movement in wanted))
    new = move(conn, shop_id, wanted, actor.name, now)
    refresh_desired(conn, shop_id, {movement.sku_id for movement in wanted if movement.business_key in new})
    booked = Booked(new=len(new), repeated=len(wanted) - len(new), without_stock=len(adjustments) - len(wanted))
    if new or booked.without_stock:
        audit.record(
            conn,
            shop_id,
            actor,
            "adjust_stock",
            f"location:{location_id}",
            now,
            new=booked.new,
            without_stock=booked.without_stock,
            # By key, so that who counts them counts an act that was repeated once.
            without_stock_keys=sorted({item.business_key for item in adjustments} - {m.business_key for m in wanted}),
            skus=sorted({item.code for item in adjustments})[:50],
        )
    return booked


def skus_by_code(conn: Connection, shop_id: int, codes: set[str]) -> dict[str, tuple[int, bool]]:
    """(id, whether it has stock) by exact code. Raises UnknownSku when one is not ours."""
    rows = fetch(
        conn,
        "select code, id, is_stocked from skus where shop_id = %(shop)s and code = any(%(codes)b::text[])",
        shop=shop_id,
        codes=sorted(codes),
    )
    known = {row["code"]: (row["id"], row["is_stocked"]) for row in rows}
    missing = sorted(codes - known.keys())
    if missing:
        raise UnknownSku(missing)
    return known


def take_over(conn: Connection, shop_id: int, connection_id: int, actor: Actor, now: datetime) -> Booked:
    """Make what a channel shows our opening stock, for SKUs at places we have no number of yet.

    Where several listings show the same stock, the oldest is believed. `set_baselines` belongs to it.
    """
    pairs = {(row["sku_id"], row["location_id"]) for row in _unknown_numbers(conn, shop_id, connection_id)}
    lock_levels(conn, shop_id, pairs)
    # Again, now that nobody else can book there: what was booked before we had the lock is our number.
    rows = [
        row for row in _unknown_numbers(conn, shop_id, connection_id) if (row["sku_id"], row["location_id"]) in pairs
    ]
    settle_numbers(conn, shop_id, ((row["sku_id"], row["location_id"]) for row in rows))
    movements = [
        Movement(
            sku_id=row["sku_id"],
            location_id=row["location_id"],
            delta_units=row["published_units"],
            reason="receipt",
            business_key=f"opening:{row['sku_id']}:{row['location_id']}",
            occurred_at=row["published_at"],
            note="opening stock, as the channel showed it",
        )
        for row in rows
        if row["published_units"]
    ]
    new = move(conn, shop_id, movements, actor.name, now)
    if rows:
        audit.record(
            conn, shop_id, actor, "take_over_stock", f"connection:{connection_id}", now, skus=len(rows), moved=len(new)
        )
    return Booked(
        new=len(new),
        repeated=len(movements) - len(new),
        without_stock=len(rows) - len(movements),
        listing_ids=tuple(row["id"] for row in rows),
    )


def _unknown_numbers(conn: Connection, shop_id: int, connection_id: int) -> Sequence[RowMapping]:
    """What a channel shows of SKUs at places that we have no number of; where several listings do, the oldest."""
    return fetch(
        conn,
        """
        select distinct on (l.sku_id, l.location_id) l.id, l.sku_id, l.location_id, l.published_units, l.published_at
        from listings l join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and s.is_stocked and not s.is_bundle
            and l.is_tracked and l.location_id is not null and l.published_units is not null
            and not exists (select from stock_levels k where k.shop_id = l.shop_id and k.sku_id = l.sku_id
                and k.location_id = l.location_id and not k.is_placeholder)
        order by l.sku_id, l.location_id, l.id
        """,
        shop=shop_id,
        connection=connection_id,
    )


def set_baselines(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    believed: Collection[int] | None = None,
    sold_until: datetime | None = None,
) -> None:
    """Give listings that show a number their baseline: sales dated before it are already in the number.

    `believed`: those whose number became our stock (`take_over`), which no longer holds what they sold before; None:
    every one of them. `sold_until`: the second up to which everything that happened to orders had happened before the
    reading began. A number is dated by its last change; one that has not changed since then is known as of the end of
    that change's second, and whatever was sold or put back until the end of `sold_until` is in it, also what bears the
    same second as the change it caused.

    A number that changed later is known as of that change. Channels stamp whole seconds, so what happened in that very
    second may be in the number or not: a sale is taken off, and what was put back is not added (`opening_at` counts it
    as before): in doubt rather too few units are thought to be for sale than too many. The end of `sold_until` is
    therefore written as the last moment of its second, which shares it with nothing that came later.
    """
    execute(
        conn,
        """
        update listings l set published_at = n.known_at, baseline_at = n.began_at,
            opening_at = case when %(believed)b::int8[] is null or l.id = any(%(believed)b::int8[]) then n.began_at end
        from (
            select id, case when date_trunc('second', published_at) <= %(until)s::timestamptz
                    then date_trunc('second', published_at) + interval '1 second' else published_at end as known_at,
                greatest(date_trunc('second', published_at),
                    %(until)s::timestamptz + interval '999999 microseconds') as began_at
            from listings where shop_id = %(shop)s and connection_id = %(connection)s and baseline_at is null
        ) n
        where l.shop_id = %(shop)s and l.id = n.id and l.connection_id = %(connection)s and l.baseline_at is null
            and l.published_units is not null and l.sku_id is not null
        """,
        shop=shop_id,
        connection=connection_id,
        believed=None if believed is None else sorted(believed),
        until=None if sold_until is None else sold_until.replace(microsecond=0),
    )


def refresh_all_desired(conn: Connection, shop_id: int) -> None:
    """Set what every listing of the shop should show; for the few moments when many may have changed."""
    rows = fetch(
        conn,
        "select distinct sku_id from listings where shop_id = %(shop)s and publishing = 'on' order by sku_id",
        shop=shop_id,
    )
    refresh_desired(conn, shop_id, (row["sku_id"] for row in rows))
