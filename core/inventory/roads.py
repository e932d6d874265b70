"""Which of two roads raises take to a channel that has two: one call for each, or a feed for all. Pure.

Zeros and lowered numbers are never asked about: they go by call, before anything. Nor is what could sell out before a
feed has ended: a listing in one cannot be told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Road = Literal["call", "feed"]

FEW = 100
"""So many raises go by call whatever the paces: a feed takes a part of a quota that comes back in minutes."""

GUESS_SECONDS = 600.0
GUESS_SECONDS_EACH = 0.02
"""What a feed is thought to take before one of ours was seen to end: ten minutes, and twenty more for a full one.

The vendor promises nothing; its guide advises one feed of a type in twenty minutes.
"""

MEASURED = 5
"""So many of the last feeds of ours count as measurements."""

SLOW_AFTER = timedelta(minutes=30)
SLOW_TIMES = 3.0
"""A feed is slow after half an hour of the vendor's time, or after three times what was expected if that is more."""

READY_WITHIN = timedelta(seconds=45)
"""A feed has to be filled and uploaded in so long (of our time): what was planned first goes stale after a minute."""

RESTS_AFTER_FAILURE = timedelta(minutes=20)
"""For so long (of the vendor's time) after a feed that came to nothing everything goes by call."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A feed of ours that was worked through: its messages, and the vendor's seconds from its submission to its end."""

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A feed of ours that was uploaded: its messages, and how long that took from its beginning, of our time."""

    messages: int
    took: timedelta


@dataclass(frozen=True, slots=True)
class Paces:
    """What is known of the two roads, in the vendor's seconds.

    `calls_per_second`: of the usage plan as last told. `feed_wait_seconds`: until the next feed may be submitted.
    """

    calls_per_second: float
    feed_size_max: int
    feed_wait_seconds: float = 0.0
    ended: Sequence[Ended] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What differs: numbers that go down or are zero, raises that a feed may take, and what is under way.

    `is_feed_open`: one is with the vendor. `has_failed`: the last one came to nothing, not long ago.
    """

    lowered: int
    raises: int
    is_feed_open: bool = False
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The road that raises take now, and why, in a sentence."""

    road: Road
    because: str


def choose(work: Work, paces: Paces) -> Choice:
    """The road that is expected to be done earlier with the raises of one feed at most."""
    if work.is_feed_open:
        return Choice("call", "one feed is under way, and a listing is on one road at a time: the rest goes one by one")
    if work.has_failed:
        return Choice("call", "the last feed came to nothing: for a while everything goes one by one")
    if work.raises < FEW:
        return Choice("call", f"{work.raises:,} raises are few: one by one they are there soonest")
    together = min(work.raises, paces.feed_size_max)
    if together < FEW:
        return Choice("call", f"no more than {together:,} would be uploaded in time: one by one they are there soonest")
    by_call = call_seconds(work.lowered + together, paces.calls_per_second)
    by_feed = paces.feed_wait_seconds + feed_seconds(together, paces.ended)
    known = f"as measured on {len(paces.ended)} feeds" if paces.ended else "as is guessed before the first"
    compared = (
        f"{together:,} raises take {in_words(by_call)} one by one ({paces.calls_per_second:g} a second,"
        f" {work.lowered:,} lowered ones first) and {in_words(by_feed)} in a feed ({known})"
    )
    return Choice("feed" if by_feed < by_call else "call", compared)


def call_seconds(writes: int, calls_per_second: float) -> float:
    """How long so many calls take at the quota's pace."""
    return writes / max(calls_per_second, 1e-9)


def feed_seconds(messages: int, ended: Sequence[Ended]) -> float:
    """How long a feed of so many messages is expected to take: the middle of our recent ones, never scaled down."""
    if not ended:
        return GUESS_SECONDS + GUESS_SECONDS_EACH * messages
    expected = sorted(one.seconds * max(1.0, messages / max(1, one.messages)) for one in ended[:MEASURED])
    return expected[len(expected) // 2]


def slow_after(messages: int, ended: Sequence[Ended]) -> timedelta:
    """After how long (of the vendor's time) a feed counts as slow."""
    return max(SLOW_AFTER, timedelta(seconds=SLOW_TIMES * feed_seconds(messages, ended)))


def waits_at_most(size_max: int, ended: Sequence[Ended]) -> timedelta:
    """For how long (of the vendor's time) a listing has to wait in a feed before that counts as slow.

    What is sold out sooner must not be in one.
    """
    return slow_after(size_max, ended)


def size_in_time(size_max: int, prepared: Sequence[Prepared]) -> int:
    """How many messages are surely uploaded before the first of them is stale, as the slowest of our recent ones was.

    What was ready in half of the time says nothing: most of what it took need not grow with its messages.
    """
    slow = [one for one in prepared[:MEASURED] if one.took > READY_WITHIN / 2]
    return min([size_max, *(int(one.messages * (READY_WITHIN / one.took)) for one in slow)])


def window_wait(submitted: Sequence[datetime], most: int, window: timedelta, now: datetime) -> timedelta:
    """How long until one more may be submitted, where `most` may be in any `window` (of our time)."""
    recent = sorted(at for at in submitted if at > now - window)
    return timedelta(0) if len(recent) < most else recent[len(recent) - most] + window - now


def in_words(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
