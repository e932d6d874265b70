"""Staff change an order after it was placed: lines added and units taken off, without a refund."""

from decimal import Decimal
from typing import Any

from sandbox.clock import utc_now, with_offset
from sandbox.errors import NotFound, Refused
from sandbox.money import amount, line_total
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies, charges, fulfilment_orders, orders
from sandbox.vendors.shopify.inventory import Move, Moves, apply
from sandbox.vendors.shopify.order_rows import find_order, place_of, touch
from sandbox.vendors.shopify.orders import WantedLine

Removals = list[tuple[int, int]]
"""(line id, units)."""


def edit(
    store: Store, outbox: Outbox, shop: Row, order_id: Any, added: list[WantedLine], removed: Removals, restock: bool
) -> list[int]:
    """Commits one edit and returns the ids of the added lines. Raises Refused when it cannot be."""
    with store.transaction():
        order = find_order(store, shop, order_id)
        if order["cancelled_at"]:
            raise Refused("cancelled", f"{order['name']} is cancelled.", 409)
        if not added and not removed:
            raise Refused("no_lines", f"{order['name']}: an edit adds or removes something.")
        act = outbox.act()
        moves: Moves = {}
        line_ids = _add(store, shop, order, added, moves)
        _remove(store, order, removed, restock, moves)
        store.run("update orders set edited = 1 where id = ?", (order["id"],))
        touch(store, order["id"])
        apply(store, outbox, shop, act, moves)
        additions = list(zip(line_ids, (line.quantity for line in added), strict=True))
        edit_id = store.next_id("order_edit")
        outbox.tell(shop, act, "orders/edited", lambda: _body(store, shop, order, edit_id, additions, removed))
        outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order["id"]))
    return line_ids


def _add(store: Store, shop: Row, order: Row, added: list[WantedLine], moves: Moves) -> list[int]:
    if not added:
        return []
    goods = orders.find_goods(store, shop, order["name"], {line.sku for line in added})
    first = 1 + store.value("select max(position) from lines where order_id = ?", (order["id"],))
    basket = list(enumerate(added, first))
    units = orders.units_of(basket)
    served = orders.allot(order["name"], units, goods)
    moves.update(orders.sale_moves(units, goods, served))
    values = [line_total(line.quantity, line.price) for line in added]
    included = bool(order["taxes_included"])
    taxes = [charges.tax_on(value, line.tax_rate, included) for value, line in zip(values, added, strict=True)]
    money = [(Decimal(0), tax) for tax in taxes]
    line_ids = orders.add_lines(store, order["id"], order["location_id"], basket, goods, served, money)
    more = sum(values, Decimal(0)) + charges.on_top(order, sum(taxes, Decimal(0)))
    store.run("update orders set total = ? where id = ?", (amount(Decimal(order["total"]) + more), order["id"]))
    if fulfilment_orders.is_routed(store, order["id"]):
        # What is routed already gets a fulfilment order of its own.
        parts: dict[int, list[tuple[int, int]]] = {}
        for line_id, line in zip(line_ids, added, strict=True):
            parts.setdefault(served[line.sku] or order["location_id"], []).append((line_id, line.quantity))
        for location, wanted in sorted(parts.items()):
            fulfilment_orders.add(store, shop, order, location, wanted)
    return line_ids


def _remove(store: Store, order: Row, removed: Removals, restock: bool, moves: Moves) -> None:
    for line_id, count in removed:
        line = store.one("select * from lines where id = ? and order_id = ?", (line_id, order["id"]))
        if line is None:
            raise NotFound("line", line_id)
        if not 0 < count <= bodies.fulfillable(line):
            left = bodies.fulfillable(line)
            message = f"{order['name']}: {count} units of {line['sku']} to remove, {left} are still to be shipped."
            raise Refused("invalid_quantity", message)
        store.run("update lines set removed = removed + ? where id = ?", (count, line_id))
        fulfilment_orders.take_off(store, line_id, count)
        if line["tracked"]:
            move = moves.setdefault((line["item_id"], place_of(line, order)), Move())
            move.committed -= count
            move.available += count if restock else 0


def _body(
    store: Store, shop: Row, order: Row, edit_id: int, added: list[tuple[int, int]], removed: Removals
) -> dict[str, Any]:
    now = with_offset(utc_now(store), shop["timezone"])
    return {
        "order_edit": {
            "id": edit_id,
            "app_id": None,
            "created_at": now,
            "committed_at": now,
            "notify_customer": False,
            "order_id": order["id"],
            "staff_note": "",
            "user_id": None,
            "line_items": {
                "additions": [{"id": line, "delta": count} for line, count in added],
                "removals": [{"id": line, "delta": count} for line, count in removed],
            },
            "discounts": {"line_item": {"additions": [], "removals": []}},
            "shipping_lines": {"additions": [], "removals": []},
        }
    }
