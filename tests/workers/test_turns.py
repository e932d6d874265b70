"""Turns of syncs: what is recorded of each job, what is kept as a run and what only counted; stopping, doing again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import Connection, Engine

from core import embedded
from core.adapters.rq import BadArguments, JobSpec, RqJobQueue, SwSimpleWorker, queue_named, record_runs_with, register
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.logs import bound_field
from core.messaging.doorbell import Lane
from core.runs import control, kinds, operations
from workers.recording import PostgresRunRecorder

NOW = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
ADA = Actor("Ada", "to see it")


class Desk:
    """Runs jobs as a worker does, with what their functions return or raise."""

    def __init__(self, client: redis.Redis, engine: Engine, lane: Lane) -> None:
        self.client, self.engine, self.lane = client, engine, lane
        self.answers: dict[str, object] = {}
        self.bound: list[object] = []
        for kind in kinds.KINDS:
            register(kind.job, self._doing(kind.job), JobSpec("polls", 60))

    def _doing(self, name: str) -> object:
        def function(**_: object) -> object:
            self.bound.append(bound_field("sync_run"))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return function

    def run(self, job: str, answer: object, **more: object) -> dict[str, object]:
        """One run of the job for the connection; returns its row."""
        self.answers[job] = answer
        ids = {"shop_id": self.lane.shop_id, "connection_id": self.lane.connection_id}
        queue = queue_named("polls", self.client)
        queue.enqueue_call(func=job, kwargs={**ids, **more})
        SwSimpleWorker([queue], connection=self.client).work(burst=True, logging_level="CRITICAL")
        return dict(self.rows("select * from job_runs order by id desc limit 1")[0])

    def rows(self, sql: str, **params: object) -> list[dict[str, object]]:
        with unit_of_work(self.engine) as conn:
            return [dict(row) for row in fetch(conn, sql, **params)]

    def health(self, kind: str) -> dict[str, object]:
        return self.rows("select * from sync_health where kind = %(kind)s", kind=kind)[0]


@pytest.fixture
def desk(
    registry: object, client: redis.Redis, engine: Engine, lane: Lane, database: embedded.Database
) -> Iterator[Desk]:
    recorder = PostgresRunRecorder(database.url)
    record_runs_with(recorder)
    yield Desk(client, engine, lane)
    recorder.close()


def test_a_poll_that_finds_nothing_leaves_no_run_and_is_counted(desk: Desk) -> None:
    for _ in range(3):
        run = desk.run("connection.poll", {"recorded": 0})
    assert (run["outcome"], run["business"]) == ("finished", "nothing")
    assert desk.rows("select * from sync_runs") == []
    assert desk.bound[-1] == run["sync_run_id"], "its calls and lines carry the number all the same"
    health = desk.health("poll_orders")
    assert (health["empty_turns"], health["failed_turns"], health["last_work_at"]) == (3, 0, None)
    assert health["last_success_at"] == run["ended_at"]
    (tally,) = desk.rows("select outcome, sum(turns)::int as turns from sync_tallies group by outcome")
    assert tally == {"outcome": "nothing", "turns": 3}


def test_one_that_finds_something_or_fails_is_kept_with_what_it_counted(desk: Desk) -> None:
    found = desk.run("connection.poll", {"recorded": 7})
    failed = desk.run("connection.poll", TimeoutError("no answer for jo@shop.example"))
    rows = desk.rows("select id, kind, trigger, state, counts, error from sync_runs order by id")
    assert rows == [
        {"id": found["sync_run_id"], "kind": "poll_orders", "trigger": "schedule", "state": "done",
         "counts": {"recorded": 7}, "error": None},
        {"id": failed["sync_run_id"], "kind": "poll_orders", "trigger": "schedule", "state": "failed",
         "counts": {}, "error": "TimeoutError: no answer for ***@***"},
    ]  # fmt: skip
    health = desk.health("poll_orders")
    assert (health["failed_turns"], health["empty_turns"], health["last_run_id"]) == (1, 0, failed["sync_run_id"])
    desk.run("connection.poll", {"recorded": 0})
    assert desk.health("poll_orders")["failed_turns"] == 0


def test_a_no_of_the_marketplace_is_an_outcome_and_no_failed_job(desk: Desk) -> None:
    run = desk.run("notices.read", {"failed": "the queue does not exist"})
    assert (run["outcome"], run["business"], run["error"]) == ("finished", "refused", None)
    (kept,) = desk.rows("select state, error from sync_runs")
    assert kept == {"state": "failed", "error": "the queue does not exist"}
    # Work that comes about by events is kept only where it did not go well.
    desk.run("stock.push", {"accepted": 4, "withdrawn": 0})
    desk.run("stock.push", {"accepted": 3, "refused": 1})
    assert [row["kind"] for row in desk.rows("select kind from sync_runs order by id")] == [
        "read_notices",
        "push_stock",
    ]


@pytest.mark.parametrize(
    ("function", "result", "said"),
    [
        ("connection.poll", {"recorded": 0, "left": 3}, "nothing"),
        ("connection.poll", {"open_orders": 2, "all": True}, "worked"),
        ("connection.poll", {"paused": True}, "off"),
        ("connection.poll", {"early": True}, "waits"),
        ("connection.external", {"read": 5000, "moved": 0}, "nothing"),
        ("connection.subscriptions", {"standing": 9, "missing": 0, "refused": 0}, "nothing"),
        ("connection.subscriptions", {"standing": 8, "missing": 0, "refused": 1}, "refused"),
        ("stock.push", {"withdrawn": 0, "orphans": 0, "left_to_feed": 1}, "waits"),
        ("stock.feed", {"busy": True}, "waits"),
        ("sweep.inbox", {"lanes": 2, "expired": 0}, "worked"),
        ("connection.sync", {"failed": "the token was refused"}, "refused"),
        ("connection.sync", {"cancelled": True}, "off"),
        ("schedule.poll.orders", {"7": {"polled": 0}}, "nothing"),
        ("schedule.sweep.inbox", {"click:1.2": {"lanes": 1}, "7": {"lanes": 0}}, "worked"),
        (
            "schedule.reconcile.orders",
            {"day:shop:1": {"failed": "no answer"}, "day:shop:2": {"connections": 2}},
            "refused",
        ),
        ("schedule.sweep.stock", {}, "nothing"),
        ("any", None, "nothing"),
        ("any", "words", "worked"),
    ],
)
def test_what_came_of_a_job_is_read_off_its_result(function: str, result: object, said: str) -> None:
    assert kinds.business(function, result) == said


def test_personal_data_and_secrets_reach_no_record(desk: Desk, client: redis.Redis) -> None:
    told = {"note": "call +44 7911 123456 or jo@shop.example", "token": "abc", "email": "none of yours",
            "ref": "Bearer abcdefghijk", "gid": "gid://shopify/Order/5571"}  # fmt: skip
    run = desk.run(
        "connection.poll", {"failed": "jo@shop.example: shpat_0123456789", "all": ["+44 7911 123456"]}, **told
    )
    assert {name: run["arguments"][name] for name in told} == {  # type: ignore[index]
        "note": "call *** or ***@***", "token": "***", "email": "***", "ref": "Bearer ***",
        "gid": "gid://shopify/Order/5571",
    }  # fmt: skip
    desk.run("connection.poll", RuntimeError("password='two words', +44 7911 123456, At" + "zr|abc"), **told)
    kept = str(desk.rows("select arguments, result, error, traceback from job_runs")) + str(
        desk.rows("select counts, error from sync_runs")
    )
    assert [word for word in ("7911", "jo@", "abc", "two words", "shpat") if word in kept] == []
    # What is masked is no argument any more: it must not be done again as if it were.
    queue = RqJobQueue("redis://127.0.0.1:1/0")
    with pytest.raises(BadArguments):
        queue.check("connection.poll", {"note": "call ***"})


def test_percentiles_come_from_counts_and_are_right_to_a_tenth() -> None:
    durations = [0.01 * step for step in range(1, 1001)]
    counts: dict[int, int] = {}
    for seconds in durations:
        counts[kinds.slot(seconds)] = counts.get(kinds.slot(seconds), 0) + 1
    for share, true in ((0.5, 5.0), (0.95, 9.5)):
        found = kinds.percentile(counts, share)
        assert found is not None
        assert abs(found - true) / true < 0.1
    assert kinds.percentile({}, 0.5) is None
    assert [kinds.slot(seconds) for seconds in (0, 0.05, 0.0626, 10**9)] == [0, 0, 2, kinds.SLOTS - 1]


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with unit_of_work(engine) as connection:
        yield connection


def ask(conn: Connection, lane: Lane, kind: str = "sync_connection") -> int:
    return operations.request_sync(conn, lane.shop_id, lane.connection_id, kind, "click", ADA, NOW)


def state(conn: Connection, run: int) -> str:
    return str(scalar(conn, "select state from sync_runs where id = %(id)s", id=run))


def test_a_sync_that_waits_is_stopped_at_once_and_one_that_runs_at_its_next_step(conn: Connection, lane: Lane) -> None:
    shop, run = lane.shop_id, ask(conn, lane)
    assert control.cancel(conn, shop, run, ADA, NOW)
    assert state(conn, run) == "cancelled"
    assert not operations.start_sync(conn, shop, run, NOW), "its job finds nothing to do"
    run = ask(conn, lane)
    operations.start_sync(conn, shop, run, NOW)
    assert operations.progress(conn, shop, run, NOW, done=5, total=20)
    assert not operations.stop_sync(conn, shop, run, NOW), "nobody asked"
    assert not control.cancel(conn, shop, run, ADA, NOW)
    assert not operations.progress(conn, shop, run, NOW, done=6)
    with pytest.raises(control.NotToBeStopped, match="Ada"):
        control.cancel(conn, shop, run, ADA, NOW)
    assert operations.stop_sync(conn, shop, run, NOW)
    row = fetch_one(conn, "select * from sync_run_list where sync_run_id = %(id)s", id=run)
    assert row is not None
    assert (row["state"], row["done"], row["cancel_asked_by"], row["cancel_reason"]) == (
        "cancelled",
        5,
        "Ada",
        ADA.reason,
    )
    with pytest.raises(control.NotToBeStopped):
        control.cancel(conn, shop, run, ADA, NOW)
    with pytest.raises(BadInput):
        control.cancel(conn, shop, 10**9, ADA, NOW)
    acts = [row["act"] for row in fetch(conn, "select act from audit_entries order by id")]
    assert acts == ["cancel_sync", "cancel_sync"]


def test_a_sync_that_is_to_stop_neither_waits_again_nor_is_handed_on(conn: Connection, lane: Lane) -> None:
    for end in ("retry", "silence"):
        run = ask(conn, lane)
        operations.start_sync(conn, lane.shop_id, run, NOW)
        control.cancel(conn, lane.shop_id, run, ADA, NOW)
        if end == "retry":
            operations.fail_sync(conn, lane.shop_id, run, NOW, "throttled", will_retry=True)
        else:
            operations.close_abandoned_runs(conn, set(), NOW + timedelta(hours=1))
        assert state(conn, run) == "cancelled", end


def test_a_failed_run_is_done_again_once(conn: Connection, lane: Lane) -> None:
    run = ask(conn, lane, "poll_orders")
    with pytest.raises(control.NotToBeDoneAgain):
        control.retry(conn, lane.shop_id, run, ADA, NOW)
    operations.start_sync(conn, lane.shop_id, run, NOW)
    operations.fail_sync(conn, lane.shop_id, run, NOW, "no answer")
    again = control.retry(conn, lane.shop_id, run, ADA, NOW)
    assert again == control.retry(conn, lane.shop_id, run, ADA, NOW), "it is open: the same"
    row = fetch_one(conn, "select state, retry_of, trigger, requested_by from sync_runs where id = %(id)s", id=again)
    assert row == {"state": "queued", "retry_of": run, "trigger": "click", "requested_by": "Ada"}


def test_a_poll_that_a_person_asked_for_is_the_run_that_waits_for_it(desk: Desk) -> None:
    with unit_of_work(desk.engine) as conn:
        run = ask(conn, desk.lane, "poll_orders")
    job = desk.run("connection.poll", {"recorded": 0}, sync_run_id=run)
    assert (job["sync_run_id"], desk.bound[-1]) == (run, run)
    (row,) = desk.rows("select id, state, trigger, requested_by from sync_runs")
    assert row == {"id": run, "state": "done", "trigger": "click", "requested_by": "Ada"}


def test_how_fast_it_is_says_what_the_last_minute_says(conn: Connection, lane: Lane) -> None:
    """Time goes by moving everything back, so that the database's clock need not be waited for."""
    run = ask(conn, lane)
    operations.start_sync(conn, lane.shop_id, run, scalar(conn, "select now()"))

    def later(seconds: int, done: int) -> dict[str, object]:
        execute(
            conn,
            """
            update sync_runs set heartbeat_at = heartbeat_at - %(s)s * interval '1 second',
                mark_at = mark_at - %(s)s * interval '1 second', window_at = window_at - %(s)s * interval '1 second'
            """,
            s=seconds,
        )
        operations.progress(conn, lane.shop_id, run, scalar(conn, "select now()"), done=done, total=10_000)
        row = fetch_one(conn, "select per_minute, seconds_left from sync_run_list where sync_run_id = %(id)s", id=run)
        assert row is not None
        return dict(row)

    assert later(1, 100)["per_minute"] is None, "too short to say"
    assert later(9, 1000)["per_minute"] == pytest.approx(6000)
    for done in (2000, 3000, 4000, 5000):
        row = later(10, done)
    assert (row["per_minute"], row["seconds_left"]) == (pytest.approx(6000), pytest.approx(50))
    for _ in range(4):
        row = later(30, 5100)
    assert row["per_minute"] == pytest.approx(0), "it stands still, however fast it once was"
    assert row["seconds_left"] is None
    execute(conn, "update sync_runs set heartbeat_at = now() - interval '2 minutes'")
    row2 = fetch_one(conn, "select per_minute, seconds_left from sync_run_list where sync_run_id = %(id)s", id=run)
    assert row2 == {"per_minute": None, "seconds_left": None}


def test_a_run_that_goes_on_where_it_was_is_not_faster_for_that(conn: Connection, lane: Lane) -> None:
    """What was read before it was put back, or by the step before, was not done in these seconds."""
    run = ask(conn, lane)
    operations.start_sync(conn, lane.shop_id, run, scalar(conn, "select now() - interval '5 seconds'"))

    def rate(done: int, seconds_ago: int) -> object:
        at = scalar(conn, "select now() - %(s)s * interval '1 second'", s=seconds_ago)
        operations.progress(conn, lane.shop_id, run, at, done=done, total=60_000)
        return scalar(conn, "select per_minute from sync_run_list where sync_run_id = %(id)s", id=run)

    assert rate(50_000, 4) == pytest.approx(0), "the first word is where it was"
    assert rate(50_004, 0) == pytest.approx(60)
    assert rate(0, 4) == pytest.approx(0), "another step"
    assert rate(4, 0) == pytest.approx(60)


def test_a_run_that_was_put_off_often_is_still_handed_on_when_its_worker_dies(conn: Connection, lane: Lane) -> None:
    run = ask(conn, lane, "reconcile_orders")
    for _ in range(10):
        operations.start_sync(conn, lane.shop_id, run, NOW)
        operations.fail_sync(conn, lane.shop_id, run, NOW, "it is not its turn", will_retry=True)
    for death in range(operations.SYNC_ATTEMPTS_MAX):
        assert operations.start_sync(conn, lane.shop_id, run, NOW), death
        operations.close_abandoned_runs(conn, set(), NOW + timedelta(hours=1))
    assert state(conn, run) == "failed", "not for ever"


def test_arguments_are_kept_whole_or_say_that_they_are_not(desk: Desk) -> None:
    """By what is kept the job is done again: with some of its orders it would leave the others out."""
    refs = ",".join(f"gid://shopify/FulfillmentOrder/58593338328{n}" for n in range(8))
    kept = desk.run("orders.read", {"recorded": 8}, kind="fulfilment_order", refs=refs)["arguments"]
    assert kept["refs"] == refs  # type: ignore[index]
    kept = desk.run("orders.read", {"recorded": 8}, kind="order", refs="x" * 9000)["arguments"]
    assert kept["refs"].endswith("x***")  # type: ignore[index]
