"""Who is told, in words: what a channel wants, how it is, what waits for it, what a trial came to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.letters import SEVERITIES
from dashboard import alert_words, formats

Row = Mapping[str, Any]

MEDIA = {"slack": ("Slack", ":material/forum:"), "mail": ("Mail", ":material/mail:")}
LEAST = {"info": "Everything", "attention": "Attention and danger", "danger": "Danger only"}
RHYTHMS = {"at_once": "At once", "hourly": "Hourly digest", "daily": "Daily digest"}
assert LEAST.keys() == set(SEVERITIES)


def headline(channels: Sequence[Row], has_default: bool) -> str:
    """Whether somebody hears, in a sentence or two."""
    if not channels:
        if has_default:
            return "Notices go to the installation's own address. A channel of this shop's takes its place."
        return "Nobody is told of anything: what is wrong stands on this page only. Add a channel."
    failing = [row for row in channels if row["state"] == "failing"]
    paused = [row for row in channels if row["is_quiet"]]
    heard = len(channels) - len(failing) - len(paused)
    first = f"{formats.in_words(len(channels))} {'channel is' if len(channels) == 1 else 'channels are'} told."
    if failing:
        names = ", ".join(formats.plain(row["name"]) for row in failing)
        return f"{first} {names} {'does' if len(failing) == 1 else 'do'} not take it."
    if paused and not heard:
        return f"{first} {'It is' if len(paused) == 1 else 'All are'} paused: nobody hears now."
    return first


def wants(row: Row) -> str:
    """What a channel is told, and how often, as plain text."""
    kinds = [alert_words.kind(name) for name in row["kinds"] or ()]
    about = "everything" if not kinds else ", ".join(kinds[:4]) + (f" and {len(kinds) - 4} more" if kinds[4:] else "")
    return f"{LEAST[row['least_severity']]} of {about}" if kinds else LEAST[row["least_severity"]]


def rhythm(row: Row, zone: str) -> str:
    """When it is told, as plain text."""
    if row["rhythm"] == "daily":
        return f"daily at {row['daily_hour']:02}:00, {formats.place(zone)}"
    if row["rhythm"] == "hourly":
        return "hourly, at the full hour"
    return f"at once, at most {formats.count(row['most_an_hour'])} an hour"


def waits(row: Row, zone: str) -> str:
    """What is held for it and until when, as plain text; empty where nothing is."""
    held = formats.plural(row["held"], "notice")
    if row["waiting"]:
        tried = f"; it is tried again {_when(row['retry_at'], row, zone)}" if row["retry_at"] else ""
        return f"{formats.plural(row['held'] + row['waiting'], 'notice')} to be told{tried}"
    if not row["held"]:
        return ""
    if row["is_quiet"]:
        return f"{held} kept until it is resumed"
    if row["rhythm"] == "at_once":
        return f"{held} gathered until it may be told more, {_when(row['due_at'], row, zone)}"
    return f"{held} for the digest {_when(row['due_at'], row, zone)}"


def _when(at: Any, row: Row, zone: str) -> str:
    return f"at {formats.moment(at, row['as_of'], zone)}"


def last(row: Row, zone: str) -> str:
    """When it last took something, as plain text."""
    if row["last_success_at"] is None:
        return "nothing has arrived there yet"
    return f"last told {formats.ago(row['last_success_at'], row['as_of'], zone)}"


def trial(row: Row) -> tuple[str, str]:
    """(state, what was answered) of a trial, as Markdown."""
    name = formats.plain(row["channel"])
    if row["state"] == "sent":
        said = f"**{name} took it**: {formats.sentence(row['answer'])}"
        return ("attention", f"{said} {formats.sentence(row['last_error'])}") if row["last_error"] else ("ok", said)
    if row["state"] in ("unheard", "dead"):
        return "danger", f"**{name} did not take it**: {formats.sentence(row['last_error'])}"
    return "busy", f"**{name}: being tried now.** A worker sends it by the road that notices take."


def about_default(has_default: bool) -> str:
    """What happens without a channel."""
    return (
        "Until then notices of this shop go to the address in SWITCHYARD_NOTICE_URL."
        if has_default
        else "Until then nothing is sent anywhere; every alert stands on this page all the same."
    )
