"""A shop with parties, rules and orders of the last days, for the screen of commission rules."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from core.clock import utc_now
from core.commissions import editing
from core.commissions.rules import Assignment, Rule
from core.db import unit_of_work
from tests import factories
from tests.factories import ACTOR, CURRENCY, NOW, World, apply, make_facts, make_line, make_order, set_row
from workers import demo_parties

GOODS = {
    "Candles": ("SOY-1", "SOY-2", "WAX-9"),
    "Kitchen": ("MUG-1", "BOWL-3", "JUG-7"),
    "Lamps": ("DESK-2", "PEND-5"),
    "Stationery": ("PEN-2", "INK-5"),
    "Textiles": ("RUG-1", "THROW-4"),
    "Toys": ("BEAR-1",),
}


def shop_with_commissions(engine: Engine, orders: int = 24) -> World:
    """The demo's parties and rules, orders of the last days, a conflict and a gap."""
    codes = [code for each in GOODS.values() for code in each]
    with unit_of_work(engine) as conn:
        world = factories.make_world(conn, dict.fromkeys(codes, 500))
        set_row(conn, "connections", world.connection.id, name="Shopify")
        for category, each in GOODS.items():
            for code in each:
                set_row(conn, "skus", world.skus[code], category=category)
        assert demo_parties.set_up(conn, world.shop_id, CURRENCY, ACTOR, NOW)
        oak = editing.party_of(conn, world.shop_id, "OAK")
        quill = editing.add_party(conn, world.shop_id, "creator", "QUILL", "Quill & Co", ACTOR, NOW)
        editing.save(
            conn,
            world.shop_id,
            ACTOR,
            utc_now(),
            rules=[
                Rule(0, "platform_fee", "item", "percentage", rate_ppm=140_000),
                Rule(0, "channel_fee", "item", "percentage", connection_id=world.connection.id, rate_ppm=29_000),
                Rule(0, "platform_fee", "item", "percentage", category="Toys", rate_ppm=40_000, currency="JPY"),
            ],
            assignments=[
                Assignment(0, "creator", quill, category="Lamps"),
                Assignment(0, "seller", oak, category="Toys"),
            ],
        )
        start = utc_now() - timedelta(days=20)
        for number in range(orders):
            lines = [make_line("1", codes[number % len(codes)], 1 + number % 3, f"{7 + number * 3}.50")]
            lines.append(make_line("2", codes[(number * 5 + 1) % len(codes)], 1, "12.00"))
            order = make_order(
                f"{2000 + number}",
                lines,
                placed_at=start + timedelta(hours=18 * number),
                codes=("ELIF15",) if number % 4 == 0 else (),
            )
            apply(conn, world, make_facts(order), now=utc_now())
    return world
