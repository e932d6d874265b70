"""Automatic matching: which listings of a connection are surely whose SKU, and what is left to a person.

A listing is matched by the code it has at the channel, compared exactly, and by a valid barcode that only one of our
SKUs and only one listing of the connection has. Where the two say different things, or the barcode is on several, it
is ambiguous: nothing is guessed. A product's own number (ASIN) never matches anything: sellers share it, and several
SKUs may stand on it. What a person or a file has answered goes before all of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.catalog.barcodes import gtin_of, key_of
from core.db import execute, fetch
from core.ports import ChannelListing

NOT_TAKEN_OVER = "no stock number taken over yet: sync the connection, or receive stock"
NOT_MAPPED = "not mapped to a SKU"
NOT_TRACKED = "the channel does not count its stock"
NOT_OURS = "set aside: not ours"
AMBIGUOUS = "ambiguous: "
"""What the reason of an ambiguous listing begins with; the view `unmapped_identifiers` goes by it."""
MATCHER = "matching"
"""Who maps what nobody had to."""


def hold_identities(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Until this unit of work ends, what the connection's identifiers stand for stays as it is; before any row.

    Shared: bookings do not wait for each other. Whoever maps waits for them (`own_identities`), so that no line is
    booked by what an identifier stood for a moment before.
    """
    fetch(conn, f"select pg_advisory_xact_lock_shared({_IDENTITIES})", shop=shop_id, connection=connection_id)


def own_identities(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Be the only one who books by, or changes, what the connection's identifiers stand for; before any row."""
    fetch(conn, f"select pg_advisory_xact_lock({_IDENTITIES})", shop=shop_id, connection=connection_id)


_IDENTITIES = "hashtextextended('identities:' || %(shop)s || ':' || %(connection)s, 0)"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of listings that a channel tells of.

    `doubted`: those that their code alone must not map: something else is answered, or their barcode is another SKU's.
    `noted`: those of which it is written down already that they were matched. `sku_ids`: what matching may map them to
    besides the SKUs of their codes.
    """

    doubted: frozenset[str]
    noted: frozenset[str]
    sku_ids: frozenset[int]


def known_of(
    conn: Connection, shop_id: int, connection_id: int, listings: Sequence[ChannelListing], *, is_source: bool
) -> Known:
    """See what is answered and found of some listings, each of which comes once.

    `is_source`: SKUs are made of the connection's listings, so that their code is what they are. Asked by arrays: no
    statistics of a new table then make a page of a catalogue slow.
    """
    names = {listing.ref: _names(listing) for listing in listings}
    answers = fetch(
        conn,
        """
        select kind, value, sku_id from sku_identifiers
        where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null and source <> 'automatic'
            and value = any(%(values)b::text[])
        """,
        shop=shop_id,
        connection=connection_id,
        values=sorted({value for some in names.values() for _, value in some}),
    )
    found = {
        row["value"]: row["code"]
        for row in fetch(
            conn,
            """
            select i.value, s.code from sku_identifiers i join skus s on s.shop_id = i.shop_id and s.id = i.sku_id
            where i.shop_id = %(shop)s and i.connection_id = %(connection)s and i.kind = 'variant'
                and i.value = any(%(refs)b::text[]) and i.ended_at is null and i.source = 'automatic'
            """,
            shop=shop_id,
            connection=connection_id,
            refs=sorted(names),
        )
    }
    gtins = {listing.ref: gtin_of(listing.barcode) for listing in listings}
    owned = fetch(
        conn,
        "select gtin, code, id from skus where shop_id = %(shop)s and gtin = any(%(gtins)b::text[])",
        shop=shop_id,
        gtins=sorted({gtin for gtin in gtins.values() if gtin is not None}),
    )
    owners: dict[str | None, set[str]] = {}
    for row in owned if not is_source else ():
        owners.setdefault(row["gtin"], set()).add(row["code"])
    answered = {(row["kind"], row["value"]) for row in answers}
    return Known(
        frozenset(
            listing.ref
            for listing in listings
            if not answered.isdisjoint(names[listing.ref])
            or found.get(listing.ref, listing.code) != listing.code
            or owners.get(gtins[listing.ref], set()) - {listing.code}
        ),
        frozenset(found),
        frozenset({row["id"] for row in owned} | {row["sku_id"] for row in answers if row["sku_id"] is not None}),
    )


def _names(listing: ChannelListing) -> list[tuple[str, str]]:
    """The identifiers of a listing, by kind, as the mapping table keeps them."""
    barcode = None if listing.barcode is None else key_of(listing.barcode)
    named = (
        ("variant", listing.ref),
        ("seller_sku", listing.code),
        ("fnsku", listing.label_ref),
        ("barcode", barcode),
        ("asin", listing.product_ref),
    )
    return [(kind, value) for kind, value in named if value]


def note_matched(conn: Connection, shop_id: int, connection_id: int, skus: Mapping[str, int], now: datetime) -> None:
    """Write down that listings (channel refs) were mapped by their code, where nothing is written down yet."""
    execute(
        conn,
        """
        insert into sku_identifiers (shop_id, connection_id, kind, value, sku_id, source, mapped_by, reason, mapped_at)
        select %(shop)s, %(connection)s, 'variant', n.ref, n.sku_id, 'automatic', %(by)s, 'same code', %(now)s
        from unnest(%(refs)b::text[], %(skus)b::int8[]) as n (ref, sku_id)
        on conflict (shop_id, connection_id, kind, value) where ended_at is null do nothing
        """,
        shop=shop_id,
        connection=connection_id,
        refs=sorted(skus),
        skus=[skus[ref] for ref in sorted(skus)],
        by=MATCHER,
        now=now,
    )


def lock_matches(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Lock, by id, the connection's unmapped listings and all listings of the SKUs that they may turn out to be."""
    fetch(
        conn,
        """
        select 1 from listings l
        where l.shop_id = %(shop)s and l.id = any(array(
            select id from listings where shop_id = %(shop)s and connection_id = %(connection)s and sku_id is null
            union all
            select id from listings where shop_id = %(shop)s and sku_id = any(array(
                select s.id from listings o join skus s on s.shop_id = o.shop_id
                    and (s.code = o.channel_code or s.gtin = o.gtin)
                where o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.sku_id is null
                union all
                select a.sku_id from listing_answers a join listings o on o.shop_id = a.shop_id and o.id = a.listing_id
                where o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.sku_id is null
                    and a.sku_id is not null))))
        order by l.id for no key update
        """,
        shop=shop_id,
        connection=connection_id,
    )


def match(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    now: datetime,
    *,
    refs: Iterable[str] | None = None,
    by_barcode: bool,
) -> list[str]:
    """Map the (locked) unmapped listings that are surely somebody's; returns the channel refs that were mapped.

    `refs` None: all of the connection. `by_barcode` False: while a catalogue is being read, since nobody knows yet
    whether a barcode is on another listing too; then only what is answered and what a code decides is mapped.
    """
    rows = fetch(
        conn,
        _MATCH,
        shop=shop_id,
        connection=connection_id,
        refs=None if refs is None else sorted(set(refs)),
        by_barcode=by_barcode,
        now=now,
        by=MATCHER,
        not_tracked=NOT_TRACKED,
        not_taken=NOT_TAKEN_OVER,
        not_mapped=NOT_MAPPED,
        not_ours=NOT_OURS,
        ambiguous=AMBIGUOUS,
    )
    return sorted({row["channel_ref"] for row in rows})


# Of each unmapped listing: what is answered, whose code it has, on how many of our SKUs and of the connection's
# listings its barcode is; then a verdict, with its words.
_MATCH = """
    with facts as materialized (
        select o.id, o.channel_ref, o.channel_code, o.gtin, o.is_tracked, o.publishing_reason, a.identifier_id,
            a.sku_id as answered_id, c.id as code_id, coalesce(b.skus, 0) as barcode_skus, b.sku_id as barcode_id,
            b.codes, coalesce(b.has_code, false) as barcode_agrees, coalesce(t.refs, 0) as barcode_refs,
            n.settings ->> 'is_sku_source' = 'true' as is_source
        from listings o
        join connections n on n.shop_id = o.shop_id and n.id = o.connection_id
        left join listing_answers a on a.shop_id = o.shop_id and a.listing_id = o.id
        left join skus c on c.shop_id = o.shop_id and c.code = o.channel_code
        left join lateral (
            select count(*) as skus, min(s.id) as sku_id, bool_or(s.id = c.id) as has_code,
                string_agg(s.code, ', ' order by s.code) as codes
            from skus s where s.shop_id = o.shop_id and s.gtin = o.gtin
        ) b on o.gtin is not null
        left join lateral (
            select count(distinct x.channel_ref) as refs from listings x
            where x.shop_id = o.shop_id and x.connection_id = o.connection_id and x.gtin = o.gtin
                and x.status <> 'deleted'
        ) t on b.skus > 0
        where o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.sku_id is null
            and (%(refs)b::text[] is null or o.channel_ref = any(%(refs)b::text[]))
    ), verdict as (
        select f.*, case
                when identifier_id is not null then answered_id
                when code_id is not null and (is_source or barcode_skus = 0 or barcode_agrees) then code_id
                when not %(by_barcode)s then null
                when code_id is not null and (barcode_skus > 1 or barcode_refs > 1) then code_id
                when code_id is null and barcode_skus = 1 and barcode_refs <= 1 then barcode_id
            end as sku_id,
            case
                when identifier_id is not null then %(not_ours)s
                when not %(by_barcode)s or barcode_skus = 0 then %(not_mapped)s
                when code_id is not null
                    then %(ambiguous)s || 'its code is ' || channel_code || '''s, its barcode ' || gtin || ' is '
                        || codes || '''s'
                when barcode_skus > 1 then %(ambiguous)s || 'its barcode ' || gtin || ' is on ' || codes
                else %(ambiguous)s || 'its barcode ' || gtin || ' is that of ' || codes || ', and '
                    || barcode_refs || ' listings have it'
            end as otherwise,
            case when code_id is null then 'same barcode ' || gtin else 'same code' end as reason
        from facts f
    ), mapped as (
        update listings l set sku_id = v.sku_id,
            publishing_reason = case when v.sku_id is null then v.otherwise when not l.is_tracked then %(not_tracked)s
                else %(not_taken)s end
        from verdict v where l.shop_id = %(shop)s and l.id = v.id
            and (v.sku_id is not null or (l.publishing_reason <> v.otherwise and %(by_barcode)s and l.is_tracked))
        returning l.channel_ref, l.sku_id, v.identifier_id, v.reason
    ), noted as (
        insert into sku_identifiers (shop_id, connection_id, kind, value, sku_id, source, mapped_by, reason, mapped_at)
        select %(shop)s, %(connection)s, 'variant', channel_ref, min(sku_id), 'automatic', %(by)s, min(reason), %(now)s
        from mapped where sku_id is not null and identifier_id is null group by channel_ref order by channel_ref
        on conflict (shop_id, connection_id, kind, value) where ended_at is null do nothing
    )
    select channel_ref from mapped where sku_id is not null
"""
