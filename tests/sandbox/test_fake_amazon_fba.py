"""What lies in Amazon's warehouses: how it is read, what changes it, and the operations of the vendor's own sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.sandbox.outside import Inside, SellerSide

SUMMARIES, ITEMS = "/fba/inventory/v1/summaries", "/fba/inventory/v1/items"


class Stock:
    """One seller's goods at Amazon."""

    def __init__(self, world: Inside, *listings: dict[str, Any]) -> None:
        self.world = world
        self.seller: SellerSide = world.seller(*listings)
        self.http = self.seller.http

    def control(self, *items: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.post(f"/amazon/{self.seller.id}/fba", items=list(items))["items"]
        return found

    def ask(self, **params: Any) -> httpx.Response:
        place = {"granularityType": "Marketplace", "granularityId": self.seller.marketplace}
        # Two a second is all there is.
        self.world.clock.advance(0.5)
        return self.http.get(SUMMARIES, params=place | {"marketplaceIds": self.seller.marketplace} | params)

    def summaries(self, **params: Any) -> list[dict[str, Any]]:
        answer = self.ask(**params)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["payload"]["inventorySummaries"]
        return found

    def now(self, seconds: float = 0) -> str:
        moment = datetime.fromtimestamp(self.world.clock.wall(), UTC) + timedelta(seconds=seconds)
        return moment.isoformat().replace("+00:00", "Z")


@pytest.fixture
def stock(inside: Inside) -> Stock:
    found = Stock(inside, {"sku": "A", "channel": "AMAZON_EU", "title": "Thing A"})
    found.control({"sku": "A", "set": {"fulfillable": 10, "inboundShipped": 5, "fcProcessing": 1, "defective": 2}})
    return found


def test_a_summary_counts_everything_and_the_details_say_what_can_be_sold(stock: Stock) -> None:
    (plain,) = stock.summaries()
    assert (plain["sellerSku"], plain["totalQuantity"], "inventoryDetails" in plain) == ("A", 18, False)
    (found,) = stock.summaries(details="true")
    details = found["inventoryDetails"]
    assert (details["fulfillableQuantity"], details["inboundShippedQuantity"]) == (10, 5)
    assert details["reservedQuantity"]["totalReservedQuantity"] == 1
    assert details["unfulfillableQuantity"]["totalUnfulfillableQuantity"] == 2
    listed = stock.seller.get("A", "summaries").json()["summaries"][0]
    assert (found["fnSku"], found["asin"]) == (listed["fnSku"], listed["asin"])


def test_a_sale_reserves_and_the_parcel_takes_away(stock: Stock) -> None:
    def units() -> tuple[int, int, int]:
        (found,) = stock.summaries(details="true")
        details = found["inventoryDetails"]
        pending = details["reservedQuantity"]["pendingCustomerOrderQuantity"]
        return details["fulfillableQuantity"], pending, found["totalQuantity"]

    stock.control({"sku": "A", "sell": 4})
    assert units() == (6, 4, 18)
    stock.control({"sku": "A", "ship": 3}, {"sku": "A", "release": 1})
    assert units() == (7, 0, 15)
    refused = stock.control({"sku": "A", "sell": 8}, {"sku": "A", "ship": 1}, {"sku": "A", "add": {"nothing": 1}})
    assert [entry["error"] for entry in refused] == ["out_of_stock", "out_of_stock", "unknown_quantity"]
    assert units() == (7, 0, 15)


def test_sold_out_at_amazon_cannot_be_bought(stock: Stock) -> None:
    def status() -> list[str]:
        found: list[str] = stock.seller.get("A", "summaries").json()["summaries"][0]["status"]
        return found

    assert status() == ["BUYABLE", "DISCOVERABLE"]
    stock.control({"sku": "A", "set": {"fulfillable": 0}})
    assert status() == ["DISCOVERABLE"]


def test_changes_are_asked_for_by_their_time_and_what_is_on_its_way_is_none(stock: Stock) -> None:
    stock.control({"sku": "B", "set": {"fulfillable": 1}})
    stock.world.clock.advance(60)
    since = stock.now()
    stock.world.clock.advance(60)
    stock.control({"sku": "A", "add": {"inboundShipped": 3}})
    assert stock.summaries(startDateTime=since) == []
    stock.control({"sku": "B", "add": {"fulfillable": 1}})
    # The names of SKUs count for nothing then.
    assert [found["sellerSku"] for found in stock.summaries(startDateTime=since, sellerSkus="A")] == ["B"]
    assert [found["sellerSku"] for found in stock.summaries(sellerSkus="A,NOBODY")] == ["A"]
    assert [found["sellerSku"] for found in stock.summaries(sellerSku="B")] == ["B"]


@pytest.mark.breaks_contract("parameters")
def test_a_question_out_of_bounds_is_a_bad_request(stock: Stock) -> None:
    for wrong in (
        {"startDateTime": stock.now(-19 * 31 * 86_400)},
        {"startDateTime": "yesterday"},
        {"sellerSkus": ",".join(f"S{number}" for number in range(51))},
        {"granularityType": "Country"},
        {"granularityId": "ATVPDKIKX0DER"},
        {"marketplaceIds": ""},
        {"nextToken": "nothing"},
    ):
        answer = stock.ask(**wrong)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "InvalidInput")


def test_trap_a_page_token_dies_after_thirty_seconds(inside: Inside) -> None:
    stock = Stock(inside)
    stock.control(*[{"sku": f"S{number:03d}"} for number in range(120)])
    since = stock.now(-60)
    skus: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = stock.ask(startDateTime=since, **token).json()
        skus += [found["sellerSku"] for found in answer["payload"]["inventorySummaries"]]
        if "pagination" not in answer:
            break
        token = {"nextToken": answer["pagination"]["nextToken"]}
    assert skus == [f"S{number:03d}" for number in range(120)]
    late = stock.ask(startDateTime=since).json()["pagination"]["nextToken"]
    # The token alone asks another question than the one it was given for.
    assert stock.ask(nextToken=late).status_code == 400
    stock.world.clock.advance(28)
    assert stock.ask(startDateTime=since, nextToken=late).status_code == 200
    stock.world.clock.advance(2)
    assert stock.ask(startDateTime=since, nextToken=late).status_code == 400


def test_two_calls_a_second_are_all(stock: Stock) -> None:
    stock.world.clock.advance(10)
    params = {"granularityType": "Marketplace", "granularityId": stock.seller.marketplace}
    params["marketplaceIds"] = stock.seller.marketplace
    answers = [stock.http.get(SUMMARIES, params=params) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "2.0"


def test_the_vendors_own_sandbox_is_filled_by_calls(inside: Inside) -> None:
    stock = Stock(inside)
    place = {"marketplaceId": stock.seller.marketplace}
    made = stock.http.post(ITEMS, json={"sellerSku": "N/1 a", "productName": "New", **place})
    assert (made.status_code, made.json()) == (200, {})

    def add(token: str, quantity: int, sku: str = "N/1 a") -> int:
        wanted = {"inventoryItems": [{"sellerSku": sku, "quantity": quantity, **place}]}
        return stock.http.post(
            f"{ITEMS}/inventory", json=wanted, headers={"x-amzn-idempotency-token": token}
        ).status_code

    assert [add("t1", 5), add("t1", 5), add("t1", 6), add("t2", 1), add("t3", 1, "NOBODY"), add("t4", 0)] == [
        200, 200, 400, 200, 404, 400,
    ]  # fmt: skip
    (found,) = stock.summaries()
    assert (found["sellerSku"], found["productName"], found["totalQuantity"]) == ("N/1 a", "New", 6)
    assert stock.http.delete(f"{ITEMS}/N%2F1%20a", params=place).status_code == 200
    assert stock.http.delete(f"{ITEMS}/N%2F1%20a", params=place).status_code == 404
    assert stock.summaries() == []


@pytest.mark.breaks_contract("body", "parameters")
def test_what_the_model_asks_for_is_needed(stock: Stock) -> None:
    token = {"x-amzn-idempotency-token": "t"}
    assert stock.http.post(ITEMS, json={"sellerSku": "X"}).status_code == 400
    assert stock.http.post(f"{ITEMS}/inventory", json={"inventoryItems": []}).status_code == 400
    assert stock.http.post(f"{ITEMS}/inventory", json={"inventoryItems": ["A"]}, headers=token).status_code == 400
    assert stock.http.delete(f"{ITEMS}/A").status_code == 400
