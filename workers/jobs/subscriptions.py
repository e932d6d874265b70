"""Jobs: sweep.subscriptions, connection.subscriptions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries, switches, watching
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.logs import mask
from core.messaging.doorbell import Lane, lane_lock
from core.messaging.notices import Notice, say
from core.ports import SalesChannel
from core.runs import operations as runs
from workers.hints import ring_once
from workers.registry import job

log = logging.getLogger(__name__)

READ_AGAIN = ("inventory_levels/", "products/", "notification/LISTINGS_", "notification/FBA_")
"""Topics whose gap no poll of orders fills: the catalogue and its levels are read again."""


@job("sweep.subscriptions", queue="polls", timeout=30)
def sweep_subscriptions() -> dict[str, Any]:
    """Have the subscriptions of every active connection looked at."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        rows = queries.all_connections(conn)
    for row in rows:
        app.queue.enqueue("connection.subscriptions", shop_id=row.shop_id, connection_id=row.id)
    return {"connections": len(rows)}


@job("connection.subscriptions", queue="polls", timeout=120)
def check_connection(*, shop_id: int, connection_id: int, sync_run_id: int | None = None) -> dict[str, Any]:
    """Look whether a channel still calls us for every topic, and mend it where anything may be changed there."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    with app.channel(row) as channel:
        try:
            return check_subscriptions(app, row, channel)
        except (Retryable, Permanent) as error:
            with unit_of_work(app.engine) as conn:
                connections.note_problem(conn, shop_id, connection_id, mask(str(error)), utc_now())
            raise


def check_subscriptions(app: Application, row: ConnectionRow, channel: SalesChannel) -> dict[str, Any]:
    """The check itself; returns topics counted. Raises what the channel raises.

    What was dropped meanwhile left a gap: the orders changed in it are polled for at once, and where levels or products
    were not told of either, a sync is asked for.
    """
    # One at a time: a topic that two make at once is refused to the second.
    with lane_lock(app.engine, Lane("subscriptions", row.shop_id, row.id)) as is_held:
        return _check(app, row, channel) if is_held else {"busy": True}


def _check(app: Application, row: ConnectionRow, channel: SalesChannel) -> dict[str, Any]:
    with read_only(app.engine) as conn:
        # In shadow mode too: there we listen and compare.
        repair = switches.standing(conn, row.shop_id, row.id).held("subscription") is None
        known = watching.subscription_refs(conn, row.shop_id, row.id)
    found = channel.ensure_subscriptions(app.webhook_address(row), repair=repair, known=known)
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        dropped = watching.note_subscriptions(conn, row.shop_id, row.id, found, now)
        if any(topic.startswith(READ_AGAIN) for topic in dropped):
            actor = Actor("subscriptions", f"{row.name} had stopped telling of {', '.join(dropped)}")
            # Queued by the sweep of runs, should the ring below get lost.
            run_id = runs.request_sync(conn, row.shop_id, row.id, "sync_connection", "event", actor, now)
        else:
            run_id = None
        if dropped:
            _say(conn, row, dropped, now)
    if dropped:
        log.warning("the channel had dropped subscriptions", extra={"connection": row.name, "topics": dropped})
        ring_once(app, "connection.poll", shop_id=row.shop_id, connection_id=row.id)
    if run_id is not None:
        ring_once(app, "connection.sync", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)
    states = [item.state for item in found if not item.is_advised]
    return {
        **{state: states.count(state) for state in ("standing", "missing", "refused")},
        "advised": sum(item.is_advised for item in found),
        "changed": sum(item.is_changed for item in found),
        "dropped": len(dropped),
    }


def _say(conn: Connection, row: ConnectionRow, dropped: Sequence[str], now: datetime) -> None:
    text = (
        f"{row.name} had stopped calling us for {', '.join(dropped)}: its deliveries had failed for hours. "
        "What was missed is being read."
    )
    key = f"subscriptions:{row.id}:{now.isoformat()}"
    say(conn, row.shop_id, Notice(key, "subscriptions", "attention", f"{row.name} had stopped calling us", text), now)
