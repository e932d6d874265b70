"""What a person does about failures: have them done again at a pace, stop that, or give them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.recovery.choosing import MEANT, Check, Chosen, claim, parameters
from core.recovery.pacing import asked_for
from core.recovery.preview import Plan, plan
from core.recovery.works import WORK_KEY, arrays, moot_runs
from core.runs import failures as job_failures

NAME_CHARACTERS_MAX = 120
_LISTED_MAX = 50


class NothingToDo(Anticipated):
    """Of what was chosen nothing is to be begun: it is done already, or being done."""

    def __init__(self) -> None:
        super().__init__("Nothing was queued: a later run did the work, or a recovery is at it already. Look again.")


class NotRunning(Anticipated):
    """The recovery has ended, or was cancelled."""

    def __init__(self, recovery_id: int) -> None:
        super().__init__(f"Recovery {recovery_id} has ended or was cancelled already: nothing was changed.")


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What a discard did: how many failures, and the failed jobs' ids in the broker."""

    items: int
    job_refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Requeued:
    """What a requeue did: the recovery (None where there was only something to close), its failures, pieces of work and
    pace; how many failures it closed as moot, and the ids in the broker of jobs that are settled by that."""

    recovery_id: int | None
    items: int
    works: int
    per_minute: float
    closed: int
    job_refs: tuple[str, ...]


def requeue(
    conn: Connection,
    shop_id: int,
    chosen: Chosen,
    token: str,
    actor: Actor,
    now: datetime,
    check: Check,
    *,
    name: str | None = None,
    per_minute: float | None = None,
) -> Requeued:
    """Promise to do the chosen failures' work again, once, at a pace.

    It begins when `releasing.release` comes by: ring the job `runs.recover` after the commit. What a later run made
    moot is closed, and what another recovery is at is left out. Raises FactsChanged when the failures are not those of
    the token, NothingToDo, BadInput for a pace that is none, a name too long, or a job that may not be queued.
    """
    title = _named(name, chosen, actor)
    pace = asked_for(per_minute)
    meant = parameters(conn, shop_id, chosen)
    # Runs before their failures, as whoever settles one does; and only those that are about to be closed.
    moot = moot_runs(conn, meant, lock=True)
    items = claim(conn, meant, token)
    closed, job_refs = job_failures.close_superseded(conn, now, moot) if moot else (0, [])
    planned = plan(conn, shop_id, meant, check, now, pace)
    if planned.seen.works == 0 and not closed:
        raise NothingToDo
    if not planned.seen.is_possible and planned.seen.works:
        raise BadInput(f"Nothing was queued: {planned.seen.obstacles[0]}. Discard these failures, with a reason.")
    number: int | None = None
    counted: Mapping[str, int] = {"works": 0, "items": 0}
    if planned.seen.works:
        number, counted = _begin(conn, meant, planned, title, actor, now)
    audit.record(conn, shop_id, actor, "requeue_failures", chosen.subject, now, recovery=number, name=title,
                 chosen=items, items=counted["items"], works=counted["works"], closed=closed,
                 per_minute=planned.seen.per_minute)  # fmt: skip
    return Requeued(
        number, counted["items"], counted["works"], planned.seen.per_minute, closed, tuple(sorted(job_refs))
    )


def cancel_recovery(conn: Connection, shop_id: int, recovery_id: int, actor: Actor, now: datetime) -> int:
    """Begin no more of it: what has not begun is open again. Returns how many pieces of work that is.

    What has begun goes on and is settled. Raises NotRunning.
    """
    found = execute(
        conn,
        """
        update recoveries set state = 'cancelled', cancelled_at = %(now)s, cancelled_by = %(by)s,
            cancelled_reason = %(reason)s
        where shop_id = %(shop)s and id = %(id)s and state = 'running'
        """,
        shop=shop_id,
        id=recovery_id,
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    if not found:
        raise NotRunning(recovery_id)
    _lock_bases(conn, shop_id, "f.recovery_id = %(recovery)s and f.state = 'requeued'", {"recovery": recovery_id})
    works = execute(
        conn,
        """
        update recovery_works set state = 'cancelled', ended_at = %(now)s
        where shop_id = %(shop)s and recovery_id = %(id)s and state = 'waiting'
        """,
        shop=shop_id,
        id=recovery_id,
        now=now,
    )
    execute(
        conn,
        f"""
        update failures f set state = 'open', state_at = %(now)s, recovery_id = null, work_ordinal = null
        where f.shop_id = %(shop)s and f.recovery_id = %(id)s and f.state = 'requeued' and {NOT_BEGUN}
            and (select w.state from recovery_works w where w.shop_id = f.shop_id and w.recovery_id = f.recovery_id
                and w.ordinal = f.work_ordinal) = 'cancelled'
        """,
        shop=shop_id,
        id=recovery_id,
        now=now,
    )
    audit.record(conn, shop_id, actor, "cancel_recovery", f"recovery:{recovery_id}", now, works=works)
    return works


def discard(conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime) -> GivenUp:
    """Give the chosen failures up; they stay on record with who and why. Take the jobs out of the broker's registry.

    Raises FactsChanged when they are not those of the token.
    """
    meant = parameters(conn, shop_id, chosen)
    _lock_bases(conn, shop_id, MEANT, meant)
    items = claim(conn, meant, token)
    said = {"now": now, "by": actor.name, "reason": actor.reason}
    refs = fetch(
        conn,
        f"""
        update job_runs set resolution = 'discarded', resolved_at = %(now)s, resolved_by = %(by)s,
            resolved_reason = %(reason)s
        where resolution is null and id in (select f.item_id from failures f where {MEANT} and f.source = 'job')
        returning job_ref
        """,
        **meant,
        **said,
    )
    for source, table, state in (("message", "inbox_messages", "parked"), ("outbox", "outbox_messages", "dead")):
        execute(
            conn,
            f"""
            update {table} set state = 'discarded', settled_at = %(now)s, discarded_by = %(by)s,
                discarded_reason = %(reason)s
            where shop_id = %(shop)s and state = '{state}' and id in (
                select f.item_id from failures f where {MEANT} and f.source = '{source}')
            """,
            **meant,
            **said,
        )
    audit.record(conn, shop_id, actor, "discard_failures", chosen.subject, now, items=items)
    return GivenUp(items, tuple(sorted({row["job_ref"] for row in refs})))


# Steps ---------------------------------------------------------------------------------------------------------------

NOT_BEGUN = """
    case f.source
        when 'job' then exists (select from job_runs r where r.id = f.item_id and r.resolution is null)
        when 'message' then exists (
            select from inbox_messages m where m.shop_id = f.shop_id and m.id = f.item_id and m.state = 'parked')
        else exists (
            select from outbox_messages o where o.shop_id = f.shop_id and o.id = f.item_id and o.state = 'dead')
    end
"""
"""Whether nobody has done anything yet about what a failure `f` is of."""


def _lock_bases(conn: Connection, shop_id: int, meant: str, values: Mapping[str, Any]) -> None:
    """Lock runs, messages and notices before their failures, as whoever settles one does."""
    for source, rows in (
        ("job", "job_runs r where r.id"),
        ("message", "inbox_messages r where r.shop_id = %(shop)s and r.id"),
        ("outbox", "outbox_messages r where r.shop_id = %(shop)s and r.id"),
    ):
        execute(
            conn,
            f"""
            select from {rows} in (
                select f.item_id from failures f where f.shop_id = %(shop)s and f.source = '{source}' and {meant})
            order by r.id for update
            """,
            **{**values, "shop": shop_id},
        )


def _named(name: str | None, chosen: Chosen, actor: Actor) -> str:
    """The recovery's name. Raises BadInput."""
    title = (name or "").strip() or actor.reason.strip()[:NAME_CHARACTERS_MAX]
    if len(title) > NAME_CHARACTERS_MAX:
        raise BadInput(f"a recovery's name has at most {NAME_CHARACTERS_MAX} characters, not {len(title)}")
    return title or chosen.subject


def _begin(
    conn: Connection, meant: Mapping[str, Any], planned: Plan, title: str, actor: Actor, now: datetime
) -> tuple[int, Mapping[str, int]]:
    """A recovery and its pieces of work; returns its id and counts. Raises NothingToDo."""
    recovery_id: int = scalar(
        conn,
        """
        insert into recoveries (shop_id, name, per_minute, requested_by, reason, requested_at, items, works, paced_at)
        values (%(shop)s, %(name)s, %(pace)s, %(by)s, %(reason)s, %(now)s, 0, 0,
            -- The first may begin at once.
            %(now)s - greatest(interval '15 seconds', interval '1 minute' / %(pace)s)) returning id
        """,
        shop=meant["shop"],
        name=title,
        pace=planned.pace.per_minute,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    _add_jobs(conn, meant["shop"], recovery_id, planned)
    _add_rows(conn, meant, recovery_id, planned)
    _promise(conn, meant, recovery_id)
    counted = _count(conn, meant["shop"], recovery_id)
    if counted["works"] == 0:
        raise NothingToDo
    return recovery_id, counted


def _add_jobs(conn: Connection, shop_id: int, recovery_id: int, planned: Plan) -> None:
    works = planned.jobs
    if not works:
        return
    execute(
        conn,
        f"""
        insert into recovery_works (shop_id, recovery_id, ordinal, source, work_key, item_id, items, function,
            arguments, connection_id, weight)
        select %(shop)s, %(id)s, w.place, 'job', {WORK_KEY}, w.item_id, w.items, w.function, w.arguments::jsonb,
            w.connection_id, w.weight
        from unnest(%(functions)b::text[], %(arguments)b::text[], %(item_ids)b::int8[], %(items)b::int8[],
            %(connections)b::int8[], %(weights)b::float8[])
            with ordinality as w (function, arguments, item_id, items, connection_id, weight, place)
        order by w.place
        on conflict (shop_id, source, work_key) where state in ('waiting', 'released') do nothing
        """,
        shop=shop_id,
        id=recovery_id,
        item_ids=[work.item_id for work in works],
        items=[work.items for work in works],
        connections=[work.connection_id for work in works],
        weights=list(planned.pace.of_jobs),
        **arrays(works),
    )
    # A ring's failures are on record under its own name: from now on they go by the work that makes them good.
    keys = [(place, key) for place, work in enumerate(works, 1) for key in work.keys]
    execute(
        conn,
        """
        update failures f set work_key = w.work_key
        from unnest(%(places)b::int8[], %(keys)b::uuid[]) as k (place, work_key)
        join recovery_works w on w.shop_id = %(shop)s and w.recovery_id = %(id)s and w.ordinal = k.place
        where f.shop_id = %(shop)s and f.source = 'job' and f.state = 'open' and f.work_key = k.work_key
            and f.work_key <> w.work_key
        """,
        shop=shop_id,
        id=recovery_id,
        places=[place for place, _ in keys],
        keys=[key for _, key in keys],
    )


def _add_rows(conn: Connection, meant: Mapping[str, Any], recovery_id: int, planned: Plan) -> None:
    """Messages and notices, each a piece of work, in the order that they failed in."""
    weights = planned.pace.of_rows
    execute(
        conn,
        f"""
        insert into recovery_works (shop_id, recovery_id, ordinal, source, work_key, item_id, items, function,
            connection_id, weight)
        select f.shop_id, %(id)s, %(after)s + row_number() over (order by f.source, f.item_id), f.source, f.work_key,
            f.item_id, 1, k.function, k.connection_id, coalesce(w.weight, 1)
        from failures f join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
        left join unnest(%(sources)b::text[], %(connections)b::int8[], %(weights)b::float8[])
            as w (source, connection_id, weight)
            on w.source = f.source and w.connection_id is not distinct from k.connection_id
        where {MEANT} and f.source <> 'job'
        on conflict (shop_id, source, work_key) where state in ('waiting', 'released') do nothing
        """,
        id=recovery_id,
        after=len(planned.jobs),
        sources=[source for source, _ in weights],
        connections=[connection_id for _, connection_id in weights],
        weights=list(weights.values()),
        **meant,
    )


def _promise(conn: Connection, meant: Mapping[str, Any], recovery_id: int) -> None:
    """The failures that the recovery makes good are its own from now on."""
    execute(
        conn,
        f"""
        update failures f set state = 'requeued', recovery_id = %(id)s, work_ordinal = w.ordinal
        from recovery_works w
        where {MEANT} and w.shop_id = f.shop_id and w.recovery_id = %(id)s and w.source = f.source
            and w.work_key = f.work_key and w.state in ('waiting', 'released')
        """,
        id=recovery_id,
        **meant,
    )


def _count(conn: Connection, shop_id: int, recovery_id: int) -> Mapping[str, int]:
    row = fetch_one(
        conn,
        """
        update recoveries v set works = n.works, items = n.items
        from (select count(*) as works, coalesce(sum(w.items), 0) as items from recovery_works w
              where w.shop_id = %(shop)s and w.recovery_id = %(id)s) n
        where v.shop_id = %(shop)s and v.id = %(id)s returning v.works, v.items
        """,
        shop=shop_id,
        id=recovery_id,
    )
    assert row is not None
    return {"works": row["works"], "items": row["items"]}
