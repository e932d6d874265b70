"""The kinds of sync runs that people talk about, and what came of one: read off what its job returned. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.runs.schedules import PREFIX, SCHEDULES

Business = Literal["worked", "nothing", "refused", "waits", "off"]
"""What came of a job that finished: it did something; there was nothing to do; the other side said no, to all or to
some; it is put off (quota, another at the same work); it is switched off by a person."""

Trigger = Literal["schedule", "click", "event"]

SLOT_FIRST_SECONDS = 0.05
SLOT_RATIO = 1.25
SLOTS = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of work for one connection.

    `work` names the counts of the job's result that say that something was found; none named: any. `has_rows`: each
    turn that found something is kept as a run; of the others only those that failed or were refused. `tells_itself`:
    the job opens and closes its run, since it tells of progress.
    """

    name: str
    job: str
    words: str
    trigger: Trigger
    schedule: str | None = None
    work: frozenset[str] = frozenset()
    has_rows: bool = False
    tells_itself: bool = False


KINDS: tuple[Kind, ...] = (
    Kind("sync_connection", "connection.sync", "Whole catalogue", "click", has_rows=True, tells_itself=True),
    Kind("test_connection", "connection.test", "Connection test", "click", has_rows=True, tells_itself=True),
    Kind("poll_orders", "connection.poll", "Changed orders", "schedule", "poll.orders",
         frozenset({"recorded", "open_orders"}), has_rows=True),
    Kind("read_notices", "notices.read", "Notifications", "schedule", "poll.notices",
         frozenset({"recorded"}), has_rows=True),
    Kind("check_subscriptions", "connection.subscriptions", "Subscriptions", "schedule", "sweep.subscriptions",
         frozenset({"changed", "dropped", "missing"}), has_rows=True),
    Kind("read_external", "connection.external", "Stock it keeps itself", "schedule", "sweep.external",
         frozenset({"moved"}), has_rows=True),
    Kind("read_products", "products.read", "Products read", "click", has_rows=True, tells_itself=True),
    Kind("push_products", "products.push", "Products kept in step", "schedule", "sweep.products",
         frozenset({"created", "changed", "written", "refused"}), has_rows=True),
    Kind("reconcile_stock", "reconcile.stock", "Stock compared", "schedule", "sweep.reconciliation",
         has_rows=True, tells_itself=True),
    Kind("reconcile_orders", "reconcile.orders", "Orders compared", "schedule", "reconcile.orders",
         has_rows=True, tells_itself=True),
    Kind("sync_target", "targets.full", "Target compared", "schedule", "sync.targets",
         has_rows=True, tells_itself=True),
    Kind("tell_target", "targets.drain", "Catalogue told", "event"),
    Kind("confirm_shipments", "shipments.confirm", "Packages told", "event"),
    Kind("look_up_orders", "orders.read", "Orders looked up", "event"),
    Kind("handle_messages", "inbox.drain", "Messages handled", "event"),
    Kind("push_stock", "stock.push", "Quantities written", "event"),
    Kind("check_stock", "stock.check", "Writes read back", "event"),
    Kind("send_feed", "stock.feed", "Feeds sent", "event"),
)  # fmt: skip

BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
BY_JOB: Mapping[str, Kind] = {kind.job: kind for kind in KINDS}

_REFUSED = ("failed", "refused", "given_up")
_WAITS = (
    "busy", "busy_or_paused", "waiting", "superseded", "early", "waits_for_sync", "waits_for_first_sync", "unsent",
    "left_to_feed",
    "left_to_sweeps",
)  # fmt: skip
_MOST_TELLING: tuple[Business, ...] = ("refused", "worked", "waits", "off")
_OFF = ("paused", "writes_stopped", "no_queue", "cancelled")


def business(function: str, result: object) -> Business:
    """What came of a job that finished with `result`; of a schedule's ring, what came of its turns."""
    if function.startswith(PREFIX):
        return _of_turns(function, result)
    if not isinstance(result, Mapping):
        return "nothing" if not result else "worked"
    if any(result.get(name) for name in _REFUSED):
        return "refused"
    if any(result.get(name) for name in _OFF):
        return "off"
    if _worked(BY_JOB.get(function), result):
        return "worked"
    return "waits" if any(result.get(name) for name in _WAITS) else "nothing"


def _of_turns(function: str, result: object) -> Business:
    jobs = {schedule.ring_job: schedule.job for schedule in SCHEDULES}
    turns = result.values() if isinstance(result, Mapping) else ()
    said = {business(jobs.get(function, ""), turn) for turn in turns}
    return next((verdict for verdict in _MOST_TELLING if verdict in said), "nothing")


def _worked(kind: Kind | None, result: Mapping[str, object]) -> bool:
    counted = {name: value for name, value in result.items() if name not in _WAITS}
    names = kind.work if kind is not None and kind.work else counted.keys()
    return any(isinstance(counted.get(name), int) and not isinstance(counted.get(name), bool) and counted[name]
               for name in names)  # fmt: skip


def slot(seconds: float) -> int:
    """The class of a duration: 0 up to 0.05 s, each next one a quarter longer."""
    if seconds <= SLOT_FIRST_SECONDS:
        return 0
    return min(math.ceil(math.log(seconds / SLOT_FIRST_SECONDS, SLOT_RATIO)), SLOTS - 1)


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Seconds within which that share of turns ended, from turns by slot; None where there is none. Right to a tenth:
    within a slot turns are taken to lie evenly."""
    whole = sum(counts.values())
    if not whole:
        return None
    wanted, before = whole * share, 0
    for place in sorted(counts):
        if before + counts[place] >= wanted and counts[place]:
            top = SLOT_FIRST_SECONDS * SLOT_RATIO**place
            bottom = top / SLOT_RATIO if place else 0.0
            return bottom + (top - bottom) * (wanted - before) / counts[place]
        before += counts[place]
    return None
