"""The payload of an ORDER_CHANGE notification (payload version 1.0). It speaks the statuses of the older Orders API."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from sandbox.clock import as_utc
from sandbox.store import Row

STATUSES = {
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Canceled",
    "UNFULFILLABLE": "Unfulfillable",
}
# Days after an order is placed: to be shipped, to be delivered from and until.
SHIP_DAYS, DELIVER_DAYS = 2, (3, 6)


def days_after(instant: str, days: int) -> str:
    return as_utc((datetime.fromisoformat(instant) + timedelta(days=days)).isoformat())


def payload(seller: Row, order: Row, lines: Sequence[Row], kind: str, reason: str) -> dict[str, Any]:
    """`kind` is OrderStatusChange or BuyerRequestedChange, `reason` free text."""
    address = orjson.loads(order["recipient"])["deliveryAddress"]
    summary: dict[str, Any] = {
        "MarketplaceId": order["marketplace_id"],
        "OrderStatus": STATUSES[order["status"]],
        "PurchaseDate": order["created_at"],
        "DestinationPostalCode": address["postalCode"],
        "FulfillmentType": "MFN" if order["fulfilled_by"] == "MERCHANT" else "AFN",
        "OrderType": "StandardOrder",
        "NumberOfItemsShipped": sum(line["shipped"] for line in lines),
        "NumberOfItemsUnshipped": sum(line["quantity"] - line["cancelled"] - line["shipped"] for line in lines),
        "EarliestShipDate": order["created_at"],
        "LatestShipDate": days_after(order["created_at"], SHIP_DAYS),
        "OrderPrograms": [],
        "ShippingPrograms": [],
        "OrderItems": [_item(order, line) for line in lines],
    }
    if order["fulfilled_by"] == "MERCHANT":
        summary["EarliestDeliveryDate"] = days_after(order["created_at"], DELIVER_DAYS[0])
        if order["status"] not in ("PENDING", "CANCELLED"):
            summary["LatestDeliveryDate"] = days_after(order["created_at"], DELIVER_DAYS[1])
    return {
        "OrderChangeNotification": {
            "NotificationLevel": "OrderLevel",
            "SellerId": seller["seller_id"],
            "AmazonOrderId": order["order_id"],
            "OrderChangeType": kind,
            "OrderChangeTrigger": {"TimeOfOrderChange": order["updated_at"], "ChangeReason": reason},
            "Summary": summary,
        }
    }


def _item(order: Row, line: Row) -> dict[str, Any]:
    return {
        "OrderItemId": str(line["id"]),
        "SellerSKU": line["sku"],
        "SupplySourceId": None,
        "Quantity": line["quantity"],
        "QuantityShipped": line["shipped"],
        "IsBuyerRequestedCancel": order["wants_cancel"] is not None,
    }
