"""Shops with categories in every state of a taxonomy, for the Category mapping screen."""

from __future__ import annotations

import io
from dataclasses import dataclass

from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.categories import operations as categories
from core.catalog.products import operations as products
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.taxonomies import loading, operations
from core.catalog.taxonomies.rules import Target
from core.clock import utc_now
from tests.factories import make_connection, make_shop

ADA = Actor("ada", "Looked at the goods")
GOOGLE = Target("google")
MARKED = "Toys *B0LD* [x] <i"
HEAD = "# Google_Product_Taxonomy_Version: 2021-09-21\n"
TEXT = """1 - Clothes & Shoes
2 - Clothes & Shoes > Clothes
3 - Clothes & Shoes > Clothes > Shirts & Tops
4 - Clothes & Shoes > Shoes
5 - House & Garden
6 - House & Garden > Kitchen
7 - House & Garden > Kitchen > Coffee Mugs
8 - House & Garden > Kitchen > Coffee Makers
9 - House & Garden > Kitchen > Coffee Maker Accessories
10 - House & Garden > Kitchen > Teapots
11 - Toys & Games
"""
PATHS = ("Kitchen > Coffee Mugs", "Kitchen > Teapots", "Kitchen > Coffee Makers", "Clothes > Shirts", "Clothes > Shoes",
         "Gift cards", MARKED)  # fmt: skip


@dataclass(frozen=True)
class There:
    """A shop, its categories by path, and its Klaviyo account."""

    shop_id: int
    ids: dict[str, int]
    klaviyo: Target


def load(conn: Connection, shop_id: int, text: str = HEAD + TEXT) -> None:
    loading.load_file(conn, shop_id, "google", "google.txt", io.BytesIO(text.encode()), ADA, utc_now())


def bare(conn: Connection) -> int:
    """A shop without categories or taxonomies."""
    return make_shop(conn, "Bare Ltd")


def busy(conn: Connection) -> There:
    """Mapped, inherited, left out, broken and unmapped ones; Google's taxonomy in its second version."""
    shop_id, now = make_shop(conn, "Harbour Ltd"), utc_now()
    account = make_connection(conn, shop_id, vendor="klaviyo", name="Klaviyo UK", is_sku_source=False, locations={})
    wanted = {tuple(path.split(" > ")[:depth]) for path in PATHS for depth in range(1, path.count(" > ") + 2)}
    ids = {" > ".join(path): made for path, made in categories.ensure_paths(conn, shop_id, wanted, now).items()}
    for number, path in enumerate([PATHS[0]] * 3 + [PATHS[1]] * 2 + [PATHS[4], MARKED]):
        variants = (VariantDocument(f"C-{number}", "GBP"),)
        document = ProductDocument(f"c-{number}", f"Thing {number}", variants, categories=(ids[path],))
        products.save_product(conn, shop_id, document, ADA, now)
    load(conn, shop_id, HEAD.replace("2021", "2019") + TEXT + "12 - Shoes of old\n")
    operations.map_category(conn, shop_id, GOOGLE, ids["Clothes"], "2", ADA, now)
    operations.map_category(conn, shop_id, GOOGLE, ids["Clothes > Shoes"], "12", ADA, now)
    operations.leave_out(conn, shop_id, GOOGLE, ids["Gift cards"], ADA, now)
    load(conn, shop_id)
    return There(shop_id, ids, Target("klaviyo", account.id))
