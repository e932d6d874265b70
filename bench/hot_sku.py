"""`hot_sku`: everybody wants the same thing.

- ours, as orders: single-unit orders on one SKU through the intake, a thousand in a unit of work, as a drain does:
  orders, lines, reservations, the level, and what both channels' listings show and should show.
- ours, as promises: the same through `promises.reserve`, a thousand in a unit of work.
- baseline: `select ... for update`, insert, update, commit, an order at a time from 8 connections (a process each, the
  bare driver). It writes one row and the level: neither orders nor lines nor listings, which is in its favour.
- buyers: 200 buyers through `promises.reserve`, a purchase in a unit of work, all of one SKU against each of a SKU of
  their own, from the same number of connections. Those of one SKU wait for each other's commits; those of many share
  them, and are limited by the processors alone: so much the more, the more processors there are or the longer a commit
  takes. `one connection` says what a purchase costs when nobody else is there; `waiting` how many connections wait for
  another's lock, looked at twenty times a second; and the same once more with commits that take 10 ms longer, as to
  a disk across a network or a standby that has to agree (`commit_delay` of PostgreSQL).

All in the same run on one server with the settings that `make up` gives it: a commit is on disk before it is answered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Engine

from bench import shop as shops
from bench.buyers import in_parts
from bench.report import Report
from bench.servers import ROOT, Servers
from bench.shop import Shop
from bench.stream import Item, World
from core import embedded
from core.clock import utc_now
from core.db import count_grown_tables, make_engine, scalar, unit_of_work
from core.orders import intake
from core.ports import ChannelLine, ChannelOrder, Facts

ORDERS = 20_000
AT_ONCE = 1000
BY_HAND_CONNECTIONS = 8
BUYERS = 200
PURCHASES_EACH = 10
BUYER_PROCESSES = 4
CONNECTIONS_EACH = 5
SLOW_COMMIT_MS = 10
SMALL = 0.1

Purchases = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class _Market:
    """A shop with as many SKUs as buyers, and more of each than they can buy."""

    database: embedded.Database
    engine: Engine
    shop: Shop
    location_id: int
    skus: tuple[int, ...]


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure everything `rounds` times in turn; `size` scales the number of orders and purchases.

    Below a tenth the processes are two, from which nothing can be learnt but that it works.
    """
    orders = max(100, round(ORDERS * size))
    each = max(1, round(PURCHASES_EACH * size))
    by_hand_from, bought_from = (BY_HAND_CONNECTIONS, BUYER_PROCESSES) if size >= SMALL else (2, 2)
    connections = bought_from * CONNECTIONS_EACH
    report = Report("hot_sku", f"{orders:,} single-unit orders; {BUYERS} buyers, {each} purchases each")
    as_orders, as_promises, by_hand, alone = [], [], [], []
    buyers: dict[tuple[bool, int], list[tuple[float, float]]] = {
        (has_own, delay): [] for delay in (0, SLOW_COMMIT_MS) for has_own in (False, True)
    }
    for _ in range(rounds):
        as_orders.append(_as_orders(servers, orders))
        as_promises.append(_of_one(servers, "promise_in_sets", orders, 1))
        by_hand.append(_of_one(servers, "by_hand", orders, by_hand_from))
        alone.append(_of_one(servers, "promise", max(50, round(1000 * size)), 1))
        for (has_own, delay), trials in buyers.items():
            trials.append(_buyers(servers, has_own, each, delay, bought_from))
    booked = report.add("ours: orders through the intake, a thousand at once", "orders/s", as_orders)
    promised = report.add("ours: promises, a thousand at once", "orders/s", as_promises)
    slow = report.add(f"baseline: a lock an order from {by_hand_from} connections", "orders/s", by_hand)
    report.compare("orders of ours against a lock an order", booked, slow, aim=10)
    report.compare("promises of ours against a lock an order", promised, slow, aim=10)
    report.add("one connection", "purchases/s", alone)
    for delay in (0, SLOW_COMMIT_MS):
        slower = f", commits {delay} ms longer" if delay else ""
        rates = []
        for has_own, skus in ((False, "one SKU"), (True, f"{BUYERS} SKUs")):
            name = f"{BUYERS} buyers of {skus}{slower}"
            trials = buyers[has_own, delay]
            rates.append(report.add(f"{name}: {connections} connections", "purchases/s", [rate for rate, _ in trials]))
            report.add(f"{name}: waiting for another's lock", "connections", [waiting for _, waiting in trials])
        report.compare(f"{BUYERS} SKUs against one{slower}", rates[1], rates[0], aim=10)
    return report


@contextmanager
def _market(servers: Servers, commit_delay_ms: int = 0) -> Iterator[_Market]:
    items = [
        Item(f"SKU-{n:03}", f"Article {n}", str(1000 + n), str(5000 + n), True, 10**6) for n in range(1, BUYERS + 1)
    ]
    world = World("invented", "77", items, (), 0, 0)
    with servers.database() as database:
        engine, owner = make_engine(database.url), make_engine(database.superuser_url)
        try:
            shop = shops.connect(engine, world, servers.secret_key)
            shops.analyse(owner)
            _slow_down(owner, database.name, commit_delay_ms)
            engine.dispose()
            with engine.connect() as conn:
                place = scalar(conn, "select id from locations")
                skus = tuple(conn.exec_driver_sql("select id from skus order by code").scalars())
            yield _Market(database, engine, shop, place, skus)
        finally:
            engine.dispose()
            owner.dispose()


def _slow_down(owner: Engine, database: str, commit_delay_ms: int) -> None:
    """Have commits of connections to come wait so long before they go to disk, together with those that join them."""
    with owner.begin() as conn:
        conn.exec_driver_sql(f"alter database {database} set commit_delay = {commit_delay_ms * 1000}")
        conn.exec_driver_sql(f"alter database {database} set commit_siblings = 0")


def _as_orders(servers: Servers, count: int) -> float:
    with _market(servers) as market:
        told = [Facts(orders=(_order(number),)) for number in range(count)]
        began = time.perf_counter()
        for number, part in enumerate(in_parts(told, AT_ONCE)):
            with unit_of_work(market.engine) as conn:
                intake.apply(conn, market.shop.shopify, dict(enumerate(part)), utc_now())
            if number == 0:
                # As a drain does it: or foreign keys would be checked as if the tables were empty.
                count_grown_tables(market.engine)
        spent = time.perf_counter() - began
        _check(market, count, promised=0)
    return count / spent


def _order(number: int) -> ChannelOrder:
    at = utc_now() + timedelta(minutes=1)
    line = ChannelLine(
        ref=f"{number}-1",
        variant_ref="1001",
        code="SKU-001",
        title="Article 1",
        units=1,
        unit_price=Decimal("9.99"),
        discount_minor=0,
        total_minor=999,
    )
    return ChannelOrder(
        ref=str(number),
        name=f"#{number}",
        source_ref=None,
        placed_at=at,
        created_at=at,
        version_at=at,
        cancelled_at=None,
        cancel_reason=None,
        financial_status="paid",
        currency="GBP",
        total_minor=999,
        customer_ref=None,
        country_code="GB",
        is_test=False,
        lines=(line,),
    )


def _of_one(servers: Servers, role: str, count: int, processes: int) -> float:
    """So many purchases of the first SKU, shared out among processes with a connection each; purchases a second."""
    with _market(servers) as market:
        purchases = [(f"buyer {number}", market.skus[0]) for number in range(count)]
        spent = _buy(market, role, purchases, processes, connections=1)
        _check(market, count, promised=count)
    return count / spent


def _buyers(servers: Servers, has_own: bool, each: int, commit_delay_ms: int, processes: int) -> tuple[float, float]:
    """Purchases a second of all buyers, and how many connections waited for another's lock meanwhile."""
    with _market(servers, commit_delay_ms) as market:
        purchases = [
            (f"buyer {buyer}: {number}", market.skus[buyer if has_own else 0])
            for number in range(each)
            for buyer in range(BUYERS)
        ]
        with _watched(market) as waiting:
            spent = _buy(market, "promise", purchases, processes, CONNECTIONS_EACH)
        _check(market, len(purchases), promised=len(purchases))
    # A ratio of nothing to something says nothing: at least one sample in a thousand.
    return len(purchases) / spent, max(0.001, sum(waiting) / max(1, len(waiting)))


def _buy(market: _Market, role: str, purchases: Purchases, processes: int, connections: int) -> float:
    """Seconds from the first beginning to the last end, with everybody connected before and let go at once."""
    common = {"shop": market.shop.shop_id, "location": market.location_id, "at_once": AT_ONCE}
    with ExitStack() as stack:
        running = [
            stack.enter_context(_process(market, role, {**common, "connections": connections, "purchases": share}))
            for share in (purchases[number::processes] for number in range(processes))
        ]
        for process in running:
            _line_of(process)
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        times = [json.loads(_line_of(process)) for process in running]
    return max(ended for _, ended in times) - min(began for began, _ in times)


@contextmanager
def _process(market: _Market, role: str, wanted: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.buyers", role],
        env={**os.environ, "DATABASE_URL": market.database.url},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError("a buyer ended before it had bought everything")
    return line


@contextmanager
def _watched(market: _Market) -> Iterator[list[int]]:
    """How many connections wait for a lock, twenty times a second, whenever any of them is at work."""
    found: list[int] = []
    ended = threading.Event()

    def look() -> None:
        with market.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            while not ended.wait(0.05):
                active, waiting = conn.exec_driver_sql(
                    "select count(*) filter (where state = 'active'), count(*) filter (where wait_event_type = 'Lock')"
                    " from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                ).one()
                if active:
                    found.append(waiting)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def _check(market: _Market, count: int, *, promised: int) -> None:
    """A figure counts only for work that was done."""
    with market.engine.connect() as conn:
        found = tuple(
            scalar(conn, f"select {what}")
            for what in (
                "count(*) from reservations where held_units = 1",
                "sum(reserved) from stock_levels",
                "sum(promised) from stock_levels",
            )
        )
    if found != (count, count, promised):
        raise AssertionError(f"{found} instead of {(count, count, promised)}")
