"""A database for all tests of this folder that need only one connection, each rolled back; and shops at a channel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from tests.conftest import TestServers
from tests.factories import World, make_world
from tests.sandbox.outside import Inside
from tests.shelves import Shelf


@pytest.fixture(scope="session")
def quiet_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "quiet", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(quiet_engine: Engine) -> Iterator[Connection]:
    """A connection in the application's role; nothing it does is kept."""
    with quiet_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def world(conn: Connection) -> World:
    """A shop with ten mugs, taken over a day ago."""
    return make_world(conn)


@pytest.fixture
def shelf(outside: Inside, module_engine: Engine) -> Iterator[Shelf]:
    """A shop with an account at the fake Shopify."""
    yield Shelf(outside, module_engine)
    outside.http.delete("/_control/faults")
