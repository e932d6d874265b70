"""What a listing can be found by, and the channels it may be sold by: barcodes, FNSKU, several SKUs on one ASIN."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.amazon_files import Desk, quantity
from tests.sandbox.outside import Inside, SellerSide, availability


def asked(seller: SellerSide, **params: str) -> list[str]:
    answer = seller.search(sortBy="sku", sortOrder="ASC", **params)
    assert answer.status_code == 200, answer.text
    skus = [item["sku"] for item in answer.json()["items"]]
    assert answer.json()["numberOfResults"] == len(skus)
    return skus


def found(seller: SellerSide, kind: str, *values: str) -> list[str]:
    return asked(seller, identifiers=",".join(values), identifiersType=kind)


def coded(sku: str, kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "quantity": 1, "barcodes": [{"type": kind, "value": value}]} | more


def test_listings_are_found_by_every_identifier(inside: Inside) -> None:
    seller = inside.seller(
        coded("E", "ean", "2900000000018", asin="B000000001"),
        coded("U", "upc", "012345678905", asin="B000000002"),
        coded("G", "gtin", "12345678901231"),
        {"sku": "F", "channel": "AMAZON_EU", "asin": "B000000001", "fnsku": "X00000F1"},
    )
    assert found(seller, "EAN", "2900000000018") == ["E"]
    assert found(seller, "UPC", "012345678905") == ["U"]
    # A GTIN is any of them, with or without the zeros in front.
    assert found(seller, "GTIN", "2900000000018", "00012345678905", "12345678901231") == ["E", "G", "U"]
    assert found(seller, "FNSKU", "X00000F1") == ["F"]
    assert found(seller, "ASIN", "B000000001") == ["E", "F"]
    inside.clock.advance(1)
    assert found(seller, "ISBN", "2900000000018") == []
    stated = seller.get("E", "attributes").json()["attributes"]["externally_assigned_product_identifier"]
    assert stated == [{"type": "ean", "value": "2900000000018", "marketplace_id": seller.marketplace}]
    assert found(inside.seller(), "EAN", "2900000000018") == []


def test_skus_are_told_apart_by_case_blanks_and_slashes(inside: Inside) -> None:
    skus = ["a/b", "A/B", "A B", "A  B", "a%2Fb", "ä,b"]
    desk = Desk(inside, *[{"sku": sku, "quantity": number} for number, sku in enumerate(skus)])
    paths = ["a%2Fb", "A%2FB", "A%20B", "A%20%20B", "a%252Fb", "%C3%A4%2Cb"]
    assert [desk.seller.get(path).json()["sku"] for path in paths] == skus
    desk.ended(desk.feed(*[quantity(number, sku, 10 + number) for number, sku in enumerate(skus, 1)]))
    inside.clock.advance(60)
    assert desk.all_units() == {sku: 11 + number for number, sku in enumerate(skus)}


def test_what_amazon_ships_has_no_quantity_of_ours(inside: Inside) -> None:
    desk = Desk(inside, {"sku": "F", "channel": "AMAZON_EU"})
    item = desk.seller.get("F", "summaries", "fulfillmentAvailability").json()
    assert item["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "AMAZON_EU"}]
    assert item["summaries"][0]["status"] == ["DISCOVERABLE"]
    patch = availability("merge", fulfillment_channel_code="AMAZON_EU", quantity=3)
    refused = desk.seller.patch("F", patch).json()
    assert (refused["status"], refused["issues"][0]["code"]) == ("INVALID", "90245")
    message = quantity(1, "F", 0)
    message["patches"] = [patch]
    assert [issue["code"] for issue in desk.report(desk.ended(desk.feed(message)))["issues"]] == ["90245"]
    assert (
        inside.http.post(
            f"/_control/amazon/{desk.seller.id}/listings",
            json={"listings": [{"sku": "X", "channel": "AMAZON_EU", "quantity": 1}]},
        ).json()["error"]
        == "invalid_quantity"
    )


def test_a_replace_with_another_channel_adds_a_second_row(inside: Inside) -> None:
    """It does not turn what we ship into what Amazon ships."""
    desk = Desk(inside, {"sku": "A", "quantity": 4})
    desk.seller.patch("A", availability("replace", fulfillment_channel_code="AMAZON_EU"))
    inside.clock.advance(60)
    rows = desk.seller.get("A", "fulfillmentAvailability").json()["fulfillmentAvailability"]
    assert rows == [
        {"fulfillmentChannelCode": "DEFAULT", "quantity": 4},
        {"fulfillmentChannelCode": "AMAZON_EU"},
    ]
    gone = {
        "op": "delete",
        "path": "/attributes/fulfillment_availability",
        "value": [{"fulfillment_channel_code": "AMAZON_EU"}],
    }
    desk.seller.patch("A", gone)
    inside.clock.advance(60)
    rows = desk.seller.get("A", "fulfillmentAvailability").json()["fulfillmentAvailability"]
    assert rows == [{"fulfillmentChannelCode": "DEFAULT", "quantity": 4}]


def test_an_issue_of_the_listing_is_shown_and_a_severe_one_stops_its_sale(inside: Inside) -> None:
    def listed(sku: str, severity: str) -> dict[str, Any]:
        issue = {
            "code": "18027",
            "message": "The image has text.",
            "severity": severity,
            "categories": ["INVALID_IMAGE"],
        }
        return {"sku": sku, "quantity": 5, "issues": [issue]}

    seller = inside.seller(listed("W", "WARNING"), listed("E", "ERROR"))
    items = {sku: seller.get(sku, "summaries", "issues").json() for sku in "WE"}
    assert {sku: item["summaries"][0]["status"] for sku, item in items.items()} == {
        "W": ["BUYABLE", "DISCOVERABLE"],
        "E": ["DISCOVERABLE"],
    }
    assert items["E"]["issues"][0]["severity"] == "ERROR"
    assert asked(seller, withStatus="BUYABLE") == ["W"]
    assert asked(seller, withoutStatus="BUYABLE") == ["E"]
    assert asked(seller, withIssueSeverity="ERROR,WARNING") == ["E", "W"]
    assert asked(seller, withIssueSeverity="ERROR", withStatus="BUYABLE") == []
    assert asked(seller, variationParentSku="W") == []


def test_a_thousand_items_are_all_that_can_be_paged_through(inside: Inside) -> None:
    seller = inside.seller(*[{"sku": f"S{number:04d}", "quantity": 1} for number in range(1020)])
    seen, token = 0, ""
    while True:
        page = seller.search(pageSize=20, sortBy="sku", **({"pageToken": token} if token else {})).json()
        assert page["numberOfResults"] == 1020
        seen += len(page["items"])
        if "nextToken" not in page["pagination"]:
            break
        token = page["pagination"]["nextToken"]
        inside.clock.advance(0.2)
    assert seen == 1000


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": "AMAZON_MOON"},
        {"barcodes": [{"type": "qr", "value": "1"}]},
        {"barcodes": ["1"]},
        {"issues": [{"severity": "BAD"}]},
        {"quantity": -1},
    ],
)
def test_a_listing_of_another_form_is_refused(inside: Inside, wrong: dict[str, Any]) -> None:
    seller = inside.seller()
    path = f"/_control/amazon/{seller.id}/listings"
    assert inside.http.post(path, json={"listings": [{"sku": "A"} | wrong]}).status_code == 422
    assert inside.get(f"/amazon/{seller.id}/levels")["levels"] == []
