"""Products are made, changed, found, and each change taken back alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.catalog.categories import operations as categories
from core.catalog.products import operations, queries
from core.catalog.products.documents import Image, ProductDocument, VariantDocument, from_json, to_json
from core.catalog.products.fields import COST, SUPPLIER_ID, Definition
from core.catalog.products.operations import FlawedProduct, NameTaken, NothingToTakeBack, ProductChanged
from core.catalog.products.queries import Filters
from core.catalog.products.writing import Put, put_products
from core.db import fetch, fetch_one, scalar
from core.errors import BadInput
from tests.catalog.conftest import ANNA, Catalogue


def shirt(**more: object) -> ProductDocument:
    """A shirt in two sizes."""
    given: dict[str, object] = {
        "handle": "linen-shirt",
        "title": "Linen shirt",
        "vendor": "Åkesson",
        "tags": ("summer", "linen"),
        "options": ("Size",),
        "images": (Image("https://example.test/shirt.jpg", "the shirt"),),
        "metafields": {SUPPLIER_ID: "AK-77"},
        "variants": (
            VariantDocument("SHIRT-S", "GBP", ("S",), barcode="4006381333931", price_minor=4500, weight_grams=210),
            VariantDocument("SHIRT-M", "GBP", ("M",), price_minor=4700, metafields={COST: money(1200)}),
        ),
    }
    return ProductDocument(**{**given, **more})  # type: ignore[arg-type]


def money(minor: int) -> dict[str, object]:
    return {"amount_minor": minor, "currency": "GBP"}


def priced(document: ProductDocument, code: str, minor: int) -> ProductDocument:
    variants = tuple(replace(v, price_minor=minor) if v.code == code else v for v in document.variants)
    return replace(document, variants=variants)


def test_a_product_is_kept_as_it_was_written(catalogue: Catalogue) -> None:
    made = catalogue.save(shirt())
    assert made.product_id is not None
    assert catalogue.document(made.product_id) == shirt()
    skus = fetch(
        catalogue.conn,
        """
        select s.code, s.title, s.gtin, v.price_minor, v.option_values from skus s
        join variants v on v.shop_id = s.shop_id and v.sku_id = s.id where s.shop_id = %(shop)s order by v.position
        """,
        shop=catalogue.shop_id,
    )
    assert [tuple(row.values()) for row in skus] == [
        ("SHIRT-S", "Linen shirt – S", "04006381333931", 4500, ["S"]),
        ("SHIRT-M", "Linen shirt – M", None, 4700, ["M"]),
    ]


def test_saving_what_is_so_makes_no_version(catalogue: Catalogue) -> None:
    made = catalogue.save(shirt())
    again = catalogue.save(shirt(), made.product_id, made.version)
    assert again.version == made.version == 1


def test_who_read_an_older_version_overwrites_nothing(catalogue: Catalogue) -> None:
    made = catalogue.save(shirt())
    catalogue.save(shirt(title="Linen shirt, long"), made.product_id, 1)
    with pytest.raises(ProductChanged):
        catalogue.save(shirt(title="Mine"), made.product_id, 1)
    assert catalogue.document(made.product_id or 0) == shirt(title="Linen shirt, long")


def test_a_change_is_taken_back_alone_and_what_came_after_it_stays(catalogue: Catalogue) -> None:
    made = catalogue.save(shirt())
    product_id = made.product_id or 0
    dearer = priced(shirt(), "SHIRT-M", 9900)
    catalogue.save(dearer, product_id, 1)
    renamed = replace(dearer, title="Linen shirt, long")
    catalogue.save(renamed, product_id, 2)
    undone = catalogue.undo(product_id, 2)
    assert (undone.version, catalogue.document(product_id)) == (4, priced(renamed, "SHIRT-M", 4700))
    last = queries.last_version(catalogue.conn, catalogue.shop_id, product_id)
    assert last is not None
    assert (last.act, last.undoes_version) == ("undone", 2)


def test_what_was_changed_again_is_not_taken_back(catalogue: Catalogue) -> None:
    product_id = catalogue.save(shirt()).product_id or 0
    catalogue.save(shirt(title="One"), product_id, 1)
    catalogue.save(shirt(title="Two"), product_id, 2)
    with pytest.raises(NothingToTakeBack, match="changed again since"):
        catalogue.undo(product_id, 2)
    assert catalogue.undo(product_id, 3).fate == "done"
    assert catalogue.document(product_id) == shirt(title="One")


def test_removing_is_taken_back_with_the_same_id_and_the_skus_were_there_all_along(catalogue: Catalogue) -> None:
    product_id = catalogue.save(shirt()).product_id or 0
    operations.remove_product(catalogue.conn, catalogue.shop_id, product_id, 1, ANNA, catalogue.now)
    assert catalogue.document(product_id) is None
    count = "select count(*) from skus where shop_id = %(shop)s"
    assert scalar(catalogue.conn, count, shop=catalogue.shop_id) == 2
    assert catalogue.undo(product_id, 2).version == 3
    assert catalogue.document(product_id) == shirt()


def test_making_one_is_taken_back(catalogue: Catalogue) -> None:
    product_id = catalogue.save(shirt()).product_id or 0
    assert catalogue.undo(product_id, 1).version == 2
    assert catalogue.document(product_id) is None


def test_a_variant_that_left_is_no_products_any_more_and_may_go_to_another(catalogue: Catalogue) -> None:
    whole = shirt()
    product_id = catalogue.save(whole).product_id or 0
    catalogue.save(replace(whole, variants=whole.variants[:1]), product_id, 1)
    other = ProductDocument("other", "Other", (VariantDocument("SHIRT-M", "GBP"),))
    assert catalogue.save(other).fate == "done"
    with pytest.raises(NameTaken, match="the code SHIRT-M is another product's"):
        catalogue.undo(product_id, 2)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (shirt(title=""), "has no title"),
        (shirt(handle="a b"), "a space or a slash"),
        (shirt(variants=()), "has no variant"),
        (shirt(options=()), "1 option values, and the product 0 options"),
        (shirt(options=("Size", "Size")), "same name"),
        (shirt(variants=(VariantDocument("A", "GBP", ("S",)), VariantDocument("A", "GBP", ("M",)))), "names 2 of"),
        (shirt(variants=(VariantDocument("A", "GBP", ("S",)), VariantDocument("B", "GBP", ("S",)))), "2 of its"),
        (priced(shirt(), "SHIRT-S", -1), "below nothing"),
        (shirt(metafields={"a.b": "x"}), "is no metafield of a product yet"),
        (shirt(variants=(VariantDocument("A", "GBP", ("S",), metafields={COST: 12}),)), "is not kept as money"),
        (shirt(images=(Image("ftp://x"),)), "is no address"),
        (shirt(status="sold"), "is no status"),
    ],
)  # fmt: skip
def test_what_no_product_can_be_is_refused_whole_with_the_reason(
    catalogue: Catalogue, document: ProductDocument, said: str
) -> None:
    with pytest.raises(FlawedProduct, match="nothing was saved") as refused:
        catalogue.save(document)
    assert said in " ".join(flaw.sentence for flaw in refused.value.flaws)
    assert scalar(catalogue.conn, "select count(*) from products where shop_id = %(s)s", s=catalogue.shop_id) == 0


def test_of_many_puts_those_that_cannot_be_done_are_told_and_the_others_are_done(catalogue: Catalogue) -> None:
    product_id = catalogue.save(shirt()).product_id or 0

    def plain(handle: str, *codes: str) -> ProductDocument:
        variants = tuple(VariantDocument(code, "GBP", (code,)) for code in codes)
        return ProductDocument(handle, handle, variants, options=("Code",))

    puts = [
        Put(plain("a", "A1", "A2")),
        Put(plain("a", "B1")),
        Put(plain("c", "A2")),
        Put(plain("d", "SHIRT-S")),
        Put(shirt(title="Old"), product_id, 7),
        Put(plain("linen-shirt", "E1")),
        Put(shirt(title="New"), product_id, 1),
        Put(shirt(title="Twice"), product_id, 1),
        Put(plain("f", "F1")),
    ]
    results = put_products(catalogue.conn, catalogue.shop_id, puts, "imported", ANNA, catalogue.now)
    assert [(result.fate, result.detail) for result in results] == [
        ("done", ""),
        ("handle_taken", "a"),
        ("code_taken", "A2"),
        ("code_taken", "SHIRT-S"),
        ("stale", ""),
        ("handle_taken", "linen-shirt"),
        ("done", ""),
        ("stale", ""),
        ("done", ""),
    ]
    handles = fetch(catalogue.conn, "select handle from products where shop_id = %(s)s order by 1", s=catalogue.shop_id)
    assert [row["handle"] for row in handles] == ["a", "f", "linen-shirt"]
    assert catalogue.document(product_id) == shirt(title="New")


def test_whether_a_sku_is_stocked_is_what_it_was(catalogue: Catalogue) -> None:
    service = ProductDocument("gift", "Gift wrap", (VariantDocument("WRAP", "GBP", is_stocked=False),))
    product_id = catalogue.save(service).product_id or 0
    goods = replace(service, title="Wrap", variants=(replace(service.variants[0], is_stocked=True),))
    catalogue.save(goods, product_id, 1)
    assert catalogue.document(product_id) == replace(service, title="Wrap")


def test_products_are_found_by_any_beginning_of_their_words_in_any_case_and_without_accents(
    catalogue: Catalogue,
) -> None:
    catalogue.save(shirt())
    mug = ProductDocument("mug", "Café mug", (VariantDocument("MUG_01-B", "GBP", barcode="0123"),))
    catalogue.save(mug)

    def found(words: str, **more: object) -> list[str]:
        filters = Filters(words, **more)  # type: ignore[arg-type]
        return [row["handle"] for row in queries.search(catalogue.conn, catalogue.shop_id, filters).rows]

    assert (
        found("LINEN sh") == found("akes") == found("shirt-m") == found("shirtm") == found("ak-77") == ["linen-shirt"]
    )
    assert found("400638133") == ["linen-shirt"]
    assert found("cafe") == found("CAFÉ") == found("mug01b") == found("0123") == ["mug"]
    assert found("linen mug") == found("'; drop table x") == []
    assert found("") == found("  & | !") == ["mug", "linen-shirt"]
    assert found("", status="draft") == []
    assert found("", vendor="Åkesson") == ["linen-shirt"]


def test_a_list_goes_on_where_its_page_ended(catalogue: Catalogue) -> None:
    puts = [
        Put(ProductDocument(f"p-{n}", f"Pan {n % 7}", (VariantDocument(f"P{n}", "GBP"),)), None, None)
        for n in range(23)
    ]
    put_products(catalogue.conn, catalogue.shop_id, puts, "imported", ANNA, catalogue.now)
    met: list[str] = []
    after = None
    while True:
        page = queries.search(catalogue.conn, catalogue.shop_id, Filters("pan"), after, limit=5)
        assert page.counted == 23
        met += [row["handle"] for row in page.rows]
        after = page.after
        if after is None:
            break
    assert len(met) == 23
    assert set(met) == {f"p-{n}" for n in range(23)}


def test_a_category_stands_for_what_is_below_it(catalogue: Catalogue) -> None:
    conn, shop_id, now = catalogue.conn, catalogue.shop_id, catalogue.now
    made = categories.ensure_paths(conn, shop_id, [("Home", "Kitchen", "Pans"), ("Home", "Bath"), ("Toys",)], now)
    assert categories.ensure_paths(conn, shop_id, [("Home", "Bath")], now) == {("Home", "Bath"): made["Home", "Bath"]}
    catalogue.save(shirt(categories=(made["Home", "Kitchen", "Pans"], made["Toys",])))
    home = scalar(conn, "select id from categories where shop_id = %(s)s and path = 'Home'", s=shop_id)

    def found(category_id: int) -> int:
        return len(queries.search(conn, shop_id, Filters(category_id=category_id)).rows)

    assert (found(home), found(made["Toys",]), found(made["Home", "Bath"])) == (1, 1, 0)
    categories.move(conn, shop_id, home, made["Toys",], "House", ANNA, now)
    paths = fetch(conn, "select path from categories where shop_id = %(s)s order by path", s=shop_id)
    assert [row["path"] for row in paths] == [
        "Toys",
        "Toys > House",
        "Toys > House > Bath",
        "Toys > House > Kitchen",
        "Toys > House > Kitchen > Pans",
    ]
    with pytest.raises(BadInput, match="cannot hang below itself"):
        categories.move(conn, shop_id, made["Toys",], made["Home", "Bath"], "Toys", ANNA, now)
    with pytest.raises(BadInput, match="it has 1 products and 1 categories"):
        categories.remove(conn, shop_id, made["Toys",], ANNA, now)
    categories.remove(conn, shop_id, made["Home", "Bath"], ANNA, now)


def test_a_metafield_of_the_shops_own_is_defined_before_it_is_used(catalogue: Catalogue) -> None:
    conn, shop_id, now = catalogue.conn, catalogue.shop_id, catalogue.now
    new = Definition("product", "details.material", "Material", "text")
    operations.define_metafield(conn, shop_id, new, ANNA, now)
    assert catalogue.save(shirt(metafields={"details.material": "linen"})).fate == "done"
    with pytest.raises(BadInput, match=r"has a metafield details\.material already"):
        operations.define_metafield(conn, shop_id, new, ANNA, now)
    with pytest.raises(BadInput, match="is no key"):
        operations.define_metafield(conn, shop_id, replace(new, key="Material"), ANNA, now)


def test_a_document_is_the_same_after_its_json(catalogue: Catalogue) -> None:
    assert from_json(to_json(shirt())) == shirt()
    made = catalogue.save(shirt())
    row = fetch_one(
        catalogue.conn,
        "select act, reason from audit_entries where shop_id = %(s)s and subject = %(p)s",
        s=catalogue.shop_id,
        p=f"product:{made.product_id}",
    )
    assert row == {"act": "product_created", "reason": ANNA.reason}
