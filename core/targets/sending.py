"""Jobs as rows: put together, marked, handed in; and what is left of whoever died meanwhile.

A job is a row, with its entries in the order in which they are sent, before anything leaves. Its life:

    planned -> sent (from here on it may have left) -> queued -> processing -> complete, cancelled (by the target)
       |         |-> lost (no reply came) -> queued again where it is found, else it ends as lost
       '---------'-> cancelled (it surely never left: its entries are planned again)

An id is in one job at a time. One that was never marked did surely not leave; of one that was marked without a reply
the target itself is asked (core.targets.seeking), and it is never handed in again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from core.catalogue_target import Kind, TargetEntry, Verb
from core.connections import switches
from core.db import execute, fetch, fetch_one, scalar
from core.targets import contents, rules
from core.targets.contents import Made, Target

JOBS_MARGIN = 20
"""So many fewer jobs are in progress than the target allows: others write to the account as well."""

LEFT_BEHIND = timedelta(minutes=3)
"""Of our time: longer than any call and any lock of a lane. What was begun before that is nobody's any more."""

CANNOT_YET = timedelta(minutes=1)
"""When to look again at an entry that is about to be planned otherwise."""

WHOLE_JOB = "JOB_REFUSED"
"""The code of what failed because the target refused a whole job: each of it is tried alone then."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may have, as the target says; `size_of` tells the bytes of an entry."""

    entries_max: int
    bytes_max: int
    jobs_max: int
    size_of: Callable[[Kind, Verb, TargetEntry], int]


@dataclass(frozen=True, slots=True)
class Planned:
    """A job that was put together; `entries` in the order in which they are to be sent."""

    job_id: int
    kind: Kind
    verb: Verb
    entries: Sequence[TargetEntry]


# What an entry hangs on: an item on its categories, where they are still to come; what goes, on what was told with it.
_READY = {
    ("item", "create"): "categories",
    ("item", "update"): "categories",
    ("item", "delete"): """not exists (
        select from target_entries v where v.shop_id = e.shop_id and v.connection_id = e.connection_id
            and v.kind = 'variant' and v.is_known and v.linked_ids[1] = e.entity_id
            -- One that waits for a person goes with it, and is read back then (core.targets.checking).
            and v.state <> 'held')""",
    ("category", "delete"): """not exists (
        select from target_entries i where i.shop_id = e.shop_id and i.connection_id = e.connection_id
            and i.kind = 'item' and i.is_known and i.linked_ids @> array[e.entity_id]
            -- One that is told nothing may never leave it: the link goes with the category (core.targets.checking).
            and (i.open_job_id is not null or not (i.is_held or coalesce(i.problem_kind = 'content', false))))""",
}
_CATEGORIES_ARE_THERE = """not exists (
    select from product_categories p join target_entries k on k.shop_id = p.shop_id
        and k.connection_id = e.connection_id and k.kind = 'category' and k.entity_id = p.category_id
    where p.shop_id = e.shop_id and p.product_id = e.entity_id and not k.is_known and not k.is_held)"""


def is_any_due(conn: Connection, target: Target, kind: Kind, verb: Verb, now: datetime) -> bool:
    """Whether any entry waits for that, be it ready or not: a look that costs next to nothing."""
    return bool(
        scalar(
            conn,
            """
            select exists (select from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and work = %(verb)s and kind = %(kind)s and next_at <= %(now)s)
            """,
            **_of(target),
            verb=verb,
            kind=kind,
            now=now,
        )
    )


def plan_job(
    conn: Connection, target: Target, kind: Kind, verb: Verb, limits: Limits, seat: int, now: datetime
) -> Planned | None:
    """Put a job together of what is due; None where nothing is, or nothing may leave now.

    Contents are made now, and the job keeps their hashes: what was planned since it was looked at last goes along.
    """
    if _in_progress(conn, target) >= limits.jobs_max - JOBS_MARGIN:
        return None
    rows = _claim(conn, target, kind, verb, limits.entries_max, now)
    if not rows:
        return None
    made = {} if verb == "delete" else contents.of_entities(conn, target, kind, [row["entity_id"] for row in rows])
    chosen, size = _fitting(rows, made, kind, verb, limits)
    _pass_over(conn, target, rows, {row["id"] for row, _ in chosen}, made, now)
    if not chosen:
        return None
    job_id = _insert(conn, target, kind, verb, seat, [row["id"] for row, _ in chosen], size, made_of(chosen, made), now)
    return Planned(job_id, kind, verb, [entry for _, entry in chosen])


def _in_progress(conn: Connection, target: Target) -> int:
    return int(
        scalar(
            conn,
            """
            select count(*) from target_jobs
            where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null
            """,
            **_of(target),
        )
    )


def _claim(conn: Connection, target: Target, kind: Kind, verb: Verb, limit: int, now: datetime) -> list[Any]:
    """Those that are due, locked; one that made the target refuse a whole job comes alone."""
    ready = _READY.get((kind, verb), "true")
    if ready == "categories":
        ready = _CATEGORIES_ARE_THERE if _categories_to_come(conn, target) else "true"
    rows = fetch(
        conn,
        f"""
        select e.id, e.entity_id, e.external_id, e.parent_id, e.confirmed_hash, e.problem_code from target_entries e
        where e.shop_id = %(shop)s and e.connection_id = %(connection)s and e.work = %(verb)s and e.kind = %(kind)s
            and e.next_at <= %(now)s and {ready}
        order by e.next_at, e.id limit %(limit)s for no key update of e skip locked
        """,
        **_of(target),
        verb=verb,
        kind=kind,
        now=now,
        limit=limit,
    )
    alone = [row for row in rows if row["problem_code"] == WHOLE_JOB]
    return list(alone[:1] or rows)


def _categories_to_come(conn: Connection, target: Target) -> bool:
    return bool(
        scalar(
            conn,
            """
            select exists (select from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and kind = 'category' and desired_hash is not null and not is_known and not is_held)
            """,
            **_of(target),
        )
    )


def _fitting(
    rows: Sequence[Any], made: dict[int, Made], kind: Kind, verb: Verb, limits: Limits
) -> tuple[list[tuple[Any, TargetEntry]], int]:
    """As many as go into one job, by number and by size; what cannot be told now, or was told already, is left out."""
    chosen: list[tuple[Any, TargetEntry]] = []
    size = 0
    for row in rows:
        one = made.get(row["entity_id"])
        if verb != "delete" and (one is None or one.content is None or _is_told(row, one, verb)):
            continue
        entry = TargetEntry(row["external_id"], None if one is None else one.content)
        size_of_it = limits.size_of(kind, verb, entry)
        if chosen and size + size_of_it > limits.bytes_max:
            break
        chosen.append((row, entry))
        size += size_of_it
    return chosen, size


def _is_told(row: Any, one: Made, verb: Verb) -> bool:
    return verb == "update" and row["confirmed_hash"] == one.hash


def _pass_over(
    conn: Connection, target: Target, rows: Sequence[Any], chosen: set[int], made: dict[int, Made], now: datetime
) -> None:
    """What changed back is in step; what is gone, or cannot be told any more, is about to be planned so."""
    told = [row for row in rows if row["entity_id"] in made and row["confirmed_hash"] == made[row["entity_id"]].hash]
    execute(
        conn,
        """
        update target_entries set desired_hash = confirmed_hash
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and confirmed_hash is not null
        """,
        shop=target.shop_id,
        ids=[row["id"] for row in told if row["id"] not in chosen],
    )
    lost = [row["id"] for row in rows if row["id"] not in chosen and _cannot(made.get(row["entity_id"]))]
    execute(
        conn,
        "update target_entries set next_at = %(at)s where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=target.shop_id,
        ids=lost,
        at=now + CANNOT_YET / target.factor,
    )


def _cannot(one: Made | None) -> bool:
    return one is None or one.content is None


def made_of(chosen: Sequence[tuple[Any, TargetEntry]], made: dict[int, Made]) -> list[tuple[str | None, str]]:
    """(hash, what it is linked with as an array's text) of each entry of a job."""
    found = []
    for row, _ in chosen:
        one = made.get(row["entity_id"])
        linked = () if one is None else one.linked
        found.append((None if one is None else one.hash, "{" + ",".join(map(str, linked)) + "}"))
    return found


def _insert(
    conn: Connection,
    target: Target,
    kind: Kind,
    verb: Verb,
    seat: int,
    ids: Sequence[int],
    size: int,
    said: Sequence[tuple[str | None, str]],
    now: datetime,
) -> int:
    job_id = int(
        scalar(
            conn,
            """
            insert into target_jobs (shop_id, connection_id, kind, verb, seat, entries, bytes, planned_at)
            values (%(shop)s, %(connection)s, %(kind)s, %(verb)s, %(seat)s, %(entries)s, %(bytes)s, %(now)s)
            returning id
            """,
            **_of(target),
            kind=kind,
            verb=verb,
            seat=seat,
            entries=len(ids),
            bytes=size,
            now=now,
        )
    )
    execute(
        conn,
        """
        insert into target_job_entries (shop_id, job_id, position, entry_id, hash, linked_ids)
        select %(shop)s, %(job)s, n.place - 1, n.id, n.hash, n.linked::int8[]
        from unnest(%(ids)b::int8[], %(hashes)b::text[], %(linked)b::text[]) with ordinality
            as n (id, hash, linked, place)
        """,
        shop=target.shop_id,
        job=job_id,
        ids=list(ids),
        hashes=[one for one, _ in said],
        linked=[one for _, one in said],
    )
    execute(
        conn,
        "update target_entries set open_job_id = %(job)s where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=target.shop_id,
        job=job_id,
        ids=list(ids),
    )
    return job_id


def mark_sent(conn: Connection, target: Target, job_id: int, now: datetime) -> bool:
    """Claim a job for sending, just before it leaves; False where it was withdrawn, or nothing may be written."""
    # Before every row, as whoever sends.
    switches.pass_gate(conn, target.shop_id)
    if not switches.may_write(conn, target.shop_id, target.connection_id):
        return False
    changed = execute(
        conn,
        """
        update target_jobs set state = 'sent', sent_at = %(now)s, next_poll_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and state = 'planned'
        """,
        shop=target.shop_id,
        id=job_id,
        now=now,
    )
    return changed == 1


def note_ref(conn: Connection, target: Target, job_id: int, ref: str, look_at: datetime) -> bool:
    """The target has it, under this id; it is looked at then. False where that is known already, it has ended, or the
    id is another job's."""
    try:
        with conn.begin_nested():
            changed = execute(
                conn,
                """
                update target_jobs set ref = %(ref)s, state = 'queued', next_poll_at = %(look)s, reason = null
                where shop_id = %(shop)s and id = %(id)s and ref is null and ended_at is null
                    and state in ('sent', 'lost')
                """,
                shop=target.shop_id,
                id=job_id,
                ref=ref,
                look=look_at,
            )
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        return False
    return changed == 1


def note_lost(conn: Connection, target: Target, job_id: int, why: str, look_at: datetime) -> None:
    """Nobody knows whether the target has it: it is looked for."""
    execute(
        conn,
        """
        update target_jobs set state = 'lost', reason = %(why)s, next_poll_at = %(look)s
        where shop_id = %(shop)s and id = %(id)s and state = 'sent'
        """,
        shop=target.shop_id,
        id=job_id,
        why=why[:500],
        look=look_at,
    )


def withdraw(
    conn: Connection, target: Target, job_id: int, why: str, now: datetime, again_at: datetime | None = None
) -> bool:
    """End a job that surely never left: its entries are planned again, not before `again_at`. False where it had ended,
    or its fate is known otherwise."""
    entries = fetch(
        conn,
        """
        select e.id from target_entries e where e.shop_id = %(shop)s and e.open_job_id = %(job)s
        order by e.id for no key update
        """,
        shop=target.shop_id,
        job=job_id,
    )
    changed = execute(
        conn,
        """
        update target_jobs set state = 'cancelled', ended_at = %(now)s, reason = %(why)s
        where shop_id = %(shop)s and id = %(id)s and state in ('planned', 'sent')
        """,
        shop=target.shop_id,
        id=job_id,
        why=why[:500],
        now=now,
    )
    if not changed:
        return False
    execute(
        conn,
        """
        update target_job_entries set outcome = 'unsent'
        where shop_id = %(shop)s and job_id = %(job)s and outcome is null
        """,
        shop=target.shop_id,
        job=job_id,
    )
    execute(
        conn,
        """
        update target_entries set open_job_id = null, next_at = greatest(next_at, %(at)s)
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and open_job_id = %(job)s
        """,
        shop=target.shop_id,
        job=job_id,
        ids=[row["id"] for row in entries],
        at=again_at or now,
    )
    return True


def recover(conn: Connection, target: Target, seat: int, now: datetime) -> dict[str, int]:
    """End or doubt what a sender that is gone had begun; for the holder of the seat's lane, who is the only one there.

    Of the other seats what is older than any sender lives.
    """
    rows = fetch(
        conn,
        """
        select id, state from target_jobs
        where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null
            and state in ('planned', 'sent')
            and (seat = %(seat)s or coalesce(sent_at, planned_at) < %(before)s)
        order by id
        """,
        **_of(target),
        seat=seat,
        before=now - LEFT_BEHIND,
    )
    counts = {"withdrawn": 0, "doubted": 0}
    for row in rows:
        if row["state"] == "planned":
            counts["withdrawn"] += withdraw(conn, target, row["id"], "its sender died before it left", now)
        else:
            note_lost(conn, target, row["id"], "its sender died before it knew of an answer", now)
            counts["doubted"] += 1
    return counts


def entries_of(conn: Connection, shop_id: int, job_id: int) -> list[Any]:
    """The entries of a job that are not told yet, in the order in which they were sent."""
    return list(
        fetch(
            conn,
            """
            select j.position, j.entry_id, j.hash, j.linked_ids, e.external_id from target_job_entries j
            join target_entries e on e.shop_id = j.shop_id and e.id = j.entry_id
            where j.shop_id = %(shop)s and j.job_id = %(job)s and j.outcome is null order by j.position
            """,
            shop=shop_id,
            job=job_id,
        )
    )


def first_look_at(target: Target, kind: Kind, now: datetime) -> datetime:
    """When a job that was handed in now is first looked at."""
    return now + rules.first_look(kind, target.factor)


def state_of(conn: Connection, shop_id: int, job_id: int) -> str | None:
    """How a job stands; None where there is none of that number."""
    row = fetch_one(
        conn, "select state from target_jobs where shop_id = %(shop)s and id = %(id)s", shop=shop_id, id=job_id
    )
    return None if row is None else str(row["state"])


def _of(target: Target) -> dict[str, int]:
    return {"shop": target.shop_id, "connection": target.connection_id}
