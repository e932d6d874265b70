"""Reads: a product whole, its history, and search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.products.documents import ProductDocument, from_json
from core.catalog.products.fields import STANDARD, Definition
from core.catalog.products.words import tsquery_of
from core.db import fetch, fetch_one, planned_each_time, scalar

PAGE = 50
COUNTED_MAX = 1_000
"""More are not counted: "more than 1,000" is as good an answer, and always a quick one."""
HISTORY_PAGE = 20
CHOICES_MAX = 500
Choice = Literal["vendor", "product_type"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A product as it is now."""

    product_id: int
    version: int
    document: ProductDocument


@dataclass(frozen=True, slots=True)
class Version:
    """One of a product's versions; `document` None: it was removed by it."""

    version: int
    act: str
    document: ProductDocument | None
    made_by: str
    reason: str
    made_at: datetime
    import_id: int | None
    undoes_version: int | None


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of products is narrowed to; None: by nothing. A category stands for those below it, too."""

    words: str = ""
    status: str | None = None
    vendor: str | None = None
    product_type: str | None = None
    category_id: int | None = None
    without_category: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Products by title. `counted` of all that fit, at most COUNTED_MAX + 1; `after` begins the next page."""

    rows: Sequence[Mapping[str, Any]]
    counted: int
    after: tuple[str, int] | None


class SkuPage(NamedTuple):
    """SKUs by code; `more` says whether others follow."""

    rows: Sequence[Mapping[str, Any]]
    more: bool


def stored(conn: Connection, shop_id: int, product_ids: Iterable[int]) -> dict[int, Stored]:
    """Products by id; those that are gone are left out."""
    rows = fetch(
        conn,
        """
        select p.id, p.version, v.document from products p
        join product_versions v on v.shop_id = p.shop_id and v.product_id = p.id and v.version = p.version
        where p.shop_id = %(shop)s and p.id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=sorted(set(product_ids)),
    )
    return {row["id"]: Stored(row["id"], row["version"], from_json(row["document"])) for row in rows}


def ids_by_handle(conn: Connection, shop_id: int, handles: Iterable[str]) -> dict[str, int]:
    """Which products have these handles."""
    rows = fetch(
        conn,
        "select handle, id from products where shop_id = %(shop)s and handle = any(%(handles)b::text[])",
        shop=shop_id,
        handles=sorted(set(handles)),
    )
    return {row["handle"]: row["id"] for row in rows}


def products_of_codes(conn: Connection, shop_id: int, codes: Iterable[str]) -> dict[str, int | None]:
    """Whose product's variant each SKU code is; None: a SKU of no product. Codes of no SKU are left out."""
    rows = fetch(
        conn,
        """
        select s.code, v.product_id from skus s left join variants v on v.shop_id = s.shop_id and v.sku_id = s.id
        where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
        """,
        shop=shop_id,
        codes=sorted(set(codes)),
    )
    return {row["code"]: row["product_id"] for row in rows}


def version(conn: Connection, shop_id: int, product_id: int, number: int) -> Version | None:
    """One version of a product; None where there is none."""
    row = fetch_one(
        conn,
        f"select {_VERSION} from product_versions where shop_id = %(shop)s and product_id = %(id)s and version = %(v)s",
        shop=shop_id,
        id=product_id,
        v=number,
    )
    return None if row is None else _version_of(row)


def last_version(conn: Connection, shop_id: int, product_id: int) -> Version | None:
    """The newest version of a product, removed or not; None: there never was one."""
    found = history(conn, shop_id, product_id, limit=1)
    return found[0] if found else None


def history(
    conn: Connection, shop_id: int, product_id: int, before: int | None = None, limit: int = HISTORY_PAGE
) -> list[Version]:
    """Versions of a product, newest first, from below `before` on."""
    rows = fetch(
        conn,
        f"""
        select {_VERSION} from product_versions
        where shop_id = %(shop)s and product_id = %(id)s and (%(before)s::int4 is null or version < %(before)s::int4)
        order by version desc limit %(limit)s
        """,
        shop=shop_id,
        id=product_id,
        before=before,
        limit=limit,
    )
    return [_version_of(row) for row in rows]


_VERSION = "version, act, document, made_by, reason, made_at, import_id, undoes_version"


def _version_of(row: RowMapping) -> Version:
    document = None if row["document"] is None else from_json(row["document"])
    return Version(**{**row, "document": document})


def definitions(conn: Connection, shop_id: int) -> dict[tuple[str, str], Definition]:
    """The metafields of a shop by owner and key: the standard ones, and its own."""
    rows = fetch(
        conn,
        "select owner, key, name, type, description from metafield_definitions where shop_id = %(shop)s order by key",
        shop=shop_id,
    )
    return {(d.owner, d.key): d for d in (*STANDARD, *(Definition(**row) for row in rows))}


# --- Search ----------------------------------------------------------------------------------------------------------


def search(
    conn: Connection, shop_id: int, filters: Filters, after: tuple[str, int] | None = None, limit: int = PAGE
) -> Page:
    """Products that every typed word is found in, by title.

    Where many fit, the index by title is walked until a page is full; where few do, they are fetched and sorted. Which
    of the two is decided by counting up to COUNTED_MAX: each is slow only where the other is quick.
    """
    where, params = _narrowed(conn, shop_id, filters)
    with planned_each_time(conn):
        counted = scalar(
            conn,
            f"select count(*) from (select from products p where {where} limit %(most)s) found",
            shop=shop_id,
            most=COUNTED_MAX + 1,
            **params,
        )
        if after is not None:
            where += " and (p.title, p.id) > (%(title)s, %(id)s)"
            params |= {"title": after[0], "id": after[1]}
        rows = _page(conn, shop_id, where, params, counted <= COUNTED_MAX, limit + 1)
    page = [dict(row) for row in rows[:limit]]
    following = (page[-1]["title"], page[-1]["id"]) if len(rows) > limit else None
    return Page(page, counted, following)


def count_fitting(conn: Connection, shop_id: int, filters: Filters) -> int:
    """How many products fit, all of them counted: for what is done to each of them."""
    where, params = _narrowed(conn, shop_id, filters)
    with planned_each_time(conn):
        return int(scalar(conn, f"select count(*) from products p where {where}", shop=shop_id, **params))


def ids_fitting(conn: Connection, shop_id: int, filters: Filters, after: int, limit: int) -> list[int]:
    """Products that fit, by id, from behind one on."""
    where, params = _narrowed(conn, shop_id, filters)
    with planned_each_time(conn):
        rows = fetch(
            conn,
            f"select p.id from products p where {where} and p.id > %(after)s order by p.id limit %(limit)s",
            shop=shop_id,
            after=after,
            limit=limit,
            **params,
        )
    return [row["id"] for row in rows]


def _narrowed(conn: Connection, shop_id: int, filters: Filters) -> tuple[str, dict[str, Any]]:
    where, params = _where(filters)
    if filters.category_id is not None:
        params["categories"] = _with_those_below(conn, shop_id, filters.category_id)
    return where, params


def _page(
    conn: Connection, shop_id: int, where: str, params: Mapping[str, Any], are_few: bool, limit: int
) -> Sequence[RowMapping]:
    fitting = f"select p.* from products p where {where}"
    if are_few:
        # As a set of its own: the planner must not walk all titles for a handful of products.
        fitting = f"with fits as materialized ({fitting}) select * from fits p"
    return fetch(
        conn,
        f"""
        with page as ({fitting} order by p.title, p.id limit %(limit)s)
        select p.id, p.handle, p.title, p.vendor, p.product_type, p.status, p.variant_count, p.version, p.updated_at,
            p.images -> 0 ->> 'url' as image_url, m.path as category, v.price_from_minor, v.price_to_minor, v.currency,
            v.codes
        from page p
        left join lateral (
            select min(v.price_minor) as price_from_minor, max(v.price_minor) as price_to_minor,
                min(v.currency) as currency, (array_agg(s.code order by v.position))[1:3] as codes
            from variants v join skus s on s.shop_id = v.shop_id and s.id = v.sku_id
            where v.shop_id = p.shop_id and v.product_id = p.id
        ) v on true
        left join lateral (
            select c.path from product_categories k join categories c on c.shop_id = k.shop_id and c.id = k.category_id
            where k.shop_id = p.shop_id and k.product_id = p.id order by k.position limit 1
        ) m on true
        order by p.title, p.id
        """,
        shop=shop_id,
        limit=limit,
        **params,
    )


def _with_those_below(conn: Connection, shop_id: int, category_id: int) -> list[int]:
    rows = fetch(
        conn,
        """
        with recursive below as (
            select id from categories where shop_id = %(shop)s and id = %(category)s
            union all
            select c.id from categories c join below b on c.shop_id = %(shop)s and c.parent_id = b.id
        ) select id from below
        """,
        shop=shop_id,
        category=category_id,
    )
    return [row["id"] for row in rows]


def _where(filters: Filters) -> tuple[str, dict[str, Any]]:
    parts = ["p.shop_id = %(shop)s"]
    params: dict[str, Any] = {}
    words = tsquery_of(filters.words)
    if words is not None:
        parts.append("p.words @@ %(words)s::tsquery")
        params["words"] = words
    for name in ("status", "vendor", "product_type"):
        value = getattr(filters, name)
        if value is not None:
            parts.append(f"p.{name} = %({name})s")
            params[name] = value
    if filters.category_id is not None:
        parts.append(
            "exists (select from product_categories k where k.shop_id = p.shop_id and k.product_id = p.id"
            " and k.category_id = any(%(categories)b::int8[]))"
        )
    if filters.without_category:
        parts.append(
            "not exists (select from product_categories k where k.shop_id = p.shop_id and k.product_id = p.id)"
        )
    return " and ".join(parts), params


# --- What lists are narrowed by --------------------------------------------------------------------------------------


def choices(conn: Connection, shop_id: int, field: Choice, limit: int = CHOICES_MAX) -> list[str]:
    """The vendors or types that a shop's products have, in order: a step in an index for each, however many have it."""
    rows = fetch(
        conn,
        f"""
        with recursive found (name, place) as (
            (select {field}, 1 from products where shop_id = %(shop)s and {field} is not null order by 1 limit 1)
            union all
            select (
                select p.{field} from products p
                where p.shop_id = %(shop)s and p.{field} is not null and p.{field} > f.name order by 1 limit 1
            ), f.place + 1
            from found f where f.name is not null and f.place <= %(limit)s
        ) select name from found where name is not null limit %(limit)s
        """,
        shop=shop_id,
        limit=limit,
    )
    return [row["name"] for row in rows]


def skus_without_product(conn: Connection, shop_id: int, after: str | None = None, limit: int = PAGE) -> SkuPage:
    """SKUs that are no product's variant, by code: channels brought them, or their variant was taken out."""
    rows = fetch(
        conn,
        """
        select s.code, s.title, s.barcode, s.created_at from skus s
        where s.shop_id = %(shop)s and not s.is_bundle and (%(after)s::text is null or s.code > %(after)s)
            and not exists (select from variants v where v.shop_id = s.shop_id and v.sku_id = s.id)
        order by s.code limit %(limit)s
        """,
        shop=shop_id,
        after=after,
        limit=limit + 1,
    )
    return SkuPage([dict(row) for row in rows[:limit]], len(rows) > limit)
