"""Bundles, promises, second channels and returns at the desk, for tests: made by the operations that make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core import invariants
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, scalar
from core.inventory import bundles, promises
from core.inventory.operations import refresh_desired
from core.inventory.promises import Answer, Holder, HolderKind, Promise
from core.orders.effects import settle_stock
from tests.factories import (
    ACTOR,
    BASELINE,
    NOW,
    World,
    first_sync,
    make_channel_listing,
    make_connection,
    make_world,
    take_in,
    unique,
    world_of,
)

UNSETTLED = {"listing_is_converged_or_explained", "ledger_transaction_is_sealed"}
"""Nobody pushes in these tests and nobody seals: what listings show stays behind what they should show."""


def make_bundles(
    conn: Connection, stock: Mapping[str, int], made_of: Mapping[str, Mapping[str, int]], **more: Any
) -> World:
    """A world of components in stock and of bundles, in this order; each has a listing."""
    world = make_world(conn, {**stock, **dict.fromkeys(made_of, 0)}, **more)
    for code, components in made_of.items():
        compose(conn, world, code, components)
    return world


def compose(
    conn: Connection, world: World, code: str, components: Mapping[str, int] | None = None, now: datetime = NOW
) -> None:
    """Have a person say what a bundle is made of; of nothing makes it plain."""
    bundles.set_components(conn, world.shop_id, code, components or {}, ACTOR, now)


def second_channel(
    conn: Connection, world: World, codes: Iterable[str], *, sold_until: datetime | None = None, **more: Any
) -> World:
    """Another channel of the same shop that lists some of its codes, from the same location."""
    connection = make_connection(conn, world.shop_id, is_sku_source=False, **more)
    take_in(conn, connection, [make_channel_listing(code, 0, BASELINE) for code in codes])
    first_sync(conn, connection, sold_until=sold_until)
    return world_of(conn, connection)


def make_promise(
    world: World, ref: str, lines: Mapping[str, int] | None = None, *, kind: HolderKind = "checkout", **more: Any
) -> Promise:
    """What a checkout asks for: one mug, unless said otherwise."""
    wanted = {"MUG": 1} if lines is None else lines
    place = more.pop("location_id", world.location_id)
    return Promise(Holder(kind, ref), place, tuple((world.skus[code], units) for code, units in wanted.items()), **more)


def reserve(
    conn: Connection, world: World, ref: str, lines: Mapping[str, int] | None = None, now: datetime = NOW, **more: Any
) -> Answer:
    """One holder asks."""
    (answer,) = promises.reserve(conn, world.shop_id, [make_promise(world, ref, lines, **more)], now)
    return answer


def promise_rows(conn: Connection, world: World, ref: str | None = None) -> Sequence[Any]:
    """The promises of holders other than order lines, with the code of what is promised."""
    return fetch(
        conn,
        """
        select s.code, r.* from reservations r join skus s on s.shop_id = r.shop_id and s.id = r.sku_id
        where r.shop_id = %(shop)s and r.order_line_id is null and (%(ref)s::text is null or r.holder_ref = %(ref)s)
        order by r.id
        """,
        shop=world.shop_id,
        ref=ref,
    )


def take_back_line(
    conn: Connection,
    world: World,
    order_ref: str,
    line_ref: str = "1",
    units: int = 1,
    disposition: str = "restock",
    now: datetime = NOW,
    undoes: str | None = None,
) -> str:
    """Goods of a line come back over the desk: the fact, whose key is returned, then its stock."""
    key = unique("desk")
    order_id = scalar(
        conn,
        """
        select id from orders where shop_id = %(shop)s and connection_id = %(connection)s and channel_ref = %(ref)s
        for update
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        ref=order_ref,
    )
    execute(
        conn,
        """
        insert into line_returns (shop_id, order_line_id, business_key, units, undoes_key, disposition, returned_at,
            recorded_by, recorded_at)
        select shop_id, id, %(key)s, %(units)s, %(undoes)s, %(disposition)s, %(now)s, 'Ada', %(now)s from order_lines
        where shop_id = %(shop)s and order_id = %(order)s and channel_ref = %(line)s
        """,
        shop=world.shop_id,
        key=key,
        units=units,
        undoes=undoes,
        disposition=disposition,
        now=now,
        order=order_id,
        line=line_ref,
    )
    refresh_desired(conn, world.shop_id, settle_stock(conn, world.channel, [order_id], now))
    return key


def line_parts(conn: Connection, world: World, order_ref: str = "1001", line_ref: str = "1") -> dict[str, Any]:
    """The reservations of one order line, by the code of the part."""
    rows = fetch(
        conn,
        """
        select s.code, r.* from reservations r
        join skus s on s.shop_id = r.shop_id and s.id = r.sku_id
        join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.channel_ref = %(order)s
            and l.channel_ref = %(line)s
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        order=order_ref,
        line=line_ref,
    )
    return {row["code"]: row for row in rows}


def shown(conn: Connection, connection: ConnectionRow) -> dict[str, tuple[int, int]]:
    """What each listing of a channel should show, and by how many units its stock is short; by code."""
    rows = fetch(
        conn,
        """
        select channel_code, desired_units, short_units from listings
        where shop_id = %(shop)s and connection_id = %(connection)s and publishing = 'on'
        """,
        shop=connection.shop_id,
        connection=connection.id,
    )
    return {row["channel_code"]: (row["desired_units"], row["short_units"]) for row in rows}


def broken(conn: Connection, world: World, now: datetime = NOW) -> dict[str, Any]:
    """What the audit finds of a world in which nothing but pushes is on its way."""
    found = invariants.check(conn, now, shop_id=world.shop_id, settled=True)
    return {item.name: item.rows for item in found if item.rows and item.name not in UNSETTLED}
