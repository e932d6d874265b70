"""A database that neither answers nor refuses: everybody is sent away in bounded time, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import Engine

from api.ingest import HANG_UP_SECONDS
from core import embedded
from tests.api.conftest import Served, Shop, signed_headers
from tests.functional.systems import wait_until

BODY = b'{"id": 1}'
SENDERS = 60


def threads(served: Served) -> int:
    return len(list(Path(f"/proc/{served.process.pid}/task").iterdir()))


def postmaster(database: embedded.Database) -> int:
    with psycopg.connect(_plain(database.superuser_url)) as conn:
        folder = Path(str(conn.execute("show data_directory").fetchone()[0]))  # type: ignore[index]
    return int((folder / "postmaster.pid").read_text().split()[0])


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


@contextlib.contextmanager
def frozen(database: embedded.Database) -> Iterator[None]:
    """The whole server stands still: connections stay open, new ones are taken by the system and not served."""
    parent = postmaster(database)
    family = [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]
    try:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def locked(engine: Engine, database: embedded.Database) -> Iterator[None]:
    """Somebody holds the whole inbox, as a careless change of the schema does."""
    with psycopg.connect(_plain(database.superuser_url)) as conn, conn.transaction():
        conn.execute("lock table inbox_messages in access exclusive mode")
        yield


async def deliver(served: Served, shop: Shop, first: int) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=SENDERS)
    # The patience only ends a test that hangs.
    async with httpx.AsyncClient(base_url=served.url, timeout=60, limits=limits) as client:
        return list(
            await asyncio.gather(
                *(
                    client.post(shop.path, content=BODY, headers=signed_headers(BODY, f"d-{number}"))
                    for number in range(first, first + SENDERS)
                )
            )
        )


def assert_sent_away(answers: list[httpx.Response]) -> None:
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"5"}


@pytest.mark.parametrize("how", ["frozen", "locked"])
def test_deliveries_to_a_hanging_database_are_sent_away_and_come_in_later(
    served: Served, shop: Shop, database: embedded.Database, engine: Engine, how: str
) -> None:
    assert {answer.status_code for answer in asyncio.run(deliver(served, shop, 0))} == {200}
    before = threads(served)
    with frozen(database) if how == "frozen" else locked(engine, database):
        assert_sent_away(asyncio.run(deliver(served, shop, 1000)))
        assert httpx.get(f"{served.url}/healthz", timeout=60).status_code == 200
        scraped = httpx.get(served.metrics_url, timeout=60).text
        assert 'switchyard_deliveries_refused_total{reason="unavailable"} 60.0' in scraped
        if how == "frozen":
            assert 'switchyard_up{part="postgres"} 0.0' in scraped
            assert_nobody_piles_up(served, before)
    assert {answer.status_code for answer in asyncio.run(deliver(served, shop, 1000))} == {200}
    # Whoever asked while the database hung may have left one more try, which has to run out first.
    wait_until(lambda: httpx.get(f"{served.url}/readyz", timeout=60).status_code == 200, "it is ready again", 60)
    assert len(shop.rows()) == 2 * SENDERS


def assert_nobody_piles_up(served: Served, threads_before: int) -> None:
    """One thread hangs for each thing that is asked, however many want to know."""
    for _ in range(20):
        assert httpx.get(served.metrics_url, timeout=60).status_code == 200
        answer = httpx.get(f"{served.url}/readyz", timeout=60)
        assert (answer.status_code, answer.json()["missing"]) == (503, ["database"])
    # One for readiness, one for metrics, and a few of the scrapers' own.
    assert threads(served) <= threads_before + 6


def test_a_process_that_does_not_even_know_the_connection_sends_away_too_and_can_end(
    served: Served, shop: Shop, database: embedded.Database
) -> None:
    before = threads(served)
    with frozen(database):
        assert_sent_away(asyncio.run(deliver(served, shop, 0)))
        assert threads(served) <= before + 3
        served.process.terminate()
        assert served.process.wait(timeout=60) == -signal.SIGTERM
    assert shop.rows() == []


def test_who_connects_while_a_line_is_hung_up_is_answered(
    served: Served, shop: Shop, database: embedded.Database
) -> None:
    """The number of a closed descriptor would be given to the next client, and the event loop still watched it."""
    with httpx.Client(base_url=served.url, timeout=60) as client:
        assert client.post(shop.path, content=b"{}", headers=signed_headers(b"{}", "d-1")).status_code == 200
    backend = ingest_backend(database)
    sender = threading.Thread(target=lambda: deliver_alone(served, shop, "d-2"))
    os.kill(backend, signal.SIGSTOP)
    try:
        sender.start()
        newcomers = [greet(served, after) for after in (HANG_UP_SECONDS - 0.1, *[0.004] * 150)]
        answers = [bool(newcomer.recv(4096)) for newcomer in newcomers]
        sender.join(30)
    finally:
        os.kill(backend, signal.SIGCONT)
    assert answers == [True] * len(newcomers)


def ingest_backend(database: embedded.Database) -> int:
    with psycopg.connect(_plain(database.superuser_url)) as conn:
        row = conn.execute(
            "select pid from pg_stat_activity where application_name = 'switchyard-ingest'"
            " and datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def deliver_alone(served: Served, shop: Shop, delivery_id: str) -> None:
    httpx.post(served.url + shop.path, content=b"{}", headers=signed_headers(b"{}", delivery_id), timeout=60)


def greet(served: Served, after: float) -> socket.socket:
    """A new client, a moment after the last one."""
    time.sleep(after)
    client = socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), 5)
    client.settimeout(10)
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    return client
