"""`switchyard failures`: the causes, a look ahead, doing them again, and giving them up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from core import bootstrap, embedded
from core.adapters.registry import mentions
from core.clock import utc_now
from core.db import execute, scalar, unit_of_work
from core.recovery import weighing
from tests.commands import Done, run_here
from tests.factories import World, make_world
from tests.recovery.failing import dead_notice, order_body, park, run_job
from workers.jobs import recovery


@pytest.fixture
def world(engine: Engine) -> World:
    now = utc_now()
    with unit_of_work(engine) as conn:
        made = make_world(conn)
        arguments = {"shop_id": made.shop_id, "connection_id": made.connection.id}
        for minute in (3, 2, 1):
            run_job(conn, "stock.push", arguments, "failed", now - timedelta(minutes=minute))
        park(conn, made, order_body(1), order_body(2), at=now)
        dead_notice(conn, made.shop_id, at=now)
        weighing.read_messages(conn, mentions)
        weighing.add_up(conn, now)
        return made


@pytest.fixture
def environment(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    found = {"DATABASE_URL": database.url, "REDIS_URL": redis_url, "SWITCHYARD_OPERATOR": "ada"}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    bootstrap._application_of.cache_clear()
    yield found
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def test_listed_looked_at_requeued_cancelled_and_discarded(
    engine: Engine, world: World, environment: dict[str, str]
) -> None:
    def say(*words: str) -> Done:
        return run_here("failures", *words, environment=environment)

    listed = say()
    assert "stock.push" in listed.out
    assert "2 failed, 2 to do, 1 SKUs, 2 orders, 39.80 GBP" in listed.out
    rows = json.loads(say("--json").out)
    assert sorted(row["items"] for row in rows) == [1, 2, 3]
    (key,) = (row["group_key"] for row in rows if row["source"] == "message")
    shown = say("show", key)
    assert len(re.findall(r"^message:\d+", shown.out, re.MULTILINE)) == 2
    assert say("preview").status == 2, "which?"
    seen = json.loads(say("preview", "--all", "--json").out)
    assert (seen["items"], seen["works"], seen["needed"], seen["money_calls"]) == (6, 4, 6, 0)
    assert "failed 3 times the same way" in seen["warning"]
    assert say("requeue", "--group", key).status == 2, "without a reason"
    begun = say("requeue", "--group", key, "--reason", "the feed is mended", "--per-minute", "4")
    assert "Recovery 1 begins." in begun.out
    assert recovery.recover() == {"recoveries": 1, "begun": 1, "failed": 0}
    assert "1 waiting, 1 under way" in say("recoveries").out
    assert "1 not begun and open again" in say("cancel", "1", "--reason", "wrong group").out
    again = say("cancel", "1", "--reason", "once more")
    assert (again.status, "cancelled already" in again.err) == (2, True)
    parked = run_here("parked", "--again", "--cause", "unreadable", "--reason", "all", environment=environment)
    assert parked.out.startswith(f"Recovery 2 begins: 1 of connection {world.connection.id}, unreadable.")
    assert "1 not begun and open again" in say("cancel", "2", "--reason", "once more").out
    assert say("discard", "--one", "nothing:1", "--reason", "x").status == 2
    assert "5 discarded" in say("discard", "--all", "--reason", "old news").out
    assert "Nothing failed" in say().out
    with engine.connect() as conn:
        acts = scalar(conn, "select array_agg(act order by id) from audit_entries where actor = 'ada'")
    assert acts == ["requeue_failures", "cancel_recovery"] * 2 + ["discard_failures"]


def test_the_job_weighs_what_failed(engine: Engine, world: World, environment: dict[str, str]) -> None:
    with unit_of_work(engine) as conn:
        park(conn, world, order_body(3))
    assert recovery.weigh_failures() == {"read": 5, "moot": 0, "causes": 3}
    with engine.connect() as conn:
        assert scalar(conn, "select orders from failure_groups where source = 'message'") == 3


@pytest.fixture
def said(environment: dict[str, str]) -> Callable[..., str]:
    def run(*words: str) -> str:
        done = run_here(*words, environment=environment)
        assert done.status == 0, done.err
        return done.out

    return run


def test_what_was_discarded_is_taken_back(engine: Engine, world: World, said: Callable[..., str]) -> None:
    said("failures", "discard", "--all", "--reason", "a test")
    with engine.connect() as conn:
        message = scalar(conn, "select min(id) from inbox_messages")
    assert said("failures", "take-back", "--one", f"message:{message}", "--reason", "needed") == "1 open again.\n"
    with engine.connect() as conn:
        assert scalar(conn, "select state from inbox_messages where id = %(id)s", id=message) == "parked"


def test_no_list_shows_a_person(engine: Engine, world: World, said: Callable[..., str]) -> None:
    with unit_of_work(engine) as conn:
        park(conn, world, order_body(3), cause="unexpected", detail="the buyer jo@example.com is no SKU", at=utc_now())
        key = scalar(conn, "select group_key from failure_groups where error_class = 'unexpected'")
    for words in (("failures", "show", key), ("failures", "show", key, "--json"), ("parked",)):
        shown = said(*words)
        assert "is no SKU" in shown
        assert "jo@example.com" not in shown


def test_one_recovery_that_cannot_go_on_does_not_hold_the_others_up(
    engine: Engine, world: World, said: Callable[..., str]
) -> None:
    for group in ("stock.push", "notice"):
        with engine.connect() as conn:
            key = scalar(conn, "select group_key from failure_groups where function = %(f)s", f=group)
        said("failures", "requeue", "--group", key, "--reason", "repaired")
    with unit_of_work(engine) as conn:
        # What cannot be: the promise is there already.
        execute(
            conn,
            """
            insert into job_requeues (shop_id, job_ref, function, arguments, requested_by, reason, requested_at)
            select shop_id, 'again-' || item_id, function, arguments, 'x', 'x', now() from recovery_works
            where source = 'job'
            """,
        )
    with pytest.raises(IntegrityError):
        recovery.recover()
    with engine.connect() as conn:
        assert scalar(conn, "select state from outbox_messages") == "waiting"
