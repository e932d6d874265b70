"""What every command of `switchyard` shares: where the instance is, who asks, and where words go."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from core import bootstrap
from core.bootstrap import Application
from core.config import DEFAULT_HOME, Settings
from core.connections import queries as connections
from core.connections.queries import ConnectionRow
from core.db import read_only
from core.errors import BadInput, Retryable
from workers import up as supervision

console = Console(stderr=True)


def home() -> Path:
    """Where the embedded instance lives."""
    return Path(os.environ.get("SWITCHYARD_HOME", DEFAULT_HOME)).absolute()


def application() -> Application:
    """The running instance that the environment or the home names. Raises MissingSetting when there is none."""
    environment: dict[str, str] = {}
    if "DATABASE_URL" not in os.environ and (state := supervision.read_state(home())) is not None:
        environment = state.environment()
    return bootstrap.make_application(Settings.from_environment({**os.environ, **environment}), name="switchyard-cli")


def moment(instant: datetime) -> str:
    """A time as every command says it: 2026-11-27 14:02 UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def many(number: int, word: str) -> str:
    """1 row, 17 rows."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def person() -> str:
    """Who asks: what they do is kept on record under this name."""
    return os.environ.get("SWITCHYARD_OPERATOR") or getpass.getuser()


def shop_of(app: Application, name: str | None) -> int:
    """The shop of that name, or the only one. Raises BadInput when that does not tell."""
    with read_only(app.engine) as conn:
        known = {row["name"]: row["shop_id"] for row in connections.shops(conn)}
    if name is not None and name in known:
        return int(known[name])
    if name is None and len(known) == 1:
        return int(next(iter(known.values())))
    shown = ", ".join(known) or "none yet: `switchyard seed` makes one"
    asked = "name one with --shop" if name is None else f"there is no shop {name}"
    raise BadInput(f"{asked}; shops: {shown}")


def connection_of(app: Application, shop: str | None, name: str) -> ConnectionRow:
    """The connection of that name or number, in the shop named or the only one. Raises BadInput."""
    shop_id = shop_of(app, shop)
    with read_only(app.engine) as conn:
        known = connections.connections_of(conn, shop_id)
    found = [row for row in known if row.name == name or str(row.id) == name]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"{row.name} ({row.id})" for row in known) or "none yet"
    raise BadInput(f"there is no connection {name}; connections: {shown}")


def ring(app: Application, job: str, **arguments: object) -> str:
    """Ring for what was committed, and say when it begins: a ring that finds no Redis is made up for by a sweep."""
    try:
        app.queue.enqueue(job, **arguments)
    except Retryable:
        return "Redis does not answer: it begins when Redis is back."
    return "It begins within seconds."
