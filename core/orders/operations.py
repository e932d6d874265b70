"""Writes: accept channel orders, shipments and refunds, each booked once, in sets.

Every function takes facts of one connection and works inside the caller's unit of work. Orders are locked first, by
id; levels and listings follow in the one global order (see core.inventory.operations).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.catalog.queries import identities
from core.commissions import returns as commissions
from core.db import execute, fetch
from core.inventory import operations as inventory
from core.inventory.queries import parts_of
from core.money import line_total_minor
from core.orders import rules
from core.orders.rules import LinesTold
from core.ports import ChannelLine, ChannelOrder


@dataclass(frozen=True, slots=True)
class Channel:
    """The connection whose facts are booked. `location_id` serves lines whose listing names no location."""

    shop_id: int
    connection_id: int
    location_id: int | None


@dataclass(frozen=True, slots=True)
class OrderKey:
    """An order we know, with the little that booking needs of it."""

    id: int
    is_new: bool
    edited: tuple[tuple[int, int], ...] = ()
    """(listing, units) that an edit took off its lines: the channel has them back. Negative: it added them."""


def accept(
    conn: Connection,
    channel: Channel,
    orders: Mapping[str, ChannelOrder],
    now: datetime,
    told: Mapping[str, Sequence[LinesTold]] | None = None,
) -> dict[str, OrderKey]:
    """Insert or update orders and their lines; returns our key of each ref. The orders are locked by id.

    An older observation never overwrites a newer one. `told`: what each version of them told of their lines, oldest
    first, where `orders` were merged from several.
    """
    refs = sorted(orders)
    told = rules.lines_told(orders.values()) if told is None else told
    clear = rules.newest_clear(told)
    told_at = {ref: clear[ref].version_at if ref in clear else None for ref in refs}
    new = _insert_orders(conn, channel, [orders[ref] for ref in refs], told_at, now)
    found = lock(conn, channel, refs)
    known = [ref for ref in refs if ref not in new]
    added = _insert_lines(conn, channel, [(found[ref], orders[ref]) for ref in refs], [found[ref] for ref in known])
    # What came in with a line is kept before the line and its order's version change.
    retold = [ref for ref in refs if ref not in new or len(told[ref]) > 1]
    _keep_opening_units(conn, channel, [(found[ref], told[ref]) for ref in retold], [row["id"] for row in added])
    _update_newer(conn, channel, [orders[ref] for ref in known], found, told_at)
    changed = _update_line_units(conn, channel, [(found[ref], clear[ref]) for ref in known if ref in clear])
    edited: dict[int, list[tuple[int, int]]] = {}
    for row in (*added, *changed):
        if row["mapping"] == "stocked" and row["listing_id"] is not None and row["back"]:
            edited.setdefault(row["order_id"], []).append((row["listing_id"], row["back"]))
    return {ref: OrderKey(found[ref], ref in new, tuple(edited.get(found[ref], ()))) for ref in refs}


def lock(conn: Connection, channel: Channel, refs: Iterable[str]) -> dict[str, int]:
    """Ids of the orders we know among `refs`, locked in order of id."""
    rows = fetch(
        conn,
        """
        select id, channel_ref from orders
        where shop_id = %(shop)s and connection_id = %(connection)s and channel_ref = any(%(refs)b::text[])
        order by id for update
        """,
        shop=channel.shop_id,
        connection=channel.connection_id,
        refs=sorted(set(refs)),
    )
    return {row["channel_ref"]: row["id"] for row in rows}


def _insert_orders(
    conn: Connection,
    channel: Channel,
    orders: Sequence[ChannelOrder],
    told_at: Mapping[str, datetime | None],
    now: datetime,
) -> frozenset[str]:
    rows = fetch(
        conn,
        """
        insert into orders (shop_id, connection_id, channel_ref, name, source_ref, placed_at, channel_created_at,
            version_at, cancelled_at, cancel_reason, financial_status, currency, total_minor, customer_ref,
            country_code, channel_status, tax_minor, shipping_minor, taxes_included, codes, open_at, is_test,
            ships_from_channel, is_cancel_dated, lines_version_at, recorded_at)
        select %(shop)s, %(connection)s, ref, name, source, placed, created, version_at, cancelled, reason, status,
            currency, total, customer, country, channel_status, tax, shipping, taxes_included,
            string_to_array(codes, E'\\n'), open_at, is_test, from_channel, is_dated, told_at, %(now)s
        from unnest(%(refs)b::text[], %(names)b::text[], %(sources)b::text[], %(placed)b::timestamptz[],
            %(created)b::timestamptz[], %(versions)b::timestamptz[], %(cancelled)b::timestamptz[],
            %(reasons)b::text[], %(statuses)b::text[], %(currencies)b::text[], %(totals)b::int8[],
            %(customers)b::text[], %(countries)b::text[], %(channel_statuses)b::text[], %(taxes)b::int8[],
            %(shippings)b::int8[], %(taxes_included)b::bool[], %(codes)b::text[], %(opens)b::timestamptz[],
            %(tests)b::bool[], %(from_channel)b::bool[], %(dated)b::bool[], %(told)b::timestamptz[])
            as n (ref, name, source, placed, created, version_at, cancelled, reason, status, currency, total, customer,
                country, channel_status, tax, shipping, taxes_included, codes, open_at, is_test, from_channel,
                is_dated, told_at)
        on conflict (shop_id, connection_id, channel_ref) do nothing returning channel_ref
        """,
        shop=channel.shop_id,
        connection=channel.connection_id,
        now=now,
        placed=[order.placed_at for order in orders],
        created=[order.created_at for order in orders],
        tests=[order.is_test for order in orders],
        from_channel=[order.ships_from_channel for order in orders],
        dated=[order.is_cancel_dated for order in orders],
        opens=[order.open_at for order in orders],
        told=[told_at[order.ref] for order in orders],
        **_changing(orders),
    )
    return frozenset(row["channel_ref"] for row in rows)


def _changing(orders: Sequence[ChannelOrder]) -> dict[str, list[object]]:
    """Columns that a newer observation may change."""
    return {
        "refs": [order.ref for order in orders],
        "names": [order.name for order in orders],
        "versions": [order.version_at for order in orders],
        "cancelled": [order.cancelled_at for order in orders],
        "reasons": [order.cancel_reason for order in orders],
        "statuses": [order.financial_status for order in orders],
        "currencies": [order.currency for order in orders],
        "totals": [order.total_minor for order in orders],
        "sources": [order.source_ref for order in orders],
        "customers": [order.customer_ref for order in orders],
        "countries": [order.country_code for order in orders],
        "channel_statuses": [order.channel_status for order in orders],
        "taxes": [order.tax_minor for order in orders],
        "shippings": [order.shipping_minor for order in orders],
        "taxes_included": [order.taxes_included for order in orders],
        # An array of arrays would need all of them to be as long.
        "codes": ["\n".join(order.codes) for order in orders],
    }


def _update_newer(
    conn: Connection,
    channel: Channel,
    orders: Sequence[ChannelOrder],
    found: Mapping[str, int],
    told_at: Mapping[str, datetime | None],
) -> None:
    if not orders:
        return
    execute(
        conn,
        """
        update orders o set version_at = n.version_at, name = n.name, financial_status = n.status,
            total_minor = n.total, channel_status = coalesce(n.channel_status, o.channel_status),
            -- One that waits for its payment tells no money, and so no currency.
            currency = case when n.total <> 0 then n.currency else o.currency end,
            cancelled_at = case when o.is_cancel_dated then coalesce(n.cancelled_at, o.cancelled_at)
                else least(n.cancelled_at, o.cancelled_at) end,
            cancel_reason = coalesce(n.reason, o.cancel_reason), source_ref = coalesce(n.source, o.source_ref),
            customer_ref = coalesce(n.customer, o.customer_ref), country_code = coalesce(n.country, o.country_code),
            tax_minor = coalesce(n.tax, o.tax_minor), shipping_minor = coalesce(n.shipping, o.shipping_minor),
            taxes_included = coalesce(n.taxes_included, o.taxes_included),
            codes = case when n.codes <> '' then string_to_array(n.codes, E'\\n') else o.codes end,
            lines_version_at = greatest(o.lines_version_at, n.told_at)
        from unnest(%(ids)b::int8[], %(names)b::text[], %(versions)b::timestamptz[], %(cancelled)b::timestamptz[],
            %(reasons)b::text[], %(statuses)b::text[], %(totals)b::int8[], %(sources)b::text[],
            %(customers)b::text[], %(countries)b::text[], %(channel_statuses)b::text[], %(currencies)b::text[],
            %(taxes)b::int8[], %(shippings)b::int8[], %(taxes_included)b::bool[], %(codes)b::text[],
            %(told)b::timestamptz[])
            as n (id, name, version_at, cancelled_at, reason, status, total, source, customer, country,
                channel_status, currency, tax, shipping, taxes_included, codes, told_at)
        where o.shop_id = %(shop)s and o.id = n.id and n.version_at > o.version_at
        """,
        shop=channel.shop_id,
        ids=[found[order.ref] for order in orders],
        told=[told_at[order.ref] for order in orders],
        **{name: values for name, values in _changing(orders).items() if name != "refs"},
    )
    # A cancellation is never taken back, so even an observation that is not the newest may bring it.
    cancelled = [order for order in orders if order.cancelled_at is not None]
    if cancelled:
        execute(
            conn,
            """
            update orders o set cancelled_at = n.at,
                cancel_reason = case when o.cancelled_at is null then n.reason else o.cancel_reason end
            from unnest(%(ids)b::int8[], %(ats)b::timestamptz[], %(reasons)b::text[]) as n (id, at, reason)
            where o.shop_id = %(shop)s and o.id = n.id
                and (o.cancelled_at is null or not o.is_cancel_dated and n.at < o.cancelled_at)
            """,
            shop=channel.shop_id,
            ids=[found[order.ref] for order in cancelled],
            ats=[order.cancelled_at for order in cancelled],
            reasons=[order.cancel_reason for order in cancelled],
        )
    # So may any observation tell that it was open.
    still_open = [order for order in orders if order.open_at is not None]
    if still_open:
        execute(
            conn,
            """
            update orders o set open_at = n.at from unnest(%(ids)b::int8[], %(ats)b::timestamptz[]) as n (id, at)
            where o.shop_id = %(shop)s and o.id = n.id and (o.open_at is null or o.open_at < n.at)
            """,
            shop=channel.shop_id,
            ids=[found[order.ref] for order in still_open],
            ats=[order.open_at for order in still_open],
        )


def _insert_lines(
    conn: Connection, channel: Channel, orders: Sequence[tuple[int, ChannelOrder]], known_ids: Sequence[int]
) -> Sequence[RowMapping]:
    """Insert lines we do not have; a line seen again keeps what was booked of it. Returns what the known orders gained.

    The same few thousand articles stand behind all lines: what lines share with others travels once and is joined to
    them in the database.
    """
    known = identities(
        conn,
        channel.shop_id,
        channel.connection_id,
        ((line.variant_ref, line.code) for _, order in orders for line in order.lines),
    )
    articles: dict[tuple[str | None, str | None, str, Decimal, bool], int] = {}
    mappings: list[rules.Mapping] = []
    rows: list[tuple[int, str, int, int, int, int, int, int | None]] = []
    for order_id, order in orders:
        for ordinal, line in enumerate(_distinct_lines(order), start=1):
            key = (line.variant_ref, line.code, line.title, line.unit_price, order.ships_from_channel)
            article = articles.get(key)
            if article is None:
                article = articles[key] = len(articles) + 1
                mappings.append(rules.map_line(line, known, ships_from_channel=order.ships_from_channel))
            money = (line.discount_minor, line.total_minor, line.tax_minor)
            rows.append((order_id, line.ref, ordinal, article, line.units, *money))
    # No two rows are of the same line of an order, so that what may be missing is never compared.
    rows.sort()
    columns = list(zip(*rows, strict=True)) or [()] * 8
    names = ("orders", "refs", "ordinals", "articles", "units", "discounts", "totals", "taxes")
    return fetch(
        conn,
        """
        with added as (
        insert into order_lines (shop_id, order_id, channel_ref, ordinal, variant_ref, code, title, units, unit_price,
            discount_minor, total_minor, tax_minor, mapping, mapping_reason, listing_id, sku_id)
        select %(shop)s, n.order_id, n.ref, n.ordinal, a.variant, a.code, a.title, n.units, a.price, n.discount,
            n.total, n.tax, a.mapping, a.reason, a.listing, a.sku
        from unnest(%(orders)b::int8[], %(refs)b::text[], %(ordinals)b::int4[], %(articles)b::int4[],
            %(units)b::int8[], %(discounts)b::int8[], %(totals)b::int8[], %(taxes)b::int8[])
            as n (order_id, ref, ordinal, article, units, discount, total, tax)
        join unnest(%(variants)b::text[], %(codes)b::text[], %(titles)b::text[], %(prices)b::numeric[],
            %(mappings)b::text[], %(reasons)b::text[], %(listings)b::int8[], %(skus)b::int8[]) with ordinality
            as a (variant, code, title, price, mapping, reason, listing, sku, number) on a.number = n.article
        on conflict (shop_id, order_id, channel_ref) do nothing
        returning id, order_id, listing_id, -units as back, mapping
        )
        select * from added where order_id = any(%(known)b::int8[]) order by id
        """,
        shop=channel.shop_id,
        known=list(known_ids),
        **{name: list(column) for name, column in zip(names, columns, strict=True)},
        variants=[variant for variant, _, _, _, _ in articles],
        codes=[code for _, code, _, _, _ in articles],
        titles=[title for _, _, title, _, _ in articles],
        prices=[price for _, _, _, price, _ in articles],
        mappings=[mapping.kind for mapping in mappings],
        reasons=[mapping.reason for mapping in mappings],
        listings=[mapping.listing_id for mapping in mappings],
        skus=[mapping.sku_id for mapping in mappings],
    )


def _distinct_lines(order: ChannelOrder) -> list[ChannelLine]:
    return list({line.ref: line for line in order.lines}.values())


def _keep_opening_units(
    conn: Connection, channel: Channel, orders: Sequence[tuple[int, Sequence[LinesTold]]], added: Sequence[int]
) -> None:
    """Keep what lines of orders from before a take-over came to then: it came in with them and no edit moves it.

    That is what the newest version up to the take-over tells, else the oldest that is known. A line that was not there
    then, or that an order gained after we knew it (`added`), came to nothing.
    """
    if not orders:
        return
    versions = [(order_id, told.version_at) for order_id, versions in orders for told in versions]
    lines = [
        (order_id, told.version_at, ref, line.units if told.is_clear else None)
        for order_id, versions in orders
        for told in versions
        for ref, line in told.lines.items()
    ]
    execute(
        conn,
        """
        with line as materialized (
            select l.id, l.order_id, l.channel_ref, coalesce(l.opening_units, l.units) as units, b.opening_at,
                coalesce(l.opening_version_at, o.lines_version_at) as version_at, o.version_at as known_at,
                l.id = any(%(added)b::int8[]) as is_added
            from order_lines l
            join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            join listings p on p.shop_id = l.shop_id and p.id = l.listing_id
            join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
            -- As effects settle by it, where our number came from elsewhere too.
            cross join lateral (select coalesce(p.opening_at, least(p.baseline_at, c.open_orders_read_at))
                as opening_at) b
            where l.shop_id = %(shop)s and l.order_id = any(%(ids)b::int8[]) and o.channel_created_at < b.opening_at
        ), told as (
            select line.id, line.opening_at, case when t.ref is null then 0 else t.units end as units, v.at
            from line
            join unnest(%(version_orders)b::int8[], %(version_ats)b::timestamptz[]) as v (order_id, at)
                on v.order_id = line.order_id
            left join unnest(%(orders)b::int8[], %(ats)b::timestamptz[], %(refs)b::text[], %(units)b::int8[])
                as t (order_id, at, ref, units)
                on t.order_id = line.order_id and t.at = v.at and t.ref = line.channel_ref
            where t.ref is null or t.units is not null
            union all
            select id, opening_at, units, version_at from line where not is_added and version_at is not null
            union all
            select id, opening_at, 0, known_at from line where is_added
        ), kept as (
            select distinct on (id) id, units, at from told
            -- What changed the number last bears its second.
            order by id, date_trunc('second', at) <= opening_at desc,
                case when date_trunc('second', at) <= opening_at then at end desc, at, units
        )
        update order_lines l set opening_units = kept.units, opening_version_at = kept.at
        from kept where l.shop_id = %(shop)s and l.id = kept.id
            and (l.opening_units, l.opening_version_at) is distinct from (kept.units, kept.at)
        """,
        shop=channel.shop_id,
        ids=[order_id for order_id, _ in orders],
        added=list(added),
        version_orders=[order_id for order_id, _ in versions],
        version_ats=[at for _, at in versions],
        orders=[order_id for order_id, _, _, _ in lines],
        ats=[at for _, at, _, _ in lines],
        refs=[ref for _, _, ref, _ in lines],
        units=[units for _, _, _, units in lines],
    )


def _update_line_units(
    conn: Connection, channel: Channel, orders: Sequence[tuple[int, LinesTold]]
) -> Sequence[RowMapping]:
    """Take over edited quantities from observations that are the newest to tell the lines of their order.

    Returns what changed: order_id, listing_id, mapping, `back` (units that the channel has back; negative: added). What
    it does not put back is taken off the line all the same.
    """
    rows = [(order_id, line, told.version_at) for order_id, told in orders for line in told.lines.values()]
    if not rows:
        return []
    return fetch(
        conn,
        """
        with told as materialized (
            select n.*
            from unnest(%(orders)b::int8[], %(refs)b::text[], %(units)b::int8[], %(totals)b::int8[],
                %(discounts)b::int8[], %(taxes)b::int8[], %(prices)b::numeric[], %(withheld)b::bool[],
                %(versions)b::timestamptz[])
                as n (order_id, ref, units, total, discount, tax, price, is_withheld, version_at)
            join orders o on o.shop_id = %(shop)s and o.id = n.order_id
                and n.version_at >= coalesce(o.lines_version_at, '-infinity')
        ), edit as (
            select l.id, n.units, n.total, n.discount, coalesce(n.tax, l.tax_minor) as tax, n.price,
                l.units as units_before,
                case when n.is_withheld then greatest(0, l.units - n.units) else 0 end as withheld
            from told n
            join order_lines l on l.shop_id = %(shop)s and l.order_id = n.order_id and l.channel_ref = n.ref
            where (l.units, l.total_minor, l.discount_minor, l.tax_minor, l.unit_price)
                is distinct from (n.units, n.total, n.discount, coalesce(n.tax, l.tax_minor), n.price)
        ), noted as (
            -- What tells the lines need not be the newest of the order.
            update orders o set lines_version_at = n.version_at
            from (select distinct order_id, version_at from told) n
            where o.shop_id = %(shop)s and o.id = n.order_id and o.lines_version_at is distinct from n.version_at
        )
        update order_lines l set units = edit.units, total_minor = edit.total, discount_minor = edit.discount,
            tax_minor = edit.tax, unit_price = edit.price, withheld_units = l.withheld_units + edit.withheld
        from edit where l.shop_id = %(shop)s and l.id = edit.id
        returning l.order_id, l.listing_id, edit.units_before - l.units - edit.withheld as back, l.mapping
        """,
        shop=channel.shop_id,
        orders=[order_id for order_id, _, _ in rows],
        refs=[line.ref for _, line, _ in rows],
        units=[line.units for _, line, _ in rows],
        totals=[line.total_minor for _, line, _ in rows],
        discounts=[line.discount_minor for _, line, _ in rows],
        taxes=[line.tax_minor for _, line, _ in rows],
        prices=[line.unit_price for _, line, _ in rows],
        withheld=[line.puts_back is False for _, line, _ in rows],
        versions=[version_at for _, _, version_at in rows],
    )


def unknown_versions(
    conn: Connection, shop_id: int, connection_id: int, versions: Sequence[tuple[str, datetime]]
) -> set[tuple[str, datetime]]:
    """Which (order ref, channel's time of its facts) we have not booked, nor anything newer."""
    rows = fetch(
        conn,
        """
        select n.ref, n.at from unnest(%(refs)b::text[], %(ats)b::timestamptz[]) as n (ref, at)
        left join orders o on o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.channel_ref = n.ref
        where o.id is null or o.version_at < n.at
        """,
        shop=shop_id,
        connection=connection_id,
        refs=[ref for ref, _ in versions],
        ats=[at for _, at in versions],
    )
    return {(row["ref"], row["at"]) for row in rows}


def map_parked_lines(conn: Connection, channel: Channel) -> dict[int, int]:
    """Map order lines of the connection that were parked and can be mapped now; returns the (locked) order of each."""
    rows = fetch(
        conn,
        """
        select l.id, l.order_id, l.channel_ref, l.variant_ref, l.code, l.title, l.units, l.unit_price,
            l.discount_minor, l.total_minor, o.ships_from_channel
        from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.shop_id = %(shop)s and l.mapping = 'unmapped' and o.connection_id = %(connection)s
        order by l.order_id, l.id
        """,
        shop=channel.shop_id,
        connection=channel.connection_id,
    )
    if not rows:
        return {}
    known = identities(
        conn,
        channel.shop_id,
        channel.connection_id,
        ((row["variant_ref"], row["code"]) for row in rows),
    )
    mapped = [(row, rules.map_line(_line_of(row), known, ships_from_channel=row["ships_from_channel"])) for row in rows]
    mapped = [(row, mapping) for row, mapping in mapped if mapping.kind != "unmapped"]
    order_ids = {row["order_id"] for row, _ in mapped}
    fetch(
        conn,
        "select 1 from orders where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id for update",
        shop=channel.shop_id,
        ids=sorted(order_ids),
    )
    execute(
        conn,
        """
        update order_lines l set mapping = n.mapping, mapping_reason = null, listing_id = n.listing, sku_id = n.sku
        from unnest(%(ids)b::int8[], %(mappings)b::text[], %(listings)b::int8[], %(skus)b::int8[])
            as n (id, mapping, listing, sku)
        where l.shop_id = %(shop)s and l.id = n.id and l.mapping = 'unmapped'
        """,
        shop=channel.shop_id,
        ids=[row["id"] for row, _ in mapped],
        mappings=[mapping.kind for _, mapping in mapped],
        listings=[mapping.listing_id for _, mapping in mapped],
        skus=[mapping.sku_id for _, mapping in mapped],
    )
    return {row["id"]: row["order_id"] for row, _ in mapped}


def _line_of(row: RowMapping) -> ChannelLine:
    return ChannelLine(
        ref=row["channel_ref"],
        variant_ref=row["variant_ref"],
        code=row["code"],
        title=row["title"],
        units=row["units"],
        unit_price=row["unit_price"],
        discount_minor=row["discount_minor"],
        total_minor=row["total_minor"],
    )


@dataclass(frozen=True, slots=True)
class OrderlessReturn:
    """Goods or money given back that no order explains. `unit_price` in major units; `units` positive."""

    business_key: str
    code: str
    units: int
    unit_price: Decimal
    currency: str
    customer_ref: str | None
    returned_at: datetime
    country_code: str | None = None


def take_back(
    conn: Connection,
    shop_id: int,
    location_id: int,
    returns: Sequence[OrderlessReturn],
    actor: Actor,
    now: datetime,
) -> int:
    """Book returns without an order, each once by its business key: stock comes back, the money is its own.

    A SKU without stock moves nothing; its money counts. A bundle comes back as what it is made of now. Returns how many
    were new. Raises UnknownSku.
    """
    inventory.hold_compositions(conn, shop_id)
    known = inventory.skus_by_code(conn, shop_id, {item.code for item in returns})
    ordered = sorted(returns, key=lambda item: item.business_key)
    new = {
        row["business_key"]
        for row in fetch(
            conn,
            """
            insert into customer_returns (shop_id, business_key, sku_id, location_id, units, unit_price, total_minor,
                currency, customer_ref, disposition, returned_at, country_code, recorded_at)
            select %(shop)s, n.key, n.sku, %(location)s, n.units, n.price, n.total, n.currency, n.customer,
                n.disposition, n.at, n.country, %(now)s
            from unnest(%(keys)b::text[], %(skus)b::int8[], %(units)b::int8[], %(prices)b::numeric[],
                %(totals)b::int8[], %(currencies)b::text[], %(customers)b::text[], %(dispositions)b::text[],
                %(ats)b::timestamptz[], %(countries)b::text[])
                as n (key, sku, units, price, total, currency, customer, disposition, at, country)
            on conflict (shop_id, business_key) do nothing returning business_key
            """,
            shop=shop_id,
            location=location_id,
            now=now,
            keys=[item.business_key for item in ordered],
            skus=[known[item.code][0] for item in ordered],
            units=[item.units for item in ordered],
            prices=[item.unit_price for item in ordered],
            totals=[line_total_minor(item.units, item.unit_price, item.currency) for item in ordered],
            currencies=[item.currency for item in ordered],
            customers=[item.customer_ref for item in ordered],
            dispositions=["restock" if known[item.code][1] else "none" for item in ordered],
            ats=[item.returned_at for item in ordered],
            countries=[item.country_code for item in ordered],
        )
    }
    back = [item for item in ordered if item.business_key in new and known[item.code][1] and item.units]
    parts = parts_of(conn, shop_id, {known[item.code][0] for item in back})
    movements = [
        inventory.Movement(
            sku_id=part,
            location_id=location_id,
            delta_units=item.units * each,
            reason="customer_return",
            business_key=f"return{'' if part == known[item.code][0] else f'.{part}'}:{item.business_key}",
            occurred_at=item.returned_at,
        )
        for item in back
        for part, each in parts[known[item.code][0]]
    ]
    inventory.lock_levels(conn, shop_id, ((movement.sku_id, movement.location_id) for movement in movements))
    inventory.move(conn, shop_id, movements, actor.name, now)
    inventory.refresh_desired(conn, shop_id, {movement.sku_id for movement in movements})
    # After stock, as where orders are booked: two that write down the same terms wait for each other.
    commissions.settle_returns(conn, shop_id, new, now)
    if new:
        audit.record(
            conn, shop_id, actor, "take_back", f"location:{location_id}", now, returns=len(new), moved=len(movements)
        )
    return len(new)
