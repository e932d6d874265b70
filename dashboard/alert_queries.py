"""Reads of the Alerts screen: what is open, who has it, what is over, and the history of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st

from dashboard.mapping_queries import BADGE_MAX
from dashboard.queries import Row, one, rows

PAGE = 20
EPISODES = 10


class Page(NamedTuple):
    """`more` says whether others follow."""

    rows: list[dict[str, Any]]
    more: bool


class OpenKey(NamedTuple):
    """Where a page of open alerts begins: after the one that is so bad, taken or not, since then."""

    severity: int
    taken: int
    opened_at: datetime
    alert_id: int


class OverKey(NamedTuple):
    """Where a page of alerts that are over begins."""

    closed_at: datetime
    alert_id: int


_COLUMNS = """
    alert_id, kind, severity, state, regressed_from, relapses, headline, sentence, next_step, page, address,
    connection_id, connection, units, worst_units, skus, orders, worst_skus, opened_units, opened_at, checked_at,
    clear_since, unknown_since, unknown_because, closed_at, closed_because, acknowledged_at, acknowledged_by,
    acknowledged_reason, is_told, times, fingerprint, (severity <> 'danger')::int as severity_rank,
    (state <> 'open')::int as taken_rank, now() as as_of
"""
_OF = """
    shop_id = %(shop)s and (%(kind)s::text is null or kind = %(kind)s)
    and (%(connection)s::bigint is null or connection_id = %(connection)s)
"""


def _page(found: list[dict[str, Any]]) -> Page:
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=15, max_entries=200, show_spinner=False)
def unowned(shop_id: int, scope: str) -> int:
    """How many open alerts nobody has; not more than one above BADGE_MAX are counted."""
    found = one(
        f"""
        select count(*) as alerts from (
            select from alert_list where shop_id = %(shop)s and state = 'open' limit {BADGE_MAX + 1}) counted
        """,
        shop=shop_id,
    )
    return 0 if found is None else int(found["alerts"])


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def totals(shop_id: int, scope: str) -> Row:
    """How many are open, of those: dangerous, taken by nobody, come back, not known; and when the last one closed."""
    found = one(
        """
        select count(*) filter (where state <> 'resolved') as open,
            count(*) filter (where state = 'open') as unowned,
            count(*) filter (where state <> 'resolved' and severity = 'danger') as danger,
            count(*) filter (where state <> 'resolved' and relapses > 0) as regressed,
            count(*) filter (where state <> 'resolved' and unknown_since is not null) as unknown,
            min(opened_at) filter (where state <> 'resolved') as oldest_at,
            count(*) filter (where closed_at > now() - interval '7 days') as closed_week,
            max(closed_at) as last_closed_at, count(*) as ever, now() as as_of
        from alert_list where shop_id = %(shop)s
        """,
        shop=shop_id,
    )
    assert found is not None, "counting always counts"
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def open_ones(
    shop_id: int, scope: str, kind: str | None, connection_id: int | None, is_unowned: bool, after: OpenKey | None
) -> Page:
    """Open alerts, worst first: by severity, what nobody has before what somebody has, the oldest first."""
    return _page(
        rows(
            f"""
            select {_COLUMNS} from alert_list
            where {_OF} and state <> 'resolved' and (not %(unowned)s or state = 'open')
                and (%(id)s::bigint is null
                    or ((severity <> 'danger')::int, (state <> 'open')::int, opened_at, alert_id)
                        > (%(severity)s, %(taken)s, %(at)s::timestamptz, %(id)s))
            order by severity_rank, taken_rank, opened_at, alert_id limit {PAGE + 1}
            """,
            shop=shop_id,
            kind=kind,
            connection=connection_id,
            unowned=is_unowned,
            severity=after.severity if after else None,
            taken=after.taken if after else None,
            at=after.opened_at if after else None,
            id=after.alert_id if after else None,
        )
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def over(shop_id: int, scope: str, kind: str | None, connection_id: int | None, before: OverKey | None) -> Page:
    """Alerts that are over, the last one first."""
    return _page(
        rows(
            f"""
            select {_COLUMNS} from alert_list
            where {_OF} and state = 'resolved'
                and (%(id)s::bigint is null or (closed_at, alert_id) < (%(at)s::timestamptz, %(id)s))
            order by closed_at desc, alert_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            kind=kind,
            connection=connection_id,
            at=before.closed_at if before else None,
            id=before.alert_id if before else None,
        )
    )


@st.cache_data(ttl=15, max_entries=200, show_spinner=False)
def kinds(shop_id: int, scope: str) -> list[str]:
    """Kinds of alerts that this shop has had."""
    return [row["kind"] for row in rows("select distinct kind from alert_list where shop_id = %(shop)s order by 1",
                                        shop=shop_id)]  # fmt: skip


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def alert(shop_id: int, scope: str, alert_id: int) -> Row | None:
    """One alert as it stands."""
    return one(
        f"select {_COLUMNS} from alert_list where shop_id = %(shop)s and alert_id = %(id)s", shop=shop_id, id=alert_id
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def events(shop_id: int, scope: str, alert_id: int, before: int | None) -> Page:
    """What became of an alert, newest first."""
    return _page(
        rows(
            f"""
            select event_id, at, what, who, words from alert_event_list
            where shop_id = %(shop)s and alert_id = %(id)s and (%(before)s::bigint is null or event_id < %(before)s)
            order by event_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            id=alert_id,
            before=before,
        )
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def episodes(shop_id: int, scope: str, fingerprint: str, but: int) -> Sequence[Row]:
    """The last few other times that the same thing was wrong."""
    return rows(
        f"""
        select alert_id, opened_at, closed_at, closed_because, worst_units, acknowledged_by, state
        from alert_list where shop_id = %(shop)s and fingerprint = %(fingerprint)s and alert_id <> %(but)s
        order by alert_id desc limit {EPISODES}
        """,
        shop=shop_id,
        fingerprint=fingerprint,
        but=but,
    )


def forget() -> None:
    """Read afresh: after an act, so that its effect shows at once."""
    for cached in (unowned, totals, open_ones, over, kinds, alert, events, episodes):
        cached.clear()
