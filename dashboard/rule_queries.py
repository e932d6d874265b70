"""Reads of the Channel rules screen: the living rules, their versions, and what a rule would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.policies import operations, queries
from core.policies.queries import Change, PreviewRow
from core.policies.rules import TERMS, Terms, read_typed
from dashboard.queries import Unreadable, engine, one, rows

RULES = 20
VERSIONS = 10
SAMPLE = 20

REMOVE = "remove"
"""Beside the typed fields: the rule of this scope is to end."""

_KEY = "(breadth, coalesce(connection, ''), coalesce(category, code, ''), policy_id)"


class Page(NamedTuple):
    """Rows in order; `more` says whether others follow."""

    rows: list[dict[str, Any]]
    more: bool


class Planned(NamedTuple):
    """What a rule would do, channel by channel and to how pools are shared, and the page of listings asked for."""

    changes: tuple[Change, ...]
    found: queries.Preview
    modes: queries.ModePreview
    sample: list[PreviewRow]
    more: bool


def forget() -> None:
    """Read everything afresh."""
    for cached in (living, versions, totals, categories, preview):
        cached.clear()


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def totals(shop_id: int, scope: str) -> dict[str, Any]:
    """How many rules live, and how many listings there are to go by them."""
    found = one(
        """
        select (select count(*) from channel_policy_list where shop_id = %(shop)s) as rules,
            (select count(*) from listings where shop_id = %(shop)s and sku_id is not null) as listings, now() as as_of
        """,
        shop=shop_id,
    )
    assert found is not None
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def living(shop_id: int, scope: str, after_id: int | None, connection_id: int | None = None) -> Page:
    """The living rules, most specific last, after the rule `after_id` (one that has ended begins anew).

    With `connection_id` only those that its listings may go by.
    """
    found = rows(
        f"""
        select policy_id, connection, category, code, title, breadth, version_id, saved_by, reason, saved_at,
            {", ".join(TERMS)}, now() as as_of
        from channel_policy_list where shop_id = %(shop)s
            and (%(connection)s::int8 is null or connection_id is null or connection_id = %(connection)s)
            and (not exists (select from channel_policy_list where shop_id = %(shop)s and policy_id = %(after)s)
                or {_KEY} > (select {_KEY[1:-1]} from channel_policy_list
                    where shop_id = %(shop)s and policy_id = %(after)s))
        order by {_KEY[1:-1]} limit {RULES + 1}
        """,
        shop=shop_id,
        after=after_id,
        connection=connection_id,
    )
    return Page(found[:RULES], len(found) > RULES)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def versions(shop_id: int, scope: str, before_id: int | None) -> Page:
    """Versions of the rules, newest first, before the version `before_id`."""
    found = rows(
        f"""
        select *, now() as as_of from policy_version_list
        where shop_id = %(shop)s and (%(before)s::int8 is null or version_id < %(before)s)
        order by version_id desc limit {VERSIONS + 1}
        """,
        shop=shop_id,
        before=before_id,
    )
    return Page(found[:VERSIONS], len(found) > VERSIONS)


@st.cache_data(ttl=60, max_entries=50, show_spinner=False)
def categories(shop_id: int, scope: str) -> list[tuple[str, int]]:
    """Categories of SKUs and of rules, by name, with how many SKUs each has."""
    found = rows(
        """
        select category, sum(skus)::bigint as skus from (
            select category, count(*) as skus from skus where shop_id = %(shop)s and category is not null group by 1
            union all
            select category, 0 from channel_policy_list where shop_id = %(shop)s and category is not null
        ) c group by 1 order by 1
        """,
        shop=shop_id,
    )
    return [(row["category"], row["skus"]) for row in found]


def policy(shop_id: int, policy_id: int) -> dict[str, Any] | None:
    """One living rule as it stands; not cached."""
    return one(
        "select * from channel_policy_list where shop_id = %(shop)s and policy_id = %(id)s", shop=shop_id, id=policy_id
    )


def version(shop_id: int, version_id: int) -> dict[str, Any] | None:
    """One version with its progress this moment; not cached."""
    return one(
        """
        select *, now() as as_of from policy_version_list where shop_id = %(shop)s and version_id = %(id)s
        """,
        shop=shop_id,
        id=version_id,
    )


def open_version(shop_id: int) -> int | None:
    """The version that the listings are being brought to, the oldest unfinished; not cached."""
    found = one(
        "select min(id) as id from policy_versions where shop_id = %(shop)s and finished_at is null", shop=shop_id
    )
    return found["id"] if found else None


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def preview(shop_id: int, scope: str, typed: Mapping[str, str], after_id: int) -> Planned:
    """What a typed rule would do. Raises BadRule for what cannot be saved, Unreadable."""
    given = {name: value for name, value in typed.items() if name != REMOVE}
    try:
        with read_only(engine()) as conn:
            change = operations.change_of(conn, shop_id, read_typed(given))
            changes = (Change(change.scope, Terms()),) if REMOVE in typed else (change,)
            operations.check(conn, shop_id, changes)
            found = queries.preview(conn, shop_id, changes)
            modes = queries.preview_modes(conn, shop_id, changes)
            sample = queries.preview_rows(conn, shop_id, changes, after_id=after_id, limit=SAMPLE + 1)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause
    return Planned(changes, found, modes, sample[:SAMPLE], len(sample) > SAMPLE)


def preview_undo(shop_id: int, version_id: int) -> tuple[tuple[Change, ...], queries.Preview]:
    """What taking a version back would do. Raises CannotUndo, BadInput, Unreadable."""
    try:
        with read_only(engine()) as conn:
            changes = operations.undoing(conn, shop_id, version_id)
            return tuple(changes), queries.preview(conn, shop_id, changes)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause
