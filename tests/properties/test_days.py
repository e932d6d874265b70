"""Once per business day, in any zone, on days of 23, 24 and 25 hours and on days that a zone left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.clock import business_day
from core.runs.days import day_before, due_at, latest_due_day, next_due_at

# Clocks that change at midnight, at 00:01, by half an hour, twice a year, or that changed sides of the date line.
ZONES = (
    "Europe/London", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia",
    "Africa/Cairo", "Asia/Beirut", "America/Havana", "America/Sao_Paulo", "Asia/Tokyo", "Africa/Casablanca", "UTC",
    "Pacific/Kwajalein", "Antarctica/Troll", "Asia/Kathmandu",
)  # fmt: skip

zones = st.sampled_from(ZONES)
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
FIRST = datetime(1990, 1, 2, tzinfo=UTC)
instants = st.integers(0, 48 * 365 * 86_400).map(lambda seconds: FIRST + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("zone", "day", "after", "due"),
    [
        ("Europe/London", date(2026, 3, 29), time(1, 30), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        ("Europe/London", date(2026, 10, 25), time(1, 30), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("America/New_York", date(2026, 3, 8), time(2, 30), datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
        ("America/New_York", date(2026, 11, 1), time(1, 30), datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
        ("Europe/London", date(2026, 7, 1), time(1, 30), datetime(2026, 7, 1, 0, 30, tzinfo=UTC)),
    ],
)
def test_an_hour_that_does_not_exist_or_comes_twice(zone: str, day: date, after: time, due: datetime) -> None:
    assert due_at(day, after, zone) == due


@given(zones, instants, times)
@example("Pacific/Apia", datetime(2011, 12, 30, 10, 30, tzinfo=UTC), time(2))
@example("America/St_Johns", datetime(2010, 11, 7, 2, 30, tzinfo=UTC), time(0))
def test_what_is_due_is_the_last_day_whose_time_has_come(zone: str, now: datetime, after: time) -> None:
    day = latest_due_day(now, after, zone)
    assert due_at(day, after, zone) <= now
    assert business_day(due_at(day, time(), zone), zone) == day, "a day that the zone had"
    following = next_due_at(now, after, zone)
    assert now < following <= now + timedelta(hours=50)
    assert latest_due_day(following, after, zone) > day or zone == "America/St_Johns"


@given(zones, instants, times)
def test_no_clock_showed_that_time_earlier_on_that_day(zone: str, now: datetime, after: time) -> None:
    day = business_day(now, zone)
    due, there = due_at(day, after, zone), ZoneInfo(zone)
    for minutes in range(1, 181):
        earlier = (due - timedelta(minutes=minutes)).astimezone(there)
        assert earlier.date() != day or earlier.time() < after


@given(zones, st.dates(date(1990, 1, 3), date(2037, 12, 20)), times, st.integers(3, 11))
@example("Pacific/Apia", date(2011, 12, 29), time(2), 5)
@example("Europe/London", date(2026, 3, 28), time(1, 30), 7)
def test_asked_every_few_minutes_each_business_day_runs_exactly_once(
    zone: str, first: date, after: time, minutes: int
) -> None:
    begin = datetime.combine(first, time(), UTC)
    ran: dict[date, datetime] = {}
    now, there = begin, []
    while now < begin + timedelta(days=4):
        day = latest_due_day(now, after, zone)
        ran.setdefault(day, now)
        there.append(business_day(now, zone))
        now += timedelta(minutes=minutes)
    whole = sorted({day for day in there if begin <= due_at(day, after, zone) < begin + timedelta(days=4)})
    assert [day for day in whole if day in ran] == whole, "each day that came due"
    assert set(ran) - set(there) <= {day_before(min(there), zone)}, "no day that was not"
    for day in whole:
        late = ran[day] - due_at(day, after, zone)
        assert timedelta() <= late <= timedelta(minutes=minutes)
