"""From Shopify's shapes to our words: the one place that knows what its statuses and amounts mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from core.adapters.shopify import bodies, nodes
from core.adapters.stamps import refined
from core.money import line_total_minor, to_minor
from core.ports import (
    ChannelFulfilment,
    ChannelLine,
    ChannelListing,
    ChannelOrder,
    ChannelRefund,
    ChannelRefundLine,
    LevelObservation,
    Restock,
)

DEFAULT_VARIANT = "Default Title"
"""What Shopify calls the only variant of a product without options."""

DRAFT_ORDER = "shopify_draft_order"
"""The source name of an order that the shop's people wrote up."""

# shopify.dev/docs/api/admin-graphql/latest/enums/FulfillmentStatus; open and pending are deprecated words for
# "not yet". A fulfilment without a status is an old one that was carried out.
_NOT_SHIPPED = ("pending", "open", "cancelled", "error", "failure")
_RESTOCKS: dict[str, Restock] = {
    "return": "return",
    "cancel": "cancel",
    "legacy_restock": "legacy_restock",
    "no_restock": "no_restock",
}
# What shops and the apps of creators name their links' codes by, in a cart's attributes.
_NAMES_SOMEBODY = ("ref", "referrer", "referral", "creator", "affiliate")
_CARRIAGE = "shipping_refund"
ZERO = Decimal(0)


_MINOR_MAX = 2**62


class Unclear(ValueError):
    """Readable, but with a meaning that we will not guess; `place` names the field, never its value."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}")
        self.place = place
        self.why = why


def order_of_body(body: bodies.Order, seen_at: datetime | None, default_currency: str) -> ChannelOrder:
    """An order webhook. Raises Unclear."""
    currency = (body.currency or default_currency).upper()
    ref = body.id
    refunds = tuple(refund_of_body(each, ref, currency) for each in body.refunds)
    # A body without its refunds cannot tell what an edit took off from what was given back.
    refunded = _units_refunded(refunds) if "refunds" in body.model_fields_set and not body.cancelled_at else None
    removed = {line.id: _removed(line.quantity, line.current_quantity, line.id, refunded) for line in body.line_items}
    lines = tuple(_line_of_body(line, removed[line.id] or 0, currency) for line in body.line_items)
    summed = sum(line.total_minor for line in lines)
    total = summed if body.total_price is None else to_minor(body.total_price, currency)
    return ChannelOrder(
        ref=ref,
        name=body.name or f"#{body.order_number or ref}",
        source_ref=body.source_identifier,
        placed_at=body.processed_at or body.created_at,
        created_at=body.created_at,
        version_at=refined(body.updated_at or body.created_at, seen_at),
        cancelled_at=body.cancelled_at,
        cancel_reason=_word(body.cancel_reason),
        financial_status=_word(body.financial_status),
        currency=currency,
        total_minor=total,
        tax_minor=_optional_minor(body.total_tax, currency),
        shipping_minor=_optional_minor(_of_shop(body.total_shipping_price_set), currency),
        taxes_included=body.taxes_included,
        codes=_codes(
            [used.code for used in body.discount_codes], [(noted.name, noted.value) for noted in body.note_attributes]
        ),
        customer_ref=body.customer.id if body.customer else None,
        country_code=_country(body.shipping_address) or _country(body.billing_address),
        is_test=body.test,
        is_by_staff=_word(body.source_name) == DRAFT_ORDER,
        lines=lines,
        fulfilments=tuple(fulfilment_of_body(each, ref, seen_at) for each in body.fulfillments),
        refunds=refunds,
        is_edited=any(removed.values()),
        tells_units=None not in removed.values(),
    )


def _units_refunded(refunds: Iterable[ChannelRefund]) -> Mapping[str, int]:
    units: dict[str, int] = {}
    for refund in refunds:
        for line in refund.lines:
            units[line.line_ref] = units.get(line.line_ref, 0) + line.units
    return units


def _removed(ordered: int, current: int | None, line_ref: str, refunded: Mapping[str, int] | None) -> int | None:
    """Units that an edit took off a line: what was ordered never falls, `current` is without them and without refunds.

    None where it cannot be told: refunds are not (`refunded` None), or the order was cancelled and nothing is left.
    """
    if current is None or current == ordered:
        return 0
    if refunded is None:
        return None
    return max(0, ordered - current - refunded.get(line_ref, 0))


def _line_of_body(line: bodies.Line, removed: int, currency: str) -> ChannelLine:
    allocated = [share.amount for share in line.discount_allocations]
    discount = sum(allocated, ZERO) if allocated else line.total_discount or ZERO
    return _line(
        line.id,
        line.variant_id,
        line.sku,
        line.name or line.title or "",
        line.quantity - removed,
        line.price,
        discount,
        _tax_left(_tax_of_body(line), line.quantity, removed),
        currency,
    )


def _tax_of_body(line: bodies.Line) -> Decimal | None:
    """The taxes of all that was ordered; None where they, or one of them, are not told."""
    told = [tax.price if _of_shop(tax.price_set) is None else _of_shop(tax.price_set) for tax in line.tax_lines or ()]
    return None if line.tax_lines is None else _sum(told)


def _tax_left(tax: Decimal | None, ordered: int, removed: int) -> Decimal | None:
    """What is left of a line's taxes: they are told with those of units that an edit took off."""
    return tax if tax is None or not removed or not ordered else tax * (ordered - removed) / ordered


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """None where one of them is not told."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _line(
    ref: str,
    variant_ref: str | None,
    code: str | None,
    title: str,
    units: int,
    unit_price: Decimal,
    discount: Decimal,
    tax: Decimal | None,
    currency: str,
) -> ChannelLine:
    discount_minor = to_minor(discount, currency)
    total_minor = line_total_minor(units, unit_price, currency) - discount_minor
    if abs(total_minor) > _MINOR_MAX:
        raise Unclear("line_items", "a line's total is out of range")
    return ChannelLine(
        ref=ref,
        variant_ref=variant_ref,
        code=code,
        title=title,
        units=units,
        unit_price=unit_price,
        discount_minor=discount_minor,
        total_minor=total_minor,
        tax_minor=_optional_minor(tax, currency),
    )


def fulfilment_of_body(body: bodies.Fulfilment, order_ref: str, seen_at: datetime | None) -> ChannelFulfilment:
    """A fulfilment, alone or inside its order."""
    numbers = [*body.tracking_numbers, body.tracking_number]
    return _fulfilment(
        body.id,
        order_ref,
        body.status,
        body.created_at,
        refined(body.updated_at or body.created_at, seen_at),
        ((line.id, line.quantity) for line in body.line_items),
        body.tracking_company,
        numbers,
    )


def _fulfilment(
    ref: str,
    order_ref: str,
    status: str | None,
    created_at: datetime,
    version_at: datetime,
    lines: Iterable[tuple[str, int]],
    company: str | None,
    numbers: Sequence[str | None],
) -> ChannelFulfilment:
    word = _word(status) or "success"
    return ChannelFulfilment(
        ref=ref,
        order_ref=order_ref,
        status=word,
        is_shipped=word not in _NOT_SHIPPED,
        fulfilled_at=created_at,
        version_at=version_at,
        lines=_summed(lines),
        tracking_company=company,
        tracking_numbers=tuple(dict.fromkeys(number for number in numbers if number)),
    )


def _summed(lines: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Units by line: a line named twice in one fulfilment moves the sum, a line of zero moves nothing."""
    units: dict[str, int] = {}
    for ref, quantity in lines:
        units[ref] = units.get(ref, 0) + quantity
    return tuple((ref, quantity) for ref, quantity in units.items() if quantity)


def refund_of_body(body: bodies.Refund, order_ref: str, default_currency: str) -> ChannelRefund:
    """A refund, alone or inside its order. Raises Unclear."""
    paid = [t for t in body.transactions if _word(t.kind) == "refund" and _word(t.status) == "success"]
    currency = next((t.currency.upper() for t in paid if t.currency), default_currency)
    lines = tuple(
        ChannelRefundLine(
            line_ref=line.line_item_id,
            units=line.quantity,
            restock=_restock(line.restock_type, body.restock),
            subtotal_minor=to_minor(line.subtotal or ZERO, currency),
            tax_minor=_optional_minor(line.total_tax, currency),
        )
        for line in body.refund_line_items
        if line.quantity
    )
    return _refund(
        body.id,
        order_ref,
        body.processed_at or body.created_at,
        body.created_at,
        sum((t.amount or ZERO for t in paid), ZERO) if paid else None,
        currency,
        lines,
        *_carriage_of_body(body),
    )


def _carriage_of_body(body: bodies.Refund) -> tuple[Decimal | None, Decimal | None]:
    """Carriage given back and its taxes. Both ways to tell it may tell the same: the newer one counts if it does."""
    if body.refund_shipping_lines:
        return (
            _sum(_of_shop(each.subtotal_amount_set) for each in body.refund_shipping_lines),
            _sum(_of_shop(each.tax_amount_set) for each in body.refund_shipping_lines),
        )
    if body.refund_shipping_lines is None and body.order_adjustments is None:
        return None, None
    found = [each for each in body.order_adjustments or () if _word(each.kind) == _CARRIAGE]
    return _given(each.amount for each in found), _given(each.tax_amount for each in found)


def _given(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Adjustments are below zero where money is given back."""
    total = _sum(amounts)
    return total if total is None else -total


def _refund(
    ref: str,
    order_ref: str,
    refunded_at: datetime,
    created_at: datetime,
    paid: Decimal | None,
    currency: str,
    lines: tuple[ChannelRefundLine, ...],
    carriage: Decimal | None,
    carriage_tax: Decimal | None,
) -> ChannelRefund:
    """`paid` None: no money has moved yet, so the lines' worth stands for it."""
    return ChannelRefund(
        ref=ref,
        order_ref=order_ref,
        refunded_at=refunded_at,
        created_at=created_at,
        amount_minor=sum(line.subtotal_minor for line in lines) if paid is None else to_minor(paid, currency),
        currency=currency,
        lines=lines,
        shipping_minor=_optional_minor(carriage, currency),
        shipping_tax_minor=_optional_minor(carriage_tax, currency),
    )


def _restock(word: str | None, whole_refund_restocks: bool) -> Restock:
    """Old bodies have no word on the line, only a flag on the refund."""
    if word is None:
        return "legacy_restock" if whole_refund_restocks else "no_restock"
    known = _RESTOCKS.get(word.lower())
    if known is None:
        # It decides where stock goes.
        raise Unclear("restock_type", "a word we do not know")
    return known


def level_of_body(body: bodies.InventoryLevel, seen_at: datetime | None) -> LevelObservation:
    """An inventory_levels webhook."""
    return LevelObservation(
        inventory_ref=body.inventory_item_id,
        location_ref=body.location_id,
        units=body.available,
        observed_at=refined(body.updated_at, seen_at),
    )


def listings_of_body(body: bodies.Product, seen_at: datetime | None) -> tuple[ChannelListing, ...]:
    """A product webhook: one listing a variant, without levels (its quantities are sums over all locations)."""
    return tuple(
        ChannelListing(
            ref=variant.id,
            inventory_ref=variant.inventory_item_id,
            product_ref=body.id,
            code=variant.sku,
            barcode=variant.barcode,
            title=_title(body.title, variant.title),
            is_tracked="inventory_management" not in variant.model_fields_set
            or variant.inventory_management is not None,
            status=_word(body.status) or "active",
            version_at=refined(max(body.updated_at, variant.updated_at or body.updated_at), seen_at),
            category=_category(body.product_type),
        )
        for variant in body.variants
    )


def order_of_node(node: nodes.Order, seen_at: datetime | None, default_currency: str) -> ChannelOrder:
    """A polled order; it carries the moment of its reading itself. Raises Unclear."""
    seen_at = max((moment for moment in (seen_at, node.seen_at) if moment), default=None)
    currency = (node.currency_code or default_currency).upper()
    ref = node.legacy_resource_id
    refunds = tuple(_refund_of_node(each, ref, currency) for each in node.refunds)
    refunded = None if node.cancelled_at else _units_refunded(refunds)
    removed = {
        line.id: _removed(line.quantity, line.current_quantity, line.id, refunded) for line in node.line_items.nodes
    }
    return ChannelOrder(
        ref=ref,
        name=node.name or f"#{ref}",
        source_ref=node.source_identifier,
        placed_at=node.processed_at or node.created_at,
        created_at=node.created_at,
        version_at=refined(node.updated_at or node.created_at, seen_at),
        cancelled_at=node.cancelled_at,
        cancel_reason=_word(node.cancel_reason),
        financial_status=_word(node.display_financial_status),
        currency=currency,
        total_minor=to_minor(node.total_price_set.shop_money.amount, currency),
        tax_minor=to_minor(node.total_tax_set.shop_money.amount, currency) if node.total_tax_set else None,
        shipping_minor=(
            to_minor(node.total_shipping_price_set.shop_money.amount, currency)
            if node.total_shipping_price_set
            else None
        ),
        taxes_included=node.taxes_included,
        codes=_codes(node.discount_codes, [(noted.key, noted.value) for noted in node.custom_attributes]),
        customer_ref=node.customer.legacy_resource_id if node.customer else None,
        country_code=_known_country(node.shipping_address.country_code_v2) if node.shipping_address else None,
        is_test=node.test,
        is_by_staff=_word(node.source_name) == DRAFT_ORDER,
        is_edited=node.edited,
        tells_units=None not in removed.values(),
        lines=tuple(_line_of_node(line, removed[line.id] or 0, currency) for line in node.line_items.nodes),
        fulfilments=tuple(_fulfilment_of_node(each, ref, seen_at) for each in node.fulfillments),
        refunds=refunds,
    )


def _line_of_node(line: nodes.Line, removed: int, currency: str) -> ChannelLine:
    allocated = [share.allocated_amount_set.shop_money.amount for share in line.discount_allocations]
    own = line.total_discount_set.shop_money.amount if line.total_discount_set else ZERO
    return _line(
        line.id,
        line.variant.legacy_resource_id if line.variant else None,
        line.sku,
        line.name or "",
        line.quantity - removed,
        line.original_unit_price_set.shop_money.amount,
        sum(allocated, ZERO) if allocated else own,
        _tax_left(_tax_of_node(line), line.quantity, removed),
        currency,
    )


def _tax_of_node(line: nodes.Line) -> Decimal | None:
    return None if line.tax_lines is None else sum((tax.price_set.shop_money.amount for tax in line.tax_lines), ZERO)


def _fulfilment_of_node(node: nodes.Fulfilment, order_ref: str, seen_at: datetime | None) -> ChannelFulfilment:
    return _fulfilment(
        node.legacy_resource_id,
        order_ref,
        node.status,
        node.created_at,
        refined(node.updated_at or node.created_at, seen_at),
        ((line.line_item.id, line.quantity) for line in node.fulfillment_line_items.nodes),
        next((info.company for info in node.tracking_info if info.company), None),
        [info.number for info in node.tracking_info],
    )


def _refund_of_node(node: nodes.Refund, order_ref: str, currency: str) -> ChannelRefund:
    lines = tuple(
        ChannelRefundLine(
            line_ref=line.line_item.id,
            units=line.quantity,
            restock=_restock(line.restock_type, False),
            subtotal_minor=to_minor(line.subtotal_set.shop_money.amount if line.subtotal_set else ZERO, currency),
            tax_minor=to_minor(line.total_tax_set.shop_money.amount, currency) if line.total_tax_set else None,
        )
        for line in node.refund_line_items.nodes
        if line.quantity
    )
    paid = node.total_refunded_set.shop_money.amount if node.total_refunded_set else ZERO
    return _refund(
        node.legacy_resource_id,
        order_ref,
        node.processed_at,
        node.created_at or node.processed_at,
        paid or None,
        currency,
        lines,
        *_carriage_of_node(node),
    )


def _carriage_of_node(node: nodes.Refund) -> tuple[Decimal | None, Decimal | None]:
    if node.refund_shipping_lines is None:
        return None, None
    told = node.refund_shipping_lines.nodes
    return (
        sum((each.subtotal_amount_set.shop_money.amount for each in told), ZERO),
        sum((each.tax_amount_set.shop_money.amount for each in told), ZERO),
    )


def listing_of_node(node: nodes.Variant, seen_at: datetime) -> ChannelListing:
    """A variant with the levels of its item."""
    product, item = node.product, node.inventory_item
    return ChannelListing(
        ref=node.legacy_resource_id,
        inventory_ref=item.legacy_resource_id,
        product_ref=product.legacy_resource_id,
        code=node.sku,
        barcode=node.barcode,
        title=_title(product.title, node.title),
        is_tracked=item.tracked,
        status=_word(product.status) or "active",
        version_at=refined(max(node.updated_at, product.updated_at or node.updated_at), seen_at),
        levels=levels_of_node(item, seen_at),
        category=_category(product.product_type),
    )


def levels_of_node(item: nodes.Item, seen_at: datetime) -> tuple[LevelObservation, ...]:
    """What an item shows at its locations, as read at `seen_at`."""
    return tuple(
        LevelObservation(
            inventory_ref=item.legacy_resource_id,
            location_ref=level.location.legacy_resource_id,
            units=level.quantities[0].quantity if item.tracked and level.quantities else None,
            observed_at=refined(_changed_at(level), seen_at),
        )
        for level in item.inventory_levels.nodes
    )


def _changed_at(level: nodes.InventoryLevel) -> datetime:
    own = level.quantities[0].updated_at if level.quantities else None
    return max(level.updated_at, own or level.updated_at)


def _title(product: str | None, variant: str | None) -> str:
    if variant is None or variant == DEFAULT_VARIANT:
        return product or ""
    return f"{product} – {variant}" if product else variant


def _category(product_type: str | None) -> str | None:
    """A product type as people typed it; an empty one says nothing."""
    return (product_type or "").strip() or None


def _word(text: str | None) -> str | None:
    """A vendor's word, the same whether it came in capitals (GraphQL) or not (REST)."""
    return text.strip().lower() if text else None


def _codes(used: Iterable[str | None], noted: Iterable[tuple[str | None, str | None]]) -> tuple[str, ...]:
    """Discount codes, then what attributes say about whose link it was; each once, as typed."""
    named = [value for name, value in noted if name and name.lower() in _NAMES_SOMEBODY]
    return tuple(dict.fromkeys(code for code in (*used, *named) if code))


def _of_shop(bag: bodies.MoneyBag | None) -> Decimal | None:
    return bag.shop_money.amount if bag and bag.shop_money else None


def _optional_minor(amount: Decimal | None, currency: str) -> int | None:
    return None if amount is None else to_minor(amount, currency)


def _country(address: bodies.Address | None) -> str | None:
    return _known_country(address.country_code) if address else None


def _known_country(text: str | None) -> str | None:
    code = (text or "").strip().upper()
    # ZZ is Shopify's "unknown region".
    return code if len(code) == 2 and code.isascii() and code.isalpha() and code != "ZZ" else None
