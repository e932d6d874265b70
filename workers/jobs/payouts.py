"""Jobs: commissions.release, commissions.catch_up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection

from core import bootstrap
from core.clock import utc_now
from core.commissions import catching_up, releasing
from core.db import read_only, unit_of_work
from workers.registry import job

log = logging.getLogger(__name__)

RELEASE_SECONDS = 60
CATCH_UP_SECONDS = 240
AT_ONCE = 500


@job("commissions.release", queue="money", timeout=120)
def release_earnings() -> dict[str, Any]:
    """Make payable what was earned of orders whose buyers can no longer return, in every shop.

    Each round is a commit of its own. What is left when the time is up, or when somebody dies, the next ring finds.
    """
    app = bootstrap.application()
    now = utc_now()
    with read_only(app.engine) as conn:
        shops = releasing.shops_with_due(conn, now)
    ends_at = time.monotonic() + RELEASE_SECONDS
    released = 0
    for shop in shops:
        released += _repeat(partial(releasing.release_due, shop_id=shop, now=now, limit=AT_ONCE), ends_at)
    return {"released": released}


@job("commissions.catch_up", queue="money", timeout=300)
def catch_up() -> dict[str, Any]:
    """Book the money of orders that were booked before there was a ledger, and bring sums by day together."""
    app = bootstrap.application()
    now = utc_now()
    with read_only(app.engine) as conn:
        shops = catching_up.shops(conn)
    ends_at = time.monotonic() + CATCH_UP_SECONDS
    counts = {"booked": 0, "folded": 0}
    for shop in shops:
        counts["booked"] += _repeat(partial(catching_up.settle_unbooked, shop_id=shop, now=now, limit=AT_ONCE), ends_at)
        with unit_of_work(app.engine) as conn:
            counts["folded"] += catching_up.fold_days(conn, shop)
    if counts["booked"]:
        log.info("money of earlier orders was booked", extra={"counts": counts})
    return counts


def _repeat(act: Callable[[Connection], int], ends_at: float) -> int:
    """Do something in commits of its own until nothing is left or the time is up; returns how much was done."""
    app = bootstrap.application()
    done = 0
    while time.monotonic() < ends_at:
        with unit_of_work(app.engine) as conn:
            found = act(conn)
        done += found
        if found < AT_ONCE:
            break
    return done
