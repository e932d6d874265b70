"""Speaking with Klaviyo for one account: key, revision, quota, errors.

Source: developers.klaviyo.com/en/docs/rate_limits_and_error_handling: normal answers carry RateLimit-Limit, -Remaining
and -Reset of the window of a minute, a refusal for want of quota only Retry-After.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.adapters import loose
from core.adapters.base import ConnectionConfig, Deps, make_client
from core.adapters.http import Call, Judgement, Permit, Quota, Urgency
from core.adapters.judging import json_object, judge_status
from core.adapters.klaviyo.errors import ERRORS
from core.adapters.klaviyo.operations import OPERATIONS, REVISION
from core.adapters.limits import TokenBucket
from core.errors import Permanent

MEDIA_TYPE = "application/vnd.api+json"


class NoKey(Permanent):
    """A connection without its private key."""

    def __init__(self) -> None:
        super().__init__("the connection has no private key: enter it again with `switchyard connect klaviyo`")


class Klaviyo:
    """Sends operations for one account."""

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._base = config.base_url.rstrip("/")
        self._dialect = _Dialect(config, deps)
        self._client = make_client(config, deps, self._dialect)

    def ready_in(self, name: str, urgency: Urgency = "normal") -> float:
        """Seconds (of our time) until quota lets the operation leave at once; 0: now."""
        return self._dialect.bucket(name).ready_in(urgency=urgency)

    def run(
        self,
        name: str,
        ref: str = "",
        params: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        urgency: Urgency = "normal",
        asks_whether: bool = False,
        quota_seconds: float | None = None,
    ) -> dict[str, Any]:
        """The answer's object. `ref` fills the path; the rest is as of core.adapters.http.Call.

        Raises what core.adapters.http.Client.call raises.
        """
        operation = OPERATIONS[name]
        data: dict[str, Any] = self._client.call(
            Call(
                name,
                operation.method,
                self._base + operation.at(ref),
                operation.kind,
                params=params,
                json=body,
                urgency=urgency,
                asked_version=REVISION,
                asks_whether=asks_whether,
                quota_seconds=quota_seconds,
            )
        )
        return data


@dataclass
class _Dialect:
    """Klaviyo's part of a call."""

    config: ConnectionConfig
    deps: Deps
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        key = self.config.secrets.get("private_key")
        if not key:
            raise NoKey
        return {
            "Authorization": f"Klaviyo-API-Key {key}",
            "revision": REVISION,
            # A retired revision is an error, and not silently another one.
            "X-Klaviyo-Revision-Fall-Forward-Opt-Out": "1",
            "Accept": MEDIA_TYPE,
            "Content-Type": MEDIA_TYPE,
        }

    def renew(self) -> None:
        """A private key is renewed by a person."""

    def bucket(self, name: str) -> TokenBucket:
        """The quota of an operation: one for each, whoever asks in the account's name."""
        if name not in self._buckets:
            config, deps, tier = self.config, self.deps, OPERATIONS[name].tier
            self._buckets[name] = TokenBucket(
                f"klaviyo:{urlsplit(config.base_url).netloc}:{config.account_ref}:{name}",
                tier.rate(),
                tier.at_once,
                deps.redis_url,
                config.clock_factor,
                deps.sleep,
                # Of one that gives a call in some seconds one is there from the start, and no second one with it.
                headroom=tier.at_once - 1 if tier.at_once <= 2 else 0,
                clock=deps.clock,
                born_with=1.0 if tier.at_once <= 2 else 0.0,
            )
        return self._buckets[name]

    def pace(self, call: Call, wait_at_most: float) -> Permit:
        return self.bucket(call.operation).acquire(call.cost, wait_at_most, call.urgency)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        answer = json_object(response)
        code, reason = first_error(answer)
        judged = judge_status(response, reason, code, ERRORS)
        if judged.kind == "ok" and answer is None:
            judged = Judgement("fault", code="NOT_JSON", reason="the answer is no JSON object")
        wait = judged.wait_seconds
        limit, left = (_number(response.headers.get(f"RateLimit-{name}")) for name in ("Limit", "Remaining"))
        return replace(
            judged,
            data=answer,
            wait_seconds=None if wait is None else wait / self.config.clock_factor,
            quota=self._quota(call, response, limit, left),
            quota_left=None if left is None or limit is None else f"{left:.0f}/{limit:.0f}",
            api_version=call.asked_version,
        )

    def _quota(self, call: Call, response: httpx.Response, limit: float | None, left: float | None) -> Quota:
        """What an answer says of the window. While plenty is left the pace alone decides: else all of a minute could go
        in its first seconds."""
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return Quota(cost=0.0, available=0.0)
        tier = OPERATIONS[call.operation].tier
        rate = None if not limit else tier.rate(limit)
        if left is None or left >= tier.at_once:
            return Quota(cost=call.cost, rate=rate)
        # Somebody else uses the account's quota as well: what is left of the window is left to nobody's guess.
        reset = _number(response.headers.get("RateLimit-Reset")) if left < 1 else None
        rest = None if reset is None else reset / self.config.clock_factor
        return Quota(cost=call.cost, available=left, rate=rate, rest_seconds=rest)


def first_error(answer: dict[str, Any] | None) -> tuple[str, str]:
    """(code, detail with the place behind it) of {"errors": [{"code", "title", "detail", "source": {"pointer"}}]}."""
    errors = (answer or {}).get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        said = errors[0]
        place = loose.at(said, "source", "pointer")
        words = str(said.get("detail") or said.get("title") or "")[:300]
        return str(said.get("code") or ""), f"{words} [{place}]" if place else words
    return "", ""


def _number(text: str | None) -> float | None:
    try:
        found = float(text) if text else None
    except ValueError:
        return None
    return found if found is not None and math.isfinite(found) and found >= 0 else None
