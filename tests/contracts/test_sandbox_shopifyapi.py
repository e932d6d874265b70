"""The vendor's own client judges the sandbox: sessions, queries, writes, quota and scopes through ShopifyAPI as it is.

It knows shops by their name only, so it is led to the sandbox by a proxy setting, and speaks http as it may be told to.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import shopify

from tests.sandbox.outside import SET, Outside, ShopSide

VERSION = "2026-10"
LEVEL = """query Level($item: ID!) { inventoryItem(id: $item) { inventoryLevels(first: 1) { nodes {
    quantities(names: ["available"]) { quantity } } } } }"""
DEAR = "{ productVariants(first: 200) { nodes { id product { id } inventoryItem { id } } } }"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    running = Outside(tmp_path_factory.mktemp("judged")).start()
    running.post("/clock", virtual=True)
    proxy = urllib.request.ProxyHandler({"http": running.url})
    urllib.request.install_opener(urllib.request.build_opener(proxy))
    shopify.Session.setup(protocol="http")
    yield running
    shopify.ShopifyResource.clear_session()
    shopify.Session.setup(protocol="https")
    urllib.request.install_opener(urllib.request.build_opener())
    running.stop()


@pytest.fixture(scope="module")
def side(outside: Outside) -> ShopSide:
    """The same shop from behind: what staff do, and what there is."""
    shop = outside.shop(plan="standard")
    shop.stock(*[f"S{number}" for number in range(200)])
    return shop


def granted(side: ShopSide) -> dict[str, Any]:
    """The client-credentials grant, which this client leaves to its user."""
    names = ("client_id", "client_secret")
    fields = {name: side.entry[name] for name in names} | {"grant_type": "client_credentials"}
    url = f"http://{side.domain}/admin/oauth/access_token"
    with urllib.request.urlopen(url, urllib.parse.urlencode(fields).encode()) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture
def session(side: ShopSide) -> Iterator[shopify.Session]:
    grant = granted(side)
    made = shopify.Session(side.domain, VERSION, grant["access_token"], grant["scope"])
    shopify.ShopifyResource.activate_session(made)
    yield made
    shopify.ShopifyResource.clear_session()


def run(query: str, variables: dict[str, Any] | None = None, name: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shopify.GraphQL().execute(query, variables, name))
    return found


def test_a_session_with_a_granted_token_asks_about_its_shop(side: ShopSide, session: shopify.Session) -> None:
    assert session.valid
    assert session.site == f"http://{side.domain}/admin/api/{VERSION}"
    answer = run("{ shop { name myshopifyDomain currencyCode plan { publicDisplayName } } }")
    assert answer["data"]["shop"]["myshopifyDomain"] == side.domain
    assert answer["extensions"]["cost"]["throttleStatus"]["restoreRate"] == 100.0


def test_the_client_reads_the_scopes_that_the_grant_told(side: ShopSide, session: shopify.Session) -> None:
    listed = [scope.handle for scope in shopify.AccessScope.find()]
    assert shopify.ApiAccess(listed) == session.access_scopes
    assert session.access_scopes.covers(shopify.ApiAccess("read_inventory,write_inventory,read_orders"))
    assert not session.access_scopes.covers(shopify.ApiAccess("write_locations"))


def test_the_client_sets_quantities_once_per_key(side: ShopSide, session: shopify.Session) -> None:
    item = side.stock("S0")["S0"]
    element = side.element(item, 3, 10)
    given = {"name": "available", "reason": "correction", "quantities": [element]}
    first = run(SET, {"input": given, "key": "by-the-client"})["data"]["inventorySetQuantities"]
    assert first["userErrors"] == []
    again = run(SET, {"input": given, "key": "by-the-client"})["data"]["inventorySetQuantities"]
    assert again["inventoryAdjustmentGroup"]["id"] == first["inventoryAdjustmentGroup"]["id"]
    other = given | {"quantities": [side.element(item, 4, 3)]}
    mismatch = run(SET, {"input": other, "key": "by-the-client"})["data"]["inventorySetQuantities"]
    assert [error["code"] for error in mismatch["userErrors"]] == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    found = run(LEVEL, {"item": item}, "Level")["data"]["inventoryItem"]["inventoryLevels"]["nodes"]
    assert found == [{"quantities": [{"quantity": 3}]}]


def test_the_client_is_throttled_and_recovers_after_the_wait_it_is_told(
    outside: Outside, session: shopify.Session
) -> None:
    for _ in range(10):
        answer = run(DEAR)
        if "errors" in answer:
            break
    (error,) = answer["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("Throttled", "THROTTLED")
    cost = answer["extensions"]["cost"]
    status = cost["throttleStatus"]
    wait = (cost["requestedQueryCost"] - status["currentlyAvailable"]) / status["restoreRate"]
    assert 0 < wait <= 6
    outside.post("/clock", advance=wait * 0.9)
    assert "errors" in run(DEAR)
    outside.post("/clock", advance=wait * 0.1)
    assert len(run(DEAR)["data"]["productVariants"]["nodes"]) == 200


def test_the_client_meets_an_ended_token_and_goes_on_with_a_new_one(
    outside: Outside, side: ShopSide, session: shopify.Session
) -> None:
    outside.post("/clock", advance=86_400)
    with pytest.raises(urllib.error.HTTPError) as refused:
        run("{ shop { id } }")
    assert refused.value.code == 401
    with shopify.Session.temp(side.domain, VERSION, granted(side)["access_token"]):
        assert run("{ shop { id } }")["data"]["shop"]["id"]
