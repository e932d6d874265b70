"""fulfillmentCreate: which fulfilment orders may leave together, and how much of each."""

from typing import Any
from uuid import uuid4

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import fulfilment_orders, fulfilments
from sandbox.vendors.shopify.order_rows import find_order
from sandbox.vendors.shopify.shops import number_of

MAX_LINES = 512

UserErrors = list[dict[str, Any]]


class _Impossible(Exception):
    """The sentence that the vendor gives."""


def create(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any]) -> tuple[int | None, UserErrors]:
    """Ships the wanted lines, or all that is left of a fulfilment order where none are named; the shipment's id."""
    with store.transaction():
        try:
            parents, units = _wanted(store, shop, given["lineItemsByFulfillmentOrder"])
        except _Impossible as problem:
            return None, [{"field": ["fulfillment"], "message": str(problem)}]
        order = find_order(store, shop, parents[0]["order_id"])
        number = fulfilments.write(
            store,
            outbox,
            shop,
            order,
            parents[0]["location_id"],
            units,
            f"api/{uuid4()}",
            tracking(given.get("trackingInfo") or {}),
        )
    return number, []


def tracking(given: dict[str, Any]) -> fulfilments.Tracking:
    """The first number and link, in either of the two forms the vendor takes."""
    numbers, urls = given.get("numbers") or [], given.get("urls") or []
    return {
        "company": given.get("company"),
        "number": given.get("number") or next(iter(numbers), None),
        "url": given.get("url") or next(iter(urls), None),
    }


def _wanted(store: Store, shop: Row, groups: list[dict[str, Any]]) -> tuple[list[Row], fulfilments.Units]:
    if not groups:
        raise _Impossible("At least one fulfillment order must be provided.")
    parents = [_parent(store, shop, group["fulfillmentOrderId"]) for group in groups]
    if len({row["order_id"] for row in parents}) > 1:
        raise _Impossible("All fulfillment orders must belong to the same order.")
    if len({row["location_id"] for row in parents}) > 1:
        raise _Impossible("All fulfillment orders must be assigned to a single location.")
    if len({row["id"] for row in parents}) < len(parents):
        raise _Impossible("A fulfillment order may be given only once.")
    units: fulfilments.Units = []
    for group, row in zip(groups, parents, strict=True):
        units += _units(store, row, group.get("fulfillmentOrderLineItems"))
    return parents, units


def _parent(store: Store, shop: Row, order_gid: str) -> Row:
    row = fulfilment_orders.find(store, shop, number_of(order_gid, "FulfillmentOrder"))
    if row is None:
        raise _Impossible("Fulfillment order does not exist.")
    if row["status"] not in fulfilment_orders.FULFILLABLE:
        raise _Impossible(f"Fulfillment order {row['id']} has an unfulfillable status= {row['status'].lower()}.")
    return row


def _units(store: Store, row: Row, wanted: list[dict[str, Any]] | None) -> fulfilments.Units:
    lines = {line["id"]: line for line in fulfilment_orders.lines_of(store, row["id"])}
    if not wanted:
        return [(line, line["remaining"]) for line in lines.values() if line["remaining"]]
    if len(wanted) > MAX_LINES:
        raise _Impossible(f"At most {MAX_LINES} line items can be fulfilled at once.")
    asked: dict[int, int] = {}
    for entry in wanted:
        number = number_of(entry["id"], "FulfillmentOrderLineItem")
        if number is None or number not in lines:
            raise _Impossible("Fulfillment order line item does not exist.")
        if entry["quantity"] < 1:
            raise _Impossible("Invalid fulfillment order line item quantity requested.")
        asked[number] = asked.get(number, 0) + entry["quantity"]
    for line_id, count in asked.items():
        if count > lines[line_id]["remaining"]:
            raise _Impossible("Invalid fulfillment order line item quantity requested.")
    return [(lines[line_id], count) for line_id, count in asked.items()]
