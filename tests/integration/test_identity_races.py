"""Mapping beside bookings, in real processes: no line is left parked, none is promised twice, nobody deadlocks.

This file is also what its processes run (see tests.racing).
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Engine

from core.audit import Actor
from core.connections.queries import connection as connection_row
from core.db import fetch, scalar, unit_of_work
from core.identity import operations
from core.identity.operations import MappingChanged
from core.identity.rules import identifier
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.orders import intake
from tests import racing
from tests.factories import (
    ACTOR,
    NOW,
    World,
    book,
    later,
    make_channel_listing,
    make_connection,
    make_line,
    make_order,
    make_world,
    world_of,
)
from tests.stock_desk import broken

ROUNDS = 12


def sell(engine: Engine, world: World) -> Any:
    """Book orders of the listings one after the other, each in a unit of work of its own."""
    for number in range(ROUNDS):
        order = make_order(f"{os.getpid()}-{number}", [make_line("1", "MUG"), make_line("2", "LATE")])
        with unit_of_work(engine) as conn:
            book(conn, world, order)
    return ROUNDS


def cancel_and_adjust(engine: Engine, world: World) -> Any:
    """Sell and cancel, and change what is on hand of both SKUs, in an order of our own."""
    for number in range(ROUNDS):
        ref = f"c{os.getpid()}-{number}"
        with unit_of_work(engine) as conn:
            book(conn, world, make_order(ref, [make_line("1", "MUG", 2)]))
        with unit_of_work(engine) as conn:
            items = [Adjustment(f"{ref}:{code}", code, 1, "adjustment", NOW) for code in ("MUG", "CUP")]
            inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, NOW)
        with unit_of_work(engine) as conn:
            gone = make_order(ref, [make_line("1", "MUG", 2)], version_at=later(9), cancelled_at=later(9))
            book(conn, world, gone)


def map_late(engine: Engine, world: World) -> Any:
    """Say whose the listing is that nobody knew."""
    one = identifier(world.connection.id, "variant", "variant:LATE")
    with unit_of_work(engine) as conn:
        return operations.map_identifier(conn, world.shop_id, one, "JUG", Actor("Bob", "a race"), NOW).lines_booked


def remap(engine: Engine, world: World) -> Any:
    """Remap there and back as often as the facts that were looked at still hold; returns how often they did."""
    one, actor = identifier(world.connection.id, "variant", "variant:MUG"), Actor("Bob", "a race")
    done = 0
    for number in range(ROUNDS * 3):
        code = "CUP" if done % 2 == 0 else "MUG"
        seen = operations.preview_remap(engine, world.shop_id, one, code, actor, later(number))
        try:
            with unit_of_work(engine) as conn:
                operations.remap_identifier(conn, world.shop_id, one, code, seen.token(), actor, later(number))
            done += 1
        except MappingChanged:
            continue
    return done


ROLES = {"sell": sell, "cancel_and_adjust": cancel_and_adjust, "map_late": map_late, "remap": remap}


def test_mapping_and_remapping_beside_bookings_leaves_every_promise_where_its_line_is(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 500, "CUP": 500, "JUG": 500})
        # One that makes no SKUs: what it lists may be nobody's.
        connection = make_connection(conn, world.shop_id, is_sku_source=False)
        intake.take_in(conn, connection, [make_channel_listing("LATE", 5), make_channel_listing("MUG", 5)], NOW)
        there = world_of(conn, connection_row(conn, world.shop_id, connection.id))
    sold, _, booked, moved = racing.race(
        engine, __file__, [("sell", there), ("cancel_and_adjust", there), ("map_late", there), ("remap", there)]
    )
    assert moved > 0
    assert booked <= sold
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select count(*) from order_lines where mapping = 'unmapped'") == 0
        assert broken(conn, world) == {}
        held = fetch(
            conn,
            """
            select l.code, sum(r.held_units)::int8 as units, count(distinct r.order_line_id) as lines
            from reservations r join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
            where r.sku_id = l.sku_id and r.held_units > 0 group by 1 order by 1
            """,
        )
        assert [dict(row) for row in held] == [
            {"code": "LATE", "units": ROUNDS, "lines": ROUNDS},
            {"code": "MUG", "units": ROUNDS, "lines": ROUNDS},
        ]


if __name__ == "__main__":
    racing.play(ROLES)
