"""Operators' notices in a chat: Slack's incoming webhooks, and whatever takes {"text": ...} as they do.

Sources: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, /reference/block-kit/blocks (lengths),
/messaging/formatting-message-text (escaping), /apis/web-api/rate-limits (429 with Retry-After). Such a webhook has no
memory: the outbox makes sure that the same words are said once, as far as a lost answer allows.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Mapping
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
from core.adapters.outside import refuse_inside
from core.adapters.watch import Watch
from core.letters import Answer, Letter

log = logging.getLogger(__name__)

CONVERSATION_SECONDS = 20.0
"""The whole of one letter, however slowly it is answered."""
_OPERATION = "webhook"
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_TIMEOUT = httpx.Timeout(connect=3.0, read=10.0, write=10.0, pool=5.0)
_HEADER_MAX, _SECTION_MAX, _TEXT_MAX = 150, 3000, 8000
# Of a message's fifty blocks; a digest of forty lines takes six.
_SECTIONS_MAX = 20
_MARKS = {"danger": "🔴", "attention": "🟠", "info": "⚪"}
_WORD_MAX = 64
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

    def __init__(
        self,
        url: str,
        transport: httpx.BaseTransport | None = None,
        seconds: float = CONVERSATION_SECONDS,
        *,
        may_be_inside: bool = False,
    ) -> None:
        self._url = url
        self._transport = transport
        self._seconds = seconds
        self._may_be_inside = may_be_inside

    def send(self, letter: Letter) -> Answer:
        """Say it. Raises Retryable or Permanent by what came back, and when that took longer than its time."""
        watch = Watch(self._seconds)
        try:
            with make_http(self._transport) as http:
                response, body = self._post(http, letter, watch)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            # UnicodeError: a name that no name service could be asked for.
            raise Refused(_OPERATION, 0, type(error).__name__, "the webhook's address cannot be called") from None
        except _NEVER_LEFT as error:
            raise Unreachable(_OPERATION, type(error).__name__) from None
        except httpx.TransportError as error:
            why = f"it took longer than {self._seconds:g} s" if watch.is_over else type(error).__name__
            raise OutcomeUnknown(_OPERATION, why) from None
        finally:
            watch.end()
        return self._judged(response, _word(body))

    def _post(self, http: httpx.Client, letter: Letter, watch: Watch) -> tuple[httpx.Response, bytes]:
        """The answer, and no more of what it says than the one word that matters."""

        def follow(event: str, info: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                reached: socket.socket = info["return_value"].get_extra_info("socket")
                watch.over(reached)
                if not self._may_be_inside:
                    refuse_inside(httpx.URL(self._url).host, reached.getpeername()[0])

        with http.stream(
            "POST",
            self._url,
            json=payload(letter),
            headers={"Accept-Encoding": "identity"},
            timeout=_TIMEOUT,
            extensions={"trace": follow},
        ) as response:
            return response, _beginning(response)

    @staticmethod
    def _judged(response: httpx.Response, word: str) -> Answer:
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
                "text": {"type": "plain_text", "text": f"{mark} " + _fitting(letter.subject, _HEADER_MAX - 3)},
            },
            *(
                # As it stands: what looks like a channel's name or an address in our words is none.
                {"type": "section", "text": {"type": "mrkdwn", "text": part, "verbatim": True}}
                for part in _sections(letter.text)
            ),
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


def _sections(text: str) -> list[str]:
    """A text in as many sections as it takes, line by line: of a digest the last one counts what is not listed."""
    parts: list[str] = []
    for line in text.splitlines():
        said = _fitting(line, _SECTION_MAX)
        if parts and _length(parts[-1]) + 1 + _length(said) <= _SECTION_MAX:
            parts[-1] += f"\n{said}"
        else:
            parts.append(said)
    return [part if part.strip() else "–" for part in parts[:_SECTIONS_MAX]] or ["–"]


def _length(text: str) -> int:
    """As Slack counts: a sign beyond the basic plane is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _escape(text: str) -> str:
    """Slack's three control characters as text: otherwise foreign words could link, or call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fitting(text: str, longest: int) -> str:
    """Escaped and no longer than that; never cut within an escape."""
    escaped = _escape(text)
    if _length(escaped) <= longest:
        return escaped
    kept: list[str] = []
    room = longest - 1
    for mark in text:
        room -= _length(_escape(mark))
        if room < 0:
            break
        kept.append(_escape(mark))
    return "".join(kept) + "…"


def _beginning(response: httpx.Response) -> bytes:
    """What an answer begins with; its status is known, and stands however the rest of it ends."""
    body = b""
    try:
        for part in response.iter_raw():
            body += part
            if len(body) > _WORD_MAX:
                break
    except httpx.TransportError as error:
        log.info("a webhook broke off after its status: %s", type(error).__name__)
        return b""
    return body


def _word(body: bytes) -> str:
    """The one word that Slack answers with, where it is one."""
    found = body.decode("ascii", "replace").strip() if len(body) <= _WORD_MAX else ""
    return found if _WORD.fullmatch(found) else ""
