"""Races between real processes: whoever wins, nothing is booked, planned or sent twice, and nobody deadlocks.

This file is also what its processes run (see tests.racing).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from core import invariants
from core.db import fetch, unit_of_work
from core.inventory import operations as inventory
from core.inventory import publishing
from core.inventory.operations import Adjustment
from core.inventory.publishing import Lane
from core.letters import Answer
from core.messaging import inbox, outbox
from core.messaging.inbox import Batch
from core.orders.intake import Intake
from tests import racing
from tests.factories import (
    ACTOR,
    NOW,
    Level,
    World,
    adjust_stock,
    body_of,
    count,
    later,
    level_of,
    make_fulfilment,
    make_line,
    make_order,
    make_world,
    moved,
    parse,
    record_bodies,
)

CODES = ("MUG", "CUP", "JUG", "PAN")


# --- what the processes do ---------------------------------------------------------------------------------------


def drain(engine: Engine, world: World) -> Any:
    """Drain the lane batch by batch; returns the ids handled."""
    handled: list[int] = []

    def note(conn: Connection, batch: Any, now: Any) -> Any:
        handled.extend(message.id for message in batch)
        return Intake(world.connection, parse)(conn, batch, now)

    while inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(5), note, NOW)[0]:
        pass
    return handled


def plan(engine: Engine, world: World) -> Any:
    """Plan until nothing differs; returns the listings written."""
    planned: list[str] = []
    lane = Lane(world.shop_id, world.connection.id, "A", 2)
    for _ in range(4):
        with unit_of_work(engine) as conn:
            planned += [write.listing_ref for call in publishing.plan(conn, lane, 2, NOW) for write in call]
    return planned


def adjust(engine: Engine, world: World) -> Any:
    """Adjust several SKUs in each unit of work, named in an order of our own."""
    for number in range(15):
        items = [
            Adjustment(f"up:{os.getpid()}:{number}:{code}", code, 1, "adjustment", NOW)
            for code in CODES[::-1][number % 4 :]
        ]
        with unit_of_work(engine) as conn:
            inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, NOW)


def adjust_same(engine: Engine, world: World) -> Any:
    """Book the same facts as everybody else; returns how many were new."""
    new = 0
    for number in range(20):
        with unit_of_work(engine) as conn:
            new += adjust_stock(conn, world, "MUG", 1, key=f"same:{number}").new
    return new


def mark(engine: Engine, world: World) -> Any:
    """Claim every planned write for sending; returns those that were ours."""
    mine: list[int] = []
    with engine.connect() as conn:
        ids = [row["id"] for row in fetch(conn, "select id from listing_writes where shop_id = %(s)s", s=world.shop_id)]
    for write_id in ids:
        with unit_of_work(engine) as conn:
            mine += publishing.mark_sent(conn, world.shop_id, [write_id], NOW)
    return mine


def relay(engine: Engine, _world: World) -> Any:
    """Say everything there is to say; returns what was said."""
    said: list[str] = []

    def ear(message: outbox.Outgoing) -> Answer:
        said.append(message.dedupe_key)
        return Answer("ok")

    while outbox.relay_one(engine, ear, NOW):
        pass
    return said


ROLES: dict[str, Callable[[Engine, World], Any]] = {
    role.__name__: role for role in (drain, plan, adjust, adjust_same, mark, relay)
}


# --- the races ---------------------------------------------------------------------------------------------------


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn, dict.fromkeys(CODES, 100))


def race(engine: Engine, world: World, *roles: str) -> list[Any]:
    """Run the roles at once, each in a process of its own; returns what each came to."""
    return racing.race(engine, __file__, [(role, world) for role in roles])


def assert_clean(engine: Engine, world: World) -> None:
    with engine.connect() as conn:
        found = {item.name: item.rows for item in invariants.check(conn, NOW, shop_id=world.shop_id) if item.rows}
    assert found == {}


def test_two_drains_of_one_lane_handle_every_message_once(engine: Engine, world: World) -> None:
    bodies = [body_of(make_order(str(number), [make_line("1", CODES[number % 4])])) for number in range(60)]
    ids = record_bodies(engine, world, *bodies)
    one, other = race(engine, world, "drain", "drain")
    assert sorted([*one, *other]) == ids
    with engine.connect() as conn:
        assert {level_of(conn, world, code) for code in CODES} == {Level(100, 15, 85)}
        assert count(conn, "orders", world.shop_id) == 60
    assert_clean(engine, world)


def test_two_drains_that_meet_at_the_same_orders_book_each_fact_once(engine: Engine, world: World) -> None:
    """Every order is told four times over, with its shipment, in messages that both drains share out."""
    told = []
    for number in [*range(15), *reversed(range(15))]:
        lines = [make_line(str(index), code) for index, code in enumerate(CODES)]
        order = make_order(str(number), lines)
        shipped = make_fulfilment(str(number), [("0", 1)])
        told += [body_of(order), body_of(make_order(str(number), lines, version_at=later(9)), shipped)]
    record_bodies(engine, world, *told)
    race(engine, world, "drain", "drain")
    with engine.connect() as conn:
        assert level_of(conn, world, "MUG") == Level(85, 0, 85)
        assert {level_of(conn, world, code) for code in CODES[1:]} == {Level(100, 15, 85)}
        assert count(conn, "inbox_messages", world.shop_id, "state = 'handled'") == len(told)
    assert_clean(engine, world)


def test_two_planners_of_one_lane_never_write_a_listing_twice(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        for code in CODES:
            adjust_stock(conn, world, code, -7)
    planned = race(engine, world, "plan", "plan")
    assert Counter(ref for refs in planned for ref in refs) == Counter(f"variant:{code}" for code in CODES)
    with engine.connect() as conn:
        assert count(conn, "listing_writes", world.shop_id, "outcome is null") == len(CODES)


def test_a_drain_and_operators_on_the_same_skus_never_deadlock_and_sum_up(engine: Engine, world: World) -> None:
    bodies = []
    for number in range(40):
        lines = [make_line(str(index), code) for index, code in enumerate(CODES[number % 3 :])]
        bodies.append(body_of(make_order(str(number), lines), make_fulfilment(str(number), [("0", 1)])))
    record_bodies(engine, world, *bodies)
    race(engine, world, "drain", "adjust", "adjust")
    with engine.connect() as conn:
        assert count(conn, "inbox_messages", world.shop_id, "state = 'handled'") == 40
        ups = {code: moved(conn, world, code).get("adjustment", 0) for code in CODES}
        assert sum(ups.values()) == count(conn, "stock_movements", world.shop_id, "reason = 'adjustment'")
        sold = Counter(code for number in range(40) for code in CODES[number % 3 :])
        for code in CODES:
            assert level_of(conn, world, code).available == 100 + ups[code] - sold[code]
    assert_clean(engine, world)


def test_the_same_adjustments_by_two_operators_are_booked_once(engine: Engine, world: World) -> None:
    assert sum(race(engine, world, "adjust_same", "adjust_same")) == 20
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(120, 0, 120)
    assert_clean(engine, world)


def test_a_write_leaves_with_one_sender_only(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        for code in CODES:
            adjust_stock(conn, world, code, -7)
        planned = publishing.plan(conn, Lane(world.shop_id, world.connection.id, "A", 1), 10, NOW)
    marked = race(engine, world, "mark", "mark", "mark")
    assert sorted(write for mine in marked for write in mine) == sorted(call[0].write_id for call in planned)
    with engine.connect() as conn:
        assert count(conn, "listing_writes", world.shop_id, "attempts = 1 and sent_at is not null") == len(CODES)


def test_two_relays_never_say_the_same_words(engine: Engine, world: World) -> None:
    keys = [f"k{number:02}" for number in range(40)]
    with unit_of_work(engine) as conn:
        for key in keys:
            outbox.add(conn, world.shop_id, "notice", key, {}, NOW)
    said = race(engine, world, "relay", "relay")
    assert sorted(key for each in said for key in each) == keys


if __name__ == "__main__":
    racing.play(ROLES)
