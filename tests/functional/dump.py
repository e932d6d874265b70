"""Everything a shop knows of its trade, by business key: two dumps are equal when nothing has happened in between.

Left out on purpose: our own ids, when we heard of things, attempts, and versions, none of which a shopper or an
accountant could notice. The channels' ids are part of it within one world; two worlds give the same order different
ids, so between them everything is named by what people call it.
"""

from __future__ import annotations

from typing import Any

import psycopg

_TABLES = {
    "orders": """
        select c.name, o.name, {order}, o.source_ref, o.placed_at, o.cancelled_at, o.cancel_reason,
            o.financial_status, o.currency, o.total_minor, {customer}, o.country_code, o.is_test
        from orders o join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        where o.shop_id = %(shop)s""",
    "order_lines": """
        select {order}, l.ordinal, {line}, {variant}, l.code, l.title, l.units, l.unit_price,
            l.discount_minor, l.total_minor, l.mapping, l.mapping_reason, {listing}, s.code
        from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        left join listings p on p.shop_id = l.shop_id and p.id = l.listing_id
        left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        where l.shop_id = %(shop)s""",
    "fulfilments": """
        select {order}, {fulfilment}, f.status, f.is_shipped, f.tracking_company, f.tracking_numbers,
            {line}, fl.units
        from fulfilments f join orders o on o.shop_id = f.shop_id and o.id = f.order_id
        left join fulfilment_lines fl on fl.shop_id = f.shop_id and fl.fulfilment_id = f.id
        left join order_lines l on l.shop_id = fl.shop_id and l.id = fl.order_line_id
        where f.shop_id = %(shop)s""",
    "refunds": """
        select {order}, {refund}, f.refunded_at, f.amount_minor, f.currency, rl.ordinal, {line},
            rl.units, rl.restock, rl.subtotal_minor
        from refunds f join orders o on o.shop_id = f.shop_id and o.id = f.order_id
        left join refund_lines rl on rl.shop_id = f.shop_id and rl.refund_id = f.id
        left join order_lines l on l.shop_id = rl.shop_id and l.id = rl.order_line_id
        where f.shop_id = %(shop)s""",
    "customer_returns": """
        select r.business_key, s.code, p.name, r.units, r.unit_price, r.total_minor, r.currency, r.customer_ref,
            r.disposition, r.returned_at
        from customer_returns r join skus s on s.shop_id = r.shop_id and s.id = r.sku_id
        left join locations p on p.shop_id = r.shop_id and p.id = r.location_id
        where r.shop_id = %(shop)s""",
    "reservations": """
        select {order}, {line}, s.code, p.name, r.units, r.held_units, r.consumed_units,
            r.returned_units, r.written_off_units, r.opening_units
        from reservations r join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        join skus s on s.shop_id = r.shop_id and s.id = r.sku_id
        join locations p on p.shop_id = r.shop_id and p.id = r.location_id
        where r.shop_id = %(shop)s""",
    # A line's movements are named after its id and booked when we hear of them: how much, why and of which line stays.
    "stock_movements": """
        select s.code, p.name, m.reason, m.delta_units, m.note, {order}, {line},
            case when m.order_line_id is null and m.reason <> 'receipt' then m.business_key end,
            case when m.order_line_id is null and {is_dated} then m.occurred_at end
        from stock_movements m join skus s on s.shop_id = m.shop_id and s.id = m.sku_id
        join locations p on p.shop_id = m.shop_id and p.id = m.location_id
        left join order_lines l on l.shop_id = m.shop_id and l.id = m.order_line_id
        left join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where m.shop_id = %(shop)s""",
    "stock_levels": """
        select s.code, p.name, k.on_hand, k.reserved, k.unavailable, k.incoming, k.available
        from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id
        join locations p on p.shop_id = k.shop_id and p.id = k.location_id
        where k.shop_id = %(shop)s""",
    "listings": """
        select c.name, {own_listing}, {place}, {item}, l.channel_code, l.title, s.code,
            l.is_tracked, l.status, l.publishing, l.publishing_reason, l.desired_units, l.published_units,
            l.unseen_units, l.push_problem
        from listings l join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
        left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        where l.shop_id = %(shop)s""",
}

_IDS = {
    "order": "o.channel_ref",
    "customer": "o.customer_ref",
    "line": "l.channel_ref",
    "variant": "l.variant_ref",
    "listing": "p.channel_ref",
    "fulfilment": "f.channel_ref",
    "refund": "f.channel_ref",
    "own_listing": "l.channel_ref",
    "place": "l.channel_location_ref",
    "item": "l.inventory_ref",
    "is_dated": "true",
}
_NAMES = {
    "order": "o.name",
    # A shop's customers have no name here: each is known by the first of its orders.
    "customer": "case when o.customer_ref is not null"
    " then min(o.name) over (partition by o.connection_id, o.customer_ref) end",
    "line": "o.name || '/' || l.ordinal",
    "variant": "null",
    "listing": "p.channel_code",
    "fulfilment": "null",
    "refund": "null",
    "own_listing": "l.channel_code",
    "place": "null",
    "item": "null",
    # Opening stock is dated when it was taken over.
    "is_dated": "m.reason <> 'receipt'",
}

Dump = dict[str, list[tuple[Any, ...]]]


def dump(database_url: str, shop: str, *, by_name: bool = False) -> Dump:
    """All rows of the shop's business tables, each table sorted; `by_name` makes two worlds comparable."""
    words = _NAMES if by_name else _IDS
    with psycopg.connect(database_url.replace("+psycopg", "", 1)) as conn:
        conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        found = conn.execute("select shop_id from shops where name = %s", [shop]).fetchone()
        assert found is not None
        return {
            table: sorted(conn.execute(sql.format(**words), {"shop": found[0]}).fetchall(), key=repr)
            for table, sql in _TABLES.items()
        }


def changes(before: Dump, after: Dump) -> list[str]:
    """The first rows that are not in both, said so that a person sees what happened."""
    found = []
    for table in before:
        gone, new = (_without(one[table], other[table]) for one, other in ((before, after), (after, before)))
        found += [f"{table} gone: {row}" for row in gone[:5]] + [f"{table} new: {row}" for row in new[:5]]
    return found


def _without(rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows that `others` has fewer of."""
    left: dict[str, int] = {}
    for row in others:
        left[repr(row)] = left.get(repr(row), 0) + 1
    missing = []
    for row in rows:
        left[repr(row)] = left.get(repr(row), 0) - 1
        if left[repr(row)] < 0:
            missing.append(row)
    return missing
