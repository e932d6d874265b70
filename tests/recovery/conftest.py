"""A database for the tests of each module, each of which is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from tests.conftest import TestServers
from tests.factories import World, make_world


@pytest.fixture(scope="module")
def shared_engine(
    servers: TestServers, template_database: embedded.Database, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    name = f"recovery_{request.module.__name__.rpartition('.')[2]}"
    database = embedded.create_database(servers.home, name, template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()
    embedded.drop_database(servers.home, name)


@pytest.fixture
def conn(shared_engine: Engine) -> Iterator[Connection]:
    with shared_engine.connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def world(conn: Connection) -> World:
    """Ten mugs and five jugs on one channel."""
    return make_world(conn, {"MUG": 10, "JUG": 5})
