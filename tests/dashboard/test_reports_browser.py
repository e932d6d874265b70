"""Reports in a browser: a day in every look, and its files as somebody takes them along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from openpyxl import load_workbook
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from core.db import read_only
from core.reports import files, queries
from tests.dashboard import browsing, report_worlds
from tests.dashboard.report_worlds import Reported

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Site:
    """A server on a shop with reports, and one of them as a file."""

    address: str
    world: Reported
    page: Path


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "reports_browser", template=template_database.name)
    folder = tmp_path_factory.mktemp("reports")
    engine = create_engine(database.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        world = report_worlds.reported(conn)
    with read_only(engine) as conn:
        found = queries.report(conn, world.shop, world.corrected)
    engine.dispose()
    page = folder / "report.html"
    page.write_bytes(files.make(found, "Harbour Goods", "html").content)
    with browsing.serve(database.url, "redis://127.0.0.1:1/0", folder) as address:
        yield Site(address, world, page)
    embedded.drop_database(home, database.name)


@pytest.mark.parametrize("phone", browsing.WIDTHS)
def test_a_day_is_sound_in_every_look(site: Site, browser: Browser, pictures: Path, phone: bool) -> None:
    with browsing.visit(browser, f"{site.address}/reports?day={site.world.day}", phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, "reports")


def test_days_lead_to_weeks_and_a_day_to_its_files(
    site: Site, browser: Browser, pictures: Path, tmp_path: Path
) -> None:
    with browsing.visit(browser, f"{site.address}/reports") as seen:
        seen.picture(pictures / "reports-list.png")
        seen.page.get_by_role("radio", name="Weeks").click(delay=80)
        expect(seen.page.get_by_text("reported, week")).to_be_visible()
        seen.picture(pictures / "reports-weeks.png")
    with browsing.visit(browser, f"{site.address}/reports?day={site.world.corrected}") as seen:
        seen.picture(pictures / "reports-corrected.png")
        with seen.page.expect_download() as taken:
            seen.page.get_by_role("button", name="XLSX").click(delay=80)
        assert taken.value.suggested_filename.endswith(f"{site.world.corrected}-edition-2.xlsx")
        taken.value.save_as(tmp_path / "report.xlsx")
        assert "Why it changed" in load_workbook(tmp_path / "report.xlsx").sheetnames
        seen.page.get_by_role("button", name="See first").click(delay=80)
        expect(seen.page.get_by_text("Edition 2 has replaced it.")).to_be_visible()
        assert "edition=1" in seen.page.url
        assert (seen.strangers, seen.complaints) == ([], [])


def test_the_page_that_is_mailed_is_sound_without_a_network(site: Site, browser: Browser, pictures: Path) -> None:
    """Opened from disk, in a browser that runs no script: light and dark, wide and on a phone."""
    person = browser.new_context(java_script_enabled=False, offline=True)
    asked: list[str] = []
    page = person.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for scheme, width in (("light", 1000), ("dark", 1000), ("light", 390)):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(site.page.as_uri())
        expect(page.get_by_role("img").first).to_be_visible()
        if browsing.KEPT:
            page.screenshot(path=pictures / f"reports-mail-{scheme}-{width}.png", full_page=True)
    assert set(asked) == {site.page.as_uri()}
    person.close()
