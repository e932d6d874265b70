"""Cells of product files as values, however people and spreadsheets write them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.imports import cells
from core.catalog.imports.drafts import ABSENT
from core.catalog.imports.mapping import BadMapping, Mapping, suggested
from core.money import exponent


@pytest.mark.parametrize(
    ("text", "decimals", "minor"),
    [
        ("12", None, 1200),
        ("12.5", None, 1250),
        ("12,50", None, 1250),
        ("1.234,50", None, 123450),
        ("1,234.50", None, 123450),
        ("1.234.567,89", None, 123456789),
        ("1,234,567", None, 123456700),
        ("1 234,50", None, 123450),
        ("1\u00a0234,50 €", None, 123450),
        ("1'234.50", None, 123450),
        ("€ 12,50", None, 1250),
        ("12.50 EUR", None, 1250),
        ("EUR 12.50", None, 1250),
        ("1.234", ",", 123400),
        ("1,234", ",", 123),
        ("1,234", ".", 123400),
        (".5", None, 50),
        ("'12.50", None, 1250),
        ("  12.50  ", None, 1250),
        ("+12", None, 1200),
        ("0", None, 0),
        ("0.0", None, 0),
        ("0,123", None, 12),
        ("1000,500", None, 100050),
        ("", None, None),
        ("   ", None, None),
    ],
)
def test_an_amount_is_read_as_it_is_meant(text: str, decimals: cells.Decimals, minor: int | None) -> None:
    value, fault = cells.amount(text, "EUR", decimals)
    assert value == minor
    assert fault is None or fault.severity == "warning"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.234", "can be read in two ways"),
        ("1,234", "can be read in two ways"),
        ("12.50 USD", "is in USD, and the prices of this import are in EUR"),
        ("£12", "is in GBP"),
        ("$12", "is in $"),
        ("12 pcs", "has “pcs”, which is no currency"),
        ("-5", "is negative"),
        ("(5.00)", "is negative"),
        ("5-", "is negative"),
        ("free", "is not an amount"),
        ("1.2.3", "is not a number"),
        ("1,23.456,7", "is not a number"),
        ("12.345.6", "is not a number"),
        ("٣", "is not an amount"),
        ("5012345678900123", "too large"),
        ("5" * 28, "too large"),
        ("5" * 90, "too large"),
        ("1e300", "scientific notation"),
        ("1" * 200_000 + "a1", "is not an amount"),
    ],
)
def test_an_amount_that_could_be_misread_is_refused(text: str, words: str) -> None:
    value, fault = cells.amount(text, "EUR", None)
    assert value is None
    assert fault is not None
    assert (words in fault.sentence, fault.severity, bool(fault.fix)) == (True, "error", True)


def test_what_an_amount_is_rounded_to_is_told() -> None:
    value, fault = cells.amount("12.345", "EUR", ".")
    assert value == 1235
    assert fault is not None
    assert fault.sentence == "has more decimals than EUR: taken as €12.35"


@given(
    st.integers(0, 10**9),
    st.sampled_from(["EUR", "JPY", "KWD"]),
    st.sampled_from([(".", ""), (",", ""), (".", ","), (",", "."), (",", " "), (".", "'")]),
    st.sampled_from(["{}", "{} ", "{} {c}", "{c} {}"]),
)
def test_any_amount_is_read_in_any_dress(minor: int, currency: str, dress: tuple[str, str], around: str) -> None:
    point, between = dress
    written = f"{Decimal(minor).scaleb(-exponent(currency)):,.{exponent(currency)}f}"
    text = "".join({".": point, ",": between}.get(character, character) for character in written)
    # Three digits after one separator are the one case that takes knowing the file's decimals.
    assert cells.amount(around.format(text, c=currency), currency, "." if point == "." else ",") == (minor, None)


@pytest.mark.parametrize(
    ("text", "unit", "grams"),
    [
        ("1.5", "kg", 1500),
        ("1,5 kg", "g", 1500),
        ("250g", "kg", 250),
        ("1 lb", "g", 454),
        ("2", "lbs", 907),
        ("8 oz", "", 227),
        ("0", "kg", 0),
        ("0.0", "lb", 0),
        ("", "kg", None),
    ],
)
def test_weights_are_grams(text: str, unit: str, grams: int | None) -> None:
    assert cells.weight(text, unit, ".") == (grams, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3 stone", "no unit of weight"),
        ("-1", "negative"),
        ("heavy", "not a weight"),
        ("9" * 9 + ".5", "too heavy"),
        ("9" * 28, "too large"),
        ("1" * 200_000 + "?", "not a weight"),
    ],
)
def test_weights_that_are_none(text: str, words: str) -> None:
    value, fault = cells.weight(text, "kg", ".")
    assert value is None
    assert fault is not None
    assert words in fault.sentence


@pytest.mark.parametrize(("text", "units"), [("12", 12), ("12.0", 12), ("1,000", 1000), ("", None), ("'5", 5)])
def test_units_are_whole(text: str, units: int | None) -> None:
    assert cells.units(text, ".") == (units, None)


def test_units_that_are_none_or_below_zero() -> None:
    assert cells.units("2.5", ".")[1] == ("is no whole number", "stock is counted in whole units: write one", "error")
    value, fault = cells.units("-3", ".")
    assert value == -3
    assert fault is not None
    assert fault.severity == "warning"
    assert cells.units("many", ".")[0] is None
    for text in ("9" * 28, "1" * 200_000):
        value, fault = cells.units(text, ".")
        assert value is None
        assert fault is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("TRUE", True), ("Yes", True), ("1", True), ("ja", True), ("x", True), ("FALSE", False),
     ("no", False), ("0", False), ("nein", False), ("", ABSENT)],
)  # fmt: skip
def test_yes_and_no_in_their_spellings(text: str, value: Any) -> None:
    assert cells.truth(text) == (value, None)


def test_neither_yes_nor_no() -> None:
    value, fault = cells.truth("maybe")
    assert value is ABSENT
    assert fault is not None
    assert fault.sentence == "is neither yes nor no"


@pytest.mark.parametrize(
    ("text", "barcode", "words"),
    [
        ("4006381333931", "4006381333931", None),
        ("'0123456789012", "0123456789012", None),
        ('="4006381333931"', "4006381333931", None),
        ("", None, None),
        ("4006381333932", None, "its last digit would have to be 1"),
        ("4.00638E+12", None, "shortened to scientific notation"),
        ("8,8E+12", None, "shortened to scientific notation"),
        ("own-number", "own-number", "no barcode that others know"),
        ("12345678901", "12345678901", "no barcode that others know"),
        ("x" * 64, "x" * 64, "no barcode that others know"),
        ("x" * 65, None, "has 65 characters, and a barcode has at most 64"),
    ],
)
def test_barcodes(text: str, barcode: str | None, words: str | None) -> None:
    value, fault = cells.barcode(text)
    assert value == barcode
    assert (fault is None) == (words is None)
    assert fault is None or (words or "") in fault.sentence


def test_a_code_shortened_by_a_spreadsheet_is_refused() -> None:
    assert cells.code("1.23E+11")[0] is None
    assert cells.code("1E5") == ("1E5", None)
    assert cells.code("'00123") == ("00123", None)


def test_entities_are_the_characters_they_stand_for() -> None:
    assert cells.words("Salt &amp; Pepper &#39;n&#39; more") == "Salt & Pepper 'n' more"


# --- mappings ----------------------------------------------------------------------------------------------------

WORDS = st.text(min_size=1, max_size=8)


@given(
    st.builds(
        Mapping,
        st.dictionaries(st.sampled_from(["code", "title", "price", "barcode"]), WORDS),
        st.lists(WORDS).map(tuple),
        st.dictionaries(WORDS, WORDS),
        st.sampled_from(["g", "kg", "lb", "oz"]),
        st.sampled_from([None, ".", ","]),
        st.sampled_from([",", ";", "|"]),
    )
)
def test_a_mapping_is_kept_as_json(mapping: Mapping) -> None:
    assert Mapping.from_json(mapping.to_json()) == mapping


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"columns": {"colour": "a"}}', '{"columns": {"code": 1}}', '{"weight_unit": "t"}',
     '{"decimals": "x"}', '{"options": "Size"}', '{"options": [1]}'],
)  # fmt: skip
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(BadMapping):
        Mapping.from_json(text)


def test_a_mapping_is_suggested_by_the_heads() -> None:
    found = suggested(["Artikelnummer", "Bezeichnung", "Preis", "EAN", "Gewicht (kg)", "Bestand", "Regal"])
    assert found.columns == {
        "code": "Artikelnummer", "title": "Bezeichnung", "price": "Preis", "barcode": "EAN", "weight": "Gewicht (kg)",
        "units": "Bestand"}  # fmt: skip
    assert found.weight_unit == "kg"
