"""Reads: which SKUs hang together, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from core.db import fetch


def bundles_of(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> list[int]:
    """The bundles among some SKUs, and those that contain any of them; by id."""
    rows = fetch(
        conn,
        """
        select bundle_sku_id from bundle_parts where shop_id = %(shop)s and part_sku_id = any(%(ids)b::int8[])
        union
        select bundle_sku_id from bundle_parts where shop_id = %(shop)s and bundle_sku_id = any(%(ids)b::int8[])
        order by 1
        """,
        shop=shop_id,
        ids=sorted(set(sku_ids)),
    )
    return [row["bundle_sku_id"] for row in rows]


def parts_of(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
    """What one unit of each SKU takes: (SKU with stock of its own, units); itself where it is no bundle.

    Nothing of one that has no stock by nature; itself of one that nobody knows.
    """
    wanted = sorted(set(sku_ids))
    found: dict[int, list[tuple[int, int]]] = {}
    for row in fetch(
        conn,
        """
        select s.id, s.is_stocked, coalesce(p.part_sku_id, s.id) as part_sku_id, coalesce(p.units, 1) as units
        from skus s left join bundle_parts p on p.shop_id = s.shop_id and p.bundle_sku_id = s.id
        where s.shop_id = %(shop)s and s.id = any(%(ids)b::int8[]) order by 1, 3
        """,
        shop=shop_id,
        ids=wanted,
    ):
        parts = found.setdefault(row["id"], [])
        if row["is_stocked"]:
            parts.append((row["part_sku_id"], row["units"]))
    return {sku_id: found.get(sku_id, [(sku_id, 1)]) for sku_id in wanted}


def stock_group(conn: Connection, shop_id: int, sku_id: int) -> list[int]:
    """The SKUs that are planned together: this one, the bundles that contain it, and all that those are made of."""
    bundles = bundles_of(conn, shop_id, [sku_id])
    parts = parts_of(conn, shop_id, bundles)
    return sorted({sku_id, *bundles, *(part for found in parts.values() for part, _ in found)})
