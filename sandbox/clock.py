"""Two times: the date for every timestamp, and a clock for every duration that may run faster or stand still."""

import asyncio
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from sandbox.errors import Refused
from sandbox.store import Store

MAX_FACTOR = 1e9


class Clock:
    """The sandbox clock runs `factor` times as fast as the real one and keeps running over restarts.

    Stood still (`stop`), it is virtual: it moves by `advance` alone, and then the dates move with it.
    """

    def __init__(self, store: Store, factor: float | None = None) -> None:
        self._store = store
        self._base_wall = float(store.meta("clock_wall", str(time.time())))
        self._base = float(store.meta("clock_base", "0"))
        # What the dates are ahead of the real time, by what was advanced while the clock stood still.
        self._ahead = float(store.meta("clock_ahead", "0"))
        self.factor = float(store.meta("clock_factor", "1"))
        store.wall = self.wall
        self._change(self.factor)
        if factor is not None:
            self.set_factor(factor)

    @property
    def is_virtual(self) -> bool:
        return self.factor == 0

    def now(self) -> float:
        """Seconds on the sandbox clock, for quotas, delays and waits."""
        return self._base + self.factor * (time.time() - self._base_wall)

    def wall(self) -> float:
        """Seconds since 1970 as every timestamp shows them: the real time, unless the clock is virtual."""
        return (self._base_wall if self.is_virtual else time.time()) + self._ahead

    async def wait(self, seconds: float) -> None:
        """Lets that many seconds of the sandbox clock pass; a clock that stands still is moved instead."""
        if self.is_virtual:
            self.advance(seconds)
        else:
            await asyncio.sleep(seconds / self.factor)

    def set_factor(self, factor: float) -> None:
        """Changes the speed from now on; what has passed so far stays passed. Raises Refused for a bad factor."""
        if not 0 < factor <= MAX_FACTOR:
            raise Refused("invalid_factor", "The clock factor must be above 0.")
        self._change(factor)

    def stop(self) -> None:
        """Makes the clock virtual: it stands still until it is advanced or given a factor again."""
        self._change(0.0)

    def advance(self, seconds: float) -> None:
        """Moves a virtual clock, dates included. Raises Refused when it runs by itself or would go back."""
        if not self.is_virtual:
            raise Refused("clock_runs", "Only a virtual clock can be advanced; make it virtual first.", 409)
        check_forward(seconds)
        self._base += seconds
        self._ahead += seconds
        self._save()

    def _change(self, factor: float) -> None:
        base, wall = self.now(), self.wall()
        self._base, self._base_wall, self.factor = base, time.time(), factor
        # Dates never go back: whoever polls by them would miss what happens next.
        self._ahead = max(0.0, wall - self._base_wall)
        self._save()

    def _save(self) -> None:
        with self._store.transaction():
            self._store.set_meta("clock_base", repr(self._base))
            self._store.set_meta("clock_wall", repr(self._base_wall))
            self._store.set_meta("clock_ahead", repr(self._ahead))
            self._store.set_meta("clock_factor", repr(self.factor))


class VirtualClock:
    """A clock of the caller's own for a world in his process: `now()` moves by `advance` alone, from any thread.

    `wall` is the date it starts at, in seconds since 1970. Nothing of it is kept over restarts.
    """

    factor = 0.0
    is_virtual = True

    def __init__(self, wall: float | None = None) -> None:
        self._started_at = time.time() if wall is None else wall
        self._passed = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._passed

    def wall(self) -> float:
        return self._started_at + self._passed

    async def wait(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Raises Refused when it would go back."""
        check_forward(seconds)
        with self._lock:
            self._passed += seconds

    def set_factor(self, factor: float) -> None:
        raise Refused("clock_is_virtual", "This world's clock belongs to the program around it.", 409)

    def stop(self) -> None:
        """Stands still already."""


AnyClock = Clock | VirtualClock


def check_forward(seconds: float) -> None:
    if not 0 <= seconds < float("inf"):
        raise Refused("invalid_advance", "A clock is advanced by seconds, 0 or more.")


def utc_now(store: Store) -> str:
    """The world's date as GraphQL writes it: whole seconds, Z."""
    return utc_at(store.wall())


def utc_at(wall: float) -> str:
    """Seconds since 1970 as GraphQL writes an instant."""
    return _written(int(wall))


@lru_cache(maxsize=64)
def _written(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now_fine(store: Store) -> str:
    """The world's date with sub-second digits, as in X-Shopify-Triggered-At."""
    nanoseconds = int(store.wall() * 1e9)
    return f"{_written(nanoseconds // 10**9)[:-1]}.{nanoseconds % 10**9:09d}Z"


def as_utc(text: str) -> str:
    """Any ISO instant as whole seconds with Z; a time without offset is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=4096)
def with_offset(text: str, timezone: str) -> str:
    """An instant as REST bodies write it: the shop's local time with its offset."""
    return datetime.fromisoformat(text).astimezone(ZoneInfo(timezone)).isoformat(timespec="seconds")
