"""Taxes, carriage and codes: what an order costs besides its goods, and what of it a refund gives back."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandbox import world as first_day
from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.trades import CARRIAGE, CODES, FREE_FROM, ShopTrade
from sandbox.vendors.amazon.listings import Listings
from sandbox.vendors.shopify import bodies, orders
from sandbox.vendors.shopify.orders import WantedOrder
from sandbox.vendors.shopify.shops import find_shop
from tests.sandbox.outside import ShopSide

NOTHING = {"shop_money": {"amount": "0.00", "currency_code": "GBP"}} | {
    "presentment_money": {"amount": "0.00", "currency_code": "GBP"}
}
QUERY = """query($id: ID!) { order(id: $id) { taxesIncluded discountCodes customAttributes { key value }
    totalPriceSet { shopMoney { amount } } subtotalPriceSet { shopMoney { amount } }
    totalTaxSet { shopMoney { amount } } totalShippingPriceSet { shopMoney { amount } }
    currentTotalPriceSet { shopMoney { amount } } displayFinancialStatus
    lineItems(first: 9) { nodes { taxLines(first: 2) { title rate ratePercentage priceSet { shopMoney { amount } } } } }
    refunds { totalRefundedSet { shopMoney { amount } } refundShippingLines(first: 2) { nodes { id
        subtotalAmountSet { shopMoney { amount } } taxAmountSet { shopMoney { amount } } } } } } }"""


def place(shop: ShopSide, **more: Any) -> dict[str, Any]:
    """Two of A for 6.00 each, taxed at a fifth, and carriage of 5.00 that is taxed too."""
    lines = [{"sku": "A", "quantity": 2, "price": "6.00", "tax_rate": "0.20"}]
    return shop.place(**{"lines": lines, "shipping": {"price": "5.00", "tax_rate": "0.20"}, **more})


def refund(shop: ShopSide, order: dict[str, Any], units: int, **more: Any) -> dict[str, Any]:
    part = {"line_id": order["lines"][0]["id"], "quantity": units, "restock_type": "cancel"}
    wanted = {"key": f"r{random.random()}", "order_id": order["id"], "lines": [part] if units else [], **more}
    made: dict[str, Any] = shop.control("refunds", refunds=[wanted])["refunds"][0]
    return made


def seen(shop: ShopSide, order: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shop.data(QUERY, id=f"gid://shopify/Order/{order['id']}")["order"]
    return found


def amounts(found: dict[str, Any]) -> list[str]:
    names = ("subtotalPriceSet", "totalShippingPriceSet", "totalTaxSet", "totalPriceSet", "currentTotalPriceSet")
    return [found[name]["shopMoney"]["amount"] for name in names]


def test_prices_contain_taxes_or_taxes_come_on_top(shop: ShopSide) -> None:
    shop.stock("A")
    included, on_top = place(shop, taxes_included=True), place(shop)
    assert amounts(seen(shop, included)) == ["12.00", "5.00", "2.83", "17.00", "17.00"]
    assert amounts(seen(shop, on_top)) == ["12.00", "5.00", "3.40", "20.40", "20.40"]
    assert (seen(shop, included)["taxesIncluded"], seen(shop, on_top)["taxesIncluded"]) == (True, False)
    (line,) = seen(shop, on_top)["lineItems"]["nodes"]
    tax = {"title": "VAT", "rate": 0.2, "ratePercentage": 20.0, "priceSet": {"shopMoney": {"amount": "2.40"}}}
    assert line["taxLines"] == [tax]


def test_taxes_are_of_what_a_discount_leaves(shop: ShopSide) -> None:
    shop.stock("A")
    found = seen(shop, place(shop, discount="2.00", discount_codes=["MAYA10"]))
    assert amounts(found) == ["10.00", "5.00", "3.00", "18.00", "18.00"]
    assert found["discountCodes"] == ["MAYA10"]


def test_a_refund_gives_taxes_back_with_what_they_were_charged_for(shop: ShopSide) -> None:
    shop.stock("A")
    order = place(shop)
    refund(shop, order, 1, shipping="2.00")
    found = seen(shop, order)
    (first,) = found["refunds"]
    assert first["totalRefundedSet"]["shopMoney"]["amount"] == "9.60"
    (carriage,) = first["refundShippingLines"]["nodes"]
    assert (carriage["subtotalAmountSet"]["shopMoney"], carriage["taxAmountSet"]["shopMoney"]) == (
        {"amount": "2.00"}, {"amount": "0.40"}
    )  # fmt: skip
    assert amounts(found)[-2:] == ["20.40", "10.80"]
    assert refund(shop, order, 0, shipping="3.01")["error"] == "invalid_shipping"
    refund(shop, order, 0, shipping="3.00")
    assert refund(shop, order, 0, shipping="0.01")["error"] == "invalid_shipping"
    assert refund(shop, order, 0, shipping="0.00")["error"] == "no_lines"
    assert refund(shop, order, 0)["error"] == "no_lines"
    refund(shop, order, 1)
    found = seen(shop, order)
    assert (found["displayFinancialStatus"], amounts(found)[-1]) == ("REFUNDED", "0.00")


def test_a_cancellation_gives_back_what_is_left_of_the_carriage(shop: ShopSide) -> None:
    shop.stock("A")
    order = place(shop)
    refund(shop, order, 1, shipping="2.00")
    shop.cancel(order)
    found = seen(shop, order)
    assert [each["totalRefundedSet"]["shopMoney"]["amount"] for each in found["refunds"]] == ["9.60", "10.80"]
    assert found["displayFinancialStatus"] == "REFUNDED"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"shipping": "3.95"}, "invalid_shipping"),
        ({"shipping": {"price": "free"}}, "invalid_shipping"),
        ({"shipping": {"price": "1.00", "tax_rate": "20"}}, "invalid_tax_rate"),
        ({"lines": [{"sku": "A", "quantity": 1, "price": "1.00", "tax_rate": 0.2}]}, "invalid_tax_rate"),
        ({"discount_codes": "MAYA10"}, "invalid_discount_codes"),
        ({"note_attributes": [{"name": "ref"}]}, "invalid_note_attributes"),
    ],
)
def test_what_has_the_wrong_form_is_refused(shop: ShopSide, more: dict[str, Any], error: str) -> None:
    shop.stock("A")
    assert place(shop, **more)["error"] == error


# --- bodies, and the shoppers -----------------------------------------------------------------------------------------


def open_world(folder: Path) -> tuple[Store, Outbox, Any]:
    """The demo's first day."""
    store = Store(folder)
    outbox = Outbox(store, Clock(store), Faults(store, 7))
    first_day.found_world(store, Listings(store, outbox, 7), 7)
    return store, outbox, find_shop(store, first_day.DEMO_SHOP)


def test_an_order_that_asks_for_none_of_it_is_told_as_ever(tmp_path: Path) -> None:
    store, outbox, shop = open_world(tmp_path)
    sku, price = store.all("select sku, price from variants order by id")[0]
    plain = {"key": "k", "lines": [{"sku": sku, "quantity": 2, "price": price}], "discount": "0.10"}
    order = orders.place(store, outbox, shop, WantedOrder.read(plain))
    body = bodies.order_body(store, shop, order)
    total = str(2 * Decimal(price) - Decimal("0.10"))
    assert {name: body[name] for name in ("total_price", "subtotal_price", "current_total_price", "total_tax")} == {
        "total_price": total, "subtotal_price": total, "current_total_price": total, "total_tax": "0.00"
    }  # fmt: skip
    empty = ("discount_codes", "note_attributes", "tax_lines", "shipping_lines")
    assert [body[name] for name in empty] == [[]] * 4
    assert (body["taxes_included"], body["total_shipping_price_set"], body["line_items"][0]["tax_lines"]) == (
        False, NOTHING, []
    )  # fmt: skip
    assert body["discount_applications"][0]["type"] == "manual"
    store.close()


def bought(folder: Path) -> list[dict[str, Any]]:
    """What two hundred shoppers buy, as the shop tells it."""
    store, outbox, shop = open_world(folder)
    trade, chance = ShopTrade(store, outbox, first_day.DEMO_SHOP), random.Random("seed")
    made = [trade.buy(chance, f"shopper-1-{number}") for number in range(200)]
    told = [bodies.order_body(store, shop, each[0]) for each in made if each]
    store.close()
    return told


def money_of(body: dict[str, Any]) -> dict[str, Any]:
    names = ("total_price", "total_tax", "total_discounts", "discount_codes", "total_shipping_price_set")
    return {name: body[name] for name in names}


def test_shoppers_come_with_codes_now_and_then_and_small_orders_pay_for_carriage(tmp_path: Path) -> None:
    first, again = bought(tmp_path / "one"), bought(tmp_path / "two")
    assert list(map(money_of, first)) == list(map(money_of, again))
    used = [body["discount_codes"][0]["code"] for body in first if body["discount_codes"]]
    assert set(used) == set(CODES)
    assert 10 < len(used) < 80
    for body in first:
        goods, off = Decimal(body["total_line_items_price"]), Decimal(body["total_discounts"])
        carriage = Decimal(body["total_shipping_price_set"]["shop_money"]["amount"])
        assert carriage == (Decimal(CARRIAGE) if goods < FREE_FROM else 0)
        assert Decimal(body["total_price"]) == goods - off + carriage
        taxes = [Decimal(tax["price"]) for line in body["line_items"] for tax in line["tax_lines"]]
        assert Decimal(body["total_tax"]) == sum(taxes) + sum(
            Decimal(tax["price"]) for line in body["shipping_lines"] for tax in line["tax_lines"]
        )
        assert bool(off) == bool(body["discount_codes"])
    assert 0 < sum(bool(body["shipping_lines"]) for body in first) < len(first)
