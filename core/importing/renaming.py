"""SKUs that were no product's before an import: what they were called, and how an undo gives it back.

A SKU that a channel or the desk brought has a name and a barcode of its own. Those of the product that it becomes a
variant of take their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from core.catalog.products.documents import from_json, title_of
from core.catalog.products.writing import Put
from core.db import execute, fetch
from core.importing.holding import storable


def skus_without_product(conn: Connection, shop_id: int, puts: Sequence[Put]) -> dict[str, dict[str, str | None]]:
    """By code, title and barcode of those SKUs of products to be written that no product has yet."""
    codes = {variant.code for put in puts if put.document is not None for variant in put.document.variants}
    rows = fetch(
        conn,
        """
        select s.code, s.title, s.barcode from skus s
        where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
            and not exists (select from variants v where v.shop_id = s.shop_id and v.sku_id = s.id)
        """,
        shop=shop_id,
        codes=sorted(codes),
    )
    return {row["code"]: {"title": row["title"], "barcode": row["barcode"]} for row in rows}


def give_back(conn: Connection, shop_id: int, undone: Iterable[Mapping[str, Any]]) -> None:
    """Give SKUs that are no product's again what they had; what was changed of one since stays.

    `undone` are items with `after`, the document that the import made, and `skus_before`.
    """
    told = []
    for item in undone:
        document = from_json(item["after"])
        for variant in document.variants:
            before = (item["skus_before"] or {}).get(variant.code)
            if before is not None:
                given = {"given_title": title_of(document, variant), "given_barcode": variant.barcode}
                told.append({"code": variant.code, **before, **given})
    if not told:
        return
    execute(
        conn,
        """
        with told as materialized (
            select s.id, r.* from jsonb_to_recordset(%(told)s::jsonb) as r (code text, title text, barcode text,
                given_title text, given_barcode text)
            join skus s on s.shop_id = %(shop)s and s.code = r.code
            where not exists (select from variants v where v.shop_id = s.shop_id and v.sku_id = s.id)
            order by s.id for no key update of s
        )
        update skus s set title = case when s.title = t.given_title then t.title else s.title end,
            barcode = case when s.barcode is not distinct from t.given_barcode then t.barcode else s.barcode end
        from told t where s.shop_id = %(shop)s and s.id = t.id
        """,
        shop=shop_id,
        told=storable(told),
    )
