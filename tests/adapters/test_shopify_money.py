"""What an order's money consists of, as Shopify tells it: taxes, carriage, codes; by webhook and by poll alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.adapters.shopify.parsing import parse
from core.ports import ChannelOrder, ChannelRefund
from tests.adapters.accounts import Account
from tests.adapters.bodies import LINE, ORDER, REFUND
from tests.sandbox.outside import Receiver

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def order(**changes: Any) -> ChannelOrder:
    facts = parse("orders/updated", json.dumps({**ORDER, **changes}).encode(), None, "USD")
    assert facts is not None
    return facts.orders[0]


def refund(**changes: Any) -> ChannelRefund:
    facts = parse("refunds/create", json.dumps({**REFUND, **changes}).encode(), None, "USD")
    assert facts is not None
    return facts.refunds[0]


def polled(**changes: Any) -> ChannelOrder:
    money = {"shopMoney": {"amount": "1.00"}}
    line = {"id": "gid://shopify/LineItem/1", "quantity": 4, "originalUnitPriceSet": money}
    node = {
        "legacyResourceId": "1",
        "createdAt": "2026-03-01T09:00:00Z",
        "totalPriceSet": money,
        "lineItems": {"nodes": [{**line, **changes.pop("line", {})}]},
        "refunds": [changes.pop("refund")] if "refund" in changes else [],
    }
    facts = parse("poll/orders", json.dumps({**node, **changes}).encode(), None, "GBP")
    assert facts is not None
    return facts.orders[0]


def line_tax(**changes: Any) -> int | None:
    return order(line_items=[{**LINE, **changes}]).lines[0].tax_minor


# --- real bodies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def captured(shared_dir: Path) -> Callable[[str], Any]:
    """A body as it came, by its file's name."""
    folder = shared_dir / "data" / "webhooks" / "shopify_rest_2024-04"
    return lambda name: json.loads((folder / name).read_text())


def test_a_captured_order_tells_its_taxes_and_codes(captured: Callable[[str], Any]) -> None:
    body = captured("order__15.json")["response"]["order"]
    facts = parse("orders/updated", json.dumps(body).encode(), None, "USD")
    assert facts is not None
    (found,) = facts.orders
    # Its attributes are an engraving and a colour: nobody is named by them.
    assert (found.taxes_included, found.codes, found.tax_minor) == (False, ("TENOFF",), 1194)
    assert [line.tax_minor for line in found.lines] == [398, 398, 398]
    (given_back,) = found.refunds
    # Its only adjustment is a discrepancy, which is no carriage.
    assert (given_back.shipping_minor, given_back.shipping_tax_minor) == (0, 0)
    assert [line.tax_minor for line in given_back.lines] == [398]


def test_a_captured_refund_of_carriage_alone(captured: Callable[[str], Any]) -> None:
    body = captured("refund__3.json")["response"]["refund"]
    facts = parse("refunds/create", json.dumps(body).encode(), None, "USD")
    assert facts is not None
    (found,) = facts.refunds
    assert (found.amount_minor, found.shipping_minor, found.shipping_tax_minor, found.lines) == (500, 500, 0, ())


# --- what is told, and what is not ------------------------------------------------------------------------------------


def test_what_is_not_told_is_not_known() -> None:
    found = order()
    assert (found.taxes_included, found.codes, found.lines[0].tax_minor) == (None, (), None)
    assert (found.refunds[0].shipping_minor, found.refunds[0].shipping_tax_minor) == (None, None)
    assert found.refunds[0].lines[0].tax_minor is None
    old = polled(
        refund={"legacyResourceId": "2", "processedAt": "2026-03-01T09:00:00Z", "refundLineItems": {"nodes": []}}
    )
    assert (old.taxes_included, old.codes, old.lines[0].tax_minor) == (None, (), None)
    assert (old.refunds[0].shipping_minor, old.refunds[0].shipping_tax_minor) == (None, None)


@pytest.mark.parametrize("said", [True, False, None])
def test_whether_prices_contain_taxes_is_taken_as_told(said: bool | None) -> None:
    assert order(taxes_included=said).taxes_included is said
    assert polled(taxesIncluded=said).taxes_included is said


def test_codes_and_what_names_somebody_once_each_as_typed() -> None:
    noted = {"Ref": "maya", "REFERRAL": "MAYA10", "gift": "for Ann", "creator": " Elif  Kaya ", "affiliate": None}
    used = ["MAYA10", "maya10", "MAYA10"]
    expected = ("MAYA10", "maya10", "maya", "Elif Kaya")
    pairs = [{"name": name, "value": value} for name, value in noted.items()]
    assert order(discount_codes=[{"code": code, "amount": "1.00"} for code in used], note_attributes=pairs).codes == (
        expected
    )
    # Some bodies have the attributes as an object.
    assert order(discount_codes=[{"code": code} for code in used], note_attributes=noted).codes == expected
    pairs = [{"key": name, "value": value} for name, value in noted.items()]
    assert polled(discountCodes=used, customAttributes=pairs).codes == expected


@pytest.mark.parametrize("noise", [None, [], {}, "x", 3, [None, 3, "x", {}], [{"name": "ref", "value": {"a": 1}}]])
def test_what_somebody_noted_never_keeps_an_order_from_being_read(noise: Any) -> None:
    assert order(note_attributes=noise, discount_codes=noise).codes == ()
    assert polled(customAttributes=noise).codes == ()


def test_a_lines_taxes_are_summed_in_the_shops_money() -> None:
    def bag(amount: str) -> dict[str, Any]:
        return {"shop_money": {"amount": amount}, "presentment_money": {"amount": "99.00"}}

    assert line_tax(tax_lines=[]) == 0
    assert line_tax(tax_lines=[{"price": "0.83"}, {"price": 0.5}]) == 133
    assert line_tax(tax_lines=[{"price": "9.99", "price_set": bag("0.83")}, {"price_set": bag("0.005")}]) == 84
    # One that does not say how much it is leaves the sum unknown.
    assert line_tax(tax_lines=[{"price": "0.83"}, {"title": "VAT"}]) is None
    assert line_tax(tax_lines=None) is None
    shares = [{"priceSet": {"shopMoney": {"amount": amount}}} for amount in ("0.83", "0.50")]
    assert polled(line={"taxLines": shares}).lines[0].tax_minor == 133


def test_the_taxes_of_units_that_an_edit_took_off_are_not_the_lines() -> None:
    assert line_tax(tax_lines=[{"price": "1.00"}], quantity=3, current_quantity=1) == 67  # one was refunded, one left
    share = {"priceSet": {"shopMoney": {"amount": "1.00"}}}
    assert polled(line={"taxLines": [share], "currentQuantity": 3}).lines[0].tax_minor == 75
    assert polled(line={"taxLines": [share], "currentQuantity": 0}).lines[0].tax_minor == 0
    # Of a cancelled one nothing is left, and nobody can say what an edit had taken before.
    assert (
        polled(line={"taxLines": [share], "currentQuantity": 0}, cancelledAt="2026-03-01T10:00:00Z").lines[0].tax_minor
        == 100
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (None, None)),
        ({"order_adjustments": []}, (0, 0)),
        ({"refund_shipping_lines": []}, (0, 0)),
        ({"order_adjustments": [{"kind": "shipping_refund", "amount": "-3.95", "tax_amount": "-0.66"}]}, (395, 66)),
        ({"order_adjustments": [{"kind": "refund_discrepancy", "amount": "8.00", "tax_amount": "0.00"}]}, (0, 0)),
        ({"order_adjustments": [{"kind": "shipping_refund", "amount": "-3.95"}]}, (395, None)),
    ],
)  # fmt: skip
def test_carriage_given_back(told: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    found = refund(**told)
    assert (found.shipping_minor, found.shipping_tax_minor) == expected


def test_carriage_told_in_both_ways_is_given_back_once() -> None:
    bag = {"shop_money": {"amount": "135.00"}}
    tax = {"shop_money": {"amount": "22.50"}}
    adjustments = [
        {"kind": "refund_discrepancy", "amount": "135.00", "tax_amount": "0.00"},
        {"kind": "shipping_refund", "amount": "-135.00", "tax_amount": "-22.50"},
    ]
    lines = [{"subtotal_amount_set": bag, "tax_amount_set": tax}]
    found = refund(refund_shipping_lines=lines, order_adjustments=adjustments)
    assert (found.shipping_minor, found.shipping_tax_minor) == (13500, 2250)
    # Where the newer way has nothing the older one may.
    found = refund(refund_shipping_lines=[], order_adjustments=adjustments)
    assert (found.shipping_minor, found.shipping_tax_minor) == (13500, 2250)


# --- both roads -------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    listening = Receiver().start()
    yield listening
    listening.stop()


def line(sku: str, quantity: int, price: str, rate: str = "0") -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "price": price, "tax_rate": rate}


MAYA = {
    "key": "maya",
    "country": "GB",
    "taxes_included": True,
    "discount": "1.37",
    "discount_codes": ["MAYA10"],
    "note_attributes": [{"name": "ref", "value": "maya"}, {"name": "gift", "value": "yes"}],
    "shipping": {"price": "3.95", "tax_rate": "0.20"},
    "lines": [line("SKU-1", 3, "4.55", "0.20"), line("SKU-2", 1, "0.05", "0.07"), line("SKU-3", 2, "2.00")],
}
ON_TOP = {**MAYA, "key": "on top", "taxes_included": False, "discount_codes": [], "note_attributes": []}
PLAIN = {"key": "plain", "lines": [line("SKU-4", 2, "1.00")]}


@pytest.mark.parametrize("shop", ["sandbox"], indirect=True)
def test_a_poll_tells_the_same_money_as_the_webhooks(shop: Account, receiver: Receiver) -> None:
    channel = shop.channel()
    channel.ensure_subscriptions(receiver.url)
    path = f"/shopify/{shop.config.account_ref}"
    placed = shop.control.post(f"{path}/orders", {"orders": [MAYA, ON_TOP, PLAIN]})["orders"]
    ids = {order["key"]: order["id"] for order in placed}
    lines = {order["key"]: [line["id"] for line in order["lines"]] for order in placed}
    part = {"quantity": 1, "restock_type": "cancel"}
    refunds = [
        {"key": "r1", "order_id": ids["maya"], "lines": [{**part, "line_id": lines["maya"][0]}], "shipping": "1.00"},
        {"key": "r2", "order_id": ids["maya"], "shipping": "2.95"},
        {"key": "r3", "order_id": ids["maya"], "lines": [{**part, "line_id": lines["maya"][0]}]},
        {
            "key": "r4",
            "order_id": ids["on top"],
            "lines": [{**part, "line_id": lines["on top"][0]}],
            "shipping": "3.95",
        },
        {"key": "r5", "order_id": ids["plain"], "lines": [{**part, "line_id": lines["plain"][0]}]},
    ]
    made = shop.control.post(f"{path}/refunds", {"refunds": refunds})["refunds"]
    assert not any("error" in each for each in made), made
    taken_off = [{"line_id": lines["on top"][2], "quantity": 1}]
    added = [line("SKU-5", 2, "3.00", "0.20")]
    shop.control.post(f"{path}/edit", {"key": "e", "order_id": ids["on top"], "add": added, "remove": taken_off})
    receiver.wait(6, "orders/updated")

    said: dict[str, ChannelOrder] = {}
    for letter in [*receiver.of("orders/create"), *receiver.of("orders/updated")]:
        facts = channel.parse(
            letter.topic, letter.raw, datetime.fromisoformat(letter.headers["x-shopify-triggered-at"])
        )
        assert facts is not None
        (told,) = facts.orders
        said[told.ref] = max(said.get(told.ref, told), told, key=lambda each: each.version_at)
    found = [each for page in channel.orders_since(LONG_AGO) for each in page.orders]
    read = [channel.parse("poll/orders", body, None) for _, _, body in found]
    orders = {each.ref: each for facts in read if facts for each in facts.orders}
    assert sorted(orders) == sorted(said) == sorted(map(str, ids.values()))
    for ref, told in said.items():
        # A poll breaks ties within a second by when it read.
        assert replace(orders[ref], version_at=told.version_at) == told

    maya, on_top, plain = (orders[str(ids[key])] for key in ("maya", "on top", "plain"))
    assert (maya.taxes_included, maya.codes) == (True, ("MAYA10", "maya"))
    assert [each.tax_minor for each in maya.lines] == [210, 0, 0]
    assert (maya.shipping_minor, maya.tax_minor) == (395, 210 + 66)
    assert maya.total_minor == sum(each.total_minor for each in maya.lines) + 395
    assert [(each.shipping_minor, each.shipping_tax_minor) for each in maya.refunds] == [(100, 17), (295, 49), (0, 0)]
    assert [each.tax_minor for each in maya.refunds[0].lines] == [70]
    assert maya.refunds[0].amount_minor == maya.refunds[0].lines[0].subtotal_minor + 100
    assert (on_top.taxes_included, on_top.codes) == (False, ())
    # Taxes are paid on top, and those of what an edit took off are not the line's any more.
    assert on_top.refunds[0].amount_minor == (
        on_top.refunds[0].lines[0].subtotal_minor + (on_top.refunds[0].lines[0].tax_minor or 0) + 395 + 79
    )
    assert [each.units for each in on_top.lines] == [3, 1, 1, 2]
    assert on_top.lines[3].tax_minor == 120
    assert (plain.taxes_included, plain.codes, plain.tax_minor, plain.shipping_minor) == (False, (), 0, 0)
    assert (plain.total_minor, plain.refunds[0].amount_minor, plain.refunds[0].shipping_minor) == (200, 100, 0)


@pytest.mark.parametrize("shop", ["sandbox"], indirect=True)
def test_what_is_cancelled_gives_all_of_its_money_back(shop: Account) -> None:
    path = f"/shopify/{shop.config.account_ref}"
    (placed,) = shop.control.post(f"{path}/orders", {"orders": [ON_TOP]})["orders"]
    shop.control.post(f"{path}/cancellations", {"cancellations": [{"key": "c", "order_id": placed["id"]}]})
    channel = shop.channel()
    ((_, _, body),) = (each for page in channel.orders_since(LONG_AGO) for each in page.orders)
    facts = channel.parse("poll/orders", body, None)
    assert facts is not None
    (found,) = facts.orders
    assert found.financial_status == "refunded"
    assert found.refunds[0].amount_minor == found.total_minor
