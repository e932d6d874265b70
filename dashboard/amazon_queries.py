"""Reads of what is Amazon's own on the Connections screen; each is bounded whatever the tables hold."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.queries import one, rows

FEEDS_MAX = 8
TOPICS_MAX = 20
OPERATIONS_MAX = 30
PLACES_MAX = 10

Row = dict[str, Any]


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def feeds(shop_id: int, scope: str, connection_id: int) -> list[Row]:
    """The newest bulk submissions, with what became of their writes so far."""
    return rows(
        f"""
        select id, state, messages, because, feed_ref, planned_at, submitted_at, looked_at, ended_at, accepted, refused,
            reason, open_writes, unshown_writes, now() as as_of
        from feed_states where shop_id = %(shop)s and connection_id = %(connection)s order by id desc limit {FEEDS_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def mailbox(shop_id: int, scope: str, connection_id: int) -> Row | None:
    """The queue of a connection's notifications and how reading it goes; None where it has none."""
    return one(
        """
        select read_at, came_at, problem, problem_at, messages_day, as_of
        from connection_mailboxes where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def notices(shop_id: int, scope: str, connection_id: int) -> list[Row]:
    """What came through the queue within a day, by type, the most frequent first."""
    return rows(
        f"""
        select topic, messages_day, last_hour_at from connection_notices
        where shop_id = %(shop)s and connection_id = %(connection)s
        order by messages_day desc, topic limit {TOPICS_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def operations(shop_id: int, scope: str, connection_id: int) -> list[Row]:
    """What was asked in the last hour, by operation, the most frequent first."""
    return rows(
        f"""
        select operation, calls, throttled, quota_left, last_at, now() as as_of from operation_quota
        where shop_id = %(shop)s and connection_id = %(connection)s
        order by calls desc, operation limit {OPERATIONS_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def sweep(shop_id: int, scope: str, connection_id: int) -> Row | None:
    """How far its orders are known by asking."""
    return one(
        """
        select orders_polled_to, orders_asked_at, is_under_way, watermark_at, as_of
        from connection_sweeps where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def places(shop_id: int, scope: str, connection_id: int) -> list[Row]:
    """Where it keeps stock itself, with what lies there."""
    return rows(
        f"""
        select location, skus, units, listings, unmapped, read_at, now() as as_of from external_places
        where shop_id = %(shop)s and connection_id = %(connection)s order by location limit {PLACES_MAX}
        """,
        shop=shop_id,
        connection=connection_id,
    )
