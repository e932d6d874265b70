"""Opening a file as a table, whichever kind it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from core.tables import delimited, objects, workbooks
from core.tables.delimited import Dress
from core.tables.values import Limits, Progress, Row, Source, UnreadableFile, opened, size_of, whole

Kind = Literal["csv", "xlsx", "json"]


@dataclass(slots=True)
class TableFile:
    """A table that can be read any number of times. `dress` is that of a CSV; `progress` of the reading under way."""

    name: str
    source: Source
    kind: Kind
    limits: Limits
    dress: Dress | None = None
    progress: Progress = field(default_factory=Progress)

    def rows(self) -> Iterator[Row]:
        """All rows from the first, also those before the heads; blank rows of a CSV too. Raises UnreadableFile."""
        if self.kind == "xlsx":
            return map(whole, workbooks.rows(self.name, self.source, self.limits, self.progress))
        if self.kind == "json":
            return map(whole, objects.rows(self.name, self.source, self.limits, self.progress))
        assert self.dress
        rows = delimited.rows(self.name, self.source, self.dress, self.progress)
        return map(partial(whole, has_bytes=True), rows)


def open_table(name: str, source: Source, known_heads: Collection[str] = (), limits: Limits | None = None) -> TableFile:
    """What kind of table it is, by its content alone. Raises UnreadableFile.

    `known_heads`, normalized, tell which separator a CSV uses.
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
        return TableFile(name, source, "xlsx", limits)
    if start[:4] == b"\xd0\xcf\x11\xe0":
        raise UnreadableFile(f"{name} is an old Excel file: save it as .xlsx or CSV")
    if start[:4] == b"%PDF":
        raise UnreadableFile(f"{name} is a PDF: ask for the table as CSV or .xlsx")
    if objects.looks_like(source):
        return TableFile(name, source, "json", limits)
    return TableFile(name, source, "csv", limits, delimited.dress(name, source, known_heads, limits))
