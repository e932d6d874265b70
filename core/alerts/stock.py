"""Conditions of stock: what could be oversold, what was, and changes that do not reach a channel."""

from __future__ import annotations

from sqlalchemy.engine import RowMapping

from core.alerts import queries
from core.alerts.rules import WORST, Finding, Found, Risk, Stuck, many
from core.alerts.scene import Scene
from core.alerts.terms import EXPOSURE, OVERSOLD, STUCK
from core.db import fetch


def exposure(scene: Scene) -> Found:
    """More units at risk than the limit."""
    limit = scene.policy.limit_units
    if limit is None:
        return Found()
    found = queries.risk(scene.conn, scene.shop_id)
    return Found([at_risk(limit, found)] if found.units > limit else [])


def at_risk(limit: int, risk: Risk) -> Finding:
    """The condition in words."""
    worst = ", ".join(f"{code} ({units:,})" for code, units in risk.worst)
    return Finding(
        EXPOSURE,
        "danger",
        f"Up to {many(risk.units, 'unit')} could be oversold, over {many(risk.skus, 'SKU')}",
        f"The limit is {limit:,}. Worst: {worst}.",
        "Switch the worst to escrow, or look which channel does not follow.",
        "oversell",
        risk.units,
        {"show": "At risk"},
        units=risk.units,
        skus=risk.skus,
        worst=[{"code": code, "units": units} for code, units in risk.worst],
        limit=limit,
    )


def stuck(scene: Scene) -> Found:
    """Changes that hang: any is one too many."""
    found = queries.stuck(scene.conn, scene.shop_id)
    return Found([hanging(found)] if found.legs else [])


def hanging(stuck: Stuck) -> Finding:
    """The condition in words: where changes hang and why, and what to do about the worst of it."""
    places = " ".join(
        f"{each.connection}: {each.reason} ({each.legs:,}, such as {each.code}). {each.next_step}"
        for each in stuck.worst
    )
    return Finding(
        STUCK,
        "danger",
        f"{many(stuck.legs, 'change has', 'changes have')} not reached a channel in time",
        places,
        "Each is over as soon as the channel shows what it should.",
        "skus",
        stuck.legs,
        {"show": "Not in step"},
        units=stuck.legs,
        skus=stuck.skus,
        orders=stuck.orders,
        follows=stuck.only_connection,
        worst=[
            {"code": each.code, "units": each.legs, "where": each.connection, "why": each.reason}
            for each in stuck.worst
        ],
    )


def oversold(scene: Scene) -> Found:
    """Pools with less than nothing available."""
    rows = fetch(
        scene.conn,
        f"""
        select h.id, s.code, -least(k.available, 0) as units, o.name as order_name, c.name as connection,
            c.id as connection_id, count(*) over () as pools, (sum(-least(k.available, 0)) over ())::int8 as total,
            (select count(distinct l.order_id) from shortages e
                join order_lines l on l.shop_id = e.shop_id and l.id = e.order_line_id
                where e.shop_id = %(shop)s and e.ended_at is null) as orders,
            (select count(distinct e.sku_id) from shortages e
                where e.shop_id = %(shop)s and e.ended_at is null) as skus
        from shortages h
        join stock_levels k on k.shop_id = h.shop_id and k.sku_id = h.sku_id and k.location_id = h.location_id
        join skus s on s.shop_id = h.shop_id and s.id = h.sku_id
        left join order_lines l on l.shop_id = h.shop_id and l.id = h.order_line_id
        left join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        left join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        where h.shop_id = %(shop)s and h.ended_at is null
        order by 3 desc, h.id limit {WORST}
        """,
        shop=scene.shop_id,
    )
    if not rows:
        return Found()
    first = rows[0]
    worst = ", ".join(f"{row['code']} ({row['units']:,}{_sold(row)})" for row in rows)
    return Found(
        [
            Finding(
                OVERSOLD,
                "danger",
                f"{many(first['total'], 'unit was', 'units were')} oversold, of {many(first['skus'], 'SKU')}",
                f"More is promised than there is. Worst: {worst}.",
                "Look what would have prevented it; then buy it in, move it, or tell the buyer. It is over when the"
                " stock is not below nothing any more.",
                "oversell",
                first["pools"],
                units=first["total"],
                skus=first["skus"],
                orders=first["orders"],
                worst=[{"code": row["code"], "units": row["units"], "where": row["connection"]} for row in rows],
            )
        ]
    )


def _sold(row: RowMapping) -> str:
    return f", order {row['order_name']} of {row['connection']}" if row["order_name"] else ""
