"""Recoveries at work: some begun at each turn, at their pace; what has ended is settled. Rings follow the commit.

What a recovery begins is a promise of the place that it belongs to: a row of `job_requeues`, a message that is to have
its turn, a notice that is due. Each is rung for again by the sweep of that place, whatever Redis forgets, and begins by
a guarded step that can be taken once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.db import execute, fetch
from core.errors import Anticipated
from core.messaging.inbox import ANOTHER_TURN
from core.recovery.models import recovery_works
from core.runs import control
from core.runs import failures as job_failures
from core.runs.failures import Work

log = logging.getLogger(__name__)

AT_ONCE = 2000
"""Pieces of work that one turn begins at most."""

LAGGING = timedelta(seconds=30)
"""A pace that nobody gave out for longer is lost, not made up for: a burst would starve live work."""

RETRIES_WITHIN = timedelta(minutes=10)
"""So long a failed attempt of a job that tries again by itself is not its end; nor is a run taken for abandoned."""

_WORKS = recovery_works.name


@dataclass(slots=True)
class Begun:
    """What is to be rung for after the commit: jobs, and lanes (shop, connection) whose inbox has something."""

    jobs: list[Work] = field(default_factory=list)
    lanes: set[tuple[int, int]] = field(default_factory=set)
    notices: int = 0
    superseded: int = 0
    job_refs: list[str] = field(default_factory=list)
    """Ids of failed jobs in the broker, whose registry need not keep them."""

    @property
    def works(self) -> int:
        return len(self.jobs) + self.notices + self.messages

    messages: int = 0


def running(conn: Connection) -> list[tuple[int, int]]:
    """(shop_id, recovery id) of every recovery that has something waiting or under way, oldest first."""
    rows = fetch(conn, "select shop_id, id from recoveries where ended_at is null order by requested_at, shop_id, id")
    return [(row["shop_id"], row["id"]) for row in rows]


SyncAgain = Callable[[Connection, int, int, Actor, datetime], int]
"""Asks for a sync run that failed or was stopped once more (shop, run); returns the run that does it, which may be open
already. Raises Anticipated where it cannot be asked for."""


def release(
    conn: Connection, shop_id: int, recovery_id: int, now: datetime, sync_again: SyncAgain = control.retry
) -> Begun:
    """Begin as much of a recovery as its pace allows now; nothing where somebody else is at it.

    Work of a paused connection waits until it is resumed. A job of a sync run that has ended badly does nothing any
    more: a new run is asked for in its place, by `sync_again`.
    """
    begun = Begun()
    if not _is_ours(conn, shop_id, recovery_id):
        return begun
    due = _next(conn, shop_id, recovery_id, now)
    if not due:
        return begun
    taken: list[int] = []
    works = _with_live_syncs(conn, shop_id, recovery_id, due, now, sync_again)
    for source, begin in (("job", _begin_jobs), ("message", _begin_messages), ("outbox", _begin_notices)):
        mine = [work for work in works if work["source"] == source]
        if mine:
            taken += begin(conn, shop_id, recovery_id, mine, begun, now)
    begun.superseded = len(works) - len(taken)
    execute(
        conn,
        f"""
        update {_WORKS} set
            state = case when ordinal = any(%(taken)b::int8[]) then 'released' else 'superseded' end,
            released_at = case when ordinal = any(%(taken)b::int8[]) then %(now)s::timestamptz end,
            ended_at = case when ordinal = any(%(taken)b::int8[]) then null else %(now)s::timestamptz end
        where shop_id = %(shop)s and recovery_id = %(id)s and ordinal = any(%(all)b::int8[]) and state = 'waiting'
        """,
        shop=shop_id,
        id=recovery_id,
        taken=taken,
        all=[work["ordinal"] for work in works],
        now=now,
    )
    return begun


def settle(
    conn: Connection, shop_id: int, recovery_id: int, now: datetime, retries: Mapping[str, int]
) -> dict[str, int]:
    """Record how what was begun has ended, and end the recovery when nothing of it is left.

    `retries`: how often a job of that name tries again by itself. Returns how much is done, failed and left.
    """
    params = {"shop": shop_id, "id": recovery_id, "now": now}
    for source, sql in (("job", _ENDED_JOBS), ("message", _ENDED_MESSAGES), ("outbox", _ENDED_NOTICES)):
        ended = fetch(conn, sql, **params, within=now - RETRIES_WITHIN, retries=json.dumps(dict(retries)))
        if not ended:
            continue
        # Only of what is settled here and now: of what another worker has settled since, somebody may have asked anew.
        execute(
            conn,
            f"""
            with settled as (
                update {_WORKS} w set state = e.state, ended_at = %(now)s,
                    failed_item_id = case when e.state = 'failed' then e.item_id end
                from unnest(%(ordinals)b::int8[], %(states)b::text[], %(items)b::int8[]) as e (ordinal, state, item_id)
                where w.shop_id = %(shop)s and w.recovery_id = %(id)s and w.ordinal = e.ordinal
                    and w.state = 'released'
                returning w.failed_item_id
            )
            update failures f set recovery_id = %(id)s, work_ordinal = null from settled s
            where f.shop_id = %(shop)s and f.source = %(source)s and f.item_id = s.failed_item_id
            """,
            **params,
            source=source,
            ordinals=[row["ordinal"] for row in ended],
            states=[row["state"] for row in ended],
            items=[row["ended_item_id"] for row in ended],
        )
    return _end(conn, shop_id, recovery_id, now)


# Steps ---------------------------------------------------------------------------------------------------------------


def _is_ours(conn: Connection, shop_id: int, recovery_id: int) -> bool:
    """Lock a running recovery, before anything of it is read; False where somebody else is at it."""
    sql = "select 1 from recoveries where shop_id = %(shop)s and id = %(id)s and state = 'running'"
    return bool(fetch(conn, f"{sql} for update skip locked", shop=shop_id, id=recovery_id))


def _next(conn: Connection, shop_id: int, recovery_id: int, now: datetime) -> Sequence[RowMapping]:
    """The works whose turn it is; their recovery, which is locked, keeps account of what it gave out.

    One that weighs more than is due begins when an average one would, and what follows waits for as long as it takes.
    """
    return fetch(
        conn,
        f"""
        with mine as (
            select v.per_minute, greatest(
                v.paced_at, %(now)s - greatest(%(lagging)s, interval '1 minute' / v.per_minute)
            ) as since from recoveries v
            where v.shop_id = %(shop)s and v.id = %(id)s
        ), due as (
            select m.*, extract(epoch from greatest(%(now)s - m.since, interval '0'))::float8 * m.per_minute / 60
                as weight
            from mine m
        ), waiting as (
            select w.* from {_WORKS} w
            left join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
            where w.shop_id = %(shop)s and w.recovery_id = %(id)s and w.state = 'waiting'
                and (c.id is null or c.state = 'active')
            order by w.ordinal limit %(most)s
        ), next as (
            select w.*, sum(w.weight) over (order by w.ordinal) - w.weight as before from waiting w
        ), taken as materialized (
            -- Sums of fractions miss what they come to by a hair.
            select n.* from next n, due d where n.before + least(n.weight, 1) <= d.weight + 1e-6
        ), given as (
            update recoveries v set paced_at = d.since + t.weight * interval '1 minute' / d.per_minute
            from due d, (select sum(weight) as weight from taken) t
            where v.shop_id = %(shop)s and v.id = %(id)s and t.weight is not null
        )
        select ordinal, source, work_key, item_id, function, arguments, connection_id from taken order by ordinal
        """,
        shop=shop_id,
        id=recovery_id,
        now=now,
        lagging=LAGGING,
        most=AT_ONCE,
    )


def _with_live_syncs(
    conn: Connection,
    shop_id: int,
    recovery_id: int,
    works: Sequence[RowMapping],
    now: datetime,
    sync_again: SyncAgain,
) -> list[dict[str, Any]]:
    """The works, those of sync runs that ended badly with the id of the run that is asked for in their place."""
    runs = {work["arguments"].get("sync_run_id") for work in works if work["source"] == "job"}
    rows = fetch(
        conn,
        """
        select r.id, v.requested_by, v.reason from sync_runs r join recoveries v on v.shop_id = r.shop_id
        where r.shop_id = %(shop)s and r.id = any(%(runs)b::int8[]) and r.state in ('failed', 'cancelled')
            and v.id = %(id)s order by r.id
        """,
        shop=shop_id,
        id=recovery_id,
        runs=sorted(run for run in runs if isinstance(run, int)),
    )
    again: dict[int, int] = {}
    for row in rows:
        try:
            again[row["id"]] = sync_again(conn, shop_id, row["id"], Actor(row["requested_by"], row["reason"]), now)
        except Anticipated as refused:
            log.warning("sync run %s is not asked for again: %s", row["id"], refused)
    found = [dict(work) for work in works]
    for work in found:
        run = (work["arguments"] or {}).get("sync_run_id")
        if run in again:
            work["arguments"] = {**work["arguments"], "sync_run_id": again[run]}
    return found


def _begin_jobs(
    conn: Connection, shop_id: int, recovery_id: int, works: Sequence[Mapping[str, Any]], begun: Begun, now: datetime
) -> list[int]:
    """Promise each job once: its failures are resolved by that, unless a later run or somebody else dealt with them."""
    needed, moot = _needed(conn, shop_id, recovery_id, [work["ordinal"] for work in works])
    if moot:
        begun.job_refs += job_failures.close_superseded(conn, now, moot)[1]
    newest = {work["ordinal"]: _ref(work) for work in works}
    resolved = fetch(
        conn,
        """
        update job_runs r set resolution = 'requeued', resolved_at = %(now)s, resolved_by = v.requested_by,
            resolved_reason = v.reason, requeued_as = n.ref
        from unnest(%(ids)b::int8[], %(refs)b::text[]) as n (id, ref), recoveries v
        where r.id = n.id and r.resolution is null and v.shop_id = %(shop)s and v.id = %(recovery)s
        returning r.job_ref
        """,
        shop=shop_id,
        recovery=recovery_id,
        now=now,
        ids=list(needed),
        refs=[newest[ordinal] for ordinal in needed.values()],
    )
    begun.job_refs += sorted({row["job_ref"] for row in resolved})
    taken = set(needed.values())
    promised = [work for work in works if work["ordinal"] in taken]
    if not promised:
        return []
    execute(
        conn,
        """
        insert into job_requeues (shop_id, job_ref, function, arguments, requested_by, reason, requested_at)
        select %(shop)s, w.ref, w.function, w.arguments::jsonb, v.requested_by, v.reason, %(now)s
        from unnest(%(refs)b::text[], %(functions)b::text[], %(arguments)b::text[]) as w (ref, function, arguments)
        join recoveries v on v.shop_id = %(shop)s and v.id = %(id)s
        """,
        shop=shop_id,
        id=recovery_id,
        now=now,
        refs=[_ref(work) for work in promised],
        functions=[work["function"] for work in promised],
        arguments=[json.dumps(work["arguments"]) for work in promised],
    )
    begun.jobs += [Work(_ref(work), work["function"], work["arguments"]) for work in promised]
    return [work["ordinal"] for work in promised]


def _needed(
    conn: Connection, shop_id: int, recovery_id: int, ordinals: Sequence[int]
) -> tuple[dict[int, int], list[int]]:
    """The failed runs of some works, locked: of works of which one is still needed, with the work of each; and those of
    works that later runs have done.

    A run that was taken for abandoned and then failed is open again, and its work the same.
    """
    found = fetch(
        conn,
        """
        select item_id, work_ordinal from failures where shop_id = %(shop)s and recovery_id = %(id)s
            and work_ordinal = any(%(ordinals)b::int8[]) and source = 'job' and state in ('open', 'requeued')
        """,
        shop=shop_id,
        id=recovery_id,
        ordinals=list(ordinals),
    )
    works = {row["item_id"]: row["work_ordinal"] for row in found}
    locked = fetch(
        conn,
        """
        select r.id, exists (
            select from job_runs later
            where later.subject = r.subject and did_its_work(later.outcome, later.business)
                and later.started_at > r.started_at
        ) as is_moot
        from job_runs r where r.id = any(%(ids)b::int8[]) and r.resolution is null order by r.id for update
        """,
        ids=sorted(works),
    )
    still = {works[row["id"]] for row in locked if not row["is_moot"]}
    needed = {row["id"]: works[row["id"]] for row in locked if works[row["id"]] in still}
    return needed, [row["id"] for row in locked if row["id"] not in needed]


def _ref(work: Mapping[str, Any]) -> str:
    return f"again-{work['item_id']}"


def _begin_messages(
    conn: Connection, shop_id: int, recovery_id: int, works: Sequence[Mapping[str, Any]], begun: Begun, now: datetime
) -> list[int]:
    """Give each message another turn that is still parked."""
    ordinals = {work["item_id"]: work["ordinal"] for work in works}
    rows = fetch(
        conn,
        f"""
        update inbox_messages set {ANOTHER_TURN} where shop_id = %(shop)s and id in (
            select id from inbox_messages where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and state = 'parked'
            order by id for update
        )
        returning id, connection_id
        """,
        shop=shop_id,
        ids=sorted(ordinals),
    )
    begun.lanes |= {(shop_id, row["connection_id"]) for row in rows}
    begun.messages += len(rows)
    return [ordinals[row["id"]] for row in rows]


def _begin_notices(
    conn: Connection, shop_id: int, recovery_id: int, works: Sequence[Mapping[str, Any]], begun: Begun, now: datetime
) -> list[int]:
    """Begin each dead notice's attempts anew."""
    ordinals = {work["item_id"]: work["ordinal"] for work in works}
    rows = fetch(
        conn,
        """
        update outbox_messages set state = 'waiting', attempts = 0, next_attempt_at = %(now)s, settled_at = null
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and state = 'dead' returning id
        """,
        shop=shop_id,
        ids=sorted(ordinals),
        now=now,
    )
    begun.notices += len(rows)
    return [ordinals[row["id"]] for row in rows]


_ENDED_JOBS = f"""
    select w.ordinal, r.id as ended_item_id,
        case when r.outcome = 'finished' then 'done' else 'failed' end as state
    from {_WORKS} w
    cross join lateral (
        select j.id, j.outcome, j.attempt, j.ended_at from job_runs j
        where j.job_ref = 'again-' || w.item_id order by j.id desc limit 1
    ) r
    where w.shop_id = %(shop)s and w.recovery_id = %(id)s and w.source = 'job' and w.state = 'released'
        and (r.outcome = 'finished' or r.ended_at < %(within)s
            or (r.outcome = 'failed' and r.attempt > coalesce((%(retries)s::jsonb ->> w.function)::int, 0)))
"""
_ENDED_MESSAGES = f"""
    select w.ordinal, m.id as ended_item_id,
        case m.state when 'parked' then 'failed' when 'discarded' then 'superseded' else 'done' end as state
    from {_WORKS} w join inbox_messages m on m.shop_id = w.shop_id and m.id = w.item_id
    where w.shop_id = %(shop)s and w.recovery_id = %(id)s and w.source = 'message' and w.state = 'released'
        and m.state not in ('received', 'waiting')
"""
_ENDED_NOTICES = f"""
    select w.ordinal, o.id as ended_item_id,
        case o.state when 'dead' then 'failed' when 'discarded' then 'superseded' else 'done' end as state
    from {_WORKS} w join outbox_messages o on o.shop_id = w.shop_id and o.id = w.item_id
    where w.shop_id = %(shop)s and w.recovery_id = %(id)s and w.source = 'outbox' and w.state = 'released'
        and o.state not in ('waiting', 'held')
"""


def _end(conn: Connection, shop_id: int, recovery_id: int, now: datetime) -> dict[str, int]:
    (row,) = fetch(
        conn,
        f"""
        select count(*) filter (where state = 'done') as done, count(*) filter (where state = 'failed') as failed,
            count(*) filter (where state in ('waiting', 'released')) as "left"
        from {_WORKS} where shop_id = %(shop)s and recovery_id = %(id)s
        """,
        shop=shop_id,
        id=recovery_id,
    )
    if row["left"] == 0:
        execute(
            conn,
            """
            update recoveries set ended_at = %(now)s, state = case state when 'running' then 'done' else state end
            where shop_id = %(shop)s and id = %(id)s and ended_at is null
            """,
            shop=shop_id,
            id=recovery_id,
            now=now,
        )
    return dict(row)
