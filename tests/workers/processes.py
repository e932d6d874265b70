"""Real processes for the tests of jobs, lanes and schedules: `python processes.py ROLE ...`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis

from core import logs
from core.adapters.rq import JobSpec, RqJobQueue, record_runs_with, register
from core.config import Settings
from core.db import execute, make_engine, scalar, unit_of_work
from core.messaging.doorbell import Doorbell, Lane, lane_lock
from workers import schedule, scheduler
from workers.recording import PostgresRunRecorder
from workers.run import make_worker

SETTINGS = Settings.from_environment()
TICK = schedule.Schedule("test.tick", "runs.sweep", "a short period", every_seconds=1)


def main() -> None:
    """Play the role named on the command line."""
    logs.configure("test")
    role, *words = sys.argv[1:]
    roles = {"worker": worker, "scheduler": tick_scheduler, "holder": holder, "producer": producer, "expire": expire,
             "struck": struck, "turns": turns}  # fmt: skip
    roles[role](*words)


def worker(queue: str) -> None:
    """A worker as in production, with jobs of the test."""
    engine = make_engine(SETTINGS.database_url)
    register("test.sleep", _sleep, JobSpec(queue, 60))
    register("test.flaky", _flaky, JobSpec(queue, 60, (3, (1, 1, 1))))
    register("test.own_end", _own_end, JobSpec(queue, 60))
    register("test.note", _note, JobSpec(queue, 60))
    register("inbox.drain", partial(_drain, engine), JobSpec(queue, 60))
    register("orders.read", _read, JobSpec(queue, 60))
    register(TICK.ring_job, lambda: schedule.ring(TICK, engine, _note), JobSpec(queue, 60))
    record_runs_with(PostgresRunRecorder(SETTINGS.database_url))
    made = make_worker(queue, SETTINGS.redis_url)
    made.work(with_scheduler=True, logging_level="WARNING")


def struck(whom: str) -> None:
    """A worker of `events`; with each fork SIGTERM comes to the `worker`, or to the `child`, in that very moment."""

    def strike() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    made = make_worker("events", SETTINGS.redis_url)
    if whom == "worker":
        os.register_at_fork(after_in_parent=strike)
    else:
        os.register_at_fork(after_in_child=strike)
    made.work(with_scheduler=True, logging_level="WARNING")


def expire() -> None:
    """The job itself, once; prints how many promises it ended."""
    # Here only: it declares jobs whose names the other roles use for their own.
    job = importlib.import_module("workers.jobs.promises")
    print(job.expire_promises()["expired"], flush=True)


def _client() -> redis.Redis:
    return redis.Redis.from_url(SETTINGS.redis_url)


def _sleep(*, seconds: int) -> dict[str, int]:
    _client().set("test:sleeping", os.getpid())
    time.sleep(seconds)
    return {"slept": seconds}


def _flaky(*, failures: int) -> dict[str, int]:
    count = int(str(_client().incr("test:attempts")))
    if count <= failures:
        raise ConnectionError(f"attempt {count} fails")
    return {"attempts": count}


def _read(*, shop_id: int, connection_id: int, kind: str, refs: str) -> dict[str, str]:
    """Takes a moment, so that something can happen in the middle of it."""
    _client().set("test:reading", os.getpid())
    time.sleep(0.3)
    return {"read": refs}


def _own_end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _note() -> dict[str, int]:
    return {"notes": int(str(_client().incr("test:notes")))}


def _drain(engine: object, *, shop_id: int, connection_id: int) -> dict[str, object]:
    """A drain with a budget so small that lanes are handed on all the time."""
    lane = Lane("events", shop_id, connection_id)
    handled = 0
    with Doorbell(RqJobQueue(SETTINGS.redis_url)).draining(engine, lane) as drain:  # type: ignore[arg-type]
        if not drain.is_held:
            return {"busy": True}
        client = _client()
        if int(str(client.incr("test:holders"))) > 1:
            client.set("test:overlap", 1)
        for _ in range(3):
            with unit_of_work(engine) as conn:  # type: ignore[arg-type]
                count = _handle_some(conn, lane)
            handled += count
            if count == 0:
                break
        drain.has_more = count > 0
        client.decr("test:holders")
    return {"handled": handled}


def _handle_some(conn: object, lane: Lane) -> int:
    return execute(
        conn,  # type: ignore[arg-type]
        """
        update inbox_messages set state = 'handled', settled_at = now()
        where shop_id = %(shop)s and id in (
            select id from inbox_messages
            where shop_id = %(shop)s and connection_id = %(connection)s and state = 'received'
            order by id limit 5 for update skip locked)
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
    )


def producer(name: str, shop_id: str, connection_id: str, count: str) -> None:
    """Commit a row, then ring, again and again."""
    engine = make_engine(SETTINGS.database_url)
    lane = Lane("events", int(shop_id), int(connection_id))
    doorbell = Doorbell(RqJobQueue(SETTINGS.redis_url))
    for number in range(int(count)):
        with unit_of_work(engine) as conn:
            execute(
                conn,
                "insert into inbox_messages"
                " (shop_id, connection_id, delivery_id, topic, road, body, received_at)"
                " values (%(shop)s, %(connection)s, %(id)s, 'orders/create', 'webhook', ''::bytea, now())",
                shop=lane.shop_id,
                connection=lane.connection_id,
                id=f"{name}-{number}",
            )
        while not doorbell.ring(lane):
            time.sleep(0.1)
        # Now and then a pause, so that drains also run empty.
        time.sleep(0.001 * (number * 7 % 40))


def holder(shop_id: str, connection_id: str) -> None:
    """Hold a lane until killed."""
    engine = make_engine(SETTINGS.database_url)
    with lane_lock(engine, Lane("events", int(shop_id), int(connection_id))) as held:
        _client().set("test:held", int(held))
        with unit_of_work(engine) as conn:
            scalar(conn, "select 1")
        threading.Event().wait()


def turns() -> None:
    """Ring for a schedule again and again; while the test says so, its first turn does not end by itself."""
    engine, client = make_engine(SETTINGS.database_url), _client()

    def work() -> None:
        others: Any = client.smembers("test:at_work")
        if any(Path(f"/proc/{int(other)}").exists() for other in others):
            client.set("test:overlap", 1)
        client.sadd("test:at_work", os.getpid())
        while client.exists("test:slow"):
            time.sleep(0.05)
        client.srem("test:at_work", os.getpid())

    while True:
        schedule.ring(TICK, engine, work)
        time.sleep(0.1)


def tick_scheduler() -> None:
    """The scheduler's loop over a table of one schedule."""
    scheduler.LOOP_SECONDS = 0.2
    scheduler.SCHEDULES = (TICK,)
    scheduler.Ringer.__init__.__defaults__ = ((TICK,),)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    scheduler.run(SETTINGS, stop)


if __name__ == "__main__":
    main()
