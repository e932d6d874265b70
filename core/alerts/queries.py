"""Reads: what is at risk, which rules hold, which alerts there are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.alerts.rules import WORST, Hanging, Risk, Stuck
from core.alerts.terms import EXPOSURE, KINDS, Policy, kind_of, policy
from core.db import fetch, fetch_one
from core.messaging import legs


def policies(conn: Connection, shop_id: int) -> dict[str, Policy]:
    """The rule of every kind, as it holds for a shop now."""
    rows = fetch(conn, "select kind, is_on, terms, limit_units from alert_rules where shop_id = %(shop)s", shop=shop_id)
    changed = {row["kind"]: row for row in rows}
    return {
        kind: policy(kind, changed[kind]["is_on"], changed[kind]["terms"], changed[kind]["limit_units"])
        if kind in changed
        else policy(kind)
        for kind in KINDS
    }


def rule(conn: Connection, shop_id: int, kind: str) -> tuple[Policy, RowMapping | None]:
    """One kind's rule, and who changed it, when and why; None: nobody did. Raises UnknownKind."""
    kind_of(kind)
    row = fetch_one(
        conn,
        """
        select is_on, terms, limit_units, set_by, set_at, reason from alert_rules
        where shop_id = %(shop)s and kind = %(kind)s
        """,
        shop=shop_id,
        kind=kind,
    )
    return (policy(kind) if row is None else policy(kind, row["is_on"], row["terms"], row["limit_units"])), row


def exposure_limit(conn: Connection, shop_id: int) -> int | None:
    """Units at risk above which somebody is told; None: switched off, as it is until somebody sets it."""
    return rule(conn, shop_id, EXPOSURE)[0].limit_units


def page(
    conn: Connection, shop_id: int, *, before_id: int | None = None, open_only: bool = True, limit: int = 50
) -> Sequence[RowMapping]:
    """A page of the view `alert_list`, the newest first, below `before_id`; also closed ones unless `open_only`."""
    return fetch(
        conn,
        """
        select * from alert_list
        where shop_id = %(shop)s and (not %(open)s or closed_at is null)
            and (%(before)s::int8 is null or alert_id < %(before)s)
        order by alert_id desc limit %(limit)s
        """,
        shop=shop_id,
        open=open_only,
        before=before_id,
        limit=limit,
    )


def history(conn: Connection, shop_id: int, alert_id: int) -> Sequence[RowMapping]:
    """What became of an alert, in turn."""
    return fetch(
        conn,
        "select at, what, who, words from alert_event_list where shop_id = %(shop)s and alert_id = %(id)s"
        " order by event_id",
        shop=shop_id,
        id=alert_id,
    )


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


def stuck(conn: Connection, shop_id: int) -> Stuck:
    """Which of the shop's changes hang, and where."""
    rows = fetch(
        conn,
        f"""
        with hanging as (
            select count(distinct g.sku_id) as skus, count(distinct c.order_id) as orders
            from change_legs g join changes c on c.shop_id = g.shop_id and c.id = g.change_id
            where g.shop_id = %(shop)s and g.state = 'stuck'
        )
        select connection, reason, legs, example_code, sum(legs) over ()::int8 as total, h.skus, h.orders,
            case when min(connection_id) over () = max(connection_id) over () then connection_id end as only_connection
        from stuck_legs cross join hanging h
        where shop_id = %(shop)s order by legs desc, connection, reason limit {WORST}
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
    return Stuck(rows[0]["total"], rows[0]["skus"], worst, rows[0]["orders"], rows[0]["only_connection"])
