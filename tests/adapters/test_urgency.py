"""How urgent a call is: said by whoever makes it, and heeded by every worker of the quota."""

from __future__ import annotations

import pytest

from core.adapters.base import urgency_of
from core.adapters.http import Urgency
from core.adapters.limits import BucketPermit, TokenBucket
from core.ports import QuantityWrite
from tests.adapters.accounts import amazon_account, shopify_account
from tests.adapters.canned_amazon import CannedSeller
from tests.adapters.canned_shopify import LOCATION, CannedShop


def write(from_units: int | None, to_units: int, *, is_doubtful: bool = False) -> QuantityWrite:
    return QuantityWrite(1, "SKU 1/%", "5000", LOCATION, from_units, to_units, "k", is_doubtful)


@pytest.mark.parametrize(
    ("writes", "urgency"),
    [
        ([write(10, 0)], "urgent"),
        ([write(None, 0)], "urgent"),
        ([write(10, 9)], "urgent"),
        ([write(10, 11)], "normal"),
        ([write(None, 5)], "normal"),
        ([write(10, 11), write(10, 9)], "urgent"),
        ([write(10, 11, is_doubtful=True)], "urgent"),
        ([], "normal"),
    ],
)
def test_what_lowers_or_is_in_doubt_is_urgent(writes: list[QuantityWrite], urgency: Urgency) -> None:
    assert urgency_of(writes) == urgency


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Urgency]]:
    """(bucket, urgency) of every call that asked for quota."""
    found: list[tuple[str, Urgency]] = []
    acquire = TokenBucket.acquire

    def note(bucket: TokenBucket, cost: float, wait_at_most: float, urgency: Urgency = "normal") -> BucketPermit:
        found.append((bucket.key.rpartition(":")[2], urgency))
        return acquire(bucket, cost, wait_at_most, urgency)

    monkeypatch.setattr(TokenBucket, "acquire", note)
    return found


def test_shopify_says_how_urgent_its_calls_are(asked: list[tuple[str, Urgency]]) -> None:
    channel = shopify_account(CannedShop()).channel()
    channel.locations()
    channel.set_quantities([write(10, 11)])
    channel.set_quantities([write(11, 0)])
    channel.levels(["5000"])
    list(channel.listings())
    assert [urgency for _, urgency in asked][:4] == ["normal", "normal", "urgent", "normal"]
    assert {urgency for _, urgency in asked[4:]} == {"background"}


def test_amazon_says_how_urgent_its_calls_are(asked: list[tuple[str, Urgency]]) -> None:
    channel = amazon_account(CannedSeller()).channel()
    channel.set_quantities([write(None, 5)])
    channel.set_quantities([write(None, 0)])
    assert asked == [("patchListingsItem", "normal"), ("patchListingsItem", "urgent")]


@pytest.mark.parametrize("vendor", ["shopify", "amazon"])
def test_levels_that_nobody_waits_for_take_what_others_leave(asked: list[tuple[str, Urgency]], vendor: str) -> None:
    account = shopify_account(CannedShop()) if vendor == "shopify" else amazon_account(CannedSeller())
    channel = account.channel()
    channel.locations()
    asked.clear()
    channel.levels(["5000"] if vendor == "shopify" else ["SKU 1/%", "RED, LARGE"], in_background=True)
    assert {urgency for _, urgency in asked} == {"background"}
