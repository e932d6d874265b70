"""The jobs that seal the ledger and put its head on record, and the audit that reads both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.clock import business_day, utc_now
from core.db import scalar, unit_of_work
from core.ledger import sealing
from core.runs.schedules import SCHEDULES
from tests.factories import World, make_shop, make_world
from tests.ledgers import post
from workers.jobs.housekeeping import audit_shop
from workers.jobs.ledger import anchor_ledger, seal_ledgers


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("LEDGER_ANCHOR_DIR", str(tmp_path / "anchors"))
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn)


def test_every_shop_is_sealed_in_seals_of_a_bounded_size(
    app: bootstrap.Application, engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing.seal, "__defaults__", (3, False))
    with unit_of_work(engine) as conn:
        other, quiet = make_shop(conn), make_shop(conn)
        for shop_id in (world.shop_id, other):
            post(conn, shop_id, *"abcd", now=utc_now())
    assert seal_ledgers() == {"sealed": 8, "shops": 2}
    assert seal_ledgers() == {"sealed": 0, "shops": 0}
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select count(*) from ledger_seals") == 4
        assert scalar(conn, "select count(*) from ledger_seals where shop_id = %(shop)s", shop=quiet) == 0


def test_a_days_anchor_is_written_once_and_the_audit_believes_it(
    app: bootstrap.Application, engine: Engine, world: World, database: embedded.Database
) -> None:
    assert anchor_ledger(shop_id=world.shop_id) == {"sealed": 0, "anchored": False}
    with unit_of_work(engine) as conn:
        post(conn, world.shop_id, *"ab", now=utc_now())
    made = anchor_ledger(shop_id=world.shop_id)
    day = business_day(utc_now(), "Europe/London").isoformat()
    assert (made["sealed"], made["anchored"], made["seal"]) == (2, True, 1)
    assert made["day"] in (day, business_day(utc_now(), "Europe/London").isoformat())
    (file,) = app.settings.anchor_dir.rglob("*.jsonl")
    assert json.loads(file.read_text().splitlines()[0])["head"] == made["head"]
    assert anchor_ledger(shop_id=world.shop_id)["anchored"] is False
    assert audit_shop(shop_id=world.shop_id) == {"violations": 0, "broken": {}}
    file.unlink()
    assert audit_shop(shop_id=world.shop_id)["broken"] == {"ledger_anchors_are_whole": 1}


def test_the_head_is_on_record_before_the_days_report_is_mailed() -> None:
    after = {schedule.job: schedule.daily_after for schedule in SCHEDULES if schedule.daily_after is not None}
    assert after["ledger.anchor"] < after["reports.daily"]
