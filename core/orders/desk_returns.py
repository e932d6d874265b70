"""Writes: goods of known orders that came back over the desk.

A fact for each line (`line_returns`), and stock brought in line with all facts of its order by the same path as
everything else: a channel that refunds the same units restocks nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.db import execute, fetch
from core.orders.effects import settle_stock
from core.orders.operations import Channel


@dataclass(frozen=True, slots=True)
class SoldLine:
    """A line of an order, locked: what of it left, and what came back over the desk; units of the line.

    `parts` are what one unit takes: (SKU, units), all of them booked at `location_id`.
    """

    id: int
    order_id: int
    order_name: str
    connection_id: int
    sku_id: int
    code: str
    shipped: int
    taken_back: int
    location_id: int | None
    location: str | None
    parts: Sequence[tuple[int, int]]

    @property
    def returnable(self) -> int:
        """What can still come back."""
        return max(0, self.shipped - self.taken_back)


@dataclass(frozen=True, slots=True)
class LineReturn:
    """Units of an order line that came back; negative takes back the return of the key `undoes_key`."""

    business_key: str
    order_line_id: int
    units: int
    disposition: str
    note: str | None
    returned_at: datetime
    undoes_key: str | None = None


def lock_sold(conn: Connection, shop_id: int, line_ids: Iterable[int]) -> dict[int, SoldLine]:
    """Lock the orders of some lines, by id, before anything of stock; then read the lines as they are."""
    ids = sorted(set(line_ids))
    if not ids:
        return {}
    execute(
        conn,
        """
        select 1 from orders where shop_id = %(shop)s and id = any(array(
            select order_id from order_lines where shop_id = %(shop)s and id = any(%(ids)b::int8[])))
        order by id for update
        """,
        shop=shop_id,
        ids=ids,
    )
    rows = fetch(
        conn,
        """
        select l.order_line_id as id, l.order_id, l.order_name, l.connection_id, l.sku_id, l.code,
            l.shipped_units as shipped, l.taken_back_units as taken_back, l.location_id, l.location,
            array(select r.sku_id from reservations r where r.shop_id = l.shop_id
                and r.order_line_id = l.order_line_id order by r.sku_id) as part_skus,
            array(select r.units_each from reservations r where r.shop_id = l.shop_id
                and r.order_line_id = l.order_line_id order by r.sku_id) as part_units
        from returnable_lines l where l.shop_id = %(shop)s and l.order_line_id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=ids,
    )
    found = {}
    for row in rows:
        values = dict(row)
        parts = tuple(zip(values.pop("part_skus"), values.pop("part_units"), strict=True))
        found[row["id"]] = SoldLine(**values, parts=parts)
    return found


def take_back_lines(
    conn: Connection,
    shop_id: int,
    sold: Mapping[int, SoldLine],
    returns: Sequence[LineReturn],
    recorded_by: str,
    now: datetime,
) -> set[int]:
    """Record returns of `sold` lines, whose orders and levels are locked; returns the SKUs whose stock changed."""
    if not returns:
        return set()
    ordered = sorted(returns, key=lambda item: item.business_key)
    execute(
        conn,
        """
        insert into line_returns (shop_id, order_line_id, business_key, units, undoes_key, disposition, note,
            returned_at, recorded_by, recorded_at)
        select %(shop)s, line, key, units, undoes, disposition, note, at, %(by)s, %(now)s
        from unnest(%(lines)b::int8[], %(keys)b::text[], %(units)b::int8[], %(undone)b::text[],
            %(dispositions)b::text[], %(notes)b::text[], %(ats)b::timestamptz[])
            as n (line, key, units, undoes, disposition, note, at)
        on conflict (shop_id, business_key) do nothing
        """,
        shop=shop_id,
        by=recorded_by,
        now=now,
        lines=[item.order_line_id for item in ordered],
        keys=[item.business_key for item in ordered],
        units=[item.units for item in ordered],
        undone=[item.undoes_key for item in ordered],
        dispositions=[item.disposition for item in ordered],
        notes=[item.note for item in ordered],
        ats=[item.returned_at for item in ordered],
    )
    lines = [sold[item.order_line_id] for item in ordered]
    # Whatever the channel: what left is booked already, and says where.
    channel = Channel(shop_id, lines[0].connection_id, lines[0].location_id)
    return settle_stock(conn, channel, {line.order_id for line in lines}, now)
