"""Reads of the Klaviyo page: how a target stands by kind, its jobs, its quota, full syncs, failures, and one product.

The numbers of a target are added up over its entries; everything else is a page or a handful of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.catalog.products import queries as products
from core.catalog.products.queries import Filters
from core.db import read_only
from core.targets import queries
from core.targets.operations import FULL
from core.targets.queries import TARGET_CLASS
from dashboard.queries import Unreadable, engine, one, rows

Row = Mapping[str, Any]

VENDOR = "klaviyo"
JOBS_PAGE = 10
PAGE = 25
FOUND_MAX = 6
PACE_SECONDS = 300
"""What was confirmed in the last so many seconds tells how fast it goes."""
QUOTA_SECONDS = 60
"""The window in which the vendor counts calls of an operation, and that its answers tell the size of."""


class Page(NamedTuple):
    """Some rows, in order; `more` says whether others follow."""

    rows: Sequence[Row]
    more: bool


class Standing(NamedTuple):
    """A target's entries: (kind, state) as the view target_entry_states has them, those that are only to be removed by
    kind, and its causes of failure by (code, kind of problem, kind of entry)."""

    states: Mapping[tuple[str, str], int]
    removing: Mapping[str, int]
    causes: Sequence[Row]
    as_of: datetime


class Flow(NamedTuple):
    """What is under way: open jobs, what waits by (kind, verb), what was confirmed in the last PACE_SECONDS and in how
    many of them."""

    jobs: int
    waiting: Mapping[tuple[str, str], int]
    confirmed: int
    seconds: float


def forget() -> None:
    """Read everything afresh."""
    cached: tuple[Any, ...] = (targets, standing, flow, jobs, quota, full_syncs, examples, failures, found, entries)
    for each in cached:
        each.clear()


@contextmanager
def _reading() -> Iterator[Connection]:
    try:
        with read_only(engine()) as conn:
            yield conn
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def targets(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """A shop's connections to Klaviyo, by name, with what stands in the way of writes, and their last problem."""
    return rows(
        """
        select s.connection_id, s.connection as name, s.state, s.write_mode, s.may_write, s.is_stopped,
            s.is_stopped_for_shop, s.stopped_by, s.stop_reason, s.stopped_at, s.paused_by, s.pause_reason, s.paused_at,
            c.last_error, c.last_error_at, now() as as_of
        from connection_switches s
        join connections c on c.shop_id = s.shop_id and c.id = s.connection_id
        where s.shop_id = %(shop)s and s.vendor = %(vendor)s and s.guarantee_class = %(class)s
        order by s.connection, s.connection_id
        """,
        shop=shop_id,
        vendor=VENDOR,
        **{"class": TARGET_CLASS},
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def standing(shop_id: int, scope: str, connection_id: int) -> Standing:
    """How many entries of each kind are in which state, and what fails."""
    with _reading() as conn:
        states = {(row["kind"], row["state"]): row["entries"] for row in queries.states(conn, shop_id, connection_id)}
    removing = rows(
        """
        select kind, count(*) as entries from target_entries
        where shop_id = %(shop)s and connection_id = %(connection)s and work = 'delete' and problem is null
        group by 1
        """,
        shop=shop_id,
        connection=connection_id,
    )
    causes = rows(
        """
        select problem_code, problem_kind, kind, count(*) as entries, count(*) filter (where is_held) as held,
            count(*) filter (where open_job_id is not null or to_check) as under_way,
            count(*) filter (where problem_kind = 'refused' and open_job_id is null and failures > 0) as to_requeue,
            min(id) as first_id
        from target_entries
        where shop_id = %(shop)s and connection_id = %(connection)s and problem is not null
        group by 1, 2, 3
        """,
        shop=shop_id,
        connection=connection_id,
    )
    moment = one("select now() as as_of")
    assert moment is not None
    return Standing(states, {row["kind"]: row["entries"] for row in removing}, causes, moment["as_of"])


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def flow(shop_id: int, scope: str, connection_id: int) -> Flow:
    """How much is under way, and how fast it goes."""
    waiting = rows(
        """
        select kind, work, count(*) as entries from target_entries
        where shop_id = %(shop)s and connection_id = %(connection)s and work is not null
        group by 1, 2
        """,
        shop=shop_id,
        connection=connection_id,
    )
    found = one(
        f"""
        select (select count(*) from target_jobs where shop_id = %(shop)s and connection_id = %(connection)s
                and ended_at is null) as jobs,
            coalesce(sum(succeeded), 0)::int8 as confirmed,
            coalesce(least(extract(epoch from now() - min(coalesce(sent_at, ended_at))), {PACE_SECONDS}), 0)::float8
                as seconds
        from target_jobs
        where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is not null
            and ended_at > now() - interval '{PACE_SECONDS} seconds'
        """,
        shop=shop_id,
        connection=connection_id,
    )
    assert found is not None
    queue = {(row["kind"], row["work"]): row["entries"] for row in waiting}
    return Flow(found["jobs"], queue, found["confirmed"], found["seconds"])


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def jobs(shop_id: int, scope: str, connection_id: int, after: int) -> Page:
    """Jobs that have not ended, oldest first."""
    found = rows(
        f"""
        select job_id, kind, verb, state, is_over, entries, ref, planned_at, sent_at, next_poll_at, reason,
            now() as as_of
        from target_jobs_open
        where shop_id = %(shop)s and connection_id = %(connection)s and job_id > %(after)s
        order by job_id limit {JOBS_PAGE + 1}
        """,
        shop=shop_id,
        connection=connection_id,
        after=after,
    )
    return Page(found[:JOBS_PAGE], len(found) > JOBS_PAGE)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def quota(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """Operations that were called within a day: calls of the last window, how many of them came too early, and what the
    newest answer said of the window ("680/700": 680 left of 700)."""
    return rows(
        f"""
        select o.operation, o.last_ok_at, said.quota_left, said.called_at as said_at, used.calls, used.throttled,
            now() as as_of
        from api_call_operations o
        left join lateral (
            select l.quota_left, l.called_at from api_call_log l
            where l.shop_id = o.shop_id and l.connection_id = o.connection_id and l.operation = o.operation
                and l.outcome = 'ok'
            order by l.called_at desc limit 1
        ) said on true
        cross join lateral (
            select count(*) as calls, count(*) filter (where l.outcome = 'throttled') as throttled
            from api_call_log l
            where l.shop_id = o.shop_id and l.connection_id = o.connection_id and l.operation = o.operation
                and l.outcome in ('ok', 'throttled', 'refused', 'error', 'unknown')
                and l.called_at > now() - interval '{QUOTA_SECONDS} seconds'
        ) used
        where o.shop_id = %(shop)s and o.connection_id = %(connection)s
            -- Neither of both: it was only told to wait.
            and coalesce(greatest(o.last_ok_at, o.last_bad_at), now()) > now() - interval '1 day'
        order by used.calls desc, o.operation
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=1, max_entries=100, show_spinner=False)
def full_syncs(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """The newest full syncs, newest first: the last is the one that is open, where one is."""
    return rows(
        """
        select sync_run_id, state, step, done, total, counts, attempts, requested_by, reason, requested_at, started_at,
            ended_at, error, is_open, seconds_left, quiet_seconds, now() as as_of
        from sync_run_list where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
        order by sync_run_id desc limit 5
        """,
        shop=shop_id,
        connection=connection_id,
        kind=FULL,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def examples(shop_id: int, scope: str, connection_id: int, ids: tuple[int, ...]) -> dict[int, dict[str, Any]]:
    """Some failed entries with what they are called, by entry."""
    found = rows(
        """
        select entry_id, kind, named, title, product_id, entity_id, problem from target_failures
        where shop_id = %(shop)s and connection_id = %(connection)s and entry_id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        connection=connection_id,
        ids=list(ids),
    )
    return {row["entry_id"]: row for row in found}


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def failures(shop_id: int, scope: str, connection_id: int, code: str, after: int) -> Page:
    """Entries that fail for one cause, in the order in which they became known."""
    found = rows(
        f"""
        select f.entry_id, f.kind, f.named, f.title, f.product_id, f.entity_id, f.problem_kind, f.problem, f.failures,
            f.is_held, f.next_at, e.open_job_id is not null or e.to_check as is_under_way, now() as as_of
        from target_failures f
        join target_entries e on e.shop_id = f.shop_id and e.id = f.entry_id
        where f.shop_id = %(shop)s and f.connection_id = %(connection)s and f.problem_code = %(code)s
            and f.entry_id > %(after)s
        order by f.entry_id limit {PAGE + 1}
        """,
        shop=shop_id,
        connection=connection_id,
        code=code,
        after=after,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def found(shop_id: int, scope: str, words: str) -> Page:
    """Products that a code, a handle or a title may mean: (product_id, title, handle). One SKU's code means its own."""
    exact = rows(
        """
        select p.id as product_id, p.title, p.handle from (
            select v.product_id as id from skus s
            join variants v on v.shop_id = s.shop_id and v.sku_id = s.id
            where s.shop_id = %(shop)s and s.code = %(words)s
            union
            select h.id from products h where h.shop_id = %(shop)s and h.handle = %(words)s
        ) n
        join products p on p.shop_id = %(shop)s and p.id = n.id
        order by p.title, p.id
        """,
        shop=shop_id,
        words=words,
    )
    if exact:
        return Page(exact, False)
    with _reading() as conn:
        page = products.search(conn, shop_id, Filters(words=words), limit=FOUND_MAX)
    return Page(
        [{"product_id": row["id"], "title": row["title"], "handle": row["handle"]} for row in page.rows],
        page.after is not None,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def entries(shop_id: int, scope: str, connection_id: int, product_id: int, after: int) -> Page:
    """A product's own entry, then those of its variants, each with its last job."""
    found = rows(
        f"""
        with mine as materialized (
            select e.* from target_entries e
            where e.shop_id = %(shop)s and e.connection_id = %(connection)s and e.kind = 'item'
                and e.entity_id = %(product)s and %(after)s = 0
            union all
            (
                select e.* from target_entries e
                where e.shop_id = %(shop)s and e.connection_id = %(connection)s and e.parent_id = %(product)s
                    and e.id > %(after)s
                order by e.id limit {PAGE + 1}
            )
        )
        select m.id as entry_id, m.kind, m.external_id, m.desired_hash, m.confirmed_hash, m.to_check,
            m.waits, m.open_job_id, m.work, m.is_held, m.failures, m.problem_kind, m.problem, m.next_at, m.confirmed_at,
            s.code, s.title, job.job_id, job.verb, job.state as job_state, job.outcome, job.detail,
            coalesce(job.ended_at, job.sent_at, job.planned_at) as job_at, now() as as_of
        from mine m
        left join skus s on m.kind = 'variant' and s.shop_id = m.shop_id and s.id = m.entity_id
        left join lateral (
            select t.job_id, j.verb, j.state, t.outcome, t.detail, j.planned_at, j.sent_at, j.ended_at
            from target_job_entries t join target_jobs j on j.shop_id = t.shop_id and j.id = t.job_id
            where t.shop_id = m.shop_id and t.entry_id = m.id order by t.job_id desc limit 1
        ) job on true
        order by m.kind, m.id
        """,
        shop=shop_id,
        connection=connection_id,
        product=product_id,
        after=after,
    )
    kept = found[: PAGE + (after == 0)]
    return Page(kept, len(found) > len(kept))
