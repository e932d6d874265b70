"""Reads of the Jobs screen: failures, parked messages, lanes from Postgres, the rest from the broker."""

from __future__ import annotations

from typing import Any, NamedTuple

import streamlit as st

from core.ports import BrokerReading
from dashboard import job_actions
from dashboard.queries import Row, rows

PAGE = 10


class Page(NamedTuple):
    """Newest first, or worst first; `more` says whether others follow."""

    rows: list[dict[str, Any]]
    more: bool


def _page(found: list[dict[str, Any]]) -> Page:
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=20, show_spinner=False)
def broker_reading(scope: str) -> BrokerReading:
    """Queues, workers and next rings. Raises Retryable when Redis does not answer; that is remembered for no time."""
    return job_actions.application().broker.read()


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def causes(shop_id: int, scope: str, after: tuple[int, str, str] | None) -> Page:
    """Open failures by cause and function, most jobs first; `after` is (jobs, cause, function) of the row before."""
    jobs, cause, function = after or (None, "", "")
    return _page(
        rows(
            f"""
            select cause, function, jobs, works, since, last_at, connections, connection, error, now() as as_of
            from job_failure_causes
            where shop_id = %(shop)s
            and (%(jobs)s::bigint is null or (-jobs, cause, function) > (-%(jobs)s, %(cause)s, %(function)s))
            order by -jobs, cause, function limit {PAGE + 1}
            """,
            shop=shop_id,
            jobs=jobs,
            cause=cause,
            function=function,
        )
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def totals(shop_id: int, scope: str) -> dict[str, int]:
    """Everything open, whatever page is shown: causes, jobs, parked messages and their causes."""
    (found,) = rows(
        """
        select f.causes, f.jobs, p.parked_causes, p.messages
        from (
            select count(*) as causes, coalesce(sum(jobs), 0)::bigint as jobs
            from job_failure_causes where shop_id = %(shop)s
        ) f
        cross join (
            select count(*) as parked_causes, coalesce(sum(messages), 0)::bigint as messages
            from parked_causes where shop_id = %(shop)s
        ) p
        """,
        shop=shop_id,
    )
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def failed_by_hour(shop_id: int, scope: str) -> list[int]:
    """Runs that failed, by hour over a day, oldest first."""
    found = rows(
        """
        select count(a.run_id) as runs
        from generate_series(0, 23) ago(hours)
        left join job_attempts a on a.shop_id = %(shop)s and a.outcome in ('failed', 'abandoned')
            and a.started_at > now() - interval '25 hours'
            and date_bin('1 hour', a.started_at, 'epoch')
                = date_bin('1 hour', now(), 'epoch') - ago.hours * interval '1 hour'
        group by ago.hours order by ago.hours desc
        """,
        shop=shop_id,
    )
    return [row["runs"] for row in found]


def cause(shop_id: int, name: str, function: str) -> dict[str, Any] | None:
    """One cause as it stands; None when nothing of it is open any more."""
    found = rows(
        """
        select cause, function, jobs, works, since, last_at, connections, connection, error, now() as as_of
        from job_failure_causes where shop_id = %(shop)s and cause = %(cause)s and function = %(function)s
        """,
        shop=shop_id,
        cause=name,
        function=function,
    )
    return found[0] if found else None


_FAILURE = """
    run_id, job_ref, function, queue, worker, arguments, attempt, started_at, ended_at, outcome, error, traceback,
    state, resolved_at, resolved_by, resolved_reason, requeued_as, requeued_outcome, connection, now() as as_of
"""


def failures_of(shop_id: int, name: str, function: str, before: int | None) -> Page:
    """The open failed jobs of a cause, newest first, older than `before` (a run's id); not cached."""
    return _page(
        rows(
            f"""
            select {_FAILURE} from job_failures
            where shop_id = %(shop)s and cause = %(cause)s and function = %(function)s and state = 'open'
            and (%(before)s::bigint is null or run_id < %(before)s)
            order by run_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            cause=name,
            function=function,
            before=before,
        )
    )


def resolved(shop_id: int, state: str, before: int | None) -> Page:
    """Failed jobs that were requeued, discarded or superseded, newest first, older than `before` (a run's id)."""
    return _page(
        rows(
            f"""
            select {_FAILURE} from job_failures
            where shop_id = %(shop)s and resolution = %(state)s
            and (%(before)s::bigint is null or run_id < %(before)s)
            order by run_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            state=state,
            before=before,
        )
    )


def attempts(shop_id: int, job_ref: str) -> list[dict[str, Any]]:
    """The last runs of one job, newest first."""
    return rows(
        """
        select run_id, attempt, worker, started_at, ended_at, outcome, error from job_attempts
        where shop_id = %(shop)s and job_ref = %(ref)s order by run_id desc limit 10
        """,
        shop=shop_id,
        ref=job_ref,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def parked_causes(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Parked messages by connection and cause, most first: never more rows than connections times causes."""
    return rows(
        """
        select connection_id, connection, cause, messages, since, last_at, detail, topic, now() as as_of
        from parked_causes where shop_id = %(shop)s order by messages desc, connection_id, cause
        """,
        shop=shop_id,
    )


def parked(shop_id: int, connection_id: int, name: str, before: int | None) -> Page:
    """Messages parked for one cause, newest first, older than `before` (a message's id); not cached."""
    return _page(
        rows(
            f"""
            select message_id, topic, road, delivery_id, received_at, attempts, detail, now() as as_of
            from parked_messages
            where shop_id = %(shop)s and connection_id = %(connection)s and cause = %(cause)s
            and (%(before)s::bigint is null or message_id < %(before)s)
            order by message_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            connection=connection_id,
            cause=name,
            before=before,
        )
    )


def discarded(shop_id: int, before: int | None) -> Page:
    """Messages that were given up, newest first, older than `before` (a message's id)."""
    return _page(
        rows(
            f"""
            select message_id, connection_id, connection, cause, topic, received_at, settled_at, detail, discarded_by,
                   discarded_reason, now() as as_of
            from discarded_messages
            where shop_id = %(shop)s and (%(before)s::bigint is null or message_id < %(before)s)
            order by message_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            before=before,
        )
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def lanes(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """What waits for each connection, by kind of work."""
    return rows(
        """
        select connection_id, connection, switch, kind, waiting, oldest_at, as_of
        from job_lanes where shop_id = %(shop)s order by connection, kind
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def lane_minutes(shop_id: int, scope: str) -> dict[tuple[int, str], list[Row]]:
    """An hour of each lane by the minute, the last minute first, by (connection id, kind)."""
    found: dict[tuple[int, str], list[Row]] = {}
    for row in rows(
        """
        select connection_id, kind, minute, arrived, drained
        from job_lane_minutes where shop_id = %(shop)s order by connection_id, kind, minute
        """,
        shop=shop_id,
    ):
        found.setdefault((row["connection_id"], row["kind"]), []).append(row)
    return found


def forget() -> None:
    """Read the screen afresh: after an act, so that its effect shows at once."""
    for cached in (broker_reading, causes, totals, failed_by_hour, parked_causes, lanes, lane_minutes):
        cached.clear()
