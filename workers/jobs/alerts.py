"""Job: sweep.exposure_alerts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from core import bootstrap
from core.alerts import operations as alerts
from core.alerts import queries
from core.clock import utc_now
from core.db import read_only, unit_of_work
from workers.registry import job


@job("sweep.exposure_alerts", queue="polls", timeout=60)
def sweep_exposure_alerts() -> dict[str, Any]:
    """Open and close alerts on what could be oversold, shop by shop, each in a commit of its own."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = queries.shops_to_check(conn)
    steps: Counter[str] = Counter()
    for shop_id in shops:
        with unit_of_work(app.engine) as conn:
            steps[
                alerts.check_exposure(
                    conn, shop_id, app.settings.dashboard_url, utc_now(), is_heard=app.sender() is not None
                )
            ] += 1
    with unit_of_work(app.engine) as conn:
        replaced = alerts.close_replaced(conn, utc_now())
    return {"shops": len(shops), "opened": steps["open"], "closed": steps["close"] + replaced}
