"""Jobs: connection.sync, connection.poll, poll.orders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.catalog import operations as catalog
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries, watching
from core.connections.queries import ConnectionRow
from core.db import count_catalogue, fetch, read_only, unit_of_work
from core.errors import OutOfQuota, Permanent, Retryable
from core.inventory import external, lines, places
from core.inventory import operations as inventory
from core.logs import bound, mask
from core.messaging import inbox
from core.messaging.doorbell import Lane, lane_lock
from core.messaging.inbox import Incoming
from core.orders import intake
from core.orders import operations as orders
from core.ports import ChannelLocation, Found, OrderPage, SalesChannel
from core.reconciliation.orders import runs as order_runs
from core.runs import operations as runs
from core.runs.queries import was_sync_asked_for
from workers import markets
from workers.exports import StillWritten, read_catalogue
from workers.hints import ring_once
from workers.jobs.inbox import ring_pushes
from workers.registry import job

POLL_SECONDS = 90.0
"""A poll that takes longer goes on with the next one."""

A_SECOND_IS_OVER = 1.1

ASKS_AGAIN = timedelta(hours=1)
"""How long a poll leaves it at the sync that was asked for last, whatever became of that."""

OVERLAP = timedelta(minutes=2)
"""Polled again each time: vendors stamp whole seconds and index late."""


class QuotaToCome(Retryable):
    """A first sync cannot begin: the channel may be asked only so often. The sweep of runs rings it again."""

    def __init__(self, wait: OutOfQuota) -> None:
        super().__init__(f"the channel cannot be asked up to when it tells of orders ({wait}): tried again by then")


@job("connection.sync", queue="catalog", timeout=3600)
def sync_connection(*, shop_id: int, connection_id: int, sync_run_id: int) -> dict[str, Any]:
    """Read a channel's places, catalogue and levels; take over what is new; poll its orders; push what differs."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        if not runs.start_sync(conn, shop_id, sync_run_id, utc_now()):
            return {"superseded": True}
        row = queries.connection(conn, shop_id, connection_id)
        if row.state != "active":
            runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), f"{row.name} is paused: resume it first")
            return {"paused": True}
    with bound(sync_run=sync_run_id):
        try:
            counts = sync_now(app, row, sync_run_id)
        except (StillWritten, QuotaToCome) as wait:
            with unit_of_work(app.engine) as conn:
                runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), str(wait), will_retry=True)
            return {"waiting": str(wait)}
        except runs.Stopped:
            with unit_of_work(app.engine) as conn:
                is_asked = runs.stop_sync(conn, shop_id, sync_run_id, utc_now())
            # What is read so far stays, and differs from nothing that may not be written.
            ring_pushes(app)
            return {"cancelled": True} if is_asked else {"superseded": True}
        except (Retryable, Permanent) as error:
            with unit_of_work(app.engine) as conn:
                runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), mask(str(error)))
                connections.note_problem(conn, shop_id, connection_id, mask(str(error)), utc_now())
            if isinstance(error, Retryable):
                # No answer is no answer of theirs: the job has failed, and can be done again.
                raise
            return {"failed": mask(str(error))}
        except Exception as error:
            with unit_of_work(app.engine) as conn:
                runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), f"stopped by {type(error).__name__}")
            raise
    with unit_of_work(app.engine) as conn:
        runs.finish_sync(conn, shop_id, sync_run_id, utc_now(), counts)
        connections.note_problem(conn, shop_id, connection_id, None, utc_now())
    ring_pushes(app)
    return counts


def sync_now(app: Application, row: ConnectionRow, sync_run_id: int) -> dict[str, int]:
    """The sync itself; returns what it counted. Raises what the channel raised."""
    actor = Actor("sync", f"sync run {sync_run_id}")
    row = markets.refreshed(app, row)
    with app.channel(row) as channel:
        sold_until = _sold_until(row, channel)
        count = channel.listing_count()
        _step(app, row, sync_run_id, "reading locations", done=0, total=count)
        found = channel.locations()
        apart = sorted({*channel.external_places, *(place.ref for place in found if place.is_external)})
        with unit_of_work(app.engine) as conn:
            ours = _our_locations(conn, row, found)
            row = connections.set_locations(conn, row, ours, actor, utc_now(), apart)
        read = counted = 0

        def tell(step: str, objects: int) -> None:
            _step(app, row, sync_run_id, f"{step}: {objects:,} objects so far" if objects else step)

        for page in read_catalogue(app, row, channel, count, tell, sold_until):
            read += len(page)
            with unit_of_work(app.engine) as conn:
                intake.take_in(conn, row, page, utc_now())
            if read >= counted * 2:
                count_catalogue(app.engine)
                counted = read
            _step(app, row, sync_run_id, "reading listings and what they show", done=read)
        if apart:
            with unit_of_work(app.engine) as conn:
                external.align(conn, row.shop_id, row.id, utc_now())
        count_catalogue(app.engine)
        # Only now is it known what is on one listing only.
        with unit_of_work(app.engine) as conn:
            intake.match_listings(conn, row, utc_now())
        _step(app, row, sync_run_id, "taking over stock", done=read)
        # Orders and levels are locked before listings: so what was parked is booked in a unit of work of its own.
        with unit_of_work(app.engine) as conn:
            late = intake.book_lines_mapped_late(conn, intake.channel_of(conn, row, utc_now()), utc_now())
        with unit_of_work(app.engine) as conn:
            counts = _take_over(conn, row, actor, sold_until) | {"orders_mapped_late": late}
        count_catalogue(app.engine)
        with unit_of_work(app.engine) as conn:
            lines.draw_lines(conn, row.shop_id)
        if row.open_orders_read_at is None and channel.reads_orders:
            _step(app, row, sync_run_id, "asking for open orders", done=read)
            counts |= {"open_orders": read_open_orders(app, row, channel).recorded}
        if not channel.reads_orders:
            with unit_of_work(app.engine) as conn:
                connections.note_reads_orders(conn, row.shop_id, row.id, False)
        _step(app, row, sync_run_id, "asking for changed orders", done=read)
        counts |= {"listings": read, "orders": poll_orders(app, row, channel)}
    # Whatever was told before there were numbers to book it on waited for them.
    app.doorbell.ring(Lane("events", row.shop_id, row.id))
    return counts


def _sold_until(row: ConnectionRow, channel: SalesChannel) -> datetime | None:
    """Up to which second, by the channel's clock, everything sold or put back is in the numbers about to be read.

    Its own orders tell, whatever clocks say here: once the second of their newest change is over, nothing can be
    stamped with it any more, and for whatever reason that order changed, its stamp shows how far the channel's clock
    was. Not the newest placed order: what was cancelled or refunded since would look like units still to come back.
    None where numbers are not taken over any more. Where an export is picked up, what was asked before it began: should
    that one be of no use, what is read instead is younger, and in doubt too few units are taken over.
    """
    if row.catalogue_read_at is not None:
        return None
    if row.settings.get(watching.EXPORT):
        return watching.export_holds_until(row.settings)
    try:
        newest_at = channel.newest_order_change_at()
    except OutOfQuota as wait:
        raise QuotaToCome(wait) from wait
    if newest_at is not None:
        time.sleep(A_SECOND_IS_OVER)
    return newest_at


def _take_over(conn: Any, row: ConnectionRow, actor: Actor, sold_until: datetime | None) -> dict[str, int]:
    now = utc_now()
    taken = inventory.Booked(0, 0, 0)
    if row.settings.get("is_sku_source"):
        taken = inventory.take_over(conn, row.shop_id, row.id, actor, now)
    # The connection's own row before any listing, as everywhere.
    connections.note_catalogue_read(conn, row.shop_id, row.id, now)
    catalog.lock_all_listings(conn, row.shop_id)
    inventory.set_baselines(conn, row.shop_id, row.id, taken.listing_ids, sold_until)
    started = catalog.begin_publishing(conn, row.shop_id, row.id)
    inventory.refresh_all_desired(conn, row.shop_id)
    return {"taken_over": taken.new, "publishing_started": started}


def _our_locations(conn: Any, row: ConnectionRow, found: Sequence[ChannelLocation]) -> dict[str, int]:
    """Our location for each of the channel's, made by name on first sight; a channel without places shows our first.

    One that sells without asking, or keeps stock itself, gets locations to itself.
    """
    known = dict(row.settings.get("locations") or {})
    for place in found:
        if place.ref in known:
            continue
        first = fetch(
            conn,
            "select id from locations where shop_id = %(shop)s and kind = 'own' order by id limit 1",
            shop=row.shop_id,
        )
        kind = places.kind_for(row.guarantee_class, is_external=place.is_external)
        is_pooled = kind == "own"
        if place.ref == "" and is_pooled and first:
            known[place.ref] = first[0]["id"]
        else:
            name = place.name or ("Main" if is_pooled else row.name)
            known[place.ref] = places.location_for(conn, row.shop_id, row.id, kind, name, utc_now())
    return known


def _step(
    app: Application,
    row: ConnectionRow,
    run_id: int,
    step: str,
    *,
    done: int | None = None,
    total: int | None = None,
) -> None:
    """Tell how far the sync is. Raises runs.Stopped when it is not to go on."""
    with unit_of_work(app.engine) as conn:
        goes_on = runs.progress(conn, row.shop_id, run_id, utc_now(), done=done, total=total, step=step)
    if not goes_on:
        raise runs.Stopped(f"sync run {run_id} is not to go on")


@job("poll.orders", queue="polls", timeout=30)
def poll_all() -> dict[str, Any]:
    """Queue a poll of every active connection."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        rows = queries.all_connections(conn)
    for row in rows:
        app.queue.enqueue("connection.poll", shop_id=row.shop_id, connection_id=row.id)
    return {"connections": len(rows)}


@job("connection.poll", queue="polls", timeout=170)
def poll_connection(*, shop_id: int, connection_id: int, sync_run_id: int | None = None) -> dict[str, Any]:
    """Ask one channel for the orders changed since the last poll, into the same inbox as its webhooks."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    if row.state != "active":
        # The first poll after the pause begins where the last one ended.
        return {"paused": True}
    try:
        row = markets.known(app, row)
        with app.channel(row) as channel:
            if channel.orders_every is not None and row.catalogue_read_at is None:
                # What little may be asked is the first sync's: until it is done nothing would be booked.
                return {"waits_for_sync": True}
            is_backlog = _is_turn_of_open_orders(row, channel)
            if not is_backlog and _is_early(row, channel, turns=_turns(app, row, channel)):
                return {"early": True}
            _ask_for_a_sync(app, row, channel)
            told = read_open_orders(app, row, channel) if is_backlog else None
            recorded = told.recorded if told else poll_orders(app, row, channel)
    except (Retryable, Permanent) as error:
        with unit_of_work(app.engine) as conn:
            connections.note_problem(conn, shop_id, connection_id, mask(str(error)), utc_now())
        raise
    with unit_of_work(app.engine) as conn:
        connections.note_problem(conn, shop_id, connection_id, None, utc_now())
    return {"recorded": recorded} if told is None else {"open_orders": recorded, "all": told.is_whole}


def _ask_for_a_sync(app: Application, row: ConnectionRow, channel: SalesChannel) -> None:
    """Ask for a sync where open orders are not read: of a connection of before, which knows of no places of its own."""
    if not channel.reads_orders or row.catalogue_read_at is None or row.open_orders_read_at is not None:
        return
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        if was_sync_asked_for(conn, row.shop_id, row.id, now - ASKS_AGAIN):
            return
        actor = Actor("poll", f"the orders open at {row.name} were never read")
        run_id = runs.request_sync(conn, row.shop_id, row.id, "sync_connection", "event", actor, now)
    # Queued by the sweep of runs, should the ring get lost.
    ring_once(app, "connection.sync", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)


def _is_early(row: ConnectionRow, channel: SalesChannel, turns: int = 1) -> bool:
    """Whether a channel that may be asked only so often answered just now, or in so many of its turns.

    Who asks by a click is not held up.
    """
    if channel.orders_every is None or row.orders_asked_at is None:
        return False
    # Rings come by the minute, a moment sooner or later.
    return utc_now() < row.orders_asked_at + channel.orders_every * (turns - 0.05) / _factor(row)


def _turns(app: Application, row: ConnectionRow, channel: SalesChannel) -> int:
    """In which of its turns a channel that may be asked only so often is polled: every second while a run over its
    orders waits for one in between."""
    if channel.orders_every is None:
        return 1
    with read_only(app.engine) as conn:
        return 2 if order_runs.waits_for_its_turn(conn, row.shop_id, row.id) else 1


def _is_turn_of_open_orders(row: ConnectionRow, channel: SalesChannel) -> bool:
    """Whether a poll goes on with the orders that were open at the connection, where a sync has not read all of them.

    Sweeps and they take turns with what may be asked: nobody may wait for hours to hear of new sales.
    """
    is_left = channel.reads_orders and row.open_orders_read_at is None
    return is_left and channel.orders_every is not None and _is_early(row, channel, turns=2)


def _factor(row: ConnectionRow) -> float:
    return float(row.settings.get("clock_factor") or 1)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many open orders were recorded, and whether that was the last of them."""

    recorded: int
    is_whole: bool


def read_open_orders(app: Application, row: ConnectionRow, channel: SalesChannel) -> Backlog:
    """Record the orders that hold stock at the channel, from whenever they are.

    What they hold is not in the number that was taken over, and lies on our shelf. Read after that number, so that each
    brings its units along (decision 0017); one placed meanwhile is an ordinary sale.

    Where a channel may be asked only so often this ends with its quota, or its time, and the polls go on with it from
    the page that was recorded last.
    """
    if channel.orders_every is None:
        return _read_open_orders(app, row, channel, None)
    with lane_lock(app.engine, Lane("polls", row.shop_id, row.id)) as is_held:
        if not is_held:
            return Backlog(0, is_whole=False)
        # As it is now: somebody else may have gone on since.
        with read_only(app.engine) as conn:
            row = queries.connection(conn, row.shop_id, row.id)
        if row.open_orders_read_at is not None:
            return Backlog(0, is_whole=True)
        return _read_open_orders(app, row, channel, time.monotonic() + POLL_SECONDS)


def _read_open_orders(app: Application, row: ConnectionRow, channel: SalesChannel, ends_at: float | None) -> Backlog:
    recorded, horizon = 0, channel.orders_horizon()
    shown_from = None if horizon is None else utc_now() - horizon
    try:
        for page in channel.open_orders(row.open_orders_resume):
            recorded += record_orders(app, row, page.orders, backlog=page)
            if ends_at is not None and time.monotonic() > ends_at:
                return Backlog(recorded, is_whole=False)
    except OutOfQuota:
        if ends_at is None:
            raise
        return Backlog(recorded, is_whole=False)
    with unit_of_work(app.engine) as conn:
        connections.note_open_orders_read(conn, row.shop_id, row.id, utc_now(), shown_from)
        # Not before: of a connection that ran before its orders could be read, those open now were still unknown.
        connections.note_reads_orders(conn, row.shop_id, row.id, True)
    return Backlog(recorded, is_whole=True)


def poll_orders(app: Application, row: ConnectionRow, channel: SalesChannel) -> int:
    """Record orders that changed and that we do not know in that version; returns how many.

    The first poll begins when the connection was made: what is older is part of the baseline, or among the open orders
    that a first sync reads. The mark only ever moves to a version that was recorded, or to a bound that the channel
    told, never to "now". A poll that has read everything steps back by OVERLAP, unless the channel says itself where
    it goes on; one that ran out of time, or of quota, goes on from where it was.
    """
    lane = Lane("polls", row.shop_id, row.id)
    with lane_lock(app.engine, lane) as is_held:
        if not is_held:
            return 0
        if channel.orders_every is None:
            return _poll_by_marks(app, row, channel)
        return _poll_by_bounds(app, row, channel)


def _poll_by_marks(app: Application, row: ConnectionRow, channel: SalesChannel) -> int:
    """Of a channel that gives its orders by their last change: each page moves the mark."""
    began_at, ends_at = utc_now(), time.monotonic() + POLL_SECONDS
    mark: datetime | None = None
    recorded = 0
    for page in channel.orders_since(row.orders_polled_to or row.created_at - OVERLAP):
        if page.orders:
            mark = max(at for _, at, _ in page.orders)
            recorded += record_orders(app, row, page.orders, mark)
        if time.monotonic() > ends_at:
            return recorded
    with unit_of_work(app.engine) as conn:
        if mark is not None:
            connections.note_polled(conn, row.shop_id, row.id, mark - OVERLAP)
        known_until = began_at - OVERLAP / _factor(row) if channel.reads_orders else None
        connections.note_poll_complete(conn, row.shop_id, row.id, began_at, known_until)
    return recorded


def _poll_by_bounds(app: Application, row: ConnectionRow, channel: SalesChannel) -> int:
    """Of a channel that tells up to when it has told everything; nothing is said of the order in which it does."""
    ends_at = time.monotonic() + POLL_SECONDS
    # As it is now: another poll may have gone on since this one was rung for.
    with read_only(app.engine) as conn:
        row = queries.connection(conn, row.shop_id, row.id)
    recorded, told_until = 0, None
    for page in channel.orders_since(connections.orders_begin_at(row) - OVERLAP, row.orders_resume):
        recorded += record_orders(app, row, page.orders, told=page)
        told_until = page.told_until or told_until
        if time.monotonic() > ends_at:
            break
    if told_until is not None:
        # Once, and the last: what waits to be handled first is not overtaken by a later bound.
        with unit_of_work(app.engine) as conn:
            connections.note_poll_complete(conn, row.shop_id, row.id, told_until, told_until)
    return recorded


def record_orders(
    app: Application,
    row: ConnectionRow,
    page: Sequence[Found],
    mark: datetime | None = None,
    told: OrderPage | None = None,
    backlog: OrderPage | None = None,
) -> int:
    """Record orders that we do not know in that version into the inbox.

    In the same unit of work polls are let go on from `mark`, or behind what was `told`, if given, and the reading of
    open orders behind its page, the `backlog`: known or not, each of that is recorded as one that is open now, which
    its version does not say.
    """
    with unit_of_work(app.engine) as conn:
        road, versions = "poll" if backlog is None else "open", [(ref, at) for ref, at, _ in page]
        fresh = set(versions) if backlog is not None else orders.unknown_versions(conn, row.shop_id, row.id, versions)
        messages = [
            Incoming(f"{road}:{ref}:{at.isoformat()}", "poll/orders", body, None)
            for ref, at, body in page
            if (ref, at) in fresh
        ]
        recorded = inbox.record(conn, row.shop_id, row.id, messages, "poll", utc_now())
        if mark is not None:
            connections.note_polled(conn, row.shop_id, row.id, mark)
        if backlog is not None:
            connections.note_open_orders(conn, row.shop_id, row.id, backlog.resume)
        if told is not None:
            connections.note_asked(conn, row.shop_id, row.id, utc_now(), told.resume)
            if told.told_until is not None:
                connections.note_polled(conn, row.shop_id, row.id, told.told_until)
    if recorded:
        app.doorbell.ring(Lane("events", row.shop_id, row.id))
    return recorded
