"""What a person does about failed jobs: have them done again, or give them up. Once only, whoever clicks how often.

Jobs are rings: ten failures of one function with one set of arguments are one piece of work, and it is queued once.
The unit of work marks the failures and writes a row of `job_requeues` for each piece; the ring follows the commit. What
is lost between the two, or with Redis, is rung again by the sweep under the same job id until a run answers to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch
from core.errors import Anticipated, BadInput, Permanent
from core.ports import FailedJob
from core.runs.schedules import work_behind

RING_AGAIN_AFTER = timedelta(seconds=60)
RING_FOR = timedelta(days=7)
_LISTED_MAX = 50

Check = Callable[[str, Mapping[str, object]], None]
"""Raises BadInput or Permanent where a job of that name with those arguments may not be queued."""


class FactsChanged(Anticipated):
    """What was previewed is no longer what is there; nothing was done."""

    def __init__(self, before: int, now: int) -> None:
        if now > before:
            text = f"{now - before} more failed since you looked"
        elif now < before:
            text = f"{before - now} of the {before} failed jobs were dealt with since you looked"
        else:
            text = "they are other failures than those you looked at"
        super().__init__(f"Nothing was done: {text}. Look again.")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which open failures are meant: the one of a run, or all of a cause and function."""

    run_id: int | None = None
    cause: str | None = None
    function: str | None = None

    def __post_init__(self) -> None:
        if (self.run_id is None) == (self.cause is None or self.function is None):
            raise BadInput("failures are chosen by one run, or by a cause and its function")

    @property
    def subject(self) -> str:
        """How the audit log names them."""
        return f"job_run:{self.run_id}" if self.run_id is not None else f"job_cause:{self.cause}"


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work to be queued: its job id, registered name and arguments."""

    ref: str
    function: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen now. `obstacle` says why the jobs cannot be queued again, if so; hand `token` back to act."""

    jobs: int
    works: tuple[Work, ...]
    obstacle: str | None
    token: str


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: how many failed jobs were dealt with, their ids in the broker, and the work to ring for."""

    jobs: int
    refs: tuple[str, ...]
    works: tuple[Work, ...] = ()


def plan(conn: Connection, shop_id: int, chosen: Chosen, check: Check) -> Plan:
    """Count what a requeue or a discard would do; changes nothing."""
    rows = _open(conn, shop_id, chosen)
    works, _ = _works(rows, shop_id)
    return Plan(len(rows), tuple(works), _obstacle(works, check), _token(rows))


def requeue(
    conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime, check: Check
) -> Done:
    """Promise to do the chosen failures' work again, once; ring for the returned works after the commit.

    Raises FactsChanged when they are not those of the plan, BadInput when they are nothing that may be queued.
    """
    rows = _claim(conn, shop_id, chosen, token)
    works, ref_of = _works(rows, shop_id)
    if (obstacle := _obstacle(works, check)) is not None:
        raise BadInput(f"Nothing was queued: {obstacle}. Discard these failures, with a reason.")
    execute(
        conn,
        """
        insert into job_requeues (shop_id, job_ref, function, arguments, requested_by, reason, requested_at)
        select %(shop)s, ref, function, arguments::jsonb, %(by)s, %(reason)s, %(now)s
        from unnest(%(refs)b::text[], %(functions)b::text[], %(arguments)b::text[]) as w (ref, function, arguments)
        """,
        shop=shop_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
        refs=[work.ref for work in works],
        functions=[work.function for work in works],
        arguments=[json.dumps(dict(work.arguments)) for work in works],
    )
    _resolve(conn, rows, "requeued", actor, now, ref_of)
    _record(conn, shop_id, "requeue_jobs", chosen, actor, now, rows, [work.ref for work in works])
    return Done(len(rows), tuple(sorted({row["job_ref"] for row in rows})), tuple(works))


def discard(conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime) -> Done:
    """Give the chosen failures up. Raises FactsChanged when they are not those of the plan."""
    rows = _claim(conn, shop_id, chosen, token)
    _resolve(conn, rows, "discarded", actor, now, {})
    _record(conn, shop_id, "discard_jobs", chosen, actor, now, rows, [])
    return Done(len(rows), tuple(sorted({row["job_ref"] for row in rows})))


# What the sweep does -------------------------------------------------------------------------------------------------


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


def close_superseded(conn: Connection, now: datetime) -> tuple[int, list[str]]:
    """Close failures that a later run has made moot, so that what is open stays few.

    Returns how many, and the ids of the jobs that have no open failure left: the broker's registry need not keep them.
    """
    closed = fetch(
        conn,
        """
        update job_runs set resolution = 'superseded', resolved_at = %(now)s, resolved_by = 'sweep',
            resolved_reason = 'a later run did the work'
        where id in (
            select r.id from job_runs r
            where r.outcome in ('failed', 'abandoned') and r.resolution is null and (
                exists (select from job_runs later where later.job_ref = r.job_ref and later.id > r.id)
                or exists (select from job_runs later where later.subject = r.subject
                    and later.outcome = 'finished' and later.started_at > r.started_at)
            )
            order by r.id for update skip locked
        )
        returning job_ref
        """,
        now=now,
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


# Steps ---------------------------------------------------------------------------------------------------------------


def _open(conn: Connection, shop_id: int, chosen: Chosen) -> Sequence[RowMapping]:
    return fetch(
        conn,
        """
        with unresolved as materialized (
            select id from job_runs where outcome in ('failed', 'abandoned') and resolution is null
                and (%(run)s::int8 is null or id = %(run)s)
        )
        select f.run_id, f.job_ref, f.function, f.arguments from unresolved u join job_failures f on f.run_id = u.id
        where f.shop_id = %(shop)s and f.state = 'open'
            and (%(cause)s::text is null or (f.cause = %(cause)s and f.function = %(function)s))
        order by f.run_id
        """,
        shop=shop_id,
        run=chosen.run_id,
        cause=chosen.cause,
        function=chosen.function,
    )


def _claim(conn: Connection, shop_id: int, chosen: Chosen, token: str) -> Sequence[RowMapping]:
    """The failures of the plan, locked; whoever comes second finds them resolved and is told so."""
    rows = _open(conn, shop_id, chosen)
    locked = fetch(
        conn,
        "select id from job_runs where id = any(%(ids)b::int8[]) and resolution is null order by id for update",
        ids=[row["run_id"] for row in rows],
    )
    if not rows or len(locked) != len(rows) or _token(rows) != token:
        raise FactsChanged(_count_of(token), len(locked))
    return rows


def _works(rows: Sequence[RowMapping], shop_id: int) -> tuple[list[Work], dict[int, str]]:
    """The distinct pieces of work behind failures, and which one answers to each run."""
    newest: dict[str, Work] = {}
    keys: dict[int, str] = {}
    for row in rows:
        function, arguments = work_behind(row["function"], row["arguments"], shop_id)
        key = f"{function}:{json.dumps(arguments, sort_keys=True)}"
        newest[key] = Work(f"again-{row['run_id']}", function, arguments)
        keys[row["run_id"]] = key
    return list(newest.values()), {run: newest[key].ref for run, key in keys.items()}


def _obstacle(works: Sequence[Work], check: Check) -> str | None:
    for work in works:
        try:
            check(work.function, work.arguments)
        except (BadInput, Permanent) as error:
            return str(error)
    return None


def _resolve(
    conn: Connection,
    rows: Sequence[RowMapping],
    resolution: str,
    actor: Actor,
    now: datetime,
    ref_of: Mapping[int, str],
) -> None:
    ids = [row["run_id"] for row in rows]
    execute(
        conn,
        """
        update job_runs r set resolution = %(resolution)s, resolved_at = %(now)s, resolved_by = %(by)s,
            resolved_reason = %(reason)s, requeued_as = v.ref
        from unnest(%(ids)b::int8[], %(refs)b::text[]) as v (id, ref)
        where r.id = v.id and r.resolution is null
        """,
        resolution=resolution,
        now=now,
        by=actor.name,
        reason=actor.reason,
        ids=ids,
        refs=[ref_of.get(run) for run in ids],
    )


def _record(
    conn: Connection,
    shop_id: int,
    act: str,
    chosen: Chosen,
    actor: Actor,
    now: datetime,
    rows: Sequence[RowMapping],
    queued: Sequence[str],
) -> None:
    audit.record(
        conn,
        shop_id,
        actor,
        act,
        chosen.subject,
        now,
        jobs=len(rows),
        functions=sorted({row["function"] for row in rows}),
        runs=[row["run_id"] for row in rows[:_LISTED_MAX]],
        queued=list(queued[:_LISTED_MAX]),
    )


def _token(rows: Sequence[RowMapping]) -> str:
    ids = ",".join(str(row["run_id"]) for row in rows)
    return f"{len(rows)}-{sha256(ids.encode()).hexdigest()[:16]}"


def _count_of(token: str) -> int:
    number = token.partition("-")[0]
    return int(number) if number.isdigit() else 0
