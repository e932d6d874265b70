"""Writes: receive, adjust, take back, and let out of quarantine. Each is one document, booked whole or not at all.

A form or a file that is sent twice is booked once, by its business key; the second time says what the first came to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from core.audit import Actor
from core.db import execute
from core.desk import queries, rules
from core.desk.booking import Item, NewDocument, NewLine, Outcome, Pair, as_lines, book, lock_document
from core.desk.rules import DISPOSITIONS
from core.errors import BadInput


def receive(
    conn: Connection,
    shop_id: int,
    location_id: int,
    items: Sequence[Item],
    business_key: str,
    actor: Actor,
    now: datetime,
    *,
    against_id: int | None = None,
    reference: str | None = None,
) -> Outcome:
    """Book goods in, of a purchase order or a transfer where `against_id` names one; a bundle comes as its parts.

    What came is told off against what was expected: `notes` say what is over and what is still outstanding. The last
    of it closes the purchase order or transfer. Raises NotOurs, NoDocument, BadInput.
    """
    new = NewDocument("receipt", location_id, business_key, reference=reference, against_id=against_id)
    if against_id is None:
        return book(conn, shop_id, new, as_lines(conn, shop_id, "receipt", items), actor, now)
    source = lock_document(conn, shop_id, against_id, ("purchase_order", "transfer"), "purchase order or transfer")
    if queries.booked_as(conn, shop_id, business_key) is None:
        _check_source(source["kind"], source["state"], against_id)
        arrives_at = source["to_location_id"] or source["location_id"]
        if arrives_at != location_id:
            places = queries.locations(conn, shop_id)
            raise BadInput(f"{_named(source['kind'])} {against_id} goes to {places[arrives_at]}: receive it there")
    new = replace(new, is_of_transfer=source["kind"] == "transfer")
    lines = as_lines(conn, shop_id, "receipt", items)
    came = Counter[int]()
    for line in lines:
        came[line.sku_id] += line.units
    expected = queries.expected_of(conn, shop_id, against_id)
    arrival = rules.tell_off(expected, came)

    def incoming(_document_id: int) -> Mapping[Pair, int]:
        return tell_source(conn, shop_id, against_id, location_id, expected, came, actor, now)

    done = book(
        conn, shop_id, new, lines, actor, now, incoming=incoming, awaited=((e.sku_id, location_id) for e in expected)
    )
    if not done.is_new:
        return done
    return replace(done, notes=_notes(conn, shop_id, source["kind"], expected, arrival))


def tell_source(
    conn: Connection,
    shop_id: int,
    source_id: int,
    location_id: int,
    expected: Sequence[rules.Expected],
    came: Mapping[int, int],
    actor: Actor,
    now: datetime,
) -> dict[Pair, int]:
    """Write arrivals (negative: taken back) on the lines of a locked source; returns the change of incoming.

    The source is done when nothing is outstanding, and open again when an arrival is taken back.
    """
    arrival = rules.tell_off(expected, came)
    execute(
        conn,
        """
        update stock_document_lines l set received_units = l.received_units + n.units
        from unnest(%(ordinals)b::int4[], %(units)b::int8[]) as n (ordinal, units)
        where l.shop_id = %(shop)s and l.document_id = %(id)s and l.ordinal = n.ordinal
        """,
        shop=shop_id,
        id=source_id,
        ordinals=list(arrival.received),
        units=list(arrival.received.values()),
    )
    is_done = not arrival.outstanding
    execute(
        conn,
        """
        update stock_documents set done_by = case when %(done)s then %(by)s end,
            done_at = case when %(done)s then %(now)s::timestamptz end,
            state = case when %(done)s then 'done' when kind = 'transfer' then 'sent' else 'open' end
        where shop_id = %(shop)s and id = %(id)s and (done_at is not null) <> %(done)s
        """,
        shop=shop_id,
        id=source_id,
        done=is_done,
        by=actor.name,
        now=now,
    )
    return {(line.sku_id, location_id): arrival.outstanding.get(line.sku_id, 0) - line.outstanding for line in expected}


def _check_source(kind: str, state: str, source_id: int) -> None:
    if kind == "transfer" and state == "draft":
        raise BadInput(f"transfer {source_id} has not left yet: send it first")
    if state in ("done", "cancelled"):
        word = "closed" if state == "done" else "cancelled"
        raise BadInput(f"{_named(kind)} {source_id} is {word}: book what came without it")


def _named(kind: str) -> str:
    return kind.replace("_", " ")


def _notes(
    conn: Connection, shop_id: int, kind: str, expected: Sequence[rules.Expected], arrival: rules.Arrival
) -> list[str]:
    """What is over and what is still outstanding, in sentences."""
    codes = queries.codes_of(conn, shop_id, {*arrival.over, *arrival.outstanding})
    listed = {line.sku_id for line in expected}
    notes = []
    for sku_id, units in arrival.over.items():
        said = "more came than was outstanding" if sku_id in listed else f"came and is not on the {_named(kind)}"
        notes.append(f"{codes[sku_id]}: {units:,} {said}.")
    notes += [f"{codes[sku_id]}: {units:,} still outstanding." for sku_id, units in arrival.outstanding.items()]
    return notes


def adjust(
    conn: Connection,
    shop_id: int,
    location_id: int,
    items: Sequence[Item],
    business_key: str,
    actor: Actor,
    now: datetime,
    *,
    reference: str | None = None,
) -> Outcome:
    """Change what is on hand by signed units, for the actor's reason; never below nothing.

    What is sold or promised may be adjusted away: it is gone, and shows as a shortage. Raises NotOurs, BadInput.
    """
    lines = [line for line in as_lines(conn, shop_id, "adjustment", items) if line.units]
    if not lines:
        raise BadInput("the adjustments add up to nothing: there is nothing to book")
    done = book(
        conn, shop_id, NewDocument("adjustment", location_id, business_key, reference=reference), lines, actor, now
    )
    for change in done.changes:
        if change.after.on_hand < min(0, change.before.on_hand):
            raise BadInput(
                f"{change.code}: {change.before.on_hand:,} on hand, so {change.before.on_hand - change.after.on_hand:,}"
                " cannot be taken off. Count it if the record is wrong."
            )
    notes = [
        f"{change.code}: {-change.after.available:,} more promised than there will be."
        for change in done.changes
        if change.after.available < 0 and change.after.available < change.before.available
    ]
    return replace(done, notes=notes)


def take_back(
    conn: Connection,
    shop_id: int,
    location_id: int,
    items: Sequence[Item],
    business_key: str,
    actor: Actor,
    now: datetime,
    *,
    reference: str | None = None,
) -> Outcome:
    """Take goods back, of order lines or of none, each with its disposition: restock, quarantine or write_off.

    No more of an order line comes back than left and has not come back. What its channel refunds of the same units
    restocks nothing more. Raises TooManyBack, NotOurs, BadInput.
    """
    for item in items:
        if item.disposition not in DISPOSITIONS:
            raise BadInput(f"{item.code}: say what becomes of it: restock, quarantine or write_off")
    new = NewDocument("return", location_id, business_key, reference=reference)
    return book(conn, shop_id, new, as_lines(conn, shop_id, "return", items), actor, now)


def release_quarantine(
    conn: Connection,
    shop_id: int,
    location_id: int,
    items: Sequence[Item],
    business_key: str,
    actor: Actor,
    now: datetime,
) -> Outcome:
    """Let units out of quarantine: for sale again (restock) or gone for good (write_off). Raises NotApart, BadInput."""
    for item in items:
        if item.disposition not in ("restock", "write_off"):
            raise BadInput(f"{item.code}: what leaves quarantine is either restocked or written off")
    lines = as_lines(conn, shop_id, "release", items)
    return book(conn, shop_id, NewDocument("release", location_id, business_key), lines, actor, now)


def negated(lines: Sequence[NewLine]) -> list[NewLine]:
    """The same lines with their signs turned: what undoes them."""
    return [replace(line, units=-line.units) for line in lines]
