"""What the Klaviyo page says: how far it is in step, what is under way and for how long yet, what fails and what to do.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import ceil
from shlex import quote
from typing import Any, NamedTuple

from core.catalogue_target import KINDS
from core.runs.schedules import SCHEDULES
from core.targets.rules import TAKEN
from core.targets.sending import WHOLE_JOB
from dashboard import formats
from dashboard.schedule_words import next_turn
from dashboard.target_queries import Flow, Standing

Row = Mapping[str, Any]

FULL_SCHEDULE = "sync.targets"
ENTRIES_A_JOB = 100
"""As many entries as Klaviyo takes in one job."""
PLURALS = {"category": "Categories", "item": "Items", "variant": "Variants"}
VERBS = {"create": "Add", "update": "Change", "delete": "Remove", "check": "Read back"}
_UNDER_WAY = ("in_flight", "checking")


class Kind(NamedTuple):
    """How the entries of one kind stand; what is gone there and needs nothing is in none of them."""

    in_step: int = 0
    waiting: int = 0
    in_flight: int = 0
    removing: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        return sum(self)

    @property
    def on_their_way(self) -> int:
        return self.waiting + self.in_flight + self.removing


class Cause(NamedTuple):
    """What fails for the same reason. `to_requeue`: of them those that can be tried again at once; `held`: those that a
    person has to; `under_way`: those that are being tried."""

    code: str
    is_content: bool
    entries: int
    held: int
    under_way: int
    to_requeue: int
    first_id: int


def kinds(found: Standing) -> dict[str, Kind]:
    """How each kind stands, in the order in which they are told."""
    stuck = {
        kind: sum(row["entries"] - row["under_way"] for row in found.causes if row["kind"] == kind) for kind in KINDS
    }
    return {kind: _kind(kind, found, stuck[kind]) for kind in KINDS}


def _kind(kind: str, found: Standing, held: int) -> Kind:
    by_state = {state: entries for (whose, state), entries in found.states.items() if whose == kind}
    removing = found.removing.get(kind, 0)
    in_flight = sum(by_state.get(state, 0) for state in _UNDER_WAY)
    in_step = by_state.get("in_step", 0)
    others = sum(by_state.values()) - by_state.get("gone", 0) - in_flight - in_step
    # What is tried again for the first time has no problem to show: it waits like others.
    return Kind(in_step, max(others - removing - held, 0), in_flight, removing, held)


def whole(each: Iterable[Kind]) -> Kind:
    """All kinds together."""
    return Kind(*(sum(numbers) for numbers in zip(*each, strict=True)))


def causes(found: Standing) -> list[Cause]:
    """What fails by cause, most entries first."""
    by_code: dict[tuple[str, bool], list[Row]] = {}
    for row in found.causes:
        by_code.setdefault((row["problem_code"], row["problem_kind"] == "content"), []).append(row)
    made = [
        Cause(
            code,
            is_content,
            entries=sum(row["entries"] for row in group),
            held=sum(row["held"] for row in group),
            under_way=sum(row["under_way"] for row in group),
            to_requeue=sum(row["to_requeue"] for row in group),
            first_id=min(row["first_id"] for row in group),
        )
        for (code, is_content), group in by_code.items()
    ]
    return sorted(made, key=lambda cause: (-cause.entries, cause.code))


# --- the answer -------------------------------------------------------------------------------------------------------


def stop(row: Row) -> str | None:
    """Why nothing is written to it, as the page's answer; None where it is written to."""
    if row["state"] == "paused":
        return "Klaviyo is paused."
    if row["is_stopped"]:
        return "Writes are stopped."
    if row["write_mode"] == "shadow":
        return "Klaviyo is in shadow mode."
    return None if row["may_write"] else "Writes are stopped."


def stopped_by(row: Row, zone: str) -> str:
    """Who stopped it, when and why; how to go on."""
    if row["state"] == "paused":
        who, why, at = row["paused_by"], row["pause_reason"], row["paused_at"]
    elif row["is_stopped"]:
        who, why, at = row["stopped_by"], row["stop_reason"], row["stopped_at"]
    else:
        return (
            "What differs is planned and compared, and nothing is told. Once that is right, “switchyard klaviyo live"
            f" {quote(row['name'])} --reason …” has it told."
        )
    if who is None:
        return "What differs is told once it is resumed."
    return f"By {who}, {formats.ago(at, row['as_of'], zone)}: {why}. What differs is told once it is resumed."


def answer(row: Row, total: Kind, failing: Sequence[Cause], left: float | None) -> tuple[str, str]:
    """The page's headline: (the answer, the rest of it)."""
    stopped = stop(row)
    if stopped is not None:
        return stopped, f"{_wait(total.on_their_way)} {_share(total)}" if total.total else ""
    if not total.total:
        return "Nothing to tell yet.", "Products and categories are told within a minute after they are there."
    if failing:
        number = sum(cause.entries for cause in failing)
        rest = f" {_on_their_way(total.on_their_way)}." if total.on_their_way else ""
        return f"{formats.count(number)} failed for {formats.plural(len(failing), 'cause')}.", f"{_share(total)}{rest}"
    if total.on_their_way:
        time = "" if left is None else f", about {formats.duration(max(left, 1))} left"
        return f"{_on_their_way(total.on_their_way)}{time}.", _share(total)
    return f"In step: {formats.count(total.in_step)} of {formats.plural(total.total, 'entry', 'entries')}.", ""


def _on_their_way(number: int) -> str:
    return f"{formats.plural(number, 'entry', 'entries')} on {'its' if number == 1 else 'their'} way"


def _wait(number: int) -> str:
    if not number:
        return "Nothing waits."
    return f"{formats.plural(number, 'entry waits', 'entries wait')}."


def _share(total: Kind) -> str:
    return f"{formats.count(total.in_step)} of {formats.plural(total.total, 'entry', 'entries')} in step."


# --- time left --------------------------------------------------------------------------------------------------------


def seconds_left(total: Kind, flow: Flow) -> float | None:
    """By what was confirmed in the last minutes; None where nothing was, or nothing is under way."""
    if not total.on_their_way or not flow.confirmed or not flow.seconds:
        return None
    return total.on_their_way / (flow.confirmed / max(flow.seconds, 1.0))


def seconds_by_quota(flow: Flow, quota: Sequence[Row]) -> float | None:
    """The least that handing in what waits takes by the vendor's quota: jobs of each kind and verb have one of their
    own. None where no answer told how large it is."""
    sizes = {row["operation"]: parts[1] for row in quota if (parts := limit(row)) is not None}
    told = [
        ceil(entries / ENTRIES_A_JOB) * 60 / sizes[name]
        for (kind, verb), entries in flow.waiting.items()
        if (name := f"bulk_{verb}_catalog_{PLURALS[kind].lower()}") in sizes
    ]
    return max(told, default=None)


def limit(row: Row) -> tuple[int, int] | None:
    """What was left and of how many, as the newest answer of an operation said it."""
    said = re.fullmatch(r"(\d+)/(\d+)", row["quota_left"] or "")
    return (int(said[1]), int(said[2])) if said and int(said[2]) else None


def queue(total: Kind, flow: Flow, left: float | None, by_quota: float | None, *, is_stopped: bool) -> str:
    """The queue in some sentences."""
    if not total.on_their_way:
        return "Nothing waits and nothing is under way."
    parts = [
        f"{formats.plural(total.waiting + total.removing, 'entry waits', 'entries wait')} and"
        f" {formats.count(total.in_flight)} {'is' if total.in_flight == 1 else 'are'} in flight"
        f" in {formats.plural(flow.jobs, 'job')}."
    ]
    if is_stopped:
        parts.append("What is in flight ends by itself; what waits goes once writes are resumed.")
        return " ".join(parts)
    if left is not None:
        rate = formats.rate(flow.confirmed / max(flow.seconds, 1.0) * 60)
        parts.append(f"At the pace of the last minutes, {rate} a minute, {formats.estimate(max(left, 1))} left.")
    else:
        parts.append("Nothing was confirmed in the last five minutes, so nobody can say how long it takes.")
    if by_quota is not None:
        parts.append(f"By Klaviyo’s quota at least {formats.duration(max(by_quota, 1))}.")
    return " ".join(parts)


_JOB_STATES = {
    "planned": "To be sent",
    "sent": "Sent, no reply yet",
    "queued": "Queued there",
    "processing": "Being applied",
    "lost": "Looked for",
}


def job_state(row: Row) -> str:
    """Where a job is."""
    return "Ended, to be read" if row["is_over"] else _JOB_STATES.get(row["state"], str(row["state"]))


def soon(instant: datetime | None, now: datetime) -> str:
    """When it is looked at next."""
    if instant is None:
        return formats.UNKNOWN
    seconds = (instant - now).total_seconds()
    return "now" if seconds < 1 else f"in {formats.duration(seconds)}"


def operation(name: str) -> str:
    """What an operation of Klaviyo's does, in words."""
    words = name.replace("catalog_", "").replace("_", " ")
    words = re.sub(r"^get bulk (\w+) (\w+) job(s?)$", r"look at \1 jobs of \2", words)
    words = re.sub(r"^bulk (\w+) (\w+)$", r"hand in \1 jobs of \2", words)
    words = re.sub(r"^get ", "read ", words)
    return words[:1].upper() + words[1:]


# --- full syncs -------------------------------------------------------------------------------------------------------


def found_by(run: Row) -> str:
    """What a full sync found."""
    counts = run["counts"] or {}
    parts = [f"{formats.plural(counts.get('read', 0), 'entry', 'entries')} read"]
    healed = sum(counts.get(name, 0) for name in ("differs", "missing", "stale", "adopted", "unproven"))
    names = (
        ("differs", "shown otherwise and told again"),
        ("missing", "not there and read back"),
        ("stale", "there and to be removed"),
        ("adopted", "there already and taken over"),
        ("unproven", "there already and read back"),
    )
    detail = ", ".join(f"{formats.count(counts[name])} {words}" for name, words in names if counts.get(name))
    parts.append(f"{formats.plural(healed, 'difference')} healed ({detail})" if healed else "nothing differed")
    if taken := counts.get("taken", 0):
        parts.append(
            f"{formats.plural(taken, 'id')} of ours {'is' if taken == 1 else 'are'} somebody else’s, left alone"
        )
    foreign = counts.get("foreign", 0)
    verb = "entry is" if foreign == 1 else "entries are"
    parts.append(f"{formats.count(foreign)} {verb} none of ours, left alone" if foreign else "nothing of others")
    return f"{'; '.join(parts)}."


def next_full(standing: Row, zone: str) -> str:
    """When the clock asks for the next full sync; `standing` as dashboard.schedule_queries has it of FULL_SCHEDULE."""
    schedule = next(one for one in SCHEDULES if one.name == FULL_SCHEDULE)
    due, is_due = next_turn(schedule, standing, zone)
    if due is None:
        return "none by itself: its schedule is paused"
    return "now" if is_due else f"{formats.moment(due, standing['as_of'], zone)}, {soon(due, standing['as_of'])}"


# --- failures ---------------------------------------------------------------------------------------------------------

_CAUSES = {
    "no_price": (
        "Variants without a price",
        "Give each a price on its product: a variant is not told without one. It is told by itself then.",
    ),
    "no_url": (
        "Products without an address",
        "Give each product an address, or the connection the address of the shop (setting storefront_url).",
    ),
    "other_currency": (
        "Prices in another currency",
        "Price each in the currency of the connection. It is told by itself then.",
    ),
    "metadata_too_large": (
        "Metafields that are too large",
        "Shorten the metafields of each product. It is told by itself then.",
    ),
    TAKEN: (
        "Ids of ours that somebody else has at Klaviyo",
        "Look at each at Klaviyo: it was not told by this shop. Delete it there, then requeue.",
    ),
    WHOLE_JOB: (
        "Klaviyo refused the whole job that they were in",
        "Each of them is tried alone by itself: then it shows which one it is. Nothing is to be done.",
    ),
    "refused": (
        "Klaviyo did not take them, and did not say why",
        "Look at the first of them at Klaviyo, then requeue.",
    ),
}


def cause(code: str, *, is_content: bool) -> str:
    """A cause as a person says it."""
    if code in _CAUSES:
        return _CAUSES[code][0]
    said = code.replace("_", " ").replace("-", " ").lower()
    return f"Cannot be told: {said}" if is_content else f"Klaviyo says: {said}"


def next_step(found: Cause) -> str:
    """What to do about it."""
    if found.code in _CAUSES and not (found.code == WHOLE_JOB and found.held):
        return _CAUSES[found.code][1]
    if found.is_content:
        return "Change the product: it is told by itself then."
    if found.held:
        return "Change what Klaviyo does not like about the product, then requeue."
    return "It is tried again by itself, three times in all; then it waits for a person."


def counted(found: Cause) -> str:
    """How many fail for it, and what becomes of them."""
    parts = [formats.plural(found.entries, "entry", "entries")]
    if found.held:
        parts.append(f"{formats.count(found.held)} {'waits' if found.held == 1 else 'wait'} for a person")
    again = found.to_requeue - found.held
    if again > 0:
        parts.append(f"{formats.count(again)} tried again by {'itself' if again == 1 else 'themselves'}")
    if found.under_way:
        parts.append(f"{formats.count(found.under_way)} being tried now")
    return " · ".join(parts)


def failed_state(row: Row, zone: str) -> tuple[str, str]:
    """(look, words) of an entry that failed."""
    if row["is_under_way"]:
        return "busy", "Being tried now"
    if row["problem_kind"] == "content":
        return "attention", "Waits for other content"
    if row["is_held"]:
        return "attention", "Waits for a person"
    if not row["failures"]:
        return "busy", "Queued again"
    if row["next_at"] <= row["as_of"]:
        return "busy", "Tried again now"
    return "unknown", f"Tried again at {formats.moment(row['next_at'], row['as_of'], zone)}"


# --- one entry --------------------------------------------------------------------------------------------------------


def entry_state(row: Row) -> tuple[str, str]:
    """(look, words) of an entry."""
    if row["open_job_id"] is not None:
        return "busy", "In flight"
    if row["to_check"]:
        return "busy", "Being read back"
    if row["problem_kind"] is not None:
        return "attention", "Failed" if row["problem_kind"] == "refused" else "Cannot be told"
    if row["work"] == "delete":
        return "busy", "To be removed"
    if row["work"] is not None:
        return "busy", "Waits for its turn"
    if row["desired_hash"] is None:
        return "unknown", "Not there, and is not to be"
    return ("busy", "Waits for its item") if row["waits"] else ("ok", "In step")


def content(value: str | None, nothing: str) -> str:
    """A content by the first characters of its hash, so that two can be held against each other."""
    return nothing if value is None else value[:10]


def last_job(row: Row, zone: str) -> str:
    """What became of the last job that an entry was in."""
    if row["job_id"] is None:
        return "never in a job"
    verb = VERBS[row["verb"]].lower()
    when = formats.ago(row["job_at"], row["as_of"], zone)
    told = {"ok": "done", "failed": "failed", "unknown": "unclear, read back", "unsent": "not sent, comes again"}
    return f"no. {row['job_id']}, {verb}: {told.get(row['outcome'], 'under way')}, {when}"
