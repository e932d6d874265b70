"""What a target was told under bare numbers is told anew under ids with the shop's mark."""

from __future__ import annotations

from alembic import command
from sqlalchemy import create_engine

from core import embedded
from core.db import execute, fetch, fetch_one
from core.migrations import configuration, migrate
from core.targets import rules
from tests.conftest import TestServers
from tests.factories import BASELINE

# A new database: ids count from 1.
BEFORE = (
    """
    insert into shops (name, time_zone, currency, created_at)
    select n, 'Europe/London', 'GBP', %(now)s from unnest(array['Mugs', 'Bowls']) n
    """,
    """
    insert into connections (shop_id, vendor, name, base_url, account_ref, guarantee_class, created_at)
    values (1, 'klaviyo', 'Klaviyo', 'http://127.0.0.1:9', 'ABC', 'T', %(now)s)
    """,
    """
    insert into target_entries (shop_id, connection_id, kind, entity_id, external_id, parent_id, linked_ids,
        desired_hash, confirmed_hash, is_known, next_at, changed_at)
    select 1, 1, n.kind, n.id, n.id::text, n.parent, n.linked, 'h', 'h', true, %(now)s, %(now)s
    from (values ('category', 7, null, '{}'::int8[]), ('item', 7, null, '{7}'), ('variant', 9, 7, '{7}'))
        n (kind, id, parent, linked)
    """,
)


def test_bare_ids_become_ids_with_a_mark_and_are_told_anew(servers: TestServers) -> None:
    database = embedded.create_database(servers.home, "upgraded_targets")
    command.upgrade(configuration(database.migrate_url), "0048")
    engine = create_engine(database.migrate_url)
    with engine.begin() as conn:
        for statement in BEFORE:
            execute(conn, statement, now=BASELINE)
    migrate(database.migrate_url)
    with engine.begin() as conn:
        marks = [row["mark"] for row in fetch(conn, "select mark from shops order by shop_id")]
        told = fetch(conn, "select kind, entity_id, external_id, is_known, work from target_entries order by id")
        bad = fetch_one(conn, "select count(*) as n from target_entries where confirmed_hash is not null")
    engine.dispose()
    assert len(set(marks)) == 2
    assert [row["external_id"] for row in told] == [
        rules.external_id(marks[0], row["kind"], row["entity_id"]) for row in told
    ]
    # The variant waits for its item.
    assert [(row["is_known"], row["work"]) for row in told] == [(False, "create"), (False, "create"), (False, None)]
    assert bad == {"n": 0}
