"""What is known of a connection, in words. Pure: no database, no Streamlit; foreign text comes back as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.inventory.comparison import Comparison, Verdict
from core.runs.schedules import SCHEDULES
from dashboard import call_words, formats, problems

Row = Mapping[str, Any]

PROMISES: Mapping[str, tuple[str, str]] = {
    "A": (
        "It compares before it sets, and refuses at zero.",
        "Its numbers are lowered and raised at any time. In escrow a unit is never shown here and elsewhere at once.",
    ),
    "B": (
        "It sets what it is told, later, without comparing.",
        "Each number is read back before it is believed. In escrow it is lowered to 0, waited for until its orders are "
        "known, and only then raised.",
    ),
    "C": (
        "It cannot refuse a sale, and may be offline.",
        "It sells from a location of its own, which no other channel shares.",
    ),
    "D": ("Its stock is not ours.", "It is only read; nothing is ever written to it."),
    "T": (
        "It sells nothing.",
        "It is told the catalogue and what is in stock, reads back what is in doubt, and is compared every six hours.",
    ),
}
"""By guarantee class: what the channel can do, and what we therefore promise."""


# --- what stands in the way of a write --------------------------------------------------------------------------------


def writing(switches: Row) -> str:
    """Whether what differs is written: a state of `formats`. What stops most stands first."""
    if switches["is_stopped_for_shop"] or switches["is_stopped_for_connection"]:
        return "stopped"
    if switches["switch"] == "paused":
        return "paused"
    return "shadow" if switches["write_mode"] == "shadow" else "live"


def is_shadow(switches: Row) -> bool:
    """Whether it is only compared, whatever else holds its writes."""
    return bool(switches["write_mode"] == "shadow")


def writing_because(switches: Row, as_of: datetime, zone: str) -> str:
    """Why writes go out or do not, in one sentence, with who decided it."""
    match writing(switches):
        case "stopped":
            what = (
                "Nothing is written to any channel" if switches["is_stopped_for_shop"] else "Nothing is written to it"
            )
            decided = _decided(switches["stopped_at"], switches["stopped_by"], switches["stop_reason"], as_of, zone)
            return f"{what}: stopped {decided}"
        case "paused":
            decided = _decided(switches["paused_at"], switches["paused_by"], switches["pause_reason"], as_of, zone)
            return (
                f"Paused {decided} It is not asked for orders and nothing is written to it; what it tells by itself is "
                "recorded and handled."
            )
        case "shadow":
            return "In shadow mode it is read, worked out and compared; nothing is written to it until it goes live."
    return "What differs is written to it."


def _decided(at: datetime | None, by: str | None, reason: str | None, as_of: datetime, zone: str) -> str:
    """Since when, by whom, and why; what is not on record is left out."""
    since = f"since {formats.moment(at, as_of, zone)}" if at else "by a person"
    who = f" by {by}" if by and at else ""
    why = f": {reason.strip().rstrip('.')}" if reason else ""
    return f"{since}{who}{why}."


def stop_banner(stop: Row, zone: str) -> str:
    """Since when, by whom and why writes of the whole shop are stopped."""
    return _decided(stop["stopped_at"], stop["stopped_by"], stop["reason"], stop["as_of"], zone)


# --- the answer -------------------------------------------------------------------------------------------------------


def headline(connections: Sequence[Row], switches: Mapping[int, Row]) -> tuple[str, str]:
    """How many connections are in step, and what is written to how many of them."""
    total = len(connections)
    if total == 0:
        return (
            "No channel is connected yet.",
            "Connect one: it is read and compared first, and written to when you say.",
        )
    well = sum(row["state"] == "in_step" for row in connections)
    return _in_step(well, total), _written([writing(row) for row in switches.values()])


def _in_step(well: int, total: int) -> str:
    if total == 1:
        return "The connection is in step." if well else "The connection is not in step."
    if well == total:
        return f"{'Both' if total == 2 else f'All {formats.in_words(total).lower()}'} connections are in step."
    if well == 0:
        return (
            "Neither connection is in step."
            if total == 2
            else f"None of {formats.in_words(total).lower()} connections is in step."
        )
    verb = "is" if well == 1 else "are"
    return f"{formats.in_words(well)} of {formats.in_words(total).lower()} connections {verb} in step."


HELD: Mapping[str, str] = {"stopped": "writes stopped", "shadow": "shadow mode"}
"""Beside a connection's name: that nothing is written to it, where its state does not say so already."""

_NOT_WRITTEN = {"stopped": "stopped", "paused": "paused", "shadow": "in shadow mode"}


def _written(states: Sequence[str]) -> str:
    """All of them are written to; or how many are not, by why."""
    held = [state for state in states if state != "live"]
    if not held:
        return "What differs is written to it." if len(states) == 1 else "What differs is written to each."
    if len(held) == len(states) and len(set(held)) == 1 and held[0] == "stopped":
        return "All writes are stopped."
    parts = [
        f"{formats.in_words(held.count(kind)).lower()} {word}" for kind, word in _NOT_WRITTEN.items() if kind in held
    ]
    return f"Not written to: {_list(parts)}."


def standing(row: Row, as_of: datetime, zone: str) -> str:
    """The state of a connection with its reason, in one or two sentences."""
    heard = row["last_heard_at"]
    match row["state"]:
        case "in_step" if row["write_mode"] == "shadow":
            return f"It is read and compared, and was heard {formats.ago(heard, as_of, zone)}."
        case "in_step":
            return f"It shows what it should, and was heard {formats.ago(heard, as_of, zone)}."
        case "paused":
            return "It is switched off by a person; what it sells without telling is not known until it is resumed."
        case "behind":
            lag, allowed = formats.duration(row["lag_seconds"]), formats.duration(row["lag_allowed_seconds"])
            return f"It is {lag} behind, where {allowed} are usual. {problems.load(row)}".strip()
        case "unknown" if heard is None:
            return "Nothing has ever come from it and no call to it has succeeded: nothing is known of its stock."
        case "unknown":
            quiet, allowed = (as_of - heard).total_seconds(), formats.duration(row["silence_allowed_seconds"])
            return f"It has been silent for {formats.duration(quiet)}; after {allowed} its stock counts as not known."
    return f"It works, but {_list(_worries(row)) or 'its last call did not succeed'}."


def refusing(failing: Sequence[Row]) -> str:
    """The operations whose last call within the hour did not succeed."""
    names = [str(row["operation"]) for row in failing]
    shown = _list(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {formats.count(len(names) - 3)} more"
    return f"Last asked within the hour, {shown} did not succeed: what went wrong stands below, with what to do."


def _worries(row: Row) -> list[str]:
    counts = (
        (row["parked"], "message", "messages", "parked"),
        (row["listings_refused"], "quantity", "quantities", "refused"),
        (row["doubtful_writes"], "write", "writes", "in doubt"),
    )
    failing = ["its last call failed"] if _is_failing(row) else []
    if row["fell_forward"]:
        failing.append("it answers with another version than we speak")
    if row["untold_topics"]:
        failing.append(f"it does not call us for {formats.plural(row['untold_topics'], 'topic')}")
    return failing + [f"{formats.plural(n, one, many)} {_are(n)} {what}" for n, one, many, what in counts if n]


def _is_failing(row: Row) -> bool:
    answer = row["last_answer_at"]
    return row["last_error_at"] is not None and (answer is None or row["last_error_at"] > answer)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


# --- quota ------------------------------------------------------------------------------------------------------------

_PURPOSES = {
    "stock.push": "Writing quantities",
    "stock.check": "Reading writes back",
    "connection.poll": "Asking for orders",
    "connection.sync": "Syncs of the whole",
    "connection.subscriptions": "Looking at subscriptions",
    "connection.test": "Tests",
    "orders.read": "Reading single orders",
    "notices.read": "Reading notifications",
    "reconcile.stock": "Comparing stock",
    "reconcile.orders": "Comparing orders",
    "inbox.drain": "Handling messages",
    "dashboard": "This dashboard",
    "unnamed": "Not said by whom",
}


def purpose(name: str) -> str:
    """Whom a call was made for, as people say it; one that has no words yet is shown by its name."""
    if name in _PURPOSES:
        return _PURPOSES[name]
    command = name.removeprefix("command:")
    return f"switchyard {command}" if command != name else name


def taken(used: Row | None) -> str:
    """What was taken of a quota: 12,340 points, 310 calls, none."""
    if used is None or not used["calls"]:
        return "none used"
    if used["unit"] == "requests":
        return formats.plural(used["calls"], "call")
    return f"{formats.count(round(used['points']))} {used['unit']}"


def used(rows: Sequence[Row], window: str) -> str:
    """What was used of the quota and by whom most, in a sentence."""
    points, calls = sum(row["points"] for row in rows), sum(row["calls"] for row in rows)
    if not calls:
        return f"Nothing of the quota was used in {call_words.last_of(window)}."
    unit = rows[0]["unit"]
    many = formats.plural(calls, "call")
    total = many if unit == "requests" else f"{formats.count(round(points))} {unit} by {many}"
    text = f"{total} in {call_words.last_of(window)}"
    slowed = sum(row["throttled"] for row in rows)
    told = f" {formats.in_words(slowed)} came too early and {_was(slowed)} told to wait." if slowed else ""
    top = max(rows, key=lambda row: (row["points"], row["calls"]))
    share = formats.percent(round(top["points"]), round(points)) if points else None
    most = f", most of it ({share}) for {_lower_first(purpose(top['purpose']))}" if share and len(rows) > 1 else ""
    return f"{text}{most}.{told}"


def _lower_first(text: str) -> str:
    return text if text.startswith(("switchyard", "API")) else text[:1].lower() + text[1:]


# --- subscriptions ----------------------------------------------------------------------------------------------------


def subscriptions(rows: Sequence[Row]) -> str:
    """How many topics the channel calls us for, and how many it does not."""
    if not rows:
        return "It was not looked at yet, or this channel calls nobody; its orders are asked for every minute."
    gone = [row for row in rows if row["state"] != "standing"]
    if not gone:
        return f"All {formats.count(len(rows))} stand." if len(rows) > 1 else "The one there is stands."
    missing = sum(row["state"] == "missing" for row in gone)
    parts = [
        f"{formats.in_words(missing).lower()} {_are(missing)} missing" if missing else "",
        f"{formats.in_words(len(gone) - missing).lower()} {_are(len(gone) - missing)} refused"
        if len(gone) > missing
        else "",
    ]
    text = _list([part for part in parts if part])
    return f"Of {formats.count(len(rows))} topics {text}: those are seen only when orders are asked for."


def repairs(row: Row, zone: str) -> str:
    """What became of a subscription: never gone, repaired when, or missing since when; and why."""
    now = row["as_of"]
    parts = []
    if row["state"] == "missing":
        gone = formats.duration((now - row["missed_at"]).total_seconds()) if row["missed_at"] else None
        parts.append(f"gone for {gone}; made again at the next check" if gone else "made at the next check")
    elif row["repairs"]:
        times = "once" if row["repairs"] == 1 else f"{formats.count(row['repairs'])} times"
        last = f", last {formats.ago(row['repaired_at'], now, zone)}" if row["repaired_at"] else ""
        parts.append(f"repaired {times}{last}")
    if row["problem"]:
        parts.append(row["problem"])
    return "; ".join(parts) if parts else "never gone"


# --- what going live would change -----------------------------------------------------------------------------------

COMPARED: Mapping[Verdict, str] = {
    "equal": "equal",
    "raised": "would be raised",
    "lowered": "would be lowered",
    "zeroed": "would go to zero",
}


def comparison(found: Comparison) -> str:
    """What going live would do, in two sentences."""
    if not found.listings:
        return "It has no listing yet: sync it, and what going live would change is shown here."
    raised, lowered, zeroed = found.of("raised"), found.of("lowered"), found.of("zeroed")
    changed, equal = raised.listings + lowered.listings + zeroed.listings, found.of("equal").listings
    shown = f"{formats.plural(equal, 'listing')} {'shows' if equal == 1 else 'show'} what {_they(equal)} should."
    if not changed:
        return f"{shown} Going live would change nothing."
    down = -lowered.units - zeroed.units
    return (
        f"{shown} Going live would write {formats.plural(changed, 'number')}: "
        f"{formats.plural(raised.units, 'unit')} up, {formats.count(down)} down, "
        f"{formats.plural(zeroed.listings, 'listing')} to zero."
    )


def _they(number: int) -> str:
    return "it" if number == 1 else "they"


# --- what people did there --------------------------------------------------------------------------------------------

ACTS: Mapping[str, str] = {
    "stock_edit": "Numbers typed over ours",
    "draft_order": "Draft orders",
    "order_edit": "Orders edited",
}


def act(kind: str, found: Row | None, unexplained: Row) -> str:
    """What something done by people at a channel means for our numbers."""
    if kind == "draft_order":
        return "Written up by the shop's people: may sell what is not there; booked like every order."
    if kind == "order_edit":
        return "Changed after it was placed: the difference is booked, and may take what is not there."
    moved = f"By {formats.plural(found['units'], 'unit')} in all. " if found and found["units"] else ""
    left = unexplained["edited_units"]
    if not left:
        return f"{moved}None is unexplained now: the orders are known up to each."
    listings = formats.plural(unexplained["edited_listings"], "listing")
    return (
        f"{moved}{formats.plural(left, 'unit')} at {listings} count as exposed until the orders are known up to them."
    )


def last_day(found: Row | None, as_of: datetime, zone: str) -> str:
    """The day on which people last did it: today, 24 Nov, never."""
    if found is None:
        return "never"
    day = found["last_day"]
    return "today" if day == as_of.astimezone(ZoneInfo(zone)).date() else f"{day.day} {day:%b}"


# --- versions ---------------------------------------------------------------------------------------------------------


def version(row: Row | None, vendor: str, as_of: datetime, zone: str) -> tuple[str, str]:
    """A state of `formats` and a sentence: which version of its API the channel answers with, and how long yet."""
    if row is None:
        return "unknown", "No answer has named a version of the API yet."
    asked, answered = row["asked_version"], row["answered_version"]
    if row["fell_forward"]:
        return (
            "attention",
            f"Asked for {asked}, it answers with {answered}: {asked} is not supported any more. Switchyard has to be "
            "brought up to a version that speaks it.",
        )
    until = row["supported_until"]
    if until is None:
        return "ok", f"It answers as asked, with {answered}; until when is not said."
    left = (until - as_of).total_seconds()
    day = formats.day(until, zone)
    if left <= 0:
        return (
            "attention",
            f"It answers with {answered}, whose support ended on {day}: any day it may answer otherwise.",
        )
    state = "attention" if left < _SOON_SECONDS else "ok"
    return state, f"It answers as asked, with {answered}, supported until {day}: {formats.days(left)} yet."


_SOON_SECONDS = 60 * 86_400


# --- errors -----------------------------------------------------------------------------------------------------------

_NEXT_BY_OUTCOME = {
    "throttled": "Nothing to do: it is tried again by itself. If it goes on, see below who uses the quota.",
    "error": "It is tried again by itself. If it goes on, test the connection, and look at the vendor's status page.",
    "unknown": "Nothing is taken for granted: what was written is read back before it is believed.",
    "refused": "It says no again to the same. Open the call: it names what was asked.",
}
_NEXT_BY_STATUS = {
    401: "Its credentials are not accepted: renew them with “switchyard connect”, then test.",
    402: "The shop's account is frozen for an unpaid bill: its owner has to settle it with the vendor.",
    403: "A right is missing: test to see which, grant it to the app at the vendor, then test again.",
    404: "The shop or its address is not there any more: check what “switchyard connect” was told.",
    423: "The shop is locked by the vendor: its owner has to ask there.",
    430: "The vendor takes us for an attack: let it rest, then test. If it goes on, ask its support.",
}


def came_back(row: Row) -> str:
    """What came back instead of a good answer, in words."""
    said = call_words.error(row["error"], row["status"])
    return f"{said[:1].upper()}{said[1:]}"


def next_step(row: Row, is_over: bool) -> str:
    """What to do about an error of a call."""
    if is_over:
        return "Nothing: the same has succeeded since."
    if row["outcome"] == "refused" and row["status"] in _NEXT_BY_STATUS:
        return _NEXT_BY_STATUS[row["status"]]
    if row["outcome"] == "refused" and "ACCESS_DENIED" in (row["error"] or ""):
        return _NEXT_BY_STATUS[403]
    return _NEXT_BY_OUTCOME.get(row["outcome"], "Open the call.")


# --- a test -----------------------------------------------------------------------------------------------------------


FOUND: Mapping[str, str] = {"ok": "ok", "warning": "attention", "problem": "danger"}
"""By the state of a finding: the state of `formats` that it is shown as."""


def tested(answer: Mapping[str, Any]) -> str:
    """What a test's answer says of the account, in a sentence."""
    name, ref = str(answer.get("name") or ""), str(answer.get("ref") or "")
    who = f"{name} ({ref})" if name and name != ref else name or ref or "an account without a name"
    plan = f", plan {answer['plan']}" if answer.get("plan") else ""
    return f"It answered as {who}{plan}, in {formats.milliseconds(answer.get('elapsed_ms'))}."


def verdict(findings: Sequence[Row]) -> tuple[str, str]:
    """The worst state of what was found, and how many things are not well."""
    states = [FOUND.get(str(found["state"]), "unknown") for found in findings]
    for state, word in (("danger", "not right"), ("attention", "to note")):
        if state in states:
            return state, f"{formats.in_words(states.count(state))} {word}"
    return "ok", "All is well"


def after_failed_test(error: str | None) -> str:
    """What to do about a test that failed."""
    text = (error or "").lower()
    if "not authorised" in text or "401" in text or "403" in text:
        return "Renew its credentials with “switchyard connect”, then test again."
    if "no connection" in text:
        return "Its address did not answer: look at the vendor's status page and at this machine's way out."
    if "quota" in text:
        return "Its quota is used up for the moment; test again in a minute."
    return "Test again in a minute; if it stays so, open its API calls."


def poll_seconds() -> int:
    """How often channels are asked for orders."""
    return _every("poll.orders")


def checked_every() -> str:
    """How often it is looked whether channels still call us: every hour."""
    hours = _every("sweep.subscriptions") // 3_600
    return "hour" if hours == 1 else f"{hours} hours"


def _every(schedule: str) -> int:
    return next(s.every_seconds for s in SCHEDULES if s.name == schedule and s.every_seconds)
