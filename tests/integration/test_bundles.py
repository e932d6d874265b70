"""Bundles: sold, reserved, cancelled, shipped and returned as their components, on every channel, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.inventory import operations as inventory
from core.inventory.bundles import UNITS_MAX, BadBundle
from core.inventory.operations import BundleHasNoStock, UnknownSku
from core.inventory.queries import bundles_of, parts_of, stock_group
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from core.ports import ChannelRefundLine
from tests.factories import (
    ACTOR,
    NOW,
    Level,
    World,
    adjust_stock,
    apply,
    book,
    later,
    level_of,
    listing_of,
    make_channel_listing,
    make_facts,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_sku,
    make_world,
    moved,
    take_in,
    world_of,
)
from tests.integration.test_promises import start, wait_until_blocked
from tests.stock_desk import (
    broken,
    compose,
    line_parts,
    make_bundles,
    second_channel,
    shown,
    take_back_line,
)

KIT = {"MUG": 2, "CUP": 1}


@pytest.fixture
def world(conn: Connection) -> World:
    """Ten mugs and four cups: four kits, and two boxes of a kit and one more mug each."""
    return make_bundles(conn, {"MUG": 10, "CUP": 4}, {"KIT": KIT, "BOX": {"KIT": 1, "MUG": 1}})


def levels(conn: Connection, world: World) -> tuple[Level, Level]:
    return level_of(conn, world, "MUG"), level_of(conn, world, "CUP")


def order(code: str = "KIT", units: int = 1, ref: str = "1001", **more: Any) -> Any:
    return make_order(ref, [make_line("1", code, units)], **more)


# --- what bundles are made of ------------------------------------------------------------------------------------


def typed(conn: Connection, world: World, code: str) -> dict[str, int]:
    rows = fetch(
        conn,
        """
        select component_code, units from sku_components
        where shop_id = %(shop)s and bundle_code = %(code)s
        """,
        shop=world.shop_id,
        code=code,
    )
    return {row["component_code"]: row["units"] for row in rows}


def parts(conn: Connection, world: World, code: str) -> dict[str, int]:
    codes = {sku_id: name for name, sku_id in world.skus.items()}
    sku_id = world.skus[code]
    return {codes[part]: units for part, units in parts_of(conn, world.shop_id, [sku_id])[sku_id]}


def test_what_is_typed_is_kept_beside_what_it_comes_to(conn: Connection, world: World) -> None:
    """A component both directly in a bundle and through a nested one is one part."""
    assert typed(conn, world, "BOX") == {"KIT": 1, "MUG": 1}
    assert parts(conn, world, "BOX") == {"MUG": 3, "CUP": 1}
    assert parts(conn, world, "MUG") == {"MUG": 1}
    mug, cup, kit, box = (world.skus[code] for code in ("MUG", "CUP", "KIT", "BOX"))
    assert bundles_of(conn, world.shop_id, [cup]) == sorted([kit, box])
    assert bundles_of(conn, world.shop_id, [box]) == [box]
    assert stock_group(conn, world.shop_id, cup) == sorted([mug, cup, kit, box])
    assert broken(conn, world) == {}


def test_a_change_reaches_the_bundles_around_it(conn: Connection, world: World) -> None:
    compose(conn, world, "KIT", {"CUP": 2})
    assert parts(conn, world, "BOX") == {"MUG": 1, "CUP": 2}
    assert shown(conn, world.connection) == {"MUG": (10, 0), "CUP": (4, 0), "KIT": (2, 0), "BOX": (2, 0)}
    compose(conn, world, "KIT")
    assert parts(conn, world, "BOX") == {"MUG": 1, "KIT": 1}
    assert shown(conn, world.connection)["BOX"] == (0, 0)
    assert broken(conn, world) == {}


def test_who_changed_what_and_why_is_on_record_once(conn: Connection, world: World) -> None:
    compose(conn, world, "KIT", {"MUG": 1})
    compose(conn, world, "KIT", {"MUG": 1})
    rows = fetch(
        conn,
        """
        select actor, reason, subject, details from audit_entries
        where shop_id = %(s)s and act = 'set_components' order by id
        """,
        s=world.shop_id,
    )
    assert len(rows) == 3
    assert (rows[-1]["actor"], rows[-1]["reason"]) == (ACTOR.name, ACTOR.reason)
    assert rows[-1]["subject"] == f"sku:{world.skus['KIT']}"
    assert rows[-1]["details"]["components"] == {"MUG": 1}
    assert set(rows[-1]["details"]["before"].values()) == {2, 1}


@pytest.mark.parametrize(
    ("code", "components", "why"),
    [
        ("MUG", {"CUP": 1}, "it has stock of its own"),
        ("KIT", {"KIT": 1}, "it would contain itself"),
        ("KIT", {"MUG": 0}, "0 of MUG: give 1 to 100,000"),
        ("KIT", {"MUG": -2}, "-2 of MUG: give 1 to 100,000"),
        ("KIT", {"MUG": UNITS_MAX + 1}, "100001 of MUG: give 1 to 100,000"),
        ("KIT", {"POST": 1}, "POST has no stock by nature"),
        ("POST", {"MUG": 1}, "it has no stock by nature"),
        ("NEW", {"BOX": 1}, "BOX is a bundle of bundles already"),
        ("KIT", {"BOX": 1}, "BOX is a bundle of bundles already"),
        ("KIT", {"SET": 1}, "it is part of another bundle and SET is a bundle"),
        ("FELT", {"MUG": 1}, "it is part of a bundle that is part of another"),
    ],
)
def test_what_cannot_be_a_bundle_is_refused_and_says_why(
    conn: Connection, world: World, code: str, components: Mapping[str, int], why: str
) -> None:
    for new in ("SET", "NEW", "FELT"):
        make_sku(conn, world.shop_id, new)
    make_sku(conn, world.shop_id, "POST", is_stocked=False)
    compose(conn, world, "SET", {"CUP": 2})
    compose(conn, world, "KIT", {**KIT, "FELT": 1})
    before = fetch(conn, "select * from bundle_parts where shop_id = %(s)s order by 2, 3", s=world.shop_id)
    with pytest.raises(BadBundle, match=why):
        compose(conn, world, code, components)
    assert fetch(conn, "select * from bundle_parts where shop_id = %(s)s order by 2, 3", s=world.shop_id) == before


def test_a_code_that_is_not_ours_is_refused(conn: Connection, world: World) -> None:
    for code, components in (("KIT", {"mug": 1}), ("kit", {"MUG": 1})):
        with pytest.raises(UnknownSku, match="compared exactly"):
            compose(conn, world, code, components)


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("update bundle_components set units = 0", "ck_bundle_components_units"),
        ("update bundle_parts set units = -1", "ck_bundle_parts_units"),
        ("update bundle_components set component_sku_id = bundle_sku_id", "ck_bundle_components_not_of_itself"),
        ("update skus set is_stocked = false where is_bundle", "ck_skus_bundle_is_stocked"),
        (
            "insert into bundle_components select shop_id, bundle_sku_id, component_sku_id, 7 from bundle_components",
            "pk_bundle_components",
        ),
        ("update bundle_parts set part_sku_id = -part_sku_id", "fk_bundle_parts_skus_shop_id_part_sku_id"),
    ],
)
def test_the_database_itself_refuses(conn: Connection, world: World, sql: str, constraint: str) -> None:
    ours = f"{sql} {'and' if 'where' in sql else 'where'} shop_id = %(shop)s"
    with pytest.raises(DBAPIError) as refused:
        execute(conn, ours, shop=world.shop_id)
    assert refused.value.orig is not None
    assert refused.value.orig.diag.constraint_name == constraint  # type: ignore[attr-defined]


# --- no stock of their own ---------------------------------------------------------------------------------------


def test_goods_cannot_be_booked_under_a_bundle(conn: Connection, world: World) -> None:
    with pytest.raises(BundleHasNoStock, match="KIT: a bundle has no stock of its own") as refused:
        adjust_stock(conn, world, "KIT", 1)
    assert isinstance(refused.value, BadInput)


def test_a_bundle_that_comes_back_without_an_order_comes_back_as_its_parts_once(conn: Connection, world: World) -> None:
    back = OrderlessReturn("C1:1", "BOX", 2, make_line().unit_price, "GBP", None, NOW)
    for new in (1, 0):
        assert orders.take_back(conn, world.shop_id, world.location_id, [back], ACTOR, NOW) == new
        assert levels(conn, world) == (Level(16, 0, 16), Level(6, 0, 6))
    assert moved(conn, world)["customer_return"] == 6
    assert shown(conn, world.connection)["BOX"] == (5, 0)
    assert broken(conn, world) == {}


def test_a_plain_sku_that_became_a_bundle_while_its_goods_come_back_is_named_by_the_audit(conn: Connection) -> None:
    """They were sold as themselves and come back as themselves: a person has to say what they are now."""
    world = make_world(conn, {"MUG": 5, "OLD": 1})
    book(conn, world, order("OLD"), make_fulfilment())
    compose(conn, world, "OLD", {"MUG": 2})
    book(conn, world, make_refund())
    assert {name: [row["sku_id"] for row in rows] for name, rows in broken(conn, world).items()} == {
        "bundle_has_no_stock": [world.skus["OLD"]]
    }
    adjust_stock(conn, world, "OLD", -1)
    adjust_stock(conn, world, "MUG", 2)
    assert broken(conn, world) == {}
    assert shown(conn, world.connection) == {"MUG": (7, 0), "OLD": (3, 0)}


def test_a_bundle_made_plain_again_has_stock_like_any_other(conn: Connection, world: World) -> None:
    compose(conn, world, "BOX")
    assert shown(conn, world.connection)["BOX"] == (0, 0)
    adjust_stock(conn, world, "BOX", 3)
    book(conn, world, order("BOX"))
    assert level_of(conn, world, "BOX") == Level(3, 1, 2)
    assert levels(conn, world) == (Level(10, 0, 10), Level(4, 0, 4))
    with pytest.raises(BadBundle, match="it has stock of its own"):
        compose(conn, world, "BOX", {"MUG": 1})
    assert broken(conn, world) == {}


def test_a_sync_takes_over_no_stock_for_a_bundle(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 4})
    take_in(conn, world.connection, [make_channel_listing("KIT", 7)])
    compose(conn, world_of(conn, world.connection), "KIT", {"MUG": 2})
    inventory.take_over(conn, world.shop_id, world.connection.id, ACTOR, NOW)
    world = world_of(conn, world.connection)
    assert level_of(conn, world, "KIT") == Level(0, 0, 0)
    assert broken(conn, world) == {}


# --- a bundle's life ---------------------------------------------------------------------------------------------


def test_a_sale_reserves_the_parts_and_moves_every_listing(conn: Connection, world: World) -> None:
    book(conn, world, order("BOX", 2))
    assert levels(conn, world) == (Level(10, 6, 4), Level(4, 2, 2))
    assert shown(conn, world.connection) == {"MUG": (4, 0), "CUP": (2, 0), "KIT": (2, 0), "BOX": (1, 0)}
    held = line_parts(conn, world)
    assert {code: (row["units"], row["units_each"], row["held_units"]) for code, row in held.items()} == {
        "MUG": (6, 3, 6),
        "CUP": (2, 1, 2),
    }
    # The channel took two boxes off the number it showed, and knows nothing of the parts.
    assert listing_of(conn, world, "BOX")["published_units"] == -2
    assert listing_of(conn, world, "MUG")["published_units"] == 10
    assert broken(conn, world) == {}


def test_a_component_sold_elsewhere_moves_every_bundles_listing(conn: Connection, world: World) -> None:
    other = second_channel(conn, world, ["CUP", "BOX"])
    third = second_channel(conn, world, ["KIT"], guarantee_class="B")
    book(conn, other, order("CUP", 3))
    assert shown(conn, world.connection) == {"MUG": (10, 0), "CUP": (1, 0), "KIT": (1, 0), "BOX": (1, 0)}
    assert shown(conn, other.connection) == {"CUP": (1, 0), "BOX": (1, 0)}
    assert shown(conn, third.connection) == {"KIT": (1, 0)}
    book(conn, third, order("KIT", 2))
    assert levels(conn, world) == (Level(10, 4, 6), Level(4, 5, -1))
    assert shown(conn, world.connection) == {"MUG": (6, 0), "CUP": (0, 1), "KIT": (0, 1), "BOX": (0, 1)}
    assert broken(conn, world) == {}


def test_a_bundle_goes_out_in_parcels_and_is_cancelled_and_refunded_as_its_parts(
    conn: Connection, world: World
) -> None:
    book(conn, world, order("KIT", 4))
    book(conn, world, make_fulfilment(lines=[("1", 2)]))
    assert levels(conn, world) == (Level(6, 4, 2), Level(2, 2, 0))
    book(conn, world, make_refund(lines=[make_refund_line(units=1, restock="cancel")]))
    assert levels(conn, world) == (Level(6, 2, 4), Level(2, 1, 1))
    book(conn, world, order("KIT", 4, cancelled_at=later(8), version_at=later(8)))
    assert levels(conn, world) == (Level(6, 0, 6), Level(2, 0, 2))
    assert moved(conn, world) == {"receipt": 10, "shipment": -4}
    assert moved(conn, world, "CUP") == {"receipt": 4, "shipment": -2}
    assert broken(conn, world) == {}


@pytest.mark.parametrize(
    ("refunds", "mug", "cup"),
    [
        ([make_refund_line(units=2, restock="return")], Level(6, 0, 6), Level(2, 0, 2)),
        ([make_refund_line(units=2, restock="legacy_restock")], Level(6, 0, 6), Level(2, 0, 2)),
        ([make_refund_line(units=2, restock="no_restock")], Level(2, 0, 2), Level(0, 0, 0)),
        (
            [make_refund_line(units=1, restock="return"), make_refund_line(units=1, restock="no_restock")],
            Level(4, 0, 4),
            Level(1, 0, 1),
        ),
        ([make_refund_line(units=9, restock="return")], Level(10, 0, 10), Level(4, 0, 4)),
    ],
)
def test_refunds_bring_back_the_parts_or_nothing(
    conn: Connection, world: World, refunds: Sequence[ChannelRefundLine], mug: Level, cup: Level
) -> None:
    book(conn, world, order("KIT", 4), make_fulfilment(lines=[("1", 4)]))
    book(conn, world, make_refund(lines=refunds))
    assert levels(conn, world) == (mug, cup)
    assert broken(conn, world) == {}


@pytest.mark.parametrize(
    ("disposition", "mug", "cup"),
    [
        ("restock", Level(6, 0, 6), Level(2, 0, 2)),
        ("quarantine", Level(6, 0, 2), Level(2, 0, 0)),
        ("write_off", Level(2, 0, 2), Level(0, 0, 0)),
    ],
)
def test_a_bundle_comes_back_over_the_desk_as_its_parts_and_a_refund_of_it_restocks_nothing_more(
    conn: Connection, world: World, disposition: str, mug: Level, cup: Level
) -> None:
    book(conn, world, order("KIT", 4), make_fulfilment(lines=[("1", 4)]))
    back = take_back_line(conn, world, "1001", units=2, disposition=disposition)
    assert levels(conn, world) == (mug, cup)
    book(conn, world, make_refund(lines=[make_refund_line(units=2)]))
    assert levels(conn, world) == (mug, cup)
    assert broken(conn, world) == {}
    take_back_line(conn, world, "1001", units=-2, disposition=disposition, undoes=back)
    # Undone at the desk, the channel is taken at its word.
    assert levels(conn, world) == (Level(6, 0, 6), Level(2, 0, 2))
    assert broken(conn, world) == {}


def test_the_desk_takes_back_no_more_than_went_out(conn: Connection, world: World) -> None:
    book(conn, world, order("KIT", 2), make_fulfilment(lines=[("1", 2)]))
    take_back_line(conn, world, "1001", units=2)
    with pytest.raises(DBAPIError, match="came back: 1 more cannot"):
        take_back_line(conn, world, "1001", units=1)


@pytest.mark.parametrize("now_made_of", [{"MUG": 1}, {"CUP": 3, "MUG": 5}, {"NEW": 1}, {}])
def test_what_was_sold_comes_back_as_it_was_sold(
    conn: Connection, world: World, now_made_of: Mapping[str, int]
) -> None:
    make_sku(conn, world.shop_id, "NEW")
    book(conn, world, order("KIT", 3))
    compose(conn, world, "KIT", now_made_of)
    book(conn, world, make_fulfilment(lines=[("1", 2)]))
    assert levels(conn, world) == (Level(6, 2, 4), Level(2, 1, 1))
    book(conn, world, order("KIT", 4, version_at=later(6)))
    assert levels(conn, world) == (Level(6, 4, 2), Level(2, 2, 0))
    take_back_line(conn, world, "1001")
    book(conn, world, make_refund(lines=[make_refund_line(units=2), make_refund_line(units=2, restock="cancel")]))
    assert levels(conn, world) == (Level(10, 0, 10), Level(4, 0, 4))
    assert broken(conn, world) == {}
    book(conn, world, order("KIT", 1, "1002"))
    assert set(line_parts(conn, world, "1002")) == set(now_made_of or {"KIT": 1})
    assert broken(conn, world) == {}


def test_a_line_of_a_bundle_that_is_mapped_late_is_booked_as_its_parts(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 5})
    book(conn, world, order("KIT", 2))
    make_sku(conn, world.shop_id, "KIT")
    compose(conn, world, "KIT", {"MUG": 2})
    book(conn, world, make_channel_listing("KIT", None, later(1)))
    assert level_of(conn, world) == Level(5, 4, 1)
    assert broken(conn, world) == {}


def test_one_message_sells_a_bundle_and_its_component(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line("1", "KIT", 2), make_line("2", "MUG", 3), make_line("3", "BOX", 1)]))
    assert levels(conn, world) == (Level(10, 10, 0), Level(4, 3, 1))
    assert shown(conn, world.connection) == {"MUG": (0, 0), "CUP": (1, 0), "KIT": (0, 0), "BOX": (0, 0)}
    assert broken(conn, world) == {}


def test_told_again_nothing_is_booked_again(conn: Connection, world: World) -> None:
    told = (order("BOX", 2), make_fulfilment(lines=[("1", 2)]), make_refund())
    for _ in range(3):
        book(conn, world, *told)
        assert levels(conn, world) == (Level(7, 0, 7), Level(3, 0, 3))
    assert scalar(conn, "select count(*) from reservations where shop_id = %(s)s", s=world.shop_id) == 2
    assert broken(conn, world) == {}


# --- where -------------------------------------------------------------------------------------------------------


def test_at_each_location_a_bundle_is_as_available_as_its_scarcest_part_there(conn: Connection, world: World) -> None:
    """Parts at two places make no bundle."""
    shed = inventory.open_location(conn, world.shop_id, "Shed", NOW)
    away = second_channel(conn, world, ["KIT", "CUP"], locations={"place:1": shed})
    assert shown(conn, away.connection) == {"CUP": (0, 0), "KIT": (0, 0)}
    adjust_stock(conn, away, "CUP", 9)
    assert shown(conn, away.connection) == {"CUP": (9, 0), "KIT": (0, 0)}
    adjust_stock(conn, away, "MUG", 5)
    assert shown(conn, away.connection) == {"CUP": (9, 0), "KIT": (2, 0)}
    assert shown(conn, world.connection)["KIT"] == (4, 0)
    rows = fetch(
        conn,
        "select location_id, available from bundle_levels where shop_id = %(s)s and sku_id = %(k)s",
        s=world.shop_id,
        k=world.skus["KIT"],
    )
    assert {row["location_id"]: row["available"] for row in rows} == {world.location_id: 4, shed: 2}
    row = fetch_one(conn, "select * from sku_stock where shop_id = %(s)s and code = 'KIT'", s=world.shop_id)
    assert row is not None
    assert (row["available"], row["stock_state"]) == (6, "enough")
    book(conn, away, order("KIT", 1))
    assert level_of(conn, away, "MUG") == Level(5, 2, 3)
    assert level_of(conn, world, "MUG") == Level(10, 0, 10)
    assert broken(conn, world) == {}


# --- at the same moment ------------------------------------------------------------------------------------------


def test_a_bundle_made_while_a_part_is_sold_does_not_show_the_old_number(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 6, "KIT": 0})
    with unit_of_work(engine) as conn:
        adjust_stock(conn, world, "MUG", -4)
        making = start(engine, lambda other: compose(other, world, "KIT", {"MUG": 2}))
        wait_until_blocked(engine)
    making.join(30)
    with engine.connect() as conn:
        assert shown(conn, world.connection) == {"MUG": (2, 0), "KIT": (1, 0)}
        assert broken(conn, world) == {}


def test_stock_that_arrives_while_its_sku_becomes_a_bundle_is_not_lost_under_it(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 6, "KIT": 0})
    refused: list[str] = []

    def receive(other: Connection) -> None:
        with pytest.raises(BundleHasNoStock) as error:
            adjust_stock(other, world, "KIT", 3)
        refused.append(str(error.value))
        other.rollback()

    with unit_of_work(engine) as conn:
        compose(conn, world, "KIT", {"MUG": 2})
        receiving = start(engine, receive)
        wait_until_blocked(engine)
    receiving.join(30)
    assert len(refused) == 1
    with engine.connect() as conn:
        assert broken(conn, world) == {}


def test_a_sku_whose_stock_is_just_arriving_does_not_become_a_bundle(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 6, "KIT": 0})
    refused: list[str] = []

    def make_it(other: Connection) -> None:
        with pytest.raises(BadBundle) as error:
            compose(other, world, "KIT", {"MUG": 2})
        refused.append(str(error.value))

    with unit_of_work(engine) as conn:
        adjust_stock(conn, world, "KIT", 3)
        making = start(engine, make_it)
        wait_until_blocked(engine)
    making.join(30)
    assert len(refused) == 1
    with engine.connect() as conn:
        assert level_of(conn, world, "KIT") == Level(3, 0, 3)
        assert broken(conn, world) == {}


def test_two_parts_sold_at_the_same_moment_leave_the_bundle_at_the_scarcer(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_bundles(conn, {"MUG": 10, "CUP": 10}, {"KIT": {"MUG": 1, "CUP": 1}})
    with unit_of_work(engine) as conn:
        adjust_stock(conn, world, "MUG", -3)
        other = start(engine, lambda at_once: adjust_stock(at_once, world, "CUP", -6))
        wait_until_blocked(engine)
    other.join(30)
    with engine.connect() as conn:
        assert shown(conn, world.connection) == {"MUG": (7, 0), "CUP": (4, 0), "KIT": (4, 0)}
        assert broken(conn, world) == {}


def test_a_batch_of_many_kinds_is_booked_in_one_turn(conn: Connection, world: World) -> None:
    facts = [make_facts(order(code, 1, str(number))) for number, code in enumerate(["KIT", "BOX", "MUG", "CUP"] * 2)]
    apply(conn, world, *facts)
    assert levels(conn, world) == (Level(10, 12, -2), Level(4, 6, -2))
    assert shown(conn, world.connection) == {"MUG": (0, 2), "CUP": (0, 2), "KIT": (0, 2), "BOX": (0, 2)}
    assert broken(conn, world) == {}
