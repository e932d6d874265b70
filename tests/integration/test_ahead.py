"""Messages read ahead: what is made of them beforehand is used, and nothing else about their turn changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine

from core.db import count_grown_tables, execute, fetch, unit_of_work
from core.messaging import inbox
from core.messaging.ahead import ReadAhead
from core.messaging.inbox import HANDLED, Batch, Handler, Received, Verdict
from core.orders.intake import Intake
from tests.factories import NOW, POISON, UNREADABLE, World, body_of, make_order, make_world, parse, record_bodies


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn)


def orders(*numbers: int) -> list[bytes]:
    return [body_of(make_order(str(number))) for number in numbers]


def drain(engine: Engine, world: World, handler: Handler, ahead: ReadAhead, limit: int) -> list[int]:
    """How many each batch claimed, until nothing was left."""
    sizes, after = [], 0
    while True:
        claimed, after = inbox.drain_batch(
            engine, world.shop_id, world.connection.id, after, Batch(limit), handler, NOW, ahead
        )
        if not claimed:
            return sizes
        sizes.append(claimed)


def reading(engine: Engine, world: World, limit: int, prepare: object) -> ReadAhead:
    return ReadAhead(engine, world.shop_id, world.connection.id, Batch(limit), prepare)  # type: ignore[arg-type]


def states(engine: Engine) -> list[tuple[str, str | None]]:
    with engine.connect() as conn:
        rows = fetch(conn, "select state, cause from inbox_messages order by id")
    return [(row["state"], row["cause"]) for row in rows]


def test_the_second_batch_is_made_sense_of_while_the_first_is_booked(engine: Engine, world: World) -> None:
    ids = record_bodies(engine, world, *orders(1, 2, 3, 4, 5))
    prepared: list[int] = []
    handled: dict[int, bool] = {}
    intake = Intake(world.connection, parse)

    def prepare(message: Received) -> object:
        prepared.append(message.id)
        return intake.prepare(message)

    def handle(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        handled.update({message.id: message.prepared is not None for message in batch})
        return intake(conn, batch, now)

    with reading(engine, world, 2, prepare) as ahead:
        assert drain(engine, world, handle, ahead, 2) == [2, 2, 1]
    assert prepared == ids[2:]
    assert handled == dict(zip(ids, [False, False, True, True, True], strict=True))
    assert states(engine) == [("handled", None)] * 5


def test_what_cannot_be_read_ahead_is_parked_in_its_turn_with_its_cause(engine: Engine, world: World) -> None:
    record_bodies(engine, world, *orders(1, 2), UNREADABLE, POISON, *orders(3, 4))
    intake = Intake(world.connection, parse)
    with reading(engine, world, 2, intake.prepare) as ahead:
        assert drain(engine, world, intake, ahead, 2) == [2, 2, 2]
    expected = [("handled", None)] * 6
    expected[2:4] = [("parked", "unreadable"), ("parked", "unexpected")]
    assert states(engine) == expected


def test_the_claim_alone_decides_whatever_was_read_ahead(engine: Engine, world: World) -> None:
    """Between reading and claiming, another takes one message, and one more arrives."""
    ids = record_bodies(engine, world, *orders(1, 2, 3))
    intake = Intake(world.connection, parse)
    with reading(engine, world, 1, intake.prepare) as ahead:
        inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(1), intake, NOW, ahead)
        with unit_of_work(engine) as conn:
            execute(conn, "update inbox_messages set state = 'ignored' where id = %(id)s", id=ids[1])
        record_bodies(engine, world, *orders(4))
        claimed, last = inbox.drain_batch(
            engine, world.shop_id, world.connection.id, ids[0], Batch(5), intake, NOW, ahead
        )
    assert (claimed, last) == (2, ids[2] + 1)
    assert [state for state, _ in states(engine)] == ["handled", "ignored", "handled", "handled"]


def test_a_database_that_does_not_answer_the_reader_costs_nothing_but_time(engine: Engine, world: World) -> None:
    record_bodies(engine, world, *orders(1, 2))

    def handle(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        assert all(message.prepared is None and message.body for message in batch)
        return {message.id: HANDLED for message in batch}

    class Away:
        def execution_options(self, **_: object) -> Engine:
            return engine.execution_options(isolation_level="no such level")

    with ReadAhead(Away(), world.shop_id, world.connection.id, Batch(1), lambda message: message) as ahead:  # type: ignore[arg-type]
        assert drain(engine, world, handle, ahead, 1) == [1, 1]


def test_tables_that_have_grown_are_counted_once(engine: Engine, world: World) -> None:
    count_grown_tables(engine)
    record_bodies(engine, world, *[b"%d" % number + b" " * 200 for number in range(2000)])
    assert count_grown_tables(engine) == 1
    assert count_grown_tables(engine) == 0
    with engine.connect() as conn:
        rows = fetch(conn, "select reltuples from pg_class where relname = 'inbox_messages'")
    assert rows[0]["reltuples"] == 2000
