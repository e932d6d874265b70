"""Pausing, stopping writes, shadow mode: what holds, what goes on, and who did it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from core.connections import queries, switches
from core.connections.queries import UnknownConnection
from core.db import execute, fetch, fetch_one, scalar
from core.inventory import checking, comparison, escrow, lane_work, lines, modes, publishing
from core.inventory.publishing import Lane
from core.policies import operations as policies
from core.policies import queries as policy_queries
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from core.ports import QuantityResult
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    count,
    first_sync,
    later,
    listing_of,
    make_channel_listing,
    make_connection,
    make_level,
    make_order,
    make_world,
    take_in,
    world_of,
)
from tests.factories import book as book_facts


def lane_of(world: World) -> Lane:
    return Lane(world.shop_id, world.connection.id, world.connection.guarantee_class, 250)


def row_of(conn: Connection, world: World) -> dict[str, object]:
    row = fetch_one(
        conn,
        "select * from connection_switches where shop_id = %(shop)s and connection_id = %(id)s",
        shop=world.shop_id,
        id=world.connection.id,
    )
    assert row is not None
    return dict(row)


def acts(conn: Connection, world: World) -> list[str]:
    rows = fetch(
        conn,
        "select act from audit_entries where shop_id = %(shop)s and act ~ 'stop|resume|pause|shadow|live' order by id",
        shop=world.shop_id,
    )
    return [row["act"] for row in rows]


def plan(conn: Connection, world: World, minutes: float = 0) -> list[int]:
    calls = publishing.plan(conn, lane_of(world), 100, later(minutes))
    return [write.write_id for call in calls for write in call]


def test_a_stop_holds_what_is_planned_and_plans_nothing_more(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", 5)
    (planned,) = plan(conn, world)
    before = listing_of(conn, world)["exposed_units"]
    assert switches.stop_writes(conn, world.shop_id, world.connection.id, ACTOR, NOW)

    assert publishing.mark_sent(conn, world.shop_id, [planned], NOW) == set()
    assert lane_work.lanes_to_push(conn, later(5)) == []
    assert (world.shop_id, world.connection.id) in lane_work.lanes_to_withdraw(conn)
    assert publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, NOW) == 1
    assert scalar(conn, "select outcome_code from listing_writes where id = %(id)s", id=planned) == "WRITES_STOPPED"
    # Raised by five units, which nobody was shown.
    assert (before, listing_of(conn, world)["exposed_units"]) == (15, 10)
    assert plan(conn, world) == []

    assert switches.resume_writes(conn, world.shop_id, world.connection.id, ACTOR, later(1))
    assert lane_work.lanes_to_push(conn, later(5)) == [(world.shop_id, world.connection.id)]
    assert publishing.mark_sent(conn, world.shop_id, plan(conn, world, 1), later(1))


@pytest.mark.parametrize("switch", [switches.pause, switches.to_shadow])
def test_neither_a_paused_connection_nor_one_in_shadow_mode_is_written_to(
    conn: Connection, world: World, switch: object
) -> None:
    adjust_stock(conn, world, "MUG", 5)
    (planned,) = plan(conn, world)
    assert switch(conn, world.shop_id, world.connection.id, ACTOR, NOW)  # type: ignore[operator]
    assert publishing.mark_sent(conn, world.shop_id, [planned], NOW) == set()
    publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, NOW)
    assert plan(conn, world) == []
    assert lane_work.lanes_to_push(conn, later(5)) == []


def test_a_doubt_of_class_a_waits_for_the_stop_to_end_and_keeps_its_exposure(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", 5)
    (sent,) = plan(conn, world)
    assert publishing.mark_sent(conn, world.shop_id, [sent], NOW) == {sent}
    unknown = QuantityResult(sent, "unknown", "NO_ANSWER", "no answer")
    publishing.settle(conn, world.shop_id, [unknown], timedelta(seconds=10), NOW)
    lane = (world.shop_id, world.connection.id)
    assert checking.lanes_to_check(conn, later(1)) == [lane]
    switches.stop_writes(conn, world.shop_id, None, ACTOR, later(1))
    assert checking.lanes_to_check(conn, later(1)) == []
    assert publishing.withdraw_unsent(conn, *lane, later(90)) == 0
    assert listing_of(conn, world)["exposed_units"] == 15
    switches.resume_writes(conn, world.shop_id, None, ACTOR, later(2))
    assert checking.lanes_to_check(conn, later(2)) == [lane]


def test_a_channel_that_is_only_read_back_is_read_back_while_writes_are_stopped(conn: Connection) -> None:
    world = make_world(conn, guarantee_class="B")
    adjust_stock(conn, world, "MUG", -3)
    (sent,) = plan(conn, world)
    publishing.mark_sent(conn, world.shop_id, [sent], NOW)
    switches.stop_writes(conn, world.shop_id, world.connection.id, ACTOR, later(1))
    assert checking.lanes_to_check(conn, later(2)) == [(world.shop_id, world.connection.id)]


def test_what_a_stopped_channel_says_is_booked_all_the_same(conn: Connection, world: World) -> None:
    switches.stop_writes(conn, world.shop_id, None, ACTOR, NOW)
    switches.pause(conn, world.shop_id, world.connection.id, ACTOR, NOW)
    book_facts(conn, world, make_order("1001"), make_level("MUG", 9, later(2)))
    assert (listing_of(conn, world)["desired_units"], listing_of(conn, world)["published_units"]) == (9, 9)
    assert listing_of(conn, world)["exposed_units"] == 9


def test_a_stop_of_the_shop_and_one_of_the_connection_end_apart(conn: Connection, world: World) -> None:
    other = make_connection(conn, world.shop_id)
    foreign = make_world(conn)
    switches.stop_writes(conn, world.shop_id, world.connection.id, ACTOR, NOW)
    switches.stop_writes(conn, world.shop_id, None, ACTOR, later(1))
    assert not switches.may_write(conn, world.shop_id, other.id)
    assert switches.may_write(conn, foreign.shop_id, foreign.connection.id)
    row = row_of(conn, world)
    assert (row["is_stopped_for_shop"], row["is_stopped_for_connection"], row["stopped_at"]) == (True, True, NOW)

    switches.resume_writes(conn, world.shop_id, world.connection.id, ACTOR, later(2))
    assert not switches.may_write(conn, world.shop_id, world.connection.id)
    switches.resume_writes(conn, world.shop_id, None, ACTOR, later(3))
    assert switches.may_write(conn, world.shop_id, world.connection.id)
    assert not row_of(conn, world)["is_stopped"]


def test_switching_twice_changes_nothing_and_is_on_record_once(conn: Connection, world: World) -> None:
    where = (world.shop_id, world.connection.id)
    for switch in (
        switches.stop_writes,
        switches.resume_writes,
        switches.pause,
        switches.resume,
        switches.to_shadow,
        switches.to_live,
    ):
        assert switch(conn, *where, ACTOR, NOW), switch
        assert not switch(conn, *where, ACTOR, later(1)), switch
    assert acts(conn, world) == ["stop_writes", "resume_writes", "pause", "resume", "to_shadow", "go_live"]
    assert count(conn, "write_stops", world.shop_id) == 1


def test_the_view_says_who_did_it_and_why(conn: Connection, world: World) -> None:
    assert row_of(conn, world)["may_write"]
    switches.stop_writes(conn, world.shop_id, None, ACTOR, NOW)
    switches.pause(conn, world.shop_id, world.connection.id, ACTOR, later(1))
    row = row_of(conn, world)
    assert (row["stopped_by"], row["stop_reason"], row["paused_by"], row["pause_reason"], row["paused_at"]) == (
        "Ada",
        "a test",
        "Ada",
        "a test",
        later(1),
    )
    assert not row["may_write"]


def test_a_standing_says_what_may_leave_and_why_not(conn: Connection, world: World) -> None:
    where = (world.shop_id, world.connection.id)
    switches.to_shadow(conn, *where, ACTOR, NOW)
    shadow = switches.standing(conn, *where)
    assert (shadow.held("nothing"), shadow.held("subscription")) == (None, None)
    assert "shadow mode" in str(shadow.held("shop"))
    switches.stop_writes(conn, *where, ACTOR, NOW)
    stopped = switches.standing(conn, *where)
    assert stopped.held("shop") == stopped.held("subscription") == "Ada stopped the writes of this connection: a test"
    assert stopped.held("nothing") is None
    assert queries.connection(conn, *where).write_mode == "shadow"


def test_a_switch_of_a_connection_that_there_is_not_is_refused(conn: Connection, world: World) -> None:
    foreign = make_world(conn).connection.id
    for switch in (switches.stop_writes, switches.resume_writes, switches.pause, switches.to_live):
        with pytest.raises(UnknownConnection):
            switch(conn, world.shop_id, foreign, ACTOR, NOW)


def two_channels(conn: Connection, mode: str, units: int = 10) -> tuple[World, World]:
    """The same mugs on two comparing channels that share them as the mode says."""
    first = make_world(conn, {"MUG": units})
    other = make_connection(conn, first.shop_id, is_sku_source=False, name="Second")
    take_in(conn, other, [make_channel_listing("MUG", units)])
    first_sync(conn, other)
    version = policies.save(conn, first.shop_id, [Change(Scope(), Terms(mode=mode))], ACTOR, NOW)  # type: ignore[arg-type]
    ids = policy_queries.listings_of_version(conn, first.shop_id, version, 0)
    policies.begin_replan(conn, first.shop_id, version, len(ids), NOW)
    policies.replan(conn, first.shop_id, version, ids, True, NOW)
    lines.draw_lines(conn, first.shop_id)
    return first, world_of(conn, other)


def replan(conn: Connection, world: World) -> None:
    escrow.replan(conn, world.shop_id, [(world.skus["MUG"], world.location_id)], NOW)


def desired(conn: Connection, *worlds: World) -> list[int]:
    return [listing_of(conn, world)["desired_units"] for world in worlds]


def test_in_escrow_nobody_is_given_what_a_stopped_channel_may_still_sell(conn: Connection) -> None:
    first, second = two_channels(conn, "escrow")
    replan(conn, first)
    assert desired(conn, first, second) == [5, 5]
    switches.stop_writes(conn, second.shop_id, second.connection.id, ACTOR, NOW)
    replan(conn, first)
    assert desired(conn, first, second) == [0, 10]
    (pool,) = modes.pools_of(conn, first.shop_id, "MUG")
    assert "Second is not written to (writes are stopped): the 10 that it could sell go to nobody else until it is" in (
        modes.explain_mode(pool, str)
    )


def test_of_a_channel_in_shadow_mode_it_is_worked_out_what_it_would_show_though_nobody_gives_it_units(
    conn: Connection,
) -> None:
    first, second = two_channels(conn, "escrow")
    switches.to_shadow(conn, second.shop_id, second.connection.id, ACTOR, NOW)
    replan(conn, first)
    assert desired(conn, first, second) == [0, 5]
    assert plan(conn, second) == []
    assert count(conn, "listing_writes", second.shop_id) == 0


def test_numbers_typed_in_shadow_mode_are_unknown_until_given_up_and_then_a_difference(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 0, "CUP": 0})
    lane = (world.shop_id, world.connection.id)
    switches.to_shadow(conn, *lane, ACTOR, NOW)
    execute(
        conn,
        "update connections set orders_polled_at = %(at)s, catalogue_read_at = %(at)s, open_orders_read_at = %(at)s",
        at=later(500),
    )
    book_facts(conn, world, make_level("MUG", 7, later(5)), make_level("CUP", 9, later(5)), now=later(5))
    assert not comparison.compare(conn, *lane).is_complete
    with pytest.raises(comparison.NotCompared):
        comparison.go_live(conn, *lane, ACTOR, later(6), zeroed_max=0)
    assert lane_work.held_lanes_to_give_up(conn, later(6)) == []

    assert lane_work.held_lanes_to_give_up(conn, later(600)) == [lane]
    lane_work.give_up_unseen(conn, *lane, later(600))
    assert lane_work.held_lanes_to_give_up(conn, later(600)) == []
    found = comparison.compare(conn, *lane)
    assert found.is_complete
    assert (found.of("zeroed").listings, found.of("zeroed").units) == (2, -16)
