"""Job: stock.feed."""

from __future__ import annotations

import logging
from typing import Any

from core import bootstrap
from core.connections.queries import connection
from core.db import read_only
from core.messaging.doorbell import Lane
from workers.feeds import send_feed
from workers.registry import job

log = logging.getLogger(__name__)


@job("stock.feed", queue="stock", timeout=120)
def send(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """Put what may go in one submission into a feed; beside it, pushes send what is urgent one by one."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        row = connection(conn, shop_id, connection_id)
    if row.state != "active":
        return {"paused": True}
    with app.channel(row) as channel:
        done = send_feed(app, row, channel)
    log.info("feed", extra={"outcome": done})
    # What it has left over goes by the other road, and the first look at it is promised there.
    app.doorbell.ring(Lane("stock", shop_id, connection_id))
    app.doorbell.ring(Lane("stock-check", shop_id, connection_id))
    return done
