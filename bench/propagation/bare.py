"""What propagation is held against: somebody who hears and writes at once, and somebody who asks now and then.

Both speak with the sandbox by its vendors' documents and keep nothing. They need not be right: they set the number that
was there before, less what was sold, and nobody else sells or writes at their shops.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from workers.world import Control

VERSION = "2026-10"
AGENT = "Bare/1.0 (Language=Python/3.11; Platform=Linux)"
LOOK_SECONDS = 0.05
HANDS = 32
SET = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) { userErrors { code message } }
}"""
SUBSCRIBE = """mutation Subscribe($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) { userErrors { message } }
}"""
CHANGED = """query Changed($query: String!, $after: String) {
  orders(first: 40, after: $after, query: $query, sortKey: UPDATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes { id lineItems(first: 5) { nodes { sku quantity } } }
  }
}"""


@dataclass
class Seen:
    """Moments by SKU: sold, confirmed on the other shop, in force at Amazon; seconds since 1970."""

    sold: dict[str, float] = field(default_factory=dict)
    on_shopify: dict[str, float] = field(default_factory=dict)
    on_amazon: dict[str, float] = field(default_factory=dict)

    def lags(self, reached: dict[str, float]) -> list[float]:
        return [reached[sku] - at for sku, at in self.sold.items() if sku in reached]

    def is_complete(self) -> bool:
        return len(self.sold) == len(self.on_shopify) == len(self.on_amazon)


class Side:
    """A shop that sells, a shop and a seller that follow, all with the same goods; and clients for them."""

    def __init__(self, control: Control, name: str, skus: list[str], units: int) -> None:
        self.control, self.skus, self.units = control, skus, units
        self.domains = (f"{name}-from.myshopify.com", f"{name}-to.myshopify.com")
        self.seen = Seen()
        self._items: dict[str, str] = {}
        for domain in self.domains:
            control.post("/shops", {"domain": domain, "plan": "plus"})
            products = [{"title": sku, "sku": sku, "price": "2.50", "available": units} for sku in skus]
            made = control.post(f"/shopify/{domain}/products", {"products": products})["products"]
            self._items = {entry["sku"]: entry["inventory_item_id"] for entry in made}
        self.seller_id = f"A1{name.upper()}"
        control.post("/sellers", {"seller_id": self.seller_id})
        listings = [{"sku": sku, "title": sku, "quantity": units} for sku in skus]
        control.post(f"/amazon/{self.seller_id}/listings", {"listings": listings})
        world = control.get("/world")
        shops = {entry["domain"]: entry for entry in world["shops"]}
        self._location = shops[self.domains[1]]["locations"][0]["id"]
        self.source, self._target = (self._shop(shops[domain]) for domain in self.domains)
        seller = next(entry for entry in world["sellers"] if entry["seller_id"] == self.seller_id)
        self._marketplace = seller["marketplace_ids"][0]
        self._amazon = self._client_of_seller(seller)
        self._told: set[str] = set()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _shop(self, entry: dict[str, Any]) -> httpx.Client:
        http = httpx.Client(base_url=f"{self.control.url}/shopify/{entry['domain']}", timeout=60)
        fields = {name: entry[name] for name in ("client_id", "client_secret")}
        grant = http.post("/admin/oauth/access_token", data={**fields, "grant_type": "client_credentials"})
        http.headers["X-Shopify-Access-Token"] = grant.raise_for_status().json()["access_token"]
        return http

    def _client_of_seller(self, seller: dict[str, Any]) -> httpx.Client:
        http = httpx.Client(base_url=f"{self.control.url}/amazon", headers={"User-Agent": AGENT}, timeout=60)
        fields = {name: seller[name] for name in ("client_id", "client_secret", "refresh_token")}
        grant = http.post("/auth/o2/token", data={**fields, "grant_type": "refresh_token"})
        http.headers["x-amz-access-token"] = grant.raise_for_status().json()["access_token"]
        return http

    def ask(self, http: httpx.Client, document: str, **variables: Any) -> dict[str, Any]:
        path = f"/admin/api/{VERSION}/graphql.json"
        answer = http.post(path, json={"query": document, "variables": variables}).raise_for_status().json()
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found

    def sell(self, sku: str) -> None:
        """One unit, on the shop that sells."""
        self.seen.sold[sku] = sell(self.control, self.domains[0], sku)[0]

    def tell_shopify(self, sku: str) -> None:
        element = {
            "inventoryItemId": self._items[sku],
            "locationId": self._location,
            "quantity": self.units - 1,
            "changeFromQuantity": None,
        }
        given = {"name": "available", "reason": "correction", "quantities": [element]}
        done = self.ask(self._target, SET, input=given, key=f"bare-{sku}")
        assert not done["inventorySetQuantities"]["userErrors"], done
        self.seen.on_shopify[sku] = time.time()

    def tell_amazon(self, sku: str) -> None:
        value = [{"fulfillment_channel_code": "DEFAULT", "quantity": self.units - 1}]
        patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
        self._amazon.patch(
            f"/listings/2021-08-01/items/{self.seller_id}/{sku}",
            params={"marketplaceIds": self._marketplace},
            json={"productType": "PRODUCT", "patches": [patch]},
        ).raise_for_status()
        self._told.add(sku)

    def _watch(self) -> None:
        """Note when what was told to Amazon is in force; seen from the outside, which costs no call."""
        while not self._closed.wait(LOOK_SECONDS):
            if not self._told:
                continue
            levels = self.control.get(f"/amazon/{self.seller_id}/levels")["levels"]
            now = time.time()
            shown = {row["sku"] for row in levels if row["in_force"]["DEFAULT"] == self.units - 1}
            for sku in shown & set(self._told):
                self.seen.on_amazon[sku] = now
            # Others add meanwhile: one by one.
            for sku in shown:
                self._told.discard(sku)

    def close(self) -> None:
        self._closed.set()
        self._watcher.join()


def sell(control: Control, domain: str, sku: str) -> tuple[float, str]:
    """One unit of a SKU; returns the moment just before, and the order's name."""
    before = time.time()
    order = {"key": f"sale-{sku}", "lines": [{"sku": sku, "quantity": 1, "price": "2.50"}]}
    (placed,) = control.post(f"/shopify/{domain}/orders", {"orders": [order]})["orders"]
    return before, str(placed["name"])


class Hearer:
    """The floor: every webhook is followed at once, with nothing in between."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._pool = ThreadPoolExecutor(HANDS)
        hearer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
                for line in body["line_items"]:
                    hearer._pool.submit(side.tell_shopify, line["sku"])
                    hearer._pool.submit(side.tell_amazon, line["sku"])

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        subscription = {"uri": f"http://127.0.0.1:{self._server.server_address[1]}/"}
        side.ask(side.source, SUBSCRIBE, topic="ORDERS_CREATE", subscription=subscription)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._pool.shutdown()


class Asker:
    """The baseline: asks every so many seconds which orders are new, and sets their goods one after the other."""

    def __init__(self, side: Side, every_seconds: float) -> None:
        self.side = side
        self._every = every_seconds
        self._known: set[str] = set()
        self._stop = threading.Event()
        self._since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            for sku in self._new():
                self.side.tell_shopify(sku)
                self.side.tell_amazon(sku)

    def _new(self) -> list[str]:
        after, found = None, []
        while True:
            query = f"updated_at:>='{self._since}'"
            page = self.side.ask(self.side.source, CHANGED, query=query, after=after)["orders"]
            for order in page["nodes"]:
                if order["id"] not in self._known:
                    self._known.add(order["id"])
                    found += [line["sku"] for line in order["lineItems"]["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(120)


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Raises AssertionError when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
