"""A database for the histories of each module: each example works in a shop of its own and is rolled back.

What is rolled back leaves dead rows behind, which no statistics tell of and which every later example has to pass over.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded
from tests.conftest import TestServers


@pytest.fixture(scope="module")
def history_engine(
    servers: TestServers, template_database: embedded.Database, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    name = f"histories_{request.module.__name__.rpartition('.')[2]}"
    database = embedded.create_database(servers.home, name, template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()
    embedded.drop_database(servers.home, name)
