"""Tokens that expire."""

from __future__ import annotations

import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import redis

from core.adapters.http import ServerFault, Throttled, Unauthorised, Unreachable
from core.adapters.probing import Overhearing
from core.adapters.tokens import Refusals, Token, TokenProvider
from tests.adapters.accounts import shopify_account


class Issuer:
    """Issues t1, t2, ... that live an hour, at a time of the test's choosing."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.issued = 0

    def fetch(self) -> Token:
        time.sleep(0.01)
        self.issued += 1
        return Token(f"t{self.issued}", timedelta(hours=1))


_keys = itertools.count()


def make() -> tuple[Issuer, TokenProvider]:
    issuer = Issuer()
    return issuer, TokenProvider(("test", next(_keys)), issuer.fetch, lambda: issuer.now)


def test_renewed_before_it_dies() -> None:
    issuer, tokens = make()
    assert tokens.get() == "t1"
    issuer.now += timedelta(minutes=54)
    assert tokens.get() == "t1"
    issuer.now += timedelta(minutes=2)
    assert tokens.get() == "t2"


def test_only_the_refused_token_is_dropped() -> None:
    _, tokens = make()
    tokens.get()
    tokens.drop("an older one")
    assert tokens.get() == "t1"
    tokens.drop("t1")
    assert tokens.get() == "t2"


def test_threads_fetch_once() -> None:
    issuer, tokens = make()
    threads = [threading.Thread(target=tokens.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert issuer.issued == 1


def test_a_token_does_not_show() -> None:
    issuer, _ = make()
    assert "t1" not in repr(issuer.fetch())


def test_when_a_token_dies_can_be_shown_without_it() -> None:
    issuer, tokens = make()
    assert tokens.expires_at() is None
    tokens.get()
    assert tokens.expires_at() == issuer.now + timedelta(hours=1)
    issuer.now += timedelta(minutes=57)
    tokens.get()
    assert tokens.expires_at() == issuer.now + timedelta(hours=1)


def test_a_token_of_a_day_is_renewed_five_minutes_before_its_end() -> None:
    issuer, tokens = make()
    tokens.fetch = lambda: Token(issuer.fetch().value, timedelta(hours=24))
    tokens.get()
    issuer.now += timedelta(hours=23, minutes=54)
    assert tokens.get() == "t1"
    issuer.now += timedelta(minutes=2)
    assert tokens.get() == "t2"


class Vendor(Issuer):
    """Refuses the credentials for as long as it is told to."""

    refuses = True
    asked = 0

    def fetch(self) -> Token:
        self.asked += 1
        if self.refuses:
            raise Unauthorised("shopify.token", "invalid_client")
        return super().fetch()


def workers(redis_url: str, count: int) -> tuple[Vendor, list[TokenProvider]]:
    """As processes have them: each with a memory of its own, and one Redis."""
    vendor, name = Vendor(), next(_keys)
    refusals = Refusals("shopify.token", ("test", name, "shared"), redis_url)
    return vendor, [TokenProvider(("test", name, n), vendor.fetch, lambda: vendor.now, refusals) for n in range(count)]


def test_refused_credentials_are_not_hammered_by_any_worker(redis_url: str) -> None:
    vendor, providers = workers(redis_url, 3)
    asked = []
    for _ in range(240):
        for tokens in providers:
            with pytest.raises(Unauthorised, match="invalid_client"):
                tokens.get()
        asked.append(vendor.asked)
        vendor.now += timedelta(seconds=5)
    # Rests of 5, 10, 20, 40, 80, 160 and then 300 seconds.
    assert [asked[second // 5] for second in (0, 5, 10, 15, 30, 35)] == [1, 2, 2, 3, 3, 4]
    assert asked[-1] == 9


def test_credentials_that_are_accepted_again_begin_anew(redis_url: str) -> None:
    vendor, (tokens, other) = workers(redis_url, 2)
    with pytest.raises(Unauthorised, match="invalid_client"):
        tokens.get()
    vendor.refuses = False
    with pytest.raises(Unauthorised, match="invalid_client; tried again in 5 s, or with other credentials"):
        other.get()
    vendor.now += timedelta(seconds=5)
    assert other.get() == "t1"
    assert tokens.get() == "t2"


def test_a_vendor_that_is_away_is_no_refusal(redis_url: str) -> None:
    vendor, (tokens,) = workers(redis_url, 1)
    tokens.fetch = unreachable
    for _ in range(3):
        with pytest.raises(Unreachable):
            tokens.get()
    tokens.fetch = vendor.fetch
    vendor.refuses = False
    assert tokens.get() == "t1"


def unreachable() -> Token:
    raise Unreachable("shopify.token", "nobody listens")


def test_nothing_of_credentials_or_tokens_is_kept_in_redis(redis_url: str) -> None:
    vendor, _ = workers(redis_url, 1)
    refusals = Refusals("shopify.token", ("shopify", "client_secret-in-clear"), redis_url)
    refusals.note(Unauthorised("shopify.token", "invalid_client"), vendor.now)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        kept = [f"{name} {client.get(name)}" for name in client.scan_iter()]
    assert len(kept) == 1
    assert "in-clear" not in kept[0]


def test_without_redis_nobody_rests() -> None:
    vendor, name = Vendor(), next(_keys)
    refusals = Refusals("shopify.token", name, "redis://127.0.0.1:1/0")
    tokens = TokenProvider(("test", name), vendor.fetch, lambda: vendor.now, refusals)
    with pytest.raises(Unauthorised):
        tokens.get()
    vendor.refuses = False
    assert tokens.get() == "t1"


@pytest.mark.parametrize(
    "answer",
    [
        {"expires_in": 1e12},
        {"expires_in": float("inf")},
        {"expires_in": float("nan")},
        {"expires_in": 0},
        {"expires_in": "soon"},
        {"expires_in": True},
        {"access_token": "t\xf6ken"},
        {"access_token": "a\nb"},
        {"access_token": ""},
    ],
)
def test_a_token_that_cannot_be_used_is_a_fault_of_the_vendor(answer: dict[str, object]) -> None:
    body = json.dumps({"access_token": "t", "expires_in": 3600, **answer})
    account = shopify_account(lambda _request: httpx.Response(200, text=body))
    with pytest.raises(ServerFault):
        account.channel().about()
    assert {(call.operation, call.outcome) for call in account.log} == {("shopify.token", "error")}
    with httpx.Client(transport=Overhearing(account._now, httpx.MockTransport(account.control))) as client:
        assert client.get("https://shop.test").status_code == 200


def test_a_vendor_that_is_asked_for_tokens_too_fast_is_left_alone_by_every_worker(redis_url: str) -> None:
    vendor, (tokens, other) = workers(redis_url, 2)
    vendor.refuses = False

    def throttled() -> Token:
        vendor.asked += 1
        raise Throttled("shopify.token", 30.0)

    tokens.fetch = other.fetch = throttled
    for provider in (tokens, other):
        with pytest.raises(Throttled) as caught:
            provider.get()
        assert caught.value.wait_seconds == pytest.approx(30)
    assert vendor.asked == 1
    vendor.now += timedelta(seconds=30)
    other.fetch = vendor.fetch
    assert other.get() == "t1"
