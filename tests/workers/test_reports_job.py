"""The jobs that build and correct daily reports, and `switchyard report`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.clock import business_day, utc_now
from core.db import execute, fetch, scalar, unit_of_work
from core.errors import BadInput, SwitchyardError
from core.reports import operations as reports
from core.runs.queries import ShopZone
from core.runs.schedules import SCHEDULES
from tests.factories import World, book, make_order, make_world
from workers import console
from workers.cli import cli
from workers.jobs.reports import build_reports, correct_reports
from workers.schedule import due_periods

ZONE = "Europe/London"


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_NOTICE_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


@pytest.fixture
def world(engine: Engine) -> World:
    """A shop that was opened three days ago and sold something on the day before yesterday."""
    with unit_of_work(engine) as conn:
        made = make_world(conn)
        execute(conn, "update shops set created_at = now() - interval '3 days'")
        book(conn, made, make_order("1", placed_at=utc_now() - timedelta(days=2)), now=utc_now() - timedelta(days=2))
    return made


def say(app: bootstrap.Application, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        return CliRunner().invoke(cli, ("report", *words), standalone_mode=False)


def said(app: bootstrap.Application, *words: str) -> str:
    done = say(app, *words)
    assert done.exception is None, done.output
    return done.output


def test_a_night_builds_what_is_missing_and_tells_of_each_once(
    app: bootstrap.Application, engine: Engine, world: World
) -> None:
    assert build_reports(shop_id=world.shop_id) == {"built": 3, "told": 3}
    assert build_reports(shop_id=world.shop_id) == {"built": 0, "told": 0}
    with unit_of_work(engine) as conn:
        told = fetch(conn, "select dedupe_key, payload ->> 'text' as text from outbox_messages order by id")
        assert len(told) == len({row["dedupe_key"] for row in told}) == 3
        assert "1 order with 1 unit for £2.50." in told[1]["text"]
        assert "/reports?day=" in told[1]["text"]
        book(conn, world, make_order("2", placed_at=utc_now() - timedelta(days=2)))
    assert correct_reports(shop_id=world.shop_id) == {"looked_at": 3, "corrected": 1, "told": 1}
    assert correct_reports(shop_id=world.shop_id) == {"looked_at": 3, "corrected": 0, "told": 0}
    with unit_of_work(engine) as conn:
        last = scalar(conn, "select payload ->> 'text' from outbox_messages order by id desc limit 1")
        assert "Correction 1 of the daily report" in last
        assert "came after the report was built (#2)" in last
        assert "Orders 1 → 2" in last


def test_reports_are_due_once_a_day_in_the_shops_morning() -> None:
    daily = next(each for each in SCHEDULES if each.job == "reports.daily")
    look = next(each for each in SCHEDULES if each.job == "reports.correct")
    assert (daily.daily_after_hour or 0) > (look.daily_after_hour or 99)
    night = utc_now().replace(month=7, day=1, hour=3, minute=59)
    shops = [ShopZone(1, ZONE, night - timedelta(days=90))]
    (before,) = due_periods(daily, shops, night)
    (after,) = due_periods(daily, shops, night + timedelta(minutes=1))
    assert (before.key[:10], after.key[:10]) == (f"{night:%Y}-06-30", f"{night:%Y}-07-01")


def test_a_person_builds_shows_corrects_and_takes_a_file(
    app: bootstrap.Application, engine: Engine, world: World, tmp_path: Path
) -> None:
    day = business_day(utc_now(), ZONE) - timedelta(days=2)
    assert said(app, "list").startswith("No day is reported yet")
    assert f"Edition 1 of {day}: 1 order" in said(app, "build", str(day), "--reason", "missed")
    assert isinstance(say(app, "build", str(day), "--reason", "again").exception, reports.AlreadyBuilt)
    assert "By marketplace" in said(app, "show", str(day))
    assert json.loads(said(app, "show", str(day), "--json"))["edition"] == 1
    assert said(app, "list").startswith(f"{day}        1 orders")
    assert "stands" in said(app, "build", str(day), "--correct", "--reason", "to be sure")
    with unit_of_work(engine) as conn:
        book(conn, world, make_order("2", placed_at=utc_now() - timedelta(days=2)))
    assert "Orders 1 → 2" in said(app, "build", str(day), "--correct", "--reason", "orders came")
    assert "2 figures" not in said(app, "export", str(day), "--format", "csv", "--output", str(tmp_path))
    (made,) = tmp_path.iterdir()
    assert made.name.endswith(f"{day}-edition-2.csv")
    with made.open(newline="") as file:
        assert next(csv.DictReader(file))["edition"] == "2"
    assert "is on its way" in said(app, "send", str(day), "--reason", "finance asked")
    with unit_of_work(engine) as conn:
        acts = [row["act"] for row in fetch(conn, "select act from audit_entries where actor = 'ada' order by id")]
    assert acts == ["build_report", "correct_report", "correct_report", "send_report"]


def test_what_cannot_be_is_said_with_what_to_do(app: bootstrap.Application, world: World) -> None:
    for words, why in (
        (("show", "2024-01-01"), "report build` makes one"),
        (("show", "soon"), "write it like 2026-11-25"),
        (("build", str(business_day(utc_now(), ZONE)), "--reason", "now"), "is not over in Europe/London"),
        (("policy", "--look-back", "400", "--reason", "all"), "1 to 90 days"),
        (("policy", "--percent", "much", "--reason", "all"), "is no number"),
        (("policy", "--percent", "5"), "name of who does it and a reason"),
    ):
        failed = say(app, *words).exception
        assert isinstance(failed, SwitchyardError), words
        assert why in str(failed)
    assert issubclass(reports.DayNotClosed, BadInput)


def test_the_policy_is_shown_and_changed(app: bootstrap.Application, world: World) -> None:
    assert "last 14 days" in said(app, "policy")
    assert "last 30 days" in said(app, "policy", "--look-back", "30", "--percent", "2.5", "--reason", "a slow channel")
    assert "changed by 2.5" in said(app, "policy")
