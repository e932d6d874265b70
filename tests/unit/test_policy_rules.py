"""What may be typed as a channel rule, which rule applies, and how it reads."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.errors import BadInput
from core.inventory.rules import OFFER_ALL, ListingState, urgency
from core.policies.rules import (
    TERMS,
    BadRule,
    Policy,
    Scope,
    Terms,
    describe,
    describe_scope,
    read_typed,
    resolve,
)

ANY, AMAZON, SHOPIFY, MUG, CUP = None, 1, 2, 10, 11


def test_what_is_typed_is_read_and_what_is_empty_is_inherited() -> None:
    typed = read_typed(
        {"connection": " Amazon ", "category": "Candles", "sku": "", "share_percent": "20 %", "buffer_units": "2"}
    )
    assert (typed.connection, typed.category, typed.sku) == ("Amazon", "Candles", None)
    assert typed.terms == Terms(share_percent=Decimal(20), buffer_units=2)
    assert read_typed({"is_offered": "no", "share_percent": 12.5}).terms == Terms(
        is_offered=False, share_percent=Decimal("12.5")
    )


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("buffer_units", "-2", "buffer: -2 is below zero: write 0 to 1,000,000 units, or nothing to inherit it"),
        ("buffer_units", "−2", "buffer: −2 is below zero"),
        ("buffer_units", "two", "buffer: “two” is not a number: write digits only, such as 5"),
        ("buffer_units", "2.5", "buffer: 2.5 is not a whole number: write 2 or 3"),
        ("buffer_units", 2.5, "buffer: 2.5 is not a whole number"),
        ("buffer_units", "1,5", "buffer: “1,5” is not a number"),
        ("buffer_units", "1e3", "buffer: “1e3” is not a number"),
        ("buffer_units", "inf", "buffer: “inf” is not a number"),
        ("buffer_units", "٣", "buffer: “٣” is not a number"),
        ("floor_units", "1000001", "floor: 1,000,001 is more than 1,000,000, the most there may be"),
        ("safety_stock_units", "- 3", "safety stock: “- 3” is not a number"),
        ("cap_units", "-1", "cap: -1 is below zero"),
        ("share_percent", "120", "share: 120 percent is more than there is: write 0 to 100"),
        ("share_percent", "-1 %", "share: -1 % is below zero"),
        ("share_percent", "a fifth", "share: “a fifth” is not a number: write digits only, such as 5 or 12.5"),
        ("share_percent", "12.345", "share: 12.345 is finer than two decimals"),
        ("priority", "101", "priority: 101 is more than 100"),
        ("priority", "high", "priority: “high” is not a number"),
        ("is_offered", "perhaps", "offered: “perhaps” is neither yes nor no: write yes or no"),
        ("bufer_units", "2", "there is no column “bufer_units”: the columns are connection, category, sku, safety_st"),
        ("category", "x" * 201, "category: longer than 200 characters"),
    ],
)
def test_what_cannot_be_a_term_is_refused_with_what_where_and_how(field: str, given: object, said: str) -> None:
    with pytest.raises(BadRule) as refused:
        read_typed({field: given}, "line 3")
    assert str(refused.value).startswith(f"line 3: {said}")
    assert isinstance(refused.value, BadInput)


def test_every_problem_is_said_at_once_each_by_its_field() -> None:
    with pytest.raises(BadRule) as refused:
        read_typed({"buffer_units": "x", "share_percent": "101"})
    assert [problem.field for problem in refused.value.problems] == ["share_percent", "buffer_units"]


def test_a_floor_above_the_cap_and_a_category_beside_a_sku_are_refused() -> None:
    with pytest.raises(BadRule, match="floor: 5 is above the cap of 3: lower the floor or raise the cap"):
        read_typed({"floor_units": "5", "cap_units": "3"})
    with pytest.raises(BadRule, match="for a category or for a SKU, not both"):
        read_typed({"category": "Candles", "sku": "MUG", "buffer_units": "1"})
    with pytest.raises(BadRule):
        Scope(category="Candles", sku_id=1)


LADDER = [
    Policy(Scope(), Terms(buffer_units=1)),
    Policy(Scope(AMAZON), Terms(buffer_units=2)),
    Policy(Scope(category="Mugs"), Terms(buffer_units=3)),
    Policy(Scope(AMAZON, "Mugs"), Terms(buffer_units=4)),
    Policy(Scope(sku_id=MUG), Terms(buffer_units=5)),
    Policy(Scope(AMAZON, sku_id=MUG), Terms(buffer_units=6)),
]


@pytest.mark.parametrize("known", range(7))
def test_the_most_specific_rule_wins(known: int) -> None:
    found = resolve(LADDER[:known], AMAZON, "Mugs", MUG)
    assert found.rule.buffer_units == known
    assert found.sources["buffer_units"] == (LADDER[known - 1] if known else None)
    assert [item.scope.breadth for item in LADDER] == [0, 1, 2, 3, 4, 5]


def test_each_term_is_inherited_by_itself_and_says_where_it_is_from() -> None:
    shop = Policy(Scope(), Terms(safety_stock_units=3, share_percent=Decimal(50)), 1)
    sku = Policy(Scope(sku_id=MUG), Terms(share_percent=Decimal(80), is_offered=False), 2)
    other = Policy(Scope(SHOPIFY, sku_id=MUG), Terms(cap_units=1), 3)
    found = resolve([sku, other, shop], AMAZON, None, MUG)
    assert (found.rule.safety_stock_units, found.rule.share_percent, found.rule.is_offered) == (3, 80, False)
    assert found.rule.cap_units is None
    assert {name: item.id for name, item in found.sources.items() if item} == {
        "safety_stock_units": 1,
        "share_percent": 2,
        "is_offered": 2,
    }
    assert resolve([sku], AMAZON, None, CUP).rule == OFFER_ALL


def test_where_a_floor_and_a_cap_of_different_rules_cross_the_cap_wins() -> None:
    found = resolve(
        [Policy(Scope(), Terms(floor_units=9)), Policy(Scope(AMAZON), Terms(cap_units=4))], AMAZON, None, MUG
    )
    assert (found.rule.floor_units, found.rule.cap_units, found.is_clipped) == (4, 4, True)


def test_a_rule_reads_as_a_sentence() -> None:
    assert describe(Terms(share_percent=Decimal("20.00"), buffer_units=2)) == "at most 20 % of the pool, buffer 2"
    assert describe(Terms(share_percent=Decimal("12.50"), cap_units=1000)) == "at most 12.5 % of the pool, cap 1,000"
    assert describe(Terms(is_offered=False)) == "not offered"
    assert describe(Terms()) == "inherits everything"
    every = dict.fromkeys(TERMS, 1) | {"share_percent": Decimal(100), "is_offered": True, "mode": "adaptive"}
    assert describe(Terms(**every)) == (  # type: ignore[arg-type]
        "offered, safety stock 1, at most 100 % of the pool, buffer 1, floor 1, cap 1, priority 1, adaptive,"
        " escrow from 1 available"
    )
    assert describe_scope("Amazon", "Candles", None) == "Amazon · category Candles"
    assert describe_scope(None, None, "MUG") == "Every channel · SKU MUG"
    assert describe_scope(None, None, None) == "Every channel · everything"


def test_a_higher_priority_is_raised_first_and_lowered_last() -> None:
    def state(listing_id: int, wanted: int, shown: int, priority: int) -> ListingState:
        return ListingState(listing_id, "A", wanted, shown, priority=priority)

    states = [
        state(1, 9, 3, 0),
        state(2, 9, 3, 5),
        state(3, 2, 3, 5),
        state(4, 2, 3, 0),
        state(5, 0, 3, 5),
        state(6, 0, 3, 0),
    ]
    assert [item.listing_id for item in sorted(states, key=urgency)] == [6, 5, 4, 3, 2, 1]
