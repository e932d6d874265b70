"""One access token for every process: fetched by one, used by all, sealed at rest. On real Postgres and processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from sqlalchemy import Engine, create_engine

from core import embedded
from core.audit import Actor
from core.bootstrap import Application, make_application
from core.clock import utc_now
from core.config import Settings
from core.connections import keys as sealing
from core.connections import operations as connections
from core.connections.operations import new_key
from core.connections.tokens import SealedShelf
from core.db import fetch, scalar, unit_of_work
from core.ports import LivingToken
from tests.adapters.canned_shopify import CannedShop
from tests.factories import World, make_connection, make_shop, world_of
from tests.racing import play, race

ADA = Actor("Ada", "a test")
SECRETS = {"client_id": "an-id", "client_secret": "hush-hush"}


# --- the vendor, at an address ----------------------------------------------------------------------------------------


@dataclass
class Shop:
    """A canned Shopify behind a real port. Only the newest token is good; `together`: token calls that come at once."""

    canned: CannedShop = field(default_factory=CannedShop)
    is_accepting: bool = True
    refused: int = 0
    _second: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/access_token"):
            return self._token(request)
        if request.headers.get("X-Shopify-Access-Token") != f"t{self.canned.tokens}" or not self.is_accepting:
            self.refused += 1
            return httpx.Response(401, json={"errors": "who are you?"})
        return self.canned(request)

    def _token(self, request: httpx.Request) -> httpx.Response:
        answer = self.canned(request)
        self.is_accepting = True
        # Whoever else wants one has the time to come for it.
        (self._second.set if self.canned.tokens > 1 else lambda: self._second.wait(0.5))()
        return answer


@pytest.fixture
def shop() -> Iterator[tuple[str, Shop]]:
    made = Shop()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = made.answer(
                httpx.Request("POST", f"http://shop{self.path}", headers=dict(self.headers), content=body)
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", made
    server.shutdown()
    server.server_close()


# --- what races -------------------------------------------------------------------------------------------------------


def ask(_: Engine, world: World) -> str:
    """As a job does it, in a process of its own."""
    app = make_application(Settings.from_environment())
    with app.channel(world.connection) as channel:
        return channel.about().currency


@pytest.fixture
def keys(
    database: embedded.Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    found = (new_key(), new_key())
    for name, value in {
        "DATABASE_URL": database.url,
        "REDIS_URL": redis_url,
        "SWITCHYARD_HOME": str(tmp_path),
        "SWITCHYARD_SECRET_KEYS": ",".join(found),
    }.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def world(engine: Engine, shop: tuple[str, Shop], keys: tuple[str, ...]) -> World:
    with unit_of_work(engine) as conn:
        row = make_connection(conn, make_shop(conn), base_url=shop[0], settings={"clock_factor": 1000})
        connections.seal_secrets(conn, keys, row.shop_id, row.id, SECRETS, utc_now())
        return world_of(conn, row)


@pytest.fixture
def app(keys: tuple[str, ...]) -> Iterator[Application]:
    made = make_application(Settings.from_environment())
    yield made
    made.engine.dispose()


def test_processes_at_once_fetch_one_token_and_a_refused_one_is_fetched_once(
    engine: Engine, world: World, shop: tuple[str, Shop], redis_url: str
) -> None:
    _, vendor = shop
    assert race(engine, __file__, [("ask", world)] * 2) == ["GBP", "GBP"]
    assert (vendor.canned.tokens, vendor.refused) == (1, 0)
    vendor.is_accepting = False
    assert race(engine, __file__, [("ask", world)] * 2) == ["GBP", "GBP"]
    assert vendor.canned.tokens == 2
    assert vendor.refused in (1, 2)
    with unit_of_work(engine) as conn:
        said = repr([dict(row) for row in fetch(conn, "select * from connection_tokens")])
        logged = repr([dict(row) for row in fetch(conn, "select * from api_calls")])
    assert "connection_id" in said
    assert [word for word in ("'t1'", "'t2'", "hush", "an-id") if word in said + logged] == []
    with redis.Redis.from_url(redis_url) as client:
        assert [name for name in client.scan_iter() if b"limit:" not in name] == []


# --- the shelf itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(engine: Engine, world: World, keys: tuple[str, ...]) -> SealedShelf:
    return SealedShelf(engine, keys, world.shop_id, world.connection.id)


def token(value: str) -> LivingToken:
    now = utc_now()
    return LivingToken(value, now + timedelta(hours=1), now + timedelta(hours=2))


def test_other_credentials_do_not_find_it_and_only_the_refused_one_is_dropped(shelf: SealedShelf) -> None:
    kept = token("shpat_1")
    shelf.put("these", kept)
    assert shelf.get("these") == kept
    assert shelf.get("others") is None
    shelf.drop("these", "shpat_0")
    shelf.drop("others", "shpat_1")
    assert shelf.get("these") == kept
    shelf.drop("these", "shpat_1")
    assert shelf.get("these") is None


def test_a_token_of_another_connection_is_none(engine: Engine, world: World, shelf: SealedShelf) -> None:
    with unit_of_work(engine) as conn:
        other = make_connection(conn, make_shop(conn))
    shelf.put("these", token("shpat_1"))
    assert replace(shelf, shop_id=other.shop_id, connection_id=other.id).get("these") is None


def test_new_credentials_are_asked_for_a_token_of_their_own(
    engine: Engine, app: Application, world: World, shop: tuple[str, Shop], keys: tuple[str, ...]
) -> None:
    for secret in ("hush-hush", "hush-hush", "another"):
        with unit_of_work(engine) as conn:
            connections.seal_secrets(
                conn, keys, world.shop_id, world.connection.id, {"client_secret": secret}, utc_now()
            )
        with app.channel(world.connection) as channel:
            channel.about()
    assert shop[1].canned.tokens == 2


def test_a_rotation_of_keys_leaves_no_token_under_an_old_one(
    engine: Engine, shelf: SealedShelf, keys: tuple[str, ...]
) -> None:
    new = new_key()
    shelf.put("these", token("shpat_1"))
    with unit_of_work(engine) as conn:
        sealing.rotate(conn, keys, ADA, utc_now())
    assert shelf.get("these") is not None, "it is under the newest key already"
    with unit_of_work(engine) as conn:
        sealing.rotate(conn, [new, *keys], ADA, utc_now())
        assert scalar(conn, "select count(*) from connection_tokens") == 0


def test_a_token_that_no_key_opens_is_none_and_is_put_anew(shelf: SealedShelf) -> None:
    shelf.put("these", token("shpat_1"))
    other = replace(shelf, keys=(new_key(),))
    assert other.get("these") is None
    other.drop("these", "shpat_1")
    other.put("these", kept := token("shpat_2"))
    assert other.get("these") == kept


def test_a_database_that_is_away_stops_nobody(shelf: SealedShelf, lines: Any) -> None:
    away = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    lost = replace(shelf, engine=away)
    with lost.fetching():
        assert lost.get("these") is None
        lost.put("these", token("shpat_1"))
    lost.drop("these", "shpat_1")
    said = lines()
    assert said
    assert "shpat_1" not in repr(said)


def test_whoever_waits_too_long_for_another_fetches_as_well(
    shelf: SealedShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.connections.tokens.WAITS_SECONDS", 0.05)
    with shelf.fetching(), shelf.fetching():
        shelf.put("these", token("shpat_1"))
    assert shelf.get("these") is not None


if __name__ == "__main__":
    play({"ask": ask})
