"""Rings coalesce, none is swallowed, and a lane has one drain at a time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from rq.scheduler import RQScheduler
from sqlalchemy import Engine, event

from core.adapters.rq import RqJobQueue, SwWorker, queue_named
from core.adapters.rq_reading import RqBroker
from core.bootstrap import make_application
from core.clock import utc_now
from core.config import Settings
from core.db import scalar, unit_of_work
from core.embedded import Database
from core.errors import Retryable
from core.messaging.doorbell import FLAG_SECONDS, Doorbell, Lane, lane_lock
from core.messaging.inbox import Incoming, record
from workers.jobs.inbox import sweep_inbox


@pytest.fixture
def doorbell(redis_url: str) -> Doorbell:
    return Doorbell(RqJobQueue(redis_url))


def waiting(client: redis.Redis) -> int:
    return queue_named("events", client).count


def test_many_rings_queue_one_job_until_it_is_answered(doorbell: Doorbell, client: redis.Redis, lane: Lane) -> None:
    assert all(doorbell.ring(lane) for _ in range(5))
    assert waiting(client) == 1
    doorbell.answer(lane)
    doorbell.ring(lane)
    assert waiting(client) == 2


def test_lanes_ring_apart(doorbell: Doorbell, client: redis.Redis) -> None:
    doorbell.ring(Lane("events", 1, 1))
    doorbell.ring(Lane("events", 1, 2))
    assert waiting(client) == 2


def test_the_flag_falls_by_itself(doorbell: Doorbell, client: redis.Redis, lane: Lane) -> None:
    doorbell.ring(lane)
    (key,) = client.keys("switchyard:rung:*")
    assert 0 < client.ttl(key) <= FLAG_SECONDS


def test_a_dead_redis_raises_nothing(lane: Lane, engine: Engine) -> None:
    doorbell = Doorbell(RqJobQueue("redis://127.0.0.1:1/0"))
    assert doorbell.ring(lane) is False
    assert doorbell.answer(lane) is False
    with doorbell.draining(engine, lane) as drain:
        assert drain.is_held
        drain.has_more = True


class FullQueue(RqJobQueue):
    """Takes flags and no jobs."""

    def enqueue(self, name: str, /, **arguments: object) -> None:
        raise Retryable("no room")


def test_a_flag_without_a_job_does_not_swallow_the_next_ring(redis_url: str, client: redis.Redis, lane: Lane) -> None:
    assert Doorbell(FullQueue(redis_url)).ring(lane) is False
    assert Doorbell(RqJobQueue(redis_url)).ring(lane) is True
    assert waiting(client) == 1


def test_a_sweep_rings_though_a_flag_stands_without_a_job(
    redis_url: str, client: redis.Redis, lane: Lane, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left when a drain ends while Redis is away, or a worker dies with the job that it just took."""
    settings = Settings.from_environment({"DATABASE_URL": database.url, "REDIS_URL": redis_url})
    application = make_application(settings)
    monkeypatch.setattr("core.bootstrap.application", lambda: application)
    with unit_of_work(application.engine) as conn:
        message = Incoming("d-1", "orders/create", b"{}", None)
        record(conn, lane.shop_id, lane.connection_id, [message], "webhook", utc_now())
    application.doorbell.ring(lane)
    queue_named("events", client).empty()
    assert application.doorbell.ring(lane) is True
    assert waiting(client) == 0
    assert sweep_inbox() == {"lanes": 1, "expired": 0}
    assert waiting(client) == 1
    application.engine.dispose()


def test_a_promised_ring_comes_when_it_is_time_and_once(
    doorbell: Doorbell, client: redis.Redis, lane: Lane, redis_url: str
) -> None:
    soon, later = utc_now() - timedelta(seconds=1), utc_now() + timedelta(hours=1)
    for at in (soon, soon, later, later):
        assert doorbell.ring_at(lane, at)
    assert waiting(client) == 0
    promised = queue_named("events", client).scheduled_job_registry
    assert len(promised) == 2
    assert [queue.retrying for queue in RqBroker(redis_url).read().queues if queue.name == "events"] == [0]
    scheduler = RQScheduler([queue_named("events", client)], client)
    scheduler.acquire_locks()
    scheduler.enqueue_scheduled_jobs()
    assert (waiting(client), len(promised)) == (1, 1)
    (job,) = queue_named("events", client).jobs
    assert (job.func_name, job.kwargs) == (
        "inbox.drain",
        {"shop_id": lane.shop_id, "connection_id": lane.connection_id},
    )


def test_a_promise_to_nobody_raises_nothing(lane: Lane) -> None:
    assert Doorbell(RqJobQueue("redis://127.0.0.1:1/0")).ring_at(lane, utc_now()) is False


class LateAnswers(RqJobQueue):
    """Raises the flag and answers too late."""

    def raise_flag(self, key: str, seconds: int, *, only_if_down: bool) -> bool:
        super().raise_flag(key, seconds, only_if_down=only_if_down)
        raise Retryable("too late")


def test_a_late_answer_does_not_swallow_the_next_ring(redis_url: str, client: redis.Redis, lane: Lane) -> None:
    assert Doorbell(LateAnswers(redis_url)).ring(lane) is False
    assert Doorbell(RqJobQueue(redis_url)).ring(lane) is True
    assert waiting(client) == 1


def test_one_holder_per_lane(engine: Engine, lane: Lane) -> None:
    stock = Lane("stock", lane.shop_id, lane.connection_id)
    with lane_lock(engine, lane) as first, lane_lock(engine, lane) as second, lane_lock(engine, stock) as other:
        assert (first, second, other) == (True, False, True)
    with lane_lock(engine, lane) as again:
        assert again


HELD = """
    select count(*) from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())
"""


def test_the_lock_leaves_nothing_in_the_pool(engine: Engine, lane: Lane) -> None:
    with lane_lock(engine, lane):
        pass
    with unit_of_work(engine) as conn:
        assert scalar(conn, HELD) == 0
        assert scalar(conn, "show idle_session_timeout") == "0"


def test_the_lock_is_free_before_its_connection_is_closed(engine: Engine, lane: Lane) -> None:
    """A server ends a closed session when it gets to it: a lock still held by then bounces the job of the next ring
    after the holder has looked whether one came."""
    held: list[object] = []

    def look(_: object) -> None:
        with unit_of_work(engine) as conn:
            held.append(scalar(conn, HELD))

    event.listen(engine, "close_detached", look)
    with lane_lock(engine, lane), unit_of_work(engine) as conn:
        assert scalar(conn, HELD) == 1
    assert held == [0]


def test_a_drain_takes_the_flag_down_before_it_claims(
    doorbell: Doorbell, engine: Engine, client: redis.Redis, lane: Lane
) -> None:
    doorbell.ring(lane)
    with doorbell.draining(engine, lane) as drain:
        assert drain.is_held
        assert client.keys("switchyard:rung:*") == []
    assert waiting(client) == 1


def test_a_ring_during_the_drain_is_passed_on_when_the_job_for_it_found_the_lane_taken(
    doorbell: Doorbell, engine: Engine, client: redis.Redis, lane: Lane
) -> None:
    with doorbell.draining(engine, lane):
        doorbell.ring(lane)
        client.delete("rq:queue:events")  # the job for it runs ...
        with doorbell.draining(engine, lane) as bounced:
            assert not bounced.is_held  # ... and finds the lane taken
        assert waiting(client) == 0
    assert waiting(client) == 1


def test_a_drain_with_rows_left_rings_again_though_the_flag_is_up(
    doorbell: Doorbell, engine: Engine, client: redis.Redis, lane: Lane
) -> None:
    with doorbell.draining(engine, lane) as drain:
        drain.has_more = True
    assert waiting(client) == 1
    # And the flag is up: others need not ring.
    doorbell.ring(lane)
    assert waiting(client) == 1


def test_a_drain_that_raises_passes_rings_on_and_frees_the_lane(
    doorbell: Doorbell, engine: Engine, client: redis.Redis, lane: Lane
) -> None:
    def fail() -> None:
        with doorbell.draining(engine, lane):
            doorbell.ring(lane)
            client.delete("rq:queue:events")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert waiting(client) == 1
    with lane_lock(engine, lane) as held:
        assert held


def test_a_killed_holder_frees_its_lane(
    start: Callable[..., Any], eventually: Callable[..., None], engine: Engine, client: redis.Redis, lane: Lane
) -> None:
    holder = start("holder", str(lane.shop_id), str(lane.connection_id))
    eventually(lambda: client.get("test:held") == b"1", "the lane is held elsewhere")
    with lane_lock(engine, lane) as held:
        assert not held
    holder.signal(signal.SIGKILL)
    holder.ended()

    def is_free() -> bool:
        with lane_lock(engine, lane) as held:
            return held

    eventually(is_free, "the lane of a killed holder is free")


@pytest.mark.slow
def test_racing_workers_and_producers_lose_no_row_and_never_share_a_lane(
    start: Callable[..., Any], eventually: Callable[..., None], engine: Engine, client: redis.Redis, lane: Lane
) -> None:
    """No sweep runs here: every row must be handled because of its own ring."""
    for _ in range(3):
        start("worker", "events")
    words = (str(lane.shop_id), str(lane.connection_id), "150")
    producers = [start("producer", f"p{number}", *words) for number in range(3)]
    for producer in producers:
        assert producer.ended() == 0

    def is_quiet() -> bool:
        if waiting(client) or any(worker.get_current_job_id() for worker in SwWorker.all(connection=client)):
            return False
        return waiting(client) == 0

    eventually(is_quiet, "no job waits or runs")
    with unit_of_work(engine) as conn:
        left = scalar(conn, "select count(*) from inbox_messages where state = 'received'")
        handled = scalar(conn, "select count(*) from inbox_messages where state = 'handled'")
        bounced = scalar(conn, "select count(*) from job_runs where result ->> 'busy' = 'true'")
    assert (left, handled) == (0, 450)
    assert client.get("test:overlap") is None
    assert bounced > 0, "the race never happened, so nothing was proven"
