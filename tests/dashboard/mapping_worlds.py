"""Shops for the Mapping screen: two channels, and on the second what nobody knows, what is answered and set aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from core.audit import Actor
from core.clock import utc_now
from core.db import execute
from core.identity import operations
from core.identity.rules import Identifier, identifier
from core.orders import intake
from core.ports import ChannelLine, ChannelListing
from tests.factories import (
    NOW,
    World,
    book,
    first_sync,
    make_channel_listing,
    make_connection,
    make_line,
    make_order,
    make_shop,
    make_world,
    set_row,
    world_of,
)

EAN, OTHER_EAN = "5012345678900", "4006381333931"
ADA = Actor("ada", "Looked at the label")

TITLES = {
    "MUG-BLUE": "Stoneware mug, blue",
    "MUG-RED": "Stoneware mug, red",
    "CUP": "Espresso cup, white",
    "JUG": "Water jug <1 l> & lid",
    "TEA-50": "Breakfast tea, 50 bags",
}
WAITING = "AMZ-MUG-B2"
"""A seller SKU of Amazon that is a blue mug, and that two orders wait for."""
MARKED = "*B0LD*-[x]<b>"


def quiet(conn: Connection) -> int:
    """A shop whose channel has been connected and has told nothing yet."""
    shop_id = make_shop(conn)
    make_connection(conn, shop_id, name="Shopify UK")
    return shop_id


def busy(conn: Connection) -> World:
    """A shop with identifiers in every state; the world of its Amazon."""
    home = make_world(conn, dict.fromkeys(TITLES, 20))
    set_row(conn, "connections", home.connection.id, name="Shopify UK")
    for code, title in TITLES.items():
        set_row(conn, "skus", home.skus[code], title=title)
    set_row(conn, "skus", home.skus["MUG-BLUE"], barcode=EAN)
    for code in ("CUP", "JUG"):
        set_row(conn, "skus", home.skus[code], barcode=OTHER_EAN)
    amazon = make_connection(
        conn, home.shop_id, name="Amazon UK", vendor="amazon", is_sku_source=False, guarantee_class="B"
    )
    intake.take_in(conn, amazon, [_listing(code, units, **more) for code, units, more in _LISTINGS], NOW)
    intake.match_listings(conn, amazon, NOW)
    first_sync(conn, amazon)
    there = world_of(conn, amazon)
    book(conn, there, make_order("1001", [_line(WAITING, 2), _line("TEA-50", 1)]))
    book(conn, there, make_order("1002", [_line(WAITING, 1)]))
    book(conn, there, make_order("1003", [_line(MARKED, 2)]))
    book(conn, there, make_order("1004", [_line("MUG-RED", 3)]))
    operations.ignore_identifier(conn, home.shop_id, one(there, "FOREIGN"), ADA, utc_now())
    execute(conn, "update orders set placed_at = now() - interval '3 hours' where shop_id = %(s)s", s=home.shop_id)
    return there


def one(there: World, value: str, kind: str = "variant") -> Identifier:
    return identifier(there.connection.id, kind, value)


_LISTINGS = [
    (WAITING, 3, {"title": "Stoneware mug in blue", "barcode": EAN, "product_ref": "B0MUG00001"}),
    (f"{WAITING}-FBA", 3, {"title": "Stoneware mug in blue", "barcode": EAN, "product_ref": "B0MUG00001",
                          "label_ref": "X0001MUGB2"}),
    ("espresso-w", 5, {"title": "Cup for espresso", "barcode": OTHER_EAN}),
    ("mug-red", 5, {"title": "Red mug"}),
    (MARKED, 4, {"title": "Gift wrap <i>[red]</i>"}),
    ("FOREIGN", 9, {"title": "Somebody else’s lamp"}),
    ("TEA-50", 12, {}),
    ("MUG-RED", 12, {}),
]  # fmt: skip


def _listing(code: str, units: int, **more: Any) -> ChannelListing:
    return make_channel_listing(code, units, **{"ref": code, "inventory_ref": code, **more})


def _line(code: str, units: int) -> ChannelLine:
    title = {name: more.get("title") for name, _, more in _LISTINGS}[code]
    return replace(make_line(code, code=code, units=units), variant_ref=code, title=title or code)
