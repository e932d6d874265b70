"""Which role of the app an operation needs, for when Amazon refuses it to a token that was just given.

Any one of an operation's roles is enough. Sources: developer-docs.amazon.com/sp-api/docs/role-mappings,
.../role-mappings-for-types; what is grantless needs none.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.adapters.http import Unauthorised

LISTING = "Product Listing"
ORDERS = "Inventory and Order Tracking"
FULFILMENT = "Amazon Fulfillment"

ROLES: Mapping[str, tuple[str, ...]] = {
    "getMarketplaceParticipations": (LISTING,),
    "searchListingsItems": (LISTING,),
    "getListingsItem": (LISTING,),
    "patchListingsItem": (LISTING,),
    "searchOrders": (ORDERS,),
    "getOrder": (ORDERS,),
    "confirmShipment": (ORDERS,),
    "getInventorySummaries": (LISTING, FULFILMENT),
    "createFeedDocument": (LISTING, ORDERS),
    "createFeed": (LISTING, ORDERS),
    "getFeed": (LISTING, ORDERS),
    "getFeeds": (LISTING, ORDERS),
    "cancelFeed": (LISTING, ORDERS),
    "getFeedDocument": (LISTING, ORDERS),
    "getSubscription": (LISTING, ORDERS, FULFILMENT),
    "createSubscription": (LISTING, ORDERS, FULFILMENT),
}

GRANT_STEP = (
    "add the role {right} to your developer profile, wait for Amazon to approve it, tick it on the app's page and"
    " authorise the app again: a refresh token keeps the roles it was given with"
)


class RoleMissing(Unauthorised):
    """A token that was just given is refused for this operation: the app has no role for it there."""

    def __init__(self, operation: str, reason: str) -> None:
        self.operation = operation
        self.roles = ROLES.get(operation, ())
        named = " or ".join(self.roles)
        lacks = f"the role {named}" if named else "a role for it"
        super().__init__(
            operation,
            f"a new access token is refused too, so the app lacks {lacks}, or the account is one of another region:"
            f" {reason}",
            403,
        )
