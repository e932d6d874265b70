"""A person ends a comparison that is under way, of stock or of orders."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import fetch_one
from core.reconciliation import deciding, runs
from core.reconciliation.orders import staging
from core.runs import operations as sync_runs


def cancel(conn: Connection, shop_id: int, sync_run_id: int, actor: Actor, now: datetime) -> bool:
    """End a run; False where it has ended by itself. What it has written down stays, and it resolves nothing more.

    Whoever is at work on it finds out with the next page.
    """
    row = fetch_one(
        conn,
        """
        select id, connection_id, kind from reconciliation_runs
        where shop_id = %(shop)s and sync_run_id = %(run)s and ended_at is null
        """,
        shop=shop_id,
        run=sync_run_id,
    )
    if row is None:
        return False
    deciding.lock(conn, shop_id, row["connection_id"])
    why = f"cancelled by {actor.name}: {actor.reason}"
    runs.fail(conn, shop_id, row["id"], why, now)
    if row["kind"] == "orders":
        staging.end(conn, shop_id, row["id"])
    sync_runs.fail_sync(conn, shop_id, sync_run_id, now, why)
    subject = f"connection:{row['connection_id']}"
    audit.record(conn, shop_id, actor, "cancel_reconciliation", subject, now, sync_run_id=sync_run_id)
    return True
