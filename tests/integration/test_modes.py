"""Modes on real rows: what a preview says of them is what becomes of them, and the sentence says what is so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from core.db import execute, fetch
from core.inventory import escrow, lines
from core.inventory.modes import explain_mode, pools_of
from core.policies import operations as policies
from core.policies import queries
from core.policies.queries import Change, ModePreview
from core.policies.rules import Scope, Terms
from tests.factories import (
    ACTOR,
    NOW,
    World,
    first_sync,
    make_channel_listing,
    make_connection,
    make_world,
    set_row,
    take_in,
)

STOCK = {"MUG": 10, "CUP": 4, "PEN": 200, "JUG": 13}


@pytest.fixture
def world(conn: Connection) -> World:
    """Four SKUs on two channels, with measured rates; cups and jugs are of one category."""
    made = make_world(conn, STOCK)
    other = make_connection(conn, made.shop_id, is_sku_source=False, name="Second")
    take_in(conn, other, [make_channel_listing(code, units) for code, units in STOCK.items()])
    first_sync(conn, other)
    for code in ("CUP", "JUG"):
        set_row(conn, "skus", made.skus[code], category="Crockery")
    execute(conn, "update connections set watermark_at = %(now)s, doubt_seconds = 90", now=NOW)
    execute(conn, "update listings set sales_per_hour = 16.0 where sku_id = %(jug)s", jug=made.skus["JUG"])
    return made


def follow(conn: Connection, world: World, changes: list[Change]) -> None:
    """Save, and have everything follow as the jobs do."""
    version = policies.save(conn, world.shop_id, changes, ACTOR, NOW)
    ids = queries.listings_of_version(conn, world.shop_id, version, 0)
    policies.begin_replan(conn, world.shop_id, version, len(ids), NOW)
    policies.replan(conn, world.shop_id, version, ids, True, NOW)
    lines.draw_lines(conn, world.shop_id)
    escrow.replan(conn, world.shop_id, escrow.pools_in_escrow(conn, world.shop_id, (0, 0), 100), NOW)


def in_escrow(conn: Connection, world: World) -> set[str]:
    rows = fetch(
        conn,
        """
        select s.code from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id
        where k.shop_id = %(shop)s and k.is_escrow
        """,
        shop=world.shop_id,
    )
    return {row["code"] for row in rows}


@pytest.mark.parametrize(
    ("changes", "pools", "then"),
    [
        ([Change(Scope(), Terms(mode="escrow"))], 4, {"MUG", "CUP", "PEN", "JUG"}),
        ([Change(Scope(), Terms(mode="pooled"))], 4, set()),
        ([Change(Scope(), Terms(mode="adaptive", switch_units=10))], 4, {"MUG", "CUP"}),
        # Measured: a line of 3 for most, of 4 bursts x 32 an hour x 90 s = 3.2, so 4, for jugs.
        ([Change(Scope(), Terms(mode="adaptive"))], 4, set()),
        ([Change(Scope(category="Crockery"), Terms(mode="adaptive", switch_units=4))], 2, {"CUP"}),
    ],
)
def test_what_a_preview_says_of_modes_is_what_becomes_of_them(
    conn: Connection, world: World, changes: list[Change], pools: int, then: set[str]
) -> None:
    seen = queries.preview_modes(conn, world.shop_id, changes)
    assert seen == ModePreview(pools, 0, len(then))
    follow(conn, world, changes)
    assert in_escrow(conn, world) == then


def test_a_pool_goes_by_the_strictest_of_its_channels_also_in_a_preview(conn: Connection, world: World) -> None:
    one = [Change(Scope(connection_id=world.connection.id), Terms(mode="escrow"))]
    assert queries.preview_modes(conn, world.shop_id, one) == ModePreview(4, 0, 4)
    follow(conn, world, one)
    back = [replace(one[0], terms=Terms(mode="pooled"))]
    assert queries.preview_modes(conn, world.shop_id, back) == ModePreview(4, 4, 0)
    shop_wide = [Change(Scope(), Terms(mode="pooled"))]
    assert queries.preview_modes(conn, world.shop_id, shop_wide).escrow_then == 4, "one channel's own rule stays"


def said(conn: Connection, world: World, code: str) -> str:
    (pool,) = pools_of(conn, world.shop_id, code)
    return explain_mode(pool, lambda at: f"{at:%H:%M}")


def test_the_sentence_says_what_is_so(conn: Connection, world: World) -> None:
    assert "10 more than the 10 available" in said(conn, world, "MUG")
    follow(conn, world, [Change(Scope(), Terms(mode="adaptive", switch_units=12))])
    assert said(conn, world, "MUG") == (
        "Adaptive: in escrow since 12:00, because 10 are available and its rule switches at 12; pooled again above 18."
    )
    assert said(conn, world, "PEN") == (
        "Adaptive: pooled, because 200 are available, more than 12: its rule switches at 12."
    )
    follow(conn, world, [Change(Scope(), Terms(mode="escrow"))])
    # Nobody has lowered anything yet: both channels still show all of them.
    assert said(conn, world, "MUG") == (
        "Escrow since 12:00: each unit is shown on one channel only, but channels could still sell 20 of 10 available,"
        " so they are lowered and none is raised."
    )
    execute(conn, "update connections set reads_orders = false where name = 'Second'")
    assert said(conn, world, "MUG").endswith("; orders of Second are not read, so what it sells is not known.")


def test_measured_adaptive_names_the_pace(conn: Connection, world: World) -> None:
    follow(conn, world, [Change(Scope(), Terms(mode="adaptive"))])
    assert said(conn, world, "JUG") == (
        "Adaptive: pooled, because 13 are available, more than 4: channels could sell 4 before we know"
        " (32 an hour, 90 s in doubt)."
    )
