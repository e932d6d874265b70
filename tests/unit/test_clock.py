"""Business days, as the people of a shop name them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from core.clock import business_day, utc_now


@pytest.mark.parametrize(
    ("instant", "zone", "day"),
    [
        # London's clocks go forward on 29 March 2026 at 01:00 UTC, back on 25 October at 01:00 UTC.
        ("2026-03-28T23:30", "Europe/London", date(2026, 3, 28)),
        ("2026-03-29T22:30", "Europe/London", date(2026, 3, 29)),
        ("2026-03-29T23:30", "Europe/London", date(2026, 3, 30)),
        ("2026-10-24T23:30", "Europe/London", date(2026, 10, 25)),
        ("2026-10-25T23:30", "Europe/London", date(2026, 10, 25)),
        ("2026-07-01T03:30", "America/New_York", date(2026, 6, 30)),
        ("2026-01-01T04:30", "America/New_York", date(2025, 12, 31)),
        ("2026-01-01T10:30", "Pacific/Kiritimati", date(2026, 1, 2)),
    ],
)
def test_a_day_begins_at_the_shops_midnight_whatever_the_season(instant: str, zone: str, day: date) -> None:
    assert business_day(datetime.fromisoformat(instant).replace(tzinfo=UTC), zone) == day


def test_the_clock_gives_aware_utc() -> None:
    assert utc_now().tzinfo is UTC
