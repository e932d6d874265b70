"""What all acts of the desk share: one document with its lines, its movements, and what they changed.

Locks are taken in one order: documents by id, orders by id, stock levels by SKU and location, listings by id. An act
is all or nothing: what is refused raises, and the caller's unit of work undoes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch, scalar
from core.desk import queries, rules
from core.desk.queries import LevelRow, Named
from core.desk.rules import LINES_MAX, UNITS_MAX, Kind
from core.errors import Anticipated, BadInput
from core.inventory.operations import BundleHasNoStock, Movement, lock_levels, move, refresh_desired
from core.inventory.queries import parts_of
from core.messaging.changes import record_document
from core.orders.desk_returns import LineReturn, SoldLine, lock_sold, take_back_lines

Pair = tuple[int, int]
"""(SKU id, location id)."""


class SoldMeanwhile(Anticipated):
    """Units that an act would take away are sold or promised by now."""

    def __init__(self, what: str, shortages: Mapping[str, int]) -> None:
        self.shortages = dict(shortages)
        named = ", ".join(f"{units:,} of {code}" for code, units in sorted(shortages.items())[:10])
        more = f" and of {len(shortages) - 10} more SKUs" if len(shortages) > 10 else ""
        verb = "is" if sum(shortages.values()) == 1 else "are"
        super().__init__(
            f"{what}: {named}{more} {verb} sold or promised by now and would be missing. "
            "Cancel those orders or find the goods first; a count puts right what is on record."
        )


class NotApart(Anticipated):
    """Fewer units are kept apart than an act would take out of quarantine."""

    def __init__(self, lacking: Mapping[str, tuple[int, int]]) -> None:
        said = ", ".join(f"{code} ({there:,} kept apart, {asked:,} asked)" for code, (there, asked) in lacking.items())
        super().__init__(f"not that many are in quarantine: {said}")


class TooManyBack(Anticipated):
    """More of an order line would come back than left."""

    def __init__(self, lines: Sequence[tuple[SoldLine, int]]) -> None:
        super().__init__(
            " ".join(
                f"{asked:,} of {line.code} cannot come back of order {line.order_name}: {line.shipped:,} left, "
                f"{line.taken_back:,} came back over the desk already, so {line.returnable:,} can."
                for line, asked in lines
            )
        )


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document about to be written. `business_key` names the form or file it comes from."""

    kind: Kind
    location_id: int
    business_key: str
    state: str = "done"
    reference: str | None = None
    to_location_id: int | None = None
    against_id: int | None = None
    undoes_id: int | None = None
    expected_on: date | None = None
    is_of_transfer: bool = False


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line about to be written; `units` may be negative where the kind allows it, or where it undoes."""

    sku_id: int
    units: int
    disposition: str | None = None
    order_line_id: int | None = None
    bundle_sku_id: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """What a person names: a code or barcode, units, and for returns what becomes of them and of which order line."""

    code: str
    units: int
    disposition: str | None = None
    order_line_id: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What an act did, or would do, to one SKU at one location."""

    sku_id: int
    code: str
    location_id: int
    before: LevelRow
    after: LevelRow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act came to. `is_new` False: it had been booked before, and nothing was done now."""

    document_id: int
    kind: str
    is_new: bool
    units: int
    skus: int
    changes: Sequence[Change] = ()
    notes: Sequence[str] = ()
    by: str = ""
    at: datetime | None = None
    lines: Sequence[NewLine] = field(default=(), repr=False)


def rehearse(engine: Engine, act: Callable[[Connection], Outcome]) -> Outcome:
    """What an act would come to: it is done and taken back, so that the preview is the act itself."""
    with engine.connect() as conn, conn.begin() as transaction:
        try:
            return act(conn)
        finally:
            transaction.rollback()


def as_lines(conn: Connection, shop_id: int, kind: Kind, items: Sequence[Item], merge: bool = False) -> list[NewLine]:
    """Lines of what was named: bundles as their parts, a SKU named twice as one line.

    `merge`: one line a SKU, even where it is named by itself and as part of bundles. Raises BadInput.
    """
    if not items:
        raise BadInput("nothing is on it: scan or name at least one SKU")
    found = queries.require_named(conn, shop_id, {item.code for item in items if item.order_line_id is None})
    _check_items(kind, items, found)
    parts = parts_of(conn, shop_id, {sku.sku_id for sku in found.values()})
    summed: dict[tuple[int, str | None, int | None, int | None], NewLine] = {}
    for item in items:
        if item.order_line_id is not None:
            made = [NewLine(0, item.units, item.disposition, item.order_line_id, None, item.note)]
        else:
            sku = found[item.code]
            bundle = sku.sku_id if sku.is_bundle else None
            made = [
                NewLine(part, item.units * each, item.disposition, None, bundle, item.note)
                for part, each in parts[sku.sku_id]
            ]
        for line in made:
            key = (line.sku_id, line.disposition, line.order_line_id, None if merge else line.bundle_sku_id)
            known = summed.get(key)
            summed[key] = line if known is None else _joined(known, line)
    lines = list(summed.values())
    if len(lines) > LINES_MAX:
        raise BadInput(f"{len(lines):,} lines are more than one document takes ({LINES_MAX:,}): split it")
    return lines


def _joined(one: NewLine, other: NewLine) -> NewLine:
    bundle = one.bundle_sku_id if one.bundle_sku_id == other.bundle_sku_id else None
    return replace(one, units=one.units + other.units, bundle_sku_id=bundle, note=one.note or other.note)


def _check_items(kind: Kind, items: Sequence[Item], found: Mapping[str, Named]) -> None:
    for item in items:
        sku = found.get(item.code) if item.order_line_id is None else None
        code = sku.code if sku else item.code
        if item.units == 0 or (item.units < 0 and kind != "adjustment"):
            raise BadInput(f"{item.units} of {code}: give a whole number of units, at least 1")
        if abs(item.units) > UNITS_MAX:
            raise BadInput(f"{item.units:,} of {code} is more than one line takes ({UNITS_MAX:,}): is it a barcode?")
        if sku is not None and sku.is_bundle and rules.is_forbidden_for_bundles(kind):
            verb = {"adjustment": "adjusted", "count": "counted", "release": "kept apart"}[kind]
            raise BadInput(f"{code} is a bundle and has no stock of its own, so it cannot be {verb}: name its parts")


def open_document(conn: Connection, shop_id: int, new: NewDocument, actor: Actor, now: datetime) -> int | None:
    """Write a document; None when its business key is taken, so that it is booked already. Raises BadInput."""
    ours = queries.locations(conn, shop_id)
    if new.location_id not in ours or (new.to_location_id is not None and new.to_location_id not in ours):
        raise BadInput("that location is not ours to book at: its channel keeps its stock, or it does not exist")
    is_done = new.state in ("done", "cancelled")
    return scalar(
        conn,
        """
        insert into stock_documents (shop_id, kind, state, location_id, to_location_id, against_id, undoes_id,
            business_key, reference, reason, expected_on, created_by, created_at, done_by, done_at)
        values (%(shop)s, %(kind)s, %(state)s, %(location)s, %(to)s, %(against)s, %(undoes)s, %(key)s, %(reference)s,
            %(reason)s, %(expected)s, %(by)s, %(now)s, %(done_by)s, %(done_at)s)
        on conflict (shop_id, business_key) do nothing returning id
        """,
        shop=shop_id,
        kind=new.kind,
        state=new.state,
        location=new.location_id,
        to=new.to_location_id,
        against=new.against_id,
        undoes=new.undoes_id,
        key=new.business_key,
        reference=new.reference,
        reason=actor.reason,
        expected=new.expected_on,
        by=actor.name,
        now=now,
        done_by=actor.name if is_done else None,
        done_at=now if is_done else None,
    )


def lock_document(conn: Connection, shop_id: int, document_id: int, kinds: Iterable[str], wanted: str) -> RowMapping:
    """Lock one document, before anything else of the unit of work. Raises NoDocument."""
    rows = fetch(
        conn,
        """
        select * from stock_documents
        where shop_id = %(shop)s and id = %(id)s and kind = any(%(kinds)s) for update
        """,
        shop=shop_id,
        id=document_id,
        kinds=list(kinds),
    )
    if not rows:
        raise queries.NoDocument(document_id, wanted)
    return rows[0]


def repeated(conn: Connection, shop_id: int, new: NewDocument) -> Outcome:
    """What an act came to that had been booked before. Raises BadInput when the key stands for something else."""
    found = queries.booked_as(conn, shop_id, new.business_key)
    if found is None or found["kind"] != new.kind:
        raise BadInput("this form was used for another act: open a new one")
    return Outcome(
        found["id"], new.kind, False, found["units"], found["skus"], by=found["created_by"], at=found["created_at"]
    )


def add_lines(
    conn: Connection,
    shop_id: int,
    document_id: int,
    lines: Sequence[NewLine],
    ordinals: Sequence[int] | None = None,
) -> None:
    """Write a document's lines; `ordinals` from 1 unless given."""
    execute(
        conn,
        """
        insert into stock_document_lines (shop_id, document_id, ordinal, sku_id, bundle_sku_id, units, order_line_id,
            disposition, note)
        select %(shop)s, %(document)s, n.*
        from unnest(%(ordinals)b::int4[], %(skus)b::int8[], %(bundles)b::int8[], %(units)b::int8[], %(lines)b::int8[],
            %(dispositions)b::text[], %(notes)b::text[]) as n
        """,
        shop=shop_id,
        document=document_id,
        ordinals=list(ordinals or range(1, len(lines) + 1)),
        skus=[line.sku_id for line in lines],
        bundles=[line.bundle_sku_id for line in lines],
        units=[line.units for line in lines],
        lines=[line.order_line_id for line in lines],
        dispositions=[line.disposition for line in lines],
        notes=[line.note for line in lines],
    )


def expect(conn: Connection, shop_id: int, deltas: Mapping[Pair, int]) -> None:
    """Change what is on its way to (locked) levels."""
    ordered = sorted((pair, delta) for pair, delta in deltas.items() if delta)
    execute(
        conn,
        """
        update stock_levels k set incoming = k.incoming + d.delta
        from unnest(%(skus)b::int8[], %(places)b::int8[], %(deltas)b::int8[]) as d (sku, place, delta)
        where k.shop_id = %(shop)s and k.sku_id = d.sku and k.location_id = d.place
        """,
        shop=shop_id,
        skus=[sku for (sku, _), _ in ordered],
        places=[place for (_, place), _ in ordered],
        deltas=[delta for _, delta in ordered],
    )


def refuse_bundles(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> None:
    """Raises BundleHasNoStock when a SKU is a bundle; once levels are locked: until then it may become one."""
    rows = fetch(
        conn,
        "select code from skus where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and is_bundle order by code",
        shop=shop_id,
        ids=sorted(sku_ids),
    )
    if rows:
        raise BundleHasNoStock([row["code"] for row in rows])


class Touched:
    """Levels that an act locks, as they were; what it changed, and whether it took what was sold.

    `of_orders` are levels of what orders were booked as when they were sold. Raises BundleHasNoStock when another is of
    a bundle.
    """

    def __init__(self, conn: Connection, shop_id: int, pairs: Iterable[Pair], of_orders: Iterable[Pair] = ()) -> None:
        self.conn, self.shop_id = conn, shop_id
        named = set(pairs)
        self.pairs = sorted(named.union(of_orders))
        lock_levels(conn, shop_id, self.pairs)
        refuse_bundles(conn, shop_id, {sku for sku, _ in named})
        self.before = queries.levels(conn, shop_id, self.pairs)
        self.codes = queries.codes_of(conn, shop_id, {sku for sku, _ in self.pairs})

    def changes(self) -> list[Change]:
        """What changed since they were locked."""
        after = queries.levels(self.conn, self.shop_id, self.pairs)
        return [
            Change(sku, self.codes[sku], place, self.before[sku, place], after[sku, place])
            for sku, place in self.pairs
            if self.before[sku, place] != after[sku, place]
        ]

    def refuse_shortage(self, changes: Sequence[Change], what: str) -> None:
        """Raises SoldMeanwhile when an act took away what is sold or promised."""
        short: dict[str, int] = {}
        for change in changes:
            units = rules.missing(change.before.available, change.after.available)
            if units:
                short[change.code] = short.get(change.code, 0) + units
        if short:
            raise SoldMeanwhile(what, short)

    def refuse_not_apart(self, taken: Mapping[Pair, int]) -> None:
        """Raises NotApart when more would be taken out of quarantine than is in it."""
        lacking = {
            self.codes[pair[0]]: (self.before[pair].unavailable, units)
            for pair, units in taken.items()
            if units > self.before[pair].unavailable
        }
        if lacking:
            raise NotApart(lacking)


def book(
    conn: Connection,
    shop_id: int,
    new: NewDocument,
    lines: Sequence[NewLine],
    actor: Actor,
    now: datetime,
    *,
    guard: str | None = None,
    incoming: Callable[[int], Mapping[Pair, int]] | None = None,
    awaited: Iterable[Pair] = (),
) -> Outcome:
    """Write a document, lock what it touches, move its stock and say what changed.

    `guard`: refuse, with these words, when it takes away what is sold or promised. `incoming` is called with the new
    document's id once its levels and the `awaited` ones are locked, and returns what it changes of incoming.
    Raises SoldMeanwhile, NotApart, TooManyBack, BadInput.
    """
    document_id = open_document(conn, shop_id, new, actor, now)
    if document_id is None:
        return repeated(conn, shop_id, new)
    sold = lock_sold(conn, shop_id, (line.order_line_id for line in lines if line.order_line_id is not None))
    lines = [_of_order(line, sold) for line in lines]
    _check_returns(new, lines, sold)
    pairs = {(line.sku_id, new.location_id) for line in lines if line.order_line_id is None}
    back = {(part, line.location_id) for line in sold.values() if line.location_id for part, _ in line.parts}
    touched = Touched(conn, shop_id, pairs | set(awaited), back)
    touched.refuse_not_apart(_taken_from_quarantine(new, lines, sold))
    add_lines(conn, shop_id, document_id, lines)
    move(conn, shop_id, _movements(new, document_id, lines, now), actor.name, now)
    take_back_lines(conn, shop_id, sold, _line_returns(new, document_id, lines, now), actor.name, now)
    if incoming is not None:
        expect(conn, shop_id, incoming(document_id))
    changes = touched.changes()
    if guard:
        touched.refuse_shortage(changes, guard)
    tell_channels(conn, shop_id, document_id, changes, now, new.undoes_id)
    units, skus = sum(abs(line.units) for line in lines), len({line.sku_id for line in lines})
    audit.record(
        conn,
        shop_id,
        actor,
        f"undo_{new.kind}" if new.undoes_id else f"book_{new.kind}",
        f"document:{document_id}",
        now,
        lines=len(lines),
        units=units,
        skus=sorted(touched.codes.values())[:50],
        **({"undoes": new.undoes_id} if new.undoes_id else {}),
        **({"against": new.against_id} if new.against_id else {}),
    )
    return Outcome(document_id, new.kind, True, units, skus, changes, (), actor.name, now, lines)


def tell_channels(
    conn: Connection,
    shop_id: int,
    document_id: int,
    changes: Sequence[Change],
    now: datetime,
    undoes_id: int | None = None,
) -> None:
    """What listings should show after an act, and the record of which channels have to follow."""
    refresh_desired(conn, shop_id, {change.sku_id for change in changes})
    deltas = {(each.sku_id, each.location_id): each.after.available - each.before.available for each in changes}
    record_document(conn, shop_id, document_id, deltas, now, undoes_id)


def _of_order(line: NewLine, sold: Mapping[int, SoldLine]) -> NewLine:
    if line.order_line_id is None:
        return line
    known = sold.get(line.order_line_id)
    if known is None or known.location_id is None:
        raise BadInput(f"order line {line.order_line_id} has no stock of ours that could come back")
    return replace(line, sku_id=known.sku_id)


def _check_returns(new: NewDocument, lines: Sequence[NewLine], sold: Mapping[int, SoldLine]) -> None:
    asked: dict[int, int] = {}
    for line in lines:
        if line.order_line_id is not None:
            asked[line.order_line_id] = asked.get(line.order_line_id, 0) + line.units
    too_many = [(sold[line_id], units) for line_id, units in asked.items() if units > sold[line_id].returnable]
    if too_many:
        raise TooManyBack(too_many)
    for known in (sold[line_id] for line_id in asked):
        if known.location_id != new.location_id:
            raise BadInput(
                f"{known.code} of order {known.order_name} left from {known.location}: take it back there, "
                "then transfer it if it is to lie elsewhere"
            )


def _taken_from_quarantine(new: NewDocument, lines: Sequence[NewLine], sold: Mapping[int, SoldLine]) -> dict[Pair, int]:
    taken: dict[Pair, int] = {}
    for line in lines:
        if line.order_line_id is not None:
            known = sold[line.order_line_id]
            if line.units < 0 and line.disposition == "quarantine":
                for part, each in known.parts:
                    pair = (part, new.location_id)
                    taken[pair] = taken.get(pair, 0) - line.units * each
            continue
        done = rules.effect(new.kind, line.units, line.disposition)
        if done is not None and done.unavailable_delta_units < 0:
            pair = (line.sku_id, new.location_id)
            taken[pair] = taken.get(pair, 0) - done.unavailable_delta_units
    return taken


def _movements(new: NewDocument, document_id: int, lines: Sequence[NewLine], now: datetime) -> list[Movement]:
    movements = []
    for ordinal, line in enumerate(lines, start=1):
        if line.order_line_id is not None:
            continue
        done = rules.effect(new.kind, line.units, line.disposition, new.is_of_transfer)
        if done is not None:
            movements.append(
                Movement(
                    line.sku_id,
                    new.location_id,
                    done.delta_units,
                    done.reason,
                    key_of(document_id, ordinal),
                    now,
                    note=line.note,
                    unavailable_delta_units=done.unavailable_delta_units,
                )
            )
    return movements


def _line_returns(new: NewDocument, document_id: int, lines: Sequence[NewLine], now: datetime) -> list[LineReturn]:
    """What undoes a document has its lines, in turn."""
    return [
        LineReturn(
            key_of(document_id, ordinal),
            line.order_line_id,
            line.units,
            line.disposition or "restock",
            line.note,
            now,
            None if new.undoes_id is None else key_of(new.undoes_id, ordinal),
        )
        for ordinal, line in enumerate(lines, start=1)
        if line.order_line_id is not None
    ]


def key_of(document_id: int, ordinal: int) -> str:
    """The business key of what a line books."""
    return f"document:{document_id}:{ordinal}"
