"""What two states of a product differ by, in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COST, STANDARD, SUPPLIER_ID, Definition
from core.catalog.products.rules import Difference
from dashboard import catalogue_words as words

DEFINITIONS: dict[tuple[str, str], Definition] = {
    (d.owner, d.key): d for d in (*STANDARD, Definition("product", "care.wool", "Is wool", "boolean"))
}
CATEGORIES = {1: "Clothes > Shirts", 2: "Summer"}


def shirt(**more: Any) -> ProductDocument:
    variants = (
        VariantDocument("SHIRT-S", "GBP", ("S",), price_minor=4500, weight_grams=210),
        VariantDocument("SHIRT-M", "GBP", ("M",), price_minor=4500),
    )
    whole = ProductDocument("shirt", "Shirt", variants, options=("Size",), tags=("linen", "winter"), categories=(1,))
    return replace(whole, **more)


def with_variant(code: str, **more: Any) -> ProductDocument:
    return shirt(variants=tuple(replace(v, **more) if v.code == code else v for v in shirt().variants))


def cost(minor: int, currency: str = "GBP") -> dict[str, Any]:
    return {"amount_minor": minor, "currency": currency}


def sentences(before: ProductDocument | None, after: ProductDocument | None) -> list[str]:
    return [saying.sentence for saying in words.said(before, after, DEFINITIONS, CATEGORIES)]


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (with_variant("SHIRT-M", price_minor=4700), "Price of SHIRT-M: £45.00 → £47.00"),
        (with_variant("SHIRT-M", compare_at_minor=5000), "Price before of SHIRT-M: none → £50.00"),
        (with_variant("SHIRT-M", price_minor=0), "Price of SHIRT-M: £45.00 → £0.00"),
        (with_variant("SHIRT-S", weight_grams=1200), "Weight of SHIRT-S: 210 g → 1,200 g"),
        (with_variant("SHIRT-S", taxable=False), "Is taxed of SHIRT-S: yes → no"),
        (with_variant("SHIRT-S", option_values=("XS",)), "Option values of SHIRT-S: S → XS"),
        (with_variant("SHIRT-S", metafields={COST: cost(1250)}), "Cost of SHIRT-S: none → £12.50"),
        (shirt(status="archived"), "Status: Active → Archived"),
        (shirt(title="Linen shirt"), "Title: Shirt → Linen shirt"),
        (shirt(vendor="Åkesson"), "Vendor: none → Åkesson"),
        (shirt(description="Soft\n linen."), "Description: none → Soft linen."),
        (shirt(tags=("linen", "summer")), "Tags: summer added; winter taken out"),
        (shirt(tags=("winter", "linen")), "Tags: now in the order winter, linen"),
        (shirt(categories=(1, 2)), "Categories: Summer added"),
        (shirt(categories=(9,)), "Categories: category 9, removed since added; Clothes > Shirts taken out"),
        (shirt(images=(Image("https://x.test/a/front.jpg?v=1", "front"),)), "Pictures: front.jpg “front” added"),
        (shirt(metafields={SUPPLIER_ID: "AK-7"}), "Supplier id: none → AK-7"),
        (shirt(metafields={"care.wool": False}), "Is wool: none → no"),
        (shirt(metafields={"not.known": "x"}), "not.known: none → x"),
        (shirt(variants=shirt().variants[:1]), "Variant taken out: SHIRT-M (M)"),
        (shirt(variants=shirt().variants[::-1]), "Order of the variants: now in the order SHIRT-M, SHIRT-S"),
    ],
)
def test_a_difference_is_a_sentence(after: ProductDocument, told: str) -> None:
    assert sentences(shirt(), after) == [told]


def test_amounts_are_each_in_the_currency_of_their_time() -> None:
    after = with_variant("SHIRT-M", price_minor=900, currency="JPY")
    assert "Price of SHIRT-M: £45.00 → ¥900" in sentences(shirt(), after)


def test_a_product_that_comes_or_goes_is_said_with_its_variants() -> None:
    assert sentences(None, shirt()) == ["New product: Shirt", "New variant: SHIRT-S (S)", "New variant: SHIRT-M (M)"]
    gone = sentences(shirt(), None)
    assert gone[0] == "Product removed: Shirt"
    assert gone[-1] == "Variant taken out: SHIRT-M (M)"
    only = replace(shirt(), options=(), variants=(VariantDocument("MUG", "GBP"),))
    assert sentences(None, only)[1] == "New variant: MUG"


def test_long_texts_are_shown_where_they_part() -> None:
    long = "This shirt is made of linen from the north, woven by hand and washed four times before it is sewn. "
    saying = words.said(shirt(description=long + "Blue."), shirt(description=long + "Red."), {}, {})[0]
    assert saying.before == "…times before it is sewn. Blue."
    assert saying.after == "…times before it is sewn. Red."


def test_a_field_that_is_not_of_its_types_form_is_shown_as_it_is() -> None:
    assert words.field_shown("money", "12") == "12"
    assert words.field_shown("list", ["a", "b"]) == "a, b"


@given(st.text("ab ", max_size=300), st.text(max_size=200), st.text(max_size=200))
def test_what_differs_is_seen_on_both_sides_however_long_they_are(same: str, one: str, other: str) -> None:
    before, after = same + one, same + other
    saying = words.say(Difference("", "description", before, after), words.Names())
    assert len(saying.before or "") <= words.LONG
    assert len(saying.after or "") <= words.LONG
    if " ".join(before.split()) != " ".join(after.split()):
        assert saying.before != saying.after
