"""The app of a shop: what it may do, how its tokens end, what a call costs it, and answers on demand."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.vendors.shopify import connections
from tests.sandbox.outside import Inside, ShopSide

ABOUT = """{ shop { name myshopifyDomain currencyCode plan { publicDisplayName shopifyPlus partnerDevelopment } }
    currentAppInstallation { accessScopes { handle } } }"""


@pytest.fixture
def shop(inside: Inside) -> ShopSide:
    return inside.shop()


def code(answer: dict[str, Any]) -> str:
    found: str = answer["errors"][0]["extensions"]["code"]
    return found


@pytest.mark.breaks_contract("token")
def test_the_app_asks_what_it_may_do_in_both_ways(shop: ShopSide) -> None:
    shop.control("app", scopes=["write_inventory", "read_orders"])
    found = shop.data(ABOUT)
    assert found["shop"]["plan"] == {
        "publicDisplayName": "Shopify Plus",
        "shopifyPlus": True,
        "partnerDevelopment": False,
    }
    expected = [{"handle": scope} for scope in ("read_inventory", "read_orders", "write_inventory")]
    assert found["currentAppInstallation"]["accessScopes"] == expected
    headers = {"X-Shopify-Access-Token": shop.token}
    rest = shop.http.get("/admin/oauth/access_scopes.json", headers=headers)
    assert rest.json() == {"access_scopes": expected}
    assert shop.http.get("/admin/oauth/access_scopes.json").status_code == 401
    assert set(shop.grant().json()["scope"].split(",")) == {scope["handle"] for scope in expected}


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("{ orders(first: 1) { nodes { id } } }", ["orders"]),
        ("{ products(first: 1) { nodes { id } } }", ["products"]),
        ("{ locations(first: 1) { nodes { id } } }", ["locations"]),
        ('{ node(id: "gid://shopify/Order/1") { id } }', ["node"]),
        ('mutation { orderCancel(orderId: "x", reason: OTHER, restock: true) { job { id } } }', ["orderCancel"]),
        ('mutation { fulfillmentCancel(id: "x") { fulfillment { id } } }', ["fulfillmentCancel"]),
    ],
)
def test_without_the_scope_a_field_is_denied(shop: ShopSide, query: str, path: list[str]) -> None:
    shop.control("app", scopes=["read_draft_orders"])
    answer = shop.ask(query)
    assert (code(answer), answer["errors"][0]["path"]) == ("ACCESS_DENIED", path)
    assert not any((answer["data"] or {}).values())


def test_a_field_inside_an_object_is_denied_too(shop: ShopSide) -> None:
    shop.stock("A")
    shop.control("app", scopes=["read_products"])
    query = "{ productVariants(first: 1) { nodes { inventoryItem { inventoryLevels(first: 1) { nodes { id } } } } } }"
    answer = shop.ask(query)
    assert code(answer) == "ACCESS_DENIED"
    assert answer["errors"][0]["path"][-1] == "inventoryLevels"


def test_a_topic_without_its_scope_cannot_be_heard(shop: ShopSide) -> None:
    shop.control("app", scopes=["read_products"])
    made = shop.subscribe("ORDERS_CREATE", "http://127.0.0.1:1/hooks")
    assert made["webhookSubscription"] is None
    assert "orders/create" in made["userErrors"][0]["message"]


def test_old_orders_are_not_there_without_read_all_orders(inside: Inside) -> None:
    shop = inside.shop()
    shop.stock("A")
    order = shop.place(("A", 1))
    query = "query($id: ID!) { orders(first: 5) { nodes { id } } order(id: $id) { id } }"
    gid = f"gid://shopify/Order/{order['id']}"
    inside.clock.advance(61 * 86_400)
    shop.token = ""
    assert shop.data(query, id=gid) == {"orders": {"nodes": []}, "order": None}
    shop.control("app", scopes=["read_orders", "read_all_orders"])
    assert shop.data(query, id=gid) == {"orders": {"nodes": [{"id": gid}]}, "order": {"id": gid}}


def test_a_revoked_token_is_refused_and_a_new_one_works(shop: ShopSide) -> None:
    shop.data(ABOUT)
    assert shop.control("app", revoke_tokens=True)["revoked"] == 1
    refused = shop.send(ABOUT)
    assert refused.status_code == 401
    assert isinstance(refused.json()["errors"], str)
    shop.token = ""
    assert shop.data(ABOUT)


def test_a_rotated_secret_ends_the_old_one(shop: ShopSide) -> None:
    secret = shop.control("app", rotate_secret=True)["client_secret"]
    assert shop.grant().status_code == 401
    assert shop.grant(client_secret=secret).status_code == 200


def test_an_unknown_scope_is_refused_by_name(inside: Inside, shop: ShopSide) -> None:
    answer = inside.http.post(f"/_control/shopify/{shop.domain}/app", json={"scopes": ["read_minds"]})
    assert (answer.status_code, answer.json()["error"]) == (422, "unknown_scope")


@pytest.mark.parametrize("status", [402, 403, 404, 423, 429, 430, 500, 502, 503, 504])
def test_any_status_comes_on_demand_with_errors_as_text(inside: Inside, shop: ShopSide, status: int) -> None:
    shop.data(ABOUT)
    inside.faults(kind=f"http_{status}", match="currentAppInstallation", count=1)
    assert shop.send("{ shop { id } }").status_code == 200
    answer = shop.send(ABOUT)
    assert answer.status_code == status
    assert isinstance(answer.json()["errors"], str)
    assert shop.send(ABOUT).status_code == 200


def test_throttled_on_demand_is_a_bucket_that_somebody_emptied(inside: Inside) -> None:
    shop = inside.shop(plan="standard")
    inside.faults(kind="throttled", match=shop.domain, count=1)
    answer = shop.ask("{ locations(first: 50) { nodes { id } } }")
    assert (code(answer), answer["errors"][0]["message"]) == ("THROTTLED", "Throttled")
    cost = answer["extensions"]["cost"]
    status = cost["throttleStatus"]
    assert (cost["requestedQueryCost"], cost["actualQueryCost"], status["currentlyAvailable"]) == (50, None, 0)
    inside.clock.advance(cost["requestedQueryCost"] / status["restoreRate"])
    assert "errors" not in shop.ask("{ locations(first: 50) { nodes { id } } }")


def test_the_cost_of_each_field_is_told_on_demand(shop: ShopSide) -> None:
    query = "{ shop { id } locations(first: 5) { nodes { id } } }"
    shop.data(query)
    headers = {"X-Shopify-Access-Token": shop.token, "Shopify-GraphQL-Cost-Debug": "1"}
    answer = shop.http.post("/admin/api/2026-10/graphql.json", json={"query": query}, headers=headers).json()
    cost = answer["extensions"]["cost"]
    told = {tuple(entry["path"]): entry["requestedTotalCost"] for entry in cost["fields"]}
    assert (told[("shop",)], told[("locations",)], cost["requestedQueryCost"]) == (1, 5, 6)
    assert "fields" not in shop.ask(query)["extensions"]["cost"]


@pytest.mark.breaks_contract("version")
def test_a_version_that_never_was_is_not_found(shop: ShopSide) -> None:
    shop.data(ABOUT)
    assert shop.send(ABOUT, version="2026-13").status_code == 404


def test_deprecated_fields_are_named_in_a_header(shop: ShopSide) -> None:
    answer = shop.send("{ shop { id } current: currentBulkOperation { id } }")
    assert answer.headers["X-Shopify-API-Deprecated-Reason"] == "QueryRoot.currentBulkOperation"
    assert "X-Shopify-API-Deprecated-Reason" not in shop.send("{ shop { id } }").headers


def test_a_cursor_belongs_to_the_order_it_came_from(shop: ShopSide) -> None:
    shop.stock("A", "B")
    page = """query($after: String, $sort: ProductVariantSortKeys!) {
        productVariants(first: 1, after: $after, sortKey: $sort) { nodes { sku } pageInfo { endCursor } } }"""
    cursor = shop.data(page, sort="SKU")["productVariants"]["pageInfo"]["endCursor"]
    assert shop.data(page, sort="SKU", after=cursor)["productVariants"]["nodes"] == [{"sku": "B"}]
    assert shop.ask(page, sort="ID", after=cursor)["errors"][0]["message"] == (
        "Invalid cursor for current pagination sort."
    )


def test_pages_end_after_25000_objects_and_bulk_operations_do_not(
    inside: Inside, shop: ShopSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connections.MAX_DEPTH == 25_000
    # Enough of them to see it would take minutes to stock.
    monkeypatch.setattr(connections, "MAX_DEPTH", 25)
    shop.stock(*[f"S{number}" for number in range(30)])
    page = """query($after: String) { productVariants(first: 20, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor } } }"""
    first = shop.data(page)["productVariants"]
    second = shop.data(page, after=first["pageInfo"]["endCursor"])["productVariants"]
    assert [len(first["nodes"]), len(second["nodes"])] == [20, 5]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    run = 'mutation { bulkOperationRunQuery(query: "{ productVariants { nodes { id } } }") { bulkOperation { id } } }'
    made = shop.data(run)["bulkOperationRunQuery"]["bulkOperation"]["id"]
    inside.clock.advance(5)
    state = shop.data("query($id: ID!) { bulkOperation(id: $id) { objectCount } }", id=made)
    assert state["bulkOperation"] == {"objectCount": "30"}
