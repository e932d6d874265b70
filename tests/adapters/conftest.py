"""Each channel twice: against canned replies, and against its fake vendor in a process of its own."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded
from core.adapters.base import ConnectionConfig
from tests.adapters.accounts import Account, amazon_account, amazon_throttled, shopify_account, shopify_throttled
from tests.adapters.amazon_trade import Trade
from tests.adapters.canned_amazon import CannedSeller
from tests.adapters.canned_shopify import CannedShop
from tests.adapters.floor import Floor
from tests.adapters.transports import Bumpy
from tests.conftest import TestServers
from workers.jobs import connections as connection_jobs

ROOT = Path(__file__).resolve().parents[2]
CLOCK_FACTOR = 100.0


@dataclass
class SandboxControl:
    """The fake vendors' control API."""

    base: str

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.base}/_control{path}", timeout=20)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.base}/_control{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxControl]:
    """The outside world in a process of its own, ended by its own handle."""
    port = _free_port()
    folder = tmp_path_factory.mktemp("world")
    words = [sys.executable, "-m", "sandbox", "--port", str(port), "--data", str(folder)]
    process = subprocess.Popen([*words, "--clock-factor", str(CLOCK_FACTOR)], cwd=ROOT)
    control = SandboxControl(f"http://127.0.0.1:{port}")
    try:
        _await_health(control, process)
        yield control
    finally:
        process.terminate()
        process.wait(10)


def _await_health(control: SandboxControl, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "the sandbox ended"
        try:
            control.get("/health")
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the sandbox did not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_numbers = itertools.count(1)


@pytest.fixture(params=["canned", "sandbox"])
def shop(request: pytest.FixtureRequest) -> Account:
    """A Shopify shop of the test's own with ten counted variants of 10 units and more."""
    if request.param == "canned":
        return shopify_account(CannedShop())
    control: SandboxControl = request.getfixturevalue("sandbox")
    domain = f"shop-{next(_numbers)}.myshopify.com"
    opened = control.post("/shops", {"domain": domain, "plan": "plus"})
    products = [{"title": "Mug", "sku": f"SKU-{n}", "price": "1.00", "available": 10 + n} for n in range(10)]
    control.post(f"/shopify/{domain}/products", {"products": products})
    config = ConnectionConfig(
        1,
        1,
        "shopify",
        f"{control.base}/shopify/{domain}",
        domain,
        "GBP",
        {"clock_factor": CLOCK_FACTOR},
        {name: opened[name] for name in ("client_id", "client_secret")},
    )
    return Account("sandbox", "shopify", config, Bumpy(httpx.HTTPTransport(), shopify_throttled), control)


@pytest.fixture(params=["canned", "sandbox"])
def seller(request: pytest.FixtureRequest) -> Account:
    """An Amazon seller of the test's own with 25 listings of 30 units, one of them with a comma in its SKU."""
    if request.param == "canned":
        return amazon_account(CannedSeller())
    control: SandboxControl = request.getfixturevalue("sandbox")
    seller_id = f"ATEST{next(_numbers)}"
    opened = control.post("/sellers", {"seller_id": seller_id})
    skus = [*(f"SKU {n}/%" for n in range(24)), "RED, LARGE"]
    listings = [{"sku": sku, "title": f"Mug {sku}", "quantity": 30} for sku in skus]
    control.post(f"/amazon/{seller_id}/listings", {"listings": listings})
    settings = {
        "clock_factor": CLOCK_FACTOR,
        "marketplace_id": opened["marketplace_ids"][0],
        "lwa_url": f"{control.base}/amazon/auth/o2/token",
    }
    secrets = {name: opened[name] for name in ("client_id", "client_secret", "refresh_token")}
    config = ConnectionConfig(1, 2, "amazon", f"{control.base}/amazon", seller_id, "GBP", settings, secrets)
    return Account("sandbox", "amazon", config, Bumpy(httpx.HTTPTransport(), amazon_throttled), control)


@pytest.fixture(scope="session")
def trade_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for all of Amazon's trade: every test has shops of its own."""
    database = embedded.create_database(servers.home, "amazon_trade", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def trade_floor(trade_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Floor:
    made = Floor(trade_engine)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    # Orders are placed seconds after what is taken over, by the vendor's clock.
    monkeypatch.setattr(connection_jobs, "A_SECOND_IS_OVER", 0.0)
    return made


@pytest.fixture
def trade(trade_floor: Floor) -> Trade:
    """A seller whose stock was taken over."""
    return Trade(trade_floor)
