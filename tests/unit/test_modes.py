"""How a pool is shared and why, in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.inventory.escrow import ALWAYS
from core.inventory.modes import PoolMode, Unwatched, explain_mode, leaves_above
from core.inventory.planner import is_scarce

SINCE = datetime(2026, 11, 27, 14, 2, tzinfo=UTC)


def said(mode: Any, available: int, exposed: int, **more: Any) -> str:
    return explain_mode(PoolMode("MUG", "Main", mode, available, exposed, **more), lambda at: f"{at:%H:%M}")


def test_adaptive_in_escrow_says_since_when_why_and_when_it_ends() -> None:
    pace = {"units_per_hour": 6.0, "doubt_seconds": 90.0}
    assert said("adaptive", 4, 4, is_escrow=True, escrow_since=SINCE, line_units=9, **pace) == (
        "Adaptive: in escrow since 14:02, because 4 are available and channels could sell 9 before we know"
        " (6 an hour, 90 s in doubt); pooled again above 13."
    )
    assert said("adaptive", 11, 11, is_escrow=True, line_units=9) == (
        "Adaptive: in escrow, because 11 are available and that is not above 13 yet; pooled again above 13."
    )
    assert said("adaptive", 14, 9, is_escrow=True, line_units=9).endswith("not heard from; pooled again once it is.")


@pytest.mark.parametrize("line", [0, 1, 2, 3, 9, 12, 13, 100])
def test_the_number_at_which_it_ends_is_the_planners(line: int) -> None:
    above = leaves_above(line)
    assert is_scarce(above, line, was_scarce=True)
    assert not is_scarce(above + 1, line, was_scarce=True)


def test_adaptive_that_is_pooled_says_where_its_line_is_and_where_that_is_from() -> None:
    assert said("adaptive", 24, 30, line_units=8, policy_units=8) == (
        "Adaptive: pooled, because 24 are available, more than 8: its rule switches at 8."
    )
    assert said("adaptive", 24, 30, line_units=3, units_per_hour=0.5, doubt_seconds=4.0) == (
        "Adaptive: pooled, because 24 are available, more than 3: 3 is the lowest line there is"
        " (0.5 an hour, 4 s in doubt)."
    )
    assert said("adaptive", 1, 3, line_units=3, policy_units=3) == (
        "Adaptive: goes into escrow with the next plan, because 1 is available: its rule switches at 3."
    )
    assert "not worked out yet" in said("adaptive", 24, 30)


def test_pooled_says_what_it_risks() -> None:
    assert said("pooled", 24, 35) == (
        "Pooled: no unit is set apart for one channel, so channels could sell 35 before we know, 11 more than the 24"
        " available."
    )
    assert "are within the 40 available." in said("pooled", 40, 9)
    assert said("pooled", -3, 2) == (
        "Pooled: no unit is set apart for one channel, and none is left, though channels could still sell 2."
    )
    assert said("pooled", 9, 9, is_escrow=True) == "Pooled by its rule, and still in escrow until the next plan."


def test_escrow_says_that_nothing_can_be_oversold_or_what_is_being_taken_back() -> None:
    assert said("escrow", 7, 7, is_escrow=True, escrow_since=SINCE, line_units=ALWAYS) == (
        "Escrow since 14:02: each unit is shown on one channel only, so the 7 that channels could sell before we know"
        " are never more than the 7 available."
    )
    assert "9 of 7 available, so they are lowered and none is raised." in said("escrow", 7, 9, is_escrow=True)
    assert said("escrow", 7, 9) == "Escrow by its rule, from the next plan on."


def test_a_channel_whose_orders_are_not_known_is_named_and_it_is_still_one_sentence() -> None:
    unwatched = [Unwatched("Amazon UK", False), Unwatched("Shopify", True, compares=True)]
    shared = said("pooled", 24, 35, unwatched=unwatched)
    assert shared.endswith(
        "; orders of Amazon UK are not read, so what it sells is not known;"
        " orders of Shopify have not been read through yet, so what it sells is not known."
    )
    assert shared.count(".") == 1
    assert said("escrow", 7, 7, is_escrow=True, unwatched=unwatched).endswith(
        "; orders of Amazon UK are not read, so it is kept at 0;"
        " orders of Shopify have not been read through yet, so what it sells is not known."
    )
