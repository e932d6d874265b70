"""What Amazon tells a seller by itself: envelopes put into the queue of every subscription that wants them.

Source: schemas/notifications of github.com/amzn/selling-partner-api-models. Types differ in how their envelopes are
spelt and in their payload versions. Messages come at least once, in no order, and some time after the event.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from sandbox.clock import AnyClock, utc_at
from sandbox.faults import Faults
from sandbox.store import Row, Store
from sandbox.vendors.amazon.sqs_queues import Queues

# Seconds of the sandbox clock between an event and its message.
DELAY = (0.2, 3.0)


@dataclass(frozen=True)
class Kind:
    """One notification type: how its envelope is spelt, and the versions of its payload that are still sent."""

    casing: str
    versions: tuple[str, ...] = ("1.0",)
    envelope_version: str = "1.0"


KINDS: Mapping[str, Kind] = {
    "ORDER_CHANGE": Kind("Pascal"),
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": Kind("Pascal"),
    "LISTINGS_ITEM_STATUS_CHANGE": Kind("Pascal"),
    "LISTINGS_ITEM_ISSUES_CHANGE": Kind("Pascal", ("1.0", "2023-12-13")),
    "FBA_INVENTORY_AVAILABILITY_CHANGES": Kind("Pascal"),
    "FBA_OUTBOUND_SHIPMENT_STATUS": Kind("Pascal"),
    "FULFILLMENT_ORDER_STATUS": Kind("Pascal"),
    "BRANDED_ITEM_CONTENT_CHANGE": Kind("Pascal"),
    "ITEM_PRODUCT_TYPE_CHANGE": Kind("Pascal"),
    "PRODUCT_TYPE_DEFINITIONS_CHANGE": Kind("Pascal"),
    "TRANSACTION_UPDATE": Kind("Pascal"),
    "FEED_PROCESSING_FINISHED": Kind("camel", ("2020-09-04",), "2020-09-04"),
    "REPORT_PROCESSING_FINISHED": Kind("camel", ("2020-09-04",), "2020-09-04"),
    "DATA_KIOSK_QUERY_PROCESSING_FINISHED": Kind("camel", ("2023-11-15",), "2023-11-15"),
    "ITEM_INVENTORY_EVENT_CHANGE": Kind("camel", ("2020-09-04",), "2020-09-04"),
    "ITEM_SALES_EVENT_CHANGE": Kind("camel", ("2020-09-04",), "2020-09-04"),
    "PRICING_HEALTH": Kind("camel"),
    "SHIPMENT_TRACKING_MILESTONE_CHANGED": Kind("camel", ("2026-01-30",)),
}


class Notices:
    """Written in the transaction of the act that causes them, readable in the queue a little later."""

    def __init__(self, store: Store, clock: AnyClock, faults: Faults, queues: Queues, seed: int) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._queues = queues
        self._random = random.Random(f"notices-{seed}")

    def tell(self, seller: Row, kind: str, payload: Mapping[str, Any], event_at: str | None = None) -> None:
        """Puts one message into the queue of every subscription of the seller to the type.

        `kind` is one of KINDS; `payload` is what stands under Payload (or payload) in the type's schema, whole, in
        its own spelling; `event_at` is an ISO instant with Z, now when it is left out. Joins a transaction that is
        open. Armed faults (duplicate_delivery, delayed_delivery, reordered_delivery, lost_delivery) match the type.
        """
        event_at = event_at or self._now()
        with self._store.transaction():
            for subscription in self._wanting(seller, kind, payload):
                self._put(subscription, KINDS[kind], kind, payload, event_at)

    def _now(self) -> str:
        return _milliseconds(self._store.wall())

    def _wanting(self, seller: Row, kind: str, payload: Mapping[str, Any]) -> Iterator[Row]:
        for row in self._store.all(
            "select s.*, d.arn from notice_subscriptions s join destinations d on d.id = s.destination_id"
            " where s.seller_id = ? and s.kind = ? order by s.id",
            (seller["seller_id"], kind),
        ):
            if _passes(orjson.loads(row["directive"]), payload):
                yield row

    def _put(self, subscription: Row, spelt: Kind, kind: str, payload: Mapping[str, Any], event_at: str) -> None:
        if self._faults.strike("lost_delivery", kind):
            return
        due_at = self._clock.now() + self._random.uniform(*DELAY)
        if late := self._faults.strike("delayed_delivery", kind):
            due_at += late.seconds
        if shuffled := self._faults.strike("reordered_delivery", kind):
            due_at += self._faults.spread(shuffled.seconds)
        envelope = {
            "NotificationVersion": spelt.envelope_version,
            "NotificationType": kind,
            "PayloadVersion": subscription["payload_version"],
            "EventTime": event_at,
            "Payload": payload,
            "NotificationMetadata": {
                "ApplicationId": f"amzn1.sellerapps.app.{subscription['client_id'].rpartition('.')[2]}",
                "SubscriptionId": subscription["id"],
                "PublishTime": self._now(),
                "NotificationId": str(uuid4()),
            },
        }
        body = orjson.dumps(_camel(envelope) if spelt.casing == "camel" else envelope).decode()
        copies = 2 if self._faults.strike("duplicate_delivery", kind) else 1
        for _ in range(copies):
            self._queues.deliver(subscription["arn"], body, due_at)


def _passes(directive: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """Whether the event filter of a subscription lets the payload through; only ORDER_CHANGE has one here."""
    wanted = directive.get("eventFilter") or {}
    change = payload.get("OrderChangeNotification") or {}
    marketplaces, types = wanted.get("marketplaceIds"), wanted.get("orderChangeTypes")
    summary = change.get("Summary") or {}
    return (not marketplaces or summary.get("MarketplaceId") in marketplaces) and (
        not types or change.get("OrderChangeType") in types
    )


def _camel(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The envelope in the other spelling; the payload keeps its own."""
    spelt = {name[0].lower() + name[1:]: value for name, value in envelope.items()}
    spelt["notificationMetadata"] = {
        name[0].lower() + name[1:]: value for name, value in envelope["NotificationMetadata"].items()
    }
    return spelt


def _milliseconds(wall: float) -> str:
    return f"{utc_at(wall)[:-1]}.{int(wall * 1000) % 1000:03d}Z"
