"""Daily reports of the shared file, by day and country, held against a plain computation over the file.

Three of its weeks, around the night in which London's clocks went forward; SWITCHYARD_REPORTED=whole takes all of it,
which takes minutes. What is taken is booked by our own operations in sets (`booked_file`): that the replay brings every
order with its time and country is held in `tests/functional/test_replay.py`.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections import Counter, deque
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.db import unit_of_work
from core.reports import operations as reports
from core.reports.queries import ReportRow
from tests.acceptance import daily_report
from tests.acceptance.booked_file import book_file
from tests.acceptance.daily_report import FIGURES, Told

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILE = "orders/online_retail_2010-12-01_2011-07-19.csv.gz"
SPRING = date(2011, 3, 27)
WEEKS = ("2011-03-14", "2011-04-04")
IS_WHOLE = os.environ.get("SWITCHYARD_REPORTED") == "whole"
WHOLE = (10_557, 2_730_347, 45_596_938)
"""Orders, units and pence given back, as the file's owners publish them."""
OF_WEEKS = (1_024, 272_627, 2_739_345)
"""The same of the three weeks, by a count over their lines alone."""


def weeks_of(path: Path, into: Path) -> Path:
    """The lines of some weeks, as they are."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as packed, into.open("w", encoding="utf-8") as text:
        rows = csv.DictReader(packed)
        out = csv.DictWriter(text, rows.fieldnames or (), lineterminator="\n")
        out.writeheader()
        out.writerows(row for row in rows if WEEKS[0] <= row["InvoiceDate"] < WEEKS[1])
    return into


def figures_of(report: ReportRow) -> dict[str | None, Counter[str]]:
    """What a report says by country, whatever the channel."""
    found: dict[str | None, Counter[str]] = {}
    for row in report.content["markets"]:
        assert row["currency"] == "GBP"
        found.setdefault(row["country"], Counter()).update({name: row[name] for name in FIGURES})
    return found


def differences(told: Told, report: ReportRow) -> list[str]:
    """Every figure of a day that the file says otherwise."""
    ours, file = figures_of(report), told.of_day(report.day)
    return [
        f"{report.day} {country}: {name} is {ours.get(country, Counter())[name]}, the file says {file[country][name]}"
        for country in ours.keys() | file.keys()
        for name in FIGURES
        if ours.get(country, Counter())[name] != file.get(country, Counter())[name]
    ]


def _report(engine: Engine, shop_id: int, day: date) -> ReportRow:
    now = datetime.combine(day + timedelta(days=1), time(5), daily_report.LONDON)
    with unit_of_work(engine) as conn:
        return reports.build(conn, shop_id, day, reports.CLOCK, now).report


def test_every_day_and_country_of_the_shared_file_is_what_the_file_says(
    engine: Engine, shared_dir: Path, tmp_path: Path
) -> None:
    path = shared_dir / "data" / FILE
    if not IS_WHOLE:
        path = weeks_of(path, tmp_path / "weeks.csv")
    told = daily_report.compute(path)
    days = deque(told.days())
    wrong: list[str] = []
    whole: Counter[str] = Counter()
    # As in life: a day is reported when it has closed, while the next ones are booked.
    for world, open_from in book_file(engine, path):
        while days and days[0] < open_from:
            day = days.popleft()
            report = _report(engine, world.shop_id, day)
            wrong += differences(told, report)
            for row in report.content["markets"]:
                whole.update({name: row[name] for name in FIGURES})
            hours = {row["hour"]: row["orders"] for row in report.content["by_hour"] if row["orders"]}
            assert hours == {hour: n for (on, hour), n in told.orders_by_hour.items() if on == day}, day
            assert report.content["hours"] == daily_report.hours_of(day) == (23 if day == SPRING else 24)
    assert not days
    assert wrong == []
    # Not by chance nothing at all.
    assert (whole["orders"], whole["units"], whole["refunded_minor"]) == (WHOLE if IS_WHOLE else OF_WEEKS)
    assert told.of_day(SPRING)["GB"]["orders"] == 31

    # The comparison itself is tried: of another day every figure would differ.
    market = report.content["markets"][0]
    market["revenue_minor"] += 1
    told_wrong, told_right = market["revenue_minor"], market["revenue_minor"] - 1
    assert differences(told, report) == [
        f"{report.day} {market['country']}: revenue_minor is {told_wrong}, the file says {told_right}"
    ]


def test_the_files_days_are_londons() -> None:
    assert daily_report.hours_of(SPRING) == 23
    assert daily_report.hours_of(date(2010, 10, 31)) == 25
    assert datetime(2011, 3, 27, 23, 30, tzinfo=UTC).astimezone(daily_report.LONDON).date() == date(2011, 3, 28)
