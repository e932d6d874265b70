"""The bulk road against the sandbox's Amazon, in process and on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.adapters.amazon.channel import AmazonSellerChannel
from core.adapters.base import ConnectionConfig, Deps
from core.bulk import BulkRoad, BulkSubmission
from core.inventory import feed_reports
from core.inventory.feed_reports import FeedWrite
from core.ports import QuantityWrite
from tests.sandbox.outside import Inside

SKUS = ("A", "B", "C")


@dataclass
class Selling:
    """A seller of the sandbox, his channel, and its road of feeds."""

    world: Inside
    seller: str
    channel: AmazonSellerChannel

    @property
    def bulk(self) -> BulkRoad:
        assert self.channel.bulk is not None
        return self.channel.bulk

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.world.clock.wall(), UTC)

    def submit(self, *skus: str, units: int = 7) -> str:
        writes = [QuantityWrite(n, sku, None, "", None, units, f"k{n}") for n, sku in enumerate(skus)]
        sent = self.bulk.submit(self.bulk.upload(writes))
        assert sent.outcome == "submitted", sent
        return str(sent.ref)

    def ended(self, ref: str) -> BulkSubmission:
        for _ in range(200):
            seen = self.bulk.submission(ref)
            if seen.state not in ("queued", "running"):
                return seen
            self.world.clock.advance(5)
        raise AssertionError("it does not end")


@pytest.fixture
def selling(tmp_path: Path) -> Iterator[Selling]:
    world = Inside(tmp_path)
    side = world.seller(*({"sku": sku, "title": sku, "quantity": 10} for sku in SKUS))
    secrets = {name: side.entry[name] for name in ("client_id", "client_secret", "refresh_token")}
    settings = {"marketplace_id": side.marketplace, "lwa_url": f"{world.url}/amazon/auth/o2/token"}
    config = ConnectionConfig(1, 1, "amazon", f"{world.url}/amazon", side.id, "GBP", settings, secrets)

    def now() -> datetime:
        return datetime.fromtimestamp(world.clock.wall(), UTC)

    # The quotas of both sides pass on the same clock.
    deps = Deps(lambda _: None, None, world.world, now, world.clock.advance, clock=world.clock.now)
    found = Selling(world, side.id, AmazonSellerChannel(config, deps))
    # Ours begins with nothing, and counts on no more than what has come back since.
    for name in ("createFeed", "getFeeds", "getFeedDocument"):
        found.channel._listings._partner.ready_in(name)
    world.clock.advance(3000)
    yield found
    world.stop()


def test_a_feed_is_applied_and_its_report_says_which_message_was_refused(selling: Selling) -> None:
    ref = selling.submit("A", "nobody's", "B")
    seen = selling.ended(ref)
    writes = [FeedWrite(n, n, sku) for n, sku in enumerate(("A", "nobody's", "B"))]
    results = feed_reports.results(writes, 3, selling.bulk.report(seen))
    assert [result.outcome for result in results] == ["accepted", "refused", "accepted"]
    selling.world.clock.advance(3600)
    shown = {level.inventory_ref: level.units for level in selling.channel.levels(SKUS)}
    assert shown == {"A": 7, "B": 7, "C": 10}
    assert selling.bulk.submitted(["A", "B"]) == {"A": 7, "B": 7}


@pytest.mark.parametrize("fault", ["feed_fatal_none", "feed_fatal_some", "feed_fatal_all"])
def test_trap_5_a_fatal_feed_has_applied_some_none_or_all(selling: Selling, fault: str) -> None:
    selling.world.faults(kind=fault, times=1)
    assert selling.ended(selling.submit(*SKUS)).state == "fatal"
    selling.world.clock.advance(3600)
    units = {level.units for level in selling.channel.levels(SKUS)}
    assert units == {"feed_fatal_none": {10}, "feed_fatal_some": {7, 10}, "feed_fatal_all": {7}}[fault]


def test_trap_10_a_stuck_feed_holds_up_the_next_which_can_be_cancelled(selling: Selling) -> None:
    selling.world.faults(kind="feed_stuck", times=1)
    stuck = selling.submit("A")
    selling.world.clock.advance(120)
    assert selling.bulk.submission(stuck).state == "running"
    waiting = selling.submit("B")
    selling.world.clock.advance(3600)
    assert selling.bulk.submission(waiting).state == "queued"
    assert (selling.bulk.cancel(stuck), selling.bulk.cancel(waiting)) == (False, True)
    assert selling.bulk.submission(waiting).state == "cancelled"


def test_a_feed_is_found_among_those_since_a_moment(selling: Selling) -> None:
    before: Any = selling.submit("A")
    selling.world.clock.advance(600)
    since = selling.now()
    after = selling.submit("B")
    assert [one.ref for one in selling.bulk.submissions_since(since - timedelta(seconds=5))] == [after]
    assert {one.ref for one in selling.bulk.submissions_since(since - timedelta(hours=1))} == {before, after}
