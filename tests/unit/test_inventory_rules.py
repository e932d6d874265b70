"""What an order line does to stock, what a listing should show, which write that takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.inventory.rules import (
    LineFacts,
    LineStock,
    ListingState,
    PlannedWrite,
    line_stock,
    offer,
    plan_write,
    short,
    urgency,
)


def stock(held: int = 0, consumed: int = 0, returned: int = 0, written_off: int = 0, opening: int = 0) -> LineStock:
    return LineStock(held, consumed, returned, written_off, opening)


def test_a_sold_unit_is_held_until_it_is_shipped() -> None:
    assert line_stock(LineFacts(ordered=3)) == stock(held=3)
    assert line_stock(LineFacts(ordered=3, shipped=2)) == stock(held=1, consumed=2)
    assert line_stock(LineFacts(ordered=3, shipped=3)) == stock(consumed=3)


def test_more_shipped_than_ordered_has_left_all_the_same() -> None:
    assert line_stock(LineFacts(ordered=1, shipped=3)) == stock(consumed=3)


def test_a_refund_of_cancelled_units_first_releases_what_was_never_shipped() -> None:
    assert line_stock(LineFacts(ordered=3, refunded_cancel=2)) == stock(held=1)
    assert line_stock(LineFacts(ordered=3, shipped=1, refunded_cancel=2)) == stock(consumed=1)


def test_cancelled_units_beyond_the_unshipped_came_back_from_the_customer() -> None:
    assert line_stock(LineFacts(ordered=3, shipped=2, refunded_cancel=3)) == stock(consumed=2, returned=2)


def test_a_legacy_restock_does_not_say_which_so_it_releases_first_too() -> None:
    assert line_stock(LineFacts(ordered=3, refunded_legacy=2)) == stock(held=1)
    assert line_stock(LineFacts(ordered=3, shipped=2, refunded_legacy=2)) == stock(consumed=2, returned=1)


def test_a_legacy_restock_releases_only_what_cancelled_units_left() -> None:
    facts = LineFacts(ordered=3, shipped=1, refunded_cancel=1, refunded_legacy=2)
    assert line_stock(facts) == stock(consumed=1, returned=1)


def test_a_returned_unit_comes_back_and_releases_nothing() -> None:
    assert line_stock(LineFacts(ordered=3, shipped=2, refunded_return=2)) == stock(held=1, consumed=2, returned=2)


def test_a_return_that_arrives_before_its_shipment_ends_in_the_same_place() -> None:
    early = LineFacts(ordered=1, refunded_return=1)
    assert line_stock(early) == stock(held=1, returned=1)
    assert line_stock(replace(early, shipped=1)) == stock(consumed=1, returned=1)


def test_a_refund_without_restock_is_taken_from_shipped_units_first() -> None:
    assert line_stock(LineFacts(ordered=3, shipped=2, refunded_no_restock=2)) == stock(held=1, consumed=2)


def test_beyond_the_shipped_ones_refunded_units_leave_the_order_unshipped_and_unsellable() -> None:
    assert line_stock(LineFacts(ordered=3, refunded_no_restock=2)) == stock(held=1, written_off=2)
    assert line_stock(LineFacts(ordered=3, shipped=1, refunded_no_restock=2)) == stock(
        held=1, consumed=1, written_off=1
    )


def test_a_unit_that_came_back_is_not_the_one_refunded_without_restock() -> None:
    facts = LineFacts(ordered=3, shipped=1, refunded_return=1, refunded_no_restock=1)
    assert line_stock(facts) == stock(held=1, consumed=1, returned=1, written_off=1)


def test_no_more_is_written_off_than_is_left() -> None:
    facts = LineFacts(ordered=2, refunded_cancel=1, refunded_no_restock=5)
    assert line_stock(facts) == stock(written_off=1)


def test_a_cancelled_order_holds_nothing() -> None:
    assert line_stock(LineFacts(ordered=3, is_cancelled=True)) == stock()
    assert line_stock(LineFacts(ordered=3, shipped=1, is_cancelled=True)) == stock(consumed=1)


def test_a_cancelled_order_with_its_refund_gives_units_back_once() -> None:
    facts = LineFacts(ordered=3, refunded_cancel=3, is_cancelled=True)
    assert line_stock(facts) == stock()
    assert line_stock(facts).available_effect == 0


def test_a_cancelled_order_without_restock_does_not_bring_its_units_back() -> None:
    facts = LineFacts(ordered=3, refunded_no_restock=3, is_cancelled=True)
    assert line_stock(facts) == stock(written_off=3)
    assert line_stock(facts).available_effect == -3


def test_units_sold_before_the_baseline_come_in_as_opening_stock() -> None:
    before = LineFacts(ordered=3, is_before_baseline=True)
    assert line_stock(before) == stock(held=3, opening=3)
    assert line_stock(before).available_effect == 0
    shipped = line_stock(replace(before, shipped=3))
    assert (shipped, shipped.available_effect) == (stock(consumed=3, opening=3), 0)


def test_opening_stock_is_less_by_what_was_already_restocked_before_the_baseline() -> None:
    facts = LineFacts(ordered=3, refunded_cancel=2, restocked_before_baseline=2, is_before_baseline=True)
    assert line_stock(facts) == stock(held=1, opening=1)
    assert line_stock(facts).available_effect == 0


def test_what_is_restocked_after_the_baseline_is_new_stock() -> None:
    facts = LineFacts(ordered=3, shipped=3, refunded_return=2, is_before_baseline=True)
    assert line_stock(facts).available_effect == 2


def test_an_order_edited_down_to_nothing_holds_nothing() -> None:
    assert line_stock(LineFacts(ordered=0)) == stock()


@pytest.mark.parametrize(("available", "shown"), [(-3, 0), (0, 0), (7, 7)])
def test_a_listing_never_shows_less_than_nothing(available: int, shown: int) -> None:
    assert offer(available) == shown


@pytest.mark.parametrize(("available", "promised_too_much"), [(-3, 3), (0, 0), (7, 0)])
def test_what_is_promised_beyond_the_stock_is_short(available: int, promised_too_much: int) -> None:
    assert short(available) == promised_too_much


def listing(
    desired: int,
    published: int | None,
    guarantee_class: str = "A",
    unseen: int = 0,
    listing_id: int = 1,
    short: int = 0,
) -> ListingState:
    return ListingState(listing_id, guarantee_class, desired, published, unseen, short)


def test_class_a_compares_with_what_the_channel_shows() -> None:
    assert plan_write(listing(7, 9)) == PlannedWrite(1, 9, 7)
    assert plan_write(listing(7, -2)) == PlannedWrite(1, -2, 7)


def test_class_a_writes_nothing_before_it_knows_what_is_shown() -> None:
    assert plan_write(listing(7, None)) is None


def test_class_b_sets_absolutely_even_where_nothing_is_known() -> None:
    assert plan_write(listing(7, 9, "B")) == PlannedWrite(1, None, 7)
    assert plan_write(listing(7, None, "B")) == PlannedWrite(1, None, 7)


@pytest.mark.parametrize("guarantee_class", ["A", "B"])
def test_a_listing_that_shows_what_it_should_is_left_alone(guarantee_class: str) -> None:
    assert plan_write(listing(7, 7, guarantee_class)) is None


@pytest.mark.parametrize("guarantee_class", ["A", "B"])
def test_a_channel_that_sold_below_zero_is_left_alone_while_we_are_short(guarantee_class: str) -> None:
    assert plan_write(listing(0, -4, guarantee_class, short=1)) is None


def test_zero_is_written_over_a_negative_once_we_are_no_longer_short() -> None:
    assert plan_write(listing(0, -4)) == PlannedWrite(1, -4, 0)
    assert plan_write(listing(0, -4, "B")) == PlannedWrite(1, None, 0)


def test_while_we_are_short_a_channel_that_shows_some_is_brought_to_zero() -> None:
    assert plan_write(listing(0, 2, short=3)) == PlannedWrite(1, 2, 0)
    assert plan_write(listing(0, 0, short=3)) is None


def test_a_sale_that_is_not_booked_yet_is_never_written_over_with_the_older_number() -> None:
    assert plan_write(listing(10, 8, unseen=-2)) is None
    assert plan_write(listing(9, 8, unseen=-2)) == PlannedWrite(1, 8, 7)
    assert plan_write(listing(1, 0, "B", unseen=-2)) is None


def test_a_restock_of_the_channel_that_is_not_booked_yet_is_left_standing() -> None:
    assert plan_write(listing(8, 10, unseen=2)) is None


def test_zeros_leave_first_then_what_goes_down_then_what_goes_up_each_by_listing() -> None:
    states = [
        listing(9, 3, listing_id=1),
        listing(2, 3, listing_id=4),
        listing(0, 3, listing_id=6),
        listing(2, 3, listing_id=3),
        listing(1, 3, unseen=-1, listing_id=5),
        listing(9, None, listing_id=2),
    ]
    assert [state.listing_id for state in sorted(states, key=urgency)] == [5, 6, 3, 4, 1, 2]
