"""The access token of a connection, shared by all processes: sealed in Postgres like the credentials it stands for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from core.db import execute, fetch_one, unit_of_work
from core.ports import LivingToken
from core.sealing import fernets

log = logging.getLogger(__name__)

WAITS_SECONDS = 5.0
"""How long one who would fetch waits for another who is at it. A vendor that takes longer is asked by both."""


@dataclass(frozen=True, slots=True)
class SealedShelf:
    """Satisfies core.ports.TokenShelf for one connection. A database that is away is a shelf with nothing on it."""

    engine: Engine
    keys: Sequence[str] = field(repr=False)
    shop_id: int
    connection_id: int

    def get(self, credentials: str) -> LivingToken | None:
        """The token that was fetched last with these credentials; it may have died since."""
        try:
            with unit_of_work(self.engine) as conn:
                row = self._row(conn)
        except SQLAlchemyError as error:
            _away(error)
            return None
        value = None if row is None else self._open(row, credentials)
        return None if row is None or value is None else LivingToken(value, row["renew_at"], row["expires_at"])

    def put(self, credentials: str, token: LivingToken) -> None:
        """Keep it in place of the one before."""
        text = json.dumps({"token": token.value, "credentials": credentials})
        try:
            with unit_of_work(self.engine) as conn:
                execute(
                    conn,
                    """
                    insert into connection_tokens (shop_id, connection_id, sealed, renew_at, expires_at)
                    values (%(shop)s, %(connection)s, %(sealed)s, %(renew_at)s, %(expires_at)s)
                    on conflict (shop_id, connection_id) do update set sealed = excluded.sealed,
                        renew_at = excluded.renew_at, expires_at = excluded.expires_at
                    """,
                    shop=self.shop_id,
                    connection=self.connection_id,
                    sealed=self._box().encrypt(text.encode()),
                    renew_at=token.renew_at,
                    expires_at=token.expires_at,
                )
        except SQLAlchemyError as error:
            _away(error)

    def drop(self, credentials: str, refused: str) -> None:
        """The vendor did not accept this one; one that was put meanwhile stays."""
        try:
            with unit_of_work(self.engine) as conn:
                row = self._row(conn, "for update")
                if row is None or self._open(row, credentials) != refused:
                    return
                execute(
                    conn,
                    "delete from connection_tokens where shop_id = %(shop)s and connection_id = %(connection)s",
                    shop=self.shop_id,
                    connection=self.connection_id,
                )
        except SQLAlchemyError as error:
            _away(error)

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """While it lasts others who would fetch wait, a few seconds at most; then they fetch as well.

        A process that dies lets go with its connection.
        """
        conn = self._lock()
        try:
            yield
        finally:
            if conn is not None:
                _let_go(conn)

    def _lock(self) -> Connection | None:
        try:
            conn = self.engine.connect()
        except SQLAlchemyError as error:
            _away(error)
            return None
        try:
            execute(conn, f"set local lock_timeout = {round(WAITS_SECONDS * 1000)}")
            execute(
                conn,
                "select pg_advisory_xact_lock(hashtextextended('token:' || %(shop)s || ':' || %(connection)s, 0))",
                shop=self.shop_id,
                connection=self.connection_id,
            )
        except SQLAlchemyError as error:
            _let_go(conn)
            _away(error)
            return None
        return conn

    def _row(self, conn: Connection, lock: str = "") -> RowMapping | None:
        return fetch_one(
            conn,
            f"""
            select sealed, renew_at, expires_at from connection_tokens
            where shop_id = %(shop)s and connection_id = %(connection)s {lock}
            """,
            shop=self.shop_id,
            connection=self.connection_id,
        )

    def _open(self, row: RowMapping, credentials: str) -> str | None:
        """The token, if it was fetched with these credentials and a key of ours opens it."""
        try:
            kept = json.loads(self._box().decrypt(bytes(row["sealed"])))
        except InvalidToken:
            return None
        return str(kept["token"]) if kept["credentials"] == credentials else None

    def _box(self) -> MultiFernet:
        return MultiFernet(fernets(self.keys))


def _away(error: SQLAlchemyError) -> None:
    """What is asked of the database is a help, no need: whoever asks goes on without it."""
    log.warning("an access token is not shared: %s", type(getattr(error, "orig", None) or error).__name__)


def _let_go(conn: Connection) -> None:
    try:
        conn.close()
    except SQLAlchemyError as error:
        _away(error)
