"""Alerts on feeds: one that does not end, and what a feed that ended does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.alerts.rules import WORST, Finding, Found, many
from core.alerts.scene import Scene
from core.alerts.terms import SLOW, UNSHOWN
from core.db import fetch
from core.inventory import feeds, weighing
from core.inventory.differences import Lane
from core.inventory.feeds import Feed


@dataclass(frozen=True, slots=True)
class SlowFeed:
    """A feed that takes too long: its age, the listings in it, and how many of those should show nothing by now."""

    connection: str
    connection_id: int
    feed_id: int
    name: str
    age: timedelta
    listings: int
    zeros: int


@dataclass(frozen=True, slots=True)
class UnshownFeed:
    """A feed that ended, and how many of its writes are in doubt; `code` names one SKU of them."""

    connection: str
    connection_id: int
    feed_id: int
    writes: int
    code: str


def slow_feeds(scene: Scene) -> Found:
    """Feeds that do not end."""
    late = slow(scene.conn, scene.shop_id, scene.now)
    return Found([late_words(late)] if late else [])


def unshown_feeds(scene: Scene) -> Found:
    """Feeds that ended, and that the channel does not show in full."""
    hidden = unshown(scene.conn, scene.shop_id)
    return Found([hidden_words(hidden)] if hidden else [])


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
            found.append(SlowFeed(row["name"], row["connection_id"], feed.id, name, feed.age(now), listings, zeros))
    return found


def unshown(conn: Connection, shop_id: int) -> list[UnshownFeed]:
    """Feeds that ended, with writes that the channel has accepted, or may have, and does not show."""
    rows = fetch(
        conn,
        """
        select c.name, c.id as connection_id, f.id, count(*) as writes, min(l.channel_ref) as code
        from listing_writes w join channel_feeds f on f.shop_id = w.shop_id and f.id = w.feed_id
        join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.feed_id is not null and w.outcome is null and w.doubt is not null
            and f.ended_at is not null
        group by c.name, c.id, f.id order by writes desc, f.id
        """,
        shop=shop_id,
    )
    return [UnshownFeed(row["name"], row["connection_id"], row["id"], row["writes"], row["code"]) for row in rows]


def late_words(late: Sequence[SlowFeed]) -> Finding:
    """The condition in words."""
    each = " ".join(
        f"{feed.connection}: feed {feed.name} has been under way for {feed.age.total_seconds() / 60:.0f} minutes with"
        f" {feed.listings:,} listings, {feed.zeros:,} of which should show nothing by now and cannot be told."
        for feed in late[:WORST]
    )
    zeros = sum(feed.zeros for feed in late)
    return Finding(
        SLOW,
        "danger" if zeros else "attention",
        "A feed does not end" if len(late) == 1 else f"{len(late)} feeds do not end",
        f"Everything that is not in it goes one by one. {each}",
        "One that has not begun is cancelled by itself as soon as something in it has to show nothing; one that runs"
        " can only be waited for, or asked about at the vendor's support.",
        "connections",
        sum(feed.listings for feed in late),
        {"connection": str(late[0].connection_id)},
        late[0].connection_id if len({feed.connection_id for feed in late}) == 1 else None,
        units=sum(feed.listings for feed in late),
        skus=len(late),
        follows=late[0].connection_id if len({feed.connection_id for feed in late}) == 1 else None,
        worst=_late(late),
    )


def hidden_words(hidden: Sequence[UnshownFeed]) -> Finding:
    """The condition in words."""
    each = " ".join(
        f"{feed.connection}: {feed.writes:,} of feed {feed.feed_id}, such as {feed.code}"
        f" (switchyard settle --feed {feed.feed_id})."
        for feed in hidden[:WORST]
    )
    writes = sum(feed.writes for feed in hidden)
    return Finding(
        UNSHOWN,
        "attention",
        f"{many(writes, 'number')} of {'a feed that' if len(hidden) == 1 else 'feeds that'} ended"
        f" {'is' if writes == 1 else 'are'} not shown",
        f"Accepted in a feed, and the channel does not show it. {each}",
        "Look at some of them there; then `switchyard settle --feed` ends what is left by what the channel shows.",
        "connections",
        writes,
        {"connection": str(hidden[0].connection_id)},
        hidden[0].connection_id if len({feed.connection_id for feed in hidden}) == 1 else None,
        units=writes,
        skus=len(hidden),
        worst=_hidden(hidden),
    )


# `feed_id` is what the views `slow_feeds` and `unshown_feeds` find the feed by.
def _late(late: Sequence[SlowFeed]) -> list[dict[str, object]]:
    return [
        {"code": f"feed {feed.name}", "units": feed.listings, "where": feed.connection, "feed_id": feed.feed_id}
        for feed in late[:WORST]
    ]


def _hidden(hidden: Sequence[UnshownFeed]) -> list[dict[str, object]]:
    return [
        {"code": feed.code, "units": feed.writes, "where": feed.connection, "feed_id": feed.feed_id}
        for feed in hidden[:WORST]
    ]
