"""Speaking GraphQL with one shop: token, quota, versions, errors that come with status 200."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx

from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import (
    Call,
    CallKind,
    Judgement,
    Permit,
    Quota,
    Urgency,
)
from core.adapters.judging import json_object, judge_meaning, judge_status
from core.adapters.limits import TokenBucket
from core.adapters.shopify.cost import requested_cost
from core.adapters.shopify.documents import API_VERSION
from core.adapters.shopify.errors import ERRORS
from core.adapters.tokens import OAuthGrant, make_tokens
from core.ports import Effect

# Standard plan until the first answer tells (shopify.dev/docs/api/usage/limits).
_FIRST_RATE, _FIRST_BURST = 100.0, 2000.0

URGENCIES: Mapping[str, Urgency] = {
    # Whole catalogues, orders to compare with ours, and how we are told of things: nobody waits for them. What is not
    # here is ordinary.
    "variants": "background",
    "variant_count": "background",
    "item_levels": "background",
    "product_changes": "background",
    "export": "background",
    "compared_orders": "background",
    "export_state": "background",
    "exports": "background",
    "taxonomy": "background",
    "subscriptions": "background",
}
"""How urgent each read is where whoever makes it does not say; a write says it itself."""


class GraphQL:
    """Runs documents against the Admin API of one shop."""

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._url = f"{config.base_url.rstrip('/')}/admin/api/{API_VERSION}/graphql.json"
        self._dialect = _Dialect(config, deps)
        self._client = make_client(config, deps, self._dialect)

    @property
    def token_expires_at(self) -> datetime | None:
        """When the access token at hand dies; None before the first call."""
        return self._dialect.token_expires_at()

    def run(
        self,
        name: str,
        document: str,
        variables: Mapping[str, Any],
        kind: CallKind = "read",
        urgency: Urgency | None = None,
        effect: Effect | None = None,
    ) -> dict[str, Any]:
        """The `data` of the answer. Raises what core.adapters.http.Client.call raises."""
        call = Call(
            name,
            "POST",
            self._url,
            kind,
            json={"query": document, "variables": dict(variables)},
            cost=float(requested_cost(document, variables)),
            urgency=urgency or URGENCIES.get(name, "normal"),
            asked_version=API_VERSION,
            effect=effect,
        )
        data: dict[str, Any] = self._client.call(call)
        return data


@dataclass
class _Dialect:
    """Shopify's part of a call. Source: shopify.dev/docs/api/admin-graphql (authentication, status and error codes)."""

    config: ConnectionConfig
    deps: Deps
    _dearer: dict[str, float] = field(default_factory=dict)
    _last_token: str = ""

    def __post_init__(self) -> None:
        config, deps = self.config, self.deps
        # Client-credentials grant; a token lives 24 hours.
        url = f"{config.base_url.rstrip('/')}/admin/oauth/access_token"
        grant = OAuthGrant(config, deps, url, "client_credentials", ("client_id", "client_secret"))
        self._tokens = make_tokens(grant)
        self._bucket = TokenBucket(
            f"shopify:{config.shop_id}:{config.connection_id}",
            _FIRST_RATE,
            _FIRST_BURST,
            deps.redis_url,
            config.clock_factor,
            deps.sleep,
            clock=deps.clock,
        )

    def headers(self) -> dict[str, str]:
        self._last_token = self._tokens.get()
        return {"X-Shopify-Access-Token": self._last_token, "Accept": "application/json"}

    def renew(self) -> None:
        self._tokens.drop(self._last_token)

    def token_expires_at(self) -> datetime | None:
        """When the access token at hand dies; None before one was fetched."""
        return self._tokens.expires_at()

    def pace(self, call: Call, wait_at_most: float) -> Permit:
        cost = math.ceil(call.cost * self._dearer.get(call.operation, 1.0))
        return self._bucket.acquire(float(cost), wait_at_most, call.urgency)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = json_object(response)
        quota = None
        if 200 <= response.status_code < 300:
            quota, requested = _quota(answer)
            if requested:
                # Where Shopify counts a document dearer than we do, the next one is paid for in full beforehand.
                self._dearer[call.operation] = max(1.0, requested / max(1.0, call.cost))
            judged = _judge_answer(answer, self._wait(quota, requested or call.cost))
        else:
            judged = judge_status(response, _plain_errors(answer), errors=ERRORS)
        return replace(
            judged,
            quota=quota,
            quota_left=_left(quota),
            api_version=response.headers.get("X-Shopify-API-Version"),
            deprecation=response.headers.get("X-Shopify-API-Deprecated-Reason"),
        )

    def _wait(self, quota: Quota, cost: float) -> float:
        """Real seconds until a call of that cost is affordable."""
        if quota.available is None or not quota.rate:
            return 1.0
        return max(0.05, max(0.0, cost - quota.available) / (quota.rate * self.config.clock_factor))


def _quota(answer: dict[str, Any] | None) -> tuple[Quota, float | None]:
    """What an answer says of the quota, and what the call was asked to put down for it."""
    cost = _object(_object(_object(answer).get("extensions")).get("cost"))
    status = _object(cost.get("throttleStatus"))
    requested = _number(cost.get("requestedQueryCost"))
    # A call that was not run took nothing; one whose actual cost is not told took what was requested.
    took = _number(cost.get("actualQueryCost"))
    if took is None and requested is not None:
        took = 0.0 if "THROTTLED" in _codes(answer) else requested
    available, rate = _number(status.get("currentlyAvailable")), _number(status.get("restoreRate"))
    return Quota(took, available, rate, _number(status.get("maximumAvailable"))), requested


def _left(quota: Quota | None) -> str | None:
    """What is left, as people read it."""
    if quota is None or quota.available is None:
        return None
    return f"{quota.available:g} of {quota.size:g}" if quota.size else f"{quota.available:g}"


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
    codes, reason = _codes(answer), _plain_errors(answer)
    # The gravest decides: what was throttled was not run, and what failed may have been run in part.
    for act in ("wait", "repeat", "renew", "grant", "ask"):
        found = next((code for code in codes if ERRORS.of_code(code).act == act), None)
        if found is not None:
            return judge_meaning(ERRORS.of_code(found), found, reason, wait_seconds if act == "wait" else None)
    return judge_meaning(ERRORS.of_code(codes[0]), codes[0] or "GRAPHQL", reason)


def _codes(answer: dict[str, Any] | None) -> list[str]:
    errors = _object(answer).get("errors")
    return [_code(error) for error in errors] if isinstance(errors, list) else []


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
    """As a number that can be one: JSON as Python reads it may say NaN and Infinity."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
