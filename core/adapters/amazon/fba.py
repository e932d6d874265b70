"""What lies in Amazon's warehouses: read, never written.

Only `fulfillableQuantity` can be sold: what waits for pending orders is taken out of it already, while `totalQuantity`
counts what is still on its way there. Source: models/fba-inventory-api-model (v1) of
github.com/amzn/selling-partner-api-models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.models import OrEmpty, Part
from core.adapters.amazon.places import FBA_PLACE
from core.adapters.http import Refused, ServerFault
from core.ports import LevelObservation

OPERATION = "getInventorySummaries"
SKUS_PER_CALL = 50
BEGINNINGS = 4
"""How often a reading is begun: the token of a next page dies 30 seconds after it is made, and nobody waits for us."""


class _Details(Part):
    fulfillable_quantity: Annotated[int | None, Field(strict=True)] = None


class _Summary(Part):
    seller_sku: str | None = None
    fn_sku: str | None = None
    inventory_details: _Details | None = None


class _Payload(Part):
    inventory_summaries: Annotated[tuple[_Summary, ...], OrEmpty] = ()


class _Pagination(Part):
    next_token: str | None = None


class _Answer(Part):
    payload: _Payload | None = None
    pagination: _Pagination | None = None


class FbaInventory:
    """Reads one seller's stock at Amazon, as one marketplace sees it."""

    def __init__(self, partner: SellingPartner, marketplace: str, now: Callable[[], datetime]) -> None:
        self._partner, self._marketplace, self._now = partner, marketplace, now

    def all(self) -> list[LevelObservation]:
        """Everything that Amazon keeps or has kept, each SKU once.

        Read to the end before anything is done with it, or the token of the next page would die meanwhile; where one
        dies all the same, the reading begins again. Raises Refused after a few of those.
        """
        for beginning in range(1, BEGINNINGS + 1):
            try:
                return self._whole()
            except _TokenDied as died:
                if beginning == BEGINNINGS:
                    raise died.refused from None
        raise AssertionError("the last reading returns or raises")

    def levels(self, skus: Sequence[str]) -> list[LevelObservation]:
        """What can be sold of some SKUs; one that Amazon does not keep is left out."""
        wanted = list(dict.fromkeys(skus))
        # The SKUs travel as a comma-separated list, so one with a comma can only be asked for alone.
        alone = [sku for sku in wanted if "," in sku]
        together = [sku for sku in wanted if "," not in sku]
        found: list[LevelObservation] = []
        for sku in alone:
            found += self._page({"sellerSku": sku})[0]
        for start in range(0, len(together), SKUS_PER_CALL):
            found += self._page({"sellerSkus": ",".join(together[start : start + SKUS_PER_CALL])})[0]
        return found

    def _whole(self) -> list[LevelObservation]:
        found: dict[str, LevelObservation] = {}
        token: str | None = None
        while True:
            try:
                levels, following = self._page({} if token is None else {"nextToken": token})
            except Refused as error:
                if token is None:
                    raise
                raise _TokenDied(error) from error
            found.update((level.inventory_ref, level) for level in levels)
            if not following:
                return list(found.values())
            if following == token:
                raise ServerFault(OPERATION, "the next page is the one that was just read")
            token = following

    def _page(self, more: dict[str, str]) -> tuple[list[LevelObservation], str | None]:
        seen_at = self._now()
        params = {
            "details": "true",
            "granularityType": "Marketplace",
            "granularityId": self._marketplace,
            "marketplaceIds": self._marketplace,
            **more,
        }
        answer = _Answer.read(self._partner.run(OPERATION, params=params))
        if answer is None or answer.payload is None:
            raise ServerFault(OPERATION, "an answer that cannot be read")
        levels = [
            LevelObservation(row.seller_sku, FBA_PLACE, _fulfillable(row), seen_at)
            for row in answer.payload.inventory_summaries
            if row.seller_sku
        ]
        return levels, answer.pagination.next_token if answer.pagination else None


class _TokenDied(Exception):
    """The page that was to come is not given any more."""

    def __init__(self, refused: Refused) -> None:
        super().__init__()
        self.refused = refused


def _fulfillable(row: _Summary) -> int | None:
    return row.inventory_details.fulfillable_quantity if row.inventory_details else None
