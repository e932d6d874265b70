"""Workers push as hard as they can and somebody stops the writes: what is committed holds for all of them.

This file is also what its processes run (see tests.racing).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from psycopg.errors import DeadlockDetected
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from core import bootstrap, invariants
from core.clock import utc_now
from core.connections import queries, switches
from core.db import fetch, read_only, scalar, unit_of_work
from core.inventory import lane_work, publishing
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from tests import racing
from tests.factories import ACTOR, World, world_of
from tests.golive.conftest import Connect
from tests.golive.passing import Passing
from tests.sandbox.outside import ShopSide
from workers.jobs.stock import push_lane

CODES = tuple(f"MUG-{number}" for number in range(60))
BEFORE_THE_STOP = 40
ROUNDS_AFTER = 5


# --- what the processes do -------------------------------------------------------------------------------------------


def push(engine: Engine, world: World) -> Any:
    """Push, as a worker does, until the stop has stood for a while; in small calls, many of them planned at once."""
    app, after = bootstrap.application(), 0
    while after < ROUNDS_AFTER:
        with app.channel(world.connection) as channel:
            channel.writes_per_call = 2
            push_lane(app, world.connection, channel, 0.2)
        with unit_of_work(engine) as conn:
            after += not switches.may_write(conn, world.shop_id, world.connection.id)


def adjust(engine: Engine, world: World) -> Any:
    """Keep changing every SKU, so that there is always something to push."""
    number, after = 0, 0
    while after < ROUNDS_AFTER:
        number += 1
        items = [Adjustment(f"{os.getpid()}:{number}:{c}", c, 1, "adjustment", utc_now()) for c in CODES]
        try:
            with unit_of_work(engine) as conn:
                inventory.adjust(conn, world.shop_id, world.location_id, items, ACTOR, utc_now())
                after += not switches.may_write(conn, world.shop_id, world.connection.id)
        except OperationalError as error:
            # Beside three who push one lane at once, which a lane's lock allows nobody, one may be the victim.
            if not isinstance(error.orig, DeadlockDetected):
                raise


def stop(engine: Engine, world: World) -> Any:
    """Stop the writes in mid-work; returns the writes that were on their way out when that was committed."""
    while True:
        with unit_of_work(engine) as conn:
            sent = "select count(*) from listing_writes where shop_id = %(s)s and sent_at is not null"
            if scalar(conn, sent, s=world.shop_id) >= BEFORE_THE_STOP:
                break
        time.sleep(0.005)
    with unit_of_work(engine) as conn:
        switches.stop_writes(conn, world.shop_id, None, ACTOR, utc_now())
    with unit_of_work(engine) as conn:
        rows = fetch(
            conn,
            "select id from listing_writes where shop_id = %(s)s and sent_at is not null",
            s=world.shop_id,
        )
    return [row["id"] for row in rows]


ROLES: dict[str, Callable[[Engine, World], Any]] = {role.__name__: role for role in (push, adjust, stop)}


# --- the race --------------------------------------------------------------------------------------------------------


def test_once_a_stop_is_committed_nothing_more_is_sent(connect: Connect, shop: ShopSide) -> None:
    shop.stock(*CODES, available=100)
    road = Passing(shop.outside.url)
    try:
        shown = connect(shop, write_mode="live", base_url=f"{road.url}/shopify/{shop.domain}")
        engine = shown.app.engine
        with unit_of_work(engine) as conn:
            world = world_of(conn, queries.connection(conn, shown.shop_id, shown.connection_id))
        roles = [("push", world)] * 3 + [("adjust", world), ("stop", world)]
        on_their_way = set(racing.race(engine, __file__, roles)[-1])

        with read_only(engine) as conn:
            rows = fetch(
                conn,
                "select id, idempotency_key, sent_at, outcome_code from listing_writes where shop_id = %(s)s",
                s=shown.shop_id,
            )
            assert lane_work.lanes_to_push(conn, utc_now()) == []
        sent = {row["id"] for row in rows if row["sent_at"] is not None}
        assert sent == on_their_way
        keys = {row["idempotency_key"] for row in rows if row["id"] in sent}
        held = {row["idempotency_key"] for row in rows if row["id"] in sent and row["outcome_code"] == "WRITES_STOPPED"}
        assert set(road.keys) <= keys
        assert not set(road.keys) & held
        assert len(sent) >= BEFORE_THE_STOP

        _resumed(shown.app, world)
        assert {
            row["sku"]: row["available"] for row in shop.outside.get(f"/shopify/{shop.domain}/levels")["levels"]
        } == {code: _available(engine, world, code) for code in CODES}
        with read_only(engine) as conn:
            assert [finding.name for finding in invariants.check(conn, utc_now()) if finding.rows] == []
    finally:
        road.stop()


def _resumed(app: bootstrap.Application, world: World) -> None:
    """Resume and push until nothing differs."""
    with unit_of_work(app.engine) as conn:
        publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, utc_now())
        switches.resume_writes(conn, world.shop_id, None, ACTOR, utc_now())
    with app.channel(world.connection) as channel:
        push_lane(app, world.connection, channel, 20)
    with read_only(app.engine) as conn:
        assert lane_work.lanes_to_push(conn, utc_now()) == []


def _available(engine: Engine, world: World, code: str) -> int:
    with unit_of_work(engine) as conn:
        return int(
            scalar(
                conn,
                "select available from stock_levels where shop_id = %(s)s and sku_id = %(sku)s",
                s=world.shop_id,
                sku=world.skus[code],
            )
        )


if __name__ == "__main__":
    racing.play(ROLES)
