"""The mailbox of a seller at Amazon: notifications, read out of the queue and taken out once they are recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.adapters.amazon.envelopes import (
    NEW_SECRET,
    SECRET_EXPIRY,
    UNREADABLE,
    Envelope,
    delivery_id,
    field_of,
    instant_of,
    open_envelope,
    without_secrets,
    words_at,
)
from core.adapters.amazon.queues import QueueClient
from core.ports import Notice, Renewal

log = logging.getLogger(__name__)

BATCH_MAX = 10
"""What SQS gives and takes at once."""

HIDDEN_SECONDS = 120
"""How long others do not see what was received: recording takes a second, and what was not taken out by then comes
again, to be recorded under the same id."""

# Where types name whose they are: most by themselves, some within an object named after the type.
_INSIDE = {
    "ORDER_CHANGE": "OrderChangeNotification",
    "FEED_PROCESSING_FINISHED": "feedProcessingFinishedNotification",
    "REPORT_PROCESSING_FINISHED": "reportProcessingFinishedNotification",
}


class SqsMailbox:
    """A Mailbox over one SQS queue. Not to be shared among threads."""

    def __init__(self, client: QueueClient, hidden_seconds: int = HIDDEN_SECONDS) -> None:
        self._client = client
        self._hidden_seconds = hidden_seconds

    def receive(self, limit: int, wait_seconds: int) -> Sequence[Notice]:
        """Up to `limit` messages (10 at most), none after waiting so long. Raises as QueueClient.ask."""
        answer = self._client.ask(
            "ReceiveMessage",
            MaxNumberOfMessages=min(limit, BATCH_MAX),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=self._hidden_seconds,
        )
        return [_notice(message["ReceiptHandle"], message["Body"].encode()) for message in answer.get("Messages") or ()]

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Take messages out; returns those that SQS did not take out, which come again. Raises as QueueClient.ask."""
        left: list[Notice] = []
        for start in range(0, len(notices), BATCH_MAX):
            some = notices[start : start + BATCH_MAX]
            entries = [{"Id": str(place), "ReceiptHandle": notice.receipt} for place, notice in enumerate(some)]
            failed = self._client.ask("DeleteMessageBatch", Entries=entries).get("Failed") or ()
            left += (some[int(entry["Id"])] for entry in failed)
            if failed:
                codes = sorted({str(entry.get("Code")) for entry in failed})
                log.warning("%d messages stay in the queue and come again: %s", len(failed), ", ".join(codes))
        return left


def _notice(receipt: str, body: bytes) -> Notice:
    envelope = open_envelope(body)
    if envelope is None:
        return Notice(receipt, delivery_id(None, body), UNREADABLE, without_secrets(body), None)
    inside = [name for name in (_INSIDE.get(envelope.kind),) if name]
    return Notice(
        receipt,
        delivery_id(envelope, body),
        envelope.topic,
        without_secrets(body),
        envelope.event_at,
        account_ref=words_at(envelope, *inside, "SellerId"),
        marketplace=words_at(envelope, *inside, "Summary", "MarketplaceId"),
        renewal=_renewal(envelope),
    )


def _renewal(envelope: Envelope) -> Renewal | None:
    """What is told of the application's own credentials.

    Source: developer-docs.amazon.com/sp-api/docs/application-management-api-v2023-11-30-use-case-guide.
    """
    if envelope.kind == NEW_SECRET:
        said = field_of(envelope.payload, "applicationOAuthClientNewSecret")
        application, secret = field_of(said, "clientId"), field_of(said, "newClientSecret")
        if isinstance(application, str) and isinstance(secret, str) and secret:
            return Renewal(application, instant_of(field_of(said, "oldClientSecretExpiryTime")), secret)
    if envelope.kind == SECRET_EXPIRY:
        said = field_of(envelope.payload, "applicationOAuthClientSecretExpiry")
        application = field_of(said, "clientId")
        if isinstance(application, str):
            return Renewal(application, instant_of(field_of(said, "clientSecretExpiryTime")), None)
    return None
