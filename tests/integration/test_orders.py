"""What the inbox says becomes orders, stock and listings: each fact booked once, whatever its road."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection

from core import invariants
from core.db import execute, fetch, fetch_one, scalar
from core.inventory import operations as inventory
from core.inventory.operations import UnknownSku
from core.orders import intake
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from core.ports import ChannelRefund
from tests.factories import (
    ACTOR,
    BASELINE,
    NOW,
    PLACE,
    Level,
    World,
    apply,
    book,
    count,
    later,
    level_of,
    listing_of,
    make_channel_listing,
    make_facts,
    make_fulfilment,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_shop,
    make_sku,
    make_world,
    moved,
    reservation_of,
    take_in,
)


def assert_consistent(conn: Connection, world: World) -> None:
    found = {item.name: item.rows for item in invariants.check(conn, NOW, shop_id=world.shop_id) if item.rows}
    assert found == {}


def order_of(conn: Connection, world: World, ref: str = "1001"):
    return fetch_one(
        conn, "select * from orders where shop_id = %(shop)s and channel_ref = %(ref)s", shop=world.shop_id, ref=ref
    )


def line_of(conn: Connection, world: World, ref: str = "1"):
    return fetch_one(
        conn,
        "select * from order_lines where shop_id = %(shop)s and channel_ref = %(ref)s",
        shop=world.shop_id,
        ref=ref,
    )


def test_a_sale_is_held_and_the_other_listings_should_show_less(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=3)]))
    assert level_of(conn, world) == Level(on_hand=10, reserved=3, available=7)
    assert listing_of(conn, world)["desired_units"] == 7
    assert_consistent(conn, world)


def test_the_channels_own_sale_is_no_difference_to_push(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=3)]))
    assert (listing_of(conn, world)["published_units"], listing_of(conn, world)["unseen_units"]) == (7, 0)


def test_the_same_order_again_changes_nothing(conn: Connection, world: World) -> None:
    order = make_order(lines=[make_line(units=3)], fulfilments=[make_fulfilment()], refunds=[make_refund()])
    for _ in range(3):
        book(conn, world, order)
    assert level_of(conn, world) == Level(on_hand=10, reserved=2, available=8)
    assert moved(conn, world) == {"receipt": 10, "shipment": -1, "customer_return": 1}
    assert_consistent(conn, world)


def test_one_order_seen_twice_in_a_batch_is_booked_once(conn: Connection, world: World) -> None:
    apply(conn, world, make_facts(make_order()), make_facts(make_order(version_at=later(2))), make_facts(make_order()))
    assert level_of(conn, world).reserved == 1
    assert count(conn, "orders", world.shop_id) == 1


def test_an_older_observation_never_overwrites_a_newer_one(conn: Connection, world: World) -> None:
    new = make_order(lines=[make_line(units=1)], version_at=later(9), financial_status="paid")
    old = make_order(lines=[make_line(units=4)], version_at=later(2), financial_status="pending", name="#old")
    for seen in (new, old):
        book(conn, world, seen)
    assert (order_of(conn, world)["financial_status"], order_of(conn, world)["name"]) == ("paid", "#1001")
    assert level_of(conn, world).reserved == 1


def test_a_cancelled_order_releases_what_it_held(conn: Connection, world: World) -> None:
    order = make_order(lines=[make_line(units=3)])
    book(conn, world, order)
    book(conn, world, replace(order, cancelled_at=later(5), cancel_reason="customer", version_at=later(5)))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert (reservation_of(conn, world)["state"], order_of(conn, world)["cancel_reason"]) == ("released", "customer")
    assert_consistent(conn, world)


def test_a_cancellation_is_never_taken_back_by_any_observation(conn: Connection, world: World) -> None:
    order = make_order(version_at=later(9))
    book(conn, world, order)
    book(conn, world, replace(order, cancelled_at=later(5), version_at=later(5)))
    book(conn, world, replace(order, version_at=later(20)))
    assert order_of(conn, world)["cancelled_at"] == later(5)
    assert level_of(conn, world) == Level(10, 0, 10)


def test_a_cancellation_with_its_refund_restocks_once(conn: Connection, world: World) -> None:
    order = make_order(lines=[make_line(units=3)])
    refund = make_refund(lines=[make_refund_line(units=3, restock="cancel")])
    book(conn, world, order)
    book(conn, world, refund)
    book(conn, world, replace(order, cancelled_at=later(5), version_at=later(5), refunds=(refund,)))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert_consistent(conn, world)


def test_a_fulfilment_that_overtakes_its_order_waits_and_is_released_by_it(conn: Connection, world: World) -> None:
    verdict = book(conn, world, make_fulfilment())
    assert (verdict.state, verdict.waiting_for) == ("waiting", "order:1001")
    assert count(conn, "fulfilments", world.shop_id) == 0
    early, order = apply(conn, world, make_facts(make_fulfilment()), make_facts(make_order()))
    assert (early.state, order.state) == ("handled", "handled")
    assert level_of(conn, world) == Level(9, 0, 9)


def test_a_refund_of_a_line_we_do_not_know_waits_for_the_order_to_name_it(conn: Connection, world: World) -> None:
    book(conn, world, make_order())
    refund = make_refund(lines=[make_refund_line("2")])
    verdict = book(conn, world, refund)
    assert (verdict.state, verdict.waiting_for) == ("waiting", "order_line:1001")
    assert count(conn, "refunds", world.shop_id) == 0
    edited = make_order(lines=[make_line(), make_line("2", units=2)], version_at=later(5))
    assert [item.state for item in apply(conn, world, make_facts(edited), make_facts(refund))] == ["handled", "handled"]
    assert count(conn, "refunds", world.shop_id) == 1
    assert_consistent(conn, world)


def test_a_message_that_waits_books_none_of_what_it_says(conn: Connection, world: World) -> None:
    book(conn, world, make_order())
    verdict = book(conn, world, make_fulfilment(), make_fulfilment("1002"))
    assert (verdict.state, verdict.waiting_for) == ("waiting", "order:1002")
    assert count(conn, "fulfilments", world.shop_id) == 0


def test_a_partly_unmapped_order_books_its_mapped_lines_and_the_rest_once_mapped(
    conn: Connection, world: World
) -> None:
    order = make_order(lines=[make_line("1", "MUG", 2), make_line("2", "NEW", 3)])
    assert book(conn, world, order).state == "handled"
    assert level_of(conn, world).reserved == 2
    parked = line_of(conn, world, "2")
    assert (parked["mapping"], parked["mapping_reason"]) == (
        "unmapped",
        "no listing of this channel and no SKU of ours answers to it",
    )
    book(conn, world, make_channel_listing("NEW", None))
    assert line_of(conn, world, "2")["mapping"] == "stocked"
    assert reservation_of(conn, world, line_ref="2")["held_units"] == 3
    assert_consistent(conn, world)


def test_a_sync_books_parked_lines_of_what_it_brought(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line("2", "NEW", 3)]), make_fulfilment(lines=[("2", 1)]))
    make_sku(conn, world.shop_id, "NEW")
    assert intake.book_lines_mapped_late(conn, world.channel, NOW) == 1
    assert intake.book_lines_mapped_late(conn, world.channel, NOW) == 0
    booked = reservation_of(conn, world, line_ref="2")
    assert (booked["held_units"], booked["consumed_units"]) == (2, 1)
    assert_consistent(conn, world)


def test_a_line_without_stock_by_nature_moves_nothing(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "GIFT", is_stocked=False)
    book(conn, world, make_order(lines=[make_line("1", None), make_line("2", "GIFT")]))
    assert [line_of(conn, world, ref)["mapping"] for ref in ("1", "2")] == ["unstocked", "unstocked"]
    assert count(conn, "reservations", world.shop_id) == 0


@pytest.mark.parametrize(("units", "available"), [(5, 5), (1, 9), (0, 10)])
def test_an_edited_order_holds_its_new_number(conn: Connection, world: World, units: int, available: int) -> None:
    order = make_order(lines=[make_line(units=3)])
    book(conn, world, order)
    book(conn, world, replace(order, lines=(make_line(units=units),), version_at=later(5)))
    assert level_of(conn, world).available == available
    assert line_of(conn, world)["total_minor"] == 250 * units
    assert_consistent(conn, world)


def test_a_line_added_by_an_edit_is_booked(conn: Connection, world: World) -> None:
    book(conn, world, make_order())
    book(conn, world, make_order(lines=[make_line(), make_line("2", units=4)], version_at=later(5)))
    assert level_of(conn, world).reserved == 5


def test_a_pending_fulfilment_consumes_nothing_until_the_goods_have_left(conn: Connection, world: World) -> None:
    pending = make_fulfilment(status="pending", is_shipped=False)
    book(conn, world, make_order(), pending)
    assert level_of(conn, world) == Level(10, 1, 9)
    book(conn, world, replace(pending, status="success", is_shipped=True, version_at=later(6)))
    assert level_of(conn, world) == Level(9, 0, 9)
    assert_consistent(conn, world)


def test_a_cancelled_fulfilment_gives_its_units_back_to_held(conn: Connection, world: World) -> None:
    shipped = make_fulfilment()
    book(conn, world, make_order(), shipped)
    book(conn, world, replace(shipped, status="cancelled", is_shipped=False, version_at=later(6)))
    assert level_of(conn, world) == Level(10, 1, 9)
    assert moved(conn, world) == {"receipt": 10, "shipment": 0}
    assert_consistent(conn, world)


def test_an_older_status_of_a_fulfilment_is_passed_over(conn: Connection, world: World) -> None:
    gone = make_fulfilment(version_at=later(6))
    book(conn, world, make_order(), gone)
    book(conn, world, replace(gone, status="pending", is_shipped=False, version_at=later(4)))
    assert level_of(conn, world) == Level(9, 0, 9)


def test_goods_shipped_in_two_parcels_leave_once(conn: Connection, world: World) -> None:
    parcels = [make_fulfilment(lines=[("1", 2)], ref="f1"), make_fulfilment(lines=[("1", 1)], ref="f2")]
    book(conn, world, make_order(lines=[make_line(units=3)], fulfilments=parcels), parcels[0])
    book(conn, world, parcels[1])
    assert level_of(conn, world) == Level(7, 0, 7)


@pytest.mark.parametrize(
    ("restock", "level"),
    [
        ("return", Level(9, 0, 9)),
        ("cancel", Level(9, 0, 9)),
        ("legacy_restock", Level(9, 0, 9)),
        ("no_restock", Level(8, 0, 8)),
    ],
)
def test_a_refund_of_a_shipped_unit(conn: Connection, world: World, restock: str, level: Level) -> None:
    lines = [make_refund_line(restock=restock)]  # type: ignore[arg-type]
    book(conn, world, make_order(lines=[make_line(units=2)]), make_fulfilment(lines=[("1", 2)]))
    book(conn, world, make_refund(lines=lines))
    assert level_of(conn, world) == level
    assert_consistent(conn, world)


@pytest.mark.parametrize(
    ("restock", "level"),
    [
        ("cancel", Level(10, 1, 9)),
        ("legacy_restock", Level(10, 1, 9)),
        ("no_restock", Level(9, 1, 8)),
    ],
)
def test_a_refund_of_an_unshipped_unit(conn: Connection, world: World, restock: str, level: Level) -> None:
    book(conn, world, make_order(lines=[make_line(units=2)]))
    book(conn, world, make_refund(lines=[make_refund_line(restock=restock)]))  # type: ignore[arg-type]
    assert level_of(conn, world) == level
    assert_consistent(conn, world)


def test_a_refund_of_money_alone_moves_no_stock(conn: Connection, world: World) -> None:
    book(conn, world, make_order())
    assert book(conn, world, make_refund(lines=[], amount_minor=99)).state == "handled"
    assert level_of(conn, world) == Level(10, 1, 9)
    assert scalar(conn, "select amount_minor from refunds where shop_id = %(s)s", s=world.shop_id) == 99


def test_a_refund_line_of_no_units_moves_no_stock(conn: Connection, world: World) -> None:
    book(conn, world, make_order(), make_refund(lines=[make_refund_line(units=0)]))
    assert level_of(conn, world) == Level(10, 1, 9)
    assert_consistent(conn, world)


def test_a_refund_told_by_the_order_and_by_itself_counts_once(conn: Connection, world: World) -> None:
    refund = make_refund(lines=[make_refund_line(restock="cancel")])
    book(conn, world, make_order(lines=[make_line(units=2)]))
    apply(conn, world, make_facts(refund), make_facts(make_order(lines=[make_line(units=2)], refunds=[refund])))
    book(conn, world, refund)
    assert level_of(conn, world) == Level(10, 1, 9)


def test_more_than_there_is_may_be_sold_and_shows_as_a_shortage(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=12)]))
    assert level_of(conn, world) == Level(10, 12, -2)
    assert listing_of(conn, world)["desired_units"] == 0


def test_an_unshipped_order_of_before_the_baseline_is_held_but_changes_nothing_available(
    conn: Connection, world: World
) -> None:
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=BASELINE - timedelta(minutes=5)))
    assert level_of(conn, world) == Level(12, 2, 10)
    book(conn, world, make_fulfilment(lines=[("1", 2)]))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert_consistent(conn, world)


def test_an_order_of_after_the_baseline_does_change_it(conn: Connection, world: World) -> None:
    book(conn, world, make_order(placed_at=BASELINE + timedelta(seconds=1)))
    assert level_of(conn, world).available == 9


def test_an_order_of_the_very_second_of_the_baseline_is_taken_off(conn: Connection) -> None:
    """The channel stamps whole seconds: sold at .9 it says .0, and a number read at .3 still had its units."""
    world = make_world(conn, baseline_at=BASELINE + timedelta(seconds=0.3))
    book(conn, world, make_order(placed_at=BASELINE))
    assert level_of(conn, world).available == 9
    assert_consistent(conn, world)


def test_what_was_sold_and_restocked_before_the_baseline_changes_nothing(conn: Connection, world: World) -> None:
    before = BASELINE - timedelta(minutes=5)
    refund = make_refund(lines=[make_refund_line(units=2, restock="cancel")], at=before + timedelta(minutes=1))
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=before, refunds=[refund]))
    assert level_of(conn, world) == Level(10, 0, 10)
    assert_consistent(conn, world)


def test_what_was_sold_before_the_baseline_and_restocked_after_it_is_new_stock(conn: Connection, world: World) -> None:
    refund = make_refund(lines=[make_refund_line(units=2, restock="cancel")])
    order = make_order(lines=[make_line(units=2)], placed_at=BASELINE - timedelta(minutes=5))
    book(conn, world, order, refund)
    assert level_of(conn, world) == Level(12, 0, 12)
    assert_consistent(conn, world)


def test_an_order_cancelled_before_the_baseline_without_a_refund_changes_nothing(
    conn: Connection, world: World
) -> None:
    before = BASELINE - timedelta(minutes=5)
    order = make_order(placed_at=before, cancelled_at=before + timedelta(minutes=1), version_at=later(0))
    book(conn, world, order)
    assert level_of(conn, world).available == 10
    assert_consistent(conn, world)


def test_a_level_of_an_item_we_do_not_list_waits_for_it(conn: Connection, world: World) -> None:
    verdict = book(conn, world, make_level("NEW", 4))
    assert (verdict.state, verdict.waiting_for) == ("waiting", "item:item:NEW")


def test_a_level_the_channel_shows_by_itself_is_kept_as_unseen_until_its_order_explains_it(
    conn: Connection, world: World
) -> None:
    book(conn, world, make_level(units=8, at=later(2)))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["unseen_units"], shown["desired_units"]) == (8, -2, 10)
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=later(1)))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["unseen_units"], shown["desired_units"]) == (8, 0, 8)


def test_an_older_level_is_passed_over(conn: Connection, world: World) -> None:
    book(conn, world, make_level(units=8, at=later(2)))
    book(conn, world, make_level(units=3, at=later(1)))
    assert listing_of(conn, world)["published_units"] == 8


def test_a_topic_nobody_uses_is_ignored_and_an_unreadable_body_parked(conn: Connection, world: World) -> None:
    from core.messaging.inbox import Received
    from tests.factories import UNREADABLE, body_of, parse

    batch = [
        Received(1, "unused", b"", None, NOW, 0),
        Received(2, "facts", UNREADABLE, None, NOW, 0),
        Received(3, "facts", body_of(make_order()), None, NOW, 0),
        Received(4, "facts", body_of(), None, NOW, 0),
    ]
    verdicts = intake.Intake(world.connection, parse)(conn, batch, NOW)
    assert {number: verdict.state for number, verdict in verdicts.items()} == {
        1: "ignored",
        2: "parked",
        3: "handled",
        4: "handled",
    }
    assert (verdicts[2].cause, verdicts[2].detail) == ("unreadable", "line 1: not a body of ours")


def test_two_shops_with_the_same_refs_never_meet(conn: Connection, world: World) -> None:
    other = make_world(conn)
    for each in (world, other):
        book(conn, each, make_order(lines=[make_line(units=2)]))
    book(conn, other, make_fulfilment(lines=[("1", 2)]))
    assert (level_of(conn, world), level_of(conn, other)) == (Level(10, 2, 8), Level(8, 0, 8))


def test_which_versions_of_orders_are_not_known_yet(conn: Connection, world: World) -> None:
    book(conn, world, make_order("1", version_at=later(5)))
    asked = [("1", later(4)), ("1", later(5)), ("1", later(6)), ("2", later(1))]
    found = orders.unknown_versions(conn, world.shop_id, world.connection.id, asked)
    assert found == {("1", later(6)), ("2", later(1))}


def make_return(key: str = "C1:1", code: str = "MUG", units: int = 2, price: str = "0.005") -> OrderlessReturn:
    return OrderlessReturn(key, code, units, Decimal(price), "GBP", "17850", NOW)


def test_a_return_without_order_brings_stock_back_once_and_rounds_its_money_once(
    conn: Connection, world: World
) -> None:
    returns = [make_return(), make_return("C1:2", units=3)]
    assert orders.take_back(conn, world.shop_id, world.location_id, returns, ACTOR, NOW) == 2
    assert orders.take_back(conn, world.shop_id, world.location_id, [*returns, make_return("C2:1")], ACTOR, NOW) == 1
    assert level_of(conn, world) == Level(17, 0, 17)
    totals = fetch(
        conn,
        "select total_minor from customer_returns where shop_id = %(s)s order by business_key",
        s=world.shop_id,
    )
    assert [row["total_minor"] for row in totals] == [1, 2, 1]
    assert listing_of(conn, world)["desired_units"] == 17
    assert_consistent(conn, world)


def test_a_return_of_something_without_stock_counts_its_money_only(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "POST", is_stocked=False)
    orders.take_back(conn, world.shop_id, world.location_id, [make_return(code="POST")], ACTOR, NOW)
    assert scalar(conn, "select disposition from customer_returns where shop_id = %(s)s", s=world.shop_id) == "none"
    assert moved(conn, world) == {"receipt": 10}
    assert_consistent(conn, world)


def test_a_return_of_an_unknown_code_leaves_nothing(conn: Connection, world: World) -> None:
    with pytest.raises(UnknownSku, match="no SKU has the code mug: codes are compared exactly"):
        orders.take_back(
            conn, world.shop_id, world.location_id, [make_return(), make_return("C1:2", "mug")], ACTOR, NOW
        )
    assert count(conn, "customer_returns", world.shop_id) == 0
    assert level_of(conn, world) == Level(10, 0, 10)


def test_the_same_line_twice_in_an_order_is_one_line(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=2), make_line(units=2)]))
    assert level_of(conn, world).reserved == 2


def test_a_fulfilment_naming_a_line_twice_ships_both(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=3)]), make_fulfilment(lines=[("1", 1), ("1", 1)]))
    assert level_of(conn, world) == Level(8, 1, 7)


def test_a_code_without_listing_is_booked_at_the_shops_location(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "LOOSE")
    book(conn, world, make_order(lines=[make_line("1", "LOOSE", 2, variant_ref=None)]))
    assert reservation_of(conn, world)["location_id"] == world.location_id
    assert_consistent(conn, world)


def test_a_refund_is_what_it_was_even_when_told_again_differently(conn: Connection, world: World) -> None:
    refund: ChannelRefund = make_refund(lines=[make_refund_line(restock="cancel")])
    book(conn, world, make_order(lines=[make_line(units=3)]), refund)
    book(conn, world, replace(refund, lines=(make_refund_line(units=3, restock="cancel"),)))
    assert level_of(conn, world).reserved == 2


def test_sync_of_a_shop_without_location_opens_one(conn: Connection) -> None:
    from tests.factories import make_connection

    connection = make_connection(conn, make_shop(conn), locations={})
    channel = intake.channel_of(conn, connection, NOW)
    assert channel.location_id is not None
    assert intake.channel_of(conn, connection, NOW) == channel


def test_a_listing_with_a_place_of_its_own_is_booked_there(conn: Connection, world: World) -> None:
    second = inventory.open_location(conn, world.shop_id, "Second", NOW)
    execute(
        conn,
        "update connections set settings = jsonb_set(settings, '{locations}', jsonb_build_object('p2', %(id)s::int8))",
        id=second,
    )
    take_in(conn, world.connection, [make_channel_listing("CUP", None)])
    book(conn, world, make_order(lines=[make_line(code="CUP")]))
    assert reservation_of(conn, world)["location_id"] == second
    assert PLACE not in scalar(conn, "select settings -> 'locations' from connections")
