"""Quotas shared through Redis, and what is left of them without it. Time is the test's own wherever Redis keeps it."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
import redis

from core.adapters.http import Quota, Throttled, Urgency
from core.adapters.limits import ARRIVES_WITHIN_SECONDS, BucketPermit, TokenBucket

NOBODY = "redis://127.0.0.1:1/0"
_names = itertools.count()


class Time:
    """Seconds that only sleeping passes."""

    def __init__(self) -> None:
        self.now = 100_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Quotas:
    """Buckets of one key, as several workers hold them."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.time = Time()
        self.key = f"test-{next(_names)}"

    def bucket(
        self, rate: float = 100.0, burst: float = 100.0, factor: float = 1.0, headroom: float = 0.0
    ) -> TokenBucket:
        return TokenBucket(self.key, rate, burst, self.url, factor, self.time.sleep, headroom, self.time)

    def waited(self, bucket: TokenBucket, cost: float, urgency: Urgency = "urgent") -> tuple[float, BucketPermit]:
        """The seconds that a call waited, and its permit."""
        began = self.time.now
        permit = bucket.acquire(cost, 600, urgency)
        return round(self.time.now - began, 3), permit


@pytest.fixture
def quotas(redis_url: str) -> Quotas:
    return Quotas(redis_url)


def test_what_redis_has_forgotten_starts_empty(quotas: Quotas) -> None:
    assert quotas.waited(quotas.bucket(), 5)[0] == 0.05


def test_workers_share_what_comes_back(quotas: Quotas) -> None:
    first, second = quotas.bucket(), quotas.bucket()
    assert [quotas.waited(bucket, 10)[0] for bucket in (first, second, first)] == [0.1, 0.1, 0.1]


def test_after_a_rest_no_more_than_the_burst_is_there(quotas: Quotas) -> None:
    bucket = quotas.bucket()
    quotas.waited(bucket, 1)[1].answered(None)
    quotas.time.sleep(50)
    assert quotas.waited(bucket, 100)[0] == 0
    assert quotas.waited(bucket, 10)[0] > 0


def test_waiting_too_long_takes_nothing_and_keeps_no_place(quotas: Quotas) -> None:
    bucket = quotas.bucket(rate=1.0)
    with pytest.raises(Throttled) as caught:
        bucket.acquire(10, 1.0, "urgent")
    assert caught.value.wait_seconds == pytest.approx(10)
    assert quotas.waited(bucket, 1)[0] == 1


def test_a_faster_clock_refills_faster(quotas: Quotas) -> None:
    assert quotas.waited(quotas.bucket(rate=1.0, factor=100.0), 10)[0] == 0.1


def test_what_is_not_counted_on_is_never_taken(quotas: Quotas) -> None:
    bucket = quotas.bucket(burst=10.0, headroom=6.0)
    quotas.time.sleep(50)
    quotas.waited(bucket, 1)[1].answered(None)
    quotas.time.sleep(50)
    assert quotas.waited(bucket, 4)[0] == 0
    assert quotas.waited(bucket, 1)[0] == 0.01


def test_an_answer_gives_back_what_the_call_did_not_use(quotas: Quotas) -> None:
    bucket = quotas.bucket()
    quotas.waited(bucket, 80)[1].answered(Quota(cost=30))
    assert quotas.waited(bucket, 50)[0] == 0


def test_a_call_that_never_left_gives_back_everything(quotas: Quotas) -> None:
    bucket = quotas.bucket()
    quotas.waited(bucket, 80)[1].never_left()
    assert quotas.waited(bucket, 80)[0] == 0


def old(quotas: Quotas) -> TokenBucket:
    """A bucket so old that no call of before it can be under way, with the vendor's plan known and nothing in it."""
    bucket = quotas.bucket()
    quotas.waited(bucket, 1)[1].answered(Quota(rate=100, size=2000))
    quotas.time.sleep(ARRIVES_WITHIN_SECONDS + 1)
    empty(quotas, bucket)
    return bucket


def empty(quotas: Quotas, bucket: TokenBucket) -> None:
    quotas.waited(bucket, 1)[1].answered(Quota(cost=1, available=0))


def test_the_vendors_word_lowers_and_raises_when_nothing_else_was_under_way(quotas: Quotas) -> None:
    bucket = old(quotas)
    quotas.waited(bucket, 10)[1].answered(Quota(cost=10, available=1500))
    waited, permit = quotas.waited(bucket, 1500)
    permit.answered(Quota(cost=1500))
    assert waited == 0
    quotas.time.sleep(5)
    empty(quotas, bucket)
    assert quotas.waited(bucket, 100)[0] == 1


def test_what_is_under_way_is_not_in_the_vendors_word(quotas: Quotas) -> None:
    bucket = old(quotas)
    _, slow = quotas.waited(bucket, 700)
    quotas.waited(bucket, 10)[1].answered(Quota(cost=10, available=1500))
    assert quotas.waited(bucket, 800)[0] == 0
    # The vendor has heard of both by now, and says so; the slow one's answer gives back what it did not need.
    slow.answered(Quota(cost=300))
    assert quotas.waited(bucket, 400)[0] == 0
    assert quotas.waited(bucket, 10)[0] == 0.1


def test_what_was_answered_meanwhile_may_not_be_in_the_vendors_word(quotas: Quotas) -> None:
    bucket = old(quotas)
    _, slow = quotas.waited(bucket, 10)
    quotas.waited(bucket, 600)[1].answered(Quota(cost=600))
    slow.answered(Quota(cost=10, available=1500))
    assert quotas.waited(bucket, 900)[0] == 0
    assert quotas.waited(bucket, 10)[0] == 0.1


def test_an_answer_out_of_order_does_not_raise(quotas: Quotas) -> None:
    bucket = old(quotas)
    _, early = quotas.waited(bucket, 10)
    empty(quotas, bucket)
    early.answered(Quota(cost=10, available=1500))
    assert quotas.waited(bucket, 100)[0] == 1


def test_an_old_low_number_takes_nothing_that_came_back_since(quotas: Quotas) -> None:
    bucket = old(quotas)
    _, early = quotas.waited(bucket, 10)
    quotas.waited(bucket, 10)[1].answered(Quota(cost=10, available=1500))
    quotas.time.sleep(8)
    early.answered(Quota(cost=10, available=5))
    assert quotas.waited(bucket, 500)[0] == 0


def test_a_forgotten_bucket_does_not_rise_before_the_calls_of_before_have_arrived(quotas: Quotas) -> None:
    bucket = old(quotas)
    with redis.Redis.from_url(quotas.url or "") as client:
        client.flushdb()
    quotas.waited(bucket, 1)[1].answered(Quota(cost=1, available=2000, rate=100, size=2000))
    assert quotas.waited(bucket, 100)[0] == 1
    quotas.time.sleep(ARRIVES_WITHIN_SECONDS)
    quotas.waited(bucket, 1)[1].answered(Quota(cost=1, available=2000))
    assert quotas.waited(bucket, 1800)[0] == 0


def test_the_brim_is_lower_by_what_the_vendor_has_not_heard_of(quotas: Quotas) -> None:
    bucket = old(quotas)
    quotas.time.sleep(100)
    _, slow = quotas.waited(bucket, 900)
    quotas.time.sleep(50)
    # The vendor's bucket has been full all the while: 1,100 is what it will have when it hears of the slow one.
    assert quotas.waited(bucket, 1100)[0] == 0
    slow.answered(Quota(cost=900))
    assert quotas.waited(bucket, 10)[0] == 0.1


def test_a_call_nobody_came_back_from_is_over_in_the_end(quotas: Quotas) -> None:
    bucket = old(quotas)
    quotas.time.sleep(100)
    for permit in [quotas.waited(bucket, 1000)[1] for _ in range(2)]:
        permit.lost()
    with pytest.raises(Throttled):
        bucket.acquire(2000, ARRIVES_WITHIN_SECONDS - 1, "urgent")
    quotas.time.sleep(ARRIVES_WITHIN_SECONDS + 20)
    assert quotas.waited(bucket, 2000)[0] == 0


def test_ordinary_calls_leave_a_reserve_that_urgent_ones_use(quotas: Quotas) -> None:
    bucket = old(quotas)
    quotas.time.sleep(20)  # full, less what the reserves of others leave
    assert quotas.waited(bucket, 1000, "background")[0] == 0
    with pytest.raises(Throttled):
        bucket.acquire(500, 0.5, "background")
    assert quotas.waited(bucket, 700, "normal")[0] == 0
    with pytest.raises(Throttled):
        bucket.acquire(200, 0.5, "normal")
    assert quotas.waited(bucket, 200, "urgent")[0] == 0


def test_an_urgent_call_goes_before_those_that_waited_longer(quotas: Quotas) -> None:
    bucket = old(quotas)
    ordinary, zero = bucket.permit(), bucket.permit()
    first = bucket.ask(ordinary, 300, "normal", 60)
    assert first == pytest.approx(5, abs=0.02)  # its own 300 and the reserve of 200
    assert bucket.ask(zero, 10, "urgent", 60) == pytest.approx(0.1, abs=0.02)
    quotas.time.sleep(0.1)
    assert bucket.ask(zero, 10, "urgent", 60) == 0
    quotas.time.sleep(first - 0.1)
    assert bucket.ask(ordinary, 300, "normal", 60) == pytest.approx(0.1, abs=0.02)


def test_those_of_one_urgency_go_in_the_order_they_came(quotas: Quotas) -> None:
    bucket = old(quotas)
    dear, cheap = bucket.permit(), bucket.permit()
    bucket.ask(dear, 500, "normal", 60)
    quotas.time.sleep(1)
    bucket.ask(dear, 500, "normal", 60)
    # A tenth of it would be there now, but not without delaying the one who came first.
    assert bucket.ask(cheap, 10, "normal", 60) > 5


def test_who_does_not_come_back_loses_the_place(quotas: Quotas) -> None:
    bucket = old(quotas)
    bucket.ask(bucket.permit(), 500, "normal", 60)
    quotas.time.sleep(7 + 3)
    assert bucket.ask(bucket.permit(), 500, "normal", 60) == 0


def test_background_calls_go_in_the_end_while_ordinary_ones_keep_coming(quotas: Quotas) -> None:
    bucket = old(quotas)
    patient, patient_at = bucket.permit(), quotas.time.now
    ordinary, ordinary_at = bucket.permit(), quotas.time.now
    ordinary_taken = 0
    for _ in range(2000):
        now = quotas.time.now
        if now >= patient_at:
            wait = bucket.ask(patient, 800, "background", 600)
            if wait == 0:
                break
            patient_at = now + wait
        if now >= ordinary_at:
            wait = bucket.ask(ordinary, 50, "normal", 600)
            if wait == 0:
                ordinary_taken += 1
                ordinary.answered(Quota(cost=50))
                ordinary, wait = bucket.permit(), 0.001
            ordinary_at = now + wait
        quotas.time.now = min(patient_at, ordinary_at)
    else:
        pytest.fail("the background call never went")
    assert ordinary_taken > 10


@pytest.mark.parametrize("url", ["redis", None])
def test_a_throttle_lets_everybody_rest(redis_url: str, url: str | None) -> None:
    quotas = Quotas(redis_url if url else None)
    bucket = quotas.bucket()
    other = quotas.bucket() if url else bucket
    quotas.time.sleep(50)
    _, slow = quotas.waited(other, 10)
    quotas.waited(bucket, 10)[1].answered(Quota(cost=0, available=0, rest_seconds=7))
    slow.answered(Quota(cost=0))
    with pytest.raises(Throttled):
        other.acquire(1, 6.0, "urgent")
    # Nothing came back meanwhile, whatever others gave back.
    waited, permit = quotas.waited(other, 10)
    assert waited == pytest.approx(7, abs=0.11)
    permit.answered(Quota(cost=10, available=0, rest_seconds=0.5))
    permit = quotas.waited(other, 1)[1]
    permit.answered(Quota(cost=0, available=0, rest_seconds=0.5))
    assert quotas.waited(bucket, 10)[0] == pytest.approx(0.6, abs=0.02)


def test_a_shorter_rest_does_not_end_a_longer_one(quotas: Quotas) -> None:
    bucket = quotas.bucket()
    quotas.time.sleep(50)
    first, second = quotas.waited(bucket, 1)[1], quotas.waited(bucket, 1)[1]
    first.answered(Quota(cost=0, available=0, rest_seconds=30))
    second.answered(Quota(cost=0, available=0, rest_seconds=1))
    assert quotas.waited(bucket, 10)[0] >= 29


def test_a_clock_that_is_set_back_leaves_nobody_in_the_way_for_an_hour(quotas: Quotas) -> None:
    bucket = old(quotas)
    quotas.time.sleep(30)
    quotas.waited(bucket, 1900)
    ordinary = bucket.permit()
    bucket.ask(ordinary, 500, "normal", 60)
    bucket.ask(bucket.permit(), 1900, "normal", 60)
    quotas.time.now -= 3600
    # The one who waits keeps on; who does not come back, and whose call nobody comes back from, is over as ever.
    assert bucket.ask(ordinary, 500, "normal", 60) > 0
    quotas.time.sleep(70)
    assert bucket.ask(ordinary, 500, "normal", 60) == 0
    assert quotas.waited(bucket, 1200)[0] == 0


def test_a_clock_that_is_set_back_does_not_silence_the_vendor(quotas: Quotas) -> None:
    bucket = old(quotas)
    quotas.waited(bucket, 10)[1].answered(Quota(cost=10, available=0, rest_seconds=8))
    quotas.time.now -= 3600
    quotas.waited(bucket, 1)[1].answered(Quota(cost=1, available=0))
    quotas.time.sleep(ARRIVES_WITHIN_SECONDS)
    quotas.waited(bucket, 1)[1].answered(Quota(cost=1, available=1900))
    assert quotas.waited(bucket, 1800)[0] == 0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("url", ["redis", None])
def test_a_rate_that_cannot_be_is_not_believed(redis_url: str, url: str | None, rate: float) -> None:
    quotas = Quotas(redis_url if url else None)
    bucket = quotas.bucket()
    quotas.waited(bucket, 5)[1].answered(Quota(cost=5, available=0, rate=rate, size=rate))
    assert quotas.waited(bucket, 10)[0] == 0.1


def test_a_call_dearer_than_the_bucket_goes_when_it_is_full(quotas: Quotas) -> None:
    assert quotas.waited(quotas.bucket(burst=10.0), 25, "background")[0] == 0.1


def call_eight_times(bucket: TokenBucket) -> None:
    for _ in range(8):
        bucket.acquire(1, 60).answered(None)


def test_redis_keeps_the_time_when_nobody_brings_one(redis_url: str) -> None:
    buckets = [TokenBucket("real-time", 200.0, 5.0, redis_url) for _ in range(4)]
    started = time.monotonic()
    threads = [
        threading.Thread(target=lambda b=b: [b.acquire(1, 60).answered(None) for _ in range(8)]) for b in buckets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 32 calls at 200 a second from an empty bucket: never less than they take to come back.
    assert time.monotonic() - started >= 0.155


def test_without_redis_a_process_paces_itself_at_half() -> None:
    quotas = Quotas(NOBODY)
    bucket = quotas.bucket()
    assert quotas.waited(bucket, 5)[0] == 0.1
    quotas.waited(bucket, 5)[1].answered(Quota(cost=5, available=2000))
    assert quotas.waited(bucket, 5)[0] == 0.1, "others may be at work: what the vendor says does not raise it"


def test_a_redis_that_goes_away_leaves_nothing_saved_up(quotas: Quotas) -> None:
    bucket = quotas.bucket()
    quotas.time.sleep(60)
    quotas.waited(bucket, 5)[1].answered(None)
    bucket._rest_until = float("inf")
    assert quotas.waited(bucket, 5)[0] == 0.1


def test_a_dead_redis_is_left_alone_for_a_while() -> None:
    quotas = Quotas(NOBODY)
    bucket, asked = quotas.bucket(rate=1e5), []

    def refused(keys: list[str], args: list[str]) -> int:
        asked.append(keys)
        raise redis.ConnectionError

    bucket._take = refused  # type: ignore[assignment]
    for _ in range(200):
        quotas.waited(bucket, 1)
    assert len(asked) == 1


def test_a_single_process_needs_no_redis() -> None:
    quotas = Quotas(None)
    bucket = quotas.bucket(burst=2000)
    waited, permit = quotas.waited(bucket, 5)
    permit.answered(Quota(cost=5))
    assert waited == 0.05
    quotas.waited(bucket, 5)[1].answered(Quota(cost=5, available=1500))
    assert quotas.waited(bucket, 1500)[0] == 0


def test_a_bucket_is_born_with_what_it_was_given_once(redis_url: str) -> None:
    """A unit of the slowest operations takes minutes to come back, and whoever asks for the first waits seconds."""
    key = f"test-{next(_names)}"

    def slow() -> TokenBucket:
        return TokenBucket(key, 0.016, 15, redis_url, headroom=8, born_with=2.5)

    assert slow().ask(slow().permit(), 1.0, "normal", 10.0) == 0
    assert slow().ask(slow().permit(), 1.0, "normal", 10.0) < 0
    alone = TokenBucket(key, 0.016, 15, None, headroom=8, born_with=2.5)
    assert alone.ask(alone.permit(), 1.0, "normal", 10.0) == 0
    assert alone.ask(alone.permit(), 1.0, "normal", 10.0) < 0
