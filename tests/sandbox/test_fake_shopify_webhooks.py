"""Deliveries: signed, grouped by event, retried, given up, made again."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from tests.sandbox.outside import Letter, Outside, Receiver, ShopSide, wait_for

TOPICS = (
    "ORDERS_CREATE",
    "ORDERS_UPDATED",
    "ORDERS_CANCELLED",
    "REFUNDS_CREATE",
    "FULFILLMENTS_CREATE",
    "INVENTORY_LEVELS_UPDATE",
    "PRODUCTS_UPDATE",
)


def hear_all(shop: ShopSide, receiver: Receiver) -> None:
    for topic in TOPICS:
        assert shop.subscribe(topic, receiver.url)["userErrors"] == []


def topics_of(letters: list[Letter]) -> list[str]:
    return sorted(letter.topic for letter in letters)


def test_a_delivery_carries_every_header_and_a_true_signature(shop: ShopSide, receiver: Receiver) -> None:
    shop.stock("A")
    hear_all(shop, receiver)
    order = shop.place(("A", 1), key="café ☕")
    letter = receiver.wait(1, "orders/create")[0]
    assert letter.signed_with(shop.entry["client_secret"])
    assert not letter.signed_with("another secret")
    assert letter.headers["x-shopify-shop-domain"] == shop.domain
    assert letter.headers["x-shopify-api-version"] == "2026-10"
    assert letter.headers["content-type"] == "application/json"
    triggered = letter.headers["x-shopify-triggered-at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z", triggered)
    assert letter.body["id"] == order["id"]
    assert letter.body["source_identifier"] == "café ☕"
    assert str(order["id"]).encode() in letter.raw


def test_one_act_is_one_event(shop: ShopSide, receiver: Receiver) -> None:
    shop.stock("A", "B")
    hear_all(shop, receiver)
    shop.place(("A", 1), ("A", 1), ("B", 2), ship=True)
    letters = receiver.wait(5)
    placed = [letter for letter in letters if letter.topic in ("orders/create", "inventory_levels/update")]
    shipped = [letter for letter in letters if letter.topic in ("fulfillments/create", "orders/updated")]
    assert topics_of(placed) == ["inventory_levels/update", "inventory_levels/update", "orders/create"]
    assert topics_of(shipped) == ["fulfillments/create", "orders/updated"]
    for group in (placed, shipped):
        assert len({letter.event for letter in group}) == 1
        assert len({letter.headers["x-shopify-triggered-at"] for letter in group}) == 1
    assert placed[0].event != shipped[0].event
    assert len({letter.id for letter in letters}) == 5


def test_a_level_is_told_as_it_stands_after_the_act(shop: ShopSide, receiver: Receiver) -> None:
    items = shop.stock("A")
    shop.subscribe("INVENTORY_LEVELS_UPDATE", receiver.url)
    shop.place(("A", 3))
    body = receiver.wait(1)[0].body
    assert body["available"] == 7
    assert items["A"] == f"gid://shopify/InventoryItem/{body['inventory_item_id']}"
    assert shop.location == f"gid://shopify/Location/{body['location_id']}"
    assert body["admin_graphql_api_id"].endswith(f"?inventory_item_id={body['inventory_item_id']}")
    assert datetime.fromisoformat(body["updated_at"]).utcoffset() is not None
    shop.set(shop.element(items["A"], 20, 7))
    shop.control("adjustments", adjustments=[{"sku": "A", "delta": 2}])
    assert sorted(letter.body["available"] for letter in receiver.wait(3)) == [7, 20, 22]


def test_nothing_is_said_of_untracked_items_or_of_numbers_that_stay(shop: ShopSide, receiver: Receiver) -> None:
    items = shop.stock("A")
    shop.stock("POST", tracked=False)
    hear_all(shop, receiver)
    shop.set(shop.element(items["A"], 10, 10))
    order = shop.place(("POST", 1), ship=True)
    shop.refund(order, (0, 1, "return"))
    receiver.wait(5)
    assert topics_of(receiver.letters) == [
        "fulfillments/create",
        "orders/create",
        "orders/updated",
        "orders/updated",
        "refunds/create",
    ]


def test_refunds_and_cancellations_are_told(shop: ShopSide, receiver: Receiver) -> None:
    shop.stock("A")
    order = shop.place(("A", 3))
    hear_all(shop, receiver)
    refund = shop.refund(order, (0, 1, "cancel"))
    letters = receiver.wait(3)
    assert topics_of(letters) == ["inventory_levels/update", "orders/updated", "refunds/create"]
    body = receiver.of("refunds/create")[0].body
    assert (body["id"], body["order_id"]) == (refund["id"], order["id"])
    assert body["refund_line_items"][0]["restock_type"] == "cancel"
    assert body["refund_line_items"][0]["line_item_id"] == order["lines"][0]["id"]
    updated = receiver.of("orders/updated")[0].body
    assert updated["refunds"][0]["id"] == refund["id"]
    assert updated["line_items"][0]["current_quantity"] == 2
    assert updated["financial_status"] == "partially_refunded"
    shop.cancel(order)
    cancelled = receiver.wait(1, "orders/cancelled")[0].body
    assert cancelled["cancel_reason"] == "customer"
    assert cancelled["cancelled_at"]


def test_new_products_are_announced_only_when_asked(shop: ShopSide, receiver: Receiver) -> None:
    hear_all(shop, receiver)
    shop.stock("QUIET")
    product = {"title": "Loud", "sku": "LOUD", "price": "1.00", "tracked": True, "available": 3}
    shop.control("products", products=[product], announce=True)
    receiver.wait(2)
    assert topics_of(receiver.letters) == ["inventory_levels/update", "products/update"]
    assert receiver.of("products/update")[0].body["variants"][0]["sku"] == "LOUD"


def test_one_address_hears_a_topic_once(shop: ShopSide, receiver: Receiver) -> None:
    assert shop.subscribe("ORDERS_CREATE", receiver.url)["webhookSubscription"]["topic"] == "ORDERS_CREATE"
    again = shop.subscribe("ORDERS_CREATE", receiver.url)
    assert again["webhookSubscription"] is None
    assert again["userErrors"][0]["message"] == "Address for this topic has already been taken"
    assert shop.subscribe("ORDERS_CREATE", receiver.url + "/other")["userErrors"] == []


@pytest.mark.parametrize(
    "wanted",
    [{"uri": "nowhere"}, {"uri": "ftp://x/y"}, {"format": "XML"}, {"filter": "total_price:>"}, {"filter": "(a:1"}],
)
def test_refuses_a_subscription_it_could_not_serve(shop: ShopSide, receiver: Receiver, wanted: dict[str, str]) -> None:
    answer = shop.subscribe("ORDERS_CREATE", **({"uri": receiver.url} | wanted))
    assert answer["userErrors"]


def test_subscriptions_are_listed_changed_and_deleted(shop: ShopSide, receiver: Receiver) -> None:
    made = shop.subscribe("ORDERS_CREATE", receiver.url)["webhookSubscription"]
    shop.subscribe("ORDERS_UPDATED", receiver.url)
    listing = "{ webhookSubscriptions(first: 5, topics: [ORDERS_CREATE]) { nodes { id topic uri filter format } } }"
    assert [node["id"] for node in shop.data(listing)["webhookSubscriptions"]["nodes"]] == [made["id"]]
    update = """mutation($id: ID!, $input: WebhookSubscriptionInput!) { webhookSubscriptionUpdate(id: $id,
        webhookSubscription: $input) { webhookSubscription { uri filter } userErrors { message } } }"""
    changed = shop.data(update, id=made["id"], input={"filter": "test:true"})["webhookSubscriptionUpdate"]
    assert changed["webhookSubscription"] == {"uri": receiver.url, "filter": "test:true"}
    delete = """mutation($id: ID!) { webhookSubscriptionDelete(id: $id) {
        deletedWebhookSubscriptionId userErrors { field } } }"""
    gone = shop.data(delete, id=made["id"])["webhookSubscriptionDelete"]
    assert gone == {"deletedWebhookSubscriptionId": made["id"], "userErrors": []}
    assert shop.data(listing)["webhookSubscriptions"]["nodes"] == []
    assert shop.data(delete, id=made["id"])["webhookSubscriptionDelete"]["userErrors"] == [{"field": ["id"]}]


def test_filters_and_chosen_fields_are_honoured(shop: ShopSide, receiver: Receiver) -> None:
    shop.stock("A", available=100)
    shop.subscribe(
        "ORDERS_CREATE",
        receiver.url,
        filter="line_items.quantity:>=5 AND NOT line_items.sku:B",
        includeFields=["id", "updated_at", "line_items.sku"],
    )
    shop.place(("A", 4))
    order = shop.place(("A", 5))
    letter = receiver.wait(1)[0]
    assert letter.body["id"] == order["id"]
    assert set(letter.body) == {"id", "updated_at", "line_items"}
    assert letter.body["line_items"] == [{"sku": "A"}]
    assert len(receiver.letters) == 1


def test_routing_and_bulk_operations_end_by_themselves(hurried: Outside, receiver: Receiver) -> None:
    shop = hurried.shop()
    shop.stock("A")
    for topic in ("FULFILLMENT_ORDERS_ORDER_ROUTING_COMPLETE", "BULK_OPERATIONS_FINISH"):
        shop.subscribe(topic, receiver.url)
    shop.place(("A", 1))
    run = """mutation { bulkOperationRunQuery(query: "{ products { nodes { id } } }") { bulkOperation { id } } }"""
    made = shop.data(run)["bulkOperationRunQuery"]["bulkOperation"]["id"]
    letters = {letter.topic: letter.body for letter in receiver.wait(2)}
    assert letters["fulfillment_orders/order_routing_complete"]["fulfillment_order"]["status"] == "open"
    assert letters["bulk_operations/finish"]["admin_graphql_api_id"] == made
    state = shop.data("query($id: ID!) { bulkOperation(id: $id) { url } }", id=made)["bulkOperation"]
    lines = hurried.http.get(state["url"])
    assert lines.headers["content-type"].startswith("application/jsonl")
    assert len(lines.text.splitlines()) == 1


def test_a_failed_delivery_is_made_again_with_the_same_id_and_body(hurried: Outside, receiver: Receiver) -> None:
    answers = iter([500, 302, 404])
    receiver.status = lambda letter: next(answers, 204)
    shop = hurried.shop()
    shop.stock("A")
    shop.subscribe("ORDERS_CREATE", receiver.url)
    shop.place(("A", 1))
    letters = receiver.wait(4)
    assert len({letter.id for letter in letters}) == 1
    assert len({letter.raw for letter in letters}) == 1
    wait_for(lambda: hurried.get("/deliveries")["queued"] == 0)
    assert len(receiver.letters) == 4


def test_a_dead_address_loses_its_subscription_after_all_retries(hurried: Outside, receiver: Receiver) -> None:
    receiver.status = lambda letter: 500
    shop = hurried.shop()
    shop.stock("A")
    shop.subscribe("ORDERS_CREATE", receiver.url)
    before = hurried.get("/deliveries")
    shop.place(("A", 1))
    wait_for(lambda: hurried.get("/deliveries")["subscriptions_deleted"] > before["subscriptions_deleted"])
    assert len(receiver.letters) == 9
    assert hurried.get("/deliveries")["given_up"] == before["given_up"] + 1
    assert shop.data("{ webhookSubscriptions(first: 5) { nodes { id } } }")["webhookSubscriptions"]["nodes"] == []


def test_one_poisonous_body_does_not_cost_a_living_address_its_subscription(
    hurried: Outside, receiver: Receiver
) -> None:
    receiver.status = lambda letter: 500 if letter.body["source_identifier"] == "poison" else 200
    shop = hurried.shop()
    shop.stock("A", available=1000)
    shop.subscribe("ORDERS_CREATE", receiver.url)
    given_up = hurried.get("/deliveries")["given_up"]
    shop.place(("A", 1), key="poison")
    wait_for(lambda: len(receiver.letters) >= 3)
    shop.place(("A", 1))
    wait_for(lambda: hurried.get("/deliveries")["given_up"] == given_up + 1)
    assert len(shop.data("{ webhookSubscriptions(first: 5) { nodes { id } } }")["webhookSubscriptions"]["nodes"]) == 1


def test_past_deliveries_can_be_made_again_with_old_or_new_ids(own: Outside, receiver: Receiver) -> None:
    shop = own.shop()
    shop.stock("A", available=100)
    shop.subscribe("ORDERS_CREATE", receiver.url)
    for _ in range(3):
        shop.place(("A", 1))
    first = receiver.wait(3)[:3]
    wait_for(lambda: own.get("/deliveries")["delivered"] == 3)
    assert own.post("/deliveries/redeliver", ids="same", domain=shop.domain) == {"count": 3}
    again = receiver.wait(6)[3:6]
    assert {letter.id for letter in again} == {letter.id for letter in first}
    assert {letter.raw for letter in again} == {letter.raw for letter in first}
    wait_for(lambda: own.get("/deliveries")["delivered"] == 6)
    assert own.post("/deliveries/redeliver", ids="new") == {"count": 3}
    fresh = receiver.wait(9)[6:9]
    assert not {letter.id for letter in fresh} & {letter.id for letter in first}
    assert {letter.event for letter in fresh} == {letter.event for letter in first}
    assert own.http.post("/_control/deliveries/redeliver", json={"ids": "old"}).status_code == 422


def test_deliveries_can_be_doubled_delayed_and_shuffled(own: Outside, receiver: Receiver) -> None:
    shop = own.shop()
    shop.stock("A", available=100)
    shop.subscribe("ORDERS_CREATE", receiver.url)
    own.faults(kind="duplicate_delivery", match="orders/create", count=1)
    shop.place(("A", 1))
    assert len({letter.id for letter in receiver.wait(2)}) == 1
    own.faults(kind="delayed_delivery", match="orders/create", count=1, seconds=3600)
    late = shop.place(("A", 1))
    early = shop.place(("A", 1))
    assert receiver.wait(3)[2].body["id"] == early["id"]
    own.post("/clock", factor=1_000_000)
    assert receiver.wait(4)[3].body["id"] == late["id"]
    own.faults(kind="reordered_delivery", match="orders/create", count=10, seconds=200_000)
    placed = [shop.place(("A", 1))["id"] for _ in range(10)]
    arrived = [letter.body["id"] for letter in receiver.wait(14)[4:]]
    assert sorted(arrived) == sorted(placed)
    assert arrived != placed
