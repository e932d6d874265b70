"""Barcodes as pure functions: GTIN-8, -12, -13 and -14, ISBN-10 and -13, compared as GTIN-14.

A UPC-A is a GTIN-12, an EAN a GTIN-13, an ISBN an EAN that begins with 978 or 979. The last digit checks the others
(GS1 General Specifications, section 7.9; ISBN-10 by its own rule). Numbers for use inside one company or shop identify
nothing outside it: prefixes 02, 04 and 20 to 29, and among GTIN-8 those that begin with 0 or 2; so does a number of
zeros. They are kept as they are and never matched. The SQL function `gtin_of` says the same; a property test holds the
two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from core.errors import BadInput

WORD_MAX = 64
"""Characters of a barcode, a number of one's own too: an index holds it."""

BarcodeKind = Literal["GTIN-8", "GTIN-12", "GTIN-13", "GTIN-14", "ISBN-10"]

_KINDS: dict[int, BarcodeKind] = {8: "GTIN-8", 12: "GTIN-12", 13: "GTIN-13", 14: "GTIN-14"}
_SPACERS = str.maketrans("", "", " -\t\u00a0")
"""What people and labels put between digits."""


class BadBarcode(BadInput):
    """A word that is no barcode, or one that was misread."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(f"“{word}” is no barcode: {why}")


@dataclass(frozen=True, slots=True)
class Barcode:
    """A barcode whose check digit is right. `gtin` has 14 digits; `is_shared` False: some company's own number."""

    kind: BarcodeKind
    gtin: str
    is_shared: bool


def check_digit(digits: str) -> int:
    """The GS1 check digit of a number without one: from the right, weights 3 and 1 in turn."""
    return -(3 * sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2]))) % 10


def isbn10_check(digits: str) -> str:
    """The check character of the first nine digits of an ISBN-10: modulo 11, X for ten."""
    rest = -sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
    return "X" if rest == 10 else str(rest)


def read(word: str) -> Barcode:
    """The barcode that a word is, spaces and hyphens aside. Raises BadBarcode."""
    digits = word.translate(_SPACERS)
    if len(digits) == 10 and re.fullmatch("[0-9]{9}[0-9Xx]", digits):
        if isbn10_check(digits[:9]) != digits[9].upper():
            raise BadBarcode(word, f"as an ISBN-10 it would end in {isbn10_check(digits[:9])}: scan it again")
        body = "978" + digits[:9]
        return _barcode("ISBN-10", body + str(check_digit(body)))
    if not (digits.isascii() and digits.isdigit()):
        raise BadBarcode(word, "it has digits only, 8, 12, 13 or 14 of them (an ISBN-10 may end in X)")
    if len(digits) not in _KINDS:
        raise BadBarcode(
            word, f"it has {len(digits)} digits, and barcodes have 8, 12, 13 or 14: has a zero in front been lost?"
        )
    if check_digit(digits[:-1]) != int(digits[-1]):
        raise BadBarcode(word, f"its last digit would have to be {check_digit(digits[:-1])}: scan it again")
    return _barcode(_KINDS[len(digits)], digits)


@lru_cache(maxsize=16_384)
def gtin_of(word: str | None) -> str | None:
    """The 14 digits by which a barcode is compared; None for what is none, or means nothing outside one company."""
    if word is None:
        return None
    try:
        found = read(word)
    except BadBarcode:
        return None
    return found.gtin if found.is_shared else None


def key_of(word: str) -> str:
    """What a barcode is kept under in the mapping table: its 14 digits where it has them, else the word itself."""
    return gtin_of(word) or word.strip(" \t\u00a0")


def _barcode(kind: BarcodeKind, digits: str) -> Barcode:
    gtin = digits.zfill(14)
    if gtin.startswith("000000"):
        # The room of GTIN-8.
        is_own = gtin[6] in "02"
    else:
        is_own = gtin[1:3] in ("02", "04") or gtin[1] == "2"
    return Barcode(kind, gtin, not is_own)
