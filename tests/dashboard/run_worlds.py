"""Shops whose syncs succeed, fail, run and were stopped, and schedules with a day behind them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.runs import days, kinds
from core.runs.schedules import SCHEDULES, Schedule
from tests.dashboard import seed, worlds

ZONE = "Europe/London"
"""Of `seed.shop`."""


@dataclass(frozen=True)
class Runs:
    """What was seeded, by id."""

    world: worlds.World
    running: int
    failed: int
    stopped: int
    done: int


def tally(rows: seed.Many, connection: int, kind: str, at: datetime, outcome: str, turns: int, seconds: float) -> None:
    """Turns of an hour that took so long each, at a connection of the only shop."""
    rows.add(
        """
        insert into sync_tallies (shop_id, connection_id, kind, hour_at, outcome, slot, turns, seconds)
        select shop_id, %(connection)s, %(kind)s, date_trunc('hour', %(at)s::timestamptz, 'UTC'), %(outcome)s,
            %(slot)s, %(turns)s, %(sum)s from shops
        on conflict (shop_id, connection_id, kind, hour_at, outcome, slot)
            do update set turns = sync_tallies.turns + excluded.turns
        """,
        connection=connection,
        kind=kind,
        at=at,
        outcome=outcome,
        slot=kinds.slot(seconds),
        turns=turns,
        sum=seconds * turns,
    )


def health(conn: Connection, shop: int, connection: int, kind: str, at: datetime, **more: object) -> None:
    values = {"last_turn_at": at, "last_success_at": at, "last_seconds": 0.4, **more}
    seed.insert(conn, "sync_health", "kind", shop_id=shop, connection_id=connection, kind=kind, **values)


def busy(conn: Connection) -> Runs:
    """One channel polls well, another has failed since a while; a whole sync runs, another failed, one was stopped."""
    world = worlds.calm(conn)
    shop, shopify, amazon = world.shop, world.shopify, world.amazon
    _hours(conn, shopify, amazon)
    runs = _runs(conn, world)
    health(conn, shop, shopify, "poll_orders", seed.ago(seconds=21), empty_turns=14, last_work_at=seed.ago(minutes=16))
    health(conn, shop, amazon, "poll_orders", seed.ago(seconds=40), failed_turns=7, last_success_at=seed.ago(minutes=9),
           last_failure_at=seed.ago(seconds=40), last_failure="ServerFault: the vendor failed (503)",
           last_run_id=runs.failed)  # fmt: skip
    health(conn, shop, shopify, "push_stock", seed.ago(minutes=2), last_failure_at=seed.ago(hours=5),
           last_run_id=runs.stopped)  # fmt: skip
    health(conn, shop, shopify, "check_subscriptions", seed.ago(minutes=31), empty_turns=160)
    return runs


def _hours(conn: Connection, shopify: int, amazon: int) -> None:
    """A week of turns, with the same seconds in each hour."""
    dice = random.Random(3)
    with seed.many(conn) as many:
        for hours in range(1, 170):
            at = seed.ago(hours=hours)
            for seconds in (0.3, 0.45, 0.7, 2.5):
                outcome = "nothing" if hours > 1 else "failed"
                tally(many, shopify, "poll_orders", at, "nothing", dice.randint(4, 20), seconds)
                tally(many, amazon, "poll_orders", at, outcome, dice.randint(2, 9), seconds)
            tally(many, shopify, "push_stock", at, "worked", dice.randint(1, 50), 0.9)
        tally(many, shopify, "push_stock", seed.ago(hours=5), "refused", 2, 1.2)


def _runs(conn: Connection, world: worlds.World) -> Runs:
    shop, shopify, amazon = world.shop, world.shopify, world.amazon
    for number in range(30):
        at = seed.ago(hours=2, minutes=number)
        seed.run(conn, shop, shopify, "done", kind="poll_orders", trigger="schedule", requested_by="switchyard",
                 reason="the schedule poll.orders", requested_at=at, started_at=at, counts={"recorded": 1 + number % 3},
                 ended_at=at + timedelta(milliseconds=640))  # fmt: skip
    begun = {"started_at": seed.ago(minutes=31), "heartbeat_at": seed.ago(minutes=30)}
    asked = {"cancel_asked_by": "grace", "cancel_reason": "The catalogue is being rebuilt"}
    stopped = seed.run(conn, shop, shopify, "cancelled", ended_at=seed.ago(minutes=30), done=210, total=4980,
                       cancel_asked_at=seed.ago(minutes=30), **asked, **begun)  # fmt: skip
    done = seed.run(conn, shop, shopify, "done", ended_at=seed.ago(minutes=20), done=4980, total=4980,
                    counts={"listings": 4980, "orders": 12, "taken_over": 0},
                    started_at=seed.ago(minutes=24))  # fmt: skip
    error = "ServerFault: searchOrders: the vendor failed (503)"
    failed = seed.run(conn, shop, amazon, "failed", kind="poll_orders", trigger="schedule", requested_by="switchyard",
                      reason="the schedule poll.orders", started_at=seed.ago(seconds=44),
                      ended_at=seed.ago(seconds=40), error=error)  # fmt: skip
    seed.job(conn, "connection.poll", seed.ago(seconds=44), error=error, fingerprint="ffff", queue="polls",
             traceback='  File "workers/jobs/connections.py", line 240, in poll_connection', worker="polls-host-1-ab",
             sync_run_id=failed, arguments={"shop_id": shop, "connection_id": amazon})  # fmt: skip
    seed.call(conn, shop, amazon, seed.ago(seconds=43), "error", operation="searchOrders", status=503,
              error="the vendor failed", sync_run_id=failed)  # fmt: skip
    running = seed.run(conn, shop, amazon, "running", requested_by="ada", reason="Stock was counted", done=1240,
                       step="reading listings and what they show", total=4980, started_at=seed.ago(minutes=3),
                       heartbeat_at=seed.ago(seconds=2), window_at=seed.ago(seconds=40), window_done=620,
                       mark_at=seed.ago(seconds=10), mark_done=1100)  # fmt: skip
    return Runs(world, running, failed, stopped, done)


def day(conn: Connection, shop: int) -> None:
    """A day of every schedule: an hour in which all was down, a failure, a turn that was skipped, one by a click."""
    now = seed.now()
    with seed.many(conn) as many:
        for schedule in SCHEDULES:
            _turns(many, schedule, shop, now)
    conn.exec_driver_sql("update schedule_runs set due_at = started_at - interval '1 second'")
    conn.exec_driver_sql(
        "update schedule_runs set missed = 11 where name = 'poll.orders' and period = 'poll.orders-83'"
    )
    at, name = now - timedelta(hours=3), {"name": "poll.orders"}
    seed.insert(conn, "schedule_runs", "name", **name, period="skipped", started_at=at, ended_at=at, outcome="skipped",
                result=Jsonb({"at_work": "x"}))  # fmt: skip
    at = now - timedelta(minutes=4)
    seed.insert(conn, "schedule_runs", "name", **name, period="click:1.1", trigger="click", requested_by="ada",
                reason="To see it", started_at=at, ended_at=at, outcome="finished")  # fmt: skip
    seed.insert(conn, "schedules", "name", name="outbox.relay", is_paused=True, changed_by="ada: notices are off",
                changed_at=seed.ago(hours=1))  # fmt: skip


def _turns(rows: seed.Many, schedule: Schedule, shop: int, now: datetime) -> None:
    every = schedule.every_seconds
    if every is None:
        assert schedule.daily_after is not None
        due = days.due_at(days.latest_due_day(now, schedule.daily_after, ZONE), schedule.daily_after, ZONE)
        for at in (due - timedelta(days=1) + timedelta(minutes=1), due + timedelta(seconds=1)):
            seed.schedule(rows, schedule.name, at, "finished", {"violations": 0}, f"{at:%Y-%m-%d}:shop:{shop}")
        return
    # Of a short rhythm one turn in five minutes is enough to look at.
    step = max(every, 300)
    for back in range(86_400 // step):
        # It begins a second after it was due: one that was due just now has not begun.
        begun = now - timedelta(seconds=1)
        at = begun - timedelta(seconds=begun.timestamp() % every + back * step) + timedelta(seconds=1)
        if every <= 3600 and timedelta(hours=7) < now - at < timedelta(hours=8):
            continue
        outcome = "failed" if schedule.name == "poll.orders" and 60 < back < 64 else "finished"
        seed.schedule(rows, schedule.name, at, outcome, {"connections": 2}, f"{schedule.name}-{back}")
