"""The first day of the demo, and its shoppers."""

from __future__ import annotations

from sandbox.world import DEMO_SELLER, DEMO_SHOP, samples
from tests.sandbox.outside import Outside, ShopSide, wait_for


def demo(outside: Outside) -> ShopSide:
    return ShopSide(outside, next(shop for shop in outside.get("/world")["shops"] if shop["domain"] == DEMO_SHOP))


def test_the_same_seed_is_the_same_world() -> None:
    assert samples(7) == samples(7)
    assert samples(7) != samples(8)


def test_goods_have_true_barcodes_and_their_own_skus() -> None:
    goods = samples(7)
    assert len(goods) == 120
    assert len({good.sku for good in goods}) == len({good.barcode for good in goods}) == 120
    for good in goods:
        digits = [int(digit) for digit in good.barcode or ""]
        assert len(digits) == 13
        assert sum(digits[::2]) % 10 == -3 * sum(digits[1::2]) % 10


def test_some_goods_are_scarce() -> None:
    stocks = [good.available for good in samples(7)]
    assert min(stocks) >= 0
    assert max(stocks) <= 300
    assert sum(stock <= 6 for stock in stocks) >= 10


def test_the_seller_lists_the_shops_goods_in_the_shops_numbers(outside: Outside) -> None:
    shop = {level["sku"]: level["available"] for level in outside.get(f"/shopify/{DEMO_SHOP}/levels")["levels"]}
    amazon = outside.get(f"/amazon/{DEMO_SELLER}/levels")["levels"]
    assert (len(shop), len(amazon)) == (120, 90)
    assert all(shop[level["sku"]] == level["in_force"]["DEFAULT"] for level in amazon)


def test_shoppers_buy_and_their_orders_are_shipped_cancelled_and_returned(own: Outside) -> None:
    own.post("/shoppers", domain=DEMO_SHOP, pace_per_minute=60, running=True)
    own.post("/clock", factor=120)
    shop = demo(own)
    query = """{ orders(first: 100, sortKey: CREATED_AT, reverse: true) { nodes { displayFulfillmentStatus cancelledAt
        lineItems(first: 5) { nodes { sku } } } } }"""

    def statuses() -> set[str]:
        orders = shop.data(query)["orders"]["nodes"]
        found = {order["displayFulfillmentStatus"] for order in orders}
        return found | {"CANCELLED" for order in orders if order["cancelledAt"]}

    wait_for(lambda: {"FULFILLED", "UNFULFILLED"} <= statuses())
    own.post("/shoppers", domain=DEMO_SHOP, running=False)
    for level in own.get(f"/shopify/{DEMO_SHOP}/levels")["levels"]:
        assert level["available"] >= 0
        assert level["committed"] >= 0


def test_shoppers_leave_an_empty_shop(own: Outside) -> None:
    shop = own.shop()
    shop.stock("A", available=3)
    own.post("/clock", factor=1000)
    own.post("/shoppers", domain=shop.domain, pace_per_minute=600, running=True)
    level = wait_for(
        lambda: next((row for row in own.get(f"/shopify/{shop.domain}/levels")["levels"] if not row["available"]), None)
    )
    own.post("/shoppers", domain=shop.domain, running=False)
    assert level["available"] == 0


def test_shoppers_are_off_at_the_start(outside: Outside) -> None:
    assert demo(outside).data("{ orders(first: 1) { nodes { id } } }")["orders"]["nodes"] == []


def test_orders_left_open_by_a_kill_are_shipped_when_shoppers_come_back(own: Outside) -> None:
    shop = demo(own)
    own.post("/shoppers", domain=DEMO_SHOP, pace_per_minute=6000, running=True)
    query = "{ orders(first: 10, sortKey: ID) { nodes { displayFulfillmentStatus cancelledAt } } }"
    wait_for(lambda: len(shop.data(query)["orders"]["nodes"]) >= 5)
    own.kill()
    own.start("--clock-factor", "1000")

    def open_orders() -> list[dict[str, str]]:
        orders = shop.data(query)["orders"]["nodes"]
        return [
            order for order in orders if order["displayFulfillmentStatus"] == "UNFULFILLED" and not order["cancelledAt"]
        ]

    assert open_orders()
    own.post("/shoppers", domain=DEMO_SHOP, pace_per_minute=0.001, running=True)
    wait_for(lambda: not open_orders())
