"""What a body of Amazon's is about, be it readable otherwise or not: for whoever looks at what failed."""

from __future__ import annotations

from typing import Any

from core.adapters.amazon.envelopes import NOTIFICATION
from core.adapters.amazon.parsing import POLLED_ORDER
from core.adapters.loose import at, currency, each, instant, minor, opened, ref, refs
from core.ports import Mentions, OrderMention


def mentions(topic: str, body: bytes, shop_currency: str) -> Mentions:
    """Orders and goods that a body names. Never raises."""
    data = opened(body)
    if topic == POLLED_ORDER:
        return _order(data, shop_currency)
    if not topic.startswith(NOTIFICATION):
        return Mentions()
    payload = at(data, "Payload")
    order_ref = ref(at(payload, "OrderChangeNotification", "AmazonOrderId"))
    return Mentions(orders=() if order_ref is None else (OrderMention(order_ref),), variants=refs([at(payload, "SKU")]))


def _order(data: Any, shop_currency: str) -> Mentions:
    total = at(data, "proceeds", "grandTotal") or at(data, "proceeds", "proceedsTotal")
    money = currency(at(total, "currencyCode"), shop_currency)
    order_ref = ref(at(data, "orderId"))
    version_at = instant(at(data, "lastUpdatedTime"))
    order = (
        () if order_ref is None else (OrderMention(order_ref, version_at, money, minor(at(total, "amount"), money)),)
    )
    skus = refs(at(item, "product", "sellerSku") for item in each(at(data, "orderItems")))
    return Mentions(orders=order, variants=skus)
