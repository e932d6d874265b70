"""An account at a vendor as the tests hold it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.adapters.registry import make_channel
from core.ports import SalesChannel
from tests.adapters.transports import Bumpy


@dataclass
class Account:
    """A vendor's account under test: its channel, its bumpy network, and what the request log was told."""

    kind: str
    vendor: str
    config: ConnectionConfig
    network: Bumpy
    control: Any
    log: list[ApiCall] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    later: timedelta = timedelta()

    def channel(self) -> SalesChannel:
        deps = Deps(self.log.append, None, self.network, self._now, self._sleep)
        return make_channel(self.config, deps)

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.later

    def _sleep(self, seconds: float) -> None:
        """Waits are noted; only short ones are really waited, so that a quota on a real clock refills."""
        self.slept.append(seconds)
        time.sleep(min(seconds, 0.05))


def shopify_account(canned: Callable[[httpx.Request], httpx.Response]) -> Account:
    secrets = {"client_id": "id", "client_secret": "secret"}
    config = ConnectionConfig(1, 1, "shopify", "https://shop.test", "shop.test", "GBP", {"clock_factor": 100}, secrets)
    return Account("canned", "shopify", config, Bumpy(httpx.MockTransport(canned), shopify_throttled), canned)


def shopify_throttled() -> httpx.Response:
    cost = {
        "requestedQueryCost": 752,
        "actualQueryCost": None,
        "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 311, "restoreRate": 100.0},
    }
    errors = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
    return httpx.Response(200, json={"errors": errors, "extensions": {"cost": cost}})


def amazon_account(canned: Callable[[httpx.Request], httpx.Response]) -> Account:
    secrets = {"client_id": "id", "client_secret": "secret", "refresh_token": "refresh"}
    settings = {"marketplace_id": "A1F83G8C2ARO7P", "clock_factor": 100}
    config = ConnectionConfig(1, 2, "amazon", "https://sp-api.test", "ATEST", "GBP", settings, secrets)
    return Account("canned", "amazon", config, Bumpy(httpx.MockTransport(canned), amazon_throttled), canned)


def amazon_throttled() -> httpx.Response:
    error = {"code": "QuotaExceeded", "message": "You exceeded your quota for the requested resource.", "details": ""}
    return httpx.Response(429, json={"errors": [error]}, headers={"x-amzn-RateLimit-Limit": "5.0"})
