"""Tables in files: whatever their dress they are read as the cells that were written, and what is wrong is named."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.tables import delimited, workbooks
from core.tables.delimited import SEPARATORS, Dress, Encoding
from core.tables.reading import open_table
from core.tables.values import Limits, Oddity, Row, UnreadableFile, whole


def csv_file(lines: Iterable[Sequence[str]], dress: Dress) -> bytes:
    out = io.BytesIO()
    writer = delimited.Writer(out, dress)
    for line in lines:
        writer.add(line)
    writer.close()
    return out.getvalue()


def xlsx_file(lines: Iterable[Sequence[str]]) -> bytes:
    out = io.BytesIO()
    writer = workbooks.Writer(out)
    for line in lines:
        writer.add(line)
    writer.close()
    return out.getvalue()


def by_openpyxl(*lines: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in lines:
        sheet.append(list(line))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def rows(data: bytes | Path, **limits: Any) -> list[Row]:
    return list(open_table("file", data, (), Limits(**limits)).rows())


def cells(data: bytes) -> list[list[str]]:
    return [list(row.cells) for row in rows(data)]


# Text as people have it in tables, with all that a table is written with.
TEXTS = st.text(
    st.one_of(
        st.sampled_from(",;\t|\"'\n\r =+-@\ufeff"), st.characters(exclude_categories=("Cs",), exclude_characters="\0")
    ),
    max_size=12,
)
VISIBLE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")))
HEADS = st.lists(st.text("abcdefgh", min_size=1, max_size=5), min_size=2, max_size=5)


@st.composite
def tables(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> list[list[str]]:
    heads = draw(HEADS)
    body = st.lists(st.lists(texts, min_size=len(heads), max_size=len(heads)), max_size=6)
    return [heads, *draw(body)]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    tables(),
    st.sampled_from(SEPARATORS),
    st.sampled_from([name for name in get_args(Encoding) if name != "cp1252"]),
    st.booleans(),
    st.booleans(),
)
def test_a_csv_is_read_as_it_was_written(
    table: list[list[str]], separator: str, encoding: Encoding, names_separator: bool, is_packed: bool
) -> None:
    data = csv_file(table, Dress(encoding, separator, names_separator, is_packed))
    found = rows(gzip.compress(data) if is_packed else data)
    assert [list(row.cells) for row in found] == table
    assert [row.number for row in found] == list(range(1 + names_separator, len(table) + 1 + names_separator))
    assert not any(row.broken for row in found)


@given(tables(st.text('abcäöüß€“”éñ,;"\n', max_size=12)), st.sampled_from(SEPARATORS))
def test_windows_text_is_read_as_it_was_written(table: list[list[str]], separator: str) -> None:
    # An ä alone is no UTF-8, so that the file can only be Windows text.
    table[-1][-1] += "ä"
    if len(table) == 1:
        table.append(["ä"] * len(table[0]))
    lines = csv_file(table, Dress("utf-8", separator, False, False)).decode("utf-8-sig")
    assert cells(lines.encode("cp1252")) == table


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(tables(st.one_of(TEXTS, st.sampled_from(["_x0041_", "_x005F_", "a\x01b", "\ufffe"]))))
def test_a_workbook_is_read_as_it_was_written(table: list[list[str]]) -> None:
    found = {row.number: list(row.cells) for row in rows(xlsx_file(table))}
    for number, line in enumerate(table, start=1):
        while line and not line[-1]:
            line.pop()
        assert found.get(number, []) == line


@given(st.lists(st.lists(st.one_of(VISIBLE, st.integers(-10**14, 10**14)),
                         min_size=1, max_size=4), min_size=1, max_size=4))  # fmt: skip
@settings(max_examples=50)
def test_workbooks_of_others_are_read(table: list[list[Any]]) -> None:
    found = {row.number: (list(row.cells), row.odd) for row in rows(by_openpyxl(["x"], *table))}
    for number, line in enumerate(table, start=2):
        formulas = {n for n, v in enumerate(line) if isinstance(v, str) and v.startswith("=") and len(v) > 1}
        texts, odd = found.get(number, ([], {}))
        padded = [*texts, *[""] * (len(line) - len(texts))]
        assert {place for place, why in odd.items() if why is Oddity.FORMULA} == formulas
        errors = {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#DIV/0!"}
        assert [t for n, t in enumerate(padded) if n not in formulas] == [
            str(v) for n, v in enumerate(line) if n not in formulas or v in errors
        ]


def test_what_a_workbook_shows_and_does_not_hold_is_named() -> None:
    long, noon = 12345678901234567890, datetime(2024, 3, 1, 12)  # noqa: DTZ001 (a cell has no zone)
    data = by_openpyxl(["a"], ["=1+1", True, date(2024, 3, 1), noon, 2.5, 2.0, long, 1e-7, "#N/A"])
    (_, row) = rows(data)
    assert row.odd == {
        0: Oddity.FORMULA,
        1: Oddity.BOOLEAN,
        2: Oddity.DATE,
        3: Oddity.DATE,
        6: Oddity.INEXACT,
        8: Oddity.ERROR,
    }
    assert list(row.cells) == ["=1+1", "TRUE", "2024-03-01 00:00:00", "2024-03-01 12:00:00", "2.5", "2",
                               "12345678901234569216", "1e-07", "#N/A"]  # fmt: skip


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


def with_sheet(xml: str, **more: str) -> bytes:
    """A workbook whose sheet is replaced, as a writer that we do not know might write it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(by_openpyxl(["x"]))) as good, zipfile.ZipFile(out, "w") as made:
        for name in good.namelist():
            made.writestr(name, xml if name == "xl/worksheets/sheet1.xml" else more.get(name, good.read(name)))
    return out.getvalue()


def test_cells_and_rows_without_places_follow_each_other() -> None:
    inline = "<is><r><t>a</t></r><r><t>b</t></r><rPh sb='0' eb='1'><t>zz</t></rPh></is>"
    first = f"<row><c><v>1</v></c><c t='inlineStr'>{inline}</c></row>"
    data = with_sheet(SHEET.format(first + "<row r='4'><c r='C4'><v>7</v></c></row>"))
    assert [(row.number, list(row.cells)) for row in rows(data)] == [(1, ["1", "ab"]), (4, ["", "", "7"])]


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + SHEET.format("<row><c><v>1</v></c></row>"),
        SHEET.format("<row r='2'/><row r='1'/>"),
        SHEET.format("<row r='1'><c r='B1'><v>1</v></c><c r='A1'><v>1</v></c></row>"),
        SHEET.format("<row r='1'><c t='s'><v>99999</v></c></row>"),
        SHEET.format("<row r='1'><c r='ABCDE1'><v>1</v></c></row>"),
        SHEET.format("<row r='1'><c><v>one</v></c></row>"),
        SHEET.format("<row r='1'>"),
    ],
    ids=["entities", "rows back", "cells back", "text missing", "column", "number", "cut off"],
)
def test_a_sheet_that_no_spreadsheet_writes_is_refused(xml: str) -> None:
    with pytest.raises(UnreadableFile, match="not a readable"):
        rows(with_sheet(xml))


@pytest.mark.parametrize("within", ["<is><t>{}</t></is>", "<f ref='{}'/>"], ids=["text", "tag"])
def test_a_cell_that_unpacks_to_more_than_any_has_is_said_to_be_too_large(within: str) -> None:
    endless = within.format("a" * (9_000_000 if "ref" in within else 1_100_000))
    data = with_sheet(SHEET.format(f"<row r='1'><c t='inlineStr'>{endless}</c></row>"))
    with pytest.raises(UnreadableFile, match=r"file is too large when unpacked: .* Shorten that cell, or save"):
        rows(data)


def test_a_number_of_thousands_of_digits_is_named_and_spoils_no_other() -> None:
    sheet = SHEET.format(f"<row><c><v>{'9' * 5_000}</v></c><c><v>1.125</v></c><c><v>2.5</v></c></row>")
    (row,) = rows(with_sheet(sheet))
    assert (row.odd, list(row.cells[1:]), row.pointed) == ({0: Oddity.ERROR}, ["1.125", "2.5"], [1])


def test_a_workbook_that_unpacks_to_too_much_is_not_unpacked() -> None:
    with pytest.raises(UnreadableFile, match=r"unpacks to more .* MB, where at most 0.0 MB are read. Split it"):
        rows(by_openpyxl(["x"]), unpacked_max=1000)
    with pytest.raises(UnreadableFile, match=r"parts, where at most 3 are read. Save the sheet"):
        rows(by_openpyxl(["x"]), entries_max=3)


def two_sheets(first: Sequence[Sequence[Any]], second: Sequence[Sequence[Any]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    for name, lines in (("Goods", first), ("Notes", second)):
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


WIDE = [*[None] * 1_200, "x"]


def test_a_sheet_that_cannot_be_read_spoils_no_other() -> None:
    heads = ["Artikel", "Bezeichnung"]
    table = open_table("file", two_sheets([heads, ["A", "Tasse"]], [WIDE]), {"sku", "price"})
    assert (table.sheet, [list(row.cells) for row in table.rows()]) == (0, [heads, ["A", "Tasse"]])


def test_a_first_sheet_that_cannot_be_read_is_told_by_its_name() -> None:
    with pytest.raises(UnreadableFile, match="file, sheet “Goods”, row 1 has a cell in column 1,201; at most 1,000"):
        open_table("file", two_sheets([WIDE], [["SKU", "Price"], ["A", "1"]]), {"sku", "price"})


def test_a_packed_csv_is_unpacked_only_so_far() -> None:
    with pytest.raises(UnreadableFile, match="unpacks to more than 1 MB"):
        rows(gzip.compress(b"a,b\n" * 500_000), unpacked_max=1_000_000)
    with pytest.raises(UnreadableFile, match="packed and damaged"):
        rows(gzip.compress(b"a,b\n" * 5000)[:-20])


# --- broken rows -------------------------------------------------------------------------------------------------


def test_broken_rows_are_named_and_do_not_hide_the_others() -> None:
    found = rows(b'a,b\n"x"y,1\nc,2\n"d,3\ne,"4"\nf,5\n')
    assert [(row.number, bool(row.broken)) for row in found] == [
        (1, False), (2, True), (3, False), (4, True), (5, False), (6, False)]  # fmt: skip
    assert [list(row.cells) for row in found if not row.broken] == [["a", "b"], ["c", "2"], ["e", "4"], ["f", "5"]]
    assert found[1].cells == ['"x"y,1']
    assert "quotation mark" in found[3].broken


def test_a_piece_of_a_broken_row_is_no_row() -> None:
    found = rows(b'a,b,c\n1,"one\nbad "piece" here",x\n2,y,z\n')
    assert [(row.number, row.broken != "", list(row.cells)) for row in found] == [
        (1, False, ["a", "b", "c"]),
        (2, True, ['1,"one']),
        (3, True, ['bad "piece" here",x']),
        (4, False, ["2", "y", "z"]),
    ]


def test_a_quotation_mark_never_closed_breaks_its_row_alone() -> None:
    lines = [f"{n},x" for n in range(2, 30_000)]
    lines[10] = '12,"x'
    found = rows(("a,b\n" + "\n".join(lines) + "\n").encode())
    assert [row.number for row in found if row.broken] == [12]
    assert len(found) == 29_999


def test_a_line_without_end_is_not_taken_into_memory() -> None:
    with pytest.raises(UnreadableFile, match="line of more than"):
        rows(b"a,b\n" + b"x," * 9_000_000)


# --- characters that cannot be kept --------------------------------------------------------------------------------


def test_a_byte_of_another_encoding_names_its_cell_and_spoils_no_other() -> None:
    lines = ["name,maker", *["Käse,Müller"] * 50, "Caf\udce9,Müller", "Öl,Müller"]
    found = rows("\n".join(lines).encode("utf-8", "surrogateescape"))
    assert [(row.number, row.odd) for row in found if row.odd] == [(52, {0: Oddity.GARBLED})]
    assert [list(row.cells) for row in found[50:]] == [["Käse", "Müller"], ["Café", "Müller"], ["Öl", "Müller"]]
    marked = rows(b"\xef\xbb\xbfname\ncaf\xe9\n")
    assert (list(marked[0].cells), list(marked[1].cells), marked[1].odd) == (["name"], ["café"], {0: Oddity.GARBLED})


def test_windows_text_with_a_letter_that_could_be_utf_8_stays_windows_text() -> None:
    data = "name\n«CAFÉ»\nÉté\nà la crème\n".encode("cp1252")
    assert cells(data) == [["name"], ["«CAFÉ»"], ["Été"], ["à la crème"]]


def test_a_zero_byte_names_its_cell_and_many_are_no_text() -> None:
    found = rows(b"a,b\n1,x\0y\n2,\\u0000\n")
    assert [(list(row.cells), row.odd) for row in found] == [
        (["a", "b"], {}), (["1", "xy"], {1: Oddity.UNKEPT}), (["2", "\\u0000"], {})]  # fmt: skip
    with pytest.raises(UnreadableFile, match=r"is neither CSV nor \.xlsx"):
        rows(b"a,b\n" + b"1,\0\n" * 9)
    assert len(rows(b"a,b\n" + b"1,2\n" * 5_000 + b"1,\0\n" * 9)) == 5_010


def test_half_letters_are_left_out_and_those_that_belong_together_are_whole() -> None:
    book = with_sheet(SHEET.format(
        "<row><c t='inlineStr'><is><t>a_xD83D_</t></is></c><c t='inlineStr'><is><t>_xD83D__xDE00_</t></is></c>"
        "<c t='inlineStr'><is><t>_x0000_b</t></is></c></row>"))  # fmt: skip
    (row,) = rows(book)
    assert (list(row.cells), row.odd) == (["a\ufffd", "😀", "b"], {0: Oddity.UNKEPT, 2: Oddity.UNKEPT})
    found = rows(b'[{"a": "\\ud83d", "b": "\\ud83d\\ude00", "c": "x\\u0000", "d": "\\udce9"}]')
    assert (list(found[1].cells), found[1].odd) == (
        ["\ufffd", "😀", "x", "\ufffd"],
        {0: Oddity.UNKEPT, 2: Oddity.UNKEPT, 3: Oddity.UNKEPT},
    )


@given(st.lists(st.text(st.one_of(st.sampled_from("\0\ud83d\ude00\udce9\\u0"), st.characters())), max_size=4),
       st.booleans())  # fmt: skip
def test_whatever_a_row_holds_a_database_keeps(texts: list[str], has_bytes: bool) -> None:
    found = whole(Row(1, texts), has_bytes=has_bytes)
    assert len(found.cells) == len(texts)
    for place, (before, after) in enumerate(zip(texts, found.cells, strict=True)):
        assert "\0" not in after
        after.encode()
        if before != after and place not in found.odd:
            assert before.encode("utf-16", "surrogatepass") == after.encode("utf-16")


def test_a_long_description_is_one_cell() -> None:
    text = "ab " * 166_666 + "ab"
    assert cells(f'a,b\n"{text}",1\n'.encode()) == [["a", "b"], [text, "1"]]
    (_, row, after) = rows(f'a,b\n"{text + text}",1\n2,3\n'.encode())
    assert row.broken == "there is a cell of more than 600,000 characters: is a quotation mark missing above it?"
    assert list(after.cells) == ["2", "3"]


# --- JSON --------------------------------------------------------------------------------------------------------


def test_a_list_of_objects_is_a_table() -> None:
    data = json.dumps(
        [
            {"sku": 12345678901234567890, "price": 44.990, "name": "Ä"},
            {
                "sku": "A",
                "category": [{"id": 1, "name": "Top"}, {"id": 2, "name": "Sub"}],
                "is": True,
                "tags": ["a", "b"],
            },
            {"sku": None, "size": {"w": 1}},
        ]
    ).encode()
    assert cells(data) == [
        ["sku", "price", "name", "category", "is", "tags", "size"],
        ["12345678901234567890", "44.99", "Ä", "", "", "", ""],
        ["A", "", "", "Top > Sub", "true", "a, b", ""],
        ["", "", "", "", "", "", '{"w": "1"}'],
    ]


@pytest.mark.parametrize("data", [b'[{"a": 1}, {"a"', b'[{"a": 1}, 2]', b'["a", "b"]', b'[{"a": 1} x', b"[" * 100_000])
def test_json_that_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"no whole JSON list|no list of objects"):
        rows(data)


# --- memory ------------------------------------------------------------------------------------------------------


def peak(path: Path) -> int:
    tracemalloc.start()
    count = sum(1 for _ in open_table("file", path).rows())
    assert count > 1000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    peaks = []
    for count in (2_000, 6_000) if kind == "xlsx" else (20_000, 60_000):
        lines = [["handle", "title", "price"], *([f"h-{n}", f"Title {n} " * 5, "1.50"] for n in range(count))]
        data = csv_file(lines, Dress("utf-8", ",", False, False)) if kind == "csv" else xlsx_file(lines)
        (tmp_path / str(count)).write_bytes(data)
        peaks.append(peak(tmp_path / str(count)))
    assert abs(peaks[1] - peaks[0]) < 0.2 * peaks[0]
