"""Writes to a channel that sells meanwhile, loses replies, refuses and answers late: it ends showing what it should.

The channel is a whole small one, in memory. Class A compares and sets, a call at a time, and remembers keys; class B
sets absolutely and applies later. Each step of a history is one thing that a process of ours or the channel does, so
that everything may happen between any two of them. Then the world comes to rest, and both sides must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core import invariants
from core.connections.operations import note_poll_complete
from core.db import fetch, scalar
from core.inventory import checking, lane_work, publishing
from core.inventory.checking import OpenWrite
from core.inventory.publishing import Lane
from core.inventory.rules import differs
from core.ledger.sealing import seal
from core.ports import ChannelOrder, Facts, LevelObservation, QuantityResult, QuantityWrite, WriteOutcome
from tests.factories import (
    ACTOR,
    NOW,
    PLACE,
    World,
    adjust_stock,
    apply,
    listing_of,
    make_facts,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)

CODES = ("MUG", "CUP")
FAULTS = ("none", "none", "none", "reply lost", "request lost", "refused", "unsent")


@dataclass
class Channel:
    """What the channel shows, and what it did of its own accord that we have not been told yet."""

    guarantee_class: str
    shown: dict[str, int]
    faults: list[str] = field(default_factory=list)
    remembered: dict[str, tuple[list[QuantityWrite], list[QuantityResult]]] = field(default_factory=dict)
    queued: list[QuantityWrite] = field(default_factory=list)
    received: list[int] = field(default_factory=list)

    def set_quantities(self, writes: Sequence[QuantityWrite], now: datetime) -> list[QuantityResult]:
        """One call; what goes wrong with it is the next of the faults."""
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "unsent":
            return [QuantityResult(write.write_id, "unsent", "NO_ROUTE") for write in writes]
        if fault == "request lost":
            return self._unknown(writes)
        results = self._take(list(writes), fault == "refused", now)
        return self._unknown(writes) if fault == "reply lost" else results

    def _take(self, writes: list[QuantityWrite], is_refused: bool, now: datetime) -> list[QuantityResult]:
        if self.guarantee_class == "B":
            assert not {write.write_id for write in writes} & set(self.received), "sent an absolute number twice"
            self.received.extend(write.write_id for write in writes)
            if is_refused:
                return [QuantityResult(write.write_id, "refused", "NO") for write in writes]
            self.queued.extend(writes)
            return [QuantityResult(write.write_id, "accepted", submission_ref=f"s{write.write_id}") for write in writes]
        key = writes[0].idempotency_key
        if key in self.remembered:
            first, results = self.remembered[key]
            again = [replace(write, is_doubtful=False) for write in writes]
            assert again == [replace(write, is_doubtful=False) for write in first], "another call under the same key"
            return results
        results = self._compare_and_set(writes, is_refused, now)
        self.remembered[key] = (writes, results)
        return results

    def _compare_and_set(self, writes: list[QuantityWrite], is_refused: bool, now: datetime) -> list[QuantityResult]:
        """All of a call or none of it."""
        if is_refused:
            return [QuantityResult(write.write_id, "refused", "NO") for write in writes]
        stale = [write for write in writes if self.shown[code_of(write)] != write.from_units]
        if stale:
            return [
                QuantityResult(write.write_id, "stale", observed_units=self.shown[code_of(write)], at=now)
                if write in stale
                else QuantityResult(write.write_id, "refused", "NEIGHBOUR_STALE")
                for write in writes
            ]
        for write in writes:
            self.shown[code_of(write)] = write.to_units
        return [QuantityResult(write.write_id, "confirmed", at=now) for write in writes]

    def apply_queued(self) -> None:
        """Class B gets round to its oldest submission."""
        if self.queued:
            write = self.queued.pop(0)
            self.shown[code_of(write)] = write.to_units

    def level(self, code: str, now: datetime) -> LevelObservation:
        return LevelObservation(f"item:{code}", PLACE, self.shown[code], now)

    @staticmethod
    def _unknown(writes: Sequence[QuantityWrite]) -> list[QuantityResult]:
        return [QuantityResult(write.write_id, "unknown", "TIMEOUT") for write in writes]


def code_of(write: QuantityWrite) -> str:
    return write.listing_ref.removeprefix("variant:")


Step = tuple[str, int, int]
OURS = ("adjust", "book", "hear", "plan", "mark", "send", "settle", "die", "withdraw", "check", "wait")
THEIRS = ("sell", "give back", "look", "apply", "fault")
STEPS = st.tuples(
    st.sampled_from([*OURS, *THEIRS, "plan", "mark", "send", "settle", "sell", "book"]),
    st.integers(0, 5),
    st.integers(1, 4),
)


class Play:
    """Us and the channel, one step at a time."""

    def __init__(
        self, conn: Connection, guarantee_class: str, writes_per_call: int, *, hears_late: bool = True
    ) -> None:
        self.conn = conn
        self.hears_late = hears_late
        self.now = NOW
        self.world: World = make_world(conn, dict.fromkeys(CODES, 10), guarantee_class=guarantee_class)
        self.lane = Lane(self.world.shop_id, self.world.connection.id, guarantee_class, writes_per_call)
        self.channel = Channel(guarantee_class, dict.fromkeys(CODES, 10))
        self.sold = 0
        self.orders: list[ChannelOrder] = []
        self.untold: list[Facts] = []
        self.levels: list[Facts] = []
        self.intents: dict[int, QuantityWrite] = {}
        self.planned: list[list[QuantityWrite]] = []
        self.marked: list[list[QuantityWrite]] = []
        self.answered: list[list[QuantityResult]] = []

    def step(self, name: str, which: int, units: int) -> None:
        self.now += timedelta(seconds=2)
        getattr(self, "do_" + name.replace(" ", "_"))(which, units)
        open_writes = fetch(
            self.conn,
            """
            select listing_id from listing_writes where shop_id = %(shop)s and outcome is null
            group by 1 having count(*) > 1
            """,
            shop=self.world.shop_id,
        )
        assert not open_writes

    # --- the channel, of its own accord

    def do_sell(self, which: int, units: int) -> None:
        code = CODES[which % 2]
        units = min(units, self.channel.shown[code])
        if units > 0:
            self.channel.shown[code] -= units
            self.sold += 1
            ref = str(self.sold)
            self.orders.append(make_order(ref, [make_line("1", code, units)], placed_at=self.now))
            self.untold.append(make_facts(self.orders[-1]))

    def do_give_back(self, which: int, _units: int) -> None:
        if self.orders:
            order = self.orders.pop(which % len(self.orders))
            line = order.lines[0]
            self.channel.shown[str(line.code)] += line.units
            refund = make_refund(order.ref, [make_refund_line("1", line.units, "cancel")], at=self.now)
            self.untold.append(make_facts(replace(order, version_at=self.now, refunds=(refund,))))

    def do_look(self, which: int, _units: int) -> None:
        self.levels.append(make_facts(self.channel.level(CODES[which % 2], self.now)))
        if not self.hears_late:
            self.do_hear(0, 0)

    def do_apply(self, _which: int, _units: int) -> None:
        self.channel.apply_queued()

    def do_fault(self, which: int, units: int) -> None:
        self.channel.faults.append(FAULTS[(which + units) % len(FAULTS)])

    # --- we

    def do_adjust(self, which: int, units: int) -> None:
        adjust_stock(self.conn, self.world, CODES[which % 2], units if which < 3 else -units)

    def do_book(self, which: int, _units: int) -> None:
        if self.untold:
            apply(self.conn, self.world, self.untold.pop(which % len(self.untold)), now=self.now)

    def do_hear(self, which: int, _units: int) -> None:
        if self.levels:
            apply(self.conn, self.world, self.levels.pop(which % len(self.levels)), now=self.now)

    def do_plan(self, _which: int, _units: int) -> None:
        lane_work.give_up_unseen(self.conn, self.world.shop_id, self.world.connection.id, self.now)
        calls = publishing.plan(self.conn, self.lane, 10, self.now)
        self.planned.extend(calls)
        self.intents.update({write.write_id: write for call in calls for write in call})

    def do_mark(self, which: int, _units: int) -> None:
        if self.planned:
            call = self.planned.pop(which % len(self.planned))
            ids = publishing.mark_sent(self.conn, self.world.shop_id, [write.write_id for write in call], self.now)
            self.marked.append([write for write in call if write.write_id in ids])

    def do_send(self, which: int, _units: int) -> None:
        if self.marked and (call := self.marked.pop(which % len(self.marked))):
            self.answered.append(self.channel.set_quantities(call, self.now))
            if not self.hears_late:
                self.do_settle(0, 0)

    def do_settle(self, which: int, _units: int) -> None:
        if self.answered:
            self.settle(self.answered.pop(which % len(self.answered)))

    def do_die(self, which: int, _units: int) -> None:
        """A sender is killed: what it held in its hands is gone."""
        for hands in (self.planned, self.marked, self.answered):
            if hands:
                hands.pop(which % len(hands))

    def do_withdraw(self, _which: int, _units: int) -> None:
        publishing.withdraw_unsent(self.conn, self.world.shop_id, self.world.connection.id, self.now)

    def do_wait(self, which: int, _units: int) -> None:
        self.now += timedelta(seconds=30 * which)

    def do_check(self, _which: int, _units: int) -> None:
        due = checking.due_checks(self.conn, self.lane, 10, self.now)
        checking.postpone_checks(
            self.conn, self.world.shop_id, due, timedelta(seconds=10), timedelta(minutes=15), self.now
        )
        self.settle(self.look_at(due))

    def look_at(self, due: Sequence[OpenWrite]) -> list[QuantityResult]:
        """Class A repeats the call with its key; class B reads back."""
        if self.lane.guarantee_class == "B":
            levels = [self.channel.level(code, self.now) for code in CODES]
            return checking.results_of_reading_back(due, levels)
        calls = checking.calls_of(self.conn, self.lane, due)
        return [result for call in calls.values() for result in self.channel.set_quantities(call, self.now)]

    def settle(self, results: Sequence[QuantityResult]) -> None:
        publishing.settle(self.conn, self.world.shop_id, results, timedelta(seconds=10), self.now)

    # --- the end

    def come_to_rest(self) -> None:
        """Nobody buys any more, faults are over: everything told is booked, and we go on until nothing is left."""
        self.channel.faults.clear()
        while self.channel.queued:
            self.channel.apply_queued()
        for facts in [*self.untold, *self.levels]:
            apply(self.conn, self.world, facts, now=self.now)
        self.untold, self.levels, self.planned, self.marked = [], [], [], []
        for results in self.answered:
            self.settle(results)
        self.answered = []
        if self.lane.guarantee_class == "A":
            self.now += timedelta(hours=2)
            self.do_withdraw(0, 0)
            self.do_check(0, 0)
            self.assert_known()
        for _ in range(12):
            self.now += timedelta(hours=2)
            self.round()
            if not self.is_busy():
                return
        raise AssertionError("it does not come to rest")

    def round(self) -> None:
        """What the schedules do in a while."""
        note_poll_complete(self.conn, self.world.shop_id, self.world.connection.id, self.now)
        levels = [self.channel.level(code, self.now) for code in CODES]
        apply(self.conn, self.world, make_facts(*levels), now=self.now)
        self.do_withdraw(0, 0)
        self.do_check(0, 0)
        self.end_doubts_by_hand()
        self.do_plan(0, 0)
        while self.planned:
            self.do_mark(0, 0)
            self.do_send(0, 0)
            self.do_apply(0, 0)
            while self.channel.queued:
                self.channel.apply_queued()
        while self.answered:
            self.do_settle(0, 0)

    def end_doubts_by_hand(self) -> None:
        """Class B cannot know what became of a request that was lost: a person looks."""
        if self.lane.guarantee_class != "B":
            return
        for row in fetch(
            self.conn,
            """
            select w.id, l.channel_code from listing_writes w join listings l on l.id = w.listing_id
            where w.shop_id = %(shop)s and w.outcome is null and w.sent_at is not null
            """,
            shop=self.world.shop_id,
        ):
            shown = self.channel.shown[row["channel_code"]]
            publishing.settle_by_hand(self.conn, self.world.shop_id, row["id"], shown, ACTOR, self.now)

    def has_open(self) -> bool:
        return scalar(
            self.conn,
            "select exists (select from listing_writes where shop_id = %(shop)s and outcome is null)",
            shop=self.world.shop_id,
        )

    def is_busy(self) -> bool:
        lane = (self.world.shop_id, self.world.connection.id)
        return self.has_open() or lane in lane_work.lanes_to_push(self.conn, self.now + timedelta(hours=2))

    def assert_known(self) -> None:
        """Told everything, we know what the channel shows without looking, and nothing is unexplained."""
        for code in CODES:
            listing = listing_of(self.conn, self.world, code)
            assert (listing["published_units"], listing["unseen_units"]) == (self.channel.shown[code], 0)

    def assert_in_step(self) -> None:
        for code in CODES:
            listing = listing_of(self.conn, self.world, code)
            shown = self.channel.shown[code]
            assert listing["published_units"] == shown
            assert listing["unseen_units"] == 0
            assert not differs(listing["desired_units"] - listing["short_units"], shown)
        seal(self.conn, self.world.shop_id, self.now)
        found = invariants.check(self.conn, self.now, shop_id=self.world.shop_id, settled=True)
        assert {item.name: item.rows for item in found if item.rows} == {}

    def assert_intents_kept(self) -> None:
        rows = fetch(
            self.conn,
            "select id, from_units, to_units, idempotency_key from listing_writes where shop_id = %(shop)s",
            shop=self.world.shop_id,
        )
        kept: dict[int, tuple[Any, ...]] = {
            row["id"]: (row["from_units"], row["to_units"], row["idempotency_key"]) for row in rows
        }
        assert kept == {
            write.write_id: (write.from_units, write.to_units, write.idempotency_key) for write in self.intents.values()
        }


@pytest.mark.parametrize(("guarantee_class", "writes_per_call"), [("A", 2), ("A", 1), ("B", 1)])
@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_happens_on_the_way_the_channel_ends_showing_what_it_should(
    module_engine: Engine, guarantee_class: str, writes_per_call: int, steps: list[Step]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        play = Play(conn, guarantee_class, writes_per_call)
        for step in steps:
            play.step(*step)
        play.come_to_rest()
        play.assert_in_step()
        play.assert_intents_kept()
        transaction.rollback()


@settings(max_examples=60)
@given(steps=st.lists(STEPS, min_size=6, max_size=40))
def test_who_hears_levels_and_answers_at_once_and_every_order_knows_what_the_channel_shows(
    module_engine: Engine, steps: list[Step]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        play = Play(conn, "A", 1, hears_late=False)
        for step in steps:
            play.step(*step)
        play.come_to_rest()
        play.assert_in_step()
        transaction.rollback()


OUTCOMES: list[WriteOutcome] = ["confirmed", "accepted", "refused", "stale", "unknown", "unsent"]


@settings(max_examples=40)
@given(said=st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 12) | st.none()), min_size=1, max_size=5))
def test_whatever_a_channel_answers_and_how_often_an_outcome_is_set_once(
    module_engine: Engine, said: list[tuple[WriteOutcome, int | None]]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        world = make_world(conn)
        adjust_stock(conn, world, "MUG", -4)
        lane = Lane(world.shop_id, world.connection.id, "A", 1)
        ((write,),) = publishing.plan(conn, lane, 9, NOW)
        publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
        first: str | None = None
        for outcome, observed in said:
            result = QuantityResult(write.write_id, outcome, observed_units=observed, at=NOW)
            publishing.settle(conn, world.shop_id, [result], timedelta(seconds=10), NOW)
            if first is None and outcome not in ("accepted", "unknown"):
                first = "refused" if outcome == "unsent" else outcome
            found = scalar(conn, "select outcome from listing_writes where id = %(id)s", id=write.write_id)
            assert found == first
        transaction.rollback()
