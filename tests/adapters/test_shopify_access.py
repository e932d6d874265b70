"""Whose shop it is, and what our app may do there."""

from __future__ import annotations

from datetime import UTC, datetime

from core.adapters.shopify import access
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import CannedShop


def test_the_shop_says_who_it_is() -> None:
    about = shopify_account(CannedShop()).channel().about()
    assert (about.ref, about.name, about.currency, about.time_zone, about.plan) == (
        "shop.test",
        "Mugs",
        "GBP",
        "Europe/London",
        "Basic",
    )
    assert (about.api_version, about.supported_until) == ("2026-10", datetime(2027, 10, 1, 17, tzinfo=UTC))


def test_a_scope_that_was_not_granted_is_named_with_what_it_is_for() -> None:
    about = shopify_account(CannedShop()).channel().about()
    assert about.missing == {"read_orders": access.NEEDED["read_orders"]}
    assert set(about.advised) == set(access.ADVISED)


def test_whoever_may_write_may_read() -> None:
    scopes = [*(scope for scope in access.NEEDED if scope != "read_inventory"), *access.ADVISED]
    about = shopify_account(CannedShop(scopes=scopes)).channel().about()
    assert "read_inventory" in (about.granted or ())
    assert (about.missing, about.advised) == ({}, {})
