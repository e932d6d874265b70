"""Writes that left and whose outcome is not known yet: when to look at them, and what a reading proves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, scalar
from core.inventory.publishing import Lane
from core.ports import LevelObservation, QuantityResult, QuantityWrite


@dataclass(frozen=True, slots=True)
class OpenWrite:
    """A sent write whose outcome is not known yet."""

    write: QuantityWrite
    is_accepted: bool
    sent_at: datetime
    planned_at: datetime
    feed_ended_at: datetime | None = None
    """When the feed it left in had ended; None where it left alone."""
    is_watched: bool = False
    """Its channel's orders are read: whether it landed will be known when the watermark passes a reading."""
    is_overtaking: bool = False
    """It has overtaken one that may still land."""
    is_read: bool = False
    """It was read since, and the watermark has yet to pass that reading, or has just: another one would only put the
    answer off."""


JUDGED_WITHIN = timedelta(seconds=20)
"""A reading that the watermark has passed is left so long for the sweep and the planner to judge by: where looks come
fast each would else put the next reading in its place first."""

LANDS_WITHIN = timedelta(minutes=3)
"""What was accepted has mostly landed by then."""

_DUE_AT = "coalesce(w.next_check_at, case when w.road = 'call' then w.sent_at + interval '60 seconds' end)"
"""One that left in a feed is not looked at before the feed has ended: until then the feed itself is."""

_IS_DUE = f"""
    w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.outcome is null and w.sent_at is not null
    and {_DUE_AT} <= %(now)s
"""


def due_checks(conn: Connection, lane: Lane, limit: int, now: datetime) -> list[OpenWrite]:
    """The open writes of at most `limit` calls to look at now, the longest due first, each call in its own order.

    A call is due when one of its writes is, and then all of it that is open is given. Locked, so that two checkers
    never share one.
    """
    found = fetch(
        conn,
        f"""
        select w.idempotency_key as key from listing_writes w where {_IS_DUE}
        group by 1 order by min({_DUE_AT}), 1 limit %(limit)s
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        now=now,
        limit=limit,
    )
    # Asked again under the lock: another checker may have taken them meanwhile.
    mine = fetch(
        conn,
        f"""
        select w.idempotency_key as key from listing_writes w
        where {_IS_DUE} and w.idempotency_key = any(%(keys)b::text[])
        order by w.id for update skip locked
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        now=now,
        keys=[row["key"] for row in found],
    )
    rows = fetch(
        conn,
        """
        select w.id, w.from_units, w.to_units, w.idempotency_key, w.batch_position, w.accepted_at, w.sent_at,
            w.planned_at, l.channel_ref, l.inventory_ref, l.channel_location_ref,
            c.reads_orders and c.watermark_at is not null as is_watched, f.ended_at as feed_ended_at,
            exists (select from overtaken_writes(l.shop_id, l.id)) as is_overtaking,
            -- A reading from before it landed proves nothing: soon after it left another one is to be had.
            w.from_units is null and l.published_at > w.sent_at and l.edited_units = 0
                and (l.unseen_units <> 0 or l.published_at > w.sent_at + %(soon)s::interval)
                and c.reads_orders and c.watermark_at < l.published_at + c.clock_margin + %(judged)s::interval
                as is_read
        from listing_writes w join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        left join channel_feeds f on f.shop_id = w.shop_id and f.id = w.feed_id
        join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
        where w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.outcome is null
            and w.sent_at is not null and w.idempotency_key = any(%(keys)b::text[])
        order by array_position(%(keys)b::text[], w.idempotency_key), w.batch_position
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        keys=sorted({row["key"] for row in mine}, key=[row["key"] for row in found].index),
        soon=LANDS_WITHIN,
        judged=JUDGED_WITHIN,
    )
    return [
        OpenWrite(
            write=_sent(row),
            is_accepted=row["accepted_at"] is not None,
            sent_at=row["sent_at"],
            planned_at=row["planned_at"],
            feed_ended_at=row["feed_ended_at"],
            is_watched=row["is_watched"],
            is_overtaking=row["is_overtaking"],
            is_read=bool(row["is_read"]),
        )
        for row in rows
    ]


def calls_of(conn: Connection, lane: Lane, due: Sequence[OpenWrite]) -> dict[str, list[QuantityWrite]]:
    """By key the whole calls that these writes left in, in the order they were sent: what is settled since, too.

    A key stands for everything that was sent under it: with anything less a repetition is another request.
    """
    rows = fetch(
        conn,
        """
        select w.id, w.from_units, w.to_units, w.idempotency_key, l.channel_ref, l.inventory_ref,
            l.channel_location_ref
        from listing_writes w join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.idempotency_key = any(%(keys)b::text[])
            and w.sent_at is not null
        order by w.idempotency_key, w.batch_position
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        keys=sorted({item.write.idempotency_key for item in due}),
    )
    calls: dict[str, list[QuantityWrite]] = {}
    for row in rows:
        calls.setdefault(row["idempotency_key"], []).append(_sent(row))
    return calls


def _sent(row: RowMapping) -> QuantityWrite:
    return QuantityWrite(
        write_id=row["id"],
        listing_ref=row["channel_ref"],
        inventory_ref=row["inventory_ref"],
        location_ref=row["channel_location_ref"],
        from_units=row["from_units"],
        to_units=row["to_units"],
        idempotency_key=row["idempotency_key"],
        is_doubtful=True,
    )


def next_check_at(conn: Connection, lane: Lane) -> datetime | None:
    """When the next open write of the lane is due to be looked at."""
    return scalar(
        conn,
        f"""
        select min({_DUE_AT}) from listing_writes w
        where shop_id = %(shop)s and connection_id = %(connection)s and outcome is null and sent_at is not null
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
    )


def results_of_reading_back(
    writes: Sequence[OpenWrite], observations: Sequence[LevelObservation]
) -> list[QuantityResult]:
    """Which absolute writes are confirmed by what the channel shows, at once.

    Only the written number proves anything: an old value may still be replaced by a submission under way, and a lower
    one may be a sale. Where the channel's orders are read not even that: sales may have led to the same number, and the
    submission still land on top of them. Those stay open until the watermark passes a reading (`landed`), except for a
    0, which can do no harm whenever it lands; unless it has overtaken a number that may.
    """
    shown = {(seen.inventory_ref, seen.location_ref): seen for seen in observations}
    results = []
    for item in writes:
        ref = item.write.inventory_ref or item.write.listing_ref
        seen = shown.get((ref, item.write.location_ref))
        if item.is_watched and (item.write.to_units > 0 or item.is_overtaking):
            continue
        if seen is not None and seen.units == item.write.to_units:
            results.append(
                QuantityResult(item.write.write_id, "confirmed", observed_units=seen.units, at=seen.observed_at)
            )
    return results


def landed(conn: Connection, shop_id: int, connection_id: int) -> list[QuantityResult]:
    """Open absolute writes that must have landed: nothing else explains what the channel was seen to show since.

    Once the watermark has passed the reading, every sale and restock up to it is booked. What of the change is then
    still unexplained, by nobody's edit and by none that it has overtaken, is the write's doing (`exposure.has_landed`).
    """
    rows = fetch(
        conn,
        """
        select w.id, l.published_units, l.published_at from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
        where w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.outcome is null and w.from_units is null
            and w.sent_at is not null and l.published_at > w.sent_at and l.published_units <= w.to_units
            and l.unseen_units <> 0 and l.edited_units = 0
            and c.reads_orders and c.watermark_at >= l.published_at + c.clock_margin
            and not overtaken_explain(l.shop_id, l.id)
        order by w.listing_id
        """,
        shop=shop_id,
        connection=connection_id,
    )
    return [
        QuantityResult(row["id"], "confirmed", observed_units=row["published_units"], at=row["published_at"])
        for row in rows
    ]


_IS_QUIET = """
    (may_be_overtaken(w.shop_id, w.id)
    and not (w.to_units = 0 and exists (select from overtaken_writes(w.shop_id, w.listing_id)))
    and exists (select from listings l where l.shop_id = w.shop_id and l.id = w.listing_id
        and not listing_differs(l.desired_units - l.short_units, l.published_units)))
"""


def postpone_checks(
    conn: Connection, shop_id: int, writes: Sequence[OpenWrite], wait: timedelta, doubt_after: timedelta, now: datetime
) -> None:
    """Look again later, with a growing pause; after `doubt_after` say that the effect does not show.

    There is nothing to say of one that the next may overtake, while its listing shows what it should: except for a 0
    that has overtaken a number which may still land on it, since nothing is written after that 0.
    """
    execute(
        conn,
        f"""
        update listing_writes w set attempts = w.attempts + 1,
            next_check_at = %(now)s + %(wait)s * power(2, least(w.attempts - 1, 6)),
            -- What left in a feed may show from the feed's end on.
            doubt = case when {_IS_QUIET} then null
                else coalesce(w.doubt, case when %(doubt_after)s + case w.road when 'feed'
                then coalesce(w.accepted_at, w.sent_at) else w.sent_at end < %(now)s
                then case when w.accepted_at is null then 'its sender died before an answer was recorded'
                    when may_be_overtaken(w.shop_id, w.id) then 'nothing read says whether it, or one before it, landed'
                    else 'accepted, but the channel does not show it yet' end end) end
        where w.shop_id = %(shop)s and w.id = any(%(ids)b::int8[]) and w.outcome is null
        """,
        shop=shop_id,
        ids=[item.write.write_id for item in writes],
        wait=wait,
        doubt_after=doubt_after,
        now=now,
    )


def check_orphans(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> int:
    """Have writes looked at now that left and about whose answer nobody wrote a word; returns how many.

    For the holder of the lane before it sends anything: whoever sent them has lost the lane, most likely by dying.
    """
    return execute(
        conn,
        """
        update listing_writes set next_check_at = %(now)s
        where shop_id = %(shop)s and connection_id = %(connection)s and outcome is null and sent_at is not null
            and next_check_at is null and road = 'call'
        """,
        shop=shop_id,
        connection=connection_id,
        now=now,
    )


def lanes_to_check(conn: Connection, now: datetime) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every connection with an open write that is due to be looked at.

    Where looking means to write again (class A), only while that may be: until then the write stays open, and exposed.
    """
    rows = fetch(
        conn,
        f"""
        select c.shop_id, c.id from connections c where c.state = 'active'
            and (c.guarantee_class <> 'A' or may_write(c.shop_id, c.id)) and exists (
            select from listing_writes w where w.shop_id = c.shop_id and w.connection_id = c.id
                and w.outcome is null and w.sent_at is not null
                and {_DUE_AT} <= %(now)s)
        order by 1, 2
        """,
        now=now,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


def end_doubts(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> list[int]:
    """Let exposure collapse to what was read, where the watermark has passed the reading; returns the SKUs concerned.

    `exposure.collapsed` as a set. Of a channel whose orders are not read nothing better is known than what it showed.
    """
    rows = fetch(
        conn,
        """
        with doubted as (
            select l.id, l.sku_id, l.exposed_units as before, l.published_units, l.blurred_units
            from listings l join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
            where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.is_in_doubt
                and l.published_units is not null
                and (not c.reads_orders or c.watermark_at >= l.published_at + c.clock_margin)
                and not exists (select from listing_writes w where w.shop_id = l.shop_id and w.listing_id = l.id
                    and w.outcome is null)
                and not exists (select from overtaken_writes(l.shop_id, l.id))
            order by l.id for no key update of l
        ), known as (
            -- Sold or put back so near to the reading that it may be on show, against what we know.
            select d.*, greatest(0, d.published_units + d.blurred_units) as after from doubted d
        ), ended as (
            update listings l set exposed_units = known.after, edited_units = 0
            from known where l.shop_id = %(shop)s and l.id = known.id
                and (l.exposed_units <> known.after or l.edited_units <> 0)
            returning l.id, known.sku_id, known.before, known.after
        ), noted as (
            insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units,
                changed_at)
            select %(shop)s, id, 'collapsed', after, after - before, after, %(now)s from ended order by id
        )
        select distinct sku_id from ended where sku_id is not null
        """,
        shop=shop_id,
        connection=connection_id,
        now=now,
    )
    return [row["sku_id"] for row in rows]
