"""Copies of a database, one a test, by a connection that stays open.

To find the server, to prove that it is ours and to log in, as `core.embedded` does each time, takes as long as to copy.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from core import embedded
from core.embedded.postgres import APP_ROLE, OWNER_ROLE


class Copies:
    """What makes and drops them, on the server of a home."""

    def __init__(self, home: Path) -> None:
        url = embedded.superuser_url(home).replace("postgresql+psycopg", "postgresql")
        self._where = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        self._connection = self._connect()

    def __enter__(self) -> Copies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def make(self, name: str, template: embedded.Database) -> embedded.Database:
        """A copy for the same roles; nobody may be connected to the template."""
        self._run(
            "create database {name} template {template} owner {owner} strategy file_copy",
            name=name,
            template=template.name,
            owner=OWNER_ROLE,
        )
        self._run("revoke all on database {name} from public", name=name)
        self._run("grant connect, temporary on database {name} to {app}", name=name, app=APP_ROLE)
        urls = (template.url, template.migrate_url, template.superuser_url)
        return embedded.Database(name, *(f"{url.rpartition('/')[0]}/{name}" for url in urls))

    def drop(self, name: str) -> None:
        """Whoever is still connected to it is thrown out."""
        self._run("drop database if exists {name} with (force)", name=name)

    def _run(self, statement: str, **names: str) -> None:
        words = sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
        try:
            self._connection.execute(words)
        except psycopg.OperationalError:
            # A test may have thrown everybody out.
            if not self._connection.broken:
                raise
            self._connection = self._connect()
            self._connection.execute(words)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(**self._where, autocommit=True)
