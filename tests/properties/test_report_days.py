"""Orders and refunds at any instants around a change of the clocks: each is in one day, and the days sum to all."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.clock import business_day
from core.db import execute
from core.reports import operations as reports
from core.reports import rules
from tests.factories import BASELINE, book, make_line, make_order, make_refund, make_refund_line, make_world

ZONES = {
    "Europe/London": (date(2024, 3, 31), date(2024, 10, 27)),
    "America/Havana": (date(2024, 3, 10), date(2024, 11, 3)),
    "Australia/Lord_Howe": (date(2024, 10, 6), date(2024, 4, 7)),
    "Pacific/Apia": (date(2011, 12, 30), date(2011, 12, 30)),
}
SPAN = 36 * 3600


@st.composite
def trades(draw: st.DrawFn) -> tuple[str, date, list[datetime], list[tuple[int, datetime]]]:
    """A zone, the day of a change, instants of orders, and refunds (of which order, when)."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    day = draw(st.sampled_from(ZONES[zone]))
    middle = rules.midnight(day, zone)
    # Also exactly on the hour: where a day begins and where the clocks change.
    seconds = st.one_of(st.integers(-SPAN, SPAN), st.integers(-36, 36).map(lambda hours: hours * 3600))
    moments = seconds.map(lambda shift: middle + timedelta(seconds=shift))
    placed = draw(st.lists(moments, min_size=1, max_size=8))
    refunds = draw(st.lists(st.tuples(st.integers(0, len(placed) - 1), moments), max_size=4))
    return zone, day, placed, refunds


@settings(max_examples=30)
@given(trades())
def test_every_order_is_in_one_day_and_days_sum_to_all(
    module_engine: Engine, trade: tuple[str, date, list[datetime], list[tuple[int, datetime]]]
) -> None:
    zone, day, placed, refunds = trade
    with module_engine.connect() as conn, conn.begin() as transaction:
        world = make_world(conn, {"MUG": 100}, baseline_at=BASELINE)
        execute(conn, "update shops set time_zone = %(zone)s where shop_id = %(id)s", zone=zone, id=world.shop_id)
        orders = [
            make_order(str(number), [make_line(units=number + 1)], placed_at=at) for number, at in enumerate(placed)
        ]
        book(conn, world, *orders)
        gave = [
            make_refund(str(which), [make_refund_line(units=0, subtotal_minor=100 + number)], f"r{number}", at)
            for number, (which, at) in enumerate(refunds)
        ]
        book(conn, world, *gave)
        now = datetime(2025, 1, 1, tzinfo=UTC)
        found = [
            reports.build(conn, world.shop_id, day + timedelta(days=back), reports.CLOCK, now).report
            for back in range(-3, 4)
        ]
        whole: Counter[str] = Counter()
        for report in found:
            for row in report.content["markets"]:
                whole.update(
                    {name: row[name] for name in ("orders", "units", "revenue_minor", "refunds", "refunded_minor")}
                )
            named = [at for at in placed if business_day(at, zone) == report.day]
            assert sum(row["orders"] for row in report.content["markets"]) == len(named)
            assert sum(row["orders"] for row in report.content["by_hour"]) == len(named)
        assert whole["orders"] == len(placed)
        assert whole["units"] == sum(range(1, len(placed) + 1))
        assert whole["revenue_minor"] == 250 * whole["units"]
        assert (whole["refunds"], whole["refunded_minor"]) == (len(gave), sum(each.amount_minor for each in gave))
        assert [report.begins_at for report in found[1:]] == [report.ends_at for report in found[:-1]]
        transaction.rollback()
