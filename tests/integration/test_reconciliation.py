"""Comparing as a set, on real Postgres: what is found and why, what heals, what asks, what stops it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core import invariants
from core.connections.operations import note_poll_complete
from core.db import execute, fetch, fetch_one
from core.errors import BadInput
from core.inventory import lane_work, publishing
from core.inventory.publishing import Lane
from core.ports import LevelObservation, QuantityResult
from core.reconciliation import comparing, deciding, operations, queries, runs
from core.reconciliation.operations import Chosen, UnderWay
from core.reconciliation.queries import UnknownSku
from core.reconciliation.rules import BadPolicy, Changed, NotCorrectable, Policy
from core.reconciliation.runs import Observed, Reading
from core.runs import control
from core.runs import operations as sync_runs
from tests.factories import (
    ACTOR,
    BASELINE,
    NOW,
    World,
    adjust_stock,
    book,
    later,
    listing_of,
    make_level,
    make_line,
    make_order,
    make_world,
    set_row,
)

CORRECTS = Policy(frozenset({"channel_edit", "lost_write", "real_loss"}))


def begin(conn: Connection, world: World, now: datetime, sku: str | None = None) -> Reading:
    asked = operations.request(conn, world.shop_id, world.connection.id, "stock", ACTOR, now, sku)
    assert sync_runs.start_sync(conn, world.shop_id, asked.sync_run_id, now)
    reading = runs.begin(conn, world.shop_id, asked.sync_run_id, now)
    assert reading is not None
    runs.take_road(conn, reading, "levels")
    return reading


def finish(conn: Connection, reading: Reading, now: datetime) -> None:
    runs.finish(conn, reading, now)
    sync_runs.finish_sync(conn, reading.shop_id, reading.sync_run_id, now)


def compare(
    conn: Connection,
    world: World,
    levels: Iterable[LevelObservation],
    now: datetime,
    *,
    sku: str | None = None,
    codes: dict[str, str] | None = None,
) -> comparing.Compared:
    """A whole run: what is read, compared, believed and decided."""
    reading = begin(conn, world, now, sku)
    told = codes or {}
    runs.stage(conn, reading, [Observed(level, code=told.get(level.inventory_ref)) for level in levels], "1")
    reading = runs.begin(conn, world.shop_id, reading.sync_run_id, now) or reading
    assert runs.have_read(conn, reading, now)
    comparing.find_faults(conn, reading, now)
    found = comparing.compare(conn, reading, now)
    after = 0
    while (page := comparing.believe(conn, reading, after, now)) is not None:
        after = page[0]
    deciding.settle(conn, world.shop_id, world.connection.id, now)
    deciding.decide_open(conn, world.shop_id, world.connection.id, now)
    finish(conn, reading, now)
    return found


def follow(conn: Connection, world: World, now: datetime) -> None:
    """What the sweep does."""
    deciding.settle(conn, world.shop_id, world.connection.id, now)
    deciding.decide_open(conn, world.shop_id, world.connection.id, now)


def watch(conn: Connection, world: World, at: datetime) -> None:
    """Every order up to then is known, by a poll that began then."""
    note_poll_complete(conn, world.shop_id, world.connection.id, at, at)
    execute(
        conn,
        "update connections set watermark_at = %(at)s, orders_polled_at = %(at)s where id = %(id)s",
        at=at,
        id=world.connection.id,
    )


def living(conn: Connection, world: World) -> dict[str, Any]:
    rows = queries.discrepancies(conn, world.shop_id)
    return {row["code"]: row for row in rows}


def the_one(conn: Connection, world: World) -> Any:
    (row,) = queries.discrepancies(conn, world.shop_id)
    return row


def last(conn: Connection, world: World) -> Any:
    return fetch_one(
        conn, "select * from discrepancies where shop_id = %(s)s order by id desc limit 1", s=world.shop_id
    )


def push(conn: Connection, world: World, now: datetime, guarantee_class: str = "A") -> list[tuple[int | None, int]]:
    """What a push would do, and the channel does it."""
    lane_work.give_up_unseen(conn, world.shop_id, world.connection.id, now)
    lane = Lane(world.shop_id, world.connection.id, guarantee_class, 50)
    writes = [write for call in publishing.plan(conn, lane, 50, now) for write in call]
    publishing.mark_sent(conn, world.shop_id, [write.write_id for write in writes], now)
    results = [QuantityResult(write.write_id, "confirmed", at=now) for write in writes]
    publishing.settle(conn, world.shop_id, results, timedelta(seconds=10), now)
    return [(write.from_units, write.to_units) for write in writes]


def unbroken(conn: Connection, world: World, now: datetime) -> None:
    assert [found for found in invariants.check(conn, now, shop_id=world.shop_id) if found.rows] == []


def test_what_is_equal_is_no_discrepancy_and_closes_nothing_it_did_not_read(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 5})
    found = compare(conn, world, [make_level("MUG", 10, later(1)), make_level("CUP", 5, later(1))], later(2))
    assert (found.compared, found.found) == (2, 0)
    compare(conn, world, [make_level("MUG", 14, later(3)), make_level("CUP", 9, later(3))], later(3))
    assert set(living(conn, world)) == {"MUG", "CUP"}
    # Only one of them is read again, and the other stays open: nothing is known of it.
    watch(conn, world, later(10))
    compare(conn, world, [make_level("MUG", 10, later(11))], later(11), sku="MUG")
    assert set(living(conn, world)) == {"CUP"}
    assert living(conn, world)["CUP"]["state"] == "open"


def test_a_sale_that_is_not_read_yet_waits_and_its_order_resolves_it(conn: Connection, world: World) -> None:
    compare(conn, world, [make_level("MUG", 7, later(5))], later(5))
    row = the_one(conn, world)
    assert (row["cause"], row["action"], row["ours"], row["theirs"]) == ("sale_unseen", "waits", 10, 7)
    # Nobody writes over it while it waits, however long it takes.
    assert push(conn, world, later(60)) == []
    assert listing_of(conn, world)["unseen_units"] == -3
    book(conn, world, make_order(lines=[make_line(units=3)], placed_at=later(4)))
    follow(conn, world, later(61))
    assert queries.discrepancies(conn, world.shop_id) == []
    row = last(conn, world)
    assert (row["state"], row["resolved_because"]) == ("resolved", "orders account for it")
    history = [event["what"] for event in queries.history(conn, world.shop_id, row["id"])]
    assert history == ["seen", "resolved"]
    assert push(conn, world, later(62)) == []
    unbroken(conn, world, later(63))


@pytest.mark.parametrize("typed", [4, 16])
def test_an_edit_is_flagged_and_left_until_a_person_says_so(conn: Connection, world: World, typed: int) -> None:
    compare(conn, world, [make_level("MUG", typed, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    row = the_one(conn, world)
    assert (row["cause"], row["action"], row["asked_because"]) == ("channel_edit", "asked", "flagged")
    assert push(conn, world, later(60)) == []
    assert listing_of(conn, world)["exposed_units"] >= typed
    unbroken(conn, world, later(60))
    chosen = Chosen(world.connection.id, row["discrepancy_id"])
    seen = operations.preview(conn, world.shop_id, chosen)
    assert (seen.discrepancies, seen.raised + seen.lowered, seen.units) == (1, 1, 6)
    assert operations.correct(conn, world.shop_id, chosen, seen.token, ACTOR, later(61)) == 1
    assert push(conn, world, later(62)) == [(typed, 10)]
    follow(conn, world, later(63))
    row = last(conn, world)
    assert (row["state"], row["resolved_because"], row["corrections"]) == ("resolved", "corrected", 1)
    unbroken(conn, world, later(64))


def test_a_number_above_ours_is_left_only_until_stock_changes(conn: Connection, world: World) -> None:
    compare(conn, world, [make_level("MUG", 16, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    assert push(conn, world, later(60)) == []
    adjust_stock(conn, world, "MUG", -4)
    assert push(conn, world, later(61)) == [(16, 6)]
    follow(conn, world, later(62))
    assert queries.discrepancies(conn, world.shop_id) == []


def test_a_number_below_ours_follows_stock_and_stays_flagged(conn: Connection, world: World) -> None:
    compare(conn, world, [make_level("MUG", 4, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    adjust_stock(conn, world, "MUG", -1)
    assert push(conn, world, later(60)) == [(4, 3)]
    follow(conn, world, later(61))
    row = the_one(conn, world)
    assert (row["cause"], row["ours"], row["theirs"], row["times_seen"]) == ("channel_edit", 10, 4, 1)


def test_what_came_back_to_the_number_before_is_a_lost_write(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -6)
    assert push(conn, world, later(1)) == [(10, 4)]
    compare(conn, world, [make_level("MUG", 10, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    assert the_one(conn, world)["cause"] == "lost_write"
    assert listing_of(conn, world)["exposed_units"] >= 10


def test_units_that_came_back_here_and_not_there_are_a_real_loss(conn: Connection, world: World) -> None:
    execute(
        conn,
        """
        insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units, changed_at)
        values (%(s)s, %(l)s, 'restock', 2, 0, 10, %(at)s)
        """,
        s=world.shop_id,
        l=world.listings["MUG"],
        at=later(1),
    )
    compare(conn, world, [make_level("MUG", 8, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    assert the_one(conn, world)["cause"] == "real_loss"


def test_a_write_on_its_way_waits_and_has_landed(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -6)
    (write,) = [w for call in publishing.plan(conn, Lane(world.shop_id, world.connection.id, "A", 1), 9, later(1))
                for w in call]  # fmt: skip
    publishing.mark_sent(conn, world.shop_id, [write.write_id], later(1))
    compare(conn, world, [make_level("MUG", 4, later(2))], later(2))
    assert (the_one(conn, world)["cause"], the_one(conn, world)["action"]) == ("in_flight", "waits")
    answer = QuantityResult(write.write_id, "confirmed", at=later(2))
    publishing.settle(conn, world.shop_id, [answer], timedelta(seconds=10), later(3))
    follow(conn, world, later(4))
    assert last(conn, world)["resolved_because"] == "the write has landed"
    unbroken(conn, world, later(5))


def test_a_write_that_is_in_doubt_is_a_persons(conn: Connection) -> None:
    world = make_world(conn, guarantee_class="B")
    adjust_stock(conn, world, "MUG", -6)
    (write,) = [w for call in publishing.plan(conn, Lane(world.shop_id, world.connection.id, "B", 1), 9, later(1))
                for w in call]  # fmt: skip
    publishing.mark_sent(conn, world.shop_id, [write.write_id], later(1))
    set_row(conn, "listing_writes", write.write_id, accepted_at=later(1), doubt="accepted, but it does not show")
    compare(conn, world, [make_level("MUG", 10, later(30))], later(30))
    row = the_one(conn, world)
    assert (row["cause"], row["asked_because"]) == ("lost_write", "by_hand")
    assert str(write.write_id) in row["detail"]
    chosen = Chosen(world.connection.id, row["discrepancy_id"])
    with pytest.raises(NotCorrectable):
        operations.correct(
            conn, world.shop_id, chosen, operations.preview(conn, world.shop_id, chosen).token, ACTOR, NOW
        )


def test_a_listing_that_is_gone_uncounted_or_another_goods_is_a_mapping_fault(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 5, "PEN": 3, "TIN": 2})
    told = [make_level("CUP", None, later(1)), make_level("PEN", 3, later(1)), make_level("TIN", 2, later(1))]
    compare(conn, world, told, later(2), codes={"item:PEN": "TIN", "item:TIN": "TIN"})
    found = living(conn, world)
    assert {code: row["cause"] for code, row in found.items()} == dict.fromkeys(["MUG", "CUP", "PEN"], "mapping")
    assert all(row["asked_because"] == "by_hand" for row in found.values())
    assert "does not tell" in found["MUG"]["detail"]
    assert "does not count" in found["CUP"]["detail"]
    assert "TIN" in found["PEN"]["detail"]
    # What is told again as it was is no fault any more.
    told = [make_level(code, units, later(4)) for code, units in (("MUG", 10), ("CUP", 5), ("PEN", 3), ("TIN", 2))]
    compare(conn, world, told, later(5))
    assert living(conn, world) == {}


def test_a_channel_that_tells_of_nothing_concludes_nothing(conn: Connection, world: World) -> None:
    reading = begin(conn, world, later(1))
    assert not runs.have_read(conn, reading, later(1))
    runs.fail(conn, world.shop_id, reading.id, "nothing told", later(1))
    assert queries.discrepancies(conn, world.shop_id) == []


def test_a_reading_that_is_older_than_what_is_known_says_nothing(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=3)], placed_at=later(4)))
    assert compare(conn, world, [make_level("MUG", 10, later(1))], later(5)).found == 0


def test_what_is_accepted_stays_until_it_changes(conn: Connection, world: World) -> None:
    compare(conn, world, [make_level("MUG", 4, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    chosen = Chosen(world.connection.id, cause="channel_edit")
    token = operations.preview(conn, world.shop_id, chosen).token
    assert operations.accept(conn, world.shop_id, chosen, token, ACTOR, later(11)) == 1
    with pytest.raises(Changed):
        operations.accept(conn, world.shop_id, chosen, token, ACTOR, later(11))
    compare(conn, world, [make_level("MUG", 4, later(20))], later(20))
    watch(conn, world, later(30))
    follow(conn, world, later(30))
    assert the_one(conn, world)["state"] == "accepted"
    assert push(conn, world, later(60)) == []
    compare(conn, world, [make_level("MUG", 2, later(70))], later(70))
    row = the_one(conn, world)
    assert (row["state"], row["ours"], row["theirs"]) == ("open", 10, 2)


def test_a_policy_corrects_what_is_open_and_a_loop_stops_it(conn: Connection, world: World) -> None:
    shop, connection = world.shop_id, world.connection.id
    operations.set_policy(conn, shop, connection, Policy(CORRECTS.corrects, corrections_max=2), ACTOR, NOW)
    at = 0.0
    for times in (1, 2):
        at += 100
        compare(conn, world, [make_level("MUG", 16, later(at))], later(at))
        watch(conn, world, later(at + 5))
        follow(conn, world, later(at + 5))
        assert (the_one(conn, world)["action"], the_one(conn, world)["corrections"]) == ("healed", times)
        assert push(conn, world, later(at + 10)) == [(16, 10)]
        follow(conn, world, later(at + 11))
        assert living(conn, world) == {}
    at += 100
    compare(conn, world, [make_level("MUG", 16, later(at))], later(at))
    watch(conn, world, later(at + 5))
    follow(conn, world, later(at + 5))
    row = the_one(conn, world)
    assert (row["action"], row["asked_because"]) == ("asked", "loop")
    assert push(conn, world, later(at + 10)) == []


def test_a_brake_holds_what_would_take_many_to_nothing_until_a_person_says_yes(conn: Connection) -> None:
    codes = [f"C{n}" for n in range(6)]
    world = make_world(conn, dict.fromkeys(codes, 3))
    shop, connection = world.shop_id, world.connection.id
    operations.set_policy(conn, shop, connection, Policy(CORRECTS.corrects, zeroed_max=3, zeroed_percent=100), ACTOR,
                          NOW)  # fmt: skip
    for code in codes:
        adjust_stock(conn, world, code, -3)
    assert len(push(conn, world, later(1))) == 6
    compare(conn, world, [make_level(code, 8, later(5)) for code in codes], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    rows = queries.discrepancies(conn, shop)
    assert {row["asked_because"] for row in rows} == {"brake"}
    (held,) = fetch(conn, "select is_held from reconciliation_list where shop_id = %(s)s and kind = 'stock'", s=shop)
    assert held["is_held"]
    notes = fetch(conn, "select payload from outbox_messages where shop_id = %(s)s and kind = 'notice'", s=shop)
    assert len(notes) == 1
    follow(conn, world, later(11))
    assert push(conn, world, later(20)) == []
    chosen = Chosen(connection, asked_because="brake")
    seen = operations.preview(conn, shop, chosen)
    assert seen.zeroed == 6
    assert "6 live listings go to 0" in seen.sentence()
    assert operations.correct(conn, shop, chosen, seen.token, ACTOR, later(21)) == 6
    follow(conn, world, later(22))
    assert push(conn, world, later(23)) == [(8, 0)] * 6
    follow(conn, world, later(24))
    assert living(conn, world) == {}
    unbroken(conn, world, later(25))


def test_a_person_may_say_what_it_was_and_the_policy_decides_anew(conn: Connection, world: World) -> None:
    shop = world.shop_id
    operations.set_policy(conn, shop, world.connection.id, Policy(frozenset({"real_loss"})), ACTOR, NOW)
    compare(conn, world, [make_level("MUG", 8, later(5))], later(5))
    watch(conn, world, later(10))
    follow(conn, world, later(10))
    row = the_one(conn, world)
    assert row["action"] == "asked"
    decided = operations.reclassify(conn, shop, row["discrepancy_id"], "real_loss", ACTOR, later(11))
    assert decided.healed == 1
    assert the_one(conn, world)["action"] == "healed"
    with pytest.raises(Changed):
        operations.reclassify(conn, shop, 0, "real_loss", ACTOR, later(12))


def test_one_run_at_a_time_and_a_second_one_is_the_first(conn: Connection, world: World) -> None:
    shop, connection = world.shop_id, world.connection.id
    first = operations.request(conn, shop, connection, "stock", ACTOR, NOW)
    again = operations.request(conn, shop, connection, "stock", ACTOR, NOW)
    assert (first.is_new, again.is_new, again.run_id) == (True, False, first.run_id)
    with pytest.raises(UnderWay):
        operations.request(conn, shop, connection, "stock", ACTOR, NOW, "MUG")
    with pytest.raises(UnknownSku):
        operations.request(conn, shop, connection, "stock", ACTOR, NOW, "NONE")


def test_a_comparison_whose_run_was_stopped_leaves_room_for_the_next(conn: Connection, world: World) -> None:
    """Stopped among the runs while it waited, or while its worker was dead: nobody goes on with it."""
    shop, connection = world.shop_id, world.connection.id
    waiting = operations.request(conn, shop, connection, "stock", ACTOR, NOW)
    assert control.cancel(conn, shop, waiting.sync_run_id, ACTOR, NOW)
    again = operations.request(conn, shop, connection, "stock", ACTOR, NOW)
    assert again.is_new
    assert sync_runs.start_sync(conn, shop, again.sync_run_id, NOW)
    assert not control.cancel(conn, shop, again.sync_run_id, ACTOR, NOW)
    sync_runs.close_abandoned_runs(conn, (), later(60))
    assert runs.close_orphans(conn, later(60)) == 1
    rows = fetch(conn, "select state, error from reconciliation_runs where shop_id = %(s)s order by id", s=shop)
    assert [dict(row) for row in rows] == [
        {"state": "failed", "error": f"stopped by {ACTOR.name}: {ACTOR.reason}"},
        {"state": "failed", "error": "its worker is gone"},
    ]
    assert operations.request(conn, shop, connection, "stock", ACTOR, later(61)).is_new


def test_a_run_goes_on_behind_the_page_that_was_staged(conn: Connection) -> None:
    world = make_world(conn, {f"C{n}": n for n in range(5)})
    reading = begin(conn, world, later(1))
    wanted = runs.to_read(conn, reading, 0)
    assert wanted is not None
    assert len(wanted.refs) == 5
    runs.stage(conn, reading, [Observed(make_level("C0", 0, later(1)))], str(world.listings["C0"]))
    again = runs.begin(conn, world.shop_id, reading.sync_run_id, later(2))
    assert again is not None
    assert (again.road, again.cursor, again.observed) == ("levels", str(world.listings["C0"]), 1)
    wanted = runs.to_read(conn, again, int(again.cursor or 0))
    assert wanted is not None
    assert list(wanted.refs) == ["item:C1", "item:C2", "item:C3", "item:C4"]


def test_due_is_what_was_not_compared_for_as_long_as_its_policy_says(conn: Connection, world: World) -> None:
    where = (world.shop_id, world.connection.id)
    assert where not in queries.due(conn, NOW)
    set_row(conn, "connections", world.connection.id, catalogue_read_at=BASELINE)
    assert where in queries.due(conn, later(1))
    compare(conn, world, [make_level("MUG", 10, later(1))], later(2))
    assert where not in queries.due(conn, later(3))
    assert where in queries.due(conn, later(60 * 24 + 3))
    operations.set_policy(conn, *where, Policy(every_hours=None), ACTOR, NOW)
    assert where not in queries.due(conn, later(60 * 24 * 9))


@pytest.mark.parametrize(
    "said",
    [
        {"corrects": frozenset({"mapping"})},
        {"corrections_max": 0},
        {"zeroed_max": -1},
        {"zeroed_percent": 101},
        {"every_hours": 0},
    ],
)
def test_a_policy_that_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(BadPolicy):
        Policy(**said)


def test_discrepancies_are_chosen_by_something() -> None:
    with pytest.raises(BadInput):
        Chosen(1)
