"""A Selling Partner API with orders: searched by the vendor's rules, read one by one, and confirmed when shipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx

from tests.adapters.canned_amazon import CannedSeller

HIDDEN_FOR = timedelta(minutes=2)
MARKETPLACE = "A1F83G8C2ARO7P"


def order_body(ref: str, *items: dict[str, Any], at: str, **more: Any) -> dict[str, Any]:
    """An order as the model has it; `at` is when it was created and, without another word, last updated."""
    body = {
        "orderId": ref,
        "createdTime": at,
        "lastUpdatedTime": at,
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": MARKETPLACE},
        "fulfillment": {"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT"},
        "orderItems": list(items) or [item_body("1")],
    }
    return {**body, **more}


def item_body(
    ref: str, sku: str = "SKU 1/%", units: int = 1, price: str | None = "2.50", **more: Any
) -> dict[str, Any]:
    product: dict[str, Any] = {"sellerSku": sku, "asin": "B000000001", "title": "Mug"}
    if price is not None:
        product["price"] = {"unitPrice": {"amount": price, "currencyCode": "GBP"}}
    counts = {"quantityFulfilled": 0, "quantityUnfulfilled": units}
    return {"orderItemId": ref, "quantityOrdered": units, "product": product, "fulfillment": counts, **more}


def stamp(moment: datetime) -> str:
    """As the vendor writes it: whole seconds."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


@dataclass
class CannedOrders(CannedSeller):
    """With orders. `now` is the vendor's clock (None: the real one); it looks at nothing of the last `hidden_for`.

    `page` orders come at once; tokens are bound to the parameters they came with, and die when told so (`kill_tokens`).
    """

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: datetime | None = None
    hidden_for: timedelta = HIDDEN_FOR
    page: int = 100
    searches: list[dict[str, str]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    confirmations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuses_shipments: bool = False
    refuses_next_pages: bool = False
    _tokens: dict[str, tuple[dict[str, str], list[str], datetime]] = field(default_factory=dict)

    def put(self, order: dict[str, Any]) -> None:
        self.orders[order["orderId"]] = order

    def change(self, ref: str, at: datetime, **more: Any) -> None:
        self.orders[ref] = {**self.orders[ref], "lastUpdatedTime": stamp(at), **more}

    def kill_tokens(self) -> None:
        self._tokens.clear()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        if "/orders/" not in path:
            return super().__call__(request)
        if path.endswith("/shipmentConfirmation"):
            answer = self._confirm(unquote(path.split("/")[-2]), json.loads(request.content))
        elif path.endswith("/orders"):
            answer = self._find(dict(request.url.params))
        else:
            answer = self._get(unquote(path.rsplit("/", 1)[1]))
        answer.headers["x-amzn-RateLimit-Limit"] = "0.0056" if path.endswith("/orders") else "0.5"
        return answer

    def _get(self, ref: str) -> httpx.Response:
        self.reads.append(ref)
        if ref not in self.orders:
            return _error(404, "NotFound", "no such order")
        return httpx.Response(200, json={"order": self.orders[ref]})

    def _find(self, query: dict[str, str]) -> httpx.Response:
        self.searches.append(query)
        families = [name for name in ("createdAfter", "lastUpdatedAfter") if name in query]
        if len(families) != 1:
            return _error(400, "InvalidInput", "exactly one of createdAfter and lastUpdatedAfter")
        token = query.pop("paginationToken", None)
        if token is not None:
            if self.refuses_next_pages or token not in self._tokens or self._tokens[token][0] != query:
                return _error(400, "InvalidInput", "the token is not of this search, or has expired")
            _, refs, bound = self._tokens[token]
        else:
            bound = (self.now or datetime.now(UTC)) - self.hidden_for
            upper = query.get(families[0].replace("After", "Before"))
            if upper is not None and datetime.fromisoformat(upper) > bound:
                return _error(400, "InvalidInput", "the window must end two minutes before the request")
            bound = bound if upper is None else datetime.fromisoformat(upper)
            after = datetime.fromisoformat(query[families[0]])
            if after > bound:
                return _error(400, "InvalidInput", "the window ends before it begins")
            refs = list(self._matching(families[0], after, bound, query))
        return self._page(families[0], query, refs, bound)

    def _matching(self, family: str, after: datetime, bound: datetime, query: dict[str, str]) -> Iterator[str]:
        statuses = query["fulfillmentStatuses"].split(",") if "fulfillmentStatuses" in query else None
        key = "createdTime" if family == "createdAfter" else "lastUpdatedTime"
        # In no order that would help anybody.
        for ref, order in sorted(self.orders.items(), reverse=True):
            is_wanted = statuses is None or order["fulfillment"]["fulfillmentStatus"] in statuses
            if is_wanted and after <= datetime.fromisoformat(order[key]) <= bound:
                yield ref

    def _page(self, family: str, query: dict[str, str], refs: list[str], bound: datetime) -> httpx.Response:
        size = min(self.page, int(query.get("maxResultsPerPage", "100")))
        shown, left = refs[:size], refs[size:]
        answer: dict[str, Any] = {"orders": [self.orders[ref] for ref in shown]}
        answer["createdBefore" if family == "createdAfter" else "lastUpdatedBefore"] = stamp(bound)
        if left:
            token = f"token {len(self.searches)}"
            self._tokens[token] = (query, left, bound)
            answer["pagination"] = {"nextToken": token}
        return httpx.Response(200, json=answer)

    def _confirm(self, ref: str, body: dict[str, Any]) -> httpx.Response:
        if self.refuses_shipments or ref not in self.orders:
            return _error(400, "InvalidInput", "the package is not one of this order")
        self.confirmations.append((ref, body))
        return httpx.Response(204)


def _error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"errors": [{"code": code, "message": message}]})
