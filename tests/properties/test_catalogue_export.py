"""Whatever products there are: their export, imported again, changes nothing, and no spreadsheet runs any of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog.exports import Layout
from core.catalog.imports.reading import open_products
from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COST, STANDARD, TYPES, Definition, parsed
from core.catalog.products.rules import flaws_of
from core.importing.exporting import Kind, written
from core.importing.metafields import Fields
from core.importing.rules import merged
from core.tables.reading import open_table

DEFINITIONS = (
    *STANDARD,
    *(Definition("product", f"custom.{type_}", f"A {type_} (of ours)", type_) for type_ in TYPES),
    Definition("variant", "custom.note", "=Note", "multiline"),
)
DEFINED = {(d.owner, d.key): d for d in DEFINITIONS}
PATHS = {1: "Home > Mugs & more", 2: "=Sale", 3: "Home > A &amp; B > “x”"}

_SIGNS = "abZ=+-@'\"<>&;#,|\\ \u00e9\u05d0😀0E.％＝"
_ODD = ["=1+1", "&amp;", "&copy=1", "1E5", "'0123", '="0123"', "0042", "-5", "Default Title", "reason"]
_typed = st.text(_SIGNS, min_size=1, max_size=9).map(lambda text: " ".join(text.split()) or "x")
lines = _typed | st.sampled_from(_ODD)
texts = st.text(_SIGNS + "\n\t", max_size=12) | st.sampled_from(["<p>a</p>\r\n<script>x</script>", " =1 ", "\n@x\n"])
addresses = st.sampled_from(["https://x.example/a.jpg?x=1&copy=2", "http://x.example/ü,b.png", "https://x.example/'c"])
codes = lines.map(str.strip)
minor = st.none() | st.integers(1, 10**7)
currencies = st.sampled_from(["GBP", "EUR", "JPY", "KWD"])
costs = st.fixed_dictionaries({"amount_minor": st.integers(0, 10**7), "currency": currencies})
barcodes = st.none() | st.sampled_from(["4006381333931", "0012345678905", "shelf 7", "12E5", "'7", "=B1"])
STATUS = st.sampled_from(["active", "draft", "archived"])
SAID = {
    "text": "=x", "multiline": "a\n-b", "integer": "-7", "decimal": "0.50", "boolean": "true", "date": "2026-11-27",
    "money": "1.50 EUR", "url": "https://x.example", "colour": "#AABBCC", "list": "a | =b", "json": '{"a": [1, "x"]}',
}  # fmt: skip


@st.composite
def variants(draw: st.DrawFn, options: int, mark: str) -> list[VariantDocument]:
    found = []
    for number, code in enumerate(draw(st.lists(codes, min_size=1, max_size=3 if options else 1, unique=True))):
        facts = {"custom.note": parsed("multiline", draw(texts), "GBP")}
        facts[COST] = draw(st.none() | costs)
        found.append(
            VariantDocument(
                code + mark, draw(currencies), tuple(f"{draw(lines)}{number}" for _ in range(options)),
                barcode=draw(barcodes), price_minor=draw(minor), compare_at_minor=draw(minor),
                weight_grams=draw(st.none() | st.integers(0, 9_000)), is_stocked=draw(st.booleans()),
                requires_shipping=draw(st.booleans()), taxable=draw(st.booleans()),
                image_url=draw(st.none() | addresses), metafields={k: v for k, v in facts.items() if v is not None},
            )
        )  # fmt: skip
    return found


@st.composite
def products(draw: st.DrawFn, handle: str, mark: str) -> ProductDocument:
    options = draw(st.lists(lines, max_size=3, unique_by=str.casefold))
    if [name.casefold() for name in options] == ["title"]:
        options = []
    facts = {f"custom.{type_}": parsed(type_, SAID[type_], "GBP") for type_ in draw(st.sets(st.sampled_from(TYPES)))}
    return ProductDocument(
        handle, draw(lines), tuple(draw(variants(len(options), mark))), description=draw(texts),
        vendor=draw(st.none() | lines), product_type=draw(st.none() | lines), status=draw(STATUS),
        url=draw(st.none() | addresses),
        tags=tuple(draw(st.lists(lines, max_size=3, unique=True))),
        options=tuple(options), categories=tuple(draw(st.lists(st.sampled_from(sorted(PATHS)), unique=True))),
        images=tuple(Image(u, draw(st.just("") | lines)) for u in draw(st.lists(addresses, max_size=3, unique=True))),
        metafields=facts, seo_title=draw(st.none() | lines), seo_description=draw(st.none() | lines),
    )  # fmt: skip


catalogues = st.tuples(products("mug", ""), products("=pot", "!"), products("kännchen-1", "*")).filter(
    lambda found: len({v.code for p in found for v in p.variants}) == sum(len(p.variants) for p in found)
)


def layout_of(found: Sequence[ProductDocument]) -> Layout:
    apart = any(v.metafields[COST]["currency"] != v.currency for p in found for v in p.variants if COST in v.metafields)
    return Layout(max((len(p.categories) for p in found), default=1), DEFINITIONS, costs_apart=apart)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@given(found=catalogues)
@settings(max_examples=40)
def test_an_export_that_is_imported_again_changes_nothing(kind: Kind, found: tuple[ProductDocument, ...]) -> None:
    assert [flaws_of(product, DEFINED) for product in found] == [[], [], []]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"goods.{kind}"
        layout = layout_of(found)
        with written(path, kind, layout) as out:
            for product in found:
                out.add(product, PATHS)
        for row in open_table("goods", path, []).rows():
            assert not [cell for cell in row.cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
        outcomes = list(open_products(path, path.name, "GBP").outcomes())
    assert [p for outcome in outcomes for p in outcome.problems if p.severity == "error"] == []
    ids = {tuple(path.split(" > ")): number for number, path in PATHS.items()}
    for product, outcome in zip(found, outcomes, strict=True):
        assert outcome.draft is not None
        again = merged(product, outcome.draft, Fields(DEFINED), ids, "GBP")
        assert again.problems == []
        assert again.document == product
