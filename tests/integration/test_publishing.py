"""Writes to channels, one at a time: planned, marked, settled, tried again, and ended by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core.connections.operations import note_poll_complete
from core.db import execute, fetch_one
from core.errors import BadInput
from core.inventory import checking, lane_work, publishing
from core.inventory.publishing import Lane, NotInDoubt
from core.ports import QuantityResult, QuantityWrite, WriteOutcome
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    book,
    count,
    later,
    level_of,
    listing_of,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)

SOON = timedelta(seconds=10)


def lane_of(world: World, guarantee_class: str = "A", writes_per_call: int = 1) -> Lane:
    return Lane(world.shop_id, world.connection.id, guarantee_class, writes_per_call)


def plan(conn: Connection, world: World, at: Any = NOW, **lane: Any) -> list[QuantityWrite]:
    lane_work.give_up_unseen(conn, world.shop_id, world.connection.id, at)
    return [write for call in publishing.plan(conn, lane_of(world, **lane), 50, at) for write in call]


def send(conn: Connection, world: World, outcome: WriteOutcome, now: Any = NOW, **more: Any) -> QuantityWrite:
    """Plan the one difference there is, send it and settle the answer."""
    (write,) = plan(conn, world, now)
    assert publishing.mark_sent(conn, world.shop_id, [write.write_id], now) == {write.write_id}
    publishing.settle(conn, world.shop_id, [QuantityResult(write.write_id, outcome, **more)], SOON, now)
    return write


def row_of(conn: Connection, write: QuantityWrite) -> Any:
    return fetch_one(conn, "select * from listing_writes where id = %(id)s", id=write.write_id)


def test_a_difference_is_planned_once_and_nothing_while_it_is_open(conn: Connection, world: World) -> None:
    assert plan(conn, world) == []
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    assert (write.from_units, write.to_units, write.listing_ref) == (10, 7, "variant:MUG")
    adjust_stock(conn, world, "MUG", -1)
    assert plan(conn, world) == []


def test_a_thousand_changes_become_one_write(conn: Connection, world: World) -> None:
    for _ in range(9):
        adjust_stock(conn, world, "MUG", -1)
    assert [(write.from_units, write.to_units) for write in plan(conn, world)] == [(10, 1)]


def test_the_most_urgent_leave_first_and_calls_share_a_key(conn: Connection) -> None:
    world = make_world(conn, {"UP": 5, "DOWN": 5, "OUT": 5})
    for code, delta in (("UP", 1), ("DOWN", -1), ("OUT", -5)):
        adjust_stock(conn, world, code, delta)
    calls = publishing.plan(conn, lane_of(world, writes_per_call=2), 50, NOW)
    assert [[write.listing_ref for write in call] for call in calls] == [
        ["variant:OUT", "variant:DOWN"],
        ["variant:UP"],
    ]
    assert len({write.idempotency_key for write in calls[0]}) == 1
    assert calls[0][0].idempotency_key != calls[1][0].idempotency_key


def test_of_too_many_the_most_urgent_are_planned(conn: Connection) -> None:
    world = make_world(conn, {"UP": 5, "DOWN": 5, "OUT": 5})
    for code, delta in (("UP", 1), ("DOWN", -1), ("OUT", -5)):
        adjust_stock(conn, world, code, delta)
    ((write,),) = publishing.plan(conn, lane_of(world), 1, NOW)
    assert write.listing_ref == "variant:OUT"


def test_what_is_too_old_must_not_be_sent_and_is_withdrawn(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    late = NOW + publishing.SEND_WITHIN
    assert publishing.mark_sent(conn, world.shop_id, [write.write_id], late) == set()
    assert publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, late) == 1
    assert (row_of(conn, write)["outcome"], row_of(conn, write)["sent_at"]) == ("withdrawn", None)
    assert [again.to_units for again in plan(conn, world, late)] == [7]


def test_what_was_sent_is_never_withdrawn(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    assert publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, later(60)) == 0


def test_the_next_holder_of_the_lane_has_a_dead_senders_writes_looked_at(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    lane = (world.shop_id, world.connection.id)
    assert checking.check_orphans(conn, *lane, later(0.02)) == 0, "it has not left"
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    assert checking.lanes_to_check(conn, later(0.02)) == []
    assert checking.check_orphans(conn, *lane, later(0.02)) == 1
    assert checking.lanes_to_check(conn, later(0.02)) == [lane]
    assert [item.write.write_id for item in checking.due_checks(conn, lane_of(world), 10, later(0.02))] == [
        write.write_id
    ]
    # One that was answered is looked at when its own time comes.
    publishing.settle(conn, world.shop_id, [QuantityResult(write.write_id, "accepted")], SOON, later(0.02))
    assert checking.check_orphans(conn, *lane, later(0.03)) == 0


def test_a_confirmed_write_is_what_the_listing_shows(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    send(conn, world, "confirmed", at=NOW)
    assert listing_of(conn, world)["published_units"] == 7
    assert plan(conn, world) == []


def test_a_sale_booked_while_the_write_was_under_way_is_not_lost(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=later(1)))
    publishing.settle(conn, world.shop_id, [QuantityResult(write.write_id, "confirmed", at=NOW)], SOON, later(2))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["desired_units"]) == (5, 5)


def test_a_refusal_is_tried_again_after_a_growing_pause_and_says_why(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    now, pauses = NOW, []
    for _ in range(3):
        send(conn, world, "refused", now, code="NOT_STOCKED", detail="not at that place")
        listing = listing_of(conn, world)
        assert listing["push_problem"] == "NOT_STOCKED: not at that place"
        assert plan(conn, world, listing["next_push_at"] - timedelta(seconds=1)) == []
        pauses.append(listing["next_push_at"] - now)
        now = listing["next_push_at"]
    assert pauses == sorted(set(pauses))
    send(conn, world, "confirmed", now, at=now)
    listing = listing_of(conn, world)
    assert (listing["push_failures"], listing["push_problem"], listing["next_push_at"]) == (0, None, None)


def test_a_neighbour_of_a_refused_write_is_tried_again_at_once(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    send(conn, world, "refused", code="NEIGHBOUR_STALE")
    assert len(plan(conn, world)) == 1


def test_what_surely_never_left_is_refused_and_planned_again(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    write = send(conn, world, "unsent")
    assert (row_of(conn, write)["outcome"], row_of(conn, write)["outcome_code"]) == ("refused", "UNSENT")
    assert len(plan(conn, world, listing_of(conn, world)["next_push_at"])) == 1


def test_a_stale_answer_teaches_what_is_shown_and_waits_for_what_explains_it(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    send(conn, world, "stale", observed_units=8, at=later(2))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["unseen_units"]) == (8, -2)
    assert [(write.from_units, write.to_units) for write in plan(conn, world, later(3))] == [(8, 5)]
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=later(1)))
    assert (listing_of(conn, world)["unseen_units"], listing_of(conn, world)["desired_units"]) == (0, 5)


def test_what_nobody_explains_is_given_up_in_the_time_of_its_channel(conn: Connection, world: World) -> None:
    book(conn, world, make_level("MUG", 7, later(1)), now=later(1))
    polled = later(1) + timedelta(seconds=5)
    note_poll_complete(conn, world.shop_id, world.connection.id, polled)
    soon = later(1) + timedelta(seconds=10)
    lane_work.give_up_unseen(conn, world.shop_id, world.connection.id, soon)
    assert listing_of(conn, world)["unseen_units"] == -3
    execute(conn, "update connections set settings = settings || '{\"clock_factor\": 60}'")
    lane_work.give_up_unseen(conn, world.shop_id, world.connection.id, soon)
    assert listing_of(conn, world)["unseen_units"] == 0


def test_an_unknown_outcome_stays_open_and_is_looked_at_when_due(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    write = send(conn, world, "unknown", code="TIMEOUT", detail="no answer in 10 s")
    lane = lane_of(world)
    assert (row_of(conn, write)["outcome"], row_of(conn, write)["doubt"]) == (None, "no answer in 10 s")
    assert checking.due_checks(conn, lane, 9, NOW) == []
    (due,) = checking.due_checks(conn, lane, 9, NOW + SOON)
    assert due.write == replace(write, is_doubtful=True)
    assert checking.next_check_at(conn, lane) == NOW + SOON
    assert checking.lanes_to_check(conn, NOW + SOON) == [(world.shop_id, world.connection.id)]
    checking.postpone_checks(conn, world.shop_id, [due], SOON, timedelta(minutes=15), NOW + SOON)
    assert checking.due_checks(conn, lane, 9, NOW + SOON) == []


def test_what_goes_on_being_unknown_is_looked_at_less_and_less_often(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    write = send(conn, world, "unknown", detail="no answer in 10 s")
    now = NOW
    for times in (1, 2, 4, 8):
        now = row_of(conn, write)["next_check_at"]
        due = checking.due_checks(conn, lane_of(world), 9, now)
        checking.postpone_checks(conn, world.shop_id, due, SOON, timedelta(minutes=15), now)
        again = QuantityResult(write.write_id, "unknown", "423", "the shop is locked")
        publishing.settle(conn, world.shop_id, [again], SOON, now)
        assert row_of(conn, write)["next_check_at"] == now + SOON * times
    assert row_of(conn, write)["doubt"] == "the shop is locked"


def test_a_sender_that_died_after_marking_is_looked_at_a_minute_later(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    assert checking.due_checks(conn, lane_of(world), 9, later(0.9)) == []
    (due,) = checking.due_checks(conn, lane_of(world), 9, later(1))
    assert due.write == replace(write, is_doubtful=True)


def test_an_accepted_write_is_believed_only_when_its_number_shows(conn: Connection) -> None:
    world = make_world(conn, guarantee_class="B")
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world, guarantee_class="B")
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    accepted = QuantityResult(write.write_id, "accepted", submission_ref="s1")
    publishing.settle(conn, world.shop_id, [accepted], SOON, NOW)
    assert listing_of(conn, world)["published_units"] == 10
    due = checking.due_checks(conn, lane_of(world, "B"), 9, later(5))
    assert (due[0].is_accepted, checking.results_of_reading_back(due, [make_level(units=10, at=later(5))])) == (
        True,
        [],
    )
    assert checking.results_of_reading_back(due, [make_level(units=6, at=later(5))]) == []
    results = checking.results_of_reading_back(due, [make_level(units=7, at=later(5))])
    publishing.settle(conn, world.shop_id, results, SOON, later(5))
    assert (listing_of(conn, world)["published_units"], row_of(conn, write)["outcome"]) == (7, "confirmed")


@pytest.mark.parametrize(("seen", "outcome"), [(7, "confirmed"), (4, "stale")])
def test_a_person_ends_a_doubt_with_what_they_saw(conn: Connection, world: World, seen: int, outcome: str) -> None:
    adjust_stock(conn, world, "MUG", -3)
    write = send(conn, world, "unknown")
    publishing.settle_by_hand(conn, world.shop_id, write.write_id, seen, ACTOR, later(5))
    assert (row_of(conn, write)["outcome"], listing_of(conn, world)["published_units"]) == (outcome, seen)
    assert count(conn, "audit_entries", world.shop_id, "act = 'settle_write' and actor = 'Ada'") == 1
    with pytest.raises(NotInDoubt):
        publishing.settle_by_hand(conn, world.shop_id, write.write_id, seen, ACTOR, later(6))


def test_a_write_that_was_not_sent_is_not_in_doubt(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    (write,) = plan(conn, world)
    with pytest.raises(NotInDoubt, match="was never sent, or its outcome is known"):
        publishing.settle_by_hand(conn, world.shop_id, write.write_id, 7, ACTOR, NOW)
    with pytest.raises(BadInput, match="cannot show -1"):
        publishing.settle_by_hand(conn, world.shop_id, write.write_id, -1, ACTOR, NOW)


def test_a_paused_connection_is_no_lane_to_push(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    lane = (world.shop_id, world.connection.id)
    assert lane in lane_work.lanes_to_push(conn, NOW)
    conn.exec_driver_sql("update connections set state = 'paused' where id = %(id)s", {"id": world.connection.id})
    assert lane not in lane_work.lanes_to_push(conn, NOW)


def test_an_edit_by_hand_is_written_over_once_no_order_can_explain_it(conn: Connection, world: World) -> None:
    book(conn, world, make_level(units=4, at=later(1)), now=later(1))
    assert plan(conn, world, later(5)) == []
    note_poll_complete(conn, world.shop_id, world.connection.id, later(4))
    assert [(write.from_units, write.to_units) for write in plan(conn, world, later(5))] == [(4, 10)]


def test_a_level_seen_before_a_sale_and_heard_after_it_is_no_act_of_the_channel(conn: Connection, world: World) -> None:
    """The level left the channel first and arrived second: the sale is in neither its number nor its past."""
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=later(2)))
    book(conn, world, make_level(units=10, at=later(1)))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["unseen_units"]) == (8, 0)


def test_a_level_seen_before_a_return_and_heard_after_it_never_offers_more_than_there_is(
    conn: Connection, world: World
) -> None:
    order = make_order(lines=[make_line(units=2)], placed_at=later(1))
    refund = make_refund(lines=[make_refund_line(units=2, restock="cancel")], at=later(3))
    for fact in (order, refund):
        book(conn, world, fact)
    # Shown between the two; the channel shows 10 again by now.
    book(conn, world, make_level(units=8, at=later(2)), now=later(4))
    note_poll_complete(conn, world.shop_id, world.connection.id, later(5))
    available = level_of(conn, world).available
    shown = 10
    for minute in range(7, 10):
        for write in plan(conn, world, later(minute)):
            assert write.to_units <= available
            publishing.mark_sent(conn, world.shop_id, [write.write_id], later(minute))
            outcome: WriteOutcome = "confirmed" if write.from_units == shown else "stale"
            result = QuantityResult(write.write_id, outcome, observed_units=shown, at=later(minute))
            shown = write.to_units if outcome == "confirmed" else shown
            publishing.settle(conn, world.shop_id, [result], SOON, later(minute))


def test_a_stale_answer_given_before_a_sale_and_settled_after_it_is_no_act_of_the_channel(
    conn: Connection, world: World
) -> None:
    adjust_stock(conn, world, "MUG", 3)
    (write,) = plan(conn, world)
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    answer = QuantityResult(write.write_id, "stale", observed_units=9, at=later(2))
    for ref, minute in (("1", 1), ("2", 3)):
        book(conn, world, make_order(ref, placed_at=later(minute)))
    publishing.settle(conn, world.shop_id, [answer], SOON, later(4))
    shown = listing_of(conn, world)
    assert (shown["published_units"], shown["unseen_units"]) == (8, 0)
