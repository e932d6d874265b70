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
SLOW_PART = 0.8
SLOW_DOUBT = 0.6
"""Class B gets this part of its fair share: what it has too much comes back in minutes, what it has too little lies in
class A channels, which sell it."""
SLOW_LASTS_HOURS = 0.3
"""A pool that lasts no longer than this feeds class B no more: the units would arrive when the others are dry."""
SLOW_CYCLE_HOURS = 0.12
"""How long units of class B are on no channel at all when they are drained for another one."""
LEAVE_PART = 2
"""Scarce ends when there is this part of the line more than the line."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One listing as the planner sees it; units of the listing, which is a bundle where it takes several pools.

    `shown_units` None: not known. `most_units`: what its channel rule allows it to show. `giving_back_units`: what an
    open write takes off the channel once confirmed. `edited_units`: the part of `exposed_units` that nobody explains
    yet and the watermark has not passed. `unseen_units`: what it may sell in a busy minute before the others are told;
    kept back from them where all show the same (`Group.is_deep`). `is_watched`: its orders are read, so a doubt of it
    can end. `is_writable`: no write is open, none is being held back. `is_held`: nothing may be written to its channel
    until a person says so, so it keeps what it may sell, and gets and gives up nothing. `rate`: units sold an hour,
    measured or guessed.
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
    unseen_units: int = 0
    is_watched: bool = True
    is_writable: bool = True
    is_held: bool = False

    @property
    def is_drained(self) -> bool:
        """Nothing of it can be sold and nothing sold is unbooked: an absolute set is safe."""
        return self.exposed_units == 0 and not self.shown_units

    @property
    def can_be_raised(self) -> bool:
        """Class A compares; class B is only raised from a drained 0, and only where its orders are read."""
        if self.is_held or not self.is_writable or self.shown_units is None:
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
    "shared": "there is plenty, so it shows what the others show too",
    "gives": "it gives units to a channel that runs dry",
    "unwatched": "its orders are not read, so what it sells could not be known",
    "unknown": "what it shows is not known yet",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Listings that take from the same pools, all of them; `available` in units of each pool.

    `is_deep`: there is plenty, and every class A channel is heard from: they all show the pool less what class B may
    sell, for the sake of large orders. Class B keeps a share of its own even then: it takes minutes to take anything
    back from it.
    `is_lenient`: while a class B listing that holds more than half of a pool is being drained, others need not give up
    what it may still sell. For pools that come from another mode: nothing is raised, but nobody goes dark for it.
    """

    available: Mapping[Pool, int]
    seats: Sequence[Seat]
    is_lenient: bool = False
    is_deep: bool = False


def plan_escrow(group: Group) -> dict[int, Target]:
    """What every listing of a group in escrow, or in adaptive, should show next, by listing.

    Invariant, unless the group is deep: the raises asked for, together with all exposed units, are never more than what
    is available of any pool.
    """
    return _Plan(group).run()


@dataclass
class _Plan:
    group: Group
    targets: dict[int, Target] = field(default_factory=dict)
    ideals: dict[int, int] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=list)

    def run(self) -> dict[int, Target]:
        seats = self.group.seats
        self.pools = sorted(self.group.available, key=repr)
        for seat in seats:
            self.targets[seat.listing_id] = self._kept(seat)
        self.ideals = self._ideals()
        if self.group.is_deep:
            self._show_all()
            return self.targets
        self._cover_overdraft()
        self._share_free()
        self._leave_none_idle(self._feed_the_dry())
        self._drain_the_slow()
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
        if seat.is_held:
            # Whatever its rule says: nobody may tell it, and it goes on selling what it shows.
            return Target(max(0, shown), "kept")
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
        """What the listing gives back once the present plan and its open write are confirmed; held, it may be never."""
        if seat.is_held:
            return 0
        target = self.targets[seat.listing_id]
        planned = max(0, (seat.shown_units or 0) - target.units)
        return max(planned, seat.giving_back_units)

    def _held(self, seat: Seat) -> int:
        """What the listing may still sell before what it is to give up is free; class B takes minutes to give."""
        lowered = self._lowered(seat) if seat.guarantee_class == "A" else 0
        return max(0, seat.exposed_units - seat.edited_units - lowered)

    # --- plenty

    def _show_all(self) -> None:
        """Class B gets its share as ever; every class A channel shows all that class B may not sell.

        A class B channel that holds nearly all, as one does that showed the pool when it was connected, is drained, and
        the others do not go dark for it meanwhile.
        """
        left = dict(self.group.available)
        for seat in self.group.seats:
            is_shared = seat.guarantee_class == "A" or self._holds_nearly_all(seat)
            units = self.targets[seat.listing_id].units
            if seat.guarantee_class != "A":
                if is_shared and seat.is_writable:
                    self.targets[seat.listing_id] = Target(0, "draining")
                elif seat.can_be_raised and self.ideals[seat.listing_id] > 0:
                    units = self.ideals[seat.listing_id]
                    self.targets[seat.listing_id] = Target(units, "raised")
            for pool, each in seat.takes:
                left[pool] -= each * (seat.unseen_units if is_shared else max(units, seat.exposed_units))
        for seat in self.group.seats:
            if seat.guarantee_class == "A" and self.targets[seat.listing_id].reason != "unknown":
                units = min((left[pool] // each for pool, each in seat.takes), default=0) + seat.unseen_units
                self.targets[seat.listing_id] = Target(max(0, min(units, seat.most_units)), "shared")

    def _holds_nearly_all(self, seat: Seat) -> bool:
        """Whether a class B listing leaves class A dry, with more than twice what it would be given."""
        if seat.guarantee_class != "B" or seat.is_held:
            return False
        units = max(seat.exposed_units, seat.shown_units or 0)
        for pool, each in seat.takes:
            takers = [(other, n) for other in self.group.seats for p, n in other.takes if p == pool]
            if not any(o.guarantee_class == "A" and o.most_units > 0 and not o.is_held for o, _ in takers):
                continue
            available = max(0, self.group.available[pool])
            pace = sum(max(other.rate, 1e-9) * n for other, n in takers)
            share = min(seat.most_units, self._slow_share(available // each, seat, pace / each))
            if DRY_PART * (available - units * each) < available and units > 2 * share:
                return True
        return False

    # --- more exposed than there is

    def _cover_overdraft(self) -> None:
        for pool in self.pools:
            self._cover(pool)

    def _cover(self, pool: Pool) -> None:
        takers = [(seat, each) for seat in self.group.seats for p, each in seat.takes if p == pool]
        over = sum(each * self._held(seat) for seat, each in takers) - self.group.available[pool]
        if over <= 0:
            return
        # Nobody waits for a channel that is not being drained.
        slow = sum(each * self._held(s) for s, each in takers if s.guarantee_class == "B" and not s.is_held)
        if self.group.is_lenient and 2 * slow > self.group.available[pool]:
            over -= slow
            for seat, _ in takers:
                if seat.guarantee_class == "B" and not seat.is_held and self.targets[seat.listing_id].units > 0:
                    self.targets[seat.listing_id] = Target(0, "draining")
        over = self._take(takers, over)
        for seat, each in takers:
            if seat.guarantee_class == "A" and not seat.is_writable and not seat.is_held:
                over -= each * max(0, self.targets[seat.listing_id].units - seat.giving_back_units)
        if over > 0:
            for seat, each in sorted(takers, key=lambda taker: (taker[0].priority, taker[0].rate)):
                is_slow = seat.guarantee_class == "B" and not seat.is_held
                if over > 0 and is_slow and self.targets[seat.listing_id].units > 0:
                    over -= each * self.targets[seat.listing_id].units
                    self.targets[seat.listing_id] = Target(0, "draining")

    def _take(self, takers: Sequence[tuple[Seat, int]], over: int) -> int:
        """Lower class A listings toward their fair shares until `over` units of the pool are given up.

        Those that cannot be told now (a write is open, or the channel is away) may sell all that they show.
        """
        givers = [
            (s, each)
            for s, each in takers
            if s.guarantee_class == "A" and s.is_writable and not s.is_held and self.targets[s.listing_id].units > 0
        ]
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
        """The fair share of each listing of what could be shown in all, pool by pool; the scarcest pool decides.

        Class A channels share what class B does not hold; a class B channel that is not to be fed keeps what it has.
        """
        ideals = {seat.listing_id: seat.most_units for seat in self.group.seats}
        for pool in self.pools:
            takers = [(seat, each) for seat in self.group.seats for p, each in seat.takes if p == pool]
            for listing_id, units in self._fair(pool, [t for t in takers if self._takes_part(t[0])], takers):
                ideals[listing_id] = min(ideals[listing_id], units)
        return ideals

    def _fair(
        self, pool: Pool, takers: Sequence[tuple[Seat, int]], everybody: Sequence[tuple[Seat, int]]
    ) -> list[tuple[int, int]]:
        """(listing, its fair share of one pool), units of the listing."""
        available = max(0, self.group.available[pool])
        tied = sum(each * self._tied(seat) for seat, each in everybody)
        fast = [(seat, each, max(0, seat.most_units)) for seat, each in takers if seat.guarantee_class == "A"]
        slow = [(seat, each, max(0, seat.most_units)) for seat, each in takers if seat.guarantee_class != "A"]
        if not fast:
            shares = _shares(max(0, available - tied), slow)
            return [(seat.listing_id, units) for (seat, _, _), units in zip(slow, shares, strict=True)]
        pace = sum(max(seat.rate, 1e-9) * each for seat, each in takers)
        is_short = available < SLOW_LASTS_HOURS * pace
        found, left = [], available - tied
        for seat, each, most in slow:
            shown = max(0, seat.shown_units or 0)
            is_left_alone = shown or seat.exposed_units or is_short
            share = shown if is_left_alone else min(most, self._slow_share(available - tied, seat, pace))
            found.append((seat.listing_id, share))
            left -= share * each
        shares = _spread(max(0, left), fast)
        return found + [(seat.listing_id, units) for (seat, _, _), units in zip(fast, shares, strict=True)]

    @staticmethod
    def _tied(seat: Seat) -> int:
        """Units that cannot be shared: exposed beyond what is shown, and all that a held channel may sell."""
        shown = max(0, seat.shown_units or 0)
        return max(seat.exposed_units, shown) if seat.is_held else max(0, seat.exposed_units - shown)

    @staticmethod
    def _slow_share(total: int, seat: Seat, pace: float) -> int:
        """What class B sells for sure before the pool is empty: less than its part, the more so the smaller that is."""
        fair = max(0, total) * max(seat.rate, 1e-9) / pace
        return max(0, math.floor(SLOW_PART * fair - SLOW_DOUBT * math.sqrt(fair) + 0.5))

    @staticmethod
    def _takes_part(seat: Seat) -> bool:
        return seat.most_units > 0 and not seat.is_held and (seat.guarantee_class == "A" or seat.is_watched)

    def _ready(self) -> list[Seat]:
        """Who can be given more, class B first: it waits the longest."""
        ready = [
            s for s in self.group.seats if s.can_be_raised and self.targets[s.listing_id].reason in ("kept", "raised")
        ]
        return sorted(ready, key=lambda s: (s.guarantee_class == "A", -s.priority, -s.rate, s.listing_id))

    def _share_free(self) -> None:
        """Give free units to those below their share."""
        if any(units > 0 for units in self._free().values()):
            for seat in self._ready():
                self._raise(seat, self.ideals[seat.listing_id], {})

    def _leave_none_idle(self, held: Mapping[Pool, int]) -> None:
        """What is still free, and held for nobody, goes to whom it can be taken back from soonest.

        Class B gets it only where no class A channel may ever show it.
        """
        if any(units > 0 for units in self._free().values()):
            ready = self._ready()
            for seat in ready:
                if seat.guarantee_class == "A":
                    self._raise(seat, seat.most_units, held)
            for seat in ready:
                if seat.guarantee_class == "B" and self._is_wanted_by_no_other(seat):
                    self._raise(seat, seat.most_units, held)

    def _is_wanted_by_no_other(self, slow: Seat) -> bool:
        """Whether every class A channel that shares a pool with it shows all that its rule allows."""
        pools = {pool for pool, _ in slow.takes}
        return all(
            self.targets[seat.listing_id].units >= seat.most_units
            for seat in self.group.seats
            if seat.guarantee_class == "A" and not seat.is_held and pools & {pool for pool, _ in seat.takes}
        )

    def _raise(self, seat: Seat, up_to: int, held: Mapping[Pool, int]) -> None:
        free = self._free()
        shown = self.targets[seat.listing_id].units
        room = min(((free[pool] - held.get(pool, 0)) // each for pool, each in seat.takes), default=0)
        units = min(up_to, seat.most_units, shown + room)
        if units > shown:
            self.targets[seat.listing_id] = Target(units, "raised")

    # --- a channel runs dry while another has plenty

    def _feed_the_dry(self) -> dict[Pool, int]:
        """Ask the rich for what the dry lack; returns the free units of each pool that wait for the rest of it.

        A bundle can use no part of what it takes: it asks for nothing that will not be whole, and what is free of it
        already goes to nobody else meanwhile. Else the two would ask it of each other for ever.
        """
        dry = [
            seat
            for seat in self.group.seats
            if seat.can_be_raised and self._is_dry(self.targets[seat.listing_id].units, self.ideals[seat.listing_id])
        ]
        if not dry:
            return {}
        wanted = dict.fromkeys(self.group.available, 0)
        for seat in sorted(dry, key=lambda s: (-s.priority, -s.rate, s.listing_id)):
            lacking = self.ideals[seat.listing_id] - self.targets[seat.listing_id].units
            units = min((self._in_reach(pool, seat) - wanted[pool]) // each for pool, each in seat.takes)
            for pool, each in seat.takes:
                wanted[pool] += max(0, min(units, lacking)) * each
                self._ask_the_rich(pool, wanted[pool] - self._soon_free(pool), seat)
        return {pool: max(0, units - self._coming(pool)) for pool, units in wanted.items()}

    @staticmethod
    def _is_dry(units: int, ideal: int) -> bool:
        return units * DRY_PART < ideal or units < min(ideal, FIRST_UNITS)

    def _coming(self, pool: Pool) -> int:
        return sum(each * self._lowered(seat) for seat in self.group.seats for p, each in seat.takes if p == pool)

    def _soon_free(self, pool: Pool) -> int:
        """What is free of a pool once everything asked for is confirmed."""
        return self._free()[pool] + self._coming(pool)

    def _rich(self, pool: Pool, dry: Seat) -> list[tuple[int, Seat, int]]:
        """Class A listings with more than their share: (units too many, listing, what each takes), richest first."""
        rich = [
            (self.targets[s.listing_id].units - self.ideals[s.listing_id], s, each)
            for s in self.group.seats
            for p, each in s.takes
            if p == pool
            and s is not dry
            and s.guarantee_class == "A"
            and s.is_writable
            and not s.is_held
            and self.targets[s.listing_id].reason in ("kept", "gives")
        ]
        return sorted((item for item in rich if item[0] > 0), key=lambda item: (-item[0], item[1].listing_id))

    def _in_reach(self, pool: Pool, dry: Seat) -> int:
        """Units of a pool that a dry listing can get: those soon free, and what the rich have too many."""
        return self._soon_free(pool) + sum(surplus * each for surplus, _, each in self._rich(pool, dry))

    def _ask_the_rich(self, pool: Pool, wanted: int, dry: Seat) -> None:
        """Lower the richest class A listings of the pool toward their own shares."""
        for surplus, seat, each in self._rich(pool, dry):
            if wanted <= 0:
                return
            given = min(surplus, math.ceil(wanted / each))
            self.targets[seat.listing_id] = Target(self.targets[seat.listing_id].units - given, "gives")
            wanted -= given * each

    def _drain_the_slow(self) -> None:
        """Where every class A channel of its pools is dry, take back from class B what it would sell too slowly."""
        for seat in self.group.seats:
            units = self.targets[seat.listing_id].units
            if seat.guarantee_class != "B" or not seat.is_writable or seat.is_held or units <= 0:
                continue
            pools = {pool for pool, _ in seat.takes}
            fast = [s for s in self.group.seats if s.guarantee_class == "A" and pools & {pool for pool, _ in s.takes}]
            pace = sum(s.rate for s in fast if s.can_be_raised and s.most_units > 0)
            if any(self.targets[s.listing_id].units > 0 for s in fast) or any(self._coming(pool) for pool in pools):
                continue
            if pace > 0 and units / max(seat.rate, 1e-9) > SLOW_CYCLE_HOURS + units / pace:
                self.targets[seat.listing_id] = Target(0, "gives")


def _shares(total: int, takers: Sequence[tuple[Seat, int, int]]) -> list[int]:
    """Split `total` units of a pool by rate, largest remainder first: (seat, units each takes, the most it may have).

    Returns listing units, in the order given. What one may not have goes to the others.
    """
    got = [0] * len(takers)
    rates = [max(seat.rate, 1e-9) for seat, _, _ in takers]
    open_ones = [number for number, (_, _, most) in enumerate(takers) if most > 0]
    left = total
    while open_ones and left > 0:
        weight = sum(rates[n] for n in open_ones)
        exact = {n: left * rates[n] / weight / takers[n][1] for n in open_ones}
        capped = [n for n in open_ones if exact[n] >= takers[n][2]]
        if capped:
            for n in capped:
                got[n] = takers[n][2]
                left -= got[n] * takers[n][1]
            open_ones = [n for n in open_ones if n not in capped]
            continue
        for n in open_ones:
            got[n] = math.floor(exact[n])
            left -= got[n] * takers[n][1]
        for n in sorted(open_ones, key=lambda n: (got[n] - exact[n], -rates[n], n)):
            if left >= takers[n][1] and got[n] < takers[n][2]:
                got[n] += 1
                left -= takers[n][1]
        break
    return got


FIRST_UNITS = 2
"""So many units go to each class A channel before the busier ones get more: an order is mostly for one or two."""


def _spread(total: int, takers: Sequence[tuple[Seat, int, int]]) -> list[int]:
    """Split as `_shares` does, but leave no channel without its first units while another has more than those."""
    got = _shares(total, takers)
    if min(got, default=FIRST_UNITS) >= FIRST_UNITS:
        return got
    left = total - sum(units * each for units, (_, each, _) in zip(got, takers, strict=True))
    busiest_first = sorted(range(len(takers)), key=lambda n: (-takers[n][0].rate, n))
    for first in range(1, FIRST_UNITS + 1):
        for poor in busiest_first:
            each = takers[poor][1]
            while got[poor] < min(first, takers[poor][2]):
                rich = max(busiest_first, key=lambda n: got[n])
                if left < each and got[rich] > first:
                    got[rich] -= 1
                    left += takers[rich][1]
                    continue
                if left < each:
                    break
                got[poor] += 1
                left -= each
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


def unseen_units(pace: Pace) -> int:
    """What a channel may sell in a busy minute before the others are told; the order that comes next is among it."""
    return 1 + math.ceil(BURST * pace.units_per_hour * pace.doubt_seconds / 3600)


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
