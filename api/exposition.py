"""The state of the whole system as Prometheus reads it: from Postgres and Redis, a few seconds old at most.

Asked once for all who scrape. A part that does not answer takes only its own metrics along: `switchyard_up` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily as Counter
from prometheus_client.metrics_core import GaugeMetricFamily as Gauge
from prometheus_client.metrics_core import InfoMetricFamily as Info
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.asking import Question
from core.errors import Retryable
from core.measures import Snapshot
from core.ports import QueueState

log = logging.getLogger(__name__)

KEPT_SECONDS = 5.0
PATIENCE_SECONDS = 3.0


class State(Collector):
    """Reads with `read` and `queues`; functions that are not among `job_names` are shown together as `other`."""

    def __init__(
        self,
        read: Callable[[], Snapshot],
        queues: Callable[[], Sequence[QueueState]],
        job_names: Collection[str],
        kept_seconds: float,
    ) -> None:
        self._snapshot = Question(read, kept_seconds=kept_seconds, patience_seconds=PATIENCE_SECONDS)
        self._queues = Question(queues, kept_seconds=kept_seconds, patience_seconds=PATIENCE_SECONDS)
        # Redis could hold anything as a job's name.
        self._job_names = {*job_names, *(f"schedule.{name}" for name in job_names)}

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not ask the servers."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family that can be told now."""
        snapshot, queues = _or_none(self._snapshot, "postgres"), _or_none(self._queues, "redis")
        up = Gauge("switchyard_up", "1 when this part answers.", labels=["part"])
        up.add_metric(["postgres"], snapshot is not None)
        up.add_metric(["redis"], queues is not None)
        yield up
        if queues is not None:
            yield from _of_queues(queues)
        if snapshot is not None:
            yield from _of_connections(snapshot)
            yield from _of_outbox(snapshot)
            yield from _of_what_is_open(snapshot)
            yield from _of_schedules(snapshot)
            yield from self._of_running(snapshot)
            yield from self._of_tallies(snapshot)

    def _of_running(self, snapshot: Snapshot) -> Iterator[Metric]:
        running = Gauge("switchyard_jobs_running", "Runs of jobs that have not ended.", labels=["function"])
        oldest = Gauge("switchyard_jobs_running_oldest_seconds", "Age of the oldest of them.", labels=["function"])
        runs: dict[str, list[float]] = {}
        for row in snapshot.running:
            total = runs.setdefault(self._function(row["function"]), [0, 0.0])
            total[0] += row["runs"]
            total[1] = max(total[1], row["oldest_seconds"])
        for function, (count, seconds) in runs.items():
            running.add_metric([function], count)
            oldest.add_metric([function], seconds)
        return iter((running, oldest))

    def _of_tallies(self, snapshot: Snapshot) -> Iterator[Metric]:
        runs = Counter("switchyard_job_runs", "Runs of jobs that ended.", labels=["function", "outcome"])
        run_seconds = Counter(
            "switchyard_job_run_seconds", "How long they took together.", labels=["function", "outcome"]
        )
        calls = Counter("switchyard_api_calls", "Calls to channels.", labels=["connection", "operation", "outcome"])
        call_seconds = Counter(
            "switchyard_api_call_seconds",
            "How long they took together.",
            labels=["connection", "operation", "outcome"],
        )
        settled = Counter(
            "switchyard_inbox_settled",
            "Turns of inbox messages; one that waited and was then handled counts twice.",
            labels=["connection", "outcome"],
        )
        ran: dict[tuple[str, str], list[float]] = {}
        for row in snapshot.tallies:
            if row["kind"] == "job_run":
                total = ran.setdefault((self._function(row["name"]), row["outcome"]), [0, 0.0])
                total[0] += row["events"]
                total[1] += row["seconds"]
            elif row["kind"] == "api_call":
                labels = [str(row["connection_id"]), row["name"], row["outcome"]]
                calls.add_metric(labels, row["events"])
                call_seconds.add_metric(labels, row["seconds"])
            else:
                settled.add_metric([str(row["connection_id"]), row["outcome"]], row["events"])
        for key, (count, seconds) in ran.items():
            runs.add_metric(key, count)
            run_seconds.add_metric(key, seconds)
        return iter((runs, run_seconds, calls, call_seconds, settled))

    def _function(self, name: str) -> str:
        return name if name in self._job_names else "other"


def _or_none(question: Question[Any], part: str) -> Any:
    try:
        return question.answer()
    except (SQLAlchemyError, Retryable) as error:
        log.warning("%s does not answer a scrape: %s", part, type(error).__name__)
        return None


def _of_queues(queues: Sequence[QueueState]) -> Iterator[Metric]:
    waiting = Gauge("switchyard_queue_jobs", "Jobs that wait in a queue.", labels=["queue"])
    workers = Gauge("switchyard_workers", "Workers of a queue that give signs of life.", labels=["queue"])
    heartbeat = Gauge("switchyard_worker_heartbeat_timestamp_seconds", "The latest sign of life.", labels=["queue"])
    for queue in queues:
        waiting.add_metric([queue.name], queue.waiting)
        workers.add_metric([queue.name], queue.workers)
        if queue.heartbeat_at is not None:
            heartbeat.add_metric([queue.name], queue.heartbeat_at.timestamp())
    return iter((waiting, workers, heartbeat))


_OF_A_CONNECTION = {
    "oldest_received_seconds": (
        "switchyard_inbox_oldest_received_seconds",
        "Age of the oldest message not handled yet; 0 without any.",
    ),
    "to_push": ("switchyard_listings_to_push", "Listings that show something else than they should."),
    "refused": ("switchyard_listings_refused", "Listings whose last write was not taken."),
    "open_writes": ("switchyard_writes_open", "Writes on their way, those in doubt among them."),
    "doubtful_writes": ("switchyard_writes_doubtful", "Writes whose outcome is not known."),
    "oldest_write_seconds": ("switchyard_writes_oldest_open_seconds", "Age of the oldest open write; 0 without any."),
    "open_legs": (
        "switchyard_change_legs_open",
        "Changes that the channel has yet to follow.",
    ),
    "stuck_legs": ("switchyard_change_legs_stuck", "Changes that the channel has not followed in time."),
    "has_problem": ("switchyard_connection_problem", "1 while the connection as a whole does not work."),
    "polled_at": (
        "switchyard_orders_polled_timestamp_seconds",
        "When the last complete poll for orders began.",
    ),
}


def _of_connections(snapshot: Snapshot) -> Iterator[Metric]:
    info = Info(
        "switchyard_connection",
        "What a connection is; join it by the label connection.",
        labels=["connection", "shop", "name", "vendor", "state"],
    )
    messages = Gauge("switchyard_inbox_messages", "Messages not settled for good.", labels=["connection", "state"])
    parked = Gauge("switchyard_inbox_parked_messages", "Messages that need a person.", labels=["connection", "cause"])
    gauges = {column: Gauge(name, text, labels=["connection"]) for column, (name, text) in _OF_A_CONNECTION.items()}
    for row in snapshot.connections:
        connection = str(row["id"])
        info.add_metric([connection, str(row["shop_id"]), row["name"], row["vendor"], row["state"]], {})
        for state in ("received", "waiting", "parked"):
            messages.add_metric([connection, state], row[state])
        for column, gauge in gauges.items():
            if row[column] is not None:
                gauge.add_metric([connection], row[column])
    for row in snapshot.parked:
        parked.add_metric([str(row["connection_id"]), row["cause"]], row["messages"])
    return iter((info, messages, parked, *gauges.values()))


def _of_outbox(snapshot: Snapshot) -> Iterator[Metric]:
    messages = Gauge("switchyard_outbox_messages", "Messages to the outside that are not sent.", labels=["state"])
    messages.add_metric(["waiting"], snapshot.outbox["waiting"])
    messages.add_metric(["dead"], snapshot.outbox["dead"])
    late = Gauge("switchyard_outbox_late_seconds", "How overdue the most overdue message is.")
    late.add_metric([], snapshot.outbox["late_seconds"])
    return iter((messages, late))


def _of_what_is_open(snapshot: Snapshot) -> Iterator[Metric]:
    alerts = Gauge(
        "switchyard_alerts_open", "Alerts that are not over, acknowledged ones included.", labels=["kind", "severity"]
    )
    for row in snapshot.alerts:
        alerts.add_metric([row["kind"], row["severity"]], row["alerts"])
    discrepancies = Gauge(
        "switchyard_discrepancies_open",
        "Differences between a channel and us that nobody has accepted.",
        labels=["kind", "cause"],
    )
    for row in snapshot.discrepancies:
        discrepancies.add_metric([row["kind"], row["cause"]], row["discrepancies"])
    failures = Gauge("switchyard_failures_open", "Failures that nobody has dealt with.", labels=["source"])
    for row in snapshot.failures:
        failures.add_metric([row["source"]], row["failures"])
    recoveries = Gauge("switchyard_recoveries_open", "Recoveries that are under way.")
    recoveries.add_metric([], snapshot.recoveries)
    return iter((alerts, discrepancies, failures, recoveries))


def _of_schedules(snapshot: Snapshot) -> Iterator[Metric]:
    done = Gauge(
        "switchyard_schedule_last_success_timestamp_seconds",
        "When a schedule last ended well; missing after eight days without.",
        labels=["schedule"],
    )
    paused = Gauge("switchyard_schedule_paused", "1 while people have it paused.", labels=["schedule"])
    for row in snapshot.schedules:
        paused.add_metric([row["name"]], row["is_paused"])
        if row["succeeded_at"] is not None:
            done.add_metric([row["name"]], row["succeeded_at"])
    return iter((done, paused))
