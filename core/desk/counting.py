"""Writes: counts. A sheet for a location, counted blind, then approved or refused line by line.

At the moment a line's count is entered, what is on record is remembered with it. The variance is the difference of
those two, whenever it is approved: what is sold, received or shipped between counting and approval is not lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch
from core.desk import queries
from core.desk.booking import (
    NewDocument,
    NewLine,
    Outcome,
    Touched,
    key_of,
    lock_document,
    open_document,
    refuse_bundles,
    repeated,
    tell_channels,
)
from core.desk.rules import LINES_MAX, UNITS_MAX
from core.errors import Anticipated, BadInput
from core.inventory.operations import Movement, lock_levels, move, settle_numbers


class CountChanged(Anticipated):
    """Lines were counted anew, decided on, or counted and booked elsewhere since somebody looked at their variances."""

    def __init__(self, codes: Sequence[str], why: str = "changed since you looked: look again") -> None:
        shown = ", ".join(codes[:10]) + (f" and {len(codes) - 10} more" if len(codes) > 10 else "")
        super().__init__(f"{shown} {why}")


@dataclass(frozen=True, slots=True)
class Seen:
    """A variance as somebody saw it, to be approved or refused exactly so."""

    ordinal: int
    variance_units: int


def open_count(
    conn: Connection,
    shop_id: int,
    location_id: int,
    business_key: str,
    actor: Actor,
    now: datetime,
    *,
    codes: Iterable[str] | None = None,
    category: str | None = None,
    reference: str | None = None,
) -> Outcome:
    """Open a sheet: these SKUs, else those of a category, else all that have a level at the location.

    The sheet holds no number of ours. Raises NotOurs, BadInput for bundles, nothing to count, or too much for a sheet.
    """
    new = NewDocument("count", location_id, business_key, "open", reference=reference)
    sku_ids = _named_skus(conn, shop_id, codes) if codes is not None else _skus_at(conn, shop_id, location_id, category)
    if not sku_ids:
        raise BadInput("there is nothing to count there: name the SKUs that lie on the shelf")
    if len(sku_ids) > LINES_MAX:
        raise BadInput(f"{len(sku_ids):,} SKUs are more than one sheet takes ({LINES_MAX:,}): count by category")
    document_id = open_document(conn, shop_id, new, actor, now)
    if document_id is None:
        return repeated(conn, shop_id, new)
    _add_to_sheet(conn, shop_id, document_id, sku_ids)
    audit.record(conn, shop_id, actor, "open_count", f"document:{document_id}", now, lines=len(sku_ids))
    return Outcome(document_id, "count", True, 0, len(sku_ids), by=actor.name, at=now)


def _named_skus(conn: Connection, shop_id: int, codes: Iterable[str]) -> list[int]:
    found = queries.require_named(conn, shop_id, codes)
    bundles = sorted(sku.code for sku in found.values() if sku.is_bundle)
    if bundles:
        raise BadInput(
            f"{', '.join(bundles)}: a bundle has no stock of its own, so it cannot be counted: name its parts"
        )
    return list(dict.fromkeys(sku.sku_id for sku in found.values()))


def _skus_at(conn: Connection, shop_id: int, location_id: int, category: str | None) -> list[int]:
    rows = fetch(
        conn,
        f"""
        select s.id from skus s
        join stock_levels k on k.shop_id = s.shop_id and k.sku_id = s.id and k.location_id = %(location)s
        where s.shop_id = %(shop)s and s.is_stocked and not s.is_bundle
            and (%(category)s::text is null or s.category = %(category)s)
        order by s.code limit {LINES_MAX + 1}
        """,
        shop=shop_id,
        location=location_id,
        category=category,
    )
    return [row["id"] for row in rows]


def _add_to_sheet(conn: Connection, shop_id: int, document_id: int, sku_ids: Sequence[int]) -> None:
    execute(
        conn,
        """
        insert into stock_document_lines (shop_id, document_id, ordinal, sku_id, count_state)
        select %(shop)s, %(document)s, n.place + coalesce((select max(ordinal) from stock_document_lines
            where shop_id = %(shop)s and document_id = %(document)s), 0), n.sku, 'to_count'
        from unnest(%(skus)b::int8[]) with ordinality as n (sku, place)
        """,
        shop=shop_id,
        document=document_id,
        skus=list(sku_ids),
    )


def enter_counts(
    conn: Connection,
    shop_id: int,
    document_id: int,
    counted: Mapping[str, int],
    entry_key: str,
    actor: Actor,
    now: datetime,
) -> int:
    """Enter counts by code or barcode; returns how many lines were entered by this call.

    What is on record at this moment is remembered with each. A SKU that is not on the sheet is added to it; a line
    that was counted before is counted anew, an approved one is refused. `entry_key` names the form: what it entered
    once is not entered again, however late it is repeated. Raises NotOurs, NoDocument, BadInput.
    """
    found = lock_document(conn, shop_id, document_id, ("count",), "count")
    known = queries.require_named(conn, shop_id, counted)
    rows = {row["sku_id"]: row for row in queries.lines_of(conn, shop_id, document_id)}
    units = _units_by_sku(counted, known)
    wanted = {sku_id: units[sku_id] for sku_id in _not_entered(conn, shop_id, document_id, units, entry_key)}
    if not wanted:
        return 0
    if found["done_at"] is not None:
        raise BadInput(f"count {document_id} is finished: open a new one")
    approved = sorted(rows[sku]["code"] for sku in wanted if sku in rows and rows[sku]["count_state"] == "approved")
    if approved:
        raise BadInput(f"{', '.join(approved)}: that count is approved and booked; open a new count to count again")
    fresh = [sku_id for sku_id in wanted if sku_id not in rows]
    if len(rows) + len(fresh) > LINES_MAX:
        raise BadInput(f"that is more than one sheet takes ({LINES_MAX:,} SKUs): open another count")
    _add_to_sheet(conn, shop_id, document_id, fresh)
    lock_levels(conn, shop_id, ((sku_id, found["location_id"]) for sku_id in wanted))
    refuse_bundles(conn, shop_id, wanted)
    execute(
        conn,
        """
        update stock_document_lines l set count_state = 'counted', counted_units = n.units, on_hand_units = k.on_hand,
            last_movement_id = coalesce((select m.id from stock_movements m where m.shop_id = k.shop_id
                and m.sku_id = k.sku_id order by m.id desc limit 1), 0),
            counted_by = %(by)s, counted_at = %(now)s, decided_by = null, decided_at = null
        from unnest(%(skus)b::int8[], %(units)b::int8[]) as n (sku, units)
        join stock_levels k on k.shop_id = %(shop)s and k.sku_id = n.sku and k.location_id = %(location)s
        where l.shop_id = %(shop)s and l.document_id = %(document)s and l.sku_id = n.sku
        """,
        shop=shop_id,
        document=document_id,
        location=found["location_id"],
        by=actor.name,
        now=now,
        skus=list(wanted),
        units=list(wanted.values()),
    )
    audit.record(
        conn, shop_id, actor, "enter_counts", f"document:{document_id}", now, lines=len(wanted), added=len(fresh)
    )
    return len(wanted)


def _not_entered(conn: Connection, shop_id: int, document_id: int, sku_ids: Iterable[int], entry_key: str) -> list[int]:
    """The SKUs that this form has not entered before, in their order; from now on it has."""
    wanted = list(sku_ids)
    rows = fetch(
        conn,
        """
        insert into count_entries (shop_id, document_id, sku_id, entry_key)
        select %(shop)s, %(document)s, n.sku, %(key)s from unnest(%(skus)b::int8[]) as n (sku)
        on conflict do nothing returning sku_id
        """,
        shop=shop_id,
        document=document_id,
        key=entry_key,
        skus=wanted,
    )
    new = {row["sku_id"] for row in rows}
    return [sku_id for sku_id in wanted if sku_id in new]


def _units_by_sku(counted: Mapping[str, int], known: Mapping[str, queries.Named]) -> dict[int, int]:
    """Counts summed by SKU: a code and its barcode are one thing."""
    units: dict[int, int] = {}
    for word, number in counted.items():
        sku = known[word]
        if sku.is_bundle:
            raise BadInput(
                f"{sku.code} is a bundle and has no stock of its own, so it cannot be counted: count its parts"
            )
        if not 0 <= number <= UNITS_MAX:
            raise BadInput(f"{number:,} of {sku.code} is no count: give 0 to {UNITS_MAX:,}")
        units[sku.sku_id] = units.get(sku.sku_id, 0) + number
    return units


def approve(
    conn: Connection, shop_id: int, document_id: int, seen: Sequence[Seen], actor: Actor, now: datetime
) -> Outcome:
    """Book the variances of counted lines as they were seen; the last line of a sheet finishes the count.

    Lines approved before are passed over. Raises CountChanged (nothing is booked), NoDocument, BadInput.
    """
    found = lock_document(conn, shop_id, document_id, ("count",), "count")
    rows = {row["ordinal"]: row for row in queries.lines_of(conn, shop_id, document_id)}
    lines = _still_as_seen(rows, seen, passed="approved")
    place = found["location_id"]
    touched = Touched(conn, shop_id, ((row["sku_id"], place) for row in lines))
    _refuse_counted_since(conn, shop_id, place, lines)
    _decide(conn, shop_id, document_id, "approved", lines, actor, now)
    variances = {row["ordinal"]: row["counted_units"] - row["on_hand_units"] for row in lines}
    movements = [
        Movement(
            row["sku_id"],
            place,
            variances[row["ordinal"]],
            "count",
            key_of(document_id, row["ordinal"]),
            row["counted_at"],
            note=f"counted by {row['counted_by']}, approved by {actor.name}",
        )
        for row in lines
        if variances[row["ordinal"]]
    ]
    move(conn, shop_id, movements, actor.name, now)
    # Also where nothing moved: that there are none on the shelf is a number too.
    settle_numbers(conn, shop_id, touched.pairs)
    changes = touched.changes()
    tell_channels(conn, shop_id, document_id, changes, now)
    if lines:
        _finish_when_decided(conn, shop_id, document_id, actor, now)
        audit.record(
            conn,
            shop_id,
            actor,
            "approve_count",
            f"document:{document_id}",
            now,
            lines=len(lines),
            moved=len(movements),
            variance=sum(variances.values()),
            counted_by=sorted({row["counted_by"] for row in lines}),
        )
    made = [NewLine(row["sku_id"], variances[row["ordinal"]]) for row in lines]
    moved_units = sum(abs(units) for units in variances.values())
    return Outcome(document_id, "count", bool(lines), moved_units, len(lines), changes, (), actor.name, now, made)


def refuse(conn: Connection, shop_id: int, document_id: int, seen: Sequence[Seen], actor: Actor, now: datetime) -> int:
    """Send counted lines back to be counted again; returns how many. Raises CountChanged, NoDocument, BadInput."""
    lock_document(conn, shop_id, document_id, ("count",), "count")
    rows = {row["ordinal"]: row for row in queries.lines_of(conn, shop_id, document_id)}
    lines = _still_as_seen(rows, seen, passed="refused")
    if lines:
        _decide(conn, shop_id, document_id, "refused", lines, actor, now)
        audit.record(
            conn,
            shop_id,
            actor,
            "refuse_count",
            f"document:{document_id}",
            now,
            refused={row["code"]: row["counted_units"] for row in lines},
        )
    return len(lines)


def finish(conn: Connection, shop_id: int, document_id: int, actor: Actor, now: datetime) -> int:
    """End a count whose counted lines are all decided; what was never counted stays as it is. Returns those left out.

    Finished before: returns 0. Raises BadInput while variances wait for a decision.
    """
    found = lock_document(conn, shop_id, document_id, ("count",), "count")
    if found["done_at"] is not None:
        return 0
    rows = queries.lines_of(conn, shop_id, document_id)
    waiting = sum(row["count_state"] == "counted" for row in rows)
    if waiting:
        raise BadInput(f"{waiting:,} counted lines wait to be approved or refused: decide on them first")
    approved = sum(row["count_state"] == "approved" for row in rows)
    _close(conn, shop_id, document_id, "done" if approved else "cancelled", actor, now)
    left = len(rows) - approved
    audit.record(conn, shop_id, actor, "finish_count", f"document:{document_id}", now, approved=approved, left=left)
    return left


def _still_as_seen(rows: Mapping[int, RowMapping], seen: Sequence[Seen], passed: str) -> list[RowMapping]:
    """The counted lines among those seen. Raises CountChanged where one is not as it was seen."""
    lines, changed = [], []
    for item in seen:
        row = rows.get(item.ordinal)
        if row is None:
            raise BadInput(f"the count has no line {item.ordinal}")
        if row["count_state"] == passed:
            continue
        is_same = row["count_state"] == "counted" and row["counted_units"] - row["on_hand_units"] == item.variance_units
        if is_same:
            lines.append(row)
        else:
            changed.append(row["code"])
    if changed:
        raise CountChanged(changed)
    return lines


def _refuse_counted_since(conn: Connection, shop_id: int, place: int, lines: Sequence[RowMapping]) -> None:
    """Raises CountChanged where a count, or a channel's opening number, was booked since a line was counted.

    It found what this line found, most likely: booked again, one loss would be two. The levels are locked, as they were
    when the line was counted, so movements of a SKU there have their ids in the order they were booked in.
    """
    rows = fetch(
        conn,
        """
        select n.code from unnest(%(codes)b::text[], %(skus)b::int8[], %(lasts)b::int8[]) as n (code, sku, last)
        where exists (select from stock_movements m where m.shop_id = %(shop)s and m.sku_id = n.sku and m.id > n.last
            and m.location_id = %(place)s and (m.reason = 'count' or m.business_key like 'opening:%%'))
        order by n.code
        """,
        shop=shop_id,
        place=place,
        codes=[row["code"] for row in lines],
        skus=[row["sku_id"] for row in lines],
        lasts=[row["last_movement_id"] for row in lines],
    )
    if rows:
        verb = "was" if len(rows) == 1 else "were"
        why = f"{verb} counted and booked since the count of this sheet: it may have found the same. Count again"
        raise CountChanged([row["code"] for row in rows], why)


def _decide(
    conn: Connection,
    shop_id: int,
    document_id: int,
    state: str,
    lines: Sequence[RowMapping],
    actor: Actor,
    now: datetime,
) -> None:
    # A refused line forgets what was counted, so that nobody copies it: the audit keeps it.
    execute(
        conn,
        """
        update stock_document_lines set count_state = %(state)s, decided_by = %(by)s, decided_at = %(now)s,
            units = case when %(state)s = 'approved' then counted_units - on_hand_units end,
            counted_units = case when %(state)s = 'approved' then counted_units end,
            on_hand_units = case when %(state)s = 'approved' then on_hand_units end,
            counted_by = case when %(state)s = 'approved' then counted_by end,
            counted_at = case when %(state)s = 'approved' then counted_at end
        where shop_id = %(shop)s and document_id = %(document)s and ordinal = any(%(ordinals)b::int4[])
        """,
        shop=shop_id,
        document=document_id,
        state=state,
        by=actor.name,
        now=now,
        ordinals=[row["ordinal"] for row in lines],
    )


def _finish_when_decided(conn: Connection, shop_id: int, document_id: int, actor: Actor, now: datetime) -> None:
    rows = queries.lines_of(conn, shop_id, document_id)
    if all(row["count_state"] == "approved" for row in rows):
        _close(conn, shop_id, document_id, "done", actor, now)


def _close(conn: Connection, shop_id: int, document_id: int, state: str, actor: Actor, now: datetime) -> None:
    execute(
        conn,
        """
        update stock_documents set state = %(state)s, done_by = %(by)s, done_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and done_at is null
        """,
        shop=shop_id,
        id=document_id,
        state=state,
        by=actor.name,
        now=now,
    )
