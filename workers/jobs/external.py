"""Jobs: sweep.external, connection.external."""

from __future__ import annotations

from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.catalog import operations as catalog
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.inventory import external
from core.logs import mask
from core.ports import SalesChannel
from workers.registry import job


@job("sweep.external", queue="polls", timeout=30)
def sweep_external() -> dict[str, Any]:
    """Queue a reading of every channel that keeps stock in warehouses of its own."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        kept = external.connections_with_places(conn)
    for shop_id, connection_id in kept:
        app.queue.enqueue("connection.external", shop_id=shop_id, connection_id=connection_id)
    return {"connections": len(kept)}


@job("connection.external", queue="catalog", timeout=170)
def read_external(*, shop_id: int, connection_id: int, sync_run_id: int | None = None) -> dict[str, Any]:
    """Read what a channel keeps itself, and bring the levels of its places to it."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    if row.state != "active":
        return {"paused": True}
    with app.channel(row) as channel:
        try:
            return read_now(app, row, channel)
        except (Retryable, Permanent) as error:
            with unit_of_work(app.engine) as conn:
                connections.note_problem(conn, shop_id, connection_id, mask(str(error)), utc_now())
            raise


def read_now(app: Application, row: ConnectionRow, channel: SalesChannel) -> dict[str, int]:
    """The reading itself; returns how many SKUs were told of and how many levels moved. Raises as the channel does."""
    levels = channel.external_levels()
    if levels:
        with unit_of_work(app.engine) as conn:
            catalog.observe_levels(conn, row.shop_id, row.id, levels, utc_now())
    with unit_of_work(app.engine) as conn:
        moved = external.align(conn, row.shop_id, row.id, utc_now())
    return {"read": len(levels), "moved": moved}
