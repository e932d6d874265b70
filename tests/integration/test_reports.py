"""Daily reports: what a day comes to, once and for ever, and corrections beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import Connection, Engine

from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from core.reports import operations as reports
from core.reports import queries, rules, telling, words
from core.reports.queries import ReportRow
from core.reports.rules import Policy
from tests.conftest import ROOT
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    book,
    count,
    later,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)
from tests.racing import play, race

DAY = NOW.date()
MORNING = datetime(2024, 3, 5, 5, tzinfo=UTC)


def build(conn: Connection, world: World, day: date = DAY, now: datetime = MORNING) -> ReportRow:
    return reports.build(conn, world.shop_id, day, reports.CLOCK, now).report


def total(report: ReportRow, name: str, currency: str = "GBP") -> int | None:
    return rules.sums(report.content["markets"])[currency][name]


@pytest.fixture
def world(conn: Connection) -> World:
    return make_world(conn, {"MUG": 100, "CUP": 100})


# --- the figures -----------------------------------------------------------------------------------------------------


def test_a_day_is_told_by_marketplace_with_discounts_taxes_and_shipping_apart(conn: Connection, world: World) -> None:
    lines = (make_line(units=3, discount_minor=50), make_line("2", "CUP", 1, "10.00"))
    book(conn, world, make_order("1", lines, country_code="GB", tax_minor=120, shipping_minor=395))
    book(conn, world, make_order("2", country_code="FR"))
    book(conn, world, make_order("3", country_code="GB", is_test=True))
    found = build(conn, world)
    told = {row["country"]: row for row in found.content["markets"]}
    british = told["GB"]
    assert (british["orders"], british["units"]) == (1, 4)
    assert (british["gross_minor"], british["discount_minor"], british["revenue_minor"]) == (1750, 50, 1700)
    assert (british["tax_minor"], british["shipping_minor"]) == (120, 395)
    assert (told["FR"]["revenue_minor"], told["FR"]["tax_minor"]) == (250, None)
    assert total(found, "average_minor") == 975
    assert british["connection"] == world.connection.name
    best = found.content["skus"]
    assert [(row["code"], row["units"], row["orders"], row["revenue_minor"]) for row in best] == [
        ("CUP", 1, 1, 1000),
        ("MUG", 4, 2, 950),
    ]
    kept = fetch(conn, "select * from daily_report_markets where shop_id = %(shop)s order by 3", shop=world.shop_id)
    assert [row["revenue_minor"] for row in kept] == [row["revenue_minor"] for row in found.content["markets"]]


def test_currencies_are_never_summed(conn: Connection, world: World) -> None:
    book(conn, world, make_order("1"), make_order("2", currency="JPY"))
    found = build(conn, world)
    assert set(rules.sums(found.content["markets"])) == {"GBP", "JPY"}
    assert (total(found, "revenue_minor"), total(found, "revenue_minor", "JPY")) == (250, 250)


def test_refunds_and_cancellations_count_on_the_day_they_were_made(conn: Connection, world: World) -> None:
    tomorrow = NOW + timedelta(days=1)
    book(conn, world, make_order("1", [make_line(units=4)]), make_order("2"))
    book(conn, world, make_refund("1", [make_refund_line(units=2, subtotal_minor=500)], at=tomorrow))
    book(conn, world, make_order("2", cancelled_at=tomorrow, version_at=tomorrow, cancel_reason="customer"))
    back = OrderlessReturn("back:1", "CUP", 1, Decimal("3.10"), "GBP", None, tomorrow, "IE")
    orders.take_back(conn, world.shop_id, world.location_id, [back], ACTOR, NOW)
    sold, given = build(conn, world), build(conn, world, DAY + timedelta(days=1), MORNING + timedelta(days=1))
    assert (total(sold, "orders"), total(sold, "refunds"), total(sold, "cancellations")) == (2, 0, 0)
    assert (total(given, "orders"), total(given, "revenue_minor")) == (0, 0)
    assert (total(given, "refunds"), total(given, "refunded_units"), total(given, "refunded_minor")) == (2, 3, 810)
    assert (total(given, "cancellations"), total(given, "cancelled_units"), total(given, "cancelled_minor")) == (
        1,
        1,
        250,
    )
    alone = next(row for row in given.content["markets"] if row["connection_id"] is None)
    assert (alone["country"], alone["refunded_minor"]) == ("IE", 310)


def test_the_hour_that_comes_twice_is_two_hours_and_the_one_that_is_skipped_none(
    conn: Connection, world: World
) -> None:
    """London, 27 October 2024: 25 hours. 00:30, 01:30 BST, 01:30 GMT, 23:59; and what is outside of it."""
    autumn = date(2024, 10, 27)
    inside = [
        datetime(2024, 10, 26, 23, 0, tzinfo=UTC),  # 00:00, the first instant
        datetime(2024, 10, 26, 23, 30, tzinfo=UTC),  # 00:30 BST
        datetime(2024, 10, 27, 0, 30, tzinfo=UTC),  # 01:30 BST
        datetime(2024, 10, 27, 1, 30, tzinfo=UTC),  # 01:30 GMT
        datetime(2024, 10, 27, 23, 59, tzinfo=UTC),  # 23:59
    ]
    before, after = inside[0] - timedelta(microseconds=1), datetime(2024, 10, 28, tzinfo=UTC)
    for number, at in enumerate([before, *inside, after]):
        book(conn, world, make_order(str(number), placed_at=at))
    now = datetime(2024, 10, 29, tzinfo=UTC)
    found = build(conn, world, autumn, now)
    assert (found.content["hours"], total(found, "orders"), total(found, "revenue_minor")) == (25, 5, 5 * 250)
    hours = {row["label"]: row["orders"] for row in found.content["by_hour"]}
    assert len(hours) == 25
    assert (hours["00:00"], hours["01:00 BST"], hours["01:00 GMT"], hours["02:00"], hours["23:00"]) == (2, 1, 1, 0, 1)
    assert total(build(conn, world, autumn - timedelta(days=1), now), "orders") == 1
    assert total(build(conn, world, autumn + timedelta(days=1), now), "orders") == 1


def test_usual_is_the_mean_of_the_same_weekday_before(conn: Connection, world: World) -> None:
    for weeks, number in ((1, 3), (2, 1)):
        at = NOW - timedelta(days=7 * weeks)
        book(conn, world, *(make_order(f"{weeks}:{each}", placed_at=at) for each in range(number)))
        build(conn, world, at.date())
    found = build(conn, world)
    noon = found.content["by_hour"][12]
    assert (noon["usual_orders"], noon["usual_revenue"]) == (2.0, {"GBP": 500})
    assert found.content["by_hour"][13]["usual_orders"] == 0.0


def test_stock_outs_last_from_zero_until_there_is_some_again(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 2, "CUP": 100, "POT": 5})
    begins, ends = rules.bounds(DAY, "Europe/London")
    book(conn, world, make_order("1", [make_line(units=2)]), now=begins + timedelta(hours=10))
    with_more = begins + timedelta(hours=11, minutes=30)
    execute(
        conn,
        """
        insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, recorded_by,
            occurred_at, recorded_at)
        values (%(shop)s, %(sku)s, %(location)s, 5, 'receipt', 'more', 'ada', %(at)s, %(at)s)
        """,
        shop=world.shop_id,
        sku=world.skus["MUG"],
        location=world.location_id,
        at=with_more,
    )
    execute(conn, "update stock_levels set on_hand = on_hand + 5 where sku_id = %(sku)s", sku=world.skus["MUG"])
    book(conn, world, make_order("2", [make_line(code="POT", units=5)]), now=begins + timedelta(hours=20))
    # What comes after the day does not change what was.
    book(conn, world, make_order("3", [make_line(code="CUP", units=100)]), now=ends + timedelta(hours=1))
    found = build(conn, world).content["stock_outs"]
    told = {row["code"]: row for row in found["rows"]}
    assert set(told) == {"MUG", "POT"}
    assert (told["MUG"]["minutes"], told["MUG"]["is_still"]) == (90, False)
    assert (told["POT"]["minutes"], told["POT"]["is_still"]) == (240, True)
    assert datetime.fromisoformat(told["POT"]["reached_at"]) == begins + timedelta(hours=20)
    assert (found["skus"], found["minutes"]) == (2, 330)


def test_a_quiet_day_has_a_report_that_says_so(conn: Connection, world: World) -> None:
    found = build(conn, world)
    assert found.content["markets"] == []
    assert found.content["skus"] == []
    assert found.content["discrepancies"] is None
    assert len(found.content["by_hour"]) == 24


# --- once, and for ever ----------------------------------------------------------------------------------------------


def test_a_day_that_is_not_over_in_the_shops_zone_is_refused(conn: Connection, world: World) -> None:
    with pytest.raises(reports.DayNotClosed, match="is not over in Europe/London"):
        build(conn, world, now=datetime(2024, 3, 4, 23, 59, tzinfo=UTC))


def test_a_day_is_built_once_and_a_person_is_told_so(conn: Connection, world: World) -> None:
    first = reports.build(conn, world.shop_id, DAY, reports.CLOCK, MORNING)
    again = reports.build(conn, world.shop_id, DAY, reports.CLOCK, later(9999))
    assert (first.is_new, again.is_new) == (True, False)
    assert first.report == again.report
    with pytest.raises(reports.AlreadyBuilt, match="stays as it is"):
        reports.build_by_hand(conn, world.shop_id, DAY, ACTOR, MORNING)
    assert count(conn, "daily_reports", world.shop_id) == 1


def test_what_is_kept_is_what_its_hash_says(conn: Connection, world: World) -> None:
    book(conn, world, make_order())
    found = build(conn, world)
    assert rules.content_hash(found.content) == found.content_hash
    assert rules.content_hash({**found.content, "hours": 23}) != found.content_hash


def test_closed_days_without_a_report_are_due_since_the_shop_opened(conn: Connection, world: World) -> None:
    assert reports.due(conn, world.shop_id, NOW) == [date(2024, 3, 3)]
    build(conn, world, date(2024, 3, 3), NOW)
    assert reports.due(conn, world.shop_id, NOW) == []
    assert reports.due(conn, world.shop_id, NOW + timedelta(days=2)) == [date(2024, 3, 4), date(2024, 3, 5)]
    # Half an hour before midnight in London it is tomorrow in Auckland: days are the shop's.
    assert len(reports.due(conn, world.shop_id, NOW + timedelta(days=400))) == Policy().look_back_days


def test_a_policy_that_looks_back_a_day_loses_no_nights(conn: Connection, world: World) -> None:
    reports.set_policy(conn, world.shop_id, Policy(look_back_days=1), ACTOR, NOW)
    assert len(reports.due(conn, world.shop_id, NOW + timedelta(days=6))) == 7


@pytest.mark.parametrize("moved_to", ["America/Los_Angeles", "Pacific/Auckland", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_shop_that_moves_counts_every_order_once(conn: Connection, world: World, moved_to: str) -> None:
    """Days of two zones overlap, or leave hours out: each begins where the one before was reported to."""
    began = datetime(2024, 3, 4, tzinfo=UTC)
    placed = [began + timedelta(hours=3 * step, minutes=5) for step in range(32)]
    book(conn, world, *(make_order(str(number), placed_at=at) for number, at in enumerate(placed)))
    built = [build(conn, world, began.date(), began + timedelta(days=9))]
    execute(conn, "update shops set time_zone = %(z)s where shop_id = %(s)s", z=moved_to, s=world.shop_id)
    built += [build(conn, world, began.date() + timedelta(days=n), began + timedelta(days=9)) for n in range(1, 6)]
    sold = [sum(market["orders"] for market in report.content["markets"]) for report in built]
    assert sum(sold) == len(placed)
    assert all(after.begins_at >= report.ends_at for report, after in pairwise(built))
    for report, number in zip(built, sold, strict=True):
        hours = report.content["by_hour"]
        assert sum(hour["orders"] for hour in hours) == number
        assert len({hour["label"] for hour in hours}) == len(hours)


def test_how_syncs_ended_counts_every_turn_and_tells_refusals_apart(conn: Connection, world: World) -> None:
    """Turns that found nothing leave no run: by runs alone three failures of a whole day are all that there was."""
    begins, _ = rules.bounds(DAY, "Europe/London")
    for outcome, turns, hours in (("nothing", 1437, 1), ("failed", 3, 2), ("refused", 2, 3), ("waits", 50, 3),
                                  ("worked", 58, 3), ("failed", 9, 24)):  # fmt: skip
        execute(
            conn,
            """
            insert into sync_tallies (shop_id, connection_id, kind, hour_at, outcome, slot, turns, seconds)
            values (%(shop)s, %(connection)s, 'poll_orders', %(at)s, %(outcome)s, 1, %(turns)s, 1)
            """,
            shop=world.shop_id,
            connection=world.connection.id,
            at=begins + timedelta(hours=hours),
            outcome=outcome,
            turns=turns,
        )
    (row,) = build(conn, world).content["sync"]
    assert (row["runs_done"], row["runs_failed"], row["runs_refused"]) == (1495, 3, 2)
    assert words.ended_well(row) == "99.7 %"
    assert words.ended_well({"runs_done": 1, "runs_failed": 1}) == "50 %", "an edition of before"


# --- corrections -----------------------------------------------------------------------------------------------------


def test_what_comes_late_makes_a_correction_that_says_what_and_why(conn: Connection, world: World) -> None:
    book(conn, world, make_order("1"))
    first = build(conn, world)
    assert reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING) is None
    book(conn, world, make_order("2", [make_line(units=2)]), now=MORNING + timedelta(hours=2))
    book(conn, world, make_refund("1", at=later(30)), now=MORNING + timedelta(hours=2))
    made = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=1))
    assert made is not None
    assert (made.edition, made.editions, made.is_material) == (2, 2, True)
    market = {row["measure"]: (row["from"], row["to"]) for row in made.changes if row["section"] == "market"}
    assert (market["orders"], market["units"], market["revenue_minor"]) == ((1, 2), (1, 3), (250, 750))
    assert (market["refunds"], market["refunded_minor"]) == ((0, 1), (0, 250))
    assert {(row["kind"], row["count"], *row["names"]) for row in made.causes} >= {
        ("order_late", 1, "#2"),
        ("refund_late", 1, "#1"),
    }
    # The first stays as it was, and nothing more is found.
    assert queries.report(conn, world.shop_id, DAY, 1).content == first.content
    assert reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=2)) is None


def test_a_late_cancellation_is_named_as_the_cause(conn: Connection, world: World) -> None:
    book(conn, world, make_order("1"))
    build(conn, world)
    at = MORNING + timedelta(minutes=1)
    book(conn, world, make_order("1", cancelled_at=later(5), version_at=at, cancel_reason="customer"), now=at)
    made = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=1))
    assert made is not None
    assert [row["kind"] for row in made.causes] == ["order_cancelled"]


def test_a_correction_leaves_how_the_machinery_did_as_first_reported(conn: Connection, world: World) -> None:
    book(conn, world, make_order("1", [make_line(units=100)]))
    first = build(conn, world)
    assert first.content["stock_outs"]["skus"] == 1
    adjust_stock(conn, world, "MUG", 50)
    book(conn, world, make_order("2"), now=MORNING + timedelta(hours=2))
    made = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=1))
    assert made is not None
    for name in rules.AS_FIRST_REPORTED:
        assert made.content[name] == first.content[name]


def test_only_what_matters_is_told(conn: Connection, world: World) -> None:
    book(conn, world, *(make_order(str(number)) for number in range(200)))
    first = build(conn, world)
    assert telling.tell(conn, first, "http://127.0.0.1:8500", MORNING) is True
    (queued,) = fetch(conn, "select payload from outbox_messages where shop_id = %(shop)s", shop=world.shop_id)
    assert "Daily report" in queued["payload"]["subject"]
    assert [file["name"].rpartition(".")[2] for file in queued["payload"]["attachments"]] == ["xlsx", "csv"]
    assert telling.tell(conn, first, "http://127.0.0.1:8500", MORNING) is False
    book(conn, world, make_order("late"), now=MORNING + timedelta(hours=1))
    small = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=1))
    assert small is not None
    assert not small.is_material
    assert telling.tell(conn, small, "http://127.0.0.1:8500", MORNING) is False
    reports.set_policy(conn, world.shop_id, Policy(14, Decimal("0.001")), ACTOR, MORNING)
    book(conn, world, make_order("later"), now=MORNING + timedelta(days=1, hours=1))
    great = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=2))
    assert great is not None
    assert great.is_material
    assert telling.tell(conn, great, "http://127.0.0.1:8500", MORNING) is True


@pytest.mark.parametrize(("days", "share"), [(0, "0.01"), (91, "0.01"), (14, "-0.1"), (14, "1.5")])
def test_a_policy_that_makes_no_sense_is_refused(conn: Connection, world: World, days: int, share: str) -> None:
    with pytest.raises(BadInput):
        reports.set_policy(conn, world.shop_id, Policy(days, Decimal(share)), ACTOR, NOW)


def test_a_correction_covers_the_same_hours_though_the_shop_moved(conn: Connection, world: World) -> None:
    book(conn, world, make_order("1"))
    first = build(conn, world)
    execute(conn, "update shops set time_zone = 'Pacific/Auckland' where shop_id = %(shop)s", shop=world.shop_id)
    assert reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING) is None
    book(conn, world, make_order("2", placed_at=later(60 * 11)), now=MORNING + timedelta(hours=1))
    made = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=1))
    assert made is not None
    assert (made.begins_at, made.ends_at, made.time_zone) == (first.begins_at, first.ends_at, "Europe/London")


# --- several at once, and death in between ---------------------------------------------------------------------------


def _build_here(engine: Engine, world: World) -> bool:
    with unit_of_work(engine) as conn:
        return reports.build(conn, world.shop_id, DAY, reports.CLOCK, MORNING).is_new


def _correct_here(engine: Engine, world: World) -> int:
    with unit_of_work(engine) as conn:
        made = reports.correct(conn, world.shop_id, DAY, reports.LOOK, MORNING + timedelta(days=1))
        return 0 if made is None else made.edition


def _die_in_it(engine: Engine, world: World) -> None:
    """Build, and wait for a signal just before the commit."""
    with unit_of_work(engine) as conn:
        reports.build(conn, world.shop_id, DAY, reports.CLOCK, MORNING)
        print("built", flush=True)
        time.sleep(600)


def test_two_builders_at_once_build_one_report_and_one_correction(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        book(conn, world, make_order("1"))
    assert sorted(race(engine, __file__, [("build", world)] * 2)) == [False, True]
    with unit_of_work(engine) as conn:
        book(conn, world, make_order("2"), now=MORNING + timedelta(hours=1))
    assert sorted(race(engine, __file__, [("correct", world)] * 2)) == [0, 2]
    with unit_of_work(engine) as conn:
        assert count(conn, "daily_reports", world.shop_id) == 2


def test_a_builder_that_is_killed_leaves_nothing_and_the_next_one_builds(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        book(conn, world, make_order("1"))
        # What races let go at once has to be free for one alone.
    url = engine.url.render_as_string(hide_password=False)
    words = [sys.executable, __file__, "die", url, str(world.shop_id), str(world.connection.id)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["ready", "built"]
        os.kill(process.pid, signal.SIGKILL)
    with unit_of_work(engine) as conn:
        assert count(conn, "daily_reports", world.shop_id) == 0
        assert reports.build(conn, world.shop_id, DAY, reports.CLOCK, MORNING).is_new
        row = fetch_one(conn, "select * from daily_report_list where shop_id = %(shop)s", shop=world.shop_id)
        assert row is not None
        assert row["orders"] == 1
        assert scalar(conn, "select count(*) from daily_report_markets where shop_id = %(s)s", s=world.shop_id) == 1


if __name__ == "__main__":
    play({"build": _build_here, "correct": _correct_here, "die": _die_in_it})
