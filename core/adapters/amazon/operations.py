"""Every operation of the Selling Partner API that we ask for: where it is, and its usage plan until answers say more.

Sources: the models of github.com/amzn/selling-partner-api-models (2026-08-05), whose descriptions carry the plans;
developer-docs.amazon.com/sp-api/docs/grantless-operations for `scope`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from core.adapters.http import CallKind
from core.ports import Effect

_VERSION = re.compile(r"v\d+|\d{4}-\d{2}-\d{2}")

NOTIFICATIONS_SCOPE = "sellingpartnerapi::notifications"
ROTATION_SCOPE = "sellingpartnerapi::client_credential:rotation"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `rate` in requests a second, `burst` the size of the bucket.

    `path` has its parameters in braces. `kind` and `effect` are as in core.adapters.http.Call. `scope`: it is asked for
    in the application's own name, not the seller's.
    """

    name: str
    method: str
    path: str
    rate: float
    burst: float
    kind: CallKind = "read"
    effect: Effect | None = None
    scope: str | None = None

    @property
    def version(self) -> str:
        """The version of the API, as it stands in the path."""
        return next(part for part in self.path.split("/") if _VERSION.fullmatch(part))

    def at(self, places: Mapping[str, str]) -> str:
        """The path with its parameters filled in, each escaped whole: ids and SKUs are free text."""
        return self.path.format(**{name: quote(value, safe="") for name, value in places.items()})


_ALL = (
    Operation("getMarketplaceParticipations", "GET", "/sellers/v1/marketplaceParticipations", 0.016, 15),
    Operation("searchListingsItems", "GET", "/listings/2021-08-01/items/{seller}", 5.0, 5),
    Operation("getListingsItem", "GET", "/listings/2021-08-01/items/{seller}/{sku}", 5.0, 10),
    Operation("patchListingsItem", "PATCH", "/listings/2021-08-01/items/{seller}/{sku}", 5.0, 5, "once"),
    Operation("searchOrders", "GET", "/orders/2026-01-01/orders", 0.0056, 20),
    Operation("getOrder", "GET", "/orders/2026-01-01/orders/{order}", 0.5, 30),
    # The same package again is an edit to what it says already.
    Operation("confirmShipment", "POST", "/orders/v0/orders/{order}/shipmentConfirmation", 2.0, 10, "idempotent"),
    # A document alone does nothing: only a feed that names it does.
    Operation("createFeedDocument", "POST", "/feeds/2021-06-30/documents", 0.5, 15, "idempotent"),
    Operation("createFeed", "POST", "/feeds/2021-06-30/feeds", 0.0083, 15, "once"),
    Operation("getFeed", "GET", "/feeds/2021-06-30/feeds/{feed}", 2.0, 15),
    Operation("getFeeds", "GET", "/feeds/2021-06-30/feeds", 0.0222, 10),
    Operation("cancelFeed", "DELETE", "/feeds/2021-06-30/feeds/{feed}", 2.0, 15, "idempotent"),
    Operation("getFeedDocument", "GET", "/feeds/2021-06-30/documents/{document}", 0.0222, 10),
    Operation("getInventorySummaries", "GET", "/fba/inventory/v1/summaries", 2.0, 2),
    Operation(
        "createDestination", "POST", "/notifications/v1/destinations", 1.0, 5, "once", "subscription",
        NOTIFICATIONS_SCOPE,
    ),
    Operation("getDestinations", "GET", "/notifications/v1/destinations", 1.0, 5, scope=NOTIFICATIONS_SCOPE),
    Operation("getSubscription", "GET", "/notifications/v1/subscriptions/{type}", 1.0, 5),
    Operation("createSubscription", "POST", "/notifications/v1/subscriptions/{type}", 1.0, 5, "once", "subscription"),
    Operation(
        "deleteSubscriptionById", "DELETE", "/notifications/v1/subscriptions/{type}/{subscription}", 1.0, 5,
        "idempotent", "subscription", NOTIFICATIONS_SCOPE,
    ),
)  # fmt: skip

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _ALL}
"""By the vendor's operation id."""
