"""A seller's listings: what is offered, what it shows, and setting the quantity that we ship ourselves.

Source: models/listings-items-api-model (2021-08-01) of github.com/amzn/selling-partner-api-models. Submissions write
snake_case attributes, reads answer in camelCase. A quantity is absolute and applied later: there is no comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.models import Item, SearchResults, Submission
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.adapters.base import urgency_of
from core.adapters.http import (
    Answer,
    OutcomeUnknown,
    Refused,
    ServerFault,
    Throttled,
    Unauthorised,
    Unreachable,
    Urgency,
    WritesStopped,
)
from core.errors import Permanent, Retryable
from core.ports import ChannelListing, LevelObservation, QuantityResult, QuantityWrite, WriteOutcome

OWN_STOCK = "DEFAULT"
"""The fulfilment channel of what the seller ships; every other is Amazon's (AMAZON_NA, AMAZON_EU, ...)."""

PAGE = 20
WINDOW_MAX = 1000
"""A search shows no more than so many items, however long it is paged."""


class Listings:
    """Reads and writes the listings of one seller in one marketplace."""

    def __init__(
        self, partner: SellingPartner, seller: str, marketplace: str, product_type: str, now: Callable[[], datetime]
    ) -> None:
        self._partner = partner
        self._seller = seller
        self._marketplace = marketplace
        self._product_type = product_type
        self._now = now

    def all(self, kept: Mapping[str, LevelObservation]) -> Iterator[Sequence[ChannelListing]]:
        """Every listing once, by page, oldest first. `kept` is what lies in Amazon's warehouses, by seller SKU.

        A search ends after a thousand items; the next one starts at the creation time of the last item seen, and what
        shares that time is told apart by SKU. Raises Permanent when a thousand items share one creation time.
        """
        after: datetime | None = None
        seen: set[str] = set()
        while True:
            shown = 0
            fresh = 0
            for items, seen_at in self._search_all(after):
                shown += len(items)
                new = [item for item in items if item.sku not in seen]
                fresh += len(new)
                seen.update(item.sku for item in new)
                after = max([after, *(item.created_at for item in items)], key=_or_oldest, default=after)
                if new:
                    yield [self._listing(item, seen_at, kept.get(item.sku)) for item in new]
            if shown < WINDOW_MAX:
                return
            if not fresh:
                reason = "more items share one creation time than can be paged"
                raise Refused("searchListingsItems", 200, "WINDOW_FULL", reason)

    def count(self) -> int:
        """How many listings there are."""
        results, _ = self._search({"includedData": "summaries", "pageSize": "1"})
        return results.number_of_results

    def levels(self, refs: Sequence[str], urgency: Urgency = "normal") -> Sequence[LevelObservation]:
        """Quantities in force, by seller SKU; SKUs that are not listed are left out."""
        wanted = list(dict.fromkeys(refs))
        # The identifiers travel as a comma-separated list, so a SKU with a comma can only be asked for alone.
        alone = [sku for sku in wanted if "," in sku]
        together = [sku for sku in wanted if "," not in sku]
        found = [self._one(sku, urgency) for sku in alone]
        levels = [level for level in found if level is not None]
        for start in range(0, len(together), PAGE):
            levels += self._several(together[start : start + PAGE], urgency)
        return levels

    def submitted(self, skus: Sequence[str]) -> dict[str, int]:
        """What was submitted last, by seller SKU; what says nothing of our own stock is left out."""
        # The identifiers travel as a comma-separated list.
        wanted = [sku for sku in dict.fromkeys(skus) if "," not in sku]
        found: dict[str, int] = {}
        for start in range(0, len(wanted), PAGE):
            results, _ = self._search(
                {
                    "identifiers": ",".join(wanted[start : start + PAGE]),
                    "identifiersType": "SKU",
                    "includedData": "attributes",
                    "pageSize": str(PAGE),
                }
            )
            for item in results.items:
                units = item.submitted_units(OWN_STOCK)
                if units is not None:
                    found[item.sku] = units
        return found

    def set_quantity(self, write: QuantityWrite) -> QuantityResult:
        """Submit one quantity, at most once: Amazon has no key by which it would know a repetition."""
        try:
            at, body = self._item(write.listing_ref), self._patch(write)
            answer = self._partner.run("patchListingsItem", at, self._where(), body, urgency=urgency_of([write]))
        except OutcomeUnknown as error:
            return _result(write, "unknown", "NO_ANSWER", str(error))
        except Throttled as error:
            return _result(write, "unsent", "QuotaExceeded", str(error))
        except Unreachable as error:
            return _result(write, "unsent", "UNREACHABLE", str(error))
        except WritesStopped as error:
            return _result(write, "unsent", "WRITES_STOPPED", error.why)
        except Unauthorised as error:
            return _result(write, "refused", "UNAUTHORISED", error.reason)
        except Refused as error:
            return _result(write, "refused", error.code, error.reason)
        except (Retryable, Permanent) as error:
            # Before the call could leave: no token was to be had.
            return _result(write, "unsent", "NO_TOKEN", str(error))
        return self._submitted(write, answer)

    def _submitted(self, write: QuantityWrite, answer: dict[str, Any]) -> QuantityResult:
        """Status 200 alone means nothing: ACCEPTED is queued, INVALID is refused."""
        submission = Submission.read(answer)
        if submission is None:
            return _result(write, "unknown", "NO_ANSWER", "an answer without its status")
        if submission.status == "ACCEPTED":
            return QuantityResult(write.write_id, "accepted", at=self._now(), submission_ref=submission.submission_id)
        code, detail = submission.complaint()
        return QuantityResult(write.write_id, "refused", code, detail, submission_ref=submission.submission_id)

    def _patch(self, write: QuantityWrite) -> dict[str, Any]:
        return {"productType": self._product_type, "patches": [quantity_patch(write.to_units)]}

    def _several(self, skus: Sequence[str], urgency: Urgency) -> list[LevelObservation]:
        results, answer = self._search(
            {
                "identifiers": ",".join(skus),
                "identifiersType": "SKU",
                "includedData": "summaries,fulfillmentAvailability",
                "pageSize": str(PAGE),
            },
            urgency,
        )
        return [_level(item, answer.left_at) for item in results.items]

    def _one(self, sku: str, urgency: Urgency) -> LevelObservation | None:
        params = {**self._where(), "includedData": "summaries,fulfillmentAvailability"}
        try:
            answer = self._partner.answer("getListingsItem", self._item(sku), params, urgency=urgency)
        except Refused as error:
            if error.status == 404:
                return None
            raise
        item = Item.read(answer.data)
        if item is None:
            raise ServerFault("getListingsItem", "an answer that cannot be read")
        return _level(item, answer.left_at)

    def _search_all(self, created_after: datetime | None) -> Iterator[tuple[Sequence[Item], datetime]]:
        """Items by page, and when they surely were so: by Amazon's clock or ours, whichever is the earlier.

        What was sold is dated by Amazon's. A number that is thought to be younger than it is would have in it what was
        sold after it was read.
        """
        params = {
            "includedData": "summaries,attributes,issues,fulfillmentAvailability",
            "sortBy": "createdDate",
            "sortOrder": "ASC",
            "pageSize": str(PAGE),
        }
        if created_after is not None:
            params["createdAfter"] = created_after.isoformat().replace("+00:00", "Z")
        while True:
            results, answer = self._search(params)
            yield results.items, answer.left_at if answer.as_of is None else min(answer.left_at, answer.as_of)
            if results.next_token is None:
                return
            params = {**params, "pageToken": results.next_token}

    def _search(self, params: dict[str, str], urgency: Urgency = "normal") -> tuple[SearchResults, Answer]:
        at = {"seller": self._seller}
        answer = self._partner.answer("searchListingsItems", at, {**self._where(), **params}, urgency=urgency)
        results = SearchResults.read(answer.data)
        if results is None:
            raise ServerFault("searchListingsItems", "an answer that cannot be read")
        return results, answer

    def _where(self) -> dict[str, str]:
        return {"marketplaceIds": self._marketplace}

    def _item(self, sku: str) -> dict[str, str]:
        return {"seller": self._seller, "sku": sku}

    def _listing(self, item: Item, seen_at: datetime, kept: LevelObservation | None) -> ChannelListing:
        summary = item.summary(self._marketplace)
        levels, gone = _places(item, seen_at, kept)
        is_buyable = bool(summary and summary.is_buyable)
        return ChannelListing(
            ref=item.sku,
            inventory_ref=None,
            product_ref=summary.asin if summary else None,
            code=item.sku,
            barcode=item.barcode(self._marketplace),
            title=(summary.item_name if summary else None) or item.sku,
            is_tracked=any(level.location_ref != OWN_PLACE or level.units is not None for level in levels),
            status="active" if is_buyable else "inactive",
            version_at=summary.last_updated_at if summary and summary.last_updated_at else seen_at,
            levels=levels,
            label_ref=summary.fn_sku if summary else None,
            status_reason=None if is_buyable else item.trouble,
            gone_places=gone,
        )


def quantity_patch(units: int) -> dict[str, Any]:
    """`merge` changes the quantity alone; `replace` would reset the handling time."""
    value = {"fulfillment_channel_code": OWN_STOCK, "quantity": units}
    return {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [value]}


def _level(item: Item, seen_at: datetime) -> LevelObservation:
    """Amazon does not say when a quantity changed: it is an observation of the moment it was asked for."""
    return LevelObservation(item.sku, OWN_PLACE, item.own_units(OWN_STOCK), seen_at)


def _places(
    item: Item, seen_at: datetime, kept: LevelObservation | None
) -> tuple[tuple[LevelObservation, ...], tuple[str, ...]]:
    """Where an item is sold from, with what is shown there, and where it surely is not.

    The two are apart: what Amazon keeps is told by its inventory, and a number for the seller's own stock would make
    an item that Amazon ships one that the seller ships as well.
    """
    own = _level(item, seen_at)
    if not item.channels - {OWN_STOCK}:
        return (own,), (FBA_PLACE,) if OWN_STOCK in item.channels else ()
    at_amazon = kept or LevelObservation(item.sku, FBA_PLACE, None, seen_at)
    if OWN_STOCK in item.channels:
        return (own, at_amazon), ()
    return (at_amazon,), (OWN_PLACE,)


def _or_oldest(moment: datetime | None) -> float:
    return moment.timestamp() if moment else float("-inf")


def _result(write: QuantityWrite, outcome: WriteOutcome, code: str, detail: str) -> QuantityResult:
    return QuantityResult(write.write_id, outcome, code, detail)
