"""Reads of the rows behind a problem: the newest few, not cached, made when somebody asks."""

from __future__ import annotations

from typing import Any

from dashboard.queries import rows

LIMIT = 20


def unmapped(shop_id: int, connection_id: int, currency: str) -> list[dict[str, Any]]:
    """The newest order lines without a SKU."""
    return rows(
        f"""
        select order_line_id, order_name, placed_at, code, title, units, total_minor, mapping_reason
        from unmapped_line_list
        where shop_id = %(shop)s and connection_id = %(connection)s and currency = %(currency)s
        order by order_line_id desc limit {LIMIT}
        """,
        shop=shop_id,
        connection=connection_id,
        currency=currency,
    )


def unpublished(shop_id: int, connection_id: int, reason: str) -> list[dict[str, Any]]:
    """Live listings that are not published for one reason."""
    return rows(
        f"""
        select listing_id, channel_ref, channel_code, title, sku_code, published_units from unpublished_listing_list
        where shop_id = %(shop)s and connection_id = %(connection)s and publishing_reason = %(reason)s
        order by channel_code, listing_id limit {LIMIT}
        """,
        shop=shop_id,
        connection=connection_id,
        reason=reason,
    )


def unconfirmed(shop_id: int, connection_id: int, state: str) -> list[dict[str, Any]]:
    """The newest packages that a channel does not know, for one reason."""
    return rows(
        f"""
        select order_id, order_name, package_ref, carrier, tracking_number, shipped_at, last_code, last_detail
        from shipment_list
        where shop_id = %(shop)s and connection_id = %(connection)s and not is_known and state = %(state)s
        order by confirmation_id desc limit {LIMIT}
        """,
        shop=shop_id,
        connection=connection_id,
        state=state,
    )
