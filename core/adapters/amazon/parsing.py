"""What inbox bodies of Amazon say; needs neither credentials nor a network."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from core.adapters.amazon import facts, notice_facts
from core.adapters.amazon.envelopes import NOTIFICATION
from core.adapters.amazon.order_models import Order
from core.errors import BadInput
from core.ports import Facts

POLLED_ORDER = "poll/orders"
NOT_SOLD_HERE = "not_sold_here"
"""Amazon only ships it: whoever sold it tells of the sale."""


class UnreadableOrder(BadInput):
    """A body that is not an order as the vendor documents it; the text of the body is never quoted."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"an order of Amazon: {where}: {why}")


def parse(topic: str, body: bytes, triggered_at: datetime | None, currency: str, marketplace: str = "") -> Facts | None:
    """Facts of a body, or None for a topic that is not used. Raises a BadInput that names the place.

    `currency` is the connection's, for bodies that tell no money; `marketplace` is its own among several.
    """
    if topic.startswith(NOTIFICATION):
        return notice_facts.read(topic, body, triggered_at, marketplace)
    return _order(body, currency) if topic == POLLED_ORDER else None


def _order(body: bytes, currency: str) -> Facts:
    try:
        order = Order.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the body"
        raise UnreadableOrder(where, str(first["type"]).replace("_", " ")) from None
    if not facts.is_ours_to_sell(order):
        return Facts(unused=NOT_SOLD_HERE)
    return Facts(orders=(facts.order_of(order, currency),))
