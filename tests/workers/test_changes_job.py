"""The job that chases open legs, and `switchyard changes`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.clock import utc_now
from core.db import fetch, unit_of_work
from core.runs import operations
from core.runs.schedules import SCHEDULES
from tests.changing import Pair, answer, legs, make_pair
from tests.factories import book, make_line, make_order, make_shop
from workers import console
from workers.cli import cli
from workers.jobs import alerts as alert_jobs
from workers.jobs.alerts import sweep_alerts
from workers.jobs.changes import chase_open_legs


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_NOTICE_URL", "http://127.0.0.1:9/")
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def said(app: bootstrap.Application, *words: str) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.exception is None, done.output
    return done.output


def test_shops_that_a_sweep_had_no_time_for_are_the_first_of_the_next(
    app: bootstrap.Application, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work(engine) as conn:
        first, second, third = (make_shop(conn) for _ in range(3))
    monkeypatch.setattr(alert_jobs, "LOOK_SECONDS", -1.0)
    begun = utc_now()
    went_on_at = []
    for number in range(4):
        at = begun + timedelta(minutes=number)
        with unit_of_work(engine) as conn:
            operations.begin_period(conn, "sweep.alerts", str(number), at)
        result = sweep_alerts()
        with unit_of_work(engine) as conn:
            operations.finish_period(conn, "sweep.alerts", str(number), "finished", result, at)
        assert result["shops"] == 1
        went_on_at.append(result.get("goes_on_at"))
    assert went_on_at == [second, third, first, second], "round and round, and nobody is left out"


def test_what_hangs_is_told_once_and_ends_when_the_channel_follows(app: bootstrap.Application, engine: Engine) -> None:
    (schedule,) = [item for item in SCHEDULES if item.job == "changes.chase"]
    assert (schedule.every_seconds or 999) <= 30
    with unit_of_work(engine) as conn:
        pair: Pair = make_pair(conn, stock={"MUG": 10, "CUP": 10})
        early, late = utc_now() - timedelta(minutes=9), utc_now()
        book(conn, pair.seller, make_order("1001", [make_line(units=2)], placed_at=early), now=early)
        book(conn, pair.seller, make_order("1002", [make_line(code="CUP")], placed_at=late), now=late)
    assert chase_open_legs() == {"confirmed": 0, "refused": 0, "compensated": 0, "stuck": 1, "done": 0}
    assert chase_open_legs()["stuck"] == 0
    assert [sweep_alerts()["opened"], sweep_alerts()["opened"]] == [1, 0]
    with unit_of_work(engine) as conn:
        (told,) = fetch(conn, "select payload ->> 'text' as text from outbox_messages")
        assert "no write has been planned" in told["text"]
        (alert,) = fetch(conn, "select kind, units, worst_skus from open_alerts")
        assert (alert["kind"], alert["units"], alert["worst_skus"][0]["where"]) == ("stuck_change", 1, "Follower")

    listed = said(app, "changes")
    assert "order #1001, MUG -2, on Follower: stuck: no write has been planned" in listed
    assert "order #1002, CUP -1, on Follower: open" in listed
    assert "#1002" not in said(app, "changes", "--stuck")
    assert '"reason": "not_planned"' in said(app, "changes", "--order", "1001", "--json")

    with unit_of_work(engine) as conn:
        answer(conn, pair, "confirmed", utc_now())
    assert chase_open_legs() == {"confirmed": 2, "refused": 0, "compensated": 0, "stuck": 0, "done": 2}
    assert sweep_alerts()["closed"] == 1
    with unit_of_work(engine) as conn:
        assert {row["state"] for row in legs(conn, pair)} == {"confirmed"}
        assert list(fetch(conn, "select 1 from open_alerts")) == []
        assert len(fetch(conn, "select 1 from outbox_messages")) == 2
    assert said(app, "changes") == "No change is on its way.\n"
    assert "confirmed" in said(app, "changes", "--order", "#1001")
