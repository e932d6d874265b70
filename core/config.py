"""Settings, read once from the environment by the entry points and then only handed on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput

DEFAULT_HOME = ".switchyard"
DEFAULT_PORT_BASE = 8500
DOCUMENTS = "documents"
"""In the home of an instance: files that people handed in or may fetch."""
ANCHORS = "anchors"
"""In the home of an instance: each day's head of every ledger, outside of the database."""
SECRET_KEYS_FILE = "secret_keys"
"""In the home of an instance, one key a line, for its owner only; made by `switchyard up`."""


class MissingSetting(BadInput):
    """A setting that this process needs is not there."""

    def __init__(self, name: str, repair: str) -> None:
        super().__init__(f"{name} is not set: {repair}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are. URLs carry passwords: never log them; `masked()` is for people."""

    home: Path
    database_url: str
    migrate_url: str
    redis_url: str
    api_url: str
    sandbox_url: str
    dashboard_url: str
    secret_keys: tuple[str, ...]
    notice_url: str | None
    metrics_token: str | None = None
    notices_inside: bool = False
    anchor_dir: Path = Path(DEFAULT_HOME) / ANCHORS
    documents_dir: Path = Path(DEFAULT_HOME) / DOCUMENTS
    documents_url: str = f"http://127.0.0.1:{DEFAULT_PORT_BASE + 1}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. Raises MissingSetting when the database or Redis is not named."""
        env = os.environ if environment is None else environment
        home = Path(env.get("SWITCHYARD_HOME", DEFAULT_HOME)).absolute()
        database_url = _required(env, "DATABASE_URL", "run `switchyard up`, or point it at a PostgreSQL 15 or newer")
        base = port_base(env)
        api_url = env.get("SWITCHYARD_API_URL", f"http://127.0.0.1:{base + 1}")
        return cls(
            home=home,
            database_url=_with_driver(database_url),
            migrate_url=_with_driver(env.get("DATABASE_MIGRATE_URL") or database_url),
            redis_url=_required(env, "REDIS_URL", "run `switchyard up`, or point it at a Redis 6.2 or newer"),
            dashboard_url=env.get("SWITCHYARD_DASHBOARD_URL", f"http://127.0.0.1:{base}"),
            api_url=api_url,
            sandbox_url=env.get("SWITCHYARD_SANDBOX_URL", f"http://127.0.0.1:{base + 2}"),
            secret_keys=_secret_keys(env, home),
            notice_url=env.get("SWITCHYARD_NOTICE_URL") or None,
            metrics_token=env.get("SWITCHYARD_METRICS_TOKEN") or None,
            notices_inside=env.get("SWITCHYARD_NOTICES_INSIDE") == "1",
            anchor_dir=Path(env.get("LEDGER_ANCHOR_DIR") or home / ANCHORS).absolute(),
            documents_url=env.get("SWITCHYARD_DOCUMENTS_URL") or api_url,
            documents_dir=Path(env.get("SWITCHYARD_DOCUMENTS_DIR") or home / DOCUMENTS).absolute(),
        )


def port_base(environment: Mapping[str, str]) -> int:
    """First of the block of ports this instance uses; raises BadInput when it is no usable number."""
    text = environment.get("SWITCHYARD_PORT_BASE", str(DEFAULT_PORT_BASE))
    if not text.isdigit() or not 1024 <= int(text) <= 65000:
        raise BadInput(f"SWITCHYARD_PORT_BASE is {text!r}: give a whole number from 1024 to 65000")
    return int(text)


def _secret_keys(env: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """Keys for stored credentials, newest first: from the environment, else from the home of this instance."""
    text = env.get("SWITCHYARD_SECRET_KEYS")
    if text is None and (home / SECRET_KEYS_FILE).is_file():
        text = (home / SECRET_KEYS_FILE).read_text(encoding="ascii")
    return tuple(key for key in (text or "").replace("\n", ",").split(",") if key)


def _required(env: Mapping[str, str], name: str, repair: str) -> str:
    value = env.get(name)
    if not value:
        raise MissingSetting(name, repair)
    return value


def _with_driver(url: str) -> str:
    """Name the psycopg 3 driver, so that a plain `postgres://` address from a host's panel works too."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url
