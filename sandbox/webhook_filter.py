"""The filter of a webhook subscription: `field:value` terms over the body, joined by AND, OR and NOT."""

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

TERM = re.compile(r"""(?P<path>[A-Za-z_][\w.]*):(?P<op>>=|<=|>|<|)(?P<value>"[^"]*"|'[^']*'|[^\s()<>][^\s()]*)""")
TOKEN = re.compile(rf"\s*(?:(?P<join>AND\b|OR\b|NOT\b|-(?=\w)|\(|\))|(?P<term>{TERM.pattern}))")


class BadFilter(ValueError):
    """The filter cannot be read."""


def matches(text: str | None, body: dict[str, Any]) -> bool:
    return text is None or not text.strip() or _Reader(tokens(text), body).whole()


@lru_cache(maxsize=256)
def tokens(text: str) -> tuple[str, ...]:
    """Raises BadFilter at the first thing that is neither a term nor a joining word."""
    found, position = [], 0
    while text[position:].strip():
        match = TOKEN.match(text, position)
        if match is None:
            raise BadFilter(f"Cannot read the filter at {text[position:]!r}.")
        found.append(match.group("join") or match.group("term"))
        position = match.end()
    return tuple(found)


def check(text: str) -> None:
    """Raises BadFilter."""
    if text.strip():
        _Reader(tokens(text), {}).whole()


class _Reader:
    """Recursive descent; OR binds weakest, then AND (also unwritten), then NOT."""

    def __init__(self, found: tuple[str, ...], body: dict[str, Any]) -> None:
        self._found = found
        self._at = 0
        self._body = body

    def whole(self) -> bool:
        value = self._either()
        if self._peek() is not None:
            raise BadFilter(f"Unexpected {self._peek()!r} in the filter.")
        return value

    def _peek(self) -> str | None:
        return self._found[self._at] if self._at < len(self._found) else None

    def _either(self) -> bool:
        value = self._both()
        while self._peek() == "OR":
            self._at += 1
            right = self._both()
            value = value or right
        return value

    def _both(self) -> bool:
        value = self._single()
        while self._peek() not in (None, "OR", ")"):
            if self._peek() == "AND":
                self._at += 1
            right = self._single()
            value = value and right
        return value

    def _single(self) -> bool:
        token = self._peek()
        if token is None or token in ("AND", "OR", ")"):
            raise BadFilter("The filter ends or joins where a term should stand.")
        self._at += 1
        if token in ("NOT", "-"):
            return not self._single()
        if token == "(":
            value = self._either()
            if self._peek() != ")":
                raise BadFilter("A bracket of the filter is not closed.")
            self._at += 1
            return value
        return _term_holds(token, self._body)


def _term_holds(term: str, body: dict[str, Any]) -> bool:
    match = TERM.fullmatch(term)
    assert match is not None
    wanted = match["value"].strip("\"'")
    return any(_compare(found, match["op"], wanted) for found in _values(body, match["path"].split(".")))


def _values(value: Any, path: list[str]) -> list[Any]:
    """Everything the path reaches; a list anywhere on the way means any of its entries."""
    if isinstance(value, list):
        return [found for entry in value for found in _values(entry, path)]
    if not path:
        return [value]
    return _values(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def _compare(found: Any, op: str, wanted: str) -> bool:
    if found is None:
        return op == "" and wanted in ("null", "")
    if wanted == "*" and op == "":
        return True
    text = str(found).lower() if isinstance(found, bool) else str(found)
    try:
        left, right = Decimal(text), Decimal(wanted)
    except InvalidOperation:
        return _ordered(text, op, wanted)
    return _ordered(left, op, right)


def _ordered(left: Any, op: str, right: Any) -> bool:
    if op == "":
        return bool(left == right)
    if op[0] == ">":
        return bool(left > right or (op == ">=" and left == right))
    return bool(left < right or (op == "<=" and left == right))
