"""The fake Shopify's products: complete lists, all or nothing, objections with their place, webhooks, points."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.store import Store
from tests.sandbox.outside import Inside, Receiver, ShopSide

SET = """mutation($identifier: ProductSetIdentifiers, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input) {
    product { id handle tags updatedAt media(first: 5) { nodes { id alt ... on MediaImage { image { url } } } }
      metafields(first: 5) { nodes { key value } } variants(first: 5) { nodes { id sku title displayName price } } }
    userErrors { code field message }
  }
}"""
CHANGE = """mutation($product: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $product, variants: $variants) {
    productVariants { id price inventoryItem { unitCost { amount } } } userErrors { code field message }
  }
}"""
METAFIELDS = """mutation($metafields: [MetafieldsSetInput!]!) {
  metafieldsSet(metafields: $metafields) { metafields { value } userErrors { code field elementIndex message } }
}"""


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    world = Inside(tmp_path_factory.mktemp("world"))
    yield world
    world.stop()


@pytest.fixture
def shop(inside: Inside) -> ShopSide:
    return inside.shop()


def variant(size: str, **more: Any) -> dict[str, Any]:
    return {"sku": f"S-{size}", "price": "5.00", "optionValues": [{"optionName": "Size", "name": size}]} | more


def shirt(*sizes: str, **more: Any) -> dict[str, Any]:
    options = [{"name": "Size", "values": [{"name": size} for size in sizes]}]
    return {"title": "Shirt", "productOptions": options, "variants": [variant(size) for size in sizes]} | more


def put(shop: ShopSide, input_: dict[str, Any], product: str | None = None) -> dict[str, Any]:
    identifier = None if product is None else {"id": product}
    found: dict[str, Any] = shop.data(SET, identifier=identifier, input=input_)["productSet"]
    return found


def test_lists_that_are_given_are_complete_and_others_stay(shop: ShopSide) -> None:
    fields = [{"namespace": "more", "key": name, "type": "boolean", "value": "true"} for name in ("one", "two")]
    files = [{"originalSource": f"https://a.test/{name}.jpg", "alt": name} for name in "ab"]
    made = put(shop, shirt("M", "L", metafields=fields, files=files, tags=["b", "A"]))["product"]
    assert (made["handle"], made["tags"]) == ("shirt", ["A", "b"])
    first, second = made["variants"]["nodes"]
    assert (first["title"], first["displayName"]) == ("M", "Shirt - M")
    again = put(shop, {"title": "Linen"}, made["id"])["product"]
    assert again["variants"]["nodes"][1]["id"] == second["id"]
    assert len(again["media"]["nodes"]) == len(again["metafields"]["nodes"]) == 2
    kept = {"id": second["id"], "optionValues": variant("L")["optionValues"]}
    listed = shirt("L") | {
        "variants": [kept],
        "metafields": fields[1:],
        "files": [{"id": made["media"]["nodes"][1]["id"]}],
    }
    less = put(shop, listed, made["id"])["product"]
    assert [one["id"] for one in less["variants"]["nodes"]] == [second["id"]]
    # What is not said of a variant that is there stays as it is.
    assert less["variants"]["nodes"][0]["price"] == "5.00"
    assert [one["alt"] for one in less["media"]["nodes"]] == ["b"]
    assert [one["key"] for one in less["metafields"]["nodes"]] == ["two"]


@pytest.mark.parametrize(
    ("input_", "code", "place"),
    [
        ({"title": " "}, "INVALID_INPUT", "title"),
        ({"title": "A", "variants": [variant("M")]}, "PRODUCT_OPTIONS_INPUT_MISSING", "productOptions"),
        (shirt("M") | {"variants": None}, "VARIANTS_INPUT_MISSING", "variants"),
        (shirt("M") | {"variants": [variant("M"), variant("M")]}, "INVALID_VARIANT", "1"),
        (shirt("M") | {"variants": [variant("XL")]}, "OPTION_VALUE_DOES_NOT_EXIST", "optionValues"),
        (shirt("M") | {"variants": [variant("M", id="gid://shopify/ProductVariant/1")]},
         "PRODUCT_VARIANT_DOES_NOT_EXIST", "id"),
        (shirt("M") | {"variants": [variant("M", price="-1")]}, "INVALID_VARIANT", "price"),
        (shirt("M", files=[{"originalSource": "ftp"}]), "INVALID_INPUT", "originalSource"),
        (shirt("M", metafields=[{"namespace": "more", "key": "one", "type": "date", "value": "soon"}]),
         "INVALID_METAFIELD", "value"),
    ],
)  # fmt: skip
def test_an_objection_says_where_and_nothing_is_done(
    shop: ShopSide, input_: dict[str, Any], code: str, place: str
) -> None:
    answer = put(shop, input_)
    assert answer["product"] is None
    assert (answer["userErrors"][0]["code"], answer["userErrors"][0]["field"][-1]) == (code, place)
    assert shop.data("{ products(first: 5) { nodes { id } } }")["products"]["nodes"] == []


def test_a_handle_is_one_products(shop: ShopSide) -> None:
    put(shop, shirt("M"))
    taken = put(shop, shirt("M", handle="shirt"))
    assert taken["userErrors"][0]["code"] == "HANDLE_NOT_UNIQUE"
    assert put(shop, shirt("M"))["product"]["handle"] == "shirt-1"
    gone = put(shop, {"title": "A"}, "gid://shopify/Product/1")
    assert gone["userErrors"][0]["code"] == "PRODUCT_DOES_NOT_EXIST"


def test_variants_are_changed_by_name_all_or_none(shop: ShopSide) -> None:
    made = put(shop, shirt("M", "L"))["product"]
    first, second = (one["id"] for one in made["variants"]["nodes"])
    item = {"cost": "1.20"}
    answer = shop.data(CHANGE, product=made["id"], variants=[{"id": first, "price": "4.00", "inventoryItem": item}])
    (changed,) = answer["productVariantsBulkUpdate"]["productVariants"]
    assert (changed["price"], changed["inventoryItem"]["unitCost"]["amount"]) == ("4.00", "1.20")
    wrong = [{"id": first, "price": "3.00"}, {"id": second, "price": "-3.00"}]
    answer = shop.data(CHANGE, product=made["id"], variants=wrong)["productVariantsBulkUpdate"]
    assert [(one["code"], one["field"]) for one in answer["userErrors"]] == [
        ("NEGATIVE_PRICE_VALUE", ["variants", "1", "price"])
    ]
    assert put(shop, {"title": "Shirt"}, made["id"])["product"]["variants"]["nodes"][0]["price"] == "4.00"


BULK = {
    "create": """mutation($product: ID!, $given: [ProductVariantsBulkInput!]!) {
      productVariantsBulkCreate(productId: $product, variants: $given) {
        productVariants { sku title position } userErrors { code field } } }""",
    "delete": """mutation($product: ID!, $given: [ID!]!) {
      productVariantsBulkDelete(productId: $product, variantsIds: $given) { userErrors { code field } } }""",
    "reorder": """mutation($product: ID!, $given: [ProductVariantPositionInput!]!) {
      productVariantsBulkReorder(productId: $product, positions: $given) { userErrors { code field } } }""",
    "update": """mutation($product: ID!, $given: [ProductVariantsBulkInput!]!) {
      productVariantsBulkUpdate(productId: $product, variants: $given) { userErrors { code field } } }""",
}


def bulk(shop: ShopSide, act: str, product: str, *given: Any) -> list[str]:
    """The codes of what is objected to."""
    (answer,) = shop.data(BULK[act], product=product, given=list(given)).values()
    return [one["code"] for one in answer["userErrors"]]


def sizes(shop: ShopSide, product: str) -> list[tuple[str, str]]:
    found = shop.data("query($id: ID!) { product(id: $id) { options { values } variants(first: 9) {"
                      " nodes { id title } } } }", id=product)["product"]  # fmt: skip
    assert {one["title"] for one in found["variants"]["nodes"]} <= set(found["options"][0]["values"])
    return [(one["title"], one["id"]) for one in found["variants"]["nodes"]]


def sized(size: str, **more: Any) -> dict[str, Any]:
    """A new variant, in the form of the bulk mutations: its SKU is its item's."""
    chosen = variant(size)["optionValues"]
    return {"price": "5.00", "optionValues": chosen, "inventoryItem": {"sku": f"S-{size}"}} | more


def test_variants_come_go_and_move_by_name_and_others_stay(shop: ShopSide) -> None:
    product = put(shop, shirt("M", "L"))["product"]["id"]
    first, second = (number for _, number in sizes(shop, product))
    # An option value that is not there yet comes with its variant.
    assert bulk(shop, "create", product, sized("S"), sized("XL")) == []
    assert [size for size, _ in sizes(shop, product)] == ["M", "L", "S", "XL"]
    last = sizes(shop, product)[-1][1]
    assert bulk(shop, "reorder", product, {"id": last, "position": 1}) == []
    assert [size for size, _ in sizes(shop, product)] == ["XL", "M", "L", "S"]
    assert bulk(shop, "update", product, {"id": second, "optionValues": variant("Large")["optionValues"]}) == []
    assert bulk(shop, "delete", product, first) == []
    assert [size for size, _ in sizes(shop, product)] == ["XL", "Large", "S"]


def test_what_the_bulk_mutations_object_to(shop: ShopSide) -> None:
    product = put(shop, shirt("M", "L"))["product"]["id"]
    other = put(shop, shirt("M"))["product"]["id"]
    ((_, first), (_, second)), ((_, strange),) = sizes(shop, product), sizes(shop, other)
    gone = "gid://shopify/Product/1"
    for act, given in (("create", sized("S")), ("delete", first), ("reorder", {"id": first, "position": 1})):
        assert bulk(shop, act, gone, given) == ["PRODUCT_DOES_NOT_EXIST"]
    assert bulk(shop, "create", product, sized("M")) == ["VARIANT_ALREADY_EXISTS_CHANGE_OPTION_VALUE"]
    assert bulk(shop, "create", product, sized("S"), sized("S")) == ["VARIANT_ALREADY_EXISTS_CHANGE_OPTION_VALUE"]
    assert bulk(shop, "create", product, sized("S", optionValues=[])) == ["NEED_TO_ADD_OPTION_VALUES"]
    assert bulk(shop, "create", product, sized("S", price="-1")) == ["NEGATIVE_PRICE_VALUE"]
    assert bulk(shop, "create", product, sized("S", id=first)) == ["NO_KEY_ON_CREATE"]
    assert bulk(shop, "delete", product, strange) == ["AT_LEAST_ONE_VARIANT_DOES_NOT_BELONG_TO_THE_PRODUCT"]
    assert bulk(shop, "delete", product, first, second) == ["CANNOT_DELETE_LAST_VARIANT"]
    twice = [{"id": first, "position": place} for place in (1, 2)]
    assert bulk(shop, "reorder", product, *twice) == ["DUPLICATED_VARIANT_ID"]
    assert bulk(shop, "reorder", product, {"id": first, "position": 0}) == ["INVALID_POSITION"]
    assert bulk(shop, "reorder", product, {"id": strange, "position": 1}) == ["MISSING_VARIANT"]
    swapped = [{"id": first, "optionValues": variant("L")["optionValues"]}]
    assert bulk(shop, "update", product, *swapped) == ["VARIANT_ALREADY_EXISTS"]
    assert [size for size, _ in sizes(shop, product)] == ["M", "L"]


def test_a_default_variant_makes_room_for_the_first_real_one_unless_it_is_kept(shop: ShopSide) -> None:
    product = put(shop, shirt("M"))["product"]["id"]
    keeps = BULK["create"].replace("variants: $given", "variants: $given, strategy: REMOVE_STANDALONE_VARIANT")
    shop.data(keeps, product=product, given=[sized("L")])
    assert [size for size, _ in sizes(shop, product)] == ["L"]


def test_a_category_is_one_of_the_taxonomy(shop: ShopSide) -> None:
    mugs = "gid://shopify/TaxonomyCategory/hl-1-1"
    product = put(shop, shirt("M", category=mugs))["product"]["id"]
    shown = "query($id: ID!) { product(id: $id) { category { id fullName } } }"
    found = shop.data(shown, id=product)["product"]["category"]
    assert found == {"id": mugs, "fullName": "Home & Living > Kitchen > Mugs & Cups"}
    (error,) = put(shop, {"category": mugs + "-99"}, product)["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_PRODUCT", ["input", "category"])
    answer = shop.ask(SET, identifier={"id": product}, input={"category": "Mugs"})
    assert "Invalid global id" in answer["errors"][0]["message"]
    # What is not given stays, and null takes it away.
    put(shop, {"title": "Mug"}, product)
    assert shop.data(shown, id=product)["product"]["category"] is not None
    put(shop, {"category": None}, product)
    assert shop.data(shown, id=product)["product"]["category"] is None


def test_at_most_25_metafields_are_set_in_one_call(shop: ShopSide) -> None:
    product = put(shop, shirt("M"))["product"]["id"]
    many = [
        {"ownerId": product, "namespace": "more", "key": f"key{n}", "type": "number_integer", "value": str(n)}
        for n in range(26)
    ]
    answer = shop.data(METAFIELDS, metafields=many)["metafieldsSet"]
    assert (answer["metafields"], answer["userErrors"][0]["code"]) == (None, "LESS_THAN_OR_EQUAL_TO")
    assert len(shop.data(METAFIELDS, metafields=many[1:])["metafieldsSet"]["metafields"]) == 25


def test_what_a_product_is_given_costs_points(shop: ShopSide) -> None:
    files = [{"originalSource": "https://a.test/a.jpg"}] * 2
    answer = shop.ask(SET, identifier=None, input=shirt("M", "L", files=files))
    # 10, and 0.2 a variant, 1.9 a file, all of it rounded up.
    assert answer["extensions"]["cost"]["requestedQueryCost"] == 15


def test_every_change_is_told(tmp_path: Path) -> None:
    world, receiver = Inside(tmp_path, background=True), Receiver().start()
    try:
        shop = world.shop()
        for topic in ("PRODUCTS_CREATE", "PRODUCTS_UPDATE", "INVENTORY_ITEMS_DELETE"):
            shop.subscribe(topic, receiver.url)
        made = put(shop, shirt("M", "L", descriptionHtml="<b>x</b>"))["product"]
        told = receiver.wait(1, "products/update")[0].body
        assert (told["body_html"], [one["option1"] for one in told["variants"]]) == ("<b>x</b>", ["M", "L"])
        assert len(receiver.of("products/create")) == 1
        kept = {"id": made["variants"]["nodes"][0]["id"], "optionValues": variant("M")["optionValues"]}
        put(shop, shirt("M") | {"variants": [kept]}, made["id"])
        receiver.wait(1, "inventory_items/delete")
        field = {"ownerId": made["id"], "namespace": "more", "key": "one", "type": "boolean", "value": "true"}
        shop.data(METAFIELDS, metafields=[field])
        receiver.wait(3, "products/update")
    finally:
        receiver.stop()
        world.stop()


def test_a_world_of_before_keeps_its_variants(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "sandbox.sqlite")
    old.executescript(
        "create table variants (id integer primary key, shop_id integer not null, product_id integer not null,"
        " item_id integer not null unique, sku text not null, barcode text, price text not null, policy text not null,"
        " tracked integer not null, created_at text not null, updated_at text not null, unique (shop_id, sku));"
        "create index variants_by_product on variants (product_id);"
        "insert into variants values (1, 1, 1, 1, 'A', null, '1.00', 'DENY', 1, 'x', 'x');"
    )
    old.close()
    store = Store(tmp_path)
    row = store.one("select * from variants")
    assert row is not None
    assert (row["sku"], row["position"], row["option_values"]) == ("A", 1, "[]")
    store.insert("variants", **{**dict(row), "id": 2, "item_id": 2})
    assert store.value("select count(*) from variants where sku = 'A'") == 2
    store.close()
