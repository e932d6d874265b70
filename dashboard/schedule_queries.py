"""Reads of schedules: how each stands, what it did within a day, its history. Bounded whatever there is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st

from core.runs.schedules import SCHEDULES
from dashboard import jobs_queries
from dashboard.queries import one, rows

Row = Mapping[str, Any]

PAGE = 25
STEP_SECONDS = 900
STEPS = 96


class Page(NamedTuple):
    """Newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def standing(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Every schedule of the table, in its order: its last turn that began, its last that succeeded, what is at work,
    its switch, and the wish of a person that waits."""
    return rows(
        """
        select n.name, last.period, last.started_at, last.ended_at, last.outcome, last.result, last.trigger,
            last.requested_by, last.missed, good.ended_at as succeeded_at,
            extract(epoch from last.ended_at - last.started_at)::float8 as seconds,
            latest.due_at, latest.outcome as due_outcome,
            coalesce(w.is_paused, false) as is_paused, w.changed_by, w.changed_at,
            wish.requested_by as wished_by, wish.requested_at as wished_at, now() as as_of
        from unnest(%(names)b::text[]) with ordinality n(name, place)
        left join lateral (
            select * from schedule_periods t
            where t.shop_id = %(shop)s and t.name = n.name and t.outcome is distinct from 'skipped'
                and t.started_at <= now() + interval '5 minutes'
            order by t.started_at desc limit 1
        ) last on true
        left join lateral (
            select ended_at from schedule_periods t
            where t.shop_id = %(shop)s and t.name = n.name and t.outcome = 'finished'
                and t.started_at > now() - interval '8 days'
            order by t.started_at desc limit 1
        ) good on true
        left join lateral (
            select coalesce(due_at, started_at) as due_at, outcome from schedule_periods t
            where t.shop_id = %(shop)s and t.name = n.name and t.trigger = 'schedule'
            order by t.started_at desc limit 1
        ) latest on true
        left join schedule_switches w on w.shop_id = %(shop)s and w.name = n.name
        left join schedule_wishes wish on wish.shop_id = %(shop)s and wish.name = n.name
        order by n.place
        """,
        shop=shop_id,
        names=[schedule.name for schedule in SCHEDULES],
    )


@st.cache_data(ttl=60, max_entries=50, show_spinner=False)
def day(shop_id: int, scope: str) -> tuple[datetime, list[dict[str, Any]]]:
    """A day by the quarter of an hour, `ago` 0 being the one that is now, with turns by outcome; and since when the
    picture is whole."""
    found = rows(
        f"""
        select t.name, ((extract(epoch from date_bin(%(step)s * interval '1 second', now(), 'epoch'))
                - extract(epoch from date_bin(%(step)s * interval '1 second', t.started_at, 'epoch')))
                / %(step)s)::int as ago,
            count(*) as turns, count(*) filter (where t.outcome = 'failed') as failed,
            count(*) filter (where t.outcome = 'skipped') as skipped,
            count(*) filter (where t.trigger = 'click') as clicks,
            max(extract(epoch from t.ended_at - t.started_at))::float8 as longest
        from schedule_periods t
        where t.shop_id = %(shop)s and t.started_at <= now()
            and t.started_at >= date_bin(%(step)s * interval '1 second', now(), 'epoch')
                - {STEPS - 1} * %(step)s * interval '1 second'
        group by 1, 2
        """,
        shop=shop_id,
        step=STEP_SECONDS,
    )
    first = one(
        """
        select coalesce((
            select started_at from schedule_periods where shop_id = %(shop)s order by started_at limit 1
        ), now()) as since
        """,
        shop=shop_id,
    )
    assert first is not None
    return first["since"], found


def history(shop_id: int, name: str, before: tuple[datetime, str] | None) -> Page:
    """Turns of one schedule, newest first, older than `before` (began, period); not cached."""
    found = rows(
        f"""
        select period, started_at, ended_at, outcome, result, due_at, trigger, requested_by, reason, missed,
            extract(epoch from ended_at - started_at)::float8 as seconds, now() as as_of
        from schedule_periods
        where shop_id = %(shop)s and name = %(name)s
            and (%(at)s::timestamptz is null or (started_at, period) < (%(at)s, %(period)s))
        order by started_at desc, period desc limit {PAGE + 1}
        """,
        shop=shop_id,
        name=name,
        at=before[0] if before else None,
        period=before[1] if before else None,
    )
    return Page(found[:PAGE], len(found) > PAGE)


def forget() -> None:
    """Read afresh: after an act, so that its effect shows at once."""
    for cached in (standing, day, jobs_queries.broker_reading):
        cached.clear()
