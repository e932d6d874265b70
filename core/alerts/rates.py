"""Pure rules of backlogs: how fast one grows, and the minute at which it becomes dangerous."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

LEAST_SAMPLES = 4
"""With fewer looks at a lane nothing is said of rates."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What waited in a lane at a moment, since when the oldest of it does, and how much had been done by then."""

    at: datetime
    waiting: int
    done: int
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """How many arrive and are done a minute. What arrives is what is done and what waits more."""

    arrive: float
    done: float

    @property
    def grows(self) -> float:
        """By how many it grows a minute; below zero: it shrinks."""
        return self.arrive - self.done


@dataclass(frozen=True, slots=True)
class Danger:
    """When a backlog is dangerous, and by which limit: so much waiting, or the oldest waiting so long."""

    at: datetime
    by: str
    is_now: bool


def rates(samples: Sequence[Sample]) -> Rates | None:
    """The rates over samples (oldest first), by least squares of what waited; None where there are too few of them."""
    if len(samples) < LEAST_SAMPLES:
        return None
    first, last = samples[0], samples[-1]
    minutes = (last.at - first.at).total_seconds() / 60
    if minutes < 1:
        return None
    times = [(each.at - first.at).total_seconds() / 60 for each in samples]
    middle, mean = sum(times) / len(times), sum(each.waiting for each in samples) / len(samples)
    spread = sum((time - middle) ** 2 for time in times)
    slope = sum((time - middle) * (each.waiting - mean) for time, each in zip(times, samples, strict=True)) / spread
    done = max(last.done - first.done, 0) / minutes
    # Nothing arrives less than not at all: a lane may shrink without a trace of what was done.
    return Rates(max(slope + done, 0.0), max(done, -slope))


def danger(now: datetime, last: Sample, pace: Rates | None, size: int, age: timedelta) -> Danger | None:
    """When `size` wait or the oldest waits for `age`, whichever is first; None: never at this rate, or it is not known.

    The age of the oldest, in a lane that is worked off in turn: while M arrive and N are done a minute, the oldest of
    tomorrow arrived N/M minutes after the oldest of now for each minute that passes, so it ages by 1 - N/M a minute;
    with nothing done, by a minute a minute.
    """
    old = now - last.oldest_at if last.oldest_at is not None else timedelta()
    if last.waiting >= size:
        return Danger(now, "size", True)
    if last.waiting and old >= age:
        return Danger(now, "age", True)
    if pace is None or not last.waiting:
        return None
    found = []
    if pace.grows > 0:
        found.append((now + _minutes((size - last.waiting) / pace.grows), "size"))
    ages = 1.0 if pace.done <= 0 else (1 - pace.done / pace.arrive if pace.arrive > pace.done else 0.0)
    if ages > 0 and last.oldest_at is not None:
        found.append((now + _minutes((age - old).total_seconds() / 60 / ages), "age"))
    if not found:
        return None
    at, by = min(found)
    return Danger(at, by, False)


def drained_at(now: datetime, waiting: int, pace: Rates | None) -> datetime | None:
    """When nothing waits any more, at this rate; None: it does not shrink, or it is not known."""
    if pace is None or pace.grows >= 0:
        return None
    return now + _minutes(waiting / -pace.grows)


# Beyond that a moment says nothing, and may be none that a calendar has.
_FAR = timedelta(days=365)


def _minutes(number: float) -> timedelta:
    return _FAR if number > _FAR.total_seconds() / 60 else timedelta(minutes=number)
