"""The marketplaces whose orders a connection reads: one seller's stock is sold in all of a region.

Setting `marketplaces`: {marketplace: since when it may have sold there, as ISO 8601, or null: as long as it is
connected}; absent until the channel was asked. Those that are connected for SKUs of their own (`own_skus`) are not
among another's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.connections.queries import ConnectionRow
from core.db import execute, fetch, scalar

KNOWN = "marketplaces"
READ_AT = "marketplaces_read_at"


def covered(settings: Mapping[str, Any]) -> frozenset[str]:
    """The marketplaces that a connection of these settings stands for: its own, and the further ones that are known."""
    own = settings.get("marketplace_id")
    return frozenset(settings.get(KNOWN) or ()) | ({str(own)} if own else set())


def is_known(settings: Mapping[str, Any]) -> bool:
    """Whether nobody need ask; always so of a channel without marketplaces."""
    return not settings.get("marketplace_id") or KNOWN in settings


def note(conn: Connection, row: ConnectionRow, found: Collection[str], read_at: datetime) -> ConnectionRow:
    """Remember where a seller takes part, as it said at `read_at`; returns the connection as it is now.

    One that joined may have sold since it was last seen not to take part. The shop is locked, as by whoever connects.
    """
    execute(conn, "select 1 from shops where shop_id = %(shop)s for no key update", shop=row.shop_id)
    settings = scalar(
        conn,
        "select settings from connections where shop_id = %(shop)s and id = %(id)s for no key update",
        shop=row.shop_id,
        id=row.id,
    )
    known = settings.get(KNOWN)
    since = settings.get(READ_AT) if known is not None else None
    own = str(settings["marketplace_id"])
    refs = {own} if settings.get("own_skus") else {own, *found} - _apart(conn, row)
    said = {
        KNOWN: {ref: (known or {}).get(ref, since) for ref in sorted(refs)},
        READ_AT: read_at.isoformat(),
    }
    _write(conn, row.shop_id, row.id, said)
    return replace(row, settings={**settings, **said})


def part(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Take a marketplace that is connected for its own SKUs out of what the seller's others read.

    For whoever holds the shop's lock.
    """
    execute(
        conn,
        """
        update connections c
        set settings = jsonb_set(c.settings, '{marketplaces}',
            (c.settings -> 'marketplaces') - (n.settings ->> 'marketplace_id'))
        from connections n
        where n.shop_id = %(shop)s and n.id = %(id)s and c.shop_id = n.shop_id and c.id <> n.id
            and c.vendor = n.vendor and lower(c.account_ref) = lower(n.account_ref)
            and (n.settings ->> 'own_skus')::boolean
            and c.settings -> 'marketplaces' ? (n.settings ->> 'marketplace_id')
        """,
        shop=shop_id,
        id=connection_id,
    )


def _apart(conn: Connection, row: ConnectionRow) -> set[str]:
    rows = fetch(
        conn,
        """
        select settings ->> 'marketplace_id' as ref from connections
        where shop_id = %(shop)s and vendor = %(vendor)s and lower(account_ref) = lower(%(account)s)
            and id <> %(id)s and (settings ->> 'own_skus')::boolean and settings ? 'marketplace_id'
        """,
        shop=row.shop_id,
        vendor=row.vendor,
        account=row.account_ref,
        id=row.id,
    )
    return {each["ref"] for each in rows}


def _write(conn: Connection, shop_id: int, connection_id: int, said: Mapping[str, Any]) -> None:
    execute(
        conn,
        "update connections set settings = settings || %(said)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=connection_id,
        said=Jsonb(dict(said)),
    )
