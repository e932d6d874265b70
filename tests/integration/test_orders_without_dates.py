"""Orders of a channel that does not date what ended them, around the moment at which a number was taken over."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core.adapters.amazon.parsing import parse
from core.db import execute, fetch_one
from core.orders import confirming
from core.orders.confirming import Package
from tests.adapters.canned_amazon_orders import item_body, order_body, stamp
from tests.factories import (
    ACTOR,
    BASELINE,
    Level,
    World,
    apply,
    later,
    level_of,
    listing_of,
    make_world,
)
from tests.stock_desk import broken

LONG_AGO = BASELINE - timedelta(days=5)
SKU = "variant:MUG"


def told(
    status: str, updated: datetime, *, placed: datetime = LONG_AGO, units: int = 2, shipped: int = 0, **more: Any
) -> dict[str, Any]:
    """An order of so many mugs as Amazon tells it; `seen` is when it was read."""
    seen = more.pop("seen", updated)
    counts = {"quantityFulfilled": shipped, "quantityUnfulfilled": 0 if status == "CANCELLED" else units - shipped}
    body = order_body("A", item_body("1", SKU, units, fulfillment=counts), at=stamp(placed), **more)
    body |= {"lastUpdatedTime": stamp(updated), "seenAt": seen.isoformat()}
    return body | {"fulfillment": {"fulfillmentStatus": status, "fulfilledBy": "MERCHANT"}}


def parcel(ref: str, units: int, at: datetime) -> dict[str, Any]:
    items = [{"orderItemId": "1", "quantity": units}]
    return {
        "packageReferenceId": ref,
        "packageStatus": {"status": "SHIPPED"},
        "shipTime": stamp(at),
        "packageItems": items,
    }


def tell(conn: Connection, world: World, *bodies: dict[str, Any]) -> None:
    """Each a message of its own, booked one after the other."""
    for body in bodies:
        facts = parse("poll/orders", json.dumps(body).encode(), None, "GBP")
        assert facts is not None
        apply(conn, world, facts)


@pytest.fixture
def world(conn: Connection) -> World:
    """Whose ten mugs Amazon showed at the baseline, and whose open orders were read a minute later."""
    return with_open_orders_read(conn, make_world(conn, {"MUG": 10}, guarantee_class="B"))


@pytest.fixture
def elsewhere(conn: Connection, world: World) -> World:
    """Whose ten mugs were known before Amazon was connected."""
    execute(conn, "update listings set opening_at = null where shop_id = %(shop)s", shop=world.shop_id)
    return world


def with_open_orders_read(conn: Connection, world: World) -> World:
    execute(
        conn,
        "update connections set open_orders_read_at = %(at)s, catalogue_read_at = %(at)s, vendor = 'amazon'"
        " where shop_id = %(shop)s",
        shop=world.shop_id,
        at=BASELINE + timedelta(minutes=1),
    )
    return world


def shown(conn: Connection, world: World) -> tuple[int, int]:
    row = listing_of(conn, world)
    return row["published_units"], row["exposed_units"]


def test_trap_what_was_cancelled_before_the_take_over_is_in_the_number_however_late_it_is_touched(
    conn: Connection, world: World
) -> None:
    tell(conn, world, told("CANCELLED", later(5)))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert shown(conn, world) == (10, 10)
    tell(conn, world, told("CANCELLED", later(50)))
    assert (level_of(conn, world), shown(conn, world)) == (Level(10, 0, 10), (10, 10))
    assert broken(conn, world) == {}


@pytest.mark.parametrize("open_first", [True, False])
def test_what_was_open_at_the_take_over_and_cancelled_later_comes_back(
    conn: Connection, world: World, open_first: bool
) -> None:
    # Read behind the number, as of days ago.
    versions = [told("UNSHIPPED", LONG_AGO, seen=BASELINE + timedelta(seconds=30)), told("CANCELLED", later(5))]
    tell(conn, world, *(versions if open_first else reversed(versions)))
    assert level_of(conn, world) == Level(12, 0, 12)
    assert shown(conn, world)[1] == 12
    assert broken(conn, world) == {}


def test_a_cancellation_is_as_old_as_the_first_that_tells_it(conn: Connection, world: World) -> None:
    seen_open = told("UNSHIPPED", LONG_AGO, seen=BASELINE + timedelta(seconds=30))
    tell(conn, world, seen_open, told("CANCELLED", later(5)), told("CANCELLED", later(9)), told("CANCELLED", later(7)))
    row = fetch_one(conn, "select cancelled_at from orders where shop_id = %(shop)s", shop=world.shop_id)
    assert row is not None
    assert row["cancelled_at"] == later(5)


def test_what_was_cancelled_between_the_number_and_the_open_orders_may_be_for_sale_again(
    conn: Connection, world: World
) -> None:
    tell(conn, world, told("CANCELLED", BASELINE + timedelta(seconds=30)))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert shown(conn, world)[1] == 12


def test_trap_what_was_shipped_before_the_connection_without_packages_is_not_taken_off_again(
    conn: Connection, elsewhere: World
) -> None:
    tell(conn, elsewhere, told("SHIPPED", later(5), shipped=2))
    assert level_of(conn, elsewhere) == Level(10, 0, 10)
    assert broken(conn, elsewhere) == {}


@pytest.mark.parametrize("turn", [1, -1])
def test_units_are_gone_since_the_first_version_that_counts_them(conn: Connection, elsewhere: World, turn: int) -> None:
    one_gone = told("PARTIALLY_SHIPPED", LONG_AGO, shipped=1, seen=BASELINE + timedelta(seconds=30))
    tell(conn, elsewhere, *[one_gone, told("SHIPPED", later(5), shipped=2)][::turn])
    # The first had left before our number was known; the second leaves now.
    assert level_of(conn, elsewhere) == Level(9, 0, 9)
    assert broken(conn, elsewhere) == {}


def test_what_may_have_left_after_the_number_is_taken_off(conn: Connection, elsewhere: World) -> None:
    tell(conn, elsewhere, told("SHIPPED", BASELINE + timedelta(seconds=30), shipped=2))
    assert level_of(conn, elsewhere) == Level(8, 0, 8)


def test_a_dated_package_of_later_is_taken_off_though_its_order_was_never_seen_open(
    conn: Connection, elsewhere: World
) -> None:
    tell(conn, elsewhere, told("SHIPPED", later(5), shipped=2, packages=[parcel("1", 2, later(4))]))
    assert level_of(conn, elsewhere) == Level(8, 0, 8)
    assert broken(conn, elsewhere) == {}


CORRECTED = [
    told("UNSHIPPED", later(1), placed=later(1)),
    told("SHIPPED", later(5), placed=later(1), shipped=2, packages=[parcel("1", 2, later(5))]),
    told("PARTIALLY_SHIPPED", later(7), placed=later(1), shipped=1, packages=[parcel("1", 1, later(5))]),
    told(
        "SHIPPED",
        later(9),
        placed=later(1),
        shipped=2,
        packages=[parcel("1", 1, later(5)), parcel("2", 1, later(9))],
    ),
]


def test_trap_a_package_told_again_with_fewer_units_is_another_shipment(conn: Connection, world: World) -> None:
    came_to = []
    for body in CORRECTED:
        tell(conn, world, body)
        came_to.append(level_of(conn, world))
        assert broken(conn, world) == {}
    assert came_to == [Level(10, 2, 8), Level(8, 0, 8), Level(9, 1, 8), Level(8, 0, 8)]


@pytest.mark.parametrize("turn", [(3, 2, 1, 0), (3, 0, 2, 1), (1, 3, 2, 0), (0, 2, 1, 3)])
def test_a_corrected_package_comes_to_the_same_in_any_order(
    conn: Connection, world: World, turn: tuple[int, ...]
) -> None:
    tell(conn, world, *(CORRECTED[number] for number in turn))
    assert level_of(conn, world) == Level(8, 0, 8)
    assert broken(conn, world) == {}


def test_what_a_corrected_package_left_can_be_put_into_the_next(conn: Connection, world: World) -> None:
    tell(conn, world, *CORRECTED[:3])
    queued = confirming.queue(conn, world.shop_id, Package("A", "DHL", "T2", later(8), {}), ACTOR, later(9))
    assert queued.package_ref == "2"
    (due,) = confirming.take(conn, world.shop_id, world.connection.id, 9, later(9))
    assert due.package.items == (("1", 1),)


def test_a_package_told_without_its_items_stays_what_it_was(conn: Connection, world: World) -> None:
    bare = parcel("1", 2, later(5)) | {"packageItems": [], "packageStatus": {"status": "DELIVERED"}}
    tell(conn, world, *CORRECTED[:2], told("SHIPPED", later(8), placed=later(1), shipped=2, packages=[bare]))
    assert level_of(conn, world) == Level(8, 0, 8)
    assert broken(conn, world) == {}


def test_a_package_of_a_cancelled_order_is_not_told_and_a_person_sees_why(conn: Connection, world: World) -> None:
    tell(conn, world, CORRECTED[0])
    confirming.queue(conn, world.shop_id, Package("A", "DHL", "T1", later(2), {}), ACTOR, later(3))
    assert confirming.connections_due(conn, later(4)) == [(world.shop_id, world.connection.id)]
    tell(conn, world, told("CANCELLED", later(4), placed=later(1)))
    assert confirming.connections_due(conn, later(6)) == []
    assert confirming.take(conn, world.shop_id, world.connection.id, 9, later(6)) == []
    assert confirming.refuse_cancelled(conn, later(6)) == 1
    row = fetch_one(conn, "select * from shipment_confirmations where shop_id = %(shop)s", shop=world.shop_id)
    assert row is not None
    assert row["refused_at"] == later(6)
    assert (row["last_code"], "call it back" in row["last_detail"]) == ("ORDER_CANCELLED", True)
    said = fetch_one(
        conn,
        "select * from audit_entries where shop_id = %(shop)s and act = 'refuse_shipment'",
        shop=world.shop_id,
    )
    assert said is not None
    assert said["details"]["order"] == "A"
    assert confirming.refuse_cancelled(conn, later(7)) == 0
