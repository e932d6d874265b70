"""Reads: packages that channels are to be told of, and which of them need a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch

Trouble = Literal["refused", "recall", "held", "late"]

SAYS: Mapping[str, str] = {
    "refused": "the channel refuses to know of it",
    "recall": "its order was cancelled before the channel was told",
    "held": "nothing may be written to the channel",
    "late": "the channel could not be told of it for more than an hour",
}
"""Why a package needs a person, by its state in the view `shipment_list`."""

NEXT_STEP: Mapping[str, str] = {
    "refused": "Correct it with `switchyard confirm-shipment ORDER --package NUMBER`, or confirm it at the channel by"
    " hand before the day by which the order is to be shipped.",
    "recall": "If it has left, call it back; this closes by itself after three days.",
    "held": "Let writes go on, or confirm it at the channel by hand before the order is to be shipped.",
    "late": "It is tried again, at least every hour: look at the calls to the channel, or confirm it there by hand.",
}


def page(
    conn: Connection, shop_id: int, *, before_id: int | None = None, is_known: bool | None = False, limit: int = 50
) -> Sequence[RowMapping]:
    """A page of the view `shipment_list`, the newest first, below `before_id`.

    `is_known` False: only what the channel does not know yet; None: everything.
    """
    return fetch(
        conn,
        """
        select * from shipment_list
        where shop_id = %(shop)s and (%(known)s::boolean is null or is_known = %(known)s)
            and (%(before)s::int8 is null or confirmation_id < %(before)s)
        order by confirmation_id desc limit %(limit)s
        """,
        shop=shop_id,
        known=is_known,
        before=before_id,
        limit=limit,
    )


def unconfirmed(conn: Connection, shop_id: int, connection_id: int | None = None) -> Sequence[RowMapping]:
    """What needs a person: rows of the view `unconfirmed_shipments`, those with most packages first."""
    return fetch(
        conn,
        """
        select * from unconfirmed_shipments
        where shop_id = %(shop)s and (%(connection)s::int8 is null or connection_id = %(connection)s)
        order by packages desc, connection, state
        """,
        shop=shop_id,
        connection=connection_id,
    )
