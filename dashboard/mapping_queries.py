"""Reads of the Mapping screen: what nobody knows, what is answered, and one identifier with what hangs on it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.identity import concerned, files, queries
from core.identity.queries import QueueKey, State, Suggestion
from core.identity.rules import Identifier
from dashboard.queries import Unreadable, engine, one, rows

PAGE = 10
"""Of the queue: each row looks for whose it may be."""
TABLE_PAGE = 50
FOUND_MAX = 8
PARKED_MAX = 20
BADGE_MAX = 99

Row = dict[str, Any]
_Read = TypeVar("_Read")


class Page(NamedTuple):
    """Rows in order; `more` says whether others follow."""

    rows: list[Row]
    more: bool


def _read(what: Callable[[Connection], _Read]) -> _Read:
    """What a core read says. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            return what(conn)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


def forget() -> None:
    """Read everything afresh."""
    for cached in (waiting, backlog, queue, suggestions, table):
        cached.clear()


@st.cache_data(ttl=15, max_entries=200, show_spinner=False)
def waiting(shop_id: int, scope: str) -> int:
    """How many identifiers wait for an answer; not more than one above `BADGE_MAX` are counted."""
    found = one(
        f"""
        select count(*) as identifiers from (
            select from unmapped_identifiers where shop_id = %(shop)s limit {BADGE_MAX + 1}) counted
        """,
        shop=shop_id,
    )
    return 0 if found is None else int(found["identifiers"])


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def backlog(shop_id: int, scope: str) -> list[Row]:
    """How much waits and how much is answered, of each connection by name."""
    return rows(
        """
        select connection_id, connection, vendor, unmapped, ambiguous, listings, parked_lines, parked_orders,
            parked_units, parked_since, mapped, set_aside, now() as as_of
        from identity_backlog where shop_id = %(shop)s order by connection, connection_id
        """,
        shop=shop_id,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def queue(shop_id: int, scope: str, connection_id: int | None, state: State | None, after: QueueKey | None) -> Page:
    """A page of what nobody knows, those that most units wait for first."""
    found = _read(
        lambda conn: queries.unmapped(
            conn, shop_id, connection_id=connection_id, state=state, after=after, limit=PAGE + 1
        )
    )
    return Page([dict(row) for row in found[:PAGE]], len(found) > PAGE)


@st.cache_data(ttl=30, max_entries=1_000, show_spinner=False)
def suggestions(shop_id: int, scope: str, asked: Identifier) -> list[Suggestion]:
    """Whose an identifier may be, the likeliest first, with every reason."""
    return _read(lambda conn: queries.suggest(conn, shop_id, asked))


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def table(
    shop_id: int, scope: str, connection_id: int | None, search: str, is_ours: bool, after_id: int | None
) -> Page:
    """A page of what is answered, the newest first; of what is ours, or of what was set aside."""
    found = _read(
        lambda conn: queries.mapped(
            conn,
            shop_id,
            connection_id=connection_id,
            search=search,
            is_ours=is_ours,
            after_id=after_id,
            limit=TABLE_PAGE + 1,
        )
    )
    return Page([dict(row) for row in found[:TABLE_PAGE]], len(found) > TABLE_PAGE)


class Story(NamedTuple):
    """One identifier: how it waits, if it does; its answers, newest first; its listings; the lines that wait."""

    waits: Row | None
    answers: Sequence[Row]
    listings: Sequence[Row]
    parked: Sequence[Row]

    @property
    def living(self) -> Row | None:
        """What is answered now."""
        return next((row for row in self.answers if row["is_living"]), None)


def story(shop_id: int, asked: Identifier) -> Story:
    """Everything about one identifier."""
    which = {"shop": shop_id, "connection": asked.connection_id, "kind": asked.kind, "value": asked.value}
    here = "shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s and value = %(value)s"
    answers, listings = _read(
        lambda conn: (
            [dict(row) for row in queries.history(conn, shop_id, asked)],
            [dict(row) for row in concerned.named_listings(conn, shop_id, asked.connection_id, [asked])],
        )
    )
    codes = {
        row["sku_id"]: row["code"]
        for row in rows(
            "select sku_id, code from sku_stock where shop_id = %(shop)s and sku_id = any(%(ids)b::int8[])",
            shop=shop_id,
            ids=sorted({row["sku_id"] for row in listings if row["sku_id"] is not None}),
        )
    }
    return Story(
        one(f"select * from unmapped_identifiers where {here}", **which),
        answers,
        [{**row, "code": codes.get(row["sku_id"])} for row in listings],
        rows(
            f"""
            select order_id, order_name, placed_at, cancelled_at, title, units, mapping_reason
            from parked_line_list where {here} order by order_line_id limit {PARKED_MAX}
            """,
            **which,
        ),
    )


def parked_of_order(shop_id: int, order_id: int) -> dict[int, Identifier]:
    """What the lines of an order wait for, by their place in it."""
    found = rows(
        """
        select ordinal, connection_id, kind, value from parked_line_list
        where shop_id = %(shop)s and order_id = %(order)s
        """,
        shop=shop_id,
        order=order_id,
    )
    return {row["ordinal"]: Identifier(row["connection_id"], row["kind"], row["value"]) for row in found}


def find_skus(shop_id: int, text: str) -> list[Row]:
    """The few SKUs whose code begins with a text, whose title has it or whose barcode it is; short codes first."""
    like = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return rows(
        f"""
        select code, title, barcode, available from sku_stock
        where shop_id = %(shop)s
            and (code ilike %(prefix)s or title ilike %(inside)s or barcode = %(text)s)
        order by code <> %(text)s, length(code), code limit {FOUND_MAX}
        """,
        shop=shop_id,
        text=text,
        prefix=f"{like}%",
        inside=f"%{like}%",
    )


def as_csv(shop_id: int, connection_id: int | None) -> bytes:
    """The living mapping table of a connection, or of all, as a file."""

    def write(conn: Connection) -> bytes:
        out = io.StringIO(newline="")
        files.export(conn, shop_id, connection_id, out)
        return out.getvalue().encode("utf-8-sig")

    return _read(write)
