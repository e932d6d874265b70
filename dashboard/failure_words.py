"""Failures as people read them: what happened, how bad it is, what to do about it. Pure: no database, no Streamlit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.runs.words import FUNCTIONS
from dashboard import formats

Row = Mapping[str, Any]

SOURCES: Mapping[str, tuple[str, str, str]] = {
    "job": ("Jobs", "failed job", "failed jobs"),
    "message": ("Messages", "parked message", "parked messages"),
    "outbox": ("Notices", "unsent notice", "unsent notices"),
}
"""Each source of failures: its name in filters, one of them, many of them."""

NOUNS: Mapping[str, tuple[str, str]] = {
    "job": ("job", "jobs"),
    "message": ("message", "messages"),
    "outbox": ("notice", "notices"),
}
"""What failed, by source: one of them, many of them."""

STATES: Mapping[str, str] = {
    "Open": "open",
    "Requeued": "requeued",
    "Discarded": "discarded",
    "Done since": "superseded",
}
"""What became of failures, as the filter names it."""

NOTHING: Mapping[str, tuple[str, str]] = {
    "requeued": ("Nothing has been requeued", "What somebody requeues is listed here, with what came of it."),
    "discarded": ("Nothing has been discarded", "What somebody gives up is listed here, with who and why."),
    "superseded": ("No failure was made good by itself", "Failures that a later run made moot are listed here."),
}
"""What a list says that has nothing in it."""

DANGER_ITEMS = 5

WRITES = frozenset({"stock.push", "stock.feed", "stock.check", "shipments.confirm", "outbox.relay"})
"""Jobs that change something outside: an answer that stays away leaves it in doubt whether they did."""


def function(name: str) -> str:
    """What a job, topic or kind of notice is about, for Markdown; one without words keeps its own name."""
    return FUNCTIONS.get(name) or formats.plain(name)


# What happened ------------------------------------------------------------------------------------------------------


class Cause(NamedTuple):
    """A kind of failure in words: {who} is the connection. `state` overrules what the number of failures says."""

    headline: str
    happened: str
    next_step: str
    state: str | None = None


_DEFECT = Cause(
    "Our own code stumbled",
    "It met something that it was not written for. Each piece of work is done whole or not at all, so none is half "
    "done.",
    "Have the defect mended (the traceback says where), then requeue.",
)
_DATABASE = Cause(
    "Our database did not answer",
    "It was away, too busy, or cut the connection. What had been begun was taken back whole.",
    "See that the database is up, then requeue.",
)
_GONE = Cause(
    "The worker ended in the middle of it",
    "Its process was killed, restarted or ran out of memory. What had been committed stays, the rest was not done.",
    "Requeue: the work looks up what is still to be done.",
)
_SILENT = Cause(
    "{who} gave no answer in time",
    "Whether it was carried out is not known. Units that it may have shown stay exposed until they are read back.",
    "Requeue: what was sent is looked up before anything is sent again.",
    "unknown",
)
_SLOW = Cause(
    "{who} gave no answer in time",
    "Nothing was to be changed there, so nothing is in doubt.",
    "Wait until it answers again (Connections, “Test”), then requeue.",
)
_AWAY = Cause(
    "{who} could not be reached",
    "No connection came about, so nothing of it arrived there.",
    "Wait until it answers again (Connections, “Test”), then requeue.",
)

_BY_CLASS: Mapping[str, Cause] = {
    "Unauthorised": Cause(
        "{who} refused our credentials",
        "Its token does not hold any more, or the app lacks a permission. What it should be told or asked waits.",
        "Renew the credentials of {who}, then requeue.",
    ),
    "Throttled": Cause(
        "{who} allows no more calls for now",
        "The quota was used up. Nothing was carried out, and nothing is lost.",
        "Requeue at a gentle pace once the quota is free again.",
    ),
    "OutcomeUnknown": _SILENT,
    "ReadTimeout": _SILENT,
    "Unreachable": _AWAY,
    "ConnectError": _AWAY,
    "ConnectTimeout": _AWAY,
    "ServerFault": Cause(
        "{who} failed inside",
        "It answered with a fault of its own. Only reading was tried, so nothing was changed there.",
        "Wait until it answers again (Connections, “Test”), then requeue.",
    ),
    "Refused": Cause(
        "{who} does not accept the request",
        "It read what we asked and said no. As it stands it says no again.",
        "Repair what the reason names, then requeue.",
    ),
    "WritesStopped": Cause(
        "Nothing may be written to {who} now",
        "Its writes are stopped, it is paused, or it is in shadow mode. Nothing left.",
        "Resume its writes on Connections, then requeue.",
    ),
    "UnreadableSecret": Cause(
        "The stored credentials cannot be opened",
        "They were sealed with a key that this process does not have.",
        "Give it the key (SWITCHYARD_SECRET_KEYS), or enter the credentials again; then requeue.",
    ),
    "UnknownConnection": Cause(
        "The connection does not exist any more",
        "The job names one that this shop does not have.",
        "Discard it: there is nothing left to do.",
    ),
    "QueueGone": Cause(
        "The queue of notifications is gone",
        "Amazon puts its notifications where nobody finds them. Polls keep asking for orders meanwhile.",
        "Set the queue up again on Connections, then requeue.",
    ),
    "NotRegistered": Cause(
        "Nobody knows how to do this",
        "The job’s name is none that our code declares; it was refused, not run.",
        "Discard it, or bring the release back that declares it.",
    ),
    "BadArguments": Cause(
        "The job names what cannot be",
        "Jobs carry ids only; this one carried something else and was refused, not run.",
        "Discard it.",
    ),
    "JobTimeoutException": Cause(
        "It took longer than it may",
        "The work was cut off. What had been committed stays, the rest was not done.",
        "Requeue: the work looks up what is still to be done.",
    ),
    "Abandoned": _GONE,
    "Killed": _GONE,
    "NeverBegan": _GONE,
    "UnknownVendor": _DEFECT,
}  # fmt: skip

_OF_POSTGRES = frozenset(
    {"OperationalError", "InterfaceError", "AdminShutdown", "CrashShutdown", "CannotConnectNow", "QueryCanceled",
     "LockNotAvailable", "DeadlockDetected", "SerializationFailure", "TooManyConnections",
     "IdleInTransactionSessionTimeout"}
)  # fmt: skip
_OF_PYTHON = frozenset(
    {"ValueError", "KeyError", "TypeError", "AttributeError", "IndexError", "AssertionError", "NameError",
     "ZeroDivisionError", "RecursionError", "NotImplementedError", "RuntimeError", "UnicodeDecodeError",
     "InvalidOperation", "IntegrityError", "UniqueViolation", "CheckViolation", "ForeignKeyViolation",
     "NotNullViolation", "RaiseException", "ProgrammingError", "DataError", "UndefinedColumn"}
)  # fmt: skip
_BY_TEXT: Sequence[tuple[re.Pattern[str], Cause]] = (
    (re.compile(r"(?i)worker (?:is gone|that took it died)|work-?horse|never began|was killed"), _GONE),
    (re.compile(r"(?i)no answer within|timed? ?out|the outcome is unknown"), _SILENT),
    (re.compile(r"(?i)no connection|no route to host|connection refused|name or service not known"), _AWAY),
    (re.compile(r"(?i)invalid_grant|invalid_client|not authorised|token was refused"), _BY_CLASS["Unauthorised"]),
)

_PARKED = {
    "unreadable": "could not be read",
    "unexpected": "could not be handled",
    "unknown_order": "name an order that never came",
    "unknown_order_line": "name an order line that never came",
    "unknown_item": "tell the level of something that no listing is known for",
}
_HAPPENED = {
    "unreadable": "What came does not have the form that it should have. It is kept word for word.",
    "unexpected": "Our own code stumbled over it. It is kept word for word, and others were handled meanwhile.",
    "unknown_order": "It waited for that order until its time was up. It is kept word for word.",
    "unknown_order_line": "It waited for that line until its time was up. It is kept word for word.",
    "unknown_item": "It waited for the catalogue to know it until its time was up. It is kept word for word.",
}
_ONE = {"name": "names", "tell": "tells", "are": "is"}
_NEXT = {
    "unreadable": "Repair what the reason names, then requeue; or discard what is no use.",
    "unexpected": "A defect of ours: once it is mended, requeue.",
    "unknown_order": "Sync the connection, so that the order comes; then requeue.",
    "unknown_order_line": "Sync the connection, so that the line comes; then requeue.",
    "unknown_item": "Sync the connection, so that the catalogue knows it; then requeue.",
}


def cause(row: Row) -> Cause | None:
    """The kind of a group's failures in words; None where only their own words are known."""
    if row["source"] == "message":
        return None
    name, text = (row["error_class"] or "").rpartition(".")[2], row["message"] or ""
    known = _BY_CLASS.get(name) or (_DATABASE if name in _OF_POSTGRES else None)
    if known is None:
        known = next((found for pattern, found in _BY_TEXT if pattern.search(text)), None)
    if known is None and name in _OF_PYTHON:
        known = _DEFECT
    return _SLOW if known is _SILENT and row["function"] not in WRITES else known


def headline(row: Row) -> str:
    """What went wrong, for Markdown, without a full stop."""
    if row["source"] == "message":
        return f"{formats.plural(row['items'], 'message')} {parked_words(row['error_class'] or '', row['items'])}"
    if row["source"] == "outbox":
        return f"{formats.plural(row['items'], 'notice')} could not be delivered"
    known = cause(row)
    if known is None:
        return formats.sentence(row["message"]).rstrip(".") or "It left no error"
    said = known.headline.replace("{who}", _who(row))
    return said[:1].upper() + said[1:]


def kind(row: Row) -> str:
    """The kind of the error as the code names it, for Markdown; empty for messages, whose cause is the headline."""
    if row["source"] == "message":
        return formats.plain(row["function"])
    name = (row["error_class"] or "").rpartition(".")[2]
    return "" if name in ("Error", "Undelivered") else formats.plain(name)


def happened(row: Row) -> str:
    """One plain sentence about it, for Markdown: nobody has to read code."""
    if row["source"] == "message":
        return _HAPPENED.get(row["error_class"] or "", "It is kept word for word.")
    if row["source"] == "outbox":
        return "Every attempt over about two days failed. What it was to say is kept."
    known = cause(row)
    return "" if known is None else known.happened.replace("{who}", _who(row))


def next_step(row: Row) -> str:
    """The one next step, for Markdown."""
    if row["source"] == "message":
        return parked_next(row["error_class"] or "")
    known = cause(row)
    if row["source"] == "outbox":
        return "See on Alerts that the channel takes notices (send a test), then requeue."
    if known is not None:
        return known.next_step.replace("{who}", _who(row))
    return formats.sentence(row["next_step"]) or "Repair what it names, then requeue."


def _who(row: Row) -> str:
    return formats.plain(row["connection"]) if row["connection"] else "the other side"


def state(row: Row) -> str:
    """How bad it is: unknown where nobody knows what was carried out; danger from five failures on, if still needed."""
    known = cause(row)
    if known is not None and known.state is not None:
        return known.state
    if not row["still_needed"]:
        return "unneeded"
    return "danger" if row["still_needed"] >= DANGER_ITEMS and row["source"] == "job" else "attention"


def badge(row: Row) -> str:
    """Its state as a badge."""
    found = state(row)
    return formats.badge(found, "Outcome unknown" if found == "unknown" else None)


def about(row: Row) -> str:
    """Where it happens, for Markdown: Amazon UK · sending quantities."""
    where = formats.plain(row["connection"]) if row["connection"] else ""
    what = formats.plain(row["function"]) if row["source"] == "message" else function(row["function"])
    return " · ".join(part for part in (where, what) if part)


def where(row: Row) -> str:
    """The same as plain text, for headings."""
    what = row["function"] if row["source"] == "message" else FUNCTIONS.get(row["function"], row["function"])
    return " · ".join(part for part in (row["connection"], what) if part)


def title(row: Row) -> str:
    """One failure by its source and number, as plain text: run 4711, message 12."""
    return f"{'run' if row['source'] == 'job' else NOUNS[row['source']][0]} {row['item_id']}"


def is_open(row: Row) -> bool:
    """Whether something can still be done about one failure."""
    return bool(row["state"] == "open" or row["is_open"])


def things(source: str, number: int) -> str:
    """214 failed jobs, 1 parked message."""
    _, one, many = SOURCES[source]
    return formats.plural(number, one, many)


def figures(row: Row) -> list[tuple[str, str]]:
    """The blast radius: (number, name), only what there is."""
    found = [(formats.count(row["items"]), NOUNS[row["source"]][row["items"] != 1])]
    for name, one, many in (("skus", "SKU", "SKUs"), ("orders", "order", "orders")):
        if row[name]:
            found.append((formats.count(row[name]), one if row[name] == 1 else many))
    found += [(amount, "touched") for amount in amounts(row["money"])]
    found.append((formats.count(row["still_needed"]), "still needed"))
    if row["superseded"]:
        found.append((formats.count(row["superseded"]), "superseded"))
    return found


def amounts(money: Mapping[str, int] | None) -> list[str]:
    """Money by currency, the largest first; totals never cross currencies."""
    return [formats.money(minor, name) for name, minor in sorted((money or {}).items(), key=lambda m: -m[1]) if minor]


# The answer ---------------------------------------------------------------------------------------------------------


def answer(totals: Row) -> tuple[str, str]:
    """The page's answer in two short sentences: what stands behind what failed, and how much of it is still needed."""
    counted = [things(source, totals[source]) for source in SOURCES if totals[source]]
    if not counted:
        return "Nothing is broken.", "Every job, message and notice did its work, or was dealt with."
    causes = totals["groups"]
    stand = "cause stands" if causes == 1 else "causes stand"
    first = f"{formats.in_words(causes)} {stand} behind {_and(counted)}."
    needed = totals["still_needed"]
    if not needed:
        return first, "None of it is needed any more: later runs did the work."
    every = sum(totals[source] for source in SOURCES)
    if needed == every:
        return first, "It is still needed." if every == 1 else "All of them are still needed."
    return first, f"{formats.count(needed)} of them {'is' if needed == 1 else 'are'} still needed."


def totals(groups: Sequence[Row]) -> dict[str, Any]:
    """Everything open: groups, items and those still needed, and items by source; and the moment it was so."""
    found: dict[str, Any] = {
        "groups": len(groups),
        "items": sum(row["items"] for row in groups),
        "still_needed": sum(row["still_needed"] for row in groups),
    }
    return found | {source: sum(row["items"] for row in groups if row["source"] == source) for source in SOURCES}


def arrived(known: Mapping[str, int], standing: Mapping[str, int]) -> int:
    """How many failures came since a list was drawn: `known` and `standing` are what is open in each group, by key."""
    return sum(max(items - known.get(key, 0), 0) for key, items in standing.items())


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


# Recoveries ---------------------------------------------------------------------------------------------------------


def recovery_state(row: Row) -> str:
    """Running, cancelled (with what was under way still ending), failed in part, or done."""
    if row["state"] == "cancelled":
        return "cancelled"
    if row["ended_at"] is None:
        return "recovering"
    return "attention" if row["failed"] else "done"


def recovery_look(row: Row) -> str:
    """How its card looks."""
    return {"cancelled": "unknown", "recovering": "busy"}.get(recovery_state(row), recovery_state(row))


def recovery_share(row: Row) -> float:
    """How much of it has come to an end."""
    ended = row["works"] - row["waiting"] - row["released"]
    return min(max(ended / row["works"], 0.0), 1.0) if row["works"] else 1.0


def progress(row: Row) -> str:
    """120 of 171 done · 4 failed again · 300 a minute · ≈ 2 min left."""
    parts = [f"{formats.count(row['done'])} of {formats.count(row['works'])} done"]
    if row["failed"]:
        parts.append(f"{formats.count(row['failed'])} failed again")
    if row["superseded"]:
        parts.append(f"{formats.count(row['superseded'])} needed no more")
    if row["cancelled"]:
        parts.append(f"{formats.count(row['cancelled'])} not begun")
    if row["ended_at"] is not None:
        took = (row["ended_at"] - row["requested_at"]).total_seconds()
        return " · ".join([*parts, f"took {formats.duration(took)}"])
    if row["waiting"]:
        parts.append(f"{formats.rate(row['per_minute'])} a minute")
        parts.append(f"{formats.estimate(row['seconds_left'])} left")
    elif row["released"]:
        parts.append(f"{formats.count(row['released'])} under way")
    return " · ".join(parts)


# Words that other screens use too -------------------------------------------------------------------------------------


def parked_words(name: str, number: int) -> str:
    """What is wrong with so many messages, for Markdown: could not be read."""
    what = _PARKED.get(name, f"are parked: {formats.plain(name.replace('_', ' '))}")
    if number != 1:
        return what
    first, _, rest = what.partition(" ")
    return f"{_ONE.get(first, first)} {rest}"


def parked_next(name: str) -> str:
    """The one next step about parked messages."""
    return _NEXT.get(name, "Repair the cause, then requeue; or discard what is no use.")
