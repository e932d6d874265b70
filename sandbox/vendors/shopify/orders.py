"""Orders placed and shipped: a sale moves available to committed, a shipment takes it out of committed and on hand."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.clock import as_utc, utc_now
from sandbox.errors import NotFound, Refused
from sandbox.money import amount, is_price, line_total
from sandbox.outbox import Outbox
from sandbox.store import Row, Store, marks
from sandbox.vendors.shopify import bodies
from sandbox.vendors.shopify.inventory import Move, Moves, apply
from sandbox.vendors.shopify.sdl import codes
from sandbox.vendors.shopify.shops import home_location


@dataclass(frozen=True)
class WantedLine:
    sku: str
    quantity: int
    price: str
    title: str | None


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

    @classmethod
    def read(cls, given: dict[str, Any]) -> "WantedOrder":
        """Raises Refused on a field of the wrong form."""
        key = given.get("key")
        if not isinstance(key, str) or not key:
            raise Refused("invalid_key", f"An order needs a key, not {key!r}.")
        lines = [_read_line(key, line) for line in given.get("lines") or []]
        if not lines:
            raise Refused("no_lines", f"{key}: an order needs at least one line.")
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
        )


def _read_line(key: str, given: dict[str, Any]) -> WantedLine:
    quantity, price = given.get("quantity"), given.get("price")
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise Refused("invalid_quantity", f"{key}: a quantity must be a positive whole number, not {quantity!r}.")
    if not is_price(price):
        raise Refused("invalid_price", f"{key}: a price must be a decimal string, not {price!r}.")
    return WantedLine(str(given.get("sku")), quantity, str(price), given.get("title"))


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
        variants = _variants(store, shop, wanted)
        location = home_location(store, shop["id"])
        basket = _basket(wanted, variants)
        moves = _sale(wanted.key, basket, variants, location)
        act = outbox.act()
        order_id = _write(store, shop, wanted, basket, variants, location)
        apply(store, outbox, shop, act, moves)
        outbox.tell(shop, act, "orders/create", lambda: bodies.order_body(store, shop, order_id))
        if wanted.ship:
            ship(store, outbox, shop, order_id, f"{wanted.key}/ship", None)
    return order_id


def _variants(store: Store, shop: Row, wanted: WantedOrder) -> dict[str, Row]:
    skus = sorted({line.sku for line in wanted.lines})
    rows = store.all(
        "select v.*, p.title, p.vendor, l.available from variants v join products p on p.id = v.product_id"
        " left join levels l on l.item_id = v.item_id"
        " and l.location_id = (select min(id) from locations where shop_id = v.shop_id)"
        f" where v.shop_id = ? and v.sku in ({marks(skus)})",
        (shop["id"], *skus),
    )
    found = {row["sku"]: row for row in rows}
    for sku in skus:
        if sku not in found:
            raise Refused("unknown_sku", f"{wanted.key}: the shop has no product with sku {sku!r}.")
    return found


def _basket(wanted: WantedOrder, variants: dict[str, Row]) -> Basket:
    """What is bought of what was wanted: all of it, unless the basket may shrink.

    Raises Refused when nothing is left of it.
    """
    whole = list(enumerate(wanted.lines))
    if not wanted.may_shrink:
        return whole
    left = {sku: variant["available"] for sku, variant in variants.items() if _is_limited(variant)}
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


def _is_limited(variant: Row) -> bool:
    return bool(variant["tracked"]) and variant["policy"] == "DENY"


def _sale(key: str, basket: Basket, variants: dict[str, Row], location: int) -> Moves:
    """Raises Refused when a product that must not be oversold has too few units."""
    units: dict[str, int] = defaultdict(int)
    for _, line in basket:
        units[line.sku] += line.quantity
    moves: Moves = {}
    for sku, count in units.items():
        variant = variants[sku]
        if not variant["tracked"]:
            continue
        if _is_limited(variant) and variant["available"] < count:
            message = f"{key}: {sku} has {variant['available']} units, {count} were wanted."
            raise Refused("out_of_stock", message, 409)
        moves[(variant["item_id"], location)] = Move(available=-count, committed=count)
    return moves


def _write(
    store: Store, shop: Row, wanted: WantedOrder, basket: Basket, variants: dict[str, Row], location: int
) -> int:
    now = utc_now(store)
    number = store.value("select next_number from shops where id = ?", (shop["id"],))
    store.run("update shops set next_number = next_number + 1 where id = ?", (shop["id"],))
    total = sum((line_total(line.quantity, line.price) for _, line in basket), Decimal(0))
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
        total=amount(total),
        location_id=location,
    )
    ids = store.next_ids("line", len(basket))
    rows = []
    for line_id, (position, line) in zip(ids, basket, strict=True):
        variant = variants[line.sku]
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
            )
        )
    store.run_many(
        "insert into lines (id, order_id, position, variant_id, product_id, item_id, tracked, sku, title, vendor,"
        " quantity, price) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return order_id


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


def find_order(store: Store, shop: Row, order_id: Any) -> Row:
    """By number or GID. Raises NotFound."""
    text = str(order_id).removeprefix("gid://shopify/Order/")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    order = (
        store.one("select * from orders where id = ? and shop_id = ?", (number, shop["id"])) if number < 2**63 else None
    )
    if order is None:
        raise NotFound("order", order_id)
    return order


def touch(store: Store, order_id: int) -> None:
    store.run("update orders set updated_at = ? where id = ?", (utc_now(store), order_id))


def ship(
    store: Store,
    outbox: Outbox,
    shop: Row,
    order_id: int,
    key: str,
    wanted: dict[int, int] | None,
    tracking: dict[str, str] | None = None,
) -> int:
    """Ships the wanted units per line id, or all that is open. Once per key. Raises Refused when it cannot."""
    with store.transaction():
        earlier = store.value("select id from fulfillments where shop_id = ? and key = ?", (shop["id"], key))
        if earlier is not None:
            return int(earlier)
        order = find_order(store, shop, order_id)
        units = _units_to_ship(store, order, wanted)
        fulfillment_id = _write_fulfillment(store, shop, order, key, units, tracking or {})
        act = outbox.act()
        # What leaves was committed, not available: nothing to announce about the level's available.
        moves: Moves = defaultdict(Move)
        for line, count in units:
            if line["tracked"]:
                moves[(line["item_id"], order["location_id"])].committed -= count
        apply(store, outbox, shop, act, moves)
        touch(store, order["id"])
        outbox.tell(shop, act, "fulfillments/create", lambda: _fulfillment_body(store, shop, order_id, fulfillment_id))
        outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order["id"]))
    return fulfillment_id


def _units_to_ship(store: Store, order: Row, wanted: dict[int, int] | None) -> list[tuple[Row, int]]:
    if order["cancelled_at"]:
        raise Refused("cancelled", f"{order['name']} is cancelled.", 409)
    lines = bodies.lines_of(store, order["id"])
    if wanted is None:
        units = [(line, bodies.fulfillable(line)) for line in lines if bodies.fulfillable(line)]
    else:
        units = [(line, wanted[line["id"]]) for line in lines if line["id"] in wanted]
        for line_id in wanted.keys() - {line["id"] for line in lines}:
            raise NotFound("line", line_id)
    for line, count in units:
        if not 0 < count <= bodies.fulfillable(line):
            message = (
                f"{order['name']}: {count} units of {line['sku']} asked for, {bodies.fulfillable(line)} can be shipped."
            )
            raise Refused("invalid_quantity", message)
    if not units:
        raise Refused("nothing_to_ship", f"{order['name']} has nothing left to ship.", 409)
    return units


def _write_fulfillment(
    store: Store, shop: Row, order: Row, key: str, units: list[tuple[Row, int]], tracking: dict[str, str]
) -> int:
    now = utc_now(store)
    fulfillment_id = store.next_id("fulfillment")
    ordinal = 1 + store.value("select count(*) from fulfillments where order_id = ?", (order["id"],))
    store.run(
        "insert into fulfillments values (?, ?, ?, ?, ?, 'SUCCESS', ?, ?, ?, ?, ?, ?)",
        (
            fulfillment_id,
            shop["id"],
            order["id"],
            key,
            ordinal,
            now,
            now,
            order["location_id"],
            tracking.get("company"),
            tracking.get("number"),
            tracking.get("url"),
        ),
    )
    ids = store.next_ids("fulfillment_line", len(units))
    store.run_many(
        "insert into fulfillment_lines values (?, ?, ?, ?)",
        [(part, fulfillment_id, line["id"], count) for part, (line, count) in zip(ids, units, strict=True)],
    )
    store.run_many(
        "update lines set fulfilled = fulfilled + ? where id = ?", [(count, line["id"]) for line, count in units]
    )
    return fulfillment_id


def _fulfillment_body(store: Store, shop: Row, order_id: int, fulfillment_id: int) -> dict[str, Any]:
    order = find_order(store, shop, order_id)
    row = store.one("select * from fulfillments where id = ?", (fulfillment_id,))
    assert row is not None
    return bodies.fulfillment_body(
        store, shop, order, row, {line["id"]: line for line in bodies.lines_of(store, order_id)}
    )
