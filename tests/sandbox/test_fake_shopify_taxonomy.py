"""The fake Shopify's product taxonomy: its top, what is below and beside, a search, pages."""

from __future__ import annotations

from typing import Any

from tests.sandbox.outside import ShopSide


def found(shop: ShopSide, arguments: str, fields: str = "name") -> dict[str, Any]:
    query = (
        f"{{ taxonomy {{ categories({arguments}) {{ nodes {{ {fields} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"
    )
    categories: dict[str, Any] = shop.data(query)["taxonomy"]["categories"]
    return categories


def names(shop: ShopSide, arguments: str) -> list[str]:
    return [node["name"] for node in found(shop, arguments)["nodes"]]


def test_the_taxonomy_is_asked_from_the_top_below_beside_and_by_words(shop: ShopSide) -> None:
    assert "Home & Living" in names(shop, "first: 10")
    fields = "id isRoot isLeaf level parentId ancestorIds childrenIds fullName"
    (kitchen,) = found(shop, 'first: 10, search: "living > kitchen"', fields)["nodes"][:1]
    assert (kitchen["isRoot"], kitchen["isLeaf"], kitchen["level"]) == (False, False, 2)
    assert kitchen["ancestorIds"] == [kitchen["parentId"]] == ["gid://shopify/TaxonomyCategory/hl"]
    assert "Teapots" in names(shop, f'first: 20, childrenOf: "{kitchen["id"]}"')
    assert "Garden" in names(shop, f'first: 20, siblingsOf: "{kitchen["id"]}"')
    assert "Kitchen" not in names(shop, f'first: 20, siblingsOf: "{kitchen["id"]}"')
    below = names(shop, 'first: 50, descendantsOf: "gid://shopify/TaxonomyCategory/hl"')
    assert {"Kitchen", "Teapots", "Fairy Lights"} <= set(below)


def test_it_comes_by_page_and_a_category_that_is_not_there_is_an_error(shop: ShopSide) -> None:
    whole = names(shop, 'first: 50, descendantsOf: "gid://shopify/TaxonomyCategory/hl"')
    seen: list[str] = []
    after = ""
    while True:
        page = found(shop, f'first: 7, descendantsOf: "gid://shopify/TaxonomyCategory/hl"{after}')
        seen += [node["name"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = f', after: "{page["pageInfo"]["endCursor"]}"'
    assert seen == whole
    refused = shop.ask(
        '{ taxonomy { categories(first: 5, childrenOf: "gid://shopify/TaxonomyCategory/no") { nodes { id } } } }'
    )
    assert refused["errors"]
