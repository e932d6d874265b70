"""Reads: what ran, what runs, what waits to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one

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


RUN_JOBS: Mapping[str, str] = {
    "sync_connection": "connection.sync",
    "test_connection": "connection.test",
    "poll_orders": "connection.poll",
    "read_notices": "notices.read",
    "check_subscriptions": "connection.subscriptions",
    "read_external": "connection.external",
    "read_products": "products.read",
    "push_products": "products.push",
    "reconcile_stock": "reconcile.stock",
    "reconcile_orders": "reconcile.orders",
    "sync_target": "targets.full",
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


def last_turns(conn: Connection, shop_id: int, names: Sequence[str]) -> Mapping[str, RowMapping]:
    """By the name of a schedule: its latest turn for that shop, skipped ones left out; none where it never ran."""
    rows = fetch(
        conn,
        """
        select n.name, last.started_at, last.ended_at, last.outcome from unnest(%(names)b::text[]) n(name)
        cross join lateral (
            select started_at, ended_at, outcome from schedule_periods t
            where t.shop_id = %(shop)s and t.name = n.name and t.outcome is distinct from 'skipped'
            order by t.started_at desc limit 1
        ) last
        """,
        shop=shop_id,
        names=list(names),
    )
    return {row["name"]: row for row in rows}


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
