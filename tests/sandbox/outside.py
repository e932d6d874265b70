"""Helpers around a running sandbox: the process, a shop, a seller and a receiver of webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from sandbox.clock import VirtualClock
from sandbox.inprocess import InProcess

ROOT = Path(__file__).resolve().parents[2]
VERSION = "2026-10"
AGENT = "Switchyard/0.1 (Language=Python/3.11; Platform=Linux)"
SET = """mutation($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id createdAt reason referenceDocumentUri
      changes { name delta quantityAfterChange item { id } location { id } } }
    userErrors { code field message }
  }
}"""
SUBSCRIBE = """mutation($topic: WebhookSubscriptionTopic!, $input: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $input) {
    webhookSubscription { id topic uri filter includeFields format } userErrors { field message }
  }
}"""
numbers = itertools.count(1)


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true value; the deadline is only there so that a broken run ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class World:
    """A sandbox, wherever it runs: its control API, and shops and sellers in it."""

    url: str
    http: httpx.Client

    def client(self, path: str = "", **options: Any) -> httpx.Client:
        """A client for what lies below the path."""
        return httpx.Client(base_url=f"{self.url}{path}", timeout=30, **options)

    def get(self, path: str) -> Any:
        response = self.http.get(f"/_control{path}")
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, **body: Any) -> Any:
        response = self.http.post(f"/_control{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def shop(self, **wanted: Any) -> ShopSide:
        domain = wanted.pop("domain", f"shop-{next(numbers)}.myshopify.com")
        plan = wanted.pop("plan", "plus")
        return ShopSide(self, self.post("/shops", domain=domain, name="Test", plan=plan, **wanted))

    def seller(self, *listings: dict[str, Any]) -> SellerSide:
        side = SellerSide(self, self.post("/sellers", seller_id=f"SELLER{next(numbers)}", name="Test"))
        self.post(f"/amazon/{side.id}/listings", listings=list(listings))
        return side

    def faults(self, **fault: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.post("/faults", **fault)
        return found


class Inside(World):
    """A sandbox in this process, on a clock that moves by hand. `background` delivers webhooks too."""

    def __init__(self, folder: Path, background: bool = False) -> None:
        self.url = InProcess.url
        self.clock = VirtualClock()
        self.world = InProcess(folder, self.clock, background=background)
        self.http = self.world.client(timeout=30)

    def client(self, path: str = "", **options: Any) -> httpx.Client:
        return self.world.client(path, **options)

    def stop(self) -> None:
        self.world.close()


class Outside(World):
    """A sandbox process over one folder; it can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> Outside:
        command = [sys.executable, "-m", "sandbox", "--port", str(self.port), "--data", str(self.folder)]
        self.process = subprocess.Popen([*command, *(options or self.options)], cwd=ROOT)
        wait_for(self._answers, 120)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the sandbox ended by itself"
        try:
            return self.http.get("/_control/health").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


class ShopSide:
    """One shop, seen through the vendor's API and through the control API."""

    def __init__(self, outside: World, entry: dict[str, Any]) -> None:
        self.outside = outside
        self.entry = entry
        self.domain = entry["domain"]
        self.location = entry["locations"][0]["id"]
        self.http = outside.client(f"/shopify/{self.domain}")
        self.token = ""

    def grant(self, **changed: Any) -> httpx.Response:
        names = ("client_id", "client_secret")
        fields = {name: self.entry[name] for name in names} | {"grant_type": "client_credentials"} | changed
        return self.http.post("/admin/oauth/access_token", data=fields)

    def send(self, query: str, variables: dict[str, Any] | None = None, version: str = VERSION) -> httpx.Response:
        if not self.token:
            self.token = self.grant().json()["access_token"]
        return self.http.post(
            f"/admin/api/{version}/graphql.json",
            json={"query": query, "variables": variables or {}},
            headers={"X-Shopify-Access-Token": self.token},
        )

    def ask(self, query: str, /, **variables: Any) -> dict[str, Any]:
        response = self.send(query, variables)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def data(self, query: str, /, **variables: Any) -> dict[str, Any]:
        answer = self.ask(query, **variables)
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found

    def stock(self, *skus: str, available: int = 10, **more: Any) -> dict[str, str]:
        """Puts products on the shelf; their inventory item ids by SKU."""
        products = [
            {"title": f"Thing {sku}", "sku": sku, "price": "2.50", "tracked": True, "inventory_policy": "DENY"}
            | {"available": available}
            | more
            for sku in skus
        ]
        answer = self.control("products", products=products)
        return {entry["sku"]: entry["inventory_item_id"] for entry in answer["products"]}

    def control(self, path: str, **body: Any) -> Any:
        return self.outside.post(f"/shopify/{self.domain}/{path}", **body)

    def place(self, *lines: tuple[str, int], key: str | None = None, ship: bool = False, **more: Any) -> dict[str, Any]:
        """One order, or the error it met."""
        order = {
            "key": key or f"order-{next(numbers)}",
            "ship": ship,
            "lines": [{"sku": sku, "quantity": quantity, "price": "2.50"} for sku, quantity in lines],
        }
        made: dict[str, Any] = self.control("orders", orders=[order | more])["orders"][0]
        return made

    def refund(self, order: dict[str, Any], *parts: tuple[int, int, str], key: str | None = None) -> dict[str, Any]:
        """Parts are (position of the line, quantity, restock type)."""
        lines = [
            {"line_id": order["lines"][at]["id"], "quantity": quantity, "restock_type": kind}
            for at, quantity, kind in parts
        ]
        wanted = {"key": key or f"refund-{next(numbers)}", "order_id": order["id"], "lines": lines}
        made: dict[str, Any] = self.control("refunds", refunds=[wanted])["refunds"][0]
        return made

    def cancel(self, order: dict[str, Any], restock: bool = True, key: str | None = None) -> dict[str, Any]:
        wanted = {"key": key or f"cancel-{next(numbers)}", "order_id": order["id"], "reason": "customer"}
        made: dict[str, Any] = self.control("cancellations", cancellations=[wanted | {"restock": restock}])
        answer: dict[str, Any] = made["cancellations"][0]
        return answer

    def ship(self, order: dict[str, Any], *parts: tuple[int, int], key: str | None = None) -> dict[str, Any]:
        wanted: dict[str, Any] = {"key": key or f"ship-{next(numbers)}", "order_id": order["id"]}
        if parts:
            wanted["lines"] = [{"line_id": order["lines"][at]["id"], "quantity": count} for at, count in parts]
        made: dict[str, Any] = self.control("fulfilments", fulfilments=[wanted])["fulfilments"][0]
        return made

    def level(self, item: str) -> dict[str, int]:
        query = """query($item: ID!, $location: ID!) { inventoryItem(id: $item) {
            inventoryLevel(locationId: $location) {
                quantities(names: ["available", "committed", "on_hand"]) { name quantity } } } }"""
        found = self.data(query, item=item, location=self.location)["inventoryItem"]["inventoryLevel"]
        return {entry["name"]: entry["quantity"] for entry in found["quantities"]}

    def set(self, *elements: dict[str, Any], key: str | None = None, **call: Any) -> dict[str, Any]:
        """The whole answer of inventorySetQuantities."""
        given = {"name": "available", "reason": "correction", "quantities": list(elements)} | call
        return self.ask(SET, input=given, key=key or f"key-{next(numbers)}")

    def element(self, item: str, quantity: int, compared: int | None, **more: Any) -> dict[str, Any]:
        element = {"inventoryItemId": item, "locationId": self.location, "quantity": quantity}
        return element | {"changeFromQuantity": compared} | more

    def subscribe(self, topic: str, uri: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.data(SUBSCRIBE, topic=topic, input={"uri": uri} | more)
        answer: dict[str, Any] = found["webhookSubscriptionCreate"]
        return answer


class SellerSide:
    """One Amazon seller."""

    def __init__(self, outside: World, entry: dict[str, Any]) -> None:
        self.outside = outside
        self.entry = entry
        self.id = entry["seller_id"]
        self.marketplace = entry["marketplace_ids"][0]
        self.http = outside.client("/amazon", headers={"user-agent": AGENT})
        self.http.headers["x-amz-access-token"] = self.grant().json()["access_token"]

    def grant(self, **changed: Any) -> httpx.Response:
        names = ("client_id", "client_secret", "refresh_token")
        fields = {name: self.entry[name] for name in names} | {"grant_type": "refresh_token"} | changed
        return self.http.post("/auth/o2/token", data=fields)

    def get(self, sku: str, *included: str) -> httpx.Response:
        chosen = {"includedData": ",".join(included)} if included else {}
        return self.http.get(self._path(sku), params={"marketplaceIds": self.marketplace} | chosen)

    def search(self, **params: Any) -> httpx.Response:
        path = f"/listings/2021-08-01/items/{self.id}"
        return self.http.get(path, params={"marketplaceIds": self.marketplace} | params)

    def patch(self, sku: str, *patches: dict[str, Any], **params: Any) -> httpx.Response:
        body = {"productType": "PRODUCT", "patches": list(patches)}
        return self.http.patch(self._path(sku), params={"marketplaceIds": self.marketplace} | params, json=body)

    def _path(self, sku: str) -> str:
        return f"/listings/2021-08-01/items/{self.id}/{sku}"

    def in_force(self, sku: str) -> int:
        found = self.get(sku, "fulfillmentAvailability").json()["fulfillmentAvailability"]
        return int(found[0]["quantity"])


def availability(op: str, **entry: Any) -> dict[str, Any]:
    value = {"fulfillment_channel_code": "DEFAULT"} | entry
    return {"op": op, "path": "/attributes/fulfillment_availability", "value": [value]}


@dataclass
class Letter:
    """A webhook as it arrived."""

    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    @property
    def topic(self) -> str:
        return self.headers["x-shopify-topic"]

    @property
    def id(self) -> str:
        return self.headers["x-shopify-webhook-id"]

    @property
    def event(self) -> str:
        return self.headers["x-shopify-event-id"]

    def signed_with(self, secret: str) -> bool:
        digest = hmac.new(secret.encode(), self.raw, hashlib.sha256).digest()
        return hmac.compare_digest(self.headers["x-shopify-hmac-sha256"], base64.b64encode(digest).decode())


class Listening(ThreadingHTTPServer):
    """Room for all of the courier's connections at once, and no complaint when it is killed in mid-sentence."""

    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silence."""


@dataclass
class Receiver:
    """A real HTTP server that keeps what it is sent and answers as told."""

    letters: list[Letter] = field(default_factory=list)
    status: Callable[[Letter], int] = lambda letter: 200
    url: str = ""

    def start(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                letter = Letter({name.lower(): value for name, value in self.headers.items()}, raw)
                status = receiver.status(letter)
                receiver.letters.append(letter)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self._server = Listening(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, topic: str) -> list[Letter]:
        return [letter for letter in list(self.letters) if letter.topic == topic]

    def wait(self, count: int, topic: str | None = None) -> list[Letter]:
        def enough() -> list[Letter] | None:
            found = list(self.letters) if topic is None else self.of(topic)
            return found if len(found) >= count else None

        letters: list[Letter] = wait_for(enough)
        return letters
