"""What staff do in the shop, with the webhooks each act sends, and four hours of retries on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.courier import RETRY_WAITS
from tests.sandbox.outside import Inside, Letter, Receiver, ShopSide

EVERY_TOPIC = (
    "APP_UNINSTALLED",
    "BULK_OPERATIONS_FINISH",
    "DRAFT_ORDERS_CREATE",
    "DRAFT_ORDERS_DELETE",
    "DRAFT_ORDERS_UPDATE",
    "FULFILLMENTS_CREATE",
    "FULFILLMENT_ORDERS_CANCELLED",
    "FULFILLMENT_ORDERS_MOVED",
    "FULFILLMENT_ORDERS_ORDER_ROUTING_COMPLETE",
    "FULFILLMENT_ORDERS_PLACED_ON_HOLD",
    "INVENTORY_ITEMS_DELETE",
    "INVENTORY_LEVELS_CONNECT",
    "INVENTORY_LEVELS_DISCONNECT",
    "INVENTORY_LEVELS_UPDATE",
    "LOCATIONS_CREATE",
    "LOCATIONS_DELETE",
    "ORDERS_CANCELLED",
    "ORDERS_CREATE",
    "ORDERS_DELETE",
    "ORDERS_EDITED",
    "ORDERS_FULFILLED",
    "ORDERS_UPDATED",
    "PRODUCTS_CREATE",
    "PRODUCTS_DELETE",
    "REFUNDS_CREATE",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Delivers webhooks, unlike the other worlds in this process."""
    running = Inside(tmp_path_factory.mktemp("delivering"), background=True)
    yield running
    running.stop()


@pytest.fixture
def shop(world: Inside) -> ShopSide:
    return world.shop()


@pytest.fixture
def told(shop: ShopSide, receiver: Receiver) -> Receiver:
    """Hears everything of the shop, which has two things and two locations."""
    shop.stock("A", "B")
    for topic in EVERY_TOPIC:
        assert shop.subscribe(topic, receiver.url)["userErrors"] == []
    return receiver


def passes(world: Inside, seconds: float = 0.0) -> None:
    world.post("/clock", advance=seconds)


def since(world: Inside, receiver: Receiver, seconds: float = 0.0) -> list[Letter]:
    """What has come by now; forgets it."""
    passes(world, seconds)
    found = list(receiver.letters)
    receiver.letters.clear()
    return found


def by_topic(letters: list[Letter]) -> dict[str, dict[str, Any]]:
    return {letter.topic: letter.body for letter in letters}


def test_an_order_is_routed_after_it_was_told(world: Inside, shop: ShopSide, told: Receiver) -> None:
    order = shop.place(("A", 1))
    assert {letter.topic for letter in since(world, told)} == {"orders/create", "inventory_levels/update"}
    (letter,) = since(world, told, 5)
    assert letter.topic == "fulfillment_orders/order_routing_complete"
    assert set(letter.body["fulfillment_order"]) == {"id", "status"}
    shop.ship(order)
    topics = {letter.topic for letter in since(world, told)}
    assert topics == {"fulfillments/create", "orders/updated", "orders/fulfilled"}


def test_an_edit_adds_and_removes_lines_without_a_refund(world: Inside, shop: ShopSide, told: Receiver) -> None:
    order = shop.place(("A", 3))
    since(world, told, 5)
    edit = {
        "key": "edit-1",
        "order_id": order["id"],
        "add": [{"sku": "B", "quantity": 2, "price": "4.00"}],
        "remove": [{"line_id": order["lines"][0]["id"], "quantity": 1}],
    }
    made = shop.control("edit", **edit)
    assert shop.control("edit", **edit) == made
    letters = since(world, told)
    bodies = by_topic(letters)
    assert sorted(letter.topic for letter in letters) == [
        "inventory_levels/update",
        "inventory_levels/update",
        "orders/edited",
        "orders/updated",
    ]
    lines = bodies["orders/edited"]["order_edit"]["line_items"]
    assert lines["additions"] == [{"id": made["added"][0], "delta": 2}]
    assert lines["removals"] == [{"id": order["lines"][0]["id"], "delta": 1}]
    after = bodies["orders/updated"]
    assert [(line["sku"], line["current_quantity"]) for line in after["line_items"]] == [("A", 2), ("B", 2)]
    assert (after["current_total_price"], after["refunds"], after["total_price"]) == ("13.00", [], "15.50")
    query = """query($id: ID!) { order(id: $id) { edited fulfillmentOrders(first: 5) { nodes {
        lineItems(first: 5) { nodes { sku remainingQuantity } } } } } }"""
    found = shop.data(query, id=f"gid://shopify/Order/{order['id']}")["order"]
    left = [line for part in found["fulfillmentOrders"]["nodes"] for line in part["lineItems"]["nodes"]]
    assert found["edited"]
    assert left == [{"sku": "A", "remainingQuantity": 2}, {"sku": "B", "remainingQuantity": 2}]
    levels = {level["sku"]: level for level in world.get(f"/shopify/{shop.domain}/levels")["levels"]}
    assert [(levels[sku]["available"], levels[sku]["committed"]) for sku in "AB"] == [(8, 2), (8, 2)]


def test_a_draft_holds_nothing_until_it_becomes_an_order(world: Inside, shop: ShopSide, told: Receiver) -> None:
    line = {"sku": "A", "quantity": 4, "price": "2.50"}
    shop.control("draft", key="d1", lines=[line])
    (letter,) = since(world, told)
    assert (letter.topic, letter.body["status"], letter.body["order_id"]) == ("draft_orders/create", "open", None)
    made = shop.control("draft/completion", draft="d1")
    bodies = by_topic(since(world, told))
    assert set(bodies) == {"draft_orders/update", "orders/create", "inventory_levels/update"}
    assert bodies["draft_orders/update"]["order_id"] == made["order_id"] == bodies["orders/create"]["id"]
    assert bodies["orders/create"]["source_name"] == "shopify_draft_order"
    assert bodies["inventory_levels/update"]["available"] == 6
    assert shop.control("draft/completion", draft="d1") == made
    shop.control("draft/deletion", draft="d1")
    assert [letter.topic for letter in since(world, told, 5) if "draft" in letter.topic] == ["draft_orders/delete"]


def test_a_cancelled_order_may_be_deleted_and_is_gone_for_good(world: Inside, shop: ShopSide, told: Receiver) -> None:
    order = shop.place(("A", 2), ship=True)
    refused = world.http.post(f"/_control/shopify/{shop.domain}/order/deletion", json={"order_id": order["id"]})
    assert (refused.status_code, "not_cancelled" in refused.text) == (409, True)
    open_one = shop.place(("A", 1))
    shop.cancel(open_one)
    shop.control("order/deletion", order_id=open_one["id"])
    letters = since(world, told, 20)
    assert [letter.body for letter in letters if letter.topic == "orders/delete"] == [
        {"id": int(str(open_one["id"]).rpartition("/")[2])}
    ]
    seen = shop.data("query($id: ID!) { order(id: $id) { id } orders(first: 5) { nodes { id } } }", id=open_one["id"])
    assert (seen["order"], [node["id"] for node in seen["orders"]["nodes"]]) == (
        None,
        [f"gid://shopify/Order/{order['id']}"],
    )


def test_a_number_is_corrected_by_hand(world: Inside, shop: ShopSide, told: Receiver) -> None:
    assert shop.control("adjustment", sku="A", available=3, key="hand")["delta"] == -7
    (letter,) = since(world, told)
    assert (letter.topic, letter.body["available"]) == ("inventory_levels/update", 3)


def test_places_open_are_stocked_and_close(world: Inside, shop: ShopSide, told: Receiver) -> None:
    there = shop.control("location", name="Shed")["location_id"]
    shop.control("stocking", sku="A", location_id=there, available=2)
    assert {letter.topic for letter in since(world, told)} == {"locations/create", "inventory_levels/connect"}
    order = shop.place(("A", 1))
    shop.control("move", order_id=order["id"], location_id=there)
    moved = by_topic(since(world, told))["fulfillment_orders/moved"]
    assert moved["destination_location_id"] == there
    path = f"/_control/shopify/{shop.domain}/location/deletion"
    assert world.http.post(path, json={"location_id": there}).json()["error"] == "location_in_use"
    shop.ship(order)
    since(world, told)
    shop.control("location/deletion", location_id=there)
    assert {letter.topic for letter in since(world, told)} == {"inventory_levels/disconnect", "locations/delete"}
    assert world.http.post(path, json={"location_id": shop.location}).json()["error"] == "last_location"
    names = shop.data("{ locations(first: 5) { nodes { id } } }")["locations"]["nodes"]
    assert names == [{"id": shop.location}]


def test_a_deleted_product_is_gone_and_its_orders_stay(world: Inside, shop: ShopSide, told: Receiver) -> None:
    order = shop.place(("A", 1))
    since(world, told, 5)
    shop.control("deletion", sku="A")
    assert {letter.topic for letter in since(world, told)} == {"inventory_items/delete", "products/delete"}
    query = """query($id: ID!) { order(id: $id) { lineItems(first: 5) { nodes { sku variant { id } } } }
        productVariants(first: 5) { nodes { sku } } }"""
    found = shop.data(query, id=f"gid://shopify/Order/{order['id']}")
    assert found["order"]["lineItems"]["nodes"] == [{"sku": "A", "variant": None}]
    assert found["productVariants"]["nodes"] == [{"sku": "B"}]


def test_the_end_of_a_bulk_operation_is_told(world: Inside, shop: ShopSide, told: Receiver) -> None:
    run = """mutation { bulkOperationRunQuery(query: "{ products { nodes { id } } }") { bulkOperation { id } } }"""
    made = shop.data(run)["bulkOperationRunQuery"]["bulkOperation"]["id"]
    assert since(world, told) == []
    (letter,) = since(world, told, 10)
    assert letter.topic == "bulk_operations/finish"
    assert (letter.body["admin_graphql_api_id"], letter.body["status"]) == (made, "completed")


def test_an_uninstalled_app_hears_of_it_and_nothing_after(world: Inside, shop: ShopSide, told: Receiver) -> None:
    shop.control("uninstallation")
    (letter,) = since(world, told)
    assert (letter.topic, letter.body["myshopify_domain"]) == ("app/uninstalled", shop.domain)
    assert letter.signed_with(shop.entry["client_secret"])
    shop.place(("A", 1))
    assert since(world, told, 5) == []
    assert shop.send("{ shop { id } }").status_code == 401


def test_a_rotated_secret_signs_only_after_an_hour(world: Inside, shop: ShopSide, told: Receiver) -> None:
    old = shop.entry["client_secret"]
    new = shop.control("app", rotate_secret=True)["client_secret"]
    shop.control("adjustment", sku="A", delta=1)
    (letter,) = since(world, told)
    assert letter.signed_with(old)
    passes(world, 3601)
    shop.control("adjustment", sku="A", delta=1)
    (letter,) = since(world, told)
    assert letter.signed_with(new)


def test_retries_go_over_four_hours_with_the_first_body_to_the_first_address(
    world: Inside, shop: ShopSide, receiver: Receiver
) -> None:
    shop.stock("A")
    made = shop.subscribe("ORDERS_CREATE", receiver.url)["webhookSubscription"]["id"]
    hours: list[float] = []
    began = world.clock.now()

    def refuse(letter: Letter) -> int:
        hours.append(world.clock.now() - began)
        return 500 if len(hours) < 9 else 200

    receiver.status = refuse
    order = shop.place(("A", 1))
    passes(world)
    change = """mutation($id: ID!) { webhookSubscriptionUpdate(id: $id,
        webhookSubscription: {uri: "http://127.0.0.1:1/elsewhere"}) { userErrors { message } } }"""
    assert shop.data(change, id=made)["webhookSubscriptionUpdate"]["userErrors"] == []
    shop.cancel(order)
    passes(world, 5 * 3600)
    expected = [sum(RETRY_WAITS[:count]) for count in range(9)]
    assert hours == pytest.approx(expected, abs=0.01)
    assert hours[-1] == pytest.approx(4 * 3600, abs=0.01)
    assert len({(letter.id, letter.raw) for letter in receiver.letters}) == 1
    assert receiver.letters[-1].body["cancelled_at"] is None


def test_after_eight_failed_retries_the_subscription_is_gone(world: Inside, shop: ShopSide, receiver: Receiver) -> None:
    shop.stock("A")
    shop.subscribe("ORDERS_CREATE", receiver.url)
    receiver.status = lambda letter: 503
    shop.place(("A", 1))
    query = "{ webhookSubscriptions(first: 5) { nodes { topic } } }"
    passes(world, 4 * 3600 - 60)
    assert len(receiver.letters) == 8
    assert shop.data(query)["webhookSubscriptions"]["nodes"] == [{"topic": "ORDERS_CREATE"}]
    passes(world, 120)
    assert len(receiver.letters) == 9
    assert shop.data(query)["webhookSubscriptions"]["nodes"] == []


@pytest.mark.breaks_contract("include_fields")
def test_chosen_fields_that_do_not_change_are_dropped_as_duplicates(
    world: Inside, shop: ShopSide, receiver: Receiver
) -> None:
    shop.stock("A")
    shop.subscribe("ORDERS_UPDATED", receiver.url, includeFields=["id", "name"])
    order = shop.place(("A", 3))
    shop.ship(order, (0, 1))
    shop.ship(order, (0, 1))
    assert len(since(world, receiver)) == 1
    other = f"{receiver.url}/whole"
    shop.subscribe("ORDERS_UPDATED", other, includeFields=["id", "updated_at"])
    world.clock.advance(5)
    shop.refund(order, (0, 1, "return"))
    world.clock.advance(5)
    shop.refund(order, (0, 1, "return"))
    assert [letter.body["id"] for letter in since(world, receiver)] == [order["id"]] * 2
