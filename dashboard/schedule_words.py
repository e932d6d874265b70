"""What the Schedules screen says: how a schedule stands, when it is next, what its day looked like. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from core.runs import days
from core.runs.schedules import Schedule
from dashboard import formats

Row = Mapping[str, Any]
Cell = Literal["ok", "failed", "skipped", "gap", "none", "before", "paused"]

RING_MARGIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class View:
    """One schedule, as it stands. `next_at` is when its next turn begins; None while it is paused."""

    schedule: Schedule
    row: Row
    state: str
    next_at: datetime | None
    is_due: bool
    """The turn that is due has not begun, and when it rings for it is not known."""


def look(schedule: Schedule, row: Row, zone: str, rings: Mapping[str, datetime] | None) -> View:
    """How a schedule stands. `rings`: when each entry rings next; None while Redis does not say."""
    next_at, is_due = next_turn(schedule, row, zone)
    stands = state(schedule, row, next_at, is_due, rings)
    ring = rings.get(schedule.entry_id) if rings is not None else None
    if is_due and ring is not None and ring > row["as_of"]:
        # What is due begins with the next ring.
        next_at, is_due = ring, False
    return View(schedule, row, stands, next_at, is_due)


def next_turn(schedule: Schedule, row: Row, zone: str) -> tuple[datetime | None, bool]:
    """When the next turn is due, by the table and what was run, whatever Redis remembers; and whether that is now."""
    now, after = row["as_of"], schedule.daily_after
    if row["is_paused"]:
        return None, False
    if after is not None:
        due = days.due_at(days.latest_due_day(now, after, zone), after, zone)
        is_due = row["due_at"] is None or row["due_at"] < due or row["due_outcome"] == "skipped"
        return (due, True) if is_due else (days.next_due_at(now, after, zone), False)
    every = schedule.every_seconds or 1
    begin = datetime.fromtimestamp(int(now.timestamp()) // every * every, now.tzinfo)
    if row["due_at"] is None or row["due_at"] < begin:
        return begin, True
    return begin + timedelta(seconds=every), False


def patience(schedule: Schedule) -> timedelta:
    """How long after it was due a turn may begin before it counts as late: a few rings, and a queue's wait."""
    return timedelta(seconds=2 * schedule.ring_seconds + 60)


def state(
    schedule: Schedule, row: Row, next_at: datetime | None, is_due: bool, rings: Mapping[str, datetime] | None
) -> str:
    """paused, running, late (its turn is due and nothing rings for it, or it has been due too long), failed, never,
    on_time."""
    now = row["as_of"]
    if row["is_paused"]:
        return "paused"
    ring = rings.get(schedule.entry_id) if rings is not None else None
    is_forgotten = rings is not None and (ring is None or now - ring > RING_MARGIN)
    at_work = row["started_at"] is not None and row["outcome"] is None
    if at_work:
        return "running"
    due_since = next_at if is_due and next_at is not None else None
    if is_forgotten or (due_since is not None and row["started_at"] is not None and _is_late(schedule, row, due_since)):
        return "late"
    if row["started_at"] is None:
        return "never"
    return "failed" if row["outcome"] == "failed" else "on_time"


def _is_late(schedule: Schedule, row: Row, due_since: datetime) -> bool:
    since = due_since if schedule.daily_after is not None else row["started_at"] + timedelta(
        seconds=schedule.every_seconds or 0
    )  # fmt: skip
    return bool(row["as_of"] - since > patience(schedule))


def rhythm(schedule: Schedule, zone: str) -> str:
    """every 15 s; every day; each day at 02:00, London."""
    after = schedule.daily_after
    if after is not None:
        return f"each day at {after:%H:%M}, {formats.place(zone)}"
    return "every day" if schedule.every_seconds == 86_400 else f"every {formats.duration(schedule.every_seconds)}"


def next_word(view: View) -> str:
    """in 12 s; due now; in 3 h 05 min: as the schedule says, whether or not Redis remembers."""
    if view.next_at is None:
        return "when resumed"
    if view.is_due:
        return "due now"
    return f"in {formats.duration((view.next_at - view.row['as_of']).total_seconds() + 0.999)}"


def cells(
    schedule: Schedule, steps: Mapping[int, Row], row: Row, since: datetime, zone: str, step_seconds: int, number: int
) -> list[Cell]:
    """A day, oldest first: what each stretch of it shows.

    A gap is a stretch in which a turn was due and none began. Nothing is said of stretches from before anything was
    recorded, nor of those in which it was paused.
    """
    now = row["as_of"]
    step = timedelta(seconds=step_seconds)
    begin = datetime.fromtimestamp(int(now.timestamp()) // step_seconds * step_seconds, now.tzinfo)
    found: list[Cell] = []
    for ago in range(number - 1, -1, -1):
        at = begin - ago * step
        span = (at, min(at + step, now))
        found.append(_cell(schedule, steps.get(ago), steps.get(ago + 1), row, since, span, zone))
    return found


def _cell(
    schedule: Schedule,
    step: Row | None,
    former: Row | None,
    row: Row,
    since: datetime,
    span: tuple[datetime, datetime],
    zone: str,
) -> Cell:
    if step is not None:
        if step["failed"]:
            return "failed"
        return "skipped" if step["skipped"] else "ok"
    begin, end = span
    if begin < since:
        return "before"
    if row["is_paused"] and row["changed_at"] is not None and end > row["changed_at"]:
        return "paused"
    # A turn begins up to a ring after it was due: one that was due late in the stretch before may be missing here.
    grace = timedelta(seconds=schedule.ring_seconds + 30)
    due = _due_from(schedule, begin if former is not None else begin - grace, zone)
    return "gap" if due < end - grace else "none"


def _due_from(schedule: Schedule, begin: datetime, zone: str) -> datetime:
    """When the first turn from then on is due."""
    after = schedule.daily_after
    if after is not None:
        return days.next_due_at(begin - timedelta(microseconds=1), after, zone)
    every = schedule.every_seconds or 1
    return datetime.fromtimestamp(-(-begin.timestamp() // every) * every, begin.tzinfo)


def day_words(name: str, found: Sequence[Cell]) -> str:
    """What the picture of a day shows, in words."""
    counted = {word: found.count(cell) for cell, word in _CELL_WORDS.items()}
    said = ", ".join(f"{number} {word}" for word, number in counted.items() if number)
    return f"{name}, the last 24 hours by the quarter: {said or 'nothing was due'}"


_CELL_WORDS: Mapping[Cell, str] = {
    "ok": "as they should be",
    "failed": "with a failure",
    "skipped": "with a turn skipped",
    "gap": "without a turn that was due",
    "paused": "paused",
    "before": "from before anything was recorded",
}


def headline(views: Sequence[View], is_redis_known: bool, gaps: int) -> tuple[str, str]:
    """Does what is to happen by the clock happen, and what does not."""
    late = [view.schedule.name for view in views if view.state == "late"]
    failed = [view.schedule.name for view in views if view.state == "failed"]
    paused = [view.schedule.name for view in views if view.state == "paused"]
    rest = []
    if paused:
        rest.append(f"{_named(paused)} {'is' if len(paused) == 1 else 'are'} paused.")
    if not is_redis_known:
        rest.append("Redis does not answer: what is due begins when it is back, once.")
    if gaps:
        rest.append(f"{formats.in_words(gaps)} of {formats.count(len(views))} had gaps within a day.")
    if late:
        return f"{_named(late)} {'is' if len(late) == 1 else 'are'} late.", " ".join(rest)
    if failed:
        return f"{_named(failed)} failed the last time.", " ".join(rest)
    if all(view.row["started_at"] is None for view in views):
        return "Nothing has run by the clock yet.", " ".join(rest)
    return "Everything runs when it should.", " ".join(rest)


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{formats.in_words(len(names))} schedules"


def outcome(row: Row) -> str | None:
    """The state under which a turn is shown."""
    if row["started_at"] is None:
        return None
    return row["outcome"] or "running"


def why(row: Row) -> str:
    """What stands beside a turn: who asked, what it stood for, why it did not start."""
    said = []
    result = row["result"] if isinstance(row["result"], Mapping) else {}
    if row["trigger"] == "click":
        said.append(f"{row['requested_by']}: {row['reason']}")
    if row["missed"]:
        said.append(f"in the place of {formats.plural(row['missed'], 'turn')} that nobody ran")
    if row["outcome"] == "skipped":
        said.append("the former turn was still at work")
    if result.get("died"):
        said.append("the process that ran it died")
    return "; ".join(said)


def result_words(row: Row) -> str:
    """connections 2, moved 1: what the turn counted."""
    result = row["result"] if isinstance(row["result"], Mapping) else {}
    known = [
        f"{name.replace('_', ' ')} {formats.count(value)}"
        for name, value in result.items()
        if isinstance(value, int) and not isinstance(value, bool) and value
    ]
    return ", ".join(known)
