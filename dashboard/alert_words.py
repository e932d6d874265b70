"""Alerts in words: the answer, since when, how wide, who has it, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from core.alerts.outages import ROOTS
from core.alerts.rules import ENDED
from core.alerts.terms import KINDS
from core.messaging import notices
from dashboard import formats

Row = Mapping[str, Any]

_SHORT = {
    "exposure": "Oversell risk",
    "oversold": "Oversold",
    "stuck_change": "Hanging changes",
    "slow_feed": "Slow feeds",
    "unshown_feed": "Feeds not shown",
    "unconfirmed_shipment": "Unconfirmed packages",
    "credential": "Ending credentials",
    "refused_credential": "Refused credentials",
    "token_ending": "Ending tokens",
    "stuck_sync": "Stuck syncs",
    "repeated_failure": "Repeated failures",
    "connection_failing": "Failing connections",
    "unmade_check": "Checks not made",
    "renewed": "Renewed credentials",
    "daily_report": "Daily report",
    "reconciliation_held": "Held corrections",
    "subscriptions": "Restored subscriptions",
}


def kind(name: str) -> str:
    """A kind as people say it, short."""
    return _SHORT.get(name, name.replace("_", " ").capitalize())


def all_kinds(known: Sequence[str] = ()) -> list[str]:
    """Every kind of notice there may be: of alerts, of other things, and what is said already."""
    there = {*KINDS, *notices.BESIDES_ALERTS, *known}
    return sorted(there, key=lambda name: kind(name).lower())


def headline(totals: Row) -> tuple[str, str]:
    """The answer in two short sentences: how many are open, and who has them."""
    number, unowned = totals["open"], totals["unowned"]
    if number == 0:
        if not totals["ever"]:
            return "No alert is open.", "None has been yet."
        ago = formats.duration((totals["as_of"] - totals["last_closed_at"]).total_seconds())
        return "No alert is open.", f"The last alert closed {ago} ago."
    first = f"{formats.in_words(number)} {'alert is' if number == 1 else 'alerts are'} open."
    if unowned == 0:
        return first, "Somebody has it." if number == 1 else "Somebody has each of them."
    if unowned == number:
        return first, "Nobody has it." if number == 1 else "Nobody has any of them."
    return first, f"{formats.in_words(unowned)} of them nobody has."


def state(row: Row) -> str:
    """How an alert is shown: by its severity while it is open, and as over afterwards."""
    if row["closed_at"] is not None:
        return "over"
    return str(row["severity"])


def look(row: Row) -> str:
    """The edge of its card: what somebody has is quiet, what is not known is dashed."""
    if row["closed_at"] is not None or row["unknown_since"] is not None:
        return "unknown"
    return "busy" if row["state"] == "acknowledged" else str(row["severity"])


def badges(row: Row) -> str:
    """Its severity, that it came back, that it is not known, as Markdown."""
    found = [formats.badge(state(row))]
    if row["relapses"]:
        times = "" if row["relapses"] == 1 else f" {row['relapses']} times"
        found.append(formats.badge("regressed", f"Came back{times}"))
    if row["unknown_since"] is not None and row["closed_at"] is None:
        found.append(formats.badge("unknown", "Not known now"))
    return " ".join(found)


def width(row: Row) -> list[tuple[str, str]]:
    """How wide it is: (number, name) of what it touches, where it touches any."""
    named = [("units", "unit"), ("skus", "SKU"), ("orders", "order")]
    if row["kind"] not in ("exposure", "oversold", "stuck_change", "unconfirmed_shipment"):
        # Of the others the first number counts what the headline says already.
        named = named[1:]
    return [
        (formats.count(row[column]), one if row[column] == 1 else f"{one}s") for column, one in named if row[column]
    ]


def meta(row: Row, zone: str) -> str:
    """Since when, where, how often, as Markdown."""
    now = row["as_of"]
    if row["closed_at"] is None:
        since = f"since {formats.moment(row['opened_at'], now, zone)}, {formats.ago(row['opened_at'], now, zone)}"
    else:
        lasted = formats.duration((row["closed_at"] - row["opened_at"]).total_seconds())
        since = f"from {formats.moment(row['opened_at'], now, zone)}, for {lasted}; {over(row)}"
    parts = [
        kind(row["kind"]),
        formats.plain(row["connection"]) if row["connection"] else "the whole shop",
        since,
        f"{formats.count(row['times'])} times in 30 days" if row["times"] > 1 else "",
        "" if row["is_told"] else "nobody was told when it opened",
    ]
    return " · ".join(part for part in parts if part)


def over(row: Row) -> str:
    """Why it closed."""
    return ENDED.get(row["closed_because"], str(row["closed_because"]).replace("_", " "))


def holder(row: Row, zone: str) -> str:
    """Who has it, as Markdown; empty where nobody does."""
    if row["acknowledged_by"] is None:
        return ""
    verb = "has it" if row["closed_at"] is None else "had it"
    since = formats.moment(row["acknowledged_at"], row["as_of"], zone)
    why = formats.sentence(row["acknowledged_reason"])
    return f"**{formats.plain(row['acknowledged_by'])}** {verb} since {since}: {why}"


def unknown(row: Row, zone: str) -> str:
    """Why it is not known now, as Markdown; empty where it is."""
    if row["unknown_since"] is None or row["closed_at"] is not None:
        return ""
    since = formats.moment(row["unknown_since"], row["as_of"], zone)
    return f"Since {since} it is not known whether this still holds: {formats.sentence(row['unknown_because'])}"


def clearing(row: Row, zone: str) -> str:
    """That its condition is gone, while it is held open, as Markdown; empty where it holds or is over."""
    if row["clear_since"] is None or row["unknown_since"] is not None or row["closed_at"] is not None:
        return ""
    since = formats.moment(row["clear_since"], row["as_of"], zone)
    return f"**Gone since {since}.** It closes by itself if that lasts."


def parts(row: Row) -> list[Row]:
    """What follows from it and is not told of by itself: of outages, what the channel's not answering explains."""
    return list(row["worst_skus"] or ()) if row["kind"] in ROOTS and row["closed_at"] is None else []


def part_figures(part: Row) -> str:
    """How wide a part is: 12 SKUs · 3 orders · £30.00; empty where it touches none."""
    found = [
        formats.plural(part[column], one) for column, one in (("skus", "SKU"), ("orders", "order")) if part.get(column)
    ]
    money = sorted((part.get("money") or {}).items(), key=lambda each: -each[1])
    return " · ".join([*found, *(formats.money(minor, currency) for currency, minor in money if minor)])


def worst(row: Row) -> list[str]:
    """The worst few of what it is about, each in a few words."""
    if row["kind"] in ROOTS:
        return []
    found = []
    for each in row["worst_skus"] or ():
        units = formats.count(each["units"]) if isinstance(each.get("units"), int) else ""
        parts = (str(each.get("code") or ""), units, str(each.get("where") or ""), str(each.get("why") or ""))
        found.append(" · ".join(part for part in parts if part))
    return found


_EVENTS = {
    "opened": ("Opened", "danger"),
    "regressed": ("Came back", "danger"),
    "worse": ("Got much worse", "danger"),
    "acknowledged": ("Taken", "ok"),
    "resolved": ("Over", "ok"),
    "told": ("Told", ""),
    "muted": ("Not told", ""),
    "sent": ("Told", ""),
    "dead": ("Not delivered", "attention"),
    "unheard": ("Nobody was told", "attention"),
    "discarded": ("Given up", ""),
    "digest": ("Waits for a digest", ""),
    "crowded": ("Waits for room", ""),
    "sending": ("Is being told", ""),
}


def timeline(events: Sequence[Row], said: Sequence[Row], now: datetime, zone: str) -> str:
    """What became of an alert and to whom it was told, newest first, as HTML; everything foreign is escaped."""
    facts = [(row["at"], row["what"], row["who"], row["words"]) for row in events]
    facts += [(_told_at(row), row["state"], row["channel"] or "the installation", told(row)) for row in said]
    items = []
    for at, what, who, words in sorted(facts, key=lambda fact: fact[0], reverse=True):
        name, edge = _EVENTS.get(what, (what.capitalize(), ""))
        exact, moment = escape(formats.exact(at, zone)), escape(formats.moment_with_seconds(at, now, zone))
        by = "Switchyard" if who == "switchyard" else who
        items.append(
            f'<li class="{f"sy-is-{edge}" if edge else ""}">'
            f'<time datetime="{at.isoformat()}" title="{exact}">{moment}</time>'
            f"<b>{escape(name)}</b><span>{escape(by)}{': ' if words else ''}{escape(words or '')}</span></li>"
        )
    return f'<ol class="sy-timeline">{"".join(items)}</ol>'


def _told_at(row: Row) -> datetime:
    at: datetime = row["settled_at"] or row["created_at"]
    return at


def told(row: Row) -> str:
    """What came of telling one channel, in words."""
    parts = [row["subject"] or ""]
    if row["state"] in ("dead", "unheard", "discarded") or row["last_error"]:
        parts.append(row["last_error"] or "")
    if row["gathered_in"] is not None:
        parts.append("in one with others")
    return " · ".join(part for part in parts if part)
