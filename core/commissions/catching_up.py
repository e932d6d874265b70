"""Writes: orders of which no money is booked yet, and sums by day brought together.

An order is booked with its money in one unit of work; what is found here was booked before there was a ledger.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from core.commissions.operations import settle
from core.commissions.returns import settle_returns
from core.db import execute, fetch


def shops(conn: Connection) -> list[int]:
    """All shops."""
    return [row["shop_id"] for row in fetch(conn, "select shop_id from shops order by 1")]


FOLD_AT_ONCE = 50_000
"""Rows looked at in one unit of work."""


def settle_unbooked(conn: Connection, shop_id: int, now: datetime, limit: int = 500) -> int:
    """Book the money of up to `limit` orders that have none booked, the oldest first; returns how many there were.

    Orders that somebody is booking just now are left for the next time.
    """
    rows = fetch(
        conn,
        """
        select o.id, exists (select from channel_acts c where c.shop_id = o.shop_id
            and c.connection_id = o.connection_id and c.kind = 'order_edit' and c.ref = o.channel_ref) as is_edited
        from orders o
        where o.shop_id = %(shop)s and not o.is_test
            and exists (select from order_lines l where l.shop_id = o.shop_id and l.order_id = o.id)
            and not exists (select from commission_accruals a where a.shop_id = o.shop_id and a.order_id = o.id)
        order by o.id limit %(limit)s for update of o skip locked
        """,
        shop=shop_id,
        limit=limit,
    )
    settle(conn, shop_id, [row["id"] for row in rows], now, {row["id"] for row in rows if row["is_edited"]})
    # Facts that nobody may lock; were two at the same, the key of what they post lets one of them do it.
    returns = fetch(
        conn,
        """
        select r.business_key from customer_returns r
        where r.shop_id = %(shop)s and not exists (select from commission_accruals a
            where a.shop_id = r.shop_id and a.customer_return_id = r.id)
        order by r.id limit %(limit)s
        """,
        shop=shop_id,
        limit=limit,
    )
    settle_returns(conn, shop_id, [row["business_key"] for row in returns], now)
    return len(rows) + len(returns)


_SUMS = ("net", "tax", "seller", "platform", "creator", "referrer", "channel", "authority", "unassigned")


def fold_days(conn: Connection, shop_id: int) -> int:
    """Bring rows of sums that are alike together; returns how many rows that replaced.

    Rows that another fold is at are left to it, so that nothing is counted twice.
    """
    alike = "day, connection_id, category, seller_id, creator_id, referrer_id, currency, base, cause"
    sums = [f"{name}_minor" for name in _SUMS] + ["accruals"]
    folded = _fold(conn, shop_id, "commission_days", alike, sums)
    return folded + _fold(
        conn, shop_id, "ledger_account_days", "account_id, day", ["debit_minor", "credit_minor", "entries"]
    )


def _fold(conn: Connection, shop_id: int, table: str, alike: str, sums: list[str]) -> int:
    columns = alike.split(", ")
    same = " and ".join(f"k.{name} is not distinct from w.{name}" for name in columns)
    return execute(
        conn,
        f"""
        with worth_it as (
            select {alike} from {table} where shop_id = %(shop)s group by {alike} having count(*) > 1
            limit %(limit)s
        ), taken as (
            select k.id from {table} k join worth_it w on {same}
            where k.shop_id = %(shop)s order by k.id for update of k skip locked
        ), gone as (
            delete from {table} k using taken where k.shop_id = %(shop)s and k.id = taken.id
            returning {", ".join(f"k.{name}" for name in (*columns, *sums))}
        ), folded as (
            insert into {table} (shop_id, {alike}, {", ".join(sums)})
            select %(shop)s, {alike}, {", ".join(f"sum({name})" for name in sums)} from gone group by {alike}
        )
        select from gone
        """,
        shop=shop_id,
        limit=FOLD_AT_ONCE,
    )
