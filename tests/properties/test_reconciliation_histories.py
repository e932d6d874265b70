"""Whatever channels, people and we do, with comparisons in between: exposure never falls below the truth, and what is
healed in the end is what the planner wants.

The world of `tests.exposure_world`, which holds exposure against the truth after each step; comparisons read, and are
compared and believed, at any later moment; flagged or corrected, by turns. EXPOSURE_EXAMPLES=2000 looks longer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import Engine

from core.clock import CLOCK_MARGIN
from core.db import fetch
from core.inventory.planner import Mode
from core.reconciliation import comparing, deciding, operations, queries, runs
from core.reconciliation.rules import CORRECTABLE, Policy
from core.reconciliation.runs import Observed, Reading
from core.runs import operations as sync_runs
from tests.exposure_channels import Place
from tests.exposure_world import Play
from tests.factories import ACTOR
from tests.properties.test_exposure_machine import EXAMPLES, LOSS, USUAL, Clocks, Step, clocks, steps_of

COMPARISONS = ("read", "read", "compare", "compare", "look again", "look again", "trust", "ask")
EVERYTHING = Policy(frozenset(CORRECTABLE), corrections_max=100, zeroed_max=1_000_000, zeroed_percent=100)


class ComparedPlay(Play):
    """Us and the channels, and comparisons between."""

    def __init__(self, *given: Any, **more: Any) -> None:
        self.readings: dict[int, Reading] = {}
        self.lowered: list[tuple[Place, datetime, int]] = []
        super().__init__(*given, **more)

    def do_edit(self, which: int, units: int) -> None:
        place = self.place(which)
        before = self.channels[place[0]].shown[place[1]]
        super().do_edit(which, units)
        self.lowered.append((place, self.now, max(0, before - self.channels[place[0]].shown[place[1]])))

    def near(self, place: Place, at: datetime) -> int:
        """Besides, what somebody took off after a reading stays exposed until it is read again."""
        taken = sum(units for where, when, units in self.lowered if where == place and when > at - CLOCK_MARGIN)
        return super().near(place, at) + taken

    def do_read(self, which: int, _units: int) -> None:
        channel = self.channel(which)
        if channel.number in self.readings:
            return
        connection_id = channel.world.connection.id
        asked = operations.request(self.conn, self.shop_id, connection_id, "stock", ACTOR, self.now)
        sync_runs.start_sync(self.conn, self.shop_id, asked.sync_run_id, self.now)
        reading = runs.begin(self.conn, self.shop_id, asked.sync_run_id, self.now)
        assert reading is not None
        runs.take_road(self.conn, reading, "levels")
        page = [Observed(channel.level(code, self.now)) for code in self.each]
        runs.stage(self.conn, reading, page, "1")
        assert runs.have_read(self.conn, reading, self.now)
        self.readings[channel.number] = reading

    def do_compare(self, which: int, _units: int) -> None:
        reading = self.readings.pop(self.channel(which).number, None)
        if reading is None:
            return
        comparing.find_faults(self.conn, reading, self.now)
        comparing.compare(self.conn, reading, self.now)
        after = 0
        while (page := comparing.believe(self.conn, reading, after, self.now)) is not None:
            after = page[0]
        runs.finish(self.conn, reading, self.now)
        sync_runs.finish_sync(self.conn, self.shop_id, reading.sync_run_id, self.now)
        # Whoever typed it: what is believed to be shown can be sold.
        for (number, code), row in self.rows().items():
            if number == which % len(self.channels):
                assert row["exposed_units"] >= row["published_units"], self.describe((number, code), row)

    def do_look_again(self, which: int, _units: int) -> None:
        connection_id = self.channel(which).world.connection.id
        deciding.settle(self.conn, self.shop_id, connection_id, self.now)
        deciding.decide_open(self.conn, self.shop_id, connection_id, self.now)

    def do_trust(self, which: int, _units: int) -> None:
        self.say_policy(which, EVERYTHING)

    def do_ask(self, which: int, _units: int) -> None:
        self.say_policy(which, Policy())

    def say_policy(self, which: int, policy: Policy) -> None:
        connection_id = self.channel(which).world.connection.id
        operations.set_policy(self.conn, self.shop_id, connection_id, policy, ACTOR, self.now)

    def come_to_rest(self) -> None:
        for number in range(len(self.channels)):
            self.do_compare(number, 0)
            self.say_policy(number, EVERYTHING)
        super().come_to_rest()
        for number in range(len(self.channels)):
            self.do_look_again(number, 0)
        assert list(queries.discrepancies(self.conn, self.shop_id)) == []
        self.assert_at_rest()
        self.assert_as_wanted()

    def round(self) -> None:
        super().round()
        for number in range(len(self.channels)):
            self.do_look_again(number, 0)

    def assert_as_wanted(self) -> None:
        """What was healed shows what the planner wants."""
        wrong = fetch(
            self.conn,
            """
            select d.id, l.published_units, l.desired_units from discrepancies d
            join listings l on l.shop_id = d.shop_id and l.id = d.listing_id
            where d.shop_id = %(shop)s and d.resolved_because = 'corrected'
                and (l.unseen_units <> 0
                    or listing_differs(l.desired_units - l.short_units, l.published_units))
            """,
            shop=self.shop_id,
        )
        assert list(wrong) == []


def play(engine: Engine, classes: str, steps: list[Step], off: Clocks | None = None, **more: Any) -> None:
    with engine.connect() as conn, conn.begin() as transaction:
        game = ComparedPlay(conn, classes, **more)
        for channel, (orders_off, levels_off) in zip(game.channels, off or (), strict=False):
            channel.orders_off, channel.levels_off = orders_off, levels_off
        for step in steps:
            game.step(*step)
        game.come_to_rest()
        transaction.rollback()


@pytest.mark.parametrize(("classes", "mode"), [("AB", "escrow"), ("AAB", "adaptive"), ("AB", "pooled")])
@settings(max_examples=EXAMPLES or 4)
@given(steps=steps_of(*USUAL, *LOSS, "edit", "edit", *COMPARISONS), off=clocks)
def test_what_is_compared_is_exposed_and_what_is_healed_is_as_wanted(
    module_engine: Engine, classes: str, mode: Mode, steps: list[Step], off: Clocks
) -> None:
    play(module_engine, classes, steps, off, mode=mode)


@settings(max_examples=EXAMPLES or 4)
@given(steps=steps_of(*USUAL, *COMPARISONS), off=clocks)
def test_and_in_escrow_nothing_is_sold_that_is_not_there(module_engine: Engine, steps: list[Step], off: Clocks) -> None:
    play(module_engine, "AAB", steps, off)


def test_a_number_typed_lower_after_it_was_read_is_exposed_until_it_is_read_again(module_engine: Engine) -> None:
    steps = [("edit", 1, 4), ("read", 1, 1), ("edit", 1, 1), ("compare", 1, 1), ("wait", 5, 1), ("sweep", 1, 1)]
    play(module_engine, "AAB", steps, mode="adaptive")


@pytest.mark.parametrize("mode", ["escrow", "adaptive", "pooled"])
def test_a_number_typed_and_compared_is_exposed_and_corrected(module_engine: Engine, mode: Mode) -> None:
    names = ("edit", "read", "compare", "wait", "sweep", "look again", "push", "trust", "wait", "give up", "push")
    play(module_engine, "AB", [(name, 5 if name == "wait" else 0, 4) for name in names], mode=mode)
