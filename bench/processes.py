"""Worker processes of the measurements: `python -m bench.processes ROLE ...`. They say "ready" when they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

import redis

from core import bootstrap, logs
from core.adapters.rq import JobSpec, SwSimpleWorker, SwWorker, queue_named, record_runs_with, register
from core.clock import utc_now
from core.config import Settings
from core.connections.queries import connection
from core.db import execute, fetch_one, read_only, unit_of_work
from core.messaging.inbox import Received
from core.orders.intake import Intake
from workers import registry
from workers.recording import PostgresRunRecorder
from workers.run import make_worker

JOBS_QUEUE = "bench"


def main() -> None:
    """Play the role named on the command line."""
    logs.configure("bench", "WARNING")
    role, *words = sys.argv[1:]
    roles: dict[str, Callable[..., None]] = {"worker": worker, "one_by_one": one_by_one, "idle": idle}
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
