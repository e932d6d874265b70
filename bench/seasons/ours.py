"""Our side in a season: bookings, exposure and writes as in production, planned by the very same functions."""

from __future__ import annotations

from bench.seasons.demand import Season
from bench.seasons.knowledge import Known, OpenWrite, Reading
from bench.seasons.world import Answer, Fact, World
from core.inventory.planner import Group, Mode, Pace, Seat, is_scarce, plan_escrow, switch_line, unseen_units
from core.inventory.rules import ListingState, offer, plan_write, short

POOL = "pool"
TAKES = ((POOL, 1),)
PRIOR_UNITS = 8.0
"""For how many units of measuring counts what was known of a channel's rate before."""
REPEAT_SECONDS = 10.0
"""An unknown outcome of a compare-and-set is asked for again after that, by the same key."""
READ_BACK_SECONDS = 30.0
ANSWER_SECONDS = 30.0
"""How long what a class A channel sells may go unseen by the others while all of them answer: notice and write."""
DOUBT_SECONDS = 95.0
"""The same where a notice is lost or the channel has just gone away: until the sweep is missed, and the write."""
SILENT_SECONDS = 90.0
"""A channel that no sweep has read for so long is not heard from."""
LATE_SECONDS = 5.0
"""Nor is one that has owed the answer to a write for so long."""


class Ours:
    """`pooled`, `escrow` or `adaptive`, for the pooled channels; a till has a place and a pool of its own."""

    pools_till = False

    def __init__(self, season: Season, mode: Mode) -> None:
        self.name: str = mode
        self.violations = 0
        self.available = season.stock
        self._mode = mode
        self._world: World | None = None
        self._channels = [kind for kind in season.channels if kind.guarantee_class != "C"]
        self._tills = len(season.channels) - len(self._channels)
        self._rates = season.prior_rates
        self._shown_seconds = [0.0] * len(self._channels)
        self._measured_at = 0.0
        self._facts: set[tuple[int, bool]] = set()
        self._keys = 0
        self.known = [Known(kind.guarantee_class, 0, 0) for kind in self._channels]
        self.is_scarce = mode == "escrow" or (
            mode == "adaptive" and is_scarce(self.available, self._line(), was_scarce=False)
        )
        for known, units in zip(self.known, self._split(), strict=True):
            known.published = known.exposed = units
            known.base = Reading(units, known.known_at)

    def _split(self) -> list[int]:
        """What is shown when the hour begins: the pool, or the planner's own split of drained channels."""
        if self._mode == "pooled":
            return [offer(self.available)] * len(self.known)
        targets = plan_escrow(self._group())
        return [targets[number].units for number in range(len(self.known))]

    def opening(self) -> list[int]:
        return [known.published for known in self.known] + [0] * self._tills

    def start(self, world: World) -> None:
        self._world = world
        self._plan()

    @property
    def world(self) -> World:
        assert self._world is not None, "the season has not begun"
        return self._world

    @property
    def _now(self) -> float:
        return 0.0 if self._world is None else self._world.now

    # --- what channels tell

    def on_notice(self, fact: Fact) -> None:
        channel = fact.order.channel
        if fact.key in self._facts or channel >= len(self.known):
            return
        self._facts.add(fact.key)
        units = -fact.order.units if fact.is_cancel else fact.order.units
        self.available -= units
        self.known[channel].book(units, fact.dated_at)
        self._plan()

    def on_swept(self, channel: int, proven_to: float) -> None:
        if channel >= len(self.known):
            return
        known = self.known[channel]
        was_missed = known.failures > 0 or self.world.now - known.swept_at > SILENT_SECONDS
        known.swept_at = self.world.now
        # It answers, so what did not reach it is tried again at once.
        known.failures, known.not_before = 0, min(known.not_before, known.swept_at)
        is_quiet = not known.prove(proven_to) and not was_missed
        if is_quiet and (self._mode != "adaptive" or self.is_scarce or not self._is_silent()):
            return
        self._plan()

    # --- what we know of the pace

    def _measure(self) -> None:
        """Count the time in which a channel had something to sell: a dry one has no less demand for it."""
        for number, known in enumerate(self.known):
            if known.published > 0:
                self._shown_seconds[number] += self._now - self._measured_at
        self._measured_at = self._now

    def _rate(self, number: int) -> float:
        prior_hours = PRIOR_UNITS / self._rates[number]
        return (PRIOR_UNITS + self.known[number].booked_sold) / (prior_hours + self._shown_seconds[number] / 3600)

    def _line(self) -> int:
        """Class B is never pooled, so only what class A channels sell unseen makes stock scarce."""
        fast = [number for number, known in enumerate(self.known) if known.guarantee_class == "A"]
        return switch_line(None, [Pace(self._rate(number), DOUBT_SECONDS) for number in fast])

    # --- planning and writing

    def _group(self) -> Group:
        rates = [self._rate(number) for number in range(len(self.known))]
        most_units = offer(self.available)
        seats = [
            Seat(
                listing_id=number,
                guarantee_class=known.guarantee_class,
                takes=TAKES,
                shown_units=known.published,
                exposed_units=known.exposed,
                most_units=most_units,
                rate=rates[number],
                giving_back_units=self._giving_back(known),
                edited_units=known.edited,
                unseen_units=0 if self.is_scarce else unseen_units(Pace(rates[number], ANSWER_SECONDS)),
                is_writable=known.open is None and known.not_before <= self._now,
            )
            for number, known in enumerate(self.known)
        ]
        return Group({POOL: self.available}, seats, is_deep=not self.is_scarce)

    @staticmethod
    def _giving_back(known: Known) -> int:
        write = known.open
        if write is None:
            return 0
        if write.from_units is None:
            return max(0, known.published) if write.to_units == 0 else 0
        return max(0, write.from_units - write.to_units)

    def _plan(self) -> None:
        """What the planner says now, written to every channel that shows something else and owes no answer."""
        self._measure()
        if self._mode == "adaptive":
            self.is_scarce = self._is_silent() or is_scarce(self.available, self._line(), was_scarce=self.is_scarce)
        states = self._pooled() if self._mode == "pooled" else self._planned()
        for known, state in zip(self.known, states, strict=True):
            if known.open is not None or known.not_before > self._now:
                continue
            write = plan_write(state)
            if write is not None:
                self._keys += 1
                recorded = known.record(write.from_units, write.to_units, self._now, self._keys)
                self._check_write(known, recorded)
                self._send(write.listing_id)

    def _pooled(self) -> list[ListingState]:
        units, lacking = offer(self.available), short(self.available)
        return [
            ListingState(number, known.guarantee_class, units, known.published, known.unseen, lacking)
            for number, known in enumerate(self.known)
        ]

    def _planned(self) -> list[ListingState]:
        targets = plan_escrow(self._group())
        return [
            ListingState(number, known.guarantee_class, targets[number].units, known.published)
            for number, known in enumerate(self.known)
        ]

    def _is_silent(self) -> bool:
        """Whether a class A channel does not answer, or was not swept lately: what it sells is not seen then."""
        return any(
            known.guarantee_class == "A"
            and (
                known.failures > 0
                or self.world.now - known.swept_at > SILENT_SECONDS
                or (known.open is not None and self.world.now - known.open.planned_at > LATE_SECONDS)
            )
            for known in self.known
        )

    def _check_write(self, known: Known, write: OpenWrite) -> None:
        """In escrow no raise goes beyond what is there, and an absolute number is 0 or comes from a drained 0."""
        if self._mode == "pooled" or not self.is_scarce or write.recorded == 0 or write.to_units == 0:
            return
        is_drained = known.exposed == write.recorded
        is_covered = self._exposed() <= self.available + self._double()
        if not is_covered or (write.from_units is None and not is_drained):
            self.violations += 1

    def _send(self, number: int) -> None:
        write = self.known[number].open
        assert write is not None
        self.world.set_units(
            number, write.from_units, write.to_units, write.key, lambda answer: self._on_answer(number, answer)
        )

    def _on_answer(self, number: int, answer: Answer) -> None:
        known, world = self.known[number], self.world
        write = known.open
        assert write is not None
        if answer.outcome == "unknown" and write.from_units is not None:
            # The same key and the same variables, until the outcome is known.
            world.at(world.now + REPEAT_SECONDS, self._repeat, number)
            return
        if answer.outcome in ("accepted", "unknown"):
            write.submission = answer.submission
            world.at(world.now + READ_BACK_SECONDS, self._read_back, number)
            return
        known.settle(answer, world.now)
        if known.not_before > world.now:
            world.at(known.not_before, self._again, number)
        self._plan()

    def _repeat(self, number: int) -> None:
        if self.world.is_down(number):
            self.world.at(self.world.now + REPEAT_SECONDS, self._repeat, number)
        else:
            self._send(number)

    def _again(self, _number: int) -> None:
        self._plan()

    def _read_back(self, number: int) -> None:
        """Look whether an absolute number has arrived; the doubt of what it may sell ends with the watermark."""
        known, world = self.known[number], self.world
        write = known.open
        assert write is not None
        units = world.read(number)
        if units is not None:
            is_finished = write.submission is not None and world.is_finished(number, write.submission)
            if is_finished:
                known.close_read(units, world.now)
                known.prove(known.watermark)
                self._plan()
                return
            if self._is_proven(number, units):
                return
        world.at(world.now + READ_BACK_SECONDS, self._read_back, number)

    def _is_proven(self, number: int, units: int) -> bool:
        """A reply was lost: what was read is held against what is booked by then, now and at each look."""
        known, world = self.known[number], self.world
        assert known.open is not None
        known.open.looks.append(Reading(units, world.now))
        for look in known.open.looks:
            if known.is_done(look.units, look.at):
                known.close_read(look.units, look.at)
                known.prove(known.watermark)
                self._plan()
                return True
        return False

    # --- what must hold

    def _exposed(self) -> int:
        return sum(known.exposed for known in self.known)

    def _double(self) -> int:
        return sum(known.counted_twice for known in self.known)

    def before_sale(self, oversold_units: int) -> None:
        """What is sold beyond stock was shown as exposure beyond stock before it happened."""
        if oversold_units > max(0, self._exposed() - self.available):
            self.violations += 1

    def after_event(self) -> None:
        """Exposure is at least what the channel may still sell unbooked, and never more than can be explained."""
        for number, known in enumerate(self.known):
            shop = self.world.shops[number]
            unbooked = shop.sold - known.booked_sold
            unbooked_restock = shop.restocked - known.booked_restocked
            least = shop.shown + unbooked - unbooked_restock
            if not least <= known.exposed <= known.explained(shop.shown + unbooked):
                self.violations += 1
