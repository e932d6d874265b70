"""Shops whose products are at Shopify: in step, waiting for a person for every cause, and held as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from core.db import execute
from tests.dashboard import catalogue_worlds, seed
from tests.dashboard.catalogue_worlds import Catalogue

PROBLEMS = {
    "unreadable": "what the channel answers of it cannot be made out: variants.nodes.0.price (decimal parsing)",
    "unclear": "2 variants have no SKU at the channel: give each one there, then it is read",
    "not_here": "it is at the channel and not here: make it here with the same SKUs, or let the channel be master of"
    " the variants",
    "refused": "the channel does not accept it: handle: another product of the shop has that handle",
}


@dataclass(frozen=True)
class Shown:
    """The shop, its catalogue, its connection to Shopify."""

    shop: int
    catalogue: Catalogue
    connection: int


def in_step(conn: Connection) -> Shown:
    """Every product of ours is there and shows what it should."""
    catalogue = catalogue_worlds.full(conn)
    world = Shown(catalogue.shop, catalogue, seed.connection(conn, catalogue.shop, "Shopify UK"))
    execute(
        conn,
        """
        insert into product_readings (shop_id, connection_id, read_to, whole_read_at, created_at)
        values (%(shop)s, %(connection)s, now() - interval '1 min', now() - interval '2 h', now() - interval '9 d')
        """,
        shop=world.shop,
        connection=world.connection,
    )
    execute(
        conn,
        """
        insert into product_links (shop_id, connection_id, product_id, channel_ref, state, seen_at, judged_version,
            next_at, created_at, updated_at)
        select shop_id, %(connection)s, id, (700000 + id)::text, 'in_step', now() - interval '2 min', version, now(),
            now() - interval '9 d', now() - interval '2 min'
        from products where shop_id = %(shop)s order by id
        """,
        shop=world.shop,
        connection=world.connection,
    )
    return world


def waiting(conn: Connection) -> Shown:
    """30 that cannot be made out, some that are not here, one refused; one was deleted there."""
    world = in_step(conn)
    for place, (cause, many) in enumerate({"unreadable": 30, "unclear": 2, "not_here": 3}.items()):
        execute(
            conn,
            """
            insert into product_links (shop_id, connection_id, channel_ref, state, cause, problem, is_unreadable,
                seen_at, next_at, created_at, updated_at)
            select %(shop)s, %(connection)s, (%(first)s + n)::text, 'asks', %(cause)s, %(problem)s,
                %(cause)s = 'unreadable', now() - interval '2 min', now(), now() - interval '9 d',
                now() - n * interval '7 min'
            from generate_series(1, %(many)s) n
            """,
            shop=world.shop,
            connection=world.connection,
            cause=cause,
            problem=PROBLEMS[cause],
            first=800000 + place * 1000,
            many=many,
        )
    cup, shirt = (world.catalogue.products[name] for name in ("cup-0", "linen-shirt"))
    for product, state, cause, problem in (
        (cup, "asks", "refused", PROBLEMS["refused"]),
        (shirt, "gone", "deleted", "it was deleted at the channel: remove it here too"),
    ):
        execute(
            conn,
            """
            update product_links set state = %(state)s, cause = %(cause)s, problem = %(problem)s,
                updated_at = now() - interval '3 h'
            where shop_id = %(shop)s and product_id = %(product)s
            """,
            shop=world.shop,
            product=product,
            state=state,
            cause=cause,
            problem=problem,
        )
    return world


def held(conn: Connection) -> Shown:
    """Shopify lets us write nothing: what is to be written waits for that."""
    world = in_step(conn)
    execute(
        conn,
        """
        update product_readings set writes_held_since = now() - interval '25 min',
            writes_held_why = 'it does not let us write products (the scope write_products is not granted)'
        where shop_id = %(shop)s
        """,
        shop=world.shop,
    )
    execute(conn, "update product_links set state = 'differs' where shop_id = %(shop)s", shop=world.shop)
    return world
