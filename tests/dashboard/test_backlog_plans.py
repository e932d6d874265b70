"""Thousands wait, are parked and have failed: no page reads them all, with statistics and without.

Rows are counted, never time. What is counted in full is what waits, through an index alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from bench import failing, screens
from bench.shop import Shop
from core import embedded, measures
from core.clock import utc_now
from core.connections.queries import connection
from core.db import execute, make_engine, scalar, unit_of_work
from core.recovery import tallies
from dashboard import failure_queries, queries
from dashboard.failure_queries import Filter, ItemPosition
from tests.dashboard import seed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("settings")]

COUNT, HANDLED, CAP = 2_000, 80_000, 10_000
PAGES = ("overview", "jobs", "failures", "connections")
BIG = {"failure_tallies", "failures", "failure_orders", "failure_skus", "inbox_messages", "job_runs"}
WAITING = "ix_inbox_messages_shop_id_connection_id_id"
ROWS_MAX = failing.CAUSES * 12
"""Of each cause some failures are looked up, by an index: the first, the newest, an example."""
TALLIES_MAX = COUNT
"""Sums of each cause, for each hour of a day and for the rest: half as many rows as there are failures, or fewer."""


@pytest.fixture
def shop(database: embedded.Database, engine: Engine) -> int:
    """So many messages that wait and that are parked, jobs that failed, and many times as much that went well."""
    with unit_of_work(engine) as conn:
        shop = seed.shop(conn)
        row = connection(conn, shop, seed.connection(conn, shop))
    with unit_of_work(engine) as conn:
        execute(
            conn,
            """
            insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state,
                settled_at)
            select %(shop)s, %(connection)s, n::text, 'orders/create', 'webhook', convert_to(repeat('x', 200), 'UTF8'),
                now() - interval '1 hour' - (%(handled)s + %(count)s - n) * interval '1 second',
                case when n > %(handled)s then 'received' else 'handled' end,
                case when n <= %(handled)s then now() - interval '1 hour' end
            from generate_series(1, %(handled)s + %(count)s) n
            """,
            shop=shop,
            connection=row.id,
            count=COUNT,
            handled=HANDLED,
        )
    failing.fail(engine, Shop(shop, row, row), COUNT)
    with unit_of_work(engine) as conn:
        tallies.fold(conn, utc_now())
    return shop


@pytest.fixture
def sent(settings: None) -> Iterator[list[screens.Statement]]:
    """What the dashboard's own engine sends."""
    said: list[screens.Statement] = []

    def note(_conn: Any, _cursor: Any, sql: str, params: Any, _context: Any, _many: bool) -> None:
        said.append(screens.Statement(sql, params))

    engine = queries.engine()
    event.listen(engine, "before_cursor_execute", note)
    yield said
    event.remove(engine, "before_cursor_execute", note)


def vacuum(database: embedded.Database) -> None:
    """As a minute after all that came: everything is counted, and known to be seen by everybody. While somebody still
    looks at what was before (autovacuum, as it counts), that cannot be noted, and an index alone is no way to count.
    """
    owner = make_engine(database.superuser_url)
    unseen = "select relpages - relallvisible from pg_class where oid = 'inbox_messages'::regclass"
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as once:
        for _ in range(120):
            execute(once, "vacuum analyze")
            if not scalar(once, unseen):
                break
            time.sleep(0.5)
        else:
            raise AssertionError("somebody has looked at the inbox of before for a minute")
    owner.dispose()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def reads(conn: Connection, statement: screens.Statement) -> list[tuple[str, str, float]]:
    """(table and index, how, rows looked at) of each part of a statement that reads one of the big tables."""
    plan = conn.exec_driver_sql(f"explain (analyze, format json) {statement.sql}", statement.params).scalar_one()[0]
    found = []
    for node in nodes(plan["Plan"]):
        name = node.get("Index Name") or node.get("Relation Name")
        # An index alone does not know what is dead of what a fold has replaced.
        is_sums = "failure_tallies" in str(name) and node.get("Relation Name") is None
        if not is_sums and (node.get("Relation Name") in BIG or "Bitmap Index" in node["Node Type"]):
            removed = sum(node.get(key, 0) for key in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
            found.append((str(name), node["Node Type"], (node["Actual Rows"] + removed) * node["Actual Loops"]))
    return found


def judge(conn: Connection, page: str, statements: Sequence[screens.Statement]) -> None:
    for statement in statements:
        for name, how, rows in reads(conn, statement):
            said = f"{page}: {how} of {name}, {rows:,.0f} rows: {' '.join(statement.sql.split())[:200]}"
            print(said)
            if name == WAITING and any(view in statement.sql for view in ("connection_health", "job_lanes")):
                assert rows <= COUNT, said
            elif "failure_tallies" in name:
                assert rows <= TALLIES_MAX, said
            elif "from connection_pulse" in statement.sql or "from job_lane_" in statement.sql:
                # Of the newest messages, up to a number that is fixed.
                assert rows <= CAP, said
            else:
                assert rows <= ROWS_MAX, said


def test_no_page_reads_all_that_waits_is_parked_or_has_failed(
    shop: int, database: embedded.Database, conn: Connection, sent: list[screens.Statement]
) -> None:
    heard = {page: list(said) for page, said in screens.heard(queries.engine(), PAGES).items()}
    (group, *_) = failure_queries.groups(shop, "all", Filter(), None).rows
    middle = ItemPosition(seed.ago(days=1), 0)
    sent.clear()
    assert failure_queries.items(shop, group["group_key"], None).rows
    assert failure_queries.items(shop, group["group_key"], middle).rows
    failure_queries.dealt_with(shop, "requeued", Filter(), middle)
    failure_queries.group(shop, group["group_key"])
    heard["group"] = list(sent)
    for page, said in heard.items():
        assert said, page
        judge(conn, page, said)
    vacuum(database)
    for page, said in heard.items():
        judge(conn, f"{page}, with statistics", said)


LANES = {WAITING, "ix_inbox_messages_parked"}


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("select * from connection_health", "received"),
        ("select * from job_lanes", "received"),
        ("select * from connection_watermarks", "parked"),
        (measures._CONNECTIONS, "received"),
    ],
    ids=["health", "lanes", "watermarks", "measures"],
)
def test_for_a_quiet_connection_nobody_reads_what_waits_at_a_busy_one(
    database: embedded.Database, engine: Engine, conn: Connection, sql: str, state: str
) -> None:
    with unit_of_work(engine) as own:
        shop = seed.shop(own)
        busy = seed.connection(own, shop)
        seed.connection(own, shop, "Amazon UK", "amazon", "B")
        execute(
            own,
            """
            insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state,
                cause)
            select %(shop)s, %(busy)s, n::text, 'orders/create', 'webhook', convert_to(repeat('x', 200), 'UTF8'),
                now(), %(state)s, case when %(state)s = 'parked' then 'unreadable' end
            from generate_series(1, 40000) n
            """,
            shop=shop,
            busy=busy,
            state=state,
        )
    vacuum(database)
    found = [read for read in reads(conn, screens.Statement(sql, {})) if read[0] not in LANES]
    assert not [read for read in found if read[2] > 10 and "failure_" not in read[0]], found
