"""Writes: open accounts and post transactions, the only writer of entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.ledger.rules import AccountName, Transaction, check


@dataclass(frozen=True, slots=True)
class Posted:
    """Where a transaction stands. `is_new`: it was posted just now; its key was there before otherwise."""

    id: int
    is_new: bool


def open_accounts(
    conn: Connection, shop_id: int, names: Iterable[AccountName], now: datetime
) -> dict[AccountName, int]:
    """The ids of accounts, each opened when it is named first. Two that open the same one meet at its name."""
    wanted = sorted(set(names), key=lambda n: (n.kind, n.party_id or 0, n.connection_id or 0, n.currency))
    found = _accounts(conn, shop_id, wanted)
    missing = [name for name in wanted if name not in found]
    if missing:
        fetch(
            conn,
            """
            insert into ledger_accounts (shop_id, kind, party_id, connection_id, currency, opened_at)
            select %(shop)s, n.*, %(now)s
            from unnest(%(kinds)b::text[], %(parties)b::int8[], %(connections)b::int8[], %(currencies)b::text[]) as n
            on conflict do nothing returning id
            """,
            shop=shop_id,
            now=now,
            **_columns(missing),
        )
        found |= _accounts(conn, shop_id, missing)
    return found


def _accounts(conn: Connection, shop_id: int, names: Sequence[AccountName]) -> dict[AccountName, int]:
    if not names:
        return {}
    rows = fetch(
        conn,
        """
        select a.id, n.number
        from unnest(%(kinds)b::text[], %(parties)b::int8[], %(connections)b::int8[], %(currencies)b::text[])
            with ordinality as n (kind, party, connection, currency, number)
        join ledger_accounts a on a.shop_id = %(shop)s and a.kind = n.kind and a.currency = n.currency
            and a.party_id is not distinct from n.party and a.connection_id is not distinct from n.connection
        """,
        shop=shop_id,
        **_columns(names),
    )
    return {names[row["number"] - 1]: row["id"] for row in rows}


def _columns(names: Sequence[AccountName]) -> dict[str, list[object]]:
    return {
        "kinds": [name.kind for name in names],
        "parties": [name.party_id for name in names],
        "connections": [name.connection_id for name in names],
        "currencies": [name.currency for name in names],
    }


def post(conn: Connection, shop_id: int, transactions: Sequence[Transaction], now: datetime) -> dict[str, Posted]:
    """Post transactions with all their entries by one statement; returns where each key stands.

    A key that is posted already stands as it was: the same fact is posted once, whoever says it again. Raises
    Unbalanced and EmptyTransaction before anything is written.
    """
    if not transactions:
        return {}
    for transaction in transactions:
        check(transaction)
    accounts = open_accounts(conn, shop_id, (name for one in transactions for name in one.entries), now)
    ordered = sorted(transactions, key=lambda one: one.key)
    new = {row["key"]: Posted(row["id"], True) for row in _insert(conn, shop_id, ordered, accounts, now)}
    known = [one.key for one in ordered if one.key not in new]
    return new | _standing(conn, shop_id, known)


def _insert(
    conn: Connection,
    shop_id: int,
    transactions: Sequence[Transaction],
    accounts: Mapping[AccountName, int],
    now: datetime,
) -> Sequence[RowMapping]:
    entries = (
        (number, accounts[name], amount, name.currency)
        for number, one in enumerate(transactions, start=1)
        for name, amount in one.entries.items()
        if amount
    )
    columns = zip(("numbers", "accounts", "amounts", "currencies"), map(list, zip(*entries, strict=True)), strict=True)
    return fetch(
        conn,
        """
        with posted as (
            insert into ledger_transactions (shop_id, key, kind, order_id, event_at, recorded_at, note, recorded_by)
            select %(shop)s, n.key, n.kind, n.order_id, n.event_at, %(now)s, n.note, n.recorded_by
            from unnest(%(keys)b::text[], %(kinds)b::text[], %(orders)b::int8[], %(events)b::timestamptz[],
                %(notes)b::text[], %(names)b::text[]) as n (key, kind, order_id, event_at, note, recorded_by)
            on conflict (shop_id, key) do nothing
            returning id, key
        ), numbered as (
            -- An array by number: of tens of thousands of entries each finds its transaction without a join.
            select array_agg(posted.id order by k.number) as ids
            from unnest(%(keys)b::text[]) with ordinality as k (key, number) left join posted on posted.key = k.key
        ), entered as (
            insert into ledger_entries (shop_id, transaction_id, account_id, amount_minor, currency)
            select %(shop)s, numbered.ids[e.number], e.account_id, e.amount, e.currency
            from numbered cross join unnest(%(numbers)b::int4[], %(accounts)b::int8[], %(amounts)b::int8[],
                %(currencies)b::text[]) as e (number, account_id, amount, currency)
            where numbered.ids[e.number] is not null
        )
        select id, key from posted
        """,
        shop=shop_id,
        now=now,
        keys=[one.key for one in transactions],
        kinds=[one.kind for one in transactions],
        orders=[one.order_id for one in transactions],
        events=[one.event_at for one in transactions],
        notes=[one.note for one in transactions],
        names=[one.recorded_by for one in transactions],
        **dict(columns),
    )


def _standing(conn: Connection, shop_id: int, keys: Sequence[str]) -> dict[str, Posted]:
    if not keys:
        return {}
    rows = fetch(
        conn,
        "select id, key from ledger_transactions where shop_id = %(shop)s and key = any(%(keys)b::text[])",
        shop=shop_id,
        keys=list(keys),
    )
    return {row["key"]: Posted(row["id"], False) for row in rows}
