"""Alerts on feeds: one that does not end, and what a feed that ended does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.alerts.operations import State, follow
from core.alerts.rules import WORST, Step
from core.db import fetch
from core.inventory import feeds, weighing
from core.inventory.differences import Lane
from core.inventory.feeds import Feed

SLOW, UNSHOWN = "slow_feed", "unshown_feed"


@dataclass(frozen=True, slots=True)
class SlowFeed:
    """A feed that takes too long: its age, the listings in it, and how many of those should show nothing by now."""

    connection: str
    feed_id: int
    name: str
    age: timedelta
    listings: int
    zeros: int


@dataclass(frozen=True, slots=True)
class UnshownFeed:
    """A feed that ended, and how many of its writes are in doubt; `code` names one SKU of them."""

    connection: str
    feed_id: int
    writes: int
    code: str


def shops_to_check(conn: Connection) -> list[int]:
    """Shops with a feed under way or in doubt, or with an alert on one that is still open."""
    rows = fetch(
        conn,
        """
        select shop_id from channel_feeds where ended_at is null
        union select shop_id from listing_writes where feed_id is not null and outcome is null
        union select shop_id from alerts where kind in (%(slow)s, %(unshown)s) and closed_at is null order by 1
        """,
        slow=SLOW,
        unshown=UNSHOWN,
    )
    return [row["shop_id"] for row in rows]


def check(conn: Connection, shop_id: int, address: str, now: datetime, *, is_heard: bool = True) -> list[Step]:
    """Open, keep or close a shop's two alerts on feeds; nobody has to ask for being told."""
    late, hidden = slow(conn, shop_id, now), unshown(conn, shop_id)
    of_late = State(SLOW, 0, sum(feed.listings for feed in late), len(late), _late(late))
    of_hidden = State(UNSHOWN, 0, sum(feed.writes for feed in hidden), len(hidden), _hidden(hidden))
    return [
        follow(conn, shop_id, of_late, lambda shop: slow_notice(shop, late, address), now, is_heard),
        follow(conn, shop_id, of_hidden, lambda shop: unshown_notice(shop, hidden, address), now, is_heard),
    ]


def slow(conn: Connection, shop_id: int, now: datetime) -> list[SlowFeed]:
    """Feeds under way that take much longer than feeds do."""
    rows = fetch(
        conn,
        """
        select f.id, f.state, f.messages, f.feed_ref, f.submitted_at, f.looked_at, f.connection_id, c.name,
            coalesce((c.settings ->> 'clock_factor')::float8, 1) as factor
        from channel_feeds f join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
        where f.shop_id = %(shop)s and f.state in ('submitted', 'in_progress') order by f.id
        """,
        shop=shop_id,
    )
    found = []
    for row in rows:
        feed = Feed(*(row[name] for name in ("id", "state", "messages", "feed_ref", "submitted_at", "looked_at")))
        if weighing.is_slow(conn, Lane(shop_id, row["connection_id"], "B", 1), feed, row["factor"], now):
            listings = len(feeds.open_writes(conn, shop_id, feed.id))
            zeros = feeds.wanted_to_be_zero(conn, shop_id, feed.id)
            name = feed.feed_ref or f"number {feed.id}, of which no reply came"
            found.append(SlowFeed(row["name"], feed.id, name, feed.age(now), listings, zeros))
    return found


def unshown(conn: Connection, shop_id: int) -> list[UnshownFeed]:
    """Feeds that ended, with writes that the channel has accepted, or may have, and does not show."""
    rows = fetch(
        conn,
        """
        select c.name, f.id, count(*) as writes, min(l.channel_ref) as code
        from listing_writes w join channel_feeds f on f.shop_id = w.shop_id and f.id = w.feed_id
        join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.feed_id is not null and w.outcome is null and w.doubt is not null
            and f.ended_at is not null
        group by c.name, f.id order by writes desc, f.id
        """,
        shop=shop_id,
    )
    return [UnshownFeed(row["name"], row["id"], row["writes"], row["code"]) for row in rows]


def slow_notice(shop: str, late: Sequence[SlowFeed], address: str) -> str:
    """What is said of feeds that do not end."""
    each = " ".join(
        f"{feed.connection}: feed {feed.name} has been under way for {feed.age.total_seconds() / 60:.0f} minutes with"
        f" {feed.listings:,} listings, {feed.zeros:,} of which should show nothing by now and cannot be told."
        for feed in late[:WORST]
    )
    return f"{shop}: a feed does not end; everything that is not in it goes one by one. {each} {address}"


def unshown_notice(shop: str, hidden: Sequence[UnshownFeed], address: str) -> str:
    """What is said of what ended feeds do not show."""
    each = " ".join(
        f"{feed.connection}: {feed.writes:,} of feed {feed.feed_id}, such as {feed.code}"
        f" (switchyard settle --feed {feed.feed_id})."
        for feed in hidden[:WORST]
    )
    return f"{shop}: accepted in a feed, and the channel does not show it. {each} {address}"


# `feed_id` is what the views `slow_feeds` and `unshown_feeds` find the feed by.
def _late(late: Sequence[SlowFeed]) -> Jsonb:
    return Jsonb(
        [
            {"code": f"feed {feed.name}", "units": feed.listings, "where": feed.connection, "feed_id": feed.feed_id}
            for feed in late[:WORST]
        ]
    )


def _hidden(hidden: Sequence[UnshownFeed]) -> Jsonb:
    return Jsonb(
        [
            {"code": feed.code, "units": feed.writes, "where": feed.connection, "feed_id": feed.feed_id}
            for feed in hidden[:WORST]
        ]
    )
