"""`apply`: orders and lines booked a second by one worker from a full inbox.

- ours: a worker process as in production, rung once; its drain takes hundreds of messages at a time.
- baseline: what a job queue is usually used for, one RQ job an order. In-process worker (no fork), the same parser,
  the same statements for a batch of one, the message locked as a row; neither the run is recorded nor a push rung for,
  which is in its favour.
- RQ's own: jobs that do nothing, forked and in-process: no design of one job an order can be faster.
- split: ours again with the money of every line shared among 50 sellers, 20 creators and 5 referrers by 6 rules; in the
  plain run all of it is the company's own, and is posted as that.
- poison: ours again with one order in a thousand that can never be handled: because it cannot be read, or because the
  database refuses what it comes to (three lines of a milliard units each: more than a listing can be short of).
- floor: the same rows by bare COPY into the same tables, and one update of the levels a batch: no parsing, no looking
  up, no order met twice.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import psycopg
import redis
from sqlalchemy import Engine

from bench import rule_set
from bench import shop as shops
from bench.processes import JOBS_QUEUE
from bench.report import Report
from bench.servers import Servers
from bench.shop import Shop
from bench.stream import ORDERS_ONLY, Delivered, World, make_world
from core import embedded
from core.adapters.rq import RqJobQueue, queue_named
from core.clock import utc_now
from core.db import make_engine, scalar, unit_of_work
from core.messaging import inbox
from core.messaging.doorbell import Doorbell, Lane

ORDERS = 2400
BASELINE_ORDERS = 240
IDLE_JOBS = {"forked": 150, "in-process": 800}
FLOOR_BATCH = 400


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure everything `rounds` times in turn; `size` scales the number of orders."""
    world = make_world(max(50, round(ORDERS * size)), ORDERS_ONLY)
    per_order = world.lines / world.orders
    report = Report("apply", f"{world.orders} {world.origin}, {world.lines} lines ({per_order:.1f} each)")
    ours, split, one_by_one, floor = [], [], [], []
    poisoned: dict[str, list[float]] = {kind: [] for kind in POISONS}
    idle: dict[str, list[float]] = {kind: [] for kind in IDLE_JOBS}
    for _ in range(rounds):
        ours.append(_ours(servers, world))
        split.append(_ours(servers, world, is_split=True))
        for kind, spoil in POISONS.items():
            poisoned[kind].append(_ours(servers, _with_poison(world, spoil)))
        one_by_one.append(_baseline(servers, world, max(20, round(BASELINE_ORDERS * size))))
        floor.append(_floor(servers, world))
        for kind, count in IDLE_JOBS.items():
            idle[kind].append(_idle(servers, kind, max(20, round(count * size))))
    booked = report.add("ours: orders booked by one worker", "orders/s", ours)
    report.add("ours: lines booked by one worker", "lines/s", [value * per_order for value in ours])
    shared = report.add("the same, split among 75 parties", "orders/s", split)
    report.compare("split among 75 parties against all the company's own", shared, booked)
    for kind, trials in poisoned.items():
        figure = report.add(f"the same, one in a thousand {kind}", "orders/s", trials)
        report.compare(f"with poison ({kind}) against without", figure, booked)
    single = report.add("baseline: one RQ job an order", "orders/s", one_by_one)
    for kind, trials in idle.items():
        report.add(f"RQ's own jobs that do nothing, {kind}", "jobs/s", trials)
    bare = report.add("floor: bare COPY and batched update", "orders/s", floor)
    report.add("floor: lines", "lines/s", [value * per_order for value in floor])
    report.compare("ours against one job an order", booked, single, aim=20)
    report.compare("share of bare COPY that ours reaches", booked, bare)
    return report


@contextmanager
def _shop(servers: Servers, world: World) -> Iterator[tuple[embedded.Database, Engine, Shop]]:
    """A database with the shop connected and its inbox full."""
    with servers.database() as database:
        with redis.Redis.from_url(servers.redis_url) as client:
            client.flushall()
        engine, owner = make_engine(database.url), make_engine(database.superuser_url)
        try:
            shop = shops.connect(engine, world, servers.secret_key)
            shops.fill_inbox(engine, shop.shopify, world.deliveries)
            shops.analyse(owner)
            yield database, engine, shop
        finally:
            engine.dispose()
            owner.dispose()


@contextmanager
def _process(servers: Servers, database: embedded.Database, *command: str) -> Iterator[None]:
    """A process that says "ready" when it is, ended at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, *command], env=servers.environment(database), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                break
        yield
    finally:
        process.terminate()
        process.wait(30)


def _ours(servers: Servers, world: World, *, is_split: bool = False) -> float:
    with _shop(servers, world) as (database, engine, shop):
        if is_split:
            with unit_of_work(engine) as conn:
                rule_set.save(conn, shop.shop_id, [item.sku for item in world.items], utc_now())
        lane = Lane("events", shop.shop_id, shop.shopify.id)
        with _process(servers, database, "-m", "bench.processes", "worker", "events"):
            began = time.perf_counter()
            Doorbell(RqJobQueue(servers.redis_url)).ring(lane)
            _wait_until_drained(engine, shop)
            spent = time.perf_counter() - began
        _check(engine, world)
    return world.orders / spent


def _wait_until_drained(engine: Engine, shop: Shop) -> None:
    """Looks at the lane's index only, and seldom: the looking must not be what is measured."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while inbox.has_received(conn, shop.shop_id, shop.shopify.id):
            time.sleep(0.05)


def _check(engine: Engine, world: World) -> None:
    """A figure counts only for work that was done."""
    with engine.connect() as conn:
        found = {
            state: scalar(conn, f"select count(*) from inbox_messages where state = '{state}'")
            for state in ("handled", "parked")
        }
        found["lines"] = scalar(conn, "select count(*) from order_lines")
    expected = {"handled": world.orders, "parked": world.poisons, "lines": world.lines}
    if found != expected:
        raise AssertionError(f"{found} instead of {expected}")


def _cut_short(body: bytes, stocked: Collection[str]) -> bytes:
    return body[: len(body) // 2]


def _too_many(body: bytes, stocked: Collection[str]) -> bytes:
    """Readable, within every limit of the reader, and impossible to book."""
    order = orjson.loads(body)
    order["id"] += 10**9
    line = {**order["line_items"][0], "variant_id": int(min(stocked))}
    far = {"quantity": 10**9, "current_quantity": 10**9}
    order["line_items"] = [{**line, **far, "id": line["id"] + 10**9 + step} for step in range(3)]
    return orjson.dumps(order)


Spoil = Callable[[bytes, Collection[str]], bytes]
"""(body, refs of variants that have stock) -> a body that can never be handled."""

POISONS: dict[str, Spoil] = {"unreadable": _cut_short, "refused by the database": _too_many}
POISON_EVERY = 1000


def _with_poison(world: World, spoil: Spoil) -> World:
    """The same deliveries, and a spoilt one in the middle of every thousand."""
    deliveries: list[Delivered] = []
    stocked = {item.variant_ref for item in world.items if item.is_stocked}
    poisons = 0
    for number, delivery in enumerate(world.deliveries):
        deliveries.append(delivery)
        if number % POISON_EVERY == POISON_EVERY // 2 or (len(world.deliveries) < POISON_EVERY and number == 0):
            poisons += 1
            deliveries.append(replace(delivery, webhook_id=f"poison-{number}", body=spoil(delivery.body, stocked)))
    return replace(world, deliveries=deliveries, poisons=poisons)


def _baseline(servers: Servers, world: World, count: int) -> float:
    step = max(1, world.orders // count)
    chosen = list(range(1, world.orders + 1, step))[:count]
    with _shop(servers, world) as (database, engine, shop):
        with engine.connect() as conn:
            first = scalar(conn, "select min(id) from inbox_messages")
        arguments = [
            {"shop_id": shop.shop_id, "connection_id": shop.shopify.id, "message_id": first + number - 1}
            for number in chosen
        ]
        with _process(servers, database, "-m", "bench.processes", "one_by_one"):
            spent = _work_off(servers, "bench.one_order", arguments)
        with engine.connect() as conn:
            handled = scalar(conn, "select count(*) from inbox_messages where state = 'handled'")
        if handled != len(chosen):
            raise AssertionError(f"handled {handled} of {len(chosen)} messages")
    return len(chosen) / spent


def _idle(servers: Servers, kind: str, count: int) -> float:
    with servers.database() as database:
        with redis.Redis.from_url(servers.redis_url) as client:
            client.flushall()
        with _process(servers, database, "-m", "bench.processes", "idle", kind):
            spent = _work_off(servers, "bench.nothing", [{"number": number} for number in range(count)])
    return count / spent


def _work_off(servers: Servers, name: str, arguments: Sequence[dict[str, Any]]) -> float:
    """Queue jobs behind a closed gate, open it, and wait for the last; returns the seconds."""
    with redis.Redis.from_url(servers.redis_url) as client:
        queue = queue_named(JOBS_QUEUE, client)
        with client.pipeline() as pipeline:
            for each in arguments:
                queue.enqueue_call(func=name, kwargs=each, result_ttl=600, pipeline=pipeline)
            began = time.perf_counter()
            pipeline.execute()
        while queue.finished_job_registry.get_job_count(cleanup=False) < len(arguments):
            if queue.failed_job_registry.get_job_count(cleanup=False):
                raise AssertionError("a job of the baseline failed")
            time.sleep(0.02)
        return time.perf_counter() - began


def _floor(servers: Servers, world: World) -> float:
    """Book the rows for real first, take them out, as bytes ready for COPY, and put them in again, bare."""
    with _shop(servers, world) as (database, engine, shop):
        with _process(servers, database, "-m", "bench.processes", "worker", "events"):
            Doorbell(RqJobQueue(servers.redis_url)).ring(Lane("events", shop.shop_id, shop.shopify.id))
            _wait_until_drained(engine, shop)
        with psycopg.connect(database.superuser_url.replace("+psycopg", "", 1)) as conn:
            batches = _batches(conn)
            # Facts may not be taken out: only the superuser of a measurement gets past the guards, and only for this.
            conn.execute("set session_replication_role = replica")
            conn.execute("truncate orders, order_lines, reservations, commission_accruals cascade")
            conn.execute("truncate ledger_entries, ledger_transactions, ledger_account_days, commission_days cascade")
            conn.execute("update stock_levels set reserved = 0")
            conn.execute("set session_replication_role = origin")
            # Nothing is checked of the ledger's rows, which a bare COPY brings table by table.
            for table, trigger in _GUARDS.items():
                conn.execute(f"alter table {table} disable trigger {trigger}")
            conn.commit()
            return world.orders / _put_in(conn, batches)


_COPIED = {
    "orders": (
        "id, shop_id, connection_id, channel_ref, name, source_ref, placed_at, channel_created_at, version_at,"
        " cancelled_at, cancel_reason, financial_status, currency, total_minor, customer_ref, country_code, is_test,"
        " recorded_at",
        "id between {first} and {last}",
    ),
    "order_lines": (
        "order_id, id, shop_id, channel_ref, ordinal, variant_ref, code, title, units, unit_price, discount_minor,"
        " total_minor, mapping, mapping_reason, listing_id, sku_id",
        "order_id between {first} and {last}",
    ),
    "reservations": (
        "id, shop_id, sku_id, location_id, order_line_id, units, held_units, revision, created_at",
        "order_line_id in (select id from order_lines where order_id between {first} and {last})",
    ),
    "ledger_transactions": (
        "shop_id, id, key, kind, order_id, event_at, recorded_at, note, recorded_by",
        "order_id between {first} and {last}",
    ),
    "ledger_entries": (
        "shop_id, transaction_id, account_id, amount_minor, currency",
        "transaction_id in (select id from ledger_transactions where order_id between {first} and {last})",
    ),
    "commission_accruals": (
        "shop_id, id, order_id, order_line_id, connection_id, ordinal, base, cause, terms_id, currency, net_minor,"
        " tax_minor, seller_minor, platform_minor, creator_minor, referrer_minor, channel_minor, authority_minor,"
        " unassigned_minor, transaction_id, event_at, recorded_at",
        "order_id between {first} and {last}",
    ),
    "commission_windows": (
        "shop_id, order_id, days, window_from, starts_at, closes_at, waits_for",
        "order_id between {first} and {last}",
    ),
}
_GUARDS = {
    "ledger_transactions": "has_entries",
    "ledger_entries": "whole_and_balanced",
    "commission_accruals": "refers_and_sums",
}

_Batch = tuple[int, int, dict[str, bytes]]


def _batches(conn: psycopg.Connection) -> list[_Batch]:
    """(first order, last order, the bytes of each table) of every FLOOR_BATCH orders."""
    ids = [row[0] for row in conn.execute("select id from orders order by id")]
    found = []
    for start in range(0, len(ids), FLOOR_BATCH):
        first, last = ids[start], ids[min(start + FLOOR_BATCH, len(ids)) - 1]
        rows = {}
        for table, (columns, where) in _COPIED.items():
            chosen = f"select {columns} from {table} where {where.format(first=first, last=last)} order by 1, 2"
            with conn.cursor().copy(f"copy ({chosen}) to stdout") as copy:
                rows[table] = b"".join(bytes(data) for data in copy)
        found.append((first, last, rows))
    return found


def _put_in(conn: psycopg.Connection, batches: Sequence[_Batch]) -> float:
    began = time.perf_counter()
    for first, last, rows in batches:
        with conn.transaction():
            for table, data in rows.items():
                with conn.cursor().copy(f"copy {table} ({_COPIED[table][0]}) from stdin") as copy:
                    copy.write(data)
            conn.execute(
                """
                update stock_levels k set reserved = k.reserved + r.units
                from (select r.sku_id, r.location_id, sum(r.held_units) as units from reservations r
                    join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
                    where l.order_id between %s and %s group by 1, 2) r
                where k.sku_id = r.sku_id and k.location_id = r.location_id
                """,
                [first, last],
            )
        # As ours does: or foreign keys would be checked as if the tables were empty.
        conn.execute("select count_grown_tables()")
        conn.commit()
    return time.perf_counter() - began
