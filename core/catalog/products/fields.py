"""Metafields: facts under keys of a shop's own, each of a type that says what may stand there.

What is kept, by type: text, multiline, url and colour a string; integer a whole number; decimal a string of digits (no
binary fractions); boolean; date "2026-11-27"; money {"amount_minor": 1250, "currency": "GBP"}; list a list of strings;
json anything. Source: Shopify's list of metafield types (shopify.dev, metafields/list-of-data-types).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import orjson

from core.errors import BadInput
from core.money import CURRENCIES, exponent, to_major

Owner = Literal["product", "variant"]
OWNERS: tuple[Owner, ...] = ("product", "variant")
TYPES = (
    "text",
    "multiline",
    "integer",
    "decimal",
    "boolean",
    "date",
    "money",
    "url",
    "colour",
    "list",
    "json",
)
KEY = re.compile(r"[a-z0-9_-]{1,64}\.[a-z0-9_-]{1,64}")
COST = "inventory.cost"
"""The variant's cost price; Shopify keeps it at the inventory item."""
COLOUR_CODE = "details.colour_code"
SUPPLIER_ID = "details.supplier_id"
_TEXT_MAX = 5_000
_JSON_MAX = 100_000
_DIGITS_MAX = 40
"""Characters of a decimal."""
_ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_TRUE = frozenset({"true", "yes", "y", "1", "on"})
_FALSE = frozenset({"false", "no", "n", "0", "off"})


@dataclass(frozen=True, slots=True)
class Definition:
    """A metafield of a shop: whose it is, its key and what may stand there."""

    owner: Owner
    key: str
    name: str
    type: str
    description: str = ""


STANDARD = (
    Definition("variant", COST, "Cost", "money", "What a unit costs us, without tax."),
    Definition("variant", COLOUR_CODE, "Colour code", "colour", "As #RRGGBB."),
    Definition("product", SUPPLIER_ID, "Supplier id", "text", "What the supplier calls it."),
)
"""What every shop has from the start."""


class BadField(BadInput):
    """A value that its type does not allow; the sentence says what does."""


def check_key(key: str) -> str:
    """The key, if it is one. Raises BadField."""
    if not KEY.fullmatch(key):
        raise BadField(
            f"“{key}” is no key of a metafield: write namespace.key in small letters, digits, _ and -,"
            " such as details.colour_code"
        )
    return key


def parsed(type_: str, text: str, currency: str) -> Any:
    """What is kept of a typed text; None where it is empty. `currency` is that of amounts without one.

    Raises BadField with what the type wants.
    """
    text = text.strip()
    return None if not text else _PARSERS[type_](text, currency)


def shown(type_: str, value: Any) -> str:
    """A kept value as a person types it: `parsed` makes the same of it again."""
    if value is None:
        return ""
    if type_ == "money":
        return f"{to_major(value['amount_minor'], value['currency'])} {value['currency']}"
    if type_ == "boolean":
        return "true" if value else "false"
    if type_ == "list":
        return " | ".join(value)
    if type_ == "json":
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return str(value)


def check(type_: str, value: Any, currency: str) -> None:
    """Raises BadField where a kept value is not of its type's form."""
    if type_ == "json":
        return
    if value is None or parsed(type_, shown_safely(type_, value), currency) != value:
        raise BadField(f"{value!r} is not kept as {type_} is")


def shown_safely(type_: str, value: Any) -> str:
    """`shown` of what may be of any form. Raises BadField where it cannot be of that type."""
    try:
        return shown(type_, value)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BadField(f"{value!r} is not kept as {type_} is") from None


def _text(text: str, _currency: str) -> str:
    if "\n" in text:
        raise BadField("is one line of text: leave the line breaks out")
    return _multiline(text, _currency)


def _multiline(text: str, _currency: str) -> str:
    if len(text) > _TEXT_MAX:
        raise BadField(f"has {len(text):,} characters; at most {_TEXT_MAX:,} are kept")
    return text


def _integer(text: str, _currency: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise BadField(f"“{text}” is no whole number, such as 12")
    return int(text)


def _decimal(text: str, _currency: str) -> str:
    if len(text) > _DIGITS_MAX:
        raise _no_decimal(text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _no_decimal(text) from None
    # 1e40000000 is short, and takes megabytes written out.
    if not number.is_finite() or abs(number.adjusted()) >= _DIGITS_MAX:
        raise _no_decimal(text)
    written = format(number, "f")
    if len(written) > _DIGITS_MAX:
        raise _no_decimal(text)
    return written


def _no_decimal(text: str) -> BadField:
    return BadField(f"“{text[:80]}” is no number of at most {_DIGITS_MAX} digits, such as 12.5")


def _boolean(text: str, _currency: str) -> bool:
    word = text.casefold()
    if word not in _TRUE | _FALSE:
        raise BadField(f"“{text}” is neither yes nor no: write true or false")
    return word in _TRUE


def _date(text: str, _currency: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise BadField(f"“{text}” is no date: write it as 2026-11-27") from None


def _money(text: str, currency: str) -> dict[str, Any]:
    found = re.fullmatch(r"(\d{1,13}(?:\.\d+)?)(?:\s*([A-Za-z]{3}))?", text)
    if not found:
        raise BadField(f"“{text}” is no amount of money, such as 12.50 or 12.50 {currency}")
    code = (found.group(2) or currency).upper()
    if code not in CURRENCIES:
        raise BadField(f"{code} is no currency that people pay with")
    scaled = Decimal(found.group(1)).scaleb(exponent(code))
    if scaled != scaled.to_integral_value():
        raise BadField(f"“{text}” is finer than {code} is counted: give at most {exponent(code)} decimals")
    return {"amount_minor": int(scaled), "currency": code}


def _url(text: str, _currency: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>\"]+", text) or len(text) > 2_000:
        raise BadField(f"“{text[:80]}” is no address: write it as https://…")
    return text


def _colour(text: str, _currency: str) -> str:
    if not re.fullmatch(r"#?[0-9A-Fa-f]{6}", text):
        raise BadField(f"“{text}” is no colour: write it as #RRGGBB, such as #1B4D3E")
    return "#" + text.removeprefix("#").upper()


def _list(text: str, _currency: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split("|")) if part]


def _json(text: str, _currency: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadField(f"is no JSON: {error}") from None
    if len(text) > _JSON_MAX:
        raise BadField(f"has {len(text):,} characters; at most {_JSON_MAX:,} are kept")
    if _ZERO.search(text):
        raise BadField("has a zero byte (\\u0000), which no text can have: leave it out")
    return value


_PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    "text": _text,
    "multiline": _multiline,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "date": _date,
    "money": _money,
    "url": _url,
    "colour": _colour,
    "list": _list,
    "json": _json,
}
