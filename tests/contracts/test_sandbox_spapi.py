"""A client that sellers use judges the sandbox: python-amazon-sp-api as it is, at the vendor's own names.

The network under it leads those names to a sandbox in this process. It says of itself what the vendor asks every caller
to say (`user_agent` is its own setting); to many reads it adds parameters that the models do not have, and the vendor
lets that pass.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sp_api.api import Feeds, Inventories, ListingsItems, Notifications, Orders, Sellers
from sp_api.auth.exceptions import AuthorizationError
from sp_api.base import BaseClient, Marketplaces, ProcessingStatus
from sp_api.base.exceptions import (
    SellingApiBadRequestException,
    SellingApiNotFoundException,
    SellingApiRequestThrottledException,
)
from sp_api.util import load_all_pages, throttle_retry

from tests.sandbox.amazon_orders import OrderSide
from tests.sandbox.outside import AGENT, Inside

DAY = 86_400
ADDS_PARAMETERS = pytest.mark.breaks_contract("parameters")
EVERYTHING = ["BUYER", "RECIPIENT", "PROCEEDS", "FULFILLMENT", "PACKAGES", "CANCELLATION"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    world = Inside(tmp_path_factory.mktemp("judged"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            httpx.HTTPTransport, "handle_request", lambda self, request: world.world.handle_request(request)
        )
        patched.setattr(BaseClient, "user_agent", AGENT)
        yield world
    world.stop()


@pytest.fixture(scope="module")
def side(judged: Inside) -> OrderSide:
    """The seller from behind: what buyers do, and what there is."""
    return OrderSide(judged, judged.seller(*({"sku": f"S{number}", "quantity": 50} for number in range(5))))


@pytest.fixture
def account(side: OrderSide) -> dict[str, Any]:
    return client_settings(side)


def client_settings(side: OrderSide, **changed: str) -> dict[str, Any]:
    entry = side.seller.entry | changed
    credentials = {
        "refresh_token": entry["refresh_token"],
        "lwa_app_id": entry["client_id"],
        "lwa_client_secret": entry["client_secret"],
    }
    return {"credentials": credentials, "marketplace": Marketplaces.UK}


def orders_api(account: dict[str, Any]) -> Any:
    return Orders(**account, version="2026-01-01")


def test_the_client_buys_a_token_and_asks_where_it_sells(side: OrderSide, account: dict[str, Any]) -> None:
    (found,) = Sellers(**account).get_marketplace_participation().payload
    assert found["marketplace"]["id"] == Marketplaces.UK.marketplace_id
    with pytest.raises(AuthorizationError) as refused:
        Sellers(**client_settings(side, refresh_token="Atzr|wrong")).get_marketplace_participation()
    assert refused.value.error_code == "invalid_grant"


def test_the_client_searches_orders_page_by_page(judged: Inside, side: OrderSide, account: dict[str, Any]) -> None:
    made = [side.paid(("S0", 1)) for _ in range(5)]
    judged.clock.advance(121)
    api, asked = orders_api(account), {"createdAfter": side.ago(DAY), "maxResultsPerPage": 2}
    asked["marketplaceIds"] = [side.seller.marketplace]

    @load_all_pages(next_token_param="paginationToken", throttle_by_seconds=0)
    def search(**kwargs: Any) -> Any:
        return api.search_orders(**asked | kwargs)

    pages = list(search())
    assert [order["orderId"] for page in pages for order in page.payload["orders"]] == [order["id"] for order in made]
    assert pages[0].rate_limit == "0.0056"


def test_the_client_reads_an_order_and_confirms_its_shipment(
    judged: Inside, side: OrderSide, account: dict[str, Any]
) -> None:
    order = side.paid(("S1", 2))
    api = orders_api(account)
    found = api.get_order(order["id"], includedData=EVERYTHING).payload["order"]
    assert found["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    assert found["orderItems"][0]["product"]["sellerSku"] == "S1"
    answer = Orders(**account).confirm_shipment(order["id"], **side.detail(order, (0, 2)))
    assert answer.payload == {"status_code": 204}
    shipped = api.get_order(order["id"], includedData=EVERYTHING).payload["order"]
    assert shipped["packages"][0]["trackingNumber"] == "RM123456789GB"
    with pytest.raises(SellingApiNotFoundException):
        api.get_order("200-0000000-0000000")
    with pytest.raises(SellingApiBadRequestException):
        Orders(**account).confirm_shipment(order["id"], **side.detail(order, (0, 1), packageReferenceId="2"))


def test_the_client_reads_and_patches_a_listing(judged: Inside, side: OrderSide, account: dict[str, Any]) -> None:
    api, place = ListingsItems(**account), {"marketplaceIds": [side.seller.marketplace]}
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 7}]
    body = {"productType": "PRODUCT", "patches": [{"op": "merge", "path": "/attributes/fulfillment_availability"}]}
    body["patches"][0]["value"] = value  # type: ignore[index]
    assert api.patch_listings_item(side.seller.id, "S2", body=body, **place).payload["status"] == "ACCEPTED"
    judged.clock.advance(30)
    found = api.get_listings_item(side.seller.id, "S2", includedData=["fulfillmentAvailability"], **place).payload
    assert found["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "DEFAULT", "quantity": 7}]


def test_the_client_sends_a_feed_and_reads_its_report(judged: Inside, side: OrderSide, account: dict[str, Any]) -> None:
    api = Feeds(**account)
    availability = [{"fulfillment_channel_code": "DEFAULT", "quantity": 9}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": availability}
    messages = [
        {"messageId": number, "sku": sku, "operationType": "PATCH", "productType": "PRODUCT", "patches": [patch]}
        for number, sku in enumerate(("S3", "NOPE"), 1)
    ]
    header = {"sellerId": side.seller.id, "version": "2.0", "issueLocale": "en_US"}
    file = io.BytesIO(json.dumps({"header": header, "messages": messages}).encode())
    _, made = api.submit_feed("JSON_LISTINGS_FEED", file, content_type="application/json; charset=UTF-8")
    for _ in range(20):
        found = api.get_feed(made.payload["feedId"]).payload
        if found["processingStatus"] == ProcessingStatus.DONE.value:
            break
        judged.post("/clock", virtual=True)
        judged.clock.advance(60)
    report = json.loads(api.get_feed_document(found["resultFeedDocumentId"]))
    assert (report["summary"]["messagesProcessed"], report["summary"]["messagesAccepted"]) == (2, 1)
    assert [issue["messageId"] for issue in report["issues"]] == [2]
    judged.clock.advance(30)
    assert side.levels()["S3"] == {"DEFAULT": 9}


@ADDS_PARAMETERS
def test_the_client_reads_what_lies_at_amazon(judged: Inside, side: OrderSide, account: dict[str, Any]) -> None:
    judged.post(f"/amazon/{side.seller.id}/fba", items=[{"sku": "S4", "set": {"fulfillable": 6}}])
    asked = {"details": "true", "granularityType": "Marketplace", "granularityId": side.seller.marketplace}
    found = Inventories(**account).get_inventory_summary_marketplace(**asked).payload["inventorySummaries"]
    assert [(item["sellerSku"], item["inventoryDetails"]["fulfillableQuantity"]) for item in found] == [("S4", 6)]


@ADDS_PARAMETERS
def test_the_client_makes_a_destination_and_subscribes(side: OrderSide, account: dict[str, Any]) -> None:
    api = Notifications(**account)
    made = api.create_destination(name="ours", arn=side.seller.entry["queue"]["arn"]).payload
    assert [place["destinationId"] for place in api.get_destinations().payload] == [made["destinationId"]]
    wanted = api.create_subscription("ORDER_CHANGE", destination_id=made["destinationId"]).payload
    assert api.get_subscription("ORDER_CHANGE").payload["subscriptionId"] == wanted["subscriptionId"]


def read_often(api: Any, order_id: str) -> None:
    for _ in range(60):
        api.get_order(order_id)


def test_the_client_is_throttled_and_recovers(
    judged: Inside, side: OrderSide, account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    order, api = side.paid(("S0", 1)), orders_api(account)
    with pytest.raises(SellingApiRequestThrottledException) as refused:
        read_often(api, order["id"])
    assert refused.value.code == 429
    slept: list[float] = []

    def passing(seconds: float) -> None:
        slept.append(seconds)
        judged.clock.advance(seconds)

    monkeypatch.setattr(time, "sleep", passing)
    read = throttle_retry(tries=3, delay=2)(api.get_order)
    assert read(order["id"]).payload["order"]["orderId"] == order["id"]
    assert slept == [2]
