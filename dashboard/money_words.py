"""Words of the money screens: what a balance, a change and a reason are called, and amounts as cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from core.commissions import wording
from core.commissions.explaining import CauseSum, Explanation
from dashboard import formats

Row = Mapping[str, Any]

KINDS = {
    "brand_shop": "Brand shop",
    "affiliate_retailer": "Affiliate retailer",
    "social_seller": "Social seller",
    "creator": "Creator",
    "referrer": "Referrer",
}
REASONS = {
    "time": "May still be returned",
    "shipment": "Not shipped yet",
    "payment": "Not paid yet",
    "hold": "On hold",
}
REASON_STEPS = {
    "time": "Can be paid once the return window has closed",
    "shipment": "The return window begins when the last goods have left",
    "payment": "The window counts once the channel has the money",
    "hold": "Somebody keeps it back; lift the hold on the order",
}
BASES = {"item": "Items", "shipping": "Carriage", "other": "Order as a whole"}


def kind(name: str) -> str:
    """What a party is."""
    return KINDS.get(name, name.replace("_", " ").capitalize())


def amount(minor: int | None, currency: str) -> str:
    """Money as HTML; below zero it is marked."""
    text = escape(formats.money(minor, currency))
    return f'<span class="sy-negative">{text}</span>' if minor is not None and minor < 0 else text


def signed(minor: int, currency: str) -> str:
    """A change of money: +£3.00, −£2.00."""
    return f"+{formats.money(minor, currency)}" if minor > 0 else formats.money(minor, currency)


def change(minor: int, currency: str) -> str:
    """A change as HTML: an arrow, the amount, and the word, so that nothing hangs on a colour."""
    if not minor:
        return '<span class="sy-muted">unchanged</span>'
    arrow, word, look = ("↑", "up", "") if minor > 0 else ("↓", "down", ' class="sy-warn"')
    said = escape(formats.money(abs(minor), currency))
    return f'<span{look}><span aria-hidden="true">{arrow}</span> {word} {said}</span>'


def many(found: Sequence[tuple[str, int]]) -> str:
    """Amounts of several currencies in a row, never summed."""
    return " and ".join(formats.money(minor, currency) for currency, minor in found) or formats.UNKNOWN


def day(instant: datetime, now: datetime, zone: str) -> str:
    """4 Dec, with the year where it is another one."""
    there, today = instant.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone))
    year = "" if there.year == today.year else f" {there.year}"
    return f"{there.day} {there:%b}{year}"


def why_changed(said: Explanation) -> str:
    """Two refunds and one adjustment: the causes that moved payable the way it went, the greatest first."""
    way = -1 if said.payable_change < 0 else 1
    moved = sorted((one for one in said.causes if one.payable_minor * way > 0), key=lambda one: -abs(one.payable_minor))
    return listed([number(one) for one in moved[:3]])


def number(one: CauseSum) -> str:
    """How many of a cause. A release is of many orders, whose number is not its own."""
    return "closed return windows" if one.kind == "release" else wording.causes(one.kind, one.transactions)


def listed(words: Sequence[str]) -> str:
    """One, two and three."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def held_until(reasons: Sequence[Row], now: datetime, zone: str) -> str:
    """How what is held goes on: until when, or why it is not known yet; begins with what it takes before it."""
    timed = next((row for row in reasons if row["reason"] == "time"), None)
    if timed is not None:
        due, last = timed["next_at"], timed["last_at"]
        if due <= now:
            return f", some of it due now, the last {day(last, now, zone)}" if last > now else " and due now"
        first, final = day(due, now, zone), day(last, now, zone)
        return f" until {first}" if first == final else f", the first of it until {first}, the last until {final}"
    return f": {listed([REASONS[row['reason']].lower() for row in reasons])}" if reasons else ""


def window(row: Row, now: datetime, zone: str) -> str:
    """Why one window holds money, and until when."""
    if row["waits_for"] is not None:
        return f"{REASONS[row['waits_for']]}: {REASON_STEPS[row['waits_for']].lower()}"
    closes = row["closes_at"]
    if closes <= now:
        return f"Return window closed {formats.ago(closes, now, zone)}: payable with the next release"
    return f"Return window of {formats.plural(row['days'], 'day')} closes on {formats.moment(closes, now, zone)}"
