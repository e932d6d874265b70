"""The envelopes of JSON:API: pages, sparse fields, included resources and the language of filters."""

import base64
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.gate import Call
from sandbox.vendors.klaviyo.problems import Denied, bad_parameter

_CLAUSE = re.compile(r"\s*([a-z-]+)\(\s*([A-Za-z_.$][\w.$-]*)\s*,\s*")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'')
_WORD = re.compile(r"[^\s,()\[\]\"']+")
LIST_MAX = 100
# SQLite knows no whole numbers beyond.
NUMBER_MAX = 2**63 - 1

Value = str | bool | list[str]
Condition = tuple[str, list[Any]]
"""SQL and what is bound in it."""


@dataclass(frozen=True)
class Clause:
    operator: str
    field: str
    value: Value


def filter_clauses(text: str) -> list[Clause]:
    """Clauses joined by commas, or one and(...) around them. Raises Denied."""
    text = text.strip()
    if text.startswith("and(") and text.endswith(")"):
        text = text[4:-1]
    found, place = [], 0
    while place < len(text):
        head = _CLAUSE.match(text, place)
        if head is None:
            raise _bad_filter(f"'{text[place:]}' is not operator(field,value)")
        value, place = _value(text, head.end())
        if not text.startswith(")", place):
            raise _bad_filter(f"'{head.group(1)}' is not closed")
        found.append(Clause(head.group(1), head.group(2), value))
        place += 1
        if place < len(text) and text[place] != ",":
            raise _bad_filter(f"'{text[place:]}' does not begin with a comma")
        place += 1
    return found


def _value(text: str, place: int) -> tuple[Value, int]:
    if not text.startswith("[", place):
        return _scalar(text, place)
    values: list[str] = []
    place += 1
    while not text.startswith("]", place):
        value, place = _scalar(text, place)
        values.append(str(value))
        gap = re.compile(r"\s*,?\s*").match(text, place)
        place = gap.end() if gap else place
    return values, place + 1


def _scalar(text: str, place: int) -> tuple[str | bool, int]:
    if found := _TEXT.match(text, place):
        inner = found.group(1) if found.group(1) is not None else found.group(2)
        return re.sub(r"\\(.)", r"\1", inner), found.end()
    if found := _WORD.match(text, place):
        word = found.group()
        return {"true": True, "false": False}.get(word, word), found.end()
    raise _bad_filter("a value is missing")


def _bad_filter(why: str) -> Denied:
    return bad_parameter(f"Invalid filter provided: {why}.", "filter")


Builder = Callable[[Value], Condition]


def conditions(call: Call, allowed: dict[tuple[str, str], Builder]) -> list[Condition]:
    """What the filter of the call says, in SQL. Raises Denied for a field or operator that may not be asked."""
    found = []
    for clause in filter_clauses(call.query.get("filter", "")):
        builder = allowed.get((clause.operator, clause.field))
        if builder is None:
            said = ", ".join(f"{operator}({field})" for operator, field in allowed)
            raise _bad_filter(f"{clause.operator}({clause.field}) is none of {said}")
        if (clause.operator == "any") != isinstance(clause.value, list):
            raise _bad_filter(f"the value of {clause.operator}({clause.field}) is of another form")
        if isinstance(clause.value, list) and not 0 < len(clause.value) <= LIST_MAX:
            raise _bad_filter(f"a list has 1 to {LIST_MAX} values, not {len(clause.value)}")
        found.append(builder(clause.value))
    return found


def fields(call: Call, kind: str, known: Collection[str]) -> frozenset[str] | None:
    """The attributes that are wanted of the kind, None for all. Raises Denied."""
    given = call.query.get(f"fields[{kind}]")
    if given is None:
        return None
    wanted = frozenset(filter(None, given.split(",")))
    if unknown := wanted - frozenset(known):
        raise bad_parameter(f"'{min(unknown)}' is not a valid field for the resource '{kind}'.", f"fields[{kind}]")
    return wanted


def included(call: Call, known: Collection[str]) -> frozenset[str]:
    """Raises Denied."""
    wanted = frozenset(filter(None, call.query.get("include", "").split(",")))
    if unknown := wanted - frozenset(known):
        raise bad_parameter(f"'{min(unknown)}' cannot be included here.", "include")
    return wanted


def sparse(resource: dict[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    if wanted is not None:
        resource["attributes"] = {name: value for name, value in resource["attributes"].items() if name in wanted}
    return resource


def size(call: Call, most: int, usual: int) -> int:
    """page[size]. Raises Denied."""
    given = call.query.get("page[size]", str(usual))
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= most:
        raise bad_parameter(f"Page size must be an integer between 1 and {most}.", "page[size]")
    return int(given)


def descending(call: Call, known: Collection[str], usual: str) -> tuple[str, bool]:
    """The field that is sorted by, and whether from the end. Raises Denied."""
    given = call.query.get("sort", usual)
    field = given.removeprefix("-")
    if field not in known:
        raise bad_parameter(f"'{given}' is not a valid sort: use {', '.join(sorted(known))}.", "sort")
    return field, given.startswith("-")


@dataclass(frozen=True)
class Page:
    rows: Sequence[Row]
    links: dict[str, str]


@dataclass(frozen=True)
class Listing:
    """What is paged through: a select, what must hold, and the column (unique, whole numbers) that gives the order."""

    select: str
    conditions: list[Condition]
    order: str
    is_backward: bool
    size: int


def page(store: Store, call: Call, listing: Listing) -> Page:
    """One page with its links; a cursor says where it begins and which way it goes. Raises Denied."""
    way, place = _cursor(call)
    ascending = (way == "prev") == listing.is_backward
    held, bound = list(listing.conditions), []
    if place is not None:
        held.append((f"{listing.order} {'>' if ascending else '<'} ?", [place]))
    for _, values in held:
        bound += values
    where = " and ".join(sql for sql, _ in held) or "1"
    rows = store.all(
        f"{listing.select} where {where} order by {listing.order} {'asc' if ascending else 'desc'} limit ?",
        [*bound, listing.size + 1],
    )
    has_more, rows = len(rows) > listing.size, rows[: listing.size]
    if way == "prev":
        rows.reverse()
    links = {"self": address(call, call.query)}
    column = listing.order.rpartition(".")[2]
    if rows and (has_more if way == "next" else place is not None):
        links["next"] = _turned(call, "next", rows[-1][column])
    if rows and (has_more if way == "prev" else place is not None):
        links["prev"] = _turned(call, "prev", rows[0][column])
    return Page(rows, links)


def _cursor(call: Call) -> tuple[str, int | None]:
    # The vendor's own client cuts it out of an address together with the sign before it.
    given = call.query.get("page[cursor]", "").lstrip("=")
    if not given:
        return "next", None
    try:
        way, _, place = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode("ascii").partition(":")
        return {"next": "next", "prev": "prev"}[way], min(int(place), NUMBER_MAX)
    except (ValueError, KeyError):
        raise bad_parameter("The page cursor is not one that was given here.", "page[cursor]") from None


def _turned(call: Call, way: str, place: int) -> str:
    cursor = base64.urlsafe_b64encode(f"{way}:{place}".encode()).decode().rstrip("=")
    return address(call, {**call.query, "page[cursor]": cursor})


def address(call: Call, query: dict[str, str]) -> str:
    """Of this place, with that query."""
    return call.base + call.path + (f"?{urlencode(query)}" if query else "")


def resource_address(call: Call, collection: str, resource_id: str, *further: str) -> str:
    return "/".join((f"{call.base}/api/{collection}", quote(resource_id, safe=""), *further))


def relation(call: Call, collection: str, resource_id: str, name: str) -> dict[str, Any]:
    """The links of a relationship."""
    return {
        "links": {
            "self": resource_address(call, collection, resource_id, "relationships", name),
            "related": resource_address(call, collection, resource_id, name),
        }
    }
