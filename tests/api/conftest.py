"""A connected shop, signed deliveries, and the API in this process or as one of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from api.app import Dependencies, create_app
from core import bootstrap, embedded
from core.audit import Actor
from core.config import Settings
from core.connections.operations import NewConnection, connect, new_key, open_shop
from core.db import unit_of_work

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
DOMAIN = "store.example"
SECRET = "a secret of the app"
ACTOR = Actor("tests", "to try it")


def sign(body: bytes, secret: str = SECRET) -> str:
    """What Shopify puts into the signature header."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def signed_headers(
    body: bytes, delivery_id: str = "d-1", secret: str = SECRET, **changes: str | None
) -> dict[str, str]:
    """The headers of a genuine delivery; changes by name with underscores, None removes one."""
    headers: dict[str, str | None] = {
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Hmac-Sha256": sign(body, secret),
        "X-Shopify-Shop-Domain": DOMAIN,
        "X-Shopify-Webhook-Id": delivery_id,
        "X-Shopify-Event-Id": "event-1",
        "X-Shopify-Triggered-At": "2024-05-14T11:59:58.123456789Z",
        "Content-Type": "application/json",
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return {name: value for name, value in headers.items() if value is not None}


@dataclass(frozen=True)
class Shop:
    """A shop with one connection to Shopify."""

    shop_id: int
    connection_id: int
    settings: Settings
    engine: Engine

    @property
    def path(self) -> str:
        return f"/webhooks/shopify/{self.connection_id}"

    def rows(self) -> list[dict[str, object]]:
        with unit_of_work(self.engine) as conn:
            found = conn.exec_driver_sql("select * from inbox_messages order by id").mappings()
            return [{**row, "body": bytes(row["body"])} for row in found]


@pytest.fixture
def shop(engine: Engine, database: embedded.Database, redis_url: str, tmp_path: Path) -> Shop:
    key = new_key()
    settings = Settings.from_environment(
        {
            "SWITCHYARD_HOME": str(tmp_path),
            "DATABASE_URL": database.url,
            "REDIS_URL": redis_url,
            "SWITCHYARD_SECRET_KEYS": key,
        }
    )
    new = NewConnection("shopify", "Store", "http://127.0.0.1:1", DOMAIN, "A", {}, {"client_secret": SECRET})
    with unit_of_work(engine) as conn:
        shop_id = open_shop(conn, "Shop", "Europe/Berlin", "EUR", ACTOR, NOW)
        connection_id = connect(conn, shop_id, new, [key], ACTOR, NOW)
    return Shop(shop_id, connection_id, settings, engine)


@pytest.fixture
def dependencies(shop: Shop) -> Iterator[Dependencies]:
    application = bootstrap.make_application(shop.settings)
    yield Dependencies(
        database_url=shop.settings.database_url,
        engine=application.engine,
        secret_keys=shop.settings.secret_keys,
        doorbell=application.doorbell,
        bell_answers=application.queue.ping,
        queues=application.queue.queues,
        job_names=bootstrap.job_names(),
        verifier=bootstrap.webhook_verifier,
        documents=application.documents,
        dashboard_url=shop.settings.dashboard_url,
        clock=lambda: NOW,
        state_kept_seconds=0,
    )
    application.engine.dispose()


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(dependencies: Dependencies) -> Iterator[Serve]:
    """The API in this process, with some dependencies replaced."""
    running: list[TestClient] = []

    def begin(**changes: object) -> TestClient:
        client = TestClient(create_app(replace(dependencies, **changes)), raise_server_exceptions=False)  # type: ignore[arg-type]
        running.append(client.__enter__())
        return running[-1]

    yield begin
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def api(serve: Serve) -> TestClient:
    return serve()


@dataclass(frozen=True)
class Served:
    """The API as a process."""

    process: subprocess.Popen[bytes]
    url: str
    metrics_url: str


@contextmanager
def serving(settings: Settings, port: int = 0) -> Iterator[Served]:
    """The API as a process, over these servers; on this port, if it is given."""
    with socket.socket() as probe, socket.socket() as other:
        # One that served here a moment ago has left its connections behind.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        other.bind(("127.0.0.1", 0))
        port, metrics_port = probe.getsockname()[1], other.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SWITCHYARD_SECRET_KEYS": ",".join(settings.secret_keys),
        "SWITCHYARD_DOCUMENTS_DIR": str(settings.documents_dir),
        "SWITCHYARD_DASHBOARD_URL": settings.dashboard_url,
    }
    ports = ["--port", str(port), "--metrics-port", str(metrics_port)]
    process = subprocess.Popen([sys.executable, "-m", "api", "--host", "127.0.0.1", *ports], cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process)
        yield Served(process, url, f"http://127.0.0.1:{metrics_port}/metrics")
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.fixture
def served(shop: Shop) -> Iterator[Served]:
    with serving(shop.settings) as api:
        yield api


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the API ended while starting"
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < ends_at
            time.sleep(0.05)
