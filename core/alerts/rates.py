"""Pure rules of backlogs: how fast one grows or shrinks, how long it takes to be worked off, when it is dangerous.

The one estimate of its kind: the alert and the Jobs screen say what these functions say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

LEAST_STEPS = 3
"""With fewer stretches of time to go by nothing is said of rates, nor of the time left with work done in fewer."""


STILL = 0.01


@dataclass(frozen=True, slots=True)
class Sample:
    """What waited in a lane at a moment, since when the oldest of it does, and how much had been done by then."""

    at: datetime
    waiting: int
    done: int
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of time, and what came and was done in it; `arrived` is None where it is not known."""

    seconds: float
    arrived: float | None
    done: float


@dataclass(frozen=True, slots=True)
class Rates:
    """How many arrive and are done a minute.

    `is_lasting`: work was done in enough steps, and lately, to say when it will all be done. `under_way`: for so many
    seconds somebody has been at a batch of which nothing is to be seen yet.
    """

    arrive: float
    done: float
    is_lasting: bool
    under_way: float = 0.0

    @property
    def grows(self) -> float:
        """By how many it grows a minute; below zero: it shrinks."""
        return self.arrive - self.done

    @property
    def shrinks(self) -> bool:
        """By less than a hundredth of what is done it stands still, as far as anybody can tell."""
        return -self.grows > STILL * self.done


@dataclass(frozen=True, slots=True)
class Danger:
    """When a backlog is dangerous, and by which limit: so much waiting, or the oldest waiting so long."""

    at: datetime
    by: str
    is_now: bool


def steps_of(samples: Sequence[Sample]) -> list[Step]:
    """The steps between samples (oldest first): what arrived is what was done and what waits more."""
    found = []
    for before, after in pairwise(samples):
        done, more = max(after.done - before.done, 0), after.waiting - before.waiting
        # A lane may shrink without a trace of what was done.
        found.append(Step((after.at - before.at).total_seconds(), max(done + more, 0), max(done, -more)))
    return found


def rates(steps: Sequence[Step], memory: timedelta) -> Rates | None:
    """The rates by steps (oldest first); None where there are too few of them.

    What is done is a mean in which a stretch counts half as much for each `memory` that it lies back: a change of pace
    is followed. Work is done in batches, of which nothing is to be seen before their end, so that a stretch goes from
    one step with work done to the next. A time without work at the beginning is left out, and so is one at the end that
    is shorter than a batch took: they do not say how fast somebody is who is at it. What arrives is the mean of the
    last `memory` alone: a burst before that is not expected again.
    """
    if len(steps) < LEAST_STEPS:
        return None
    worked, under_way = _batches(_since_begun(steps))
    weights, age = [], 0.0
    for step in reversed(worked):
        weights.append(0.5 ** ((age + step.seconds / 2) / memory.total_seconds()))
        age += step.seconds
    weights.reverse()
    seconds = sum(weight * step.seconds for weight, step in zip(weights, worked, strict=True))
    done = sum(weight * step.done for weight, step in zip(weights, worked, strict=True))
    recent = _last(steps, memory)
    lasting = sum(step.done > 0 for step in worked) >= LEAST_STEPS and any(step.done > 0 for step in recent)
    return Rates(_arriving(recent) * 60, done / seconds * 60, lasting, under_way)


def _since_begun(steps: Sequence[Step]) -> Sequence[Step]:
    """From when work was begun; the step in which it was is partly worked, and so is the first where a batch takes
    longer than a step. All of them where that says too little."""
    first = next((place for place, step in enumerate(steps) if step.done > 0), 0)
    later = steps[first + 1 :]
    is_partly = first > 0 or (bool(later) and later[0].done <= 0)
    return later if is_partly and any(step.done > 0 for step in later) else steps


def _batches(steps: Sequence[Step]) -> tuple[list[Step], float]:
    """Stretches that end with work done, and for how many seconds the batch that is under way has been so.

    What takes longer than the longest stretch is none any more: it counts as time in which nothing was done. A stretch
    is known to within a step: a batch of a little over three steps is mostly one of three.
    """
    found, idle = [], 0.0
    for step in steps:
        idle += step.seconds
        if step.done > 0:
            found.append(Step(idle, None, step.done))
            idle = 0.0
    if found and idle < max(step.seconds for step in found) + steps[-1].seconds:
        return found, idle
    return ([*found, Step(idle, None, 0.0)] if idle else found), 0.0


def _last(steps: Sequence[Step], memory: timedelta) -> list[Step]:
    found: list[Step] = []
    for step in reversed(steps):
        if found and sum(each.seconds for each in found) >= memory.total_seconds():
            break
        found.append(step)
    return found


def _arriving(steps: Sequence[Step]) -> float:
    """A second, as far as it is known; a lane of which it is never known is a level and has no arrivals."""
    known = [(step.seconds, step.arrived) for step in steps if step.arrived is not None]
    return sum(arrived for _, arrived in known) / sum(seconds for seconds, _ in known) if known else 0.0


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


def seconds_left(waiting: int, pace: Rates | None) -> float | None:
    """How long until nothing waits any more, at this rate; None: it does not shrink, or it is not known."""
    if not waiting or pace is None or not pace.shrinks or not pace.is_lasting:
        return None
    return max(waiting / -pace.grows * 60 - pace.under_way, 0.0)


def drained_at(now: datetime, waiting: int, pace: Rates | None) -> datetime | None:
    """When nothing waits any more, at this rate; None: it does not shrink, or it is not known."""
    left = seconds_left(waiting, pace)
    return None if left is None else now + _minutes(left / 60)


# Beyond that a moment says nothing, and may be none that a calendar has.
_FAR = timedelta(days=365)


def _minutes(number: float) -> timedelta:
    return _FAR if number > _FAR.total_seconds() / 60 else timedelta(minutes=number)
