"""Job: promises.expire."""

from __future__ import annotations

import logging
import time
from typing import Any

from core import bootstrap
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.inventory import promises
from workers.jobs.inbox import ring_pushes
from workers.registry import job

log = logging.getLogger(__name__)

EXPIRE_SECONDS = 20
AT_ONCE = 1000


@job("promises.expire", queue="stock", timeout=60)
def expire_promises() -> dict[str, Any]:
    """End what was held until a deadline that has passed, in every shop, and ring for the listings that show more.

    Each round is a commit of its own. What is left when the time is up, or when somebody dies, the next ring finds.
    """
    app = bootstrap.application()
    now = utc_now()
    ends_at = time.monotonic() + EXPIRE_SECONDS
    expired = 0
    with read_only(app.engine) as conn:
        shops = promises.shops_with_expired(conn, now)
    for shop_id in shops:
        ended = AT_ONCE
        while ended and time.monotonic() < ends_at:
            with unit_of_work(app.engine) as conn:
                ended = promises.expire(conn, shop_id, now, AT_ONCE)
            expired += ended
    if expired:
        log.info("promises expired", extra={"counts": {"expired": expired}})
        ring_pushes(app)
    return {"expired": expired}
