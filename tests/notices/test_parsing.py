"""What notifications say, held against every example that the vendor publishes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.adapters.amazon.envelopes import UNREADABLE, open_envelope, without_secrets
from core.adapters.amazon.parsing import parse
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.errors import BadInput
from core.ports import Facts, Hint, LevelObservation
from tests.notices.conftest import order_change, samples

EXPECTED: dict[str, Facts] = {
    "OrderChangeNotification": Facts(hints=(Hint("order", "903-8868176-2219830"),)),
    "FeedProcessingFinishedNotification": Facts(hints=(Hint("feed", "53347018456"),)),
    "ReportProcessingFinishedNotification": Facts(hints=(Hint("export", "54517018502"),)),
    "ListingsItemMfnQuantityChange": Facts(
        levels=(LevelObservation("NLS-SHOES-03", OWN_PLACE, 99, datetime(2021, 2, 3, 18, 59, 30, 194000, tzinfo=UTC)),)
    ),
    "FBAInventoryAvailabilityChangeNotification": Facts(
        levels=(LevelObservation("SELLERSKU-1", FBA_PLACE, 50, datetime(2020, 7, 13, 19, 42, 4, 284000, tzinfo=UTC)),)
    ),
}


def read(body: Any, marketplace: str = "ATVPDKIKX0DER") -> Facts | None:
    """As the reader of a queue and the drain do it, one after the other."""
    raw = json.dumps(body).encode()
    envelope = open_envelope(raw)
    topic, at = (UNREADABLE, None) if envelope is None else (envelope.topic, envelope.event_at)
    return parse(topic, raw, at, "USD", marketplace)


def changed(body: dict[str, Any], **payload: Any) -> dict[str, Any]:
    return {**body, "Payload": {**body["Payload"], **payload}}


def test_every_published_example_is_handled_or_left_with_a_cause(shared_dir: Path) -> None:
    found = {name: read(body) for name, body in samples(shared_dir).items()}
    assert len(found) == 19
    assert {name: facts for name, facts in found.items() if facts is not None} == EXPECTED


def test_trap_envelopes_are_spelt_in_two_ways_and_read_in_any(shared_dir: Path) -> None:
    for name, body in samples(shared_dir).items():
        if name not in EXPECTED:
            continue

        def shout(value: Any) -> Any:
            if isinstance(value, dict):
                return {key.upper(): shout(one) for key, one in value.items()}
            return [shout(one) for one in value] if isinstance(value, list) else value

        assert read(shout(body)) == EXPECTED[name]


@pytest.mark.parametrize("change", ["BuyerRequestedChange", "DeliveryTipChange", "OrderStatusChange", "SomethingNew"])
def test_whatever_changed_of_an_order_it_is_read_again(change: str) -> None:
    body = order_change("1-2")
    body["Payload"]["OrderChangeNotification"]["OrderChangeType"] = change
    assert read(body) == Facts(hints=(Hint("order", "1-2"),))


def test_only_the_sellers_own_stock_is_a_level_of_his_place(shared_dir: Path) -> None:
    body = samples(shared_dir)["ListingsItemMfnQuantityChange"]
    assert read(changed(body, FulfillmentChannelCode="AMAZON_NA")) == Facts(unused="not_our_stock")
    assert read(changed(body, FulfillmentChannelCode="default")) == EXPECTED["ListingsItemMfnQuantityChange"]


def test_trap_a_total_that_counts_inbound_units_is_never_read(shared_dir: Path) -> None:
    """Fulfillable alone, and of this marketplace alone."""
    body = samples(shared_dir)["FBAInventoryAvailabilityChangeNotification"]
    here = read(changed(body, totalQuantity=1000))
    assert here == EXPECTED["FBAInventoryAvailabilityChangeNotification"]
    assert read(body, "A1PA6795UKMFR9") == Facts(unused="other_marketplace")
    found = read(body, "A2EUQ1WTGCTBG2")
    assert found is not None
    assert [level.units for level in found.levels] == [40]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("ORDER_CHANGE", {}),
        ("ORDER_CHANGE", {"OrderChangeNotification": {"AmazonOrderId": 7}}),
        ("FEED_PROCESSING_FINISHED", {"feedProcessingFinishedNotification": []}),
        ("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", {"Sku": "A", "FulfillmentChannelCode": "DEFAULT", "Quantity": "7"}),
        ("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", {"Sku": "A", "FulfillmentChannelCode": "DEFAULT", "Quantity": 2**40}),
        ("FBA_INVENTORY_AVAILABILITY_CHANGES", {"SKU": "A", "FulfillmentInventoryByMarketplace": {}}),
        ("REPORT_PROCESSING_FINISHED", None),
    ],
)
def test_a_notification_that_lacks_what_we_need_is_unreadable(kind: str, payload: Any) -> None:
    body = {"NotificationType": kind, "EventTime": "2026-01-01T00:00:00Z", "Payload": payload}
    with pytest.raises(BadInput, match="cannot read"):
        read(body)


def test_a_level_without_a_time_is_unreadable(shared_dir: Path) -> None:
    body = samples(shared_dir)["ListingsItemMfnQuantityChange"]
    with pytest.raises(BadInput, match="EventTime"):
        read({**body, "EventTime": "yesterday"})


def test_bodies_are_kept_to_the_byte_but_for_secrets(shared_dir: Path) -> None:
    for body in samples(shared_dir).values():
        raw = json.dumps(body).encode()
        assert without_secrets(raw) == raw.replace(
            b'"DestinationPostalCode": "48110"', b'"DestinationPostalCode": null'
        )
    for said in (
        b'{"Summary":{"DestinationPostalCode":"SW1A 1AA","A":[1]}}',
        b'{"Summary":{"destinationpostalcode" : "SW1A \\u00311AA","A":[1]}}',
        b'{"Summary":{"DestinationPostalCode":99501,"A":[1]}}',
        json.dumps({"Message": json.dumps({"DestinationPostalCode": "SW1A \u00e41AA", "A": [1]})}).encode(),
    ):
        kept = without_secrets(said)
        for code in (b"SW1A", b"1AA", b"99501"):
            assert code not in kept
        assert json.loads(kept)
        assert b"[1]" in kept
    assert b"SW1A" not in without_secrets(b'{"DestinationPostalCode":"SW1A 1')
    said = b'{"notificationType":"application_oauth_client_new_secret","payload":{"newClientSecret":"plain"}}'
    assert b"plain" not in without_secrets(said)
    assert b"deadbeef" not in without_secrets(b"whatever amzn1.oa2-cs.v1.deadbeef came")
