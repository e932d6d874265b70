"""Access tokens that expire: fetched when needed, kept in the process, renewed before they die."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.adapters.base import ConnectionConfig, Deps

_MARGIN_SHARE = 0.1
_MARGIN_MAX = timedelta(minutes=5)

# By account and credentials: a process makes a channel for every job, but needs a token only now and then.
_kept: dict[Hashable, tuple[str, datetime]] = {}
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Token:
    """A token and how long it lives from the moment it was fetched."""

    value: str = field(repr=False)
    lives: timedelta


@dataclass(slots=True)
class TokenProvider:
    """Hands out one living token to all threads of a process; only one of them fetches.

    `fetch` asks the vendor; what it raises passes through to whoever needs the token. Providers of the same `key`
    share their token.
    """

    key: Hashable
    fetch: Callable[[], Token]
    now: Callable[[], datetime]
    _fetching: threading.Lock = field(default_factory=threading.Lock)

    def get(self) -> str:
        """A token with some life left: a tenth of its lifetime, at most five minutes."""
        with self._fetching:
            asked_at = self.now()
            with _guard:
                value, renew_at = _kept.get(self.key, ("", asked_at))
            if asked_at < renew_at:
                return value
            token = self.fetch()
            margin = min(_MARGIN_MAX, token.lives * _MARGIN_SHARE)
            with _guard:
                _kept[self.key] = (token.value, asked_at + token.lives - margin)
            return token.value

    def drop(self, refused: str) -> None:
        """`refused` was not accepted; a token that another thread has fetched meanwhile is kept."""
        with _guard:
            if _kept.get(self.key, ("",))[0] == refused:
                del _kept[self.key]


def token_key(config: ConnectionConfig, deps: Deps) -> Hashable:
    """What makes two channels ask for the same token: the account, its credentials and the road there."""
    secrets = hashlib.sha256(repr(sorted(config.secrets.items())).encode()).hexdigest()
    return (config.vendor, config.base_url, config.account_ref, secrets, deps.transport)
