"""Reads: causes of failures, the failures of one, and recoveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one


def groups(conn: Connection, shop_id: int, limit: int = 100) -> Sequence[RowMapping]:
    """Causes with something open, those with most failures first (rows of the view `failure_groups`)."""
    return fetch(
        conn,
        "select * from failure_groups where shop_id = %(shop)s order by items desc, group_key limit %(limit)s",
        shop=shop_id,
        limit=limit,
    )


def group(conn: Connection, shop_id: int, group_key: str) -> RowMapping | None:
    """One cause; None when nothing of it is open."""
    return fetch_one(
        conn,
        "select * from failure_groups where shop_id = %(shop)s and group_key = %(key)s",
        shop=shop_id,
        key=group_key,
    )


def groups_of_messages(conn: Connection, connection_id: int | None, cause: str | None) -> Sequence[RowMapping]:
    """Causes of parked messages in every shop, or of one connection, or one cause: shop_id, group_key, connection_id,
    cause and how many are open."""
    return fetch(
        conn,
        """
        select shop_id, group_key, connection_id, error_class as cause, items from failure_groups
        where source = 'message' and (%(connection)s::int8 is null or connection_id = %(connection)s)
            and (%(cause)s::text is null or error_class = %(cause)s)
        order by shop_id, group_key
        """,
        connection=connection_id,
        cause=cause,
    )


def items(
    conn: Connection, shop_id: int, group_key: str, before: tuple[datetime, int] | None = None, limit: int = 25
) -> Sequence[RowMapping]:
    """Open failures of a cause, newest first (rows of the view `failure_items`), from behind (at, item_id)."""
    at, item_id = before or (None, None)
    return fetch(
        conn,
        """
        select * from failure_items where shop_id = %(shop)s and group_key = %(key)s and kept_state = 'open'
            and (%(at)s::timestamptz is null or (at, item_id) < (%(at)s, %(id)s))
        order by at desc, item_id desc limit %(limit)s
        """,
        shop=shop_id,
        key=group_key,
        at=at,
        id=item_id,
        limit=limit,
    )


def recoveries(conn: Connection, shop_id: int, limit: int = 20) -> Sequence[RowMapping]:
    """The latest recoveries, newest first (rows of the view `recovery_list`)."""
    return fetch(
        conn,
        "select * from recovery_list where shop_id = %(shop)s order by recovery_id desc limit %(limit)s",
        shop=shop_id,
        limit=limit,
    )
