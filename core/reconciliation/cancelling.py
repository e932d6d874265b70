"""What a person does about a run: end it, or have it done again. A comparison has a record to end as well."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.connections import queries as connections
from core.db import fetch_one
from core.reconciliation import deciding, operations, runs
from core.reconciliation.orders import runs as order_runs
from core.reconciliation.orders import staging
from core.runs import control, queries

COMPARISONS = frozenset(operations.SYNC_KINDS.values())
"""Kinds of syncs that hold a channel against what we know: each has a row of its own, and is asked for with it."""


def cancel_any(conn: Connection, shop_id: int, sync_run_id: int, actor: Actor, now: datetime) -> bool:
    """Stop a sync, whatever its kind: True where it is over, False where it stops at its next step.

    Raises as `control.cancel`.
    """
    if _is_comparison(conn, shop_id, sync_run_id) and cancel(conn, shop_id, sync_run_id, actor, now):
        return True
    return control.cancel(conn, shop_id, sync_run_id, actor, now)


def retry_any(conn: Connection, shop_id: int, sync_run_id: int, actor: Actor, now: datetime) -> RowMapping:
    """Ask for a failed or stopped sync again, whatever its kind; returns the new run. Raises as `retry`."""
    again_by = retry if _is_comparison(conn, shop_id, sync_run_id) else control.retry
    run = queries.sync_run(conn, shop_id, again_by(conn, shop_id, sync_run_id, actor, now))
    assert run is not None, "it was asked for a moment ago"
    return run


def _is_comparison(conn: Connection, shop_id: int, sync_run_id: int) -> bool:
    run = queries.sync_run(conn, shop_id, sync_run_id)
    return run is not None and run["kind"] in COMPARISONS


def cancel(conn: Connection, shop_id: int, sync_run_id: int, actor: Actor, now: datetime) -> bool:
    """End a run; False where it has ended by itself. What it has written down stays, and it resolves nothing more.

    Whoever is at work on it finds out at its next step.
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
    control.end(conn, shop_id, sync_run_id, actor, now)
    if not runs.close_orphan(conn, shop_id, row["id"], now):
        return False
    if row["kind"] == "orders":
        staging.end(conn, shop_id, row["id"])
    subject = f"connection:{row['connection_id']}"
    audit.record(conn, shop_id, actor, "cancel_reconciliation", subject, now, sync_run_id=sync_run_id)
    return True


def retry(conn: Connection, shop_id: int, sync_run_id: int, actor: Actor, now: datetime) -> int:
    """Ask for a failed or stopped comparison again, of the one SKU where it was of one; returns the new sync run.

    Orders are those of the last days, as of any run that is asked for. Raises as `control.retry`, UnderWay, NoOrders.
    """
    row = fetch_one(
        conn,
        """
        select r.connection_id, r.kind, k.code from reconciliation_runs r
        left join skus k on k.shop_id = r.shop_id and k.id = r.sku_id
        where r.shop_id = %(shop)s and r.sync_run_id = %(run)s
        """,
        shop=shop_id,
        run=sync_run_id,
    )
    if row is None:
        raise control.NotToBeDoneAgain(f"sync run {sync_run_id} is no comparison that is on record")

    def ask() -> int:
        if row["kind"] == "stock":
            number = row["connection_id"]
            return operations.request(conn, shop_id, number, "stock", actor, now, sku=row["code"]).sync_run_id
        connection = connections.connection(conn, shop_id, row["connection_id"])
        return order_runs.request(conn, connection, "click", actor, now).sync_run_id

    return control.retry(conn, shop_id, sync_run_id, actor, now, ask)
