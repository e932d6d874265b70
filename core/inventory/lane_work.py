"""Which lanes have something to do, and when what a channel did by itself is no longer waited for."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute, fetch

_UNSEEN_IS_AN_EDIT = """
    l.unseen_units <> 0 and c.orders_polled_at > l.unseen_since
    and l.unseen_since < %(now)s - %(unseen_for)s::interval / coalesce((c.settings ->> 'clock_factor')::float8, 1)
    and not exists (select from inbox_messages m where m.shop_id = l.shop_id and m.connection_id = l.connection_id
        and m.state = 'received')
    and not unseen_is_held(l.shop_id, l.id, l.unseen_units, l.desired_units - l.short_units)
"""
"""Its orders were polled since, completely, and everything that arrived is handled: nothing will explain it. What a
comparison found is left for as long as it waits, or a person is asked (`core.reconciliation`)."""

UNSEEN_FOR = timedelta(minutes=2)
"""How long a change that the channel made by itself may stay unexplained, if its orders were polled since.

A duration of the vendor's side: divided by the connection's clock factor.
"""


def give_up_unseen(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> int:
    """Stop waiting for orders that would explain what the channel did by itself: somebody edited it there.

    For the holder of the lane before it plans, where nothing may be written for anybody; in a unit of work of its own.
    Returns how many listings. Each is counted among what people did at the channel.
    """
    return execute(
        conn,
        f"""
        with unexplained as (
            select l.id, l.unseen_units, l.unseen_since
            from listings l join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
            where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.publishing = 'on'
                and {_UNSEEN_IS_AN_EDIT}
                -- What nothing else explains may be the doing of a write of ours.
                and not exists (select from listing_writes w where w.shop_id = l.shop_id and w.listing_id = l.id
                    and w.outcome is null and w.sent_at is not null)
            order by l.id for no key update of l skip locked
        ), counted as (
            insert into channel_acts (shop_id, connection_id, kind, ref, units, acted_at)
            select %(shop)s, %(connection)s, 'stock_edit', id || '@' || unseen_since, unseen_units, unseen_since
            from unexplained on conflict do nothing
        )
        update listings l set unseen_units = 0, unseen_since = null
        from unexplained u where l.shop_id = %(shop)s and l.id = u.id
        """,
        shop=shop_id,
        connection=connection_id,
        now=now,
        unseen_for=UNSEEN_FOR,
    )


def lanes_to_push(conn: Connection, now: datetime) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every connection with a difference to push or an unsent write to withdraw.

    None that may not be written to: see `lanes_to_withdraw`.
    """
    return _lanes(
        conn,
        f"""
        select c.shop_id, c.id from connections c where may_write(c.shop_id, c.id) and (
            exists (select from listings l where l.shop_id = c.shop_id and l.connection_id = c.id and l.is_to_push
                and ((listing_differs(l.desired_units - l.short_units + l.unseen_units, l.published_units)
                        and not (l.unseen_units < 0
                            and l.desired_units - l.short_units + l.unseen_units > l.published_units
                            and raise_is_held(l.shop_id, l.id, l.unseen_units)))
                    or ({_UNSEEN_IS_AN_EDIT}))
                and (l.next_push_at is null or l.next_push_at <= %(now)s)
                and not exists (select from listing_writes w
                    where w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
                        and not (w.road = 'call'
                            and w.to_units <> greatest(0, l.desired_units - l.short_units + l.unseen_units)
                            and may_be_overtaken(w.shop_id, w.id))))
            or exists (select from listing_writes w where w.shop_id = c.shop_id and w.connection_id = c.id
                and w.outcome is null and w.sent_at is null and w.deadline_at <= %(now)s))
        order by 1, 2
        """,
        now,
    )


def lanes_to_withdraw(conn: Connection) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every connection that may not be written to and has writes that were not sent."""
    rows = fetch(
        conn,
        """
        select distinct w.shop_id, w.connection_id from listing_writes w
        where w.outcome is null and w.sent_at is null and not may_write(w.shop_id, w.connection_id)
        order by 1, 2
        """,
    )
    return [(row["shop_id"], row["connection_id"]) for row in rows]


def held_lanes_to_give_up(conn: Connection, now: datetime) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every connection that may not be written to and shows what nothing will explain.

    Nobody plans for it, and what going live would write over has to be told all the same.
    """
    return _lanes(
        conn,
        f"""
        select c.shop_id, c.id from connections c where not may_write(c.shop_id, c.id)
            and exists (select from listings l where l.shop_id = c.shop_id and l.connection_id = c.id and l.is_to_push
                and {_UNSEEN_IS_AN_EDIT})
        order by 1, 2
        """,
        now,
    )


def _lanes(conn: Connection, sql: str, now: datetime) -> list[tuple[int, int]]:
    return [(row["shop_id"], row["id"]) for row in fetch(conn, sql, now=now, unseen_for=UNSEEN_FOR)]
