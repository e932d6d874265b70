"""What happens by the clock happens once per period, whoever rings how often."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from core.adapters.rq import SwJob, live_worker_names, queue_named
from core.audit import Actor
from core.db import fetch, scalar, unit_of_work
from core.runs import operations
from workers.schedule import SCHEDULES, Schedule, due_periods, ring
from workers.scheduler import Pauses, Ringer

NOW = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
TICK = Schedule("tick", "runs.sweep", "often", every_seconds=15)
NIGHTLY = Schedule("nightly", "audit.nightly", "once a day", daily_after_hour=2)


def make_shop(engine: Engine, name: str, zone: str) -> int:
    with unit_of_work(engine) as conn:
        return scalar(
            conn,
            "insert into shops (name, time_zone, currency, created_at)"
            " values (%(name)s, %(zone)s, 'EUR', %(now)s) returning shop_id",
            name=name,
            zone=zone,
            now=NOW,
        )


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def test_an_interval_has_one_period_at_a_time() -> None:
    first, second = (due_periods(TICK, [], NOW + timedelta(seconds=s))[0].key for s in (0, 14))
    third = due_periods(TICK, [], NOW + timedelta(seconds=15))[0].key
    assert first == second != third


def test_a_day_is_the_shops_own_and_begins_after_its_hour() -> None:
    shops = [(1, "Europe/Berlin"), (2, "America/New_York"), (3, "Asia/Tokyo")]
    at = datetime(2024, 5, 14, 1, 30, tzinfo=UTC)
    assert [period.key for period in due_periods(NIGHTLY, shops, at)] == [
        "2024-05-14:shop:1",  # 03:30
        "2024-05-13:shop:2",  # 21:30 the day before: that day's period, long taken
        "2024-05-14:shop:3",  # 10:30
    ]
    assert due_periods(NIGHTLY, [(1, "Europe/Berlin")], datetime(2024, 5, 13, 22, 30, tzinfo=UTC)) == []


@pytest.mark.parametrize("day", [datetime(2024, 3, 31, tzinfo=UTC), datetime(2024, 10, 27, tzinfo=UTC)])
def test_nights_when_clocks_change_have_one_period(day: datetime) -> None:
    keys = {
        period.key
        for minutes in range(0, 22 * 60, 5)
        for period in due_periods(NIGHTLY, [(1, "Europe/Berlin")], day + timedelta(minutes=minutes))
    }
    assert keys == {f"{day.date()}:shop:1"}


def test_a_schedule_has_an_interval_or_an_hour() -> None:
    for words in ({}, {"every_seconds": 5, "daily_after_hour": 2}):
        with pytest.raises(ValueError, match="either"):
            Schedule("x", "y", "z", **words)  # type: ignore[arg-type]


def test_ringing_twice_runs_once(engine: Engine) -> None:
    ran: list[int] = []
    clock = Clock()
    for _ in range(3):
        ring(TICK, engine, lambda: ran.append(1), clock)
    assert len(ran) == 1
    clock.now += timedelta(seconds=15)
    assert list(ring(TICK, engine, lambda: {"swept": 2}, clock).values()) == [{"swept": 2}]
    with unit_of_work(engine) as conn:
        rows = fetch(conn, "select outcome, result from schedule_runs order by period")
    assert [(row["outcome"], row["result"]) for row in rows] == [("finished", None), ("finished", {"swept": 2})]


def test_one_failing_shop_does_not_keep_the_others_from_their_turn(engine: Engine) -> None:
    shops = [make_shop(engine, name, "Europe/Berlin") for name in ("one", "two")]
    clock = Clock()
    audited: list[int] = []

    def audit(*, shop_id: int) -> None:
        if shop_id == shops[0] and not audited:
            raise ValueError("cannot be counted")
        audited.append(shop_id)

    with pytest.raises(ValueError, match="counted"):
        ring(NIGHTLY, engine, audit, clock)
    ring(NIGHTLY, engine, audit, clock)
    assert audited == [shops[1]]
    clock.now += timedelta(hours=1)
    ring(NIGHTLY, engine, audit, clock)
    ring(NIGHTLY, engine, audit, clock)
    assert audited == [shops[1], shops[0]]


def entries(client: redis.Redis) -> set[str]:
    return {id_.decode() for id_ in client.zrange("rq:scheduler:scheduled_jobs", 0, -1)}


def test_the_entries_follow_the_table(client: redis.Redis) -> None:
    other = Schedule("other", "poll.orders", "x", every_seconds=60)
    ringer = Ringer(client, (TICK, other))
    assert ringer.sync(set()) == 2
    assert ringer.sync(set()) == 0
    assert entries(client) == {"schedule-tick", "schedule-other"}
    assert Ringer(client, (TICK, other)).sync(set()) == 0, "another process finds them alike"
    assert Ringer(client, (TICK,)).sync(set()) == 1
    assert entries(client) == {"schedule-tick"}
    slower = Schedule("tick", "runs.sweep", "less often", every_seconds=99)
    assert Ringer(client, (slower,)).sync(set()) == 1
    assert SwJob.fetch("schedule-tick", connection=client).meta["interval"] == 99
    client.hset("rq:job:schedule-tick", "data", b"garbage")
    assert Ringer(client, (slower,)).sync(set()) == 1


def test_a_flush_is_repaired_at_the_next_turn_and_rings_in_the_right_queue(client: redis.Redis) -> None:
    ringer = Ringer(client, SCHEDULES)
    ringer.turn(set())
    client.flushdb()
    ringer.turn(set())
    assert entries(client) == {schedule.entry_id for schedule in SCHEDULES}
    names = {job.func_name for job in queue_named("events", client).get_jobs()}
    assert names == {"schedule.sweep.inbox"}
    assert client.keys("rq:scheduler_instance:*")


def test_paused_schedules_do_not_ring(client: redis.Redis, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        operations.pause_schedule(conn, "tick", True, Actor("Ada", "maintenance"), NOW)
    ringer = Ringer(client, (TICK,))
    ringer.turn(set())
    assert ringer.turn(Pauses(engine).names()) == 1
    assert entries(client) == set()


@pytest.mark.slow
def test_two_schedulers_a_flush_and_two_workers_run_each_period_once(
    start: Callable[..., Any], eventually: Callable[..., None], client: redis.Redis, engine: Engine
) -> None:
    def periods() -> int:
        with unit_of_work(engine) as conn:
            return scalar(conn, "select count(*) from schedule_runs where outcome = 'finished'")

    for _ in range(2):
        start("worker", "reports")
    schedulers = [start("scheduler") for _ in range(2)]
    eventually(lambda: len(live_worker_names(client)) == 2 and periods() >= 3, "it ticks")
    client.flushdb()
    done = periods()
    eventually(lambda: periods() >= done + 4, "it ticks again after the flush")
    schedulers[0].signal(signal.SIGKILL)
    done = periods()
    eventually(lambda: periods() >= done + 2, "it ticks with one scheduler")
    schedulers[1].signal(signal.SIGTERM)
    assert schedulers[1].ended() == 0
    eventually(lambda: queue_named("reports", client).count == 0, "nothing waits")

    def agree() -> bool:
        with unit_of_work(engine) as conn:
            taken = scalar(conn, "select count(*) from schedule_runs")
        return taken == periods()

    eventually(agree, "what was begun has ended")
    with unit_of_work(engine) as conn:
        ran = [row["period"] for row in fetch(conn, "select jsonb_object_keys(result) as period from job_runs")]
        taken = [row["period"] for row in fetch(conn, "select period from schedule_runs")]
    assert sorted(ran) == sorted(taken)
