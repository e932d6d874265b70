"""What a preview says that work takes: by runs that went well, and by how much each piece of work is about."""

from __future__ import annotations

from sqlalchemy import Connection

from core.db import execute
from tests.factories import NOW, World, later
from tests.recovery.failing import look, run_job


def test_a_read_of_many_orders_takes_more_than_one_of_a_few(conn: Connection, world: World) -> None:
    lane = {"shop_id": world.shop_id, "connection_id": world.connection.id, "kind": "order"}
    for minute, refs in enumerate(("A,B", "C,D,E,F")):
        run_job(conn, "orders.read", {**lane, "refs": refs}, "finished", later(minute - 60))
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, status, outcome, elapsed_ms, attempt,
            called_at, purpose)
        select %(shop)s, %(connection)s, 'getOrder', 'GET', 200, 'ok', 5, 1, %(at)s, 'orders.read'
        from generate_series(1, 6)
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        at=later(-59),
    )
    for refs in ("G", "H,I,J,K,L,M,N,O"):
        run_job(conn, "orders.read", {**lane, "refs": refs}, "failed", NOW)
    (use,) = look(conn, world.shop_id, now=later(1)).quota
    assert use.units == 9, "an order each, and not what two runs of three took"
