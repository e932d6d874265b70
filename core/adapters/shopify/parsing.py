"""Inbox bodies to facts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.adapters.shopify import bodies, facts, nodes
from core.errors import BadInput
from core.ports import Facts, Hint, OrderEdit

POLLED_ORDER = "poll/orders"
"""Topic of inbox messages recorded by a poll: the body is an order node of the GraphQL API."""

ORDER_TOPICS = ("orders/create", "orders/updated", "orders/cancelled")
TOPICS = (*ORDER_TOPICS, "refunds/create", "fulfillments/create", "inventory_levels/update", "products/update")
"""What brings facts."""
HINT_TOPICS = (
    "orders/edited",
    "fulfillment_orders/order_routing_complete",
    "bulk_operations/finish",
    "products/create",
    "products/delete",
)
"""What only says that there is something to ask for."""
SUBSCRIBED = (*TOPICS, *HINT_TOPICS)
"""What we have Shopify call us for."""


class UnreadableBody(BadInput):
    """A body without what we need, or with what cannot be; `place` names the field, never its value."""

    def __init__(self, topic: str, place: str, why: str) -> None:
        super().__init__(f"{topic}: cannot read {place} ({why}); correct it at the channel or have it sent again")
        self.topic = topic
        self.place = place
        self.why = why


def parse(topic: str, body: bytes, triggered_at: datetime | None, currency: str) -> Facts | None:
    """What a body says, or None for a topic we do not use. Raises UnreadableBody.

    `currency` is the shop's, for bodies that do not name one. `triggered_at` breaks ties within a second.
    """
    reader = _READERS.get(topic)
    if reader is None:
        return None
    try:
        return reader(topic, body, triggered_at, currency)
    except facts.Unclear as unclear:
        raise UnreadableBody(topic, unclear.place, unclear.why) from None


Model = TypeVar("Model", bound=BaseModel)


def _read(model: type[Model], topic: str, body: bytes) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise UnreadableBody(topic, _place(first["loc"]), _why(first["type"], first["msg"])) from None


def _place(location: tuple[int | str, ...]) -> str:
    """line_items[3].quantity"""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".") or "the body"


def _why(kind: str, message: str) -> str:
    """Our own errors speak in our own words; the library's are named by kind, since their text may quote the body."""
    return message if kind == "unreadable" else kind.replace("_", " ")


def _orders(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    return Facts(orders=(facts.order_of_body(_read(bodies.Order, topic, body), seen_at, currency),))


def _refunds(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    refund = _read(bodies.Refund, topic, body)
    return Facts(refunds=(facts.refund_of_body(refund, _order_ref(topic, refund.order_id), currency),))


def _fulfilments(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    fulfilment = _read(bodies.Fulfilment, topic, body)
    return Facts(fulfilments=(facts.fulfilment_of_body(fulfilment, _order_ref(topic, fulfilment.order_id), seen_at),))


def _order_ref(topic: str, order_id: str | None) -> str:
    if order_id is None:
        raise UnreadableBody(topic, "order_id", "missing")
    return order_id


def _levels(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    return Facts(levels=(facts.level_of_body(_read(bodies.InventoryLevel, topic, body), seen_at),))


def _products(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    product = _read(bodies.Product, topic, body)
    return Facts(listings=facts.listings_of_body(product, seen_at), hints=(Hint("product", product.id),))


def _product_named(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    """What a new one is listed as comes by products/update, and of one that is gone nothing more is said."""
    return Facts(hints=(Hint("product", _read(bodies.NamedProduct, topic, body).id),))


def _polled(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    return Facts(orders=(facts.order_of_node(_read(nodes.Order, topic, body), seen_at, currency),))


def _edited(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    edit = _read(bodies.OrderEdited, topic, body).order_edit
    edits = (OrderEdit(edit.order_id, edit.committed_at or edit.created_at),)
    return Facts(edits=edits, hints=(Hint("order", edit.order_id),))


def _routed(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    return Facts(hints=(Hint("fulfilment_order", _read(bodies.Routed, topic, body).fulfillment_order.id),))


def _exported(topic: str, body: bytes, seen_at: datetime | None, currency: str) -> Facts:
    return Facts(hints=(Hint("export", _read(bodies.BulkOperation, topic, body).admin_graphql_api_id),))


_READERS: dict[str, Callable[[str, bytes, datetime | None, str], Facts]] = {
    **dict.fromkeys(ORDER_TOPICS, _orders),
    "refunds/create": _refunds,
    "fulfillments/create": _fulfilments,
    "inventory_levels/update": _levels,
    "products/update": _products,
    "products/create": _product_named,
    "products/delete": _product_named,
    "orders/edited": _edited,
    "fulfillment_orders/order_routing_complete": _routed,
    "bulk_operations/finish": _exported,
    POLLED_ORDER: _polled,
}
