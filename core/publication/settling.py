"""What became of a write: known once the product was read again, by what the channel shows then."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.catalog.products import queries as products
from core.connections.queries import ConnectionRow
from core.db import execute
from core.publication import queries
from core.publication.rules import ToDo, key_of, names_learned, to_do, wanted

if TYPE_CHECKING:
    from core.publication.observing import Work

LATE = timedelta(minutes=2)
"""Of the vendor's time: so long a write without an answer may still arrive there. Nothing else is sent meanwhile."""


def late(row: ConnectionRow) -> timedelta:
    """The same in our time."""
    return LATE / float(row.settings.get("clock_factor") or 1)


def close(
    conn: Connection,
    shop_id: int,
    push_id: int,
    outcome: str,
    detail: str | None,
    now: datetime,
    problems: list[dict[str, Any]] | None = None,
) -> None:
    """Say once what came of a write."""
    execute(
        conn,
        """
        update product_pushes set outcome = %(outcome)s, outcome_at = %(now)s, detail = %(detail)s,
            problems = %(problems)s
        where shop_id = %(shop)s and id = %(id)s and outcome is null
        """,
        shop=shop_id,
        id=push_id,
        outcome=outcome,
        detail=detail and detail[:500],
        problems=None if problems is None else Jsonb(problems),
        now=now,
    )


def settle(conn: Connection, row: ConnectionRow, work: Work, now: datetime) -> None:
    """End the open write of a product that was just read, where what it shows, or the time, tells what came of it.

    reached: everything it was to bring about is so. Where the channel said that it was done and it is not so, somebody
    has changed it since, or the channel keeps it in a form of its own: that is counted, so that it is not set right for
    ever.
    """
    push, shown = work.push, work.shown
    if push is None or shown is None or not work.is_observed:
        return
    names = names_learned(push.wanted, shown, work.ground.names)
    ground = replace(work.ground, names=names)
    version = products.version(conn, row.shop_id, push.product_id, push.product_version)
    planned = to_do(push.wanted, push.before)
    is_reached = push.before is None
    if not is_reached and version is not None and version.document is not None:
        left = to_do(wanted(version.document, shown, ground, row.currency).product, shown)
        is_reached = not _places(planned) & _places(left)
    if is_reached or push.answered_at is not None:
        work.ground = ground
        detail = None if is_reached else "it was accepted, and the channel shows something else since"
        close(conn, row.shop_id, push.id, "confirmed", detail, now)
        key = key_of(planned)
        again = work.link.corrections + 1 if key == work.link.correction_key else 1
        work.link = replace(work.link, correction_key=key, corrections=again)
    elif now >= push.sent_at + late(row):
        close(conn, row.shop_id, push.id, "lost", "it never showed at the channel", now)
    else:
        return
    work.is_settled = True


def settle_unmade(conn: Connection, row: ConnectionRow, link_id: int, looked_at: datetime) -> None:
    """End the open write of a product that was to be made, and was not to be found when it was looked for.

    Until it can arrive no more the product is left alone: nothing is there to be read, and nothing else may be sent.
    """
    link = queries.link(conn, row, link_id, locks=True)
    push = queries.open_pushes(conn, row.shop_id, [link_id]).get(link_id)
    if link is None or link.channel_ref is not None or push is None or push.before is not None:
        return
    ends_at = push.sent_at + late(row)
    if looked_at >= ends_at:
        close(conn, row.shop_id, push.id, "lost", "it never showed at the channel", looked_at)
        return
    execute(
        conn,
        """
        update product_links set next_at = %(at)s, updated_at = %(now)s where shop_id = %(shop)s and id = %(id)s
        """,
        shop=row.shop_id,
        id=link_id,
        at=ends_at,
        now=looked_at,
    )


def _places(things: list[ToDo]) -> set[tuple[str, str]]:
    return {(one.code, one.field) for one in things}
