"""Orders that got lost, found again: the real jobs and adapters against the sandbox's Shopify and Amazon in this
process, on a clock that is moved by hand; and one run that is killed in the middle of reading.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.registry import make_channel
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import execute, read_only, unit_of_work
from core.ports import SalesChannel
from core.reconciliation.orders import runs as order_runs
from core.reconciliation.orders import staging
from core.runs import control
from tests.adapters.accounts import Account
from tests.adapters.canned_shopify import CannedShop
from tests.adapters.floor import Floor
from tests.factories import ACTOR, set_row
from tests.sandbox.amazon_orders import OrderSide
from tests.sandbox.outside import Inside, ShopSide
from workers.jobs import connections, inbox, order_reconciliation
from workers.jobs.order_reconciliation import reconcile_orders


@dataclass
class Town(Floor):
    """A floor whose channels are a sandbox's, and whose clock is the sandbox's too."""

    world: Inside = field(kw_only=True)
    configs: dict[int, ConnectionConfig] = field(default_factory=dict)
    channels: dict[tuple[int, str], SalesChannel] = field(default_factory=dict)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.world.clock.wall(), UTC)

    @contextmanager
    def channel(self, row: ConnectionRow) -> Iterator[SalesChannel]:
        # One for all jobs: without Redis each would have a quota of its own, which begins with nothing.
        key = (row.id, repr(sorted(row.settings.items())))
        if key not in self.channels:
            self.channels[key] = self._channel(row)
        yield self.channels[key]

    def _channel(self, row: ConnectionRow) -> SalesChannel:
        clock = self.world.clock
        config = replace(self.configs[row.id], settings={**self.configs[row.id].settings, **row.settings})
        deps = Deps(lambda call: None, None, self.world.world, self.now, clock.advance, clock=clock.now)
        return make_channel(config, deps)

    def move_in(self, config: ConnectionConfig, guarantee_class: Any, shop_id: int | None = None) -> ConnectionRow:
        """Connect an account of the sandbox and read it for the first time."""
        account = Account("sandbox", config.vendor, config, None, None)  # type: ignore[arg-type]
        row = self._connect(account, config.account_ref, guarantee_class, shop_id, {"clock_factor": 1})
        self.configs[row.id] = config
        # Limiters begin empty.
        self.world.clock.advance(3600)
        with unit_of_work(self.engine) as conn:
            execute(conn, "update connections set created_at = %(now)s where id = %(c)s", now=self.now(), c=row.id)
        assert "failed" not in self.sync(row)
        self.world.clock.advance(600)
        self.poll(row)
        self.drain(row)
        return self.row(row.shop_id, row.id)

    def ask(self, row: ConnectionRow, days: int = 3, refs: list[str] | None = None) -> order_runs.Run:
        with unit_of_work(self.engine) as conn:
            return order_runs.request(conn, self.row(row.shop_id, row.id), "click", ACTOR, self.now(), days, refs)

    def work(self, run: order_runs.Run) -> dict[str, Any]:
        return reconcile_orders(shop_id=run.shop_id, connection_id=run.connection_id, sync_run_id=run.sync_run_id)

    def reconcile(self, row: ConnectionRow, **more: Any) -> dict[str, Any]:
        """A whole run, with what workers and the sweep do meanwhile."""
        run = self.ask(row, **more)
        for _ in range(30):
            done = self.work(run)
            if "waits" not in done and "goes_on" not in done:
                return done
            self.drain(row)
            self.world.clock.advance(60)
            connections.poll_connection(shop_id=row.shop_id, connection_id=row.id)
        raise AssertionError(f"it does not end: {done}")

    def differences(self, row: ConnectionRow) -> dict[str, tuple[str, str, str]]:
        """By order: (cause, action, state), of those that are not resolved."""
        found = self.rows(
            "select subject_key, kind, cause, action, state from discrepancies where connection_id = %(c)s"
            " and state <> 'resolved' order by id",
            c=row.id,
        )
        return {each["subject_key"]: (each["cause"], each["action"], each["state"]) for each in found}

    def resolved(self, row: ConnectionRow) -> dict[str, tuple[str, str]]:
        found = self.rows(
            "select subject_key, cause, resolved_because from discrepancies where connection_id = %(c)s"
            " and state = 'resolved' order by id",
            c=row.id,
        )
        return {each["subject_key"]: (each["cause"], each["resolved_because"]) for each in found}

    def marks(self, row: ConnectionRow) -> dict[str, Any]:
        return self.one(
            "select orders_polled_to, orders_resume, watermark_at from connections where id = %(c)s", c=row.id
        )

    def skip(self, row: ConnectionRow) -> None:
        """A poll passes by what has happened by now and does not see it, as one does that a channel indexes late."""
        self.world.clock.advance(300)
        with unit_of_work(self.engine) as conn:
            execute(
                conn,
                "update connections set orders_polled_to = %(at)s where id = %(c)s",
                at=self.now() - timedelta(seconds=60),
                c=row.id,
            )

    def park(self, row: ConnectionRow, ref: str) -> int:
        """The message of an order is parked."""
        with unit_of_work(self.engine) as conn:
            execute(
                conn,
                "update inbox_messages set state = 'parked', cause = 'unexpected', detail = 'a defect',"
                " settled_at = now() where connection_id = %(c)s and delivery_id like %(like)s",
                c=row.id,
                like=f"poll:{ref}:%",
            )
        return int(
            self.one("select id from inbox_messages where state = 'parked' and connection_id = %(c)s", c=row.id)["id"]
        )

    def available(self, row: ConnectionRow, code: str) -> int:
        return int(
            self.one(
                "select available from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id"
                " where s.shop_id = %(s)s and s.code = %(code)s",
                s=row.shop_id,
                code=code,
            )["available"]
        )


@pytest.fixture
def town(module_engine: Engine, outside: Inside, monkeypatch: pytest.MonkeyPatch) -> Town:
    made = Town(module_engine, world=outside)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    for module in (connections, inbox, order_reconciliation):
        monkeypatch.setattr(module, "utc_now", made.now)
    monkeypatch.setattr(connections.time, "sleep", outside.clock.advance)
    return made


def open_shop(town: Town, *skus: str) -> tuple[ShopSide, ConnectionRow]:
    shop = town.world.shop()
    shop.stock(*skus, available=100)
    secrets = {name: shop.entry[name] for name in ("client_id", "client_secret")}
    config = ConnectionConfig(
        1, 1, "shopify", f"{town.world.url}/shopify/{shop.domain}", shop.domain, "GBP", {}, secrets
    )
    return shop, town.move_in(config, "A")


def number(order: dict[str, Any]) -> str:
    return str(order["id"]).rpartition("/")[2]


def test_what_got_lost_at_a_shopify_is_found_and_what_is_missing_here_heals(town: Town) -> None:
    shop, row = open_shop(town, "MUG", "CUP")
    same, refunded, deleted, parked = (shop.place((code, 1)) for code in ("MUG", "MUG", "CUP", "CUP"))
    town.world.clock.advance(60)
    town.poll(row)
    town.park(row, number(parked))
    town.drain(row)
    assert town.available(row, "MUG") == 98
    # While we were away: neither a webhook nor a poll tells of it.
    town.world.clock.advance(3600)
    lost = shop.place(("MUG", 3))
    shop.refund(refunded, (0, 1, "no_restock"))
    shop.cancel(deleted, restock=False)
    shop.control("order/deletion", order_id=deleted["id"])
    town.skip(row)
    before = town.marks(row)
    counts = town.reconcile(row)
    assert town.differences(row) == {
        number(deleted): ("missing_there", "asked", "open"),
        number(parked): ("parked", "asked", "open"),
    }
    assert town.resolved(row) == {
        number(lost): ("missing_here", "healed"),
        number(refunded): ("refund_missing_here", "healed"),
    }
    assert counts == {"orders": 4, "differ": 2, "on_their_way": 0, "resolved": 2}
    assert town.available(row, "MUG") == 95
    after = town.marks(row)
    assert after["orders_polled_to"] >= before["orders_polled_to"]
    assert town.one("select count(*) as n from staged_orders") == {"n": 0}
    # Nothing new, nothing twice: what is flagged stays one, seen once more.
    town.reconcile(row)
    assert town.available(row, "MUG") == 95
    seen = town.one("select times_seen from discrepancies where subject_key = %(r)s", r=number(deleted))
    assert seen == {"times_seen": 2}
    assert number(same) not in {**town.differences(row), **town.resolved(row)}


def test_every_change_that_we_heard_of_is_equal(town: Town) -> None:
    shop, row = open_shop(town, "PEN")
    kept = [shop.place(("PEN", 2)) for _ in range(4)]
    shop.refund(kept[0], (0, 1, "return"))
    shop.refund(kept[0], (0, 1, "no_restock"))
    shop.cancel(kept[1])
    shop.control("edit", key="e1", order_id=kept[2]["id"], add=[{"sku": "PEN", "quantity": 2, "price": "2.50"}],
                 remove=[{"line_id": kept[2]["lines"][0]["id"], "quantity": 1}], restock=True)  # fmt: skip
    shop.ship(kept[3])
    town.skip(row)
    town.world.clock.advance(600)
    with unit_of_work(town.engine) as conn:
        execute(conn, "update connections set orders_polled_to = created_at where id = %(c)s", c=row.id)
    town.poll(row)
    town.drain(row)
    town.skip(row)
    assert town.reconcile(row)["differ"] == 0
    assert town.differences(row) == {}


def test_what_a_person_chose_is_read_again_whatever_differs(town: Town) -> None:
    shop, row = open_shop(town, "JAR")
    order = shop.place(("JAR", 2))
    town.world.clock.advance(60)
    town.poll(row)
    town.drain(row)
    shop.control("edit", key="e2", order_id=order["id"], add=[{"sku": "JAR", "quantity": 3, "price": "2.50"}])
    town.skip(row)
    town.reconcile(row)
    assert town.differences(row) == {number(order): ("units", "asked", "open")}
    assert town.available(row, "JAR") == 98
    town.reconcile(row, refs=[number(order)])
    assert (town.differences(row), town.available(row, "JAR")) == ({}, 95)


def test_what_got_lost_at_an_amazon_is_found_in_turns_with_the_sweeps(town: Town) -> None:
    world = town.world
    seller = world.seller({"sku": "LAMP", "quantity": 50})
    side = OrderSide(world, seller)
    settings = {"marketplace_id": seller.marketplace, "lwa_url": f"{world.url}/amazon/auth/o2/token"}
    secrets = {name: seller.entry[name] for name in ("client_id", "client_secret", "refresh_token")}
    row = town.move_in(
        ConnectionConfig(1, 1, "amazon", f"{world.url}/amazon", seller.id, "GBP", settings, secrets), "B"
    )
    kept = side.paid(("LAMP", 1))
    for _ in range(4):
        world.clock.advance(180)
        connections.poll_connection(shop_id=row.shop_id, connection_id=row.id)
    town.drain(row)
    assert town.available(row, "LAMP") == 49
    lost, cancelled = side.paid(("LAMP", 2)), kept
    side.act("cancellations", cancelled, reason="buyer")
    world.clock.advance(400)
    # Both sweeps go by it: their bounds are beyond what they never told of.
    at = town.now() - timedelta(seconds=130)
    bounds = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    with unit_of_work(town.engine) as conn:
        execute(
            conn,
            """
            update connections set orders_polled_to = %(at)s, orders_resume = jsonb_set(orders_resume::jsonb,
                '{bounds}',
                jsonb_build_object('updated', %(bound)s::text, 'created', %(bound)s::text))::text
            where id = %(c)s
            """,
            at=at,
            bound=bounds,
            c=row.id,
        )
    asked_before = town.row(row.shop_id, row.id).orders_asked_at
    town.reconcile(row, days=1)
    assert town.differences(row) == {cancelled["id"]: ("cancelled_there", "asked", "open")}
    assert town.resolved(row) == {lost["id"]: ("missing_here", "healed")}
    assert town.available(row, "LAMP") == 47
    # The sweeps had their turns meanwhile.
    assert town.row(row.shop_id, row.id).orders_asked_at > asked_before


def test_a_run_that_is_killed_goes_on_behind_its_last_page(
    module_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor, canned, asked = Floor(module_engine), CannedShop(), []
    monkeypatch.setattr(bootstrap, "application", lambda: floor)
    row = floor.connect(canned)
    floor.sync(row)
    for n in range(12):
        canned.place_order(str(7000 + n), 1, at=f"2026-11-20T10:00:{n:02}Z")
    with unit_of_work(module_engine) as conn:
        set_row(conn, "connections", row.id, created_at="2026-11-19", orders_polled_to="2026-11-21")
    row = floor.row(row.shop_id, row.id)
    with unit_of_work(module_engine) as conn:
        run = order_runs.request(conn, row, "click", ACTOR, utc_now(), order_runs.DAYS_MAX)
    give = canned.on_Orders

    def on_orders(variables: dict[str, Any]) -> Any:
        asked.append((variables["query"], variables["after"]))
        return give(variables)

    monkeypatch.setattr(canned, "on_Orders", on_orders, raising=False)
    work = {"shop_id": row.shop_id, "connection_id": row.id, "sync_run_id": run.sync_run_id}
    child = os.fork()
    if child == 0:
        # A worker's horse: its own connections, and killed while the second page is on its way into the stage.
        floor.engine = create_engine(module_engine.url)
        take, turns = staging.take_page, []

        def dying(*arguments: Any) -> int:
            turns.append(1)
            if len(turns) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return take(*arguments)

        staging.take_page = dying
        try:
            reconcile_orders(**work)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with read_only(module_engine) as conn:
        at = staging.reading(conn, row.shop_id, run.id)
    assert at is not None
    assert at.read_to is not None
    assert at.step == "reading"
    # Silent for long enough, it is handed on.
    with unit_of_work(module_engine) as conn:
        execute(
            conn, "update sync_runs set heartbeat_at = now() - interval '1 hour' where id = %(r)s", r=run.sync_run_id
        )
    for _ in range(5):
        done = reconcile_orders(**work)
        floor.drain(row)
    assert asked[0] == ("updated_at:>='2026-11-20T10:00:03Z'", None)
    assert done == {"superseded": True}
    ended = floor.one("select state, observed, found, resolved from reconciliation_runs where id = %(r)s", r=run.id)
    assert ended == {"state": "done", "observed": 12, "found": 0, "resolved": 12}
    assert floor.one("select count(*) as n from orders where connection_id = %(c)s", c=row.id) == {"n": 12}


def test_a_run_that_is_stopped_among_all_runs_stops_at_its_next_page_and_the_next_one_may_begin(
    module_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor, canned = Floor(module_engine), CannedShop()
    monkeypatch.setattr(bootstrap, "application", lambda: floor)
    row = floor.connect(canned)
    floor.sync(row)
    for n in range(6):
        canned.place_order(str(7100 + n), 1, at=f"2026-11-20T10:00:{n:02}Z")
    with unit_of_work(module_engine) as conn:
        set_row(conn, "connections", row.id, created_at="2026-11-19", orders_polled_to="2026-11-21")
    row = floor.row(row.shop_id, row.id)

    def request() -> order_runs.Run:
        with unit_of_work(module_engine) as conn:
            return order_runs.request(conn, row, "click", ACTOR, utc_now(), order_runs.DAYS_MAX)

    run, give = request(), canned.on_Orders

    def on_orders(variables: dict[str, Any]) -> Any:
        with unit_of_work(module_engine) as conn:
            assert not control.cancel(conn, row.shop_id, run.sync_run_id, ACTOR, utc_now())
        return give(variables)

    monkeypatch.setattr(canned, "on_Orders", on_orders, raising=False)
    work = {"shop_id": row.shop_id, "connection_id": row.id}
    assert reconcile_orders(**work, sync_run_id=run.sync_run_id) == {"cancelled": True}
    assert floor.one("select state from sync_runs where id = %(r)s", r=run.sync_run_id) == {"state": "cancelled"}
    ended = floor.one("select state, error from reconciliation_runs where id = %(r)s", r=run.id)
    assert ended == {"state": "failed", "error": f"stopped by {ACTOR.name}: {ACTOR.reason}"}
    assert floor.one("select count(*) as n from staged_orders where run_id = %(r)s", r=run.id) == {"n": 0}
    assert request().id != run.id
