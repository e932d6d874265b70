"""What a batch of orders is booked by: its own rows, however many others there are. Rows are counted, never time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from core import embedded
from core.clock import utc_now
from core.db import execute, fetch, make_engine, scalar, unit_of_work
from core.orders import effects
from tests.factories import World, make_world

ORDERS, BATCH = 20_000, 2_000


@pytest.fixture
def world(database: embedded.Database, engine: Engine) -> World:
    """Many orders of one line each, all promised."""
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": ORDERS})
        for sql in _ORDERS:
            execute(conn, sql, shop=world.shop_id, connection=world.connection.id, location=world.location_id,
                    sku=world.skus["MUG"], listing=world.listings["MUG"], orders=ORDERS)  # fmt: skip
    owner = make_engine(database.superuser_url)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as once:
        execute(once, "vacuum analyze")
    owner.dispose()
    return world


_ORDERS = (
    """
    insert into orders (shop_id, connection_id, channel_ref, name, placed_at, channel_created_at, version_at, currency,
        total_minor, recorded_at)
    select %(shop)s, %(connection)s, n::text, '#' || n, now(), now(), now(), 'GBP', 100, now()
    from generate_series(1, %(orders)s) n
    """,
    """
    insert into order_lines (shop_id, order_id, channel_ref, ordinal, title, units, unit_price, discount_minor,
        total_minor, mapping, sku_id, listing_id)
    select shop_id, id, 'l', 1, 'Mug', 1, 1.00, 0, 100, 'stocked', %(sku)s, %(listing)s from orders
    """,
    """
    insert into reservations (shop_id, sku_id, location_id, order_line_id, units, held_units, created_at)
    select shop_id, sku_id, %(location)s, id, 1, 1, now() from order_lines
    """,
)


def parts(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from parts(child)


@pytest.mark.parametrize("sql", [effects._MAKE_LEVELS, effects._SETTLE], ids=["levels", "settle"])
def test_a_batch_looks_up_its_own_promises_among_many(world: World, engine: Engine, sql: str) -> None:
    with unit_of_work(engine) as conn:
        ids = [row["id"] for row in fetch(conn, "select id from orders order by id desc limit %(n)s", n=BATCH)]
        params = {"shop": world.shop_id, "ids": ids, "location": world.location_id, "now": utc_now()}
        assert rows_read(conn, sql, params) <= BATCH * 1.1


def rows_read(conn: Connection, sql: str, params: dict[str, Any]) -> float:
    """How many promises a statement looks at."""
    (found,) = conn.exec_driver_sql(f"explain (analyze, format json) {sql}", params).scalar_one()
    read = 0.0
    for part in parts(found["Plan"]):
        if part.get("Relation Name") == "reservations" and "Scan" in part["Node Type"]:
            read += (part["Actual Rows"] + part.get("Rows Removed by Filter", 0)) * part["Actual Loops"]
    assert read or not scalar(conn, "select exists (select from reservations)")
    return read
