"""The statements behind the dashboard's screens: heard while a screen is drawn, and timed by themselves afterwards."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import streamlit as st
from sqlalchemy import Connection, Engine, event
from streamlit.testing.v1 import AppTest

from bench.servers import ROOT, Servers
from core import bootstrap, embedded
from core.db import read_only
from dashboard import queries

OPERATIONS = (
    "overview",
    "jobs",
    "failures",
    "alerts",
    "runs",
    "schedules",
    "reconciliation",
    "reports",
    "connections",
)
BUDGET_MS = 50.0
"""What the statements of a click may take together."""

KNOWN = 12
"""A statement that was sent so often has its plan: psycopg prepares it at the sixth time, Postgres keeps one plan after
five more. A screen that refreshes itself every ten seconds is there in two minutes."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as a screen sent it."""

    sql: str
    params: Any


Pages = Mapping[str, Sequence[Statement]]
"""What each screen asks."""


@contextmanager
def dashboard_on(servers: Servers, database: embedded.Database) -> Iterator[Engine]:
    """The dashboard in this process, looking at a database; gives its own pool."""
    before = dict(os.environ)
    os.environ.update({**servers.environment(database), "SWITCHYARD_OPERATOR": "bench"})
    _forget()
    try:
        yield queries.engine()
    finally:
        queries.engine().dispose()
        _forget()
        os.environ.clear()
        os.environ.update(before)


def _forget() -> None:
    st.cache_data.clear()
    queries.engine.clear()
    bootstrap._application_of.cache_clear()


def heard(engine: Engine, screens: Sequence[str]) -> dict[str, list[Statement]]:
    """What each screen asks the database when it is opened, with the sidebar. Raises where a screen does."""
    said: list[Statement] = []

    def hear(conn: Connection, cursor: Any, sql: str, params: Any, context: Any, many: bool) -> None:
        said.append(Statement(sql, params))

    found = {}
    event.listen(engine, "before_cursor_execute", hear)
    try:
        for screen in screens:
            page = AppTest.from_file(str(ROOT / "dashboard" / "main.py"), default_timeout=120)
            page.run()
            if screen != "overview":
                page.switch_page(f"screens/{screen}.py")
            st.cache_data.clear()
            said.clear()
            page.run()
            if page.exception:
                raise AssertionError(f"{screen}: {page.exception[0].value}")
            found[screen] = list(said)
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    return found


def once(engine: Engine, statements: Sequence[Statement]) -> float:
    """Milliseconds of a screen's statements, one after another as the dashboard sends them."""
    return sum(_run(engine, each) for each in statements)


def timed(engine: Engine, said: Pages, rounds: int) -> dict[str, list[float]]:
    """The same for each screen, `rounds` times after as many that do not count as let a plan be kept."""
    found: dict[str, list[float]] = {screen: [] for screen in said}
    for number in range(KNOWN + rounds):
        for screen, statements in said.items():
            spent = once(engine, statements)
            if number >= KNOWN:
                found[screen].append(spent)
    return found


def slowest(engine: Engine, statements: Sequence[Statement], rounds: int) -> tuple[float, str]:
    """The slowest statement of a screen: the middle of its milliseconds, and how it begins."""
    spent = [(statistics.median(_run(engine, each) for _ in range(rounds)), each.sql) for each in statements]
    took, sql = max(spent)
    return took, " ".join(sql.split())[:90]


def _run(engine: Engine, each: Statement) -> float:
    with read_only(engine) as conn:
        began = time.perf_counter()
        conn.exec_driver_sql(each.sql, each.params).all()
        return (time.perf_counter() - began) * 1000
