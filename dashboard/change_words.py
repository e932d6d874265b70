"""Changes and their legs in words. Pure; what it returns as HTML is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.messaging import legs
from dashboard import components, formats

Row = Mapping[str, Any]

_KINDS = {
    "order_booked": "Booked",
    "order_cancelled": "Cancelled",
    "order_refunded": "Refunded",
    "order_changed": "Changed",
}
_DOCUMENTS = {
    "receipt": "Receipt",
    "adjustment": "Adjustment",
    "count": "Count",
    "transfer": "Transfer",
    "return": "Return",
    "release": "Out of quarantine",
    "purchase_order": "Purchase order",
}


def cause(row: Row) -> str:
    """What caused a change: Order #1042 booked, Receipt 17, Undo of count 9."""
    if row["document_id"] is None:
        return f"Order {row['order_name']} {_KINDS[row['kind']].lower()}"
    what = _DOCUMENTS.get(row["document_kind"], "Document")
    if row["undoes_id"] is not None:
        return f"Undo of {what.lower()} {row['undoes_id']}"
    return f"{what} {row['document_id']}"


def kind(row: Row) -> str:
    """What happened to an order."""
    return _KINDS.get(row["kind"], "Changed")


def standing(row: Row) -> str:
    """Where an order or a change stands, as a name of `formats.state`."""
    if row["stuck_legs"]:
        return "stuck"
    if row["open_legs"]:
        return "under_way"
    if row["refused_legs"]:
        return "refused"
    return "reached"


def told(row: Row) -> str:
    """What became of one leg, a sentence."""
    match row["state"]:
        case "open":
            return "On its way."
        case "confirmed":
            took = formats.duration((row["ended_at"] - row["recorded_at"]).total_seconds())
            late = ", late" if row["stuck_at"] is not None else ""
            if row["write_id"] is None:
                return f"Seen to show it{late}."
            return f"Shows {formats.count(row['shown_units'])}, confirmed after {took}{late}."
        case "compensated":
            return _sentence(legs.words(row["reason"]))
        case _:
            said = f" {_sentence(row['detail'])}" if row["detail"] else ""
            return f"{_sentence(legs.words(row['reason']))}{said} {legs.next_step(row['reason'])}".strip()


def summary(found: Sequence[Row]) -> str:
    """All legs of some changes in one sentence."""
    stuck = sum(row["state"] == "stuck" for row in found)
    waiting = sum(row["state"] == "open" for row in found)
    refused = sum(row["state"] == "refused" for row in found)
    if stuck:
        return f"{formats.plural(stuck, 'leg is', 'legs are')} stuck."
    if waiting:
        return f"{formats.plural(waiting, 'leg is', 'legs are')} on the way."
    if refused:
        return f"{formats.plural(refused, 'leg was', 'legs were')} refused by its channel."
    return "Every channel has followed."


LEG_HEADS = [("Channel", False), ("State", False), ("SKU", False), ("Change", True), ("What became of it", False)]


def leg_cells(row: Row) -> tuple[str, ...]:
    """One leg as cells of LEG_HEADS."""
    return (
        f"<b>{escape(row['connection'])}</b>",
        components.pill(row["state"]),
        f'<span class="sy-code">{escape(row["code"])}</span>',
        escape(formats.signed(row["delta_units"])),
        escape(told(row)),
    )


def _sentence(text: str) -> str:
    cleaned = text.strip().rstrip(".")
    return f"{cleaned[:1].upper()}{cleaned[1:]}." if cleaned else ""
