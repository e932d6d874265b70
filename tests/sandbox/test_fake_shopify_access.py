"""Tokens, versions, quota and the shapes of refusal."""

from __future__ import annotations

import pytest

from tests.sandbox.outside import Outside, ShopSide, wait_for

SHOP = "{ shop { id name myshopifyDomain ianaTimezone currencyCode } }"
WRONG_GRANT = pytest.mark.breaks_contract("grant")
DEAD_VERSION = pytest.mark.breaks_contract("version")


def test_grants_a_token_for_a_day(shop: ShopSide) -> None:
    answer = shop.grant()
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 86399
    assert "write_inventory" in answer.json()["scope"]


def test_grants_a_token_for_a_json_body_too(shop: ShopSide) -> None:
    names = ("client_id", "client_secret")
    fields = {name: shop.entry[name] for name in names} | {"grant_type": "client_credentials"}
    assert shop.http.post("/admin/oauth/access_token", json=fields).json()["access_token"]


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        pytest.param({"client_secret": ""}, 400, "invalid_request", marks=WRONG_GRANT),
        pytest.param({"grant_type": "password"}, 400, "unsupported_grant_type", marks=WRONG_GRANT),
    ],
)
def test_refuses_a_wrong_grant(shop: ShopSide, changed: dict[str, str], status: int, error: str) -> None:
    answer = shop.grant(**changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_refuses_a_wrong_token_with_errors_as_text(shop: ShopSide) -> None:
    shop.token = "shpat_wrong"
    answer = shop.send(SHOP)
    assert answer.status_code == 401
    assert isinstance(answer.json()["errors"], str)


def test_refuses_the_token_of_another_shop(outside: Outside, shop: ShopSide) -> None:
    shop.token = outside.shop().grant().json()["access_token"]
    assert shop.send(SHOP).status_code == 401


def test_refuses_a_token_made_to_expire(outside: Outside, shop: ShopSide) -> None:
    shop.data(SHOP)
    outside.faults(kind="expired_token", match=shop.domain, count=1)
    assert shop.send(SHOP).status_code == 401
    shop.token = ""
    assert shop.send(SHOP).status_code == 200


@pytest.mark.breaks_contract("token")
def test_knows_only_its_shops(outside: Outside) -> None:
    answer = outside.http.post("/shopify/nobody.myshopify.com/admin/api/2026-10/graphql.json", json={"query": SHOP})
    assert (answer.status_code, answer.json()) == (404, {"errors": "Not Found"})


def test_describes_the_shop(outside: Outside) -> None:
    shop = outside.shop(currency="EUR", timezone="Europe/Berlin")
    found = shop.data(SHOP)["shop"]
    assert found["myshopifyDomain"] == shop.domain
    assert (found["ianaTimezone"], found["currencyCode"]) == ("Europe/Berlin", "EUR")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("2026-10", "2026-10"),
        ("2026-07", "2026-07"),
        pytest.param("2024-01", "2026-07", marks=DEAD_VERSION),
        pytest.param("2027-01", "2026-10", marks=DEAD_VERSION),
    ],
)
def test_a_version_that_is_not_alive_falls_to_one_that_is(shop: ShopSide, asked: str, answered: str) -> None:
    assert shop.send(SHOP, version=asked).headers["X-Shopify-API-Version"] == answered


@pytest.mark.breaks_contract("body")
def test_a_body_without_a_query_is_a_bad_request(shop: ShopSide) -> None:
    shop.data(SHOP)
    headers = {"X-Shopify-Access-Token": shop.token}
    for body in (b"{", b"[]", b"{}"):
        answer = shop.http.post("/admin/api/2026-10/graphql.json", content=body, headers=headers)
        assert answer.status_code == 400
        assert "query" in answer.json()["errors"]


@pytest.mark.parametrize(
    "query", ["{ shop { nothing } }", "{ shop {", "query A { shop { id } } query B { shop { id } }"]
)
@pytest.mark.breaks_contract("document")
def test_a_query_outside_the_schema_is_answered_with_errors(shop: ShopSide, query: str) -> None:
    answer = shop.ask(query)
    assert answer["errors"]
    assert "data" not in answer


def test_costs_an_object_one_and_a_connection_its_size(shop: ShopSide) -> None:
    shop.stock("A", "B")
    query = "{ shop { id } productVariants(first: 10) { nodes { id product { id } } pageInfo { hasNextPage } } }"
    cost = shop.ask(query)["extensions"]["cost"]
    assert cost["requestedQueryCost"] == 1 + 10 * 2
    assert cost["actualQueryCost"] == 1 + 2 * 2
    # The difference was given back.
    assert cost["throttleStatus"]["currentlyAvailable"] >= 20000 - 5


def test_costs_edges_like_nodes_and_a_union_of_types_its_dearest(shop: ShopSide) -> None:
    edges = "{ productVariants(first: 7) { edges { cursor node { id } } } }"
    assert shop.ask(edges)["extensions"]["cost"]["requestedQueryCost"] == 7
    node = """{ nodes(ids: ["gid://shopify/Order/1", "gid://shopify/Order/2"]) { id
        ... on Order { customer { id } totalPriceSet { shopMoney { amount } } } ... on Product { title } } }"""
    cost = shop.ask(node)["extensions"]["cost"]
    assert cost["requestedQueryCost"] == 2 * (1 + 3)
    assert cost["actualQueryCost"] == 0


def test_costs_a_mutation_ten(shop: ShopSide) -> None:
    items = shop.stock("A")
    cost = shop.set(shop.element(items["A"], 5, 10))["extensions"]["cost"]
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (10, 10)


@pytest.mark.breaks_contract("cost")
def test_refuses_a_single_query_above_a_thousand_points(shop: ShopSide) -> None:
    answer = shop.ask("{ orders(first: 50) { nodes { id lineItems(first: 50) { nodes { id } } } } }")
    assert answer["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"
    assert answer["errors"][0]["extensions"]["cost"] == 50 * 51


def test_throttles_with_status_200_and_refills_with_the_clock(own: Outside) -> None:
    shop = own.shop(plan="standard")
    dear = "{ productVariants(first: 250) { nodes { id product { id } inventoryItem { id } } } }"
    # The differences between asked and actual cost come back, so something must really be there.
    shop.stock(*[f"S{number}" for number in range(250)])
    answers = [shop.ask(dear) for _ in range(4)]
    throttled = next(answer for answer in answers if "errors" in answer)
    assert throttled["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert throttled["errors"][0]["message"] == "Throttled"
    status = throttled["extensions"]["cost"]["throttleStatus"]
    assert (status["maximumAvailable"], status["restoreRate"]) == (2000.0, 100.0)
    assert throttled["extensions"]["cost"]["actualQueryCost"] is None
    own.post("/clock", factor=100_000)
    assert wait_for(lambda: "errors" not in shop.ask(dear))


def test_every_plan_has_its_own_bucket(outside: Outside) -> None:
    sizes = {"standard": 2000.0, "advanced": 4000.0, "plus": 20000.0, "enterprise": 40000.0}
    for plan, size in sizes.items():
        cost = outside.shop(plan=plan).ask(SHOP)["extensions"]["cost"]
        assert cost["throttleStatus"]["maximumAvailable"] == size
        assert cost["throttleStatus"]["restoreRate"] == size / 20
