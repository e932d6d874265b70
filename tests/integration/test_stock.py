"""Taking listings in, taking stock over, adjusting it, and what listings should show."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from core.audit import Actor
from core.catalog import operations as catalog
from core.db import fetch, fetch_one
from core.errors import BadInput
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment, Booked, UnknownSku
from core.orders.rules import map_line
from tests.factories import (
    ACTOR,
    BASELINE,
    NOW,
    PLACE,
    Level,
    World,
    adjust_stock,
    book,
    count,
    first_sync,
    identities_of,
    later,
    level_of,
    listing_of,
    make_channel_listing,
    make_connection,
    make_level,
    make_line,
    make_order,
    make_shop,
    make_sku,
    make_world,
    moved,
    take_in,
    world_of,
)


def test_a_source_of_skus_makes_them_and_knows_its_listings(conn: Connection) -> None:
    connection = make_connection(conn, make_shop(conn))
    assert take_in(conn, connection, [make_channel_listing("MUG"), make_channel_listing("CUP", None)]) == [
        "variant:CUP",
        "variant:MUG",
    ]
    world = world_of(conn, connection)
    assert set(world.skus) == {"MUG", "CUP"}
    mug = listing_of(conn, world)
    assert (mug["sku_id"], mug["published_units"], mug["published_at"]) == (world.skus["MUG"], 10, BASELINE)
    assert (mug["publishing"], mug["publishing_reason"]) == ("off", catalog.NOT_TAKEN_OVER)
    assert take_in(conn, connection, [make_channel_listing("MUG")]) == []


def test_an_older_listing_never_overwrites_a_newer_one(conn: Connection, world: World) -> None:
    take_in(conn, world.connection, [make_channel_listing(title="New", units=None, version_at=later(5))])
    take_in(conn, world.connection, [make_channel_listing(title="Old", units=None, version_at=later(4))])
    assert listing_of(conn, world)["title"] == "New"


def test_of_two_observations_in_one_batch_the_newer_one_counts(conn: Connection, world: World) -> None:
    new = make_channel_listing(title="New", units=None, version_at=later(5))
    old = make_channel_listing(title="Old", units=None, version_at=later(4))
    take_in(conn, world.connection, [new, old])
    assert listing_of(conn, world)["title"] == "New"


def test_an_older_level_that_comes_with_a_newer_listing_is_not_believed(conn: Connection, world: World) -> None:
    book(conn, world, make_level(units=7, at=later(5)))
    stale = make_channel_listing(units=None, version_at=later(6), levels=(make_level(units=3, at=later(1)),))
    take_in(conn, world.connection, [stale])
    assert listing_of(conn, world)["published_units"] == 7


def test_an_unmapped_listing_is_mapped_once_its_sku_is_there(conn: Connection) -> None:
    connection = make_connection(conn, make_shop(conn), is_sku_source=False)
    take_in(conn, connection, [make_channel_listing("MUG")])
    unmapped = listing_of(conn, world_of(conn, connection))
    assert (unmapped["sku_id"], unmapped["publishing_reason"]) == (None, catalog.NOT_MAPPED)
    sku = make_sku(conn, connection.shop_id, "MUG")
    take_in(conn, connection, [make_channel_listing("MUG")])
    mapped = listing_of(conn, world_of(conn, connection))
    assert (mapped["sku_id"], mapped["publishing_reason"]) == (sku, catalog.NOT_TAKEN_OVER)


def test_a_mapping_once_made_stays_when_the_channel_renames_its_code(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "CUP")
    take_in(conn, world.connection, [make_channel_listing("MUG", None, code="CUP", version_at=later(5))])
    assert listing_of(conn, world)["sku_id"] == world.skus["MUG"]


def test_a_listing_that_the_channel_does_not_count_is_never_published(conn: Connection) -> None:
    connection = make_connection(conn, make_shop(conn))
    take_in(conn, connection, [make_channel_listing(is_tracked=False)])
    first_sync(conn, connection)
    listing = listing_of(conn, world_of(conn, connection))
    assert (listing["publishing"], listing["publishing_reason"]) == ("off", catalog.NOT_TRACKED)


def test_a_listing_at_two_places_is_two_listings(conn: Connection) -> None:
    shop_id = make_shop(conn)
    places = {
        PLACE: inventory.open_location(conn, shop_id, "One", NOW),
        "p2": inventory.open_location(conn, shop_id, "Two", NOW),
    }
    connection = make_connection(conn, shop_id, locations=places)
    levels = (make_level(units=4), make_level(units=6, place="p2"))
    take_in(conn, connection, [make_channel_listing(units=None, levels=levels)])
    assert first_sync(conn, connection).new == 2
    rows = fetch(conn, "select on_hand from stock_levels where shop_id = %(s)s order by location_id", s=shop_id)
    assert [row["on_hand"] for row in rows] == [4, 6]


def test_a_code_of_two_skus_on_one_channel_is_ambiguous(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "CUP")
    take_in(conn, world.connection, [make_channel_listing("CUP", None, code="CUP")])
    take_in(conn, world.connection, [make_channel_listing("CUP", None, code="MUG", version_at=later(5))])
    known = identities_of(conn, world, ["MUG"])
    assert known.ambiguous_codes == {"MUG"}
    assert map_line(make_line(variant_ref=None), known).kind == "unmapped"
    assert map_line(make_line(), known).sku_id == world.skus["MUG"]


def test_a_code_of_two_listings_of_one_sku_is_not_ambiguous(conn: Connection, world: World) -> None:
    take_in(conn, world.connection, [make_channel_listing("MUG", None, ref="variant:MUG-2")])
    assert identities_of(conn, world, ["MUG"]).ambiguous_codes == frozenset()


def test_what_the_channel_shows_becomes_our_stock_once(conn: Connection, world: World) -> None:
    assert level_of(conn, world) == Level(10, 0, 10)
    assert listing_of(conn, world)["baseline_at"] == BASELINE
    book(conn, world, make_level(units=4, at=later(5)))
    assert first_sync(conn, world.connection) == Booked(0, 0, 0)
    assert level_of(conn, world) == Level(10, 0, 10)
    assert listing_of(conn, world)["baseline_at"] == BASELINE


def test_nothing_on_the_shelf_is_a_number_too(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 0})
    assert level_of(conn, world) == Level(0, 0, 0)
    assert (listing_of(conn, world)["publishing"], listing_of(conn, world)["desired_units"]) == ("on", 0)


def test_a_shortage_of_the_channel_is_taken_over_as_one(conn: Connection) -> None:
    world = make_world(conn, {"MUG": -3})
    assert level_of(conn, world) == Level(-3, 0, -3)
    assert listing_of(conn, world)["desired_units"] == 0


def test_of_several_listings_of_one_stock_the_oldest_is_believed(conn: Connection) -> None:
    connection = make_connection(conn, make_shop(conn))
    twin = make_channel_listing(ref="twin", inventory_ref="item:TWIN", levels=())
    twin = replace(twin, levels=(replace(make_level(units=99), inventory_ref="item:TWIN"),))
    take_in(conn, connection, [make_channel_listing(units=4)])
    take_in(conn, connection, [twin])
    first_sync(conn, connection)
    assert level_of(conn, world_of(conn, connection)) == Level(4, 0, 4)


def test_a_second_channel_shows_the_stock_and_does_not_change_it(conn: Connection, world: World) -> None:
    second = make_connection(conn, world.shop_id, is_sku_source=False, locations={"": world.location_id})
    take_in(conn, second, [make_channel_listing(units=None, levels=(make_level(units=3, place=""),))])
    inventory.set_baselines(conn, world.shop_id, second.id)
    catalog.begin_publishing(conn, world.shop_id, second.id)
    inventory.refresh_all_desired(conn, world.shop_id)
    shown = listing_of(conn, world_of(conn, second))
    assert (shown["published_units"], shown["desired_units"], shown["baseline_at"]) == (3, 10, BASELINE)
    assert level_of(conn, world) == Level(10, 0, 10)
    book(conn, world, make_order(lines=[make_line(units=4)]))
    assert listing_of(conn, world_of(conn, second))["desired_units"] == 6


def test_an_adjustment_is_booked_once_and_tells_the_listings(conn: Connection, world: World) -> None:
    assert adjust_stock(conn, world, "MUG", -3, key="damage 1") == Booked(1, 0, 0)
    entries = count(conn, "audit_entries", world.shop_id)
    assert adjust_stock(conn, world, "MUG", -3, key="damage 1") == Booked(0, 1, 0)
    assert level_of(conn, world) == Level(7, 0, 7)
    assert listing_of(conn, world)["desired_units"] == 7
    assert moved(conn, world) == {"receipt": 10, "adjustment": -3}
    assert count(conn, "audit_entries", world.shop_id) == entries


def test_a_key_twice_in_one_call_is_booked_once(conn: Connection, world: World) -> None:
    items = [Adjustment("k", "MUG", -3, "adjustment", NOW), Adjustment("k", "MUG", -3, "adjustment", NOW)]
    assert inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, NOW) == Booked(1, 1, 0)
    assert level_of(conn, world).on_hand == 7


def test_an_adjustment_of_an_unknown_code_leaves_nothing(conn: Connection, world: World) -> None:
    entries = count(conn, "audit_entries", world.shop_id)
    items = [Adjustment("a", "MUG", -3, "adjustment", NOW), Adjustment("b", "mug", -3, "adjustment", NOW)]
    with pytest.raises(UnknownSku, match="no SKU has the code mug: codes are compared exactly"):
        inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, NOW)
    assert level_of(conn, world) == Level(10, 0, 10)
    assert count(conn, "audit_entries", world.shop_id) == entries


def test_many_unknown_codes_are_named_and_counted(conn: Connection, world: World) -> None:
    items = [Adjustment(str(n), f"X{n}", 1, "receipt", NOW) for n in range(8)]
    with pytest.raises(UnknownSku, match="X0, X1, X2, X3, X4 and 3 more"):
        inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, NOW)


def test_a_sku_without_stock_moves_nothing_and_is_counted(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "POST", is_stocked=False)
    assert adjust_stock(conn, world, "POST", 5) == Booked(0, 0, 1)
    assert count(conn, "stock_movements", world.shop_id) == 1


def test_a_count_may_find_less_than_is_promised(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=8)]))
    adjust_stock(conn, world, "MUG", -5, reason="count")
    assert level_of(conn, world) == Level(5, 8, -3)
    assert listing_of(conn, world)["desired_units"] == 0


@pytest.mark.parametrize(("name", "reason"), [("", "why"), ("Ada", " "), (" ", "")])
def test_an_act_without_name_or_reason_is_refused(name: str, reason: str) -> None:
    with pytest.raises(BadInput, match="needs the name of who does it and a reason"):
        Actor(name, reason)


def test_an_act_is_on_record_with_who_what_and_why(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    entry = fetch_one(
        conn, "select * from audit_entries where shop_id = %(s)s order by id desc limit 1", s=world.shop_id
    )
    assert entry is not None
    assert (entry["actor"], entry["reason"], entry["act"]) == ("Ada", "a test", "adjust_stock")
    assert entry["subject"] == f"location:{world.location_id}"
    assert entry["details"].items() >= {"new": 1, "without_stock": 0}.items()
    assert entry["details"]["skus"] == ["MUG"]


def test_a_listing_that_is_off_wants_nothing(conn: Connection) -> None:
    world = make_world(conn, publishing=False)
    adjust_stock(conn, world, "MUG", 1)
    assert listing_of(conn, world)["desired_units"] is None


def test_a_location_is_opened_once(conn: Connection, world: World) -> None:
    assert inventory.open_location(conn, world.shop_id, "Main", later(5)) == world.location_id


def test_levels_at_a_place_we_do_not_know_are_not_taken_over(conn: Connection) -> None:
    connection = make_connection(conn, make_shop(conn))
    take_in(conn, connection, [make_channel_listing(units=None, levels=(make_level(place="elsewhere"),))])
    assert first_sync(conn, connection) == Booked(0, 0, 0)
    assert listing_of(conn, world_of(conn, connection))["publishing"] == "off"


def test_a_level_without_a_number_is_no_level(conn: Connection, world: World) -> None:
    book(conn, world, make_level(units=None, at=later(5)))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["published_at"]) == (10, BASELINE)


def test_the_last_second_of_the_old_day_is_before_the_baseline(conn: Connection, world: World) -> None:
    book(conn, world, make_order(placed_at=BASELINE - timedelta(microseconds=1)))
    assert level_of(conn, world).available == 10
