"""The outbox: words that leave once, after the commit that gave rise to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from core.db import execute, fetch_one, unit_of_work
from core.errors import Permanent, Retryable
from core.logs import mask

MAX_ATTEMPTS = 12
"""With the pauses below, about two days; then the row is dead and shown."""

Sender = Callable[[str, dict[str, Any], str], None]
"""(kind, payload, dedupe key); raises Retryable or Permanent."""


def add(conn: Connection, shop_id: int, kind: str, dedupe_key: str, payload: dict[str, Any], now: datetime) -> bool:
    """Queue words in the caller's unit of work; False when the same were queued before."""
    return bool(
        fetch_one(
            conn,
            """
            insert into outbox_messages (shop_id, kind, dedupe_key, payload, next_attempt_at, created_at)
            values (%(shop)s, %(kind)s, %(key)s, %(payload)s, %(now)s, %(now)s)
            on conflict (shop_id, kind, dedupe_key) do nothing returning id
            """,
            shop=shop_id,
            kind=kind,
            key=dedupe_key,
            payload=Jsonb(payload),
            now=now,
        )
    )


def relay_one(engine: Engine, send: Sender, now: datetime) -> bool:
    """Send the most overdue message; returns whether there was one.

    The row stays locked while it is sent, so that two relays never say the same thing. A crash between sending and
    committing repeats it: the receiver is given the dedupe key for that.
    """
    with unit_of_work(engine) as conn:
        row = fetch_one(
            conn,
            """
            select shop_id, id, kind, dedupe_key, payload, attempts from outbox_messages
            where state = 'waiting' and next_attempt_at <= %(now)s
            order by next_attempt_at, id limit 1 for update skip locked
            """,
            now=now,
        )
        if row is None:
            return False
        try:
            send(row["kind"], row["payload"], row["dedupe_key"])
        except (Retryable, Permanent) as error:
            _note_failure(conn, row["shop_id"], row["id"], row["attempts"] + 1, error, now)
        else:
            execute(
                conn,
                """
                update outbox_messages set state = 'sent', settled_at = %(now)s, attempts = attempts + 1,
                    last_error = null where shop_id = %(shop)s and id = %(id)s
                """,
                shop=row["shop_id"],
                id=row["id"],
                now=now,
            )
        return True


def _note_failure(
    conn: Connection, shop_id: int, message_id: int, attempts: int, error: Exception, now: datetime
) -> None:
    is_dead = isinstance(error, Permanent) or attempts >= MAX_ATTEMPTS
    execute(
        conn,
        """
        update outbox_messages set state = %(state)s, attempts = %(attempts)s, last_error = %(error)s,
            next_attempt_at = %(next)s, settled_at = case when %(state)s = 'dead' then %(now)s::timestamptz end
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=message_id,
        state="dead" if is_dead else "waiting",
        attempts=attempts,
        error=mask(str(error)),
        next=now + timedelta(seconds=min(10 * 3**attempts, 6 * 3600)),
        now=now,
    )
