"""Periods, sync runs, the log of calls: what core.runs promises."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.db import fetch, fetch_one, scalar, unit_of_work
from core.messaging.doorbell import Lane
from core.runs import operations, queries, retention
from core.runs.retention import Policy

NOW = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACTOR = Actor("Ada", "to see it")


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with unit_of_work(engine) as connection:
        yield connection


def ask(conn: Connection, lane: Lane, kind: str = "sync_connection", now: datetime = NOW) -> int:
    return operations.request_sync(conn, lane.shop_id, lane.connection_id, kind, "click", ACTOR, now)


def open_job_runs(conn: Connection) -> list[int]:
    return [row["id"] for row in fetch(conn, "select id from job_runs where outcome is null order by id")]


def test_a_period_is_given_out_once(engine: Engine) -> None:
    def take(_: int) -> bool:
        with unit_of_work(engine) as conn:
            return operations.begin_period(conn, "sweep", "7", NOW)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(16))) == [False] * 15 + [True]


def test_a_failed_or_forgotten_period_is_given_out_again_after_a_while(conn: Connection) -> None:
    def begin(now: datetime) -> bool:
        return operations.begin_period(conn, "audit", "2024-05-14:shop:1", now, retake_after=HOUR)

    assert begin(NOW)
    assert not begin(NOW + HOUR / 2)
    assert begin(NOW + HOUR)  # its worker died
    operations.finish_period(conn, "audit", "2024-05-14:shop:1", "failed", None, NOW + HOUR)
    assert not begin(NOW + HOUR + HOUR / 2)
    assert begin(NOW + 2 * HOUR)
    operations.finish_period(conn, "audit", "2024-05-14:shop:1", "finished", {"broken": 0}, NOW + 2 * HOUR)
    assert not begin(NOW + 9 * HOUR)
    (row,) = fetch(conn, "select outcome, result from schedule_runs")
    assert (row["outcome"], row["result"]) == ("finished", {"broken": 0})


def test_a_paused_schedule_says_who_and_why(conn: Connection) -> None:
    operations.pause_schedule(conn, "sweep", True, ACTOR, NOW)
    assert queries.paused_schedules(conn) == {"sweep"}
    assert scalar(conn, "select changed_by from schedules") == "Ada: to see it"
    operations.pause_schedule(conn, "sweep", False, ACTOR, NOW)
    assert queries.paused_schedules(conn) == set()


def test_one_sync_of_a_kind_is_open_at_a_time(engine: Engine, lane: Lane) -> None:
    def request(_: int) -> int:
        with unit_of_work(engine) as conn:
            return ask(conn, lane)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(request, range(12)))) == 1
    with unit_of_work(engine) as conn:
        assert ask(conn, lane, "other_kind") != ask(conn, lane)


def test_a_sync_runs_once_and_tells_how_far_it_is(conn: Connection, lane: Lane) -> None:
    run = ask(conn, lane)
    assert operations.start_sync(conn, lane.shop_id, run, NOW)
    assert not operations.start_sync(conn, lane.shop_id, run, NOW)
    assert operations.progress(conn, lane.shop_id, run, NOW, done=5, total=20, step="reading listings")
    assert operations.progress(conn, lane.shop_id, run, NOW, done=9)
    row = queries.sync_run(conn, lane.shop_id, run)
    assert row is not None
    assert (row["done"], row["total"], row["step"]) == (9, 20, "reading listings")
    assert operations.finish_sync(conn, lane.shop_id, run, NOW, {"listings": 20})
    assert not operations.progress(conn, lane.shop_id, run, NOW, done=10)
    assert not operations.fail_sync(conn, lane.shop_id, run, NOW, "too late")
    assert ask(conn, lane) != run


def test_a_failed_sync_may_wait_for_its_retry(conn: Connection, lane: Lane) -> None:
    run = ask(conn, lane)
    operations.start_sync(conn, lane.shop_id, run, NOW)
    assert operations.fail_sync(conn, lane.shop_id, run, NOW, "throttled\0", will_retry=True)
    assert [row["id"] for row in queries.waiting_syncs(conn, NOW + HOUR)] == [run]
    assert operations.start_sync(conn, lane.shop_id, run, NOW)
    assert operations.fail_sync(conn, lane.shop_id, run, NOW, "no such scope")
    row = queries.sync_run(conn, lane.shop_id, run)
    assert row is not None
    assert (row["state"], row["error"], row["attempts"]) == ("failed", "no such scope", 1), "put off is no attempt"


def test_a_silent_sync_waits_again_and_fails_in_the_end(conn: Connection, lane: Lane) -> None:
    run = ask(conn, lane)
    now = NOW
    for _ in range(operations.SYNC_ATTEMPTS_MAX - 1):
        assert operations.start_sync(conn, lane.shop_id, run, now)
        assert operations.close_abandoned_runs(conn, set(), now)["syncs_requeued"] == 0
        now += HOUR
        assert operations.close_abandoned_runs(conn, set(), now)["syncs_requeued"] == 1
    assert operations.start_sync(conn, lane.shop_id, run, now)
    now += HOUR
    assert operations.close_abandoned_runs(conn, set(), now)["syncs_failed"] == 1
    row = queries.sync_run(conn, lane.shop_id, run)
    assert row is not None
    assert row["state"] == "failed"


def test_the_run_itself_knows_better_than_the_sweep(conn: Connection) -> None:
    run = operations.open_job_run(
        conn, job_ref="j", function="f", arguments={}, queue="events", worker="gone", attempt=1, now=NOW
    )
    assert open_job_runs(conn) == [run]
    assert operations.close_abandoned_runs(conn, {"gone"}, NOW + HOUR)["jobs"] == 0
    assert operations.close_abandoned_runs(conn, {"other"}, NOW + HOUR)["jobs"] == 1
    operations.close_job_run(conn, run, "finished", NOW + HOUR)
    operations.close_job_run(conn, run, "failed", NOW + HOUR)
    (row,) = fetch(conn, "select outcome from job_runs")
    assert row["outcome"] == "finished"


def test_a_living_worker_is_not_at_what_it_began_before_its_latest_run(conn: Connection) -> None:
    """Postgres was away when the end of the first was to be written: nobody would ever end it."""
    first, latest = (
        operations.open_job_run(
            conn, job_ref=ref, function="f", arguments={}, queue="events", worker="alive", attempt=1, now=NOW
        )
        for ref in ("first", "latest")
    )
    assert operations.close_abandoned_runs(conn, {"alive"}, NOW)["closed"] == []
    assert operations.close_abandoned_runs(conn, {"alive"}, NOW + HOUR)["closed"] == [first]
    assert open_job_runs(conn) == [latest]


@dataclass(frozen=True)
class Call:
    operation: str
    method: str = "POST"
    status: int | None = 200
    outcome: str = "ok"
    elapsed_ms: int = 12
    attempt: int = 1
    error: str | None = None
    called_at: datetime = NOW


def test_calls_are_recorded_whatever_they_are_made_of(conn: Connection, lane: Lane) -> None:
    ids = {"shop_id": lane.shop_id, "connection_id": lane.connection_id}
    asked = {"operation": "b", "method": "GET", "outcome": "unknown", "elapsed_ms": 5, "attempt": 2, "called_at": NOW}
    calls = [Call("a", error="password=secret"), {**asked, "sync_run_id": 4}]
    assert operations.record_calls(conn, calls, **ids, sync_run_id=3) == 2
    rows = fetch(conn, "select * from api_calls order by operation")
    assert [row["sync_run_id"] for row in rows] == [3, 4]
    assert rows[0]["error"] == "password=***"
    assert rows[1]["status"] is None
    assert operations.record_calls(conn, []) == 0


def use(conn: Connection, lane: Lane) -> list[tuple[object, ...]]:
    """(minutes after NOW, purpose, calls, throttled, points, unit) of every piece of time."""
    rows = fetch(
        conn,
        "select * from quota_use where shop_id = %(shop)s and connection_id = %(id)s order by bucket_at, purpose",
        shop=lane.shop_id,
        id=lane.connection_id,
    )
    return [
        (
            (row["bucket_at"] - NOW) / timedelta(minutes=1),
            row["purpose"],
            row["calls"],
            row["throttled"],
            row["points"],
            row["unit"],
        )
        for row in rows
    ]


def test_quota_is_added_up_by_purpose_in_pieces_of_five_minutes(conn: Connection, lane: Lane) -> None:
    ids = {"shop_id": lane.shop_id, "connection_id": lane.connection_id}
    push, poll = {"purpose": "stock.push", "cost": 10.0}, {"purpose": "poll.orders", "cost": 32.5}
    one = {"operation": "a", "method": "POST", "status": 200, "elapsed_ms": 1, "attempt": 1, "outcome": "ok"}
    early, late = {"called_at": NOW + timedelta(minutes=4, seconds=59)}, {"called_at": NOW + timedelta(minutes=5)}
    operations.record_calls(conn, [one | push | {"called_at": NOW}, one | poll | early, one | push | late], **ids)
    operations.record_calls(conn, [one | push | early | {"outcome": "throttled", "cost": 0.0}, one | late], **ids)
    assert use(conn, lane) == [
        (0, "poll.orders", 1, 0, 32.5, "points"),
        (0, "stock.push", 2, 1, 10, "points"),
        (5, "stock.push", 1, 0, 10, "points"),
        (5, "unnamed", 1, 0, 0, "points"),
    ]


def versions(conn: Connection, lane: Lane) -> dict[str, object] | None:
    row = fetch_one(conn, "select * from connection_versions where connection_id = %(id)s", id=lane.connection_id)
    return None if row is None else dict(row)


def test_a_version_that_fell_forward_shows_until_ours_is_answered_again(conn: Connection, lane: Lane) -> None:
    ids = {"shop_id": lane.shop_id, "connection_id": lane.connection_id}
    one = {"operation": "a", "method": "POST", "status": 200, "elapsed_ms": 1, "attempt": 1, "outcome": "ok"}
    answers = [("2026-10", "2026-10"), ("2026-10", "2027-01"), (None, None), ("2027-01", "2027-01")]
    seen = []
    for minute, (asked, answered) in enumerate(answers):
        said = {"asked_version": asked, "api_version": answered, "called_at": NOW + timedelta(minutes=minute)}
        operations.record_calls(conn, [one | said], **ids)
        row = versions(conn, lane)
        assert row is not None
        seen.append((row["asked_version"], row["answered_version"], row["fell_forward"], row["fell_forward_at"]))
    at = NOW + timedelta(minutes=1)
    assert seen == [
        ("2026-10", "2026-10", False, None),
        ("2026-10", "2027-01", True, at),
        ("2026-10", "2027-01", True, at),
        ("2027-01", "2027-01", False, at),
    ]
    row = versions(conn, lane)
    assert row is not None
    assert row["supported_until"] == datetime(2028, 1, 1, 17, tzinfo=UTC)


def test_no_version_is_shown_before_the_first_answer_and_no_end_of_one_in_another_form(
    conn: Connection, lane: Lane
) -> None:
    assert versions(conn, lane) is None
    ids = {"shop_id": lane.shop_id, "connection_id": lane.connection_id}
    one = {"operation": "a", "method": "GET", "status": 200, "elapsed_ms": 1, "attempt": 1, "outcome": "ok"}
    said = {"asked_version": "2021-08-01", "api_version": "2021-08-01", "called_at": NOW}
    operations.record_calls(conn, [one | said], **ids)
    row = versions(conn, lane)
    assert row is not None
    assert (row["fell_forward"], row["supported_until"]) == (False, None)


def test_pruning_keeps_what_is_young_or_open(conn: Connection, lane: Lane) -> None:
    old = NOW - timedelta(days=40)
    for now in (old, NOW):
        for worker in ("ended", "open"):
            run = operations.open_job_run(
                conn, job_ref="j", function="f", arguments={}, queue="q", worker=worker, attempt=1, now=now
            )
            if worker == "ended":
                operations.close_job_run(conn, run, "finished", now)
        operations.begin_period(conn, "sweep", str(now), now)
        operations.record_calls(
            conn, [Call("a", called_at=now)], shop_id=lane.shop_id, connection_id=lane.connection_id
        )
    ask(conn, lane, now=old)
    gone = {kept.name: retention.forget(conn, Policy(kept, 30), NOW) for kept in retention.KEPT}
    assert {name: count for name, count in gone.items() if count} == {
        "job_runs": 1,
        "schedule_runs": 1,
        "api_calls": 1,
        "quota_use": 1,
    }
    assert scalar(conn, "select count(*) from sync_runs") == 1
