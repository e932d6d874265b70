"""The one way a product comes to be, changes and goes: many at a time, each as its document says, with a version.

Whoever writes a shop's catalogue does it alone (`lock`): handles and codes cannot be taken meanwhile. A put that
cannot be done is told by itself and does not keep the others from being done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.products.documents import ProductDocument, title_of, to_json
from core.catalog.products.words import words_of
from core.db import execute, fetch

Act = Literal["created", "edited", "imported", "undone", "read", "removed"]
Fate = Literal["done", "stale", "handle_taken", "code_taken"]


@dataclass(frozen=True, slots=True)
class Put:
    """What a product is to be from now on; `document` None: it is removed, its SKUs stay.

    `product_id` None: it is new. `base_version` is the version it was made from; None: there is no product now.
    """

    document: ProductDocument | None
    product_id: int | None = None
    base_version: int | None = None
    undoes_version: int | None = None


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of a put. `version` is the product's now; `detail` is the handle or the code that is taken."""

    fate: Fate
    product_id: int | None
    version: int | None
    detail: str = ""


@dataclass(slots=True)
class _Ready:
    """A put that will be done."""

    place: int
    product_id: int
    version: int
    put: Put


def lock(conn: Connection, shop_id: int) -> None:
    """Be the only one who writes the shop's catalogue until this unit of work ends; before any row."""
    fetch(conn, "select pg_advisory_xact_lock(hashtextextended('catalogue:' || %(shop)s, 0))", shop=shop_id)


def put_products(
    conn: Connection,
    shop_id: int,
    puts: Sequence[Put],
    act: Act,
    actor: Actor,
    now: datetime,
    *,
    import_id: int | None = None,
) -> list[PutResult]:
    """Do all of it that can be done, in the caller's unit of work; results in the order of the puts.

    stale: it is not the product's version any more, or the product is gone. handle_taken, code_taken: by another
    product, or by an earlier put of these. Documents must be without flaws (core.catalog.products.rules). What a
    document says of a SKU's being stocked counts only where the SKU is new; categories that are gone are left out.
    """
    lock(conn, shop_id)
    results: list[PutResult | None] = [None] * len(puts)
    ready = _not_stale(conn, shop_id, puts, results)
    ready = _with_free_handles(conn, shop_id, ready, results)
    ready = _with_free_codes(conn, shop_id, ready, results)
    _give_ids(conn, ready)
    _normalise(conn, shop_id, ready)
    _remove(conn, shop_id, [one for one in ready if one.put.document is None])
    _write(conn, shop_id, [one for one in ready if one.put.document is not None], now)
    _note_versions(conn, shop_id, ready, act, actor, now, import_id)
    for one in ready:
        results[one.place] = PutResult("done", one.product_id, one.version)
    return [result for result in results if result is not None]


def _not_stale(conn: Connection, shop_id: int, puts: Sequence[Put], results: list[PutResult | None]) -> list[_Ready]:
    ids = sorted({put.product_id for put in puts if put.product_id is not None})
    living = {
        row["id"]: row["version"]
        for row in fetch(
            conn,
            """
            select id, version from products where shop_id = %(shop)s and id = any(%(ids)b::int8[])
            order by id for update
            """,
            shop=shop_id,
            ids=ids,
        )
    }
    last = {
        row["product_id"]: row["version"]
        for row in fetch(
            conn,
            """
            select product_id, max(version) as version from product_versions
            where shop_id = %(shop)s and product_id = any(%(ids)b::int8[]) group by 1
            """,
            shop=shop_id,
            ids=[one for one in ids if one not in living],
        )
    }
    ready, met = [], set()
    for place, put in enumerate(puts):
        is_again = put.product_id is not None and put.product_id in met
        if is_again or living.get(put.product_id or 0) != put.base_version:
            results[place] = PutResult("stale", put.product_id, living.get(put.product_id or 0))
            continue
        if put.product_id is not None:
            met.add(put.product_id)
        version = (put.base_version or last.get(put.product_id or 0, 0)) + 1
        ready.append(_Ready(place, put.product_id or 0, version, put))
    return ready


def _with_free_handles(
    conn: Connection, shop_id: int, ready: Sequence[_Ready], results: list[PutResult | None]
) -> list[_Ready]:
    handles = {one.put.document.handle for one in ready if one.put.document is not None}
    owners = {
        row["handle"]: row["id"]
        for row in fetch(
            conn,
            "select handle, id from products where shop_id = %(shop)s and handle = any(%(handles)b::text[])",
            shop=shop_id,
            handles=sorted(handles),
        )
    }
    return _without_taken(ready, results, "handle_taken", owners, lambda document: [document.handle])


def _with_free_codes(
    conn: Connection, shop_id: int, ready: Sequence[_Ready], results: list[PutResult | None]
) -> list[_Ready]:
    owners = {
        row["code"]: row["product_id"]
        for row in fetch(
            conn,
            """
            select s.code, v.product_id from skus s
            join variants v on v.shop_id = s.shop_id and v.sku_id = s.id
            where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
            """,
            shop=shop_id,
            codes=sorted(_codes(ready)),
        )
    }
    return _without_taken(
        ready, results, "code_taken", owners, lambda document: [variant.code for variant in document.variants]
    )


def _without_taken(
    ready: Sequence[_Ready],
    results: list[PutResult | None],
    fate: Fate,
    owners: dict[str, int],
    names_of: Any,
) -> list[_Ready]:
    """Those whose names belong to nobody else, the earlier ones of `ready` among others."""
    kept = []
    for one in ready:
        names = [] if one.put.document is None else names_of(one.put.document)
        # A new product has no id yet: its place stands for it, below all ids.
        mine = one.product_id or -1 - one.place
        taken = next((name for name in names if owners.get(name, mine) != mine), None)
        if taken is not None:
            results[one.place] = PutResult(fate, one.put.product_id, one.put.base_version, taken)
            continue
        owners.update(dict.fromkeys(names, mine))
        kept.append(one)
    return kept


def _codes(ready: Iterable[_Ready]) -> set[str]:
    return {variant.code for one in ready if one.put.document is not None for variant in one.put.document.variants}


def _give_ids(conn: Connection, ready: Sequence[_Ready]) -> None:
    fresh = [one for one in ready if not one.product_id]
    ids = fetch(
        conn,
        """
        select nextval(pg_get_serial_sequence('products', 'id')) as id from generate_series(1, %(count)s) order by 1
        """,
        count=len(fresh),
    )
    for one, row in zip(fresh, ids, strict=True):
        one.product_id = row["id"]


def _normalise(conn: Connection, shop_id: int, ready: Sequence[_Ready]) -> None:
    """Have documents say what is so: whether their SKUs are stocked, and only categories that there are."""
    stocked = {
        row["code"]: row["is_stocked"]
        for row in fetch(
            conn,
            "select code, is_stocked from skus where shop_id = %(shop)s and code = any(%(codes)b::text[])",
            shop=shop_id,
            codes=sorted(_codes(ready)),
        )
    }
    named = {c for one in ready if one.put.document is not None for c in one.put.document.categories}
    living = {
        row["id"]
        for row in fetch(
            conn,
            """
            select id from categories where shop_id = %(shop)s and id = any(%(ids)b::int8[])
            order by id for key share
            """,
            shop=shop_id,
            ids=sorted(named),
        )
    }
    for one in ready:
        document = one.put.document
        if document is None:
            continue
        variants = tuple(
            v if stocked.get(v.code, v.is_stocked) == v.is_stocked else replace(v, is_stocked=stocked[v.code])
            for v in document.variants
        )
        categories = tuple(c for c in document.categories if c in living)
        if variants != document.variants or categories != document.categories:
            one.put = replace(one.put, document=replace(document, variants=variants, categories=categories))


def _remove(conn: Connection, shop_id: int, gone: Sequence[_Ready]) -> None:
    ids = sorted(one.product_id for one in gone)
    if not ids:
        return
    for table, column in (("product_categories", "product_id"), ("variants", "product_id"), ("products", "id")):
        execute(
            conn,
            f"delete from {table} where shop_id = %(shop)s and {column} = any(%(ids)b::int8[])",
            shop=shop_id,
            ids=ids,
        )


def _write(conn: Connection, shop_id: int, ready: Sequence[_Ready], now: datetime) -> None:
    if not ready:
        return
    rows = []
    for one in ready:
        document = one.put.document
        assert document is not None, "removals are done apart"
        found = to_json(document)
        found |= {"id": one.product_id, "version": one.version, "words": words_of(document)}
        for position, (variant, row) in enumerate(zip(document.variants, found["variants"], strict=True)):
            row |= {"product_id": one.product_id, "position": position, "title": title_of(document, variant)}
        rows.append(found)
    _upsert_products(conn, shop_id, _text(rows), now)
    variants = _text([variant for row in rows for variant in row["variants"]])
    _make_skus(conn, shop_id, variants, now)
    _upsert_variants(conn, shop_id, variants, sorted(row["id"] for row in rows))
    _set_categories(conn, shop_id, _text(rows), sorted(row["id"] for row in rows))


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _upsert_products(conn: Connection, shop_id: int, rows: str, now: datetime) -> None:
    execute(
        conn,
        """
        insert into products (shop_id, id, handle, title, description, vendor, product_type, status, url, tags, options,
            images, metafields, seo_title, seo_description, words, variant_count, version, created_at, updated_at)
        overriding system value
        select %(shop)s, r.id, r.handle, r.title, r.description, r.vendor, r.product_type, r.status, r.url, r.tags,
            r.options, r.images, r.metafields, r.seo_title, r.seo_description, array_to_tsvector(r.words),
            jsonb_array_length(r.variants), r.version, %(now)s, %(now)s
        from jsonb_to_recordset(%(rows)s::jsonb) as r (id int8, handle text, title text, description text, vendor text,
            product_type text, status text, url text, tags text[], options text[], images jsonb, metafields jsonb,
            seo_title text, seo_description text, words text[], variants jsonb, version int4)
        order by r.id
        on conflict (shop_id, id) do update set handle = excluded.handle, title = excluded.title,
            description = excluded.description, vendor = excluded.vendor, product_type = excluded.product_type,
            status = excluded.status, url = excluded.url, tags = excluded.tags, options = excluded.options,
            images = excluded.images, metafields = excluded.metafields, seo_title = excluded.seo_title,
            seo_description = excluded.seo_description, words = excluded.words,
            variant_count = excluded.variant_count, version = excluded.version, updated_at = excluded.updated_at
        """,
        shop=shop_id,
        rows=rows,
        now=now,
    )


_VARIANTS = """
    jsonb_to_recordset(%(variants)s::jsonb) as r (product_id int8, position int4, code text, title text, barcode text,
        option_values text[], price_minor int8, compare_at_minor int8, currency text, weight_grams int4,
        is_stocked bool, requires_shipping bool, taxable bool, image_url text, metafields jsonb)
"""


def _make_skus(conn: Connection, shop_id: int, variants: str, now: datetime) -> None:
    """SKUs that there are not yet; those that there are get the product's words and barcode."""
    execute(
        conn,
        f"""
        insert into skus (shop_id, code, title, barcode, is_stocked, created_at)
        select %(shop)s, r.code, r.title, r.barcode, r.is_stocked, %(now)s from {_VARIANTS}
        order by r.code
        on conflict (shop_id, code) do nothing
        """,
        shop=shop_id,
        variants=variants,
        now=now,
    )
    execute(
        conn,
        f"""
        with told as materialized (
            select s.id, r.title, r.barcode from {_VARIANTS}
            join skus s on s.shop_id = %(shop)s and s.code = r.code
            where (s.title, s.barcode) is distinct from (r.title, r.barcode)
            order by s.id for no key update of s
        )
        update skus s set title = told.title, barcode = told.barcode from told
        where s.shop_id = %(shop)s and s.id = told.id
        """,
        shop=shop_id,
        variants=variants,
    )


def _upsert_variants(conn: Connection, shop_id: int, variants: str, product_ids: Sequence[int]) -> None:
    execute(
        conn,
        f"""
        delete from variants v using skus s
        where v.shop_id = %(shop)s and v.product_id = any(%(ids)b::int8[]) and s.shop_id = v.shop_id
            and s.id = v.sku_id and (v.product_id, s.code) not in (select r.product_id, r.code from {_VARIANTS})
        """,
        shop=shop_id,
        variants=variants,
        ids=product_ids,
    )
    execute(
        conn,
        f"""
        insert into variants (shop_id, sku_id, product_id, position, option_values, price_minor, compare_at_minor,
            currency, weight_grams, requires_shipping, taxable, image_url, metafields)
        select %(shop)s, s.id, r.product_id, r.position, r.option_values, r.price_minor, r.compare_at_minor, r.currency,
            r.weight_grams, r.requires_shipping, r.taxable, r.image_url, r.metafields
        from {_VARIANTS} join skus s on s.shop_id = %(shop)s and s.code = r.code
        order by s.id
        on conflict (shop_id, sku_id) do update set product_id = excluded.product_id, position = excluded.position,
            option_values = excluded.option_values, price_minor = excluded.price_minor,
            compare_at_minor = excluded.compare_at_minor, currency = excluded.currency,
            weight_grams = excluded.weight_grams, requires_shipping = excluded.requires_shipping,
            taxable = excluded.taxable, image_url = excluded.image_url, metafields = excluded.metafields
        where (variants.product_id, variants.position, variants.option_values, variants.price_minor,
                variants.compare_at_minor, variants.currency, variants.weight_grams, variants.requires_shipping,
                variants.taxable, variants.image_url, variants.metafields)
            is distinct from (excluded.product_id, excluded.position, excluded.option_values, excluded.price_minor,
                excluded.compare_at_minor, excluded.currency, excluded.weight_grams, excluded.requires_shipping,
                excluded.taxable, excluded.image_url, excluded.metafields)
        """,
        shop=shop_id,
        variants=variants,
    )


def _set_categories(conn: Connection, shop_id: int, rows: str, product_ids: Sequence[int]) -> None:
    execute(
        conn,
        """
        with told as materialized (
            select r.id as product_id, c.id::int8 as category_id, c.place - 1 as position
            from jsonb_to_recordset(%(rows)s::jsonb) as r (id int8, categories jsonb),
                jsonb_array_elements_text(r.categories) with ordinality as c (id, place)
        ), gone as (
            delete from product_categories p
            where p.shop_id = %(shop)s and p.product_id = any(%(ids)b::int8[])
                and (p.product_id, p.category_id) not in (select product_id, category_id from told)
        )
        insert into product_categories (shop_id, product_id, category_id, position)
        select %(shop)s, product_id, category_id, position from told order by 2, 3
        on conflict (shop_id, product_id, category_id) do update set position = excluded.position
        where product_categories.position <> excluded.position
        """,
        shop=shop_id,
        rows=rows,
        ids=product_ids,
    )


def _note_versions(
    conn: Connection,
    shop_id: int,
    ready: Sequence[_Ready],
    act: Act,
    actor: Actor,
    now: datetime,
    import_id: int | None,
) -> None:
    rows = [
        {
            "product_id": one.product_id,
            "version": one.version,
            "document": None if one.put.document is None else to_json(one.put.document),
            "undoes": one.put.undoes_version,
        }
        for one in ready
    ]
    if not rows:
        return
    execute(
        conn,
        """
        insert into product_versions (shop_id, product_id, version, act, document, made_by, reason, made_at, import_id,
            undoes_version)
        select %(shop)s, r.product_id, r.version,
            case when r.document is null and %(act)s <> 'undone' then 'removed' else %(act)s end, r.document, %(by)s,
            %(reason)s, %(now)s, %(import)s::int8, r.undoes
        from jsonb_to_recordset(%(rows)s::jsonb) as r (product_id int8, version int4, document jsonb, undoes int4)
        order by r.product_id
        """,
        shop=shop_id,
        rows=_text(rows),
        act=act,
        by=actor.name,
        reason=actor.reason,
        now=now,
        **{"import": import_id},
    )
