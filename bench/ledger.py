"""`ledger`: transactions and entries posted a second, held against a bare insert of the same rows.

- ours: `core.ledger.operations.post` in batches, each a unit of work: balanced in Python, accounts looked up, a key
  posted once, the database's own guards (balanced, whole, accounts of that currency, never added to), sums by account
  and day.
- floor: the same rows by `unnest` into twins of both tables, with their constraints and indexes and without a trigger:
  ids and accounts known beforehand, nothing checked, nothing looked up, no sums.
- sealing: what was posted, digested and chained, as the job does it; verifying: the chain recomputed from the rows.

What is posted are the transactions that real orders come to, split among 50 sellers, 20 creators and 5 referrers; they
take turns, so that neither has the fresher tables.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from bench import rule_set
from bench import shop as shops
from bench.report import Report
from bench.servers import Servers
from bench.shop import Shop
from bench.stream import ORDERS_ONLY, World, make_world
from core import bootstrap
from core.clock import utc_now
from core.db import count_grown_tables, execute, fetch, make_engine, scalar, unit_of_work
from core.ledger import operations as ledger
from core.ledger import sealing
from core.ledger.rules import AccountName, Transaction
from core.ledger.verifying import Verifier
from core.messaging import inbox
from core.messaging.inbox import Batch
from core.orders.intake import Intake

ORDERS = 500
TRANSACTIONS = 10_000
BATCH = 500
AIM = 0.6

_TABLES = ("ledger_transactions", "ledger_entries")


@dataclass(frozen=True, slots=True)
class Trial:
    """What a round posts: batches of transactions, and how many entries those have."""

    batches: Sequence[Sequence[Transaction]]
    transactions: int
    entries: int


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure everything `rounds` times in turn; `size` scales orders and transactions."""
    world = make_world(max(30, round(ORDERS * size)), ORDERS_ONLY)
    count = max(100, round(TRANSACTIONS * size))
    ours, floor, sealed, verified = [], [], [], []
    with servers.database() as database:
        engine, owner = make_engine(database.url), make_engine(database.superuser_url)
        try:
            shop = shops.connect(engine, world, servers.secret_key)
            templates = _book(engine, shop, world)
            _make_twins(owner)
            for number in range(rounds):
                trial = _trial(templates, count, number)
                posting, bare_posting = _post(engine, owner, shop.shop_id, trial)
                ours.append(trial.transactions / posting)
                floor.append(trial.transactions / bare_posting)
                sealed.append(trial.transactions / _seal(engine, shop.shop_id, trial))
                verified.append(_verify(engine, shop.shop_id))
            _check(owner, count * rounds)
        finally:
            engine.dispose()
            owner.dispose()
    per = trial.entries / trial.transactions
    report = Report(
        "ledger",
        f"{count:,} transactions of {per:.1f} entries a round, {BATCH} at once, as {world.orders} {world.origin} make",
    )
    posted = report.add("ours: transactions posted", "transactions/s", ours)
    report.add("ours: entries posted", "entries/s", [value * per for value in ours])
    bare = report.add("floor: bare insert into twins", "transactions/s", floor)
    report.add("sealing", "transactions/s", sealed)
    report.add("verifying the chain", "transactions/s", verified)
    report.compare("ours against a bare batched insert", posted, bare, aim=AIM)
    return report


def _book(engine: Engine, shop: Shop, world: World) -> list[Transaction]:
    """Book the orders under a rule set, as production does; returns what was posted of them."""
    with unit_of_work(engine) as conn:
        rule_set.save(conn, shop.shop_id, [item.sku for item in world.items], utc_now())
    shops.fill_inbox(engine, shop.shopify, world.deliveries)
    row = shop.shopify
    intake = Intake(row, bootstrap.parser(row.vendor, row.currency, row.settings))
    while inbox.drain_batch(engine, row.shop_id, row.id, 0, Batch(messages=1000), intake, utc_now())[0]:
        count_grown_tables(engine)
    with unit_of_work(engine) as conn:
        rows = fetch(
            conn,
            """
            select t.key, t.kind, t.order_id, t.event_at, t.note, t.recorded_by, array_agg(k.kind) as kinds,
                array_agg(k.party_id) as parties, array_agg(k.connection_id) as connections,
                array_agg(k.currency) as currencies, array_agg(e.amount_minor) as amounts
            from ledger_transactions t
            join ledger_entries e on e.shop_id = t.shop_id and e.transaction_id = t.id
            join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
            where t.shop_id = %(shop)s group by t.shop_id, t.id order by t.id
            """,
            shop=shop.shop_id,
        )
    return [_transaction(row) for row in rows]


def _transaction(row: Mapping[Any, Any]) -> Transaction:
    names = zip(row["kinds"], row["currencies"], row["parties"], row["connections"], strict=True)
    entries = dict(zip((AccountName(*name) for name in names), row["amounts"], strict=True))
    return Transaction(
        row["key"], row["kind"], row["event_at"], row["note"], entries, row["order_id"], row["recorded_by"]
    )


def _trial(templates: Sequence[Transaction], count: int, number: int) -> Trial:
    made = [replace(templates[at % len(templates)], key=f"bench:{number}:{at}", order_id=at + 1) for at in range(count)]
    batches = [made[start : start + BATCH] for start in range(0, count, BATCH)]
    return Trial(batches, count, sum(len(one.entries) for one in made))


def _make_twins(owner: Engine) -> None:
    with unit_of_work(owner) as conn:
        for table in _TABLES:
            execute(conn, f"create table bare_{table} (like {table} including all)")


def _post(engine: Engine, owner: Engine, shop_id: int, trial: Trial) -> tuple[float, float]:
    """Seconds of ours and of the floor, batch by batch in turn; the floor's columns are not counted."""
    now = utc_now()
    with unit_of_work(owner) as conn:
        names = {name for batch in trial.batches for one in batch for name in one.entries}
        accounts = ledger.open_accounts(conn, shop_id, names, now)
        first = scalar(conn, "select coalesce(max(id), 0) + 1 from bare_ledger_transactions")
    ours = bare = 0.0
    for batch, columns in zip(trial.batches, list(_columns(trial, accounts, first, now)), strict=True):
        began = time.perf_counter()
        with unit_of_work(engine) as conn:
            ledger.post(conn, shop_id, batch, now)
        between = time.perf_counter()
        with unit_of_work(owner) as conn:
            execute(conn, _BARE_TRANSACTIONS, shop=shop_id, **columns)
            execute(conn, _BARE_ENTRIES, shop=shop_id, **columns)
        ours += between - began
        bare += time.perf_counter() - between
    count_grown_tables(engine)
    with unit_of_work(owner) as conn:
        for table in _TABLES:
            execute(conn, f"analyze bare_{table}")
    return ours, bare


_BARE_TRANSACTIONS = """
    insert into bare_ledger_transactions (shop_id, id, key, kind, order_id, event_at, recorded_at, note, recorded_by)
    overriding system value
    select %(shop)s, n.id, n.key, n.kind, n.order_id, n.event_at, %(now)s, n.note, n.recorded_by
    from unnest(%(ids)b::int8[], %(keys)b::text[], %(kinds)b::text[], %(orders)b::int8[], %(events)b::timestamptz[],
        %(notes)b::text[], %(names)b::text[]) as n (id, key, kind, order_id, event_at, note, recorded_by)
"""
_BARE_ENTRIES = """
    insert into bare_ledger_entries (shop_id, transaction_id, account_id, amount_minor, currency)
    select %(shop)s, n.* from unnest(%(entry_ids)b::int8[], %(accounts)b::int8[], %(amounts)b::int8[],
        %(currencies)b::text[]) as n
"""


def _columns(trial: Trial, accounts: Mapping[AccountName, int], first: int, now: datetime) -> Iterator[dict[str, Any]]:
    for batch in trial.batches:
        entries = [
            (first + at, accounts[name], amount, name.currency)
            for at, one in enumerate(batch)
            for name, amount in one.entries.items()
        ]
        of_entries = [list(column) for column in zip(*entries, strict=True)]
        yield {
            "now": now,
            "ids": list(range(first, first + len(batch))),
            "keys": [one.key for one in batch],
            "kinds": [one.kind for one in batch],
            "orders": [one.order_id for one in batch],
            "events": [one.event_at for one in batch],
            "notes": [one.note for one in batch],
            "names": [one.recorded_by for one in batch],
            **dict(zip(("entry_ids", "accounts", "amounts", "currencies"), of_entries, strict=True)),
        }
        first += len(batch)


def _seal(engine: Engine, shop_id: int, trial: Trial) -> float:
    began = time.perf_counter()
    done = 0
    while True:
        with unit_of_work(engine) as conn:
            made = sealing.seal(conn, shop_id, utc_now())
        if made is None:
            break
        done += made.transactions
    if done < trial.transactions:
        raise AssertionError(f"sealed {done} of {trial.transactions} transactions")
    return time.perf_counter() - began


def _verify(engine: Engine, shop_id: int) -> float:
    """Transactions a second."""
    with unit_of_work(engine) as conn:
        count: int = scalar(conn, "select sum(transactions)::int8 from ledger_seals")
        began = time.perf_counter()
        found = list(Verifier(conn, shop_id, Path("no anchors"), utc_now()).run())
        spent = time.perf_counter() - began
    if found:
        raise AssertionError(f"the chain does not hold: {found[:3]}")
    return count / spent


def _check(owner: Engine, count: int) -> None:
    """A figure counts only for work that was done, the same by both."""
    sql = """
        select count(*) as transactions, sum(e.amount) as amount, sum(e.entries) as entries
        from {0}ledger_transactions t
        join lateral (
            select sum(abs(amount_minor)) as amount, count(*) as entries from {0}ledger_entries e
            where e.shop_id = t.shop_id and e.transaction_id = t.id
        ) e on true
        where t.key like 'bench:%%'
    """
    with unit_of_work(owner) as conn:
        ours, bare = (tuple(fetch(conn, sql.format(prefix))[0].values()) for prefix in ("", "bare_"))
    if ours != bare or ours[0] != count:
        raise AssertionError(f"posted {ours}, put in {bare}, of {count} transactions")
