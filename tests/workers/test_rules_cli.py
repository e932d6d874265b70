"""`switchyard rules`: the same operations as the screen, from a terminal and from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.db import fetch, unit_of_work
from core.errors import BadInput
from tests import factories
from tests.factories import World, set_row
from workers import console, rules_cli
from workers.jobs import policies as jobs


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        made = factories.make_world(conn, {"MUG": 10, "CUP": 10})
        set_row(conn, "skus", made.skus["MUG"], category="Mugs")
        return made


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def run(app: bootstrap.Application, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        patched.setenv("SWITCHYARD_OPERATOR", "ada")
        return CliRunner().invoke(rules_cli.rules, words)


def said(app: bootstrap.Application, *words: str) -> str:
    done = run(app, *words)
    assert done.exception is None, done.output
    return done.output


def shown(engine: Engine) -> dict[str, int]:
    with engine.connect() as conn:
        return {row["channel_code"]: row["desired_units"] for row in fetch(conn, "select * from listings")}


def test_a_rule_is_previewed_set_listed_and_undone(app: bootstrap.Application, engine: Engine, world: World) -> None:
    assert "no rules" in said(app, "list")
    rule = ("--category", "Mugs", "--share", "20 %", "--buffer", "1")
    seen = said(app, "preview", *rule)
    assert "MUG on" in seen
    assert "shows 10, should show 10, would show 1" in seen
    assert shown(engine) == {"MUG": 10, "CUP": 10}
    assert "Saved as version 1. Its listings follow within seconds." in said(app, "set", *rule, "--reason", "a test")
    # The ring is in Redis; the worker is us.
    assert jobs.replan_shop(shop_id=world.shop_id)["changed"] == 1
    assert shown(engine) == {"MUG": 1, "CUP": 10}
    assert "Every channel · category Mugs: at most 20 % of the pool, buffer 1" in said(app, "list")
    assert json.loads(said(app, "list", "--json"))["rules"][0]["category"] == "Mugs"
    said(app, "undo", "1", "--reason", "enough")
    jobs.replan_shop(shop_id=world.shop_id)
    assert shown(engine) == {"MUG": 10, "CUP": 10}


def test_modes_are_previewed_set_and_read_from_a_file(
    app: bootstrap.Application, engine: Engine, world: World, tmp_path: Path
) -> None:
    assert "In escrow: 0 of 2 SKUs and places now, 2 then." in said(app, "preview", "--mode", "escrow")
    assert "In escrow" not in said(app, "preview", "--cap", "3")
    file = tmp_path / "rules.csv"
    file.write_text("sku,mode,switch_units\nMUG,escrow,\nCUP,Adaptive,3\n", encoding="utf-8")
    said(app, "set", "--file", str(file), "--reason", "a test")
    jobs.replan_shop(shop_id=world.shop_id)
    listed = said(app, "list")
    assert "SKU MUG: escrow" in listed
    assert "SKU CUP: adaptive, escrow from 3 available" in listed
    with engine.connect() as conn:
        modes = {
            row["channel_code"]: (row["mode"], row["switch_units"]) for row in fetch(conn, "select * from listings")
        }
    assert modes == {"MUG": ("escrow", None), "CUP": ("adaptive", 3)}
    refused = run(app, "set", "--mode", "shared", "--reason", "x").exception
    assert "mode: “shared” is no mode: write pooled, adaptive or escrow" in str(refused)


def test_a_file_of_rules_is_one_version_or_none(
    app: bootstrap.Application, engine: Engine, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "rules.csv"
    file.write_text("\ufeffsku;buffer_units;share_percent\nMUG;-1;\nCUP;two;120\n", encoding="utf-8")
    refused = run(app, "set", "--file", str(file), "--reason", "a test").exception
    assert isinstance(refused, BadInput)
    assert "line 2: buffer: -1 is below zero" in str(refused)
    assert "line 3: share: 120 percent is more than there is" in str(refused)
    assert "buffer: “two” is not a number" in str(refused)
    file.write_text("sku,cap_units\nMUG,3\nCUP,4\n", encoding="utf-8")
    said(app, "set", "--file", str(file), "--reason", "a test")
    jobs.replan_shop(shop_id=world.shop_id)
    assert shown(engine) == {"MUG": 3, "CUP": 4}
    file.write_text("sku,cap_units\nMUG\n", encoding="utf-8")
    assert "not as many fields" in str(run(app, "set", "--file", str(file), "--reason", "x").exception)


@pytest.mark.parametrize("words", [(), ("--remove", "--cap", "1")])
def test_a_rule_that_says_nothing_or_both_is_refused(
    app: bootstrap.Application, world: World, words: tuple[str, ...]
) -> None:
    assert "give what the rule says" in run(app, "set", *words, "--reason", "x").output


def test_a_category_is_chosen_and_left_to_the_catalogue(app: bootstrap.Application, world: World) -> None:
    assert "MUG is of Cups" in said(app, "category", "MUG", "Cups", "--reason", "a test")
    assert "MUG is of no category" in said(app, "category", "MUG", "--reason", "a test")
    assert "the catalogue’s category" in said(app, "category", "MUG", "--catalogue", "--reason", "a test")


def test_saved_while_redis_is_away_it_is_kept_and_the_sweep_rings(
    app: bootstrap.Application, database: embedded.Database, engine: Engine, world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    away = bootstrap.make_application(bootstrap.Settings.from_environment())
    assert "Redis does not answer" in said(away, "set", "--cap", "2", "--reason", "a test")
    away.engine.dispose()
    assert jobs.sweep_policies() == {"shops": 1}
    assert jobs.replan_shop(shop_id=world.shop_id) == {"versions": 1, "listings": 2, "changed": 2, "left": 0}
    assert shown(engine) == {"MUG": 2, "CUP": 2}


def test_a_replan_that_runs_out_of_time_queues_itself_again(
    app: bootstrap.Application, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(app, "set", "--cap", "2", "--reason", "a test")
    monkeypatch.setattr(jobs, "REPLAN_SECONDS", -1)
    rung: list[dict[str, object]] = []
    monkeypatch.setattr(type(app.queue), "enqueue", lambda _self, name, **kw: rung.append({"name": name, **kw}))
    assert jobs.replan_shop(shop_id=world.shop_id)["left"] == 2
    assert rung == [{"name": "policies.replan", "shop_id": world.shop_id}]
