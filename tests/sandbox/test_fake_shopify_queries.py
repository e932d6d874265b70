"""Reading products, stock and orders."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.outside import ShopSide

BULKY = """{ order(id: "%s") { id legacyResourceId name createdAt processedAt updatedAt cancelledAt cancelReason test
  displayFinancialStatus displayFulfillmentStatus currencyCode sourceName sourceIdentifier
  totalPriceSet { shopMoney { amount currencyCode } } subtotalPriceSet { shopMoney { amount } }
  totalDiscountsSet { shopMoney { amount } } totalTaxSet { shopMoney { amount } }
  totalShippingPriceSet { shopMoney { amount } } customer { id } shippingAddress { countryCodeV2 }
  lineItems(first: 10) { nodes { id name title sku quantity currentQuantity unfulfilledQuantity
    variant { id legacyResourceId } requiresShipping isGiftCard originalUnitPriceSet { shopMoney { amount } }
    discountedTotalSet { shopMoney { amount } } totalDiscountSet { shopMoney { amount } } } pageInfo { hasNextPage } }
  refunds { id legacyResourceId createdAt note totalRefundedSet { shopMoney { amount } }
    refundLineItems(first: 5) { nodes { quantity restockType restocked subtotalSet { shopMoney { amount } }
      lineItem { id } location { id } } } }
  fulfillments(first: 5) { id legacyResourceId status createdAt updatedAt location { id }
    trackingInfo { company number url } fulfillmentLineItems(first: 5) { nodes { quantity lineItem { id } } } } } }"""


def pages(shop: ShopSide, field: str, nodes: str, size: int, more: str = "") -> list[list[dict[str, Any]]]:
    found, after = [], None
    while True:
        query = f"query($after: String) {{ {field}(first: {size}, after: $after{more}) {{ nodes {{ {nodes} }}"
        page = shop.data(query + " pageInfo { hasNextPage endCursor } } }", after=after)[field]
        found.append(page["nodes"])
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def test_pages_through_every_variant_once(shop: ShopSide) -> None:
    shop.stock(*[f"S{number:03d}" for number in range(23)])
    found = pages(shop, "productVariants", "sku", 5)
    assert [len(page) for page in found] == [5, 5, 5, 5, 3]
    assert [node["sku"] for page in found for node in page] == [f"S{number:03d}" for number in range(23)]


def test_a_page_is_not_moved_by_what_is_added_meanwhile(shop: ShopSide) -> None:
    shop.stock("B", "D", "F")
    query = "query($after: String) { productVariants(first: 2, after: $after, sortKey: SKU) { nodes { sku }"
    first = shop.data(query + " pageInfo { endCursor } } }")["productVariants"]
    shop.stock("A", "E")
    second = shop.data(query + " pageInfo { endCursor } } }", after=first["pageInfo"]["endCursor"])["productVariants"]
    assert [node["sku"] for node in first["nodes"] + second["nodes"]] == ["B", "D", "E", "F"]


def test_pages_backwards_and_in_reverse(shop: ShopSide) -> None:
    shop.stock("A", "B", "C")
    query = "{ last: productVariants(last: 2) { nodes { sku } pageInfo { hasPreviousPage hasNextPage } }"
    found = shop.data(query + " back: productVariants(first: 2, reverse: true) { nodes { sku } } }")
    assert [node["sku"] for node in found["last"]["nodes"]] == ["B", "C"]
    assert found["last"]["pageInfo"] == {"hasPreviousPage": True, "hasNextPage": False}
    assert [node["sku"] for node in found["back"]["nodes"]] == ["C", "B"]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        pytest.param("(first: 251)", marks=pytest.mark.breaks_contract("page")),
        "(first: 2, last: 2)",
        "(first: -1)",
        '(first: 1, after: "x")',
    ],
)
def test_refuses_a_page_that_makes_no_sense(shop: ShopSide, arguments: str) -> None:
    answer = shop.ask(f"{{ productVariants{arguments} {{ nodes {{ id }} }} }}")
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_shows_a_variant_with_everything_around_it(shop: ShopSide) -> None:
    items = shop.stock("A-1", available=7, barcode="4006381333931", price="0.001", vendor="Acme")
    query = """{ productVariants(first: 1, query: "sku:A-1") { nodes { id legacyResourceId sku barcode title price
      inventoryPolicy updatedAt product { id title status vendor updatedAt }
      inventoryItem { id legacyResourceId tracked sku inventoryLevels(first: 2) { edges { node { id updatedAt
        location { id name } quantities(names: ["available", "on_hand"]) { name quantity updatedAt } } } } } } } }"""
    found = shop.data(query)["productVariants"]["nodes"][0]
    assert (found["sku"], found["barcode"], found["price"]) == ("A-1", "4006381333931", "0.001")
    assert found["id"].endswith(f"/{found['legacyResourceId']}")
    assert (found["product"]["vendor"], found["product"]["status"]) == ("Acme", "ACTIVE")
    assert found["inventoryItem"]["id"] == items["A-1"]
    level = found["inventoryItem"]["inventoryLevels"]["edges"][0]["node"]
    assert level["location"]["id"] == shop.location
    assert [entry["quantity"] for entry in level["quantities"]] == [7, 7]
    assert level["id"].split("?inventory_item_id=")[1] == items["A-1"].rsplit("/", 1)[1]


def test_a_case_of_letters_is_another_sku(shop: ShopSide) -> None:
    items = shop.stock("85123A", "85123a")
    assert items["85123A"] != items["85123a"]
    assert shop.stock("85123a") == {"85123a": items["85123a"]}


def test_untracked_items_have_no_levels(shop: ShopSide) -> None:
    items = shop.stock("POST", tracked=False)
    query = "query($id: ID!) { inventoryItem(id: $id) { tracked inventoryLevels(first: 1) { nodes { id } } } }"
    found = shop.data(query, id=items["POST"])["inventoryItem"]
    assert found == {"tracked": False, "inventoryLevels": {"nodes": []}}


def test_finds_nodes_by_id_and_leaves_gaps_for_the_unknown(shop: ShopSide) -> None:
    items = shop.stock("A")
    order = shop.place(("A", 1))
    ids = [items["A"], "gid://shopify/Order/1", f"gid://shopify/Order/{order['id']}", "gid://shopify/Nothing/1", "x"]
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on InventoryItem { sku }
        ... on Order { name } } }"""
    found = shop.data(query, ids=ids)["nodes"]
    assert found[0] == {"__typename": "InventoryItem", "id": items["A"], "sku": "A"}
    assert found[1] is None
    assert found[2]["name"] == order["name"]
    assert found[3:] == [None, None]


def test_a_shop_sees_nothing_of_another(shop: ShopSide) -> None:
    other = shop.outside.shop()
    items = other.stock("A")
    order = other.place(("A", 1))
    query = "query($item: ID!, $order: ID!) { inventoryItem(id: $item) { id } order(id: $order) { id } }"
    found = shop.data(query, item=items["A"], order=f"gid://shopify/Order/{order['id']}")
    assert found == {"inventoryItem": None, "order": None}


@pytest.mark.breaks_contract("array")
def test_refuses_more_than_250_ids(shop: ShopSide) -> None:
    ids = [f"gid://shopify/Order/{number}" for number in range(251)]
    answer = shop.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)
    assert answer["errors"][0]["extensions"]["code"] == "MAX_INPUT_SIZE_EXCEEDED"


def test_shows_an_order_whole(shop: ShopSide) -> None:
    shop.stock("A", "B")
    order = shop.place(
        ("A", 3), ("B", 1), key="k-1", country="IE", customer_ref="17850", processed_at="2010-12-01T08:26:00Z"
    )
    shop.refund(order, (0, 1, "cancel"))
    shop.ship(order, (0, 2))
    found = shop.data(BULKY % f"gid://shopify/Order/{order['id']}")["order"]
    assert found["legacyResourceId"] == str(order["id"])
    assert order["id"] > 2**53
    assert (found["sourceIdentifier"], found["processedAt"]) == ("k-1", "2010-12-01T08:26:00Z")
    assert found["totalPriceSet"]["shopMoney"] == {"amount": "10.00", "currencyCode": "GBP"}
    assert (found["displayFinancialStatus"], found["displayFulfillmentStatus"]) == (
        "PARTIALLY_REFUNDED",
        "PARTIALLY_FULFILLED",
    )
    assert found["shippingAddress"] == {"countryCodeV2": "IE"}
    line = found["lineItems"]["nodes"][0]
    assert (line["quantity"], line["currentQuantity"], line["unfulfilledQuantity"]) == (3, 2, 0)
    assert line["discountedTotalSet"]["shopMoney"]["amount"] == "7.50"
    refunded = found["refunds"][0]["refundLineItems"]["nodes"][0]
    assert (refunded["quantity"], refunded["restockType"], refunded["restocked"]) == (1, "CANCEL", True)
    assert refunded["location"] == {"id": shop.location}
    assert found["fulfillments"][0]["status"] == "SUCCESS"
    assert found["fulfillments"][0]["fulfillmentLineItems"]["nodes"] == [
        {"quantity": 2, "lineItem": {"id": line["id"]}}
    ]


def test_an_order_of_many_lines_is_read_in_pages(shop: ShopSide) -> None:
    shop.stock("A", available=1000)
    order = shop.place(*[("A", 1)] * 705)
    query = """query($id: ID!, $after: String) { order(id: $id) { lineItems(first: 250, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor } } } }"""
    after, ids = None, []
    while True:
        found = shop.data(query, id=f"gid://shopify/Order/{order['id']}", after=after)["order"]["lineItems"]
        ids += [node["id"] for node in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert ids == [f"gid://shopify/LineItem/{line['id']}" for line in order["lines"]]


def test_finds_orders_by_their_times(shop: ShopSide) -> None:
    shop.stock("A", available=100)
    for number in range(3):
        shop.place(("A", 1), key=f"t{number}", processed_at=f"2011-01-0{number + 1}T12:00:00+01:00")
    by_process = pages(shop, "orders", "sourceIdentifier", 2, ', query: "processed_at:>=2011-01-02T11:00:00Z"')
    assert [node["sourceIdentifier"] for page in by_process for node in page] == ["t1", "t2"]
    everything = pages(
        shop, "orders", "updatedAt", 2, ", sortKey: UPDATED_AT, query: \"updated_at:>='2020-01-01T00:00:00Z'\""
    )
    assert sum(map(len, everything)) == 3
    nothing = pages(shop, "orders", "id", 2, ', sortKey: UPDATED_AT, query: "updated_at:>=2999-01-01"')
    assert nothing == [[]]
    newest = pages(shop, "orders", "sourceIdentifier", 1, ", sortKey: CREATED_AT, reverse: true")
    assert [page[0]["sourceIdentifier"] for page in newest] == ["t2", "t1", "t0"]


def test_products_carry_their_variants(shop: ShopSide) -> None:
    shop.stock("A", available=4)
    query = "{ products(first: 5) { nodes { title totalInventory variants(first: 3) { nodes { sku } } } } }"
    assert shop.data(query)["products"]["nodes"] == [
        {"title": "Thing A", "totalInventory": 4, "variants": {"nodes": [{"sku": "A"}]}}
    ]
