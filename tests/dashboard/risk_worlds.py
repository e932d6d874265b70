"""Shops with stock at risk: pools that are shared loosely, split, or sold by somebody who does not say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from core.db import execute
from tests.dashboard import seed


@dataclass
class Risk:
    """Ids by name."""

    shop: int
    place: int
    channels: dict[str, int] = field(default_factory=dict)
    skus: dict[str, int] = field(default_factory=dict)
    listings: dict[tuple[str, str], int] = field(default_factory=dict)


# code: title, available, what each channel shows and may still sell, the mode, units an hour
_GOODS: dict[str, tuple[str, int, tuple[int, int, int], str, float | None]] = {
    "22423": ("Regency cakestand 3 tier", 24, (14, 5, 16), "pooled", 17.0),
    "85123A": ("White hanging heart T-light holder", 9, (3, 2, 12), "pooled", 26.0),
    "85099B": ("Jumbo bag red retrospot", 31, (13, 4, 20), "pooled", 14.0),
    "47566": ("Party bunting", 12, (4, 1, 8), "adaptive", 29.0),
    "84879": ("Assorted colour bird ornament", 60, (13, 5, 41), "adaptive", 6.5),
    "20725": ("Lunch bag red retrospot", 48, (20, 6, 15), "adaptive", 28.0),
    "22720": ("Set of 3 cake tins pantry design", 15, (2, 1, 9), "escrow", 23.0),
    "21212": ("Pack of 72 retrospot cake cases", 130, (41, 10, 40), "adaptive", 5.0),
    "20727": ("Lunch bag black skull", 75, (20, 10, 16), "escrow", None),
    "22457": ("Natural slate heart chalkboard", 40, (8, 2, 10), "adaptive", 25.0),
    "22726": ("Alarm clock bakelike green", 66, (12, 7, 10), "adaptive", 22.0),
    "22086": ("Paper chain kit 50s Christmas", 210, (40, 14, 30), "adaptive", 7.0),
}


def full(conn: Connection) -> Risk:
    """Three channels, twelve SKUs, an oversell an hour ago with everything that led to it, and an open alert."""
    shop = seed.shop(conn)
    world = Risk(shop, seed.location(conn, shop))
    for name, vendor, grade in (("Shopify UK", "shopify", "A"), ("Shopify EU", "shopify", "A"),
                                ("Amazon UK", "amazon", "B")):  # fmt: skip
        world.channels[name] = seed.connection(
            conn,
            shop,
            name,
            vendor,
            grade,
            watermark_at=seed.ago(seconds=40),
            doubt_seconds=90.0 if grade == "B" else 4.0,
        )
        seed.call(conn, shop, world.channels[name], seed.now())
    for code, (title, available, exposed, mode, rate) in _GOODS.items():
        _goods(conn, world, code, title, available, exposed, mode, rate)
    _history(conn, world)
    _oversold(conn, world)
    _alert(conn, shop)
    return world


def _goods(
    conn: Connection, world: Risk, code: str, title: str, available: int, exposed: tuple[int, int, int], mode: str,
    rate: float | None,
) -> None:  # fmt: skip
    shop = world.shop
    sku = world.skus[code] = seed.sku(conn, shop, code, title)
    seed.level(conn, shop, sku, world.place, available + 2, reserved=2)
    if mode != "pooled":
        execute(
            conn,
            """
            update stock_levels set is_escrow = %(split)s, escrow_since = %(since)s, escrow_line_units = %(line)s
            where shop_id = %(shop)s and sku_id = %(sku)s
            """,
            split=mode == "escrow" or available <= 12,
            since=seed.ago(minutes=31),
            line=2**31 - 1 if mode == "escrow" else 12,
            shop=shop,
            sku=sku,
        )
    for (name, connection), units in zip(world.channels.items(), exposed, strict=True):
        world.listings[code, name] = seed.listing(
            conn, shop, connection, sku, world.place, channel_code=code, title=title, desired_units=units,
            published_units=units, exposed_units=units, mode=mode,
            sales_per_hour=None if rate is None else rate / 3,
        )  # fmt: skip


def change(
    conn: Connection, shop: int, listing: int, cause: str, delta: int, exposed: int, at: Any, **more: Any
) -> int:
    """A line of the ledger of exposure."""
    values = {"asked_units": more.pop("asked_units", abs(delta)), **more}
    return seed.insert(
        conn, "exposure_changes", shop_id=shop, listing_id=listing, cause=cause, delta_units=delta,
        exposed_units=exposed, changed_at=at, **values,
    )  # fmt: skip


def _history(conn: Connection, world: Risk) -> None:
    """Four hours in which the cakestand sold faster than channels were told."""
    shop, listing = world.shop, world.listings["22423", "Shopify UK"]
    seed.movement(conn, shop, world.skus["22423"], world.place, 72, seed.ago(days=2))
    for minutes, sold in ((228, 9), (190, 6), (150, 8), (110, 4), (70, 7), (48, 5), (25, 4), (8, 3)):
        seed.movement(conn, shop, world.skus["22423"], world.place, -sold, seed.ago(minutes=minutes))
    exposed = 4
    change(conn, shop, listing, "base", 4, 4, seed.ago(hours=4, minutes=1))
    for minutes, delta in ((200, 3), (160, 2), (120, -1), (90, 2), (52, 3), (31, -2), (12, 3)):
        exposed += delta
        change(conn, shop, listing, "restock" if delta > 0 else "sale", delta, exposed, seed.ago(minutes=minutes))


def _oversold(conn: Connection, world: Risk) -> None:
    """Amazon was told 3 late, sold them, and so did the shop."""
    shop, place = world.shop, world.place
    sku = world.skus["CANDLE"] = seed.sku(conn, shop, "CANDLE-FIG", "Fig candle, 220 g")
    seed.level(conn, shop, sku, place, 2)
    at = seed.ago(minutes=52)
    listings = {}
    for name, units in (("Shopify UK", 2), ("Amazon UK", 5)):
        listings[name] = seed.listing(
            conn, shop, world.channels[name], sku, place, channel_code="CANDLE-FIG", title="Fig candle, 220 g",
            desired_units=0, published_units=0, exposed_units=0, sales_per_hour=2.0,
        )  # fmt: skip
        change(conn, shop, listings[name], "base", units, units, at - timedelta(minutes=9))
    amazon = world.channels["Amazon UK"]
    write = seed.write(
        conn, shop, amazon, listings["Amazon UK"], 2, at=at - timedelta(minutes=4), sent_at=at - timedelta(minutes=4),
        accepted_at=at - timedelta(minutes=3, seconds=50), attempts=1,
    )  # fmt: skip
    seed.call(conn, shop, amazon, at - timedelta(minutes=3, seconds=59), operation="patchListingsItem", method="PATCH",
              status=200)  # fmt: skip
    change(conn, shop, listings["Amazon UK"], "write", 2, 7, at - timedelta(minutes=4), write_id=write, asked_units=2)
    order = seed.order(conn, shop, amazon, at - timedelta(seconds=70), "203-5561234-1187702")
    line = seed.line(conn, shop, order, sku, 5, listing_id=listings["Amazon UK"])
    with conn.engine.connect() as booking, booking.begin():
        # One unit of work, as intake books it: the level itself says what took it below.
        seed.promise(booking, shop, sku, place, line, 5, at)
        execute(booking, "update stock_levels set reserved = 5 where shop_id = %(shop)s and sku_id = %(sku)s",
                shop=shop, sku=sku)  # fmt: skip
    change(conn, shop, listings["Amazon UK"], "sale", -5, 2, at)
    change(conn, shop, listings["Amazon UK"], "collapsed", -2, 0, at + timedelta(minutes=6))
    change(conn, shop, listings["Shopify UK"], "confirmed", -2, 0, at + timedelta(minutes=1), write_id=write)


def _alert(conn: Connection, shop: int) -> None:
    seed.insert(conn, "alert_rules", "shop_id", shop_id=shop, kind="exposure", limit_units=20, is_on=True,
                set_by="ada", reason="the season begins", set_at=seed.ago(days=3))  # fmt: skip
    from psycopg.types.json import Jsonb

    seed.insert(
        conn, "alerts", shop_id=shop, kind="exposure", fingerprint="exposure", limit_units=20, opened_units=22,
        units=29, worst_units=31, skus=5, worst_skus=Jsonb([{"code": "22423", "units": 11}]), severity="danger",
        headline="Up to 29 units could be oversold, over 5 SKUs", sentence="The limit is 20.", next_step="Look.",
        page="oversell", size=29, told_size=22, opened_at=seed.ago(minutes=18), checked_at=seed.now(), is_told=True,
    )  # fmt: skip


def unwatched(conn: Connection) -> Risk:
    """Amazon's orders are not read, a parked message holds Shopify's watermark, one SKU is split all the same."""
    world = full(conn)
    execute(conn, "update connections set reads_orders = false, watermark_at = null where id = %(id)s",
            id=world.channels["Amazon UK"])  # fmt: skip
    execute(conn, "update connections set watermark_at = %(at)s where id = %(id)s", at=seed.ago(minutes=26),
            id=world.channels["Shopify UK"])  # fmt: skip
    seed.message(conn, world.shop, world.channels["Shopify UK"], seed.ago(minutes=25), "parked", cause="unreadable",
                 detail="line 3 has no quantity")  # fmt: skip
    return world


def calm(conn: Connection) -> Risk:
    """One channel, nothing at risk."""
    shop = seed.shop(conn)
    world = Risk(shop, seed.location(conn, shop))
    world.channels["Shopify UK"] = seed.connection(conn, shop, watermark_at=seed.ago(seconds=20))
    sku = world.skus["MUG"] = seed.sku(conn, shop, "MUG", "Mug")
    seed.level(conn, shop, sku, world.place, 40)
    seed.listing(conn, shop, world.channels["Shopify UK"], sku, world.place, exposed_units=9)
    return world
