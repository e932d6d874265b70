"""Small bodies of our own in Shopify's shapes, one a topic."""

from __future__ import annotations

from typing import Any

BIG = 9007199254740993  # 2^53 + 1: the first whole number that a double cannot hold

LINE = {
    "id": BIG + 1,
    "variant_id": 808950810,
    "sku": "MUG-1",
    "name": "Mug – Red",
    "title": "Mug",
    "quantity": 3,
    "price": "4.25",
    "total_discount": "0.00",
    "discount_allocations": [{"amount": "1.00"}, {"amount": 0.5}],
    "properties": [{"name": "engraving", "value": "for Ann"}],
}
FULFILMENT: dict[str, Any] = {
    "id": 255858046,
    "order_id": BIG,
    "status": "success",
    "created_at": "2026-03-01T10:00:00+01:00",
    "updated_at": "2026-03-01T10:00:05+01:00",
    "tracking_company": "UPS",
    "tracking_numbers": ["1Z1", "1Z2"],
    "tracking_number": "1Z1",
    "line_items": [{"id": BIG + 1, "quantity": 2}],
}
REFUND: dict[str, Any] = {
    "id": 509562969,
    "order_id": BIG,
    "created_at": "2026-03-02T10:00:00Z",
    "processed_at": "2026-03-02T09:59:00Z",
    "restock": True,
    "refund_line_items": [
        {"line_item_id": BIG + 1, "quantity": 1, "restock_type": "return", "subtotal": 4.25},
        {"line_item_id": BIG + 1, "quantity": 0, "restock_type": "no_restock", "subtotal": "0.00"},
    ],
    "transactions": [
        {"kind": "refund", "status": "success", "amount": "4.00", "currency": "GBP"},
        {"kind": "refund", "status": "failure", "amount": "9.00", "currency": "GBP"},
        {"kind": "sale", "status": "success", "amount": "99.00", "currency": "GBP"},
    ],
}
ORDER: dict[str, Any] = {
    "id": BIG,
    "name": "#1042",
    "email": "ann@example.com",
    "source_identifier": "536365",
    "created_at": "2026-03-01T09:00:00+00:00",
    "processed_at": "2026-03-01T08:59:00+00:00",
    "updated_at": "2026-03-02T10:00:01Z",
    "cancelled_at": None,
    "cancel_reason": None,
    "financial_status": "paid",
    "currency": "GBP",
    "total_price": "11.25",
    "customer": {"id": 207119551, "email": "ann@example.com"},
    "shipping_address": {"country_code": "gb", "name": "Ann"},
    "billing_address": None,
    "test": False,
    "line_items": [LINE],
    "fulfillments": [FULFILMENT],
    "refunds": [REFUND],
}
LEVEL: dict[str, Any] = {
    "inventory_item_id": BIG,
    "location_id": 24826418,
    "available": -2,
    "updated_at": "2026-03-01T10:00:00Z",
}
PRODUCT: dict[str, Any] = {
    "id": 632910392,
    "title": "Mug",
    "status": "draft",
    "updated_at": "2026-03-01T10:00:00Z",
    "variants": [
        {
            "id": BIG,
            "sku": "",
            "title": "Red",
            "barcode": "29",
            "inventory_item_id": 5,
            "inventory_management": None,
            "updated_at": "2026-03-01T10:00:07Z",
        },
        {"id": 7, "sku": "MUG-2", "title": "Default Title", "inventory_item_id": 6},
    ],
}

BY_TOPIC: dict[str, dict[str, Any]] = {
    "orders/create": ORDER,
    "orders/updated": ORDER,
    "orders/cancelled": ORDER,
    "refunds/create": REFUND,
    "fulfillments/create": FULFILMENT,
    "inventory_levels/update": LEVEL,
    "products/update": PRODUCT,
}
