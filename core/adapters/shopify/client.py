"""Speaking GraphQL with one shop: token, quota, versions, errors that come with status 200."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Call, CallKind, Judgement, Unauthorised, judge_status
from core.adapters.limits import TokenBucket
from core.adapters.shopify.documents import API_VERSION
from core.adapters.tokens import Token, TokenProvider, token_key

# Standard plan until the first answer tells (shopify.dev/docs/api/usage/limits).
_FIRST_RATE, _FIRST_BURST = 100.0, 2000.0
# What a document is thought to cost before its first answer has told.
_UNKNOWN_COST = 50.0
_AUTH_CODES = ("ACCESS_DENIED", "UNAUTHORIZED")
_FAULT_CODES = ("INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT")


class GraphQL:
    """Runs documents against the Admin API of one shop."""

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._url = f"{config.base_url.rstrip('/')}/admin/api/{API_VERSION}/graphql.json"
        self._client = make_client(config, deps, _Dialect(config, deps))

    def run(self, name: str, document: str, variables: Mapping[str, Any], kind: CallKind = "read") -> dict[str, Any]:
        """The `data` of the answer. Raises what core.adapters.http.Client.call raises."""
        body = {"query": document, "variables": dict(variables)}
        data: dict[str, Any] = self._client.call(Call(name, "POST", self._url, kind, json=body))
        return data


@dataclass
class _Dialect:
    """Shopify's part of a call. Source: shopify.dev/docs/api/admin-graphql (authentication, status and error codes)."""

    config: ConnectionConfig
    deps: Deps
    _costs: dict[str, float] = field(default_factory=dict)
    _last_token: str = ""

    def __post_init__(self) -> None:
        config, deps = self.config, self.deps
        self._tokens = TokenProvider(token_key(config, deps), self._fetch_token, deps.now)
        self._bucket = TokenBucket(
            f"shopify:{config.shop_id}:{config.connection_id}",
            _FIRST_RATE,
            _FIRST_BURST,
            deps.redis_url,
            config.clock_factor,
            deps.sleep,
        )
        self._auth = make_client(config, deps, _AuthDialect())

    def headers(self) -> dict[str, str]:
        self._last_token = self._tokens.get()
        return {"X-Shopify-Access-Token": self._last_token, "Accept": "application/json"}

    def renew(self) -> None:
        self._tokens.drop(self._last_token)

    def pace(self, call: Call, wait_at_most: float) -> None:
        self._bucket.acquire(self._costs.get(call.operation, _UNKNOWN_COST), wait_at_most)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = _json_object(response)
        version = response.headers.get("X-Shopify-API-Version")
        deprecation = response.headers.get("X-Shopify-API-Deprecated-Reason")
        if not 200 <= response.status_code < 300:
            judged = judge_status(response, reason=_plain_errors(answer))
            quota = None
        else:
            wait, quota = self._learn(call, answer)
            judged = _judge_answer(answer, wait)
        return Judgement(
            judged.kind, judged.data, judged.code, judged.reason, judged.wait_seconds, quota, version, deprecation
        )

    def _learn(self, call: Call, answer: dict[str, Any] | None) -> tuple[float, str | None]:
        """(real seconds until this call would be affordable, quota left as people read it)."""
        cost = ((answer or {}).get("extensions") or {}).get("cost") or {}
        status = cost.get("throttleStatus") or {}
        available, rate = _number(status.get("currentlyAvailable")), _number(status.get("restoreRate"))
        size, requested = _number(status.get("maximumAvailable")), _number(cost.get("requestedQueryCost"))
        if requested is not None:
            # The whole of it must be there before the call; what was not needed is in the next `currentlyAvailable`.
            self._costs[call.operation] = requested
        self._bucket.learn(available, rate, size)
        if available is None or not rate:
            return 1.0, None
        missing = max(0.0, (requested or _UNKNOWN_COST) - available)
        wait = max(0.05, missing / (rate * self.config.clock_factor))
        return wait, f"{available:g} of {size:g}" if size else f"{available:g}"

    def _fetch_token(self) -> Token:
        """Client-credentials grant; lives 24 hours. Raises Unauthorised when the app's secret is not accepted."""
        secrets = self.config.secrets
        if not secrets.get("client_id") or not secrets.get("client_secret"):
            raise Unauthorised("shopify.token", "the connection has no client_id or client_secret: enter them")
        form = {
            "grant_type": "client_credentials",
            "client_id": secrets["client_id"],
            "client_secret": secrets["client_secret"],
        }
        url = f"{self.config.base_url.rstrip('/')}/admin/oauth/access_token"
        answer = self._auth.call(Call("shopify.token", "POST", url, "read", form=form))
        return Token(answer["access_token"], timedelta(seconds=float(answer.get("expires_in") or 3600)))


class _AuthDialect:
    """The token endpoint: no token of its own, no quota."""

    def headers(self) -> dict[str, str]:
        return {"Accept": "application/json"}

    def renew(self) -> None:
        """Nothing to renew: the secret is what it is."""

    def pace(self, call: Call, wait_at_most: float) -> None:
        """The vendor names no quota for tokens."""

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = _json_object(response)
        if 200 <= response.status_code < 300:
            if not isinstance((answer or {}).get("access_token"), str):
                return Judgement("fault", code="NO_TOKEN", reason="the answer carries no token")
            return Judgement("ok", data=answer)
        reason = str((answer or {}).get("error") or f"status {response.status_code}")
        if 400 <= response.status_code < 500 and response.status_code != 429:
            return Judgement("unauthorised", reason=reason)
        return judge_status(response)


def _judge_answer(answer: dict[str, Any] | None, wait_seconds: float) -> Judgement:
    """What a 200 means: errors may come with it, and then no part of the data is trusted."""
    if answer is None:
        return Judgement("fault", code="NOT_JSON", reason="the answer is no JSON object")
    errors = answer.get("errors")
    if not errors:
        data = answer.get("data")
        return Judgement("ok", data=data) if isinstance(data, dict) else Judgement("fault", code="NO_DATA")
    if not isinstance(errors, list):
        return Judgement("refused", code="ERRORS", reason=_plain_errors(answer))
    codes = [_code(error) for error in errors]
    reason = _plain_errors(answer)
    if "THROTTLED" in codes:
        return Judgement("throttled", code="THROTTLED", reason=reason, wait_seconds=wait_seconds)
    if any(code in _FAULT_CODES for code in codes):
        return Judgement("fault", code=codes[0], reason=reason)
    if any(code in _AUTH_CODES for code in codes):
        return Judgement("unauthorised", code=codes[0], reason=reason)
    return Judgement("refused", code=codes[0] or "GRAPHQL", reason=reason)


def _code(error: Any) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    return str((extensions or {}).get("code") or "") if isinstance(extensions, dict) else ""


def _plain_errors(answer: dict[str, Any] | None) -> str:
    """All errors in one line; the vendor sends a text, a list or an object."""
    errors = (answer or {}).get("errors")
    if isinstance(errors, list):
        return "; ".join(str(error.get("message")) if isinstance(error, dict) else str(error) for error in errors)[:300]
    return str(errors)[:300] if errors else ""


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        # The standard reader keeps integers of any size exact.
        answer = json.loads(response.content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
