"""Having Shopify call us: one webhook subscription a topic.

Source: shopify.dev/docs/api/admin-graphql/latest/mutations/webhookSubscriptionCreate. Shopify deletes subscriptions
whose deliveries fail for long, so this is run again and again, and does nothing when all is well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.adapters.http import Refused
from core.adapters.shopify import documents
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.parsing import TOPICS
from core.adapters.shopify.reading import pages

NAME = "switchyard"
"""Marks a subscription as ours, so that those of the same app for other purposes are left alone."""


def ensure(graphql: GraphQL, address: str) -> int:
    """Create, redirect and remove until each topic calls `address` exactly once; returns how many were changed."""
    found = [
        node
        for page in pages(graphql, "subscriptions", documents.SUBSCRIPTIONS, ("webhookSubscriptions",), {})
        for node in page
    ]
    return sum(_ensure_topic(graphql, topic, _ours(found, topic, address), address) for topic in TOPICS)


def _ours(found: Sequence[dict[str, Any]], topic: str, address: str) -> list[dict[str, Any]]:
    """Those of the topic that are ours, the right ones first."""
    code = _code(topic)
    ours = [one for one in found if one["topic"] == code and (one["uri"] == address or one["name"] == NAME)]
    return sorted(ours, key=lambda one: one["uri"] != address)


def _ensure_topic(graphql: GraphQL, topic: str, ours: Sequence[dict[str, Any]], address: str) -> int:
    wanted = {"uri": address, "format": "JSON", "name": NAME}
    changed = 0
    if not ours:
        variables = {"topic": _code(topic), "subscription": wanted}
        _change(graphql, "subscribe", documents.SUBSCRIBE, variables, "webhookSubscriptionCreate", "once")
        changed += 1
    elif ours[0]["uri"] != address:
        variables = {"id": ours[0]["id"], "subscription": wanted}
        _change(graphql, "resubscribe", documents.RESUBSCRIBE, variables, "webhookSubscriptionUpdate", "idempotent")
        changed += 1
    for surplus in ours[1:]:
        variables = {"id": surplus["id"]}
        _change(graphql, "unsubscribe", documents.UNSUBSCRIBE, variables, "webhookSubscriptionDelete", "once")
        changed += 1
    return changed


def _change(graphql: GraphQL, name: str, document: str, variables: Mapping[str, Any], result: str, kind: Any) -> None:
    """Raises Refused with everything Shopify objects to."""
    errors = (graphql.run(name, document, variables, kind, "subscription").get(result) or {}).get("userErrors") or []
    if errors:
        raise Refused(name, 200, "USER_ERROR", "; ".join(str(error.get("message")) for error in errors))


def _code(topic: str) -> str:
    """orders/create is ORDERS_CREATE to GraphQL."""
    return topic.replace("/", "_").upper()
