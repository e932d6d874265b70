"""Why a listing shows what it shows, in words. Pure; what it returns as HTML is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dashboard import formats

Row = Mapping[str, Any]


def summary(listings: Sequence[Row]) -> str:
    """All listings in one sentence."""
    live = [row for row in listings if row["publishing"] == "on"]
    if not listings:
        return "No channel lists it."
    if not live:
        return "No channel is written to."
    well = sum(row["state"] == "in_step" for row in live)
    if well == len(live):
        words = {1: "Its channel shows it.", 2: "Both channels show it."}
        return words.get(well, f"All {formats.in_words(well).lower()} channels show it.")
    if well == 0:
        return {1: "Its channel is not in step.", 2: "Neither channel is in step."}.get(
            len(live), "No channel is in step."
        )
    return formats.share(well, len(live))


def explain(row: Row, zone: str) -> str:
    """One listing's state in a sentence, as HTML."""
    now = row["as_of"]
    seen = f" Seen {formats.ago(row['published_at'], now, zone)}." if row["published_at"] else ""
    match row["state"]:
        case "off":
            text = f"We do not write it: {_plain_end(row['publishing_reason'])}{seen}"
        case "doubtful":
            text = (
                f"The write to {formats.count(row['write_to'])} has no known outcome: {_plain_end(row['write_doubt'])}"
            )
        case "refused":
            again = f" Tried again at {formats.moment(row['next_push_at'], now, zone)}." if row["next_push_at"] else ""
            text = f"{_capital(_plain_end(row['push_problem']))} Refused {_times(row['push_failures'])}.{again}"
        case "paused":
            text = f"The connection is paused, so nothing is sent.{seen}"
        case "writing":
            planned = formats.ago(row["write_planned_at"], now, zone)
            text = f"Write to {formats.count(row['write_to'])} planned {planned}, {_stage(row)}."
        case "to_push":
            text = f"Waits for the next push.{seen}"
        case _:
            below = row["published_units"] is not None and row["published_units"] < 0
            text = (
                f"It shows {formats.count(row['published_units'])}; to a shopper that is none." if below else ""
            ) + seen
    return escape(text.strip())


def explain_write(row: Row, zone: str) -> str:
    """An open write's doubt for Markdown: what was sent, why nobody knows, what happens next."""
    now = row["as_of"]
    start = formats.count(row["write_from"]) if row["write_from"] is not None else "whatever it showed"
    sent = f"at {formats.moment(row['write_sent_at'], now, zone)}" if row["write_sent_at"] else "but maybe never left"
    check = (
        f"It is looked at again at {formats.moment(row['write_next_check_at'], now, zone)}."
        if row["write_next_check_at"]
        else "It is looked at again with the next sync."
    )
    return (
        f"We sent {start} → {formats.count(row['write_to'])} {sent}, and no sure answer came: "
        f"{formats.sentence(row['write_doubt'])[:1].lower()}{formats.sentence(row['write_doubt'])[1:]} "
        f"It may have arrived or not, so both numbers count as possible and nothing else is written to "
        f"this listing. {check}"
    )


def _stage(row: Row) -> str:
    if row["write_accepted_at"]:
        return "taken by the channel, which applies it later"
    return "sent, its answer is awaited" if row["write_sent_at"] else "not sent yet"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{formats.count(number)} times"


def _plain_end(text: str | None) -> str:
    cleaned = (text or "no reason is known").strip().rstrip(".")
    return f"{cleaned}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
