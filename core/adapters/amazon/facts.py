"""Amazon's orders (Orders API 2026-01-01) as facts of ours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from core.adapters.amazon.marketplaces import MARKETPLACES
from core.adapters.amazon.order_models import Execution, Money, Order, OrderItem, Package
from core.adapters.stamps import refined
from core.money import line_total_minor, to_minor
from core.ports import ChannelFulfilment, ChannelLine, ChannelOrder

_LEFT = frozenset({"IN_TRANSIT", "SHIPPED", "DELIVERED", "UNDELIVERABLE"})
_WAITS_FOR_PAYMENT = frozenset({"PENDING", "PENDING_AVAILABILITY"})
OPEN = ("PENDING", "PENDING_AVAILABILITY", "UNSHIPPED", "PARTIALLY_SHIPPED")
"""Of which something is still to be shipped."""

_OUT_OF_STOCK = ("NOINVENTORY", "OUTOFSTOCK", "NOSTOCK", "INSUFFICIENTINVENTORY", "LACKOFINVENTORY")
_PRICES = ("ITEM", "SHIPPING", "GIFT_WRAP", "COD_FEE", "OTHER")
"""What buyers pay for, among the kinds of proceeds."""
_ZERO = Decimal(0)
_FINEST = Decimal("0.00000001")


def order_of(order: Order, currency: str) -> ChannelOrder:
    """What one observation says. `currency` is the connection's, where neither money nor a known place is told."""
    version_at = refined(order.last_updated_time, order.seen_at)
    told = next(iter(_moneys(order)), None)
    place = MARKETPLACES.get(order.sales_channel.marketplace_id or "")
    currency = told.currency_code if told else place.currency if place else currency
    status = order.status
    is_pending = status in _WAITS_FOR_PAYMENT
    executions = [item.execution for item in order.order_items if item.execution]
    return ChannelOrder(
        ref=order.order_id,
        name=order.order_id,
        source_ref=next(
            (alias.alias_id for alias in order.order_aliases if alias.alias_type == "SELLER_ORDER_ID"), None
        ),
        placed_at=order.created_time,
        created_at=order.created_time,
        version_at=version_at,
        cancelled_at=order.last_updated_time if order.is_cancelled else None,
        cancel_reason=_reason(executions) if order.is_cancelled else None,
        financial_status="pending" if is_pending else "authorized",
        currency=currency,
        total_minor=_total(order, currency),
        tax_minor=_part(order, "TAX", currency),
        shipping_minor=_part(order, "SHIPPING", currency),
        taxes_included=_taxes_included(order, currency),
        customer_ref=None,
        # Where it goes to stands only among what names people, which is not asked for: the place where it was bought.
        country_code=place.country if place else None,
        is_test=False,
        lines=tuple(_line(item, order, currency) for item in order.order_items),
        fulfilments=tuple(_fulfilment(package, order, version_at) for package in order.packages),
        ships_from_channel=bool(order.fulfillment and order.fulfillment.fulfilled_by == "AMAZON"),
        channel_status=status,
        # When it was cancelled is not told, nor when its goods left where there is no package.
        is_cancel_dated=False,
        open_at=max(order.last_updated_time, order.seen_at or order.last_updated_time) if _is_open(order) else None,
    )


def _is_open(order: Order) -> bool:
    return order.status in OPEN or order.status is None


def is_ours_to_sell(order: Order) -> bool:
    """Whether it was placed at Amazon. What another channel sold and Amazon only ships is that channel's sale."""
    return order.sales_channel.channel_name != "NON_AMAZON"


def puts_back(execution: Execution | None) -> bool:
    """Whether Amazon puts cancelled units back into the listing's number by itself.

    It does when the buyer cancelled, and does not when there is no stock. Of any other reason nothing is known: then we
    believe that it does, since the units may be for sale there again.
    """
    if execution is None or execution.cancelled_by == "BUYER":
        return True
    letters = "".join(letter for letter in (execution.cancel_reason or "").upper() if letter.isalpha())
    return not any(word in letters for word in _OUT_OF_STOCK)


def _line(item: OrderItem, order: Order, currency: str) -> ChannelLine:
    units = _units(item, order)
    price = _unit_price(item)
    gross = line_total_minor(units, price, currency)
    discount = item.proceeds.subtotal("DISCOUNT") if item.proceeds else None
    # Written as a negative amount or as what is taken off, and of what was ordered, of which some may be cancelled.
    taken_off = min(gross, abs(to_minor(discount.amount, currency))) if discount else 0
    product = item.product
    return ChannelLine(
        ref=item.order_item_id,
        variant_ref=product.seller_sku,
        # Without its SKU nobody can say which listing it was sold through, and it must not pass for a tip.
        code=product.seller_sku or product.asin or item.order_item_id,
        title=product.title or product.seller_sku or product.asin or item.order_item_id,
        units=units,
        unit_price=price,
        discount_minor=taken_off,
        total_minor=gross - taken_off,
        counted_units=item.fulfilled or 0,
        puts_back=puts_back(item.execution) if item.execution or order.is_cancelled else None,
        tax_minor=_tax(item, currency),
    )


def _units(item: OrderItem, order: Order) -> int:
    """What is left of a line. The vendor does not say whether cancelled units leave `quantityOrdered`: both are read.

    Of a cancelled order nothing is left, and what was ordered stands.
    """
    counts = item.fulfillment
    if order.is_cancelled or item.execution is None or counts is None:
        return item.quantity_ordered
    if counts.quantity_fulfilled is None or counts.quantity_unfulfilled is None:
        return item.quantity_ordered
    return min(item.quantity_ordered, counts.quantity_fulfilled + counts.quantity_unfulfilled)


def _unit_price(item: OrderItem) -> Decimal:
    """In major units; zero while the order waits for its payment, when no price is told."""
    price = item.product.price
    if price and price.unit_price:
        return max(_ZERO, price.unit_price.amount.quantize(_FINEST))
    whole = item.proceeds.subtotal("ITEM") if item.proceeds else None
    if whole is None or not item.quantity_ordered:
        return _ZERO
    return max(_ZERO, (whole.amount / item.quantity_ordered).quantize(_FINEST))


def _total(order: Order, currency: str) -> int:
    proceeds = order.proceeds
    told = (proceeds.grand_total or proceeds.proceeds_total) if proceeds else None
    if told is not None:
        return to_minor(told.amount, currency)
    of_items = (item.proceeds.proceeds_total for item in order.order_items if item.proceeds)
    return sum(to_minor(money.amount, currency) for money in of_items if money)


def _part(order: Order, kind: str, currency: str) -> int | None:
    """What a kind of proceeds comes to over the lines; None while no proceeds are told at all."""
    told = [item.proceeds for item in order.order_items if item.proceeds and item.proceeds.breakdowns]
    found = [part.subtotal(kind) for part in told]
    return sum(to_minor(money.amount, currency) for money in found if money) if told else None


def _tax(item: OrderItem, currency: str) -> int | None:
    """The taxes of the goods; those of their carriage are in it too, and come off where they are told apart."""
    if item.proceeds is None or not item.proceeds.breakdowns:
        return None
    told = item.proceeds.subtotal("TAX")
    return to_minor(told.amount - item.proceeds.detail("TAX", "SHIPPING"), currency) if told else 0


def _taxes_included(order: Order, currency: str) -> bool | None:
    """Whether what was paid is the parts without the taxes, or with them; without taxes, or where neither, unknown."""
    told = [item.proceeds for item in order.order_items if item.proceeds and item.proceeds.breakdowns]
    tax = _part(order, "TAX", currency)
    if not tax or len(told) < len(order.order_items):
        return None
    prices = sum(_part(order, kind, currency) or 0 for kind in _PRICES)
    off = (proceeds.subtotal("DISCOUNT") for proceeds in told)
    prices -= sum(abs(to_minor(money.amount, currency)) for money in off if money)
    return {prices: True, prices + tax: False}.get(_total(order, currency))


def _moneys(order: Order) -> Iterable[Money]:
    if order.proceeds and order.proceeds.grand_total:
        yield order.proceeds.grand_total
    for item in order.order_items:
        if item.proceeds and item.proceeds.proceeds_total:
            yield item.proceeds.proceeds_total
        if item.product.price and item.product.price.unit_price:
            yield item.product.price.unit_price


def _reason(executions: list[Execution]) -> str | None:
    words = (" ".join(filter(None, (one.cancelled_by, one.cancel_reason))) for one in executions)
    return next((text[:200] for text in words if text), None)


def _fulfilment(package: Package, order: Order, version_at: datetime) -> ChannelFulfilment:
    status = package.status
    has_left = status in _LEFT or (status is None and package.ship_time is not None)
    return ChannelFulfilment(
        ref=package.package_reference_id,
        order_ref=order.order_id,
        status=status or ("SHIPPED" if has_left else "PENDING"),
        is_shipped=has_left,
        fulfilled_at=package.ship_time or package.created_time or order.last_updated_time,
        version_at=version_at,
        lines=tuple((item.order_item_id, item.quantity) for item in package.package_items),
        tracking_company=package.carrier,
        tracking_numbers=(package.tracking_number,) if package.tracking_number else (),
        is_dated=bool(package.ship_time or package.created_time),
    )
