"""The group-commit writer: many deliveries, one commit, and nobody is told "received" before it.

Requests hand in rows and wait. One task takes all that wait (up to a batch), inserts them by one statement and commits;
measured, that is worth three times the deliveries a second of a commit each. When the database refuses a batch for its
data, its rows go one by one and only the bad one fails; when the database is gone, all are told to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

import psycopg
from psycopg import errors as pg

from core.errors import Permanent, Retryable
from core.logs import bound

log = logging.getLogger(__name__)

BATCH_ROWS = 256
# A vendor waits five seconds for its answer, and a delivery for the batch at work and for its own.
CONNECT_SECONDS = 2
STATEMENT_MS = 2200
# The server keeps the limit above, unless it is frozen: then we are the ones who hang up.
HANG_UP_SECONDS = 2.4

_OPTIONS = (
    f"-c timezone=UTC -c statement_timeout={STATEMENT_MS} -c lock_timeout=2000 -c application_name=switchyard-ingest"
)

_INSERT = """
    insert into inbox_messages
        (shop_id, connection_id, delivery_id, topic, road, event_ref, body, triggered_at, received_at)
    select s, c, d, t, 'webhook', e, b, at, r
    from unnest(%(shops)b::int8[], %(connections)b::int8[], %(deliveries)b::text[], %(topics)b::text[],
        %(events)b::text[], %(bodies)b::bytea[], %(triggered)b::timestamptz[], %(received)b::timestamptz[])
        as m (s, c, d, t, e, b, at, r)
    on conflict (shop_id, connection_id, delivery_id) do nothing
"""


class Delivery(NamedTuple):
    """One delivery as it will stand in the inbox; its first three fields are the inbox's unique key."""

    shop_id: int
    connection_id: int
    delivery_id: str
    topic: str
    event_ref: str | None
    body: bytes
    triggered_at: datetime | None
    received_at: datetime


class ComeBackLater(Retryable):
    """The delivery is not recorded, and the same delivery may be later."""


class Refused(Permanent):
    """The database will never take this delivery."""


Waiting = tuple[Delivery, "asyncio.Future[None]"]

_KEY = itemgetter(0, 1, 2)
_COLUMNS = ("shops", "connections", "deliveries", "topics", "events", "bodies", "triggered", "received")


class Writer:
    """One per process. `committed` is called with every batch and the seconds it took; it must not block."""

    def __init__(
        self, database_url: str, committed: Callable[[Sequence[Delivery], float], None], *, waiting_max: int = 2048
    ) -> None:
        self._url = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._committed = committed
        self._queue: asyncio.Queue[Waiting | None] = asyncio.Queue(waiting_max)
        self._connection: psycopg.AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._has_hung_up = False

    async def record(self, delivery: Delivery) -> None:
        """Return once the delivery is committed, by us or by an earlier one of the same id.

        Raises ComeBackLater when too much waits already or the database does not answer, Refused for bad data.
        """
        if self._is_closing:
            raise ComeBackLater("this process is going down")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((delivery, done))
        except asyncio.QueueFull:
            raise ComeBackLater("too many deliveries are waiting") from None
        await done

    @property
    def waiting(self) -> int:
        """How many deliveries wait to be written."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._work(), name="ingest")

    async def stop(self) -> None:
        """Write what waits, then end."""
        self._is_closing = True
        await self._queue.put(None)
        if self._task is not None:
            await self._task
        await self._disconnect()

    async def _work(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = await self._next_batch()
            if batch:
                await self._settle(batch)

    async def _next_batch(self) -> tuple[list[Waiting], bool]:
        batch: list[Waiting] = []
        entry = await self._queue.get()
        while entry is not None:
            batch.append(entry)
            if len(batch) == BATCH_ROWS or self._queue.empty():
                return batch, False
            entry = self._queue.get_nowait()
        return batch, True

    async def _settle(self, batch: list[Waiting]) -> None:
        """Write a batch and tell everybody in it; never raises, because the next batch needs this task."""
        began = time.perf_counter()
        try:
            await self._write([delivery for delivery, _ in batch])
        except psycopg.OperationalError as error:
            log.error("a batch of %d deliveries was not recorded: %s", len(batch), error)
            _tell(batch, ComeBackLater("the database does not answer"))
        except psycopg.Error as error:
            if len(batch) == 1:
                with bound(connection=batch[0][0].connection_id, delivery=batch[0][0].delivery_id):
                    log.error("the database refused a delivery: %s", type(error).__name__)
                _tell(batch, Refused(type(error).__name__))
                return
            for one in batch:
                await self._settle([one])
        except Exception:
            log.exception("a batch of %d deliveries was not recorded", len(batch))
            _tell(batch, ComeBackLater("an unforeseen error"))
        else:
            _tell(batch, None)
            self._committed([delivery for delivery, _ in batch], time.perf_counter() - began)

    async def _write(self, deliveries: Sequence[Delivery]) -> None:
        """One commit. A connection that went stale meanwhile is replaced once: the insert may be repeated."""
        was_connected = self._connection is not None
        try:
            await self._insert(deliveries)
        except psycopg.OperationalError as error:
            # What took its whole time is not given it again, nor is a server that does not let us in.
            has_waited = isinstance(error, (pg.QueryCanceled, pg.LockNotAvailable)) or self._has_hung_up
            if has_waited or not was_connected:
                raise
            await self._disconnect()
            await self._insert(deliveries)

    async def _insert(self, deliveries: Sequence[Delivery]) -> None:
        connection = await self._connected()
        self._has_hung_up = False
        alarm = asyncio.get_running_loop().call_later(HANG_UP_SECONDS, self._hang_up, connection)
        try:
            await self._insert_over(connection, deliveries)
        finally:
            alarm.cancel()

    def _hang_up(self, connection: psycopg.AsyncConnection) -> None:
        """Shut the line under a statement that a frozen server will not end.

        Shut, not closed: the event loop still watches the descriptor, and its number must not become another client's.
        Whether the statement is carried out when the server thaws does not matter: the delivery comes again with the
        same key.
        """
        self._has_hung_up = True
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(connection.pgconn.socket)) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)

    async def _insert_over(self, connection: psycopg.AsyncConnection, deliveries: Sequence[Delivery]) -> None:
        # In the order of the unique key: two processes writing the same keys wait for each other, and never in a ring.
        ordered = sorted(deliveries, key=_KEY)
        # One statement is one unit of work, and one way to the server and back where a transaction block takes three.
        await connection.execute(_INSERT, dict(zip(_COLUMNS, map(list, zip(*ordered, strict=True)), strict=True)))

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                options=_OPTIONS,
                # A server that vanished without a word is noticed after this, too.
                tcp_user_timeout=STATEMENT_MS,
            )
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()


def _tell(batch: Sequence[Waiting], error: Exception | None) -> None:
    for _, done in batch:
        # Done already: its client has gone. The row is kept all the same.
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
