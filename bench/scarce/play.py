"""Lets the shoppers of a stream buy, some of them in vain, while the outside world misbehaves; and counts what came of
it, against what somebody who knew every order could have sold."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import httpx

from bench.scarce.stream import Basket, Stream
from bench.scarce.watch import Seen, Watch
from bench.scarce.world import DOMAINS, SELLER_ID, World, open_world, share_as
from core.bootstrap import Application
from core.db import fetch, fetch_one, read_only, scalar
from core.inventory.planner import Mode
from workers.replay import hurried, wait_until_in_step
from workers.world import Control, Progress, SandboxRefused

CLOCK_FACTOR = 60.0
TURN_SECONDS = 0.2
SEEN_SECONDS = 2.0
"""By then what arrived has been booked; only what is slower waits for the next poll of the schedule."""
ASKED_OF_AMAZON = 10
"""Every so many baskets somebody asks Amazon for a unit, which it must not have."""

FAULTS: tuple[tuple[str, str, float, float], ...] = (
    ("latency", "", 0.2, 0.4),
    ("http_429", "", 0.05, 0.0),
    ("http_500", "", 0.05, 0.0),
    ("lost_reply", "", 0.03, 0.0),
    ("lost_reply", "inventorySetQuantities", 0.15, 0.0),
    ("expired_token", "", 0.005, 0.0),
    ("duplicate_delivery", "orders/", 0.1, 0.0),
    ("delayed_delivery", "orders/", 0.1, 4.0),
    ("reordered_delivery", "", 0.25, 2.0),
)
"""(kind, match, probability, real seconds)"""


@dataclass(frozen=True, slots=True)
class Options:
    """How a stream is played: baskets a second, seconds between two looks at the truth."""

    baskets_per_second: float
    mode: Mode = "escrow"
    has_faults: bool = True
    watch_seconds: float = 1.0


@dataclass(slots=True)
class Outcome:
    """What came of it. Every wanted line is accepted or refused; units of the goods of the stream."""

    mode: str
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
    amazon_asked: int = 0
    amazon_sold: int = 0
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

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**asdict(self), "share_of_bound": round(self.share_of_bound, 4)}


def play(app: Application, control: Control, stream: Stream, options: Options, progress: Progress) -> Outcome:
    """Connect, share, let everybody shop, wait until all is in step; returns what came of it.

    For a system that has no such shop yet; its demo's shoppers stay away for good. Raises what connecting raises,
    ReplayStalled, or AssertionError when the shop could not be brought into escrow.
    """
    outcome = Outcome(
        mode=options.mode,
        baskets=len(stream.baskets),
        goods=len(stream.goods),
        lines=stream.lines,
        units=stream.units,
        opening_units=sum(stream.opening.values()),
        bound_units=sum(stream.bound().values()),
    )
    for crowd in control.get("/world")["shoppers"]:
        control.post("/shoppers", {**crowd, "running": False})
    with hurried(control, CLOCK_FACTOR):
        world = open_world(app, control, stream, progress)
        if options.mode != "pooled":
            outcome.seconds_into_mode = share_as(world, options.mode, progress)
        outcome.writes_into_mode = _writes(world)
        watch = Watch(world, options.watch_seconds)
        shopping = Shopping(world, stream, outcome)
        with _misfortune(control, options, outcome):
            began = time.monotonic()
            shopping.run(options.baskets_per_second, progress)
            outcome.seconds_of_shopping = time.monotonic() - began
        began = time.monotonic()
        _ask_for_orders(world, progress)
        wait_until_in_step(app, control, world.shop_id, progress)
        outcome.seconds_into_step = time.monotonic() - began
        outcome.watched = watch.stop()
        _count(world, stream, shopping, outcome)
    return outcome


def _writes(world: World) -> int:
    with read_only(world.app.engine) as conn:
        return int(scalar(conn, "select count(*) from listing_writes where shop_id = %(shop)s", shop=world.shop_id))


def _ask_for_orders(world: World, progress: Progress) -> None:
    """Once everything that is on its way has arrived, do what the schedule does every minute: ask for orders."""
    while (counts := world.control.get("/deliveries"))["queued"] + counts["in_flight"]:
        progress("delivering", counts["delivered"], None)
        time.sleep(TURN_SECONDS)
    time.sleep(SEEN_SECONDS)
    for row in world.shops:
        world.app.queue.enqueue("connection.poll", shop_id=row.shop_id, connection_id=row.id)


@contextlib.contextmanager
def _misfortune(control: Control, options: Options, outcome: Outcome) -> Iterator[None]:
    """The outside world misbehaves for the length of the block."""
    if options.has_faults:
        for kind, match, probability, seconds in FAULTS:
            armed = {"kind": kind, "match": match, "probability": probability, "seconds": seconds * CLOCK_FACTOR}
            control.post("/faults", armed)
    try:
        yield
    finally:
        for fault in control.get("/faults")["faults"]:
            outcome.faults[fault["kind"]] = outcome.faults.get(fault["kind"], 0) + fault["hits"]
        httpx.delete(f"{control.url}/_control/faults", timeout=60).raise_for_status()


class Shopping:
    """The shoppers: they come in the order of the file, want whole lines, and leave out what is sold out."""

    def __init__(self, world: World, stream: Stream, outcome: Outcome) -> None:
        self._world, self._stream, self._outcome = world, stream, outcome
        self.accepted: Counter[tuple[int, str]] = Counter()
        """Units bought by shop and code."""
        self._left = Counter(stream.opening)
        self._visits = 0

    def run(self, per_second: float, progress: Progress) -> None:
        """Everybody comes, so many a second."""
        baskets, began, done = self._stream.baskets, time.monotonic(), 0
        while done < len(baskets):
            due = min(len(baskets), int((time.monotonic() - began) * per_second) + 1)
            for shop, group in groupby(baskets[done:due], key=lambda basket: basket.shop):
                self._place(shop, list(group))
            done = max(done, due)
            progress("shopping", done, len(baskets))
            time.sleep(TURN_SECONDS)

    def _place(self, shop: int, baskets: Sequence[Basket]) -> None:
        orders = [_order(basket) for basket in baskets]
        answers = self._world.control.post(f"/shopify/{DOMAINS[shop]}/orders", {"orders": orders})["orders"]
        for basket, answer in zip(baskets, answers, strict=True):
            self._note(basket, answer)
            self._visits += 1
            if self._visits % ASKED_OF_AMAZON == 0:
                self._ask_amazon(basket)

    def _note(self, basket: Basket, answer: dict[str, Any]) -> None:
        if answer.get("error") not in (None, "out_of_stock"):
            raise AssertionError(f"the sandbox did not understand a shopper: {answer}")
        everything = range(len(basket.lines))
        left_out = set(everything) if "error" in answer else set(answer["left_out"])
        for position in everything:
            line = basket.lines[position]
            if position not in left_out:
                self._outcome.accepted_lines += 1
                self._outcome.accepted_units += line.units
                self.accepted[basket.shop, line.code] += line.units
                self._left[line.code] -= line.units
                continue
            self._outcome.refused_lines += 1
            self._outcome.refused_units += line.units
            if line.units <= self._left[line.code]:
                # Both shops together had it.
                self._outcome.refused_for_the_split_lines += 1
                self._outcome.refused_for_the_split_units += line.units

    def _ask_amazon(self, basket: Basket) -> None:
        self._outcome.amazon_asked += 1
        wish = {"sku": basket.lines[0].code, "quantity": 1, "key": basket.key}
        with contextlib.suppress(SandboxRefused):
            self._world.control.post(f"/amazon/{SELLER_ID}/sales", wish)
            self._outcome.amazon_sold += 1


def _order(basket: Basket) -> dict[str, Any]:
    return {
        "key": basket.key,
        "name": f"#{basket.key}",
        "processed_at": basket.at.isoformat(),
        "customer_ref": basket.customer,
        "country": basket.country_code or "ZZ",
        "currency": "GBP",
        "ship": False,
        "may_shrink": True,
        "lines": [
            {"sku": line.code, "quantity": line.units, "price": str(line.unit_price), "title": line.title or line.code}
            for line in basket.lines
        ],
    }


def _count(world: World, stream: Stream, shopping: Shopping, outcome: Outcome) -> None:
    sold: Counter[str] = Counter()
    for (_, code), units in shopping.accepted.items():
        sold[code] += units
    over = {code: units - stream.opening[code] for code, units in sold.items() if units > stream.opening[code]}
    outcome.oversold_units, outcome.goods_oversold = sum(over.values()), len(over)
    outcome.deliveries = world.control.get("/deliveries")
    shown = [level for domain in DOMAINS for level in world.control.get(f"/shopify/{domain}/levels")["levels"]]
    outcome.left_shown_units = sum(level["available"] for level in shown)
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
    ids = {row.id: number for number, row in enumerate(world.shops)}
    ours = {(ids.get(row["connection_id"], -1), row["code"]): row["units"] for row in booked}
    outcome.booked_units = sum(ours.values())
    # Shop by shop and good by good: what shoppers were told they have is what we booked.
    outcome.booked_otherwise = sum(ours.get(key, 0) != shopping.accepted[key] for key in ours | shopping.accepted)


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
