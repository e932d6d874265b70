"""Writes: holds. One on an order keeps what was earned of it from becoming payable, one on a party keeps what it may be
paid from being paid out; either lasts until somebody lifts it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.commissions.windows import refresh_windows
from core.db import execute, fetch_one, scalar
from core.errors import Anticipated, BadInput


class AlreadyHeld(Anticipated):
    """There is a hold on it already."""

    def __init__(self) -> None:
        super().__init__("nothing was done: it is on hold already")


class NotHeld(Anticipated):
    """The hold is not there, or was lifted already."""

    def __init__(self) -> None:
        super().__init__("nothing was done: there is no such hold any more")


def place(
    conn: Connection,
    shop_id: int,
    actor: Actor,
    now: datetime,
    *,
    party_id: int | None = None,
    order_id: int | None = None,
) -> int:
    """Hold what a party may be paid, or what is earned of an order; returns the hold's id. The actor's reason is kept.

    Raises AlreadyHeld; BadInput unless exactly one of the two is named, and is there.
    """
    if (party_id is None) == (order_id is None):
        raise BadInput("a hold is of a party or of an order: name one of them")
    _lock(conn, shop_id, party_id, order_id)
    hold: int | None = scalar(
        conn,
        """
        insert into payout_holds (shop_id, party_id, order_id, reason, placed_by, placed_at)
        values (%(shop)s, %(party)s, %(order)s, %(reason)s, %(by)s, %(now)s) on conflict do nothing returning id
        """,
        shop=shop_id,
        party=party_id,
        order=order_id,
        reason=actor.reason,
        by=actor.name,
        now=now,
    )
    if hold is None:
        raise AlreadyHeld
    subject = f"party:{party_id}" if party_id is not None else f"order:{order_id}"
    audit.record(conn, shop_id, actor, "hold_payouts", subject, now, hold=hold)
    if order_id is not None:
        refresh_windows(conn, shop_id, [order_id])
    return hold


def lift(conn: Connection, shop_id: int, hold_id: int, actor: Actor, now: datetime) -> None:
    """End a hold. Raises NotHeld."""
    found = fetch_one(
        conn, "select party_id, order_id from payout_holds where shop_id = %(s)s and id = %(h)s", s=shop_id, h=hold_id
    )
    if found is None:
        raise NotHeld
    _lock(conn, shop_id, found["party_id"], found["order_id"])
    lifted = execute(
        conn,
        """
        update payout_holds set lifted_by = %(by)s, lifted_reason = %(reason)s, lifted_at = %(now)s
        where shop_id = %(shop)s and id = %(hold)s and lifted_at is null
        """,
        shop=shop_id,
        hold=hold_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    if not lifted:
        raise NotHeld
    party_id, order_id = found["party_id"], found["order_id"]
    subject = f"party:{party_id}" if party_id is not None else f"order:{order_id}"
    audit.record(conn, shop_id, actor, "lift_payout_hold", subject, now, hold=hold_id)
    if order_id is not None:
        refresh_windows(conn, shop_id, [order_id])


def _lock(conn: Connection, shop_id: int, party_id: int | None, order_id: int | None) -> None:
    """Whoever books or releases an order meanwhile comes before or after. Raises BadInput for what is not there."""
    table, number = ("parties", party_id) if party_id is not None else ("orders", order_id)
    found = scalar(conn, f"select id from {table} where shop_id = %(s)s and id = %(n)s for update", s=shop_id, n=number)
    if found is None:
        raise BadInput(f"there is nothing with the number {number} among the {table}")
