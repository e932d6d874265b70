"""Shortages: the level itself writes down what took it below nothing, and the post-mortem tells it afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.db import execute, fetch, scalar, unit_of_work
from core.inventory import bundles, promises, shortages
from core.inventory.shortages import NoShortage
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    book,
    first_sync,
    later,
    make_channel_listing,
    make_connection,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    take_in,
    world_of,
)


@pytest.fixture
def world(conn: Connection) -> World:
    return make_world(conn, {"MUG": 3, "CUP": 10})


def noted(conn: Connection, world: World) -> list[dict[str, Any]]:
    return [dict(row) for row in shortages.list_(conn, world.shop_id)][::-1]


def sell(conn: Connection, world: World, ref: str, units: int, code: str = "MUG", minute: float = 1) -> None:
    line = make_line(code=code, units=units)
    book(conn, world, make_order(ref, [line], placed_at=later(minute)), now=later(minute + 0.5))


def ledger(conn: Connection, world: World, code: str, cause: str, delta: int, exposed: int, minute: float) -> None:
    """A line as the keeping of exposure writes it."""
    execute(
        conn,
        """
        insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units, changed_at)
        values (%(shop)s, %(listing)s, %(cause)s, abs(%(delta)s), %(delta)s, %(exposed)s, %(at)s)
        """,
        shop=world.shop_id,
        listing=world.listings[code],
        cause=cause,
        delta=delta,
        exposed=exposed,
        at=later(minute),
    )


def test_the_order_that_went_below_is_noted_with_the_level_before_and_after(conn: Connection, world: World) -> None:
    sell(conn, world, "1001", 2)
    assert noted(conn, world) == []
    sell(conn, world, "1002", 4, minute=2)
    (row,) = noted(conn, world)
    assert (row["order_name"], row["connection"]) == ("#1002", world.connection.name)
    assert (row["before_units"], row["after_units"], row["worst_units"], row["ended_at"]) == (1, -3, -3, None)
    assert row["booked_at"] == later(2.5)
    sell(conn, world, "1003", 1, minute=3)
    (deeper,) = noted(conn, world)
    assert (deeper["order_name"], deeper["after_units"], deeper["worst_units"]) == ("#1002", -3, -4)


def test_it_outlives_the_cancellation_that_ends_it_and_the_next_is_another(conn: Connection, world: World) -> None:
    sell(conn, world, "1001", 5)
    refund = make_refund("1001", [make_refund_line(units=5, restock="cancel")])
    book(conn, world, refund, make_order("1001", [make_line(units=5)], cancelled_at=later(4), version_at=later(4)),
         now=later(4))  # fmt: skip
    (over,) = noted(conn, world)
    assert over["ended_at"] is not None
    told = shortages.read(conn, world.shop_id, over["shortage_id"])
    assert told.order is not None
    assert (told.order["order_name"], told.order["units"]) == ("#1001", 5)
    sell(conn, world, "1002", 4, minute=5)
    assert [row["order_name"] for row in noted(conn, world)] == ["#1001", "#1002"]


def test_an_order_that_left_at_once_is_found_by_what_it_moved(conn: Connection, world: World) -> None:
    order = make_order("1001", [make_line(units=5)])
    book(conn, world, order, make_fulfilment("1001", [("1", 5)]))
    (row,) = noted(conn, world)
    assert (row["order_name"], row["movement_reason"]) == ("#1001", "shipment")
    assert shortages.read(conn, world.shop_id, row["shortage_id"]).case.sold_units == 5


def test_of_orders_booked_in_one_batch_the_one_that_went_below_is_told(conn: Connection, world: World) -> None:
    orders = [make_order(f"10{n}", [make_line(units=units)]) for n, units in ((1, 2), (2, 2), (3, 9))]
    book(conn, world, *orders)
    (row,) = noted(conn, world)
    told = shortages.read(conn, world.shop_id, row["shortage_id"])
    assert told.order is not None
    assert (row["after_units"], told.order["order_name"]) == (-10, "#102")


def test_an_order_that_grew_later_is_told_and_not_the_newest_one(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 3})
    for ref in ("1001", "1002"):
        with unit_of_work(engine) as conn:
            sell(conn, world, ref, 1)
    with unit_of_work(engine) as conn:
        book(conn, world, make_order("1001", [make_line(units=4)], version_at=later(5)), now=later(5))
    with engine.connect() as conn:
        (row,) = noted(conn, world)
    assert (row["order_name"], row["after_units"]) == ("#1001", -2)


def test_a_count_is_no_sale(conn: Connection, world: World) -> None:
    sell(conn, world, "1001", 3)
    adjust_stock(conn, world, "MUG", -2, reason="count")
    (row,) = noted(conn, world)
    assert (row["order_name"], row["movement_reason"], row["after_units"]) == (None, "count", -2)
    assert shortages.read(conn, world.shop_id, row["shortage_id"]).verdict.cause == "not_a_sale"


def test_a_bundle_takes_its_part_below(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 3, "SET": 0})
    bundles.set_components(conn, world.shop_id, "SET", {"MUG": 2}, ACTOR, NOW)
    sell(conn, world, "1001", 2, "SET")
    (row,) = noted(conn, world)
    assert (row["code"], row["before_units"], row["after_units"], row["order_name"]) == ("MUG", 3, -1, "#1001")
    told = shortages.read(conn, world.shop_id, row["shortage_id"])
    assert any("order #1001: 4 sold (2 bundles with 2 in each)" in fact.what for fact in shortages.timeline(told))


def test_our_own_promises_never_make_one(conn: Connection, world: World) -> None:
    holder = promises.Holder("checkout", "c1")
    promise = promises.Promise(holder, world.location_id, ((world.skus["MUG"], 9),))
    answers = promises.reserve(conn, world.shop_id, [promise], NOW)
    assert not answers[0].is_whole
    assert noted(conn, world) == []


def test_the_post_mortem_tells_exposure_writes_and_the_setting(conn: Connection, world: World) -> None:
    ledger(conn, world, "MUG", "base", 3, 3, -9)
    ledger(conn, world, "MUG", "restock", 2, 5, -4)
    execute(
        conn,
        """
        insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, idempotency_key,
            batch_position, planned_at, deadline_at, sent_at, outcome, outcome_at, outcome_code, outcome_detail)
        values (%(shop)s, %(connection)s, %(listing)s, 3, 1, 'k', 0, %(at)s, %(at)s, %(at)s, 'stale', %(at)s,
            'CHANGE_FROM_QUANTITY_STALE', 'it shows another number')
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        listing=world.listings["MUG"],
        at=later(-1),
    )
    execute(conn, "update connections set watermark_at = %(at)s where id = %(id)s", at=NOW, id=world.connection.id)
    sell(conn, world, "1001", 5)
    ledger(conn, world, "MUG", "sale", -5, 0, 1.5)
    (row,) = noted(conn, world)
    told = shortages.read(conn, world.shop_id, row["shortage_id"])
    assert [(seat.exposed_units, seat.is_seller) for seat in told.case.seats] == [(5, True)]
    assert (told.verdict.cause, told.verdict.line_units) == ("pooled", 5)
    said = [fact.what for fact in shortages.timeline(told)]
    assert said[0].startswith("available goes from 3 to −2")
    assert "order #1001: 5 sold" in said
    assert f"write to {world.connection.name}: 3 → 1" in said
    assert "showed another number than the write expected (CHANGE_FROM_QUANTITY_STALE: it shows another number)" in said
    assert shortages.as_json(told)["verdict"]["cause"] == "pooled"


@pytest.mark.parametrize(
    ("lines", "reads_orders", "cause"),
    [
        ([("base", 3, 3), ("edit", 4, 7)], True, "edit"),
        ([("base", 3, 3), ("edit", 4, 7), ("collapsed", -2, 5)], True, "pooled"),
        ([("base", 2, 2)], True, "sold_at_zero"),
        ([("base", 9, 9)], False, "unwatched"),
    ],
)
def test_what_the_ledger_says_decides_the_verdict(
    conn: Connection, world: World, lines: list[tuple[str, int, int]], reads_orders: bool, cause: str
) -> None:
    for minute, (what, delta, exposed) in enumerate(lines, start=-9):
        ledger(conn, world, "MUG", what, delta, exposed, minute)
    execute(
        conn,
        "update connections set reads_orders = %(reads)s, watermark_at = %(at)s where id = %(id)s",
        reads=reads_orders,
        at=NOW if reads_orders else None,
        id=world.connection.id,
    )
    sell(conn, world, "1001", 5)
    (row,) = noted(conn, world)
    assert shortages.read(conn, world.shop_id, row["shortage_id"]).verdict.cause == cause


def test_two_channels_that_shared_a_pool_are_told_from_the_ledger_that_bookings_keep(
    conn: Connection, world: World
) -> None:
    connection = make_connection(conn, world.shop_id, is_sku_source=False, name="Second")
    take_in(conn, connection, [make_channel_listing("MUG", 3)])
    first_sync(conn, connection)
    second = world_of(conn, connection)
    execute(conn, "update connections set watermark_at = %(now)s", now=NOW)
    sell(conn, world, "1001", 2)
    sell(conn, second, "2001", 3, minute=2)
    (row,) = noted(conn, world)
    assert (row["order_name"], row["connection"], row["before_units"], row["after_units"]) == ("#2001", "Second", 1, -2)
    told = shortages.read(conn, world.shop_id, row["shortage_id"])
    seats = {seat.connection: (seat.exposed_units, seat.is_seller) for seat in told.case.seats}
    assert seats == {world.connection.name: (1, False), "Second": (3, True)}
    assert told.verdict.because == "The pool was shared by all: 2 channels could sell 4 together, and 1 was there."
    assert (told.verdict.cause, told.verdict.line_units) == ("pooled", 3)
    assert "3 sold and booked; it could still sell 0" in [fact.what for fact in shortages.timeline(told)]


def test_how_the_pool_was_shared_then_is_kept(conn: Connection, world: World) -> None:
    execute(
        conn,
        """
        update stock_levels set is_escrow = true, escrow_line_units = 3
        where shop_id = %(shop)s and sku_id = %(sku)s
        """,
        shop=world.shop_id,
        sku=world.skus["MUG"],
    )
    sell(conn, world, "1001", 5)
    execute(conn, "update stock_levels set is_escrow = false, escrow_line_units = 9")
    (row,) = noted(conn, world)
    assert (row["is_escrow"], row["escrow_line_units"]) == (True, 3)


def test_a_shortage_is_a_fact(conn: Connection, world: World) -> None:
    sell(conn, world, "1001", 5)
    with pytest.raises(DBAPIError, match="is a fact"), conn.begin_nested():
        execute(conn, "update shortages set before_units = 9")
    with pytest.raises(DBAPIError), conn.begin_nested():
        execute(conn, "delete from shortages")
    assert scalar(conn, "select before_units from shortages") == 3


def test_another_shops_are_not_told_and_pages_meet(conn: Connection, world: World) -> None:
    other = make_world(conn, {"MUG": 0})
    sell(conn, other, "1", 1)
    for number in range(3):
        sell(conn, world, f"10{number}", 20, minute=number)
        adjust_stock(conn, world, "MUG", 20)
    with pytest.raises(NoShortage):
        shortages.read(conn, world.shop_id, noted(conn, other)[0]["shortage_id"])
    ids = [row["shortage_id"] for row in shortages.list_(conn, world.shop_id)]
    first = shortages.list_(conn, world.shop_id, limit=2)
    rest = shortages.list_(conn, world.shop_id, before_id=first[-1]["shortage_id"])
    assert [row["shortage_id"] for row in [*first, *rest]] == ids
    assert len(ids) == 3
    assert {row["shop_id"] for row in fetch(conn, "select shop_id from shortage_list")} == {
        other.shop_id,
        world.shop_id,
    }
