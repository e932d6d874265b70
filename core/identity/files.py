"""The mapping table as a CSV file: out in pages, in with a dry run that says every error by row and every effect.

Columns by name, in any order: connection, kind, identifier, sku, ours, source, reason; what else there is, is not read.
A row with `ours` "no" and no SKU sets aside; one with the source "automatic" leaves what was found by itself as it is.
The dry run is the act, taken back. A file is loaded in one unit of work, all of it or nothing, and once: its digest is
a unique key. What a spreadsheet would run as a formula is written with an apostrophe in front and read without it, so
that a file comes back in as it went out.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Literal

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import fetch, fetch_one, scalar
from core.desk import sheets
from core.desk.rows import Problem
from core.desk.sheets import Cell, Sheet, normalized
from core.errors import Anticipated, BadInput
from core.identity import assigning, queries
from core.identity.concerned import named_listings
from core.identity.operations import MappingChanged, details
from core.identity.outcomes import Answer, Outcome
from core.identity.rules import Identifier, identifier
from core.spreadsheets import guarded, unguarded

BYTES_MAX = 20_000_000
ROWS_MAX = 50_000
PROBLEMS_MAX = 500

HEADS = ("connection", "kind", "identifier", "sku", "ours", "source", "reason", "mapped_by", "mapped_at")
_ALIASES: Mapping[str, frozenset[str]] = {
    "connection": frozenset(("connection", "channel", "marketplace")),
    "kind": frozenset(("kind", "type", "identifier type")),
    "identifier": frozenset(("identifier", "value", "id")),
    "sku": frozenset(("sku", "code", "sku code", "our sku")),
    "ours": frozenset(("ours", "is ours")),
    "source": frozenset(("source",)),
    "reason": frozenset(("reason", "note", "comment")),
}
_NO, _YES = frozenset(("no", "n", "false", "0")), frozenset(("", "yes", "y", "true", "1"))

_AUTOMATIC = "automatic"

ChangeKind = Literal["new", "confirms", "repeats", "remaps", "sets_aside", "unchanged"]
"""confirms: it was found by itself and is somebody's word from now on; repeats: the file says that it was found by
itself, and it stays so."""


class BadFile(BadInput):
    """A file with errors; nothing of it was loaded."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        super().__init__(f"{name}: {problems[0]}{more}")


class AlreadyLoaded(Anticipated):
    """The same file was loaded before."""

    def __init__(self, name: str, by: str, at: datetime) -> None:
        super().__init__(
            f"{name} was loaded by {by} on {at:%d %b %Y at %H:%M} UTC: a file is loaded once. Change what has to"
            " differ, or export the table and change that"
        )


@dataclass(frozen=True, slots=True)
class RowChange:
    """What a row of the file does. `from_code` None: nothing was answered; `to_code` None: it is set aside."""

    row: int
    connection: str
    kind: str
    value: str
    change: ChangeKind
    from_code: str | None
    to_code: str | None


@dataclass(slots=True)
class DryRun:
    """What a file would do. `problems` empty: it can be loaded; `outcome` is what that would come to."""

    name: str
    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    changes: list[RowChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def count(self, change: ChangeKind) -> int:
        """How many rows do that."""
        return sum(1 for each in self.changes if each.change == change)

    def wrong(self, row: int | None, column: str | None, text: str) -> None:
        """Note an error."""
        self.problems.append(Problem(row, column, text))


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    answer: Answer
    connection: str
    code: str | None
    source: str


# --- out -------------------------------------------------------------------------------------------------------------


def export(conn: Connection, shop_id: int, connection_id: int | None, out: IO[str]) -> int:
    """Write the living mapping table of a connection, or of all, to a text file; returns how many rows."""
    writer = csv.writer(out)
    writer.writerow(HEADS)
    written = 0
    for row in queries.all_mapped(conn, shop_id, connection_id):
        writer.writerow(_cells(row))
        written += 1
    return written


def _cells(row: RowMapping) -> Iterator[str]:
    yield guarded(row["connection"])
    yield row["kind"]
    yield guarded(row["value"])
    yield guarded(row["code"] or "")
    yield "yes" if row["is_ours"] else "no"
    yield row["source"]
    yield guarded(row["reason"])
    yield guarded(row["mapped_by"])
    yield row["mapped_at"].isoformat(timespec="seconds")


# --- in --------------------------------------------------------------------------------------------------------------


def dry_run(engine: Engine, shop_id: int, name: str, data: bytes, actor: Actor, now: datetime) -> DryRun:
    """What a file would do, and everything that is wrong with it; nothing is kept."""
    with engine.connect() as conn, conn.begin() as transaction:
        try:
            return _rehearse(conn, shop_id, name, data, actor, now)
        finally:
            transaction.rollback()


def load(
    conn: Connection,
    shop_id: int,
    name: str,
    data: bytes,
    actor: Actor,
    now: datetime,
    *,
    token: str | None = None,
) -> DryRun:
    """Load a file in the caller's unit of work, all of it or nothing.

    `token`: that of the dry run's outcome; with it, nothing is loaded where the facts have changed since.
    Raises BadFile, AlreadyLoaded, MappingChanged, WriteStillOpen.
    """
    done, rows = _understood(conn, shop_id, name, data)
    if done.problems:
        raise BadFile(name, done.problems)
    _refuse_loaded(conn, shop_id, name, data)
    done.outcome = assigning.assign(conn, shop_id, [row.answer for row in rows], "file", actor, now, may_move=True)
    if token is not None and done.outcome.token() != token:
        raise MappingChanged
    _note_loaded(conn, shop_id, done, data, actor, now)
    return done


def _rehearse(conn: Connection, shop_id: int, name: str, data: bytes, actor: Actor, now: datetime) -> DryRun:
    found, rows = _understood(conn, shop_id, name, data)
    if found.problems:
        return found
    try:
        _refuse_loaded(conn, shop_id, name, data)
        found.outcome = assigning.assign(conn, shop_id, [row.answer for row in rows], "file", actor, now, may_move=True)
    except Anticipated as error:
        found.wrong(None, None, str(error))
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse_loaded(conn: Connection, shop_id: int, name: str, data: bytes) -> None:
    # One file at a time: two of the same would both find nothing.
    fetch(conn, "select pg_advisory_xact_lock(hashtextextended('identifier_files:' || %(shop)s, 0))", shop=shop_id)
    before = fetch_one(
        conn,
        "select loaded_by, loaded_at from identifier_files where shop_id = %(shop)s and digest = %(digest)s",
        shop=shop_id,
        digest=_digest(data),
    )
    if before is not None:
        raise AlreadyLoaded(name, before["loaded_by"], before["loaded_at"])


def _note_loaded(conn: Connection, shop_id: int, done: DryRun, data: bytes, actor: Actor, now: datetime) -> None:
    counts = {
        "rows": done.rows,
        "mapped": done.count("new") + done.count("confirms"),
        "remapped": done.count("remaps"),
        "aside": done.count("sets_aside"),
    }
    file_id = scalar(
        conn,
        """
        insert into identifier_files (shop_id, digest, name, rows, mapped, remapped, set_aside, loaded_by, reason,
            loaded_at)
        values (%(shop)s, %(digest)s, %(name)s, %(rows)s, %(mapped)s, %(remapped)s, %(aside)s, %(by)s, %(reason)s,
            %(now)s) returning id
        """,
        shop=shop_id,
        digest=_digest(data),
        name=done.name,
        by=actor.name,
        reason=actor.reason,
        now=now,
        **counts,
    )
    audit.record(
        conn,
        shop_id,
        actor,
        "load_identifiers",
        f"identifier_file:{file_id}",
        now,
        name=done.name,
        **counts,
        **details(done.outcome),
    )


def _understood(conn: Connection, shop_id: int, name: str, data: bytes) -> tuple[DryRun, list[_Row]]:
    found = DryRun(name)
    known = {alias for aliases in _ALIASES.values() for alias in aliases}
    try:
        sheet = sheets.read(name, data, known, bytes_max=BYTES_MAX, rows_max=ROWS_MAX, past_broken=True)
    except sheets.UnreadableFile as error:
        found.wrong(None, None, str(error))
        return found, []
    found.rows = len(sheet.rows)
    for number, why in sheet.broken:
        found.wrong(number, None, why)
    if sheet.blank_rows:
        found.notes.append(f"{sheet.blank_rows:,} blank rows passed over.")
    columns = _columns(sheet, found)
    rows = [] if len(found.problems) > len(sheet.broken) else _rows(conn, shop_id, sheet, columns, found)
    if not found.problems:
        _refuse_contradictions(conn, shop_id, rows, found)
        found.changes = _changes(conn, shop_id, rows)
        rows = _without_repeated(rows, found)
    found.problems.sort(key=lambda each: each.row or 0)
    if len(found.problems) > PROBLEMS_MAX:
        rest = len(found.problems) - PROBLEMS_MAX
        found.problems = [*found.problems[:PROBLEMS_MAX], Problem(None, None, f"and {rest:,} more errors like these")]
    return found, rows


def _without_repeated(rows: Sequence[_Row], found: DryRun) -> list[_Row]:
    """Without those that say of what was found by itself that it was: an export that comes back is nobody's word."""
    repeated = {change.row for change in found.changes if change.change == "repeats"}
    if repeated:
        many = "1 row repeats" if len(repeated) == 1 else f"{len(repeated):,} rows repeat"
        found.notes.append(
            f"{many} what was found by itself, and leave it so. To make one somebody's word, empty its “source”."
        )
    return [row for row in rows if row.number not in repeated]


def _columns(sheet: Sheet, found: DryRun) -> dict[str, int]:
    places: dict[str, list[int]] = {}
    for place, head in enumerate(sheet.heads):
        for key, aliases in _ALIASES.items():
            if normalized(head) in aliases:
                places.setdefault(key, []).append(place)
    for key, some in places.items():
        if len(some) > 1:
            heads = " and ".join(f"“{sheet.heads[place]}”" for place in some)
            found.wrong(1, key, f"{heads} both mean {key}: keep one of them")
    for key in ("connection", "kind", "identifier", "sku"):
        if key not in places:
            found.wrong(1, key, f"no column is the {key}: call it “{key}”")
    return {key: some[0] for key, some in places.items()}


def _rows(conn: Connection, shop_id: int, sheet: Sheet, columns: Mapping[str, int], found: DryRun) -> list[_Row]:
    """The rows that can be read, with every error of the others."""

    def cell(cells: Sequence[Cell], key: str) -> str:
        place = columns.get(key)
        return unguarded(cells[place].text) if place is not None and place < len(cells) else ""

    connections = {
        row["name"]: row["id"]
        for row in fetch(conn, "select name, id from connections where shop_id = %(shop)s", shop=shop_id)
    }
    skus = _skus(conn, shop_id, {cell(cells, "sku") for _, cells in sheet.rows})
    rows: list[_Row] = []
    first: dict[Identifier, int] = {}
    for number, cells in sheet.rows:
        before = len(found.problems)
        for key, place in columns.items():
            if place < len(cells) and (why := cells[place].problem) is not None:
                found.wrong(number, key, f"“{cells[place].text}” {why}")
        name, code = cell(cells, "connection"), cell(cells, "sku")
        if name not in connections:
            found.wrong(number, "connection", f"there is no connection “{name}”: there is {', '.join(connections)}")
        is_ours = _is_ours(number, cell(cells, "ours"), code, found)
        if is_ours and code not in skus:
            found.wrong(number, "sku", _no_sku(conn, shop_id, code))
        one = _identifier(number, connections.get(name, 0), cell(cells, "kind"), cell(cells, "identifier"), found)
        if one is not None and name in connections:
            if one in first:
                found.wrong(number, "identifier", f"“{one.value}” is in row {first[one]} already: say it once")
            first.setdefault(one, number)
        if len(found.problems) == before and one is not None:
            answer = Answer(one, skus[code] if is_ours else None, cell(cells, "reason") or None)
            rows.append(_Row(number, answer, name, code if is_ours else None, normalized(cell(cells, "source"))))
    return rows


def _is_ours(number: int, word: str, code: str, found: DryRun) -> bool:
    if normalized(word) in _NO:
        if code:
            found.wrong(number, "ours", f"“{word}” sets it aside, and there is a SKU {code}: keep one of the two")
        return False
    if normalized(word) not in _YES:
        found.wrong(number, "ours", f"“{word}” is neither yes nor no")
    return True


def _identifier(number: int, connection_id: int, kind: str, value: str, found: DryRun) -> Identifier | None:
    try:
        return identifier(connection_id, normalized(kind).replace(" ", "_"), value)
    except BadInput as error:
        found.wrong(number, "identifier", str(error))
        return None


def _skus(conn: Connection, shop_id: int, codes: set[str]) -> dict[str, int]:
    rows = fetch(
        conn,
        "select code, id from skus where shop_id = %(shop)s and code = any(%(codes)b::text[])",
        shop=shop_id,
        codes=sorted(codes),
    )
    return {row["code"]: row["id"] for row in rows}


def _no_sku(conn: Connection, shop_id: int, code: str) -> str:
    if not code:
        return "names no SKU: fill it in, or write no under “ours”"
    try:
        queries.sku_of(conn, shop_id, code)
    except BadInput as error:
        return str(error)
    raise AssertionError(code)


def _refuse_contradictions(conn: Connection, shop_id: int, rows: Sequence[_Row], found: DryRun) -> None:
    """Two rows that name the same listing by different identifiers have to mean the same SKU."""
    by_connection: dict[int, list[_Row]] = {}
    for row in rows:
        by_connection.setdefault(row.answer.identifier.connection_id, []).append(row)
    for connection_id, some in by_connection.items():
        by_name = {(row.answer.identifier.kind, row.answer.identifier.value): row for row in some}
        names = [row.answer.identifier for row in some]
        for listing in named_listings(conn, shop_id, connection_id, names):
            of_it = [
                by_name[key]
                for key in (
                    ("variant", listing["channel_ref"]),
                    ("seller_sku", listing["channel_code"]),
                    ("fnsku", listing["label_ref"]),
                    ("barcode", listing["barcode"]),
                    ("asin", listing["product_ref"]),
                )
                if key in by_name
            ]
            if len({row.code for row in of_it}) > 1:
                first, other = sorted(of_it, key=lambda row: row.number)[:2]
                text = (
                    f"ambiguous: row {first.number} is of the same listing {listing['channel_ref']} and says"
                    f" {first.code or 'not ours'}: keep one of the two"
                )
                if all(problem.row != other.number for problem in found.problems):
                    found.wrong(other.number, "sku", text)


def _changes(conn: Connection, shop_id: int, rows: Sequence[_Row]) -> list[RowChange]:
    """What each row does to the mapping table and to what is mapped now."""
    known = {
        (row["connection_id"], row["kind"], row["value"]): row
        for row in fetch(
            conn,
            """
            select i.connection_id, i.kind, i.value, i.sku_id, i.source, s.code
            from unnest(%(connections)b::int8[], %(kinds)b::text[], %(values)b::text[])
                as n (connection_id, kind, value)
            join sku_identifiers i on i.shop_id = %(shop)s and i.connection_id = n.connection_id and i.kind = n.kind
                and i.value = n.value and i.ended_at is null
            left join skus s on s.shop_id = i.shop_id and s.id = i.sku_id
            """,
            shop=shop_id,
            connections=[row.answer.identifier.connection_id for row in rows],
            kinds=[row.answer.identifier.kind for row in rows],
            values=[row.answer.identifier.value for row in rows],
        )
    }
    changes = []
    for row in rows:
        one = row.answer.identifier
        before = known.get((one.connection_id, one.kind, one.value))
        changes.append(
            RowChange(
                row.number,
                row.connection,
                one.kind,
                one.value,
                _change_of(row, before),
                None if before is None else before["code"],
                row.code,
            )
        )
    return changes


def _change_of(row: _Row, before: RowMapping | None) -> ChangeKind:
    if before is not None and before["sku_id"] == row.answer.sku_id:
        if before["source"] != _AUTOMATIC:
            return "unchanged"
        return "repeats" if row.source == _AUTOMATIC else "confirms"
    if row.answer.sku_id is None:
        return "sets_aside"
    return "new" if before is None or before["sku_id"] is None else "remaps"
