"""Jobs: inbox.drain, sweep.inbox."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.connections.queries import ConnectionRow, connection
from core.db import count_grown_tables, read_only, unit_of_work
from core.inventory import external, feeds, lane_work
from core.logs import bound
from core.messaging import inbox
from core.messaging.ahead import ReadAhead
from core.messaging.doorbell import Lane
from core.messaging.inbox import Batch
from core.orders.intake import Intake
from workers.hints import ring_for_hints
from workers.registry import job

BATCH = Batch(messages=1000)
"""Enough to work in sets, few enough that a commit stays under a second: a thousand levels, or 300 large orders."""

DRAIN_SECONDS = 20


@job("inbox.drain", queue="events", timeout=60, retry=(3, [1, 5, 30]))
def drain_inbox(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """Apply what a connection's inbox holds, for at most DRAIN_SECONDS."""
    app = bootstrap.application()
    lane = Lane("events", shop_id, connection_id)
    with app.doorbell.draining(app.engine, lane) as drain, bound(lane=lane.key):
        if not drain.is_held:
            return {"busy": True}
        with read_only(app.engine) as conn:
            row = connection(conn, shop_id, connection_id)
        if row.catalogue_read_at is None:
            # There is no number yet to book a sale on: what is told waits for the first sync, which rings.
            return {"waits_for_first_sync": True}
        handled = drain_lane(app, row, DRAIN_SECONDS)
        with read_only(app.engine) as conn:
            drain.has_more = inbox.has_received(conn, shop_id, connection_id)
    return {"messages": handled}


def drain_lane(app: Application, row: ConnectionRow, seconds: float) -> int:
    """Drain batches until nothing is left or the time is up; returns how many messages had their turn.

    Remembers the last id, so that dead index entries are read once; starts again from the beginning at the end, for
    what was released meanwhile.
    """
    intake = Intake(row, bootstrap.parser(row.vendor, row.currency, row.settings))
    ends_at = time.monotonic() + seconds
    handled = after_id = 0
    count_grown_tables(app.engine)
    with (
        ReadAhead(app.engine, row.shop_id, row.id, BATCH, intake.prepare) as ahead,
        without_collecting_garbage(),
    ):
        while time.monotonic() < ends_at:
            claimed, last_id = inbox.drain_batch(
                app.engine, row.shop_id, row.id, after_id, BATCH, intake, utc_now(), ahead
            )
            if not claimed and not after_id:
                break
            handled += claimed
            if claimed:
                count_grown_tables(app.engine)
                if row.settings.get("external_places"):
                    # Levels come before listings, which the batch has had in hand.
                    with unit_of_work(app.engine) as conn:
                        external.align(conn, row.shop_id, row.id, utc_now())
                ring_pushes(app)
                ring_for_hints(app, row, intake.hints)
                intake.hints.clear()
            after_id = last_id if claimed else 0
    return handled


@contextmanager
def without_collecting_garbage() -> Iterator[None]:
    """Keep Python's cycle collector from going over a batch's many small objects again and again.

    They hold no cycles and are gone when the batch is; measured, the collector took a third of a drain's CPU time. A
    drain lasts seconds, and its process ends with it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def ring_pushes(app: Application) -> None:
    """Ring for every connection that has something to push now, or a zero that only the end of a feed lets out."""
    with read_only(app.engine) as conn:
        lanes, held_back = lane_work.lanes_to_push(conn, utc_now()), feeds.lanes_with_zeros(conn)
    for shop_id, connection_id in lanes:
        app.doorbell.ring(Lane("stock", shop_id, connection_id))
    for shop_id, connection_id in held_back:
        app.doorbell.ring(Lane("stock-check", shop_id, connection_id))


@job("sweep.inbox", queue="events", timeout=30)
def sweep_inbox() -> dict[str, Any]:
    """Ring again for whatever waits, should a ring have been lost, and end waits that took too long."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        expired = inbox.expire_waiting(conn, utc_now())
        lanes = inbox.lanes_with_received(conn)
    for shop_id, connection_id in lanes:
        app.doorbell.insist(Lane("events", shop_id, connection_id))
    return {"lanes": len(lanes), "expired": expired}
