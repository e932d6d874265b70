"""Reads of who is told: the shop's channels, what was said to whom, and the last trial of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st

from dashboard.queries import Row, one, rows

PAGE = 25


class Page(NamedTuple):
    """Newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def channels(shop_id: int, scope: str) -> Sequence[Row]:
    """Whom the shop tells, those that do not take it first; never more than a person can set up."""
    return rows(
        """
        select channel_id, name, medium, shown, kinds, least_severity, rhythm, daily_hour, most_an_hour, is_quiet,
            created_at, last_success_at, last_error, last_error_at, failures, retry_at, held, due_at, held_since,
            waiting, dead, sent_hour, state, as_of
        from notice_channel_list where shop_id = %(shop)s
        order by (failures > 0 and not is_quiet) desc, lower(name)
        """,
        shop=shop_id,
    )


_STATES = {
    "all": "true",
    "to come": "state in ('sending', 'digest', 'crowded', 'muted')",
    "not heard": "state in ('dead', 'unheard', 'discarded')",
}
STATES = tuple(_STATES)
_COLUMNS = """
    message_id, is_test, kind, severity, subject, text, alert_id, channel_id, channel, medium, is_removed, created_at,
    next_attempt_at, state, gathered_in, attempts, settled_at, last_error, answer, attachments, as_of
"""


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def said(shop_id: int, scope: str, state: str, channel_id: int | None, before: int | None) -> Page:
    """What was said to whom, newest first."""
    found = rows(
        f"""
        select {_COLUMNS} from notice_log
        where shop_id = %(shop)s and {_STATES[state]} and (%(channel)s::bigint is null or channel_id = %(channel)s)
            and (%(before)s::bigint is null or message_id < %(before)s)
        order by message_id desc limit {PAGE + 1}
        """,
        shop=shop_id,
        channel=channel_id,
        before=before,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def said_of(shop_id: int, scope: str, alert_id: int) -> Sequence[Row]:
    """What was said of one alert, and to whom: the newest hundred."""
    return rows(
        f"""
        select {_COLUMNS} from notice_log where shop_id = %(shop)s and alert_id = %(id)s
        order by message_id desc limit 100
        """,
        shop=shop_id,
        id=alert_id,
    )


def trial(shop_id: int, message_id: int) -> Row | None:
    """One trial as it stands this moment; not cached."""
    return one(
        f"select {_COLUMNS}, asked_by from notice_log where shop_id = %(shop)s and message_id = %(id)s and is_test",
        shop=shop_id,
        id=message_id,
    )


def forget() -> None:
    """Read afresh: after an act, so that its effect shows at once."""
    for cached in (channels, said, said_of):
        cached.clear()
