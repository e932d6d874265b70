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
}


class Quota:
    def __init__(self, clock: AnyClock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, str], Bucket] = {}

    def take(self, operation: str, client_id: str, seller_id: str) -> bool:
        rate, burst = PLANS[operation]
        now = self._clock.now()
        who = (operation, client_id, seller_id)
        bucket = self._buckets.setdefault(who, Bucket.full(burst, rate, now))
        return bucket.take(1, now)


def limit_header(operation: str) -> dict[str, str]:
    return {"x-amzn-RateLimit-Limit": str(PLANS[operation][0])}
