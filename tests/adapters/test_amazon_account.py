"""Whose account it is: regions, marketplaces, roles, and what Login with Amazon says of credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from core.adapters.amazon import marketplaces
from core.adapters.amazon.client import _quota_of
from core.adapters.amazon.errors import TOKEN_ERRORS
from core.adapters.amazon.marketplaces import MARKETPLACES, REGIONS, UnknownMarketplace
from core.adapters.amazon.operations import OPERATIONS
from core.adapters.amazon.roles import LISTING, ORDERS, ROLES, RoleMissing
from core.adapters.http import Unauthorised
from core.connections import checkup
from core.connections.checkup import Finding, Probe
from core.ports import ChannelAccount, QuantityWrite
from tests.adapters.accounts import amazon_account
from tests.adapters.canned_amazon import HERE, CannedSeller, market
from tests.factories import NOW


def findings(account: ChannelAccount, about: str, currency: str = "GBP") -> list[Finding]:
    found = checkup.of_probe(Probe(account, None, None, None), "ATEST", currency, NOW)
    return [each for each in found if each.about == about]


def test_trap_hosts_the_sandbox_is_the_same_host_with_a_word_in_front() -> None:
    assert REGIONS["eu"].base_url == "https://sellingpartnerapi-eu.amazon.com"
    assert REGIONS["eu"].test_url == "https://sandbox.sellingpartnerapi-eu.amazon.com"
    for region in REGIONS.values():
        assert marketplaces.region_at(region.base_url) == marketplaces.region_at(region.test_url) == region
    assert marketplaces.region_at("http://127.0.0.1:8502/amazon") is None


def test_trap_hosts_every_marketplace_has_the_region_of_its_host_and_queue() -> None:
    where = {place.country: REGIONS[place.region] for place in MARKETPLACES.values()}
    assert len(where) == len(MARKETPLACES) == 23
    for region, countries, aws in [
        ("na", "CA US MX BR", "us-east-1"),
        ("eu", "IE ES GB FR BE NL DE IT SE ZA PL SA EG TR AE IN", "eu-west-1"),
        ("fe", "SG AU JP", "us-west-2"),
    ]:
        assert {where[country].code for country in countries.split()} == {region}
        assert REGIONS[region].aws_region == aws


@pytest.mark.parametrize("said", [HERE, HERE.lower(), " uk", "GB", "gb "])
def test_a_marketplace_is_found_by_id_or_country(said: str) -> None:
    assert marketplaces.find(said).ref == HERE
    assert marketplaces.find(said).currency == "GBP"


def test_what_names_no_marketplace_is_said_with_what_does() -> None:
    with pytest.raises(UnknownMarketplace, match=r"Narnia is no marketplace .* one of AE, AU, .*--region"):
        marketplaces.find(" Narnia")


def test_the_account_is_the_real_answer() -> None:
    canned = CannedSeller(markets=[market("A1PA6795UKMFR9", "Amazon.de", "EUR"), market(HERE, "Amazon.co.uk", "GBP")])
    about = amazon_account(canned).channel().about()
    assert (about.name, about.currency, about.market_ref, about.right) == ("Canned Goods", "GBP", HERE, "role")
    (found,) = findings(about, "marketplace")
    assert (found.state, found.says) == ("ok", "the seller takes part in Amazon.co.uk, as in 1 more of the region")
    assert [each.state for each in findings(about, "roles")] == ["ok"]


@pytest.mark.parametrize(
    ("markets", "state", "says", "step"),
    [
        ([market("ATVPDKIKX0DER", "Amazon.com", "USD")], "problem", "no marketplace A1F83G8C2ARO7P in this region",
         r"takes part in Amazon.com \(ATVPDKIKX0DER\)"),
        ([market(HERE, "Amazon.co.uk", "GBP", takes_part=False)], "problem", "does not take part in Amazon.co.uk",
         "takes part in none here"),
        ([market(HERE, "Amazon.co.uk", "GBP", suspended=True)], "warning", "listings are suspended", "health"),
    ],
)  # fmt: skip
def test_where_the_seller_does_not_sell_is_said(
    markets: list[dict[str, object]], state: str, says: str, step: str
) -> None:
    (found,) = findings(amazon_account(CannedSeller(markets=markets)).channel().about(), "marketplace")
    assert found.state == state
    assert says in found.says
    assert re.search(step, found.next_step or "")


def test_another_currency_than_the_shops_is_said() -> None:
    about = amazon_account(CannedSeller()).channel().about()
    (found,) = findings(about, "currency", "EUR")
    assert (found.state, found.says) == ("problem", "it sells in GBP, and the shop here thinks in EUR")


def test_trap_auth_a_role_that_is_missing_is_told_from_a_token_that_expired() -> None:
    """Both are 403: only to a token that was just given it means the role, and the operation is named with it."""
    canned = CannedSeller(refused=("/orders/",))
    account = amazon_account(canned)
    about = account.channel().about()
    assert set(about.missing) == {ORDERS}
    (found,) = [each for each in findings(about, "roles") if each.state == "problem"]
    assert "Inventory and Order Tracking is not granted: it is needed to know what it sold (getOrder)" in found.says
    assert "authorise the app again" in (found.next_step or "")
    assert canned.tokens == 2


def test_another_sellers_id_is_told_from_a_role_that_is_missing() -> None:
    """The participations are of whoever authorised the app, and need the same role as the listings."""
    about = amazon_account(CannedSeller(refused=("/listings/",))).channel().about()
    (found,) = [each for each in findings(about, "roles") if each.state == "problem"]
    assert "this seller ID is not the one that authorised the app, or the role is missing" in found.says
    assert "merchant token" in (found.next_step or "")
    # Orders are refused besides: then it is no matter of the seller's ID.
    about = amazon_account(CannedSeller(refused=("/listings/", "/orders/"))).channel().about()
    assert not any("authorised the app, or" in each.says for each in findings(about, "roles"))


def test_what_is_no_shop_for_buyers_is_no_marketplace_that_sells() -> None:
    places = [
        market(HERE, "Amazon.co.uk", "GBP"),
        market("A1PA6795UKMFR9", "Amazon.de", "EUR", takes_part=False),
        market("AZMDEXL2RVFNN", "Non-Amazon UK", "GBP"),
    ]
    channel = amazon_account(CannedSeller(markets=places)).channel()
    assert channel.markets() == channel.about().sells_in == (HERE,)


def test_quota_is_the_applications_and_the_sellers_whatever_connections_they_have() -> None:
    config = amazon_account(CannedSeller()).config
    config = replace(config, secrets={**config.secrets, "client_id": "amzn1.app.SECRETIVE"})

    def key(scope: str | None = None, **changed: object) -> str:
        return _quota_of(replace(config, **changed), scope)  # type: ignore[arg-type]

    assert (
        key() == key(connection_id=7) == key(shop_id=9, connection_id=8) == key(account_ref=config.account_ref.lower())
    )
    others = {"client_id": "another"}
    assert len({key(), key(account_ref="B"), key(secrets=others), key(base_url="https://na.test")}) == 4
    assert key("s") == key("s", account_ref="B") != key("s", secrets=others)
    assert "SECRETIVE" not in key() + key("s")


def test_trap_auth_an_expired_token_is_renewed_and_nobody_hears_of_it() -> None:
    canned = CannedSeller()

    def once_expired(request: httpx.Request) -> httpx.Response:
        if request.headers.get("x-amz-access-token") == "a1":
            error = {"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": "expired"}
            return httpx.Response(403, json={"errors": [error]})
        return canned(request)

    about = amazon_account(once_expired).channel().about()
    assert (about.missing, canned.tokens) == ({}, 2)


def test_nothing_at_all_that_is_allowed_is_no_matter_of_one_role() -> None:
    account = amazon_account(CannedSeller(refused=("/",)))
    with pytest.raises(RoleMissing, match="or the account is one of another region"):
        account.channel().about()


def test_a_write_that_no_role_allows_is_refused_with_operation_and_role() -> None:
    account = amazon_account(CannedSeller(refused=("/items/",)))
    (result,) = account.channel().set_quantities([QuantityWrite(1, "SKU 3/%", None, "", None, 7, "k")])
    assert (result.outcome, result.code) == ("refused", "UNAUTHORISED")
    assert LISTING in (result.detail or "")


def test_every_operation_of_the_sellers_has_its_roles() -> None:
    assert {name for name, operation in OPERATIONS.items() if operation.scope is None} <= ROLES.keys()
    assert ROLES.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unauthorized_client"])
def test_trap_auth_what_login_with_amazon_refuses_is_said_with_what_to_do(code: str) -> None:
    account = amazon_account(_no_token(code, 401 if code == "invalid_client" else 400))
    with pytest.raises(Unauthorised) as refused:
        account.channel().about()
    assert not isinstance(refused.value, RoleMissing)
    assert f"{code}: {TOKEN_ERRORS[code]}" in str(refused.value)
    assert "enter" in TOKEN_ERRORS[code]
    for secret in account.config.secrets.values():
        assert f" {secret} " not in f" {refused.value.reason.partition(':')[0]} "


def _no_token(code: str, status: int) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path.endswith("/auth/o2/token")
        return httpx.Response(status, json={"error": code, "error_description": "refresh"})

    return answer


def test_trap_auth_no_request_is_signed_as_in_the_days_of_iam() -> None:
    account = amazon_account(CannedSeller())
    account.channel().about()
    calls = [request for request in account.network.seen if not request.url.path.endswith("/token")]
    assert calls
    for request in calls:
        assert not {"authorization", "x-amz-date", "x-amz-security-token"} & set(request.headers)
        assert request.headers["x-amz-access-token"]
        assert "Language=" in request.headers["user-agent"]


def test_every_operation_knows_the_version_of_its_api() -> None:
    versions = {name: operation.version for name, operation in OPERATIONS.items()}
    assert all(re.fullmatch(r"v\d|20\d\d-\d\d-\d\d", version) for version in versions.values()), versions
    assert (versions["getInventorySummaries"], versions["confirmShipment"]) == ("v1", "v0")
