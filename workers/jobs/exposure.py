"""Jobs: sweep.exposure, stock.measure."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.db import read_only, unit_of_work
from core.inventory import checking, escrow, lines, overtaking, pace, publishing
from workers.jobs.inbox import ring_pushes
from workers.registry import job

POOLS = 200
"""Pools planned in one unit of work: what a booking of one of them may have to wait for."""

SWEEP_SECONDS = 40.0
"""A sweep that takes longer goes on with the next one; shops share it evenly."""


@job("sweep.exposure", queue="stock-check", timeout=90)
def sweep_exposure() -> dict[str, Any]:
    """Move watermarks, end the doubts that they have passed, and plan every scarce pool again."""
    app = bootstrap.application()
    counts = sweep_now(app)
    ring_pushes(app)
    return counts


def sweep_now(app: Application, seconds: float = SWEEP_SECONDS) -> dict[str, int]:
    """The sweep itself; returns watermarks moved, SKUs whose doubt ended, pools planned."""
    counts = {"moved": 0, "ended": 0, "pools": 0}
    with read_only(app.engine) as conn:
        rows = queries.all_connections(conn)
    for row in rows:
        with unit_of_work(app.engine) as conn:
            counts["moved"] += connections.advance_watermark(conn, row.shop_id, row.id)
        with unit_of_work(app.engine) as conn:
            landed = checking.landed(conn, row.shop_id, row.id)
            publishing.settle(conn, row.shop_id, landed, timedelta(0), utc_now())
        with unit_of_work(app.engine) as conn:
            overtaking.own_late_landings(conn, row.shop_id, row.id)
        with unit_of_work(app.engine) as conn:
            ended = checking.end_doubts(conn, row.shop_id, row.id, utc_now())
        counts["ended"] += len(ended)
        for start in range(0, len(ended), POOLS):
            with unit_of_work(app.engine) as conn:
                pools = escrow.shared_pools(conn, row.shop_id, ended[start : start + POOLS])
                escrow.replan(conn, row.shop_id, pools, utc_now())
    shops = sorted({row.shop_id for row in rows})
    for shop_id in shops:
        counts["pools"] += plan_scarce(app, shop_id, time.monotonic() + seconds / len(shops))
    return counts


def plan_scarce(app: Application, shop_id: int, ends_at: float) -> int:
    """Plan every pool of a shop that is in escrow or should be; returns how many.

    Begins anywhere and goes round: where the time does not suffice for all, each has its turn.
    """
    planned = 0
    with read_only(app.engine) as conn:
        first = escrow.any_pool(conn, shop_id)
    for after, until in ((first, None), ((0, 0), first)):
        while time.monotonic() < ends_at:
            with read_only(app.engine) as conn:
                pools = escrow.pools_in_escrow(conn, shop_id, after, POOLS)
            if not pools:
                break
            with unit_of_work(app.engine) as conn:
                escrow.replan(conn, shop_id, pools, utc_now())
            after, planned = pools[-1], planned + len(pools)
            if until is not None and after >= until:
                break
    return planned


@job("stock.measure", queue="reports", timeout=170)
def measure_stock() -> dict[str, Any]:
    """Measure sales rates and times in doubt, and from them at how many units each pool counts as scarce."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = sorted({row.shop_id for row in queries.all_connections(conn)})
    counts = {"rates": 0, "lines": 0}
    for shop_id in shops:
        with unit_of_work(app.engine) as conn:
            counts["rates"] += pace.measure_rates(conn, shop_id, utc_now())
        with unit_of_work(app.engine) as conn:
            pace.measure_doubt(conn, shop_id, utc_now())
        with unit_of_work(app.engine) as conn:
            counts["lines"] += lines.draw_lines(conn, shop_id)
        plan_scarce(app, shop_id, time.monotonic() + SWEEP_SECONDS)
    ring_pushes(app)
    return counts
