"""Servers and databases of a measurement: the embedded ones with the settings that `make up` gives them."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core import embedded
from core.connections.operations import new_key
from core.migrations import migrate
from core.processes import free_port

ROOT = Path(__file__).resolve().parents[1]
PORT = 26500
TEMPLATE = "bench_template"


@dataclass
class Servers:
    """Running servers; every measurement gets a database of its own."""

    home: Path
    redis_url: str
    secret_key: str
    template: str = TEMPLATE
    """A migrated database that nobody is connected to."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextmanager
    def database(self) -> Iterator[embedded.Database]:
        """A migrated database, dropped afterwards."""
        name = f"bench_{next(self._numbers)}"
        made = embedded.create_database(self.home, name, template=self.template)
        try:
            yield made
        finally:
            embedded.drop_database(self.home, name)

    def environment(self, database: embedded.Database) -> dict[str, str]:
        """What a process of ours needs to work on a database."""
        return {
            **os.environ,
            "SWITCHYARD_HOME": str(self.home),
            "DATABASE_URL": database.url,
            "REDIS_URL": self.redis_url,
            "SWITCHYARD_SECRET_KEYS": self.secret_key,
            "PYTHONPATH": str(ROOT),
            "TZ": "UTC",
        }


@contextmanager
def running() -> Iterator[Servers]:
    """Start both servers in a home of their own; stop and remove them afterwards."""
    home = Path(tempfile.mkdtemp(prefix="switchyard-bench-"))
    home.chmod(0o711)
    port = free_port(PORT + os.getpid() % 500)
    try:
        found = embedded.start(home, postgres_port=port, redis_port=free_port(port + 1))
        template = embedded.create_database(home, TEMPLATE)
        migrate(template.migrate_url)
        yield Servers(home, found.redis_url, new_key())
    finally:
        embedded.erase(home)
        home.rmdir()
