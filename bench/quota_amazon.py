"""`quota` on Amazon: 10,000 changed SKUs, on virtual time, on the road that the product chooses by itself.

The sandbox's Amazon and our adapter run in one process on one clock that passes only while everybody waits; Redis is
real. The connection has been there for an hour: both sides' buckets are full, and ours counts on half of its.

- ours: numbers that go down leave one by one, by four senders as in a worker; beside them raises take the road that
  `core.inventory.roads.choose` names, with what the adapter knows of the paces.
- time: from the first call until Amazon shows every number.
- floor of the feed: what Amazon itself takes, from the moment it has the feed until it shows the last number.
- by patch: the same with a road of feeds that nobody may use. Floor: what is left after the burst, at the plan's rate.
- baseline: a naive client that patches one after the other, as many senders, and that rests a second, then two, four,
  eight when it is throttled.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx

from bench.quota import AIM, NAIVE_RESTS, QuotaReport
from bench.servers import Servers
from bench.virtual import Distance, SharedTime
from core.adapters.amazon.client import user_agent
from core.adapters.amazon.listings import quantity_patch
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall, Throttled
from core.adapters.registry import make_channel
from core.bulk import BulkReport, BulkRoad, BulkSubmission
from core.inventory import feed_reports, feeds, roads
from core.inventory.feed_reports import FeedWrite
from core.inventory.roads import Choice, Paces, Work
from core.ports import QuantityWrite, SalesChannel
from sandbox.clock import VirtualClock
from sandbox.inprocess import InProcess
from workers.feeds import AGAIN_AFTER

SKUS = 10_000
PATCHES_PER_SECOND = 5.0
PATCH_BURST = 5
SENDERS = 4
LOWERED_PART = 0.03
SELLER = "QUOTA"
WARM_SECONDS = 3600.0
CONNECTIONS_FROM = 10_000
"""Redis has never heard of these."""


@dataclass
class Account:
    """A seller of the sandbox on virtual time, who has changed all of his numbers."""

    world: InProcess
    time: SharedTime
    config: ConnectionConfig
    redis_url: str
    random: Random
    changes: list[QuantityWrite]
    log: list[ApiCall] = field(default_factory=list)

    def channel(self) -> SalesChannel:
        """A worker's channel, on a way of its own."""
        road = Distance(self.world, self.time, Random(self.random.random()))
        deps = Deps(self.log.append, self.redis_url, road, self.time.date, self.time.sleep, clock=self.time.now)
        return make_channel(self.config, deps)

    def await_all(self, wait: Callable[[float], None]) -> float:
        """Until Amazon shows every number, second by second; returns when that was."""
        wanted = {write.listing_ref: write.to_units for write in self.changes}
        with self.world.client("/_control", timeout=None) as control:
            for _ in range(7200):
                levels = control.get(f"/amazon/{SELLER}/levels").raise_for_status().json()["levels"]
                if all(_own(level) == wanted[level["sku"]] for level in levels):
                    return self.time.now()
                wait(1.0)
        raise AssertionError("Amazon does not show every number")

    def throttled(self) -> int:
        """How often Amazon said that it was too much."""
        return sum(call.outcome == "throttled" for call in self.log)


def _own(level: dict[str, Any]) -> int | None:
    shown = level["in_force"]
    if isinstance(shown, dict):
        return shown.get("DEFAULT")
    found = (
        row for row in shown if row.get("fulfillment_channel_code", row.get("fulfillmentChannelCode")) == "DEFAULT"
    )
    return next((row.get("quantity") for row in found), None)


@dataclass
class Came:
    """What it came to: seconds until all is shown, of which Amazon had the feed for `vendor_seconds`."""

    seconds: float
    throttled: int
    choice: Choice | None = None
    vendor_seconds: float = 0.0


def measure(report: QuotaReport, servers: Servers, rounds: int, size: float) -> None:
    """Add everything about Amazon to a report."""
    skus = max(400, round(SKUS * size))
    ours, patched, naive = list[Came](), list[Came](), list[Came]()
    numbers = itertools.count(CONNECTIONS_FROM)
    for seed in range(rounds):
        with _account(servers, skus, seed, next(numbers)) as account:
            ours.append(_ours(account))
        with _account(servers, skus, seed, next(numbers)) as account:
            patched.append(_by_patch(account))
        with _account(servers, skus, seed, next(numbers)) as account:
            naive.append(_naive(account))
    _draw_up(report, skus, ours, patched, naive)


def _draw_up(report: QuotaReport, skus: int, ours: list[Came], patched: list[Came], naive: list[Came]) -> None:
    because = ours[0].choice.because if ours[0].choice else ""
    report.throttled += sum(came.throttled for came in [*ours, *patched])
    report.add("Amazon, ours: SKUs", "SKUs/s", [skus / came.seconds for came in ours], because)
    seconds = report.add("Amazon, ours: time until all is shown", "s", [came.seconds for came in ours])
    floor = report.add("Amazon, floor of it: Amazon's own time", "s", [_floor(came, skus) for came in ours])
    report.add("Amazon, ours: throttled", "calls", [came.throttled for came in ours])
    by_patch = report.add("Amazon, by patch: time", "s", [came.seconds for came in patched])
    pace = report.add(
        "Amazon, floor of it: patches / rate", "s", [(skus - PATCH_BURST) / PATCHES_PER_SECOND for _ in patched]
    )
    report.add("Amazon, by patch: throttled", "calls", [came.throttled for came in patched])
    other = report.add("Amazon, baseline: time", "s", [came.seconds for came in naive])
    report.add("Amazon, baseline: throttled", "calls", [came.throttled for came in naive])
    report.compare("Amazon, share of what the better road allows", floor, seconds, aim=AIM)
    report.compare("Amazon, share of the quota that patches use", pace, by_patch, aim=AIM)
    report.compare("Amazon, time of the baseline against ours", other, seconds)


def _floor(came: Came, skus: int) -> float:
    """The better road's own time; what was lowered meanwhile took less."""
    by_patch = (skus - PATCH_BURST) / PATCHES_PER_SECOND
    return came.vendor_seconds if came.choice and came.choice.road == "feed" else by_patch


@contextmanager
def _account(servers: Servers, skus: int, seed: int, number: int) -> Iterator[Account]:
    clock = VirtualClock()
    with tempfile.TemporaryDirectory(prefix="switchyard-quota-") as folder, InProcess(Path(folder), clock) as world:
        with world.client("/_control", timeout=None) as control:
            opened = control.post("/sellers", json={"seller_id": SELLER}).raise_for_status().json()
            samples = [{"sku": f"SKU-{n}", "title": "Mug", "quantity": 10} for n in range(skus)]
            for start in range(0, skus, 1000):
                body = {"listings": samples[start : start + 1000]}
                control.post(f"/amazon/{SELLER}/listings", json=body).raise_for_status()
        secrets = {name: opened[name] for name in ("client_id", "client_secret", "refresh_token")}
        settings = {"marketplace_id": opened["marketplace_ids"][0], "lwa_url": f"{world.url}/amazon/auth/o2/token"}
        config = ConnectionConfig(1, number, "amazon", f"{world.url}/amazon", SELLER, "GBP", settings, secrets)
        changes = _changes(skus, Random(seed))
        account = Account(world, SharedTime(clock), config, servers.redis_url, Random(seed), changes)
        _warm(account)
        yield account


def _changes(skus: int, random: Random) -> list[QuantityWrite]:
    """Every SKU shows another number now: a few less, most of them more."""
    return [
        QuantityWrite(
            number,
            f"SKU-{number}",
            None,
            "",
            None,
            random.choice([0, 4]) if random.random() < LOWERED_PART else random.choice([11, 15, 30]),
            f"key:{number}",
        )
        for number in range(skus)
    ]


def _warm(account: Account) -> None:
    """An hour in which nothing happens: what our side knows of the quotas begins at nothing."""
    channel = account.channel()
    channel.levels(["SKU-0"])
    channel.set_quantities([QuantityWrite(0, "nobody's", None, "", None, 1, "warm")])
    if channel.bulk is not None:
        channel.bulk.ready_in()
    account.time.clock.advance(WARM_SECONDS)
    account.log.clear()


@dataclass
class _Queue:
    """What is yet to be sent one by one; and how many of it were."""

    writes: list[QuantityWrite]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> QuantityWrite | None:
        with self.lock:
            return self.writes.pop() if self.writes else None


def _patching(queue: _Queue, channel: SalesChannel) -> Callable[[], None]:
    def work() -> None:
        while (write := queue.next()) is not None:
            (result,) = channel.set_quantities([write])
            assert result.outcome == "accepted", result

    return work


def _ours(account: Account) -> Came:
    """As a push and the job of a feed go about it."""
    began = account.time.now()
    lowered = [write for write in account.changes if write.to_units < 10]
    raises = [write for write in account.changes if write.to_units > 10]
    channel = account.channel()
    bulk = channel.bulk
    assert bulk is not None
    paces = Paces(bulk.calls_per_second(), bulk.size_max, bulk.ready_in())
    came = Came(0.0, 0, roads.choose(Work(len(lowered), len(raises)), paces))
    is_feed = came.choice is not None and came.choice.road == "feed"
    queue = _Queue(list(lowered) if is_feed else [*raises, *lowered])
    had_it_at: list[float] = []
    all_shown_at: list[float] = []
    work = [_patching(queue, account.channel()) for _ in range(SENDERS)]
    if is_feed:
        work.append(lambda: _feed(account, bulk, raises, had_it_at))
        # Somebody who watches Amazon: a worker knows later that it is done.
        work.append(lambda: all_shown_at.append(account.await_all(account.time.sleep)))
    account.time.run(work)
    shown_at = all_shown_at[0] if all_shown_at else account.await_all(account.time.clock.advance)
    came.seconds, came.throttled = shown_at - began, account.throttled()
    came.vendor_seconds = shown_at - had_it_at[0] if had_it_at else 0.0
    return came


def _feed(account: Account, bulk: BulkRoad, raises: list[QuantityWrite], had_it_at: list[float]) -> None:
    """One feed after the other, each looked at as a worker does, and its report read."""
    for start in range(0, len(raises), bulk.size_max):
        some = raises[start : start + bulk.size_max]
        document = bulk.upload(some)
        sent = bulk.submit(document)
        assert sent.ref is not None, sent
        had_it_at.append(account.time.now())
        pause = feeds.LOOKS_AFTER.total_seconds()
        while (seen := bulk.submission(sent.ref)).state in ("queued", "running"):
            account.time.sleep(pause)
            pause = max(pause, (account.time.now() - had_it_at[-1]) / 10)
        writes = [FeedWrite(write.write_id, place, write.listing_ref) for place, write in enumerate(some)]
        results = feed_reports.results(writes, len(some), _report(account, bulk, seen))
        assert {result.outcome for result in results} == {"accepted"}


def _report(account: Account, bulk: BulkRoad, seen: BulkSubmission) -> BulkReport:
    """As soon as quota lets us have it: a worker looks again after a while."""
    while True:
        try:
            return bulk.report(seen)
        except Throttled:
            account.time.sleep(AGAIN_AFTER.total_seconds())


def _by_patch(account: Account) -> Came:
    began = account.time.now()
    queue = _Queue(sorted(account.changes, key=lambda write: -write.to_units))
    account.time.run([_patching(queue, account.channel()) for _ in range(SENDERS)])
    shown_at = account.await_all(account.time.clock.advance)
    return Came(shown_at - began, account.throttled())


def _naive(account: Account) -> Came:
    """Patches with retries, by as many senders, none of which knows of a quota before it is told off."""
    began, queue, told_off = account.time.now(), _Queue(list(account.changes)), list[int]()
    config = account.config

    def work() -> None:
        road = Distance(account.world, account.time, Random(account.random.random()))
        http = httpx.Client(transport=road, base_url=config.base_url, timeout=None)
        _log_in(http, config)
        where = {"marketplaceIds": str(config.settings["marketplace_id"])}
        while (write := queue.next()) is not None:
            path = f"/listings/2021-08-01/items/{SELLER}/{quote(write.listing_ref, safe='')}"
            body = {"productType": "PRODUCT", "patches": [quantity_patch(write.to_units)]}
            for rest in itertools.chain(NAIVE_RESTS, itertools.repeat(NAIVE_RESTS[-1])):
                status = http.patch(path, params=where, json=body).status_code
                if status == 401:
                    _log_in(http, config)
                    status = http.patch(path, params=where, json=body).status_code
                if status == 200:
                    break
                told_off.append(1)
                account.time.sleep(rest)

    account.time.run([work] * SENDERS)
    shown_at = account.await_all(account.time.clock.advance)
    return Came(shown_at - began, len(told_off))


def _log_in(http: httpx.Client, config: ConnectionConfig) -> None:
    form = {"grant_type": "refresh_token", **config.secrets}
    token = http.post("/auth/o2/token", data=form).raise_for_status().json()["access_token"]
    http.headers.update({"x-amz-access-token": token, "user-agent": user_agent()})
