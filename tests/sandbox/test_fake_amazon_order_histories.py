"""Any history of orders at the fake Amazon: units in force, in orders and put back add up, and each change is told.

What may still be sold is what there was, less what is in orders, plus what came back by itself; at Amazon's own
warehouses what is sold lies there until it ships. A key is one order, or one act, however often it comes.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from sandbox.errors import NotFound, Refused
from sandbox.seller_central import SellerCentral
from sandbox.vendors.amazon.fba import units_of
from sandbox.vendors.amazon.orders import Orders
from tests.sandbox.amazon_bare import Bare

OPENING = 6
SKUS = ("A", "B")
STATUSES = {"PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED", "UNFULFILLABLE"}

keys = st.sampled_from("pqrs")
numbers = st.integers(0, 5)
parts = st.none() | st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=2)
lines = st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 3)), min_size=1, max_size=3)
moves = st.one_of(
    st.tuples(
        st.just("place"), keys, lines, st.sampled_from(["own", "amazon", "elsewhere"]), st.booleans(), st.booleans()
    ),
    st.tuples(st.just("cancel"), keys, numbers, st.sampled_from(["buyer", "payment", "no_inventory"]), parts),
    st.tuples(st.just("ship"), keys, numbers, parts, st.sampled_from([None, "1", "2"])),
    st.tuples(st.just("pay"), numbers, st.booleans()),
    st.tuples(st.just("ask"), numbers),
    st.tuples(st.just("give_up"), numbers),
    st.tuples(st.just("wait"), st.sampled_from([1, 90, 700])),
)
WHERE: dict[str, dict[str, Any]] = {
    "own": {},
    "amazon": {"fulfilled_by": "AMAZON"},
    "elsewhere": {"channel": "NON_AMAZON"},
}


class Trade:
    """A seller whose buyers do anything."""

    def __init__(self, amazon: Bare) -> None:
        self.amazon = amazon
        self.orders = Orders(amazon.store, amazon.outbox, amazon.listings, amazon.fba, 7, amazon.hear)
        amazon.add_duties(self.orders.duties())
        self.central = SellerCentral(amazon.store, self.orders, amazon.listings)
        for sku in SKUS:
            amazon.fba.hold(amazon.seller, sku)
            amazon.fba.count(amazon.seller, sku, {"fulfillable": OPENING})

    def do(self, kind: str, *arguments: Any) -> None:
        """A move, or nothing where it is refused."""
        if kind == "wait":
            self.amazon.advance(*arguments)
            return
        before = self.central.listed(self.amazon.seller)
        try:
            getattr(self, kind)(*arguments)
        except (Refused, NotFound):
            assert self.central.listed(self.amazon.seller) == before

    def place(self, key: str, wanted: list[tuple[str, int]], where: str, hold: bool, shrink: bool) -> None:
        given = [{"sku": sku, "quantity": units} for sku, units in wanted]
        order = {"key": key, "lines": given, "hold": hold, "may_shrink": shrink, **WHERE[where]}
        first = self.central.place(self.amazon.seller, order)
        seen = self.central.listed(self.amazon.seller)
        assert self.central.place(self.amazon.seller, order)["id"] == first["id"]
        assert self.central.listed(self.amazon.seller) == seen

    def cancel(self, key: str, number: int, reason: str, wanted: Any) -> None:
        self.twice(self.central.cancel, {"key": key, "reason": reason, **self.of(number, wanted)})

    def ship(self, key: str, number: int, wanted: Any, reference: str | None) -> None:
        self.twice(self.central.ship, {"key": key, "reference": reference, **self.of(number, wanted)})

    def pay(self, number: int, hold: bool) -> None:
        self.central.pay(self.amazon.seller, {"hold": hold, **self.of(number, None)})

    def ask(self, number: int) -> None:
        self.central.ask_to_cancel(self.amazon.seller, self.of(number, None))

    def give_up(self, number: int) -> None:
        self.central.give_up(self.amazon.seller, self.of(number, None))

    def twice(self, act: Any, given: dict[str, Any]) -> None:
        first = act(self.amazon.seller, given)
        seen = self.central.listed(self.amazon.seller)
        assert act(self.amazon.seller, given) == first
        assert self.central.listed(self.amazon.seller) == seen

    def of(self, number: int, wanted: list[tuple[int, int]] | None) -> dict[str, Any]:
        """An order, and some of its lines."""
        orders = self.central.listed(self.amazon.seller)
        if not orders:
            return {"order_id": "none"}
        order = orders[number % len(orders)]
        named: dict[str, Any] = {"order_id": order["id"]}
        if wanted is not None:
            units = {order["lines"][place % len(order["lines"])]["id"]: count for place, count in wanted}
            named["lines"] = [{"line_id": line, "quantity": count} for line, count in units.items()]
        return named

    def check(self) -> None:
        taken: dict[str, Counter[str]] = {"MERCHANT": Counter(), "AMAZON": Counter()}
        reserved: Counter[str] = Counter()
        for order in self.central.listed(self.amazon.seller):
            open_units = 0
            for line in order["lines"]:
                left = line["quantity"] - line["cancelled"] - line["shipped"]
                assert left >= 0
                assert 0 <= line["put_back"] <= line["cancelled"]
                taken[order["fulfilled_by"]][line["sku"]] += line["quantity"] - line["put_back"]
                open_units += left
                if order["fulfilled_by"] == "AMAZON":
                    reserved[line["sku"]] += left
            assert order["status"] in STATUSES
            assert (open_units > 0) == (order["status"] in ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED"))
        for sku in SKUS:
            assert self.amazon.in_force(sku) == OPENING - taken["MERCHANT"][sku] >= 0
            item = self.amazon.fba.find(self.amazon.seller, sku)
            assert item is not None
            units = units_of(item)
            assert units["fulfillable"] == OPENING - taken["AMAZON"][sku] >= 0
            assert units["pendingCustomerOrder"] == reserved[sku]


@settings(max_examples=25, deadline=None)
@given(st.lists(moves, max_size=25))
def test_units_in_force_in_orders_and_put_back_add_up(history: list[tuple[Any, ...]]) -> None:
    with Bare(*({"sku": sku, "quantity": OPENING} for sku in SKUS)) as amazon:
        trade = Trade(amazon)
        for move in history:
            trade.do(*move)
            trade.check()


def test_every_change_of_an_order_is_told_in_the_vendors_form(shared_dir: Path) -> None:
    schema = json.loads(
        (shared_dir / "contracts/amazon/schemas/notifications/OrderChangeNotification.json").read_text()
    )
    judge = Draft7Validator(schema["properties"]["Payload"])
    with Bare(*({"sku": sku, "quantity": OPENING} for sku in SKUS)) as amazon:
        trade = Trade(amazon)
        trade.place("p", [("A", 2), ("B", 1)], "own", hold=False, shrink=False)
        trade.place("q", [("A", 1)], "amazon", hold=False, shrink=False)
        trade.place("r", [("A", 1)], "elsewhere", hold=False, shrink=False)
        amazon.advance(0)
        trade.give_up(2)
        amazon.advance(200)
        trade.ask(0)
        trade.ship("s", 0, [(0, 1)], None)
        trade.cancel("t", 0, "buyer", [(0, 1)])
        trade.ship("u", 0, None, None)
        amazon.advance(700)
        trade.place("v", [("A", 1)], "own", hold=True, shrink=False)
        trade.cancel("w", 3, "payment", None)
        told = [payload for kind, payload in amazon.told if kind == "ORDER_CHANGE"]
    for payload in told:
        judge.validate(payload)
    changes = [payload["OrderChangeNotification"] for payload in told]
    ids = list(dict.fromkeys(change["AmazonOrderId"] for change in changes))
    seen = [[change["Summary"]["OrderStatus"] for change in changes if change["AmazonOrderId"] == one] for one in ids]
    assert seen == [
        ["Pending", "Unshipped", "Unshipped", "PartiallyShipped", "PartiallyShipped", "Shipped"],
        ["Pending", "Unshipped", "Shipped"],
        ["Pending", "Unshipped", "Unfulfillable"],
        ["Pending", "Canceled"],
    ]
    assert {change["Summary"]["FulfillmentType"] for change in changes} == {"MFN", "AFN"}
    asked = [change for change in changes if change["OrderChangeType"] == "BuyerRequestedChange"]
    assert [item["IsBuyerRequestedCancel"] for item in asked[0]["Summary"]["OrderItems"]] == [True, True]
