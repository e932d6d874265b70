"""Reads: transactions as they stand, in the form in which they are sealed, and the seals over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one, scalar
from core.ledger.rules import GENESIS, Recorded, members_in

SEALS_AT_ONCE = 20
"""Of 5,000 transactions each they are 4 MB."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A row of `ledger_seals`; see the table for what each column means."""

    number: int
    first_id: int
    last_id: int
    members: bytes
    previous_head: bytes
    head: bytes


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a shop's chain stands: its last seal (0: none), the head, and the highest id that any seal covers."""

    number: int = 0
    head: bytes = GENESIS
    last_id: int = 0


def tip(conn: Connection, shop_id: int) -> Tip:
    """Where the chain of a shop stands."""
    row = fetch_one(
        conn,
        "select number, head from ledger_seals where shop_id = %(shop)s order by number desc limit 1",
        shop=shop_id,
    )
    if row is None:
        return Tip()
    top = scalar(conn, "select max(last_id) from ledger_seals where shop_id = %(shop)s", shop=shop_id)
    return Tip(row["number"], row["head"], top)


def seals(conn: Connection, shop_id: int, after: int = 0) -> Iterator[Seal]:
    """The seals of a shop in order of number, those after one; a few at a time are in memory."""
    while True:
        rows = fetch(
            conn,
            """
            select number, first_id, last_id, members, previous_head, head from ledger_seals
            where shop_id = %(shop)s and number > %(after)s order by number limit %(limit)s
            """,
            shop=shop_id,
            after=after,
            limit=SEALS_AT_ONCE,
        )
        yield from (Seal(**row) for row in rows)
        if len(rows) < SEALS_AT_ONCE:
            return
        after = rows[-1]["number"]


def transactions(conn: Connection, shop_id: int, ids: Sequence[int]) -> list[Recorded]:
    """Transactions with their entries, in order of id; those that are not there are left out."""
    rows = fetch(
        conn,
        """
        select t.id, t.key, t.kind, t.order_id, t.event_at, t.recorded_at, t.note, t.recorded_by,
            e.accounts, e.amounts, e.currencies
        from ledger_transactions t
        left join lateral (
            select array_agg(e.account_id order by e.account_id) as accounts,
                array_agg(e.amount_minor order by e.account_id) as amounts,
                array_agg(e.currency order by e.account_id) as currencies
            from ledger_entries e where e.shop_id = t.shop_id and e.transaction_id = t.id
        ) e on true
        where t.shop_id = %(shop)s and t.id = any(%(ids)b::int8[]) order by t.id
        """,
        shop=shop_id,
        ids=list(ids),
    )
    return [_recorded(row) for row in rows]


def _recorded(row: RowMapping) -> Recorded:
    entries = zip(row["accounts"] or (), row["amounts"] or (), row["currencies"] or (), strict=True)
    return Recorded(
        row["id"],
        row["key"],
        row["kind"],
        row["order_id"],
        row["event_at"],
        row["recorded_at"],
        row["note"],
        row["recorded_by"],
        tuple(entries),
    )


def ids_between(conn: Connection, shop_id: int, after: int, until: int | None, limit: int) -> list[int]:
    """Ids of transactions above one, up to another (None: without end), the lowest first."""
    rows = fetch(
        conn,
        """
        select id from ledger_transactions
        where shop_id = %(shop)s and id > %(after)s and id <= coalesce(%(until)s, id) order by id limit %(limit)s
        """,
        shop=shop_id,
        after=after,
        until=until,
        limit=limit,
    )
    return [row["id"] for row in rows]


def sealed_between(conn: Connection, shop_id: int, first: int, last: int) -> set[int]:
    """Which ids in a range any seal covers."""
    rows = fetch(
        conn,
        "select members from ledger_seals where shop_id = %(shop)s and last_id >= %(first)s and first_id <= %(last)s",
        shop=shop_id,
        first=first,
        last=last,
    )
    return {number for row in rows for number in members_in(row["members"]) if first <= number <= last}
