"""What the vendor does by himself some time after he was asked: routing of orders, steps of a bulk operation."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from sandbox.clock import AnyClock
from sandbox.outbox import Outbox
from sandbox.store import Store

log = logging.getLogger("sandbox.duties")

LOOK_EVERY_SECONDS = 0.02


class Duties:
    """Kept in the store with their hour, so that a restart loses none. Each is done in one transaction."""

    def __init__(
        self, store: Store, clock: AnyClock, outbox: Outbox, handlers: Mapping[str, Callable[[int], None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._handlers = handlers
        self._next: float | None = None
        self._is_known = False
        self._runs_by_itself = False
        outbox.ring_duty = self._forget

    def _forget(self) -> None:
        self._is_known = False

    def next_due(self) -> float | None:
        """When the next duty falls due on the sandbox clock."""
        if not self._is_known:
            self._next = self._store.value("select min(due_at) from duties")
            self._is_known = True
        return self._next

    def do_one(self) -> bool:
        """The first duty that is due; whether there was one."""
        due = self.next_due()
        if due is None or due > self._clock.now():
            return False
        row = self._store.one("select * from duties order by due_at, id limit 1")
        self._forget()
        if row is None:
            return False
        self._outbox.hour = row["due_at"]
        try:
            with self._store.transaction():
                self._store.run("delete from duties where id = ?", (row["id"],))
                self._handlers[row["kind"]](row["subject"])
        except Exception:
            log.exception("The duty %s of %s failed and is given up.", row["kind"], row["subject"])
            with self._store.transaction():
                self._store.run("delete from duties where id = ?", (row["id"],))
        finally:
            self._outbox.hour = None
        self._forget()
        return True

    def settle(self) -> None:
        """Everything that is due; to be called before anybody looks at the world, who must not see it too early.

        Where duties run by themselves they do so piece by piece, and nobody waits for a long one.
        """
        if not self._runs_by_itself or self._clock.is_virtual:
            while self.do_one():
                pass

    async def run(self) -> None:
        self._runs_by_itself = True
        try:
            while True:
                await asyncio.sleep(0 if self.do_one() else LOOK_EVERY_SECONDS)
        finally:
            self._runs_by_itself = False
