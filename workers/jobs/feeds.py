"""Jobs: stock.feed, sweep.feeds."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from core import bootstrap
from core.alerts import feeds as alerts
from core.clock import utc_now
from core.connections.queries import connection
from core.db import read_only, unit_of_work
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


@job("sweep.feeds", queue="polls", timeout=60)
def sweep_feeds() -> dict[str, Any]:
    """Open and close alerts on feeds, shop by shop, each in a commit of its own."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = alerts.shops_to_check(conn)
    steps: Counter[str] = Counter()
    for shop_id in shops:
        with unit_of_work(app.engine) as conn:
            is_heard = app.sender() is not None
            steps.update(alerts.check(conn, shop_id, app.settings.dashboard_url, utc_now(), is_heard=is_heard))
    return {"shops": len(shops), "opened": steps["open"], "closed": steps["close"]}
