"""Which road the raises of a lane take now: what differs, what was measured of feeds, what the channel tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.inventory import differences, roads
from core.inventory.differences import Lane
from core.inventory.feeds import Feed
from core.inventory.roads import Choice, Ended, Paces, Prepared, Work

REMEMBERED = timedelta(days=1)
"""For so long it is held against feeds that one was uploaded too slowly: the way there may have got better."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The road that raises take, and what a feed may hold: `size_max` writes at most, of listings that will surely not
    be sold out for `feed_lasts` (of our time)."""

    choice: Choice
    feed_lasts: timedelta
    size_max: int


def weigh(
    conn: Connection, lane: Lane, paces: Paces, window: tuple[int, timedelta], factor: float, now: datetime
) -> Weighed:
    """Which road the raises of a lane take now.

    `paces` comes with what the channel knows; what we have measured and how long the window keeps the next feed waiting
    is added. A feed that is still being put together goes on: raises are left to it.
    """
    last = _last(conn, lane)
    measured = _measured(last, factor)
    size_max = roads.size_in_time(paces.feed_size_max, _prepared(last, now))
    lasts = roads.waits_at_most(size_max, measured) / factor
    if last and last[0]["state"] in ("planned", "uploaded"):
        return Weighed(Choice("feed", "a feed is being put together"), lasts, size_max)
    found = differences.extent(conn, lane, lasts, now)
    failed = next((row for row in last if row["ended_at"] is not None), None)
    work = Work(
        lowered=found.lowered,
        raises=found.for_feeds,
        is_feed_open=any(row["ended_at"] is None for row in last),
        has_failed=failed is not None
        and failed["has_failed"]
        and failed["ended_at"] > now - roads.RESTS_AFTER_FAILURE / factor,
    )
    wait = roads.window_wait(_submitted_lately(conn, lane, window[1] / factor, now), window[0], window[1] / factor, now)
    waits = max(paces.feed_wait_seconds, wait.total_seconds()) * factor
    known = replace(paces, feed_size_max=size_max, feed_wait_seconds=waits, ended=measured)
    return Weighed(roads.choose(work, known), lasts, size_max)


def is_slow(conn: Connection, lane: Lane, feed: Feed, factor: float, now: datetime) -> bool:
    """Whether a feed takes much longer than feeds of ours do."""
    return feed.age(now) > roads.slow_after(feed.messages, _measured(_last(conn, lane), factor)) / factor


def _last(conn: Connection, lane: Lane) -> Sequence[RowMapping]:
    """The last feeds of a lane, the newest first."""
    return fetch(
        conn,
        """
        select f.state, f.planned_at, f.uploaded_at, f.submitted_at, f.ended_at, f.messages, f.has_failed
        from channel_feeds f where f.shop_id = %(shop)s and f.connection_id = %(connection)s
        order by f.id desc limit 20
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
    )


def _measured(rows: Sequence[RowMapping], factor: float) -> list[Ended]:
    return [
        Ended(row["messages"], (row["ended_at"] - row["submitted_at"]).total_seconds() * factor)
        for row in rows
        if row["state"] == "done"
    ][: roads.MEASURED]


def _prepared(rows: Sequence[RowMapping], now: datetime) -> list[Prepared]:
    return [
        Prepared(row["messages"], row["uploaded_at"] - row["planned_at"])
        for row in rows
        if row["uploaded_at"] is not None and row["uploaded_at"] > now - REMEMBERED
    ]


_SUBMITTED_LATELY = """
    select f.submitted_at from connections mine
    join connections c on c.vendor = mine.vendor and lower(c.account_ref) = lower(mine.account_ref)
        and c.base_url = mine.base_url
    join channel_feeds f on f.shop_id = c.shop_id and f.connection_id = c.id
    where mine.shop_id = %(shop)s and mine.id = %(connection)s and f.submitted_at > %(since)s
"""


def _submitted_lately(conn: Connection, lane: Lane, window: timedelta, now: datetime) -> list[datetime]:
    """When feeds were submitted for the lane's account; the limit is the account's, whatever connections it has.

    In other shops too: their feeds are counted, and nothing else of them is read.
    """
    rows = fetch(conn, _SUBMITTED_LATELY, shop=lane.shop_id, connection=lane.connection_id, since=now - window)
    return [row["submitted_at"] for row in rows]
