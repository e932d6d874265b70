"""Reads of the Connections screen. Split from `queries` by subject; each is bounded whatever the tables hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import streamlit as st

from dashboard import calls, oversell_queries, queries
from dashboard.actions import TEST_KIND
from dashboard.calls import Window
from dashboard.queries import one, rows

Row = Mapping[str, Any]

# Quota is added up in pieces of five minutes.
WINDOWS = {"1 h": Window(3_600, 300), "6 h": Window(21_600, 900), "24 h": Window(86_400, 3_600)}
ERRORS_MAX = 6
ACTS_DAYS = 30
TOPICS_MAX = 60
DEPRECATIONS_MAX = 20


class Quota(NamedTuple):
    """What was used, by step and purpose (`bucket_at`, `purpose`, `calls`, `throttled`, `points`, `unit`)."""

    begins: datetime
    ends: datetime
    rows: list[dict[str, Any]]

    def steps(self, window: Window) -> list[datetime]:
        """The beginning of each step of the window."""
        return [self.begins + timedelta(seconds=at) for at in range(0, window.seconds, window.step)]

    def by_purpose(self) -> list[dict[str, Any]]:
        """The same over the whole, dearest first."""
        sums: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            mine = sums.setdefault(
                row["purpose"],
                {"purpose": row["purpose"], "unit": row["unit"], "calls": 0, "throttled": 0, "points": 0.0},
            )
            for name in ("calls", "throttled", "points"):
                mine[name] += row[name]
        return sorted(sums.values(), key=lambda row: (-row["points"], -row["calls"], row["purpose"]))


def forget() -> None:
    """Read everything of this screen afresh."""
    for cached in (switches, shop_stop, accounts, quota, used, versions, subscriptions, topics, deprecations, errors,
                   acts, unexplained):  # fmt: skip
        cached.clear()
    calls.parties.clear()
    calls.operations.clear()
    oversell_queries.watermarks.clear()
    queries.forget()


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def shop_stop(shop_id: int, scope: str) -> dict[str, Any] | None:
    """The stop that holds every write of the shop, or None."""
    return one(
        """
        select stopped_by, reason, stopped_at, now() as as_of from open_write_stops
        where shop_id = %(shop)s and connection_id is null
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def switches(shop_id: int, scope: str) -> dict[int, dict[str, Any]]:
    """What stands in the way of a connection's writes, by its id."""
    found = rows(
        """
        select connection_id, state as switch, write_mode, is_stopped_for_shop, is_stopped_for_connection, stopped_by,
            stop_reason, stopped_at, paused_by, pause_reason, paused_at
        from connection_switches where shop_id = %(shop)s order by connection_id
        """,
        shop=shop_id,
    )
    return {row["connection_id"]: row for row in found}


@st.cache_data(ttl=60, max_entries=200, show_spinner=False)
def accounts(shop_id: int, scope: str) -> dict[int, dict[str, Any]]:
    """Whose account each connection is, and since when, by its id."""
    found = rows(
        "select connection_id, account_ref, connected_at from connection_accounts where shop_id = %(shop)s",
        shop=shop_id,
    )
    return {row["connection_id"]: row for row in found}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def quota(shop_id: int, scope: str, connection_id: int, window: Window) -> Quota:
    """What a connection's calls took of its quota over a window, by step and purpose."""
    found = rows(
        """
        with span as (
            select s.ends, s.ends - %(seconds)s * interval '1 second' as begins
            from (select date_bin(%(step)s * interval '1 second', now(), 'epoch') + %(step)s * interval '1 second'
                as ends) s
        )
        select s.begins, s.ends, q.bucket_at, q.purpose, q.calls, q.throttled, q.points, q.unit
        from span s
        left join lateral (
            select date_bin(%(step)s * interval '1 second', u.bucket_at, 'epoch') as bucket_at, u.purpose, u.unit,
                sum(u.calls)::int8 as calls, sum(u.throttled)::int8 as throttled, sum(u.points) as points
            from quota_use u
            where u.shop_id = %(shop)s and u.connection_id = %(connection)s
                and u.bucket_at >= s.begins and u.bucket_at < s.ends
            group by 1, 2, 3
        ) q on true
        order by q.bucket_at, q.purpose
        """,
        shop=shop_id,
        connection=connection_id,
        seconds=window.seconds,
        step=window.step,
    )
    return Quota(found[0]["begins"], found[0]["ends"], [row for row in found if row["bucket_at"] is not None])


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def used(shop_id: int, scope: str) -> dict[int, dict[str, Any]]:
    """What each connection used of its quota in the last hour, by its id."""
    found = rows(
        """
        select connection_id, unit, sum(calls)::int8 as calls, sum(throttled)::int8 as throttled, sum(points) as points
        from quota_use where shop_id = %(shop)s and bucket_at >= now() - interval '1 hour' group by 1, 2
        """,
        shop=shop_id,
    )
    return {row["connection_id"]: row for row in found}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def versions(shop_id: int, scope: str) -> dict[int, dict[str, Any]]:
    """Which version of its API each connection speaks, by its id; missing before the first answer."""
    found = rows(
        """
        select connection_id, asked_version, answered_version, answered_at, fell_forward, fell_forward_at,
            supported_until
        from connection_versions where shop_id = %(shop)s
        """,
        shop=shop_id,
    )
    return {row["connection_id"]: row for row in found}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def topics(shop_id: int, scope: str) -> dict[int, dict[str, int]]:
    """How many subscriptions of each connection there are, and how many of them stand, by its id."""
    found = rows(
        """
        select connection_id, count(*) as topics, count(*) filter (where state = 'standing') as standing
        from connection_topics where shop_id = %(shop)s group by 1
        """,
        shop=shop_id,
    )
    return {row["connection_id"]: row for row in found}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def subscriptions(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """A connection's subscriptions: what does not stand first, then by topic."""
    return rows(
        f"""
        select topic, state, ref, checked_at, missed_at, repaired_at, repairs, problem, last_came_at, as_of
        from connection_subscriptions where shop_id = %(shop)s and connection_id = %(connection)s
        order by state = 'standing', topic limit {TOPICS_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def deprecations(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """What a connection's vendor warns that it will take away, newest first."""
    return rows(
        f"""
        select deprecation, operations, calls, first_at, last_at, now() as as_of
        from connection_deprecations where shop_id = %(shop)s and connection_id = %(connection)s
        order by last_at desc, deprecation limit {DEPRECATIONS_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def errors(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """What did not succeed of late at a connection, the same of the same operation once, newest first."""
    return rows(
        f"""
        select operation, outcome, status, error, calls, first_at, last_at, last_id, now() as as_of
        from connection_errors where shop_id = %(shop)s and connection_id = %(connection)s
        order by last_at desc, last_id desc limit {ERRORS_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=30, max_entries=200, show_spinner=False)
def acts(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """What people did at a channel besides us, by kind: over ACTS_DAYS, with the last day on which they did."""
    return rows(
        f"""
        select kind, sum(acts)::int8 as acts, sum(units)::int8 as units, max(day) as last_day
        from channel_acts_by_day
        where shop_id = %(shop)s and connection_id = %(connection)s and day > current_date - {ACTS_DAYS}
        group by 1 order by 1
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=30, max_entries=200, show_spinner=False)
def unexplained(shop_id: int, scope: str, connection_id: int) -> dict[str, Any]:
    """Numbers typed at a channel that its orders are not known up to yet."""
    found = one(
        """
        select edited_listings, edited_units from connection_edits
        where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=shop_id,
        connection=connection_id,
    )
    return found or {"edited_listings": 0, "edited_units": 0}


def last_test(shop_id: int, connection_id: int) -> dict[str, Any] | None:
    """The newest test of a connection, as it stands this moment; not cached."""
    return one(
        """
        select sync_run_id, connection, requested_by, reason, state, counts, requested_at, started_at, ended_at, error,
            is_open, quiet_seconds, now() as as_of
        from sync_run_list where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
        order by sync_run_id desc limit 1
        """,
        shop=shop_id,
        connection=connection_id,
        kind=TEST_KIND,
    )


def is_over(row: Row, operations: Sequence[Row], connection_id: int) -> bool:
    """Whether the same operation has succeeded since an error."""
    return any(
        known["connection_id"] == connection_id
        and known["operation"] == row["operation"]
        and known["last_ok_at"] is not None
        and known["last_ok_at"] > row["last_at"]
        for known in operations
    )


def behind(found: Sequence[Row], number: int | None) -> Sequence[Row]:
    """The connections that come after one, in their own order, whichever that is; all where that one is not there."""
    places = [place for place, row in enumerate(found, start=1) if row["connection_id"] == number]
    return found[places[0] :] if places else found
