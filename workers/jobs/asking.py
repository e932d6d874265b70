"""Job: orders.read. What a channel only hinted at is asked for."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import queries
from core.connections.queries import ConnectionRow
from core.db import read_only
from core.errors import OutOfQuota, Retryable
from core.ports import PROMISED_RING, SalesChannel
from workers.jobs.connections import record_orders
from workers.registry import job

log = logging.getLogger(__name__)

READ_SECONDS = 15.0
"""Others share the worker: what is not read by then is read later."""

# Of the vendor's time, in which quota comes back: divided by the connection's clock factor.
SLOT_SECONDS = 16
"""One job of leftovers in so long: as many orders as one job names come back to a slow quota by then."""
SLOTS = 15
"""Four minutes. By then the next sweep has told of whatever was hinted at."""


@job("orders.read", queue="lookups", timeout=120)
def read_orders(*, shop_id: int, connection_id: int, kind: str, refs: str) -> dict[str, Any]:
    """Read some orders as they are now into the inbox; `kind` says whose ids the `refs` (with commas) are.

    What time or quota do not allow now is read later, one job in a slot; where no slot is free it is left to the
    sweeps, which tell of every change, a hundred orders in a call. Nothing is lost by that, it only comes later.
    """
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    if row.state != "active":
        return {"paused": True}
    with app.channel(row) as channel:
        wanted = refs.split(",")
        if kind != "order":
            wanted = list(channel.orders_behind(wanted))
        recorded, left = _read(app, row, channel, list(dict.fromkeys(wanted)))
    if not left:
        return {"recorded": recorded}
    is_later = _read_later(app, row, left)
    return {"recorded": recorded, "later" if is_later else "left_to_sweeps": len(left)}


def _read(app: Application, row: ConnectionRow, channel: SalesChannel, refs: list[str]) -> tuple[int, list[str]]:
    """How many were recorded, and the refs that time or quota were too short for."""
    recorded, left, ends_at = 0, refs, time.monotonic() + READ_SECONDS
    try:
        for page in channel.orders(refs):
            recorded += record_orders(app, row, page)
            told = {ref for ref, _, _ in page}
            # They come in the order that they were asked for, less what is gone.
            last = max((at for at, ref in enumerate(left) if ref in told), default=-1)
            left = left[last + 1 :]
            if left and time.monotonic() > ends_at:
                return recorded, left
    except OutOfQuota:
        return recorded, left
    return recorded, []


def _read_later(app: Application, row: ConnectionRow, refs: list[str]) -> bool:
    """Have them read in the next free slot; False where there is none, or nobody could be told."""
    seconds = max(1.0, SLOT_SECONDS / float(row.settings.get("clock_factor") or 1))
    first = int(utc_now().timestamp() // seconds) + 1
    arguments = {"shop_id": row.shop_id, "connection_id": row.id, "kind": "order", "refs": ",".join(refs)}
    for slot in range(first, first + SLOTS):
        ref = f"{PROMISED_RING}orders-{row.shop_id}-{row.id}-{slot}"
        try:
            if app.queue.enqueue_at(ref, datetime.fromtimestamp(slot * seconds, UTC), "orders.read", arguments):
                return True
        except Retryable as error:
            log.warning("hinted orders are left to the sweeps: %s", error)
            return False
    return False
