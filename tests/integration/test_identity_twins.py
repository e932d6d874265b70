"""Two listings of one connection that are one SKU: its stock is taken over once, shown by both, split in escrow."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from core.db import fetch, scalar
from core.identity import operations
from core.identity.rules import identifier
from core.inventory import escrow, lines, publishing
from core.inventory.publishing import Lane
from core.orders import intake
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from core.ports import QuantityResult
from tests.factories import (
    ACTOR,
    NOW,
    World,
    book,
    first_sync,
    later,
    level_of,
    make_channel_listing,
    make_connection,
    make_line,
    make_order,
    make_shop,
    world_of,
)
from tests.stock_desk import broken

TWIN = "variant:TWIN"


@pytest.fixture
def twins(conn: Connection) -> World:
    """MUG and a second listing of it, without a code, both showing 7; mapped by a person and synced again."""
    connection = make_connection(conn, make_shop(conn))
    both = [make_channel_listing("MUG", 7), make_channel_listing("TWIN", 7, code=None)]
    intake.take_in(conn, connection, both, NOW)
    operations.map_identifier(conn, connection.shop_id, identifier(connection.id, "variant", TWIN), "MUG", ACTOR, NOW)
    intake.take_in(conn, connection, [make_channel_listing("TWIN", 7, later(-1), code=None)], NOW)
    first_sync(conn, connection)
    return world_of(conn, connection)


def columns(conn: Connection, world: World, column: str) -> list[int]:
    rows = fetch(conn, f"select {column} as n from listings where shop_id = %(shop)s order by id", shop=world.shop_id)
    return [row["n"] for row in rows]


def share(conn: Connection, world: World, mode: str) -> None:
    change = Change(Scope(), Terms(mode=mode))  # type: ignore[arg-type]
    version = policies.save(conn, world.shop_id, [change], ACTOR, NOW)
    ids = sorted(world.listings.values())
    policies.begin_replan(conn, world.shop_id, version, len(ids), NOW)
    policies.replan(conn, world.shop_id, version, ids, True, NOW)
    lines.draw_lines(conn, world.shop_id)
    escrow.replan(conn, world.shop_id, escrow.pools_in_escrow(conn, world.shop_id, (0, 0), 10), NOW)


def test_their_stock_is_taken_over_once_and_both_show_it(conn: Connection, twins: World) -> None:
    assert (level_of(conn, twins).on_hand, columns(conn, twins, "desired_units")) == (7, [7, 7])
    book(conn, twins, make_order("1", [make_line("1", None, 2, variant_ref=TWIN)]))
    assert (level_of(conn, twins).available, columns(conn, twins, "desired_units")) == (5, [5, 5])
    # Only the one that was sold from has less to sell; the other may still sell what it shows.
    assert columns(conn, twins, "exposed_units") == [7, 5]
    assert broken(conn, twins) == {}


def test_in_escrow_they_share_it_and_no_unit_is_shown_twice(conn: Connection, twins: World) -> None:
    share(conn, twins, "escrow")
    lane = Lane(twins.shop_id, twins.connection.id, "A", 1)
    for _ in range(8):
        writes = [write for call in publishing.plan(conn, lane, 50, NOW) for write in call]
        publishing.mark_sent(conn, twins.shop_id, [write.write_id for write in writes], NOW)
        for write in writes:
            publishing.settle(
                conn, twins.shop_id, [QuantityResult(write.write_id, "confirmed", at=NOW)], timedelta(seconds=10), NOW
            )
            escrow.follow_up(conn, twins.shop_id, [write.write_id], NOW)
    shown, exposed = columns(conn, twins, "published_units"), columns(conn, twins, "exposed_units")
    assert (sum(shown), exposed) == (7, shown)
    assert max(shown) - min(shown) <= 1
    assert broken(conn, twins) == {}


def test_a_twin_that_joins_a_pool_in_escrow_is_covered_before_anything_is_raised(
    conn: Connection, twins: World
) -> None:
    share(conn, twins, "escrow")
    place = scalar(conn, "select location_id from listings where id = %(id)s", id=twins.listings["MUG"])
    pool = (twins.skus["MUG"], place)
    exposed = escrow.exposed_units(conn, twins.shop_id, [pool])[pool]
    assert exposed == 14
    (planned,) = escrow.replan(conn, twins.shop_id, [pool], NOW)
    assert sum(target.units for target in planned.targets.values()) <= 7
