"""Credentials at rest: which key sealed them, and moving them to another, also at once and cut off in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from core.audit import Actor
from core.connections import keys as sealing
from core.connections import operations as connections
from core.connections.operations import NewConnection, UnreadableSecret, new_key
from core.db import fetch, scalar, unit_of_work
from core.sealing import BadSecretKey, NoSecretKeys
from workers import cli

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADA = Actor("Ada", "the old one was seen")
OLD, NEW, FOREIGN = new_key(), new_key(), new_key()
ROOT = Path(__file__).resolve().parents[2]


def connect(conn: Connection, name: str, keys: list[str]) -> tuple[int, int]:
    """A shop with one connection and two credentials of its own, sealed with the first of `keys`."""
    shop = connections.open_shop(conn, f"Shop of {name}", "Europe/London", "GBP", ADA, NOW)
    secrets = {"client_id": f"{name}-id", "client_secret": f"{name}-secret"}
    new = NewConnection("shopify", name, "https://shop.test", "shop.test", "A", {}, secrets)
    return shop, connections.connect(conn, shop, new, keys, ADA, NOW)


@pytest.fixture
def pair(engine: Engine) -> list[tuple[int, int]]:
    with unit_of_work(engine) as conn:
        return [connect(conn, "Storm", [OLD]), connect(conn, "Calm", [OLD])]


def positions(engine: Engine, keys: list[str]) -> list[int | None]:
    with unit_of_work(engine) as conn:
        return [secret.position for secret in sealing.sealed(conn, keys)]


def stored(engine: Engine) -> list[bytes]:
    with unit_of_work(engine) as conn:
        rows = fetch(conn, "select sealed from connection_secrets order by shop_id, connection_id, name")
    return [bytes(row["sealed"]) for row in rows]


def audited(engine: Engine) -> list[tuple[int, str, dict[str, object]]]:
    with unit_of_work(engine) as conn:
        rows = fetch(conn, "select shop_id, actor, details from audit_entries where act = 'rotate_keys' order by id")
    return [(row["shop_id"], row["actor"], row["details"]) for row in rows]


def test_everything_is_sealed_under_the_newest_key_once_and_on_record(
    engine: Engine, pair: list[tuple[int, int]]
) -> None:
    assert positions(engine, [NEW, OLD]) == [2, 2, 2, 2]
    with unit_of_work(engine) as conn:
        assert sealing.rotate(conn, [NEW, OLD], ADA, NOW) == sealing.Rotation(4, ())
    assert positions(engine, [NEW]) == [1, 1, 1, 1]
    first = stored(engine)
    with unit_of_work(engine) as conn:
        assert sealing.rotate(conn, [NEW, OLD], ADA, NOW).resealed == 0
        assert connections.open_secrets(conn, [NEW], *pair[0]) == {
            "client_id": "Storm-id",
            "client_secret": "Storm-secret",
        }
        with pytest.raises(UnreadableSecret):
            connections.open_secrets(conn, [OLD], *pair[0])
    assert stored(engine) == first, "what is under the newest key already is left alone"
    assert audited(engine) == [(shop, "Ada", {"credentials": 2, "connections": [id_]}) for shop, id_ in pair]


def test_what_no_key_opens_is_named_and_left_and_the_rest_is_moved(engine: Engine, pair: list[tuple[int, int]]) -> None:
    with unit_of_work(engine) as conn:
        connections.seal_secrets(conn, [FOREIGN], *pair[0], {"client_secret": "elsewhere"}, NOW)
    with unit_of_work(engine) as conn:
        done = sealing.rotate(conn, [NEW, OLD], ADA, NOW)
    assert done.resealed == 3
    assert [(secret.connection, secret.name) for secret in done.unreadable] == [("Storm", "client_secret")]
    assert positions(engine, [NEW, OLD, FOREIGN]) == [1, 3, 1, 1]


def test_a_key_that_is_none_is_named_by_its_place_and_never_shown(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        with pytest.raises(BadSecretKey, match="key 2 of SWITCHYARD_SECRET_KEYS") as caught:
            sealing.rotate(conn, [NEW, "hush-hush"], ADA, NOW)
        assert "hush" not in str(caught.value)
        assert caught.value.__cause__ is None
        with pytest.raises(NoSecretKeys):
            sealing.sealed(conn, [])


@pytest.fixture
def environment(database: embedded.Database, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database.url,
        "REDIS_URL": redis_url,
        "SWITCHYARD_HOME": str(tmp_path),
        "SWITCHYARD_SECRET_KEYS": f"{NEW},{OLD}",
        "SWITCHYARD_OPERATOR": "ada",
        "PYTHONPATH": str(ROOT),
    }


def rotating(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "keys", "rotate"],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def held(engine: Engine, statement: str) -> Iterator[None]:
    """Hold a lock from outside until the block ends."""
    with engine.connect() as conn, conn.begin():
        conn.exec_driver_sql(statement)
        yield


def await_waiting(engine: Engine, count: int) -> None:
    """Until so many connections wait for a lock."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with unit_of_work(engine) as conn:
            sql = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            if scalar(conn, sql) >= count:
                return
        time.sleep(0.05)
    raise AssertionError(f"{count} were to wait for a lock")


def test_two_processes_at_once_seal_everything_once(
    engine: Engine, pair: list[tuple[int, int]], environment: dict[str, str]
) -> None:
    with held(engine, "select from connection_secrets for update"):
        processes = [rotating(environment) for _ in range(2)]
        await_waiting(engine, 2)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted(output.split()[0] for output in outputs) == ["0", "4"]
    assert positions(engine, [NEW]) == [1, 1, 1, 1]
    assert [shop for shop, _, _ in audited(engine)] == [shop for shop, _ in pair]


def test_a_kill_in_the_middle_leaves_nothing_half_done(
    engine: Engine, database: embedded.Database, pair: list[tuple[int, int]], environment: dict[str, str]
) -> None:
    before = stored(engine)
    owner = create_engine(database.migrate_url)
    # Everything is sealed anew, and the record of it cannot be written yet.
    with held(owner, "lock table audit_entries in exclusive mode"):
        process = rotating(environment)
        await_waiting(engine, 1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    owner.dispose()
    assert stored(engine) == before
    assert audited(engine) == []
    again = rotating(environment)
    assert again.communicate(timeout=60)[0].startswith("4 credentials")
    assert positions(engine, [NEW]) == [1, 1, 1, 1]


def test_the_command_says_what_each_key_is_needed_for(
    engine: Engine,
    pair: list[tuple[int, int]],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    first = CliRunner().invoke(cli.cli, ["keys"])
    assert first.exit_code == 0
    assert first.output.splitlines() == [
        "key 1 (newest: seals what is stored): 0 credentials",
        "key 2 (still needed): 4 credentials",
    ]
    assert CliRunner().invoke(cli.cli, ["keys", "rotate"]).output.startswith("4 credentials")
    assert "key 2 (can be taken away): 0 credentials" in CliRunner().invoke(cli.cli, ["keys"]).output
    with unit_of_work(engine) as conn:
        connections.seal_secrets(conn, [FOREIGN], *pair[0], {"client_id": "elsewhere"}, NOW)
    lost = CliRunner().invoke(cli.cli, ["keys"])
    assert lost.exit_code == 1
    assert "client_id of Storm" in lost.output
    fresh = CliRunner().invoke(cli.cli, ["keys", "new"]).output.strip()
    assert len(sealing.fernets([fresh])) == 1
    shown = first.output + lost.output
    assert not any(key in shown for key in (OLD, NEW, FOREIGN))
