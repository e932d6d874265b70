"""Reads of the Oversell risk screen: pools by risk, who may sell how much of them, how that came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.inventory import shortages as post_mortems
from core.inventory.shortages import PostMortem
from dashboard import history
from dashboard.queries import Unreadable, engine, one, rows

PAGE = 25
PICTURED = 8
SHORTAGES = 10
TREND_STEPS = 12
"""Of five minutes."""
TREND_DEPTH = 500
"""Changes of one listing that the trend looks at; what lies before them is unknown, not flat."""
STEPS = history.STEPS
"""The same as those of the level, so that both lines step at the same moments."""
STEPS_DEPTH = 5_000

# What each choice of the screen means in SQL; nothing a reader types becomes SQL text.
_FILTERS = {
    "all": "true",
    "at risk": "r.risk_units > 0",
    "close": "r.risk_state = 'close'",
    "unknown": "r.unwatched_listings > 0",
}
FILTERS = tuple(_FILTERS)
# Each order by two numbers, then code and place, so that a page can begin after any row. By units: among the safe those
# with the least left beside what is exposed. By time: what is at risk before what is not, the soonest gone first.
_SORTS = {
    "units": ("-r.risk_units", "r.available - r.exposed_units"),
    "soonest": ("case when r.risk_units > 0 then 0 else 1 end", "floor(coalesce(r.minutes_of_cover, 1e9))::int8"),
}
SORTS = tuple(_SORTS)

Key = tuple[int, int, str, int]


class RiskPage(NamedTuple):
    """One page of pools, worst first; `more` says whether another follows."""

    rows: list[dict[str, Any]]
    more: bool


def forget() -> None:
    """Read everything afresh."""
    for cached in (totals, page, by_channel, trend, watermarks, exposed_over_time, shortages, alerting):
        cached.clear()


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def totals(shop_id: int, scope: str) -> dict[str, Any]:
    """What is at risk in all, and how the pools stand."""
    found = one(
        """
        select coalesce(sum(risk_units), 0)::int8 as risk_units, coalesce(sum(short_units), 0)::int8 as short_units,
            count(distinct sku_id) filter (where risk_units > 0) as risk_skus, count(*) as pools,
            coalesce(sum(exposed_units), 0)::int8 as exposed_units,
            coalesce(sum(greatest(0, available)), 0)::int8 as available,
            count(*) filter (where is_escrow) as escrow_pools,
            count(*) filter (where unwatched_listings > 0) as unwatched_pools, max(risk_units) as worst_units,
            (array_agg(code order by risk_units desc, code) filter (where risk_units > 0))[1] as worst_code,
            now() as as_of
        from pool_risk where shop_id = %(shop)s
        """,
        shop=shop_id,
    )
    assert found is not None
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def page(
    shop_id: int, scope: str, show: str, sort: str, text: str, after: Key | None, backwards: bool = False
) -> RiskPage:
    """One page of pools from `after` (the key of the row before it), or before it when `backwards`."""
    beyond, way = ("<", "desc") if backwards else (">", "asc")
    first, second = _SORTS[sort]
    found = rows(
        f"""
        select r.*, {first} as sort_first, {second} as sort_second, now() as as_of
        from pool_risk r
        where r.shop_id = %(shop)s and {_FILTERS[show]}
            and (%(text)s::text = '' or r.code ilike %(prefix)s or r.title ilike %(inside)s)
            and (%(code)s::text is null or ({first}, {second}, r.code, r.location_id)
                {beyond} (%(first)s, %(second)s, %(code)s, %(location)s))
        order by {first} {way}, {second} {way}, r.code {way}, r.location_id {way}
        limit {PAGE + 1}
        """,
        shop=shop_id,
        text=text,
        prefix=_like(text) + "%",
        inside=f"%{_like(text)}%",
        first=after[0] if after else 0,
        second=after[1] if after else 0,
        code=after[2] if after else None,
        location=after[3] if after else 0,
    )
    more, kept = len(found) > PAGE, found[:PAGE]
    return RiskPage(kept[::-1] if backwards else kept, more)


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def by_channel(shop_id: int, scope: str, sku_ids: tuple[int, ...]) -> list[dict[str, Any]]:
    """What each channel may still sell of some SKUs' pools, unbooked, in units of the pool."""
    return rows(
        """
        select sku_id, location_id, connection_id, connection, sum(exposed_pool_units)::int8 as units,
            bool_or(is_unwatched) as is_unwatched
        from pool_seats where shop_id = %(shop)s and sku_id = any(%(skus)s) group by 1, 2, 3, 4 order by 1, 2, 4
        """,
        shop=shop_id,
        skus=list(sku_ids),
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def trend(shop_id: int, scope: str, sku_ids: tuple[int, ...]) -> list[dict[str, Any]]:
    """Changes of what is exposed over the last hour, by pool and step of five minutes; step 1 is the newest.

    `known_steps`: as far back as the newest TREND_DEPTH changes of each listing reach, or to where its record begins,
    which is no change itself.
    """
    return rows(
        f"""
        select t.sku_id, t.location_id, c.step, sum(c.delta_units * t.units_each)::int8 as delta_units,
            min(c.known_steps) as known_steps
        from pool_seats t
        cross join lateral (
            select n.step, case when n.cause = 'base' then 0 else n.delta_units end as delta_units,
                least({TREND_STEPS}, min(n.step) filter (where n.cause = 'base') over (),
                    case when count(*) over () = {TREND_DEPTH} then max(n.step) over () - 1 end) as known_steps
            from (
                select x.cause, x.delta_units, x.changed_at,
                    1 + floor(extract(epoch from now() - x.changed_at) / 300)::int as step
                from exposure_change_log x
                where x.shop_id = t.shop_id and x.listing_id = t.listing_id
                order by x.change_id desc limit {TREND_DEPTH}
            ) n
            where n.changed_at > now() - interval '1 hour'
        ) c
        where t.shop_id = %(shop)s and t.sku_id = any(%(skus)s)
        group by 1, 2, 3 order by 1, 2, 3
        """,
        shop=shop_id,
        skus=list(sku_ids),
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def watermarks(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Up to when each connection's orders are known, and what may hold that up; by name."""
    return rows(
        """
        select connection_id, name, guarantee_class, switch, reads_orders, watermark_at, doubt_seconds, parked_cause,
            parked_at, has_unmapped_line, is_exposed, now() as as_of
        from connection_watermarks where shop_id = %(shop)s order by name
        """,
        shop=shop_id,
    )


def pools(shop_id: int, code: str) -> list[dict[str, Any]]:
    """The pools of one SKU with its own stock, or of the parts of a bundle; worst first."""
    return rows(
        """
        select r.*, u.unwatched, now() as as_of
        from pool_risk r
        cross join lateral (
            select jsonb_agg(distinct jsonb_build_object('connection', t.connection, 'reads_orders', t.reads_orders,
                'guarantee_class', t.guarantee_class)) as unwatched
            from pool_seats t where t.shop_id = r.shop_id and t.sku_id = r.sku_id and t.location_id = r.location_id
                and t.is_unwatched
        ) u
        where r.shop_id = %(shop)s and r.sku_id = (
            select sku_id from sku_stock where shop_id = %(shop)s and code = %(code)s)
        order by r.risk_units desc, r.location
        """,
        shop=shop_id,
        code=code,
    )


def seats(shop_id: int, sku_id: int) -> list[dict[str, Any]]:
    """Who may sell one SKU's pools: each listing with its open write; by place and channel."""
    return rows(
        """
        select t.listing_id, t.connection_id, t.connection, t.guarantee_class, t.switch, t.listing_code, t.is_bundle,
            t.units_each, t.exposed_units, t.exposed_pool_units, t.published_units, t.published_at, t.desired_units,
            t.publishing, t.edited_units, t.reads_orders, t.watermark_at, t.is_unwatched, p.name as location,
            w.write_id, w.from_units as write_from, w.to_units as write_to, w.planned_at as write_planned_at,
            w.doubt as write_doubt, last.outcome as last_outcome, last.outcome_at as last_outcome_at,
            last.to_units as last_to, now() as as_of
        from pool_seats t
        join location_list p on p.shop_id = t.shop_id and p.location_id = t.location_id
        left join lateral (
            select g.write_id, g.from_units, g.to_units, g.planned_at, g.doubt from listing_write_log g
            where g.shop_id = t.shop_id and g.listing_id = t.listing_id and g.outcome is null
        ) w on true
        left join lateral (
            select g.outcome, g.outcome_at, g.to_units from listing_write_log g
            where g.shop_id = t.shop_id and g.listing_id = t.listing_id order by g.write_id desc limit 1
        ) last on true
        where t.shop_id = %(shop)s and t.sku_id = %(sku)s order by p.name, t.connection, t.listing_id
        """,
        shop=shop_id,
        sku=sku_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def exposed_over_time(shop_id: int, sku_id: int, scope: str, days: int) -> list[dict[str, Any]]:
    """What was exposed of one SKU at the end of each of STEPS steps, counted back from now by its ledger.

    Begins with the first change on record, or where the newest STEPS_DEPTH changes of each listing do.
    """
    return rows(
        f"""
        with changed as materialized (
            select t.listing_id, n.changed_at, n.delta_units * t.units_each as delta_units, n.is_deepest
            from pool_seats t
            cross join lateral (
                select x.changed_at, x.delta_units,
                    row_number() over (order by x.change_id desc) = {STEPS_DEPTH} as is_deepest
                from exposure_change_log x where x.shop_id = t.shop_id and x.listing_id = t.listing_id
                order by x.change_id desc limit {STEPS_DEPTH}
            ) n
            where t.shop_id = %(shop)s and t.sku_id = %(sku)s
        ), reach as (
            select now() as ends, greatest(now() - %(days)s * interval '1 day',
                (select max(changed_at) from changed where is_deepest)) as begins
        ), steps as (
            select least({STEPS}, width_bucket(extract(epoch from c.changed_at)::float8,
                    extract(epoch from r.begins)::float8, extract(epoch from r.ends)::float8 + 1, {STEPS})) as step,
                sum(c.delta_units) as delta
            from changed c cross join reach r where c.changed_at >= r.begins group by 1
            union all select {STEPS + 1}, 0
            union all select 0, 0
        )
        select least(r.begins + (r.ends - r.begins) * (s.step::float8 / {STEPS}), r.ends) as at,
            (e.exposed - coalesce(sum(s.delta) over (order by s.step desc rows between unbounded preceding
                and 1 preceding), 0))::int8 as exposed
        from steps s cross join reach r
        cross join (select coalesce(sum(exposed_pool_units), 0) as exposed from pool_seats
            where shop_id = %(shop)s and sku_id = %(sku)s) e
        -- What was there before the first change on record is not known.
        where s.step > 0 or exists (select from changed c where c.changed_at <= r.begins)
        order by s.step
        """,
        shop=shop_id,
        sku=sku_id,
        days=days,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def shortages(shop_id: int, scope: str, before: int | None, sku_id: int | None = None) -> RiskPage:
    """When more was sold than there was, newest first, before the shortage `before`; of one SKU or of all."""
    found = rows(
        f"""
        select shortage_id, code, title, location, began_at, booked_at, ended_at, before_units, after_units,
            worst_units, order_name, connection, movement_reason, now() as as_of
        from shortage_list where shop_id = %(shop)s and (%(before)s::int8 is null or shortage_id < %(before)s)
            and (%(sku)s::int8 is null or sku_id = %(sku)s)
        order by shortage_id desc limit {SHORTAGES + 1}
        """,
        shop=shop_id,
        before=before,
        sku=sku_id,
    )
    return RiskPage(found[:SHORTAGES], len(found) > SHORTAGES)


def post_mortem(shop_id: int, shortage_id: int) -> PostMortem:
    """One shortage told. Raises NoShortage, Unreadable."""
    try:
        with read_only(engine()) as conn:
            return post_mortems.read(conn, shop_id, shortage_id)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def alerting(shop_id: int, scope: str) -> dict[str, Any]:
    """The limit on exposure with who set it, and the newest alert; `limit_units` None: switched off."""
    found = one(
        """
        select r.limit_units, r.set_by, r.reason, r.set_at, a.alert_id, a.units, a.worst_units, a.skus, a.worst_skus,
            a.opened_at, a.closed_at, a.is_told, a.limit_units as alert_limit_units, now() as as_of
        from (select %(shop)s::int8 as shop_id) s
        left join alert_rule_list r on r.shop_id = s.shop_id and r.kind = 'exposure'
        left join lateral (
            select * from alert_list n where n.shop_id = s.shop_id and n.kind = 'exposure'
            order by n.alert_id desc limit 1
        ) a on true
        """,
        shop=shop_id,
    )
    assert found is not None
    return found


def listed(found: Sequence[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """Those rows that are about the pool of `row`."""
    return [each for each in found if (each["sku_id"], each["location_id"]) == (row["sku_id"], row["location_id"])]
