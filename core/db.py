"""The database: engine, units of work, and the few helpers through which all SQL goes.

SQL is written out, with psycopg's named parameters: `%(name)s` for single values, `%(name)b` with a cast for
arrays that travel in binary (`unnest(%(ids)b::int8[])`), which is the fastest way to hand over a set of rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

CONNECT_SECONDS = 5

# Below every job's timeout, so that the server gives up first and the connection stays usable.
_OPTIONS = (
    "-c timezone=UTC -c statement_timeout={statement_ms} -c lock_timeout=5000"
    " -c idle_in_transaction_session_timeout=60000 -c application_name={name}"
)


def make_engine(url: str, *, name: str = "switchyard", pool_size: int = 5, statement_seconds: int = 60) -> Engine:
    """A pooled engine that is safe across forks: a child never speaks on its parent's connection."""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=True,
        # A row's values must not travel in the text of an error, which ends in logs and in Redis.
        hide_parameters=True,
        # We have no such column, and asking whether the server knows the type is a query for every forked job.
        use_native_hstore=False,
        connect_args={
            "options": _OPTIONS.format(name=name, statement_ms=statement_seconds * 1000),
            # psycopg would wait for two minutes for a server that takes the connection and says nothing.
            "connect_timeout": CONNECT_SECONDS,
            # A server that vanished without a word is noticed in a minute, not in a quarter of an hour.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    )
    os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


@lru_cache(maxsize=1)
def engine_of_jobs(url: str) -> Engine:
    """The one engine of a process that runs jobs: what records a run, what takes its turn and the job itself use its
    connections one after the other. One opened anew costs client and server 10 ms of CPU, and that for every forked
    job."""
    return make_engine(url)


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Connection]:
    """Everything inside happens or nothing does: commits on a clean exit, rolls back on anything else."""
    with engine.begin() as conn:
        yield conn


@contextmanager
def read_only(engine: Engine) -> Iterator[Connection]:
    """A consistent snapshot in which the server itself refuses writes."""
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with snapshot.begin() as conn:
        yield conn


@contextmanager
def planned_once(conn: Connection) -> Iterator[None]:
    """Statements inside run by the plan that their connection has made for any parameters, once.

    For units of work of a few rows, of which the server otherwise spends more time planning than running (measured: the
    listings of one SKU take 0.7 ms to plan anew and 0.1 ms to write). Not for sets whose size decides the plan.
    """
    execute(conn, "set local plan_cache_mode = force_generic_plan")
    yield
    # Left as it is by an error: the setting goes with the unit of work.
    execute(conn, "set local plan_cache_mode = auto")


@contextmanager
def planned_each_time(conn: Connection) -> Iterator[None]:
    """Statements inside are planned for their own parameters, however often they ran.

    For reads whose best plan depends on what is asked: a server that has planned such a text five times takes one plan
    for all of them (measured: a search for a word that most products have, 4 ms by its own plan, takes 300 by the plan
    for rare ones).
    """
    execute(conn, "set local plan_cache_mode = force_custom_plan")
    yield
    # Left as it is by an error: the setting goes with the unit of work.
    execute(conn, "set local plan_cache_mode = auto")


def fetch(conn: Connection, sql: str, **params: Any) -> Sequence[RowMapping]:
    """All rows of a query, each readable by column name."""
    return conn.exec_driver_sql(sql, params).mappings().all()


def fetch_one(conn: Connection, sql: str, **params: Any) -> RowMapping | None:
    """The first row, or None."""
    return conn.exec_driver_sql(sql, params).mappings().first()


def scalar(conn: Connection, sql: str, **params: Any) -> Any:
    """The first column of the first row, or None."""
    return conn.exec_driver_sql(sql, params).scalar()


def execute(conn: Connection, sql: str, **params: Any) -> int:
    """Run a statement; returns how many rows it touched."""
    return conn.exec_driver_sql(sql, params).rowcount


# SQLSTATE classes: 22 data exception, 23 integrity, 42/54 the statement itself; these say "this input", not "not now".
_DATA_CLASSES = ("22", "23", "42", "54")
# 23P01/40*/55* and a lost connection say "not now": never a reason to park a message.


def is_data_error(error: BaseException) -> bool:
    """Whether the database refused the data itself, so that trying again cannot help."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # psycopg refuses values it cannot send (a NUL in a text) before the server sees them.
        return type(error.orig).__name__ == "DataError"
    return state[:2] in _DATA_CLASSES


def count_catalogue(engine: Engine) -> None:
    """Have the database count afresh what catalogues are read into, whatever it believes to know.

    For whoever has just read a whole one: of a shop that is new the statistics say that it has nothing.
    """
    with engine.begin() as conn:
        conn.exec_driver_sql("select count_catalogue()")


def count_grown_tables(engine: Engine) -> int:
    """Have the database count afresh what has outgrown its statistics; returns how many tables that were.

    For whoever has just added rows in bulk: until autovacuum comes by, a minute later, new tables would be planned as
    if they were empty.
    """
    with engine.begin() as conn:
        return int(scalar(conn, "select count_grown_tables()"))
