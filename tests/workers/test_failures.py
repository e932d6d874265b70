"""Failed jobs that somebody deals with: done again once, given up once, and nothing hangs on Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
import redis
from rq.registry import FailedJobRegistry, ScheduledJobRegistry
from sqlalchemy import Engine, create_engine

from core import embedded
from core.adapters.rq import JobSpec, Registered, RqJobQueue, SwSimpleWorker, queue_named, record_runs_with, register
from core.adapters.rq_reading import RqBroker
from core.audit import Actor
from core.clock import utc_now
from core.db import fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput, Retryable
from core.messaging.doorbell import Lane
from core.runs import failures
from core.runs.failures import Chosen, FactsChanged, Plan
from workers.recording import PostgresRunRecorder, never_began

ADA, BOB = Actor("ada", "the token is renewed"), Actor("bob", "me too")


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

    def all_of_it(self) -> Chosen:
        (cause,) = self.causes()
        return Chosen(cause=cause["cause"], function=cause["function"])

    def plan(self, chosen: Chosen) -> Plan:
        with unit_of_work(self.engine) as conn:
            return failures.plan(conn, self.lane.shop_id, chosen, self.queue.check)

    def requeue(self, chosen: Chosen, token: str, actor: Actor = ADA, now: datetime | None = None) -> failures.Done:
        with unit_of_work(self.engine) as conn:
            return failures.requeue(conn, self.lane.shop_id, chosen, token, actor, now or utc_now(), self.queue.check)

    def sweep(self, after: timedelta = timedelta(minutes=5)) -> int:
        with unit_of_work(self.engine) as conn:
            promised = failures.unanswered(conn, utc_now() + after)
        return sum(self.queue.enqueue_once(work.ref, work.function, work.arguments) for work in promised)

    def failed_in_redis(self) -> int:
        return FailedJobRegistry(queue=queue_named("events", self.client)).get_job_count(cleanup=False)


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


def test_a_requeue_does_the_work_once_and_takes_the_failures_off(desk: Desk) -> None:
    desk.fail(3)
    desk.is_broken = False
    chosen = desk.all_of_it()
    plan = desk.plan(chosen)
    assert (plan.jobs, len(plan.works), plan.obstacle) == (3, 1, None)
    done = desk.requeue(chosen, plan.token)
    assert done.jobs == 3
    for work in done.works:
        assert desk.queue.enqueue_once(work.ref, work.function, work.arguments)
    assert desk.broker.take_back(done.refs) == 3
    desk.work()
    assert desk.handled == [{"shop_id": desk.lane.shop_id, "connection_id": desk.lane.connection_id}]
    assert (desk.causes(), desk.failed_in_redis(), desk.sweep()) == ([], 0, 0)
    with unit_of_work(desk.engine) as conn:
        entry = fetch_one(conn, "select * from audit_entries")
        rows = fetch(conn, "select distinct resolution, resolved_by, resolved_reason from job_runs"
                           " where outcome = 'failed'")  # fmt: skip
    assert entry is not None
    assert (entry["actor"], entry["act"], entry["reason"]) == ("ada", "requeue_jobs", "the token is renewed")
    assert entry["details"]["jobs"] == 3
    assert [tuple(row.values()) for row in rows] == [("requeued", "ada", "the token is renewed")]


def test_two_who_click_the_same_requeue_requeue_once(desk: Desk, database: embedded.Database) -> None:
    desk.fail(2)
    chosen = desk.all_of_it()
    token = desk.plan(chosen).token
    together = Barrier(6)

    def click(actor: Actor) -> int | str:
        engine = create_engine(database.url)
        together.wait()
        try:
            with unit_of_work(engine) as conn:
                done = failures.requeue(conn, desk.lane.shop_id, chosen, token, actor, utc_now(), desk.queue.check)
        except FactsChanged as refused:
            return str(refused)
        finally:
            engine.dispose()
        return done.jobs

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(click, [ADA, BOB] * 3))
    assert [answer for answer in said if isinstance(answer, int)] == [2]
    assert {answer for answer in said if isinstance(answer, str)} == {
        "Nothing was done: 2 of the 2 failed jobs were dealt with since you looked. Look again."
    }
    with unit_of_work(desk.engine) as conn:
        assert scalar(conn, "select count(*) from job_requeues") == 1
        assert scalar(conn, "select count(*) from audit_entries") == 1


def test_what_failed_since_the_preview_is_not_swept_along(desk: Desk) -> None:
    desk.fail(1)
    chosen = desk.all_of_it()
    token = desk.plan(chosen).token
    desk.fail(2)
    with pytest.raises(FactsChanged, match="2 more failed since you looked"):
        desk.requeue(chosen, token)
    with unit_of_work(desk.engine) as conn:
        assert scalar(conn, "select count(*) from job_runs where resolution is not null") == 0
        assert scalar(conn, "select count(*) from audit_entries") == 0


def test_a_flush_between_the_click_and_the_work_loses_neither(desk: Desk, client: redis.Redis) -> None:
    desk.fail(1)
    chosen = desk.all_of_it()
    done = desk.requeue(chosen, desk.plan(chosen).token)
    for work in done.works:
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


def test_a_failure_that_only_postgres_remembers_can_be_requeued(desk: Desk, client: redis.Redis) -> None:
    desk.fail(1)
    client.flushdb()
    (cause,) = desk.causes()
    assert cause["jobs"] == 1
    desk.is_broken = False
    done = desk.requeue(desk.all_of_it(), desk.plan(desk.all_of_it()).token)
    assert desk.broker.take_back(done.refs) == 0
    assert desk.sweep() == 1
    desk.work()
    assert len(desk.handled) == 1


def test_a_requeued_job_that_fails_again_is_open_again(desk: Desk) -> None:
    desk.fail(1)
    for _ in range(2):
        chosen = desk.all_of_it()
        for work in desk.requeue(chosen, desk.plan(chosen).token).works:
            desk.queue.enqueue_once(work.ref, work.function, work.arguments)
        desk.work()
    (cause,) = desk.causes()
    assert cause["jobs"] == 1


def test_one_of_many_is_requeued_or_discarded_alone(desk: Desk) -> None:
    desk.fail(1)
    desk.fail(1, sync_run_id=7)
    with unit_of_work(desk.engine) as conn:
        first, second = (row["run_id"] for row in fetch(conn, "select run_id from job_failures order by run_id"))
    done = desk.requeue(Chosen(run_id=first), desk.plan(Chosen(run_id=first)).token)
    assert [work.ref for work in done.works] == [f"again-{first}"]
    token = desk.plan(Chosen(run_id=second)).token
    with unit_of_work(desk.engine) as conn:
        given_up = failures.discard(conn, desk.lane.shop_id, Chosen(run_id=second), token, BOB, utc_now())
    assert desk.broker.take_back(given_up.refs) == 1
    with unit_of_work(desk.engine) as conn:
        found = fetch(conn, "select resolution, resolved_by, requeued_as from job_runs order by id")
        acts = fetch(conn, "select act, subject from audit_entries order by id")
    assert [tuple(row.values()) for row in found] == [("requeued", "ada", f"again-{first}"), ("discarded", "bob", None)]
    assert [tuple(row.values()) for row in acts] == [
        ("requeue_jobs", f"job_run:{first}"),
        ("discard_jobs", f"job_run:{second}"),
    ]
    with pytest.raises(FactsChanged):
        desk.requeue(Chosen(run_id=second), token)


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


def test_what_no_code_of_ours_declares_is_never_queued(desk: Desk, client: redis.Redis) -> None:
    queue_named("events", client).enqueue_call(func="os.system", kwargs={"command": "true"})
    desk.work()
    chosen = desk.all_of_it()
    plan = desk.plan(chosen)
    assert plan.obstacle == "no job is named 'os.system'"
    with pytest.raises(BadInput, match="Discard these failures"):
        desk.requeue(chosen, plan.token)
    with unit_of_work(desk.engine) as conn:
        assert scalar(conn, "select count(*) from job_requeues") == 0


def test_the_ring_of_a_schedule_is_requeued_as_the_job_it_rings_for(desk: Desk) -> None:
    def broken() -> None:
        raise ValueError("the disk is full")

    register("schedule.audit.nightly", broken, JobSpec("events", 30))
    queue_named("events", desk.client).enqueue_call(func="schedule.audit.nightly", job_id="schedule-audit-nightly")
    desk.work()
    (work,) = desk.plan(desk.all_of_it()).works
    assert (work.function, work.arguments) == ("audit.nightly", {"shop_id": desk.lane.shop_id})


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
    (work,) = desk.plan(desk.all_of_it()).works
    assert (work.function, work.arguments) == ("inbox.drain", {"shop_id": desk.lane.shop_id})


def test_what_is_requeued_by_hand_is_not_also_retried_by_itself(desk: Desk, client: redis.Redis) -> None:
    register("poll.orders", _refuse, JobSpec("events", 30, (2, (600,))))
    queue = queue_named("events", client)
    queue.enqueue_call(func="poll.orders")
    desk.work()
    assert ScheduledJobRegistry(queue=queue).get_job_count(cleanup=False) == 1
    done = desk.requeue(desk.all_of_it(), desk.plan(desk.all_of_it()).token)
    assert list(desk.broker.states(done.refs).values()) == ["scheduled"]
    assert desk.broker.take_back(done.refs) == 1
    assert ScheduledJobRegistry(queue=queue).get_job_count(cleanup=False) == 0


def _refuse() -> None:
    raise ConnectionError("no answer")


def test_a_choice_is_one_run_or_one_cause() -> None:
    wrong: list[Callable[[], Chosen]] = [
        Chosen,
        lambda: Chosen(run_id=1, cause="a", function="b"),
        lambda: Chosen(cause="a"),
    ]
    for make in wrong:
        with pytest.raises(BadInput):
            make()
