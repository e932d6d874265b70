"""A statement as files: CSV, XLSX, and a page to print. What a spreadsheet would run as a formula stays text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter

from core.commissions import statement_page, wording
from core.commissions.statements import Section, Statement
from core.ledger.queries import Line, Standing
from core.money import exponent, to_major
from core.spreadsheets import guarded

Format = Literal["csv", "xlsx", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class File:
    """A file ready to be saved."""

    name: str
    media_type: str
    content: bytes


def make(statement: Statement, format_: Format) -> File:
    """The statement as a file of that format, named after the party and the days."""
    return File(
        name_of(statement.party_code, statement.first.isoformat(), statement.last.isoformat(), format_),
        media_type(format_),
        _MAKERS[format_][1](statement),
    )


def name_of(code: str, first: str, last: str, format_: str) -> str:
    """What the file is called: nothing of a code that a file system would read as a place."""
    words = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in code.lower()).strip("-")
    return f"statement-{words or 'party'}-{first}-to-{last}.{format_}"


def media_type(format_: Format) -> str:
    """What it is, in the words of HTTP."""
    return _MAKERS[format_][0]


# --- rows, the same for both ------------------------------------------------------------------------------------------

_HEADS = (
    ("recorded", "Recorded", 18),
    ("happened", "Happened", 18),
    ("what", "What", 24),
    ("order", "Order", 16),
    ("note", "Note", 44),
    ("transaction", "Transaction", 12),
    ("currency", "Currency", 10),
    ("payable", "Payable", 14),
    ("held", "Held", 14),
    ("payable_after", "Payable after", 14),
    ("held_after", "Held after", 14),
)


def rows_of(section: Section) -> Iterator[tuple[Line | str, Standing, Standing]]:
    """(a line or the name of a balance, what it changed, what there was after it), balances first and last."""
    balance, none = section.opening, Standing()
    yield "Opening balance", none, balance
    for line in section.lines:
        moved = Standing(line.payable_minor, line.held_minor)
        balance = Standing(balance.payable_minor + moved.payable_minor, balance.held_minor + moved.held_minor)
        yield line, moved, balance
    yield "Closing balance", none, section.closing


def _cells(statement: Statement, section: Section) -> Iterator[list[Any]]:
    """Rows of plain values: text, times in the shop's zone, amounts in major units."""
    for what, moved, after in rows_of(section):
        is_line = isinstance(what, Line)
        amounts = [
            *((moved.payable_minor, moved.held_minor) if is_line else (None, None)),
            after.payable_minor,
            after.held_minor,
        ]
        yield [
            _local(what.recorded_at, statement) if isinstance(what, Line) else None,
            _local(what.event_at, statement) if isinstance(what, Line) else None,
            wording.cause(what.kind) if isinstance(what, Line) else what,
            what.order_name if isinstance(what, Line) else None,
            what.note if isinstance(what, Line) else None,
            what.transaction_id if isinstance(what, Line) else None,
            section.currency,
            *(None if amount is None else to_major(amount, section.currency) for amount in amounts),
        ]


def _local(instant: datetime, statement: Statement) -> datetime:
    """The shop's wall clock: spreadsheets know no zones."""
    return instant.astimezone(ZoneInfo(statement.time_zone)).replace(tzinfo=None)


# --- CSV --------------------------------------------------------------------------------------------------------------


def as_csv(statement: Statement) -> bytes:
    """RFC 4180, UTF-8, CRLF; amounts in major units with a decimal point, so many digits as the currency has."""
    text = io.StringIO(newline="")
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(name for name, _, _ in _HEADS)
    for section in statement.sections:
        for row in _cells(statement, section):
            out.writerow(_plain(value) for value in row)
    return text.getvalue().encode()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    return str(value) if isinstance(value, int) else f"{value:f}"


# --- XLSX -------------------------------------------------------------------------------------------------------------


def as_xlsx(statement: Statement) -> bytes:
    """A sheet for each currency, with real numbers and times; written row by row."""
    book = Workbook(write_only=True)
    book.properties.title = f"{statement.party}, {statement.first} to {statement.last}"
    book.properties.creator = "Switchyard"
    book.properties.created = book.properties.modified = statement.made_at.replace(tzinfo=None)
    for section in statement.sections:
        _sheet(book, statement, section)
    if not statement.sections:
        sheet = book.create_sheet("Statement")
        sheet.append([_words(sheet, f"{statement.party}: nothing is earned yet")])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _sheet(book: Workbook, statement: Statement, section: Section) -> None:
    sheet = book.create_sheet(section.currency)
    for number, (_, _, width) in enumerate(_HEADS, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = width
    sheet.freeze_panes = "A4"
    sheet.append([_words(sheet, f"{statement.party} ({statement.party_code})", bold=True)])
    sheet.append([_words(sheet, statement_page.about(statement))])
    sheet.append([_head(sheet, label) for _, label, _ in _HEADS])
    for row in _cells(statement, section):
        is_balance = row[5] is None
        sheet.append([_cell(sheet, value, section.currency, bold=is_balance) for value in row])


def _words(sheet: Any, text: str, *, bold: bool = False) -> WriteOnlyCell:
    # Letters that XML cannot carry would make a file that nobody can open.
    cell = WriteOnlyCell(sheet, value=guarded(ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)))
    # Whatever it begins with: text, never a formula.
    cell.data_type = "s"
    if bold:
        cell.font = Font(bold=True)
    return cell


def _head(sheet: Any, label: str) -> WriteOnlyCell:
    cell = _words(sheet, label, bold=True)
    cell.fill = PatternFill("solid", fgColor="E8ECF2")
    cell.alignment = Alignment(wrap_text=True, vertical="top")
    return cell


def _cell(sheet: Any, value: Any, currency: str, *, bold: bool) -> WriteOnlyCell | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _words(sheet, value, bold=bold)
    cell = WriteOnlyCell(sheet, value=value)
    if isinstance(value, datetime):
        cell.number_format = "yyyy-mm-dd hh:mm"
    elif not isinstance(value, int):
        digits = exponent(currency)
        cell.number_format = "#,##0." + "0" * digits if digits else "#,##0"
    if bold:
        cell.font = Font(bold=True)
    return cell


def as_html(statement: Statement) -> bytes:
    """The page that is printed and opened from disk."""
    return statement_page.html(statement).encode()


_MAKERS: Mapping[Format, tuple[str, Callable[[Statement], bytes]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", as_xlsx),
    "html": ("text/html; charset=utf-8", as_html),
}
