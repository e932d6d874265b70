"""Shipments and fulfilment orders as GraphQL objects."""

from collections.abc import Callable
from typing import Any

from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies
from sandbox.vendors.shopify.connections import Source, connection
from sandbox.vendors.shopify.fulfilment_orders import FULFILLABLE
from sandbox.vendors.shopify.scopes import READS_FULFILMENT_ORDERS, granted
from sandbox.vendors.shopify.shops import gid

View = dict[str, Any]

# What may be done with a fulfilment order, by its status.
ACTIONS = {
    "OPEN": ("CREATE_FULFILLMENT", "MOVE", "HOLD"),
    "IN_PROGRESS": ("CREATE_FULFILLMENT", "HOLD"),
    "ON_HOLD": ("RELEASE_HOLD", "HOLD"),
}


def money_bag(text: str, currency: str) -> View:
    money = {"amount": text, "currencyCode": currency}
    return {"shopMoney": money, "presentmentMoney": money}


def may_read_fulfilment_orders(shop: Row) -> bool:
    """Without one of the scopes there are none to see, and no error either."""
    return not granted(shop).isdisjoint(READS_FULFILMENT_ORDERS)


class FulfilmentViews:
    """The part of a shop's objects that is about shipping.

    `whole`: connections inside objects come whole and not in pages, as bulk operations read them.
    """

    line: Callable[[Row, str], View]
    order: Callable[[Row], View]
    location_by_gid: Callable[[str], View | None]
    variant_by_gid: Callable[[str], View | None]

    def __init__(self, store: Store, shop: Row, whole: bool = False) -> None:
        self._store = store
        self._shop = shop
        self._whole = whole

    def page(self, source: Source, arguments: dict[str, Any], view: Callable[[Row], View]) -> View:
        return connection(self._store, source, arguments, view, self._whole)

    def fulfillment(self, row: Row, order: Row) -> View:
        tracking = {"company": row["tracking_company"], "number": row["tracking_number"], "url": row["tracking_url"]}
        return {
            "__typename": "Fulfillment",
            "id": gid("Fulfillment", row["id"]),
            "legacyResourceId": row["id"],
            "name": f"{order['name']}-F{row['ordinal']}",
            "status": row["status"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "totalQuantity": lambda info: self._store.value(
                "select sum(quantity) from fulfillment_lines where fulfillment_id = ?", (row["id"],)
            ),
            "trackingInfo": lambda info, first=None: [tracking] if any(tracking.values()) and first != 0 else [],
            "location": lambda info: self.location_by_gid(gid("Location", row["location_id"])),
            "displayStatus": lambda info: self._display_status(row),
            "order": lambda info: self.order(order),
            "fulfillmentLineItems": lambda info, **arguments: self._fulfillment_lines_of(row, order, arguments),
            "fulfillmentOrders": lambda info, **arguments: self._served_by(row, order, arguments),
        }

    def _fulfillments_of(self, order: Row, first: int | None) -> list[View]:
        rows = self._store.all("select * from fulfillments where order_id = ? order by id", (order["id"],))
        return [self.fulfillment(row, order) for row in rows[:first]]

    def _fulfillment_lines_of(self, fulfillment: Row, order: Row, arguments: dict[str, Any]) -> View:
        source = Source("select * from fulfillment_lines where fulfillment_id = ?", [fulfillment["id"]], "id", "id")
        return self.page(source, arguments, lambda row: self._fulfillment_line(row, order))

    def _fulfillment_line(self, row: Row, order: Row) -> View:
        line = self._store.one("select * from lines where id = ?", (row["line_id"],))
        assert line is not None
        return {
            "__typename": "FulfillmentLineItem",
            "id": gid("FulfillmentLineItem", row["id"]),
            "quantity": row["quantity"],
            "lineItem": self.line(line, order["currency"]),
        }

    def _display_status(self, row: Row) -> str:
        if row["status"] == "CANCELLED":
            return "CANCELED"
        event = self._store.value(
            "select status from fulfillment_events where fulfillment_id = ? order by happened_at desc, id desc limit 1",
            (row["id"],),
        )
        return str(event or "FULFILLED")

    def event(self, row: Row) -> View:
        return {
            "__typename": "FulfillmentEvent",
            "id": gid("FulfillmentEvent", row["id"]),
            "status": row["status"],
            "message": row["message"],
            "happenedAt": row["happened_at"],
            "createdAt": row["created_at"],
        }

    def _served_by(self, row: Row, order: Row, arguments: dict[str, Any]) -> View:
        """The fulfilment orders that a shipment came out of."""
        source = Source(
            "select * from fulfillment_orders where id in (select l.fulfillment_order_id from fulfillment_order_lines l"
            " join fulfillment_lines f on f.fulfillment_order_line_id = l.id where f.fulfillment_id = ?)",
            [row["id"]],
            "id",
            "id",
        )
        return self._seen(source, order, arguments)

    def _fulfillment_orders_of(self, order: Row, arguments: dict[str, Any]) -> View:
        source = Source("select * from fulfillment_orders where order_id = ?", [order["id"]], "id", "id")
        return self._seen(source, order, arguments)

    def _seen(self, source: Source, order: Row, arguments: dict[str, Any]) -> View:
        if not may_read_fulfilment_orders(self._shop):
            source.narrow("false")
        return self.page(source, arguments, lambda row: self.fulfillment_order(row, order))

    def fulfillment_order(self, row: Row, order: Row) -> View:
        location = self._store.one("select * from locations where id = ?", (row["location_id"],))
        name = location["name"] if location is not None else ""
        place = {
            "name": name,
            "countryCode": "GB",
            "location": lambda info: self.location_by_gid(gid("Location", row["location_id"])),
        }
        return {
            "__typename": "FulfillmentOrder",
            "id": gid("FulfillmentOrder", row["id"]),
            "status": row["status"],
            "requestStatus": "UNSUBMITTED",
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "fulfillAt": row["created_at"],
            "orderId": gid("Order", order["id"]),
            "orderName": order["name"],
            "orderProcessedAt": order["processed_at"],
            "assignedLocation": place,
            "supportedActions": [{"action": action} for action in ACTIONS.get(row["status"], ())],
            "fulfillmentHolds": lambda info: self._holds_of(row["id"]),
            "order": lambda info: self.order(order),
            "lineItems": lambda info, **arguments: self._fulfillment_order_lines_of(row, order, arguments),
            "fulfillments": lambda info, **arguments: self._shipments_of(row, order, arguments),
        }

    def _holds_of(self, number: int) -> list[View]:
        rows = self._store.all("select * from holds where fulfillment_order_id = ? order by id", (number,))
        return [self.hold(row) for row in rows]

    def hold(self, row: Row) -> View:
        return {
            "__typename": "FulfillmentHold",
            "id": gid("FulfillmentHold", row["id"]),
            "displayReason": row["reason"].replace("_", " ").capitalize(),
            "handle": row["handle"] or None,
            "heldByRequestingApp": True,
            "reason": row["reason"],
            "reasonNotes": row["notes"],
        }

    def _fulfillment_order_lines_of(self, row: Row, order: Row, arguments: dict[str, Any]) -> View:
        source = Source("select * from fulfillment_order_lines where fulfillment_order_id = ?", [row["id"]], "id", "id")
        return self.page(source, arguments, lambda part: self._fulfillment_order_line(part, order))

    def _fulfillment_order_line(self, row: Row, order: Row) -> View:
        line = self._store.one("select * from lines where id = ?", (row["line_id"],))
        assert line is not None
        return {
            "__typename": "FulfillmentOrderLineItem",
            "id": gid("FulfillmentOrderLineItem", row["id"]),
            "totalQuantity": row["total"],
            "remainingQuantity": row["remaining"],
            "inventoryItemId": gid("InventoryItem", line["item_id"]),
            "productTitle": line["title"],
            "requiresShipping": True,
            "sku": line["sku"],
            "variantTitle": None,
            "vendor": line["vendor"],
            "lineItem": lambda info: self.line(line, order["currency"]),
            "variant": lambda info: self.variant_by_gid(gid("ProductVariant", line["variant_id"])),
        }

    def _shipments_of(self, row: Row, order: Row, arguments: dict[str, Any]) -> View:
        source = Source(
            "select * from fulfillments where id in (select f.fulfillment_id from fulfillment_lines f"
            " join fulfillment_order_lines l on l.id = f.fulfillment_order_line_id where l.fulfillment_order_id = ?)",
            [row["id"]],
            "id",
            "id",
        )
        return self.page(source, arguments, lambda found: self.fulfillment(found, order))

    def _fulfillment_status(self, order_id: int) -> str:
        word = bodies.fulfillment_status(bodies.lines_of(self._store, order_id))
        if word is None and self._is_held(order_id):
            return "ON_HOLD"
        return {None: "UNFULFILLED", "partial": "PARTIALLY_FULFILLED", "fulfilled": "FULFILLED"}[word]

    def _is_held(self, order_id: int) -> bool:
        """Whether all that could be shipped is on hold."""
        states = {
            row["status"]
            for row in self._store.all("select status from fulfillment_orders where order_id = ?", (order_id,))
        }
        return "ON_HOLD" in states and states.isdisjoint(FULFILLABLE)
