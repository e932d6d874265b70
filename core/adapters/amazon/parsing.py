"""What inbox bodies of Amazon say; needs neither credentials nor a network."""

from __future__ import annotations

from datetime import datetime

from core.adapters.amazon import notice_facts
from core.adapters.amazon.envelopes import NOTIFICATION
from core.ports import Facts


def parse(topic: str, body: bytes, triggered_at: datetime | None, currency: str, marketplace: str = "") -> Facts | None:
    """Facts of a body, or None for a topic that is not used. Raises a BadInput that names the place.

    `currency` is the connection's, for bodies that tell no money; `marketplace` is its own among several.
    """
    if topic.startswith(NOTIFICATION):
        return notice_facts.read(topic, body, triggered_at, marketplace)
    return None
