"""Time that passes at the end of a run: silences and pauses of minutes are made older where they are written down.

Nothing is settled here. What the product waits for before it settles something (a worker's silence, a pause between two
attempts, a condition that has to stay gone) is over sooner, and only for what is really dead or at rest.
"""

from __future__ import annotations

from typing import Any

import redis
from rq.registry import StartedJobRegistry

from core.processes import process_started
from tests.chaos.database import Database
from workers.queues import QUEUES

_WORKER_KEY = "rq:worker:"


def let_time_pass(database: Database, client: Any) -> None:
    """One look at everything that waits for time to pass."""
    for key in (each.decode() for each in client.smembers("rq:workers")):
        if is_dead(key.removeprefix(_WORKER_KEY)):
            # Its key expires so, and RQ's clean-up takes it out of the set.
            client.delete(key)
    for key, entry in _begun_by_the_dead(client):
        client.zadd(key, {entry: 1}, xx=True)
    database.run(
        "update job_runs set started_at = started_at - interval '3 minutes'"
        " where outcome is null and started_at > now() - interval '3 minutes' and worker = any(%(dead)s)",
        dead=dead_workers(database),
    )
    for sql in _SILENCES:
        database.run(sql)


def is_dead(worker: str) -> bool:
    """Whether the process of a worker of this machine is gone, by the number in its name."""
    return process_started(int(worker.rsplit("-", 2)[1])) is None


def dead_workers(database: Database) -> list[str]:
    """Names of dead workers that left a run open."""
    rows = database.rows("select distinct worker from job_runs where outcome is null and worker is not null")
    return sorted(row["worker"] for row in rows if is_dead(row["worker"]))


def started_without_worker(client: redis.Redis) -> int:
    """Jobs that RQ takes for begun and that no living worker has."""
    return len(_begun_by_the_dead(client))


def _begun_by_the_dead(client: Any) -> list[tuple[str, bytes]]:
    found = []
    for queue in QUEUES:
        key = StartedJobRegistry.key_template.format(queue)
        for entry in client.zrange(key, 0, -1):
            worker = client.hget(f"rq:job:{entry.decode().split(':')[0]}", "worker_name")
            if worker and is_dead(worker.decode()):
                found.append((key, entry))
    return found


_SILENCES = (
    # A comparison whose job has ended without ending it.
    """
    update sync_runs y set heartbeat_at = y.heartbeat_at - interval '15 minutes'
    where y.state = 'running' and y.heartbeat_at < now() - interval '5 seconds' and not exists (
        select from job_runs j where j.sync_run_id = y.id and j.outcome is null)
    """,
    """
    update sync_runs set heartbeat_at = now() - interval '2 minutes'
    where state = 'queued' and coalesce(heartbeat_at, requested_at) between now() - interval '1 minute'
        and now() - interval '5 seconds'
    """,
    """
    update job_requeues q set requested_at = q.requested_at - interval '2 minutes'
    where q.requested_at between now() - interval '1 minute' and now() - interval '5 seconds'
        and not exists (select from job_runs r where r.job_ref = q.job_ref)
    """,
    "update outbox_messages set next_attempt_at = now() where state = 'waiting' and next_attempt_at > now()",
    "update notice_channels set retry_at = now() where retry_at > now()",
    """
    update alerts set clear_since = clear_since - interval '2 hours'
    where closed_at is null and clear_since > now() - interval '2 hours'
    """,
)
