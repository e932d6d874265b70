"""Exposure as pure arithmetic: how the most that a channel may still sell unbooked moves with what happens.

`exposed_units` of a listing is never below what its channel can still sell plus what it has sold and we have not
booked. Every row of the table in `docs/architecture.md` is one function here. The statements that keep the number in
Postgres say the same as sets (a property test holds the two together), and the model check in `tests/properties` runs
these functions through every interleaving. Change a row only after the check was extended and has failed without the
change.

Prior art: O'Neil 1986 (escrow transactions), Barbara and Garcia-Molina 1992 (the demarcation protocol), Balegas et al.
2015 (bounded counters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.clock import CLOCK_MARGIN

WHOLE_SECOND = timedelta(seconds=1)
"""What vendors stamp."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """An absolute write that was overtaken by a later one of its road, and may have landed, or land yet.

    `shown_units`: what the channel was known to show then. `sold_units`, `restocked_units`: booked since, and before
    that since the reading by which nothing was known of it, for it may have landed just after. `is_after_zero`: a 0
    before it was believed at once, and may land as well.
    """

    to_units: int
    shown_units: int
    sold_units: int = 0
    restocked_units: int = 0
    is_after_zero: bool = False

    def explains(self, read_units: int) -> bool:
        """Whether a number read may come of it: landed or not, with any of what was sold and put back since."""
        numbers = [self.to_units, self.shown_units, *([0] if self.is_after_zero else [])]
        return any(units - self.sold_units <= read_units <= units + self.restocked_units for units in numbers)


def sold(exposed: int, units: int, *, is_before_baseline: bool = False) -> int:
    """After a sale of `units` is booked: what was sold before the baseline was never part of the number."""
    return exposed if is_before_baseline else max(0, exposed - units)


def restocked(exposed: int, units: int) -> int:
    """After a cancellation, refund or edit is booked whose units the channel puts back by itself."""
    return exposed + units


def recorded(from_units: int | None, to_units: int) -> int:
    """What a write adds when it is recorded, before it is sent; `from_units` None sets absolutely.

    A raise may land the moment it leaves, so all of it counts at once; a lowering may never land, so it gives nothing
    yet. What lies below zero cannot be sold and is no part of a raise. An absolute number may land at any time, on top
    of everything that was sold before.
    """
    return to_units if from_units is None else max(0, to_units - max(0, from_units))


def confirmed(exposed: int, from_units: int | None, to_units: int) -> int:
    """After a write is confirmed: a lowering gives back what it took off the channel, never the number it set.

    Sales in the past of `from_units` may be still unbooked, and stay. An absolute set gives nothing back until its
    doubt ends (`collapsed`).
    """
    return exposed if from_units is None else max(0, exposed - max(0, from_units - to_units))


def refused(exposed: int, recorded_units: int) -> int:
    """After a write surely did not land (refused, stale, withdrawn): what it added is taken back."""
    return max(0, exposed - recorded_units)


def edited(exposed: int, shown_units: int) -> int:
    """After the channel is seen to show a number that nobody here wrote: all of it may be sold, besides the rest.

    Not "at least that number": what was there before may have been sold, unbooked, before somebody typed the new one.
    """
    return exposed + max(0, shown_units)


def is_edit(
    shown_units: int,
    known_units: int,
    open_from: int | None,
    open_to: int | None,
    overtaken: Sequence[Overtaken] = (),
) -> bool:
    """Whether a number read is more than the channel can show by itself, by sales, and by our open write (if any).

    `open_to` None: no write is open, or it was not sent yet and explains nothing. `open_from` None with a write: it
    sets absolutely. What was overtaken may land as well.
    """
    most = max([known_units, *(write.to_units for write in overtaken)])
    if open_to is not None:
        most = max(most, open_to if open_from is None else known_units + open_to - open_from)
    return shown_units > most


def may_be_overtaken(
    *, is_accepted: bool, is_read: bool, has_landed: bool, is_edited: bool = False, is_blurred: bool = False
) -> bool:
    """Whether a later write of the same road may take the place of an open absolute one, of which nothing is known.

    A channel keeps the order of what it has accepted on one road, so that nothing lands after the later one. What it
    has not accepted may still be on its way to it. `is_read`: the watermark has passed a reading since it was sent; a
    reading that only it explains (`has_landed`) ends its doubt instead, and one that is too close to what was booked
    (`is_blurred`) or that somebody typed says nothing. All that it exposes stays exposed.
    """
    return is_accepted and is_read and not has_landed and not is_edited and not is_blurred


def has_landed(
    read_units: int, restocked_units: int, *, is_edited: bool = False, overtaken: Sequence[Overtaken] = ()
) -> bool:
    """Whether a number read proves that an open absolute raise from a drained 0 has landed, so that its doubt may end.

    With it ends that of all it has overtaken, which cannot land after it. Until then any of those may be what is read,
    and so a 0 proves as little as any other number.

    `restocked_units`: booked since it was recorded, asked for when the watermark has passed the reading; a channel that
    restocks shows up to that much by itself. Neither the very number of the raise nor a lower one proves anything
    alone. `is_edited`: somebody was seen to type there since, which explains any number.
    """
    if overtaken:
        return not is_edited and not any(write.explains(read_units) for write in overtaken)
    return not is_edited and read_units > restocked_units


def may_collapse(read_at: datetime, watermark_at: datetime | None, *, has_open_write: bool) -> bool:
    """Whether a number read at `read_at` tells all: no write is open, and every sale up to then is booked."""
    return not has_open_write and watermark_at is not None and watermark_at >= read_at + CLOCK_MARGIN


def collapsed(read_units: int, sold_later_units: int, restocked_later_units: int = 0) -> int:
    """What exposure comes to once `may_collapse`: the number read, moved by what was booked since.

    `sold_later_units`: booked sales dated after the reading by more than CLOCK_MARGIN. `restocked_later_units`: booked
    restocks that are not surely in the number read, all but those dated before it by more than CLOCK_MARGIN. The two
    are set off before the floor: a unit restocked and sold again since is neither shown nor unbooked.
    """
    return max(0, read_units - sold_later_units + restocked_later_units)


def is_blurred(delta_units: int, at: datetime, read_at: datetime) -> bool:
    """Whether a sale (negative) or a restock dated `at` may make a number read at `read_at` look too low.

    The sale was taken off though it may have been in the number already; the restock was not added though it may have
    come after it. Either clock may be wrong by so much, and shows whole seconds.
    """
    if delta_units < 0:
        return read_at - WHOLE_SECOND < at <= read_at + CLOCK_MARGIN
    return read_at - CLOCK_MARGIN <= at <= read_at
