"""Channels in memory that hold the truth: what they show, sell, put back, remember and forget.

Each refuses to sell below zero, stamps whole seconds by clocks of its own, loses requests and replies; class B applies
late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from core.inventory.publishing import Lane
from core.ports import ChannelOrder, Facts, LevelObservation, QuantityResult, QuantityWrite
from tests.factories import (
    PLACE,
    World,
)

LATE_BY = timedelta(seconds=10)
"""How late a channel may list an order that a poll asks for."""
KEY_LIVES = timedelta(minutes=10)
"""How long a channel remembers the key of a call; no sender is frozen for that long."""
CHECK_AFTER = timedelta(seconds=10)
FAULTS = ("none", "none", "none", "reply lost", "request lost", "refused", "unsent")
OFFSETS = (-2.0, 0.0, 2.0)
"""Seconds a clock of a channel is off: less than half of the margin, with what whole seconds cut off."""

Place = tuple[int, str]
"""(number of the channel, code): a listing."""


@dataclass
class Sale:
    """One line sold, with its order or added to it by an edit.

    `restock`: what a cancellation, or an edit that took it off, did: put back at once, later, or never in spite of its
    word.
    """

    order: ChannelOrder
    place: Place
    units: int
    line_ref: str = "1"
    is_booked: bool = False
    restock: Literal["done", "late", "lost"] | None = None
    is_back: bool = False
    is_cancel_booked: bool = False


@dataclass
class Said:
    """Something a channel can tell: by a webhook, and by a poll where `sale` says of which order."""

    channel: int
    facts: Facts
    at: datetime
    sale: Sale | None = None
    is_cancel: bool = False
    is_recorded: bool = False


@dataclass
class Edit:
    """A number typed in on the channel that nobody here has seen, or not alone: units were sold of it before."""

    units: int
    at: datetime
    is_blurred: bool = False


@dataclass
class Channel:
    """What a channel shows and remembers."""

    number: int
    world: World
    guarantee_class: str
    shown: dict[str, int]
    orders_off: float = 0.0
    levels_off: float = 0.0
    faults: list[str] = field(default_factory=list)
    remembered: dict[str, tuple[list[QuantityWrite], list[QuantityResult]]] = field(default_factory=dict)
    queued: list[QuantityWrite] = field(default_factory=list)
    received: set[int] = field(default_factory=set)
    landed: Counter[str] = field(default_factory=Counter)
    """How far writes of ours have moved what is shown, since somebody last looked."""
    typed: Counter[str] = field(default_factory=Counter)
    """How far people at the channel have."""
    poll_began_at: datetime | None = None

    @property
    def lane(self) -> Lane:
        size = 2 if self.guarantee_class == "A" else 1
        return Lane(self.world.shop_id, self.world.connection.id, self.guarantee_class, size)

    def set_quantities(self, writes: Sequence[QuantityWrite], now: datetime) -> list[QuantityResult]:
        """One call; what goes wrong with it is the next of the faults."""
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "unsent":
            return [QuantityResult(write.write_id, "unsent", "NO_ROUTE") for write in writes]
        if fault == "request lost":
            return _unknown(writes)
        results = self._take(list(writes), fault == "refused", now)
        return _unknown(writes) if fault == "reply lost" else results

    def _take(self, writes: list[QuantityWrite], is_refused: bool, now: datetime) -> list[QuantityResult]:
        if self.guarantee_class == "B":
            ids = {write.write_id for write in writes}
            assert not ids & self.received, "an absolute number was sent twice"
            self.received |= ids
            if is_refused:
                return [QuantityResult(write.write_id, "refused", "NO") for write in writes]
            self.queued.extend(writes)
            return [QuantityResult(write.write_id, "accepted", submission_ref=f"s{write.write_id}") for write in writes]
        key = writes[0].idempotency_key
        if key in self.remembered:
            first, results = self.remembered[key]
            again = [replace(write, is_doubtful=False) for write in writes]
            assert again == [replace(write, is_doubtful=False) for write in first], "another call under the same key"
            return results
        results = self._compare_and_set(writes, is_refused, now)
        self.remembered[key] = (writes, results)
        return results

    def _compare_and_set(self, writes: list[QuantityWrite], is_refused: bool, now: datetime) -> list[QuantityResult]:
        """All of a call or none of it."""
        at = stamp(now, self.levels_off)
        if is_refused:
            return [QuantityResult(write.write_id, "refused", "NO") for write in writes]
        stale = [write for write in writes if self.shown[code_of(write)] != write.from_units]
        if stale:
            return [
                QuantityResult(write.write_id, "stale", observed_units=self.shown[code_of(write)], at=at)
                if write in stale
                else QuantityResult(write.write_id, "refused", "NEIGHBOUR_STALE")
                for write in writes
            ]
        for write in writes:
            self.land(write)
        return [QuantityResult(write.write_id, "confirmed", at=at) for write in writes]

    def land(self, write: QuantityWrite) -> None:
        code = code_of(write)
        self.landed[code] += write.to_units - self.shown[code]
        self.shown[code] = write.to_units

    def level(self, code: str, now: datetime) -> LevelObservation:
        return LevelObservation(f"item:{code}", PLACE, self.shown[code], stamp(now, self.levels_off))


def stamp(now: datetime, seconds_off: float) -> datetime:
    """What a clock says that is so much off and shows whole seconds."""
    return (now + timedelta(seconds=seconds_off)).replace(microsecond=0)


def code_of(write: QuantityWrite) -> str:
    return write.listing_ref.removeprefix("variant:")


def _unknown(writes: Sequence[QuantityWrite]) -> list[QuantityResult]:
    return [QuantityResult(write.write_id, "unknown", "TIMEOUT") for write in writes]


class Savepoints:
    """An engine whose units of work are parts of one transaction, which is rolled back in the end."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.conn.begin_nested():
            yield self.conn
