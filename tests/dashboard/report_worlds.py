"""Shops whose days are reported: some weeks of two channels, a day that was corrected, one that was missed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.audit import Actor
from core.db import execute
from core.reports import operations as reports
from core.reports.rules import bounds
from tests.dashboard import seed

ZONE = "Europe/London"
ACTOR = Actor("schedule", "the day has closed")
GOODS = (
    ("22423", "Regency cakestand 3 tier", 1295),
    ("85123A", "White hanging heart T-light holder", 295),
    ("47566", "Party bunting", 495),
    ("84879", "Assorted colour bird ornament", 169),
    ("20725", "Lunch bag red retrospot", 165),
    ("22086", "Paper chain kit 50s Christmas", 295),
    ("21212", "Pack of 72 retrospot cake cases", 55),
    ("POST", "Carriage", 500),
)
# How a shop's day goes: most at noon, little at night.
_RHYTHM = (0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 4, 3, 3, 2, 2, 2, 3, 2, 1, 1, 0)


@dataclass(frozen=True)
class Reported:
    """A shop with reports. `day` is the newest reported, `corrected` one with two editions, `missed` has none."""

    shop: int
    day: date
    corrected: date
    missed: date


def yesterday(now: datetime | None = None) -> date:
    return (now or seed.now()).astimezone(ZoneInfo(ZONE)).date() - timedelta(days=1)


def reported(conn: Connection, days: int = 9) -> Reported:
    """Weeks of orders on two channels, each day built in the morning after it; the last one is missed."""
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    place = seed.location(conn, shop)
    skus = {code: seed.sku(conn, shop, code, title, is_stocked=code != "POST") for code, title, _ in GOODS}
    for code, sku_id in skus.items():
        if code != "POST":
            seed.level(conn, shop, sku_id, place, 500)
    listing = seed.listing(conn, shop, shopify, skus["22423"], place)
    last = yesterday()
    corrected = last - timedelta(days=3)
    for back in range(days, -1, -1):
        day = last - timedelta(days=back)
        with seed.many(conn) as many:
            _trade(conn, many, shop, (shopify, amazon), skus, day)
        begins, ends = bounds(day, ZONE)
        _machine(conn, shop, shopify, listing, begins)
        if back == 1:
            _bad_day(conn, shop, skus, place, begins)
        if back:
            reports.build(conn, shop, day, ACTOR, ends + timedelta(hours=5))
    _come_late(conn, shop, shopify, skus, corrected)
    reports.correct(conn, shop, corrected, reports.LOOK, seed.now())
    return Reported(shop, last - timedelta(days=1), corrected, last)


def _trade(
    conn: Connection, many: seed.Many, shop: int, connections: tuple[int, int], skus: dict[str, int], day: date
) -> None:
    """Orders by the hour; more on some weekdays; some given back, one cancelled now and then."""
    begins, _ = bounds(day, ZONE)
    number = 0
    for hour, usual in enumerate(_RHYTHM):
        for each in range(max(0, usual + (day.day * 7 + hour * 3) % 3 - 1 if usual else 0)):
            number += 1
            at = begins + timedelta(hours=hour, minutes=(each * 17 + day.day) % 60)
            connection = connections[(number + day.day) % 3 == 0]
            country = ("GB", "GB", "GB", "FR", "DE", "IE")[(number * 5 + day.day) % 6]
            taxes = {"tax_minor": 215, "shipping_minor": 395} if connection == connections[0] else {}
            order = seed.order(conn, shop, connection, at, f"#{day:%m%d}{number:02}", country_code=country, **taxes)
            first = (number * number + day.day) % (len(GOODS) - 1)
            for code, title, price in (GOODS[first], GOODS[(first * 2 + 1) % len(GOODS)]):
                units = 1 + (number + day.day) % 4
                seed.line(
                    many, shop, order, skus[code], units, code=code, title=title,
                    unit_price=f"{price / 100:.2f}", total_minor=price * units,
                )  # fmt: skip
            if number % 13 == 0:
                _give_back(many, shop, order, at + timedelta(hours=2))
            if number % 19 == 0:
                seed.set_state(conn, "orders", order, cancelled_at=at + timedelta(minutes=40))


def _give_back(conn: seed.Many, shop: int, order: int, at: datetime) -> None:
    seed.insert(
        conn, "refunds", shop_id=shop, order_id=order, channel_ref=f"r-{order}", refunded_at=at,
        channel_created_at=at, amount_minor=1295, currency="GBP",
    )  # fmt: skip


def _machine(conn: Connection, shop: int, connection: int, listing: int, begins: datetime) -> None:
    for hour in range(0, 24, 4):
        at = begins + timedelta(hours=hour)
        seed.confirmed(conn, shop, connection, listing, 9, 8, at)
        state = "failed" if hour == 20 and begins.day % 5 == 0 else "done"
        seed.run(
            conn, shop, connection, state, kind="poll_orders", trigger="schedule", started_at=at,
            requested_at=at, ended_at=at + timedelta(seconds=9),
        )  # fmt: skip
        seed.call(conn, shop, connection, at)


def _bad_day(conn: Connection, shop: int, skus: dict[str, int], place: int, begins: datetime) -> None:
    """Two SKUs run out, one of them is oversold, and an alert says so."""
    for code, out, back in (("47566", 9.5, 14.25), ("22423", 19, None)):
        _move(conn, shop, skus[code], place, -500, begins + timedelta(hours=out))
        if back is not None:
            _move(conn, shop, skus[code], place, 500, begins + timedelta(hours=back))
        else:
            execute(conn, "update stock_levels set on_hand = 0 where sku_id = %(sku)s", sku=skus[code])
    seed.insert(
        conn, "shortages", shop_id=shop, sku_id=skus["22423"], location_id=place,
        began_at=begins + timedelta(hours=19.5), ended_at=begins + timedelta(hours=22), before_units=1,
        after_units=-2, worst_units=-2, is_escrow=False,
    )  # fmt: skip


def _move(conn: Connection, shop: int, sku: int, place: int, units: int, at: datetime) -> None:
    seed.movement(conn, shop, sku, place, units, at=at)


def _come_late(conn: Connection, shop: int, connection: int, skus: dict[str, int], day: date) -> None:
    """Three orders that the channel told of a day later."""
    begins, _ = bounds(day, ZONE)
    for number in range(3):
        order = seed.order(
            conn, shop, connection, begins + timedelta(hours=15, minutes=number), f"#9{number:03}", country_code="GB"
        )  # fmt: skip
        seed.set_state(conn, "orders", order, recorded_at=seed.ago(hours=3))
        seed.line(conn, shop, order, skus["22423"], 2, code="22423", total_minor=2590)
