"""What staff do to locations and goods: open, close and stock a place, move an order to another, delete a product."""

from typing import Any

from sandbox.clock import utc_now, with_offset
from sandbox.errors import NotFound, Refused
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies, fulfilment_orders, inventory, metafields, product_bodies
from sandbox.vendors.shopify.inventory import Move, Moves
from sandbox.vendors.shopify.order_rows import find_order, touch
from sandbox.vendors.shopify.shops import gid, locations_of, number_of


def open_location(store: Store, outbox: Outbox, shop: Row, name: str) -> int:
    with store.transaction():
        number, now = store.next_id("location"), with_offset(utc_now(store), shop["timezone"])
        store.insert("locations", id=number, shop_id=shop["id"], name=name)
        body = {
            "id": number,
            "name": name,
            "active": True,
            "legacy": False,
            "created_at": now,
            "updated_at": now,
            "admin_graphql_api_id": gid("Location", number),
        }
        outbox.tell(shop, outbox.act(), "locations/create", lambda: body)
    return number


def find_location(store: Store, shop: Row, location: Any) -> int:
    """By GID or number, among the active ones. Raises NotFound."""
    number = number_of(str(location), "Location") if isinstance(location, str) else location
    for row in locations_of(store, shop["id"]):
        if row["id"] == number:
            return int(row["id"])
    raise NotFound("location", location)


def delete_location(store: Store, outbox: Outbox, shop: Row, location: int) -> None:
    """Closes a location for good. Raises Refused while something is to be shipped from it, or when it is the last."""
    with store.transaction():
        if len(locations_of(store, shop["id"])) < 2:
            raise Refused("last_location", "A shop needs a location.", 409)
        waiting = store.one(
            "select 1 from fulfillment_orders where location_id = ? and status not in ('CLOSED', 'CANCELLED') limit 1",
            (location,),
        )
        if waiting or store.one("select 1 from levels where location_id = ? and committed > 0 limit 1", (location,)):
            raise Refused("location_in_use", "Orders are still to be shipped from this location; move them first.", 409)
        act = outbox.act()
        for level in store.all("select item_id from levels where location_id = ? and active", (location,)):
            disconnect(store, outbox, shop, act, level["item_id"], location)
        store.run("update locations set active = 0 where id = ?", (location,))
        outbox.tell(shop, act, "locations/delete", lambda: {"id": location})


def disconnect(store: Store, outbox: Outbox, shop: Row, act: Act, item_id: int, location: int) -> None:
    """An item is stocked at a location no more; its numbers stay where they were. Raises Refused without a level."""
    changed = store.run(
        "update levels set active = 0, updated_at = ? where item_id = ? and location_id = ? and active",
        (utc_now(store), item_id, location),
    )
    if not changed:
        raise Refused("not_stocked", "The item is not stocked at this location.", 409)
    body = {"inventory_item_id": item_id, "location_id": location}
    outbox.tell(shop, act, "inventory_levels/disconnect", lambda: body)


def move_order(store: Store, outbox: Outbox, shop: Row, order_id: Any, location: int) -> list[int]:
    """Moves all that is left to ship to another location; the new fulfilment orders. Raises Refused."""
    with store.transaction():
        order = find_order(store, shop, order_id)
        fulfilment_orders.route(store, outbox, shop, order)
        rows = store.all(
            "select * from fulfillment_orders where order_id = ? and status in ('OPEN', 'IN_PROGRESS')"
            " and location_id != ?",
            (order["id"], location),
        )
        if not rows:
            raise Refused("nothing_to_move", f"{order['name']} has nothing to move to that location.", 409)
        act = outbox.act()
        made = [_move(store, outbox, shop, act, order, row, location) for row in rows]
        touch(store, order["id"])
        outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order["id"]))
    return made


def _move(store: Store, outbox: Outbox, shop: Row, act: Act, order: Row, row: Row, location: int) -> int:
    parts = [line for line in fulfilment_orders.lines_of(store, row["id"]) if line["remaining"]]
    moves: Moves = {}
    for part in parts:
        line = store.one("select * from lines where id = ?", (part["line_id"],))
        assert line is not None
        if line["tracked"]:
            _shift(store, line, row["location_id"], location, part["remaining"], moves)
        store.run("update lines set location_id = ? where id = ?", (location, line["id"]))
        store.run(
            "update fulfillment_order_lines set total = total - remaining, remaining = 0 where id = ?", (part["id"],)
        )
    wanted = [(part["line_id"], part["remaining"]) for part in parts]
    made = fulfilment_orders.add(store, shop, order, location, wanted)
    fulfilment_orders.refresh(store, row["id"])
    inventory.apply(store, outbox, shop, act, moves)
    body = {
        "original_fulfillment_order": _told(row["id"], "closed", row["location_id"]),
        "moved_fulfillment_order": _told(made, "open", location),
        "destination_location_id": gid("Location", location),
        "fulfillment_order_line_items_requested": [
            {"id": gid("FulfillmentOrderLineItem", part["id"]), "quantity": part["remaining"]} for part in parts
        ],
        "source_location": {"id": gid("Location", row["location_id"])},
    }
    outbox.tell(shop, act, "fulfillment_orders/moved", lambda: body)
    return made


def _shift(store: Store, line: Row, source: int, target: int, count: int, moves: Moves) -> None:
    there = inventory.read_level(store, line["item_id"], target)
    if there is None or not there["active"]:
        raise Refused("not_stocked", f"{line['sku']} is not stocked at that location.", 409)
    for place, units in ((source, count), (target, -count)):
        move = moves.setdefault((line["item_id"], place), Move())
        move.available += units
        move.committed -= units


def _told(number: int, status: str, location: int) -> dict[str, str]:
    return {
        "id": gid("FulfillmentOrder", number),
        "status": status,
        "assigned_location_id": gid("Location", location),
    }


def delete_product(store: Store, outbox: Outbox, shop: Row, sku: str) -> int:
    """Deletes the variant of a SKU, and its product with it when it was the last. Raises Refused."""
    with store.transaction():
        variant = store.one("select * from variants where shop_id = ? and sku = ?", (shop["id"], sku))
        if variant is None:
            raise Refused("unknown_sku", f"The shop has no product with sku {sku!r}.")
        product, item = variant["product_id"], variant["item_id"]
        store.run("delete from variants where id = ?", (variant["id"],))
        store.run("delete from levels where item_id = ?", (item,))
        metafields.forget(store, "ProductVariant", variant["id"])
        act = outbox.act()
        gone = {"id": item, "admin_graphql_api_id": gid("InventoryItem", item)}
        outbox.tell(shop, act, "inventory_items/delete", lambda: gone)
        if store.one("select 1 from variants where product_id = ? limit 1", (product,)):
            store.run("update products set updated_at = ? where id = ?", (utc_now(store), product))
            outbox.tell(shop, act, "products/update", lambda: product_bodies.product_body(store, shop, product))
        else:
            store.run("delete from products where id = ?", (product,))
            metafields.forget(store, "Product", product)
            outbox.tell(shop, act, "products/delete", lambda: {"id": product})
    return int(product)
