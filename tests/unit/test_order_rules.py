"""Which line an identifier means, which observation is newer, what a listing shows after a sale."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from core.catalog.queries import Identities, Target
from core.orders.rules import (
    Mapping,
    Shown,
    distinct_refunds,
    follow,
    map_line,
    merge_observations,
    newest_fulfilments,
)
from tests.factories import later, make_fulfilment, make_line, make_order, make_refund

MUG = Target(listing_id=11, sku_id=21, location_id=31, is_stocked=True)
VOUCHER = Target(listing_id=12, sku_id=22, location_id=None, is_stocked=False)
STRANGER = Target(listing_id=13, sku_id=None, location_id=None, is_stocked=False)


def known(
    by_ref: dict[str, Target] | None = None, by_code: dict[str, Target] | None = None, ambiguous: tuple[str, ...] = ()
) -> Identities:
    return Identities(by_ref or {}, by_code or {}, frozenset(ambiguous))


def test_the_channels_own_id_of_the_variant_decides() -> None:
    found = map_line(make_line(code="MUG"), known({"variant:MUG": MUG}, {"MUG": VOUCHER}))
    assert found == Mapping("stocked", listing_id=11, sku_id=21)


def test_the_channels_own_id_decides_even_where_the_code_is_ambiguous() -> None:
    assert map_line(make_line(code="MUG"), known({"variant:MUG": MUG}, ambiguous=("MUG",))).sku_id == 21


def test_a_code_decides_where_there_is_no_such_id() -> None:
    line = make_line(code="MUG", variant_ref=None)
    assert map_line(line, known(by_code={"MUG": MUG})) == Mapping("stocked", listing_id=11, sku_id=21)


def test_a_code_decides_where_we_do_not_know_the_id() -> None:
    assert map_line(make_line(code="MUG"), known(by_code={"MUG": MUG})).sku_id == 21


def test_codes_that_differ_by_case_are_not_the_same() -> None:
    assert map_line(make_line(code="mug", variant_ref=None), known(by_code={"MUG": MUG})).kind == "unmapped"


def test_a_code_of_more_than_one_sku_is_not_guessed() -> None:
    found = map_line(make_line(code="MUG", variant_ref=None), known(by_code={"MUG": MUG}, ambiguous=("MUG",)))
    assert found.kind == "unmapped"
    assert found.reason == "its code stands for more than one SKU on this channel"


def test_a_listing_without_sku_parks_its_line_and_names_itself() -> None:
    found = map_line(make_line(code="MUG"), known({"variant:MUG": STRANGER}))
    assert (found.kind, found.listing_id, found.sku_id) == ("unmapped", 13, None)
    assert found.reason == "its listing is not mapped to a SKU"


def test_a_code_that_nobody_answers_to_parks_the_line() -> None:
    found = map_line(make_line(code="MUG"), known())
    assert found == Mapping("unmapped", "no listing of this channel and no SKU of ours answers to it")


def test_a_line_with_neither_id_nor_code_has_no_stock_by_nature() -> None:
    assert map_line(make_line(code=None), known()) == Mapping("unstocked")


def test_a_line_with_an_unknown_id_and_no_code_is_parked() -> None:
    assert map_line(make_line(code=None, variant_ref="variant:gone"), known()).kind == "unmapped"


def test_a_sku_without_stock_maps_to_a_line_without_stock() -> None:
    assert map_line(make_line(code="GIFT"), known({"variant:GIFT": VOUCHER})) == Mapping(
        "unstocked", listing_id=12, sku_id=22
    )


OLD = make_order(version_at=later(1), financial_status="pending", fulfilments=(make_fulfilment(ref="f1"),))
NEW = make_order(version_at=later(5), financial_status="paid", refunds=(make_refund(ref="r1"),))
OTHER = make_order("1002")


@pytest.mark.parametrize("seen", list(itertools.permutations([OLD, NEW, OTHER])))
def test_the_newest_facts_win_in_whatever_order_they_come(seen: tuple[object, ...]) -> None:
    merged = merge_observations(seen)  # type: ignore[arg-type]
    assert set(merged) == {"1001", "1002"}
    assert merged["1001"].financial_status == "paid"


@pytest.mark.parametrize("seen", [[OLD, NEW], [NEW, OLD]])
def test_every_fulfilment_and_refund_that_any_observation_saw_is_kept(seen: list[object]) -> None:
    merged = merge_observations(seen)["1001"]  # type: ignore[arg-type]
    assert [item.ref for item in merged.fulfilments] == ["f1"]
    assert [item.ref for item in merged.refunds] == ["r1"]


def test_of_each_fulfilment_the_newest_observation_counts() -> None:
    packed = make_fulfilment(status="pending", is_shipped=False, version_at=later(2))
    gone = replace(packed, status="success", is_shipped=True, version_at=later(4))
    assert newest_fulfilments([gone, packed]) == (gone,)
    assert newest_fulfilments([packed, gone]) == (gone,)


def test_the_same_fulfilment_ref_of_two_orders_is_two_fulfilments() -> None:
    assert len(newest_fulfilments([make_fulfilment("1001"), make_fulfilment("1002")])) == 2


def test_each_refund_counts_once() -> None:
    assert distinct_refunds([make_refund(), make_refund(), make_refund(ref="r2")]) == (
        make_refund(),
        make_refund(ref="r2"),
    )


def test_a_sale_after_our_knowledge_lowers_what_is_shown() -> None:
    assert follow(Shown(10, later(0), 0), -2, later(1)) == Shown(8, later(0), 0)


def test_a_restock_after_our_knowledge_raises_what_is_shown() -> None:
    assert follow(Shown(10, later(0), 0), 2, later(1)) == Shown(12, later(0), 0)


def test_a_sale_before_our_knowledge_is_in_it_and_explains_what_we_saw() -> None:
    assert follow(Shown(8, later(2), -3), -2, later(1)) == Shown(8, later(2), -1)


def test_a_sale_before_our_knowledge_explains_nothing_that_was_not_seen() -> None:
    assert follow(Shown(8, later(2), 0), -2, later(1)) == Shown(8, later(2), 0)
    assert follow(Shown(8, later(2), 3), -2, later(1)) == Shown(8, later(2), 3)


def test_a_sale_explains_no_more_than_was_seen() -> None:
    assert follow(Shown(9, later(2), -1), -2, later(1)) == Shown(9, later(2), 0)


def test_within_the_second_of_our_knowledge_the_unexplained_units_decide() -> None:
    known_at = later(1 + 0.5 / 60)
    assert follow(Shown(8, known_at, -2), -2, later(1)) == Shown(8, known_at, 0)
    assert follow(Shown(10, known_at, 0), -2, later(1)) == Shown(8, known_at, 0)
    assert follow(Shown(9, known_at, -1), -2, later(1)) == Shown(8, known_at, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_a_cancellation_that_any_observation_of_a_batch_saw_is_kept(first: int) -> None:
    """As it is between batches: vendors stamp whole seconds, so a cancellation may look no newer than an edit."""
    same_second = [make_order(cancelled_at=later(5), version_at=later(5)), make_order(version_at=later(5))]
    merged = merge_observations([same_second[first], same_second[1 - first]])
    assert merged["1001"].cancelled_at == later(5)


def test_of_what_need_not_be_told_the_newest_that_tells_it_counts() -> None:
    told = make_order(
        lines=[make_line(tax_minor=42)], tax_minor=42, shipping_minor=395, taxes_included=True, codes=("MAYA10",)
    )
    later_on = replace(
        told, version_at=later(5), tax_minor=40, shipping_minor=0, taxes_included=False, codes=("ELIF15",)
    )
    later_on = replace(later_on, lines=(make_line(tax_minor=40),))
    silent = make_order(version_at=later(9), financial_status="refunded")
    for seen in itertools.permutations([told, later_on, silent]):
        (merged,) = merge_observations(seen).values()
        assert (merged.tax_minor, merged.shipping_minor, merged.taxes_included) == (40, 0, False)
        assert (merged.codes, merged.lines[0].tax_minor) == (("ELIF15",), 40)
        assert (merged.version_at, merged.financial_status) == (later(9), "refunded")


def test_a_refund_is_the_one_that_tells_its_carriage() -> None:
    told, silent = make_refund(shipping_minor=0, shipping_tax_minor=0), make_refund()
    for seen in itertools.permutations([told, silent]):
        assert distinct_refunds(seen) == (told,)
