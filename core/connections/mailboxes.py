"""Writes: what comes out of a queue that a channel puts its notifications into, and how reading it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core.connections import markets, queries
from core.connections.queries import ConnectionRow
from core.db import execute, fetch_one

KEEP = timedelta(days=8)
"""How long counts by the hour are kept."""


@dataclass(frozen=True, slots=True)
class Mailroom:
    """The connections that share one queue, the first of which reads it. All are of one shop and one vendor.

    A seller has one subscription to a type wherever it sells, so its connections in several marketplaces have one
    queue, and what comes is sorted by whose it is.
    """

    members: tuple[ConnectionRow, ...]

    @property
    def reader(self) -> ConnectionRow:
        """Whose turn it is to read, and whose key is used."""
        return self.members[0]

    def addressees(self, account_ref: str | None, marketplace: str | None) -> Sequence[ConnectionRow]:
        """Whose a message is: of whom it names, of all where it names nobody, and of none where it names a stranger."""
        return [
            row
            for row in self.members
            if (account_ref is None or account_ref.casefold() == row.account_ref.casefold())
            and (marketplace is None or marketplace in markets.covered(row.settings))
        ]


def mailrooms(conn: Connection) -> list[Mailroom]:
    """Every queue of every shop with whom it is for. Those of paused connections too: a queue forgets after days."""
    rows = [row for shop in queries.shops(conn) for row in queries.connections_of(conn, shop["shop_id"])]
    groups: dict[tuple[int, str, str], list[ConnectionRow]] = {}
    for row in rows:
        if url := row.settings.get("queue_url"):
            groups.setdefault((row.shop_id, row.vendor, str(url)), []).append(row)
    return [Mailroom(tuple(group)) for group in groups.values()]


def mailroom_of(conn: Connection, shop_id: int, connection_id: int) -> Mailroom | None:
    """The queue of a connection; None where it has none. Raises UnknownConnection."""
    row = queries.connection(conn, shop_id, connection_id)
    url = row.settings.get("queue_url")
    sharing = [
        one
        for one in queries.connections_of(conn, shop_id)
        if one.vendor == row.vendor and one.settings.get("queue_url") == url
    ]
    return Mailroom(tuple(sharing)) if url else None


def facts(conn: Connection, shop_id: int, connection_id: int, topic: str, now: datetime) -> Mapping[str, Any]:
    """How a connection's queue does: read_at, problem, problem_at, told_at, untold_orders (core.connections.checkup).

    `topic` is that by which it tells of orders. They are looked at from an hour after it did so last, or after its key
    was entered; of those of the last hour it may still tell.
    """
    row = fetch_one(
        conn,
        """
        select q.read_at, q.problem, q.problem_at, told.at as told_at,
            (select count(*) from orders o where o.shop_id = c.shop_id and o.connection_id = c.id
                and o.placed_at > greatest(told.at, key.at) + %(hour)s and o.placed_at < %(now)s - %(hour)s
            ) as untold_orders
        from connections c
        left join channel_mailboxes q on q.shop_id = c.shop_id and q.connection_id = c.id
        cross join lateral (
            select max(n.hour_at) as at from channel_notices n
            where n.shop_id = c.shop_id and n.connection_id = c.id and n.topic = %(topic)s) told
        cross join lateral (
            select max(s.updated_at) as at from connection_secrets s
            where s.shop_id = c.shop_id and s.connection_id = c.id and s.name like 'aws%%') key
        where c.shop_id = %(shop)s and c.id = %(id)s
        """,
        shop=shop_id,
        id=connection_id,
        now=now,
        hour=timedelta(hours=1),
        topic=topic,
    )
    assert row is not None, "it was listed a moment ago"
    return dict(row)


def note_came(conn: Connection, shop_id: int, connection_id: int, messages: Mapping[str, int], now: datetime) -> None:
    """Count messages that were recorded just now, by topic. Rows are locked in order of topic."""
    counted = sorted((topic, count) for topic, count in messages.items() if count)
    if not counted:
        return
    execute(
        conn,
        """
        insert into channel_notices as n (shop_id, connection_id, hour_at, topic, messages)
        select %(shop)s, %(id)s, date_trunc('hour', %(now)s::timestamptz), m.topic, m.messages
        from unnest(%(topics)b::text[], %(counts)b::int8[]) as m (topic, messages) order by m.topic
        on conflict (shop_id, connection_id, hour_at, topic) do update set messages = n.messages + excluded.messages
        """,
        shop=shop_id,
        id=connection_id,
        now=now,
        topics=[topic for topic, _ in counted],
        counts=[count for _, count in counted],
    )
    execute(
        conn,
        "delete from channel_notices where shop_id = %(shop)s and connection_id = %(id)s and hour_at < %(before)s",
        shop=shop_id,
        id=connection_id,
        before=now - KEEP,
    )


def note_read(conn: Connection, room: Mailroom, now: datetime, *, came: bool) -> None:
    """Remember that the queue answered: whatever kept it from being read is over. Rows are locked by connection."""
    for row in room.members:
        execute(
            conn,
            """
            insert into channel_mailboxes as q (shop_id, connection_id, read_at, came_at)
            values (%(shop)s, %(id)s, %(now)s, case when %(came)s then %(now)s::timestamptz end)
            on conflict (shop_id, connection_id) do update set read_at = excluded.read_at,
                came_at = coalesce(excluded.came_at, q.came_at), problem = null, problem_at = null
            """,
            shop=row.shop_id,
            id=row.id,
            now=now,
            came=came,
        )


def note_unread(conn: Connection, room: Mailroom, problem: str, now: datetime) -> None:
    """Remember why the queue cannot be read, and since when. Rows are locked by connection."""
    for row in room.members:
        execute(
            conn,
            """
            insert into channel_mailboxes as q (shop_id, connection_id, problem, problem_at)
            values (%(shop)s, %(id)s, %(problem)s, %(now)s)
            on conflict (shop_id, connection_id) do update set problem = excluded.problem,
                problem_at = case when q.problem = excluded.problem then q.problem_at else excluded.problem_at end
            """,
            shop=row.shop_id,
            id=row.id,
            problem=problem,
            now=now,
        )
