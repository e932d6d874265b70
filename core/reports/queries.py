"""Reads of daily reports: the figures of a day out of the facts, in sets, and what was reported before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one, scalar
from core.errors import BadInput
from core.reports.rules import USUAL_WEEKS, Content, Policy

SKUS = 10
"""The best of each currency that a report names."""
ROWS = 50
"""Stock-outs, oversells and alerts that it names; all of them are counted."""


class NoSuchReport(BadInput):
    """A report asked for that is not there."""

    def __init__(self, day: date, edition: int | None) -> None:
        what = f"edition {edition} of the report of {day}" if edition else f"report of {day}"
        super().__init__(f"there is no {what}: `switchyard report list` shows what there is, `report build` makes one")


@dataclass(frozen=True, slots=True)
class ShopRow:
    """A shop as reports need it."""

    shop_id: int
    name: str
    time_zone: str
    currency: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One edition of a day's report, with what it says. `editions`: how many the day has by now."""

    shop_id: int
    id: int
    day: date
    edition: int
    editions: int
    time_zone: str
    begins_at: datetime
    ends_at: datetime
    content: Content
    content_hash: str
    changes: list[dict[str, Any]]
    causes: list[dict[str, Any]]
    is_material: bool
    built_at: datetime
    built_by: str
    reason: str


def shop(conn: Connection, shop_id: int) -> ShopRow:
    """The shop. Raises BadInput when there is none of that number."""
    row = fetch_one(
        conn,
        "select shop_id, name, time_zone, currency, created_at as opened_at from shops where shop_id = %(shop)s",
        shop=shop_id,
    )
    if row is None:
        raise BadInput(f"there is no shop {shop_id}")
    return ShopRow(**row)


def policy(conn: Connection, shop_id: int) -> Policy:
    """How corrections of a shop are looked for and told."""
    row = fetch_one(
        conn,
        "select look_back_days, material_share from daily_report_policies where shop_id = %(shop)s",
        shop=shop_id,
    )
    return Policy() if row is None else Policy(**row)


_EDITION = """
    select r.shop_id, r.id, r.day, r.edition, r.time_zone, r.begins_at, r.ends_at, r.content, r.content_hash, r.changes,
        r.causes, r.is_material, r.built_at, r.built_by, r.reason,
        (select max(n.edition) from daily_reports n where n.shop_id = r.shop_id and n.day = r.day) as editions
    from daily_reports r
"""


def report(conn: Connection, shop_id: int, day: date, edition: int | None = None) -> ReportRow:
    """One edition of a day's report, the newest where none is named. Raises NoSuchReport."""
    found = find(conn, shop_id, day, edition)
    if found is None:
        raise NoSuchReport(day, edition)
    return found


def find(conn: Connection, shop_id: int, day: date, edition: int | None = None) -> ReportRow | None:
    """The same, or None."""
    row = fetch_one(
        conn,
        f"""
        {_EDITION}
        where r.shop_id = %(shop)s and r.day = %(day)s and (%(edition)s::int4 is null or r.edition = %(edition)s)
        order by r.edition desc limit 1
        """,
        shop=shop_id,
        day=day,
        edition=edition,
    )
    return None if row is None else ReportRow(**row)


def newest(conn: Connection, shop_id: int) -> date | None:
    """The last day that is reported."""
    found: date | None = scalar(conn, "select max(day) from daily_reports where shop_id = %(shop)s", shop=shop_id)
    return found


def list_(conn: Connection, shop_id: int, *, before: date | None = None, limit: int = 30) -> Sequence[RowMapping]:
    """The newest edition of each day before `before`, newest first."""
    return fetch(
        conn,
        """
        select * from daily_report_list
        where shop_id = %(shop)s and is_latest and (%(before)s::date is null or day < %(before)s)
        order by day desc limit %(limit)s
        """,
        shop=shop_id,
        before=before,
        limit=limit,
    )


def reported_until(conn: Connection, shop_id: int, day: date) -> tuple[datetime | None, datetime | None]:
    """Up to when days before `day` are reported: the latest of all of them, and that of the day right before."""
    row = fetch_one(
        conn,
        """
        select max(ends_at) as latest, max(ends_at) filter (where day = %(before)s) as before from daily_reports
        where shop_id = %(shop)s and day < %(day)s and day >= %(day)s - 4
        """,
        shop=shop_id,
        day=day,
        before=day - timedelta(days=1),
    )
    assert row is not None
    return row["latest"], row["before"]


def reported_days(conn: Connection, shop_id: int, begins: date, ends: date) -> set[date]:
    """Days from `begins` to `ends` (both included) that have a report."""
    rows = fetch(
        conn,
        "select distinct day from daily_reports where shop_id = %(shop)s and day between %(begins)s and %(ends)s",
        shop=shop_id,
        begins=begins,
        ends=ends,
    )
    return {row["day"] for row in rows}


def same_weekdays_before(conn: Connection, shop_id: int, day: date) -> list[Content]:
    """What was reported of the same weekday in the weeks before: the newest editions."""
    rows = fetch(
        conn,
        f"""
        select distinct on (day) day, jsonb_build_object('by_hour', content -> 'by_hour') as content from daily_reports
        where shop_id = %(shop)s and day = any(array(
            select %(day)s::date - 7 * back from generate_series(1, {USUAL_WEEKS}) back))
        order by day, edition desc
        """,
        shop=shop_id,
        day=day,
    )
    return [row["content"] for row in rows]


# --- orders and money ------------------------------------------------------------------------------------------------

# Goods are what has stock by nature, what is not mapped yet included; carriage and vouchers are counted apart.
_IS_GOODS = "coalesce(k.is_stocked, true)"

_BUSINESS = f"""
    with sold as materialized (
        select o.id, o.connection_id, o.country_code, o.currency, o.placed_at, o.tax_minor, o.shipping_minor
        from orders o
        where o.shop_id = %(shop)s and not o.is_test and o.placed_at >= %(begins)s and o.placed_at < %(ends)s
    ), line as materialized (
        select s.id as order_id, s.currency, l.units, l.discount_minor, l.total_minor, {_IS_GOODS} as is_goods,
            coalesce(k.code, l.code, l.title) as code, coalesce(k.title, l.title) as title
        from sold s
        join order_lines l on l.shop_id = %(shop)s and l.order_id = s.id
        left join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
    ), per_order as materialized (
        select s.id, s.connection_id, s.country_code, s.currency, s.placed_at, s.tax_minor, s.shipping_minor,
            coalesce(sum(l.units) filter (where l.is_goods), 0) as units,
            coalesce(sum(l.units) filter (where not l.is_goods), 0) as other_units,
            coalesce(sum(l.discount_minor), 0) as discount_minor, coalesce(sum(l.total_minor), 0) as revenue_minor
        from sold s left join line l on l.order_id = s.id
        group by s.id, s.connection_id, s.country_code, s.currency, s.placed_at, s.tax_minor, s.shipping_minor
    ), refund as (
        select o.connection_id, o.country_code, r.amount_minor,
            -- A refund that moved no money may name no currency of people.
            case when r.amount_minor = 0 then o.currency else r.currency end as currency,
            coalesce((select sum(rl.units) from refund_lines rl
                join order_lines l on l.shop_id = rl.shop_id and l.id = rl.order_line_id
                left join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
                where rl.shop_id = r.shop_id and rl.refund_id = r.id and {_IS_GOODS}), 0) as units
        from refunds r
        join orders o on o.shop_id = r.shop_id and o.id = r.order_id and not o.is_test
        where r.shop_id = %(shop)s and r.refunded_at >= %(begins)s and r.refunded_at < %(ends)s
        union all
        select null, c.country_code, c.total_minor, c.currency, case when k.is_stocked then c.units else 0 end
        from customer_returns c join skus k on k.shop_id = c.shop_id and k.id = c.sku_id
        where c.shop_id = %(shop)s and c.returned_at >= %(begins)s and c.returned_at < %(ends)s
    ), cancelled as (
        select o.id, o.connection_id, o.country_code, o.currency,
            coalesce(sum(l.units) filter (where {_IS_GOODS}), 0) as units, coalesce(sum(l.total_minor), 0) as minor
        from orders o
        left join order_lines l on l.shop_id = o.shop_id and l.order_id = o.id
        left join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
        where o.shop_id = %(shop)s and not o.is_test and o.cancelled_at is not null
            and o.cancelled_at >= %(begins)s and o.cancelled_at < %(ends)s
        group by o.id, o.connection_id, o.country_code, o.currency
    ), part as (
        select connection_id, country_code, currency, count(*) as orders, sum(units) as units,
            sum(other_units) as other_units, sum(discount_minor) as discount_minor, sum(revenue_minor) as revenue_minor,
            sum(tax_minor) as tax_minor, sum(shipping_minor) as shipping_minor, 0 as refunds, 0 as refunded_units,
            0 as refunded_minor, 0 as cancellations, 0 as cancelled_units, 0 as cancelled_minor
        from per_order group by 1, 2, 3
        union all
        select connection_id, country_code, currency, 0, 0, 0, 0, 0, null, null, count(*), sum(units),
            sum(amount_minor), 0, 0, 0
        from refund group by 1, 2, 3
        union all
        select connection_id, country_code, currency, 0, 0, 0, 0, 0, null, null, 0, 0, 0, count(*), sum(units),
            sum(minor)
        from cancelled group by 1, 2, 3
    ), market as (
        select p.connection_id, c.name as connection, c.vendor, c.settings ->> 'marketplace_id' as marketplace,
            p.country_code as country, p.currency, sum(p.orders) as orders, sum(p.units) as units,
            sum(p.other_units) as other_units, sum(p.revenue_minor) + sum(p.discount_minor) as gross_minor,
            sum(p.discount_minor) as discount_minor, sum(p.revenue_minor) as revenue_minor,
            sum(p.tax_minor) as tax_minor, sum(p.shipping_minor) as shipping_minor, sum(p.refunds) as refunds,
            sum(p.refunded_units) as refunded_units, sum(p.refunded_minor) as refunded_minor,
            sum(p.cancellations) as cancellations, sum(p.cancelled_units) as cancelled_units,
            sum(p.cancelled_minor) as cancelled_minor
        from part p left join connections c on c.shop_id = %(shop)s and c.id = p.connection_id
        group by 1, 2, 3, 4, 5, 6
    ), hour as (
        select h.index, sum(h.orders) as orders, sum(h.units) as units,
            jsonb_object_agg(h.currency, h.revenue_minor) as revenue
        from (
            select floor(extract(epoch from placed_at - %(begins)s) / 3600)::int as index, currency,
                count(*) as orders, sum(units) as units, sum(revenue_minor) as revenue_minor
            from per_order group by 1, 2
        ) h group by 1
    ), sku as (
        select *, row_number() over (partition by currency order by revenue_minor desc, units desc, code) as place
        from (
            select currency, code, min(title) as title, count(distinct order_id) as orders, sum(units) as units,
                sum(total_minor) as revenue_minor
            from line where is_goods group by currency, code
        ) s
    )
    select
        (select coalesce(jsonb_agg(to_jsonb(m) order by m.orders desc, m.revenue_minor desc, m.connection_id,
            m.country, m.currency), '[]') from market m) as markets,
        (select coalesce(jsonb_agg(to_jsonb(h)), '[]') from hour h) as hours,
        (select coalesce(jsonb_agg(to_jsonb(s) - 'place' order by s.currency, s.place), '[]') from sku s
            where s.place <= {SKUS}) as skus,
        (select count(*) from sku) as skus_sold,
        jsonb_build_object(
            'order_id', (select max(id) from orders where shop_id = %(shop)s),
            'refund_id', (select max(id) from refunds where shop_id = %(shop)s),
            'return_id', (select max(id) from customer_returns where shop_id = %(shop)s)) as seen
"""


def business(conn: Connection, shop_id: int, begins: datetime, ends: datetime) -> RowMapping:
    """`markets`, `hours`, `skus`, `skus_sold` and `seen` of a window: one statement, so that they are of one moment."""
    row = fetch_one(conn, _BUSINESS, shop=shop_id, begins=begins, ends=ends)
    assert row is not None
    return row


_CAUSES = """
    select 'order_late' as kind, o.name, c.name as connection, o.recorded_at as at from orders o
    join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
    where o.shop_id = %(shop)s and not o.is_test and o.placed_at >= %(begins)s and o.placed_at < %(ends)s
        and o.id > %(order)s
    union all
    select case when o.cancelled_at >= %(begins)s and o.cancelled_at < %(ends)s then 'order_cancelled'
        else 'order_changed' end, o.name, c.name, o.version_at from orders o
    join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
    where o.shop_id = %(shop)s and not o.is_test and o.version_at >= %(since)s and o.id <= %(order)s
        and (o.placed_at >= %(begins)s and o.placed_at < %(ends)s
            or o.cancelled_at >= %(begins)s and o.cancelled_at < %(ends)s)
    union all
    select 'refund_late', o.name, c.name, r.channel_created_at from refunds r
    join orders o on o.shop_id = r.shop_id and o.id = r.order_id and not o.is_test
    join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
    where r.shop_id = %(shop)s and r.refunded_at >= %(begins)s and r.refunded_at < %(ends)s and r.id > %(refund)s
    union all
    select 'return_late', k.code, null, b.recorded_at from customer_returns b
    join skus k on k.shop_id = b.shop_id and k.id = b.sku_id
    where b.shop_id = %(shop)s and b.returned_at >= %(begins)s and b.returned_at < %(ends)s and b.id > %(return)s
"""


def causes(conn: Connection, before: ReportRow, names: int = 5) -> list[dict[str, Any]]:
    """What came, or changed, after an edition was built: by kind the number, and the names of the first few."""
    seen = before.content["seen"]
    rows = fetch(
        conn,
        f"""
        select kind, connection, count(*) as count,
            (array_agg(name order by at, name))[1:%(names)s] as names, min(at) as first_at, max(at) as last_at
        from ({_CAUSES}) found group by kind, connection order by kind, connection
        """,
        shop=before.shop_id,
        begins=before.begins_at,
        ends=before.ends_at,
        since=before.built_at,
        order=seen["order_id"] or 0,
        refund=seen["refund_id"] or 0,
        names=names,
        **{"return": seen["return_id"] or 0},
    )
    return [
        {**row, "first_at": row["first_at"].isoformat(), "last_at": row["last_at"].isoformat(), "names": row["names"]}
        for row in rows
    ]
