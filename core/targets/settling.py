"""What became of jobs: their entries told, set-based, and what is to be looked at next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection

from core.catalogue_target import OVER, JobState, Kind, TargetFault, TargetJob, Verb
from core.db import execute, fetch, fetch_one
from core.targets import rules
from core.targets.contents import Target
from core.targets.rules import EntryOutcome
from core.targets.sending import WHOLE_JOB, entries_of

LEASE = timedelta(minutes=1)
"""Of the target's time: for so long whoever took a job to look at it has it alone. Two who look do no harm."""

GONE = "its results could not be read before they expired"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that has not ended."""

    id: int
    kind: Kind
    verb: Verb
    state: str
    entries: int
    ref: str | None
    sent_at: datetime


_COLUMNS = "id, kind, verb, state, entries, ref, sent_at"


def take_due(conn: Connection, target: Target, list_from: int, now: datetime) -> OpenJob | None:
    """A job that is due to be looked at, taken from the others for a while: what was seen to have ended comes first.

    Of a kind of which so many are open that they are listed, only what is over, or got lost.
    """
    row = fetch_one(
        conn,
        f"""
        with due as materialized (
            select id from target_jobs
            where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null
                and state in ('queued', 'processing', 'lost') and next_poll_at <= %(now)s
                and (is_over or state = 'lost' or (kind, verb) not in (
                    select o.kind, o.verb from target_jobs o
                    where o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.ended_at is null
                        and o.state in ('queued', 'processing') and not o.is_over
                    group by 1, 2 having count(*) >= %(least)s))
            order by is_over desc, next_poll_at limit 1 for no key update skip locked
        )
        update target_jobs j set next_poll_at = %(until)s, polled_at = %(now)s from due
        where j.shop_id = %(shop)s and j.id = due.id returning {", ".join(f"j.{c}" for c in _COLUMNS.split(", "))}
        """,
        **_of(target),
        now=now,
        least=list_from,
        until=now + LEASE / target.factor,
    )
    return None if row is None else OpenJob(**row)


def take_listed(conn: Connection, target: Target, at_least: int, now: datetime) -> tuple[Kind, Verb] | None:
    """A kind and verb of which so many jobs are open that listing what is unfinished costs less than asking for each,
    once one of them is due; those that soon would be are taken for a while with it."""
    row = fetch_one(
        conn,
        """
        select kind, verb from target_jobs
        where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null
            and state in ('queued', 'processing') and not is_over
        group by 1, 2 having count(*) >= %(least)s and min(next_poll_at) <= %(now)s order by count(*) desc, 1, 2 limit 1
        """,
        **_of(target),
        now=now,
        least=at_least,
    )
    if row is None:
        return None
    taken = execute(
        conn,
        """
        with due as materialized (
            select id from target_jobs
            where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s and verb = %(verb)s
                and ended_at is null and state in ('queued', 'processing') and not is_over and next_poll_at <= %(soon)s
            order by id for no key update skip locked
        )
        update target_jobs j set next_poll_at = %(until)s from due where j.shop_id = %(shop)s and j.id = due.id
        """,
        **_of(target),
        kind=row["kind"],
        verb=row["verb"],
        soon=now + timedelta(seconds=1) / target.factor,
        until=now + LEASE / target.factor,
    )
    return (row["kind"], row["verb"]) if taken else None


def note_listed(
    conn: Connection,
    target: Target,
    kind: Kind,
    verb: Verb,
    unfinished: dict[str, JobState],
    asked_at: datetime,
    now: datetime,
) -> int:
    """What a list of unfinished jobs tells of ours that had been handed in before it was asked for; returns how many
    are over and are to be read one by one."""
    rows = fetch(
        conn,
        """
        select id, ref, sent_at from target_jobs
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s and verb = %(verb)s
            and ended_at is null and state in ('queued', 'processing') and not is_over and sent_at < %(asked)s
        order by id for no key update
        """,
        **_of(target),
        kind=kind,
        verb=verb,
        asked=asked_at - timedelta(seconds=1) / target.factor,
    )
    over = [row["id"] for row in rows if row["ref"] not in unfinished]
    execute(
        conn,
        """
        update target_jobs set is_over = true, next_poll_at = %(now)s, polled_at = %(now)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=target.shop_id,
        ids=over,
        now=now,
    )
    going = [row for row in rows if row["ref"] in unfinished]
    execute(
        conn,
        """
        update target_jobs j set state = n.state, polled_at = %(now)s, next_poll_at = n.at
        from unnest(%(ids)b::int8[], %(states)b::text[], %(at)b::timestamptz[]) as n (id, state, at)
        where j.shop_id = %(shop)s and j.id = n.id
        """,
        shop=target.shop_id,
        ids=[row["id"] for row in going],
        states=[unfinished[row["ref"]] for row in going],
        at=[now + rules.next_look(now - row["sent_at"], target.factor) for row in going],
        now=now,
    )
    return len(over)


def note_unlisted(conn: Connection, target: Target, kind: Kind, verb: Verb, now: datetime) -> None:
    """What was taken to be listed could not be: it is looked at again soon."""
    execute(
        conn,
        """
        update target_jobs set next_poll_at = %(at)s
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s and verb = %(verb)s
            and ended_at is null and state in ('queued', 'processing') and next_poll_at > %(at)s
        """,
        **_of(target),
        kind=kind,
        verb=verb,
        at=now + timedelta(seconds=5) / target.factor,
    )


def note_look(conn: Connection, target: Target, job: OpenJob, told: TargetJob | None, now: datetime) -> None:
    """A job was looked at and has not ended, or nothing could be learnt of it now."""
    execute(
        conn,
        """
        update target_jobs set state = coalesce(%(state)s, state), is_over = false, polled_at = %(now)s,
            next_poll_at = %(at)s, expires_at = coalesce(%(expires)s, expires_at)
        where shop_id = %(shop)s and id = %(id)s and ended_at is null
        """,
        shop=target.shop_id,
        id=job.id,
        state=None if told is None else told.state,
        now=now,
        at=now + rules.next_look(now - job.sent_at, target.factor),
        expires=None if told is None else told.expires_at,
    )


def settle(conn: Connection, target: Target, job: OpenJob, told: TargetJob, now: datetime) -> dict[str, int]:
    """Tell the entries of a job that is over, and end it; returns outcomes counted. A second time nothing is told."""
    assert told.state in OVER, "what has not ended is not settled"
    return _end(conn, target, job, told.state, rules.outcomes(job.verb, job.entries, told), None, told.expires_at, now)


def give_up(conn: Connection, target: Target, job: OpenJob, why: str, now: datetime) -> dict[str, int]:
    """End a job of which nothing can be learnt any more: what of it was done is read back, id by id."""
    lost = [rules.unknown(place, "LOST", why) for place in range(job.entries)]
    return _end(conn, target, job, "lost", lost, why, None, now)


def refuse(conn: Connection, target: Target, job: OpenJob, fault: TargetFault, now: datetime) -> dict[str, int]:
    """End a job that the target refused as a whole: by the entry it names, the others come again; where it names none,
    each is tried alone."""
    place = fault.position
    if place is not None:
        told = [rules.of_fault(job.verb, place, fault)]
    else:
        told = [
            EntryOutcome(one, "failed", "failed", WHOLE_JOB if job.entries > 1 else fault.code, None, fault.detail)
            for one in range(job.entries)
        ]
    return _end(conn, target, job, "cancelled", told, fault.detail, None, now, others="unsent")


def _end(
    conn: Connection,
    target: Target,
    job: OpenJob,
    state: str,
    told: Sequence[EntryOutcome],
    why: str | None,
    expires_at: datetime | None,
    now: datetime,
    others: str | None = None,
) -> dict[str, int]:
    # Entries before their job, as everybody locks them.
    fetch(
        conn,
        """
        select id from target_entries where shop_id = %(shop)s and open_job_id = %(job)s
        order by id for no key update
        """,
        shop=target.shop_id,
        job=job.id,
    )
    open_ones = {row["position"]: row for row in entries_of(conn, target.shop_id, job.id)}
    rows = [_row(open_ones[one.position], one) for one in told if one.position in open_ones]
    named = {one.position for one in told}
    if others is not None:
        rows += [_unsent(row) for place, row in open_ones.items() if place not in named]
    counts = {name: sum(row["outcome"] == name for row in rows) for name in ("ok", "failed", "unknown")}
    ended = execute(
        conn,
        """
        update target_jobs set state = %(state)s, ended_at = %(now)s, polled_at = %(now)s, next_poll_at = null,
            is_over = true, succeeded = %(ok)s, failed = %(failed)s, unknown = %(unknown)s,
            expires_at = coalesce(%(expires)s, expires_at), reason = coalesce(%(why)s, reason)
        where shop_id = %(shop)s and id = %(id)s and ended_at is null
        """,
        shop=target.shop_id,
        id=job.id,
        state=state,
        now=now,
        expires=expires_at,
        why=None if why is None else why[:500],
        **counts,
    )
    if not ended:
        return {}
    text = orjson.dumps(rows).decode()
    _note_outcomes(conn, target, job, text)
    _tell_entries(conn, target, job, text, now, is_lost=state == "lost")
    _doubt_links(conn, target, told, open_ones, now)
    return counts


def _row(row: Any, one: EntryOutcome) -> dict[str, Any]:
    return {
        "position": one.position,
        "entry_id": row["entry_id"],
        "outcome": one.outcome,
        "next": one.next,
        "code": one.code,
        "field": one.field,
        "detail": None if one.detail is None else one.detail[:500],
    }


def _unsent(row: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("code", "field", "detail"))
    return {"position": row["position"], "entry_id": row["entry_id"], "outcome": "unsent", "next": "again", **empty}


_ROWS = """
    jsonb_to_recordset(%(rows)s::jsonb) as r (position int4, entry_id int8, outcome text, next text, code text,
        field text, detail text)
"""


def _note_outcomes(conn: Connection, target: Target, job: OpenJob, rows: str) -> None:
    execute(
        conn,
        f"""
        update target_job_entries j set outcome = r.outcome, code = r.code, field = r.field, detail = r.detail
        from {_ROWS} where j.shop_id = %(shop)s and j.job_id = %(job)s and j.position = r.position
            and j.outcome is null
        """,
        shop=target.shop_id,
        job=job.id,
        rows=rows,
    )


def _tell_entries(conn: Connection, target: Target, job: OpenJob, rows: str, now: datetime, *, is_lost: bool) -> None:
    """What each entry is from now on. One whose id was there already, or not any more, has failed as well, and so has
    one of which nobody can say what became of it until a read proves otherwise: should it go back and forth, it ends
    with a person.

    What is read back is read at once, and rests after that (core.targets.checking)."""
    execute(
        conn,
        f"""
        update target_entries e set
            open_job_id = null,
            is_known = case r.next when 'confirmed' then true when 'create' then false
                else e.is_known end,
            -- Of what cannot be read nobody can say then whether it is as it was, or as it was to be.
            confirmed_hash = case when r.next = 'confirmed' then j.hash when r.next = 'create' then null
                when r.outcome = 'unknown' and %(verb)s = 'update' then null else e.confirmed_hash end,
            linked_ids = case when %(verb)s = 'delete' then e.linked_ids when r.next = 'confirmed' then
                case when %(verb)s = 'update' and e.kind = 'variant' then e.linked_ids else j.linked_ids end
                when r.outcome = 'unknown' and %(verb)s = 'create' then j.linked_ids else e.linked_ids end,
            to_check = r.next = 'check',
            confirmed_at = case r.next when 'confirmed' then %(now)s else e.confirmed_at end,
            absent_at = case when r.next = 'confirmed' then null else e.absent_at end,
            failures = case when r.outcome in ('failed', 'unknown') then e.failures + 1 when r.outcome = 'ok' then 0
                else e.failures end,
            is_held = n.is_counted and e.failures + 1 >= %(tries)s,
            -- What cannot be told by its content stays so, whatever became of what was told before.
            problem_kind = case when e.problem_kind = 'content' then 'content' when n.is_refused then 'refused'
                when r.outcome = 'unknown' then e.problem_kind end,
            problem_code = case when e.problem_kind = 'content' then e.problem_code
                when n.is_refused then coalesce(nullif(r.code, ''), 'refused')
                when r.outcome = 'unknown' then e.problem_code end,
            problem = case when e.problem_kind = 'content' then e.problem
                when n.is_refused then coalesce(nullif(r.detail, ''), 'the target did not take it and did not say why')
                when r.outcome = 'unknown' then e.problem end,
            next_at = case when r.next = 'failed' or (r.outcome = 'failed' and r.next <> 'check' and e.failures > 0)
                then %(now)s + (%(rests)b::interval[])[least(e.failures + 1, cardinality(%(rests)b::interval[]))]
                else %(now)s end
        from {_ROWS}
        join target_job_entries j on j.shop_id = %(shop)s and j.job_id = %(job)s and j.position = r.position
        join target_entries was on was.shop_id = %(shop)s and was.id = r.entry_id
        -- One that is only there already, or not any more, is no failure to be shown, the first time.
        cross join lateral (select r.outcome in ('failed', 'unknown') and not %(lost)s as is_counted) c
        cross join lateral (select c.is_counted, r.outcome in ('failed', 'unknown')
            and (r.next = 'failed' or was.failures > 0) as is_refused) n
        where e.shop_id = %(shop)s and e.id = r.entry_id and e.open_job_id = %(job)s
        """,
        shop=target.shop_id,
        job=job.id,
        verb=job.verb,
        rows=rows,
        tries=rules.TRIES_MAX,
        rests=rules.rests(target.factor),
        # Where a request did not come through that says nothing of what was in it.
        lost=is_lost,
        now=now,
    )
    if job.kind == "item" and job.verb != "delete":
        _let_variants_go(conn, target, job, now)


def _let_variants_go(conn: Connection, target: Target, job: OpenJob, now: datetime) -> None:
    """Variants of items that are there now need not wait any more; of items that are not, they do."""
    items = fetch(
        conn,
        """
        select i.entity_id, i.is_known from target_job_entries j
        join target_entries i on i.shop_id = j.shop_id and i.id = j.entry_id
        where j.shop_id = %(shop)s and j.job_id = %(job)s
        """,
        shop=target.shop_id,
        job=job.id,
    )
    let_wait(conn, target, [row["entity_id"] for row in items if row["is_known"]], now, waits=False)
    let_wait(conn, target, [row["entity_id"] for row in items if not row["is_known"]], now, waits=True)


def let_wait(conn: Connection, target: Target, product_ids: Sequence[int], now: datetime, *, waits: bool) -> None:
    """Whether the variants of some products wait for them."""
    if not product_ids:
        return
    # By a list, and not by a join: what the tables hold changes faster than the server counts it.
    execute(
        conn,
        """
        with changed as materialized (
            select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and parent_id = any(%(ids)b::int8[]) and waits <> %(waits)s
            order by id for no key update
        )
        update target_entries v set waits = %(waits)s, next_at = least(v.next_at, %(now)s) from changed
        where v.shop_id = %(shop)s and v.id = changed.id
        """,
        **_of(target),
        ids=list(product_ids),
        waits=waits,
        now=now,
    )


def _doubt_links(
    conn: Connection, target: Target, told: Sequence[EntryOutcome], open_ones: dict[int, Any], now: datetime
) -> None:
    """What an entry is linked with and the target says it does not know is read back: it may be gone there."""
    doubted = set()
    for one in told:
        linked = open_ones[one.position]["linked_ids"] if one.position in open_ones else []
        if one.doubted is not None and one.doubted_place < len(linked):
            doubted.add((one.doubted, linked[one.doubted_place]))
    if not doubted:
        return
    ordered = sorted(doubted)
    execute(
        conn,
        """
        with told as materialized (
            select e.id from target_entries e
            join unnest(%(kinds)b::text[], %(ids)b::int8[]) as n (kind, entity_id)
                on n.kind = e.kind and n.entity_id = e.entity_id
            where e.shop_id = %(shop)s and e.connection_id = %(connection)s and e.is_known and e.open_job_id is null
            order by e.id for no key update of e
        )
        update target_entries e set to_check = true, next_at = %(now)s from told
        where e.shop_id = %(shop)s and e.id = told.id
        """,
        **_of(target),
        kinds=[kind for kind, _ in ordered],
        ids=[entity_id for _, entity_id in ordered],
        now=now,
    )


def _of(target: Target) -> dict[str, int]:
    return {"shop": target.shop_id, "connection": target.connection_id}
