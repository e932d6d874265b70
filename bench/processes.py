"""Worker processes of the measurements: `python -m bench.processes ROLE ...`. They say "ready" when they are."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from functools import cache

import redis
from sqlalchemy import Engine

from core import bootstrap, logs
from core.adapters.rq import JobSpec, SwSimpleWorker, SwWorker, queue_named, record_runs_with, register
from core.clock import utc_now
from core.config import Settings
from core.connections.queries import ConnectionRow, connection
from core.db import execute, fetch_one, read_only, unit_of_work
from core.messaging.inbox import Received
from core.orders.intake import Intake, apply
from core.ports import ChannelLine, ChannelOrder, Facts
from workers import registry
from workers.recording import PostgresRunRecorder
from workers.run import make_worker

JOBS_QUEUE = "bench"


def main() -> None:
    """Play the role named on the command line."""
    logs.configure("bench", "WARNING")
    role, *words = sys.argv[1:]
    roles: dict[str, Callable[..., None]] = {"worker": worker, "one_by_one": one_by_one, "idle": idle, "book": book}
    roles[role](*words)


def worker(queue: str) -> None:
    """A worker as in production, for one queue; pushes are rung for, and nobody answers."""
    settings = Settings.from_environment()
    registry.load()
    record_runs_with(PostgresRunRecorder(settings.database_url))
    made = make_worker(queue, settings.redis_url)
    _ready()
    made.work(with_scheduler=True, logging_level="WARNING")


def one_by_one() -> None:
    """An in-process worker whose jobs book one order each."""
    register("bench.one_order", one_order, JobSpec(JOBS_QUEUE, 60))
    _simple_worker()


def idle(kind: str) -> None:
    """A worker whose jobs do nothing: RQ's own speed."""
    register("bench.nothing", _nothing, JobSpec(JOBS_QUEUE, 60))
    _simple_worker() if kind == "in-process" else _forking_worker()


def one_order(*, shop_id: int, connection_id: int, message_id: int) -> None:
    """Book the order of one message: lock the row, parse, apply, settle, commit."""
    intake = _intake(shop_id, connection_id)
    with unit_of_work(bootstrap.application().engine) as conn:
        key = {"shop": shop_id, "id": message_id}
        row = fetch_one(
            conn,
            "select id, topic, body, triggered_at, received_at, attempts from inbox_messages"
            " where shop_id = %(shop)s and id = %(id)s and state = 'received' for update",
            **key,
        )
        assert row is not None
        verdicts = intake(conn, [Received(**{**row, "body": bytes(row["body"])})], utc_now())
        execute(
            conn,
            "update inbox_messages set state = %(state)s, attempts = attempts + 1, settled_at = %(now)s"
            " where shop_id = %(shop)s and id = %(id)s",
            **key,
            state=verdicts[message_id].state,
            now=utc_now(),
        )


def book(shop_id: str, connection_id: str, skus: str) -> None:
    """Book orders of three lines each, one a unit of work, until standard input ends; then say how that went."""
    engine = bootstrap.application().engine
    with read_only(engine) as conn:
        row = connection(conn, int(shop_id), int(connection_id))
    chance = random.Random(1)
    seconds: list[float] = []
    for number in range(WARM_UP):
        _book_one(engine, row, chance, int(skus), -number - 1)
    is_over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        is_over.set()

    threading.Thread(target=wait, daemon=True).start()
    _ready()
    began = time.perf_counter()
    while not is_over.is_set():
        one_began = time.perf_counter()
        _book_one(engine, row, chance, int(skus), len(seconds))
        seconds.append(time.perf_counter() - one_began)
    spent = time.perf_counter() - began
    ordered = sorted(seconds)
    said = {
        "a_second": len(seconds) / spent,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "longest_ms": ordered[-1] * 1000,
    }
    print(json.dumps(said), flush=True)


WARM_UP = 20


def _book_one(engine: Engine, row: ConnectionRow, chance: random.Random, skus: int, number: int) -> None:
    now = utc_now()
    chosen = chance.sample(range(skus), 3)
    lines = tuple(
        ChannelLine(
            ref=f"{number}:{place}",
            variant_ref=f"v{sku}",
            code=f"S{sku:06}",
            title="Article",
            units=1,
            unit_price=Decimal(2),
            discount_minor=0,
            total_minor=200,
        )
        for place, sku in enumerate(chosen)
    )
    order = ChannelOrder(
        ref=f"o{number}",
        name=f"#{number}",
        source_ref=None,
        placed_at=now,
        created_at=now,
        version_at=now,
        cancelled_at=None,
        cancel_reason=None,
        financial_status="paid",
        currency="GBP",
        total_minor=600,
        customer_ref=None,
        country_code="GB",
        is_test=False,
        lines=lines,
    )
    with unit_of_work(engine) as conn:
        apply(conn, row, {1: Facts(orders=(order,))}, now)


@cache
def _intake(shop_id: int, connection_id: int) -> Intake:
    with read_only(bootstrap.application().engine) as conn:
        row = connection(conn, shop_id, connection_id)
    return Intake(row, bootstrap.parser(row.vendor, row.currency))


def _nothing(*, number: int) -> None:
    return None


def _simple_worker() -> None:
    _work(SwSimpleWorker)


def _forking_worker() -> None:
    _work(SwWorker)


def _work(kind: type[SwSimpleWorker] | type[SwWorker]) -> None:
    client = redis.Redis.from_url(Settings.from_environment().redis_url)
    made = kind([queue_named(JOBS_QUEUE, client)], connection=client, serializer="json", log_job_description=False)
    _ready()
    made.work(logging_level="WARNING")


def _ready() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    main()
