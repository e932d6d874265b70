"""Does the work get done? Rows and readings turned into states and sentences. Pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.alerts import rates
from core.alerts.rates import Rates, Step
from core.ports import BrokerReading, QueueReading, WorkerReading
from dashboard import failure_words, formats
from dashboard.failure_words import SOURCES

Row = Mapping[str, Any]

KINDS = {
    "events": "Messages to handle",
    "stock": "Quantities to write",
    "stock-check": "Writes to check",
}
LATE_AFTER = {"events": 60.0, "stock": 120.0, "stock-check": 900.0}
"""Seconds for which work of a kind may wait before it counts as late; a channel of class B takes minutes to answer."""

MEMORY = timedelta(minutes=1)
"""How far back a lane's rates look, as `rates.rates` has it."""

STEP_MINUTES = 5
STEP_SECONDS = 10
SILENT_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane as it is shown: rates are per minute and lately, `left` is the time to drain it in seconds."""

    row: Row
    state: str
    oldest_seconds: float | None
    arrived: float | None
    drained: float | None
    left: float | None
    arrivals: tuple[float | None, ...]
    drains: tuple[float | None, ...]


def lane(row: Row, minutes: Sequence[Row], steps: Sequence[Row]) -> LaneView:
    """Arrival against drain of one lane; `minutes` and `steps` (of ten seconds) count back from now, the last first."""
    pace = _pace(steps)
    arrived = pace.arrive if pace and any(step["arrived"] is not None for step in steps) else None
    drained = pace.done if pace else None
    oldest = (row["as_of"] - row["oldest_at"]).total_seconds() if row["oldest_at"] else None
    return LaneView(
        row,
        _lane_state(row, oldest, pace),
        oldest,
        arrived,
        drained,
        rates.seconds_left(row["waiting"], pace),
        _steps(minutes, "arrived"),
        _steps(minutes, "drained"),
    )


def _pace(steps: Sequence[Row]) -> Rates | None:
    known = [Step(STEP_SECONDS, row["arrived"], row["drained"]) for row in steps if row["drained"] is not None]
    return rates.rates(known[::-1], MEMORY)


def _steps(minutes: Sequence[Row], field: str) -> tuple[float | None, ...]:
    """Sums of five minutes, oldest first; a step with an unknown minute is unknown."""
    values = [row[field] for row in minutes]
    steps = [values[at : at + STEP_MINUTES] for at in range(0, len(values), STEP_MINUTES)]
    return tuple(None if any(v is None for v in step) else float(sum(step)) for step in reversed(steps))


def _lane_state(row: Row, oldest: float | None, pace: Rates | None) -> str:
    if row["switch"] == "paused":
        return "paused"
    if not row["waiting"]:
        return "clear"
    if oldest is None or oldest <= LATE_AFTER[row["kind"]]:
        return "draining"
    if pace is None or not pace.done:
        return "still"
    return "draining" if pace.shrinks else "growing"


def is_late(view: LaneView) -> bool:
    """Whether the lane is a worry: work has waited too long and does not get less."""
    return view.state in ("growing", "still")


def queue_state(queue: QueueReading, workers: Sequence[WorkerReading]) -> str:
    """Served while a live worker takes its jobs."""
    return "served" if any(queue.name in worker.queues for worker in workers) else "unserved"


def worker_state(worker: WorkerReading, now: datetime) -> str:
    """Idle, at work, paused, or silent when nothing was heard of it for a minute."""
    if worker.heard_at is None or now - worker.heard_at > SILENT_AFTER:
        return "silent"
    return {"idle": "idle", "busy": "busy", "started": "idle", "suspended": "paused"}.get(worker.state, "unknown")


def worker_word(worker: WorkerReading, now: datetime) -> str:
    """What it is at and for how long: inbox.drain for 6 s."""
    if worker.job is None:
        return formats.UNKNOWN
    if worker.job_started_at is None:
        return worker.job
    return f"{worker.job} for {formats.duration((now - worker.job_started_at).total_seconds())}"


def headline(totals: Mapping[str, int], lanes: Sequence[LaneView], broker: BrokerReading | None) -> tuple[str, str]:
    """The answer in two short sentences: does the work get done, and what needs somebody."""
    needs = totals["groups"]
    open_ones = _and([failure_words.things(source, totals[source]) for source in SOURCES if totals[source]])
    trouble = _trouble(lanes, broker)
    if trouble:
        kept = "Nothing is lost: what waits is in the database."
        return trouble, f"{kept} {open_ones}." if open_ones else kept
    if needs:
        return f"The work gets done, but {formats.in_words(needs).lower()} {_cause(needs)} you.", f"{open_ones}."
    waiting = sum(view.row["waiting"] for view in lanes)
    rest = f"{formats.plural(waiting, 'piece')} of work under way." if waiting else "Nothing waits."
    return "The work gets done.", f"Nothing needs you. {rest}"


def _trouble(lanes: Sequence[LaneView], broker: BrokerReading | None) -> str | None:
    """The worst of what keeps work from being done."""
    if broker is None:
        return "Nobody is told of new work: Redis does not answer."
    unserved = [queue.name for queue in broker.queues if queue_state(queue, broker.workers) == "unserved"]
    if len(unserved) == len(broker.queues):
        return "No worker is at its post: nothing gets done."
    if unserved:
        return f"Nobody serves {_and(unserved)}."
    late = [view for view in lanes if is_late(view)]
    if not late:
        return None
    worst = max(late, key=lambda view: view.oldest_seconds or 0)
    kind = KINDS[worst.row["kind"]].lower()
    return f"{worst.row['connection']} falls behind: {kind} for {formats.duration(worst.oldest_seconds)}."


def _cause(number: int) -> str:
    return "cause needs" if number == 1 else "causes need"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
