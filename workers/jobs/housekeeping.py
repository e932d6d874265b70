"""Jobs: audit.nightly, runs.sweep, runs.prune, documents.prune."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import redis

from core import bootstrap, invariants, measures
from core.adapters.rq import live_worker_names
from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import BadInput, Permanent
from core.files import operations as files
from core.files.queries import UPLOAD_MAX
from core.ledger import anchor_files
from core.recovery import tallies
from core.runs import failures, queries, retention, turns
from core.runs import operations as runs
from workers.jobs import schedules
from workers.recording import never_began
from workers.registry import job

log = logging.getLogger(__name__)

PRUNE_SECONDS = 240.0
"""What is not forgotten by then is forgotten at the next turn."""

DOCUMENTS_AT_ONCE = 100
"""Their rows are locked while their bytes are deleted."""

REQUEUE_SYNC_AFTER = timedelta(seconds=60)
ADOPTED_AT_ONCE = 1000


@job("audit.nightly", queue="reports", timeout=3600)
def audit_shop(*, shop_id: int) -> dict[str, Any]:
    """Recompute every invariant of a shop; what is broken is told by the next sweep of alerts."""
    app = bootstrap.application()
    now = utc_now()
    # Before the look at the database begins: it knows nothing of what is anchored later.
    seen = anchor_files.heads(app.settings.anchor_dir)
    with read_only(app.engine) as conn:
        findings = invariants.check(conn, now, shop_id=shop_id)
        of_ledger, notes = invariants.check_ledgers(conn, now, app.settings.anchor_dir, seen, shop_id=shop_id)
    findings += of_ledger
    for note in notes:
        log.info("%s", note)
    broken = {finding.name: len(finding.rows) for finding in findings if finding.rows}
    return {"violations": sum(broken.values()), "broken": broken}


@job("runs.sweep", queue="reports", timeout=60)
def sweep_runs() -> dict[str, Any]:
    """Close runs whose worker is gone and failures that are moot; queue again what was asked for and nobody took;
    fold what monitoring counts."""
    app = bootstrap.application()
    client = redis.Redis.from_url(app.settings.redis_url)
    now = utc_now()
    mended = app.broker.mend(now)
    failed = app.broker.failed_jobs(ADOPTED_AT_ONCE)
    with unit_of_work(app.engine) as conn:
        closed = runs.close_abandoned_runs(conn, live_worker_names(client), now)
        adopted = failures.adopt(conn, failed, never_began)
        superseded, settled = failures.close_superseded(conn, now)
        given_up = failures.give_up_unanswered(conn, now, never_began)
        waiting = queries.waiting_syncs(conn, now - REQUEUE_SYNC_AFTER)
        promised = failures.unanswered(conn, now)
    for run_id in closed.pop("closed"):
        with unit_of_work(app.engine) as conn:
            turns.end(conn, run_id)
    with unit_of_work(app.engine) as conn:
        measures.fold(conn)
    with unit_of_work(app.engine) as conn:
        tallies.fold(conn, now)
    for row in waiting:
        app.queue.enqueue(
            queries.RUN_JOBS[row["kind"]],
            shop_id=row["shop_id"],
            connection_id=row["connection_id"],
            sync_run_id=row["id"],
        )
    app.broker.take_back(settled)
    app.broker.forget_lost([work.ref for work in promised])
    rung = sum(_ring_again(app, work) for work in promised)
    schedules.ring_asked(app)
    return {
        **closed,
        **mended,
        "requeued": len(waiting),
        "adopted": adopted,
        "superseded": superseded,
        "rung_again": rung,
        "given_up": given_up,
    }


def _ring_again(app: Application, work: failures.Work) -> bool:
    try:
        return app.queue.enqueue_once(work.ref, work.function, work.arguments)
    except (BadInput, Permanent) as error:
        # Promised by an earlier version that knew this job; the others must not wait for it.
        log.error("work %s cannot be done again: %s", work.ref, error)
        return False


@job("runs.prune", queue="reports", timeout=300)
def prune_runs() -> dict[str, Any]:
    """Forget what is kept no longer, in batches, each in a commit of its own."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        policies = retention.policies(conn)
    counts, ends_at = dict.fromkeys(retention.BY_NAME, 0), time.monotonic() + PRUNE_SECONDS
    for policy in policies:
        is_more = True
        while is_more and time.monotonic() < ends_at:
            with unit_of_work(app.engine) as conn:
                gone = retention.forget(conn, policy, utc_now())
            counts[policy.kept.name] += gone
            is_more = gone == retention.BATCH
    return {name: count for name, count in counts.items() if count}


@job("documents.prune", queue="reports", timeout=300)
def prune_documents() -> dict[str, Any]:
    """Delete documents whose time is over, those that were announced and never came, and what broken uploads left."""
    app = bootstrap.application()
    now = utc_now()
    swept = app.documents.sweep(now - UPLOAD_MAX)
    count, ends_at, is_more = 0, time.monotonic() + PRUNE_SECONDS, True
    while is_more and time.monotonic() < ends_at:
        with unit_of_work(app.engine) as conn:
            gone = files.forget_over(conn, app.documents, now, DOCUMENTS_AT_ONCE)
        count += gone
        is_more = gone == DOCUMENTS_AT_ONCE
    return {"documents": count, "left_behind": swept}
