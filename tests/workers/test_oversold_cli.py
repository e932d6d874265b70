"""`switchyard oversold` and `switchyard alert-limit`, and the job behind the second."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.alerts.operations import AlreadyTaken
from core.alerts.rules import BadLimit
from core.alerts.terms import BadTerm, UnknownKind
from core.db import fetch, unit_of_work
from core.errors import BadInput
from core.inventory.shortages import NoShortage
from core.runs.schedules import SCHEDULES
from tests import factories
from tests.factories import World, book, make_line, make_order
from workers import console
from workers.cli import cli
from workers.jobs import alerts as job


@pytest.fixture
def world(engine: Engine) -> World:
    """Ten mugs, of which thirteen could be sold, and cups of which more were sold than there are."""
    with unit_of_work(engine) as conn:
        made = factories.make_world(conn, {"MUG": 10, "CUP": 3})
        factories.set_row(conn, "listings", made.listings["MUG"], exposed_units=13)
        book(conn, made, make_order("1001", [make_line(code="CUP", units=5)]))
        # Booked: nothing of it is exposed any more.
        factories.set_row(conn, "listings", made.listings["CUP"], exposed_units=0)
        return made


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def run(app: bootstrap.Application, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        return CliRunner().invoke(cli, words, standalone_mode=False)


def said(app: bootstrap.Application, *words: str) -> str:
    done = run(app, *words)
    assert done.exception is None, done.output
    return done.output


def test_what_was_oversold_is_listed_and_told(app: bootstrap.Application, world: World) -> None:
    listed = said(app, "oversold")
    assert f"CUP at Main: 3 to -2, order #1001 of {world.connection.name}, still short" in listed
    number = listed.split()[0]
    told = " ".join(said(app, "oversold", number).split())
    assert "CUP The CUP at Main: 2 more sold than there were." in told
    assert "What would have prevented it:" in told
    assert "order #1001: 5 sold" in told
    assert "available goes from 3 to −2" in told
    found = json.loads(said(app, "oversold", number, "--json"))
    assert (found["order"]["order_name"], found["shortage"]["code"]) == ("#1001", "CUP")
    assert json.loads(said(app, "oversold", "--before", number, "--json")) == []
    assert isinstance(run(app, "oversold", "999").exception, NoShortage)


def test_the_limit_is_shown_set_and_switched_off(app: bootstrap.Application, engine: Engine, world: World) -> None:
    assert "Nobody is told: no limit is set. At risk now: 5 units over 2 SKUs." in said(app, "alert-limit")
    assert "The limit is 4 units now; it was off." in said(app, "alert-limit", "4", "--reason", "a test")
    assert "A notice goes out above 4 units at risk." in said(app, "alert-limit")
    assert "The limit is off now; it was 4." in said(app, "alert-limit", "--off", "--reason", "enough")
    with engine.connect() as conn:
        entries = fetch(conn, "select actor, reason from audit_entries where act = 'set_alert_limit' order by id")
    assert [(row["actor"], row["reason"]) for row in entries] == [("ada", "a test"), ("ada", "enough")]


def test_a_limit_needs_a_reason_and_says_one_thing(app: bootstrap.Application, world: World) -> None:
    assert isinstance(run(app, "alert-limit", "4").exception, BadInput)
    assert isinstance(run(app, "alert-limit", "--reason", "x", "--", "-1").exception, BadLimit)
    assert isinstance(run(app, "alert-limit", "4", "--off").exception, click.UsageError)


def test_the_job_opens_and_closes_by_the_limit(app: bootstrap.Application, engine: Engine, world: World) -> None:
    (schedule,) = [item for item in SCHEDULES if item.job == "sweep.alerts"]
    assert schedule.every_seconds == 60
    quiet = {"shops": 1, "opened": 0, "worse": 0, "closed": 0}
    # More was sold than there was, which nobody has to set a limit for.
    assert job.sweep_alerts() == {**quiet, "opened": 1}
    said(app, "alert-limit", "4", "--reason", "a test")
    assert job.sweep_alerts() == {**quiet, "opened": 1}
    assert job.sweep_alerts() == quiet
    said(app, "alert-limit", "--off", "--reason", "a test")
    assert job.sweep_alerts() == {**quiet, "closed": 1}
    with engine.connect() as conn:
        told = fetch(conn, "select payload ->> 'text' as text from outbox_messages order by id")
    assert len(told) == 3
    assert "2 units were oversold, of 1 SKU." in told[0]["text"]
    assert "Up to 5 units could be oversold, over 2 SKUs. The limit is 4." in told[1]["text"]
    assert "somebody switched it off" in told[2]["text"]


def test_why_says_how_the_pool_is_shared(app: bootstrap.Application, world: World) -> None:
    shown = " ".join(said(app, "why", "MUG").split())
    assert "MUG · Main: Pooled: no unit is set apart for one channel, so channels could sell 13 before we know" in shown


def test_alerts_are_listed_with_what_to_do_taken_once_and_listed_when_they_are_over(
    app: bootstrap.Application, world: World
) -> None:
    assert said(app, "alerts") == "No alert is open.\n"
    assert said(app, "alerts", "list", "--all") == "There was no alert yet.\n"
    job.sweep_alerts()
    listed = said(app, "alerts")
    assert "danger, open: 2 units were oversold, of 1 SKU" in listed
    assert "Worst: CUP (2, order #1001 of" in listed
    assert "Look what would have prevented it" in listed
    number = listed.split()[0]
    assert "is yours" in said(app, "alerts", "acknowledge", number, "--reason", "ordering more")
    assert isinstance(run(app, "alerts", "acknowledge", number, "--reason", "me too").exception, AlreadyTaken)
    assert "danger, acknowledged, ada has it: 2 units" in said(app, "alerts")
    (shown,) = json.loads(said(app, "alerts", "list", "--json"))
    assert (shown["kind"], shown["acknowledged_reason"], shown["times"]) == ("oversold", "ordering more", 1)
    said(app, "alerts", "rules", "set", "oversold", "--off", "--reason", "a test")
    job.sweep_alerts()
    assert said(app, "alerts") == "No alert is open.\n"
    assert "danger, resolved: 2 units were oversold" in said(app, "alerts", "list", "--all")


def test_rules_of_alerts_are_shown_and_changed_with_a_reason(app: bootstrap.Application, world: World) -> None:
    assert "exposure (off): more units could be oversold than a limit that somebody set" in said(app, "alerts", "rules")
    done = said(app, "alerts", "rules", "set", "backlog", "dangerous_size=2,500", "--reason", "a small shop")
    assert done == "backlog: dangerous_size is 2,500 now; it was 10,000.\n"
    assert "dangerous_size 2,500; by default 10,000: so much that waits is dangerous" in said(app, "alerts", "rules")
    assert json.loads(said(app, "alerts", "rules", "list", "--json"))["backlog"]["dangerous_size"] == 2500
    assert said(app, "alerts", "rules", "set", "silence", "--off", "--reason", "a test").startswith(
        "silence is off now"
    )
    said(app, "alert-limit", "4", "--reason", "a test")
    assert "exposure (on, above 4 units)" in said(app, "alerts", "rules")
    for words, error in (
        (("moon", "--off"), UnknownKind),
        (("backlog", "dangerous_size=1"), BadTerm),
        (("backlog", "speed=1"), BadTerm),
        (("backlog", "dangerous_size=much"), click.UsageError),
        (("backlog",), BadInput),
    ):
        assert isinstance(run(app, "alerts", "rules", "set", *words, "--reason", "a test").exception, error)
