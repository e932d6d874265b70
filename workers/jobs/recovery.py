"""Jobs: runs.recover, failures.weigh."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import BadInput, Permanent, Retryable, SwitchyardError
from core.messaging.doorbell import Lane
from core.reconciliation import cancelling
from core.recovery import releasing, weighing
from core.recovery.releasing import Begun
from workers.registry import REGISTRY, job

log = logging.getLogger(__name__)

WEIGH_SECONDS = 5.0
"""Others share the worker: what is not read by then is read at the next turn."""


@job("runs.recover", queue="polls", timeout=60)
def recover() -> dict[str, Any]:
    """Begin what recoveries have to begin now, at their pace, and settle what has ended."""
    app = bootstrap.application()
    retries = {name: known.spec.retry[0] for name, known in REGISTRY.items() if known.spec.retry is not None}
    with read_only(app.engine) as conn:
        recoveries = releasing.running(conn)
    begun = failed = 0
    broken: list[Exception] = []
    for shop_id, recovery_id in recoveries:
        try:
            with unit_of_work(app.engine) as conn:
                some = releasing.release(conn, shop_id, recovery_id, utc_now(), _sync_again)
            ring(app, some)
            begun += some.works
            with unit_of_work(app.engine) as conn:
                failed += releasing.settle(conn, shop_id, recovery_id, utc_now(), retries)["failed"]
        except (SQLAlchemyError, SwitchyardError) as error:
            # The others, perhaps of another shop, must not wait for the one that cannot go on.
            log.error("recovery %s cannot go on: %s", recovery_id, type(error).__name__)
            broken.append(error)
    if broken:
        raise broken[0]
    return {"recoveries": len(recoveries), "begun": begun, "failed": failed}


def _sync_again(conn: Connection, shop_id: int, run_id: int, actor: Actor, now: datetime) -> int:
    return int(cancelling.retry_any(conn, shop_id, run_id, actor, now)["id"])


def ring(app: Application, begun: Begun) -> None:
    """Ring for what was begun; what Redis does not hear now, the sweeps ring for later."""
    try:
        for work in begun.jobs:
            try:
                app.queue.enqueue_once(work.ref, work.function, work.arguments)
            except (BadInput, Permanent) as error:
                log.error("work %s cannot be done again: %s", work.ref, error)
        app.broker.take_back(begun.job_refs)
    except Retryable as error:
        log.warning("what a recovery began is rung for by the sweep: %s", error)
    for shop_id, connection_id in sorted(begun.lanes):
        app.doorbell.ring(Lane("events", shop_id, connection_id))


@job("failures.weigh", queue="lookups", timeout=60)
def weigh_failures() -> dict[str, Any]:
    """Read what failed for the orders and SKUs that it is about, and add up what hangs on each cause."""
    app = bootstrap.application()
    ends_at = time.monotonic() + WEIGH_SECONDS
    read = 0
    while time.monotonic() < ends_at:
        with unit_of_work(app.engine) as conn:
            some = weighing.read_messages(conn, bootstrap.mentions) + weighing.read_jobs(conn)
        read += some
        if some == 0:
            break
    with unit_of_work(app.engine) as conn:
        moot = weighing.mark_moot(conn)
    with unit_of_work(app.engine) as conn:
        return {"read": read, "moot": moot, "causes": weighing.add_up(conn, utc_now())}
