"""How the outcomes of writes move exposure: the rows of `core.inventory.exposure` about writes, kept in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute
from core.inventory import exposure
from core.ports import QuantityResult

BY_HAND, KEY_EXPIRED, NOT_SUBMITTED, OVERTAKEN = "BY_HAND", "KEY_EXPIRED", "NOT_SUBMITTED", "OVERTAKEN"
NOT_SURE = (BY_HAND, KEY_EXPIRED, NOT_SUBMITTED, OVERTAKEN)
"""Codes of ends that only say what the channel shows: the write may have landed and have sold, or units were sold and
it did not land. What is exposed stays as it is until the watermark has passed the reading."""


@dataclass(frozen=True, slots=True)
class Exposing:
    """How the outcome of a write moves its listing's exposure; `units` may take off no more than is exposed."""

    listing_id: int
    write_id: int
    cause: Literal["confirmed", "refused", "edit"]
    units: int


def of_answer(row: RowMapping, result: QuantityResult) -> list[Exposing]:
    """What an answer does to exposure: rows of the table in `core.inventory.exposure`."""
    listing_id, write_id = row["listing_id"], row["id"]
    is_sure = result.code not in NOT_SURE
    if result.outcome == "confirmed":
        # A lowering gives back what it took off; an absolute number nothing, until its doubt ends.
        given = 0 if row["from_units"] is None or not is_sure else min(0, row["to_units"] - row["from_units"])
        return [Exposing(listing_id, write_id, "confirmed", given)]
    if result.outcome not in ("refused", "stale", "unsent"):
        return []
    found = [Exposing(listing_id, write_id, "refused", -(row["exposure_delta_units"] or 0))] if is_sure else []
    shown, known = result.observed_units, row["published_units"]
    # What may have landed still counts, and may be what is seen.
    landed = (None, None) if is_sure else (row["from_units"], row["to_units"])
    if shown is not None and known is not None and exposure.is_edit(shown, known, *landed):
        found.append(Exposing(listing_id, write_id, "edit", shown))
    return found


def move_exposure(conn: Connection, shop_id: int, changes: Sequence[Exposing], now: datetime) -> None:
    """Move the exposure of (locked) listings; for each listing at most one write's outcome, and an edit after it."""
    for cause in ("confirmed", "refused", "edit"):
        some = sorted((c for c in changes if c.cause == cause and c.units), key=lambda c: c.listing_id)
        if not some:
            continue
        execute(
            conn,
            """
            with moved as (
                update listings l set exposed_units = greatest(0, l.exposed_units + n.units),
                    edited_units = case when %(cause)s = 'edit' then l.edited_units + n.units
                        else least(l.edited_units, greatest(0, l.exposed_units + n.units)) end
                from (
                    select n.*, v.exposed_units as before
                    from unnest(%(ids)b::int8[], %(writes)b::int8[], %(units)b::int4[]) as n (id, write_id, units)
                    join listings v on v.shop_id = %(shop)s and v.id = n.id
                ) n
                where l.shop_id = %(shop)s and l.id = n.id
                returning l.id, n.write_id, n.units, l.exposed_units - n.before as delta, l.exposed_units
            )
            insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units,
                write_id, changed_at)
            select %(shop)s, id, %(cause)s, units, delta, exposed_units,
                case when %(cause)s <> 'edit' then write_id end, %(now)s
            from moved order by id
            """,
            shop=shop_id,
            cause=cause,
            now=now,
            ids=[change.listing_id for change in some],
            writes=[change.write_id for change in some],
            units=[change.units for change in some],
        )
