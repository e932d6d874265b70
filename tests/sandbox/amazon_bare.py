"""The fake Amazon without its HTTP side: fast enough for many histories, and with an ear for what it tells."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from sandbox.clock import VirtualClock
from sandbox.duties import Duties
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.amazon import patches
from sandbox.vendors.amazon.documents import Documents
from sandbox.vendors.amazon.fba import Fba
from sandbox.vendors.amazon.feeds import Feeds
from sandbox.vendors.amazon.listings import Listings, open_seller
from sandbox.vendors.amazon.reports import Reports
from tests.sandbox.amazon_files import quantity


class Bare:
    """One seller; `told` is every notification, (type, payload), in the order of the events."""

    def __init__(self, *listings: dict[str, Any], seed: int = 7) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self._folder.name))
        self.clock = VirtualClock()
        self.store.wall = self.clock.wall
        self.faults = Faults(self.store, seed)
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.outbox = outbox = Outbox(self.store, self.clock, self.faults)
        self.listings = Listings(self.store, outbox, seed, self.hear)
        self.documents = Documents(self.store)
        self.feeds = Feeds(self.store, outbox, self.listings, self.documents, seed, self.hear)
        self.reports = Reports(self.store, outbox, self.listings, self.documents, seed, self.hear)
        self.fba = Fba(self.store, self.listings, self.hear)
        self._handlers = self.listings.duties() | self.feeds.duties() | self.reports.duties()
        self.duties = Duties(self.store, self.clock, outbox, self._handlers)
        self.seller: Row = open_seller(self.store, "SELLER", "Test", "A1F83G8C2ARO7P")
        self.listings.add(self.seller, list(listings))

    def hear(self, seller: Row, kind: str, payload: Mapping[str, Any]) -> None:
        self.told.append((kind, payload))

    def __enter__(self) -> Bare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()
        self._folder.cleanup()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.duties.settle()

    def add_duties(self, handlers: dict[str, Callable[[int], None]]) -> None:
        """Of a part that a test adds."""
        self._handlers.update(handlers)

    def patch(self, sku: str, units: int) -> None:
        """A quantity by the listings API."""
        listing = self.listings.find(self.seller, sku)
        assert listing is not None
        reading = patches.read(orjson.loads(listing["attributes"]), quantity(1, sku, units)["patches"])
        assert not reading.issues
        self.listings.submit(self.seller, sku, reading)

    def feed(self, *wanted: tuple[str, int], **header: Any) -> int:
        """Quantities by a feed."""
        return self.feed_of([quantity(number, sku, units) for number, (sku, units) in enumerate(wanted, 1)], **header)

    def feed_of(self, messages: list[Any], **header: Any) -> int:
        """Whatever messages by a feed."""
        top = {"sellerId": "SELLER", "version": "2.0"} | header
        data = orjson.dumps({"header": top, "messages": messages})
        with self.store.transaction():
            document = self.documents.keep(self.seller, "application/json", data, is_gzip=False)
        return self.feeds.create(self.seller, "JSON_LISTINGS_FEED", ["A1F83G8C2ARO7P"], document)

    def in_force(self, sku: str) -> int:
        listing = self.listings.find(self.seller, sku)
        assert listing is not None
        return int(orjson.loads(listing["in_force"])["DEFAULT"])
