"""inventoryAdjustQuantities (deltas) and inventoryActivate (stocking an item at a location)."""

from typing import Any

from sandbox.clock import utc_now
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bodies, inventory
from sandbox.vendors.shopify.idempotency import Outcome, UserError, once
from sandbox.vendors.shopify.set_quantities import LIMIT, active_locations, call_errors, level_for, write_group
from sandbox.vendors.shopify.shops import number_of

# Of the vendor's names this world moves one.
NAMES = ("available",)


def adjust_quantities(store: Store, outbox: Outbox, shop: Row, key: str, given: dict[str, Any]) -> Outcome:
    """One whole call; the key decides whether it is a repetition."""
    return once(
        store, outbox, shop, key, "inventoryAdjustQuantities", given, lambda: _attempt(store, outbox, shop, given)
    )


def _attempt(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any]) -> Outcome:
    errors = call_errors(given, NAMES, "INVALID_QUANTITY_NAME")
    locations = active_locations(store, shop)
    deltas: list[tuple[Row, int]] = []
    for position, change in enumerate(given["changes"]):
        path = ["changes", str(position)]
        if change.get("ledgerDocumentUri") is not None:
            message = "A ledger document is not allowed for available."
            errors.append(_error("INVALID_AVAILABLE_DOCUMENT", [*path, "ledgerDocumentUri"], message))
        level, problems = level_for(store, shop, locations, path, change["inventoryItemId"], change["locationId"])
        errors += problems
        if level is None:
            continue
        errors += _range_errors(path, level["available"] + change["delta"])
        compared = change["changeFromQuantity"]
        if compared is not None and compared != level["available"]:
            message = "The changeFromQuantity value does not match persisted value."
            errors.append(_error("CHANGE_FROM_QUANTITY_STALE", [*path, "changeFromQuantity"], message))
        deltas.append((level, change["delta"]))
    if errors:
        return Outcome(None, errors)
    return Outcome(write_group(store, outbox, shop, given, deltas), [])


def _range_errors(path: list[str], after: int) -> list[UserError]:
    if abs(after) <= LIMIT:
        return []
    code = "INVALID_QUANTITY_TOO_HIGH" if after > 0 else "INVALID_QUANTITY_TOO_LOW"
    return [_error(code, [*path, "delta"], f"The quantity must stay within {LIMIT} units.")]


def activate(store: Store, outbox: Outbox, shop: Row, key: str, given: dict[str, Any]) -> Outcome:
    """Stocks an item at a location; without a number, a level that was active before keeps its quantities."""
    return once(store, outbox, shop, key, "inventoryActivate", given, lambda: _activate(store, outbox, shop, given))


def _activate(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any]) -> Outcome:
    location = number_of(given["locationId"], "Location")
    item = store.one(
        "select * from variants where item_id = ? and shop_id = ?",
        (number_of(given["inventoryItemId"], "InventoryItem"), shop["id"]),
    )
    wanted = given.get("available") if given.get("available") is not None else given.get("onHand")
    problem = None
    if item is None:
        problem = (["inventoryItemId"], "The inventory item could not be found.")
    elif location not in active_locations(store, shop):
        problem = (["locationId"], "The location could not be found.")
    elif given.get("available") is not None and given.get("onHand") is not None:
        problem = (["available"], "Only one of available and onHand can be given.")
    if problem or item is None or location is None:
        field, message = problem or ([], "")
        return Outcome(None, [{"field": field, "message": message}])
    stock(store, outbox, shop, item["item_id"], location, wanted)
    return Outcome(f"gid://shopify/InventoryLevel/{location}?inventory_item_id={item['item_id']}", [])


def stock(store: Store, outbox: Outbox, shop: Row, item_id: int, location: int, available: int | None) -> None:
    """Makes a level active; an active one is left alone. Tells inventory_levels/connect."""
    found, now = inventory.read_level(store, item_id, location), utc_now(store)
    if found is not None and found["active"]:
        return
    if found is None:
        store.insert(
            "levels",
            item_id=item_id,
            location_id=location,
            shop_id=shop["id"],
            available=available or 0,
            committed=0,
            opening=available or 0,
            created_at=now,
            updated_at=now,
        )
    else:
        store.run(
            "update levels set active = 1, available = coalesce(?, available), updated_at = ?"
            " where item_id = ? and location_id = ?",
            (available, now, item_id, location),
        )
    level = inventory.read_level(store, item_id, location)
    assert level is not None
    body = bodies.level_body(item_id, location, level["available"], level["updated_at"], shop["timezone"])
    outbox.tell(shop, outbox.act(), "inventory_levels/connect", lambda: body)


def _error(code: str, path: list[str], message: str) -> UserError:
    return {"code": code, "field": ["input", *path], "message": message}
