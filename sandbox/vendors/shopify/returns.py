"""Refunds and cancellations, and what each restock type does to stock."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.clock import utc_now
from sandbox.errors import NotFound, Refused
from sandbox.money import amount
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies, fulfilment_orders
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
) -> int:
    """Refunds lines once per key and returns the refund's id. Raises Refused for quantities that cannot be."""
    with store.transaction():
        earlier = store.value("select id from refunds where shop_id = ? and key = ?", (shop["id"], key))
        if earlier is not None:
            return int(earlier)
        order = find_order(store, shop, order_id)
        parts = _parts(store, order, lines)
        act = outbox.act()
        refund_id = _write(store, outbox, shop, order, act, key, parts, processed_at, note)
        touch(store, order["id"])
        outbox.tell(shop, act, "refunds/create", lambda: _body(store, shop, order["id"], refund_id))
        outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order["id"]))
    return refund_id


def cancel(store: Store, outbox: Outbox, shop: Row, order_id: Any, key: str, reason: str, restock: bool) -> int | None:
    """Cancels an order of which nothing was shipped; open units come back as a refund. Returns the refund's id."""
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
        refund_id = _write(store, outbox, shop, order, act, f"{key}/cancel", parts, None, None) if parts else None
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


def _parts(store: Store, order: Row, wanted: list[dict[str, Any]]) -> list[Part]:
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
    if not parts:
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
) -> int:
    now = utc_now(store)
    refund_id = store.next_id("refund")
    values = [bodies.value_of(part.line, part.quantity) for part in parts]
    store.run(
        "insert into refunds values (?, ?, ?, ?, ?, ?, ?, ?)",
        (refund_id, shop["id"], order["id"], key, now, processed_at or now, note, amount(sum(values, Decimal(0)))),
    )
    ids = store.next_ids("refund_line", len(parts))
    store.run_many(
        "insert into refund_lines values (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row_id,
                refund_id,
                part.line["id"],
                part.quantity,
                part.restock_type,
                None if part.restock_type == "no_restock" else part.back_at,
                amount(value),
            )
            for row_id, part, value in zip(ids, parts, values, strict=True)
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
