"""An order as the Orders API 2026-01-01 writes it: a core, and datasets that come only when they are asked for.

A pending order says nothing of money or of where it goes. Never there: EXPENSE (points, Japan), PROMOTION and
FULFILLMENT_ORDERS (Easy Ship), because nothing here has any.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import orjson

from sandbox.money import amount, line_total
from sandbox.store import Row
from sandbox.vendors.amazon.marketplaces import MARKETPLACES
from sandbox.vendors.amazon.order_changes import DELIVER_DAYS, SHIP_DAYS, days_after

INCLUDED = (
    "BUYER",
    "RECIPIENT",
    "PROCEEDS",
    "EXPENSE",
    "PROMOTION",
    "CANCELLATION",
    "FULFILLMENT",
    "PACKAGES",
    "TAX",
    "PAYMENT",
    "FULFILLMENT_ORDERS",
)
Packages = Sequence[tuple[Row, Sequence[Row]]]


def view(order: Row, lines: Sequence[Row], packages: Packages, included: Collection[str]) -> dict[str, Any]:
    """The order with the datasets named in `included`."""
    is_priced = order["status"] != "PENDING" and order["channel"] == "AMAZON"
    found: dict[str, Any] = {
        "orderId": order["order_id"],
        "createdTime": order["created_at"],
        "lastUpdatedTime": order["updated_at"],
        "programs": ["PRIME"] if order["fulfilled_by"] == "AMAZON" and order["channel"] == "AMAZON" else [],
        "associatedOrders": [],
        "salesChannel": _sales_channel(order),
        "orderItems": [_item(order, line, included, is_priced) for line in lines],
    }
    if order["channel"] == "NON_AMAZON":
        found["orderAliases"] = [{"aliasId": order["key"], "aliasType": "SELLER_ORDER_ID"}]
    datasets = {
        "BUYER": ("buyer", _buyer(order)),
        "RECIPIENT": ("recipient", None if order["status"] == "PENDING" else orjson.loads(order["recipient"])),
        "PROCEEDS": ("proceeds", _proceeds(order, lines) if is_priced else None),
        "PAYMENT": ("payment", _payment(order, lines) if is_priced else None),
        "FULFILLMENT": ("fulfillment", _fulfillment(order)),
        "PACKAGES": ("packages", _packages(packages) if order["fulfilled_by"] == "MERCHANT" else None),
    }
    return found | {
        name: dataset for kind, (name, dataset) in datasets.items() if kind in included and dataset is not None
    }


def _sales_channel(order: Row) -> dict[str, Any]:
    if order["channel"] == "NON_AMAZON":
        return {"channelName": "NON_AMAZON"}
    name = MARKETPLACES[order["marketplace_id"]].name
    return {"channelName": "AMAZON", "marketplaceId": order["marketplace_id"], "marketplaceName": name}


def _buyer(order: Row) -> dict[str, Any]:
    """An address to write to is only given where the seller ships."""
    buyer: dict[str, Any] = orjson.loads(order["buyer"])
    if order["fulfilled_by"] == "AMAZON":
        del buyer["buyerEmail"]
    return buyer


def _money(order: Row, value: Decimal) -> dict[str, str]:
    return {"amount": amount(value), "currencyCode": MARKETPLACES[order["marketplace_id"]].currency}


def _proceeds(order: Row, lines: Sequence[Row]) -> dict[str, Any]:
    total = _money(order, sum((_kept(line) for line in lines), Decimal(0)))
    return {"grandTotal": total, "breakdowns": [{"type": "ITEM", "subtotal": total}]}


def _payment(order: Row, lines: Sequence[Row]) -> dict[str, Any]:
    total = _proceeds(order, lines)["grandTotal"]
    return {"paymentExecutions": [{"paymentMethod": "CreditCard", "paymentAmount": total}]}


def _kept(line: Row) -> Decimal:
    """What the units cost that were not called off."""
    return line_total(line["quantity"] - line["cancelled"], line["price"])


def _fulfillment(order: Row) -> dict[str, Any]:
    created = order["created_at"]
    found: dict[str, Any] = {
        "fulfillmentStatus": order["status"],
        "fulfilledBy": order["fulfilled_by"],
        "fulfillmentServiceLevel": "STANDARD",
        "shipByWindow": {"earliestDateTime": created, "latestDateTime": days_after(created, SHIP_DAYS)},
    }
    if order["fulfilled_by"] == "MERCHANT":
        first, last = (days_after(created, days) for days in DELIVER_DAYS)
        found["deliverByWindow"] = {"earliestDateTime": first, "latestDateTime": last}
    return found


def _packages(packages: Packages) -> list[dict[str, Any]]:
    found = []
    for package, inside in packages:
        entry: dict[str, Any] = {
            "packageReferenceId": package["reference"],
            "createdTime": package["created_at"],
            "packageStatus": {"status": "SHIPPED"},
            "carrier": package["carrier"],
            "shipTime": package["shipped_at"],
            "trackingNumber": package["tracking"],
            "packageItems": [{"orderItemId": str(line["line_id"]), "quantity": line["quantity"]} for line in inside],
        }
        if package["service"]:
            entry["shippingService"] = package["service"]
        found.append(entry)
    return found


def _item(order: Row, line: Row, included: Collection[str], is_priced: bool) -> dict[str, Any]:
    product: dict[str, Any] = {
        "asin": line["asin"],
        "title": line["title"],
        "sellerSku": line["sku"],
        "condition": {"conditionType": "NEW", "conditionSubtype": "NEW"},
    }
    found: dict[str, Any] = {
        "orderItemId": str(line["id"]),
        "quantityOrdered": line["quantity"],
        "measurement": {"unit": "COUNT", "value": line["quantity"]},
        "product": product,
    }
    if is_priced:
        product["price"] = {"unitPrice": _money(order, Decimal(line["price"]))}
        if "PROCEEDS" in included:
            total = _money(order, _kept(line))
            found["proceeds"] = {"proceedsTotal": total, "breakdowns": [{"type": "ITEM", "subtotal": total}]}
    if "FULFILLMENT" in included:
        left = line["quantity"] - line["cancelled"] - line["shipped"]
        found["fulfillment"] = {"quantityFulfilled": line["shipped"], "quantityUnfulfilled": left}
    if "CANCELLATION" in included and (said := _cancellation(order, line)):
        found["cancellation"] = said
    if "TAX" in included and is_priced:
        found["tax"] = {"taxCollections": [{"model": "MARKETPLACE_FACILITATOR", "responsibleParty": "Amazon"}]}
    return found


def _cancellation(order: Row, line: Row) -> dict[str, Any]:
    """How many of an item's units were called off is not said: they are neither fulfilled nor unfulfilled any more."""
    found = {}
    if order["wants_cancel"] is not None:
        found["cancellationRequest"] = {"requester": "BUYER", "cancelReason": order["wants_cancel"]}
    if line["cancelled_by"] is not None:
        found["cancellationExecution"] = {"cancelledBy": line["cancelled_by"], "cancelReason": line["cancel_reason"]}
    return found
