"""Opening a file as a table, whichever kind it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Literal

from core.tables import delimited, objects, workbooks
from core.tables.delimited import Dress
from core.tables.values import Limits, Progress, Row, Source, UnreadableFile, normalized, opened, size_of, whole

Kind = Literal["csv", "xlsx", "json"]


@dataclass(slots=True)
class TableFile:
    """A table that can be read any number of times. `dress` is that of a CSV; `progress` of the reading under way.

    `sheets` are the visible ones of a workbook, and `sheet` is the place of the one that is read.
    """

    name: str
    source: Source
    kind: Kind
    limits: Limits
    dress: Dress | None = None
    progress: Progress = field(default_factory=Progress)
    sheets: tuple[str, ...] = ()
    sheet: int = 0

    def rows(self) -> Iterator[Row]:
        """All rows from the first, also those before the heads; blank rows of a CSV too. Raises UnreadableFile."""
        if self.kind == "xlsx":
            return map(whole, workbooks.rows(self.name, self.source, self.limits, self.progress, self.sheet))
        if self.kind == "json":
            return map(whole, objects.rows(self.name, self.source, self.limits, self.progress))
        assert self.dress
        rows = delimited.rows(self.name, self.source, self.dress, self.progress)
        return map(partial(whole, has_bytes=True), rows)


BEGINNING = 20
"""Rows among which the one that names the columns is looked for."""
HEADS_SURE = 2
"""So many known columns make a row the one that names them: a title above a table names none, or one by chance."""
_HEAD_MAX = 200


def open_table(name: str, source: Source, known_heads: Collection[str] = (), limits: Limits | None = None) -> TableFile:
    """What kind of table it is, by its content alone. Raises UnreadableFile.

    `known_heads`, normalized, tell which separator a CSV uses, and which sheet of a workbook has the table.
    """
    limits = limits or Limits()
    size = size_of(source)
    if not size:
        raise UnreadableFile(f"{name} is empty: nothing was uploaded")
    if size > limits.bytes_max:
        raise UnreadableFile(
            f"{name} has {size / 1e6:.1f} MB; at most {limits.bytes_max / 1e6:.0f} MB are read at a time: split it"
        )
    with opened(source) as file:
        start = file.read(8)
    if start[:4] == b"PK\x03\x04":
        return _workbook(name, source, known_heads, limits)
    if start[:4] == b"\xd0\xcf\x11\xe0":
        raise UnreadableFile(f"{name} is an old Excel file: save it as .xlsx or CSV")
    if start[:4] == b"%PDF":
        raise UnreadableFile(f"{name} is a PDF: ask for the table as CSV or .xlsx")
    if objects.looks_like(source):
        return TableFile(name, source, "json", limits)
    return TableFile(name, source, "csv", limits, delimited.dress(name, source, known_heads, limits))


def _workbook(name: str, source: Source, known_heads: Collection[str], limits: Limits) -> TableFile:
    """Its first visible sheet, or, where that names no column that is known, the first that does."""
    sheets = tuple(workbooks.sheets(name, source, limits))
    tables = [TableFile(name, source, "xlsx", limits, sheets=sheets, sheet=at) for at in range(max(len(sheets), 1))]
    if len(sheets) < 2:
        return tables[0]
    if _names_columns(tables[0], known_heads):
        return tables[0]
    for table in tables[1:]:
        # One that cannot be read has nothing that is looked for: notes, or a chart's numbers.
        with suppress(UnreadableFile):
            if _names_columns(table, known_heads):
                return table
    return tables[0]


def _names_columns(table: TableFile, known_heads: Collection[str]) -> bool:
    return any(heads_in(row.cells, known_heads) >= HEADS_SURE for row in islice(table.rows(), BEGINNING))


def heads_in(cells: Iterable[str], known_heads: Collection[str]) -> int:
    """How many known columns a row names."""
    return len({normalized(cell) for cell in cells if len(cell) <= _HEAD_MAX} & set(known_heads))
