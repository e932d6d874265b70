"""What a body of Shopify's is about, be it readable otherwise or not: for whoever looks at what failed."""

from __future__ import annotations

from typing import Any

from core.adapters.loose import at, currency, each, instant, minor, opened, ref, refs
from core.adapters.shopify.parsing import ORDER_TOPICS, POLLED_ORDER
from core.ports import Mentions, OrderMention


def mentions(topic: str, body: bytes, shop_currency: str) -> Mentions:
    """Orders and goods that a body names. Never raises."""
    data = opened(body)
    if topic == POLLED_ORDER:
        return _node(data, shop_currency)
    if topic in ORDER_TOPICS:
        return _order(data, shop_currency)
    if topic == "orders/edited":
        return Mentions(orders=_named(at(data, "order_edit", "order_id")))
    if topic == "refunds/create":
        return _refund(data, shop_currency)
    if topic == "fulfillments/create":
        return Mentions(orders=_named(at(data, "order_id")), **_goods(each(at(data, "line_items"))))
    if topic == "inventory_levels/update":
        return Mentions(items=refs([at(data, "inventory_item_id")]))
    if topic in ("products/create", "products/update"):
        variants = each(at(data, "variants"))
        return Mentions(
            variants=refs(at(one, "id") for one in variants), codes=refs(at(one, "sku") for one in variants)
        )
    return Mentions()


def _order(data: Any, shop_currency: str) -> Mentions:
    money = currency(at(data, "currency"), shop_currency)
    order_ref = ref(at(data, "id"))
    order = () if order_ref is None else (
        OrderMention(order_ref, instant(at(data, "updated_at")), money, minor(at(data, "total_price"), money)),
    )  # fmt: skip
    return Mentions(orders=order, **_goods(each(at(data, "line_items"))))


def _node(data: Any, shop_currency: str) -> Mentions:
    money = currency(at(data, "currencyCode"), shop_currency)
    order_ref = ref(at(data, "legacyResourceId"))
    total = minor(at(data, "totalPriceSet", "shopMoney", "amount"), money)
    order = () if order_ref is None else (OrderMention(order_ref, instant(at(data, "updatedAt")), money, total),)
    lines = each(at(data, "lineItems", "nodes"))
    return Mentions(
        orders=order,
        variants=refs(at(line, "variant", "legacyResourceId") for line in lines),
        codes=refs(at(line, "sku") for line in lines),
    )


def _refund(data: Any, shop_currency: str) -> Mentions:
    """Of a refund the money is what was paid back."""
    paid = [one for one in each(at(data, "transactions")) if at(one, "kind") == "refund"]
    money = currency(at(paid[0], "currency") if paid else None, shop_currency)
    amounts = [amount for one in paid if (amount := minor(at(one, "amount"), money)) is not None]
    order_ref = ref(at(data, "order_id"))
    total = sum(amounts) if amounts else None
    order = () if order_ref is None else (OrderMention(order_ref, None, money, total),)
    return Mentions(orders=order, **_goods([at(line, "line_item") for line in each(at(data, "refund_line_items"))]))


def _named(value: Any) -> tuple[OrderMention, ...]:
    found = ref(value)
    return () if found is None else (OrderMention(found),)


def _goods(lines: list[Any]) -> dict[str, frozenset[str]]:
    return {
        "variants": refs(at(line, "variant_id") for line in lines),
        "codes": refs(at(line, "sku") for line in lines),
    }
