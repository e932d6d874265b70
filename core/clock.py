"""The only place that reads the clock; entry points call it and hand the time in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

CLOCK_MARGIN = timedelta(seconds=5)
"""How far two clocks of one channel may be apart: that of its orders and that of what it shows.

Vendors stamp whole seconds; what lies closer together than this may have happened in either order. Each connection has
its own as `connections.clock_margin`: this, but where a sandbox hurries, only the second that stamps are whole by stays
as long as it is.
"""


def utc_now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def business_day(instant: datetime, time_zone: str) -> date:
    """The calendar day of `instant` (aware) in the shop's zone, as its people would name it."""
    return instant.astimezone(ZoneInfo(time_zone)).date()
