"""Connects the sandbox's shops as real ones would be connected: open, store credentials, subscribe, sync.

The control address (`/_control`) stands for what people do in the outside world; only the demo and the replay use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.inventory.planner import Mode
from core.policies import operations as policies
from core.runs import operations as runs
from core.runs import queries as run_queries
from workers import demo_catalogue, demo_parties
from workers.jobs.subscriptions import check_subscriptions

CONTROL_SECONDS = 120
SYNC_SECONDS_MAX = 1800

Progress = Callable[[str, int, int | None], None]
"""Called with the step, how much is done, and of how much."""


class SandboxRefused(Permanent):
    """The sandbox's control address said no."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the sandbox refused {path}: {why}")


class SyncFailed(Permanent):
    """A sync of a connection ended without success, or did not end."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the sync of {name} did not succeed: {why}")


class Control:
    """The sandbox's control address."""

    def __init__(self, sandbox_url: str) -> None:
        self.url = sandbox_url
        self._http = httpx.Client(base_url=sandbox_url, timeout=CONTROL_SECONDS)

    def get(self, path: str) -> dict[str, Any]:
        """Read something of the world. Raises Retryable when nothing answers, SandboxRefused."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do something in the world. Raises Retryable when nothing answers, SandboxRefused."""
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            try:
                response = self._http.request(method, f"/_control{path}", json=body)
            except (httpx.ReadError, httpx.RemoteProtocolError):
                # The server may close a connection that rests in the moment in which it is used again.
                if method != "GET":
                    raise
                response = self._http.request(method, f"/_control{path}", json=body)
        except httpx.TransportError as error:
            raise Retryable(f"the sandbox does not answer at {self.url}: {error}") from error
        if response.status_code >= 400:
            raise SandboxRefused(path, response.text[:200])
        return response.json()


@dataclass(frozen=True, slots=True)
class Pair:
    """A shop's two connections in the sandbox."""

    shop_id: int
    shopify: ConnectionRow
    amazon: ConnectionRow


def connect_pair(
    app: Application,
    control: Control,
    name: str,
    domain: str,
    seller_id: str,
    actor: Actor,
    progress: Progress,
    mode: Mode = policies.DEFAULT_MODE,
) -> Pair:
    """Connect one sandbox shop and one sandbox seller as the shop `name`; safe to repeat.

    A shop that is new shares its pools as `mode` says.

    The catalogue and the stock come in by a sync of each connection; one that was read before is not read again.
    Raises SyncFailed, SandboxRefused or Retryable.
    """
    world = control.get("/world")
    shop = next(entry for entry in world["shops"] if entry["domain"] == domain)
    seller = next(entry for entry in world["sellers"] if entry["seller_id"] == seller_id)
    factor = world["clock_factor"]
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, name, shop["timezone"], shop["currency"], actor, now)
        policies.begin_with(conn, shop_id, mode, actor, now)
        keys = app.settings.secret_keys
        shopify_id = connections.connect(conn, shop_id, shopify_connection(control.url, shop, factor), keys, actor, now)
        amazon_id = connections.connect(conn, shop_id, amazon_connection(control.url, seller, factor), keys, actor, now)
    shopify, amazon = (bring_in(app, shop_id, each, actor, progress) for each in (shopify_id, amazon_id))
    return Pair(shop_id, shopify, amazon)


def bring_in(app: Application, shop_id: int, connection_id: int, actor: Actor, progress: Progress) -> ConnectionRow:
    """Read a connection's catalogue and levels, unless they were read before, and subscribe to what happens there.

    Raises SyncFailed, or Retryable when the channel does not answer.
    """
    with read_only(app.engine) as conn:
        row = queries.connection(conn, shop_id, connection_id)
    if row.catalogue_read_at is None:
        sync_and_wait(app, row, actor, progress)
    with app.channel(row) as channel:
        check_subscriptions(app, row, channel)
    with read_only(app.engine) as conn:
        return queries.connection(conn, shop_id, connection_id)


def shopify_connection(
    sandbox_url: str, shop: Mapping[str, Any], factor: float, *, name: str = "Shopify", is_sku_source: bool = True
) -> NewConnection:
    """A shop of the sandbox's world, as a connection of that name."""
    return NewConnection(
        vendor="shopify",
        name=name,
        base_url=f"{sandbox_url}/shopify/{shop['domain']}",
        account_ref=shop["domain"],
        guarantee_class="A",
        settings={"is_sku_source": is_sku_source, "clock_factor": factor},
        secrets={"client_id": shop["client_id"], "client_secret": shop["client_secret"]},
    )


def amazon_connection(sandbox_url: str, seller: Mapping[str, Any], factor: float) -> NewConnection:
    """A seller of the sandbox's world, as a connection with a queue for its notifications."""
    queue = seller["queue"]
    marketplace = bootstrap.amazon_marketplace(seller["marketplace_ids"][0])
    return NewConnection(
        vendor="amazon",
        name="Amazon",
        base_url=f"{sandbox_url}/amazon",
        account_ref=seller["seller_id"],
        guarantee_class="B",
        settings={
            "marketplace_id": marketplace.ref,
            # As who connects a real one has it stored: by it a second connection to the same quantities is refused.
            "region": marketplace.region,
            "lwa_url": f"{sandbox_url}/amazon/auth/o2/token",
            "queue_url": f"{sandbox_url}{queue['path']}",
            "queue_region": queue["region"],
            "sqs_endpoint": f"{sandbox_url}/sqs",
            "clock_factor": factor,
        },
        secrets={
            **{name: seller[name] for name in ("client_id", "client_secret", "refresh_token")},
            **{name: queue[name] for name in ("aws_access_key_id", "aws_secret_access_key")},
        },
    )


def sync_and_wait(app: Application, row: ConnectionRow, actor: Actor, progress: Progress) -> Mapping[str, Any]:
    """Have the workers sync a connection, and wait for it; returns what it counted. Raises SyncFailed."""
    with unit_of_work(app.engine) as conn:
        run_id = runs.request_sync(conn, row.shop_id, row.id, "sync_connection", "click", actor, utc_now())
    _enqueue_sync(app, row, run_id)
    started = last_ring = utc_now()
    while utc_now() < started + timedelta(seconds=SYNC_SECONDS_MAX):
        with read_only(app.engine) as conn:
            run = run_queries.sync_run(conn, row.shop_id, run_id)
        if run is None or run["state"] == "failed":
            raise SyncFailed(row.name, "it vanished" if run is None else run["error"])
        if run["state"] == "done":
            return run["counts"]
        progress(f"{row.name}: {run['step'] or 'waiting for a worker'}", run["done"], run["total"])
        if run["state"] == "queued" and utc_now() > last_ring + timedelta(seconds=10):
            _enqueue_sync(app, row, run_id)
            last_ring = utc_now()
        time.sleep(0.2)
    raise SyncFailed(row.name, f"it did not end within {SYNC_SECONDS_MAX} s")


def _enqueue_sync(app: Application, row: ConnectionRow, run_id: int) -> None:
    app.queue.enqueue("connection.sync", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)


DEMO_NAME = "Demo Goods"
DEMO_PACE_PER_MINUTE = 6
DEMO_PACE_AT_AMAZON = 3
DEMO_ACTOR = Actor("switchyard up", "connect the sandbox's demo shop")


def connect_demo(app: Application, progress: Progress, *, shoppers: bool = True) -> Pair:
    """Connect the sandbox's demo shop and let shoppers buy there and at Amazon at a gentle pace.

    Its products are read into the catalogue, of which its Klaviyo account is told.
    """
    control = Control(app.settings.sandbox_url)
    world = control.get("/world")
    shop = next(entry for entry in world["shops"] if entry["domain"].startswith("demo."))
    seller_id = world["sellers"][0]["seller_id"]
    pair = connect_pair(app, control, DEMO_NAME, shop["domain"], seller_id, DEMO_ACTOR, progress)
    with unit_of_work(app.engine) as conn:
        # Before anybody buys: what is booked earlier has no seller.
        demo_parties.set_up(conn, pair.shop_id, shop["currency"], DEMO_ACTOR, utc_now())
    demo_catalogue.set_up(app, control.url, world, pair.shopify, DEMO_ACTOR)
    at_shop = {"domain": shop["domain"], "pace_per_minute": DEMO_PACE_PER_MINUTE}
    at_amazon = {"seller_id": seller_id, "pace_per_minute": DEMO_PACE_AT_AMAZON}
    for crowd in (at_shop, at_amazon):
        control.post("/shoppers", {**crowd, "running": shoppers})
    return pair


def quiet(_step: str, _done: int, _total: int | None) -> None:
    """A progress that says nothing."""
