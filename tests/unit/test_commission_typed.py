"""What people type becomes a rule or is refused field by field; and a rule reads, and types, as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.commissions.directory import Directory, Party
from core.commissions.rules import Assignment, Rule
from core.commissions.sentences import say_assignment, say_rule, typed_assignment, typed_rule
from core.commissions.typed import BadRule, read_assignment, read_rule

NAMES = Directory(
    "Europe/London",
    "GBP",
    {
        1: Party(1, "brand_shop", "OAK", "Oak & Ash"),
        2: Party(2, "creator", "MAYA", "Maya"),
        3: Party(3, "referrer", "NEST", "Nest"),
        4: Party(4, "brand_shop", "GONE", "Gone & Co", datetime(2026, 1, 1, tzinfo=UTC)),
    },
    {7: "Shopify", 8: "Amazon"},
    frozenset({"Lamps", "Kitchen"}),
    {11: ("MUG-1", "Kitchen")},
    {"mug-1": ("MUG-1",)},
)


def rule(**typed: str) -> Rule:
    return read_rule({"kind": "platform fee", "fee": "12 %"} | typed, NAMES)


def problems(**typed: str) -> dict[str, str]:
    with pytest.raises(BadRule) as refused:
        rule(**typed)
    return {problem.field: problem.what for problem in refused.value.problems}


def test_the_sentence_of_the_contract() -> None:
    made = rule(seller="OAK", category="Lamps", on_refund="kept", valid_from="1 Dec 2026")
    assert made == Rule(
        0,
        "platform_fee",
        "item",
        "percentage",
        seller_id=1,
        category="Lamps",
        rate_ppm=120_000,
        on_refund="kept",
        tax_to="authority",
        valid_from=datetime(2026, 12, 1, tzinfo=UTC),
    )
    assert say_rule(made, NAMES) == (
        "Brand shop Oak & Ash pays 12 % of items of category Lamps, kept on refund, from 1 Dec 2026"
    )


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"fee": "0.30 GBP per unit"}, "Every seller pays 0.30 GBP for each unit"),
        ({"fee": "0.30", "currency": "gbp"}, "Every seller pays 0.30 GBP for each unit"),
        (
            {"fee": "0: 12 %, 10,000: 10 %, 50000: 8.5 %", "currency": "GBP"},
            "Every seller pays 12 % of items (10 % from 10,000 GBP, 8.5 % from 50,000 GBP a month)",
        ),
        ({"base": "carriage", "fee": "5%"}, "Every seller pays 5 % of carriage"),
        (
            {"kind": "creator commission", "payee": "MAYA", "seller": "OAK", "borne_by": "platform"},
            "Creator Maya earns 12 % of items sold by Oak & Ash, paid by the platform",
        ),
        (
            {"kind": "referrer_fee", "sku": "MUG-1"},
            "Every referrer earns 12 % of items of SKU MUG-1, paid by the seller",
        ),
        ({"kind": "channel fee", "connection": "Amazon"}, "Amazon keeps 12 % of items, paid by the seller"),
        ({"valid_to": "2026-12-31"}, "Every seller pays 12 % of items, until 31 Dec 2026"),
        ({"tax_to": "seller", "tax_basis": "with taxes"},
         "Every seller pays 12 % of items, taxes included, taxes go to the seller"),
    ],
)  # fmt: skip
def test_what_is_typed_reads_as_a_sentence_and_types_the_same_again(typed: dict[str, str], says: str) -> None:
    made = rule(**typed)
    assert say_rule(made, NAMES) == says
    assert read_rule(typed_rule(made, NAMES), NAMES) == made


def test_days_are_the_shops_and_a_last_day_counts_in_full() -> None:
    made = rule(valid_from="2027-03-28", valid_to="2027-03-28")
    # The day on which clocks go forward has 23 hours.
    assert (made.valid_from, made.valid_to) == (
        datetime(2027, 3, 28, tzinfo=UTC),
        datetime(2027, 3, 28, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("typed", "field", "says"),
    [
        ({"kind": ""}, "kind", "is missing: write platform fee, creator commission, referrer fee or channel fee"),
        ({"fee": ""}, "fee", "is missing: write 12.5 %"),
        ({"fee": "12"}, "fee", "could be percent or money: write 12 % or 12 GBP per unit"),
        ({"fee": "101 %"}, "fee", "101 % is not from 0 to 100 %"),
        ({"fee": "1.00001 %"}, "fee", "finer than four decimals"),
        ({"fee": "0.305 GBP"}, "fee", "finer than GBP has decimals"),
        ({"fee": "-1 GBP"}, "fee", "below zero"),
        ({"fee": "1e3 %"}, "fee", "“1e3” is not a number"),
        ({"fee": "0.30 GBP", "currency": "EUR"}, "fee", "is in GBP, while the currency says EUR"),
        ({"fee": "0: 12 %, 100: 10 %"}, "fee", "choose the currency"),
        ({"fee": "5: 12 %", "currency": "GBP"}, "fee", "the first tier begins at 0"),
        ({"fee": "0: 12 %, 100: 10 %, 50: 8 %", "currency": "GBP"}, "fee", "put them in order"),
        ({"fee": "0: 12 %, 10 %", "currency": "GBP"}, "fee", "“10” is no tier"),
        ({"currency": "pounds"}, "currency", "“pounds” is no currency"),
        ({"seller": "OKA"}, "seller", "there is no party “OKA” (its code, as under Parties). Did you mean OAK"),
        ({"seller": "MAYA"}, "seller", "Maya is a creator, and who sells is a brand shop, affiliate retailer or"),
        ({"seller": "GONE"}, "seller", "Gone & Co has ended"),
        ({"payee": "MAYA"}, "payee", "is for creator commissions and referrer fees only"),
        ({"connection": "shopify"}, "connection", "Did you mean Shopify?"),
        ({"category": "Lmps"}, "category", "Did you mean Lamps?"),
        ({"sku": "mug-1"}, "sku", "Did you mean MUG-1?"),
        ({"sku": "MUG-1", "category": "Kitchen"}, "category", "not both"),
        ({"borne_by": "platform"}, "borne_by", "is paid by the seller"),
        ({"on_refund": "sometimes"}, "on_refund", "write returned or kept"),
        ({"base": "carriage", "tax_to": "seller"}, "tax_to", "leave it empty"),
        ({"valid_from": "soon"}, "valid_from", "“soon” is no day"),
        ({"valid_from": "2026-12-02", "valid_to": "2026-12-01"}, "valid_to", "before the first day"),
        ({"rate": "3"}, "", "there is no field “rate”"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_rule_says_what_is_wrong_of_which_field(typed: dict[str, str], field: str, says: str) -> None:
    found = problems(**typed)
    assert list(found) == [field]
    assert says in found[field]


def test_all_problems_are_said_at_once_with_their_place() -> None:
    with pytest.raises(BadRule, match=r"line 3: channel: .*; fee: “x” is no fee") as refused:
        read_rule({"kind": "platform fee", "fee": "x", "connection": "Ebay"}, NAMES, "line 3")
    assert len(refused.value.problems) == 2


def test_an_assignment_is_read_said_and_typed_again() -> None:
    made = read_assignment({"role": "creator", "party": "MAYA", "code": "maya10", "category": "Lamps"}, NAMES)
    assert made == Assignment(0, "creator", 2, category="Lamps", order_code="MAYA10")
    assert say_assignment(made, NAMES) == "Creator Maya is the creator of category Lamps in orders with the code MAYA10"
    assert read_assignment(typed_assignment(made, NAMES), NAMES) == made
    with pytest.raises(BadRule, match="Oak & Ash is a brand shop, and a creator is a creator or social seller"):
        read_assignment({"role": "creator", "party": "OAK"}, NAMES)
    with pytest.raises(BadRule, match="party: is missing: write the party's code"):
        read_assignment({"role": "creator"}, NAMES)


@given(st.dictionaries(st.sampled_from(["kind", "fee", "currency", "seller", "valid_from", "sku"]), st.text()))
def test_whatever_is_typed_is_a_rule_or_is_refused(typed: dict[str, Any]) -> None:
    try:
        made = read_rule(typed, NAMES)
    except BadRule:
        return
    assert read_rule(typed_rule(made, NAMES), NAMES) == made
