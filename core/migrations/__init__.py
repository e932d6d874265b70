"""Schema changes, applied by Alembic. The SQL of each revision stands beside it as plain text, frozen once released."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

FOLDER = Path(__file__).parent


def configuration(url: str, app_role: str | None = None) -> Config:
    """Alembic's configuration for one database; `app_role` is granted what the application needs."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["url"] = url
    config.attributes["app_role"] = app_role
    return config


def migrate(url: str, app_role: str | None = "switchyard_app") -> None:
    """Bring the database at `url` (its owner's address) to the newest revision; does nothing when it is there."""
    command.upgrade(configuration(url, app_role), "head")


def sql_of(name: str) -> str:
    """The text of one file under `sql/`."""
    return (FOLDER / "sql" / name).read_text(encoding="utf-8")


def main() -> None:
    """`python -m core.migrations`: migrate the database that the environment names."""
    from core.config import Settings  # entry point only

    migrate(Settings.from_environment().migrate_url)
    print("the database is at the newest revision", file=sys.stderr)
