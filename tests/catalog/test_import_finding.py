"""Which product of ours a row is of: by its SKU, by its barcode where it has no SKU, and never by a name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.catalog.imports.mapping import Mapping
from core.db import execute
from core.importing import queries
from tests.catalog.conftest import Catalogue
from tests.catalog.importer import Importer
from tests.catalog.reading import outcomes, said

EAN = "4006381333931"
OTHER_EAN = "5012345678900"
BY_NAME = Mapping(columns={"title": "Name", "code": "SKU"})
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


def test_a_row_without_sku_and_barcode_is_refused_as_ever() -> None:
    found = outcomes("Name,EAN,Price", "Mug,,1", mapping=BY_BARCODE)
    assert said(found) == ["error 2 : the variant has neither SKU nor barcode"]
