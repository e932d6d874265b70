"""What came of a stream of shoppers, and what we booked of it, counted side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.scarce.stream import Stream
from bench.scarce.watch import Seen
from bench.scarce.world import World
from core.db import fetch, fetch_one, read_only
from core.inventory.planner import Mode


@dataclass(slots=True)
class Outcome:
    """What came of it. Every wanted line is accepted or refused; units of the goods of the stream."""

    mode: Mode
    baskets: int
    goods: int
    lines: int
    units: int
    opening_units: int
    bound_units: int
    accepted_lines: int = 0
    accepted_units: int = 0
    refused_lines: int = 0
    refused_units: int = 0
    refused_for_the_split_lines: int = 0
    refused_for_the_split_units: int = 0
    booked_lines: int = 0
    booked_units: int = 0
    booked_otherwise: int = 0
    oversold_units: int = 0
    goods_oversold: int = 0
    sold_by_channel: dict[str, int] = field(default_factory=dict)
    refused_by_channel: dict[str, int] = field(default_factory=dict)
    left_shown_units: int = 0
    left_available_units: int = 0
    seconds_into_mode: float = 0.0
    writes_into_mode: int = 0
    seconds_of_shopping: float = 0.0
    seconds_into_step: float = 0.0
    watched: Seen = field(default_factory=Seen)
    faults: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    exposure_changes: dict[str, int] = field(default_factory=dict)
    lag_seconds: dict[str, float] = field(default_factory=dict)
    deliveries: dict[str, Any] = field(default_factory=dict)

    @property
    def share_of_bound(self) -> float:
        """Accepted units as a part of what could have been."""
        return self.accepted_units / self.bound_units

    @classmethod
    def expected(cls, mode: Mode, stream: Stream) -> Outcome:
        """Before anybody has come."""
        return cls(
            mode=mode,
            baskets=len(stream.baskets),
            goods=len(stream.goods),
            lines=stream.lines,
            units=stream.units,
            opening_units=sum(stream.opening.values()),
            bound_units=sum(stream.bound().values()),
        )

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**asdict(self), "share_of_bound": round(self.share_of_bound, 4)}


def count(world: World, stream: Stream, accepted: Mapping[tuple[int, str], int], outcome: Outcome) -> None:
    """Fill in what is known once everything is in step; `accepted` is what shoppers were told, by place and code."""
    sold: Counter[str] = Counter()
    for (_, code), units in accepted.items():
        sold[code] += units
    over = {code: units - stream.opening[code] for code, units in sold.items() if units > stream.opening[code]}
    outcome.oversold_units, outcome.goods_oversold = sum(over.values()), len(over)
    outcome.deliveries = world.control.get("/deliveries")
    outcome.left_shown_units = _shown(world)
    with read_only(world.app.engine) as conn:
        values = {"shop": world.shop_id}
        booked = fetch(conn, _BOOKED, **values)
        totals = fetch_one(conn, _TOTALS, **values)
        assert totals is not None
        outcome.left_available_units = totals["available"]
        outcome.booked_lines = totals["lines"]
        outcome.calls = {row["name"]: row["count"] for row in fetch(conn, _CALLS, **values)}
        outcome.writes = {row["name"]: row["count"] for row in fetch(conn, _WRITES, **values)}
        outcome.exposure_changes = {row["name"]: row["count"] for row in fetch(conn, _CHANGES, **values)}
        lag = fetch_one(conn, _LAG, **values)
        outcome.lag_seconds = {name: round(value, 2) for name, value in (lag or {}).items() if value is not None}
    ids = {row.id: place for place, row in enumerate(world.channels)}
    ours = {(ids.get(row["connection_id"], -1), row["code"]): row["units"] for row in booked}
    outcome.booked_units = sum(ours.values())
    # Channel by channel and good by good: what shoppers were told they have is what we booked.
    outcome.booked_otherwise = sum(ours.get(key, 0) != accepted.get(key, 0) for key in {**ours, **accepted})


def _shown(world: World) -> int:
    """Units that all channels show."""
    outside, control = world.outside, world.control
    shown = sum(
        level["available"] for domain in outside.domains for level in control.get(f"/shopify/{domain}/levels")["levels"]
    )
    at_amazon = control.get(f"/amazon/{outside.seller_id}/levels")["levels"]
    return shown + sum(sum(level["in_force"].values()) for level in at_amazon)


_BOOKED = """
    select o.connection_id, l.code, sum(l.units)::int8 as units
    from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
    where l.shop_id = %(shop)s and l.mapping = 'stocked' group by 1, 2
"""
_TOTALS = """
    select (select count(*) from order_lines where shop_id = %(shop)s) as lines,
        (select coalesce(sum(available), 0)::int8 from stock_levels where shop_id = %(shop)s) as available
"""
_CALLS = """
    select c.name || ': ' || a.operation || ', ' || a.outcome as name, count(*) as count
    from api_calls a join connections c on c.shop_id = a.shop_id and c.id = a.connection_id
    where a.shop_id = %(shop)s group by 1 order by 1
"""
_WRITES = """
    select c.name || ': ' || case when w.from_units is null then 'set' when w.to_units > w.from_units then 'raise'
        else 'lower' end || ', ' || coalesce(w.outcome, 'open') as name, count(*) as count
    from listing_writes w join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
    where w.shop_id = %(shop)s group by 1 order by 1
"""
_CHANGES = """
    select cause as name, count(*) as count from exposure_changes where shop_id = %(shop)s group by 1 order by 1
"""
_LAG = """
    select percentile_cont(0.5) within group (order by extract(epoch from recorded_at - channel_created_at))
            as booked_median,
        percentile_cont(0.95) within group (order by extract(epoch from recorded_at - channel_created_at))
            as booked_p95,
        (select percentile_cont(0.95) within group (order by extract(epoch from outcome_at - planned_at))
            from listing_writes where shop_id = %(shop)s and outcome = 'confirmed') as written_p95
    from orders where shop_id = %(shop)s
"""
