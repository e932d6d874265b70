"""Writes: periods of schedules, runs of jobs, sync runs, and the log of calls."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar
from core.errors import Anticipated
from core.logs import mask, masked

ERROR_CHARACTERS_MAX = 4000
TRACEBACK_CHARACTERS_MAX = 20_000

# A worker's key in Redis outlives it by less than two minutes; before that nobody can say that it is gone.
WORKER_GRACE = timedelta(minutes=2)
SYNC_SILENCE = timedelta(minutes=10)
SYNC_ATTEMPTS_MAX = 3
RATE_WINDOW = timedelta(minutes=1)
"""What a sync did within it says how fast it is."""


class Stopped(Anticipated):
    """A sync that somebody asked to have stopped, or that another process took over: do no more of it."""


# Periods of schedules ------------------------------------------------------------------------------------------------


def begin_period(
    conn: Connection,
    name: str,
    period: str,
    now: datetime,
    *,
    due_at: datetime | None = None,
    missed: int = 0,
    retake_after: timedelta | None = None,
    ahead: timedelta = timedelta(minutes=5),
) -> bool:
    """Take the period for the caller: True exactly once per name and period, whoever rings how often.

    False while the schedule is paused. With `retake_after`, a period that failed or never ended is given out again that
    long after it began, and one that was skipped at once. One that began further in the future than `ahead` was begun
    by a clock that was wrong, and is given out again.
    """
    taken = scalar(
        conn,
        """
        insert into schedule_runs as r (name, period, started_at, due_at, missed)
        select %(name)s, %(period)s, %(now)s, %(due)s, %(missed)s
        where not exists (select from schedules p where p.name = %(name)s and p.is_paused)
        on conflict (name, period) do update set started_at = excluded.started_at, due_at = excluded.due_at,
                missed = excluded.missed, ended_at = null, outcome = null, result = null
            where (r.outcome is distinct from 'finished' and r.started_at <= %(retake)s::timestamptz)
            or (r.outcome = 'skipped' and %(retake)s::timestamptz is not null)
            or r.started_at > %(ahead)s
        returning 1
        """,
        name=name,
        period=period,
        now=now,
        due=due_at or now,
        missed=missed,
        retake=None if retake_after is None else now - retake_after,
        ahead=now + ahead,
    )
    return taken is not None


def finish_period(conn: Connection, name: str, period: str, outcome: str, result: object, now: datetime) -> None:
    """Record how the period's run ended: outcome `finished` or `failed`."""
    execute(
        conn,
        """
        update schedule_runs set ended_at = %(now)s, outcome = %(outcome)s, result = %(result)s
        where name = %(name)s and period = %(period)s
        """,
        name=name,
        period=period,
        outcome=outcome,
        result=as_json(result),
        now=now,
    )


def pause_schedule(conn: Connection, name: str, is_paused: bool, actor: Actor, now: datetime) -> None:
    """Stop ringing a schedule, or ring it again; the scheduler obeys within seconds."""
    execute(
        conn,
        """
        insert into schedules (name, is_paused, changed_by, changed_at)
        values (%(name)s, %(paused)s, %(by)s, %(now)s)
        on conflict (name) do update
            set is_paused = excluded.is_paused, changed_by = excluded.changed_by, changed_at = excluded.changed_at
        """,
        name=name,
        paused=is_paused,
        by=f"{actor.name}: {actor.reason}",
        now=now,
    )


# Runs of jobs --------------------------------------------------------------------------------------------------------


def open_job_run(
    conn: Connection,
    *,
    job_ref: str,
    function: str,
    arguments: Mapping[str, object],
    queue: str,
    worker: str | None,
    attempt: int,
    now: datetime,
    sync_run_id: int | None = None,
) -> int:
    """Record that a job begins, and for which sync run; returns the run's id. Arguments are masked."""
    return scalar(
        conn,
        """
        insert into job_runs (job_ref, function, arguments, queue, worker, attempt, started_at, sync_run_id)
        values (%(job)s, %(function)s, %(arguments)s, %(queue)s, %(worker)s, %(attempt)s, %(now)s, %(sync)s)
        returning id
        """,
        sync=sync_run_id,
        job=job_ref,
        function=function,
        arguments=as_json(masked(dict(arguments))),
        queue=queue,
        worker=worker,
        attempt=attempt,
        now=now,
    )


def close_job_run(
    conn: Connection,
    run_id: int,
    outcome: str,
    now: datetime,
    *,
    result: object = None,
    error: str | None = None,
    fingerprint: str | None = None,
    traceback: str | None = None,
    business: str | None = None,
) -> None:
    """Record how a run ended. The process that ran it knows best: this also replaces a mistaken `abandoned`.

    `business` is what came of it in the world, as of `core.runs.kinds`; None where it did not finish.
    """
    execute(
        conn,
        """
        update job_runs set ended_at = %(now)s, outcome = %(outcome)s, result = %(result)s, error = %(error)s,
            fingerprint = %(fingerprint)s, traceback = %(traceback)s, business = %(business)s
        where id = %(id)s and (outcome is null or outcome = 'abandoned')
        """,
        id=run_id,
        outcome=outcome,
        now=now,
        result=as_json(masked(result)),
        error=_text(error),
        fingerprint=fingerprint,
        business=business,
        traceback=_text(traceback, TRACEBACK_CHARACTERS_MAX),
    )


def close_killed_runs(
    conn: Connection, job_ref: str, worker: str, error: str, fingerprint: str, now: datetime
) -> list[int]:
    """Close what a killed process left open; returns the runs."""
    closed = fetch(
        conn,
        """
        update job_runs set ended_at = %(now)s, outcome = 'failed', error = %(error)s, fingerprint = %(fingerprint)s
        where outcome is null and worker = %(worker)s and job_ref = %(job)s returning id
        """,
        job=job_ref,
        worker=worker,
        error=_text(error),
        fingerprint=fingerprint,
        now=now,
    )
    return [row["id"] for row in closed]


def close_abandoned_runs(conn: Connection, live_worker_names: Collection[str], now: datetime) -> dict[str, Any]:
    """Close runs whose worker is gone, and hand on or fail sync runs that fell silent; returns counts, and the `closed`
    runs.

    A worker does one thing at a time: what it began before its latest run has ended, though Postgres was away when that
    was to be written. A silent sync run waits again for a worker (see `queries.waiting_syncs`) until its attempts are
    used up.
    """
    closed = fetch(
        conn,
        """
        update job_runs set ended_at = %(now)s, outcome = 'abandoned', error = case
            when worker = any (%(alive)b::text[]) then 'how it ended was not written down' else 'its worker is gone' end
        where outcome is null and started_at < %(before)s
            and (worker is null or worker <> all (%(alive)b::text[]) or exists (
                select from job_runs later where later.id > job_runs.id and later.worker = job_runs.worker))
        returning id
        """,
        now=now,
        before=now - WORKER_GRACE,
        alive=sorted(live_worker_names),
    )
    row = fetch_one(
        conn,
        """
        with silent as (
            update sync_runs set
                state = case
                    when cancel_asked_at is not null then 'cancelled'
                    when attempts < %(attempts)s then 'queued' else 'failed' end,
                ended_at = case when attempts < %(attempts)s and cancel_asked_at is null then null else %(now)s end,
                error = 'its worker is gone', heartbeat_at = %(now)s
            where state = 'running' and heartbeat_at < %(before)s
            returning state
        )
        select count(*) filter (where state = 'queued') as queued, count(*) filter (where state = 'failed') as failed
        from silent
        """,
        now=now,
        attempts=SYNC_ATTEMPTS_MAX,
        before=now - SYNC_SILENCE,
    )
    assert row is not None
    return {
        "jobs": len(closed),
        "syncs_requeued": row["queued"],
        "syncs_failed": row["failed"],
        "closed": [one["id"] for one in closed],
    }


# Sync runs -----------------------------------------------------------------------------------------------------------


def request_sync(
    conn: Connection, shop_id: int, connection_id: int, kind: str, trigger: str, actor: Actor, now: datetime
) -> int:
    """Ask for a sync; returns its id, or that of the one already asked for or running."""
    params: dict[str, Any] = {"shop": shop_id, "connection": connection_id, "kind": kind}
    while True:
        created = scalar(
            conn,
            """
            insert into sync_runs (shop_id, connection_id, kind, trigger, requested_by, reason, requested_at)
            values (%(shop)s, %(connection)s, %(kind)s, %(trigger)s, %(by)s, %(reason)s, %(now)s)
            on conflict (shop_id, connection_id, kind) where state in ('queued', 'running') do nothing
            returning id
            """,
            **params,
            trigger=trigger,
            by=actor.name,
            reason=actor.reason,
            now=now,
        )
        existing = created or scalar(
            conn,
            """
            select id from sync_runs where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
                and state in ('queued', 'running')
            """,
            **params,
        )
        # Neither: the open one ended between the two statements, so there is room for ours now.
        if existing is not None:
            return existing


def start_sync(conn: Connection, shop_id: int, run_id: int, now: datetime) -> bool:
    """Begin a queued sync, or take over one that fell silent; False when it is not ours to run."""
    return _touched(
        conn,
        """
        update sync_runs set state = 'running', attempts = attempts + 1, done = 0, total = null, step = null,
            error = null, window_at = null, window_done = null, mark_at = null, mark_done = null,
            started_at = coalesce(started_at, %(now)s), heartbeat_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s
            and (state = 'queued' or (state = 'running' and heartbeat_at < %(before)s))
        """,
        shop=shop_id,
        id=run_id,
        now=now,
        before=now - SYNC_SILENCE,
    )


def progress(
    conn: Connection,
    shop_id: int,
    run_id: int,
    now: datetime,
    *,
    done: int | None = None,
    total: int | None = None,
    step: str | None = None,
) -> bool:
    """Tell how far the sync is; what is None stays. False when it no longer runs, or somebody asked to have it stopped:
    then stop working on it.
    """
    return _touched(
        conn,
        """
        update sync_runs set heartbeat_at = %(now)s, done = coalesce(%(done)s, done),
            total = coalesce(%(total)s, total), step = coalesce(%(step)s, step),
            window_at = case when is_new then null when mark_at > %(aged)s then window_at else mark_at end,
            window_done = case when is_new then null when mark_at > %(aged)s then window_done else mark_done end,
            mark_at = case when is_new then %(now)s when mark_at > %(aged)s then mark_at else %(now)s end,
            mark_done = case when is_new then %(done)s when mark_at > %(aged)s then mark_done
                else coalesce(%(done)s, done) end
        -- The first that is told of a step, or of a run that goes on where it was, says nothing of how fast it is.
        from (select %(done)s::int4 is not null as is_told) t
        cross join lateral (
            select is_told and (mark_at is null or %(done)s < done) as is_new from sync_runs
            where shop_id = %(shop)s and id = %(id)s
        ) told
        where shop_id = %(shop)s and id = %(id)s and state = 'running' and cancel_asked_at is null
        """,
        aged=now - RATE_WINDOW / 2,
        shop=shop_id,
        id=run_id,
        now=now,
        done=done,
        total=total,
        step=step,
    )


def finish_sync(
    conn: Connection, shop_id: int, run_id: int, now: datetime, counts: Mapping[str, object] | None = None
) -> bool:
    """Close a running sync as done, with what it counted."""
    return _touched(
        conn,
        """
        update sync_runs set state = 'done', ended_at = %(now)s, heartbeat_at = %(now)s, step = null,
            counts = %(counts)s
        where shop_id = %(shop)s and id = %(id)s and state = 'running'
        """,
        shop=shop_id,
        id=run_id,
        now=now,
        counts=as_json(dict(counts or {})),
    )


def fail_sync(
    conn: Connection, shop_id: int, run_id: int, now: datetime, error: str, *, will_retry: bool = False
) -> bool:
    """Close a running sync as failed, or with `will_retry` put it back in the queue with what went wrong.

    One that somebody asked to have stopped does not wait again: it is cancelled.
    """
    return _touched(
        conn,
        """
        update sync_runs set error = %(error)s, heartbeat_at = %(now)s,
            state = case when cancel_asked_at is not null and %(state)s = 'queued' then 'cancelled' else %(state)s end,
            ended_at = case when cancel_asked_at is not null then %(now)s else %(ended)s::timestamptz end,
            -- What is put off by itself is no death: however often that was, a worker that dies may be replaced.
            attempts = case when %(state)s = 'queued' then greatest(attempts - 1, 0) else attempts end
        where shop_id = %(shop)s and id = %(id)s and state in ('queued', 'running')
        """,
        shop=shop_id,
        id=run_id,
        now=now,
        state="queued" if will_retry else "failed",
        ended=None if will_retry else now,
        error=_text(error),
    )


def stop_sync(conn: Connection, shop_id: int, run_id: int, now: datetime) -> bool:
    """Close a running sync that somebody asked to have stopped; False where nobody did, or it is not ours any more."""
    return _touched(
        conn,
        """
        update sync_runs set state = 'cancelled', ended_at = %(now)s, heartbeat_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and state = 'running' and cancel_asked_at is not null
        """,
        shop=shop_id,
        id=run_id,
        now=now,
    )


# The log of calls ----------------------------------------------------------------------------------------------------

_CALL_COLUMNS = {
    "shop_id": "int8",
    "connection_id": "int8",
    "operation": "text",
    "method": "text",
    "status": "int4",
    "outcome": "text",
    "elapsed_ms": "int4",
    "attempt": "int4",
    "quota_left": "text",
    "api_version": "text",
    "deprecation": "text",
    "error": "text",
    "sync_run_id": "int8",
    "called_at": "timestamptz",
    "purpose": "text",
    "cost": "float4",
    "asked_version": "text",
}


def record_calls(
    conn: Connection,
    calls: Sequence[object],
    *,
    shop_id: int | None = None,
    connection_id: int | None = None,
    sync_run_id: int | None = None,
) -> int:
    """Write the log of outgoing calls in one statement.

    Each call is a mapping or has attributes of the columns' names; what it does not say itself is taken from the
    keyword arguments.
    """
    if not calls:
        return 0
    common = {"shop_id": shop_id, "connection_id": connection_id, "sync_run_id": sync_run_id}
    columns = {name: [_field(call, name, common.get(name)) for call in calls] for name in _CALL_COLUMNS}
    columns["error"] = [_text(error) for error in columns["error"]]
    arrays = ", ".join(f"%({name})b::{kind}[]" for name, kind in _CALL_COLUMNS.items())
    return execute(
        conn, f"insert into api_calls ({', '.join(_CALL_COLUMNS)}) select * from unnest({arrays})", **columns
    )


def _touched(conn: Connection, sql: str, **params: object) -> bool:
    return execute(conn, sql, **params) == 1


def _field(call: object, name: str, common: object) -> Any:
    value = call.get(name) if isinstance(call, Mapping) else getattr(call, name, None)
    return common if value is None else value


def _text(error: str | None, characters: int = ERROR_CHARACTERS_MAX) -> str | None:
    """Fit for a text column and for eyes: masked, no NUL, bounded."""
    return None if error is None else mask(error).replace("\0", "\ufffd")[:characters]


def as_json(value: object) -> Jsonb | None:
    """A value for a jsonb column, with whatever it holds written as text; None stays null."""
    return None if value is None else Jsonb(value, dumps=_dumps)


def _dumps(value: object) -> str:
    return json.dumps(value, default=str).replace("\\u0000", "\\ufffd")
