"""Absolute writes of which nothing read says whether they landed, and the later ones that take their place.

A channel of class B keeps the order of what it has accepted on one road: once a later number is in force, an earlier
one cannot land any more. So a listing need not wait for a doubt that nothing will end. The earlier write ends as stale,
`OVERTAKEN`, with what it exposes left as it is; its doubt ends with that of a later one which is known to have landed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from core.db import execute
from core.inventory.exposing import OVERTAKEN


def overtake(conn: Connection, shop_id: int, listing_ids: Sequence[int], now: datetime) -> int:
    """Close the open writes of (locked) listings that may be overtaken; returns how many.

    In the unit of work that records the next write of each, one by one: `exposure.may_be_overtaken` as a set.
    """
    return execute(
        conn,
        """
        update listing_writes w set outcome = 'stale', outcome_at = %(now)s, outcome_code = %(code)s,
            outcome_detail = 'whether it landed cannot be told; it may, until a later number is known to be in force',
            observed_units = l.published_units, doubt = null, next_check_at = null
        from listings l
        where w.shop_id = %(shop)s and w.listing_id = any(%(ids)b::int8[]) and w.outcome is null
            and l.shop_id = w.shop_id and l.id = w.listing_id and may_be_overtaken(w.shop_id, w.id)
        """,
        shop=shop_id,
        ids=sorted(listing_ids),
        now=now,
        code=OVERTAKEN,
    )


def own_late_landings(conn: Connection, shop_id: int, connection_id: int) -> int:
    """Take what an overtaken write explains for its doing, once every order up to the reading is booked.

    Else it would be waited for as something that the channel did by itself, and be counted as an edit by hand. Returns
    how many listings.
    """
    return execute(
        conn,
        """
        with explained as (
            select l.id from listings l join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
            where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.is_in_doubt and l.unseen_units <> 0
                and l.edited_units = 0 and l.blurred_units = 0
                and c.reads_orders and c.watermark_at >= l.published_at + c.clock_margin
                and overtaken_explain(l.shop_id, l.id)
            order by l.id for no key update of l
        )
        update listings l set unseen_units = 0, unseen_since = null
        from explained where l.shop_id = %(shop)s and l.id = explained.id
        """,
        shop=shop_id,
        connection=connection_id,
    )
