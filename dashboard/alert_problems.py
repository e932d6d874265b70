"""Open alerts among what needs a person: a card for each that has none of its own. Pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from core.alerts.outages import ROOTS
from dashboard import formats
from dashboard.problems import Problem, Step, got_no_answer

Row = Mapping[str, Any]

OWN_CARDS = frozenset(
    (
        *("exposure", "stuck_change", "slow_feed", "unshown_feed"),
        *("unconfirmed_shipment", "credential", "subscription", "audit"),
    )
)
"""Kinds whose rows the Overview reads itself and tells in more words."""

_OWN_PARTS = ("repeated_failure:job:", "repeated_failure:message:")
_SAME_OF_A_CONNECTION = {"silence": ("silent",)}
"""What the card of a connection says as well, where there is one."""

_EXPLAINED = ("error-", "silent-", "behind-", "hanging-", "doubtful-")
"""Cards of a channel that say no more than that it does not answer, while that is told of."""

_STEPS = {
    "oversell": "Open oversell risk",
    "connections": "Open connection",
    "calls": "See calls",
    "jobs": "Open jobs",
    "runs": "Open runs",
    "failures": "Open failures",
    "schedules": "Open schedules",
    "skus": "Open SKUs",
    "orders": "Open order",
}

DANGER_RANK, ATTENTION_RANK, TAKEN_RANK = 4, 19, 45


def join(cards: Sequence[Problem], alerts: Sequence[Row], now: datetime, zone: str) -> list[Problem]:
    """The cards with those of alerts among them, worst first; what somebody has is quiet, and last."""
    outages = [row for row in alerts if row["kind"] in ROOTS]
    explained = {card.id: row for row in outages for card in cards if _explains(row, card)}
    left = [card for card in cards if card.id not in explained]
    there = {card.id for card in left}
    more = []
    for row in alerts:
        if not _is_told(row, there):
            parts = [card.headline for card in cards if explained.get(card.id) is row]
            more.append(_card(row, now, zone, parts))
    oldest = max((card.since for card in (*left, *more) if card.since), default=now)
    return sorted((*left, *more), key=lambda card: (card.rank, card.since or oldest, card.id))


def _explains(alert: Row, card: Problem) -> bool:
    """Whether a card is only another look at the outage that the alert tells of."""
    if card.id.startswith("job-"):
        # The same as the alert itself counts as part of it.
        about = {"cause": card.row["fingerprint"], "function": card.row["function"]}
        return any(part.get("address") == about for part in alert["worst_skus"] or ())
    is_its = card.row.get("connection_id") == alert["connection_id"]
    return is_its and (card.id.startswith(_EXPLAINED) or (card.id.startswith("refused-") and got_no_answer(card.row)))


def _is_told(row: Row, there: set[str]) -> bool:
    fingerprint = str(row["fingerprint"])
    if row["kind"] in OWN_CARDS or fingerprint.startswith(_OWN_PARTS):
        return True
    if row["kind"] == "deprecation" and fingerprint.endswith(":forward"):
        return True
    same = _SAME_OF_A_CONNECTION.get(row["kind"], ())
    return any(f"{name}-{row['connection_id']}" in there for name in same)


def _card(row: Row, now: datetime, zone: str, parts: Sequence[str]) -> Problem:
    taken_by = row["acknowledged_by"]
    rank = TAKEN_RANK if taken_by else DANGER_RANK if row["severity"] == "danger" else ATTENTION_RANK
    return Problem(
        f"alert-{row['alert_id']}",
        "unknown" if taken_by else row["severity"],
        rank,
        formats.plain(row["headline"]),
        f"{formats.plain(row['sentence'])} {formats.plain(row['next_step'])}"
        + (f" **Part of it:** {'; '.join(parts)}." if parts else ""),
        tuple(_meta(row, now, zone)),
        row["opened_at"],
        Step(row["page"], _STEPS[row["page"]], row["connection_id"], row["address"])
        if row["page"] in _STEPS and row["kind"] not in ROOTS
        else Step("alerts", "Open alert", row["connection_id"], {"alert": str(row["alert_id"])}),
        row,
    )


def _meta(row: Row, now: datetime, zone: str) -> list[str]:
    """Who has it, that it came back, whom it concerns, and that nothing is known of it at the moment."""
    found = []
    if row["acknowledged_by"]:
        found.append(
            f"{formats.plain(row['acknowledged_by'])} has it since {formats.moment(row['acknowledged_at'], now, zone)}"
        )
    if row["regressed_from"]:
        found.append("came back")
    if row["unknown_since"]:
        since = formats.moment(row["unknown_since"], now, zone)
        found.append(f"not known since {since}: {formats.plain(row['unknown_because'])}")
    if row["skus"]:
        found.append(formats.plural(row["skus"], "SKU"))
    if row["orders"]:
        found.append(formats.plural(row["orders"], "order"))
    return found
