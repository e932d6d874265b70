"""Connections that ran before going live was made safe go on as before: nothing is taken over a second time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine

from core import embedded, invariants
from core.connections.queries import connection as connection_row
from core.db import execute, fetch
from core.migrations import configuration, migrate
from tests.conftest import TestServers
from tests.factories import (
    BASELINE,
    NOW,
    Level,
    World,
    book,
    later,
    level_of,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    world_of,
)

OLD = BASELINE - timedelta(days=5)

# A new database: ids count from 1. The order was booked as it was then: what was put back within the baseline's second
# came back after it.
BEFORE = (
    "insert into shops (name, time_zone, currency, created_at) values ('Mugs', 'Europe/London', 'GBP', %(old)s)",
    """
    insert into connections (shop_id, vendor, name, base_url, account_ref, settings, guarantee_class, created_at,
        catalogue_read_at)
    select 1, 'shopify', c.name, 'http://127.0.0.1:9', 'a-shop', jsonb_build_object('is_sku_source', c.is_source,
        'locations', jsonb_build_object('place:1', 1)), 'A', %(old)s, c.read_at
    from (values (1, 'Source', true, %(now)s), (2, 'Second', false, %(now)s), (3, 'Unread', true, null::timestamptz))
        c (ordinal, name, is_source, read_at) order by ordinal
    """,
    "insert into locations (shop_id, name, created_at) values (1, 'Main', %(old)s)",
    "insert into skus (shop_id, code, title, is_stocked, created_at) values (1, 'MUG', 'Mug', true, %(old)s)",
    """
    insert into listings (shop_id, connection_id, channel_ref, channel_location_ref, inventory_ref, channel_code, title,
        sku_id, location_id, is_tracked, publishing_reason, published_units, published_at, baseline_at)
    select 1, c, 'variant:MUG', 'place:1', 'item:MUG', 'MUG', 'Mug', 1, 1, true, 'waits', 10, %(baseline)s, %(baseline)s
    from generate_series(1, 2) c order by c
    """,
    "insert into stock_levels (shop_id, sku_id, location_id, on_hand, reserved) values (1, 1, 1, 13, 2)",
    """
    insert into orders (shop_id, connection_id, channel_ref, name, placed_at, channel_created_at, version_at, currency,
        total_minor, recorded_at)
    values (1, 1, 'booked', '#booked', %(old)s, %(old)s, %(now)s, 'GBP', 750, %(now)s - interval '1 hour')
    """,
    """
    insert into order_lines (shop_id, order_id, channel_ref, ordinal, variant_ref, code, title, units, unit_price,
        discount_minor, total_minor, mapping, listing_id, sku_id)
    values (1, 1, '1', 1, 'variant:MUG', 'MUG', 'Mug', 3, 2.5, 0, 750, 'stocked', 1, 1)
    """,
    """
    insert into refunds (shop_id, order_id, channel_ref, refunded_at, channel_created_at, amount_minor, currency)
    values (1, 1, 'r1', %(baseline)s, %(baseline)s, 250, 'GBP')
    """,
    """
    insert into refund_lines (shop_id, refund_id, ordinal, order_line_id, units, restock, subtotal_minor)
    values (1, 1, 1, 1, 1, 'cancel', 250)
    """,
    """
    insert into reservations (shop_id, sku_id, location_id, order_line_id, units, held_units, opening_units, revision,
        created_at)
    values (1, 1, 1, 1, 3, 2, 3, 1, %(now)s)
    """,
    """
    insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, order_line_id,
        recorded_by, occurred_at, recorded_at)
    values (1, 1, 1, 10, 'receipt', 'opening:1:1', null, 'sync', %(baseline)s, %(now)s),
        (1, 1, 1, 3, 'receipt', 'line:1:1:receipt', 1, 'intake', %(now)s, %(now)s)
    """,
)


@pytest.fixture(scope="module")
def upgraded_url(servers: TestServers) -> str:
    """A database of the revision before, with three connections and an order, brought to the newest one."""
    database = embedded.create_database(servers.home, "upgraded")
    command.upgrade(configuration(database.migrate_url), "0012")
    engine = create_engine(database.migrate_url)
    with engine.begin() as conn:
        for statement in BEFORE:
            execute(conn, statement, baseline=BASELINE, old=OLD, now=NOW)
    engine.dispose()
    migrate(database.migrate_url)
    return database.url


@pytest.fixture
def conn(upgraded_url: str) -> Iterator[Connection]:
    engine = create_engine(upgraded_url)
    with engine.connect() as conn, conn.begin() as transaction:
        yield conn
        transaction.rollback()
    engine.dispose()


def world(conn: Connection, connection_id: int) -> World:
    return world_of(conn, connection_row(conn, 1, connection_id))


def broken(conn: Connection) -> dict[str, object]:
    return {item.name: item.rows for item in invariants.check(conn, NOW) if item.rows}


def test_only_a_connection_that_was_not_read_yet_reads_its_open_orders(conn: Connection) -> None:
    rows = fetch(conn, "select name, catalogue_read_at, open_orders_read_at from connections order by id")
    assert [(row["name"], row["open_orders_read_at"]) for row in rows] == [
        ("Source", NOW),
        ("Second", NOW),
        ("Unread", None),
    ]


def test_what_was_booked_stays_as_it_was_booked(conn: Connection) -> None:
    assert broken(conn) == {}
    source = world(conn, 1)
    book(conn, source, make_order("booked", [make_line(units=3)], placed_at=OLD, version_at=later(5)))
    assert level_of(conn, source) == Level(13, 2, 11)
    refund = make_refund("booked", [make_refund_line(units=2, restock="cancel")], "r2", later(6))
    book(conn, source, refund)
    assert level_of(conn, source) == Level(13, 0, 13)
    assert broken(conn) == {}


@pytest.mark.parametrize("connection_id", [1, 2])
def test_an_order_of_before_that_is_told_of_now_changes_nothing_available(conn: Connection, connection_id: int) -> None:
    channel = world(conn, connection_id)
    order = make_order("old", [make_line(units=2)], placed_at=OLD, version_at=later(5))
    book(conn, channel, order)
    assert level_of(conn, channel) == Level(15, 4, 11)
    book(conn, channel, make_fulfilment("old", [("1", 2)], at=later(6)))
    assert level_of(conn, channel) == Level(13, 2, 11)
    assert broken(conn) == {}
