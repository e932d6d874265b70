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
from core.db import execute, fetch, scalar, unit_of_work
from core.errors import BadInput
from core.messaging.doorbell import Lane, lane_lock
from core.runs import operations, scheduling
from core.runs.queries import ShopZone
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


SINCE = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_day_is_the_shops_own_and_is_the_last_that_is_due() -> None:
    shops = [
        ShopZone(1, "Europe/Berlin", SINCE), ShopZone(2, "America/New_York", SINCE), ShopZone(3, "Asia/Tokyo", SINCE)
    ]  # fmt: skip
    at = datetime(2024, 5, 14, 1, 30, tzinfo=UTC)
    assert [period.key for period in due_periods(NIGHTLY, shops, at)] == [
        "2024-05-14:shop:1",  # 03:30
        "2024-05-13:shop:2",  # 21:30 the day before: that day's period, long taken
        "2024-05-14:shop:3",  # 10:30
    ]
    early = datetime(2024, 5, 13, 22, 30, tzinfo=UTC)
    (missed,) = due_periods(NIGHTLY, shops[:1], early)
    assert missed.key == "2024-05-13:shop:1", "half past midnight: the day before, should nobody have run it"
    assert due_periods(NIGHTLY, [ShopZone(1, "Europe/Berlin", early)], early) == [], "of before there was a shop"


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


def runs_of(engine: Engine, name: str) -> list[tuple[str, str | None, str, int]]:
    """(period, outcome, trigger, missed) of every turn, oldest first."""
    with unit_of_work(engine) as conn:
        rows = fetch(
            conn,
            "select period, outcome, trigger, missed from schedule_runs where name = %(name)s"
            " order by started_at, period",
            name=name,
        )
    return [(row["period"], row["outcome"], row["trigger"], row["missed"]) for row in rows]


def audited(shops: list[int]) -> Callable[..., None]:
    """A daily job that notes for which shops it ran."""

    def run(*, shop_id: int) -> None:
        shops.append(shop_id)

    return run


def test_hours_that_everything_was_down_for_are_caught_up_once(engine: Engine) -> None:
    clock, ran = Clock(), []
    ring(TICK, engine, lambda: ran.append(clock.now), clock)
    clock.now += timedelta(hours=5)
    for _ in range(4):
        ring(TICK, engine, lambda: ran.append(clock.now), clock)
    assert len(ran) == 2
    assert [missed for *_, missed in runs_of(engine, "tick")] == [0, 5 * 240 - 1]


def test_days_that_were_missed_are_caught_up_once_and_a_pause_misses_none(engine: Engine) -> None:
    shop = make_shop(engine, "one", "Europe/Berlin")
    with unit_of_work(engine) as conn:
        execute(conn, "update shops set created_at = %(since)s", since=SINCE)
    clock, ran = Clock(), []
    ring(NIGHTLY, engine, audited(ran), clock)
    clock.now += timedelta(days=3, hours=-11)
    for _ in range(3):
        ring(NIGHTLY, engine, audited(ran), clock)
    # 03:00 by the shop's clock on the third day.
    assert ran == [shop, shop]
    assert [(period, missed) for period, _, _, missed in runs_of(engine, "nightly")] == [
        (f"2024-05-14:shop:{shop}", 0),
        (f"2024-05-17:shop:{shop}", 2),
    ]
    with unit_of_work(engine) as conn:
        operations.pause_schedule(conn, "nightly", True, Actor("Ada", "inventory"), clock.now)
        clock.now += timedelta(days=4)
    assert ring(NIGHTLY, engine, audited(ran), clock) == {}, "a ring that was queued before"
    with unit_of_work(engine) as conn:
        operations.pause_schedule(conn, "nightly", False, Actor("Ada", "done"), clock.now)
    ring(NIGHTLY, engine, audited(ran), clock)
    assert runs_of(engine, "nightly")[-1][3] == 0


def test_a_turn_does_not_start_while_the_former_is_at_work_and_says_so(engine: Engine) -> None:
    clock, ran = Clock(), []
    with lane_lock(engine, Lane("schedule.tick", 0, 0)) as held:
        assert held
        with unit_of_work(engine) as conn:
            operations.begin_period(conn, "tick", "7", clock.now - timedelta(seconds=20))
        for _ in range(2):
            assert ring(TICK, engine, lambda: ran.append(1), clock) == {}
    (first, skipped) = runs_of(engine, "tick")
    assert (first[:2], skipped[1]) == (("7", None), "skipped")
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select result ->> 'at_work' from schedule_runs where outcome = 'skipped'") == "7"
    # Nobody holds the lock: what is still open died. The skipped period stays skipped, the next one runs.
    ring(TICK, engine, lambda: ran.append(1), clock)
    clock.now += timedelta(seconds=15)
    ring(TICK, engine, lambda: ran.append(1), clock)
    assert [outcome for _, outcome, *_ in runs_of(engine, "tick")] == ["failed", "skipped", "finished"]
    assert ran == [1]


def test_a_day_that_was_skipped_has_its_turn_as_soon_as_there_is_room(engine: Engine) -> None:
    shop = make_shop(engine, "one", "Europe/Berlin")
    clock, ran = Clock(), []
    with lane_lock(engine, Lane("schedule.nightly", shop, 0)):
        ring(NIGHTLY, engine, audited(ran), clock)
    assert (ran, runs_of(engine, "nightly")[0][1]) == ([], "skipped")
    clock.now += timedelta(minutes=5)
    for _ in range(2):
        ring(NIGHTLY, engine, audited(ran), clock)
    assert (ran, runs_of(engine, "nightly")[0][1]) == ([shop], "finished")


def test_a_click_has_a_period_of_its_own_before_and_after_the_clocks_turn(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "SCHEDULES", (TICK, NIGHTLY))
    shop, other = (make_shop(engine, name, "Europe/Berlin") for name in ("one", "two"))
    clock, ran = Clock(), []

    def ask(name: str) -> int:
        with unit_of_work(engine) as conn:
            return scheduling.request_run(conn, shop, name, Actor("Ada", "to see it"), clock.now)

    ring(TICK, engine, lambda: ran.append("tick"), clock)
    first = ask("tick")
    assert ask("tick") == first, "a second click while the first waits is the same wish"
    ring(TICK, engine, lambda: ran.append("tick"), clock)
    ask("tick")
    ring(TICK, engine, lambda: ran.append("tick"), clock)
    assert ran == ["tick"] * 3
    assert [(outcome, trigger) for _, outcome, trigger, _ in runs_of(engine, "tick")] == [
        ("finished", "schedule"), ("finished", "click"), ("finished", "click")
    ]  # fmt: skip
    ran.clear()
    ask("nightly")
    ring(NIGHTLY, engine, audited(ran), clock)
    assert ran == [shop, shop, other], "the click's, then the day of each shop"
    with pytest.raises(BadInput, match="nothing"):
        ask("nothing")
    with unit_of_work(engine) as conn:
        acts = [row["act"] for row in fetch(conn, "select act from audit_entries order by id")]
    assert acts == ["run_schedule"] * 3


def test_a_click_waits_for_the_turn_at_work_and_runs_though_paused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "SCHEDULES", (TICK,))
    shop = make_shop(engine, "one", "Europe/Berlin")
    clock, ran = Clock(), []
    with unit_of_work(engine) as conn:
        scheduling.pause(conn, shop, "tick", Actor("Ada", "maintenance"), clock.now)
        with pytest.raises(scheduling.NothingToChange):
            scheduling.pause(conn, shop, "tick", Actor("Ada", "again"), clock.now)
        scheduling.request_run(conn, shop, "tick", Actor("Ada", "only once"), clock.now)
    with lane_lock(engine, Lane("schedule.tick", 0, 0)):
        ring(TICK, engine, lambda: ran.append(1), clock)
    assert (ran, runs_of(engine, "tick")) == ([], [])
    ring(TICK, engine, lambda: ran.append(1), clock)
    ring(TICK, engine, lambda: ran.append(1), clock)
    assert ran == [1]
    assert [trigger for *_, trigger, _ in runs_of(engine, "tick")] == ["click"]


def test_turns_begun_by_a_clock_that_ran_ahead_do_not_use_up_the_days_to_come(engine: Engine) -> None:
    make_shop(engine, "one", "Europe/Berlin")
    clock, ran = Clock(), []
    ring(NIGHTLY, engine, lambda shop_id: ran.append(clock.now.day), clock)
    clock.now += timedelta(days=1)
    ring(NIGHTLY, engine, lambda shop_id: ran.append(clock.now.day), clock)
    clock.now -= timedelta(days=1)
    ring(NIGHTLY, engine, lambda shop_id: ran.append(clock.now.day), clock)
    clock.now += timedelta(days=1, hours=-6)
    ring(NIGHTLY, engine, lambda shop_id: ran.append(clock.now.day), clock)
    clock.now += timedelta(hours=6)
    ring(NIGHTLY, engine, lambda shop_id: ran.append(clock.now.day), clock)
    assert ran == [14, 15, 15], "the day that a wrong clock ran early runs when it has come"


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


def test_entries_of_a_clock_that_was_put_back_ring_again_at_once(client: redis.Redis) -> None:
    ringer = Ringer(client, (TICK, NIGHTLY))
    ringer.sync(set())
    client.zadd("rq:scheduler:scheduled_jobs", {TICK.entry_id: datetime.now(UTC).timestamp() + 7200})
    assert Ringer(client, (TICK, NIGHTLY)).sync(set()) == 1
    assert client.zscore("rq:scheduler:scheduled_jobs", TICK.entry_id) <= datetime.now(UTC).timestamp()


def test_paused_schedules_do_not_ring(client: redis.Redis, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        operations.pause_schedule(conn, "tick", True, Actor("Ada", "maintenance"), NOW)
    ringer = Ringer(client, (TICK,))
    ringer.turn(set())
    assert ringer.turn(Pauses(engine).names()) == 1
    assert entries(client) == set()


@pytest.mark.slow
def test_a_turn_that_takes_long_is_never_joined_by_another_process_and_its_death_frees_it(
    start: Callable[..., Any], eventually: Callable[..., None], client: redis.Redis, engine: Engine
) -> None:
    def outcomes() -> dict[str, int]:
        with unit_of_work(engine) as conn:
            rows = fetch(conn, "select coalesce(outcome, 'at work') as o, count(*) as n from schedule_runs group by 1")
        return {row["o"]: row["n"] for row in rows}

    client.set("test:slow", 1)
    first = start("turns")
    eventually(lambda: outcomes().get("at work") == 1, "a turn is at work")
    second = start("turns")
    eventually(lambda: outcomes().get("skipped", 0) >= 2, "others give way and say so")
    assert (outcomes().get("at work"), client.get("test:overlap")) == (1, None)
    first.signal(signal.SIGKILL)
    first.ended()
    eventually(lambda: outcomes().get("failed") == 1, "the dead one is settled by whoever comes next")
    client.delete("test:slow")
    eventually(lambda: outcomes().get("finished", 0) >= 2, "and others run after it")
    second.signal(signal.SIGKILL)
    assert client.get("test:overlap") is None


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
            taken = scalar(conn, "select count(*) from schedule_runs where outcome is distinct from 'skipped'")
        return taken == periods()

    eventually(agree, "what was begun has ended")
    with unit_of_work(engine) as conn:
        ran = [row["period"] for row in fetch(conn, "select jsonb_object_keys(result) as period from job_runs")]
        taken = [row["period"] for row in fetch(conn, "select period from schedule_runs where outcome <> 'skipped'")]
    assert sorted(ran) == sorted(taken)
