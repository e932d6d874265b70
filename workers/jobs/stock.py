"""Jobs: stock.push, stock.check, sweep.stock."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.catalog import operations as catalog
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import switches
from core.connections.queries import ConnectionRow, connection
from core.db import read_only, unit_of_work
from core.inventory import checking, feeds, lane_work, publishing
from core.inventory.checking import OpenWrite
from core.inventory.exposing import KEY_EXPIRED
from core.inventory.publishing import WRITES_STOPPED
from core.logs import bound
from core.messaging.doorbell import Drain, Lane
from core.ports import QuantityResult, QuantityWrite, SalesChannel
from workers.feeds import look_at_feeds, part_for_calls, void_ones
from workers.registry import job
from workers.settling import DOUBT_AFTER, FIRST_CHECK, factor_of, follow_up, lane_of

log = logging.getLogger(__name__)

DRAIN_SECONDS = 20
SENT_AT_ONCE = 20
"""How many writes of a one-at-a-time channel are marked sent together: as many may be in doubt after a kill."""

SENDERS = 4
READ_AT_ONCE = 200
SOON_SECONDS = 2.0
RING_AHEAD = timedelta(seconds=1)
# Of the vendor's side: divided by the connection's clock factor.
KEY_LIVES = timedelta(hours=23)


@dataclass(frozen=True, slots=True)
class _Held:
    """A lane that is ours for now, with what working on it takes."""

    app: Application
    row: ConnectionRow
    channel: SalesChannel
    drain: Drain


@contextmanager
def _holding(queue: str, shop_id: int, connection_id: int) -> Iterator[_Held | None]:
    """Hold a connection's lane of a queue; None when another drain has it, or the connection is paused."""
    app = bootstrap.application()
    lane = Lane(queue, shop_id, connection_id)
    with app.doorbell.draining(app.engine, lane) as drain, bound(lane=lane.key):
        row = None
        if drain.is_held:
            with read_only(app.engine) as conn:
                row = connection(conn, shop_id, connection_id)
        if row is None or row.state != "active":
            yield None
            return
        with app.channel(row) as channel:
            yield _Held(app, row, channel, drain)


@job("stock.push", queue="stock", timeout=90, retry=(3, [1, 5, 30]))
def push_stock(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """Bring a connection's listings to what they should show, most urgent first."""
    with _holding("stock", shop_id, connection_id) as held:
        if held is None:
            return {"busy_or_paused": True}
        counts = push_lane(held.app, held.row, held.channel, DRAIN_SECONDS)
        if any(counts.values()):
            log.info("pushed", extra={"counts": counts})
        with read_only(held.app.engine) as conn:
            # Whoever sends the feed rings when it has left.
            is_left = (shop_id, connection_id) in lane_work.lanes_to_push(conn, utc_now())
            held.drain.has_more = is_left and not counts.get("left_to_feed")
        if counts.get("accepted") or counts.get("unknown"):
            _promise_check(held.app, lane_of(held.row, held.channel, held.channel.writes_per_call))
    return counts


def _promise_check(app: Application, lane: publishing.Lane) -> None:
    """Have the lane's open writes and feeds looked at when the next falls due.

    A moment before, since rings come to a second.
    """
    with read_only(app.engine) as conn:
        due = (checking.next_check_at(conn, lane), feeds.next_look_at(conn, lane))
    next_at = min((at for at in due if at is not None), default=None)
    if next_at is None:
        return
    bell, ring_at = Lane("stock-check", lane.shop_id, lane.connection_id), next_at - RING_AHEAD
    if ring_at <= utc_now():
        app.doorbell.ring(bell)
    else:
        app.doorbell.ring_at(bell, ring_at)


def push_lane(app: Application, row: ConnectionRow, channel: SalesChannel, seconds: float) -> dict[str, int]:
    """Plan, commit, send and settle until nothing differs or the time is up; returns outcomes counted."""
    size = channel.writes_per_call
    counts: dict[str, int] = {}
    ends_at = time.monotonic() + seconds
    with unit_of_work(app.engine) as conn:
        counts["withdrawn"] = publishing.withdraw_unsent(conn, row.shop_id, row.id, utc_now())
        counts["orphans"] = checking.check_orphans(conn, row.shop_id, row.id, utc_now())
    with unit_of_work(app.engine) as conn:
        lane_work.give_up_unseen(conn, row.shop_id, row.id, utc_now())
    if counts["orphans"]:
        app.doorbell.ring(Lane("stock-check", row.shop_id, row.id))
    part = part_for_calls(app, row, channel)
    while time.monotonic() < ends_at:
        with unit_of_work(app.engine) as conn:
            lane = lane_of(row, channel, size)
            calls = publishing.plan(conn, lane, max(SENT_AT_ONCE, size), utc_now(), part=part)
        if not calls:
            if part.kind == "for_calls":
                counts["left_to_feed"] = 1
            break
        for sent, results in _send(app, row, channel, calls):
            counts["sent"] = counts.get("sent", 0) + sent
            for result in results:
                counts[result.outcome] = counts.get(result.outcome, 0) + 1
            with unit_of_work(app.engine) as conn:
                publishing.settle(conn, row.shop_id, results, FIRST_CHECK / factor_of(row), utc_now())
            with unit_of_work(app.engine) as conn:
                connections.note_problem(conn, row.shop_id, row.id, _problem(results), utc_now())
            follow_up(app, row, results)
            # One stale pair holds up its whole call: smaller calls while the channel is busy selling.
            is_stale = any(result.outcome == "stale" for result in results)
            size = max(1, size // 4) if is_stale else min(channel.writes_per_call, size * 2)
        if counts.get("unsent"):
            break
    return counts


def _problem(results: Sequence[QuantityResult]) -> str | None:
    """What the connection as a whole suffers from: nothing got through."""
    if any(result.outcome in ("confirmed", "accepted", "stale") for result in results) or not results:
        return None
    first = next(
        (item for item in results if item.outcome in ("unsent", "unknown") and item.code != WRITES_STOPPED), None
    )
    return None if first is None else (first.detail or first.code or first.outcome)


def _send(
    app: Application, row: ConnectionRow, channel: SalesChannel, calls: Sequence[Sequence[QuantityWrite]]
) -> Iterable[tuple[int, list[QuantityResult]]]:
    """Mark writes as sent, in a commit of its own just before they leave, and send them."""
    if channel.writes_per_call > 1:
        for call in calls:
            mine = _mark_sent(app, row, call)
            yield len(mine), list(channel.set_quantities(mine)) if mine else []
        return
    writes = _mark_sent(app, row, [write for call in calls for write in call])
    with ThreadPoolExecutor(SENDERS) as pool:
        results = pool.map(lambda write: channel.set_quantities([write])[0], writes)
        yield len(writes), list(results)


def _mark_sent(app: Application, row: ConnectionRow, writes: Sequence[QuantityWrite]) -> list[QuantityWrite]:
    with unit_of_work(app.engine) as conn:
        ids = publishing.mark_sent(conn, row.shop_id, [write.write_id for write in writes], utc_now())
    return [write for write in writes if write.write_id in ids]


@job("stock.check", queue="stock-check", timeout=90, retry=(3, [1, 5, 30]))
def check_writes(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """Look at open writes that are due: read back what was accepted, settle what is in doubt."""
    with _holding("stock-check", shop_id, connection_id) as held:
        if held is None:
            return {"busy_or_paused": True}
        if held.channel.guarantee_class == "A" and not _may_write(held):
            # The answer could only be had by writing again.
            return {"writes_stopped": True}
        counts = check_lane(held.app, held.row, held.channel, DRAIN_SECONDS)
        if any(counts.values()):
            log.info("checked", extra={"counts": counts})
        with read_only(held.app.engine) as conn:
            now = utc_now()
            waiting = {*checking.lanes_to_check(conn, now), *feeds.lanes_to_look_at(conn, now)}
            held.drain.has_more = (shop_id, connection_id) in waiting
        if not held.drain.has_more:
            _promise_check(held.app, lane_of(held.row, held.channel, held.channel.writes_per_call))
    return counts


def check_lane(app: Application, row: ConnectionRow, channel: SalesChannel, seconds: float) -> dict[str, int]:
    """Check due writes until none is left or the time is up; returns how many were checked and settled."""
    lane = lane_of(row, channel, channel.writes_per_call)
    counts = {"checked": 0, "settled": 0}
    if ended := look_at_feeds(app, row, channel):
        counts["feeds_ended"] = ended
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        with unit_of_work(app.engine) as conn:
            due = checking.due_checks(conn, lane, max(1, READ_AT_ONCE // channel.writes_per_call), utc_now())
            calls = checking.calls_of(conn, lane, due) if channel.guarantee_class == "A" else {}
            # Nobody else looks at them meanwhile, and a checker that dies leaves them to the next.
            checking.postpone_checks(
                conn, row.shop_id, due, FIRST_CHECK / factor_of(row), DOUBT_AFTER / factor_of(row), utc_now()
            )
        if not due:
            if not _wait_for_next(app, lane, ends_at):
                break
            continue
        if channel.guarantee_class == "A":
            results = _settle_doubts(channel, due, calls)
        else:
            # What is proven by now is not read again; the sweep that proves it too may wait behind this very job.
            with read_only(app.engine) as conn:
                results = checking.landed(conn, row.shop_id, row.id)
            proven = {result.write_id for result in results}
            results += _read_back(app, row, channel, [item for item in due if item.write.write_id not in proven])
            results += void_ones(row, channel, due, results)
        with unit_of_work(app.engine) as conn:
            publishing.settle(conn, row.shop_id, results, FIRST_CHECK / factor_of(row), utc_now())
        if results and channel.guarantee_class != "A":
            # What can be known by now ends the doubt at once: until then others give up units for it.
            with unit_of_work(app.engine) as conn:
                checking.end_doubts(conn, row.shop_id, row.id, utc_now())
        follow_up(app, row, results)
        counts["checked"] += len(due)
        settled = sum(result.outcome not in ("unknown", "accepted") for result in results)
        counts["settled"] += settled
        if settled:
            app.doorbell.ring(Lane("stock", row.shop_id, row.id))
    return counts


def _wait_for_next(app: Application, lane: publishing.Lane, ends_at: float) -> bool:
    """Wait for a check that falls due soon; False when there is none: for later ones somebody will ring."""
    with read_only(app.engine) as conn:
        next_at = checking.next_check_at(conn, lane)
    if next_at is None:
        return False
    wait = max(0.0, (next_at - utc_now()).total_seconds())
    if wait > SOON_SECONDS or time.monotonic() + wait > ends_at:
        return False
    time.sleep(wait + 0.01)
    return True


def _read_back(
    app: Application, row: ConnectionRow, channel: SalesChannel, due: Sequence[OpenWrite]
) -> list[QuantityResult]:
    """What reading shows to be confirmed now; the readings are kept, for what the watermark will tell of them."""
    # What waits for the watermark is left as it was read.
    refs = sorted({item.write.inventory_ref or item.write.listing_ref for item in due if not item.is_read})
    if not refs:
        return []
    seen = channel.levels(refs)
    results = checking.results_of_reading_back(due, seen)
    if any(item.is_watched for item in due):
        with unit_of_work(app.engine) as conn:
            catalog.observe_levels(conn, row.shop_id, row.id, seen, utc_now())
    return results


def _settle_doubts(
    channel: SalesChannel, due: Sequence[OpenWrite], calls: Mapping[str, Sequence[QuantityWrite]]
) -> list[QuantityResult]:
    """Repeat each call whose outcome is unknown with the same key and the same variables: the whole of it.

    What of it is settled already is sent along, and what is said of that is left. While the channel remembers the key
    this returns the first outcome or applies it now, never both. Later the request can no longer be under way: what the
    channel shows decides, and a difference is planned afresh.
    """
    now = utc_now()
    results: list[QuantityResult] = []
    for key, group in groupby(due, key=lambda item: item.write.idempotency_key):
        items = list(group)
        if items[0].sent_at + KEY_LIVES > now:
            is_open = {item.write.write_id for item in items}
            repeated = channel.set_quantities(calls[key])
            # What did not leave this time says nothing of what left before.
            results.extend(item for item in repeated if item.write_id in is_open and item.outcome != "unsent")
        else:
            results.extend(_read_stale(channel, items))
    return results


def _may_write(held: _Held) -> bool:
    with read_only(held.app.engine) as conn:
        return switches.may_write(conn, held.row.shop_id, held.row.id)


def _read_stale(channel: SalesChannel, items: Sequence[OpenWrite]) -> list[QuantityResult]:
    refs = [item.write.inventory_ref for item in items if item.write.inventory_ref]
    seen = {(str(level.inventory_ref), level.location_ref): level for level in channel.levels(refs)}
    return [
        QuantityResult(item.write.write_id, "stale", KEY_EXPIRED, None, level.units, level.observed_at)
        for item in items
        if (level := seen.get((str(item.write.inventory_ref), item.write.location_ref))) is not None
    ]


@job("sweep.stock", queue="stock", timeout=30)
def sweep_stock() -> dict[str, Any]:
    """Ring for listings to push and writes to check, should a ring have been lost; withdraw what may not be sent."""
    app = bootstrap.application()
    withdrawn = _withdraw_stopped(app)
    _give_up_where_held(app)
    with read_only(app.engine) as conn:
        now = utc_now()
        to_push = lane_work.lanes_to_push(conn, now)
        held_back = feeds.lanes_with_zeros(conn)
        to_check = sorted({*checking.lanes_to_check(conn, now), *feeds.lanes_to_look_at(conn, now), *held_back})
    for shop_id, connection_id in to_push:
        app.doorbell.insist(Lane("stock", shop_id, connection_id))
    for shop_id, connection_id in to_check:
        app.doorbell.insist(Lane("stock-check", shop_id, connection_id))
    return {"to_push": len(to_push), "to_check": len(to_check), "withdrawn": withdrawn}


def _give_up_where_held(app: Application) -> None:
    """Where nothing may be written, take for an edit what nothing explains: else it would be no difference for ever."""
    with read_only(app.engine) as conn:
        lanes = lane_work.held_lanes_to_give_up(conn, utc_now())
    for shop_id, connection_id in lanes:
        with unit_of_work(app.engine) as conn:
            lane_work.give_up_unseen(conn, shop_id, connection_id, utc_now())


def _withdraw_stopped(app: Application) -> int:
    """Close the writes that were planned and that nobody may send any more; returns how many."""
    with read_only(app.engine) as conn:
        lanes = lane_work.lanes_to_withdraw(conn)
    withdrawn = 0
    for shop_id, connection_id in lanes:
        with unit_of_work(app.engine) as conn:
            withdrawn += publishing.withdraw_unsent(conn, shop_id, connection_id, utc_now())
    return withdrawn
