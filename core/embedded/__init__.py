"""The embedded default: a real PostgreSQL and a real redis-server of our own, started when no other is configured.

Both run from their plain binaries, detached from whoever started them, listen on loopback only and ask for a
generated password. Everything lives in one folder, the *home*:

    embedded.json   ports and binaries in use, so that the next start finds the same ones
    embedded.lock   held while starting and stopping
    secrets/        generated passwords, mode 0600
    servers/        the data of both servers; see `place.py` for the exception

PostgreSQL refuses to run as root. Root therefore runs both servers under an unprivileged account; where that account
cannot reach the home or the binaries, the data and copies of the binaries go to /var/lib/switchyard instead. The
permissions of folders above the home are never changed.

For shell use: `python -m core.embedded start|stop|status|erase --home FOLDER`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.embedded.common import EmbeddedError, ServerStatus
from core.embedded.home import locked, open_home
from core.embedded.place import SHELTER, choose_place, known_place
from core.embedded.postgres import APP_ROLE, OWNER_ROLE, SUPERUSER, Postgres
from core.embedded.redis_server import RedisServer

__all__ = [
    "APP_ROLE",
    "OWNER_ROLE",
    "SHELTER",
    "SUPERUSER",
    "Database",
    "EmbeddedError",
    "ServerStatus",
    "Servers",
    "create_database",
    "drop_database",
    "erase",
    "open_home",
    "start",
    "status",
    "stop",
    "superuser_url",
]


@dataclass(frozen=True)
class Servers:
    """Where the running servers are, as SQLAlchemy and redis-py write addresses."""

    database_url: str
    migrate_url: str
    redis_url: str


@dataclass(frozen=True)
class Database:
    """One database of the embedded PostgreSQL, as seen by each of its three roles."""

    name: str
    url: str
    migrate_url: str
    superuser_url: str


def start(
    home: Path,
    *,
    postgres_port: int = 8503,
    redis_port: int = 8504,
    database: str = "switchyard",
    postgres: bool = True,
    redis_server: bool = True,
    postgres_settings: Mapping[str, str] | None = None,
) -> Servers:
    """Find or start both servers and return where they are.

    A port that is taken moves on by ten; the home remembers the port for next time. With `postgres` or
    `redis_server` false that server is left alone and its addresses are empty.

    Raises EmbeddedError when a server cannot be started, NoFreePort when every port is taken.
    """
    home = open_home(home)
    with locked(home):
        place = choose_place(home)
        database_url = migrate_url = redis_url = ""
        if postgres:
            server = Postgres(home, place)
            port = server.start(postgres_port, postgres_settings or {})
            server.provide(port, database)
            database_url = server.url(port, APP_ROLE, database)
            migrate_url = server.url(port, OWNER_ROLE, database)
        if redis_server:
            redis_url = RedisServer(home, place).start(redis_port)
    return Servers(database_url=database_url, migrate_url=migrate_url, redis_url=redis_url)


def stop(home: Path) -> bool:
    """Stop both servers, keeping their data. Returns whether any was running."""
    home = home.absolute()
    if not (home / "embedded.json").exists():
        return False
    with locked(home):
        place = known_place(home)
        stopped = [RedisServer(home, place).stop(), Postgres(home, place).stop()]
    return any(stopped)


def status(home: Path) -> dict[str, ServerStatus]:
    """What runs for this home, by name: `postgres` and `redis`."""
    home = home.absolute()
    place = known_place(home)
    return {"postgres": Postgres(home, place).status(), "redis": RedisServer(home, place).status()}


def erase(home: Path) -> None:
    """Stop both servers and remove their data for good, wherever it lies."""
    home = home.absolute()
    place = known_place(home)
    stop(home)
    shutil.rmtree(place.folder, ignore_errors=True)
    shutil.rmtree(home / "secrets", ignore_errors=True)
    for name in ("embedded.json", "embedded.lock"):
        (home / name).unlink(missing_ok=True)


def create_database(home: Path, name: str, *, template: str | None = None) -> Database:
    """One more database beside the product's own, empty or a copy of another: this is how tests get theirs.

    Raises EmbeddedError when the server is not running.
    """
    server, port = _running_postgres(home)
    server.create_database(port, name, template)
    roles = (APP_ROLE, OWNER_ROLE, SUPERUSER)
    return Database(name, *(server.url(port, role, name) for role in roles))


def drop_database(home: Path, name: str) -> None:
    """Drop a database, throwing out whoever is still connected to it."""
    server, port = _running_postgres(home)
    server.drop_database(port, name)


def superuser_url(home: Path, database: str = "postgres") -> str:
    """The bootstrap superuser's address: for making roles and databases, and for tests."""
    server, port = _running_postgres(home)
    return server.url(port, SUPERUSER, database)


def _running_postgres(home: Path) -> tuple[Postgres, int]:
    home = home.absolute()
    server = Postgres(home, known_place(home))
    port = server.running_port()
    if port is None:
        raise EmbeddedError(f"The embedded PostgreSQL of {home} is not running.")
    return server, port
