"""Jobs: audit.nightly, runs.sweep, runs.prune."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import redis

from core import bootstrap, invariants, measures
from core.adapters.rq import live_worker_names
from core.clock import business_day, utc_now
from core.db import fetch_one, read_only, unit_of_work
from core.messaging import outbox
from core.runs import operations as runs
from core.runs import queries
from workers.registry import job

KEEP_DAYS = 90
REQUEUE_SYNC_AFTER = timedelta(seconds=60)


@job("audit.nightly", queue="reports", timeout=3600)
def audit_shop(*, shop_id: int) -> dict[str, Any]:
    """Recompute every invariant of a shop; what is broken is told to the operators, once a day."""
    app = bootstrap.application()
    now = utc_now()
    with read_only(app.engine) as conn:
        findings = invariants.check(conn, now, shop_id=shop_id)
        shop = fetch_one(conn, "select name, time_zone from shops where shop_id = %(shop)s", shop=shop_id)
    broken = {finding.name: len(finding.rows) for finding in findings if finding.rows}
    if broken and shop is not None and app.sender() is not None:
        day = business_day(now, shop["time_zone"])
        text = f"{shop['name']}: the nightly audit found {sum(broken.values())} rows that break an invariant: " + (
            ", ".join(f"{name} ({count})" for name, count in broken.items())
        )
        with unit_of_work(app.engine) as conn:
            outbox.add(conn, shop_id, "notice", f"audit:{day}", {"text": text}, now)
    return {"violations": sum(broken.values()), "broken": broken}


@job("runs.sweep", queue="reports", timeout=60)
def sweep_runs() -> dict[str, Any]:
    """Close runs whose worker is gone, queue again the syncs that nobody took, fold what monitoring counts."""
    app = bootstrap.application()
    client = redis.Redis.from_url(app.settings.redis_url)
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        closed = runs.close_abandoned_runs(conn, live_worker_names(client), now)
        waiting = queries.waiting_syncs(conn, now - REQUEUE_SYNC_AFTER)
    with unit_of_work(app.engine) as conn:
        measures.fold(conn)
    for row in waiting:
        app.queue.enqueue(
            "connection.sync", shop_id=row["shop_id"], connection_id=row["connection_id"], sync_run_id=row["id"]
        )
    return {**closed, "requeued": len(waiting)}


@job("runs.prune", queue="reports", timeout=300)
def prune_runs() -> dict[str, Any]:
    """Forget runs and calls older than KEEP_DAYS."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        return dict(runs.prune(conn, utc_now(), KEEP_DAYS))
