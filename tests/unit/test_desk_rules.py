"""What a line of a document does, and how arrivals are told off against what was expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.desk.rules import Effect, Expected, effect, missing, tell_off


@pytest.mark.parametrize(
    ("kind", "disposition", "expected"),
    [
        ("receipt", None, Effect("receipt", 3)),
        ("adjustment", None, Effect("adjustment", 3)),
        ("count", None, Effect("count", 3)),
        ("transfer", None, Effect("relocation", -3)),
        ("return", "restock", Effect("customer_return", 3)),
        ("return", "quarantine", Effect("customer_return", 3, 3)),
        ("return", "write_off", None),
        ("release", "restock", Effect("quarantine", 0, -3)),
        ("release", "write_off", Effect("write_off", -3, -3)),
        ("purchase_order", None, None),
    ],
)
def test_what_each_kind_does_and_that_its_negative_undoes_it(kind, disposition, expected) -> None:  # type: ignore[no-untyped-def]
    assert effect(kind, 3, disposition) == expected
    turned = effect(kind, -3, disposition)
    if expected is None:
        assert turned is None
    else:
        assert turned == Effect(expected.reason, -expected.delta_units, -expected.unavailable_delta_units)


def test_goods_of_our_own_arrive_as_a_relocation() -> None:
    assert effect("receipt", 3, None, is_of_transfer=True) == Effect("relocation", 3)


def test_a_count_that_found_nothing_moves_nothing() -> None:
    assert effect("count", 0, None) is None


def test_arrivals_are_told_off_line_by_line() -> None:
    expected = [Expected(1, 10, 5, received=2), Expected(2, 20, 4, dropped=1)]
    told = tell_off(expected, {10: 4, 30: 1})
    assert told.received == {1: 4}
    assert told.over == {10: 1, 30: 1}
    assert told.outstanding == {20: 3}


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=4),
    st.dictionaries(st.integers(0, 4), st.integers(1, 9), max_size=4),
)
def test_what_came_and_is_taken_back_leaves_the_same_outstanding(
    lines: list[tuple[int, int, int]], came: dict[int, int]
) -> None:
    before = [Expected(n + 1, n, units, received, dropped) for n, (units, received, dropped) in enumerate(lines)]
    told = tell_off(before, came)
    after = [
        Expected(e.ordinal, e.sku_id, e.units, e.received + told.received.get(e.ordinal, 0), e.dropped) for e in before
    ]
    assert told.outstanding == {e.sku_id: e.outstanding for e in after if e.outstanding}
    back = tell_off(after, {sku: -units for sku, units in came.items()})
    assert back.outstanding == {e.sku_id: e.outstanding for e in before if e.outstanding}


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [(5, 0, 0), (5, -2, 2), (-2, -3, 1), (-3, -3, 0), (-3, -1, 0), (0, 0, 0)],
)
def test_only_what_an_act_takes_is_missing_through_it(before: int, after: int, units: int) -> None:
    assert missing(before, after) == units
