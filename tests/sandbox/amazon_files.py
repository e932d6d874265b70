"""A seller's files at the fake Amazon: feeds and reports, from the first call to the content of the result."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx

from tests.sandbox.outside import Inside, SellerSide, World

CONTENT_TYPE = "application/json; charset=UTF-8"
FEEDS, FEED_DOCUMENTS = "/feeds/2021-06-30/feeds", "/feeds/2021-06-30/documents"
REPORTS, REPORT_DOCUMENTS = "/reports/2021-06-30/reports", "/reports/2021-06-30/documents"


def quantity(number: int, sku: str, units: Any, **more: Any) -> dict[str, Any]:
    """A message that sets a quantity."""
    value = {"fulfillment_channel_code": "DEFAULT", "quantity": units}
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [value]}
    message = {"messageId": number, "sku": sku, "operationType": "PATCH", "productType": "PRODUCT", "patches": [patch]}
    return message | more


class Desk:
    """One seller with room for files."""

    def __init__(self, world: World, *listings: dict[str, Any]) -> None:
        self.world = world
        self.seller: SellerSide = world.seller(*listings)
        self.http = self.seller.http
        self.files = world.client()

    def document(self, content_type: str = CONTENT_TYPE) -> dict[str, str]:
        response = self.http.post(FEED_DOCUMENTS, json={"contentType": content_type})
        assert response.status_code == 201, response.text
        found: dict[str, str] = response.json()
        return found

    def put(self, url: str, content: bytes, content_type: str = CONTENT_TYPE, **headers: str) -> httpx.Response:
        return self.files.put(url, content=content, headers={"content-type": content_type, **headers})

    def body(self, *messages: Any, **header: Any) -> bytes:
        top = {"sellerId": self.seller.id, "version": "2.0", "issueLocale": "en_GB"} | header
        return json.dumps({"header": top, "messages": list(messages)}).encode()

    def upload(self, content: bytes) -> str:
        document = self.document()
        assert self.put(document["url"], content).status_code == 200
        return document["feedDocumentId"]

    def ask(self, document_id: str, feed_type: str = "JSON_LISTINGS_FEED", **more: Any) -> httpx.Response:
        wanted = {
            "feedType": feed_type,
            "marketplaceIds": [self.seller.marketplace],
            "inputFeedDocumentId": document_id,
        }
        return self.http.post(FEEDS, json=wanted | more)

    def feed(self, *messages: Any, **header: Any) -> str:
        """The id of a feed of these messages."""
        response = self.ask(self.upload(self.body(*messages, **header)))
        assert response.status_code == 202, response.text
        return str(response.json()["feedId"])

    def state(self, feed_id: str) -> dict[str, Any]:
        response = self.http.get(f"{FEEDS}/{feed_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def ended(self, feed_id: str, seconds: float = 600) -> dict[str, Any]:
        """The feed some time later, when it has come to an end."""
        assert isinstance(self.world, Inside)
        self.world.clock.advance(seconds)
        found = self.state(feed_id)
        assert found["processingStatus"] in ("DONE", "FATAL"), found
        return found

    def fetched(self, path: str, **params: Any) -> bytes:
        response = self.http.get(path, params=params)
        assert response.status_code == 200, response.text
        found = self.files.get(response.json()["url"])
        assert found.status_code == 200, found.text
        is_packed = response.json().get("compressionAlgorithm") == "GZIP"
        return gzip.decompress(found.content) if is_packed else found.content

    def report(self, feed: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fetched(f"{FEED_DOCUMENTS}/{feed['resultFeedDocumentId']}"))
        return found

    def units(self, sku: str) -> int:
        return self.seller.in_force(sku)

    def all_units(self) -> dict[str, int]:
        """Everything in force, by the control API, which costs no quota."""
        levels = self.world.get(f"/amazon/{self.seller.id}/levels")["levels"]
        return {level["sku"]: level["in_force"].get("DEFAULT") for level in levels}
