"""What answers came to: listings and pools before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.identity.concerned import Part
from core.identity.outcomes import ListingSeen, PoolSeen
from core.inventory.queries import parts_of


def codes_of(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> dict[int, str]:
    rows = fetch(
        conn,
        "select id, code from skus where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=sorted(sku_ids),
    )
    return {row["id"]: row["code"] for row in rows}


def pools_of(conn: Connection, shop_id: int, parts: Sequence[Part]) -> dict[tuple[int, int], RowMapping]:
    """What is available and exposed of each pool concerned, by (SKU with stock of its own, location)."""
    skus = {sku_id for part in parts for sku_id in part.sku_ids}
    places = {row["location_id"] for part in parts for row in part.changed if row["location_id"] is not None}
    places |= {part.channel.location_id for part in parts if part.line_skus and part.channel.location_id is not None}
    rows = fetch(
        conn,
        """
        select s.id as sku_id, s.code, p.id as location_id, p.name as location, coalesce(k.available, 0) as available,
            pool_exposed_units(%(shop)s, s.id, p.id) as exposed
        from skus s join locations p on p.shop_id = s.shop_id and p.id = any(%(places)b::int8[])
        left join stock_levels k on k.shop_id = s.shop_id and k.sku_id = s.id and k.location_id = p.id
        where s.shop_id = %(shop)s and s.id = any(%(skus)b::int8[]) and s.is_stocked
        order by s.code, p.name
        """,
        shop=shop_id,
        skus=sorted({sku for found in parts_of(conn, shop_id, skus).values() for sku, _ in found}),
        places=sorted(places),
    )
    return {(row["sku_id"], row["location_id"]): row for row in rows}


def tell(
    conn: Connection,
    shop_id: int,
    parts: Sequence[Part],
    codes: Mapping[int, str],
    before: Mapping[tuple[int, int], RowMapping],
) -> None:
    """Fill the outcome in with what listings and pools came to."""
    after = pools_of(conn, shop_id, parts)
    for part in parts:
        now = {
            row["id"]: row
            for row in fetch(
                conn,
                """
                select id, desired_units, publishing from listings
                where shop_id = %(shop)s and id = any(%(ids)b::int8[])
                """,
                shop=shop_id,
                ids=[row["id"] for row in part.changed],
            )
        }
        part.outcome.listings += [_listing_seen(part, row, now[row["id"]], codes) for row in part.changed]
    if parts:
        parts[0].outcome.pools += [
            PoolSeen(
                sku_id,
                row["code"],
                place,
                row["location"],
                before[sku_id, place]["available"],
                row["available"],
                before[sku_id, place]["exposed"],
                row["exposed"],
            )
            for (sku_id, place), row in after.items()
        ]


def _listing_seen(part: Part, row: RowMapping, now: RowMapping, codes: Mapping[int, str]) -> ListingSeen:
    new = part.new_skus[row["id"]]
    seen = ListingSeen(
        listing_id=row["id"],
        connection=part.connection,
        channel_ref=row["channel_ref"],
        location=row["location"],
        from_code=None if row["sku_id"] is None else codes[row["sku_id"]],
        to_code=None if new is None else codes[new],
        published_units=row["published_units"],
        exposed_units=row["exposed_units"],
        desired_before=row["desired_units"],
        desired_after=now["desired_units"],
        publishing_before=row["publishing"] == "on",
        publishing_after=now["publishing"] == "on",
    )
    # What is not written should show nothing that anybody knows of.
    return seen if seen.publishing_after else replace(seen, desired_after=None)
