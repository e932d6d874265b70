"""The Commission rules screen in a browser: its looks, and a change from the wish to the version that undoes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from core.db import fetch
from tests.dashboard import browsing
from tests.dashboard.commission_worlds import shop_with_commissions

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Site:
    """A server, and the address of its database."""

    address: str
    database_url: str


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    database = embedded.create_database(home, "commission_rules", template=template_database.name)
    engine = create_engine(database.url)
    shop_with_commissions(engine)
    engine.dispose()
    with browsing.serve(database.url, bell, tmp_path_factory.mktemp("commissions")) as address:
        yield Site(address, database.url)
    embedded.drop_database(home, database.name)


NEW = "?edit=new&see=yes&kind=platform+fee"
PAGES = {
    "commissions": "/commission-rules",
    "commissions-parties": "/commission-rules?show=Parties",
    "commissions-assignments": "/commission-rules?show=Assignments",
    "commissions-preview": f"/commission-rules{NEW}&category=Kitchen&fee=22+%25",
    "commissions-refused": f"/commission-rules{NEW}&category=Kichen&fee=a+lot&valid_from=soon",
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_of_the_screen_is_sound(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, site.address + PAGES[name], phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_fee_is_changed_and_the_change_undone(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, site.address + "/commission-rules") as seen:
        page = seen.page
        page.get_by_role("button", name="New rule…").last.click(delay=80)
        expect(page.get_by_role("heading", name="New rule")).to_be_visible()
        page.get_by_role("textbox", name="Fee").fill("a tenth")
        page.get_by_role("button", name="Preview…").click(delay=80)
        expect(page.get_by_text("“a tenth” is no fee")).to_be_visible()
        page.get_by_role("textbox", name="Fee").fill("10 %")
        page.get_by_role("combobox", name="Category").click()
        page.get_by_role("option", name="Stationery").click()
        page.get_by_role("button", name="Preview…").click(delay=80)
        expect(page.get_by_text("would have earned another amount, net of refunds")).to_be_visible()
        page.get_by_role("textbox", name="Reason").fill("Paper is dear")
        page.get_by_role("button", name="Activate 1 change").click(delay=80)
        expect(page.get_by_text("Every seller pays 10 % of items of category Stationery")).to_be_visible()
        expect(page.get_by_text("Active as version 3.")).to_be_hidden(timeout=30_000)
        page.get_by_role("radio", name="Versions").click()
        page.get_by_role("button", name="Undo…").first.click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Undo version 3?")).to_be_visible()
        dialog.get_by_label("Reason").fill("Too early")
        dialog.get_by_role("button", name="Undo version 3").click(delay=80)
        expect(page.get_by_text("undid version 3: 1 rule ended")).to_be_visible()
        assert seen.complaints == []
    engine = create_engine(site.database_url)
    with engine.connect() as conn:
        acts = fetch(conn, "select actor, reason from audit_entries where act = 'save_commission_rules' order by id")
    engine.dispose()
    assert [tuple(row.values()) for row in acts][-2:] == [("ada", "Paper is dear"), ("ada", "Too early")]
