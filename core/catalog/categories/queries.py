"""Reads: the tree of categories, with how many products are in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one, scalar

PAGE = 100
WHOLE_MAX = 150
"""A tree of so many is shown whole; a larger one level by level."""


@dataclass(frozen=True, slots=True)
class Category:
    """One category. `products` are in itself, `products_below` in it or below it, each once; `children` are directly
    below it, `below` at any depth."""

    id: int
    parent_id: int | None
    name: str
    path: str
    depth: int
    products: int
    products_below: int
    children: int
    below: int
    created_at: datetime


class Page(NamedTuple):
    """Categories, parents before their children; `more` says whether others follow. `is_whole`: with all levels."""

    rows: Sequence[Category]
    more: bool
    is_whole: bool


def paths(conn: Connection, shop_id: int) -> dict[int, str]:
    """All categories of a shop by id, in order of the tree."""
    rows = fetch(
        conn,
        "select id, path from categories where shop_id = %(shop)s order by string_to_array(path, ' > ')",
        shop=shop_id,
    )
    return {row["id"]: row["path"] for row in rows}


def tree(conn: Connection, shop_id: int, parent_id: int | None = None, after: str | None = None) -> Page:
    """What is below a category, or the whole tree, from behind the path `after`."""
    parent = None if parent_id is None else category(conn, shop_id, parent_id)
    below = "true" if parent is None else "starts_with(c.path, %(path)s || ' > ')"
    params: dict[str, Any] = {} if parent is None else {"path": parent.path}
    many = scalar(
        conn,
        f"select count(*) from categories c where c.shop_id = %(shop)s and {below}",
        shop=shop_id,
        **params,
    )
    is_whole = many <= WHOLE_MAX
    if not is_whole:
        below += " and c.parent_id is not distinct from %(parent)s::int8"
        params["parent"] = None if parent is None else parent.id
    return _page(conn, shop_id, below, params, after, WHOLE_MAX if is_whole else PAGE, is_whole=is_whole)


def search(conn: Connection, shop_id: int, words: str, after: str | None = None) -> Page:
    """Categories whose name contains what was typed, whatever its case."""
    typed = words.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return _page(conn, shop_id, "c.name ilike %(words)s", {"words": f"%{typed}%"}, after, PAGE, is_whole=False)


def category(conn: Connection, shop_id: int, category_id: int) -> Category | None:
    """One category; None where there is none."""
    found = _page(conn, shop_id, "c.id = %(id)s", {"id": category_id}, None, 1, is_whole=False).rows
    return found[0] if found else None


def _page(
    conn: Connection,
    shop_id: int,
    where: str,
    params: Mapping[str, Any],
    after: str | None,
    limit: int,
    *,
    is_whole: bool,
) -> Page:
    rows = fetch(
        conn,
        f"""
        with page as (
            select c.* from categories c
            where c.shop_id = %(shop)s and {where}
                and (%(after)s::text is null or string_to_array(c.path, ' > ') > string_to_array(%(after)s, ' > '))
            order by string_to_array(c.path, ' > ') limit %(limit)s
        ), members as (
            select p.id, c.id as member_id from page p
            join categories c on c.shop_id = p.shop_id and (c.id = p.id or starts_with(c.path, p.path || ' > '))
        ), counted as (
            select m.id, count(distinct k.product_id) as products_below,
                count(*) filter (where k.category_id = m.id) as products
            from members m join product_categories k on k.shop_id = %(shop)s and k.category_id = m.member_id
            group by m.id
        ), under as (
            select id, count(*) - 1 as below from members group by id
        )
        select p.id, p.parent_id, p.name, p.path, p.depth, p.created_at, u.below, coalesce(n.products, 0) as products,
            coalesce(n.products_below, 0) as products_below,
            (select count(*) from categories c where c.shop_id = p.shop_id and c.parent_id = p.id) as children
        from page p join under u on u.id = p.id left join counted n on n.id = p.id
        order by string_to_array(p.path, ' > ')
        """,
        shop=shop_id,
        after=after,
        limit=limit + 1,
        **params,
    )
    return Page([Category(**row) for row in rows[:limit]], len(rows) > limit, is_whole)


def totals(conn: Connection, shop_id: int) -> RowMapping:
    """How many categories there are, and how many products are in none (counted no further than 1,001)."""
    found = fetch_one(
        conn,
        """
        select (select count(*) from categories where shop_id = %(shop)s) as categories,
            (select count(*) from (
                select from products p where p.shop_id = %(shop)s and not exists (
                    select from product_categories k where k.shop_id = p.shop_id and k.product_id = p.id
                ) limit 1001
            ) without) as products_without
        """,
        shop=shop_id,
    )
    assert found is not None, "counts always come"
    return found
