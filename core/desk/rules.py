"""Pure rules of the desk: what a line of a document does to stock, what is still on its way, how arrivals are told off.

Every effect is a multiple of the line's units, so a document is undone by the same lines with their signs turned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["receipt", "adjustment", "count", "transfer", "return", "purchase_order", "release"]
Disposition = Literal["restock", "quarantine", "write_off"]

DISPOSITIONS: tuple[Disposition, ...] = ("restock", "quarantine", "write_off")
UNITS_MAX = 1_000_000
"""Of one SKU on one document: anything above is a typing error, or a barcode in the wrong field."""
LINES_MAX = 5_000
"""Of one document: they are locked and booked together."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a line does at its document's location: change of what is on hand, and of what is kept apart of it."""

    reason: str
    delta_units: int
    unavailable_delta_units: int = 0


def effect(kind: Kind, units: int, disposition: str | None, is_of_transfer: bool = False) -> Effect | None:
    """What a line without an order does to stock; None: nothing. `is_of_transfer`: a receipt of goods of our own.

    A transfer takes off where it leaves; what arrives is a receipt. Goods written off on return never come in.
    """
    if kind == "receipt":
        return Effect("relocation" if is_of_transfer else "receipt", units)
    if kind in ("adjustment", "count"):
        return Effect(kind, units) if units else None
    if kind == "transfer":
        return Effect("relocation", -units)
    if kind == "return":
        if disposition == "write_off":
            return None
        return Effect("customer_return", units, units if disposition == "quarantine" else 0)
    if kind == "release":
        if disposition == "write_off":
            return Effect("write_off", -units, -units)
        return Effect("quarantine", 0, -units)
    return None


@dataclass(frozen=True, slots=True)
class Expected:
    """A line of a purchase order or transfer: units expected, come so far, and no longer expected."""

    ordinal: int
    sku_id: int
    units: int
    received: int = 0
    dropped: int = 0

    @property
    def outstanding(self) -> int:
        """What is still on its way."""
        return max(0, self.units - self.received - self.dropped)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came, told off against what was expected; units by line, and by SKU what was not expected."""

    received: Mapping[int, int]
    """Ordinal -> change of what was received; negative when an arrival is undone."""
    over: Mapping[int, int]
    """SKU -> units beyond what was outstanding; of a SKU that was never expected, all of them."""
    outstanding: Mapping[int, int]
    """SKU -> units still outstanding afterwards, where there are any."""


def tell_off(expected: Sequence[Expected], came: Mapping[int, int]) -> Arrival:
    """Tell arrivals (units by SKU; negative undoes) off against lines of which each SKU has one."""
    lines = {line.sku_id: line for line in expected}
    received = {lines[sku].ordinal: units for sku, units in came.items() if sku in lines}
    over, outstanding = {}, {}
    for sku, units in came.items():
        beyond = units - (lines[sku].outstanding if sku in lines else 0)
        if beyond > 0:
            over[sku] = beyond
    for line in expected:
        left = max(0, line.units - line.received - came.get(line.sku_id, 0) - line.dropped)
        if left:
            outstanding[line.sku_id] = left
    return Arrival(received, over, outstanding)


def missing(before: int, after: int) -> int:
    """How many units more would be promised than there are, through an act that changed what is available.

    Nothing when the act left as much or more: a shortage that was there already is none of its making.
    """
    return min(before - after, -after) if after < 0 and after < before else 0


def is_forbidden_for_bundles(kind: Kind) -> bool:
    """Whether a bundle cannot be named: it is counted and adjusted as its parts, which lie on the shelf."""
    return kind in ("count", "adjustment", "release")
