"""The planner: what each listing of one stock group should show next, as a pure function.

The same function runs in production (`core.inventory.escrow`), in the simulation (`bench oversell`) and in the model
check (`tests/properties`). It never asks for a raise that would make the exposed units of a pool more than what is
available there: what one channel gives up has to be confirmed before another gets it (lower, confirm, raise).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["pooled", "escrow", "adaptive"]
Pool = Hashable
"""A SKU with stock of its own at one location."""

MODES: tuple[Mode, ...] = ("pooled", "adaptive", "escrow")
"""From the loosest to the strictest; a pool goes by the strictest of its listings."""

DRY_PART = 4
"""A channel is dry when it shows less than this part of its fair share."""
LEAVE_PART = 2
"""Scarce ends when there is this part of the line more than the line."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One listing as the planner sees it; units of the listing, which is a bundle where it takes several pools.

    `shown_units` None: not known. `most_units`: what its channel rule allows it to show. `giving_back_units`: what an
    open write takes off the channel once confirmed. `edited_units`: the part of `exposed_units` that nobody explains
    yet and the watermark has not passed. `is_watched`: its orders are read, so a doubt of it can end. `is_writable`: no
    write is open, none is being held back. `rate`: units sold an hour, measured or guessed; only ratios matter.
    """

    listing_id: int
    guarantee_class: str
    takes: tuple[tuple[Pool, int], ...]
    shown_units: int | None
    exposed_units: int
    most_units: int
    rate: float = 1.0
    priority: int = 0
    giving_back_units: int = 0
    edited_units: int = 0
    is_watched: bool = True
    is_writable: bool = True

    @property
    def is_drained(self) -> bool:
        """Nothing of it can be sold and nothing sold is unbooked: an absolute set is safe."""
        return self.exposed_units == 0 and not self.shown_units

    @property
    def can_be_raised(self) -> bool:
        """Class A compares; class B is only raised from a drained 0, and only where its orders are read."""
        if not self.is_writable or self.shown_units is None:
            return False
        return self.guarantee_class == "A" or (
            self.guarantee_class == "B" and self.is_watched and self.is_drained and self.shown_units == 0
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What a listing should show now, and why in one word (see REASONS)."""

    units: int
    reason: str


REASONS: Mapping[str, str] = {
    "kept": "it keeps what it shows",
    "rule": "its channel rule allows no more",
    "overdrawn": "channels could sell more than there is, so it gives up units",
    "draining": "its number is taken to 0 first: this channel cannot compare before it sets",
    "raised": "units are free for it",
    "gives": "it gives units to a channel that runs dry",
    "unwatched": "its orders are not read, so what it sells could not be known",
    "unknown": "what it shows is not known yet",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Listings that take from the same pools, all of them; `available` in units of each pool.

    `is_lenient`: while a class B listing is being drained, others need not give up what it may still sell. For pools
    that have just become scarce: nothing is raised, but nobody goes dark for it either.
    """

    available: Mapping[Pool, int]
    seats: Sequence[Seat]
    is_lenient: bool = False


def plan_escrow(group: Group) -> dict[int, Target]:
    """What every listing of a group in escrow should show next, by listing.

    Invariant: the raises asked for, together with all exposed units, are never more than what is available of any pool.
    """
    return _Plan(group).run()


@dataclass
class _Plan:
    group: Group
    targets: dict[int, Target] = field(default_factory=dict)

    def run(self) -> dict[int, Target]:
        seats = self.group.seats
        for seat in seats:
            self.targets[seat.listing_id] = self._kept(seat)
        self._cover_overdraft()
        ideals = self._ideals()
        self._share_free(ideals)
        self._leave_none_idle(self._feed_the_dry(ideals))
        return self.targets

    # --- what is held, what is free

    def _exposed(self, pool: Pool) -> int:
        return sum(each * seat.exposed_units for seat in self.group.seats for p, each in seat.takes if p == pool)

    def _free(self) -> dict[Pool, int]:
        """Available less everything exposed, less the raises already asked for."""
        free = {pool: units - self._exposed(pool) for pool, units in self.group.available.items()}
        for seat in self.group.seats:
            raised = self.targets[seat.listing_id].units - (seat.shown_units or 0)
            if raised > 0 and self.targets[seat.listing_id].reason == "raised":
                for pool, each in seat.takes:
                    free[pool] -= raised * each
        return free

    def _kept(self, seat: Seat) -> Target:
        """What a listing shows before anything is shared: what it has, as far as its rule goes."""
        shown = seat.shown_units
        if shown is None:
            return Target(0, "unknown")
        if seat.guarantee_class == "B" and not seat.is_watched:
            return Target(0, "unwatched")
        if shown <= seat.most_units or shown <= 0:
            return Target(max(0, shown), "kept")
        if seat.guarantee_class == "A":
            return Target(max(0, seat.most_units), "rule")
        # Draining costs minutes of sales: a share that shrinks with every sale is no reason for it.
        if seat.most_units <= 0 or shown > 2 * seat.most_units:
            return Target(0, "draining")
        return Target(shown, "kept")

    def _lowered(self, seat: Seat) -> int:
        """What the listing gives back once the present plan and its open write are confirmed."""
        target = self.targets[seat.listing_id]
        planned = max(0, (seat.shown_units or 0) - target.units)
        return max(planned, seat.giving_back_units)

    def _held(self, seat: Seat) -> int:
        """What the listing may still sell once the present plan and its open write are confirmed."""
        return max(0, seat.exposed_units - seat.edited_units - self._lowered(seat))

    # --- more exposed than there is

    def _cover_overdraft(self) -> None:
        for pool in sorted(self.group.available, key=repr):
            self._cover(pool)

    def _cover(self, pool: Pool) -> None:
        takers = [(seat, each) for seat in self.group.seats for p, each in seat.takes if p == pool]
        over = sum(each * self._held(seat) for seat, each in takers) - self.group.available[pool]
        if over <= 0:
            return
        if self.group.is_lenient:
            over -= sum(each * self._held(seat) for seat, each in takers if seat.guarantee_class == "B")
            for seat, _ in takers:
                if seat.guarantee_class == "B" and self.targets[seat.listing_id].units > 0:
                    self.targets[seat.listing_id] = Target(0, "draining")
        over = self._take(takers, over)
        if over > 0:
            for seat, each in sorted(takers, key=lambda taker: (taker[0].priority, taker[0].rate)):
                if over > 0 and seat.guarantee_class == "B" and self.targets[seat.listing_id].units > 0:
                    over -= each * self.targets[seat.listing_id].units
                    self.targets[seat.listing_id] = Target(0, "draining")

    def _take(self, takers: Sequence[tuple[Seat, int]], over: int) -> int:
        """Lower class A listings toward their fair shares until `over` units of the pool are given up."""
        givers = [(s, each) for s, each in takers if s.guarantee_class == "A" and self.targets[s.listing_id].units > 0]
        if over <= 0 or not givers:
            return over
        shown = {seat.listing_id: self.targets[seat.listing_id].units for seat, _ in givers}
        total = sum(shown[seat.listing_id] * each for seat, each in givers)
        left = max(0, total - over)
        fair = _shares(left, [(seat, each, shown[seat.listing_id]) for seat, each in givers])
        for (seat, each), units in zip(givers, fair, strict=True):
            if units < shown[seat.listing_id]:
                self.targets[seat.listing_id] = Target(units, "overdrawn")
                over -= (shown[seat.listing_id] - units) * each
        return over

    # --- units that nobody shows

    def _ideals(self) -> dict[int, int]:
        """The fair share of each listing of what could be shown in all, pool by pool; the scarcest pool decides."""
        ideals = {seat.listing_id: seat.most_units for seat in self.group.seats}
        for pool in sorted(self.group.available, key=repr):
            takers = [(seat, each) for seat in self.group.seats for p, each in seat.takes if p == pool]
            tied = sum(each * max(0, seat.exposed_units - max(0, seat.shown_units or 0)) for seat, each in takers)
            takers = [(seat, each) for seat, each in takers if self._takes_part(seat)]
            total = max(0, self.group.available[pool] - tied)
            fair = _shares(total, [(seat, each, max(0, seat.most_units)) for seat, each in takers])
            for (seat, _), units in zip(takers, fair, strict=True):
                ideals[seat.listing_id] = min(ideals[seat.listing_id], units)
        return ideals

    @staticmethod
    def _takes_part(seat: Seat) -> bool:
        return seat.most_units > 0 and (seat.guarantee_class == "A" or seat.is_watched)

    def _ready(self) -> list[Seat]:
        """Who can be given more, class B first: it waits the longest."""
        ready = [
            s for s in self.group.seats if s.can_be_raised and self.targets[s.listing_id].reason in ("kept", "raised")
        ]
        return sorted(ready, key=lambda s: (s.guarantee_class == "A", -s.priority, -s.rate, s.listing_id))

    def _share_free(self, ideals: Mapping[int, int]) -> None:
        """Give free units to those below their share."""
        for seat in self._ready():
            self._raise(seat, ideals[seat.listing_id], {})

    def _leave_none_idle(self, held: Mapping[Pool, int]) -> None:
        """What is still free, and held for nobody, goes to whom it can be taken back from soonest."""
        for seat in self._ready():
            if seat.guarantee_class == "A":
                self._raise(seat, seat.most_units, held)

    def _raise(self, seat: Seat, up_to: int, held: Mapping[Pool, int]) -> None:
        free = self._free()
        shown = self.targets[seat.listing_id].units
        room = min(((free[pool] - held.get(pool, 0)) // each for pool, each in seat.takes), default=0)
        units = min(up_to, seat.most_units, shown + room)
        if units > shown:
            self.targets[seat.listing_id] = Target(units, "raised")

    # --- a channel runs dry while another has plenty

    def _feed_the_dry(self, ideals: Mapping[int, int]) -> dict[Pool, int]:
        """Ask the rich for what the dry lack; returns the free units of each pool that wait for the rest of it.

        A bundle can use no part of what it takes: it asks for nothing that will not be whole, and what is free of it
        already goes to nobody else meanwhile. Else the two would ask it of each other for ever.
        """
        dry = [
            seat
            for seat in self.group.seats
            if seat.can_be_raised
            and ideals[seat.listing_id] > 0
            and self.targets[seat.listing_id].units * DRY_PART < ideals[seat.listing_id]
        ]
        wanted = dict.fromkeys(self.group.available, 0)
        for seat in sorted(dry, key=lambda s: (-s.priority, -s.rate, s.listing_id)):
            lacking = ideals[seat.listing_id] - self.targets[seat.listing_id].units
            units = min((self._in_reach(pool, seat, ideals) - wanted[pool]) // each for pool, each in seat.takes)
            for pool, each in seat.takes:
                wanted[pool] += max(0, min(units, lacking)) * each
                self._ask_the_rich(pool, wanted[pool] - self._soon_free(pool), seat, ideals)
        return {pool: max(0, units - self._coming(pool)) for pool, units in wanted.items()}

    def _coming(self, pool: Pool) -> int:
        return sum(each * self._lowered(seat) for seat in self.group.seats for p, each in seat.takes if p == pool)

    def _soon_free(self, pool: Pool) -> int:
        """What is free of a pool once everything asked for is confirmed."""
        return self._free()[pool] + self._coming(pool)

    def _rich(self, pool: Pool, dry: Seat, ideals: Mapping[int, int]) -> list[tuple[int, Seat, int]]:
        """Class A listings with more than their share: (units too many, listing, what each takes), richest first."""
        rich = [
            (self.targets[s.listing_id].units - ideals[s.listing_id], s, each)
            for s in self.group.seats
            for p, each in s.takes
            if p == pool
            and s is not dry
            and s.guarantee_class == "A"
            and s.is_writable
            and self.targets[s.listing_id].reason in ("kept", "gives")
        ]
        return sorted((item for item in rich if item[0] > 0), key=lambda item: (-item[0], item[1].listing_id))

    def _in_reach(self, pool: Pool, dry: Seat, ideals: Mapping[int, int]) -> int:
        """Units of a pool that a dry listing can get: those soon free, and what the rich have too many."""
        return self._soon_free(pool) + sum(surplus * each for surplus, _, each in self._rich(pool, dry, ideals))

    def _ask_the_rich(self, pool: Pool, wanted: int, dry: Seat, ideals: Mapping[int, int]) -> None:
        """Lower the richest class A listings of the pool toward their own shares."""
        for surplus, seat, each in self._rich(pool, dry, ideals):
            if wanted <= 0:
                return
            given = min(surplus, math.ceil(wanted / each))
            self.targets[seat.listing_id] = Target(self.targets[seat.listing_id].units - given, "gives")
            wanted -= given * each


def _shares(total: int, takers: Sequence[tuple[Seat, int, int]]) -> list[int]:
    """Split `total` units of a pool by rate, largest remainder first: (seat, units each takes, the most it may have).

    Returns listing units, in the order given. What one may not have goes to the others.
    """
    got = [0] * len(takers)
    open_ones = [number for number, (_, _, most) in enumerate(takers) if most > 0]
    left = total
    while open_ones and left > 0:
        weight = sum(max(takers[n][0].rate, 1e-9) for n in open_ones)
        exact = {n: left * max(takers[n][0].rate, 1e-9) / weight / takers[n][1] for n in open_ones}
        capped = [n for n in open_ones if got[n] + exact[n] >= takers[n][2]]
        if capped:
            for n in capped:
                left -= (takers[n][2] - got[n]) * takers[n][1]
                got[n] = takers[n][2]
            open_ones = [n for n in open_ones if n not in capped]
            continue
        for n in open_ones:
            got[n] = math.floor(exact[n])
            left -= got[n] * takers[n][1]
        for n in sorted(open_ones, key=lambda n: (math.floor(exact[n]) - exact[n], -takers[n][0].rate, n)):
            if left >= takers[n][1] and got[n] < takers[n][2]:
                got[n] += 1
                left -= takers[n][1]
        break
    return got


# --- which mode a pool is in -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pace:
    """What decides how scarce is scarce: units an hour, and seconds until a sale has reached the other channels."""

    units_per_hour: float
    doubt_seconds: float


LINE_UNITS_MIN = 3
BURST = 4.0
"""A busy hour has minutes several times as busy as the rest."""


def switch_line(policy_units: int | None, paces: Sequence[Pace]) -> int:
    """At how many available units `adaptive` goes over to escrow: the policy's number, else what could be sold unseen.

    Measured rate times measured time in doubt, channel by channel, with room for a burst.
    """
    if policy_units is not None:
        return policy_units
    unseen = sum(pace.units_per_hour * pace.doubt_seconds / 3600 for pace in paces)
    return max(LINE_UNITS_MIN, math.ceil(BURST * unseen))


def is_scarce(available: int, line: int, *, was_scarce: bool) -> bool:
    """Whether `adaptive` is in escrow: at the line or below; out of it again only well above."""
    return available <= (line + max(1, line // LEAVE_PART) if was_scarce else line)
