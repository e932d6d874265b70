"""Shopify as a sales channel: put together from its parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.shopify import access, parsing, subscriptions
from core.adapters.shopify.catalogue import Catalogue
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.exports import Exports
from core.adapters.shopify.fulfilment_orders import FulfilmentOrders
from core.adapters.shopify.orders import Orders
from core.adapters.shopify.products import Products
from core.adapters.shopify.quantities import Quantities
from core.bulk import BulkRoad
from core.ports import (
    CatalogueExport,
    ChannelAccount,
    ChannelFulfilmentOrder,
    ChannelListing,
    ChannelLocation,
    ChannelSubscription,
    Facts,
    Found,
    LevelObservation,
    OrderPage,
    PackageAnswer,
    PackageSent,
    QuantityResult,
    QuantityWrite,
)


class ShopifyChannel:
    """One shop. Class A: Shopify compares before it sets, refuses at zero and repeats a keyed call only once.

    References that cross the border are the plain numbers of Shopify's ids, as text. Needs the secrets `client_id`
    and `client_secret` of an app with the scopes of `access.NEEDED`. Make one per process; it may be shared among
    threads.
    """

    guarantee_class: Literal["A", "B", "C", "D"] = "A"
    writes_per_call = 250
    bulk: BulkRoad | None = None
    reads_orders = True
    orders_every: timedelta | None = None
    external_places: Collection[str] = ()

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._currency = config.currency
        self._graphql = GraphQL(config, deps)
        self._catalogue = Catalogue(self._graphql, deps.now)
        self._exports = Exports(self._graphql, config, deps)
        self._orders = Orders(self._graphql, deps.now)
        self._fulfilment_orders = FulfilmentOrders(self._graphql)
        self.products = Products(self._graphql, config.currency)
        """What the shop sells, as products; a ProductChannel."""
        self._quantities = Quantities(self._graphql, self._catalogue.levels, deps.now, deps.sleep)

    def about(self) -> ChannelAccount:
        """The shop, its plan, and the scopes our app was granted in it."""
        return access.about(self._graphql)

    def markets(self) -> Sequence[str]:
        """None: a shop is one."""
        return ()

    def parse(self, topic: str, body: bytes, triggered_at: datetime | None) -> Facts | None:
        """Facts of a webhook or of a polled order (topic poll/orders). Raises UnreadableBody."""
        return parsing.parse(topic, body, triggered_at, self._currency)

    def locations(self) -> Sequence[ChannelLocation]:
        """Active locations."""
        return self._catalogue.locations()

    def listings(self) -> Iterator[Sequence[ChannelListing]]:
        """All variants, by page, with levels at each active location."""
        return self._catalogue.listings()

    def begin_export(self) -> CatalogueExport | None:
        """Start a bulk operation over all variants; None when Shopify will not now."""
        return self._exports.begin()

    def export(self, ref: str) -> CatalogueExport | None:
        """How far a bulk operation is."""
        return self._exports.read(ref)

    def exported(self, export: CatalogueExport) -> Iterator[Sequence[ChannelListing]]:
        """The variants of a bulk operation's result, by page, with all their levels."""
        return self._exports.listings(export)

    def listing_count(self) -> int | None:
        """How many variants there are."""
        return self._catalogue.listing_count()

    def levels(self, refs: Sequence[str], *, in_background: bool = False) -> Sequence[LevelObservation]:
        """Present levels of inventory items; deleted items are left out."""
        return self._catalogue.levels(refs, "background" if in_background else None)

    def external_levels(self) -> Sequence[LevelObservation]:
        """Nothing: a shop's locations are told with its levels."""
        return ()

    def orders_since(
        self, since: datetime, resume: str | None = None, *, in_background: bool = False
    ) -> Iterator[OrderPage]:
        """Orders updated at or after `since`, oldest first; their bodies belong to the topic poll/orders."""
        return self._orders.since(since, in_background)

    def newest_order_change_at(self) -> datetime | None:
        """When an order was last placed, paid, shipped, refunded or cancelled, by Shopify's clock."""
        return self._orders.newest_change_at()

    def open_orders(self, resume: str | None = None) -> Iterator[OrderPage]:
        """Orders that are neither closed, cancelled nor wholly shipped; without read_all_orders of 60 days only."""
        return self._orders.still_open()

    def orders_horizon(self) -> timedelta | None:
        """60 days without the scope read_all_orders: older orders are not listed, and Shopify does not say so."""
        return None if access.READ_ALL_ORDERS in (self.about().granted or ()) else access.ORDERS_SHOWN_FOR

    def orders(self, refs: Sequence[str]) -> Iterator[Sequence[Found]]:
        """Some orders as they are now; their bodies belong to the topic poll/orders."""
        return self._orders.some(refs)

    def orders_behind(self, fulfilment_order_refs: Sequence[str]) -> Sequence[str]:
        """The orders of fulfilment orders."""
        return self._fulfilment_orders.orders_behind(fulfilment_order_refs)

    def fulfilment_orders(self, order_ref: str) -> Sequence[ChannelFulfilmentOrder]:
        """The fulfilment orders of an order, with their lines. Raises Unauthorised where no scope shows any."""
        return self._fulfilment_orders.of_order(order_ref)

    def confirm_shipment(self, package: PackageSent) -> PackageAnswer:
        """Refused: what is shipped of a Shopify order is told by its fulfilments, which nothing here makes yet."""
        return PackageAnswer("refused", "NOT_SUPPORTED", "Shopify is not told of shipments from here yet")

    def set_quantities(self, writes: Sequence[QuantityWrite]) -> Sequence[QuantityResult]:
        """Compare-and-set the available quantities; one call for each idempotency key."""
        return self._quantities.set(writes)

    def ensure_subscriptions(
        self, address: str, *, repair: bool = True, known: Collection[str] = ()
    ) -> Sequence[ChannelSubscription]:
        """Have each of our topics call `address` exactly once. Without `repair` only look whether they do."""
        return subscriptions.ensure(self._graphql, address, repair, known)
