"""Comparisons as the jobs make them, with Shopify and Amazon of the sandbox, on real Postgres: each cause from its
reading to its end; and a run that is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded, invariants
from core.adapters.base import ConnectionConfig
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import execute, read_only, unit_of_work
from core.errors import Retryable
from core.reconciliation import operations, queries, runs
from core.reconciliation.operations import Chosen
from core.reconciliation.rules import Policy
from core.runs import control
from sandbox.inprocess import InProcess
from tests.adapters.accounts import Account, amazon_throttled, shopify_account, shopify_throttled
from tests.adapters.canned_amazon_orders import CannedOrders
from tests.adapters.canned_shopify import CannedShop
from tests.adapters.floor import Floor
from tests.adapters.transports import Bumpy
from tests.conftest import TestServers
from tests.factories import ACTOR, unique
from tests.sandbox.outside import SellerSide, ShopSide, World, availability, wait_for
from workers import exports
from workers.jobs import connections as connection_jobs
from workers.jobs import reconciliation as jobs
from workers.jobs.exposure import sweep_now
from workers.jobs.stock import check_lane

FACTOR = 2000.0
CODES = ("MUG", "CUP", "PEN")
UNITS = 10


class Hurried(World):
    """The sandbox in this process; its delays and quotas are over two thousand times as fast, its dates are real."""

    def __init__(self, folder: Path) -> None:
        self.url = InProcess.url
        self.world = InProcess(folder)
        self.http = self.world.client(timeout=30)
        self.post("/clock", factor=FACTOR)

    def client(self, path: str = "", **options: Any) -> httpx.Client:
        return self.world.client(path, **options)


@dataclass
class Side:
    """A connection to the sandbox whose stock was taken over, and what is done to it there."""

    floor: Floor
    row: ConnectionRow
    vendor: ShopSide | SellerSide

    def shown(self, code: str) -> int:
        if isinstance(self.vendor, SellerSide):
            return self.vendor.in_force(code)
        path = f"/shopify/{self.vendor.domain}/levels"
        (level,) = [level for level in self.vendor.outside.get(path)["levels"] if level["sku"] == code]
        return int(level["available"])

    def type(self, code: str, units: int) -> None:
        """Somebody types a number at the channel, and nobody tells us."""
        if isinstance(self.vendor, SellerSide):
            assert self.vendor.patch(code, availability("replace", quantity=units)).json()["status"] == "ACCEPTED"
            wait_for(lambda: self.shown(code) == units)
        else:
            self.vendor.control("adjustment", sku=code, available=units)

    def sell(self, code: str, units: int) -> None:
        if isinstance(self.vendor, SellerSide):
            self.vendor.outside.post(f"/amazon/{self.vendor.id}/sales", sku=code, quantity=units)
        else:
            self.vendor.place((code, units))

    def compare(self, sku: str | None = None) -> dict[str, Any]:
        with unit_of_work(self.floor.engine) as conn:
            asked = operations.request(conn, self.row.shop_id, self.row.id, "stock", ACTOR, utc_now(), sku)
        return jobs.reconcile_stock(shop_id=self.row.shop_id, connection_id=self.row.id, sync_run_id=asked.sync_run_id)

    def was_taken_over_a_minute_ago(self) -> None:
        """So that something can have happened since by clocks that agree."""
        with unit_of_work(self.floor.engine) as conn:
            execute(
                conn,
                """
                update listings set baseline_at = baseline_at - interval '1 minute',
                    opening_at = opening_at - interval '1 minute', published_at = published_at - interval '1 minute'
                where shop_id = %(shop)s
                """,
                shop=self.row.shop_id,
            )

    def orders_are_read(self) -> None:
        """What was sold is read and booked, and the watermark has passed what was read; as minutes later."""
        self.floor.poll(self.row)
        self.floor.drain(self.row)
        with unit_of_work(self.floor.engine) as conn:
            execute(
                conn,
                """
                update connections c set orders_polled_at = now(), watermark_at = (
                    select max(published_at) + c.clock_margin from listings where shop_id = %(shop)s)
                where c.id = %(id)s
                """,
                shop=self.row.shop_id,
                id=self.row.id,
            )
            execute(
                conn,
                "update listings set unseen_since = unseen_since - interval '1 minute' where shop_id = %(shop)s",
                shop=self.row.shop_id,
            )
        sweep_now(self.floor.app)
        jobs.sweep_reconciliation()

    def push(self) -> None:
        """What differs is written, read back, and looked at again."""
        self.floor.push(self.row)
        for _ in range(20):
            with unit_of_work(self.floor.engine) as conn:
                execute(
                    conn, "update listing_writes set next_check_at = now() where outcome is null and sent_at < now()"
                )
            with self.floor.channel(self.row) as channel:
                check_lane(self.floor.app, self.row, channel, 0.2)
            self.orders_are_read()
            if not self.floor.rows("select 1 from listing_writes where outcome is null"):
                break

    def living(self) -> dict[str, dict[str, Any]]:
        with read_only(self.floor.engine) as conn:
            return {row["code"]: dict(row) for row in queries.discrepancies(conn, self.row.shop_id)}

    def listing(self, code: str) -> dict[str, Any]:
        return self.floor.one(
            "select * from listings where shop_id = %(s)s and channel_code = %(c)s", s=self.row.shop_id, c=code
        )

    def correct(self) -> int:
        chosen = Chosen(self.row.id, asked_because="flagged")
        with unit_of_work(self.floor.engine) as conn:
            seen = operations.preview(conn, self.row.shop_id, chosen)
            return operations.correct(conn, self.row.shop_id, chosen, seen.token, ACTOR, utc_now())

    def last(self) -> dict[str, Any]:
        return self.floor.one(
            "select * from discrepancies where shop_id = %(s)s order by id desc limit 1", s=self.row.shop_id
        )

    def audit(self) -> None:
        with unit_of_work(self.floor.engine) as conn:
            found = invariants.check(conn, utc_now(), shop_id=self.row.shop_id)
        assert [item for item in found if item.rows] == []


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hurried]:
    world = Hurried(tmp_path_factory.mktemp("hurried"))
    yield world
    world.world.close()


@pytest.fixture(scope="module")
def compared_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for the module: every test has shops of its own."""
    database = embedded.create_database(servers.home, "reconciliation_jobs", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def floor(compared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Floor:
    made = Floor(compared_engine)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    monkeypatch.setattr(connection_jobs, "A_SECOND_IS_OVER", 0.0)
    # Connections of other tests have no channel here any more.
    with unit_of_work(compared_engine) as conn:
        execute(conn, "update connections set state = 'paused'")
    return made


def connect(floor: Floor, hurried: Hurried, vendor: str) -> Side:
    side: ShopSide | SellerSide
    settings: dict[str, Any] = {"clock_factor": FACTOR}
    if vendor == "shopify":
        side = hurried.shop()
        side.stock(*CODES, available=UNITS)
        secrets = {name: side.entry[name] for name in ("client_id", "client_secret")}
        base, ref, throttled = f"{hurried.url}/shopify/{side.domain}", side.domain, shopify_throttled
    else:
        side = hurried.seller(*({"sku": code, "title": code, "quantity": UNITS} for code in CODES))
        names = ("client_id", "client_secret", "refresh_token")
        secrets = {name: side.entry[name] for name in names}
        settings |= {"marketplace_id": side.marketplace, "lwa_url": f"{hurried.url}/amazon/auth/o2/token"}
        base, ref, throttled = f"{hurried.url}/amazon", side.id, amazon_throttled
    config = ConnectionConfig(1, 1, vendor, base, ref, "GBP", settings, secrets)
    network = Bumpy(cast(Any, hurried.client()._transport), throttled)
    account = Account("sandbox", vendor, config, network, hurried)
    row = floor._connect(account, unique(ref), "A" if vendor == "shopify" else "B", None, settings)
    assert "failed" not in (counts := floor.sync(row)), counts
    made = Side(floor, floor.row(row.shop_id, row.id), side)
    made.was_taken_over_a_minute_ago()
    made.orders_are_read()
    return made


@pytest.fixture(params=["shopify", "amazon"])
def side(request: pytest.FixtureRequest, floor: Floor, hurried: Hurried) -> Side:
    return connect(floor, hurried, request.param)


def test_what_is_equal_is_compared_and_nothing_is_found(side: Side) -> None:
    counts = side.compare()
    assert (counts["compared"], counts["found"], counts["believed"]) == (len(CODES), 0, 0)
    run = side.floor.one(
        "select y.state, y.done, r.road from sync_runs y join reconciliation_runs r on r.sync_run_id = y.id"
        " where y.connection_id = %(c)s and y.kind = 'reconcile_stock'",
        c=side.row.id,
    )
    assert run == {"state": "done", "done": len(CODES), "road": "levels"}


def test_a_sale_that_nobody_told_of_waits_and_heals_by_its_order(side: Side) -> None:
    side.sell("MUG", 3)
    side.compare()
    # Of a channel that may be asked at any time the run has read the order itself, and the inbox holds it.
    found = side.living()["MUG"]
    assert (found["cause"], found["action"], found["theirs"]) == ("sale_unseen", "waits", UNITS - 3)
    side.orders_are_read()
    assert side.living() == {}
    assert side.last()["resolved_because"] == "orders account for it"
    assert side.shown("MUG") == UNITS - 3
    side.audit()


@pytest.mark.parametrize("typed", [4, 25])
def test_a_number_that_somebody_typed_is_flagged_and_corrected_on_a_word(side: Side, typed: int) -> None:
    side.type("MUG", typed)
    side.compare(sku="MUG")
    assert side.listing("MUG")["exposed_units"] >= typed
    side.orders_are_read()
    found = side.living()["MUG"]
    assert (found["cause"], found["asked_because"]) == ("channel_edit", "flagged")
    side.push()
    assert side.shown("MUG") == typed
    assert side.correct() == 1
    side.orders_are_read()
    side.push()
    side.orders_are_read()
    assert side.shown("MUG") == UNITS
    assert (side.last()["state"], side.last()["resolved_because"]) == ("resolved", "corrected")
    side.audit()


def test_a_write_that_is_undone_there_is_lost_and_a_policy_writes_again(side: Side) -> None:
    with unit_of_work(side.floor.engine) as conn:
        policy = Policy(frozenset({"lost_write"}))
        operations.set_policy(conn, side.row.shop_id, side.row.id, policy, ACTOR, utc_now())
    # Twice, so that a channel which sets absolutely has a confirmed number before.
    for units in (8, 5):
        side.floor.count(side.row, {"MUG": units - side.shown("MUG")})
        side.push()
    assert side.shown("MUG") == 5
    side.type("MUG", 8)
    side.compare()
    side.orders_are_read()
    assert side.last()["cause"] == "lost_write"
    side.orders_are_read()
    side.push()
    side.orders_are_read()
    assert side.shown("MUG") == 5
    assert (side.last()["state"], side.last()["resolved_because"]) == ("resolved", "corrected")
    side.audit()


def test_a_product_that_is_deleted_is_a_mapping_fault_and_nothing_is_written(floor: Floor, hurried: Hurried) -> None:
    side = connect(floor, hurried, "shopify")
    cast(ShopSide, side.vendor).control("deletion", sku="CUP")
    side.compare()
    found = side.living()
    assert set(found) == {"CUP"}
    assert (found["CUP"]["cause"], found["CUP"]["asked_because"]) == ("mapping", "by_hand")
    side.audit()


def test_a_listing_that_amazon_tells_of_no_more_is_a_mapping_fault(floor: Floor) -> None:
    canned = CannedOrders(hidden_for=timedelta())
    row = floor.connect_seller(canned)
    floor.sync(row)
    del canned.units["RED, LARGE"]
    with unit_of_work(floor.engine) as conn:
        asked = operations.request(conn, row.shop_id, row.id, "stock", ACTOR, utc_now())
    counts = jobs.reconcile_stock(shop_id=row.shop_id, connection_id=row.id, sync_run_id=asked.sync_run_id)
    assert (counts["compared"], counts["found"]) == (24, 1)
    with read_only(floor.engine) as conn:
        (found,) = queries.discrepancies(conn, row.shop_id)
    assert (found["code"], found["cause"], found["theirs"]) == ("RED, LARGE", "mapping", None)


def test_a_submission_that_amazon_lost_is_a_lost_write_of_a_persons(floor: Floor, hurried: Hurried) -> None:
    side = connect(floor, hurried, "amazon")
    hurried.faults(kind="lost_submission", count=1, match="patch MUG")
    floor.count(side.row, {"MUG": -4})
    floor.push(side.row)
    with unit_of_work(floor.engine) as conn:
        execute(
            conn,
            "update listing_writes set doubt = 'it does not show' where outcome is null and shop_id = %(s)s",
            s=side.row.shop_id,
        )
    side.compare()
    found = side.living()["MUG"]
    assert (found["cause"], found["asked_because"], found["theirs"]) == ("lost_write", "by_hand", UNITS)
    assert side.listing("MUG")["exposed_units"] >= UNITS


def test_what_a_channel_refuses_is_asked_again_from_where_it_was(floor: Floor, hurried: Hurried) -> None:
    side = connect(floor, hurried, "shopify")
    network = floor.accounts[side.row.id].network
    network.plan("refused_connection", "graphql", times=50)
    assert "waiting" in side.compare()
    network.planned.clear()
    assert side.compare()["compared"] == len(CODES)


# --- a run that is stopped --------------------------------------------------------------------------------------------


def test_a_comparison_that_is_stopped_ends_where_it_tells_how_far_it_is(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped among the runs, not at its connection: what was staged goes with it, and the next one begins."""
    canned = CannedShop()
    row = floor.connect(canned)
    floor.sync(row)
    with unit_of_work(floor.engine) as conn:
        asked = operations.request(conn, row.shop_id, row.id, "stock", ACTOR, utc_now())
    items = canned.on_Items

    def stopped_meanwhile(variables: dict[str, Any]) -> Any:
        with unit_of_work(floor.engine) as conn:
            assert not control.cancel(conn, row.shop_id, asked.sync_run_id, ACTOR, utc_now())
        return items(variables)

    monkeypatch.setattr(canned, "on_Items", stopped_meanwhile)
    again = {"shop_id": row.shop_id, "connection_id": row.id, "sync_run_id": asked.sync_run_id}
    assert jobs.reconcile_stock(**again) == {"cancelled": True}
    monkeypatch.setattr(canned, "on_Items", items)
    ended = floor.one(
        "select y.state, r.state as comparison, r.error from sync_runs y join reconciliation_runs r"
        " on r.sync_run_id = y.id where y.id = %(id)s",
        id=asked.sync_run_id,
    )
    assert ended == {
        "state": "cancelled",
        "comparison": "failed",
        "error": f"stopped by {ACTOR.name}: {ACTOR.reason}",
    }
    assert floor.rows("select 1 from reconciliation_observations where shop_id = %(s)s", s=row.shop_id) == []
    with unit_of_work(floor.engine) as conn:
        assert operations.request(conn, row.shop_id, row.id, "stock", ACTOR, utc_now()).is_new


# --- a run that is killed ---------------------------------------------------------------------------------------------

PAGE = 3
DIES_AFTER = 2


def test_a_run_that_is_killed_goes_on_behind_the_page_it_had(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    floor.sync(row)
    with unit_of_work(floor.engine) as conn:
        asked = operations.request(conn, row.shop_id, row.id, "stock", ACTOR, utc_now())
    words = [floor.engine.url.render_as_string(hide_password=False), row.shop_id, row.id, asked.sync_run_id]
    died = subprocess.run(
        [sys.executable, __file__, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    state = floor.one("select state, pages, observed from reconciliation_runs where id = %(id)s", id=asked.run_id)
    assert state == {"state": "reading", "pages": DIES_AFTER, "observed": PAGE * DIES_AFTER}
    # Whoever rings again while it may still be alive finds it taken.
    again = {"shop_id": row.shop_id, "connection_id": row.id, "sync_run_id": asked.sync_run_id}
    assert jobs.reconcile_stock(**again) == {"superseded": True}
    with unit_of_work(floor.engine) as conn:
        execute(conn, "update sync_runs set heartbeat_at = now() - interval '1 day' where id = %(id)s",
                id=asked.sync_run_id)  # fmt: skip
    asked_for: list[str] = []
    items = canned.on_Items
    monkeypatch.setattr(canned, "on_Items", lambda v: asked_for.extend(v["ids"]) or items(v))
    monkeypatch.setattr(runs, "READ_AT_ONCE", PAGE)
    assert jobs.reconcile_stock(**again)["compared"] == 10
    # Only the pages that were not staged are asked for.
    assert len(asked_for) == 10 - PAGE * DIES_AFTER
    # Listings, whatever places each is shown at; those of before its worker died among them.
    assert floor.one("select done, total from sync_runs where id = %(id)s", id=asked.sync_run_id) == {
        "done": 10, "total": 10
    }  # fmt: skip


def test_a_large_catalogue_is_compared_by_its_export_and_read_on_behind_its_page(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "EXPORT_FROM", 5)
    # This floor's clock is fast, the machine need not be: nothing is to be put back for want of patience.
    monkeypatch.setattr(exports, "PATIENCE", timedelta(days=30))
    canned = CannedShop()
    row = floor.connect(canned)
    floor.sync(row)
    canned.levels["5003"] = 2
    with unit_of_work(floor.engine) as conn:
        asked = operations.request(conn, row.shop_id, row.id, "stock", ACTOR, utc_now())
    again = {"shop_id": row.shop_id, "connection_id": row.id, "sync_run_id": asked.sync_run_id}
    stage, staged = jobs._stage, []

    def stage_and_stumble(*given: Any) -> None:
        stage(*given)
        staged.append(given[3])
        if len(staged) == 1:
            raise Retryable("the network is gone")

    monkeypatch.setattr(jobs, "_stage", stage_and_stumble)
    assert "waiting" in jobs.reconcile_stock(**again)
    counts = jobs.reconcile_stock(**again)
    assert (counts["compared"], counts["found"]) == (10, 1)
    # Its one page is staged once, and no other export is begun.
    assert len(staged) == 1
    assert canned.exports_begun == 2
    run = floor.one("select road, state from reconciliation_runs where id = %(id)s", id=asked.run_id)
    assert run == {"road": "export", "state": "done"}
    assert floor.rows("select 1 from reconciliation_observations where shop_id = %(s)s", s=row.shop_id) == []


def die_while_reading(url: str, shop_id: int, connection_id: int, sync_run_id: int) -> None:
    """Read a page or two of the canned shop, and be killed between two of them."""
    engine = create_engine(url)
    made = Floor(engine)
    made.accounts[connection_id] = shopify_account(CannedShop())
    bootstrap.application = lambda: made.app
    runs.READ_AT_ONCE = PAGE
    stage, pages = jobs._stage, 0

    def stage_and_die(*given: Any) -> None:
        nonlocal pages
        stage(*given)
        pages += 1
        if pages == DIES_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)

    jobs._stage = stage_and_die
    print(json.dumps(jobs.reconcile_stock(shop_id=shop_id, connection_id=connection_id, sync_run_id=sync_run_id)))


if __name__ == "__main__":
    url, *ids = sys.argv[1:]
    die_while_reading(url, *(int(each) for each in ids))
