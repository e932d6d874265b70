"""Reads: which targets there are, how they stand, and what is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.catalogue_target import Kind
from core.connections.queries import ConnectionRow, connection
from core.db import fetch, fetch_one, scalar
from core.targets import rules
from core.targets.contents import Target

TARGET_CLASS = "T"
"""The guarantee class of a connection that sells nothing."""

PAGE = 50


def target_of(row: ConnectionRow) -> Target:
    """A connection as a target."""
    settings = rules.settings_of(row.settings, row.currency, row.mark)
    return Target(row.shop_id, row.id, settings, float(row.settings.get("clock_factor") or 1))


def all_targets(conn: Connection) -> list[ConnectionRow]:
    """Every active target of every shop."""
    rows = fetch(
        conn,
        "select shop_id, id from connections where state = 'active' and guarantee_class = %(class)s order by 1, 2",
        **{"class": TARGET_CLASS},
    )
    return [connection(conn, row["shop_id"], row["id"]) for row in rows]


def targets_of(conn: Connection, shop_id: int) -> list[int]:
    """The active targets of a shop, by connection."""
    rows = fetch(
        conn,
        """
        select id from connections where shop_id = %(shop)s and state = 'active' and guarantee_class = %(class)s
        order by id
        """,
        shop=shop_id,
        **{"class": TARGET_CLASS},
    )
    return [row["id"] for row in rows]


def due(conn: Connection, target: Target, now: datetime, *, may_write: bool) -> int:
    """How much there is to do now: entries to send or read back, and open jobs."""
    return int(
        scalar(
            conn,
            """
            select (select count(*) from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                    and work is not null and (%(writes)s or work = 'check') and next_at <= %(now)s)
                + (select count(*) from target_jobs where shop_id = %(shop)s and connection_id = %(connection)s
                    and ended_at is null)
            """,
            shop=target.shop_id,
            connection=target.connection_id,
            writes=may_write,
            now=now,
        )
    )


def ready(conn: Connection, target: Target, now: datetime, *, may_write: bool) -> int:
    """How many entries are due to be sent or read back; a job that is under way is none of them."""
    return int(
        scalar(
            conn,
            """
            select count(*) from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and work is not null and (%(writes)s or work = 'check') and next_at <= %(now)s
            """,
            shop=target.shop_id,
            connection=target.connection_id,
            writes=may_write,
            now=now,
        )
    )


def known(conn: Connection, target: Target, kind: Kind) -> int:
    """How many of a kind the target has, as far as we know."""
    return int(
        scalar(
            conn,
            """
            select count(*) from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and kind = %(kind)s and is_known
            """,
            shop=target.shop_id,
            connection=target.connection_id,
            kind=kind,
        )
    )


def open_jobs(conn: Connection, target: Target) -> int:
    """Jobs that have not ended."""
    return int(
        scalar(
            conn,
            """
            select count(*) from target_jobs
            where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null
            """,
            shop=target.shop_id,
            connection=target.connection_id,
        )
    )


def next_poll_at(conn: Connection, target: Target) -> datetime | None:
    """When the next open job is due to be looked at; None without any."""
    return scalar(
        conn,
        """
        select min(next_poll_at) from target_jobs
        where shop_id = %(shop)s and connection_id = %(connection)s and ended_at is null
        """,
        shop=target.shop_id,
        connection=target.connection_id,
    )


def states(conn: Connection, shop_id: int, connection_id: int) -> Sequence[Any]:
    """(kind, state, entries) of a target, as the view target_entry_states has them."""
    return fetch(
        conn,
        """
        select kind, state, entries from target_entry_states
        where shop_id = %(shop)s and connection_id = %(connection)s order by kind, state
        """,
        shop=shop_id,
        connection=connection_id,
    )


def causes(conn: Connection, shop_id: int, connection_id: int) -> Sequence[Any]:
    """What a target does not take or cannot be told, by cause: how many, how many of them are held, and an example."""
    return fetch(
        conn,
        """
        select problem_code, problem_kind, count(*) as entries, count(*) filter (where is_held) as held,
            min(problem) as example
        from target_failures where shop_id = %(shop)s and connection_id = %(connection)s
        group by 1, 2 order by 3 desc, 1
        """,
        shop=shop_id,
        connection=connection_id,
    )


def failures(
    conn: Connection, shop_id: int, connection_id: int, code: str | None = None, after: int = 0, limit: int = PAGE
) -> Sequence[Any]:
    """A page of them, of one cause or of all; `after` is the last entry of the page before."""
    return fetch(
        conn,
        """
        select * from target_failures where shop_id = %(shop)s and connection_id = %(connection)s
            and (%(code)s::text is null or problem_code = %(code)s) and entry_id > %(after)s
        order by entry_id limit %(limit)s
        """,
        shop=shop_id,
        connection=connection_id,
        code=code,
        after=after,
        limit=limit,
    )


def last_full(conn: Connection, shop_id: int, connection_id: int) -> Any | None:
    """The last comparison of a target that ended well; None before the first."""
    return fetch_one(
        conn,
        """
        select id, ended_at, counts from sync_runs where shop_id = %(shop)s and connection_id = %(connection)s
            and kind = 'sync_target' and state = 'done' order by id desc limit 1
        """,
        shop=shop_id,
        connection=connection_id,
    )
