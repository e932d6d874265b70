"""Two hundred buyers of one unit, on three channels, as itself and inside two bundles, and from a shelf of our own.

Real processes, none of which tries again: a deadlock, or a lock that nobody lets go of, fails the process it meets.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Engine

from core.db import fetch, scalar, unit_of_work
from core.inventory import promises
from core.inventory.operations import refresh_all_desired
from core.inventory.promises import Holder, PromiseEnded
from tests import racing
from tests.factories import NOW, Level, World, apply, book, level_of, make_facts, make_fulfilment, make_line, make_order
from tests.stock_desk import broken, compose, make_bundles, reserve, second_channel, shown

BUYERS = 200
CODES = ("MUG", "KIT", "BOX")
LISTED = ("MUG", "CUP", "JUG", "KIT", "BOX")
SHELVES = 4
CHANNEL_ORDERS = 40
PROMISERS_BESIDE = BUYERS - 3 * CHANNEL_ORDERS


# --- what the processes do ---------------------------------------------------------------------------------------


def promise(engine: Engine, world: World, buyers: int = BUYERS // SHELVES) -> Any:
    """Buyers, one after the other, of the mug or of a bundle with it; returns those who got it."""
    won = []
    for number in range(buyers):
        ref = f"{os.getpid()}:{number}"
        with unit_of_work(engine) as conn:
            if reserve(conn, world, ref, {CODES[number % 3]: 1}).is_whole:
                won.append(ref)
    return won


def promise_beside(engine: Engine, world: World) -> Any:
    """Fewer of them, beside the channels."""
    return promise(engine, world, PROMISERS_BESIDE // 2)


def sell(engine: Engine, world: World) -> Any:
    """A channel's orders, each in a unit of work of its own; the last ones are shipped."""
    for number in range(CHANNEL_ORDERS):
        order = make_order(f"{os.getpid()}:{number}", [make_line("1", CODES[number % 3])])
        with unit_of_work(engine) as conn:
            book(conn, world, order)
    with unit_of_work(engine) as conn:
        apply(conn, world, *(make_facts(make_fulfilment(f"{os.getpid()}:{number}")) for number in range(3)))


def change(engine: Engine, world: World) -> Any:
    """Somebody cannot decide how many cups go with the mug."""
    for number in range(20):
        with unit_of_work(engine) as conn:
            compose(conn, world, "KIT", {"MUG": 1, "CUP": 1 + number % 2})


def refresh(engine: Engine, world: World) -> Any:
    """Every listing of the shop, again and again."""
    for _ in range(20):
        with unit_of_work(engine) as conn:
            refresh_all_desired(conn, world.shop_id)


def end(engine: Engine, world: World) -> Any:
    """End every promise there is, in each of the ways; returns how many this process ended, by way."""
    ended: Counter[str] = Counter()
    with engine.connect() as conn:
        rows = fetch(conn, "select holder_ref from reservations where order_line_id is null order by id")
    holders = [Holder("checkout", row["holder_ref"]) for row in rows]
    for number, holder in enumerate(holders[:: 1 if os.getpid() % 2 else -1]):
        # Who would ship what another has ended is told so, and nothing of it is done.
        with contextlib.suppress(PromiseEnded), unit_of_work(engine) as conn:
            way = ("release", "ship", "hand_over", "expire")[(number + os.getpid()) % 4]
            if way == "expire":
                ended[way] += promises.expire(conn, world.shop_id, NOW.replace(year=NOW.year + 1), 1)
            elif way == "ship":
                ended[way] += promises.ship(conn, world.shop_id, [holder], "Ada", NOW)
            else:
                ended[way] += getattr(promises, way)(conn, world.shop_id, [holder], NOW)
    return ended


ROLES: dict[str, racing.Role] = {role.__name__: role for role in (promise, promise_beside, sell, change, refresh, end)}


# --- the races ---------------------------------------------------------------------------------------------------


@pytest.fixture
def worlds(engine: Engine) -> list[World]:
    """One mug, two bundles with it, three channels that list them all."""
    with unit_of_work(engine) as conn:
        first = make_bundles(
            conn, {"MUG": 1, "CUP": 500, "JUG": 500}, {"KIT": {"MUG": 1, "CUP": 1}, "BOX": {"MUG": 1, "JUG": 1}}
        )
        return [first, *(second_channel(conn, first, LISTED, guarantee_class=each) for each in "AB")]


def race(engine: Engine, *runners: tuple[str, World]) -> list[Any]:
    answers = racing.race(engine, __file__, runners)
    with engine.connect() as conn:
        assert scalar(conn, "select deadlocks from pg_stat_database where datname = current_database()") == 0
    return answers


def test_of_two_hundred_buyers_of_one_unit_exactly_one_gets_it(engine: Engine, worlds: list[World]) -> None:
    won = race(engine, *[("promise", worlds[0])] * SHELVES)
    assert sum(len(each) for each in won) == 1
    with engine.connect() as conn:
        assert level_of(conn, worlds[0]) == Level(1, 1, 0)
        for world in worlds:
            units = shown(conn, world.connection)
            assert [units[code] for code in CODES] == [(0, 0)] * 3
        assert broken(conn, worlds[0]) == {}


def test_three_channels_two_bundles_and_a_shelf_sell_the_same_unit(engine: Engine, worlds: list[World]) -> None:
    """While what a bundle is made of changes, and every listing is planned anew. What channels sold is a fact; of
    ourselves nobody promised what was not there."""
    runners = [("sell", world) for world in worlds] + [("promise_beside", worlds[0])] * 2
    *_, one, other, _changed, _refreshed = race(engine, *runners, ("change", worlds[1]), ("refresh", worlds[2]))
    won = [*one, *other]
    assert len(won) <= 1
    sold = 3 * CHANNEL_ORDERS
    with engine.connect() as conn:
        short = sold + len(won) - 1
        level = level_of(conn, worlds[0])
        assert level == Level(1 - 9, sold - 9 + len(won), -short)
        for world in worlds:
            units = shown(conn, world.connection)
            assert [units[code] for code in CODES] == [(0, short)] * 3
        assert broken(conn, worlds[0]) == {}


def test_the_ends_of_a_promise_race_and_one_wins(engine: Engine, worlds: list[World]) -> None:
    world = worlds[0]
    with unit_of_work(engine) as conn:
        for number in range(60):
            line = {("CUP", "JUG")[number % 2]: 2}
            assert reserve(conn, world, f"basket {number}", line, expires_at=NOW.replace(hour=13)).is_whole
    ways: Counter[str] = sum((Counter(each) for each in race(engine, *[("end", world)] * 4)), Counter())
    assert sum(ways.values()) == 60
    with engine.connect() as conn:
        states = fetch(conn, "select state, count(*) as n from reservations group by 1")
        assert {row["state"]: row["n"] for row in states} == {
            state: units
            for state, units in {
                "released": ways["release"],
                "consumed": ways["ship"] + ways["hand_over"],
                "expired": ways["expire"],
            }.items()
            if units
        }
        hand = level_of(conn, world, "CUP").on_hand + level_of(conn, world, "JUG").on_hand
        assert hand == 1000 - 2 * ways["ship"]
        assert level_of(conn, world, "CUP").reserved == level_of(conn, world, "JUG").reserved == 0
        assert broken(conn, world) == {}


if __name__ == "__main__":
    racing.play(ROLES)
