"""Access scopes of a shop's one app: what it may read and write, and how the vendor says no."""

from functools import lru_cache

from graphql import GraphQLError

from sandbox.errors import Refused
from sandbox.store import Row, Store

DEFAULT = (
    "read_draft_orders",
    "read_fulfillments",
    "read_inventory",
    "read_locations",
    "read_merchant_managed_fulfillment_orders",
    "read_orders",
    "read_products",
    "write_fulfillments",
    "write_inventory",
    "write_merchant_managed_fulfillment_orders",
    "write_orders",
    "write_products",
)
# Granted on request only: without it an order older than sixty days is not there.
ALL_ORDERS = "read_all_orders"
ORDER_DAYS = 60
KNOWN = frozenset(
    (
        *DEFAULT,
        ALL_ORDERS,
        # Of the kinds of fulfilment orders that these show there are none here.
        "read_assigned_fulfillment_orders",
        "read_third_party_fulfillment_orders",
        "write_draft_orders",
        "write_locations",
    )
)
READS_FULFILMENT_ORDERS = ("read_merchant_managed_fulfillment_orders",)
WRITES_FULFILMENT_ORDERS = ("write_merchant_managed_fulfillment_orders",)

# What a subscription needs, by the first word of its topic; the others need nothing.
OF_TOPICS = {
    "draft_orders": ("read_draft_orders",),
    "fulfillment_events": ("read_fulfillments", "read_orders"),
    "fulfillment_orders": READS_FULFILMENT_ORDERS,
    "fulfillments": ("read_fulfillments", "read_orders"),
    "inventory_items": ("read_inventory",),
    "inventory_levels": ("read_inventory",),
    "locations": ("read_locations",),
    "orders": ("read_orders",),
    "products": ("read_products",),
    "refunds": ("read_orders",),
}


def granted(shop: Row) -> frozenset[str]:
    """Everything the app may do; whoever may write may read."""
    return _granted(shop["scopes"])


@lru_cache(maxsize=64)
def _granted(text: str | None) -> frozenset[str]:
    given = DEFAULT if text is None else text.split(",") if text else ()
    return frozenset((*given, *(f"read_{name[6:]}" for name in given if name.startswith("write_"))))


def listed(shop: Row) -> list[str]:
    return sorted(granted(shop))


def change(store: Store, shop: Row, wanted: list[str]) -> None:
    """Grants exactly these to the app. Raises Refused for one that the sandbox does not know."""
    if unknown := sorted(set(wanted) - KNOWN):
        raise Refused("unknown_scope", f"The scope {unknown[0]!r} is none of {', '.join(sorted(KNOWN))}.")
    with store.transaction():
        store.run("update shops set scopes = ? where id = ?", (",".join(sorted(wanted)), shop["id"]))


def check(shop: Row, field: str, *any_of: str) -> None:
    """Raises GraphQLError unless the app has one of the scopes."""
    if granted(shop).isdisjoint(any_of):
        needed = " or ".join(f"`{name}`" for name in any_of)
        raise GraphQLError(
            f"Access denied for {field} field. Required access: {needed} access scope.",
            extensions={
                "code": "ACCESS_DENIED",
                "documentation": "https://shopify.dev/api/usage/access-scopes",
                "requiredAccess": f"{needed} access scope.",
            },
        )


def may_hear(shop: Row, topic: str) -> bool:
    needed = OF_TOPICS.get(topic.split("/")[0])
    return needed is None or not granted(shop).isdisjoint(needed)
