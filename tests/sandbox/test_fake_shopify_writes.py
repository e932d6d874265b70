"""Mutations that need a key, and what their key remembers; refunds and cancellations by the app."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.outside import Inside, ShopSide, numbers

ADJUST = """mutation($input: InventoryAdjustQuantitiesInput!, $key: String!) {
    inventoryAdjustQuantities(input: $input) @idempotent(key: $key) {
        inventoryAdjustmentGroup { id changes { name delta quantityAfterChange } } userErrors { code field } } }"""
ACTIVATE = """mutation($item: ID!, $location: ID!, $available: Int, $key: String!) {
    inventoryActivate(inventoryItemId: $item, locationId: $location, available: $available) @idempotent(key: $key) {
        inventoryLevel { id isActive quantities(names: ["available"]) { quantity } } userErrors { field message } } }"""
REFUND = """mutation($input: RefundInput!, $key: String!) { refundCreate(input: $input) @idempotent(key: $key) {
    refund { id refundLineItems(first: 5) { nodes { quantity restockType location { id } } } }
    order { displayFinancialStatus } userErrors { field message } } }"""
CANCEL = """mutation($id: ID!, $restock: Boolean!) { orderCancel(orderId: $id, reason: STAFF, restock: $restock) {
    job { id done } orderCancelUserErrors { code field message } } }"""


@pytest.fixture
def shop(inside: Inside) -> ShopSide:
    return inside.shop()


def codes(answer: dict[str, Any], mutation: str = "inventorySetQuantities") -> list[str]:
    return [error["code"] for error in answer["data"][mutation]["userErrors"]]


def key() -> str:
    return f"key-{next(numbers)}"


def gid(order: dict[str, Any]) -> str:
    return f"gid://shopify/Order/{order['id']}"


def adjust(shop: ShopSide, *changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {"name": "available", "reason": "correction", "changes": list(changes)} | more
    return shop.ask(ADJUST, input=given, key=key())


def change(shop: ShopSide, item: str, delta: int, compared: int | None) -> dict[str, Any]:
    return {"inventoryItemId": item, "locationId": shop.location, "delta": delta, "changeFromQuantity": compared}


@pytest.mark.parametrize(
    ("mutation", "selection"),
    [
        ('inventoryAdjustQuantities(input: {name: "available", reason: "other", changes: []})', "userErrors"),
        ('inventoryActivate(inventoryItemId: "x", locationId: "y")', "userErrors"),
        ('refundCreate(input: {orderId: "x"})', "userErrors"),
    ],
)
@pytest.mark.breaks_contract("idempotent")
def test_a_key_is_needed(shop: ShopSide, mutation: str, selection: str) -> None:
    for directive in ("", ' @idempotent(key: " ")'):
        answer = shop.ask(f"mutation {{ {mutation}{directive} {{ {selection} {{ message }} }} }}")
        assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
        assert "data" not in answer


@pytest.mark.parametrize(
    "call",
    [
        'mutation { fulfillmentCancel(id: "x") @idempotent(key: "k") { userErrors { message } } }',
        'mutation { webhookSubscriptionDelete(id: "x") @idempotent(key: "k") { userErrors { message } } }',
        '{ shop @idempotent(key: "k") { id } }',
    ],
)
@pytest.mark.breaks_contract("idempotent")
def test_a_key_where_none_belongs_is_refused_though_it_validates(shop: ShopSide, call: str) -> None:
    answer = shop.ask(call)
    assert (answer["errors"][0]["extensions"]["code"], "data" in answer) == ("BAD_REQUEST", False)


def test_a_key_in_use_elsewhere_asks_for_patience_and_then_works(inside: Inside, shop: ShopSide) -> None:
    items = shop.stock("A")
    inside.faults(kind="idempotency_concurrent", match="slow-key", count=1)
    element = shop.element(items["A"], 4, 10)
    assert codes(shop.set(element, key="slow-key")) == ["IDEMPOTENCY_CONCURRENT_REQUEST"]
    assert shop.level(items["A"])["available"] == 10
    assert codes(shop.set(element, key="slow-key")) == []
    assert shop.level(items["A"])["available"] == 4


def test_a_key_is_forgotten_after_a_day_of_the_clock(inside: Inside, shop: ShopSide) -> None:
    items = shop.stock("A")
    assert codes(shop.set(shop.element(items["A"], 4, 10), key="daily")) == []
    inside.clock.advance(86_000)
    assert codes(shop.set(shop.element(items["A"], 5, 4), key="daily")) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    inside.clock.advance(500)
    shop.token = ""
    assert codes(shop.set(shop.element(items["A"], 5, 4), key="daily")) == []


def test_one_key_belongs_to_one_mutation(shop: ShopSide) -> None:
    items = shop.stock("A")
    assert codes(shop.set(shop.element(items["A"], 4, 10), key="shared")) == []
    given = {"name": "available", "reason": "correction", "changes": [change(shop, items["A"], 1, 4)]}
    answer = shop.ask(ADJUST, input=given, key="shared")
    assert codes(answer, "inventoryAdjustQuantities") == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]


def test_an_inactive_level_is_passed_over_in_silence(shop: ShopSide) -> None:
    items = shop.stock("A", "B")
    shop.control("unstocking", sku="A")
    answer = shop.set(shop.element(items["A"], 4, 99), shop.element(items["B"], 5, 10))
    assert codes(answer) == []
    assert shop.level(items["B"])["available"] == 5
    query = """query($item: ID!, $location: ID!) { inventoryItem(id: $item) {
        inventoryLevel(locationId: $location) { id }
        all: inventoryLevel(locationId: $location, includeInactive: true) { isActive
            quantities(names: ["available"]) { quantity } } } }"""
    found = shop.data(query, item=items["A"], location=shop.location)["inventoryItem"]
    assert found == {"inventoryLevel": None, "all": {"isActive": False, "quantities": [{"quantity": 10}]}}


def test_activation_keeps_the_former_quantities_unless_told_otherwise(shop: ShopSide) -> None:
    items = shop.stock("A")
    shop.control("unstocking", sku="A")
    answer = shop.data(ACTIVATE, item=items["A"], location=shop.location, key=key())["inventoryActivate"]
    assert answer["inventoryLevel"]["quantities"] == [{"quantity": 10}]
    there = shop.control("location", name="Shed")["location_id"]
    made = shop.data(ACTIVATE, item=items["A"], location=there, available=7, key=key())["inventoryActivate"]
    assert made["inventoryLevel"]["quantities"] == [{"quantity": 7}]
    missing = shop.data(ACTIVATE, item="gid://shopify/InventoryItem/1", location=there, key=key())
    assert missing["inventoryActivate"]["userErrors"]


@pytest.mark.breaks_contract("comparison")
def test_deltas_add_up_and_are_compared(shop: ShopSide) -> None:
    items = shop.stock("A", "B")
    done = adjust(shop, change(shop, items["A"], -3, 10), change(shop, items["B"], 5, None))
    assert codes(done, "inventoryAdjustQuantities") == []
    assert (shop.level(items["A"])["available"], shop.level(items["B"])["available"]) == (7, 15)
    stale = adjust(shop, change(shop, items["A"], 1, 7), change(shop, items["B"], 1, 14))
    assert codes(stale, "inventoryAdjustQuantities") == ["CHANGE_FROM_QUANTITY_STALE"]
    # One stale pair keeps the whole call from being written.
    assert shop.level(items["A"])["available"] == 7
    without = {name: value for name, value in change(shop, items["A"], 1, 7).items() if name != "changeFromQuantity"}
    assert adjust(shop, without)["errors"][0]["extensions"]["code"] == "INVALID_FIELD_ARGUMENTS"
    document = adjust(shop, change(shop, items["A"], 1, 7) | {"ledgerDocumentUri": "gid://a/b/c"})
    assert codes(document, "inventoryAdjustQuantities") == ["INVALID_AVAILABLE_DOCUMENT"]
    high = adjust(shop, change(shop, items["A"], 1_000_000_000, 7))
    assert codes(high, "inventoryAdjustQuantities") == ["INVALID_QUANTITY_TOO_HIGH"]


def test_a_refund_restocks_by_its_type_and_once_per_key(inside: Inside, shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 4))
    shop.ship(order, (0, 2))
    line = f"gid://shopify/LineItem/{order['lines'][0]['id']}"

    def refund(kind: str, quantity: int, used: str) -> dict[str, Any]:
        lines = [{"lineItemId": line, "quantity": quantity, "restockType": kind}]
        given = {"orderId": gid(order), "refundLineItems": lines}
        found: dict[str, Any] = shop.data(REFUND, input=given, key=used)["refundCreate"]
        return found

    first = refund("CANCEL", 1, "refund-1")
    assert first["userErrors"] == []
    assert first["order"] == {"displayFinancialStatus": "PARTIALLY_REFUNDED"}
    assert refund("CANCEL", 1, "refund-1")["refund"]["id"] == first["refund"]["id"]
    assert shop.level(items["A"]) == {"available": 7, "committed": 1, "on_hand": 8}
    refund("RETURN", 1, "refund-2")
    assert shop.level(items["A"]) == {"available": 8, "committed": 1, "on_hand": 9}
    refund("NO_RESTOCK", 1, "refund-3")
    assert shop.level(items["A"]) == {"available": 8, "committed": 0, "on_hand": 8}
    too_much = refund("RETURN", 5, "refund-4")
    assert too_much["refund"] is None
    assert too_much["userErrors"][0]["field"] == ["refundLineItems"]


def test_a_refund_can_bring_goods_back_to_another_location(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    there = shop.control("location", name="Returns")["location_id"]
    order = shop.place(("A", 1))
    shop.ship(order)
    part = {
        "lineItemId": f"gid://shopify/LineItem/{order['lines'][0]['id']}",
        "quantity": 1,
        "restockType": "RETURN",
        "locationId": there,
    }
    made = shop.data(REFUND, input={"orderId": gid(order), "refundLineItems": [part]}, key=key())["refundCreate"]
    assert made["refund"]["refundLineItems"]["nodes"][0]["location"] == {"id": there}
    levels = {level["location_id"]: level for level in inside.get(f"/shopify/{shop.domain}/levels")["levels"]}
    assert (levels[there]["available"], levels[shop.location]["available"]) == (1, 9)


@pytest.mark.parametrize(("restock", "available"), [(True, 10), (False, 7)])
def test_cancelling_gives_stock_back_only_when_asked(shop: ShopSide, restock: bool, available: int) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 3))
    made = shop.data(CANCEL, id=gid(order), restock=restock)["orderCancel"]
    assert (made["job"]["done"], made["orderCancelUserErrors"]) == (True, [])
    assert shop.level(items["A"]) == {"available": available, "committed": 0, "on_hand": available}
    again = shop.data(CANCEL, id=gid(order), restock=restock)["orderCancel"]
    assert [error["code"] for error in again["orderCancelUserErrors"]] == ["INVALID"]
    nowhere = shop.data(CANCEL, id="gid://shopify/Order/1", restock=restock)["orderCancel"]
    assert [error["code"] for error in nowhere["orderCancelUserErrors"]] == ["NOT_FOUND"]
