"""`quota`: 10,000 changed SKUs on Shopify's standard plan (100 points a second, a bucket of 2,000), on virtual time.

Amazon is measured beside it: see `bench.quota_amazon`.

The sandbox's Shopify and our adapter run in one process on one clock that passes only while everybody waits; Redis is
real. A worker is a thread with a channel of its own. What a change costs: 250 of them are set in one call (10 points),
and then their levels are read back, so that the quota binds and not the network.

- points: what the vendor's answers say that each call took; tokens cost none.
- time: from the first call to the last answer. Both buckets begin empty: Shopify's is drained beforehand, and ours
  knows nothing of it. So the plan restores rate times time, and nothing else is there to be spent.
- share: points spent against points restored in that time.
- floor: the points that this costs, at the rate.
- baseline: the same documents as a naive client sends them: half a second between calls, and when it is throttled it
  tries again after a second, then two, four, eight. The same number of workers, each with its own idea of the quota.
- urgent: while two workers read the catalogue and two read levels as fast as they may, somebody sets one SKU to zero
  every two seconds: how long the call waits for quota, the network aside. Beside it the same with one unit more
  instead of none, which is an ordinary call: so would a zero wait in one line with everybody.

A throttle is one of our making where nobody else uses the app's quota; here nobody does.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from bench.report import Report
from bench.servers import Servers
from bench.virtual import Distance, SharedTime
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.adapters.registry import make_channel
from core.adapters.shopify import documents
from core.adapters.shopify.catalogue import items_per_call
from core.adapters.shopify.ids import gid
from core.ports import QuantityWrite, SalesChannel
from sandbox.clock import VirtualClock
from sandbox.inprocess import InProcess

VENDORS = ("shopify", "amazon")
SKUS = 10_000
RATE = 100.0
AIM = 0.95
PER_CALL = 250
WORKERS = (1, 4)
ZEROS = 150
ZERO_EVERY = 2.0
NAIVE_PAUSE = 0.5
NAIVE_RESTS = (1.0, 2.0, 4.0, 8.0)
DOMAIN = "quota.myshopify.com"
ENDPOINT = f"/admin/api/{documents.API_VERSION}/graphql.json"

Chunk = list[QuantityWrite]


@dataclass(slots=True)
class QuotaReport(Report):
    """Fails where we were throttled, or used less of the quota than is asked for."""

    throttled: int = 0

    def failures(self) -> list[str]:
        """Throttles of our making, and shares below the aim."""
        found = [] if not self.throttled else [f"we were throttled {self.throttled} times"]
        return found + [f"{ratio.name}: {ratio.value:.3f}" for ratio in self.ratios if ratio.is_met is False]


@dataclass
class Spent:
    """What calls came to: points, throttles, and the seconds from the first call to the last answer."""

    points: float
    throttled: int
    seconds: float

    @property
    def share(self) -> float:
        """Of what the plan restored meanwhile."""
        return self.points / (self.seconds * RATE)


@dataclass
class Shop:
    """A shop of the sandbox on virtual time, with its bucket drained."""

    world: InProcess
    time: SharedTime
    config: ConnectionConfig
    redis_url: str
    random: Random
    changes: list[QuantityWrite]
    log: list[ApiCall] = field(default_factory=list)

    def road(self) -> Distance:
        """A worker's way there."""
        return Distance(self.world, self.time, Random(self.random.random()))

    def channel(self) -> SalesChannel:
        """A worker's channel."""
        deps = Deps(self.log.append, self.redis_url, self.road(), self.time.date, self.time.sleep, clock=self.time.now)
        return make_channel(self.config, deps)

    def chunks(self) -> Iterator[Chunk]:
        """The changes as the planner would cut them, each call with a key of its own."""
        for number, start in enumerate(range(0, len(self.changes), PER_CALL)):
            part = self.changes[start : start + PER_CALL]
            yield [
                QuantityWrite(
                    w.write_id, w.listing_ref, w.inventory_ref, w.location_ref, w.from_units, w.to_units, str(number)
                )
                for w in part
            ]


def run(servers: Servers, rounds: int, *, size: float = 1.0, vendors: Sequence[str] = VENDORS) -> QuotaReport:
    """Measure everything `rounds` times, each with other delays; `size` scales the number of SKUs."""
    # It measures into a report of this module.
    from bench import quota_amazon

    skus = max(PER_CALL, round(SKUS * size))
    report = QuotaReport("quota", f"{skus:,} changed SKUs on {' and on '.join(vendors)}, virtual time")
    if "shopify" in vendors:
        _measure_shopify(report, servers, rounds, skus, size)
    if "amazon" in vendors:
        quota_amazon.measure(report, servers, rounds, size)
    return report


def _measure_shopify(report: QuotaReport, servers: Servers, rounds: int, skus: int, size: float) -> None:
    ours: dict[int, list[Spent]] = {count: [] for count in WORKERS}
    naive: dict[int, list[Spent]] = {count: [] for count in WORKERS}
    waits: dict[int, list[list[float]]] = {0: [], 11: []}
    numbers = itertools.count(1)
    for seed in range(rounds):
        for count in WORKERS:
            with _shop(servers, skus, seed, next(numbers)) as shop:
                ours[count].append(_ours(shop, count))
            with _shop(servers, skus, seed, next(numbers)) as shop:
                naive[count].append(_naive(shop, count))
        writes = max(20, round(ZEROS * min(1.0, size)))
        for to_units, found in waits.items():
            with _shop(servers, max(PER_CALL, skus // 10), seed, next(numbers)) as shop:
                found.append(_waits(shop, writes, to_units))
                report.throttled += _throttled(shop)
    _draw_up(report, ours, naive, skus)
    zeros, raises = ([_p99(one) for one in waits[to_units]] for to_units in (0, 11))
    report.add("ours: a zero waits for quota, p99", "ms", zeros, "while four workers read all they may")
    report.add("baseline: the same as an ordinary call, p99", "ms", raises)


def _draw_up(report: QuotaReport, ours: dict[int, list[Spent]], naive: dict[int, list[Spent]], skus: int) -> None:
    for count in WORKERS:
        workers = "one worker" if count == 1 else f"{count} workers"
        report.throttled += sum(spent.throttled for spent in ours[count])
        report.add(f"ours, {workers}: SKUs", "SKUs/s", [skus / spent.seconds for spent in ours[count]])
        seconds = report.add(f"ours, {workers}: time", "s", [spent.seconds for spent in ours[count]])
        floor = report.add(
            f"floor of it: points / rate, {workers}", "s", [spent.points / RATE for spent in ours[count]]
        )
        report.add(f"ours, {workers}: throttled", "calls", [spent.throttled for spent in ours[count]])
        other = report.add(f"baseline, {workers}: time", "s", [spent.seconds for spent in naive[count]])
        report.add(f"baseline, {workers}: throttled", "calls", [spent.throttled for spent in naive[count]])
        report.compare(f"share of the quota that ours uses, {workers}", floor, seconds, aim=AIM)
        report.compare(f"time of the baseline against ours, {workers}", other, seconds)


def _p99(waits: Sequence[float]) -> float:
    """Milliseconds."""
    return statistics.quantiles(waits, n=100, method="inclusive")[98] * 1000


@contextmanager
def _shop(servers: Servers, skus: int, seed: int, number: int) -> Iterator[Shop]:
    clock = VirtualClock()
    with tempfile.TemporaryDirectory(prefix="switchyard-quota-") as folder, InProcess(Path(folder), clock) as world:
        with world.client("/_control", timeout=None) as control:
            opened = _asked(control, "/shops", {"domain": DOMAIN, "plan": "standard"})
            samples = [{"title": "Mug", "sku": f"SKU-{n}", "price": "1.00", "available": 10} for n in range(skus)]
            _asked(control, f"/shopify/{DOMAIN}/products", {"products": samples})
            levels = control.get(f"/shopify/{DOMAIN}/levels").raise_for_status().json()["levels"]
        secrets = {name: opened[name] for name in ("client_id", "client_secret")}
        # A connection of its own has a bucket of its own: one that Redis has never heard of.
        config = ConnectionConfig(1, number, "shopify", f"{world.url}/shopify/{DOMAIN}", DOMAIN, "GBP", {}, secrets)
        shop = Shop(world, SharedTime(clock), config, servers.redis_url, Random(seed), _changes(levels, Random(seed)))
        _drain(shop)
        yield shop


def _asked(control: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return control.post(path, json=body).raise_for_status().json()


def _changes(levels: list[dict[str, Any]], random: Random) -> list[QuantityWrite]:
    """Every SKU shows another number now: some more, some less."""
    return [
        QuantityWrite(
            number,
            str(number),
            _number(level["inventory_item_id"]),
            _number(level["location_id"]),
            level["available"],
            random.choice([0, 5, 8, 11, 15, 30]),
            "",
        )
        for number, level in enumerate(levels)
    ]


def _number(ref: str) -> str:
    return ref.rpartition("/")[2]


def _ours(shop: Shop, count: int) -> Spent:
    began = shop.time.now()
    chunks = shop.chunks()
    shop.time.run([lambda: _work(shop, chunks, shop.channel()) for _ in range(count)])
    points = sum(call.cost or 0.0 for call in shop.log)
    return Spent(points, _throttled(shop), shop.time.now() - began)


def _work(shop: Shop, chunks: Iterator[Chunk], channel: SalesChannel) -> None:
    """One worker: set, read back, and the next."""
    channel.locations()
    for chunk in iter(lambda: next(chunks, None), None):
        results = channel.set_quantities(chunk)
        seen = {level.inventory_ref: level.units for level in channel.levels([w.inventory_ref or "" for w in chunk])}
        assert {result.outcome for result in results} == {"confirmed"}, "nobody else writes here"
        assert all(seen[write.inventory_ref or ""] == write.to_units for write in chunk), "what was set is shown"


def _throttled(shop: Shop) -> int:
    return sum(call.outcome == "throttled" for call in shop.log)


def _waits(shop: Shop, count: int, to_units: int) -> list[float]:
    """Seconds that each of `count` writes of one SKU waited for quota under a load, the road aside."""
    is_over: list[bool] = []
    waits: list[float] = []

    def read_all(channel: SalesChannel) -> None:
        while not is_over:
            for _ in channel.listings():
                if is_over:
                    return

    def read_levels(channel: SalesChannel) -> None:
        refs = [change.inventory_ref or "" for change in shop.changes]
        while not is_over:
            channel.levels(refs[:PER_CALL])

    def set_some(channel: SalesChannel) -> None:
        channel.locations()
        shop.time.sleep(30)
        for change in shop.changes[:count]:
            write = QuantityWrite(
                change.write_id,
                change.listing_ref,
                change.inventory_ref,
                change.location_ref,
                10,
                to_units,
                f"z{change.write_id}",
            )
            asked_at = shop.time.date()
            assert channel.set_quantities([write])[0].outcome == "confirmed"
            call = next(call for call in reversed(shop.log) if call.operation == "set_quantities")
            waits.append((call.called_at - asked_at).total_seconds())
            shop.time.sleep(ZERO_EVERY)
        is_over.append(True)

    load = [lambda: read_all(shop.channel())] * 2 + [lambda: read_levels(shop.channel())] * 2
    shop.time.run([*load, lambda: set_some(shop.channel())])
    return waits


@dataclass
class Naive:
    """A client that knows of no quota before it is told off."""

    shop: Shop
    http: httpx.Client
    throttled: int = 0
    points: float = 0.0

    def run(self, document: str, variables: dict[str, Any]) -> float:
        """Send until it goes through; returns the seconds spent on being told off."""
        rested = 0.0
        for rest in itertools.chain(NAIVE_RESTS, itertools.repeat(NAIVE_RESTS[-1])):
            began = self.shop.time.now()
            answer = self.http.post(ENDPOINT, json={"query": document, "variables": variables}).json()
            cost = answer["extensions"]["cost"]
            if cost["actualQueryCost"] is not None:
                self.points += cost["actualQueryCost"]
                break
            self.throttled += 1
            self.shop.time.sleep(rest)
            rested += self.shop.time.now() - began
        self.shop.time.sleep(NAIVE_PAUSE)
        return rested


def _naive_client(shop: Shop, transport: httpx.BaseTransport) -> Naive:
    form = {"grant_type": "client_credentials", **shop.config.secrets}
    http = httpx.Client(transport=transport, base_url=shop.config.base_url, timeout=None)
    token = http.post("/admin/oauth/access_token", data=form).raise_for_status().json()["access_token"]
    http.headers["X-Shopify-Access-Token"] = token
    return Naive(shop, http)


def _naive(shop: Shop, count: int) -> Spent:
    began = shop.time.now()
    clients: list[Naive] = []
    chunks = shop.chunks()

    def work() -> None:
        client = _naive_client(shop, shop.road())
        clients.append(client)
        for chunk in iter(lambda: next(chunks, None), None):
            client.run(documents.SET_QUANTITIES, _setting(chunk))
            for start in range(0, len(chunk), items_per_call(1)):
                client.run(documents.ITEMS, _items(chunk[start : start + items_per_call(1)]))

    shop.time.run([work] * count)
    points, throttled = sum(client.points for client in clients), sum(client.throttled for client in clients)
    return Spent(points, throttled, shop.time.now() - began)


def _setting(chunk: Chunk) -> dict[str, Any]:
    quantities = [
        {
            "inventoryItemId": gid("InventoryItem", str(write.inventory_ref)),
            "locationId": gid("Location", write.location_ref),
            "quantity": write.to_units,
            "changeFromQuantity": write.from_units,
        }
        for write in chunk
    ]
    given = {"name": "available", "reason": "correction", "quantities": quantities}
    return {"input": given, "key": chunk[0].idempotency_key}


def _items(writes: Sequence[QuantityWrite]) -> dict[str, Any]:
    return {"ids": [gid("InventoryItem", str(write.inventory_ref)) for write in writes], "levels": 1}


def _drain(shop: Shop) -> None:
    """Leave nothing in Shopify's bucket: no time passes meanwhile."""
    client = _naive_client(shop, shop.world)
    each = 4  # an item with its only level
    left = 2_000
    while left >= each:
        size = min(items_per_call(1), len(shop.changes), left // each)
        query = {"query": documents.ITEMS, "variables": _items(shop.changes[:size])}
        cost = client.http.post(ENDPOINT, json=query).raise_for_status().json()["extensions"]["cost"]
        left = int(cost["throttleStatus"]["currentlyAvailable"])
