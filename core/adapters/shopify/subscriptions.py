"""Having Shopify call us: one webhook subscription a topic.

Source: shopify.dev/docs/api/admin-graphql/latest/mutations/webhookSubscriptionCreate. Shopify deletes subscriptions
whose deliveries fail for long, so this is run again and again, and does nothing when all is well.

Ours are whole bodies, all of them: with `includeFields` that leave out what changes at every turn, Shopify drops
deliveries as duplicates, and a body without its lines cannot be read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.adapters.http import OutcomeUnknown, Refused
from core.adapters.shopify import access, documents
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.parsing import SUBSCRIBED
from core.adapters.shopify.reading import pages
from core.ports import ChannelSubscription, SubscriptionState

NAME = "switchyard"
"""What people see in a list of subscriptions. It tells nobody whose: other installations of us call theirs so too."""


def ensure(
    graphql: GraphQL, address: str, repair: bool = True, known: Collection[str] = ()
) -> list[ChannelSubscription]:
    """Create, redirect and remove until each topic calls `address` exactly once; without `repair` only look.

    Ours are those that call `address`, and the `known`: their ids are kept, so that they follow when we move. Whatever
    else the app has there belongs to another connection, another installation or another purpose, and is left alone.
    A topic that Shopify refuses (a scope is missing, the address is not to its liking) does not hold up the others.
    A creation without an answer is not repeated but looked for the next time: it takes no idempotency key.
    """
    found = [
        node
        for page in pages(graphql, "subscriptions", documents.SUBSCRIPTIONS, ("webhookSubscriptions",), {})
        for node in page
    ]
    made = [_Topic(graphql, topic, address, _ours(found, topic, address, known)).ensure(repair) for topic in SUBSCRIBED]
    return [item if item.state == "standing" else _explained(graphql, item) for item in made]


def _explained(graphql: GraphQL, item: ChannelSubscription) -> ChannelSubscription:
    """One that does not call us; where that is for want of a scope that is only advised, it says so."""
    lacking = access.lacking_for(graphql, item.topic)
    if not lacking:
        return item
    return replace(item, is_advised=True, problem=f"one of these scopes is needed for it: {', '.join(lacking)}")


def _ours(found: Sequence[dict[str, Any]], topic: str, address: str, known: Collection[str]) -> list[dict[str, Any]]:
    """Those of the topic that are ours, the right ones first."""
    code = _code(topic)
    ours = [one for one in found if one["topic"] == code and (one["uri"] == address or one["id"] in known)]
    return sorted(ours, key=lambda one: not _is_right(one, address))


def _is_right(one: Mapping[str, Any], address: str) -> bool:
    """Whether it brings us every delivery, whole."""
    return bool(one["uri"] == address and not one.get("filter") and not one.get("includeFields"))


@dataclass(frozen=True, slots=True)
class _Topic:
    """One topic, with the subscriptions of ours that were found for it."""

    graphql: GraphQL
    topic: str
    address: str
    ours: Sequence[dict[str, Any]]

    def ensure(self, repair: bool) -> ChannelSubscription:
        is_right = bool(self.ours) and _is_right(self.ours[0], self.address)
        if is_right and (len(self.ours) == 1 or not repair):
            return ChannelSubscription(self.topic, "standing", self.ours[0]["id"])
        if not repair:
            return ChannelSubscription(self.topic, "missing", was_missing=not self.ours)
        try:
            ref = self._repair(is_right)
        except (Refused, OutcomeUnknown) as error:
            state: SubscriptionState = "refused" if isinstance(error, Refused) else "missing"
            return ChannelSubscription(self.topic, state, was_missing=not self.ours, problem=_why(error))
        return ChannelSubscription(self.topic, "standing", ref, is_changed=True, was_missing=not self.ours)

    def _repair(self, is_right: bool) -> str:
        """The id of the one that stands afterwards."""
        wanted: dict[str, Any] = {
            "uri": self.address,
            "format": "JSON",
            "name": NAME,
            "filter": None,
            "includeFields": [],
        }
        if not self.ours:
            variables = {"topic": _code(self.topic), "subscription": wanted}
            made = _change(
                self.graphql, "subscribe", documents.SUBSCRIBE, variables, "webhookSubscriptionCreate", "once"
            )
            return str((made.get("webhookSubscription") or {}).get("id") or "")
        ref = str(self.ours[0]["id"])
        if not is_right:
            variables = {"id": ref, "subscription": wanted}
            _change(
                self.graphql,
                "resubscribe",
                documents.RESUBSCRIBE,
                variables,
                "webhookSubscriptionUpdate",
                "idempotent",
            )
        for surplus in self.ours[1:]:
            variables = {"id": surplus["id"]}
            _change(self.graphql, "unsubscribe", documents.UNSUBSCRIBE, variables, "webhookSubscriptionDelete", "once")
        return ref


def _change(
    graphql: GraphQL, name: str, document: str, variables: Mapping[str, Any], result: str, kind: Any
) -> Mapping[str, Any]:
    """What the mutation answers. Raises Refused with everything Shopify objects to."""
    answer: Mapping[str, Any] = graphql.run(name, document, variables, kind, effect="subscription").get(result) or {}
    errors = answer.get("userErrors") or []
    if errors:
        raise Refused(name, 200, "USER_ERROR", "; ".join(str(error.get("message")) for error in errors))
    return answer


def _why(error: Refused | OutcomeUnknown) -> str:
    return error.reason if isinstance(error, Refused) else str(error)


def _code(topic: str) -> str:
    """orders/create is ORDERS_CREATE to GraphQL."""
    return topic.replace("/", "_").upper()
