"""Warehouses for the Desk's screens: quiet, and one with something of everything on its way."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection

from core.db import execute
from core.inventory import operations as inventory
from tests.desks import Desk, make_desk
from tests.factories import NOW, make_shop

TITLES = {"MUG": "Stoneware mug, blue", "CUP": "Espresso cup", "JUG": "Water jug <1 l> & lid", "SET": "Breakfast set"}


def quiet(conn: Connection) -> Desk:
    """A shop with stock in Main and a Yard, and nothing that waits."""
    desk = make_desk(conn, {"MUG": 40, "CUP": 25, "JUG": 8}, bundle={"MUG": 2, "CUP": 1})
    for number, (code, title) in enumerate(TITLES.items()):
        execute(
            conn,
            "update skus set title = %(title)s, barcode = %(barcode)s, category = 'Kitchen' where id = %(id)s",
            title=title,
            barcode=f"50123456789{number:02}",
            id=desk.world.skus[code],
        )
    return desk


def without_stock(conn: Connection) -> int:
    """A shop with a location where nothing lies."""
    shop_id = make_shop(conn)
    inventory.open_location(conn, shop_id, "Main", NOW)
    return shop_id


class Busy:
    """A desk with open documents of each kind; their numbers."""

    def __init__(self, conn: Connection) -> None:
        self.desk = desk = quiet(conn)
        self.line = desk.sell("1042", units=3, shipped=2)
        self.receipt = desk.receive({"MUG": 12, "CUP": 4}, reference="DN-8812").document_id
        self.order = desk.order_goods(
            {"JUG": 24, "SET": 6}, reference="Potters Ltd", expected_on=date(2024, 3, 1)
        ).document_id
        self.part = desk.receive({"JUG": 10}, against_id=self.order).document_id
        self.draft = desk.draft({"CUP": 3}).document_id
        self.sent = desk.sent({"MUG": 6})
        self.count = desk.open_count()
        desk.count(self.count, MUG=44, CUP=29)
        self.apart = desk.take_back({"JUG": 2}, "quarantine").document_id
        self.undone = desk.undo(desk.adjust(MUG=-1).document_id).document_id
