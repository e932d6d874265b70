"""Who a webhook is for: connections and their secrets, remembered for a minute so that rotations are seen."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from api.asking import NoAnswer, in_thread
from core.connections.operations import open_secrets
from core.db import fetch_one, read_only, scalar

KEPT_SECONDS = 60.0
# After a wrong signature the secrets are read again, but a flood of wrong ones does not become a flood of reads.
REREAD_SECONDS = 1.0
UNKNOWN_KEPT_SECONDS = 5.0
KEPT_MAX = 10_000
# A vendor waits five seconds for its answer.
PATIENCE_SECONDS = 2.4
PREVIOUS_COUNTS_FOR = timedelta(hours=2)
"""How long a client secret counts that was replaced: the vendor may sign with it for an hour."""
READERS_MAX = 8


@dataclass(frozen=True, slots=True)
class Account:
    """A connection as far as its webhooks need it; `secrets` newest first."""

    shop_id: int
    connection_id: int
    account_ref: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Remembered:
    account: Account | None
    read_at: float


def load_account(engine: Engine, keys: Sequence[str], vendor: str, connection_id: int, now: datetime) -> Account | None:
    """The connection's account, or None when that vendor has no such connection.

    Raises core.connections.operations.UnreadableSecret, or core.sealing.NoSecretKeys or BadSecretKey, when
    its secrets cannot be opened.
    """
    with read_only(engine) as conn:
        row = fetch_one(
            conn,
            "select shop_id, id, account_ref from connections where id = %(id)s and vendor = %(vendor)s",
            id=connection_id,
            vendor=vendor,
        )
        if row is None:
            return None
        found = open_secrets(conn, keys, row["shop_id"], row["id"])
        replaced_at = scalar(
            conn,
            """
            select updated_at from connection_secrets
            where shop_id = %(shop)s and connection_id = %(id)s and name = 'client_secret_previous'
            """,
            shop=row["shop_id"],
            id=row["id"],
        )
    if replaced_at is not None and now - replaced_at > PREVIOUS_COUNTS_FOR:
        del found["client_secret_previous"]
    secrets = tuple(found[name] for name in ("client_secret", "client_secret_previous") if found.get(name))
    return Account(row["shop_id"], row["id"], row["account_ref"], secrets)


class Accounts:
    """A cache in front of `load`, which blocks, may hang with its server, and therefore runs in threads, a few."""

    def __init__(
        self,
        load: Callable[[str, int], Account | None],
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._load = load
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._kept: OrderedDict[tuple[str, int], _Remembered] = OrderedDict()
        self._reading: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._readers = asyncio.Semaphore(READERS_MAX)

    async def get(self, vendor: str, connection_id: int) -> Account | None:
        """The account, at most a minute old. Raises NoAnswer, or what `load` raises."""
        known = self._kept.get((vendor, connection_id))
        if known is not None:
            kept_for = UNKNOWN_KEPT_SECONDS if known.account is None else KEPT_SECONDS
            if self._clock() - known.read_at < kept_for:
                return known.account
        return await self._read((vendor, connection_id), asked_at=self._clock())

    async def get_again(self, vendor: str, connection_id: int) -> Account | None:
        """The account read anew, unless it was a moment ago. Raises NoAnswer, or what `load` raises."""
        return await self._read((vendor, connection_id), asked_at=self._clock() - REREAD_SECONDS)

    async def _read(self, key: tuple[str, int], asked_at: float) -> Account | None:
        """Read once for all who ask at the same time; each leaves when its own patience is over."""
        ends_at = time.monotonic() + self._patience_seconds
        while True:
            known = self._kept.get(key)
            if known is not None and known.read_at >= asked_at:
                return known.account
            reading = self._reading.get(key)
            if reading is None:
                reading = self._reading[key] = asyncio.create_task(self._read_now(key))
                # Everybody may have left before it fails.
                reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait({reading}, timeout=ends_at - time.monotonic())
            if not reading.done():
                raise NoAnswer("the connection could not be read in time")
            reading.result()

    async def _read_now(self, key: tuple[str, int]) -> None:
        try:
            async with self._readers:
                read_at = self._clock()
                account = await asyncio.wrap_future(in_thread(lambda: self._load(*key)))
            self._keep(key, _Remembered(account, read_at))
        finally:
            del self._reading[key]

    def _keep(self, key: tuple[str, int], remembered: _Remembered) -> None:
        self._kept[key] = remembered
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
