"""Writes: chargebacks. A bank takes a buyer's money back; whoever earned of it gives it back until it is won."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.commissions.operations import settle
from core.db import execute, fetch_one, scalar
from core.errors import Anticipated, BadInput


class NotOpen(Anticipated):
    """The chargeback is decided already, or is not there."""

    def __init__(self, chargeback_id: int) -> None:
        super().__init__(f"nothing was done: chargeback {chargeback_id} is not open any more")


def record_chargeback(
    conn: Connection,
    shop_id: int,
    order_id: int,
    channel_ref: str,
    amount_minor: int,
    opened_at: datetime,
    actor: Actor,
    now: datetime,
) -> int:
    """Note that so much of an order was taken back, in its currency; returns our number of it.

    The same dispute (`channel_ref`) of an order is noted once. Raises BadInput.
    """
    if amount_minor <= 0 or not channel_ref.strip():
        raise BadInput("a chargeback has the number that the channel gives it, and an amount above 0")
    order = scalar(conn, "select id from orders where shop_id = %(s)s and id = %(o)s for update", s=shop_id, o=order_id)
    if order is None:
        raise BadInput(f"there is no order with the number {order_id}")
    number: int | None = scalar(
        conn,
        """
        insert into chargebacks (shop_id, order_id, channel_ref, amount_minor, opened_at, reason, recorded_by,
            recorded_at)
        values (%(shop)s, %(order)s, %(ref)s, %(amount)s, %(at)s, %(reason)s, %(by)s, %(now)s)
        on conflict (shop_id, order_id, channel_ref) do nothing returning id
        """,
        shop=shop_id,
        order=order_id,
        ref=channel_ref.strip(),
        amount=amount_minor,
        at=opened_at,
        reason=actor.reason,
        by=actor.name,
        now=now,
    )
    if number is None:
        return int(
            scalar(
                conn,
                "select id from chargebacks where shop_id = %(s)s and order_id = %(o)s and channel_ref = %(r)s",
                s=shop_id,
                o=order_id,
                r=channel_ref.strip(),
            )
        )
    audit.record(
        conn, shop_id, actor, "record_chargeback", f"order:{order_id}", now, chargeback=number, minor=amount_minor
    )
    settle(conn, shop_id, [order_id], now)
    return number


def decide_chargeback(
    conn: Connection, shop_id: int, chargeback_id: int, is_won: bool, actor: Actor, now: datetime
) -> None:
    """Note how the bank decided: what was won comes back to whoever gave it. Raises NotOpen."""
    row = fetch_one(
        conn,
        """
        select o.id from orders o join chargebacks c on c.shop_id = o.shop_id and c.order_id = o.id
        where c.shop_id = %(shop)s and c.id = %(id)s for update of o
        """,
        shop=shop_id,
        id=chargeback_id,
    )
    decided = row is not None and execute(
        conn,
        """
        update chargebacks set state = %(state)s, decided_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and state = 'open'
        """,
        shop=shop_id,
        id=chargeback_id,
        state="won" if is_won else "lost",
        now=now,
    )
    if row is None or not decided:
        raise NotOpen(chargeback_id)
    audit.record(
        conn, shop_id, actor, "decide_chargeback", f"order:{row['id']}", now, chargeback=chargeback_id, is_won=is_won
    )
    settle(conn, shop_id, [row["id"]], now)
