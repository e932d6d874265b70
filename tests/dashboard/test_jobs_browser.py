"""The Jobs screen in a browser: every look of it, and both ways from what is broken to what is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, expect
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
from core.db import execute, fetch, scalar, unit_of_work
from tests import factories
from tests.dashboard import browsing, job_worlds, seed
from workers.recording import PostgresRunRecorder

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Sites:
    """Servers on a bad day, on an empty database, and on a bad day with Redis away."""

    failing: str
    empty: str
    away: str
    jobs: job_worlds.Jobs


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"jobs_{name}", template=template_database.name)
        for name in ("failing", "empty")
    }
    engine = create_engine(found["failing"].url)
    with engine.begin() as conn:
        made = job_worlds.failing(conn)
    engine.dispose()
    engine = create_engine(found["empty"].url)
    with engine.begin() as conn:
        seed.shop(conn)
    engine.dispose()
    folder = tmp_path_factory.mktemp("jobs")
    for name in ("failing", "empty", "away"):
        (folder / name).mkdir()
    with redis.Redis.from_url(bell) as client:
        client.flushdb()
        job_worlds.broker(client, refs=("j-a", "j-b"))
        with (
            browsing.serve(found["failing"].url, bell, folder / "failing") as failing,
            browsing.serve(found["empty"].url, bell, folder / "empty") as empty,
            browsing.serve(found["failing"].url, NOWHERE, folder / "away") as away,
        ):
            yield Sites(failing, empty, away, made)
        client.flushdb()
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "jobs": ("failing", "/jobs"),
    "jobs-empty": ("empty", "/jobs"),
    "jobs-away": ("away", "/jobs"),
    "jobs-requeued": ("failing", "/jobs?show=Requeued"),
    "jobs-discarded": ("failing", "/jobs?show=Discarded"),
    "jobs-cause": ("failing", "/jobs?cause=aaaa&function=stock.push"),
    "jobs-parked": ("failing", "/jobs?parked=unreadable&connection={shopify}"),
}


@pytest.mark.parametrize("phone", browsing.WIDTHS, ids=browsing.WIDTH_NAMES)
@pytest.mark.parametrize("name", PAGES)
def test_each_look_of_the_screen_is_sound(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    address = getattr(sites, site) + path.format(shopify=sites.jobs.world.shopify)
    with browsing.visit(browser, address, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_traceback_opens_where_it_is_asked_for_without_secrets(
    sites: Sites, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, sites.failing + "/jobs?cause=aaaa&function=stock.push") as seen:
        expect(seen.page.get_by_text("push_stock")).to_have_count(0)
        seen.page.get_by_text("Traceback and runs").first.click(delay=80)
        expect(seen.page.get_by_text("in push_stock").first).to_be_visible(timeout=15_000)
        expect(seen.page.get_by_role("region", name="Runs of this job")).to_be_visible()
        assert "abcdefgh" not in seen.page.content()
        assert browsing.serious(seen) == []
        seen.picture(pictures / "jobs-traceback.png")


class Bench:
    """A shop of its own behind a dashboard of its own, and a worker that runs when told."""

    def __init__(self, address: str, engine: Engine, redis_url: str, world: factories.World) -> None:
        self.address, self.engine, self.redis_url, self.world = address, engine, redis_url, world
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


def test_a_failed_job_is_requeued_from_the_screen_and_done(bench: Bench, browser: Browser, pictures: Path) -> None:
    bench.fail()
    bench.fail()
    bench.is_broken = False
    with browsing.visit(browser, bench.address + "/jobs") as seen:
        page = seen.page
        expect(page.get_by_text("The token was refused")).to_be_visible()
        page.get_by_role("button", name="Requeue…").click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Requeue 2 jobs?")).to_be_visible()
        expect(dialog.get_by_text("struck again minutes ago")).to_be_visible()
        dialog.get_by_label("Reason").fill("The token was renewed")
        page.wait_for_timeout(11_500)
        expect(dialog.get_by_label("Reason")).to_have_value("The token was renewed")
        page.screenshot(path=pictures / "jobs-requeue-preview.png")
        assert browsing.serious(seen) == []
        dialog.get_by_role("button", name="Requeue 2").click(delay=80)
        expect(page.get_by_text("2 failed jobs are dealt with: 1 piece of work is queued again.")).to_be_visible()
        expect(page.get_by_text("Nothing failed and nothing is parked")).to_be_visible(timeout=15_000)
        page.screenshot(path=pictures / "jobs-after-requeue.png")
        bench.work()
        page.get_by_role("radio", name="Requeued").click(delay=80)
        expect(page.get_by_text("The token was renewed").first).to_be_visible(timeout=15_000)
        assert "show=Requeued" in page.url
        assert seen.complaints == []
    assert bench.all("select outcome, resolution, resolved_by from job_runs order by id") == [
        ("failed", "requeued", "ada"),
        ("failed", "requeued", "ada"),
        ("finished", None, None),
    ]
    assert bench.all("select act, reason from audit_entries where act like '%%jobs'") == [
        ("requeue_jobs", "The token was renewed")
    ]
    with redis.Redis.from_url(bench.redis_url) as client:
        assert client.zcard("rq:failed:events") == 0


def test_a_parked_message_is_repaired_requeued_from_the_screen_and_handled(
    bench: Bench, browser: Browser, pictures: Path
) -> None:
    good, bad = factories.body_of(factories.make_order("7")), factories.UNREADABLE
    first, *_ = factories.record_bodies(bench.engine, bench.world, bad, good, bad)
    factories.drain(bench.engine, bench.world)
    bench.is_broken = False
    with unit_of_work(bench.engine) as conn:
        repaired = factories.body_of(factories.make_order("8"))
        execute(conn, "update inbox_messages set body = %(b)s where id = %(i)s", b=repaired, i=first)
    with browsing.visit(browser, bench.address + "/jobs") as seen:
        page = seen.page
        page.get_by_role("button", name="See messages").click(delay=80)
        expect(page.get_by_role("heading", name="Parked messages")).to_be_visible(timeout=15_000)
        page.wait_for_url("**/jobs?parked=unreadable**")
        page.locator(f"[class*='st-key-item-message-{first}']").get_by_role("button", name="Requeue…").click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Requeue 1 message?")).to_be_visible()
        page.screenshot(path=pictures / "jobs-message-preview.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("The body is repaired")
        dialog.get_by_role("button", name="Requeue 1").click(delay=80)
        expect(page.get_by_text("1 message has another turn. It begins within seconds.")).to_be_visible()
        bench.work()
        page.get_by_role("button", name="All jobs").click(delay=80)
        expect(page.get_by_role("heading", name="Parked messages")).to_be_hidden(timeout=15_000)
        seen.settle()
        expect(page.get_by_text("1 message could not be read")).to_be_visible()
        page.get_by_role("button", name="Discard…").click(delay=80)
        dialog.get_by_label("Reason").fill("A test of the vendor")
        dialog.get_by_role("button", name="Discard 1").click(delay=80)
        expect(page.get_by_text("Nothing failed and nothing is parked")).to_be_visible(timeout=15_000)
        assert seen.complaints == []
    assert bench.all("select state from inbox_messages order by id") == [("handled",), ("handled",), ("discarded",)]
    assert bench.all("select act, reason from audit_entries where act like '%%parked' order by id") == [
        ("replay_parked", "The body is repaired"),
        ("discard_parked", "A test of the vendor"),
    ]
    with bench.engine.connect() as conn:
        assert scalar(conn, "select count(*) from orders") == 2


def test_what_changed_since_the_preview_is_refused_and_by_keyboard(bench: Bench, browser: Browser) -> None:
    bench.fail()
    with browsing.visit(browser, bench.address + "/jobs") as seen:
        page = seen.page
        button = page.get_by_role("button", name="Requeue…")
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Requeue 1 job?")).to_be_visible()
        bench.fail()
        dialog.get_by_label("Reason").focus()
        page.keyboard.type("In vain")
        page.keyboard.press("Enter")
        expect(dialog.get_by_text("Nothing was done: 1 more failed since you looked.")).to_be_visible()
        dialog.get_by_role("button", name="Look again").click(delay=80)
        expect(page.get_by_text("2 jobs")).to_be_visible(timeout=15_000)
    assert bench.all("select count(*) from job_requeues") == [(0,)]
