"""A Selling Partner API that answers from dictionaries; accepted quantities are in force at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx

HERE = "A1F83G8C2ARO7P"
TOKEN_LIVES = 30.0


def _own_listings() -> dict[str, int]:
    return dict.fromkeys([*(f"SKU {n}/%" for n in range(24)), "RED, LARGE"], 30)


@dataclass
class CannedSeller:
    """The same 25 listings as the sandbox is given."""

    units: dict[str, int] = field(default_factory=_own_listings)
    submissions: list[tuple[str, int]] = field(default_factory=list)
    tokens: int = 0
    created: str = "2026-11-20T10:00:00Z"
    window: int = 1000
    kept: dict[str, dict[str, int]] = field(default_factory=dict)
    """What lies at Amazon, by SKU: the details of its inventory."""
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What an item answers besides, by SKU."""
    markets: list[dict[str, Any]] = field(default_factory=lambda: [market(HERE, "Amazon.co.uk", "GBP")])
    refused: tuple[str, ...] = ()
    """Parts of addresses that the app has no role for."""
    clock: Callable[[], float] = lambda: 0.0
    shelf: int = 50
    """Summaries on a page of the inventory."""
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/auth/o2/token"):
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"a{self.tokens}", "expires_in": 3600})
        self.asked.append(request)
        if any(part in request.url.path for part in self.refused):
            return _error(403, "Unauthorized", "Access to requested resource is denied.")
        if "/sellers/" in request.url.path:
            return httpx.Response(200, json={"payload": self.markets})
        if "/orders/" in request.url.path:
            return _error(404, "NotFound", "The order does not exist.")
        if "/fba/" in request.url.path:
            return self._inventory(request)
        sku = request.url.raw_path.decode().partition("?")[0].partition("/items/")[2].partition("/")[2]
        answer = self._search(request) if not sku else self._item(request, unquote(sku))
        answer.headers["x-amzn-RateLimit-Limit"] = "5.0"
        return answer

    def _search(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        skus = list(self.units)
        if "identifiers" in query:
            skus = [sku for sku in skus if sku in query["identifiers"].split(",")]
        start, size = int(query.get("pageToken", "0")), int(query.get("pageSize", "20"))
        shown = skus[start : start + size]
        pagination = {"nextToken": str(start + size)} if start + size < min(len(skus), self.window) else {}
        items = [self._described(sku) for sku in shown]
        return httpx.Response(200, json={"numberOfResults": len(skus), "items": items, "pagination": pagination})

    def _inventory(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        skus = list(self.kept)
        if "sellerSkus" in query:
            wanted = query["sellerSkus"].split(",")
            assert len(wanted) <= 50, "the vendor takes at most 50"
            skus = [sku for sku in skus if sku in wanted]
        elif "sellerSku" in query:
            skus = [sku for sku in skus if sku == query["sellerSku"]]
        start = 0
        if "nextToken" in query:
            made, _, place = query["nextToken"].partition("@")
            if self.clock() - float(made) > TOKEN_LIVES:
                return _error(400, "InvalidInput", "Next token is expired.")
            start = int(place)
        rows = [
            {"sellerSku": sku, "asin": "B000000001", "fnSku": f"X00{sku}", "inventoryDetails": self.kept[sku],
             "totalQuantity": sum(self.kept[sku].values())}
            for sku in skus[start : start + self.shelf]
        ]  # fmt: skip
        following = start + self.shelf
        pagination = {"nextToken": f"{self.clock()}@{following}"} if following < len(skus) else {}
        granularity = {"granularityType": "Marketplace", "granularityId": query["granularityId"]}
        payload = {"granularity": granularity, "inventorySummaries": rows}
        return httpx.Response(200, json={"payload": payload, "pagination": pagination})

    def _item(self, request: httpx.Request, sku: str) -> httpx.Response:
        if sku not in self.units:
            # The model has no 404 for a patch.
            status, code = (404, "NOT_FOUND") if request.method == "GET" else (400, "InvalidInput")
            return httpx.Response(status, json={"errors": [{"code": code, "message": f"SKU '{sku}' not found"}]})
        if request.method == "GET":
            return httpx.Response(200, json=self._described(sku))
        quantity = json.loads(request.content)["patches"][0]["value"][0]["quantity"]
        if quantity < 0:
            issue = {"code": "90000900", "message": "must be 0 or more", "severity": "ERROR", "categories": []}
            return httpx.Response(200, json={"sku": sku, "status": "INVALID", "submissionId": "s", "issues": [issue]})
        self.submissions.append((sku, quantity))
        self.units[sku] = quantity
        return httpx.Response(200, json={"sku": sku, "status": "ACCEPTED", "submissionId": f"s{len(self.submissions)}"})

    def _described(self, sku: str) -> dict[str, Any]:
        summary = {
            "marketplaceId": "A1F83G8C2ARO7P",
            "asin": "B000000001",
            "productType": "PRODUCT",
            "status": ["BUYABLE"],
            "itemName": f"Mug {sku}",
            "createdDate": self.created,
            "lastUpdatedDate": self.created,
        }
        availability = [{"fulfillmentChannelCode": "DEFAULT", "quantity": self.units[sku]}]
        described = {"sku": sku, "summaries": [summary], "fulfillmentAvailability": availability}
        more = dict(self.more.get(sku, {}))
        summary.update(more.pop("summary", {}))
        return described | more


def market(ref: str, name: str, currency: str, *, takes_part: bool = True, suspended: bool = False) -> dict[str, Any]:
    """A marketplace as the sellers' API tells it."""
    return {
        "marketplace": {
            "id": ref,
            "name": name,
            "countryCode": "GB",
            "defaultCurrencyCode": currency,
            "defaultLanguageCode": "en_GB",
            "domainName": f"www.{name.lower()}",
        },
        "participation": {"isParticipating": takes_part, "hasSuspendedListings": suspended},
        "storeName": "Canned Goods",
    }


def _error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"errors": [{"code": code, "message": message, "details": ""}]})
