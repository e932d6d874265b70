"""A worker's process that tells a target its catalogue: `python -m tests.telling`, with what it needs in JSON on the
first line of its standard input. It begins at the second one, and ends when nothing is left to do."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.klaviyo import KlaviyoTarget
from core.clock import utc_now
from core.connections.queries import connection
from core.db import make_engine, read_only
from core.targets import queries
from workers.targets import Seat


def tell(given: dict[str, Any]) -> None:
    """Drain the seat until nothing is due and no job is open."""
    engine = make_engine(given["database_url"], pool_size=20)
    with read_only(engine) as conn:
        row = connection(conn, given["shop_id"], given["connection_id"])
    config = ConnectionConfig(
        row.shop_id, row.id, row.vendor, given["base_url"], row.account_ref, "GBP", row.settings,
        {"private_key": given["key"]},
    )  # fmt: skip
    deps = Deps(lambda call: None, given["redis_url"], None, lambda: datetime.now(UTC))
    seat = Seat(engine, queries.target_of(row), KlaviyoTarget(config, deps), given["seat"])
    print("begins", flush=True)
    sys.stdin.readline()
    quiet = 0
    # While another one plans there is nothing to be seen for a moment: before the first of it for as long as it takes.
    while quiet < 3:
        seat.drain(20)
        with read_only(engine) as conn:
            is_planned = bool(queries.states(conn, row.shop_id, row.id))
            is_due = not is_planned or queries.due(conn, seat.target, utc_now(), may_write=True) > 0
        quiet = 0 if is_due else quiet + 1
        time.sleep(0.2)


if __name__ == "__main__":
    tell(json.loads(sys.stdin.readline()))
