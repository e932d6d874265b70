"""Catalogues of the tests in this folder: each has a shop of its own and is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from core.audit import Actor
from core.catalog.products import operations, queries
from core.catalog.products.documents import ProductDocument
from core.catalog.products.writing import PutResult
from core.invariants import check
from tests.conftest import TestServers
from tests.factories import BASELINE, make_shop

ANNA = Actor("Anna", "the new season")


@pytest.fixture(scope="session")
def catalogue_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "catalogues", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(catalogue_engine: Engine) -> Iterator[Connection]:
    """A connection in the application's role; nothing it does is kept."""
    with catalogue_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@dataclass(frozen=True)
class Catalogue:
    """A shop's catalogue, and the person who works on it."""

    conn: Connection
    shop_id: int
    now: datetime = BASELINE

    def save(self, document: ProductDocument, product_id: int | None = None, version: int | None = None) -> PutResult:
        return operations.save_product(
            self.conn, self.shop_id, document, ANNA, self.now, product_id=product_id, base_version=version
        )

    def undo(self, product_id: int, version: int) -> PutResult:
        return operations.undo_version(self.conn, self.shop_id, product_id, version, ANNA, self.now)

    def document(self, product_id: int) -> ProductDocument | None:
        found = queries.stored(self.conn, self.shop_id, [product_id]).get(product_id)
        return None if found is None else found.document


@pytest.fixture
def catalogue(conn: Connection) -> Iterator[Catalogue]:
    """A new shop's; after each test the audit has nothing to say."""
    made = Catalogue(conn, make_shop(conn))
    yield made
    if not conn.in_nested_transaction():
        found = check(conn, made.now, shop_id=made.shop_id)
        assert [(finding.name, finding.rows) for finding in found if finding.rows] == []
