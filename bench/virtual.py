"""Virtual time for several threads: it stands still while one of them works, and passes when all of them wait."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import httpx

from sandbox.clock import VirtualClock


@dataclass
class SharedTime:
    """The clock of a world, moved to the next waiter's moment once everybody waits. One world, one of these."""

    clock: VirtualClock
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: list[tuple[float, int]] = field(default_factory=list)
    _at_work: int = 0
    _count: int = 0

    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.now()

    def date(self) -> datetime:
        """The world's date."""
        return datetime.fromtimestamp(self.clock.wall(), UTC)

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds to pass; for those who are at work (`run`)."""
        with self._changed:
            self._count += 1
            mine = (self.now() + max(0.0, seconds), self._count)
            heapq.heappush(self._waiting, mine)
            self._rest()
            while mine in self._waiting:
                self._changed.wait()

    def run(self, work: Sequence[Callable[[], None]]) -> None:
        """Do all of it at once, each in a thread of its own, until everything is done. Raises what one of it raises."""
        with self._changed:
            self._at_work = len(work)
        with ThreadPoolExecutor(len(work)) as pool:
            for done in [pool.submit(self._working, one) for one in work]:
                done.result()

    def together(self, work: Sequence[Callable[[], None]]) -> None:
        """The same within the work of one who is at work, and who waits for all of it meanwhile."""
        left = [len(work)]
        with self._changed:
            self._at_work += len(work) - 1
        with ThreadPoolExecutor(len(work)) as pool:
            for done in [pool.submit(self._helping, one, left) for one in work]:
                done.result()

    def _helping(self, one: Callable[[], None], left: list[int]) -> None:
        try:
            one()
        finally:
            with self._changed:
                left[0] -= 1
                # The last one leaves its place to whoever waits for them.
                if left[0]:
                    self._rest()

    def _working(self, one: Callable[[], None]) -> None:
        try:
            one()
        finally:
            with self._changed:
                self._rest()

    def _rest(self) -> None:
        """One less is at work; the last one lets time pass, and whoever is due goes on."""
        self._at_work -= 1
        if self._at_work > 0 or not self._waiting:
            return
        self.clock.advance(max(0.0, self._waiting[0][0] - self.now()))
        while self._waiting and self._waiting[0][0] <= self.now() + 1e-9:
            heapq.heappop(self._waiting)
            self._at_work += 1
        self._changed.notify_all()


@dataclass(eq=False)
class Distance(httpx.BaseTransport):
    """A road to the world that takes time there and back: mostly 50 to 150 milliseconds, now and then a second."""

    inner: httpx.BaseTransport
    time: SharedTime
    random: Random

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.time.sleep(self._leg())
        answer = self.inner.handle_request(request)
        self.time.sleep(self._leg())
        return answer

    def _leg(self) -> float:
        return self.random.uniform(0.025, 0.075) if self.random.random() < 0.98 else self.random.uniform(0.1, 0.5)

    def close(self) -> None:
        """The world stays open for the others."""
