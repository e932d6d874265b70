"""What tables in files are made of, and how large they may be."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, NamedTuple

from core.errors import BadInput

Source = Path | bytes
"""A file on disk, or a small one in memory."""


class UnreadableFile(BadInput):
    """The file as a whole is not a table that can be read."""


class Oddity(StrEnum):
    """Why the content of a spreadsheet's cell cannot be taken as it is, as the end of a sentence about it."""

    FORMULA = "is a formula: copy the column and paste it as values"
    ERROR = "is an error of the spreadsheet: put the value there"
    BOOLEAN = "is true or false: write what is meant"
    DATE = "is a date or a time: format the cell as text and write it again"
    INEXACT = "is a number too long for a spreadsheet to keep exactly: format the column as text and write it again"


class Row(NamedTuple):
    """A row by its number in the file, counted from 1; cells as written, nothing stripped.

    `odd` are the cells, by their place from 0, that are no plain text or number. `broken` says why a row cannot be told
    apart into cells; its only cell is then its first line, and `swallowed` the number of lines below that it took for
    its own. Those are given out as rows again.
    """

    number: int
    cells: Sequence[str]
    odd: Mapping[int, Oddity] = {}
    broken: str = ""
    swallowed: int = 0


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


def opened(source: Source) -> IO[bytes]:
    """The bytes of a source from its beginning; the caller closes it."""
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def size_of(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
