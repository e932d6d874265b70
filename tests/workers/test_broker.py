"""Reading what only RQ knows: it changes nothing, foreign things in Redis do no harm, and a dead Redis says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq_scheduler import Scheduler
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from core import bootstrap
from core.adapters.rq import JOB_QUEUES, JobSpec, Registered, SwJob, SwSimpleWorker, queue_named, register
from core.adapters.rq_reading import RqBroker
from core.config import Settings
from core.db import fetch, scalar, unit_of_work
from core.errors import Retryable
from core.messaging.doorbell import Lane
from core.runs import operations
from core.runs.schedules import SCHEDULES
from tests.workers.conftest import Start, eventually
from workers import recording
from workers.jobs import housekeeping
from workers.queues import QUEUES
from workers.scheduler import Ringer


@pytest.fixture
def broker(redis_url: str) -> RqBroker:
    return RqBroker(redis_url)


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: client.dump(key) for key in sorted(client.keys())}


def test_every_queue_in_its_order_with_what_waits_runs_and_failed(broker: RqBroker, client: redis.Redis) -> None:
    queue = queue_named("events", client)
    first = queue.enqueue_call(func="inbox.drain", kwargs={"shop_id": 1})
    queue.enqueue_call(func="inbox.drain", kwargs={"shop_id": 2})
    failed = SwJob.create(func="inbox.drain", kwargs={}, id="lost", connection=client, origin="events")
    FailedJobRegistry(queue=queue).add(failed, ttl=100, exc_string="")
    reading = broker.read()
    assert [found.name for found in reading.queues] == list(QUEUES)
    events = reading.queues[0]
    assert events.jobs == ("inbox.drain", "sweep.inbox")
    assert (events.waiting, events.running, events.retrying, events.failed) == (2, 0, 0, 1)
    assert first.enqueued_at is not None
    assert events.oldest_at == first.enqueued_at.astimezone(UTC)
    assert (reading.queues[1].waiting, reading.queues[1].oldest_at) == (0, None)


def test_reading_changes_nothing(broker: RqBroker, client: redis.Redis) -> None:
    queue = queue_named("events", client)
    queue.enqueue_call(func="inbox.drain", kwargs={})
    # An entry long past its time: any cleaning up would fail it and take it out.
    abandoned = SwJob.create(func="inbox.drain", kwargs={}, id="abandoned", connection=client, origin="events")
    abandoned.save()
    StartedJobRegistry(queue=queue).connection.zadd("rq:wip:events", {"abandoned:x": 1})
    FailedJobRegistry(queue=queue).add(abandoned, ttl=100, exc_string="")
    client.zadd("rq:failed:events", {"expired": 1})
    before = everything(client)
    broker.read()
    broker.failed_jobs(10)
    broker.states(["abandoned", "nobody"])
    assert everything(client) == before


def test_a_real_worker_shows_what_it_is_at(broker: RqBroker, client: redis.Redis, start: Start) -> None:
    start("worker", "events")
    queue_named("events", client).enqueue_call(func="test.sleep", kwargs={"seconds": 30}, description="test.sleep")
    eventually(lambda: client.exists("test:sleeping"), "the job sleeps")
    (worker,) = broker.read().workers
    assert worker.queues == ("events",)
    assert (worker.state, worker.job) == ("busy", "test.sleep")
    assert worker.job_started_at is not None
    assert worker.started_at is not None
    assert worker.heard_at is not None
    assert abs(worker.job_started_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert (worker.done, worker.failed) == (0, 0)
    client.flushdb()
    assert broker.read().workers == ()


def test_a_worker_that_ended_is_not_shown(broker: RqBroker, client: redis.Redis) -> None:
    worker = SwSimpleWorker([queue_named("polls", client)], name="gone", connection=client, serializer="json")
    worker.register_birth()
    assert [found.name for found in broker.read().workers] == ["gone"]
    client.delete(worker.key)
    assert broker.read().workers == ()


def test_next_rings_are_known_by_the_entries_of_the_table(broker: RqBroker, client: redis.Redis) -> None:
    assert broker.read().next_rings == {}
    Ringer(client).turn(set())
    rings = broker.read().next_rings
    assert rings.keys() == {schedule.entry_id for schedule in SCHEDULES}


def test_foreign_payloads_are_read_as_such(broker: RqBroker, client: redis.Redis) -> None:
    queue = queue_named("events", client)
    job = queue.enqueue_call(func="inbox.drain", kwargs={"shop_id": 1})
    client.hset(job.key, "data", b"no json at all")
    FailedJobRegistry(queue=queue).add(job, ttl=100, exc_string="")
    client.zadd("rq:failed:events", {"without-a-hash": 9e9})
    client.hset("rq:worker:odd", mapping={"birth": "yesterday", "queues": "events"})
    client.sadd("rq:workers", "rq:worker:odd")
    assert [found.ref for found in broker.failed_jobs(10)] in ([job.id], [])
    (odd,) = broker.read().workers
    assert (odd.started_at, odd.state) == (None, "?")


def test_a_job_is_taken_back_but_a_schedules_entry_stays(broker: RqBroker, client: redis.Redis) -> None:
    Ringer(client).turn(set())
    queue = queue_named(JOB_QUEUES["runs.prune"], client)
    entry = SwJob.fetch("schedule-runs-prune", connection=client)
    FailedJobRegistry(queue=queue).add(entry, ttl=90 * 86400, exc_string="")
    client.persist(entry.key)
    assert broker.take_back(["schedule-runs-prune", "nobody"]) == 1
    assert broker.take_back(["schedule-runs-prune"]) == 0
    assert broker.take_back([]) == 0
    assert client.ttl(entry.key) == -1
    assert client.zscore(Scheduler.scheduled_jobs_key, "schedule-runs-prune") is not None


def test_a_redis_that_is_away_is_said_to_be_away() -> None:
    away = RqBroker("redis://127.0.0.1:1/0")
    asks = (away.read, lambda: away.failed_jobs(1), lambda: away.states(["a"]), lambda: away.take_back(["a"]))
    for ask in asks:
        with pytest.raises(Retryable, match="the queue does not answer"):
            ask()


def test_a_traceback_names_places_and_no_values(engine: Engine, lane: Lane) -> None:
    def book() -> None:
        with unit_of_work(engine) as conn:
            conn.exec_driver_sql(
                "insert into connections (shop_id, vendor, name, base_url, account_ref, guarantee_class, created_at)"
                " values (%(s)s, 'shopify', 'Store', 'x', 'mrs.smith@example.com', 'A', now())",
                {"s": lane.shop_id},
            )

    try:
        try:
            book()
        except IntegrityError as inner:
            raise ValueError("it could not be booked") from inner
    except ValueError as error:
        text = recording.trace(error)
    assert "in book" in text
    assert text.endswith("ValueError: it could not be booked")
    assert "which led to:" in text
    assert "UniqueViolation" in text
    assert "mrs.smith" not in text
    assert "already exists" not in text, "the line that holds the row's values"


def test_the_sweep_adopts_closes_and_rings(
    client: redis.Redis, redis_url: str, engine: Engine, lane: Lane, monkeypatch: pytest.MonkeyPatch,
    registry: dict[str, Registered],
) -> None:  # fmt: skip
    url = engine.url.render_as_string(hide_password=False)
    environment = {"DATABASE_URL": url, "REDIS_URL": redis_url}
    app = bootstrap.make_application(Settings.from_environment(environment))
    monkeypatch.setattr(bootstrap, "application", lambda: app)
    register("inbox.drain", lambda **_: None, JobSpec("events", 30))
    queue = queue_named("events", client)
    taken = SwJob.create(func="inbox.drain", kwargs={"shop_id": lane.shop_id}, id="taken", connection=client,
                         origin="events")  # fmt: skip
    FailedJobRegistry(queue=queue).add(taken, ttl=100, exc_string="")
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with unit_of_work(engine) as conn:
        for outcome, minute in (("failed", 0), ("finished", 1)):
            at = long_ago + timedelta(minutes=minute)
            run = operations.open_job_run(
                conn, job_ref=f"j-{minute}", function="poll.orders", arguments={}, queue="polls", worker="w",
                attempt=1, now=at,
            )  # fmt: skip
            operations.close_job_run(conn, run, outcome, at)
        for ref, function in (("again-0", "gone.job"), ("again-1", "inbox.drain")):
            conn.exec_driver_sql(
                "insert into job_requeues (shop_id, job_ref, function, arguments, requested_by, reason, requested_at)"
                " values (%(s)s, %(r)s, %(f)s, '{\"shop_id\": 7}', 'ada', 'why', %(at)s)",
                {"s": lane.shop_id, "r": ref, "f": function, "at": long_ago},
            )
    said = housekeeping.sweep_runs()
    assert (said["adopted"], said["superseded"], said["rung_again"]) == (1, 1, 1)
    assert [(job.id, job.kwargs) for job in queue.get_jobs()] == [("again-1", {"shop_id": 7})]
    said = housekeeping.sweep_runs()
    assert (said["adopted"], said["superseded"], said["rung_again"]) == (0, 0, 0)
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select count(*) from job_runs where job_ref = 'taken'") == 1
        assert [row["resolution"] for row in fetch(conn, "select resolution from job_runs where job_ref = 'j-0'")] == [
            "superseded"
        ]
