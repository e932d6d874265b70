"""Writes: say whose SKU an identifier is, set it aside, take that back, remap it. Each named, reasoned, audited.

Every act works in the caller's unit of work and begins it: advisory locks come before any row. After the commit ring
the `stock` lanes of all connections of the shop, and the `events` lanes of `Outcome.connection_ids`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from core import audit
from core.audit import Actor
from core.catalog import matching
from core.connections.queries import connection as connection_row
from core.db import execute, fetch, fetch_one
from core.errors import Anticipated, BadInput
from core.identity import assigning
from core.identity.concerned import named_listings
from core.identity.outcomes import Answer, Outcome
from core.identity.queries import sku_of
from core.identity.rules import Identifier
from core.orders import intake

SHOWN_IN_AUDIT = 100


class MappingChanged(Anticipated):
    """What was previewed is not what would happen any more."""

    def __init__(self) -> None:
        super().__init__(
            "nothing was changed: mappings, orders, listings or stock are others than when you looked. Look again"
        )


class NothingToRemap(Anticipated):
    """It is that SKU's already."""

    def __init__(self, one: Identifier, code: str) -> None:
        super().__init__(f"the {one.kind} {one.value} is {code}'s already: nothing to change")


class NotSetAside(Anticipated):
    """Nobody set it aside, so there is nothing to take up again."""

    def __init__(self, one: Identifier) -> None:
        super().__init__(f"the {one.kind} {one.value} is not set aside: nothing to take up again")


def map_identifier(conn: Connection, shop_id: int, one: Identifier, code: str, actor: Actor, now: datetime) -> Outcome:
    """Say that an identifier is the SKU of that code; what was parked for want of it is booked, what waits is released.

    Its listings get the channel rules that are for them. They are written to as the take-over rules allow: one whose
    number we have not read yet only after the connection's next sync (`Outcome.awaits_sync`). Twice is once.
    Raises AlreadyMapped where a listing has another SKU (see `remap_identifier`), BadInput for an unknown code.
    """
    sku = sku_of(conn, shop_id, code)
    _check_connection(conn, shop_id, one)
    done = assigning.assign(conn, shop_id, [Answer(one, sku["id"])], "person", actor, now, may_move=False)
    if done.answered:
        _record(conn, shop_id, actor, "map_identifier", one, done, now, code=code)
    return done


def ignore_identifier(conn: Connection, shop_id: int, one: Identifier, actor: Actor, now: datetime) -> Outcome:
    """Say that an identifier is not ours: it leaves the queue, its order lines take no stock. Undone by `reopen`.

    Raises NotToBeSetAside where a listing of it has a SKU, BadInput.
    """
    _check_connection(conn, shop_id, one)
    done = assigning.assign(conn, shop_id, [Answer(one, None)], "person", actor, now, may_move=False)
    if done.answered:
        _record(conn, shop_id, actor, "ignore_identifier", one, done, now)
    return done


def reopen_identifier(conn: Connection, shop_id: int, one: Identifier, actor: Actor, now: datetime) -> int:
    """Take back that an identifier is not ours: it is matched again, or is in the queue with its lines.

    Returns how many order lines wait again, or were booked. Raises NotSetAside.
    """
    assigning.own(conn, shop_id, [one.connection_id])
    living = fetch_one(
        conn,
        """
        select id from sku_identifiers where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
            and value = %(value)s and ended_at is null and sku_id is null
        """,
        shop=shop_id,
        connection=one.connection_id,
        kind=one.kind,
        value=one.value,
    )
    if living is None:
        raise NotSetAside(one)
    lines = _park_again(conn, shop_id, one)
    execute(
        conn,
        """
        update sku_identifiers set ended_at = %(now)s, ended_by = %(by)s, end_reason = %(reason)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=living["id"],
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    execute(
        conn,
        """
        update listings set publishing_reason = %(reason)s where shop_id = %(shop)s and connection_id = %(connection)s
            and sku_id is null and publishing_reason = %(was)s and id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        connection=one.connection_id,
        was=matching.NOT_OURS,
        reason=matching.NOT_MAPPED,
        ids=[row["id"] for row in named_listings(conn, shop_id, one.connection_id, [one])],
    )
    audit.record(conn, shop_id, actor, "reopen_identifier", _subject(one), now, value=one.value, lines=lines)
    return lines


def _park_again(conn: Connection, shop_id: int, one: Identifier) -> int:
    """Park the order lines that were set aside with an identifier; their orders are locked first."""
    listings = named_listings(conn, shop_id, one.connection_id, [one])
    rows = fetch(
        conn,
        """
        select l.id, l.order_id from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.shop_id = %(shop)s and l.mapping = 'unstocked' and l.sku_id is null
            and coalesce(l.variant_ref, l.code) is not null and o.connection_id = %(connection)s
            and (l.listing_id = any(%(listings)b::int8[]) or l.listing_id is null
                and case %(kind)s when 'variant' then l.variant_ref when 'seller_sku' then l.code end = %(value)s)
        order by l.order_id, l.id
        """,
        shop=shop_id,
        connection=one.connection_id,
        kind=one.kind,
        value=one.value,
        listings=[row["id"] for row in listings],
    )
    fetch(
        conn,
        "select 1 from orders where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id for update",
        shop=shop_id,
        ids=sorted({row["order_id"] for row in rows}),
    )
    return execute(
        conn,
        """
        update order_lines set mapping = 'unmapped', mapping_reason = 'its listing is not mapped to a SKU'
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and mapping = 'unstocked' and sku_id is null
        """,
        shop=shop_id,
        ids=[row["id"] for row in rows],
    )


def rematch(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> int:
    """Match what is unmapped of a connection anew, in a unit of work of its own; returns how many listings were mapped.

    For after `reopen_identifier`, or when SKUs got barcodes. What is booked by it: `intake.book_lines_mapped_late`.
    """
    return intake.match_listings(conn, connection_row(conn, shop_id, connection_id), now)


def preview_remap(engine: Engine, shop_id: int, one: Identifier, code: str, actor: Actor, now: datetime) -> Outcome:
    """What it would come to if an identifier were the SKU of that code; the act itself, taken back.

    The outcome's `token` goes into `remap_identifier`. Raises NothingToRemap, WriteStillOpen, BadInput.
    """
    with engine.connect() as conn, conn.begin() as transaction:
        try:
            return _remap(conn, shop_id, one, code, actor, now)
        finally:
            transaction.rollback()


def remap_identifier(
    conn: Connection, shop_id: int, one: Identifier, code: str, token: str, actor: Actor, now: datetime
) -> Outcome:
    """Make an identifier another SKU's: its listings and all that they expose, and its order lines as far as they go.

    `token` is that of the preview. Undone by remapping back. Raises MappingChanged where the facts are others than
    those that were shown, NothingToRemap, WriteStillOpen (with the writes and when they will be over), BadInput.
    """
    done = _remap(conn, shop_id, one, code, actor, now)
    if done.token() != token:
        raise MappingChanged
    _record(conn, shop_id, actor, "remap_identifier", one, done, now, code=code)
    return done


def _remap(conn: Connection, shop_id: int, one: Identifier, code: str, actor: Actor, now: datetime) -> Outcome:
    sku = sku_of(conn, shop_id, code)
    _check_connection(conn, shop_id, one)
    done = assigning.assign(conn, shop_id, [Answer(one, sku["id"])], "person", actor, now, may_move=True)
    if not done.answered:
        raise NothingToRemap(one, code)
    return done


def _check_connection(conn: Connection, shop_id: int, one: Identifier) -> None:
    found = fetch(
        conn,
        "select 1 from connections where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=one.connection_id,
    )
    if not found:
        raise BadInput(f"there is no connection {one.connection_id} in this shop")


def _subject(one: Identifier) -> str:
    return f"connection:{one.connection_id}"


def _record(
    conn: Connection, shop_id: int, actor: Actor, act: str, one: Identifier, done: Outcome, now: datetime, **more: Any
) -> None:
    audit.record(conn, shop_id, actor, act, _subject(one), now, kind=one.kind, value=one.value, **more, **details(done))


def details(done: Outcome) -> dict[str, Any]:
    """What an act came to, for the record."""
    return {
        "listings": [
            {"listing_id": seen.listing_id, "from": seen.from_code, "to": seen.to_code, "exposed": seen.exposed_units}
            for seen in done.listings[:SHOWN_IN_AUDIT]
        ],
        "lines_booked": done.lines_booked,
        "lines_set_aside": done.lines_set_aside,
        "lines_moved": [line.order_line_id for line in done.moving[:SHOWN_IN_AUDIT]],
        "lines_stayed": [{"line": line.order_line_id, "why": line.why} for line in done.staying[:SHOWN_IN_AUDIT]],
        "pools": [asdict(pool) for pool in done.pools[:SHOWN_IN_AUDIT]],
        "messages": done.released_messages,
    }
