"""Refunds and cancellations, and what each restock type does to stock."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.clock import utc_now
from sandbox.errors import NotFound, Refused
from sandbox.money import amount, is_price
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies, charges, fulfilment_orders
from sandbox.vendors.shopify.adjust_quantities import stock
from sandbox.vendors.shopify.inventory import Move, Moves, apply
from sandbox.vendors.shopify.order_rows import find_order, place_of, touch
from sandbox.vendors.shopify.shops import locations_of, number_of

RESTOCK_TYPES = ("cancel", "return", "no_restock")
CANCEL_REASONS = ("customer", "declined", "fraud", "inventory", "other", "staff")


@dataclass(frozen=True)
class Part:
    """Units of one line coming off the order: `unshipped` never left, `shipped` had left."""

    line: Row
    restock_type: str
    unshipped: int
    shipped: int
    # Where they are sold from and, unless they are not restocked, where they come back to.
    sold_at: int
    back_at: int

    @property
    def quantity(self) -> int:
        return self.unshipped + self.shipped


def refund(
    store: Store,
    outbox: Outbox,
    shop: Row,
    order_id: Any,
    key: str,
    lines: list[dict[str, Any]],
    processed_at: str | None = None,
    note: str | None = None,
    shipping: str = "0.00",
) -> int:
    """Refunds lines, and carriage as it was charged, once per key; the refund's id. Raises Refused for what cannot be.

    Taxes go back with what they were charged for.
    """
    with store.transaction():
        earlier = store.value("select id from refunds where shop_id = ? and key = ?", (shop["id"], key))
        if earlier is not None:
            return int(earlier)
        order = find_order(store, shop, order_id)
        carriage = _carriage(store, order, shipping)
        parts = _parts(store, order, lines, bool(carriage))
        act = outbox.act()
        refund_id = _write(store, outbox, shop, order, act, key, parts, processed_at, note, carriage)
        touch(store, order["id"])
        outbox.tell(shop, act, "refunds/create", lambda: _body(store, shop, order["id"], refund_id))
        outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order["id"]))
    return refund_id


def cancel(store: Store, outbox: Outbox, shop: Row, order_id: Any, key: str, reason: str, restock: bool) -> int | None:
    """Cancels an order of which nothing was shipped; open units and carriage come back as a refund, whose id it is."""
    if reason.lower() not in CANCEL_REASONS:
        raise Refused("invalid_reason", f"The reason {reason!r} is none of {', '.join(CANCEL_REASONS)}.")
    with store.transaction():
        order = find_order(store, shop, order_id)
        if order["cancel_key"] == key:
            found = store.value("select id from refunds where shop_id = ? and key = ?", (shop["id"], f"{key}/cancel"))
            return None if found is None else int(found)
        lines = bodies.lines_of(store, order["id"])
        _check_cancellable(order, lines)
        act = outbox.act()
        kind = "cancel" if restock else "no_restock"
        parts = [
            Part(line, kind, bodies.fulfillable(line), 0, place_of(line, order), place_of(line, order))
            for line in lines
            if bodies.fulfillable(line)
        ]
        carriage = _carriage_left(store, order)
        refund_id = None
        if parts:
            refund_id = _write(store, outbox, shop, order, act, f"{key}/cancel", parts, None, None, carriage)
        store.run(
            "update orders set cancelled_at = ?, cancel_reason = ?, cancel_key = ? where id = ?",
            (utc_now(store), reason.lower(), key, order["id"]),
        )
        touch(store, order["id"])
        if refund_id is not None:
            outbox.tell(shop, act, "refunds/create", lambda: _body(store, shop, order["id"], refund_id))
        fulfilment_orders.call_off(store, outbox, shop, act, order["id"])
        outbox.tell(shop, act, "orders/cancelled", lambda: bodies.order_body(store, shop, order["id"]))
        outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order["id"]))
    return refund_id


def _check_cancellable(order: Row, lines: list[Row]) -> None:
    if order["cancelled_at"]:
        raise Refused("already_cancelled", f"{order['name']} is already cancelled.", 409)
    if any(line["fulfilled"] for line in lines):
        raise Refused("already_fulfilled", f"{order['name']} was shipped, wholly or in part; refund it instead.", 409)


def _carriage_left(store: Store, order: Row) -> Decimal:
    """What was charged for carriage and is not given back."""
    rows = store.all("select shipping from refunds where order_id = ?", (order["id"],))
    return Decimal(order["shipping"]) - sum((Decimal(row["shipping"]) for row in rows), Decimal(0))


def _carriage(store: Store, order: Row, wanted: Any) -> Decimal:
    left = _carriage_left(store, order)
    if not is_price(wanted) or Decimal(wanted) > left:
        message = f"{order['name']}: {wanted!r} of carriage to refund, at most {amount(left)} is possible."
        raise Refused("invalid_shipping", message)
    return Decimal(wanted)


def _parts(store: Store, order: Row, wanted: list[dict[str, Any]], may_be_none: bool) -> list[Part]:
    lines = {line["id"]: line for line in bodies.lines_of(store, order["id"])}
    used: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    parts = []
    for given in wanted:
        line = lines.get(_line_number(given.get("line_id")))
        if line is None:
            raise NotFound("line", given.get("line_id"))
        part = _split(order, line, given, used[line["id"]])
        used[line["id"]][0] += part.unshipped
        used[line["id"]][1] += part.shipped
        parts.append(part)
    if not parts and not may_be_none:
        raise Refused("no_lines", f"{order['name']}: a refund needs at least one line.")
    return parts


def _split(order: Row, line: Row, given: dict[str, Any], used: list[int]) -> Part:
    """Decides which units are meant; `no_restock` takes those that never left first."""
    quantity, kind = given.get("quantity"), given.get("restock_type", "no_restock")
    if kind not in RESTOCK_TYPES:
        raise Refused("invalid_restock_type", f"The restock type {kind!r} is none of {', '.join(RESTOCK_TYPES)}.")
    unshipped = bodies.fulfillable(line) - used[0]
    shipped = line["fulfilled"] - line["returned"] - used[1]
    limit = {"cancel": unshipped, "return": shipped, "no_restock": unshipped + shipped}[kind]
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 < quantity <= limit:
        message = (
            f"{order['name']}: {quantity!r} units of {line['sku']} to refund as {kind}, at most {limit} are possible."
        )
        raise Refused("invalid_quantity", message)
    sold_at = place_of(line, order)
    back_at = given.get("location_id") or sold_at
    from_open = 0 if kind == "return" else min(quantity, unshipped)
    return Part(line, kind, from_open, quantity - from_open, sold_at, back_at)


def _line_number(line_id: Any) -> int:
    text = str(line_id).removeprefix("gid://shopify/LineItem/")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _write(
    store: Store,
    outbox: Outbox,
    shop: Row,
    order: Row,
    act: Act,
    key: str,
    parts: list[Part],
    processed_at: str | None,
    note: str | None,
    carriage: Decimal,
) -> int:
    now = utc_now(store)
    refund_id = store.next_id("refund")
    values = [bodies.value_of(part.line, part.quantity) for part in parts]
    taxes = [charges.tax_of(part.line, part.quantity) for part in parts]
    # Of carriage that is nothing no part is taxed.
    carriage_tax = Decimal(order["shipping_tax"]) * carriage / Decimal(order["shipping"]) if carriage else carriage
    store.insert(
        "refunds",
        id=refund_id,
        shop_id=shop["id"],
        order_id=order["id"],
        key=key,
        created_at=now,
        processed_at=processed_at or now,
        note=note,
        total=amount(sum(values, carriage) + charges.on_top(order, sum(taxes, carriage_tax))),
        shipping=amount(carriage),
        shipping_tax=amount(carriage_tax),
        shipping_line_id=store.next_id("refund_shipping_line") if carriage else None,
    )
    ids = store.next_ids("refund_line", len(parts))
    store.run_many(
        "insert into refund_lines (id, refund_id, line_id, quantity, restock_type, location_id, subtotal, tax)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row_id,
                refund_id,
                part.line["id"],
                part.quantity,
                part.restock_type,
                None if part.restock_type == "no_restock" else part.back_at,
                amount(value),
                amount(tax),
            )
            for row_id, part, value, tax in zip(ids, parts, values, taxes, strict=True)
        ],
    )
    store.run_many(
        "update lines set removed = removed + ?, returned = returned + ? where id = ?",
        [(part.unshipped, part.shipped, part.line["id"]) for part in parts],
    )
    for part in parts:
        if part.back_at != part.sold_at and part.line["tracked"]:
            stock(store, outbox, shop, part.line["item_id"], part.back_at, 0)
        if part.unshipped:
            fulfilment_orders.take_off(store, part.line["id"], part.unshipped)
    apply(store, outbox, shop, act, _stock_moves(parts))
    return refund_id


def _stock_moves(parts: list[Part]) -> Moves:
    moves: Moves = defaultdict(Move)
    for part in parts:
        if not part.line["tracked"]:
            continue
        # Units that never left stop being promised whatever happens to them next.
        moves[(part.line["item_id"], part.sold_at)].committed -= part.unshipped
        if part.restock_type != "no_restock":
            moves[(part.line["item_id"], part.back_at)].available += part.quantity
    return moves


def _body(store: Store, shop: Row, order_id: int, refund_id: int) -> dict[str, Any]:
    order = find_order(store, shop, order_id)
    row = store.one("select * from refunds where id = ?", (refund_id,))
    assert row is not None
    return bodies.refund_body(store, shop, order, row, {line["id"]: line for line in bodies.lines_of(store, order_id)})


def read_line(store: Store, shop: Row, given: dict[str, Any]) -> dict[str, Any]:
    """A line of refundCreate in our words. Raises Refused for a location that is not the shop's."""
    location = given.get("locationId")
    number = None if location is None else number_of(location, "Location")
    if location is not None and number not in {row["id"] for row in locations_of(store, shop["id"])}:
        raise NotFound("location", location)
    return {
        "line_id": given["lineItemId"],
        "quantity": given["quantity"],
        "restock_type": (given.get("restockType") or "NO_RESTOCK").lower(),
        "location_id": number,
    }
