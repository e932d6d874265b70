"""A Selling Partner API with feeds: documents at a store of their own, and feeds that move when a test says so."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.adapters.canned_amazon import CannedSeller

STORE = "https://store.test"


@dataclass
class CannedFeed:
    document: str
    created_at: datetime
    status: str = "IN_QUEUE"
    report: bytes | None = None
    is_packed: bool = True
    type: str = "JSON_LISTINGS_FEED"


@dataclass
class CannedFeeds(CannedSeller):
    """`dead` documents' addresses have died; `page` feeds are told at once."""

    documents: dict[str, bytes | None] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    feeds: dict[str, CannedFeed] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    submitted: dict[str, int] = field(default_factory=dict)
    page: int = 100
    puts: list[httpx.Request] = field(default_factory=list)
    gets: list[httpx.Request] = field(default_factory=list)
    tricks: dict[str, int] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(STORE):
            return self._stored(request)
        path = request.url.path
        if "/feeds/2021-06-30/" not in path:
            return super().__call__(request)
        kind, _, ref = path.partition("/feeds/2021-06-30/")[2].partition("/")
        return self._document(request, ref) if kind == "documents" else self._feed(request, ref)

    def finish(self, ref: str, status: str, report: Any = None) -> None:
        """A feed has ended; `report` is its processing report, as an object or as the bytes of something else."""
        feed = self.feeds[ref]
        feed.status = status
        if report is not None:
            text = report if isinstance(report, bytes) else json.dumps(report).encode()
            feed.report = gzip.compress(text) if feed.is_packed else text

    def apply(self, ref: str) -> None:
        """What the messages of a feed say is in force, and is what was submitted last."""
        for message in self.messages(ref):
            quantity = message["patches"][0]["value"][0]["quantity"]
            self.units[message["sku"]] = self.submitted[message["sku"]] = quantity

    def messages(self, ref: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.documents[self.feeds[ref].document] or b"")["messages"]
        return found

    def _document(self, request: httpx.Request, ref: str) -> httpx.Response:
        if request.method == "POST":
            number = f"doc-{len(self.documents)}"
            self.documents[number] = None
            self.types[number] = json.loads(request.content)["contentType"]
            return httpx.Response(
                201, json={"feedDocumentId": number, "url": f"{STORE}/{number}?X-Amz-Signature=secret"}
            )
        feed = self.feeds[ref.removeprefix("report-")]
        packed = {"compressionAlgorithm": "GZIP"} if feed.is_packed else {}
        address = f"{STORE}/report/{ref.removeprefix('report-')}?X-Amz-Signature=secret"
        return httpx.Response(200, json={"feedDocumentId": ref, "url": address, **packed})

    def _stored(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/")
        if request.method == "GET":
            self.gets.append(request)
            report = self.feeds[name.removeprefix("report/")].report
            return httpx.Response(404) if report is None else httpx.Response(200, content=report)
        self.puts.append(request)
        if name in self.dead:
            return httpx.Response(403, text="<Error><Code>AccessDenied</Code>Request has expired</Error>")
        if request.headers.get("content-type") != self.types[name]:
            return httpx.Response(403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>")
        self.documents[name] = request.content
        return httpx.Response(200)

    def _feed(self, request: httpx.Request, ref: str) -> httpx.Response:
        if request.method == "POST":
            return self._create(json.loads(request.content))
        if not ref:
            return self._list(request)
        if ref not in self.feeds:
            return httpx.Response(404, json={"errors": [{"code": "NotFound", "message": "no such feed"}]})
        feed = self.feeds[ref]
        if request.method == "DELETE":
            if feed.status != "IN_QUEUE":
                return httpx.Response(400, json={"errors": [{"code": "InvalidInput", "message": "too late"}]})
            feed.status = "CANCELLED"
            return httpx.Response(200)
        return httpx.Response(200, json=self._told(ref))

    def _create(self, body: dict[str, Any]) -> httpx.Response:
        if self.documents.get(body["inputFeedDocumentId"]) is None:
            error = {"code": "InvalidInput", "message": "Invalid 'inputFeedDocumentId' provided."}
            return httpx.Response(400, json={"errors": [error]})
        ref = str(50_000 + len(self.feeds))
        self.feeds[ref] = CannedFeed(body["inputFeedDocumentId"], datetime.now(UTC), type=body["feedType"])
        return httpx.Response(202, json={"feedId": ref})

    def _list(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        if "nextToken" in query and len(query) > 1:
            return httpx.Response(400, json={"errors": [{"code": "InvalidInput", "message": "the only parameter"}]})
        start = int(query.get("nextToken", "0"))
        refs = list(self.feeds)
        shown = refs[start : start + self.page]
        more = {"nextToken": str(start + self.page)} if start + self.page < len(refs) else {}
        return httpx.Response(200, json={"feeds": [self._told(ref) for ref in shown], **more})

    def _told(self, ref: str) -> dict[str, Any]:
        feed = self.feeds[ref]
        told = {
            "feedId": ref,
            "feedType": feed.type,
            "createdTime": feed.created_at.isoformat(),
            "processingStatus": feed.status,
        }
        return told | ({"resultFeedDocumentId": f"report-{ref}"} if feed.report is not None else {})

    def _described(self, sku: str) -> dict[str, Any]:
        told = super()._described(sku)
        if sku in self.submitted:
            row = {"fulfillment_channel_code": "DEFAULT", "quantity": self.submitted[sku]}
            told["attributes"] = {"fulfillment_availability": [row]}
        return told


def report_of(messages: int, *issues: dict[str, Any], accepted: int | None = None) -> dict[str, Any]:
    """A processing report as the schema has it."""
    invalid = len({issue.get("messageId") for issue in issues if issue.get("severity") == "ERROR"})
    summary = {
        "errors": len(issues),
        "warnings": 0,
        "messagesProcessed": messages,
        "messagesAccepted": messages - invalid if accepted is None else accepted,
        "messagesInvalid": invalid,
    }
    return {
        "header": {"sellerId": "ATEST", "version": "2.0", "feedId": "1"},
        "issues": list(issues),
        "summary": summary,
    }


def an_error(message: int, sku: str | None = None, code: str = "90220") -> dict[str, Any]:
    found = {"messageId": message, "code": code, "severity": "ERROR", "message": "is required but not supplied."}
    return found | ({} if sku is None else {"sku": sku})
