"""Words of the Desk: what a document is called, how it stands, what an act says before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.desk.booking import Change, Outcome
from dashboard import components, formats

KINDS = {
    "receipt": "Receipt",
    "adjustment": "Adjustment",
    "count": "Count",
    "transfer": "Transfer",
    "return": "Return",
    "purchase_order": "Purchase order",
    "release": "Quarantine release",
}
DISPOSITIONS = {"Restock": "restock", "Quarantine": "quarantine", "Write off": "write_off"}
_DISPOSITION_WORDS = {value: word for word, value in DISPOSITIONS.items()}
_VERBS = {
    "receipt": "Receive",
    "adjustment": "Adjust",
    "transfer": "Draft",
    "return": "Take back",
    "purchase_order": "Expect",
    "release": "Release",
}
_DONE = {
    "receipt": "received",
    "adjustment": "adjusted",
    "transfer": "on the transfer",
    "return": "taken back",
    "purchase_order": "expected",
    "release": "let out of quarantine",
}


def name(kind: str, number: int, undoes: int | None = None) -> str:
    """Receipt 12; Undo of receipt 11."""
    if undoes is not None:
        return f"Undo of {KINDS[kind].lower()} {undoes}"
    return f"{KINDS[kind]} {number}"


def disposition(value: str | None) -> str:
    """Restock, Quarantine, Write off."""
    return _DISPOSITION_WORDS.get(value or "", formats.UNKNOWN)


def units_of_skus(units: int, skus: int) -> str:
    """12 units of 3 SKUs."""
    return f"{formats.plural(abs(units), 'unit')} of {formats.plural(skus, 'SKU')}"


def verb(outcome: Outcome) -> str:
    """What the button of an act says: it repeats what will happen."""
    return f"{_VERBS.get(outcome.kind, 'Book')} {units_of_skus(outcome.units, outcome.skus)}"


def said(outcome: Outcome, done: str | None = None) -> str:
    """What an act says when it is done; `done` are its own words, where it does not book a document of its kind."""
    called = name(outcome.kind, outcome.document_id)
    if done is not None and outcome.is_new:
        return f"{done}: {units_of_skus(outcome.units, outcome.skus)}."
    if done is not None:
        return f"{done}. That was done already, by {outcome.by}; nothing was done twice."
    if outcome.kind == "count" and outcome.is_new:
        if not outcome.lines:
            return f"{called}: the sheet is open, with {formats.plural(outcome.skus, 'SKU')}."
        return f"{called}: a variance of {units_of_skus(outcome.units, outcome.skus)} is booked."
    what = f"{called}: {units_of_skus(outcome.units, outcome.skus)}"
    if not outcome.is_new:
        return f"{what}. It was booked already, by {outcome.by}; nothing was booked twice."
    return f"{what} {_DONE.get(outcome.kind, 'booked')}."


def state(row: Mapping[str, Any]) -> tuple[str, str]:
    """(look, words) of how a document stands."""
    if row["undone_by_id"]:
        return "unknown", f"Undone by {row['undone_by_id']}"
    if row["state"] == "cancelled":
        return "unknown", "Cancelled"
    if row["done_at"] is not None:
        return "ok", "Booked" if row["kind"] not in ("purchase_order", "transfer", "count") else "Done"
    if row["kind"] == "count":
        if row["counted"]:
            return "attention", f"{row['counted']:,} to approve"
        return "busy", f"{row['to_count']:,} to count"
    if row["state"] == "draft":
        return "busy", "Draft"
    if row["kind"] == "purchase_order":
        if row["expected_on"] is not None and row["expected_on"] < row["as_of"].date():
            return "attention", f"Late, {row['outstanding_units']:,} to come"
        return "busy", f"{row['outstanding_units']:,} to come"
    return "busy", f"On its way, {row['outstanding_units']:,} to come"


def pill(row: Mapping[str, Any]) -> str:
    """How a document stands, as HTML."""
    look, words = state(row)
    return f'<span class="sy-pill sy-pill-{look}">{escape(words)}</span>'


def route(row: Mapping[str, Any]) -> str:
    """Where: Main, or Main → Yard."""
    return row["location"] if not row["to_location"] else f"{row['location']} → {row['to_location']}"


def draw_changes(changes: Sequence[Change], places: Mapping[int, str], limit: int = 20) -> None:
    """What an act changes, before → after, as a table; only the columns in which anything changes."""
    if not changes:
        return
    fields = [
        (word, key)
        for word, key in (("On hand", "on_hand"), ("In quarantine", "unavailable"), ("Incoming", "incoming"),
                          ("Available", "available"))
        if any(getattr(c.before, key) != getattr(c.after, key) for c in changes)
    ]  # fmt: skip
    body = []
    for change in changes[:limit]:
        cells = [f"<b>{escape(change.code)}</b>", escape(places.get(change.location_id, ""))]
        for _, key in fields:
            before, after = getattr(change.before, key), getattr(change.after, key)
            shown = components.number(after)
            cells.append(shown if before == after else f"{components.number(before)} → <b>{shown}</b>")
        body.append(cells)
    heads = [("SKU", False), ("Location", False), *((word, True) for word, _ in fields)]
    components.table(heads, body, "What changes, before and after", dense=True)
    if len(changes) > limit:
        components.html(f'<div class="sy-muted">and {len(changes) - limit:,} more, changed alike</div>')
