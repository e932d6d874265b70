"""Misfortune made by the fake vendors themselves, over real connections and with the quota kept in a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.adapters.base import Deps
from core.adapters.http import ApiCall
from core.adapters.registry import make_channel
from core.ports import ChannelListing, QuantityWrite, SalesChannel
from tests.adapters.accounts import Account


@pytest.fixture
def log() -> list[ApiCall]:
    return []


@pytest.fixture
def calm(sandbox: Any) -> Iterator[Any]:
    """The sandbox's control; faults that a test leaves armed are taken back."""
    yield sandbox
    httpx.delete(f"{sandbox.base}/_control/faults", timeout=10).raise_for_status()


def _channel(account: Account, redis_url: str, log: list[ApiCall]) -> SalesChannel:
    return make_channel(account.config, Deps(log.append, redis_url, None, lambda: datetime.now(UTC)))


def _listing(channel: SalesChannel) -> ChannelListing:
    return next(iter(channel.listings()))[0]


@pytest.mark.parametrize("shop", ["sandbox"], indirect=True)
@pytest.mark.parametrize("fault", ["lost_reply", "http_500", "http_429", "expired_token"])
def test_shopify_confirms_through_one_fault_and_applies_once(
    calm: Any, shop: Account, redis_url: str, log: list[ApiCall], fault: str
) -> None:
    channel = _channel(shop, redis_url, log)
    listing = _listing(channel)
    level = listing.levels[0]
    write = QuantityWrite(1, listing.ref, listing.inventory_ref, level.location_ref, level.units, 3, f"key-{fault}")
    calm.post("/faults", {"kind": fault, "match": "graphql", "count": 1})
    assert channel.set_quantities([write])[0].outcome == "confirmed"
    assert len([call for call in log if call.operation == "set_quantities"]) == 2
    assert channel.levels([listing.inventory_ref or ""])[0].units == 3


@pytest.mark.parametrize("seller", ["sandbox"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "outcome", "sent"),
    [
        ("lost_reply", "unknown", 1),
        ("http_500", "unknown", 1),
        ("http_429", "accepted", 2),
        ("expired_token", "accepted", 2),
    ],
)
def test_amazon_never_sends_twice_what_may_have_arrived(
    calm: Any, seller: Account, redis_url: str, log: list[ApiCall], fault: str, outcome: str, sent: int
) -> None:
    channel = _channel(seller, redis_url, log)
    sku = _listing(channel).ref
    calm.post("/faults", {"kind": fault, "match": "PATCH", "count": 1})
    (result,) = channel.set_quantities([QuantityWrite(1, sku, None, "", None, 3, "key")])
    assert result.outcome == outcome
    assert len([call for call in log if call.operation == "patchListingsItem"]) == sent


@pytest.mark.parametrize("shop", ["sandbox"], indirect=True)
def test_a_vendor_that_is_gone_leaves_writes_unsent(shop: Account, redis_url: str, log: list[ApiCall]) -> None:
    gone = Account(
        "gone",
        "shopify",
        type(shop.config)(1, 1, "shopify", "http://127.0.0.1:1", "gone", "GBP", {}, shop.config.secrets),
        shop.network,
        None,
    )
    channel = make_channel(
        gone.config, Deps(log.append, redis_url, None, lambda: datetime.now(UTC), lambda seconds: None)
    )
    (result,) = channel.set_quantities([QuantityWrite(1, "1", "2", "3", 1, 2, "k")])
    assert result.outcome == "unsent"
    assert {call.outcome for call in log} == {"error"}
