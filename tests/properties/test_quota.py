"""Any interleaving of workers against Shopify's own bucket: never refused, never idle, nobody urgent held up.

The vendor is modelled by its documentation: what a query may cost at most is taken before it runs and the rest is given
back after it; a query that the bucket does not hold is refused. Requests reach it late, in any order, and answers come
back late, in any order, or not at all.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from core.adapters import limits
from core.adapters.http import Quota, Urgency
from core.adapters.limits import BucketPermit, TokenBucket

RATE, SIZE = 100.0, 2000.0


@pytest.fixture(autouse=True)
def patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no Redis that is gone: every worker of these worlds asks the same one."""
    monkeypatch.setattr(limits, "_REDIS_SECONDS", 30.0)


_names = itertools.count()


@dataclass
class Vendor:
    """Shopify's bucket."""

    level: float
    at: float = 0.0
    spent: float = 0.0
    refused: int = 0

    def left(self, now: float) -> float:
        self.level = min(SIZE, self.level + (now - self.at) * RATE)
        self.at = now
        return self.level

    def begin(self, requested: float, now: float) -> bool:
        if self.left(now) + 1e-6 < requested:
            self.refused += 1
            return False
        self.level -= requested
        return True

    def end(self, requested: float, actual: float, now: float) -> int:
        """Gives back the rest and says what is left, in whole points as Shopify does."""
        self.level = min(SIZE, self.left(now) + requested - actual)
        self.spent += actual
        return int(self.level)


@dataclass(frozen=True)
class Load:
    """What one worker sends: one call after the other, or one every `every` seconds."""

    urgency: Urgency
    costs: tuple[int, ...]
    used: float = 1.0
    every: float | None = None


@dataclass
class World:
    """Workers on one quota, with a time of its own; events in the order of their time."""

    redis_url: str
    random: Random
    vendor: Vendor
    slowest: float = 2.0
    lost_share: float = 0.0
    now: float = 0.0
    waits: dict[str, list[float]] = field(default_factory=dict)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    key: str = field(default_factory=lambda: f"property-{next(_names)}")

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def work(self, load: Load) -> None:
        bucket = TokenBucket(self.key, RATE, SIZE, self.redis_url, clock=lambda: self.now)
        self.at(self.now + self.random.random(), lambda: self._next(bucket, load))

    def _next(self, bucket: TokenBucket, load: Load) -> None:
        self._ask(bucket, load, bucket.permit(), self.random.choice(load.costs), self.now)
        if load.every is not None:
            self.at(self.now + load.every, lambda: self._next(bucket, load))

    def _ask(self, bucket: TokenBucket, load: Load, permit: BucketPermit, cost: int, since: float) -> None:
        wait = bucket.ask(permit, cost, load.urgency, 1e6)
        if wait > 0:
            self.at(self.now + wait, lambda: self._ask(bucket, load, permit, cost, since))
            return
        self.waits.setdefault(load.urgency, []).append(self.now - since)
        actual = round(cost * (load.used + (1 - load.used) * self.random.random()))
        self.at(self.now + self._late(), lambda: self._arrive(bucket, load, permit, cost, actual))

    def _arrive(self, bucket: TokenBucket, load: Load, permit: BucketPermit, cost: int, actual: int) -> None:
        if not self.vendor.begin(cost, self.now):
            return
        self.at(self.now + self._late(), lambda: self._done(bucket, load, permit, cost, actual))

    def _done(self, bucket: TokenBucket, load: Load, permit: BucketPermit, cost: int, actual: int) -> None:
        left = self.vendor.end(cost, actual, self.now)
        is_lost = self.random.random() < self.lost_share

        def hear() -> None:
            if is_lost:
                permit.lost()
            else:
                permit.answered(Quota(actual, left, RATE, SIZE))
            if load.every is None:
                self._next(bucket, load)

        self.at(self.now + self._late(), hear)

    def _late(self) -> float:
        """Mostly quick, sometimes not."""
        return self.slowest * self.random.random() ** 4


loads = st.builds(
    Load,
    urgency=st.sampled_from(["urgent", "normal", "background"]),
    costs=st.lists(st.sampled_from([1, 10, 50, 250, 752, 1000]), min_size=1, max_size=3).map(tuple),
    used=st.sampled_from([0.1, 0.5, 1.0]),
)


@given(
    seed=st.integers(0, 2**32),
    workers=st.lists(loads, min_size=1, max_size=6),
    start=st.sampled_from([0.0, 700.0, SIZE]),
    slowest=st.sampled_from([0.1, 2.0, 8.0]),
    lost=st.sampled_from([0.0, 0.2]),
    flush_at=st.one_of(st.none(), st.floats(1, 100)),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_vendor_never_refuses(
    redis_url: str,
    seed: int,
    workers: list[Load],
    start: float,
    slowest: float,
    lost: float,
    flush_at: float | None,
) -> None:
    world = World(redis_url, Random(seed), Vendor(start), slowest, lost)
    for load in workers:
        world.work(load)
    if flush_at is not None:
        world.at(flush_at, Redis.from_url(redis_url).flushdb)
    world.run(120)
    assert world.vendor.refused == 0
    assert world.vendor.spent > 0


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("urgency", ["urgent", "normal", "background"])
def test_what_comes_back_is_used_while_there_is_demand(redis_url: str, workers: int, urgency: Urgency) -> None:
    world = World(redis_url, Random(7), Vendor(0.0), slowest=0.3)
    for _ in range(workers):
        world.work(Load(urgency, (50, 250, 752), 0.6))
    world.run(60)
    before = world.vendor.spent + world.vendor.left(60)
    world.run(260)
    # What was spent, and what lies there for the dear call that is next.
    assert world.vendor.refused == 0
    assert world.vendor.spent + world.vendor.left(260) - before >= 0.95 * 200 * RATE
    assert world.vendor.spent >= 0.9 * 250 * RATE - 752 - 0.3 * SIZE


@pytest.mark.parametrize("load", ["normal", "background"])
def test_urgent_calls_wait_for_nothing_that_is_not_under_way(redis_url: str, load: Urgency) -> None:
    world = World(redis_url, Random(7), Vendor(0.0))
    for _ in range(4):
        world.work(Load(load, (50, 752, 1000), 0.5))
    world.run(60)
    world.work(Load("urgent", (10,), every=0.5))
    world.run(240)
    waits = sorted(world.waits["urgent"])
    assert world.vendor.refused == 0
    assert len(waits) > 300
    # The reserve is there for them: hardly anybody waits, however much the others want, and then for their own points.
    assert waits[round(len(waits) * 0.95)] == 0
    assert waits[-1] <= 10 / RATE + 0.001
    assert world.vendor.spent > 0.95 * 200 * RATE


def test_more_urgent_calls_than_the_reserve_wait_only_for_each_other(redis_url: str) -> None:
    world = World(redis_url, Random(7), Vendor(0.0))
    for _ in range(4):
        world.work(Load("background", (752, 1000), 0.5))
    world.run(100)
    for _ in range(40):
        world.work(Load("urgent", (50,)))
    world.run(101)
    # Forty of them want 2,000 points: at worst nothing was there but what the background leaves them.
    world.run(140)
    assert max(world.waits["urgent"][:40]) <= 2000 / RATE
