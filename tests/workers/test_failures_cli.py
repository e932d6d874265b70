"""`switchyard failures`: the causes, a look ahead, doing them again, and giving them up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.adapters.registry import mentions
from core.clock import utc_now
from core.db import scalar, unit_of_work
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
