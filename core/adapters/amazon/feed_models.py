"""The parts of the Feeds answers that we read, and the processing report: tolerant of case and of what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from core.adapters.amazon.models import OptionalInstant, OrEmpty, Part
from core.adapters.http import ServerFault
from core.bulk import BulkIssue, BulkReport, BulkState, Severity

_STATES: Mapping[str, BulkState] = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "running",
    "DONE": "done",
    "FATAL": "fatal",
    "CANCELLED": "cancelled",
}
_SEVERITIES: Mapping[str, Severity] = {"ERROR": "error", "WARNING": "note", "INFO": "note"}
_TEXT_MAX = 500


class NewDocument(Part):
    """Where to put a document."""

    feed_document_id: str
    url: str


class NewFeed(Part):
    feed_id: str


class FeedPart(Part):
    """A feed."""

    feed_id: str
    feed_type: str
    processing_status: str
    created_time: OptionalInstant = None
    processing_end_time: OptionalInstant = None
    result_feed_document_id: str | None = None

    @property
    def state(self) -> BulkState | None:
        return _STATES.get(self.processing_status.upper())


class FeedsPage(Part):
    feeds: Annotated[tuple[FeedPart, ...], OrEmpty]
    next_token: str | None = None


class FeedDocument(Part):
    """Where a document is fetched."""

    url: str
    compression_algorithm: str | None = None


class Report:
    """Reads processing reports."""

    @staticmethod
    def of(text: bytes) -> BulkReport:
        """A report in our words. What cannot be read of an issue never makes it an error or takes one away.

        Raises ServerFault for what is no report at all.
        """
        try:
            found = json.loads(text.decode("utf-8-sig"))
        except (UnicodeDecodeError, ValueError, RecursionError):
            raise ServerFault("downloadFeedReport", "the report is no JSON") from None
        if not isinstance(found, dict) or not ("issues" in found or "summary" in found):
            raise ServerFault("downloadFeedReport", "the report has neither issues nor a summary")
        issues, summary = found.get("issues") or [], found.get("summary")
        if not isinstance(issues, list):
            raise ServerFault("downloadFeedReport", "the issues of the report are no list")
        counts = summary if isinstance(summary, dict) else {}
        return BulkReport(
            tuple(_issue(issue) for issue in issues),
            _count(counts.get("messagesProcessed")),
            _count(counts.get("messagesAccepted")),
            _count(counts.get("messagesInvalid")),
        )


def _issue(found: Any) -> BulkIssue:
    if not isinstance(found, dict):
        return BulkIssue(None, "unclear", "UNREADABLE", "an issue that cannot be read")
    number = _count(found.get("messageId"))
    severity = _SEVERITIES.get(str(found.get("severity") or "").upper(), "unclear")
    if (number is None and found.get("messageId") is not None) or number == 0:
        # It is about some message, and nobody can say which: then it may be about any.
        severity = "unclear"
    sku = found.get("sku")
    return BulkIssue(
        number - 1 if number else None,
        severity,
        str(found.get("code") or "UNKNOWN")[:_TEXT_MAX],
        str(found.get("message") or "")[:_TEXT_MAX],
        sku if isinstance(sku, str) else None,
    )


def _count(value: Any) -> int | None:
    """A whole number of zero or more, also where it is written as a text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
