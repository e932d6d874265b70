"""Orders that hold stock when a shop is connected: found once each, and only those that hold something."""

from __future__ import annotations

from datetime import timedelta

from core.adapters.shopify import access
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import CannedShop


def test_open_orders_are_found_once_though_the_words_for_them_overlap() -> None:
    canned = CannedShop()
    canned.place_order("1", 2)
    canned.place_order("2", 1)
    canned.orders[1]["cancelledAt"] = "2026-11-20T10:00:00Z"
    canned.place_order("3", 1, fulfilments=1)
    for shipment in canned.orders[2]["fulfilments"]:
        shipment["status"] = "SUCCESS"
    account = shopify_account(canned)
    found = [ref for page in account.channel().open_orders() for ref, _, _ in page.orders]
    assert found == ["1"]
    assert {call.operation for call in account.log if "order" in call.operation} == {"open_orders"}
    asked = [body["variables"]["query"] for body in account.network.bodies("query Orders")]
    assert all(query.startswith("status:open fulfillment_status:") for query in asked)
    assert len(set(asked)) == len(asked) > 1


def test_the_newest_change_of_an_order_tells_how_far_the_shops_clock_is() -> None:
    canned = CannedShop()
    channel = shopify_account(canned).channel()
    assert channel.newest_order_change_at() is None
    canned.place_order("1", 1, at="2026-11-20T10:00:00Z")
    canned.place_order("2", 1, at="2026-11-20T11:00:00Z")
    canned.orders[0]["updatedAt"] = "2026-11-20T11:30:00Z"
    newest_at = channel.newest_order_change_at()
    assert newest_at is not None
    assert newest_at.isoformat() == "2026-11-20T11:30:00+00:00"


def test_old_orders_are_hidden_without_the_scope_for_all() -> None:
    assert shopify_account(CannedShop()).channel().orders_horizon() == timedelta(days=60)
    allowed = CannedShop(scopes=["read_orders", access.READ_ALL_ORDERS])
    assert shopify_account(allowed).channel().orders_horizon() is None
