"""A shop whose money is split: sellers and creators by rules, some weeks of orders on two channels, refunds, a
cancellation, a chargeback, releases, adjustments and holds, each booked by the operation that books it in life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core.audit import Actor
from core.commissions import adjusting, editing, holding, releasing
from core.commissions.rules import Assignment, Rule
from core.connections.queries import ConnectionRow
from core.db import execute, scalar
from core.inventory import operations as inventory
from core.ports import ChannelOrder
from tests import factories
from tests.dashboard import seed
from tests.factories import World, book, make_channel_listing, make_fulfilment, make_line, make_order, make_refund

ADA, BEN = Actor("ada", "the story of this shop"), Actor("ben", "the story of this shop")
GOODS = (
    # code, price, category, seller, creator
    ("22423", "12.95", "Kitchen", "OAK", None),
    ("85123A", "29.50", "Lighting", "OAK", "MIRA"),
    ("47566", "4.95", "Party", "TIDE", None),
    ("84879", "16.90", "Garden", "TIDE", "MIRA"),
    ("20725", "8.25", "Bags", "WOOL", "JONAS"),
    ("22086", "2.95", "Party", None, None),
)


@dataclass(frozen=True)
class Earned:
    """A shop with money in it: parties by code, and orders by name that something happened to."""

    shop: int
    parties: dict[str, int]
    orders: dict[str, int]
    connections: tuple[int, int]
    adjustment: int
    """One that waits for a second person."""


def founded(conn: Connection) -> tuple[int, ConnectionRow, ConnectionRow]:
    """A shop with two channels, goods on both, and nothing sold yet."""
    shop = factories.make_shop(conn, "Harbour Goods")
    place = inventory.open_location(conn, shop, "Bristol", factories.BASELINE)
    shopify = factories.make_connection(conn, shop, name="Shopify UK", locations={factories.PLACE: place})
    second = factories.make_connection(
        conn, shop, name="Shopify EU", is_sku_source=False, locations={factories.PLACE: place}
    )
    listings = [make_channel_listing(code, 5_000, category=category) for code, _, category, _, _ in GOODS]
    for connection in (shopify, second):
        factories.take_in(conn, connection, listings)
    factories.first_sync(conn, shopify, publishing=False)
    for code, _, category, _, _ in GOODS:
        execute(
            conn,
            "update skus set category = %(category)s where shop_id = %(shop)s and code = %(code)s",
            category=category,
            shop=shop,
            code=code,
        )
    return shop, shopify, second


def ruled(conn: Connection, shop: int, at: datetime) -> dict[str, int]:
    """Three sellers, two creators and a referrer with their rules; returns them by code."""
    add = editing.add_party
    parties = {
        "OAK": add(conn, shop, "brand_shop", "OAK", "Oak & Ash", ADA, at),
        "TIDE": add(conn, shop, "affiliate_retailer", "TIDE", "Tideline <Goods>", ADA, at),
        "WOOL": add(conn, shop, "social_seller", "WOOL", "Woolgather", ADA, at),
        "MIRA": add(conn, shop, "creator", "MIRA", "Mira Okafor", ADA, at),
        "JONAS": add(conn, shop, "creator", "JONAS", "Jonas Brandt", ADA, at),
        "HARB": add(conn, shop, "referrer", "HARB", "=Harbour Radio", ADA, at),
    }
    skus = {code: scalar(conn, "select id from skus where shop_id = %(s)s and code = %(c)s", s=shop, c=code)
            for code, *_ in GOODS}  # fmt: skip
    assignments = [
        Assignment(0, role, parties[who], sku_id=skus[code])
        for code, _, _, seller, creator in GOODS
        for role, who in (("seller", seller), ("creator", creator))
        if who
    ]
    assignments.append(Assignment(0, "referrer", parties["HARB"], order_code="RADIO10"))
    rules = [
        Rule(0, "platform_fee", "item", "percentage", rate_ppm=125_000, tax_to="authority"),
        Rule(0, "platform_fee", "item", "percentage", seller_id=parties["OAK"], rate_ppm=90_000, tax_to="authority"),
        Rule(0, "platform_fee", "shipping", "percentage", rate_ppm=50_000),
        Rule(0, "creator_commission", "item", "percentage", rate_ppm=70_000),
        Rule(0, "referrer_fee", "item", "percentage", rate_ppm=20_000, borne_by="platform"),
        Rule(0, "channel_fee", "item", "percentage", rate_ppm=15_000),
    ]
    editing.save(conn, shop, ADA, at, rules=rules, assignments=assignments)
    return parties


def earned(conn: Connection, days: int = 34) -> Earned:
    """Weeks of trade: see the module."""
    now = seed.now()
    shop, first, second = founded(conn)
    parties = ruled(conn, shop, now - timedelta(days=days + 5))
    worlds = (factories.world_of(conn, first), factories.world_of(conn, second))
    for back in range(days, -1, -1):
        at = now - timedelta(days=back, minutes=20)
        _day(conn, worlds, at, back)
        releasing.release_due(conn, shop, at)
        _troubles(conn, worlds[0], at + timedelta(minutes=10), back)
    adjusting.ask(conn, shop, parties["OAK"], "GBP", -1_500, Actor("ada", "A parcel billed twice"), now)
    asked = adjusting.ask(conn, shop, parties["TIDE"], "GBP", 25_000, Actor("ben", "Goodwill for the lost pallet"), now)
    # More than it has: carried forward.
    advance = adjusting.ask(conn, shop, parties["WOOL"], "GBP", -70_000, Actor("ada", "Advance paid in cash"), now)
    adjusting.approve(conn, shop, advance.id, BEN, now)
    holding.place(conn, shop, Actor("ada", "The bank details changed yesterday"), now, party_id=parties["JONAS"])
    names = ("refunded", "late", "cancelled", "held", "newest")
    orders = {name: _order_id(conn, shop, name) for name in names}
    holding.place(conn, shop, Actor("ada", "The buyer disputes it"), now, order_id=orders["held"])
    return Earned(shop, parties, orders, (first.id, second.id), asked.id)


def _day(conn: Connection, worlds: tuple[World, World], at: datetime, back: int) -> None:
    """A few orders on each channel, most of them shipped the same day; the last ones are still here."""
    for number, world in enumerate(worlds):
        for turn in range(1 + (back + number) % 3):
            ref = f"{number + 1}{1000 + back * 10 + turn}"
            order = _order(ref, back + turn + number, at - timedelta(minutes=40 * turn), number)
            book(conn, world, order, now=at)
            if back > 2:
                shipped = make_fulfilment(ref, [(line.ref, line.units) for line in order.lines], f"f{ref}", at=at)
                book(conn, world, shipped, now=at)


def _order(ref: str, step: int, at: datetime, number: int) -> ChannelOrder:
    chosen = [GOODS[(step + shift) % len(GOODS)] for shift in range(1 + step % 3)]
    lines = [
        make_line(str(place), code, 1 + (step + place) % 3, price, tax_minor=0)
        for place, (code, price, _, _, _) in enumerate(chosen, start=1)
    ]
    goods = sum(line.total_minor for line in lines)
    taxes = [(line.total_minor + 3) // 6 for line in lines]
    lines = [make_line(line.ref, line.code, line.units, str(line.unit_price), tax_minor=tax)
             for line, tax in zip(lines, taxes, strict=True)]  # fmt: skip
    return make_order(
        ref,
        lines,
        placed_at=at,
        shipping_minor=495,
        tax_minor=sum(taxes),
        taxes_included=True,
        total_minor=goods + 495,
        codes=("RADIO10",) if step % 4 == 0 else (),
        customer_ref=f"customer-{ref}",
        currency="GBP",
        country_code="GB" if number == 0 else "DE",
    )


# name, how many days ago it was sold, code, price
_STORIES = (
    ("refunded", 18, "85123A", "29.50"),
    ("late", 17, "22423", "12.95"),
    ("cancelled", 2, "84879", "16.90"),
    ("held", 3, "85123A", "29.50"),
    ("newest", 0, "85123A", "29.50"),
)


def _troubles(conn: Connection, world: World, at: datetime, back: int) -> None:
    """What makes a payable fall: refunds of orders that were released already, and what happened to others."""
    for name, days, code, price in _STORIES:
        if days == back:
            book(conn, world, _story(name, code, price, at), now=at)
            if days > 2:
                book(conn, world, make_fulfilment(name, [("1", 1), ("2", 1)], f"f-{name}", at=at), now=at)
    for name, minor, days in (("refunded", 2_950, 2), ("late", 1_295, 1)):
        if days == back:
            line = factories.make_refund_line("1", 1, "no_restock", minor)
            book(conn, world, make_refund(name, [line], f"r-{name}", at=at), now=at)
    if back == 1:
        gone = {"version_at": at, "cancelled_at": at, "cancel_reason": "customer"}
        book(conn, world, _story("cancelled", "84879", "16.90", at - timedelta(days=1), **gone), now=at)


def _story(name: str, code: str, price: str, placed_at: datetime, **more: Any) -> ChannelOrder:
    lines = [make_line("1", code, 1, price, tax_minor=0), make_line("2", "47566", 1, "4.95", tax_minor=0)]
    values = {
        "placed_at": placed_at,
        "shipping_minor": 300,
        "tax_minor": 0,
        "taxes_included": True,
        "total_minor": sum(line.total_minor for line in lines) + 300,
        **more,
    }
    return make_order(name, lines, **values)


def _order_id(conn: Connection, shop: int, name: str) -> int:
    found: int = scalar(
        conn, "select id from orders where shop_id = %(s)s and name = %(name)s", s=shop, name=f"#{name}"
    )
    return found
