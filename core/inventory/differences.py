"""Which listings of a lane differ from what they should show, and which of those a bulk submission may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch


@dataclass(frozen=True, slots=True)
class Lane:
    """The connection whose listings are written, and what its channel can do."""

    shop_id: int
    connection_id: int
    guarantee_class: str
    writes_per_call: int


@dataclass(frozen=True, slots=True)
class Part:
    """Of what differs: all of it; what must not go into a feed; what may.

    `feed_lasts`: for so long (of our time) a listing in a feed may have to wait, which decides what may go into one.
    """

    kind: Literal["all", "for_calls", "for_feeds"] = "all"
    feed_lasts: timedelta = timedelta(0)


ALL = Part()

LEFT_FEW = 5
"""So few units never go into a feed, however slowly they sell: one order takes them."""

# What differs and may be written now; `target` is what the listing should show once what it did by itself is booked.
DIFFERS = """
    cross join lateral (select l.desired_units - l.short_units + l.unseen_units as units) target
    where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.is_to_push
        and listing_differs(target.units, l.published_units)
        and (l.next_push_at is null or l.next_push_at <= %(now)s)
        -- What the channel did by itself, and waits for its explanation or for a person, is not written over.
        and not (l.unseen_units < 0 and target.units > l.published_units
            and raise_is_held(l.shop_id, l.id, l.unseen_units))
        and not exists (select from listing_writes w
            where w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
                -- A number is never sent again on suspicion; another one may take its place.
                and not (w.road = 'call' and w.to_units <> greatest(0, target.units)
                    and may_be_overtaken(w.shop_id, w.id)))
"""

# Raises of what is not scarce, in whatever mode. A listing in a feed cannot be told that it is sold out before the
# feed has ended. So what all channels together could sell meanwhile, at the pace that was measured, never goes into
# one, nor do units that are split over channels, or would be once some more are sold: they would hang there while
# others need them. Nor does what is to overtake a write of the other road, or has: two roads are not ordered against
# each other.
_MAY_WAIT = f"""
    (target.units > {LEFT_FEW} and (l.published_units is null or target.units > l.published_units)
    and not exists (select from listing_writes w
        where w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null)
    and not exists (select from overtaken_writes(l.shop_id, l.id))
    and not exists (
        select from pool_takers t join stock_levels k on k.shop_id = t.shop_id and k.sku_id = t.sku_id
            and k.location_id = t.location_id
        where t.shop_id = l.shop_id and t.listing_id = l.id
            and (k.is_escrow or k.available <= 2 * coalesce(k.escrow_line_units, 0)::bigint
                or least(k.available, target.units::bigint * t.units_each) < t.units_each + (
                    select coalesce(sum(o.sales_per_hour * other.units_each), 0) * %(feed_hours)s
                    from pool_takers other join listings o on o.shop_id = other.shop_id and o.id = other.listing_id
                    where other.shop_id = k.shop_id and other.sku_id = k.sku_id and other.location_id = k.location_id
                        and o.publishing = 'on'))))
"""
_PARTS = {"all": "", "for_calls": f"and not {_MAY_WAIT}", "for_feeds": f"and {_MAY_WAIT}"}


def _hours(lasts: timedelta) -> float:
    return lasts / timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Extent:
    """How many listings differ and may be written now: to be lowered (or zero), and raises that a feed may take."""

    lowered: int
    for_feeds: int


def extent(conn: Connection, lane: Lane, feed_lasts: timedelta, now: datetime) -> Extent:
    """How much there is to write, where a listing in a feed may have to wait for so long."""
    (row,) = fetch(
        conn,
        f"""
        select count(*) filter (where target.units <= 0 or target.units < l.published_units) as lowered,
            count(*) filter (where {_MAY_WAIT}) as for_feeds
        from listings l {DIFFERS}
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        now=now,
        feed_hours=_hours(feed_lasts),
    )
    return Extent(row["lowered"], row["for_feeds"])


def urgent(conn: Connection, lane: Lane, part: Part, limit: int, now: datetime) -> Sequence[RowMapping]:
    """The most urgent listings that differ, each with the pools it takes from where one is not simply pooled."""
    return fetch(
        conn,
        f"""
        select d.id, (
            select array_agg(array[k.sku_id, k.location_id]) from stock_levels k
            where k.shop_id = %(shop)s and k.location_id = d.location_id and k.sku_id = any(array(
                select d.sku_id union
                select part_sku_id from bundle_parts where shop_id = %(shop)s and bundle_sku_id = d.sku_id))
            having d.mode <> 'pooled' or bool_or(k.is_escrow or k.escrow_line_units is not null)
        ) as pools
        from (
            select l.id, l.sku_id, l.location_id, l.mode from listings l {DIFFERS} {_PARTS[part.kind]}
            order by case when target.units <= 0 then 0 when target.units < l.published_units then 1 else 2 end,
                case when target.units <= 0 or target.units < l.published_units then l.priority
                    else -l.priority end, l.id
            limit %(limit)s
        ) d
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        now=now,
        limit=limit,
        feed_hours=_hours(part.feed_lasts),
    )


def pairs(pools: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    return [(sku_id, location_id) for sku_id, location_id in pools]


def differing(
    conn: Connection, lane: Lane, part: Part, listing_ids: Sequence[int], now: datetime
) -> Sequence[RowMapping]:
    """Which of some listings (still) differ; locked."""
    return fetch(
        conn,
        f"""
        select l.id, l.channel_ref, l.inventory_ref, l.channel_location_ref, l.desired_units, l.short_units,
            l.published_units, l.unseen_units, l.priority
        from listings l {DIFFERS} {_PARTS[part.kind]} and l.id = any(%(ids)b::int8[])
        order by l.id for no key update of l skip locked
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        now=now,
        ids=sorted(listing_ids),
        feed_hours=_hours(part.feed_lasts),
    )
