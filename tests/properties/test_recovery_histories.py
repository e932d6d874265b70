"""Any history of failures and of what people do about them: nothing is lost, nothing is doubled, every count is right.

The machine keeps a record of its own of what each piece of work went through, and holds the views against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine

from core.db import fetch, scalar
from core.recovery import operations, tallies
from core.recovery.choosing import Chosen, FactsChanged
from core.recovery.operations import NothingToDo
from core.runs import failures as job_failures
from tests.factories import NOW, World, make_world
from tests.recovery.failing import ADA, BOB, Broker, check, dead_notice, groups, look, order_body, park, run_job

REFS = ("1", "2", "3")
HOW = st.sampled_from(("all", "group", "one"))


class Histories(RuleBasedStateMachine):
    """One shop. `conn` is given by the test; each example is rolled back."""

    conn: Connection

    @initialize()
    def begin(self) -> None:
        self.savepoint = self.conn.begin_nested()
        self.world: World = make_world(self.conn)
        self.now = NOW
        self.broker = Broker(self.conn, self.world.shop_id)
        self.recoveries: list[int] = []
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "savepoint"):
            self.finish()
            self.savepoint.rollback()

    def tick(self, seconds: float = 20) -> None:
        self.now += timedelta(seconds=seconds)

    def arguments(self, ref: str) -> dict[str, object]:
        return {"shop_id": self.world.shop_id, "connection_id": self.world.connection.id, "kind": "order", "refs": ref}

    # What happens -----------------------------------------------------------------------------------------------------

    @rule(ref=st.sampled_from(REFS), fails=st.booleans(), error=st.sampled_from(("Refused: no", "Timeout: late")))
    def a_job_runs(self, ref: str, fails: bool, error: str) -> None:
        self.tick()
        run_job(self.conn, "orders.read", self.arguments(ref), "failed" if fails else "finished", self.now, error=error)

    @rule(count=st.integers(1, 3))
    def messages_are_parked(self, count: int) -> None:
        self.tick()
        self.number += count
        park(self.conn, self.world, *(order_body(self.number - n) for n in range(count)), at=self.now)

    @rule()
    def a_notice_dies(self) -> None:
        self.tick()
        dead_notice(self.conn, self.world.shop_id, at=self.now)

    @rule()
    def the_cause_is_repaired_or_comes_back(self) -> None:
        self.broker.is_broken = not self.broker.is_broken

    @rule()
    def workers_work(self) -> None:
        self.tick()
        self.broker.work(self.now)

    @rule()
    def redis_is_flushed(self) -> None:
        self.broker.jobs.clear()

    @rule(hours=st.sampled_from((0, 26)))
    def counts_are_folded(self, hours: int) -> None:
        self.tick(hours * 3600)
        tallies.fold(self.conn, self.now)

    @rule()
    def the_sweep_comes_by(self) -> None:
        self.tick(90)
        job_failures.close_superseded(self.conn, self.now)
        for work in job_failures.unanswered(self.conn, self.now):
            # Redis refuses an id that it knows.
            self.broker.jobs.setdefault(work.ref, work)

    # What people do ---------------------------------------------------------------------------------------------------

    def chosen(self, how: str) -> Chosen | None:
        found = groups(self.conn, self.world.shop_id)
        if how == "all" or not found:
            return Chosen() if found else None
        if how == "group":
            return Chosen(group_key=found[0]["group_key"])
        return Chosen(source=found[-1]["source"], item_id=found[-1]["newest_item_id"])

    @rule(how=HOW, pace=st.sampled_from((6.0, 600.0)))
    def requeue(self, how: str, pace: float) -> None:
        chosen = self.chosen(how)
        if chosen is None:
            return
        token = look(self.conn, self.world.shop_id, chosen, self.now).token
        before = self.conn.begin_nested()
        try:
            done = operations.requeue(
                self.conn, self.world.shop_id, chosen, token, ADA, self.now, check, per_minute=pace
            )
        except NothingToDo:
            before.rollback()
            return
        before.commit()
        if done.recovery_id is not None:
            self.recoveries.append(done.recovery_id)
        # Of what was only to be closed nothing is left either.
        with self.conn.begin_nested() as again, pytest.raises((FactsChanged, NothingToDo)):
            operations.requeue(self.conn, self.world.shop_id, chosen, token, BOB, self.now, check, per_minute=pace)
        assert not again.is_active

    @rule(how=HOW)
    def discard(self, how: str) -> None:
        chosen = self.chosen(how)
        if chosen is not None:
            token = look(self.conn, self.world.shop_id, chosen, self.now).token
            operations.discard(self.conn, self.world.shop_id, chosen, token, BOB, self.now)

    @precondition(lambda self: self.recoveries)
    @rule(which=st.integers(0, 5))
    def cancel(self, which: int) -> None:
        number = self.recoveries[which % len(self.recoveries)]
        if scalar(self.conn, "select state from recoveries where id = %(id)s", id=number) == "running":
            operations.cancel_recovery(self.conn, self.world.shop_id, number, BOB, self.now)

    @rule()
    def recoveries_go_on(self) -> None:
        self.tick()
        for number in self.recoveries:
            self.broker.turn(number, self.now)
            self.broker.settle(number, self.now)

    @rule(how=HOW, is_broken=st.booleans(), is_flushed=st.booleans())
    def a_recovery_from_its_beginning_on(self, how: str, is_broken: bool, is_flushed: bool) -> None:
        """What single steps seldom make up in this order."""
        self.requeue(how, 600.0)
        self.recoveries_go_on()
        if is_flushed:
            self.redis_is_flushed()
            self.the_sweep_comes_by()
        self.broker.is_broken = is_broken
        self.workers_work()
        self.recoveries_go_on()

    # What must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def every_count_is_that_of_the_rows_themselves(self) -> None:
        if not hasattr(self, "savepoint"):
            return
        shop = self.world.shop_id
        expected: Counter[tuple[str, str]] = Counter()
        moot: Counter[tuple[str, str]] = Counter()
        works: dict[tuple[str, str], set[Any]] = {}
        held = self.held()
        runs = fetch(self.conn, "select * from job_runs order by id")
        for run in runs:
            if run["outcome"] != "failed" or run["resolution"] is not None or ("job", run["id"]) in held:
                continue
            if any(later["job_ref"] == run["job_ref"] and later["id"] > run["id"] for later in runs):
                continue
            cause = ("orders.read", run["error"].partition(":")[0])
            expected[cause] += 1
            works.setdefault(cause, set()).add(run["arguments"]["refs"])
            moot[cause] += any(
                later["outcome"] == "finished" and later["arguments"] == run["arguments"]
                and later["started_at"] > run["started_at"] for later in runs
            )  # fmt: skip
        for row in fetch(self.conn, "select id, cause, detail from inbox_messages where state = 'parked'"):
            if ("message", row["id"]) not in held:
                cause = ("orders/create", "again" if row["detail"] == "still so" else "first")
                expected[cause] += 1
                works.setdefault(cause, set()).add(row["id"])
        for row in fetch(self.conn, "select id, attempts from outbox_messages where state = 'dead'"):
            if ("outbox", row["id"]) not in held:
                expected["notice", "Undelivered"] += 1
                works.setdefault(("notice", "Undelivered"), set()).add(row["id"])
        found = {}
        for row in groups(self.conn, shop):
            word = row["error_class"]
            if row["source"] == "message":
                word = "again" if row["message"] == "still so" else "first"
            found[row["function"], word] = (row["items"], row["works"], row["superseded"])
        assert found == {cause: (count, len(works[cause]), moot[cause]) for cause, count in expected.items()}

    @invariant()
    def what_is_counted_is_what_the_audit_finds(self) -> None:
        if not hasattr(self, "savepoint"):
            return
        for name, holds, sql in tallies.TALLY_CHECKS:
            broken = fetch(
                self.conn, sql.replace("{shop}", "shop_id = %(shop)s"), shop=self.world.shop_id, now=self.now,
                patience=timedelta(0),
            )  # fmt: skip
            assert not broken, f"{name}: {holds}"

    def held(self) -> set[tuple[str, int]]:
        """Failures that a recovery is to make good and has not begun."""
        rows = fetch(
            self.conn,
            """
            select f.source, f.item_id from failures f
            join recovery_works w on w.shop_id = f.shop_id and w.recovery_id = f.recovery_id and w.source = f.source
                and w.work_key = f.work_key
            where f.state = 'requeued' and w.state = 'waiting'
            """,
        )
        return {(row["source"], row["item_id"]) for row in rows}

    @invariant()
    def no_work_is_queued_twice_at_once(self) -> None:
        if not hasattr(self, "savepoint"):
            return
        queued = Counter(str(work.arguments) for work in self.broker.jobs.values())
        assert not [work for work, times in queued.items() if times > 1]
        assert not fetch(self.conn, "select from job_runs where job_ref like 'again-%%' group by job_ref"
                                    " having count(*) > 1")  # fmt: skip

    def finish(self) -> None:
        """Whatever happened: when workers and sweeps go on, each piece of work ends, and none without a word."""
        self.broker.is_broken = False
        for _ in range(200):
            self.recoveries_go_on()
            self.the_sweep_comes_by()
            self.workers_work()
            if not scalar(self.conn, "select count(*) from recoveries where ended_at is null"):
                break
        self.every_count_is_that_of_the_rows_themselves()
        assert scalar(self.conn, "select count(*) from recoveries where ended_at is null") == 0
        assert scalar(self.conn, "select count(*) from recovery_works where ended_at is null") == 0
        # Done means that a run finished, that the message was handled, that the notice was sent.
        assert not fetch(
            self.conn,
            """
            select from recovery_works w
            left join job_runs r on w.source = 'job' and r.job_ref = 'again-' || w.item_id and r.outcome = 'finished'
            left join inbox_messages m on w.source = 'message' and m.id = w.item_id and m.state = 'handled'
            left join outbox_messages o on w.source = 'outbox' and o.id = w.item_id and o.state = 'sent'
            where w.state = 'done' and r.id is null and m.id is null and o.id is null
            """,
        )
        # A failure that was requeued is settled by its work; none hangs in between.
        assert not fetch(
            self.conn,
            """
            select from failures f
            left join job_runs r on f.source = 'job' and r.id = f.item_id
            left join inbox_messages m on f.source = 'message' and m.id = f.item_id
            left join outbox_messages o on f.source = 'outbox' and o.id = f.item_id
            where f.state = 'requeued' and (r.resolution is null or r.resolution <> 'requeued')
                and m.state is distinct from 'handled' and o.state is distinct from 'sent'
            """,
        )


@pytest.fixture
def conn(module_engine: Engine) -> Iterator[Connection]:
    with module_engine.connect() as connection:
        yield connection
        connection.rollback()


def test_any_history(conn: Connection) -> None:
    machine = type("Machine", (Histories,), {"conn": conn})
    run_state_machine_as_test(machine, settings=settings(max_examples=20, stateful_step_count=25))
