"""Nodes of the Admin GraphQL API, as the documents in `documents` ask for them.

They are kept as inbox bodies, so an old one must stay readable: only ever add fields with a default.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

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
    LooseTexts,
    Objects,
    OptionalCount,
    OptionalFlag,
    OptionalInstant,
    OptionalText,
    OrEmpty,
)


class Node(Body):
    """camelCase outside, snake_case inside."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True)


AnyNode = TypeVar("AnyNode", bound=BaseModel)


class Nodes(Node, Generic[AnyNode]):
    """A connection read to its end."""

    nodes: Annotated[tuple[AnyNode, ...], OrEmpty]


class Money(Node):
    amount: Amount


class MoneyBag(Node):
    shop_money: Money


class Ref(Node):
    """Another resource, named by its number."""

    legacy_resource_id: Id


class LineRef(Node):
    id: Gid


class Allocation(Node):
    allocated_amount_set: MoneyBag


class TaxLine(Node):
    price_set: MoneyBag


class Attribute(Node):
    key: LooseText = None
    value: LooseText = None


class Line(Node):
    id: Gid
    name: OptionalText = None
    sku: OptionalText = None
    quantity: Count
    current_quantity: OptionalCount = None
    variant: Ref | None = None
    original_unit_price_set: MoneyBag
    total_discount_set: MoneyBag | None = None
    discount_allocations: Annotated[tuple[Allocation, ...], OrEmpty] = ()
    tax_lines: tuple[TaxLine, ...] | None = None


class FulfilledLine(Node):
    quantity: Count = 0
    line_item: LineRef


class Tracking(Node):
    company: OptionalText = None
    number: OptionalText = None


class Fulfilment(Node):
    legacy_resource_id: Id
    status: OptionalText = None
    created_at: Instant
    updated_at: OptionalInstant = None
    tracking_info: Annotated[tuple[Tracking, ...], OrEmpty] = ()
    fulfillment_line_items: Nodes[FulfilledLine]


class RefundLine(Node):
    quantity: Count
    restock_type: OptionalText = None
    subtotal_set: MoneyBag | None = None
    total_tax_set: MoneyBag | None = None
    line_item: LineRef


class RefundedCarriage(Node):
    subtotal_amount_set: MoneyBag
    tax_amount_set: MoneyBag


class Refund(Node):
    legacy_resource_id: Id
    created_at: OptionalInstant = None
    processed_at: Instant
    total_refunded_set: MoneyBag | None = None
    refund_line_items: Nodes[RefundLine]
    refund_shipping_lines: Nodes[RefundedCarriage] | None = None


class Address(Node):
    country_code_v2: OptionalText = Field(default=None, alias="countryCodeV2")


class Order(Node):
    legacy_resource_id: Id
    seen_at: OptionalInstant = Field(default=None, description="when we asked for it; not the vendor's")
    name: OptionalText = None
    source_identifier: OptionalText = None
    source_name: OptionalText = None
    edited: Flag = False
    created_at: Instant
    processed_at: OptionalInstant = None
    updated_at: OptionalInstant = None
    cancelled_at: OptionalInstant = None
    cancel_reason: OptionalText = None
    display_financial_status: OptionalText = None
    currency_code: OptionalText = None
    total_price_set: MoneyBag
    total_tax_set: MoneyBag | None = None
    total_shipping_price_set: MoneyBag | None = None
    taxes_included: OptionalFlag = None
    discount_codes: Annotated[tuple[LooseText, ...], LooseTexts] = ()
    custom_attributes: Annotated[tuple[Attribute, ...], Objects] = ()
    customer: Ref | None = None
    shipping_address: Address | None = None
    test: Flag = False
    line_items: Nodes[Line]
    fulfillments: Annotated[tuple[Fulfilment, ...], OrEmpty] = ()
    refunds: Annotated[tuple[Refund, ...], OrEmpty] = ()


class Quantity(Node):
    quantity: Level = None
    updated_at: OptionalInstant = None


class InventoryLevel(Node):
    updated_at: Instant
    location: Ref
    quantities: Annotated[tuple[Quantity, ...], OrEmpty] = ()


class PageInfo(Node):
    has_next_page: bool = False
    end_cursor: str | None = None


class Levels(Nodes[InventoryLevel]):
    page_info: PageInfo = PageInfo()


class Item(Node):
    legacy_resource_id: Id
    tracked: Flag = False
    inventory_levels: Levels


class Product(Node):
    legacy_resource_id: Id
    title: OptionalText = None
    status: OptionalText = None
    product_type: OptionalText = None
    updated_at: OptionalInstant = None


class Variant(Node):
    legacy_resource_id: Id
    title: OptionalText = None
    sku: OptionalText = None
    barcode: OptionalText = None
    updated_at: Instant
    product: Product
    inventory_item: Item


class Location(Node):
    legacy_resource_id: Id
    name: OptionalText = None


class Plan(Node):
    public_display_name: OptionalText = None


class Shop(Node):
    name: OptionalText = None
    myshopify_domain: str
    currency_code: OptionalText = None
    iana_timezone: OptionalText = None
    plan: Plan | None = None


class AccessScope(Node):
    handle: str


class Installation(Node):
    access_scopes: Annotated[tuple[AccessScope, ...], OrEmpty]


class About(Node):
    shop: Shop
    current_app_installation: Installation


class BulkOperation(Node):
    id: Gid
    status: str
    error_code: OptionalText = None
    created_at: Instant
    object_count: Count = 0
    url: OptionalText = None
    partial_data_url: OptionalText = None


class AssignedLocation(Node):
    name: OptionalText = None
    location: Ref | None = None


class Hold(Node):
    reason: str


class FulfilmentOrderLine(Node):
    id: Gid
    total_quantity: Count
    remaining_quantity: Count
    line_item: LineRef


class FulfilmentOrder(Node):
    id: Gid
    order_id: Gid
    status: str
    request_status: str
    updated_at: Instant
    assigned_location: AssignedLocation
    fulfillment_holds: Annotated[tuple[Hold, ...], OrEmpty] = ()
    line_items: Nodes[FulfilmentOrderLine]


class OrderBehind(Node):
    order_id: Gid
