"""Which product of ours a row is of: by its SKU, by its barcode where it has no SKU, and never by a name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.catalog.imports.drafts import ProductDraft, VariantDraft
from core.catalog.imports.mapping import Mapping
from core.db import execute
from core.importing import operations, queries
from core.importing.metafields import Fields
from core.importing.rules import merged
from tests.catalog.conftest import ANNA, Catalogue
from tests.catalog.importer import Importer
from tests.catalog.reading import outcomes, said

EAN = "4006381333931"
OTHER_EAN = "5012345678900"
BY_NAME = Mapping(columns={"title": "Name", "code": "SKU"})
BY_BOTH = Mapping(
    columns={"handle": "H", "title": "Name", "code": "SKU", "barcode": "EAN", "price": "Price"}, options=("Size",)
)
BY_BARCODE = Mapping(columns={"title": "Name", "barcode": "EAN", "price": "Price"})


@pytest.fixture
def importer(catalogue: Catalogue, tmp_path: Path) -> Importer:
    return Importer(catalogue, tmp_path)


def make_sku(importer: Importer, code: str, barcode: str, title: str = "Of the channel") -> None:
    execute(
        importer.conn,
        """
        insert into skus (shop_id, code, title, barcode, is_stocked, created_at)
        values (%(s)s, %(code)s, %(title)s, %(barcode)s, true, %(now)s)
        """,
        s=importer.catalogue.shop_id,
        code=code,
        title=title,
        barcode=barcode,
        now=importer.catalogue.now,
    )


def told(importer: Importer, import_id: int) -> list[tuple[int, str, str, str]]:
    """Row, column, sentence and fix of each problem."""
    found = queries.items(importer.conn, importer.catalogue.shop_id, import_id)
    return [(p["row"], p["column"], p["sentence"], p["fix"]) for item in found for p in item.problems]


# --- Handles that are made -------------------------------------------------------------------------------------------


def test_two_handles_made_of_one_name_are_told_by_row_and_column() -> None:
    lines = ["Name,SKU", "Mug,AB 1", "Pot,AB-1", "Jug,X"]
    found = outcomes(*lines, mapping=BY_NAME)
    assert [outcome.draft is not None for outcome in found] == [True, False, True]
    assert said(found) == ["error 3 SKU: “AB-1” makes the handle ab-1, which is that of row 2 already"]
    (problem,) = found[1].problems
    assert problem.fix == "add a column of handles, with another one for each of the two, and choose it as Product"


def test_a_handle_that_is_told_is_not_made_again() -> None:
    mapping = Mapping(columns={"title": "Name", "code": "SKU", "handle": "Handle"})
    found = outcomes("Name,SKU,Handle", "Mug,A,mug-1", "Pot,mug 1,", mapping=mapping)
    assert said(found) == ["error 3 SKU: “mug 1” makes the handle mug-1, which is that of row 2 already"]


def test_what_is_refused_for_something_else_takes_no_handle() -> None:
    mapping = Mapping(columns={"title": "Name", "code": "SKU", "price": "Price"})
    found = outcomes("Name,SKU,Price", "Mug,AB 1,dear", "Pot,AB-1,2", mapping=mapping)
    assert [outcome.draft is not None for outcome in found] == [False, True]


def test_handles_are_taken_however_often_reading_is_taken_up(importer: Importer) -> None:
    import_id = importer.begin("Name,SKU\nMug,AB 1\nJug,X\nPot,AB-1\n", mapping=BY_NAME)
    importer.read(import_id, batch=1, batches=2)
    run = importer.read(import_id, batch=1)
    assert (run.counts["created"], run.counts["rejected"]) == (2, 1)
    assert importer.apply(import_id).counts["refused"] == 0


def test_a_handle_made_of_a_name_finds_no_product_of_another_sku(importer: Importer) -> None:
    importer.whole("Handle,Title,Variant SKU\nab-1,Mug,MUG\n")
    import_id = importer.begin("Name,SKU\nPot,AB 1\n", mapping=BY_NAME)
    assert importer.read(import_id).counts["rejected"] == 1
    ((row, column, sentence, fix),) = told(importer, import_id)
    assert (row, column) == (2, "SKU")
    assert sentence == "the handle made of it, ab-1, is that of a product of ours with other SKUs (MUG)"
    assert fix == "write the SKU of that product if it is the same, or add a column of handles"


# --- Barcodes --------------------------------------------------------------------------------------------------------


def test_a_row_with_a_barcode_alone_finds_what_has_it(importer: Importer) -> None:
    importer.whole(f"Handle,Title,Variant SKU,Variant Barcode,Variant Price\nmug,Mug,MUG,{EAN},5.00\n")
    import_id = importer.begin(f"Name,EAN,Price\nMug,0{EAN},7.50\n", mapping=BY_BARCODE)
    run = importer.read(import_id)
    assert (run.counts["updated"], run.counts["rejected"]) == (1, 0)
    importer.apply(import_id)
    assert [v.price_minor for v in importer.documents()["mug"].variants] == [750]


def test_a_row_with_a_barcode_alone_becomes_the_product_of_a_sku_without_one(importer: Importer) -> None:
    make_sku(importer, "CH-1", EAN)
    import_id = importer.begin(f"Name,EAN,Price\nChair,{EAN},7.50\n", mapping=BY_BARCODE, make_codes=True)
    assert importer.read(import_id).counts["created"] == 1
    importer.apply(import_id)
    ((chair,),) = [document.variants for document in importer.documents().values()]
    assert (chair.code, chair.price_minor) == ("CH-1", 750)


def test_a_number_of_ones_own_finds_what_has_the_same(importer: Importer) -> None:
    make_sku(importer, "CH-1", "shelf 7")
    import_id = importer.begin("Name,EAN,Price\nChair,shelf 7,7.50\n", mapping=BY_BARCODE)
    assert importer.read(import_id).counts["created"] == 1


def test_a_barcode_that_several_have_or_none_has_is_told(importer: Importer) -> None:
    make_sku(importer, "A", EAN)
    make_sku(importer, "B", EAN)
    import_id = importer.begin(f"Name,EAN,Price\nMug,{EAN},1\nPot,{OTHER_EAN},2\n", mapping=BY_BARCODE)
    assert importer.read(import_id).counts["rejected"] == 2
    which = "write in a column of SKUs which of them it is"
    assert told(importer, import_id) == [
        (2, "EAN", f"{EAN} is the barcode of several SKUs of ours: A, B", which),
        (
            3,
            "EAN",
            f"no SKU of ours has the barcode {OTHER_EAN}",
            "fill in the SKU in a column of its own, or let codes be made",
        ),
    ]


def test_a_barcode_that_none_has_gets_a_code_where_codes_are_made(importer: Importer) -> None:
    import_id = importer.begin(f"Name,EAN,Price\nPot,{OTHER_EAN},2\n", mapping=BY_BARCODE, make_codes=True)
    assert importer.read(import_id).counts["created"] == 1
    importer.apply(import_id)
    ((pot,),) = [document.variants for document in importer.documents().values()]
    assert (pot.code, pot.barcode) == (OTHER_EAN, OTHER_EAN)
    again = importer.whole(f"Name,EAN,Price\nPot,{OTHER_EAN},2\n", mapping=BY_BARCODE, make_codes=True)
    assert again.counts["unchanged"] == 1


def test_one_barcode_in_two_rows_is_one_sku_and_not_two(importer: Importer) -> None:
    make_sku(importer, "A", EAN)
    import_id = importer.begin(f"Name,EAN,Price\nMug,{EAN},1\nCup,{EAN},2\n", mapping=BY_BARCODE)
    assert importer.read(import_id).counts["rejected"] == 2
    fix = "fill in the SKU of each, or delete one of the rows"
    assert told(importer, import_id) == [
        (2, "EAN", f"“{EAN}” is the barcode of row 3 too", fix),
        (3, "EAN", f"“{EAN}” is the barcode of row 2 too", fix),
    ]


CUPS = (
    f"Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Barcode\ncup,Cup,Size,S,CUP-S,5,{EAN}\n"
)
TWICE = "delete one of the rows, or correct the barcode"


@pytest.mark.parametrize(
    "rows", [("cup,Cup,S,CUP-S,,6", f"cup,Cup,L,,{EAN},9"), (f"cup,Cup,L,,{EAN},9", "cup,Cup,S,CUP-S,,6")]
)
def test_a_sku_and_its_barcode_in_two_rows_of_one_product_are_not_taken_for_one(
    importer: Importer, rows: tuple[str, str]
) -> None:
    importer.whole(CUPS)
    import_id = importer.begin("H,Name,Size,SKU,EAN,Price\n" + "\n".join(rows) + "\n", "two.csv", mapping=BY_BOTH)
    assert importer.read(import_id).counts["rejected"] == 1
    found, other = (2, 3) if EAN in rows[0] else (3, 2)
    assert told(importer, import_id) == [
        (found, "EAN", f"{EAN} is the barcode of CUP-S, which row {other} tells of too", TWICE)
    ]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("is_named_first", [True, False])
def test_a_sku_and_its_barcode_in_two_products_are_not_taken_for_one(
    importer: Importer, batch: int, is_named_first: bool
) -> None:
    make_sku(importer, "X1", EAN)
    rows = ("aa,Aa,S,X1,,6", f"bb,Bb,S,,{EAN},9")
    text = "\n".join(rows if is_named_first else rows[::-1])
    import_id = importer.begin(f"H,Name,Size,SKU,EAN,Price\n{text}\n", mapping=BY_BOTH)
    # Each batch as if another process had gone on with it.
    importer.read(import_id, batch, batches=1)
    run = importer.read(import_id, batch)
    assert (run.counts["created"], run.counts["rejected"]) == (1, 1)
    if is_named_first:
        said = (3, "EAN", f"{EAN} is the barcode of X1, which row 2 tells of too", TWICE)
    elif batch == 2:
        said = (2, "EAN", f"{EAN} is the barcode of X1, which row 3 tells of too", TWICE)
    else:
        said = (3, "", "X1 has the barcode by which row 2 tells of it too", TWICE)
    assert told(importer, import_id) == [said]
    assert importer.apply(import_id).counts["refused"] == 0


def test_what_was_read_before_stands_in_nobodys_way_when_the_file_is_read_again(importer: Importer) -> None:
    make_sku(importer, "X1", EAN)
    import_id = importer.begin(f"H,Name,Size,SKU,EAN,Price\nbb,Bb,S,,{EAN},9\n", mapping=BY_BOTH)
    assert importer.read(import_id).counts["created"] == 1
    run = importer.run(import_id)
    operations.read_again(
        importer.conn, importer.catalogue.shop_id, import_id, run.settings, ANNA, importer.catalogue.now
    )
    assert importer.read(import_id).counts["created"] == 1


def test_no_variant_of_a_draft_takes_the_place_of_another() -> None:
    both = tuple(VariantDraft(row, "A", "GBP", price_minor=row) for row in (2, 3))
    found = merged(None, ProductDraft(2, "a", both, title="A"), Fields({}), {}, "GBP")
    assert found.document is None
    assert [(p.row, p.sentence) for p in found.problems] == [(3, "row 2 tells of A too")]


def test_a_row_without_sku_and_barcode_is_refused_as_ever() -> None:
    found = outcomes("Name,EAN,Price", "Mug,,1", mapping=BY_BARCODE)
    assert said(found) == ["error 2 : the variant has neither SKU nor barcode"]
