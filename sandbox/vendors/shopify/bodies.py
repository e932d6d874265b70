"""REST-shaped webhook bodies, with the fields a real delivery carries."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.clock import with_offset
from sandbox.money import PENNY, amount, line_total
from sandbox.store import Row, Store
from sandbox.vendors.shopify import charges
from sandbox.vendors.shopify.charges import money_set
from sandbox.vendors.shopify.shops import gid

Body = dict[str, Any]


def level_body(item_id: int, location_id: int, available: int | None, updated_at: str, timezone: str) -> Body:
    return {
        "inventory_item_id": item_id,
        "location_id": location_id,
        "available": available,
        "updated_at": with_offset(updated_at, timezone),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{location_id}?inventory_item_id={item_id}",
    }


def fulfillable(line: Row) -> int:
    """Units neither shipped nor taken off the order."""
    return int(line["quantity"] - line["fulfilled"] - line["removed"])


def current_quantity(line: Row) -> int:
    """Units still on the order after removals and returns."""
    return int(line["quantity"] - line["removed"] - line["returned"])


def value_of(line: Row, units: int) -> Decimal:
    """What so many units of a line cost after their share of the order's discount."""
    off = Decimal(line["discount"])
    share = off * units / line["quantity"] if off else off
    return line_total(units, line["price"]) - share.quantize(PENNY, rounding=ROUND_HALF_UP)


def _allocations(line: Row, currency: str) -> list[Body]:
    if not Decimal(line["discount"]):
        return []
    share = money_set(line["discount"], currency)
    return [{"amount": line["discount"], "amount_set": share, "discount_application_index": 0}]


def line_body(line: Row, currency: str) -> Body:
    """A line as it stands inside fulfilments and refunds."""
    shipped, open_units = line["fulfilled"], fulfillable(line)
    zero = money_set("0.00", currency)
    return {
        "id": line["id"],
        "admin_graphql_api_id": f"gid://shopify/LineItem/{line['id']}",
        "current_quantity": current_quantity(line),
        "fulfillable_quantity": open_units,
        "fulfillment_service": "manual",
        "fulfillment_status": None if not shipped else ("partial" if open_units else "fulfilled"),
        "gift_card": False,
        "grams": 0,
        "name": line["title"],
        "price": line["price"],
        "price_set": money_set(line["price"], currency),
        "product_exists": True,
        "product_id": line["product_id"],
        "properties": [],
        "quantity": line["quantity"],
        "requires_shipping": True,
        "sku": line["sku"],
        "taxable": True,
        "title": line["title"],
        "total_discount": "0.00",
        "total_discount_set": zero,
        "variant_id": line["variant_id"],
        "variant_inventory_management": "shopify" if line["tracked"] else None,
        "variant_title": None,
        "vendor": line["vendor"] or None,
        "tax_lines": charges.tax_lines(line["tax"], line["tax_rate"], currency),
        "duties": [],
        "discount_allocations": _allocations(line, currency),
    }


def lines_of(store: Store, order_id: int) -> list[Row]:
    return store.all("select * from lines where order_id = ? order by position", (order_id,))


def address_body(order: Row) -> Body | None:
    """Buyers here have a country and no more: their other data is protected and would be null to most apps."""
    if order["country"] is None:
        return None
    empty = ("first_name", "address1", "phone", "city", "zip", "province", "last_name", "address2", "company")
    return {
        **dict.fromkeys(empty),
        "country": order["country"],
        "latitude": None,
        "longitude": None,
        "name": "",
        "country_code": order["country"],
        "province_code": None,
    }


def customer_body(order: Row, zone: str) -> Body | None:
    if order["customer_id"] is None:
        return None
    created = with_offset(order["created_at"], zone)
    return {
        "id": order["customer_id"],
        "email": None,
        "created_at": created,
        "updated_at": created,
        "first_name": None,
        "last_name": None,
        "state": "disabled",
        "note": order["customer_ref"],
        "verified_email": True,
        "multipass_identifier": None,
        "tax_exempt": False,
        "phone": None,
        "tags": "",
        "currency": order["currency"],
        "tax_exemptions": [],
        "admin_graphql_api_id": gid("Customer", order["customer_id"]),
    }


def financial_status(total: Decimal, refunded: Decimal) -> str:
    if refunded <= 0:
        return "paid"
    return "refunded" if refunded >= total else "partially_refunded"


def fulfillment_status(lines: list[Row]) -> str | None:
    """The REST word: null, partial or fulfilled, counting only units still wanted."""
    if not any(line["fulfilled"] for line in lines):
        return None
    return "partial" if any(fulfillable(line) for line in lines) else "fulfilled"


def fulfillment_body(store: Store, shop: Row, order: Row, row: Row, lines: dict[int, Row]) -> Body:
    zone = shop["timezone"]
    parts = store.all("select * from fulfillment_lines where fulfillment_id = ? order by id", (row["id"],))
    numbers = [row["tracking_number"]] if row["tracking_number"] else []
    urls = [row["tracking_url"]] if row["tracking_url"] else []
    return {
        "id": row["id"],
        "order_id": order["id"],
        "status": row["status"].lower(),
        "created_at": with_offset(row["created_at"], zone),
        "service": "manual",
        "updated_at": with_offset(row["updated_at"], zone),
        "tracking_company": row["tracking_company"],
        "shipment_status": None,
        "location_id": row["location_id"],
        "origin_address": {},
        "email": "",
        "destination": address_body(order),
        "line_items": [
            {**line_body(lines[part["line_id"]], order["currency"]), "quantity": part["quantity"]} for part in parts
        ],
        "tracking_number": row["tracking_number"],
        "tracking_numbers": numbers,
        "tracking_url": row["tracking_url"],
        "tracking_urls": urls,
        "receipt": {},
        "name": f"{order['name']}.{row['ordinal']}",
        "admin_graphql_api_id": gid("Fulfillment", row["id"]),
    }


def fulfillment_event_body(shop: Row, order: Row, fulfillment: Row, event: Row) -> Body:
    zone = shop["timezone"]
    absent = ("city", "province", "zip", "address1", "latitude", "longitude", "estimated_delivery_at")
    return {
        "id": event["id"],
        "fulfillment_id": fulfillment["id"],
        "status": event["status"].lower(),
        "message": event["message"],
        "happened_at": with_offset(event["happened_at"], zone),
        **dict.fromkeys(absent),
        "country": order["country"],
        "shop_id": shop["id"],
        "created_at": with_offset(event["created_at"], zone),
        "updated_at": with_offset(event["created_at"], zone),
        "order_id": order["id"],
        "admin_graphql_api_id": gid("FulfillmentEvent", event["id"]),
    }


def refund_body(store: Store, shop: Row, order: Row, row: Row, lines: dict[int, Row]) -> Body:
    zone, currency = shop["timezone"], order["currency"]
    zero = money_set("0.00", currency)
    parts = store.all("select * from refund_lines where refund_id = ? order by id", (row["id"],))
    return {
        "id": row["id"],
        "order_id": order["id"],
        "created_at": with_offset(row["created_at"], zone),
        "note": row["note"],
        "user_id": None,
        "processed_at": with_offset(row["processed_at"], zone),
        "restock": any(part["restock_type"] != "no_restock" for part in parts),
        "duties": [],
        "total_duties_set": zero,
        "return": None,
        "refund_shipping_lines": charges.refund_shipping_lines(row, order),
        "admin_graphql_api_id": gid("Refund", row["id"]),
        "order_adjustments": [],
        "refund_line_items": [_refund_line(part, lines[part["line_id"]], currency) for part in parts],
        "transactions": _refund_transactions(row, order, zone),
    }


def _refund_line(part: Row, line: Row, currency: str) -> Body:
    return {
        "id": part["id"],
        "quantity": part["quantity"],
        "line_item_id": part["line_id"],
        "location_id": part["location_id"],
        "restock_type": part["restock_type"],
        # Numbers here and strings in the sets: that is how these bodies really come.
        "subtotal": float(part["subtotal"]),
        "total_tax": float(part["tax"]),
        "subtotal_set": money_set(part["subtotal"], currency),
        "total_tax_set": money_set(part["tax"], currency),
        "line_item": line_body(line, currency),
    }


def _refund_transactions(row: Row, order: Row, zone: str) -> list[Body]:
    if Decimal(row["total"]) == 0:
        return []
    return [
        {
            "id": row["id"],
            "admin_graphql_api_id": gid("OrderTransaction", row["id"]),
            "order_id": order["id"],
            "kind": "refund",
            "gateway": "bogus",
            "status": "success",
            "amount": row["total"],
            "currency": order["currency"],
            "created_at": with_offset(row["created_at"], zone),
            "processed_at": with_offset(row["processed_at"], zone),
            "test": False,
        }
    ]


def order_body(store: Store, shop: Row, order_id: int) -> Body:
    order = store.one("select * from orders where id = ?", (order_id,))
    assert order is not None
    lines = lines_of(store, order_id)
    refunds = store.all("select * from refunds where order_id = ? order by id", (order_id,))
    fulfillments = store.all("select * from fulfillments where order_id = ? order by id", (order_id,))
    by_id = {line["id"]: line for line in lines}
    zone, currency, total = shop["timezone"], order["currency"], order["total"]
    refunded = sum((Decimal(refund["total"]) for refund in refunds), Decimal(0))
    cancelled = order["cancelled_at"]
    return {
        "id": order_id,
        "admin_graphql_api_id": gid("Order", order_id),
        "app_id": None,
        "browser_ip": None,
        "buyer_accepts_marketing": False,
        "cancel_reason": order["cancel_reason"],
        "cancelled_at": with_offset(cancelled, zone) if cancelled else None,
        "cart_token": None,
        "checkout_id": None,
        "checkout_token": None,
        "client_details": None,
        "closed_at": None,
        "confirmation_number": f"C{order_id % 10**9:09d}",
        "confirmed": True,
        "contact_email": None,
        "created_at": with_offset(order["created_at"], zone),
        "currency": currency,
        **_amounts(order, lines, refunds),
        "customer_locale": "en",
        "device_id": None,
        "discount_codes": charges.discount_codes(order),
        "email": "",
        "estimated_taxes": False,
        "financial_status": financial_status(Decimal(total), refunded),
        "fulfillment_status": fulfillment_status(lines),
        "landing_site": None,
        "landing_site_ref": None,
        "location_id": None,
        "merchant_of_record_app_id": None,
        "name": order["name"],
        "note": None,
        "note_attributes": [{"name": name, "value": value} for name, value in charges.attributes_of(order)],
        "number": order["number"] - 1000,
        "order_number": order["number"],
        "order_status_url": f"https://{shop['domain']}/{shop['id']}/orders/{order_id:x}/authenticate",
        "payment_gateway_names": ["bogus"],
        "phone": None,
        "po_number": None,
        "presentment_currency": currency,
        "processed_at": with_offset(order["processed_at"], zone),
        "reference": None,
        "referring_site": None,
        "source_identifier": order["key"],
        "source_name": order["source_name"],
        "source_url": None,
        "tags": "",
        "tax_exempt": False,
        "tax_lines": charges.order_tax_lines(order, lines),
        "taxes_included": bool(order["taxes_included"]),
        "test": False,
        "token": f"{order_id:x}",
        "total_weight": 0,
        "updated_at": with_offset(order["updated_at"], zone),
        "user_id": None,
        "billing_address": address_body(order),
        "customer": customer_body(order, zone),
        "discount_applications": charges.discount_applications(order),
        "fulfillments": [fulfillment_body(store, shop, order, row, by_id) for row in fulfillments],
        "line_items": [{**line_body(line, currency), "attributed_staffs": []} for line in lines],
        "payment_terms": None,
        "refunds": [refund_body(store, shop, order, row, by_id) for row in refunds],
        "shipping_address": address_body(order),
        "shipping_lines": charges.shipping_lines(order),
    }


def current_subtotal(lines: list[Row]) -> Decimal:
    """What is still on the order costs so much."""
    return sum((value_of(line, current_quantity(line)) for line in lines), Decimal(0))


def _current_tax(order: Row, lines: list[Row], refunds: list[Row]) -> Decimal:
    given_back = sum((Decimal(refund["shipping_tax"]) for refund in refunds), Decimal(0))
    of_lines = (charges.tax_of(line, current_quantity(line)) for line in lines)
    return sum(of_lines, Decimal(order["shipping_tax"]) - given_back)


def current_total(order: Row, lines: list[Row], refunds: list[Row]) -> Decimal:
    """The same with what is left of its carriage and taxes."""
    carriage = Decimal(order["shipping"]) - sum((Decimal(refund["shipping"]) for refund in refunds), Decimal(0))
    return current_subtotal(lines) + carriage + charges.on_top(order, _current_tax(order, lines, refunds))


def subtotal(order: Row, lines: list[Row]) -> Decimal:
    """What its goods cost, after discounts."""
    return Decimal(order["total"]) - Decimal(order["shipping"]) - charges.on_top(order, charges.total_tax(order, lines))


def _amounts(order: Row, lines: list[Row], refunds: list[Row]) -> Body:
    """All the prices of an order."""
    total, currency = order["total"], order["currency"]
    current, of_goods = amount(current_subtotal(lines)), subtotal(order, lines)
    gross = amount(of_goods + Decimal(order["discount"]))
    still_listed = sum((line_total(current_quantity(line), line["price"]) for line in lines), Decimal(0))
    values = {
        "current_subtotal_price": current,
        "current_total_discounts": amount(still_listed - Decimal(current)),
        "current_total_price": amount(current_total(order, lines, refunds)),
        "current_total_tax": amount(_current_tax(order, lines, refunds)),
        "subtotal_price": amount(of_goods),
        "total_discounts": order["discount"],
        "total_line_items_price": gross,
        "total_price": total,
        "total_tax": amount(charges.total_tax(order, lines)),
    }
    sets = {f"{name}_set": money_set(text, currency) for name, text in values.items()}
    absent = (
        "current_total_additional_fees_set",
        "current_total_duties_set",
        "original_total_additional_fees_set",
        "original_total_duties_set",
    )
    return {
        **values,
        **sets,
        **dict.fromkeys(absent),
        "total_outstanding": "0.00",
        "total_shipping_price_set": money_set(order["shipping"], currency),
        "total_tip_received": "0.00",
    }
