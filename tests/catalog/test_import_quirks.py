"""What people and spreadsheets do to product files: each is read rightly, or named with its row and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from core.catalog.imports.drafts import ABSENT
from core.catalog.imports.mapping import BadMapping, Mapping
from core.catalog.imports.plans import NotProducts
from core.catalog.imports.reading import ProductFile, open_products
from core.errors import BadInput
from core.tables.values import UnreadableFile
from tests.catalog.reading import drafts, opened, outcomes, said

SHOPIFY = "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Barcode,Variant Inventory Qty"
OWN = Mapping({"code": "sku", "title": "name", "price": "price"})


# --- products and their rows -------------------------------------------------------------------------------------


def test_rows_of_a_product_come_together_however_far_apart() -> None:
    found = outcomes(
        SHOPIFY, "b,B,Size,S,B-S,1,,", "a,A,Size,S,A-S,2,,", "B,,,M,B-M,3,,", "c,C,,,C,4,,", "a,,,M,A-M,5,,"
    )
    assert [(p.handle, p.row, [v.code for v in p.variants]) for p in drafts(found)] == [
        ("b", 2, ["B-S", "B-M"]),
        ("a", 3, ["A-S", "A-M"]),
        ("c", 5, ["C"]),
    ]
    assert [[row.number for row in outcome.rows] for outcome in found] == [[2, 4], [3, 6], [5]]
    assert found[0].rows[1].cells == ("B", "", "", "M", "B-M", "3", "", "")


def test_a_column_that_is_not_there_is_told_from_a_cell_that_is_empty() -> None:
    (product,) = drafts(outcomes("Handle,Title,Variant SKU,Variant Price,Vendor", "a,A,X,1,"))
    (variant,) = product.variants
    assert (product.vendor, product.description, product.tags, product.images) == ("", ABSENT, ABSENT, ABSENT)
    assert (variant.price_minor, variant.barcode, variant.units, variant.is_tracked) == (100, ABSENT, ABSENT, ABSENT)
    (product,) = drafts(outcomes("Handle,Title,Variant SKU,Variant Barcode,Variant Inventory Qty,Tags", "a,A,X,,,"))
    assert (product.tags, product.variants[0].barcode, product.variants[0].units) == ((), None, None)
    assert product.variants[0].price_minor is ABSENT


def test_reading_goes_on_after_a_row() -> None:
    lines = [SHOPIFY, *(f"h{n},T,,,S{n},1,," for n in range(5))]
    file = opened(*lines)
    assert [outcome.rows[0].number for outcome in file.outcomes(after_row=4)] == [5, 6]
    assert (file.progress.stage, file.progress.done, file.progress.total) == ("checking", 2, 5)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a,A,,,X,1,,", "b,B,,,X,1,,"], ["error 2 Variant SKU: “X” is the SKU of row 3 too",
                                          "error 3 Variant SKU: “X” is the SKU of row 2 too"]),
        (["a,A,,,X,1,4006381333931,", "b,B,,,Y,1,'4006381333931,"],
         ["warning 2 Variant Barcode: “4006381333931” is the barcode of row 3 too",
          "warning 3 Variant Barcode: “'4006381333931” is the barcode of row 2 too"]),
        (["a,A,,,X,1,,", "b,B,,,X,1,,", "c,C,,,X,1,,"][:3],
         [f"error {row} Variant SKU: “X” is the SKU of row {other} too (3 rows in all)"
          for row, other in ((2, 4), (3, 2), (4, 2))]),
        (["a,A,Size,S,X,1,,", "a,Other,,M,Y,1,,"],
         ["error 3 Title: “Other” is another title than that of row 2, “A”, of the same product"]),
        (["a,A,,,X,-5,,"], ["error 2 Variant Price: “-5” is negative"]),
        (["a,A,,,X,5.x,,"], ["error 2 Variant Price: “5.x” has “x”, which is no currency"]),
        (["a,A,,,X,5,8.8E+12,"],
         ["error 2 Variant Barcode: “8.8E+12” is a barcode that a spreadsheet has shortened to scientific notation; "
          "its digits are lost"]),
        (["a,A,,,X,5,4006381333932,"],
         ["error 2 Variant Barcode: “4006381333932” is no barcode: its last digit would have to be 1"]),
        (["a,,,,X,5,,"], ["error 2 Title: the product has no title"]),
        ([",A,,,X,5,,"], ["error 2 Handle: the row has no handle, so that nothing tells which product it is of"]),
        (["a,A,Size,S,X,1,,", "a,,,S,Y,1,,"], ["error 3 : rows 2 and 3 are the same variant (S)"]),
        (["a,A,,,X,1,,", "a,,,,Y,1,,"], ["error 3 : nothing tells the variants of rows 2, 3 apart"]),
        (["a,A,Size,S,X,1,,", "a,,,,Y,1,,"], ["error 3 : the variant has no value for “Size”"]),
        (["a,A,,S,X,1,,"], ["error 2 Option1 Value: “S” is the value of an option without a name"]),
        (["a,A,,,X,,,"], ["warning 2 Variant Price: the variant has no price"]),
        (["a,A,,,X,1,,-2"], ["warning 2 Variant Inventory Qty: “-2” is below zero: more is sold than there is"]),
        (["a,A,,,X,1,,1.5"], ["error 2 Variant Inventory Qty: “1.5” is no whole number"]),
        (["a,A,,,X,1,,2,3,4"], ["error 2 : has 10 cells, and the file has 8 columns"]),
        (['a,"A"x,,,X,1,,', "b,B,,,Y,1,,"],
         ["error 2 : a quotation mark is not closed or stands in the middle of a cell "
          "(',' expected after '\"')"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_row_and_column(lines: list[str], expected: list[str]) -> None:
    found = outcomes(SHOPIFY, *lines)
    assert said(found) == expected
    for outcome in found:
        errors = [problem for problem in outcome.problems if problem.severity == "error"]
        assert (outcome.draft is None) == bool(errors)
        assert all(problem.fix for problem in outcome.problems)


def test_a_short_row_is_a_row_whose_last_cells_are_empty() -> None:
    (product,) = drafts(outcomes(SHOPIFY, "a,A,,,X,1"))
    assert (product.variants[0].code, product.variants[0].barcode) == ("X", None)


def test_a_position_that_is_no_number_comes_last() -> None:
    digits = "9" * 5_000
    found = outcomes(
        "Handle,Title,Variant SKU,Image Src,Image Position",
        f"a,A,X,https://x.example/1.jpg,{digits}",
        "a,,,https://x.example/2.jpg,2",
    )
    assert said(found) == [f"warning 2 Image Position: “{'9' * 59}…” is no position"]
    (product,) = drafts(found)
    assert product.images is not ABSENT
    assert [image.url[-5:] for image in product.images] == ["2.jpg", "1.jpg"]


def test_codes_are_made_of_handle_and_options_and_never_twice() -> None:
    found = outcomes(SHOPIFY, "a,A,Size,B C,,1,,", "a-b,AB,Size,C,,1,,", "d,D,,,,1,,", "e,E,,,D,1,,", make_codes=True)
    made = [outcome.draft.variants[0].code if outcome.draft else None for outcome in found]
    assert made == ["A-B-C", None, None, "D"]
    assert said(found) == [
        "error 3 Variant SKU: the SKU made for the variant, A-B-C, is that of row 2 already",
        "error 4 Variant SKU: the SKU made for the variant, D, is that of row 5 already",
    ]


def test_the_newer_template_of_shopify() -> None:
    heads = ("Title,URL handle,Description,Status,SKU,Barcode,Option1 name,Option1 value,Price,Compare-at price,"
             "Cost per item,Charge tax,Inventory tracker,Inventory quantity,Weight value (grams),Requires shipping,"
             "Product image URL,Image position,Image alt text,Variant image URL,SEO title,Product category,"
             "Fabric (product.metafields.custom.fabric)")  # fmt: skip
    row = ("Shirt,shirt,<p>x</p>,Draft,S-1,,Size,M,19.90,25,7.5,TRUE,shopify,4,250,TRUE,https://x.example/b.jpg,2,Back,"
           ",Page,Apparel > Shirts,linen")  # fmt: skip
    file = opened(heads, row, "Shirt,shirt,,,,,,,,,,,,,,,https://x.example/a.jpg,1,Front,,,,")
    (product,) = drafts(list(file.outcomes()))
    assert (file.form, file.problems) == ("shopify", ())
    assert (product.status, product.categories, product.seo_title) == ("draft", (("Apparel", "Shirts"),), "Page")
    assert product.metafields == {"custom.fabric": ("", "linen")}
    assert product.images is not ABSENT
    assert [(image.url[-5:], image.alt, image.position) for image in product.images] == [
        ("a.jpg", "Front", 1), ("b.jpg", "Back", 2)]  # fmt: skip
    (variant,) = product.variants
    assert (variant.cost_minor, variant.weight_grams, variant.is_tracked, variant.taxable) == (750, 250, True, True)


def test_a_variation_without_its_parent_and_a_parent_without_variations() -> None:
    found = outcomes(
        "ID,Type,SKU,Name,Regular price,Parent,Attribute 1 name,Attribute 1 value(s)",
        "1,variation,V1,V,5,gone,Color,Red",
        "2,variable,P,P,,,Color,Red",
        '3,variation,V3,V,6,id:4,Color,"Red"',
        "4,variable,Q,Q,,,Color,Red",
        "5,bundle,B,B,5,,,",
    )
    assert said(found) == [
        "error 2 : the variation belongs to “gone”, which is not in the file",
        "error 3 : the variable product has no variation in the file",
        "error 6 Type: “bundle” is no type of product that is known",
    ]
    assert [outcome.draft.handle for outcome in found if outcome.draft] == ["q"]


# --- files of one's own form -------------------------------------------------------------------------------------


def test_options_and_metafields_of_a_mapping() -> None:
    mapping = Mapping({"handle": "style", "title": "name", "code": "sku", "price": "price", "weight": "weight",
                       "categories": "group", "images": "pictures"},
                      options=("size",), metafields={"supplier.ref": "supplier"}, weight_unit="kg", decimals=",",
                      list_separator=" ")  # fmt: skip
    file = opened(
        "style;name;sku;price;size;supplier;weight;group;pictures;note",
        "T;Tee;T-S;1.234;S;77;0,25;Men > Tees|Sale;https://x.example/1.jpg https://x.example/2.jpg;",
        "T;Tee;T-M;9,90;M;78;0,3;;;",
        mapping=mapping,
    )
    (product,) = drafts(list(file.outcomes()))
    assert (product.handle, product.options) == ("T", ("size",))
    assert product.categories == (("Men", "Tees"), ("Sale",))
    assert product.images is not ABSENT
    assert len(product.images) == 2
    assert [(v.code, v.option_values, v.price_minor, v.weight_grams, v.metafields) for v in product.variants] == [
        ("T-S", ("S",), 123_400, 250, {"supplier.ref": ("", "77")}),
        ("T-M", ("M",), 990, 300, {"supplier.ref": ("", "78")}),
    ]
    assert [problem.sentence for problem in file.problems] == ["the column “note” is not read"]


def test_a_number_that_can_be_read_in_two_ways_is_refused_until_the_mapping_says() -> None:
    lines = ("sku,name,price", "A,Tee,1.234")
    (problem,) = outcomes(*lines, mapping=OWN)[0].problems
    assert problem.sentence == "“1.234” can be read in two ways, as thousands or with three decimals"
    assert problem.fix == "write 1234 or 1.2340, or choose the decimal separator of the file"


WEIGHED = Mapping({**OWN.columns, "weight": "kg"}, weight_unit="kg")
WOO = "ID,Type,SKU,Name,Weight (kg),Regular price,Stock"
TWOFOLD = "can be read in two ways, as thousands or with three decimals"


def numbers(*lines: str, **more: Any) -> list[tuple[int | None, int | None] | None]:
    """Price and weight of each product; None of one that is refused."""
    return [
        (outcome.draft.variants[0].price_minor or None, outcome.draft.variants[0].weight_grams or None)
        if outcome.draft
        else None
        for outcome in outcomes(*lines, **more)
    ]


@pytest.mark.parametrize(
    ("other", "price", "kilograms", "expected"),
    [
        ("12,50", "1.234", "1,125", (123_400, 1_125)),
        ("12.50", "1,234", "1.125", (123_400, 1_125)),
        ("1.234.567", "1.234", "0,5", (123_400, 500)),
        ("1 234,50 €", "1.234", "0,125", (123_400, 125)),
        ("€1,234.50", "1,234", "0.125", (123_400, 125)),
        ("12", "1.234", "1", None),
        ("12,50", "1.234", "0.5", None),
        ("call us, 12.50", "1.234", "1", None),
    ],
)
def test_the_numbers_that_can_be_read_in_one_way_tell_how_the_others_are(
    other: str, price: str, kilograms: str, expected: tuple[int, int] | None
) -> None:
    found = numbers("sku;name;price;kg", f"A;A;{other};", f"B;B;{price};{kilograms}", mapping=WEIGHED)
    assert found[1] == expected


def test_in_an_export_a_comma_is_decimals_or_thousands_only_where_the_file_says_so() -> None:
    refused = outcomes(WOO, '1,simple,A,A,"1,125",12,1', '2,simple,B,B,,"1,234",', '3,simple,C,C,,,"1,000"')
    assert [outcome.draft for outcome in refused] == [None] * 3
    assert said(refused)[:2] == [
        f"error 2 Weight (kg): “1,125” {TWOFOLD}", f"error 3 Regular price: “1,234” {TWOFOLD}"]  # fmt: skip
    assert numbers(WOO, '1,simple,A,A,"1,125","12,50",1', '2,simple,B,B,,"1,234",') == [(1_250, 1_125), (123, None)]
    assert refused[0].problems[0].fix == "write 1125 or 1,1250"
    # The export's own point beside the commas of a person.
    assert numbers(WOO, '1,simple,A,A,1.125,"12,50",1', '2,simple,B,B,,"1,234",') == [None, None]
    assert numbers(WOO, "1,simple,A,A,1.125,12,1", "2,simple,B,B,,1200,") == [(1_200, 1_125), (120_000, None)]


def test_of_a_comma_between_thousands_of_an_export_it_is_told() -> None:
    found = outcomes(WOO, '1,simple,A,A,"1,125",12.50,1', '2,simple,B,B,,"1,234.00","1,000"')
    assert [(p.row, p.sentence, p.fix, p.severity) for outcome in found for p in outcome.problems] == [
        (row, f"“{text}” is taken as {digits}: the file has points before decimals",
         f"write {digits}; if the comma stands before decimals, write {digits[0]}.{digits[1:]}", "warning")
        for row, text, digits in ((2, "1,125", "1125"), (3, "1,000", "1000"))
    ]  # fmt: skip
    assert [draft.variants[0].weight_grams for draft in drafts(found)] == [1_125_000, None]


def test_a_number_that_is_stored_as_one_has_a_point_whatever_the_mapping_says(tmp_path: Path) -> None:
    comma = replace(WEIGHED, decimals=",")
    lines: list[list[Any]] = [["sku", "name", "price", "kg"], [1.125, "A", 1.125, 1.125], ["B", "B", "1.125", "1,125"]]
    found = drafts(list(workbook(tmp_path, *lines, mapping=comma).outcomes()))
    assert [(v.code, v.price_minor, v.weight_grams) for d in found for v in d.variants] == [
        ("1.125", 113, 1_125), ("B", 112_500, 1_125)]  # fmt: skip
    path = tmp_path / "file.json"
    path.write_text('[{"sku": "A", "name": "A", "price": 1.125, "kg": "1.125"}]')
    (product,) = drafts(list(open_products(path, "file.json", "EUR", comma).outcomes()))
    assert (product.variants[0].price_minor, product.variants[0].weight_grams) == (113, 1_125_000)


def test_a_number_beyond_all_measure_is_named_in_a_workbook(tmp_path: Path) -> None:
    heads = ["Handle", "Title", "Variant SKU", "Variant Price"]
    (told,) = said(list(workbook(tmp_path, heads, ["a", "A", "X", 1e300]).outcomes()))
    assert told.startswith("error 2 Variant Price: “1")
    assert told.endswith("is a number too long for a spreadsheet to keep exactly")


def test_a_mapping_of_another_file_is_refused() -> None:
    with pytest.raises(BadMapping, match="the file has no column “price”: choose the columns again"):
        opened("sku,name", "A,Tee", mapping=OWN)


def test_the_same_column_twice_is_told() -> None:
    (problem,) = opened("Handle,Title,Variant SKU,Variant Price,SKU", "a,A,X,1,Y").problems
    assert problem.sentence == "the column “SKU” means the same as one before it and is not read"


@pytest.mark.parametrize(
    ("heads", "words"),
    [
        ("Name,Email,Financial Status,Lineitem name", "file of orders"),
        ("First Name,Email,Accepts Email Marketing", "file of customers"),
        ("Handle,Title,Option1 Name,SKU,Location,On hand", "file of stock by location"),
    ],
)
def test_files_of_other_things_say_what_they_are(heads: str, words: str) -> None:
    with pytest.raises(NotProducts, match=words):
        opened(heads, "x")


def workbook(folder: Path, *lines: list[Any], mapping: Mapping | None = None) -> ProductFile:
    book = openpyxl.Workbook()
    assert book.active is not None
    for line in lines:
        book.active.append(line)
    book.save(folder / "file.xlsx")
    return open_products(folder / "file.xlsx", "file.xlsx", "EUR", mapping)


def test_cells_of_a_workbook_are_taken_for_what_they_are(tmp_path: Path) -> None:
    heads = ["Handle", "Title", "Variant SKU", "Variant Price", "Variant Barcode", "Published", "Image Position"]
    (product,) = drafts(list(workbook(tmp_path, heads, ["a", 2024, 100, 9.9, 4006381333931, True, "=1+1"]).outcomes()))
    (variant,) = product.variants
    assert (product.title, product.status) == ("2024", "active")
    assert (variant.code, variant.price_minor, variant.barcode) == ("100", 990, "4006381333931")
    lines = [["a", date(2024, 3, 1), "X", "=A1*2", 12345678901234567, "yes"], ["b", "B", "Y", "1,50", None, "perhaps"]]
    assert said(list(workbook(tmp_path, heads, *lines).outcomes())) == [
        "error 2 Variant Price: “=A1*2” is a formula",
        "error 2 Variant Barcode: “12345678901234570” is a number too long for a spreadsheet to keep exactly",
        "error 2 Title: “2024-03-01 00:00:00” is a date or a time",
        "error 3 Published: “perhaps” is neither yes nor no",
    ]


def test_codes_are_made_the_same_when_reading_goes_on_after_a_row() -> None:
    lines = (SHOPIFY, "a,A,Size,B C,,1,,", "a-b,AB,Size,C,,1,,")
    (whole,) = said(list(opened(*lines, make_codes=True).outcomes()))
    assert said(list(opened(*lines, make_codes=True).outcomes(after_row=2))) == [whole]


def test_files_that_cannot_be_read_as_products() -> None:
    with pytest.raises(UnreadableFile, match="has 5,001 rows of one product, “h”"):
        outcomes(SHOPIFY, *(f"h,T,Size,{n},S{n},1,," for n in range(5001)))
    with pytest.raises(UnreadableFile, match="no row below them"):
        outcomes(SHOPIFY)
    with pytest.raises(UnreadableFile, match="more than 2 rows: split it"):
        outcomes(SHOPIFY, *(f"h{n},T,,,S{n},1,," for n in range(3)), rows_max=2)
    with pytest.raises(BadInput, match="XYZ is no currency"):
        opened(SHOPIFY, "a", currency="XYZ")
    with pytest.raises(UnreadableFile, match="is empty"):
        opened("")


# --- encodings ---------------------------------------------------------------------------------------------------


def from_bytes(folder: Path, data: bytes) -> ProductFile:
    (folder / "file.csv").write_bytes(data)
    return open_products(folder / "file.csv", "file.csv", "EUR")


def test_a_row_in_another_encoding_is_refused_alone(tmp_path: Path) -> None:
    lines = [SHOPIFY, *(f"h{n},Käse,,,S{n},1,," for n in range(9)), "c,Caf\udce9,,,C,1,,", "d,D\0,,,D,1,,"]
    file = from_bytes(tmp_path, "\n".join(lines).encode("utf-8", "surrogateescape"))
    found = list(file.outcomes())
    assert file.problems == ()
    assert said(found) == [
        "error 11 Title: “Café” has letters in another encoding than the file, which is UTF-8",
        "error 12 Title: “D” has a character that no text can have (a zero byte or half a letter)",
    ]
    assert {outcome.draft.title for outcome in found if outcome.draft} == {"Käse"}


def test_an_encoding_that_was_guessed_is_told(tmp_path: Path) -> None:
    file = from_bytes(tmp_path, f"{SHOPIFY}\na,Käse,,,A,1,,\n".encode("cp1252"))
    (problem,) = file.problems
    assert (problem.row, problem.severity) == (1, "warning")
    assert problem.sentence == "the file is no UTF-8 and was read as Windows text (Western European)"
    assert drafts(list(file.outcomes()))[0].title == "Käse"
