"""Which facts of orders a number that was taken over contains, to the second: by the channel's clock, never by ours."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from core import invariants
from core.db import execute
from core.ports import ChannelFulfilment, ChannelRefund
from tests.factories import (
    BASELINE,
    NOW,
    Level,
    World,
    book,
    first_sync,
    later,
    level_of,
    listing_of,
    make_channel_listing,
    make_connection,
    make_fulfilment,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    take_in,
    world_of,
)
from tests.stock_desk import second_channel

OLD = BASELINE - timedelta(days=5)


def after(seconds: float) -> datetime:
    """The moment so many seconds after the last change of the channel's number."""
    return BASELINE + timedelta(seconds=seconds)


def taken_over(conn: Connection, sold_until: datetime | None) -> World:
    """A shop whose channel shows 10 since BASELINE, and whose orders had last changed at `sold_until`."""
    return make_world(conn, {"MUG": 10}, sold_until=sold_until)


def assert_consistent(conn: Connection, world: World) -> None:
    found = {item.name: item.rows for item in invariants.check(conn, NOW, shop_id=world.shop_id) if item.rows}
    assert found == {}


def put_back(at: datetime) -> ChannelRefund:
    return make_refund("old", [make_refund_line(units=1, restock="cancel")], at=at)


@pytest.mark.parametrize(
    ("sold_until", "restocked_at", "expected"),
    [
        pytest.param(None, after(-1), Level(12, 2, 10), id="before_the_last_change"),
        pytest.param(None, after(0), Level(12, 2, 10), id="it_was_the_last_change"),
        pytest.param(None, after(0.4), Level(12, 2, 10), id="within_its_second"),
        pytest.param(None, after(1), Level(13, 2, 11), id="after_it"),
        pytest.param(after(-60), after(0), Level(12, 2, 10), id="the_last_change_that_no_order_told_of"),
        pytest.param(after(-60), after(1), Level(13, 2, 11), id="after_a_change_that_no_order_told_of"),
        pytest.param(after(0), after(0), Level(12, 2, 10), id="up_to_when_orders_were_known"),
        pytest.param(after(0), after(1), Level(13, 2, 11), id="the_second_after_orders_were_known"),
        pytest.param(after(60), after(60), Level(12, 2, 10), id="an_order_changed_after_the_number"),
        pytest.param(after(60), after(61), Level(13, 2, 11), id="the_second_after_that"),
    ],
)
def test_what_was_put_back_is_in_the_number_up_to_its_second(
    conn: Connection, sold_until: datetime | None, restocked_at: datetime, expected: Level
) -> None:
    world = taken_over(conn, sold_until)
    book(conn, world, make_order("old", [make_line(units=3)], placed_at=OLD), put_back(restocked_at))
    assert level_of(conn, world) == expected
    assert_consistent(conn, world)


@pytest.mark.parametrize(("cancelled_at", "available"), [(after(-1), 10), (after(0), 10), (after(1), 13)])
def test_a_cancellation_is_in_the_number_up_to_its_second(
    conn: Connection, cancelled_at: datetime, available: int
) -> None:
    world = taken_over(conn, None)
    book(conn, world, make_order("old", [make_line(units=3)], placed_at=OLD, cancelled_at=cancelled_at))
    assert level_of(conn, world) == Level(available, 0, available)
    assert_consistent(conn, world)


@pytest.mark.parametrize(
    ("sold_until", "placed_at", "available"),
    [
        pytest.param(None, after(-1), 10, id="before"),
        pytest.param(None, after(0), 7, id="in_doubt"),
        pytest.param(after(0), after(0), 10, id="known_to_be_before"),
        pytest.param(after(0), after(1), 7, id="between_levels_and_open_orders"),
        pytest.param(after(60), after(60), 10, id="known_to_be_before_though_the_number_is_older"),
        pytest.param(after(60), after(61), 7, id="after_what_is_known"),
    ],
)
def test_a_sale_is_in_the_number_only_where_that_is_sure(
    conn: Connection, sold_until: datetime | None, placed_at: datetime, available: int
) -> None:
    world = taken_over(conn, sold_until)
    book(conn, world, make_order("old", [make_line(units=3)], placed_at=placed_at, version_at=later(1)))
    assert level_of(conn, world).available == available
    assert_consistent(conn, world)


def test_a_number_is_known_as_of_the_end_of_its_second_once_that_is_over(conn: Connection) -> None:
    world = taken_over(conn, after(0))
    assert listing_of(conn, world)["published_at"] == after(1)
    assert listing_of(conn, world)["baseline_at"] < after(1)


# --- a channel whose numbers did not become our stock ------------------------------------------------------------


@pytest.fixture
def second(conn: Connection, world: World) -> World:
    """Another channel of the world's shop, that is no source of SKUs; 10 mugs are counted elsewhere."""
    return second_channel(conn, world, ["MUG"], name="Second")


def ship(units: int, at: datetime, ref: str = "f1") -> ChannelFulfilment:
    return make_fulfilment("old", [("1", units)], ref, at=at)


AFTER = later(5)
HISTORIES = {
    "open": ([], Level(10, 5, 5)),
    "shipped_before": ([ship(5, after(-60))], Level(10, 0, 10)),
    "shipped_after": ([ship(5, AFTER)], Level(5, 0, 5)),
    "partly_shipped_before": ([ship(3, after(-60))], Level(10, 2, 8)),
    "the_rest_shipped_after": ([ship(3, after(-60)), ship(2, AFTER, "f2")], Level(8, 0, 8)),
    "cancelled_units_before": ([ship(3, after(-60)), put_back(after(-30))], Level(10, 1, 9)),
    "cancelled_units_after": ([ship(3, after(-60)), put_back(AFTER)], Level(10, 1, 9)),
    "returned_before": ([ship(5, after(-60)), put_back(after(-30))], Level(10, 0, 10)),
    "returned_after": ([ship(5, after(-60)), put_back(AFTER)], Level(11, 0, 11)),
    "shipped_in_doubt": ([ship(5, after(0))], Level(5, 0, 5)),
}


@pytest.mark.parametrize(("facts", "expected"), HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("is_told_at_once", [True, False])
def test_an_old_order_takes_only_what_was_still_open(
    conn: Connection, world: World, second: World, facts: list[object], expected: Level, is_told_at_once: bool
) -> None:
    order = make_order("old", [make_line(units=5)], placed_at=OLD, version_at=NOW)
    if is_told_at_once:
        book(conn, second, order, *facts)
    else:
        for item in (order, *facts):
            book(conn, second, item)
    assert level_of(conn, world) == expected
    assert_consistent(conn, world)


@pytest.mark.parametrize("cancelled_at", [after(-30), AFTER])
def test_an_old_order_that_is_cancelled_takes_nothing(
    conn: Connection, world: World, second: World, cancelled_at: datetime
) -> None:
    order = make_order("old", [make_line(units=5)], placed_at=OLD, version_at=NOW, cancelled_at=cancelled_at)
    book(conn, second, order, ship(3, after(-60)))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert_consistent(conn, world)


def test_a_listing_whose_number_comes_later_changes_nothing_of_what_was_booked(conn: Connection, world: World) -> None:
    connection = make_connection(conn, world.shop_id, is_sku_source=False)
    first_sync(conn, connection)
    execute(conn, "update connections set open_orders_read_at = %(at)s where id = %(id)s", at=NOW, id=connection.id)
    take_in(conn, connection, [make_channel_listing("MUG", None)])
    second = world_of(conn, connection)
    book(conn, second, make_order("new", [make_line(units=3)]), make_fulfilment("new", [("1", 3)], at=later(2)))
    assert level_of(conn, world) == Level(7, 0, 7)

    book(conn, second, make_level("MUG", 4, at=later(3)))
    first_sync(conn, connection)
    assert listing_of(conn, second)["baseline_at"] == later(3)
    book(conn, second, make_order("new", [make_line(units=3)], version_at=later(4)))
    assert level_of(conn, world) == Level(7, 0, 7)
    assert_consistent(conn, world)


def test_a_shipment_after_the_last_change_of_a_number_is_old_where_orders_are_known_up_to_later(
    conn: Connection, world: World
) -> None:
    second = second_channel(conn, world, ["MUG"], name="Second", sold_until=after(3600))
    book(conn, second, make_order("old", [make_line(units=5)], placed_at=OLD, version_at=NOW), ship(5, after(3600)))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert_consistent(conn, world)
