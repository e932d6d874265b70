"""The job queue over RQ: registered names only, JSON, arguments that are ids.

Whoever can write to Redis chooses a job's function, its callbacks, an instance and the addresses RQ would call. `SwJob`
takes none of that from Redis: a name is looked up in the registry that `workers.registry` fills, timeout and retries
come from the declaration beside the function, and everything else is dropped while reading.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry
from rq import Queue as RqQueue
from rq import SimpleWorker, Worker, worker_registration
from rq.exceptions import DeserializationError, DuplicateJobError
from rq.job import UNEVALUATED, Job, JobStatus
from rq.scheduler import RQScheduler
from rq.utils import as_text, utcparse
from rq.worker.base import BaseWorker

from core.errors import BadInput, Permanent, Retryable
from core.logs import bound
from core.ports import QueueState
from core.processes import ends_with_parent

log = logging.getLogger(__name__)

# Where a job waits, by name. Processes that only enqueue (api, dashboard) know this table and import no job;
# the decorator of `workers.registry` refuses a declaration that disagrees with it.
JOB_QUEUES: Mapping[str, str] = {
    "inbox.drain": "events",
    "sweep.inbox": "events",
    "stock.push": "stock",
    "sweep.stock": "stock",
    "policies.replan": "stock",
    "sweep.policies": "stock",
    "promises.expire": "stock",
    "stock.feed": "stock",
    "stock.check": "stock-check",
    "sweep.exposure": "stock-check",
    "changes.chase": "stock-check",
    "poll.orders": "polls",
    "connection.poll": "polls",
    "orders.read": "lookups",
    "poll.notices": "polls",
    "notices.read": "polls",
    "sweep.subscriptions": "polls",
    "sweep.external": "polls",
    "targets.drain": "targets",
    "targets.drain_2": "targets",
    "targets.drain_3": "targets",
    "targets.drain_4": "targets",
    "connection.external": "catalog",
    "connection.subscriptions": "polls",
    "outbox.relay": "polls",
    "shipments.confirm": "polls",
    "sweep.shipments": "polls",
    "sweep.alerts": "polls",
    "connection.sync": "catalog",
    "targets.full": "catalog",
    "sweep.targets": "polls",
    "sync.targets": "polls",
    "connection.test": "polls",
    "products.read": "catalog",
    "products.push": "catalog",
    "sweep.products": "polls",
    "reconcile.stock": "reconcile",
    "sweep.reconciliation": "polls",
    "reconcile.orders": "reconcile",
    "reconcile.orders_nightly": "reconcile",
    "commissions.release": "money",
    "commissions.catch_up": "money",
    "ledger.seal": "money",
    "ledger.anchor": "money",
    "imports.work": "imports",
    "exports.write": "imports",
    "sweep.imports": "imports",
    "stock.measure": "reports",
    "audit.nightly": "reports",
    "reports.daily": "reports",
    "reports.correct": "reports",
    "schedules.ring": "polls",
    "runs.sweep": "reports",
    "runs.prune": "reports",
    "documents.prune": "reports",
    # Short, and somebody waits for what they do.
    "runs.recover": "polls",
    "failures.weigh": "lookups",
}

RESULT_SECONDS = 3600
FAILURE_SECONDS = 90 * 86400
DOORBELL_TIMEOUT_SECONDS = 0.05
_ARGUMENT_CHARACTERS_MAX = 200
UNREADABLE = "(unreadable)"


class NotRegistered(Permanent):
    """Redis holds a job that no code of ours declares; it is refused, not imported."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not a registered job: only names declared under workers/jobs run")


class BadArguments(Permanent):
    """A job's arguments are not keyword ids."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"job {name!r} takes ids as keyword arguments only, got {what}")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is declared beside a job's function. `retry` is (times, seconds before each)."""

    queue: str
    timeout_seconds: int
    retry: tuple[int, tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """One name of the registry."""

    function: Callable[..., Any]
    spec: JobSpec


REGISTRY: dict[str, Registered] = {}


def register(name: str, function: Callable[..., Any], spec: JobSpec) -> None:
    """Let `name` run `function`. Raises ValueError when the name is taken by another function."""
    known = REGISTRY.get(name)
    if known is not None and known.function is not function:
        raise ValueError(f"job {name!r} is declared twice")
    REGISTRY[name] = Registered(function, spec)


class RunRecorder(Protocol):
    """Writes the history of runs; `workers.recording` keeps it in Postgres."""

    def opened(self, job: SwJob) -> int:
        """A run begins; returns its id. Raises when it cannot be recorded: an unrecorded job does not run."""

    def closed(self, run_id: int, job: SwJob, result: object, error: BaseException | None) -> None:
        """A run ended. Never raises."""

    def killed(self, job: SwJob, worker: str, how: str) -> None:
        """The process that ran the job died under it. Never raises."""


_recorder: RunRecorder | None = None


def record_runs_with(recorder: RunRecorder | None) -> None:
    """Hand over the recorder; called once by the worker process before it works."""
    global _recorder
    _recorder = recorder


class SwJob(Job):
    """An RQ job that can only be one of ours. JSON wherever nobody passes a serializer (rq-scheduler, requeue)."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 (RQ's own name for it)
        connection: redis.Redis | None = None,
        serializer: Any = None,
    ) -> None:
        super().__init__(id, connection, "json")
        self.sync_run_id: int | None = None
        """The sync run that it belongs to, as the recorder says when it begins."""

    def restore(self, raw_data: Any) -> Any:
        """Read the hash, then drop what could run foreign code or call foreign addresses."""
        super().restore(raw_data)
        self.webhooks = []
        self.meta.pop("queue_class_name", None)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self._apply_declaration()

    def _apply_declaration(self) -> None:
        declared = REGISTRY.get(self.func_name)
        if declared is None:
            return
        self.timeout = declared.spec.timeout_seconds
        # None until the first attempt failed: from then on the hash knows how many are left.
        if self.retries_left is None and declared.spec.retry is not None:
            times, intervals = declared.spec.retry
            self.retries_left, self.retry_intervals = times, list(intervals)

    @property
    def func_name(self) -> str:
        """The job's name, or UNREADABLE for a payload that holds none; never raises."""
        try:
            name = super().func_name
        except (DeserializationError, TypeError, ValueError):  # a foreign payload
            return UNREADABLE
        return name if isinstance(name, str) else UNREADABLE

    @func_name.setter
    def func_name(self, value: str) -> None:
        self._func_name = value
        self._data = UNEVALUATED

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        declared = REGISTRY.get(self.func_name)
        if declared is None or declared.spec.retry is None or self.retries_left is None:
            return 1 + (self.number_of_retries or 0)
        return 1 + max(0, declared.spec.retry[0] - self.retries_left) + (self.number_of_retries or 0)

    @property
    def func(self) -> Callable[..., Any]:
        """The registered function. Raises NotRegistered or BadArguments."""
        name = self.func_name
        if name not in REGISTRY or self.instance is not None:
            raise NotRegistered(name)
        if self.args or not isinstance(self.kwargs, dict):
            raise BadArguments(name, "others")
        _check_arguments(name, self.kwargs)
        return REGISTRY[name].function

    def perform(self) -> Any:
        """Run the job between two commits of its own: the run is on record before it begins and after it ended."""
        if _recorder is None:
            return super().perform()
        run_id = _recorder.opened(self)
        try:
            with bound(sync_run=self.sync_run_id):
                result = super().perform()
        except BaseException as error:
            _recorder.closed(run_id, self, None, error)
            raise
        _recorder.closed(run_id, self, result, None)
        return result


def _check_arguments(name: str, arguments: Mapping[str, object]) -> None:
    for key, value in arguments.items():
        if value is None or isinstance(value, int):
            continue
        if isinstance(value, str) and "***" in value:
            raise BadArguments(name, f"{key}, of which a part was masked when it was recorded")
        if isinstance(value, str) and len(value) <= _ARGUMENT_CHARACTERS_MAX:
            continue
        raise BadArguments(name, f"{key} of type {type(value).__name__}")


def queue_named(name: str, connection: redis.Redis) -> RqQueue:
    """An RQ queue with our job class and JSON."""
    return RqQueue(name, connection=connection, job_class=SwJob, serializer="json")


def doorbell_client(redis_url: str) -> redis.Redis:
    """A client for whoever must not wait: 50 ms and one try, where redis-py's own defaults take 4 s on a dead Redis."""
    return redis.Redis.from_url(
        redis_url,
        socket_timeout=DOORBELL_TIMEOUT_SECONDS,
        socket_connect_timeout=DOORBELL_TIMEOUT_SECONDS,
        retry=RedisRetry(NoBackoff(), 0),
    )


class RqJobQueue:
    """core.ports.JobQueue over RQ, plus the flags that `core.messaging.doorbell` coalesces rings with.

    Knows names and queues, no functions. Every method raises Retryable when Redis does not answer.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = doorbell_client(redis_url)

    def enqueue(self, name: str, /, **arguments: object) -> None:
        """Queue the job registered as `name`. Raises BadInput for an unknown name, BadArguments, Retryable."""
        self._enqueue(name, arguments)

    def enqueue_once(self, ref: str, name: str, arguments: Mapping[str, object]) -> bool:
        """Queue the job under the id `ref`; False when Redis knows a job of that id, in whatever state.

        Raises BadInput for an unknown name, BadArguments, Retryable.
        """
        try:
            self._enqueue(name, arguments, job_id=ref, unique=True)
        except DuplicateJobError:
            return False
        return True

    def enqueue_at(self, ref: str, at: datetime, name: str, arguments: Mapping[str, object]) -> bool:
        """Queue the job under the id `ref` when the time has come, to a second; False when Redis knows that id.

        Raises BadInput for an unknown name, BadArguments, Retryable.
        """
        self.check(name, arguments)
        queue = queue_named(JOB_QUEUES[name], self._client)
        try:
            job = queue.create_job(
                name,
                kwargs=dict(arguments),
                job_id=ref,
                status=JobStatus.SCHEDULED,
                result_ttl=RESULT_SECONDS,
                failure_ttl=FAILURE_SECONDS,
                description=name,
            )
            queue.schedule_job(job, at, unique=True)
        except DuplicateJobError:
            return False
        except redis.RedisError as error:
            raise no_answer(error) from error
        return True

    def check(self, name: str, arguments: Mapping[str, object]) -> None:
        """Raises BadInput for an unknown name, BadArguments for arguments that are no ids."""
        if name not in JOB_QUEUES:
            raise BadInput(f"no job is named {name!r}")
        _check_arguments(name, arguments)

    def _enqueue(self, name: str, arguments: Mapping[str, object], **more: Any) -> None:
        self.check(name, arguments)
        try:
            queue_named(JOB_QUEUES[name], self._client).enqueue_call(
                func=name,
                kwargs=dict(arguments),
                result_ttl=RESULT_SECONDS,
                failure_ttl=FAILURE_SECONDS,
                description=name,
                **more,
            )
        except redis.RedisError as error:
            raise no_answer(error) from error

    def raise_flag(self, key: str, seconds: int, *, only_if_down: bool) -> bool:
        """Set a flag that falls by itself after `seconds`; returns whether it was set now."""
        try:
            return bool(self._client.set(key, 1, ex=seconds, nx=only_if_down))
        except redis.RedisError as error:
            raise no_answer(error) from error

    def lower_flag(self, key: str) -> None:
        """Clear a flag."""
        try:
            self._client.delete(key)
        except redis.RedisError as error:
            raise no_answer(error) from error

    def flag_is_up(self, key: str) -> bool:
        """Whether a flag is set."""
        try:
            return bool(self._client.exists(key))
        except redis.RedisError as error:
            raise no_answer(error) from error

    def ping(self) -> None:
        """Raises Retryable when Redis does not answer."""
        try:
            self._client.ping()
        except redis.RedisError as error:
            raise no_answer(error) from error

    def queues(self) -> list[QueueState]:
        """How each queue of ours stands."""
        names = sorted(set(JOB_QUEUES.values()))
        try:
            workers = _workers(self._client)
            with self._client.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.llen(RqQueue.redis_queue_namespace_prefix + name)
                waiting = pipeline.execute()
        except redis.RedisError as error:
            raise no_answer(error) from error
        return [
            QueueState(
                name,
                jobs,
                sum(name in served for served, _ in workers),
                max((beat for served, beat in workers if name in served), default=None),
            )
            for name, jobs in zip(names, waiting, strict=True)
        ]

    def close(self) -> None:
        """Give the connections back to the system."""
        self._client.close()


def _workers(client: redis.Redis) -> list[tuple[list[str], datetime]]:
    """The queues and the last heartbeat of every worker whose key has not expired."""
    with client.pipeline(transaction=False) as pipeline:
        for key in sorted(worker_registration.get_keys(connection=client)):
            pipeline.hmget(key, "queues", "last_heartbeat")
        found = pipeline.execute()
    return [
        (as_text(queues).split(","), utcparse(as_text(beat))) for queues, beat in found if queues and beat is not None
    ]


def no_answer(error: redis.RedisError) -> Retryable:
    """What a caller is told when Redis is away."""
    return Retryable(f"the queue does not answer: {error}")


def live_worker_names(connection: redis.Redis) -> set[str]:
    """Names of the workers whose key has not expired."""
    prefix = Worker.redis_worker_namespace_prefix
    keys = sorted(worker_registration.get_keys(connection=connection))
    with connection.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.exists(key)
        alive = pipeline.execute()
    return {key.removeprefix(prefix) for key, lives in zip(keys, alive, strict=True) if lives}


_END = (signal.SIGINT, signal.SIGTERM)
"""What tells a process to end."""


class _RetryScheduler(RQScheduler):
    """RQ's own scheduler, a child of the worker that moves waiting retries; RQ would let it outlive a killed worker."""

    def start(self) -> Any:
        """Fork the child. Who is told to end while that goes on hears it afterwards: in the moment of the fork what
        came is forgotten by Python, and what its worker's ears raise is lost. The child hears nothing until it listens.
        """
        self._end_with_worker = ends_with_parent(signal.SIGTERM)
        self._heard: list[int] = []
        ears = {number: signal.signal(number, self._hear) for number in _END}
        deaf = signal.pthread_sigmask(signal.SIG_BLOCK, _END)
        try:
            return super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, deaf)
            for number, ear in ears.items():
                signal.signal(number, ear)
            for heard in self._heard[:1]:
                signal.raise_signal(heard)

    def _hear(self, number: int, _frame: object) -> None:
        self._heard.append(number)

    def work(self) -> None:
        """The child's loop."""
        self._install_signal_handlers()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)
        if self._heard:
            self._stop_requested = True
        self._end_with_worker()
        try:
            super().work()
        except Exception as error:
            # RQ logs it; as an exception the child would print it a second time, in many lines.
            raise SystemExit(1) from error


def _fields(job: Job) -> dict[str, object]:
    """What identifies a job in the log: itself, and the ids it was given."""
    name = job.func_name
    fields: dict[str, object] = {"job": job.id, "function": name, "attempt": getattr(job, "attempt", None)}
    if name in REGISTRY and isinstance(job.kwargs, dict):
        names = {"shop_id": "shop", "connection_id": "connection", "sync_run_id": "sync_run"}
        fields |= {field: job.kwargs.get(argument) for argument, field in names.items()}
    return fields


class _Registering(BaseWorker):
    """Comes back after FLUSHALL: RQ registers a worker once, at birth, and never looks again."""

    # Seconds between two looks at a Redis that is away. RQ doubles them up to a minute, which everything would then
    # wait after a longer outage.
    max_connection_wait_time = 4.0

    def _start_scheduler(self, burst: bool = False, logging_level: Any = None, *formats: str) -> None:
        self.scheduler = _RetryScheduler(
            self.queues,
            connection=self.connection,
            logging_level=logging_level or "WARNING",
            serializer=self.serializer,
        )
        self.scheduler.acquire_locks()
        if not self.scheduler.acquired_locks:
            return
        if burst:
            self.scheduler.enqueue_scheduled_jobs()
            self.scheduler.release_locks()
        else:
            self.scheduler.start()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ's heartbeat, then a look at whether Redis still knows us."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None:
            self._register_if_forgotten()

    def maintain_heartbeats(self, job: Job) -> None:
        """The heartbeat of a busy worker, which RQ sends through a pipeline."""
        super().maintain_heartbeats(job)
        self._register_if_forgotten()

    def perform_job(self, job: Job, queue: RqQueue) -> bool:
        """RQ's own, with the job in every line that is logged meanwhile, RQ's among them."""
        with bound(**_fields(job)):
            return super().perform_job(job, queue)

    def _register_if_forgotten(self) -> None:
        if self._is_horse or not self.birth_date or self.connection.sismember(self.redis_workers_keys, self.key):
            return
        with self.connection.pipeline() as pipeline:
            state = str(getattr(self._state, "value", self._state))
            pipeline.hset(self.key, mapping={**self.serialize(), "state": state})
            worker_registration.register(self, pipeline)
            pipeline.expire(self.key, self.worker_ttl + 60)
            pipeline.execute()
        log.warning("worker %s was unknown to Redis and registered again", self.name)


class SwWorker(_Registering, Worker):
    """A forking worker: a job that dies, leaks or hangs takes only its own process along."""

    job_class = SwJob

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Close the run of a killed horse, for which RQ calls neither callbacks nor exception handlers."""
        with bound(**_fields(job)):
            super().handle_work_horse_killed(job, retpid, ret_val, rusage)
            log.error("the process running a job was killed")
        if _recorder is not None and isinstance(job, SwJob):
            how = "beyond its timeout" if ret_val is None else f"wait status {ret_val}"
            _recorder.killed(job, self.name, how)


class SwSimpleWorker(_Registering, SimpleWorker):
    """Runs jobs in its own process: for tests and measurements."""

    job_class = SwJob
