"""An Amazon seller account as a sales channel."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from core.adapters.amazon import account, parsing, subscriptions
from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.fba import FbaInventory
from core.adapters.amazon.feeds import Feeds
from core.adapters.amazon.listings import Listings
from core.adapters.amazon.markets import Markets
from core.adapters.amazon.orders import HISTORY, SWEEP_EVERY, Orders
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.adapters.amazon.queues import QueueClient, policy_problem, queue_of
from core.adapters.amazon.roles import RoleMissing
from core.adapters.amazon.shipments import Shipments
from core.adapters.base import ConnectionConfig, Deps
from core.bulk import BulkRoad
from core.errors import Permanent
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

OWN = ChannelLocation(OWN_PLACE, "Amazon, shipped by the seller")
FBA = ChannelLocation(FBA_PLACE, "Amazon warehouses", is_external=True)


CLOCKS_DIFFER = timedelta(minutes=1)
"""Amazon's clock may be so far ahead of ours. What is dated later still is a mistake."""


class NoMarketplace(Permanent):
    """The connection does not say where the seller sells."""

    def __init__(self) -> None:
        super().__init__("the connection has no marketplace_id in its settings: enter it, such as ATVPDKIKX0DER")


class AmazonSellerChannel:
    """One seller in one marketplace, for what the seller ships. Class B: quantities are absolute and applied later.

    `account_ref` is the seller id. Settings: `marketplace_id`; `lwa_url` and `product_type` only where they differ
    from real life. Secrets: `client_id`, `client_secret`, `refresh_token`. References are seller SKUs, locations have
    none. `set_quantities` may be called from several threads at once; make one channel per process.

    Orders are swept (`orders_since`) and asked for one by one (`orders`). What Amazon itself ships is told with them.
    """

    guarantee_class: Literal["A", "B", "C", "D"] = "B"
    writes_per_call = 1
    reads_orders = True
    orders_every: timedelta | None = SWEEP_EVERY
    external_places: Collection[str] = (FBA_PLACE,)

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        marketplace = config.settings.get("marketplace_id")
        if not marketplace:
            raise NoMarketplace
        # PRODUCT serves for edits of the offer alone, whatever the listing's own type is.
        product_type = str(config.settings.get("product_type") or "PRODUCT")
        self._seller_ref, self._marketplace = config.account_ref, str(marketplace)
        self._config, self._deps = config, deps
        partner = self._partner = SellingPartner(config, deps)
        self._listings = Listings(partner, config.account_ref, self._marketplace, product_type, deps.now)
        self._fba = FbaInventory(partner, self._marketplace, deps.now)
        markets = Markets.of(config.settings, self._marketplace)
        self._orders = Orders(partner, markets, deps.now, config.clock_factor)
        self._shipments = Shipments(partner, markets)
        self._kept: dict[str, LevelObservation] | None = None
        self.bulk: BulkRoad | None = Feeds(partner, self._listings, config, deps, product_type)

    def about(self) -> ChannelAccount:
        """The seller, where it takes part and what the app's roles allow: each is asked for, for none is told."""
        return account.about(self._partner, self._seller_ref, self._marketplace)

    def markets(self) -> Sequence[str]:
        """Where the seller takes part in this region; this marketplace alone where it has SKUs of its own."""
        return (self._marketplace,) if self._config.settings.get("own_skus") else account.sells_in(self._partner)

    def parse(self, topic: str, body: bytes, triggered_at: datetime | None) -> Facts | None:
        """Facts of a notification or of a polled order; see core.adapters.amazon.parsing."""
        facts = parsing.parse(topic, body, triggered_at, self._config.currency, self._marketplace)
        return facts and _no_later(facts, self._deps.now())

    def locations(self) -> Sequence[ChannelLocation]:
        """What the seller ships is one number; what Amazon keeps is a place of its own, where there is any."""
        return [OWN, FBA] if self._in_warehouses() else [OWN]

    def listings(self) -> Iterator[Sequence[ChannelListing]]:
        """All listings, by page, with the quantity in force, and what Amazon keeps of those that it ships."""
        return self._listings.all(self._in_warehouses())

    def _in_warehouses(self) -> dict[str, LevelObservation]:
        """What lies at Amazon by SKU, read once; nothing where the app may not look (the doctor says so)."""
        if self._kept is None:
            try:
                self._kept = {level.inventory_ref: level for level in self._fba.all()}
            except RoleMissing:
                self._kept = {}
        return self._kept

    def begin_export(self) -> CatalogueExport | None:
        """Always None: the report of all listings tells no quantity in force, and that takes as many calls as pages."""
        return None

    def export(self, ref: str) -> CatalogueExport | None:
        """Always None: there are none."""
        return None

    def exported(self, export: CatalogueExport) -> Iterator[Sequence[ChannelListing]]:
        """Nothing: there are none."""
        return iter(())

    def listing_count(self) -> int | None:
        """How many listings there are."""
        return self._listings.count()

    def levels(self, refs: Sequence[str], *, in_background: bool = False) -> Sequence[LevelObservation]:
        """Quantities in force by seller SKU; `units` is None for what Amazon ships."""
        return self._listings.levels(refs, "background" if in_background else "normal")

    def external_levels(self) -> Sequence[LevelObservation]:
        """What lies in Amazon's warehouses and can be sold now (`fulfillableQuantity`), by seller SKU."""
        return self._fba.all()

    def orders_since(
        self, since: datetime, resume: str | None = None, *, in_background: bool = False
    ) -> Iterator[OrderPage]:
        """Orders created or updated since the last sweeps, by page; their bodies belong to the topic poll/orders.

        A search comes back in three minutes: there is never a reserve that one in the background could leave to others.
        Whoever asks takes turns with the sweeps.
        """
        return self._orders.since(since, resume, in_background=in_background)

    def newest_order_change_at(self) -> datetime | None:
        """Up to when Amazon looks at orders, by its own clock: everything that bears an earlier stamp has happened."""
        return self._orders.told_until()

    def open_orders(self, resume: str | None = None) -> Iterator[OrderPage]:
        """Orders of the last two years that wait for their payment or are not wholly shipped."""
        return self._orders.still_open(resume)

    def orders_horizon(self) -> timedelta | None:
        """Two years."""
        return HISTORY

    def orders(self, refs: Sequence[str]) -> Iterator[Sequence[Found]]:
        """Some orders as they are now, one by one; their bodies belong to the topic poll/orders."""
        return self._orders.some(refs)

    def orders_behind(self, fulfilment_order_refs: Sequence[str]) -> Sequence[str]:
        """None: the channel has no fulfilment orders."""
        return ()

    def fulfilment_orders(self, order_ref: str) -> Sequence[ChannelFulfilmentOrder]:
        """None: what the seller ships, it ships from one place."""
        return ()

    def confirm_shipment(self, package: PackageSent) -> PackageAnswer:
        """Confirm what the seller shipped; the same package again is an edit."""
        return self._shipments.confirm(package)

    def set_quantities(self, writes: Sequence[QuantityWrite]) -> Sequence[QuantityResult]:
        """One submission each, never repeated; an accepted one is still to be read back."""
        return [self._listings.set_quantity(write) for write in writes]

    def ensure_subscriptions(
        self, address: str, *, repair: bool = True, known: Collection[str] = ()
    ) -> Sequence[ChannelSubscription]:
        """Have Amazon put notifications into the connection's queue; none for a connection without a queue.

        `address` is of no account: Amazon does not call web addresses. Before anything is made the queue is asked
        whether it lets Amazon in. Raises core.adapters.amazon.queues.BadQueue, and what asking a queue raises.
        """
        queue = queue_of(self._config.settings)
        if queue is None:
            return ()
        problem = policy_problem(queue, QueueClient(self._config, self._deps, queue).policy())
        if problem is not None:
            return subscriptions.closed(problem)
        return subscriptions.ensure(self._partner, queue, repair, known)


def _no_later(facts: Facts, now: datetime) -> Facts:
    """What is told was so by now: a number of next year would be the last one that is believed until then."""
    levels = [
        replace(level, observed_at=now) if level.observed_at > now + CLOCKS_DIFFER else level for level in facts.levels
    ]
    return replace(facts, levels=tuple(levels)) if levels else facts
