"""What an adapter is made of: which account it speaks for, and what it is lent to do so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from core.adapters.http import ApiCall, Client, Dialect, Urgency
from core.ports import Effect, QuantityWrite, TokenShelf


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """One account at one vendor. `secrets` never shows in a representation, a log or an error."""

    shop_id: int
    connection_id: int
    vendor: str
    base_url: str
    account_ref: str
    currency: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def clock_factor(self) -> float:
        """How many times faster than ours the vendor's durations run: 1 in real life, more in a sandbox."""
        return float(self.settings.get("clock_factor") or 1)


def nothing_held(_effect: Effect) -> str | None:
    """Every call may leave: for channels that no connection's switches stand for."""
    return None


@dataclass(frozen=True, slots=True)
class Deps:
    """What the entry point lends. `transport` takes the place of the network; without Redis limits are per process.

    `purpose` is whom the calls are made for. `clock` is a time of the caller's own in seconds, which `sleep` passes;
    without it time is real.
    `held` is asked just before each attempt of a call that changes something: why it may not leave now, or None.
    `shelf` is where other processes find the access token; without it each process fetches its own.
    """

    record: Callable[[ApiCall], None]
    redis_url: str | None
    transport: httpx.BaseTransport | None
    now: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    purpose: str | None = None
    clock: Callable[[], float] | None = None
    held: Callable[[Effect], str | None] = nothing_held
    shelf: TokenShelf | None = None


def make_client(config: ConnectionConfig, deps: Deps, dialect: Dialect) -> Client:
    """The client of one connection, speaking `dialect`."""
    return Client(
        config.shop_id,
        config.connection_id,
        dialect,
        deps.record,
        deps.now,
        deps.sleep,
        transport=deps.transport,
        purpose=deps.purpose,
        clock=deps.clock or time.monotonic,
        held=deps.held,
    )


def urgency_of(writes: Sequence[QuantityWrite]) -> Urgency:
    """How urgent it is to send these: a number that goes down, or a doubt, is what keeps us from selling too much."""
    return "urgent" if any(_is_urgent(write) for write in writes) else "normal"


def _is_urgent(write: QuantityWrite) -> bool:
    lowers = write.from_units is not None and write.to_units < write.from_units
    return lowers or write.to_units == 0 or write.is_doubtful
