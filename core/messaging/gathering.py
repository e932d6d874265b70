"""What is held for a channel: sent by itself, or several in one, so that a digest is one and nobody is flooded.

Everything is decided in Postgres, under a lock on the channel: two relays never decide the same. A message that carries
others is unique by the first of them, and a held row is carried once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, scalar, unit_of_work
from core.messaging import outbox

LISTED_MAX = 40
"""Of what one message gathers, so many are told one by one, worst first; the others are counted by kind."""
_WORDS_MAX = 400

Row = RowMapping


@dataclass(frozen=True, slots=True)
class Gathered:
    """What became of held messages: sent by themselves, gathered, and in how many messages; and put off."""

    alone: int = 0
    together: int = 0
    digests: int = 0
    later: int = 0

    def __add__(self, other: Gathered) -> Gathered:
        return Gathered(
            self.alone + other.alone,
            self.together + other.together,
            self.digests + other.digests,
            self.later + other.later,
        )


def gather(engine: Engine, now: datetime) -> Gathered:
    """Decide on everything that is held and due, each channel in a commit of its own; returns what came of it."""
    total, after = Gathered(), (0, 0)
    while True:
        with unit_of_work(engine) as conn:
            row = _next_channel(conn, after, now)
            if row is None:
                return total
            after = (row["shop_id"], row["id"])
            total += _gather(conn, *after, now)


def _next_channel(conn: Connection, after: tuple[int, int], now: datetime) -> Row | None:
    """The next channel with something due, locked; what another relay is at is passed over.

    One that does not answer has what was sent before to answer to: what comes meanwhile is gathered, and does not come
    over it one by one, hour by hour of the outage, when it is back.
    """
    found = fetch(
        conn,
        """
        select c.shop_id, c.id from notice_channels c
        where (c.shop_id, c.id) > (%(shop)s, %(id)s) and c.removed_at is null and not c.is_quiet
            and exists (select from outbox_messages m where m.shop_id = c.shop_id and m.channel_id = c.id
                and m.state = 'held' and m.next_attempt_at <= %(now)s)
            and not (c.failures > 0 and exists (select from outbox_messages w where w.shop_id = c.shop_id
                and w.channel_id = c.id and w.state = 'waiting' and w.kind <> %(test)s))
        order by c.shop_id, c.id limit 1 for no key update of c skip locked
        """,
        shop=after[0],
        id=after[1],
        test=outbox.TEST,
        now=now,
    )
    return found[0] if found else None


def _gather(conn: Connection, shop_id: int, channel_id: int, now: datetime) -> Gathered:
    """The same for one channel, which is locked: what is read here was committed before the lock was had."""
    rows = fetch(conn, _DECIDE, shop=shop_id, channel=channel_id, now=now)
    fates = {fate: [row for row in rows if row["fate"] == fate] for fate in ("alone", "together", "later")}
    _release(conn, shop_id, fates["alone"], now)
    if fates["later"]:
        _put_off(conn, shop_id, fates["later"], fates["later"][0]["room_at"])
    together = fates["together"]
    if together:
        _bundle(conn, shop_id, channel_id, together, now)
    return Gathered(len(fates["alone"]), len(together), int(bool(together)), len(fates["later"]))


# room: how many more messages the channel may get within the hour. Files go by themselves, whatever the room: they are
# somebody's report. Of a digest, and of what waited for longer than an hour (the channel was quiet, or had no room, or
# nobody relayed), everything goes in one; of anything else the worst go by themselves while there is room, the last
# room is kept for the message that gathers the rest.
_DECIDE = """
with channel as (
    select c.shop_id, c.id, c.rhythm, sent.room_at,
        greatest(c.most_an_hour - sent.messages, 0) as room
    from notice_channels c
    cross join lateral (
        select count(*) as messages, min(m.released_at) + interval '1 hour' as room_at from outbox_messages m
        where m.shop_id = c.shop_id and m.channel_id = c.id and m.released_at > %(now)s - interval '1 hour'
    ) sent
    where c.shop_id = %(shop)s and c.id = %(channel)s
), due as (
    select m.shop_id, m.id, m.payload, m.created_at, c.rhythm, c.room, c.room_at, m.payload ? 'attachments' as is_whole,
        c.rhythm <> 'at_once' or m.created_at <= %(now)s - interval '1 hour' as is_for_later,
        array_position(array['danger', 'attention', 'info'], m.payload ->> 'severity') as rank
    from outbox_messages m join channel c on c.shop_id = m.shop_id and c.id = m.channel_id
    where m.state = 'held' and m.next_attempt_at <= %(now)s
), placed as (
    select d.*,
        count(*) filter (where not is_whole) over () as many,
        count(*) filter (where not is_whole and is_for_later) over () as many_for_later,
        row_number() over (partition by is_whole, is_for_later order by rank, id) as place
    from due d
)
select p.id, p.payload ->> 'about' as about, p.payload ->> 'severity' as severity, p.payload ->> 'subject' as subject,
    left(p.payload ->> 'text', 2000) as text, p.created_at, p.room_at,
    case
        when p.is_whole then 'alone'
        when p.room = 0 then 'later'
        when p.many = 1 then 'alone'
        when p.is_for_later and p.many_for_later > 1 then 'together'
        when p.many <= p.room and p.many_for_later <= 1 then 'alone'
        when not p.is_for_later and p.place < p.room then 'alone'
        else 'together'
    end as fate
from placed p order by p.rank, p.id
"""


def _release(conn: Connection, shop_id: int, rows: Sequence[Row], now: datetime) -> None:
    execute(
        conn,
        """
        update outbox_messages set state = 'waiting', released_at = %(now)s, next_attempt_at = %(now)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and state = 'held'
        """,
        shop=shop_id,
        ids=[row["id"] for row in rows],
        now=now,
    )


def _put_off(conn: Connection, shop_id: int, rows: Sequence[Row], until: datetime) -> None:
    execute(
        conn,
        """
        update outbox_messages set next_attempt_at = %(until)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and state = 'held'
        """,
        shop=shop_id,
        ids=[row["id"] for row in rows],
        until=until,
    )


def _bundle(conn: Connection, shop_id: int, channel_id: int, rows: Sequence[Row], now: datetime) -> None:
    """One message for all of them; it counts as one against the most an hour."""
    ids = sorted(row["id"] for row in rows)
    bundle = scalar(
        conn,
        """
        insert into outbox_messages (shop_id, kind, dedupe_key, payload, channel_id, released_at, next_attempt_at,
            created_at)
        values (%(shop)s, %(kind)s, %(key)s, %(payload)s, %(channel)s, %(now)s, %(now)s, %(now)s) returning id
        """,
        shop=shop_id,
        kind=outbox.DIGEST,
        key=f"{ids[0]}#{channel_id}",
        payload=Jsonb(digest(rows, _zone(conn, shop_id))),
        channel=channel_id,
        now=now,
    )
    carried = execute(
        conn,
        """
        update outbox_messages set state = 'gathered', gathered_in = %(bundle)s, settled_at = %(now)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and state = 'held'
        """,
        shop=shop_id,
        bundle=bundle,
        ids=ids,
        now=now,
    )
    assert carried == len(ids), "whoever holds the channel decides on all that is held for it"


def _zone(conn: Connection, shop_id: int) -> ZoneInfo:
    return ZoneInfo(str(scalar(conn, "select time_zone from shops where shop_id = %(shop)s", shop=shop_id)))


def digest(rows: Sequence[Row], zone: ZoneInfo) -> dict[str, Any]:
    """The payload of one message that carries `rows` (about, severity, subject, text, created_at), worst first.

    Times are those of the shop's `zone`, as in what it carries.
    """
    listed, rest = rows[:LISTED_MAX], rows[LISTED_MAX:]
    severity = rows[0]["severity"]
    counts = [(name, sum(row["severity"] == name for row in rows)) for name in ("danger", "attention", "info")]
    heads = ", ".join(f"{count} {name}" for name, count in counts if count)
    first = min(row["created_at"] for row in rows).astimezone(zone)
    lines = [f"{len(rows)} notices since {first:%Y-%m-%d %H:%M}, {zone.key.replace('_', ' ')} ({heads})."]
    lines += [f"• {_line(row, zone)}" for row in listed]
    if rest:
        kinds: dict[str, int] = {}
        for row in rest:
            kinds[row["about"]] = kinds.get(row["about"], 0) + 1
        told = ", ".join(
            f"{name} {count}" for name, count in sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        )
        lines.append(f"And {len(rest)} more: {told}.")
    worst = rows[0]["subject"]
    return {
        "about": "digest",
        "severity": severity,
        "subject": f"{worst}, and {len(rows) - 1} more" if len(rows) > 1 else worst,
        "text": "\n".join(lines),
        "carries": len(rows),
    }


def _line(row: Row, zone: ZoneInfo) -> str:
    text = " ".join(str(row["text"]).split())
    said = f"{row['created_at'].astimezone(zone):%d %b %H:%M} {row['subject']}: {text}"
    return said if len(said) <= _WORDS_MAX else said[: _WORDS_MAX - 1] + "…"
