"""What whoever sends and whoever checks have in common: durations of the vendor's side, and what follows an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from core.bootstrap import Application
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.inventory import escrow, publishing
from core.inventory.differences import Lane
from core.ports import QuantityResult, SalesChannel
from workers.jobs.inbox import ring_pushes

# Durations of the vendor's side: divided by the connection's clock factor.
FIRST_CHECK = timedelta(seconds=3)
"""Then after twice the time, and so on: seldom more than half as long again as the channel took."""

DOUBT_AFTER = timedelta(minutes=15)

_SETTLED_AT_ONCE = 500
"""So many listings are locked together."""


def lane_of(row: ConnectionRow, channel: SalesChannel, writes_per_call: int) -> Lane:
    """The lane of a connection's writes."""
    return Lane(row.shop_id, row.id, channel.guarantee_class, writes_per_call)


def factor_of(row: ConnectionRow) -> float:
    """How many times faster than ours the vendor's durations run."""
    return float(row.settings.get("clock_factor") or 1)


def settle(app: Application, row: ConnectionRow, results: Sequence[QuantityResult]) -> None:
    """Record what became of sent writes, some at a time, and hand on what one channel gave up."""
    for start in range(0, len(results), _SETTLED_AT_ONCE):
        some = results[start : start + _SETTLED_AT_ONCE]
        with unit_of_work(app.engine) as conn:
            publishing.settle(conn, row.shop_id, some, FIRST_CHECK / factor_of(row), utc_now())
        follow_up(app, row, some)


def follow_up(app: Application, row: ConnectionRow, results: Sequence[QuantityResult]) -> None:
    """What one channel gave up, another gets now: plan scarce stock again, and ring for whom it is."""
    settled = [result.write_id for result in results if result.outcome not in ("accepted", "unknown")]
    if not settled:
        return
    with unit_of_work(app.engine) as conn:
        is_scarce = escrow.follow_up(conn, row.shop_id, settled, utc_now())
    if is_scarce:
        ring_pushes(app)
