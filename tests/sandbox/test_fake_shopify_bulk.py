"""Bulk operations: judged, run on the sandbox clock over the same resolvers, fetched as lines, and their ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.outside import Inside, ShopSide

RUN = """mutation($query: String!, $grouped: Boolean! = false) {
    bulkOperationRunQuery(query: $query, groupObjects: $grouped) {
        bulkOperation { id status } userErrors { code field message } } }"""
STATE = """query($id: ID!) { bulkOperation(id: $id) { id status type errorCode objectCount rootObjectCount fileSize url
    partialDataUrl query createdAt completedAt } }"""
LEVELS = """{ productVariants { edges { node { id sku inventoryItem { id tracked
    inventoryLevels { edges { node { id location { id } quantities(names: ["available"]) { quantity } } } } } } } } }"""
PRODUCTS = "{ products { nodes { id title ...More } } } fragment More on Product { variants { nodes { id sku } } }"
SKUS = [f"S{number:03}" for number in range(230)]

BEYOND_BULK = pytest.mark.breaks_contract("bulk")


@pytest.fixture(scope="module")
def stocked(inside: Inside) -> ShopSide:
    """More variants than one step reads."""
    shop = inside.shop()
    shop.stock(*SKUS)
    return shop


@pytest.fixture
def shop(inside: Inside) -> ShopSide:
    return inside.shop()


def started(shop: ShopSide, query: str, **more: Any) -> str:
    made = shop.data(RUN, query=query, **more)["bulkOperationRunQuery"]
    assert made["userErrors"] == []
    found: str = made["bulkOperation"]["id"]
    return found


def state(shop: ShopSide, operation: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.data(STATE, id=operation)["bulkOperation"]
    return found


def fetched(inside: Inside, url: str) -> list[dict[str, Any]]:
    answer = inside.http.get(url)
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_operation_lives_on_the_clock_in_proportion_to_its_objects(inside: Inside, stocked: ShopSide) -> None:
    operation = started(stocked, LEVELS)
    created = state(stocked, operation)
    assert (created["status"], created["url"], created["objectCount"]) == ("CREATED", None, "0")
    inside.clock.advance(1.01)
    running = state(stocked, operation)
    assert (running["status"], running["objectCount"], running["completedAt"]) == ("RUNNING", "200", None)
    inside.clock.advance(0.2)
    done = state(stocked, operation)
    assert (done["status"], done["objectCount"], done["rootObjectCount"]) == ("COMPLETED", "460", "230")
    data = inside.http.get(done["url"])
    assert str(len(data.content)) == done["fileSize"]


def test_every_node_is_a_line_and_names_its_parent_before_it(inside: Inside, stocked: ShopSide) -> None:
    operation = started(stocked, LEVELS)
    inside.clock.advance(10)
    lines = fetched(inside, state(stocked, operation)["url"])
    variants = {line["id"]: line for line in lines if "__parentId" not in line}
    assert [variant["sku"] for variant in variants.values()] == SKUS
    assert all("inventoryLevels" not in variant["inventoryItem"] for variant in variants.values())
    seen: set[str] = set()
    for line in lines:
        if parent := line.get("__parentId"):
            assert parent in seen
            assert line["quantities"] == [{"quantity": 10}]
        seen.add(line["id"])
    assert len(lines) == 2 * len(SKUS)


def test_fragments_nodes_and_grouping_are_understood(inside: Inside, stocked: ShopSide) -> None:
    operation = started(stocked, PRODUCTS, grouped=True)
    inside.clock.advance(10)
    lines = fetched(inside, state(stocked, operation)["url"])
    assert len(lines) == 2 * len(SKUS)
    for product, variant in zip(lines[::2], lines[1::2], strict=True):
        assert product["title"] == f"Thing {variant['sku']}"
        assert variant["__parentId"] == product["id"]


def test_any_query_of_the_schema_runs_with_its_arguments(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A", "B")
    order = shop.place(("A", 2), ("B", 1))
    shop.place(("A", 1))
    query = f"""{{ orders(query: "id:{order["id"]}", sortKey: UPDATED_AT) {{ edges {{ node {{ id name
        total: totalPriceSet {{ shopMoney {{ amount }} }}
        lineItems(first: 1) {{ edges {{ node {{ id sku quantity }} }} }} }} }} }} }}"""
    operation = started(shop, query)
    inside.clock.advance(10)
    parent, *lines = fetched(inside, state(shop, operation)["url"])
    assert parent["total"] == {"shopMoney": {"amount": "7.50"}}
    # Sizes mean nothing in bulk: all comes.
    assert [(line["sku"], line["quantity"]) for line in lines] == [("A", 2), ("B", 1)]


def test_it_is_not_charged_on_the_bucket(inside: Inside) -> None:
    shop = inside.shop(plan="standard")
    shop.stock(*SKUS)
    for _ in range(5):
        started(shop, LEVELS)
    inside.clock.advance(60)
    cost = shop.ask("{ shop { id } }")["extensions"]["cost"]["throttleStatus"]
    assert cost["currentlyAvailable"] == 1999


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param("{ shop { id } }", "at least one connection", marks=BEYOND_BULK),
        pytest.param("{ products { nodes { nothing } } }", "Cannot query field", marks=BEYOND_BULK),
        pytest.param("{ products { nodes {", "Syntax Error", marks=BEYOND_BULK),
        pytest.param(
            'mutation { bulkOperationCancel(id: "x") { userErrors { message } } }',
            "exactly one query",
            marks=BEYOND_BULK,
        ),
        ("{ a: products { nodes { id } } b: products { nodes { id } } }", "exactly one top-level field"),
        pytest.param("{ nodes(ids: []) { id } }", "top-level field 'nodes'", marks=BEYOND_BULK),
        ("{ products { nodes { title variants { nodes { id } } } } }", "must select the 'id' field"),
        (
            "{ orders { nodes { id refunds(first: 5) { id refundLineItems { nodes { id } } } } } }",
            "within a list field",
        ),
        pytest.param(
            "{ orders { nodes { id lineItems { nodes { id } } fulfillmentOrders { nodes { id lineItems { nodes { id } }"
            " fulfillments { nodes { id fulfillmentLineItems { nodes { id } } } } } } } } }",
            "more than 5 connections",
            marks=BEYOND_BULK,
        ),
        pytest.param(
            "{ orders { nodes { id fulfillmentOrders { nodes { id fulfillments { nodes { id"
            " fulfillmentLineItems { nodes { id } } } } } } } } }",
            "nesting depth greater than 2",
            marks=BEYOND_BULK,
        ),
    ],
)
def test_a_query_that_cannot_run_in_bulk_is_refused(shop: ShopSide, query: str, said: str) -> None:
    made = shop.data(RUN, query=query)["bulkOperationRunQuery"]
    assert made["bulkOperation"] is None
    assert [error["code"] for error in made["userErrors"]] == ["INVALID"]
    assert said in made["userErrors"][0]["message"]


def test_five_run_at_once_and_no_sixth(inside: Inside, shop: ShopSide) -> None:
    for _ in range(5):
        started(shop, PRODUCTS)
    sixth = shop.data(RUN, query=PRODUCTS)["bulkOperationRunQuery"]
    assert [error["code"] for error in sixth["userErrors"]] == ["LIMIT_REACHED"]
    inside.clock.advance(5)
    started(shop, PRODUCTS)


def test_an_empty_result_has_no_file(inside: Inside, shop: ShopSide) -> None:
    operation = started(shop, PRODUCTS)
    inside.clock.advance(5)
    done = state(shop, operation)
    assert (done["status"], done["url"], done["fileSize"], done["objectCount"]) == ("COMPLETED", None, None, "0")


def test_a_link_is_signed_and_dies_after_a_week(inside: Inside, stocked: ShopSide) -> None:
    operation = started(stocked, PRODUCTS)
    inside.clock.advance(10)
    url = state(stocked, operation)["url"]
    assert inside.http.get(url.replace("signature=", "signature=x")).status_code == 403
    inside.clock.advance(7 * 86_400 - 20)
    assert inside.http.get(url).status_code == 200
    inside.clock.advance(30)
    assert inside.http.get(url).status_code == 403
    # The token ended long ago too.
    stocked.token = ""


def test_a_cancelled_operation_stops_at_its_next_step(inside: Inside, stocked: ShopSide) -> None:
    operation = started(stocked, LEVELS)
    inside.clock.advance(1.01)
    cancel = "mutation($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { status } userErrors { message } } }"
    assert stocked.data(cancel, id=operation)["bulkOperationCancel"] == {
        "bulkOperation": {"status": "CANCELING"},
        "userErrors": [],
    }
    inside.clock.advance(10)
    done = state(stocked, operation)
    assert (done["status"], done["url"]) == ("CANCELED", None)
    assert stocked.data(cancel, id=operation)["bulkOperationCancel"]["userErrors"]


def test_a_failed_operation_offers_what_it_has_and_an_expired_one_nothing(inside: Inside, stocked: ShopSide) -> None:
    inside.faults(kind="bulk_failed", match="productVariants", count=1)
    failing = started(stocked, LEVELS)
    inside.faults(kind="bulk_expired", match="productVariants", count=1)
    expiring = started(stocked, LEVELS)
    inside.clock.advance(10)
    failed, expired = state(stocked, failing), state(stocked, expiring)
    assert (failed["status"], failed["errorCode"], failed["url"]) == ("FAILED", "INTERNAL_SERVER_ERROR", None)
    assert len(fetched(inside, failed["partialDataUrl"])) == 200
    assert (expired["status"], expired["url"], expired["partialDataUrl"]) == ("EXPIRED", None, None)


def test_without_the_scope_an_operation_fails_with_access_denied(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    shop.control("app", scopes=["read_products"])
    operation = started(shop, LEVELS)
    inside.clock.advance(5)
    failed = state(shop, operation)
    assert (failed["status"], failed["errorCode"]) == ("FAILED", "ACCESS_DENIED")


def test_operations_are_listed_newest_first_and_by_status(inside: Inside, shop: ShopSide) -> None:
    first = started(shop, PRODUCTS)
    inside.clock.advance(5)
    second = started(shop, PRODUCTS)
    listed = """query($query: String) { bulkOperations(first: 10, sortKey: CREATED_AT, reverse: true, query: $query) {
        nodes { id } } }"""
    assert shop.data(listed, query="operation_type:query")["bulkOperations"]["nodes"] == [{"id": second}, {"id": first}]
    assert shop.data(listed, query="status:created")["bulkOperations"]["nodes"] == [{"id": second}]
    old = "{ currentBulkOperation { id } }"
    answer = shop.send(old)
    assert answer.json()["data"] == {"currentBulkOperation": {"id": second}}
    assert answer.headers["X-Shopify-API-Deprecated-Reason"] == "QueryRoot.currentBulkOperation"
