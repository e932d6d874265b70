"""Refused rows as a file to correct: the cells as they were, the reason beside them, and back again."""

from __future__ import annotations

import csv
import io
import random
import tracemalloc
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.catalog.barcodes import check_digit
from core.catalog.imports import rejected
from core.catalog.imports.mapping import Mapping
from core.catalog.imports.problems import FileRow, Outcome, Problem
from core.catalog.imports.reading import ProductFile, open_products
from core.catalog.imports.rejected import RejectedRows
from core.tables import delimited, workbooks
from core.tables.delimited import Dress
from core.tables.values import UnreadableFile

HEADS = ["Handle", "Title", "Option1 Name", "Option1 Value", "Variant SKU", "Variant Price"]
LINES = [
    ["tee", "=Tee", "Size", "S", "T-S", "9.90"],
    ["tee", "", "", "M", "T-M", "-1"],
    ["mug", "Mug, “big”", "", "", "MUG", "5"],
    ["cup", "'Cup", "", "", "-CUP", "free"],
    ["jug", "Jug", "", "", "'=J", "6"],
]


def written(folder: Path, kind: str, lines: list[list[str]], separator: str = ";") -> ProductFile:
    path = folder / f"products.{kind}"
    with path.open("wb") as out:
        writer = (
            workbooks.Writer(out) if kind == "xlsx" else delimited.Writer(out, Dress("utf-8", separator, False, False))
        )
        for line in [HEADS, *lines]:
            writer.add(line)
        writer.close()
    return open_products(path, path.name, "EUR")


def refused(file: ProductFile, path: Path) -> int:
    with RejectedRows(file, path) as out:
        for outcome in file.outcomes():
            out.add(outcome)
    return out.rows


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_refused_rows_come_back_corrected(tmp_path: Path, kind: str) -> None:
    file = written(tmp_path, kind, LINES)
    assert rejected.suffix(file) == f".{kind}"
    path = tmp_path / f"refused.{kind}"
    assert refused(file, path) == 3
    again = open_products(path, path.name, "EUR")
    assert (again.heads, again.form, again.problems) == (tuple(HEADS), "shopify", ())
    found = list(again.outcomes())
    assert [row.cells for outcome in found for row in outcome.rows] == [
        ("tee", "=Tee", "Size", "S", "T-S", "9.90"),
        ("tee", "", "", "M", "T-M", "-1"),
        ("cup", "'Cup", "", "", "-CUP", "free"),
    ]
    if kind == "csv":
        path.write_text(path.read_text("utf-8-sig").replace("'-1", "1").replace("free", "7,00"), "utf-8")
        corrected = open_products(path, path.name, "EUR")
        drafts = [outcome.draft for outcome in corrected.outcomes()]
        assert [[(v.code, v.price_minor) for v in draft.variants] if draft else None for draft in drafts] == [
            [("T-S", 990), ("T-M", 100)],
            [("-CUP", 700)],
        ]


def test_the_reason_stands_beside_the_row_and_no_cell_is_run(tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    refused(written(tmp_path, "csv", LINES), path)
    lines = list(csv.reader(io.StringIO(path.read_text("utf-8-sig")), delimiter=";"))
    assert lines[0] == [*HEADS, "reason"]
    assert lines[1][1] == "'=Tee"
    assert lines[1][-1] == "nothing is wrong with this row itself; its product is refused for row 3 of the file"
    assert lines[2][-1] == (
        "Variant Price: “-1” is negative: write the price as it is asked for, or leave the cell empty"
    )
    assert [lines[3][1], lines[3][4]] == ["''Cup", "'-CUP"]
    assert not any(cell[:1] in "=+-@\t\r" for line in lines for cell in line if cell)
    book = tmp_path / "refused.xlsx"
    refused(written(tmp_path, "xlsx", LINES), book)
    sheet = openpyxl.load_workbook(book).active
    assert sheet is not None
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)


def test_cells_beyond_the_columns_and_broken_rows_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(",".join(HEADS) + '\na,A,,,X,1,beyond,more\nb,"B"x,,,Y,2\n', "utf-8")
    out = tmp_path / "refused.csv"
    assert refused(open_products(path, "f.csv", "EUR"), out) == 2
    lines = list(csv.reader(io.StringIO(out.read_text("utf-8-sig"))))
    assert (lines[1][:6], lines[1][7:]) == (["a", "A", "", "", "X", "1"], ["beyond", "more"])
    assert lines[2][0] == 'b,"B"x,,,Y,2'
    (first, _) = open_products(out, "refused.csv", "EUR").outcomes()
    assert first.rows[0].cells == ("a", "A", "", "", "X", "1", "beyond", "more")


CELLS = st.text(
    st.one_of(st.sampled_from("=+-@'\t\r\n,;\" "), st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=5), st.sampled_from(["csv", "xlsx"]))
def test_any_cells_come_back_as_they_were(tmp_path: Path, lines: list[list[str]], kind: str) -> None:
    lines = [[*line, "x"] for line in lines]
    source = tmp_path / f"own.{kind}"
    with source.open("wb") as data:
        writer = workbooks.Writer(data) if kind == "xlsx" else delimited.Writer(data, Dress("utf-8", ",", False, False))
        writer.add(["sku", "a", "b", "c"])
        writer.add(["1", "", "", ""])
        writer.close()
    file = open_products(source, source.name, "EUR", Mapping({"code": "sku"}))
    path = tmp_path / f"refused.{kind}"
    with RejectedRows(file, path) as out:
        for number, line in enumerate(lines, start=2):
            problem = Problem(number, "sku", line[0], "is wrong", "correct it")
            out.add(Outcome(None, (problem,), (FileRow(number, tuple(line)),)))
    again = open_products(path, path.name, "EUR", Mapping({"code": "sku"}))
    assert [list(row.cells) for outcome in again.outcomes() for row in outcome.rows] == lines


# --- size and damage ---------------------------------------------------------------------------------------------


def large(path: Path, rows: int) -> Path:
    """Products of four variants; every fiftieth row has a price that is none."""
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([*HEADS, "Variant Barcode", "Body (HTML)"])
        for n in range(rows):
            product, digits = n // 4, f"401234{n:06}"
            told = ["Size", "<p>" + "text " * 30 + "</p>"] if n % 4 == 0 else ["", ""]
            price = "free" if n % 50 == 7 else f"{n % 90}.50"
            cells = [f"h{product}", f"P {product}" if told[0] else "", told[0], "SMLX"[n % 4], f"S{n}", price]
            writer.writerow([*cells, digits + str(check_digit(digits)), told[1]])
    return path


def peak(path: Path, rows: int) -> int:
    tracemalloc.start()
    seen = sum(len(outcome.rows) for outcome in open_products(path, path.name, "EUR").outcomes())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == rows
    return most


@pytest.mark.parametrize("rows", [5_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, rows: int) -> None:
    few = peak(large(tmp_path / "few.csv", rows), rows)
    many = peak(large(tmp_path / "many.csv", 3 * rows), 3 * rows)
    assert abs(many - few) < 0.2 * few


def test_a_damaged_file_is_read_or_refused_and_never_fails(tmp_path: Path) -> None:
    """Bytes of a file are changed: rows of it are read, named or refused, and every row is in one outcome alone."""
    good = large(tmp_path / "good.csv", 40).read_bytes()
    read = 0
    for seed in range(150):
        chance, data = random.Random(seed), bytearray(good)
        for _ in range(chance.choice((1, 3, 10))):
            data[chance.randrange(len(data))] = chance.choice(b"\",;\r\n\t\x80\xff'= aE+9")
        path = tmp_path / "damaged.csv"
        path.write_bytes(data)
        try:
            file = open_products(path, path.name, "EUR")
            if not file.form:
                continue
            numbers = [row.number for outcome in file.outcomes() for row in outcome.rows]
        except UnreadableFile:
            continue
        read += 1
        assert len(set(numbers)) == len(numbers) >= 30
    assert read > 75
