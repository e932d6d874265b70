"""One database for all histories: each example works in a shop of its own and is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded
from tests.conftest import TestServers


@pytest.fixture(scope="session")
def history_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "histories", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()
