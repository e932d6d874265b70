"""Writes to channels: planned, committed as rows, sent, and settled by what the channel answers.

A write is a row before it is a request. Its life: planned (committed, not sent) -> sent (marked just before the
request leaves) -> confirmed, refused, stale, or open with a doubt. At most one is open per listing. A write that was
never marked sent did surely not leave and is withdrawn; one that was stays open until its outcome is known.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.connections import switches
from core.db import execute, fetch, fetch_one
from core.errors import Anticipated, BadInput
from core.inventory import escrow, exposure, overtaking
from core.inventory.differences import ALL, Lane, Part, differing, pairs, urgent
from core.inventory.exposing import BY_HAND, Exposing, move_exposure, of_answer
from core.inventory.exposure import WHOLE_SECOND
from core.inventory.rules import ListingState, PlannedWrite, plan_write, urgency
from core.ports import QuantityResult, QuantityWrite, WriteOutcome

SEND_WITHIN = timedelta(seconds=60)
"""A sender that is later than this after planning must not send: the number is old."""

WRITES_STOPPED = "WRITES_STOPPED"
"""The code of a write that was held at the way out, or withdrawn because nothing may be written."""

FEED_CANCELLED, FEED_LOST = "FEED_CANCELLED", "FEED_LOST"
"""Codes of writes whose feed was cancelled before it began, or never arrived: nothing is wrong with them."""

_RETRY_AT_ONCE = (
    "NEIGHBOUR_STALE",
    "NEIGHBOUR_REFUSED",
    "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED",
    WRITES_STOPPED,
    FEED_CANCELLED,
    FEED_LOST,
)
_BACKOFF_SECONDS_MAX = 3600


Answered = tuple[RowMapping, QuantityResult]
"""An open write (with what its listing shows) and its result."""


@dataclass(frozen=True, slots=True)
class FeedPlace:
    """Where planned writes go in a bulk submission: `key` names it, the first of them is message `start` (from 0)."""

    feed_id: int
    key: str
    start: int


def plan(
    conn: Connection,
    lane: Lane,
    limit: int,
    now: datetime,
    sync_run_id: int | None = None,
    *,
    part: Part = ALL,
    feed: FeedPlace | None = None,
) -> list[list[QuantityWrite]]:
    """Commit-ready rows for the most urgent differences, grouped into calls that share an idempotency key.

    Groups that are not simply pooled are locked and planned anew before anything of them is written. Listings of
    the lane that are busy elsewhere are passed over, so that nobody waits out of order. Nothing is planned for a
    connection that may not be written to: switches wait until what is planned is committed. Of a `feed` all of it is
    one group, and each write has a key of its own.
    """
    # Before every row, as whoever sends: who plans takes pools and listings next.
    switches.pass_gate(conn, lane.shop_id)
    if not switches.may_write(conn, lane.shop_id, lane.connection_id):
        return []
    found = urgent(conn, lane, part, limit, now)
    pools = [pool for row in found if row["pools"] for pool in pairs(row["pools"])]
    if pools:
        escrow.replan(conn, lane.shop_id, pools, now)
    rows = differing(conn, lane, part, [row["id"] for row in found], now)
    by_id = {row["id"]: row for row in rows}
    states = sorted((_state(row, lane) for row in rows), key=urgency)
    planned = [write for state in states if (write := plan_write(state)) is not None]
    calls: list[list[QuantityWrite]] = []
    size = lane.writes_per_call if feed is None else max(1, len(planned))
    for start in range(0, len(planned), size):
        calls.append(_record(conn, lane, planned[start : start + size], by_id, now, sync_run_id, feed))
    return calls


def _record(
    conn: Connection,
    lane: Lane,
    group: Sequence[PlannedWrite],
    by_id: Mapping[int, RowMapping],
    now: datetime,
    sync_run_id: int | None,
    feed: FeedPlace | None,
) -> list[QuantityWrite]:
    """Insert the writes of one call, with what they may expose: committed with them, before anything leaves."""
    if feed is None:
        overtaking.overtake(conn, lane.shop_id, [write.listing_id for write in group], now)
    places = range(len(group)) if feed is None else range(feed.start, feed.start + len(group))
    call_key = str(uuid.uuid4())
    # What leaves in one feed is read back one by one.
    keys = [call_key if feed is None else f"{feed.key}:{place}" for place in places]
    inserted = fetch(
        conn,
        """
        with intended as (
            insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units,
                exposure_delta_units, idempotency_key, batch_position, planned_at, deadline_at, sync_run_id, road,
                feed_id)
            select %(shop)s, %(connection)s, n.listing, n.from_units, n.to_units, n.exposed, n.key, n.place, %(now)s,
                %(deadline)s, %(run)s, case when %(feed)s::int8 is null then 'call' else 'feed' end, %(feed)s
            from unnest(%(listings)b::int8[], %(froms)b::int4[], %(tos)b::int4[], %(exposed)b::int4[],
                %(keys)b::text[], %(places)b::int4[]) as n (listing, from_units, to_units, exposed, key, place)
            returning id, listing_id, exposure_delta_units
        ), exposed as (
            update listings l set exposed_units = l.exposed_units + i.exposure_delta_units
            from intended i where l.shop_id = %(shop)s and l.id = i.listing_id and i.exposure_delta_units > 0
            returning l.id, l.exposed_units, i.id as write_id, i.exposure_delta_units as units
        ), noted as (
            insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units,
                write_id, changed_at)
            select %(shop)s, id, 'write', units, units, exposed_units, write_id, %(now)s from exposed order by id
        )
        select id, listing_id from intended
        """,
        shop=lane.shop_id,
        connection=lane.connection_id,
        keys=keys,
        feed=None if feed is None else feed.feed_id,
        now=now,
        deadline=now + SEND_WITHIN,
        run=sync_run_id,
        listings=[write.listing_id for write in group],
        froms=[write.from_units for write in group],
        tos=[write.to_units for write in group],
        exposed=[exposure.recorded(write.from_units, write.to_units) for write in group],
        places=list(places),
    )
    ids = {row["listing_id"]: row["id"] for row in inserted}
    return [
        QuantityWrite(
            write_id=ids[write.listing_id],
            listing_ref=by_id[write.listing_id]["channel_ref"],
            inventory_ref=by_id[write.listing_id]["inventory_ref"],
            location_ref=by_id[write.listing_id]["channel_location_ref"],
            from_units=write.from_units,
            to_units=write.to_units,
            idempotency_key=key,
        )
        for write, key in zip(group, keys, strict=True)
    ]


def _state(row: RowMapping, lane: Lane) -> ListingState:
    return ListingState(
        listing_id=row["id"],
        guarantee_class=lane.guarantee_class,
        desired_units=row["desired_units"],
        short_units=row["short_units"],
        published_units=row["published_units"],
        unseen_units=row["unseen_units"],
        priority=row["priority"],
    )


def mark_sent(conn: Connection, shop_id: int, write_ids: Sequence[int], now: datetime) -> set[int]:
    """Claim writes for sending, just before they leave; returns those that may leave.

    A guarded update: a write that is too old, was withdrawn, is already with another sender or may not be written any
    more is not among them. In a unit of work of its own: switches wait for it.
    """
    switches.pass_gate(conn, shop_id)
    rows = fetch(
        conn,
        """
        update listing_writes set sent_at = %(now)s, attempts = attempts + 1
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and sent_at is null and outcome is null
            and deadline_at > %(now)s
            -- Asked once for each connection, not for each write.
            and connection_id in (
                select c.id from connections c where c.shop_id = %(shop)s and may_write(c.shop_id, c.id))
        returning id
        """,
        shop=shop_id,
        ids=list(write_ids),
        now=now,
    )
    return {row["id"] for row in rows}


def withdraw_unsent(
    conn: Connection, shop_id: int, connection_id: int, now: datetime, *, feed_id: int | None = None
) -> int:
    """Close writes that nobody sent in time (their sender died), or may send any more; returns how many.

    All that were not sent of a feed that never leaves, where `feed_id` names one. They expose nothing any more.
    """
    rows = fetch(
        conn,
        """
        select w.id, l.id as listing_id from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.outcome is null and w.sent_at is null
            and (w.deadline_at <= %(now)s or w.feed_id = %(feed)s or not may_write(w.shop_id, w.connection_id))
        order by l.id for no key update of l
        """,
        shop=shop_id,
        connection=connection_id,
        feed=feed_id,
        now=now,
    )
    withdrawn = fetch(
        conn,
        """
        update listing_writes set outcome = 'withdrawn', outcome_at = %(now)s,
            outcome_code = case when may_write(shop_id, connection_id) then 'NOT_SENT_IN_TIME' else %(stopped)s end
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and outcome is null and sent_at is null
        returning id, listing_id, exposure_delta_units
        """,
        shop=shop_id,
        now=now,
        stopped=WRITES_STOPPED,
        ids=[row["id"] for row in rows],
    )
    move_exposure(
        conn,
        shop_id,
        [Exposing(row["listing_id"], row["id"], "refused", -(row["exposure_delta_units"] or 0)) for row in withdrawn],
        now,
    )
    return len(withdrawn)


def settle(
    conn: Connection, shop_id: int, results: Sequence[QuantityResult], check_after: timedelta, now: datetime
) -> None:
    """Record what became of sent writes, and what we now know the listings to show.

    Listings are locked by id. `check_after` is when an accepted write is first read back.
    """
    by_id = {result.write_id: result for result in results}
    rows = fetch(
        conn,
        """
        select w.id, w.listing_id, w.from_units, w.to_units, w.exposure_delta_units, l.published_at, l.published_units,
            l.push_failures, l.unseen_units, l.blurred_units, l.followed_at, c.clock_margin
        from listing_writes w join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
        where w.shop_id = %(shop)s and w.id = any(%(ids)b::int8[]) and w.outcome is null
        order by w.listing_id for no key update of w, l
        """,
        shop=shop_id,
        ids=sorted(by_id),
    )
    open_rows = [(row, by_id[row["id"]]) for row in rows]
    _close(
        conn,
        shop_id,
        [pair for pair in open_rows if pair[1].outcome in ("confirmed", "refused", "stale", "unsent")],
        now,
    )
    _keep_open(
        conn, shop_id, [pair[1] for pair in open_rows if pair[1].outcome in ("accepted", "unknown")], check_after, now
    )
    # Before what the listings are known to show is changed: an edit is told by what was known.
    move_exposure(conn, shop_id, [change for pair in open_rows for change in of_answer(*pair)], now)
    _tell_listings(conn, shop_id, open_rows, now)


def _close(conn: Connection, shop_id: int, pairs: Sequence[Answered], now: datetime) -> None:
    # What surely never left is a refusal of ours: the row was marked sent, so it cannot be withdrawn.
    outcomes = ["refused" if result.outcome == "unsent" else result.outcome for _, result in pairs]
    codes = ["UNSENT" if result.outcome == "unsent" and not result.code else result.code for _, result in pairs]
    execute(
        conn,
        """
        update listing_writes w set outcome = n.outcome, outcome_at = %(now)s, outcome_code = n.code,
            outcome_detail = n.detail, observed_units = n.observed, doubt = null, next_check_at = null
        from unnest(%(ids)b::int8[], %(outcomes)b::text[], %(codes)b::text[], %(details)b::text[], %(observed)b::int4[])
            as n (id, outcome, code, detail, observed)
        where w.shop_id = %(shop)s and w.id = n.id and w.outcome is null
        """,
        shop=shop_id,
        now=now,
        ids=[row["id"] for row, _ in pairs],
        outcomes=outcomes,
        codes=codes,
        details=[result.detail for _, result in pairs],
        observed=[result.observed_units for _, result in pairs],
    )


def _keep_open(
    conn: Connection, shop_id: int, results: Sequence[QuantityResult], check_after: timedelta, now: datetime
) -> None:
    execute(
        conn,
        """
        update listing_writes w set
            accepted_at = coalesce(w.accepted_at, case when n.accepted then %(now)s::timestamptz end),
            submission_ref = coalesce(w.submission_ref, n.submission),
            doubt = case when n.accepted then null else coalesce(n.detail, n.code, 'no answer came') end,
            -- Who checks has put the next look off already, the longer the more often it came to nothing.
            next_check_at = greatest(w.next_check_at, %(next)s)
        from unnest(%(ids)b::int8[], %(accepted)b::bool[], %(submissions)b::text[], %(codes)b::text[],
            %(details)b::text[]) as n (id, accepted, submission, code, detail)
        where w.shop_id = %(shop)s and w.id = n.id and w.outcome is null
        """,
        shop=shop_id,
        now=now,
        next=now + check_after,
        ids=[result.write_id for result in results],
        accepted=[result.outcome == "accepted" for result in results],
        submissions=[result.submission_ref for result in results],
        codes=[result.code for result in results],
        details=[result.detail for result in results],
    )


def _tell_listings(conn: Connection, shop_id: int, pairs: Sequence[Answered], now: datetime) -> None:
    """Carry outcomes over to the (locked) listings: what they show, and when to try again."""
    learnt = [_learnt(row, result) for row, result in pairs]
    nexts = [_next_try(row, result, now) for row, result in pairs]
    execute(
        conn,
        """
        update listings l set published_units = n.published, published_at = n.published_at, push_failures = n.failures,
            next_push_at = n.next_push_at, push_problem = n.problem, unseen_units = l.unseen_units + n.unseen,
            blurred_units = coalesce(n.blurred, l.blurred_units),
            unseen_since = case when n.unseen <> 0 then %(now)s else l.unseen_since end
        from unnest(%(ids)b::int8[], %(published)b::int4[], %(published_ats)b::timestamptz[], %(failures)b::int4[],
            %(nexts)b::timestamptz[], %(problems)b::text[], %(unseen)b::int4[], %(blurred)b::int4[])
            as n (id, published, published_at, failures, next_push_at, problem, unseen, blurred)
        where l.shop_id = %(shop)s and l.id = n.id
        """,
        shop=shop_id,
        ids=[row["listing_id"] for row, _ in pairs],
        published=[item.units for item in learnt],
        published_ats=[item.at for item in learnt],
        failures=[failures for failures, _, _ in nexts],
        nexts=[at for _, at, _ in nexts],
        problems=[problem for _, _, problem in nexts],
        unseen=[item.unseen_delta for item in learnt],
        blurred=[item.blurred_units for item in learnt],
        now=now,
    )


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What an answer teaches of a listing: what it shows, since when, and the change of `unseen_units`.

    `blurred_units`: by how much the number may be too low, where it is a reading of its own; None leaves that as it is.
    """

    units: int | None
    at: datetime | None
    unseen_delta: int = 0
    blurred_units: int | None = None


def _learnt(row: RowMapping, result: QuantityResult) -> _Knowledge:
    """What we know of the listing after this answer.

    A confirmed compare-and-set adds its difference, never assigns: sales booked since it was planned have already
    been taken off. If the channel was seen since, what was seen had the write's own effect in it, which is therefore
    explained. Within the same second the number decides: if it is no longer what the write compared with, it was seen
    since; and it may then be too low by the difference, should that be wrong.
    """
    shown, known_at, unseen = row["published_units"], row["published_at"], row["unseen_units"]
    is_fresh = known_at is None or result.at is None or known_at <= result.at
    blurred = _blurred(row, result)
    is_followed = result.at is not None and row["followed_at"] is not None and result.at < row["followed_at"]
    if result.outcome == "stale" and result.observed_units is not None and is_fresh and not is_followed:
        seen_by_itself = result.observed_units - (result.observed_units if shown is None else shown)
        return _Knowledge(result.observed_units, result.at or known_at, seen_by_itself, blurred)
    if result.outcome != "confirmed":
        return _Knowledge(shown, known_at)
    if row["from_units"] is None and not is_fresh:
        # It was seen since, with the write's own effect in it: only what goes beyond the write is the channel's doing.
        beyond = max(0, (shown or 0) - row["to_units"])
        return _Knowledge(shown, known_at, min(0, beyond - unseen))
    if row["from_units"] is None:
        units = result.observed_units if result.observed_units is not None else row["to_units"]
        return _Knowledge(units, result.at or known_at, -unseen, blurred)
    delta = row["to_units"] - row["from_units"]
    if result.observed_units is not None:
        seen_by_itself = 0 if shown is None else result.observed_units - shown - delta
        return _Knowledge(result.observed_units, result.at or known_at, seen_by_itself, blurred)
    gap = known_at - result.at if known_at is not None and result.at is not None else -2 * WHOLE_SECOND
    is_tie = abs(gap) < WHOLE_SECOND
    if shown is None:
        return _Knowledge(shown, known_at)
    if gap >= WHOLE_SECOND or (is_tie and shown != row["from_units"]):
        return _Knowledge(shown, known_at, -delta, row["blurred_units"] + max(0, delta) if is_tie else None)
    at = max(known_at, result.at) if known_at and result.at else result.at or known_at
    return _Knowledge(shown + delta, at, 0, row["blurred_units"] + max(0, -delta) if is_tie else None)


def _blurred(row: RowMapping, result: QuantityResult) -> int | None:
    """By how much a number read may be too low: a restock booked just before may not have been in it."""
    known_at, followed_at = row["published_at"], row["followed_at"]
    if result.observed_units is None or result.at is None or (known_at is not None and result.at <= known_at):
        return None
    if row["published_units"] is None or followed_at is None or result.at > followed_at + row["clock_margin"]:
        return 0
    return max(0, row["published_units"] + row["blurred_units"] - result.observed_units)


def _next_try(row: RowMapping, result: QuantityResult, now: datetime) -> tuple[int, datetime | None, str | None]:
    """(failures so far, not before, the problem as people read it)."""
    if result.outcome in ("confirmed", "accepted", "stale") or result.code in _RETRY_AT_ONCE:
        return 0, None, None
    failures = row["push_failures"] + 1
    wait = timedelta(seconds=min(5 * 2 ** min(failures, 12), _BACKOFF_SECONDS_MAX))
    problem = ": ".join(part for part in (result.code, result.detail) if part) or result.outcome
    return failures, now + wait, problem


class NotInDoubt(Anticipated):
    """Only a sent write that is still open can be settled by hand."""

    def __init__(self, write_id: int) -> None:
        super().__init__(f"write {write_id} is not in doubt: it was never sent, or its outcome is known")


def settle_by_hand(
    conn: Connection, shop_id: int, write_id: int, shown_units: int, actor: Actor, now: datetime
) -> None:
    """End the doubt of a write with what a person saw on the channel: confirmed if it is the number, else refused.

    Raises NotInDoubt, or BadInput for a negative number. The listing is planned again from what was seen.
    """
    if shown_units < 0:
        raise BadInput(f"the channel cannot show {shown_units}: give the number seen, 0 or more")
    row = fetch_one(
        conn,
        """
        select to_units from listing_writes where shop_id = %(shop)s and id = %(id)s and outcome is null
            and sent_at is not null for update
        """,
        shop=shop_id,
        id=write_id,
    )
    if row is None:
        raise NotInDoubt(write_id)
    outcome: WriteOutcome = "confirmed" if row["to_units"] == shown_units else "stale"
    result = QuantityResult(write_id, outcome, code=BY_HAND, observed_units=shown_units, at=now)
    settle(conn, shop_id, [result], timedelta(0), now)
    audit.record(conn, shop_id, actor, "settle_write", f"listing_write:{write_id}", now, shown_units=shown_units)


def settle_feed_by_hand(
    conn: Connection, shop_id: int, feed_id: int, shown: Mapping[int, int], actor: Actor, now: datetime
) -> int:
    """End the doubt of writes of a feed that has ended by what the channel shows of each: as `settle_by_hand`.

    `shown` has the units by write; what is settled meanwhile is left. Returns how many were ended.
    """
    rows = fetch(
        conn,
        """
        select w.id, w.to_units from listing_writes w
        join channel_feeds f on f.shop_id = w.shop_id and f.id = w.feed_id and f.ended_at is not null
        where w.shop_id = %(shop)s and w.feed_id = %(feed)s and w.id = any(%(ids)b::int8[]) and w.outcome is null
        order by w.listing_id
        """,
        shop=shop_id,
        feed=feed_id,
        ids=sorted(shown),
    )
    results = [
        QuantityResult(
            row["id"],
            "confirmed" if row["to_units"] == shown[row["id"]] else "stale",
            code=BY_HAND,
            observed_units=shown[row["id"]],
            at=now,
        )
        for row in rows
    ]
    settle(conn, shop_id, results, timedelta(0), now)
    if results:
        audit.record(conn, shop_id, actor, "settle_feed", f"channel_feed:{feed_id}", now, writes=len(results))
    return len(results)
