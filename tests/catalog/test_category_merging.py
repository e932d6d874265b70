"""One category is merged into another with all that is below it, and the tree is read with its counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.catalog.categories import operations, queries
from core.catalog.categories.operations import BadCategory, NoCategory
from core.catalog.products import queries as products
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.db import execute, scalar
from tests.catalog.conftest import ANNA, Catalogue


def planted(catalogue: Catalogue, *paths: str) -> dict[str, int]:
    wanted = [tuple(path.split(" > ")) for path in paths]
    found = operations.ensure_paths(catalogue.conn, catalogue.shop_id, wanted, catalogue.now)
    return {" > ".join(path): number for path, number in found.items()}


def product(catalogue: Catalogue, handle: str, *categories: int) -> int:
    document = ProductDocument(handle, handle, (VariantDocument(handle.upper(), "GBP"),), categories=categories)
    return catalogue.save(document).product_id or 0


def merged(catalogue: Catalogue, source: int, into: int) -> operations.Merged:
    return operations.merge(catalogue.conn, catalogue.shop_id, source, into, ANNA, catalogue.now)


def paths(catalogue: Catalogue) -> list[str]:
    return list(queries.paths(catalogue.conn, catalogue.shop_id).values())


def test_what_is_below_goes_along_and_namesakes_become_one(catalogue: Catalogue) -> None:
    at = planted(catalogue, "Old > Shirts > Linen", "Old > Hats > Straw", "New > Shirts", "New")
    old = at["Old > Shirts > Linen"], at["Old > Hats > Straw"]
    shirts = scalar(catalogue.conn, "select id from categories where path = 'Old > Shirts'")
    top = scalar(catalogue.conn, "select id from categories where path = 'Old'")
    made = product(catalogue, "a", shirts), product(catalogue, "b", old[0]), product(catalogue, "c", top, at["New"])
    planned = operations.plan_merge(catalogue.conn, catalogue.shop_id, top, at["New"])
    assert merged(catalogue, top, at["New"]) == planned == (2, 2, 2)
    assert paths(catalogue) == [
        *("New", "New > Hats", "New > Hats > Straw", "New > Shirts", "New > Shirts > Linen"),
    ]
    documents = [catalogue.document(one) for one in made]
    assert [d.categories for d in documents if d] == [(at["New > Shirts"],), (old[0],), (at["New"],)]
    last = products.last_version(catalogue.conn, catalogue.shop_id, made[0])
    assert last is not None
    assert (last.version, last.made_by, last.reason) == (2, "Anna", "the new season")


def test_a_category_goes_up_into_its_parent_even_with_a_namesake_below(catalogue: Catalogue) -> None:
    at = planted(catalogue, "A", "A > B", "A > B > B", "A > B > B > C")
    product(catalogue, "deep", at["A > B > B > C"])
    merged(catalogue, at["A > B"], at["A"])
    assert paths(catalogue) == ["A", "A > B", "A > B > C"]


def test_what_cannot_be_merged_is_refused_with_the_reason(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = planted(catalogue, "A > B", "A", "C")
    for into in (at["A"], at["A > B"]):
        with pytest.raises(BadCategory, match="cannot be merged into itself"):
            merged(catalogue, at["A"], into)
    with pytest.raises(NoCategory):
        merged(catalogue, at["A"], 10**12)
    for number in range(3):
        product(catalogue, f"p{number}", at["C"])
    monkeypatch.setattr(operations, "MERGED_MAX", 2)
    with pytest.raises(BadCategory, match="more than 2 products"):
        merged(catalogue, at["C"], at["A"])
    assert paths(catalogue) == ["A", "A > B", "C"]


def test_many_products_are_merged_in_batches(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_BATCH", 2)
    at = planted(catalogue, "A", "B")
    made = [product(catalogue, f"p{number}", at["A"]) for number in range(5)]
    assert merged(catalogue, at["A"], at["B"]).products == 5
    assert {d.categories for one in made if (d := catalogue.document(one))} == {(at["B"],)}


def test_the_tree_counts_each_product_once_and_parents_come_first(catalogue: Catalogue) -> None:
    at = planted(catalogue, "A!", "A > X", "A > Y", "A")
    product(catalogue, "both", at["A > X"], at["A > Y"])
    product(catalogue, "top", at["A"])
    product(catalogue, "none")
    found = queries.tree(catalogue.conn, catalogue.shop_id)
    assert [row.path for row in found.rows] == ["A", "A > X", "A > Y", "A!"]
    first = found.rows[0]
    assert (first.products, first.products_below, first.children, first.below) == (1, 2, 2, 2)
    assert found.is_whole
    below = queries.tree(catalogue.conn, catalogue.shop_id, at["A"])
    assert [row.name for row in below.rows] == ["X", "Y"]
    assert [row.path for row in queries.search(catalogue.conn, catalogue.shop_id, "x").rows] == ["A > X"]
    assert queries.search(catalogue.conn, catalogue.shop_id, "%").rows == []
    assert dict(queries.totals(catalogue.conn, catalogue.shop_id)) == {"categories": 4, "products_without": 1}


def test_a_long_tree_is_read_level_by_level_and_page_by_page(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "WHOLE_MAX", 2)
    monkeypatch.setattr(queries, "PAGE", 2)
    at = planted(catalogue, "A > X", "B > X", "C", "A")
    found = queries.tree(catalogue.conn, catalogue.shop_id)
    assert ([row.path for row in found.rows], found.more, found.is_whole) == (["A", "B"], True, False)
    rest = queries.tree(catalogue.conn, catalogue.shop_id, after="B")
    assert ([row.path for row in rest.rows], rest.more) == (["C"], False)
    assert [row.path for row in queries.tree(catalogue.conn, catalogue.shop_id, at["A"]).rows] == ["A > X"]


def test_choices_and_skus_of_no_product(catalogue: Catalogue) -> None:
    named = (("a", "Zeta", "Hat"), ("b", "Åkesson", None), ("c", "Zeta", "Bag"), ("d", None, "Hat"))
    for handle, vendor, kind in named:
        document = ProductDocument(handle, handle, (VariantDocument(handle, "GBP"),), vendor=vendor, product_type=kind)
        catalogue.save(document)
    conn, shop = catalogue.conn, catalogue.shop_id
    assert sorted(products.choices(conn, shop, "vendor")) == ["Zeta", "Åkesson"]
    assert products.choices(conn, shop, "product_type") == ["Bag", "Hat"]
    assert products.choices(conn, shop, "product_type", 1) == ["Bag"]
    assert products.skus_without_product(conn, shop).rows == []
    for code in ("Y", "X", "Z"):
        execute(
            conn,
            "insert into skus (shop_id, code, title, is_stocked, created_at) values (%(s)s, %(c)s, 't', true, now())",
            s=shop,
            c=code,
        )
    page = products.skus_without_product(conn, shop, limit=2)
    assert ([row["code"] for row in page.rows], page.more) == (["X", "Y"], True)
    assert [row["code"] for row in products.skus_without_product(conn, shop, after="Y").rows] == ["Z"]


def test_inner_parts_of_a_typed_code_are_whole_words_and_its_last_one_may_go_on(catalogue: Catalogue) -> None:
    document = ProductDocument("cup", "Cup", (VariantDocument("CUP-12-BLUE", "GBP"),))
    catalogue.save(replace(document, vendor="Ölund & Co"))
    for typed, fits in (("CUP-12-BL", 1), ("cup-1-blue", 0), ("cup 1", 1), ("ölund&co", 1), ("cup-12-blue cu", 1)):
        found = products.search(catalogue.conn, catalogue.shop_id, products.Filters(words=typed))
        assert (typed, found.counted) == (typed, fits)
