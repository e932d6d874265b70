"""Orders from the moment somebody buys to the moment everything is shipped or called off.

The quantity in force falls when an order is placed, long before it may be shipped: at first it is PENDING, its payment
not yet authorised. What a buyer (or a failed payment) calls off comes back by itself; what the seller calls off because
he has none does not. What Amazon ships is taken from the stock at Amazon's and never from the seller's own quantity.
Every change gives the order a new time of its last update and is told as ORDER_CHANGE.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from sandbox.clock import utc_now
from sandbox.errors import NotFound, Refused
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.amazon import order_changes
from sandbox.vendors.amazon.fba import Fba
from sandbox.vendors.amazon.listings import Listings
from sandbox.vendors.amazon.marketplaces import MARKETPLACES, of_seller
from sandbox.vendors.amazon.order_wishes import WantedLine, WantedOrder, invented_buyer
from sandbox.vendors.amazon.telling import Tell

# Seconds of the sandbox clock: until a payment is authorised, and until Amazon ships what it ships itself.
PENDING_SECONDS = (20.0, 180.0)
AMAZON_SHIPS_AFTER = (60.0, 600.0)
# What a listing asks for when it names no price of its own.
USUAL_PRICE = "10.00"

# Who calls it off, the words for it, and whether the units come back by themselves.
REASONS = {
    "buyer": ("BUYER", "Buyer cancelled", True),
    "payment": ("AMAZON", "Payment was not authorised", True),
    "no_inventory": ("MERCHANT", "No inventory", False),
}
OPEN = ("UNSHIPPED", "PARTIALLY_SHIPPED")


class Shelf(Protocol):
    """Where units are taken from."""

    def left(self, seller: Row, sku: str) -> int:
        """How many may be sold now. Raises NotFound for a SKU that is not there."""

    def sell(self, seller: Row, sku: str, quantity: int) -> object:
        """Takes as many as are left at most."""

    def release(self, seller: Row, sku: str, quantity: int) -> object:
        """A sale was called off, and its units may be sold again."""

    def ship(self, seller: Row, sku: str, quantity: int) -> object:
        """Units of a sale have left."""


class AmazonStock:
    """What lies in Amazon's own warehouses."""

    def __init__(self, fba: Fba) -> None:
        self._fba = fba
        self.sell, self.release, self.ship = fba.sell, fba.release, fba.ship

    def left(self, seller: Row, sku: str) -> int:
        item = self._fba.find(seller, sku)
        if item is None:
            raise NotFound("item in Amazon's inventory", sku)
        found: int = item["fulfillable"]
        return found


@dataclass(frozen=True)
class Parcel:
    """What is told of a package; `shipped_at` as the stores keep instants."""

    reference: str
    carrier: str
    tracking: str
    shipped_at: str
    service: str | None = None


class Orders:
    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        listings: Listings,
        fba: Fba,
        seed: int,
        tell: Tell,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._listings = listings
        self._chance = random.Random(f"amazon-orders-{seed}")
        self._tell = tell
        self._shelves: dict[str, Shelf] = {"MERCHANT": listings, "AMAZON": AmazonStock(fba)}

    def duties(self) -> dict[str, Callable[[int], None]]:
        """What happens by itself some time after an order came in; each takes the number of the order."""
        return {"amazon_authorise": self._authorise, "amazon_ship": self._ship_from_amazon}

    def find(self, seller: Row, order_id: object) -> Row:
        """Raises NotFound."""
        row = self._store.one(
            "select * from amazon_orders where seller_id = ? and order_id = ?", (seller["seller_id"], order_id)
        )
        if row is None:
            raise NotFound("order", order_id)
        return row

    def every(self, seller: Row) -> list[Row]:
        return self._store.all("select * from amazon_orders where seller_id = ? order by id", (seller["seller_id"],))

    def sold(self, seller: Row) -> dict[str, int]:
        """By SKU what was taken off the quantity in force and did not come back."""
        rows = self._store.all(
            "select l.sku, sum(l.quantity - l.put_back) as units from amazon_lines l"
            " join amazon_orders o on o.id = l.order_id"
            " where o.seller_id = ? and o.fulfilled_by = 'MERCHANT' group by l.sku",
            (seller["seller_id"],),
        )
        return {row["sku"]: row["units"] for row in rows}

    def lines(self, order: Row) -> list[Row]:
        """With `shipped`, the sum of what is in packages."""
        return self._store.all(
            "select l.*, coalesce((select sum(p.quantity) from amazon_package_lines p where p.line_id = l.id), 0)"
            " as shipped from amazon_lines l where l.order_id = ? order by l.id",
            (order["id"],),
        )

    def packages(self, order: Row) -> list[tuple[Row, list[Row]]]:
        """Each package with what is in it."""
        where = (order["id"],)
        contents = self._store.all("select * from amazon_package_lines where order_id = ? order by line_id", where)
        return [
            (package, [line for line in contents if line["reference"] == package["reference"]])
            for package in self._store.all("select * from amazon_packages where order_id = ? order by rowid", where)
        ]

    def next_reference(self, order: Row) -> str:
        """A number that no package of the order has."""
        given = [int(package["reference"]) for package, _ in self.packages(order)]
        return str(max(given, default=0) + 1)

    def place(self, seller: Row, wanted: WantedOrder) -> Row:
        """Places the order once per key. Raises Refused when a SKU is sold out, NotFound when it is not listed."""
        with self._store.transaction():
            earlier = self._store.one(
                "select * from amazon_orders where seller_id = ? and key = ?", (seller["seller_id"], wanted.key)
            )
            if earlier is not None:
                return earlier
            marketplace_id = wanted.marketplace_id or seller["marketplace_id"]
            if marketplace_id not in of_seller(seller):
                raise Refused("unknown_marketplace", f"{wanted.key}: the seller does not sell at {marketplace_id!r}.")
            shelf = self._shelves[wanted.fulfilled_by]
            basket = self._basket(seller, wanted, shelf)
            order = self._write(seller, wanted, basket, marketplace_id)
            for sku, units in _units(basket).items():
                shelf.sell(seller, sku, units)
            self._await_payment(order, wanted)
            self._announce(seller, order, "New order")
        return order

    def hold(self, seller: Row, order: Row, is_held: bool) -> None:
        """A held payment stays unauthorised; one that is let go is authorised now. Raises Refused once it was."""
        if order["status"] != "PENDING":
            raise Refused("not_pending", f"The order {order['order_id']} is {order['status']}.", 409)
        with self._store.transaction():
            self._store.run("update amazon_orders set is_held = ? where id = ?", (is_held, order["id"]))
            if not is_held:
                self._authorise(order["id"])

    def cancel(self, seller: Row, order: Row, reason: str, wanted: Mapping[int, int] | None = None) -> None:
        """Calls off the lines wanted (units by id), or everything that is not shipped.

        Raises Refused for an unknown reason, more units than are open, and what a seller may not call off.
        """
        if reason not in REASONS:
            raise Refused("unknown_reason", f"The reason {reason!r} is none of {', '.join(REASONS)}.")
        who, words, comes_back = REASONS[reason]
        if who == "MERCHANT" and (order["status"] == "PENDING" or order["fulfilled_by"] == "AMAZON"):
            raise Refused("not_yours", f"The seller cannot cancel the order {order['order_id']} as it is now.", 409)
        with self._store.transaction():
            shelf = self._shelves[order["fulfilled_by"]]
            for line, units in self._chosen(order, wanted):
                back = units if comes_back else 0
                self._store.run(
                    "update amazon_lines set cancelled = cancelled + ?, put_back = put_back + ?, cancelled_by = ?,"
                    " cancel_reason = ? where id = ?",
                    (units, back, who, words, line["id"]),
                )
                if back:
                    shelf.release(seller, line["sku"], back)
            self._touch(order)
            self._announce(seller, order, words)

    def request_cancel(self, seller: Row, order: Row, reason: str) -> None:
        """The buyer asks the seller to cancel; nothing else changes. Raises Refused where nothing is open."""
        if order["status"] not in OPEN or order["fulfilled_by"] != "MERCHANT":
            raise Refused("not_open", f"The order {order['order_id']} is {order['status']}.", 409)
        with self._store.transaction():
            self._store.run("update amazon_orders set wants_cancel = ? where id = ?", (reason, order["id"]))
            self._touch(order)
            self._announce(seller, order, "Buyer Requested Cancel", "BuyerRequestedChange")

    def give_up(self, seller: Row, order: Row) -> None:
        """Amazon cannot deliver what was sold elsewhere: its units come back. Raises Refused for other orders."""
        if order["channel"] != "NON_AMAZON" or order["status"] != "UNSHIPPED":
            raise Refused("not_open", f"The order {order['order_id']} cannot become UNFULFILLABLE.", 409)
        with self._store.transaction():
            for line in self.lines(order):
                left = line["quantity"] - line["cancelled"]
                if left:
                    self._shelves["AMAZON"].release(seller, line["sku"], left)
                self._store.run(
                    "update amazon_lines set put_back = put_back + ?, cancelled = quantity where id = ?",
                    (left, line["id"]),
                )
            self._store.run("update amazon_orders set status = 'UNFULFILLABLE' where id = ?", (order["id"],))
            self._touch(order)
            self._announce(seller, order, "Unfulfillable")

    def ship(self, seller: Row, order: Row, parcel: Parcel, wanted: Mapping[int, int] | None = None) -> None:
        """A package with the units wanted by line id, or with everything open. The same reference is the same package:
        it then says what is given now.

        Raises Refused for an order that is not to be shipped and for more units than are open.
        """
        if order["status"] not in (*OPEN, "SHIPPED"):
            raise Refused("not_open", f"The order {order['order_id']} is {order['status']}.", 409)
        package = (order["id"], parcel.reference)
        with self._store.transaction():
            before = self._store.all(
                "select line_id, quantity from amazon_package_lines where order_id = ? and reference = ?", package
            )
            inside = {row["line_id"]: row["quantity"] for row in before}
            chosen = self._chosen(order, wanted, inside)
            self._store.run("delete from amazon_package_lines where order_id = ? and reference = ?", package)
            self._store.run(
                "insert into amazon_packages values (?, ?, ?, ?, ?, ?, ?) on conflict do update set"
                " carrier = excluded.carrier, service = excluded.service, tracking = excluded.tracking,"
                " shipped_at = excluded.shipped_at",
                (*package, utc_now(self._store), parcel.carrier, parcel.service, parcel.tracking, parcel.shipped_at),
            )
            self._store.run_many(
                "insert into amazon_package_lines values (?, ?, ?, ?)",
                [(*package, line["id"], units) for line, units in chosen],
            )
            self._touch(order)
            self._announce(seller, order, "Shipment confirmed")

    def _basket(self, seller: Row, wanted: WantedOrder, shelf: Shelf) -> list[WantedLine]:
        """What is bought of what was wanted. Raises Refused when nothing is left of it."""
        left = {line.sku: shelf.left(seller, line.sku) for line in wanted.lines}
        kept = []
        for line in wanted.lines:
            if left[line.sku] >= line.quantity:
                left[line.sku] -= line.quantity
                kept.append(line)
            elif not wanted.may_shrink:
                sentence = f"{line.sku} has {left[line.sku]} units in force, {line.quantity} were wanted."
                raise Refused("out_of_stock", f"{wanted.key}: {sentence}", 409)
        if not kept:
            raise Refused("out_of_stock", f"{wanted.key}: everything that was wanted is sold out.", 409)
        return kept

    def _write(self, seller: Row, wanted: WantedOrder, basket: Sequence[WantedLine], marketplace_id: str) -> Row:
        now, number = utc_now(self._store), self._store.next_id("amazon_order")
        buyer, recipient = invented_buyer(self._chance, MARKETPLACES[marketplace_id])
        self._store.insert(
            "amazon_orders",
            id=number,
            seller_id=seller["seller_id"],
            key=wanted.key,
            order_id=_numbered(number),
            marketplace_id=marketplace_id,
            channel=wanted.channel,
            fulfilled_by=wanted.fulfilled_by,
            status="PENDING",
            created_at=now,
            updated_at=now,
            is_held=wanted.hold,
            buyer=orjson.dumps(buyer).decode(),
            recipient=orjson.dumps(recipient).decode(),
        )
        for line in basket:
            listing = self._listings.find(seller, line.sku)
            assert listing is not None
            self._store.insert(
                "amazon_lines",
                id=self._store.next_id("amazon_line"),
                order_id=number,
                sku=line.sku,
                asin=listing["asin"],
                title=listing["title"],
                price=line.price or _asked(listing),
                quantity=line.quantity,
            )
        return self._again(number)

    def _await_payment(self, order: Row, wanted: WantedOrder) -> None:
        """What was sold elsewhere is paid for elsewhere."""
        seconds = wanted.pending_seconds
        if seconds is None:
            seconds = 0.0 if wanted.channel == "NON_AMAZON" else self._chance.uniform(*PENDING_SECONDS)
        if not wanted.hold:
            self._outbox.owe("amazon_authorise", order["id"], seconds)

    def _authorise(self, number: int) -> None:
        order = self._again(number)
        if order["status"] != "PENDING" or order["is_held"]:
            return
        self._store.run("update amazon_orders set status = 'UNSHIPPED' where id = ?", (number,))
        self._touch(order)
        self._announce(self._seller_of(order), order, "Payment authorised")
        if order["fulfilled_by"] == "AMAZON":
            self._outbox.owe("amazon_ship", number, self._chance.uniform(*AMAZON_SHIPS_AFTER))

    def _ship_from_amazon(self, number: int) -> None:
        order = self._again(number)
        if order["status"] in OPEN:
            seller, parcel = self._seller_of(order), Parcel("1", "AMAZON", f"TBA{number:012d}", utc_now(self._store))
            for line in self.lines(order):
                if left := line["quantity"] - line["cancelled"]:
                    self._shelves["AMAZON"].ship(seller, line["sku"], left)
            self.ship(seller, order, parcel)

    def _chosen(
        self, order: Row, wanted: Mapping[int, int] | None, given_back: Mapping[int, int] | None = None
    ) -> list[tuple[Row, int]]:
        """Lines and units, checked against what is open, `given_back` being open again. Raises Refused."""
        lines = {line["id"]: line for line in self.lines(order)}
        back = given_back or {}
        left = {
            number: line["quantity"] - line["cancelled"] - line["shipped"] + back.get(number, 0)
            for number, line in lines.items()
        }
        chosen = {number: units for number, units in left.items() if units} if wanted is None else wanted
        if not chosen:
            raise Refused("nothing_open", f"Nothing is open of the order {order['order_id']}.", 409)
        for number, units in chosen.items():
            if number not in lines:
                raise Refused("unknown_line", f"The order {order['order_id']} has no item {number}.")
            if not 1 <= units <= left[number]:
                raise Refused("too_many", f"Of the item {number} {left[number]} units are open, not {units}.", 409)
        return [(lines[number], units) for number, units in chosen.items()]

    def _touch(self, order: Row) -> None:
        """The status that follows from its lines, and the time of its last update."""
        lines, status = self.lines(order), self._again(order["id"])["status"]
        shipped = sum(line["shipped"] for line in lines)
        left = sum(line["quantity"] - line["cancelled"] for line in lines) - shipped
        if status != "UNFULFILLABLE":
            if not left:
                status = "SHIPPED" if shipped else "CANCELLED"
            elif shipped:
                status = "PARTIALLY_SHIPPED"
        self._store.run(
            "update amazon_orders set status = ?, updated_at = ? where id = ?",
            (status, utc_now(self._store), order["id"]),
        )

    def _announce(self, seller: Row, order: Row, reason: str, kind: str = "OrderStatusChange") -> None:
        now = self._again(order["id"])
        self._tell(seller, "ORDER_CHANGE", order_changes.payload(seller, now, self.lines(now), kind, reason))

    def _again(self, number: int) -> Row:
        row = self._store.one("select * from amazon_orders where id = ?", (number,))
        assert row is not None
        return row

    def _seller_of(self, order: Row) -> Row:
        row = self._store.one("select * from sellers where seller_id = ?", (order["seller_id"],))
        assert row is not None
        return row


def _units(basket: Sequence[WantedLine]) -> Counter[str]:
    units: Counter[str] = Counter()
    for line in basket:
        units[line.sku] += line.quantity
    return units


def _numbered(number: int) -> str:
    """A number of the vendor's form, 3-7-7 digits; both factors have no divisor in common with ten to the seventh."""
    return f"{200 + number % 7}-{number * 7_654_321 % 10**7:07d}-{number * 1_234_567 % 10**7:07d}"


def _asked(listing: Row) -> str:
    """The price of the listing's own offer."""
    offers = orjson.loads(listing["attributes"]).get("purchasable_offer") or [{}]
    schedule = (offers[0].get("our_price") or [{}])[0].get("schedule") or [{}]
    found = schedule[0].get("value_with_tax")
    return USUAL_PRICE if found is None else f"{found:.2f}"
