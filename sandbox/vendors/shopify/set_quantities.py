"""The rules of inventorySetQuantities: compare and swap, all or nothing, idempotent by key."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sandbox.clock import utc_now
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import inventory
from sandbox.vendors.shopify.idempotency import Outcome, UserError, once
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


@dataclass(frozen=True)
class Wish:
    """One element of the call, resolved to a level of ours."""

    position: int
    level: Row
    quantity: int
    compared: int | None


def set_quantities(store: Store, outbox: Outbox, shop: Row, key: str, given: dict[str, Any]) -> Outcome:
    """One whole call; the key decides whether it is a repetition."""
    return once(
        store,
        outbox,
        shop,
        key,
        "inventorySetQuantities",
        given,
        lambda: _attempt(store, outbox, shop, given),
    )


def _attempt(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any]) -> Outcome:
    wishes, errors = _resolve(store, shop, given)
    errors = call_errors(given, NAMES, "INVALID_NAME") + errors
    # Staleness is only worth telling when the call makes sense at all.
    errors = errors or _stale(wishes, given["name"])
    if errors:
        return Outcome(None, errors)
    return Outcome(_write(store, outbox, shop, given, wishes), [])


def call_errors(given: dict[str, Any], names: tuple[str, ...], name_code: str) -> list[UserError]:
    errors = []
    if given["name"] not in names:
        errors.append(_error(name_code, ["name"], f"The quantity name must be {' or '.join(names)}."))
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
    locations = active_locations(store, shop)
    for position, element in enumerate(given["quantities"]):
        errors += _range_errors(position, element["quantity"])
        pair = (element["inventoryItemId"], element["locationId"])
        if pair in seen:
            message = "The same inventory item and location may be given only once."
            errors.append(
                _element_error("NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", position, "locationId", message)
            )
        seen.add(pair)
        level, problems = level_for(store, shop, locations, ["quantities", str(position)], *pair)
        errors += problems
        if level is not None:
            wishes.append(Wish(position, level, element["quantity"], element["changeFromQuantity"]))
    return wishes, errors


def active_locations(store: Store, shop: Row) -> set[int]:
    return {row["id"] for row in store.all("select id from locations where shop_id = ? and active", (shop["id"],))}


def _range_errors(position: int, quantity: int) -> list[UserError]:
    if quantity > LIMIT:
        return [_element_error("INVALID_QUANTITY_TOO_HIGH", position, "quantity", f"At most {LIMIT} units.")]
    if quantity < -LIMIT:
        return [_element_error("INVALID_QUANTITY_TOO_LOW", position, "quantity", f"At least -{LIMIT} units.")]
    if quantity < 0:
        return [_element_error("INVALID_QUANTITY_NEGATIVE", position, "quantity", "The quantity cannot be negative.")]
    return []


def level_for(
    store: Store, shop: Row, locations: set[int], path: list[str], item_gid: str, location_gid: str
) -> tuple[Row | None, list[UserError]]:
    """The level, or why there cannot be one; neither for a level that is not active, which is passed over silently."""
    errors: list[UserError] = []
    location = number_of(location_gid, "Location")
    if location not in locations:
        errors.append(_error("INVALID_LOCATION", [*path, "locationId"], "The location was not found."))
    number = number_of(item_gid, "InventoryItem")
    item = store.one("select * from variants where item_id = ? and shop_id = ?", (number, shop["id"]))
    if item is None:
        errors.append(_error("INVALID_INVENTORY_ITEM", [*path, "inventoryItemId"], "The inventory item was not found."))
    elif not item["tracked"]:
        message = "The inventory item is not tracked, so its quantities cannot be set."
        errors.append(_error("NON_MUTABLE_INVENTORY_ITEM", [*path, "inventoryItemId"], message))
    if errors or item is None or location is None:
        return None, errors
    level = inventory.read_level(store, item["item_id"], location)
    return (level if level is not None and level["active"] else None), []


def _stale(wishes: list[Wish], name: str) -> list[UserError]:
    message = "The changeFromQuantity value does not match persisted value."
    return [
        _element_error("CHANGE_FROM_QUANTITY_STALE", wish.position, "changeFromQuantity", message)
        for wish in wishes
        if wish.compared is not None and wish.compared != inventory.quantity(wish.level, name)
    ]


def _write(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any], wishes: list[Wish]) -> str:
    deltas = [(wish.level, wish.quantity - inventory.quantity(wish.level, given["name"])) for wish in wishes]
    return write_group(store, outbox, shop, given, deltas)


def write_group(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any], deltas: list[tuple[Row, int]]) -> str:
    """Moves `available` of each level by its delta and returns the id of the group that says so."""
    group_id = gid("InventoryAdjustmentGroup", store.next_id("group"))
    store.run(
        "insert into adjustment_groups values (?, ?, ?, ?, ?)",
        (group_id, shop["id"], utc_now(store), given["reason"], given.get("referenceDocumentUri")),
    )
    moves: inventory.Moves = {}
    changes: list[tuple[Any, ...]] = []
    for level, delta in deltas:
        if delta == 0:
            continue
        place = (level["item_id"], level["location_id"])
        moved = moves.setdefault(place, Move())
        moved.available += delta
        # Setting either number moves both, and the vendor reports both.
        for changed in NAMES:
            after = inventory.quantity(level, changed) + moved.available
            changes.append((group_id, len(changes), *place, changed, delta, after))
    store.run_many("insert into adjustments values (?, ?, ?, ?, ?, ?, ?)", changes)
    inventory.apply(store, outbox, shop, outbox.act(), moves)
    return group_id


def _element_error(code: str, position: int, field: str, message: str) -> UserError:
    return _error(code, ["quantities", str(position), field], message)


def _error(code: str, path: list[str] | None, message: str) -> UserError:
    return {"code": code, "field": ["input", *path] if path else None, "message": message}
