"""Writes to products at a channel: a row before the request leaves, its answer noted, its effect read back.

At most one of a product is open. What may have left is never sent again: the product is read, and what differs then is
planned afresh, from what it shows then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.catalog.products import queries as products
from core.catalog.products.documents import digest_of
from core.connections import switches
from core.connections.queries import ConnectionRow
from core.db import execute, scalar
from core.errors import Anticipated
from core.product_ports import ProductResult, ProductWrite
from core.publication import queries, settling
from core.publication import shown as forms
from core.publication.rules import to_do, wanted

BACKOFF_FIRST = timedelta(seconds=15)
BACKOFF_MAX = timedelta(hours=1)
AGAIN_SOON = timedelta(seconds=2)


class WritesHeld(Anticipated):
    """Nothing may be written to the connection now: a switch holds it, or the channel does not let us."""

    def __init__(self, row: ConnectionRow, why: str = "it is paused, stopped or in shadow mode") -> None:
        super().__init__(f"nothing is written to {row.name} now: {why}")


@dataclass(frozen=True, slots=True)
class Planned:
    """A write that is committed and may leave."""

    push_id: int
    link_id: int
    write: ProductWrite


def plan(conn: Connection, row: ConnectionRow, link_id: int, now: datetime) -> Planned | None:
    """Record the write that brings a product to what it should show, marked as sent; None where there is none to send.

    By what was seen, so the product is to be read just before: where it, or ours, is not as it was judged, it is to be
    judged again. Raises WritesHeld where a switch holds it.
    """
    # Before every row, as whoever sends.
    switches.pass_gate(conn, row.shop_id)
    if not switches.may_write(conn, row.shop_id, row.id):
        raise WritesHeld(row)
    link = queries.link(conn, row, link_id, locks=True)
    if link is None or link.state != "differs" or link.next_at > now or link.product_id is None:
        return None
    if queries.open_pushes(conn, row.shop_id, [link_id]):
        return None
    ours = products.stored(conn, row.shop_id, [link.product_id]).get(link.product_id)
    if ours is None or ours.version != link.judged_version:
        return None
    ground = replace(queries.ground(conn, row), names=link.names, may_drop=link.may_drop)
    want = wanted(ours.document, link.shown, ground, row.currency).product
    if not to_do(want, link.shown):
        return None
    push_id = scalar(
        conn,
        """
        insert into product_pushes (shop_id, connection_id, link_id, product_id, product_version, before, wanted,
            base_version_at, planned_at, sent_at)
        values (%(shop)s, %(connection)s, %(link)s, %(product)s, %(version)s, %(before)s, %(wanted)s, %(base)s, %(now)s,
            %(now)s)
        returning id
        """,
        shop=row.shop_id,
        connection=row.id,
        link=link_id,
        product=link.product_id,
        version=ours.version,
        before=None if link.shown is None else Jsonb(forms.to_json(link.shown)),
        wanted=Jsonb(forms.to_json(want)),
        base=None if link.shown is None else link.shown.version_at,
        now=now,
    )
    return Planned(push_id, link_id, ProductWrite(want, link.shown))


def note_result(conn: Connection, row: ConnectionRow, planned: Planned, result: ProductResult, now: datetime) -> None:
    """Note what the channel answered. What it took, or may have, stays open until the product was read again."""
    link = queries.link(conn, row, planned.link_id, locks=True)
    assert link is not None, "links of ours are never deleted"
    said = f"{result.code}: {result.detail}" if result.code else result.detail
    if result.outcome in ("confirmed", "unknown"):
        execute(
            conn,
            """
            update product_pushes set detail = %(detail)s,
                answered_at = case when %(done)s then %(now)s::timestamptz end
            where shop_id = %(shop)s and id = %(id)s and outcome is null
            """,
            shop=row.shop_id,
            id=planned.push_id,
            done=result.outcome == "confirmed",
            detail=said and said[:500],
            now=now,
        )
        if link.channel_ref is None and result.ref is not None:
            _update(conn, row, link.id, "channel_ref = %(ref)s", now, ref=result.ref)
        return
    problems = [asdict(problem) for problem in result.problems]
    settling.close(conn, row.shop_id, planned.push_id, result.outcome, said, now, problems)
    if result.outcome == "refused":
        sentence = "; ".join(f"{one.code} {one.field}: {one.sentence}".strip() for one in result.problems) or said
        refused = digest_of(forms.to_json(planned.write.after))
        _update(
            conn,
            row,
            link.id,
            "state = 'asks', cause = 'refused', problem = %(problem)s, refused_hash = %(hash)s,"
            " failures = failures + 1",
            now,
            problem=f"the channel does not accept it: {sentence}"[:500],
            hash=refused,
        )
    elif not result.holds_all:
        # Else it is no failure of this product's, and it goes on by itself as soon as we are let.
        wait = AGAIN_SOON if result.outcome == "partly" else backoff(link.failures)
        _update(
            conn,
            row,
            link.id,
            "problem = %(problem)s, failures = failures + 1, next_at = %(next)s",
            now,
            problem=said and said[:500],
            next=now + wait,
        )


def put_off(conn: Connection, row: ConnectionRow, link_id: int, now: datetime) -> None:
    """Leave a product alone for a while that is due and of which nothing can be sent now: others are due too."""
    execute(
        conn,
        """
        update product_links set next_at = %(next)s, updated_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and state = 'differs' and next_at <= %(now)s
        """,
        shop=row.shop_id,
        id=link_id,
        next=now + BACKOFF_FIRST,
        now=now,
    )


def backoff(failures: int) -> timedelta:
    """How long a product is left alone after so many failures in a row."""
    return min(BACKOFF_FIRST * 2 ** min(failures, 10), BACKOFF_MAX)


def _update(conn: Connection, row: ConnectionRow, link_id: int, what: str, now: datetime, **params: object) -> None:
    execute(
        conn,
        f"update product_links set {what}, updated_at = %(now)s where shop_id = %(shop)s and id = %(id)s",
        shop=row.shop_id,
        id=link_id,
        now=now,
        **params,
    )
