"""What tables in files are made of, and how large they may be."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, NamedTuple

from core.errors import BadInput

Source = Path | bytes
"""A file on disk, or a small one in memory."""


_BYTE = re.compile("[\udc80-\udcff]")
"""Bytes that could not be decoded, as Python's surrogateescape keeps them."""


class UnreadableFile(BadInput):
    """The file as a whole is not a table that can be read."""


class Oddity(StrEnum):
    """Why the content of a cell cannot be taken as it is, as the end of a sentence about it."""

    FORMULA = "is a formula: copy the column and paste it as values"
    ERROR = "is an error of the spreadsheet: put the value there"
    BOOLEAN = "is true or false: write what is meant"
    DATE = "is a date or a time: format the cell as text and write it again"
    GARBLED = "has letters in another encoding than the file, which is UTF-8: write it again"
    UNKEPT = "has a character that no text can have (a zero byte or half a letter): write it again"
    INEXACT = "is a number too long for a spreadsheet to keep exactly: format the column as text and write it again"


class Row(NamedTuple):
    """A row by its number in the file, counted from 1; cells as written, nothing stripped. A zero byte or half a
    letter (a lone surrogate), which no database keeps, is left out, and its cell is odd.

    `odd` are the cells, by their place from 0, that are no plain text or number. `broken` says why a row cannot be told
    apart into cells; its only cell is then its first line, and `swallowed` the number of lines below that it took for
    its own. Those are given out as rows again.
    `pointed` are the cells that are stored as numbers with three decimals, of which the text alone does not tell
    whether its point parts thousands.
    """

    number: int
    cells: Sequence[str]
    odd: Mapping[int, Oddity] = {}
    broken: str = ""
    swallowed: int = 0
    pointed: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read. `unpacked_max` is of what a packed file (.xlsx, .gz) holds, in bytes."""

    bytes_max: int = 500_000_000
    unpacked_max: int = 3_000_000_000
    columns_max: int = 1_000
    entries_max: int = 500


@dataclass(slots=True)
class Progress:
    """How far a file is read, in bytes as the file is packed or unpacked: for a bar, not for counting."""

    done: int = 0
    total: int = 0


def normalized(head: str) -> str:
    """A head as it is compared: lower case, words separated by one space."""
    return " ".join(re.findall(r"[^\W_]+", head.casefold()))


def storable(text: str) -> str:
    """A text as a database keeps it: without zero bytes, and with a mark for each lone half of a letter."""
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole(row: Row, *, has_bytes: bool = False) -> Row:
    """The row with cells that a database keeps. `has_bytes`: lone surrogates are bytes that were no UTF-8; they become
    the letters that they are in Windows text."""
    if _is_storable("".join(row.cells)):
        return row
    cells, odd = list(row.cells), dict(row.odd)
    for place, cell in enumerate(cells):
        if _is_storable(cell):
            continue
        lettered = _BYTE.sub(_windows_letter, cell) if has_bytes else cell
        cells[place] = storable(lettered)
        if lettered != cell:
            odd[place] = Oddity.GARBLED
        elif "\0" in cell or cells[place].count("\ufffd") > cell.count("\ufffd"):
            odd[place] = Oddity.UNKEPT
    return row._replace(cells=cells, odd=odd)


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _windows_letter(found: re.Match[str]) -> str:
    return bytes([ord(found.group()) - 0xDC00]).decode("cp1252", "replace")


def opened(source: Source) -> IO[bytes]:
    """The bytes of a source from its beginning; the caller closes it."""
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def size_of(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
