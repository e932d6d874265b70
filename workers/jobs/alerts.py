"""Job: sweep.alerts."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

from core import bootstrap
from core.alerts import sweep
from core.alerts.engine import Desk
from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from workers.registry import job

log = logging.getLogger(__name__)


LOOK_SECONDS = 90.0
"""After that no other shop is begun: the next sweep goes on with it. The job is killed at 120."""


@job("sweep.alerts", queue="polls", timeout=120)
def sweep_alerts() -> dict[str, Any]:
    """Look for everything that somebody has to be told of, shop by shop, each in a commit of its own.

    Raises the first error of a shop once every shop has had its turn. Where there are too many for one sweep the next
    one begins where this one ended: always in the same order, the last ones would never be looked at.
    """
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = sweep.shops(conn)
    steps: Counter[str] = Counter()
    errors: list[Exception] = []
    ends_at, looked = time.monotonic() + LOOK_SECONDS, 0
    while looked < len(shops) and (not looked or time.monotonic() < ends_at):
        steps += _look(app, shops[looked], errors)
        looked += 1
    told = {"opened": steps["open"], "worse": steps["worse"], "closed": steps["close"]}
    if looked < len(shops):
        return {"shops": looked, **told, "failed": len(errors), "goes_on_at": shops[looked]}
    if errors:
        raise errors[0]
    return {"shops": looked, **told}


def _look(app: Application, shop_id: int, errors: list[Exception]) -> Counter[str]:
    try:
        with unit_of_work(app.engine) as conn:
            return Counter(sweep.look(Desk(conn, shop_id, utc_now(), app.settings.dashboard_url)))
    except Exception as error:
        log.exception("the alerts of a shop could not be looked for", extra={"shop": shop_id})
        errors.append(error)
        return Counter()
