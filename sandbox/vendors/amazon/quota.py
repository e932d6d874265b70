"""The usage plans of the operations served here, per application and seller."""

from sandbox.buckets import Bucket
from sandbox.clock import AnyClock

# Calls a second and burst, as the vendor's models document them.
PLANS = {
    "getMarketplaceParticipations": (0.016, 15),
    "getListingsItem": (5.0, 10),
    "searchListingsItems": (5.0, 5),
    "patchListingsItem": (5.0, 5),
    "getSubscriptions": (1.0, 5),
    "getSubscription": (1.0, 5),
    "createSubscription": (1.0, 5),
    "getSubscriptionById": (1.0, 5),
    "deleteSubscriptionById": (1.0, 5),
    "getDestinations": (1.0, 5),
    "createDestination": (1.0, 5),
    "getDestination": (1.0, 5),
    "deleteDestination": (1.0, 5),
    "searchOrders": (0.0056, 20),
    "getOrder": (0.5, 30),
    "confirmShipment": (2.0, 10),
    "createFeedDocument": (0.5, 15),
    "createFeed": (0.0083, 15),
    "getFeed": (2.0, 15),
    "getFeeds": (0.0222, 10),
    "cancelFeed": (2.0, 15),
    "getFeedDocument": (0.0222, 10),
    "createReport": (0.0167, 15),
    "getReport": (2.0, 15),
    "getReportDocument": (0.0167, 15),
    "getInventorySummaries": (2.0, 2),
}
# Operations of the vendor's own sandbox alone have no plan but the one it has for everything.
SANDBOX_PLAN = (5.0, 15)
SANDBOX_OPERATIONS = ("createInventoryItem", "addInventory", "deleteInventoryItem")


class Quota:
    def __init__(self, clock: AnyClock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, str], Bucket] = {}

    def take(self, operation: str, client_id: str, seller_id: str) -> bool:
        rate, burst = _plan(operation)
        now = self._clock.now()
        who = (operation, client_id, seller_id)
        bucket = self._buckets.setdefault(who, Bucket.full(burst, rate, now))
        return bucket.take(1, now)


def limit_header(operation: str) -> dict[str, str]:
    return {"x-amzn-RateLimit-Limit": str(_plan(operation)[0])}


def _plan(operation: str) -> tuple[float, int]:
    return SANDBOX_PLAN if operation in SANDBOX_OPERATIONS else PLANS[operation]
