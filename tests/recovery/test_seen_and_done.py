"""What a preview says is what its act does: what is closed, what is repeated, what is begun."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from core.recovery import operations, releasing
from core.recovery.choosing import Chosen
from core.recovery.operations import NothingToDo
from core.runs import operations as sync_runs
from tests.factories import NOW, World, later
from tests.recovery.failing import ADA, BOB, Broker, check, items, look, order_body, park, requeue, run_job


@pytest.fixture
def broker(conn: Connection, world: World) -> Broker:
    return Broker(conn, world.shop_id)


def push(world: World) -> dict[str, object]:
    return {"shop_id": world.shop_id, "connection_id": world.connection.id}


def told_since(conn: Connection, *messages: int) -> None:
    """What these messages say has been told by later ones."""
    execute(conn, "update failures set is_moot = true where source = 'message' and item_id = any(%(ids)s)",
            ids=list(messages))  # fmt: skip


def test_what_a_later_run_did_is_closed_by_the_act_and_not_by_and_by(conn: Connection, world: World) -> None:
    moot = run_job(conn, "stock.push", push(world), "failed", NOW, ref="old")
    run_job(conn, "stock.push", push(world), "finished", later(1))
    needed = run_job(conn, "connection.poll", push(world), "failed", later(2))
    seen = look(conn, world.shop_id, now=later(3))
    assert (seen.works, seen.to_begin, seen.superseded, seen.to_close) == (1, 1, 1, 1)
    done = operations.requeue(conn, world.shop_id, Chosen(), seen.token, ADA, later(3), check)
    assert (done.items, done.works, done.closed, done.job_refs) == (1, 1, 1, ("old",))
    assert {row["item_id"]: row["state"] for row in items(conn, world.shop_id)} == {
        moot: "superseded", needed: "requeued",
    }  # fmt: skip


def test_where_there_is_only_something_to_close_a_click_closes_it(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    run_job(conn, "stock.push", push(world), "finished", later(1))
    seen = look(conn, world.shop_id, now=later(2))
    assert (seen.works, seen.to_close, seen.is_possible) == (0, 1, True)
    done = operations.requeue(conn, world.shop_id, Chosen(), seen.token, ADA, later(2), check)
    assert (done.recovery_id, done.closed) == (None, 1)
    assert scalar(conn, "select count(*) from recoveries") == 0
    assert scalar(conn, "select details ->> 'closed' from audit_entries where act = 'requeue_failures'") == "1"


def test_messages_that_tell_nothing_new_have_their_turn_and_the_preview_says_so(conn: Connection, world: World) -> None:
    messages = park(conn, world, *(order_body(number) for number in range(3)))
    told_since(conn, *messages[:2])
    seen = look(conn, world.shop_id)
    assert (seen.items, seen.needed, seen.superseded) == (3, 1, 2)
    assert (seen.works, seen.to_begin, seen.repeated, seen.to_close) == (3, 3, 2, 0)


def test_what_is_moot_and_under_way_is_not_counted_twice(conn: Connection, world: World) -> None:
    moot = park(conn, world, *(order_body(number) for number in range(3)))
    recovery = requeue(conn, world.shop_id)
    # They were given a turn by somebody else, and failed again before their recovery came by.
    execute(conn, "update inbox_messages set state = 'received', cause = null, detail = null, settled_at = null")
    execute(conn, "update inbox_messages set state = 'parked', cause = 'unreadable', settled_at = %(at)s", at=later(1))
    told_since(conn, *moot)
    park(conn, world, *(order_body(number) for number in range(10, 13)), at=later(1))
    seen = look(conn, world.shop_id, now=later(2))
    assert (seen.items, seen.under_way, seen.works, seen.to_begin, seen.repeated) == (6, 3, 3, 3, 0)
    assert requeue(conn, world.shop_id, now=later(2)) > recovery


def test_settled_twice_at_once_a_failure_stays_with_the_recovery_that_it_is_of_now(
    conn: Connection, world: World, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers settle; one is late, and somebody has requeued what failed again meanwhile."""
    (message,) = park(conn, world, order_body(1))
    first = requeue(conn, world.shop_id)
    broker.turn(first, later(0.1))
    broker.is_broken = True
    broker.work(later(1))
    found = releasing.fetch

    def late(conn: Connection, sql: str, **params: object) -> object:
        rows = found(conn, sql, **params)
        if rows and "ended_item_id" in sql and "join inbox_messages" in sql:
            monkeypatch.setattr(releasing, "fetch", found)
            broker.settle(first, later(2))
            second.append(requeue(conn, world.shop_id, now=later(3)))
        return rows

    second: list[int] = []
    monkeypatch.setattr(releasing, "fetch", late)
    broker.settle(first, later(2))
    assert second, "the other one came between"
    (row,) = fetch(conn, "select recovery_id, state from failures where item_id = %(id)s", id=message)
    assert tuple(row.values()) == (second[0], "requeued")


def test_a_run_taken_for_abandoned_that_fails_after_all_is_still_done_again(
    conn: Connection, world: World, broker: Broker
) -> None:
    run = sync_runs.open_job_run(conn, job_ref="lost", function="stock.push", arguments=push(world), queue="stock",
                            worker="gone", attempt=1, now=later(-10))  # fmt: skip
    sync_runs.close_abandoned_runs(conn, [], NOW)
    recovery = requeue(conn, world.shop_id)
    # Its process was only slow.
    sync_runs.close_job_run(conn, run, "failed", later(0.1), error="Refused: no", fingerprint="f")
    assert len(broker.turn(recovery, later(0.5)).jobs) == 1
    assert {row["state"] for row in items(conn, world.shop_id)} == {"requeued"}
    broker.work(later(1))
    assert broker.settle(recovery, later(2)) == {"done": 1, "failed": 0, "left": 0}


def test_nothing_is_done_where_nothing_is_there(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    requeue(conn, world.shop_id)
    run_job(conn, "stock.push", push(world), "failed", later(1))
    token = look(conn, world.shop_id).token
    with pytest.raises(NothingToDo):
        operations.requeue(conn, world.shop_id, Chosen(), token, BOB, later(2), check)


def test_a_sync_that_ended_badly_is_asked_for_again_and_not_rung_to_no_avail(
    conn: Connection, world: World, broker: Broker
) -> None:
    """The job of a sync run that has failed finds it over and does nothing, which is no success."""
    runs_of = [failed_sync(conn, world, later(-n)) for n in (2, 1)]
    for run in runs_of:
        run_job(conn, "connection.sync", {**push(world), "sync_run_id": run}, "failed", NOW)
    recovery = requeue(conn, world.shop_id)
    jobs = broker.turn(recovery, later(0.1)).jobs
    asked = {job.arguments["sync_run_id"] for job in jobs}
    assert len(asked) == 1, "one sync of a connection is open"
    assert asked.isdisjoint(runs_of)
    row = fetch(conn, "select state, requested_by, retry_of from sync_runs where id = any(%(ids)s)", ids=list(asked))[0]
    assert (row["state"], row["requested_by"], row["retry_of"]) == ("queued", "Ada", runs_of[0])
    assert {each["arguments"]["sync_run_id"] for each in fetch(conn, "select arguments from job_requeues")} == asked


def failed_sync(conn: Connection, world: World, at: datetime) -> int:
    run = sync_runs.request_sync(conn, world.shop_id, world.connection.id, "sync_connection", "click", ADA, at)
    assert sync_runs.start_sync(conn, world.shop_id, run, at)
    assert sync_runs.fail_sync(conn, world.shop_id, run, at, "stopped by KeyError")
    return run
