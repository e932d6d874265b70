"""The views against a real database: who may see what, which state a connection is in, what a level was."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from dashboard import (
    calls,
    commission_rule_queries,
    connection_queries,
    evidence,
    history,
    jobs_queries,
    oversell_queries,
    queries,
)
from tests.dashboard import seed, worlds

pytestmark = pytest.mark.usefixtures("settings")


def health(conn: Connection, connection_id: int) -> dict[str, object]:
    row = conn.exec_driver_sql("select * from connection_health where connection_id = %(c)s", {"c": connection_id})
    return dict(row.mappings().one())


def test_every_view_obeys_its_readers_rights_and_names_the_shop(conn: Connection) -> None:
    views = fetch(
        conn,
        """
        select c.relname as name, coalesce(c.reloptions::text, '') as options,
               exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'shop_id') as has_shop
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'v' and n.nspname = 'public'
        """,
    )
    assert len(views) >= 20
    assert [v["name"] for v in views if "security_invoker=true" not in v["options"] or not v["has_shop"]] == []


def test_the_dashboard_reads_nothing_but_views(conn: Connection) -> None:
    tables = {row["name"] for row in fetch(conn, "select relname as name from pg_class where relkind = 'r'")}
    for module in (
        queries,
        history,
        evidence,
        calls,
        jobs_queries,
        oversell_queries,
        connection_queries,
        commission_rule_queries,
    ):
        with open(str(module.__file__), encoding="utf-8") as source:
            named = set(re.findall(r"\b(?:from|join)\s+([a-z_]+)", source.read()))
        assert not named & tables, module.__name__


def test_in_shadow_mode_a_connection_is_behind_with_what_came_but_not_with_what_differs(conn: Connection) -> None:
    shop = seed.shop(conn)
    a = seed.connection(conn, shop)
    seed.call(conn, shop, a, seed.ago(seconds=10))
    sku, place = seed.sku(conn, shop, "MUG"), seed.location(conn, shop)
    seed.listing(conn, shop, a, sku, place, published_units=3, published_at=seed.ago(hours=2))
    assert (health(conn, a)["state"], health(conn, a)["listings_to_push"]) == ("behind", 1)
    seed.set_state(conn, "connections", a, write_mode="shadow")
    assert (health(conn, a)["state"], health(conn, a)["listings_to_push"]) == ("in_step", 0)
    seed.message(conn, shop, a, seed.ago(minutes=19), "received")
    assert health(conn, a)["state"] == "behind"


def test_what_a_channel_does_not_tell_and_a_version_it_left_need_somebody(conn: Connection) -> None:
    shop = seed.shop(conn)
    a, b = seed.connection(conn, shop), seed.connection(conn, shop, "Outlet")
    for one in (a, b):
        seed.call(conn, shop, one, seed.ago(minutes=1), api_version="2026-10", asked_version="2026-10")
    advised = {"topic": "fulfillment_orders/order_routing_complete", "state": "refused", "is_advised": True}
    for topic in (advised, {"topic": "orders/create", "state": "standing"}):
        seed.insert(
            conn, "channel_subscriptions", "topic", shop_id=shop, connection_id=a, checked_at=seed.now(), **topic
        )
    found = queries.problems(shop, "a")
    assert (health(conn, a)["state"], found["untold"], found["forward"]) == ("in_step", [], [])
    execute(conn, "update channel_subscriptions set state = 'missing', missed_at = now() where topic = 'orders/create'")
    seed.call(conn, shop, b, seed.now(), api_version="2027-01", asked_version="2026-10")
    assert (health(conn, a)["state"], health(conn, b)["state"]) == ("attention", "attention")
    found = queries.problems(shop, "b")
    assert [(row["connection_id"], row["missing"], row["refused"], row["example"]) for row in found["untold"]] == [
        (a, 1, 0, "orders/create")
    ]
    assert [(row["connection_id"], row["answered_version"]) for row in found["forward"]] == [(b, "2027-01")]


def test_errors_of_the_same_kind_are_one_and_only_the_newest_are_counted(conn: Connection) -> None:
    shop = seed.shop(conn)
    a, b = seed.connection(conn, shop), seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    for minute in range(55):
        seed.call(conn, shop, a, seed.ago(minutes=minute), "refused", operation="push", status=403, error="no")
    seed.call(conn, shop, a, seed.ago(minutes=2), "refused", operation="push", status=422, error="bad")
    seed.call(conn, shop, a, seed.ago(minutes=9), "unknown", operation="poll", status=None, error="ReadTimeout")
    seed.call(conn, shop, b, seed.ago(minutes=1), "error", operation="push", status=500, error="x")
    seed.call(conn, shop, a, seed.ago(minutes=5), operation="poll")
    found = connection_queries.errors(shop, "all", a)
    assert [(row["operation"], row["status"], row["calls"]) for row in found] == [
        ("push", 403, 49), ("push", 422, 1), ("poll", None, 1),
    ]  # fmt: skip
    known = calls.operations(shop, "all")
    assert [connection_queries.is_over(row, known, a) for row in found] == [False, False, True]


def test_a_connection_is_in_step_then_behind_then_silent_then_paused(conn: Connection) -> None:
    shop = seed.shop(conn)
    a = seed.connection(conn, shop)
    assert health(conn, a)["state"] == "unknown"
    assert health(conn, a)["lag_seconds"] is None
    seed.call(conn, shop, a, seed.ago(seconds=10))
    assert (health(conn, a)["state"], health(conn, a)["lag_seconds"]) == ("in_step", 0)
    message = seed.message(conn, shop, a, seed.ago(minutes=19), "received")
    found = health(conn, a)
    assert found["state"] == "behind"
    assert 1138 < float(str(found["lag_seconds"])) < 1150
    assert found["received"] == 1
    seed.set_state(conn, "inbox_messages", message, state="handled", settled_at=seed.now())
    assert health(conn, a)["state"] == "in_step"
    execute(conn, "update api_calls set called_at = now() - interval '47 minutes'")
    execute(conn, "update inbox_messages set received_at = now() - interval '47 minutes'")
    assert (health(conn, a)["state"], health(conn, a)["lag_seconds"]) == ("unknown", None)
    seed.set_state(conn, "connections", a, state="paused")
    assert health(conn, a)["state"] == "paused"


def test_an_asynchronous_channel_is_given_more_time(conn: Connection) -> None:
    shop = seed.shop(conn)
    place = seed.location(conn, shop)
    sku = seed.sku(conn, shop, "A")
    for name, grade, state in (("fast", "A", "behind"), ("slow", "B", "in_step")):
        c = seed.connection(conn, shop, name, grade=grade)
        seed.call(conn, shop, c, seed.now())
        listing = seed.listing(conn, shop, c, sku, place)
        seed.write(conn, shop, c, listing, 3, at=seed.ago(minutes=6), from_units=9, sent_at=seed.ago(minutes=6))
        assert health(conn, c)["state"] == state


def test_refused_doubtful_parked_and_failing_ask_for_attention(conn: Connection) -> None:
    shop = seed.shop(conn)
    place, sku = seed.location(conn, shop), seed.sku(conn, shop, "A")
    for trouble in ("refused", "doubtful", "parked", "failing"):
        c = seed.connection(conn, shop, trouble)
        seed.call(conn, shop, c, seed.ago(minutes=1))
        listing = seed.listing(conn, shop, c, sku, place)
        if trouble == "refused":
            seed.set_state(conn, "listings", listing, push_problem="not stocked here")
        elif trouble == "doubtful":
            seed.write(
                conn, shop, c, listing, 3, at=seed.ago(minutes=9), sent_at=seed.ago(minutes=9), doubt="no answer"
            )
        elif trouble == "parked":
            seed.message(conn, shop, c, seed.ago(minutes=9), "parked", cause="unreadable")
        else:
            seed.set_state(conn, "connections", c, last_error="refused", last_error_at=seed.now())
        assert health(conn, c)["state"] == "attention", trouble


def test_a_failed_job_that_succeeded_since_needs_nobody(conn: Connection) -> None:
    shop, other = seed.shop(conn), seed.shop(conn, "Other")
    mine = {"shop_id": shop, "connection_id": 1}
    seed.job(conn, "stock.push", seed.ago(minutes=9), error="boom", fingerprint="f1", arguments=mine)
    seed.job(conn, "reports.day", seed.ago(minutes=9), error="bang", fingerprint="f2")
    count = "select count(*) from failed_jobs where shop_id = %(s)s"
    assert (scalar(conn, count, s=shop), scalar(conn, count, s=other)) == (2, 1)
    seed.job(conn, "stock.push", seed.ago(minutes=5), "finished", arguments=mine)
    assert scalar(conn, count, s=shop) == 1


def test_the_last_audit_of_each_shop_counts(conn: Connection) -> None:
    shop, other = seed.shop(conn), seed.shop(conn, "Other")
    found = "select count(*) from failed_schedules where shop_id = %(s)s"
    bad = {"violations": 2, "broken": {"levels": 2}}
    seed.schedule(conn, "audit.nightly", seed.ago(hours=9), "finished", bad, f"2026-11-20:shop:{shop}")
    seed.schedule(conn, "poll.orders", seed.ago(hours=2), "failed", None, "77")
    assert (scalar(conn, found, s=shop), scalar(conn, found, s=other)) == (2, 1)
    seed.schedule(conn, "audit.nightly", seed.ago(hours=8), "finished", {"violations": 0}, f"2026-11-21:shop:{other}")
    assert scalar(conn, found, s=shop) == 2
    seed.schedule(conn, "audit.nightly", seed.ago(hours=1), "finished", {"violations": 0}, f"2026-11-21:shop:{shop}")
    seed.schedule(conn, "poll.orders", seed.ago(hours=1), "finished", {}, "78")
    assert (scalar(conn, found, s=shop), scalar(conn, found, s=other)) == (0, 0)


def test_levels_over_time_are_counted_back_from_now(conn: Connection) -> None:
    shop = seed.shop(conn)
    place, c, sku = seed.location(conn, shop), seed.connection(conn, shop), seed.sku(conn, shop, "A")
    seed.level(conn, shop, sku, place, 8, reserved=1)
    seed.movement(conn, shop, sku, place, 10, seed.ago(days=5))
    line = seed.line(conn, shop, seed.order(conn, shop, c, seed.ago(days=3)), sku, 3)
    seed.promise(conn, shop, sku, place, line, 3, seed.ago(days=3), shipped=2)
    seed.movement(conn, shop, sku, place, -2, seed.ago(days=1), reason="shipment", order_line_id=line)
    past = history.levels_over_time(shop, sku, "all", 7)
    hand = [point["on_hand"] for point in past.points]
    free = [point["available"] for point in past.points]
    assert (hand[0], hand[-1], free[0], free[-1]) == (0, 8, 0, 7)
    # Booked on day 3 (three fewer to promise), shipped on day 1 (two fewer on hand, nothing else).
    assert list(dict.fromkeys(zip(hand, free, strict=True))) == [(0, 0), (10, 10), (10, 7), (8, 7)]
    assert past.since is None
    assert len(past.points) <= 500
    ats = [point["at"] for point in past.points]
    assert ats == sorted(ats)


def test_keyset_pages_meet_without_gap_or_repeat(conn: Connection) -> None:
    shop = seed.shop(conn)
    place = seed.location(conn, shop)
    for number in range(queries.PAGE * 2 + 7):
        sku = seed.sku(conn, shop, f"S{number:04d}")
        seed.level(conn, shop, sku, place, number % 9 - 2 if number % 9 > 2 else 0, reserved=number % 4)
    for sort in queries.SORTS:
        seen: list[str] = []
        after, more = None, True
        while more:
            page = queries.sku_page(shop, "all", "all", sort, "", after)
            seen += [row["code"] for row in page.rows]
            after, more = (page.rows[-1]["sort_number"], page.rows[-1]["code"]), page.more
        assert len(seen) == len(set(seen)) == queries.PAGE * 2 + 7, sort
        back = queries.sku_page(shop, "all", "all", sort, "", (page.rows[0]["sort_number"], page.rows[0]["code"]), True)
        assert [row["code"] for row in back.rows] == seen[queries.PAGE : queries.PAGE * 2]


def test_filters_and_search_mean_what_they_say(conn: Connection) -> None:
    world = worlds.troubled(conn)

    def codes(show: str, text: str = "") -> set[str]:
        return {row["code"] for row in queries.sku_page(world.shop, "all", show, "code", text, None).rows}

    assert len(codes("all")) == len(worlds.GOODS)
    assert codes("short") == {"22423"}
    assert {"85123A", "22423"} <= codes("not in step")
    assert codes("all", "jumbo BAG") == {"85099B", "85099F", "23203"}
    assert codes("all", "85099") == {"85099B", "85099F"}
    assert codes("all", "100%") == set()
    assert queries.find_sku(world.shop, "22423") == ["22423"]
    assert len(queries.find_sku(world.shop, "85099")) == 2


def test_writes_of_all_listings_come_newest_first_page_by_page(conn: Connection) -> None:
    shop = seed.shop(conn)
    place, sku = seed.location(conn, shop), seed.sku(conn, shop, "A")
    channels = [seed.connection(conn, shop, name) for name in ("one", "two")]
    listings = [seed.listing(conn, shop, c, sku, place) for c in channels]
    for number in range(45):
        which = number % 2
        seed.confirmed(conn, shop, channels[which], listings[which], number, number + 1, seed.ago(minutes=90 - number))
    seen, before = [], None
    while True:
        page = history.writes(shop, sku, before)
        seen += [row["write_id"] for row in page.rows]
        if not page.more:
            break
        before = seen[-1]
    assert len(seen) == 45
    assert seen == sorted(seen, reverse=True)


def test_orders_are_counted_in_the_shops_day(conn: Connection) -> None:
    shop = seed.shop(conn, zone="Pacific/Auckland")
    c = seed.connection(conn, shop)
    midnight = scalar(
        conn, "select date_trunc('day', now() at time zone 'Pacific/Auckland') at time zone 'Pacific/Auckland'"
    )
    seed.order(conn, shop, c, midnight + timedelta(seconds=1))
    seed.order(conn, shop, c, midnight - timedelta(seconds=1))
    seed.order(conn, shop, c, midnight + timedelta(seconds=2), is_test=True)
    seed.order(conn, shop, c, midnight - timedelta(days=7) + timedelta(seconds=1))
    found = {(row["days_ago"], row["hour"]): row["orders"] for row in queries.orders_today(shop, "all")}
    assert found == {(0, 0): 1, (7, 0): 1}
