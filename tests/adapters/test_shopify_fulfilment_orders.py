"""What a shop wants to be shipped from where."""

from __future__ import annotations

import pytest

from core.adapters.http import Unauthorised
from core.ports import ChannelFulfilmentOrderLine
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import LOCATION, CannedShop

SCOPES = ["read_orders", "read_merchant_managed_fulfillment_orders"]


def test_they_come_with_their_place_their_holds_and_what_remains() -> None:
    canned = CannedShop(scopes=SCOPES)
    canned.route("9007199254740993", 2, holds=("AWAITING_PAYMENT", "INCORRECT_ADDRESS"))
    canned.route("9007199254740993", 1, place=None)
    held, gone = shopify_account(canned).channel().fulfilment_orders("9007199254740993")
    assert (held.ref, held.order_ref, held.status, held.request_status) == (
        "1",
        "9007199254740993",
        "on_hold",
        "unsubmitted",
    )
    assert (held.location_ref, held.location_name) == (LOCATION, "Warehouse")
    assert held.holds == ("awaiting_payment", "incorrect_address")
    assert held.lines[1] == ChannelFulfilmentOrderLine("1001", "9007199254740993001", 2, 1)
    assert (gone.location_ref, gone.holds, gone.status) == (None, (), "open")


def test_all_of_them_are_read_with_all_their_lines() -> None:
    canned = CannedShop(scopes=SCOPES)
    for _ in range(11):
        canned.route("5", 3)
    canned.route("5", 512)
    found = shopify_account(canned).channel().fulfilment_orders("5")
    assert [len(one.lines) for one in found] == [3] * 11 + [512]
    assert len({line.ref for line in found[-1].lines}) == 512


def test_before_the_order_is_routed_there_are_none() -> None:
    canned = CannedShop(scopes=SCOPES)
    assert shopify_account(canned).channel().fulfilment_orders("5") == []


def test_none_for_want_of_a_scope_is_not_none() -> None:
    canned = CannedShop(scopes=["read_orders"])
    canned.route("5", 1)
    channel = shopify_account(canned).channel()
    for _ in range(2):
        with pytest.raises(Unauthorised, match="read_merchant_managed_fulfillment_orders"):
            channel.fulfilment_orders("5")


def test_the_orders_behind_them_are_found_each_once() -> None:
    canned = CannedShop(scopes=SCOPES)
    for _ in range(2):
        canned.route("5", 1)
    canned.route("6", 1)
    assert shopify_account(canned).channel().orders_behind(["1", "2", "3", "99"]) == ["5", "6"]


def test_some_orders_are_read_as_polls_read_them() -> None:
    canned = CannedShop()
    for ref in ("1", "2", "3", "4", "5"):
        canned.place_order(ref, 14)
    channel = shopify_account(canned).channel()
    found = [order for page in channel.orders(["5", "1", "404", "2", "3", "5"]) for order in page]
    assert [ref for ref, _, _ in found] == ["5", "1", "2", "3"]
    for _, version, body in found:
        facts = channel.parse("poll/orders", body, None)
        assert facts is not None
        assert (facts.orders[0].version_at, len(facts.orders[0].lines)) == (version, 14)
