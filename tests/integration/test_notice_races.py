"""Relays at once, and one that dies between saying and noting: a digest is one, nothing is lost, a repeat is known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core.audit import Actor
from core.bootstrap import make_application
from core.config import Settings
from core.connections.operations import new_key
from core.db import fetch, scalar, unit_of_work
from core.letters import Answer, SlackAddress
from core.messaging import gathering, notice_addresses, notice_channels, outbox
from core.messaging.notice_channels import Wishes
from core.messaging.notices import Notice, say
from tests import racing
from tests.conftest import ROOT
from tests.factories import World, make_world
from tests.mailing import Post, serving

KEY = new_key()
ADA = Actor("Ada", "we want to know")
NOW = datetime(2026, 11, 2, 10, 20, tzinfo=UTC)
DUE = NOW + timedelta(hours=1)
CHANNELS, NOTICES = 8, 12


def relay(engine: Engine, _world: World) -> Any:
    """Gather and say everything; returns what was said."""
    said: list[str] = []

    def ear(message: outbox.Outgoing) -> Answer:
        assert message.target is not None
        said.append(f"{message.target.name}: {message.payload['subject']}")
        return Answer("ok")

    gathering.gather(engine, DUE)
    while outbox.relay_one(engine, ear, DUE):
        pass
    return said


def tell(engine: Engine, world: World) -> int:
    """Say the same things as everybody else; returns how many were new."""
    new = 0
    for number in range(NOTICES):
        with unit_of_work(engine) as conn:
            new += say(conn, world.shop_id, Notice(f"n{number:02}", "backlog", "danger", f"About {number}", "x"), NOW)
    return new


def die(engine: Engine, _world: World) -> Any:
    """Say one thing by the real road, and be killed before it is noted."""
    app = make_application(replace(settings_of(engine), secret_keys=(os.environ["TEST_KEY"],)))

    def last_words(message: outbox.Outgoing) -> Answer:
        app.sender()(message)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it is dead")

    outbox.relay_one(engine, last_words, NOW)


ROLES: dict[str, Callable[[Engine, World], Any]] = {role.__name__: role for role in (relay, die)}


def settings_of(engine: Engine) -> Settings:
    url = engine.url.render_as_string(hide_password=False)
    return Settings.from_environment({"DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0"})


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn)


def add(engine: Engine, world: World, name: str, address: Any, **wishes: Any) -> None:
    with unit_of_work(engine) as conn:
        notice_channels.add(conn, world.shop_id, Wishes(name, **wishes), address, [KEY], ADA, NOW)


def test_relays_at_once_say_each_digest_once_and_lose_nothing(engine: Engine, world: World) -> None:
    for number in range(CHANNELS):
        rhythm = "hourly" if number % 2 else "at_once"
        add(engine, world, f"c{number}", SlackAddress("https://x.test/y"), rhythm=rhythm, most_an_hour=5)
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda _: tell(engine, world), range(3)))
    assert sum(told) == NOTICES
    said = [words for each in racing.race(engine, __file__, [("relay", world)] * 2) for words in each]
    assert sorted(said) == sorted(
        [f"c{number}: About 0, and {NOTICES - 1} more" for number in range(CHANNELS)],
    )
    with engine.connect() as conn:
        rows = fetch(conn, "select state, count(*) as n from outbox_messages group by 1 order by 1")
        assert {row["state"]: row["n"] for row in rows} == {"gathered": CHANNELS * NOTICES, "sent": CHANNELS}
        carried = fetch(
            conn, "select count(*) as n from outbox_messages where gathered_in is not null group by gathered_in"
        )
        assert [row["n"] for row in carried] == [NOTICES] * CHANNELS


@pytest.fixture
def post() -> Iterator[Post]:
    with serving() as made:
        yield made


def test_what_is_said_again_after_a_death_is_known_for_the_same(engine: Engine, world: World, post: Post) -> None:
    to = notice_addresses.mail("127.0.0.1", post.port, "none", "us@shop.test", ["ops@shop.test"])
    add(engine, world, "Post", to)
    with unit_of_work(engine) as conn:
        say(conn, world.shop_id, Notice("alert:1", "backlog", "danger", "It grows", "x"), NOW)
    gathering.gather(engine, NOW)
    url = engine.url.render_as_string(hide_password=False)
    died = subprocess.run(
        [sys.executable, __file__, "die", url, str(world.shop_id), str(world.connection.id)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TEST_KEY": KEY},
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(post.mails) == 1
    app = make_application(replace(settings_of(engine), secret_keys=(KEY,)))
    assert outbox.relay_one(engine, app.sender(), NOW)
    assert not outbox.relay_one(engine, app.sender(), NOW)
    (_, first), (_, second) = post.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert (first["Date"], first["Subject"]) == (second["Date"], second["Subject"])
    with engine.connect() as conn:
        assert scalar(conn, "select answer from outbox_messages where state = 'sent'") == "250 2.0.0 Ok: queued as 4F2A"


if __name__ == "__main__":
    racing.play(ROLES)
