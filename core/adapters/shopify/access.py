"""Whose shop it is, and what our app may do there.

A missing scope is not always an error: orders older than 60 days, and fulfilment orders of a kind we may not see, are
simply not listed. So what was granted has to be known.

Sources: shopify.dev/docs/api/usage/access-scopes, .../docs/api/usage/versioning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from core.adapters.shopify import documents, nodes
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.reading import as_model
from core.ports import ChannelAccount

NEEDED: Mapping[str, str] = {
    "read_products": "to read what the shop sells",
    "read_inventory": "to read what it shows",
    "write_inventory": "to set what it shows",
    "read_locations": "to know where it keeps stock",
    "read_orders": "to know what it sold",
}
"""Without one of these the adapter cannot work."""

READ_ALL_ORDERS = "read_all_orders"
ORDERS_SHOWN_FOR = timedelta(days=60)

ADVISED: Mapping[str, str] = {
    READ_ALL_ORDERS: "to see changes of orders older than 60 days",
    "read_merchant_managed_fulfillment_orders": "to see what is to be shipped from the shop's own locations",
    "write_products": "to write products that are mastered here",
    "read_third_party_fulfillment_orders": "to see what is to be shipped by fulfilment services",
    "read_assigned_fulfillment_orders": "to see what is to be shipped from locations of our own app",
}
"""Without one of these something stays unseen, and Shopify does not say so; or cannot be written."""

FULFILMENT_ORDER_SCOPES = tuple(scope for scope in ADVISED if scope.endswith("_fulfillment_orders"))

ADVISED_FOR_TOPICS: Mapping[str, Collection[str]] = {
    "fulfillment_orders/order_routing_complete": FULFILMENT_ORDER_SCOPES,
}
"""Topics that are refused unless one of these is granted; of the others Shopify tells whoever has `NEEDED`."""

_SUPPORTED_YEARS = 1


def about(graphql: GraphQL) -> ChannelAccount:
    """The shop's own answer."""
    answer = as_model(nodes.About, graphql.run("about", documents.ABOUT, {}), "about")
    granted = _granted(answer)
    shop = answer.shop
    return ChannelAccount(
        ref=shop.myshopify_domain,
        name=shop.name or shop.myshopify_domain,
        currency=shop.currency_code,
        time_zone=shop.iana_timezone,
        plan=shop.plan.public_display_name if shop.plan else None,
        granted=granted,
        missing={scope: why for scope, why in NEEDED.items() if scope not in granted},
        advised={scope: why for scope, why in ADVISED.items() if scope not in granted},
        api_version=documents.API_VERSION,
        supported_until=supported_until(documents.API_VERSION),
    )


def lacking_for(graphql: GraphQL, topic: str) -> Collection[str]:
    """The scopes of which one would be needed to hear of a topic, where none of them is granted; else nothing."""
    wanted = ADVISED_FOR_TOPICS.get(topic, ())
    if not wanted:
        return ()
    granted = _granted(as_model(nodes.About, graphql.run("about", documents.ABOUT, {}), "about"))
    return wanted if granted.isdisjoint(wanted) else ()


def refused(graphql: GraphQL, scope: str) -> str | None:
    """What is lacking, as a part of a sentence, where a scope is not granted; None where it is."""
    granted = _granted(as_model(nodes.About, graphql.run("about", documents.ABOUT, {}), "about"))
    return None if scope in granted else f"the scope {scope} is not granted"


def _granted(answer: nodes.About) -> frozenset[str]:
    return with_implied(scope.handle for scope in answer.current_app_installation.access_scopes)


def with_implied(handles: Iterable[str]) -> frozenset[str]:
    """Scopes with those they bring along: whoever may write may read."""
    found = set(handles)
    return frozenset(found | {f"read_{scope.removeprefix('write_')}" for scope in found if scope.startswith("write_")})


def supported_until(version: str) -> datetime:
    """When Shopify may stop answering a version YYYY-MM: twelve months after its release, at 17:00 UTC."""
    year, month = (int(part) for part in version.split("-"))
    return datetime(year + _SUPPORTED_YEARS, month, 1, 17, tzinfo=UTC)
