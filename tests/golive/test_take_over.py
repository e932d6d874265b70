"""A channel is taken over with the orders that were open: they hold stock, and it lies on the shelf."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from core import invariants
from core.clock import utc_now
from core.db import fetch_one, read_only
from tests.golive.conftest import Connect, Connected
from tests.sandbox.outside import ShopSide, wait_for
from workers.jobs import connections as jobs
from workers.jobs import inbox


def stock(connected: Connected, code: str) -> tuple[int, int, int]:
    """(on hand, reserved, available) of a SKU."""
    with read_only(connected.app.engine) as conn:
        row = fetch_one(
            conn,
            """
            select k.on_hand, k.reserved, k.available from stock_levels k
            join skus s on s.shop_id = k.shop_id and s.id = k.sku_id
            where k.shop_id = %(shop)s and s.code = %(code)s
            """,
            shop=connected.shop_id,
            code=code,
        )
    assert row is not None
    return row["on_hand"], row["reserved"], row["available"]


def listing(connected: Connected, code: str) -> Mapping[str, Any]:
    with read_only(connected.app.engine) as conn:
        row = fetch_one(
            conn,
            "select * from listings where shop_id = %(shop)s and channel_code = %(code)s",
            shop=connected.shop_id,
            code=code,
        )
    assert row is not None
    return row


def hear(connected: Connected) -> None:
    """Poll, and handle what there is."""
    where = {"shop_id": connected.shop_id, "connection_id": connected.connection_id}
    jobs.poll_connection(**where)
    inbox.drain_inbox(**where)


def broken(connected: Connected) -> list[str]:
    with read_only(connected.app.engine) as conn:
        return [finding.name for finding in invariants.check(conn, utc_now()) if finding.rows]


def test_open_orders_come_with_the_units_that_they_hold(connect: Connect, shop: ShopSide) -> None:
    items = shop.stock("MUG", "CUP", "PEN", available=10)
    open_order = shop.place(("MUG", 3), ("CUP", 2))
    part = shop.place(("MUG", 2))
    shop.ship(part, (0, 1))
    shop.place(("CUP", 1), ship=True)
    gone = shop.place(("PEN", 4))
    shop.cancel(gone)

    connected = connect(shop)
    inbox.drain_inbox(shop_id=connected.shop_id, connection_id=connected.connection_id)

    # Just what the channel itself says: available, committed to open orders, and on its shelf.
    for code, expected in {"MUG": (9, 4, 5), "CUP": (9, 2, 7), "PEN": (10, 0, 10)}.items():
        level = shop.level(items[code])
        assert stock(connected, code) == expected
        assert (level["on_hand"], level["committed"], level["available"]) == expected
        shown = listing(connected, code)
        assert (shown["published_units"], shown["desired_units"], shown["unseen_units"]) == (
            expected[2],
            expected[2],
            0,
        )
        # What was put back only seconds before the number was read may not have been in it.
        assert shown["exposed_units"] == expected[2] + (4 if code == "PEN" else 0)

    # What becomes of them later is as of any order.
    shop.cancel(open_order)
    shop.ship(part)
    hear(connected)
    for code in ("MUG", "CUP"):
        level = shop.level(items[code])
        assert stock(connected, code)[1] == level["committed"] == 0
        assert stock(connected, code)[2] == level["available"]
    assert broken(connected) == []


def test_a_second_read_does_not_import_them_again(connect: Connect, shop: ShopSide) -> None:
    shop.stock("MUG", available=10)
    shop.place(("MUG", 3))
    connected = connect(shop)
    where = {"shop_id": connected.shop_id, "connection_id": connected.connection_id}
    inbox.drain_inbox(**where)
    assert "open_orders" not in connected.sync()
    inbox.drain_inbox(**where)
    assert stock(connected, "MUG") == (10, 3, 7)
    assert broken(connected) == []


def test_what_was_put_back_last_is_not_put_back_again(connect: Connect, shop: ShopSide) -> None:
    items = shop.stock("MUG", "PEN", available=10)
    gone, part = shop.place(("MUG", 4)), shop.place(("PEN", 4))
    # Nothing is placed any more: the last changes of both numbers are of a later second than the newest order.
    placed_at = datetime.now(UTC).replace(microsecond=0)
    wait_for(lambda: datetime.now(UTC) > placed_at + timedelta(seconds=1.1))
    shop.cancel(gone)
    shop.refund(part, (0, 1, "cancel"))

    connected = connect(shop)
    inbox.drain_inbox(shop_id=connected.shop_id, connection_id=connected.connection_id)

    for code, expected in {"MUG": (10, 0, 10), "PEN": (10, 3, 7)}.items():
        level = shop.level(items[code])
        assert (level["on_hand"], level["committed"], level["available"]) == expected
        assert stock(connected, code) == expected
        assert listing(connected, code)["published_units"] == expected[2]
    assert broken(connected) == []
