"""Jobs whose process was killed, or that Redis lost: found by the sweep, on record as failures, done again once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Dependency, Job
from rq.registry import DeferredJobRegistry, FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from sqlalchemy import Engine

from core import bootstrap
from core.adapters.rq import JobSpec, Registered, SwJob, SwSimpleWorker, queue_named, register
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.config import Settings
from core.db import execute, fetch, scalar, unit_of_work
from core.messaging.doorbell import Lane
from core.recovery import operations
from core.recovery.choosing import Chosen
from core.recovery.preview import preview
from core.runs import operations as runs
from tests.workers.conftest import Started
from workers.jobs import housekeeping, recovery

Eventually = Callable[..., None]
Start = Callable[..., Started]
ADA = Actor("ada", "the machine is back")


@pytest.fixture
def app(engine: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    url = engine.url.render_as_string(hide_password=False)
    made = bootstrap.make_application(Settings.from_environment({"DATABASE_URL": url, "REDIS_URL": redis_url}))
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    yield made
    made.engine.dispose()


def sweep(engine: Engine, monkeypatch: pytest.MonkeyPatch, after: timedelta = timedelta(minutes=5)) -> dict[str, Any]:
    """The sweep of runs, that long from now."""
    monkeypatch.setattr(housekeeping, "utc_now", lambda: utc_now() + after)
    return housekeeping.sweep_runs()


def causes(engine: Engine) -> list[tuple[str, str, int]]:
    with engine.connect() as conn:
        rows = fetch(conn, "select function, error_class, items from failure_groups order by 1, 2")
    return [(row["function"], row["error_class"], row["items"]) for row in rows]


def requeue(app: Application, shop_id: int, per_minute: float) -> int:
    with unit_of_work(app.engine) as conn:
        found = preview(conn, shop_id, Chosen(), app.queue.check, utc_now())
        done = operations.requeue(conn, shop_id, Chosen(), found.token, ADA, utc_now(), app.queue.check,
                                  per_minute=per_minute)  # fmt: skip
        assert done.recovery_id is not None
        return done.recovery_id


def test_killed_in_mid_run_with_its_worker_it_is_found_and_done_again(
    app: Application, engine: Engine, client: redis.Redis, lane: Lane, start: Start, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arguments = {"shop_id": lane.shop_id, "connection_id": lane.connection_id, "kind": "order", "refs": "1"}
    worker = start("worker", "lookups")
    app.queue.enqueue("orders.read", **arguments)
    eventually(lambda: client.get("test:reading"), "the job runs")
    horse = int(client.get("test:reading") or 0)
    worker.signal(signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)
    worker.ended()
    registry = StartedJobRegistry(queue=queue_named("lookups", client))
    assert registry.get_job_count(cleanup=False) == 1, "stuck in started"
    assert sweep(engine, monkeypatch, timedelta(0))["jobs"] == 0, "nobody can know yet"
    # Time passes: what keeps a worker's key and the registry's entry alive has run out.
    (entry,) = client.zrange(registry.key, 0, -1)
    client.zadd(registry.key, {entry: 1})
    for key in client.scan_iter("rq:worker:*"):
        client.delete(key)
    assert sweep(engine, monkeypatch)["jobs"] == 1
    assert registry.get_job_count(cleanup=False) == 0
    assert causes(engine) == [("orders.read", "Abandoned", 1)]
    number = requeue(app, lane.shop_id, 600)
    recovery.recover()
    start("worker", "lookups")
    eventually(lambda: not recovery.recover()["recoveries"], "the recovery has ended")
    with engine.connect() as conn:
        assert scalar(conn, "select done from recovery_list where recovery_id = %(n)s", n=number) == 1
    assert causes(engine) == []
    assert FailedJobRegistry(queue=queue_named("lookups", client)).get_job_count(cleanup=False) == 0


def test_a_killed_process_of_a_living_worker_is_a_failure_at_once(
    app: Application, engine: Engine, client: redis.Redis, start: Start, eventually: Eventually, lane: Lane
) -> None:
    start("worker", "events")
    queue_named("events", client).enqueue_call(func="test.own_end")
    eventually(lambda: causes(engine), "it is on record")
    assert causes(engine) == [("test.own_end", "Killed", 1)]


def test_a_flush_in_the_middle_of_a_recovery_loses_nothing_and_doubles_nothing(
    app: Application, engine: Engine, client: redis.Redis, lane: Lane, start: Start, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with unit_of_work(engine) as conn:
        for number in range(12):
            run = runs.open_job_run(
                conn, job_ref=f"j{number}", function="orders.read", queue="lookups", worker="w", attempt=1,
                arguments={"shop_id": lane.shop_id, "connection_id": lane.connection_id, "kind": "order",
                           "refs": str(number)}, now=utc_now() - timedelta(minutes=1),
            )  # fmt: skip
            runs.close_job_run(conn, run, "failed", utc_now(), error="ConnectionError: no answer", fingerprint="f")
    number = requeue(app, lane.shop_id, 24)
    assert recovery.recover()["begun"] == 6, "as many as a quarter of a minute allows"
    start("worker", "lookups")
    eventually(lambda: client.get("test:reading"), "the first of them runs")
    client.flushdb()
    with unit_of_work(engine) as conn:
        execute(conn, "update recoveries set paced_at = paced_at - interval '1 minute'")
    assert recovery.recover()["begun"] == 6
    client.flushdb()

    def is_done() -> bool:
        # What nobody has answered to for a minute is rung for again.
        sweep(engine, monkeypatch, timedelta(seconds=90))
        return not recovery.recover()["recoveries"]

    eventually(is_done, "the recovery has ended")
    with engine.connect() as conn:
        row = fetch(conn, "select state, done, failed from recovery_list where recovery_id = %(n)s", n=number)[0]
        assert tuple(row.values()) == ("done", 12, 0)
        ran = fetch(conn, "select job_ref, count(*) as runs from job_runs where job_ref like 'again-%%' group by 1")
    assert [row["runs"] for row in ran] == [1] * 12
    assert causes(engine) == []


def test_what_was_to_come_later_and_was_never_moved_is_queued_once(app: Application, client: redis.Redis) -> None:
    now = datetime.now(UTC)
    for ref, minutes in (("late", -10), ("due", -1), ("later", 10)):
        app.queue.enqueue_at(ref, now + timedelta(minutes=minutes), "stock.push", {"shop_id": 1})
    assert app.broker.mend(now)["overdue"] == 1
    assert app.broker.mend(now)["overdue"] == 0
    queue = queue_named("stock", client)
    assert queue.job_ids == ["late"]
    assert sorted(ScheduledJobRegistry(queue=queue).get_job_ids(cleanup=False)) == ["due", "later"]


def test_what_waits_for_a_job_that_never_ends_is_a_failure(
    app: Application, engine: Engine, client: redis.Redis, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_named("events", client)
    never = SwJob.create("inbox.drain", id="never", connection=client, origin="events")
    never.save()
    queue.enqueue_call("inbox.drain", kwargs={"shop_id": lane.shop_id}, job_id="waits",
                       depends_on=Dependency(jobs=[never], allow_failure=True))  # fmt: skip
    registry = DeferredJobRegistry(queue=queue)
    assert registry.get_job_ids(cleanup=False) == ["waits"]
    assert sweep(engine, monkeypatch, timedelta(0))["deferred"] == 0, "it may be young"
    assert sweep(engine, monkeypatch, timedelta(minutes=10))["deferred"] == 1
    assert registry.get_job_ids(cleanup=False) == []
    assert causes(engine) == [("inbox.drain", "NeverBegan", 1)]


def test_what_a_worker_took_and_died_with_is_a_failure(
    app: Application, engine: Engine, client: redis.Redis, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_named("events", client)
    queue.enqueue_call("promises.expire", job_id="taken")
    taken = IntermediateQueue(queue.key, client)
    client.lmove(queue.key, taken.key, "LEFT", "RIGHT")
    sweep(engine, monkeypatch)
    assert causes(engine) == [], "it may have been taken just now"
    client.set(taken.get_first_seen_key("taken"), (datetime.now(UTC) - timedelta(minutes=2)).timestamp())
    sweep(engine, monkeypatch)
    assert causes(engine) == [("promises.expire", "NeverBegan", 1)]
    assert taken.get_job_ids() == []


def test_a_promise_that_redis_knows_and_nobody_will_run_is_rung_again(
    app: Application, engine: Engine, client: redis.Redis, lane: Lane, monkeypatch: pytest.MonkeyPatch,
    registry: dict[str, Registered],
) -> None:  # fmt: skip
    handled: list[int] = []
    register("stock.push", lambda **_: handled.append(1), JobSpec("stock", 30))
    promise(engine, lane, "again-1", utc_now() - timedelta(minutes=3))
    queue = queue_named("stock", client)
    app.queue.enqueue_once("again-1", "stock.push", {"shop_id": lane.shop_id})
    assert sweep(engine, monkeypatch)["rung_again"] == 0, "it stands in its queue"
    client.delete(queue.key)
    assert client.exists(Job.key_for("again-1"))
    assert sweep(engine, monkeypatch)["rung_again"] == 1
    assert sweep(engine, monkeypatch)["rung_again"] == 0
    worker = SwSimpleWorker([queue], connection=client, serializer="json")
    worker.work(burst=True, logging_level="CRITICAL")
    assert handled == [1]


def test_a_promise_that_nobody_answered_for_a_week_is_a_failure(
    app: Application, engine: Engine, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise(engine, lane, "again-1", utc_now() - timedelta(days=8))
    assert sweep(engine, monkeypatch)["given_up"] == 1
    assert sweep(engine, monkeypatch)["given_up"] == 0
    assert causes(engine) == [("stock.push", "NeverBegan", 1)]


def promise(engine: Engine, lane: Lane, ref: str, at: datetime) -> None:
    with unit_of_work(engine) as conn:
        execute(
            conn,
            """
            insert into job_requeues (shop_id, job_ref, function, arguments, requested_by, reason, requested_at)
            values (%(s)s, %(r)s, 'stock.push', jsonb_build_object('shop_id', %(s)s::int8), 'ada', 'why', %(at)s)
            """,
            s=lane.shop_id,
            r=ref,
            at=at,
        )
