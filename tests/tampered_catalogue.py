"""A small catalogue for the audit, and how each of its checks is broken: the row to pick, the change made to it, and
the columns by which a finding names it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.categories.operations import ensure_paths
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.products.operations import save_product

_PRODUCT = "select id as product_id from products where handle = 'jug'"

TAMPERINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "product_is_its_last_version": (
        "select product_id, max(version) as last_version from product_versions group by 1",
        """
        insert into product_versions (shop_id, product_id, version, act, document, made_by, reason, made_at)
        select shop_id, product_id, version + 1, 'removed', null, made_by, reason, made_at from product_versions
        where product_id = %(product_id)s order by version desc limit 1
        """,
        ("product_id",),
    ),
    "product_versions_follow_each_other": (
        _PRODUCT,
        "delete from product_versions where product_id = %(product_id)s and version = 1",
        ("product_id",),
    ),
    "product_shows_its_document": (
        _PRODUCT,
        "update products set title = 'Another' where id = %(product_id)s",
        ("product_id",),
    ),
    "variants_show_their_document": (
        """
        select v.product_id, s.code from variants v join skus s on s.shop_id = v.shop_id and s.id = v.sku_id
        where s.code = 'JUG-L'
        """,
        "update variants set price_minor = price_minor + 1 where product_id = %(product_id)s and position = 1",
        ("product_id", "code"),
    ),
    "category_path_is_its_names": (
        "select id as category_id from categories where name = 'Jugs'",
        "update categories set name = 'Pots' where id = %(category_id)s",
        ("category_id",),
    ),
}


def build(conn: Connection, shop_id: int, actor: Actor, now: datetime) -> None:
    """One product in two versions, in a category below another."""
    category_id = ensure_paths(conn, shop_id, [("Kitchen", "Jugs")], now)["Kitchen", "Jugs"]
    variants = tuple(VariantDocument(f"JUG-{size}", "GBP", (size,), price_minor=900) for size in "SL")
    jug = ProductDocument("jug", "Jug", variants, options=("Size",), categories=(category_id,))
    made = save_product(conn, shop_id, jug, actor, now)
    save_product(
        conn, shop_id, replace(jug, title="Jug, glazed"), actor, now, product_id=made.product_id, base_version=1
    )
