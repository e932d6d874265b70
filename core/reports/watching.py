"""How the machinery did on a day: stock-outs, oversells, sync, discrepancies and alerts. Reads only, in sets.

All of it goes by when we knew of it, so that a day that is closed stays as it was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.db import fetch, scalar
from core.reports.queries import ROWS

# What is available of a SKU over a day, counted back from what is there now. Promises count from when they were booked
# until they were shipped, as on the SKU's page; places that a channel keeps itself are not ours to run out of.
_STOCK_OUTS = """
    with own as (
        select id from locations where shop_id = %(shop)s and kind <> 'external'
    ), shift as materialized (
        select m.sku_id, m.recorded_at as at,
            case when m.reason = 'shipment' and exists (select from reservations r where r.shop_id = m.shop_id
                and r.order_line_id = m.order_line_id and r.sku_id = m.sku_id) then 0
                else m.delta_units - m.unavailable_delta_units end as free
        from stock_movements m
        where m.shop_id = %(shop)s and m.recorded_at >= %(begins)s and m.location_id in (select id from own)
        union all
        select r.sku_id, r.created_at,
            -(r.held_units + case when r.order_line_id is null then 0 else r.consumed_units end)
        from reservations r
        where r.shop_id = %(shop)s and r.created_at >= %(begins)s and r.location_id in (select id from own)
    ), moved as materialized (
        select sku_id, sum(free) as free from shift group by sku_id having bool_or(at < %(ends)s)
    ), step as (
        select sku_id, at, free from shift where at < %(ends)s
        union all
        -- What there was when the day began. By the key of each: of the rows before nobody knows how many there are.
        select m.sku_id, %(begins)s, coalesce((select sum(v.available) from stock_levels v
            where v.shop_id = %(shop)s and v.sku_id = m.sku_id and v.location_id in (select id from own)), 0) - m.free
        from moved m
    ), held as (
        select sku_id, at, sum(free) over w as available, lead(at, 1, %(ends)s) over w as until,
            lag(at) over w is null as is_first
        from (select sku_id, at, sum(free) as free from step group by sku_id, at) s
        window w as (partition by sku_id order by at)
    ), reached as (
        select h.*, lag(available) over (partition by sku_id order by at) as before from held h
    ), out_of as (
        select sku_id, extract(epoch from sum(until - at))::float8 / 60 as minutes,
            min(at) filter (where before > 0) as reached_at, bool_or(is_first) as since_before,
            bool_or(until = %(ends)s) as is_still
        from reached where available <= 0 group by sku_id
    )
    select k.code, k.title, round(o.minutes)::int8 as minutes, o.reached_at, o.since_before, o.is_still
    from out_of o join skus k on k.shop_id = %(shop)s and k.id = o.sku_id and k.is_stocked and not k.is_bundle
    -- One that was out before and all day was not sold out today.
    where o.reached_at is not null or not o.is_still
    order by o.minutes desc, k.code
"""

_OVERSELLS = """
    select s.id as shortage_id, k.code, k.title, s.began_at, s.ended_at, -s.worst_units as units
    from shortages s join skus k on k.shop_id = s.shop_id and k.id = s.sku_id
    where s.shop_id = %(shop)s and s.began_at >= %(begins)s and s.began_at < %(ends)s
    order by s.worst_units, s.id
"""

# Business refusals are no failures: they are told beside what was confirmed.
_SYNC = """
    select c.id as connection_id, c.name as connection, c.vendor, coalesce(r.done, 0)::int8 as runs_done,
        coalesce(r.failed, 0)::int8 as runs_failed, coalesce(r.refused, 0)::int8 as runs_refused,
        coalesce(w.confirmed, 0) as writes_confirmed,
        coalesce(w.refused, 0) as writes_refused, w.p50_ms as writes_p50_ms, w.p95_ms as writes_p95_ms,
        coalesce(o.orders, 0) as orders_booked, o.p50_ms as orders_p50_ms, o.p95_ms as orders_p95_ms,
        coalesce(a.calls, 0) as calls, coalesce(a.failed, 0) as calls_failed
    from connections c
    left join (
        -- Every turn, one that found nothing too, which has no run of its own. They are counted by hours of UTC: where
        -- a day begins within one, it is that of the day before.
        select connection_id, sum(turns) filter (where outcome in ('worked', 'nothing')) as done,
            sum(turns) filter (where outcome = 'failed') as failed,
            sum(turns) filter (where outcome = 'refused') as refused
        from sync_tallies where shop_id = %(shop)s and hour_at >= %(begins)s and hour_at < %(ends)s group by 1
    ) r on r.connection_id = c.id
    left join (
        select connection_id, count(*) filter (where outcome = 'confirmed') as confirmed,
            count(*) filter (where outcome = 'refused') as refused,
            (percentile_cont(0.5) within group (order by ms) filter (where outcome = 'confirmed'))::int8 as p50_ms,
            (percentile_cont(0.95) within group (order by ms) filter (where outcome = 'confirmed'))::int8 as p95_ms
        from (
            select connection_id, outcome, extract(epoch from outcome_at - planned_at) * 1000 as ms
            from listing_writes
            where shop_id = %(shop)s and outcome_at >= %(begins)s and outcome_at < %(ends)s
        ) each group by 1
    ) w on w.connection_id = c.id
    left join (
        select connection_id, count(*) as orders,
            (percentile_cont(0.5) within group (order by ms))::int8 as p50_ms,
            (percentile_cont(0.95) within group (order by ms))::int8 as p95_ms
        from (
            -- Orders of before a channel was connected came late for another reason.
            select o.connection_id, greatest(extract(epoch from o.recorded_at - o.channel_created_at), 0) * 1000 as ms
            from orders o
            where o.shop_id = %(shop)s and o.channel_created_at >= %(begins)s and o.channel_created_at < %(ends)s
                and o.recorded_at >= %(begins)s and o.recorded_at < %(now)s
        ) each group by 1
    ) o on o.connection_id = c.id
    left join (
        select connection_id, count(*) as calls,
            count(*) filter (where outcome in ('error', 'unknown')) as failed
        from api_calls where shop_id = %(shop)s and called_at >= %(begins)s and called_at < %(ends)s group by 1
    ) a on a.connection_id = c.id
    where c.shop_id = %(shop)s order by c.name, c.id
"""

_ALERTS = """
    select a.kind, a.fingerprint, a.headline, a.opened_at, a.closed_at,
        a.opened_at >= %(begins)s as is_opened, coalesce(a.closed_at < %(ends)s, false) as is_closed,
        (extract(epoch from least(coalesce(a.closed_at, %(ends)s), %(ends)s) - greatest(a.opened_at, %(begins)s)) / 60
        )::int8 as minutes
    from alerts a
    where a.shop_id = %(shop)s and a.opened_at < %(ends)s and (a.closed_at is null or a.closed_at >= %(begins)s)
    order by a.opened_at, a.id
"""


# Healed is what went after we had corrected it; what went by itself was resolved all the same.
_DISCREPANCIES = """
    select c.name as connection, d.kind, d.cause,
        count(*) filter (where d.first_seen_at >= %(begins)s) as found,
        count(*) filter (where d.resolved_at < %(ends)s) as resolved,
        count(*) filter (where d.resolved_at < %(ends)s and d.corrections > 0) as healed,
        count(*) filter (where d.resolved_at is null or d.resolved_at >= %(ends)s) as still_open
    from discrepancies d join connections c on c.shop_id = d.shop_id and c.id = d.connection_id
    where d.shop_id = %(shop)s and d.first_seen_at < %(ends)s and (d.resolved_at is null or d.resolved_at >= %(begins)s)
    group by c.name, d.kind, d.cause order by c.name, d.kind, d.cause
"""


def day(conn: Connection, shop_id: int, begins: datetime, ends: datetime, now: datetime) -> dict[str, Any]:
    """The sections of a report that are not about orders and money; a null one was not measured."""
    window = {"shop": shop_id, "begins": begins, "ends": ends}
    outs = [_told(row) for row in fetch(conn, _STOCK_OUTS, **window)]
    over = [_told(row) for row in fetch(conn, _OVERSELLS, **window)]
    alerts = [_told(row) for row in fetch(conn, _ALERTS, **window)]
    return {
        "stock_outs": {
            "skus": len(outs),
            "minutes": sum(row["minutes"] for row in outs),
            "rows": outs[:ROWS],
        },
        "oversells": {"count": len(over), "units": sum(row["units"] for row in over), "rows": over[:ROWS]},
        "sync": [_told(row) for row in fetch(conn, _SYNC, now=now, **window)],
        "discrepancies": _discrepancies(conn, shop_id, begins, ends),
        "alerts": {
            "opened": sum(row["is_opened"] for row in alerts),
            "closed": sum(row["is_closed"] for row in alerts),
            "minutes": sum(row["minutes"] for row in alerts),
            "rows": alerts[:ROWS],
        },
    }


def _discrepancies(conn: Connection, shop_id: int, begins: datetime, ends: datetime) -> dict[str, Any] | None:
    """What comparing with the channels found and healed; None on a day on which nothing was compared."""
    window = {"shop": shop_id, "begins": begins, "ends": ends}
    compared = scalar(
        conn,
        """
        select count(*) from reconciliation_runs
        where shop_id = %(shop)s and state = 'done' and ended_at >= %(begins)s and ended_at < %(ends)s
        """,
        **window,
    )
    rows = [dict(row) for row in fetch(conn, _DISCREPANCIES, **window)]
    if not compared and not rows:
        return None
    counts = {name: sum(row[name] for row in rows) for name in ("found", "resolved", "healed", "still_open")}
    return {"comparisons": compared, **counts, "rows": rows}


def _told(row: Any) -> dict[str, Any]:
    """A row as JSON has it."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
