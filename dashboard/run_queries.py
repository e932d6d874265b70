"""Reads of sync runs: how each kind of each connection stands, what runs now, what ran. Bounded whatever there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import streamlit as st

from dashboard.queries import one, rows

Row = Mapping[str, Any]

PAGE = 25
CALLS = 50
STATES = ("queued", "running", "done", "failed", "cancelled")

_COLUMNS = """
    sync_run_id, connection_id, connection, kind, trigger, requested_by, reason, state, step, done, total, counts,
    attempts, requested_at, started_at, heartbeat_at, ended_at, error, is_open, seconds_left, quiet_seconds, per_minute,
    retry_of, cancel_asked_at, cancel_asked_by, cancel_reason, seconds, now() as as_of
"""


class Filter(NamedTuple):
    """What of the ended runs is shown; None does not matter."""

    connection_id: int | None = None
    kind: str | None = None
    state: str | None = None


class Page(NamedTuple):
    """Newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def health(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """One row for each connection and kind that ever ran."""
    return rows(
        """
        select connection_id, connection, switch, kind, last_turn_at, last_success_at, last_work_at, last_failure_at,
            last_failure, last_run_id, last_seconds, empty_turns, failed_turns, now() as as_of
        from sync_health_list where shop_id = %(shop)s order by connection, connection_id, kind
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=15, max_entries=50, show_spinner=False)
def hours(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Turns of the last day by connection, kind, outcome and hour: `ago` 0 is the hour that is now, 23 the first."""
    return rows(
        """
        select connection_id, kind, outcome, sum(turns)::bigint as turns,
            (extract(epoch from date_trunc('hour', now(), 'UTC') - hour_at)::int / 3600) as ago
        from sync_tally_list
        where shop_id = %(shop)s and hour_at > date_trunc('hour', now(), 'UTC') - interval '24 hours'
        group by connection_id, kind, outcome, hour_at
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=60, max_entries=50, show_spinner=False)
def spans(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Turns by connection, kind, outcome and slot: of the last day, and apart from them of the six days before it."""
    return rows(
        """
        select connection_id, kind, outcome, slot, sum(turns)::bigint as turns, is_of_day
        from sync_tally_list
        cross join lateral (select hour_at > date_trunc('hour', now(), 'UTC') - interval '24 hours' as is_of_day) span
        where shop_id = %(shop)s and hour_at > date_trunc('hour', now(), 'UTC') - interval '7 days'
        group by connection_id, kind, outcome, slot, is_of_day
        """,
        shop=shop_id,
    )


def open_runs(shop_id: int) -> list[dict[str, Any]]:
    """Syncs that wait or run, oldest first; not cached: they are looked at every second."""
    return rows(
        f"select {_COLUMNS} from sync_run_list where shop_id = %(shop)s and is_open order by sync_run_id limit 50",
        shop=shop_id,
    )


def run(shop_id: int, run_id: int) -> dict[str, Any] | None:
    """One run as it stands this moment; None where its number has no row."""
    return one(
        f"select {_COLUMNS} from sync_run_list where shop_id = %(shop)s and sync_run_id = %(run)s",
        shop=shop_id,
        run=run_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def ended(shop_id: int, scope: str, chosen: Filter, before: int | None) -> Page:
    """Runs that ended, newest first, older than `before` (a run's number)."""
    # Each choice is text of ours: the planner then walks the index that begins with it.
    conditions = ["shop_id = %(shop)s", "not is_open"]
    if chosen.connection_id is not None:
        conditions.append("connection_id = %(connection)s")
    if chosen.kind is not None:
        conditions.append("kind = %(kind)s")
    if chosen.state in ("failed", "cancelled"):
        conditions.append("state = %(state)s and state in ('failed', 'cancelled')")
    elif chosen.state is not None:
        conditions.append("state = %(state)s")
    if before is not None:
        conditions.append("sync_run_id < %(before)s")
    found = rows(
        f"""
        select {_COLUMNS} from sync_run_list where {" and ".join(conditions)}
        order by sync_run_id desc limit {PAGE + 1}
        """,
        shop=shop_id,
        connection=chosen.connection_id,
        kind=chosen.kind,
        state=chosen.state,
        before=before,
    )
    return Page(found[:PAGE], len(found) > PAGE)


def jobs(shop_id: int, run_id: int) -> list[dict[str, Any]]:
    """The job runs of a sync run, newest first."""
    return rows(
        """
        select job_run_id, job_ref, function, arguments, queue, worker, attempt, started_at, ended_at, outcome,
            business, result, error, traceback, seconds, now() as as_of
        from sync_run_jobs where shop_id = %(shop)s and sync_run_id = %(run)s order by job_run_id desc limit 20
        """,
        shop=shop_id,
        run=run_id,
    )


def calls(shop_id: int, run_id: int, connection_id: int, jobs_of: Sequence[Row]) -> Page:
    """The last calls of a sync run. They are looked for within its jobs' time: calls have no index by run."""
    begun = [job["started_at"] for job in jobs_of]
    if not begun:
        return Page([], False)
    over = [job["ended_at"] for job in jobs_of]
    found = rows(
        f"""
        select call_id, operation, status, outcome, elapsed_ms, attempt, quota_left, error, called_at
        from api_call_log
        where shop_id = %(shop)s and connection_id = %(connection)s and sync_run_id = %(run)s
            and called_at >= %(begun)s::timestamptz - interval '1 minute'
            and called_at <= coalesce(%(over)s::timestamptz, now()) + interval '1 minute'
        order by called_at desc limit {CALLS + 1}
        """,
        shop=shop_id,
        connection=connection_id,
        run=run_id,
        begun=min(begun),
        over=None if None in over else max(over),
    )
    return Page(found[:CALLS], len(found) > CALLS)


def forget() -> None:
    """Read afresh: after an act, so that its effect shows at once."""
    for cached in (health, hours, spans, ended):
        cached.clear()
