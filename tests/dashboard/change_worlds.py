"""Shops whose orders and documents other channels have to follow: made by the operations that make them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute, scalar
from core.messaging import chasing
from tests.changing import Pair, answer, make_pair, plan, settle
from tests.dashboard import seed
from tests.desks import Desk
from tests.factories import book, make_fulfilment, make_line, make_order


def sell(
    conn: Connection, pair: Pair, ref: str, at: datetime, code: str = "MUG", units: int = 1, **more: object
) -> None:
    """An order of that moment, booked at once."""
    line = make_line("1", code, units, price="12.95")
    book(conn, pair.seller, make_order(ref, [line], placed_at=at, **more), now=at + timedelta(seconds=2))


def full(conn: Connection) -> Pair:
    """Orders that were followed, refused, cancelled too early and shipped; two that hang; a receipt.

    In a transaction of its own: what is booked is booked whole.
    """
    with conn.engine.begin() as work:
        return _full(work)


def _full(conn: Connection) -> Pair:
    # One moment for all: how long things took is said to the second.
    now = seed.now()

    def ago(**span: float) -> datetime:
        return now - timedelta(**span)

    pair = make_pair(conn, stock={"MUG": 40, "CUP": 20, "BOWL": 9})
    execute(conn, "update connections set name = 'Shopify UK' where id = %(id)s", id=pair.seller.connection.id)
    execute(conn, "update connections set name = 'Shopify EU' where id = %(id)s", id=pair.follower.connection.id)
    sell(conn, pair, "1042", ago(minutes=120), units=3)
    answer(conn, pair, "confirmed", ago(minutes=119, seconds=50))
    chasing.chase(conn, pair.shop_id, ago(minutes=119))
    book(conn, pair.seller, make_fulfilment("1042", [("1", 2)], at=ago(minutes=60)), now=ago(minutes=60))
    Desk(conn, pair.seller, 0).receive({"CUP": 5})
    answer(conn, pair, "confirmed", ago(minutes=90))
    sell(conn, pair, "1043", ago(minutes=50), "CUP", 2)
    at = ago(minutes=49)
    sell(conn, pair, "1043", ago(minutes=50), "CUP", 2, cancelled_at=at, version_at=at, cancel_reason="customer")
    settle(conn, pair.seller, plan(conn, pair.seller, at), "confirmed", at)
    sell(conn, pair, "1044", ago(minutes=40), "BOWL", 1)
    answer(
        conn,
        pair,
        "refused",
        ago(minutes=39),
        code="NOT_STOCKED_AT_LOCATION",
        detail="the item is not stocked there",
    )
    chasing.chase(conn, pair.shop_id, ago(minutes=38))
    execute(conn, "update connections set state = 'paused' where id = %(id)s", id=pair.follower.connection.id)
    sell(conn, pair, "1045", ago(minutes=20), "MUG", 4)
    sell(conn, pair, "1046", ago(minutes=15), "CUP", 1)
    chasing.chase(conn, pair.shop_id, now)
    return pair


def order_id(conn: Connection, pair: Pair, ref: str) -> str:
    return str(
        scalar(
            conn,
            "select id from orders where shop_id = %(shop)s and channel_ref = %(ref)s",
            shop=pair.shop_id,
            ref=ref,
        )
    )


def packages(conn: Connection) -> tuple[Pair, str]:
    """An order with three packages: one that its channel knows, one that it refuses, one that it told of itself.

    Returns the order's id too.
    """
    with conn.engine.begin() as work:
        pair = make_pair(work, stock={"MUG": 40})
        sell(work, pair, "1042", seed.ago(minutes=300), units=5)
        seller = pair.seller
        sent = seed.ago(minutes=200)
        book(work, seller, make_fulfilment("1042", [("1", 2)], at=sent, ref="9"), now=sent)
        execute(
            work,
            """
            insert into shipment_confirmations (shop_id, order_id, package_ref, confirmed_revision, confirmed_at,
                carrier_code, tracking_number, shipped_at, line_ids, line_units, next_try_at, refused_at, last_code,
                last_detail, requested_by, requested_at)
            select l.shop_id, l.order_id, n.ref, n.confirmed, case when n.confirmed = 1 then now() end, 'UPS',
                n.tracking, %(at)s, array[l.id], array[1], now(), n.refused_at, n.code, n.detail, 'Ada', %(at)s
            from order_lines l, (values
                ('1', 1, '1Z1', null::timestamptz, null, null),
                ('2', null, '1Z2', now(), 'InvalidInput', 'the carrier is <b>not</b> known')
            ) n (ref, confirmed, tracking, refused_at, code, detail)
            where l.shop_id = %(shop)s
            """,
            shop=pair.shop_id,
            at=sent,
        )
    return pair, order_id(conn, pair, "1042")
