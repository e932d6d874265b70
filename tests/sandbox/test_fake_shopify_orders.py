"""What orders, shipments, refunds and cancellations do to stock."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.outside import Outside, Receiver, ShopSide


def test_a_sale_commits_what_was_available_and_a_shipment_takes_it_away(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 3))
    assert shop.level(items["A"]) == {"available": 7, "committed": 3, "on_hand": 10}
    shop.ship(order)
    assert shop.level(items["A"]) == {"available": 7, "committed": 0, "on_hand": 7}


def test_the_same_key_is_the_same_order(shop: ShopSide) -> None:
    items = shop.stock("A")
    first = shop.place(("A", 3), key="once", ship=True)
    assert shop.place(("A", 3), key="once", ship=True) == first
    assert shop.level(items["A"])["available"] == 7


def test_orders_are_named_in_turn_unless_named(shop: ShopSide) -> None:
    shop.stock("A")
    assert shop.place(("A", 1))["name"] == "#1001"
    assert shop.place(("A", 1), name="536365")["name"] == "536365"
    assert shop.place(("A", 1))["name"] == "#1003"


def test_a_sold_out_product_refuses_its_order_and_the_others_go_on(shop: ShopSide) -> None:
    items = shop.stock("A", available=2)
    line = {"sku": "A", "quantity": 1, "price": "1"}
    wanted = [{"key": f"o{number}", "ship": False, "lines": [line]} for number in range(3)]
    wanted.insert(1, {"key": "big", "ship": False, "lines": [line, line, line]})
    answers = shop.control("orders", orders=wanted)["orders"]
    assert [answer.get("error") for answer in answers] == [None, "out_of_stock", None, "out_of_stock"]
    assert shop.level(items["A"])["available"] == 0


def test_a_basket_that_may_shrink_loses_whole_lines_that_are_sold_out(shop: ShopSide) -> None:
    items = shop.stock("A", available=5) | shop.stock("B", available=1)
    wanted = {
        "key": "basket",
        "ship": False,
        "may_shrink": True,
        "lines": [
            {"sku": sku, "quantity": units, "price": "1"} for sku, units in (("A", 3), ("B", 2), ("A", 3), ("A", 2))
        ],
    }
    (first,) = shop.control("orders", orders=[wanted])["orders"]
    assert (first["left_out"], [line["quantity"] for line in first["lines"]]) == ([1, 2], [3, 2])
    assert (shop.level(items["A"])["available"], shop.level(items["B"])["available"]) == (0, 1)
    # The same key is the same order, whatever there is by now.
    assert shop.control("orders", orders=[wanted])["orders"] == [first]
    nothing = {**wanted, "key": "nothing", "lines": wanted["lines"][:2]}
    assert shop.control("orders", orders=[nothing])["orders"][0]["error"] == "out_of_stock"


def test_a_product_that_may_be_oversold_goes_below_zero(shop: ShopSide) -> None:
    items = shop.stock("A", available=1, inventory_policy="CONTINUE")
    shop.place(("A", 4))
    assert shop.level(items["A"]) == {"available": -3, "committed": 4, "on_hand": 1}


def test_an_untracked_product_is_sold_without_end(shop: ShopSide) -> None:
    shop.stock("POST", tracked=False)
    order = shop.place(("POST", 500), ship=True)
    assert order["lines"][0]["quantity"] == 500
    assert "error" not in shop.refund(order, (0, 500, "return"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"lines": []}, "no_lines"),
        ({"lines": [{"sku": "Z", "quantity": 1, "price": "1"}]}, "unknown_sku"),
        ({"lines": [{"sku": "A", "quantity": 0, "price": "1"}]}, "invalid_quantity"),
        ({"lines": [{"sku": "A", "quantity": 1, "price": 1.5}]}, "invalid_price"),
        ({"processed_at": "yesterday"}, "invalid_time"),
        ({"key": ""}, "invalid_key"),
        ({"country": "United Kingdom"}, "unknown_country"),
        ({"currency": "POUNDS"}, "unknown_currency"),
    ],
)
def test_an_impossible_order_is_refused_with_its_reason(shop: ShopSide, change: dict[str, Any], code: str) -> None:
    shop.stock("A")
    wanted = {"key": "k", "ship": False, "lines": [{"sku": "A", "quantity": 1, "price": "1"}]} | change
    assert shop.control("orders", orders=[wanted])["orders"][0]["error"] == code


def test_a_cancelled_unit_becomes_available_again(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 4))
    shop.refund(order, (0, 1, "cancel"))
    assert shop.level(items["A"]) == {"available": 7, "committed": 3, "on_hand": 10}


def test_a_returned_unit_is_on_hand_again(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 4), ship=True)
    shop.refund(order, (0, 3, "return"))
    assert shop.level(items["A"]) == {"available": 9, "committed": 0, "on_hand": 9}


def test_a_unit_not_restocked_is_gone_whether_it_had_left_or_not(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 4))
    shop.ship(order, (0, 1))
    # Three have not left: they go first. The fourth is the shipped one.
    shop.refund(order, (0, 2, "no_restock"))
    assert shop.level(items["A"]) == {"available": 6, "committed": 1, "on_hand": 7}
    shop.refund(order, (0, 2, "no_restock"))
    assert shop.level(items["A"]) == {"available": 6, "committed": 0, "on_hand": 6}


@pytest.mark.parametrize(
    ("quantity", "kind"), [(3, "cancel"), (2, "return"), (4, "no_restock"), (0, "cancel"), (1, "burn")]
)
def test_a_refund_of_more_than_there_is_is_refused(shop: ShopSide, quantity: int, kind: str) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 3))
    shop.ship(order, (0, 1))
    before = shop.level(items["A"])
    assert shop.refund(order, (0, quantity, kind))["error"] in ("invalid_quantity", "invalid_restock_type")
    assert shop.level(items["A"]) == before


def test_a_line_refunded_twice_in_one_call_is_counted_together(shop: ShopSide) -> None:
    shop.stock("A")
    order = shop.place(("A", 3))
    assert shop.refund(order, (0, 2, "cancel"), (0, 2, "cancel"))["error"] == "invalid_quantity"
    assert "error" not in shop.refund(order, (0, 2, "cancel"), (0, 1, "no_restock"))


def test_a_refund_happens_once_per_key(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 4))
    first = shop.refund(order, (0, 1, "cancel"), key="r")
    assert shop.refund(order, (0, 1, "cancel"), key="r") == first
    assert first["id"] > 2**53
    assert shop.level(items["A"])["available"] == 7


def test_a_cancellation_with_restock_gives_everything_back_as_a_refund(shop: ShopSide) -> None:
    items = shop.stock("A", "B")
    order = shop.place(("A", 4), ("B", 1))
    first = shop.cancel(order, key="c")
    assert shop.cancel(order, key="c") == first
    assert shop.level(items["A"]) == {"available": 10, "committed": 0, "on_hand": 10}
    query = """query($id: ID!) { order(id: $id) { cancelledAt cancelReason displayFinancialStatus
        refunds { refundLineItems(first: 5) { nodes { restockType quantity } } } } }"""
    found = shop.data(query, id=f"gid://shopify/Order/{order['id']}")["order"]
    assert found["cancelledAt"]
    assert (found["cancelReason"], found["displayFinancialStatus"]) == ("CUSTOMER", "REFUNDED")
    assert found["refunds"][0]["refundLineItems"]["nodes"] == [
        {"restockType": "CANCEL", "quantity": 4},
        {"restockType": "CANCEL", "quantity": 1},
    ]


def test_a_cancellation_without_restock_loses_the_goods(shop: ShopSide) -> None:
    items = shop.stock("A")
    shop.cancel(shop.place(("A", 4)), restock=False)
    assert shop.level(items["A"]) == {"available": 6, "committed": 0, "on_hand": 6}


def test_what_was_shipped_or_cancelled_cannot_be_cancelled(shop: ShopSide) -> None:
    shop.stock("A")
    assert shop.cancel(shop.place(("A", 1), ship=True))["error"] == "already_fulfilled"
    order = shop.place(("A", 1))
    shop.cancel(order)
    assert shop.cancel(order)["error"] == "already_cancelled"
    assert shop.ship(order)["error"] == "cancelled"


def test_ships_in_parts_once_per_key_and_never_too_much(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 3))
    first = shop.ship(order, (0, 2), key="s")
    assert shop.ship(order, (0, 2), key="s") == first
    assert shop.ship(order, (0, 2))["error"] == "invalid_quantity"
    assert "error" not in shop.ship(order)
    assert shop.ship(order)["error"] == "nothing_to_ship"
    assert shop.level(items["A"]) == {"available": 7, "committed": 0, "on_hand": 7}


def test_staff_correct_a_number_in_the_channel(shop: ShopSide) -> None:
    items = shop.stock("A", "POST", tracked=True)
    shop.stock("FREE", tracked=False)
    asked = [{"sku": "A", "delta": -12}, {"sku": "FREE", "delta": 1}, {"sku": "Z", "delta": 1}]
    answers = shop.control("adjustments", adjustments=asked)["adjustments"]
    assert answers[0]["available"] == -2
    assert [answer.get("error") for answer in answers[1:]] == ["untracked", "unknown_sku"]
    once = [{"sku": "A", "delta": 5, "key": "x"}]
    for _ in range(2):
        shop.control("adjustments", adjustments=once)
    assert shop.level(items["A"])["available"] == 3


def test_money_is_kept_as_given_and_rounded_half_up_per_line(shop: ShopSide) -> None:
    shop.stock("PADS")
    lines = [{"sku": "PADS", "quantity": quantity, "price": "0.001"} for quantity in (5, 4, 1)]
    order = shop.control("orders", orders=[{"key": "k", "ship": False, "lines": lines}])["orders"][0]
    query = """query($id: ID!) { order(id: $id) { totalPriceSet { shopMoney { amount } } lineItems(first: 3) { nodes {
        originalUnitPriceSet { shopMoney { amount } } discountedTotalSet { shopMoney { amount } } } } } }"""
    found = shop.data(query, id=f"gid://shopify/Order/{order['id']}")["order"]
    totals = [node["discountedTotalSet"]["shopMoney"]["amount"] for node in found["lineItems"]["nodes"]]
    assert totals == ["0.01", "0.00", "0.00"]
    assert found["lineItems"]["nodes"][0]["originalUnitPriceSet"]["shopMoney"]["amount"] == "0.001"
    assert found["totalPriceSet"]["shopMoney"]["amount"] == "0.01"


def test_products_are_shelved_once_and_their_words_kept_up_to_date(shop: ShopSide) -> None:
    items = shop.stock("A", available=5)
    shop.place(("A", 1))
    assert shop.stock("A", available=50, title="Better", price="9.99") == items
    assert shop.level(items["A"])["available"] == 4
    query = "{ productVariants(first: 5) { nodes { price product { title } } } }"
    assert shop.data(query)["productVariants"]["nodes"] == [{"price": "9.99", "product": {"title": "Better"}}]


def test_unknown_things_are_not_found(outside: Outside) -> None:
    assert outside.http.post("/_control/shopify/nobody/orders", json={"orders": []}).status_code == 404
    assert outside.http.post("/_control/amazon/NOBODY/listings", json={"listings": []}).status_code == 404
    assert outside.http.post("/_control/shops", content=b"{").status_code == 400


def test_a_discount_of_the_whole_order_falls_on_its_lines_to_the_penny(shop: ShopSide, receiver: Receiver) -> None:
    shop.stock("A", "B", "C")
    shop.subscribe("ORDERS_CREATE", receiver.url)
    order = shop.place(("A", 1), ("B", 1), ("C", 1), discount="1.00")
    query = """query($id: ID!) { order(id: $id) { totalPriceSet { shopMoney { amount } }
        totalDiscountsSet { shopMoney { amount } } lineItems(first: 5) { nodes {
            totalDiscountSet { shopMoney { amount } }
            discountAllocations { allocatedAmountSet { shopMoney { amount } } } } } } }"""
    found = shop.data(query, id=f"gid://shopify/Order/{order['id']}")["order"]
    assert found["totalPriceSet"]["shopMoney"]["amount"] == "6.50"
    assert found["totalDiscountsSet"]["shopMoney"]["amount"] == "1.00"
    shares = [
        entry["allocatedAmountSet"]["shopMoney"]["amount"]
        for line in found["lineItems"]["nodes"]
        for entry in line["discountAllocations"]
    ]
    assert shares == ["0.33", "0.33", "0.34"]
    body = receiver.wait(1)[0].body
    assert (body["total_line_items_price"], body["total_discounts"], body["total_price"]) == ("7.50", "1.00", "6.50")
    assert [line["discount_allocations"][0]["amount"] for line in body["line_items"]] == shares
    shop.refund(order, (2, 1, "cancel"))
    refunded = "query($id: ID!) { order(id: $id) { totalRefundedSet { shopMoney { amount } } } }"
    after = shop.data(refunded, id=f"gid://shopify/Order/{order['id']}")["order"]
    assert after["totalRefundedSet"]["shopMoney"]["amount"] == "2.16"


def test_a_discount_above_the_price_is_refused(shop: ShopSide) -> None:
    shop.stock("A")
    assert shop.place(("A", 1), discount="2.51")["error"] == "invalid_discount"
