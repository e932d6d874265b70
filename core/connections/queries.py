"""Reads: shops and connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one
from core.errors import Permanent


class UnknownConnection(Permanent):
    """No connection of that id in that shop."""

    def __init__(self, shop_id: int, connection_id: int) -> None:
        super().__init__(f"shop {shop_id} has no connection {connection_id}")


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connection with what its shop says about it."""

    shop_id: int
    id: int
    vendor: str
    name: str
    base_url: str
    account_ref: str
    settings: Mapping[str, Any]
    guarantee_class: str
    state: str
    write_mode: str
    currency: str
    time_zone: str
    orders_polled_to: datetime | None
    orders_asked_at: datetime | None
    orders_resume: str | None
    open_orders_resume: str | None
    catalogue_read_at: datetime | None
    open_orders_read_at: datetime | None
    created_at: datetime
    mark: str
    """The shop's: part of every id that we give at others."""


_COLUMNS = """
    c.shop_id, c.id, c.vendor, c.name, c.base_url, c.account_ref, c.settings, c.guarantee_class, c.state,
    c.write_mode,
    s.currency, s.time_zone, c.orders_polled_to, c.orders_asked_at, c.orders_resume,
    c.open_orders_resume, c.catalogue_read_at, c.open_orders_read_at, c.created_at, s.mark
"""


def connection(conn: Connection, shop_id: int, connection_id: int) -> ConnectionRow:
    """One connection. Raises UnknownConnection."""
    row = fetch_one(
        conn,
        f"select {_COLUMNS} from connections c join shops s using (shop_id)"
        " where c.shop_id = %(shop)s and c.id = %(id)s",
        shop=shop_id,
        id=connection_id,
    )
    if row is None:
        raise UnknownConnection(shop_id, connection_id)
    return ConnectionRow(**row)


def all_connections(conn: Connection) -> list[ConnectionRow]:
    """Every active channel of every shop, for sweeps and polls; what only is told the catalogue sells nothing."""
    rows = fetch(
        conn,
        f"select {_COLUMNS} from connections c join shops s using (shop_id)"
        " where c.state = 'active' and c.guarantee_class <> 'T' order by c.shop_id, c.id",
    )
    return [ConnectionRow(**row) for row in rows]


def connections_of(conn: Connection, shop_id: int) -> list[ConnectionRow]:
    """Every connection of one shop, paused ones included."""
    rows = fetch(
        conn,
        f"select {_COLUMNS} from connections c join shops s using (shop_id) where c.shop_id = %(shop)s order by c.id",
        shop=shop_id,
    )
    return [ConnectionRow(**row) for row in rows]


def shops(conn: Connection) -> Sequence[RowMapping]:
    """Every shop, by name."""
    return fetch(conn, "select shop_id, name, time_zone, currency from shops order by name")
