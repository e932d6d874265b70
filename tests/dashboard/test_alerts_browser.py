"""The Alerts screen in a browser: every look of it, and the ways through its dialogs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.db import fetch
from tests.dashboard import alert_worlds, browsing

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Site:
    """A server on a bad day, and its database."""

    address: str
    engine: Engine
    made: alert_worlds.Alerts
    trial: int


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "alerts_busy", template=template_database.name)
    engine = create_engine(database.url)
    with engine.begin() as conn:
        made = alert_worlds.busy(conn)
        trial = alert_worlds.trial(conn, made.world.shop, made.post, "sent", answer="250 2.0.0 Ok: queued as 4F2A")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWITCHYARD_SECRET_KEYS", alert_worlds.KEY)
        with browsing.serve(database.url, "redis://127.0.0.1:1/0", tmp_path_factory.mktemp("alerts")) as address:
            yield Site(address, engine, made, trial)
    engine.dispose()
    embedded.drop_database(home, database.name)


PAGES = {
    "alerts": "/alerts",
    "alerts-one": "/alerts?alert={exposure}",
    "alerts-said": "/alerts?part=What+was+said",
    "alerts-channels": "/alerts?part=Who+is+told&trial={trial}",
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_of_the_screen_is_sound(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    address = site.address + PAGES[name].format(exposure=site.made.exposure, trial=site.trial)
    with browsing.visit(browser, address, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_an_alert_is_taken_in_two_clicks_and_the_page_moves_on_without_disturbing(
    site: Site, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, site.address + "/alerts") as seen:
        page = seen.page
        page.get_by_role("button", name="Acknowledge…").first.click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Acknowledge this alert?")).to_be_visible()
        dialog.get_by_label("Reason").fill("I start another worker")
        # Longer than the page takes to look again.
        page.wait_for_timeout(11_000)
        expect(dialog.get_by_label("Reason")).to_have_value("I start another worker")
        page.screenshot(path=pictures / "alerts-acknowledge.png")
        assert browsing.serious(seen) == []
        dialog.get_by_role("button", name="Acknowledge").click(delay=80)
        expect(page.get_by_text("You have it.")).to_be_visible()
        expect(page.get_by_text("Two of them nobody has.")).to_be_visible(timeout=15_000)
        assert seen.complaints == []
    with site.engine.connect() as conn:
        rows = fetch(conn, "select actor, act, reason from audit_entries where act = 'acknowledge_alert'")
    assert [tuple(row.values()) for row in rows] == [("ada", "acknowledge_alert", "I start another worker")]


def test_a_channel_is_added_refused_where_it_was_typed_and_tried(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, site.address + "/alerts?part=Who+is+told") as seen:
        page = seen.page
        page.get_by_role("button", name="Add mail…").click(delay=80)
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("Warehouse")
        dialog.get_by_label("Mail server").fill("127.0.0.1")
        dialog.get_by_label("From", exact=True).fill("us@harbour.example")
        dialog.get_by_label("To", exact=True).fill("desk@harbour.example, nobody")
        dialog.get_by_label("Reason").fill("They pack at night")
        page.screenshot(path=pictures / "alerts-add-mail.png")
        assert browsing.serious(seen) == []
        dialog.get_by_role("button", name="Add the channel").click(delay=80)
        expect(dialog.get_by_text("recipient 2 is no mail address")).to_be_visible()
        dialog.get_by_label("To", exact=True).fill("desk@harbour.example")
        dialog.get_by_role("button", name="Add the channel").click(delay=80)
        expect(page.get_by_text("Warehouse is told from now on.")).to_be_visible()
        expect(page.get_by_text("d… at harbour.example through 127.0.0.1:587")).to_be_visible()
        assert "desk@harbour" not in page.content()
        page.get_by_role("button", name="Test").last.click(delay=80)
        # No worker runs here: it says that it waits for one, and has an address of its own.
        expect(page.get_by_text("Warehouse: being tried now.")).to_be_visible()
        assert "trial=" in page.url
        assert seen.complaints == []
