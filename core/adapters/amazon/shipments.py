"""Telling Amazon what the seller shipped. Source: confirmShipment of ordersV0, which stays when v0's reads end."""

from __future__ import annotations

from datetime import UTC

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.markets import Markets
from core.adapters.http import Refused, WritesStopped
from core.errors import Permanent, Retryable
from core.ports import PackageAnswer, PackageSent


class Shipments:
    """Confirms packages for one seller in the marketplaces of a region that share its stock."""

    def __init__(self, partner: SellingPartner, markets: Markets) -> None:
        self._partner, self._markets = partner, markets

    def confirm(self, package: PackageSent) -> PackageAnswer:
        """204 without a body is success. What did not get through, or may have, is to be said again: it is the same."""
        try:
            body = self._body(package, self._marketplace_of(package.order_ref))
            self._partner.run("confirmShipment", {"order": package.order_ref}, body=body)
        except Refused as error:
            return PackageAnswer("refused", error.code or str(error.status), error.reason)
        except WritesStopped as error:
            return PackageAnswer("again", "WRITES_STOPPED", error.why)
        except (Retryable, Permanent) as error:
            return PackageAnswer("again", type(error).__name__.upper(), str(error))
        return PackageAnswer("confirmed")

    def _marketplace_of(self, order_ref: str) -> str:
        """Where it was placed: Amazon refuses a package of an order that is called another marketplace's."""
        if len(self._markets.since) == 1:
            return self._markets.own
        order = self._partner.run("getOrder", {"order": order_ref}).get("order")
        channel = order.get("salesChannel") if isinstance(order, dict) else None
        return str((channel.get("marketplaceId") if isinstance(channel, dict) else None) or self._markets.own)

    def _body(self, package: PackageSent, marketplace: str) -> dict[str, object]:
        shipped_at = package.shipped_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        detail: dict[str, object] = {
            "packageReferenceId": package.package_ref,
            "carrierCode": package.carrier_code,
            "trackingNumber": package.tracking_number,
            "shipDate": shipped_at,
            "orderItems": [{"orderItemId": ref, "quantity": units} for ref, units in package.items],
        }
        if package.carrier_name:
            detail["carrierName"] = package.carrier_name
        if package.ship_method:
            detail["shippingMethod"] = package.ship_method
        return {"marketplaceId": marketplace, "packageDetail": detail}
