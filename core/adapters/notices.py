"""Operators' notices: a chat webhook that takes {"text": ...}, as Slack's incoming webhooks do.

Source: api.slack.com/messaging/webhooks. Such a webhook has no memory: the outbox makes sure that the same words are
said once, as far as a lost answer allows.
"""

from __future__ import annotations

import httpx

from core.adapters.http import (
    OutcomeUnknown,
    Refused,
    ServerFault,
    Throttled,
    Unauthorised,
    Unreachable,
    make_http,
)
from core.adapters.judging import judge_status

_OPERATION = "notice"
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class WebhookMessenger:
    """Posts to one address, which is itself the secret: it is never logged or shown."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        self._http = make_http(transport)

    def send(self, kind: str, payload: dict[str, object], dedupe_key: str) -> None:
        """Say `payload["text"]` (or the kind, when there is none). Raises Retryable or Permanent by what came back."""
        text = str(payload.get("text") or kind)
        try:
            response = self._http.post(self._url, json={"text": text})
        except _NEVER_LEFT as error:
            raise Unreachable(_OPERATION, type(error).__name__) from None
        except httpx.TransportError as error:
            raise OutcomeUnknown(_OPERATION, type(error).__name__) from None
        judged = judge_status(response)
        if judged.kind == "throttled":
            raise Throttled(_OPERATION, judged.wait_seconds or 1.0)
        if judged.kind == "unauthorised":
            raise Unauthorised(_OPERATION, judged.reason)
        if judged.kind == "fault":
            raise ServerFault(_OPERATION, f"status {response.status_code}")
        if judged.kind == "refused":
            raise Refused(_OPERATION, response.status_code, judged.code, judged.reason)
