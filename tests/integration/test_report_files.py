"""A report as files: what a spreadsheet, a strict reader of CSV and a browser without a network make of it."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from openpyxl import load_workbook
from sqlalchemy import Connection

from core.reports import files
from core.reports import operations as reports
from core.reports.queries import ReportRow
from core.reports.tables import find, sections
from tests.factories import NOW, World, book, make_line, make_order, make_refund, make_refund_line, make_world

EVIL = '=HYPERLINK("http://127.0.0.1/steal","win")'
MARKUP = "<script>alert(1)</script>"
MORNING = datetime(2024, 3, 5, 5, tzinfo=UTC)


@pytest.fixture
def world(conn: Connection) -> World:
    return make_world(conn, {EVIL: 5, MARKUP: 50, "\x0bMUG": 50})


@pytest.fixture
def report(conn: Connection, world: World) -> ReportRow:
    """A day with what people type at a channel to harm whoever opens the file, and a correction of it."""
    lines = [make_line("1", EVIL, 5, "1.05"), make_line("2", MARKUP, 2, "2.50"), make_line("3", "\x0bMUG", 1, "0.10")]
    book(conn, world, make_order("1", lines, tax_minor=40), make_order("2", [make_line(code=MARKUP)], currency="JPY"))
    book(conn, world, make_refund("1", [make_refund_line("2")]))
    reports.build(conn, world.shop_id, NOW.date(), reports.CLOCK, MORNING)
    book(conn, world, make_order("late", [make_line(code=MARKUP)]), now=MORNING)
    made = reports.correct(conn, world.shop_id, NOW.date(), reports.LOOK, MORNING)
    assert made is not None
    return made


def test_the_workbook_has_a_sheet_for_each_section_with_real_numbers_and_times(report: ReportRow) -> None:
    book_ = load_workbook(io.BytesIO(files.make(report, "Ada & Sons", "xlsx").content))
    assert book_.sheetnames == [section.title for section in sections(report)]
    markets = list(book_["By marketplace"].iter_rows(min_row=3))
    heads = [cell.value for cell in markets[0]]
    british = next(row for row in markets[1:] if row[heads.index("Currency")].value == "GBP")
    revenue = british[heads.index("Revenue")]
    assert (revenue.value, revenue.data_type, revenue.number_format) == (12.85, "n", "#,##0.00")
    assert british[heads.index("Orders")].value == 2
    yen = next(row for row in markets[1:] if row[heads.index("Currency")].value == "JPY")
    assert yen[heads.index("Revenue")].number_format == "#,##0"
    out = list(book_["Stock-outs"].iter_rows(min_row=4, values_only=True))
    assert [type(row[2]) for row in out] == [datetime]


def test_nothing_in_the_workbook_is_a_formula_whatever_somebody_typed(report: ReportRow) -> None:
    book_ = load_workbook(io.BytesIO(files.make(report, EVIL, "xlsx").content))
    cells = [cell for sheet in book_ for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert [cell.value for cell in cells if cell.data_type == "f"] == []
    assert EVIL in {cell.value for cell in cells}


def test_the_csv_is_one_figure_a_row_and_what_begins_like_a_formula_is_held(report: ReportRow) -> None:
    made = files.make(report, "Ada", "csv")
    text = made.content.decode()
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert {len(row) for row in rows} == {8}
    figures = {(r["section"], r["subject"], r["country"], r["currency"], r["figure"]): r["value"] for r in rows}
    channel = report.content["markets"][0]["connection"]
    assert figures["summary", "", "", "", "Orders"] == "3"
    assert Decimal(figures["markets", channel, "GB", "GBP", "Revenue"]) == Decimal("12.85")
    assert figures["markets", channel, "GB", "JPY", "Revenue"] == "250"
    assert figures["markets", channel, "GB", "JPY", "Taxes"] == ""
    assert not any(value[:1] in ("=", "@", "+") for row in rows for value in row.values())
    assert any(row["subject"].startswith("'=HYPERLINK") for row in rows)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_has_no_script_asks_for_nothing_and_says_its_pictures(report: ReportRow) -> None:
    text = files.make(report, "Ada & Sons", "html").content.decode()
    reader = _Reader()
    reader.feed(text)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"}
    outside = [
        value
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action") or name.startswith("on")
    ]
    assert outside == []
    assert not re.search(r"url\(|@import", text)
    pictures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert len(pictures) >= 3
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Edition 2 corrects what was reported." in text
    # What mail programs take whole.
    assert len(text) < 100_000


@pytest.mark.parametrize("format_", files.FORMATS)
def test_a_day_on_which_nothing_happened_makes_a_file_too(conn: Connection, format_: files.Format) -> None:
    world = make_world(conn)
    made = reports.build(conn, world.shop_id, NOW.date(), reports.CLOCK, MORNING).report
    found = files.make(made, "Größe & Co", format_)
    assert found.name == f"gr--e---co-2024-03-04.{format_}"
    assert len(found.content) > 500


def test_a_terminal_shows_every_section(report: ReportRow) -> None:
    text = files.as_text(sections(report))
    assert all(section.title in text for section in sections(report))
    assert find(sections(report), "causes").rows[0][1] == 1
