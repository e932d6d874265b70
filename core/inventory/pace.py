"""How fast listings sell and how long a sale stays unseen elsewhere, measured: what makes stock scarce.

Facts, not guesses, as soon as there are any; until then a channel's average stands for what has not sold yet.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute

LONG = timedelta(days=7)
SHORT = timedelta(hours=1)
"""The busiest of both counts: a week's average, and the last hour."""

SAMPLE = 500
"""Orders and writes of a channel that are looked at for its delays, the newest."""


def measure_rates(conn: Connection, shop_id: int, now: datetime) -> int:
    """Set units an hour of each published listing; returns how many changed by a tenth or more.

    What is too young to have sold in the window gets the average of its channel. Listings are locked by id.
    """
    return execute(
        conn,
        """
        with sold as (
            select l.listing_id, sum(l.units)::real / (extract(epoch from %(long)s::interval) / 3600) as lately,
                sum(l.units) filter (where o.channel_created_at > %(now)s - %(short)s::interval)::real
                    / (extract(epoch from %(short)s::interval) / 3600) as now
            from orders o join order_lines l on l.shop_id = o.shop_id and l.order_id = o.id
            where o.shop_id = %(shop)s and o.recorded_at > %(now)s - %(long)s::interval
                and o.channel_created_at > %(now)s - %(long)s::interval and l.mapping = 'stocked'
                and l.listing_id is not null
            group by 1
        ), rate as (
            select p.id, case when s.listing_id is not null then greatest(s.lately, s.now)
                    when p.baseline_at < %(now)s - %(long)s::interval then 0 end as own,
                sum(coalesce(s.lately, 0)) over w / count(*) over w as usual
            from listings p left join sold s on s.listing_id = p.id
            where p.shop_id = %(shop)s and p.publishing = 'on'
            window w as (partition by p.connection_id)
        ), changed as (
            select l.id, coalesce(rate.own, rate.usual)::real as rate
            from rate join listings l on l.shop_id = %(shop)s and l.id = rate.id
            where l.sales_per_hour is null
                or abs(l.sales_per_hour - coalesce(rate.own, rate.usual)) > 0.1 * l.sales_per_hour
            order by l.id for no key update of l
        )
        update listings l set sales_per_hour = changed.rate from changed
        where l.shop_id = %(shop)s and l.id = changed.id and l.sales_per_hour is distinct from changed.rate
        """,
        shop=shop_id,
        now=now,
        long=LONG,
        short=SHORT,
    )


def measure_doubt(conn: Connection, shop_id: int, now: datetime) -> int:
    """Set how long a sale of each channel stays unseen by the others, in seconds; returns how many were measured.

    From the sale to its booking, and from a planned write to its confirmation on the slowest of the other channels; of
    both the time that 95 in 100 stay below, among the newest. Until both are known nothing is set.
    """
    return execute(
        conn,
        """
        with noticed as (
            select c.id, n.seconds from connections c cross join lateral (
                select percentile_cont(0.95) within group (order by extract(epoch from seen.late)) as seconds
                from (
                    select greatest(o.recorded_at - o.channel_created_at, interval '0') as late from orders o
                    where o.shop_id = c.shop_id and o.connection_id = c.id
                        and o.recorded_at > %(now)s - interval '1 day'
                    order by o.recorded_at desc limit %(sample)s
                ) seen
            ) n where c.shop_id = %(shop)s
        ), written as (
            select c.id, w.seconds from connections c cross join lateral (
                select percentile_cont(0.95) within group (order by extract(epoch from done.took)) as seconds
                from (
                    select w.outcome_at - w.planned_at as took from listing_writes w
                    where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome = 'confirmed'
                        and w.outcome_at > %(now)s - interval '1 day'
                    order by w.outcome_at desc limit %(sample)s
                ) done
            ) w where c.shop_id = %(shop)s
        ), doubt as (
            select n.id, (n.seconds + max(w.seconds))::real as seconds
            from noticed n join written w on w.id <> n.id
            group by n.id, n.seconds having n.seconds is not null and max(w.seconds) is not null
        )
        update connections c set doubt_seconds = doubt.seconds from doubt
        where c.shop_id = %(shop)s and c.id = doubt.id and c.doubt_seconds is distinct from doubt.seconds
        """,
        shop=shop_id,
        now=now,
        sample=SAMPLE,
    )
