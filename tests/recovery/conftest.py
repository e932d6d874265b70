"""A database for the tests of each module, each of which is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine

from tests.factories import World, make_world


@pytest.fixture
def conn(module_engine: Engine) -> Iterator[Connection]:
    with module_engine.connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def world(conn: Connection) -> World:
    """Ten mugs and five jugs on one channel."""
    return make_world(conn, {"MUG": 10, "JUG": 5})
