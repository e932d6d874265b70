"""Reading ahead: while the database books one batch of a lane, the next one is read and made sense of.

Bodies in the inbox never change, so what was made of one beforehand is good whenever its turn comes. Reading ahead
locks and decides nothing: which messages are handled is settled by the claim alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.messaging import inbox
from core.messaging.inbox import Batch, Received

log = logging.getLogger(__name__)


class ReadAhead:
    """Reads the next messages of one lane in a thread of its own; `core.messaging.inbox.Reader`.

    with ReadAhead(engine, shop_id, connection_id, size, intake.prepare) as ahead:
        ... drain_batch(..., reader=ahead) ...

    What `prepare` raises is not reported here: its message is prepared once more in its turn, where errors belong.
    """

    def __init__(
        self,
        engine: Engine,
        shop_id: int,
        connection_id: int,
        size: Batch,
        prepare: Callable[[Received], object],
    ) -> None:
        self._engine = engine
        self._lane = (shop_id, connection_id)
        self._size = size
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._next: Future[dict[int, Received]] | None = None

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, after_id: int) -> None:
        """Start to read what follows `after_id`."""
        self._next = self._pool.submit(self._read, after_id)

    def take(self) -> Mapping[int, Received]:
        """What was read since `begin`, by id; empty when there was no beginning or the database did not answer."""
        future, self._next = self._next, None
        if future is None:
            return {}
        try:
            return future.result()
        except SQLAlchemyError as error:
            log.warning("not read ahead: %s", type(error).__name__)
            return {}

    def _read(self, after_id: int) -> dict[int, Received]:
        with read_only(self._engine) as conn:
            found = inbox.received_after(conn, *self._lane, after_id, self._size)
        return {message.id: self._prepared(message) for message in found}

    def _prepared(self, message: Received) -> Received:
        try:
            return replace(message, prepared=self._prepare(message))
        except Exception:  # noqa: BLE001 (raised again in the message's turn, where it is isolated and parked)
            return message
