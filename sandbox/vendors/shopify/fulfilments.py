"""Shipments: units leave a fulfilment order, and with it committed and on hand; cancelled, they come back to both."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sandbox.clock import utc_now
from sandbox.errors import NotFound, Refused
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store, marks
from sandbox.vendors.shopify import bodies, fulfilment_orders
from sandbox.vendors.shopify.inventory import Move, Moves, apply
from sandbox.vendors.shopify.order_rows import find_order, touch

Units = list[tuple[Row, int]]
"""Lines of fulfilment orders and how many of each leave."""
Tracking = Mapping[str, str | None]


def ship(
    store: Store,
    outbox: Outbox,
    shop: Row,
    order_id: int,
    key: str,
    wanted: dict[int, int] | None,
    tracking: Tracking | None = None,
) -> int:
    """A member of staff ships the wanted units per line id, or all that is open; one shipment per location.

    Once per key; returns the id of the first shipment. Raises Refused when it cannot.
    """
    with store.transaction():
        earlier = store.value("select id from fulfillments where shop_id = ? and key = ?", (shop["id"], key))
        if earlier is not None:
            return int(earlier)
        order = find_order(store, shop, order_id)
        if order["cancelled_at"]:
            raise Refused("cancelled", f"{order['name']} is cancelled.", 409)
        # Nobody ships what is not routed: the vendor's screens wait for it too.
        fulfilment_orders.route(store, outbox, shop, order)
        by_place = _units_to_ship(store, order, wanted)
        made = [
            write(store, outbox, shop, order, location, units, key if not at else f"{key}/{at}", tracking or {})
            for at, (location, units) in enumerate(sorted(by_place.items()))
        ]
    return made[0]


def _units_to_ship(store: Store, order: Row, wanted: dict[int, int] | None) -> dict[int, Units]:
    lines = {line["id"]: line for line in bodies.lines_of(store, order["id"])}
    if wanted is None:
        wanted = {line["id"]: bodies.fulfillable(line) for line in lines.values() if bodies.fulfillable(line)}
    left = dict(wanted)
    for line_id, count in wanted.items():
        line = lines.get(line_id)
        if line is None:
            raise NotFound("line", line_id)
        if not 0 < count <= bodies.fulfillable(line):
            message = (
                f"{order['name']}: {count} units of {line['sku']} asked for, {bodies.fulfillable(line)} can be shipped."
            )
            raise Refused("invalid_quantity", message)
    if not wanted:
        raise Refused("nothing_to_ship", f"{order['name']} has nothing left to ship.", 409)
    found: dict[int, Units] = defaultdict(list)
    for row in store.all(
        "select l.*, o.location_id, o.status from fulfillment_order_lines l"
        " join fulfillment_orders o on o.id = l.fulfillment_order_id"
        " where o.order_id = ? and l.remaining > 0 order by l.id",
        (order["id"],),
    ):
        count = min(left.get(row["line_id"], 0), row["remaining"])
        if not count:
            continue
        if row["status"] == "ON_HOLD":
            raise Refused("on_hold", f"{order['name']} is on hold.", 409)
        left[row["line_id"]] -= count
        found[row["location_id"]].append((row, count))
    return found


def write(
    store: Store, outbox: Outbox, shop: Row, order: Row, location: int, units: Units, key: str, tracking: Tracking
) -> int:
    """One shipment from one location; the caller has made sure that it is possible."""
    now, number = utc_now(store), store.next_id("fulfillment")
    ordinal = 1 + store.value("select count(*) from fulfillments where order_id = ?", (order["id"],))
    store.insert(
        "fulfillments",
        id=number,
        shop_id=shop["id"],
        order_id=order["id"],
        key=key,
        ordinal=ordinal,
        status="SUCCESS",
        created_at=now,
        updated_at=now,
        location_id=location,
        tracking_company=tracking.get("company"),
        tracking_number=tracking.get("number"),
        tracking_url=tracking.get("url"),
    )
    ids = store.next_ids("fulfillment_line", len(units))
    store.run_many(
        "insert into fulfillment_lines (id, fulfillment_id, line_id, quantity, fulfillment_order_line_id)"
        " values (?, ?, ?, ?, ?)",
        [(part, number, row["line_id"], count, row["id"]) for part, (row, count) in zip(ids, units, strict=True)],
    )
    act = outbox.act()
    _move(store, outbox, shop, act, location, [(row["id"], row["line_id"], count) for row, count in units])
    touch(store, order["id"])
    outbox.tell(shop, act, "fulfillments/create", lambda: body(store, shop, number))
    _tell_order(store, outbox, shop, act, order["id"])
    is_left = any(bodies.fulfillable(line) for line in bodies.lines_of(store, order["id"]))
    topic = "orders/partially_fulfilled" if is_left else "orders/fulfilled"
    outbox.tell(shop, act, topic, lambda: bodies.order_body(store, shop, order["id"]))
    return number


def _move(store: Store, outbox: Outbox, shop: Row, act: Act, location: int, parts: list[tuple[int, int, int]]) -> None:
    """Books (fulfilment order line, line, units) as shipped; negative units come back."""
    store.run_many(
        "update lines set fulfilled = fulfilled + ? where id = ?", [(count, line) for _, line, count in parts]
    )
    store.run_many(
        "update fulfillment_order_lines set remaining = remaining - ? where id = ?",
        [(count, own) for own, _, count in parts],
    )
    for parent in store.all(
        f"select distinct fulfillment_order_id as id from fulfillment_order_lines where id in ({marks(parts)})",
        [own for own, _, _ in parts],
    ):
        fulfilment_orders.refresh(store, parent["id"])
    # What leaves was committed, not available: nothing to announce about the level's available.
    moves: Moves = defaultdict(Move)
    for _, line_id, count in parts:
        line = store.one("select item_id, tracked from lines where id = ?", (line_id,))
        assert line is not None
        if line["tracked"]:
            moves[(line["item_id"], location)].committed -= count
    apply(store, outbox, shop, act, moves)


def cancel(store: Store, outbox: Outbox, shop: Row, row: Row) -> str | None:
    """Takes a shipment back into its fulfilment orders; the sentence why not, when it cannot be."""
    if row["status"] == "CANCELLED":
        return "Fulfillment has already been cancelled."
    parts = store.all("select * from fulfillment_lines where fulfillment_id = ?", (row["id"],))
    for part in parts:
        line = store.one("select * from lines where id = ?", (part["line_id"],))
        if part["fulfillment_order_line_id"] is None or line is None or _kept(line) < part["quantity"]:
            return "Fulfillment cannot be cancelled."
    with store.transaction():
        now = utc_now(store)
        store.run("update fulfillments set status = 'CANCELLED', updated_at = ? where id = ?", (now, row["id"]))
        act = outbox.act()
        back = [(part["fulfillment_order_line_id"], part["line_id"], -part["quantity"]) for part in parts]
        _move(store, outbox, shop, act, row["location_id"], back)
        touch(store, row["order_id"])
        outbox.tell(shop, act, "fulfillments/update", lambda: body(store, shop, row["id"]))
        _tell_order(store, outbox, shop, act, row["order_id"])
    return None


def _kept(line: Row) -> int:
    """Units that were shipped and have not come back."""
    return int(line["fulfilled"] - line["returned"])


def retrack(store: Store, outbox: Outbox, shop: Row, row: Row, tracking: Tracking) -> None:
    with store.transaction():
        store.run(
            "update fulfillments set tracking_company = ?, tracking_number = ?, tracking_url = ?, updated_at = ?"
            " where id = ?",
            (tracking.get("company"), tracking.get("number"), tracking.get("url"), utc_now(store), row["id"]),
        )
        touch(store, row["order_id"])
        act = outbox.act()
        outbox.tell(shop, act, "fulfillments/update", lambda: body(store, shop, row["id"]))
        _tell_order(store, outbox, shop, act, row["order_id"])


def add_event(
    store: Store, outbox: Outbox, shop: Row, row: Row, status: str, message: str | None, happened_at: str | None
) -> int:
    """What became of the parcel on its way; returns the event's id."""
    with store.transaction():
        now, number = utc_now(store), store.next_id("fulfillment_event")
        store.insert(
            "fulfillment_events",
            id=number,
            fulfillment_id=row["id"],
            status=status,
            message=message,
            happened_at=happened_at or now,
            created_at=now,
        )
        outbox.tell(shop, outbox.act(), "fulfillment_events/create", lambda: _event_body(store, shop, row, number))
    return number


def _event_body(store: Store, shop: Row, row: Row, number: int) -> dict[str, Any]:
    event = store.one("select * from fulfillment_events where id = ?", (number,))
    order = store.one("select * from orders where id = ?", (row["order_id"],))
    assert event is not None
    assert order is not None
    return bodies.fulfillment_event_body(shop, order, row, event)


def body(store: Store, shop: Row, number: int) -> dict[str, Any]:
    row = store.one("select * from fulfillments where id = ?", (number,))
    assert row is not None
    order = find_order(store, shop, row["order_id"])
    lines = {line["id"]: line for line in bodies.lines_of(store, order["id"])}
    return bodies.fulfillment_body(store, shop, order, row, lines)


def _tell_order(store: Store, outbox: Outbox, shop: Row, act: Act, order_id: int) -> None:
    outbox.tell(shop, act, "orders/updated", lambda: bodies.order_body(store, shop, order_id))
