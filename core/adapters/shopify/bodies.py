"""Shopify's REST-shaped webhook bodies, as far as we read them.

Source: shopify.dev/docs/api/webhooks (topics) and the REST resources they carry.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from core.adapters.shopify.fields import (
    Amount,
    Body,
    Count,
    Flag,
    Gid,
    Id,
    Instant,
    Level,
    LooseText,
    Objects,
    OptionalAmount,
    OptionalCount,
    OptionalFlag,
    OptionalId,
    OptionalInstant,
    OptionalText,
    OrEmpty,
)


class Money(Body):
    amount: OptionalAmount = None


class MoneyBag(Body):
    """An amount in several currencies; that of the shop counts."""

    shop_money: Money | None = None


class Allocation(Body):
    """A share of a discount that fell on a line."""

    amount: Amount


class TaxLine(Body):
    """A tax that was charged."""

    price: OptionalAmount = None
    price_set: MoneyBag | None = None


class Line(Body):
    """One line of an order."""

    id: Id
    variant_id: OptionalId = None
    sku: OptionalText = None
    name: OptionalText = None
    title: OptionalText = None
    quantity: Count
    current_quantity: OptionalCount = None
    price: Amount
    total_discount: OptionalAmount = None
    discount_allocations: Annotated[tuple[Allocation, ...], OrEmpty] = ()
    tax_lines: tuple[TaxLine, ...] | None = None


class FulfilledLine(Body):
    """A line of an order as a fulfilment names it; `quantity` is what this fulfilment moves."""

    id: Id
    quantity: Count


class Fulfilment(Body):
    """A shipment as Shopify knows it."""

    id: Id
    order_id: OptionalId = None
    status: OptionalText = None
    created_at: Instant
    updated_at: OptionalInstant = None
    line_items: Annotated[tuple[FulfilledLine, ...], OrEmpty] = ()
    tracking_company: OptionalText = None
    tracking_number: OptionalText = None
    tracking_numbers: Annotated[tuple[OptionalText, ...], OrEmpty] = ()


class RefundLine(Body):
    """Units of a line given back."""

    line_item_id: Id
    quantity: Count
    restock_type: OptionalText = None
    subtotal: OptionalAmount = None
    total_tax: OptionalAmount = None


class Transaction(Body):
    """Money that moved with a refund."""

    kind: OptionalText = None
    status: OptionalText = None
    amount: OptionalAmount = None
    currency: OptionalText = None


class Adjustment(Body):
    """What a refund gives back besides lines, below zero: carriage, until 2024-10 by this way only."""

    kind: OptionalText = None
    amount: OptionalAmount = None
    tax_amount: OptionalAmount = None


class RefundedCarriage(Body):
    """Carriage given back."""

    subtotal_amount_set: MoneyBag | None = None
    tax_amount_set: MoneyBag | None = None


class Refund(Body):
    """Money given back, with or without goods."""

    id: Id
    order_id: OptionalId = None
    created_at: Instant
    processed_at: OptionalInstant = None
    restock: Flag = False
    refund_line_items: Annotated[tuple[RefundLine, ...], OrEmpty] = ()
    refund_shipping_lines: tuple[RefundedCarriage, ...] | None = None
    order_adjustments: tuple[Adjustment, ...] | None = None
    transactions: Annotated[tuple[Transaction, ...], OrEmpty] = ()


class CodeUsed(Body):
    """A discount code that the buyer typed."""

    code: LooseText = None


class Attribute(Body):
    """What the shop's pages or apps noted on an order."""

    name: LooseText = None
    value: LooseText = None


class Customer(Body):
    """Who bought: the id only, never a name or an address."""

    id: OptionalId = None


class Address(Body):
    """Where to: the country only."""

    country_code: OptionalText = None


class Order(Body):
    """An order with everything that has happened to it so far."""

    id: Id
    name: OptionalText = None
    order_number: OptionalText = None
    source_identifier: OptionalText = None
    source_name: OptionalText = None
    created_at: Instant
    processed_at: OptionalInstant = None
    updated_at: OptionalInstant = None
    cancelled_at: OptionalInstant = None
    cancel_reason: OptionalText = None
    financial_status: OptionalText = None
    currency: OptionalText = None
    total_price: OptionalAmount = None
    total_tax: OptionalAmount = None
    total_shipping_price_set: MoneyBag | None = None
    taxes_included: OptionalFlag = None
    discount_codes: Annotated[tuple[CodeUsed, ...], Objects] = ()
    note_attributes: Annotated[tuple[Attribute, ...], Objects] = ()
    customer: Customer | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    test: Flag = False
    # Required: an order body without its lines (a field filter, a partial answer) must not look like an empty order.
    line_items: Annotated[tuple[Line, ...], OrEmpty]
    fulfillments: Annotated[tuple[Fulfilment, ...], OrEmpty] = ()
    refunds: Annotated[tuple[Refund, ...], OrEmpty] = ()

    @model_validator(mode="after")
    def _lines_differ(self) -> Order:
        if len({line.id for line in self.line_items}) < len(self.line_items):
            raise PydanticCustomError("unreadable", "two lines carry the same id")
        return self


class InventoryLevel(Body):
    """The available quantity of an item at a location; null where Shopify does not count it."""

    inventory_item_id: Id
    location_id: Id
    available: Level
    updated_at: Instant


class Variant(Body):
    """Something sold; null inventory_management means it is not counted, an absent one says nothing."""

    id: Id
    sku: OptionalText = None
    barcode: OptionalText = None
    title: OptionalText = None
    inventory_item_id: OptionalId = None
    inventory_management: OptionalText = None
    updated_at: OptionalInstant = None


class Product(Body):
    """A product with its variants."""

    id: Id
    title: OptionalText = None
    status: OptionalText = None
    product_type: OptionalText = None
    created_at: OptionalInstant = None
    updated_at: Instant
    variants: Annotated[tuple[Variant, ...], OrEmpty] = ()


class NamedProduct(Body):
    """Of a product no more than which it is: all that is said of one that is gone."""

    id: Id


class OrderEdit(Body):
    """A change of an order; the lines' ids are of no use here, since the order says how they are now."""

    order_id: Id
    created_at: Instant
    committed_at: OptionalInstant = None


class OrderEdited(Body):
    order_edit: OrderEdit


class FulfilmentOrder(Body):
    """The little that its webhooks say of a fulfilment order."""

    id: Gid


class Routed(Body):
    fulfillment_order: FulfilmentOrder


class BulkOperation(Body):
    """A bulk operation that has ended, well or not."""

    admin_graphql_api_id: Gid
