"""Operators' notices in a chat: Slack's incoming webhooks, and whatever takes {"text": ...} as they do.

Sources: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, /reference/block-kit/blocks (lengths),
/messaging/formatting-message-text (escaping), /apis/web-api/rate-limits (429 with Retry-After). Such a webhook has no
memory: the outbox makes sure that the same words are said once, as far as a lost answer allows.
"""

from __future__ import annotations

import re
from typing import Any

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
from core.letters import Answer, Letter

_OPERATION = "webhook"
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_TIMEOUT = httpx.Timeout(connect=3.0, read=10.0, write=10.0, pool=5.0)
_HEADER_MAX, _SECTION_MAX, _TEXT_MAX = 150, 3000, 8000
_MARKS = {"danger": "🔴", "attention": "🟠", "info": "⚪"}
# Slack says why in one word, such as no_service of a webhook that was revoked; anything longer is a page.
_WORD = re.compile(r"[a-z_]{2,60}")
_MEANINGS = {
    "no_service": "the webhook was revoked, or its address is wrong",
    "no_service_id": "the webhook's address is wrong",
    "no_team": "the webhook's workspace is gone",
    "channel_not_found": "its channel was deleted",
    "channel_is_archived": "its channel is archived",
    "action_prohibited": "an administrator has forbidden it",
    "posting_to_general_channel_denied": "it may not post to the general channel",
    "user_not_found": "whom it wrote to is gone",
    "invalid_payload": "it does not take such a message",
}


class WebhookMessenger:
    """Posts to one address, which is itself the secret: it is never logged or shown."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport

    def send(self, letter: Letter) -> Answer:
        """Say it. Raises Retryable or Permanent by what came back."""
        try:
            with make_http(self._transport) as http:
                response = http.post(self._url, json=payload(letter), timeout=_TIMEOUT)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise Refused(_OPERATION, 0, type(error).__name__, "the webhook's address cannot be called") from None
        except _NEVER_LEFT as error:
            raise Unreachable(_OPERATION, type(error).__name__) from None
        except httpx.TransportError as error:
            raise OutcomeUnknown(_OPERATION, type(error).__name__) from None
        word = _word(response)
        judged = judge_status(response, _MEANINGS.get(word, word), word)
        if judged.kind == "throttled":
            raise Throttled(_OPERATION, judged.wait_seconds or 1.0)
        if judged.kind in ("unauthorised", "forbidden"):
            raise Unauthorised(_OPERATION, judged.reason, response.status_code)
        if judged.kind == "fault":
            raise ServerFault(_OPERATION, f"status {response.status_code}")
        if judged.kind == "refused":
            raise Refused(_OPERATION, response.status_code, judged.code, judged.reason)
        return Answer(f"{response.status_code} {word}".strip())


def payload(letter: Letter) -> dict[str, Any]:
    """A letter as Slack takes it: `text` for notifications and for whoever knows no blocks, and blocks to be read."""
    severity = letter.severity.capitalize()
    mark = _MARKS.get(letter.severity, _MARKS["info"])
    link = f"<{_escape(letter.link).replace('|', '%7C')}|Open in Switchyard>"
    files = f" · {len(letter.attachments)} files: see there" if letter.attachments else ""
    return {
        "text": _fitting(f"{letter.subject}\n{letter.text}", _TEXT_MAX) + f"\n{_escape(letter.link)}",
        "blocks": [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": f"{mark} " + _fitting(letter.subject, _HEADER_MAX - 2)},
            },
            {
                "type": "section",
                # As it stands: what looks like a channel's name or an address in our words is none.
                "text": {"type": "mrkdwn", "text": _fitting(letter.text, _SECTION_MAX) or "–", "verbatim": True},
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": f"{severity} · {_fitting(letter.shop, 200)} · {link}{files}",
                        "verbatim": True,
                    }
                ],
            },
        ],
    }


def _escape(text: str) -> str:
    """Slack's three control characters as text: otherwise foreign words could link, or call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fitting(text: str, longest: int) -> str:
    """Escaped and no longer than that; never cut within an escape."""
    escaped = _escape(text)
    if len(escaped) <= longest:
        return escaped
    kept: list[str] = []
    room = longest - 1
    for mark in text:
        room -= len(_escape(mark))
        if room < 0:
            break
        kept.append(_escape(mark))
    return "".join(kept) + "…"


def _word(response: httpx.Response) -> str:
    """The one word that Slack answers with, where it is one."""
    found = response.text.strip() if len(response.content) <= 60 else ""
    return found if _WORD.fullmatch(found) else ""
