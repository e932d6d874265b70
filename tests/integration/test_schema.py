"""The tables as a whole: every business row and key belongs to a shop; the models say what the database has."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine

import core
from core import embedded
from core.clock import CLOCK_MARGIN
from core.db import fetch, metadata, scalar
from core.inventory.exposure import WHOLE_SECOND
from tests.factories import make_connection, make_shop, unique

WITHOUT_SHOP = {
    "alembic_version": "how far the schema is; one row",
    "job_runs": "runs of the machinery: a job may serve every shop",
    "schedules": "one clock for all shops",
    "schedule_runs": "once per period, for all shops",
    "tallies": "counts for monitoring, for all shops",
    "retention_policies": "how long what is past is kept, for all shops",
}
# A shop itself is found by its name before its id is known.
KEYS_WITHOUT_SHOP = {"uq_shops_name"}


@pytest.fixture(scope="module", autouse=True)
def all_models() -> None:
    for module in pkgutil.walk_packages(core.__path__, "core."):
        if module.name.endswith((".models", ".audit")):
            importlib.import_module(module.name)


def columns_of_keys(engine: Engine) -> list[tuple[str, str, list[str]]]:
    """(table, key, its columns) of every unique index, primary keys included."""
    with engine.connect() as conn:
        rows = fetch(
            conn,
            """
            select t.relname as table_name, i.relname as key_name,
                array(select a.attname::text from pg_attribute a where a.attrelid = t.oid and a.attnum = any(x.indkey))
                    as columns
            from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
            join pg_namespace n on n.oid = t.relnamespace
            where n.nspname = 'public' and x.indisunique order by 1, 2
            """,
        )
    return [(row["table_name"], row["key_name"], list(row["columns"])) for row in rows]


def tables(engine: Engine) -> set[str]:
    with engine.connect() as conn:
        rows = fetch(conn, "select tablename from pg_tables where schemaname = 'public'")
    return {row["tablename"] for row in rows}


def test_every_business_table_has_a_primary_key_with_its_shop(quiet_engine: Engine) -> None:
    with_key = {
        table for table, key, columns in columns_of_keys(quiet_engine) if key.startswith("pk_") and "shop_id" in columns
    }
    assert tables(quiet_engine) - with_key == WITHOUT_SHOP.keys()


def test_every_unique_key_of_a_business_table_carries_its_shop(quiet_engine: Engine) -> None:
    without = {
        key
        for table, key, columns in columns_of_keys(quiet_engine)
        if table not in WITHOUT_SHOP and "shop_id" not in columns
    }
    assert without == KEYS_WITHOUT_SHOP


def test_every_foreign_key_between_business_tables_carries_its_shop(quiet_engine: Engine) -> None:
    with quiet_engine.connect() as conn:
        rows = fetch(
            conn,
            """
            select conname, array(select a.attname::text from pg_attribute a
                where a.attrelid = conrelid and a.attnum = any(conkey)) as columns
            from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace
            """,
        )
    assert rows
    assert [row["conname"] for row in rows if "shop_id" not in row["columns"]] == []


def test_every_foreign_key_has_an_index_on_what_it_points_to_and_moments_have_a_zone(quiet_engine: Engine) -> None:
    with quiet_engine.connect() as conn:
        zoneless = fetch(
            conn,
            """
            select table_name, column_name from information_schema.columns
            where table_schema = 'public' and data_type = 'timestamp without time zone'
            """,
        )
        invalid = scalar(conn, "select count(*) from pg_constraint where not convalidated")
    assert (list(zoneless), invalid) == ([], 0)


def test_the_models_say_what_the_migrated_database_has(template_database: embedded.Database) -> None:
    engine = create_engine(template_database.migrate_url)
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": False, "include_object": _is_a_model}
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def _is_a_model(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    return not (kind == "table" and name == "alembic_version")


def test_the_application_may_read_every_table_and_owns_none(quiet_engine: Engine) -> None:
    with quiet_engine.connect() as conn:
        owned = scalar(conn, "select count(*) from pg_class c join pg_roles r on r.oid = c.relowner"
                             " where r.rolname = current_user")  # fmt: skip
        unreadable = fetch(
            conn,
            """
            select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace
                and c.relkind in ('r', 'v', 'm') and not has_table_privilege(c.oid, 'select')
            """,
        )
        assert (owned, list(unreadable)) == (0, [])
        assert scalar(conn, "select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls from pg_roles"
                            " where rolname = current_user") is False  # fmt: skip


def test_a_connections_clock_margin_is_the_models_and_in_a_hurry_only_the_second_of_a_stamp_stays(
    quiet_engine: Engine,
) -> None:
    settings: list[tuple[dict[str, float], timedelta]] = [
        ({}, CLOCK_MARGIN),
        ({"clock_factor": 1}, CLOCK_MARGIN),
        ({"clock_factor": 0}, CLOCK_MARGIN),
        ({"clock_factor": 4}, timedelta(seconds=2)),
        ({"clock_factor": 1e9}, WHOLE_SECOND),
    ]
    with quiet_engine.connect() as conn:
        shop_id = make_shop(conn)
        for said, margin in settings:
            row = make_connection(conn, shop_id, account_ref=unique("shop"), settings=said)
            found = scalar(conn, "select clock_margin from connections where id = %(id)s", id=row.id)
            assert found == margin, said
        conn.rollback()
