"""Variants as they are written: what is wrong with one, and putting it where it belongs with its inventory item."""

from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from sandbox.clock import utc_now
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import metafields
from sandbox.vendors.shopify.shops import gid, home_location

Given = dict[str, Any]
# What is written of a variant, and of its item, by the vendor's names.
OF_VARIANT = {"barcode": "barcode", "inventoryPolicy": "policy", "taxable": "taxable", "position": "position"}
OF_ITEM = {"tracked": "tracked", "requiresShipping": "requires_shipping"}


def is_amount(value: Any) -> bool:
    """Whether it is an amount of money that is not below nothing."""
    try:
        return Decimal(str(value)) >= 0 and Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def problem_of(given: Given) -> tuple[list[str], str] | None:
    """What is wrong with the values of a variant: the field, and the words."""
    for name in ("price", "compareAtPrice"):
        if given.get(name) is not None and not is_amount(given[name]):
            return [name], f"{'Price' if name == 'price' else 'Compare at price'} must be greater than or equal to 0"
    item = given.get("inventoryItem") or {}
    if item.get("cost") is not None and not is_amount(item["cost"]):
        return ["inventoryItem", "cost"], "Cost must be greater than or equal to 0"
    weight = (item.get("measurement") or {}).get("weight")
    if weight is not None and not 0 <= weight["value"] <= 2_000_000_000:
        return ["inventoryItem", "measurement", "weight"], "Weight must be greater than or equal to 0"
    if len(str(given.get("barcode") or "")) > 255:
        return ["barcode"], "Barcode is too long (maximum is 255 characters)"
    for place, one in enumerate(given.get("metafields") or []):
        if problem := metafields.problem_of(one, None):
            return ["metafields", str(place), problem[0]], problem[2]
    return None


def columns(given: Given) -> dict[str, Any]:
    """What a variant that has no problem says of its row; what it does not name stays as it is."""
    item = given.get("inventoryItem") or {}
    found: dict[str, Any] = {column: given[name] for name, column in OF_VARIANT.items() if name in given}
    found |= {column: item[name] for name, column in OF_ITEM.items() if item.get(name) is not None}
    if given.get("price") is not None:
        found["price"] = _amount(given["price"])
    if "compareAtPrice" in given:
        found["compare_at"] = None if given["compareAtPrice"] is None else _amount(given["compareAtPrice"])
    if "cost" in item:
        found["cost"] = None if item["cost"] is None else _amount(item["cost"])
    sku = given.get("sku", item.get("sku"))
    if "sku" in given or "sku" in item:
        found["sku"] = sku or ""
    if weight := (item.get("measurement") or {}).get("weight"):
        found |= {"weight_value": float(weight["value"]), "weight_unit": weight["unit"]}
    return {
        name: value for name, value in found.items() if value is not None or name in ("barcode", "compare_at", "cost")
    }


def _amount(value: Any) -> str:
    return format(Decimal(str(value)).quantize(Decimal("0.01")), "f")


def change(store: Store, row: Row, wanted: dict[str, Any]) -> bool:
    """Brings a variant's row to what is wanted; whether anything differed."""
    changed = {name: value for name, value in wanted.items() if row[name] != value}
    if changed:
        marks = ", ".join(f"{name} = ?" for name in changed)
        store.run(
            f"update variants set {marks}, updated_at = ? where id = ?", (*changed.values(), utc_now(store), row["id"])
        )
    if changed.get("tracked"):
        stock(store, row["shop_id"], row["item_id"])
    return bool(changed)


def add(store: Store, shop: Row, product_id: int, wanted: dict[str, Any]) -> int:
    """A new variant with an item of its own, stocked at the first location where it is tracked."""
    number, item, now = store.next_id("variant"), store.next_id("item"), utc_now(store)
    row = {"sku": "", "barcode": None, "price": "0.00", "policy": "DENY", "tracked": True} | wanted
    store.insert(
        "variants",
        id=number,
        shop_id=shop["id"],
        product_id=product_id,
        item_id=item,
        created_at=now,
        updated_at=now,
        **row,
    )
    if row["tracked"]:
        stock(store, shop["id"], item)
    return number


def stock(store: Store, shop_id: int, item_id: int) -> None:
    """A level of nothing at the first location, unless the item has one somewhere."""
    if store.one("select 1 from levels where item_id = ?", (item_id,)):
        return
    now = utc_now(store)
    store.insert(
        "levels",
        item_id=item_id,
        location_id=home_location(store, shop_id),
        shop_id=shop_id,
        available=0,
        committed=0,
        opening=0,
        created_at=now,
        updated_at=now,
    )


def remove(store: Store, outbox: Outbox, shop: Row, act: Act, row: Row) -> None:
    """A variant goes, and its item with the stock of it."""
    store.run("delete from variants where id = ?", (row["id"],))
    store.run("delete from levels where item_id = ?", (row["item_id"],))
    metafields.forget(store, "ProductVariant", row["id"])
    gone = {"id": row["item_id"], "admin_graphql_api_id": gid("InventoryItem", row["item_id"])}
    outbox.tell(shop, act, "inventory_items/delete", lambda: gone)


def values_text(values: list[str]) -> str:
    return orjson.dumps(values).decode()
