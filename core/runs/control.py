"""What a person does about a sync run: stop it, have it done again. Each with a name and a reason, and on record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.runs import operations, queries


class NotToBeStopped(Anticipated):
    """The run ended meanwhile, or tells nobody how far it is and so cannot stop on the way."""


class NotToBeDoneAgain(Anticipated):
    """The run did not fail, or is of a kind that comes about by events only."""


_STARTS = {
    "sync_connection": "start_sync",
    "test_connection": "test_connection",
    "read_products": "read_products",
}
"""By the kind that a person begins as such: the act that is on record for it."""


def start(conn: Connection, shop_id: int, connection_id: int, kind: str, actor: Actor, now: datetime) -> int:
    """Ask for a sync or a test of a connection; returns its run, or that of its kind which is open already."""
    run_id = operations.request_sync(conn, shop_id, connection_id, kind, "click", actor, now)
    audit.record(conn, shop_id, actor, _STARTS[kind], f"connection:{connection_id}", now, sync_run_id=run_id, kind=kind)
    return run_id


def cancel(conn: Connection, shop_id: int, run_id: int, actor: Actor, now: datetime) -> bool:
    """Stop a sync: True where it had not begun and is over, False where it stops at the next step that it tells.

    What it has read stays. Raises BadInput for a run that is not there, NotToBeStopped for one that cannot be.
    """
    row = _locked(conn, shop_id, run_id)
    if row["state"] not in ("queued", "running"):
        raise NotToBeStopped(f"sync run {run_id} has ended meanwhile: {row['state']}")
    if row["cancel_asked_at"] is not None:
        raise NotToBeStopped(f"sync run {run_id} is stopping already: {row['cancel_asked_by']} asked for it")
    is_over = row["state"] == "queued"
    execute(
        conn,
        """
        update sync_runs set cancel_asked_at = %(now)s, cancel_asked_by = %(by)s, cancel_reason = %(why)s,
            state = case when state = 'queued' then 'cancelled' else state end,
            ended_at = case when state = 'queued' then %(now)s else ended_at end
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=run_id,
        now=now,
        by=actor.name,
        why=actor.reason,
    )
    audit.record(conn, shop_id, actor, "cancel_sync", f"sync_run:{run_id}", now, kind=row["kind"], was=row["state"])
    return is_over


def end(conn: Connection, shop_id: int, run_id: int, actor: Actor, now: datetime) -> None:
    """Close an open sync as stopped at once, whoever is at work on it; who asked first stays so.

    For work that looks whether its run is open before it concludes anything, and whose owner keeps the record of it.
    """
    execute(
        conn,
        """
        update sync_runs set state = 'cancelled', ended_at = %(now)s,
            cancel_asked_at = coalesce(cancel_asked_at, %(now)s), cancel_asked_by = coalesce(cancel_asked_by, %(by)s),
            cancel_reason = coalesce(cancel_reason, %(why)s)
        where shop_id = %(shop)s and id = %(id)s and state in ('queued', 'running')
        """,
        shop=shop_id,
        id=run_id,
        now=now,
        by=actor.name,
        why=actor.reason,
    )


def retry(
    conn: Connection, shop_id: int, run_id: int, actor: Actor, now: datetime, ask: Callable[[], int] | None = None
) -> int:
    """Ask for a failed or stopped sync again; returns the new run, or that of its kind which is open already.

    `ask`: asks for it, where its kind has more to say than that it is wanted; returns the run.

    Raises BadInput for a run that is not there, NotToBeDoneAgain for one that cannot be.
    """
    row = _locked(conn, shop_id, run_id)
    if row["state"] not in ("failed", "cancelled"):
        raise NotToBeDoneAgain(f"sync run {run_id} did not fail: it is {row['state']}")
    if row["kind"] not in queries.RUN_JOBS:
        raise NotToBeDoneAgain(f"sync run {run_id} came about by an event: what is left to do is found by the next one")
    if ask is None:
        again = operations.request_sync(conn, shop_id, row["connection_id"], row["kind"], "click", actor, now)
    else:
        again = ask()
    scalar(
        conn,
        """
        update sync_runs set retry_of = %(of)s
        where shop_id = %(shop)s and id = %(id)s and retry_of is null and state = 'queued' returning id
        """,
        shop=shop_id,
        id=again,
        of=run_id,
    )
    audit.record(conn, shop_id, actor, "retry_sync", f"sync_run:{run_id}", now, kind=row["kind"], sync_run_id=again)
    return again


def _locked(conn: Connection, shop_id: int, run_id: int) -> RowMapping:
    row = fetch_one(
        conn,
        """
        select connection_id, kind, state, cancel_asked_at, cancel_asked_by from sync_runs
        where shop_id = %(shop)s and id = %(id)s for update
        """,
        shop=shop_id,
        id=run_id,
    )
    if row is None:
        raise BadInput(f"there is no sync run {run_id}: look at the list of runs for its number")
    return row
