"""The driver's own eyes and hands in Postgres: what is open there, and locks that stop a process where we want it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from core import embedded
from tests.functional.systems import System

NAME = "chaos"
DATABASE = "switchyard"
LOCK_SECONDS = 10
_ACTIVITY = """
    select a.pid as backend, a.client_port, a.application_name, a.state, a.wait_event_type, a.wait_event,
        round(extract(epoch from clock_timestamp() - a.xact_start)::numeric, 3) as open_seconds,
        pg_blocking_pids(a.pid) as blocked_by, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 70) as query
    from pg_stat_activity a
    where a.datname = current_database() and a.backend_type = 'client backend' and a.application_name <> %(name)s
"""


@dataclass(frozen=True, slots=True)
class Lock:
    """A table lock that we hold; `release` may be called twice."""

    connection: psycopg.Connection[Any]
    backend: int

    def release(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self.connection.close()


class Database:
    """Postgres as its superuser sees it. Every method raises psycopg.OperationalError while it is away."""

    def __init__(self, system: System) -> None:
        self._url = embedded.superuser_url(system.home, DATABASE).replace("+psycopg", "", 1)
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Rows of a query on a connection that is renewed when it broke."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        try:
            return self._connection.execute(sql, values).fetchall()
        except psycopg.OperationalError:
            self._connection.close()
            raise

    def run(self, sql: str, **values: Any) -> int:
        """Execute a statement that returns no rows; how many it touched."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection.execute(sql, values).rowcount

    def row(self, sql: str, **values: Any) -> dict[str, Any]:
        (found,) = self.rows(sql, **values)
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=3,
            application_name=NAME,
            options=f"-c lock_timeout={LOCK_SECONDS}s",
        )

    def table_lock(self, table: str, mode: str = "share row exclusive") -> contextlib.AbstractContextManager[Lock]:
        """Let nobody write a table for the length of the block, or until it is released."""
        return self.locking(f"lock table {table} in {mode} mode")

    @contextlib.contextmanager
    def locking(self, sql: str) -> Iterator[Lock]:
        """Hold what a statement locks, likewise."""
        connection = self._connect()
        connection.autocommit = False
        try:
            backend = connection.info.backend_pid
            connection.execute(sql.encode())
            yield Lock(connection, backend)
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def inbox(self, shop_id: int) -> Mapping[str, int]:
        """Messages of a shop by state."""
        rows = self.rows(
            "select state, count(*) as count from inbox_messages where shop_id = %(shop)s group by 1", shop=shop_id
        )
        return {row["state"]: row["count"] for row in rows}

    def received(self, shop_id: int) -> int:
        """Messages that wait for their booking."""
        return int(
            self.row(
                "select count(*) as count from inbox_messages where shop_id = %(shop)s and state = 'received'",
                shop=shop_id,
            )["count"]
        )

    def open_transactions(self) -> list[dict[str, Any]]:
        """Everybody's transactions that are open at this moment, longest first."""
        return self.rows(f"{_ACTIVITY} and a.xact_start is not null order by a.xact_start", name=NAME)

    def waiting_for(self, lock: Lock) -> list[dict[str, Any]]:
        """Transactions that stand still because of a lock of ours."""
        rows = self.rows(
            f"{_ACTIVITY} and a.xact_start is not null and a.wait_event_type = 'Lock' order by a.xact_start", name=NAME
        )
        return [row for row in rows if lock.backend in row["blocked_by"]]

    def backends(self) -> list[dict[str, Any]]:
        """Every connection of the product."""
        return self.rows(_ACTIVITY, name=NAME)

    def lane_holder(self, key: str) -> dict[str, Any] | None:
        """The connection that holds a lane (`events:1:2`)."""
        rows = self.rows(
            f"""
            {_ACTIVITY} and a.pid in (
                select l.pid from pg_locks l, hashtextextended('lane:' || %(key)s, 0) as k
                where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                    and ((l.classid::int8 << 32) | l.objid::int8) = k)
            """,
            name=NAME,
            key=key,
        )
        return rows[0] if rows else None

    def end_backends(self, backends: list[int]) -> int:
        """Close connections as the server closes those that stay silent beyond their time."""
        if not backends:
            return 0
        rows = self.rows("select pg_terminate_backend(pid) as ended from unnest(%(pids)s::int4[]) pid", pids=backends)
        return sum(row["ended"] for row in rows)
