"""What a shopper buys where, and what becomes of it: one class for each kind of place."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol, TypeVar

import orjson

from sandbox.clock import utc_now
from sandbox.errors import Refused
from sandbox.money import amount, line_total
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.amazon import orders as amazon
from sandbox.vendors.amazon.listings import find_seller
from sandbox.vendors.amazon.order_wishes import WantedLine as AmazonLine
from sandbox.vendors.amazon.order_wishes import WantedOrder as AmazonOrder
from sandbox.vendors.amazon.patches import DEFAULT_CHANNEL
from sandbox.vendors.shopify import bodies, fulfilments, orders, returns
from sandbox.vendors.shopify.charges import Carriage
from sandbox.vendors.shopify.orders import WantedLine, WantedOrder
from sandbox.vendors.shopify.shops import find_shop

COUNTRIES = ("GB", "GB", "GB", "GB", "IE", "FR", "DE", "NL")
LINE_COUNTS = (1, 1, 1, 1, 2, 2, 3, 3, 5)
UNIT_COUNTS = (1, 1, 1, 1, 2, 2, 3)
# Of a hundred orders so many are cancelled before they ship, and so many come back later.
CANCELLED_PERCENT, RETURNED_PERCENT = 4, 5
# Of a hundred cancellations at Amazon so many are the seller's, who found that he has none.
NO_INVENTORY_PERCENT = 25
TRIES = 4
# Of a hundred orders in a shop so many come with the code of somebody who spoke of it.
CODE_PERCENT = 20
CODES = {"MAYA10": 10, "JONAS10": 10, "ELIF15": 15}
# Small orders pay for their carriage.
CARRIAGE, FREE_FROM = "3.95", Decimal(40)
# What prices contain, by where the goods go.
TAX_RATES = {"GB": "0.20", "IE": "0.23", "FR": "0.20", "DE": "0.19", "NL": "0.21"}

Line = TypeVar("Line")


class Trade(Protocol):
    """A place where people shop. Errands are words: ship, cancel, return, and whatever else it knows."""

    @property
    def place(self) -> dict[str, object]:
        """What names it in the control API."""

    def left_open(self) -> Sequence[int]:
        """Orders of shoppers that an earlier run did not ship."""

    def buy(self, chance: random.Random, key: str) -> tuple[int, str] | None:
        """The order that somebody places and what is to be done with it later; None when all they want is sold out."""

    def run(self, chance: random.Random, verb: str, order: int) -> str | None:
        """Does the errand; what is to be done later again. Raises Refused where somebody else did it by hand."""


def _basket(chance: random.Random, pick: Callable[[], tuple[str, Line] | None]) -> list[Line]:
    """Lines of different things, as many as people buy at once."""
    lines: dict[str, Line] = {}
    for _ in range(chance.choice(LINE_COUNTS)):
        if found := pick():
            lines.setdefault(*found)
    return list(lines.values())


def _popular(chance: random.Random, goods: Sequence[Row]) -> Row:
    """The popular things (early in the list of a shuffled order) far more often than the others."""
    rank = min(int(chance.paretovariate(0.6)) - 1, 10**6)
    # The stride spreads popularity over the ranges of goods instead of giving it all to the first.
    return goods[(rank * 37 + 11) % len(goods)]


def _code(chance: random.Random) -> str | None:
    """Drawn apart, so that who uses a code changes nothing of what is bought."""
    return chance.choice(list(CODES)) if chance.randint(1, 100) <= CODE_PERCENT else None


@dataclass(frozen=True)
class ShopTrade:
    """A shop of Shopify's."""

    store: Store
    outbox: Outbox
    domain: str

    @property
    def place(self) -> dict[str, object]:
        return {"domain": self.domain}

    def left_open(self) -> Sequence[int]:
        rows = self.store.all(
            "select id from orders o where shop_id = (select id from shops where domain = ?) and cancelled_at is null"
            " and key like 'shopper-%' and exists"
            " (select 1 from lines where order_id = o.id and quantity > fulfilled + removed) order by id",
            (self.domain,),
        )
        return [row["id"] for row in rows]

    def buy(self, chance: random.Random, key: str) -> tuple[int, str] | None:
        shop = find_shop(self.store, self.domain)
        goods = self.store.all(
            "select v.sku, v.price, v.policy, v.tracked, coalesce(max(l.available), 0) as available from variants v"
            " left join levels l on l.item_id = v.item_id and l.active where v.shop_id = ? group by v.id order by v.id",
            (shop["id"],),
        )
        lines = _basket(chance, lambda: self._pick(chance, goods)) if goods else []
        if not lines:
            return None
        visitor, country = chance.randint(1, 400), chance.choice(COUNTRIES)
        worth = sum((line_total(line.quantity, line.price) for line in lines), Decimal(0))
        code = _code(random.Random(f"{key}-{visitor}-{worth}"))
        rate = TAX_RATES[country]
        wanted = WantedOrder(
            key=key,
            name=None,
            processed_at=None,
            customer_ref=f"visitor-{visitor}",
            country=country,
            currency=None,
            ship=False,
            lines=[replace(line, tax_rate=rate) for line in lines],
            discount=amount(worth * CODES[code] / 100) if code else "0.00",
            discount_codes=(code,) if code else (),
            taxes_included=True,
            shipping=Carriage(CARRIAGE, tax_rate=rate) if worth < FREE_FROM else None,
        )
        order = orders.place(self.store, self.outbox, shop, wanted)
        return order, "cancel" if chance.randint(1, 100) <= CANCELLED_PERCENT else "ship"

    @staticmethod
    def _pick(chance: random.Random, goods: Sequence[Row]) -> tuple[str, WantedLine] | None:
        for _ in range(TRIES):
            good, units = _popular(chance, goods), chance.choice(UNIT_COUNTS)
            sellable = units if good["policy"] == "CONTINUE" or not good["tracked"] else min(units, good["available"])
            if sellable > 0:
                return good["sku"], WantedLine(good["sku"], sellable, good["price"], None)
        return None

    def run(self, chance: random.Random, verb: str, order: int) -> str | None:
        shop, key = find_shop(self.store, self.domain), f"{verb}-{order}"
        if verb == "cancel":
            returns.cancel(self.store, self.outbox, shop, order, key, "customer", True)
        elif verb == "return":
            self._send_back(chance, shop, order, key)
        else:
            number = f"RM{chance.randint(10**8, 10**9 - 1)}GB"
            url = f"https://www.royalmail.com/track-your-item#/tracking-results/{number}"
            tracking = {"company": "Royal Mail", "number": number, "url": url}
            fulfilments.ship(self.store, self.outbox, shop, order, key, None, tracking)
            if chance.randint(1, 100) <= RETURNED_PERCENT:
                return "return"
        return None

    def _send_back(self, chance: random.Random, shop: Row, order: int, key: str) -> None:
        line = chance.choice(bodies.lines_of(self.store, order))
        part = {"line_id": line["id"], "quantity": 1, "restock_type": "return"}
        note = "Changed their mind" if Decimal(line["price"]) < 20 else "Not as expected"
        returns.refund(self.store, self.outbox, shop, order, key, [part], None, note)


@dataclass(frozen=True)
class SellerTrade:
    """What a seller offers at Amazon and ships himself. An order is not shipped before it is paid for."""

    store: Store
    orders: amazon.Orders
    seller_id: str

    @property
    def place(self) -> dict[str, object]:
        return {"seller_id": self.seller_id}

    def left_open(self) -> Sequence[int]:
        rows = self.store.all(
            "select id from amazon_orders where seller_id = ? and key like 'shopper-%' and fulfilled_by = 'MERCHANT'"
            " and status in ('PENDING', 'UNSHIPPED', 'PARTIALLY_SHIPPED') order by id",
            (self.seller_id,),
        )
        return [row["id"] for row in rows]

    def buy(self, chance: random.Random, key: str) -> tuple[int, str] | None:
        seller = find_seller(self.store, self.seller_id)
        goods = self.store.all("select sku, in_force from listings where seller_id = ? order by sku", (self.seller_id,))
        lines = _basket(chance, lambda: self._pick(chance, goods)) if goods else []
        if not lines:
            return None
        try:
            order = self.orders.place(seller, AmazonOrder(key=key, lines=lines, may_shrink=True))
        except Refused:
            # A number that landed just now left nothing of what was looked at.
            return None
        if chance.randint(1, 100) > CANCELLED_PERCENT:
            return order["id"], "ship"
        return order["id"], "give up" if chance.randint(1, 100) <= NO_INVENTORY_PERCENT else "cancel"

    @staticmethod
    def _pick(chance: random.Random, goods: Sequence[Row]) -> tuple[str, AmazonLine] | None:
        for _ in range(TRIES):
            good, units = _popular(chance, goods), chance.choice(UNIT_COUNTS)
            sellable = min(units, orjson.loads(good["in_force"]).get(DEFAULT_CHANNEL) or 0)
            if sellable > 0:
                return good["sku"], AmazonLine(good["sku"], sellable, None)
        return None

    def run(self, chance: random.Random, verb: str, order: int) -> str | None:
        seller = find_seller(self.store, self.seller_id)
        row = self.store.one("select * from amazon_orders where id = ?", (order,))
        assert row is not None
        if verb == "cancel":
            self.orders.cancel(seller, row, "buyer")
        elif row["status"] == "PENDING":
            return verb
        elif verb == "give up":
            self.orders.cancel(seller, row, "no_inventory")
        else:
            number = f"RM{chance.randint(10**8, 10**9 - 1)}GB"
            parcel = amazon.Parcel(self.orders.next_reference(row), "Royal Mail", number, utc_now(self.store))
            self.orders.ship(seller, row, parcel)
        return None
