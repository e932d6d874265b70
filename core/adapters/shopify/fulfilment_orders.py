"""What a shop wants to be shipped from where. Read only: Shopify makes these, never an app.

Source: shopify.dev/docs/api/admin-graphql/latest/objects/FulfillmentOrder. They appear when an order has been routed,
some time after it was placed. Those that the app's scopes do not cover are left out without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.adapters.http import Unauthorised
from core.adapters.shopify import access, documents, nodes
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.ids import gid
from core.adapters.shopify.reading import as_model, pages
from core.ports import ChannelFulfilmentOrder, ChannelFulfilmentOrderLine

_OPERATION = "fulfilment_orders"


class FulfilmentOrders:
    """Reads the fulfilment orders of one shop."""

    def __init__(self, graphql: GraphQL) -> None:
        self._graphql = graphql
        self._may_see: bool | None = None

    def of_order(self, order_ref: str) -> Sequence[ChannelFulfilmentOrder]:
        """Those of one order; none before it is routed. Raises Unauthorised where no scope would show any."""
        variables = {"id": gid("Order", order_ref)}
        path = ("order", "fulfillmentOrders")
        found = [
            self._whole(node)
            for page in pages(self._graphql, _OPERATION, documents.FULFILMENT_ORDERS, path, variables)
            for node in page
        ]
        if not found and not self._may_see_some():
            raise Unauthorised(_OPERATION, f"grant the app one of {', '.join(access.FULFILMENT_ORDER_SCOPES)}")
        return found

    def orders_behind(self, refs: Sequence[str]) -> Sequence[str]:
        """The orders of some of them, each once; what is gone or not for us to see is left out."""
        wanted, found = list(dict.fromkeys(refs)), []
        for start in range(0, len(wanted), documents.ARRAY_MAX):
            ids = [gid("FulfillmentOrder", ref) for ref in wanted[start : start + documents.ARRAY_MAX]]
            answer = self._graphql.run("orders_behind", documents.ORDERS_BEHIND, {"ids": ids})
            found += [as_model(nodes.OrderBehind, node, "orders_behind") for node in answer.get("nodes") or [] if node]
        return list(dict.fromkeys(node.order_id for node in found))

    def _may_see_some(self) -> bool:
        if self._may_see is None:
            granted = access.about(self._graphql).granted or frozenset()
            self._may_see = any(scope in granted for scope in access.FULFILMENT_ORDER_SCOPES)
        return self._may_see

    def _whole(self, node: dict[str, Any]) -> ChannelFulfilmentOrder:
        lines = node["lineItems"]
        info = lines.pop("pageInfo")
        if info["hasNextPage"]:
            path, variables = ("fulfillmentOrder", "lineItems"), {"id": node["id"]}
            document, after = documents.FULFILMENT_ORDER_LINES, info["endCursor"]
            for page in pages(self._graphql, "fulfilment_order_lines", document, path, variables, after):
                lines["nodes"] += page
        return _in_our_words(as_model(nodes.FulfilmentOrder, node, _OPERATION))


def _in_our_words(node: nodes.FulfilmentOrder) -> ChannelFulfilmentOrder:
    place = node.assigned_location
    return ChannelFulfilmentOrder(
        ref=node.id,
        order_ref=node.order_id,
        status=node.status.lower(),
        request_status=node.request_status.lower(),
        location_ref=place.location.legacy_resource_id if place.location else None,
        location_name=place.name or "",
        version_at=node.updated_at,
        holds=tuple(hold.reason.lower() for hold in node.fulfillment_holds),
        lines=tuple(
            ChannelFulfilmentOrderLine(line.id, line.line_item.id, line.total_quantity, line.remaining_quantity)
            for line in node.line_items.nodes
        ),
    )
