"""A first sync at the pace of real life: a quota of which a unit comes back in three minutes, shared through Redis.

Durations are virtual: the vendor, the limiter and the jobs go by one clock that only waiting passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from core.adapters.base import Deps
from core.adapters.registry import make_channel
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.ports import SalesChannel
from tests.adapters.canned_amazon_orders import CannedOrders, item_body, order_body, stamp
from tests.adapters.floor import Floor
from workers.jobs import asking
from workers.jobs import connections as jobs

RATE, BURST = 0.0056, 20.0
SOLD_AT = 1200.0
PAGES = 12


@dataclass
class RealPace(CannedOrders):
    """Counts calls as the vendor does: its bucket is full at first."""

    clock: Any = None
    units_left: float = BURST
    counted_at: float = 0.0
    refusals: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/orders"):
            self.units_left = min(BURST, self.units_left + (self.clock() - self.counted_at) * RATE)
            self.counted_at = self.clock()
            if self.units_left < 1:
                self.refusals += 1
                return httpx.Response(429, json={"errors": [{"code": "QuotaExceeded", "message": "later"}]})
            self.units_left -= 1
        return super().__call__(request)


@dataclass
class Pace:
    """A seller on a clock of its own, whom a worker with Redis asks."""

    floor: Floor
    redis_url: str | None
    began_at: datetime = field(default_factory=utc_now)
    time: float = 0.0
    slept: float = 0.0
    canned: RealPace = field(init=False)
    row: ConnectionRow = field(init=False)

    def __post_init__(self) -> None:
        self.canned = RealPace(page=2, now=self.began_at, clock=lambda: self.time)
        self.row = self.floor.connect_seller(self.canned, clock_factor=1)
        # Each its own quota, whatever database ids the floor gives out.
        self.floor.channel = self.channel  # type: ignore[method-assign]

    @contextmanager
    def channel(self, row: ConnectionRow) -> Iterator[SalesChannel]:
        account = self.floor.accounts[row.id]
        config = replace(
            account.config,
            shop_id=row.shop_id,
            connection_id=row.id,
            settings={**account.config.settings, "clock_factor": 1.0},
        )
        deps = Deps(account.log.append, self.redis_url, account.network, self.now, self.sleep, clock=lambda: self.time)
        yield make_channel(config, deps)

    def now(self) -> datetime:
        return self.began_at + timedelta(seconds=self.time)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        self.time += seconds
        self.canned.now = self.now()

    def poll(self) -> dict[str, Any]:
        self.slept = 0.0
        return jobs.poll_connection(shop_id=self.row.shop_id, connection_id=self.row.id)

    def searches(self, name: str) -> list[dict[str, str]]:
        return [query for query in self.canned.searches if name in query]

    def is_read(self) -> bool:
        return self.floor.row(self.row.shop_id, self.row.id).open_orders_read_at is not None


@pytest.fixture
def pace(trade_floor: Floor, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Pace:
    pace = Pace(trade_floor, redis_url)
    monkeypatch.setattr(jobs, "utc_now", pace.now)
    monkeypatch.setattr(jobs, "A_SECOND_IS_OVER", 0.0)
    return pace


def test_trap_a_first_sync_of_a_real_account_comes_through_at_once(pace: Pace) -> None:
    assert pace.poll() == {"waits_for_sync": True}
    counts = pace.floor.sync(pace.row)
    assert (counts["listings"], counts["open_orders"]) == (25, 0)
    assert pace.is_read()
    assert pace.slept < 30


def test_a_first_sync_waits_where_the_quota_is_used_up_and_is_not_failed(pace: Pace) -> None:
    with pace.channel(pace.row) as channel:
        for _ in range(3):
            channel.newest_order_change_at()
    run_id = pace.floor.begin_sync(pace.row)
    where = {"shop_id": pace.row.shop_id, "connection_id": pace.row.id, "sync_run_id": run_id}
    assert "waiting" in jobs.sync_connection(**where)
    assert pace.floor.one("select state from sync_runs where id = %(id)s", id=run_id) == {"state": "queued"}
    for _ in range(5):
        pace.pass_by(60)
        pace.poll()
        if "waiting" not in (counts := jobs.sync_connection(**where)):
            break
    assert counts["listings"] == 25
    assert pace.canned.refusals == 0


def test_thousands_of_open_orders_are_read_page_by_page_while_new_ones_are_heard_of(pace: Pace) -> None:
    for number in range(PAGES * pace.canned.page):
        pace.canned.put(order_body(f"A{number}", at=stamp(pace.now() - timedelta(days=1 + number % 300))))
    counts = pace.floor.sync(pace.row)
    assert 0 < counts["open_orders"] < PAGES
    assert not pace.is_read()
    heard: list[float] = []
    while not pace.is_read():
        if pace.time > SOLD_AT and "NEW" not in pace.canned.orders:
            pace.canned.put(order_body("NEW", item_body("1"), at=stamp(pace.now())))
        pace.pass_by(60)
        pace.poll()
        # Whoever waits longer for quota holds up what else is to be done.
        assert pace.slept <= 15
        known = pace.floor.rows("select 1 from inbox_messages where delivery_id like 'poll:NEW:%%'")
        if known and not heard:
            heard.append(pace.time)
        assert pace.time < 12 * 3600
    assert len(pace.searches("fulfillmentStatuses")) == PAGES
    assert heard
    assert heard[0] < SOLD_AT + 900
    recorded = pace.floor.rows(
        "select count(distinct delivery_id) as n from inbox_messages where connection_id = %(id)s", id=pace.row.id
    )
    assert recorded[0]["n"] == PAGES * pace.canned.page + 1
    assert pace.canned.refusals == 0
    # At most two of three minutes a page: the sweeps have the rest.
    assert pace.time < PAGES * 420


def test_a_storm_of_hints_holds_nobody_up_and_leaves_the_rest_to_the_sweeps(
    pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "utc_now", pace.now)
    refs = [f"A{number}" for number in range(400)]
    for ref in refs:
        pace.canned.put(order_body(ref, at=stamp(pace.now() - timedelta(days=1))))
    pace.pass_by(60)
    bell, counts = pace.floor.queue, {"recorded": 0, "later": 0, "left_to_sweeps": 0}

    def read(some: list[str]) -> None:
        pace.slept = 0.0
        result = asking.read_orders(
            shop_id=pace.row.shop_id, connection_id=pace.row.id, kind="order", refs=",".join(some)
        )
        for name, number in result.items():
            counts[name] += number
        assert pace.slept <= 1

    for start in range(0, len(refs), 8):
        read(refs[start : start + 8])
    assert sum(counts.values()) == len(refs)
    assert len(bell.promised) == asking.SLOTS
    assert counts["later"] <= asking.SLOTS * 8
    # What has its slot finds the quota for it.
    counts = {"recorded": 0, "later": 0, "left_to_sweeps": 0}
    for at, name, arguments in sorted(bell.promised.values(), key=lambda promise: promise[0]):
        assert name == "orders.read"
        pace.pass_by(max(0.0, (at - pace.now()).total_seconds()))
        read(str(arguments["refs"]).split(","))
    assert counts["recorded"] > 100
    assert len(bell.promised) <= asking.SLOTS + 3


def test_what_amazon_keeps_is_brought_to_its_number_once_a_sync(pace: Pace, monkeypatch: pytest.MonkeyPatch) -> None:
    pace.canned.kept = {"SKU 1/%": {"fulfillableQuantity": 4}}
    pace.canned.more = {"SKU 1/%": {"fulfillmentAvailability": [{"fulfillmentChannelCode": "AMAZON_EU"}]}}
    align, aligned = jobs.external.align, []
    monkeypatch.setattr(jobs.external, "align", lambda *known: aligned.append(align(*known)))
    assert pace.floor.sync(pace.row)["listings"] == 25
    assert len(aligned) == 1
