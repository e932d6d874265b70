"""How discrepancies read: the answer, each cause, what is done about it. Pure; what it returns as HTML is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from dashboard import formats

Row = Mapping[str, Any]

CAUSES: Mapping[str, str] = {
    "in_flight": "Write on its way",
    "sale_unseen": "Sale not read yet",
    "channel_edit": "Changed at the channel",
    "lost_write": "Write got lost",
    "mapping": "Listing at fault",
    "real_loss": "Units missing there",
    "missing_here": "Order missing here",
    "missing_there": "Order missing there",
    "parked": "Order is parked",
    "cancelled_there": "Cancelled there",
    "cancelled_here": "Cancelled here only",
    "units": "Units differ",
    "lines": "Lines differ",
    "amount": "Total differs",
    "refund_missing_here": "Refund missing here",
    "refund_missing_there": "Refund missing there",
    "refund_amount": "Refund differs",
}

_WHY: Mapping[str, str] = {
    "in_flight": "A write of ours has not shown yet; it may any moment.",
    "sale_unseen": "Orders that are not read yet may explain it.",
    "channel_edit": "Somebody set the number at the channel, and no order explains it.",
    "lost_write": "The channel does not show what we wrote, though it took it.",
    "mapping": "The listing is gone, is not counted there any more, or stands for another SKU.",
    "real_loss": "Units came back here that the channel has not put back.",
    "missing_here": "The channel has this order and no webhook or poll brought it.",
    "missing_there": "We have this order, and the channel says that there is none of that id.",
    "parked": "It came, and its message could not be handled: it is parked with its cause.",
    "cancelled_there": "The channel cancelled it, and we still hold its units.",
    "cancelled_here": "It is cancelled here, and the channel still wants it shipped.",
    "units": "The channel sold another number of units than we booked.",
    "lines": "The channel has other lines in it than we booked.",
    "amount": "The channel charged another total than we booked.",
    "refund_missing_here": "Money went back at the channel that we do not know of.",
    "refund_missing_there": "We know of a refund that the channel does not have.",
    "refund_amount": "The refunds come to another sum at the channel.",
}

_NEXT: Mapping[tuple[str, str | None], str] = {
    ("asked", "brake"): "Too many listings would go to 0 at once: say yes above, or leave them.",
    ("asked", "loop"): "Corrected {corrections} times, and it came back: stopped. Something else writes this number.",
    ("asked", "flagged"): "The policy of this connection only flags it: correct it, or accept it.",
}

ACTIONS: Mapping[str, tuple[str, str]] = {
    "asked": ("Needs you", "attention"),
    "healed": ("Being corrected", "busy"),
    "waits": ("Waits", "unknown"),
    "ignored": ("Accepted", "paused"),
}

ORDERS = ("order", "refund")
CORRECTABLE = ("channel_edit", "lost_write", "real_loss")


def cause(name: str) -> str:
    """A cause in two or three words; one that is not known here keeps its own name."""
    return CAUSES.get(name, name.replace("_", " ").capitalize())


def why(row: Row) -> str:
    """What a cause means, in a sentence."""
    return _WHY.get(row["cause"], formats.sentence(row["detail"]))


def next_step(row: Row) -> str:
    """What happens next, or what a person should do."""
    if row["state"] == "resolved":
        return f"Gone: {formats.plain(row['resolved_because'] or '')}."
    if row["state"] == "accepted":
        return f"Accepted until it changes: {formats.plain(row['reason'] or '')}."
    if row["action"] == "healed":
        if row["kind"] in ORDERS:
            return "It is read once more by itself, and booked."
        return "What we want is written by itself."
    if row["action"] == "waits":
        return "It is looked at again by itself."
    if row["asked_because"] == "loop" and row["kind"] in ORDERS:
        return f"Read again {formats.count(row['corrections'])} times, and it stays away: stopped."
    if (said := _NEXT.get((row["action"], row["asked_because"]))) is not None:
        return said.format(corrections=formats.count(row["corrections"]))
    if row["cause"] == "parked":
        return "Open the message: handled or discarded, this closes by itself."
    if row["cause"] == "mapping":
        return "Say which SKU it is, or set it aside."
    if row["cause"] == "missing_there":
        return "If it was deleted on purpose accept it; else ask the channel."
    return "Read it again to take over what the channel says, or accept it."


def subject(row: Row) -> str:
    """What it is about: the SKU's code, or the order's name."""
    if row["kind"] in ORDERS:
        return str(row["order_name"] or (row["subject"] or {}).get("name") or row["subject_key"])
    return str(row["code"] or row["channel_code"] or row["channel_ref"] or row["subject_key"])


def amount(value: int | None, unit: str, currency: str | None) -> str:
    """A side of it: units, or money; a dash where that side knows of none."""
    if value is None:
        return formats.UNKNOWN
    return formats.money(value, currency or "") if unit == "minor" else formats.count(value)


def sides(row: Row) -> str:
    """Ours and theirs beside each other, as HTML."""
    unit = "lines" if row["cause"] == "lines" else "units" if row["unit"] == "units" else ""
    ours = amount(row["ours"], row["unit"], row["currency"])
    theirs = amount(row["theirs"], row["unit"], row["currency"])
    change = ""
    if row["ours"] is not None and row["theirs"] is not None:
        difference = row["theirs"] - row["ours"]
        text = (
            formats.signed(difference)
            if row["unit"] == "units"
            else ("+" if difference > 0 else "") + formats.money(difference, row["currency"] or "")
        )
        change = f'<span class="sy-delta">{escape(text)}</span>'
    return (
        f'<div class="sy-sides"><span><i>Ours</i><b>{escape(ours)}</b></span>'
        f"<span><i>{escape(row['connection'])}</i><b>{escape(theirs)}</b></span>"
        f"{change}<span class='sy-muted'>{escape(unit)}</span></div>"
    )


def look(row: Row) -> str:
    """The colour of a row: danger only for what a brake or the loop breaker stopped, and what is not there any more."""
    if row["state"] == "resolved":
        return "ok"
    if row["state"] == "accepted":
        return "paused"
    if row["action"] == "asked" and row["asked_because"] in ("brake", "loop"):
        return "danger"
    return ACTIONS.get(row["action"], ("", "unknown"))[1]


def badge(row: Row) -> str:
    """What is done about it, as a badge."""
    if row["state"] == "resolved":
        return formats.badge("ok", "Gone")
    if row["state"] == "accepted":
        return formats.badge("paused", "Accepted")
    if row["action"] == "asked" and row["asked_because"] == "loop":
        return formats.badge("danger", "Stopped")
    if row["action"] == "asked" and row["asked_because"] == "brake":
        return formats.badge("danger", "Held")
    word, state = ACTIONS.get(row["action"], (row["action"], "unknown"))
    return formats.badge({"busy": "busy"}.get(state, state), word)


def headline(totals: Row, compared: Sequence[Row], zone: str) -> tuple[str, str]:
    """The answer and what goes with it."""
    as_of = totals["as_of"]
    if not compared:
        return "No channel is connected.", "What differs is found once one is."
    last = max((row["last_whole_at"] for row in compared if row["last_whole_at"]), default=None)
    if totals["open"]:
        asked = (
            f"{formats.in_words(totals['asked'])} need{'s' if totals['asked'] == 1 else ''} you"
            if totals["asked"]
            else "None needs you"
        )
        rest = totals["open"] - totals["asked"]
        by_itself = f"; {formats.count(rest)} {'is' if rest == 1 else 'are'} looked after" if rest else ""
        many = formats.plural(totals["open"], "thing differs", "things differ")
        return (
            f"{many} between us and {formats.plural(totals['connections'], 'channel')}.",
            f"{asked}{by_itself}. The oldest is {age(totals['oldest_at'], as_of)} old.",
        )
    if last is None:
        return "Nothing has been compared yet.", "The first comparison comes within a day of a connection’s first sync."
    listings = sum(row["compared"] or 0 for row in compared if row["kind"] == "stock")
    orders = sum(row["compared"] or 0 for row in compared if row["kind"] == "orders")
    return (
        "Nothing differs.",
        f"Everything read at {formats.moment(last, as_of, zone)} was equal: {formats.plural(listings, 'listing')}, "
        f"{formats.plural(orders, 'order')}.",
    )


def age(since: datetime | None, now: datetime) -> str:
    """How long it has been so."""
    return formats.UNKNOWN if since is None else formats.duration((now - since).total_seconds())


def about(row: Row) -> str:
    """One discrepancy named in Markdown, for the head of a dialog."""
    title = f" {formats.plain(row['title'])}" if row.get("title") else ""
    return f"**{formats.plain(subject(row))}**{title} on {formats.plain(row['connection'])}: {cause(row['cause'])}"


_EVENTS: Mapping[str, str] = {
    "seen": "Seen first",
    "changed": "Says something else",
    "reclassified": "Cause is another one",
    "asked": "A person is asked",
    "corrected": "Corrected",
    "held": "Held by the brake",
    "released": "Let go by a person",
    "accepted": "Accepted",
    "resolved": "Gone",
}


def event(row: Row) -> str:
    """What happened, in words."""
    return _EVENTS.get(row["what"], str(row["what"]).capitalize())


def policy(row: Row) -> str:
    """What a connection's policy says, in a line."""
    corrects = [cause(name).lower() for name in row["corrects"]]
    said = f"corrects: {', '.join(corrects)}" if corrects else "only flags"
    every = (
        "never by itself"
        if row["every_hours"] is None
        else f"every {formats.count(row['every_hours'])} h"
        if row["every_hours"] != 24
        else "every day"
    )
    return f"{said} · {every}"
