"""Fulfilment orders: routed after the order, one per location, shipped from, held, moved and called off."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.outside import Inside, ShopSide

ROUTED = """query($id: ID!) { order(id: $id) { displayFulfillmentStatus
    fulfillmentOrders(first: 10) { nodes { id status requestStatus assignedLocation { location { id } }
        supportedActions { action } fulfillmentHolds { reason }
        lineItems(first: 10) { nodes { id totalQuantity remainingQuantity lineItem { id sku } } } } }
    fulfillments(first: 10) { id status displayStatus totalQuantity trackingInfo { company number url } } } }"""
SHIP = """mutation($given: FulfillmentInput!) { fulfillmentCreate(fulfillment: $given) {
    fulfillment { id status trackingInfo { company number url } fulfillmentOrders(first: 2) { nodes { id } } }
    userErrors { field message } } }"""


@pytest.fixture
def shop(inside: Inside) -> ShopSide:
    return inside.shop()


def routed(shop: ShopSide, order: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shop.data(ROUTED, id=f"gid://shopify/Order/{order['id']}")["order"]
    return found


def parts(shop: ShopSide, order: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = routed(shop, order)["fulfillmentOrders"]["nodes"]
    return found


def placed(inside: Inside, shop: ShopSide, *lines: tuple[str, int]) -> dict[str, Any]:
    order = shop.place(*lines)
    inside.clock.advance(3)
    return order


def ship(shop: ShopSide, *groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = shop.data(SHIP, given={"lineItemsByFulfillmentOrder": list(groups)} | more)
    made: dict[str, Any] = answer["fulfillmentCreate"]
    return made


def counts(part: dict[str, Any]) -> list[tuple[int, int]]:
    return [(line["totalQuantity"], line["remainingQuantity"]) for line in part["lineItems"]["nodes"]]


def test_a_fulfilment_order_appears_after_routing_and_not_with_the_order(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    order = shop.place(("A", 3))
    assert parts(shop, order) == []
    inside.clock.advance(3)
    (part,) = parts(shop, order)
    assert (part["status"], part["requestStatus"]) == ("OPEN", "UNSUBMITTED")
    assert part["assignedLocation"]["location"]["id"] == shop.location
    assert {entry["action"] for entry in part["supportedActions"]} >= {"CREATE_FULFILLMENT"}
    assert counts(part) == [(3, 3)]


def test_there_is_one_fulfilment_order_per_location(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A", "B")
    there = shop.control("location", name="Shed")["location_id"]
    shop.control("stocking", sku="B", location_id=there, available=50)
    order = placed(inside, shop, ("A", 1), ("B", 40))
    here, shed = parts(shop, order)
    assert {here["assignedLocation"]["location"]["id"], shed["assignedLocation"]["location"]["id"]} == {
        shop.location,
        there,
    }
    both = ship(shop, {"fulfillmentOrderId": here["id"]}, {"fulfillmentOrderId": shed["id"]})
    message = "All fulfillment orders must be assigned to a single location."
    assert both == {"fulfillment": None, "userErrors": [{"field": ["fulfillment"], "message": message}]}
    assert ship(shop, {"fulfillmentOrderId": shed["id"]})["userErrors"] == []
    assert routed(shop, order)["displayFulfillmentStatus"] == "PARTIALLY_FULFILLED"
    assert [part["status"] for part in parts(shop, order)] == ["OPEN", "CLOSED"]


def test_shipping_takes_from_what_is_left_and_closes_at_the_end(inside: Inside, shop: ShopSide) -> None:
    items = shop.stock("A")
    order = placed(inside, shop, ("A", 3))
    (part,) = parts(shop, order)
    line = part["lineItems"]["nodes"][0]["id"]
    some = {"fulfillmentOrderId": part["id"], "fulfillmentOrderLineItems": [{"id": line, "quantity": 2}]}
    tracking = {"company": "UPS", "number": "1Z1", "url": "https://example.com/1Z1"}
    made = ship(shop, some, trackingInfo=tracking)
    assert made["userErrors"] == []
    assert made["fulfillment"]["trackingInfo"] == [tracking]
    assert made["fulfillment"]["fulfillmentOrders"]["nodes"] == [{"id": part["id"]}]
    assert shop.level(items["A"]) == {"available": 7, "committed": 1, "on_hand": 8}
    (part,) = parts(shop, order)
    assert (part["status"], counts(part)) == ("IN_PROGRESS", [(3, 1)])
    assert ship(shop, some)["userErrors"][0]["message"] == "Invalid fulfillment order line item quantity requested."
    assert ship(shop, {"fulfillmentOrderId": part["id"]})["userErrors"] == []
    (part,) = parts(shop, order)
    assert (part["status"], counts(part), part["supportedActions"]) == ("CLOSED", [(3, 0)], [])
    assert routed(shop, order)["displayFulfillmentStatus"] == "FULFILLED"
    again = ship(shop, {"fulfillmentOrderId": part["id"]})["userErrors"]
    assert "unfulfillable status= closed" in again[0]["message"]


@pytest.mark.parametrize("quantity", [0, -1, 4])
def test_no_more_than_is_left_can_be_shipped(inside: Inside, shop: ShopSide, quantity: int) -> None:
    shop.stock("A")
    (part,) = parts(shop, placed(inside, shop, ("A", 3)))
    line = {"id": part["lineItems"]["nodes"][0]["id"], "quantity": quantity}
    made = ship(shop, {"fulfillmentOrderId": part["id"], "fulfillmentOrderLineItems": [line]})
    assert made["userErrors"][0]["message"] == "Invalid fulfillment order line item quantity requested."


def test_a_fulfilment_order_of_another_shop_does_not_exist(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    (part,) = parts(shop, placed(inside, shop, ("A", 1)))
    made = ship(inside.shop(), {"fulfillmentOrderId": part["id"]})
    assert made["userErrors"][0]["message"] == "Fulfillment order does not exist."


def test_a_cancelled_shipment_gives_its_units_back_to_the_fulfilment_order(inside: Inside, shop: ShopSide) -> None:
    items = shop.stock("A")
    order = placed(inside, shop, ("A", 2))
    shop.ship(order)
    (made,) = routed(shop, order)["fulfillments"]
    assert (made["status"], made["displayStatus"]) == ("SUCCESS", "FULFILLED")
    undo = "mutation($id: ID!) { fulfillmentCancel(id: $id) { fulfillment { status } userErrors { message } } }"
    answer = shop.data(undo, id=made["id"])["fulfillmentCancel"]
    assert answer == {"fulfillment": {"status": "CANCELLED"}, "userErrors": []}
    (part,) = parts(shop, order)
    assert (part["status"], counts(part)) == ("OPEN", [(2, 2)])
    assert routed(shop, order)["displayFulfillmentStatus"] == "UNFULFILLED"
    assert shop.level(items["A"]) == {"available": 8, "committed": 2, "on_hand": 10}
    assert shop.data(undo, id=made["id"])["fulfillmentCancel"]["userErrors"]


def test_tracking_and_events_change_what_a_shipment_shows(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    order = placed(inside, shop, ("A", 1))
    shop.ship(order)
    made = routed(shop, order)["fulfillments"][0]["id"]
    track = """mutation($id: ID!, $info: FulfillmentTrackingInput!) {
        fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $info) { userErrors { message } } }"""
    shop.data(track, id=made, info={"company": "DHL Express", "numbers": ["JD1", "JD2"]})
    event = """mutation($event: FulfillmentEventInput!) { fulfillmentEventCreate(fulfillmentEvent: $event) {
        fulfillmentEvent { id status happenedAt } userErrors { message } } }"""
    told = shop.data(event, event={"fulfillmentId": made, "status": "IN_TRANSIT"})["fulfillmentEventCreate"]
    assert told["fulfillmentEvent"]["status"] == "IN_TRANSIT"
    wrong = {"fulfillmentId": made, "status": "DELIVERED", "happenedAt": "yesterday"}
    assert shop.data(event, event=wrong)["fulfillmentEventCreate"]["fulfillmentEvent"] is None
    (shown,) = routed(shop, order)["fulfillments"]
    assert shown["trackingInfo"] == [{"company": "DHL Express", "number": "JD1", "url": None}]
    assert shown["displayStatus"] == "IN_TRANSIT"


def test_what_is_on_hold_cannot_be_shipped_until_it_is_released(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    order = placed(inside, shop, ("A", 1))
    (part,) = parts(shop, order)
    hold = """mutation($id: ID!, $hold: FulfillmentOrderHoldInput!) {
        fulfillmentOrderHold(id: $id, fulfillmentHold: $hold) { fulfillmentHold { id } fulfillmentOrder { status }
            userErrors { code } } }"""
    held = shop.data(hold, id=part["id"], hold={"reason": "INCORRECT_ADDRESS"})["fulfillmentOrderHold"]
    assert (held["fulfillmentOrder"], held["userErrors"]) == ({"status": "ON_HOLD"}, [])
    assert shop.data(hold, id=part["id"], hold={"reason": "OTHER"})["fulfillmentOrderHold"]["userErrors"] == [
        {"code": "TAKEN"}
    ]
    assert routed(shop, order)["displayFulfillmentStatus"] == "ON_HOLD"
    assert ship(shop, {"fulfillmentOrderId": part["id"]})["userErrors"]
    release = "mutation($id: ID!) { fulfillmentOrderReleaseHold(id: $id) { fulfillmentOrder { status } } }"
    freed = shop.data(release, id=part["id"])["fulfillmentOrderReleaseHold"]
    assert freed == {"fulfillmentOrder": {"status": "OPEN"}}
    assert ship(shop, {"fulfillmentOrderId": part["id"]})["userErrors"] == []


def test_units_taken_off_the_order_leave_the_fulfilment_order_too(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    order = placed(inside, shop, ("A", 3))
    shop.refund(order, (0, 1, "cancel"))
    (part,) = parts(shop, order)
    assert counts(part) == [(2, 2)]
    shop.cancel(order)
    (part,) = parts(shop, order)
    assert (part["status"], [left for _, left in counts(part)]) == ("CANCELLED", [0])


def test_an_order_cancelled_before_routing_is_never_routed(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    order = shop.place(("A", 1))
    shop.cancel(order)
    inside.clock.advance(60)
    assert parts(shop, order) == []


def test_moving_an_order_moves_what_is_committed_with_it(inside: Inside, shop: ShopSide) -> None:
    items = shop.stock("A")
    there = shop.control("location", name="Shed")["location_id"]
    order = placed(inside, shop, ("A", 2))
    refused = inside.http.post(
        f"/_control/shopify/{shop.domain}/move", json={"order_id": order["id"], "location_id": there}
    )
    assert refused.json()["error"] == "not_stocked"
    shop.control("stocking", sku="A", location_id=there, available=5)
    shop.control("move", order_id=order["id"], location_id=there)
    first, second = parts(shop, order)
    assert (first["status"], second["status"]) == ("CLOSED", "OPEN")
    assert (counts(second), second["assignedLocation"]["location"]["id"]) == ([(2, 2)], there)
    assert shop.level(items["A"]) == {"available": 10, "committed": 0, "on_hand": 10}
    shop.ship(order)
    levels = {level["location_id"]: level for level in inside.get(f"/shopify/{shop.domain}/levels")["levels"]}
    assert (levels[there]["available"], levels[there]["committed"]) == (3, 0)


def test_without_the_scope_there_are_no_fulfilment_orders_and_no_error(inside: Inside, shop: ShopSide) -> None:
    shop.stock("A")
    order = placed(inside, shop, ("A", 1))
    shop.control("app", scopes=["read_orders", "read_products"])
    assert parts(shop, order) == []
    assert shop.data("{ fulfillmentOrders(first: 5) { nodes { id } } }") == {"fulfillmentOrders": {"nodes": []}}
