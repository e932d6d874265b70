"""When something that happens once per business day is due, in a zone whose clock is put forward and back. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.clock import business_day

_SECOND = timedelta(seconds=1)


def due_at(day: date, after: time, zone: str) -> datetime:
    """The first instant (UTC) at which the zone's clock shows `after` on that day, or a later time.

    An hour that is left out in spring is due where the clock jumps over it; one that comes twice in autumn is due the
    first time.
    """
    there, wall = ZoneInfo(zone), datetime.combine(day, after)
    before, late = (wall.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (1, 0))
    if _wall(late, there) == wall:
        return late
    # Left out: by the clock of after the jump it would be `before`, by that of before it `late`. The jump is between.
    while late - before > _SECOND:
        middle = before + (late - before) // (2 * _SECOND) * _SECOND
        if _wall(middle, there) >= wall:
            late = middle
        else:
            before = middle
    return late


def latest_due_day(now: datetime, after: time, zone: str) -> date:
    """The last business day of the zone that is due by `now`: today, or the one before while it is early."""
    today = business_day(now, zone)
    return today if due_at(today, after, zone) <= now else day_before(today, zone)


def day_before(day: date, zone: str) -> date:
    """The business day before. Not always the calendar's: a zone that changed sides of the date line left one out."""
    return business_day(due_at(day, time(), zone) - _SECOND, zone)


def next_due_at(now: datetime, after: time, zone: str) -> datetime:
    """The first instant after `now` at which a business day is due."""
    day = business_day(now, zone)
    while (due := due_at(day, after, zone)) <= now:
        day += timedelta(days=1)
    return due


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
