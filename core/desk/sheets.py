"""Reading a table out of a CSV or XLSX file, without guessing: what cannot be read is refused with a sentence."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import BadInput

BYTES_MAX = 5_000_000
ROWS_MAX = 5_000
COLUMNS_MAX = 200
_UNPACKED_MAX = 60_000_000
_ENTRIES_MAX = 500
_TEXT_MAX = 500
"""Of one cell: a code, a number or a reason."""


class UnreadableFile(BadInput):
    """The file as a whole is not a table that can be read."""


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
    if not data:
        raise UnreadableFile(f"{name} is empty: nothing was uploaded")
    if len(data) > bytes_max:
        raise UnreadableFile(
            f"{name} has {len(data) / 1e6:.1f} MB; at most {bytes_max / 1e6:.0f} MB are read at a time: split it"
        )
    if data[:4] == b"PK\x03\x04":
        return _shaped(name, _xlsx_rows(name, data), rows_max)
    if data[:4] == b"\xd0\xcf\x11\xe0":
        raise UnreadableFile(f"{name} is an old Excel file: save it as .xlsx or CSV")
    if data[:4] == b"%PDF":
        raise UnreadableFile(f"{name} is a PDF: ask for the table as CSV or .xlsx")
    broken: list[tuple[int, str]] = []
    sheet = _shaped(name, _csv_rows(name, data, known_heads, broken if past_broken else None), rows_max)
    return replace(sheet, broken=broken)


def normalized(head: str) -> str:
    """A head as it is compared: lower case, words separated by one space."""
    return " ".join(re.findall(r"[^\W_]+", head.casefold()))


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


# --- CSV ---------------------------------------------------------------------------------------------------------


def _csv_rows(
    name: str, data: bytes, known_heads: Collection[str], broken: list[tuple[int, str]] | None
) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Rows below the heads that are broken go to `broken`, where there is such a list."""
    text = _decoded(name, data)
    first, _, rest = text.partition("\n")
    number = 0
    named = re.fullmatch(r'"?sep=(.)"?', first.strip(), re.IGNORECASE)
    if named:
        # Excel's own way of naming the separator.
        text, number = rest, 1
        if named.group(1) not in _SEPARATORS:
            raise UnreadableFile(f"{name}: “{first.strip()}” names no separator: use a comma, a semicolon or a tab")
    separator = named.group(1) if named else _separator(name, text, known_heads)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    has_heads = False
    while True:
        lines_before = rows.line_num
        try:
            cells = next(rows, None)
        except csv.Error as error:
            if broken is None or not has_heads:
                raise UnreadableFile(f"{name}, row {number + 1}: {_why_broken(error)}") from None
            broken.append((number + 1, _why_broken(error)))
            # What a stray quotation mark swallowed were rows of their own.
            number += rows.line_num - lines_before
            continue
        if cells is None:
            return
        number += 1
        has_heads = has_heads or any(cell.strip() for cell in cells)
        yield number, [_text_cell(cell) for cell in cells]


def _why_broken(error: csv.Error) -> str:
    if "field limit" in str(error):
        return (
            f"there is a cell of more than {csv.field_size_limit():,} characters: is a quotation mark missing above it?"
        )
    if "unexpected end" in str(error):
        return f"a quotation mark is not closed, so that nothing below can be read ({error})"
    return f"a quotation mark is not closed or stands in the middle of a cell ({error})"


_SEPARATORS = (",", ";", "\t", "|")


def _decoded(name: str, data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableFile(f"{name} is UTF-16 text: save it as “CSV UTF-8” or as .xlsx")
    if b"\0" in data:
        raise UnreadableFile(f"{name} is neither CSV nor .xlsx")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnreadableFile(f"{name} is neither UTF-8 nor Windows text: save it as “CSV UTF-8”")


def _separator(name: str, text: str, known_heads: Collection[str]) -> str:
    """The separator by which the first row names most columns that we know; then the one that makes most cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")

    def fit(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([first], delimiter=separator), [])
        return len({normalized(cell) for cell in cells} & set(known_heads)), len(cells)

    try:
        return max((",", ";", "\t"), key=fit)
    except csv.Error as error:
        raise UnreadableFile(f"{name}, row 1: {_why_broken(error)}") from None


def _text_cell(text: str) -> Cell:
    text = text.strip().replace("\u00a0", " ")
    if len(text) > _TEXT_MAX:
        return Cell(text[:20] + "…", f"has {len(text):,} characters: is a quotation mark missing above it?")
    if text[:1] in ("=", "@") and len(text) > 1:
        return Cell(text, "is a formula: replace it by its value")
    return Cell(text)


# --- XLSX --------------------------------------------------------------------------------------------------------


def _xlsx_rows(name: str, data: bytes) -> Iterator[tuple[int, Sequence[Cell]]]:
    # A fifth of a second for the one reader that needs it: most processes never see a spreadsheet.
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            entries = packed.infolist()
            is_bomb = len(entries) > _ENTRIES_MAX or sum(entry.file_size for entry in entries) > _UNPACKED_MAX
        if is_bomb:
            raise UnreadableFile(f"{name} unpacks to more than is read at a time: split it, or save it as CSV")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
    except UnreadableFile:
        raise
    except Exception:  # noqa: BLE001 (damaged, encrypted, packed in another way: the readers raise what they like)
        raise UnreadableFile(
            f"{name} is not a readable .xlsx file: open it, save it again, or save it as CSV"
        ) from None
    with_content = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    if not with_content:
        raise UnreadableFile(f"{name} has no visible sheet")
    sheet = with_content[0]
    # The stored size of a sheet may be a lie; what counts is what is there.
    sheet.reset_dimensions()
    try:
        for number, row in enumerate(sheet.iter_rows(), start=1):
            yield number, [_xlsx_cell(cell) for cell in row[: COLUMNS_MAX + 1]]
    except Exception:  # noqa: BLE001 (as above: what is damaged may show only now)
        raise UnreadableFile(f"{name} is damaged: open it, save it again, or save it as CSV") from None
    finally:
        book.close()


def _xlsx_cell(cell: Any) -> Cell:
    value = cell.value
    if value is None:
        return EMPTY
    if cell.data_type == "f":
        return Cell(str(value)[:40], "is a formula: copy the column and paste it as values")
    if cell.data_type == "e":
        return Cell(str(value), "is an error of the spreadsheet: put the value there")
    if isinstance(value, bool):
        return Cell(str(value).upper(), "is true or false: write what is meant")
    if isinstance(value, int):
        return Cell(str(value)) if abs(value) < 10**15 else Cell(str(value), _INEXACT)
    if isinstance(value, float):
        if not value.is_integer():
            return Cell(repr(value))
        return Cell(str(int(value))) if abs(value) < 1e15 else Cell(str(int(value)), _INEXACT)
    if cell.data_type == "d" or not isinstance(value, str):
        return Cell(str(value)[:40], "is a date or a time: format the cell as text and write it again")
    return _text_cell(value)


_INEXACT = "is a number too long for a spreadsheet to keep exactly: format the column as text and write it again"
