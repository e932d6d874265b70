"""What the sweep does about failed jobs: promises that no run answers to, failures that are moot, jobs without a run.

A promise is a row of `job_requeues`: whoever has a job done again (`core.recovery`) writes it, and the ring follows the
commit. What is lost between the two, or with Redis, is rung again under the same job id until a run answers to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute, fetch
from core.ports import FailedJob

RING_AGAIN_AFTER = timedelta(seconds=60)
RING_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work to be queued: its job id, registered name and arguments."""

    ref: str
    function: str
    arguments: Mapping[str, object]


def unanswered(conn: Connection, now: datetime) -> list[Work]:
    """Work promised more than a minute ago that no run has answered to: its ring may be lost."""
    rows = fetch(
        conn,
        """
        select q.job_ref, q.function, q.arguments from job_requeues q
        where q.requested_at between %(since)s and %(before)s
            and not exists (select from job_runs r where r.job_ref = q.job_ref)
        order by q.requested_at, q.job_ref
        """,
        since=now - RING_FOR,
        before=now - RING_AGAIN_AFTER,
    )
    return [Work(row["job_ref"], row["function"], row["arguments"]) for row in rows]


def give_up_unanswered(conn: Connection, now: datetime, fingerprint_of: Callable[[str], str]) -> int:
    """Put on record as failed what was promised so long ago that nobody rings for it any more; returns how many."""
    rows = fetch(
        conn,
        """
        select q.job_ref, q.function, q.arguments from job_requeues q
        where q.requested_at < %(since)s and not exists (select from job_runs r where r.job_ref = q.job_ref)
        order by q.requested_at, q.job_ref
        """,
        since=now - RING_FOR,
    )
    return adopt(conn, [FailedJob(row["job_ref"], row["function"], row["arguments"], "", now) for row in rows],
                 fingerprint_of)  # fmt: skip


def close_superseded(conn: Connection, now: datetime, runs: Sequence[int] | None = None) -> tuple[int, list[str]]:
    """Close failures that a later run has made moot, so that what is open stays few: all, or of some `runs`.

    Returns how many, and the ids of the jobs that have no open failure left: the broker's registry need not keep them.
    """
    closed = fetch(
        conn,
        """
        update job_runs set resolution = 'superseded', resolved_at = %(now)s, resolved_by = 'sweep',
            resolved_reason = 'a later run did the work'
        where id in (
            select r.id from job_runs r
            where r.outcome in ('failed', 'abandoned') and r.resolution is null
            and (%(runs)s::int8[] is null or r.id = any(%(runs)s::int8[])) and (
                exists (select from job_runs later where later.job_ref = r.job_ref and later.id > r.id)
                or exists (select from job_runs later where later.subject = r.subject
                    and did_its_work(later.outcome, later.business) and later.started_at > r.started_at)
            )
            order by r.id for update skip locked
        )
        returning job_ref
        """,
        now=now,
        runs=None if runs is None else list(runs),
    )
    settled = fetch(
        conn,
        """
        select ref from unnest(%(refs)b::text[]) as closed (ref)
        where not exists (select from job_runs r where r.job_ref = ref and r.resolution is null
            and r.outcome is distinct from 'finished')
        """,
        refs=sorted({row["job_ref"] for row in closed}),
    )
    return len(closed), [row["ref"] for row in settled]


def adopt(conn: Connection, jobs: Sequence[FailedJob], fingerprint_of: Callable[[str], str]) -> int:
    """Record failed jobs that no run speaks of: their worker died between taking them and starting. Returns how many.

    One at a time among all sweeps, so that a job is not recorded twice.
    """
    if not jobs:
        return 0
    execute(conn, "select pg_advisory_xact_lock(hashtextextended('runs.adopt', 0))")
    return execute(
        conn,
        """
        insert into job_runs (job_ref, function, arguments, queue, attempt, started_at, ended_at, outcome, error,
            fingerprint)
        select ref, function, arguments::jsonb, queue, 1, failed_at, failed_at, 'failed', %(error)s, fingerprint
        from unnest(%(refs)b::text[], %(functions)b::text[], %(arguments)b::text[], %(queues)b::text[],
            %(ats)b::timestamptz[], %(prints)b::text[]) as j (ref, function, arguments, queue, failed_at, fingerprint)
        where not exists (select from job_runs r where r.job_ref = j.ref)
        """,
        error="It never began: the worker that took it died before starting it.",
        refs=[job.ref for job in jobs],
        functions=[job.function[:200] for job in jobs],
        arguments=[json.dumps(dict(job.arguments), default=str) for job in jobs],
        queues=[job.queue for job in jobs],
        ats=[job.failed_at for job in jobs],
        prints=[fingerprint_of(job.function) for job in jobs],
    )
