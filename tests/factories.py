"""Shops, stock, orders and messages for tests: every argument has a good default.

Values are made as an adapter would hand them over; rows are made by the operations that make them in production.
A listing of the code `MUG` is `variant:MUG` at the channel, its stock is kept at `item:MUG` and `PLACE`.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.catalog import operations as catalog
from core.catalog import queries as catalog_queries
from core.connections import operations as connections
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.connections.queries import connection as connection_row
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.messaging import inbox
from core.messaging.inbox import ANOTHER_TURN, Batch, Incoming, Verdict
from core.money import line_total_minor
from core.orders import intake
from core.orders.intake import Intake
from core.ports import (
    ChannelFulfilment,
    ChannelLine,
    ChannelListing,
    ChannelOrder,
    ChannelRefund,
    ChannelRefundLine,
    Facts,
    LevelObservation,
    Restock,
)

NOW = datetime(2024, 3, 4, 12, 0, tzinfo=UTC)
"""The tests' present: long past, so that nothing in a test's world is recent by a real clock."""
BASELINE = NOW - timedelta(days=1)
ACTOR = Actor("Ada", "a test")
PLACE = "place:1"
CURRENCY = "GBP"

_numbers = itertools.count(1)


def later(minutes: float = 0, *, since: datetime = NOW) -> datetime:
    """The moment so many minutes after (or, negative, before) the tests' present."""
    return since + timedelta(minutes=minutes)


def unique(word: str) -> str:
    """A name nobody else has."""
    return f"{word} {next(_numbers)}"


# --- values as adapters hand them over ---------------------------------------------------------------------------


def make_line(
    ref: str = "1", code: str | None = "MUG", units: int = 1, price: str = "2.50", **more: Any
) -> ChannelLine:
    """An order line of the listing of `code`; its total is worked out."""
    discount = more.pop("discount_minor", 0)
    values = {
        "ref": ref,
        "variant_ref": None if code is None else f"variant:{code}",
        "code": code,
        "title": code or "Tip",
        "units": units,
        "unit_price": Decimal(price),
        "discount_minor": discount,
        "total_minor": line_total_minor(units, Decimal(price), CURRENCY) - discount,
    }
    return ChannelLine(**{**values, **more})


def make_order(ref: str = "1001", lines: Sequence[ChannelLine] | None = None, **more: Any) -> ChannelOrder:
    """An order placed a minute after the tests' present."""
    lines = (make_line(),) if lines is None else tuple(lines)
    placed_at = more.pop("placed_at", later(1))
    values = {
        "ref": ref,
        "name": f"#{ref}",
        "source_ref": None,
        "placed_at": placed_at,
        "created_at": placed_at,
        "version_at": placed_at,
        "cancelled_at": None,
        "cancel_reason": None,
        "financial_status": "paid",
        "currency": CURRENCY,
        "total_minor": sum(line.total_minor for line in lines),
        "customer_ref": None,
        "country_code": "GB",
        "is_test": False,
        "lines": lines,
    }
    return ChannelOrder(**{**values, **more})


def make_fulfilment(
    order_ref: str = "1001", lines: Sequence[tuple[str, int]] = (("1", 1),), ref: str = "f1", **more: Any
) -> ChannelFulfilment:
    """Goods that have left, two minutes after the tests' present."""
    at = more.pop("at", later(2))
    values = {
        "ref": ref,
        "order_ref": order_ref,
        "status": "success",
        "is_shipped": True,
        "fulfilled_at": at,
        "version_at": at,
        "lines": tuple(lines),
    }
    return ChannelFulfilment(**{**values, **more})


def make_refund_line(
    line_ref: str = "1",
    units: int = 1,
    restock: Restock = "return",
    subtotal_minor: int = 250,
    tax_minor: int | None = None,
) -> ChannelRefundLine:
    return ChannelRefundLine(line_ref, units, restock, subtotal_minor, tax_minor)


def make_refund(
    order_ref: str = "1001",
    lines: Sequence[ChannelRefundLine] | None = None,
    ref: str = "r1",
    at: datetime | None = None,
    **more: Any,
) -> ChannelRefund:
    """Money and goods given back, three minutes after the tests' present."""
    at = at or later(3)
    lines = (make_refund_line(),) if lines is None else tuple(lines)
    values = {
        "ref": ref,
        "order_ref": order_ref,
        "refunded_at": at,
        "created_at": at,
        "amount_minor": sum(line.subtotal_minor for line in lines),
        "currency": CURRENCY,
        "lines": lines,
    }
    return ChannelRefund(**{**values, **more})


def make_level(
    code: str = "MUG", units: int | None = 10, at: datetime | None = None, place: str = PLACE
) -> LevelObservation:
    """What the channel shows of a code."""
    return LevelObservation(f"item:{code}", place, units, at or BASELINE)


def make_channel_listing(
    item: str = "MUG", units: int | None = 10, at: datetime | None = None, **more: Any
) -> ChannelListing:
    """A listing of the channel with what it shows; `units` None leaves the level out."""
    at = at or BASELINE
    values = {
        "ref": f"variant:{item}",
        "inventory_ref": f"item:{item}",
        "product_ref": f"product:{item}",
        "code": item,
        "barcode": None,
        "title": f"The {item}",
        "is_tracked": True,
        "status": "active",
        "version_at": at,
        "levels": () if units is None else (make_level(item, units, at),),
    }
    return ChannelListing(**{**values, **more})


# --- rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """One shop with one location and one connection; ids of SKUs and listings by code."""

    connection: ConnectionRow
    location_id: int
    skus: Mapping[str, int]
    listings: Mapping[str, int]

    @property
    def shop_id(self) -> int:
        return self.connection.shop_id

    @property
    def channel(self) -> intake.Channel:
        return intake.Channel(self.shop_id, self.connection.id, self.location_id)


def make_shop(conn: Connection, name: str | None = None, time_zone: str = "Europe/London") -> int:
    return connections.open_shop(conn, name or unique("Shop"), time_zone, CURRENCY, ACTOR, BASELINE)


def make_connection(
    conn: Connection,
    shop_id: int,
    *,
    guarantee_class: str = "A",
    is_sku_source: bool = True,
    locations: Mapping[str, int] | None = None,
    **more: Any,
) -> ConnectionRow:
    """A connection whose place `PLACE` is the shop's location `Main`, unless `locations` says otherwise."""
    if locations is None:
        locations = {PLACE: inventory.open_location(conn, shop_id, "Main", BASELINE)}
    settings = {"is_sku_source": is_sku_source, "locations": dict(locations), **more.pop("settings", {})}
    values = {
        "vendor": "shopify",
        "name": unique("Channel"),
        "base_url": "http://127.0.0.1:9",
        "account_ref": unique("account"),
        "guarantee_class": guarantee_class,
        "settings": settings,
        "secrets": {},
    }
    new = NewConnection(**{**values, **more})
    made = connections.connect(conn, shop_id, new, (connections.new_key(),), ACTOR, BASELINE)
    return connection_row(conn, shop_id, made)


def make_sku(conn: Connection, shop_id: int, code: str = "MUG", *, is_stocked: bool = True) -> int:
    return scalar(
        conn,
        """
        insert into skus (shop_id, code, title, is_stocked, created_at)
        values (%(shop)s, %(code)s, %(code)s, %(stocked)s, %(now)s) returning id
        """,
        shop=shop_id,
        code=code,
        stocked=is_stocked,
        now=BASELINE,
    )


def make_world(
    conn: Connection,
    stock: Mapping[str, int] | None = None,
    *,
    guarantee_class: str = "A",
    publishing: bool = True,
    baseline_at: datetime = BASELINE,
    sold_until: datetime | None = None,
) -> World:
    """A shop whose channel's stock, of `baseline_at`, was taken over, as a first sync does it."""
    stock = {"MUG": 10} if stock is None else stock
    connection = make_connection(conn, make_shop(conn), guarantee_class=guarantee_class)
    listings = [make_channel_listing(code, units, baseline_at) for code, units in stock.items()]
    take_in(conn, connection, listings)
    first_sync(conn, connection, publishing=publishing, sold_until=sold_until)
    return world_of(conn, connection)


def take_in(conn: Connection, connection: ConnectionRow, listings: Sequence[ChannelListing]) -> list[str]:
    return catalog.take_in(conn, intake.listing_source(conn, connection), listings, NOW)


def first_sync(
    conn: Connection, connection: ConnectionRow, *, publishing: bool = True, sold_until: datetime | None = None
) -> inventory.Booked:
    """Take over what the channel shows, set baselines and begin to publish."""
    booked = inventory.take_over(conn, connection.shop_id, connection.id, ACTOR, BASELINE)
    inventory.set_baselines(conn, connection.shop_id, connection.id, booked.listing_ids, sold_until)
    if publishing:
        catalog.begin_publishing(conn, connection.shop_id, connection.id)
    inventory.refresh_all_desired(conn, connection.shop_id)
    return booked


def world_of(conn: Connection, connection: ConnectionRow) -> World:
    """The world as it is now."""
    shop_id = connection.shop_id
    skus = fetch(conn, "select code, id from skus where shop_id = %(shop)s", shop=shop_id)
    listings = fetch(
        conn,
        "select channel_ref, id from listings where shop_id = %(shop)s and connection_id = %(connection)s",
        shop=shop_id,
        connection=connection.id,
    )
    return World(
        connection=connection,
        location_id=intake.channel_of(conn, connection, NOW).location_id or 0,
        skus={row["code"]: row["id"] for row in skus},
        listings={row["channel_ref"].removeprefix("variant:"): row["id"] for row in listings},
    )


def adjust_stock(
    conn: Connection, world: World, code: str, delta: int, *, key: str | None = None, reason: str = "adjustment"
) -> inventory.Booked:
    """An operator's adjustment."""
    item = Adjustment(key or unique("adjustment"), code, delta, reason, NOW)
    return inventory.adjust(conn, world.shop_id, world.location_id, [item], ACTOR, NOW)


# --- messages ----------------------------------------------------------------------------------------------------

POISON = b"poison"
UNREADABLE = b"unreadable"


def make_facts(*items: object) -> Facts:
    """Facts of whatever is handed over, sorted into their places."""

    def of(kind: type) -> tuple[Any, ...]:
        return tuple(item for item in items if isinstance(item, kind))

    return Facts(of(ChannelOrder), of(ChannelFulfilment), of(ChannelRefund), of(LevelObservation), of(ChannelListing))


def body_of(*items: object) -> bytes:
    """A message body that says these facts, readable by `parse`, in this process and in others."""
    return pickle.dumps(make_facts(*items))


def parse(topic: str, body: bytes, triggered_at: datetime | None) -> Facts | None:
    """The channel of these tests: bodies are its own facts."""
    if topic == "unused":
        return None
    if body == UNREADABLE:
        raise BadInput("line 1: not a body of ours")
    if body == POISON:
        raise KeyError("a fault in our own code")
    return pickle.loads(body)


def apply(conn: Connection, world: World, *messages: Facts, now: datetime = NOW) -> list[Verdict]:
    """Book messages as one batch; their verdicts in turn."""
    said = dict(enumerate(messages, start=1))
    verdicts = intake.apply(conn, world.connection, said, now)
    return [verdicts[number] for number in said]


def book(conn: Connection, world: World, *items: object, now: datetime = NOW) -> Verdict:
    """Book one message that says these facts."""
    return apply(conn, world, make_facts(*items), now=now)[0]


def record_bodies(engine: Engine, world: World, *bodies: bytes, topic: str = "facts", now: datetime = NOW) -> list[int]:
    """Put bodies into the inbox; returns their message ids, in turn."""
    messages = [Incoming(f"delivery:{next(_numbers):09}", topic, body, None) for body in bodies]
    with unit_of_work(engine) as conn:
        inbox.record(conn, world.shop_id, world.connection.id, messages, "webhook", now)
        rows = fetch(
            conn,
            "select delivery_id, id from inbox_messages where shop_id = %(shop)s and delivery_id = any(%(refs)s)",
            shop=world.shop_id,
            refs=[message.delivery_id for message in messages],
        )
    ids = {row["delivery_id"]: row["id"] for row in rows}
    return [ids[message.delivery_id] for message in messages]


def drain(engine: Engine, world: World, *, limit: int = 100, now: datetime = NOW) -> int:
    """Drain one batch of the world's lane; returns how many messages had their turn."""
    handler = Intake(world.connection, parse)
    return inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(limit), handler, now)[0]


def give_another_turn(conn: Connection, connection_id: int, cause: str | None = None) -> int:
    """Have the parked messages of a lane claimed again, as a recovery that has begun does; returns how many."""
    return execute(
        conn,
        f"""
        update inbox_messages set {ANOTHER_TURN} where connection_id = %(connection)s and state = 'parked'
            and (%(cause)s::text is null or cause = %(cause)s)
        """,
        connection=connection_id,
        cause=cause,
    )


def message(conn: Connection, message_id: int) -> Any:
    """One inbox message as it is now."""
    return fetch_one(conn, "select * from inbox_messages where id = %(id)s", id=message_id)


# --- what is there -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """A SKU's level, as numbers."""

    on_hand: int
    reserved: int
    available: int


def level_of(conn: Connection, world: World, code: str = "MUG") -> Level:
    row = fetch_one(
        conn,
        """
        select on_hand, reserved, available from stock_levels
        where shop_id = %(shop)s and sku_id = %(sku)s and location_id = %(location)s
        """,
        shop=world.shop_id,
        sku=world.skus[code],
        location=world.location_id,
    )
    return Level(0, 0, 0) if row is None else Level(**row)


def listing_of(conn: Connection, world: World, code: str = "MUG") -> Any:
    return fetch_one(conn, "select * from listings where id = %(id)s", id=world.listings[code])


def reservation_of(conn: Connection, world: World, order_ref: str = "1001", line_ref: str = "1") -> Any:
    return fetch_one(
        conn,
        """
        select r.* from reservations r
        join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where o.shop_id = %(shop)s and o.channel_ref = %(order)s and l.channel_ref = %(line)s
        """,
        shop=world.shop_id,
        order=order_ref,
        line=line_ref,
    )


def moved(conn: Connection, world: World, code: str = "MUG") -> dict[str, int]:
    """Units moved of a SKU, summed by reason."""
    rows = fetch(
        conn,
        """
        select reason, sum(delta_units)::int8 as units from stock_movements
        where shop_id = %(shop)s and sku_id = %(sku)s group by 1 order by 1
        """,
        shop=world.shop_id,
        sku=world.skus[code],
    )
    return {row["reason"]: row["units"] for row in rows}


def count(conn: Connection, table: str, shop_id: int, where: str = "true") -> int:
    return scalar(conn, f"select count(*) from {table} where shop_id = %(shop)s and {where}", shop=shop_id)


def identities_of(conn: Connection, world: World, codes: Iterable[str]) -> catalog_queries.Identities:
    codes = list(codes)
    refs = [f"variant:{code}" for code in codes]
    return catalog_queries.identities(
        conn, world.shop_id, world.connection.id, [*((ref, None) for ref in refs), *((None, code) for code in codes)]
    )


def set_row(conn: Connection, table: str, row_id: int, **values: Any) -> None:
    """Change columns of one row by its id."""
    changes = ", ".join(f"{name} = %({name})s" for name in values)
    assert execute(conn, f"update {table} set {changes} where id = %(id)s", id=row_id, **values) == 1
