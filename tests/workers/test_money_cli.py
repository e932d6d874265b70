"""`switchyard money`: what parties may be paid, statements, adjustments with a second person, chargebacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.commissions import adjusting
from core.db import unit_of_work
from core.errors import BadInput
from tests.earning import make_company, unexplained
from tests.factories import World, book, make_line, make_order, make_world
from workers import console, money_cli


@pytest.fixture
def world(engine: Engine) -> World:
    """A company that sold two mugs of OAK's at 2.50, by MAYA's code."""
    with unit_of_work(engine) as conn:
        made = make_world(conn, {"MUG": 10, "CUP": 10})
        make_company(conn, made)
        book(conn, made, make_order(lines=[make_line(units=2)], codes=("maya10",)))
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


def run(app: bootstrap.Application, *words: str, by: str = "ada") -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        patched.setenv("SWITCHYARD_OPERATOR", by)
        return CliRunner().invoke(money_cli.money, words)


def said(app: bootstrap.Application, *words: str, by: str = "ada") -> str:
    done = run(app, *words, by=by)
    assert done.exception is None, done.output
    return done.output


def told(app: bootstrap.Application) -> dict[str, tuple[int, int]]:
    rows = json.loads(said(app, "balances", "--json"))
    return {row["code"]: (row["payable_minor"], row["held_minor"]) for row in rows}


def test_balances_say_what_is_payable_and_what_is_held(app: bootstrap.Application, world: World) -> None:
    assert told(app) == {"OAK": (0, 390), "MAYA": (0, 50)}
    assert "OAK (Oak): payable 0 GBP, held 3.90 GBP" in said(app, "balances")


def test_an_adjustment_above_the_limit_waits_for_somebody_else(app: bootstrap.Application, world: World) -> None:
    assert "is posted" in said(app, "adjust", "OAK", "12.50", "--currency", "GBP", "--reason", "lost parcel")
    assert "waits for a second person" in said(
        app, "adjust", "OAK", "--currency", "GBP", "--reason", "bonus", "--", "-150"
    )
    assert told(app)["OAK"] == (1_250, 390)
    refused = run(app, "approve", "2", "--reason", "mine")
    assert isinstance(refused.exception, adjusting.SamePerson)
    said(app, "approve", "2", "--reason", "looked at it", by="Noor")
    assert told(app)["OAK"] == (-13_750, 390)
    assert "carried forward" in said(app, "balances")
    assert isinstance(run(app, "refuse", "2", "--reason", "late").exception, adjusting.NotWaiting)
    assert isinstance(run(app, "adjust", "OAK", "a lot", "--currency", "GBP", "--reason", "x").exception, BadInput)


def test_a_chargeback_is_given_back_until_it_is_won(app: bootstrap.Application, world: World) -> None:
    said(app, "chargeback", "#1001", "5.00", "--ref", "dp_1", "--reason", "stolen card")
    said(app, "chargeback", "#1001", "5.00", "--ref", "dp_1", "--reason", "told twice")
    assert told(app) == {"OAK": (0, 0), "MAYA": (0, 0)}
    said(app, "decide", "1", "won", "--reason", "the bank's letter")
    assert told(app) == {"OAK": (0, 390), "MAYA": (0, 50)}
    with app.engine.connect() as conn:
        assert unexplained(conn, world.shop_id) == []
    assert isinstance(run(app, "chargeback", "#7", "1", "--ref", "x", "--reason", "y").exception, BadInput)


@pytest.mark.parametrize("form", ["csv", "xlsx", "html"])
def test_a_statement_is_written_into_a_folder(
    app: bootstrap.Application, world: World, tmp_path: Path, form: str
) -> None:
    words = ("--from", "2024-03-01", "--until", "2024-03-31", "--format", form, "--into", str(tmp_path))
    out = said(app, "statement", "OAK", *words)
    (written,) = tmp_path.iterdir()
    assert written.suffix == f".{form}"
    assert written.name in out.replace("\n", "")
    assert written.stat().st_size > 200
