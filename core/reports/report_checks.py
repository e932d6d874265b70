"""What must hold of daily reports; part of `core.invariants.CHECKS`, in the form of core.inventory.exposure_checks."""

from __future__ import annotations

REPORT_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "report_is_its_rows",
        "the rows of a daily report say what the report says of its marketplaces, and every edition follows the one"
        " before it",
        """
        select r.shop_id, r.id as report_id, r.day, r.edition
        from daily_reports r
        cross join lateral (
            select count(*) as rows, coalesce(sum(m.orders), 0) as orders, coalesce(sum(m.units), 0) as units,
                coalesce(sum(m.revenue_minor), 0) as revenue, coalesce(sum(m.refunded_minor), 0) as refunded
            from daily_report_markets m where m.shop_id = r.shop_id and m.report_id = r.id
        ) kept
        cross join lateral (
            select count(*) as rows, coalesce(sum((m ->> 'orders')::numeric), 0) as orders,
                coalesce(sum((m ->> 'units')::numeric), 0) as units,
                coalesce(sum((m ->> 'revenue_minor')::numeric), 0) as revenue,
                coalesce(sum((m ->> 'refunded_minor')::numeric), 0) as refunded
            from jsonb_array_elements(r.content -> 'markets') m
        ) said
        where r.{shop} and (kept is distinct from said or r.edition > 1 and not exists (
            select from daily_reports b
            where b.shop_id = r.shop_id and b.day = r.day and b.edition = r.edition - 1))
        """,
    ),
)
