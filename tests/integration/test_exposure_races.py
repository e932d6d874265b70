"""Races on scarce stock between real processes: nobody deadlocks, and never is more exposed than there is.

This file is also what its processes run (see tests.racing).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core import invariants
from core.connections.operations import note_poll_complete
from core.db import fetch, scalar, unit_of_work
from core.inventory import checking, escrow, lines, pace, promises, publishing
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.inventory.promises import Holder
from core.inventory.publishing import Lane
from core.messaging import inbox
from core.messaging.inbox import Batch
from core.orders.intake import Intake
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from core.ports import QuantityResult
from tests import racing
from tests.factories import (
    ACTOR,
    NOW,
    World,
    body_of,
    count,
    later,
    make_line,
    make_order,
    parse,
    record_bodies,
)
from tests.stock_desk import make_bundles, reserve, second_channel

STOCK = {"MUG": 40, "CUP": 30}
MADE_OF = {"KIT": {"MUG": 1, "CUP": 1}, "BOX": {"MUG": 2}}
SOLD = 24
ROUNDS = 8

FREE = """
    select min(k.available - pool_exposed_units(k.shop_id, k.sku_id, k.location_id)) from stock_levels k
    where k.shop_id = %(shop)s and k.is_escrow
"""

# --- what the processes do ---------------------------------------------------------------------------------------


def drain(engine: Engine, world: World) -> Any:
    """Book what the channel sold."""
    handler = Intake(world.connection, parse)
    while inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(2), handler, NOW)[0]:
        pass


def push(engine: Engine, world: World) -> Any:
    """Write what differs, and be told that all of it was done; returns how many writes."""
    lane = Lane(world.shop_id, world.connection.id, "A", 2)
    done = 0
    for _ in range(ROUNDS):
        with unit_of_work(engine) as conn:
            calls = publishing.plan(conn, lane, 10, NOW)
        for call in calls:
            ids = [write.write_id for write in call]
            with unit_of_work(engine) as conn:
                assert publishing.mark_sent(conn, world.shop_id, ids, NOW) == set(ids)
            results = [QuantityResult(write_id, "confirmed", at=NOW) for write_id in ids]
            with unit_of_work(engine) as conn:
                publishing.settle(conn, world.shop_id, results, timedelta(0), NOW)
            with unit_of_work(engine) as conn:
                escrow.follow_up(conn, world.shop_id, ids, NOW)
            done += len(ids)
    return done


def promise(engine: Engine, world: World) -> Any:
    """Hold stock for checkouts, and let every other one go; returns how many were given all of it."""
    given = 0
    for number in range(ROUNDS):
        ref = f"{os.getpid()}:{number}"
        with unit_of_work(engine) as conn:
            lines = {"MUG": 1, "CUP": 1} if number % 2 else {"KIT": 1}
            given += reserve(conn, world, ref, lines).is_whole
        if number % 3 == 0:
            with unit_of_work(engine) as conn:
                promises.release(conn, world.shop_id, [Holder("checkout", ref)], NOW)
    return given


def replan(engine: Engine, world: World) -> Any:
    """Plan the pools one by one, in turns; each pulls in all that hang together with it by bundles."""
    for number in range(ROUNDS):
        code = ("CUP", "MUG")[number % 2]
        with unit_of_work(engine) as conn:
            escrow.replan(conn, world.shop_id, [(world.skus[code], world.location_id)], NOW)


def sweep(engine: Engine, world: World) -> Any:
    """What the schedules do beside it."""
    for number in range(ROUNDS):
        now = later(number)
        with unit_of_work(engine) as conn:
            note_poll_complete(conn, world.shop_id, world.connection.id, now, now)
        with unit_of_work(engine) as conn:
            checking.end_doubts(conn, world.shop_id, world.connection.id, now)
        with unit_of_work(engine) as conn:
            pace.measure_rates(conn, world.shop_id, now)
        with unit_of_work(engine) as conn:
            lines.draw_lines(conn, world.shop_id)


def receive(engine: Engine, world: World) -> Any:
    """Goods come in, of several SKUs at once, named in an order of our own."""
    for number in range(ROUNDS):
        items = [
            Adjustment(f"{os.getpid()}:{number}:{code}", code, 1, "receipt", NOW)
            for code in ("MUG", "CUP")[:: 1 if number % 2 else -1]
        ]
        with unit_of_work(engine) as conn:
            inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, NOW)


def watch(engine: Engine, world: World) -> Any:
    """Look again and again; returns the least that was ever free of a pool in escrow."""
    least = []
    while True:
        with unit_of_work(engine) as conn:
            least.append(scalar(conn, FREE, shop=world.shop_id))
            is_over = not inbox.has_received(conn, world.shop_id, world.connection.id)
        if is_over and len(least) > 100:
            return min(least)


ROLES: dict[str, Callable[[Engine, World], Any]] = {
    role.__name__: role for role in (drain, push, promise, replan, sweep, receive, watch)
}


# --- the races ---------------------------------------------------------------------------------------------------


@pytest.fixture
def worlds(engine: Engine) -> tuple[World, World]:
    """Two channels that share mugs and cups, and bundles of them, in escrow; each has sold, and we have yet to hear."""
    with unit_of_work(engine) as conn:
        web = make_bundles(conn, STOCK, MADE_OF)
        shop = second_channel(conn, web, [*STOCK, *MADE_OF])
        policies._write(conn, web.shop_id, [Change(Scope(), Terms(mode="escrow"))], ACTOR, NOW, None)
        policies.apply_to_skus(conn, web.shop_id, web.skus.values())
        lines.draw_lines(conn, web.shop_id)
        escrow.replan(conn, web.shop_id, [(web.skus[code], web.location_id) for code in STOCK], NOW)
    # Units move over and are confirmed, until both channels have something of everything.
    for _ in range(3):
        push(engine, web)
        push(engine, shop)
    with engine.connect() as conn:
        rows = fetch(
            conn,
            """
            select connection_id, channel_code, published_units from listings
            where shop_id = %(shop)s and published_units > 1 order by id
            """,
            shop=web.shop_id,
        )
    assert {row["connection_id"] for row in rows} == {web.connection.id, shop.connection.id}
    for world in (web, shop):
        codes = [row["channel_code"] for row in rows if row["connection_id"] == world.connection.id]
        shown = {row["channel_code"]: row["published_units"] for row in rows if row["channel_code"] in codes}
        bodies = []
        for number in range(SOLD):
            code = codes[number % len(codes)]
            # No more than half of what it shows: the rest may be taken from it meanwhile.
            if number // len(codes) < shown[code] // 2:
                bodies.append(body_of(make_order(f"{number}", [make_line("1", code)])))
        record_bodies(engine, world, *bodies)
    return web, shop


def race(engine: Engine, *runners: tuple[str, World]) -> list[Any]:
    return racing.race(engine, __file__, runners)


def assert_all_is_well(engine: Engine, world: World) -> None:
    with engine.connect() as conn:
        assert scalar(conn, FREE, shop=world.shop_id) >= 0
        assert count(conn, "inbox_messages", world.shop_id, "state <> 'handled'") == 0
        found = {item.name: item.rows for item in invariants.check(conn, NOW, shop_id=world.shop_id) if item.rows}
    assert found == {}


def test_drains_planners_and_checkouts_on_scarce_stock_never_expose_more_than_there_is(
    engine: Engine, worlds: tuple[World, World]
) -> None:
    web, shop = worlds
    *_, least = race(
        engine,
        ("drain", web),
        ("drain", shop),
        ("push", web),
        ("push", shop),
        ("promise", web),
        ("watch", web),
    )
    assert least >= 0
    assert_all_is_well(engine, web)


def test_whoever_plans_what_bundles_hold_together_locks_it_in_one_order(
    engine: Engine, worlds: tuple[World, World]
) -> None:
    web, shop = worlds
    *_, least = race(
        engine,
        ("replan", web),
        ("replan", shop),
        ("receive", web),
        ("sweep", web),
        ("drain", web),
        ("drain", shop),
        ("watch", web),
    )
    assert least >= 0
    assert_all_is_well(engine, web)


if __name__ == "__main__":
    racing.play(ROLES)
