"""From the cells of a file to rows that the desk understands, with every error by row and column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.desk import rules, sheets
from core.desk.sheets import Cell, Sheet, normalized

Act = Literal["receive", "adjust", "count", "transfer", "return"]

ALIASES: Mapping[str, frozenset[str]] = {
    "sku": frozenset(("sku", "code", "sku code", "item", "item code", "article", "article number", "product code",
                      "variant sku", "seller sku")),
    "barcode": frozenset(("barcode", "ean", "gtin", "upc", "ean code", "variant barcode")),
    "units": frozenset(("units", "quantity", "qty", "pieces", "pcs", "count", "counted", "counted units", "change",
                        "delta", "adjustment", "received", "variant inventory qty", "inventory count",
                        "variant inventory quantity")),
    "location": frozenset(("location", "place", "warehouse", "from", "from location", "location name")),
    "to": frozenset(("to", "to location", "destination")),
    "reason": frozenset(("reason", "note", "comment", "notes")),
    "order": frozenset(("order", "order name", "order number", "order no")),
    "disposition": frozenset(("disposition", "what becomes of it", "decision")),
}  # fmt: skip
_USED: Mapping[str, Sequence[str]] = {
    "receive": ("sku", "barcode", "units", "location", "reason"),
    "adjust": ("sku", "barcode", "units", "location", "reason"),
    "count": ("sku", "barcode", "units", "location"),
    "transfer": ("sku", "barcode", "units", "location", "to", "reason"),
    "return": ("sku", "barcode", "units", "location", "reason", "order", "disposition"),
}
_DISPOSITIONS: Mapping[str, str] = {
    "restock": "restock",
    "restocked": "restock",
    "sell": "restock",
    "quarantine": "quarantine",
    "quarantined": "quarantine",
    "check": "quarantine",
    "write off": "write_off",
    "writeoff": "write_off",
    "written off": "write_off",
    "scrap": "write_off",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file is to do; locations and disposition serve rows that name none."""

    act: Act
    location_id: int | None = None
    to_id: int | None = None
    disposition: str | None = None
    against_id: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where; `row` None: with the file as a whole."""

    row: int | None
    column: str | None
    text: str

    def __str__(self) -> str:
        where = "" if self.row is None else f"row {self.row}" + (f", {self.column}" if self.column else "") + ": "
        return where + self.text


@dataclass(frozen=True, slots=True)
class Row:
    """A row whose cells are read; words as they stand in the file."""

    number: int
    word: str
    column: str
    units: int
    location: str = ""
    to: str = ""
    reason: str = ""
    order: str = ""
    disposition: str = ""


@dataclass(slots=True)
class Reading:
    """A file being understood: rows, what is wrong with them, and what is worth saying."""

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    count: int = 0
    blank: int = 0

    def wrong(self, row: int | None, column: str | None, text: str) -> None:
        self.problems.append(Problem(row, column, text))


def read_rows(wanted: Wanted, name: str, data: bytes) -> Reading:
    """The rows of a file, and what is wrong with those that cannot be read."""
    known = {alias for aliases in ALIASES.values() for alias in aliases}
    reading = Reading()
    try:
        sheet = sheets.read(name, data, known)
    except sheets.UnreadableFile as error:
        reading.wrong(None, None, str(error))
        return reading
    reading.count, reading.blank = len(sheet.rows), sheet.blank_rows
    columns = _columns(sheet, wanted, reading)
    if reading.problems:
        return reading
    for number, cells in sheet.rows:
        row = _row(number, cells, columns, sheet, wanted, reading)
        if row is not None:
            reading.rows.append(row)
    return reading


def _columns(sheet: Sheet, wanted: Wanted, reading: Reading) -> dict[str, int]:
    """Where each column that this act uses is; what is missing or double is wrong, what is not used is said."""
    places: dict[str, list[int]] = {}
    unused = []
    for place, head in enumerate(sheet.heads):
        meaning = next((key for key in _USED[wanted.act] if normalized(head) in ALIASES[key]), None)
        if meaning is not None:
            places.setdefault(meaning, []).append(place)
        elif head:
            unused.append(head)
    for key, found in places.items():
        if len(found) > 1:
            heads = " and ".join(f"“{sheet.heads[place]}”" for place in found)
            reading.wrong(1, key, f"{heads} both mean {key}: keep one of them")
    if not places.keys() & {"sku", "barcode"}:
        reading.wrong(1, "sku", f"no column names the SKU: call it “SKU” or “barcode”. There is {_listed(sheet.heads)}")
    if "units" not in places:
        reading.wrong(
            1, "units", f"no column has the units: call it “units” or “quantity”. There is {_listed(sheet.heads)}"
        )
    if unused and not reading.problems:
        reading.notes.append(f"Columns not used: {_listed(unused)}.")
    return {key: found[0] for key, found in places.items()}


def _listed(heads: Sequence[str]) -> str:
    shown = ", ".join(f"“{head[:40]}”" for head in heads[:8] if head)
    return shown + (f" and {len(heads) - 8} more" if len(heads) > 8 else "")


def _row(
    number: int, cells: Sequence[Cell], columns: Mapping[str, int], sheet: Sheet, wanted: Wanted, reading: Reading
) -> Row | None:
    """One row, or None when something in it is wrong."""

    def cell(key: str) -> Cell:
        place = columns.get(key)
        return cells[place] if place is not None and place < len(cells) else sheets.EMPTY

    before = len(reading.problems)
    for key, place in columns.items():
        if (why := cell(key).problem) is not None:
            reading.wrong(number, sheet.heads[place], f"“{cell(key).text}” {why}")
    if len(cells) > len(sheet.heads) and any(extra.text for extra in cells[len(sheet.heads) :]):
        reading.wrong(number, None, "there are more cells than columns: is a separator inside a number or a reason?")
    column = "sku" if cell("sku").text else "barcode"
    word = cell(column).text
    head = sheet.heads[columns[column]] if column in columns else sheet.heads[columns["sku"]]
    if not word:
        reading.wrong(number, head, "names no SKU: fill it in, or delete the row")
    units = _units(number, sheet.heads[columns["units"]], cell("units"), wanted, reading)
    disposition = _disposition(number, cell("disposition").text, wanted, reading)
    if len(reading.problems) > before or units is None:
        return None
    return Row(
        number,
        word,
        head,
        units,
        cell("location").text,
        cell("to").text,
        cell("reason").text,
        cell("order").text,
        disposition or "",
    )


def _units(number: int, head: str, cell: Cell, wanted: Wanted, reading: Reading) -> int | None:
    if cell.problem is not None:
        return None
    text = cell.text.replace("\u2212", "-")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        reading.wrong(number, head, _why_no_units(cell.text))
        return None
    units = int(text)
    lowest = {"adjust": -rules.UNITS_MAX, "count": 0}.get(wanted.act, 1)
    if units == 0 and wanted.act == "adjust":
        reading.wrong(number, head, "0 changes nothing: delete the row")
    elif units < lowest:
        what = "a count is 0 or more" if wanted.act == "count" else "give at least 1"
        reading.wrong(number, head, f"“{cell.text}”: {what}")
    elif abs(units) > rules.UNITS_MAX:
        reading.wrong(number, head, f"{units:,} is more than {rules.UNITS_MAX:,} units: is it a barcode?")
    else:
        return units
    return None


def _why_no_units(text: str) -> str:
    if not text:
        return "is empty: write a whole number"
    if re.fullmatch(r"[+-]?[0-9]{1,3}([.,' \u2009][0-9]{3})+", text):
        return f"“{text}” can be read in two ways: write the number without separators, such as 1000"
    if re.fullmatch(r"[+-]?[0-9]*[.,][0-9]+", text):
        return f"“{text}” is no whole number: units are not divided"
    return f"“{text}” is no number: write digits only, such as 12"


def _disposition(number: int, text: str, wanted: Wanted, reading: Reading) -> str | None:
    if wanted.act != "return":
        return None
    if not text:
        if wanted.disposition is None:
            reading.wrong(number, "disposition", "is empty: write restock, quarantine or write off")
        return wanted.disposition
    found = _DISPOSITIONS.get(normalized(text))
    if found is None:
        reading.wrong(number, "disposition", f"“{text}” is none: write restock, quarantine or write off")
    return found
