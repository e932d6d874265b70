"""A connection to Amazon that ran before its orders could be read: what it sold is not taken off twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine

from core import embedded, invariants
from core.connections import operations as connections
from core.connections.operations import NewConnection, StockShared
from core.connections.queries import connection as connection_row
from core.db import execute, fetch, fetch_one, scalar
from core.migrations import configuration, migrate
from tests.conftest import TestServers
from tests.factories import ACTOR, NOW, Level, World, book, level_of, make_fulfilment, make_line, make_order, world_of

OLD = NOW - timedelta(days=90)

# Two shops of before: the first one's stock came from Amazon itself, the second one's from a count. Amazon has a write
# that was accepted and not seen to be in force.
BEFORE = (
    "insert into shops (name, time_zone, currency, created_at) select 'Mugs ' || n, 'Europe/London', 'GBP', %(old)s"
    " from generate_series(1, 2) n",
    """
    insert into connections (shop_id, vendor, name, base_url, account_ref, settings, guarantee_class, created_at,
        catalogue_read_at, open_orders_read_at, reads_orders)
    select n, 'amazon', 'Amazon', 'http://127.0.0.1:9', 'ASELLER' || n, jsonb_build_object('is_sku_source', n = 1,
        'marketplace_id', 'A1F83G8C2ARO7P', 'locations', jsonb_build_object('', n)), 'B', %(old)s, %(old)s, null, false
    from generate_series(1, 2) n order by n
    """,
    "insert into locations (shop_id, name, created_at) select n, 'Main', %(old)s"
    " from generate_series(1, 2) n order by n",
    "insert into skus (shop_id, code, title, is_stocked, created_at) select n, 'MUG', 'Mug', true, %(old)s"
    " from generate_series(1, 2) n order by n",
    """
    insert into listings (shop_id, connection_id, channel_ref, channel_location_ref, inventory_ref, channel_code, title,
        sku_id, location_id, is_tracked, publishing, publishing_reason, published_units, exposed_units, desired_units,
        published_at, baseline_at, opening_at)
    select n, n, 'MUG', '', null, 'MUG', 'Mug', n, n, true, 'on', 'shares',
        case when n = 1 then 0 else 10 end, 10, 10, %(old)s, %(old)s,
        case when n = 1 then %(old)s::timestamptz end
    from generate_series(1, 2) n order by n
    """,
    "insert into stock_levels (shop_id, sku_id, location_id, on_hand, reserved)"
    " select n, n, n, 10, 0 from generate_series(1, 2) n",
    """
    insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, recorded_by,
        occurred_at, recorded_at)
    select n, n, n, 10, 'receipt', 'opening:' || n, 'sync', %(old)s, %(old)s from generate_series(1, 2) n
    """,
    """
    insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, exposure_delta_units,
        idempotency_key, batch_position, planned_at, deadline_at, sent_at, accepted_at, submission_ref)
    select 1, 1, 1, null, 10, 10, 'k', 0, %(now)s, %(now)s::timestamptz + interval '1 hour', %(now)s, %(now)s, 's'
    """,
    """
    insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units, write_id,
        changed_at)
    values (1, 1, 'base', 0, 0, 0, null, %(old)s), (1, 1, 'write', 10, 10, 10, 1, %(now)s),
        (2, 2, 'base', 10, 10, 10, null, %(old)s)
    """,
)


@pytest.fixture(scope="module")
def upgraded_url(servers: TestServers) -> str:
    """A database of the revision before, brought to the newest one."""
    database = embedded.create_database(servers.home, "upgraded_amazon")
    command.upgrade(configuration(database.migrate_url), "0015")
    engine = create_engine(database.migrate_url)
    with engine.begin() as conn:
        for statement in BEFORE:
            execute(conn, statement, old=OLD, now=NOW)
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


def world(conn: Connection, number: int) -> World:
    return world_of(conn, connection_row(conn, number, number))


def upgraded_at(conn: Connection) -> datetime:
    found: datetime = scalar(conn, "select (settings ->> 'orders_from')::timestamptz from connections where id = 1")
    return found


def broken(conn: Connection) -> dict[str, object]:
    return {item.name: item.rows for item in invariants.check(conn, NOW) if item.rows}


def test_sweeps_begin_at_the_upgrade_and_open_orders_are_still_to_be_read(conn: Connection) -> None:
    rows = fetch(conn, "select * from connections order by id")
    assert {row["settings"]["region"] for row in rows} == {"eu"}
    assert [row["open_orders_read_at"] for row in rows] == [None, None]
    # Nobody takes it for watched until a sync has read what is open.
    assert [(row["reads_orders"], row["watermark_at"]) for row in rows] == 2 * [(False, None)]
    for number in (1, 2):
        assert connections.orders_begin_at(connection_row(conn, number, number)) == upgraded_at(conn) > NOW
    write = fetch_one(conn, "select * from listing_writes")
    assert write is not None
    assert (write["outcome"], write["to_units"], write["submission_ref"]) == (None, 10, "s")
    assert broken(conn) == {}


@pytest.mark.parametrize("number", [1, 2])
def test_an_open_order_of_before_is_held_out_of_what_lies_on_the_shelf(conn: Connection, number: int) -> None:
    at = upgraded_at(conn)
    amazon = world(conn, number)
    placed = at - timedelta(days=20)
    order = make_order("open", [make_line(units=3)], placed_at=placed, version_at=at + timedelta(minutes=1))
    book(conn, amazon, order)
    assert level_of(conn, amazon) == Level(10, 3, 7)
    assert broken(conn) == {}
    book(conn, amazon, make_fulfilment("open", [("1", 3)], at=at + timedelta(minutes=2)))
    assert level_of(conn, amazon) == Level(7, 0, 7)
    assert broken(conn) == {}


@pytest.mark.parametrize("number", [1, 2])
def test_what_was_shipped_before_is_not_taken_off_what_was_counted_since(conn: Connection, number: int) -> None:
    at = upgraded_at(conn)
    amazon = world(conn, number)
    placed, told = at - timedelta(days=20), at + timedelta(minutes=1)
    left = make_fulfilment("gone", [("1", 3)], at=at - timedelta(days=10))
    order = make_order("gone", [make_line(units=3)], placed_at=placed, version_at=told, fulfilments=(left,))
    book(conn, amazon, order)
    assert level_of(conn, amazon) == Level(10, 0, 10)
    assert broken(conn) == {}


@pytest.mark.parametrize("number", [1, 2])
def test_an_order_placed_after_it_is_a_sale(conn: Connection, number: int) -> None:
    at = upgraded_at(conn)
    amazon = world(conn, number)
    placed = at + timedelta(minutes=1)
    book(conn, amazon, make_order("new", [make_line(units=3)], placed_at=placed, version_at=placed))
    assert level_of(conn, amazon) == Level(10, 3, 7)
    assert broken(conn) == {}


def test_a_second_connection_to_the_same_stock_is_refused(conn: Connection) -> None:
    settings = {"marketplace_id": "A1PA6795UKMFR9", "region": "eu"}
    german = NewConnection("amazon", "DE", "http://127.0.0.1:8", "aseller1", "B", settings, {})
    with pytest.raises(StockShared, match="as Amazon"):
        connections.connect(conn, 1, german, (connections.new_key(),), ACTOR, NOW)
