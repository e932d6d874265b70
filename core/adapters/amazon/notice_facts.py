"""What notifications say, in facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from core.adapters.amazon.envelopes import (
    NEW_SECRET,
    NOTIFICATION,
    SECRET_EXPIRY,
    UNREADABLE,
    Envelope,
    UnreadableNotice,
    field_of,
    open_envelope,
    words_at,
)
from core.adapters.amazon.listings import OWN_STOCK
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.ports import Facts, Hint, LevelObservation

UNITS_MAX = 1_000_000_000
NOT_OUR_STOCK = "not_our_stock"
"""A quantity of what Amazon ships."""
OTHER_MARKETPLACE = "other_marketplace"
"""It says nothing of the marketplace that the connection is for."""


def read(topic: str, body: bytes, triggered_at: datetime | None, marketplace: str) -> Facts | None:
    """What a notification says, or None for a type that we do not use. Raises UnreadableNotice.

    `triggered_at` is the time of the event where the body names none; `marketplace` is the connection's, for bodies
    that speak of several.
    """
    reader = _READERS.get(topic)
    return None if reader is None else reader(topic, body, triggered_at, marketplace)


def _of_notice(
    say: Callable[[Envelope, datetime | None, str], Facts],
) -> Callable[[str, bytes, datetime | None, str], Facts]:
    """A reader of a notification's payload as a reader of its whole body."""

    def reader(topic: str, body: bytes, triggered_at: datetime | None, marketplace: str) -> Facts:
        envelope = open_envelope(body)
        if envelope is None:
            raise UnreadableNotice(topic, "the envelope", "no notification with a type")
        return say(envelope, envelope.event_at or triggered_at, marketplace)

    return reader


def _order_change(envelope: Envelope, _at: datetime | None, _marketplace: str) -> Facts:
    """Only that an order changed, whatever it was: its own version says what it is now."""
    return Facts(hints=(Hint("order", _needed(envelope, "OrderChangeNotification", "AmazonOrderId")),))


def _feed_finished(envelope: Envelope, _at: datetime | None, _marketplace: str) -> Facts:
    return Facts(hints=(Hint("feed", _needed(envelope, "feedProcessingFinishedNotification", "feedId")),))


def _report_finished(envelope: Envelope, _at: datetime | None, _marketplace: str) -> Facts:
    """Of the report that a sync waits for; others are of no account."""
    return Facts(hints=(Hint("export", _needed(envelope, "reportProcessingFinishedNotification", "reportId")),))


def _own_quantity(envelope: Envelope, at: datetime | None, _marketplace: str) -> Facts:
    """What is left of the seller's own stock. What Amazon ships is told of in another way."""
    if _needed(envelope, "FulfillmentChannelCode").upper() != OWN_STOCK:
        return Facts(unused=NOT_OUR_STOCK)
    units = _units(envelope, envelope.payload, "Quantity")
    return Facts(levels=(LevelObservation(_needed(envelope, "Sku"), OWN_PLACE, units, _when(envelope, at)),))


def _fba_quantity(envelope: Envelope, at: datetime | None, marketplace: str) -> Facts:
    """What Amazon can ship now in this marketplace. Never a total: that counts what is on its way to the warehouse."""
    sku, when = _needed(envelope, "SKU"), _when(envelope, at)
    places = field_of(envelope.payload, "FulfillmentInventoryByMarketplace")
    if not isinstance(places, list):
        raise UnreadableNotice(envelope.topic, "FulfillmentInventoryByMarketplace", "no list")
    here = [one for one in places if field_of(one, "MarketplaceId") == marketplace]
    found = (_units(envelope, field_of(one, "FulfillmentInventory"), "Fulfillable") for one in here)
    levels = tuple(LevelObservation(sku, FBA_PLACE, units, when) for units in found)
    return Facts(levels=levels) if levels else Facts(unused=OTHER_MARKETPLACE)


def _said(_envelope: Envelope, _at: datetime | None, _marketplace: str) -> Facts:
    """Nothing more to do: it was dealt with when it was recorded."""
    return Facts()


def _no_notice(topic: str, _body: bytes, _at: datetime | None, _marketplace: str) -> Facts:
    raise UnreadableNotice(topic, "the message", "no notification with a type")


def _needed(envelope: Envelope, *names: str) -> str:
    found = words_at(envelope, *names)
    if found is None:
        raise UnreadableNotice(envelope.topic, ".".join(("Payload", *names)), "missing")
    return found


def _units(envelope: Envelope, value: Any, name: str) -> int:
    units = field_of(value, name)
    if not isinstance(units, int) or isinstance(units, bool) or not -UNITS_MAX <= units <= UNITS_MAX:
        raise UnreadableNotice(envelope.topic, name, "no whole number")
    return max(0, units)


def _when(envelope: Envelope, at: datetime | None) -> datetime:
    if at is None:
        raise UnreadableNotice(envelope.topic, "EventTime", "no date and time with an offset")
    return at


_READERS: Mapping[str, Callable[[str, bytes, datetime | None, str], Facts]] = {
    f"{NOTIFICATION}ORDER_CHANGE": _of_notice(_order_change),
    f"{NOTIFICATION}FEED_PROCESSING_FINISHED": _of_notice(_feed_finished),
    f"{NOTIFICATION}REPORT_PROCESSING_FINISHED": _of_notice(_report_finished),
    f"{NOTIFICATION}LISTINGS_ITEM_MFN_QUANTITY_CHANGE": _of_notice(_own_quantity),
    f"{NOTIFICATION}FBA_INVENTORY_AVAILABILITY_CHANGES": _of_notice(_fba_quantity),
    f"{NOTIFICATION}{SECRET_EXPIRY}": _of_notice(_said),
    f"{NOTIFICATION}{NEW_SECRET}": _of_notice(_said),
    UNREADABLE: _no_notice,
}
