"""Reads of one SKU's past: its movements, its writes, its level over time. Split from `queries` by subject."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st

from dashboard.queries import rows

STEPS = 400
# As far back as one figure looks: enough for years of most SKUs, and the same work for all of them.
DEPTH = 5_000
PAGE = 20


class Page(NamedTuple):
    """Newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


def _page(found: list[dict[str, Any]]) -> Page:
    return Page(found[:PAGE], len(found) > PAGE)


def movements(shop_id: int, sku_id: int, before: int | None) -> Page:
    """Movements older than `before` (an id), newest first."""
    return _page(
        rows(
            f"""
            select movement_id, location, delta_units, reason, business_key, note, recorded_by, occurred_at,
                   recorded_at, order_name
            from sku_movements
            where shop_id = %(shop)s and sku_id = %(sku)s and (%(before)s::bigint is null or movement_id < %(before)s)
            order by movement_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            sku=sku_id,
            before=before,
        )
    )


def writes(shop_id: int, sku_id: int, before: int | None) -> Page:
    """Writes of all the SKU's listings older than `before` (an id), newest first."""
    return _page(
        rows(
            f"""
            select l.connection, w.write_id, w.from_units, w.to_units, w.planned_at, w.sent_at, w.outcome, w.outcome_at,
                   w.outcome_code, w.outcome_detail, w.observed_units, w.doubt, w.attempts
            from sku_listings l
            cross join lateral (
                select write_id, from_units, to_units, planned_at, sent_at, outcome, outcome_at, outcome_code,
                       outcome_detail, observed_units, doubt, attempts
                from listing_write_log g
                where g.shop_id = l.shop_id and g.listing_id = l.listing_id
                and (%(before)s::bigint is null or g.write_id < %(before)s)
                order by g.write_id desc limit {PAGE + 1}
            ) w
            where l.shop_id = %(shop)s and l.sku_id = %(sku)s
            order by w.write_id desc limit {PAGE + 1}
            """,
            shop=shop_id,
            sku=sku_id,
            before=before,
        )
    )


class Levels(NamedTuple):
    """A SKU's level at the end of each step; `since` is set when the figure cannot look further back."""

    points: list[dict[str, Any]]
    since: datetime | None


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def levels_over_time(shop_id: int, sku_id: int, scope: str, days: int) -> Levels:
    """On hand and available over the last `days`, counted back from what is there now.

    Promises count from when they were booked until they were shipped; those that ended otherwise are left out.
    """
    found = rows(
        f"""
        with moved as (
            select recorded_at as at, delta_units as hand, available_delta_units as free from sku_movements
            where shop_id = %(shop)s and sku_id = %(sku)s order by movement_id desc limit {DEPTH}
        ), promised as (
            select created_at as at, 0 as hand, -promised_units as free from sku_promises
            where shop_id = %(shop)s and sku_id = %(sku)s and promised_units > 0
            order by reservation_id desc limit {DEPTH}
        ), reach as (
            select now() as ends, greatest(
                now() - %(days)s * interval '1 day',
                case when (select count(*) from moved) = {DEPTH} then (select min(at) from moved) end,
                case when (select count(*) from promised) = {DEPTH} then (select min(at) from promised) end
            ) as begins, (select count(*) from moved) = {DEPTH} or (select count(*) from promised) = {DEPTH} as is_cut
        ), shifts as (
            select least({STEPS}, width_bucket(extract(epoch from e.at)::float8, extract(epoch from r.begins)::float8,
                                extract(epoch from r.ends)::float8 + 1, {STEPS})) as step,
                   sum(e.hand) as hand, sum(e.free) as free
            from (select * from moved union all select * from promised) e cross join reach r
            where e.at >= r.begins group by 1
        ), level as (
            select on_hand, available from sku_stock where shop_id = %(shop)s and sku_id = %(sku)s
        ), steps as (
            select step, hand, free from shifts
            union all select 0, 0, 0 union all select {STEPS + 1}, 0, 0
        )
        select
            least(r.begins + (r.ends - r.begins) * (s.step::float8 / {STEPS}), r.ends) as at, r.begins, r.is_cut,
            (l.on_hand - coalesce(sum(s.hand) over later, 0))::bigint as on_hand,
            (l.available - coalesce(sum(s.free) over later, 0))::bigint as available
        from steps s cross join reach r cross join level l
        window later as (order by s.step desc rows between unbounded preceding and 1 preceding)
        order by s.step
        """,
        shop=shop_id,
        sku=sku_id,
        days=days,
    )
    cut = bool(found) and found[0]["is_cut"] and found[0]["begins"] is not None
    return Levels(found, found[0]["begins"] if cut else None)
