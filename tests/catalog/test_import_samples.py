"""Files that shops and systems really export: the right products, or a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.catalog.imports.drafts import ABSENT, ImageDraft, ProductDraft
from core.catalog.imports.mapping import BadMapping, Mapping
from core.catalog.imports.plans import NotProducts
from core.catalog.imports.problems import Outcome
from core.catalog.imports.reading import NeedsMapping, ProductFile, open_products
from tests.catalog.reading import drafts, said

CDN = "https://burst.shopifycdn.com/photos/"


@pytest.fixture
def data(shared_dir: Path) -> Path:
    return shared_dir / "data"


def read(
    path: Path, currency: str = "USD", mapping: Mapping | None = None, make: bool = True
) -> tuple[ProductFile, list[Outcome]]:
    file = open_products(path, path.name, currency, mapping, make_codes=make)
    return file, list(file.outcomes())


def by_handle(found: list[Outcome]) -> dict[str, ProductDraft]:
    return {draft.handle: draft for draft in drafts(found)}


def test_shopify_apparel(data: Path) -> None:
    file, found = read(data / "catalog" / "shopify_sample_apparel.csv")
    products = by_handle(found)
    assert (file.form, file.problems, said(found)) == ("shopify", (), [])
    assert (len(products), sum(len(product.variants) for product in products.values())) == (20, 22)
    shirt = products["ocean-blue-shirt"]
    assert (shirt.row, shirt.title, shirt.vendor, shirt.product_type) == (2, "Ocean Blue Shirt", "partners-demo", "")
    assert (shirt.status, shirt.tags, shirt.options, shirt.categories) == ("active", ("men",), (), ABSENT)
    assert shirt.images == (ImageDraft(CDN + "young-man-in-bright-fashion_925x.jpg", "", 1),)
    top = products["classic-varsity-top"]
    assert (top.options, [variant.option_values for variant in top.variants]) == (
        ("Size",), [("Small",), ("Medium",), ("Large",)])  # fmt: skip
    small = top.variants[0]
    assert (small.row, small.code, small.is_code_made) == (3, "CLASSIC-VARSITY-TOP-SMALL", True)
    assert (small.price_minor, small.compare_at_minor, small.cost_minor) == (6000, None, ABSENT)
    assert (small.barcode, small.weight_grams, small.units) == (None, 0, 1)
    assert (small.is_tracked, small.requires_shipping, small.taxable) == (False, True, True)


def test_shopify_home_and_garden(data: Path) -> None:
    _, found = read(data / "catalog" / "shopify_sample_home-and-garden.csv")
    products = by_handle(found)
    assert (len(products), sum(len(product.variants) for product in products.values())) == (20, 21)
    pot = products["clay-plant-pot"]
    assert [(v.code, v.price_minor, v.units) for v in pot.variants] == [
        ("CLAY-PLANT-POT-REGULAR", 999, 1), ("CLAY-PLANT-POT-LARGE", 1599, 3)]  # fmt: skip
    assert pot.images == (
        ImageDraft(CDN + "single-sprout-in-a-pot_925x.jpg", "", 1),
        ImageDraft(CDN + "pot-with-a-single-sprout_925x.jpg", "", 2),
    )
    sofa = products["cream-sofa"]
    assert (sofa.description, sofa.tags) == ("<p>Comfortable cream sofa with wooden base</p>", ("Couch", "Wood"))
    assert (sofa.variants[0].price_minor, sofa.variants[0].compare_at_minor) == (50_000, 75_000)


def test_products_without_skus_are_refused_unless_codes_may_be_made(data: Path) -> None:
    _, found = read(data / "catalog" / "shopify_sample_apparel.csv", make=False)
    assert not any(outcome.draft for outcome in found)
    problem = found[1].problems[2]
    assert (problem.row, problem.column, problem.sentence) == (5, "Variant SKU", "the variant has no SKU")
    assert problem.fix == "fill in the SKU, or let codes be made from handle and options"


def test_shopify_transporter(data: Path) -> None:
    _, found = read(data / "imports" / "shopify_transporter_products_template.csv")
    (shoe,) = drafts(found)
    assert (shoe.handle, shoe.title, shoe.options) == (
        "hightop-sports-sneaker", "Mens Casual Hightop Sports Shoe", ("Color", "Size"))  # fmt: skip
    assert shoe.images is not ABSENT
    assert [image.alt for image in shoe.images] == ["hightop front view", "hightop side view", "hightop sole view"]
    assert shoe.metafields == {"global.manufacturer": ("string", "Surf shoe co")}
    assert [(v.row, v.code, v.option_values, v.price_minor, v.weight_grams, v.units) for v in shoe.variants] == [
        (6, "a-123", ("White", "9.5"), 1000, 264, 100),
        (7, "a-456", ("Black", "10"), 2000, 345, 150),
        (8, "b-001", ("Blue", "6"), 3000, 345, 150),
    ]
    assert shoe.variants[1].metafields == {"global.lace_style": ("string", "normal")}
    assert said(found) == [
        f"warning {row} Variant Compare At Price: “15.00” is a price to compare with that is below the price"
        for row in (7, 8)
    ]


def test_orders_are_no_products(data: Path) -> None:
    with pytest.raises(NotProducts, match="is a file of orders, not of products: upload the export of the products"):
        read(data / "imports" / "shopify_transporter_orders_template.csv")


def test_woocommerce(data: Path) -> None:
    file, found = read(data / "catalog" / "woocommerce_sample_products.csv", make=False)
    assert (file.form, file.problems, len(found)) == ("woocommerce", (), 15)
    assert said([outcome for outcome in found if not outcome.draft]) == [
        "error 17 : a group of products is not sold itself",
        "error 18 : the product is sold elsewhere (https://www.classicpress.net/donate/)",
    ]
    products = by_handle([outcome for outcome in found if outcome.draft])
    assert sum(len(product.variants) for product in products.values()) == 11 + 6 + 3
    hoodie = products["cc-hoodie"]
    assert (hoodie.row, hoodie.options, hoodie.categories) == (3, ("Color", "Logo"), (("Clothing", "Hoodies"),))
    assert [(v.row, v.code, v.option_values, v.price_minor, v.compare_at_minor) for v in hoodie.variants] == [
        (12, "cc-hoodie-red", ("Red", "No"), 4200, 4500),
        (13, "cc-hoodie-green", ("Green", "No"), 4500, None),
        (14, "cc-hoodie-blue", ("Blue", "No"), 4500, None),
        (23, "cc-hoodie-red-logo", ("Red", "Yes"), 4500, None),
        (24, "cc-hoodie-blue-logo", ("Blue", "Yes"), 4500, None),
        (25, "cc-hoodie-green-logo", ("Green", "Yes"), 4500, None),
    ]
    tee = products["cc-tee"]
    assert (tee.options, [v.option_values for v in tee.variants]) == (("Color",), [("Blue",), ("Green",), ("Red",)])
    assert tee.images is not ABSENT
    assert len(tee.images) == 3
    assert tee.metafields["attributes.size"] == ("", "Large, Medium, Small")
    album = products["cc-album"]
    assert (album.variants[0].requires_shipping, album.variants[0].price_minor) == (False, 1500)
    beanie = products["cc-beanie"]
    assert (beanie.variants[0].price_minor, beanie.variants[0].compare_at_minor) == (1800, 2000)
    assert (beanie.metafields["attributes.color"], beanie.options) == (("", "Red"), ())


@pytest.mark.parametrize("separator", ["comma", "semicolon"])
def test_medusa(data: Path, separator: str) -> None:
    file, found = read(data / "imports" / f"medusa_exported-products-{separator}.csv")
    base, proposed = drafts(found)
    assert (file.form, file.problems) == ("medusa", ())
    assert (base.handle, base.title, base.status, base.tags) == (
        "base-product",
        "Base product",
        "draft",
        ("123", "456"),
    )
    assert (base.description, base.options) == ("test-product-description\ntest line 2", ("size", "color"))
    assert [(v.row, v.code, v.option_values, v.price_minor) for v in base.variants] == [
        (2, "BASE-PRODUCT-LARGE-GREEN", ("large", "green"), 10_000),
        (3, "BASE-PRODUCT-SMALL-GREEN", ("small", "green"), 20_000),
    ]
    assert (proposed.status, proposed.tags, proposed.variants[0].is_tracked) == ("draft", ("new-tag",), True)
    assert said(found)[0] == "warning 2 Product Image 1: “test-image.png” is no address of the web"


def test_medusa_has_a_price_for_each_currency(data: Path) -> None:
    path = data / "imports" / "medusa_exported-products-comma.csv"
    assert [v.price_minor for v in drafts(read(path, "DKK")[1])[0].variants] == [3000, 5000]
    file, found = read(path, "GBP")
    assert drafts(found)[0].variants[0].price_minor is ABSENT
    assert [problem.sentence for problem in file.problems] == [
        "the file has prices in DKK, EUR, USD and none in GBP: no prices are read"
    ]


def test_medusa_of_the_first_version(data: Path) -> None:
    file, found = read(data / "imports" / "medusa_v1-template.csv", make=False)
    assert (file.form, file.problems) == ("medusa", ())
    products = drafts(found)
    assert [(p.handle, p.title, p.product_type, p.tags) for p in products] == [
        ("test-product-product-1", "Test product", "", ("123_1",)),
        ("test-product-product-1-1", "Test product", "", ()),
        ("test-product-product-2", "Test product", "test-type", ("123",)),
    ]
    assert [(v.code, v.barcode, v.price_minor, v.units, v.option_values) for v in products[2].variants] == [
        ("test-sku-2", "test-barcode-2", 110, 10, ("Small",)),
        ("test-sku-3", "test-barcode-3", 120, 10, ("Medium",)),
        ("test-sku-4", "test-barcode-4", None, 10, ("Large",)),
    ]
    assert "warning 6 Price USD: the variant has no price" in said(found)


def test_a_column_that_is_not_known_is_told_once(data: Path) -> None:
    file, found = read(data / "imports" / "medusa_invalid-column.csv")
    (problem,) = file.problems
    assert (problem.row, problem.column, problem.severity) == (1, "Product field", "warning")
    assert problem.sentence == "the column “Product field” is not read"
    assert [v.price_minor for v in drafts(found)[0].variants] == [10_000]


def test_ids_of_categories_are_no_categories(data: Path) -> None:
    _, found = read(data / "imports" / "medusa_product-with-categories.csv")
    assert drafts(found)[0].categories == ()
    assert "is the other system's own id of a category" in said(found)[0]


def test_spree(data: Path) -> None:
    file, found = read(data / "imports" / "spree_products_import.csv", make=False)
    denim, checked = drafts(found)
    assert (file.form, file.problems, said(found)) == ("spree", (), [])
    assert (denim.handle, denim.title, denim.status, denim.options) == (
        "denim-shirt", "Denim Shirt", "draft", ("Color", "Size"))  # fmt: skip
    assert denim.categories == (("Men", "Shirts"), ("Women",), ("Sportswear",))
    assert denim.metafields["properties.material"] == ("", "90% Cotton 10% Elastan")
    assert (len(denim.variants), len(checked.variants)) == (10, 5)
    light = denim.variants[5]
    assert (light.row, light.code, light.option_values) == (8, "DENIM-SHIRT-XS-LIGHT-BLUE", ("Light Blue", "XS"))
    assert (light.price_minor, light.compare_at_minor, light.units, light.is_tracked) == (6299, None, 100, True)
    assert {v.price_minor for v in checked.variants} == {2299}


def test_spree_in_another_currency_is_refused(data: Path) -> None:
    _, found = read(data / "imports" / "spree_products_import.csv", "EUR")
    assert not any(outcome.draft for outcome in found)
    problem = found[0].problems[0]
    assert problem.sentence == "“USD” is the row's currency; the prices of this import are in EUR"
    assert problem.fix == "convert the prices to EUR, or import this file with USD"


def test_a_packed_file_of_ones_own_form_is_read_by_mapping(data: Path) -> None:
    path = data / "catalog" / "openfoodfacts_barcodes_a.csv.gz"
    file = open_products(path, path.name, "EUR")
    assert (file.form, file.heads) == (None, ("barcode", "product_name", "image_url"))
    assert file.suggested.columns == {"title": "product_name", "images": "image_url", "barcode": "barcode"}
    with pytest.raises(NeedsMapping, match="choose which column is the SKU, the title and the price"):
        list(file.outcomes())
    _, found = read(path, "EUR", file.suggested)
    assert len(found) == 5600
    sentences = [problem.sentence.partition("” ")[2] for outcome in found for problem in outcome.problems]
    assert sum(sentence.startswith("is no barcode: its last digit") for sentence in sentences) == 48
    assert sum(sentence.startswith("is no barcode that others know") for sentence in sentences) == 206
    first = found[0].draft
    assert first is not None
    assert (first.title, first.variants[0].barcode) == ("Vitória crackers", "0000000000017")
    assert not any("&amp;" in (outcome.draft.title or "") for outcome in found if outcome.draft)


def test_a_json_list_is_read_by_mapping(data: Path) -> None:
    path = data / "catalog" / "bestbuy_products_sample.json"
    suggested = open_products(path, path.name, "USD").suggested
    _, found = read(path, "USD", suggested, make=False)
    products = drafts(found)
    keyboard = products[0]
    assert len(products) == 16
    assert (keyboard.vendor, keyboard.handle) == ("Adesso", "9984203")
    assert keyboard.categories == (
        ("Computers & Tablets", "Computer Accessories & Peripherals", "Mice & Keyboards", "Computer Keyboards",
         "Wired & USB Keyboards"),)  # fmt: skip
    (variant,) = keyboard.variants
    assert (variant.code, variant.barcode, variant.price_minor) == ("9984203", "783750002448", 4499)


@pytest.mark.parametrize(
    "name", ["bestbuy_categories.json.gz", "bestbuy_stores.json.gz", "google_product_taxonomy.en-US.txt.gz"]
)
def test_tables_of_other_things_are_no_products(data: Path, name: str) -> None:
    file = open_products(data / "catalog" / name, name, "USD")
    with pytest.raises(NeedsMapping, match="nothing in it looks like a SKU, a barcode or a price"):
        next(file.outcomes())


def test_a_mapping_without_anything_that_names_products_is_refused(data: Path) -> None:
    path = data / "catalog" / "google_product_taxonomy.en-US.txt.gz"
    with pytest.raises(BadMapping, match="choose the column of the SKU"):
        open_products(path, path.name, "USD", Mapping())
