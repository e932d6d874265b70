"""Reads of the Import wizard: imports, what an uploaded file is, what it would change, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core import bootstrap
from core.catalog.categories import queries as categories
from core.catalog.imports.mapping import Mapping as ColumnMapping
from core.catalog.products import queries as products
from core.catalog.products.fields import Definition
from core.clock import utc_now
from core.db import fetch, read_only, scalar
from core.desk import queries as desk
from core.importing import queries, uploads
from core.importing.queries import Item, Run
from core.importing.uploads import Seen
from dashboard.queries import Unreadable, engine

PAGE = 20
ITEMS = 25
GROUPS = 50
WAITING = 3

_Read = TypeVar("_Read")


class Page(NamedTuple):
    """Imports, the newest first; `more` says whether others follow."""

    rows: list[Run]
    more: bool
    as_of: datetime


class ItemPage(NamedTuple):
    """Items in the file's order; `more` says whether others follow. `on_hand`: stock at the location, by code."""

    rows: list[Item]
    more: bool
    on_hand: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Names:
    """What differences speak of: metafields by owner and key, categories by id."""

    definitions: Mapping[tuple[str, str], Definition]
    categories: Mapping[int, str]


def _read(what: Callable[[Connection], _Read]) -> _Read:
    """What a core read says. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            return what(conn)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


def forget() -> None:
    """Read everything afresh."""
    for cached in (page, waiting, items, groups, names):
        cached.clear()


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def page(shop_id: int, scope: str, before: int | None) -> Page:
    """A page of imports, from below the number `before` on."""
    found, now = _read(lambda conn: (queries.runs(conn, shop_id, before, PAGE + 1), scalar(conn, "select now()")))
    return Page(found[:PAGE], len(found) > PAGE, now)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def waiting(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Files that were uploaded to be imported within a day and are not, the newest of them."""
    found = _read(
        lambda conn: fetch(
            conn,
            """
            select id, file_name, created_by, stored_at, now() as as_of from documents d
            where shop_id = %(shop)s and kind = %(kind)s and state = 'stored' and expires_at > now()
                and stored_at > now() - interval '1 day'
                and not exists (select from import_runs r where r.shop_id = d.shop_id and r.document_id = d.id)
            order by id desc limit %(limit)s
            """,
            shop=shop_id,
            kind=uploads.KIND,
            limit=WAITING,
        )
    )
    return [dict(row) for row in found]


def run(shop_id: int, import_id: int) -> tuple[Run, datetime]:
    """An import as it is this moment, and which that is; not cached. Raises core.importing.queries.NoImport."""
    return _read(lambda conn: (queries.run(conn, shop_id, import_id), scalar(conn, "select now()")))


@st.cache_data(ttl=3600, max_entries=50, show_spinner=False)
def seen(shop_id: int, scope: str, document_id: int, currency: str) -> Seen:
    """What an uploaded file is; it never changes. Raises UnreadableFile, core.documents.NoDocument."""
    store = bootstrap.application().documents
    return _read(lambda conn: uploads.look(conn, store, shop_id, document_id, currency, utc_now()))


def remembered(shop_id: int, heads: Sequence[str]) -> ColumnMapping | None:
    """How a file of these columns was mapped last."""
    return _read(lambda conn: queries.remembered_mapping(conn, shop_id, heads))


def locations(shop_id: int) -> dict[int, str]:
    """Where stock can be set, by id."""
    return _read(lambda conn: desk.locations(conn, shop_id))


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def items(shop_id: int, scope: str, import_id: int, worked_at: datetime, shown: str, after: int) -> ItemPage:
    """A page of what was read of a file, from behind a position; `worked_at` is the import's last sign of life."""

    def read(conn: Connection) -> ItemPage:
        found = queries.items(conn, shop_id, import_id, shown, after, ITEMS + 1)
        place = queries.run(conn, shop_id, import_id).settings.location_id
        codes = sorted({code for item in found for code in item.units}) if place is not None else []
        return ItemPage(found[:ITEMS], len(found) > ITEMS, _on_hand(conn, shop_id, place, codes))

    return _read(read)


def _on_hand(conn: Connection, shop_id: int, location_id: int | None, codes: Sequence[str]) -> dict[str, int]:
    if not codes:
        return {}
    found = fetch(
        conn,
        """
        select s.code, k.on_hand from skus s
        join stock_levels k on k.shop_id = s.shop_id and k.sku_id = s.id and k.location_id = %(location)s
        where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
        """,
        shop=shop_id,
        location=location_id,
        codes=list(codes),
    )
    return {row["code"]: row["on_hand"] for row in found}


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def groups(shop_id: int, scope: str, import_id: int, worked_at: datetime) -> list[dict[str, Any]]:
    """What is wrong with a file, by column and sentence: the worst and most frequent."""
    return [dict(row) for row in _read(lambda conn: queries.problem_groups(conn, shop_id, import_id, GROUPS + 1))]


@st.cache_data(ttl=5, max_entries=20, show_spinner=False)
def names(shop_id: int, scope: str) -> Names:
    """What differences speak of."""
    return _read(lambda conn: Names(products.definitions(conn, shop_id), categories.paths(conn, shop_id)))


def changed_since(shop_id: int, import_id: int) -> int:
    """How many products that an import applied were changed again since; for a dialog, not for a page."""
    found: int = _read(
        lambda conn: scalar(
            conn,
            """
            select count(*) from import_items i
            join products p on p.shop_id = i.shop_id and p.id = i.product_id
            where i.shop_id = %(shop)s and i.import_id = %(import)s and i.fate in ('done', 'unbooked')
                and i.undo_fate is null and i.version is not null and p.version <> i.version
            """,
            shop=shop_id,
            **{"import": import_id},
        )
    )
    return found
