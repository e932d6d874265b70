"""inventorySetQuantities: compare and swap, all or nothing, idempotent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.outside import SET, ShopSide

WRONG_QUANTITIES = pytest.mark.breaks_contract("quantities")


def errors_of(answer: dict[str, Any]) -> list[tuple[str, list[str]]]:
    found = answer["data"]["inventorySetQuantities"]
    return [(error["code"], error["field"]) for error in found["userErrors"]]


def codes_of(answer: dict[str, Any]) -> list[str]:
    return [code for code, _ in errors_of(answer)]


def test_sets_available_and_moves_on_hand_with_it(shop: ShopSide) -> None:
    items = shop.stock("A")
    shop.place(("A", 4))
    answer = shop.set(shop.element(items["A"], 20, 6), referenceDocumentUri="gid://switchyard/Write/1")
    assert errors_of(answer) == []
    assert shop.level(items["A"]) == {"available": 20, "committed": 4, "on_hand": 24}
    group = answer["data"]["inventorySetQuantities"]["inventoryAdjustmentGroup"]
    assert (group["reason"], group["referenceDocumentUri"]) == ("correction", "gid://switchyard/Write/1")
    changes = {change["name"]: (change["delta"], change["quantityAfterChange"]) for change in group["changes"]}
    assert changes == {"available": (14, 20), "on_hand": (14, 24)}
    assert group["changes"][0]["item"] == {"id": items["A"]}


def test_sets_on_hand_and_leaves_what_is_committed(shop: ShopSide) -> None:
    items = shop.stock("A")
    shop.place(("A", 4))
    assert errors_of(shop.set(shop.element(items["A"], 9, 10), name="on_hand")) == []
    assert shop.level(items["A"]) == {"available": 5, "committed": 4, "on_hand": 9}


@pytest.mark.breaks_contract("idempotent")
def test_needs_the_directive(shop: ShopSide) -> None:
    items = shop.stock("A")
    without = SET.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    given = {"name": "available", "reason": "correction", "quantities": [shop.element(items["A"], 1, None)]}
    answer = shop.ask(without, input=given)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert answer["errors"][0]["path"] == ["inventorySetQuantities"]
    assert "data" not in answer
    assert shop.set(shop.element(items["A"], 1, None), key="  ")["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert shop.level(items["A"])["available"] == 10


@pytest.mark.breaks_contract("comparison")
def test_needs_the_number_compared_with_on_every_element(shop: ShopSide) -> None:
    items = shop.stock("A", "B")
    bare = shop.element(items["B"], 1, None)
    del bare["changeFromQuantity"]
    answer = shop.set(shop.element(items["A"], 1, 10), bare)
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_FIELD_ARGUMENTS"
    assert shop.level(items["A"])["available"] == 10


def test_an_explicit_null_compares_nothing(shop: ShopSide) -> None:
    items = shop.stock("A")
    assert errors_of(shop.set(shop.element(items["A"], 3, None))) == []
    assert shop.level(items["A"])["available"] == 3


def test_one_stale_pair_stops_all_and_every_stale_pair_is_named(shop: ShopSide) -> None:
    items = shop.stock("A", "B", "C")
    answer = shop.set(shop.element(items["A"], 1, 99), shop.element(items["B"], 2, 10), shop.element(items["C"], 3, 11))
    assert errors_of(answer) == [
        ("CHANGE_FROM_QUANTITY_STALE", ["input", "quantities", "0", "changeFromQuantity"]),
        ("CHANGE_FROM_QUANTITY_STALE", ["input", "quantities", "2", "changeFromQuantity"]),
    ]
    assert answer["data"]["inventorySetQuantities"]["inventoryAdjustmentGroup"] is None
    assert [shop.level(items[sku])["available"] for sku in "ABC"] == [10, 10, 10]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"quantity": -1}, "INVALID_QUANTITY_NEGATIVE", marks=WRONG_QUANTITIES),
        ({"quantity": 1_000_000_001}, "INVALID_QUANTITY_TOO_HIGH"),
        pytest.param({"quantity": -1_000_000_001}, "INVALID_QUANTITY_TOO_LOW", marks=WRONG_QUANTITIES),
        ({"inventoryItemId": "gid://shopify/InventoryItem/1"}, "INVALID_INVENTORY_ITEM"),
        ({"inventoryItemId": "nonsense"}, "INVALID_INVENTORY_ITEM"),
        ({"locationId": "gid://shopify/Location/1"}, "INVALID_LOCATION"),
    ],
)
def test_names_what_is_wrong_with_an_element(shop: ShopSide, change: dict[str, Any], code: str) -> None:
    items = shop.stock("A", "B")
    answer = shop.set(shop.element(items["B"], 1, 10), shop.element(items["A"], 1, 10) | change)
    assert codes_of(answer) == [code]
    assert errors_of(answer)[0][1][:3] == ["input", "quantities", "1"]
    assert shop.level(items["B"])["available"] == 10


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"name": "committed"}, "INVALID_NAME", marks=WRONG_QUANTITIES),
        ({"reason": "because"}, "INVALID_REASON"),
        ({"referenceDocumentUri": "no uri"}, "INVALID_REFERENCE_DOCUMENT"),
        ({"referenceDocumentUri": "gid://switchyard/Write"}, "INVALID_REFERENCE_DOCUMENT"),
    ],
)
def test_names_what_is_wrong_with_the_call(shop: ShopSide, change: dict[str, Any], code: str) -> None:
    items = shop.stock("A")
    assert codes_of(shop.set(shop.element(items["A"], 1, 10), **change)) == [code]


def test_a_pair_may_stand_once_only(shop: ShopSide) -> None:
    items = shop.stock("A")
    answer = shop.set(shop.element(items["A"], 1, 10), shop.element(items["A"], 2, 10))
    assert codes_of(answer) == ["NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR"]


def test_an_untracked_item_takes_no_number(shop: ShopSide) -> None:
    items = shop.stock("POST", tracked=False)
    assert codes_of(shop.set(shop.element(items["POST"], 1, None))) == ["NON_MUTABLE_INVENTORY_ITEM"]


@pytest.mark.breaks_contract("array")
def test_takes_250_pairs_and_no_more(shop: ShopSide) -> None:
    items = shop.stock(*[f"S{number}" for number in range(251)])
    elements = [shop.element(item, 3, 10) for item in items.values()]
    answer = shop.set(*elements)
    assert answer["errors"][0]["extensions"]["code"] == "MAX_INPUT_SIZE_EXCEEDED"
    assert errors_of(shop.set(*elements[:250])) == []
    assert shop.level(items["S249"])["available"] == 3
    assert shop.level(items["S250"])["available"] == 10


def test_a_repetition_returns_the_earlier_result_and_writes_nothing(shop: ShopSide) -> None:
    items = shop.stock("A")
    element = shop.element(items["A"], 7, 10)
    first = shop.set(element, key="k1")
    shop.place(("A", 2))
    again = shop.set(element, key="k1")
    assert again["data"] == first["data"]
    assert shop.level(items["A"])["available"] == 5


def test_a_key_belongs_to_its_arguments(shop: ShopSide) -> None:
    items = shop.stock("A")
    shop.set(shop.element(items["A"], 7, 10), key="k1")
    assert codes_of(shop.set(shop.element(items["A"], 8, 7), key="k1")) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    assert shop.level(items["A"])["available"] == 7


def test_a_failed_attempt_burns_its_key(shop: ShopSide) -> None:
    items = shop.stock("A")
    element = shop.element(items["A"], 7, 9)
    assert codes_of(shop.set(element, key="k1")) == ["CHANGE_FROM_QUANTITY_STALE"]
    shop.place(("A", 1))
    assert codes_of(shop.set(element, key="k1")) == ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"]
    assert codes_of(shop.set(element, key="k2")) == []


def test_the_same_key_in_another_shop_is_another_key(shop: ShopSide) -> None:
    other = shop.outside.shop()
    for side in (shop, other):
        items = side.stock("A")
        assert errors_of(side.set(side.element(items["A"], 7, 10), key="shared")) == []
        assert side.level(items["A"])["available"] == 7


@pytest.mark.breaks_contract("comparison")
def test_reads_literals_as_it_reads_variables(shop: ShopSide) -> None:
    items = shop.stock("A")
    query = """mutation { inventorySetQuantities(input: { name: "available", reason: "correction", quantities: [
        { inventoryItemId: "%s", locationId: "%s", quantity: 1 %s }] })
        @idempotent(key: "%s") { userErrors { code } } }"""
    bare = shop.ask(query % (items["A"], shop.location, "", "l1"))
    assert bare["errors"][0]["extensions"]["code"] == "INVALID_FIELD_ARGUMENTS"
    assert shop.data(query % (items["A"], shop.location, ", changeFromQuantity: null", "l2"))
    assert shop.level(items["A"])["available"] == 1
