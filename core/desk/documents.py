"""Writes: purchase orders and transfers, from their first line to their last unit.

A purchase order is expected at a location until it has come or is closed. A transfer is a draft until it is sent; then
it has left and is on its way until it has come, or is closed as lost. What comes is booked by `operations.receive`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute
from core.desk import queries, rules
from core.desk.booking import (
    Item,
    NewDocument,
    NewLine,
    Outcome,
    Touched,
    add_lines,
    as_lines,
    expect,
    key_of,
    lock_document,
    open_document,
    repeated,
    tell_channels,
)
from core.errors import BadInput
from core.inventory.operations import Movement, move


def order_goods(
    conn: Connection,
    shop_id: int,
    location_id: int,
    items: Sequence[Item],
    business_key: str,
    actor: Actor,
    now: datetime,
    *,
    expected_on: date | None = None,
    reference: str | None = None,
) -> Outcome:
    """Write down a purchase order: its units are incoming at the location from now on. Raises NotOurs, BadInput."""
    lines = as_lines(conn, shop_id, "purchase_order", items, merge=True)
    new = NewDocument("purchase_order", location_id, business_key, "open", reference=reference, expected_on=expected_on)
    document_id = open_document(conn, shop_id, new, actor, now)
    if document_id is None:
        return repeated(conn, shop_id, new)
    touched = Touched(conn, shop_id, ((line.sku_id, location_id) for line in lines))
    add_lines(conn, shop_id, document_id, lines)
    expect(conn, shop_id, {(line.sku_id, location_id): line.units for line in lines})
    return _said(conn, shop_id, document_id, "purchase_order", "order_goods", lines, touched, actor, now)


def draft_transfer(
    conn: Connection,
    shop_id: int,
    from_id: int,
    to_id: int,
    items: Sequence[Item],
    business_key: str,
    actor: Actor,
    now: datetime,
    *,
    reference: str | None = None,
) -> Outcome:
    """Write down what is to go from one location to another; nothing moves yet. Raises NotOurs, BadInput."""
    if from_id == to_id:
        raise BadInput("a transfer goes from one location to another: choose two different ones")
    lines = as_lines(conn, shop_id, "transfer", items, merge=True)
    new = NewDocument("transfer", from_id, business_key, "draft", reference=reference, to_location_id=to_id)
    document_id = open_document(conn, shop_id, new, actor, now)
    if document_id is None:
        return repeated(conn, shop_id, new)
    touched = Touched(conn, shop_id, ((line.sku_id, from_id) for line in lines))
    add_lines(conn, shop_id, document_id, lines)
    done = _said(conn, shop_id, document_id, "transfer", "draft_transfer", lines, touched, actor, now)
    asked = {line.sku_id: line.units for line in lines}
    notes = [
        f"{touched.codes[sku]}: {max(0, level.available):,} available, {asked[sku]:,} on the transfer."
        for (sku, _), level in touched.before.items()
        if level.available < asked[sku]
    ]
    return replace(done, notes=notes)


def send_transfer(conn: Connection, shop_id: int, document_id: int, actor: Actor, now: datetime) -> Outcome:
    """Have a transfer leave: off what is on hand where it was, incoming where it goes.

    Takes only what is neither sold nor promised. Sent before: says so and does nothing. Raises SoldMeanwhile, BadInput.
    """
    found = lock_document(conn, shop_id, document_id, ("transfer",), "transfer")
    lines = [
        NewLine(row["sku_id"], row["units"], note=row["note"]) for row in queries.lines_of(conn, shop_id, document_id)
    ]
    if found["state"] == "sent" or (found["state"] == "done" and not found["undoes_id"]):
        units = sum(line.units for line in lines)
        return Outcome(document_id, "transfer", False, units, len(lines), by=found["sent_by"], at=found["sent_at"])
    if found["state"] != "draft":
        raise BadInput(f"transfer {document_id} is cancelled: write a new one")
    source, target = found["location_id"], found["to_location_id"]
    touched = Touched(conn, shop_id, [(line.sku_id, place) for line in lines for place in (source, target)])
    movements = [
        Movement(line.sku_id, source, -line.units, "relocation", key_of(document_id, ordinal), now, note=line.note)
        for ordinal, line in enumerate(lines, start=1)
    ]
    move(conn, shop_id, movements, actor.name, now)
    expect(conn, shop_id, {(line.sku_id, target): line.units for line in lines})
    execute(
        conn,
        """
        update stock_documents set state = 'sent', sent_by = %(by)s, sent_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=document_id,
        by=actor.name,
        now=now,
    )
    touched.refuse_shortage(touched.changes(), f"transfer {document_id} cannot leave")
    return _said(conn, shop_id, document_id, "transfer", "send_transfer", lines, touched, actor, now)


def cancel_transfer(conn: Connection, shop_id: int, document_id: int, actor: Actor, now: datetime) -> Outcome:
    """Give up a transfer that has not left. Cancelled before: says so. Raises BadInput when it has left."""
    found = lock_document(conn, shop_id, document_id, ("transfer",), "transfer")
    lines = queries.lines_of(conn, shop_id, document_id)
    units = sum(row["units"] for row in lines)
    if found["state"] == "cancelled":
        return Outcome(document_id, "transfer", False, units, len(lines), by=found["done_by"], at=found["done_at"])
    if found["state"] != "draft":
        raise BadInput(f"transfer {document_id} has left: receive it, close it as lost, or undo it")
    _end(conn, shop_id, document_id, "cancelled", actor, now)
    audit.record(conn, shop_id, actor, "cancel_transfer", f"document:{document_id}", now, units=units)
    return Outcome(document_id, "transfer", True, units, len(lines), by=actor.name, at=now)


def close_outstanding(conn: Connection, shop_id: int, document_id: int, actor: Actor, now: datetime) -> Outcome:
    """No longer expect what is outstanding of a purchase order, or of a transfer (it is lost), for the actor's reason.

    Closed before: says so and does nothing. Raises BadInput when it was never sent.
    """
    wanted = ("purchase_order", "transfer")
    found = lock_document(conn, shop_id, document_id, wanted, "purchase order or transfer")
    kind = found["kind"]
    if found["done_at"] is not None:
        return Outcome(document_id, kind, False, 0, 0, by=found["done_by"], at=found["done_at"])
    if found["state"] == "draft":
        raise BadInput(f"transfer {document_id} has not left, so nothing of it is lost: cancel it instead")
    place = found["to_location_id"] or found["location_id"]
    left = [line for line in queries.expected_of(conn, shop_id, document_id) if line.outstanding]
    touched = Touched(conn, shop_id, ((line.sku_id, place) for line in left))
    execute(
        conn,
        """
        update stock_document_lines set dropped_units = greatest(dropped_units, units - received_units)
        where shop_id = %(shop)s and document_id = %(id)s
        """,
        shop=shop_id,
        id=document_id,
    )
    expect(conn, shop_id, {(line.sku_id, place): -line.outstanding for line in left})
    _end(conn, shop_id, document_id, "done", actor, now, closing_reason=actor.reason)
    lines = [NewLine(line.sku_id, line.outstanding) for line in left]
    act = "close_purchase_order" if kind == "purchase_order" else "close_transfer"
    return _said(conn, shop_id, document_id, kind, act, lines, touched, actor, now)


def _end(
    conn: Connection,
    shop_id: int,
    document_id: int,
    state: str,
    actor: Actor,
    now: datetime,
    closing_reason: str | None = None,
) -> None:
    execute(
        conn,
        """
        update stock_documents set state = %(state)s, done_by = %(by)s, done_at = %(now)s,
            closing_reason = coalesce(%(why)s, closing_reason)
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=document_id,
        state=state,
        by=actor.name,
        now=now,
        why=closing_reason,
    )


def _said(
    conn: Connection,
    shop_id: int,
    document_id: int,
    kind: rules.Kind,
    act: str,
    lines: Sequence[NewLine],
    touched: Touched,
    actor: Actor,
    now: datetime,
) -> Outcome:
    """The audit entry, the listings, and what changed."""
    changes = touched.changes()
    tell_channels(conn, shop_id, document_id, changes, now)
    units = sum(line.units for line in lines)
    skus = sorted(touched.codes.values())[:50]
    audit.record(conn, shop_id, actor, act, f"document:{document_id}", now, lines=len(lines), units=units, skus=skus)
    return Outcome(document_id, kind, True, units, len(lines), changes, (), actor.name, now, lines)
