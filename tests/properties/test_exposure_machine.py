"""Whatever channels and we do, in any order and with crashes in between: what is exposed is never less than it is.

The real operations on real Postgres, driven one step at a time against channels in memory (`tests.exposure_world`).
After each step exposure holds from below and from above, and in escrow nothing is ever sold that is not there; at the
end the world comes to rest with every unit on show that rules allow. EXPOSURE_EXAMPLES=2000 looks longer.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.inventory.planner import Mode
from tests.exposure_channels import OFFSETS
from tests.exposure_world import Play

Step = tuple[str, int, int]
Clocks = list[tuple[float, float]]
"""Of each channel, how many seconds that of its orders and that of its levels are off."""

SHOPPERS = ("sell", "sell", "sell", "raise", "cancel", "put back")
CHANNELS = ("look", "apply", "fault")
ARRIVALS = ("hear", "hear", "hear again", "lose", "poison", "mend", "drain", "drain", "poll", "polled")
SENDERS = ("plan", "plan", "mark", "mark", "send", "send", "settle", "settle", "follow", "die", "withdraw", "check")
SWEEPS = ("replan", "end doubts", "advance", "give up", "hand", "lines", "wait")
WHOLE = ("push", "push", "push", "push", "tell", "tell", "sweep", "sweep")
DESK = ("receive", "promise", "release", "expire", "cap", "offer")
USUAL = (*SHOPPERS, *CHANNELS, *ARRIVALS, *SENDERS, *SWEEPS, *WHOLE, *DESK)
SWITCHES = ("stop", "stop", "resume writes", "switch", "switch")
LOSS = ("miss", "miss")
"""After these nobody promises that nothing is oversold."""

EXAMPLES = int(os.environ.get("EXPOSURE_EXAMPLES", "0"))


def steps_of(*names: str) -> st.SearchStrategy[list[Step]]:
    one = st.tuples(st.sampled_from(names), st.integers(0, 5), st.integers(1, 4))
    return st.lists(one, min_size=8, max_size=60)


clocks = st.lists(st.tuples(st.sampled_from(OFFSETS), st.sampled_from(OFFSETS)), min_size=3, max_size=3)


def play(
    engine: Engine,
    classes: str,
    steps: list[Step],
    off: Clocks | None = None,
    **more: Any,
) -> None:
    """Play a history in a shop of its own, let it come to rest, and leave no trace."""
    with engine.connect() as conn, conn.begin() as transaction:
        game = Play(conn, classes, **more)
        for channel, (orders_off, levels_off) in zip(game.channels, off or (), strict=False):
            channel.orders_off, channel.levels_off = orders_off, levels_off
        for step in steps:
            game.step(*step)
        game.come_to_rest()
        transaction.rollback()


@pytest.mark.parametrize("classes", ["AA", "AB", "AAB"])
@settings(max_examples=EXAMPLES or 8)
@given(steps=steps_of(*USUAL), off=clocks)
def test_in_escrow_nothing_is_sold_that_is_not_there(
    module_engine: Engine, classes: str, steps: list[Step], off: Clocks
) -> None:
    play(module_engine, classes, steps, off)


@pytest.mark.parametrize("mode", ["escrow", "adaptive"])
@settings(max_examples=EXAMPLES or 6)
@given(steps=steps_of(*USUAL, *SWITCHES), off=clocks)
def test_nor_where_writes_are_stopped_channels_paused_or_only_compared(
    module_engine: Engine, mode: Mode, steps: list[Step], off: Clocks
) -> None:
    play(module_engine, "AAB", steps, off, mode=mode)


@settings(max_examples=EXAMPLES or 6)
@given(steps=steps_of(*USUAL), off=clocks)
def test_nor_where_bundles_share_what_they_are_made_of(module_engine: Engine, steps: list[Step], off: Clocks) -> None:
    play(module_engine, "AAB", steps, off, has_bundle=True, units=9)


@pytest.mark.parametrize("mode", ["pooled", "adaptive"])
@settings(max_examples=EXAMPLES or 6)
@given(steps=steps_of(*USUAL, *LOSS, "escrow"), off=clocks)
def test_in_no_mode_less_is_exposed_than_can_be_sold(
    module_engine: Engine, mode: Mode, steps: list[Step], off: Clocks
) -> None:
    play(module_engine, "AAB", steps, off, mode=mode)


@pytest.mark.parametrize("classes", ["AA", "AB"])
@settings(max_examples=EXAMPLES or 6)
@given(steps=steps_of(*USUAL, *LOSS, "edit", "edit"), off=clocks)
def test_a_number_that_somebody_typed_in_is_exposed_once_it_is_seen(
    module_engine: Engine, classes: str, steps: list[Step], off: Clocks
) -> None:
    play(module_engine, classes, steps, off)


# --- histories that went wrong once -------------------------------------------------------------------------------


def test_what_a_person_sees_says_not_whether_a_lowering_landed(module_engine: Engine) -> None:
    """6 to 5 is refused as stale, for one was sold; the person sees 5 before that answer is settled."""
    steps = [("cap", 1), ("sweep", 0), ("plan", 0), ("sell", 0), ("mark", 0), ("send", 0), ("hand", 0)]
    play(module_engine, "AA", [(name, which, 1) for name, which in steps])


def test_nor_whether_an_absolute_raise_sold_some_of_it(module_engine: Engine) -> None:
    play(module_engine, "AB", [("receive", 0, 3), ("push", 1, 1), ("apply", 1, 1), ("sell", 1, 1), ("hand", 0, 1)])


def test_what_lies_below_zero_is_no_part_of_a_raise(module_engine: Engine) -> None:
    """A number typed in sells before anybody has seen it: what we know goes below zero, and is set right."""
    play(module_engine, "AA", [("edit", 5, 1), ("sell", 1, 1), ("tell", 1, 1), ("push", 1, 1)])


def test_our_own_number_heard_before_its_answer_is_not_taken_off_twice(module_engine: Engine) -> None:
    play(module_engine, "AA", [("plan", 0, 1), ("mark", 0, 1), ("send", 0, 1), ("tell", 0, 1), ("settle", 0, 1)])


APART: Clocks = [(-2.0, 2.0), (0.0, 0.0)]
"""A restock is dated before a reading that was taken before it; the other way round a sale is in no reading."""


@pytest.mark.parametrize("heard", [("tell", "tell"), ("wait", "tell")])
def test_a_restock_that_clocks_put_before_a_reading_is_not_lost(module_engine: Engine, heard: tuple[str, str]) -> None:
    steps = ["sell", "tell", "wait", "look", heard[0], "cancel", heard[1], "wait", "wait", "sweep"]
    waits = {"wait": 2, "sell": 0}
    play(module_engine, "AA", [(name, waits.get(name, 0), 2 if name == "sell" else 1) for name in steps], APART)


def test_a_sale_that_clocks_put_after_its_reading_is_not_taken_off_twice(module_engine: Engine) -> None:
    steps = ["wait", "receive", "sell", "look", "hear last", "drain", "plan", "tell", "mark", "send", "settle"]
    which = {"wait": 1, "hear last": 1}
    history = [("hear" if name == "hear last" else name, which.get(name, 0), 3) for name in steps]
    play(module_engine, "AA", [*history, ("wait", 3, 1), ("sweep", 0, 1)], [(2.0, -2.0), (0.0, 0.0)])


def test_what_no_other_channel_may_show_goes_to_a_slow_one_too(module_engine: Engine) -> None:
    play(module_engine, "AB", [("sell", 0, 4), ("cap", 0, 1)])


def test_scarce_stock_does_not_go_round_in_circles(module_engine: Engine) -> None:
    play(module_engine, "AAB", [("miss", 0, 3)], mode="adaptive")


@pytest.mark.parametrize("heard", ["tell", "look"])
def test_what_an_edit_adds_is_sold_and_what_it_takes_off_is_back(module_engine: Engine, heard: str) -> None:
    """Told in turn or at once, and dated by a version that may be older or newer than a reading."""
    steps = [("sell", 0, 2), ("tell", 0, 1), ("raise", 0, 2), (heard, 0, 1), ("tell", 0, 1)]
    more = [("cancel", 1, 4), (heard, 0, 1), ("tell", 0, 1), ("raise", 0, 1), ("sweep", 0, 1)]
    play(module_engine, "AA", [*steps, *more])


def test_what_is_read_before_a_write_is_known_to_have_landed_is_not_the_channels_own_doing(
    module_engine: Engine,
) -> None:
    """A level that comes by another road shows the number just written: counted again, each write was higher."""
    names = ("check", "mark", "drain", "release", "end doubts", "advance", "tell", "drain", "end doubts")
    steps = [(name, 2, 2) for name in names]
    play(module_engine, "AAB", steps, [(-2.0, 2.0), (0.0, 2.0), (2.0, 2.0)], mode="pooled")
