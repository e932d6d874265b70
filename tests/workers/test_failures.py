"""What the sweep does about failed jobs: promises are kept, what is moot is closed, and nothing hangs on Redis."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from rq.registry import FailedJobRegistry
from sqlalchemy import Engine

from core.adapters.rq import JobSpec, Registered, RqJobQueue, SwSimpleWorker, queue_named, record_runs_with, register
from core.adapters.rq_reading import RqBroker
from core.clock import utc_now
from core.db import fetch, fetch_one, scalar, unit_of_work
from core.errors import Retryable
from core.messaging.doorbell import Lane
from core.runs import failures
from core.runs.failures import Work
from workers.recording import PostgresRunRecorder, never_began


class Desk:
    """A shop with jobs that fail as long as `is_broken`, and everything that deals with them."""

    def __init__(self, client: redis.Redis, engine: Engine, redis_url: str, lane: Lane) -> None:
        self.client, self.engine, self.lane = client, engine, lane
        self.queue, self.broker = RqJobQueue(redis_url), RqBroker(redis_url)
        self.is_broken = True
        self.handled: list[dict[str, Any]] = []
        register("inbox.drain", self._drain, JobSpec("events", 30))

    def _drain(self, **arguments: Any) -> dict[str, Any]:
        if self.is_broken:
            raise ValueError(f"no scope for order {len(self.handled)}, token=Bearer abc.def")
        self.handled.append(arguments)
        return {}

    def fail(self, times: int = 1, **more: object) -> None:
        for _ in range(times):
            self._ring(more)
        self.work()

    def _ring(self, more: Mapping[str, object]) -> None:
        """A bell gives up after 50 ms, which a busy machine may need; in earnest a sweep stands behind it."""
        arguments = {"shop_id": self.lane.shop_id, "connection_id": self.lane.connection_id, **more}
        for _ in range(20):
            with suppress(Retryable):
                self.queue.enqueue("inbox.drain", **arguments)
                return
        pytest.fail("Redis did not answer twenty times")

    def work(self) -> None:
        worker = SwSimpleWorker([queue_named("events", self.client)], connection=self.client, serializer="json")
        worker.work(burst=True, logging_level="CRITICAL")

    def causes(self) -> list[dict[str, Any]]:
        with unit_of_work(self.engine) as conn:
            return [dict(row) for row in fetch(conn, "select * from job_failure_causes order by cause")]

    def promise(self) -> Work:
        """What a recovery leaves of the newest failure: a promise, and the failure marked as dealt with."""
        with unit_of_work(self.engine) as conn:
            row = fetch_one(
                conn,
                """
                with dealt as (
                    update job_runs set resolution = 'requeued', resolved_at = now(), resolved_by = 'ada',
                        resolved_reason = 'renewed', requeued_as = 'again-' || id
                    where id = (select max(id) from job_runs) returning requeued_as, function, arguments
                )
                insert into job_requeues (shop_id, job_ref, function, arguments, requested_by, reason, requested_at)
                select %(shop)s, requeued_as, function, arguments, 'ada', 'renewed', now() from dealt
                returning job_ref, function, arguments
                """,
                shop=self.lane.shop_id,
            )
        assert row is not None
        return Work(row["job_ref"], row["function"], row["arguments"])

    def sweep(self, after: timedelta = timedelta(minutes=5)) -> int:
        with unit_of_work(self.engine) as conn:
            promised = failures.unanswered(conn, utc_now() + after)
        return sum(self.queue.enqueue_once(work.ref, work.function, work.arguments) for work in promised)


@pytest.fixture
def desk(client: redis.Redis, engine: Engine, redis_url: str, lane: Lane, registry: dict[str, Registered]) -> Desk:
    record_runs_with(PostgresRunRecorder(engine.url.render_as_string(hide_password=False)))
    return Desk(client, engine, redis_url, lane)


def test_failures_of_one_cause_are_one_line_with_their_traceback(desk: Desk) -> None:
    desk.fail(3)
    desk.fail(1, sync_run_id=7)
    (cause,) = desk.causes()
    assert (cause["jobs"], cause["works"], cause["connection"]) == (4, 2, "Store")
    with unit_of_work(desk.engine) as conn:
        row = fetch_one(conn, "select * from job_failures limit 1")
    assert row is not None
    assert "_drain" in row["traceback"]
    assert "ValueError: no scope for order 0" in row["traceback"]
    assert "abc.def" not in row["traceback"] + row["error"]
    assert row["state"] == "open"


def test_a_flush_between_the_promise_and_the_work_loses_neither(desk: Desk, client: redis.Redis) -> None:
    desk.fail(1)
    work = desk.promise()
    desk.queue.enqueue_once(work.ref, work.function, work.arguments)
    assert desk.sweep() == 0, "it still waits in Redis: the sweep adds no second one"
    client.flushdb()
    assert desk.sweep() == 1
    assert desk.sweep() == 0
    desk.is_broken = False
    desk.work()
    assert len(desk.handled) == 1
    client.flushdb()
    assert (desk.sweep(), desk.causes()) == (0, [])


def test_a_later_success_makes_a_failure_moot(desk: Desk) -> None:
    desk.fail(2)
    desk.is_broken = False
    desk.fail(1)
    assert desk.causes() == []
    with unit_of_work(desk.engine) as conn:
        closed, settled = failures.close_superseded(conn, utc_now())
        assert (closed, len(settled)) == (2, 2)
        assert failures.close_superseded(conn, utc_now()) == (0, [])
        states = fetch(conn, "select distinct state, resolved_by from job_failures")
    assert [tuple(row.values()) for row in states] == [("superseded", "sweep")]


def test_an_earlier_attempt_is_closed_while_its_job_stays_open(desk: Desk) -> None:
    register("poll.orders", _refuse, JobSpec("events", 30, (1, (0,))))
    queue_named("events", desk.client).enqueue_call(func="poll.orders", job_id="twice")
    desk.work()
    with unit_of_work(desk.engine) as conn:
        assert scalar(conn, "select count(*) from job_runs where job_ref = 'twice'") == 2
        assert failures.close_superseded(conn, utc_now()) == (1, []), "its last attempt is still open"
    (cause,) = desk.causes()
    assert cause["jobs"] == 1


def test_a_failed_job_without_a_run_is_put_on_record_once(desk: Desk, client: redis.Redis) -> None:
    queue = queue_named("events", client)
    job = queue.enqueue_call(func="inbox.drain", kwargs={"shop_id": desk.lane.shop_id}, job_id="taken")
    queue.remove(job)
    FailedJobRegistry(queue=queue).add(job, ttl=1000, exc_string="AbandonedJobError")

    def adopt(_: int) -> int:
        with unit_of_work(desk.engine) as conn:
            return failures.adopt(conn, desk.broker.failed_jobs(10), never_began)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(adopt, range(4))) == [0, 0, 0, 1]
    (cause,) = desk.causes()
    assert cause["error"] == "It never began: the worker that took it died before starting it."
    assert (cause["function"], cause["jobs"]) == ("inbox.drain", 1)


def _refuse() -> None:
    raise ConnectionError("no answer")
