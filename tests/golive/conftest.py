"""A sandbox in a process of its own, and shops of it connected as a person would, each in a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core import bootstrap, embedded
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.policies import operations as policies
from core.runs import operations as runs
from tests.factories import ACTOR, unique
from tests.sandbox.outside import Outside, ShopSide
from workers import world
from workers.jobs import connections as jobs
from workers.jobs.policies import replan_now

FACTOR = 100.0


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """The outside world; its quotas and delays run a hundred times faster."""
    running = Outside(tmp_path_factory.mktemp("golive"), "--clock-factor", f"{FACTOR:g}").start()
    yield running
    running.stop()


@pytest.fixture
def shop(outside: Outside) -> ShopSide:
    return outside.shop()


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[Application]:
    """The application as every process of the test makes it."""
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    monkeypatch.setenv("SWITCHYARD_SECRET_KEYS", connections.new_key())
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


@dataclass(frozen=True)
class Connected:
    """A shop of the sandbox, connected and read."""

    app: Application
    side: ShopSide
    shop_id: int
    connection_id: int

    @property
    def row(self) -> ConnectionRow:
        with unit_of_work(self.app.engine) as conn:
            return queries.connection(conn, self.shop_id, self.connection_id)

    def sync(self) -> dict[str, Any]:
        """What the job of that name does."""
        with unit_of_work(self.app.engine) as conn:
            run_id = runs.request_sync(
                conn, self.shop_id, self.connection_id, "sync_connection", "click", ACTOR, utc_now()
            )
        return jobs.sync_connection(shop_id=self.shop_id, connection_id=self.connection_id, sync_run_id=run_id)


Connect = Callable[..., Connected]


@pytest.fixture
def connect(app: Application) -> Connect:
    """Connect a shop of the sandbox, in shadow mode unless said otherwise, and read it."""

    def make(side: ShopSide, *, write_mode: Any = "shadow", base_url: str | None = None, **settings: Any) -> Connected:
        made = world.shopify_connection(side.outside.url, side.entry, FACTOR)
        new = NewConnection(
            vendor=made.vendor,
            name=made.name,
            base_url=base_url or made.base_url,
            account_ref=made.account_ref,
            guarantee_class=made.guarantee_class,
            settings={**made.settings, **settings},
            secrets=made.secrets,
            write_mode=write_mode,
        )
        with unit_of_work(app.engine) as conn:
            shop_id = connections.open_shop(conn, unique("Shop"), "Europe/London", "GBP", ACTOR, utc_now())
            policies.begin_with(conn, shop_id, "pooled", ACTOR, utc_now())
            connection_id = connections.connect(conn, shop_id, new, app.settings.secret_keys, ACTOR, utc_now())
        replan_now(app, shop_id, 10)
        connected = Connected(app, side, shop_id, connection_id)
        connected.sync()
        return connected

    return make
