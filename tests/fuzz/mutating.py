"""Bodies that almost are what a channel sends: real ones, with something wrong in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

CANARY = "canary-7f3a9"
"""Stands in every name, address and mail that is written into a body: it may be told of in no cause."""

_TEXTS = (
    "",
    " ",
    "null",
    "0",
    "-1",
    "1e400",
    "NaN",
    "١٢٣",
    "\u0000",
    "a\u0000b",
    "\ud800",
    "\u202e\ufeff",
    "𝕏" * 50,
    "x" * 70_000,
    "'; drop table orders; --",
    "{{7*7}}",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    f"{CANARY}@example.com",
    f"Mrs {CANARY}",
    "gid://shopify/Order/1",
    "2011-02-29T12:00:00Z",
    "2016-12-31T23:59:60Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "10000-01-01T00:00:00Z",
    "2024-03-31T02:30:00",
    "12:00",
    "USD",
    "XXX",
    "£",
)
_LARGE = (10_000_000, 1_000_000_000, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, 10**30, 10**400)
_NUMBERS: tuple[Any, ...] = (0, -1, 1, 0.1, -0.0, 1.5, 1e308, 99_999_999_999, *_LARGE)
_MONEY = ("19.99", "19.999", "-5", "1,5", "1.000,00", "1e3", "Infinity", " 3.00 ", "0x10", "99999999999999999999.99")
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {}}, [1, 2, 3])

Path = tuple[Any, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every part of a JSON value, itself included."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in parts:
        yield from places(part, (*path, step))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _something(chosen: Random) -> Any:
    kind = chosen.random()
    if kind < 0.4:
        return chosen.choice(_TEXTS)
    if kind < 0.7:
        return chosen.choice(_NUMBERS)
    return chosen.choice(_MONEY) if kind < 0.85 else chosen.choice(_OTHERS)


def _replace(value: Any, chosen: Random) -> Any:
    path = chosen.choice(list(places(value)))
    if not path:
        return _something(chosen)
    _at(value, path[:-1])[path[-1]] = _something(chosen)
    return value


def _drop(value: Any, chosen: Random) -> Any:
    paths = [path for path in places(value) if path]
    if paths:
        path = chosen.choice(paths)
        del _at(value, path[:-1])[path[-1]]
    return value


def _double(value: Any, chosen: Random) -> Any:
    lists = [path for path in places(value) if isinstance(found := _at(value, path), list) and found]
    if lists:
        found = _at(value, chosen.choice(lists))
        found.extend(json.loads(json.dumps(found[: chosen.choice((1, 1, 1, 300))])))
    return value


def _exchange(value: Any, chosen: Random) -> Any:
    paths = [path for path in places(value) if path]
    if len(paths) > 1:
        one, other = chosen.choice(paths), chosen.choice(paths)
        if one != other[: len(one)] and other != one[: len(other)]:
            first, second = _at(value, one), _at(value, other)
            _at(value, one[:-1])[one[-1]] = second
            _at(value, other[:-1])[other[-1]] = first
    return value


def _wrap(value: Any, chosen: Random) -> Any:
    paths = [path for path in places(value) if path]
    if paths:
        path = chosen.choice(paths)
        parent, step = _at(value, path[:-1]), path[-1]
        parent[step] = [parent[step]] if chosen.random() < 0.5 else {"node": parent[step]}
    return value


_WAYS: Sequence[Callable[[Any, Random], Any]] = (_replace, _replace, _replace, _drop, _drop, _double, _exchange, _wrap)


def _bytes(body: bytes, chosen: Random) -> bytes:
    """Something wrong with the text itself, and not with what it says."""
    kind, at = chosen.randrange(7), chosen.randrange(max(1, len(body)))
    return (
        body[:at],
        b"",
        body + body,
        body[:at] + bytes([chosen.randrange(256)]) + body[at:],
        b"\xef\xbb\xbf" + body,
        b"[" * 50_000,
        body.replace(b":", b": NaN, ", 1),
    )[kind]


def mutated(body: bytes, chosen: Random) -> bytes:
    """The body with one to three things wrong in it; one in ten is spoilt as text."""
    if chosen.random() < 0.1:
        return _bytes(body, chosen)
    value = json.loads(body)
    for _ in range(chosen.choice((1, 1, 1, 2, 3))):
        value = chosen.choice(_WAYS)(value, chosen)
    # Lone surrogates and numbers of any size are written as they are: a sender may.
    return json.dumps(value, ensure_ascii=chosen.random() < 0.5).encode(errors="surrogatepass")
