"""Quotas shared by all workers: a token bucket in Redis, with a slower one at hand when Redis does not answer.

A bucket may go into debt: whoever takes from an empty one is told how long to wait, and the next one waits behind
it. So there is no polling and no herd. A bucket that Redis has forgotten starts empty, not full: after a flush we
are slower for a moment instead of over the vendor's limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.adapters.http import Throttled

_REDIS_SECONDS = 0.05
_REDIS_REST_SECONDS = 1.0
_LOCAL_SHARE = 0.5

# KEYS[1] bucket; ARGV rate per second, burst, cost, longest wait in seconds.
# Answers the wait in microseconds, negative when it would be longer than allowed (then nothing is taken).
_TAKE = """
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local rate, burst, cost, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(kept[1] or '0'), tonumber(kept[2] or now)
level = math.min(burst, level + math.max(0, now - at) / 1000000 * rate)
local wait = math.max(0, (cost - level) / rate)
local taken = wait <= longest
if taken then level = level - cost end
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], 3600)
local micros = math.ceil(wait * 1000000)
if taken then return micros end
return -math.max(1, micros)
"""

# KEYS[1] bucket; ARGV level as the vendor just told it, which counts for more than what we believed.
_LEARN = """
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'level', ARGV[1], 'at', string.format('%.0f', tonumber(t[1]) * 1000000 + tonumber(t[2])))
redis.call('EXPIRE', KEYS[1], 3600)
return 1
"""


@dataclass(slots=True)
class _LocalBucket:
    """The same rules within one process."""

    level: float = 0.0
    at: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, rate: float, burst: float, cost: float, longest: float) -> float:
        """Seconds to wait, negative when it would be longer than allowed."""
        with self.lock:
            now = time.monotonic()
            self.level = min(burst, self.level + (now - self.at) * rate)
            self.at = now
            wait = max(0.0, (cost - self.level) / rate)
            if wait > longest:
                return -max(wait, 1e-6)
            self.level -= cost
            return wait

    def learn(self, level: float) -> None:
        with self.lock:
            self.level, self.at = level, time.monotonic()


@dataclass(slots=True)
class TokenBucket:
    """A quota of `rate` units a second and at most `burst` at once, on a clock that runs `clock_factor` times ours.

    Where Redis does not answer, the process paces itself at half the rate: two processes then still fit, and more
    are stopped by the vendor's own refusal, which is always obeyed.
    """

    key: str
    rate: float
    burst: float
    redis_url: str | None
    clock_factor: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    _redis: Redis | None = field(init=False, default=None)
    _local: _LocalBucket = field(init=False, default_factory=_LocalBucket)
    _rest_until: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        if self.redis_url is not None:
            self._redis = Redis.from_url(
                self.redis_url,
                socket_timeout=_REDIS_SECONDS,
                socket_connect_timeout=_REDIS_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )

    def acquire(self, cost: float, wait_at_most: float) -> float:
        """Wait until `cost` units are ours; returns the seconds waited. Raises Throttled when it would take longer."""
        wait = self._take(cost, wait_at_most)
        if wait < 0:
            raise Throttled(self.key, -wait)
        if wait > 0:
            self.sleep(wait)
        return wait

    def learn(self, level: float | None = None, rate: float | None = None, burst: float | None = None) -> None:
        """Take over what the vendor just said of this quota: units left, refill a second, size."""
        if rate is not None and rate > 0:
            self.rate = rate
        if burst is not None and burst > 0:
            self.burst = burst
        if level is None:
            return
        self._local.learn(level)
        self._ask(_LEARN, f"{level:.6f}")

    def drain(self) -> None:
        """The vendor said no: whatever we believed, there is nothing left now."""
        self.learn(level=0.0)

    def _take(self, cost: float, longest: float) -> float:
        rate = self.rate * self.clock_factor
        if self._redis is None:
            return self._local.take(rate, self.burst, cost, longest)
        micros = self._ask(_TAKE, repr(rate), repr(self.burst), repr(cost), repr(longest))
        if micros is None:
            return self._local.take(rate * _LOCAL_SHARE, max(1.0, self.burst * _LOCAL_SHARE), cost, longest)
        return float(micros) / 1_000_000

    def _ask(self, script: str, *arguments: str) -> Any:
        """The script's answer, or None when Redis gives none; it is then left alone for a second."""
        if self._redis is None or time.monotonic() < self._rest_until:
            return None
        try:
            return self._redis.eval(script, 1, f"limit:{self.key}", *arguments)
        except RedisError:
            self._rest_until = time.monotonic() + _REDIS_REST_SECONDS
            return None
