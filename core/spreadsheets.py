"""What a spreadsheet would run as a formula is written with an apostrophe in front, and read without it.

A file comes back in as it went out: the apostrophe is also put before a cell that already looks like a guarded one.
Source: the characters of OWASP's "CSV Injection".
"""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def guarded(text: str) -> str:
    """A cell that no spreadsheet runs: an apostrophe before what begins like a formula, or like such a cell."""
    return f"'{text}" if text[:1] in (*_FORMULA, "'") else text


def unguarded(text: str) -> str:
    """What was guarded, as it was."""
    return text[1:] if text[:1] == "'" and text[1:2] in (*_FORMULA, "'") else text
