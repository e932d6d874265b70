"""Pure rules of channel rules: what may be typed, which rule applies to a listing, and how a rule reads.

The most specific rule wins, term by term: SKU on a connection, SKU, category on a connection, category, connection,
the shop's own default, and what is built in. A term that a rule leaves empty is inherited from the next.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from core.errors import BadInput
from core.inventory.planner import MODES, Mode
from core.inventory.rules import OFFER_ALL, ListingRule

UNITS_MAX = 1_000_000
"""The largest number of units of a term; as a cap it is as good as none."""
PRIORITY_MAX = 100
TEXT_MAX = 200

LABELS: Mapping[str, str] = {
    "safety_stock_units": "safety stock",
    "share_percent": "share",
    "buffer_units": "buffer",
    "floor_units": "floor",
    "cap_units": "cap",
    "priority": "priority",
    "is_offered": "offered",
    "mode": "mode",
    "switch_units": "switches at",
}
"""The terms, in the order in which they are applied, as people call them."""
SCOPE_LABELS = ("connection", "category", "sku")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one thing that was typed; `field` is a term, a part of the scope, or empty for the whole."""

    field: str
    what: str


class BadRule(BadInput):
    """What was typed cannot be a rule: says of each field what is wrong, where, and how to put it right."""

    def __init__(self, problems: Iterable[Problem], where: str = "") -> None:
        self.problems = tuple(problems)
        said = "; ".join(f"{_label(item.field)}: {item.what}" if item.field else item.what for item in self.problems)
        super().__init__(f"{where}: {said}" if where else said)


def _label(field: str) -> str:
    return LABELS.get(field, "SKU" if field == "sku" else field)


# --- what a rule is for, and what it says -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule is for; None is all. A category and a SKU never come together: the SKU says it all."""

    connection_id: int | None = None
    category: str | None = None
    sku_id: int | None = None

    def __post_init__(self) -> None:
        if self.category is not None and self.sku_id is not None:
            raise BadRule([Problem("category", "a rule is for a category or for a SKU, not both: leave one empty")])

    @property
    def breadth(self) -> int:
        """The higher, the more specific: 0 is the shop's default, 5 a SKU on a connection."""
        of_what = 4 if self.sku_id is not None else 2 if self.category is not None else 0
        return of_what + (self.connection_id is not None)

    def covers(self, connection_id: int, category: str | None, sku_id: int) -> bool:
        """Whether the rule is for a listing of that SKU, of that category, on that connection."""
        return (
            self.connection_id in (None, connection_id)
            and (self.category is None or self.category == category)
            and self.sku_id in (None, sku_id)
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says; None inherits. Units are never negative, a share is percent with up to two decimals."""

    safety_stock_units: int | None = None
    share_percent: Decimal | None = None
    buffer_units: int | None = None
    floor_units: int | None = None
    cap_units: int | None = None
    priority: int | None = None
    is_offered: bool | None = None
    mode: Mode | None = None
    switch_units: int | None = None

    @property
    def said(self) -> dict[str, Any]:
        """The terms that are not inherited, by name."""
        return {name: value for name in TERMS if (value := getattr(self, name)) is not None}


TERMS: tuple[str, ...] = tuple(field.name for field in fields(Terms))
DEFAULTS: Mapping[str, Any] = {name: getattr(OFFER_ALL, name) for name in TERMS}


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule; `id` is None while it is not saved."""

    scope: Scope
    terms: Terms
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the rules come to for one listing. `sources` says which rule each term is from; None: built in.

    `is_clipped`: the floor was above the cap, and the cap won.
    """

    rule: ListingRule
    sources: Mapping[str, Policy | None]
    is_clipped: bool = False


def resolve(policies: Iterable[Policy], connection_id: int, category: str | None, sku_id: int) -> Resolved:
    """What some rules come to for a listing of that SKU, of that category, on that connection.

    Where a floor and a cap of different rules cross, the cap wins: a rule may promise a channel less, never more.
    The statement in core.policies.queries is the same, as a set; a property test holds the two together.
    """
    covering = sorted(
        (item for item in policies if item.scope.covers(connection_id, category, sku_id)),
        key=lambda item: -item.scope.breadth,
    )
    sources: dict[str, Policy | None] = {
        name: next((item for item in covering if getattr(item.terms, name) is not None), None) for name in TERMS
    }
    found = {
        name: DEFAULTS[name] if source is None else getattr(source.terms, name) for name, source in sources.items()
    }
    is_clipped = found["cap_units"] is not None and found["floor_units"] > found["cap_units"]
    if is_clipped:
        found["floor_units"] = found["cap_units"]
    return Resolved(ListingRule(**found), sources, is_clipped)


# --- what may be typed ------------------------------------------------------------------------------------------------


def _refuse(why: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{why}", {"why": why})


def _given(value: object) -> str | None:
    """What was typed, without blanks around it; None where nothing was."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text or None


def _number(text: str, unit: str) -> Decimal:
    plain = text.replace("\N{MINUS SIGN}", "-")
    try:
        number = Decimal(plain) if plain.isascii() else Decimal("nan")
    except InvalidOperation:
        number = Decimal("nan")
    # Decimal reads "1_0", "1e3" and "inf" too: nobody types those on purpose.
    if not number.is_finite() or set(plain) - set("+-.0123456789"):
        raise _refuse(f"“{text[:40]}” is not a number: write digits only, such as 5{unit}, or nothing to inherit it")
    return number


def _whole(value: object, top: int, what: str) -> int | None:
    text = _given(value)
    if text is None:
        return None
    number = _number(text, "")
    if number < 0:
        raise _refuse(f"{text} is below zero: write 0 to {top:,} {what}, or nothing to inherit it")
    if number != int(number):
        raise _refuse(f"{text} is not a whole number: write {int(number)} or {int(number) + 1}")
    if number > top:
        raise _refuse(f"{int(number):,} is more than {top:,}, the most there may be")
    return int(number)


def _units(value: object) -> int | None:
    return _whole(value, UNITS_MAX, "units")


def _priority(value: object) -> int | None:
    return _whole(value, PRIORITY_MAX, "(the highest)")


def _share(value: object) -> Decimal | None:
    text = _given(value)
    if text is None:
        return None
    number = _number(text.removesuffix("%").rstrip(), " or 12.5")
    if number < 0:
        raise _refuse(f"{text} is below zero: write 0 to 100 percent, or nothing to inherit it")
    if number > 100:
        raise _refuse(f"{text} percent is more than there is: write 0 to 100")
    if number != round(number, 2):
        raise _refuse(f"{text} is finer than two decimals: write {round(number, 2)}")
    return number


_YES, _NO = ("yes", "on", "true", "1"), ("no", "off", "false", "0")


def _switch(value: object) -> bool | None:
    text = _given(value)
    if text is None:
        return None
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise _refuse(f"“{text[:40]}” is neither yes nor no: write yes or no, or nothing to inherit it")


def _mode(value: object) -> str | None:
    text = _given(value)
    if text is None or text.lower() in MODES:
        return text and text.lower()
    raise _refuse(f"“{text[:40]}” is no mode: write {', '.join(MODES[:-1])} or {MODES[-1]}, or nothing to inherit it")


def _name(value: object) -> str | None:
    text = _given(value)
    if text is not None and (len(text) > TEXT_MAX or not text.isprintable()):
        raise _refuse(f"longer than {TEXT_MAX} characters, or with characters that cannot be printed")
    return text


_Name = Annotated[str | None, BeforeValidator(_name)]
_Units = Annotated[int | None, BeforeValidator(_units)]


class Typed(BaseModel):
    """A rule as it was typed, field by field; `connection` is a name, `sku` a code. An empty field is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: _Name = None
    category: _Name = None
    sku: _Name = None
    safety_stock_units: _Units = None
    share_percent: Annotated[Decimal | None, BeforeValidator(_share)] = None
    buffer_units: _Units = None
    floor_units: _Units = None
    cap_units: _Units = None
    priority: Annotated[int | None, BeforeValidator(_priority)] = None
    is_offered: Annotated[bool | None, BeforeValidator(_switch)] = None
    mode: Annotated[Mode | None, BeforeValidator(_mode)] = None
    switch_units: _Units = None

    @property
    def terms(self) -> Terms:
        """What it says."""
        return Terms(**{name: getattr(self, name) for name in TERMS})


def read_typed(given: Mapping[str, object], where: str = "") -> Typed:
    """What a form or a line of a file says; `where` names the place in errors. Raises BadRule with every problem."""
    try:
        typed = Typed.model_validate(dict(given))
    except ValidationError as error:
        raise BadRule([_problem(item) for item in error.errors()], where) from None
    problems = []
    if typed.category is not None and typed.sku is not None:
        problems.append(Problem("category", "a rule is for a category or for a SKU, not both: leave one empty"))
    problems += crossing(typed.terms)
    if problems:
        raise BadRule(problems, where)
    return typed


def read_rows(text: str) -> list[tuple[str, Typed]]:
    """(place, rule) of every line of a CSV with a header; commas or semicolons. Raises BadRule for all that is wrong.

    A line without terms means that the rule of its scope is to end.
    """
    header = text.lstrip("\ufeff").partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text.lstrip("\ufeff")), delimiter=";" if header.count(";") > header.count(",") else ","
    )
    rows: list[tuple[str, Typed]] = []
    problems: list[Problem] = []
    for row in reader:
        where = f"line {reader.line_num}"
        try:
            if None in row or None in row.values():
                raise BadRule([Problem("", f"it has not as many fields as the header, which has {len(row)}")], where)
            rows.append((where, read_typed({name.strip(): value for name, value in row.items()}, where)))
        except BadRule as refused:
            problems.append(Problem("", str(refused)))
    if problems:
        more = [Problem("", f"and {len(problems) - 20} more lines")] if len(problems) > 20 else []
        raise BadRule([*problems[:20], *more])
    return rows


def _problem(item: Any) -> Problem:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        columns = ", ".join([*SCOPE_LABELS, *TERMS])
        return Problem("", f"there is no column “{field}”: the columns are {columns}")
    return Problem(field, item["msg"])


def crossing(terms: Terms) -> list[Problem]:
    """The problem of a floor above the cap, if the rule itself has it."""
    if terms.floor_units is None or terms.cap_units is None or terms.floor_units <= terms.cap_units:
        return []
    return [
        Problem(
            "floor_units",
            f"{terms.floor_units:,} is above the cap of {terms.cap_units:,}: lower the floor or raise the cap",
        )
    ]


# --- how it reads -----------------------------------------------------------------------------------------------------


def describe(terms: Terms) -> str:
    """At most 20 % of the pool, buffer 2."""
    said = terms.said
    if not said:
        return "inherits everything"
    words = []
    if (offered := said.get("is_offered")) is not None:
        words.append("offered" if offered else "not offered")
    if (safety := said.get("safety_stock_units")) is not None:
        words.append(f"safety stock {safety:,}")
    if (share := said.get("share_percent")) is not None:
        words.append(f"at most {percent(share)} of the pool")
    for name in ("buffer_units", "floor_units", "cap_units", "priority"):
        if name in said:
            words.append(f"{LABELS[name]} {said[name]:,}")
    if (mode := said.get("mode")) is not None:
        words.append(str(mode))
    if (switch := said.get("switch_units")) is not None:
        words.append(f"escrow from {switch:,} available")
    return ", ".join(words)


def percent(share: Decimal) -> str:
    """20 %, 12.5 %."""
    text = f"{share:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def describe_scope(connection: str | None, category: str | None, code: str | None) -> str:
    """Amazon · category Candles; Every channel · everything."""
    of_what = f"SKU {code}" if code is not None else f"category {category}" if category is not None else "everything"
    return f"{connection or 'Every channel'} · {of_what}"
