"""Metafields of products and variants: typed texts under a namespace and a key, written at most 25 in one call."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from sandbox.clock import utc_now
from sandbox.store import Row, Store
from sandbox.vendors.shopify.shops import gid, number_of

SET_MAX = 25
NAMES = re.compile(r"[A-Za-z0-9_-]{2,64}")
APP_NAMESPACE = "app--1"
UserErrors = list[dict[str, Any]]

# What owns metafields here: the table of its rows, by the kind in its id.
OWNERS = {"Product": "products", "ProductVariant": "variants"}


def _is_number(value: str) -> bool:
    try:
        return Decimal(value).is_finite()
    except InvalidOperation:
        return False


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _loaded(value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _is_money(value: str) -> bool:
    found = _loaded(value)
    return isinstance(found, dict) and found.keys() == {"amount", "currency_code"} and _is_number(str(found["amount"]))


def _is_list(value: str) -> bool:
    found = _loaded(value)
    return isinstance(found, list) and all(isinstance(each, str) and "\n" not in each for each in found)


TYPES = {
    "single_line_text_field": lambda value: "\n" not in value,
    "multi_line_text_field": lambda value: True,
    "number_integer": lambda value: re.fullmatch(r"-?\d{1,16}", value) is not None,
    "number_decimal": _is_number,
    "boolean": lambda value: value in ("true", "false"),
    "date": _is_date,
    "money": _is_money,
    "url": lambda value: re.match(r"(https?|mailto|sms|tel):", value) is not None,
    "color": lambda value: re.fullmatch(r"#[0-9A-Fa-f]{6}", value) is not None,
    "list.single_line_text_field": _is_list,
    "json": lambda value: value == "null" or _loaded(value) is not None,
    "product_reference": lambda value: value.startswith("gid://shopify/Product/"),
}
"""By type: whether a value is one."""


def problem_of(given: dict[str, Any], known: Row | None) -> tuple[str, str, str] | None:
    """What is wrong with one metafield that is to be set: its field, the code and the words."""
    for name in ("key", "namespace"):
        if not NAMES.fullmatch(given.get(name) or (APP_NAMESPACE if name == "namespace" else "")):
            return name, "TOO_SHORT", f"{name.capitalize()} is too short (minimum is 2 characters)"
    kind = given.get("type") or (known["type"] if known is not None else None)
    if kind is None:
        return "type", "BLANK", "Type can't be blank"
    if kind not in TYPES:
        return "type", "INVALID_TYPE", f"Type must be one of the following: {', '.join(sorted(TYPES))}."
    if not (given.get("value") or "").strip():
        return "value", "BLANK", "Value can't be blank"
    if not TYPES[kind](given["value"]):
        return "value", "INVALID_VALUE", f"Value is not of type {kind}"
    return None


def find(store: Store, owner: str, owner_id: int, namespace: str | None, key: str) -> Row | None:
    return store.one(
        "select * from metafields where owner = ? and owner_id = ? and namespace = ? and key = ?",
        (owner, owner_id, namespace or APP_NAMESPACE, key),
    )


def write(store: Store, owner: str, owner_id: int, given: dict[str, Any]) -> int:
    """Puts one that has no problem where it belongs; its id."""
    known, now = find(store, owner, owner_id, given.get("namespace"), given["key"]), utc_now(store)
    if known is not None:
        kind = given.get("type") or known["type"]
        if (known["type"], known["value"]) != (kind, given["value"]):
            store.run(
                "update metafields set type = ?, value = ?, updated_at = ? where id = ?",
                (kind, given["value"], now, known["id"]),
            )
        return int(known["id"])
    number = store.next_id("metafield")
    store.insert(
        "metafields",
        id=number,
        owner=owner,
        owner_id=owner_id,
        namespace=given.get("namespace") or APP_NAMESPACE,
        key=given["key"],
        type=given["type"],
        value=given["value"],
        created_at=now,
        updated_at=now,
    )
    return number


def replace_all(store: Store, owner: str, owner_id: int, given: list[dict[str, Any]]) -> None:
    """What is not among the given ones goes: a list of metafields is complete."""
    kept = [write(store, owner, owner_id, one) for one in given]
    marks = ", ".join("?" * len(kept))
    store.run(
        f"delete from metafields where owner = ? and owner_id = ? and id not in ({marks})", (owner, owner_id, *kept)
    )


def forget(store: Store, owner: str, owner_id: int) -> None:
    store.run("delete from metafields where owner = ? and owner_id = ?", (owner, owner_id))


def set_many(store: Store, shop: Row, given: list[dict[str, Any]]) -> tuple[list[int], set[int], UserErrors]:
    """All or none: the ids of what was set, the products concerned, what is wrong."""
    if len(given) > SET_MAX:
        message = f"Exceeded the maximum metafields input limit of {SET_MAX}."
        return [], set(), [_error("LESS_THAN_OR_EQUAL_TO", ["metafields"], message, None)]
    errors, owners = [], []
    for place, one in enumerate(given):
        owner = owner_of(store, shop, one["ownerId"])
        owners.append(owner)
        if owner is None:
            path = ["metafields", str(place), "ownerId"]
            errors.append(_error("INVALID", path, "Owner does not exist.", place))
            continue
        problem = problem_of(one, find(store, owner[0], owner[1]["id"], one.get("namespace"), one["key"]))
        if problem is not None:
            errors.append(_error(problem[1], ["metafields", str(place), problem[0]], problem[2], place))
    if errors:
        return [], set(), errors
    made, products = [], set()
    for one, owner in zip(given, owners, strict=True):
        assert owner is not None
        made.append(write(store, owner[0], owner[1]["id"], one))
        products.add(product_of(owner))
    return made, products, []


def delete_many(store: Store, shop: Row, given: list[dict[str, Any]]) -> tuple[list[Any], set[int], UserErrors]:
    """What was there and went, in the order given (None where nothing was); the products concerned; what is wrong."""
    deleted: list[Any] = []
    products, errors = set(), []
    for place, one in enumerate(given):
        owner = owner_of(store, shop, one["ownerId"])
        if owner is None:
            errors.append({"field": ["metafields", str(place), "ownerId"], "message": "Owner does not exist."})
            continue
        known = find(store, owner[0], owner[1]["id"], one["namespace"], one["key"])
        deleted.append(None if known is None else one)
        if known is not None:
            store.run("delete from metafields where id = ?", (known["id"],))
            products.add(product_of(owner))
    return deleted, products, errors


def owner_of(store: Store, shop: Row, owner_gid: str) -> tuple[str, Row] | None:
    """The kind of an owner and its row."""
    for kind, table in OWNERS.items():
        number = number_of(owner_gid, kind)
        if number is not None:
            row = store.one(f"select * from {table} where shop_id = ? and id = ?", (shop["id"], number))
            return None if row is None else (kind, row)
    return None


def product_of(owner: tuple[str, Row]) -> int:
    return int(owner[1]["id"] if owner[0] == "Product" else owner[1]["product_id"])


def view(row: Row) -> dict[str, Any]:
    return {
        "__typename": "Metafield",
        "id": gid("Metafield", row["id"]),
        "legacyResourceId": row["id"],
        "namespace": row["namespace"],
        "key": row["key"],
        "type": row["type"],
        "value": row["value"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }


def _error(code: str, field: list[str], message: str, place: int | None) -> dict[str, Any]:
    return {"code": code, "field": field, "message": message, "elementIndex": place}
