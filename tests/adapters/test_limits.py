"""Quotas shared through Redis, and what is left of them without it."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from core.adapters.http import Throttled
from core.adapters.limits import TokenBucket

NOBODY = "redis://127.0.0.1:1/0"


def make(url: str | None, rate: float = 100.0, burst: float = 10.0, factor: float = 1.0) -> TokenBucket:
    return TokenBucket("test", rate, burst, url, factor, sleep=lambda seconds: None)


def test_what_redis_has_forgotten_starts_empty(redis_url: str) -> None:
    assert make(redis_url).acquire(5, 60) == pytest.approx(0.05, abs=0.01)


def test_workers_queue_behind_each_other(redis_url: str) -> None:
    first, second = make(redis_url), make(redis_url)
    began = time.monotonic()
    waits = [first.acquire(10, 60), second.acquire(10, 60)]
    # The bucket fills while the machine takes its time between the two.
    passed = time.monotonic() - began
    assert 0.1 - passed - 0.001 <= waits[0] <= 0.101
    assert 0.2 - passed - 0.001 <= waits[1] <= 0.201


def test_after_a_rest_no_more_than_the_burst_is_there(redis_url: str) -> None:
    bucket = make(redis_url, rate=1000.0, burst=10.0)
    bucket.acquire(1, 60)
    time.sleep(0.1)
    assert bucket.acquire(10, 60) == 0
    assert bucket.acquire(10, 60) == pytest.approx(0.01, abs=0.008)


def test_waiting_too_long_takes_nothing(redis_url: str) -> None:
    bucket = make(redis_url, rate=1.0)
    with pytest.raises(Throttled) as caught:
        bucket.acquire(10, 1.0)
    assert caught.value.wait_seconds == pytest.approx(10, abs=0.2)
    assert bucket.acquire(1, 2.0) == pytest.approx(1, abs=0.2)


def test_the_vendors_word_counts_more_than_ours(redis_url: str) -> None:
    bucket = make(redis_url, rate=1.0, burst=10.0)
    bucket.learn(level=2000.0, rate=100.0, burst=2000.0)
    assert bucket.acquire(1500, 60) == 0
    bucket.drain()
    assert bucket.acquire(100, 60) == pytest.approx(1.0, abs=0.1)


def test_a_faster_clock_refills_faster(redis_url: str) -> None:
    assert make(redis_url, rate=1.0, factor=100.0).acquire(10, 60) == pytest.approx(0.1, abs=0.02)


def test_a_flush_makes_us_slower_never_faster(redis_url: str) -> None:
    bucket = make(redis_url, rate=10.0, burst=100.0)
    bucket.learn(level=100.0)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert bucket.acquire(5, 60) == pytest.approx(0.5, abs=0.05)


def test_without_redis_a_process_paces_itself_at_half() -> None:
    bucket = make(NOBODY, rate=100.0)
    assert bucket.acquire(5, 60) == pytest.approx(0.1, abs=0.02)


def test_a_dead_redis_delays_nobody() -> None:
    bucket = make(NOBODY, rate=1e6)
    started = time.monotonic()
    for _ in range(200):
        bucket.acquire(1, 60)
    assert time.monotonic() - started < 0.5


def test_a_single_process_needs_no_redis() -> None:
    assert make(None, rate=100.0).acquire(5, 60) == pytest.approx(0.05, abs=0.01)


def test_threads_together_get_no_more_than_the_rate(redis_url: str) -> None:
    buckets = [TokenBucket("many", 200.0, 5.0, redis_url) for _ in range(4)]
    started = time.monotonic()
    threads = [threading.Thread(target=lambda b=b: [b.acquire(1, 60) for _ in range(20)]) for b in buckets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 80 calls at 200 a second from an empty bucket.
    assert time.monotonic() - started >= 0.39
