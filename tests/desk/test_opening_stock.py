"""What the desk expects or counts of a SKU before its channel's number is taken over does not pass for that number."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.catalog import operations as catalog
from core.desk import documents
from core.desk.booking import Item
from core.inventory.operations import Booked
from tests.desks import CLERK, Desk
from tests.factories import NOW, Level, first_sync, later, level_of, listing_of, make_channel_listing, take_in, world_of


def fresh(desk: Desk, units: int = 50) -> Desk:
    """The desk after its channel told of a SKU that is new, PAN, and before the next sync took its number over."""
    take_in(desk.conn, desk.world.connection, [make_channel_listing("PAN", units, later(1))])
    return Desk(desk.conn, world_of(desk.conn, desk.world.connection), desk.yard_id)


def counts(booked: Booked) -> tuple[int, int, int]:
    """Numbers that became our stock, that were ours already, and of nothing."""
    return booked.new, booked.repeated, booked.without_stock


def order(desk: Desk) -> None:
    desk.order_goods({"PAN": 20})


def draft(desk: Desk) -> None:
    desk.draft({"PAN": 20})


def expect_from_the_yard(desk: Desk) -> None:
    desk.receive({"PAN": 20}, at=desk.yard_id)
    drafted = documents.draft_transfer(
        desk.conn, desk.shop_id, desk.yard_id, desk.main_id, [Item("PAN", 20)], "t", CLERK, NOW
    )
    desk.send(drafted.document_id)


def count(desk: Desk) -> None:
    desk.count(desk.open_count(codes=["PAN"]), PAN=48)


def order_and_close(desk: Desk) -> None:
    desk.close(desk.order_goods({"PAN": 20}).document_id)


@pytest.mark.parametrize("act", [order, draft, expect_from_the_yard, count, order_and_close])
def test_what_is_expected_is_no_number_and_the_channels_is_taken_over(desk: Desk, act: Callable[[Desk], None]) -> None:
    desk = fresh(desk)
    act(desk)
    assert counts(first_sync(desk.conn, desk.world.connection)) == (1, 0, 0)
    assert level_of(desk.conn, desk.world, "PAN") == Level(50, 0, 50)
    listing = listing_of(desk.conn, desk.world, "PAN")
    assert (listing["publishing"], listing["published_units"], listing["desired_units"]) == ("on", 50, 50)


def test_a_channel_that_takes_nothing_over_is_not_told_to_show_what_is_expected(desk: Desk) -> None:
    desk = fresh(desk)
    order(desk)
    assert catalog.begin_publishing(desk.conn, desk.shop_id, desk.world.connection.id) == 0
    assert listing_of(desk.conn, desk.world, "PAN")["publishing"] == "off"


def test_a_number_of_nothing_is_taken_over_once(desk: Desk) -> None:
    desk = fresh(desk, units=0)
    order(desk)
    assert counts(first_sync(desk.conn, desk.world.connection)) == (0, 0, 1)
    take_in(desk.conn, desk.world.connection, [make_channel_listing("PAN", 7, later(2))])
    assert counts(first_sync(desk.conn, desk.world.connection)) == (0, 0, 0)
    assert level_of(desk.conn, desk.world, "PAN") == Level(0, 0, 0)


@pytest.mark.parametrize(("shelf", "there"), [(0, 0), (48, 48)])
def test_what_was_counted_and_approved_is_our_number(desk: Desk, shelf: int, there: int) -> None:
    desk = fresh(desk)
    sheet = desk.open_count(codes=["PAN"])
    desk.count(sheet, PAN=shelf)
    desk.approve(sheet)
    assert counts(first_sync(desk.conn, desk.world.connection)) == (0, 0, 0)
    assert level_of(desk.conn, desk.world, "PAN") == Level(there, 0, there)
    assert listing_of(desk.conn, desk.world, "PAN")["publishing"] == "on"


def test_what_came_and_went_is_our_number(desk: Desk) -> None:
    desk = fresh(desk)
    desk.undo(desk.receive({"PAN": 20}).document_id)
    assert counts(first_sync(desk.conn, desk.world.connection)) == (0, 0, 0)
    assert level_of(desk.conn, desk.world, "PAN") == Level(0, 0, 0)


def test_a_sale_of_what_is_expected_is_booked_on_our_number(desk: Desk) -> None:
    desk = fresh(desk)
    order(desk)
    desk.sell("1", code="PAN", units=2, shipped=2)
    desk.receive({"PAN": 2})
    assert counts(first_sync(desk.conn, desk.world.connection)) == (0, 0, 0)
    assert level_of(desk.conn, desk.world, "PAN") == Level(0, 0, 0)
