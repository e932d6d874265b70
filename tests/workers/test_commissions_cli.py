"""`switchyard commissions`: parties, rules, assignments and what if, by hand and from a file; and the demo's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.clock import utc_now
from core.commissions import queries
from core.commissions.checking import check
from core.commissions.standing import standing
from core.db import fetch, scalar, unit_of_work
from core.errors import BadInput
from sandbox.trades import CODES
from tests import factories
from tests.factories import ACTOR, CURRENCY, NOW, World, make_facts, make_line, make_order, set_row
from workers import commissions_cli, console, demo_parties


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
        return CliRunner().invoke(commissions_cli.commissions, words)


def said(app: bootstrap.Application, *words: str) -> str:
    done = run(app, *words)
    assert done.exception is None, done.output
    return done.output


def test_parties_are_added_listed_edited_and_ended(app: bootstrap.Application, world: World) -> None:
    assert "no parties" in said(app, "parties", "list")
    said(app, "parties", "add", "OAK", "Oak & Ash", "--kind", "brand_shop", "--reason", "signed")
    said(app, "parties", "edit", "OAK", "--return-window", "30", "--reason", "their terms")
    assert "OAK: brand shop Oak & Ash, 0 lines, return window 30 days" in said(app, "parties", "list")
    assert "takes part in nothing new" in said(app, "parties", "end", "OAK", "--reason", "left")
    assert "ended" in said(app, "parties", "list")
    assert "takes part again" in said(app, "parties", "end", "OAK", "--undo", "--reason", "came back")
    assert json.loads(said(app, "parties", "list", "--json"))[0]["return_window_days"] == 30


def test_a_rule_is_tried_saved_checked_and_undone(app: bootstrap.Application, engine: Engine, world: World) -> None:
    said(app, "parties", "add", "OAK", "Oak & Ash", "--kind", "brand_shop", "--reason", "signed")
    assert "Brand shop Oak & Ash sells category Mugs." in said(
        app, "assign", "--role", "seller", "--party", "OAK", "--category", "Mugs", "--reason", "their range"
    )
    assert "gap: No platform fee of items. Oak & Ash pays no fee of items." in said(app, "rules", "check")
    said(app, "rules", "save", "--kind", "platform fee", "--fee", "10 %", "--reason", "the contract")
    with unit_of_work(engine) as conn:
        order = make_order("1", [make_line("1", "MUG", 2, "50.00")], placed_at=utc_now())
        factories.apply(conn, world, make_facts(order), now=utc_now())
    assert "Nobody would have earned another amount." in said(app, "try")
    tried = said(app, "try", "--kind", "platform fee", "--fee", "12 %", "--end", "1")
    assert "lines that would have come to something else: 1" in tried
    assert "order #1 MUG: Brand shop Oak & Ash -2 GBP; Platform +2 GBP" in tried
    found = json.loads(said(app, "try", "--kind", "platform fee", "--fee", "12 %", "--json"))
    assert [(one["booked_minor"], one["draft_minor"]) for one in found["changes"]] == [(9000, 8800), (1000, 1200)]
    done = said(app, "rules", "save", "--kind", "platform fee", "--fee", "12 %", "--end", "1", "--reason", "dearer")
    assert "Every seller pays 12 % of items" in done
    assert "Saved as version 3." in done
    assert "10 %" not in said(app, "rules", "list").partition("version")[0]
    said(app, "rules", "undo", "3", "--reason", "too dear")
    assert "Every seller pays 10 % of items" in said(app, "rules", "list")
    assert json.loads(said(app, "rules", "list", "--json"))["rules"][0]["rate_ppm"] == 100_000


def test_what_is_wrong_is_said_and_nothing_is_saved(app: bootstrap.Application, engine: Engine, world: World) -> None:
    done = run(app, "rules", "save", "--kind", "platform fee", "--fee", "ten", "--reason", "a test")
    assert isinstance(done.exception, BadInput)
    assert "fee: “ten” is no fee: write 12.5 %" in str(done.exception)
    assert run(app, "rules", "save", "--reason", "a test").exit_code == 2
    assert run(app, "assign", "--role", "seller", "--party", "OAK").exit_code == 2
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from commission_versions") == 0


def test_assignments_come_from_a_file_after_a_dry_run(
    app: bootstrap.Application, engine: Engine, world: World, tmp_path: Path
) -> None:
    said(app, "parties", "add", "OAK", "Oak & Ash", "--kind", "brand_shop", "--reason", "signed")
    file = tmp_path / "sellers.csv"
    file.write_text("sku,role,party\nMUG,seller,OAK\nCAP,seller,OAK\n")
    dry = said(app, "assign", "--file", str(file), "--dry-run")
    assert "line 3, sku: there is no SKU “CAP”" in dry
    assert "2 rows: 1 assignments begin, 0 end, 0 are so already, 1 problems." in dry
    assert isinstance(run(app, "assign", "--file", str(file), "--reason", "range").exception, BadInput)
    file.write_text("sku,role,party\nMUG,seller,OAK\nCUP,seller,OAK\n")
    assert "Saved as version 1." in said(app, "assign", "--file", str(file), "--reason", "range")
    with engine.connect() as conn:
        assert len(queries.living_assignments(conn, world.shop_id)) == 2


def test_settings_are_shown_and_changed(app: bootstrap.Application, world: World) -> None:
    assert "return for 14 days after an order is shipped" in said(app, "settings")
    changed = said(app, "settings", "--return-window", "30", "--window-from", "placed", "--reason", "we promise")
    assert "return for 30 days after an order is placed" in changed
    assert run(app, "settings", "--return-window", "3").exit_code == 2


def test_the_demo_is_set_up_once_without_conflicts_and_knows_its_shoppers_codes(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        for number in range(12):
            factories.make_sku(conn, world.shop_id, f"K{number}")
        rows = fetch(conn, "select id from skus where shop_id = %(shop)s order by id", shop=world.shop_id)
        for at, row in enumerate(rows):
            set_row(conn, "skus", row["id"], category=f"Range {at % 7}")
        assert demo_parties.set_up(conn, world.shop_id, CURRENCY, ACTOR, NOW)
        assert not demo_parties.set_up(conn, world.shop_id, CURRENCY, ACTOR, NOW)
        assert demo_parties.CODES.keys() == CODES.keys()
        living = queries.living_rules(conn, world.shop_id)
        assert {rule.form for rule in living} == {"percentage", "tiered", "fixed"}
        assigned = {one.party_id for one in queries.living_assignments(conn, world.shop_id)}
        parties = {row["id"] for row in fetch(conn, "select id from parties where kind <> 'platform'")}
        assert assigned == parties
        assert [finding for finding in check(standing(conn, world.shop_id, NOW)) if finding.level != "note"] == []
