"""Rows put aside on disk, so that a product's rows come together however far apart they are and memory stays flat."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple

from core.catalog import barcodes
from core.catalog.barcodes import BadBarcode
from core.tables.values import Oddity

_BETWEEN = "\x1f"
_AS_JSON = b"\x1e"


class Kept(NamedTuple):
    """A row put aside. `key` groups rows to products; `code` and `barcode` (see `compared`) are looked for twice."""

    number: int
    key: str
    code: str | None
    barcode: str | None
    cells: Sequence[str]
    odd: dict[int, Oddity]
    broken: str


def compared(barcode: str) -> str | None:
    """A barcode as it is compared with those of other rows: its 14 digits, else, marked as none, the word."""
    if not barcode:
        return None
    # Not by gtin_of: what it remembers of a file in which each barcode is another is of no use.
    try:
        found = barcodes.read(barcode)
    except BadBarcode:
        return f"?{barcode}"
    return found.gtin if found.is_shared else f"?{barcode}"


class Twin(NamedTuple):
    """Another row with the same code or barcode, and in how many rows it is in all."""

    row: int
    rows: int


class Spool:
    """A temporary SQLite file: gone when it is closed, or when the process ends, however it ends."""

    def __init__(self) -> None:
        descriptor, path = tempfile.mkstemp(prefix="switchyard-", suffix=".rows")
        os.close(descriptor)
        self._conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # It outlives nothing: what a crash leaves half written nobody reads.
        self._conn.executescript(
            """
            pragma journal_mode = off;
            pragma synchronous = off;
            pragma cache_size = -8000;
            create table rows (number integer primary key, key text not null, code text, barcode text,
                               cells blob not null, odd text, broken text not null);
            create table aliases (alias text primary key, key text not null) without rowid;
            create table made (code text primary key, number integer not null) without rowid;
            create table handles (handle text primary key, number integer not null) without rowid;
            begin;
            """
        )
        # It is open by now, and needs its name no more.
        os.unlink(path)
        self.rows = 0
        self.has_twins = False

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._conn.close()

    def add(self, rows: Iterable[Kept]) -> None:
        """Puts rows aside; goes by as they come."""
        self._conn.executemany(
            "insert into rows values (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.number,
                    _text(row.key),
                    _text(row.code),
                    _text(row.barcode),
                    packed(row.cells),
                    json.dumps(row.odd) if row.odd else None,
                    row.broken,
                )
                for row in rows
            ),
        )

    def alias(self, alias: str, key: str) -> None:
        """Rows with the key `alias` are rows of `key`; the first that says so is believed."""
        self._conn.execute("insert or ignore into aliases values (?, ?)", (_text(alias), _text(key)))

    def arrange(self) -> None:
        """When all rows are there: finds each product's rows, and what is twice in the file."""
        self._conn.executescript(
            """
            update rows set key = (select a.key from aliases a where a.alias = rows.key)
            where key in (select alias from aliases);
            create index by_key on rows (key, number);
            create table products (first integer primary key, key text not null);
            insert into products select min(number), key from rows group by key;
            create index by_code on rows (code) where code is not null;
            create table twins (kind text, word text, first integer, last integer, rows integer,
                                primary key (kind, word)) without rowid;
            insert into twins select 'code', code, min(number), max(number), count(*) from rows
            where code is not null group by code having count(*) > 1;
            insert into twins select 'barcode', barcode, min(number), max(number), count(*) from rows
            where barcode is not null group by barcode having count(*) > 1;
            """
        )
        (self.rows,) = self._conn.execute("select count(*) from rows").fetchone()
        (self.has_twins,) = self._conn.execute("select exists (select 1 from twins)").fetchone()

    def largest(self) -> tuple[str, int]:
        """The key that most rows have, and how many have it; nothing of nothing where there is no row."""
        found = self._conn.execute(
            "select key, count(*) from rows group by key order by count(*) desc, key limit 1"
        ).fetchone()
        return found or ("", 0)

    def products(self, after_row: int = 0) -> Iterator[list[Kept]]:
        """Each product's rows in the order of the file, products by their first; those after a row alone."""
        rows = self._conn.execute(
            """
            select p.first, r.number, r.key, r.code, r.barcode, r.cells, r.odd, r.broken
            from products p cross join rows r on r.key = p.key
            where p.first > ?
            order by p.first, r.number
            """,
            (after_row,),
        )
        current, together = 0, list[Kept]()
        for first, number, key, code, barcode, cells, odd, broken in rows:
            if first != current and together:
                yield together
                together = []
            current = first
            oddities = {int(place): Oddity(why) for place, why in json.loads(odd).items()} if odd else {}
            together.append(Kept(number, key, code, barcode, unpacked(cells), oddities, broken))
        if together:
            yield together

    def twin(self, kind: str, word: str, number: int) -> Twin | None:
        """Another row with the same word, if there is one."""
        found = self._conn.execute(
            "select first, last, rows from twins where kind = ? and word = ?", (kind, _text(word))
        ).fetchone()
        if not found:
            return None
        first, last, rows = found
        return Twin(last if first == number else first, rows)

    def claim(self, code: str, number: int) -> int | None:
        """Takes a code that was made for a row; the row that has it already, if one has."""
        word = _text(code)
        taken = self._conn.execute("select min(number) from rows where code = ?", (word,)).fetchone()[0]
        if taken is None:
            self._conn.execute("insert or ignore into made values (?, ?)", (word, number))
            taken = self._conn.execute("select number from made where code = ?", (word,)).fetchone()[0]
        return None if taken == number else taken

    def claim_handle(self, handle: str, number: int) -> int | None:
        """Takes a handle for the product that begins at a row; the row whose product has it already, if one has."""
        word = _text(handle.casefold())
        self._conn.execute("insert or ignore into handles values (?, ?)", (word, number))
        taken: int = self._conn.execute("select number from handles where handle = ?", (word,)).fetchone()[0]
        return None if taken == number else taken


def packed(cells: Sequence[str]) -> bytes:
    """Cells as one piece of bytes."""
    joined = _BETWEEN.join(cells)
    if not cells or joined.count(_BETWEEN) != len(cells) - 1 or joined.startswith("\x1e"):
        return _AS_JSON + json.dumps(list(cells)).encode()
    return joined.encode("utf-8", "surrogatepass")


def unpacked(data: bytes) -> list[str]:
    """The cells again."""
    if data[:1] == _AS_JSON:
        cells: list[str] = json.loads(data[1:])
        return cells
    return data.decode("utf-8", "surrogatepass").split(_BETWEEN)


def _text(word: str | None) -> str | None:
    # Half a character (a lone surrogate) is no text to SQLite.
    return word if word is None or word.isascii() else word.encode("utf-8", "replace").decode()
