"""Reads of the Category mapping screen: how categories stand with a taxonomy, what they may be, what was answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.catalog.taxonomies import queries
from core.catalog.taxonomies.queries import Figures, Mapped, Pick, Place, State
from core.catalog.taxonomies.rules import Entry, Index, Suggestion, Target
from core.db import read_only
from dashboard.queries import Unreadable, engine, rows

PAGE = 10
"""Of the list: each row has its suggestions."""

Row = dict[str, Any]
_Read = TypeVar("_Read")


class Page(NamedTuple):
    """Categories in order, and what the next page begins after; None where it ends."""

    rows: list[Mapped]
    after: Place | None


def _read(what: Callable[[Connection], _Read]) -> _Read:
    """What a core read says. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            return what(conn)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


def forget() -> None:
    """Read everything afresh."""
    for cached in (targets, living, figures, page):
        cached.clear()


@st.cache_data(ttl=30, max_entries=50, show_spinner=False)
def targets(shop_id: int, scope: str) -> list[Target]:
    """What categories may be mapped to."""
    return _read(lambda conn: queries.targets(conn, shop_id))


@st.cache_data(ttl=30, max_entries=50, show_spinner=False)
def connections(shop_id: int, scope: str, vendor: str) -> dict[int, str]:
    """Names of a vendor's connections by number."""
    found = rows(
        """
        select connection_id, name from connection_health where shop_id = %(shop)s and vendor = %(vendor)s
        order by name, connection_id
        """,
        shop=shop_id,
        vendor=vendor,
    )
    return {row["connection_id"]: row["name"] for row in found}


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def living(shop_id: int, scope: str, target: Target) -> Row | None:
    """The taxonomy that counts; None before the first was loaded."""

    def read(conn: Connection) -> Row | None:
        found = queries.living(conn, shop_id, target)
        return None if found is None else dict(found)

    return _read(read)


@st.cache_data(ttl=5, max_entries=50, show_spinner=False)
def figures(shop_id: int, scope: str, target: Target) -> Figures:
    """How many categories are in each state, and what that concerns."""
    return _read(lambda conn: queries.figures(conn, shop_id, target))


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def page(shop_id: int, scope: str, target: Target, state: State | None, after: Place | None) -> Page:
    """A page of categories, those with most products first."""
    return Page(*_read(lambda conn: queries.page(conn, shop_id, target, state, after, PAGE)))


@st.cache_resource(max_entries=8, show_spinner=False)
def _index(shop_id: int, taxonomy_id: int, _target: Target) -> Index:
    """A taxonomy ready to be compared with; one load never changes."""
    return _read(lambda conn: Index(queries.entries(conn, shop_id, _target)))


def suggest(shop_id: int, target: Target, taxonomy_id: int, category: str) -> list[Suggestion]:
    """What a category may be, the likeliest first."""
    return _index(shop_id, taxonomy_id, target).suggest(category)


def acceptable(shop_id: int, target: Target, least: int, with_inherited: bool) -> list[Pick]:
    """What would be accepted now, were all suggestions so sure."""
    return _read(lambda conn: queries.acceptable(conn, shop_id, target, least, with_inherited=with_inherited))


def find(shop_id: int, target: Target, text: str) -> list[Entry]:
    """The few entries that have every word of a text."""
    return _read(lambda conn: queries.find_entries(conn, shop_id, target, text, limit=12))


def one(shop_id: int, target: Target, category_id: int) -> tuple[Mapped | None, list[Row]]:
    """One category, or None, and what was ever answered for it, the newest first."""

    def read(conn: Connection) -> tuple[Mapped | None, list[Row]]:
        found = queries.effective(conn, shop_id, target, [category_id])
        past = [dict(row) for row in queries.history(conn, shop_id, target, category_id)]
        return (found[0] if found else None), past

    return _read(read)


def history(shop_id: int, target: Target, before_id: int | None) -> tuple[list[Row], list[Row], bool]:
    """Acts that accepted many; a page of answers, the newest first; and whether older ones follow."""
    limit = queries.HISTORY_PAGE

    def read(conn: Connection) -> tuple[list[Row], list[Row]]:
        past = queries.history(conn, shop_id, target, before_id=before_id, limit=limit + 1)
        return [dict(row) for row in queries.batches(conn, shop_id, target, 10)], [dict(row) for row in past]

    batches, past = _read(read)
    return batches, past[:limit], len(past) > limit


def loads(shop_id: int, target: Target) -> list[Row]:
    """Every load of a taxonomy, the newest first."""
    return _read(lambda conn: [dict(row) for row in queries.loads(conn, shop_id, target)])


def broken_by(shop_id: int, target: Target, refs: list[str]) -> int:
    """How many answers name an entry that is not among these."""
    return _read(lambda conn: queries.broken_by(conn, shop_id, target, refs))
