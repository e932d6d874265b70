"""Fulfilment orders: made when an order is routed, one per location; what is left to ship stands in them."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sandbox.clock import utc_now
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies
from sandbox.vendors.shopify.order_rows import place_of
from sandbox.vendors.shopify.shops import gid

# Only these can be shipped from.
FULFILLABLE = ("OPEN", "IN_PROGRESS")


def find(store: Store, shop: Row, number: int | None) -> Row | None:
    return store.one("select * from fulfillment_orders where id = ? and shop_id = ?", (number, shop["id"]))


def lines_of(store: Store, fulfillment_order_id: int) -> list[Row]:
    return store.all(
        "select * from fulfillment_order_lines where fulfillment_order_id = ? order by id", (fulfillment_order_id,)
    )


def is_routed(store: Store, order_id: int) -> bool:
    return store.one("select 1 from fulfillment_orders where order_id = ? limit 1", (order_id,)) is not None


def route(store: Store, outbox: Outbox, shop: Row, order: Row) -> None:
    """Decides once where each open line of the order is shipped from. A cancelled order is not routed any more."""
    if is_routed(store, order["id"]) or order["cancelled_at"]:
        return
    by_place: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in bodies.lines_of(store, order["id"]):
        # What a world of an earlier version had shipped before there were fulfilment orders stays out of them.
        if count := bodies.fulfillable(line):
            by_place[place_of(line, order)].append((line["id"], count))
    act = outbox.act()
    for location, parts in sorted(by_place.items()):
        number = add(store, shop, order, location, parts)
        outbox.tell(shop, act, "fulfillment_orders/order_routing_complete", lambda number=number: body(store, number))  # type: ignore[misc]


def add(store: Store, shop: Row, order: Row, location: int, parts: Iterable[tuple[int, int]]) -> int:
    """A new open fulfilment order over (line id, units)."""
    now, number = utc_now(store), store.next_id("fulfillment_order")
    store.run(
        "insert into fulfillment_orders (id, shop_id, order_id, location_id, status, created_at, updated_at)"
        " values (?, ?, ?, ?, 'OPEN', ?, ?)",
        (number, shop["id"], order["id"], location, now, now),
    )
    for line_id, count in parts:
        extend(store, number, line_id, count)
    return number


def extend(store: Store, number: int, line_id: int, count: int) -> None:
    store.run(
        "insert into fulfillment_order_lines (id, fulfillment_order_id, line_id, total, remaining)"
        " values (?, ?, ?, ?, ?)",
        (store.next_id("fulfillment_order_line"), number, line_id, count, count),
    )


def take_off(store: Store, line_id: int, count: int) -> None:
    """Units that come off the order need no shipping any more, wherever they stood."""
    for row in store.all(
        "select * from fulfillment_order_lines where line_id = ? and remaining > 0 order by id", (line_id,)
    ):
        units = min(count, row["remaining"])
        store.run(
            "update fulfillment_order_lines set total = total - ?, remaining = remaining - ? where id = ?",
            (units, units, row["id"]),
        )
        refresh(store, row["fulfillment_order_id"])
        count -= units


def refresh(store: Store, number: int) -> str:
    """Brings the status up to date with what is left, and returns it."""
    sums = store.one(
        "select coalesce(sum(total), 0) as total, coalesce(sum(remaining), 0) as remaining"
        " from fulfillment_order_lines where fulfillment_order_id = ?",
        (number,),
    )
    assert sums is not None
    if not sums["remaining"]:
        status = "CLOSED"
    elif store.one("select 1 from holds where fulfillment_order_id = ? limit 1", (number,)):
        status = "ON_HOLD"
    else:
        status = "IN_PROGRESS" if sums["remaining"] < sums["total"] else "OPEN"
    set_status(store, number, status)
    return status


def set_status(store: Store, number: int, status: str) -> None:
    store.run("update fulfillment_orders set status = ?, updated_at = ? where id = ?", (status, utc_now(store), number))


def call_off(store: Store, outbox: Outbox, shop: Row, act: Act, order_id: int) -> None:
    """The order was cancelled: whatever of it was still to be shipped is cancelled too."""
    for row in store.all("select * from fulfillment_orders where order_id = ?", (order_id,)):
        if row["status"] == "CANCELLED":
            continue
        store.run("update fulfillment_order_lines set remaining = 0 where fulfillment_order_id = ?", (row["id"],))
        store.run("delete from holds where fulfillment_order_id = ?", (row["id"],))
        set_status(store, row["id"], "CANCELLED")
        outbox.tell(shop, act, "fulfillment_orders/cancelled", lambda number=row["id"]: body(store, number))  # type: ignore[misc]


def body(store: Store, number: int) -> dict[str, Any]:
    """All that these webhooks carry."""
    status = store.value("select status from fulfillment_orders where id = ?", (number,))
    return {"fulfillment_order": {"id": gid("FulfillmentOrder", number), "status": status.lower()}}


def hold(
    store: Store, outbox: Outbox, shop: Row, row: Row, reason: str, notes: str | None, handle: str
) -> tuple[Row | None, str | None]:
    """(the hold, None), or (None, the code of what is in the way)."""
    with store.transaction():
        if store.one("select 1 from holds where fulfillment_order_id = ? and handle = ?", (row["id"], handle)):
            return None, "TAKEN"
        hold_id = store.next_id("hold")
        store.insert("holds", id=hold_id, fulfillment_order_id=row["id"], reason=reason, notes=notes, handle=handle)
        refresh(store, row["id"])
        outbox.tell(shop, outbox.act(), "fulfillment_orders/placed_on_hold", lambda: body(store, row["id"]))
    return store.one("select * from holds where id = ?", (hold_id,)), None


def release(store: Store, outbox: Outbox, shop: Row, row: Row, hold_ids: list[int] | None) -> None:
    """Lifts the named holds, or all."""
    with store.transaction():
        for held in store.all("select id from holds where fulfillment_order_id = ?", (row["id"],)):
            if hold_ids is None or held["id"] in hold_ids:
                store.run("delete from holds where id = ?", (held["id"],))
        refresh(store, row["id"])
        outbox.tell(shop, outbox.act(), "fulfillment_orders/hold_released", lambda: body(store, row["id"]))
