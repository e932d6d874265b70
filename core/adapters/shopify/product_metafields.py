"""Metafields: our types and values as Shopify's, and back.

Source: shopify.dev/docs/apps/build/metafields/list-of-data-types. Types that have no counterpart here (references, say)
are not read, and so never written over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from core.money import to_major, to_minor
from core.product_ports import ShownField

THEIRS: Mapping[str, str] = {
    "text": "single_line_text_field",
    "multiline": "multi_line_text_field",
    "integer": "number_integer",
    "decimal": "number_decimal",
    "boolean": "boolean",
    "date": "date",
    "money": "money",
    "url": "url",
    "colour": "color",
    "list": "list.single_line_text_field",
    "json": "json",
}
"""By our type."""
OURS: Mapping[str, str] = {theirs: ours for ours, theirs in THEIRS.items()}


def written(field: ShownField) -> tuple[str, str]:
    """Shopify's type and text of a value."""
    value = field.value
    if field.type == "money":
        amount = format(to_major(value["amount_minor"], value["currency"]), "f")
        text = orjson.dumps({"amount": amount, "currency_code": value["currency"]}).decode()
    elif field.type == "boolean":
        text = "true" if value else "false"
    elif field.type in ("list", "json"):
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    else:
        text = str(value)
    return THEIRS[field.type], text


def read(type_: str, text: str) -> ShownField | None:
    """What a value is here; None for a type that is not kept, or a value that is not of its type."""
    ours = OURS.get(type_)
    # A NUL, which JSON writes so, is what the database cannot hold.
    if ours is None or "\\u0000" in text:
        return None
    try:
        return ShownField(ours, _READERS.get(ours, str)(text))
    except (ValueError, KeyError, TypeError, InvalidOperation):
        return None


def _money(text: str) -> dict[str, Any]:
    found = orjson.loads(text)
    currency = str(found["currency_code"])
    return {"amount_minor": to_minor(Decimal(str(found["amount"])), currency), "currency": currency}


def _decimal(text: str) -> str:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return format(number, "f")


def _list(text: str) -> list[str]:
    found = orjson.loads(text)
    if not isinstance(found, list):
        raise TypeError("a list")
    return [str(each) for each in found]


_READERS: Mapping[str, Callable[[str], Any]] = {
    "money": _money,
    "integer": int,
    "decimal": _decimal,
    "boolean": lambda text: text == "true",
    "colour": str.upper,
    "list": _list,
    "json": orjson.loads,
}
