"""What failed, looked at and mended: people are covered, full looks on record, money and signatures untouchable."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from sqlalchemy import Connection

from core.adapters import registry
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput
from core.ports import Facts
from core.recovery import payloads
from core.recovery.masking import masked, shown
from core.recovery.payloads import Edited, NotEditable, UnknownFailure
from tests.factories import NOW, World, later, make_world
from tests.recovery.failing import ADA, dead_notice, groups, items, order_body, park, run_job

SECRETS = ("Jo", "Smith", "jo@example.com", "7946", "High Street", "N1 9GU", "51.5")


def parse(vendor: str, currency: str, marketplace: str, topic: str, body: bytes, at: datetime | None) -> Facts | None:
    return registry.parser(vendor, currency, {"marketplace_id": marketplace})(topic, body, at)


def polled(quantity: object = "two", total: str = "19.90", ref: str = "5", **more: object) -> bytes:
    """An order as it was polled; its quantity may be none."""
    money = {"shopMoney": {"amount": total}}
    order = {
        "legacyResourceId": ref,
        "createdAt": "2024-03-04T12:00:00Z",
        "updatedAt": "2024-03-04T12:00:00Z",
        "name": "#5",
        "totalPriceSet": money,
        "lineItems": {"nodes": [{"id": "gid://shopify/LineItem/1", "sku": "MUG", "name": "The mug",
                                 "quantity": quantity, "originalUnitPriceSet": money}]},
    }  # fmt: skip
    return json.dumps(order | more).encode()


def edit(conn: Connection, world: World, message: int, body: bytes, actor: Actor = ADA) -> Edited:
    return payloads.edit_and_requeue(
        conn, world.shop_id, message, body.decode(), actor, later(5), parse, registry.mentions
    )


def test_a_body_is_shown_with_its_structure_and_without_its_people(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, order_body(1))
    found = payloads.payload(conn, world.shop_id, "message", message)
    assert (found.media_type, found.is_masked, found.is_editable) == ("application/json", True, False)
    assert not any(secret in found.text for secret in SECRETS)
    said, whole = json.loads(found.text), json.loads(order_body(1))

    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {name: shape(inner) for name, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else None

    assert shape(said) == shape(whole)
    assert (said["id"], said["name"], said["line_items"][0]["name"]) == (1, "#1", "The mug")
    assert said["shipping_address"]["country_code"] == "GB"
    assert said["customer"]["id"] == 7
    assert scalar(conn, "select count(*) from audit_entries where act = 'show_payload'") == 0


def test_the_whole_of_it_only_on_record(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, order_body(1))
    found = payloads.show(conn, world.shop_id, "message", message, ADA, NOW)
    assert "High Street" in found.text
    assert not found.is_masked
    entry = fetch_one(conn, "select actor, subject, reason from audit_entries where act = 'show_payload'")
    assert entry is not None
    assert tuple(entry.values()) == ("Ada", f"failure:message:{message}", ADA.reason)


def test_a_body_that_is_no_json_shows_only_its_shape(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, b"Jo Smith, 1 High Street \xff")
    found = payloads.payload(conn, world.shop_id, "message", message)
    assert (found.text, found.media_type, found.is_editable) == ("xx xxxxx, 0 xxxx xxxxxx \ufffd", "text/plain", False)
    assert shown("a" * 50_000) == "x" * 20_000


def test_jobs_and_notices_are_shown_too(conn: Connection, world: World) -> None:
    run = run_job(conn, "stock.push", {"shop_id": world.shop_id, "connection_id": 3}, "failed", NOW)
    notice = dead_notice(conn, world.shop_id, "mail jo@example.com")
    assert json.loads(payloads.payload(conn, world.shop_id, "job", run).text) == {
        "function": "stock.push",
        "arguments": {"shop_id": world.shop_id, "connection_id": 3},
    }
    assert json.loads(payloads.payload(conn, world.shop_id, "outbox", notice).text) == {"text": "mail ***@***"}
    for source in ("job", "message", "outbox"):
        with pytest.raises(UnknownFailure):
            payloads.payload(conn, world.shop_id, source, 10**9)
    other = make_world(conn)
    with pytest.raises(UnknownFailure):
        payloads.payload(conn, other.shop_id, "job", run)


def test_values_of_people_are_covered_wherever_they_stand() -> None:
    said = masked({"Buyer-Info": [{"name": "Jo", "age": 7, "vip": True, "id": 4}], "a": {"contactEmail": None},
                   "gift_message": ["for Jo"], "title": "call +44 20 7946 0958"})  # fmt: skip
    assert said == {"Buyer-Info": [{"name": "***", "age": 0, "vip": True, "id": 4}], "a": {"contactEmail": None},
                    "gift_message": ["***"], "title": "call ***"}  # fmt: skip


def test_people_are_covered_in_parcels_parties_and_what_a_queue_wraps() -> None:
    said = masked(
        {
            "destination": {"name": "Jo Smith", "country_code": "GB"},
            "shipToParty": {"name": "Jo Smith", "attention": "Jo", "countryCode": "GB"},
            "buyerTaxInfo": {"companyLegalName": "Smith Ltd"},
            "Message": json.dumps({"BuyerInfo": {"BuyerName": "Jo Smith"}, "AmazonOrderId": "902-1"}),
            "list": '[1, {"email": "jo@example.com"}]',
            "text": "[no JSON",
        }
    )
    assert not any(secret in json.dumps(said) for secret in ("Jo", "Smith", "example.com"))
    assert (said["destination"]["country_code"], said["shipToParty"]["countryCode"]) == ("GB", "GB")
    assert json.loads(said["Message"])["AmazonOrderId"] == "902-1"
    assert said["text"] == "[no JSON"


def test_a_version_that_was_missing_may_be_given_and_not_from_after_the_message(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, polled(2, updatedAt=None), topic="poll/orders", road="poll")
    with pytest.raises(NotEditable, match="after the message came"):
        edit(conn, world, message, polled(2, updatedAt="2099-01-01T00:00:00Z"))
    edit(conn, world, message, polled(2, updatedAt="2024-03-04T11:59:00Z"))


def test_a_mended_copy_takes_its_place(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, polled(), topic="poll/orders", road="poll")
    original = fetch_one(conn, "select * from inbox_messages where id = %(id)s", id=message)
    assert original is not None
    execute(conn, "update connections set watermark_next_at = now(), watermark_next_inbox_id = %(id)s"
                  " where id = %(c)s", id=message, c=world.connection.id)  # fmt: skip
    assert payloads.payload(conn, world.shop_id, "message", message).is_editable
    done = edit(conn, world, message, polled(2))
    assert done.delivery_id == f"{original['delivery_id']}#edit-1"
    rows = fetch(conn, "select * from inbox_messages order by id")
    was, copy = rows
    assert bytes(was["body"]) == polled(), "verbatim"
    assert (was["state"], was["replaced_by"], was["discarded_by"]) == ("discarded", copy["id"], "Ada")
    assert (copy["state"], copy["replaces_id"], copy["edited_by"], copy["edited_reason"], copy["topic"]) == (
        "received", message, "Ada", ADA.reason, "poll/orders",
    )  # fmt: skip
    assert groups(conn, world.shop_id) == []
    assert [row["state"] for row in items(conn, world.shop_id)] == ["superseded"]
    # A watermark that the original held up does not pass before the copy is handled.
    assert scalar(conn, "select watermark_next_inbox_id from connections where id = %(c)s",
                  c=world.connection.id) == copy["id"]  # fmt: skip
    entry = fetch_one(conn, "select subject, details from audit_entries where act = 'edit_message'")
    assert entry is not None
    assert (entry["subject"], entry["details"]["changed"]) == (f"message:{message}", ["lineItems.nodes[0].quantity"])
    with pytest.raises(NotEditable, match="it is discarded"):
        edit(conn, world, message, polled(3))


def test_a_copy_that_was_parked_is_mended_in_turn(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, polled(), topic="poll/orders", road="poll")
    first = edit(conn, world, message, polled(2))
    execute(conn, "update inbox_messages set state = 'parked', cause = 'unexpected' where id = %(id)s",
            id=first.message_id)  # fmt: skip
    second = edit(conn, world, first.message_id, polled(3))
    assert second.delivery_id == first.delivery_id.replace("#edit-1", "#edit-2")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (polled(2, total="9.90"), "is about money"),
        (polled(2, ref="6"), "another order"),
        (polled(2, displayFinancialStatus="PAID"), "is about money"),
        (polled(2, updatedAt="2099-01-01T00:00:00Z"), "another version"),
        (polled(2, updatedAt="2024-03-04T11:00:00Z"), "another version"),
        (polled(2, updatedAt=None), "another version"),
        (polled(), "the same as before"),
        (b"{", "no JSON"),
        (json.dumps({"pad": "x" * (1024 * 1024)}).encode(), "bytes"),
        (json.dumps({**json.loads(polled(2)), "totalPriceSet": None}).encode(), "is about money"),
    ],
)
def test_what_a_copy_may_not_do(conn: Connection, world: World, body: bytes, why: str) -> None:
    (message,) = park(conn, world, polled(), topic="poll/orders", road="poll")
    with pytest.raises(NotEditable, match=why):
        edit(conn, world, message, body)
    assert scalar(conn, "select count(*) from inbox_messages") == 1
    assert scalar(conn, "select state from inbox_messages") == "parked"


def test_a_copy_that_the_channels_adapter_cannot_read_is_refused_with_its_place(conn: Connection, world: World) -> None:
    (message,) = park(conn, world, polled(), topic="poll/orders", road="poll")
    with pytest.raises(BadInput, match="quantity"):
        edit(conn, world, message, polled("three"))


@pytest.mark.parametrize(
    ("road", "topic"),
    [
        ("webhook", "orders/create"),
        ("poll", "refunds/create"),
        ("queue", "notification/APPLICATION_OAUTH_CLIENT_NEW_SECRET"),
        ("poll", "order_transactions/create"),
    ],
)
def test_what_is_signed_moves_money_or_speaks_of_credentials_is_never_edited(
    conn: Connection, world: World, road: str, topic: str
) -> None:
    (message,) = park(conn, world, polled(), topic=topic, road=road)
    found = payloads.payload(conn, world.shop_id, "message", message)
    assert (found.is_editable, bool(found.why_not)) == (False, True)
    assert [row["is_editable"] for row in items(conn, world.shop_id)] == [False]
    with pytest.raises(NotEditable):
        edit(conn, world, message, polled(2))
