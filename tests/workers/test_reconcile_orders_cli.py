"""`switchyard reconcile orders`, and the nightly job behind its schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.db import fetch, unit_of_work
from core.reconciliation.orders import runs
from core.runs.schedules import SCHEDULES
from tests.dashboard.reconciliation_worlds import busy
from tests.factories import World, set_row
from workers import console
from workers.cli import cli
from workers.jobs import order_reconciliation as job


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return busy(conn)


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    bootstrap._application_of.cache_clear()
    monkeypatch.setattr(console, "application", bootstrap.application)
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def test_it_lists_asks_and_refuses(app: bootstrap.Application, world: World, engine: Engine) -> None:
    run = CliRunner().invoke
    listed = run(cli, ["reconcile", "orders", "--json"])
    assert {row["subject_key"] for row in json.loads(listed.output)} == {"5001", "5002", "5003", "5004"}
    said = run(cli, ["reconcile", "orders"]).output
    assert "Shopify UK #5003 (5003): missing there, " in said
    assert "asked (by_hand)" in said
    assert run(cli, ["reconcile", "orders", "Shopify UK"]).exit_code == 2
    asked = run(cli, ["reconcile", "orders", "Shopify UK", "--days", "30", "--reason", "a hole in the log"])
    assert "the orders of the last 30 days of Shopify UK" in asked.output
    again = run(cli, ["reconcile", "orders", "Shopify UK", "--order", "5002", "--reason", "once more"])
    assert isinstance(again.exception, runs.UnderWay)
    with engine.connect() as conn:
        open_runs = fetch(conn, "select requested_by, reason from reconciliation_runs where ended_at is null")
    assert [dict(row) for row in open_runs] == [{"requested_by": "ada", "reason": "a hole in the log"}]
    unread = run(cli, ["reconcile", "orders", "Amazon UK", "--reason", "a look"])
    assert isinstance(unread.exception, runs.NoOrders)


def test_every_night_asks_for_each_connection_that_is_read(
    app: bootstrap.Application, world: World, engine: Engine
) -> None:
    assert {each.job for each in SCHEDULES if each.name == "reconcile.orders"} == {"reconcile.orders_nightly"}
    assert job.reconcile_all(shop_id=world.shop_id) == {"connections": 1}
    assert job.reconcile_all(shop_id=world.shop_id) == {"connections": 1}
    with engine.connect() as conn:
        found = fetch(conn, "select run_id from order_readings")
    assert len(found) == 1, "what is under way is not begun again"
    with unit_of_work(engine) as conn:
        set_row(conn, "connections", world.connection.id, state="paused")
    assert job.reconcile_all(shop_id=world.shop_id) == {"connections": 0}
