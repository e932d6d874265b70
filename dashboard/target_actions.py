"""What a person does on the Klaviyo page: a full sync, failed entries tried again.

One core operation each, the ring after it, and a sentence of what happened.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.audit import Actor
from core.clock import utc_now
from core.db import fetch_one, unit_of_work
from core.errors import Retryable
from core.runs.queries import RUN_JOBS
from core.targets import operations
from dashboard import formats
from dashboard.connection_actions import Application, application

log = logging.getLogger(__name__)

__all__ = ["application", "requeue", "sync_all"]


def sync_all(app: Application, shop_id: int, connection_id: int, name: str, actor: Actor) -> str:
    """Ask for everything that a target holds to be read and compared, where nobody did before."""
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        running = fetch_one(
            conn,
            """
            select id, requested_by from sync_runs where shop_id = %(shop)s and connection_id = %(connection)s
                and kind = %(kind)s and state in ('queued', 'running')
            """,
            shop=shop_id,
            connection=connection_id,
            kind=operations.FULL,
        )
        run_id = operations.request_full(conn, shop_id, connection_id, "click", actor, now)
    if running is not None and running["id"] == run_id:
        return f"A full sync of {name} is under way already, asked for by {running['requested_by']}: it does the same."
    try:
        app.queue.enqueue(RUN_JOBS[operations.FULL], shop_id=shop_id, connection_id=connection_id, sync_run_id=run_id)
    except Retryable as error:
        log.warning("sync run %s not rung, the sweep will: %s", run_id, error)
    return f"Full sync of {name} asked for. It starts within seconds."


def requeue(
    app: Application,
    shop_id: int,
    connection_id: int,
    actor: Actor,
    *,
    code: str | None = None,
    entry_ids: Sequence[int] | None = None,
) -> str:
    """Have failed entries tried again at once: all of one cause, or some. Raises NothingToRequeue, also where what was
    meant waits for its turn already."""
    with unit_of_work(app.engine) as conn:
        number = operations.requeue(conn, shop_id, connection_id, actor, utc_now(), code=code, entry_ids=entry_ids)
        lanes = operations.lanes_to_ring(conn, shop_id)
    for lane in lanes:
        app.doorbell.ring(lane)
    return f"{formats.plural(number, 'entry', 'entries')} will be tried again with the next job."
