"""The orders of one Amazon seller, seen through the vendor's API and through the control API."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.sandbox.outside import Inside, SellerSide

EVERYTHING = (
    "BUYER,RECIPIENT,PROCEEDS,EXPENSE,PROMOTION,CANCELLATION,FULFILLMENT,PACKAGES,TAX,PAYMENT,FULFILLMENT_ORDERS"
)
API = "/orders/2026-01-01/orders"
keys = itertools.count(1)


class OrderSide:
    def __init__(self, world: Inside, seller: SellerSide) -> None:
        self.world = world
        self.seller = seller

    def control(self, act: str, **entry: Any) -> dict[str, Any]:
        """One entry of a list of acts, or the error it met."""
        made: dict[str, Any] = self.world.post(f"/amazon/{self.seller.id}/{act}", **{act: [entry]})[act][0]
        return made

    def place(self, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
        wanted = [{"sku": sku, "quantity": quantity, "price": "2.50"} for sku, quantity in lines]
        return self.control("orders", **{"key": f"buy-{next(keys)}", "lines": wanted} | more)

    def paid(self, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
        """An order whose payment was authorised at once."""
        return self.place(*lines, pending_seconds=0, **more)

    def act(self, act: str, order: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.control(act, **{"key": f"act-{next(keys)}", "order_id": order["id"]} | more)

    def all(self) -> dict[str, dict[str, Any]]:
        """Every order by its key."""
        return {order["key"]: order for order in self.world.get(f"/amazon/{self.seller.id}/orders")["orders"]}

    def levels(self) -> dict[str, dict[str, int]]:
        found = self.world.get(f"/amazon/{self.seller.id}/levels")["levels"]
        return {level["sku"]: level["in_force"] for level in found}

    def get(self, order: dict[str, Any], included: str = "") -> httpx.Response:
        chosen = {"includedData": included} if included else {}
        return self.seller.http.get(f"{API}/{order['id']}", params=chosen)

    def read(self, order: dict[str, Any], included: str = EVERYTHING) -> dict[str, Any]:
        answer = self.get(order, included)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["order"]
        return found

    def status(self, order: dict[str, Any]) -> str:
        return str(self.read(order, "FULFILLMENT")["fulfillment"]["fulfillmentStatus"])

    def search(self, **params: Any) -> httpx.Response:
        return self.seller.http.get(API, params=params)

    def ago(self, seconds: float) -> str:
        moment = datetime.fromtimestamp(self.world.clock.wall(), UTC) - timedelta(seconds=seconds)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def detail(self, order: dict[str, Any], *parts: tuple[int, int], **changed: Any) -> dict[str, Any]:
        """The body of a confirmation; parts are (place of the line, quantity)."""
        detail = {
            "packageReferenceId": "1",
            "carrierCode": "Royal Mail",
            "trackingNumber": "RM123456789GB",
            "shipDate": self.ago(0),
            "orderItems": [
                {"orderItemId": str(order["lines"][place]["id"]), "quantity": quantity} for place, quantity in parts
            ],
        }
        return {"marketplaceId": self.seller.marketplace, "packageDetail": detail | changed}

    def confirm(self, order: dict[str, Any], body: Any) -> httpx.Response:
        return self.seller.http.post(f"/orders/v0/orders/{order['id']}/shipmentConfirmation", json=body)
