"""A JSON list of objects as a table: a key is a column. Read one object at a time, first for the keys, then as rows."""

from __future__ import annotations

import codecs
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

from core.tables.delimited import unpacked
from core.tables.values import Limits, Progress, Row, Source, UnreadableFile, size_of

_CHUNK = 1 << 16
_OBJECT_MAX = 4_000_000
"""Characters of one object."""
_SPACE = " \t\r\n"


class _Number(str):
    """A number with decimals as it is written."""


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=str, parse_constant=str)
"""Numbers stay as they are written: a barcode keeps its digits, a price its decimals."""


def looks_like(source: Source) -> bool:
    """Whether it begins as a list or an object does."""
    try:
        with unpacked(source) as file:
            start = file.read(256).removeprefix(codecs.BOM_UTF8).lstrip()
    except (EOFError, OSError, zlib.error):
        return False
    return start[:1] in (b"[", b"{") and start[1:].lstrip()[:1] in (b"{", b'"', b"[", b"]", b"")


def rows(name: str, source: Source, limits: Limits, progress: Progress) -> Iterator[Row]:
    """The keys as the heads in row 1, then each object by its place in the list (the first is row 2).

    A list of objects that have names is a path of them, such as a category. Raises UnreadableFile.
    """
    heads: dict[str, None] = {}
    for found in _objects(name, source, limits, Progress()):
        heads.update(dict.fromkeys(found))
        if len(heads) > limits.columns_max:
            raise UnreadableFile(f"{name} has more than {limits.columns_max:,} different keys: it is no table")
    yield Row(1, list(heads))
    for number, found in enumerate(_objects(name, source, limits, progress), start=2):
        pointed = [place for place, head in enumerate(heads) if _is_pointed(found.get(head))]
        yield Row(number, [_cell(found.get(head)) for head in heads], pointed=pointed)


def _is_pointed(value: Any) -> bool:
    return isinstance(value, _Number) and value[-4:-3] == "."


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and value and all(isinstance(part, dict) and "name" in part for part in value):
        return " > ".join(_cell(part["name"]) for part in value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _objects(name: str, source: Source, limits: Limits, progress: Progress) -> Iterator[dict[str, Any]]:
    progress.total = size_of(source)
    try:
        with unpacked(source) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
            yield from _listed(name, text, limits, progress)
    except UnicodeDecodeError:
        raise UnreadableFile(f"{name} is not UTF-8: save it as UTF-8, or as CSV") from None
    except (EOFError, OSError, zlib.error):
        raise UnreadableFile(f"{name} is packed and damaged: pack it again, or upload it unpacked") from None
    progress.done = progress.total


def _listed(name: str, text: io.TextIOWrapper, limits: Limits, progress: Progress) -> Iterator[dict[str, Any]]:
    rest, size, is_first, is_end = "", 0, True, False
    while True:
        rest = rest.lstrip(_SPACE + ("[" if is_first else ","))
        if rest.startswith("]"):
            return
        try:
            found, end = _DECODER.raw_decode(rest) if rest else (None, 0)
        except (ValueError, RecursionError):
            end = 0
        if not end:
            if is_end or len(rest) > _OBJECT_MAX:
                raise UnreadableFile(f"{name} is no whole JSON list: export it again, or upload the products as CSV")
            more = text.read(_CHUNK)
            size += len(more)
            is_end = not more
            if size > limits.unpacked_max:
                raise UnreadableFile(f"{name} unpacks to more than {limits.unpacked_max / 1e6:,.0f} MB: split it")
            rest += more
            continue
        if not isinstance(found, dict):
            raise UnreadableFile(f"{name} is no list of objects with a key for each column: upload the products as CSV")
        is_first = False
        progress.done = min(progress.total, size)
        yield found
        rest = rest[end:]
