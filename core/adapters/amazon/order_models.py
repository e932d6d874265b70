"""The parts of an order (Orders API 2026-01-01) that we read: tolerant of case and of what is missing.

Source: github.com/amzn/selling-partner-api-models, orders_2026-01-01. What the model says must be there and is not is
an order that cannot be read; everything else may be missing.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from core.adapters.amazon.models import OptionalInstant, OrEmpty, Part, require_instant


def _word(value: Any) -> Any:
    """Upper snake, as the model writes them: the vendor's own examples differ in case."""
    return _text(value).strip().upper().replace(" ", "_").replace("-", "_") if isinstance(value, str) else value


def _text(value: Any) -> Any:
    """Without the NUL that the database cannot hold."""
    return value.replace("\0", "") if isinstance(value, str) else value


def _amount(value: Any) -> Any:
    """A decimal as text or as a number; a number is taken by its digits, not by its binary value."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Word = Annotated[str, BeforeValidator(_word)]
Instant = Annotated[datetime, BeforeValidator(require_instant)]
# Of one line: hundreds of such promises of one SKU still add up to a number that its level can hold.
Count = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]
Text = Annotated[str, BeforeValidator(_text)]
Ref = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Money(Part):
    amount: Annotated[Decimal, BeforeValidator(_amount), Field(allow_inf_nan=False, ge=-(10**12), le=10**12)]
    currency_code: Text


class Detail(Part):
    """What a part of a breakdown, of taxes or discounts, is for."""

    subtype: Word | None = None
    value: Money | None = None


class Breakdown(Part):
    type: Word | None = None
    subtotal: Money | None = None
    detailed_breakdowns: Annotated[tuple[Detail, ...], OrEmpty] = ()


class Proceeds(Part):
    proceeds_total: Money | None = None
    grand_total: Money | None = None
    breakdowns: Annotated[tuple[Breakdown, ...], OrEmpty] = ()

    def subtotal(self, kind: str) -> Money | None:
        """What a kind of it comes to; None where it is not told."""
        found = [part.subtotal for part in self.breakdowns if part.type == kind and part.subtotal is not None]
        if not found:
            return None
        return found[0].model_copy(update={"amount": sum((one.amount for one in found), Decimal(0))})

    def detail(self, kind: str, subtype: str) -> Decimal:
        """How much of a kind of it is said to be for something."""
        details = (one for part in self.breakdowns if part.type == kind for one in part.detailed_breakdowns)
        return sum((one.value.amount for one in details if one.subtype == subtype and one.value), Decimal(0))


class Price(Part):
    unit_price: Money | None = None


class Product(Part):
    asin: Text | None = None
    title: Text | None = None
    seller_sku: Text | None = None
    price: Price | None = None


class Execution(Part):
    cancelled_by: Word | None = None
    cancel_reason: Text | None = None


class Cancellation(Part):
    cancellation_execution: Execution | None = None


class ItemFulfillment(Part):
    quantity_fulfilled: Count | None = None
    quantity_unfulfilled: Count | None = None


class OrderItem(Part):
    """One line."""

    order_item_id: Ref
    quantity_ordered: Count
    product: Product
    proceeds: Proceeds | None = None
    cancellation: Cancellation | None = None
    fulfillment: ItemFulfillment | None = None

    @property
    def execution(self) -> Execution | None:
        """How it was cancelled, where units of it were."""
        return self.cancellation.cancellation_execution if self.cancellation else None

    @property
    def fulfilled(self) -> int | None:
        return self.fulfillment.quantity_fulfilled if self.fulfillment else None


class PackageItem(Part):
    order_item_id: Ref
    quantity: Count


class PackageStatus(Part):
    status: Word | None = None


class Package(Part):
    """A parcel; only orders that the seller ships have them."""

    package_reference_id: Ref
    created_time: OptionalInstant = None
    package_status: PackageStatus | None = None
    carrier: Text | None = None
    ship_time: OptionalInstant = None
    tracking_number: Text | None = None
    package_items: Annotated[tuple[PackageItem, ...], OrEmpty] = ()

    @property
    def status(self) -> str | None:
        return self.package_status.status if self.package_status else None


class Fulfillment(Part):
    fulfillment_status: Word | None = None
    fulfilled_by: Word | None = None


class SalesChannel(Part):
    channel_name: Word
    marketplace_id: Text | None = None


class Alias(Part):
    alias_id: Text | None = None
    alias_type: Word | None = None


class Order(Part):
    """An order. `seenAt` is ours: when it was read."""

    order_id: Ref
    created_time: Instant
    last_updated_time: Instant
    sales_channel: SalesChannel
    order_items: tuple[OrderItem, ...]
    order_aliases: Annotated[tuple[Alias, ...], OrEmpty] = ()
    proceeds: Proceeds | None = None
    fulfillment: Fulfillment | None = None
    packages: Annotated[tuple[Package, ...], OrEmpty] = ()
    seen_at: OptionalInstant = None

    @property
    def status(self) -> str | None:
        return self.fulfillment.fulfillment_status if self.fulfillment else None

    @property
    def is_cancelled(self) -> bool:
        # Other APIs of the vendor's, and its notifications, write it with one l.
        return self.status in ("CANCELLED", "CANCELED")


class Pagination(Part):
    next_token: Text | None = None


class SearchedOrders(Part):
    """A page of a search: each order as it came, and up to when the vendor looked."""

    orders: tuple[dict[str, Any], ...]
    pagination: Pagination | None = None
    last_updated_before: OptionalInstant = None
    created_before: OptionalInstant = None

    @property
    def next_token(self) -> str | None:
        return self.pagination.next_token if self.pagination else None


class Version(Part):
    """What of an order names its version."""

    order_id: Ref
    last_updated_time: Instant
