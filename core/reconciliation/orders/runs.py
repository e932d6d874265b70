"""Runs over a channel's orders: asked for, taken up, put back, ended. The run that people see is a sync run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from core.audit import Actor
from core.connections.operations import orders_begin_at
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput
from core.reconciliation import operations
from core.reconciliation import runs as comparison_runs
from core.reconciliation.operations import UnderWay
from core.reconciliation.orders import staging
from core.runs import operations as sync_runs

Trigger = Literal["schedule", "click"]

DAYS = 3
"""Back from now, of a run by the clock: what is older was looked at the night before."""
DAYS_MAX = 731


class NoOrders(BadInput):
    """The connection's orders cannot be compared, with the reason."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the orders of {name} cannot be compared: {why}")


@dataclass(frozen=True, slots=True)
class Run:
    """A run over orders; `sync_run_id` is what people see of it."""

    shop_id: int
    id: int
    connection_id: int
    sync_run_id: int


def request(
    conn: Connection,
    row: ConnectionRow,
    trigger: Trigger,
    actor: Actor,
    now: datetime,
    days: int = DAYS,
    refs: Collection[str] | None = None,
) -> Run:
    """Ask for a run over the orders of the last `days` days; the one that is asked for or under way stays as it is.

    With `refs` (the channel's ids) only those orders are read, and whatever differs of them is recorded anew, as a
    person wants it. Raises BadInput for a window that cannot be, NoOrders, UnderWay.
    """
    if not 1 <= days <= DAYS_MAX:
        raise BadInput(f"a window of {days} days: give 1 to {DAYS_MAX}")
    if row.state != "active":
        raise NoOrders(row.name, "it is paused: resume it first")
    if row.catalogue_read_at is None:
        raise NoOrders(row.name, "its first sync is not done: sync it first")
    asked = operations.request(conn, row.shop_id, row.id, "orders", actor, now, trigger=trigger)
    if refs is not None and not asked.is_new:
        raise UnderWay(row.name)
    run = Run(row.shop_id, asked.run_id, row.id, asked.sync_run_id)
    begin(conn, run, row, now, days, refs)
    return run


def begin(
    conn: Connection, run: Run, row: ConnectionRow, now: datetime, days: int = DAYS, refs: Collection[str] | None = None
) -> None:
    """Say which orders a run is over, unless that is said already."""
    since = min(max(now - timedelta(days=days), orders_begin_at(row)), now)
    staging.begin(conn, row.shop_id, run.id, row.id, since, now, refs)


def of_sync_run(conn: Connection, shop_id: int, sync_run_id: int) -> Run | None:
    """The run over orders that people see as this sync run; None once it has ended."""
    row = fetch_one(
        conn,
        """
        select shop_id, id, connection_id, sync_run_id from reconciliation_runs
        where shop_id = %(shop)s and sync_run_id = %(sync)s and kind = 'orders' and ended_at is null
        """,
        shop=shop_id,
        sync=sync_run_id,
    )
    return None if row is None else Run(**row)


def asked_by(conn: Connection, run: Run) -> str:
    """Who asked for a run."""
    return str(
        scalar(
            conn,
            "select requested_by from reconciliation_runs where shop_id = %(s)s and id = %(r)s",
            s=run.shop_id,
            r=run.id,
        )
    )


def requested_at(conn: Connection, run: Run) -> datetime:
    """When a run was asked for."""
    found: datetime = scalar(
        conn,
        "select requested_at from reconciliation_runs where shop_id = %(s)s and id = %(r)s",
        s=run.shop_id,
        r=run.id,
    )
    return found


def waits_for_its_turn(conn: Connection, shop_id: int, connection_id: int) -> bool:
    """Whether a run waits to ask a channel that may be asked only so often, since a sweep has asked it."""
    return bool(
        scalar(
            conn,
            """
            select exists (
                select from reconciliation_runs r
                join order_readings g on g.shop_id = r.shop_id and g.run_id = r.id and g.step = 'reading'
                join connections c on c.shop_id = r.shop_id and c.id = r.connection_id
                where r.shop_id = %(shop)s and r.connection_id = %(connection)s and r.kind = 'orders'
                    and r.ended_at is null and (g.asked_at is null or g.asked_at < c.orders_asked_at))
            """,
            shop=shop_id,
            connection=connection_id,
        )
    )


def note_page(conn: Connection, run: Run, orders: int, now: datetime) -> int:
    """Count a page of so many orders; returns how many were read by now. What is staged is not counted each time."""
    return int(
        scalar(
            conn,
            """
            update reconciliation_runs set state = 'reading', started_at = coalesce(started_at, %(now)s),
                pages = pages + 1, observed = observed + %(orders)s
            where shop_id = %(shop)s and id = %(run)s and ended_at is null returning observed
            """,
            shop=run.shop_id,
            run=run.id,
            orders=orders,
            now=now,
        )
        or 0
    )


def note(conn: Connection, run: Run, now: datetime) -> None:
    """Everything is read: remember how far the comparison is, with its counts up to now."""
    execute(
        conn,
        """
        update reconciliation_runs r set state = 'comparing', started_at = coalesce(r.started_at, %(now)s),
            observed = n.theirs, compared = n.orders, found = n.real, read_at = coalesce(r.read_at, %(now)s)
        from (select count(*) as orders, count(*) filter (where is_there) as theirs,
                count(*) filter (where verdict = 'real') as real
            from staged_orders where shop_id = %(shop)s and run_id = %(run)s) n
        where r.shop_id = %(shop)s and r.id = %(run)s and r.ended_at is null
        """,
        shop=run.shop_id,
        run=run.id,
        now=now,
    )


def note_resolved(conn: Connection, run: Run, resolved: int) -> None:
    """Count so many discrepancies that a run found gone."""
    execute(
        conn,
        """
        update reconciliation_runs set resolved = resolved + %(resolved)s
        where shop_id = %(shop)s and id = %(run)s and ended_at is null
        """,
        shop=run.shop_id,
        run=run.id,
        resolved=resolved,
    )


def resolved(conn: Connection, run: Run) -> int:
    """How many discrepancies a run has found gone."""
    return int(
        scalar(
            conn,
            "select resolved from reconciliation_runs where shop_id = %(s)s and id = %(r)s",
            s=run.shop_id,
            r=run.id,
        )
    )


def finish(conn: Connection, run: Run, counts: dict[str, int], now: datetime) -> None:
    """Close a run as done, and forget what was put aside for it."""
    note(conn, run, now)
    execute(
        conn,
        """
        update reconciliation_runs set state = 'done', ended_at = %(now)s
        where shop_id = %(shop)s and id = %(run)s and ended_at is null
        """,
        shop=run.shop_id,
        run=run.id,
        now=now,
    )
    staging.end(conn, run.shop_id, run.id)
    sync_runs.finish_sync(conn, run.shop_id, run.sync_run_id, now, counts)


def fail(conn: Connection, run: Run, error: str, now: datetime) -> None:
    """Close a run that cannot go on: what it had found stays, and it resolves nothing."""
    execute(
        conn,
        """
        update reconciliation_runs set state = 'failed', ended_at = %(now)s, error = %(error)s
        where shop_id = %(shop)s and id = %(run)s and ended_at is null
        """,
        shop=run.shop_id,
        run=run.id,
        error=error,
        now=now,
    )
    staging.end(conn, run.shop_id, run.id)
    sync_runs.fail_sync(conn, run.shop_id, run.sync_run_id, now, error)


def stop(conn: Connection, run: Run, now: datetime) -> bool:
    """Close a run that somebody asked to have stopped; False where nobody did, or it has ended already."""
    if not sync_runs.stop_sync(conn, run.shop_id, run.sync_run_id, now):
        return False
    comparison_runs.close_orphan(conn, run.shop_id, run.id, now)
    staging.end(conn, run.shop_id, run.id)
    return True


def forget_ended(conn: Connection) -> int:
    """Forget what was put aside for runs that have ended without doing so themselves; returns how many those were."""
    rows = fetch(
        conn,
        """
        select g.shop_id, g.run_id from order_readings g
        join reconciliation_runs r on r.shop_id = g.shop_id and r.id = g.run_id
        where r.ended_at is not null order by 1, 2 for update of g skip locked
        """,
    )
    for row in rows:
        staging.end(conn, row["shop_id"], row["run_id"])
    return len(rows)
