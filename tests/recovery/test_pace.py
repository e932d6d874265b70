"""At what pace failed work goes out again: each piece by what it takes, whatever else is of the same recovery."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from core.db import execute, scalar
from core.errors import BadInput
from core.recovery.choosing import Chosen
from core.recovery.preview import preview
from tests.factories import NOW, World, later
from tests.recovery.failing import Broker, check, dead_notice, groups, look, order_body, park, requeue, run_job


@pytest.fixture
def broker(conn: Connection, world: World) -> Broker:
    return Broker(conn, world.shop_id)


def read(world: World, ref: str) -> dict[str, object]:
    return {"shop_id": world.shop_id, "connection_id": world.connection.id, "kind": "order", "refs": ref}


def scarce(conn: Connection, world: World) -> None:
    """A channel that allows a look-up every two minutes; each job takes one."""
    run_job(conn, "orders.read", read(world, "x"), "finished", later(-60))
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, outcome, elapsed_ms, attempt, quota_left,
            called_at, purpose)
        select %(s)s, %(c)s, 'getOrder', 'GET', 'ok', 50, 1, '0.0167/s', at, 'orders.read'
        from (values (%(at)s::timestamptz)) v (at)
        """,
        s=world.shop_id,
        c=world.connection.id,
        at=later(-59),
    )
    execute(conn, "update connections set vendor = 'amazon' where id = %(c)s", c=world.connection.id)
    execute(
        conn,
        "insert into api_calls (shop_id, connection_id, operation, method, outcome, elapsed_ms, attempt, quota_left,"
        " called_at, purpose) values (%(s)s, %(c)s, 'getOrder', 'GET', 'ok', 50, 1, '0.0167/s', now(), 'test')",
        s=world.shop_id,
        c=world.connection.id,
    )


def test_what_is_dear_goes_out_at_its_own_pace_among_what_is_cheap(
    conn: Connection, world: World, broker: Broker
) -> None:
    scarce(conn, world)
    for number in range(6):
        run_job(conn, "orders.read", read(world, str(number)), "failed", NOW)
    alone = look(conn, world.shop_id)
    # A quarter of one a minute.
    assert alone.per_minute == pytest.approx(0.25, rel=0.1)
    park(conn, world, *(order_body(number) for number in range(600)))
    seen = look(conn, world.shop_id)
    assert seen.seconds_to_drain == pytest.approx(alone.seconds_to_drain + 60, rel=0.05)
    recovery = requeue(conn, world.shop_id, per_minute=None)
    assert scalar(conn, "select seconds_left from recovery_list where recovery_id = %(id)s", id=recovery) == (
        pytest.approx(seen.seconds_to_drain, rel=0.01)
    )
    begun = [len(broker.turn(recovery, later(minutes / 4)).jobs) for minutes in range(4 * 8)]
    assert sum(begun) == 2, "one in four minutes"
    # And all of it in the time that was told.
    works = [broker.turn(recovery, later(minutes / 4)).works for minutes in range(4 * 8, 4 * 28)]
    assert sum(works) == 604


def test_less_than_one_a_minute_is_a_pace(conn: Connection, world: World) -> None:
    scarce(conn, world)
    run_job(conn, "orders.read", read(world, "1"), "failed", NOW)
    assert look(conn, world.shop_id).per_minute < 1


def test_several_recoveries_of_one_channel_share_what_it_can_spare(conn: Connection, world: World) -> None:
    scarce(conn, world)
    paces = []
    for number in range(4):
        run = run_job(conn, "orders.read", read(world, str(number)), "failed", NOW, error=f"Cause{number}: so")
        paces.append(look(conn, world.shop_id, Chosen(source="job", item_id=run)).per_minute)
        requeue(conn, world.shop_id, Chosen(source="job", item_id=run), per_minute=None)
    assert sum(paces) <= 2 * paces[0]
    assert sorted(paces, reverse=True) == paces


def test_a_person_s_own_pace_is_taken_as_it_is(conn: Connection, world: World, broker: Broker) -> None:
    scarce(conn, world)
    for number in range(20):
        run_job(conn, "orders.read", read(world, str(number)), "failed", NOW)
    dead_notice(conn, world.shop_id)
    recovery = requeue(conn, world.shop_id, per_minute=60)
    assert broker.turn(recovery, later(0)).works == 15


def test_a_pace_that_is_none_is_refused_by_the_preview_too(conn: Connection, world: World) -> None:
    park(conn, world, order_body(1))
    for pace in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="a pace is"):
            preview(conn, world.shop_id, Chosen(), check, NOW, pace)
    assert groups(conn, world.shop_id)
