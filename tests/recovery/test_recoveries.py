"""Having failed work done again: previewed, at a pace, once, stopped half-way, and told how it ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import IntegrityError

from core import embedded
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.recovery import operations, releasing
from core.recovery.choosing import Chosen, FactsChanged
from core.recovery.costs import Allowance, allowance
from core.recovery.money import MOVES_MONEY, moves_money
from core.recovery.operations import NothingToDo, NotRunning
from tests.factories import NOW, World, give_another_turn, later, make_world
from tests.recovery.failing import (
    ADA,
    BOB,
    Broker,
    check,
    dead_notice,
    groups,
    items,
    look,
    order_body,
    park,
    requeue,
    run_job,
)


@pytest.fixture
def broker(conn: Connection, world: World) -> Broker:
    return Broker(conn, world.shop_id)


def push(world: World) -> dict[str, object]:
    return {"shop_id": world.shop_id, "connection_id": world.connection.id}


def read(world: World, ref: str) -> dict[str, object]:
    return {**push(world), "kind": "order", "refs": ref}


def progress(conn: Connection, recovery: int) -> tuple[str, dict[str, int]]:
    row = fetch_one(conn, "select * from recovery_list where recovery_id = %(id)s", id=recovery)
    assert row is not None
    names = ("waiting", "released", "done", "failed", "superseded", "cancelled")
    return row["state"], {name: row[name] for name in names if row[name]}


def test_every_job_says_whether_it_moves_money() -> None:
    from core.adapters.rq import JOB_QUEUES

    assert JOB_QUEUES.keys() - MOVES_MONEY.keys() == set()
    assert moves_money("schedule.sweep.inbox") is False
    assert moves_money("nobody.declared") is True


def test_all_of_three_kinds_are_done_once(conn: Connection, world: World, broker: Broker) -> None:
    for _ in range(3):
        run_job(conn, "stock.push", push(world), "failed", NOW)
    run_job(conn, "orders.read", read(world, "1"), "failed", NOW)
    messages = park(conn, world, order_body(1), order_body(2))
    notice = dead_notice(conn, world.shop_id)
    seen = look(conn, world.shop_id)
    assert (seen.items, seen.works, seen.needed, seen.superseded, seen.money_calls) == (7, 5, 7, 0, 0)
    recovery = requeue(conn, world.shop_id)
    assert groups(conn, world.shop_id) == []
    assert {row["state"] for row in items(conn, world.shop_id)} == {"requeued"}
    begun = broker.turn(recovery, later(0.5))
    assert (len(begun.jobs), begun.messages, begun.notices) == (2, 2, 1)
    assert begun.lanes == {(world.shop_id, world.connection.id)}
    assert broker.turn(recovery, later(1)).works == 0, "all of it is begun"
    broker.work(later(2))
    assert broker.settle(recovery, later(3)) == {"done": 5, "failed": 0, "left": 0}
    assert progress(conn, recovery) == ("done", {"done": 5})
    states = fetch(conn, "select state from inbox_messages where id = any(%(ids)s)", ids=messages)
    assert {row["state"] for row in states} == {"handled"}
    assert scalar(conn, "select state from outbox_messages where id = %(id)s", id=notice) == "sent"
    entry = fetch_one(conn, "select actor, act, subject, reason, details from audit_entries"
                            " where act = 'requeue_failures'")  # fmt: skip
    assert entry is not None
    assert (entry["actor"], entry["reason"], entry["details"]["works"]) == ("Ada", "the token is renewed", 5)


def test_what_fails_again_is_a_new_failure_that_knows_its_recovery(
    conn: Connection, world: World, broker: Broker
) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    park(conn, world, order_body(1))
    dead_notice(conn, world.shop_id)
    recovery = requeue(conn, world.shop_id)
    broker.turn(recovery, later(0.5))
    broker.is_broken = True
    broker.work(later(1))
    assert broker.settle(recovery, later(2)) == {"done": 0, "failed": 3, "left": 0}
    assert progress(conn, recovery) == ("done", {"failed": 3})
    again = [row for row in items(conn, world.shop_id) if row["state"] == "open"]
    assert [(row["source"], row["recovery_id"]) for row in again] == [
        ("job", recovery),
        ("message", recovery),
        ("outbox", recovery),
    ]
    assert requeue(conn, world.shop_id, now=later(3)) > recovery


def test_a_job_that_tries_again_by_itself_has_not_failed_before_its_last_attempt(
    conn: Connection, world: World, broker: Broker
) -> None:
    run = run_job(conn, "flaky.job", push(world), "failed", NOW)
    recovery = requeue(conn, world.shop_id)
    broker.turn(recovery, later(0.5))
    run_job(conn, "flaky.job", push(world), "failed", later(1), ref=f"again-{run}", attempt=1)
    assert broker.settle(recovery, later(2))["left"] == 1
    run_job(conn, "flaky.job", push(world), "finished", later(3), ref=f"again-{run}", attempt=2)
    assert broker.settle(recovery, later(4)) == {"done": 1, "failed": 0, "left": 0}


def test_attempts_that_redis_forgot_end_the_wait(conn: Connection, world: World, broker: Broker) -> None:
    run = run_job(conn, "flaky.job", push(world), "failed", NOW)
    recovery = requeue(conn, world.shop_id)
    broker.turn(recovery, later(0.5))
    run_job(conn, "flaky.job", push(world), "failed", later(1), ref=f"again-{run}", attempt=1)
    assert broker.settle(recovery, later(20)) == {"done": 0, "failed": 1, "left": 0}


def test_it_goes_at_its_pace_and_makes_up_for_nothing(conn: Connection, world: World, broker: Broker) -> None:
    park(conn, world, *(order_body(number) for number in range(100)))
    recovery = requeue(conn, world.shop_id, per_minute=60)
    begun = [broker.turn(recovery, later(at)).works for at in (0, 0, 0.25, 0.5, 0.55)]
    assert begun == [15, 0, 15, 15, 3]
    # Nobody came by for an hour: half a minute's worth, not sixty.
    assert broker.turn(recovery, later(60)).works == 30
    assert progress(conn, recovery) == ("running", {"released": 78, "waiting": 22})
    left = scalar(conn, "select seconds_left from recovery_list where recovery_id = %(id)s", id=recovery)
    assert left == pytest.approx(22)


def test_a_slow_pace_goes_too(conn: Connection, world: World, broker: Broker) -> None:
    park(conn, world, order_body(1), order_body(2), order_body(3))
    recovery = requeue(conn, world.shop_id, per_minute=0.2)
    assert [broker.turn(recovery, later(at)).works for at in (0, 1, 2, 3, 4, 5, 6, 10)] == [1, 0, 0, 0, 0, 1, 0, 1]


def test_cancelled_what_has_not_begun_is_open_again(conn: Connection, world: World, broker: Broker) -> None:
    park(conn, world, *(order_body(number) for number in range(40)))
    run_job(conn, "stock.push", push(world), "failed", NOW)
    recovery = requeue(conn, world.shop_id, per_minute=60)
    broker.turn(recovery, later(0))
    assert operations.cancel_recovery(conn, world.shop_id, recovery, BOB, later(1)) == 26
    assert broker.turn(recovery, later(2)).works == 0
    broker.work(later(3))
    assert broker.settle(recovery, later(4))["left"] == 0
    assert progress(conn, recovery) == ("cancelled", {"done": 15, "cancelled": 26})
    assert sum(row["items"] for row in groups(conn, world.shop_id)) == 26
    with pytest.raises(NotRunning):
        operations.cancel_recovery(conn, world.shop_id, recovery, BOB, later(5))
    # And can be requeued anew.
    again = requeue(conn, world.shop_id, now=later(6))
    assert scalar(conn, "select works from recoveries where id = %(id)s", id=again) == 26


def test_what_somebody_else_dealt_with_meanwhile_is_neither_done_twice_nor_reopened(
    conn: Connection, world: World, broker: Broker
) -> None:
    park(conn, world, order_body(1), order_body(2), order_body(3))
    recovery = requeue(conn, world.shop_id, per_minute=1)
    broker.turn(recovery, later(0))
    give_another_turn(conn, world.connection.id)
    assert operations.cancel_recovery(conn, world.shop_id, recovery, BOB, later(1)) == 2
    assert [row["state"] for row in items(conn, world.shop_id)] == ["requeued"] * 3
    broker.work(later(2))
    states = fetch(conn, "select state from inbox_messages order by id")
    assert [row["state"] for row in states] == ["handled"] * 3
    assert groups(conn, world.shop_id) == []


def test_moot_by_the_time_of_its_turn(conn: Connection, world: World, broker: Broker) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    recovery = requeue(conn, world.shop_id)
    run_job(conn, "stock.push", push(world), "finished", later(0.1))
    assert broker.turn(recovery, later(0.5)).works == 0
    assert broker.settle(recovery, later(1)) == {"done": 0, "failed": 0, "left": 0}
    assert progress(conn, recovery) == ("done", {"superseded": 1})
    assert scalar(conn, "select count(*) from job_requeues") == 0
    assert [row["state"] for row in items(conn, world.shop_id)] == ["superseded"], "and not for ever requeued"


def test_work_that_is_under_way_is_left_out(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    requeue(conn, world.shop_id)
    run_job(conn, "stock.push", push(world), "failed", later(1))
    seen = look(conn, world.shop_id, now=later(2))
    assert (seen.items, seen.works, seen.under_way, seen.is_possible) == (1, 0, 1, False)
    with pytest.raises(NothingToDo):
        requeue(conn, world.shop_id, now=later(2))
    park(conn, world, order_body(1))
    recovery = requeue(conn, world.shop_id, now=later(3))
    assert scalar(conn, "select works from recoveries where id = %(id)s", id=recovery) == 1
    assert [row["function"] for row in groups(conn, world.shop_id)] == ["stock.push"]


def test_a_group_or_one_alone(conn: Connection, world: World, broker: Broker) -> None:
    park(conn, world, order_body(1), order_body(2))
    run = run_job(conn, "stock.push", push(world), "failed", NOW)
    (key,) = (row["group_key"] for row in groups(conn, world.shop_id) if row["source"] == "message")
    group = requeue(conn, world.shop_id, Chosen(group_key=key))
    assert [row["newest_item_id"] for row in groups(conn, world.shop_id)] == [run]
    requeue(conn, world.shop_id, Chosen(source="job", item_id=run))
    assert groups(conn, world.shop_id) == []
    assert broker.turn(group, later(0)).messages == 2
    with pytest.raises(BadInput, match="no group"):
        look(conn, world.shop_id, Chosen(group_key="nothing"))
    for wrong in ({"source": "job"}, {"item_id": 1}, {"group_key": "a", "source": "job", "item_id": 1}):
        with pytest.raises(BadInput):
            Chosen(**wrong)  # type: ignore[arg-type]


def test_what_changed_since_the_look_is_not_swept_along(conn: Connection, world: World) -> None:
    park(conn, world, order_body(1))
    token = look(conn, world.shop_id).token
    park(conn, world, *(order_body(number) for number in range(12)))
    for act in (
        lambda: operations.requeue(conn, world.shop_id, Chosen(), token, ADA, NOW, check),
        lambda: operations.discard(conn, world.shop_id, Chosen(), token, ADA, NOW),
    ):
        with pytest.raises(FactsChanged, match=r"12 more failed since you looked\. Look again\."):
            act()
    assert scalar(conn, "select count(*) from recoveries") == 0
    assert scalar(conn, "select count(*) from audit_entries where act in ('requeue_failures', 'discard_failures')") == 0


def test_the_same_failure_failed_once_more_is_another_one(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, order_body(1))
    token = look(conn, world.shop_id).token
    execute(conn, "update inbox_messages set detail = 'something else', settled_at = %(at)s where id = %(id)s",
            at=later(1), id=message)  # fmt: skip
    with pytest.raises(FactsChanged, match="other failures"):
        operations.requeue(conn, world.shop_id, Chosen(), token, ADA, NOW, check)


def test_two_who_click_at_once_are_obeyed_once(engine: Engine, database: embedded.Database) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        park(conn, world, *(order_body(number) for number in range(20)))
        run_job(conn, "stock.push", push(world), "failed", NOW)
    with engine.connect() as conn:
        token = look(conn, world.shop_id).token
    together = Barrier(6)

    def click(actor: Actor) -> int | None:
        own = create_engine(database.url)
        together.wait()
        try:
            with unit_of_work(own) as conn:
                done = operations.requeue(conn, world.shop_id, Chosen(), token, actor, NOW, check, per_minute=60)
                return done.recovery_id
        except FactsChanged:
            return None
        finally:
            own.dispose()

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(click, [ADA, BOB] * 3))
    assert len([each for each in said if each is not None]) == 1
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from recoveries") == 1
        assert scalar(conn, "select count(*) from recovery_works") == 21


def test_several_workers_at_one_recovery_begin_each_work_once(engine: Engine, database: embedded.Database) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        for number in range(60):
            run_job(conn, "orders.read", read(world, str(number)), "failed", NOW)
        recovery = requeue(conn, world.shop_id, per_minute=60)
    together = Barrier(4)

    def work(_: int) -> list[str]:
        own, begun = create_engine(database.url), []
        for turn in range(6):
            together.wait()
            with unit_of_work(own) as conn:
                # Fifteen at each turn, whoever comes by.
                done = releasing.release(conn, world.shop_id, recovery, later(turn / 4))
                begun += [job.ref for job in done.jobs]
        own.dispose()
        return begun

    with ThreadPoolExecutor(4) as pool:
        begun = [ref for refs in pool.map(work, range(4)) for ref in refs]
    assert len(begun) == len(set(begun)) == 60
    with engine.connect() as conn:
        assert progress(conn, recovery) == ("running", {"released": 60})
        assert scalar(conn, "select count(*) from job_requeues") == 60


def test_discarded_with_who_and_why(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW, ref="failed-in-redis")
    park(conn, world, order_body(1))
    dead_notice(conn, world.shop_id)
    token = look(conn, world.shop_id).token
    done = operations.discard(conn, world.shop_id, Chosen(), token, BOB, later(1))
    assert (done.items, done.job_refs) == (3, ("failed-in-redis",))
    assert groups(conn, world.shop_id) == []
    assert {(row["state"], row["settled_by"], row["settled_reason"]) for row in items(conn, world.shop_id)} == {
        ("discarded", "Bob", "me too")
    }
    # The message stays, and counts as parked no more.
    row = fetch_one(conn, "select state, cause, discarded_by, discarded_reason from inbox_messages")
    assert row is not None
    assert tuple(row.values())[0::2] == ("discarded", "Bob")
    assert row["cause"] is not None
    assert scalar(conn, "select parked from connection_health where shop_id = %(s)s", s=world.shop_id) == 0
    with pytest.raises(IntegrityError), conn.begin_nested():
        execute(conn, "update inbox_messages set discarded_by = null")


def test_a_job_that_no_code_declares_is_not_queued(conn: Connection, world: World) -> None:
    run_job(conn, "gone.job", push(world), "failed", NOW)
    assert look(conn, world.shop_id).obstacles == ("no job is named 'gone.job'",)
    with pytest.raises(BadInput, match="Discard these failures"):
        requeue(conn, world.shop_id)


def test_what_is_covered_on_record_is_not_done_with_asterisks(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", {**push(world), "who": "***@***"}, "failed", NOW)
    with pytest.raises(BadInput, match="covered on record"):
        requeue(conn, world.shop_id)


def test_the_ring_of_a_schedule_is_done_as_its_job_and_once_with_it(
    conn: Connection, world: World, broker: Broker
) -> None:
    run_job(conn, "schedule.audit.nightly", {}, "failed", NOW, ref="schedule-audit-nightly")
    run_job(conn, "audit.nightly", {"shop_id": world.shop_id}, "failed", NOW)
    assert look(conn, world.shop_id).works == 1
    recovery = requeue(conn, world.shop_id)
    (work,) = broker.turn(recovery, later(0)).jobs
    assert (work.function, work.arguments) == ("audit.nightly", {"shop_id": world.shop_id})
    assert scalar(conn, "select count(*) from job_runs where resolution = 'requeued'") == 2


def test_a_pace_and_a_name_must_be_such(conn: Connection, world: World) -> None:
    park(conn, world, order_body(1))
    for pace in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(BadInput, match="a pace is"):
            requeue(conn, world.shop_id, per_minute=pace)
    token = look(conn, world.shop_id).token
    with pytest.raises(BadInput, match="at most 120 characters"):
        operations.requeue(conn, world.shop_id, Chosen(), token, ADA, NOW, check, name="x" * 121)


def test_the_preview_says_what_it_takes_and_what_is_in_the_way(conn: Connection, world: World) -> None:
    for number in range(4):
        run_job(conn, "stock.push", push(world), "finished", later(-60 - number))
        run_job(conn, "orders.read", read(world, str(number)), "failed", later(-2))
        run_job(conn, "orders.read", read(world, f"1{number}"), "finished", later(-60))
    run_job(conn, "shipments.confirm", push(world), "failed", later(-200))
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, outcome, elapsed_ms, attempt, quota_left,
            called_at, purpose, cost)
        select %(s)s, %(c)s, 'orders', 'POST', 'ok', 50, 1, '1500 of 2000', at, 'orders.read', 40
        from (values (%(at)s::timestamptz)) v (at)
        union all select %(s)s, %(c)s, 'orders', 'POST', 'ok', 50, 1, '1500 of 2000', now(), 'connection.poll', 7
        """,
        s=world.shop_id,
        c=world.connection.id,
        at=later(-60),
    )
    seen = look(conn, world.shop_id)
    (quota,) = seen.quota
    assert (quota.unit, quota.has) == ("points", 1500.0)
    # 40 points of the 4 runs that went well, for four jobs and, for want of a better guess, for the confirmation too.
    assert quota.units == pytest.approx(50)
    assert quota.share == pytest.approx(50 / 1500)
    assert (seen.works, seen.money_calls, seen.is_possible) == (5, 1, True)
    assert seen.seconds_to_drain == pytest.approx(5 * 60 / seen.per_minute)
    assert seen.warning is not None
    assert "failed 4 times the same way" in seen.warning
    assert seen.warning.endswith("has answered other calls since: go on if it was only away.")
    execute(conn, "delete from api_calls where called_at > %(since)s", since=later(-30))
    assert str(look(conn, world.shop_id).warning).endswith("repair the cause first.")
    execute(conn, "update connections set state = 'paused' where id = %(c)s", c=world.connection.id)
    assert any("is paused" in obstacle for obstacle in look(conn, world.shop_id).obstacles)


def test_work_of_a_paused_connection_waits(conn: Connection, world: World, broker: Broker) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    recovery = requeue(conn, world.shop_id)
    execute(conn, "update connections set state = 'paused' where id = %(c)s", c=world.connection.id)
    assert broker.turn(recovery, later(0.1)).works == 0
    assert broker.settle(recovery, later(0.2))["left"] == 1
    execute(conn, "update connections set state = 'active' where id = %(c)s", c=world.connection.id)
    assert broker.turn(recovery, later(2)).works == 1


def test_quota_is_read_in_the_words_of_each_channel() -> None:
    assert allowance([("a", "1500 of 2000"), ("b", "20 of 2000")]).tightest({"a": 30, "b": 3}) == (None, 33, 1500)
    rates = allowance([("search", "0.0055/s"), ("get", "0.5/s"), ("patch", "5/s")])
    assert rates.tightest({"get": 46, "patch": 200}) == ("get", 46, 30)
    assert rates.tightest({"other": 46}) is None
    assert allowance([]) == Allowance()


def test_where_each_operation_has_its_own_rate_only_those_count_that_the_job_calls(
    conn: Connection, world: World
) -> None:
    """The scarcest of a channel is of no account to a job that never calls it; nor is what failed runs took."""
    for number in range(4):
        run_job(conn, "orders.read", read(world, str(number)), "failed", later(-2))
        run_job(conn, "orders.read", read(world, f"1{number}"), "finished", later(-60))
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, outcome, elapsed_ms, attempt, quota_left,
            called_at, purpose)
        select %(s)s, %(c)s, o, 'GET', outcome, 50, 1, left_over, at, purpose
        from (values ('searchOrders', '0.0055/s', 'connection.poll', 'ok', 1, now()),
            ('getOrder', '0.5/s', 'orders.read', 'ok', 8, %(at)s::timestamptz),
            ('getOrder', '0.5/s', 'orders.read', 'error', 400, now())) v (o, left_over, purpose, outcome, times, at)
        cross join lateral generate_series(1, v.times)
        """,
        s=world.shop_id,
        c=world.connection.id,
        at=later(-50),
    )
    execute(conn, "update connections set vendor = 'amazon' where id = %(c)s", c=world.connection.id)
    seen = look(conn, world.shop_id)
    (quota,) = seen.quota
    assert (quota.operation, quota.units, quota.has, quota.share) == ("getOrder", 8.0, 30.0, None)
    # Two calls a job, and a quarter of thirty a minute.
    assert seen.per_minute == pytest.approx(3.8, abs=0.1)
    assert seen.warning is not None
    assert seen.warning.startswith("Reading single orders for")


def test_once_the_same_job_is_answered_again_nobody_is_told_to_repair_the_cause(conn: Connection, world: World) -> None:
    for number in range(4):
        run_job(conn, "orders.read", read(world, str(number)), "failed", later(-2))
    assert look(conn, world.shop_id).warning is not None
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, outcome, elapsed_ms, attempt, called_at,
            purpose)
        values (%(s)s, %(c)s, 'getOrder', 'GET', 'ok', 50, 1, %(at)s, 'orders.read')
        """,
        s=world.shop_id,
        c=world.connection.id,
        at=later(-0.5),
    )
    assert look(conn, world.shop_id).warning is None
