"""Reads: the mapping table, the queue of what nobody knows, and suggestions with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog import barcodes
from core.db import fetch, fetch_one
from core.errors import BadInput
from core.identity.rules import Identifier, likeness, words_of

State = Literal["unmapped", "ambiguous"]
QueueKey = tuple[int, int, str, str]
"""(parked units, connection, kind, value) of the last row of a page."""

TITLES_LOOKED_AT = 50
TITLE_ALIKE_MIN = 60
"""Percent; below that two titles have a word in common and nothing else."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A SKU that an identifier may be: `percent` ranks, `reasons` say why, such as "same barcode 5012345678900"."""

    sku_id: int
    code: str
    title: str
    barcode: str | None
    percent: int
    reasons: tuple[str, ...]


def unmapped(
    conn: Connection,
    shop_id: int,
    *,
    connection_id: int | None = None,
    state: State | None = None,
    after: QueueKey | None = None,
    limit: int = 50,
) -> Sequence[RowMapping]:
    """A page of the queue: rows of the view `unmapped_identifiers`, those with most parked units first.

    `after`: (parked_units, connection_id, kind, value) of the last row seen.
    """
    units, connection, kind, value = after if after is not None else (None, 0, "", "")
    return fetch(
        conn,
        """
        select * from unmapped_identifiers
        where shop_id = %(shop)s and (%(connection)s::int8 is null or connection_id = %(connection)s)
            and (%(state)s::text is null or state = %(state)s)
            and (%(units)s::int8 is null or parked_units < %(units)s
                or (parked_units = %(units)s and (connection_id, kind, value)
                    > (%(after)s::int8, %(kind)s::text, %(value)s::text)))
        order by parked_units desc, connection_id, kind, value limit %(limit)s
        """,
        shop=shop_id,
        connection=connection_id,
        state=state,
        units=units,
        after=connection,
        kind=kind,
        value=value,
        limit=limit,
    )


def mapped(
    conn: Connection,
    shop_id: int,
    *,
    connection_id: int | None = None,
    search: str | None = None,
    is_ours: bool | None = None,
    after_id: int | None = None,
    limit: int = 50,
) -> Sequence[RowMapping]:
    """A page of the living mapping table, newest first: rows of the view `identifier_list`.

    `search`: an identifier or a SKU's code, exactly, or how one begins. `is_ours` False: what was set aside.
    """
    return fetch(
        conn,
        """
        select * from identifier_list
        where shop_id = %(shop)s and is_living
            and (%(connection)s::int8 is null or connection_id = %(connection)s)
            and (%(search)s::text is null or starts_with(value, %(search)s) or starts_with(code, %(search)s))
            and (%(ours)s::bool is null or is_ours = %(ours)s)
            and (%(after)s::int8 is null or identifier_id < %(after)s)
        order by identifier_id desc limit %(limit)s
        """,
        shop=shop_id,
        connection=connection_id,
        search=search or None,
        ours=is_ours,
        after=after_id,
        limit=limit,
    )


def history(conn: Connection, shop_id: int, one: Identifier) -> Sequence[RowMapping]:
    """Everything that was ever answered for an identifier, newest first: rows of `identifier_list`."""
    return fetch(
        conn,
        """
        select * from identifier_list where shop_id = %(shop)s and connection_id = %(connection)s
            and kind = %(kind)s and value = %(value)s order by identifier_id desc limit 200
        """,
        shop=shop_id,
        connection=one.connection_id,
        kind=one.kind,
        value=one.value,
    )


def all_mapped(conn: Connection, shop_id: int, connection_id: int | None) -> Iterator[RowMapping]:
    """The whole living mapping table in pages, never whole in memory; oldest first."""
    after = 0
    while True:
        page = fetch(
            conn,
            """
            select * from identifier_list where shop_id = %(shop)s and is_living and identifier_id > %(after)s
                and (%(connection)s::int8 is null or connection_id = %(connection)s)
            order by identifier_id limit 1000
            """,
            shop=shop_id,
            connection=connection_id,
            after=after,
        )
        if not page:
            return
        yield from page
        after = page[-1]["identifier_id"]


def sku_of(conn: Connection, shop_id: int, code: str) -> RowMapping:
    """id, code, title, is_stocked, is_bundle of the SKU of exactly that code. Raises BadInput, with what is alike."""
    row = fetch_one(
        conn,
        """
        select id, code, title, is_stocked, is_bundle from skus where shop_id = %(shop)s and code = %(code)s
        """,
        shop=shop_id,
        code=code,
    )
    if row is not None:
        return row
    like = fetch(
        conn,
        """
        select code from skus where shop_id = %(shop)s and code_key = lower(replace(%(code)s, ' ', ''))
        order by code limit 3
        """,
        shop=shop_id,
        code=code,
    )
    meant = f". Did you mean {' or '.join(found['code'] for found in like)}?" if like else ""
    raise BadInput(f"there is no SKU “{code}”: codes are compared exactly, upper and lower case differ{meant}")


# --- suggestions -----------------------------------------------------------------------------------------------------


def suggest(conn: Connection, shop_id: int, one: Identifier, *, limit: int = 5) -> list[Suggestion]:
    """SKUs that an identifier may be, the likeliest first, each with every reason; of an ambiguous one all candidates.

    Only a small set that SQL selects is compared word by word: by code, barcode, label, product and words of the title.
    """
    about = _about(conn, shop_id, one)
    found: dict[int, tuple[RowMapping, list[tuple[int, str]]]] = {}
    for row in fetch(conn, _CANDIDATES, shop=shop_id, connection=one.connection_id, **about):
        reasons = found.setdefault(row["id"], (row, []))[1]
        reasons.append((row["percent"], _said(row, about)))
    title = about["title"] or ""
    for row in _by_title(conn, shop_id, title):
        percent = likeness(title, row["title"])
        if percent >= TITLE_ALIKE_MIN:
            found.setdefault(row["id"], (row, []))[1].append((min(80, percent * 4 // 5), f"title {percent} % alike"))
    ranked = [
        Suggestion(
            sku_id,
            row["code"],
            row["title"],
            row["barcode"],
            min(100, max(percent for percent, _ in reasons) + 2 * (len(reasons) - 1)),
            tuple(text for _, text in sorted(reasons, key=lambda reason: (-reason[0], reason[1]))),
        )
        for sku_id, (row, reasons) in found.items()
    ]
    ranked.sort(key=lambda each: (-each.percent, each.code))
    # Candidates by code or barcode are what makes an identifier ambiguous: none of them is left out.
    return [each for place, each in enumerate(ranked) if place < limit or each.percent >= _SURE]


_SURE = 95


def _said(row: RowMapping, about: dict[str, Any]) -> str:
    return {
        "code": f"same code {about['code']}",
        "barcode": f"same barcode {(about['gtin'] or '').lstrip('0')}",
        "code_key": "same code but for case or spaces",
        "label": f"same label {about['label']}",
        "product": f"sold on the same product page {about['product']} (sellers share it: it proves nothing alone)",
        "elsewhere": f"{row['where_else']} calls it so",
    }[row["why"]]


def _about(conn: Connection, shop_id: int, one: Identifier) -> dict[str, Any]:
    """What is known of an identifier: of its listing, else of the order lines that name it, else itself."""
    row = fetch_one(
        conn,
        f"""
        select channel_code as code, title, product_ref as product, label_ref as label, gtin, channel_ref as ref
        from listings where shop_id = %(shop)s and connection_id = %(connection)s and {_COLUMN[one.kind]} = %(value)s
        order by sku_id is null desc, id limit 1
        """,
        shop=shop_id,
        connection=one.connection_id,
        value=one.value,
    )
    if row is None and one.kind in ("variant", "seller_sku"):
        row = fetch_one(
            conn,
            """
            select l.code, l.title, null as product, null as label, null as gtin, l.variant_ref as ref
            from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where l.shop_id = %(shop)s and l.mapping = 'unmapped' and o.connection_id = %(connection)s
                and case when %(kind)s = 'variant' then l.variant_ref else l.code end = %(value)s
            order by l.id limit 1
            """,
            shop=shop_id,
            connection=one.connection_id,
            kind=one.kind,
            value=one.value,
        )
    known = dict.fromkeys(("code", "title", "product", "label", "gtin", "ref")) | dict(row or {})
    own = {"seller_sku": "code", "fnsku": "label", "asin": "product"}.get(one.kind)
    if own is not None:
        known[own] = one.value
    if one.kind == "barcode":
        known["gtin"] = barcodes.gtin_of(one.value)
    return known


_COLUMN = {
    "variant": "channel_ref",
    "seller_sku": "channel_code",
    "fnsku": "label_ref",
    "barcode": "gtin",
    "asin": "product_ref",
}

_CANDIDATES = """
    select s.id, s.code, s.title, s.barcode, w.why, w.percent, w.where_else from (
        select id, 'code' as why, 98 as percent, null as where_else from skus
        where shop_id = %(shop)s and code = %(code)s::text
        union all
        select id, 'barcode', 97, null from skus where shop_id = %(shop)s and gtin = %(gtin)s::text
        union all
        select id, 'code_key', 90, null from skus where shop_id = %(shop)s
            and code_key = lower(replace(%(code)s::text, ' ', '')) and code <> %(code)s::text
        union all
        select distinct sku_id, 'label', 85, null from listings
        where shop_id = %(shop)s and connection_id = %(connection)s and label_ref = %(label)s::text
            and sku_id is not null and channel_ref is distinct from %(ref)s::text
        union all
        select distinct l.sku_id, 'elsewhere', 88, c.name from sku_identifiers i
        join listings l on l.shop_id = i.shop_id and l.connection_id = i.connection_id and l.channel_ref = i.value
        join connections c on c.shop_id = i.shop_id and c.id = i.connection_id
        where i.shop_id = %(shop)s and i.connection_id <> %(connection)s and i.kind = 'variant'
            and i.value = %(code)s::text and i.ended_at is null and l.sku_id is not null
        union all
        select distinct sku_id, 'product', 60, null from listings
        where shop_id = %(shop)s and product_ref = %(product)s::text and sku_id is not null
            and channel_ref is distinct from %(ref)s::text
    ) w join skus s on s.shop_id = %(shop)s and s.id = w.id
"""


def _by_title(conn: Connection, shop_id: int, title: str) -> Sequence[RowMapping]:
    """The few SKUs that have most words of a title in theirs."""
    words = words_of(title)[:12]
    if not words:
        return []
    return fetch(
        conn,
        """
        select id, code, title, barcode from (
            select s.*, ts_rank(to_tsvector('simple', s.title), q.words) as rank
            from skus s cross join to_tsquery('simple', %(words)s) q (words)
            where s.shop_id = %(shop)s and to_tsvector('simple', s.title) @@ q.words
        ) hit order by rank desc, id limit %(limit)s
        """,
        shop=shop_id,
        words=" | ".join(f"'{word}'" for word in words),
        limit=TITLES_LOOKED_AT,
    )
