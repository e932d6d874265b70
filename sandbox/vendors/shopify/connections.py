"""Relay-like connections over SQL, paged by key, and the search terms that list queries take."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql import GraphQLError

from sandbox.clock import as_utc
from sandbox.store import Row, Store

MAX_PAGE = 250
# Pages end after so many objects, however many there are; bulk operations go on.
MAX_DEPTH = 25_000
TERM = re.compile(r"""\s*(?P<name>\w+):\s*(?P<op>>=|<=|>|<|)\s*(?P<value>"[^"]*"|'[^']*'|[^\s()]+)\s*(?:AND\b)?""")


def bad_request(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


@dataclass
class Source:
    """What a connection runs over: rows of `sql` (which ends in a where clause), in the order of two columns."""

    sql: str
    parameters: list[Any]
    sort: str
    key: str
    conditions: list[str] = field(default_factory=list)

    def narrow(self, condition: str, *parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters.extend(parameters)


def page_size(arguments: dict[str, Any]) -> int:
    """Raises GraphQLError unless exactly one of first and last is given, within the limits."""
    first, last = arguments.get("first"), arguments.get("last")
    if first is None and last is None:
        raise bad_request("you must provide one of first or last")
    if first is not None and last is not None:
        raise bad_request("providing both first and last is not supported")
    size = first if first is not None else last
    assert size is not None
    if size < 0:
        raise bad_request("first and last cannot be negative")
    if size > MAX_PAGE:
        raise bad_request(f"{'first' if first is not None else 'last'} cannot exceed {MAX_PAGE}")
    return int(size)


# Above what any object has of anything.
EVERYTHING = 2**31 - 2


def connection(
    store: Store, source: Source, arguments: dict[str, Any], view: Callable[[Row], Any], whole: bool = False
) -> dict[str, Any]:
    """One page as the vendor shapes it; the whole of it when nobody asks for a size and it may come whole."""
    is_sized = arguments.get("first") is not None or arguments.get("last") is not None
    size = EVERYTHING if whole and not is_sized else page_size(arguments)
    backwards = arguments.get("last") is not None
    after, before = arguments.get("after"), arguments.get("before")
    descending = bool(arguments.get("reverse"))
    pair = f"({source.sort}, {source.key})"
    depth = 0
    if after is not None:
        value, key, depth = _position(after, source.sort)
        source.narrow(f"{pair} {'<' if descending else '>'} (?, ?)", value, key)
    if before is not None:
        value, key, _ = _position(before, source.sort)
        source.narrow(f"{pair} {'>' if descending else '<'} (?, ?)", value, key)
    if not whole:
        size = min(size, max(0, MAX_DEPTH - depth))
    word = "desc" if descending != backwards else "asc"
    where = "".join(f" and {condition}" for condition in source.conditions)
    rows = store.all(
        f"select found.*, {source.sort} as sort_value, {source.key} as key_value from ({source.sql}) found"
        f" where true{where} order by {source.sort} {word}, {source.key} {word} limit ?",
        (*source.parameters, size + 1),
    )
    more, rows = len(rows) > size, rows[:size]
    if backwards:
        rows.reverse()
    if not whole and depth + len(rows) >= MAX_DEPTH:
        more = False
    return _shape(
        rows,
        source.sort,
        depth,
        view,
        has_next=before is not None if backwards else more,
        has_previous=more if backwards else after is not None,
    )


def _shape(
    rows: list[Row], sort: str, depth: int, view: Callable[[Row], Any], has_next: bool, has_previous: bool
) -> dict[str, Any]:
    cursors = [_cursor(row, sort, ordinal) for ordinal, row in enumerate(rows, depth + 1)]
    nodes = [view(row) for row in rows]
    return {
        "nodes": nodes,
        "edges": [{"cursor": cursor, "node": node} for cursor, node in zip(cursors, nodes, strict=True)],
        "pageInfo": {
            "hasNextPage": has_next,
            "hasPreviousPage": has_previous,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


def _cursor(row: Row, sort: str, ordinal: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([sort, row["sort_value"], row["key_value"], ordinal])).decode()


def _position(cursor: str, sort: str) -> tuple[Any, Any, int]:
    """Where a page begins, and how many objects were paged before it. A cursor belongs to the order it came from."""
    try:
        made_for, value, key, ordinal = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError):
        raise bad_request("the cursor is not valid") from None
    if not all(isinstance(part, (int, str)) for part in (value, key)) or not isinstance(ordinal, int):
        raise bad_request("the cursor is not valid")
    if made_for != sort:
        raise bad_request("Invalid cursor for current pagination sort.")
    return value, key, ordinal


def search(source: Source, query: str | None, columns: dict[str, str]) -> None:
    """Narrows the source by `name:value` terms; like the vendor, a name that is not searchable is passed over."""
    position, text = 0, query or ""
    while text[position:].strip():
        term = TERM.match(text, position)
        if term is None:
            raise bad_request(f"the search query cannot be read at {text[position:]!r}")
        position = term.end()
        column = columns.get(term["name"])
        if column is None:
            continue
        value: Any = term["value"].strip("\"'")
        if column.endswith("_at"):
            value = _instant(value)
        elif column in ("status", "type"):
            value = value.lower() if column == "type" else value.upper()
        elif column in ("id", "item_id"):
            value = int(value) if value.isascii() and value.isdigit() else -1
        source.narrow(f"{column} {term['op'] or '='} ?", value)


def _instant(text: str) -> str:
    try:
        return as_utc(text)
    except ValueError:
        raise bad_request(f"{text!r} is not a time") from None
