"""`reconcile`: a million listings, as a channel was read to show them, held against what we know, as one set.

- ours: what a comparing run does once it has read: what differs is found, classified and recorded with its history. Of
  the listings 0.5 % differ: sales not read, edits, lost writes, listings that are gone, codes of other SKUs.
- floor: the bare join of the same rows on the same keys, counting what differs; nothing is classified or recorded.
- baseline: listing by listing, a page of observations at a time: look it up, ask the pure rules, record it. A sample.
- memory: by how much the process grows while it stages, compares and believes; at a quarter of the size, and at all of
  it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine

from bench.report import Report
from bench.servers import Servers
from bench.shop import ACTOR, analyse
from core import embedded
from core.connections import operations as connections
from core.connections.operations import NewConnection
from core.db import execute, fetch, fetch_one, make_engine, scalar, unit_of_work
from core.inventory import operations as inventory
from core.ports import LevelObservation
from core.reconciliation import comparing, operations, runs
from core.reconciliation.rules import Sight, classify
from core.reconciliation.runs import Observed, Reading
from core.runs import operations as sync_runs

LISTINGS = 1_000_000
BASELINE_LISTINGS = 2_000
DIFFERING = 200
"""One listing of so many differs: 0.5 %."""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
READ_AT = BEGAN + timedelta(hours=2)
STATEMENT_SECONDS = 900
PLACE = "place"


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop of so many listings at one channel, and the run that has read them."""

    listings: int
    reading: Reading


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure everything `rounds` times in turn on the same rows; `size` scales the number of listings."""
    listings = max(2_000, round(LISTINGS * size))
    report = Report("reconcile", f"{listings:,} listings of one channel, one in {DIFFERING} of which differs")
    small_growth, _ = _grow(servers, max(1_000, listings // 4))
    with servers.database() as database, _opened(database) as (engine, owner):
        shop = _build(engine, owner, listings)
        with _watching() as growth:
            staged = _stage(engine, owner, shop)
            bare, ours, single = [], [], []
            for _ in range(rounds):
                bare.append(_bare(engine, shop))
                ours.append(_compare(engine, shop, is_kept=False))
                single.append(_one_by_one(engine, shop, max(50, round(BASELINE_LISTINGS * min(size, 1.0)))))
            at_fault = _faults(engine, shop)
            _compare(engine, shop, is_kept=True)
            believed = _believe(engine, shop)
    floor = report.add("floor: the bare join of the same rows", "listings/s", [listings / value for value in bare])
    figure = report.add("ours: compared, classified and recorded", "listings/s", [listings / value for value in ours])
    baseline = report.add("baseline: listing by listing", "listings/s", single)
    report.add("ours: the whole comparison", "s", ours)
    report.add("floor: the whole join", "s", bare)
    report.add("ours: what listings stand for, besides", "s", [at_fault])
    report.add("ours: staged as it is read", "listings/s", [listings / staged])
    report.add("ours: what differs is believed", "listings/s", [believed])
    report.add("memory: the process grows by", "MB", [growth.most()], f"{listings:,} listings")
    report.add("memory: a quarter of them", "MB", [small_growth], f"{max(1_000, listings // 4):,} listings")
    report.compare("share of the bare join's speed that ours reaches", figure, floor, aim=1 / 3)
    report.compare("ours against listing by listing", figure, baseline)
    return report


def _grow(servers: Servers, listings: int) -> tuple[float, int]:
    """MB that the process grows by while it does all of it once."""
    with servers.database() as database, _opened(database) as (engine, owner):
        shop = _build(engine, owner, listings)
        with _watching() as growth:
            _stage(engine, owner, shop)
            _faults(engine, shop)
            _compare(engine, shop, is_kept=True)
            _believe(engine, shop)
    return growth.most(), listings


@contextmanager
def _opened(database: embedded.Database) -> Iterator[tuple[Engine, Engine]]:
    engine = make_engine(database.url, statement_seconds=STATEMENT_SECONDS)
    owner = make_engine(database.superuser_url, statement_seconds=STATEMENT_SECONDS)
    try:
        yield engine, owner
    finally:
        engine.dispose()
        owner.dispose()


class Growth:
    """By how many MB this process has grown since it was made, at most."""

    def __init__(self) -> None:
        self._first = self._most = _resident_mb()

    def look(self) -> None:
        self._most = max(self._most, _resident_mb())

    def most(self) -> float:
        """Never 0: a page more or less is not what is asked."""
        return max(0.1, self._most - self._first)


@contextmanager
def _watching() -> Iterator[Growth]:
    growth, is_over = Growth(), threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            growth.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield growth
    finally:
        is_over.set()
        watcher.join()
        growth.look()


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the system does not say how much memory a process has")


# --- the shop ---------------------------------------------------------------------------------------------------------


def _build(engine: Engine, owner: Engine, listings: int) -> Shop:
    """A shop whose listings show what they should, a tenth of them written before; a run that is to read them."""
    with unit_of_work(engine) as conn:
        shop_id = connections.open_shop(conn, "Bench", "Europe/London", "GBP", ACTOR, BEGAN)
        place = inventory.open_location(conn, shop_id, "Warehouse", BEGAN)
        new = NewConnection(
            vendor="shopify",
            name="Shopify",
            base_url="http://127.0.0.1:9",
            account_ref="bench",
            guarantee_class="A",
            settings={"locations": {PLACE: place}},
            secrets={},
        )
        connection_id = connections.connect(conn, shop_id, new, [connections.new_key()], ACTOR, BEGAN)
    with unit_of_work(engine) as conn:
        _fill(conn, shop_id, connection_id, place, listings)
    analyse(owner)
    with unit_of_work(engine) as conn:
        asked = operations.request(conn, shop_id, connection_id, "stock", ACTOR, READ_AT)
        sync_runs.start_sync(conn, shop_id, asked.sync_run_id, READ_AT)
        reading = runs.begin(conn, shop_id, asked.sync_run_id, READ_AT)
        assert reading is not None
        runs.take_road(conn, reading, "levels")
    return Shop(listings, reading)


def _fill(conn: Connection, shop_id: int, connection_id: int, place: int, listings: int) -> None:
    where = {"shop": shop_id, "connection": connection_id, "place": place, "ref": PLACE, "count": listings,
             "at": BEGAN}  # fmt: skip
    execute(
        conn,
        """
        insert into skus (shop_id, code, title, is_stocked, created_at)
        select %(shop)s, 'S' || n, 'Article ' || n, true, %(at)s from generate_series(1, %(count)s) n
        """,
        **where,
    )
    execute(
        conn,
        """
        insert into stock_levels (shop_id, sku_id, location_id, on_hand)
        select shop_id, id, %(place)s, 20 + id %% 80 from skus where shop_id = %(shop)s
        """,
        **where,
    )
    execute(
        conn,
        """
        insert into listings (shop_id, connection_id, channel_ref, channel_location_ref, inventory_ref, channel_code,
            title, sku_id, location_id, is_tracked, publishing, publishing_reason, desired_units, published_units,
            published_at, baseline_at, exposed_units, version_at)
        select shop_id, %(connection)s, 'v' || id, %(ref)s, 'i' || id, code, title, id, %(place)s, true, 'on', 'taken',
            20 + id %% 80, 20 + id %% 80, %(at)s, %(at)s, 20 + id %% 80, %(at)s
        from skus where shop_id = %(shop)s order by id
        """,
        **where,
    )
    execute(
        conn,
        """
        insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, exposure_delta_units,
            idempotency_key, batch_position, planned_at, deadline_at, sent_at, outcome, outcome_at)
        select shop_id, connection_id, id, published_units + 3, published_units, 0, 'k' || id, 0, %(at)s, %(at)s,
            %(at)s, 'confirmed', %(at)s
        from listings where shop_id = %(shop)s and id %% 10 = 0 order by id
        """,
        **where,
    )
    execute(
        conn,
        """
        insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units, changed_at)
        select shop_id, id, 'base', exposed_units, exposed_units, exposed_units, %(at)s
        from listings where shop_id = %(shop)s order by id
        """,
        **where,
    )


def _stage(engine: Engine, owner: Engine, shop: Shop) -> float:
    """Seconds to stage all that is read, a page at a time, as a run does it."""
    spent, after = 0.0, 0
    while True:
        with unit_of_work(engine) as conn:
            wanted = runs.to_read(conn, shop.reading, after)
        if wanted is None:
            break
        page = [observed for ref in wanted.refs if (observed := _observed(ref)) is not None]
        after = wanted.last_id
        began = time.perf_counter()
        with unit_of_work(engine) as conn:
            runs.stage(conn, shop.reading, page, str(after))
        spent += time.perf_counter() - began
    with unit_of_work(engine) as conn:
        assert runs.have_read(conn, shop.reading, READ_AT)
    analyse(owner)
    return spent


def _observed(ref: str) -> Observed | None:
    """What the channel shows of an item: of one in DIFFERING something else than it should, in several ways."""
    number = int(ref.removeprefix("i"))
    units, code = 20 + number % 80, f"S{number}"
    if number % DIFFERING == 0:
        way = number // DIFFERING % 5
        if way == 0:
            return None
        units += {1: -2, 2: 5, 3: 3, 4: 0}[way]
        code = f"S{number - 1}" if way == 4 else code
    return Observed(LevelObservation(ref, PLACE, units, READ_AT), code=code)


# --- what is measured -------------------------------------------------------------------------------------------------


def _bare(engine: Engine, shop: Shop) -> float:
    began = time.perf_counter()
    with engine.connect() as conn:
        found = fetch_one(
            conn,
            """
            select count(*) as joined, count(*) filter (where o.units is distinct from l.published_units) as differing
            from listings l join reconciliation_observations o on o.shop_id = l.shop_id
                and o.inventory_ref = l.inventory_ref and o.location_ref = l.channel_location_ref
            where l.shop_id = %(shop)s and l.connection_id = %(connection)s and o.run_id = %(run)s
            """,
            shop=shop.reading.shop_id,
            connection=shop.reading.connection_id,
            run=shop.reading.id,
        )
    spent = time.perf_counter() - began
    if found is None or found["joined"] < shop.listings * 0.99:
        raise AssertionError(f"not all rows were joined: {found}")
    return spent


def _compare(engine: Engine, shop: Shop, *, is_kept: bool) -> float:
    with engine.connect() as conn, conn.begin() as transaction:
        began = time.perf_counter()
        found = comparing.compare(conn, shop.reading, READ_AT)
        spent = time.perf_counter() - began
        recorded = scalar(conn, "select count(*) from discrepancies where shop_id = %(s)s", s=shop.reading.shop_id)
        expected = shop.listings // DIFFERING
        if not expected * 0.99 <= found.found == recorded <= expected * 1.01 + 1:
            raise AssertionError(f"{found} and {recorded} recorded, of {expected} that differ")
        transaction.commit() if is_kept else transaction.rollback()
    return spent


def _faults(engine: Engine, shop: Shop) -> float:
    """Seconds for what needs no reading: codes of other SKUs, and SKUs listed twice at a place."""
    began = time.perf_counter()
    with unit_of_work(engine) as conn:
        comparing.find_faults(conn, shop.reading, READ_AT)
    return time.perf_counter() - began


def _believe(engine: Engine, shop: Shop) -> float:
    """Listings a second that are believed by the path of every observation, a page a unit of work."""
    believed = after = 0
    began = time.perf_counter()
    while True:
        with unit_of_work(engine) as conn:
            page = comparing.believe(conn, shop.reading, after, READ_AT)
        if page is None:
            break
        after, count = page
        believed += count
    if not believed:
        raise AssertionError("nothing was believed")
    return believed / (time.perf_counter() - began)


def _one_by_one(engine: Engine, shop: Shop, count: int) -> float:
    """Listings a second, each looked up and judged by the pure rules; nothing is recorded, in its favour."""
    with engine.connect() as conn:
        rows = fetch(
            conn,
            """
            select inventory_ref, location_ref, units, observed_at from reconciliation_observations
            where shop_id = %(shop)s and run_id = %(run)s limit %(limit)s
            """,
            shop=shop.reading.shop_id,
            run=shop.reading.id,
            limit=count,
        )
        began = time.perf_counter()
        for row in rows:
            known = fetch_one(
                conn,
                """
                select published_units - unseen_units as accounted, published_at from listings
                where shop_id = %(shop)s and connection_id = %(connection)s and inventory_ref = %(item)s
                    and channel_location_ref = %(place)s
                """,
                shop=shop.reading.shop_id,
                connection=shop.reading.connection_id,
                item=row["inventory_ref"],
                place=row["location_ref"],
            )
            assert known is not None
            classify(Sight(row["units"], known["accounted"], is_older=row["observed_at"] < known["published_at"]))
        return len(rows) / (time.perf_counter() - began)
