"""What a shipment confirmation (Orders v0, confirmShipment) may say."""

import re
from typing import Any

from sandbox.clock import as_utc
from sandbox.store import Row
from sandbox.vendors.amazon.gate import bad
from sandbox.vendors.amazon.orders import Parcel

_REFERENCE = re.compile(r"[1-9][0-9]*")
_LINE = re.compile(r"[0-9]{1,18}")


def read(order: Row, body: Any) -> tuple[Parcel, dict[int, int]]:
    """The package, and its units by the id of the order item. Raises Denied with the vendor's 400."""
    if not isinstance(body, dict):
        raise bad("The request body must be a JSON object.")
    if _text(body, "marketplaceId") != order["marketplace_id"]:
        raise bad(f"The order {order['order_id']} was not placed in marketplace {body['marketplaceId']}.")
    if body.get("codCollectionMethod") not in (None, "DirectPayment"):
        raise bad("'codCollectionMethod' must be DirectPayment.")
    detail = body.get("packageDetail")
    if not isinstance(detail, dict):
        raise bad("'packageDetail' is required but was not provided.")
    reference, carrier = _text(detail, "packageReferenceId"), _text(detail, "carrierCode")
    if not _REFERENCE.fullmatch(reference):
        raise bad("'packageReferenceId' must be a positive number.")
    if carrier == "Other":
        carrier = _text(detail, "carrierName")
    try:
        shipped_at = as_utc(_text(detail, "shipDate"))
    except ValueError:
        raise bad("'shipDate' is not an ISO 8601 date-time.") from None
    service = detail.get("shippingMethod")
    if service is not None and not isinstance(service, str):
        raise bad("'shippingMethod' must be a string.")
    return Parcel(reference, carrier, _text(detail, "trackingNumber"), shipped_at, service), _items(detail)


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad(f"'{name}' is required but was not provided.")
    return value


def _items(detail: dict[str, Any]) -> dict[int, int]:
    given = detail.get("orderItems")
    if not isinstance(given, list) or not given or not all(isinstance(entry, dict) for entry in given):
        raise bad("'orderItems' is required and must not be empty.")
    units: dict[int, int] = {}
    for entry in given:
        number, quantity = _text(entry, "orderItemId"), entry.get("quantity")
        if not _LINE.fullmatch(number) or int(number) in units:
            raise bad(f"'orderItemId' {number} is not valid, or there twice.")
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise bad("'quantity' must be a positive whole number.")
        units[int(number)] = quantity
    return units
