"""Failures as people see them: one row for a cause, with what hangs on it, and nothing that is no failure."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import Connection, Engine

from core.adapters.registry import mentions
from core.db import execute, scalar, unit_of_work
from core.recovery import tallies
from core.runs import failures as job_failures
from tests.factories import NOW, World, body_of, book, drain, make_order, make_world, record_bodies
from tests.recovery.failing import dead_notice, groups, items, order_body, park, run_job, weigh


def push(world: World) -> dict[str, object]:
    return {"shop_id": world.shop_id, "connection_id": world.connection.id}


def test_the_three_kinds_stand_in_one_list_by_cause_and_connection(conn: Connection, world: World) -> None:
    for number in range(3):
        run_job(conn, "stock.push", push(world), "failed", NOW, error=f"Refused: token of order {number} is out")
    run_job(conn, "stock.push", push(world), "failed", NOW, error="ReadTimeout: no answer")
    park(conn, world, order_body(1), order_body(2))
    dead_notice(conn, world.shop_id)
    weigh(conn)
    found = groups(conn, world.shop_id)
    assert [(row["source"], row["function"], row["error_class"], row["message"], row["items"], row["works"])
            for row in found] == [
        ("job", "stock.push", "ReadTimeout", "no answer", 1, 1),
        ("job", "stock.push", "Refused", "token of order <n> is out", 3, 1),
        ("message", "orders/create", "unreadable", "orders/create: cannot read line_items[<n>].quantity (missing)", 2,
         2),
        ("outbox", "notice", "Undelivered", "the address answers <n>", 1, 1),
    ]  # fmt: skip
    assert [row["connection_id"] for row in found] == [world.connection.id] * 3 + [None]
    assert all(row["next_step"] for row in found)


def test_what_hangs_on_a_cause_is_counted_once_each(conn: Connection, world: World) -> None:
    park(conn, world, order_body(1, "19.90"), order_body(1, "19.90"), order_body(2, "5.00", "JUG"))
    weigh(conn)
    (group,) = groups(conn, world.shop_id)
    assert (group["items"], group["orders"], group["skus"], group["money"]) == (3, 2, 2, {"GBP": 2490})
    assert scalar(conn, "select count(*) from failure_refs where sku_id = %(s)s", s=world.skus["MUG"]) == 2


def test_behind_a_push_waits_every_listing_that_shows_something_else(conn: Connection, world: World) -> None:
    execute(conn, "update listings set desired_units = 3 where id = %(id)s", id=world.listings["JUG"])
    run_job(conn, "stock.push", push(world), "failed", NOW)
    weigh(conn)
    (group,) = groups(conn, world.shop_id)
    assert (group["skus"], group["orders"]) == (1, 0)
    refs = scalar(conn, "select array_agg(sku_id) from failure_refs where source = 'job'")
    assert refs == [world.skus["JUG"]]


def test_a_known_order_is_worth_what_is_known_where_the_message_does_not_say(conn: Connection, world: World) -> None:
    book(conn, world, make_order("77"))
    arguments = {**push(world), "kind": "order", "refs": "77,78"}
    run_job(conn, "orders.read", arguments, "failed", NOW)
    weigh(conn)
    (group,) = groups(conn, world.shop_id)
    assert (group["orders"], group["money"]) == (2, {"GBP": 250})
    assert scalar(conn, "select count(*) from failure_refs where order_id is not null") == 1


def test_hours_tell_of_a_day_oldest_first(conn: Connection, world: World) -> None:
    hour = scalar(conn, "select date_trunc('hour', now())")
    for hours in (0.0, -0.5, 2.5, 22.1, 23.9, 30):
        run_job(conn, "stock.push", push(world), "failed", hour - timedelta(hours=hours))
    (group,) = groups(conn, world.shop_id)
    expected = [0] * 24
    expected[23], expected[20], expected[0] = 2, 1, 1
    assert (group["hours"], group["items"]) == (expected, 6)
    tallies.fold(conn, scalar(conn, "select now()"))
    (group,) = groups(conn, world.shop_id)
    assert (group["hours"], group["items"]) == (expected, 6)


def test_a_later_success_of_the_same_work_makes_a_failure_moot_and_of_other_work_does_not(
    conn: Connection, world: World
) -> None:
    later = NOW + timedelta(minutes=1)
    read = {**push(world), "kind": "order"}
    run_job(conn, "orders.read", {**read, "refs": "1"}, "failed", NOW)
    run_job(conn, "orders.read", {**read, "refs": "2"}, "failed", NOW)
    run_job(conn, "connection.sync", {**push(world), "sync_run_id": 1}, "failed", NOW)
    run_job(conn, "orders.read", {**read, "refs": "2"}, "finished", later)
    run_job(conn, "connection.sync", {**push(world), "sync_run_id": 2}, "finished", later)
    counts = {row["function"]: (row["still_needed"], row["superseded"]) for row in groups(conn, world.shop_id)}
    assert counts == {"orders.read": (1, 1), "connection.sync": (0, 1)}
    job_failures.close_superseded(conn, later)
    counts = {row["function"]: (row["still_needed"], row["superseded"]) for row in groups(conn, world.shop_id)}
    assert counts == {"orders.read": (1, 0)}


def test_a_parked_order_is_moot_when_a_later_message_told_as_much(conn: Connection, world: World) -> None:
    park(conn, world, order_body(1), order_body(2, version=NOW + timedelta(hours=1)))
    book(conn, world, make_order("1", version_at=NOW), make_order("2", version_at=NOW))
    weigh(conn)
    (group,) = groups(conn, world.shop_id)
    assert (group["still_needed"], group["superseded"]) == (1, 1)
    assert [row["state"] for row in items(conn, world.shop_id)] == ["superseded", "open"]


def test_a_refused_write_and_an_ignored_message_are_no_failures(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        # The channel said no to a number: a business refusal, shown with its listing.
        execute(conn, "update listings set push_problem = 'the item is archived' where id = %(id)s",
                id=world.listings["MUG"])  # fmt: skip
        run_job(conn, "stock.push", push(world), "finished", NOW)
    record_bodies(engine, world, b"", topic="unused")
    record_bodies(engine, world, body_of(make_order("9")))
    drain(engine, world)
    with engine.connect() as conn:
        assert groups(conn, world.shop_id) == []
        assert scalar(conn, "select count(*) from refused_listings where shop_id = %(s)s", s=world.shop_id) == 1


def test_a_job_of_no_shop_concerns_every_shop(conn: Connection, world: World) -> None:
    other = make_world(conn)
    run = run_job(conn, "poll.orders", {}, "failed", NOW)
    for shop in (world.shop_id, other.shop_id):
        assert [row["newest_item_id"] for row in groups(conn, shop)] == [run]
    execute(conn, "update job_runs set resolution = 'discarded', resolved_at = now(), resolved_by = 'x',"
                  " resolved_reason = 'y'")  # fmt: skip
    assert groups(conn, world.shop_id) == groups(conn, other.shop_id) == []


def test_a_run_that_was_taken_for_abandoned_and_ended_well_is_no_failure(conn: Connection, world: World) -> None:
    run = run_job(conn, "stock.push", push(world), "abandoned", NOW)
    assert [row["error_class"] for row in groups(conn, world.shop_id)] == ["Abandoned"]
    from core.runs import operations

    operations.close_job_run(conn, run, "finished", NOW + timedelta(minutes=9))
    assert groups(conn, world.shop_id) == []


def test_an_attempt_that_is_tried_again_leaves_one_failure(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW, ref="j")
    last = run_job(conn, "stock.push", push(world), "failed", NOW + timedelta(seconds=5), ref="j", attempt=2)
    (group,) = groups(conn, world.shop_id)
    assert (group["items"], group["newest_item_id"]) == (1, last)


def test_pruned_runs_leave_nothing_behind(conn: Connection, world: World) -> None:
    run_job(conn, "stock.push", push(world), "failed", NOW)
    execute(conn, "delete from job_runs")
    assert items(conn, world.shop_id) == []


def test_what_a_body_is_about_is_read_whatever_else_is_wrong_with_it() -> None:
    for vendor in ("shopify", "amazon"):
        for body in (b"", b"[]", b"{}", b"\xff", b'{"id": {}}', b'{"line_items": [1, null]}', b"[" * 100_000):
            for topic in ("orders/create", "poll/orders", "refunds/create", "notification/ORDER_CHANGE", "x"):
                assert mentions(vendor, topic, body, "EUR").orders == ()
    total = {"amount": "3.50", "currencyCode": "GBP"}
    order = {"orderId": "113-1", "orderItems": [{"product": {"sellerSku": "MUG"}}], "proceeds": {"grandTotal": total}}
    polled = json.dumps(order).encode()
    found = mentions("amazon", "poll/orders", polled, "EUR")
    assert (found.orders[0].ref, found.orders[0].total_minor, found.orders[0].currency) == ("113-1", 350, "GBP")
    assert found.variants == {"MUG"}
