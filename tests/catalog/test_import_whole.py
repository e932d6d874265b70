"""Every file that shops and systems really export, all the way: read, applied, read again, taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.catalog.imports.reading import open_products
from core.db import scalar
from tests.catalog.conftest import Catalogue
from tests.catalog.importer import Importer

FILES = {
    # file: (folder, currency, whether codes are made, products, variants, rejected)
    "shopify_sample_apparel.csv": ("catalog", "USD", True, 20, 22, 0),
    "shopify_sample_home-and-garden.csv": ("catalog", "USD", True, 20, 21, 0),
    "shopify_transporter_products_template.csv": ("imports", "USD", False, 1, 3, 0),
    "woocommerce_sample_products.csv": ("catalog", "USD", False, 13, 20, 2),
    "medusa_exported-products-comma.csv": ("imports", "USD", True, 2, 3, 0),
    "medusa_exported-products-semicolon.csv": ("imports", "USD", True, 2, 3, 0),
    "medusa_v1-template.csv": ("imports", "USD", True, 3, 5, 0),
    "medusa_invalid-column.csv": ("imports", "USD", True, 1, 1, 0),
    "medusa_product-with-categories.csv": ("imports", "USD", True, 1, 2, 0),
    "spree_products_import.csv": ("imports", "USD", False, 2, 15, 0),
    "bestbuy_products_sample.json": ("catalog", "USD", False, 16, 16, 0),
    "openfoodfacts_barcodes_a.csv.gz": ("catalog", "EUR", True, 5_552, 5_552, 48),
}
OWN_FORM = ("bestbuy_products_sample.json", "openfoodfacts_barcodes_a.csv.gz")


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_goes_all_the_way_and_back(catalogue: Catalogue, shared_dir: Path, name: str) -> None:
    folder, currency, make_codes, products, variants, rejected = FILES[name]
    importer = Importer(catalogue, shared_dir / "data" / folder)
    mapping = None
    if name in OWN_FORM:
        mapping = open_products(importer.folder / name, name, currency).suggested
    settings = {"currency": currency, "make_codes": make_codes, "mapping": mapping}
    import_id = importer.begin_with(name, **settings)
    read = importer.read(import_id, batch=1_000)
    assert (read.state, read.counts["created"], read.counts["rejected"]) == ("read", products, rejected)
    applied = importer.apply(import_id, limit=1_000)
    assert (applied.state, applied.counts["applied"], applied.counts["refused"]) == ("applied", products, 0)
    count = "select count(*) from variants where shop_id = %(s)s"
    assert scalar(catalogue.conn, count, s=catalogue.shop_id) == variants
    again = importer.read(importer.begin_with(name, **settings), batch=1_000)
    assert (again.counts["unchanged"], again.counts["rejected"]) == (products, rejected)
    undone = importer.undo(import_id, limit=1_000)
    assert (undone.counts["undone"], undone.counts["kept"]) == (products, 0)
    assert scalar(catalogue.conn, count, s=catalogue.shop_id) == 0
