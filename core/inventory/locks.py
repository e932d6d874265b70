"""The lock on what a shop's bundles are made of."""

from __future__ import annotations

from sqlalchemy import Connection

from core.db import fetch


def hold_compositions(conn: Connection, shop_id: int) -> None:
    """Until this unit of work ends, what bundles are made of stays as it is; before it reads that or locks a level.

    Shared: bookings never wait for each other here. Whoever changes a composition waits for the bookings under way, and
    those that begin meanwhile wait for that (`bundles.set_components`): a level that somebody is changing cannot become
    a bundle's part, or a bundle's own, behind the back of either.
    """
    fetch(conn, f"select pg_advisory_xact_lock_shared({COMPOSITIONS})", shop=shop_id)


COMPOSITIONS = "hashtextextended('bundles:' || %(shop)s, 0)"
"""SQL for the key of the lock on what a shop's bundles are made of."""
