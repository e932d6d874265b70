"""What the fake Amazon writes without an operation of its own, against the vendor's schemas: reports, notifications."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sandbox.vendors.amazon import feed_file, feeds
from tests.sandbox.amazon_bare import Bare
from tests.sandbox.amazon_files import quantity

NOTICES = {
    "FEED_PROCESSING_FINISHED": "FeedProcessingFinishedNotification",
    "REPORT_PROCESSING_FINISHED": "ReportProcessingFinishedNotification",
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": "ListingsItemMfnQuantityChange",
    "FBA_INVENTORY_AVAILABILITY_CHANGES": "FBAInventoryAvailabilityChangeNotification",
}
ITEMS = {"includedData": ["summaries", "attributes", "issues", "fulfillmentAvailability"], "apiVersion": "2021-08-01"}


def schema(shared_dir: Path, path: str) -> Any:
    return json.loads((shared_dir / "contracts/amazon/schemas" / f"{path}.json").read_text())


def reported(amazon: Bare, feed_id: int) -> Any:
    feed = amazon.feeds.find(amazon.seller, feed_id)
    assert feed is not None
    document = amazon.documents.find(amazon.seller, feed["result_id"])
    assert document is not None
    return json.loads(gzip.decompress(document["data"]) if document["gzip"] else document["data"])


@pytest.mark.parametrize(
    ("wanted", "header"),
    [
        ([("A", 1), ("B", 2)], {}),
        ([("A", -1), ("B", 2), ("NOBODY", 3)], {"report": ITEMS}),
        ([("A", 1)], {"sellerId": "SOMEBODY"}),
        ([], {}),
        ([("NOBODY", 1)] * 200, {}),
    ],
)
def test_processing_reports_are_of_the_vendors_schema(
    shared_dir: Path, wanted: list[tuple[str, int]], header: dict[str, Any]
) -> None:
    with Bare({"sku": "A", "quantity": 3}, {"sku": "B", "quantity": 3}) as amazon:
        feed_id = amazon.feed(*wanted, **header)
        amazon.advance(3600)
        report = reported(amazon, feed_id)
    Draft7Validator(schema(shared_dir, "feeds/listings-feed-processing-report-schema-v2")).validate(report)
    summary = report["summary"]
    assert summary["messagesProcessed"] == summary["messagesAccepted"] + summary["messagesInvalid"]


def test_what_is_told_is_of_the_vendors_schemas(shared_dir: Path) -> None:
    with Bare({"sku": "A", "quantity": 3}) as amazon:
        amazon.fba.hold(amazon.seller, "F", "Thing F")
        amazon.fba.add(amazon.seller, "t", [("F", 3)])
        amazon.fba.sell(amazon.seller, "F", 2)
        amazon.listings.sell(amazon.seller, "A", 1)
        amazon.feed(("A", 9))
        amazon.reports.create(amazon.seller, "GET_MERCHANT_LISTINGS_ALL_DATA", ["A1F83G8C2ARO7P"])
        amazon.advance(3600)
        told = list(amazon.told)
    assert {kind for kind, _ in told} == NOTICES.keys()
    for kind, payload in told:
        document = schema(shared_dir, f"notifications/{NOTICES[kind]}")
        inner = document["properties"].get("Payload") or document["properties"]["payload"]
        Draft7Validator(inner).validate(json.loads(json.dumps(payload)))
    quantities = [payload["Quantity"] for kind, payload in told if kind == "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"]
    assert quantities == [2, 9]


def test_what_the_schema_refuses_is_refused_and_nothing_else(shared_dir: Path) -> None:
    """Message by message, as the vendor's schema of a message decides."""
    vendor = Draft7Validator(schema(shared_dir, "feeds/listings-feed-message-schema-v2"))
    good = quantity(1, "A", 1)
    patch = good["patches"][0]
    value = {"brand": [{"value": "x"}]}
    messages: list[Any] = [
        good,
        {**good, "attributes": value},
        {**good, "requirements": "LISTING"},
        {**good, "messageId": 0},
        {**good, "messageId": "1"},
        {**good, "sku": ""},
        {**good, "operationType": "MERGE"},
        {**good, "productType": ""},
        {**good, "patches": []},
        {**good, "patches": [{**patch, "op": "move"}]},
        {**good, "patches": [{"op": "delete", "path": patch["path"]}]},
        {**good, "patches": [{"op": "merge", "value": patch["value"]}]},
        {**good, "patches": [{**patch, "value": {}}]},
        {name: part for name, part in good.items() if name != "productType"},
        {name: part for name, part in good.items() if name != "messageId"},
        {"messageId": 1, "sku": "A", "operationType": "DELETE"},
        {"messageId": 1, "sku": "A", "operationType": "DELETE", "productType": "P"},
        {"messageId": 1, "sku": "A", "operationType": "PARTIAL_UPDATE", "productType": "P", "attributes": value},
        {"messageId": 1, "sku": "A", "operationType": "PARTIAL_UPDATE", "productType": "P", "attributes": {}},
        {"messageId": 1, "sku": "A", "operationType": "UPDATE", "productType": "P", "attributes": value},
        {"messageId": 1, "sku": "A", "operationType": "UPDATE", "productType": "P", "patches": [patch]},
    ]
    for message in messages:
        assert (feed_file.schema_issue(message) is None) == vendor.is_valid(message), message


def test_the_vendors_own_example_is_read(shared_dir: Path) -> None:
    example = schema(shared_dir, "feeds/listings-feed-schema-v2.example")
    found = feed_file.read_file(json.dumps(example).encode(), example["header"]["sellerId"])
    assert found.problem is None
    assert [feed_file.schema_issue(message) for message in found.messages] == [None] * 5


def test_the_limits_are_the_vendors(shared_dir: Path) -> None:
    messages = schema(shared_dir, "feeds/listings-feed-schema-v2")["properties"]["messages"]
    assert messages["maxItems"] == feed_file.MESSAGES_MAX
    assert messages["items"]["properties"]["messageId"]["maximum"] == feed_file.MESSAGE_ID_MAX
    assert set(messages["items"]["properties"]["operationType"]["enum"]) == feed_file.NEEDS.keys()
    assert not set(feeds.REMOVED) & {feeds.LISTINGS_FEED}
