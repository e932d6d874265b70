"""Quotas shared by all workers: a bucket of units in Redis, with a slower one at hand when Redis does not answer.

It is held so that the vendor's own bucket always has at least what we believe: a call is paid for before it leaves, at
the most it may cost, and is on account until its answer gives back what it did not use. What the vendor then says is
left cannot know of calls under way: our level is corrected by what it must be at most and at least.

Who waits, waits by urgency. An urgent call (a zero, a lowered number, a doubt to be settled) may use the whole bucket
and goes before all others; ordinary and background calls leave a reserve to those more urgent, and go by the time they
have waited, background ones as if they had come later. Nobody takes before it is there: no debt stands before an urgent
call, only what is already under way.

A bucket that Redis has forgotten starts empty, not full: after a flush we are slower for a moment instead of over the
vendor's limit. Where a unit takes minutes to come back that moment is too long for whoever waits: such a bucket may be
`born_with` a few, out of those that are never counted on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import uuid4

from redis import Redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import RedisError
from redis.retry import Retry

from core.adapters.http import Quota, Throttled, Urgency
from core.adapters.limits_scripts import SETTLE, TAKE

# Longer than a doorbell may take: who goes on without asking may take what another was given.
_REDIS_SECONDS = 0.5
_REDIS_REST_SECONDS = 5.0
_LOCAL_SHARE = 0.5

CALL_LIVES_SECONDS = 60.0
"""Longer than any call: what nobody has come back from by then is over."""

ARRIVES_WITHIN_SECONDS = 10.0
"""How long a request may be on its way before the vendor takes its quota, though its connection be broken."""

LONGEST_REST_SECONDS = 600.0
"""What a vendor may ask for at most before it is asked again."""

_KEEPS_PLACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What one urgency may do: the share that it leaves of what is counted on, and the seconds others go first by."""

    rank: int
    reserve_share: float
    patience_seconds: float


BUDGETS: Mapping[Urgency, Budget] = {
    "urgent": Budget(0, 0.0, 0.0),
    "normal": Budget(1, 0.1, 0.0),
    # Goes all the same after a while, or a busy day of ordinary calls would starve it.
    "background": Budget(2, 0.3, 10.0),
}

_Fate = Literal["answered", "never_left", "lost"]


@dataclass(slots=True)
class _LocalBucket:
    """The same within one process, without a queue: there are few threads in it."""

    now: Callable[[], float]
    level: float = 0.0
    rest_until: float = 0.0
    at: float = field(init=False)
    under_way: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.at = self.now()

    def take(self, ref: str, rate: float, most: float, cost: float, reserve: float) -> float:
        """0 when the units are taken, else seconds after which to ask again."""
        with self.lock:
            self._fill(rate, most)
            missing, rest = max(0.0, min(cost + reserve, most) - self.level), self.rest_until - self.at
            if missing > 1e-9 or rest > 0:
                return max(1e-6, missing / rate + max(0.0, rest))
            self.level -= cost
            self.under_way[ref] = cost
            return 0.0

    def settle(self, ref: str, fate: _Fate, quota: Quota, rate: float, most: float, *, is_alone: bool) -> None:
        """`is_alone`: nobody else uses the quota, so that what the vendor says may raise the level."""
        with self.lock:
            self._fill(rate, most)
            taken = self.under_way.pop(ref, 0.0)
            cost = 0.0 if fate == "never_left" else taken if quota.cost is None else quota.cost
            self.level = min(most, self.level + taken - cost)
            if quota.available is not None:
                others = sum(self.under_way.values())
                self.level = min(most if is_alone and not others else self.level, quota.available)
            if quota.rest_seconds is not None:
                self.rest_until = max(self.rest_until, self.at + quota.rest_seconds)

    def empty(self) -> None:
        """Redis keeps the quota: should it go, this begins with nothing."""
        with self.lock:
            self.level, self.at = 0.0, self.now()

    def _fill(self, rate: float, most: float) -> None:
        now = self.now()
        self.level = min(most, self.level + max(0.0, now - max(self.at, self.rest_until)) * rate)
        self.at = now


@dataclass(slots=True)
class TokenBucket:
    """A quota of `rate` units a second and `burst` at once, on a clock that runs `clock_factor` times ours.

    `headroom` units of the burst are never counted on: where the vendor does not say what is left. `clock` gives
    seconds of a time of the caller's own, which `sleep` must then pass; without it Redis's own time counts. Where Redis
    does not answer, the process paces itself at half the rate: two processes then still fit, and more are stopped by
    the vendor's own refusal, which is always obeyed.
    """

    key: str
    rate: float
    burst: float
    redis_url: str | None
    clock_factor: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    headroom: float = 0.0
    clock: Callable[[], float] | None = None
    born_with: float = 0.0
    _take: Script | None = field(init=False, default=None)
    _settle: Script | None = field(init=False, default=None)
    _local: _LocalBucket = field(init=False)
    _rest_until: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._local = _LocalBucket(self._now, self.born_with)
        if self.redis_url is not None:
            redis = Redis.from_url(
                self.redis_url,
                socket_timeout=_REDIS_SECONDS,
                socket_connect_timeout=_REDIS_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            self._take, self._settle = redis.register_script(TAKE), redis.register_script(SETTLE)

    def acquire(self, cost: float, wait_at_most: float, urgency: Urgency = "normal") -> BucketPermit:
        """Wait until `cost` units are ours, at most so many seconds. Raises Throttled when it would take longer."""
        permit = self.permit()
        until = self._now() + wait_at_most
        while (wait := self.ask(permit, cost, urgency, until - self._now())) != 0:
            if wait < 0:
                raise Throttled(self.key, -wait)
            self.sleep(wait)
        return permit

    def ready_in(self, cost: float = 1.0, urgency: Urgency = "normal") -> float:
        """Seconds until `cost` units could be had; 0: now. Nothing is taken."""
        permit = self.permit()
        wait = self.ask(permit, cost, urgency, 0.0)
        if wait == 0:
            permit.never_left()
        return abs(wait)

    def known_rate(self) -> float:
        """The units a second (of the vendor's clock) that come back, as the vendor told any of our processes last."""
        if self.redis_url is None:
            return self.rate
        try:
            with Redis.from_url(self.redis_url, socket_timeout=_REDIS_SECONDS) as redis:
                kept = redis.hget(f"limit:{{{self.key}}}", "rate")
            return _positive(float(kept)) or self.rate if kept else self.rate
        except (RedisError, ValueError):
            return self.rate

    def permit(self) -> BucketPermit:
        """A permit that stands for nothing yet: `ask` for its units."""
        return BucketPermit(self, uuid4().hex)

    def ask(self, permit: BucketPermit, cost: float, urgency: Urgency, wait_at_most: float) -> float:
        """Try once. 0: the units are taken. Else the seconds after which to ask again, and until a little later the
        permit keeps its place; negative when that is longer than allowed, and then it has none.
        """
        budget = BUDGETS[urgency]
        micros = self._run(
            self._take,
            permit.ref,
            str(budget.rank),
            *(repr(value) for value in (cost, budget.reserve_share, budget.patience_seconds, wait_at_most)),
            repr(_KEEPS_PLACE_SECONDS),
        )
        if micros is not None:
            self._local.empty()
            return float(micros) / 1_000_000
        rate = self.rate * self.clock_factor * self._share
        wait = self._local.take(permit.ref, rate, self._most, cost, budget.reserve_share * self._most)
        return -wait if wait > wait_at_most else wait

    def settle(self, permit: BucketPermit, fate: _Fate, quota: Quota) -> None:
        """What became of a call; see BucketPermit."""
        rate, size = _positive(quota.rate), _positive(quota.size)
        self.rate, self.burst = rate or self.rate, size or self.burst
        rest = _positive(quota.rest_seconds)
        quota = replace(quota, rate=rate, size=size, rest_seconds=rest and min(rest, LONGEST_REST_SECONDS))
        own_rate, is_alone = self.rate * self.clock_factor * self._share, self.redis_url is None
        self._local.settle(permit.ref, fate, quota, own_rate, self._most, is_alone=is_alone)
        said = (quota.cost, quota.available, quota.rate, quota.size, quota.rest_seconds)
        self._run(
            self._settle,
            permit.ref,
            fate,
            *("" if value is None else repr(value) for value in said),
            repr(ARRIVES_WITHIN_SECONDS),
        )

    def _now(self) -> float:
        return time.monotonic() if self.clock is None else self.clock()

    @property
    def _share(self) -> float:
        """Without Redis others may be at work that we do not know of; without an address for it there are none."""
        return 1.0 if self.redis_url is None else _LOCAL_SHARE

    @property
    def _most(self) -> float:
        """What the bucket of this process alone may hold."""
        return max(1.0, (self.burst - self.headroom) * self._share)

    def _run(self, script: Script | None, *arguments: str) -> Any:
        """The script's answer, or None when Redis gives none; it is then left alone for a second."""
        if script is None or time.monotonic() < self._rest_until:
            return None
        keys = [f"limit:{{{self.key}}}", f"limit:{{{self.key}}}:calls", f"limit:{{{self.key}}}:waiting"]
        clock = "" if self.clock is None else f"{self.clock():.6f}"
        mine = (self.clock_factor, self.rate, self.burst, self.headroom, CALL_LIVES_SECONDS, LONGEST_REST_SECONDS)
        known = [repr(value) for value in mine]
        try:
            return script(keys, [clock, *known, *arguments, repr(self.born_with)])
        except RedisError:
            self._rest_until = time.monotonic() + _REDIS_REST_SECONDS
            return None


def _positive(value: float | None) -> float | None:
    """What a vendor says, where it can be true."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


@dataclass(frozen=True, slots=True)
class BucketPermit:
    """Units taken for one call. Whoever made the call says what became of it; else it is thought to have been made."""

    bucket: TokenBucket
    ref: str

    def answered(self, quota: Quota | None) -> None:
        """An answer came; what it says of the quota counts."""
        self.bucket.settle(self, "answered", quota or Quota())

    def never_left(self) -> None:
        """The call was surely not made: everything is given back."""
        self.bucket.settle(self, "never_left", Quota())

    def lost(self) -> None:
        """No answer will come, and the call may still be on its way for a moment."""
        self.bucket.settle(self, "lost", Quota())
