"""Any history of acts: levels always equal the opening stock, less sales, plus what came back, plus edits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.errors import Refused
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import (
    bodies,
    fulfilment_orders,
    fulfilments,
    inventory,
    order_edits,
    order_rows,
    orders,
    returns,
)
from sandbox.vendors.shopify.catalogue import Sample, shelve
from sandbox.vendors.shopify.orders import WantedLine, WantedOrder
from sandbox.vendors.shopify.set_quantities import set_quantities
from sandbox.vendors.shopify.shops import gid, home_location, open_shop

OPENING = 12
SKUS = ("A", "B")
small = st.integers(1, 6)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from(SKUS), small),
        st.tuples(st.just("ship"), st.integers(0, 5), small),
        st.tuples(st.just("refund"), st.integers(0, 5), small, st.sampled_from(returns.RESTOCK_TYPES)),
        st.tuples(st.just("cancel"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("route"), st.integers(0, 5)),
        st.tuples(st.just("add"), st.integers(0, 5), st.sampled_from(SKUS), small),
        st.tuples(st.just("take_off"), st.integers(0, 5), small, st.booleans()),
        st.tuples(st.just("unship"), st.integers(0, 5)),
        st.tuples(st.just("adjust"), st.sampled_from(SKUS), st.integers(-5, 5)),
        st.tuples(st.just("set"), st.sampled_from(SKUS), st.integers(0, 30), st.booleans()),
    ),
    max_size=25,
)


@dataclass
class Book:
    """What the levels must be, kept by hand."""

    available: int = OPENING
    committed: int = 0


@dataclass
class Life:
    """A shop under test and its book."""

    store: Store
    outbox: Outbox
    shop: Row
    places: dict[str, tuple[int, int]]
    books: dict[str, Book] = field(default_factory=lambda: {sku: Book() for sku in SKUS})
    orders: list[int] = field(default_factory=list)
    turn: int = 0

    def act(self, verb: str, *arguments: Any) -> None:
        self.turn += 1
        try:
            getattr(self, f"_{verb}")(*arguments)
        except Refused:
            return

    def _place(self, sku: str, quantity: int) -> None:
        line = WantedLine(sku, quantity, "1.00", None)
        wanted = WantedOrder(f"o{self.turn}", None, None, None, None, None, False, [line])
        self.orders.append(orders.place(self.store, self.outbox, self.shop, wanted))
        self.books[sku].available -= quantity
        self.books[sku].committed += quantity

    def _line(self, index: int) -> tuple[int, Row]:
        if not self.orders:
            raise Refused("none", "no orders yet")
        order_id = self.orders[index % len(self.orders)]
        return order_id, bodies.lines_of(self.store, order_id)[0]

    def _ship(self, index: int, quantity: int) -> None:
        order_id, line = self._line(index)
        fulfilments.ship(self.store, self.outbox, self.shop, order_id, f"s{self.turn}", {line["id"]: quantity})
        self.books[line["sku"]].committed -= quantity

    def _refund(self, index: int, quantity: int, kind: str) -> None:
        order_id, line = self._line(index)
        open_units = bodies.fulfillable(line)
        part = {"line_id": line["id"], "quantity": quantity, "restock_type": kind}
        returns.refund(self.store, self.outbox, self.shop, order_id, f"r{self.turn}", [part])
        book = self.books[line["sku"]]
        if kind != "return":
            book.committed -= min(quantity, open_units)
        if kind != "no_restock":
            book.available += quantity

    def _cancel(self, index: int, restock: bool) -> None:
        order_id, _ = self._line(index)
        lines = bodies.lines_of(self.store, order_id)
        returns.cancel(self.store, self.outbox, self.shop, order_id, f"c{self.turn}", "staff", restock)
        for line in lines:
            self.books[line["sku"]].committed -= bodies.fulfillable(line)
            self.books[line["sku"]].available += bodies.fulfillable(line) if restock else 0

    def _route(self, index: int) -> None:
        order_id, _ = self._line(index)
        with self.store.transaction():
            order = order_rows.find_order(self.store, self.shop, order_id)
            fulfilment_orders.route(self.store, self.outbox, self.shop, order)

    def _add(self, index: int, sku: str, quantity: int) -> None:
        order_id, _ = self._line(index)
        line = WantedLine(sku, quantity, "1.00", None)
        order_edits.edit(self.store, self.outbox, self.shop, order_id, [line], [], True)
        self.books[sku].available -= quantity
        self.books[sku].committed += quantity

    def _take_off(self, index: int, quantity: int, restock: bool) -> None:
        order_id, line = self._line(index)
        order_edits.edit(self.store, self.outbox, self.shop, order_id, [], [(line["id"], quantity)], restock)
        self.books[line["sku"]].committed -= quantity
        self.books[line["sku"]].available += quantity if restock else 0

    def _unship(self, index: int) -> None:
        order_id, _ = self._line(index)
        row = self.store.one("select * from fulfillments where order_id = ? order by id desc", (order_id,))
        if row is None or fulfilments.cancel(self.store, self.outbox, self.shop, row):
            return
        for part in self.store.all("select * from fulfillment_lines where fulfillment_id = ?", (row["id"],)):
            sku = self.store.value("select sku from lines where id = ?", (part["line_id"],))
            self.books[sku].committed += part["quantity"]

    def _adjust(self, sku: str, delta: int) -> None:
        with self.store.transaction():
            moves = {self.places[sku]: inventory.Move(available=delta)}
            inventory.apply(self.store, self.outbox, self.shop, self.outbox.act(), moves)
        self.books[sku].available += delta

    def _set(self, sku: str, quantity: int, stale: bool) -> None:
        book = self.books[sku]
        element = {
            "inventoryItemId": gid("InventoryItem", self.places[sku][0]),
            "quantity": quantity,
            "locationId": gid("Location", self.places[sku][1]),
            "changeFromQuantity": book.available + (1 if stale else 0),
        }
        call = {"name": "available", "reason": "correction", "quantities": [element]}
        outcome = set_quantities(self.store, self.outbox, self.shop, f"k{self.turn}", call)
        assert bool(outcome.errors) == stale
        if not stale:
            book.available = quantity

    def check(self) -> None:
        for sku, book in self.books.items():
            level = inventory.read_level(self.store, *self.places[sku])
            assert level is not None
            assert (level["available"], level["committed"]) == (book.available, book.committed)
            assert inventory.quantity(level, "on_hand") == book.available + book.committed
            assert book.committed >= 0
        self._check_fulfilment_orders()

    def _check_fulfilment_orders(self) -> None:
        """What is left in them is what is left to ship of a routed order, line by line."""
        left = self.store.all(
            "select l.id, l.quantity - l.fulfilled - l.removed as to_ship, coalesce(sum(f.remaining), 0) as remaining"
            " from lines l left join fulfillment_order_lines f on f.line_id = l.id"
            " where l.order_id in (select order_id from fulfillment_orders) group by l.id"
        )
        assert all(row["to_ship"] == row["remaining"] for row in left)
        for row in self.store.all("select * from fulfillment_orders"):
            remaining = sum(line["remaining"] for line in fulfilment_orders.lines_of(self.store, row["id"]))
            assert (remaining == 0) == (row["status"] in ("CLOSED", "CANCELLED"))


@contextmanager
def new_life() -> Iterator[Life]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        outbox = Outbox(store, Clock(store), Faults(store, 7))
        shop = open_shop(store, "x.myshopify.com", "X", "GBP", "Europe/London", "standard")
        goods = [Sample(sku, sku, "1.00", None, True, "DENY", OPENING, "", "") for sku in SKUS]
        with store.transaction():
            shelved = shelve(store, shop, goods)
        location = home_location(store, shop["id"])
        yield Life(store, outbox, shop, {entry.sku: (entry.item_id, location) for entry in shelved})
        store.close()


@given(acts)
def test_levels_are_explained_by_what_happened(history: list[tuple[Any, ...]]) -> None:
    with new_life() as life:
        for act in history:
            life.act(*act)
            life.check()
