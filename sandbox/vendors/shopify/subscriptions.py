"""Webhook subscriptions made through the Admin API."""

from typing import Any
from urllib.parse import urlsplit

import orjson

from sandbox.clock import utc_now
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify.scopes import may_hear
from sandbox.vendors.shopify.shops import gid, number_of
from sandbox.webhook_filter import BadFilter, check

# The enum's word for a topic and the word in the header.
TOPICS = {
    "APP_UNINSTALLED": "app/uninstalled",
    "BULK_OPERATIONS_FINISH": "bulk_operations/finish",
    "DRAFT_ORDERS_CREATE": "draft_orders/create",
    "DRAFT_ORDERS_DELETE": "draft_orders/delete",
    "DRAFT_ORDERS_UPDATE": "draft_orders/update",
    "FULFILLMENTS_CREATE": "fulfillments/create",
    "FULFILLMENTS_UPDATE": "fulfillments/update",
    "FULFILLMENT_EVENTS_CREATE": "fulfillment_events/create",
    "FULFILLMENT_ORDERS_CANCELLED": "fulfillment_orders/cancelled",
    "FULFILLMENT_ORDERS_HOLD_RELEASED": "fulfillment_orders/hold_released",
    "FULFILLMENT_ORDERS_MOVED": "fulfillment_orders/moved",
    "FULFILLMENT_ORDERS_ORDER_ROUTING_COMPLETE": "fulfillment_orders/order_routing_complete",
    "FULFILLMENT_ORDERS_PLACED_ON_HOLD": "fulfillment_orders/placed_on_hold",
    "INVENTORY_ITEMS_DELETE": "inventory_items/delete",
    "INVENTORY_LEVELS_CONNECT": "inventory_levels/connect",
    "INVENTORY_LEVELS_DISCONNECT": "inventory_levels/disconnect",
    "INVENTORY_LEVELS_UPDATE": "inventory_levels/update",
    "LOCATIONS_CREATE": "locations/create",
    "LOCATIONS_DELETE": "locations/delete",
    "ORDERS_CANCELLED": "orders/cancelled",
    "ORDERS_CREATE": "orders/create",
    "ORDERS_DELETE": "orders/delete",
    "ORDERS_EDITED": "orders/edited",
    "ORDERS_FULFILLED": "orders/fulfilled",
    "ORDERS_PAID": "orders/paid",
    "ORDERS_PARTIALLY_FULFILLED": "orders/partially_fulfilled",
    "ORDERS_UPDATED": "orders/updated",
    "PRODUCTS_CREATE": "products/create",
    "PRODUCTS_DELETE": "products/delete",
    "PRODUCTS_UPDATE": "products/update",
    "REFUNDS_CREATE": "refunds/create",
}
ENUM_OF = {topic: enum for enum, topic in TOPICS.items()}

UserErrors = list[dict[str, Any]]


def create(
    store: Store, outbox: Outbox, shop: Row, topic: str, wanted: dict[str, Any]
) -> tuple[Row | None, UserErrors]:
    errors = _problems(wanted) or _taken(store, shop, TOPICS[topic], wanted.get("uri"), None)
    if not may_hear(shop, TOPICS[topic]):
        message = f"You do not have permission to create or update webhooks with {TOPICS[topic]} topic."
        errors = [{"field": ["topic"], "message": message}]
    if errors:
        return None, errors
    now = utc_now(store)
    with store.transaction():
        subscription_id = store.next_id("subscription")
        store.insert(
            "subscriptions",
            id=subscription_id,
            shop_id=shop["id"],
            topic=TOPICS[topic],
            uri=wanted["uri"],
            format=wanted.get("format") or "JSON",
            filter=wanted.get("filter"),
            include_fields=orjson.dumps(wanted.get("includeFields") or []).decode(),
            name=wanted.get("name"),
            created_at=now,
            updated_at=now,
        )
    outbox.forget_subscriptions()
    return by_number(store, shop, subscription_id), []


def update(
    store: Store, outbox: Outbox, shop: Row, subscription_gid: str, wanted: dict[str, Any]
) -> tuple[Row | None, UserErrors]:
    found = by_gid(store, shop, subscription_gid)
    if found is None:
        return None, _not_found()
    merged = {
        "uri": wanted.get("uri") or found["uri"],
        "format": wanted.get("format") or found["format"],
        "filter": wanted["filter"] if "filter" in wanted else found["filter"],
        "includeFields": wanted["includeFields"]
        if "includeFields" in wanted
        else orjson.loads(found["include_fields"]),
        "name": wanted["name"] if "name" in wanted else found["name"],
    }
    errors = _problems(merged) or _taken(store, shop, found["topic"], merged["uri"], found["id"])
    if errors:
        return None, errors
    with store.transaction():
        store.run(
            "update subscriptions set uri = ?, format = ?, filter = ?, include_fields = ?, name = ?, updated_at = ?"
            " where id = ?",
            (
                merged["uri"],
                merged["format"],
                merged["filter"],
                orjson.dumps(merged["includeFields"] or []).decode(),
                merged["name"],
                utc_now(store),
                found["id"],
            ),
        )
    outbox.forget_subscriptions()
    return by_number(store, shop, found["id"]), []


def delete(store: Store, outbox: Outbox, shop: Row, subscription_gid: str) -> tuple[str | None, UserErrors]:
    found = by_gid(store, shop, subscription_gid)
    if found is None:
        return None, _not_found()
    with store.transaction():
        store.run("delete from subscriptions where id = ?", (found["id"],))
        store.run("delete from last_bodies where subscription_id = ?", (found["id"],))
        store.run(
            "update deliveries set state = 'given_up', last_result = 'subscription deleted'"
            " where subscription_id = ? and state = 'queued'",
            (found["id"],),
        )
    outbox.forget_subscriptions()
    return gid("WebhookSubscription", found["id"]), []


def by_gid(store: Store, shop: Row, subscription_gid: str) -> Row | None:
    number = number_of(subscription_gid, "WebhookSubscription")
    return None if number is None else by_number(store, shop, number)


def by_number(store: Store, shop: Row, number: int) -> Row | None:
    return store.one("select * from subscriptions where id = ? and shop_id = ?", (number, shop["id"]))


def _problems(wanted: dict[str, Any]) -> UserErrors:
    errors: UserErrors = []
    address = urlsplit(wanted.get("uri") or "")
    # The vendor wants https; here the receivers are on loopback, where http is all there is.
    if address.scheme not in ("http", "https") or not address.hostname:
        errors.append(_error("uri", "Address is invalid"))
    if (wanted.get("format") or "JSON") != "JSON":
        errors.append(_error("format", "This sandbox delivers JSON only"))
    try:
        check(wanted.get("filter") or "")
    except BadFilter as problem:
        errors.append(_error("filter", f"The specified filter is invalid: {problem}"))
    return errors


def _taken(store: Store, shop: Row, topic: str, uri: str | None, but: int | None) -> UserErrors:
    """One address may hear each topic once."""
    clash = store.value(
        "select id from subscriptions where shop_id = ? and topic = ? and uri = ? and id is not ?",
        (shop["id"], topic, uri, but),
    )
    return [_error("uri", "Address for this topic has already been taken")] if clash else []


def _error(name: str, message: str) -> dict[str, Any]:
    return {"field": ["webhookSubscription", name], "message": message}


def _not_found() -> UserErrors:
    return [{"field": ["id"], "message": "Webhook subscription does not exist"}]
