"""Shops on real Postgres whose channels are the real adapter over canned Shopifies: what a worker's job sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Literal, cast

import httpx
from sqlalchemy import Engine

from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import fetch, fetch_one, read_only, unit_of_work
from core.errors import Retryable
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.messaging import inbox
from core.messaging.doorbell import Doorbell
from core.messaging.inbox import Incoming
from core.ports import SalesChannel
from core.runs import operations as runs
from tests.adapters.accounts import Account, amazon_account, shopify_account
from tests.factories import ACTOR, make_shop, unique
from workers.jobs import connections as jobs
from workers.jobs.inbox import drain_lane
from workers.jobs.stock import push_lane
from workers.jobs.subscriptions import check_subscriptions

Canned = Callable[[httpx.Request], httpx.Response]


@dataclass
class Bell:
    """A queue and flags in memory: what was rung is remembered."""

    is_dead: bool = False
    rings: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    promised: dict[str, tuple[datetime, str, dict[str, object]]] = field(default_factory=dict)
    """By id: what is to be rung when its time has come."""

    def enqueue(self, name: str, /, **arguments: object) -> None:
        if self.is_dead:
            raise Retryable("no answer")
        self.rings.append((name, arguments))

    def enqueue_at(self, ref: str, at: datetime, name: str, arguments: Mapping[str, object]) -> bool:
        if self.is_dead:
            raise Retryable("no answer")
        if ref in self.promised:
            return False
        self.promised[ref] = (at, name, dict(arguments))
        return True

    def raise_flag(self, name: str, seconds: int, *, only_if_down: bool) -> bool:
        was_down = name not in self.flags
        self.flags.add(name)
        return was_down or not only_if_down

    def lower_flag(self, name: str) -> None:
        self.flags.discard(name)

    def rung(self, name: str) -> list[dict[str, object]]:
        return [arguments for rung, arguments in self.rings if rung == name]


@dataclass
class Floor:
    """Stands for core.bootstrap.Application."""

    engine: Engine
    queue: Bell = field(default_factory=Bell)
    accounts: dict[int, Account] = field(default_factory=dict)
    settings: Any = field(default_factory=lambda: SimpleNamespace(dashboard_url="http://127.0.0.1:8500"))

    @property
    def doorbell(self) -> Doorbell:
        return Doorbell(cast(Any, self.queue))

    @property
    def app(self) -> Application:
        return cast(Application, self)

    def sender(self) -> object:
        return print

    def webhook_address(self, row: ConnectionRow) -> str:
        return f"https://us.test/webhooks/{row.vendor}/{row.id}"

    @contextmanager
    def channel(self, row: ConnectionRow) -> Iterator[SalesChannel]:
        yield self.accounts[row.id].channel()

    def connect(self, canned: Canned, *, shop_id: int | None = None, **settings: Any) -> ConnectionRow:
        """A connection to a canned Shopify in a shop of its own, or in one that there is; nothing is read yet."""
        account_ref = "shop.test" if shop_id is None else f"{unique('shop')}.test"
        return self._connect(shopify_account(canned), account_ref, "A", shop_id, settings)

    def connect_seller(self, canned: Canned, *, shop_id: int | None = None, **settings: Any) -> ConnectionRow:
        """The same with a canned Amazon, on a clock so fast that no quota is waited for."""
        account = amazon_account(canned)
        account.config = replace(account.config, settings={**account.config.settings, "clock_factor": 1e6})
        return self._connect(account, unique("SELLER"), "B", shop_id, settings)

    def _connect(
        self,
        account: Account,
        account_ref: str,
        guarantee_class: Literal["A", "B"],
        shop_id: int | None,
        settings: dict[str, Any],
    ) -> ConnectionRow:
        new = NewConnection(
            vendor=account.vendor,
            name=unique(account.vendor.title()),
            base_url=account.config.base_url,
            account_ref=account_ref,
            guarantee_class=guarantee_class,
            settings={"clock_factor": 1000, "is_sku_source": shop_id is None, **settings},
            secrets={},
        )
        with unit_of_work(self.engine) as conn:
            shop = shop_id or make_shop(conn)
            made = connections.connect(conn, shop, new, (connections.new_key(),), ACTOR, utc_now())
        self.accounts[made] = account
        return self.row(shop, made)

    def row(self, shop_id: int, connection_id: int) -> ConnectionRow:
        with read_only(self.engine) as conn:
            return queries.connection(conn, shop_id, connection_id)

    def begin_sync(self, row: ConnectionRow) -> int:
        with unit_of_work(self.engine) as conn:
            return runs.request_sync(conn, row.shop_id, row.id, "sync_connection", "click", ACTOR, utc_now())

    def sync(self, row: ConnectionRow) -> dict[str, Any]:
        """What the job of a sync comes to; needs core.bootstrap.application to be this floor."""
        run_id = self.begin_sync(row)
        return jobs.sync_connection(shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)

    def deliver(self, row: ConnectionRow, *bodies: tuple[str, bytes]) -> None:
        """Webhooks of (topic, body), recorded and drained."""
        messages = [Incoming(unique("delivery"), topic, body, None) for topic, body in bodies]
        with unit_of_work(self.engine) as conn:
            inbox.record(conn, row.shop_id, row.id, messages, "webhook", utc_now())
        self.drain(row)

    def drain(self, row: ConnectionRow) -> None:
        drain_lane(self.app, row, 20)

    def count(self, row: ConnectionRow, units: dict[str, int]) -> None:
        """Somebody finds so many units more (or fewer) of some codes."""
        with unit_of_work(self.engine) as conn:
            found = fetch_one(
                conn, "select id from locations where shop_id = %(s)s and kind = 'own' order by id", s=row.shop_id
            )
            assert found is not None
            items = [Adjustment(unique("count"), code, delta, "adjustment", utc_now()) for code, delta in units.items()]
            inventory.adjust(conn, row.shop_id, found["id"], items, ACTOR, utc_now())

    def check(self, row: ConnectionRow) -> dict[str, Any]:
        """What a check of subscriptions comes to."""
        with self.channel(row) as channel:
            return check_subscriptions(self.app, row, channel)

    def poll(self, row: ConnectionRow) -> int:
        """How many orders a poll records."""
        with self.channel(row) as channel:
            return jobs.poll_orders(self.app, self.row(row.shop_id, row.id), channel)

    def push(self, row: ConnectionRow) -> dict[str, int]:
        """What the job of a push comes to, on a lane that is held."""
        with self.channel(row) as channel:
            return push_lane(self.app, self.row(row.shop_id, row.id), channel, 20)

    def rows(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        with read_only(self.engine) as conn:
            return [dict(row) for row in fetch(conn, sql, **parameters)]

    def one(self, sql: str, **parameters: object) -> dict[str, Any]:
        with read_only(self.engine) as conn:
            found = fetch_one(conn, sql, **parameters)
        assert found is not None
        return dict(found)
