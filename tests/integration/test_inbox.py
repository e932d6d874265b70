"""The inbox: recorded once, claimed by one, poison isolated, nothing lost by the machinery's faults."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from core import embedded
from core.db import execute, fetch, scalar, unit_of_work
from core.errors import BadInput, Permanent, Retryable
from core.messaging import inbox
from core.messaging.inbox import HANDLED, WAIT_FOR, Batch, Handler, Incoming, Received, Verdict
from core.orders.intake import Intake
from tests.factories import (
    NOW,
    POISON,
    UNREADABLE,
    Level,
    World,
    body_of,
    count,
    drain,
    give_another_turn,
    later,
    level_of,
    make_channel_listing,
    make_facts,
    make_fulfilment,
    make_level,
    make_line,
    make_order,
    make_world,
    parse,
    record_bodies,
)


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn)


def states(engine: Engine, world: World) -> list[str]:
    with engine.connect() as conn:
        rows = fetch(conn, "select state from inbox_messages where shop_id = %(s)s order by id", s=world.shop_id)
    return [row["state"] for row in rows]


def causes(engine: Engine, world: World) -> list[tuple[str | None, str | None]]:
    with engine.connect() as conn:
        rows = fetch(
            conn, "select cause, detail from inbox_messages where shop_id = %(s)s order by id", s=world.shop_id
        )
    return [(row["cause"], row["detail"]) for row in rows]


def handle(engine: Engine, world: World, handler: Handler, *, limit: int = 100, after: int = 0) -> tuple[int, int]:
    return inbox.drain_batch(engine, world.shop_id, world.connection.id, after, Batch(limit), handler, NOW)


def orders(*numbers: int) -> list[bytes]:
    return [body_of(make_order(str(number))) for number in numbers]


def test_a_delivery_is_recorded_once(engine: Engine, world: World) -> None:
    first = Incoming("d1", "facts", b"first", None)
    with unit_of_work(engine) as conn:
        assert inbox.record(conn, world.shop_id, world.connection.id, [first, first], "webhook", NOW) == 1
    with unit_of_work(engine) as conn:
        again = [Incoming("d1", "facts", b"other", None), Incoming("d2", "facts", b"new", None)]
        assert inbox.record(conn, world.shop_id, world.connection.id, again, "poll", later(1)) == 1
        rows = fetch(conn, "select body, road from inbox_messages order by delivery_id")
    assert [(bytes(row["body"]), row["road"]) for row in rows] == [(b"first", "webhook"), (b"new", "poll")]


def test_a_batch_is_handled_in_order_and_settled_with_its_effect(engine: Engine, world: World) -> None:
    record_bodies(engine, world, *orders(1, 2, 3))
    assert drain(engine, world) == 3
    assert states(engine, world) == ["handled"] * 3
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, 3, 7)
        assert count(conn, "inbox_messages", world.shop_id, "settled_at is not null and attempts = 1") == 3


def test_nothing_to_claim_is_nothing_done(engine: Engine, world: World) -> None:
    assert handle(engine, world, Intake(world.connection, parse), after=7) == (0, 7)


def test_a_claim_goes_on_after_the_last_id(engine: Engine, world: World) -> None:
    ids = record_bodies(engine, world, *orders(1, 2, 3))
    handler = Intake(world.connection, parse)
    assert handle(engine, world, handler, limit=2) == (2, ids[1])
    assert handle(engine, world, handler, limit=2, after=ids[1]) == (1, ids[2])


def test_what_another_drain_has_claimed_is_skipped(engine: Engine, world: World) -> None:
    ids = record_bodies(engine, world, *orders(1, 2))
    with unit_of_work(engine) as other:
        fetch(other, "select 1 from inbox_messages where id = %(id)s for update", id=ids[0])
        assert drain(engine, world) == 1
    assert states(engine, world) == ["received", "handled"]
    assert drain(engine, world) == 1


def faulty_booking(world: World) -> Handler:
    """Reads everything, and raises when the poison is to be booked: which message it was is not told."""

    def handler(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        verdicts = Intake(world.connection, parse)(conn, batch, now)
        if any(message.body == POISON for message in batch):
            raise KeyError("a fault in our own code")
        return verdicts

    return handler


@pytest.mark.parametrize("position", range(5))
def test_the_poisonous_message_alone_is_parked_and_the_others_go_through(
    engine: Engine, world: World, position: int
) -> None:
    bodies = orders(1, 2, 3, 4)
    bodies.insert(position, POISON)
    record_bodies(engine, world, *bodies)
    assert handle(engine, world, faulty_booking(world))[0] == 5
    expected = ["handled"] * 4
    expected.insert(position, "parked")
    assert states(engine, world) == expected
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, 4, 6)
    assert causes(engine, world)[position] == ("unexpected", "handling it raised KeyError")


def test_two_poisonous_messages_are_both_found(engine: Engine, world: World) -> None:
    record_bodies(engine, world, POISON, *orders(1), POISON, *orders(2))
    handle(engine, world, faulty_booking(world))
    assert states(engine, world) == ["parked", "handled", "parked", "handled"]


def test_data_the_database_refuses_is_poison_too(engine: Engine, world: World) -> None:
    too_much = body_of(make_order("2", lines=[make_line(units=2**62)]), make_order("3", lines=[make_line(units=2**62)]))
    bad = body_of(make_order("4", name="nul \x00 in it"))
    record_bodies(engine, world, *orders(1), too_much, bad, *orders(5))
    drain(engine, world)
    assert states(engine, world) == ["handled", "parked", "parked", "handled"]
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, 2, 8)
        assert count(conn, "orders", world.shop_id) == 2


def test_an_unreadable_body_is_parked_with_what_is_wrong_with_it(engine: Engine, world: World) -> None:
    record_bodies(engine, world, UNREADABLE, *orders(1))
    drain(engine, world)
    assert states(engine, world) == ["parked", "handled"]
    assert causes(engine, world)[0] == ("unreadable", "line 1: not a body of ours")


def test_a_cause_never_carries_the_message_of_an_unexpected_error(engine: Engine, world: World) -> None:
    def fail(_conn: Connection, _batch: Sequence[Received], _now: datetime) -> dict[int, Verdict]:
        raise ValueError("Jo Bloggs, 1 High Street")

    record_bodies(engine, world, b"x")
    handle(engine, world, fail)
    assert causes(engine, world) == [("unexpected", "handling it raised ValueError")]


@contextmanager
def victim(engine: Engine, bodies: int, world: World):
    """Messages that must come out of a fault of the machinery as they went in."""
    record_bodies(engine, world, *orders(*range(1, bodies + 1)))
    yield
    assert states(engine, world) == ["received"] * bodies
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, 0, 10)
        assert count(conn, "orders", world.shop_id) == 0
        assert count(conn, "inbox_messages", world.shop_id, "attempts > 0") == 0
    assert drain(engine, world) == bodies
    assert states(engine, world) == ["handled"] * bodies


def then(world: World, fault: Callable[[Connection], None]) -> Handler:
    """Books the batch as ever, then the fault happens."""

    def handler(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        verdicts = Intake(world.connection, parse)(conn, batch, now)
        fault(conn)
        return verdicts

    return handler


def test_a_lost_connection_parks_and_settles_nothing(engine: Engine, world: World, database: embedded.Database) -> None:
    root = create_engine(database.superuser_url, isolation_level="AUTOCOMMIT")

    def lose(conn: Connection) -> None:
        pid = scalar(conn, "select pg_backend_pid()")
        with root.connect() as killer:
            killer.execute(text("select pg_terminate_backend(:pid)"), {"pid": pid})
        scalar(conn, "select 1")

    with victim(engine, 3, world), pytest.raises(DBAPIError, match="connection"):
        handle(engine, world, then(world, lose))
    root.dispose()


def test_a_lock_that_does_not_come_in_time_parks_and_settles_nothing(engine: Engine, world: World) -> None:
    def wait(conn: Connection) -> None:
        execute(conn, "set local lock_timeout = 1")
        execute(conn, "lock table shops in access exclusive mode")

    with victim(engine, 3, world), unit_of_work(engine) as other:
        execute(other, "lock table shops in access share mode")
        with pytest.raises(DBAPIError, match="lock timeout"):
            handle(engine, world, then(world, wait))


def test_a_deadlock_parks_and_settles_nothing(engine: Engine, world: World, database: embedded.Database) -> None:
    """The drain holds the level and asks for a row whose holder asks for the level."""
    # The server gives up on whoever looks first; only a superuser may look later.
    patient = create_engine(database.superuser_url, connect_args={"options": "-c deadlock_timeout=60s"})
    is_held, may_ask = threading.Event(), threading.Event()

    def ask_for_level() -> None:
        with unit_of_work(patient) as other:
            # What is booked refers to its shop all along: that alone must not wait for this.
            fetch(other, "select 1 from shops where shop_id = %(s)s for no key update", s=world.shop_id)
            is_held.set()
            assert may_ask.wait(20)
            fetch(other, "select 1 from stock_levels where shop_id = %(s)s for update", s=world.shop_id)

    other = threading.Thread(target=ask_for_level)

    def deadlock(conn: Connection) -> None:
        may_ask.set()
        until_blocked(engine)
        fetch(conn, "select 1 from shops where shop_id = %(s)s for update", s=world.shop_id)

    with victim(engine, 2, world):
        other.start()
        assert is_held.wait(20)
        with pytest.raises(DBAPIError, match="deadlock detected"):
            handle(engine, world, then(world, deadlock))
        other.join(20)
    patient.dispose()


def test_not_now_is_never_poison(engine: Engine, world: World) -> None:
    def busy(_conn: Connection) -> None:
        raise Retryable("the other side is busy")

    with victim(engine, 3, world), pytest.raises(Retryable):
        handle(engine, world, then(world, busy))


def test_a_message_that_cannot_be_read_is_found_without_a_search(engine: Engine, world: World) -> None:
    calls = []

    def handler(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        calls.append(len(batch))
        return Intake(world.connection, parse)(conn, batch, now)

    record_bodies(engine, world, *orders(1), POISON, UNREADABLE, *orders(2))
    handle(engine, world, handler)
    assert states(engine, world) == ["handled", "parked", "parked", "handled"]
    assert calls == [4]


def test_a_fault_of_the_machinery_in_a_part_undoes_that_part_and_leaves_it_its_turn(
    engine: Engine, world: World
) -> None:
    """Another part of the batch had been booked, each message with its effect, when the connection failed for this."""

    def handler(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        if any(message.body == POISON for message in batch) and len(batch) == 1:
            raise Retryable("gone")
        return faulty_booking(world)(conn, batch, now)

    record_bodies(engine, world, *orders(1), POISON)
    with pytest.raises(Retryable):
        handle(engine, world, handler)
    assert states(engine, world) == ["handled", "received"]
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, 1, 9)


@pytest.mark.parametrize(
    ("error", "is_poison"),
    [
        (BadInput("no"), True),
        (Permanent("no"), True),
        (KeyError("no"), True),
        (TypeError("no"), True),
        (ZeroDivisionError("no"), True),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), True),
        (Retryable("no"), False),
        (MemoryError(), False),
        (OSError("no"), False),
        (TimeoutError("no"), False),
        (RuntimeError("no"), False),
    ],
)
def test_what_poison_is(error: Exception, is_poison: bool) -> None:
    assert inbox.is_poison(error) is is_poison


def test_a_shipment_that_overtakes_its_order_is_released_by_it(engine: Engine, world: World) -> None:
    record_bodies(engine, world, body_of(make_fulfilment()))
    assert drain(engine, world) == 1
    assert states(engine, world) == ["waiting"]
    assert drain(engine, world) == 0
    record_bodies(engine, world, *orders(1001))
    drain(engine, world)
    assert states(engine, world) == ["received", "handled"]
    drain(engine, world)
    assert states(engine, world) == ["handled", "handled"]
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(9, 0, 9)


def test_a_level_that_overtakes_its_listing_is_released_by_it(engine: Engine, world: World) -> None:
    record_bodies(engine, world, body_of(make_level("CUP", 4, later(1))))
    drain(engine, world)
    record_bodies(engine, world, body_of(make_channel_listing("CUP", None)))
    drain(engine, world)
    drain(engine, world)
    assert states(engine, world) == ["handled", "handled"]
    with engine.connect() as conn:
        assert scalar(conn, "select published_units from listings where channel_code = 'CUP'") == 4


def test_the_order_of_another_connection_releases_nothing(engine: Engine, world: World) -> None:
    record_bodies(engine, world, body_of(make_fulfilment()))
    drain(engine, world)
    with unit_of_work(engine) as conn:
        other = make_world(conn)
    record_bodies(engine, other, *orders(1001))
    drain(engine, other)
    assert states(engine, world) == ["waiting"]


def test_a_wait_that_ends_parks_with_its_cause_and_replay_gives_it_another_turn(engine: Engine, world: World) -> None:
    record_bodies(engine, world, body_of(make_fulfilment()))
    drain(engine, world)
    with unit_of_work(engine) as conn:
        assert inbox.expire_waiting(conn, NOW + WAIT_FOR - timedelta(seconds=1)) == 0
        assert inbox.expire_waiting(conn, NOW + WAIT_FOR) == 1
    assert causes(engine, world) == [("unknown_order", "waited until its deadline for order:1001")]
    record_bodies(engine, world, *orders(1001))
    drain(engine, world)
    assert states(engine, world) == ["parked", "handled"]
    with unit_of_work(engine) as conn:
        assert give_another_turn(conn, world.connection.id, "unknown_order") == 1
    drain(engine, world)
    assert states(engine, world) == ["handled", "handled"]
    assert causes(engine, world)[0] == (None, None)


def test_what_is_parked_is_counted_by_cause(engine: Engine, world: World) -> None:
    ids = record_bodies(engine, world, UNREADABLE, POISON, UNREADABLE)
    drain(engine, world)
    with engine.connect() as conn:
        rows = inbox.parked_causes(conn, None, None)
        assert [(row["cause"], row["messages"], row["example"]) for row in rows] == [
            ("unreadable", 2, ids[2]),
            ("unexpected", 1, ids[1]),
        ]
        assert len(inbox.parked_causes(conn, world.connection.id, "unexpected")) == 1
        assert inbox.parked_causes(conn, world.connection.id + 1, None) == []


def test_lanes_with_something_to_claim(engine: Engine, world: World) -> None:
    lane = (world.shop_id, world.connection.id)
    with engine.connect() as conn:
        assert inbox.lanes_with_received(conn) == []
    record_bodies(engine, world, *orders(1))
    with engine.connect() as conn:
        assert (inbox.lanes_with_received(conn), inbox.has_received(conn, *lane)) == ([lane], True)
    drain(engine, world)
    with engine.connect() as conn:
        assert (inbox.lanes_with_received(conn), inbox.has_received(conn, *lane)) == ([], False)


def test_every_message_of_a_batch_gets_a_verdict(engine: Engine, world: World) -> None:
    record_bodies(engine, world, *orders(1), UNREADABLE, body_of(make_fulfilment("9")), body_of())
    record_bodies(engine, world, b"", topic="unused")
    drain(engine, world)
    assert states(engine, world) == ["handled", "parked", "waiting", "handled", "ignored"]


def test_a_handler_may_settle_a_batch_as_it_likes(engine: Engine, world: World) -> None:
    record_bodies(engine, world, b"a", b"b")
    handle(engine, world, lambda _conn, batch, _now: {message.id: HANDLED for message in batch})
    assert states(engine, world) == ["handled", "handled"]
    assert make_facts() == parse("facts", body_of(), None)


def until_blocked(engine: Engine) -> None:
    """Return once somebody waits for a lock."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while not scalar(conn, "select count(*) from pg_locks where not granted"):
            pass


def test_a_batch_ends_where_its_bodies_grow_too_large_but_never_before_the_first(engine: Engine, world: World) -> None:
    ids = record_bodies(engine, world, *orders(1, 2, 3, 4))
    seen: list[list[int]] = []

    def note(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        seen.append([message.id for message in batch])
        return {message.id: HANDLED for message in batch}

    with engine.connect() as conn:
        size = scalar(conn, "select octet_length(body) from inbox_messages where id = %(id)s", id=ids[0])
    for body_bytes in (1, size + 1, 100 * size):
        inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(100, body_bytes), note, NOW)
    assert seen == [ids[:1], ids[1:3], ids[3:]]


def test_what_is_parked_is_told_once_it_is_true_and_without_secrets(
    engine: Engine, world: World, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    def handler(conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        if any(message.body == b"secret" for message in batch):
            raise BadInput("cannot read jo@shop.example with shpat_0123456789abcdef")
        if any(message.body == b"later" for message in batch) and len(batch) == 1:
            raise Retryable("not now")
        return Intake(world.connection, parse)(conn, batch, now)

    ids = record_bodies(engine, world, *orders(1), b"secret", *orders(2), POISON)
    handle(engine, world, handler)
    told = [line for line in lines() if line["logger"] == "core.messaging.inbox"]
    assert [(line["message"], line["cause"], line["connection"], line["level"]) for line in told] == [
        (ids[1], "unreadable", world.connection.id, "warning"),
        (ids[3], "unexpected", world.connection.id, "warning"),
    ]
    assert [word for word in ("jo@", "shpat_") if word in str(told)] == []
    record_bodies(engine, world, b"secret", b"later")
    with pytest.raises(Retryable):
        handle(engine, world, handler)
    assert len([line for line in lines() if line["logger"] == "core.messaging.inbox"]) == 2
