"""The outbox: queued once by key, said once, tried again with a growing pause, dead in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core.db import fetch, fetch_one, unit_of_work
from core.errors import OutOfQuota, Permanent, Retryable
from core.letters import Answer
from core.messaging import outbox
from tests.factories import NOW, count, make_shop


class Ear:
    """Takes what is said; fails as often as it is told to."""

    def __init__(self, *failures: Exception, hears: Callable[[], object] = lambda: None) -> None:
        self.failures = list(failures)
        self.heard: list[tuple[str, str]] = []
        self.hears = hears

    def __call__(self, message: outbox.Outgoing) -> Answer:
        self.heard.append((message.kind, message.dedupe_key))
        self.hears()
        if self.failures:
            raise self.failures.pop(0)
        return Answer("ok")


@pytest.fixture
def shop_id(engine: Engine) -> int:
    with unit_of_work(engine) as conn:
        return make_shop(conn)


def say(engine: Engine, shop_id: int, key: str = "k", kind: str = "notice") -> bool:
    with unit_of_work(engine) as conn:
        return outbox.add(conn, shop_id, kind, key, {"text": "hello"}, NOW)


def row(engine: Engine) -> Any:
    with engine.connect() as conn:
        return fetch_one(conn, "select * from outbox_messages order by id limit 1")


def test_the_same_words_are_queued_once(engine: Engine, shop_id: int) -> None:
    assert [say(engine, shop_id), say(engine, shop_id), say(engine, shop_id, "other")] == [True, False, True]
    assert say(engine, shop_id, kind="mail")


def test_words_of_a_unit_of_work_that_failed_are_never_said(engine: Engine, shop_id: int) -> None:
    def fail() -> None:
        with unit_of_work(engine) as conn:
            outbox.add(conn, shop_id, "notice", "k", {}, NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not outbox.relay_one(engine, Ear(), NOW)


def test_words_are_said_once(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id)
    ear = Ear()
    assert [outbox.relay_one(engine, ear, NOW), outbox.relay_one(engine, ear, NOW)] == [True, False]
    assert ear.heard == [("notice", "k")]
    assert (row(engine)["state"], row(engine)["attempts"], row(engine)["settled_at"]) == ("sent", 1, NOW)
    assert not say(engine, shop_id)


def test_nothing_is_said_before_its_time(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id)
    assert not outbox.relay_one(engine, Ear(), NOW - timedelta(seconds=1))


def test_the_pause_grows_with_each_failure_and_success_forgets_the_error(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id)
    ear = Ear(*(Retryable("busy, says redis://app:s3cret@host") for _ in range(3)))
    pauses, now = [], NOW
    for _ in range(3):
        assert outbox.relay_one(engine, ear, now)
        pauses.append((row(engine)["next_attempt_at"] - now).total_seconds())
        assert "s3cret" not in row(engine)["last_error"]
        assert not outbox.relay_one(engine, ear, row(engine)["next_attempt_at"] - timedelta(seconds=1))
        now = row(engine)["next_attempt_at"]
    assert pauses == sorted(set(pauses))
    assert outbox.relay_one(engine, ear, now)
    assert (row(engine)["state"], row(engine)["attempts"], row(engine)["last_error"]) == ("sent", 4, None)


def test_what_will_never_succeed_is_dead_at_once(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id)
    outbox.relay_one(engine, Ear(Permanent("no such channel")), NOW)
    assert (row(engine)["state"], row(engine)["last_error"], row(engine)["settled_at"]) == (
        "dead",
        "no such channel",
        NOW,
    )
    assert not outbox.relay_one(engine, Ear(), NOW + timedelta(days=9))


def test_after_the_last_attempt_the_words_are_dead_and_shown(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id)
    ear, now = Ear(*(Retryable("busy") for _ in range(99))), NOW
    while outbox.relay_one(engine, ear, now):
        now += timedelta(hours=7)
    assert len(ear.heard) == outbox.MAX_ATTEMPTS
    assert row(engine)["state"] == "dead"


def test_a_closed_door_says_when_to_come_again_and_never_ends_a_message(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id)
    ear, now = Ear(*(OutOfQuota("too many", 400.0) for _ in range(outbox.MAX_ATTEMPTS + 3))), NOW
    while ear.failures:
        assert outbox.relay_one(engine, ear, now)
        assert (row(engine)["next_attempt_at"] - now).total_seconds() == 400
        now = row(engine)["next_attempt_at"]
    assert outbox.relay_one(engine, ear, now)
    assert row(engine)["state"] == "sent"


def test_an_error_nobody_expected_is_loud_counts_as_an_attempt_and_holds_up_no_other(
    engine: Engine, shop_id: int
) -> None:
    say(engine, shop_id, "a")
    say(engine, shop_id, "b")
    ear = Ear(KeyError("the password"))
    with pytest.raises(KeyError):
        outbox.relay_one(engine, ear, NOW)
    first = row(engine)
    assert (first["state"], first["attempts"], first["last_error"]) == ("waiting", 1, "it could not be sent (KeyError)")
    assert first["next_attempt_at"] > NOW + timedelta(seconds=20)
    while outbox.relay_one(engine, ear, NOW + timedelta(seconds=20)):
        pass
    assert ear.heard == [("notice", "a"), ("notice", "b")]


def test_an_address_that_does_not_answer_costs_one_attempt_and_a_failing_message_holds_up_no_other(
    engine: Engine, shop_id: int
) -> None:
    for key in "abc":
        say(engine, shop_id, key)
    ear = Ear(Retryable("no answer"))
    while outbox.relay_one(engine, ear, NOW):
        pass
    assert ear.heard == [("notice", "a")], "the others would have waited for the same timeout"
    while outbox.relay_one(engine, ear, NOW + timedelta(seconds=15)):
        pass
    assert ear.heard == [("notice", "a"), ("notice", "b"), ("notice", "c")]
    assert row(engine)["state"] == "waiting"


def test_while_one_relay_speaks_another_takes_the_next_message(engine: Engine, shop_id: int) -> None:
    say(engine, shop_id, "a")
    say(engine, shop_id, "b")
    both = threading.Barrier(2, timeout=20)
    ear = Ear(hears=both.wait)
    relays = [threading.Thread(target=outbox.relay_one, args=(engine, ear, NOW)) for _ in range(2)]
    for relay in relays:
        relay.start()
    for relay in relays:
        relay.join(30)
    assert sorted(ear.heard) == [("notice", "a"), ("notice", "b")]
    with engine.connect() as conn:
        assert count(conn, "outbox_messages", shop_id, "state = 'sent'") == 2
        assert len(fetch(conn, "select 1 from outbox_messages")) == 2
