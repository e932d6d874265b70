"""Amazon's orders as the adapter reads them: sweeps, single orders, and what bodies mean."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adapters.amazon import parsing
from core.adapters.amazon.orders import Orders
from core.adapters.amazon.parsing import UnreadableOrder
from core.adapters.base import Deps
from core.adapters.http import Refused, Throttled
from core.adapters.registry import make_channel
from core.ports import ChannelLine, ChannelOrder, PackageSent
from tests.adapters.accounts import amazon_account
from tests.adapters.canned_amazon_orders import CannedOrders, item_body, order_body, stamp

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)


class Seller:
    """An account on the vendor's own clock, whose quota has been resting for an hour and a half."""

    def __init__(self, canned: CannedOrders, rested: float = 5400.0) -> None:
        self.canned, self.time = canned, 0.0
        self.account = amazon_account(canned)
        self.account.config = replace(
            self.account.config, settings={**self.account.config.settings, "clock_factor": 1.0}
        )
        deps = Deps(
            self.account.log.append,
            None,
            self.account.network,
            self.now,
            self._sleep,
            clock=lambda: self.time,
        )
        self.channel = make_channel(self.account.config, deps)
        self.time += rested

    def now(self) -> datetime:
        assert self.canned.now is not None
        return self.canned.now

    def _sleep(self, seconds: float) -> None:
        self.time += seconds

    def later(self, **passed: float) -> None:
        gone = timedelta(**passed)
        self.canned.now = self.now() + gone
        self.time += gone.total_seconds()

    def turn(self, resume: str | None) -> tuple[set[str], str | None, datetime | None]:
        """What one turn of the sweeps reads: (refs, where it goes on, the bound it told)."""
        refs: set[str] = set()
        told = None
        for page in self.channel.orders_since(EARLIER, resume):
            refs.update(ref for ref, _, _ in page.orders)
            resume, told = page.resume, page.told_until
        return refs, resume, told


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def read(body: dict[str, Any]) -> ChannelOrder:
    facts = parsing.parse("poll/orders", json.dumps(body).encode(), None, "EUR")
    assert facts is not None
    (order,) = facts.orders
    return order


def line_of(body: dict[str, Any]) -> ChannelLine:
    return read(body).lines[0]


def of_two_pages_and_more(number: int = 6) -> CannedOrders:
    canned = CannedOrders(now=NOW, page=2)
    for each in range(number):
        canned.put(order_body(f"A{each}", at=stamp(ago(10))))
    return canned


ALL_SIX = {f"A{number}" for number in range(6)}

# --- sweeps -----------------------------------------------------------------------------------------------------------


def test_trap_the_watermark_is_the_returned_bound_and_never_now() -> None:
    # Trap 3: advancing to "now" loses the orders of the last two minutes.
    canned = CannedOrders(now=NOW)
    canned.put(order_body("A", at=stamp(ago(1))))
    seller = Seller(canned)
    refs, resume, told = seller.turn(None)
    assert (refs, told) == (set(), ago(2))
    seller.later(minutes=3)
    refs, resume, told = seller.turn(resume)
    assert (refs, told) == ({"A"}, ago(2))
    seller.later(minutes=3)
    _, resume, told = seller.turn(resume)
    # The earlier of both: the order may have been placed before the one, and changed again behind the other.
    assert told == NOW + timedelta(minutes=1)
    assert all("Before" not in name for query in canned.searches for name in query)


def test_an_order_that_changes_behind_every_bound_is_found_by_when_it_was_placed() -> None:
    # Whatever is updated in the two minutes that nobody can look at is in no sweep of updates.
    canned = CannedOrders(now=NOW)
    seller, resume, found = Seller(canned), None, set()
    _, resume, _ = seller.turn(resume)
    canned.put(order_body("A", at=stamp(NOW)))
    for _ in range(4):
        seller.later(minutes=3)
        canned.change("A", seller.now() - timedelta(seconds=30))
        refs, resume, told = seller.turn(resume)
        found |= refs
        assert told is not None
        assert told < NOW or "A" in found
    assert "A" in found
    assert told > NOW


def test_trap_sweeps_never_ask_faster_than_the_quota_comes_back() -> None:
    # Trap 1: after the burst everything would be 429, and a long load takes hours.
    canned = CannedOrders(now=NOW)
    seller, resume = Seller(canned), None
    _, resume, _ = seller.turn(None)
    assert len(canned.searches) == 2
    for _ in range(40):
        seller.later(seconds=180)
        _, resume, told = seller.turn(resume)
        assert told is not None
    assert len(canned.searches) == 2 + 40


def test_trap_a_used_up_quota_ends_the_turn_without_a_bound() -> None:
    canned = of_two_pages_and_more(60)
    seller, resume = Seller(canned), None
    refs, resume, told = seller.turn(None)
    # Half of the burst of 20, less what is left for what is urgent, is counted on.
    assert (len(canned.searches), told) == (9, None)
    turns = 0
    while told is None:
        seller.later(seconds=180)
        more, resume, told = seller.turn(resume)
        refs |= more
        turns += 1
    assert len(refs) == 60
    assert len(canned.searches) <= 9 + turns + 1


def test_trap_pages_are_asked_for_with_the_same_parameters() -> None:
    canned = of_two_pages_and_more()
    refs, _, told = Seller(canned).turn(None)
    assert (refs, told) == (ALL_SIX, ago(2))
    assert canned.searches[0] == canned.searches[1] == canned.searches[2]


def test_a_sweep_that_is_cut_off_goes_on_behind_its_last_page() -> None:
    canned = of_two_pages_and_more()
    seller = Seller(canned)
    page = next(seller.channel.orders_since(EARLIER))
    assert page.told_until is None
    # Its bound is the one of its first page, however late the others are read.
    seller.later(minutes=30)
    pages = list(seller.channel.orders_since(EARLIER, page.resume))
    assert {ref for each in (page, *pages) for ref, _, _ in each.orders} == ALL_SIX
    assert json.loads(pages[1].resume or "")["bounds"] == {"updated": "2026-11-26T11:58:00.000000Z"}


def test_trap_a_page_token_that_died_begins_the_window_anew_and_loses_nothing() -> None:
    canned = of_two_pages_and_more()
    seller = Seller(canned)
    page = next(seller.channel.orders_since(EARLIER))
    canned.kill_tokens()
    refs, _, told = seller.turn(page.resume)
    assert (refs, told) == (ALL_SIX, ago(2))


@pytest.mark.parametrize("window", [timedelta(hours=1), timedelta(days=200)])
def test_pages_that_are_always_refused_are_done_without(window: timedelta) -> None:
    # Two orders a page, and never a second page: whatever is dense is swept in smaller pieces, and the bound moves.
    canned = CannedOrders(now=NOW, page=2, refuses_next_pages=True)
    for each in range(6):
        canned.put(order_body(f"A{each}", at=stamp(NOW - window * (each + 1) / 8)))
    seller, resume, found = Seller(canned), None, set()
    told_until = [NOW - window]
    for _ in range(60):
        seller.later(minutes=3)
        told, opened = None, NOW - window
        for page in seller.channel.orders_since(opened, resume):
            found.update(ref for ref, _, _ in page.orders)
            resume, told = page.resume, page.told_until
        told_until += [told] if told else []
    assert found == ALL_SIX
    assert told_until == sorted(told_until)
    assert told_until[-1] > NOW
    assert len(canned.searches) < 10 + 61


def a_page_now_and_then(seller: Seller, apart: timedelta, turns: int) -> tuple[set[str], datetime | None]:
    """What is read in the background by one page a turn, with turns so far apart: (refs, the bound once it is told)."""
    refs: set[str] = set()
    resume = None
    for number in range(turns):
        page = next(seller.channel.orders_since(EARLIER, resume, in_background=True))
        refs |= {ref for ref, _, _ in page.orders}
        if page.told_until is not None:
            return refs, page.told_until
        seller.later(seconds=apart.total_seconds())
        # The shop sells on meanwhile.
        seller.canned.put(order_body(f"B{number}", at=stamp(seller.now() - timedelta(minutes=5))))
        resume = page.resume
    return refs, None


@pytest.mark.parametrize("apart", [timedelta(minutes=6), timedelta(minutes=11), timedelta(hours=5)])
@pytest.mark.parametrize("refuses_next_pages", [False, True])
def test_a_reading_in_the_background_ends_however_far_apart_its_turns_are(
    apart: timedelta, refuses_next_pages: bool
) -> None:
    # A turn is a page: whoever catches up with a bound that has gone on by the next turn never ends.
    canned = CannedOrders(now=NOW, page=2, refuses_next_pages=refuses_next_pages)
    for each in range(6):
        canned.put(order_body(f"A{each}", at=stamp(ago(10 + 7 * each))))
    refs, told = a_page_now_and_then(Seller(canned), apart, 60)
    assert told is not None
    assert told >= ago(2)
    assert refs >= ALL_SIX


def test_a_poll_tells_how_far_it_is_while_one_sweep_catches_up_with_the_other() -> None:
    canned = CannedOrders(now=NOW)
    seller, resume, bounds = Seller(canned), None, []
    for _ in range(6):
        page = next(seller.channel.orders_since(EARLIER, resume))
        resume = page.resume
        bounds.append(page.told_until)
        seller.later(minutes=30)
    assert bounds == [None, *(ago(2) + timedelta(minutes=30) * turn for turn in range(5))]


def test_a_page_that_is_refused_for_ever_is_said_and_not_asked_for_without_end() -> None:
    canned = CannedOrders(now=NOW, page=2, refuses_next_pages=True)
    for each in range(3):
        canned.put(order_body(f"A{each}", at=stamp(ago(10))))
    seller, resumes = Seller(canned), [None]

    def sweep(turns: int) -> None:
        for _ in range(turns):
            resumes.extend(page.resume for page in seller.channel.orders_since(EARLIER, resumes[-1]))
            seller.later(minutes=3)

    with pytest.raises(Refused):
        sweep(60)
    seller.later(minutes=3)
    # Somebody is told of it with each turn, and that takes one call.
    asked = len(canned.searches)
    with pytest.raises(Refused):
        sweep(1)
    assert len(canned.searches) == asked + 1


def test_open_orders_whose_page_is_refused_for_ever_are_said() -> None:
    canned = CannedOrders(now=NOW, page=2, refuses_next_pages=True)
    for each in range(3):
        canned.put(order_body(f"A{each}", at=stamp(ago(10))))
    seller, resumes = Seller(canned), [None]

    def read_on() -> None:
        for _ in range(60):
            with suppress(Throttled):
                resumes.extend(page.resume for page in seller.channel.open_orders(resumes[-1]))
            seller.later(minutes=6)

    with pytest.raises(Refused):
        read_on()
    assert len(canned.searches) < 60


def test_trap_items_come_with_their_order_and_people_stay_away() -> None:
    # Trap 2: no call for each order's items; and whatever names people is not asked for.
    canned = CannedOrders(now=NOW)
    gift = {"packing": {"giftOption": {"giftMessage": "for Jane", "giftWrapLevel": "A"}}, "quantityFulfilled": 0}
    canned.put(order_body("A", item_body("1", fulfillment=gift), item_body("2"), at=stamp(ago(10))))
    seller = Seller(canned)
    ((_, _, body),) = next(seller.channel.orders_since(EARLIER)).orders
    assert len(read(json.loads(body)).lines) == 2
    assert b"Jane" not in body
    assert b'"giftWrapLevel"' in body
    assert canned.searches[0]["includedData"] == "PROCEEDS,FULFILLMENT,PACKAGES,CANCELLATION"
    assert canned.reads == []


def test_an_order_that_cannot_be_read_is_recorded_once_and_does_not_stop_the_sweep() -> None:
    canned = CannedOrders(now=NOW)
    canned.put(order_body("A", at=stamp(ago(10))))
    canned.orders["A"]["orderItems"] = "none"
    seller = Seller(canned)
    found = [order for page in seller.channel.orders_since(EARLIER) for order in page.orders]
    assert {ref for ref, _, _ in found} == {"A"}
    with pytest.raises(UnreadableOrder):
        seller.channel.parse("poll/orders", found[0][2], None)
    del canned.orders["A"]["orderItems"]
    dated = [Orders._found(None, {"orderId": "B"}, NOW + timedelta(hours=n)) for n in range(2)]  # type: ignore[arg-type]
    assert {found[:2] for found in dated} == {("B", datetime(1970, 1, 1, tzinfo=UTC))}


# --- single orders, and what is open ----------------------------------------------------------------------------------


def test_hints_are_asked_for_one_by_one_and_what_is_gone_is_left_out() -> None:
    canned = CannedOrders(now=NOW)
    canned.put(order_body("A", at=stamp(ago(1))))
    pages = list(Seller(canned).channel.orders(["A", "gone", "A"]))
    assert [[ref for ref, _, _ in page] for page in pages] == [["A"]]
    assert canned.reads == ["A", "gone"]


def test_open_orders_of_two_years_also_when_a_token_dies() -> None:
    canned = CannedOrders(now=NOW, page=1)
    for ref, status in (("A", "PENDING"), ("B", "SHIPPED"), ("C", "UNSHIPPED"), ("D", "PARTIALLY_SHIPPED")):
        body = order_body(ref, at=stamp(ago(60 * 24 * 300)))
        canned.put({**body, "fulfillment": {"fulfillmentStatus": status, "fulfilledBy": "MERCHANT"}})
    channel = Seller(canned).channel
    pages = channel.open_orders()
    refs = {ref for ref, _, _ in next(pages).orders}
    canned.kill_tokens()
    refs |= {ref for page in pages for ref, _, _ in page.orders}
    assert refs == {"A", "C", "D"}
    assert channel.orders_horizon() == timedelta(days=729)
    assert channel.newest_order_change_at() == ago(2)


# --- what a body means ------------------------------------------------------------------------------------------------


def test_a_pending_order_holds_its_units_before_it_has_a_price() -> None:
    pending = {"fulfillmentStatus": "Pending", "fulfilledBy": "MERCHANT"}
    body = order_body("A", item_body("1", units=3, price=None), at=stamp(NOW), fulfillment=pending)
    order = read(body)
    assert (order.lines[0].units, order.lines[0].total_minor, order.total_minor) == (3, 0, 0)
    # Of the marketplace it was placed in; the connection's own is for where nothing is known.
    assert (order.currency, order.financial_status, order.channel_status) == ("GBP", "pending", "PENDING")
    assert read({**body, "salesChannel": {"channelName": "AMAZON"}}).currency == "EUR"


def test_money_is_in_minor_units_of_the_orders_currency() -> None:
    proceeds = {
        "proceedsTotal": {"amount": "9.00", "currencyCode": "GBP"},
        "breakdowns": [
            {"type": "ITEM", "subtotal": {"amount": "10.00", "currencyCode": "GBP"}},
            {"type": "DISCOUNT", "subtotal": {"amount": "-1.00", "currencyCode": "GBP"}},
            {"type": "Tax", "subtotal": {"amount": "1.80", "currencyCode": "GBP"}},
        ],
    }
    item = item_body("1", units=4, price=None, proceeds=proceeds)
    order = read(order_body("A", item, at=stamp(NOW)))
    line = order.lines[0]
    assert (str(line.unit_price), line.discount_minor, line.total_minor) == ("2.50000000", 100, 900)
    assert (order.currency, order.total_minor) == ("GBP", 900)
    assert (order.tax_minor, order.shipping_minor) == (180, 0)
    yen = {"grandTotal": {"amount": "1234", "currencyCode": "JPY"}}
    assert read(order_body("A", at=stamp(NOW), proceeds=yen)).total_minor == 1234
    # Where no parts are told, nobody knows what of it were taxes.
    assert read(order_body("A", at=stamp(NOW), proceeds=yen)).tax_minor is None


def shares(total: str, **parts: str) -> dict[str, Any]:
    """What an item's proceeds consist of; `CARRIAGE_TAX` is what of its taxes is for its carriage."""
    of_carriage = parts.pop("CARRIAGE_TAX", None)
    told: list[dict[str, Any]] = [
        {"type": kind, "subtotal": {"amount": amount, "currencyCode": "GBP"}} for kind, amount in parts.items()
    ]
    if of_carriage is not None:
        detail = {"subtype": "Shipping", "value": {"amount": of_carriage, "currencyCode": "GBP"}}
        next(part for part in told if part["type"] == "TAX")["detailedBreakdowns"] = [detail]
    return {"proceedsTotal": {"amount": total, "currencyCode": "GBP"}, "breakdowns": told}


@pytest.mark.parametrize(
    ("proceeds", "included"),
    [
        (shares("49.99", ITEM="39.99", TAX="10.00"), False),
        (shares("12.00", ITEM="12.00", TAX="2.00"), True),
        (shares("18.00", ITEM="12.00", SHIPPING="5.00", GIFT_WRAP="1.00", TAX="3.00"), True),
        (shares("20.00", ITEM="12.00", SHIPPING="5.00", TAX="3.00"), False),
        (shares("9.00", ITEM="10.00", DISCOUNT="-1.00", TAX="1.50"), True),
        (shares("10.50", ITEM="10.00", DISCOUNT="1.00", TAX="1.50"), False),
        # Neither way it comes to the total; or there are no taxes, and both do.
        (shares("15.00", ITEM="12.00", TAX="2.00"), None),
        (shares("12.00", ITEM="12.00", TAX="0.00"), None),
        (shares("12.00", ITEM="12.00"), None),
        ({"proceedsTotal": {"amount": "12.00", "currencyCode": "GBP"}}, None),
    ],
)  # fmt: skip
def test_whether_prices_contain_taxes_is_told_by_what_the_parts_come_to(
    proceeds: dict[str, Any], included: bool | None
) -> None:
    item = item_body("1", units=1, price=None, proceeds=proceeds)
    assert read(order_body("A", item, at=stamp(NOW), proceeds=None)).taxes_included is included


def test_where_not_every_item_tells_its_parts_nobody_knows() -> None:
    items = [
        item_body("1", units=1, price=None, proceeds=shares("12.00", ITEM="12.00", TAX="2.00")),
        item_body("2", units=1, price=None, proceeds=None),
    ]
    order = read(order_body("A", *items, at=stamp(NOW), proceeds=None))
    assert (order.taxes_included, [line.tax_minor for line in order.lines]) == (None, [200, None])
    assert order.codes == ()


def test_the_taxes_of_carriage_are_not_the_lines() -> None:
    proceeds = shares("17.00", ITEM="12.00", SHIPPING="5.00", TAX="2.83", CARRIAGE_TAX="0.83")
    order = read(order_body("A", item_body("1", units=1, price=None, proceeds=proceeds), at=stamp(NOW), proceeds=None))
    assert (order.tax_minor, order.lines[0].tax_minor, order.taxes_included) == (283, 200, True)
    untaxed = shares("12.00", ITEM="12.00")
    order = read(order_body("A", item_body("1", units=1, price=None, proceeds=untaxed), at=stamp(NOW), proceeds=None))
    assert order.lines[0].tax_minor == 0


@pytest.mark.parametrize(
    ("by", "reason", "is_put_back"),
    [
        ("BUYER", "No longer needed", True),
        ("Merchant", "No inventory", False),
        ("MERCHANT", "NO_INVENTORY", False),
        ("MERCHANT", "OUT_OF_STOCK", False),
        ("MERCHANT", "BUYER_CANCELED", True),
        ("AMAZON", "payment", True),
        ("MERCHANT", None, True),
        (None, None, True),
    ],
)
def test_a_cancellation_is_put_back_unless_there_was_no_stock(
    by: str | None, reason: str | None, is_put_back: bool
) -> None:
    execution = {"cancelledBy": by, "cancelReason": reason}
    item = item_body("1", units=2, cancellation={"cancellationExecution": execution})
    cancelled = {"fulfillmentStatus": "CANCELLED", "fulfilledBy": "MERCHANT"}
    order = read(order_body("A", item, at=stamp(NOW), fulfillment=cancelled))
    assert order.cancelled_at == NOW
    assert order.lines[0].puts_back is is_put_back


@pytest.mark.parametrize("ordered", [3, 1])
def test_a_part_that_was_cancelled_is_off_the_line_whether_or_not_the_order_says_so(ordered: int) -> None:
    item = item_body("1", units=ordered, cancellation={"cancellationExecution": {"cancelledBy": "BUYER"}})
    item["fulfillment"] = {"quantityFulfilled": 1, "quantityUnfulfilled": 0}
    line = line_of(order_body("A", item, at=stamp(NOW)))
    assert (line.units, line.counted_units, line.puts_back) == (1, 1, True)


def test_packages_are_shipments_once_they_have_left() -> None:
    packages = [
        {
            "packageReferenceId": "1",
            "packageStatus": {"status": "in_transit"},
            "carrier": "DPD",
            "trackingNumber": "T1",
            "shipTime": stamp(ago(5)),
            "packageItems": [{"orderItemId": "1", "quantity": 2}],
        },
        {"packageReferenceId": "2", "packageStatus": {"status": "PENDING"}, "packageItems": []},
    ]
    first, second = read(order_body("A", at=stamp(NOW), packages=packages)).fulfilments
    assert (first.ref, first.is_shipped, first.lines, first.fulfilled_at) == ("1", True, (("1", 2),), ago(5))
    assert (first.tracking_company, first.tracking_numbers, first.version_at) == ("DPD", ("T1",), NOW)
    assert not second.is_shipped


def test_what_amazon_ships_is_told_apart_and_what_it_did_not_sell_is_not_used() -> None:
    shipped = {"fulfillmentStatus": "SHIPPED", "fulfilledBy": "Amazon"}
    assert read(order_body("A", at=stamp(NOW), fulfillment=shipped)).ships_from_channel
    elsewhere = order_body("A", at=stamp(NOW), fulfillment=shipped, salesChannel={"channelName": "NON_AMAZON"})
    facts = parsing.parse("poll/orders", json.dumps(elsewhere).encode(), None, "GBP")
    assert facts is not None
    assert (facts.orders, facts.unused) == ((), "not_sold_here")


def test_an_item_without_its_sku_is_no_tip() -> None:
    item = {"orderItemId": "1", "quantityOrdered": 1, "product": {}}
    line = line_of(order_body("A", item, at=stamp(NOW)))
    assert (line.variant_ref, line.code) == (None, "1")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"orderId":"A"}', b"\xff"])
def test_a_body_that_is_no_order_is_said_to_be_unreadable_without_being_quoted(body: bytes) -> None:
    with pytest.raises(UnreadableOrder):
        parsing.parse("poll/orders", body, None, "GBP")
    body = json.dumps(order_body("A", item_body("1", units=-7), at=stamp(NOW))).encode()
    with pytest.raises(UnreadableOrder) as refused:
        parsing.parse("poll/orders", body, None, "GBP")
    assert "orderItems.0.quantityOrdered" in str(refused.value)
    assert "-7" not in str(refused.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ("fulfillment", "orderItems", "packages", "proceeds", "salesChannel", "orderAliases", "lastUpdatedTime")


@given(
    st.dictionaries(st.sampled_from(_FIELDS), _JSON), st.sampled_from(("product", "proceeds", "cancellation")), _JSON
)
def test_any_body_is_read_or_said_to_be_unreadable(odd: dict[str, Any], part: str, value: Any) -> None:
    item = {**item_body("1", units=2), part: value}
    for body in (order_body("A", at=stamp(NOW)) | odd, order_body("A", item, at=stamp(NOW))):
        try:
            facts = parsing.parse("poll/orders", json.dumps(body).encode(), None, "GBP")
        except UnreadableOrder:
            continue
        assert facts is not None
        for order in facts.orders:
            for line in order.lines:
                assert min(line.units, line.discount_minor, line.total_minor) >= 0


def _vendor_samples() -> list[Any]:
    shared = os.environ.get("SHARED_DIR")
    if not shared:
        return []
    folder = Path(shared) / "contracts/amazon/samples/sandbox"
    found = json.loads((folder / "orders_2026-01-01.sandbox.json").read_text())["extracted"]
    answers = [pair["response"] for each in found for pair in each["pairs"].get("static", ())]
    return [order for answer in answers for order in (answer.get("orders") or [answer.get("order")]) if order]


@pytest.mark.skipif(
    not os.environ.get("SHARED_DIR"), reason="the vendor's samples lie under SHARED_DIR, which is not set"
)
def test_every_order_of_the_vendors_own_samples_is_read() -> None:
    orders = [read(sample) for sample in _vendor_samples()]
    assert len(orders) >= 6
    assert all(order.lines and order.total_minor > 0 and order.channel_status for order in orders)
    assert {order.ships_from_channel for order in orders} == {True, False}
    assert any(order.fulfilments for order in orders)


# --- shipments --------------------------------------------------------------------------------------------------------


def test_a_shipment_is_confirmed_as_the_vendor_wants_it() -> None:
    canned = CannedOrders(now=NOW)
    canned.put(order_body("A", at=stamp(NOW)))
    seller = Seller(canned)
    package = PackageSent("A", "7", "Other", "Bob's Vans", None, "T1", NOW, (("1", 2),))
    assert seller.channel.confirm_shipment(package).outcome == "confirmed"
    ((ref, body),) = canned.confirmations
    assert (ref, body["packageDetail"]) == (
        "A",
        {
            "packageReferenceId": "7",
            "carrierCode": "Other",
            "carrierName": "Bob's Vans",
            "trackingNumber": "T1",
            "shipDate": "2026-11-26T12:00:00Z",
            "orderItems": [{"orderItemId": "1", "quantity": 2}],
        },
    )
    seller.account.network.plan("lost_reply", "shipmentConfirmation", times=9)
    assert seller.channel.confirm_shipment(package).outcome == "again"
    seller.account.network.planned.clear()
    canned.refuses_shipments = True
    refused = seller.channel.confirm_shipment(package)
    assert (refused.outcome, refused.code) == ("refused", "InvalidInput")


# --- marketplaces of a region -----------------------------------------------------------------------------------------

GB, DE, FR = "A1F83G8C2ARO7P", "A1PA6795UKMFR9", "A13V1IB3VIYZZH"


@pytest.mark.parametrize(("market", "country"), [(GB, "GB"), (DE, "DE"), ("A0UNKNOWN", None)])
def test_the_country_of_an_order_is_that_of_its_marketplace(market: str, country: str | None) -> None:
    """Where it goes to is not asked for; the marketplaces of a region are told apart all the same."""
    body = order_body("A", at=stamp(ago(10)), salesChannel={"channelName": "AMAZON", "marketplaceId": market})
    assert read(body).country_code == country


def selling_in(canned: CannedOrders, **since: datetime | None) -> Seller:
    """A seller connected in GB whose sales in further marketplaces are known of."""
    seller = Seller(canned)
    ids = {"DE": DE, "FR": FR}
    told = {GB: None, **{ids[name]: None if at is None else at.isoformat() for name, at in since.items()}}
    settings = {**seller.account.config.settings, "marketplaces": told}
    seller.account.config = replace(seller.account.config, settings=settings)
    deps = Deps(
        seller.account.log.append, None, seller.account.network, seller.now, seller._sleep, clock=lambda: seller.time
    )
    seller.channel = make_channel(seller.account.config, deps)
    seller.time += 5400
    return seller


def test_trap_every_marketplace_that_shares_the_stock_is_swept_and_asked_for_what_is_open() -> None:
    seller = selling_in(CannedOrders(now=NOW), DE=None, FR=None)
    seller.turn(None)
    list(seller.channel.open_orders())
    assert {query["marketplaceIds"] for query in seller.canned.searches} == {",".join(sorted((GB, DE, FR)))}


def test_a_marketplace_that_joins_in_mid_sweep_begins_the_sweep_anew() -> None:
    canned = of_two_pages_and_more()
    first = next(iter(selling_in(canned).channel.orders_since(EARLIER, None)))
    assert '"token":"' in first.resume
    canned.searches.clear()
    seller = selling_in(canned, DE=ago(30))
    refs, _, _ = seller.turn(first.resume)
    # Never the token of another question, and nothing of the window is left out.
    assert refs == ALL_SIX
    assert "paginationToken" not in canned.searches[0]


def test_what_a_marketplace_sold_since_it_joined_is_read_although_the_bounds_are_later() -> None:
    canned = CannedOrders(now=NOW)
    seller = selling_in(canned)
    _, resume, _ = seller.turn(None)
    _, resume, told = seller.turn(resume)
    assert told == ago(2)
    canned.put(order_body("D", at=stamp(ago(20)), salesChannel={"channelName": "AMAZON", "marketplaceId": DE}))
    later = selling_in(canned, DE=ago(30))
    found = set()
    for _ in range(2):
        refs, resume, _ = later.turn(resume)
        found |= refs
    assert found == {"D"}
    # One that leaves takes nothing from the bounds.
    canned.searches.clear()
    selling_in(canned).turn(resume)
    assert all(datetime.fromisoformat(next(iter(_after(query)))) > ago(10) for query in canned.searches)


def _after(query: dict[str, str]) -> list[str]:
    return [value for name, value in query.items() if name.endswith("After")]


def test_an_order_of_a_marketplace_that_is_connected_on_its_own_is_not_booked_here_too() -> None:
    canned = CannedOrders(now=NOW)
    canned.put(order_body("D", at=stamp(ago(20)), salesChannel={"channelName": "AMAZON", "marketplaceId": DE}))
    assert list(selling_in(canned).channel.orders(["D"])) == []
    assert [[found[0] for found in page] for page in selling_in(canned, DE=None).channel.orders(["D"])] == [["D"]]
