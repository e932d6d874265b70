"""Files of the desk: a dry run that says every error by row and column and every change, then the act itself.

The dry run is the act, taken back. Columns are found by name, in any order; what is ambiguous is refused, never
guessed. A file is booked in one unit of work and once: its digest is the documents' business key.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.catalog.operations import lock_listings
from core.db import fetch, fetch_one
from core.desk import counting, documents, operations, queries, rules
from core.desk.booking import Item, Outcome, Pair, lock_document
from core.desk.queries import Named, Returnable
from core.desk.rows import Act, Problem, Reading, Row, Wanted, read_rows
from core.errors import Anticipated, BadInput
from core.inventory.operations import hold_compositions, lock_levels
from core.inventory.queries import parts_of
from core.orders.desk_returns import lock_sold

KINDS: Mapping[str, rules.Kind] = {
    "receive": "receipt",
    "adjust": "adjustment",
    "count": "count",
    "transfer": "transfer",
    "return": "return",
}

PROBLEMS_MAX = 500
"""Enough to repair by; a file with more says how many."""


class BadFile(BadInput):
    """A file with errors; nothing of it was booked."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        super().__init__(f"{name}: {problems[0]}{more}")


class AlreadyLoaded(Anticipated):
    """The same file was booked before."""

    def __init__(self, name: str, by: str, at: datetime, document_id: int) -> None:
        super().__init__(
            f"{name} was booked by {by} on {at:%d %b %Y at %H:%M} UTC as document {document_id}. "
            "If it is to be booked again, undo that document first."
        )


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a file would do. `problems` empty: it can be booked, and would come to `outcomes`."""

    name: str
    act: Act
    rows: int
    blank_rows: int
    problems: Sequence[Problem] = ()
    outcomes: Sequence[Outcome] = ()
    notes: Sequence[str] = ()

    @property
    def units(self) -> int:
        """Units of all rows."""
        return sum(outcome.units for outcome in self.outcomes)

    @property
    def skus(self) -> int:
        """Different SKUs of all rows."""
        return len({line.sku_id for outcome in self.outcomes for line in outcome.lines})


@dataclass(frozen=True, slots=True)
class _Group:
    """What becomes one document."""

    location_id: int
    to_id: int | None
    items: Sequence[Item]


def dry_run(
    engine: Engine, shop_id: int, wanted: Wanted, name: str, data: bytes, actor: Actor, now: datetime
) -> DryRun:
    """What a file would do, and everything that is wrong with it; nothing is kept."""
    with engine.connect() as conn, conn.begin() as transaction:
        try:
            return _rehearse(conn, shop_id, wanted, name, data, actor, now)
        finally:
            transaction.rollback()


def apply(
    conn: Connection, shop_id: int, wanted: Wanted, name: str, data: bytes, actor: Actor, now: datetime
) -> list[Outcome]:
    """Book a file in the caller's unit of work, all of it or nothing.

    A count is entered and waits for approval; a transfer is drafted and waits to be sent. Raises BadFile,
    AlreadyLoaded, and what the acts raise.
    """
    reading, groups = _understood(conn, shop_id, wanted, name, data)
    if reading.problems:
        raise BadFile(name, reading.problems)
    return _book(conn, shop_id, wanted, name, data, groups, actor, now)


def _rehearse(
    conn: Connection, shop_id: int, wanted: Wanted, name: str, data: bytes, actor: Actor, now: datetime
) -> DryRun:
    reading, groups = _understood(conn, shop_id, wanted, name, data)
    found = DryRun(name, wanted.act, reading.count, reading.blank, reading.problems, (), reading.notes)
    if reading.problems:
        return found
    try:
        outcomes = _book(conn, shop_id, wanted, name, data, groups, actor, now)
        # What waits for a second step is shown as that step would leave it.
        outcomes = [_second_step(conn, shop_id, outcome, actor, now) for outcome in outcomes]
    except Anticipated as error:
        return replace(found, problems=[Problem(None, None, str(error))])
    notes = [*reading.notes, *dict.fromkeys(note for outcome in outcomes for note in outcome.notes)]
    return replace(found, outcomes=outcomes, notes=notes)


def _second_step(conn: Connection, shop_id: int, outcome: Outcome, actor: Actor, now: datetime) -> Outcome:
    if outcome.kind == "transfer":
        return documents.send_transfer(conn, shop_id, outcome.document_id, actor, now)
    if outcome.kind == "count":
        seen = [
            counting.Seen(row["ordinal"], row["counted_units"] - row["on_hand_units"])
            for row in queries.lines_of(conn, shop_id, outcome.document_id)
        ]
        return counting.approve(conn, shop_id, outcome.document_id, seen, actor, now)
    return outcome


def _understood(conn: Connection, shop_id: int, wanted: Wanted, name: str, data: bytes) -> tuple[Reading, list[_Group]]:
    reading = read_rows(wanted, name, data)
    groups = _resolved(conn, shop_id, wanted, reading)
    if reading.blank:
        reading.notes.append(f"{reading.blank:,} blank {'row' if reading.blank == 1 else 'rows'} passed over.")
    if len(reading.problems) > PROBLEMS_MAX:
        rest = len(reading.problems) - PROBLEMS_MAX
        more = Problem(None, None, f"and {rest:,} more errors like these")
        reading.problems = [*reading.problems[:PROBLEMS_MAX], more]
    return reading, groups


# --- from rows to documents --------------------------------------------------------------------------------------


def _resolved(conn: Connection, shop_id: int, wanted: Wanted, reading: Reading) -> list[_Group]:
    """Rows as items by document, in the order of the file."""
    found, why = queries.named(conn, shop_id, {row.word for row in reading.rows})
    places = {name: place for place, name in queries.locations(conn, shop_id).items()}
    sold = _sold(conn, shop_id, reading)
    groups: dict[tuple[int, int | None], list[Item]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for row in reading.rows:
        sku = found.get(row.word)
        if sku is None:
            reading.wrong(row.number, row.column, why[row.word])
            continue
        if sku.is_bundle and rules.is_forbidden_for_bundles(KINDS[wanted.act]):
            verb = "counted" if wanted.act == "count" else "adjusted"
            reading.wrong(
                row.number, row.column, f"{sku.code} is a bundle and cannot be {verb}: name what it is made of"
            )
            continue
        items = _items_of(row, sku, sold, reading)
        place = _place(row, "location", row.location, places, wanted.location_id, items, sold, reading)
        to = None
        if wanted.act == "transfer":
            to = _place(row, "to", row.to, places, wanted.to_id, (), sold, reading)
            if place is not None and place == to:
                reading.wrong(row.number, "to", "goes where it is already: name another location")
        if place is None or (wanted.act == "transfer" and to is None):
            continue
        seen[place, to, sku.code, row.order, row.disposition] += 1
        groups.setdefault((place, to), []).extend(items)
    double = sorted({str(key[2]) for key, times in seen.items() if times > 1})
    if double:
        shown = ", ".join(double[:10]) + (f" and {len(double) - 10} more" if len(double) > 10 else "")
        reading.notes.append(f"In several rows, added up: {shown}.")
    return [_Group(place, to, items) for (place, to), items in groups.items()]


def _place(
    row: Row,
    column: str,
    name: str,
    places: Mapping[str, int],
    default: int | None,
    items: Sequence[Item],
    sold: Mapping[str, Sequence[Returnable]],
    reading: Reading,
) -> int | None:
    if name:
        if name not in places:
            reading.wrong(row.number, column, f"there is no location “{name}”: there is {', '.join(places)}")
        return places.get(name)
    if items and items[0].order_line_id is not None:
        lines = {line.order_line_id: line for line in sold[_order_key(row.order)]}
        return lines[items[0].order_line_id].location_id
    if default is None:
        reading.wrong(row.number, column, "is empty: name the location, or choose one for the whole file")
    return default


def _order_key(name: str) -> str:
    return name.strip().lstrip("#")


def _sold(conn: Connection, shop_id: int, reading: Reading) -> dict[str, list[Returnable]]:
    """Lines of the orders that the file names, by order."""
    names = {_order_key(row.order) for row in reading.rows if row.order}
    sold: dict[str, list[Returnable]] = {name: [] for name in names}
    if names:
        for line in queries.returnable(conn, shop_id, names):
            sold[_order_key(line.order_name)].append(line)
    return sold


def _items_of(row: Row, sku: Named, sold: dict[str, list[Returnable]], reading: Reading) -> list[Item]:
    """One item, or for a return of an order one for each of its lines that it takes from."""
    disposition, note = row.disposition or None, row.reason or None
    if not row.order:
        return [Item(sku.code, row.units, disposition, None, note)]
    lines = sold[_order_key(row.order)]
    channels = sorted({line.connection for line in lines})
    of_sku = [line for line in lines if line.sku_id == sku.sku_id]
    if not lines:
        reading.wrong(row.number, "order", f"there is no order “{row.order}” with goods of ours")
    elif len(channels) > 1:
        reading.wrong(
            row.number, "order", f"“{row.order}” is an order of {' and of '.join(channels)}: take it back by hand"
        )
    elif not of_sku:
        reading.wrong(row.number, row.column, f"order {row.order} has no {sku.code}")
    else:
        items, left = [], row.units
        for place, line in enumerate(lines):
            units = min(left, line.returnable_units) if line.sku_id == sku.sku_id else 0
            if units:
                items.append(Item(sku.code, units, disposition, line.order_line_id, note))
                lines[place] = replace(
                    line,
                    returnable_units=line.returnable_units - units,
                    taken_back_units=line.taken_back_units + units,
                )
                left -= units
        if not left:
            return items
        reading.wrong(
            row.number,
            "units",
            f"{row.units:,} of {sku.code} cannot come back of order {row.order}: "
            f"{sum(line.shipped_units for line in of_sku):,} left, "
            f"{sum(line.taken_back_units for line in of_sku):,} came back over the desk already",
        )
    return []


def _book(
    conn: Connection,
    shop_id: int,
    wanted: Wanted,
    name: str,
    data: bytes,
    groups: Sequence[_Group],
    actor: Actor,
    now: datetime,
) -> list[Outcome]:
    key = _free_key(conn, shop_id, wanted.act, name, data)
    _lock(conn, shop_id, wanted, groups)
    outcomes = []
    for number, group in enumerate(groups, start=1):
        done = _book_one(conn, shop_id, wanted, group, f"{key}:{number}", name, actor, now)
        if not done.is_new:
            # Somebody booked it while we read it.
            raise AlreadyLoaded(name, done.by, done.at or now, done.document_id)
        outcomes.append(done)
    return outcomes


def _lock(conn: Connection, shop_id: int, wanted: Wanted, groups: Sequence[_Group]) -> None:
    """Lock what all documents of a file touch, in the one order, before the first of them is booked.

    One after the other they would lock levels after listings, and deadlock with whoever books one of them beside us.
    """
    awaited: list[Pair] = []
    if wanted.against_id is not None:
        kinds = ("purchase_order", "transfer")
        source = lock_document(conn, shop_id, wanted.against_id, kinds, "purchase order or transfer")
        place = source["to_location_id"] or source["location_id"]
        awaited = [(line.sku_id, place) for line in queries.expected_of(conn, shop_id, wanted.against_id)]
    items = [(place, item) for group in groups for place in (group.location_id, group.to_id) for item in group.items]
    sold = lock_sold(conn, shop_id, {item.order_line_id for _, item in items if item.order_line_id is not None})
    hold_compositions(conn, shop_id)
    named = queries.require_named(conn, shop_id, {item.code for _, item in items})
    parts = parts_of(conn, shop_id, {sku.sku_id for sku in named.values()})
    pairs = {
        *awaited,
        *((part, line.location_id) for line in sold.values() if line.location_id for part, _ in line.parts),
        *(
            (part, place)
            for place, item in items
            if place is not None and item.order_line_id is None
            for part, _ in parts[named[item.code].sku_id]
        ),
    }
    lock_levels(conn, shop_id, pairs)
    lock_listings(conn, shop_id, sku_ids={sku for sku, _ in pairs})


def _book_one(
    conn: Connection,
    shop_id: int,
    wanted: Wanted,
    group: _Group,
    key: str,
    name: str,
    actor: Actor,
    now: datetime,
) -> Outcome:
    place, items = group.location_id, group.items
    if wanted.act == "receive":
        return operations.receive(
            conn, shop_id, place, items, key, actor, now, against_id=wanted.against_id, reference=name
        )
    if wanted.act == "adjust":
        return operations.adjust(conn, shop_id, place, items, key, actor, now, reference=name)
    if wanted.act == "return":
        return operations.take_back(conn, shop_id, place, items, key, actor, now, reference=name)
    if wanted.act == "transfer":
        assert group.to_id is not None
        return documents.draft_transfer(conn, shop_id, place, group.to_id, items, key, actor, now, reference=name)
    counted: Counter[str] = Counter()
    for item in items:
        counted[item.code] += item.units
    done = counting.open_count(conn, shop_id, place, key, actor, now, codes=list(counted), reference=name)
    if done.is_new:
        counting.enter_counts(conn, shop_id, done.document_id, counted, key, actor, now)
    return replace(done, units=sum(counted.values()))


def _free_key(conn: Connection, shop_id: int, act: Act, name: str, data: bytes) -> str:
    """The business key of this file's documents. Raises AlreadyLoaded unless every earlier booking of it was undone."""
    stem = f"file:{hashlib.sha256(data).hexdigest()}:{act}"
    standing = fetch_one(
        conn,
        """
        select d.id, d.created_by, d.created_at from stock_documents d
        where d.shop_id = %(shop)s and d.business_key like %(stem)s and d.state <> 'cancelled'
            and not exists (select from stock_documents u where u.shop_id = d.shop_id and u.undoes_id = d.id)
        order by d.id limit 1
        """,
        shop=shop_id,
        stem=f"{stem}:%",
    )
    if standing is not None:
        raise AlreadyLoaded(name, standing["created_by"], standing["created_at"], standing["id"])
    (earlier,) = fetch(
        conn,
        """
        select count(distinct split_part(business_key, ':', 4)) as times from stock_documents
        where shop_id = %(shop)s and business_key like %(stem)s
        """,
        shop=shop_id,
        stem=f"{stem}:%",
    )
    return f"{stem}:{earlier['times'] + 1}"
