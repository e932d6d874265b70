"""Jobs: shipments.confirm, sweep.shipments."""

from __future__ import annotations

import time
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import queries
from core.db import read_only, unit_of_work
from core.logs import mask
from core.messaging.doorbell import Lane, lane_lock
from core.orders import confirming
from core.ports import PackageAnswer
from workers.hints import ring_once
from workers.registry import job

SEND_SECONDS = 15.0
"""Others share the worker: what is left then has its turn behind them."""
TAKEN_AT_ONCE = 5
"""As many may have to be told once more after a kill, and are told though the time be up."""


@job("shipments.confirm", queue="polls", timeout=150)
def confirm_shipments(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """Tell a connection's channel of packages, the oldest first, for at most SEND_SECONDS."""
    app = bootstrap.application()
    with lane_lock(app.engine, Lane("shipments", shop_id, connection_id)) as is_held:
        if not is_held:
            return {"busy": True}
        return confirm_now(app, shop_id, connection_id)


def confirm_now(app: Application, shop_id: int, connection_id: int) -> dict[str, int]:
    """The telling itself; returns outcomes counted."""
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    counts: dict[str, int] = {}
    ends_at = time.monotonic() + SEND_SECONDS
    with app.channel(row) as channel:
        while True:
            with unit_of_work(app.engine) as conn:
                due = confirming.take(conn, shop_id, connection_id, TAKEN_AT_ONCE, utc_now())
            if not due:
                break
            for item in due:
                answer = channel.confirm_shipment(item.package)
                # What a vendor says may name people.
                told = PackageAnswer(answer.outcome, answer.code, answer.detail and mask(answer.detail))
                with unit_of_work(app.engine) as conn:
                    confirming.settle(conn, shop_id, item, told, utc_now())
                counts[answer.outcome] = counts.get(answer.outcome, 0) + 1
            if time.monotonic() > ends_at:
                ring_once(app, "shipments.confirm", shop_id=shop_id, connection_id=connection_id)
                break
    return counts


@job("sweep.shipments", queue="polls", timeout=30)
def sweep_shipments() -> dict[str, Any]:
    """Queue the telling of whatever is due, should a ring have been lost or an attempt have come to nothing."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        refused = confirming.refuse_cancelled(conn, utc_now())
    with read_only(app.engine) as conn:
        due = confirming.connections_due(conn, utc_now())
    for shop_id, connection_id in due:
        app.queue.enqueue("shipments.confirm", shop_id=shop_id, connection_id=connection_id)
    return {"connections": len(due), "refused": refused}
