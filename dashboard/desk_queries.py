"""Reads of the Desk: what is open, documents and their lines, what a scan means, what an order may give back."""

from __future__ import annotations

from typing import Any, NamedTuple

import streamlit as st

from core.db import read_only
from core.desk import queries as desk
from core.desk.queries import Named, Returnable
from dashboard.queries import engine, one, rows

PAGE = 20
LINES = 50
COMING = 100
"""Of each kind: who looks for one in a longer list opens it from what waits."""
DECISIONS = 500
"""Decided on at a time."""


class Page(NamedTuple):
    """Rows in their order; `more` says whether others follow."""

    rows: list[dict[str, Any]]
    more: bool


_DOCUMENT = """
    document_id, kind, state, location_id, location, to_location_id, to_location, against_id, against_kind, undoes_id,
    undone_by_id, reference, reason, expected_on, created_by, created_at, sent_by, sent_at, done_by, done_at,
    closing_reason, lines, skus, units, received_units, dropped_units, outstanding_units, to_count, counted, approved,
    differing, now() as as_of
"""


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def open_documents(shop_id: int, scope: str, kind: str, after: int = 0) -> Page:
    """Documents of a kind that wait for somebody, the oldest first."""
    found = rows(
        f"""
        select {_DOCUMENT} from desk_documents
        where shop_id = %(shop)s and kind = %(kind)s and done_at is null and document_id > %(after)s
        order by document_id limit {PAGE + 1}
        """,
        shop=shop_id,
        kind=kind,
        after=after,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def coming_to(shop_id: int, scope: str, place: int, also: int | None = None) -> list[dict[str, Any]]:
    """What is coming to a location: the oldest purchase orders and transfers, and the document `also`, if it is."""
    return rows(
        f"""
        select {_DOCUMENT} from desk_documents
        where shop_id = %(shop)s and document_id = any(
            select c.id from unnest(array['purchase_order', 'transfer']) as k (kind) cross join lateral (
                select d.id from stock_documents d
                where d.shop_id = %(shop)s and d.kind = k.kind and d.done_at is null and d.state in ('open', 'sent')
                    and coalesce(d.to_location_id, d.location_id) = %(place)s
                order by d.id <> coalesce(%(also)s::bigint, 0), d.id limit {COMING}
            ) c)
        order by kind, document_id
        """,
        shop=shop_id,
        place=place,
        also=also,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def journal(shop_id: int, scope: str, kind: str | None, before: int | None) -> Page:
    """Documents, the newest first; `before` is the number of the last one on the page before."""
    found = rows(
        f"""
        select {_DOCUMENT} from desk_documents
        where shop_id = %(shop)s and (%(kind)s::text is null or kind = %(kind)s)
            and (%(before)s::bigint is null or document_id < %(before)s)
        order by document_id desc limit {PAGE + 1}
        """,
        shop=shop_id,
        kind=kind,
        before=before,
    )
    return Page(found[:PAGE], len(found) > PAGE)


def document(shop_id: int, document_id: int) -> dict[str, Any] | None:
    """One document as it is now."""
    return one(
        f"select {_DOCUMENT} from desk_documents where shop_id = %(shop)s and document_id = %(id)s",
        shop=shop_id,
        id=document_id,
    )


def lines(shop_id: int, document_id: int, after: int = 0, limit: int = LINES) -> Page:
    """A document's lines after an ordinal."""
    found = rows(
        """
        select ordinal, sku_id, code, title, bundle_code, units, order_name, disposition, note, received_units,
            dropped_units, outstanding_units, count_state, counted_units, on_hand_units, variance_units, counted_by,
            counted_at, decided_by
        from desk_lines where shop_id = %(shop)s and document_id = %(id)s and ordinal > %(after)s
        order by ordinal limit %(limit)s
        """,
        shop=shop_id,
        id=document_id,
        after=after,
        limit=limit + 1,
    )
    return Page(found[:limit], len(found) > limit)


def sheet(shop_id: int, document_id: int, after: int = 0) -> Page:
    """What a sheet still has to have counted, without any number of ours: the counter counts blind."""
    found = rows(
        f"""
        select ordinal, code, title, count_state from desk_lines
        where shop_id = %(shop)s and document_id = %(id)s and ordinal > %(after)s
            and count_state in ('to_count', 'refused')
        order by ordinal limit {LINES + 1}
        """,
        shop=shop_id,
        id=document_id,
        after=after,
    )
    return Page(found[:LINES], len(found) > LINES)


def variances(shop_id: int, document_id: int) -> list[dict[str, Any]]:
    """Counted lines of a sheet that wait for a decision: those that differ most, at most what is decided on at once."""
    return rows(
        f"""
        select ordinal, code, title, counted_units, on_hand_units, variance_units, counted_by, counted_at
        from desk_lines where shop_id = %(shop)s and document_id = %(id)s and count_state = 'counted'
        order by abs(variance_units) desc, ordinal limit {DECISIONS}
        """,
        shop=shop_id,
        id=document_id,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def quarantine(shop_id: int, scope: str, after: tuple[str, int] | None) -> Page:
    """What is kept apart, by code and place; `after` is (code, location id) of the row before."""
    code, place = after or ("", 0)
    found = rows(
        f"""
        select k.code, k.title, p.name as location, v.location_id, v.unavailable as units
        from stock_levels v
        join skus k on k.shop_id = v.shop_id and k.id = v.sku_id
        join locations p on p.shop_id = v.shop_id and p.id = v.location_id
        where v.shop_id = %(shop)s and v.unavailable > 0 and (k.code, v.location_id) > (%(code)s, %(place)s)
        order by k.code, v.location_id limit {PAGE + 1}
        """,
        shop=shop_id,
        code=code,
        place=place,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def waiting(shop_id: int, scope: str) -> dict[str, Any]:
    """How many documents wait for somebody, by kind, and how many units are kept apart."""
    found = one(
        """
        select count(*) filter (where kind = 'count') as counts,
            count(*) filter (where kind = 'transfer') as transfers,
            count(*) filter (where kind = 'purchase_order') as purchase_orders,
            count(*) filter (where kind = 'purchase_order' and expected_on < current_date) as late,
            (select coalesce(sum(unavailable), 0)::bigint from stock_levels
                where shop_id = %(shop)s and unavailable > 0) as apart,
            exists (select from stock_levels where shop_id = %(shop)s) as has_stock,
            now() as as_of
        from stock_documents where shop_id = %(shop)s and done_at is null
        """,
        shop=shop_id,
    )
    assert found is not None
    return found


@st.cache_data(ttl=30, max_entries=100, show_spinner=False)
def locations(shop_id: int, scope: str) -> dict[int, str]:
    """The shop's locations by id."""
    with read_only(engine()) as conn:
        return desk.locations(conn, shop_id)


@st.cache_data(ttl=30, max_entries=100, show_spinner=False)
def categories(shop_id: int, scope: str) -> list[str]:
    """Categories that SKUs are in."""
    found = rows(
        """
        select distinct category from skus where shop_id = %(shop)s and category is not null order by 1 limit 500
        """,
        shop=shop_id,
    )
    return [row["category"] for row in found]


def scanned(shop_id: int, word: str) -> tuple[Named | None, str]:
    """What a code or barcode names, or why it names nothing usable."""
    with read_only(engine()) as conn:
        found, why = desk.named(conn, shop_id, [word])
    return found.get(word), why.get(word, "")


def sold_lines(shop_id: int, order_name: str) -> list[Returnable]:
    """The lines of an order that may come back."""
    with read_only(engine()) as conn:
        return desk.returnable(conn, shop_id, [order_name])


def forget() -> None:
    """Read everything afresh: a write must show at once."""
    for cached in (open_documents, coming_to, journal, quarantine, waiting):
        cached.clear()
