"""Reads: what is at risk, which limits there are."""

from __future__ import annotations

from sqlalchemy import Connection

from core.alerts.rules import EXPOSURE, STUCK, WORST, Hanging, Risk, Stuck
from core.db import fetch, fetch_one
from core.messaging import legs


def exposure_limit(conn: Connection, shop_id: int) -> int | None:
    """Units at risk above which somebody is told; None: switched off, as it is until somebody sets it."""
    row = fetch_one(
        conn,
        "select limit_units from alert_rules where shop_id = %(shop)s and kind = %(kind)s",
        shop=shop_id,
        kind=EXPOSURE,
    )
    return None if row is None else row["limit_units"]


def shops_to_check(conn: Connection) -> list[int]:
    """Shops with a limit, or with an alert that is still open."""
    rows = fetch(
        conn,
        """
        select shop_id from alert_rules where kind = %(kind)s and limit_units is not null
        union select shop_id from alerts where kind = %(kind)s and closed_at is null order by 1
        """,
        kind=EXPOSURE,
    )
    return [row["shop_id"] for row in rows]


def risk(conn: Connection, shop_id: int) -> Risk:
    """What could be sold of the shop that is not there."""
    rows = fetch(
        conn,
        f"""
        select code, sum(risk_units)::int8 as units, sum(sum(risk_units)) over ()::int8 as total,
            count(*) over () as skus
        from pool_risk where shop_id = %(shop)s and risk_units > 0
        group by sku_id, code order by 2 desc, 1 limit {WORST}
        """,
        shop=shop_id,
    )
    if not rows:
        return Risk(0, 0)
    return Risk(rows[0]["total"], rows[0]["skus"], [(row["code"], row["units"]) for row in rows])


def shops_with_stuck(conn: Connection) -> list[int]:
    """Shops in which changes hang, or with an alert on that which is still open."""
    rows = fetch(
        conn,
        """
        select s.shop_id from shops s where exists (
            select from change_legs g where g.shop_id = s.shop_id and g.state = 'stuck')
        union select shop_id from alerts where kind = %(kind)s and closed_at is null order by 1
        """,
        kind=STUCK,
    )
    return [row["shop_id"] for row in rows]


def stuck(conn: Connection, shop_id: int) -> Stuck:
    """Which of the shop's changes hang, and where."""
    rows = fetch(
        conn,
        f"""
        select connection, reason, legs, example_code, sum(legs) over ()::int8 as total,
            (select count(distinct g.sku_id) from change_legs g
                where g.shop_id = %(shop)s and g.state = 'stuck') as skus
        from stuck_legs where shop_id = %(shop)s order by legs desc, connection, reason limit {WORST}
        """,
        shop=shop_id,
    )
    if not rows:
        return Stuck(0, 0)
    worst = [
        Hanging(
            row["connection"],
            legs.words(row["reason"]),
            legs.next_step(row["reason"]),
            row["legs"],
            row["example_code"],
        )
        for row in rows
    ]
    return Stuck(rows[0]["total"], rows[0]["skus"], worst)
