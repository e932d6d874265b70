"""Bulk submissions as rows: begun, filled with writes, uploaded, marked, submitted, and ended with what is known.

A feed is a row before anything is uploaded. Its life:

    planned -> uploaded (does nothing yet) -> submitted (its writes are marked: from here on it may have left)
            -> in_progress -> done, fatal, cancelled (by us, or surely never applied) or lost (it surely never arrived,
               or nobody can say which of several it is)

At most one of a connection is open. A feed that was never marked did surely not leave, and its writes are withdrawn; of
one that was marked without an answer the channel itself is asked, and it is never submitted again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.bulk import BulkState, BulkSubmission
from core.connections import switches
from core.db import execute, fetch, fetch_one, scalar
from core.inventory import publishing
from core.inventory.differences import Lane, Part
from core.inventory.feed_reports import FeedWrite
from core.inventory.publishing import FeedPlace
from core.ports import QuantityWrite

LOOKS_AFTER = timedelta(seconds=15)
"""How long after its submission a feed is first looked at; a feed that ends is also told of."""

LOOKS_AT_MOST_EVERY = timedelta(minutes=2)
LOOKS_AGAIN = timedelta(seconds=2)
"""Not looked at again sooner, however often somebody rings. All three are of the vendor's time."""

UNSURE_FOR = timedelta(minutes=3)
"""Of our time: for so long a submission whose reply got lost may still be on its way from us."""

UNSEEN_FOR = timedelta(minutes=15)
"""Of the vendor's time, after that: a feed that the channel does not list by then never arrived."""


@dataclass(frozen=True, slots=True)
class Feed:
    """An open feed. `has_failed`: the channel surely did not take it, and its writes are about to be told so."""

    id: int
    state: str
    messages: int
    feed_ref: str | None
    submitted_at: datetime | None
    looked_at: datetime | None
    has_failed: bool = False

    def age(self, now: datetime) -> timedelta:
        """How long ago it was marked as sent."""
        return timedelta(0) if self.submitted_at is None else now - self.submitted_at


@dataclass(frozen=True, slots=True)
class Filled:
    """A feed that was begun, with the writes that are in it, in the order of its messages."""

    feed_id: int
    writes: Sequence[QuantityWrite]


class NotAllMayLeave(Exception):
    """Some writes of a feed may not be sent any more; nothing of it was marked."""


# --- sending ---------------------------------------------------------------------------------------------------------


def begin(conn: Connection, lane: Lane, because: str, now: datetime) -> int | None:
    """A new feed, empty; None where one of the connection is open already."""
    return scalar(
        conn,
        """
        insert into channel_feeds (shop_id, connection_id, because, planned_at)
        values (%(shop)s, %(connection)s, %(because)s, %(now)s)
        on conflict (shop_id, connection_id) where ended_at is null do nothing returning id
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        because=because,
        now=now,
    )


def new_key() -> str:
    """What the keys of a feed's writes begin with."""
    return f"feed:{uuid.uuid4()}"


def fill(
    conn: Connection, lane: Lane, place: FeedPlace, limit: int, feed_lasts: timedelta, now: datetime
) -> list[QuantityWrite]:
    """Plan some more of what differs into a feed that is being put together, in a unit of work of its own.

    Only what does not sell out in `feed_lasts`.
    """
    # A plan made once for any parameters thinks of a handful of rows: the eleventh set took fifty times as long.
    execute(conn, "set local plan_cache_mode = force_custom_plan")
    calls = publishing.plan(conn, lane, limit, now, part=Part("for_feeds", feed_lasts), feed=place)
    return [write for call in calls for write in call]


def note_upload(conn: Connection, shop_id: int, feed_id: int, document_ref: str, messages: int, now: datetime) -> bool:
    """Its document is with the channel, and does nothing yet. False where the feed was given up meanwhile."""
    changed = execute(
        conn,
        """
        update channel_feeds set state = 'uploaded', document_ref = %(document)s, uploaded_at = %(now)s,
            messages = %(messages)s
        where shop_id = %(shop)s and id = %(id)s and state = 'planned'
        """,
        shop=shop_id,
        id=feed_id,
        document=document_ref,
        messages=messages,
        now=now,
    )
    return changed == 1


def mark(conn: Connection, shop_id: int, filled: Filled, factor: float, now: datetime) -> None:
    """Claim every write of a feed for sending, just before its submission leaves; all of them or none.

    Raises NotAllMayLeave where one is too old, was withdrawn or may not be written any more, or the feed was given up:
    the unit of work is then undone, so that nothing is marked, and nothing may be submitted.
    """
    # Before every row, as whoever sends.
    switches.pass_gate(conn, shop_id)
    changed = execute(
        conn,
        """
        update channel_feeds set state = 'submitted', submitted_at = %(now)s, next_look_at = %(next)s
        where shop_id = %(shop)s and id = %(id)s and state = 'uploaded' and messages = %(messages)s
        """,
        shop=shop_id,
        id=filled.feed_id,
        messages=len(filled.writes),
        now=now,
        next=now + LOOKS_AFTER / factor,
    )
    ids = [write.write_id for write in filled.writes]
    if changed != 1 or len(publishing.mark_sent(conn, shop_id, ids, now)) != len(ids):
        raise NotAllMayLeave


def note_submission(conn: Connection, shop_id: int, feed_id: int, feed_ref: str) -> None:
    """The channel has it, under this id."""
    execute(
        conn,
        "update channel_feeds set feed_ref = %(ref)s where shop_id = %(shop)s and id = %(id)s and ended_at is null",
        shop=shop_id,
        id=feed_id,
        ref=feed_ref,
    )


def note_doubt(conn: Connection, shop_id: int, feed_id: int, why: str) -> None:
    """Nobody knows whether the channel has it."""
    execute(
        conn,
        "update channel_feeds set reason = %(why)s where shop_id = %(shop)s and id = %(id)s and ended_at is null",
        shop=shop_id,
        id=feed_id,
        why=why,
    )


def note_unsent(conn: Connection, shop_id: int, feed_id: int, why: str) -> None:
    """The channel surely did not take it. Said before its writes are told: if we die then, nobody waits for it."""
    execute(
        conn,
        """
        update channel_feeds set has_failed = true, reason = %(why)s
        where shop_id = %(shop)s and id = %(id)s and ended_at is null
        """,
        shop=shop_id,
        id=feed_id,
        why=why[:500],
    )


def give_up(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    feed_id: int,
    why: str,
    now: datetime,
    *,
    has_failed: bool = False,
) -> bool:
    """End a feed that was not marked and never will be: its writes are withdrawn. False where it was marked.

    `has_failed`: the channel did not take it; for a while the other road is better.
    """
    changed = execute(
        conn,
        """
        update channel_feeds set state = 'cancelled', ended_at = %(now)s, reason = %(why)s, has_failed = %(failed)s
        where shop_id = %(shop)s and id = %(id)s and state in ('planned', 'uploaded')
        """,
        shop=shop_id,
        id=feed_id,
        why=why[:500],
        failed=has_failed,
        now=now,
    )
    if changed:
        publishing.withdraw_unsent(conn, shop_id, connection_id, now, feed_id=feed_id)
    return changed == 1


def recover(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> int:
    """End what a sender that is gone was putting together; for the holder of the feeds' lane. Returns how many."""
    rows = fetch(
        conn,
        """
        select id from channel_feeds where shop_id = %(shop)s and connection_id = %(connection)s
            and state in ('planned', 'uploaded')
        """,
        shop=shop_id,
        connection=connection_id,
    )
    why = "its sender died before it was submitted"
    return sum(give_up(conn, shop_id, connection_id, row["id"], why, now) for row in rows)


# --- looking ---------------------------------------------------------------------------------------------------------


def to_look_at(conn: Connection, shop_id: int, connection_id: int, factor: float, now: datetime) -> list[Feed]:
    """The open feeds of a connection that may have left, and were not looked at just now."""
    rows = fetch(
        conn,
        """
        select id, state, messages, feed_ref, submitted_at, looked_at, has_failed from channel_feeds
        where shop_id = %(shop)s and connection_id = %(connection)s and state in ('submitted', 'in_progress')
            and (looked_at is null or looked_at <= %(before)s)
        order by id
        """,
        shop=shop_id,
        connection=connection_id,
        before=now - LOOKS_AGAIN / factor,
    )
    return [Feed(**row) for row in rows]


def note_look(
    conn: Connection, shop_id: int, feed: Feed, seen: BulkSubmission | None, factor: float, now: datetime
) -> None:
    """A feed was looked at and has not ended; the next look comes after a tenth of its age."""
    wait = min(LOOKS_AT_MOST_EVERY / factor, max(LOOKS_AFTER / factor, feed.age(now) / 10))
    execute(
        conn,
        """
        update channel_feeds set looked_at = %(now)s, next_look_at = %(next)s,
            state = case when %(runs)s then 'in_progress' else state end,
            channel_created_at = coalesce(channel_created_at, %(created)s)
        where shop_id = %(shop)s and id = %(id)s and ended_at is null
        """,
        shop=shop_id,
        id=feed.id,
        now=now,
        next=now + wait,
        runs=seen is not None and seen.state == "running",
        created=None if seen is None else seen.created_at,
    )


def put_off(conn: Connection, shop_id: int, feed_id: int, wait: timedelta, now: datetime) -> None:
    """Nothing could be learnt of it now: look again after `wait`."""
    execute(
        conn,
        """
        update channel_feeds set looked_at = %(now)s, next_look_at = %(next)s
        where shop_id = %(shop)s and id = %(id)s and ended_at is null
        """,
        shop=shop_id,
        id=feed_id,
        now=now,
        next=now + wait,
    )


def unknown_refs(conn: Connection, shop_id: int, connection_id: int, refs: Sequence[str]) -> list[str]:
    """Which of the channel's feeds are none of ours by any row; an account may have several connections."""
    rows = fetch(
        conn,
        """
        select n.ref from unnest(%(refs)b::text[]) as n (ref) where not exists (
            select from connections mine
            join connections c on c.shop_id = mine.shop_id and c.vendor = mine.vendor
                and c.account_ref = mine.account_ref
            join channel_feeds f on f.shop_id = c.shop_id and f.connection_id = c.id and f.feed_ref = n.ref
            where mine.shop_id = %(shop)s and mine.id = %(connection)s)
        """,
        shop=shop_id,
        connection=connection_id,
        refs=list(refs),
    )
    return [row["ref"] for row in rows]


def open_writes(conn: Connection, shop_id: int, feed_id: int) -> list[FeedWrite]:
    """The writes of a feed whose outcome is not known, in the order of its messages."""
    rows = fetch(
        conn,
        """
        select w.id, w.batch_position, l.channel_ref from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.feed_id = %(feed)s and w.outcome is null order by w.batch_position
        """,
        shop=shop_id,
        feed=feed_id,
    )
    return [FeedWrite(row["id"], row["batch_position"], row["channel_ref"]) for row in rows]


def end(conn: Connection, shop_id: int, feed_id: int, state: str, now: datetime, *, reason: str | None = None) -> None:
    """What became of a feed as a whole, once its writes are told: after it nothing of it changes.

    What was refused is counted from its writes; of a feed that was worked through the rest counts as accepted.
    """
    execute(
        conn,
        """
        update channel_feeds f set state = %(state)s, ended_at = %(now)s, looked_at = %(now)s, next_look_at = null,
            refused = w.refused, accepted = case when %(state)s = 'done' then f.messages - w.refused end,
            reason = coalesce(%(reason)s, f.reason), has_failed = %(state)s <> 'done'
        from (select count(*) filter (where outcome = 'refused') as refused from listing_writes
            where shop_id = %(shop)s and feed_id = %(id)s) w
        where f.shop_id = %(shop)s and f.id = %(id)s and f.ended_at is null
        """,
        shop=shop_id,
        id=feed_id,
        state=state,
        now=now,
        reason=None if reason is None else reason[:500],
    )


def reason(conn: Connection, shop_id: int, feed_id: int) -> str | None:
    """What is known of why it came to nothing, or to less than it should."""
    sql = "select reason from channel_feeds where shop_id = %(shop)s and id = %(id)s"
    return scalar(conn, sql, shop=shop_id, id=feed_id)


def wanted_to_be_zero(conn: Connection, shop_id: int, feed_id: int) -> int:
    """How many listings in a feed should show nothing by now, and cannot be told so before it has ended."""
    return int(
        scalar(
            conn,
            """
            select count(*) from listing_writes w
            join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
            where w.shop_id = %(shop)s and w.feed_id = %(feed)s and w.outcome is null
                and l.desired_units - l.short_units + l.unseen_units <= 0
            """,
            shop=shop_id,
            feed=feed_id,
        )
    )


def next_look_at(conn: Connection, lane: Lane) -> datetime | None:
    """When the next open feed of the lane is due to be looked at."""
    return scalar(
        conn,
        """
        select min(next_look_at) from channel_feeds where shop_id = %(shop)s and connection_id = %(connection)s
            and state in ('submitted', 'in_progress')
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
    )


def lanes_to_look_at(conn: Connection, now: datetime) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every connection with a feed that is due to be looked at."""
    rows = fetch(
        conn,
        """
        select f.shop_id, f.connection_id from channel_feeds f
        join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
        where c.state = 'active' and f.state in ('submitted', 'in_progress') and f.next_look_at <= %(now)s order by 1, 2
        """,
        now=now,
    )
    return [(row["shop_id"], row["connection_id"]) for row in rows]


def lanes_with_zeros(conn: Connection) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every connection whose feed has not begun, as we know, and holds back a zero."""
    rows = fetch(
        conn,
        """
        select f.shop_id, f.connection_id from channel_feeds f
        join connections c on c.shop_id = f.shop_id and c.id = f.connection_id and c.state = 'active'
        where f.ended_at is null and f.state = 'submitted' and f.feed_ref is not null and exists (
            select from listings l
            join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
            where l.shop_id = f.shop_id and l.connection_id = f.connection_id and l.is_to_drain and w.feed_id = f.id)
        order by 1, 2
        """,
    )
    return [(row["shop_id"], row["connection_id"]) for row in rows]


def ended_feed(conn: Connection, feed_id: int) -> tuple[int, int] | None:
    """(shop_id, connection_id) of a feed that has ended; None where there is none of that number."""
    row = fetch_one(
        conn,
        "select shop_id, connection_id from channel_feeds where id = %(id)s and ended_at is not null",
        id=feed_id,
    )
    return None if row is None else (row["shop_id"], row["connection_id"])


ENDS: dict[BulkState, str] = {"done": "done", "fatal": "fatal", "cancelled": "cancelled"}
"""How the channel's word for an end is kept."""
