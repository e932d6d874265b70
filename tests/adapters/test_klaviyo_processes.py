"""Real processes that tell one target at once, and real kills of them at any moment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded
from core.catalog.products.writing import Put, put_products
from core.connections.queries import ConnectionRow
from core.db import fetch, unit_of_work
from core.targets.queries import TARGET_CLASS
from tests.adapters.conftest import CLOCK_FACTOR, SandboxControl
from tests.conftest import TestServers
from tests.factories import ACTOR, BASELINE, make_connection, make_shop, unique
from tests.targeting import STORE, make_product

ROOT = Path(__file__).resolve().parents[2]
PRODUCTS = 230


@dataclass
class Shop:
    """A shop in a database that others reach, and its account in a sandbox that runs by itself."""

    engine: Engine
    database_url: str
    redis_url: str
    control: SandboxControl
    account: dict[str, Any]
    row: ConnectionRow

    def start(self, seat: int = 1) -> subprocess.Popen[bytes]:
        given = {
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "base_url": f"{self.control.base}/klaviyo",
            "key": self.account["private_key"],
            "shop_id": self.row.shop_id,
            "connection_id": self.row.id,
            "seat": seat,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.telling"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(given).encode() + b"\n")
        process.stdin.flush()
        return process

    def finish(self) -> None:
        end(let_go(self.start()))

    def held(self) -> dict[str, Any]:
        found: dict[str, Any] = self.control.get(f"/klaviyo/{self.account['public_key']}/catalogue")
        return found

    def rows(self, sql: str) -> list[Any]:
        with unit_of_work(self.engine) as conn:
            return list(fetch(conn, sql, shop=self.row.shop_id))

    def check(self) -> None:
        """Everything is there, once, and nothing is open."""
        wanted = self.rows("select kind, external_id from target_entries where shop_id = %(shop)s")
        held = self.held()
        found = Counter((kind, one["id"]) for kind, ones in held.items() for one in ones)
        plural = {"item": "items", "variant": "variants", "category": "categories"}
        assert found == Counter((plural[row["kind"]], row["external_id"]) for row in wanted)
        assert self.rows("select 1 from target_jobs where shop_id = %(shop)s and ended_at is null") == []
        assert self.rows("select 1 from target_entries where shop_id = %(shop)s and confirmed_hash is null") == []


@pytest.fixture(scope="module")
def process_database(servers: TestServers, template_database: embedded.Database) -> Iterator[tuple[Engine, str]]:
    database = embedded.create_database(servers.home, "telling_processes", template=template_database.name)
    engine = create_engine(database.url)
    yield engine, database.url
    engine.dispose()


@pytest.fixture
def shop(process_database: tuple[Engine, str], sandbox: SandboxControl, redis_url: str) -> Shop:
    engine, url = process_database
    account = sandbox.post("/klaviyo", {"name": unique("Account")})
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        settings = {"storefront_url": STORE, "clock_factor": CLOCK_FACTOR}
        row = make_connection(
            conn, shop_id, guarantee_class=TARGET_CLASS, vendor="klaviyo", account_ref=account["public_key"],
            locations={}, is_sku_source=False, settings=settings,
        )  # fmt: skip
        puts = [Put(make_product(f"p{n}", f"P{n}-1", f"P{n}-2")) for n in range(PRODUCTS)]
        put_products(conn, shop_id, puts, "imported", ACTOR, BASELINE)
    return Shop(engine, url, redis_url, sandbox, account, row)


def let_go(*processes: subprocess.Popen[bytes]) -> list[subprocess.Popen[bytes]]:
    """All of them at once, when each is ready."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    return list(processes)


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.wait(120) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_two_processes_tell_everything_once(shop: Shop) -> None:
    end(let_go(*[shop.start(seat) for seat in (1, 2)]))
    shop.finish()
    shop.check()
    told = shop.rows(
        """
        select count(*) as n from target_job_entries where shop_id = %(shop)s and outcome = 'ok' group by entry_id
        """
    )
    assert {row["n"] for row in told} == {1}
    assert {row["seat"] for row in shop.rows("select distinct seat from target_jobs where shop_id = %(shop)s")} == {
        1,
        2,
    }


def kill_at(shop: Shop, seconds: float) -> bool:
    """Whether it was still at work then."""
    (process,) = let_go(shop.start())
    # When it dies is the point of it.
    time.sleep(seconds)
    was_at_work = process.poll() is None
    process.kill()
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    return was_at_work


def test_a_worker_killed_at_some_moments_loses_and_repeats_nothing(shop: Shop) -> None:
    moments = random.Random(1)
    killed = sum(kill_at(shop, moments.uniform(0.05, 0.6)) for _ in range(4))
    assert killed > 0
    shop.finish()
    shop.check()


@pytest.mark.long
def test_a_worker_killed_at_fifty_moments_loses_and_repeats_nothing(shop: Shop) -> None:
    moments = random.Random(2)
    for number in range(50):
        kill_at(shop, moments.uniform(0.0, 0.5))
        if number % 5 == 4:
            more = [Put(make_product(f"m{number}-{n}", f"M{number}-{n}")) for n in range(40)]
            with unit_of_work(shop.engine) as conn:
                put_products(conn, shop.row.shop_id, more, "imported", ACTOR, BASELINE)
    shop.finish()
    shop.check()
