"""The Failures screen in a browser: every look of it, and the way from what is broken to what is healed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.adapters.rq import (
    REGISTRY,
    JobSpec,
    Registered,
    SwSimpleWorker,
    queue_named,
    record_runs_with,
    register,
)
from core.bootstrap import make_application
from core.clock import utc_now
from core.config import Settings
from core.db import fetch, scalar, unit_of_work
from core.recovery import releasing
from tests import factories
from tests.dashboard import browsing, failure_worlds, seed
from workers.jobs import recovery
from workers.recording import PostgresRunRecorder

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Sites:
    """Servers on a bad day and on an empty database."""

    failing: str
    empty: str
    group: str
    reach: failure_worlds.Reach


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"failures_{name}", template=template_database.name)
        for name in ("failing", "empty")
    }
    engine = create_engine(found["failing"].url)
    with engine.begin() as conn:
        reach = failure_worlds.reaching(conn)
        failure_worlds.being_requeued(conn, reach)
        group = scalar(conn, "select group_key from failure_groups order by items desc limit 1")
    engine.dispose()
    engine = create_engine(found["empty"].url)
    with engine.begin() as conn:
        seed.shop(conn)
    engine.dispose()
    folder = tmp_path_factory.mktemp("failures")
    for name in found:
        (folder / name).mkdir()
    with (
        browsing.serve(found["failing"].url, NOWHERE, folder / "failing") as failing,
        browsing.serve(found["empty"].url, NOWHERE, folder / "empty") as empty,
    ):
        yield Sites(failing, empty, group, reach)
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "failures": ("failing", "/failures"),
    "failures-empty": ("empty", "/failures"),
    "failures-requeued": ("failing", "/failures?show=Requeued"),
    "failures-group": ("failing", "/failures?group={group}"),
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_of_the_screen_is_sound(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    address = getattr(sites, site) + path.format(group=sites.group)
    with browsing.visit(browser, address, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_message_is_looked_at_mended_and_handled_in_its_drawer(
    sites: Sites, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, f"{sites.failing}/orders?order={sites.reach.order}") as seen:
        page = seen.page
        page.get_by_role("button", name="Payload").click(delay=80)
        drawer = page.get_by_role("dialog")
        expect(drawer.get_by_text("What names people is covered.")).to_be_visible()
        assert "ann@example.com" not in page.content()
        page.screenshot(path=pictures / "failures-payload.png")
        assert browsing.serious(seen) == []
        drawer.get_by_label("Reason").fill("The day is no day")
        drawer.get_by_role("button", name="Show in full and edit").click(delay=80)
        text = drawer.get_by_label("Payload")
        expect(text).to_have_value(re.compile("ann@example.com"))
        whole = text.input_value()
        for words, answer in (
            (whole.replace("49.90", "59.90"), "total_price is about money"),
            (whole.replace("soon", "later"), "created_at"),
            (whole.replace("soon", "2026-03-01T09:00:00Z"), "A mended copy takes the message’s place"),
        ):
            text.fill(words)
            drawer.get_by_label("Reason").fill("The day is no day")
            drawer.get_by_role("button", name="Requeue the mended copy").click(delay=80)
            expect(page.get_by_text(answer).last).to_be_visible()
        expect(page.get_by_role("heading", name="What failed")).to_be_hidden()
        assert seen.complaints == []


class Bench:
    """A shop of its own behind a dashboard of its own, and a worker that runs when told."""

    def __init__(self, address: str, engine: Engine, redis_url: str, world: factories.World) -> None:
        self.address, self.engine, self.redis_url, self.world = address, engine, redis_url, world
        url = engine.url.render_as_string(hide_password=False)
        self.app = make_application(Settings.from_environment({"DATABASE_URL": url, "REDIS_URL": redis_url}))
        self.is_broken = True
        register("inbox.drain", self._drain, JobSpec("events", 30))

    def _drain(self, *, shop_id: int, connection_id: int) -> dict[str, int]:
        assert (shop_id, connection_id) == (self.world.shop_id, self.world.connection.id)
        if self.is_broken:
            raise ValueError("the token was refused")
        return {"messages": factories.drain(self.engine, self.world)}

    def fail(self) -> None:
        # Not by the doorbell's client: that waits for 50 ms, and beside a browser that may not do.
        lane = {"shop_id": self.world.shop_id, "connection_id": self.world.connection.id}
        with redis.Redis.from_url(self.redis_url) as client:
            queue_named("events", client).enqueue_call("inbox.drain", kwargs=lane, failure_ttl=3600)
        self.work()

    def work(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            worker = SwSimpleWorker([queue_named("events", client)], connection=client, serializer="json")
            worker.work(burst=True, logging_level="CRITICAL")

    def recover(self) -> None:
        """What the job runs.recover does, and the work that it rings for."""
        for shop, number in self.all("select shop_id, id from recoveries where ended_at is null"):
            with unit_of_work(self.engine) as conn:
                begun = releasing.release(conn, int(str(shop)), int(str(number)), utc_now())
            recovery.ring(self.app, begun)
            self.work()
            with unit_of_work(self.engine) as conn:
                releasing.settle(conn, int(str(shop)), int(str(number)), utc_now(), {})

    def all(self, sql: str) -> list[tuple[object, ...]]:
        with self.engine.connect() as conn:
            return [tuple(row.values()) for row in fetch(conn, sql)]


@pytest.fixture
def bench(engine: Engine, database: embedded.Database, redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    before: dict[str, Registered] = dict(REGISTRY)
    REGISTRY.clear()
    record_runs_with(PostgresRunRecorder(database.url))
    with unit_of_work(engine) as conn:
        world = factories.make_world(conn)
    with browsing.serve(database.url, redis_url, tmp_path) as address:
        yield Bench(address, engine, redis_url, world)
    REGISTRY.clear()
    REGISTRY.update(before)
    record_runs_with(None)


def test_what_broke_is_healed_by_two_clicks_and_the_page_says_so_by_itself(
    bench: Bench, browser: Browser, pictures: Path
) -> None:
    bench.fail()
    bench.fail()
    bench.is_broken = False
    clicks = 0

    def click(button: Locator) -> None:
        nonlocal clicks
        clicks += 1
        button.click(delay=80)

    with browsing.visit(browser, bench.address + "/failures") as seen:
        page = seen.page
        expect(page.get_by_text("One cause stands behind 2 failed jobs.")).to_be_visible()
        click(page.get_by_role("button", name="Requeue…"))
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Requeue 2 jobs?")).to_be_visible()
        expect(dialog.get_by_text("No money is moved.")).to_be_visible()
        click(dialog.get_by_label("Reason"))
        page.keyboard.type("The token was renewed")
        page.screenshot(path=pictures / "failures-requeue-preview.png")
        assert browsing.serious(seen) == []
        click(dialog.get_by_role("button", name="Requeue 2"))
        expect(page.get_by_text("2 failures are done again at")).to_be_visible()
        page.screenshot(path=pictures / "failures-after-requeue.png")
        bench.recover()
        expect(page.get_by_text("1 of 1 done")).to_be_visible()
        expect(page.get_by_text("Nothing failed and nothing is parked")).to_be_visible()
        page.screenshot(path=pictures / "failures-healed.png")
        assert seen.complaints == []
    assert clicks <= 3, "from the open page to what is healed"
    assert bench.all("select outcome, resolution, resolved_by from job_runs order by id") == [
        ("failed", "requeued", "ada"),
        ("failed", "requeued", "ada"),
        ("finished", None, None),
    ]
    assert bench.all("select act, reason from audit_entries where act like '%%failures'") == [
        ("requeue_failures", "The token was renewed")
    ]
    with redis.Redis.from_url(bench.redis_url) as client:
        assert client.zcard("rq:failed:events") == 0


def tab_to(page: Page, wanted: Locator) -> None:
    """Go on from where the keyboard is until `wanted` has it."""
    expect(wanted).to_be_visible()
    for _ in range(8):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the keyboard does not reach it")


@pytest.mark.long
def test_by_keyboard_alone_while_the_page_refreshes_itself_and_the_facts_change(
    bench: Bench, browser: Browser, pictures: Path
) -> None:
    """Neither the dialog nor what is typed in it is lost, nor the focus; what changed is counted anew."""
    bench.fail()
    with browsing.visit(browser, bench.address + "/failures") as seen:
        page = seen.page
        page.get_by_role("button", name="Requeue…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Requeue 1 job?")).to_be_visible()
        reason = dialog.get_by_label("Reason")
        tab_to(page, reason)
        page.keyboard.type("In vain")
        bench.fail()
        # By itself, beneath the dialog, the page finds what is new; who is typing is left alone.
        expect(page.get_by_text("1 new failure since this list was drawn.")).to_be_visible()
        expect(reason).to_be_focused()
        page.keyboard.type(" at last")
        page.keyboard.press("Enter")
        expect(dialog.get_by_text("Nothing was done: 1 more failed since you looked.")).to_be_visible()
        page.screenshot(path=pictures / "failures-facts-changed.png")
        assert bench.all("select count(*) from recoveries") == [(0,)]
        expect(dialog.get_by_role("button", name="Requeue 2")).to_be_visible()
        expect(reason).to_be_focused()
        expect(reason).to_have_value("In vain at last")
        page.keyboard.press("Enter")
        expect(page.get_by_text("2 failures are done again at")).to_be_visible()
        assert seen.complaints == []
    with bench.engine.connect() as conn:
        assert scalar(conn, "select items from recoveries") == 2
