"""Real workers: what remains when they, their jobs or Redis's memory go away."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Worker
from rq.scheduler import RQScheduler
from sqlalchemy import Engine

from core.adapters.rq import SwWorker, live_worker_names, queue_named
from core.clock import utc_now
from core.db import fetch, unit_of_work
from core.processes import process_started
from core.runs import operations

Eventually = Callable[..., None]


def runs(engine: Engine) -> list[dict[str, Any]]:
    with unit_of_work(engine) as conn:
        return [dict(row) for row in fetch(conn, "select * from job_runs order by id")]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def worker(start: Callable[..., Any], eventually: Eventually, client: redis.Redis) -> Any:
    started = start("worker", "events")
    eventually(lambda: live_worker_names(client), "the worker is registered")
    return started


def test_a_job_that_dies_is_closed_as_failed_at_once(
    worker: Any, eventually: Eventually, client: redis.Redis, engine: Engine
) -> None:
    queue_named("events", client).enqueue_call(func="test.own_end")
    eventually(lambda: [run for run in runs(engine) if run["outcome"]], "the run is closed")
    (run,) = runs(engine)
    assert run["outcome"] == "failed"
    assert "killed" in run["error"]
    assert run["fingerprint"]
    # The worker lives on.
    queue_named("events", client).enqueue_call(func="test.note")
    eventually(lambda: client.get("test:notes") == b"1", "the next job runs")


def test_a_retry_that_waits_for_its_interval_comes(
    worker: Any, eventually: Eventually, client: redis.Redis, engine: Engine
) -> None:
    queue_named("events", client).enqueue_call(func="test.flaky", kwargs={"failures": 2})
    eventually(lambda: [run for run in runs(engine) if run["outcome"] == "finished"], "the third attempt succeeds")
    assert [(run["attempt"], run["outcome"]) for run in runs(engine)] == [
        (1, "failed"),
        (2, "failed"),
        (3, "finished"),
    ]


def test_sigterm_lets_the_job_at_work_finish(
    worker: Any, eventually: Eventually, client: redis.Redis, engine: Engine
) -> None:
    queue_named("events", client).enqueue_call(func="test.sleep", kwargs={"seconds": 2})
    eventually(lambda: client.get("test:sleeping"), "the job runs")
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    (run,) = runs(engine)
    assert run["outcome"] == "finished"
    assert live_worker_names(client) == set()


@pytest.fixture
def struck(start: Callable[..., Any], eventually: Eventually, client: redis.Redis, request: Any) -> Any:
    """A worker that serves before it forks its scheduler, whose lock another has; then one of the two gets SIGTERM."""
    lock = RQScheduler.get_locking_key("events")
    client.set(lock, "another")
    started = start("struck", request.param)
    eventually(lambda: live_worker_names(client), "the worker is registered")
    eventually(lambda: client.hget(next(iter(Worker.all_keys(client))), "state") == b"idle", "it serves")
    assert children(started.process.pid) == []
    client.delete(lock)
    return started


@pytest.mark.parametrize("struck", ["worker"], indirect=True)
def test_a_worker_that_is_told_to_end_while_it_forks_its_scheduler_ends(struck: Any, client: redis.Redis) -> None:
    assert struck.ended() == 0
    assert live_worker_names(client) == set()


@pytest.mark.parametrize("struck", ["child"], indirect=True)
def test_a_scheduler_that_is_told_to_end_while_it_is_forked_ends_and_its_worker_does_not_wait_for_it(
    struck: Any, eventually: Eventually
) -> None:
    forked: list[int] = []
    eventually(lambda: forked.extend(children(struck.process.pid)) or forked, "it is forked")
    child = forked[0]
    # Its worker takes note of that only seconds later, and forks the next in the same moment.
    eventually(lambda: process_started(child) is None, "it has ended")
    struck.signal(signal.SIGTERM)
    assert struck.ended() == 0


@pytest.mark.parametrize("seconds", [0, 15], ids=["idle", "busy"])
def test_workers_register_again_after_a_flush(
    worker: Any, eventually: Eventually, client: redis.Redis, engine: Engine, seconds: int
) -> None:
    before = live_worker_names(client)
    if seconds:
        queue_named("events", client).enqueue_call(func="test.sleep", kwargs={"seconds": seconds})
        eventually(lambda: client.get("test:sleeping"), "the job runs")
    client.flushdb()
    assert live_worker_names(client) == set()
    eventually(lambda: live_worker_names(client) == before, "the worker is registered again")
    assert [found.name for found in SwWorker.all(connection=client)] == sorted(before)
    if seconds:
        assert runs(engine)[0]["outcome"] is None, "it came back in mid-job"
    queue_named("events", client).enqueue_call(func="test.note")
    eventually(lambda: client.get("test:notes") == b"1", "it still works")


def test_a_worker_looks_often_for_a_redis_that_is_away(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def away(*_arguments: object, **_options: object) -> None:
        raise redis.ConnectionError("away")

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise KeyboardInterrupt

    worker = SwWorker([queue_named("events", client)], connection=client, serializer="json")
    monkeypatch.setattr(worker.queue_class, "dequeue_any", away)
    monkeypatch.setattr("rq.worker.base.time.sleep", pause)
    with pytest.raises(KeyboardInterrupt):
        worker.dequeue_job_and_maintain_ttl(1)
    assert max(pauses) <= 5


@pytest.mark.slow
def test_runs_of_a_killed_worker_are_closed_as_abandoned_and_its_retry_mover_goes_along(
    worker: Any, eventually: Eventually, client: redis.Redis, engine: Engine
) -> None:
    queue_named("events", client).enqueue_call(func="test.sleep", kwargs={"seconds": 50})
    eventually(lambda: client.get("test:sleeping"), "the job runs")
    horse = int(client.get("test:sleeping") or 0)
    others = {pid: process_started(pid) for pid in children(worker.pid) if pid != horse}
    assert others
    worker.signal(signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)
    worker.ended()
    eventually(lambda: not any(process_started(pid) == mark for pid, mark in others.items()), "no child is left")

    now = utc_now()
    with unit_of_work(engine) as conn:
        # Its key is still there, and nobody can know better.
        assert operations.close_abandoned_runs(conn, live_worker_names(client), now)["jobs"] == 0
        late = now + timedelta(minutes=5)
        assert operations.close_abandoned_runs(conn, set(), late)["jobs"] == 1
    (run,) = runs(engine)
    assert run["outcome"] == "abandoned"
