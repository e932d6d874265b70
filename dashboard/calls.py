"""Reads of outgoing calls. Split from `queries` by subject.

Every read is bounded whatever the table holds: by one of five outcomes, by the window, and by a depth within it. What a
depth cuts off is said (`reach`), never left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st

from dashboard.queries import one, rows

Row = Mapping[str, Any]

OUTCOMES = ("ok", "throttled", "refused", "error", "unknown")
FAILURES = OUTCOMES[1:]

PAGE = 50
# Calls of one outcome that a picture counts, newest first, over all connections; each has its share, but not fewer than
# the least.
DEPTH = 50_000
DEPTH_LEAST = 5_000
# Calls per step and connection that a picture's percentiles come from, newest first.
SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Window:
    """How far back a picture looks, and how long its steps are, in seconds."""

    seconds: int
    step: int

    @property
    def slow_step(self) -> int:
        """The step of the latency's lines: two a channel, so that five channels stay within a figure's points."""
        return self.step * 2


WINDOWS = {
    "15 min": Window(900, 15),
    "1 h": Window(3_600, 60),
    "6 h": Window(21_600, 300),
    "24 h": Window(86_400, 900),
}


class Volume(NamedTuple):
    """Calls by connection, outcome and step; `reach` says since when one is counted, where the depth cut it off."""

    begins: datetime
    ends: datetime
    rows: list[dict[str, Any]]
    reach: dict[tuple[int, str], datetime]
    depth: int

    def only(self, connection_id: int | None) -> Volume:
        """The same of one connection; of all for None."""
        if connection_id is None:
            return self
        return Volume(
            self.begins,
            self.ends,
            [row for row in self.rows if row["connection_id"] == connection_id],
            {key: since for key, since in self.reach.items() if key[0] == connection_id},
            self.depth,
        )

    def count(self, *outcomes: str) -> int:
        """Calls that ended so; all for none named."""
        return sum(row["calls"] for row in self.rows if not outcomes or row["outcome"] in outcomes)


class Latency(NamedTuple):
    """Milliseconds of calls that succeeded: by connection over the window, and by connection and step."""

    whole: dict[int, Row]
    steps: list[dict[str, Any]]


class CallPage(NamedTuple):
    """Newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def parties(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Whom we call, and the last that each said; in the order in which they were connected."""
    return rows(
        """
        select connection_id, name, vendor, switch, quota_left, quota_operation, quota_at, api_version, last_ok_at,
               last_bad_at, last_bad_id, last_bad_outcome, last_bad_operation, last_bad_status, last_bad_error,
               deprecation, deprecation_at, as_of
        from api_call_parties where shop_id = %(shop)s order by connection_id
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def volume(shop_id: int, scope: str, window: Window, connections: int) -> Volume:
    """Calls of the window by connection, outcome and step; only steps that hold any. `connections`: among how many
    the depth is shared."""
    depth = max(DEPTH_LEAST, DEPTH // max(connections, 1))
    found = rows(
        """
        with span as (
            select now() as ends,
                   date_bin(%(step)s * interval '1 second', now(), 'epoch') + %(step)s * interval '1 second'
                       - %(seconds)s * interval '1 second' as begins
        )
        select s.begins, s.ends, c.connection_id, o.outcome, counted.bucket_at, counted.calls, counted.first_at
        from span s
        left join called_connections c on c.shop_id = %(shop)s
        left join unnest(%(outcomes)s::text[]) o(outcome) on true
        left join lateral (
            select date_bin(%(step)s * interval '1 second', newest.called_at, 'epoch') as bucket_at, count(*) as calls,
                   min(newest.called_at) as first_at
            from (
                select l.called_at from api_call_log l
                where l.shop_id = c.shop_id and l.connection_id = c.connection_id and l.outcome = o.outcome
                and l.called_at >= s.begins order by l.called_at desc
                -- Not a number: the planner then reckons with an early end and walks the index, as it should.
                limit (select %(depth)s::bigint)
            ) newest
            group by 1
        ) counted on true
        order by c.connection_id, o.outcome, counted.bucket_at
        """,
        shop=shop_id,
        step=window.step,
        seconds=window.seconds,
        outcomes=list(OUTCOMES),
        depth=depth,
    )
    counted = [row for row in found if row["calls"]]
    return Volume(found[0]["begins"], found[0]["ends"], counted, _reach(counted, depth), depth)


def _reach(counted: Sequence[Row], depth: int) -> dict[tuple[int, str], datetime]:
    totals: dict[tuple[int, str], int] = {}
    first: dict[tuple[int, str], datetime] = {}
    for row in counted:
        key = (row["connection_id"], row["outcome"])
        totals[key] = totals.get(key, 0) + row["calls"]
        first[key] = min(first.get(key, row["first_at"]), row["first_at"])
    return {key: first[key] for key, total in totals.items() if total >= depth}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def latency(shop_id: int, scope: str, window: Window) -> Latency:
    """Median and 95th percentile of what succeeded, from up to SAMPLE calls a step and connection."""
    found = rows(
        f"""
        with span as (
            select date_bin(%(step)s * interval '1 second', now(), 'epoch') + %(step)s * interval '1 second' as ends
        )
        select
            c.connection_id, steps.bucket_at, count(*) as calls,
            percentile_disc(0.5) within group (order by taken.elapsed_ms) as median_ms,
            percentile_disc(0.95) within group (order by taken.elapsed_ms) as slow_ms
        from span s
        cross join lateral generate_series(
            s.ends - %(seconds)s * interval '1 second', s.ends - interval '1 second', %(step)s * interval '1 second'
        ) steps(bucket_at)
        cross join called_connections c
        cross join unnest(array['ok']) o(outcome)
        cross join lateral (
            select l.elapsed_ms from api_call_log l
            where l.shop_id = c.shop_id and l.connection_id = c.connection_id and l.outcome = o.outcome
            and l.called_at >= steps.bucket_at and l.called_at < steps.bucket_at + %(step)s * interval '1 second'
            order by l.called_at desc limit {SAMPLE}
        ) taken
        where c.shop_id = %(shop)s
        group by grouping sets ((c.connection_id), (c.connection_id, steps.bucket_at))
        order by c.connection_id, steps.bucket_at
        """,
        shop=shop_id,
        step=window.slow_step,
        seconds=window.seconds,
    )
    return Latency(
        {row["connection_id"]: row for row in found if row["bucket_at"] is None},
        [row for row in found if row["bucket_at"] is not None],
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def operations(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Operations ever called, by connection and name, with the last good and the last bad answer to each."""
    return rows(
        """
        select connection_id, operation, last_ok_at, last_bad_at, last_bad_outcome
        from api_call_operations where shop_id = %(shop)s order by connection_id, operation
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def page(
    shop_id: int,
    scope: str,
    connection_id: int | None,
    outcomes: tuple[str, ...],
    operation: str | None,
    before: tuple[datetime, int] | None,
) -> CallPage:
    """Calls older than `before` (time and id of one), newest first: one walk per connection and outcome, merged."""
    found = rows(
        f"""
        select c.name as connection, c.vendor, l.connection_id, l.call_id, l.operation, l.method, l.status, l.outcome,
               l.elapsed_ms, l.attempt, l.quota_left, l.error, l.sync_run_id, l.called_at, now() as as_of
        from called_connections c
        cross join unnest(%(outcomes)s::text[]) o(outcome)
        cross join lateral (
            select * from api_call_log g
            where g.shop_id = c.shop_id and g.connection_id = c.connection_id and g.outcome = o.outcome
            {"and g.operation = %(operation)s" if operation else ""}
            {"and (g.called_at, g.call_id) < (%(at)s::timestamptz, %(id)s::bigint)" if before else ""}
            order by g.called_at desc, g.call_id desc limit {PAGE + 1}
        ) l
        where c.shop_id = %(shop)s and (%(connection)s::bigint is null or c.connection_id = %(connection)s)
        order by l.called_at desc, l.call_id desc limit {PAGE + 1}
        """,
        shop=shop_id,
        connection=connection_id,
        outcomes=list(outcomes),
        operation=operation,
        at=before[0] if before else None,
        id=before[1] if before else None,
    )
    return CallPage(found[:PAGE], len(found) > PAGE)


def call(shop_id: int, call_id: int) -> dict[str, Any] | None:
    """One call with everything known of it; not cached."""
    return one(
        """
        select c.name as connection, c.vendor, l.connection_id, l.call_id, l.operation, l.method, l.status, l.outcome,
               l.elapsed_ms, l.attempt, l.quota_left, l.api_version, l.deprecation, l.error, l.sync_run_id, l.called_at,
               now() as as_of
        from api_call_log l
        join called_connections c on c.shop_id = l.shop_id and c.connection_id = l.connection_id
        where l.shop_id = %(shop)s and l.call_id = %(call)s
        """,
        shop=shop_id,
        call=call_id,
    )
