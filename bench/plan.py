"""`plan`: a rule change for every listing of a shop re-planned, alone and while somebody keeps booking.

- ours: the rule is saved as from the screen, and the job's own loop brings the listings to it, a chunk a unit of work.
- floor: one bare update of the same columns of the same rows, nothing looked up, nothing locked beforehand.
- baseline: listing by listing, each in a unit of work of its own: lock it, read its rules and its stock, ask the pure
  rules, update it. A sample of the listings; neither a mark is kept nor a push rung for, which is in its favour.
- bookings: a process that books orders of three lines each, one a unit of work, by the same operations as the inbox:
  alone, and on the same SKUs while ours is at work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import redis
from sqlalchemy import Engine

from bench.report import Report
from bench.servers import Servers
from bench.shop import ACTOR, analyse
from core import bootstrap, embedded
from core.catalog import operations as catalog
from core.catalog.operations import ListingSource
from core.clock import utc_now
from core.config import Settings
from core.connections import operations as connections
from core.connections.operations import NewConnection
from core.db import execute, fetch, fetch_one, make_engine, read_only, scalar, unit_of_work
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.inventory.rules import offer
from core.policies import operations as policies
from core.policies import queries
from core.policies.queries import Change
from core.policies.rules import TERMS, Scope, Terms
from core.ports import ChannelListing, LevelObservation
from workers.jobs.policies import replan_now

LISTINGS = 100_000
BASELINE_LISTINGS = 1_000
CATEGORIES = 20
PAGE = 2_000
BOOKING_SECONDS = 10.0
PLACE = "place"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

RULES = (
    (Scope(), Terms(safety_stock_units=2)),
    (Scope(category="C3"), Terms(share_percent=Decimal(40))),
    (Scope(category="C7"), Terms(cap_units=9, priority=5)),
)
CHANGE = Change(Scope(), Terms(safety_stock_units=1, share_percent=Decimal(70), buffer_units=2))


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop of `listings` listings on two connections, with some rules in force."""

    shop_id: int
    connection_id: int
    listings: int


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure everything `rounds` times in turn, each on a fresh copy; `size` scales the number of listings."""
    listings = max(400, round(LISTINGS * size)) // 2 * 2
    report = Report(
        "plan", f"{listings:,} listings of {listings // 2:,} SKUs on two channels, chunks of {policies.CHUNK}"
    )
    ours, floor, one_by_one, beside, preview = [], [], [], [], []
    alone_rate, alone_wait, beside_rate, beside_wait, beside_slow, alone_slow = [], [], [], [], [], []
    with servers.database() as built:
        shop = _build(built, listings)
        for number in range(rounds):
            with _copy(servers, built, f"plan_{number}_ours") as database:
                preview.append(_preview(database, shop))
                ours.append(_replan(servers, database, shop))
            with _copy(servers, built, f"plan_{number}_floor") as database:
                floor.append(_floor(database, shop))
            with _copy(servers, built, f"plan_{number}_single") as database:
                one_by_one.append(_listing_by_listing(database, shop, max(20, round(BASELINE_LISTINGS * size))))
            with _copy(servers, built, f"plan_{number}_bookings") as database:
                with _booking(servers, database, shop) as booked:
                    time.sleep(max(1.0, BOOKING_SECONDS * min(size, 1.0)))
                alone_rate.append(booked["a_second"])
                alone_wait.append(booked["longest_ms"])
                alone_slow.append(booked["p99_ms"])
            with _copy(servers, built, f"plan_{number}_beside") as database:
                with _booking(servers, database, shop) as booked:
                    beside.append(_replan(servers, database, shop))
                beside_rate.append(booked["a_second"])
                beside_wait.append(booked["longest_ms"])
                beside_slow.append(booked["p99_ms"])
    planned = report.add("ours: listings re-planned", "listings/s", ours)
    report.add("ours: the whole change", "s", [listings / value for value in ours])
    report.add("ours: its preview", "s", preview)
    bare = report.add("floor: one bare update of the same rows", "listings/s", floor)
    single = report.add("baseline: listing by listing", "listings/s", one_by_one)
    report.add("ours, while somebody books", "listings/s", beside)
    rate_alone = report.add("bookings alone", "orders/s", alone_rate)
    rate_beside = report.add("bookings while re-planning", "orders/s", beside_rate)
    report.add("a booking alone: p99", "ms", alone_slow)
    report.add("a booking while re-planning: p99", "ms", beside_slow)
    report.add("a booking alone: the longest", "ms", alone_wait)
    report.add("a booking while re-planning: the longest", "ms", beside_wait)
    report.compare("ours against listing by listing", planned, single, aim=10)
    report.compare("share of the bare update that ours reaches", planned, bare)
    report.compare("bookings while re-planning against alone", rate_beside, rate_alone, aim=0.5)
    return report


def _build(database: embedded.Database, listings: int) -> Shop:
    """A shop whose channels show what they should, under rules that are in force."""
    engine, owner = make_engine(database.url), make_engine(database.superuser_url)
    now = utc_now()
    with unit_of_work(engine) as conn:
        shop_id = connections.open_shop(conn, "Bench", "Europe/London", "GBP", ACTOR, now)
        place = inventory.open_location(conn, shop_id, "Warehouse", now)
        ids = [
            connections.connect(conn, shop_id, _connection(vendor, grade, place), [connections.new_key()], ACTOR, now)
            for vendor, grade in (("shopify", "A"), ("amazon", "B"))
        ]
    numbers = range(listings // 2)
    for connection_id in ids:
        source = ListingSource(shop_id, connection_id, connection_id == ids[0], {PLACE: place})
        for start in range(0, len(numbers), PAGE):
            page = numbers[start : start + PAGE]
            with unit_of_work(engine) as conn:
                catalog.take_in(conn, source, [_listing(number) for number in page], now)
                if source.creates_skus:
                    inventory.adjust(conn, shop_id, place, [_receipt(number) for number in page], ACTOR, now)
            if start == 0:
                # Or foreign keys would be checked as if the tables were empty, for all that follow.
                analyse(owner)
        with unit_of_work(engine) as conn:
            inventory.set_baselines(conn, shop_id, connection_id)
            catalog.begin_publishing(conn, shop_id, connection_id)
    with unit_of_work(engine) as conn:
        policies.save(conn, shop_id, [Change(scope, terms) for scope, terms in RULES], ACTOR, now)
        version = policies.unfinished(conn, shop_id)
        assert version is not None
        found = queries.listings_of_version(conn, shop_id, version.version_id, 0)
        policies.begin_replan(conn, shop_id, version.version_id, len(found), now)
        policies.replan(conn, shop_id, version.version_id, found, True, now)
        execute(conn, "update listings set published_units = desired_units")
    analyse(owner)
    engine.dispose()
    owner.dispose()
    return Shop(shop_id, ids[0], listings)


def _connection(vendor: str, grade: str, place: int) -> NewConnection:
    return NewConnection(
        vendor=vendor,
        name=vendor.capitalize(),
        base_url="http://127.0.0.1:9",
        account_ref="bench",
        guarantee_class=grade,
        settings={"is_sku_source": vendor == "shopify", "locations": {PLACE: place}},
        secrets={},
    )


def _receipt(number: int) -> Adjustment:
    return Adjustment(f"opening:{number}", _code(number), _units(number), "receipt", BEGAN)


def _code(number: int) -> str:
    return f"S{number:06}"


def _units(number: int) -> int:
    return 20 + number % 80


def _listing(number: int) -> ChannelListing:
    return ChannelListing(
        ref=f"v{number}",
        inventory_ref=f"i{number}",
        product_ref=None,
        code=_code(number),
        barcode=None,
        title=f"Article {number}",
        is_tracked=True,
        status="active",
        version_at=BEGAN,
        levels=(LevelObservation(f"i{number}", PLACE, _units(number), BEGAN),),
        category=f"C{number % CATEGORIES}",
    )


@contextmanager
def _copy(servers: Servers, built: embedded.Database, name: str) -> Iterator[embedded.Database]:
    made = embedded.create_database(servers.home, name, template=built.name)
    owner = make_engine(made.superuser_url)
    try:
        # A copy has no statistics of its running: the first minute is not what is measured.
        analyse(owner)
        owner.dispose()
        yield made
    finally:
        owner.dispose()
        embedded.drop_database(servers.home, name)


def _replan(servers: Servers, database: embedded.Database, shop: Shop) -> float:
    """Listings a second, from the saved version to the last listing."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    app = bootstrap.make_application(Settings.from_environment(servers.environment(database)), name="bench-plan")
    try:
        with unit_of_work(app.engine) as conn:
            policies.save(conn, shop.shop_id, [CHANGE], ACTOR, utc_now())
        began = time.perf_counter()
        counts = replan_now(app, shop.shop_id, 3600)
        spent = time.perf_counter() - began
        _check(app.engine, shop, counts)
    finally:
        app.engine.dispose()
    return shop.listings / spent


def _preview(database: embedded.Database, shop: Shop) -> float:
    """Seconds until a person sees what each channel would show, and the first page of listings."""
    engine = make_engine(database.url)
    began = time.perf_counter()
    with read_only(engine) as conn:
        policies.check(conn, shop.shop_id, [CHANGE])
        found = queries.preview(conn, shop.shop_id, [CHANGE])
        rows = queries.preview_rows(conn, shop.shop_id, [CHANGE])
    spent = time.perf_counter() - began
    engine.dispose()
    if sum(each.listings for each in found.channels) != shop.listings or len(rows) != queries.PREVIEW_ROWS:
        raise AssertionError(f"the preview is not of all listings: {found}")
    return spent


def _check(engine: Engine, shop: Shop, counts: dict[str, int]) -> None:
    """A figure counts only for work that was done."""
    if (counts["listings"], counts["left"]) != (shop.listings, 0) or counts["changed"] < shop.listings * 0.9:
        raise AssertionError(f"not all was re-planned: {counts}")
    with engine.connect() as conn:
        wrong = scalar(
            conn,
            f"""
            select count(*) from ({queries.offered(queries.LIVING, "l.shop_id = %(shop)s")}) r
            join listings l on l.shop_id = r.shop_id and l.id = r.listing_id
            where ({_terms("l")}) is distinct from ({_terms("r")}) or l.desired_units <> {queries.OFFER.format("r")}
            """,
            shop=shop.shop_id,
        )
    if wrong:
        raise AssertionError(f"{wrong} listings do not show what their rule comes to")


def _terms(relation: str) -> str:
    return ", ".join(f"{relation}.{name}" for name in TERMS)


def _floor(database: embedded.Database, shop: Shop) -> float:
    engine = make_engine(database.url)
    began = time.perf_counter()
    with unit_of_work(engine) as conn:
        touched = execute(
            conn,
            """
            update listings set safety_stock_units = 1, share_percent = 70, buffer_units = 2, floor_units = 0,
                cap_units = null, priority = 0, is_offered = true, desired_units = desired_units - 1, short_units = 0
            where shop_id = %(shop)s
            """,
            shop=shop.shop_id,
        )
    spent = time.perf_counter() - began
    engine.dispose()
    if touched != shop.listings:
        raise AssertionError(f"{touched} rows instead of {shop.listings}")
    return touched / spent


def _listing_by_listing(database: embedded.Database, shop: Shop, count: int) -> float:
    engine = make_engine(database.url)
    with unit_of_work(engine) as conn:
        policies.save(conn, shop.shop_id, [CHANGE], ACTOR, utc_now())
        ids = [row["id"] for row in fetch(conn, "select id from listings order by id limit %(limit)s", limit=count)]
    began = time.perf_counter()
    for listing_id in ids:
        with unit_of_work(engine) as conn:
            fetch(conn, "select 1 from listings where id = %(id)s for no key update", id=listing_id)
            found = queries.explain(conn, shop.shop_id, listing_id)
            level = fetch_one(
                conn,
                """
                select k.available from listings l join stock_levels k
                    on k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = l.location_id
                where l.shop_id = %(shop)s and l.id = %(id)s
                """,
                shop=shop.shop_id,
                id=listing_id,
            )
            assert found is not None
            assert level is not None
            execute(
                conn,
                f"""
                update listings set {", ".join(f"{name} = %({name})s" for name in TERMS)}, desired_units = %(units)s,
                    short_units = %(short)s where shop_id = %(shop)s and id = %(id)s
                """,
                shop=shop.shop_id,
                id=listing_id,
                units=offer(level["available"], found.rule),
                short=max(0, -level["available"]),
                **{name: getattr(found.rule, name) for name in TERMS},
            )
    spent = time.perf_counter() - began
    engine.dispose()
    return len(ids) / spent


@contextmanager
def _booking(servers: Servers, database: embedded.Database, shop: Shop) -> Iterator[dict[str, Any]]:
    """A process that books for the length of the block; afterwards the yielded dict holds what it says of it."""
    words = [str(shop.shop_id), str(shop.connection_id), str(shop.listings // 2)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.processes", "book", *words],
        env=servers.environment(database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline().strip() != "ready":
            raise AssertionError("the booking process did not begin")
        yield said
        process.stdin.close()
        said.update(json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait(30)
