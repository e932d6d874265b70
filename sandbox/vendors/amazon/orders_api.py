"""The HTTP side of orders: Orders 2026-01-01 to read them, confirmShipment of Orders v0 to say what was shipped."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import AnyClock
from sandbox.errors import NotFound, Refused
from sandbox.store import Row, Store
from sandbox.vendors.amazon import confirmations, order_search
from sandbox.vendors.amazon.gate import Denied, Gate, answer, bad, body_of
from sandbox.vendors.amazon.order_search import chosen
from sandbox.vendors.amazon.order_views import INCLUDED, view
from sandbox.vendors.amazon.orders import OPEN, Orders

_ORDER_ID = re.compile(r"\d{3}-\d{7}-\d{7}")


class OrdersApi:
    def __init__(self, store: Store, clock: AnyClock, gate: Gate, orders: Orders) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._orders = orders

    def routes(self) -> list[Route]:
        route, path = self._gate.route, "/orders/2026-01-01/orders"
        confirmation = "/orders/v0/orders/{order_id}/shipmentConfirmation"
        return [
            route("searchOrders", "GET", path, self.search),
            route("getOrder", "GET", f"{path}/{{order_id}}", self.get_order),
            route("confirmShipment", "POST", confirmation, self.confirm_shipment),
        ]

    async def search(self, request: Request, seller: Row) -> Response:
        search = order_search.read(self._store, self._clock, request, seller)
        rows, token = order_search.page(self._store, self._clock, seller, search)
        body: dict[str, Any] = {
            "orders": [self._view(row, search.included) for row in rows],
            search.before: search.until,
        }
        if token:
            body["pagination"] = {"nextToken": token}
        return answer(body)

    async def get_order(self, request: Request, seller: Row) -> Response:
        included = chosen(request, "includedData", INCLUDED)
        return answer({"order": self._view(self._find(request, seller), included)})

    async def confirm_shipment(self, request: Request, seller: Row) -> Response:
        order = self._find(request, seller)
        parcel, units = confirmations.read(order, await body_of(request))
        if order["fulfilled_by"] == "AMAZON":
            raise bad(f"The order {order['order_id']} is fulfilled by Amazon.")
        if order["status"] not in (*OPEN, "SHIPPED"):
            raise bad(f"The order {order['order_id']} cannot be confirmed: it is {order['status']}.")
        try:
            self._orders.ship(seller, order, parcel, units)
        except Refused as refusal:
            raise bad(refusal.message) from None
        return answer(None, 204)

    def _view(self, order: Row, included: list[str]) -> dict[str, Any]:
        return view(order, self._orders.lines(order), self._orders.packages(order), included)

    def _find(self, request: Request, seller: Row) -> Row:
        order_id = request.path_params["order_id"]
        if not _ORDER_ID.fullmatch(order_id):
            raise bad(f"'orderId' {order_id} is not of the form 3-7-7.")
        try:
            return self._orders.find(seller, order_id)
        except NotFound:
            raise Denied(404, "NotFound", f"No order {order_id} was found.") from None
