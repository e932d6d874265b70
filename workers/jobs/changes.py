"""Job: changes.chase."""

from __future__ import annotations

import time
from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.messaging import chasing
from workers.registry import job

CHASE_SECONDS = 20.0
"""A chase that takes longer goes on with the next one."""


@job("changes.chase", queue="stock-check", timeout=60)
def chase_open_legs() -> dict[str, Any]:
    """See which channels have followed what changed, shop by shop in commits of their own."""
    return chase_now(bootstrap.application())


def chase_now(app: Application, seconds: float = CHASE_SECONDS) -> dict[str, int]:
    """The chase itself; returns legs by what became of them, and changes that are done."""
    counts = dict.fromkeys((*chasing.ENDS, "done"), 0)
    ends_at = time.monotonic() + seconds
    with read_only(app.engine) as conn:
        shops = chasing.shops_with_open_legs(conn)
    for shop_id in shops:
        while time.monotonic() < ends_at:
            with unit_of_work(app.engine) as conn:
                found = chasing.chase(conn, shop_id, utc_now())
            for name in counts:
                counts[name] += getattr(found, name)
            if found.legs < chasing.AT_ONCE:
                break
    return counts
