"""Stock that a channel keeps itself: at a place of its own, beside what the same channel sells from our stock."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core import invariants
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.catalog import operations as catalog
from core.catalog.queries import identities
from core.connections.operations import note_poll_complete
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.identity import operations as mapping
from core.identity.rules import identifier
from core.inventory import external, places, promises, publishing
from core.inventory import operations as inventory
from core.inventory.places import NotServable
from core.inventory.promises import Holder, Promise
from core.orders import intake
from core.ports import ChannelListing, LevelObservation
from tests.factories import (
    ACTOR,
    BASELINE,
    NOW,
    World,
    apply,
    first_sync,
    later,
    make_channel_listing,
    make_connection,
    make_facts,
    make_line,
    make_order,
    make_shop,
    make_sku,
    take_in,
    world_of,
)


def make_seller(conn: Connection, shop_id: int, *, is_sku_source: bool = True) -> ConnectionRow:
    """A channel of class B whose stock is partly ours and partly in its own warehouses."""
    own = inventory.open_location(conn, shop_id, "Main", BASELINE)
    made = make_connection(
        conn, shop_id, guarantee_class="B", is_sku_source=is_sku_source, locations={OWN_PLACE: own}, vendor="amazon"
    )
    kept = places.location_for(conn, shop_id, made.id, "external", "Amazon warehouses", BASELINE)
    settings = {"external_places": [FBA_PLACE]}
    return make_connection(
        conn,
        shop_id,
        guarantee_class="B",
        is_sku_source=is_sku_source,
        locations={OWN_PLACE: own, FBA_PLACE: kept},
        vendor="amazon",
        name=made.name,
        account_ref=made.account_ref,
        settings=settings,
    )


def listing(code: str, own: int | None, kept: int | None, at: datetime = BASELINE, **more: Any) -> ChannelListing:
    """A listing of the seller's: what is shown at each place; None: it is not offered there."""
    ref = more.pop("ref", code)
    levels = [
        LevelObservation(ref, place, units, at)
        for place, units in ((OWN_PLACE, own), (FBA_PLACE, kept))
        if units is not None
    ]
    return make_channel_listing(code, None, at, ref=ref, inventory_ref=None, levels=tuple(levels), **more)


def make_seller_world(conn: Connection, *listed: ChannelListing) -> World:
    seller = make_seller(conn, make_shop(conn))
    take_in(conn, seller, listed)
    external.align(conn, seller.shop_id, seller.id, NOW)
    first_sync(conn, seller)
    return world_of(conn, seller)


def rows(conn: Connection, world: World) -> dict[tuple[str, str], Any]:
    found = fetch(conn, "select * from listings where shop_id = %(shop)s", shop=world.shop_id)
    return {(row["channel_ref"], row["channel_location_ref"]): row for row in found}


def levels(conn: Connection, world: World) -> dict[tuple[str, bool], int]:
    """What is on hand by SKU, and whether a channel keeps it."""
    found = fetch(
        conn,
        """
        select s.code, v.is_external, v.on_hand from sku_levels v
        join skus s on s.shop_id = v.shop_id and s.id = v.sku_id where v.shop_id = %(shop)s
        """,
        shop=world.shop_id,
    )
    return {(row["code"], row["is_external"]): row["on_hand"] for row in found}


def broken(conn: Connection, world: World) -> list[str]:
    found = invariants.check(conn, later(60), shop_id=world.shop_id)
    # Nobody pushes here.
    return [each.name for each in found if each.rows and each.name != "listing_is_converged_or_explained"]


def read(conn: Connection, world: World, units: int, at: datetime, ref: str = "MUG") -> int:
    seen = [LevelObservation(ref, FBA_PLACE, units, at)]
    catalog.observe_levels(conn, world.shop_id, world.connection.id, seen, at)
    return external.align(conn, world.shop_id, world.connection.id, at)


def test_trap_fba_stock_is_beside_the_pool_and_never_in_it(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40), listing("BAG", None, 9), listing("PEN", 3, None))
    shop = make_connection(conn, world.shop_id, is_sku_source=False)
    take_in(conn, shop, [make_channel_listing("MUG", 1), make_channel_listing("BAG", 1)])
    catalog.begin_publishing(conn, world.shop_id, shop.id)
    inventory.refresh_all_desired(conn, world.shop_id)
    assert levels(conn, world) == {("MUG", False): 5, ("MUG", True): 40, ("BAG", True): 9, ("PEN", False): 3}
    ours = fetch(conn, "select code, on_hand, available from sku_stock order by code")
    assert {row["code"]: (row["on_hand"], row["available"]) for row in ours} == {
        "MUG": (5, 5), "BAG": (None, None), "PEN": (3, 3),
    }  # fmt: skip
    found = rows(conn, world)
    others = fetch(conn, "select desired_units from listings where connection_id = %(id)s order by id", id=shop.id)
    assert sorted(row["desired_units"] or 0 for row in others) == [0, 5]
    at_amazon = found["MUG", FBA_PLACE]
    assert (at_amazon["publishing"], at_amazon["exposed_units"], at_amazon["published_units"]) == ("off", 0, 40)
    assert found["MUG", OWN_PLACE]["publishing"] == "on"
    assert broken(conn, world) == []


def test_what_amazon_keeps_follows_what_is_read_of_it(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40))
    assert read(conn, world, 33, later(1)) == 1
    assert read(conn, world, 33, later(2)) == 0
    # An older reading that comes late is passed over.
    assert read(conn, world, 40, later(1.5)) == 0
    assert levels(conn, world)["MUG", True] == 33
    assert external.align(conn, world.shop_id, world.connection.id, later(3)) == 0
    moved = fetch(
        conn,
        """
        select m.delta_units, m.reason, m.note from stock_movements m join locations p on p.id = m.location_id
        where p.kind = 'external' order by m.id
        """,
    )
    assert [(row["delta_units"], row["reason"]) for row in moved] == [(40, "count"), (-7, "count")]
    row = rows(conn, world)["MUG", FBA_PLACE]
    assert (row["unseen_units"], row["edited_units"], row["exposed_units"]) == (0, 0, 0)
    assert levels(conn, world)["MUG", False] == 5
    assert broken(conn, world) == []


def test_several_listings_of_one_sku_add_up_and_one_that_is_remapped_takes_its_units_along(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", None, 4, ref="MUG-A"), listing("MUG", None, 6, ref="MUG-B"))
    assert levels(conn, world) == {("MUG", True): 10}
    cup = make_sku(conn, world.shop_id, "CUP")
    for sku, held in ((cup, {("MUG", True): 4, ("CUP", True): 6}), (world.skus["MUG"], {("MUG", True): 10})) * 2:
        execute(conn, "update listings set sku_id = %(sku)s where channel_ref = 'MUG-B'", sku=sku)
        external.align(conn, world.shop_id, world.connection.id, later(5))
        assert {key: units for key, units in levels(conn, world).items() if units} == held
    assert broken(conn, world) == []


def test_the_database_refuses_to_write_what_a_channel_keeps(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40))
    row = rows(conn, world)["MUG", FBA_PLACE]
    with pytest.raises(DBAPIError, match="not ours to write"), conn.begin_nested():
        execute(conn, "update listings set publishing = 'on' where id = %(id)s", id=row["id"])
    with pytest.raises(DBAPIError, match="not ours to write"), conn.begin_nested():
        execute(
            conn,
            """
            insert into listing_writes (shop_id, connection_id, listing_id, to_units, idempotency_key, batch_position,
                planned_at, deadline_at, exposure_delta_units)
            values (%(shop)s, %(connection)s, %(listing)s, 1, 'k', 0, %(now)s, %(now)s, 0)
            """,
            shop=world.shop_id,
            connection=world.connection.id,
            listing=row["id"],
            now=NOW,
        )


def test_a_place_of_the_channels_own_is_served_from_nowhere_else(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40))
    shop, seller, kept = world.shop_id, world.connection.id, world.connection.settings["locations"][FBA_PLACE]
    with pytest.raises(NotServable, match="only read"):
        places.serve(conn, shop, seller, FBA_PLACE, world.location_id, ACTOR, NOW)
    with pytest.raises(NotServable, match="not a shared pool"):
        places.serve(conn, shop, seller, OWN_PLACE, kept, ACTOR, NOW)
    with pytest.raises(DBAPIError, match="needs one that is external"), conn.begin_nested():
        execute(
            conn,
            "update listings set location_id = %(own)s where channel_location_ref = 'FBA'",
            own=world.location_id,
        )
    with pytest.raises(DBAPIError, match="needs one that is own"), conn.begin_nested():
        execute(conn, "update listings set publishing = 'off', location_id = %(kept)s", kept=kept)


def test_nothing_that_amazon_keeps_is_promised(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40))
    kept = world.connection.settings["locations"][FBA_PLACE]
    wish = Promise(Holder("checkout", "c1"), kept, ((world.skus["MUG"], 1),))
    with pytest.raises(BadInput, match="not ours to promise"):
        promises.reserve(conn, world.shop_id, [wish], NOW)


@pytest.mark.parametrize("own", [5, None])
def test_an_order_that_the_seller_ships_is_promised_from_the_sellers_stock(conn: Connection, own: int | None) -> None:
    """Also where the SKU is only known to lie at Amazon: the seller has to ship it all the same."""
    world = make_seller_world(conn, listing("MUG", own, 40))
    line = make_line("MUG", units=2, variant_ref="MUG", code="MUG")
    apply(conn, world, make_facts(make_order("1001", [line])))
    held = fetch(
        conn,
        """
        select p.kind, r.held_units from reservations r join locations p on p.id = r.location_id
        """,
    )
    assert [(row["kind"], row["held_units"]) for row in held] == [("own", 2)]
    assert levels(conn, world)["MUG", True] == 40
    assert broken(conn, world) == []


def test_trap_a_listing_that_went_over_to_amazon_is_written_no_more(conn: Connection) -> None:
    """A number for DEFAULT would add the seller's offer again, beside Amazon's."""
    world = make_seller_world(conn, listing("MUG", 5, None))
    assert rows(conn, world)["MUG", OWN_PLACE]["publishing"] == "on"

    def sync(*listed: ChannelListing) -> Any:
        take_in(conn, world.connection, listed)
        external.align(conn, world.shop_id, world.connection.id, NOW)
        catalog.begin_publishing(conn, world.shop_id, world.connection.id)
        return rows(conn, world)

    found = sync(listing("MUG", None, 40, later(1), gone_places=(OWN_PLACE,)))
    own = found["MUG", OWN_PLACE]
    assert (own["publishing"], own["is_tracked"], own["published_units"]) == ("off", False, 0)
    assert "its own warehouses" in own["publishing_reason"]
    lane = publishing.Lane(world.shop_id, world.connection.id, "B", 1)
    assert publishing.plan(conn, lane, 10, later(2)) == []
    assert sync(listing("MUG", 5, 40, later(3)))["MUG", OWN_PLACE]["publishing"] == "on"
    found = sync(listing("MUG", 5, None, later(4), gone_places=(FBA_PLACE,)))
    assert (found["MUG", FBA_PLACE]["published_units"], levels(conn, world)["MUG", True]) == (0, 0)


def test_what_only_lies_at_amazon_is_never_listed_as_the_sellers(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", None, 40, gone_places=(OWN_PLACE,)))
    assert [*rows(conn, world)] == [("MUG", FBA_PLACE)]


def test_why_buyers_do_not_see_a_listing_is_kept(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, None, status="inactive", status_reason="8541: no price"))
    row = rows(conn, world)["MUG", OWN_PLACE]
    assert (row["status"], row["status_reason"]) == ("inactive", "8541: no price")
    take_in(conn, world.connection, [listing("MUG", 5, None, later(1))])
    assert rows(conn, world)["MUG", OWN_PLACE]["status_reason"] is None


def test_orders_are_booked_at_our_place_whichever_the_channel_names_first(conn: Connection) -> None:
    seller = make_seller(conn, make_shop(conn))
    found = intake.channel_of(conn, seller, NOW)
    assert scalar(conn, "select kind from locations where id = %(id)s", id=found.location_id) == "own"


def test_two_that_align_at_once_book_it_once(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_seller_world(conn, listing("MUG", 5, 40), listing("BAG", None, 3))
        seen: Sequence[LevelObservation] = [
            LevelObservation("MUG", FBA_PLACE, 33, later(1)), LevelObservation("BAG", FBA_PLACE, 8, later(1)),
        ]  # fmt: skip
        catalog.observe_levels(conn, world.shop_id, world.connection.id, seen, later(1))

    def align(_: int) -> int:
        with unit_of_work(engine) as conn:
            return external.align(conn, world.shop_id, world.connection.id, later(2))

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(align, range(6))) == 2
    with unit_of_work(engine) as conn:
        assert (levels(conn, world)["MUG", True], levels(conn, world)["BAG", True]) == (33, 8)
        assert broken(conn, world) == []


def test_the_audit_names_what_was_written_past_the_guards(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40))
    found = fetch_one(conn, "select id from listings where channel_location_ref = 'FBA'")
    assert found is not None
    execute(conn, "update listings set exposed_units = 3 where id = %(id)s", id=found["id"])
    execute(conn, "update listings set published_units = 30 where id = %(id)s", id=found["id"])
    assert {"external_is_neither_promised_nor_written", "external_level_is_what_was_read"} <= set(broken(conn, world))


def test_what_is_told_of_before_the_place_has_a_location_exposes_nothing(conn: Connection) -> None:
    """A listing that Amazon ships may be known, and told of, before anything is kept there."""
    shop_id = make_shop(conn)
    own = inventory.open_location(conn, shop_id, "Main", BASELINE)
    settings = {"external_places": [FBA_PLACE]}
    seller = make_connection(
        conn, shop_id, guarantee_class="B", locations={OWN_PLACE: own}, vendor="amazon", settings=settings
    )
    take_in(conn, seller, [listing("MUG", None, 7)])
    world = world_of(conn, seller)
    row = rows(conn, world)["MUG", FBA_PLACE]
    assert (row["location_id"], row["published_units"], row["exposed_units"]) == (None, 7, 0)
    kept = places.location_for(conn, shop_id, seller.id, "external", "Amazon warehouses", BASELINE)
    execute(
        conn,
        """update connections set settings = jsonb_set(settings, '{locations,FBA}', to_jsonb(%(kept)s::int8))
        where id = %(id)s""",
        kept=kept,
        id=seller.id,
    )
    take_in(conn, seller, [listing("MUG", None, 9, later(1))])
    external.align(conn, shop_id, seller.id, later(1))
    assert (levels(conn, world), broken(conn, world)) == ({("MUG", True): 9}, [])


def test_a_code_that_was_answered_never_stands_for_what_a_channel_keeps(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40), listing("BAG", None, 9))
    for code in ("MUG", "BAG"):
        answered = identifier(world.connection.id, "seller_sku", code)
        mapping.map_identifier(conn, world.shop_id, answered, code, ACTOR, NOW)
    named = [("gone", "MUG"), ("gone too", "BAG")]
    known = identities(conn, world.shop_id, world.connection.id, named).by_code
    assert known["MUG"].listing_id == rows(conn, world)["MUG", OWN_PLACE]["id"]
    assert (known["BAG"].listing_id, known["BAG"].location_id) == (None, None)


def test_only_a_line_without_its_sku_that_we_ship_stops_the_watermark(conn: Connection) -> None:
    world = make_seller_world(conn, listing("MUG", 5, 40))
    nameless = make_line(code="B000000001", variant_ref=None)
    apply(conn, world, make_facts(make_order("theirs", [nameless], ships_from_channel=True)))
    note_poll_complete(conn, world.shop_id, world.connection.id, later(5), later(5))
    assert watermark(conn, world) == later(5)
    apply(conn, world, make_facts(make_order("ours", [nameless])))
    note_poll_complete(conn, world.shop_id, world.connection.id, later(9), later(9))
    assert watermark(conn, world) == later(5)


def watermark(conn: Connection, world: World) -> Any:
    return scalar(conn, "select watermark_at from connections where id = %(id)s", id=world.connection.id)
