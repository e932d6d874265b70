"""Promises of our own: stock held for a checkout, an unpaid marketplace order or a purchase order until a deadline.

A promise is held and then ends once: consumed (shipped, or taken over by an order), released or expired. Unlike a sale
that a channel reports, it is only made where there is enough: decided on locked levels, written by one statement, and
refused by the database (`promises_are_covered`) should anybody ever decide otherwise.

Locks are taken in one order: what bundles are made of (shared), holders by key, then levels and listings in the one
global order, before anything is decided. So a hundred buyers of one unit queue up behind each other, the first wins,
and nobody has to try again. Buyers of different SKUs never meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, planned_once, scalar
from core.errors import Anticipated, BadInput
from core.inventory import escrow
from core.inventory.operations import Movement, hold_compositions, move, refresh_desired
from core.inventory.queries import parts_of
from core.inventory.rules import Wish, grant

FEW = 10
"""Promises in one unit of work that a set need not be planned for."""

HolderKind = Literal["checkout", "channel_order", "vendor_order"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose promise it is: a kind, and the holder's own key."""

    kind: HolderKind
    ref: str


class PromiseEnded(Anticipated):
    """Goods were to leave on promises that are over: they are free for others, or gone to them."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        self.holders = tuple(holders)
        named = ", ".join(f"{holder.kind} {holder.ref}" for holder in holders[:5])
        more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
        super().__init__(
            f"nothing is held for {named}{more} any more, and it did not leave: its promise was released, expired or"
            " handed over to an order. Reserve it anew before it leaves, or ship the order."
        )


@dataclass(frozen=True, slots=True)
class Promise:
    """What one holder asks for: units of SKUs (bundles as their parts) at one location, all of them or none."""

    holder: Holder
    location_id: int
    lines: tuple[tuple[int, int], ...]
    """(sku_id, units), units positive."""
    expires_at: datetime | None = None
    takes_part: bool = False
    """Take the lines that can be had, rather than all or none."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a line was not promised: what was asked for and what there was, of the SKU that was scarce."""

    sku_id: int
    asked_units: int
    available_units: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one promise.

    `repeated`: it was made before, and nothing was done again. `has_ended`: some of what was given then has been
    shipped, handed over, released or expired since.
    """

    holder: Holder
    held: dict[int, int]
    """Units by SKU with stock of its own, as given when it was made."""
    missing: tuple[Missing, ...] = ()
    repeated: bool = False
    has_ended: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether everything asked for is held, now."""
        return not self.missing and not self.has_ended


@dataclass(frozen=True, slots=True)
class _Given:
    """What a holder was given before: units by SKU, and whether some of it has ended."""

    units: dict[int, int]
    has_ended: bool


def reserve(conn: Connection, shop_id: int, promises: Sequence[Promise], now: datetime) -> list[Answer]:
    """Hold stock for some holders in one unit of work, first come first served in the order given.

    Idempotent by holder: one that holds, or held, anything is answered with what it was given then, and with what of
    its lines it was not given. What is not there is part of the answer, not an error. Raises BadInput for units that
    are not positive, for a deadline that has passed, and for a holder named twice.
    """
    _validate(promises, now)
    with planned_once(conn) if len(promises) <= FEW else nullcontext():
        return _reserve(conn, shop_id, promises, now)


def _reserve(conn: Connection, shop_id: int, promises: Sequence[Promise], now: datetime) -> list[Answer]:
    hold_compositions(conn, shop_id)
    _refuse_what_is_not_ours(conn, shop_id, promises)
    # Whatever it asks for: a holder that asks twice at the same moment may ask for different things.
    _lock_holders(conn, shop_id, [promise.holder for promise in promises])
    wishes = _wishes(conn, shop_id, promises)
    available = _lock(conn, shop_id, {pair for wish in wishes for pair, _ in wish.parts})
    known = _known(conn, shop_id, [promise.holder for promise in promises])
    asked = [wish for wish in wishes if promises[wish.group].holder not in known]
    granted = grant(asked, available, {number for number, promise in enumerate(promises) if promise.takes_part})
    held = _summed(wish for wish in asked if wish in granted)
    refused = _summed(wish for wish in asked if wish not in granted)
    _write(conn, shop_id, [(promises[number], parts) for number, parts in sorted(held.items())], now)
    refresh_desired(conn, shop_id, {sku for parts in held.values() for sku, _ in parts})
    wanted = _summed(wishes)
    return [
        _repeated(promise, known[promise.holder], wanted[number])
        if promise.holder in known
        else Answer(
            promise.holder,
            {sku: units for (sku, _), units in held.get(number, Counter()).items()},
            _missing(refused.get(number, Counter()), available),
        )
        for number, promise in enumerate(promises)
    ]


def _refuse_what_is_not_ours(conn: Connection, shop_id: int, promises: Sequence[Promise]) -> None:
    name = scalar(
        conn,
        """
        select min(name) from locations
        where shop_id = %(shop)s and kind = 'external' and id = any(%(places)b::int8[])
        """,
        shop=shop_id,
        places=sorted({promise.location_id for promise in promises}),
    )
    if name is not None:
        raise BadInput(f"{name} is a channel's own warehouse: what lies there is not ours to promise")


def _summed(wishes: Iterable[Wish]) -> dict[int, Counter[tuple[int, int]]]:
    """Units by level of each group."""
    found: dict[int, Counter[tuple[int, int]]] = {}
    for wish in wishes:
        found.setdefault(wish.group, Counter()).update(dict(wish.parts))
    return found


def _repeated(promise: Promise, given: _Given, asked: Counter[tuple[int, int]]) -> Answer:
    missing = tuple(
        Missing(sku, units, given.units.get(sku, 0))
        for (sku, _), units in sorted(asked.items())
        if given.units.get(sku, 0) < units
    )
    return Answer(promise.holder, given.units, missing, repeated=True, has_ended=given.has_ended)


def _validate(promises: Sequence[Promise], now: datetime) -> None:
    for promise in promises:
        if promise.expires_at is not None and promise.expires_at <= now:
            raise BadInput(
                f"{promise.holder.kind} {promise.holder.ref} asks until {promise.expires_at.isoformat()}, which has"
                " passed: give a later deadline, or none"
            )
        if not promise.lines:
            raise BadInput(f"{promise.holder.kind} {promise.holder.ref} asks for nothing: give at least one SKU")
        for sku_id, units in promise.lines:
            if units <= 0:
                raise BadInput(
                    f"{promise.holder.kind} {promise.holder.ref} asks for {units} of SKU {sku_id}: give 1 or more"
                )
    doubles = [holder.ref for holder, times in Counter(p.holder for p in promises).items() if times > 1]
    if doubles:
        raise BadInput(f"{doubles[0]} is named twice: put the lines of one holder into one promise")


_HOLDER_LOCKS = 512
"""How many locks the holders of a shop share: a power of two."""


def _lock_holders(conn: Connection, shop_id: int, holders: Sequence[Holder]) -> None:
    """One at a time asks for a holder: whoever did so meanwhile has committed it.

    Holders share a few hundred locks: the server's table of locks is not large, and is everybody's.
    """
    fetch(
        conn,
        f"""
        select pg_advisory_xact_lock(hashtext('holders:' || %(shop)s), k) from (
            select distinct hashtext(kind || ':' || ref) & {_HOLDER_LOCKS - 1} as k
            from unnest(%(kinds)b::text[], %(refs)b::text[]) as h (kind, ref) order by 1 offset 0
        ) as keys
        """,
        shop=shop_id,
        kinds=[holder.kind for holder in holders],
        refs=[holder.ref for holder in holders],
    )


def _known(conn: Connection, shop_id: int, holders: Sequence[Holder]) -> dict[Holder, _Given]:
    """What holders were given before, whatever became of it since."""
    found: dict[Holder, _Given] = {}
    for row in fetch(
        conn,
        """
        select r.holder_kind, r.holder_ref, jsonb_object_agg(r.sku_id, r.units) as units,
            bool_or(r.held_units = 0) as has_ended
        from unnest(%(kinds)b::text[], %(refs)b::text[]) as h (kind, ref)
        join reservations r on r.shop_id = %(shop)s and r.holder_kind = h.kind and r.holder_ref = h.ref
        group by 1, 2
        """,
        shop=shop_id,
        kinds=[holder.kind for holder in holders],
        refs=[holder.ref for holder in holders],
    ):
        units = {int(sku_id): count for sku_id, count in row["units"].items()}
        found[Holder(row["holder_kind"], row["holder_ref"])] = _Given(units, row["has_ended"])
    return found


def _wishes(conn: Connection, shop_id: int, promises: Sequence[Promise]) -> list[Wish]:
    """One wish for each line, in levels: a bundle is a wish for all its parts."""
    parts = parts_of(conn, shop_id, {sku_id for promise in promises for sku_id, _ in promise.lines})
    return [
        Wish(
            group=number,
            line=line,
            parts=tuple(((part, promise.location_id), each * units) for part, each in parts[sku_id]),
        )
        for number, promise in enumerate(promises)
        for line, (sku_id, units) in enumerate(promise.lines)
    ]


def _lock(conn: Connection, shop_id: int, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Lock levels in the one global order; returns what may be promised of each. One that is not there has nothing.

    In escrow that is what is available less what channels may still sell unbooked. In a pooled one channels show what
    we promise here too: they are told right after, as of each other's sales.
    """
    ordered = sorted(pairs)
    rows = fetch(
        conn,
        """
        with locked as (
            select k.sku_id, k.location_id, k.available,
                k.is_escrow or is_scarce(k.available, k.escrow_line_units, k.is_escrow) as is_split
            from stock_levels k
            join unnest(%(skus)b::int8[], %(places)b::int8[]) as p (sku, place)
                on k.sku_id = p.sku and k.location_id = p.place
            where k.shop_id = %(shop)s order by k.sku_id, k.location_id for update of k
        )
        select sku_id, location_id, available, is_split from locked
        """,
        shop=shop_id,
        skus=[sku for sku, _ in ordered],
        places=[place for _, place in ordered],
    )
    split = [(row["sku_id"], row["location_id"]) for row in rows if row["is_split"]]
    exposed = escrow.exposed_units(conn, shop_id, split) if split else {}
    return {
        pair: row["available"] - exposed.get(pair, 0) for row in rows for pair in [(row["sku_id"], row["location_id"])]
    }


def _missing(asked: Counter[tuple[int, int]], available: dict[tuple[int, int], int]) -> tuple[Missing, ...]:
    scarce = [(pair, units) for pair, units in sorted(asked.items()) if available.get(pair, 0) < units]
    # What was there when we began may have gone to those before us in the same call.
    shown = scarce or sorted(asked.items())
    return tuple(Missing(sku, units, max(0, available.get((sku, place), 0))) for (sku, place), units in shown)


def _write(
    conn: Connection, shop_id: int, held: Sequence[tuple[Promise, Counter[tuple[int, int]]]], now: datetime
) -> None:
    """Promises and levels in one statement. The levels are locked; their guard refuses what is not covered."""
    rows = sorted(
        (promise.holder.kind, promise.holder.ref, sku, place, units, promise.expires_at)
        for promise, parts in held
        for (sku, place), units in parts.items()
    )
    if not rows:
        return
    kinds, refs, skus, places, units, deadlines = (list(column) for column in zip(*rows, strict=True))
    execute(
        conn,
        """
        with asked as (
            select * from unnest(%(kinds)b::text[], %(refs)b::text[], %(skus)b::int8[], %(places)b::int8[],
                %(units)b::int8[], %(deadlines)b::timestamptz[]) as a (kind, ref, sku_id, location_id, units, deadline)
        ), made as (
            insert into reservations (shop_id, holder_kind, holder_ref, sku_id, location_id, units, held_units,
                expires_at, created_at)
            select %(shop)s, kind, ref, sku_id, location_id, units, units, deadline, %(now)s from asked
            returning sku_id, location_id, units
        )
        update stock_levels k set reserved = k.reserved + m.units, promised = k.promised + m.units
        from (select sku_id, location_id, sum(units) as units from made group by 1, 2) m
        where k.shop_id = %(shop)s and k.sku_id = m.sku_id and k.location_id = m.location_id
        """,
        shop=shop_id,
        now=now,
        kinds=kinds,
        refs=refs,
        skus=skus,
        places=places,
        units=units,
        deadlines=deadlines,
    )


def release(conn: Connection, shop_id: int, holders: Sequence[Holder], now: datetime) -> int:
    """Give back what these holders hold; returns how many promises ended. Safe to repeat."""
    ended = _end(conn, shop_id, _held_by(conn, shop_id, holders), "released", now)
    refresh_desired(conn, shop_id, {row["sku_id"] for row in ended})
    return len(ended)


def hand_over(conn: Connection, shop_id: int, holders: Sequence[Holder], now: datetime) -> int:
    """End promises whose goods an order of ours takes over in the same unit of work; returns how many ended.

    The order's lines hold the goods from then on. Booked first, they have locked the order, its levels and its listings
    in the one global order. Safe to repeat.
    """
    ended = _end(conn, shop_id, _held_by(conn, shop_id, holders), "consumed", now)
    refresh_desired(conn, shop_id, {row["sku_id"] for row in ended})
    return len(ended)


def ship(conn: Connection, shop_id: int, holders: Sequence[Holder], recorded_by: str, now: datetime) -> int:
    """End promises whose goods have left: off what is on hand; returns how many this call ended.

    Safe to repeat: of what was shipped before nothing ends, and 0 is returned. Raises PromiseEnded, and ships nothing,
    when a holder holds nothing and something of its promise did not leave: it was released, expired or handed over.
    """
    ended = _end(conn, shop_id, _held_by(conn, shop_id, holders), "consumed", now)
    if over := _over(conn, shop_id, holders, {Holder(row["holder_kind"], row["holder_ref"]) for row in ended}):
        raise PromiseEnded(over)
    movements = [
        Movement(
            sku_id=row["sku_id"],
            location_id=row["location_id"],
            delta_units=-row["units"],
            reason="shipment",
            business_key=f"promise:{row['id']}:shipment",
            occurred_at=now,
            note=f"{row['holder_kind']} {row['holder_ref']}",
        )
        for row in ended
    ]
    move(conn, shop_id, movements, recorded_by, now)
    refresh_desired(conn, shop_id, {row["sku_id"] for row in ended})
    return len(ended)


def shops_with_expired(conn: Connection, now: datetime) -> list[int]:
    """The shops in which promises are held beyond their deadline."""
    rows = fetch(
        conn,
        "select distinct shop_id from reservations where held_units > 0 and expires_at <= %(now)s order by 1",
        now=now,
    )
    return [row["shop_id"] for row in rows]


def expire(conn: Connection, shop_id: int, now: datetime, limit: int = 1000) -> int:
    """End promises whose deadline has passed, the oldest first, at most `limit`; returns how many ended."""
    rows = fetch(
        conn,
        """
        select id, sku_id, location_id from reservations
        where shop_id = %(shop)s and held_units > 0 and expires_at <= %(now)s order by expires_at, id limit %(limit)s
        """,
        shop=shop_id,
        now=now,
        limit=limit,
    )
    ended = _end(conn, shop_id, rows, "expired", now)
    refresh_desired(conn, shop_id, {row["sku_id"] for row in ended})
    return len(ended)


def _over(conn: Connection, shop_id: int, holders: Sequence[Holder], ended: Collection[Holder]) -> list[Holder]:
    """The holders, but for those of `ended`, some of whose promise is over and did not leave."""
    asked = [holder for holder in holders if holder not in ended]
    if not asked:
        return []
    rows = fetch(
        conn,
        """
        select distinct h.kind, h.ref from unnest(%(kinds)b::text[], %(refs)b::text[]) as h (kind, ref)
        join reservations r on r.shop_id = %(shop)s and r.holder_kind = h.kind and r.holder_ref = h.ref
        where not exists (select from stock_movements m where m.shop_id = r.shop_id
            and m.business_key = 'promise:' || r.id || ':shipment')
        order by 1, 2
        """,
        shop=shop_id,
        kinds=[holder.kind for holder in asked],
        refs=[holder.ref for holder in asked],
    )
    return [Holder(row["kind"], row["ref"]) for row in rows]


def _held_by(conn: Connection, shop_id: int, holders: Sequence[Holder]) -> Sequence[RowMapping]:
    return fetch(
        conn,
        """
        select r.id, r.sku_id, r.location_id from unnest(%(kinds)b::text[], %(refs)b::text[]) as h (kind, ref)
        join reservations r on r.shop_id = %(shop)s and r.holder_kind = h.kind and r.holder_ref = h.ref
        where r.held_units > 0
        """,
        shop=shop_id,
        kinds=[holder.kind for holder in holders],
        refs=[holder.ref for holder in holders],
    )


def _end(
    conn: Connection,
    shop_id: int,
    found: Sequence[RowMapping],
    outcome: Literal["consumed", "released", "expired"],
    now: datetime,
) -> Sequence[RowMapping]:
    """End promises that are still held once their levels are locked; returns those that this call ended.

    The caller refreshes what listings show, last: a bundle that is composed meanwhile waits for that. An expiry looks
    at the deadline again: it may have been moved while we waited.
    """
    if not found:
        return ()
    hold_compositions(conn, shop_id)
    _lock(conn, shop_id, {(row["sku_id"], row["location_id"]) for row in found})
    return fetch(
        conn,
        """
        with ended as (
            update reservations r set held_units = 0, ended_at = %(now)s, is_expired = %(outcome)s = 'expired',
                consumed_units = case when %(outcome)s = 'consumed' then r.units else 0 end, revision = r.revision + 1
            where r.shop_id = %(shop)s and r.id = any(%(ids)b::int8[]) and r.held_units > 0
                and (%(outcome)s <> 'expired' or r.expires_at <= %(now)s)
            returning r.id, r.sku_id, r.location_id, r.units, r.holder_kind, r.holder_ref
        ), freed as (
            update stock_levels k set reserved = k.reserved - e.units, promised = k.promised - e.units
            from (select sku_id, location_id, sum(units) as units from ended group by 1, 2) e
            where k.shop_id = %(shop)s and k.sku_id = e.sku_id and k.location_id = e.location_id
        )
        select * from ended order by id
        """,
        shop=shop_id,
        now=now,
        outcome=outcome,
        ids=[row["id"] for row in found],
    )
