"""Speaking GraphQL with one shop: token, quota, versions, errors that come with status 200."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Call, CallKind, Judgement, json_object, judge_status
from core.adapters.limits import TokenBucket
from core.adapters.shopify.documents import API_VERSION
from core.adapters.tokens import OAuthGrant, TokenProvider, token_key
from core.ports import Effect

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

    def run(
        self,
        name: str,
        document: str,
        variables: Mapping[str, Any],
        kind: CallKind = "read",
        effect: Effect | None = None,
    ) -> dict[str, Any]:
        """The `data` of the answer. Raises what core.adapters.http.Client.call raises."""
        body = {"query": document, "variables": dict(variables)}
        data: dict[str, Any] = self._client.call(Call(name, "POST", self._url, kind, json=body, effect=effect))
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
        # Client-credentials grant; a token lives 24 hours.
        url = f"{config.base_url.rstrip('/')}/admin/oauth/access_token"
        grant = OAuthGrant(config, deps, url, "client_credentials", ("client_id", "client_secret"))
        self._tokens = TokenProvider(token_key(config, deps), grant.fetch, deps.now)
        self._bucket = TokenBucket(
            f"shopify:{config.shop_id}:{config.connection_id}",
            _FIRST_RATE,
            _FIRST_BURST,
            deps.redis_url,
            config.clock_factor,
            deps.sleep,
        )

    def headers(self) -> dict[str, str]:
        self._last_token = self._tokens.get()
        return {"X-Shopify-Access-Token": self._last_token, "Accept": "application/json"}

    def renew(self) -> None:
        self._tokens.drop(self._last_token)

    def pace(self, call: Call, wait_at_most: float) -> None:
        self._bucket.acquire(self._costs.get(call.operation, _UNKNOWN_COST), wait_at_most)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = json_object(response)
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
        cost = _object(_object(_object(answer).get("extensions")).get("cost"))
        status = _object(cost.get("throttleStatus"))
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
    return str(_object(_object(error).get("extensions")).get("code") or "")


def _plain_errors(answer: dict[str, Any] | None) -> str:
    """All errors in one line; the vendor sends a text, a list or an object."""
    errors = (answer or {}).get("errors")
    if isinstance(errors, list):
        return "; ".join(str(error.get("message")) if isinstance(error, dict) else str(error) for error in errors)[:300]
    return str(errors)[:300] if errors else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
