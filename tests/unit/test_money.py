"""Money: rounding, and splitting that loses nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import exponent, line_total_minor, split, to_major, to_minor

WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(lambda weights: sum(weights) > 0)


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ("1.005", 101),
        ("1.0049", 100),
        ("-1.005", -101),
        ("-1.0049", -100),
        ("0.005", 1),
        ("-0.005", -1),
        ("0", 0),
        ("12.3", 1230),
    ],
)
def test_halves_are_rounded_away_from_zero(amount: str, minor: int) -> None:
    assert to_minor(Decimal(amount), "GBP") == minor


@pytest.mark.parametrize(("units", "minor"), [(1, 0), (4, 0), (5, 1), (14, 1), (15, 2), (60, 6), (1000, 100)])
def test_a_price_of_a_tenth_of_a_penny_counts_in_the_line(units: int, minor: int) -> None:
    assert line_total_minor(units, Decimal("0.001"), "GBP") == minor


@pytest.mark.parametrize(
    ("currency", "places", "minor"),
    [("JPY", 0, 13), ("KRW", 0, 13), ("KWD", 3, 12500), ("GBP", 2, 1250), ("XXX", 2, 1250)],
)
def test_the_minor_unit_is_the_currencys_own(currency: str, places: int, minor: int) -> None:
    assert exponent(currency) == places
    assert to_minor(Decimal("12.5"), currency) == minor


@given(st.integers(-(10**12), 10**12), st.sampled_from(["GBP", "JPY", "KWD"]))
def test_minor_units_survive_the_way_to_major_and_back(minor: int, currency: str) -> None:
    assert to_minor(to_major(minor, currency), currency) == minor


def test_a_remainder_goes_to_the_largest_fraction_first_then_to_the_earlier_share() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(10, [1, 2, 4]) == [1, 3, 6]
    assert split(-100, [1, 1, 1]) == [-33, -33, -34]
    assert split(5, [0, 1]) == [0, 5]


@given(st.integers(-(10**12), 10**12), WEIGHTS)
def test_shares_sum_to_the_total_and_miss_their_exact_part_by_less_than_one(total: int, weights: list[int]) -> None:
    shares = split(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    assert all(abs(share * whole - total * weight) < whole for share, weight in zip(shares, weights, strict=True))


@given(st.integers(-(10**12), 10**12), WEIGHTS)
def test_a_share_without_weight_gets_nothing(total: int, weights: list[int]) -> None:
    shares = split(total, [*weights, 0])
    assert shares[-1] == 0


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1, 3]])
def test_weights_that_cannot_be_shared_by_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(1, weights)
