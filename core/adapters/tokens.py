"""Access tokens that expire: fetched when needed, shared by all processes, renewed before they die.

Each process keeps the token at hand; where others find it is lent (`Deps.shelf`), for a process may live for one job
only. Redis is told only that credentials were refused or that the vendor wants to be left alone, under a name from
which nothing of them can be read; never a token.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Call, Judgement, Throttled, Unauthorised
from core.adapters.judging import json_object, judge_status
from core.ports import LivingToken, TokenShelf

_MARGIN_SHARE = 0.1
_MARGIN_MAX = timedelta(minutes=5)
_REDIS_SECONDS = 0.5
_FIRST_REST = timedelta(seconds=5)
_LONGEST_REST = timedelta(minutes=5)
# Ten years: no grant that ends at all lasts as long.
_LONGEST_LIFE_SECONDS = 10 * 365 * 86_400.0


# By account and credentials: a process makes a channel for every job, but needs a token only now and then.
_kept: dict[Hashable, LivingToken] = {}
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Token:
    """A token and how long it lives from the moment it was fetched."""

    value: str = field(repr=False)
    lives: timedelta


@dataclass(slots=True)
class TokenProvider:
    """Hands out one living token to all threads of a process, and by the shelf to all processes; only one fetches.

    `fetch` asks the vendor; what it raises passes through to whoever needs the token. Providers of the same `key`
    share their token; `credentials` is what the shelf knows them by. Credentials that were refused are not tried again
    at once: `refusals` says from when on.
    """

    key: Hashable
    fetch: Callable[[], Token]
    now: Callable[[], datetime]
    refusals: Refusals | None = None
    shelf: TokenShelf | None = None
    credentials: str = ""
    _fetching: threading.Lock = field(default_factory=threading.Lock)

    def get(self) -> str:
        """A token with some life left: a tenth of its lifetime, at most five minutes."""
        with self._fetching:
            with _guard:
                kept = _kept.get(self.key)
            if kept is None or self.now() >= kept.renew_at:
                kept = self._from_shelf() or self._fetch_alone()
                with _guard:
                    _kept[self.key] = kept
            return kept.value

    def drop(self, refused: str) -> None:
        """`refused` was not accepted; a token that another has fetched meanwhile is kept."""
        with _guard:
            kept = _kept.get(self.key)
            if kept is not None and kept.value == refused:
                del _kept[self.key]
        if self.shelf is not None:
            self.shelf.drop(self.credentials, refused)

    def expires_at(self) -> datetime | None:
        """When the token at hand dies, for people; None while there is none."""
        with _guard:
            kept = _kept.get(self.key)
        return None if kept is None else kept.expires_at

    def _from_shelf(self) -> LivingToken | None:
        found = None if self.shelf is None else self.shelf.get(self.credentials)
        return found if found is not None and self.now() < found.renew_at else None

    def _fetch_alone(self) -> LivingToken:
        if self.shelf is None:
            return self._fetch()
        with self.shelf.fetching():
            # Somebody else may have fetched it while we waited.
            found = self._from_shelf()
            if found is None:
                found = self._fetch()
                self.shelf.put(self.credentials, found)
            return found

    def _fetch(self) -> LivingToken:
        asked_at = self.now()
        token = self._ask(asked_at)
        expires_at = asked_at + token.lives
        return LivingToken(token.value, expires_at - min(_MARGIN_MAX, token.lives * _MARGIN_SHARE), expires_at)

    def _ask(self, now: datetime) -> Token:
        if self.refusals is None:
            return self.fetch()
        self.refusals.check(now)
        try:
            token = self.fetch()
        except (Unauthorised, Throttled) as error:
            self.refusals.note(error, now)
            raise
        self.refusals.forget()
        return token


@dataclass(slots=True)
class Refusals:
    """What is known of credentials that the vendor refused or was asked about too fast, shared by all workers.

    Nobody hammers it with them. `key` stands for account and credentials, so that others are tried at once. The rest
    doubles from five seconds to five minutes, and is at least as long as the vendor asked for. Where Redis does not
    answer, nobody rests.
    """

    operation: str
    key: Hashable
    redis_url: str | None

    def check(self, now: datetime) -> None:
        """While the credentials rest: raises Unauthorised with the vendor's own reason, or Throttled."""
        count, until, reason = self._read()
        left = until - now.timestamp()
        if not count or left <= 0:
            return
        if not reason:
            raise Throttled(self.operation, left)
        raise Unauthorised(
            self.operation, f"{reason}; tried again in {max(1, round(left))} s, or with other credentials"
        )

    def note(self, error: Unauthorised | Throttled, now: datetime) -> None:
        """The vendor did not take the credentials just now, or not yet."""
        count = self._read()[0] + 1
        rest = min(_LONGEST_REST, _FIRST_REST * 2 ** min(count - 1, 10))
        reason = ""
        if isinstance(error, Throttled):
            rest = max(rest, timedelta(seconds=error.wait_seconds))
        else:
            reason = error.reason or "refused"
        note = json.dumps([count, (now + rest).timestamp(), reason])
        # Longer than the rest, or the next one would begin at five seconds again.
        self._ask(lambda redis: redis.set(self._name, note, ex=rest + _LONGEST_REST))

    def forget(self) -> None:
        """The vendor accepted them."""
        self._ask(lambda redis: redis.delete(self._name))

    @property
    def _name(self) -> str:
        return f"token:refused:{_fingerprint(self.key)}"

    def _read(self) -> tuple[int, float, str]:
        found = self._ask(lambda redis: redis.get(self._name))
        if not found:
            return 0, 0.0, ""
        count, until, reason = json.loads(found)
        return int(count), float(until), str(reason)

    def _ask(self, command: Callable[[Redis], Any]) -> Any:
        if self.redis_url is None:
            return None
        try:
            with Redis.from_url(
                self.redis_url,
                socket_timeout=_REDIS_SECONDS,
                socket_connect_timeout=_REDIS_SECONDS,
                retry=Retry(NoBackoff(), 0),
            ) as redis:
                return command(redis)
        except RedisError:
            return None


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
    scope: str | None = None
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What the vendor's error codes mean, and what to do about each."""

    def fetch(self) -> Token:
        """A new token. Raises Unauthorised when a secret is missing or refused, or what Client.call raises."""
        operation = f"{self.config.vendor}.token"
        if not all(self.config.secrets.get(name) for name in self.needs):
            raise Unauthorised(operation, f"the connection needs {', '.join(self.needs)}: enter them")
        form = {"grant_type": self.grant_type, **{name: self.config.secrets[name] for name in self.needs}}
        if self.scope is not None:
            form["scope"] = self.scope
        client = make_client(self.config, self.deps, self)
        answer = client.call(Call(operation, "POST", self.url, "read", form=form))
        # The judgement of the answer made sure that it says one.
        return Token(answer["access_token"], lifetime(answer.get("expires_in")) or timedelta())

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
            if not _is_token(answer.get("access_token")):
                return Judgement("fault", code="NO_TOKEN", reason="the answer carries no token")
            if lifetime(answer.get("expires_in")) is None:
                return Judgement("fault", code="BAD_EXPIRY", reason="nobody can say when the token dies")
            return Judgement("ok", data=answer)
        if 400 <= status < 500 and status not in (408, 429):
            code = str(answer.get("error") or f"status {status}")
            means = self.meanings.get(code)
            return Judgement("unauthorised", code=code, reason=f"{code}: {means}" if means else code)
        return judge_status(response)


def make_tokens(grant: OAuthGrant, *, is_shared: bool = True) -> TokenProvider:
    """The tokens of a grant, shared with every other channel of the same account, credentials and scope.

    Of a connection one token is on the shelf: what is not `is_shared` stays in this process.
    """
    config, deps = grant.config, grant.deps
    known_as = (token_key(config, deps, shared=True), grant.scope)
    refusals = Refusals(f"{config.vendor}.token", known_as, deps.redis_url)
    return TokenProvider(
        (token_key(config, deps), grant.scope),
        grant.fetch,
        deps.now,
        refusals,
        deps.shelf if is_shared else None,
        credentials=_fingerprint(known_as),
    )


def _fingerprint(key: Hashable) -> str:
    """A name for what must not be named."""
    return hashlib.sha256(repr(key).encode()).hexdigest()


def lifetime(expires_in: object) -> timedelta | None:
    """How long a token lives by `expires_in` of its answer: an hour where it does not say, None where it cannot be."""
    if expires_in is None:
        return timedelta(hours=1)
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float)):
        return None
    return timedelta(seconds=expires_in) if 0 < expires_in <= _LONGEST_LIFE_SECONDS else None


def _is_token(value: object) -> bool:
    """Whether it can stand in a header."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and bool(value.strip())


def token_key(config: ConnectionConfig, deps: Deps, *, shared: bool = False) -> Hashable:
    """What makes two channels ask for the same token: the account, its credentials and the road there.

    `shared`: as every process names it, without the road.
    """
    secrets = hashlib.sha256(repr(sorted(config.secrets.items())).encode()).hexdigest()
    return (config.vendor, config.base_url, config.account_ref, secrets, None if shared else deps.transport)
