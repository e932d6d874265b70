"""What every check is given, and whom trouble with a channel concerns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.alerts.terms import Policy
from core.db import fetch, fetch_one

COUNTED_AT_MOST = 20_000
"""Listings and legs that are counted to say whom trouble concerns: more than that is said to be so many."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A connection, as checks need it."""

    id: int
    name: str
    is_active: bool
    reads_orders: bool
    orders_polled_at: datetime | None
    catalogue_read_at: datetime | None
    created_at: datetime
    last_error: str | None
    clock_factor: float

    @property
    def address(self) -> Mapping[str, str]:
        """Where the page of connections shows it."""
        return {"connection": str(self.id)}

    def real(self, span: timedelta) -> timedelta:
        """A time of the vendor's as it passes here: shorter where its clock is in a hurry."""
        return span / self.clock_factor


@dataclass(frozen=True, slots=True)
class Scene:
    """A shop, the time, and the rule by which a condition is judged."""

    conn: Connection
    shop_id: int
    zone: ZoneInfo
    now: datetime
    channels: Mapping[int, Channel]
    policy: Policy

    @property
    def active(self) -> list[Channel]:
        """Channels that are not paused: of others nothing is expected."""
        return [each for each in self.channels.values() if each.is_active]

    def clock(self, instant: datetime) -> str:
        """A moment as the shop's people say it: the time, and the day where it is another one."""
        there, today = instant.astimezone(self.zone), self.now.astimezone(self.zone)
        return f"{there:%H:%M}" if there.date() == today.date() else f"{there:%Y-%m-%d %H:%M}"


SWEEP = "sweep.alerts"
"""The schedule by which all of this is looked at: what it did not see itself it does not judge."""

GAP = timedelta(minutes=3)
"""Between two sweeps; after a longer one everything has its chance first."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Since when sweeps go on without a gap, and since when there are any."""

    sweeps: datetime
    first: datetime


def watched(scene: Scene) -> Watched | None:
    """Since when all of this is looked at; None where that does not happen by the clock.

    What stood still while we did stands on our account: of a channel's silence, or of orders that nobody read, counts
    only what came to pass since.
    """
    row = fetch_one(
        scene.conn,
        """
        with latest as (
            select started_at from schedule_runs where name = %(sweep)s and started_at <= %(now)s
            order by started_at desc limit 200
        ), gaps as (
            select started_at, started_at - lag(started_at) over (order by started_at) as gap from latest
        ), first as (
            select started_at from schedule_runs where name = %(sweep)s order by started_at limit 1
        )
        select greatest(s.created_at, coalesce(
                (select max(started_at) from gaps where gap > %(gap)s), (select started_at from first))) as since,
            (select max(started_at) from latest) as last_at,
            greatest(s.created_at, (select started_at from first)) as first_at
        from shops s where s.shop_id = %(shop)s
        """,
        sweep=SWEEP,
        now=scene.now,
        gap=GAP,
        shop=scene.shop_id,
    )
    if row is None or row["last_at"] is None or row["last_at"] < scene.now - GAP:
        return None
    return Watched(row["since"], row["first_at"])


def channels_of(conn: Connection, shop_id: int) -> dict[int, Channel]:
    """A shop's connections by id."""
    rows = fetch(
        conn,
        """
        select id, name, state = 'active' as is_active, reads_orders, orders_polled_at, catalogue_read_at, created_at,
            last_error, coalesce(nullif((settings ->> 'clock_factor')::float8, 0), 1) as clock_factor
        from connections where shop_id = %(shop)s order by id
        """,
        shop=shop_id,
    )
    return {row["id"]: Channel(**row) for row in rows}


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom it concerns that a channel does not follow: numbers that wait to be written there, and what caused them."""

    listings: int
    skus: int
    units: int
    orders: int


def concerned(conn: Connection, shop_id: int, connection_id: int) -> Concerned:
    """Listings that show another number than they should, by how much, and orders whose change has not reached it."""
    shown = fetch_one(
        conn,
        f"""
        select count(*) as listings, count(distinct sku_id) as skus, coalesce(sum(units), 0)::int8 as units from (
            select l.sku_id, abs(coalesce(l.desired_units - l.short_units, 0) - coalesce(l.published_units, 0)) as units
            from listings l where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.is_to_push
                and listing_differs(l.desired_units - l.short_units, l.published_units)
            limit {COUNTED_AT_MOST}
        ) waiting
        """,
        shop=shop_id,
        connection=connection_id,
    )
    legs = fetch_one(
        conn,
        f"""
        select count(distinct c.order_id) as orders from (
            select g.shop_id, g.change_id from change_legs g
            where g.shop_id = %(shop)s and g.connection_id = %(connection)s and g.state in ('open', 'stuck')
            limit {COUNTED_AT_MOST}
        ) waiting join changes c on c.shop_id = waiting.shop_id and c.id = waiting.change_id
        """,
        shop=shop_id,
        connection=connection_id,
    )
    assert shown is not None
    assert legs is not None
    return Concerned(shown["listings"], shown["skus"], shown["units"], legs["orders"])
