"""A report as files: XLSX, CSV and HTML. What a spreadsheet would run as a formula stays text in each of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter

from core.money import exponent
from core.reports import page
from core.reports.queries import ReportRow
from core.reports.tables import Cell, Column, Section, flat, sections
from core.reports.words import UNKNOWN, long_day, stamp
from core.spreadsheets import guarded

Format = Literal["xlsx", "csv", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)

_HEADS = ("day", "edition", "section", "subject", "country", "currency", "figure", "value")
_NUMBERS: Mapping[str, str] = {
    "count": "#,##0",
    "minutes": "#,##0",
    "milliseconds": "#,##0",
    "mean": "#,##0.##",
    "moment": "yyyy-mm-dd hh:mm",
}
_WIDTHS: Mapping[str, int] = {"meaning": 70, "title": 38, "headline": 48, "cause": 60, "subject": 38, "connection": 22}


@dataclass(frozen=True, slots=True)
class File:
    """A file ready to be sent or saved."""

    name: str
    media_type: str
    content: bytes


def make(report: ReportRow, shop: str, format_: Format) -> File:
    """The report as a file of that format, named after the shop, the day and, of a correction, the edition."""
    media, maker = _MAKERS[format_]
    return File(name_of(report, shop, format_), media, maker(report, shop))


def name_of(report: ReportRow, shop: str, format_: Format) -> str:
    """What the file is called."""
    edition = f"-edition-{report.edition}" if report.edition > 1 else ""
    words = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in shop.lower()).strip("-")
    return f"{words or 'shop'}-{report.day}{edition}.{format_}"


def media_type(format_: Format) -> str:
    """What it is, in the words of HTTP and mail."""
    return _MAKERS[format_][0]


# --- CSV -------------------------------------------------------------------------------------------------------------


def as_csv(report: ReportRow, _shop: str) -> bytes:
    """Every figure in a row of its own (RFC 4180, UTF-8, CRLF); money in major units with a decimal point."""
    text = io.StringIO(newline="")
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(_HEADS)
    for section in sections(report):
        for subject, country, currency, figure, value in flat(section):
            words = (guarded(each) for each in (subject, country, currency, figure))
            out.writerow((report.day.isoformat(), report.edition, section.key, *words, _plain(value)))
    return text.getvalue().encode()


def _plain(value: Cell) -> str:
    """Numbers as they are, a minus included; nothing where nothing is known."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return guarded(value) if isinstance(value, str) else str(value)


# --- XLSX ------------------------------------------------------------------------------------------------------------


def as_xlsx(report: ReportRow, shop: str) -> bytes:
    """A sheet for each section, with real numbers and times; written row by row."""
    book = Workbook(write_only=True)
    book.properties.title = f"{shop}, {long_day(report.day)}"
    book.properties.creator = "Switchyard"
    # When the report was built, not when somebody wanted the file.
    book.properties.created = book.properties.modified = report.built_at.replace(tzinfo=None)
    for section in sections(report):
        _sheet(book, section, report, shop)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _sheet(book: Workbook, section: Section, report: ReportRow, shop: str) -> None:
    sheet = book.create_sheet(section.title[:31])
    for number, column in enumerate(section.columns, start=1):
        usual = 16 if column.kind == "text" else max(12, min(len(column.label) + 2, 26))
        sheet.column_dimensions[get_column_letter(number)].width = _WIDTHS.get(column.name, usual)
    sheet.freeze_panes = "A4"
    edition = f", edition {report.edition}" if report.edition > 1 else ""
    built = f"built {stamp(report.built_at, report.time_zone)}"
    sheet.append([_words(sheet, f"{shop}, {long_day(report.day)}{edition}, {built}", bold=True)])
    sheet.append([_words(sheet, section.meaning)])
    sheet.append([_head(sheet, column) for column in section.columns])
    for row in section.rows:
        cells = dict(zip((column.name for column in section.columns), row, strict=True))
        sheet.append([_cell(sheet, column, value, cells) for column, value in zip(section.columns, row, strict=True)])


def _words(sheet: Any, text: str, *, bold: bool = False) -> WriteOnlyCell:
    # Letters that XML cannot carry would make a file that nobody can open.
    cell = WriteOnlyCell(sheet, value=ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text))
    # Whatever it begins with: text, never a formula.
    cell.data_type = "s"
    if bold:
        cell.font = Font(bold=True)
    return cell


def _head(sheet: Any, column: Column) -> WriteOnlyCell:
    cell = _words(sheet, column.label, bold=True)
    cell.fill = PatternFill("solid", fgColor="E8ECF2")
    cell.alignment = Alignment(horizontal="left" if column.kind == "text" else "right", wrap_text=True, vertical="top")
    return cell


def _cell(sheet: Any, column: Column, value: Cell, row: Mapping[str, Cell]) -> WriteOnlyCell:
    if isinstance(value, str):
        return _words(sheet, value)
    cell = WriteOnlyCell(sheet, value=value)
    cell.number_format = _NUMBERS.get(column.kind) or _money_format(column, row)
    if column.kind == "mean" and row.get("currency"):
        cell.number_format = _money_format(column, row)
    return cell


def _money_format(column: Column, row: Mapping[str, Cell]) -> str:
    currency = str(row.get("currency") or column.name.rpartition("_")[2])
    digits = exponent(currency)
    return "#,##0." + "0" * digits if digits else "#,##0"


def as_html(report: ReportRow, shop: str) -> bytes:
    """The page that is mailed, printed and opened from disk."""
    return page.html(report, shop).encode()


_MAKERS: Mapping[Format, tuple[str, Callable[[ReportRow, str], bytes]]] = {
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", as_xlsx),
    "csv": ("text/csv; charset=utf-8", as_csv),
    "html": ("text/html; charset=utf-8", as_html),
}


# --- a terminal ------------------------------------------------------------------------------------------------------


def as_text(found: Iterable[Section]) -> str:
    """The same for a terminal: aligned columns."""
    return "\n\n".join(_block(section) for section in found)


def _block(section: Section) -> str:
    # What a figure means stands in the files; a line of a terminal is short.
    kept = [number for number, column in enumerate(section.columns) if column.name != "meaning"]
    columns = [section.columns[number] for number in kept]
    rows = [[_shown(row[number]) for number in kept] for row in section.rows]
    widths = [max([len(column.label), *(len(row[number]) for row in rows)]) for number, column in enumerate(columns)]

    def line(cells: list[str]) -> str:
        aligned = (
            cell.ljust(width) if column.kind == "text" else cell.rjust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
        return "  ".join(aligned).rstrip()

    if not rows:
        return f"{section.title}\n  {section.meaning if section.key == 'discrepancies' else 'none'}"
    return "\n".join([section.title, line([column.label for column in columns]), *(line(row) for row in rows)])


def _shown(value: Cell) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int | Decimal) else str(value)
