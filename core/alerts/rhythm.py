"""Pure rules of silence: whether a channel is silent that usually is not at this hour of the week."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

WEEKS = 8
"""Weeks back that are looked at."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Usual:
    """What came in the same hours of earlier weeks: the fewest that is usual, the most, and of how many weeks."""

    least: int
    most: int
    weeks: int


def usual(hours: Mapping[datetime, int], known_from: datetime, since: datetime, now: datetime, zone: ZoneInfo) -> Usual:
    """What came from `since` to `now`, by the clock of the shop, in each of the weeks before.

    `hours`: messages by the hour (UTC) in which they came; an hour that is missing had none. Weeks that began before
    `known_from` are left out. One odd week in four is passed over: a day on which all was down is no rhythm.
    """
    counts = []
    for week in range(1, WEEKS + 1):
        begin, end = _weeks_before(since, week, zone), _weeks_before(now, week, zone)
        if begin < known_from:
            break
        counts.append(_between(hours, begin, end))
    if not counts:
        return Usual(0, 0, 0)
    counts.sort()
    return Usual(int(counts[len(counts) // 4]), round(counts[-1]), len(counts))


def _weeks_before(instant: datetime, weeks: int, zone: ZoneInfo) -> datetime:
    """The same time of the same day of the week, as the shop's clock shows it; summer time or not."""
    there = instant.astimezone(zone).replace(tzinfo=None) - timedelta(weeks=weeks)
    return there.replace(tzinfo=zone).astimezone(UTC)


def _between(hours: Mapping[datetime, int], begin: datetime, end: datetime) -> float:
    """Messages from `begin` to `end`; of an hour that is only partly in it, its part."""
    total, hour = 0.0, begin.replace(minute=0, second=0, microsecond=0)
    while hour < end:
        inside = min(hour + HOUR, end) - max(hour, begin)
        total += hours.get(hour, 0) * (inside / HOUR)
        hour += HOUR
    return total
