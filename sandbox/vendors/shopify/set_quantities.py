"""The rules of inventorySetQuantities: compare and swap, all or nothing, idempotent by key."""

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from sandbox.clock import utc_now
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import inventory
from sandbox.vendors.shopify.inventory import Move
from sandbox.vendors.shopify.shops import gid, number_of

NAMES = ("available", "on_hand")
REASONS = (
    "correction",
    "cycle_count_available",
    "damaged",
    "movement_canceled",
    "movement_created",
    "movement_received",
    "movement_updated",
    "other",
    "promotion",
    "quality_control",
    "received",
    "reservation_created",
    "reservation_deleted",
    "reservation_updated",
    "restock",
    "safety_stock",
    "shrinkage",
)
LIMIT = 1_000_000_000
KEY_LIFETIME_SECONDS = 24 * 3600

UserError = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """One element of the call, resolved to a level of ours."""

    position: int
    level: Row
    quantity: int
    compared: int | None


@dataclass(frozen=True)
class Outcome:
    group_id: str | None
    errors: list[UserError]


def set_quantities(store: Store, outbox: Outbox, shop: Row, client_id: str, key: str, given: dict[str, Any]) -> Outcome:
    """One whole call; the key decides whether it is a repetition."""
    digest = hashlib.sha256(orjson.dumps(given, option=orjson.OPT_SORT_KEYS)).hexdigest()
    with store.transaction():
        earlier = _earlier(store, shop, client_id, key)
        if earlier is not None:
            return _repeat(earlier, digest)
        outcome = _attempt(store, outbox, shop, given)
        store.insert(
            "idempotency",
            shop_id=shop["id"],
            client_id=client_id,
            key=key,
            digest=digest,
            group_id=outcome.group_id,
            failed=bool(outcome.errors),
            created_at=store.wall(),
        )
    return outcome


def _earlier(store: Store, shop: Row, client_id: str, key: str) -> Row | None:
    where = (shop["id"], client_id, key)
    store.run(
        "delete from idempotency where shop_id = ? and client_id = ? and key = ? and created_at < ?",
        (*where, store.wall() - KEY_LIFETIME_SECONDS),
    )
    return store.one("select * from idempotency where shop_id = ? and client_id = ? and key = ?", where)


def _repeat(earlier: Row, digest: str) -> Outcome:
    if earlier["digest"] != digest:
        message = "This idempotency key was used before with other arguments."
        return Outcome(None, [_error("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", None, message)])
    if earlier["failed"]:
        message = "The earlier request with this idempotency key failed; use a new key."
        return Outcome(None, [_error("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", None, message)])
    return Outcome(earlier["group_id"], [])


def _attempt(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any]) -> Outcome:
    wishes, errors = _resolve(store, shop, given)
    errors = _call_errors(given) + errors
    # Staleness is only worth telling when the call makes sense at all.
    errors = errors or _stale(wishes, given["name"])
    if errors:
        return Outcome(None, errors)
    return Outcome(_write(store, outbox, shop, given, wishes), [])


def _call_errors(given: dict[str, Any]) -> list[UserError]:
    errors = []
    if given["name"] not in NAMES:
        errors.append(_error("INVALID_NAME", ["name"], "The quantity name must be available or on_hand."))
    if given["reason"] not in REASONS:
        errors.append(_error("INVALID_REASON", ["reason"], "The reason is not one of the known reasons."))
    reference = given.get("referenceDocumentUri")
    if reference is not None and not _is_reference(reference):
        message = "The reference document URI is not valid."
        errors.append(_error("INVALID_REFERENCE_DOCUMENT", ["referenceDocumentUri"], message))
    return errors


def _is_reference(text: str) -> bool:
    """Scheme and content; a GID needs its app, kind and id."""
    parts = urlsplit(text)
    if not parts.scheme or not (parts.netloc or parts.path):
        return False
    return parts.scheme != "gid" or (bool(parts.netloc) and len([bit for bit in parts.path.split("/") if bit]) >= 2)


def _resolve(store: Store, shop: Row, given: dict[str, Any]) -> tuple[list[Wish], list[UserError]]:
    wishes: list[Wish] = []
    errors: list[UserError] = []
    seen: set[tuple[str, str]] = set()
    locations = {row["id"] for row in store.all("select id from locations where shop_id = ?", (shop["id"],))}
    for position, element in enumerate(given["quantities"]):
        errors += _range_errors(position, element["quantity"])
        pair = (element["inventoryItemId"], element["locationId"])
        if pair in seen:
            message = "The same inventory item and location may be given only once."
            errors.append(
                _element_error("NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", position, "locationId", message)
            )
        seen.add(pair)
        level, problems = _level_for(store, shop, locations, position, *pair)
        errors += problems
        if level is not None:
            wishes.append(Wish(position, level, element["quantity"], element["changeFromQuantity"]))
    return wishes, errors


def _range_errors(position: int, quantity: int) -> list[UserError]:
    if quantity > LIMIT:
        return [_element_error("INVALID_QUANTITY_TOO_HIGH", position, "quantity", f"At most {LIMIT} units.")]
    if quantity < -LIMIT:
        return [_element_error("INVALID_QUANTITY_TOO_LOW", position, "quantity", f"At least -{LIMIT} units.")]
    if quantity < 0:
        return [_element_error("INVALID_QUANTITY_NEGATIVE", position, "quantity", "The quantity cannot be negative.")]
    return []


def _level_for(
    store: Store, shop: Row, locations: set[int], position: int, item_gid: str, location_gid: str
) -> tuple[Row | None, list[UserError]]:
    errors: list[UserError] = []
    location = number_of(location_gid, "Location")
    if location not in locations:
        message = "The location was not found."
        errors.append(_element_error("INVALID_LOCATION", position, "locationId", message))
    number = number_of(item_gid, "InventoryItem")
    item = store.one("select * from variants where item_id = ? and shop_id = ?", (number, shop["id"]))
    if item is None:
        message = "The inventory item was not found."
        errors.append(_element_error("INVALID_INVENTORY_ITEM", position, "inventoryItemId", message))
    elif not item["tracked"]:
        message = "The inventory item is not tracked, so its quantities cannot be set."
        errors.append(_element_error("NON_MUTABLE_INVENTORY_ITEM", position, "inventoryItemId", message))
    if errors or item is None or location is None:
        return None, errors
    return inventory.read_level(store, item["item_id"], location), []


def _stale(wishes: list[Wish], name: str) -> list[UserError]:
    message = "The changeFromQuantity value does not match persisted value."
    return [
        _element_error("CHANGE_FROM_QUANTITY_STALE", wish.position, "changeFromQuantity", message)
        for wish in wishes
        if wish.compared is not None and wish.compared != inventory.quantity(wish.level, name)
    ]


def _write(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any], wishes: list[Wish]) -> str:
    group_id = gid("InventoryAdjustmentGroup", store.next_id("group"))
    store.run(
        "insert into adjustment_groups values (?, ?, ?, ?, ?)",
        (group_id, shop["id"], utc_now(store), given["reason"], given.get("referenceDocumentUri")),
    )
    moves: inventory.Moves = {}
    changes: list[tuple[Any, ...]] = []
    for wish in wishes:
        delta = wish.quantity - inventory.quantity(wish.level, given["name"])
        if delta == 0:
            continue
        place = (wish.level["item_id"], wish.level["location_id"])
        moves[place] = Move(available=delta)
        # Setting either number moves both, and the vendor reports both.
        for changed in NAMES:
            after = inventory.quantity(wish.level, changed) + delta
            changes.append((group_id, len(changes), *place, changed, delta, after))
    store.run_many("insert into adjustments values (?, ?, ?, ?, ?, ?, ?)", changes)
    inventory.apply(store, outbox, shop, outbox.act(), moves)
    return group_id


def _element_error(code: str, position: int, field: str, message: str) -> UserError:
    return _error(code, ["quantities", str(position), field], message)


def _error(code: str, path: list[str] | None, message: str) -> UserError:
    return {"code": code, "field": ["input", *path] if path else None, "message": message}
