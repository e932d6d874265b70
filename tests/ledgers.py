"""Transactions for tests of the ledger: what a sale of so much moves, posted by hand: no order is behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.db import fetch
from core.ledger import operations as ledger
from core.ledger.operations import Posted
from core.ledger.rules import AccountName, Transaction
from tests.factories import CURRENCY, NOW, later

RECEIVABLE = AccountName("channel_receivable", CURRENCY)
PLATFORM = AccountName("platform", CURRENCY)
TAX = AccountName("tax", CURRENCY)


def make_transaction(
    key: str = "order:1:1", amount: int = 1200, entries: Mapping[AccountName, int] | None = None, **more: Any
) -> Transaction:
    """So many minor units, a sixth of them taxes."""
    if entries is None:
        tax = amount // 6
        entries = {RECEIVABLE: amount, PLATFORM: tax - amount, TAX: -tax}
    values = {"kind": "adjustment", "event_at": later(1), "note": f"By hand, {key}", **more}
    return Transaction(key=key, entries=entries, **values)


def post(conn: Connection, shop_id: int, *keys: str, now: datetime = NOW, amount: int = 1200) -> dict[str, Posted]:
    """Post so much for each key."""
    return ledger.post(conn, shop_id, [make_transaction(key, amount) for key in keys], now)


def entries_of(conn: Connection, shop_id: int, key: str) -> dict[str, int]:
    """Kind of account -> amount of what is posted under a key."""
    rows: Sequence[Any] = fetch(
        conn,
        """
        select k.kind, e.amount_minor from ledger_transactions t
        join ledger_entries e on e.shop_id = t.shop_id and e.transaction_id = t.id
        join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
        where t.shop_id = %(shop)s and t.key = %(key)s
        """,
        shop=shop_id,
        key=key,
    )
    return {row["kind"]: row["amount_minor"] for row in rows}
