"""Job: sweep.alerts."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from core import bootstrap
from core.alerts import sweep
from core.alerts.engine import Desk
from core.clock import utc_now
from core.db import read_only, unit_of_work
from workers.registry import job

log = logging.getLogger(__name__)


@job("sweep.alerts", queue="polls", timeout=120)
def sweep_alerts() -> dict[str, Any]:
    """Look for everything that somebody has to be told of, shop by shop, each in a commit of its own.

    Raises the first error of a shop once every shop has had its turn.
    """
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = sweep.shops(conn)
    steps: Counter[str] = Counter()
    errors = []
    for shop_id in shops:
        try:
            with unit_of_work(app.engine) as conn:
                steps += Counter(sweep.look(Desk(conn, shop_id, utc_now(), app.settings.dashboard_url)))
        except Exception as error:
            log.exception("the alerts of a shop could not be looked for", extra={"shop": shop_id})
            errors.append(error)
    if errors:
        raise errors[0]
    return {"shops": len(shops), "opened": steps["open"], "worse": steps["worse"], "closed": steps["close"]}
