"""Sending many quantities in one submission, and finding out what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from core.audit import Actor
from core.bootstrap import Application
from core.bulk import BulkRoad, BulkSubmission
from core.clock import CLOCK_MARGIN, utc_now
from core.connections import switches
from core.connections.queries import ConnectionRow, connection
from core.db import count_grown_tables, read_only, unit_of_work
from core.errors import BadInput, Permanent, Retryable
from core.inventory import feed_reports, feeds, publishing, weighing
from core.inventory.checking import OpenWrite
from core.inventory.differences import ALL, Part
from core.inventory.exposing import NOT_SUBMITTED
from core.inventory.feeds import Feed, Filled, NotAllMayLeave
from core.inventory.publishing import FeedPlace
from core.inventory.roads import Paces
from core.inventory.weighing import Weighed
from core.messaging.doorbell import Lane as BellLane
from core.messaging.doorbell import lane_lock
from core.ports import QuantityResult, QuantityWrite, SalesChannel
from workers.hints import ring_once
from workers.settling import DOUBT_AFTER, factor_of, lane_of, settle

log = logging.getLogger(__name__)

PLANNED_AT_ONCE = 500
"""So many listings are locked together while a feed is filled."""

FILL_SECONDS = 20.0
"""A feed that is not full by then goes as it is: none of its numbers may be older than a minute when it leaves."""

AGAIN_AFTER = timedelta(minutes=1)
"""Of the vendor's time: when to look again at a feed of which nothing could be learnt."""


def part_for_calls(app: Application, row: ConnectionRow, channel: SalesChannel) -> Part:
    """What a push sends one by one now: all of it, or what is not left to a feed, which is then rung for."""
    bulk = channel.bulk
    if bulk is None or bulk.ready_in() > 0:
        # Until a feed may leave, the quota of the other road would lie idle.
        return ALL
    weighed = weigh(app, row, channel, bulk)
    if weighed.choice.road == "call":
        return ALL
    log.info("raises go in a feed", extra={"because": weighed.choice.because})
    ring_once(app, "stock.feed", shop_id=row.shop_id, connection_id=row.id)
    return Part("for_calls", weighed.feed_lasts)


def weigh(app: Application, row: ConnectionRow, channel: SalesChannel, bulk: BulkRoad) -> Weighed:
    """Which road raises take now."""
    paces = Paces(bulk.calls_per_second(), bulk.size_max, bulk.ready_in())
    with read_only(app.engine) as conn:
        return weighing.weigh(conn, lane_of(row, channel, 1), paces, bulk.window, factor_of(row), utc_now())


def send_feed(app: Application, row: ConnectionRow, channel: SalesChannel) -> dict[str, Any]:
    """Put a feed together and submit it, if that is the better road; returns what came of it.

    One sender a connection: the lock is another one than that of the pushes, which go on beside it.
    """
    bulk = channel.bulk
    with lane_lock(app.engine, BellLane("stock-feed", row.shop_id, row.id)) as is_held:
        if bulk is None or not is_held:
            return {"busy": True}
        with unit_of_work(app.engine) as conn:
            feeds.recover(conn, row.shop_id, row.id, utc_now())
        weighed = weigh(app, row, channel, bulk)
        if weighed.choice.road == "call" or bulk.ready_in() > 0:
            return {"because": weighed.choice.because}
        filled = _fill(app, row, channel, weighed)
        if filled is None:
            return {"because": "nothing was left to write"}
        return _submit(app, row, bulk, filled)


def _fill(app: Application, row: ConnectionRow, channel: SalesChannel, weighed: Weighed) -> Filled | None:
    """Writes committed with their exposure, some at a time, until nothing differs, the feed is full or time is up."""
    lane = lane_of(row, channel, 1)
    with unit_of_work(app.engine) as conn:
        feed_id = feeds.begin(conn, lane, weighed.choice.because, utc_now())
    if feed_id is None:
        return None
    key, writes, ends_at = feeds.new_key(), list[QuantityWrite](), time.monotonic() + FILL_SECONDS
    while len(writes) < weighed.size_max and time.monotonic() < ends_at:
        with unit_of_work(app.engine) as conn:
            limit = min(PLANNED_AT_ONCE, weighed.size_max - len(writes))
            place = FeedPlace(feed_id, key, len(writes))
            more = feeds.fill(conn, lane, place, limit, weighed.feed_lasts, utc_now())
        if not more:
            break
        writes += more
        # Else the next set would be sought as if there were no writes yet.
        count_grown_tables(app.engine)
    if writes:
        return Filled(feed_id, writes)
    _give_up(app, row, feed_id, "nothing was left to write")
    return None


def _submit(app: Application, row: ConnectionRow, bulk: BulkRoad, filled: Filled) -> dict[str, Any]:
    """Upload, mark, and only then submit: what fails before the mark surely did not leave."""
    feed_id = filled.feed_id
    try:
        document = bulk.upload(filled.writes)
    except (Retryable, Permanent) as error:
        _give_up(app, row, feed_id, f"its document could not be uploaded: {error}", has_failed=True)
        return {"given_up": str(error)}
    with unit_of_work(app.engine) as conn:
        is_mine = feeds.note_upload(conn, row.shop_id, feed_id, document, len(filled.writes), utc_now())
    if not is_mine:
        return {"given_up": "another sender took over"}
    try:
        with unit_of_work(app.engine) as conn:
            feeds.mark(conn, row.shop_id, filled, factor_of(row), utc_now())
    except NotAllMayLeave:
        with read_only(app.engine) as conn:
            is_late = switches.may_write(conn, row.shop_id, row.id)
        why = "it was put together too slowly to leave" if is_late else "nothing may be written any more"
        # The next one would be as late: meanwhile raises go one by one.
        _give_up(app, row, feed_id, why, has_failed=is_late)
        return {"given_up": why}
    sent = bulk.submit(document)
    if sent.outcome == "unsent":
        with unit_of_work(app.engine) as conn:
            feeds.note_unsent(conn, row.shop_id, feed_id, sent.detail or sent.code or "it was not taken")
        _end_unsent(app, row, feed_id, sent.code)
        return {"unsent": len(filled.writes)}
    with unit_of_work(app.engine) as conn:
        if sent.ref is not None:
            feeds.note_submission(conn, row.shop_id, feed_id, sent.ref)
        else:
            feeds.note_doubt(conn, row.shop_id, feed_id, sent.detail or "no answer came")
    return {sent.outcome: len(filled.writes)}


def _end_unsent(app: Application, row: ConnectionRow, feed_id: int, code: str | None = None) -> None:
    """Tell the writes of a feed that the channel surely did not take, and then the feed: a killed one is told again."""
    with read_only(app.engine) as conn:
        writes, why = feeds.open_writes(conn, row.shop_id, feed_id), feeds.reason(conn, row.shop_id, feed_id)
    settle(app, row, [QuantityResult(write.write_id, "unsent", code, why) for write in writes])
    with unit_of_work(app.engine) as conn:
        feeds.end(conn, row.shop_id, feed_id, "cancelled", utc_now())


def _give_up(app: Application, row: ConnectionRow, feed_id: int, why: str, *, has_failed: bool = False) -> None:
    with unit_of_work(app.engine) as conn:
        feeds.give_up(conn, row.shop_id, row.id, feed_id, why, utc_now(), has_failed=has_failed)


# --- looking ---------------------------------------------------------------------------------------------------------


def look_at_feeds(app: Application, row: ConnectionRow, channel: SalesChannel) -> int:
    """Ask how the connection's open feeds are, and record what became of those that ended; returns how many did."""
    bulk, ended = channel.bulk, 0
    if bulk is None:
        return 0
    with read_only(app.engine) as conn:
        found = feeds.to_look_at(conn, row.shop_id, row.id, factor_of(row), utc_now())
    for feed in found:
        try:
            ended += _look(app, row, bulk, feed)
        except (Retryable, Permanent) as error:
            log.warning("feed %d could not be looked at: %s", feed.id, error)
            with unit_of_work(app.engine) as conn:
                feeds.put_off(conn, row.shop_id, feed.id, AGAIN_AFTER / factor_of(row), utc_now())
    return ended


def _look(app: Application, row: ConnectionRow, bulk: BulkRoad, feed: Feed) -> bool:
    """Whether it has ended now."""
    if feed.has_failed:
        _end_unsent(app, row, feed.id)
        return True
    return _look_for(app, row, bulk, feed) if feed.feed_ref is None else _look_at(app, row, bulk, feed, feed.feed_ref)


def _look_at(app: Application, row: ConnectionRow, bulk: BulkRoad, feed: Feed, ref: str) -> bool:
    seen = bulk.submission(ref)
    if seen.state == "queued" and _is_cancelled_for_zeros(app, row, bulk, feed, seen):
        # Told of at once, so that its zeros leave at once.
        seen = bulk.submission(ref)
    if seen.state in ("queued", "running"):
        with unit_of_work(app.engine) as conn:
            feeds.note_look(conn, row.shop_id, feed, seen, factor_of(row), utc_now())
        return False
    _end(app, row, bulk, feed, seen)
    return True


def _end(app: Application, row: ConnectionRow, bulk: BulkRoad, feed: Feed, seen: BulkSubmission) -> None:
    """Tell the writes of a feed that has ended, and then the feed itself: a killed one is told again."""
    with read_only(app.engine) as conn:
        writes = feeds.open_writes(conn, row.shop_id, feed.id)
    reason = None
    if seen.state == "done":
        try:
            results = feed_reports.results(writes, feed.messages, bulk.report(seen))
        except Permanent as error:
            reason = f"its report cannot be had: {error}"
            results = [QuantityResult(write.write_id, "unknown", "NO_REPORT", reason) for write in writes]
    elif seen.state == "fatal":
        reason = feed_reports.ABORTED
        results = feed_reports.after_abort(writes)
    else:
        reason = "it was cancelled before it began"
        results = feed_reports.never_applied(writes, publishing.FEED_CANCELLED, reason)
    settle(app, row, results)
    with unit_of_work(app.engine) as conn:
        feeds.end(conn, row.shop_id, feed.id, feeds.ENDS[seen.state], utc_now(), reason=reason)
    app.doorbell.ring(BellLane("stock", row.shop_id, row.id))


def _is_cancelled_for_zeros(
    app: Application, row: ConnectionRow, bulk: BulkRoad, feed: Feed, seen: BulkSubmission
) -> bool:
    """A feed that has not begun and holds back zeros is cancelled: they are worth more than its raises."""
    with read_only(app.engine) as conn:
        zeros = feeds.wanted_to_be_zero(conn, row.shop_id, feed.id)
    if not zeros:
        return False
    is_cancelled = bulk.cancel(seen.ref)
    log.warning("feed %d holds back %d zeros", feed.id, zeros, extra={"is_cancelled": is_cancelled})
    return is_cancelled


def _look_for(app: Application, row: ConnectionRow, bulk: BulkRoad, feed: Feed) -> bool:
    """A feed that was marked and never answered for: ask the channel what it has of us since.

    One that nobody else's row knows is ours, since a connection has one sender. None by the time one must show: it
    never arrived. Several: nobody can say which, and its writes stay open until the channel shows them.
    """
    now, since = utc_now(), feed.submitted_at
    age = feed.age(now)
    if since is None or age < feeds.UNSURE_FOR:
        with unit_of_work(app.engine) as conn:
            feeds.note_look(conn, row.shop_id, feed, None, factor_of(row), now)
        return False
    told = bulk.submissions_since(since - CLOCK_MARGIN)
    with read_only(app.engine) as conn:
        refs = feeds.unknown_refs(conn, row.shop_id, row.id, [one.ref for one in told])
        writes = feeds.open_writes(conn, row.shop_id, feed.id)
    if len(refs) == 1:
        with unit_of_work(app.engine) as conn:
            feeds.note_submission(conn, row.shop_id, feed.id, refs[0])
            feeds.note_look(conn, row.shop_id, feed, None, factor_of(row), now)
        return False
    if not refs and age < feeds.UNSURE_FOR + feeds.UNSEEN_FOR / factor_of(row):
        with unit_of_work(app.engine) as conn:
            feeds.note_look(conn, row.shop_id, feed, None, factor_of(row), now)
        return False
    if refs:
        why = f"no reply came, and the channel has {len(refs)} feeds that might be this one"
        results = [QuantityResult(write.write_id, "unknown", "FEED_UNCLEAR", why) for write in writes]
    else:
        why = "no reply came, and the channel has never heard of it"
        results = [QuantityResult(write.write_id, "unsent", publishing.FEED_LOST, why) for write in writes]
    settle(app, row, results)
    with unit_of_work(app.engine) as conn:
        feeds.end(conn, row.shop_id, feed.id, "lost", now, reason=why)
    app.doorbell.ring(BellLane("stock", row.shop_id, row.id))
    return True


def void_ones(
    row: ConnectionRow, channel: SalesChannel, due: Sequence[OpenWrite], settled: Sequence[QuantityResult]
) -> list[QuantityResult]:
    """Of writes whose feed ended long ago and that do not show: those of which the channel holds another submission.

    Such a write is not the last one that was submitted, so it will not come into force any more; whether it was for a
    moment nobody can say, so that its exposure stays until the watermark has passed a reading.
    """
    bulk, before = channel.bulk, utc_now() - DOUBT_AFTER / factor_of(row)
    known = {result.write_id for result in settled}
    old = {
        item.write.listing_ref: item.write
        for item in due
        if item.feed_ended_at is not None and item.feed_ended_at < before and item.write.write_id not in known
    }
    if bulk is None or not old:
        return []
    said = bulk.submitted(sorted(old))
    return [
        QuantityResult(write.write_id, "stale", NOT_SUBMITTED, f"the channel holds {said[ref]} as submitted last")
        for ref, write in old.items()
        if ref in said and said[ref] != write.to_units
    ]


# --- by hand ---------------------------------------------------------------------------------------------------------

READ_AT_ONCE = 200


def settle_feed(app: Application, feed_id: int, actor: Actor) -> tuple[int, int]:
    """End what is in doubt of a feed by what the channel shows now; returns how many, and how many it tells nothing of.

    Raises BadInput for a feed that there is not, or that has not ended, and what reading raises.
    """
    with read_only(app.engine) as conn:
        found = feeds.ended_feed(conn, feed_id)
        if found is None:
            raise BadInput(f"there is no feed {feed_id} that has ended: the alert on it names its number")
        shop_id, connection_id = found
        row = connection(conn, shop_id, connection_id)
        writes = feeds.open_writes(conn, shop_id, feed_id)
    ended = 0
    with app.channel(row) as channel:
        for start in range(0, len(writes), READ_AT_ONCE):
            some = {write.listing_ref: write for write in writes[start : start + READ_AT_ONCE]}
            seen = {level.inventory_ref: level.units for level in channel.levels(sorted(some))}
            shown = {some[ref].write_id: units for ref, units in seen.items() if ref in some and units is not None}
            with unit_of_work(app.engine) as conn:
                ended += publishing.settle_feed_by_hand(conn, shop_id, feed_id, shown, actor, utc_now())
    app.doorbell.ring(BellLane("stock", shop_id, connection_id))
    return ended, len(writes) - ended
