"""A product as it is typed is the product again, and what cannot be read is told by its field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COLOUR_CODE, COST, STANDARD, SUPPLIER_ID, Definition
from dashboard import product_form as form

DEFINITIONS: dict[tuple[str, str], Definition] = {
    (d.owner, d.key): d
    for d in (
        *STANDARD,
        Definition("product", "care.wool", "Is wool", "boolean"),
        Definition("variant", "a.b", "B", "list"),
    )
}
IN_EURO = {COST: {"amount_minor": 9, "currency": "EUR"}}
SHIRT = ProductDocument(
    "linen-shirt",
    "Linen shirt",
    (
        VariantDocument("S-M", "GBP", ("M",), price_minor=4500, metafields=IN_EURO),
        VariantDocument("S-L", "GBP", ("L",), weight_grams=210, taxable=False, metafields={"a.b": ["x", "y"]}),
    ),
    options=("Size",),
    vendor="Åkesson",
    images=(Image("https://x.test/a.jpg", "front"),),
    metafields={SUPPLIER_ID: "AK", "care.wool": False},
    categories=(3, 1),
)  # fmt: skip


def with_cells(row: str, **cells: Any) -> form.Typed:
    typed = form.typed(SHIRT, DEFINITIONS)
    return replace(typed, variants=tuple({**v, **cells} if v["code"] == row else v for v in typed.variants))


def typed_with(**more: Any) -> form.Typed:
    return replace(form.typed(SHIRT, DEFINITIONS), **more)


def read(typed: form.Typed) -> form.Read:
    return form.read(typed, SHIRT, DEFINITIONS, "GBP")


def test_what_is_not_touched_is_not_changed() -> None:
    assert read(form.typed(SHIRT, DEFINITIONS)) == form.Read(SHIRT)


@given(
    minor=st.none() | st.integers(0, 10**15),
    currency=st.sampled_from(["GBP", "JPY", "KWD"]),
    grams=st.none() | st.integers(0, 2_000_000_000),
)
def test_amounts_and_weights_are_typed_as_they_are_kept(minor: int | None, currency: str, grams: int | None) -> None:
    variant = VariantDocument("C", currency, price_minor=minor, compare_at_minor=minor, weight_grams=grams)
    document = ProductDocument("c", "C", (variant,))
    assert form.read(form.typed(document, {}), document, {}, "GBP").document == document


@pytest.mark.parametrize(
    ("cells", "name", "value"),
    [
        ({"price": "12.50"}, "price_minor", 1250),
        ({"price": "12.5"}, "price_minor", 1250),
        ({"price": "1250", "currency": "jpy"}, "price_minor", 1250),
        ({"price": None}, "price_minor", None),
        ({"price": float("nan")}, "price_minor", None),
        ({"before": " 60 "}, "compare_at_minor", 6000),
        ({"weight": "1.2 kg"}, "weight_grams", 1200),
        ({"weight": "250g"}, "weight_grams", 250),
        ({"taxable": None}, "taxable", True),
        ({"taxable": False}, "taxable", False),
        ({"option_1": " XL "}, "option_values", ("XL",)),
        ({f"metafields.{COLOUR_CODE}": "1b4d3e"}, "metafields", {**IN_EURO, COLOUR_CODE: "#1B4D3E"}),
        ({"metafields.inventory.cost": ""}, "metafields", {}),
    ],
)  # fmt: skip
def test_a_cell_is_read_as_people_type_it(cells: dict[str, Any], name: str, value: Any) -> None:
    found = read(with_cells("S-M", **cells)).document
    assert found is not None
    assert getattr(found.variants[0], name) == value


@pytest.mark.parametrize(
    ("typed", "where", "says"),
    [
        (with_cells("S-M", price="12,50"), ("S-M", "price_minor"), "write it as 12.50"),
        (with_cells("S-M", price="£12"), ("S-M", "price_minor"), "no price"),
        (with_cells("S-M", price="12.505"), ("S-M", "price_minor"), "finer than GBP"),
        (with_cells("S-M", before="-1"), ("S-M", "compare_at_minor"), "no price before"),
        (with_cells("S-M", weight="0.5 g"), ("S-M", "weight_grams"), "whole grams"),
        (with_cells("S-M", weight="heavy"), ("S-M", "weight_grams"), "whole grams"),
        (with_cells("S-M", currency="XXX"), ("S-M", "currency"), "no currency"),
        (with_cells("S-M", code=""), ("", "code"), "row 1 of the variants has no code"),
        (with_cells("S-M", option_1=""), ("S-M", "option_values"), "option values"),
        (with_cells("S-M", option_2="Blue"), ("S-M", "option_values"), "an option without a name"),
        (with_cells("S-M", **{f"metafields.{COST}": "x"}), ("S-M", f"metafields.{COST}"), "Cost: “x” is no"),
        (with_cells("S-M", code="S-L"), ("S-L", "code"), "names 2 of its variants"),
        (typed_with(metafields={"care.wool": "perhaps"}), ("", "metafields.care.wool"), "Is wool: “perhaps”"),
        (typed_with(images=(("", "no address"),)), ("", "images"), "is no address"),
        (typed_with(variants=()), ("", "variants"), "has no variant"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_its_field(typed: form.Typed, where: tuple[str, str], says: str) -> None:
    found = read(typed)
    assert found.document is None
    told = {(flaw.code, flaw.field): flaw.sentence for flaw in found.flaws}
    assert says in told[where]


def test_everything_wrong_is_told_at_once_and_a_broken_row_does_not_hide_the_next() -> None:
    typed = with_cells("S-M", price="a", weight="b")
    typed = replace(typed, texts={**typed.texts, "title": ""})
    assert [(f.code, f.field) for f in read(typed).flaws] == [
        ("S-M", "price_minor"),
        ("S-M", "weight_grams"),
        ("", "title"),
    ]


def test_rows_left_empty_are_no_variants_and_new_ones_are() -> None:
    typed = form.typed(SHIRT, DEFINITIONS)
    blank: dict[str, Any] = dict.fromkeys(form.columns(DEFINITIONS))
    more = {**blank, "code": "S-S", "option_1": "S", "price": "9", "taxable": True}
    found = read(replace(typed, variants=(*typed.variants, {**blank, "taxable": True}, more))).document
    assert found is not None
    assert found.variants[2:] == (VariantDocument("S-S", "GBP", ("S",), price_minor=900),)


def test_a_new_product_gets_its_address_from_its_title() -> None:
    base = form.empty("GBP", {"code": "MUG-1"})
    typed = form.typed(base, DEFINITIONS)
    found = form.read(replace(typed, texts={**typed.texts, "title": "Stone mug, grey"}), base, DEFINITIONS, "GBP")
    assert found.document == ProductDocument("stone-mug-grey", "Stone mug, grey", (VariantDocument("MUG-1", "GBP"),))
