"""Counts of failures: kept with what they count, by many at once who wait for nobody, and the same as the rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from core.clock import utc_now
from core.db import execute, fetch, scalar, unit_of_work
from core.recovery import operations, tallies
from core.recovery.choosing import Chosen, FactsChanged
from core.recovery.operations import NothingToDo
from core.runs import failures as job_failures
from tests.factories import NOW, World, make_world
from tests.racing import play, race
from tests.recovery.failing import ADA, BOB, check, groups, look, order_body, park, run_job

TIMES = 25


def broken(conn: Connection, shop_id: int, now: datetime | None = None) -> dict[str, Sequence[Any]]:
    """What the audit finds of counts, by the name of the check."""
    found = {}
    for name, _, sql in tallies.TALLY_CHECKS:
        rows = fetch(
            conn, sql.replace("{shop}", "shop_id = %(shop)s"), shop=shop_id, now=now or utc_now(), patience=timedelta(0)
        )
        if rows:
            found[name] = [dict(row) for row in rows]
    return found


def push(world: World, part: int = 0) -> dict[str, object]:
    return {"shop_id": world.shop_id, "connection_id": world.connection.id, "part": part}


def never_waits(conn: Connection) -> None:
    """Whoever waits for a lock is told so at once."""
    execute(conn, "set local lock_timeout = '500ms'")


def test_of_those_who_fail_at_once_of_one_cause_none_waits_for_another_nor_for_the_sweep(module_engine: Engine) -> None:
    with unit_of_work(module_engine) as conn:
        world = make_world(conn)
        run_job(conn, "stock.push", push(world), "failed", NOW)
        park(conn, world, order_body(1))
    with module_engine.connect() as one, module_engine.connect() as other, module_engine.connect() as sweep:
        run_job(one, "stock.push", push(world, 1), "failed", NOW)
        park(one, world, order_body(2))
        for conn in (other, sweep):
            never_waits(conn)
        run_job(other, "stock.push", push(world, 2), "failed", NOW)
        park(other, world, order_body(3))
        other.commit()
        tallies.fold(sweep, utc_now())
        sweep.commit()
        one.commit()
        assert [row["items"] for row in groups(sweep, world.shop_id)] == [3, 3]
        assert broken(sweep, world.shop_id) == {}


def test_who_ends_a_job_does_not_wait_for_who_deals_with_its_failures(module_engine: Engine) -> None:
    with unit_of_work(module_engine) as conn:
        world = make_world(conn)
        run_job(conn, "stock.push", push(world), "failed", NOW)
    with module_engine.connect() as person, module_engine.connect() as worker:
        execute(person, "select from failures where shop_id = %(shop)s for update", shop=world.shop_id)
        never_waits(worker)
        run_job(worker, "stock.push", push(world), "finished", NOW + timedelta(minutes=1))
        worker.commit()
        person.rollback()
        assert [row["still_needed"] for row in groups(worker, world.shop_id)] == [1]
        assert list(broken(worker, world.shop_id)) == ["failed_job_is_moot_when_its_work_was_done"]
        worker.rollback()
        job_failures.close_superseded(worker, NOW + timedelta(minutes=2))
        worker.commit()
        assert groups(worker, world.shop_id) == []
        assert broken(worker, world.shop_id) == {}


@pytest.mark.parametrize("business", ["off", "waits"])
def test_a_later_run_that_did_nothing_makes_no_failure_moot(conn: Connection, world: World, business: str) -> None:
    """Its connection is paused, or another was at it: the work is not done by that, whoever looks."""
    run_job(conn, "stock.push", push(world), "failed", NOW)
    run_job(conn, "stock.push", push(world), "finished", NOW + timedelta(minutes=1), business=business)
    run_job(conn, "stock.push", push(world), "failed", NOW + timedelta(seconds=30))
    assert job_failures.close_superseded(conn, NOW + timedelta(minutes=2))[0] == 0
    assert [(row["still_needed"], row["superseded"]) for row in groups(conn, world.shop_id)] == [(2, 0)]
    states = fetch(conn, "select distinct state from job_failures where shop_id = %(shop)s", shop=world.shop_id)
    assert [row["state"] for row in states] == ["open"]
    run_job(conn, "stock.push", push(world), "finished", NOW + timedelta(minutes=3), business="worked")
    assert [(row["still_needed"], row["superseded"]) for row in groups(conn, world.shop_id)] == [(0, 2)]
    assert broken(conn, world.shop_id) == {}


def test_one_that_failed_is_moot_also_when_the_later_run_had_ended_before(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "finished", NOW + timedelta(minutes=1))
    run_job(conn, "stock.push", push(world), "failed", NOW)
    assert [(row["still_needed"], row["superseded"]) for row in groups(conn, world.shop_id)] == [(0, 1)]
    run_job(conn, "stock.push", push(world), "failed", NOW + timedelta(minutes=2))
    assert [(row["still_needed"], row["superseded"]) for row in groups(conn, world.shop_id)] == [(1, 1)]
    assert scalar(conn, "select runs from failed_jobs where shop_id = %(shop)s", shop=world.shop_id) == 1


def test_what_is_folded_is_few_rows_and_says_the_same(conn: Connection, world: World) -> None:
    now = scalar(conn, "select now()")
    for number in range(30):
        run_job(conn, "stock.push", push(world, number), "failed", now - timedelta(hours=number))
        park(conn, world, order_body(number), at=now)
    before, rows = groups(conn, world.shop_id), "select count(*) from failure_tallies where shop_id = %(shop)s"
    assert scalar(conn, rows, shop=world.shop_id) == 60
    tallies.fold(conn, now)
    assert groups(conn, world.shop_id) == before
    # One of the messages; of the jobs one for each hour of the last day and the one it begins in, and one for all else.
    assert scalar(conn, rows, shop=world.shop_id) == 1 + 25 + 1
    assert tallies.fold(conn, now) == 0
    assert broken(conn, world.shop_id) == {}
    chosen = Chosen()
    token = look(conn, world.shop_id, chosen, now).token
    operations.discard(conn, world.shop_id, chosen, token, ADA, now)
    later = now + timedelta(days=2)
    tallies.fold(conn, later)
    assert scalar(conn, rows, shop=world.shop_id) == 0
    assert broken(conn, world.shop_id, later) == {}


def test_the_audit_finds_a_count_that_is_off(conn: Connection, world: World) -> None:
    now = scalar(conn, "select now()")
    run_job(conn, "stock.push", push(world), "failed", now)
    park(conn, world, order_body(1), at=now)
    assert broken(conn, world.shop_id) == {}
    execute(conn, "update failure_tallies set open = open + 1, failed = failed + 1 where parked = 0")
    assert set(broken(conn, world.shop_id)) == {"failures_are_counted", "failures_are_counted_by_the_hour"}


# A race: what fails, what is made good, what a person does and what the sweep does, all at once -----------------------


def _run(engine: Engine, world: World, outcome: str) -> int:
    for number in range(TIMES):
        with unit_of_work(engine) as conn:
            # Each process counts for itself, and a later run of a job is the one that counts.
            ref = f"job-{os.getpid()}-{number}"
            run_job(conn, "stock.push", push(world, number % 5), outcome, utc_now(), ref=ref)
            if outcome == "failed":
                park(conn, world, order_body(number), at=utc_now())
    return TIMES


def fails(engine: Engine, world: World) -> int:
    return _run(engine, world, "failed")


def succeeds(engine: Engine, world: World) -> int:
    return _run(engine, world, "finished")


def decides(engine: Engine, world: World) -> int:
    """Requeue and give up by turns whatever is there; what another person or worker was at meanwhile is left."""
    done = 0
    for number in range(TIMES):
        try:
            with unit_of_work(engine) as conn:
                seen = look(conn, world.shop_id, Chosen(), utc_now())
                if number % 2:
                    operations.discard(conn, world.shop_id, Chosen(), seen.token, BOB, utc_now())
                else:
                    operations.requeue(conn, world.shop_id, Chosen(), seen.token, ADA, utc_now(), check, per_minute=600)
                done += 1
        except (FactsChanged, NothingToDo):
            continue
    return done


def sweeps(engine: Engine, world: World) -> int:
    for _ in range(TIMES):
        with unit_of_work(engine) as conn:
            job_failures.close_superseded(conn, utc_now())
        with unit_of_work(engine) as conn:
            tallies.fold(conn, utc_now())
    return TIMES


ROLES = {"fails": fails, "succeeds": succeeds, "decides": decides, "sweeps": sweeps}


def test_whatever_happens_at_once_counts_are_those_of_the_rows(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
    race(engine, __file__, [(role, world) for role in ("fails", "fails", "succeeds", "decides", "sweeps", "sweeps")])
    with unit_of_work(engine) as conn:
        job_failures.close_superseded(conn, utc_now())
        assert broken(conn, world.shop_id) == {}
        assert scalar(conn, "select count(*) from failures") == 2 * 2 * TIMES


if __name__ == "__main__":
    play(ROLES)
