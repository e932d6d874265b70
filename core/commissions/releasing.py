"""Writes: earnings become payable once their buyers can no longer return.

What was earned of an order lies in each party's refund reserve until the window of its lines closes; it then goes over
to what is payable, by one transaction for all windows that are released together. Whatever happens to such an order
later is booked to what is payable at once, and may drive it below zero: that is carried forward to what is earned next.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch
from core.ledger import operations as ledger
from core.ledger.rules import AccountName, Transaction

Window = tuple[int, int]
"""(order, days)"""


def release_due(conn: Connection, shop_id: int, now: datetime, limit: int = 500) -> int:
    """Release up to `limit` windows that have closed; returns how many that were.

    Orders that somebody is booking just now are left for the next time.
    """
    windows = _lock_due(conn, shop_id, now, limit)
    if not windows:
        return 0
    entries = _entries(_held(conn, shop_id, windows))
    transaction_id = None
    if entries:
        order_id, days = windows[0]
        orders = len({window[0] for window in windows})
        note = f"Return windows closed, {orders} order{'' if orders == 1 else 's'}"
        # A window is released once, so that the first of them names all.
        one = Transaction(f"release:{order_id}:{days}", "release", now, note, entries, recorded_by="release")
        transaction_id = ledger.post(conn, shop_id, [one], now)[one.key].id
    execute(
        conn,
        """
        update commission_windows w set released_at = %(now)s, transaction_id = %(transaction)s
        from unnest(%(orders)b::int8[], %(days)b::int4[]) as n (order_id, days)
        where w.shop_id = %(shop)s and w.order_id = n.order_id and w.days = n.days
        """,
        shop=shop_id,
        now=now,
        transaction=transaction_id,
        **_columns(windows),
    )
    return len(windows)


def shops_with_due(conn: Connection, now: datetime) -> list[int]:
    """The shops that have something to release."""
    rows = fetch(
        conn,
        """
        select s.shop_id from shops s where exists (select from commission_windows w
            where w.shop_id = s.shop_id and w.released_at is null and w.closes_at <= %(now)s)
        order by 1
        """,
        now=now,
    )
    return [row["shop_id"] for row in rows]


def _lock_due(conn: Connection, shop_id: int, now: datetime, limit: int) -> list[Window]:
    """The windows to release, with their orders locked in order of id: a booking comes before or after."""
    candidates = fetch(
        conn,
        """
        select distinct order_id from (
            select order_id from commission_windows
            where shop_id = %(shop)s and released_at is null and closes_at <= %(now)s order by closes_at limit %(limit)s
        ) due
        """,
        shop=shop_id,
        now=now,
        limit=limit,
    )
    locked = fetch(
        conn,
        """
        select id from orders where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id
        for update skip locked
        """,
        shop=shop_id,
        ids=[row["order_id"] for row in candidates],
    )
    rows = fetch(
        conn,
        """
        select order_id, days from commission_windows
        where shop_id = %(shop)s and order_id = any(%(ids)b::int8[]) and released_at is null and closes_at <= %(now)s
        order by order_id, days for update
        """,
        shop=shop_id,
        now=now,
        ids=[row["id"] for row in locked],
    )
    return [(row["order_id"], row["days"]) for row in rows]


def _held(conn: Connection, shop_id: int, windows: Sequence[Window]) -> Sequence[RowMapping]:
    """What each party earned of these windows, by currency."""
    return fetch(
        conn,
        """
        select p.party_id, a.currency, sum(p.minor)::int8 as minor
        from unnest(%(orders)b::int8[], %(days)b::int4[]) as n (order_id, days)
        join commission_accruals a on a.shop_id = %(shop)s and a.order_id = n.order_id
        join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id and t.window_days = n.days
        cross join lateral (values (t.seller_id, a.seller_minor), (t.creator_id, a.creator_minor),
            (t.referrer_id, a.referrer_minor)) as p (party_id, minor)
        where p.party_id is not null and p.minor <> 0
        group by 1, 2 having sum(p.minor) <> 0 order by 1, 2
        """,
        shop=shop_id,
        **_columns(windows),
    )


def _entries(held: Sequence[RowMapping]) -> dict[AccountName, int]:
    entries: dict[AccountName, int] = {}
    for row in held:
        entries[AccountName("refund_reserve", row["currency"], row["party_id"])] = row["minor"]
        entries[AccountName("payable", row["currency"], row["party_id"])] = -row["minor"]
    return entries


def _columns(windows: Sequence[Window]) -> dict[str, list[int]]:
    return {"orders": [order_id for order_id, _ in windows], "days": [days for _, days in windows]}
