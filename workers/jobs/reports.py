"""Jobs: reports.daily, reports.correct."""

from __future__ import annotations

from typing import Any

from core import bootstrap
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.reports import operations as reports
from core.reports import telling
from workers.registry import job


@job("reports.daily", queue="reports", timeout=900)
def build_reports(*, shop_id: int) -> dict[str, Any]:
    """Build the reports of a shop's closed days that have none, oldest first, and tell of each; each in its commit.

    A death in between leaves whole days, or nothing of a day: the next turn goes on where it ended.
    """
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        days = reports.due(conn, shop_id, utc_now())
    built, told = 0, 0
    for day in days:
        with unit_of_work(app.engine) as conn:
            made = reports.build(conn, shop_id, day, reports.CLOCK, utc_now())
            built += made.is_new
            if made.is_new:
                told += telling.tell(conn, made.report, app.settings.dashboard_url, utc_now())
    return {"built": built, "told": told}


@job("reports.correct", queue="reports", timeout=900)
def correct_reports(*, shop_id: int) -> dict[str, Any]:
    """Look at a shop's last days again: what is known differently by now is a correction, told where it matters."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        days = reports.to_look_at(conn, shop_id, utc_now())
    corrected, told = 0, 0
    for day in days:
        with unit_of_work(app.engine) as conn:
            made = reports.correct(conn, shop_id, day, reports.LOOK, utc_now())
            corrected += made is not None
            if made is not None:
                told += telling.tell(conn, made, app.settings.dashboard_url, utc_now())
    return {"looked_at": len(days), "corrected": corrected, "told": told}
