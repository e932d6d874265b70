"""What only a browser sees: looks, contrast, what leaves the machine, dialogs that survive a refresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from tests.dashboard import browsing, seed, worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Sites:
    """Servers on an empty database, a calm day and a bad one."""

    empty: str
    calm: str
    troubled: str
    calm_world: worlds.World
    calm_url: str


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell: str = servers.redis_url  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"browser_{name}", template=template_database.name)
        for name in ("empty", "calm", "troubled")
    }
    made = {}
    for name, fill in (("calm", worlds.calm), ("troubled", worlds.troubled)):
        engine = create_engine(found[name].url)
        with engine.begin() as conn:
            made[name] = fill(conn)
        engine.dispose()
    folder = tmp_path_factory.mktemp("servers")
    for name in found:
        (folder / name).mkdir()
    with (
        browsing.serve(found["empty"].url, bell, folder / "empty") as empty,
        browsing.serve(found["calm"].url, bell, folder / "calm") as calm,
        browsing.serve(found["troubled"].url, bell, folder / "troubled") as troubled,
    ):
        yield Sites(empty, calm, troubled, made["calm"], found["calm"].url)
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "overview": ("troubled", "/"),
    "overview-calm": ("calm", "/"),
    "overview-empty": ("empty", "/"),
    "skus": ("troubled", "/skus"),
    "skus-none": ("troubled", "/skus?q=nothing+like+it"),
    "sku": ("troubled", "/skus?sku=22423"),
    "sku-doubt": ("troubled", "/skus?sku=85123A"),
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_page_is_sound_in_every_look(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    with browsing.visit(browser, getattr(sites, site) + path, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_sync_dialog_survives_the_refresh_and_starts_a_sync(sites: Sites, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, sites.calm + "/") as seen:
        seen.page.get_by_role("button", name="Sync now…").last.click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        expect(dialog.get_by_text("May write")).to_be_visible()
        dialog.get_by_label("Reason").fill("Stock was counted")
        seen.page.wait_for_timeout(11_500)
        expect(dialog.get_by_label("Reason")).to_have_value("Stock was counted")
        seen.page.screenshot(path=pictures / "sync-preview.png")
        assert browsing.serious(seen) == []
        dialog.get_by_role("button", name="Sync Shopify UK").click(delay=80)
        expect(seen.page.get_by_text("Waiting for a worker")).to_be_visible(timeout=15_000)
        expect(seen.page.get_by_text("Asked for by ada: Stock was counted")).to_be_visible()
        expect(seen.page.get_by_text("Sync of Shopify UK asked for.")).to_be_visible()
        assert "run=" in seen.page.url
        assert seen.complaints == []
    engine = create_engine(sites.calm_url)
    with engine.begin() as conn:
        said = conn.exec_driver_sql("select actor, act, reason from audit_entries").all()
        assert [tuple(entry) for entry in said] == [("ada", "start_sync", "Stock was counted")]
        conn.exec_driver_sql("update sync_runs set state = 'done', started_at = now(), ended_at = now()")
    engine.dispose()


def test_a_running_sync_is_followed_to_its_result(sites: Sites, browser: Browser, pictures: Path) -> None:
    engine = create_engine(sites.calm_url)
    world = sites.calm_world
    with engine.begin() as conn:
        run = seed.run(
            conn,
            world.shop,
            world.amazon,
            "running",
            step="Reading listings",
            done=120,
            total=480,
            started_at=seed.ago(seconds=60),
            heartbeat_at=seed.now(),
        )
    with browsing.visit(browser, sites.calm + "/") as seen:
        expect(seen.page.get_by_text("Reading listings · 120 of 480")).to_be_visible()
        seen.picture(pictures / "sync-running.png")
        with engine.begin() as conn:
            seed.set_state(conn, "sync_runs", run, done=300)
        expect(seen.page.get_by_text("300 of 480")).to_be_visible(timeout=10_000)
        with engine.begin() as conn:
            seed.set_state(conn, "sync_runs", run, state="done", ended_at=seed.now())
        expect(seen.page.get_by_text("Sync of Amazon UK is done")).to_be_visible(timeout=10_000)
        assert f"run={run}" in seen.page.url
        seen.picture(pictures / "sync-done.png")
        seen.page.reload()
        expect(seen.page.get_by_text("Sync of Amazon UK is done")).to_be_visible(timeout=15_000)
        seen.page.get_by_role("button", name="Close").click(delay=80)
        expect(seen.page.get_by_text("Sync of Amazon UK is done")).to_be_hidden()
    engine.dispose()


def test_search_by_keyboard_reaches_a_sku_and_its_address(sites: Sites, browser: Browser) -> None:
    with browsing.visit(browser, sites.calm + "/") as seen:
        box = seen.page.get_by_label("Find a SKU")
        box.fill("22423")
        box.press("Enter")
        expect(seen.page.get_by_role("heading", name="Regency cakestand 3 tier")).to_be_visible(timeout=10_000)
        assert "sku=22423" in seen.page.url
        seen.page.get_by_role("link", name="All SKUs").click(delay=80)
        expect(seen.page.get_by_role("heading", name="SKUs")).to_be_visible(timeout=10_000)


def test_a_filter_is_in_the_address_and_a_drawer_shows_its_evidence(
    sites: Sites, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, sites.troubled + "/skus") as seen:
        seen.page.get_by_role("radio", name="Short").click(delay=80)
        seen.settle()
        assert "show=Short" in seen.page.url
    with browsing.visit(browser, sites.troubled + "/") as seen:
        seen.page.get_by_role("link", name="Open SKUs").click(delay=80)
        expect(seen.page.get_by_role("radio", name="Not in step")).to_be_checked(timeout=10_000)
        assert "show=Not" in seen.page.url
    with browsing.visit(browser, sites.troubled + "/") as seen:
        seen.page.get_by_role("button", name="See listings…").first.click(delay=80)
        expect(seen.page.get_by_role("dialog").get_by_text("TEST-3").first).to_be_visible()
        seen.page.screenshot(path=pictures / "drawer.png")
