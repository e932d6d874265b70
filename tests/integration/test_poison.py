"""One message in a thousand that can never be handled: what it costs the others, and what becomes of it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from core.db import fetch, unit_of_work
from core.errors import BadInput
from core.messaging import inbox
from core.messaging.inbox import PARTS, Batch, Received, Verdict
from core.orders.intake import Intake
from core.ports import Facts
from tests.factories import (
    BASELINE,
    NOW,
    Level,
    World,
    body_of,
    count,
    first_sync,
    give_another_turn,
    level_of,
    make_channel_listing,
    make_connection,
    make_line,
    make_order,
    make_refund,
    make_world,
    parse,
    record_bodies,
    take_in,
    world_of,
)

BATCH = 300
MESSAGES = 4000
# Placed as 1 in 1000, each in a batch of its own, at its beginning, its end and in between.
UNREADABLE_BODY, FAULTY_READER, REFUSED_BY_DATABASE, FAULTY_BOOKING = 300, 1499, 2345, 3456
CAUSES = {
    UNREADABLE_BODY: ("unreadable", "line 1: a word is missing"),
    FAULTY_READER: ("unexpected", "handling it raised KeyError"),
    REFUSED_BY_DATABASE: ("unexpected", "handling it raised DataError"),
    FAULTY_BOOKING: ("unexpected", "handling it raised ZeroDivisionError"),
}


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn)


@dataclass
class Channel:
    """A handler as in production, with faults that can be repaired, and what it was asked to do."""

    world: World
    bodies: dict[bytes, int]
    is_repaired: bool = False
    calls: int = 0
    turns: Counter[int] = field(default_factory=Counter)

    def __call__(self, conn: Connection, batch: Sequence[Received], now: datetime) -> dict[int, Verdict]:
        self.calls += 1
        self.turns.update(message.id for message in batch)
        verdicts = Intake(self.world.connection, self._parse)(conn, batch, now)
        if not self.is_repaired and any(self.bodies[message.body] == FAULTY_BOOKING for message in batch):
            # After everything of the batch was booked.
            _ = 1 / 0
        return verdicts

    def _parse(self, topic: str, body: bytes, at: datetime | None) -> Facts | None:
        number = self.bodies[body]
        if not self.is_repaired:
            if number == UNREADABLE_BODY:
                raise BadInput("line 1: a word is missing")
            if number == FAULTY_READER:
                raise KeyError("Jo Bloggs")
            if number == REFUSED_BY_DATABASE:
                return parse(topic, body_of(make_order(str(number), lines=[make_line(units=2**70)])), at)
        return parse(topic, body, at)

    def drain(self, engine: Engine) -> int:
        """Everything, batch by batch; returns how many batches it took."""
        batches, after_id = 0, 0
        while True:
            lane = (self.world.shop_id, self.world.connection.id)
            claimed, after_id = inbox.drain_batch(engine, *lane, after_id, Batch(BATCH), self, NOW)
            if not claimed:
                return batches
            batches += 1


def settled(engine: Engine) -> tuple[Counter[str], dict[int, tuple[str, str]]]:
    with engine.connect() as conn:
        rows = fetch(conn, "select id, state, cause, detail from inbox_messages")
    return (
        Counter(row["state"] for row in rows),
        {row["id"]: (row["cause"], row["detail"]) for row in rows if row["state"] == "parked"},
    )


def test_poison_is_parked_with_its_cause_costs_the_others_little_and_is_handled_once_repaired(
    engine: Engine, world: World
) -> None:
    bodies = [body_of(make_order(str(number))) for number in range(MESSAGES)]
    ids = record_bodies(engine, world, *bodies)
    channel = Channel(world, {body: number for number, body in enumerate(bodies)})
    batches = channel.drain(engine)

    states, parked = settled(engine)
    assert states == {"handled": MESSAGES - len(CAUSES), "parked": len(CAUSES)}
    assert parked == {ids[number]: cause for number, cause in CAUSES.items()}
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, MESSAGES - len(CAUSES), 10 - (MESSAGES - len(CAUSES)))

    # What is found while reading costs nobody a second turn; what is found while booking costs its own batch one, and
    # its own neighbours a few more.
    searched = {ids[number] for number in (REFUSED_BY_DATABASE, FAULTY_BOOKING)}
    again = {message_id: turns for message_id, turns in channel.turns.items() if turns > 1}
    assert len(again) <= len(searched) * BATCH
    assert searched <= again.keys()
    part = -(-BATCH // PARTS)
    assert sum(turns > 2 for turns in again.values()) <= len(searched) * part
    assert sum(again.values()) - len(again) <= len(searched) * (BATCH + part + 2 * PARTS)
    assert channel.calls <= batches + len(searched) * 3 * PARTS

    channel.is_repaired = True
    with unit_of_work(engine) as conn:
        assert give_another_turn(conn, world.connection.id) == len(CAUSES)
    channel.calls = 0
    assert channel.drain(engine) == 1
    assert channel.calls == 1
    assert settled(engine) == ({"handled": MESSAGES}, {})
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(10, MESSAGES, 10 - MESSAGES)
        assert count(conn, "orders", world.shop_id) == MESSAGES


def test_a_batch_of_nothing_but_poison_ends_too(engine: Engine, world: World) -> None:
    bodies = [b"poison %d" % number for number in range(70)]
    record_bodies(engine, world, *bodies)
    calls = []

    def handler(_conn: Connection, batch: Sequence[Received], _now: datetime) -> dict[int, Verdict]:
        calls.append(len(batch))
        raise KeyError

    assert inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(100), handler, NOW)[0] == 70
    assert settled(engine)[0] == {"parked": 70}
    # A tree whose leaves are the messages.
    assert len(calls) <= 70 + 70 // 2 + PARTS


CODES = [f"S{number:02}" for number in range(40)]


@pytest.mark.slow
def test_poison_of_two_channels_that_share_skus_leaves_both_to_get_on(
    engine: Engine, database: embedded.Database
) -> None:
    """What is split for its poison takes its locks in order, too: each part is a unit of work of its own."""
    with unit_of_work(engine) as conn:
        first = make_world(conn, dict.fromkeys(CODES, 1000))
        second = make_connection(conn, first.shop_id, is_sku_source=False)
        take_in(conn, second, [make_channel_listing(code, 1000, BASELINE) for code in CODES])
        first_sync(conn, second)
        other = world_of(conn, second)
    chance = random.Random(1)
    for world, name in ((first, "A"), (other, "B")):
        bodies = []
        for number in range(400):
            units = 2**70 if number % 100 == 50 else 1
            lines = [make_line(str(place), code, units) for place, code in enumerate(chance.sample(CODES, 2))]
            bodies.append(body_of(make_order(f"{name}{number}", lines)))
        record_bodies(engine, world, *bodies)
    errors: list[BaseException] = []

    def drain(world: World) -> None:
        own = create_engine(database.url)
        try:
            claimed, after = 1, 0
            while claimed:
                claimed, after = inbox.drain_batch(
                    own, world.shop_id, world.connection.id, after, Batch(100), Intake(world.connection, parse), NOW
                )
        except BaseException as error:
            errors.append(error)
        finally:
            own.dispose()

    drains = [threading.Thread(target=drain, args=(world,)) for world in (first, other)]
    for each in drains:
        each.start()
    for each in drains:
        each.join()
    assert errors == []
    with engine.connect() as conn:
        rows = fetch(conn, "select state, count(*) as messages from inbox_messages group by 1 order by 1")
    assert [(row["state"], row["messages"]) for row in rows] == [("handled", 792), ("parked", 8)]


def test_a_verdict_that_the_database_does_not_take_parks_its_message_and_no_other(engine: Engine, world: World) -> None:
    """A refund waits for an order whose name is too long for an index."""
    name = "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=4000))
    record_bodies(engine, world, body_of(make_order("1")), body_of(make_refund(name)))
    inbox.drain_batch(engine, world.shop_id, world.connection.id, 0, Batch(100), Intake(world.connection, parse), NOW)
    with engine.connect() as conn:
        rows = fetch(conn, "select state, cause from inbox_messages order by id")
    assert [(row["state"], row["cause"]) for row in rows] == [("handled", None), ("parked", "unexpected")]
