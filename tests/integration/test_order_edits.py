"""What edits of orders do to stock, to what channels show, and to what they may still sell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core import invariants
from core.db import execute, scalar
from core.ports import ChannelOrder
from tests.factories import (
    BASELINE,
    NOW,
    World,
    apply,
    book,
    later,
    level_of,
    listing_of,
    make_facts,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)
from tests.integration.test_publishing import plan

OLD = BASELINE - timedelta(days=5)
"""Placed, and told of, before the number of its listing became our stock."""


@pytest.fixture
def world(conn: Connection) -> World:
    return make_world(conn, {"MUG": 10, "CUP": 10})


def old(units: int, *more: tuple[str, str, int], told: Any = OLD, **also: Any) -> ChannelOrder:
    """An order from before the take-over: a line of so many mugs, and more lines (ref, code, units)."""
    lines = [make_line(units=units), *(make_line(*line) for line in more)]
    return make_order("old", lines, placed_at=OLD, version_at=told, **also)


def available(conn: Connection, world: World) -> tuple[int, int]:
    return level_of(conn, world).available, level_of(conn, world, "CUP").available


def broken(conn: Connection, world: World) -> dict[str, Any]:
    return {item.name: item.rows for item in invariants.check(conn, NOW, shop_id=world.shop_id) if item.rows}


# --- orders from before the take-over ---


@pytest.mark.parametrize(
    ("edited", "left"),
    [
        pytest.param(old(5, told=later(5)), (8, 10), id="raised"),
        pytest.param(old(3, ("2", "CUP", 4), told=later(5)), (10, 6), id="gained a line"),
        pytest.param(old(3, ("2", "MUG", 4), told=later(5)), (6, 10), id="gained a line of the same"),
        pytest.param(old(1, told=later(5)), (12, 10), id="lowered"),
        pytest.param(old(0, told=later(5)), (13, 10), id="its line removed"),
        pytest.param(old(5, told=BASELINE - timedelta(days=1)), (10, 10), id="raised before"),
        pytest.param(old(1, told=BASELINE - timedelta(days=1)), (10, 10), id="lowered before"),
    ],
)
@pytest.mark.parametrize("told", ["in turn", "at once", "newest first"])
def test_an_edit_after_the_take_over_is_no_part_of_what_came_in(
    conn: Connection, world: World, edited: ChannelOrder, left: tuple[int, int], told: str
) -> None:
    versions = [old(3), edited]
    batches = {"in turn": [[old(3)], [edited]], "at once": [versions], "newest first": [[edited], [old(3)]]}[told]
    for batch in batches:
        apply(conn, world, *(make_facts(order) for order in batch))
    assert available(conn, world) == left
    assert broken(conn, world) == {}


def test_an_edit_before_the_take_over_is_part_of_it_whatever_follows(conn: Connection, world: World) -> None:
    for units, at in ((5, BASELINE - timedelta(days=1)), (2, later(5)), (4, later(6))):
        book(conn, world, old(units, told=at))
    assert available(conn, world) == (11, 10)
    assert broken(conn, world) == {}


def test_a_line_lowered_before_the_take_over_gives_back_what_it_had_left(conn: Connection, world: World) -> None:
    book(conn, world, old(1))
    # Of a cancelled order nothing is left: what edits took off before is in no number of it.
    gone = old(3, told=later(5), cancelled_at=later(5))
    book(conn, world, gone, make_refund("old", [make_refund_line(units=1, restock="cancel")], at=later(5)))
    assert available(conn, world) == (11, 10)
    assert broken(conn, world) == {}


def test_what_came_in_with_a_line_is_audited(conn: Connection, world: World) -> None:
    book(conn, world, old(3))
    book(conn, world, old(5, told=later(5)))
    execute(conn, "update order_lines set opening_units = 5 where shop_id = %(shop)s", shop=world.shop_id)
    assert "reservation_is_balanced" in broken(conn, world)


# --- versions that do not tell what edits left ---


@pytest.mark.parametrize("unclear", [{"cancelled_at": later(5)}, {"tells_units": False}])
@pytest.mark.parametrize("told", ["in turn", "at once", "newest first"])
def test_a_version_that_cannot_tell_leaves_known_units_alone(
    conn: Connection, world: World, unclear: dict[str, Any], told: str
) -> None:
    order = make_order(lines=[make_line(units=1)])
    later_on = replace(order, lines=(make_line(units=3), make_line("2", "CUP", 2)), version_at=later(5), **unclear)
    batches = {"in turn": [[order], [later_on]], "at once": [[order, later_on]], "newest first": [[later_on], [order]]}
    for batch in batches[told]:
        apply(conn, world, *(make_facts(order) for order in batch))
    units = "select units from order_lines where shop_id = %(shop)s and channel_ref = %(ref)s"
    assert [scalar(conn, units, shop=world.shop_id, ref=ref) for ref in "12"] == [1, 2]
    assert available(conn, world) == ((10, 10) if "cancelled_at" in unclear else (9, 8))
    assert broken(conn, world) == {}


# --- what the channel shows ---


@pytest.mark.parametrize("level_first", [True, False])
@pytest.mark.parametrize("told_after", [0, 2])
def test_what_an_edit_adds_is_sold(conn: Connection, world: World, level_first: bool, told_after: float) -> None:
    """With the level seen first it would be taken for a sale still to come, and written once more."""
    book(conn, world, make_order("o", [make_line(units=1)], placed_at=later(1)))
    lines = [make_line(units=3), make_line("2", "CUP", units=4)]
    edited = make_order("o", lines, placed_at=later(1), version_at=later(5 + told_after))
    levels = (make_level("MUG", 7, later(5)), make_level("CUP", 6, later(5)))
    for facts in [levels, (edited,)] if level_first else [(edited,), levels]:
        book(conn, world, *facts)
    assert plan(conn, world, later(9)) == []
    for code, units in (("MUG", 7), ("CUP", 6)):
        listing = listing_of(conn, world, code)
        shown = (listing["published_units"], listing["unseen_units"], listing["exposed_units"])
        assert shown == (units, 0, units)
    assert broken(conn, world) == {}


def test_an_edit_that_swaps_units_between_lines_comes_to_nothing(conn: Connection, world: World) -> None:
    book(conn, world, make_order("o", [make_line(units=2)], placed_at=later(1)))
    lines = [make_line(units=0), make_line("2", "MUG", units=2)]
    book(conn, world, make_order("o", lines, placed_at=later(1), version_at=later(5)))
    listing = listing_of(conn, world)
    assert (listing["published_units"], listing["unseen_units"], listing["exposed_units"]) == (8, 0, 8)
    assert plan(conn, world, later(6)) == []
