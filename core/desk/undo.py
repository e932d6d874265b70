"""Writes: taking a document back by another one with the opposite movements, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.db import execute
from core.desk import queries
from core.desk.booking import NewDocument, NewLine, Outcome, Pair, book, lock_document
from core.desk.operations import negated, tell_source
from core.errors import BadInput

_KINDS = ("receipt", "adjustment", "count", "transfer", "return", "purchase_order", "release")


def undo(conn: Connection, shop_id: int, document_id: int, actor: Actor, now: datetime) -> Outcome:
    """Take a document back whole: stock, what is incoming, and what came back of order lines are as without it.

    Undone before: says so and does nothing. Raises SoldMeanwhile when units that it brought are sold or promised by
    now, NotApart when they have left quarantine, NoDocument, BadInput when there is nothing to take back.
    """
    seen = queries.document(conn, shop_id, document_id)
    source = None
    # The source was written before what came of it, so this is the order of ids.
    if seen is not None and seen["against_id"] is not None:
        source = lock_document(conn, shop_id, seen["against_id"], ("purchase_order", "transfer"), "document")
    found = lock_document(conn, shop_id, document_id, _KINDS, "document")
    done_before = queries.booked_as(conn, shop_id, _key(document_id))
    if done_before is not None:
        return Outcome(
            done_before["id"],
            found["kind"],
            False,
            done_before["units"],
            done_before["skus"],
            by=done_before["created_by"],
            at=done_before["created_at"],
        )
    rows = queries.lines_of(conn, shop_id, document_id)
    refuse_what_cannot_be_undone(found, rows)
    lines = [_line(row) for row in rows if row["units"]]
    if not lines:
        raise BadInput(f"document {document_id} moved nothing: there is nothing to take back")
    new = NewDocument(
        found["kind"],
        found["location_id"],
        _key(document_id),
        reference=found["reference"],
        to_location_id=found["to_location_id"],
        against_id=found["against_id"],
        undoes_id=document_id,
        is_of_transfer=source is not None and source["kind"] == "transfer",
    )
    turned = negated(lines)
    guard = f"document {document_id} cannot be undone"
    if source is not None:
        return _undo_arrival(conn, shop_id, new, turned, source["id"], actor, now, guard)
    if found["kind"] == "transfer":
        return _undo_sending(conn, shop_id, new, turned, actor, now, guard)
    return book(conn, shop_id, new, turned, actor, now, guard=guard)


def refuse_what_cannot_be_undone(found: RowMapping, rows: Sequence[RowMapping]) -> None:
    """Raises BadInput, with what to do instead, for a document that another cannot take back."""
    number, kind = found["id"], found["kind"]
    if found["undoes_id"] is not None:
        raise BadInput(f"document {number} is an undo itself: book what is right instead")
    if kind == "purchase_order":
        raise BadInput(f"purchase order {number} moved nothing: close it if it is no longer expected")
    if kind == "transfer":
        if found["state"] in ("draft", "cancelled"):
            raise BadInput(f"transfer {number} has not left: there is nothing to take back")
        if any(row["received_units"] for row in rows):
            raise BadInput(f"of transfer {number} something has arrived: undo its receipts first")
        if any(row["dropped_units"] for row in rows):
            raise BadInput(f"transfer {number} is closed as lost: if it turned up, receive it without the transfer")
    if kind == "count" and found["state"] == "open":
        raise BadInput(f"count {number} is not finished: refuse or approve what is left of it first")


def _line(row: RowMapping) -> NewLine:
    return NewLine(
        row["sku_id"], row["units"], row["disposition"], row["order_line_id"], row["bundle_sku_id"], row["note"]
    )


def _key(document_id: int) -> str:
    return f"undo:{document_id}"


def _undo_arrival(
    conn: Connection,
    shop_id: int,
    new: NewDocument,
    turned: Sequence[NewLine],
    source_id: int,
    actor: Actor,
    now: datetime,
    guard: str,
) -> Outcome:
    """A receipt of a purchase order or transfer: what came is on its way again."""
    expected = queries.expected_of(conn, shop_id, source_id)
    came = Counter[int]()
    for line in turned:
        came[line.sku_id] += line.units

    def incoming(_document_id: int) -> Mapping[Pair, int]:
        return tell_source(conn, shop_id, source_id, new.location_id, expected, came, actor, now)

    awaited = [(line.sku_id, new.location_id) for line in expected]
    return book(conn, shop_id, new, turned, actor, now, guard=guard, incoming=incoming, awaited=awaited)


def _undo_sending(
    conn: Connection,
    shop_id: int,
    new: NewDocument,
    turned: Sequence[NewLine],
    actor: Actor,
    now: datetime,
    guard: str,
) -> Outcome:
    """A transfer that is on its way: it is back where it left, and no longer incoming where it went."""
    assert new.to_location_id is not None
    target = new.to_location_id

    def incoming(_document_id: int) -> Mapping[Pair, int]:
        execute(
            conn,
            """
            update stock_documents set state = 'cancelled', done_by = %(by)s, done_at = %(now)s
            where shop_id = %(shop)s and id = %(id)s
            """,
            shop=shop_id,
            id=new.undoes_id,
            by=actor.name,
            now=now,
        )
        return {(line.sku_id, target): line.units for line in turned}

    awaited = [(line.sku_id, target) for line in turned]
    return book(conn, shop_id, new, turned, actor, now, guard=guard, incoming=incoming, awaited=awaited)
