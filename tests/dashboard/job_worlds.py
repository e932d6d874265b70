"""A shop whose work does not all get done, and a Redis with workers, queues and rings to go with it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis
from rq.registry import FailedJobRegistry
from rq_scheduler import Scheduler
from sqlalchemy import Connection

from core.adapters.rq import JOB_QUEUES, SwJob, SwSimpleWorker, queue_named
from core.runs.schedules import SCHEDULES
from tests.dashboard import seed, worlds

TOKEN_REFUSED = "403Refused: the token was refused (invalid_grant)"
TRACEBACK = """  File "workers/jobs/stock.py", line 118, in push_stock
    results = channel.set_quantities(writes)
  File "core/adapters/http.py", line 241, in send
    raise Refused(answer.status_code)
403Refused: the token was refused (invalid_grant), authorization: Bearer abcdefgh"""


@dataclass(frozen=True)
class Jobs:
    """What was seeded, by id."""

    world: worlds.World
    runs: tuple[int, ...]
    timeout_run: int
    parked: tuple[int, ...]


def failing(conn: Connection) -> Jobs:
    """The calm shop with three causes of failed jobs, two of parked messages, and lanes that move."""
    world = worlds.calm(conn)
    shop, amazon, shopify = world.shop, world.amazon, world.shopify
    runs = [
        seed.job(
            conn,
            "stock.push",
            seed.ago(minutes=minute),
            error=TOKEN_REFUSED,
            fingerprint="aaaa",
            traceback=TRACEBACK,
            arguments={"shop_id": shop, "connection_id": amazon},
        )
        for minute in range(26, 2, -2)
    ]
    sync = seed.job(
        conn,
        "connection.sync",
        seed.ago(hours=2),
        error="ReadTimeout: no answer within 30 seconds",
        fingerprint="bbbb",
        queue="catalog",
        arguments={"shop_id": shop, "connection_id": shopify, "sync_run_id": 41},
        attempt=3,
    )
    gone = {"arguments": {"shop_id": shop}, "queue": "reports", "error": "its worker is gone"}
    seed.job(conn, "audit.nightly", seed.ago(hours=9), "abandoned", **gone)
    _dealt_with(conn, world)
    parked = _parked(conn, world)
    _traffic(conn, world)
    _schedules(conn)
    return Jobs(world, tuple(runs), sync, parked)


def _dealt_with(conn: Connection, world: worlds.World) -> None:
    names = {"resolved_by": "ada", "resolved_at": seed.ago(hours=20)}
    about = {"shop_id": world.shop, "connection_id": world.shopify}
    seed.job(conn, "inbox.drain", seed.ago(hours=21), error="OperationalError: the database went away", queue="events",
             fingerprint="cccc", resolution="requeued", resolved_reason="The database is back",
             requeued_as="again-1", arguments=about, **names)  # fmt: skip
    seed.job(conn, "inbox.drain", seed.ago(hours=20), "finished", queue="events", job_ref="again-1", arguments=about)
    seed.job(conn, "poll.orders", seed.ago(hours=30), error="ConnectError: no route to host", queue="polls",
             fingerprint="dddd", resolution="discarded", resolved_reason="A test", **names)  # fmt: skip


def _parked(conn: Connection, world: worlds.World) -> tuple[int, ...]:
    ids = [
        seed.message(
            conn,
            world.shop,
            world.shopify,
            seed.ago(hours=1 + number),
            "parked",
            cause="unreadable",
            detail=f"line {number} has no quantity",
            attempts=1,
        )
        for number in range(4)
    ]
    ids.append(
        seed.message(
            conn,
            world.shop,
            world.amazon,
            seed.ago(hours=5),
            "parked",
            topic="ORDER_CHANGE",
            cause="unknown_order",
            detail="waited until its deadline for order:202-771",
            attempts=2,
        )
    )
    seed.message(
        conn,
        world.shop,
        world.shopify,
        seed.ago(hours=30),
        "discarded",
        cause="unreadable",
        detail="it is no order",
        discarded_by="ada",
        discarded_reason="A test message of the vendor",
    )
    return tuple(ids)


def _traffic(conn: Connection, world: worlds.World) -> None:
    """An hour in which one channel keeps up and the other falls behind."""
    dice = random.Random(5)
    with seed.many(conn) as many:
        for minute in range(60):
            for _ in range(dice.randint(1, 4)):
                seed.message(many, world.shop, world.shopify, seed.ago(minutes=minute, seconds=dice.randint(5, 50)))
        for minute in range(59, 0, -1):
            for _ in range(1 + (60 - minute) // 8):
                at = seed.ago(minutes=minute, seconds=dice.randint(0, 30))
                is_done = minute > 9 or dice.random() < 0.25
                settled = {"settled_at": at + timedelta(seconds=40)} if is_done else {}
                seed.message(many, world.shop, world.amazon, at, "handled" if is_done else "received", **settled)


def _schedules(conn: Connection) -> None:
    for schedule in SCHEDULES:
        if schedule.name == "poll.orders":
            seed.schedule(conn, schedule.name, seed.ago(minutes=9), "finished", period="9")
        elif schedule.daily_after_hour is not None:
            seed.schedule(conn, schedule.name, seed.ago(hours=7), "finished", {"violations": 0})
        else:
            seed.schedule(conn, schedule.name, seed.ago(seconds=min(schedule.ring_seconds - 3, 4000)), "finished",
                          period=schedule.name)  # fmt: skip
    seed.insert(conn, "schedules", "name", name="outbox.relay", is_paused=True, changed_by="ada: notices are off",
                changed_at=seed.ago(hours=1))  # fmt: skip


def broker(
    client: redis.Redis,
    *,
    without: tuple[str, ...] = ("stock-check",),
    refs: tuple[str, ...] = (),
    unrung: tuple[str, ...] = ("outbox.relay",),
) -> None:
    """Queues with jobs, a worker for each queue and a ring for each schedule but those named, failed jobs by id."""
    for name, queue in JOB_QUEUES.items():
        if queue in ("events", "stock-check"):
            queue_named(queue, client).enqueue_call(func=name, kwargs={"shop_id": 1}, description=name)
    for name in dict.fromkeys(JOB_QUEUES.values()):
        if name not in without:
            _worker(client, name, is_busy=name == "stock")
    failed = queue_named("stock", client)
    for ref in refs:
        job = SwJob.create(func="stock.push", kwargs={}, id=ref, connection=client, origin="stock")
        FailedJobRegistry(queue=failed).add(job, ttl=90 * 86400, exc_string="")
    for place, schedule in enumerate(SCHEDULES):
        if schedule.name not in unrung:
            at = (seed.now() + timedelta(seconds=3 + place * 2)).timestamp()
            client.zadd(Scheduler.scheduled_jobs_key, {schedule.entry_id: at})


def _worker(client: redis.Redis, name: str, is_busy: bool) -> None:
    queue = queue_named(name, client)
    worker = SwSimpleWorker([queue], name=f"{name}-host-4711-abc123", connection=client, serializer="json")
    worker.register_birth()
    fields: dict[Any, Any] = {"state": "idle", "successful_job_count": 1284, "failed_job_count": 3}
    if is_busy:
        job = queue.enqueue_call(func="stock.push", kwargs={}, description="stock.push")
        client.hset(job.key, "started_at", seed.ago(seconds=6).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        fields |= {"state": "busy", "current_job": job.id}
    client.hset(worker.key, mapping=fields)
