"""What we know of one listing: what it shows, what it may still sell, which write is open. As production keeps it.

All arithmetic is that of `core.inventory.exposure` and `core.orders.rules.follow`; this only calls it in the order in
which publishing and intake do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bench.seasons.world import Answer
from core.inventory import exposure
from core.orders.rules import Shown, follow

EPOCH = datetime(2026, 11, 27, 12, tzinfo=UTC)
MARGIN = exposure.CLOCK_MARGIN.total_seconds()
BACKOFF_SECONDS_MAX = 3600.0


def moment(seconds: float) -> datetime:
    """A time of the season as the rules take it."""
    return EPOCH + timedelta(seconds=seconds)


@dataclass(slots=True)
class Reading:
    """A number read, with no write open, that the watermark has yet to pass."""

    units: int
    at: float


@dataclass(slots=True)
class OpenWrite:
    """The one write of a listing whose outcome is not known."""

    from_units: int | None
    to_units: int
    recorded: int
    planned_at: float
    key: int
    submission: int | None = None
    looks: list[Reading] = field(default_factory=list)
    """What was read since, while nobody knows whether it was sent to the end."""


@dataclass(slots=True)
class Known:
    """One listing. `counted_twice`: units that exposure may hold above the truth until it collapses."""

    guarantee_class: str
    published: int
    exposed: int
    known_at: float = -1.0
    unseen: int = 0
    edited: int = 0
    open: OpenWrite | None = None
    failures: int = 0
    not_before: float = 0.0
    reading: Reading | None = None
    watermark: float = -1.0
    swept_at: float = 0.0
    followed_at: float = -1.0
    counted_twice: int = 0
    may_land_late: bool = False
    """A 0 whose reply was lost was taken for done when 0 was read: it may come later and take a restock with it."""
    base: Reading | None = None
    """Class B: the last number that surely was no write's doing but the one known then."""
    booked_sold: int = 0
    booked_restocked: int = 0
    sales: list[tuple[int, int]] = field(default_factory=list)
    """(dated at, units) of everything booked; restocks negative."""

    # --- what the channel did

    def book(self, units: int, dated_at: int) -> None:
        """A sale of `units` is booked; negative: a cancellation that the channel put back on sale."""
        if units > 0:
            self.counted_twice += max(0, units - self.exposed)
            self.exposed = exposure.sold(self.exposed, units)
            self.booked_sold += units
        else:
            self.exposed = exposure.restocked(self.exposed, -units)
            self.booked_restocked -= units
        self.sales.append((dated_at, units))
        shown = follow(Shown(self.published, moment(self.known_at), self.unseen), -units, moment(dated_at))
        self.published, self.unseen = shown.published_units, shown.unseen_units
        self.followed_at = max(self.followed_at, dated_at)

    # --- what we do

    def record(self, from_units: int | None, to_units: int, now: float, key: int) -> OpenWrite:
        """A write is committed, before it is sent."""
        recorded = exposure.recorded(from_units, to_units)
        self.exposed += recorded
        self.open = OpenWrite(from_units, to_units, recorded, now, key)
        return self.open

    def settle(self, answer: Answer, now: float) -> None:
        """The outcome of a compare-and-set is known, or it is sure that a write did not land."""
        write = self.open
        assert write is not None
        if answer.outcome == "confirmed" and write.from_units is not None:
            self.exposed = exposure.confirmed(self.exposed, write.from_units, write.to_units)
            self.published += write.to_units - write.from_units
            self.known_at = max(self.known_at, answer.at)
            self.reading = Reading(write.to_units, answer.at)
            self.failures = 0
        elif answer.outcome == "stale" and answer.observed_units is not None:
            self._take_back(write)
            self.failures = 0
            if answer.at >= self.followed_at:
                self._see(answer.observed_units, answer.at)
        else:
            self._take_back(write)
            self.failures += 1
            self.not_before = now + min(5 * 2 ** min(self.failures, 12), BACKOFF_SECONDS_MAX)
        self.open = None

    def _take_back(self, write: OpenWrite) -> None:
        """What the write added; a sale booked before the restock that it sold may have taken it already."""
        self.counted_twice += max(0, write.recorded - self.exposed)
        self.exposed = exposure.refused(self.exposed, write.recorded)

    def _see(self, units: int, at: float) -> None:
        """The channel shows something else than we knew: what it did by itself, or what somebody typed."""
        if exposure.is_edit(units, self.published, None, None):
            self.exposed = exposure.edited(self.exposed, units)
            self.edited += units
            self.counted_twice += units
        self.reading = Reading(units, at)
        self.unseen += units - self.published
        self.published, self.known_at = units, at

    # --- class B: an absolute number, known by reading back

    def is_done(self, units: int, read_at: float) -> bool:
        """Whether what is read cannot be but the open write's effect, or can do no harm any more.

        A 0 does no harm when it comes late. Any other number proves the write once the watermark has passed the
        reading and what was shown before, less sales, plus restocks, cannot come to it.
        """
        write = self.open
        assert write is not None
        if write.to_units == 0:
            self.may_land_late |= units == 0
            return units == 0
        if self.watermark < read_at + MARGIN:
            return False
        base = self.base
        if base is None:
            return False
        low = high = base.units
        for dated_at, sold in self.sales:
            if base.at - MARGIN <= dated_at <= read_at + MARGIN:
                is_sure = base.at + MARGIN < dated_at < read_at - MARGIN
                low -= sold if is_sure else max(0, sold)
                high -= sold if is_sure else min(0, sold)
        return not low <= units <= high

    def close_read(self, units: int, at: float) -> None:
        """The open absolute write is done; what it may still sell is known once the watermark passes the reading."""
        self.open = None
        self.published, self.known_at, self.unseen, self.failures = units, at, 0, 0
        self.reading = self.base = Reading(units, at)
        # Sales that the channel made since and that are booked already.
        self.published -= sum(sold for dated_at, sold in self.sales if dated_at > at)

    def explained(self, sellable: int) -> int:
        """The most that exposure may come to where the channel shows and has sold unbooked that much in truth.

        Beyond it: what an open write may still add, or has taken off and not confirmed; what an absolute number left
        in doubt; what the table counts twice on purpose until the watermark passes.
        """
        most = sellable + self.counted_twice
        if self.guarantee_class == "B" and (self.open is not None or self.reading is not None or self.may_land_late):
            return max(most, self.exposed)
        if self.open is not None and self.open.from_units is not None:
            most += abs(self.open.to_units - self.open.from_units)
        return most

    # --- the watermark

    def prove(self, proven_to: float) -> bool:
        """Every order up to then is booked. Returns whether exposure has collapsed to what was read."""
        self.watermark = max(self.watermark, proven_to)
        reading = self.reading
        if reading is None or not exposure.may_collapse(
            moment(reading.at), moment(self.watermark), has_open_write=self.open is not None
        ):
            return False
        # Within the margin the worst is assumed: the sale is in the number read, the restock is not.
        sold = sum(units for dated_at, units in self.sales if units > 0 and dated_at > reading.at + MARGIN)
        restocked = -sum(units for dated_at, units in self.sales if units < 0 and dated_at > reading.at - MARGIN)
        # Both are never below the truth, so the lower one holds.
        self.exposed = min(self.exposed, exposure.collapsed(reading.units, sold - restocked))
        near = sum(abs(units) for at, units in self.sales if abs(at - reading.at) <= MARGIN)
        # A sale booked before the restock that it sold: the floor forgets it, and the restock will be added in full.
        self.counted_twice = near + max(0, sold - restocked - reading.units)
        self.edited = 0
        self.reading = None
        return True
