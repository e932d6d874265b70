"""What stands around a notification: its type, its id, its time, and what it says.

Source: schemas/notifications of github.com/amzn/selling-partner-api-models. Types spell the same names differently
(NotificationType, notificationType), so names are read whatever their case.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from core.adapters.amazon.models import OptionalInstant
from core.errors import BadInput
from core.logs import mask

NOTIFICATION = "notification/"
"""What topics of notifications begin with; the type follows."""
UNREADABLE = "notification/unreadable"
"""The topic of what came through the queue and is no notification."""

NEW_SECRET = "APPLICATION_OAUTH_CLIENT_NEW_SECRET"
SECRET_EXPIRY = "APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY"
SECRET_SHAPE = b"amzn1.oa2-cs."
"""How client secrets of Amazon's begin: no body that holds one is kept as it is."""

# Its value, be it cut off, or in JSON within JSON, where quotation marks are escaped.
_POSTAL_CODE = re.compile(
    rb'(DestinationPostalCode\\*"\s*:\s*)(?:\\*"(?:[^"\\]|\\+[^"\\])*(?:\\*"|$)|[^\s,}\]"\\]+)', re.IGNORECASE
)

_INSTANT = TypeAdapter(OptionalInstant)
_KIND = re.compile(r"[A-Za-z0-9_]{1,80}")
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class UnreadableNotice(BadInput):
    """A notification without what we need; `place` names the field, never its value."""

    def __init__(self, topic: str, place: str, why: str) -> None:
        super().__init__(f"{topic}: cannot read {place} ({why}); Amazon has to send it again, or it can be given up")
        self.topic = topic
        self.place = place
        self.why = why


@dataclass(frozen=True, slots=True)
class Envelope:
    """A notification. `payload` is as it came."""

    kind: str
    notification_id: str | None
    event_at: datetime | None
    payload: Mapping[str, Any]

    @property
    def topic(self) -> str:
        """Its topic in the inbox."""
        return NOTIFICATION + self.kind


def open_envelope(body: bytes) -> Envelope | None:
    """The notification in a message's body; None where there is none with a type."""
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        return None
    kind = field_of(whole, "NotificationType")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        return None
    given = field_of(field_of(whole, "NotificationMetadata"), "NotificationId")
    is_id = isinstance(given, str) and _ID.fullmatch(given)
    payload = field_of(whole, "Payload")
    return Envelope(
        kind.upper(),
        given if is_id else None,
        instant_of(field_of(whole, "EventTime")),
        payload if isinstance(payload, dict) else {},
    )


def delivery_id(envelope: Envelope | None, body: bytes) -> str:
    """By what one message is recorded once: Amazon's id of it, else what it says, to the byte."""
    if envelope is not None and envelope.notification_id is not None:
        return envelope.notification_id
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def without_secrets(body: bytes) -> bytes:
    """The body as it may be kept: verbatim, but for a client secret of the application's and a buyer's postal code."""
    body = _POSTAL_CODE.sub(rb"\1null", body)
    if SECRET_SHAPE not in body and NEW_SECRET.encode() not in body.upper():
        return body
    return mask(body.decode(errors="replace")).encode()


def field_of(value: Any, name: str) -> Any:
    """A field of a JSON object whatever its case; None where there is no such field or no object."""
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    wanted = name.lower()
    return next((found for key, found in value.items() if key.lower() == wanted), None)


def instant_of(value: Any) -> datetime | None:
    """An aware UTC instant; None where nothing of the kind is said."""
    found: datetime | None = _INSTANT.validate_python(value)
    return found


def words_at(envelope: Envelope, *names: str) -> str | None:
    """The text at a path of the payload; None where there is none, or none that can be kept (a NUL, half a letter)."""
    value: Any = envelope.payload
    for name in names:
        value = field_of(value, name)
    return value if isinstance(value, str) and _can_be_kept(value) else None


def _can_be_kept(text: str) -> bool:
    return bool(text) and "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
