"""Many quantities in one document: JSON_LISTINGS_FEED, from the document to the processing report.

Sources: models/feeds-api-model (2021-06-30) of github.com/amzn/selling-partner-api-models; the feed, message and report
schemas (v2) published with it; developer-docs.amazon.com/sp-api/docs/feeds-api-best-practices for the sizes.
Documents are uploaded as they are: the API tells of compression only for what is downloaded.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import IO, Any

from core.adapters import downloads, uploads
from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.feed_models import FeedDocument, FeedPart, FeedsPage, NewDocument, NewFeed, Report
from core.adapters.amazon.listings import Listings, quantity_patch
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import OutcomeUnknown, Refused, ServerFault, Throttled, Urgency, WritesStopped
from core.bulk import BulkReport, BulkSent, BulkSubmission
from core.errors import Permanent, Retryable
from core.ports import QuantityWrite

FEED_TYPE = "JSON_LISTINGS_FEED"
CONTENT_TYPE = "application/json; charset=UTF-8"
"""Signed into the address: an upload that differs by as much as the suffix is refused."""

MESSAGES_MAX = 25_000
BYTES_MAX = 10 << 20
REPORT_BYTES_MAX = 256 << 20
DOCUMENTS_MAX = 2
"""How often an upload is begun anew with a new document, when the address of the last one has died."""

_URGENCY: Urgency = "urgent"
"""Nobody else uses the quota of these operations: a reserve for others would only be left lying."""

WAITS_AT_MOST = 10.0
"""Seconds that whoever looks at a feed waits for quota; the next look comes by anyway."""


class Feeds:
    """The bulk road of one seller in one marketplace."""

    size_max = MESSAGES_MAX
    window = (5, timedelta(minutes=5))

    def __init__(
        self, partner: SellingPartner, listings: Listings, config: ConnectionConfig, deps: Deps, product_type: str
    ) -> None:
        self._partner, self._listings, self._config, self._deps = partner, listings, config, deps
        self._product_type = product_type
        self._marketplace = str(config.settings.get("marketplace_id"))

    def calls_per_second(self) -> float:
        """Patches a second, as Amazon last told."""
        return self._partner.rate("patchListingsItem")

    def ready_in(self) -> float:
        """Seconds until createFeed need not wait."""
        return max(self._partner.ready_in(name, _URGENCY) for name in ("createFeed", "createFeedDocument"))

    def upload(self, writes: Sequence[QuantityWrite]) -> str:
        """A new document, and our bytes in it. An address that has died is never used again, nor is its document."""
        body = document(self._config.account_ref, self._product_type, writes)
        for attempt in range(1, DOCUMENTS_MAX + 1):
            answer = self._run("createFeedDocument", body={"contentType": CONTENT_TYPE})
            made = self._read(NewDocument, "createFeedDocument", answer)
            try:
                uploads.put(self._config, self._deps, "uploadFeedDocument", made.url, CONTENT_TYPE, body)
            except Refused as error:
                if error.status != 403 or attempt == DOCUMENTS_MAX:
                    raise
            else:
                return str(made.feed_document_id)
        raise AssertionError("the last document is uploaded or raises")

    def submit(self, document_ref: str) -> BulkSent:
        """createFeed, at most once: Amazon has no key by which it would know a repetition."""
        body = {
            "feedType": FEED_TYPE,
            "marketplaceIds": [self._marketplace],
            "inputFeedDocumentId": document_ref,
        }
        try:
            made = NewFeed.read(self._run("createFeed", body=body))
        except OutcomeUnknown as error:
            return BulkSent("unknown", code="NO_ANSWER", detail=str(error))
        except WritesStopped as error:
            return BulkSent("unsent", code="WRITES_STOPPED", detail=error.why)
        except Refused as error:
            return BulkSent("unsent", code=error.code, detail=error.reason)
        except (Retryable, Permanent) as error:
            # No quota, no connection, no token, no rights: it surely never left.
            return BulkSent("unsent", code="FEED_NOT_SENT", detail=str(error))
        if made is None:
            return BulkSent("unknown", code="NO_ANSWER", detail="an answer without the feed's id")
        return BulkSent("submitted", made.feed_id)

    def submission(self, ref: str) -> BulkSubmission:
        """getFeed."""
        answer = self._run("getFeed", {"feed": ref})
        return self._told("getFeed", self._read(FeedPart, "getFeed", answer))

    def submissions_since(self, since: datetime) -> Sequence[BulkSubmission]:
        """getFeeds, every page: the token of the next one is the only parameter it may have."""
        self._not_before_its_time("getFeeds")
        asked = {
            "feedTypes": FEED_TYPE,
            "marketplaceIds": self._marketplace,
            "createdSince": since.isoformat().replace("+00:00", "Z"),
            "pageSize": "100",
        }
        found: list[BulkSubmission] = []
        while True:
            page = self._read(FeedsPage, "getFeeds", self._run("getFeeds", params=asked))
            found += [self._told("getFeeds", feed) for feed in page.feeds if feed.feed_type == FEED_TYPE]
            if not page.next_token:
                return found
            asked = {"nextToken": page.next_token}

    def report(self, submission: BulkSubmission) -> BulkReport:
        """The processing report, downloaded while its address lives, and unpacked where it is packed.

        Raises Refused where the feed has none, or where it is none.
        """
        if submission.report_ref is None:
            raise Refused("getFeedDocument", 0, "NO_REPORT", "the feed has ended without a processing report")
        self._not_before_its_time("getFeedDocument")
        answer = self._run("getFeedDocument", {"document": submission.report_ref})
        described = self._read(FeedDocument, "getFeedDocument", answer)
        with tempfile.TemporaryFile() as file:
            downloads.fetch(self._config, self._deps, "downloadFeedReport", described.url, file)
            text = unpacked(file, described.compression_algorithm)
        return Report.of(text)

    def cancel(self, ref: str) -> bool:
        """cancelFeed; Amazon refuses where the feed has begun."""
        try:
            self._run("cancelFeed", {"feed": ref})
        except Refused:
            return False
        return True

    def submitted(self, refs: Sequence[str]) -> Mapping[str, int]:
        """`attributes.fulfillment_availability`: what was submitted last, which need not be in force."""
        return self._listings.submitted(refs)

    def _run(
        self, name: str, at: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None, body: Any = None
    ) -> dict[str, Any]:
        return self._partner.run(name, at, params, body, urgency=_URGENCY)

    def _not_before_its_time(self, operation: str) -> None:
        """These have so little quota that waiting for it would hold up everything else that is to be looked at."""
        if (wait := self._partner.ready_in(operation, _URGENCY)) > WAITS_AT_MOST:
            raise Throttled(operation, wait)

    @staticmethod
    def _read(part: Any, operation: str, answer: Any) -> Any:
        read = part.read(answer)
        if read is None:
            raise ServerFault(operation, "an answer that cannot be read")
        return read

    @staticmethod
    def _told(operation: str, feed: FeedPart) -> BulkSubmission:
        state = feed.state
        if state is None or feed.created_time is None:
            raise ServerFault(operation, "a feed in a state that is not documented")
        return BulkSubmission(
            feed.feed_id, state, feed.created_time, feed.processing_end_time, feed.result_feed_document_id
        )


def document(seller: str, product_type: str, writes: Sequence[QuantityWrite]) -> bytes:
    """The feed of some writes: message n is the n-th of them. `header` is an object, never a list.

    Raises Refused where it is more than a feed may be.
    """
    messages = [
        {
            "messageId": number,
            "sku": write.listing_ref,
            "operationType": "PATCH",
            "productType": product_type,
            "patches": [quantity_patch(write.to_units)],
        }
        for number, write in enumerate(writes, start=1)
    ]
    header = {"sellerId": seller, "version": "2.0", "issueLocale": "en_US"}
    body = json.dumps({"header": header, "messages": messages}, separators=(",", ":")).encode()
    if not 0 < len(messages) <= MESSAGES_MAX or len(body) >= BYTES_MAX:
        size = f"{len(messages):,} messages in {len(body):,} bytes"
        raise Refused("createFeedDocument", 0, "TOO_LARGE", f"{size}: a feed has 1 to 25,000 in less than 10 MiB")
    return body


def unpacked(file: IO[bytes], algorithm: str | None) -> bytes:
    """The bytes of a downloaded document. Raises ServerFault for one that came damaged, Refused beyond all measure."""
    file.seek(0)
    is_packed = (algorithm or "").upper() == "GZIP" and file.read(2) == b"\x1f\x8b"
    file.seek(0)
    try:
        # Where whoever keeps it names the packing as a transfer's own, it was unpacked on the way.
        text = (gzip.GzipFile(fileobj=file) if is_packed else file).read(REPORT_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error):
        raise ServerFault("downloadFeedReport", "the report came damaged") from None
    if len(text) > REPORT_BYTES_MAX:
        raise Refused("downloadFeedReport", 200, "TOO_LARGE", f"the report has more than {REPORT_BYTES_MAX:,} bytes")
    return text
