"""Login with Amazon, listings, the delay before a number counts, and the usage plans."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.outside import AGENT, Outside, SellerSide, availability, wait_for

WRONG_GRANT = pytest.mark.breaks_contract("grant")
WRONG_AGENT = pytest.mark.breaks_contract("user_agent")


@pytest.fixture
def seller(outside: Outside) -> SellerSide:
    return outside.seller({"sku": "A", "title": "Thing A", "quantity": 10})


def test_buys_an_access_token_with_a_refresh_token(seller: SellerSide) -> None:
    answer = seller.grant().json()
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 3600)
    assert answer["refresh_token"] == seller.entry["refresh_token"]


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"refresh_token": "Atzr|wrong"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        pytest.param({"refresh_token": ""}, 400, "invalid_request", marks=WRONG_GRANT),
        pytest.param({"grant_type": "password"}, 400, "unsupported_grant_type", marks=WRONG_GRANT),
    ],
)
def test_refuses_a_wrong_grant(seller: SellerSide, changed: dict[str, str], status: int, error: str) -> None:
    answer = seller.grant(**changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.breaks_contract("token")
def test_refuses_calls_without_a_good_token(outside: Outside, seller: SellerSide) -> None:
    for token in ("", "Atza|wrong"):
        seller.http.headers["x-amz-access-token"] = token
        answer = seller.get("A")
        assert answer.status_code == 403
        assert answer.json()["errors"][0]["code"] == "Unauthorized"
        assert "x-amzn-RateLimit-Limit" not in answer.headers
    seller.http.headers["x-amz-access-token"] = outside.seller().grant().json()["access_token"]
    assert seller.get("A").status_code == 403


@pytest.mark.parametrize(
    ("agent", "good"),
    [
        (AGENT, True),
        ("My\\/App/1.0 (Language=Python)", True),
        ("App/2 (Platform=Linux; Language=Go/1.2)", True),
        pytest.param("python-httpx/0.28", False, marks=WRONG_AGENT),
        pytest.param("App/1.0 (Platform=Linux)", False, marks=WRONG_AGENT),
        pytest.param("App (Language=Python)", False, marks=WRONG_AGENT),
    ],
)
def test_wants_a_user_agent_of_its_own_form(seller: SellerSide, agent: str, good: bool) -> None:
    seller.http.headers["user-agent"] = agent
    assert seller.get("A").status_code == (200 if good else 400)


def test_names_the_marketplaces(seller: SellerSide) -> None:
    entry = seller.http.get("/sellers/v1/marketplaceParticipations").json()["payload"][0]
    assert entry["marketplace"]["id"] == seller.marketplace
    assert entry["participation"] == {"isParticipating": True, "hasSuspendedListings": False}


def test_an_accepted_number_is_seen_at_once_and_counts_later(own: Outside) -> None:
    seller = own.seller({"sku": "A", "quantity": 10})
    answer = seller.patch("A", availability("merge", quantity=4))
    assert answer.status_code == 200
    assert answer.json()["status"] == "ACCEPTED"
    assert answer.headers["x-amzn-RateLimit-Limit"] == "5.0"
    assert answer.headers["x-amzn-RequestId"]
    found = seller.get("A", "attributes", "fulfillmentAvailability").json()
    assert found["attributes"]["fulfillment_availability"][0]["quantity"] == 4
    assert found["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "DEFAULT", "quantity": 10}]
    own.post("/clock", factor=1000)
    assert wait_for(lambda: seller.in_force("A") == 4)


def test_the_last_accepted_number_wins(hurried: Outside) -> None:
    seller = hurried.seller({"sku": "A", "quantity": 10})
    for number in (1, 2, 3, 4, 5):
        assert seller.patch("A", availability("merge", quantity=number)).json()["status"] == "ACCEPTED"
    assert wait_for(lambda: seller.in_force("A") == 5)


def test_merge_keeps_the_handling_time_and_replace_forgets_it(seller: SellerSide) -> None:
    def submitted() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = seller.get("A", "attributes").json()["attributes"]["fulfillment_availability"]
        return found

    seller.patch("A", availability("merge", quantity=4))
    assert submitted() == [{"fulfillment_channel_code": "DEFAULT", "quantity": 4, "lead_time_to_ship_max_days": 2}]
    seller.patch("A", availability("replace", quantity=5))
    assert submitted() == [{"fulfillment_channel_code": "DEFAULT", "quantity": 5}]
    other = {
        "op": "replace",
        "path": "/attributes/fulfillment_availability",
        "value": [{"fulfillment_channel_code": "AMAZON_EU"}],
    }
    seller.patch("A", other)
    assert [entry["fulfillment_channel_code"] for entry in submitted()] == ["DEFAULT", "AMAZON_EU"]


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"op": "merge", "path": "/attributes/fulfillmentAvailability", "value": [{"quantity": 1}]}, "90000900"),
        ({"op": "merge", "path": "/attributes/fulfillment_availability/0/quantity", "value": [{}]}, "90000900"),
        ({"op": "merge", "path": "/attributes/fulfillment_availability", "value": [{"quantity": 1}]}, "90220"),
        (availability("merge", quantity=-1), "90244"),
        (availability("merge", quantity="7"), "90244"),
        (availability("merge", quantity=1, fulfillment_channel_code="AMAZON_EU"), "90245"),
    ],
)
def test_invalid_data_comes_with_status_200_and_changes_nothing(
    seller: SellerSide, patch: dict[str, Any], code: str
) -> None:
    before = seller.get("A", "attributes").json()
    answer = seller.patch("A", patch)
    assert answer.status_code == 200
    assert answer.json()["status"] == "INVALID"
    assert answer.json()["issues"][0]["code"] == code
    assert answer.json()["issues"][0]["severity"] == "ERROR"
    assert seller.get("A", "attributes").json() == before


def test_a_preview_judges_and_changes_nothing(seller: SellerSide) -> None:
    before = seller.get("A", "attributes").json()
    good = seller.patch(
        "A", availability("merge", quantity=4), mode="VALIDATION_PREVIEW", includedData="issues,identifiers"
    )
    assert good.json()["status"] == "VALID"
    assert good.json()["identifiers"][0]["marketplaceId"] == seller.marketplace
    bad = seller.patch("A", availability("merge", quantity=-4), mode="VALIDATION_PREVIEW")
    assert bad.json()["status"] == "INVALID"
    assert seller.get("A", "attributes").json() == before


@pytest.mark.parametrize(
    "body",
    [
        {"patches": [availability("merge", quantity=1)]},
        {"productType": "PRODUCT"},
        {"productType": "PRODUCT", "patches": []},
        {"productType": "PRODUCT", "patches": [{"op": "move", "path": "/attributes/x", "value": []}]},
        {"productType": "PRODUCT", "patches": [{"op": "merge", "path": "/attributes/brand", "value": {}}]},
        [],
    ],
)
@pytest.mark.breaks_contract("body")
def test_a_malformed_request_is_a_bad_request(seller: SellerSide, body: Any) -> None:
    path = f"/listings/2021-08-01/items/{seller.id}/A"
    answer = seller.http.patch(path, params={"marketplaceIds": seller.marketplace}, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "InvalidInput")


@pytest.mark.breaks_contract("parameters")
def test_an_unknown_sku_is_not_found_and_a_marketplace_must_be_named(seller: SellerSide) -> None:
    assert seller.get("a").status_code == 404
    assert seller.patch("Z", availability("merge", quantity=1)).status_code == 400
    assert seller.http.get(f"/listings/2021-08-01/items/{seller.id}/A").status_code == 400
    assert seller.search(marketplaceIds="ATVPDKIKX0DER").status_code == 400


def test_a_sku_with_a_slash_and_a_blank_is_found(outside: Outside) -> None:
    seller = outside.seller({"sku": "A/B C%2F", "quantity": 3})
    assert seller.get("A%2FB%20C%252F").json()["sku"] == "A/B C%2F"


def test_search_finds_by_sku_and_pages(hurried: Outside) -> None:
    seller = hurried.seller(*[{"sku": f"S{number:02d}", "quantity": number} for number in range(25)])
    found = seller.search(
        identifiers="S03,S04,NOPE", identifiersType="SKU", includedData="fulfillmentAvailability"
    ).json()
    assert found["numberOfResults"] == 2
    assert {item["sku"]: item["fulfillmentAvailability"][0]["quantity"] for item in found["items"]} == {
        "S03": 3,
        "S04": 4,
    }
    skus: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = seller.search(pageSize=10, sortBy="sku", sortOrder="ASC", **token).json()
        skus += [item["sku"] for item in page["items"]]
        if "nextToken" not in page.get("pagination", {}):
            break
        token = {"pageToken": page["pagination"]["nextToken"]}
    assert skus == [f"S{number:02d}" for number in range(25)]


@pytest.mark.breaks_contract("parameters")
def test_search_keeps_to_its_limits(hurried: Outside) -> None:
    seller = hurried.seller({"sku": "A", "quantity": 1})
    many = ",".join(f"S{number}" for number in range(21))
    assert seller.search(identifiers=many, identifiersType="SKU").status_code == 400
    assert seller.search(identifiers="A").status_code == 400
    assert seller.search(pageSize=21).status_code == 400
    assert seller.search(pageToken="!").status_code == 400
    assert seller.search(includedData="secrets").status_code == 400


def test_a_patch_beyond_the_plan_is_refused_until_the_bucket_refills(own: Outside) -> None:
    seller, other = own.seller({"sku": "A", "quantity": 1}), own.seller({"sku": "A", "quantity": 1})
    own.post("/clock", factor=0.001)
    answers = [seller.patch("A", availability("merge", quantity=1)) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[-1].json()["errors"][0]["code"] == "QuotaExceeded"
    assert other.patch("A", availability("merge", quantity=1)).status_code == 200
    assert [seller.get("A").status_code for _ in range(11)] == [200] * 10 + [429]
    assert [seller.search().status_code for _ in range(6)] == [200] * 5 + [429]
    own.post("/clock", factor=1000)
    assert wait_for(lambda: seller.patch("A", availability("merge", quantity=1)).status_code == 200)


def test_a_sale_lowers_the_number_in_force_and_not_what_was_submitted(hurried: Outside) -> None:
    seller = hurried.seller({"sku": "A", "quantity": 3})
    assert hurried.post(f"/amazon/{seller.id}/sales", sku="A", quantity=2, key="s1")["in_force"] == 1
    assert hurried.post(f"/amazon/{seller.id}/sales", sku="A", quantity=2, key="s1")["in_force"] == 1
    found = seller.get("A", "attributes", "fulfillmentAvailability").json()
    assert found["fulfillmentAvailability"][0]["quantity"] == 1
    assert found["attributes"]["fulfillment_availability"][0]["quantity"] == 3
    refused = hurried.http.post(f"/_control/amazon/{seller.id}/sales", json={"sku": "A", "quantity": 2})
    assert (refused.status_code, refused.json()["error"]) == (409, "out_of_stock")
    hurried.post(f"/amazon/{seller.id}/sales", sku="A", quantity=1)
    assert seller.get("A").json()["summaries"][0]["status"] == ["DISCOVERABLE"]


def test_listing_twice_changes_nothing(outside: Outside, seller: SellerSide) -> None:
    before = seller.get("A", "summaries", "fulfillmentAvailability").json()
    outside.post(f"/amazon/{seller.id}/listings", listings=[{"sku": "A", "quantity": 99}])
    assert seller.get("A", "summaries", "fulfillmentAvailability").json() == before
