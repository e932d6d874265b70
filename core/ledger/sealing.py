"""Writes: seal what is posted. Each seal follows the one before, so that nothing sealed can be changed unnoticed.

Ids are given out before units of work commit: a lower one may appear after a higher one was sealed. It is sealed then,
out of turn. While units of work may still be open that is looked for by every seal; whatever else there might be is
looked for over the whole ledger before a day's head is put on record outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from core.ledger import recorded
from core.ledger.recorded import Tip
from core.ledger.rules import digest, head_after, members_of

SEALED_AT_ONCE = 5000

COMMITTED_WITHIN = timedelta(hours=2)
"""No unit of work is open for so long: statements, and pauses between them, end after a minute, jobs after an hour."""

LOOKED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal that was written. `head`: of the chain, 32 bytes."""

    number: int
    first_id: int
    last_id: int
    transactions: int
    head: bytes


def hold_chain(conn: Connection, shop_id: int) -> None:
    """One at a time writes a shop's seals and anchors; until the unit of work ends."""
    execute(conn, "select pg_advisory_xact_lock(hashtextextended('ledger_seals:' || %(shop)s, 0))", shop=shop_id)


def seal(
    conn: Connection, shop_id: int, now: datetime, limit: int = SEALED_AT_ONCE, whole: bool = False
) -> Sealed | None:
    """Seal what is committed and not sealed yet, at most `limit` transactions; None where nothing is left.

    `whole`: look for what was left behind in the whole ledger, not only where units of work may have been open.
    """
    hold_chain(conn, shop_id)
    tip = recorded.tip(conn, shop_id)
    ids = _late(conn, shop_id, 0 if whole else settled_id(conn, shop_id, now), tip, limit)
    ids += recorded.ids_between(conn, shop_id, tip.last_id, None, limit - len(ids))
    return _write(conn, shop_id, tip, ids, now) if ids else None


def settled_id(conn: Connection, shop_id: int, now: datetime) -> int:
    """Up to which id everything that was ever to commit has."""
    found = scalar(
        conn,
        "select max(last_id) from ledger_seals where shop_id = %(shop)s and sealed_at < %(until)s",
        shop=shop_id,
        until=now - COMMITTED_WITHIN,
    )
    return found or 0


def _late(conn: Connection, shop_id: int, after: int, tip: Tip, limit: int) -> list[int]:
    if _counts_agree(conn, shop_id, after, tip.last_id):
        return []
    return unsealed(conn, shop_id, after, tip.last_id, limit)


def unsealed(conn: Connection, shop_id: int, after: int, until: int, limit: int) -> list[int]:
    """Ids of transactions above one and up to another that no seal covers, the lowest first, at most `limit`."""
    found: list[int] = []
    while len(found) < limit:
        ids = recorded.ids_between(conn, shop_id, after, until, LOOKED_AT_ONCE)
        if not ids:
            break
        sealed = recorded.sealed_between(conn, shop_id, ids[0], ids[-1])
        found += [number for number in ids if number not in sealed]
        after = ids[-1]
    return found[:limit]


def _counts_agree(conn: Connection, shop_id: int, after: int, until: int) -> bool:
    """Whether there are as many transactions as are sealed: the cheap answer, and nearly always the last one.

    Of a seal that begins below the range and ends in it not all count: then it is looked at closer.
    """
    (row,) = fetch(
        conn,
        """
        select (select count(*) from ledger_transactions
                where shop_id = %(shop)s and id > %(after)s and id <= %(until)s) as posted,
            coalesce(sum(transactions), 0) as sealed, coalesce(bool_or(first_id <= %(after)s), false) as straddles
        from ledger_seals where shop_id = %(shop)s and last_id > %(after)s
        """,
        shop=shop_id,
        after=after,
        until=until,
    )
    return row["posted"] == row["sealed"] and not row["straddles"]


def _write(conn: Connection, shop_id: int, tip: Tip, ids: list[int], now: datetime) -> Sealed:
    rows = recorded.transactions(conn, shop_id, ids)
    members = members_of((row.id, digest(shop_id, row)) for row in rows)
    made = Sealed(tip.number + 1, rows[0].id, rows[-1].id, len(rows), head_after(tip.head, members))
    execute(
        conn,
        """
        insert into ledger_seals (shop_id, number, first_id, last_id, transactions, members, previous_head, head,
            sealed_at)
        values (%(shop)s, %(number)s, %(first)s, %(last)s, %(count)s, %(members)s, %(previous)s, %(head)s, %(now)s)
        """,
        shop=shop_id,
        number=made.number,
        first=made.first_id,
        last=made.last_id,
        count=made.transactions,
        members=members,
        previous=tip.head,
        head=made.head,
        now=now,
    )
    return made
