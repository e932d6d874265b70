"""Writes: stock that a channel keeps itself (class D), wherever it is told of.

What lies there is what the channel says it can still ship. It is never pooled, promised or written; a level at a place
of its own shows it, and follows what was read, in movements, so that the books hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.inventory.operations import Movement, lock_levels, move, settle_numbers

READ_BY = "reading"

# What all listings of a SKU at such a place were last seen to show, against what is on record there. A listing that is
# mapped to another SKU takes its units along. A bundle has no stock of its own: its listing alone shows it.
_DIFFERS = """
    with places as (
        select id from locations
        where shop_id = %(shop)s and kind = 'external' and connection_id = %(connection)s
    ), shown as (
        select l.sku_id, l.location_id, sum(greatest(0, l.published_units))::bigint as units,
            max(l.published_at) as read_at
        from listings l join skus s on s.shop_id = l.shop_id and s.id = l.sku_id and s.is_stocked and not s.is_bundle
        where l.shop_id = %(shop)s and l.location_id in (select id from places) and l.published_units is not null
        group by 1, 2
    ), kept as (
        select sku_id, location_id, on_hand, is_placeholder from stock_levels
        where shop_id = %(shop)s and location_id in (select id from places)
    )
    select sku_id, location_id, coalesce(shown.units, 0) as units, coalesce(kept.on_hand, 0) as on_hand, shown.read_at,
        (select coalesce(max(m.id), 0) from stock_movements m where m.shop_id = %(shop)s and m.sku_id = d.sku_id
            and m.location_id = d.location_id) as movement_id
    from (select sku_id, location_id from shown union select sku_id, location_id from kept) d
    left join shown using (sku_id, location_id) left join kept using (sku_id, location_id)
    where coalesce(shown.units, 0) <> coalesce(kept.on_hand, 0)
        or (shown.sku_id is not null and coalesce(kept.is_placeholder, true))
    order by sku_id, location_id
"""


def align(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> int:
    """Bring what is on record at a channel's own places to what was last read of them; returns how many levels moved.

    In a unit of work of its own: levels come before listings, and readings are believed with listings in hand. What
    two do at the same time is booked once: each movement has one that follows it.
    """
    found = _differing(conn, shop_id, connection_id)
    if not found:
        return 0
    pairs = [(row["sku_id"], row["location_id"]) for row in found]
    lock_levels(conn, shop_id, pairs)
    fetch(
        conn,
        """
        select 1 from listings where shop_id = %(shop)s and connection_id = %(connection)s
            and sku_id = any(%(skus)b::int8[]) and location_id = any(%(places)b::int8[])
        order by id for no key update
        """,
        shop=shop_id,
        connection=connection_id,
        skus=[sku for sku, _ in pairs],
        places=sorted({place for _, place in pairs}),
    )
    held = set(pairs)
    rows = [row for row in _differing(conn, shop_id, connection_id) if (row["sku_id"], row["location_id"]) in held]
    settle_numbers(conn, shop_id, ((row["sku_id"], row["location_id"]) for row in rows))
    moved = move(conn, shop_id, [_movement(row, now) for row in rows if row["units"] != row["on_hand"]], READ_BY, now)
    return len(moved)


def _differing(conn: Connection, shop_id: int, connection_id: int) -> Sequence[RowMapping]:
    return fetch(conn, _DIFFERS, shop=shop_id, connection=connection_id)


def _movement(row: RowMapping, now: datetime) -> Movement:
    return Movement(
        sku_id=row["sku_id"],
        location_id=row["location_id"],
        delta_units=row["units"] - row["on_hand"],
        reason="count",
        business_key=f"external:{row['sku_id']}:{row['location_id']}:after:{row['movement_id']}",
        occurred_at=row["read_at"] or now,
        note=f"the channel has {row['units']:,} there that it can ship",
    )


def connections_with_places(conn: Connection) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every active connection that keeps stock itself."""
    rows = fetch(
        conn,
        """
        select distinct c.shop_id, c.id from connections c
        join locations p on p.shop_id = c.shop_id and p.connection_id = c.id and p.kind = 'external'
        where c.state = 'active' order by 1, 2
        """,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


EXTERNAL_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "external_is_neither_promised_nor_written",
        "what a channel keeps itself is promised to nobody, exposes nothing, and nothing is written for it",
        """
        select l.shop_id, l.id as listing_id, l.location_id, l.publishing, l.exposed_units, w.id as write_id,
            k.reserved
        from listings l join locations p on p.shop_id = l.shop_id and p.id = l.location_id and p.kind = 'external'
        left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id
        left join stock_levels k on k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = l.location_id
        where l.{shop} and (l.publishing <> 'off' or l.exposed_units <> 0 or w.id is not null or k.reserved <> 0)
        """,
    ),
    (
        "external_level_is_what_was_read",
        "what is on record at a channel's own place is what its listings were last read to show, unless just read",
        """
        select k.shop_id, k.sku_id, k.location_id, k.on_hand, r.units from stock_levels k
        join locations p on p.shop_id = k.shop_id and p.id = k.location_id and p.kind = 'external'
        cross join lateral (
            select coalesce(sum(greatest(0, l.published_units)), 0) as units, max(l.published_at) as read_at
            from listings l
            where l.shop_id = k.shop_id and l.sku_id = k.sku_id and l.location_id = k.location_id
                and l.published_units is not null
        ) r
        where k.{shop} and k.on_hand <> r.units and coalesce(r.read_at, '-infinity') < %(now)s - %(patience)s
        """,
    ),
)
"""(name, sentence, query of the rows that break it), as core.inventory.exposure_checks has them."""
