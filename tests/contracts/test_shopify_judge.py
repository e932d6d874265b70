"""The judge of Shopify finds each breach: every rule fails on an exchange made for it, and the good one passes."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.adapters.shopify import documents
from tests.contracts.exchange import Exchange
from tests.contracts.shopify import ShopifyJudge

PATH = "/shopify/x.myshopify.com/admin/api/2026-10/graphql.json"
NOW = "2026-11-20T10:00:00Z"
COST = {
    "requestedQueryCost": 10,
    "actualQueryCost": 10,
    "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1990, "restoreRate": 100.0},
}
ELEMENT = {
    "inventoryItemId": "gid://shopify/InventoryItem/1",
    "locationId": "gid://shopify/Location/1",
    "quantity": 3,
    "changeFromQuantity": None,
}
BARE = {name: value for name, value in ELEMENT.items() if name != "changeFromQuantity"}
SUBSCRIBE = """mutation Subscribe($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) { userErrors { message } }
}"""
SET = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id createdAt } userErrors { code field message }
  }
}"""
BULK = "mutation M($q: String!) { bulkOperationRunQuery(query: $q) { userErrors { field message } } }"


@pytest.fixture(scope="module")
def judge(shared_dir: Path) -> ShopifyJudge:
    return ShopifyJudge(shared_dir / "contracts")


def asked(query: str, variables: dict[str, Any] | None = None, **changed: Any) -> Exchange:
    """A request that nobody answered."""
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    return replace(Exchange("POST", PATH, headers={"x-shopify-access-token": "t"}, body=body), **changed)


def written(key: str = "k", **changed: Any) -> Exchange:
    given = {"name": "available", "reason": "correction", "quantities": [ELEMENT]} | changed
    return asked(SET, {"input": given, "key": key})


def answered(exchange: Exchange, answer: Any, status: int = 200, **headers: str) -> Exchange:
    """As the sandbox would."""
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    named = {"x-shopify-api-version": "2026-10"} | headers
    return replace(exchange, status=status, answer=raw, answer_headers=named, is_sandbox=True)


def data(found: Any, **more: Any) -> dict[str, Any]:
    return {"data": found, "extensions": {"cost": COST}} | more


GRANT = Exchange("POST", "/admin/oauth/access_token", body=b"grant_type=client_credentials&client_id=a&client_secret=b")
SHOP = asked("{ shop { id name } }")
GOOD_SHOP = {"shop": {"id": "gid://shopify/Shop/1", "name": "X"}}
GOOD_SET = {"inventoryAdjustmentGroup": {"id": "gid://shopify/InventoryAdjustmentGroup/1", "createdAt": NOW}}
STALE = {"code": "CHANGE_FROM_QUANTITY_STALE", "field": ["input"], "message": "no"}


def set_answer(**changed: Any) -> dict[str, Any]:
    return data({"inventorySetQuantities": {**GOOD_SET, "userErrors": []} | changed})


@pytest.mark.parametrize(
    "exchange",
    [
        written(),
        answered(written(), set_answer()),
        answered(written(), set_answer(inventoryAdjustmentGroup=None, userErrors=[STALE])),
        answered(SHOP, data(GOOD_SHOP)),
        answered(SHOP, {"errors": [{"message": "no", "extensions": {"code": "ACCESS_DENIED"}}]}),
        answered(SHOP, {"errors": "Unavailable Shop"}, 423),
        asked(BULK, {"q": "{ products { edges { node { id variants { edges { node { id } } } } } } }"}),
    ],
)
def test_what_keeps_every_rule_passes(judge: ShopifyJudge, exchange: Exchange) -> None:
    assert list(judge.judge(exchange)) == []


@pytest.mark.parametrize(
    ("rule", "exchange"),
    [
        ("address", replace(SHOP, path="/shopify/x.myshopify.com/admin/orders.json", method="GET")),
        ("address", replace(SHOP, method="GET")),
        ("version", replace(SHOP, path=PATH.replace("2026-10", "2025-01"))),
        ("token", replace(SHOP, headers={})),
        ("token", replace(SHOP, headers={"x-shopify-access-token": " "})),
        ("body", replace(SHOP, body=b"{")),
        ("body", replace(SHOP, body=b'{"query": null}')),
        ("document", asked("{ shop {")),
        ("document", asked("{ shop { nothing } }")),
        ("document", asked("query($id: ID!) { order(id: $id) { id } shop { id } } fragment F on Shop { id }")),
        ("variables", asked("query($id: ID!) { order(id: $id) { id } }")),
        ("variables", asked("query($id: ID!) { order(id: $id) { id } }", {"id": "1", "more": 1})),
        ("variables", written(name=None)),
        ("variables", written(quantities=[ELEMENT | {"quantity": "3"}])),
        ("idempotent", asked(SET.replace("@idempotent(key: $key)", "").replace(
            ", $key: String!", ""), {"input": {"name": "available", "reason": "correction", "quantities": [ELEMENT]}})),
        ("idempotent", written(key=" ")),
        ("idempotent", asked('{ shop @idempotent(key: "k") { id } }')),
        ("idempotent", asked(SUBSCRIBE.replace("subscription) {", 'subscription) @idempotent(key: "k") {', 1).replace(
            "webhookSubscription: $subscription", "webhookSubscription: $subscription", 1),
            {"topic": "ORDERS_CREATE", "subscription": {"uri": "https://x.test"}})),
        ("comparison", written(quantities=[ELEMENT, BARE])),
        ("comparison", asked("""mutation { inventorySetQuantities(
            input: {name: "available", reason: "r", quantities: [{inventoryItemId: "1", locationId: "2", quantity: 1}]}
        ) @idempotent(key: "k") { userErrors { code } } }""")),
        ("quantities", written(name="committed")),
        ("quantities", written(quantities=[ELEMENT | {"quantity": -1}])),
        ("array", written(quantities=[ELEMENT] * 251)),
        ("array", asked("{ nodes(ids: [" + '"a" ' * 251 + "]) { id } }")),
        ("page", asked("{ orders(first: 251) { nodes { id } } }")),
        ("page", asked("query($n: Int!) { orders(last: $n) { nodes { id } } }", {"n": 251})),
        ("cost", asked("{ orders(first: 100) { nodes { id lineItems(first: 9) { nodes { id } } } } }")),
        ("include_fields", asked(SUBSCRIBE, {
            "topic": "ORDERS_CREATE", "subscription": {"uri": "https://x.test", "includeFields": ["id"]}})),
        ("bulk", asked(BULK, {"q": "{ shop { id } }"})),
        ("bulk", asked(BULK, {"q": "{ products { edges { node { nothing } } } }"})),
        ("credentials", Exchange("GET", "/results/1.jsonl", headers={"x-shopify-access-token": "t"})),
        ("token", Exchange("GET", "/admin/oauth/access_scopes.json")),
        ("grant", replace(GRANT, body=b"grant_type=password&client_id=a&client_secret=b")),
        ("grant", replace(GRANT, body=b"grant_type=client_credentials&client_id=a")),
    ],
)  # fmt: skip
def test_a_request_that_breaks_a_rule_breaks_that_one(judge: ShopifyJudge, rule: str, exchange: Exchange) -> None:
    assert {breach.rule for breach in judge.judge(exchange)} == {rule}


NO_COST = {key: value for key, value in COST.items() if key != "throttleStatus"}


@pytest.mark.parametrize(
    ("rule", "exchange"),
    [
        ("answer.form", answered(SHOP, b"<html>")),
        ("answer.form", answered(SHOP, data(GOOD_SHOP, more=1))),
        ("answer.version", replace(answered(SHOP, data(GOOD_SHOP)), answer_headers={})),
        ("answer.cost", answered(SHOP, {"data": GOOD_SHOP})),
        ("answer.cost", answered(SHOP, {"data": GOOD_SHOP, "extensions": {"cost": NO_COST}})),
        ("answer.cost", answered(SHOP, {"errors": [{"message": "m", "extensions": {"code": "THROTTLED"}}]})),
        ("answer.error", answered(SHOP, {"errors": "no"})),
        ("answer.error", answered(SHOP, {"errors": [{"message": "no", "extensions": {"code": "OUT_OF_TEA"}}]})),
        ("answer.error", answered(SHOP, {"errors": [{"extensions": {"code": "THROTTLED"}}], **data(GOOD_SHOP)})),
        ("answer.error", answered(SHOP, {"errors": [{"message": "list"}]}, 401)),
        ("answer.data", answered(SHOP, data({"shop": {"id": "gid://shopify/Shop/1"}}))),
        ("answer.data", answered(SHOP, data({"shop": GOOD_SHOP["shop"] | {"more": 1}}))),
        ("answer.data", answered(SHOP, data({"shop": GOOD_SHOP["shop"] | {"name": None}}))),
        ("answer.data", answered(SHOP, data({"shop": GOOD_SHOP["shop"] | {"id": "1"}}))),
        ("answer.data", answered(written(), set_answer(userErrors=[STALE | {"code": "OUT_OF_TEA"}]))),
        ("answer.data", answered(written(), set_answer(userErrors=None))),
        ("answer.data", answered(written(), set_answer(
            inventoryAdjustmentGroup=GOOD_SET["inventoryAdjustmentGroup"] | {"createdAt": "yesterday"}))),
        ("answer.data", answered(Exchange("GET", "/results/1.jsonl"), b'{"id": "gid://shopify/Shop/1"}\n[]')),
        ("answer.form", answered(replace(SHOP, path="/admin/oauth/access_scopes.json", method="GET"), {"scopes": []})),
        ("answer.token", answered(GRANT, {"access_token": "t", "expires_in": 86_399})),
        ("answer.token", answered(GRANT, {"access_token": "t", "scope": "s", "expires_in": 10**6})),
        ("answer.error", answered(GRANT, {}, 400)),
    ],
)  # fmt: skip
def test_an_answer_that_breaks_a_rule_breaks_that_one(judge: ShopifyJudge, rule: str, exchange: Exchange) -> None:
    assert {breach.rule for breach in judge.judge(exchange)} == {rule}


def test_a_sandbox_that_carries_out_what_the_vendor_refuses_is_lenient(judge: ShopifyJudge) -> None:
    taken = answered(written(quantities=[ELEMENT] * 251), set_answer())
    assert {breach.rule for breach in judge.judge(taken)} == {"array", "answer.lenient"}
    refusal = {"errors": [{"message": "too many", "extensions": {"code": "MAX_INPUT_SIZE_EXCEEDED"}}]}
    assert {breach.rule for breach in judge.judge(answered(written(quantities=[ELEMENT] * 251), refusal))} == {"array"}


def test_answers_of_tests_own_making_are_not_held_to_account(judge: ShopifyJudge) -> None:
    canned = replace(answered(SHOP, {"data": {}}), is_sandbox=False)
    assert list(judge.judge(canned)) == []


def delivery(change: Callable[[dict[str, str]], object] = dict, topic: str = "products/delete") -> Exchange:
    body = b'{"id": 788032119674292922}'
    headers = {
        "x-shopify-topic": topic,
        "x-shopify-hmac-sha256": base64.b64encode(hmac.digest(b"secret", body, "sha256")).decode(),
        "x-shopify-shop-domain": "x.myshopify.com",
        "x-shopify-api-version": "2026-10",
        "x-shopify-webhook-id": "w",
        "x-shopify-event-id": "e",
        "x-shopify-triggered-at": "2026-11-20T10:00:00.123456789Z",
    }
    change(headers)
    return Exchange("POST", "http://x.test", headers=headers, body=body, kind="delivery", secret="secret")


@pytest.mark.parametrize(
    ("rule", "exchange"),
    [
        ("delivery.headers", delivery(lambda headers: headers.pop("x-shopify-event-id"))),
        ("delivery.headers", delivery(lambda headers: headers.update({"x-shopify-triggered-at": "today"}))),
        ("delivery.headers", delivery(lambda headers: headers.update({"x-shopify-api-version": "2020-01"}))),
        ("delivery.signature", replace(delivery(), secret="another")),
        ("delivery.topic", delivery(topic="tea/poured")),
        ("delivery.body", replace(delivery(topic="orders/create"), body=b"[]")),
    ],
)
def test_a_delivery_that_breaks_a_rule_breaks_that_one(judge: ShopifyJudge, rule: str, exchange: Exchange) -> None:
    assert list(judge.judge(delivery())) == []
    assert {breach.rule for breach in judge.judge(exchange)} - {"delivery.signature"} == {rule} - {"delivery.signature"}
    assert rule in {breach.rule for breach in judge.judge(exchange)}


def test_a_delivered_body_has_the_fields_of_a_captured_one(judge: ShopifyJudge, shared_dir: Path) -> None:
    captured = json.loads((shared_dir / "contracts/shopify/samples/orders_create.json").read_text())["body"]
    for changed, broken in (({}, False), ({"total_price": 3}, True)):
        raw = json.dumps(captured | changed).encode()
        signature = base64.b64encode(hmac.digest(b"secret", raw, "sha256")).decode()
        sent = delivery(lambda headers, s=signature: headers.update({"x-shopify-hmac-sha256": s}), "orders/create")  # type: ignore[misc]
        assert bool(list(judge.judge(replace(sent, body=raw)))) is broken


def test_only_good_answers_of_the_sandbox_count_as_exercise(judge: ShopifyJudge) -> None:
    sent = asked(documents.VARIANT_COUNT)
    good = answered(sent, data({"productVariantsCount": {"count": 3}}))
    assert list(judge.exercised(good)) == ["VARIANT_COUNT"]
    refusal = {"errors": [{"message": "m", "extensions": {"code": "THROTTLED"}}], "extensions": {"cost": COST}}
    for other in (replace(good, is_sandbox=False), replace(good, status=None), answered(sent, refusal), SHOP):
        assert list(judge.exercised(other)) == []
    inner = asked(BULK, {"q": documents.LOCATIONS})
    assert list(judge.exercised(answered(inner, data({"bulkOperationRunQuery": {"userErrors": []}})))) == ["LOCATIONS"]
