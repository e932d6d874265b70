"""Runs and Schedules in a browser: every look of them, a sync that is stopped as it runs, a turn that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.adapters.rq import queue_named
from core.db import fetch_one, scalar
from tests.dashboard import browsing, job_worlds, run_worlds, seed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Site:
    """A server, its database, and what is in it."""

    address: str
    engine: Engine
    runs: run_worlds.Runs


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    found = embedded.create_database(home, "runs_busy", template=template_database.name)
    engine = create_engine(found.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        made = run_worlds.busy(conn)
        run_worlds.day(conn, made.world.shop)
    with redis.Redis.from_url(bell) as client:
        client.flushdb()
        job_worlds.broker(client, without=())
        with browsing.serve(found.url, bell, tmp_path_factory.mktemp("runs")) as address:
            yield Site(address, engine, made)
        client.flushdb()
    engine.dispose()
    embedded.drop_database(home, found.name)


PAGES = {
    "runs": "/runs",
    "runs-one": "/runs?run={failed}",
    "schedules": "/schedules",
    "schedules-one": "/schedules?schedule=poll.orders",
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_is_sound(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    address = site.address + PAGES[name].format(failed=site.runs.failed)
    with browsing.visit(browser, address, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_sync_is_stopped_and_its_end_shows_without_a_reload(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, f"{site.address}/runs?run={site.runs.running}") as seen, site.engine.connect() as conn:
        expect(seen.page.get_by_text("1,240 of 4,980")).to_be_visible()
        seed.set_state(conn, "sync_runs", site.runs.running, done=2480)
        expect(seen.page.get_by_text("2,480 of 4,980")).to_be_visible(timeout=5_000)
        seen.page.get_by_role("button", name="Stop…").click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("It reads the wrong shop")
        seen.page.wait_for_timeout(1_500)
        expect(dialog.get_by_label("Reason")).to_have_value("It reads the wrong shop")
        seen.picture(pictures / "runs-stop.png")
        dialog.get_by_role("button", name="Stop this sync").click(delay=80)
        expect(seen.page.get_by_text("ada asked to stop it")).to_be_visible()
        # Its worker finds that out at its next step.
        seed.set_state(conn, "sync_runs", site.runs.running, state="cancelled", ended_at=seed.now())
        expect(seen.page.get_by_text("What it had read stays.")).to_be_visible(timeout=5_000)
        assert seen.complaints == []


def test_a_turn_is_asked_for_and_a_schedule_is_paused(
    site: Site, browser: Browser, pictures: Path, servers: object
) -> None:
    with browsing.visit(browser, f"{site.address}/schedules") as seen, site.engine.connect() as conn:
        seen.page.locator('[class*="st-key-run-audit-nightly"] button:visible').click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("Something looks odd")
        seen.picture(pictures / "schedules-run-now.png")
        dialog.get_by_role("button", name="Run audit.nightly now").click(delay=80)
        expect(dialog).to_be_hidden()
        expect(seen.page.get_by_text("ada asked for one")).to_be_visible()
        wish = fetch_one(conn, "select name, requested_by, reason from schedule_requests")
        assert wish == {"name": "audit.nightly", "requested_by": "ada", "reason": "Something looks odd"}
        seen.page.locator('[class*="st-key-pause-poll-orders"] button:visible').click(delay=80)
        dialog.get_by_label("Reason").fill("Moving house")
        dialog.get_by_role("button", name="Pause poll.orders").click(delay=80)
        expect(dialog).to_be_hidden()
        expect(seen.page.get_by_text("ada: Moving house")).to_be_visible()
        assert scalar(conn, "select is_paused from schedules where name = 'poll.orders'")
        assert seen.complaints == []
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    with redis.Redis.from_url(bell) as client:
        assert [job.func_name for job in queue_named("polls", client).get_jobs()] == ["schedules.ring"]
