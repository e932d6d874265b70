"""`catalogue`: 100,000 products with 300,000 variants told to an empty Klaviyo, on virtual time.

The sandbox's Klaviyo and our adapter run in one process on one clock that passes only while everybody waits; Redis and
Postgres are real, and what they and we take costs no virtual time. A worker is a thread that holds a seat of the target
and drains it for 20 seconds, again and again.

- time: from the first ring to the last variant that is known to be there.
- floor: the calls of the operation that was called most, at the vendor's own rate of 750 a minute, and what the vendor
  took for the first job of items and the last one of variants: before the one no variant may come, and after the other
  nothing is left to be sent.
- baseline: a client that hands in a job, asks for it every second until it is over, and then goes on with the next;
  when it is throttled it tries again after a second, then two, four, eight. It is given a twentieth of the jobs and its
  time is multiplied.

A throttle is one of our making where nobody else uses the account; here nobody does.
"""

from __future__ import annotations

import itertools
import tempfile
import time as real_time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
from sqlalchemy import Engine

from bench.report import Report
from bench.servers import Servers
from bench.virtual import Distance, SharedTime
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.adapters.klaviyo.operations import submitting
from core.adapters.registry import make_target
from core.audit import Actor
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.products.writing import Put, put_products
from core.connections import operations as connections
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow, connection
from core.db import count_catalogue, count_grown_tables, make_engine, read_only, scalar, unit_of_work
from core.targets import queries
from sandbox.clock import VirtualClock
from sandbox.inprocess import InProcess
from workers.targets import Seat

ITEMS = 100_000
VARIANTS_EACH = 3
A_MINUTE = 750.0
AIM = 0.95
AIMED_FROM = 1.0
"""Of the size: below it the vendor's own time for two jobs is most of what there is."""
WORKERS = (1, 4)
DRAIN_SECONDS = 20.0
NAIVE_PART = 20
NAIVE_LOOKS_EVERY = 1.0
NAIVE_RESTS = (1.0, 2.0, 4.0, 8.0)
ENTRIES = 100
HEADERS = {"revision": "2026-07-15", "Accept": "application/vnd.api+json", "Content-Type": "application/vnd.api+json"}
ACTOR = Actor("bench", "a catalogue to be told")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class CatalogueReport(Report):
    """Fails where we were throttled, used less of the quota than is asked for, or told something wrong."""

    throttled: int = 0
    missing: int = 0

    def failures(self) -> list[str]:
        """What must not be."""
        found = [] if not self.throttled else [f"we were throttled {self.throttled} times"]
        if self.missing:
            found.append(f"{self.missing} entries are not there")
        return found + [f"{ratio.name}: {ratio.value:.3f}" for ratio in self.ratios if ratio.is_met is False]


@dataclass
class Account:
    """An account of the sandbox on virtual time, and the connection that stands for it."""

    world: InProcess
    time: SharedTime
    engine: Engine
    row: ConnectionRow
    key: str
    redis_url: str
    random: Random
    log: list[ApiCall] = field(default_factory=list)

    def road(self) -> Distance:
        """A worker's way there."""
        return Distance(self.world, self.time, Random(self.random.random()))

    def seat(self, number: int) -> Seat:
        """A worker's."""
        row, time = self.row, self.time
        deps = Deps(self.log.append, self.redis_url, self.road(), time.date, time.sleep, clock=time.now)
        settings = dict(row.settings)
        config = ConnectionConfig(
            row.shop_id, row.id, row.vendor, row.base_url, row.account_ref, "GBP", settings, {"private_key": self.key}
        )
        api = make_target(config, deps)
        return Seat(
            self.engine, queries.target_of(row), api, number, time.date, time.now, time.sleep, together=time.together
        )


@dataclass
class Told:
    """What telling it came to."""

    seconds: float
    floor: float
    calls: int
    throttled: int
    missing: int
    real_seconds: float


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> CatalogueReport:
    """Measure with one worker and with four, `rounds` times each; `size` scales the number of products."""
    items = max(ENTRIES, round(ITEMS * size))
    what = f"{items:,} products with {items * VARIANTS_EACH:,} variants told to Klaviyo, virtual time"
    report = CatalogueReport("catalogue", what)
    numbers = itertools.count(1)
    for count in WORKERS:
        ours, naive = [], []
        for seed in range(rounds):
            with _account(servers, items, seed, next(numbers)) as account:
                ours.append(_ours(account, count))
            with _account(servers, 0, seed, next(numbers)) as account:
                naive.append(_naive(account, items, count))
        _draw_up(report, ours, naive, count, is_aimed=size >= AIMED_FROM)
    return report


def _draw_up(report: CatalogueReport, ours: list[Told], naive: list[float], count: int, *, is_aimed: bool) -> None:
    workers = "one worker" if count == 1 else f"{count} workers"
    report.throttled += sum(told.throttled for told in ours)
    report.missing += sum(told.missing for told in ours)
    seconds = report.add(f"ours, {workers}: time", "s", [told.seconds for told in ours])
    floor = report.add(f"floor of it, {workers}", "s", [told.floor for told in ours])
    report.add(f"ours, {workers}: calls", "calls", [told.calls for told in ours])
    report.add(f"ours, {workers}: throttled", "calls", [told.throttled for told in ours])
    report.add(f"ours, {workers}: computing", "s", [told.real_seconds for told in ours], "real time, sandbox included")
    other = report.add(f"baseline, {workers}: time", "s", naive, f"of a {NAIVE_PART}th of the jobs, multiplied")
    report.compare(f"share of the quota that ours uses, {workers}", floor, seconds, aim=AIM if is_aimed else None)
    report.compare(f"time of the baseline against ours, {workers}", other, seconds)


@contextmanager
def _account(servers: Servers, items: int, seed: int, number: int) -> Iterator[Account]:
    clock = VirtualClock()
    with (
        tempfile.TemporaryDirectory(prefix="switchyard-catalogue-") as folder,
        InProcess(Path(folder), clock) as world,
        servers.database() as database,
    ):
        with world.client("/_control", timeout=None) as control:
            opened = control.post("/klaviyo", json={"name": f"Bench {number}"}).raise_for_status().json()
        engine = make_engine(database.url, pool_size=80)
        try:
            row = _shop(engine, f"{world.url}/klaviyo", f"{opened['public_key']}-{number}")
            _fill(engine, row.shop_id, items)
            time, random = SharedTime(clock), Random(seed)
            yield Account(world, time, engine, row, opened["private_key"], servers.redis_url, random)
        finally:
            engine.dispose()


def _shop(engine: Engine, base_url: str, ref: str) -> ConnectionRow:
    with unit_of_work(engine) as conn:
        shop_id = connections.open_shop(conn, "Bench", "Europe/London", "GBP", ACTOR, NOW)
        new = NewConnection(
            "klaviyo", "Klaviyo", base_url, ref, queries.TARGET_CLASS, {"storefront_url": "https://shop.test"}, {}
        )
        made = connections.connect(conn, shop_id, new, (connections.new_key(),), ACTOR, NOW)
        return connection(conn, shop_id, made)


def _fill(engine: Engine, shop_id: int, items: int) -> None:
    for start in range(0, items, 1_000):
        puts = [Put(_product(number)) for number in range(start, min(items, start + 1_000))]
        with unit_of_work(engine) as conn:
            put_products(conn, shop_id, puts, "imported", ACTOR, NOW)
        if start % 10_000 == 0:
            count_grown_tables(engine)
    count_catalogue(engine)


def _product(number: int) -> ProductDocument:
    variants = tuple(
        VariantDocument(f"P{number}-{size}", "GBP", (size,), price_minor=1_000 + number % 90 * 10)
        for size in ("S", "M", "L")[:VARIANTS_EACH]
    )
    words = f"<p>Product {number} is made of good things, and washes well.</p>" * 3
    return ProductDocument(
        f"p-{number}", f"Product {number}", variants, words, "Makers", options=("Size",), tags=("all", "new")
    )


def _ours(account: Account, count: int) -> Told:
    began, really = account.time.now(), real_time.monotonic()
    ended: list[float] = []

    def work(number: int) -> None:
        seat = account.seat(number)
        while not _is_told(account):
            seat.drain(DRAIN_SECONDS)
            if seat.problem is not None:
                raise RuntimeError(seat.problem)
        ended.append(account.time.now())

    account.time.run([lambda number=number: work(number) for number in range(1, count + 1)])  # type: ignore[misc]
    took = real_time.monotonic() - really
    throttled = sum(call.outcome == "throttled" for call in account.log)
    return Told(min(ended) - began, _floor(account), len(account.log), throttled, _missing(account), took)


def _is_told(account: Account) -> bool:
    with read_only(account.engine) as conn:
        return bool(
            scalar(
                conn,
                """
                select count(*) > 0 and bool_and(confirmed_hash is not distinct from desired_hash and is_known)
                    and not exists (select from products p where not exists (
                        select from target_entries e where e.kind = 'item' and e.entity_id = p.id))
                from target_entries
                """,
            )
        )


def _missing(account: Account) -> int:
    """How many of ours the sandbox does not hold."""
    with account.world.client("/_control", timeout=None) as control:
        ref = account.row.account_ref.partition("-")[0]
        held = control.get(f"/klaviyo/{ref}/catalogue").raise_for_status().json()
    with read_only(account.engine) as conn:
        wanted = scalar(conn, "select count(*) from target_entries where desired_hash is not null")
    return int(wanted) - sum(len(one) for one in held.values())


def _floor(account: Account) -> float:
    """The most called operation at the vendor's rate, and the vendor's own time at both ends."""
    calls: dict[str, int] = {}
    for call in account.log:
        calls[call.operation] = calls.get(call.operation, 0) + 1
    with account.world.client("/_control", timeout=None) as control:
        ref = account.row.account_ref.partition("-")[0]
        jobs: list[dict[str, Any]] = control.get(f"/klaviyo/{ref}/jobs").raise_for_status().json()["jobs"]
    items = [job for job in jobs if job["kind"] == "item"]
    variants = [job for job in jobs if job["kind"] == "variant"]
    ends = [job["completed_at"] - job["created_at"] for job in (items[0], variants[-1])]
    most = calls[submitting("variant", "create")]
    return most / A_MINUTE * 60 + sum(ends)


@dataclass
class Naive:
    """A client that does one thing after the other, and knows of no quota before it is told off."""

    account: Account
    http: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send until it goes through."""
        for rest in itertools.chain(NAIVE_RESTS, itertools.repeat(NAIVE_RESTS[-1])):
            answer = self.http.request(method, f"/klaviyo/api/{path}", json=body)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer.raise_for_status().json()
            self.account.time.sleep(rest)
        raise AssertionError("it is tried for ever")

    def tell(self, kind: str, entries: list[dict[str, Any]]) -> None:
        """One job from its beginning to its end."""
        name = f"catalog-{kind}-bulk-create-job"
        body = {"data": {"type": name, "attributes": {f"{kind}s": {"data": entries}}}}
        ref = self.ask("POST", f"{name}s", body)["data"]["id"]
        while self.ask("GET", f"{name}s/{ref}")["data"]["attributes"]["status"] != "complete":
            self.account.time.sleep(NAIVE_LOOKS_EVERY)


def _naive(account: Account, items: int, count: int) -> float:
    """Seconds for all of it, from a part."""
    part = max(ENTRIES, items // NAIVE_PART)
    began = account.time.now()
    starts = iter(range(0, part, ENTRIES))

    def work() -> None:
        headers = {**HEADERS, "Authorization": f"Klaviyo-API-Key {account.key}"}
        http = httpx.Client(transport=account.road(), base_url=account.world.url, timeout=None, headers=headers)
        client = Naive(account, http)
        for start in iter(lambda: next(starts, None), None):
            numbers = range(start, min(part, start + ENTRIES))
            client.tell("item", [_item(number) for number in numbers])
            variants = [_variant(number, size) for number in numbers for size in range(VARIANTS_EACH)]
            for first in range(0, len(variants), ENTRIES):
                client.tell("variant", variants[first : first + ENTRIES])

    account.time.run([work] * count)
    return (account.time.now() - began) * items / part


def _item(number: int) -> dict[str, Any]:
    said = {"external_id": str(number), "title": f"Product {number}", "description": "Good.", "url": "https://a.test"}
    return {"type": "catalog-item", "attributes": said}


def _variant(number: int, size: int) -> dict[str, Any]:
    said = {**_item(number)["attributes"], "external_id": f"{number}-{size}", "sku": f"P{number}-{size}"}
    said |= {"inventory_quantity": 0, "price": 10.0}
    item = {"type": "catalog-item", "id": f"$custom:::$default:::{number}"}
    return {"type": "catalog-variant", "attributes": said, "relationships": {"item": {"data": item}}}
