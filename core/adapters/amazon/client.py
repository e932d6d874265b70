"""Speaking with the Selling Partner API for one seller: login, headers, errors.

Sources: developer-docs.amazon.com/sp-api/docs/connecting-to-the-selling-partner-api (login with Amazon),
.../include-a-user-agent-header-in-all-requests, .../usage-plans-and-rate-limits.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Call, CallKind, Judgement, Unauthorised, judge_status
from core.adapters.limits import TokenBucket
from core.adapters.tokens import Token, TokenProvider, token_key

API_VERSION = "2021-08-01"

LWA_URL = "https://api.amazon.com/auth/o2/token"
"""Login with Amazon in real life; the setting `lwa_url` puts another in its place."""

# Requests a second and burst, until the answers tell the present rate (the usage plan of each operation).
USAGE_PLANS: Mapping[str, tuple[float, float]] = {
    "searchListingsItems": (5.0, 5.0),
    "getListingsItem": (5.0, 10.0),
    "patchListingsItem": (5.0, 5.0),
}


def user_agent() -> str:
    """The form Amazon asks for; what it says of us must not contain its separators unescaped."""
    return f"Switchyard/0.1 (Language=Python/{platform.python_version()}; Platform={platform.system()})"


class SellingPartner:
    """Sends operations for one seller account."""

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._base = config.base_url.rstrip("/")
        self._client = make_client(config, deps, _Dialect(config, deps))

    def run(
        self, operation: str, method: str, path: str, params: Mapping[str, str], kind: CallKind, body: Any = None
    ) -> dict[str, Any]:
        """The answer's object. `path` is already escaped. Raises what core.adapters.http.Client.call raises."""
        call = Call(operation, method, self._base + path, kind, params=params, json=body)
        data: dict[str, Any] = self._client.call(call)
        return data


@dataclass
class _Dialect:
    """Amazon's part of a call."""

    config: ConnectionConfig
    deps: Deps
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    _last_token: str = ""

    def __post_init__(self) -> None:
        config, deps = self.config, self.deps
        self._tokens = TokenProvider(token_key(config, deps), self._fetch_token, deps.now)
        self._auth = make_client(config, deps, _LoginDialect())
        for operation, (rate, burst) in USAGE_PLANS.items():
            key = f"amazon:{config.shop_id}:{config.connection_id}:{operation}"
            self._buckets[operation] = TokenBucket(key, rate, burst, deps.redis_url, config.clock_factor, deps.sleep)

    def headers(self) -> dict[str, str]:
        self._last_token = self._tokens.get()
        return {"x-amz-access-token": self._last_token, "User-Agent": user_agent(), "Accept": "application/json"}

    def renew(self) -> None:
        self._tokens.drop(self._last_token)

    def pace(self, call: Call, wait_at_most: float) -> None:
        self._buckets[call.operation].acquire(1.0, wait_at_most)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = _json_object(response)
        code, reason = _first_error(answer)
        judged = judge_status(response, reason, code)
        bucket = self._buckets[call.operation]
        rate = response.headers.get("x-amzn-RateLimit-Limit")
        bucket.learn(rate=_number(rate))
        wait = judged.wait_seconds
        if judged.kind == "throttled":
            bucket.drain()
            wait = wait or 1.0 / (bucket.rate * self.config.clock_factor)
        if judged.kind == "ok" and answer is None:
            return Judgement("fault", code="NOT_JSON", reason="the answer is no JSON object")
        return Judgement(
            judged.kind, answer, judged.code, judged.reason, wait, f"{rate}/s" if rate else None, API_VERSION
        )

    def _fetch_token(self) -> Token:
        """Refresh-token grant; lives an hour. Raises Unauthorised when the seller's consent is gone."""
        secrets = self.config.secrets
        names = ("client_id", "client_secret", "refresh_token")
        if not all(secrets.get(name) for name in names):
            raise Unauthorised("amazon.token", f"the connection lacks one of {', '.join(names)}: enter them")
        form = {"grant_type": "refresh_token", **{name: secrets[name] for name in names}}
        url = str(self.config.settings.get("lwa_url") or LWA_URL)
        answer = self._auth.call(Call("amazon.token", "POST", url, "read", form=form))
        return Token(answer["access_token"], timedelta(seconds=float(answer.get("expires_in") or 3600)))


class _LoginDialect:
    """Login with Amazon: an OAuth endpoint with errors of its own."""

    def headers(self) -> dict[str, str]:
        return {"User-Agent": user_agent(), "Accept": "application/json"}

    def renew(self) -> None:
        """Nothing to renew: the refresh token is what it is."""

    def pace(self, call: Call, wait_at_most: float) -> None:
        """No quota is named for logins."""

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = _json_object(response)
        if 200 <= response.status_code < 300:
            if not isinstance((answer or {}).get("access_token"), str):
                return Judgement("fault", code="NO_TOKEN", reason="the answer carries no token")
            return Judgement("ok", data=answer)
        reason = str((answer or {}).get("error") or f"status {response.status_code}")
        if response.status_code in (400, 401, 403):
            return Judgement("unauthorised", reason=reason)
        return judge_status(response)


def _first_error(answer: dict[str, Any] | None) -> tuple[str, str]:
    """(code, message) of {"errors": [{"code", "message", "details"}]}."""
    errors = (answer or {}).get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("code") or ""), str(errors[0].get("message") or "")[:300]
    return "", ""


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = json.loads(response.content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
