"""The sealed chain, recomputed from today's rows and held against the anchors outside of the database.

What stands in anchor files is believed more than what stands in the database: with them a changed row is found, and
named, though every seal since was written anew. One seal at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from core.db import fetch
from core.ledger import anchor_files, recorded, sealing
from core.ledger.anchor_files import AnchorIsBroken, Heads
from core.ledger.recorded import Seal
from core.ledger.rules import GENESIS, digest, head_after, members_in
from core.ledger.sealing import COMMITTED_WITHIN

Name = Literal["ledger_rows_are_as_sealed", "ledger_chain_follows", "ledger_is_as_anchored", "ledger_anchors_are_whole"]

HOLDS: dict[Name, str] = {
    "ledger_rows_are_as_sealed": "every sealed transaction says what it said when it was sealed, and none was put among"
    " them later",
    "ledger_chain_follows": "every seal follows from the one before",
    "ledger_is_as_anchored": "the chain is what its anchors outside of the database say",
    "ledger_anchors_are_whole": "every anchor on record is in its place, whole, and follows from the one before",
}
"""What is verified, beside the queries of core.invariants."""

SHOWN_MAX = 1000
"""Enough to know whom to ask."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What does not hold: which of HOLDS, and the row that says where and what."""

    name: Name
    row: dict[str, Any]


@dataclass(slots=True)
class Verifier:
    """Goes through one shop's chain. After it `notes` says what could not be looked at, in words.

    `seen`: the anchors that were there before the connection's snapshot was taken; others are noted and left to the
    next time, since the snapshot may lack what they hold. None: nobody writes any meanwhile.
    """

    conn: Connection
    shop_id: int
    root: Path
    now: datetime
    notes: list[str] = field(default_factory=list)
    seen: Heads | None = None
    _days: list[date] = field(default_factory=list)
    """Whose files can be held against the chain."""
    _torn: list[tuple[date, str]] = field(default_factory=list)
    _missing: dict[int, bytes] = field(default_factory=dict)
    """Anchored members that were not met among seals yet, where seals were written anew."""
    _extra: set[int] = field(default_factory=set)

    def run(self) -> Iterator[Broken]:
        """Everything that does not hold, as it is met."""
        yield from self._anchors()
        anchored = self._anchored()
        expected = next(anchored, None)
        last = GENESIS
        number = 0
        for ours in recorded.seals(self.conn, self.shop_id):
            yield from self._follows(ours, number, last)
            number, last = ours.number, ours.head
            while expected is not None and expected[1].number < ours.number:
                yield from self._seal_is_gone(*expected)
                expected = next(anchored, None)
            if expected is not None and expected[1].number == ours.number:
                yield from self._members(ours, *expected)
                expected = next(anchored, None)
            else:
                yield from self._rows(ours.number, members_in(ours.members), None)
        while expected is not None:
            yield from self._seal_is_gone(*expected)
            expected = next(anchored, None)
        yield from self._rewritten()
        yield from self._out_of_turn()

    # --- anchors ------------------------------------------------------------------------------------------------------

    def _anchors(self) -> Iterator[Broken]:
        """Anchors that are on record and not there, or do not follow; notes where there is nothing to hold against."""
        known = {
            row["day"]: row
            for row in fetch(
                self.conn,
                "select day, seal_number, head, place from ledger_anchors where shop_id = %(shop)s order by day",
                shop=self.shop_id,
            )
        }
        there = anchor_files.days(self.root, self.shop_id)
        if not known and not there:
            self.notes.append(
                f"shop {self.shop_id} has no anchors yet in {self.root}: its chain is held against today's rows alone"
            )
        for day, row in known.items():
            if day not in there:
                yield self._anchor(day, f"is not in {self.root}, though it was put at {row['place']}")
        number, head = 0, GENESIS
        for day in there:
            try:
                first = anchor_files.header(self.root, self.shop_id, day)
            except AnchorIsBroken as error:
                yield self._anchor(day, error.why)
                continue
            if self.seen is not None and self.seen.get((self.shop_id, day), b"") not in (None, first.head):
                self.notes.append(f"the anchor of shop {self.shop_id} of {day} was written while it was verified")
                continue
            if (first.shop_id, first.day) != (self.shop_id, day):
                yield self._anchor(day, f"is that of shop {first.shop_id} of {first.day}")
                continue
            of_record = known.get(day)
            if of_record is None:
                self.notes.append(
                    f"the anchor of shop {self.shop_id} of {day} is there and not on record in the database"
                )
            elif (of_record["seal_number"], bytes(of_record["head"])) != (first.number, first.head):
                yield self._anchor(day, "has another head than the database has on record for that day")
            if first.after < number or (first.after == number and first.previous_head != head):
                yield self._anchor(day, f"does not follow from the one before, which ends at seal {number}")
                continue
            if first.after > number:
                yield self._anchor(
                    day, f"begins after seal {first.after}: the files with seals from {number + 1} on are missing"
                )
            self._days.append(day)
            number, head = first.number, first.head

    def _anchored(self) -> Iterator[tuple[date, Seal]]:
        """Every seal of every file with its day."""
        for day in self._days:
            try:
                for one in anchor_files.read(self.root, self.shop_id, day):
                    yield day, one
            except AnchorIsBroken as error:
                self._torn.append((day, error.why))

    def _anchor(self, day: date, what: str) -> Broken:
        return Broken("ledger_anchors_are_whole", {"shop_id": self.shop_id, "day": day, "what": f"the file {what}"})

    # --- seals --------------------------------------------------------------------------------------------------------

    def _follows(self, ours: Seal, number: int, head: bytes) -> Iterator[Broken]:
        what = None
        if ours.number != number + 1:
            what = f"seals {number + 1} to {ours.number - 1} are gone"
        elif ours.previous_head != head:
            what = "it does not follow from the one before"
        elif ours.head != head_after(head, ours.members):
            what = "its head is not that of its members"
        if what is not None:
            yield Broken("ledger_chain_follows", self._of_seal(ours, what))

    def _of_seal(self, seal: Seal, what: str) -> dict[str, Any]:
        return {
            "shop_id": self.shop_id,
            "seal": seal.number,
            "first_id": seal.first_id,
            "last_id": seal.last_id,
            "what": what,
        }

    def _seal_is_gone(self, day: date, seal: Seal) -> Iterator[Broken]:
        yield Broken("ledger_is_as_anchored", self._of_seal(seal, f"seal gone since the anchor of {day}"))
        yield from self._rows(seal.number, members_in(seal.members), day)

    def _members(self, ours: Seal, day: date, theirs: Seal) -> Iterator[Broken]:
        """Hold today's rows against what the anchor says of them, which is what our seal says if nobody changed it."""
        if (ours.members, ours.head) != (theirs.members, theirs.head):
            yield Broken("ledger_is_as_anchored", self._of_seal(ours, f"seal rewritten since the anchor of {day}"))
            before, now = members_in(theirs.members), members_in(ours.members)
            self._missing |= {number: found for number, found in before.items() if number not in now}
            self._extra |= now.keys() - before.keys()
        yield from self._rows(theirs.number, members_in(theirs.members), day)

    def _rewritten(self) -> Iterator[Broken]:
        """Transactions of seals written anew that no anchor knows of, though what was anchored ends after them."""
        added = sorted(self._extra - self._missing.keys())
        for row in recorded.transactions(self.conn, self.shop_id, added):
            yield self._row(row.id, row.key, None, "row added into the sealed range, and sealed with it")
        for day, why in self._torn:
            yield self._anchor(day, why)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _rows(self, number: int, members: dict[int, bytes], day: date | None) -> Iterator[Broken]:
        changed = []
        rows = {row.id: row for row in recorded.transactions(self.conn, self.shop_id, list(members))}
        since = f" since the anchor of {day}" if day is not None else ""
        for transaction_id, sealed in members.items():
            row = rows.get(transaction_id)
            if row is None:
                yield self._row(transaction_id, None, number, f"row gone{since}")
            elif digest(self.shop_id, row) != sealed:
                changed.append(row)
        told = _with_other_sums(self.conn, self.shop_id, [row.id for row in changed])
        for row in changed:
            what = "entry changed" if row.id in told else "row changed"
            yield self._row(row.id, row.key, number, f"{what}{since}", note=row.note)

    def _row(self, transaction_id: int, key: str | None, number: int | None, what: str, **more: Any) -> Broken:
        row = {"shop_id": self.shop_id, "transaction_id": transaction_id, "key": key, "seal": number, "what": what}
        return Broken("ledger_rows_are_as_sealed", row | more)

    def _out_of_turn(self) -> Iterator[Broken]:
        """Transactions with an id below what was sealed when no unit of work with such an id could be open any more."""
        rows = fetch(
            self.conn,
            """
            select s.number, s.first_id, b.last_id from (
                select number, first_id, sealed_at from ledger_seals where shop_id = %(shop)s
            ) s cross join lateral (
                select max(b.last_id) as last_id from ledger_seals b
                where b.shop_id = %(shop)s and b.number < s.number and b.sealed_at < s.sealed_at - %(within)s
            ) b where s.first_id < b.last_id order by s.number
            """,
            shop=self.shop_id,
            within=COMMITTED_WITHIN,
        )
        for row in rows:
            seal = next(recorded.seals(self.conn, self.shop_id, row["number"] - 1))
            late = [number for number in members_in(seal.members) if number < row["last_id"]]
            for one in recorded.transactions(self.conn, self.shop_id, late):
                yield self._row(one.id, one.key, seal.number, "row added into the sealed range")
        until = sealing.settled_id(self.conn, self.shop_id, self.now)
        for number in sealing.unsealed(self.conn, self.shop_id, 0, until, SHOWN_MAX):
            for one in recorded.transactions(self.conn, self.shop_id, [number]):
                yield self._row(one.id, one.key, None, "row added into the sealed range")


def _with_other_sums(conn: Connection, shop_id: int, ids: Sequence[int]) -> set[int]:
    """Those of some transactions with an account whose entries no longer come to its sums by day."""
    if not ids:
        return set()
    rows = fetch(
        conn,
        """
        with concerned as (
            select distinct account_id from ledger_entries
            where shop_id = %(shop)s and transaction_id = any(%(ids)b::int8[])
        ), wrong as (
            select c.account_id from concerned c
            where (select coalesce(sum(e.amount_minor), 0) from ledger_entries e
                    where e.shop_id = %(shop)s and e.account_id = c.account_id)
                <> (select coalesce(sum(d.debit_minor - d.credit_minor), 0) from ledger_account_days d
                    where d.shop_id = %(shop)s and d.account_id = c.account_id)
        )
        select distinct e.transaction_id from ledger_entries e join wrong w on w.account_id = e.account_id
        where e.shop_id = %(shop)s and e.transaction_id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=list(ids),
    )
    return {row["transaction_id"] for row in rows}


def shops(conn: Connection) -> list[int]:
    """Whose ledgers there are."""
    return [row["shop_id"] for row in fetch(conn, "select shop_id from shops order by shop_id")]
