"""Writes: what a person is scanning and has not booked yet. It moves nothing, so it is nobody's act and not audited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.db import execute, fetch_one

Lines = Sequence[dict[str, Any]]
"""As the screen keeps them; JSON."""


def keep(conn: Connection, shop_id: int, person: str, act: str, business_key: str, lines: Lines, now: datetime) -> None:
    """Keep a draft in place of the one before."""
    execute(
        conn,
        """
        insert into desk_drafts (shop_id, person, act, business_key, lines, updated_at)
        values (%(shop)s, %(person)s, %(act)s, %(key)s, %(lines)s, %(now)s)
        on conflict (shop_id, person, act) do update set business_key = excluded.business_key,
            lines = excluded.lines, updated_at = excluded.updated_at
        """,
        shop=shop_id,
        person=person,
        act=act,
        key=business_key,
        lines=Jsonb(list(lines)),
        now=now,
    )


def kept(conn: Connection, shop_id: int, person: str, act: str) -> tuple[str, Lines] | None:
    """(business key, lines) of a person's draft for an act, or None."""
    row = fetch_one(
        conn,
        """
        select business_key, lines from desk_drafts
        where shop_id = %(shop)s and person = %(person)s and act = %(act)s
        """,
        shop=shop_id,
        person=person,
        act=act,
    )
    return None if row is None else (row["business_key"], row["lines"])


def drop(conn: Connection, shop_id: int, person: str, act: str, business_key: str) -> None:
    """Forget a draft that was booked or cleared, unless another was begun since."""
    execute(
        conn,
        """
        delete from desk_drafts
        where shop_id = %(shop)s and person = %(person)s and act = %(act)s and business_key = %(key)s
        """,
        shop=shop_id,
        person=person,
        act=act,
        key=business_key,
    )
