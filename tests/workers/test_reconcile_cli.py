"""`switchyard reconcile`, from asking for a comparison to saying yes to what a brake holds; and its sweep."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.db import execute, fetch, fetch_one, unit_of_work
from core.errors import BadInput
from core.reconciliation import comparing, operations, queries, runs
from core.reconciliation.rules import BadPolicy, Changed
from core.reconciliation.runs import Observed
from core.runs import operations as sync_runs
from core.runs.schedules import SCHEDULES
from tests import factories
from tests.factories import ACTOR, BASELINE, World, later, make_level
from workers import console
from workers.cli import cli
from workers.jobs import reconciliation as jobs

CODES = ("MUG", "CUP", "PEN")


@pytest.fixture
def world(engine: Engine) -> World:
    """Three SKUs that are sold out here, and that their channel shows again; every order is known."""
    with unit_of_work(engine) as conn:
        made = factories.make_world(conn, dict.fromkeys(CODES, 5))
        factories.set_row(conn, "connections", made.connection.id, name="Shopify", catalogue_read_at=BASELINE)
        for code in CODES:
            factories.adjust_stock(conn, made, code, -5)
        execute(conn, "update listings set published_units = 0, exposed_units = 0")
        asked = operations.request(conn, made.shop_id, made.connection.id, "stock", ACTOR, later(5))
        sync_runs.start_sync(conn, made.shop_id, asked.sync_run_id, later(5))
        reading = runs.begin(conn, made.shop_id, asked.sync_run_id, later(5))
        assert reading is not None
        runs.take_road(conn, reading, "levels")
        runs.stage(conn, reading, [Observed(make_level(code, 4, later(5))) for code in CODES], "1")
        runs.have_read(conn, reading, later(5))
        comparing.compare(conn, reading, later(5))
        comparing.believe(conn, reading, 0, later(5))
        runs.finish(conn, reading, later(5))
        sync_runs.finish_sync(conn, made.shop_id, asked.sync_run_id, later(5))
        factories.set_row(conn, "connections", made.connection.id, watermark_at=later(9), orders_polled_at=later(9))
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
        return CliRunner().invoke(cli, ["reconcile", *words], standalone_mode=False)


def said(app: bootstrap.Application, *words: str) -> str:
    done = run(app, *words)
    assert done.exception is None, done.output
    return done.output


def token_of(text: str) -> str:
    return text.partition("--token ")[2].split()[0]


def test_what_waits_is_swept_braked_previewed_and_released_by_name(app: bootstrap.Application, world: World) -> None:
    assert "sale_unseen" in said(app, "list", "Shopify", "--json")
    said(app, "policy", "Shopify", "--correct", "channel-edit", "--zeroed-max", "2", "--zeroed-percent", "100",
         "--reason", "our numbers count")  # fmt: skip
    counts = jobs.sweep_reconciliation()
    assert (counts["healed"], counts["held"]) == (0, len(CODES))
    assert "brake" in said(app, "list", "--cause", "CHANNEL_EDIT")
    offer = said(app, "correct", "Shopify", "--held")
    assert "3 live listings go to 0" in offer
    assert "yes, zero these 3" in offer
    wrong = run(app, "correct", "Shopify", "--held", "--token", "1-0", "--reason", "counted")
    assert isinstance(wrong.exception, Changed)
    nameless = run(app, "correct", "Shopify", "--held", "--token", token_of(offer))
    assert isinstance(nameless.exception, BadInput)
    done = said(app, "correct", "Shopify", "--held", "--token", token_of(offer), "--reason", "counted")
    assert done.startswith("3 are corrected")
    (row, *_) = json.loads(said(app, "list", "--json", "--sku", "MUG"))
    history = said(app, "show", str(row["discrepancy_id"]))
    assert "released by ada" in history
    assert "counted" in history
    with unit_of_work(app.engine) as conn:
        acts = fetch(conn, "select act from audit_entries where actor = 'ada' order by id")
    assert [entry["act"] for entry in acts] == ["set_reconciliation_policy", "correct_discrepancies"]


def test_what_is_flagged_can_be_left_as_it_is_or_called_something_else(
    app: bootstrap.Application, world: World
) -> None:
    jobs.sweep_reconciliation()
    offer = said(app, "accept", "Shopify", "--cause", "channel_edit")
    said(app, "accept", "Shopify", "--cause", "channel_edit", "--token", token_of(offer), "--reason", "a show room")
    with unit_of_work(app.engine) as conn:
        rows = queries.discrepancies(conn, world.shop_id, state="accepted")
    assert [row["reason"] for row in rows] == ["a show room"] * len(CODES)
    said(app, "reclassify", str(rows[0]["discrepancy_id"]), "real_loss", "--reason", "broken in the shop")
    with unit_of_work(app.engine) as conn:
        (row,) = queries.discrepancies(conn, world.shop_id, cause="real_loss")
    assert (row["state"], row["asked_because"]) == ("open", "flagged")


def test_a_page_says_where_the_next_begins(app: bootstrap.Application, world: World) -> None:
    first = said(app, "list", "--limit", "2")
    after = first.partition("--after ")[2].split()[0]
    rest = json.loads(said(app, "list", "--limit", "2", "--after", after, "--json"))
    assert len(rest) == 1
    assert isinstance(run(app, "list", "--after", "then").exception, BadInput)


def test_a_comparison_is_asked_for_and_what_cannot_be_is_refused(app: bootstrap.Application, world: World) -> None:
    assert "being compared" in said(app, "start", "Shopify", "--reason", "before the sale")
    assert "already" in said(app, "start", "Shopify", "--reason", "once more")
    assert isinstance(run(app, "start", "Shopify", "--sku", "NONE", "--reason", "x").exception, BadInput)
    assert isinstance(run(app, "policy", "Shopify", "--correct", "mapping", "--reason", "x").exception, BadPolicy)
    assert isinstance(run(app, "show", "999").exception, BadInput)
    assert "corrects nothing by itself" in said(app, "policy", "Shopify")


def test_the_sweep_begins_what_is_due_once(app: bootstrap.Application, world: World) -> None:
    assert "sweep.reconciliation" in {schedule.name for schedule in SCHEDULES}
    assert jobs.sweep_reconciliation()["begun"] == 1
    assert jobs.sweep_reconciliation()["begun"] == 0
    with unit_of_work(app.engine) as conn:
        row = fetch_one(conn, "select trigger, kind from sync_runs order by id desc limit 1")
    assert dict(row or {}) == {"trigger": "schedule", "kind": "reconcile_stock"}
