"""What the Runs screen says: how each kind of sync stands, how it goes, how it ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from core.runs import kinds
from core.runs.schedules import SCHEDULES
from dashboard import formats

Row = Mapping[str, Any]

HOURS = 24
SUCCESSES = ("worked", "nothing")
BAD = ("failed", "refused")

TRIGGERS = {"schedule": "by the clock", "click": "by a person", "event": "by an event"}

BUSINESS = {
    "worked": ("Did something", "ok"),
    "nothing": ("Nothing to do", "unknown"),
    "refused": ("Said no", "attention"),
    "waits": ("Put off", "busy"),
    "off": ("Switched off", "paused"),
}
"""What came of a job that finished, and the look of it; never mixed with whether it ran."""


@dataclass(slots=True)
class Span:
    """Turns of a stretch of time by outcome, and those that succeeded by how long they took."""

    outcomes: dict[str, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take a tally in."""
        outcome, turns = row["outcome"], row["turns"]
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + turns
        if outcome in SUCCESSES:
            self.slots[row["slot"]] = self.slots.get(row["slot"], 0) + turns

    @property
    def good(self) -> int:
        """Turns that heard the other side out."""
        return sum(self.outcomes.get(name, 0) for name in SUCCESSES)

    @property
    def bad(self) -> int:
        """Turns that failed or were refused."""
        return sum(self.outcomes.get(name, 0) for name in BAD)

    def share(self) -> str:
        """99.2 %: of the turns that were no wait and not switched off; a dash where there was none."""
        whole = self.good + self.bad
        if not whole:
            return formats.UNKNOWN
        share = self.good * 100 / whole
        # Never 100 % of what did not always succeed.
        return f"{min(share, 99.9):.1f} %" if self.bad else "100 %"

    def seconds(self, share: float) -> float | None:
        """Within how many seconds that share of the good turns ended."""
        return kinds.percentile(self.slots, share)


@dataclass(frozen=True, slots=True)
class Health:
    """One kind of one connection, as it stands."""

    row: Row
    day: Span
    week: Span
    turns_by_hour: tuple[int, ...]
    state: str


def words_of(kind: str) -> str:
    """A kind as people say it."""
    known = kinds.BY_NAME.get(kind)
    return known.words if known else kind.replace("_", " ").capitalize()


def collect(rows: Sequence[Row], hours: Sequence[Row], spans: Sequence[Row]) -> list[Health]:
    """The worst first, then by connection and kind in the order of the table; see `run_queries` for the rows."""
    days: dict[tuple[int, str], tuple[Span, Span]] = {}
    for row in spans:
        day, week = days.setdefault((row["connection_id"], row["kind"]), (Span(), Span()))
        week.add(row)
        if row["is_of_day"]:
            day.add(row)
    turns: dict[tuple[int, str], list[int]] = {}
    for row in hours:
        steps = turns.setdefault((row["connection_id"], row["kind"]), [0] * HOURS)
        steps[HOURS - 1 - min(max(int(row["ago"]), 0), HOURS - 1)] += row["turns"]
    found = []
    for row in rows:
        key = (row["connection_id"], row["kind"])
        day, week = days.get(key, (Span(), Span()))
        found.append(Health(row, day, week, tuple(turns.get(key, [0] * HOURS)), state(row, day)))
    places = {kind.name: place for place, kind in enumerate(kinds.KINDS)}
    return sorted(
        found, key=lambda h: (_WORST.index(h.state), h.row["connection"], places.get(h.row["kind"], len(places)))
    )


# Their schedule only looks which connection is due, by the policy of each.
_AT_THEIR_OWN_RHYTHM = frozenset({"reconcile_stock"})

_WORST = ("fails", "silent", "shaky", "put_off", "paused", "well", "asleep")


def state(row: Row, day: Span) -> str:
    """fails: the last turn did not succeed; silent: the clock should have brought one; shaky: it succeeds now, but
    not always; put_off: every turn so far was put off, so that nobody knows; asleep: nothing happened for a day."""
    if row["switch"] != "active":
        return "paused"
    if row["failed_turns"]:
        return "fails"
    known = kinds.BY_NAME.get(row["kind"]) if row["kind"] not in _AT_THEIR_OWN_RHYTHM else None
    every = next((s.every_seconds for s in SCHEDULES if known and s.name == known.schedule), None)
    quiet = row["as_of"] - row["last_turn_at"]
    if every is not None and quiet > timedelta(seconds=3 * every + 120):
        return "silent"
    if day.bad:
        return "shaky"
    if row["last_success_at"] is None:
        return "put_off"
    return "asleep" if quiet > timedelta(days=1) else "well"


def headline(found: Sequence[Health], running: int) -> tuple[str, str]:
    """Does what is to be synced get synced, and what runs now."""
    now = f"{formats.plural(running, 'sync', 'syncs')} under way." if running else "Nothing runs at length now."
    if not found:
        return "Nothing has been synced yet.", "The first run of each kind shows here at once."
    failing = [h for h in found if h.state == "fails"]
    silent = [h for h in found if h.state == "silent"]
    if failing:
        worst = failing[0]
        name = f"{words_of(worst.row['kind'])} of {worst.row['connection']}"
        if len(failing) == 1:
            turns = worst.row["failed_turns"]
            last = "time" if turns == 1 else f"{formats.count(turns)} times"
            return f"{name} failed the last {last}.", now
        return f"{formats.in_words(len(failing))} kinds of sync fail, {name} among them.", now
    if silent:
        quiet = silent[0]
        since = formats.duration((quiet.row["as_of"] - quiet.row["last_turn_at"]).total_seconds())
        return f"{words_of(quiet.row['kind'])} of {quiet.row['connection']} did not run for {since}.", now
    unknown = [h for h in found if h.state == "put_off"]
    shaky = sum(h.state == "shaky" for h in found)
    if unknown and not shaky:
        name = f"{words_of(unknown[0].row['kind'])} of {unknown[0].row['connection']}"
        many = "" if len(unknown) == 1 else f", nor has {formats.in_words(len(unknown) - 1).lower()} more"
        return f"{name} has not succeeded yet{many}: each turn was put off.", now
    if shaky:
        rest = (
            f"{formats.in_words(shaky)} {'kind' if shaky == 1 else 'kinds'} of sync failed now and then within a day."
        )
        return "Everything that is to be synced succeeds.", f"{rest} {now}"
    return "Everything that is to be synced succeeds.", now


def progress(run: Row) -> str:
    """Reading listings · 120 of 4,980 · 1,240 a minute · ≈ 2 min left; nothing is said of what is not known."""
    if run["state"] == "queued":
        waits = f"Waiting for a worker for {formats.duration(run['quiet_seconds'])}"
        return f"{waits} · attempt {run['attempts'] + 1}" if run["attempts"] else waits
    step = run["step"] or "begun"
    parts = [formats.plain(step[:1].upper() + step[1:])]
    if run["total"]:
        # What grew while it was read is no share of what there was.
        of = "of" if run["done"] <= run["total"] else "and more than the"
        parts.append(f"{formats.count(run['done'])} {of} {formats.count(run['total'])}")
    elif run["done"]:
        parts.append(formats.count(run["done"]))
    if run["per_minute"] is not None:
        parts.append(f"{formats.rate(run['per_minute'])} a minute")
    if run["seconds_left"] is not None:
        parts.append(f"{formats.estimate(run['seconds_left'])} left of this step")
    elif run["total"] and run["done"] < run["total"]:
        parts.append("time left unknown")
    if run["quiet_seconds"] > 60:
        parts.append(f"nothing told for {formats.duration(run['quiet_seconds'])}")
    return " · ".join(parts)


def share_done(run: Row) -> float:
    """How much of its bar is full."""
    return min(run["done"] / run["total"], 1.0) if run["total"] else 0.0


def counted(counts: Mapping[str, Any]) -> str:
    """listings 120, orders 3: what it counted, without what came to nothing."""
    known = [
        f"{name.replace('_', ' ')} {formats.count(value)}"
        for name, value in counts.items()
        if isinstance(value, int) and not isinstance(value, bool) and value
    ]
    return ", ".join(known) or "nothing"


def asked(run: Row) -> str:
    """Who or what asked for it."""
    if run["trigger"] == "click":
        return str(run["requested_by"])
    return TRIGGERS[run["trigger"]]
