"""XLSX, one row at a time: one visible sheet, read as the file goes by.

Texts that cells share lie in a part of their own, before or after the sheet; they go to a temporary file, so that
memory does not grow with them. Formulas, errors and dates are named, never taken for what they show.
Source: ECMA-376, Office Open XML, part 1, section 18 (SpreadsheetML).
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple
from xml.parsers import expat

from core.tables.values import Limits, Oddity, Progress, Row, Source, UnreadableFile, opened

Attributes = dict[str, str]

_CHUNK = 1 << 16
_TEXT_MAX = 1_000_000
"""Characters of one cell; a spreadsheet itself keeps 32,767."""
_PENDING_MAX = 8_000_000
"""Bytes of one tag."""
_EXACT = 10**15
"""A spreadsheet keeps fifteen digits of a number."""
_DIGITS_MAX = 400
"""Of a stored number: the largest that a spreadsheet has needs 309."""
_DATE_FORMATS = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_TO_ESCAPE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
"""What XML has no place for, line ends that it would change, and what looks like an escape."""
_QUOTED = re.compile(r'"[^"]*"|\\.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)


class _Damaged(Exception):
    """Something a whole workbook does not have."""


class _TooLarge(Exception):
    """A cell that unpacks to more than any spreadsheet keeps in one."""


def rows(name: str, source: Source, limits: Limits, progress: Progress, sheet: int = 0) -> Iterator[Row]:
    """The rows that a visible sheet has, by number; those never filled in are left out. Raises UnreadableFile."""
    with _book(name, source, limits) as packed, tempfile.TemporaryFile() as kept:
        yield from _sheet_rows(name, packed, _Texts(kept), limits, progress, sheet)


def sheets(name: str, source: Source, limits: Limits) -> list[str]:
    """The names of the visible sheets, in their order. Raises UnreadableFile."""
    with _book(name, source, limits) as packed:
        main, parts = _main(packed)
        listed = _sheets(packed, main)[1]
        return [one.name for one in listed if one.state == "visible" and parts[one.ref][0] == "worksheet"]


@contextmanager
def _book(name: str, source: Source, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """The parts of a workbook. Raises UnreadableFile, also for what goes wrong with them meanwhile."""
    damaged = f"{name} is not a readable .xlsx file: open it, save it again, or save it as CSV"
    with opened(source) as file:
        try:
            packed = zipfile.ZipFile(file)
            entries = packed.infolist()
        except Exception:  # noqa: BLE001 (damaged, encrypted, packed in another way: the readers raise what they like)
            raise UnreadableFile(damaged) from None
        _check_size(name, entries, limits)
        try:
            with packed:
                yield packed
        except (UnreadableFile, GeneratorExit):
            raise
        except _TooLarge:
            raise UnreadableFile(
                f"{name} is too large when unpacked: one of its cells has more than {_TEXT_MAX:,} characters, and a "
                "spreadsheet itself keeps 32,767. Shorten that cell, or save the table as CSV"
            ) from None
        except Exception:  # noqa: BLE001 (as above: what is damaged may show only now)
            raise UnreadableFile(damaged) from None


def _check_size(name: str, entries: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    if len(entries) > limits.entries_max:
        raise UnreadableFile(
            f"{name} unpacks to more than is read at a time: {len(entries):,} parts, where at most "
            f"{limits.entries_max:,} are read. Save the sheet with the table as a file of its own, or as CSV"
        )
    size = sum(entry.file_size for entry in entries)
    if size > limits.unpacked_max:
        raise UnreadableFile(
            f"{name} unpacks to more than is read at a time: {size / 1e6:,.1f} MB, where at most "
            f"{limits.unpacked_max / 1e6:,.1f} MB are read. Split it, or save it as CSV"
        )


class Writer:
    """Writes one sheet of texts. A character that a spreadsheet cannot keep is written as its escape.

    Rows lie in a file in `folder` until they are packed: whoever opens one closes it, or drops it.
    """

    def __init__(self, out: IO[bytes], folder: Path | None = None) -> None:
        # A fifth of a second for who needs it: most processes never write a spreadsheet.
        import openpyxl
        from openpyxl.worksheet import _writer

        self._out = out
        self._cell = openpyxl.cell.WriteOnlyCell
        self._book = openpyxl.Workbook(write_only=True)
        self._sheet = self._book.create_sheet("Rows")
        descriptor, self._part = tempfile.mkstemp(prefix=".switchyard-", suffix=".rows", dir=folder)
        os.close(descriptor)
        # It would choose a place of its own, where nobody looks for what is left of a killed process.
        _writer.ALL_TEMP_FILES.append(self._part)
        self._sheet._writer = _writer.WorksheetWriter(self._sheet, self._part)
        self._sheet._writer.write_top()

    def add(self, cells: Sequence[str]) -> None:
        row = []
        for text in cells:
            cell = self._cell(self._sheet)
            # Set as it is: a value that is assigned is looked at for a formula or a number.
            cell._value, cell.data_type = _escaped(text), "s"
            row.append(cell if text else None)
        self._sheet.append(row)

    def close(self) -> None:
        """Writes the whole; the file stays open."""
        self._book.save(self._out)

    def drop(self) -> None:
        """Gives up what is not closed; nothing where it is."""
        if not os.path.exists(self._part):
            return
        with suppress(Exception):
            # Writes the ends of its tags, for which there may be no room; what counts is that it is closed.
            if self._sheet._rows is not None:
                self._sheet._rows.close()
            self._sheet._writer.close()
        self._sheet._writer.cleanup()


class _Listed(NamedTuple):
    """A sheet as the workbook lists it."""

    ref: str
    state: str
    name: str


def _main(packed: zipfile.ZipFile) -> tuple[str, dict[str, tuple[str, str]]]:
    """The part that lists the sheets, and what it is related to."""
    related = _relations(packed, "_rels/.rels", "")
    main = next((path for kind, path in related.values() if kind == "officeDocument"), "xl/workbook.xml")
    folder, _, leaf = main.rpartition("/")
    return main, _relations(packed, f"{folder}/_rels/{leaf}.rels", folder)


def _sheet_rows(
    name: str, packed: zipfile.ZipFile, texts: _Texts, limits: Limits, progress: Progress, place: int
) -> Iterator[Row]:
    main, parts = _main(packed)
    is_1904, listed = _sheets(packed, main)
    visible = [one for one in listed if one.state == "visible" and parts[one.ref][0] == "worksheet"]
    if not visible:
        raise UnreadableFile(f"{name} has no visible sheet")
    by_kind = dict(parts.values())
    if "sharedStrings" in by_kind:
        _read_texts(packed, by_kind["sharedStrings"], texts)
    dates = _date_styles(packed, by_kind["styles"]) if "styles" in by_kind else set()
    named = name if len(visible) == 1 else f"{name}, sheet “{visible[place].name}”"
    sheet = _Sheet(named, texts, dates, is_1904, limits)
    path = parts[visible[place].ref][1]
    progress.total = packed.getinfo(path).file_size
    for done in _parse(packed, path, sheet.start, sheet.end, sheet.text):
        progress.done = done
        if sheet.rows:
            yield from sheet.rows
            sheet.rows.clear()


def _parse(
    packed: zipfile.ZipFile,
    path: str,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> Iterator[int]:
    """Calls back for each tag and text of a part; gives out the bytes done after each chunk."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    if end:
        parser.EndElementHandler = end
    if text:
        parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    done = 0
    with packed.open(path) as part:
        while chunk := part.read(_CHUNK):
            parser.Parse(chunk)
            done += len(chunk)
            if done - parser.CurrentByteIndex > _PENDING_MAX:
                raise _TooLarge
            yield done
    parser.Parse(b"", True)
    yield done


def _refuse_doctype(*_: object) -> None:
    # Nobody's spreadsheet defines entities; a bomb does.
    raise _Damaged


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]


def _relations(packed: zipfile.ZipFile, path: str, folder: str) -> dict[str, tuple[str, str]]:
    """By its id, each related part's kind and path."""
    found: dict[str, tuple[str, str]] = {}

    def start(tag: str, attributes: Attributes) -> None:
        if _local(tag) == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes["Target"]
            joined = target[1:] if target.startswith("/") else f"{folder}/{target}" if folder else target
            found[attributes["Id"]] = (attributes["Type"].rpartition("/")[2], joined)

    if path in packed.NameToInfo:
        for _ in _parse(packed, path, start):
            pass
    return found


def _sheets(packed: zipfile.ZipFile, path: str) -> tuple[bool, list[_Listed]]:
    """Whether days count from 1904, and of each sheet its relation, whether it is visible, and its name."""
    found: list[_Listed] = []
    is_1904 = False

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal is_1904
        if _local(tag) == "sheet":
            ref = next(value for key, value in attributes.items() if _local(key) == "id")
            found.append(_Listed(ref, attributes.get("state", "visible"), attributes.get("name", "")))
        elif _local(tag) == "workbookPr":
            is_1904 = attributes.get("date1904") in ("1", "true")

    for _ in _parse(packed, path, start):
        pass
    return is_1904, found


def _date_styles(packed: zipfile.ZipFile, path: str) -> set[int]:
    """The places in the list of cell styles that show a number as a date or a time."""
    custom: dict[int, bool] = {}
    formats: list[int] = []
    is_within = False

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal is_within
        tag = _local(tag)
        if tag == "numFmt":
            custom[int(attributes["numFmtId"])] = _shows_date(attributes["formatCode"])
        elif tag == "cellXfs":
            is_within = True
        elif tag == "xf" and is_within:
            formats.append(int(attributes.get("numFmtId", 0)))

    def end(tag: str) -> None:
        nonlocal is_within
        is_within = is_within and _local(tag) != "cellXfs"

    for _ in _parse(packed, path, start, end):
        pass
    return {place for place, number in enumerate(formats) if custom.get(number, number in _DATE_FORMATS)}


def _shows_date(code: str) -> bool:
    return bool(re.search("[dmyhs]", _QUOTED.sub("", code).partition(";")[0], re.IGNORECASE))


class _Texts:
    """The texts that cells share, by their place: kept in a file, the short ones that were just asked for in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("Q", [0])
        self.at = lru_cache(maxsize=4096)(self._at)

    def add(self, text: str) -> None:
        self._ends.append(self._ends[-1] + self._file.write(text.encode("utf-8", "surrogatepass")))

    def _at(self, place: int) -> str:
        if not 0 <= place < len(self._ends) - 1:
            raise _Damaged
        begin = self._ends[place]
        self._file.seek(begin)
        return self._file.read(self._ends[place + 1] - begin).decode("utf-8", "surrogatepass")


def _read_texts(packed: zipfile.ZipFile, path: str, texts: _Texts) -> None:
    pieces: list[str] = []
    size = 0
    is_text, phonetic = False, 0

    def start(tag: str, _: Attributes) -> None:
        nonlocal is_text, phonetic, size
        tag = _local(tag)
        if tag == "si":
            pieces.clear()
            size = 0
        elif tag == "rPh":
            phonetic += 1
        is_text = tag == "t" and not phonetic

    def end(tag: str) -> None:
        nonlocal is_text, phonetic
        tag = _local(tag)
        is_text = False
        if tag == "rPh":
            phonetic -= 1
        elif tag == "si":
            texts.add(_unescaped("".join(pieces)))

    def text(piece: str) -> None:
        nonlocal size
        if is_text:
            size += len(piece)
            if size > _TEXT_MAX:
                raise _TooLarge
            pieces.append(piece)

    for _ in _parse(packed, path, start, end, text):
        pass


class _Sheet:
    """Rows of a sheet from its tags as they go by."""

    def __init__(self, name: str, texts: _Texts, dates: set[int], is_1904: bool, limits: Limits) -> None:
        self.rows: list[Row] = []
        self._name = name
        self._texts = texts
        self._dates = dates
        self._epoch = datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 (a cell has no zone)
        self._columns_max = limits.columns_max
        self._number = 0
        self._cells: list[str] = []
        self._odd: dict[int, Oddity] = {}
        self._pointed: list[int] = []
        self._column = -1
        self._kind = ""
        self._style = ""
        self._formula: list[str] | None = None
        self._value: list[str] = []
        self._into: list[str] | None = None
        self._size = 0
        self._phonetic = 0

    def start(self, tag: str, attributes: Attributes) -> None:
        tag = _local(tag)
        if tag == "v" or tag == "t":
            self._into = None if self._phonetic else self._value
        elif tag == "c":
            place = attributes.get("r")
            self._column = column_of(place.rstrip("0123456789")) if place else self._column + 1
            self._kind = attributes.get("t", "n")
            self._style = attributes.get("s", "")
            self._formula = None
            self._value = []
            self._size = 0
        elif tag == "f":
            self._into = self._formula = []
        elif tag == "row":
            number = int(attributes.get("r", self._number + 1))
            if number <= self._number:
                raise _Damaged
            self._number, self._column = number, -1
            self._cells, self._odd, self._pointed = [], {}, []
        elif tag == "rPh":
            self._phonetic += 1

    def text(self, piece: str) -> None:
        if self._into is not None:
            self._size += len(piece)
            if self._size > _TEXT_MAX:
                raise _TooLarge
            self._into.append(piece)

    def end(self, tag: str) -> None:
        tag = _local(tag)
        if tag == "c":
            self._put()
        elif tag == "row":
            self.rows.append(Row(self._number, self._cells, self._odd, pointed=self._pointed))
        elif tag == "rPh":
            self._phonetic -= 1
        self._into = None

    def _put(self) -> None:
        text, oddity = self._content("".join(self._value))
        if not text and not oddity:
            return
        column, cells = self._column, self._cells
        if column >= self._columns_max:
            raise UnreadableFile(
                f"{self._name}, row {self._number} has a cell in column {column + 1:,}; "
                f"at most {self._columns_max:,} columns are read"
            )
        if column < len(cells):
            raise _Damaged
        cells.extend([""] * (column - len(cells)))
        cells.append(text)
        if oddity:
            self._odd[column] = oddity
        elif self._kind == "n" and text[-4:-3] == ".":
            self._pointed.append(column)

    def _content(self, value: str) -> tuple[str, Oddity | None]:
        if self._formula is not None:
            return "=" + "".join(self._formula), Oddity.FORMULA
        kind = self._kind
        if kind == "s":
            return (self._texts.at(int(value)) if value else ""), None
        if kind in ("inlineStr", "str"):
            return _unescaped(value), None
        if not value:
            return "", None
        if kind == "e":
            return value, Oddity.ERROR
        if kind == "b":
            return ("TRUE" if value.strip() in ("1", "true") else "FALSE"), Oddity.BOOLEAN
        if kind == "d":
            return value, Oddity.DATE
        if self._style and int(self._style) in self._dates:
            return str(self._epoch + timedelta(days=float(value))), Oddity.DATE
        return number_text(value)


@lru_cache(maxsize=4096)
def number_text(value: str) -> tuple[str, Oddity | None]:
    """A stored number as it is written: whole where it is whole."""
    whole = int(value) if len(value) <= _DIGITS_MAX and value.lstrip("-").isdecimal() else None
    if whole is None:
        number = float(value)
        if not number.is_integer():
            # Infinity is no number of a spreadsheet.
            return (repr(number), None) if abs(number) < float("inf") else (value, Oddity.ERROR)
        whole = int(number)
    return str(whole), (Oddity.INEXACT if abs(whole) >= _EXACT else None)


@lru_cache(maxsize=20_000)
def column_of(letters: str) -> int:
    """A is 0, Z is 25, AA is 26."""
    if not re.fullmatch("[A-Z]{1,3}", letters):
        raise _Damaged
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - 64
    return place - 1


def _escaped(text: str) -> str:
    return _TO_ESCAPE.sub(lambda found: f"_x{ord(found.group()):04X}_", text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), text) if "_x" in text else text
