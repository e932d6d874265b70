"""What RQ and rq-scheduler know, read without touching it.

RQ's own accessors of a registry (`count`, `get_job_ids()`) also clean it up, which fails jobs and runs callbacks. A
screen must not do that, so everything here reads Redis' keys, whose names come from RQ's classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry
from rq import Queue, Worker, worker_registration
from rq.job import Job
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.utils import as_text, utcparse
from rq_scheduler import Scheduler

from core.adapters import rq_mending
from core.adapters.rq import JOB_QUEUES, UNREADABLE, SwJob, no_answer
from core.ports import PROMISED_RING, BrokerReading, FailedJob, QueueReading, WorkerReading

log = logging.getLogger(__name__)

QUEUES: tuple[str, ...] = tuple(dict.fromkeys(JOB_QUEUES.values()))
READ_SECONDS = 1.0
T = TypeVar("T")


class RqBroker:
    """core.ports.Broker over Redis. One try, a second's patience: a page must not hang on a dead Redis."""

    def __init__(self, redis_url: str) -> None:
        self._client: Any = redis.Redis.from_url(
            redis_url,
            socket_timeout=READ_SECONDS,
            socket_connect_timeout=READ_SECONDS,
            retry=RedisRetry(NoBackoff(), 0),
        )

    def read(self) -> BrokerReading:
        """Queues, workers and next rings as they are now."""
        return self._ask(self._read)

    def states(self, refs: Sequence[str]) -> Mapping[str, str]:
        """The state of some jobs; those that Redis does not know are absent."""
        return self._ask(lambda: self._states(refs))

    def failed_jobs(self, limit: int) -> Sequence[FailedJob]:
        """The newest failed jobs of every queue."""
        return self._ask(lambda: [job for queue in QUEUES for job in self._failed(queue, limit)])

    def take_back(self, refs: Collection[str]) -> int:
        """Take jobs out of RQ's registries of failed ones and of retries to come."""
        return self._ask(lambda: self._take_back(sorted(refs)))

    def mend(self, now: datetime) -> Mapping[str, int]:
        """Bring to an end what RQ has lost sight of (see `core.adapters.rq_mending`)."""
        return self._ask(lambda: rq_mending.mend(self._client, now))

    def forget_lost(self, refs: Sequence[str]) -> Sequence[str]:
        """Forget those of some jobs that stand nowhere, so that they can be queued again."""
        return self._ask(lambda: rq_mending.forget_lost(self._client, refs))

    def close(self) -> None:
        """Give the connections back to the system."""
        self._client.close()

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except redis.RedisError as error:
            raise no_answer(error) from error

    def _read(self) -> BrokerReading:
        now = datetime.now(UTC)
        return BrokerReading(now, self._queues(), self._workers(), self._next_rings())

    def _queues(self) -> tuple[QueueReading, ...]:
        with self._client.pipeline(transaction=False) as pipeline:
            for name in QUEUES:
                key = Queue.redis_queue_namespace_prefix + name
                pipeline.llen(key)
                pipeline.lindex(key, 0)
                pipeline.zcard(StartedJobRegistry.key_template.format(name))
                pipeline.zrange(ScheduledJobRegistry.key_template.format(name), 0, -1)
                pipeline.zcard(FailedJobRegistry.key_template.format(name))
            answers = pipeline.execute()
        found = [answers[at : at + 5] for at in range(0, len(answers), 5)]
        oldest = self._fields([as_text(row[1]) for row in found if row[1]], "enqueued_at")
        return tuple(
            QueueReading(
                name,
                tuple(job for job, queue in JOB_QUEUES.items() if queue == name),
                waiting,
                _instant(oldest.get(as_text(head))) if head else None,
                running,
                sum(not as_text(ref).startswith(PROMISED_RING) for ref in scheduled),
                failed,
            )
            for name, (waiting, head, running, scheduled, failed) in zip(QUEUES, found, strict=True)
        )

    def _workers(self) -> tuple[WorkerReading, ...]:
        keys = sorted(worker_registration.get_keys(connection=self._client))
        hashes = self._hashes(keys)
        at_work = [row["current_job"] for row in hashes.values() if row.get("current_job")]
        jobs = self._hashes([Job.key_for(ref) for ref in at_work])
        return tuple(
            _worker(key.removeprefix(Worker.redis_worker_namespace_prefix), row, jobs)
            # An expired hash is a worker that died: it is no longer there.
            for key, row in hashes.items()
            if row and "death" not in row
        )

    def _next_rings(self) -> dict[str, datetime]:
        entries = self._client.zrange(Scheduler.scheduled_jobs_key, 0, -1, withscores=True)
        return {as_text(ref): datetime.fromtimestamp(score, UTC) for ref, score in entries}

    def _states(self, refs: Sequence[str]) -> dict[str, str]:
        return {ref: status for ref, status in self._fields(refs, "status").items() if status}

    def _failed(self, queue: str, limit: int) -> list[FailedJob]:
        found = self._client.zrevrange(FailedJobRegistry.key_template.format(queue), 0, limit - 1)
        refs = [as_text(ref) for ref in found]
        with self._client.pipeline(transaction=False) as pipeline:
            for ref in refs:
                pipeline.hgetall(Job.key_for(ref))
            hashes = pipeline.execute()
        found = (self._failed_job(ref, queue, raw) for ref, raw in zip(refs, hashes, strict=True) if raw)
        return [job for job in found if job is not None]

    def _failed_job(self, ref: str, queue: str, raw: Mapping[bytes, bytes]) -> FailedJob | None:
        """None for a hash that is not one of RQ's: whoever wrote it must not hold up the others."""
        job = SwJob(ref, connection=self._client)
        try:
            job.restore(raw)
        except (ValueError, TypeError, KeyError) as error:
            log.warning("failed job %s cannot be read: %s", ref, type(error).__name__)
            return None
        name = job.func_name
        arguments = {} if name == UNREADABLE or job.args or not isinstance(job.kwargs, dict) else job.kwargs
        ended = job.ended_at or job.enqueued_at or job.created_at
        return FailedJob(ref, name, arguments, queue, ended.astimezone(UTC))

    def _take_back(self, refs: Sequence[str]) -> int:
        if not refs:
            return 0
        with self._client.pipeline(transaction=False) as pipeline:
            for queue in QUEUES:
                pipeline.zrem(FailedJobRegistry.key_template.format(queue), *refs)
                pipeline.zrem(ScheduledJobRegistry.key_template.format(queue), *refs)
            taken = sum(pipeline.execute())
            # The hash of a schedule's entry is the entry: it stays.
            for ref in refs:
                pipeline.zscore(Scheduler.scheduled_jobs_key, ref)
            is_entry = [score is not None for score in pipeline.execute()]
            for ref in (ref for ref, kept in zip(refs, is_entry, strict=True) if not kept):
                pipeline.expire(Job.key_for(ref), 3600)
            pipeline.execute()
        return int(taken)

    def _fields(self, refs: Sequence[str], field: str) -> dict[str, str | None]:
        with self._client.pipeline(transaction=False) as pipeline:
            for ref in refs:
                pipeline.hget(Job.key_for(ref), field)
            values = pipeline.execute()
        return {ref: None if value is None else as_text(value) for ref, value in zip(refs, values, strict=True)}

    def _hashes(self, keys: Sequence[str]) -> dict[str, dict[str, str]]:
        wanted = ("state", "queues", "current_job", "birth", "death", "last_heartbeat", "successful_job_count",
                  "failed_job_count", "started_at", "description")  # fmt: skip
        with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hmget(key, wanted)
            rows = pipeline.execute()
        return {
            key: {name: as_text(value) for name, value in zip(wanted, row, strict=True) if value is not None}
            for key, row in zip(keys, rows, strict=True)
        }


def _worker(name: str, row: Mapping[str, str], jobs: Mapping[str, Mapping[str, str]]) -> WorkerReading:
    job = jobs.get(Job.key_for(row["current_job"]), {}) if row.get("current_job") else {}
    return WorkerReading(
        name,
        tuple(row.get("queues", "").split(",")),
        row.get("state", "?"),
        job.get("description"),
        _instant(job.get("started_at")),
        _instant(row.get("birth")),
        _instant(row.get("last_heartbeat")),
        int(row.get("successful_job_count", 0)),
        int(row.get("failed_job_count", 0)),
    )


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = utcparse(text)
    except ValueError:
        log.warning("Redis holds %r where a time belongs", text[:40])
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
