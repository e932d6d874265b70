"""Speaking with the Selling Partner API for one seller: login, headers, errors.

Sources: developer-docs.amazon.com/sp-api/docs/connecting-to-the-selling-partner-api (login with Amazon),
.../include-a-user-agent-header-in-all-requests, .../usage-plans-and-rate-limits.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.adapters.amazon.errors import ERRORS, TOKEN_ERRORS
from core.adapters.amazon.operations import OPERATIONS
from core.adapters.amazon.roles import RoleMissing
from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Answer, Call, Client, Judgement, Permit, Quota, Unauthorised, Urgency
from core.adapters.judging import json_object, judge_status
from core.adapters.limits import BUDGETS, TokenBucket
from core.adapters.tokens import OAuthGrant, make_tokens

API_VERSION = OPERATIONS["patchListingsItem"].version
"""Of the Listings Items API, by which quantities are read and written; each API has a version of its own."""

SLOW_SECONDS = 20.0
_NO_CONTENT = 204
_FORBIDDEN = 403

LWA_URL = "https://api.amazon.com/auth/o2/token"
"""Login with Amazon in real life; the setting `lwa_url` puts another in its place."""


def user_agent() -> str:
    """The form Amazon asks for; what it says of us must not contain its separators unescaped."""
    return f"Switchyard/0.1 (Language=Python/{platform.python_version()}; Platform={platform.system()})"


class SellingPartner:
    """Sends operations for one seller account."""

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._config, self._deps = config, deps
        self._base = config.base_url.rstrip("/")
        self._dialect = _Dialect(config, deps)
        self._client = make_client(config, deps, self._dialect)
        self._grantless: dict[str, Client] = {}

    @property
    def token_expires_at(self) -> datetime | None:
        """When the access token at hand dies; None before the first call."""
        return self._dialect.token_expires_at()

    def ready_in(self, name: str, urgency: Urgency = "normal") -> float:
        """Seconds (of our time) until quota lets the operation leave at once; 0: now."""
        return self._dialect.bucket(name).ready_in(urgency=urgency)

    def rate(self, name: str) -> float:
        """Calls a second (of Amazon's time) that the operation's quota restores, as Amazon told last."""
        return self._dialect.bucket(name).known_rate()

    def run(
        self,
        name: str,
        at: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        urgency: Urgency = "normal",
        asks_whether: bool = False,
    ) -> dict[str, Any]:
        """The answer's object, empty where there is none to give; as `answer` does it."""
        answer = self.answer(name, at, params, body, urgency=urgency, asks_whether=asks_whether)
        data: dict[str, Any] = answer.data
        return data

    def answer(
        self,
        name: str,
        at: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        urgency: Urgency = "normal",
        quota_seconds: float | None = None,
        asks_whether: bool = False,
    ) -> Answer:
        """The answer with its times. `at` fills the path of the operation; `quota_seconds` is as of core.adapters.http.

        `asks_whether` as in core.adapters.http.Call.

        Raises what core.adapters.http.Client.call raises; RoleMissing where a token that was just given is refused too.
        """
        operation = OPERATIONS[name]
        call = Call(
            name,
            operation.method,
            self._base + operation.at(at or {}),
            operation.kind,
            params=params,
            json=body,
            urgency=urgency,
            asked_version=operation.version,
            effect=operation.effect,
            quota_seconds=quota_seconds,
            asks_whether=asks_whether,
        )
        try:
            return self._client_for(operation.scope).answer(call)
        except Unauthorised as error:
            if error.status == _FORBIDDEN:
                raise RoleMissing(name, error.reason) from error
            raise

    def _client_for(self, scope: str | None) -> Client:
        """Who asks in the application's own name has tokens of its own; they are rare, and stay in this process."""
        if scope is None:
            return self._client
        if scope not in self._grantless:
            self._grantless[scope] = make_client(self._config, self._deps, _Dialect(self._config, self._deps, scope))
        return self._grantless[scope]


@dataclass
class _Dialect:
    """Amazon's part of a call."""

    config: ConnectionConfig
    deps: Deps
    scope: str | None = None
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    _last_token: str = ""

    def __post_init__(self) -> None:
        config, deps = self.config, self.deps
        self._tokens = make_tokens(_grant(config, deps, self.scope), is_shared=self.scope is None)
        whose = _quota_of(config, self.scope)
        for operation in OPERATIONS.values():
            if operation.scope != self.scope:
                continue
            key = f"amazon:{whose}:{operation.name}"
            burst = operation.burst
            # Amazon does not say what is left, and counts by a clock of its own: half the burst is never counted on.
            headroom = burst - max(1.0, burst // 2)
            # Where a unit takes longer to come back than anybody waits, one call is there from the start.
            is_slow = operation.rate * SLOW_SECONDS < 1
            born_with = min(headroom, 1 + burst * BUDGETS["normal"].reserve_share) if is_slow else 0.0
            self._buckets[operation.name] = TokenBucket(
                key,
                operation.rate,
                burst,
                deps.redis_url,
                config.clock_factor,
                deps.sleep,
                headroom=headroom,
                clock=deps.clock,
                born_with=born_with,
            )

    def headers(self) -> dict[str, str]:
        self._last_token = self._tokens.get()
        return {"x-amz-access-token": self._last_token, "User-Agent": user_agent(), "Accept": "application/json"}

    def renew(self) -> None:
        self._tokens.drop(self._last_token)

    def token_expires_at(self) -> datetime | None:
        """When the access token at hand dies; None before one was fetched."""
        return self._tokens.expires_at()

    def bucket(self, operation: str) -> TokenBucket:
        """The quota of an operation that is asked for in this one's name."""
        return self._buckets[operation]

    def pace(self, call: Call, wait_at_most: float) -> Permit:
        return self._buckets[call.operation].acquire(call.cost, wait_at_most, call.urgency)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = json_object(response)
        code, reason = _first_error(answer)
        judged = judge_status(response, reason, code, ERRORS)
        # A deletion is answered with a bare 200, or with a body that says nothing.
        has_nothing_to_say = response.status_code == _NO_CONTENT or (call.method == "DELETE" and not response.content)
        if judged.kind == "ok" and answer is None and has_nothing_to_say:
            answer = {}
        elif judged.kind == "ok" and answer is None:
            judged = Judgement("fault", code="NOT_JSON", reason="the answer is no JSON object")
        said = response.headers.get("x-amzn-RateLimit-Limit")
        rate = _number(said)
        wait = judged.wait_seconds
        if judged.kind == "throttled":
            # Whatever we believed, there is nothing left now.
            quota = Quota(cost=0.0, available=0.0, rate=rate)
            wait = wait or 1.0 / ((rate or self._buckets[call.operation].rate) * self.config.clock_factor)
        else:
            quota = Quota(cost=call.cost, rate=rate)
        return replace(
            judged,
            data=answer,
            wait_seconds=wait,
            quota=quota,
            quota_left=f"{said}/s" if said else None,
            api_version=call.asked_version,
        )


def _quota_of(config: ConnectionConfig, scope: str | None) -> str:
    """Whose quota it is: one of application and seller in each region, whatever connections and shops they have here.

    Grantless operations have the application's. Keys of Redis are no place for a client ID.
    """
    app = sha256(config.secrets.get("client_id", "").encode()).hexdigest()[:16]
    seller = config.account_ref.casefold() if scope is None else "grantless"
    return f"{urlsplit(config.base_url).netloc}:{app}:{seller}"


def _grant(config: ConnectionConfig, deps: Deps, scope: str | None) -> OAuthGrant:
    """How a token is asked for; it lives an hour. In the seller's name by the refresh token, else by the scope."""
    url = str(config.settings.get("lwa_url") or LWA_URL)
    sends = {"User-Agent": user_agent()}
    if scope is None:
        of_seller = ("client_id", "client_secret", "refresh_token")
        return OAuthGrant(config, deps, url, "refresh_token", of_seller, sends, meanings=TOKEN_ERRORS)
    of_app = ("client_id", "client_secret")
    return OAuthGrant(config, deps, url, "client_credentials", of_app, sends, scope, TOKEN_ERRORS)


def _first_error(answer: dict[str, Any] | None) -> tuple[str, str]:
    """(code, message) of {"errors": [{"code", "message", "details"}]}."""
    errors = (answer or {}).get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("code") or ""), str(errors[0].get("message") or "")[:300]
    return "", ""


def _number(text: str | None) -> float | None:
    try:
        found = float(text) if text else 0.0
    except ValueError:
        return None
    return found if math.isfinite(found) and found > 0 else None
