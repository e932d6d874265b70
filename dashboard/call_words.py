"""What outgoing calls mean, in words. Pure; foreign text comes back as it is, for its reader to escape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from core.logs import mask
from dashboard import formats
from dashboard.calls import FAILURES, Volume

Row = Mapping[str, Any]

_WINDOWS = {"15 min": "the last 15 minutes", "1 h": "the last hour", "6 h": "the last 6 hours", "24 h": "the last day"}

_MEANINGS = {
    "ok": "The channel carried it out.",
    "throttled": "The quota was used up: surely not carried out, and tried again by itself.",
    "refused": "The channel said no: surely not carried out, and it would say no again.",
    "error": "No good answer came, and nothing was changed by it; tried again where that can help.",
    "unknown": "No good answer came: it may have been carried out or not, and nothing is taken for granted.",
}

# A transport's own names for how an answer stayed away.
_SILENCES = {
    "ReadTimeout": "no answer came in time",
    "WriteTimeout": "the request could not be sent in time",
    "ConnectTimeout": "no connection came about in time",
    "PoolTimeout": "no connection was free in time",
    "ConnectError": "no connection came about",
    "ReadError": "the connection broke while the answer was read",
    "WriteError": "the connection broke while the request was sent",
    "RemoteProtocolError": "the connection broke off without an answer",
    "LocalProtocolError": "the request was not well-formed and never left",
    "UnsupportedProtocol": "the address is none that can be called",
    "ProxyError": "the way out did not let it pass",
}


def last_of(window: str) -> str:
    """The last hour, for the window 1 h."""
    return _WINDOWS[window]


def meaning(outcome: str) -> str:
    """What an outcome says about the other side, in a sentence."""
    return _MEANINGS.get(outcome, "This outcome is not known here.")


def error(text: str | None, status: int | None = None) -> str:
    """Why a call did not succeed: what the channel said, or how its answer stayed away. Masked once more."""
    if text in _SILENCES:
        return _SILENCES[str(text)]
    said = mask(text).strip() if text else ""
    if said:
        return said
    return "no reason was given" if status is not None else "no answer came"


def failing(party: Row, operations: Sequence[Row], since: datetime) -> list[Row]:
    """The operations of a connection whose last call since then was refused or got no good answer."""
    return [
        row
        for row in operations
        if row["connection_id"] == party["connection_id"]
        and row["last_bad_at"] is not None
        and row["last_bad_at"] >= since
        and (row["last_ok_at"] is None or row["last_ok_at"] < row["last_bad_at"])
    ]


def verdict(party: Row, operations: Sequence[Row], since: datetime) -> str:
    """How a connection answers: a state of `formats`. One operation refused is a no, though others succeed."""
    if party["switch"] == "paused":
        return "paused"
    if party["last_ok_at"] is None and party["last_bad_at"] is None:
        return "not_called"
    found = failing(party, operations, since)
    if not found:
        return "answers"
    return "says_no" if any(row["last_bad_outcome"] == "refused" for row in found) else "no_answer"


def answer(parties: Sequence[Row], operations: Sequence[Row], since: datetime) -> str:
    """Do they answer? Who does not is named, and what is refused."""
    if not parties:
        return "No channel is connected yet."
    judged = [(party, verdict(party, operations, since)) for party in parties]
    called = [(party, how) for party, how in judged if how not in ("not_called", "paused")]
    if not called:
        return "No channel is called."
    bad = [(party, how) for party, how in called if how != "answers"]
    if not bad:
        return _all_answer([party["name"] for party, _ in called], len(parties))
    if len(bad) > 2:
        some, everybody = formats.in_words(len(bad)), formats.in_words(len(called)).lower()
        return f"{some} of {everybody} channels do not answer every call."
    parts = (f"{party['name']} {_says(how, failing(party, operations, since))}" for party, how in bad)
    return f"{' and '.join(parts)}."


def _says(how: str, found: Sequence[Row]) -> str:
    verb = "refuses" if how == "says_no" else "does not answer"
    meant = [row["operation"] for row in found if how != "says_no" or row["last_bad_outcome"] == "refused"]
    return f"{verb} {meant[0] if len(meant) == 1 else formats.plural(len(meant), 'operation')}"


def _all_answer(names: Sequence[str], parties: int) -> str:
    if len(names) < parties:
        return f"{_list(names)} {'answers' if len(names) == 1 else 'answer'}."
    if len(names) == 1:
        return "The channel answers."
    if len(names) == 2:
        return "Both channels answer."
    return f"All {formats.in_words(len(names)).lower()} channels answer."


def _list(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{formats.in_words(len(names))} channels"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def balance(counted: Volume, window: str, parties: Sequence[Row]) -> str:
    """How many of the window's calls did not succeed; nothing where none was ever made."""
    if not any(party["last_ok_at"] or party["last_bad_at"] for party in parties):
        return ""
    failed, total = counted.count(*FAILURES), counted.count()
    least = "At least " if any(outcome in FAILURES for _, outcome in counted.reach) else ""
    if total == 0:
        return f"No call was made in {last_of(window)}."
    if counted.reach:
        if failed == 0:
            return f"Every call counted in {last_of(window)} succeeded."
        return f"{least}{formats.plural(failed, 'call')} in {last_of(window)} did not succeed."
    if failed == 0:
        return (
            f"{'The one call' if total == 1 else f'All {formats.count(total)} calls'} in {last_of(window)} succeeded."
        )
    return f"{formats.count(failed)} of {formats.plural(total, 'call')} in {last_of(window)} did not succeed."


def by_kind(counts: Mapping[str, int]) -> str:
    """9 throttled, 2 refused: what did not succeed, most frequent first."""
    found = sorted(((n, kind) for kind, n in counts.items() if kind in FAILURES and n), reverse=True)
    return ", ".join(f"{formats.count(n)} {formats.state(kind).word.lower()}" for n, kind in found)


_OF = re.compile(r"^(\d+)(?:\.\d+)? of (\d+)(?:\.\d+)?$")
_RATE = re.compile(r"^(\d+(?:\.\d+)?)/s$")


def quota(said: str | None) -> str:
    """What is left to be asked, as the vendor counts it: 1,990 of 2,000 points, up to 5 calls a second."""
    if said is None:
        return formats.UNKNOWN
    if found := _OF.match(said):
        left, size = (formats.count(int(number)) for number in found.groups())
        return f"{left} of {size} points"
    if found := _RATE.match(said):
        rate = float(found.group(1))
        if rate and rate < 1:
            return f"up to one call in {formats.duration(round(1 / rate))}"
        return f"up to {formats.plural(int(rate), 'call') if rate.is_integer() else f'{rate:g} calls'} a second"
    return said


def quota_parts(said: str | None) -> tuple[str, str]:
    """What is left, short, and what it is of: ("1,990", "of 2,000 points"), ("5/s", "calls at most")."""
    words = quota(said)
    if found := _RATE.match(said or ""):
        rate = float(found.group(1))
        return (f"1 in {formats.duration(round(1 / rate))}" if 0 < rate < 1 else f"{rate:g}/s"), "calls at most"
    left, of, size = words.partition(" of ")
    return (left, f"of {size}") if of else (words, "")


def attempt(number: int) -> str:
    """First try, 3rd try."""
    if number == 1:
        return "First try"
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} try of the same call"


def last_error(party: Row) -> str:
    """The last call that did not succeed: what was asked, and what came back."""
    status = party["last_bad_status"]
    shown = f", status {status}" if status is not None else ""
    return f"{party['last_bad_operation']}{shown}: {error(party['last_bad_error'], status)}"
