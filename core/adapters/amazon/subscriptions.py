"""Having Amazon put its notifications into a seller's queue: one destination, and one subscription a type.

Source: models/notifications-api-model of github.com/amzn/selling-partner-api-models; types and payload versions:
developer-docs.amazon.com/sp-api/docs/notification-type-values. A seller and an application have one subscription to a
type and a payload version, wherever it leads: so it serves every marketplace of the seller, and it is never filtered by
one.

LISTINGS_ITEM_STATUS_CHANGE and LISTINGS_ITEM_ISSUES_CHANGE are not asked for: what they tell is read with the
catalogue. APPLICATION_OAUTH_CLIENT_* are not asked for here but in the developer console, by a person; where they lead
into the same queue they are taken care of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.envelopes import NOTIFICATION
from core.adapters.amazon.queues import Queue
from core.adapters.http import OutcomeUnknown, Refused, Unauthorised
from core.ports import ChannelSubscription, SubscriptionState

NAME = "switchyard"
"""What people see in a list of destinations."""

_NOT_FOUND, _CONFLICT = 404, 409


@dataclass(frozen=True, slots=True)
class Wanted:
    """A type that we use, the version of its payload that we read, and its filter. `is_needed`: not merely advised."""

    kind: str
    version: str
    event_filter: Mapping[str, Any] | None = None
    is_needed: bool = False

    @property
    def topic(self) -> str:
        """Its topic in the inbox."""
        return NOTIFICATION + self.kind

    def directive(self) -> dict[str, Any]:
        """What the request says of the processing; nothing where all is wanted."""
        return {} if self.event_filter is None else {"processingDirective": {"eventFilter": dict(self.event_filter)}}


WANTED = (
    Wanted(
        "ORDER_CHANGE",
        "1.0",
        # A tip changes nothing that is stocked.
        {"eventFilterType": "ORDER_CHANGE", "orderChangeTypes": ["BuyerRequestedChange", "OrderStatusChange"]},
        is_needed=True,
    ),
    Wanted("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", "1.0"),
    Wanted("FBA_INVENTORY_AVAILABILITY_CHANGES", "1.0"),
    Wanted("FEED_PROCESSING_FINISHED", "2020-09-04"),
    Wanted("REPORT_PROCESSING_FINISHED", "2020-09-04"),
)


def closed(problem: str) -> list[ChannelSubscription]:
    """Every topic as it is while nothing can come into the queue."""
    return [ChannelSubscription(each.topic, "refused", was_missing=True, problem=problem) for each in WANTED]


def ensure(
    partner: SellingPartner, queue: Queue, repair: bool = True, known: Collection[str] = ()
) -> list[ChannelSubscription]:
    """Create and replace until each type leads into the queue; without `repair` only look.

    Ours are those that lead into the queue, those that lead to a destination that is gone, and the `known`. One that
    leads elsewhere belongs to another installation and is left alone. A type that the application may not have, or
    that Amazon refuses, does not hold up the others.
    """
    destinations = _destinations(partner)
    ours = next((ref for ref, arn in destinations.items() if arn == queue.arn), None)
    if ours is None and repair:
        try:
            ours = _make_destination(partner, queue)
        except (Refused, Unauthorised, OutcomeUnknown) as error:
            return [_unmade(each, error, was_missing=True) for each in WANTED]
    look = _Look(partner, ours, frozenset(destinations), frozenset(known), repair)
    return [look.ensure(each) for each in WANTED]


def _destinations(partner: SellingPartner) -> dict[str, str | None]:
    """The ARN of each destination of the application's, by id; None for what is no queue."""
    found = partner.run("getDestinations").get("payload") or []
    return {
        str(one.get("destinationId")): ((one.get("resource") or {}).get("sqs") or {}).get("arn")
        for one in found
        if isinstance(one, dict)
    }


def _make_destination(partner: SellingPartner, queue: Queue) -> str:
    body = {"name": NAME, "resourceSpecification": {"sqs": {"arn": queue.arn}}}
    try:
        made = partner.run("createDestination", body=body)
    except Refused as error:
        if error.status != _CONFLICT:
            raise
        # Somebody made it at the same moment.
        found = next((ref for ref, arn in _destinations(partner).items() if arn == queue.arn), None)
        if found is None:
            raise
        return found
    return str((made.get("payload") or {}).get("destinationId") or "")


@dataclass(frozen=True, slots=True)
class _Look:
    """What is needed to look at one type: the destination that is ours, all there are, and what was ours before."""

    partner: SellingPartner
    ours: str | None
    destinations: frozenset[str]
    known: frozenset[str]
    repair: bool

    def ensure(self, wanted: Wanted) -> ChannelSubscription:
        try:
            return self._ensure(wanted)
        except (Refused, Unauthorised, OutcomeUnknown) as error:
            return _unmade(wanted, error, was_missing=True)

    def _ensure(self, wanted: Wanted) -> ChannelSubscription:
        found = self._found(wanted)
        if found is not None and self._is_right(wanted, found):
            return ChannelSubscription(wanted.topic, "standing", str(found["subscriptionId"]))
        if found is not None and not self._is_ours(found):
            return ChannelSubscription(wanted.topic, "refused", was_missing=True, problem=_ELSEWHERE)
        # A filter of old lets come what it lets come; what leads elsewhere brings us nothing.
        was_missing = found is None or found.get("destinationId") != self.ours
        if not self.repair:
            return ChannelSubscription(wanted.topic, "missing", was_missing=was_missing)
        if found is not None:
            at = {"type": wanted.kind, "subscription": str(found["subscriptionId"])}
            self.partner.run("deleteSubscriptionById", at)
        body = {"payloadVersion": wanted.version, "destinationId": self.ours, **wanted.directive()}
        made = self.partner.run("createSubscription", {"type": wanted.kind}, body=body).get("payload") or {}
        ref = str(made.get("subscriptionId") or "")
        return ChannelSubscription(wanted.topic, "standing", ref, is_changed=True, was_missing=was_missing)

    def _found(self, wanted: Wanted) -> Mapping[str, Any] | None:
        """The seller's subscription to the type, if there is one."""
        try:
            at, version = {"type": wanted.kind}, {"payloadVersion": wanted.version}
            answer = self.partner.run("getSubscription", at, version, asks_whether=True)
        except Refused as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        payload = answer.get("payload")
        return payload if isinstance(payload, dict) and payload.get("subscriptionId") else None

    def _is_right(self, wanted: Wanted, found: Mapping[str, Any]) -> bool:
        said = (found.get("processingDirective") or {}).get("eventFilter")
        return found.get("destinationId") == self.ours and _same_filter(said, wanted.event_filter)

    def _is_ours(self, found: Mapping[str, Any]) -> bool:
        leads_to = found.get("destinationId")
        return leads_to == self.ours or leads_to not in self.destinations or found.get("subscriptionId") in self.known


_ELSEWHERE = (
    "the application's notifications of this type go into another queue, and there can be one subscription to a type:"
    " give this connection the same queue_url, or remove the subscription there"
)


def _same_filter(said: Any, wanted: Mapping[str, Any] | None) -> bool:
    """Whether a filter lets through what is wanted: empty parts filter nothing, and lists have no order."""
    return _sorted_filter(said) == _sorted_filter(wanted)


def _sorted_filter(given: Any) -> dict[str, Any]:
    parts = given.items() if isinstance(given, Mapping) else ()
    return {name: sorted(map(str, part)) if isinstance(part, Sequence) and not isinstance(part, str) else part
            for name, part in parts if part}  # fmt: skip


def _unmade(
    wanted: Wanted, error: Refused | Unauthorised | OutcomeUnknown, *, was_missing: bool
) -> ChannelSubscription:
    """One that does not stand; a type for which the application lacks a role is no more than advised."""
    if isinstance(error, Unauthorised):
        problem = (
            f"the application may not have this type ({error.reason}): give it the role that the type needs in the"
            " developer console, and have the seller authorise it again"
        )
        return ChannelSubscription(
            wanted.topic, "refused", was_missing=was_missing, problem=problem, is_advised=not wanted.is_needed
        )
    state: SubscriptionState = "refused" if isinstance(error, Refused) else "missing"
    why = error.reason if isinstance(error, Refused) else str(error)
    return ChannelSubscription(wanted.topic, state, was_missing=was_missing, problem=why)
