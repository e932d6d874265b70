"""Any history of the desk, with crashes in the middle of acts and forms sent again, on real Postgres.

Whatever happens, what is on hand is explained by movements and what is incoming by open documents, no order line is
taken back more than it shipped, a form is booked once, and an undo restores exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine, event

from core.db import fetch
from core.desk.booking import Outcome, SoldMeanwhile
from core.errors import Anticipated
from tests.desks import Desk, make_desk
from tests.factories import unique

CODES = st.sampled_from(["MUG", "CUP"])
ANY_CODE = st.sampled_from(["MUG", "CUP", "SET"])
UNITS = st.integers(1, 6)
DISPOSITIONS = st.sampled_from(["restock", "quarantine", "write_off"])
CRASHES = st.none() | st.integers(0, 14)
"""Before which statement of an act the process dies; None: not at all."""


class Crash(Exception):
    """The process dies here."""


class History(RuleBasedStateMachine):
    """One shop's desk; everything is rolled back in the end."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.connection = self.engine.connect()
        self.transaction = self.connection.begin()
        self.desk: Desk = make_desk(self.connection, bundle={"MUG": 2, "CUP": 1})
        self.left: int | None = None
        event.listen(self.connection, "before_cursor_execute", self._count_down)
        self.documents: list[int] = []
        self.orders: list[int] = []
        self.transfers: list[int] = []
        self.counts: list[int] = []
        self.lines: list[str] = []

    def _count_down(self, *_: Any) -> None:
        if self.left is not None:
            if self.left == 0:
                self.left = None
                raise Crash
            self.left -= 1

    def teardown(self) -> None:
        self.transaction.rollback()
        self.connection.close()

    def do(self, act: Callable[[], Outcome], crash_at: int | None, *, undo_now: bool = False) -> Outcome | None:
        """An act that may die halfway, is then done, and is sent once more; None when it is refused."""
        before = self.desk.levels()
        if crash_at is not None:
            savepoint = self.connection.begin_nested()
            try:
                self.left = crash_at
                act()
            except (Crash, Anticipated):
                pass
            finally:
                self.left = None
                savepoint.rollback()
            assert self.desk.levels() == before
        savepoint = self.connection.begin_nested()
        try:
            done = act()
        except Anticipated:
            savepoint.rollback()
            assert self.desk.levels() == before
            return None
        savepoint.commit()
        after = self.desk.levels()
        again = act()
        assert (again.is_new, again.document_id) == (False, done.document_id)
        assert self.desk.levels() == after
        if undo_now and done.is_new:
            self.undo_again(done.document_id, before)
        return done

    def undo_again(self, document_id: int, before: dict[tuple[int, int], tuple[int, ...]]) -> None:
        """Everything is as it was; unless more is sold than there is: what came in then went to those orders."""
        savepoint = self.connection.begin_nested()
        try:
            self.desk.undo(document_id)
        except SoldMeanwhile:
            savepoint.rollback()
            assert any(hand - held - apart < 0 for hand, held, apart, _ in before.values()), "nothing was short"
        else:
            savepoint.commit()
            assert self.desk.levels() == before

    def keep(self, done: Outcome | None, *lists: list[int]) -> None:
        if done is not None:
            for found in (self.documents, *lists):
                found.append(done.document_id)

    @rule(code=ANY_CODE, units=UNITS, crash_at=CRASHES, undo_now=st.booleans())
    def receive(self, code: str, units: int, crash_at: int | None, undo_now: bool) -> None:
        key = unique("form")
        self.keep(self.do(lambda: self.desk.receive({code: units}, key=key), crash_at, undo_now=undo_now))

    @rule(code=CODES, units=st.integers(-4, 4).filter(bool), crash_at=CRASHES)
    def adjust(self, code: str, units: int, crash_at: int | None) -> None:
        key = unique("form")
        self.keep(self.do(lambda: self.desk.adjust(key, **{code: units}), crash_at))

    @rule(code=ANY_CODE, units=UNITS, disposition=DISPOSITIONS, crash_at=CRASHES, undo_now=st.booleans())
    def take_back_loose(self, code: str, units: int, disposition: str, crash_at: int | None, undo_now: bool) -> None:
        key = unique("form")
        self.keep(
            self.do(lambda: self.desk.take_back({code: units}, disposition, key=key), crash_at, undo_now=undo_now)
        )

    @rule(code=CODES, units=UNITS, crash_at=CRASHES)
    def order_goods(self, code: str, units: int, crash_at: int | None) -> None:
        key = unique("form")
        self.keep(self.do(lambda: self.desk.order_goods({code: units}, key=key), crash_at), self.orders)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), code=CODES, units=UNITS, crash_at=CRASHES)
    def receive_ordered(self, data: st.DataObject, code: str, units: int, crash_at: int | None) -> None:
        order, key = data.draw(st.sampled_from(self.orders)), unique("form")
        self.keep(self.do(lambda: self.desk.receive({code: units}, key=key, against_id=order), crash_at))

    @rule(code=ANY_CODE, units=UNITS, crash_at=CRASHES)
    def draft(self, code: str, units: int, crash_at: int | None) -> None:
        key = unique("form")
        self.keep(self.do(lambda: self.desk.draft({code: units}, key=key), crash_at), self.transfers)

    @precondition(lambda self: self.transfers)
    @rule(data=st.data(), crash_at=CRASHES)
    def send(self, data: st.DataObject, crash_at: int | None) -> None:
        transfer = data.draw(st.sampled_from(self.transfers))
        self.do(lambda: self.desk.send(transfer), crash_at)

    @precondition(lambda self: self.transfers)
    @rule(data=st.data(), code=CODES, units=UNITS, crash_at=CRASHES)
    def receive_transfer(self, data: st.DataObject, code: str, units: int, crash_at: int | None) -> None:
        transfer, key = data.draw(st.sampled_from(self.transfers)), unique("form")
        act = lambda: self.desk.receive({code: units}, at=self.desk.yard_id, key=key, against_id=transfer)  # noqa: E731
        self.keep(self.do(act, crash_at))

    @precondition(lambda self: self.orders or self.transfers)
    @rule(data=st.data(), crash_at=CRASHES)
    def close(self, data: st.DataObject, crash_at: int | None) -> None:
        document = data.draw(st.sampled_from(self.orders + self.transfers))
        self.do(lambda: self.desk.close(document), crash_at)

    @rule(mugs=st.integers(0, 12), cups=st.integers(0, 12))
    def count(self, mugs: int, cups: int) -> None:
        sheet = self.desk.open_count()
        self.desk.count(sheet, MUG=mugs, CUP=cups)
        self.counts.append(sheet)
        self.documents.append(sheet)

    @precondition(lambda self: self.counts)
    @rule(data=st.data(), code=CODES, is_good=st.booleans())
    def decide(self, data: st.DataObject, code: str, is_good: bool) -> None:
        sheet = data.draw(st.sampled_from(self.counts))
        before, variances = self.desk.levels(), self.desk.variances(sheet)
        if is_good:
            self.desk.approve(sheet, code)
            pair = (self.desk.world.skus[code], self.desk.main_id)
            before_units = before.get(pair, (0, 0, 0, 0))[0]
            assert self.desk.levels().get(pair, (0, 0, 0, 0))[0] == before_units + variances.get(code, 0)
        else:
            self.desk.refuse(sheet, code)
            assert self.desk.levels() == before

    @rule(code=CODES, units=UNITS, data=st.data())
    def sell(self, code: str, units: int, data: st.DataObject) -> None:
        ref = unique("order")
        self.desk.sell(ref, code, units, shipped=data.draw(st.integers(0, units)))
        self.lines.append(ref)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), units=st.integers(1, 3), restock=st.sampled_from(["return", "cancel", "no_restock"]))
    def refund(self, data: st.DataObject, units: int, restock: str) -> None:
        self.desk.refund(data.draw(st.sampled_from(self.lines)), units, restock)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), units=st.integers(1, 3), disposition=DISPOSITIONS, crash_at=CRASHES, undo_now=st.booleans())
    def take_back(
        self, data: st.DataObject, units: int, disposition: str, crash_at: int | None, undo_now: bool
    ) -> None:
        line, key = self.desk.line(data.draw(st.sampled_from(self.lines))), unique("form")
        act = lambda: self.desk.take_back({"x": units}, disposition, line=line, key=key)  # noqa: E731
        # What is restocked in place of what a channel told of may leave less, so an undo of it need not be possible.
        self.keep(self.do(act, crash_at, undo_now=undo_now and disposition != "write_off"))

    @precondition(lambda self: self.documents)
    @rule(data=st.data(), crash_at=CRASHES)
    def undo(self, data: st.DataObject, crash_at: int | None) -> None:
        document = data.draw(st.sampled_from(self.documents))
        self.do(lambda: self.desk.undo(document), crash_at)

    @invariant()
    def everything_is_explained(self) -> None:
        assert self.desk.broken() == []

    @invariant()
    def no_line_came_back_more_often_than_it_left(self) -> None:
        rows = fetch(
            self.connection,
            """
            select l.shipped_units, l.taken_back_units, r.returned_units, r.consumed_units, r.units
            from returnable_lines l join reservations r on r.shop_id = l.shop_id and r.order_line_id = l.order_line_id
            where l.shop_id = %(shop)s
            """,
            shop=self.desk.shop_id,
        )
        for row in rows:
            assert 0 <= row["taken_back_units"] <= row["shipped_units"]
            assert row["returned_units"] <= max(row["units"], row["consumed_units"])


@pytest.mark.slow
def test_any_history_of_the_desk_is_explained(module_engine: Engine) -> None:
    kind = type("HistoryHere", (History,), {"engine": module_engine})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=15,
            stateful_step_count=16,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
