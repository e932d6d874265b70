"""Reading a table out of a CSV or XLSX file, without guessing: what cannot be read is refused with a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from core.tables.reading import open_table
from core.tables.values import Limits, Oddity, Row, UnreadableFile, normalized

__all__ = ["BYTES_MAX", "EMPTY", "ROWS_MAX", "Cell", "Sheet", "UnreadableFile", "normalized", "read"]

BYTES_MAX = 5_000_000
ROWS_MAX = 5_000
COLUMNS_MAX = 200
_UNPACKED_MAX = 60_000_000
_ENTRIES_MAX = 500
_TEXT_MAX = 500
"""Of one cell: a code, a number or a reason."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell as text. `problem` says why its content cannot be taken as it is."""

    text: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its heads as written, and its rows with their number in the file (the heads are row 1, mostly).

    `broken` are rows that cannot be told apart into cells, with why; only for who asked for the rest of the table too.
    """

    heads: Sequence[str]
    rows: Sequence[tuple[int, Sequence[Cell]]]
    blank_rows: int
    broken: Sequence[tuple[int, str]] = ()


EMPTY = Cell("")


def read(
    name: str,
    data: bytes,
    known_heads: Collection[str],
    *,
    bytes_max: int = BYTES_MAX,
    rows_max: int = ROWS_MAX,
    past_broken: bool = False,
) -> Sheet:
    """The table in a file. `known_heads`, normalized, tell which separator a CSV uses. Raises UnreadableFile.

    `past_broken`: rows of a CSV that cannot be told apart into cells are named in `Sheet.broken`, and it is read on.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableFile(f"{name} is UTF-16 text: save it as “CSV UTF-8” or as .xlsx")
    limits = Limits(bytes_max, _UNPACKED_MAX, COLUMNS_MAX, _ENTRIES_MAX)
    table = open_table(name, data, known_heads, limits)
    if table.kind == "json":
        raise UnreadableFile(f"{name} is JSON: save the table as CSV or .xlsx")
    broken: list[tuple[int, str]] = []
    rows = _cells_of(name, table.rows(), broken if past_broken else None)
    return replace(_shaped(name, rows, rows_max), broken=broken)


def _cells_of(
    name: str, rows: Iterator[Row], broken: list[tuple[int, str]] | None
) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Rows below the heads that are broken go to `broken`, where there is such a list."""
    has_heads, last, swallowed_to = False, 0, 0
    for row in rows:
        # A sheet leaves out rows that were never filled in.
        yield from ((number, ()) for number in range(last + 1, row.number))
        last = row.number
        if not row.broken:
            cells = [_cell(text, row.odd.get(place)) for place, text in enumerate(row.cells)]
            has_heads = has_heads or any(cell.text for cell in cells)
            yield row.number, cells
        elif broken is None or not has_heads:
            raise UnreadableFile(f"{name}, row {row.number}: {row.broken}")
        elif row.number > swallowed_to:
            # What a stray quotation mark makes of the rows below it is told once.
            swallowed_to = row.number + row.swallowed
            broken.append((row.number, row.broken))


def _cell(text: str, oddity: Oddity | None) -> Cell:
    if oddity:
        return Cell(text[:40], oddity)
    text = text.strip().replace("\u00a0", " ")
    if len(text) > _TEXT_MAX:
        return Cell(text[:20] + "…", f"has {len(text):,} characters: is a quotation mark missing above it?")
    if text[:1] in ("=", "@") and len(text) > 1:
        return Cell(text, "is a formula: replace it by its value")
    return Cell(text)


def _shaped(name: str, rows: Iterator[tuple[int, Sequence[Cell]]], rows_max: int) -> Sheet:
    """Heads and rows; blank rows are left out and counted, also those before the heads."""
    heads: list[str] = []
    kept: list[tuple[int, Sequence[Cell]]] = []
    blank = 0
    for number, cells in rows:
        if not any(cell.text or cell.problem for cell in cells):
            blank += 1
        elif not heads:
            heads = [cell.text for cell in cells]
            if len(heads) > COLUMNS_MAX:
                raise UnreadableFile(f"{name} has {len(heads):,} columns; at most {COLUMNS_MAX} are read")
        else:
            kept.append((number, cells))
        if len(kept) > rows_max:
            raise UnreadableFile(f"{name} has more than {rows_max:,} rows: split it into files of {rows_max:,}")
        if blank > 20 * rows_max:
            raise UnreadableFile(f"{name} is nearly all blank rows: delete them")
    if not heads:
        raise UnreadableFile(f"{name} has no table: the first row names the columns, such as SKU and units")
    if not kept:
        raise UnreadableFile(f"{name} names its columns and has no row below them")
    return Sheet(heads, kept, blank)
