"""Cells as values: amounts, weights, units, yes and no, barcodes, codes. Pure; each answers with a value or a fault."""

from __future__ import annotations

import html
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, NamedTuple

from core.catalog import barcodes
from core.catalog.barcodes import BadBarcode
from core.catalog.imports.drafts import ABSENT, Absent
from core.catalog.imports.problems import Severity
from core.money import CURRENCIES, exponent, shown

Decimals = Literal[".", ","] | None
"""The decimal separator of a file's numbers; None where it is not known."""


class Fault(NamedTuple):
    """What is wrong with a cell, and what to do."""

    sentence: str
    fix: str
    severity: Severity = "error"


TWOFOLD = "can be read in two ways, as thousands or with three decimals"

_DOLLARS = frozenset(("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "ARS", "CLP", "COP", "TWD", "BSD", "BBD", "JMD"))
_KRONER = frozenset(("SEK", "NOK", "DKK", "ISK"))
_SIGNS = {
    "£": frozenset(("GBP",)),
    "€": frozenset(("EUR",)),
    "$": _DOLLARS,
    "US$": frozenset(("USD",)),
    "¥": frozenset(("JPY", "CNY")),
    "₹": frozenset(("INR",)),
    "zł": frozenset(("PLN",)),
    "Kč": frozenset(("CZK",)),
    "kr": _KRONER,
    "kr.": _KRONER,
    "R$": frozenset(("BRL",)),
    "₺": frozenset(("TRY",)),
    "₩": frozenset(("KRW",)),
    "Fr.": frozenset(("CHF",)),
}
_GRAMS = {
    **dict.fromkeys(("g", "gram", "grams", "gr"), Decimal(1)),
    **dict.fromkeys(("kg", "kgs", "kilogram", "kilograms", "kilo"), Decimal(1000)),
    **dict.fromkeys(("mg",), Decimal("0.001")),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds"), Decimal("453.59237")),
    **dict.fromkeys(("oz", "ounce", "ounces"), Decimal("28.349523125")),
}
_YES = frozenset(("true", "yes", "y", "1", "on", "x", "ja", "j", "wahr", "oui", "vrai", "si", "sí", "sì", "taxable"))
_NO = frozenset(("false", "no", "n", "0", "off", "-", "nein", "falsch", "non", "faux", "none"))

_PLAIN = re.compile(r"\d{1,12}(?:\.(\d{1,2}))?", re.ASCII)
_AROUND = re.compile(r"([^\d.,'()+\-−]*)\s*(\(?[+\-−]?\s*[\d.,'’\s]*\d[\d.,'’\s]*\)?-?)\s*(\D*)", re.ASCII)
_WEIGHED = re.compile(r"(.*?\d)\s*([a-zA-Z]*)\.?")
SPACES = re.compile("[\\s\u00a0\u202f'’]")
GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3})+", re.ASCII)
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+", re.ASCII)
_UNSEEN = dict.fromkeys(
    (0xAD, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A))
)
"""Spaces of no width, marks of direction and of order, hyphens that only show at the end of a line."""
_AMOUNT_MAX = 10**15
_DIGITS_MAX = 18
"""Of a number before its decimals: more are a barcode, or a slip."""
NUMBER_MAX = 100
"""Characters of a number with its currency or unit: to look for one in a whole text takes long."""
_UNITS_MAX = 2**31 - 1


def seen(text: str) -> str:
    """A cell without characters that nobody sees, such as a space of no width that was copied with a code."""
    return text if text.isascii() else text.translate(_UNSEEN).strip()


def plain(text: str) -> str:
    """A cell without the space around it, and without what spreadsheets are told a text by: '0123 and ="0123"."""
    text = seen(text.strip())
    if text[:2] == '="' and text[-1:] == '"' and len(text) > 2:
        return text[2:-1].strip()
    if text[:1] == "'" and text[1:2].isdigit():
        return text[1:]
    return text


def is_dressed(text: str) -> bool:
    """Whether a cell says that it is a text, as ="1E5" does: a spreadsheet has shortened nothing of it."""
    return text.strip()[:2] == '="'


def words(text: str) -> str:
    """A name as people read it: entities of HTML are the characters that they stand for."""
    text = text.strip()
    return html.unescape(text).strip() if "&" in text else text


def amount(text: str, currency: str, decimals: Decimals) -> tuple[int | None, Fault | None]:
    """An amount of money in minor units of `currency`; None for an empty cell."""
    text = plain(text)
    if not text:
        return None, None
    simple = _PLAIN.fullmatch(text)
    if simple and exponent(currency) == 2:
        whole, _, part = text.partition(".")
        return int(whole) * 100 + int(part.ljust(2, "0") if part else 0), None
    found = _AROUND.fullmatch(text.replace("\u00a0", " ")) if len(text) <= NUMBER_MAX else None
    if not found:
        return None, _no_number(text, "an amount")
    for sign in (found.group(1).strip(), found.group(3).strip()):
        if fault := _other_currency(sign, currency):
            return None, fault
    value, fault = number(found.group(2), decimals)
    if value is None or fault:
        return None, fault
    return _minor(value, text, currency)


def number(text: str, decimals: Decimals) -> tuple[Decimal | None, Fault | None]:
    """A number with any separators; None for an empty cell. What can be read in two ways is a fault."""
    bare = SPACES.sub("", text)
    if not bare:
        return None, None
    if len(bare) > NUMBER_MAX:
        return None, _no_number(bare, "a number")
    is_negative = bare[0] in "-−(" or bare[-1] == "-"
    digits = bare.strip("-−+()")
    last = max(digits.rfind("."), digits.rfind(","))
    point = digits[last] if last >= 0 else ""
    other = "," if point == "." else "."
    whole, _, part = digits.rpartition(point) if point else (digits, "", "")
    if point and digits.count(point) > 1:
        # 1.234.567: the same separator twice parts thousands.
        if other in digits or not GROUPED.fullmatch(digits):
            return None, _no_number(text, "a number")
        whole, part = digits, ""
    elif point and other in whole:
        if not GROUPED.fullmatch(whole):
            return None, _no_number(text, "a number")
    elif point and len(part) == 3 and 1 <= len(whole) <= 3 and whole.strip("0"):
        if decimals is None:
            return None, Fault(TWOFOLD, f"write {whole}{part} or {whole}{point}{part}0")
        if decimals != point:
            whole, part = digits, ""
    whole = whole.replace(",", "").replace(".", "") or "0"
    if not (whole + part).isascii() or not (whole + part).isdigit():
        return None, _no_number(text, "a number")
    if len(whole.lstrip("0")) > _DIGITS_MAX:
        return None, Fault("is too large a number", "has a barcode or a code slipped into this column?")
    value = Decimal(f"{whole}.{part}") if part else Decimal(whole)
    return (-value if is_negative else value), None


def _no_number(text: str, what: str) -> Fault:
    if _SCIENTIFIC.fullmatch(text.strip()):
        return Fault("is in scientific notation", "format the column as a number and save the file again")
    return Fault(f"is not {what}", "write digits only, such as 12.50")


def _other_currency(sign: str, currency: str) -> Fault | None:
    if not sign:
        return None
    codes = _SIGNS.get(sign) or (frozenset((sign.upper(),)) if sign.upper() in CURRENCIES else None)
    if codes is None:
        return Fault(f"has “{sign}”, which is no currency", "write the amount alone, such as 12.50")
    if currency not in codes:
        named = sign if len(codes) > 1 else next(iter(codes))
        return Fault(
            f"is in {named}, and the prices of this import are in {currency}",
            f"convert it to {currency}, or import this file with the other currency",
        )
    return None


def _minor(value: Decimal, text: str, currency: str) -> tuple[int | None, Fault | None]:
    if value < 0:
        return None, Fault("is negative", "write the price as it is asked for, or leave the cell empty")
    scaled = value.scaleb(exponent(currency))
    minor = int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    if minor >= _AMOUNT_MAX:
        return None, Fault("is too large for a price", "has a barcode or a code slipped into this column?")
    if minor != scaled:
        return minor, Fault(
            f"has more decimals than {currency}: taken as {shown(minor, currency)}",
            "write it with fewer decimals if that is wrong",
            "warning",
        )
    return minor, None


def weight(text: str, unit: str, decimals: Decimals) -> tuple[int | None, Fault | None]:
    """Whole grams; a unit in the cell is stronger than the column's. None for an empty cell."""
    text = plain(text)
    if not text:
        return None, None
    found = _WEIGHED.fullmatch(text.replace("\u00a0", " ")) if len(text) <= NUMBER_MAX else None
    if not found:
        return None, _no_number(text, "a weight")
    named = found.group(2).casefold() or unit.strip().casefold() or "g"
    if named not in _GRAMS:
        return None, Fault(f"is in “{named}”, which is no unit of weight", "use g, kg, lb or oz")
    value, fault = number(found.group(1), decimals)
    if value is None or fault:
        return None, fault
    grams = int((value * _GRAMS[named]).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    if grams < 0:
        return None, Fault("is negative", "write the weight, or leave the cell empty")
    if grams > _UNITS_MAX:
        return None, Fault("is too heavy for a product", "is the unit right?")
    return grams, None


def units(text: str, decimals: Decimals) -> tuple[int | None, Fault | None]:
    """Stock on hand, whole. None for an empty cell."""
    text = plain(text)
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text), None
    value, fault = number(text, decimals)
    if fault or value is None:
        return None, fault
    if value != value.to_integral_value():
        return None, Fault("is no whole number", "stock is counted in whole units: write one")
    if abs(value) > _UNITS_MAX:
        return None, Fault("is more than any stock", "has a barcode slipped into this column?")
    if value < 0:
        return int(value), Fault("is below zero: more is sold than there is", "count it, or write 0", "warning")
    return int(value), None


def truth(text: str) -> tuple[bool | Absent, Fault | None]:
    """Yes or no in any usual spelling; ABSENT for an empty cell."""
    word = text.strip().casefold()
    if word in _YES:
        return True, None
    if word in _NO:
        return False, None
    return ABSENT, Fault("is neither yes nor no", "write true or false") if word else None


def barcode(text: str) -> tuple[str | None, Fault | None]:
    """A barcode as it is printed; None for an empty cell. A misread one is an error, a number of one's own is not."""
    is_text = is_dressed(text)
    text = plain(text)
    if not text:
        return None, None
    if _SCIENTIFIC.fullmatch(text) and not is_text:
        return None, Fault(
            "is a barcode that a spreadsheet has shortened to scientific notation; its digits are lost",
            "format the column as text, fill in the barcodes again and save the file",
        )
    if len(text) > barcodes.WORD_MAX:
        return None, Fault(
            f"has {len(text):,} characters, and a barcode has at most {barcodes.WORD_MAX}",
            "write the digits under the bars, or leave the cell empty",
        )
    try:
        barcodes.read(text)
    except BadBarcode:
        digits = text.replace(" ", "").replace("-", "")
        is_misread = digits.isascii() and digits.isdigit() and len(digits) in (8, 12, 13, 14)
        if is_misread:
            expected = barcodes.check_digit(digits[:-1])
            return None, Fault(
                f"is no barcode: its last digit would have to be {expected}",
                "scan it again, or leave the cell empty",
            )
        return text, Fault(
            "is no barcode that others know: those have 8, 12, 13 or 14 digits",
            "has a zero in front been lost? Else nothing needs to be done: it is kept as a number of your own",
            "warning",
        )
    return text, None


def code(text: str) -> tuple[str | None, Fault | None]:
    """A SKU code as it is written; None for an empty cell."""
    is_text = is_dressed(text)
    text = plain(text)
    if not text:
        return None, None
    if "E+" in text.upper() and _SCIENTIFIC.fullmatch(text) and not is_text:
        return None, Fault(
            "is a code that a spreadsheet has shortened to scientific notation; its digits are lost",
            "format the column as text, fill in the codes again and save the file",
        )
    if len(text) > 255:
        return None, Fault(f"has {len(text):,} characters, and a code has at most 255", "shorten it")
    return text, None


def address(text: str) -> str:
    """An address as browsers take it: with the scheme that it leaves open, and without spaces."""
    url = text.strip()
    url = f"https:{url}" if url.startswith("//") else url
    return re.sub(r"\s", "%20", url) if url.lower().startswith(("http://", "https://")) else url


def slug(text: str) -> str:
    """A word for addresses: letters and digits in lower case, joined by hyphens."""
    return "-".join(re.findall(r"[^\W_]+", text.casefold()))
