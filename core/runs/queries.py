"""Reads: what ran, what runs, what waits to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one


def latest_job_runs(conn: Connection, limit: int = 50, outcome: str | None = None) -> Sequence[RowMapping]:
    """The latest runs of jobs, newest first; `outcome` picks finished, failed or abandoned ones."""
    return fetch(
        conn,
        """
        select id, job_ref, function, arguments, queue, worker, attempt, started_at, ended_at, outcome, result, error,
            fingerprint, extract(epoch from ended_at - started_at)::float8 as seconds
        from job_runs where %(outcome)s::text is null or outcome = %(outcome)s
        order by started_at desc, id desc limit %(limit)s
        """,
        outcome=outcome,
        limit=limit,
    )


def failures_by_cause(conn: Connection, since: datetime, limit: int = 20) -> Sequence[RowMapping]:
    """Failed and abandoned runs since then, grouped by fingerprint, most frequent first."""
    return fetch(
        conn,
        """
        select coalesce(fingerprint, outcome) as fingerprint, function, count(*) as runs,
            max(started_at) as last_at, (array_agg(error order by started_at desc))[1] as error
        from job_runs where started_at >= %(since)s and outcome in ('failed', 'abandoned')
        group by 1, 2 order by runs desc, last_at desc limit %(limit)s
        """,
        since=since,
        limit=limit,
    )


def open_job_runs(conn: Connection) -> Sequence[RowMapping]:
    """Runs that have not ended, oldest first."""
    return fetch(
        conn,
        """
        select id, job_ref, function, arguments, queue, worker, attempt, started_at
        from job_runs where outcome is null order by started_at, id
        """,
    )


_SYNC_COLUMNS = """id, shop_id, connection_id, kind, trigger, requested_by, reason, state, step, done, total, counts,
    attempts, requested_at, started_at, heartbeat_at, ended_at, error, retry_of, cancel_asked_at, cancel_asked_by,
    cancel_reason"""


def sync_run(conn: Connection, shop_id: int, run_id: int) -> RowMapping | None:
    """One sync run."""
    return fetch_one(
        conn,
        f"select {_SYNC_COLUMNS} from sync_runs where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=run_id,
    )


def latest_sync_runs(
    conn: Connection, shop_id: int, connection_id: int | None = None, limit: int = 20
) -> Sequence[RowMapping]:
    """The latest sync runs of a shop or of one connection, newest first."""
    return fetch(
        conn,
        f"""
        select {_SYNC_COLUMNS} from sync_runs
        where shop_id = %(shop)s and (%(connection)s::int8 is null or connection_id = %(connection)s)
        order by id desc limit %(limit)s
        """,
        shop=shop_id,
        connection=connection_id,
        limit=limit,
    )


def open_sync(conn: Connection, shop_id: int, connection_id: int, kind: str) -> RowMapping | None:
    """The sync of that kind that is queued or running, if any."""
    return fetch_one(
        conn,
        f"""
        select {_SYNC_COLUMNS} from sync_runs
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
            and state in ('queued', 'running')
        """,
        shop=shop_id,
        connection=connection_id,
        kind=kind,
    )


RUN_JOBS: Mapping[str, str] = {
    "sync_connection": "connection.sync",
    "test_connection": "connection.test",
    "poll_orders": "connection.poll",
    "read_notices": "notices.read",
    "check_subscriptions": "connection.subscriptions",
    "read_external": "connection.external",
    "reconcile_stock": "reconcile.stock",
    "reconcile_orders": "reconcile.orders",
}
"""By the kind of a sync run that can be asked for: the job that does it."""


def was_sync_asked_for(conn: Connection, shop_id: int, connection_id: int, since: datetime) -> bool:
    """Whether a sync of the connection is open, or was asked for since then."""
    rows = fetch(
        conn,
        """
        select 1 from sync_runs where shop_id = %(shop)s and connection_id = %(id)s and kind = 'sync_connection'
            and (state in ('queued', 'running') or requested_at > %(since)s)
        limit 1
        """,
        shop=shop_id,
        id=connection_id,
        since=since,
    )
    return bool(rows)


def waiting_syncs(conn: Connection, before: datetime) -> Sequence[RowMapping]:
    """Syncs still queued that were asked for, or last heard of, before then: their job is to be queued again."""
    return fetch(
        conn,
        """
        select shop_id, id, connection_id, kind from sync_runs
        where state = 'queued' and coalesce(heartbeat_at, requested_at) < %(before)s order by shop_id, id
        """,
        before=before,
    )


def last_periods(conn: Connection) -> Sequence[RowMapping]:
    """The latest period of every schedule, and whether it is paused."""
    return fetch(
        conn,
        """
        select distinct on (r.name) r.name, r.period, r.started_at, r.ended_at, r.outcome, r.result,
            coalesce(s.is_paused, false) as is_paused, s.changed_by, s.changed_at
        from schedule_runs r left join schedules s using (name)
        order by r.name, r.started_at desc
        """,
    )


def paused_schedules(conn: Connection) -> set[str]:
    """Names of the schedules that are not to ring."""
    return {row["name"] for row in fetch(conn, "select name from schedules where is_paused")}


class ShopZone(NamedTuple):
    """What decides on the business days of a shop."""

    shop_id: int
    time_zone: str
    since: datetime


def shop_zones(conn: Connection) -> Sequence[ShopZone]:
    """Every shop with its time zone and since when it exists, for what happens once per business day."""
    return [
        ShopZone(row["shop_id"], row["time_zone"], row["created_at"])
        for row in fetch(conn, "select shop_id, time_zone, created_at from shops order by shop_id")
    ]
