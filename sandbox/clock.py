"""Two times: the real UTC clock for every timestamp, and a sandbox clock that runs faster for every duration."""

import time
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from sandbox.store import Store


class Clock:
    """The sandbox clock runs `factor` times as fast as the real one and keeps running over restarts."""

    def __init__(self, store: Store, factor: float | None = None) -> None:
        self._store = store
        self._base_wall = float(store.meta("clock_wall", str(time.time())))
        self._base = float(store.meta("clock_base", "0"))
        self.factor = float(store.meta("clock_factor", "1"))
        self.set_factor(self.factor if factor is None else factor)

    def now(self) -> float:
        """Seconds on the sandbox clock, for quotas, delays and waits."""
        return self._base + self.factor * (time.time() - self._base_wall)

    def real_seconds(self, seconds: float) -> float:
        """How long to really wait for that many seconds of the sandbox clock."""
        return seconds / self.factor

    def set_factor(self, factor: float) -> None:
        """Changes the speed from now on; what has passed so far stays passed."""
        self._base, self._base_wall, self.factor = self.now(), time.time(), factor
        with self._store.transaction():
            self._store.set_meta("clock_base", repr(self._base))
            self._store.set_meta("clock_wall", repr(self._base_wall))
            self._store.set_meta("clock_factor", repr(factor))


def utc_now() -> str:
    """The real time as GraphQL writes it: whole seconds, Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now_fine() -> str:
    """The real time with sub-second digits, as in X-Shopify-Triggered-At."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{time.time_ns() % 1000:03d}Z"


def as_utc(text: str) -> str:
    """Any ISO instant as whole seconds with Z; a time without offset is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=4096)
def with_offset(text: str, timezone: str) -> str:
    """An instant as REST bodies write it: the shop's local time with its offset."""
    return datetime.fromisoformat(text).astimezone(ZoneInfo(timezone)).isoformat(timespec="seconds")
