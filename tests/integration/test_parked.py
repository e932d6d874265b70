"""Parked messages that somebody deals with: another turn once, or given up and still there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import IntegrityError

from core import embedded, invariants
from core.audit import Actor
from core.db import execute, fetch, scalar, unit_of_work
from core.errors import BadInput
from core.messaging import inbox, parked
from core.messaging.parked import Chosen, MessagesChanged
from tests.factories import (
    ACTOR,
    NOW,
    UNREADABLE,
    World,
    body_of,
    drain,
    make_order,
    make_world,
    record_bodies,
)

BOB = Actor("Bob", "a test message of the vendor")


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn)


def states(engine: Engine, world: World) -> list[str]:
    with engine.connect() as conn:
        rows = fetch(conn, "select state from inbox_messages where shop_id = %(s)s order by id", s=world.shop_id)
    return [row["state"] for row in rows]


def plan(engine: Engine, world: World, chosen: Chosen) -> parked.Plan:
    with unit_of_work(engine) as conn:
        return parked.plan(conn, world.shop_id, chosen)


def requeue(engine: Engine, world: World, chosen: Chosen, token: str, actor: Actor = ACTOR) -> int:
    with unit_of_work(engine) as conn:
        return parked.requeue(conn, world.shop_id, chosen, token, actor, NOW)


def discard(engine: Engine, world: World, chosen: Chosen, token: str, actor: Actor = BOB) -> int:
    with unit_of_work(engine) as conn:
        return parked.discard(conn, world.shop_id, chosen, token, actor, NOW)


def test_a_parked_message_is_handled_after_its_cause_is_repaired(engine: Engine, world: World) -> None:
    ids = record_bodies(engine, world, UNREADABLE, body_of(make_order("7")), UNREADABLE)
    drain(engine, world)
    assert states(engine, world) == ["parked", "handled", "parked"]
    # The repair: whatever made it unreadable is put right.
    with unit_of_work(engine) as conn:
        execute(conn, "update inbox_messages set body = %(b)s where id = %(i)s", b=body_of(make_order("8")), i=ids[0])
    one = Chosen(world.connection.id, message_id=ids[0])
    assert requeue(engine, world, one, plan(engine, world, one).token) == 1
    drain(engine, world)
    assert states(engine, world) == ["handled", "handled", "parked"]
    with engine.connect() as conn:
        entry = fetch(conn, "select act, subject, actor, details from audit_entries where act like '%%parked'")
    assert [(row["act"], row["subject"], row["actor"]) for row in entry] == [
        ("replay_parked", f"message:{ids[0]}", ACTOR.name)
    ]
    assert entry[0]["details"]["messages"] == 1


def test_all_of_a_cause_and_no_other(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        other = make_world(conn)
    for each in (world, other):
        record_bodies(engine, each, UNREADABLE, UNREADABLE)
        drain(engine, each)
    execute_one(engine, "update inbox_messages set cause = 'unexpected' where shop_id = %(s)s and id = "
                        "(select max(id) from inbox_messages where shop_id = %(s)s)", s=world.shop_id)  # fmt: skip
    chosen = Chosen(world.connection.id, cause="unreadable")
    found = plan(engine, world, chosen)
    assert (found.messages, found.topics, found.since) == (1, ("facts",), NOW)
    assert requeue(engine, world, chosen, found.token) == 1
    assert states(engine, world) == ["received", "parked"]
    assert states(engine, other) == ["parked", "parked"]


def test_two_who_ask_at_once_are_obeyed_once(engine: Engine, world: World, database: embedded.Database) -> None:
    record_bodies(engine, world, UNREADABLE, UNREADABLE)
    drain(engine, world)
    chosen = Chosen(world.connection.id, cause="unreadable")
    token = plan(engine, world, chosen).token
    together = Barrier(6)

    def click(number: int) -> int | str:
        own = create_engine(database.url)
        together.wait()
        try:
            return (requeue if number % 2 else discard)(own, world, chosen, token)
        except MessagesChanged as refused:
            return str(refused)
        finally:
            own.dispose()

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(click, range(6)))
    assert [answer for answer in said if isinstance(answer, int)] == [2]
    assert len({*states(engine, world)}) == 1
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from audit_entries where act in ('replay_parked', 'discard_parked')") == 1


def test_what_was_parked_since_the_preview_is_not_swept_along(engine: Engine, world: World) -> None:
    record_bodies(engine, world, UNREADABLE)
    drain(engine, world)
    chosen = Chosen(world.connection.id, cause="unreadable")
    token = plan(engine, world, chosen).token
    record_bodies(engine, world, UNREADABLE)
    drain(engine, world)
    with pytest.raises(MessagesChanged, match="1 more came since you looked"):
        discard(engine, world, chosen, token)
    assert states(engine, world) == ["parked", "parked"]


def test_what_is_discarded_stays_with_who_and_why_and_counts_as_parked_no_more(engine: Engine, world: World) -> None:
    (number,) = record_bodies(engine, world, UNREADABLE)
    drain(engine, world)
    one = Chosen(world.connection.id, message_id=number)
    assert discard(engine, world, one, plan(engine, world, one).token) == 1
    with engine.connect() as conn:
        (row,) = fetch(conn, "select cause, discarded_by, discarded_reason from discarded_messages")
        assert tuple(row.values()) == ("unreadable", "Bob", "a test message of the vendor")
        assert inbox.parked_causes(conn, None, None) == []
        assert scalar(conn, "select parked from connection_health where shop_id = %(s)s", s=world.shop_id) == 0
        assert scalar(conn, "select body from inbox_messages where id = %(i)s", i=number) == UNREADABLE
        assert [f.name for f in invariants.check(conn, NOW, settled=True) if f.rows] == []
    # It is not lost: one may think better of it.
    assert requeue(engine, world, one, plan(engine, world, one).token) == 1
    drain(engine, world)
    assert states(engine, world) == ["parked"]


def test_nobody_discards_without_saying_who_and_why(engine: Engine, world: World) -> None:
    record_bodies(engine, world, UNREADABLE)
    drain(engine, world)
    with pytest.raises(IntegrityError), unit_of_work(engine) as conn:
        execute(conn, "update inbox_messages set state = 'discarded' where shop_id = %(s)s", s=world.shop_id)
    for words in ({}, {"message_id": 1, "cause": "unreadable"}):
        with pytest.raises(BadInput):
            Chosen(world.connection.id, **words)  # type: ignore[arg-type]


def execute_one(engine: Engine, sql: str, **values: object) -> None:
    with unit_of_work(engine) as conn:
        assert execute(conn, sql, **values) == 1
