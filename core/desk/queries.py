"""Reads: which SKU a scan means, what levels are, what a document expects, which order line is taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one
from core.desk.rules import Expected
from core.errors import BadInput


class NotOurs(BadInput):
    """Words that name no SKU that the desk can handle; each with its own sentence in `why`."""

    def __init__(self, why: Mapping[str, str]) -> None:
        self.why = dict(why)
        shown = list(why.values())
        more = f" And {len(shown) - 5} more like that." if len(shown) > 5 else ""
        super().__init__(" ".join(shown[:5]) + more)


class NoDocument(BadInput):
    """There is no such document, or it is not of the kind that the act is for."""

    def __init__(self, document_id: int, wanted: str) -> None:
        super().__init__(f"there is no {wanted} {document_id}: the journal lists documents with their numbers")


@dataclass(frozen=True, slots=True)
class Named:
    """A SKU that somebody named."""

    sku_id: int
    code: str
    title: str
    is_bundle: bool


def named(conn: Connection, shop_id: int, words: Iterable[str]) -> tuple[dict[str, Named], dict[str, str]]:
    """What codes or barcodes name, and for each word that names nothing usable, the sentence that says why.

    A code, compared exactly, goes before a barcode; a barcode that several SKUs carry names none of them.
    """
    wanted = sorted(set(words))
    rows = fetch(
        conn,
        """
        select w.word, k.id, k.code, k.title, k.is_stocked, k.is_bundle, k.code = w.word as is_code
        from unnest(%(words)b::text[]) as w (word) join skus k on k.shop_id = %(shop)s and k.code = w.word
        union all
        select w.word, k.id, k.code, k.title, k.is_stocked, k.is_bundle, false
        from unnest(%(words)b::text[]) as w (word)
        join skus k on k.shop_id = %(shop)s and k.barcode = w.word and k.code <> w.word
        """,
        shop=shop_id,
        words=wanted,
    )
    candidates: dict[str, list[RowMapping]] = {word: [] for word in wanted}
    for row in rows:
        candidates[row["word"]].append(row)
    found, why = {}, {}
    for word, options in candidates.items():
        exact = [row for row in options if row["is_code"]] or options
        if not exact:
            why[word] = f"“{word}” is no SKU code and no barcode of ours: codes are compared exactly."
        elif len(exact) > 1:
            codes = ", ".join(sorted(row["code"] for row in exact))
            why[word] = f"The barcode “{word}” is on several SKUs ({codes}): give the code instead."
        elif not exact[0]["is_stocked"]:
            why[word] = f"“{word}” has no stock by nature, as a service or a voucher: leave it out."
        else:
            row = exact[0]
            found[word] = Named(row["id"], row["code"], row["title"], row["is_bundle"])
    return found, why


def require_named(conn: Connection, shop_id: int, words: Iterable[str]) -> dict[str, Named]:
    """What codes or barcodes name. Raises NotOurs when any names nothing usable."""
    found, why = named(conn, shop_id, words)
    if why:
        raise NotOurs(why)
    return found


def codes_of(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> dict[int, str]:
    """The codes of SKUs."""
    rows = fetch(
        conn,
        "select id, code from skus where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=sorted(set(sku_ids)),
    )
    return {row["id"]: row["code"] for row in rows}


def locations(conn: Connection, shop_id: int) -> dict[int, str]:
    """The shop's locations where stock of ours can lie, by id, in order of name."""
    rows = fetch(
        conn,
        "select id, name from locations where shop_id = %(shop)s and kind <> 'external' order by name",
        shop=shop_id,
    )
    return {row["id"]: row["name"] for row in rows}


@dataclass(frozen=True, slots=True)
class LevelRow:
    """A level, as numbers."""

    on_hand: int = 0
    reserved: int = 0
    unavailable: int = 0
    incoming: int = 0
    available: int = 0


def levels(conn: Connection, shop_id: int, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], LevelRow]:
    """Levels of (SKU, location) pairs; all zero where there is none."""
    ordered = sorted(pairs)
    rows = fetch(
        conn,
        """
        select k.sku_id, k.location_id, k.on_hand, k.reserved, k.unavailable, k.incoming, k.available
        from unnest(%(skus)b::int8[], %(places)b::int8[]) as p (s, l)
        join stock_levels k on k.shop_id = %(shop)s and k.sku_id = p.s and k.location_id = p.l
        """,
        shop=shop_id,
        skus=[sku for sku, _ in ordered],
        places=[place for _, place in ordered],
    )
    found = {
        (row["sku_id"], row["location_id"]): LevelRow(
            row["on_hand"], row["reserved"], row["unavailable"], row["incoming"], row["available"]
        )
        for row in rows
    }
    return {pair: found.get(pair, LevelRow()) for pair in ordered}


def document(conn: Connection, shop_id: int, document_id: int) -> RowMapping | None:
    """One document, as it is now."""
    return fetch_one(
        conn,
        "select * from stock_documents where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=document_id,
    )


def booked_as(conn: Connection, shop_id: int, business_key: str) -> RowMapping | None:
    """The document that a form or a file was booked as, with its lines' sums."""
    return fetch_one(
        conn,
        """
        select d.id, d.kind, d.state, d.created_by, d.created_at, d.reference,
            coalesce(sum(abs(l.units)), 0)::int8 as units, count(distinct l.sku_id) as skus
        from stock_documents d
        left join stock_document_lines l on l.shop_id = d.shop_id and l.document_id = d.id
        where d.shop_id = %(shop)s and d.business_key = %(key)s
        group by d.shop_id, d.id
        """,
        shop=shop_id,
        key=business_key,
    )


def lines_of(conn: Connection, shop_id: int, document_id: int) -> list[RowMapping]:
    """A document's lines, in their order."""
    return list(
        fetch(
            conn,
            """
            select l.*, k.code from stock_document_lines l join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
            where l.shop_id = %(shop)s and l.document_id = %(id)s order by l.ordinal
            """,
            shop=shop_id,
            id=document_id,
        )
    )


def expected_of(conn: Connection, shop_id: int, document_id: int) -> list[Expected]:
    """What a purchase order or transfer expects, line by line."""
    return [
        Expected(row["ordinal"], row["sku_id"], row["units"], row["received_units"], row["dropped_units"])
        for row in lines_of(conn, shop_id, document_id)
    ]


@dataclass(frozen=True, slots=True)
class Returnable:
    """A line of an order that may come back; units of the line."""

    order_line_id: int
    order_name: str
    connection: str
    sku_id: int
    code: str
    title: str
    shipped_units: int
    taken_back_units: int
    returnable_units: int
    location_id: int | None
    location: str | None
    placed_at: datetime


def returnable(conn: Connection, shop_id: int, order_names: Iterable[str]) -> list[Returnable]:
    """The lines of orders by name (with or without the leading #), oldest order first."""
    wanted = {name.strip().lstrip("#") for name in order_names}
    rows = fetch(
        conn,
        """
        select order_line_id, order_name, connection, sku_id, code, title, shipped_units, taken_back_units,
            returnable_units, location_id, location, placed_at
        from returnable_lines where shop_id = %(shop)s and order_name = any(%(names)b::text[])
        order by placed_at, order_id, ordinal
        """,
        shop=shop_id,
        names=sorted(wanted | {f"#{name}" for name in wanted}),
    )
    return [Returnable(**row) for row in rows]
