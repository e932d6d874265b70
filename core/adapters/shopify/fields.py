"""The small types that vendor bodies are made of: tolerant of how they are written, strict about what they mean.

Ids may be numbers or texts of digits and become text; a JSON fraction never becomes an id or a count, since doubles
round above 2^53. Amounts may be texts or numbers. Instants must say their offset. The errors raised here name kinds,
never values: a body may carry a customer's data.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

_ID_DIGITS = 20
_LEVEL_MAX = 1_000_000_000
# Of one line: hundreds of such promises of one SKU still add up to a number that its level can hold.
_UNITS_MAX = 10_000_000
# A JSON number has gone through a double: beyond 15 digits its cents are a guess.
_AMOUNT_MAX = Decimal(10) ** 13
_DECIMALS_MAX = 20
_TEXT_MAX = 2_000


def _wrong(kind: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("unreadable", f"{kind}: {why}")


def _whole(value: Any, kind: str) -> int:
    """An int that was written as a JSON integer or as digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= _ID_DIGITS and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise _wrong(kind, "not a whole number")


def _id(value: Any) -> str:
    number = _whole(value, "id")
    if not 0 < number < 10**_ID_DIGITS:
        raise _wrong("id", "out of range")
    return str(number)


def _gid(value: Any) -> str:
    """The number at the end of gid://shopify/Kind/123, with or without a query."""
    if not isinstance(value, str) or not value.startswith("gid://shopify/"):
        raise _wrong("gid", "not a global id")
    return _id(value.rpartition("/")[2].partition("?")[0])


def _count(value: Any) -> int:
    number = _whole(value, "quantity")
    if not 0 <= number <= _UNITS_MAX:
        raise _wrong("quantity", "out of range")
    return number


def _level(value: Any) -> int:
    number = _whole(value, "quantity")
    if abs(number) > _LEVEL_MAX:
        raise _wrong("quantity", "out of range")
    return number


def _amount(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise _wrong("amount", "not a number")
    if isinstance(value, str) and len(value) > 40:
        raise _wrong("amount", "too long")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _wrong("amount", "not a number") from None
    if not number.is_finite() or abs(number) >= _AMOUNT_MAX or int(number.as_tuple().exponent) < -_DECIMALS_MAX:
        raise _wrong("amount", "out of range")
    return number


def _optional_amount(value: Any) -> Decimal | None:
    return None if value is None or value == "" else _amount(value)


def _instant(value: Any) -> datetime:
    if not isinstance(value, str) or len(value) > 64:
        raise _wrong("instant", "not a text")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise _wrong("instant", "without an offset from UTC")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong("instant", "not an ISO 8601 date and time with an offset") from None


def _text(value: Any) -> str | None:
    """A text as it stands, without the NUL that the database cannot hold; numbers become text, blank becomes None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _wrong("text", "not a text")
    text = str(value).replace("\x00", "")[:_TEXT_MAX]
    return text if text.strip() else None


def _flag(value: Any) -> bool:
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    raise _wrong("flag", "neither true nor false")


def _list(value: Any) -> Any:
    return [] if value is None else value


def _loose(value: Any) -> str | None:
    """One line of text, where it can be one. What people and apps typed is never a reason not to read the rest."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return _text(" ".join(str(value).split()))


def _objects(value: Any) -> list[Any]:
    """Whatever of a list is an object; an object itself stands for its entries."""
    if isinstance(value, dict):
        return [{"name": name, "value": entry} for name, entry in value.items()]
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


Id = Annotated[str, BeforeValidator(_id)]
OptionalId = Annotated[str | None, BeforeValidator(lambda value: None if value is None else _id(value))]
Gid = Annotated[str, BeforeValidator(_gid)]
Count = Annotated[int, BeforeValidator(_count)]
OptionalCount = Annotated[int | None, BeforeValidator(lambda value: None if value is None else _count(value))]
Level = Annotated[int | None, BeforeValidator(lambda value: None if value is None else _level(value))]
Amount = Annotated[Decimal, BeforeValidator(_amount)]
OptionalAmount = Annotated[Decimal | None, BeforeValidator(_optional_amount)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
OptionalInstant = Annotated[datetime | None, BeforeValidator(lambda value: None if value is None else _instant(value))]
OptionalText = Annotated[str | None, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_flag)]
OptionalFlag = Annotated[bool | None, BeforeValidator(lambda value: None if value is None else _flag(value))]
LooseText = Annotated[str | None, BeforeValidator(_loose)]
LooseTexts = BeforeValidator(lambda value: value if isinstance(value, list) else [])
Objects = BeforeValidator(_objects)
OrEmpty = BeforeValidator(_list)
"""For lists that the vendor sometimes sends as null."""


class Body(BaseModel):
    """Only the fields we use; whatever else the vendor sends, now or later, is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
