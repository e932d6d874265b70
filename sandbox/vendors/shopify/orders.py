"""Orders placed: a sale moves available to committed, at the location that can serve it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from sandbox.clock import as_utc, utc_now
from sandbox.errors import Refused
from sandbox.money import amount, is_price, line_total, shares
from sandbox.outbox import Outbox
from sandbox.store import Row, Store, marks
from sandbox.vendors.shopify import bodies, charges
from sandbox.vendors.shopify.charges import Carriage
from sandbox.vendors.shopify.fulfilments import ship
from sandbox.vendors.shopify.inventory import Move, Moves, apply
from sandbox.vendors.shopify.sdl import codes
from sandbox.vendors.shopify.shops import home_location

# Seconds of the sandbox clock between an order and its fulfilment orders.
ROUTING_SECONDS = 2.0


@dataclass(frozen=True)
class WantedLine:
    sku: str
    quantity: int
    price: str
    title: str | None
    tax_rate: str = "0"

    @classmethod
    def read(cls, key: str, given: dict[str, Any]) -> "WantedLine":
        """Raises Refused on a field of the wrong form; `key` names the order it is for."""
        quantity, price = given.get("quantity"), given.get("price")
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise Refused("invalid_quantity", f"{key}: a quantity must be a positive whole number, not {quantity!r}.")
        if not is_price(price):
            raise Refused("invalid_price", f"{key}: a price must be a decimal string, not {price!r}.")
        return cls(str(given.get("sku")), quantity, str(price), given.get("title"), charges.read_rate(key, given))


Basket = list[tuple[int, WantedLine]]
"""Lines that are bought, each with its place among those that were wanted."""


@dataclass(frozen=True)
class WantedOrder:
    """An order as the control API or a shopper asks for it.

    `may_shrink`: a line that is sold out leaves the basket, whole, and the others are bought all the same.
    """

    key: str
    name: str | None
    processed_at: str | None
    customer_ref: str | None
    country: str | None
    currency: str | None
    ship: bool
    lines: list[WantedLine]
    may_shrink: bool = False
    source_name: str = "web"
    # Off the whole order, shared among its lines.
    discount: str = "0.00"
    discount_codes: tuple[str, ...] = ()
    note_attributes: tuple[tuple[str, str], ...] = ()
    taxes_included: bool = False
    shipping: Carriage | None = None

    @classmethod
    def read(cls, given: dict[str, Any]) -> "WantedOrder":
        """Raises Refused on a field of the wrong form."""
        key = given.get("key")
        if not isinstance(key, str) or not key:
            raise Refused("invalid_key", f"An order needs a key, not {key!r}.")
        lines = [WantedLine.read(key, line) for line in given.get("lines") or []]
        if not lines:
            raise Refused("no_lines", f"{key}: an order needs at least one line.")
        discount = given.get("discount", "0.00")
        if not is_price(discount) or Decimal(discount) > sum(line_total(line.quantity, line.price) for line in lines):
            raise Refused("invalid_discount", f"{key}: a discount is a decimal string, at most what the lines cost.")
        for enum, name in (("CountryCode", "country"), ("CurrencyCode", "currency")):
            if given.get(name) is not None and given[name] not in codes(enum):
                raise Refused(f"unknown_{name}", f"{key}: no {name} {given[name]!r}.")
        return cls(
            key=key,
            name=given.get("name"),
            processed_at=instant(given.get("processed_at")),
            customer_ref=given.get("customer_ref"),
            country=given.get("country"),
            currency=given.get("currency"),
            ship=bool(given.get("ship", False)),
            lines=lines,
            may_shrink=bool(given.get("may_shrink", False)),
            source_name=str(given.get("source_name") or "web"),
            discount=amount(Decimal(discount)),
            discount_codes=charges.read_texts(key, given, "discount_codes"),
            note_attributes=charges.read_attributes(key, given),
            taxes_included=bool(given.get("taxes_included", False)),
            shipping=Carriage.read(key, given.get("shipping")),
        )


def instant(text: Any) -> str | None:
    """Raises Refused when the text is no instant."""
    if text is None:
        return None
    try:
        return as_utc(str(text))
    except ValueError:
        raise Refused("invalid_time", f"{text!r} is not an ISO 8601 instant.") from None


def place(store: Store, outbox: Outbox, shop: Row, wanted: WantedOrder) -> int:
    """Places the order once per key and returns its id. Raises Refused when a SKU is unknown or out of stock."""
    with store.transaction():
        earlier = store.value("select id from orders where shop_id = ? and key = ?", (shop["id"], wanted.key))
        if earlier is not None:
            return int(earlier)
        goods = find_goods(store, shop, wanted.key, {line.sku for line in wanted.lines})
        basket = _basket(wanted, goods)
        served = allot(wanted.key, units_of(basket), goods)
        act = outbox.act()
        order_id = _write(store, shop, wanted, basket, goods, served)
        apply(store, outbox, shop, act, sale_moves(units_of(basket), goods, served))
        outbox.tell(shop, act, "orders/create", lambda: bodies.order_body(store, shop, order_id))
        outbox.tell(shop, act, "orders/paid", lambda: bodies.order_body(store, shop, order_id))
        if wanted.ship:
            ship(store, outbox, shop, order_id, f"{wanted.key}/ship", None)
        else:
            # The order is told at once; where it is served from is decided a little later.
            outbox.owe("route", order_id, ROUTING_SECONDS)
    return order_id


@dataclass(frozen=True)
class Good:
    """A variant that is wanted, and what is on sale of it at each location, the home location first."""

    variant: Row
    shelves: list[tuple[int, int]]

    @property
    def is_limited(self) -> bool:
        return bool(self.variant["tracked"]) and self.variant["policy"] == "DENY"

    @property
    def most(self) -> int:
        """The most units that one location can serve."""
        return max((available for _, available in self.shelves), default=0)


def find_goods(store: Store, shop: Row, key: str, wanted: set[str]) -> dict[str, Good]:
    """By SKU. Raises Refused when the shop has no such thing."""
    skus = sorted(wanted)
    rows = store.all(
        "select v.*, p.title, p.vendor, l.location_id, l.available from variants v"
        " join products p on p.id = v.product_id"
        " left join levels l on l.item_id = v.item_id and l.active"
        " and l.location_id in (select id from locations where shop_id = v.shop_id and active)"
        f" where v.shop_id = ? and v.sku in ({marks(skus)}) order by l.location_id",
        (shop["id"], *skus),
    )
    found: dict[str, Good] = {}
    for row in rows:
        good = found.setdefault(row["sku"], Good(row, []))
        if row["location_id"] is not None:
            good.shelves.append((row["location_id"], row["available"]))
    for sku in skus:
        if sku not in found:
            raise Refused("unknown_sku", f"{key}: the shop has no product with sku {sku!r}.")
    return found


def _basket(wanted: WantedOrder, goods: dict[str, Good]) -> Basket:
    """What is bought of what was wanted: all of it, unless the basket may shrink.

    Raises Refused when nothing is left of it.
    """
    whole = list(enumerate(wanted.lines))
    if not wanted.may_shrink:
        return whole
    left = {sku: good.most for sku, good in goods.items() if good.is_limited}
    kept: Basket = []
    for position, line in whole:
        if line.sku in left:
            if left[line.sku] < line.quantity:
                continue
            left[line.sku] -= line.quantity
        kept.append((position, line))
    if not kept:
        raise Refused("out_of_stock", f"{wanted.key}: everything that was wanted is sold out.", 409)
    return kept


def units_of(basket: Basket) -> dict[str, int]:
    units: dict[str, int] = defaultdict(int)
    for _, line in basket:
        units[line.sku] += line.quantity
    return units


def allot(key: str, units: dict[str, int], goods: dict[str, Good]) -> dict[str, int | None]:
    """The location that serves each SKU: the first that has enough, else the first of all; None where none is needed.

    Raises Refused when a product that must not be oversold has too few units at every location.
    """
    served: dict[str, int | None] = {}
    for sku, count in units.items():
        good = goods[sku]
        enough = [location for location, available in good.shelves if available >= count]
        if good.is_limited and not enough:
            raise Refused("out_of_stock", f"{key}: {sku} has {good.most} units, {count} were wanted.", 409)
        places = enough or [location for location, _ in good.shelves]
        served[sku] = places[0] if places and good.variant["tracked"] else None
    return served


def sale_moves(units: dict[str, int], goods: dict[str, Good], served: dict[str, int | None]) -> Moves:
    return {
        (goods[sku].variant["item_id"], location): Move(available=-count, committed=count)
        for sku, count in units.items()
        if (location := served[sku]) is not None
    }


def _write(
    store: Store,
    shop: Row,
    wanted: WantedOrder,
    basket: Basket,
    goods: dict[str, Good],
    served: dict[str, int | None],
) -> int:
    now, home = utc_now(store), home_location(store, shop["id"])
    number = store.value("select next_number from shops where id = ?", (shop["id"],))
    store.run("update shops set next_number = next_number + 1 where id = ?", (shop["id"],))
    values = [line_total(line.quantity, line.price) for _, line in basket]
    # A basket that shrank may be worth less than what was to come off it.
    discount = min(Decimal(wanted.discount), sum(values, Decimal(0)))
    parts = shares(discount, values)
    taxes = [
        charges.tax_on(value - part, line.tax_rate, wanted.taxes_included)
        for (_, line), value, part in zip(basket, values, parts, strict=True)
    ]
    carriage = wanted.shipping or Carriage("0.00")
    carriage_tax = charges.tax_on(Decimal(carriage.price), carriage.tax_rate, wanted.taxes_included)
    on_top = Decimal(0) if wanted.taxes_included else sum(taxes, carriage_tax)
    order_id = store.next_id("order")
    store.insert(
        "orders",
        id=order_id,
        shop_id=shop["id"],
        key=wanted.key,
        name=wanted.name or f"#{number}",
        number=number,
        created_at=now,
        processed_at=wanted.processed_at or now,
        updated_at=now,
        currency=wanted.currency or shop["currency"],
        customer_ref=wanted.customer_ref,
        customer_id=_customer(store, shop, wanted.customer_ref),
        country=wanted.country,
        total=amount(sum(values, Decimal(0)) - discount + Decimal(carriage.price) + on_top),
        discount=amount(discount),
        location_id=home,
        source_name=wanted.source_name,
        taxes_included=int(wanted.taxes_included),
        codes=orjson.dumps(wanted.discount_codes).decode(),
        attributes=orjson.dumps(wanted.note_attributes).decode(),
        shipping=carriage.price,
        shipping_tax=amount(carriage_tax),
        shipping_rate=carriage.tax_rate,
        shipping_title=carriage.title if wanted.shipping else None,
        shipping_line_id=store.next_id("shipping_line") if wanted.shipping else None,
    )
    add_lines(store, order_id, home, basket, goods, served, list(zip(parts, taxes, strict=True)))
    return order_id


def add_lines(
    store: Store,
    order_id: int,
    home: int,
    basket: Basket,
    goods: dict[str, Good],
    served: dict[str, int | None],
    money: Sequence[tuple[Decimal, Decimal]],
) -> list[int]:
    """Writes the lines of an order, with the discount and the tax of each, and returns their ids."""
    ids = store.next_ids("line", len(basket))
    rows = []
    for line_id, (position, line), (discount, tax) in zip(ids, basket, money, strict=True):
        variant = goods[line.sku].variant
        rows.append(
            (
                line_id,
                order_id,
                position,
                variant["id"],
                variant["product_id"],
                variant["item_id"],
                variant["tracked"],
                line.sku,
                line.title or variant["title"],
                variant["vendor"],
                line.quantity,
                line.price,
                served[line.sku] or home,
                amount(discount),
                amount(tax),
                line.tax_rate,
            )
        )
    store.run_many(
        "insert into lines (id, order_id, position, variant_id, product_id, item_id, tracked, sku, title, vendor,"
        " quantity, price, location_id, discount, tax, tax_rate)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return list(ids)


def _customer(store: Store, shop: Row, reference: str | None) -> int | None:
    """The same reference is the same customer; none is a guest."""
    if reference is None:
        return None
    found = store.value("select value from meta where name = ?", (f"customer/{shop['id']}/{reference}",))
    if found is not None:
        return int(found)
    customer_id = store.next_id("customer")
    store.set_meta(f"customer/{shop['id']}/{reference}", str(customer_id))
    return customer_id
