"""Fixtures for jobs, lanes and schedules: a shop, and real processes that never outlive their test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from core import embedded
from core.adapters import rq as adapter
from core.db import scalar, unit_of_work
from core.messaging.doorbell import Lane

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


@pytest.fixture
def lane(engine: Engine) -> Lane:
    """The events lane of a connection that exists."""
    with unit_of_work(engine) as conn:
        shop = scalar(
            conn,
            "insert into shops (name, time_zone, currency, created_at)"
            " values ('Lanes', 'Europe/Berlin', 'EUR', %(now)s) returning shop_id",
            now=NOW,
        )
        connection = scalar(
            conn,
            "insert into connections (shop_id, vendor, name, base_url, account_ref, guarantee_class, created_at)"
            " values (%(shop)s, 'shopify', 'Store', 'http://127.0.0.1:1', 'store.example', 'A', %(now)s) returning id",
            shop=shop,
            now=NOW,
        )
    return Lane("events", shop, connection)


@pytest.fixture
def registry() -> Iterator[dict[str, adapter.Registered]]:
    """The registry, as it was before the test when the test has ended."""
    before = dict(adapter.REGISTRY)
    adapter.REGISTRY.clear()
    yield adapter.REGISTRY
    adapter.REGISTRY.clear()
    adapter.REGISTRY.update(before)
    adapter.record_runs_with(None)


@dataclass
class Started:
    """A helper process of a test."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        return self.process.wait(timeout=60)


Start = Callable[..., Started]


@pytest.fixture
def start(database: embedded.Database, redis_url: str) -> Iterator[Start]:
    """Start `tests/workers/processes.py` with some words."""
    running: list[Started] = []

    def begin(*words: str) -> Started:
        environment = {
            **os.environ,
            "DATABASE_URL": database.url,
            "REDIS_URL": redis_url,
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, str(ROOT / "tests/workers/processes.py"), *words]
        # A session of its own: whatever it leaves behind can be found and ended.
        process = subprocess.Popen(command, env=environment, cwd=ROOT, text=True, start_new_session=True)
        running.append(Started(process))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait(timeout=10)


def eventually(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until `condition` holds; the limit only ends a test that hangs."""
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, f"still not so: {what}"
        time.sleep(0.05)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually
