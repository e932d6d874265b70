"""An account of a vendor is connected to a shop once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import Connection, Engine

from core.connections import queries
from core.connections.operations import StockShared
from core.db import unit_of_work
from core.errors import BadInput
from tests.factories import make_connection, make_shop
from tests.integration.test_lock_order import beside


def test_an_account_is_connected_once_to_a_shop_whatever_it_is_called(conn: Connection) -> None:
    shop = make_shop(conn)
    first = make_connection(conn, shop, name="Store", account_ref="goods.myshopify.com")
    with pytest.raises(BadInput, match=r"connected already, as Store: .* give its name"):
        make_connection(conn, shop, name="Outlet", account_ref="Goods.myshopify.com", locations={})
    again = make_connection(conn, shop, name="Store", account_ref="goods.myshopify.com", locations={})
    assert again.id == first.id
    make_connection(conn, make_shop(conn), account_ref="goods.myshopify.com")
    make_connection(conn, shop, vendor="amazon", account_ref="goods.myshopify.com", locations={})
    assert len(queries.connections_of(conn, shop)) == 2


def test_a_seller_is_one_account_in_each_marketplace(conn: Connection) -> None:
    shop = make_shop(conn)
    for name, region, place in (("Amazon US", "na", "ATVPDKIKX0DER"), ("Amazon UK", "eu", "A1F83G8C2ARO7P")):
        settings = {"marketplace_id": place, "region": region}
        make_connection(conn, shop, vendor="amazon", name=name, account_ref="A1", locations={}, settings=settings)
    assert len(queries.connections_of(conn, shop)) == 2
    with pytest.raises(BadInput, match="as Amazon UK"):
        make_connection(
            conn, shop, vendor="amazon", account_ref="A1", locations={}, settings={"marketplace_id": "A1F83G8C2ARO7P"}
        )


def test_where_no_region_is_told_the_same_address_is_the_same_stock(conn: Connection) -> None:
    shop = make_shop(conn)
    here = {"marketplace_id": "A1F83G8C2ARO7P"}
    make_connection(conn, shop, vendor="amazon", name="UK", account_ref="A1", locations={}, settings=here)
    there = {"marketplace_id": "A1PA6795UKMFR9", "region": "eu"}
    with pytest.raises(StockShared, match="as UK"):
        make_connection(conn, shop, vendor="amazon", account_ref="a1", locations={}, settings=there)
    make_connection(conn, shop, vendor="amazon", account_ref="a1", locations={}, settings={**there, "own_skus": True})


def test_an_account_that_two_connect_at_once_is_connected_once(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        shop = make_shop(conn)

    def connect(conn: Connection, name: str) -> None:
        make_connection(conn, shop, name=name, account_ref="goods.myshopify.com", locations={})

    def race() -> None:
        with ExitStack() as stack, unit_of_work(engine) as conn:
            connect(conn, "Store")
            stack.enter_context(beside(engine, lambda other: connect(other, "Outlet")))

    with pytest.raises(BadInput, match="as Store"):
        race()
    with unit_of_work(engine) as conn:
        assert [row.name for row in queries.connections_of(conn, shop)] == ["Store"]
