"""The world of one season: channels that sell what they show, tell of it late, and take writes with delay and faults.

A discrete-event simulation on virtual time. It knows nothing of any policy but the calls of `Policy`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor
from typing import Any, Literal, Protocol

from bench.seasons.demand import LARGE_UNITS, SEASON_SECONDS, Order, Season

Outcome = Literal["confirmed", "stale", "refused", "accepted", "unknown", "unsent"]

FAULT_PART = 0.03
"""Of writes; half of them after the effect: the reply is lost."""
WRITE_SECONDS = (0.5, 0.5)
"""Median and spread of a class A write's lognormal duration; it takes effect on its way."""
SLOW_WRITE_SECONDS = (20.0, 300.0)
REPLY_SECONDS = 0.5
TIMEOUT_SECONDS = 10.0
WATERMARK_LAG_SECONDS = 120.0
"""A sweep that has read everything proves this much less than now: vendors' lists lag."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a channel said to a write, and when it took effect or was compared."""

    outcome: Outcome
    at: float
    observed_units: int | None = None
    submission: int | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One sale, or one cancellation that the channel put back on sale; dated in whole seconds, as vendors do."""

    order: Order
    is_cancel: bool
    dated_at: int

    @property
    def key(self) -> tuple[int, bool]:
        return self.order.number, self.is_cancel


class Policy(Protocol):
    """What runs between the channels."""

    name: str
    violations: int
    pools_till: bool

    def opening(self) -> list[int]:
        """What each channel shows when the season begins."""

    def start(self, world: World) -> None:
        """Called once, at 0."""

    def on_notice(self, fact: Fact) -> None:
        """A channel tells of a fact; perhaps not for the first time."""

    def on_swept(self, channel: int, proven_to: float) -> None:
        """Every fact of the channel up to then has been told."""

    def before_sale(self, oversold_units: int) -> None:
        """A channel is about to sell, which makes the season this many units oversold."""

    def after_event(self) -> None:
        """Something happened."""


@dataclass(slots=True)
class Shop:
    """The channel's own side: what it shows, what it sold and put back (units), what it has not yet told."""

    shown: int
    sold: int = 0
    restocked: int = 0
    untold: dict[tuple[int, bool], Fact] = field(default_factory=dict)
    last_landing: float = 0.0
    submissions: int = 0
    finished: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a season came to; units.

    `sold`: of the orders that stand when the hour is over, as many as stock can meet, whole orders only. `oversold`:
    the most that was promised beyond stock at any moment, whether or not a cancellation made up for it later.
    """

    sold: int
    oversold: int
    large: int
    large_refused: int
    large_refused_in_stock: int
    writes: int
    violations: int


class World:
    """One season under one policy: `run` once."""

    def __init__(self, season: Season, policy: Policy) -> None:
        self.season = season
        self.now = 0.0
        self.shops = [Shop(units) for units in policy.opening()]
        self.writes = 0
        self._policy = policy
        self._rng = random.Random(f"writes:{season.seed}")
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._ticket = 0
        self._done_keys: dict[int, Answer] = {}
        self._net = 0
        self._oversold = 0
        self._stood: dict[int, Order] = {}
        self._till_left = season.till_stock
        self._stock = season.stock + (season.till_stock if policy.pools_till else 0)
        self._large = self._large_refused = self._large_in_stock = 0

    def run(self) -> Outcomes:
        """Play the hour to its end and count."""
        for order in self.season.orders:
            self.at(order.at, self._arrive, order)
        for channel in range(len(self.shops)):
            self.at(self.season.sweep_phases[channel], self._sweep, channel)
        self._policy.start(self)
        while self._heap:
            at, _, call, argument = heapq.heappop(self._heap)
            if at >= SEASON_SECONDS:
                break
            self.now = at
            call(argument)
            self._policy.after_event()
        return Outcomes(
            sold=self._met(),
            oversold=self._oversold,
            large=self._large,
            large_refused=self._large_refused,
            large_refused_in_stock=self._large_in_stock,
            writes=self.writes,
            violations=self._policy.violations,
        )

    def at(self, moment: float, call: Callable[[Any], None], argument: Any) -> None:
        """Have something happen later."""
        self._ticket += 1
        heapq.heappush(self._heap, (moment, self._ticket, call, argument))

    def is_down(self, channel: int) -> bool:
        """Whether the channel's interfaces are away now."""
        outage = self.season.outages[channel]
        return outage is not None and outage[0] <= self.now < outage[1]

    # --- shoppers

    def _arrive(self, order: Order) -> None:
        is_large = order.units >= LARGE_UNITS
        self._large += is_large
        if not self._may_sell(order):
            self._large_refused += is_large
            self._large_in_stock += is_large and self._stock - self._net >= order.units
            return
        shop = self.shops[order.channel]
        shop.sold += order.units
        self._stood[order.number] = order
        if not self._is_apart(order):
            self._policy.before_sale(self._net + order.units - self._stock)
            self._net += order.units
            self._oversold = max(self._oversold, self._net - self._stock)
        self._tell(Fact(order, False, floor(self.now)), order.notices)
        if order.cancelled_after is not None:
            self.at(self.now + order.cancelled_after, self._cancel, order)

    def _is_apart(self, order: Order) -> bool:
        """Whether it takes nothing of the pooled stock: a till that sells what lies beside it."""
        return self.season.channels[order.channel].guarantee_class == "C" and not self._policy.pools_till

    def _may_sell(self, order: Order) -> bool:
        """Channels refuse what they do not show. A till cannot refuse: whatever lies there is carried to it."""
        shop = self.shops[order.channel]
        if self.season.channels[order.channel].guarantee_class == "C":
            there = self._till_left if not self._policy.pools_till else self._stock - shop.sold + shop.restocked
            if there >= order.units:
                self._till_left -= order.units
                return True
            return False
        if shop.shown < order.units:
            return False
        shop.shown -= order.units
        return True

    def _cancel(self, order: Order) -> None:
        shop = self.shops[order.channel]
        if self.season.channels[order.channel].guarantee_class == "C":
            self._till_left += order.units
        else:
            shop.shown += order.units
        shop.restocked += order.units
        del self._stood[order.number]
        if not self._is_apart(order):
            self._net -= order.units
        self._tell(Fact(order, True, floor(self.now)), order.cancel_notices)

    def _met(self) -> int:
        apart = sum(order.units for order in self._stood.values() if self._is_apart(order))
        pooled = [order.units for order in self._stood.values() if not self._is_apart(order)]
        return apart + (sum(pooled) if sum(pooled) <= self._stock else most_units(pooled, self._stock))

    # --- what channels tell

    def _tell(self, fact: Fact, delays: tuple[float, ...]) -> None:
        self.shops[fact.order.channel].untold[fact.key] = fact
        for delay in delays:
            self.at(self._when_up(fact.order.channel, self.now + delay), self._notice, fact)

    def _when_up(self, channel: int, moment: float) -> float:
        outage = self.season.outages[channel]
        return outage[1] if outage is not None and outage[0] <= moment < outage[1] else moment

    def _notice(self, fact: Fact) -> None:
        self.shops[fact.order.channel].untold.pop(fact.key, None)
        self._policy.on_notice(fact)

    def _sweep(self, channel: int) -> None:
        kind = self.season.channels[channel]
        self.at(self.now + kind.sweep_seconds, self._sweep, channel)
        if self.is_down(channel):
            return
        seen_to = self.now - kind.cut_off_seconds
        for fact in [fact for fact in self.shops[channel].untold.values() if fact.dated_at <= seen_to]:
            self._notice(fact)
        self._policy.on_swept(channel, self.now - max(kind.cut_off_seconds, WATERMARK_LAG_SECONDS))

    # --- what channels are told

    def set_units(
        self, channel: int, from_units: int | None, to_units: int, key: int, answer: Callable[[Answer], None]
    ) -> None:
        """Send a write; `from_units` None sets absolutely. A class A channel answers a key again as the first time."""
        self.writes += 1
        if self.is_down(channel):
            self.at(self.now + REPLY_SECONDS, answer, Answer("unsent", self.now))
            return
        fate = self._rng.random() / FAULT_PART
        if self.season.channels[channel].guarantee_class == "B":
            self._submit(channel, to_units, fate, answer)
            return
        duration = WRITE_SECONDS[0] * self._rng.lognormvariate(0, WRITE_SECONDS[1])
        if fate < 0.5:
            self.at(self.now + duration, answer, Answer("unknown", self.now))
            return
        lands_at = self.now + duration * self._rng.random()
        replies_at = self.now + TIMEOUT_SECONDS if fate < 1 else self.now + duration
        self.at(lands_at, self._land, (channel, from_units, to_units, key, fate < 1, replies_at, answer))

    def _land(self, what: tuple[int, int | None, int, int, bool, float, Callable[[Answer], None]]) -> None:
        channel, from_units, to_units, key, is_lost, replies_at, answer = what
        if self.is_down(channel):
            self.at(replies_at, answer, Answer("unknown", self.now))
            return
        shop = self.shops[channel]
        if key not in self._done_keys:
            if from_units is not None and shop.shown != from_units:
                self._done_keys[key] = Answer("stale", self.now, shop.shown)
            else:
                shop.shown = to_units
                self._done_keys[key] = Answer("confirmed", self.now, to_units)
        self.at(replies_at, answer, Answer("unknown", self.now) if is_lost else self._done_keys[key])

    def _submit(self, channel: int, to_units: int, fate: float, answer: Callable[[Answer], None]) -> None:
        """A class B channel takes the number in and sets it minutes later, one after the other, up or down."""
        if fate < 0.5:
            self.at(self.now + REPLY_SECONDS, answer, Answer("refused", self.now))
            return
        shop = self.shops[channel]
        shop.submissions += 1
        shop.last_landing = max(shop.last_landing, self.now + self._rng.uniform(*SLOW_WRITE_SECONDS))
        self.at(shop.last_landing, self._set, (channel, to_units, shop.submissions))
        if fate < 1:
            self.at(self.now + TIMEOUT_SECONDS, answer, Answer("unknown", self.now))
        else:
            self.at(self.now + REPLY_SECONDS, answer, Answer("accepted", self.now, submission=shop.submissions))

    def _set(self, what: tuple[int, int, int]) -> None:
        channel, to_units, submission = what
        self.shops[channel].shown = to_units
        self.shops[channel].finished.add(submission)

    def read(self, channel: int) -> int | None:
        """What the channel shows; None while it is away."""
        return None if self.is_down(channel) else self.shops[channel].shown

    def is_finished(self, channel: int, submission: int) -> bool:
        """Whether a submission whose name is known has been worked off; only while the channel is there."""
        return submission in self.shops[channel].finished


def most_units(sizes: list[int], limit: int) -> int:
    """The most units, at most `limit`, that a choice of whole orders comes to."""
    reachable = 1
    for units in sizes:
        reachable |= reachable << units
    return (reachable & ((1 << (limit + 1)) - 1)).bit_length() - 1
