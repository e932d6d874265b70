"""Reading what can be read of a body that need not be as documented: every step may be missing or of another kind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from core.money import to_minor

_REF_CHARACTERS_MAX = 200
_AMOUNT_MAX = Decimal(10) ** 13


def opened(body: bytes) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def at(value: Any, *names: str) -> Any:
    """What stands at a path of nested objects, whatever the case of the names; None where nothing does."""
    for name in names:
        if not isinstance(value, dict):
            return None
        found = value.get(name)
        if found is None:
            wanted = name.lower()
            found = next((each for key, each in value.items() if key.lower() == wanted), None)
        value = found
    return value


def each(value: Any) -> list[Any]:
    """The elements of a list; none where it is no list."""
    return value if isinstance(value, list) else []


def ref(value: Any) -> str | None:
    """An id as text; None for what can be none."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value).strip().replace("\x00", "")
    return text if 0 < len(text) <= _REF_CHARACTERS_MAX else None


def instant(value: Any) -> datetime | None:
    """An aware UTC instant; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def minor(value: Any, currency: str) -> int | None:
    """An amount in minor units of the currency; None where it is no number, or beyond reason."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    if not amount.is_finite() or abs(amount) >= _AMOUNT_MAX:
        return None
    return to_minor(amount, currency)


def currency(value: Any, otherwise: str) -> str:
    """A currency's code; `otherwise` where it is none."""
    return value.upper() if isinstance(value, str) and len(value) == 3 and value.isalpha() else otherwise


def refs(values: Any) -> frozenset[str]:
    """The ids among some values."""
    return frozenset(found for value in values if (found := ref(value)) is not None)
