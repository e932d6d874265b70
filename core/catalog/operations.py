"""Writes: take in a channel's listings, and what it says they show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.catalog import matching
from core.catalog.matching import NOT_MAPPED, NOT_TAKEN_OVER, NOT_TRACKED
from core.db import execute, fetch
from core.ports import ChannelListing, LevelObservation

GONE = "the channel does not sell it from our stock: it ships it from its own warehouses"

BOOKED_LATELY = timedelta(minutes=2)
"""How long after a sale is booked a number from before it may still arrive, and is told by its second."""


@dataclass(frozen=True, slots=True)
class ListingSource:
    """The connection whose listings are taken in. `locations` maps the channel's places to ours.

    `is_whole`: its whole catalogue is known, so that what is on one listing only is known to be. Not while it is read.
    """

    shop_id: int
    connection_id: int
    creates_skus: bool
    locations: Mapping[str, int]
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    listing: ChannelListing
    location_ref: str


def take_in(conn: Connection, source: ListingSource, listings: Sequence[ChannelListing], now: datetime) -> list[str]:
    """Insert or update listings, and the SKUs behind them where the connection is a source of SKUs.

    An older observation never overwrites a newer one, and a mapping once made stays. What a code does not decide alone
    is left to `core.catalog.matching`; what nothing decides stays unmapped. A category is filled where there
    is none; that of a source of SKUs is followed, except where a person chose another. Returns the channel refs that
    were new, whose parked order lines can be booked now.
    """
    newest: dict[str, ChannelListing] = {}
    for listing in listings:
        seen = newest.get(listing.ref)
        if seen is None or seen.version_at <= listing.version_at:
            newest[listing.ref] = listing
    if source.creates_skus:
        _create_skus(conn, source, list(newest.values()), now)
    _set_categories(conn, source, list(newest.values()))
    told = list(newest.values())
    known = matching.known_of(conn, source.shop_id, source.connection_id, told, is_source=source.creates_skus)
    _lock_told_of(conn, source, told, known.sku_ids)
    rows = [row for ref in sorted(newest) for row in _rows_of(newest[ref], source)]
    new_refs, mapped, unmapped = _upsert(conn, source, rows, known.doubted)
    fresh = {ref: sku_id for ref, sku_id in mapped.items() if ref not in known.noted}
    if fresh:
        matching.note_matched(conn, source.shop_id, source.connection_id, fresh, now)
    if unmapped:
        matching.match(conn, source.shop_id, source.connection_id, now, refs=unmapped, by_barcode=source.is_whole)
    levels = [level for item in newest.values() for level in item.levels]
    levels += _close_gone(conn, source, [item for item in newest.values() if item.gone_places])
    observe_levels(conn, source.shop_id, source.connection_id, levels, now)
    return new_refs


def _rows_of(listing: ChannelListing, source: ListingSource) -> list[_Row]:
    """One row per place the channel keeps the listing at; without levels, the places we know."""
    places = [level.location_ref for level in listing.levels] or list(source.locations)[:1] or [""]
    return [_Row(listing, place) for place in dict.fromkeys(places)]


def _create_skus(conn: Connection, source: ListingSource, listings: Sequence[ChannelListing], now: datetime) -> None:
    fresh = {listing.code: listing for listing in listings if listing.code}
    codes = sorted(fresh)
    execute(
        conn,
        """
        insert into skus (shop_id, code, title, barcode, is_stocked, created_at, category)
        select %(shop)s, code, title, barcode, stocked, %(now)s, category
        from unnest(%(codes)b::text[], %(titles)b::text[], %(barcodes)b::text[], %(stocked)b::bool[],
            %(categories)b::text[]) as s (code, title, barcode, stocked, category)
        on conflict (shop_id, code) do nothing
        """,
        shop=source.shop_id,
        now=now,
        codes=codes,
        titles=[fresh[code].title for code in codes],
        barcodes=[fresh[code].barcode for code in codes],
        stocked=[fresh[code].is_tracked is not False for code in codes],
        categories=[fresh[code].category for code in codes],
    )


def _set_categories(conn: Connection, source: ListingSource, listings: Sequence[ChannelListing]) -> None:
    """Give SKUs the category that the channel says; before listings are locked, as everybody who changes SKUs does."""
    said = [listing for listing in listings if listing.category is not None]
    if not said:
        return
    execute(
        conn,
        """
        -- Worked out once: for a shop that the statistics do not know yet it would be joined in again for each SKU.
        with said as materialized (
            select distinct on (k.id) k.id, n.category
            from unnest(%(refs)b::text[], %(codes)b::text[], %(categories)b::text[], %(versions)b::timestamptz[])
                as n (ref, code, category, version_at)
            left join lateral (
                select sku_id, max(version_at) as version_at from listings
                where shop_id = %(shop)s and connection_id = %(connection)s and channel_ref = n.ref
                group by sku_id order by sku_id limit 1
            ) l on true
            join skus k on k.shop_id = %(shop)s
                and (k.id = l.sku_id or (l.sku_id is null and k.code = n.code))
            where l.version_at is null or l.version_at <= n.version_at
            order by k.id, n.version_at desc
        )
        update skus s set category = said.category from said
        where s.shop_id = %(shop)s and s.id = said.id and not s.is_category_kept
            and (s.category is null or (%(follows)s and s.category <> said.category))
        """,
        shop=source.shop_id,
        connection=source.connection_id,
        follows=source.creates_skus,
        refs=[listing.ref for listing in said],
        codes=[listing.code for listing in said],
        categories=[listing.category for listing in said],
        versions=[listing.version_at for listing in said],
    )


def _lock_told_of(
    conn: Connection, source: ListingSource, listings: Sequence[ChannelListing], sku_ids: Collection[int]
) -> None:
    """Lock, by id, what a channel tells of and all listings of the same SKUs: the upsert would lock in any order.

    `sku_ids`: SKUs that they may turn out to be, besides those of their codes.
    """
    fetch(
        conn,
        """
        select 1 from listings l
        where l.shop_id = %(shop)s and l.id = any(array(
            select id from listings
            where shop_id = %(shop)s and connection_id = %(connection)s and channel_ref = any(%(refs)b::text[])
            union all
            select id from listings where shop_id = %(shop)s and sku_id = any(array(
                select sku_id from listings
                where shop_id = %(shop)s and connection_id = %(connection)s and channel_ref = any(%(refs)b::text[])
                union all
                select id from skus where shop_id = %(shop)s and code = any(%(codes)b::text[])
                union all
                select unnest(%(skus)b::int8[])))))
        order by l.id for no key update
        """,
        shop=source.shop_id,
        connection=source.connection_id,
        refs=[listing.ref for listing in listings],
        codes=[listing.code for listing in listings if listing.code],
        skus=sorted(sku_ids),
    )


def _upsert(
    conn: Connection, source: ListingSource, rows: Sequence[_Row], doubted: Collection[str]
) -> tuple[list[str], dict[str, int], set[str]]:
    """Channel refs that are new, SKUs of those that their code may just have mapped, and those that are unmapped."""
    returned = fetch(
        conn,
        """
        insert into listings (shop_id, connection_id, channel_ref, channel_location_ref, inventory_ref, product_ref,
            barcode, label_ref, channel_code, title, sku_id, location_id, is_tracked, status, version_at, publishing,
            publishing_reason, status_reason)
        select %(shop)s, %(connection)s, n.ref, n.place, n.inventory_ref, n.product_ref, n.barcode, n.label_ref,
            n.code, n.title, s.id, n.location_id, coalesce(n.tracked, true), n.status, n.version_at, 'off',
            case when n.tracked is false then %(not_tracked)s when s.id is null then %(not_mapped)s
                else %(not_taken)s end, n.status_reason
        from unnest(%(refs)b::text[], %(places)b::text[], %(items)b::text[], %(products)b::text[], %(codes)b::text[],
                %(titles)b::text[], %(location_ids)b::int8[], %(tracked)b::bool[], %(statuses)b::text[],
                %(versions)b::timestamptz[], %(barcodes)b::text[], %(labels)b::text[], %(doubted)b::bool[],
                %(status_reasons)b::text[])
            as n (ref, place, inventory_ref, product_ref, code, title, location_id, tracked, status, version_at,
                barcode, label_ref, is_doubted, status_reason)
        left join skus s on s.shop_id = %(shop)s and s.code = n.code and not n.is_doubted
        on conflict (shop_id, connection_id, channel_ref, channel_location_ref) do update set
            inventory_ref = coalesce(excluded.inventory_ref, listings.inventory_ref),
            product_ref = coalesce(excluded.product_ref, listings.product_ref),
            barcode = coalesce(excluded.barcode, listings.barcode),
            label_ref = coalesce(excluded.label_ref, listings.label_ref),
            channel_code = excluded.channel_code,
            title = excluded.title,
            status = excluded.status,
            status_reason = excluded.status_reason,
            is_tracked = listings.is_tracked or listings.publishing_reason = %(gone)s,
            version_at = excluded.version_at,
            sku_id = coalesce(listings.sku_id, excluded.sku_id),
            location_id = coalesce(listings.location_id, excluded.location_id),
            publishing_reason = case when listings.publishing_reason = %(gone)s
                or (listings.sku_id is null and excluded.sku_id is not null)
                then excluded.publishing_reason else listings.publishing_reason end
        where excluded.version_at >= listings.version_at or listings.sku_id is null
        returning channel_ref, (xmax = 0) as is_new, sku_id,
            publishing = 'off' and baseline_at is null and sku_id is not null as may_be_mapped_now
        """,
        shop=source.shop_id,
        connection=source.connection_id,
        not_tracked=NOT_TRACKED,
        not_mapped=NOT_MAPPED,
        not_taken=NOT_TAKEN_OVER,
        gone=GONE,
        refs=[row.listing.ref for row in rows],
        places=[row.location_ref for row in rows],
        items=[row.listing.inventory_ref or row.listing.ref for row in rows],
        products=[row.listing.product_ref for row in rows],
        codes=[row.listing.code for row in rows],
        titles=[row.listing.title for row in rows],
        location_ids=[source.locations.get(row.location_ref) for row in rows],
        tracked=[row.listing.is_tracked for row in rows],
        statuses=[row.listing.status for row in rows],
        versions=[row.listing.version_at for row in rows],
        barcodes=[row.listing.barcode for row in rows],
        labels=[row.listing.label_ref for row in rows],
        status_reasons=[row.listing.status_reason for row in rows],
        doubted=[row.listing.ref in doubted for row in rows],
    )
    return (
        sorted({row["channel_ref"] for row in returned if row["is_new"]}),
        {row["channel_ref"]: row["sku_id"] for row in returned if row["may_be_mapped_now"]},
        {row["channel_ref"] for row in returned if row["sku_id"] is None},
    )


def _close_gone(conn: Connection, source: ListingSource, listings: Sequence[ChannelListing]) -> list[LevelObservation]:
    """Write nothing any more where a channel does not offer a (locked) listing; returns what it shows there: nothing.

    A number written there would offer it there again. It is taken up anew when the channel tells of that place.
    """
    places = [(item.ref, place, item.inventory_ref or item.ref) for item in listings for place in item.gone_places]
    if not places:
        return []
    found = fetch(
        conn,
        """
        update listings l set is_tracked = false, publishing = 'off', publishing_reason = %(gone)s
        from unnest(%(refs)b::text[], %(places)b::text[]) as n (ref, place)
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.channel_ref = n.ref
            and l.channel_location_ref = n.place
        returning l.channel_ref, l.channel_location_ref
        """,
        shop=source.shop_id,
        connection=source.connection_id,
        gone=GONE,
        refs=[ref for ref, _, _ in places],
        places=[place for _, place, _ in places],
    )
    known = {(row["channel_ref"], row["channel_location_ref"]) for row in found}
    seen_at = {item.ref: max([item.version_at, *(level.observed_at for level in item.levels)]) for item in listings}
    return [LevelObservation(item, place, 0, seen_at[ref]) for ref, place, item in places if (ref, place) in known]


def lock_places(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Until this unit of work ends, nobody else takes its listings in, or serves its places from elsewhere.

    For both of them, before any row: a listing that is new gets the location that serves its place.
    """
    fetch(
        conn,
        "select pg_advisory_xact_lock(hashtextextended('places:' || %(shop)s || ':' || %(connection)s, 0))",
        shop=shop_id,
        connection=connection_id,
    )


def lock_listings(
    conn: Connection,
    shop_id: int,
    *,
    sku_ids: Iterable[int] = (),
    order_ids: Iterable[int] = (),
    connection_id: int | None = None,
    places: Iterable[tuple[str, str]] = (),
) -> None:
    """Lock listings in the one global order, by id, before anything else of a unit of work touches a listing.

    All listings of `sku_ids` and of bundles that contain them, those that the lines of `order_ids` were sold through,
    and those of the connection at `places` (inventory ref, channel location ref). A unit of work that locked some, then
    others, could deadlock with one that settles writes.
    """
    pairs = sorted(set(places))
    fetch(
        conn,
        _LOCK,
        shop=shop_id,
        skus=sorted(set(sku_ids)),
        orders=sorted(set(order_ids)),
        connection=connection_id,
        items=[item for item, _ in pairs],
        refs=[place for _, place in pairs],
    )


# No key of a listing ever changes, so order lines that name it may be inserted meanwhile: they would deadlock with us.
# The ids are gathered first, once, as an array: however wrong the planner is about the size of a new table, it then has
# nothing to join badly (seen: fourteen seconds for 21 listings of a shop that had just been connected).
_LOCK = """
    select 1 from listings l
    where l.shop_id = %(shop)s and l.id = any(array(
        select id from listings where shop_id = %(shop)s and sku_id = any(%(skus)b::int8[])
        union all
        select n.id from bundle_parts b join listings n on n.shop_id = b.shop_id and n.sku_id = b.bundle_sku_id
        where b.shop_id = %(shop)s and b.part_sku_id = any(%(skus)b::int8[])
        union all
        select listing_id from order_lines where shop_id = %(shop)s and order_id = any(%(orders)b::int8[])
        union all
        select n.id from unnest(%(items)b::text[], %(refs)b::text[]) as p (item, place)
        join listings n on n.shop_id = %(shop)s and n.connection_id = %(connection)s and n.inventory_ref = p.item
            and n.channel_location_ref = p.place))
    order by l.id for no key update
"""


def lock_all_listings(conn: Connection, shop_id: int) -> None:
    """Lock every listing of the shop, by id; for the few moments that touch many of them."""
    fetch(conn, "select 1 from listings where shop_id = %(shop)s order by id for no key update", shop=shop_id)


def observe_levels(
    conn: Connection, shop_id: int, connection_id: int, observations: Sequence[LevelObservation], now: datetime
) -> list[int]:
    """Believe what the channel says it shows, the newest observation of each place; returns the SKUs concerned.

    An observation names its item by inventory ref, or by listing ref on channels that have no other. Older ones than
    what we know are passed over, and so are those of items that the channel does not count.

    What differs from what we knew is something the channel did by itself: most often a sale whose order has not been
    booked yet. It is kept as `unseen_units`, so that nobody writes a number over it (see core.inventory.publishing).
    A number higher than the channel can have come to by sales, by our open write and by those that it has overtaken was
    typed in by somebody: all of
    it is exposed besides what was (`exposure.is_edit`, `exposure.edited` as a set). The first number seen is the base.

    What a channel keeps itself (an external location) is what it says, and nothing else: nobody here sells or writes
    it, so nothing of it is unseen, exposed or edited (see core.inventory.external).

    Orders are stamped in whole seconds. A number no higher than what we know and the sales of that second together is
    from before them, however late it arrives, and is passed over too.
    """
    newest: dict[tuple[str, str], LevelObservation] = {}
    for seen in observations:
        key = (seen.inventory_ref, seen.location_ref)
        if seen.units is not None and (key not in newest or newest[key].observed_at <= seen.observed_at):
            newest[key] = seen
    ordered = [newest[key] for key in sorted(newest)]
    if not ordered:
        return []
    rows = fetch(
        conn,
        """
        with seen as (
            select l.id, o.units, o.at, apart.is_external, c.clock_margin,
                case when apart.is_external then 0
                    when l.published_units is null then greatest(0, o.units) - l.exposed_units
                    when o.units > greatest(l.published_units, case when w.from_units is not null
                        then l.published_units + w.to_units - w.from_units else w.to_units end, (
                        select max(late.to_units) from overtaken_writes(l.shop_id, l.id) late))
                    then greatest(0, o.units) else 0 end as exposed_more,
                l.published_units is not null as is_known
            from unnest(%(items)b::text[], %(places)b::text[], %(units)b::int4[], %(ats)b::timestamptz[])
                as o (item, place, units, at)
            join listings l on l.shop_id = %(shop)s and l.connection_id = %(connection)s
                and l.inventory_ref = o.item and l.channel_location_ref = o.place
            join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
            left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
            -- One that has no location yet is known by the name of its place.
            cross join lateral (select coalesce(p.kind = 'external', coalesce(c.settings -> 'external_places', '[]')
                ? o.place) as is_external) apart
            left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
                and w.sent_at is not null
            cross join lateral (
                select coalesce(sum(s.units), 0) as units from orders b
                join order_lines s on s.shop_id = b.shop_id and s.order_id = b.id and s.listing_id = l.id
                where o.units > l.published_units and l.followed_at > o.at - interval '1 second'
                    and b.shop_id = %(shop)s and b.recorded_at > %(now)s - %(lately)s::interval
                    and b.connection_id = %(connection)s and b.channel_created_at > o.at - interval '1 second'
                    and s.mapping = 'stocked'
            ) sold
            -- Older than what we know, or than a sale we took off since: the channel says more soon.
            where (l.published_at is null or l.published_at <= o.at)
                and (l.followed_at is null or l.followed_at <= o.at)
                and (l.published_units is null or o.units <= l.published_units
                    or o.units > l.published_units + sold.units)
            order by l.id for no key update of l
        ), believed as (
            update listings l set published_units = seen.units, published_at = seen.at,
                -- Read so shortly after what was booked that a restock among it may not have been in it.
                blurred_units = case when seen.at <= l.followed_at + seen.clock_margin
                    then greatest(0, l.published_units + l.blurred_units - seen.units) else 0 end,
                exposed_units = l.exposed_units + seen.exposed_more,
                edited_units = l.edited_units + case when seen.is_known then seen.exposed_more else 0 end,
                unseen_units = case when seen.is_external then 0
                    else l.unseen_units + seen.units - coalesce(l.published_units, seen.units) end,
                unseen_since = case when seen.is_external then null
                    when seen.units <> coalesce(l.published_units, seen.units) then %(now)s
                    else l.unseen_since end
            from seen where l.shop_id = %(shop)s and l.id = seen.id and l.sku_id is not null
                and (l.published_at is null or l.published_at <= seen.at)
                and (l.followed_at is null or l.followed_at <= seen.at)
            returning l.id, l.sku_id, seen.is_known, seen.exposed_more, l.exposed_units
        ), noted as (
            insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units,
                changed_at)
            select %(shop)s, id, case when is_known then 'edit' else 'base' end, exposed_more, exposed_more,
                exposed_units, %(now)s
            from believed where exposed_more <> 0 order by id
        )
        select sku_id from believed
        """,
        shop=shop_id,
        connection=connection_id,
        items=[seen.inventory_ref for seen in ordered],
        places=[seen.location_ref for seen in ordered],
        units=[seen.units for seen in ordered],
        ats=[seen.observed_at for seen in ordered],
        now=now,
        lately=BOOKED_LATELY,
    )
    return [row["sku_id"] for row in rows]


def match_all(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> list[str]:
    """Match what is unmapped of a connection whose whole catalogue is known; returns the refs that were mapped."""
    matching.lock_matches(conn, shop_id, connection_id)
    return matching.match(conn, shop_id, connection_id, now, by_barcode=True)


def begin_publishing(
    conn: Connection, shop_id: int, connection_id: int, listing_ids: Collection[int] | None = None
) -> int:
    """Switch on the quantity writes of listings that are mapped, tracked, placed and have stock of record.

    `listing_ids` None: of all of the connection.
    """
    return execute(
        conn,
        """
        update listings l set publishing = 'on', publishing_reason = 'its stock number is taken over'
        from skus s
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.publishing = 'off'
            and (%(ids)b::int8[] is null or l.id = any(%(ids)b::int8[]))
            and l.is_tracked and l.status <> 'deleted'
            and not exists (select from locations p where p.shop_id = l.shop_id and p.id = l.location_id
                and p.kind = 'external')
            and s.shop_id = l.shop_id and s.id = l.sku_id and s.is_stocked
            and (exists (select from stock_levels k
                    where k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = l.location_id
                        and not k.is_placeholder)
                or exists (select from bundle_parts b join stock_levels k on k.shop_id = b.shop_id
                        and k.sku_id = b.part_sku_id and k.location_id = l.location_id
                    where b.shop_id = l.shop_id and b.bundle_sku_id = l.sku_id and not k.is_placeholder))
        """,
        shop=shop_id,
        connection=connection_id,
        ids=None if listing_ids is None else sorted(listing_ids),
    )
