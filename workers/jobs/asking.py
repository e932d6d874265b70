"""Job: orders.read. What a channel only hinted at is asked for."""

from __future__ import annotations

from typing import Any

from core import bootstrap
from core.connections import queries
from core.db import read_only
from workers.jobs.connections import record_orders
from workers.registry import job


@job("orders.read", queue="polls", timeout=120)
def read_orders(*, shop_id: int, connection_id: int, kind: str, refs: str) -> dict[str, Any]:
    """Read some orders as they are now into the inbox; `kind` says whose ids the `refs` (with commas) are."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    if row.state != "active":
        return {"paused": True}
    recorded = 0
    with app.channel(row) as channel:
        wanted = refs.split(",")
        for page in channel.orders(wanted if kind == "order" else channel.orders_behind(wanted)):
            recorded += record_orders(app, row, page)
    return {"recorded": recorded}
