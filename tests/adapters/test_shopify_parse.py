"""Inbox bodies to facts."""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adapters.shopify import UnreadableBody, verify_signature
from core.adapters.shopify.parsing import TOPICS, parse
from core.adapters.stamps import refined
from core.errors import BadInput
from core.ports import ChannelLine, ChannelOrder, ChannelRefund, ChannelRefundLine, Facts
from tests.adapters.bodies import BIG, BY_TOPIC, FULFILMENT, LEVEL, LINE, ORDER, REFUND


def read(topic: str, body: Any, triggered_at: datetime | None = None) -> Facts:
    facts = parse(topic, json.dumps(body).encode(), triggered_at, "USD")
    assert facts is not None
    return facts


def order(**changes: Any) -> ChannelOrder:
    return read("orders/updated", {**ORDER, **changes}).orders[0]


def line(**changes: Any) -> ChannelLine:
    return order(line_items=[{**LINE, **changes}]).lines[0]


def refund(**changes: Any) -> ChannelRefund:
    return read("refunds/create", {**REFUND, **changes}).refunds[0]


def unreadable(topic: str, body: Any) -> UnreadableBody:
    with pytest.raises(UnreadableBody) as caught:
        parse(topic, body if isinstance(body, bytes) else json.dumps(body).encode(), None, "USD")
    return caught.value


def test_an_order_in_our_words() -> None:
    found = order()
    assert (found.ref, found.name, found.source_ref) == (str(BIG), "#1042", "536365")
    assert found.placed_at == datetime(2026, 3, 1, 8, 59, tzinfo=UTC)
    assert found.created_at == datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
    assert (found.total_minor, found.currency, found.country_code) == (1125, "GBP", "GB")
    assert (found.customer_ref, found.financial_status, found.is_test) == ("207119551", "paid", False)
    assert found.lines == (ChannelLine(str(BIG + 1), "808950810", "MUG-1", "Mug – Red", 3, Decimal("4.25"), 150, 1125),)
    assert "ann@example.com" not in repr(found)


def test_taxes_and_carriage_are_told_apart_or_not_at_all() -> None:
    told = order(total_tax="1.87", total_shipping_price_set={"shop_money": {"amount": "3.95", "currency_code": "GBP"}})
    assert (told.tax_minor, told.shipping_minor) == (187, 395)
    for nothing in ({}, {"total_tax": None, "total_shipping_price_set": None}, {"total_shipping_price_set": {}}):
        said = order(**nothing)
        assert (said.tax_minor, said.shipping_minor) == (None, None)


def test_an_order_brings_its_fulfilments_and_refunds() -> None:
    (fulfilment,), (given_back,) = order().fulfilments, order().refunds
    assert (fulfilment.ref, fulfilment.order_ref, fulfilment.is_shipped) == ("255858046", str(BIG), True)
    assert fulfilment.lines == ((str(BIG + 1), 2),)
    assert (fulfilment.tracking_company, fulfilment.tracking_numbers) == ("UPS", ("1Z1", "1Z2"))
    assert fulfilment.fulfilled_at == datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
    assert (given_back.amount_minor, given_back.currency) == (400, "GBP")
    assert given_back.lines == (ChannelRefundLine(str(BIG + 1), 1, "return", 425),)
    assert given_back.refunded_at < given_back.created_at == datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_every_topic_is_read(topic: str) -> None:
    assert topic in TOPICS
    assert read(topic, BY_TOPIC[topic]) != Facts()


@pytest.mark.parametrize("topic", ["orders/paid", "customers/update", "", "poll/other"])
def test_other_topics_are_not_read_at_all(topic: str) -> None:
    assert parse(topic, b"not even json", None, "USD") is None


@pytest.mark.parametrize(
    "missing", ["fulfillments", "refunds", "customer", "billing_address", "source_identifier", "test"]
)
@pytest.mark.parametrize("how", ["absent", "null"])
def test_what_an_order_may_lack(missing: str, how: str) -> None:
    body = {**ORDER, missing: None}
    if how == "absent":
        del body[missing]
    assert read("orders/create", body).orders[0].lines == order().lines


@pytest.mark.parametrize("properties", [None, {}, {"a": 1}, [], [{"name": "x"}], "text"])
def test_properties_of_any_shape(properties: Any) -> None:
    assert line(properties=properties) == line()


@pytest.mark.parametrize("price", ["0.001", 0.001, "1E-3"])
def test_prices_finer_than_a_minor_unit(price: Any) -> None:
    found = line(price=price, quantity=1500, discount_allocations=[])
    assert (found.unit_price, found.total_minor) == (Decimal("0.001"), 150)


def test_discounts_by_allocation_else_by_line() -> None:
    assert line(discount_allocations=[], total_discount="0.99").discount_minor == 99
    assert line(discount_allocations=None, total_discount=None).discount_minor == 0
    assert line(total_discount="7.00").discount_minor == 150


@pytest.mark.parametrize(
    ("changes", "units", "is_edited", "tells_units"),
    [
        ({"current_quantity": 2, "refunds": []}, 2, True, True),
        ({"current_quantity": 0, "refunds": []}, 0, True, True),
        ({"current_quantity": 2}, 3, False, True),
        ({"current_quantity": 1}, 2, True, True),
        ({"current_quantity": None, "refunds": []}, 3, False, True),
        ({"current_quantity": 5, "refunds": []}, 3, False, True),
        ({"current_quantity": 0, "refunds": [], "cancelled_at": "2026-03-02T10:00:00Z"}, 3, False, False),
    ],
    ids=["edited", "taken off", "refunded", "both", "not said", "more than ordered", "cancelled"],
)
def test_trap_units_that_an_edit_took_off_are_in_current_quantity_only(
    changes: dict[str, Any], units: int, is_edited: bool, tells_units: bool
) -> None:
    """`quantity` stays what was ordered, and `current_quantity` is without refunded units too: one of three here."""
    current = changes.pop("current_quantity")
    found = order(line_items=[{**LINE, "current_quantity": current}], **changes)
    assert (found.lines[0].units, found.is_edited, found.tells_units) == (units, is_edited, tells_units)


@pytest.mark.parametrize(("current", "tells_units"), [(1, False), (3, True)])
def test_a_body_without_its_refunds_does_not_say_what_was_edited(current: int, tells_units: bool) -> None:
    body = {key: value for key, value in ORDER.items() if key != "refunds"}
    body["line_items"] = [{**LINE, "current_quantity": current}]
    found = read("orders/updated", body).orders[0]
    assert (found.lines[0].units, found.tells_units) == (3, tells_units)


def test_currencies_without_hundredths() -> None:
    yen = order(currency="JPY", total_price="1125", line_items=[{**LINE, "price": "500", "discount_allocations": []}])
    assert (yen.total_minor, yen.lines[0].total_minor) == (1125, 1500)


def test_a_body_without_a_currency_has_the_shops() -> None:
    assert order(currency=None).currency == "USD"


def test_ids_beyond_doubles_are_exact_however_written() -> None:
    assert order(id=2**63 + 1).ref == str(2**63 + 1)
    assert order(id=str(BIG)).ref == str(BIG)


@pytest.mark.parametrize("bad", [float(BIG), "12x", "", None, True, -5, 0, [1], {"a": 1}, 10**30, "1e3"])
def test_what_is_no_id(bad: Any) -> None:
    assert unreadable("orders/create", {**ORDER, "id": bad}).place == "id"


@pytest.mark.parametrize("bad", [1.5, 3.0, -1, "x", None, 10**12, True])
def test_what_is_no_quantity(bad: Any) -> None:
    body = {**ORDER, "line_items": [LINE, LINE, LINE, {**LINE, "quantity": bad}]}
    assert unreadable("orders/create", body).place == "line_items[3].quantity"


@pytest.mark.parametrize(
    "bad", ["2026-03-01T09:00:00", "2026-03-01", "yesterday", 1772355600, None, "0001-01-01T00:00:00+14:00"]
)
def test_instants_say_their_offset(bad: Any) -> None:
    assert unreadable("orders/create", {**ORDER, "created_at": bad}).place == "created_at"


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e400", "x", True, [], "9" * 30])
def test_what_is_no_price(bad: Any) -> None:
    assert unreadable("orders/create", {**ORDER, "line_items": [{**LINE, "price": bad}]}).place == "line_items[0].price"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"id": "\\ud800"}', b"[" * 5000])
@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_what_is_no_body(topic: str, body: bytes) -> None:
    unreadable(topic, body)


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_an_empty_object_says_nothing(topic: str) -> None:
    unreadable(topic, {})


def test_the_error_names_the_place_and_no_value() -> None:
    error = unreadable("orders/create", {**ORDER, "line_items": [{**LINE, "price": "ann@example.com"}]})
    assert "line_items[0].price" in str(error)
    assert "example" not in str(error)


def test_an_order_without_its_lines_is_not_an_empty_order() -> None:
    assert (
        unreadable("orders/create", {key: value for key, value in ORDER.items() if key != "line_items"}).place
        == "line_items"
    )
    assert order(line_items=None).lines == ()


def test_lines_with_one_id_are_refused() -> None:
    unreadable("orders/create", {**ORDER, "line_items": [LINE, LINE]})


def test_blank_codes_are_none_and_nul_is_taken_out() -> None:
    assert line(sku="").code is None
    assert line(sku="  ").code is None
    assert line(sku="a\x00b").code == "ab"
    assert line(sku=" A ").code == " A "
    assert line(name=None, title=None).title == ""


@pytest.mark.parametrize(
    ("status", "shipped"),
    [
        ("success", True),
        (None, True),
        ("SUCCESS", True),
        ("pending", False),
        ("open", False),
        ("cancelled", False),
        ("error", False),
        ("failure", False),
    ],
)
def test_which_fulfilments_have_left(status: str | None, shipped: bool) -> None:
    (found,) = read("fulfillments/create", {**FULFILMENT, "status": status}).fulfilments
    assert found.is_shipped is shipped


def test_fulfilments_without_lines_and_lines_named_twice() -> None:
    (bare,) = read("fulfillments/create", {**FULFILMENT, "line_items": None}).fulfilments
    assert bare.lines == ()
    twice = [{"id": 1, "quantity": 2}, {"id": 1, "quantity": 3}, {"id": 2, "quantity": 0}]
    (summed,) = read("fulfillments/create", {**FULFILMENT, "line_items": twice}).fulfilments
    assert summed.lines == (("1", 5),)


@pytest.mark.parametrize("topic", ["fulfillments/create", "refunds/create"])
def test_what_stands_alone_must_name_its_order(topic: str) -> None:
    assert unreadable(topic, {**BY_TOPIC[topic], "order_id": None}).place == "order_id"


def test_old_refunds_restock_by_a_flag_of_the_whole() -> None:
    lines = [{"line_item_id": 1, "quantity": 1}]
    assert refund(refund_line_items=lines, restock=True).lines[0].restock == "legacy_restock"
    assert refund(refund_line_items=lines, restock=False).lines[0].restock == "no_restock"
    assert refund(refund_line_items=lines, restock=None).lines[0].restock == "no_restock"


def test_an_unknown_restock_is_not_guessed() -> None:
    lines = [{"line_item_id": 1, "quantity": 1, "restock_type": "teleport"}]
    assert unreadable("refunds/create", {**REFUND, "refund_line_items": lines}).place == "restock_type"


def test_without_a_transaction_the_lines_are_worth_the_refund() -> None:
    assert refund(transactions=[]).amount_minor == 425
    assert refund(transactions=None).amount_minor == 425


def test_a_level_that_is_not_counted_has_no_units() -> None:
    (level,) = read("inventory_levels/update", {**LEVEL, "available": None}).levels
    assert level.units is None
    (level,) = read("inventory_levels/update", LEVEL).levels
    assert (level.inventory_ref, level.location_ref, level.units) == (str(BIG), "24826418", -2)


def test_a_product_is_a_listing_for_each_variant() -> None:
    first, second = read("products/update", BY_TOPIC["products/update"]).listings
    assert (first.ref, first.inventory_ref, first.product_ref, first.code) == (str(BIG), "5", "632910392", None)
    assert (first.title, first.status, first.is_tracked, first.levels) == ("Mug – Red", "draft", False, ())
    assert first.version_at == datetime(2026, 3, 1, 10, 0, 7, tzinfo=UTC)
    assert (second.title, second.code, second.is_tracked) == ("Mug", "MUG-2", True)
    assert {item.category for item in (first, second)} == {None}


@pytest.mark.parametrize(("said", "category"), [("Mugs", "Mugs"), (" Mugs ", "Mugs"), ("", None), (None, None)])
def test_a_products_type_is_its_category(said: str | None, category: str | None) -> None:
    listings = read("products/update", {**BY_TOPIC["products/update"], "product_type": said}).listings
    assert {item.category for item in listings} == {category}


def test_the_trigger_breaks_ties_within_the_second() -> None:
    updated = datetime(2026, 3, 1, 10, 0, 5, tzinfo=UTC)
    assert refined(updated, None) == updated
    assert refined(updated, updated - timedelta(seconds=9)) == updated
    assert refined(updated, updated + timedelta(microseconds=3)) == updated + timedelta(microseconds=3)
    assert refined(updated, updated + timedelta(hours=1)) == updated + timedelta(microseconds=999_999)
    (level,) = read("inventory_levels/update", LEVEL, datetime(2026, 3, 1, 10, 0, 0, 7, tzinfo=UTC)).levels
    assert level.observed_at.microsecond == 7
    assert read("orders/create", ORDER, datetime(2027, 1, 1, tzinfo=UTC)).orders[0].version_at.microsecond == 999_999


def test_signatures_of_the_present_and_the_former_secret() -> None:
    body = '{"id":820982911946154508,"note":"café","total_price":"398.00"}'.encode()
    header = "Z6LA83zSRftUphtWqAS+N8xfg0DhZ8cIBThkafw1lDw="
    assert verify_signature(["example-client-secret-not-real"], body, header)
    assert verify_signature(["new", "example-client-secret-not-real"], body, header)
    assert not verify_signature(["new"], body, header)
    assert not verify_signature([], body, header)
    assert not verify_signature(["example-client-secret-not-real"], body + b" ", header)
    assert not verify_signature(["example-client-secret-not-real"], body, None)
    assert not verify_signature(["example-client-secret-not-real"], body, "é" * 44)
    unsigned = base64.b64encode(hmac.new(b"", body, hashlib.sha256).digest()).decode()
    assert not verify_signature([""], body, unsigned)


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**40, "1E-99999", "9e9"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A topic and a body of ours with up to four places replaced, dropped or doubled."""
    topic = draw(st.sampled_from(sorted(BY_TOPIC)))
    body = copy.deepcopy(BY_TOPIC[topic])
    for _ in range(draw(st.integers(1, 4))):
        _mutate(draw, body)
    return topic, json.dumps(body).encode()


def _mutate(draw: st.DrawFn, node: Any) -> None:
    while isinstance(node, (dict, list)) and node:
        keys: list[Any] = sorted(node, key=str) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], (dict, list)) and node[key] and draw(st.booleans()):
            node = node[key]
            continue
        if draw(st.booleans()):
            node[key] = draw(JUNK)
        elif isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        else:
            del node[key]
        return


@given(mutated(), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_whatever_comes_is_read_or_refused_by_name(delivery: tuple[str, bytes], triggered_at: datetime | None) -> None:
    topic, body = delivery
    facts = None
    with contextlib.suppress(BadInput):
        facts = parse(topic, body, triggered_at, "GBP")
    for found in facts.orders if facts else ():
        assert found.version_at.tzinfo is UTC
        assert all(abs(line.total_minor) < 2**63 and line.units >= 0 for line in found.lines)


@given(st.binary(max_size=200), st.sampled_from(sorted(BY_TOPIC)))
def test_noise_is_refused_by_name(body: bytes, topic: str) -> None:
    with pytest.raises(BadInput):
        parse(topic, body, None, "GBP")


@given(st.integers(2**53, 2**64 - 1))
def test_every_id_beyond_doubles_is_exact(number: int) -> None:
    assert order(id=number).ref == str(number)
    assert line(id=number, variant_id=number).variant_ref == str(number)
