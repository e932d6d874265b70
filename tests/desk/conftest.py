"""Desks of the tests in this folder: each works in a shop of its own and is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from tests.conftest import TestServers
from tests.desks import Desk, make_desk


@pytest.fixture(scope="session")
def desk_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "desks", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(desk_engine: Engine) -> Iterator[Connection]:
    """A connection in the application's role; nothing it does is kept."""
    with desk_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def desk(conn: Connection) -> Iterator[Desk]:
    """Ten mugs and five cups in Main, and a Yard with nothing; after each test the audit has nothing to say."""
    made = make_desk(conn, bundle={"MUG": 2, "CUP": 1})
    yield made
    if not conn.in_nested_transaction():
        assert made.broken() == []
