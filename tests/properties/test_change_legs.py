"""Any history of sales, cancellations, returns, pushes with whatever outcome, pauses and stops: every change ends, and
none is said to be confirmed that the channel has not shown a number from after.

What a leg may claim is worked out beside it, from a diary: when each change was written down, and when each number was
planned and confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core import invariants
from core.db import execute, fetch
from core.inventory import publishing
from core.messaging.change_checks import CHANGE_CHECKS
from core.ports import QuantityWrite
from tests.changing import Pair, chase, legs, make_pair, plan, settle
from tests.desks import Desk
from tests.factories import NOW, World, book, make_line, make_order, make_refund, make_refund_line

CODES = ("MUG", "CUP")
OUTCOMES = ("confirmed", "confirmed", "refused", "unsent", "unknown", "stale")

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("sell"), st.sampled_from(CODES), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("refund"), st.integers(0, 9), st.sampled_from(["cancel", "no_restock"])),
        st.tuples(st.just("desk"), st.sampled_from(CODES), st.sampled_from([-1, 2])),
        st.tuples(st.just("undo"), st.integers(0, 9), st.none()),
        st.tuples(st.just("plan"), st.integers(0, 1), st.none()),
        st.tuples(st.just("answer"), st.integers(0, 1), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("pause"), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("stop"), st.none(), st.booleans()),
        st.tuples(st.just("chase"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 8), st.none()),
    ),
    max_size=25,
)


@dataclass
class Diary:
    """A shop, its clock, and what happened in it, in turn."""

    conn: Connection
    pair: Pair
    now: datetime = NOW
    orders: list[tuple[str, str, int]] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    open_writes: dict[int, list[QuantityWrite]] = field(default_factory=dict)
    ticks: int = 0
    planned_at: dict[int, int] = field(default_factory=dict)
    confirmed: dict[int, int] = field(default_factory=dict)
    """Write -> its listing's connection, of those that the channel confirmed."""
    written_at: dict[int, int] = field(default_factory=dict)

    @property
    def worlds(self) -> tuple[World, World]:
        return self.pair.seller, self.pair.follower

    def do(self, act: str, one: Any, other: Any) -> None:
        self.ticks += 1
        self.now += timedelta(seconds=1)
        getattr(self, f"_{act}")(one, other)
        for row in fetch(self.conn, "select id from changes where shop_id = %(shop)s", shop=self.pair.shop_id):
            self.written_at.setdefault(row["id"], self.ticks)

    def _sell(self, code: str, units: int) -> None:
        ref = f"{len(self.orders) + 1}"
        self.orders.append((ref, code, units))
        self._book(ref, code, units)

    def _book(self, ref: str, code: str, units: int, **more: Any) -> None:
        order = make_order(ref, [make_line("1", code, units)], placed_at=self.now, **more)
        book(self.conn, self.pair.seller, order, now=self.now)

    def _cancel(self, number: int, _: Any) -> None:
        if number < len(self.orders):
            self._book(*self.orders[number], cancelled_at=self.now, version_at=self.now)

    def _refund(self, number: int, restock: Any) -> None:
        if number < len(self.orders):
            line = make_refund_line(units=1, restock=restock)
            refund = make_refund(self.orders[number][0], [line], ref=f"r{self.ticks}", at=self.now)
            book(self.conn, self.pair.seller, refund, now=self.now)

    def _desk(self, code: str, units: int) -> None:
        desk = Desk(self.conn, self.pair.seller, 0)
        if units > 0:
            self.documents.append(desk.receive({code: units}).document_id)
        else:
            self.documents.append(desk.take_back({code: -units}).document_id)

    def _undo(self, number: int, _: Any) -> None:
        if number < len(self.documents):
            Desk(self.conn, self.pair.seller, 0).undo(self.documents[number])

    def _plan(self, which: int, _: Any) -> None:
        world = self.worlds[which]
        publishing.withdraw_unsent(self.conn, world.shop_id, world.connection.id, self.now)
        writes = plan(self.conn, world, self.now)
        self.open_writes.setdefault(which, []).extend(writes)
        self.planned_at |= {write.write_id: self.ticks for write in writes}

    def _answer(self, which: int, outcome: Any) -> None:
        writes = self.open_writes.pop(which, [])
        shown = {"observed_units": 7} if outcome == "stale" else {}
        sent = settle(self.conn, self.worlds[which], writes, outcome, self.now, **shown)
        if outcome == "confirmed":
            self.confirmed |= dict.fromkeys(sent, self.worlds[which].connection.id)
        if outcome == "unknown":
            self.open_writes[which] = writes

    def _pause(self, which: int, is_on: bool) -> None:
        execute(
            self.conn,
            "update connections set state = %(state)s where id = %(id)s",
            state="paused" if is_on else "active",
            id=self.worlds[which].connection.id,
        )

    def _stop(self, _: Any, is_on: bool) -> None:
        if is_on:
            execute(
                self.conn,
                "insert into write_stops (shop_id, stopped_by, reason, stopped_at) values (%(shop)s, 'Ada', 'x', now())"
                " on conflict do nothing",
                shop=self.pair.shop_id,
            )
        else:
            execute(
                self.conn,
                "update write_stops set ended_by = 'Ada', ended_reason = 'y', ended_at = now()"
                " where shop_id = %(shop)s and ended_at is null",
                shop=self.pair.shop_id,
            )

    def _chase(self, _: Any, __: Any) -> None:
        chase(self.conn, self.pair, self.now)

    def _wait(self, minutes: int, _: Any) -> None:
        self.now += timedelta(minutes=minutes)

    def rest(self) -> None:
        """Everything runs again, and every channel takes what it is told."""
        for which in (0, 1):
            self.do("pause", which, False)
        self.do("stop", None, False)
        for _ in range(4):
            self.now += timedelta(hours=2)
            for which in (0, 1):
                # What nothing will explain any more was somebody's edit.
                execute(
                    self.conn,
                    "update listings set unseen_units = 0, unseen_since = null where shop_id = %(shop)s",
                    shop=self.pair.shop_id,
                )
                self.do("answer", which, "confirmed")
                self.do("plan", which, None)
                self.do("answer", which, "confirmed")
        self.do("chase", None, None)


def check(diary: Diary) -> None:
    for leg in legs(diary.conn, diary.pair):
        if leg["state"] == "confirmed" and leg["write_id"] is not None:
            assert diary.confirmed[leg["write_id"]] == leg["connection_id"], "the channel never confirmed that number"
            assert diary.planned_at[leg["write_id"]] > diary.written_at[leg["change_id"]], "a number from before"
        if leg["state"] == "stuck":
            assert leg["reason"] is not None
            assert leg["deadline_at"] <= diary.now
    found = invariants.check(diary.conn, diary.now, shop_id=diary.pair.shop_id)
    broken = {item.name: item.rows for item in found if item.rows}
    assert {name: rows for name, rows in broken.items() if name in {name for name, _, _ in CHANGE_CHECKS}} == {}


_NOT_DONE = "select count(*) from changes where shop_id = %(shop)s and done_at is null"


@settings(max_examples=30)
@given(acts=ACTS)
def test_every_change_ends_and_none_is_confirmed_before_the_channel_says_so(
    module_engine: Engine, acts: list[tuple[str, Any, Any]]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        diary = Diary(conn, make_pair(conn, stock={"MUG": 9, "CUP": 3}))
        for act in acts:
            diary.do(*act)
        check(diary)
        diary.rest()
        check(diary)
        assert {leg["state"] for leg in legs(conn, diary.pair)} <= {"confirmed", "refused", "compensated"}
        undone = fetch(
            conn, "select id from changes where shop_id = %(shop)s and done_at is null", shop=diary.pair.shop_id
        )
        assert list(undone) == []
        transaction.rollback()
