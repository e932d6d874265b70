"""Jobs: policies.replan, sweep.policies."""

from __future__ import annotations

import time
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.inventory import lines
from core.messaging.doorbell import Lane, lane_lock
from core.policies import operations as policies
from core.policies import queries
from workers.jobs.exposure import plan_scarce
from workers.jobs.inbox import ring_pushes
from workers.registry import job

REPLAN_SECONDS = 20
"""Pushes wait in the same queue: a longer re-plan goes on with its next turn."""

WHOLE_SHOP = 0


@job("policies.replan", queue="stock", timeout=90, retry=(3, [1, 5, 30]))
def replan_shop(*, shop_id: int) -> dict[str, Any]:
    """Bring a shop's listings to its saved rules, version by version, for at most REPLAN_SECONDS."""
    app = bootstrap.application()
    # One at a time, so that they do not wait for each other; any number would come to the same.
    with lane_lock(app.engine, Lane("policies", shop_id, WHOLE_SHOP)) as is_held:
        if not is_held:
            return {"busy": True}
        counts = replan_now(app, shop_id, REPLAN_SECONDS)
    if counts["left"]:
        app.queue.enqueue("policies.replan", shop_id=shop_id)
    return counts


def replan_now(app: Application, shop_id: int, seconds: float) -> dict[str, int]:
    """Re-plan until nothing is left or the time is up; returns versions finished, listings done, changed and left."""
    ends_at = time.monotonic() + seconds
    counts = {"versions": 0, "listings": 0, "changed": 0, "left": 0}
    while True:
        with read_only(app.engine) as conn:
            version = policies.unfinished(conn, shop_id)
            if version is None:
                return counts
            ids = queries.listings_of_version(conn, shop_id, version.version_id, version.after_id)
        with unit_of_work(app.engine) as conn:
            policies.begin_replan(conn, shop_id, version.version_id, len(ids), utc_now())
        for start in range(0, len(ids), policies.CHUNK):
            if time.monotonic() > ends_at:
                counts["left"] = len(ids) - start
                return counts
            chunk = ids[start : start + policies.CHUNK]
            with unit_of_work(app.engine) as conn:
                is_last = start + len(chunk) >= len(ids)
                changed = policies.replan(conn, shop_id, version.version_id, chunk, is_last, utc_now())
            counts["listings"] += len(chunk)
            counts["changed"] += changed
            if changed:
                ring_pushes(app)
        counts["versions"] += 1
        # Rules say how pools are shared, too: from here on writes go by it.
        with unit_of_work(app.engine) as conn:
            lines.draw_lines(conn, shop_id)
        plan_scarce(app, shop_id, ends_at)
        ring_pushes(app)


@job("sweep.policies", queue="stock", timeout=30)
def sweep_policies() -> dict[str, Any]:
    """Ring for every shop with a re-plan that is not finished: its ring was lost, or its worker died."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = policies.shops_to_replan(conn)
    for shop_id in shops:
        app.queue.enqueue("policies.replan", shop_id=shop_id)
    return {"shops": len(shops)}
