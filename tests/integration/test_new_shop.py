"""A shop that has just been connected: the database still believes its tables to be empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from core.catalog import operations as catalog
from core.db import execute, fetch, scalar, unit_of_work
from tests.factories import World, make_world

LISTINGS = 3000


@pytest.fixture
def world(engine: Engine, database: embedded.Database) -> World:
    """Counted while it had one listing, filled since."""
    with unit_of_work(engine) as conn:
        world = make_world(conn)
    owner = create_engine(database.superuser_url)
    with owner.begin() as conn:
        execute(conn, "alter table listings set (autovacuum_enabled = off)")
        execute(conn, "analyze listings")
    owner.dispose()
    with unit_of_work(engine) as conn:
        execute(
            conn,
            """
            insert into skus (shop_id, code, title, is_stocked, created_at)
            select %(shop)s, 'N' || n, 'New', true, now() from generate_series(1, %(count)s) n
            """,
            shop=world.shop_id,
            count=LISTINGS,
        )
        execute(
            conn,
            """
            insert into listings (shop_id, connection_id, channel_ref, inventory_ref, title, sku_id, is_tracked,
                publishing_reason)
            select shop_id, %(connection)s, 'ref-' || code, 'item-' || code, title, id, true, 'new' from skus
            where shop_id = %(shop)s and code like 'N%%'
            """,
            shop=world.shop_id,
            connection=world.connection.id,
        )
    return world


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def rows_touched(conn: Connection, sql: str, **params: Any) -> int:
    """Rows that all steps of a statement gave and threw away, as it was carried out."""
    (found,) = scalar(conn, f"explain (analyze, timing off, format json) {sql}", **params)
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0))
            * node["Actual Loops"])
        for node in nodes(found["Plan"])
    )  # fmt: skip


def test_locking_a_few_listings_reads_the_table_at_most_a_few_times(engine: Engine, world: World) -> None:
    with engine.begin() as conn:
        rows = fetch(
            conn,
            "select id, code from skus where shop_id = %(shop)s and code like 'N%%' order by id limit 21",
            shop=world.shop_id,
        )
        touched = rows_touched(
            conn,
            catalog._LOCK,
            shop=world.shop_id,
            skus=[row["id"] for row in rows],
            orders=[],
            connection=world.connection.id,
            items=[f"item-{row['code']}" for row in rows],
            refs=["" for _ in rows],
        )
    assert touched < 10 * LISTINGS
