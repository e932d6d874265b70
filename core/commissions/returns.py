"""Writes: what was given back without an order is taken from whoever sells such goods now, by the rules in force then.

There is no window left for it: it is booked to what is payable at once.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.commissions import queries
from core.commissions.operations import freeze_terms, insert_accruals, terms_of
from core.commissions.rules import Amount, Context, RuleBook, Shares, shares
from core.db import fetch
from core.ledger import operations as ledger
from core.ledger.rules import AccountName, Transaction

NO_CONNECTION = 0


def settle_returns(conn: Connection, shop_id: int, business_keys: Collection[str], now: datetime) -> int:
    """Book the money of some returns that no order explains and that were just recorded; returns how many."""
    rows = fetch(
        conn,
        """
        select r.id, r.business_key, r.sku_id, k.category, r.units, r.total_minor, r.currency, r.customer_ref,
            r.returned_at
        from customer_returns r join skus k on k.shop_id = r.shop_id and k.id = r.sku_id
        where r.shop_id = %(shop)s and r.business_key = any(%(keys)b::text[])
            and not exists (select from commission_accruals a
                where a.shop_id = r.shop_id and a.customer_return_id = r.id)
        order by r.id
        """,
        shop=shop_id,
        keys=sorted(business_keys),
    )
    if not rows:
        return 0
    book = _book(conn, shop_id, rows)
    keys = {row["id"]: book.terms(_context(row)) for row in rows}
    ids = freeze_terms(conn, shop_id, set(keys.values()), now)
    terms = queries.terms_rows(conn, shop_id, set(ids.values()))
    rules = {rule.id: rule for rule in book.rules}
    accruals: list[tuple[Any, ...]] = []
    transactions: list[Transaction] = []
    for row in rows:
        terms_id = ids[keys[row["id"]]]
        amount = Amount(-row["total_minor"], 0, -row["total_minor"], 0, row["units"])
        found = shares(terms_of(terms[terms_id], rules)["item"], amount)
        accruals.append(_accrual(row, terms_id, amount, found))
        entries = _entries(row["currency"], terms[terms_id], amount, found)
        if entries:
            note = f"Return without an order, {row['business_key']}"
            transactions.append(Transaction(f"return:{row['id']}", "return", row["returned_at"], note, entries))
    posted = ledger.post(conn, shop_id, transactions, now)
    numbers = [posted[key].id if (key := f"return:{row['id']}") in posted else None for row in rows]
    insert_accruals(conn, shop_id, accruals, numbers, now)
    return len(rows)


def _book(conn: Connection, shop_id: int, rows: Collection[RowMapping]) -> RuleBook:
    return RuleBook(
        queries.living_rules(conn, shop_id),
        queries.living_assignments(
            conn,
            shop_id,
            {row["sku_id"] for row in rows},
            {row["customer_ref"] for row in rows if row["customer_ref"] is not None},
        ),
        queries.settings(conn, shop_id).return_window_days,
        queries.windows_of_sellers(conn, shop_id),
    )


def _context(row: RowMapping) -> Context:
    return Context(
        NO_CONNECTION,
        row["sku_id"],
        row["category"],
        row["customer_ref"],
        frozenset(),
        row["returned_at"],
        row["currency"],
    )


def _accrual(row: RowMapping, terms_id: int, amount: Amount, found: Shares) -> tuple[Any, ...]:
    nothing = None
    return (
        *(nothing, nothing, row["id"], nothing, 1, "item", "return", nothing, nothing),
        *(terms_id, row["currency"], amount.net, amount.tax, *found, nothing, nothing, row["returned_at"]),
    )


def _entries(currency: str, terms: dict[str, Any], amount: Amount, found: Shares) -> dict[AccountName, int]:
    entries = {
        AccountName("channel_receivable", currency): amount.net + amount.tax,
        AccountName("platform", currency): -found.platform,
        AccountName("channel_fees", currency): -found.channel,
    }
    parties = (("seller_id", found.seller), ("creator_id", found.creator), ("referrer_id", found.referrer))
    for column, share in parties:
        if terms[column] is not None and share:
            name = AccountName("payable", currency, terms[column])
            entries[name] = entries.get(name, 0) - share
    return {name: minor for name, minor in entries.items() if minor}
