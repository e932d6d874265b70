"""The one table of what happens by the clock. The scheduler rings it, and the screen of jobs shows what is late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time

PREFIX = "schedule."
ENTRY_PREFIX = "schedule-"
ASKS_AT_LEAST_SECONDS = 300
"""A longer rhythm than this is asked after as often, so that what is due is not late by a whole turn."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One line of the table: every so many seconds, or once per business day of each shop after a time of its own.

    A daily job gets `shop_id` and runs once for every shop.
    """

    name: str
    job: str
    description: str
    every_seconds: int | None = None
    daily_after_hour: int | None = None
    daily_after_minute: int = 0

    def __post_init__(self) -> None:
        if (self.every_seconds is None) == (self.daily_after_hour is None):
            raise ValueError(f"schedule {self.name}: either every so many seconds or daily after an hour")

    @property
    def ring_job(self) -> str:
        """The name under which it rings."""
        return PREFIX + self.name

    @property
    def entry_id(self) -> str:
        """The fixed id of its entry in rq-scheduler, in the characters RQ takes."""
        return ENTRY_PREFIX + self.name.replace(".", "-")

    @property
    def ring_seconds(self) -> int:
        """How often it rings: one with a long rhythm asks often whether its turn has come."""
        return min(self.every_seconds or ASKS_AT_LEAST_SECONDS, ASKS_AT_LEAST_SECONDS)

    @property
    def daily_after(self) -> time | None:
        """When a business day is due by the shop's clock; None for one with a rhythm."""
        return None if self.daily_after_hour is None else time(self.daily_after_hour, self.daily_after_minute)


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("sweep.inbox", "sweep.inbox", "ring for messages that wait; end waits that took too long", 15),
    Schedule("sweep.stock", "sweep.stock", "ring for listings to push and writes to check", 15),
    Schedule("sweep.exposure", "sweep.exposure", "move watermarks, end doubts, plan scarce stock again", 15),
    Schedule("stock.measure", "stock.measure", "measure how fast stock sells, and when it counts as scarce", 300),
    Schedule("sweep.policies", "sweep.policies", "ring for listings that do not follow saved rules yet", 15),
    Schedule("promises.expire", "promises.expire", "end promises whose deadline has passed", 30),
    Schedule("outbox.relay", "outbox.relay", "say outside what is due", 15),
    Schedule("sweep.alerts", "sweep.alerts", "look for everything that somebody has to be told of", 60),
    Schedule("changes.chase", "changes.chase", "see which channels have followed what changed", 15),
    Schedule("poll.orders", "poll.orders", "ask every channel for changed orders", 60),
    Schedule("poll.notices", "poll.notices", "read the queues that channels put their notifications into", 15),
    Schedule("sweep.shipments", "sweep.shipments", "tell channels of packages that they do not know yet", 30),
    Schedule("commissions.release", "commissions.release", "make payable what can no longer be returned", 300),
    Schedule(
        "commissions.catch_up", "commissions.catch_up", "book money of earlier orders; bring sums by day together", 3600
    ),
    Schedule("sweep.external", "sweep.external", "read what channels keep in warehouses of their own", 900),
    Schedule("sweep.products", "sweep.products", "keep products at channels in step: read changes, write ours", 60),
    Schedule(
        "sweep.reconciliation", "sweep.reconciliation", "look again at what differs; begin comparisons that are due", 30
    ),
    Schedule("sweep.targets", "sweep.targets", "tell targets what differs in the catalogue and in stock", 60),
    Schedule("sync.targets", "sync.targets", "read all that targets hold, and compare it", 21600),
    Schedule("sweep.subscriptions", "sweep.subscriptions", "look whether every channel still calls us", 3600),
    Schedule("sweep.imports", "sweep.imports", "ring for imports and exports that nobody works on", 30),
    Schedule("runs.sweep", "runs.sweep", "close runs whose worker is gone, queue forgotten syncs again", 60),
    Schedule("runs.recover", "runs.recover", "begin, at its pace, what people have done again; settle it", 15),
    Schedule("failures.weigh", "failures.weigh", "add up which orders and SKUs hang on what failed", 15),
    Schedule("ledger.seal", "ledger.seal", "seal what was posted to the ledger", 60),
    Schedule("runs.prune", "runs.prune", "forget old runs and calls", 86400),
    Schedule("documents.prune", "documents.prune", "delete files whose time is over", 3600),
    Schedule(
        "reports.correct", "reports.correct", "look for what came late to days reported before", daily_after_hour=3
    ),
    # Before the day's report, whose mail carries the head.
    Schedule(
        "ledger.anchor", "ledger.anchor", "put the ledger's head on record outside the database", daily_after_hour=4
    ),
    Schedule(
        "reports.daily", "reports.daily", "build and send the report of the day that has closed", daily_after_hour=5
    ),
    Schedule(
        "reconcile.orders",
        "reconcile.orders_nightly",
        "compare the last days' orders with every channel's",
        daily_after_hour=3,
    ),
    Schedule("audit.nightly", "audit.nightly", "recompute every invariant from the facts", daily_after_hour=2),
)


def work_behind(function: str, arguments: Mapping[str, object], shop_id: int) -> tuple[str, dict[str, object]]:
    """The job that a run is about, and its arguments: for a schedule's ring the job it rings for, else the run's own.

    A ring takes its period before it runs, so that ringing again would find the period taken and do nothing.
    """
    for schedule in SCHEDULES if function.startswith(PREFIX) else ():
        if function == schedule.ring_job:
            return schedule.job, {"shop_id": shop_id} if schedule.daily_after_hour is not None else {}
    return function, dict(arguments)
