"""What workers log names the job, its attempt and what it works on, in RQ's own lines too."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from rq.job import Job

from core import embedded
from core.adapters.rq import JobSpec, Registered, SwSimpleWorker, queue_named, register

ROOT = Path(__file__).resolve().parents[2]
Lines = Callable[[], list[dict[str, Any]]]
log = logging.getLogger("a job")


def work(client: redis.Redis, function: Callable[..., object], **arguments: object) -> Job:
    register("test.job", function, JobSpec("events", 60))
    job = queue_named("events", client).enqueue_call(func="test.job", kwargs=arguments)
    SwSimpleWorker([queue_named("events", client)], connection=client).work(burst=True, logging_level="WARNING")
    return job


def test_every_line_within_a_job_carries_it_and_none_after_it(
    registry: dict[str, Registered], client: redis.Redis, lines: Lines
) -> None:
    job = work(client, lambda **_: log.info("at work"), shop_id=3, connection_id=12, sync_run_id=5)
    log.info("later")
    inside, after = (line for line in lines() if line["logger"] == "a job")
    assert {name: inside[name] for name in ("job", "function", "attempt", "shop", "connection", "sync_run")} == {
        "job": job.id,
        "function": "test.job",
        "attempt": 1,
        "shop": 3,
        "connection": 12,
        "sync_run": 5,
    }
    assert "job" not in after


def test_a_failure_is_told_with_its_job_and_without_what_is_secret(
    registry: dict[str, Registered], client: redis.Redis, lines: Lines
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("redis://app:s3cret@host refused jo@shop.example")

    job = work(client, fail, connection_id=12)
    told = [line for line in lines() if line["logger"] == "rq.worker" and line["level"] == "error"]
    assert told
    assert {(line["job"], line["function"], line["connection"]) for line in told} == {(job.id, "test.job", 12)}
    assert "RuntimeError" in str(told)
    assert [word for word in ("s3cret", "jo@") if word in str(lines())] == []


def test_a_worker_process_says_nothing_but_json(database: embedded.Database, redis_url: str, tmp_path: Path) -> None:
    """RQ's parent, its horse and the end of both; one job fails, one dies under its worker."""
    program = f"""
import os, signal
from core import logs
from core.adapters.rq import JobSpec, queue_named, register
from workers.run import make_worker
import redis
logs.configure("worker")
register("test.fail", lambda: 1 / 0, JobSpec("events", 60))
register("test.die", lambda: os.kill(os.getpid(), signal.SIGKILL), JobSpec("events", 60))
queue = queue_named("events", redis.Redis.from_url({redis_url!r}))
for name in ("test.fail", "test.die", "os.system"):
    queue.enqueue_call(func=name)
with logs.bound(queue="events"):
    make_worker("events", {redis_url!r}).work(burst=True, with_scheduler=True, logging_level="WARNING")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert {(line["process"], line["queue"]) for line in found} == {("worker", "events")}
    assert {line["function"] for line in found if "job" in line} == {"test.fail", "test.die", "os.system"}
    killed = [line for line in found if line["text"] == "the process running a job was killed"]
    assert [line["function"] for line in killed] == ["test.die"]
