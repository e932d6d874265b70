"""Very many calls: every statement of the pages about them goes by an index and touches a bounded number of rows.

Rows are counted, never time; the milliseconds are printed for whoever looks (`pytest -s`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import streamlit as st
from sqlalchemy import Connection, Engine, create_engine, event

from core import embedded
from core.db import execute
from dashboard import calls, connection_queries, queries
from tests.dashboard import chatter, seed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("settings")]

CHANNELS = 2
# What a statement may read of api_calls at most, whatever it holds.
BOUNDS = {
    "parties": CHANNELS * (200 + len(calls.OUTCOMES) + 1),
    "volume": len(calls.OUTCOMES) * calls.DEPTH,
    "latency": CHANNELS * 48 * calls.SAMPLE,
    "operations": CHANNELS * 12 * (1 + 4),
    "page": CHANNELS * len(calls.OUTCOMES) * (calls.PAGE + 1),
    "call": 1,
    "errors": 4 * 50,
    "deprecations": 1_000,
    "versions": CHANNELS * (200 + 1 + 1),
}


# Calls, hours over which they are spread, and how many there are to one that did not succeed. What the planner chooses
# depends on the proportions: a quarter of a million shows it as well, and is made in a quarter of the time.
WORLDS = {
    "in an hour": (250_000, 1, 49),
    "in a month": (250_000, 720, 49),
    "all good, in a day": (250_000, 24, 10_000_000),
    "all bad, in a day": (250_000, 24, 1),
}


@pytest.fixture(params=WORLDS.values(), ids=WORLDS)
def million(request: pytest.FixtureRequest, database: embedded.Database) -> int:
    """So many calls, with statistics and visibility as autovacuum leaves them."""
    count, hours, one_bad_in = request.param
    owner = create_engine(database.migrate_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as conn:
        shop = chatter.a_million(conn, hours=hours, one_bad_in=one_bad_in, calls=count, channels=CHANNELS)
        execute(conn, "vacuum analyze api_calls")
    owner.dispose()
    return shop


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What the dashboard's own engine sends."""
    sent: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if any(f"from {view}" in statement for view in ("api_call", "called_connections", "connection_")):
            sent.append((statement, parameters))

    engine: Engine = queries.engine()
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan that reads api_calls."""
    if node.get("Relation Name") == "api_calls":
        yield node
    for child in node.get("Plans", ()):
        yield from scans(child)


def touched(node: dict[str, Any]) -> float:
    """Rows that a scan looked at, over all its loops."""
    removed = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def reads(shop: int, connection: int) -> dict[str, list[Callable[[], Any]]]:
    """Each read of the page with the choices that could be worst for it."""
    newest = calls.page(shop, "all", None, calls.OUTCOMES, None, None)
    assert len(newest.rows) == calls.PAGE
    middle = (seed.ago(minutes=30), 100_000)
    last = (newest.rows[-1]["called_at"], newest.rows[-1]["call_id"])
    return {
        "parties": [lambda: calls.parties(shop, "all")],
        "volume": [lambda w=w: calls.volume(shop, "all", w, CHANNELS) for w in calls.WINDOWS.values()],
        "latency": [lambda w=w: calls.latency(shop, "all", w) for w in calls.WINDOWS.values()],
        "operations": [lambda: calls.operations(shop, "all")],
        "page": [
            lambda: calls.page(shop, "all", None, calls.OUTCOMES, None, last),
            lambda: calls.page(shop, "all", None, calls.OUTCOMES, None, middle),
            lambda: calls.page(shop, "all", connection, calls.FAILURES, None, None),
            lambda: calls.page(shop, "all", None, ("unknown",), "operation 7", middle),
            lambda: calls.page(shop, "all", None, calls.OUTCOMES, "operation 3", None),
            lambda: calls.page(shop, "all", None, calls.OUTCOMES, "never called", None),
        ],
        "call": [lambda: calls.call(shop, last[1])],
        "errors": [lambda: connection_queries.errors(shop, "all", connection)],
        "deprecations": [lambda: connection_queries.deprecations(shop, "all", connection)],
        "versions": [lambda: connection_queries.versions(shop, "all")],
    }


def test_every_statement_goes_by_an_index_and_reads_a_bounded_number_of_rows(
    million: int, statements: list[tuple[str, Any]], conn: Connection
) -> None:
    connection = calls.parties(million, "all")[0]["connection_id"]
    for name, variants in reads(million, connection).items():
        for number, read in enumerate(variants):
            st.cache_data.clear()
            statements.clear()
            read()
            assert statements, f"{name} {number} was not sent"
            statement, parameters = statements[-1]
            plan = conn.exec_driver_sql(f"explain (analyze, format json) {statement}", parameters).scalar_one()[0]
            found = list(scans(plan["Plan"]))
            rows = sum(touched(node) for node in found)
            print(f"{name} {number}: {rows:,.0f} rows of api_calls, {plan['Execution Time']:.1f} ms")
            assert found, name
            assert {node["Node Type"] for node in found} <= {"Index Scan", "Index Only Scan"}, (name, number)
            assert rows <= BOUNDS[name], (name, number)
