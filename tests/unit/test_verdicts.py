"""Which setting would have prevented an oversell."""

from __future__ import annotations

from typing import Any

import pytest

from core.inventory.verdicts import Case, Seat, judge, went_below


def seat(name: str, exposed: int | None, *, sold: bool = False) -> Seat:
    return Seat(1, name, "A", 1, exposed, sold)


def case(**more: Any) -> Case:
    values = {
        "before_units": 2,
        "after_units": -3,
        "sold_units": 5,
        "seller": "Amazon",
        "movement": None,
        "seats": [seat("Shopify", 2), seat("Amazon", 7, sold=True)],
        "edited_units": 0,
        "is_watched": True,
        "mode": "pooled",
        "was_escrow": False,
        "line_units": None,
        **more,
    }
    return Case(**values)


def test_a_pool_shared_by_all_would_have_been_saved_by_escrow_or_by_a_line_at_what_channels_were_told() -> None:
    found = judge(case())
    assert (found.cause, found.line_units) == ("pooled", 7)
    assert found.because == "The pool was shared by all: 2 channels could sell 9 together, and 2 were there."
    assert "escrow would have prevented it" in found.prevented_by.lower()


def test_a_line_that_was_too_low_is_named_and_a_higher_one_given() -> None:
    found = judge(case(mode="adaptive", was_escrow=True, line_units=3))
    assert (found.cause, found.line_units) == ("line_too_low", 7)
    assert "higher than its line of 3: 7 or more" in found.prevented_by
    assert judge(case(mode="adaptive", line_units=8)).line_units == 9, "always above the line that did not suffice"


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"seller": None, "movement": "count", "sold_units": None}, "not_a_sale"),
        ({"seller": None, "sold_units": None}, "unknown"),
        ({"is_watched": False}, "unwatched"),
        ({"edited_units": 4}, "edit"),
        ({"seats": [seat("Amazon", 3, sold=True)]}, "sold_at_zero"),
        ({"was_escrow": True, "seats": [seat("Amazon", 5, sold=True)], "before_units": 5}, "unexplained"),
    ],
)  # fmt: skip
def test_what_no_mode_would_have_prevented_says_so(more: dict[str, Any], cause: str) -> None:
    found = judge(case(**more))
    assert (found.cause, found.line_units) == (cause, None)
    assert "Escrow would have" not in found.prevented_by


def test_what_is_forgotten_is_not_taken_as_nothing() -> None:
    found = judge(case(seats=[seat("Shopify", None), seat("Amazon", None, sold=True)]))
    assert found.cause == "pooled"
    assert "channels could sell more than the 2 that were there" in found.because


@pytest.mark.parametrize(
    ("after", "newest_first", "place"),
    [(-3, [5], 0), (-3, [1, 1, 4, 9], 2), (-1, [1, 7], 0), (-2, [1, 1], 1), (-9, [1, 1], 1), (-1, [], 0)],
)
def test_of_orders_booked_at_once_the_one_that_went_below(after: int, newest_first: list[int], place: int) -> None:
    assert went_below(after, newest_first) == place
