"""Reads of the Jobs screen: lanes from Postgres, the rest from the broker."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.ports import BrokerReading
from dashboard import job_actions
from dashboard.queries import Row, rows


@st.cache_data(ttl=5, max_entries=20, show_spinner=False)
def broker_reading(scope: str) -> BrokerReading:
    """Queues, workers and next rings. Raises Retryable when Redis does not answer; that is remembered for no time."""
    return job_actions.application().broker.read()


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


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def lane_steps(shop_id: int, scope: str) -> dict[tuple[int, str], list[Row]]:
    """Five minutes of each lane in steps of ten seconds, the last first, by (connection id, kind)."""
    found: dict[tuple[int, str], list[Row]] = {}
    for row in rows(
        """
        select connection_id, kind, step, arrived, drained
        from job_lane_steps where shop_id = %(shop)s order by connection_id, kind, step
        """,
        shop=shop_id,
    ):
        found.setdefault((row["connection_id"], row["kind"]), []).append(row)
    return found


def forget() -> None:
    """Read the screen afresh: after an act, so that its effect shows at once."""
    for cached in (broker_reading, lanes, lane_minutes, lane_steps):
        cached.clear()
