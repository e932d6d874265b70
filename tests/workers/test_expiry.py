"""Deadlines: what is held beyond one is given back, by whichever process comes first, and by the next if it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from core import bootstrap
from core.adapters.rq import REGISTRY, SwSimpleWorker, queue_named
from core.clock import utc_now
from core.db import execute, fetch, scalar, unit_of_work
from core.inventory import promises
from core.inventory.promises import Holder, Promise
from core.runs.schedules import SCHEDULES
from tests.factories import World, make_world
from tests.workers.conftest import ROOT, Start
from workers import registry as jobs
from workers.jobs import promises as job

Eventually = Callable[..., None]
PROMISES = 60


@pytest.fixture
def world(engine: Engine) -> World:
    """A shop with as many promises as mugs, a minute old, whose deadline was half a minute ago."""
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": PROMISES, "CUP": 5})
        _promise(conn, world, "MUG", PROMISES, 30)
    return world


def _promise(conn: Any, world: World, code: str, count: int, seconds_ago: float) -> None:
    now = utc_now()
    made = [
        Promise(
            Holder("checkout", f"{code} {number}"),
            world.location_id,
            ((world.skus[code], 1),),
            now - timedelta(seconds=seconds_ago),
        )
        for number in range(count)
    ]
    assert all(answer.is_whole for answer in promises.reserve(conn, world.shop_id, made, now - timedelta(minutes=1)))


def states(engine: Engine) -> dict[str, int]:
    with engine.connect() as conn:
        rows = fetch(conn, "select state, count(*) as n from reservations where order_line_id is null group by 1")
    return {row["state"]: row["n"] for row in rows}


def reserved(engine: Engine) -> int:
    with engine.connect() as conn:
        return int(scalar(conn, "select sum(reserved) from stock_levels"))


@pytest.fixture
def app(database: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap._application_of.cache_clear()


def test_it_is_rung_for_every_half_minute() -> None:
    (schedule,) = [item for item in SCHEDULES if item.job == "promises.expire"]
    assert schedule.every_seconds == 30
    jobs.load()
    assert {schedule.job, schedule.ring_job} <= REGISTRY.keys()


def test_every_shop_gives_back_what_is_due_in_rounds_and_rings_for_its_listings(
    world: World, app: Any, engine: Engine, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work(engine) as conn:
        other = make_world(conn, {"MUG": 3})
        _promise(conn, other, "MUG", 2, 1)
        _promise(conn, world, "CUP", 2, -3600)
        execute(conn, "update listings set published_units = desired_units")
    monkeypatch.setattr(job, "AT_ONCE", 25)
    assert job.expire_promises() == {"expired": PROMISES + 2}
    assert states(engine) == {"expired": PROMISES + 2, "held": 2}
    rung = {queued.kwargs["shop_id"] for queued in queue_named("stock", client).jobs}
    assert rung == {world.shop_id, other.shop_id}
    assert job.expire_promises() == {"expired": 0}


def test_a_worker_runs_it_and_nobody_rings_when_nothing_is_due(
    app: Any, engine: Engine, client: redis.Redis, world: World
) -> None:
    jobs.load()
    worker = SwSimpleWorker([queue_named("stock", client)], connection=client, serializer="json")
    queued = app.queue
    queued.enqueue("promises.expire")
    worker.work(burst=True, max_jobs=1, logging_level="CRITICAL")
    assert states(engine) == {"expired": PROMISES}
    client.flushdb()
    queued.enqueue("promises.expire")
    worker.work(burst=True, logging_level="CRITICAL")
    assert queue_named("stock", client).jobs == []


def test_what_a_killed_worker_was_about_to_end_the_next_one_ends(
    world: World, engine: Engine, start: Start, eventually: Eventually
) -> None:
    with unit_of_work(engine) as conn:
        # Somebody is at the shelf: the process comes as far as waiting for it.
        fetch(conn, "select 1 from stock_levels for update")
        victim = start("expire")
        eventually(lambda: _waits(engine), "it waits for the level")
        victim.signal(signal.SIGKILL)
        victim.ended()
    assert states(engine) == {"held": PROMISES}
    assert reserved(engine) == PROMISES
    assert start("expire").ended() == 0
    assert states(engine) == {"expired": PROMISES}
    assert reserved(engine) == 0


def test_a_worker_killed_between_its_update_and_its_commit_ended_nothing(
    world: World, engine: Engine, start: Start, eventually: Eventually
) -> None:
    with unit_of_work(engine) as conn:
        # Promises and levels are written by then; what listings should show is not.
        fetch(conn, "select 1 from listings for update")
        victim = start("expire")
        eventually(lambda: _waits(engine), "it waits for the listings")
        victim.signal(signal.SIGKILL)
        victim.ended()
    eventually(lambda: not _waits(engine), "the server has noticed")
    assert states(engine) == {"held": PROMISES}
    assert reserved(engine) == PROMISES
    assert start("expire").ended() == 0
    assert (states(engine), reserved(engine)) == ({"expired": PROMISES}, 0)


def test_two_at_once_end_each_promise_once(
    world: World, engine: Engine, database: Any, redis_url: str, eventually: Eventually
) -> None:
    environment = {**os.environ, "DATABASE_URL": database.url, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/workers/processes.py"), "expire"]
    with unit_of_work(engine) as conn:
        fetch(conn, "select 1 from stock_levels for update")
        both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        eventually(lambda: _waits(engine) == 2, "both wait")
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(words) for words in said) == PROMISES
    assert (states(engine), reserved(engine)) == ({"expired": PROMISES}, 0)


def _waits(engine: Engine) -> int:
    with engine.connect() as conn:
        return int(
            scalar(
                conn,
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
        )
