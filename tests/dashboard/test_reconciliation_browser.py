"""The Reconciliation screen in a browser: its looks, a filter by its address, and a difference accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.db import fetch, unit_of_work
from tests.dashboard import browsing, reconciliation_worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Site:
    """A dashboard on a shop with much that differs, and the rows behind it."""

    address: str
    engine: Engine


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    database = embedded.create_database(home, "reconciliation_full", template=template_database.name)
    engine = create_engine(database.url)
    with unit_of_work(engine) as conn:
        world = reconciliation_worlds.busy(conn)
        reconciliation_worlds.ran(conn, world, "orders", state="reading", hours=0.05)
    with browsing.serve(database.url, bell, tmp_path_factory.mktemp("reconciliation")) as address:
        yield Site(address, engine)
    engine.dispose()
    embedded.drop_database(home, database.name)


@pytest.mark.parametrize("phone", browsing.WIDTHS)
def test_the_page_is_sound_in_each_look(site: Site, browser: Browser, pictures: Path, phone: bool) -> None:
    with browsing.visit(browser, f"{site.address}/reconciliation", phone=phone) as seen:
        expect(seen.page.get_by_text("things differ between us and")).to_be_visible()
        expect(seen.page.locator(".js-plotly-plot").first).to_be_visible()
        browsing.assert_each_look_is_sound(seen, pictures, "reconciliation")


def test_an_order_is_accepted_from_an_address_and_is_gone_from_the_list(
    site: Site, browser: Browser, pictures: Path
) -> None:
    """Its history, the preview of reading it again, and the one of accepting it come on the way."""
    with browsing.visit(browser, f"{site.address}/reconciliation?kind=Orders+and+refunds&q=%235003") as seen:
        page = seen.page
        expect(page.get_by_text("Order missing there").first).to_be_visible()
        page.get_by_role("button", name="How it came about").first.click(delay=80)
        expect(page.get_by_role("dialog").get_by_text("Seen first")).to_be_visible()
        seen.picture(pictures / "reconciliation-history.png")
        assert browsing.serious(seen) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Accept…").first.click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("Nothing is written")).to_be_visible()
        seen.picture(pictures / "reconciliation-accept.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("The shop deleted it on purpose")
        dialog.get_by_role("button", name="Accept 1").click(delay=80)
        expect(page.get_by_text("Nothing here")).to_be_visible()
        assert "q=%235003" in page.url
        assert seen.complaints == []
    with site.engine.connect() as conn:
        found = fetch(conn, "select state, reason from discrepancies where subject_key = '5003'")
    assert [dict(row) for row in found] == [{"state": "accepted", "reason": "The shop deleted it on purpose"}]
