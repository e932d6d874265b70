"""Which decimal separator a file's numbers have, by those of them that can be read in one way only. Pure."""

from __future__ import annotations

import re

from core.catalog.imports.cells import GROUPED, NUMBER_MAX, SPACES, Decimals

_DIGITS = re.compile(r"[^\d.,]*([\d.,]*\d)[^\d.,]*", re.ASCII)
_TWOFOLD = re.compile(r"(?=\d*[1-9]\d*[.,])(\d{1,3})([.,])(\d{3})", re.ASCII)


class Separators:
    """What the numbers that were looked at tell."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        """"." and ",": some number has it before its decimals; "?." and "?,": some number may have."""

    def look(self, text: str) -> None:
        """Take a cell of a column of numbers into account."""
        if "," not in text and ("." not in text or (text.count(".") == 1 and "." in self._seen)):
            return
        found = _DIGITS.fullmatch(SPACES.sub("", text)) if len(text) <= NUMBER_MAX else None
        if found and (told := _told(found.group(1))):
            self._seen.add(told)

    def decimals(self, *, has_points: bool) -> Decimals:
        """None where it cannot be told. `has_points`: a program wrote the file, as far as nobody changed it since, and
        programs write points."""
        told = self._seen & {".", ","}
        if len(told) == 2:
            return None
        if "." in told:
            return "."
        if "," in told:
            # Beside the commas of a person, 1.125 may still be the program's.
            return None if has_points and "?." in self._seen else ","
        return "." if has_points and "?," not in self._seen else None


def _told(digits: str) -> str | None:
    last = "." if digits.rfind(".") > digits.rfind(",") else ","
    other = "," if last == "." else "."
    whole, _, _ = digits.rpartition(last)
    if _TWOFOLD.fullmatch(digits):
        return "?" + last
    if digits.count(last) > 1:
        return other if other not in digits and GROUPED.fullmatch(digits) else None
    return last if other not in whole or GROUPED.fullmatch(whole) else None


def without_thousands(text: str) -> str | None:
    """The digits of a number such as 1,234 whose comma can part thousands or decimals; None of any other."""
    found = _DIGITS.fullmatch(SPACES.sub("", text)) if "," in text and len(text) <= NUMBER_MAX else None
    twofold = _TWOFOLD.fullmatch(found.group(1)) if found else None
    return twofold.group(1) + twofold.group(3) if twofold else None
