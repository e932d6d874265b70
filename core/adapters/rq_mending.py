"""Jobs that RQ has lost sight of, found and brought to an end that the sweep can put on record.

RQ's workers look after their own queue's registries; a queue whose workers are gone is looked after by nobody, and what
stands in a registry that nobody moves, or in none at all, stays there for ever. Everything here is safe to repeat and
beside a worker that does the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.registry import DeferredJobRegistry, FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.utils import as_text

from core.adapters.rq import FAILURE_SECONDS, JOB_QUEUES, SwJob, SwWorker, queue_named

log = logging.getLogger(__name__)

OVERDUE_SECONDS = 120
"""So long after its time a job that is to come later is not going to be moved by RQ's own scheduler."""

DEFERRED_SECONDS = 300
"""None of ours waits for another job: one that has for so long waits for nothing."""


def mend(client: redis.Redis, now: datetime) -> dict[str, int]:
    """Move what is overdue, fail what died or waits for nothing; returns how many of each kind."""
    counts = {"overdue": 0, "deferred": 0}
    for name in dict.fromkeys(JOB_QUEUES.values()):
        queue = queue_named(name, client)
        counts["overdue"] += _move_overdue(queue, int(now.timestamp()) - OVERDUE_SECONDS)
        counts["deferred"] += _fail_deferred(queue, now.timestamp() - DEFERRED_SECONDS)
        StartedJobRegistry(queue=queue).cleanup()
        _mend_taken(queue)
    return counts


def forget_lost(client: redis.Redis, refs: Sequence[str]) -> list[str]:
    """Forget those of some jobs that RQ knows and that stand nowhere, so that they can be queued again; returns them.

    A job is in its queue, on its way to a worker, or in a registry: looked at in one step, since it moves in one.
    """
    lost = []
    for ref in refs:
        try:
            job = SwJob.fetch(ref, connection=client)
        except NoSuchJobError:
            continue
        if job.get_status(refresh=False) in (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.SCHEDULED) and not _stands(
            client, job.origin, ref
        ):
            client.delete(Job.key_for(ref))
            lost.append(ref)
    return lost


def _stands(client: Any, queue: str, ref: str) -> bool:
    key = Queue.redis_queue_namespace_prefix + queue
    with client.pipeline() as pipeline:
        pipeline.lpos(key, ref)
        pipeline.lpos(IntermediateQueue.get_intermediate_queue_key(key), ref)
        for registry in (ScheduledJobRegistry, DeferredJobRegistry, FailedJobRegistry):
            pipeline.zscore(registry.key_template.format(queue), ref)
        pipeline.zrange(StartedJobRegistry.key_template.format(queue), 0, -1)
        *places, started = pipeline.execute()
    # An entry of the registry of started ones is job:execution.
    return any(place is not None for place in places) or any(as_text(one).split(":")[0] == ref for one in started)


def _move_overdue(queue: Queue, before: int) -> int:
    registry = ScheduledJobRegistry(queue=queue)
    moved = 0
    for ref in registry.get_jobs_to_schedule(before):
        with queue.connection.pipeline() as pipeline:
            try:
                # Whoever else moves it changes the registry, and then it is theirs.
                pipeline.watch(registry.key)
                if pipeline.zscore(registry.key, ref) is None:
                    continue
                job = SwJob.fetch(ref, connection=queue.connection) if SwJob.exists(ref, queue.connection) else None
                pipeline.multi()
                registry.remove(ref, pipeline=pipeline)
                if job is not None:
                    queue._enqueue_job(job, pipeline=pipeline)
                pipeline.execute()
            except redis.WatchError:
                continue
        moved += job is not None
    return moved


def _fail_deferred(queue: Queue, before: float) -> int:
    registry = DeferredJobRegistry(queue=queue)
    client: Any = queue.connection
    failed = 0
    for ref in (as_text(one) for one in client.zrangebyscore(registry.key, 0, before)):
        if not client.zrem(registry.key, ref):
            continue
        try:
            job = SwJob.fetch(ref, connection=queue.connection)
        except NoSuchJobError:
            continue
        job.set_status(JobStatus.FAILED)
        FailedJobRegistry(queue=queue).add(job, ttl=FAILURE_SECONDS, exc_string="It waited for a job that never ends.")
        failed += 1
    return failed


def _mend_taken(queue: Queue) -> None:
    """What a worker took and died with before it began: RQ's own rule, of which it needs a worker to say it."""
    taken = IntermediateQueue(queue.key, queue.connection)
    if taken.get_job_ids():
        taken.cleanup(SwWorker([queue], name="sweep", connection=queue.connection, serializer="json"), queue)
