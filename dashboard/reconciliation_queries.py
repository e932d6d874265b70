"""Reads of the Reconciliation screen: what differs, since when, how it came and went, what is being compared."""

from __future__ import annotations

from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.reconciliation import operations
from core.reconciliation.operations import Chosen, Preview
from dashboard.queries import Unreadable, engine, one, rows

PAGE = 10
STEPS = 56
"""Of three hours: a week."""
HOURS = 24
EVENTS_MAX = 50
BADGE_MAX = 99

Row = dict[str, Any]
Key = tuple[int, int, int]
"""rank, weight and id of the row that a page begins after."""

# What each choice of the screen means in SQL; nothing a reader types becomes SQL text.
_SHOWS = {
    "open": "q.state = 'open'",
    "asked": "q.state = 'open' and q.action = 'asked'",
    "healing": "q.state = 'open' and q.action = 'healed'",
    "waiting": "q.state = 'open' and q.action = 'waits'",
    "accepted": "q.state = 'accepted'",
    "resolved": "q.state = 'resolved'",
}
_KINDS = {"all": "true", "stock": "q.kind = 'stock'", "orders": "q.kind in ('order', 'refund')"}


class Page(NamedTuple):
    """Rows in order; `more` says whether others follow."""

    rows: list[Row]
    more: bool


def forget() -> None:
    """Read everything afresh."""
    for cached in (waiting, connections, totals, causes, drift, healed_by_hour, page, braked):
        cached.clear()


@st.cache_data(ttl=15, max_entries=200, show_spinner=False)
def waiting(shop_id: int, scope: str) -> int:
    """How many discrepancies a person is asked about; not more than one above `BADGE_MAX` are counted."""
    found = one(
        f"""
        select count(*) as asked from (
            select from discrepancy_list where shop_id = %(shop)s and state = 'open' and action = 'asked'
            limit {BADGE_MAX + 1}) counted
        """,
        shop=shop_id,
    )
    return 0 if found is None else int(found["asked"])


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def connections(shop_id: int, scope: str) -> list[Row]:
    """Every connection with its last comparison of stock and of orders, and its policy; by name."""
    return rows(
        """
        select connection_id, connection, kind, run_id, sync_run_id, state, observed, compared, found, resolved,
            is_held, requested_at, ended_at, error, last_whole_at, open, asked, waits, healed, accepted, oldest_at,
            corrects, corrections_max, zeroed_max, zeroed_percent, every_hours, now() as as_of
        from reconciliation_list where shop_id = %(shop)s order by connection, connection_id, kind desc
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def totals(shop_id: int, scope: str) -> Row:
    """What is open in all, what of it is asked, how many units it is about, the oldest, and what healed in a day."""
    found = one(
        """
        select a.*, h.healed, h.explained, now() as as_of
        from (
            select coalesce(sum(discrepancies), 0)::int8 as open,
                coalesce(sum(discrepancies) filter (where action = 'asked'), 0)::int8 as asked,
                coalesce(sum(discrepancies) filter (where action = 'waits'), 0)::int8 as waits,
                coalesce(sum(units), 0)::int8 as units, coalesce(sum(skus), 0)::int8 as skus,
                coalesce(sum(discrepancies) filter (where kind in ('order', 'refund')), 0)::int8 as orders,
                min(oldest_at) as oldest_at, count(distinct connection_id) as connections
            from discrepancy_ages where shop_id = %(shop)s
        ) a cross join (
            select count(*) filter (where resolved_because in ('healed', 'corrected')) as healed,
                count(*) filter (where resolved_because not in ('healed', 'corrected')) as explained
            from discrepancy_list
            where shop_id = %(shop)s and state = 'resolved' and resolved_at > now() - interval '1 day'
        ) h
        """,
        shop=shop_id,
    )
    assert found is not None
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def causes(shop_id: int, scope: str) -> list[Row]:
    """How many are open of each cause, what needs a person most first."""
    return rows(
        """
        select cause, sum(discrepancies)::int8 as discrepancies,
            coalesce(sum(discrepancies) filter (where action = 'asked'), 0)::int8 as asked
        from discrepancy_ages where shop_id = %(shop)s group by 1 order by 3 desc, 2 desc, 1
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=30, max_entries=200, show_spinner=False)
def drift(shop_id: int, scope: str) -> list[Row]:
    """How many discrepancies, and of how many units, were open at each connection at the end of each step of a week.

    Counted back from what is open now; a connection with nothing in that week has no rows.
    """
    return rows(
        f"""
        with changed as (
            select s.connection_id, greatest(0, width_bucket(extract(epoch from s.at)::float8,
                    extract(epoch from now() - interval '7 days')::float8, extract(epoch from now())::float8 + 1,
                    {STEPS})) as step,
                sum(s.discrepancies) as discrepancies, sum(s.units) as units
            from discrepancy_steps s where s.shop_id = %(shop)s and (s.at > now() - interval '7 days' or exists (
                select from discrepancy_list d where d.shop_id = s.shop_id and d.connection_id = s.connection_id
                    and d.state <> 'resolved'))
            group by 1, 2
        ), whole as (
            select connection_id from changed group by 1
        )
        select w.connection_id, c.connection, now() - interval '7 days' * ({STEPS} - n) / {STEPS} as at,
            greatest(0, sum(coalesce(h.units, 0)) over upto)::int8 as units,
            greatest(0, sum(coalesce(h.discrepancies, 0)) over upto)::int8 as discrepancies
        from whole w cross join generate_series(0, {STEPS}) n
        join (select distinct connection_id, connection from reconciliation_list where shop_id = %(shop)s) c
            using (connection_id)
        left join changed h on h.connection_id = w.connection_id and h.step = n
        window upto as (partition by w.connection_id order by n)
        order by c.connection, w.connection_id, n
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=30, max_entries=200, show_spinner=False)
def healed_by_hour(shop_id: int, scope: str) -> list[int]:
    """How many were gone in each of the last 24 hours, oldest first."""
    found = rows(
        f"""
        select coalesce(-sum(s.discrepancies), 0)::int8 as gone
        from generate_series({HOURS}, 1, -1) ago
        left join discrepancy_steps s on s.shop_id = %(shop)s and s.discrepancies < 0
            and s.at > now() - ago * interval '1 hour' and s.at <= now() - (ago - 1) * interval '1 hour'
        group by ago order by ago desc
        """,
        shop=shop_id,
    )
    return [row["gone"] for row in found]


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def page(
    shop_id: int, scope: str, show: str, kind: str, connection_id: int | None, cause: str | None, text: str,
    after: Key | None,
) -> Page:  # fmt: skip
    """A page of discrepancies, what needs a person most first, behind `after`. `text`: a SKU or an order."""
    found = rows(
        f"""
        select q.discrepancy_id, q.kind, q.connection_id, q.connection, q.vendor, q.subject_key, q.subject,
            q.listing_id, q.sku_id, q.order_id, q.ours, q.theirs, q.wanted, q.unit, q.currency, q.cause, q.detail,
            q.action, q.asked_because, q.state, q.first_seen_at, q.last_seen_at, q.times_seen, q.corrections,
            q.resolved_at,
            q.resolved_by, q.resolved_because, q.reason, q.code, q.channel_ref, q.channel_code, q.title, q.location,
            q.order_name, q.rank, q.weight, q.published_units, q.aim_units, q.exposed_units, q.guarantee_class,
            q.may_write, now() as as_of
        from discrepancy_queue q
        where q.shop_id = %(shop)s and {_SHOWS[show]} and {_KINDS[kind]}
            and (%(connection)s::int8 is null or q.connection_id = %(connection)s)
            and (%(cause)s::text is null or q.cause = %(cause)s)
            and (%(text)s::text = '' or q.code ilike %(prefix)s or q.order_name ilike %(prefix)s
                or q.subject ->> 'name' ilike %(prefix)s or q.subject_key = %(text)s)
            and (%(id)s::int8 is null or (q.rank, -q.weight, q.discrepancy_id) > (%(rank)s, -%(weight)s::int8, %(id)s))
        order by q.rank, -q.weight, q.discrepancy_id limit {PAGE + 1}
        """,
        shop=shop_id,
        connection=connection_id,
        cause=cause,
        text=text,
        prefix=text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%",
        rank=after[0] if after else 0,
        weight=after[1] if after else 0,
        id=after[2] if after else None,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def braked(shop_id: int, scope: str) -> list[Row]:
    """Connections where corrections would take too many listings to 0, and wait for a person's word."""
    return rows(
        """
        select connection_id, connection, count(*) as discrepancies,
            count(*) filter (where published_units > 0 and aim_units = 0) as zeroed, min(first_seen_at) as since,
            now() as as_of
        from discrepancy_queue where shop_id = %(shop)s and state = 'open' and asked_because = 'brake'
        group by 1, 2 order by 4 desc, 2
        """,
        shop=shop_id,
    )


def open_runs(shop_id: int) -> list[Row]:
    """Comparisons that wait or run now; not cached, so that a reload never misses one."""
    return rows(
        """
        select sync_run_id from sync_run_list
        where shop_id = %(shop)s and is_open and kind in ('reconcile_stock', 'reconcile_orders') order by sync_run_id
        """,
        shop=shop_id,
    )


def events(shop_id: int, discrepancy_id: int) -> list[Row]:
    """What became of one discrepancy, newest first."""
    return rows(
        f"""
        select at, what, cause, ours, theirs, unit, currency, who, words, now() as as_of from discrepancy_event_log
        where shop_id = %(shop)s and discrepancy_id = %(id)s order by event_id desc limit {EVENTS_MAX}
        """,
        shop=shop_id,
        id=discrepancy_id,
    )


def of_sku(shop_id: int, code: str) -> list[Row]:
    """What is open of one SKU, for its page."""
    return rows(
        """
        select connection, cause, ours, theirs, first_seen_at, action from discrepancy_queue
        where shop_id = %(shop)s and code = %(code)s and state = 'open' order by rank, connection limit 10
        """,
        shop=shop_id,
        code=code,
    )


def preview(shop_id: int, chosen: Chosen) -> Preview:
    """What an act on some discrepancies would touch now. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            return operations.preview(conn, shop_id, chosen)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


def exposure(shop_id: int, chosen: Chosen) -> Row:
    """What the listings of the chosen ones may sell unbooked now, and at most once what is wanted is written.

    A number above what is shown adds the difference; where a channel cannot compare it adds all of it.
    """
    found = one(
        """
        select coalesce(sum(exposed_units), 0)::int8 as before,
            coalesce(sum(exposed_units + case when guarantee_class = 'A'
                then greatest(0, aim_units - published_units) else aim_units end), 0)::int8 as after
        from discrepancy_queue
        where shop_id = %(shop)s and connection_id = %(connection)s and state <> 'resolved' and kind = 'stock'
            and (%(id)s::int8 is null or discrepancy_id = %(id)s) and (%(cause)s::text is null or cause = %(cause)s)
            and (%(because)s::text is null or asked_because = %(because)s)
        """,
        shop=shop_id,
        connection=chosen.connection_id,
        id=chosen.discrepancy_id,
        cause=chosen.cause,
        because=chosen.asked_because,
    )
    assert found is not None
    return found
