"""Orders changed since a moment, each read whole, as bodies for the inbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.adapters.shopify import documents, nodes
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.fields import Body, Instant
from core.adapters.shopify.ids import gid
from core.adapters.shopify.reading import as_model, pages, walk
from core.adapters.stamps import refined
from core.ports import Found, OrderPage

# shopify.dev/docs/api/admin-graphql/latest/queries/orders, argument `query`, fulfillment_status.
_NOT_SHIPPED = ("unfulfilled", "unshipped", "partial", "on_hold", "scheduled", "request_declined")


class _Version(Body):
    legacyResourceId: str  # noqa: N815 (the vendor's name)
    updatedAt: Instant  # noqa: N815


class _Changed(Body):
    updatedAt: Instant  # noqa: N815 (the vendor's name)


class Orders:
    """Polls the orders of one shop."""

    def __init__(self, graphql: GraphQL, now: Callable[[], datetime]) -> None:
        self._graphql = graphql
        self._now = now

    def since(self, since: datetime, in_background: bool = False) -> Iterator[OrderPage]:
        """By page, oldest change first. `in_background`: by a name of its own, which goes behind all others.

        The version is updatedAt moved within its second by the moment of reading: an order read twice within the
        second of its change is two versions, and one that is read later again is not.
        """
        variables = {"query": _changed_since(since)}
        seen_at = self._now()
        for page in walk(
            self._graphql,
            "compared_orders" if in_background else "orders",
            documents.ORDERS,
            ("orders",),
            variables,
            lambda node: _changed_since(as_model(_Version, node, "orders").updatedAt),
        ):
            yield OrderPage([self._whole(node, seen_at) for node in page])
            seen_at = self._now()

    def newest_change_at(self) -> datetime | None:
        """When an order last changed, by Shopify's clock; None before the first."""
        found = self._graphql.run("newest_change", documents.NEWEST_CHANGE, {}).get("orders") or {}
        nodes = found.get("nodes") or []
        return as_model(_Changed, nodes[0], "newest_change").updatedAt if nodes else None

    def still_open(self) -> Iterator[OrderPage]:
        """Orders of any age that still hold stock, by page, as `since`.

        Asked for by each of Shopify's words for not wholly shipped, which overlap; what they leave in, an order that
        holds nothing any more, is sorted out here.
        """
        known: set[str] = set()
        for word in _NOT_SHIPPED:
            wanted = f"status:open fulfillment_status:{word}"
            seen_at = self._now()
            for page in walk(
                self._graphql,
                "open_orders",
                documents.ORDERS,
                ("orders",),
                {"query": wanted},
                lambda node, wanted=wanted: (  # type: ignore[misc]
                    f"{wanted} {_changed_since(as_model(_Version, node, 'open_orders').updatedAt)}"
                ),
            ):
                fresh = [node for node in page if node["id"] not in known and _holds_stock(node)]
                known.update(node["id"] for node in fresh)
                yield OrderPage([self._whole(node, seen_at) for node in fresh])
                seen_at = self._now()

    def some(self, refs: Sequence[str]) -> Iterator[Sequence[Found]]:
        """Some orders as they are now, by page; what is gone, or not for us to see, is left out."""
        wanted = list(dict.fromkeys(refs))
        for start in range(0, len(wanted), documents.ORDERS_AT_ONCE):
            ids = [gid("Order", ref) for ref in wanted[start : start + documents.ORDERS_AT_ONCE]]
            seen_at = self._now()
            found = self._graphql.run("some_orders", documents.SOME_ORDERS, {"ids": ids}).get("nodes") or []
            yield [self._whole(node, seen_at) for node in found if node]

    def _whole(self, node: dict[str, Any], seen_at: datetime) -> Found:
        self._all_lines(node)
        self._all_parts(node)
        self._discounts(node)
        version = as_model(_Version, node, "orders")
        node["seenAt"] = seen_at.isoformat()
        body = json.dumps(node, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        return version.legacyResourceId, refined(version.updatedAt, seen_at), body

    def _all_lines(self, node: dict[str, Any]) -> None:
        self._read_on(node["lineItems"], "order_lines", documents.ORDER_LINES, ("order", "lineItems"), node["id"])

    def _all_parts(self, node: dict[str, Any]) -> None:
        """Fulfilments and refunds are lists without a cursor: when the page is full, ask for all and their lines."""
        shipments, refunds = node["fulfillments"], node["refunds"]
        if len(shipments) >= documents.ORDER_SHIPMENTS_SHOWN or len(refunds) >= documents.ORDER_REFUNDS_SHOWN:
            order = self._graphql.run("order_parts", documents.ORDER_PARTS, {"id": node["id"]})["order"] or {}
            _keep_parts(shipments, order.get("fulfillments") or [], "fulfillmentLineItems")
            _keep_parts(refunds, order.get("refunds") or [], "refundLineItems", "refundShippingLines")
        for shipment in shipments:
            path = ("node", "fulfillmentLineItems")
            self._read_on(
                shipment["fulfillmentLineItems"], "fulfilment_lines", documents.FULFILMENT_LINES, path, shipment["id"]
            )
        for refund in refunds:
            path = ("node", "refundLineItems")
            self._read_on(refund["refundLineItems"], "refund_lines", documents.REFUND_LINES, path, refund["id"])
            path = ("node", "refundShippingLines")
            self._read_on(
                refund["refundShippingLines"], "refunded_carriage", documents.REFUNDED_CARRIAGE, path, refund["id"]
            )

    def _read_on(self, connection: dict[str, Any], name: str, document: str, path: tuple[str, ...], owner: str) -> None:
        """Append what the connection has not shown yet; afterwards it has no next page."""
        info = connection.pop("pageInfo")
        if info["hasNextPage"]:
            for page in pages(self._graphql, name, document, path, {"id": owner}, info["endCursor"]):
                connection["nodes"] += page

    def _discounts(self, node: dict[str, Any]) -> None:
        """Where the order is discounted by more than its lines say, find out how much of it fell on each line."""
        lines = node["lineItems"]["nodes"]
        own = sum((_amount(line["totalDiscountSet"]) for line in lines), Decimal(0))
        if own == _amount(node.pop("totalDiscountsSet")):
            return
        path = ("order", "lineItems")
        shares = {
            line["id"]: line["discountAllocations"]
            for page in pages(self._graphql, "order_discounts", documents.ORDER_DISCOUNTS, path, {"id": node["id"]})
            for line in page
        }
        for line in lines:
            line["discountAllocations"] = shares.get(line["id"]) or []


def _holds_stock(node: dict[str, Any]) -> bool:
    """Whether an order may hold units; one of whose lines only a part came along may."""
    if node.get("cancelledAt"):
        return False
    lines = node["lineItems"]
    shipped = sum(
        line["quantity"]
        for shipment in node["fulfillments"]
        if shipment.get("status") == "SUCCESS"
        for line in shipment["fulfillmentLineItems"]["nodes"]
    )
    return lines["pageInfo"]["hasNextPage"] or sum(line["quantity"] for line in lines["nodes"]) > shipped


def _changed_since(moment: datetime) -> str:
    """The query knows whole seconds; the window must not lose what shares a second with `moment`."""
    return f"updated_at:>='{moment.astimezone(UTC).replace(microsecond=0):%Y-%m-%dT%H:%M:%SZ}'"


def _keep_parts(shown: list[dict[str, Any]], everything: list[dict[str, Any]], *connections: str) -> None:
    """Add what the page did not show, with its connections still to be read."""
    known = {part["id"] for part in shown}
    for part in everything:
        if part["id"] not in known:
            for name in connections:
                part[name] = {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": None}}
            shown.append(part)


def _amount(bag: Any) -> Decimal:
    return as_model(nodes.MoneyBag, bag, "orders").shop_money.amount if bag else Decimal(0)
