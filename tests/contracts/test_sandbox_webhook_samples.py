"""Our webhook bodies held against deliveries that were captured: every field of those is there, in the same form."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.outbox import Outbox, unpacked
from sandbox.staff import Staff
from sandbox.store import Row, Store
from sandbox.vendors.shopify import (
    bodies,
    bulk,
    fulfilments,
    inventory,
    orders,
    product_bodies,
    returns,
    subscriptions,
)
from sandbox.vendors.shopify.catalogue import Sample, shelve
from sandbox.vendors.shopify.deferred import handlers
from sandbox.vendors.shopify.orders import WantedLine, WantedOrder
from sandbox.vendors.shopify.shops import open_shop
from tests.contracts.samples import missing

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = (ROOT / os.environ.get("SHARED_DIR", "../shared")).resolve() / "contracts" / "shopify" / "samples"
pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"captured deliveries are not at {SAMPLES}: set SHARED_DIR to hold ours against them"
)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """One body of each topic out of one order's life."""
    store = Store(tmp_path)
    outbox = Outbox(store, Clock(store), Faults(store, 7))
    shop = open_shop(store, "x.myshopify.com", "X", "GBP", "Europe/London", "standard")
    with store.transaction():
        made = shelve(store, shop, [Sample("A", "A", "199.00", "2900001000000", True, "DENY", 9, "Acme", "Toys")])[0]
    wanted = WantedOrder("k", None, None, "buyer", "GB", None, True, [WantedLine("A", 2, "199.00", None)])
    order_id = orders.place(store, outbox, shop, wanted)
    line = bodies.lines_of(store, order_id)[0]
    part = {"line_id": line["id"], "quantity": 1, "restock_type": "return"}
    returns.refund(store, outbox, shop, order_id, "r", [part])
    body = bodies.order_body(store, shop, order_id)
    yield {
        "orders_create": body,
        "orders_updated": body,
        "orders_cancelled": body,
        "refunds_create": body["refunds"][0],
        "fulfillments_create": body["fulfillments"][0],
        "inventory_levels_update": _level(store, shop, made.item_id),
        "products_update": product_bodies.product_body(store, shop, made.product_id),
    }
    store.close()


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a shop tells of every topic while its staff are busy, by topic."""
    store = Store(tmp_path_factory.mktemp("heard"))
    outbox = Outbox(store, Clock(store), Faults(store, 7))
    shop = open_shop(store, "x.myshopify.com", "X", "GBP", "Europe/London", "standard")
    for topic in subscriptions.TOPICS:
        subscriptions.create(store, outbox, shop, topic, {"uri": "http://127.0.0.1:1/hooks"})
    with store.transaction():
        shelve(store, shop, [Sample(sku, sku, "9.00", None, True, "DENY", 9, "Acme", "Toys") for sku in "AB"])
    staff, duties = Staff(store, outbox), handlers(store, outbox)
    first = orders.place(store, outbox, shop, WantedOrder("k", None, None, "b", "GB", None, False, [_wanted("A")]))
    duties["route"](first)
    there = staff.open_location(shop, {"name": "Shed"})["location_id"]
    staff.stock(shop, {"sku": "A", "location_id": there, "available": 3})
    line = bodies.lines_of(store, first)[0]["id"]
    removed = [{"line_id": line, "quantity": 1}]
    added = [{"sku": "B", "quantity": 1, "price": "9.00"}]
    staff.edit_order(shop, {"key": "e", "order_id": first, "add": added, "remove": removed})
    part = bodies.lines_of(store, first)[1]["id"]
    fulfilments.ship(store, outbox, shop, first, "s", {part: 1}, {"company": "UPS", "number": "1"})
    shipment = store.one("select * from fulfillments")
    assert shipment is not None
    fulfilments.add_event(store, outbox, shop, shipment, "IN_TRANSIT", "on its way", None)
    fulfilments.retrack(store, outbox, shop, shipment, {"company": "UPS", "number": "2"})
    second = orders.place(store, outbox, shop, WantedOrder("m", None, None, "b", "GB", None, False, [_wanted("A")]))
    staff.move_order(shop, {"order_id": second, "location_id": there})
    made, _ = bulk.start(store, outbox, shop, "{ products { nodes { id } } }", False, "http://127.0.0.1:1")
    assert made is not None
    for _ in range(2):
        duties["bulk"](made["id"])
    staff.delete_product(shop, {"sku": "B"})
    staff.uninstall(shop, {})
    rows = store.all("select d.topic, b.data from deliveries d join bodies b on b.id = d.body_id order by d.id")
    yield {row["topic"].replace("/", "_"): json.loads(unpacked(row["data"])) for row in rows}
    store.close()


def _wanted(sku: str) -> WantedLine:
    return WantedLine(sku, 2, "9.00", None)


@pytest.mark.parametrize(
    "topic",
    [
        "app_uninstalled",
        "bulk_operations_finish",
        "fulfillment_events_create",
        "fulfillment_orders_moved",
        "fulfillment_orders_order_routing_complete",
        "fulfillments_update",
        "orders_edited",
        "orders_paid",
        "products_delete",
    ],
)
def test_a_body_that_was_told_has_every_field_of_a_captured_one(heard: dict[str, Any], topic: str) -> None:
    sample = json.loads((SAMPLES / f"{topic}.json").read_text())["body"]
    assert missing(sample, heard[topic]) == []


def _level(store: Store, shop: Row, item_id: int) -> dict[str, Any]:
    place = store.one("select * from levels where item_id = ?", (item_id,))
    assert place is not None
    level = inventory.read_level(store, item_id, place["location_id"])
    assert level is not None
    return bodies.level_body(item_id, place["location_id"], level["available"], level["updated_at"], shop["timezone"])


@pytest.mark.parametrize(
    "topic",
    [
        "orders_create",
        "orders_updated",
        "orders_cancelled",
        "refunds_create",
        "fulfillments_create",
        "inventory_levels_update",
        "products_update",
    ],
)
def test_a_body_has_every_field_of_a_captured_one(told: dict[str, Any], topic: str) -> None:
    sample = json.loads((SAMPLES / f"{topic}.json").read_text())["body"]
    assert missing(sample, told[topic]) == []
