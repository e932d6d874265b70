"""Barcodes: check digits, lengths, and which numbers identify nothing outside one company."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog import barcodes
from core.catalog.barcodes import BadBarcode

DIGITS = st.sampled_from("0123456789")


def numbers(length: int) -> st.SearchStrategy[str]:
    """Numbers of so many digits whose check digit is right."""
    return st.lists(DIGITS, min_size=length - 1, max_size=length - 1).map(
        lambda digits: "".join(digits) + str(barcodes.check_digit("".join(digits)))
    )


ANY_NUMBER = st.sampled_from((8, 12, 13, 14)).flatmap(numbers)


@pytest.mark.parametrize(
    ("word", "kind", "gtin"),
    [
        ("96385074", "GTIN-8", "00000096385074"),
        ("036000291452", "GTIN-12", "00036000291452"),
        ("5012345678900", "GTIN-13", "05012345678900"),
        ("15012345678907", "GTIN-14", "15012345678907"),
        ("0-306-40615-2", "ISBN-10", "09780306406157"),
        ("080442957X", "ISBN-10", "09780804429573"),
        ("978-0-306-40615-7", "GTIN-13", "09780306406157"),
    ],
)
def test_numbers_that_others_published(word: str, kind: str, gtin: str) -> None:
    found = barcodes.read(word)
    assert (found.kind, found.gtin, found.is_shared) == (kind, gtin, True)


@pytest.mark.parametrize("word", ["2012345678903", "0212345678909", "0412345678903", "20123451", "0000000000000"])
def test_a_companys_own_number_is_read_and_never_compared(word: str) -> None:
    assert not barcodes.read(word).is_shared
    assert barcodes.gtin_of(word) is None
    assert barcodes.key_of(word) == word


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("5012345678901", "would have to be 0"),
        ("0306406153", "10 digits|would end in 2"),
        ("501234567891", "would have to be"),
        ("50123", "has a zero in front been lost"),
        ("MUG-1", "digits only"),
        ("", "digits only"),
        ("\u0665\u0660\u0661\u0662\u0663\u0664\u0665\u0666", "digits only"),
    ],
)
def test_what_is_none_says_why(word: str, why: str) -> None:
    with pytest.raises(BadBarcode, match=why):
        barcodes.read(word)


@given(ANY_NUMBER, st.integers(min_value=0), st.integers(min_value=1, max_value=9))
def test_one_wrong_digit_is_always_found(word: str, place: int, more: int) -> None:
    place %= len(word)
    wrong = word[:place] + str((int(word[place]) + more) % 10) + word[place + 1 :]
    with pytest.raises(BadBarcode):
        barcodes.read(wrong)


@given(st.lists(DIGITS, min_size=9, max_size=9).map("".join), st.integers(0, 9), st.integers(1, 10))
def test_one_wrong_sign_of_an_isbn_is_always_found(digits: str, place: int, more: int) -> None:
    word = digits + barcodes.isbn10_check(digits)
    assert barcodes.read(word).gtin.startswith("0978")
    signs = "0123456789X" if place == 9 else "0123456789"
    sign = signs[(signs.index(word[place]) + more) % len(signs)]
    if sign != word[place]:
        with pytest.raises(BadBarcode):
            barcodes.read(word[:place] + sign + word[place + 1 :])


@given(ANY_NUMBER, st.sampled_from(("", " ", "-", "\u00a0")))
def test_zeros_in_front_and_spacers_change_nothing(word: str, spacer: str) -> None:
    assert barcodes.gtin_of(spacer.join(word)) == barcodes.gtin_of(word) == barcodes.gtin_of(word.zfill(14))


@given(ANY_NUMBER)
def test_what_is_compared_has_fourteen_digits_and_is_read_as_itself(word: str) -> None:
    gtin = barcodes.gtin_of(word)
    assert gtin is None or (len(gtin) == 14 and barcodes.gtin_of(gtin) == gtin == barcodes.key_of(word))
