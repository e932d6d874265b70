"""What is too long for its place is refused with a sentence, before an index or a disk refuses it."""

from __future__ import annotations

import pytest

from core.catalog.categories import operations
from core.catalog.categories.operations import BadCategory, checked_path
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.products.fields import BadField, check, parsed
from core.catalog.products.rules import flaws_of
from tests.catalog.conftest import ANNA, Catalogue


@pytest.mark.parametrize("text", ["1e40000000", "0e40000000", "1e-40000000", "1e40", "1" * 41, "1" * 9_000, "1e-39"])
def test_a_number_that_fills_megabytes_is_no_decimal(text: str) -> None:
    with pytest.raises(BadField, match="is no number of at most 40 digits"):
        parsed("decimal", text, "EUR")


@pytest.mark.parametrize(("text", "kept"), [("1e39", "1" + "0" * 39), ("-12.50", "-12.50"), ("1e-38", f"0.{1:038}")])
def test_a_decimal_that_is_kept_is_one(text: str, kept: str) -> None:
    assert parsed("decimal", text, "EUR") == kept
    check("decimal", kept, "EUR")


def test_json_has_no_zero_byte_and_may_tell_of_one() -> None:
    assert parsed("json", r'{"a": "\\u0000"}', "EUR") == {"a": r"\u0000"}
    for text in (r'{"a": "x\u0000"}', r'["\\\u0000"]'):
        with pytest.raises(BadField, match="has a zero byte"):
            parsed("json", text, "EUR")


def test_a_barcode_has_a_length() -> None:
    def flaws(barcode: str) -> list[tuple[str, str, str]]:
        document = ProductDocument("a", "A", (VariantDocument("A-1", "EUR", barcode=barcode),))
        return [(flaw.code, flaw.field, flaw.sentence) for flaw in flaws_of(document, {})]

    assert flaws("x" * 64) == []
    assert flaws("x" * 65) == [("A-1", "barcode", "has a barcode of 65 characters; at most 64 are kept")]


def test_a_path_of_categories_has_a_length() -> None:
    names = ("ü" * 100, "a" * 100, "b" * 100, "c" * 100, "d" * 100, "e" * 100, "f" * 100, "g" * 100, "h" * 76)
    assert checked_path(names) == names
    with pytest.raises(BadCategory, match="has 1,001 bytes in all its names; at most 1,000 are kept: shorten the"):
        checked_path((*names[:-1], "h" * 77))


def test_a_category_is_hung_only_where_all_below_it_has_room(catalogue: Catalogue) -> None:
    conn, shop_id, now = catalogue.conn, catalogue.shop_id, catalogue.now
    long = tuple(letter * 120 for letter in "abcdefgh")
    at = operations.ensure_paths(conn, shop_id, [long, ("T",), ("U" * 20,)], now)
    top = operations.ensure_paths(conn, shop_id, [long[:1]], now)[long[:1]]
    with pytest.raises(BadCategory, match="bytes in all its names"):
        operations.move(conn, shop_id, top, at["U" * 20,], long[0], ANNA, now)
    operations.move(conn, shop_id, top, at["T",], long[0], ANNA, now)
