"""Nothing that changes anything leaves while it is held: asked anew before each attempt, whatever was said before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import httpx
import pytest

from core.adapters.base import Deps
from core.adapters.http import ApiCall
from core.adapters.registry import make_channel
from core.ports import Effect, QuantityWrite, SalesChannel
from tests.adapters.accounts import Account, amazon_account, shopify_account
from tests.adapters.canned_amazon import CannedSeller
from tests.adapters.canned_shopify import CannedShop

WHY = "Ada stopped the writes of this connection: a test"


@dataclass
class Switch:
    """What may leave, by turns; the last answer over and over."""

    answers: list[tuple[Effect, ...]]
    asked: list[Effect] = field(default_factory=list)

    def __call__(self, effect: Effect) -> str | None:
        self.asked.append(effect)
        allowed = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return None if effect in allowed else WHY


def channel_of(account: Account, switch: Switch) -> SalesChannel:
    log: list[ApiCall] = account.log
    deps = Deps(log.append, None, account.network, lambda: datetime.now(UTC), lambda seconds: None, held=switch)
    return make_channel(account.config, deps)


@pytest.fixture(params=["shopify", "amazon"])
def account(request: pytest.FixtureRequest) -> Account:
    made = shopify_account(CannedShop()) if request.param == "shopify" else amazon_account(CannedSeller())
    # A token of its own: those of other tests' accounts are kept by their network.
    return replace(made, config=replace(made.config, account_ref=f"{request.param}-{id(made)}"))


def a_write(channel: SalesChannel) -> QuantityWrite:
    listing = next(iter(channel.listings()))[0]
    from_units = listing.levels[0].units if channel.guarantee_class == "A" else None
    return QuantityWrite(1, listing.ref, listing.inventory_ref, listing.levels[0].location_ref, from_units, 3, "key-1")


def write_calls(account: Account) -> int:
    return sum(call.operation in ("set_quantities", "patchListingsItem") for call in account.log)


def test_a_held_write_is_unsent_and_reading_goes_on(account: Account) -> None:
    switch = Switch([()])
    channel = channel_of(account, switch)
    write = a_write(channel)
    assert switch.asked == []
    (result,) = channel.set_quantities([write])
    assert (result.outcome, result.code, result.detail) == ("unsent", "WRITES_STOPPED", WHY)
    assert write_calls(account) == 0
    assert channel.levels([write.inventory_ref or write.listing_ref])[0].units != 3


def test_a_write_that_may_have_left_before_it_was_held_stays_unknown() -> None:
    account = shopify_account(CannedShop())
    channel = channel_of(account, Switch([("shop",), ()]))
    write = a_write(channel)
    account.network.plan("lost_reply", "inventorySetQuantities")
    (result,) = channel.set_quantities([write])
    assert (result.outcome, write_calls(account)) == ("unknown", 1)


def test_a_write_that_was_throttled_first_is_asked_for_again_and_held() -> None:
    account = shopify_account(CannedShop())
    channel = channel_of(account, Switch([("shop",), ()]))
    write = a_write(channel)
    account.network.plan("throttled", "inventorySetQuantities")
    (result,) = channel.set_quantities([write])
    assert (result.outcome, result.code, write_calls(account)) == ("unsent", "WRITES_STOPPED", 1)


def test_in_shadow_mode_a_channel_may_be_asked_to_call_us() -> None:
    account = shopify_account(CannedShop())
    switch = Switch([("subscription",)])
    channel_of(account, switch).ensure_subscriptions("https://ours.test/webhooks/shopify/1")
    assert set(switch.asked) == {"subscription"}
    assert any(call.operation == "subscribe" for call in account.log)


def test_while_an_earlier_attempt_still_runs_a_stop_proves_nothing() -> None:
    account = shopify_account(CannedShop())
    channel = channel_of(account, Switch([("shop",), ()]))
    write = a_write(channel)
    error = {"code": "IDEMPOTENCY_CONCURRENT_REQUEST", "field": None, "message": "still running"}
    still = {"data": {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": [error]}}}
    account.network.inner = httpx.MockTransport(lambda request: httpx.Response(200, json=still))
    (result,) = channel.set_quantities([write])
    assert (result.outcome, write_calls(account)) == ("unknown", 1)
