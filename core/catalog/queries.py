"""Reads: which SKU a channel's words mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from core.db import fetch


@dataclass(frozen=True, slots=True)
class Target:
    """What an identifier stands for. `sku_id` None: the listing is known but not mapped to a SKU.

    `is_ours` False: somebody set it aside, it sells nothing of ours.
    """

    listing_id: int | None
    sku_id: int | None
    location_id: int | None
    is_stocked: bool
    is_ours: bool = True


@dataclass(frozen=True, slots=True)
class Identities:
    """Targets of one connection: by the channel's listing id, and by SKU code where that is unambiguous."""

    by_ref: dict[str, Target]
    by_code: dict[str, Target]
    ambiguous_codes: frozenset[str]


def identities(
    conn: Connection, shop_id: int, connection_id: int, named: Iterable[tuple[str | None, str | None]]
) -> Identities:
    """Resolve what order lines of one connection name: (the channel's listing id, SKU code), either may be missing.

    A code counts, and is looked up, only where the id does not decide. It is tried on the connection's listings first,
    then on our SKUs. The mapping table answers for ids of listings that we do not know, and says what is set aside;
    what it says of a code goes before both.
    """
    pairs = set(named)
    refs = {ref for ref, _ in pairs if ref is not None}
    by_ref = _by_ref(conn, shop_id, connection_id, refs)
    open_refs = {ref for ref in refs if ref not in by_ref or by_ref[ref].sku_id is None}
    if open_refs:
        by_ref |= _by_answer(conn, shop_id, connection_id, open_refs, by_ref)
    codes = sorted({code for ref, code in pairs if code is not None and ref not in by_ref})
    by_code, ambiguous = _by_code(conn, shop_id, connection_id, codes) if codes else ({}, frozenset())
    return Identities(by_ref, by_code, ambiguous)


def _by_ref(conn: Connection, shop_id: int, connection_id: int, refs: Iterable[str]) -> dict[str, Target]:
    rows = fetch(
        conn,
        """
        -- What the channel keeps itself is not ours to promise: a line that we are to ship is promised from our stock.
        select distinct on (l.channel_ref) l.channel_ref,
            case when p.kind = 'external' and l.sku_id is not null then null else l.id end as listing_id, l.sku_id,
            case when p.kind = 'external' then null else l.location_id end as location_id, s.is_stocked
        from listings l left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.channel_ref = any(%(refs)b::text[])
        order by l.channel_ref, coalesce(p.kind = 'external', false), l.id
        """,
        shop=shop_id,
        connection=connection_id,
        refs=sorted(refs),
    )
    return {
        row["channel_ref"]: Target(row["listing_id"], row["sku_id"], row["location_id"], bool(row["is_stocked"]))
        for row in rows
    }


def _by_answer(
    conn: Connection, shop_id: int, connection_id: int, refs: Iterable[str], known: Mapping[str, Target]
) -> dict[str, Target]:
    """What the mapping table says of ids whose listing is not known, or is set aside by any of its identifiers."""
    rows = fetch(
        conn,
        """
        select i.value as ref, i.sku_id, coalesce(s.is_stocked, false) as is_stocked
        from sku_identifiers i left join skus s on s.shop_id = i.shop_id and s.id = i.sku_id
        where i.shop_id = %(shop)s and i.connection_id = %(connection)s and i.kind = 'variant'
            and i.value = any(%(refs)b::text[]) and i.ended_at is null
        union all
        select l.channel_ref, null, false from listings l
        join listing_answers a on a.shop_id = l.shop_id and a.listing_id = l.id and a.sku_id is null
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.channel_ref = any(%(refs)b::text[])
        """,
        shop=shop_id,
        connection=connection_id,
        refs=sorted(refs),
    )
    found = {}
    for row in rows:
        before = known.get(row["ref"])
        listing_id, location_id = (None, None) if before is None else (before.listing_id, before.location_id)
        found[row["ref"]] = Target(
            listing_id, row["sku_id"], location_id, row["is_stocked"], is_ours=row["sku_id"] is not None
        )
    return found


def _by_code(
    conn: Connection, shop_id: int, connection_id: int, codes: Sequence[str]
) -> tuple[dict[str, Target], frozenset[str]]:
    """Targets of the codes that stand for one SKU, and the codes that stand for more."""
    by_code: dict[str, Target] = {}
    ambiguous: set[str] = set()
    for row in fetch(
        conn,
        """
        select l.channel_code, count(distinct l.sku_id) as skus,
            min(l.id) filter (where p.kind is distinct from 'external') as listing_id,
            min(l.sku_id) as sku_id,
            min(l.location_id) filter (where p.kind is distinct from 'external') as location_id,
            bool_and(s.is_stocked) as is_stocked
        from listings l join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.channel_code = any(%(codes)b::text[])
        group by l.channel_code
        """,
        shop=shop_id,
        connection=connection_id,
        codes=codes,
    ):
        if row["skus"] > 1:
            ambiguous.add(row["channel_code"])
        else:
            by_code[row["channel_code"]] = Target(
                row["listing_id"], row["sku_id"], row["location_id"], row["is_stocked"]
            )
    for row in fetch(
        conn,
        """
        select s.code, s.id, s.is_stocked from skus s
        where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
        """,
        shop=shop_id,
        codes=codes,
    ):
        if row["code"] not in ambiguous:
            by_code.setdefault(row["code"], Target(None, row["id"], None, row["is_stocked"]))
    for row in fetch(
        conn,
        """
        select i.value as code, i.sku_id, coalesce(s.is_stocked, false) as is_stocked, l.listing_id, l.location_id
        from sku_identifiers i left join skus s on s.shop_id = i.shop_id and s.id = i.sku_id
        left join lateral (
            select n.id as listing_id, n.location_id from listings n
            left join locations p on p.shop_id = n.shop_id and p.id = n.location_id
            where n.shop_id = i.shop_id and n.connection_id = i.connection_id and n.channel_code = i.value
                and n.sku_id = i.sku_id and p.kind is distinct from 'external'
            order by n.id limit 1
        ) l on true
        where i.shop_id = %(shop)s and i.connection_id = %(connection)s and i.kind = 'seller_sku'
            and i.value = any(%(codes)b::text[]) and i.ended_at is null
        """,
        shop=shop_id,
        connection=connection_id,
        codes=codes,
    ):
        ambiguous.discard(row["code"])
        by_code[row["code"]] = Target(
            row["listing_id"], row["sku_id"], row["location_id"], row["is_stocked"], is_ours=row["sku_id"] is not None
        )
    return by_code, frozenset(ambiguous)


def known_inventory_refs(
    conn: Connection, shop_id: int, connection_id: int, pairs: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Which (inventory_ref, channel_location_ref) pairs are listings of the connection."""
    ordered = sorted(set(pairs))
    rows = fetch(
        conn,
        """
        select distinct p.item, p.place from unnest(%(items)b::text[], %(places)b::text[]) as p (item, place)
        join listings l on l.inventory_ref = p.item and l.channel_location_ref = p.place
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s
        """,
        shop=shop_id,
        connection=connection_id,
        items=[item for item, _ in ordered],
        places=[place for _, place in ordered],
    )
    return {(row["item"], row["place"]) for row in rows}
