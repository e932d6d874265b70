"""Turns of schedules: what a person asks for, pauses and resumes, and what is noted of turns that did not run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.runs import operations
from core.runs.schedules import SCHEDULES, Schedule

CLOCK_AHEAD = timedelta(minutes=5)
"""A turn that began this far in the future was begun by a clock that was wrong: it does not count."""

# Of an interval: rings drift a little, so that one turn now and then falls between two.
_MISSED_FROM = 2.5


class NothingToChange(Anticipated):
    """It is paused, or runs, already."""


def named(name: str) -> Schedule:
    """The line of the table. Raises BadInput."""
    for schedule in SCHEDULES:
        if schedule.name == name:
            return schedule
    raise BadInput(f"no schedule is named {name!r}: the screen Schedules lists them")


def pause(conn: Connection, shop_id: int, name: str, actor: Actor, now: datetime) -> None:
    """Have a schedule run no more until somebody resumes it; a turn at work is let finish.

    Raises BadInput for an unknown name, NothingToChange.
    """
    _switch(conn, shop_id, name, actor, now, is_paused=True)


def resume(conn: Connection, shop_id: int, name: str, actor: Actor, now: datetime) -> None:
    """Have a paused schedule run again. Raises BadInput for an unknown name, NothingToChange."""
    _switch(conn, shop_id, name, actor, now, is_paused=False)


def _switch(conn: Connection, shop_id: int, name: str, actor: Actor, now: datetime, *, is_paused: bool) -> None:
    named(name)
    execute(conn, "select pg_advisory_xact_lock(hashtextextended(%(key)s, 0))", key=f"switch:{name}")
    was = scalar(conn, "select is_paused from schedules where name = %(name)s", name=name)
    if bool(was) is is_paused:
        raise NothingToChange(f"{name} {'is paused' if is_paused else 'runs'} already")
    operations.pause_schedule(conn, name, is_paused, actor, now)
    act = "pause_schedule" if is_paused else "resume_schedule"
    audit.record(conn, shop_id, actor, act, f"schedule:{name}", now)


def request_run(conn: Connection, shop_id: int, name: str, actor: Actor, now: datetime) -> int:
    """Ask for a turn now, beside those of the clock; returns the request, or the one that waits already.

    It takes a period of its own: it neither uses up the clock's turn nor is held up by one that was taken. It waits
    while a turn is at work. Raises BadInput for an unknown name.
    """
    named(name)
    created = scalar(
        conn,
        """
        insert into schedule_requests (shop_id, name, requested_by, reason, requested_at)
        values (%(shop)s, %(name)s, %(by)s, %(why)s, %(now)s)
        on conflict (shop_id, name) where begun_at is null do nothing returning id
        """,
        shop=shop_id,
        name=name,
        by=actor.name,
        why=actor.reason,
        now=now,
    )
    if created is None:
        found = scalar(
            conn,
            "select id from schedule_requests where shop_id = %(shop)s and name = %(name)s and begun_at is null",
            shop=shop_id,
            name=name,
        )
        # It began between the two statements: there is room for ours.
        return int(found) if found is not None else request_run(conn, shop_id, name, actor, now)
    audit.record(conn, shop_id, actor, "run_schedule", f"schedule:{name}", now, request_id=created)
    return int(created)


def waiting_requests(conn: Connection, name: str | None = None) -> Sequence[RowMapping]:
    """Turns that people asked for and that have not begun, oldest first: of one schedule, or of all."""
    return fetch(
        conn,
        """
        select shop_id, id, name, requested_by, reason, requested_at from schedule_requests
        where begun_at is null and (%(name)s::text is null or name = %(name)s) order by requested_at, shop_id, id
        """,
        name=name,
    )


def begin_request(conn: Connection, shop_id: int, request_id: int, period: str, now: datetime) -> bool:
    """Begin the turn that was asked for, under a period of its own; False where it has begun already."""
    row = fetch_one(
        conn,
        """
        update schedule_requests set begun_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and begun_at is null returning name, requested_by, reason
        """,
        shop=shop_id,
        id=request_id,
        now=now,
    )
    if row is None:
        return False
    execute(
        conn,
        """
        insert into schedule_runs (name, period, started_at, due_at, trigger, requested_by, reason)
        values (%(name)s, %(period)s, %(now)s, %(now)s, 'click', %(requested_by)s, %(reason)s)
        """,
        period=period,
        now=now,
        **row,
    )
    return True


def is_over(conn: Connection, name: str, period: str, now: datetime) -> bool:
    """Whether that turn is done with, so that nobody need try for it."""
    return bool(
        scalar(
            conn,
            """
            select 1 from schedule_runs where name = %(name)s and period = %(period)s and outcome = 'finished'
                and started_at <= %(latest)s
            """,
            name=name,
            period=period,
            latest=now + CLOCK_AHEAD,
        )
    )


def skip(conn: Connection, name: str, period: str, due_at: datetime, now: datetime) -> None:
    """Note that a turn did not start because the former one was still at work. One that began is left as it is."""
    execute(
        conn,
        """
        insert into schedule_runs (name, period, started_at, ended_at, due_at, outcome, result)
        select %(name)s, %(period)s, %(now)s, %(now)s, %(due)s, 'skipped', jsonb_build_object('at_work', (
            select o.period from schedule_runs o
            where o.name = %(name)s and o.outcome is null order by o.started_at desc limit 1))
        where not exists (select from schedules p where p.name = %(name)s and p.is_paused)
        on conflict (name, period) do nothing
        """,
        name=name,
        period=period,
        due=due_at,
        now=now,
    )


def settle_dead(conn: Connection, name: str, scope: str, now: datetime) -> int:
    """Close turns that died: called by whoever holds the schedule's lock, so that nobody can be at work on one.

    `scope` is the end of the periods that the lock is for (`:shop:7`), or empty. Returns how many there were.
    """
    return execute(
        conn,
        """
        update schedule_runs set ended_at = %(now)s, outcome = 'failed', result = '{"died": true}'
        where name = %(name)s and outcome is null
            and coalesce(substring(period from ':shop:[0-9]+$'), '') = %(scope)s
        """,
        name=name,
        scope=scope,
        now=now,
    )


def missed(conn: Connection, schedule: Schedule, scope: str, due_at: datetime, now: datetime) -> int:
    """How many turns of the clock before the one due at `due_at` nobody ran, since the last that began.

    None is missed before the first, nor while the schedule was paused.
    """
    row = fetch_one(
        conn,
        """
        select r.started_at, r.due_at from schedule_runs r left join schedules s on s.name = r.name
        where r.name = %(name)s and r.trigger = 'schedule' and r.outcome is distinct from 'skipped'
            and r.started_at < %(now)s and (%(scope)s = '' or r.period like '%%' || %(scope)s)
            and (s.changed_at is null or s.changed_at < r.started_at)
        order by r.started_at desc limit 1
        """,
        name=schedule.name,
        scope=scope,
        now=now,
    )
    if row is None:
        return 0
    every = timedelta(seconds=schedule.every_seconds or 86_400)
    if schedule.every_seconds is not None and now - row["started_at"] < _MISSED_FROM * every:
        return 0
    since = row["due_at"] or row["started_at"]
    # Days of 23 and 25 hours count as days.
    turns = round((due_at - since) / every) if schedule.every_seconds is None else (due_at - since) // every
    return max(turns - 1, 0)
