"""What the database itself refuses, whoever asks: changed facts, changed intents, two open writes of one listing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from core import embedded
from core.db import execute, fetch, fetch_one, is_data_error, scalar, unit_of_work
from core.inventory import publishing
from core.inventory.publishing import Lane
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from core.ports import QuantityResult
from core.reports import operations as reports
from tests.conftest import TestServers
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    book,
    later,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_world,
)

FACTS = (
    *("stock_movements", "audit_entries", "fulfilment_lines", "refunds", "refund_lines", "customer_returns"),
    *("daily_reports", "daily_report_markets"),
)
NEVER_DELETED = ("listing_writes", "orders", "order_lines", "fulfilments", "reservations", "inbox_messages")
"""The application keeps them; their columns may change."""


@pytest.fixture(scope="module")
def guarded(servers: TestServers, template_database: embedded.Database) -> embedded.Database:
    """A database with at least one row of every fact."""
    database = embedded.create_database(servers.home, "guarded", template=template_database.name)
    engine = create_engine(database.url)
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        book(conn, world, make_order(lines=[make_line(units=3)]), make_fulfilment(), make_refund())
        back = OrderlessReturn("C1:1", "MUG", 1, make_line().unit_price, "GBP", None, NOW)
        orders.take_back(conn, world.shop_id, world.location_id, [back], ACTOR, NOW)
        reports.build(conn, world.shop_id, NOW.date(), reports.CLOCK, NOW + timedelta(days=1))
    engine.dispose()
    return database


@pytest.fixture(params=["application", "owner"])
def login(request: pytest.FixtureRequest, guarded: embedded.Database) -> Iterator[Connection]:
    engine = create_engine(guarded.url if request.param == "application" else guarded.migrate_url)
    with engine.connect() as conn, conn.begin() as transaction:
        yield conn
        transaction.rollback()
    engine.dispose()


def refused(conn: Connection, sql: str, **params: Any) -> str:
    """The server's reason for refusing; the transaction goes on."""
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():
        execute(conn, sql, **params)
    assert is_data_error(caught.value)
    return str(caught.value.orig)


@pytest.mark.parametrize("table", FACTS)
@pytest.mark.parametrize(
    "change",
    [
        "update {table} set shop_id = shop_id",
        "update {table} set shop_id = shop_id where false",
        "delete from {table}",
        "delete from {table} where false",
        "truncate {table} cascade",
    ],
)
def test_facts_are_added_never_edited(login: Connection, table: str, change: str) -> None:
    assert scalar(login, f"select count(*) from {table}") > 0
    reason = refused(login, change.format(table=table))
    assert f"rows of {table} are facts" in reason or "permission denied" in reason


@pytest.mark.parametrize("table", FACTS)
def test_the_owner_is_told_what_to_do_instead(guarded: embedded.Database, table: str) -> None:
    engine = create_engine(guarded.migrate_url)
    with engine.connect() as conn:
        assert "add a compensating row instead" in refused(conn, f"delete from {table}")
    engine.dispose()


@pytest.mark.parametrize("table", NEVER_DELETED)
@pytest.mark.parametrize("change", ["delete from {table}", "truncate {table} cascade"])
def test_the_application_never_deletes_what_happened(guarded: embedded.Database, table: str, change: str) -> None:
    engine = create_engine(guarded.url)
    with engine.connect() as conn:
        reason = refused(conn, change.format(table=table))
        assert "permission denied" in reason or "are facts" in reason
    engine.dispose()


@pytest.mark.parametrize(
    "bypass",
    [
        "set session_replication_role = replica",
        "alter table stock_movements disable trigger all",
        "drop trigger append_only on stock_movements",
        "drop function refuse_change cascade",
        "alter table stock_movements drop constraint uq_stock_movements_shop_id_business_key",
        "create trigger mine before insert on stock_movements for each row execute function refuse_change()",
    ],
)
def test_the_application_cannot_switch_a_guard_off(guarded: embedded.Database, bypass: str) -> None:
    engine = create_engine(guarded.url)
    with engine.connect() as conn:
        reason = refused(conn, bypass)
        assert "permission denied" in reason or "must be owner" in reason
    engine.dispose()


def test_an_upsert_cannot_change_a_fact_either(login: Connection) -> None:
    row = fetch_one(login, "select * from stock_movements limit 1")
    assert row is not None
    refused(
        login,
        """
        insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, recorded_by,
            occurred_at, recorded_at)
        values (%(shop)s, %(sku)s, %(place)s, 99, 'receipt', %(key)s, 'x', now(), now())
        on conflict (shop_id, business_key) do update set delta_units = excluded.delta_units
        """,
        shop=row["shop_id"],
        sku=row["sku_id"],
        place=row["location_id"],
        key=row["business_key"],
    )


# --- writes to channels ------------------------------------------------------------------------------------------


def lane_of(world: World) -> Lane:
    return Lane(world.shop_id, world.connection.id, "A", 10)


@pytest.fixture
def written(conn: Connection, world: World) -> int:
    """The id of an open write, not sent yet."""
    adjust_stock(conn, world, "MUG", -3)
    ((write,),) = publishing.plan(conn, lane_of(world), 10, NOW)
    return write.write_id


@pytest.mark.parametrize(
    "change",
    [
        "from_units = 99",
        "from_units = null",
        "to_units = 99",
        "idempotency_key = 'other'",
        "batch_position = 7",
        "planned_at = planned_at + interval '1 second'",
        "deadline_at = deadline_at + interval '1 hour'",
        "exposure_delta_units = 1",
        "sync_run_id = 1",
        "listing_id = 0",
        "connection_id = 0",
        "shop_id = 0",
    ],
)
def test_the_intent_of_a_write_never_changes(conn: Connection, written: int, change: str) -> None:
    assert f"the intent of write {written} is frozen" in refused(
        conn, f"update listing_writes set {change} where id = %(id)s", id=written
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sent_at = now()", "sent_at = now() + interval '1 second'"),
        ("sent_at = now()", "sent_at = null"),
        ("accepted_at = now()", "accepted_at = null"),
        ("submission_ref = 's1'", "submission_ref = 's2'"),
    ],
)
def test_what_happened_to_a_write_is_recorded_once(conn: Connection, written: int, first: str, second: str) -> None:
    execute(conn, f"update listing_writes set {first} where id = %(id)s", id=written)
    reason = refused(conn, f"update listing_writes set {second} where id = %(id)s", id=written)
    assert f"what happened to write {written} is recorded once" in reason


def test_an_outcome_is_set_once(conn: Connection, world: World, written: int) -> None:
    publishing.mark_sent(conn, world.shop_id, [written], NOW)
    settle = "update listing_writes set outcome = %(outcome)s, outcome_at = now() where id = %(id)s"
    execute(conn, settle, id=written, outcome="refused")
    for change in (settle, "update listing_writes set outcome = null, outcome_at = null where id = %(id)s"):
        assert "its outcome is set once" in refused(conn, change, id=written, outcome="confirmed")
    assert "its outcome is set once" in refused(
        conn, "update listing_writes set doubt = 'x' where id = %(id)s", id=written
    )


def test_settling_again_changes_nothing(conn: Connection, world: World, written: int) -> None:
    publishing.mark_sent(conn, world.shop_id, [written], NOW)
    for outcome in ("confirmed", "refused"):
        publishing.settle(conn, world.shop_id, [QuantityResult(written, outcome)], timedelta(0), NOW)
    assert scalar(conn, "select outcome from listing_writes where id = %(id)s", id=written) == "confirmed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("outcome = 'confirmed', outcome_at = now()", "answered_was_sent"),
        ("outcome = 'withdrawn', outcome_at = now(), sent_at = now()", "withdrawn_was_not_sent"),
        ("outcome = 'withdrawn'", "outcome_at"),
        ("outcome = 'lost', outcome_at = now(), sent_at = now()", "ck_listing_writes_outcome"),
    ],
)
def test_an_outcome_that_cannot_be_is_refused(conn: Connection, written: int, change: str, reason: str) -> None:
    assert reason in refused(conn, f"update listing_writes set {change} where id = %(id)s", id=written)


def insert_write(conn: Connection, world: World, key: str) -> None:
    execute(
        conn,
        """
        insert into listing_writes (shop_id, connection_id, listing_id, to_units, idempotency_key, batch_position,
            planned_at, deadline_at)
        values (%(shop)s, %(connection)s, %(listing)s, 1, %(key)s, 0, %(now)s, %(now)s)
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        listing=world.listings["MUG"],
        key=key,
        now=NOW,
    )


def test_a_listing_has_one_open_write_even_when_two_ask_at_once(engine: Engine) -> None:
    """The second waits for the first to end: refused when it commits, let through when it rolls back."""
    with unit_of_work(engine) as conn:
        world = make_world(conn)
    with engine.connect() as first, engine.connect() as second:
        winner = first.begin()
        insert_write(first, world, "a")
        with second.begin():
            execute(second, "set local lock_timeout = 50")
            assert "lock timeout" in _error(second, world, "b")
        winner.rollback()
        with second.begin():
            insert_write(second, world, "c")
        with first.begin():
            assert "uq_listing_writes_open" in _error(first, world, "d")


def _error(conn: Connection, world: World, key: str) -> str:
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():
        insert_write(conn, world, key)
    return str(caught.value.orig)


def test_after_its_end_a_write_leaves_room_for_the_next(conn: Connection, world: World, written: int) -> None:
    assert publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, later(0)) == 0
    assert publishing.withdraw_unsent(conn, world.shop_id, world.connection.id, later(1)) == 1
    insert_write(conn, world, "next")
    assert len(fetch(conn, "select 1 from listing_writes where shop_id = %(s)s", s=world.shop_id)) == 2


def test_what_counts_tables_as_their_owner_cannot_be_made_to_do_anything_else(
    engine: Engine, database: embedded.Database
) -> None:
    """A caller's temporary schema is searched first for whatever a function does not look for elsewhere."""
    evil = "orders; alter table stock_movements disable trigger user"
    with psycopg.connect(database.url.replace("+psycopg", "", 1), autocommit=True) as caller:
        for statement in (
            f"create type pg_temp.e as enum ('{evil}')",
            "create function pg_temp.f(pg_temp.e) returns pg_catalog.regclass language sql as"
            " $$ select 'pg_catalog.pg_proc'::pg_catalog.regclass $$",
            "create cast (pg_temp.e as pg_catalog.regclass) with function pg_temp.f(pg_temp.e) as implicit",
            "create domain pg_temp.regclass as text",
            "create temp table pg_class (oid pg_temp.e, relnamespace pg_catalog.oid, relname text, relpages int)",
            f"insert into pg_temp.pg_class values ('{evil}', 'public'::regnamespace, 'orders', -1)",
            "grant select on pg_temp.pg_class to public",
            "select count_grown_tables()",
            "select count_catalogue()",
        ):
            caller.execute(statement)  # type: ignore[arg-type]
    with engine.connect() as conn:
        enabled = scalar(
            conn,
            "select tgenabled from pg_trigger where tgrelid = 'stock_movements'::regclass and tgname = 'append_only'",
        )
    assert enabled == "O"
