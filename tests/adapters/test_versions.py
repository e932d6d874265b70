"""Which version of its API a vendor answered with, beside the one that was asked for; and what it warns of."""

from __future__ import annotations

import httpx

from core.adapters.registry import API_VERSIONS
from tests.adapters.accounts import amazon_account, shopify_account
from tests.adapters.canned_amazon import CannedSeller
from tests.adapters.canned_shopify import CannedShop


def test_a_version_that_fell_forward_is_on_record_with_what_is_deprecated() -> None:
    shop = CannedShop()

    def forward(request: httpx.Request) -> httpx.Response:
        answer = shop(request)
        answer.headers["X-Shopify-API-Version"] = "2027-10"
        answer.headers["X-Shopify-API-Deprecated-Reason"] = "Shop.products"
        return answer

    account = shopify_account(forward)
    account.channel().locations()
    call = account.log[-1]
    assert (call.asked_version, call.api_version) == (API_VERSIONS["shopify"], "2027-10")
    assert call.deprecation == "Shop.products"
    # Fetching a token has no version.
    assert {one.asked_version for one in account.log if one.operation == "shopify.token"} == {None}


def test_a_version_that_answers_is_the_one_asked_for() -> None:
    shopify, amazon = shopify_account(CannedShop()), amazon_account(CannedSeller())
    shopify.channel().locations()
    amazon.channel().listing_count()
    for account in (shopify, amazon):
        assert account.log[-1].asked_version == account.log[-1].api_version == API_VERSIONS[account.vendor]
