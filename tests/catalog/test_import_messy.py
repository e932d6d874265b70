"""Files as people send them: each becomes the right products, or a sentence that somebody can act on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from openpyxl.workbook import Workbook

from core.catalog.imports.problems import Outcome
from core.catalog.imports.reading import ProductFile, open_products
from core.tables.values import UnreadableFile

HEAD = "Handle,Title,Variant SKU,Variant Price,Variant Image,Image Src\n"


def read(folder: Path, data: bytes | str, name: str = "goods.csv") -> tuple[ProductFile, list[Outcome]]:
    """A file by the form that it has, or by the mapping that is suggested for it."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    file = open_products(path, name, "EUR")
    if file.form is None:
        file = open_products(path, name, "EUR", file.suggested)
    return file, list(file.outcomes())


def workbook(fill: Callable[[Workbook], None]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    fill(book)
    book.save(out)
    return out.getvalue()


def codes(found: list[Outcome]) -> list[str | None]:
    return [variant.code for outcome in found if outcome.draft for variant in outcome.draft.variants]


def warned(file: ProductFile) -> list[str]:
    return [problem.sentence for problem in file.problems]


# --- where the table stands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("Price list, autumn\n\n" + HEAD + "mug,Mug,M1,1,,\n", 3),
        ("Price list, autumn\n;;\nSKU;Name;Preis\nM1;Tasse;9,90\n", 3),
        ("Kiln & Co;;\nvalid from;1.9.;\n\nSKU;Name;Preis\nM1;Tasse;1.009,90\n", 4),
    ],
)
def test_columns_may_be_named_below_a_title(tmp_path: Path, text: str, row: int) -> None:
    file, found = read(tmp_path, text)
    assert file.heads_row == row
    assert codes(found) == ["M1"]
    assert f"the columns are named in row {row}: what stands above is not read" in warned(file)


def test_a_table_that_begins_at_once_is_taken_at_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("Ref;What\nsku;name\nprice;stock\n", encoding="utf-8")
    assert open_products(path, "own.csv", "EUR").heads_row == 2
    path.write_text("Ref;SKU\nsku;name\nprice;stock\n", encoding="utf-8")
    assert open_products(path, "own.csv", "EUR").heads_row == 1


def test_the_sheet_that_has_the_table_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    def fill(book: Workbook) -> None:
        book.active.append(["for us only"])  # type: ignore[union-attr]
        book.active.sheet_state = "hidden"  # type: ignore[union-attr]
        book.create_sheet("Read me").append(["Please order by Friday"])
        goods = book.create_sheet("Goods")
        goods.append(["Autumn"])
        goods.merge_cells("A1:C1")
        goods.append(["SKU", "Name", "Price"])
        goods.append(["M1", "Mug", 2.5])
        more = book.create_sheet("More goods")
        more.append(["SKU", "Name", "Price"])
        more.append(["P1", "Pot", 3])

    file, found = read(tmp_path, workbook(fill), "goods.xlsx")
    assert codes(found) == ["M1"]
    assert "only the sheet “Goods” is read, and not “Read me”, “More goods”" in warned(file)


def test_a_merged_cell_is_named_where_it_leaves_a_row_without_title(tmp_path: Path) -> None:
    def fill(book: Workbook) -> None:
        for row in (["SKU", "Name"], ["M1", "Mug"], ["M2", None]):
            book.active.append(row)  # type: ignore[union-attr]
        book.active.merge_cells("B2:B3")  # type: ignore[union-attr]

    _, found = read(tmp_path, workbook(fill), "goods.xlsx")
    assert [(p.row, p.column, p.sentence) for o in found for p in o.problems] == [
        (3, "Name", "the product has no title")
    ]


def test_a_great_many_columns_are_told_in_few_words(tmp_path: Path) -> None:
    heads = ",".join(["SKU", "Name", *(f"c{number}" for number in range(998))])
    file, found = read(tmp_path, f"{heads}\nM1,Mug{',x' * 998}\n")
    assert codes(found) == ["M1"]
    assert len(warned(file)) == 21
    assert warned(file)[-1] == "978 more columns are not read"


# --- what stands in it -----------------------------------------------------------------------------------------------


def test_utf_32_is_said_to_be_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"is UTF-32.*save it as “CSV UTF-8”"):
        read(tmp_path, HEAD.encode("utf-32"))


def test_what_nobody_sees_is_no_part_of_a_code(tmp_path: Path) -> None:
    _, found = read(tmp_path, HEAD + "mug\u200b,Mug,M\u200b1\u00a0,1,,\npot,Pot,\u2060P1,2,,\n")
    assert codes(found) == ["M1", "P1"]
    assert [outcome.draft.handle for outcome in found if outcome.draft] == ["mug", "pot"]


def test_two_codes_that_look_alike_are_one_and_told(tmp_path: Path) -> None:
    _, found = read(tmp_path, HEAD + "mug,Mug,M\u200b1,1,,\npot,Pot,M1,2,,\n")
    assert [p.row for outcome in found for p in outcome.problems] == [2, 3]
    assert all("is the SKU of row" in p.sentence for outcome in found for p in outcome.problems)


def test_addresses_of_pictures_are_taken_as_browsers_do(tmp_path: Path) -> None:
    _, found = read(
        tmp_path,
        HEAD + "mug,Mug,M1,1,//x.example/a b.jpg,https://x.example/my mug.jpg\npot,Pot,P1,1,,\\\\nas\\pot.jpg\n",
    )
    cup, pot = (outcome.draft for outcome in found)
    assert cup is not None
    assert pot is not None
    assert [image.url for image in cup.images or ()] == ["https://x.example/my%20mug.jpg"]
    assert cup.variants[0].image_url == "https://x.example/a%20b.jpg"
    assert pot.images == ()
    assert [(p.row, p.column) for outcome in found for p in outcome.problems] == [(3, "Image Src")]
