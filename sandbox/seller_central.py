"""The part of the control API that plays Amazon's buyers, and the seller at Seller Central's own screens.

Every act is done once for its key, and tells what the vendor tells.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import orjson

from sandbox.clock import as_utc, utc_now
from sandbox.errors import Refused
from sandbox.reading import Body, objects, text, whole
from sandbox.store import Row, Store
from sandbox.vendors.amazon.listings import Listings
from sandbox.vendors.amazon.order_wishes import WantedOrder
from sandbox.vendors.amazon.orders import Orders, Parcel

Act = Callable[[Row, Body], Body]


class SellerCentral:
    """Acts take the seller and what the caller sent, and raise Refused."""

    def __init__(self, store: Store, orders: Orders, listings: Listings) -> None:
        self._store = store
        self._orders = orders
        self._listings = listings

    def acts(self) -> dict[str, Act]:
        """By the path under the seller, which is also the name of the list that it takes and answers."""
        return {
            "orders": self.place,
            "payments": self.pay,
            "cancellations": self.cancel,
            "cancellation_requests": self.ask_to_cancel,
            "shipments": self.ship,
            "unfulfillable": self.give_up,
        }

    def listed(self, seller: Row) -> list[Body]:
        """Every order of the seller, the oldest first."""
        return [self._described(order) for order in self._orders.every(seller)]

    def sell(self, seller: Row, given: Body) -> Body:
        """An order of one line that somebody places; a sale without a key is another one each time."""
        sku, quantity, key = text(given, "sku"), whole(given, "quantity"), str(given.get("key") or uuid4())

        def place(seller: Row, given: Body) -> Body:
            wanted = WantedOrder.read({**given, "key": key, "lines": [{"sku": sku, "quantity": quantity}]})
            order = self._orders.place(seller, wanted)
            left = self._listings.left(seller, sku)
            return {"sku": sku, "quantity": quantity, "in_force": left, "order_id": order["order_id"]}

        return self._once(seller, {**given, "key": key}, "sale", place)

    def place(self, seller: Row, given: Body) -> Body:
        wanted = WantedOrder.read(given)
        made = self._described(self._orders.place(seller, wanted))
        if wanted.may_shrink:
            made["left_out"] = _left_out(wanted, made["lines"])
        return made

    def pay(self, seller: Row, given: Body) -> Body:
        """`hold` keeps a payment from being authorised; without it the payment is authorised now."""
        order = self._orders.find(seller, given.get("order_id"))
        self._orders.hold(seller, order, bool(given.get("hold", False)))
        return self._again(seller, order)

    def cancel(self, seller: Row, given: Body) -> Body:
        """Reasons are buyer, payment and no_inventory."""
        parts = _parts(given)

        def act(seller: Row, given: Body) -> Body:
            order = self._orders.find(seller, given.get("order_id"))
            self._orders.cancel(seller, order, str(given.get("reason", "buyer")), parts)
            return self._again(seller, order)

        return self._once(seller, given, "cancellation", act)

    def ask_to_cancel(self, seller: Row, given: Body) -> Body:
        order = self._orders.find(seller, given.get("order_id"))
        self._orders.request_cancel(seller, order, str(given.get("reason") or "No longer needed"))
        return self._again(seller, order)

    def ship(self, seller: Row, given: Body) -> Body:
        parts, tracking = _parts(given), given.get("tracking") or {}
        if not isinstance(tracking, dict):
            raise Refused("missing", "tracking must be an object with number and company.")

        def act(seller: Row, given: Body) -> Body:
            order = self._orders.find(seller, given.get("order_id"))
            if order["fulfilled_by"] == "AMAZON":
                raise Refused("not_yours", f"Amazon ships the order {order['order_id']} itself.", 409)
            reference = str(given.get("reference") or self._orders.next_reference(order))
            parcel = Parcel(
                reference,
                str(tracking.get("company") or "Royal Mail"),
                str(tracking.get("number") or f"RM{order['id']:08d}{reference}GB"),
                _instant(given.get("shipped_at")) or utc_now(self._store),
            )
            self._orders.ship(seller, order, parcel, parts)
            return {**self._again(seller, order), "reference": reference}

        return self._once(seller, given, "shipment", act)

    def give_up(self, seller: Row, given: Body) -> Body:
        order = self._orders.find(seller, given.get("order_id"))
        self._orders.give_up(seller, order)
        return self._again(seller, order)

    def _once(self, seller: Row, given: Body, kind: str, act: Act) -> Body:
        """The answer of the first time for the same key."""
        who = (seller["seller_id"], kind, text(given, "key"))
        with self._store.transaction():
            earlier = self._store.value(
                "select answer from amazon_acts where seller_id = ? and act = ? and key = ?", who
            )
            if earlier is not None:
                found: Body = orjson.loads(earlier)
                return found
            answer = {"key": who[2], **act(seller, given)}
            self._store.run("insert into amazon_acts values (?, ?, ?, ?)", (*who, orjson.dumps(answer).decode()))
        return answer

    def _again(self, seller: Row, order: Row) -> Body:
        """Without the key of the order: that of the act stands in its place."""
        found = self._described(self._orders.find(seller, order["order_id"]))
        del found["key"]
        return found

    def _described(self, order: Row) -> Body:
        names = ("id", "sku", "quantity", "cancelled", "put_back", "shipped")
        lines = [{name: line[name] for name in names} for line in self._orders.lines(order)]
        return {
            "key": order["key"],
            "id": order["order_id"],
            "status": order["status"],
            "fulfilled_by": order["fulfilled_by"],
            "channel": order["channel"],
            "marketplace_id": order["marketplace_id"],
            "lines": lines,
        }


def _parts(given: Body) -> dict[int, int] | None:
    """Units by line, or None for everything that is open."""
    if given.get("lines") is None:
        return None
    return {whole(line, "line_id"): whole(line, "quantity") for line in objects(given, "lines")}


def _left_out(wanted: WantedOrder, lines: list[dict[str, Any]]) -> list[int]:
    """The places of the lines that were not bought: those that were are there in their order."""
    bought, out = iter(lines), []
    line = next(bought, None)
    for place, wish in enumerate(wanted.lines):
        if line is not None and (line["sku"], line["quantity"]) == (wish.sku, wish.quantity):
            line = next(bought, None)
        else:
            out.append(place)
    return out


def _instant(given: Any) -> str | None:
    if given is None:
        return None
    try:
        return as_utc(str(given))
    except ValueError:
        raise Refused("invalid_time", f"{given!r} is not an ISO 8601 instant.") from None
