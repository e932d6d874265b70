"""What is at odds among rules, and what they leave out: each said once, with which wins and the next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.commissions.checking import Finding, Standing, check, made_by
from core.commissions.directory import Directory, Party
from core.commissions.rules import Assignment, Kind, Rule

NOW = datetime(2026, 11, 27, tzinfo=UTC)
LATER = NOW + timedelta(days=4)
NAMES = Directory(
    "UTC",
    "GBP",
    {
        1: Party(1, "brand_shop", "OAK", "Oak"),
        2: Party(2, "social_seller", "SUN", "Sun"),
        3: Party(3, "creator", "MAYA", "Maya"),
        4: Party(4, "creator", "GONE", "Gone", NOW - timedelta(days=1)),
    },
    {7: "Shopify"},
    frozenset({"Lamps"}),
    {11: ("MUG", "Kitchen")},
)
SELLER, CREATOR = Assignment(1, "seller", 1), Assignment(2, "creator", 3, order_code="MAYA10")


def fee(number: int, percent: int, kind: Kind = "platform_fee", **more: Any) -> Rule:
    return Rule(number, kind, more.pop("base", "item"), "percentage", rate_ppm=percent * 10_000, **more)


SOUND = [fee(1, 12), fee(2, 5, base="shipping"), fee(3, 8, "creator_commission")]


def found(*rules: Rule, assignments: tuple[Assignment, ...] = (SELLER, CREATOR), **more: Any) -> list[Finding]:
    return check(Standing(rules, assignments, NAMES, NOW, **more))


def abouts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.about) for finding in findings]


def test_sound_rules_have_no_finding() -> None:
    assert found(*SOUND, sold_in=frozenset({"GBP"})) == []


def test_of_two_that_begin_together_the_newer_wins_and_one_should_end() -> None:
    (one,) = found(*SOUND, fee(9, 10))
    assert (one.level, one.rules) == ("conflict", (9, 1))
    assert one.what == (
        "“Every seller pays 10 % of items” wins over “Every seller pays 12 % of items”: "
        "they begin to hold together, and of such the newer wins."
    )
    assert one.step == "End the one that is not meant: “Every seller pays 12 % of items”"


def test_a_fee_that_changes_from_a_day_on_is_only_worth_knowing() -> None:
    (one,) = found(*SOUND, fee(9, 10, valid_from=LATER))
    assert (one.level, one.rules) == ("note", (9, 1))
    assert "it begins to hold last, on 1 Dec 2026" in one.what


def test_validities_that_do_not_overlap_and_what_is_over_are_no_conflict() -> None:
    assert found(*SOUND[1:], fee(1, 12, valid_to=LATER), fee(9, 10, valid_from=LATER, seller_id=1),) == []  # fmt: skip
    assert found(*SOUND, fee(9, 10, valid_to=NOW)) == []


def test_a_rule_of_one_currency_is_as_specific_as_one_of_all() -> None:
    (one,) = found(*SOUND, fee(9, 10, currency="GBP"))
    assert one.about == "Two rules of the same scope"


def test_two_parties_for_the_same_lines_are_a_conflict_the_same_party_twice_is_none() -> None:
    again = replace(SELLER, id=8)
    assert found(*SOUND, assignments=(SELLER, CREATOR, again)) == []
    (one,) = found(*SOUND, assignments=(SELLER, CREATOR, replace(again, party_id=2)))
    assert (one.level, one.assignments) == ("conflict", (8, 1))


def test_fees_of_the_whole_are_found_where_they_meet_and_only_there() -> None:
    high = fee(5, 60, seller_id=1)
    maya = fee(6, 45, "creator_commission", payee_id=3, category="Lamps")
    (one,) = found(*SOUND, high, maya)
    assert (one.about, one.rules) == ("Fees of 100 % or more", (5, 6))
    assert "Together 105 % of items, so that the seller keeps nothing" in one.what
    # A more specific rule stands in between, or they never meet.
    assert found(*SOUND, high, maya, fee(7, 3, seller_id=1, category="Lamps")) == []
    assert found(*SOUND, high, replace(maya, category=None, sku_id=11), fee(7, 3, sku_id=11)) == []
    assert found(*SOUND, high, replace(maya, seller_id=2)) == []


def test_what_the_platform_sells_itself_may_be_given_away_too() -> None:
    (one,) = found(*SOUND[:2], fee(3, 55, "creator_commission", borne_by="seller"), fee(4, 50, "channel_fee"))[:1]
    assert one.about == "Fees of 100 % or more"
    assert "the platform, which sells it itself, keeps nothing" in " ".join(
        each.what for each in found(*SOUND[:2], fee(3, 55, "creator_commission"), fee(4, 50, "channel_fee"))
    )


def test_the_platform_pays_no_more_than_it_earns() -> None:
    rules = [*SOUND[:2], fee(3, 15, "creator_commission", borne_by="platform")]
    (one,) = found(*rules)
    assert (one.about, one.rules) == ("The platform pays more than it earns", (3, 1))
    assert found(*rules[1:], fee(1, 20)) == []


def test_gaps_name_who_is_concerned_and_open_the_rule_that_is_missing() -> None:
    items, carriage, creator = found()
    assert items.what == "Oak pays no fee of items."
    assert dict(items.typed) == {"kind": "platform fee", "base": "items", "seller": "OAK"}
    assert carriage.what == "Oak pays no fee of carriage."
    assert creator.what == "Maya is assigned as creator, and no rule pays a creator commission."
    assert dict(creator.typed) == {"kind": "creator commission", "payee": "MAYA"}
    both = (SELLER, CREATOR, Assignment(3, "seller", 2, category="Lamps"))
    assert found(*SOUND[1:], assignments=both)[0].what == "Oak and Sun pay no fee of items."
    assert found(*SOUND[1:], fee(1, 12, category="Lamps"))[0].what == (
        "Oak pays no fee of items for some of what they sell."
    )


def test_an_ended_party_is_no_gap_and_its_rule_is_worth_knowing() -> None:
    gone = Assignment(3, "creator", 4, order_code="GONE5")
    assert found(*SOUND, assignments=(SELLER, CREATOR, gone)) == []
    assert abouts(found(*SOUND, fee(9, 3, "creator_commission", payee_id=4))) == [
        ("note", "A rule for somebody who has ended")
    ]


@pytest.mark.parametrize(
    ("sold_in", "is_said"), [(None, False), (frozenset({"GBP"}), True), (frozenset({"JPY"}), False)]
)
def test_a_currency_in_which_nothing_is_sold(sold_in: frozenset[str] | None, is_said: bool) -> None:
    said = abouts(found(*SOUND, fee(9, 3, category="Lamps", currency="JPY"), sold_in=sold_in))
    assert said == ([("gap", "Nothing is sold in JPY")] if is_said else [])


def test_what_the_platform_sells_itself_is_a_count() -> None:
    (one,) = found(*SOUND, skus_without_seller=1284)
    assert (one.level, one.about) == ("note", "Sold by the platform itself")
    assert one.what.startswith("1,284 SKUs that were sold in the last 90 days have no seller")


def test_what_a_draft_adds_is_told_apart() -> None:
    before, after = found(*SOUND[1:]), found(*SOUND[1:], fee(9, 3, category="Lamps", currency="JPY"),
                                             sold_in=frozenset({"GBP"}))  # fmt: skip
    assert "Nothing is sold in JPY" in [finding.about for finding in made_by(before, after)]
    assert made_by(after, after) == []


def test_many_rules_are_checked_without_trying_each_with_each() -> None:
    rules = [fee(100 + n, 20, seller_id=1, category=f"C{n}") for n in range(300)]
    rules += [fee(500 + n, 20, "creator_commission", payee_id=3, category=f"C{n}") for n in range(300)]
    assert found(*SOUND, *rules) == []
