"""A shop with bundles, promises, rules and several places, made by the operations that people use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from core.audit import Actor
from core.clock import utc_now
from core.connections.queries import connection as connection_row
from core.db import execute, scalar
from core.inventory import bundles, promises
from core.inventory.operations import Adjustment, adjust, refresh_desired
from tests import factories
from tests.dashboard import seed
from tests.factories import World

ANN = Actor("ann", "a world to look at")
GOODS = {
    "TEA-EARL": ("Earl Grey, 20 bags", 48),
    "CUP-BLUE": ("Stoneware cup, blue", 31),
    "SPOON": ("Tea spoon, brass", 240),
    "CANDLE-FIG": ("Fig candle, 220 g", 120),
    "GIFT-TEA": ("Tea for two, gift set", 0),
}


def full(conn: Connection) -> World:
    """Two channels, a bundle of three, a rule, a checkout and an order that hold some, a writing that is under way."""
    world = factories.make_world(conn, {code: units for code, (_, units) in GOODS.items()})
    shop = world.shop_id
    execute(conn, "update connections set name = 'Shopify UK' where shop_id = %(shop)s", shop=shop)
    for code, (title, _) in GOODS.items():
        execute(
            conn,
            "update skus set title = %(title)s, category = %(category)s where shop_id = %(shop)s and code = %(code)s",
            shop=shop,
            title=title,
            code=code,
            category="Candles" if code.startswith("CANDLE") else "Tea",
        )
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    seed.call(conn, shop, amazon, seed.now())
    for code in GOODS:
        values = {"desired_units": 0, "published_units": 12, "channel_code": code}
        seed.listing(conn, shop, amazon, world.skus[code], world.location_id, **values)
    bundles.set_components(conn, shop, "GIFT-TEA", {"TEA-EARL": 2, "CUP-BLUE": 2, "SPOON": 2}, ANN, utc_now())
    rule = {"share_percent": 20, "safety_stock_units": 10, "buffer_units": 2}
    _rule(conn, shop, amazon, world.skus["CANDLE-FIG"], rule)
    lines = ((world.skus["GIFT-TEA"], 3), (world.skus["CANDLE-FIG"], 4))
    deadline = utc_now() + timedelta(minutes=12)
    promises.reserve(
        conn,
        shop,
        [promises.Promise(promises.Holder("checkout", "ch-4711"), world.location_id, lines, deadline)],
        utc_now(),
    )
    receipt = Adjustment("delivery", "CANDLE-FIG", 24, "receipt", utc_now(), "delivery 77")
    adjust(conn, shop, world.location_id, [receipt], ANN, utc_now())
    refresh_desired(conn, shop, world.skus.values())
    return factories.world_of(conn, connection_row(conn, shop, world.connection.id))


def _rule(conn: Connection, shop: int, connection: int, sku: int, terms: Mapping[str, Any]) -> None:
    changes = ", ".join(f"{name} = %({name})s" for name in terms)
    listing = scalar(
        conn,
        f"""
        update listings set {changes} where shop_id = %(shop)s and connection_id = %(connection)s
            and sku_id = %(sku)s returning id
        """,
        shop=shop,
        connection=connection,
        sku=sku,
        **terms,
    )
    assert listing
