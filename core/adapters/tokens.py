"""Access tokens that expire: fetched when needed, kept in the process, renewed before they die."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Call, Judgement, Unauthorised, json_object, judge_status

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


@dataclass(frozen=True, slots=True)
class OAuthGrant:
    """Asks an OAuth token endpoint; the form's secrets are named, and must all be there.

    Any 4xx but a throttle says that the credentials are not accepted (RFC 6749, section 5.2).
    """

    config: ConnectionConfig
    deps: Deps
    url: str
    grant_type: str
    needs: tuple[str, ...]
    sends: Mapping[str, str] = field(default_factory=dict)

    def fetch(self) -> Token:
        """A new token. Raises Unauthorised when a secret is missing or refused, or what Client.call raises."""
        operation = f"{self.config.vendor}.token"
        if not all(self.config.secrets.get(name) for name in self.needs):
            raise Unauthorised(operation, f"the connection needs {', '.join(self.needs)}: enter them")
        form = {"grant_type": self.grant_type, **{name: self.config.secrets[name] for name in self.needs}}
        client = make_client(self.config, self.deps, self)
        answer = client.call(Call(operation, "POST", self.url, "read", form=form))
        return Token(answer["access_token"], timedelta(seconds=_seconds(answer.get("expires_in"))))

    def headers(self) -> dict[str, str]:
        return {**self.sends, "Accept": "application/json"}

    def renew(self) -> None:
        """Nothing to renew: the credentials are what they are."""

    def pace(self, call: Call, wait_at_most: float) -> None:
        """No quota is named for tokens."""

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = json_object(response) or {}
        status = response.status_code
        if 200 <= status < 300:
            if not isinstance(answer.get("access_token"), str):
                return Judgement("fault", code="NO_TOKEN", reason="the answer carries no token")
            return Judgement("ok", data=answer)
        if 400 <= status < 500 and status not in (408, 429):
            return Judgement("unauthorised", reason=str(answer.get("error") or f"status {status}"))
        return judge_status(response)


def _seconds(expires_in: object) -> float:
    """How long a token lives; an hour where the answer does not say."""
    return float(expires_in) if isinstance(expires_in, (int, float)) and expires_in > 0 else 3600.0


def token_key(config: ConnectionConfig, deps: Deps) -> Hashable:
    """What makes two channels ask for the same token: the account, its credentials and the road there."""
    secrets = hashlib.sha256(repr(sorted(config.secrets.items())).encode()).hexdigest()
    return (config.vendor, config.base_url, config.account_ref, secrets, deps.transport)
