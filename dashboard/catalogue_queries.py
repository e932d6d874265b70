"""Reads of the Catalogue's pages: products, one product with its history, categories and what lists are narrowed by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.catalog.categories import operations as category_operations
from core.catalog.categories import queries as category_queries
from core.catalog.categories.operations import Merged
from core.catalog.categories.queries import Category
from core.catalog.products import operations, queries
from core.catalog.products.documents import ProductDocument
from core.catalog.products.fields import Definition
from core.catalog.products.operations import Undo
from core.catalog.products.queries import Choice, Filters, SkuPage, Stored, Version
from core.db import read_only
from dashboard.queries import Unreadable, database_time, engine, rows

HISTORY_PAGE = 10


class Change(NamedTuple):
    """One version of a product, and the document before it (None: there was none)."""

    version: Version
    before: ProductDocument | None


class History(NamedTuple):
    """Versions, newest first; `more` says whether older ones follow."""

    changes: list[Change]
    more: bool


def forget() -> None:
    """Read everything afresh."""
    lists: tuple[Any, ...] = (products, is_empty, choices, without_product, product, stock, history, definitions)
    for cached in (*lists, paths, tree, found_categories, category, totals):
        cached.clear()


@contextmanager
def _reading() -> Iterator[Connection]:
    try:
        with read_only(engine()) as conn:
            yield conn
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


# --- Products --------------------------------------------------------------------------------------------------------


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def products(shop_id: int, scope: str, filters: Filters, after: tuple[str, int] | None) -> queries.Page:
    """One page of products by title."""
    with _reading() as conn:
        return queries.search(conn, shop_id, filters, after)


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def is_empty(shop_id: int, scope: str) -> bool:
    """Whether the shop has no product at all."""
    return not rows("select 1 from products where shop_id = %(shop)s limit 1", shop=shop_id)


@st.cache_data(ttl=60, max_entries=50, show_spinner=False)
def choices(shop_id: int, scope: str, field: Choice) -> list[str]:
    """Vendors or types to choose from."""
    with _reading() as conn:
        return queries.choices(conn, shop_id, field)


# A shop whose every SKU is a product's reads through all of them to say so: no oftener than need be.
@st.cache_data(ttl=30, max_entries=50, show_spinner=False)
def without_product(shop_id: int, scope: str, after: str | None) -> SkuPage:
    """SKUs that are no product's variant, by code."""
    with _reading() as conn:
        return queries.skus_without_product(conn, shop_id, after)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def product(shop_id: int, scope: str, product_id: int) -> tuple[Stored | None, datetime]:
    """A product as it is now, None where there is none, and when that was so."""
    with _reading() as conn:
        found = queries.stored(conn, shop_id, [product_id]).get(product_id)
    return found, database_time()


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def stock(shop_id: int, scope: str, product_id: int) -> dict[str, dict[str, Any]]:
    """What there is of each of a product's variants, by code."""
    found = rows(
        """
        select k.code, k.available, k.stock_state from variants v
        join sku_stock k on k.shop_id = v.shop_id and k.sku_id = v.sku_id
        where v.shop_id = %(shop)s and v.product_id = %(id)s
        """,
        shop=shop_id,
        id=product_id,
    )
    return {row["code"]: row for row in found}


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def history(shop_id: int, scope: str, product_id: int, before: int | None) -> History:
    """A page of a product's versions, each with what was before it."""
    with _reading() as conn:
        found = queries.history(conn, shop_id, product_id, before, HISTORY_PAGE + 1)
    documents = [version.document for version in found[1:]] + [None] * bool(found)
    changes = [Change(version, was) for version, was in zip(found, documents, strict=True)]
    return History(changes[:HISTORY_PAGE], len(found) > HISTORY_PAGE)


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def definitions(shop_id: int, scope: str) -> dict[tuple[str, str], Definition]:
    """The metafields that products and variants may have, by owner and key."""
    with _reading() as conn:
        return queries.definitions(conn, shop_id)


def now() -> datetime:
    """The moment that ages are counted from."""
    return database_time()


def undo(shop_id: int, product_id: int, number: int) -> Undo:
    """What taking a version back would do; not cached. Raises NothingToTakeBack."""
    with _reading() as conn:
        return operations.plan_undo(conn, shop_id, product_id, number)


def newest(shop_id: int, product_id: int) -> Stored | None:
    """A product as it is at this moment; not cached: what is edited starts from it."""
    with _reading() as conn:
        return queries.stored(conn, shop_id, [product_id]).get(product_id)


# --- Categories ------------------------------------------------------------------------------------------------------


@st.cache_data(ttl=30, max_entries=50, show_spinner=False)
def paths(shop_id: int, scope: str) -> dict[int, str]:
    """All categories by id, in order of the tree."""
    with _reading() as conn:
        return category_queries.paths(conn, shop_id)


@st.cache_data(ttl=15, max_entries=100, show_spinner=False)
def tree(shop_id: int, scope: str, parent_id: int | None, after: str | None) -> category_queries.Page:
    """What is below a category, or the whole tree."""
    with _reading() as conn:
        return category_queries.tree(conn, shop_id, parent_id, after)


@st.cache_data(ttl=15, max_entries=100, show_spinner=False)
def found_categories(shop_id: int, scope: str, words: str, after: str | None) -> category_queries.Page:
    """Categories by a part of their name."""
    with _reading() as conn:
        return category_queries.search(conn, shop_id, words, after)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def category(shop_id: int, scope: str, category_id: int) -> Category | None:
    """One category."""
    with _reading() as conn:
        return category_queries.category(conn, shop_id, category_id)


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def totals(shop_id: int, scope: str) -> dict[str, Any]:
    """How many categories there are, and how many products are in none."""
    with _reading() as conn:
        found = dict(category_queries.totals(conn, shop_id))
    return {**found, "as_of": database_time()}


def merge(shop_id: int, category_id: int, into_id: int) -> Merged:
    """What merging a category into another would do; not cached. Raises BadCategory, NoCategory."""
    with _reading() as conn:
        return category_operations.plan_merge(conn, shop_id, category_id, into_id)


def names(shop_id: int, scope: str) -> tuple[Mapping[tuple[str, str], Definition], Mapping[int, str]]:
    """What differences speak of: metafields, and the paths of categories."""
    return definitions(shop_id, scope), paths(shop_id, scope)


def category_of(value: str, known: Sequence[int] | Mapping[int, str]) -> int | None:
    """The category that an address names; None for what is none."""
    return int(value) if value.isdecimal() and len(value) < 19 and int(value) in known else None
