"""Every read of the dashboard: the SQL views into plain rows, and the only cache.

The cache is shared by all readers of the process, so that what a read may see is among its arguments: the shop and the
scope. Cached functions touch nothing of Streamlit's. A failed read raises Unreadable; nothing is shown in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.config import Settings
from core.db import fetch, fetch_one, make_engine, read_only
from core.errors import BadInput, Retryable

Row = Mapping[str, Any]

READ_SECONDS = 5
PAGE = 50


class Unreadable(Retryable):
    """The database did not answer a read, or not in time."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"the database did not answer within {READ_SECONDS} s: {cause}")


class SkuPage(NamedTuple):
    """One page of SKUs, each with its listings; `more` says whether another follows."""

    rows: list[dict[str, Any]]
    more: bool


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """The dashboard's own pool: reads end after five seconds, whatever they wait for."""
    return make_engine(
        Settings.from_environment().database_url, name="switchyard-dashboard", statement_seconds=READ_SECONDS
    )


def rows(sql: str, **params: Any) -> list[dict[str, Any]]:
    """All rows of a read. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            return [dict(row) for row in fetch(conn, sql, **params)]
    except (SQLAlchemyError, BadInput) as cause:
        raise Unreadable(cause) from cause


def one(sql: str, **params: Any) -> dict[str, Any] | None:
    """The first row of a read, or None. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            row = fetch_one(conn, sql, **params)
            return None if row is None else dict(row)
    except (SQLAlchemyError, BadInput) as cause:
        raise Unreadable(cause) from cause


def database_time() -> datetime:
    """The database's clock: what all ages on a page are counted from."""
    found = one("select now() as as_of")
    assert found is not None
    moment: datetime = found["as_of"]
    return moment


def forget() -> None:
    """Read everything afresh: after Try again, and after a write whose effect must show at once."""
    for cached in (shops, connections, pulse, orders_today, parked_by_hour, problems, sku_page):
        cached.clear()


@st.cache_data(ttl=5, max_entries=20, show_spinner=False)
def shops(scope: str) -> list[dict[str, Any]]:
    """Shops that this scope may see."""
    return rows("select shop_id, name, time_zone, currency from shop_list order by name")


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def connections(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Health of each connection, by name."""
    return rows(
        """
        select shop_id, connection_id, name, vendor, guarantee_class, switch, last_error, last_error_at,
               orders_polled_to, catalogue_read_at, last_event_at, last_confirmed_at, last_heard_at, received, waiting,
               parked, listings, listings_in_step, listings_to_push, listings_refused, listings_off, open_writes,
               doubtful_writes, behind_since, lag_seconds, lag_allowed_seconds, silence_allowed_seconds, state, as_of,
               last_answer_at, write_mode, untold_topics, fell_forward
        from connection_health where shop_id = %(shop)s order by name
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def pulse(shop_id: int, scope: str) -> dict[int, list[dict[str, Any]]]:
    """Two hours of each connection in steps of five minutes, by connection id."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows(
        """
        select connection_id, bucket_at, events, slowest_seconds, confirmed
        from connection_pulse where shop_id = %(shop)s order by connection_id, bucket_at
        """,
        shop=shop_id,
    ):
        found.setdefault(row["connection_id"], []).append(row)
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def orders_today(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Orders by hour of the shop's day: today and the same weekday a week ago."""
    return rows(
        "select days_ago, hour, orders, orders_by_now from orders_by_hour where shop_id = %(shop)s order by 1, 2",
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def parked_by_hour(shop_id: int, scope: str) -> list[int]:
    """Parked messages by the hour they came in, over a day, oldest first."""
    found = rows(
        """
        select coalesce(p.parked, 0) as parked
        from generate_series(0, 23) ago(hours)
        left join parked_by_hour p on p.shop_id = %(shop)s
            and p.bucket_at = date_bin('1 hour', now(), 'epoch') - ago.hours * interval '1 hour'
        order by ago.hours desc
        """,
        shop=shop_id,
    )
    return [row["parked"] for row in found]


_PROBLEMS = {
    "parked": "select connection_id, connection, cause, messages, since, last_at, detail, topic from parked_causes",
    "unmapped": "select connection_id, connection, currency, lines, orders, units, total_minor, since, example_code,"
    " example_order, reason, identifiers from unmapped_lines",
    "refused": "select connection_id, connection, problem, listings, since, next_push_at, example_code"
    " from refused_listings",
    "doubtful": "select connection_id, connection, doubt, writes, since, next_check_at, example_code"
    " from doubtful_writes",
    "unpublished": "select connection_id, connection, reason, listings, unmapped, example from unpublished_listings",
    "exposure": "select alert_id, limit_units, units, skus, worst_skus, opened_at from open_alerts",
    "credential": "select connection_id, connection, vendor, why, since from ending_credentials",
    "unconfirmed": "select connection_id, connection, state, packages, orders, since, example_order_id, example_order,"
    " example_package, code, detail from unconfirmed_shipments",
    "slowfeed": "select connection_id, connection, feed_id, feed_ref, state, since, listings, zeros from slow_feeds",
    "unshown": "select connection_id, connection, feed_id, state, since, writes, example_code from unshown_feeds",
    "hanging": "select connection_id, connection, reason, legs, changes, skus, since, detail, example_code"
    " from stuck_legs",
    "untold": "select connection_id, connection, missing, refused, since, checked_at, example, problem"
    " from untold_topics",
    "forward": "select connection_id, connection, asked_version, answered_version, answered_at from fallen_forward",
    "job": "select fingerprint, function, connection, runs, since, last_at, error from failed_jobs",
    "alert": "select alert_id, kind, fingerprint, severity, headline, sentence, next_step, page, address, worst_skus,"
    " connection_id, skus, orders, opened_at, regressed_from, unknown_since, unknown_because, acknowledged_by,"
    " acknowledged_at from open_alerts",
    "schedule": "select name, period, started_at, ended_at, outcome, violations, result from failed_schedules",
}

# What hangs is shown by connection and reason; its alert says no more than that.
_OF_KIND = {"exposure": " and kind = 'exposure'"}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def problems(shop_id: int, scope: str) -> dict[str, list[dict[str, Any]]]:
    """What may need a person, by kind, as the views find it."""
    return {
        kind: rows(f"{sql} where shop_id = %(shop)s{_OF_KIND.get(kind, '')}", shop=shop_id)
        for kind, sql in _PROBLEMS.items()
    }


def open_runs(shop_id: int) -> list[int]:
    """Syncs that wait or run; not cached, so that a reload never misses one."""
    found = rows(
        """
        select sync_run_id from sync_run_list
        where shop_id = %(shop)s and is_open and kind = 'sync_connection' order by sync_run_id
        """,
        shop=shop_id,
    )
    return [row["sync_run_id"] for row in found]


def sync_run(shop_id: int, run_id: int) -> dict[str, Any] | None:
    """One sync run as it stands this moment; not cached."""
    return one(
        """
        select sync_run_id, connection_id, connection, kind, trigger, requested_by, reason, state, step, done, total,
               counts, attempts, requested_at, started_at, heartbeat_at, ended_at, error, is_open, seconds_left,
               quiet_seconds, cancel_asked_by, cancel_reason, now() as as_of
        from sync_run_list where shop_id = %(shop)s and sync_run_id = %(run)s
        """,
        shop=shop_id,
        run=run_id,
    )


# --- SKUs -----------------------------------------------------------------------------------------------------------

# What each choice of the screen means in SQL; nothing a reader types becomes SQL text.
_FILTERS = {
    "all": "true",
    "not in step": "(k.shop_id, k.sku_id) in (select shop_id, sku_id from skus_not_in_step where shop_id = %(shop)s)",
    "short": "k.stock_state = 'short'",
    "scarce": "k.stock_state = 'scarce'",
}
# Order by one number and then the code, so that a page can begin after any row.
_SORTS = {
    "code": ("0::bigint", "asc"),
    "least available": ("coalesce(k.available, 0)", "asc"),
    "most reserved": ("-coalesce(k.reserved, 0)", "asc"),
}

FILTERS = tuple(_FILTERS)
SORTS = tuple(_SORTS)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def sku_page(
    shop_id: int, scope: str, show: str, sort: str, text: str, after: tuple[int, str] | None, backwards: bool = False
) -> SkuPage:
    """One page of SKUs from `after` (the key of the row before it), or before it when `backwards`."""
    number, _ = _SORTS[sort]
    beyond, way = ("<", "desc") if backwards else (">", "asc")
    found = rows(
        f"""
        with page as (
            select k.shop_id, k.sku_id, k.code, k.title, k.on_hand, k.reserved, k.available, k.stock_state,
                   {number} as sort_number
            from sku_stock k
            where k.shop_id = %(shop)s and {_FILTERS[show]}
            and (%(text)s::text = '' or k.code ilike %(prefix)s or k.title ilike %(inside)s or k.barcode = %(text)s)
            and (%(code)s::text is null or ({number}, k.code) {beyond} (%(number)s, %(code)s))
            order by sort_number {way}, code {way} limit {PAGE + 1}
        )
        select p.*, shown.channels, now() as as_of
        from page p
        left join lateral (
            select jsonb_agg(jsonb_build_object('connection_id', l.connection_id, 'connection', l.connection,
                       'desired', l.desired_units, 'published', l.published_units, 'state', l.state)
                       order by l.connection, l.listing_id) as channels
            from sku_listings l where l.shop_id = p.shop_id and l.sku_id = p.sku_id
        ) shown on true
        order by p.sort_number {way}, p.code {way}
        """,
        shop=shop_id,
        text=text,
        prefix=_like(text) + "%",
        inside=f"%{_like(text)}%",
        code=after[1] if after else None,
        number=after[0] if after else 0,
    )
    more, kept = len(found) > PAGE, found[:PAGE]
    return SkuPage(kept[::-1] if backwards else kept, more)


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def find_sku(shop_id: int, text: str) -> list[str]:
    """Codes that `text` may mean: the exact code or barcode alone, else up to two that begin with it."""
    exact = rows(
        "select code from sku_stock where shop_id = %(shop)s and (code = %(text)s or barcode = %(text)s) limit 2",
        shop=shop_id,
        text=text,
    )
    if exact:
        return [row["code"] for row in exact]
    begun = rows(
        "select code from sku_stock where shop_id = %(shop)s and code ilike %(prefix)s order by code limit 2",
        shop=shop_id,
        prefix=_like(text) + "%",
    )
    return [row["code"] for row in begun]


def sku(shop_id: int, code: str) -> dict[str, Any] | None:
    """One SKU's sums."""
    return one(
        """
        select sku_id, code, title, barcode, category, is_stocked, is_bundle, on_hand, reserved, unavailable, incoming,
               available, stock_state, now() as as_of
        from sku_stock where shop_id = %(shop)s and code = %(code)s
        """,
        shop=shop_id,
        code=code,
    )


def sku_levels(shop_id: int, sku_id: int) -> Sequence[Row]:
    """One SKU's level at each place."""
    return rows(
        """
        select location, on_hand, reserved, unavailable, incoming, available, is_external
        from sku_levels where shop_id = %(shop)s and sku_id = %(sku)s order by location
        """,
        shop=shop_id,
        sku=sku_id,
    )


def sku_listings(shop_id: int, sku_id: int) -> Sequence[Row]:
    """One SKU's listings with their open writes."""
    return rows(
        """
        select listing_id, connection_id, connection, vendor, guarantee_class, channel_ref, channel_code, location,
               status, is_tracked, publishing, publishing_reason, desired_units, published_units, published_at,
               next_push_at, push_failures, push_problem, write_id, write_from, write_to, write_planned_at,
               write_sent_at, write_accepted_at, write_deadline_at, write_next_check_at, write_attempts, write_doubt,
               state, now() as as_of
        from sku_listings where shop_id = %(shop)s and sku_id = %(sku)s order by connection, listing_id
        """,
        shop=shop_id,
        sku=sku_id,
    )
