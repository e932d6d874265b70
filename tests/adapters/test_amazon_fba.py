"""What lies in Amazon's warehouses: read as it must be read, and never mixed with what the seller ships."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.adapters.http import Refused
from core.ports import ChannelListing
from tests.adapters.accounts import Account, amazon_account
from tests.adapters.canned_amazon import HERE, TOKEN_LIVES, CannedSeller

DETAILS = {"fulfillableQuantity": 7, "inboundWorkingQuantity": 100, "inboundShippedQuantity": 30}


def seller(**more: Any) -> tuple[CannedSeller, Account]:
    canned = CannedSeller(**{"units": {"OWN": 30, "BOTH": 5, "FBA": 0}, **more})
    canned.more.setdefault("FBA", {"fulfillmentAvailability": [{"fulfillmentChannelCode": "AMAZON_EU"}]})
    own = {"fulfillmentChannelCode": "DEFAULT", "quantity": 5}
    canned.more.setdefault("BOTH", {"fulfillmentAvailability": [{"fulfillmentChannelCode": "amazon_eu"}, own]})
    canned.kept = canned.kept or {"FBA": dict(DETAILS), "BOTH": {"fulfillableQuantity": 2}}
    return canned, amazon_account(canned)


def listings(account: Account) -> dict[str, ChannelListing]:
    return {listing.ref: listing for page in account.channel().listings() for listing in page}


def shown(listing: ChannelListing) -> dict[str, int | None]:
    return {level.location_ref: level.units for level in listing.levels}


def inventory(canned: CannedSeller) -> list[httpx.Request]:
    return [request for request in canned.asked if "/fba/" in request.url.path]


def test_trap_fba_only_what_is_fulfillable_can_be_sold() -> None:
    """`totalQuantity` counts what is still on its way to Amazon."""
    canned, account = seller()
    levels = {level.inventory_ref: level.units for level in account.channel().external_levels()}
    assert levels == {"FBA": 7, "BOTH": 2}
    (request,) = inventory(canned)
    assert dict(request.url.params) == {
        "details": "true",
        "granularityType": "Marketplace",
        "granularityId": HERE,
        "marketplaceIds": HERE,
    }


def test_trap_fba_a_listing_that_amazon_ships_is_a_place_of_its_own() -> None:
    _, account = seller()
    found = listings(account)
    assert shown(found["OWN"]) == {OWN_PLACE: 30}
    assert shown(found["FBA"]) == {FBA_PLACE: 7}
    assert shown(found["BOTH"]) == {OWN_PLACE: 5, FBA_PLACE: 2}
    assert all(listing.is_tracked for listing in found.values())
    # A number at the place where it is not sold from would add an offer there.
    assert [found[sku].gone_places for sku in ("OWN", "FBA", "BOTH")] == [(FBA_PLACE,), (OWN_PLACE,), ()]
    places = {place.ref: place.is_external for place in account.channel().locations()}
    assert places == {OWN_PLACE: False, FBA_PLACE: True}


def test_what_amazon_ships_and_does_not_keep_yet_has_no_number() -> None:
    _, account = seller(kept={"OTHER": {"fulfillableQuantity": 1}})
    assert shown(listings(account)["FBA"]) == {FBA_PLACE: None}


def test_a_seller_without_stock_at_amazon_has_one_place() -> None:
    account = amazon_account(CannedSeller())
    assert [place.ref for place in account.channel().locations()] == [OWN_PLACE]


def test_an_app_that_may_not_see_the_warehouses_reads_what_the_seller_ships() -> None:
    _, account = seller(refused=("/fba/",))
    assert [place.ref for place in account.channel().locations()] == [OWN_PLACE]
    assert shown(listings(account)["OWN"]) == {OWN_PLACE: 30}
    assert account.channel().about().advised.keys() == {"Amazon Fulfillment"}


def test_some_skus_are_asked_for_by_fifty_and_one_with_a_comma_alone() -> None:
    kept = {f"S{n}": {"fulfillableQuantity": n} for n in range(120)} | {"A, B": {"fulfillableQuantity": 9}}
    canned, account = seller(kept=kept)
    channel: Any = account.channel()
    levels = channel._fba.levels([*kept, "nobody's"])
    assert {level.inventory_ref: level.units for level in levels} == {
        sku: row["fulfillableQuantity"] for sku, row in kept.items()
    }
    assert len(inventory(canned)) == 4


def test_trap_fba_the_token_of_a_page_dies_after_thirty_seconds() -> None:
    """Then the reading begins again, and tells every SKU once."""
    seconds = [0.0]
    kept = {f"S{n}": {"fulfillableQuantity": n} for n in range(25)}
    canned, account = seller(kept=kept, shelf=10, clock=lambda: seconds[0])
    answer = canned.__call__
    slow = [2]

    def slowly(request: httpx.Request) -> httpx.Response:
        if "nextToken" in request.url.params and slow:
            seconds[0] += TOKEN_LIVES + 1
            slow.pop()
        return answer(request)

    account.network.inner = httpx.MockTransport(slowly)
    levels = account.channel().external_levels()
    assert sorted(level.inventory_ref for level in levels) == sorted(kept)
    assert len(inventory(canned)) == 5


def test_a_reading_whose_tokens_always_die_is_said() -> None:
    seconds = [0.0]
    canned, account = seller(kept={f"S{n}": DETAILS for n in range(25)}, shelf=10, clock=lambda: seconds[0])

    def slowly(request: httpx.Request) -> httpx.Response:
        seconds[0] += TOKEN_LIVES + 1
        return canned(request)

    account.network.inner = httpx.MockTransport(slowly)
    with pytest.raises(Refused, match="expired"):
        account.channel().external_levels()


IDENTIFIERS: list[dict[str, Any]] = [
    {"type": "ean", "value": " 4006381333931 ", "marketplace_id": "A1PA6795UKMFR9"},
    {"type": "asin", "value": "B000000001"},
    {"type": "UPC", "value": "036000291452", "marketplace_id": HERE},
]


def test_barcode_and_fnsku_come_with_the_listing() -> None:
    more: dict[str, dict[str, Any]] = {
        "OWN": {"attributes": {"externally_assigned_product_identifier": IDENTIFIERS}, "summary": {"fnSku": "X001ABC"}},
        "A": {"attributes": {"externally_assigned_product_identifier": IDENTIFIERS[:2]}},
        "B": {"attributes": {"externally_assigned_product_identifier": "4006381333931"}},
        "C": {"attributes": {"externally_assigned_product_identifier": [{"type": "ean"}, None]}},
    }
    _, account = seller(units=dict.fromkeys(["OWN", "A", "B", "C"], 1), more=more)
    found = listings(account)
    assert [found[sku].barcode for sku in ["OWN", "A", "B", "C"]] == ["036000291452", "4006381333931", None, None]
    assert (found["OWN"].label_ref, found["OWN"].product_ref) == ("X001ABC", "B000000001")


def test_a_listing_that_buyers_do_not_see_says_why() -> None:
    issues = [
        {"code": "8541", "message": "The price is missing.", "severity": "error", "categories": []},
        {"code": "1", "message": "Advice.", "severity": "WARNING", "categories": []},
    ]
    more = {"OWN": {"summary": {"status": ["DISCOVERABLE"]}, "issues": issues}, "BOTH": {"issues": issues}}
    _, account = seller(more=more)
    found = listings(account)
    assert (found["OWN"].status, found["OWN"].status_reason) == ("inactive", "8541: The price is missing.")
    assert (found["BOTH"].status, found["BOTH"].status_reason) == ("active", None)
