"""Our locations: named, one pool each, serving the places of channels; and the shop itself."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.audit import Actor
from core.connections import operations as connections
from core.connections.operations import BadShop
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.inventory import operations as inventory
from core.inventory import places
from core.inventory.operations import Adjustment, lock_levels
from core.inventory.places import NotServable, Served
from tests.factories import (
    NOW,
    PLACE,
    World,
    first_sync,
    listing_of,
    make_channel_listing,
    make_connection,
    make_line,
    make_order,
    make_shop,
    make_world,
    take_in,
)
from tests.integration.test_promises import start, wait_until_blocked
from tests.stock_desk import compose, shown

ANN = Actor("ann", "a test")


def acts(conn: Connection) -> list[str]:
    return [row["act"] for row in fetch(conn, "select act from audit_entries order by id")]


def second_location(conn: Connection, world: World, **stock: int) -> int:
    leeds = places.add_location(conn, world.shop_id, "Leeds", ANN, NOW)
    items = [Adjustment(f"leeds:{code}", code, units, "receipt", NOW) for code, units in stock.items()]
    inventory.adjust(conn, world.shop_id, leeds, items, ANN, NOW)
    return leeds


def test_a_location_is_added_and_renamed_by_somebody_with_a_reason(conn: Connection) -> None:
    shop = make_shop(conn)
    leeds = places.add_location(conn, shop, "  Leeds   warehouse ", ANN, NOW)
    places.rename_location(conn, shop, leeds, "Leeds North", ANN, NOW)
    places.rename_location(conn, shop, leeds, "Leeds North", ANN, NOW)
    row = fetch_one(conn, "select name, kind from locations where id = %(id)s", id=leeds)
    assert row is not None
    assert tuple(row.values()) == ("Leeds North", "own")
    assert acts(conn) == ["open_shop", "add_location", "rename_location"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("  ", "needs a name"), ("x" * 81, "at most 80 characters"), ("leeds", "a location Leeds already")],
)
def test_a_name_that_cannot_be_is_explained(conn: Connection, name: str, said: str) -> None:
    shop = make_shop(conn)
    places.add_location(conn, shop, "Leeds", ANN, NOW)
    other = places.add_location(conn, shop, "York", ANN, NOW)
    with pytest.raises(BadInput, match=said):
        places.add_location(conn, shop, name, ANN, NOW)
    with pytest.raises(BadInput, match=said):
        places.rename_location(conn, shop, other, name, ANN, NOW)


def test_a_place_served_from_elsewhere_shows_what_is_there(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "BAG": 4, "PEN": 0})
    leeds = second_location(conn, world, MUG=3, PEN=7)
    wanted = Served(listings=3, up=1, down=2, to_zero=1)
    assert places.preview_serving(conn, world.shop_id, world.connection.id, PLACE, leeds) == wanted
    assert listing_of(conn, world, "MUG")["desired_units"] == 10
    assert places.serve(conn, world.shop_id, world.connection.id, PLACE, leeds, ANN, NOW) == wanted
    assert [listing_of(conn, world, code)["desired_units"] for code in ("MUG", "BAG", "PEN")] == [3, 0, 7]
    settings = scalar(conn, "select settings from connections where id = %(id)s", id=world.connection.id)
    assert settings["locations"] == {PLACE: leeds}
    assert acts(conn)[-1] == "serve_place"


def test_what_was_sold_before_stays_promised_where_it_was(conn: Connection) -> None:
    from core.orders import effects, operations

    world = make_world(conn, {"MUG": 10})
    order = make_order("first", [make_line(units=2)])
    known = operations.accept(conn, world.channel, {order.ref: order}, NOW)
    effects.settle_stock(conn, world.channel, [key.id for key in known.values()], NOW)
    leeds = second_location(conn, world, MUG=5)
    places.serve(conn, world.shop_id, world.connection.id, PLACE, leeds, ANN, NOW)
    order = make_order("second")
    known = operations.accept(conn, world.channel, {order.ref: order}, NOW)
    effects.settle_stock(conn, world.channel, [key.id for key in known.values()], NOW)
    held = fetch(conn, "select location_id, held_units from reservations order by id")
    assert [tuple(row.values()) for row in held] == [(world.location_id, 2), (leeds, 1)]


def test_a_channel_that_sells_without_asking_never_shares_a_pool(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10})
    till = make_connection(conn, world.shop_id, guarantee_class="C", locations={PLACE: world.location_id}, name="Till")
    with pytest.raises(DBAPIError, match="a channel of class C needs a location of its own"), conn.begin_nested():
        take_in(conn, till, [make_channel_listing("MUG", 5)])
    own = places.location_for(conn, world.shop_id, till.id, "till", "Main", NOW)
    assert scalar(conn, "select name from locations where id = %(id)s", id=own) == f"Main (channel {till.id})"
    with pytest.raises(NotServable, match="Main is shared"):
        places.serve(conn, world.shop_id, till.id, PLACE, world.location_id, ANN, NOW)
    with pytest.raises(NotServable, match="is not a shared pool"):
        places.serve(conn, world.shop_id, world.connection.id, PLACE, own, ANN, NOW)
    with pytest.raises(DBAPIError, match="belongs to another channel alone"), conn.begin_nested():
        execute(conn, "update listings set location_id = %(own)s", own=own)
    served = make_connection(conn, world.shop_id, guarantee_class="C", locations={PLACE: own}, name="Other till")
    with pytest.raises(DBAPIError, match="belongs to another channel alone"), conn.begin_nested():
        take_in(conn, served, [make_channel_listing("MUG", 5)])


def test_what_kind_a_location_is_cannot_change_once_it_is_sold_from(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10})
    with pytest.raises(DBAPIError, match="is sold from"), conn.begin_nested():
        execute(
            conn,
            "update locations set kind = 'till', connection_id = %(connection)s",
            connection=world.connection.id,
        )


def test_stock_that_is_not_ours_is_read_and_never_written(conn: Connection) -> None:
    shop = make_shop(conn)
    fba = make_connection(conn, shop, guarantee_class="D", locations={})
    place = places.location_for(conn, shop, fba.id, "external", "FBA", NOW)
    fba = make_connection(conn, shop, guarantee_class="D", locations={PLACE: place}, name=fba.name)
    take_in(conn, fba, [make_channel_listing("MUG", 5)])
    first_sync(conn, fba)
    assert scalar(conn, "select publishing from listings") == "off"
    level = fetch_one(conn, "select on_hand, location_id from stock_levels")
    assert level is not None
    assert tuple(level.values()) == (5, place)


def test_a_shop_is_renamed_and_moved_to_another_zone(conn: Connection) -> None:
    shop = make_shop(conn)
    connections.set_up_shop(conn, shop, "Harbour", "America/New_York", "USD", ANN, NOW)
    row = fetch_one(conn, "select name, time_zone, currency from shops")
    assert row is not None
    assert tuple(row.values()) == ("Harbour", "America/New_York", "USD")
    connections.set_up_shop(conn, shop, "Harbour", "America/New_York", "USD", ANN, NOW)
    assert acts(conn).count("set_up_shop") == 1


@pytest.mark.parametrize(
    ("name", "zone", "currency", "said"),
    [
        (" ", "Europe/London", "GBP", "needs a name"),
        ("A", "London", "GBP", "no time zone London"),
        ("A", "Europe/London", "pounds", "pounds is no currency"),
        ("Other", "Europe/London", "GBP", "a shop Other already"),
    ],
)
def test_what_a_shop_cannot_be_is_explained(conn: Connection, name: str, zone: str, currency: str, said: str) -> None:
    make_shop(conn, "Other")
    with pytest.raises(BadShop, match=said):
        connections.set_up_shop(conn, make_shop(conn), name, zone, currency, ANN, NOW)


def test_the_currency_is_fixed_once_there_are_orders(conn: Connection) -> None:
    from core.orders import operations

    world = make_world(conn, {"MUG": 10})
    order = make_order("first", [make_line(units=2)])
    operations.accept(conn, world.channel, {order.ref: order}, NOW)
    with pytest.raises(BadShop, match="has orders in GBP"):
        connections.set_up_shop(conn, world.shop_id, "A", "Europe/London", "EUR", ANN, NOW)


def test_a_place_served_from_elsewhere_while_a_bundle_is_made_shows_no_old_number(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10, "KIT": 0})
        leeds = second_location(conn, world, MUG=3)
    with unit_of_work(engine) as conn:
        places.serve(conn, world.shop_id, world.connection.id, PLACE, leeds, ANN, NOW)
        composing = start(engine, lambda other: compose(other, world, "KIT", {"MUG": 1}))
        wait_until_blocked(engine)
    composing.join(30)
    with engine.connect() as conn:
        assert shown(conn, world.connection) == {"MUG": (3, 0), "KIT": (3, 0)}


def test_a_name_that_is_looked_at_keeps_no_goods_from_being_booked_there(engine: Engine) -> None:
    """A new level points at its location; it waits for a name that changes, not for one that stays."""
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10})
        leeds = places.add_location(conn, world.shop_id, "Leeds", ANN, NOW)
    with unit_of_work(engine) as conn:
        places.rename_location(conn, world.shop_id, leeds, "Leeds", ANN, NOW)
        with unit_of_work(engine) as other:
            execute(other, "set local lock_timeout = '5s'")
            lock_levels(other, world.shop_id, [(world.skus["MUG"], leeds)])
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from stock_levels where location_id = %(id)s", id=leeds) == 1
